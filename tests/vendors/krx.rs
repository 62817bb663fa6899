//! The KRX data portal, with the market of the fixtures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::krx_openapi::isin;
use super::{CANARY, Vendor};
use crate::support::{Reply, Request, Sheet, Work};

pub static VENDOR: Vendor = Vendor {
    source: "krx",
    ask: "extract ohlcv --source krx --from 2026-01-02 --to 2026-01-06",
    env,
    reply: vendor,
    is_data: |request| screen(request) == "MDCSTAT01501" && request.header("cookie").is_some(),
    empty: r#"{"OutBlock_1":[],"CURRENT_DATETIME":"2026.01.07 PM 08:00:00"}"#,
    empty_code: 9,
    stale: |_| table("ALL", "20260107"),
    expired: Some(|| Reply::Full(400, vec![], b"LOGOUT".to_vec())),
};

const DATA: &str = "/comm/bldAttendant/getJsonData.cmd";
const CLIENT: &str = "/contents/MDC/COMS/client";

pub fn env(work: &mut Work, url: &str) {
    work.set("KDATA_KRX", "on").set("KDATA_KRX_URL", url).set("KDATA_KRX_RATE", "400");
    work.set("KDATA_KRX_ID", &format!("{CANARY}id")).set("KDATA_KRX_PASSWORD", &format!("{CANARY}password"));
    work.set("KDATA_RETRY_PAUSE", "0.02").set("KDATA_HTTP_TIMEOUT", "5");
}

/// The last part of the screen that is asked for.
pub fn screen(request: &Request) -> String {
    let bld = if request.method == "POST" { request.param("bld") } else { None };
    bld.unwrap_or_default().rsplit('/').next().unwrap().to_owned()
}

/// The fields of a form.
pub fn form(request: &Request) -> BTreeMap<String, String> {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let names = body.split('&').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
    names.map(|name| (name.clone(), request.param(&name).unwrap())).collect()
}

/// With a login, as the portal wants it since 2026: another one is thrown out when asked for.
pub fn vendor(request: &Request) -> Reply {
    behind_the_login(request, data)
}

/// The login, and behind it the data.
pub fn behind_the_login(request: &Request, data: impl Fn(&Request) -> Reply) -> Reply {
    let cookie = request.header("cookie").unwrap_or_default();
    if request.place() != DATA {
        return login(request, cookie);
    }
    if !cookie.contains(&format!("JSESSIONID={CANARY}session")) {
        return Reply::Full(400, vec![], b"LOGOUT".to_vec());
    }
    data(request)
}

/// Is it asked as the portal's own pages ask?
pub fn is_as_its_pages(request: &Request) -> bool {
    request.method == "POST"
        && request
            .header("referer")
            .is_some_and(|from| from.ends_with("/contents/MDC/MDI/outerLoader/index.cmd"))
        && request.header("x-requested-with") == Some("XMLHttpRequest")
}

fn login(request: &Request, cookie: &str) -> Reply {
    let set = |value: &str| vec![("Set-Cookie", format!("JSESSIONID={CANARY}{value}; Path=/; HttpOnly"))];
    let from_there = request.header("referer").is_some_and(|from| from.ends_with("/MDCCOMS001.cmd"));
    match (request.method.as_str(), request.path.strip_prefix(CLIENT)) {
        ("GET", Some("/MDCCOMS001.cmd")) => Reply::Full(200, set("first"), b"<html></html>".to_vec()),
        ("GET", Some("/view/login.jsp?site=mdc")) if from_there && cookie.contains("first") => {
            Reply::Full(200, vec![("Set-Cookie", "WMONID=w; Path=/".into())], b"<html></html>".to_vec())
        }
        ("POST", Some("/MDCCOMS001D1.cmd"))
            if from_there && cookie.contains("first") && cookie.contains("WMONID=w") =>
        {
            let form = form(request);
            let of = |name: &str| form.get(name).map(String::as_str);
            let blank = ["mbrNm", "telNo", "di", "certType"].iter().all(|name| of(name) == Some(""));
            let known =
                of("mbrId") == Some(&format!("{CANARY}id")) && of("pw") == Some(&format!("{CANARY}password"));
            let (code, cookies) = match (blank && known, of("skipDup")) {
                (false, _) => ("CD003", vec![]),
                (true, None) => ("CD011", vec![]),
                (true, Some("Y")) => ("CD001", set("session")),
                (true, Some(_)) => ("CD999", vec![]),
            };
            let told = json!({ "_error_code": code, "_error_message": "아이디 또는 비밀번호" });
            Reply::Full(200, cookies, told.to_string().into_bytes())
        }
        _ => Reply::Status(404),
    }
}

