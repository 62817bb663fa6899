//! Four vendors that serve the market as the real ones do: each has a session when it has it, and not before; what is
//! provisional may still be revised; and each may be down.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveTime, TimeDelta};
use serde_json::{Value, json};

use super::market::{Bar, Board, Market, Name};
use crate::support::{Reply, Request, Server, Work};
use crate::vendors::kis::{self, Asked, Stock};
use crate::vendors::kiwoom;
use crate::vendors::krx::{self, commas};
use crate::vendors::krx_openapi::{self, isin};

/// Sprung when so many minutes more were asked for.
pub type Trap = (usize, Box<dyn FnOnce() + Send>);

/// What happens to whoever asks, set by the drill as its clock goes on.
pub struct World {
    pub market: Market,
    pub now: Mutex<DateTime<FixedOffset>>,
    /// Vendors that answer with 503.
    pub down: Mutex<BTreeSet<&'static str>>,
    /// Until the next morning this name's volume of this session is told a share too low.
    pub revised: Option<(String, NaiveDate)>,
    pub trap: Mutex<Option<Trap>>,
}

/// Listen until the test ends.
pub fn start(world: &Arc<World>, work: &mut Work) {
    let serve = |name: &'static str, reply: fn(&World, &Request) -> Reply| {
        let world = Arc::clone(world);
        Server::forgetting(move |request| {
            if world.down.lock().unwrap().contains(name) {
                return Reply::Status(503);
            }
            reply(&world, request)
        })
        .url
    };
    krx_openapi::env(work, &serve("krx-openapi", openapi));
    krx::env(work, &serve("krx", portal));
    kiwoom::env(work, &serve("kiwoom", floats));
    kis::env(work, &serve("kis", broker));
}

fn compact(date: NaiveDate) -> String {
    date.format("%Y%m%d").to_string()
}

pub fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y%m%d").ok()
}

impl World {
    fn now(&self) -> DateTime<FixedOffset> {
        *self.now.lock().unwrap()
    }

    /// The session that the present belongs to.
    fn present(&self) -> usize {
        self.market.at_or_before(self.now().date_naive())
    }

    /// Is it so many days and hours after a session?
    fn is_past(&self, session: usize, days: i64, time: NaiveTime) -> bool {
        self.now().naive_local() >= (self.market.sessions[session] + Duration::days(days)).and_time(time)
    }

    /// The bar that a vendor tells now.
    fn told(&self, name: &Name, session: usize) -> Bar {
        let mut bar = name.bar(session);
        let is_first = !self.is_past(session, 1, NaiveTime::MIN);
        let revised = self
            .revised
            .as_ref()
            .is_some_and(|(code, date)| *code == name.code && *date == self.market.sessions[session]);
        if is_first && revised {
            bar.volume -= 1;
            bar.value -= bar.low;
        }
        bar
    }

    fn made_at(&self) -> String {
        self.now().format("%Y.%m.%d %p %I:%M:%S").to_string()
    }
}

fn board_id(board: Board) -> &'static str {
    match board {
        Board::Kospi | Board::Fund => "STK",
        Board::Kosdaq => "KSQ",
        Board::Konex => "KNX",
    }
}

fn board_name(board: Board) -> &'static str {
    match board {
        Board::Kospi | Board::Fund => "KOSPI",
        Board::Kosdaq => "KOSDAQ",
        Board::Konex => "KONEX",
    }
}

/// Whole markets by date, from 08:00 of the next day.
pub fn openapi(world: &World, request: &Request) -> Reply {
    krx_openapi::answered(request, |market, service, date| {
        let session = day(date).and_then(|date| world.market.at(date));
        let eight = NaiveTime::from_hms_opt(8, 0, 0).unwrap();
        let Some(session) = session.filter(|session| world.is_past(*session, 1, eight)) else {
            return Vec::new();
        };
        let listed = world
            .market
            .listed(session)
            .filter(|name| name.board != Board::Fund && board_name(name.board) == market);
        listed
            .map(|name| {
                let bar = world.told(name, session);
                let text = |n: i64| n.to_string();
                let traded = i64::from(bar.volume > 0);
                if service == "isu_base_info" {
                    return json!({
                        "ISU_CD": isin(&name.code), "ISU_SRT_CD": name.code, "ISU_NM": name.korean, "ISU_ABBRV": name.korean,
                        "ISU_ENG_NM": name.code, "LIST_DD": compact(listing_date(world, name)), "MKT_TP_NM": market,
                        "SECUGRP_NM": "주권", "SECT_TP_NM": "", "KIND_STKCERT_TP_NM": "보통주", "PARVAL": text(bar.par),
                        "LIST_SHRS": text(bar.shares),
                    });
                }
                json!({
                    "BAS_DD": date, "ISU_CD": name.code, "ISU_NM": name.korean, "MKT_NM": market, "SECT_TP_NM": "",
                    "TDD_CLSPRC": text(bar.close), "CMPPREVDD_PRC": text(bar.close - bar.base),
                    "FLUC_RT": ratio(&bar), "TDD_OPNPRC": text(bar.open * traded),
                    "TDD_HGPRC": text(bar.high * traded), "TDD_LWPRC": text(bar.low * traded),
                    "ACC_TRDVOL": text(bar.volume), "ACC_TRDVAL": text(bar.value),
                    "MKTCAP": text(bar.close * bar.shares), "LIST_SHRS": text(bar.shares),
                })
            })
            .collect()
    })
}

