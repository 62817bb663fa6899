//! Infomax, with the market of the fixtures, two ETFs on indices, and a name that was delisted.

use serde_json::{Value, json};

use super::krx_openapi::isin;
use super::{CANARY, Vendor};
use crate::support::{Reply, Request, Sheet, Work};

pub static VENDOR: Vendor = Vendor {
    source: "infomax",
    ask: "extract investor-trading --source infomax --from 2026-01-02 --to 2026-01-06 \
          --codes 000010,000020,000030,100010",
    env,
    reply: vendor,
    is_data: |request| request.place() == "/api/stock/investor",
    empty: r#"{"success":true,"results":[]}"#,
    // The first has its rows: the others are missing.
    empty_code: 7,
    stale: |request| {
        vendor(&Request { path: request.path.replace("20260106", "20260107"), ..request.clone() })
    },
    expired: None,
};

/// The ETFs, and the index each is on.
pub const ETFS: [(&str, &str); 2] = [("069500", "KODEX 200"), ("229200", "KODEX 코스닥150")];
/// Delisted on 2026-01-06.
pub const GONE: &str = "300010";

pub fn env(work: &mut Work, url: &str) {
    work.set("KDATA_INFOMAX_URL", url).set("KDATA_INFOMAX_RATE", "400");
    work.set("KDATA_INFOMAX_TOKEN", &format!("{CANARY}infomax"));
}

pub fn vendor(request: &Request) -> Reply {
    if request.method != "GET" || request.header("authorization") != Some(&format!("bearer {CANARY}infomax"))
    {
        return refused(&json!("access_denied"));
    }
    let sheet = market();
    match request.place() {
        "/api/stock/code" => names(request, &["code", "type"], &listed()),
        "/api/stock/expired" => {
            let gone = [Listed {
                delisted: Some(20_260_106),
                ..Listed::of(GONE, "지난상사", "코스닥", "ST")
            }];
            names(request, &["code", "type", "startDate", "endDate"], &gone)
        }
        "/api/stock/info" => quotes(request, &sheet, &["code", "date"]),
        "/api/stock/hist" => quotes(request, &sheet, &["code", "startDate", "endDate"]),
        "/api/stock/investor" => investors(request, &sheet),
        "/api/etf/port" => portfolio(request, &sheet),
        _ => Reply::Status(404),
    }
}

pub fn refused(message: &Value) -> Reply {
    Reply::json(&json!({"success": false, "message": message}))
}

pub fn results(rows: &[Value]) -> Reply {
    // Never more than a thousand, and no word about it.
    Reply::json(&json!({"success": true, "results": &rows[..rows.len().min(1_000)]}))
}

/// Are all parameters known, and those that must be there?
fn is_known(request: &Request, known: &[&str], needed: &[&str]) -> bool {
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
    names.all(|name| known.contains(&name)) && needed.iter().all(|name| request.param(name).is_some())
}

fn number(request: &Request, name: &str) -> Option<u64> {
    request.param(name).filter(|text| text.len() == 8).and_then(|text| text.parse().ok())
}

/// The fixture's market, the ETFs and the delisted name.
pub fn market() -> Sheet {
    let mut sheet = Sheet::fixture(2026);
    let like = |sheet: &Sheet, code: &str, of: &str, name: &str, market: &str| -> Vec<Vec<String>> {
        let rows = sheet.rows.iter().filter(|row| row[sheet.at("Code")] == of);
        let set = |row: &Vec<String>| {
            let mut row = row.clone();
            for (column, text) in [("Code", code), ("Name", name), ("Market", market)] {
                text.clone_into(&mut row[sheet.at(column)]);
            }
            row
        };
        rows.map(set).collect()
    };
    let mut more = like(&sheet, GONE, "100010", "지난상사", "KOSDAQ");
    more.retain(|row| row[sheet.at("Date")].as_str() < "2026-01-06");
    for (code, name) in ETFS {
        more.extend(like(&sheet, code, "100010", name, "KOSPI"));
    }
    sheet.rows.extend(more);
    sheet
}