/// Without a login, as it was until then: each screen wants its fields, and no others.
pub fn data(request: &Request) -> Reply {
    if !is_as_its_pages(request) {
        return Reply::Status(500);
    }
    let mut fields = form(request);
    fields.remove("bld");
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    let reply = match screen(request).as_str() {
        "MDCSTAT01501" => table(&take("mktId"), &take("trdDd")),
        "MDCSTAT01901" if take("mktId") == "ALL" => list("OutBlock_1", &shares()),
        "MDCSTAT04601" => list("output", &funds()),
        "finder_listdelisu"
            if (take("mktsel"), take("searchText"), take("typeNo"))
                == ("ALL".into(), String::new(), "0".into()) =>
        {
            list("block1", &gone())
        }
        "MDCSTAT02401" => {
            let (from, to, market, kind) = (take("strtDd"), take("endDd"), take("mktId"), take("invstTpCd"));
            if from != to {
                return Reply::Status(500);
            }
            list("output", &traded(&market, &from, &kind))
        }
        "MDCSTAT00601" => {
            let (number, group, day) = (take("indIdx2"), take("indIdx"), take("trdDd"));
            list("output", &members(&group, &number, &day))
        }
        "MDCSTAT03901" => list("block1", &leaves(&take("mktId"), &take("trdDd"))),
        "MDCSTAT05001" => list("output", &components(&take("isuCd"), &take("trdDd"))),
        _ => return Reply::Status(500),
    };
    if fields.is_empty() { reply } else { Reply::Status(500) }
}

fn list(name: &str, rows: &[Value]) -> Reply {
    list_of(name, rows, "2026.01.07 PM 08:00:00")
}

/// As the portal says it: JSON that it calls HTML, with the time at which it was made.
pub fn list_of(name: &str, rows: &[Value], made_at: &str) -> Reply {
    let body = json!({ name: rows, "CURRENT_DATETIME": made_at });
    Reply::Full(200, vec![("Content-Type", "text/html; charset=utf-8".into())], body.to_string().into_bytes())
}

pub fn commas(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    format!("{sign}{}", groups.join(","))
}

/// The rows of a day and market; those of the last day for another one.
fn of_day(market: &str, day: &str) -> (Sheet, Vec<Vec<String>>, bool) {
    let sheet = Sheet::fixture(2026);
    let name = match market {
        "STK" => "KOSPI",
        "KSQ" => "KOSDAQ",
        "KNX" => "KONEX",
        _ => "",
    };
    let date = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
    let is_session = sheet.rows.iter().any(|row| row[sheet.at("Date")] == date);
    let date = if is_session { date } else { "2026-01-07".into() };
    let fits =
        |row: &&Vec<String>| row[sheet.at("Date")] == date && row[sheet.at("Market")].starts_with(name);
    let rows = sheet.rows.iter().filter(fits).cloned().collect();
    (sheet, rows, is_session)
}