fn listing_date(world: &World, name: &Name) -> NaiveDate {
    if name.listed == 0 { "2015-03-02".parse().unwrap() } else { world.market.sessions[name.listed] }
}

fn ratio(bar: &Bar) -> String {
    let change = i32::try_from(bar.close - bar.base).unwrap();
    format!("{:.2}", f64::from(change) * 100.0 / f64::from(i32::try_from(bar.base).unwrap()))
}

/// The portal: a session three hours after its close; dashes before, and on closed days; masters of the present.
fn portal(world: &World, request: &Request) -> Reply {
    krx::behind_the_login(request, |request| {
        if !krx::is_as_its_pages(request) {
            return Reply::Status(500);
        }
        let form = krx::form(request);
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let session =
            [field("trdDd"), field("strtDd")].into_iter().find_map(day).and_then(|day| world.market.at(day));
        let session = session.filter(|session| {
            let (_, close) = world.market.hours(*session);
            world.is_past(*session, 0, close + TimeDelta::hours(3))
        });
        let (list, rows) = match krx::screen(request).as_str() {
            "MDCSTAT01501" => ("OutBlock_1", quotes(world, session)),
            "MDCSTAT01901" => ("OutBlock_1", shares(world)),
            "MDCSTAT04601" => ("output", funds(world)),
            "finder_listdelisu" => ("block1", gone(world)),
            "MDCSTAT02401" => (
                "output",
                session
                    .map_or(Vec::new(), |session| traded(world, field("mktId"), session, field("invstTpCd"))),
            ),
            _ => return Reply::Status(500),
        };
        krx::list_of(list, &rows, &world.made_at())
    })
}

fn quotes(world: &World, session: Option<usize>) -> Vec<Value> {
    let at = session.unwrap_or_else(|| world.present());
    let listed = world.market.listed(at).filter(|name| name.board != Board::Fund);
    listed
        .map(|name| {
            let bar = world.told(name, at);
            let number = |n: i64| if session.is_some() { commas(&n.to_string()) } else { "-".to_owned() };
            let traded = i64::from(bar.volume > 0);
            let change = bar.close - bar.base;
            let code = match change {
                0 => "3",
                up if up > 0 => "1",
                _ => "2",
            };
            json!({
                "ISU_SRT_CD": name.code, "ISU_CD": isin(&name.code), "ISU_ABBRV": name.korean,
                "MKT_NM": board_name(name.board), "SECT_TP_NM": "", "TDD_CLSPRC": number(bar.close), "FLUC_TP_CD": code,
                "CMPPREVDD_PRC": number(change), "FLUC_RT": if session.is_some() { ratio(&bar) } else { "-".into() },
                "TDD_OPNPRC": number(bar.open * traded), "TDD_HGPRC": number(bar.high * traded),
                "TDD_LWPRC": number(bar.low * traded), "ACC_TRDVOL": number(bar.volume), "ACC_TRDVAL": number(bar.value),
                "MKTCAP": number(bar.close * bar.shares), "LIST_SHRS": commas(&bar.shares.to_string()),
                "MKT_ID": board_id(name.board),
            })
        })
        .collect()
}

fn shares(world: &World) -> Vec<Value> {
    let session = world.present();
    let listed = world.market.listed(session).filter(|name| name.board != Board::Fund);
    listed
        .map(|name| {
            let bar = name.bar(session);
            json!({
                "ISU_CD": isin(&name.code), "ISU_SRT_CD": name.code, "ISU_NM": name.korean, "ISU_ABBRV": name.korean,
                "ISU_ENG_NM": name.code, "LIST_DD": listing_date(world, name).format("%Y/%m/%d").to_string(),
                "MKT_TP_NM": board_name(name.board), "SECUGRP_NM": "주권", "SECT_TP_NM": "", "KIND_STKCERT_TP_NM": "보통주",
                "PARVAL": bar.par.to_string(), "LIST_SHRS": commas(&bar.shares.to_string()),
            })
        })
        .collect()
}