/// A name as the list has it.
#[derive(Clone)]
pub struct Listed {
    pub code: String,
    pub name: String,
    pub market: &'static str,
    pub kind: &'static str,
    pub since: u64,
    pub delisted: Option<u64>,
}

impl Listed {
    pub fn of(code: &str, name: &str, market: &'static str, kind: &'static str) -> Self {
        Self { code: code.into(), name: name.into(), market, kind, since: 20_150_302, delisted: None }
    }
}

/// The present names of the market; the two that are new in January 2026 are listed then.
fn listed() -> Vec<Listed> {
    let sheet = market();
    let mut names: Vec<Listed> = Vec::new();
    for row in &sheet.rows {
        let code = &row[sheet.at("Code")];
        if code == GONE || names.iter().any(|name| name.code == *code) {
            continue;
        }
        let market = match row[sheet.at("Market")].as_str() {
            "KOSPI" => "거래소(코스피)",
            "KONEX" => "코넥스",
            _ => "코스닥",
        };
        let kind = if ETFS.iter().any(|(etf, _)| etf == code) { "EF" } else { "ST" };
        let since = if code == "00012K" { 20_260_105 } else { 20_150_302 };
        names.push(Listed { since, ..Listed::of(code, &row[sheet.at("Name")], market, kind) });
    }
    names
}

/// The lists of names: the filter finds its text anywhere in a code.
pub fn names(request: &Request, known: &[&str], names: &[Listed]) -> Reply {
    if !is_known(request, known, &[]) {
        return refused(&json!({"errmsg": "error params"}));
    }
    let (from, to) = (number(request, "startDate"), number(request, "endDate"));
    let rows: Vec<Value> = names
        .iter()
        .filter(|name| request.param("code").is_none_or(|code| name.code.contains(&code)))
        .filter(|name| request.param("type").is_none_or(|kind| name.kind == kind))
        .filter(|name| {
            name.delisted.is_none_or(|date| from.is_some_and(|f| f <= date) && to.is_some_and(|t| date <= t))
        })
        .map(|name| {
            let market = if name.delisted.is_some() { "market_type" } else { "market" };
            let mut row = json!({
                "code": name.code, "kr_name": name.name, market: name.market, "isin": isin(&name.code),
                "equity_type": if name.kind == "EF" { "ETF" } else { "주식" }, "listed_date": name.since,
            });
            if let Some(date) = name.delisted {
                row["delisted_date"] = json!(date);
            }
            row
        })
        .collect();
    results(&rows)
}

/// The rows of some codes on some days. A name has none on its first session.
fn of<'a>(sheet: &'a Sheet, codes: &str, from: u64, to: u64) -> impl Iterator<Item = (u64, &'a Vec<String>)> {
    let codes: Vec<String> = codes.split(',').map(ToOwned::to_owned).collect();
    sheet.rows.iter().filter_map(move |row| {
        let date: u64 = row[sheet.at("Date")].replace('-', "").parse().unwrap();
        let is_first = row[sheet.at("Code")] == "00012K" && date == 20_260_105;
        (codes.contains(&row[sheet.at("Code")]) && from <= date && date <= to && !is_first)
            .then_some((date, row))
    })
}

fn quotes(request: &Request, sheet: &Sheet, known: &[&str]) -> Reply {
    if !is_known(request, known, known) {
        return refused(&json!({"errmsg": "error params"}));
    }
    let from = number(request, "date").or(number(request, "startDate")).unwrap();
    let to = number(request, "date").or(number(request, "endDate")).unwrap();
    let codes = request.param("code").unwrap();
    let cell = |row: &[String], column: &str| json!(i64::try_from(sheet.number(row, column)).unwrap());
    let quote = |(date, row): (u64, &Vec<String>)| {
        let names = [
            ("open_price", "Open"),
            ("high_price", "High"),
            ("low_price", "Low"),
            ("close_price", "Close"),
            ("change", "Changes"),
            ("trading_volume", "Volume"),
            ("trading_value", "Amount"),
            ("listed_shares", "Stocks"),
        ];
        let mut quote = json!({"date": date, "code": row[sheet.at("Code")], "change_rate": 0.1});
        for (theirs, column) in names {
            quote[theirs] = cell(row, column);
        }
        let base = sheet.number(row, "Close") - sheet.number(row, "Changes");
        quote["base_price"] = json!(i64::try_from(base).unwrap());
        if known.contains(&"date") {
            let market = &row[sheet.at("Market")];
            quote["market"] = json!(match market.as_str() {
                "KOSPI" => "거래소(코스피)",
                "KONEX" => "코넥스",
                _ => "코스닥",
            });
            quote["kr_name"] = json!(row[sheet.at("Name")]);
        }
        quote
    };
    results(&of(sheet, &codes, from, to).map(quote).collect::<Vec<_>>())
}