/// All shares of a day; on one without a session, the same with dashes.
fn table(market: &str, day: &str) -> Reply {
    let (sheet, rows, is_session) = of_day(market, day);
    let shown = |row: &Vec<String>| {
        let cell = |column: &str| row[sheet.at(column)].clone();
        let number = |column: &str| if is_session { commas(&cell(column)) } else { "-".to_owned() };
        json!({
            "ISU_SRT_CD": cell("Code"), "ISU_CD": isin(&cell("Code")), "ISU_ABBRV": cell("Name"),
            "MKT_NM": cell("Market"), "SECT_TP_NM": cell("Dept"), "TDD_CLSPRC": number("Close"),
            "FLUC_TP_CD": if is_session { cell("ChangeCode") } else { "3".into() },
            "CMPPREVDD_PRC": number("Changes"), "FLUC_RT": if is_session { cell("ChangesRatio") } else { "-".into() },
            "TDD_OPNPRC": number("Open"), "TDD_HGPRC": number("High"), "TDD_LWPRC": number("Low"),
            "ACC_TRDVOL": number("Volume"), "ACC_TRDVAL": number("Amount"), "MKTCAP": number("Marcap"),
            "LIST_SHRS": commas(&cell("Stocks")), "MKT_ID": cell("MarketId"),
        })
    };
    list("OutBlock_1", &rows.iter().map(shown).collect::<Vec<_>>())
}

fn shares() -> Vec<Value> {
    let (sheet, rows, _) = of_day("ALL", "20260107");
    let shown = |row: &Vec<String>| {
        let cell = |column: &str| row[sheet.at(column)].clone();
        json!({
            "ISU_CD": isin(&cell("Code")), "ISU_SRT_CD": cell("Code"), "ISU_NM": "(주)", "ISU_ABBRV": cell("Name"),
            "ISU_ENG_NM": "Name, Inc.", "LIST_DD": "2010/01/04", "MKT_TP_NM": cell("Market"), "SECUGRP_NM": "주권",
            "SECT_TP_NM": cell("Dept"), "PARVAL": "5,000", "LIST_SHRS": commas(&cell("Stocks")),
            "KIND_STKCERT_TP_NM": if cell("Code").ends_with('0') { "보통주" } else { "구형우선주" },
        })
    };
    rows.iter().map(shown).collect()
}

fn funds() -> Vec<Value> {
    let fund = |code: &str, since: &str| {
        json!({
            "ISU_CD": isin(code), "ISU_SRT_CD": code, "ISU_NM": "증권상장지수투자신탁", "ISU_ABBRV": format!("가나 ETF {code}"),
            "ISU_ENG_NM": "ETF", "LIST_DD": since, "LIST_SHRS": "1,000,000", "COM_ABBRV": "가나자산운용",
        })
    };
    vec![fund("152100", "2012/01/20"), fund("0069M0", "2026/01/06")]
}

fn gone() -> Vec<Value> {
    let name = |isin: &str, code: &str, name: &str, market: &str| json!({ "full_code": isin, "short_code": code, "codeName": name, "marketCode": market, "marketName": "" });
    vec![
        name("KR7037730009", "037730", "<em class =\"up\">3</em>R", "KSQ"),
        name("KRA060310125", "06031012", "3S R", "KSQ"),
        name("KR7023134000", "02313A", "국민은행(4우B)", "STK"),
        name("KR7026260018", "026261", "M플러스텍1신", "KSQ"),
    ]
}