fn funds(world: &World) -> Vec<Value> {
    let session = world.present();
    let listed = world.market.listed(session).filter(|name| name.board == Board::Fund);
    listed
        .map(|name| {
            json!({
                "ISU_CD": isin(&name.code), "ISU_SRT_CD": name.code, "ISU_NM": name.korean, "ISU_ABBRV": name.korean,
                "ISU_ENG_NM": name.code, "LIST_DD": listing_date(world, name).format("%Y/%m/%d").to_string(),
                "LIST_SHRS": commas(&name.bar(session).shares.to_string()), "COM_ABBRV": "가상자산운용",
            })
        })
        .collect()
}

/// Who left, and one who left before all this.
fn gone(world: &World) -> Vec<Value> {
    let row = |code: &str, name: &str, market: &str| json!({ "full_code": isin(code), "short_code": code, "codeName": name, "marketCode": market, "marketName": "" });
    let session = world.present();
    let left = world.market.names.iter().filter(|name| name.delisted <= session);
    let mut rows = vec![row("900010", "옛날", "STK")];
    rows.extend(left.map(|name| row(&name.code, &name.korean, board_id(name.board))));
    rows
}

/// What a kind of investor traded: individuals, institutions and pension funds within them, other companies, and
/// foreigners the rest.
fn traded(world: &World, market: &str, session: usize, kind: &str) -> Vec<Value> {
    let (bought, sold) = match kind {
        "8000" => (50, 45),
        "7050" => (20, 30),
        "6000" => (2, 3),
        "7100" => (5, 5),
        "9000" => (25, 20),
        // Foreigners that are not registered do nothing here.
        _ => (0, 0),
    };
    let listed = world
        .market
        .listed(session)
        .filter(|name| name.board != Board::Fund && board_id(name.board) == market);
    let part = |whole: i64, percent: i64| {
        let others: i64 = if kind == "9000" { [50, 20, 5].map(|p| whole * p / 100).iter().sum() } else { 0 };
        match (kind, percent) {
            // The rest of what was bought, and of what was sold.
            ("9000", 25) => whole - others,
            ("9000", _) => whole - [45, 30, 5].map(|p| whole * p / 100).iter().sum::<i64>(),
            _ => whole * percent / 100,
        }
    };
    listed
        .map(|name| (name, world.told(name, session)))
        .filter(|(_, bar)| bar.volume > 0)
        .map(|(name, bar)| {
            let number = |n: i64| commas(&n.to_string());
            let [buy, sell] = [bought, sold].map(|percent| (part(bar.volume, percent), part(bar.value, percent)));
            json!({
                "ISU_SRT_CD": name.code, "ISU_NM": name.korean, "ASK_TRDVOL": number(sell.0), "BID_TRDVOL": number(buy.0),
                "NETBID_TRDVOL": number(buy.0 - sell.0), "ASK_TRDVAL": number(sell.1), "BID_TRDVAL": number(buy.1),
                "NETBID_TRDVAL": number(buy.1 - sell.1),
            })
        })
        .collect()
}

/// The broker: master files of the present, minutes of what is over, portfolios of the present.
fn broker(world: &World, request: &Request) -> Reply {
    let expires = (world.now() + Duration::hours(24)).format("%Y-%m-%d %H:%M:%S").to_string();
    kis::answered(
        request,
        &expires,
        || masters(world),
        |tr_id, asked| match tr_id {
            "FHKST03010230" => {
                let trap = {
                    let mut trap = world.trap.lock().unwrap();
                    match trap.as_mut() {
                        Some((0, _)) => trap.take(),
                        Some((count, _)) => {
                            *count -= 1;
                            None
                        }
                        None => None,
                    }
                };
                if let Some((_, spring)) = trap {
                    spring();
                }
                minutes(world, asked)
            }
            "FHKST121600C0" => portfolio(world, asked),
            _ => json!({ "output1": {}, "output2": [] }),
        },
    )
}

fn masters(world: &World) -> Vec<Stock> {
    let session = world.present();
    let (mut kospi, mut kosdaq) = (0, 0);
    world
        .market
        .listed(session)
        .map(|name| {
            let (market, group, member, sector) = match name.board {
                Board::Kospi => {
                    kospi += 1;
                    ("kospi", "ST", if kospi <= 200 { '5' } else { '0' }, "0009")
                }
                Board::Kosdaq => {
                    kosdaq += 1;
                    ("kosdaq", "ST", if kosdaq <= 150 { 'Y' } else { 'N' }, "1024")
                }
                Board::Konex => ("konex", "ST", '0', "0000"),
                Board::Fund => ("kospi", "EF", '0', "0000"),
            };
            Stock {
                code: name.code.clone(),
                name: "가상",
                market,
                group,
                preferred: '0',
                listed: "20150302",
                member,
                sector,
            }
        })
        .collect()
}

