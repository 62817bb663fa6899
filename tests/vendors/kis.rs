//! KIS Developers, with a small market of its own: 200 members of KOSPI 200, 150 of KOSDAQ 150, and a few others.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::OnceLock;

use kdata::market::Calendar;
use serde_json::{Value, json};

use super::krx_openapi::isin;
use super::{CANARY, Vendor};
use crate::support::{Reply, Request, Work};

pub static VENDOR: Vendor = Vendor {
    source: "kis",
    ask: "extract ohlcv --source kis --from 2026-11-18 --to 2026-11-20 --codes 100000,100010,200000,069500",
    env,
    reply: vendor,
    is_data: |request| request.path.contains("itemchartprice"),
    empty: r#"{"rt_cd":"0","msg_cd":"MCA00000","msg1":"정상처리 되었습니다.","output1":{},"output2":[]}"#,
    // The first code was answered: the others are missing.
    empty_code: 7,
    stale: |request| {
        let path = request.path.replace("20261118", "20261116").replace("20261120", "20261117");
        vendor(&Request { path, ..request.clone() })
    },
    expired: Some(|| error(500, "EGW00123", "기간이 만료된 token 입니다.")),
};

pub fn env(work: &mut Work, url: &str) {
    work.set("KDATA_KIS_URL", url).set("KDATA_KIS_RATE", "400");
    work.set("KDATA_KIS_APP_KEY", &format!("{CANARY}app-key"));
    work.set("KDATA_KIS_APP_SECRET", &format!("{CANARY}app-secret"));
}

/// An error as quotations have it.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    let rt_cd = if message.contains("TIME LIMIT") { "2" } else { "1" };
    let body = json!({ "rt_cd": rt_cd, "msg_cd": code, "msg1": format!("{message}      ") });
    Reply::Full(status, vec![], body.to_string().into_bytes())
}

/// An error as tokens have it.
pub fn token_error(code: &str, message: &str) -> Reply {
    let body = json!({ "error_code": code, "error_description": message });
    Reply::Full(403, vec![], body.to_string().into_bytes())
}

/// A name of the market.
#[derive(Clone)]
pub struct Stock {
    /// As KIS writes it: ETNs have a letter before.
    pub code: String,
    pub name: &'static str,
    pub market: &'static str,
    pub group: &'static str,
    pub preferred: char,
    pub listed: &'static str,
    pub member: char,
    pub sector: &'static str,
}

/// All names.
pub fn stocks() -> Vec<Stock> {
    let stock = |code: &str, name, market, group| Stock {
        code: code.to_owned(),
        name,
        market,
        group,
        preferred: '0',
        listed: "19900103",
        member: '0',
        sector: if market == "kospi" { "0009" } else { "1024" },
    };
    let mut all = Vec::new();
    for number in 0..200 {
        all.push(Stock { member: '5', ..stock(&format!("1{number:04}0"), "삼성전자", "kospi", "ST") });
    }
    for number in 0..150 {
        all.push(Stock {
            member: 'Y', ..stock(&format!("2{number:04}0"), "셀트리온제약", "kosdaq", "ST")
        });
    }
    all.push(Stock { preferred: '1', ..stock("100005", "삼성전자우", "kospi", "ST") });
    all.push(Stock { member: 'B', ..stock("0126Z0", "삼성에피스홀딩스", "kospi", "ST") });
    all.push(stock("395400", "SK리츠", "kospi", "RT"));
    all.push(Stock { sector: "0000", ..stock("069500", "KODEX 200", "kospi", "EF") });
    all.push(Stock { sector: "0000", ..stock("229200", "KODEX 코스닥150", "kospi", "EF") });
    all.push(Stock {
        sector: "0000", ..stock("Q500001", "신한 레버리지 WTI원유 선물 ETN", "kospi", "EN")
    });
    all.push(Stock { sector: "0000", ..stock("F70100026", "수익증권", "kospi", "BC") });
    all.push(Stock {
        listed: "20261119", member: 'N', ..stock("0088D0", "메리츠제1호스팩", "kosdaq", "ST")
    });
    all.push(stock("217320", "썬테크", "konex", "ST"));
    all
}