/// Fourteen kinds; everybody together buys what is sold. Values in thousand KRW, asked is sold.
pub fn investors(request: &Request, sheet: &Sheet) -> Reply {
    const ALL: [(&str, &str, i64, i64); 14] = [
        ("1000", "금융투자", 5, 3),
        ("2000", "보험", 1, 1),
        ("3000", "투신", 2, 2),
        ("3100", "사모", 0, 1),
        ("4000", "은행", 0, 0),
        ("5000", "종금/저축", 0, 0),
        ("6000", "기금공제", 4, 1),
        ("7000", "정부", 0, 0),
        ("T010", "기관계", 12, 8),
        ("7100", "기타법인", 1, 2),
        ("8000", "개인", 30, 40),
        ("9000", "외국인합", 57, 50),
        ("9001", "외국인", 56, 48),
        ("9002", "기타외국인", 1, 2),
    ];
    if !is_known(request, &["code", "investor", "startDate", "endDate"], &["code", "startDate", "endDate"]) {
        return refused(&json!({"errmsg": "error params"}));
    }
    let selected = request.param("investor");
    let is_selected =
        |code: &str| selected.as_ref().is_none_or(|list| list.split(',').any(|one| one == code));
    let (from, to) = (number(request, "startDate").unwrap(), number(request, "endDate").unwrap());
    let mut rows = Vec::new();
    for (date, row) in of(sheet, &request.param("code").unwrap(), from, to) {
        let volume = i64::try_from(sheet.number(row, "Volume")).unwrap();
        let close = i64::try_from(sheet.number(row, "Close")).unwrap();
        for (code, name, bought, sold) in ALL {
            if is_selected(code) && volume > 0 {
                rows.push(json!({
                    "date": date, "code": row[sheet.at("Code")], "investor": name,
                    "ask_volume": sold * 10, "ask_value": sold * 10 * close / 1000,
                    "bid_volume": bought * 10, "bid_value": bought * 10 * close / 1000,
                }));
            }
        }
    }
    results(&rows)
}

/// The portfolio of an ETF: two shares, a deposit and a future.
fn portfolio(request: &Request, sheet: &Sheet) -> Reply {
    if !is_known(request, &["code", "date", "sort"], &["code", "date"]) {
        return refused(&json!({"errmsg": "error params"}));
    }
    let (etf, date) = (request.param("code").unwrap(), number(request, "date").unwrap());
    let has = ETFS.iter().any(|(code, _)| *code == etf) && of(sheet, &etf, date, date).next().is_some();
    let parts = [
        (isin("000010"), "000010", "가나전자", 97_400_000, json!(1000)),
        (isin("0012A0"), "0012A0", "새벽에너지", 120_000, json!(10.5)),
        ("KRD010010001".into(), "010010", "원화예금", 5_000, json!("")),
        ("KR4101R60000".into(), "KR4101R60000", "코스피200 F 202603", -300, json!("-3.58")),
    ];
    let rows: Vec<Value> = parts
        .iter()
        .map(|(isin, code, name, value, volume)| {
            json!({
                "date": date, "isin": super::krx_openapi::isin(&etf), "code": etf, "kr_name": "KODEX", "constituents": 4,
                "admin_number": "10", "etf_value": 97_525_000, "port_isin": isin, "port_code": code, "port_name": name,
                "port_value": value, "port_volume": volume,
            })
        })
        .collect();
    results(if has { &rows } else { &[] })
}