fn minutes(world: &World, asked: &Asked) -> Value {
    let (code, anchor) = (&asked["FID_INPUT_ISCD"], asked["FID_INPUT_HOUR_1"].as_str());
    let mut rows = Vec::new();
    if let (Some(name), Some(date)) = (world.market.find(code), day(&asked["FID_INPUT_DATE_1"])) {
        let last = world.market.at_or_before(date);
        // What is before goes on until the page is full; nothing, where a name has stood still for long.
        for session in (last.saturating_sub(2)..=last).rev().filter(|session| name.is_listed(*session)) {
            let (_, close) = world.market.hours(session);
            if !world.is_past(session, 0, close) {
                continue;
            }
            let mut running = 0;
            let mut day = Vec::new();
            for (time, prices, volume, value) in world.market.minutes(name, session) {
                running += value;
                let time = time.format("%H%M%S").to_string();
                if session == last && time.as_str() > anchor {
                    continue;
                }
                let [open, high, low, close] = prices.map(|price| price.to_string());
                day.push(json!({
                    "stck_bsop_date": compact(world.market.sessions[session]), "stck_cntg_hour": time, "stck_prpr": close,
                    "stck_oprc": open, "stck_hgpr": high, "stck_lwpr": low, "cntg_vol": volume.to_string(),
                    "acml_tr_pbmn": running.to_string(),
                }));
            }
            rows.extend(day.into_iter().rev());
        }
    }
    json!({ "output1": { "hts_kor_isnm": "이름" }, "output2": rows })
}

/// Two shares and cash.
fn portfolio(world: &World, asked: &Asked) -> Value {
    let session = world.present();
    let is_fund = world.market.find(&asked["FID_INPUT_ISCD"]).is_some_and(|name| name.board == Board::Fund);
    if !is_fund {
        return json!({ "output1": {}, "output2": [] });
    }
    let row = |code: &str, name: &str, price: i64, shares: i64, weight: &str| {
        json!({
            "stck_shrn_iscd": code, "hts_kor_isnm": name, "stck_prpr": price.to_string(), "prdy_vrss": "0",
            "etf_cnfg_issu_avls": (price * shares).to_string(), "etf_vltn_amt": (price * shares).to_string(),
            "etf_cnfg_issu_rlim": weight,
        })
    };
    let close = |code: &str| world.market.find(code).unwrap().bar(session).close;
    let mut cash = row("", "원화현금", 0, 0, "0.50");
    cash["etf_vltn_amt"] = "1234567".into();
    cash["etf_cnfg_issu_avls"] = "1234567".into();
    let rows = [
        row("100010", "가상", close("100010"), 700, "60.00"),
        row("100020", "가상", close("100020"), 400, "39.50"),
        cash,
    ];
    json!({ "output1": { "etf_cnfg_issu_cnt": "3", "nav": "37301.11" }, "output2": rows })
}

/// Floating shares of the present.
fn floats(world: &World, request: &Request) -> Reply {
    let expires = (world.now() + Duration::hours(24)).format("%Y%m%d%H%M%S").to_string();
    let (operation, body) = match kiwoom::entered(request, &expires) {
        Ok(asked) => asked,
        Err(reply) => return reply,
    };
    let session = world.present();
    if operation == "ka10099" {
        let board = |board| match board {
            Board::Kospi | Board::Fund => "0",
            Board::Kosdaq => "10",
            Board::Konex => "50",
        };
        let listed = world.market.listed(session).filter(|name| body["mrkt_tp"] == board(name.board));
        let row = |name: &Name| {
            let kind = if name.board == Board::Fund { "8" } else { board(name.board) };
            json!({
                "code": name.code, "name": name.korean, "regDay": compact(listing_date(world, name)), "marketCode": kind,
                "listCount": "0000000000000000", "lastPrice": "00000000", "marketName": "", "orderWarning": "0",
            })
        };
        let list: Vec<Value> = listed.map(row).collect();
        return Reply::json(
            &json!({ "list": list, "return_code": 0, "return_msg": "정상적으로 처리되었습니다" }),
        );
    }
    let name = body["stk_cd"].as_str().and_then(|code| world.market.find(code));
    let Some(name) = name.filter(|name| operation == "ka10001" && name.is_listed(session)) else {
        return kiwoom::refused(200, 2, "입력 값 오류입니다[1902:종목 정보가 없습니다]");
    };
    let listed = name.bar(session).shares / 1_000;
    let floating = listed * 3 / 4;
    Reply::json(&json!({
        "stk_cd": name.code, "stk_nm": name.korean, "flo_stk": listed.to_string(), "dstr_stk": floating.to_string(),
        "dstr_rt": format!("{}.{:02}", floating * 100 / listed, floating * 10_000 / listed % 100), "return_code": 0,
        "return_msg": "정상적으로 처리되었습니다",
    }))
}