/// A master file, packed.
pub fn master(market: &str, stocks: &[Stock]) -> Vec<u8> {
    let mut text = Vec::new();
    for stock in stocks.iter().filter(|stock| stock.market == market) {
        // Offsets behind the name: listing date, par value, shares in thousands, capital, preferred, sectors, member.
        let (tail, at) = match market {
            "kospi" => (227, [105, 93, 113, 128, 158, 3, 18]),
            "kosdaq" => (221, [100, 88, 108, 123, 153, 3, 35]),
            _ => (184, [66, 54, 74, 89, 119, 140, 141]),
        };
        let mut line = vec![b' '; 61 + tail];
        let mut put = |at: usize, bytes: &[u8]| line[at..at + bytes.len()].copy_from_slice(bytes);
        let code = stock.code.trim_start_matches('Q');
        put(0, stock.code.as_bytes());
        if code.len() == 6 {
            put(9, isin(code).as_bytes());
        }
        put(21, &encoding_rs::EUC_KR.encode(stock.name).0);
        put(61, stock.group.as_bytes());
        put(61 + at[0], stock.listed.as_bytes());
        put(61 + at[1], b"000000000500");
        put(61 + at[2], b"000000000010000");
        // Of preferred shares the capital of all classes says nothing.
        put(
            61 + at[3],
            if stock.preferred == '0' { b"000000000005000250000" } else { b"000000000099000000000" },
        );
        put(61 + at[4], &[u8::try_from(stock.preferred).unwrap()]);
        if market != "konex" {
            let large: &[u8] = if market == "kospi" { b"0027" } else { b"1009" };
            put(61 + at[5], if stock.sector == "0000" { b"0000" } else { large });
            put(61 + at[5] + 4, stock.sector.as_bytes());
            put(61 + at[5] + 8, b"0000");
            put(61 + at[6], &[u8::try_from(stock.member).unwrap()]);
        }
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    zip(&text)
}

/// Packs a text as the vendor does.
pub fn zip(text: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("code.mst", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(text).unwrap();
    zip.finish().unwrap().into_inner()
}

fn sectors() -> Vec<u8> {
    let text = "00027제조            \n00009의약품\n11009제조\n11024제약\n";
    zip(&encoding_rs::EUC_KR.encode(text).0)
}

/// A bar of a name: open, high, low, close, volume, change. Names that end in 15 stand still.
pub fn bar(code: &str, day: &str) -> [i64; 6] {
    let close = |day: &str| {
        let seed = code.bytes().chain(day.bytes()).fold(7i64, |seed, b| (seed * 31 + i64::from(b)) % 1_009);
        15_000 + seed % 40 * 50
    };
    let days = sessions();
    let at = days.binary_search_by(|d| d.as_str().cmp(day)).unwrap();
    let (before, close) = (close(&days[at - 1]), close(day));
    let volume = 100_000 + close % 700;
    [before, before.max(close) + 50, before.min(close) - 50, close, volume, close - before]
}

/// The days of the calendar on which the vendor's market was open, compact.
pub fn sessions() -> &'static [String] {
    static SESSIONS: OnceLock<Vec<String>> = OnceLock::new();
    SESSIONS.get_or_init(|| {
        let day = |day: &str| day.parse().unwrap();
        let calendar = Calendar::shipped();
        let sessions = calendar.sessions(day("2026-01-02"), day("2026-11-23"));
        sessions.iter().map(|day| day.format("%Y%m%d").to_string()).collect()
    })
}

fn find(code: &str) -> Option<Stock> {
    // A code that bears a letter must be asked for with it.
    stocks().into_iter().find(|stock| stock.code == code)
}

/// Answers by path, and refuses what KIS would refuse.
pub fn vendor(request: &Request) -> Reply {
    answered(request, "2026-11-24 20:00:00", stocks, |tr_id, asked| match tr_id {
        "FHKST03010100" => daily(asked),
        "FHKST03010230" => minutes(asked),
        "FHPTJ04160001" => investors(asked),
        _ => portfolio(asked),
    })
}

/// The same with another market: the master files hold `stocks`, quotations are answered by their id; tokens are good
/// until `expires`.
pub fn answered(
    request: &Request,
    expires: &str,
    stocks: impl Fn() -> Vec<Stock>,
    answer: impl Fn(&str, &Asked) -> Value,
) -> Reply {
    if let Some(file) = request.place().strip_prefix("/common/master/") {
        return match file {
            "idxcode.mst.zip" => Reply::Body(sectors()),
            "kospi_code.mst.zip" => Reply::Body(master("kospi", &stocks())),
            "kosdaq_code.mst.zip" => Reply::Body(master("kosdaq", &stocks())),
            "konex_code.mst.zip" => Reply::Body(master("konex", &stocks())),
            _ => Reply::Status(404),
        };
    }
    if request.place() == "/oauth2/tokenP" {
        return token(request, expires);
    }
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    if header("authorization") != format!("Bearer {CANARY}token") {
        return error(500, "EGW00121", "유효하지 않은 token 입니다.");
    }
    if header("appkey") != format!("{CANARY}app-key") || header("appsecret") != format!("{CANARY}app-secret")
    {
        return error(500, "EGW00103", "유효하지 않은 AppKey입니다.");
    }
    let (tr_id, names): (&str, &[&str]) = match request.place() {
        "/uapi/domestic-stock/v1/quotations/inquire-daily-itemchartprice" => (
            "FHKST03010100",
            &["FID_INPUT_DATE_1", "FID_INPUT_DATE_2", "FID_PERIOD_DIV_CODE", "FID_ORG_ADJ_PRC"],
        ),
        "/uapi/domestic-stock/v1/quotations/inquire-time-dailychartprice" => (
            "FHKST03010230",
            &["FID_INPUT_HOUR_1", "FID_INPUT_DATE_1", "FID_PW_DATA_INCU_YN", "FID_FAKE_TICK_INCU_YN"],
        ),
        "/uapi/domestic-stock/v1/quotations/investor-trade-by-stock-daily" => {
            ("FHPTJ04160001", &["FID_INPUT_DATE_1", "FID_ORG_ADJ_PRC", "FID_ETC_CLS_CODE"])
        }
        "/uapi/etfetn/v1/quotations/inquire-component-stock-price" => {
            ("FHKST121600C0", &["FID_COND_SCR_DIV_CODE"])
        }
        _ => return error(404, "OPSQ0002", "없는 서비스 코드 입니다"),
    };
    if header("tr_id") != tr_id || header("custtype") != "P" || request.method != "GET" {
        return error(200, "OPSQ0002", "없는 서비스 코드 입니다");
    }
    // All parameters, and no other.
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let asked: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let wanted = ["FID_COND_MRKT_DIV_CODE", "FID_INPUT_ISCD"].iter().chain(names);
    if let Some(lacks) = wanted.clone().find(|name| !asked.contains_key(**name)) {
        return error(200, "OPSQ2001", &format!("ERROR INPUT FIELD NOT FOUND [{lacks}]"));
    }
    if asked.len() != wanted.count() || asked["FID_COND_MRKT_DIV_CODE"] != "J" {
        return error(200, "OPSQ2001", "ERROR INVALID INPUT");
    }
    let mut body = answer(tr_id, &asked);
    body["rt_cd"] = "0".into();
    body["msg_cd"] = "MCA00000".into();
    body["msg1"] = "정상처리 되었습니다.        ".into();
    Reply::json(&body)
}

fn token(request: &Request, expires: &str) -> Reply {
    let asked = request.json();
    if request.method != "POST" || asked["grant_type"] != "client_credentials" {
        return token_error("EGW00002", "서버 에러가 발생했습니다.");
    }
    if asked["appkey"] != format!("{CANARY}app-key") {
        return token_error("EGW00103", "유효하지 않은 AppKey입니다.");
    }
    if asked["appsecret"] != format!("{CANARY}app-secret") {
        return token_error("EGW00105", "유효하지 않은 AppSecret입니다.");
    }
    Reply::json(&json!({
        "access_token": format!("{CANARY}token"), "access_token_token_expired": expires,
        "token_type": "Bearer", "expires_in": 86_400,
    }))
}

/// The parameters of a question.
pub type Asked = BTreeMap<String, String>;

/// The sessions of a name up to a day, newest first.
fn days(asked: &Asked, up_to: &str) -> Vec<String> {
    let Some(stock) = find(&asked["FID_INPUT_ISCD"]) else { return Vec::new() };
    let all = sessions().iter().skip(1).cloned();
    let mut days: Vec<String> =
        all.filter(|day| day.as_str() >= stock.listed && day.as_str() <= up_to).collect();
    days.reverse();
    days
}

fn daily(asked: &Asked) -> Value {
    let code = &asked["FID_INPUT_ISCD"];
    let adjusted = if asked["FID_ORG_ADJ_PRC"] == "1" { 1 } else { 2 };
    let rows: Vec<Value> = days(asked, &asked["FID_INPUT_DATE_2"])
        .iter()
        .filter(|day| **day >= asked["FID_INPUT_DATE_1"] && asked["FID_PERIOD_DIV_CODE"] == "D")
        .take(100)
        .map(|day| {
            let [open, high, low, close, volume, change] = bar(code, day).map(|n| n * adjusted);
            let text = |n: i64| n.to_string();
            // Suspended, though the flag does not say so.
            let traded = i64::from(!code.ends_with("150"));
            json!({
                "stck_bsop_date": day, "stck_oprc": text(open * traded), "stck_hgpr": text(high * traded),
                "stck_lwpr": text(low * traded), "stck_clpr": text(close), "acml_vol": text(volume * traded),
                "acml_tr_pbmn": text(volume * close * traded), "flng_cls_code": "00", "prtt_rate": "0.00",
                "mod_yn": "N", "prdy_vrss_sign": if change < 0 { "5" } else { "2" }, "prdy_vrss": text(change),
                "revl_issu_reas": "",
            })
        })
        .collect();
    // One row may come as an object, and padding at the end.
    let rows = match rows.len() {
        1 => rows[0].clone(),
        0 => json!([]),
        _ => rows.into_iter().chain([json!({})]).collect(),
    };
    json!({ "output1": { "hts_kor_isnm": "이름", "acml_vol": "0" }, "output2": rows })
}

/// The minutes of a session, oldest first: time, price, volume, running value.
fn minutes_of(code: &str, day: &str) -> Vec<(u32, i64, i64, i64)> {
    let [_, _, _, close, ..] = bar(code, day);
    // The day of the college entrance exam begins and ends an hour later.
    let late = if day == "20261119" { 60 } else { 0 };
    let mut running = 0;
    let mut all = Vec::new();
    for minute in (9 * 60 + late)..=(20 * 60) {
        let (price, volume) = match minute - late {
            // Fillers while orders are gathered; one without a price; after the close nothing until the after-market.
            600 => (0, 0),
            920..=929 => (close, 0),
            931..=959 => continue,
            _ => (close, 10 + i64::from(minute % 7)),
        };
        running += price * volume;
        all.push((minute, price, volume, running));
        // The same minute again, without trades.
        if minute - late == 700 {
            all.push((minute, price, 0, running));
        }
    }
    all
}

fn minutes(asked: &Asked) -> Value {
    let code = &asked["FID_INPUT_ISCD"];
    let (day, anchor) = (&asked["FID_INPUT_DATE_1"], asked["FID_INPUT_HOUR_1"].as_str());
    let past = asked["FID_PW_DATA_INCU_YN"] == "Y";
    let mut rows = Vec::new();
    for (at, session) in days(asked, day).iter().take(2).enumerate() {
        // Nothing was traded on that day.
        if code == "100150" && session == day {
            continue;
        }
        for (minute, price, volume, running) in minutes_of(code, session).into_iter().rev() {
            let time = format!("{:02}{:02}00", minute / 60, minute % 60);
            if (at == 0 && time.as_str() > anchor) || (at > 0 && !past) {
                continue;
            }
            let text = |n: i64| n.to_string();
            rows.push(json!({
                "stck_bsop_date": session, "stck_cntg_hour": time, "stck_prpr": text(price),
                "stck_oprc": text(price), "stck_hgpr": text(price), "stck_lwpr": text(price),
                "cntg_vol": text(volume), "acml_tr_pbmn": text(running),
            }));
        }
    }
    rows.truncate(120);
    json!({ "output1": { "hts_kor_isnm": "이름" }, "output2": rows })
}

fn investors(asked: &Asked) -> Value {
    let code = &asked["FID_INPUT_ISCD"];
    let rows: Vec<Value> = days(asked, &asked["FID_INPUT_DATE_1"])
        .iter()
        .take(30)
        .map(|day| {
            let [.., close, volume, change] = bar(code, day);
            let mut row = json!({
                "stck_bsop_date": day, "stck_clpr": close.to_string(), "acml_vol": volume.to_string(),
                "acml_tr_pbmn": (volume * close).to_string(), "etc_corp_ntby_vol": "", "prdy_vrss": change.to_string(),
            });
            // Bought and sold in thousands: institutions with their pension fund, the others the rest.
            let groups = [("prsn", 60, 30), ("frgn", 20, 40), ("orgn", 15, 28), ("fund", 5, 8), ("etc", 5, 2)];
            for (group, bought, sold) in groups {
                let text = |n: i64| n.to_string();
                row[format!("{group}_shnu_vol")] = text(bought * 1_000).into();
                row[format!("{group}_seln_vol")] = text(sold * 1_000).into();
                row[format!("{group}_ntby_qty")] = text((bought - sold) * 1_000).into();
                row[format!("{group}_shnu_tr_pbmn")] = text(bought * 15).into();
                row[format!("{group}_seln_tr_pbmn")] = text(sold * 15).into();
                row[format!("{group}_ntby_tr_pbmn")] = text((bought - sold) * 15).into();
            }
            row
        })
        .collect();
    json!({ "output1": {}, "output2": rows })
}

fn portfolio(asked: &Asked) -> Value {
    if find(&asked["FID_INPUT_ISCD"]).is_none_or(|stock| stock.group != "EF") {
        return json!({ "output1": {}, "output2": [] });
    }
    let row = |code: &str, name: &str, price: i64, change: i64, shares: i64, weight: &str| {
        let text = |n: i64| n.to_string();
        json!({
            "stck_shrn_iscd": code, "hts_kor_isnm": name, "stck_prpr": text(price), "prdy_vrss": text(change),
            "etf_cnfg_issu_avls": text(price * shares), "etf_vltn_amt": text((price - change) * shares),
            "etf_cnfg_issu_rlim": weight,
        })
    };
    let mut cash = row("", "원화현금", 0, 0, 0, "0.50");
    cash["etf_vltn_amt"] = "1234567".into();
    cash["etf_cnfg_issu_avls"] = "1234567".into();
    let rows = [
        row("100010", "삼성전자", 83_700, -400, 7_184, "60.00"),
        row("100000", "SK하이닉스", 187_400, -1_000, 854, "39.50"),
        cash,
    ];
    json!({ "output1": { "etf_cnfg_issu_cnt": "3", "nav": "37301.11" }, "output2": rows })
}