/// Individuals buy 10 more than they sell, institutions sell 4 (pension funds 1 of them), other companies 1, foreigners
/// 5 in all. Who has nothing to do with a name is not in its list.
fn traded(market: &str, day: &str, kind: &str) -> Vec<Value> {
    let (sheet, rows, is_session) = of_day(market, day);
    let net = |code: &str| match (kind, code) {
        ("8000", _) if market == "KNX" => Some(3),
        ("7100", _) if market == "KNX" => Some(-3),
        (_, _) if market == "KNX" => None,
        ("8000", _) => Some(10),
        ("7050", _) => Some(-4),
        ("6000" | "7100", _) => Some(-1),
        ("9000", "000010") => Some(-5),
        ("9000", _) => Some(-6),
        ("9001", "000010") => None,
        ("9001", _) => Some(1),
        _ => None,
    };
    let shown = |row: &Vec<String>| {
        let cell = |column: &str| row[sheet.at(column)].clone();
        let (net, price): (i64, i64) = (net(&cell("Code"))?, cell("Close").parse().unwrap());
        let number = |n: i64| commas(&n.to_string());
        // What pension funds traded is a part of what institutions did.
        let sold = if kind == "7050" { 300 } else { 100 };
        Some(json!({
            "ISU_SRT_CD": cell("Code"), "ISU_NM": cell("Name"),
            "ASK_TRDVOL": number(sold), "BID_TRDVOL": number(sold + net), "NETBID_TRDVOL": number(net),
            "ASK_TRDVAL": number(sold * price), "BID_TRDVAL": number((sold + net) * price),
            "NETBID_TRDVAL": number(net * price),
        }))
    };
    let rows = rows.iter().filter(|row| row[sheet.at("Volume")] != "0" || market == "KNX").filter_map(shown);
    if is_session { rows.collect() } else { Vec::new() }
}

fn members(group: &str, number: &str, day: &str) -> Vec<Value> {
    let market = match (group, number) {
        ("1", "028" | "001") => "STK",
        ("2", "203") => "KSQ",
        _ => return Vec::new(),
    };
    let (sheet, rows, is_session) = of_day(market, day);
    let shown = |row: &Vec<String>| {
        json!({
            "ISU_SRT_CD": row[sheet.at("Code")], "ISU_ABBRV": row[sheet.at("Name")],
            "TDD_CLSPRC": commas(&row[sheet.at("Close")]), "FLUC_TP_CD": row[sheet.at("ChangeCode")],
            "STR_CMP_PRC": commas(&row[sheet.at("Changes")]), "FLUC_RT": "0.00",
            "MKTCAP": commas(&row[sheet.at("Marcap")]), "IDX_ID": "",
        })
    };
    if is_session { rows.iter().map(shown).collect() } else { Vec::new() }
}

fn leaves(market: &str, day: &str) -> Vec<Value> {
    let (sheet, rows, _) = of_day(market, day);
    let shown = |row: &Vec<String>| {
        json!({
            "ISU_SRT_CD": row[sheet.at("Code")], "ISU_ABBRV": row[sheet.at("Name")], "MKT_TP_NM": "KOSPI",
            "IDX_IND_NM": if market == "STK" { "전기·전자" } else { "IT 서비스" },
            "TDD_CLSPRC": commas(&row[sheet.at("Close")]), "MKTCAP": commas(&row[sheet.at("Marcap")]),
        })
    };
    rows.iter().map(shown).collect()
}

fn components(isin_of_fund: &str, day: &str) -> Vec<Value> {
    let part = |code: &str, isin: &str, group: &str, quantity: &str, amount: &str, ratio: &str| {
        json!({
            "COMPST_ISU_CD": code, "COMPST_ISU_CD2": isin, "MKT_ID": "", "SECUGRP_ID": group, "COMPST_ISU_NM": "이름",
            "COMPST_ISU_CU1_SHRS": quantity, "VALU_AMT": "-", "COMPST_AMT": amount, "COMPST_RTO": ratio,
        })
    };
    if isin_of_fund != isin("152100") && !(isin_of_fund == isin("0069M0") && day >= "20260106") {
        return Vec::new();
    }
    vec![
        part("000010", &isin("000010"), "ST", "8,140.00", "1,300,000", "99.35"),
        part("KR4101R60000", "KR4101R60000", "FU", "-3.58", "-", "-"),
        part("KRD010010001", "KRD010010001", "", "-", "10,000", "0.65"),
        part("CASH00000001", "CASH00000001", "", "-", "-1,000", "-"),
    ]
}
