//! KRX OPEN API, with the market of the fixtures.

use serde_json::{Map, Value, json};

use super::{CANARY, Vendor};
use crate::support::{Reply, Request, Sheet, Work};

pub static VENDOR: Vendor = Vendor {
    source: "krx-openapi",
    ask: "extract ohlcv --source krx-openapi --from 2026-01-02 --to 2026-01-06",
    env,
    reply: vendor,
    is_data: |request| request.path.contains("_bydd_trd.json"),
    empty: r#"{"OutBlock_1":[]}"#,
    empty_code: 9,
    stale: |request| {
        vendor(&Request { path: request.path.replace(&day(request), "20260107"), ..request.clone() })
    },
    expired: None,
};

pub fn env(work: &mut Work, url: &str) {
    work.set("KDATA_KRX_OPENAPI_URL", url).set("KDATA_KRX_OPENAPI_RATE", "400");
    work.set("KDATA_KRX_OPENAPI_KEY", &format!("{CANARY}openapi"));
}

fn day(request: &Request) -> String {
    request.param("basDd").unwrap_or_default()
}

pub fn vendor(request: &Request) -> Reply {
    let sheet = Sheet::fixture(2026);
    answered(request, |market, service, day| {
        let date = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
        let of =
            |row: &&Vec<String>| row[sheet.at("Date")] == date && row[sheet.at("Market")].starts_with(market);
        sheet.rows.iter().filter(of).map(|row| shown(&sheet, row, service, day)).collect()
    })
}

/// Checks the key and the question, and answers with the rows of a market, a service and a day.
pub fn answered(request: &Request, rows: impl Fn(&str, &str, &str) -> Vec<Value>) -> Reply {
    if request.header("auth_key") != Some(&format!("{CANARY}openapi")) {
        return Reply::Full(401, vec![], br#"{"respMsg":"Unauthorized Key","respCode":"401"}"#.to_vec());
    }
    let Some(service) = request.place().strip_prefix("/svc/apis/sto/").and_then(|p| p.strip_suffix(".json"))
    else {
        return Reply::Status(404);
    };
    // One parameter, and no other.
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    if query != format!("basDd={}", day(request)) || day(request).len() != 8 {
        return Reply::Full(200, vec![], br#"{"respMsg":"Bad Request","respCode":"400"}"#.to_vec());
    }
    let (market, dataset) = service.split_once('_').unwrap();
    let market = match market {
        "stk" => "KOSPI",
        "ksq" => "KOSDAQ",
        "knx" => "KONEX",
        _ => return Reply::Status(404),
    };
    Reply::json(&json!({ "OutBlock_1": rows(market, dataset, &day(request)) }))
}

fn shown(sheet: &Sheet, row: &[String], dataset: &str, day: &str) -> Value {
    let cell = |column: &str| Value::String(row[sheet.at(column)].clone());
    let (names, more): (&[(&str, &str)], Map<String, Value>) = if dataset == "isu_base_info" {
        let code = &row[sheet.at("Code")];
        let more = json!({
            "ISU_CD": isin(code), "ISU_NM": "(주)", "ISU_ENG_NM": "Name, Inc.", "LIST_DD": "20100104",
            "SECUGRP_NM": "주권", "SECT_TP_NM": "", "PARVAL": "500", "MKT_TP_NM": row[sheet.at("Market")],
            "KIND_STKCERT_TP_NM": if code.ends_with('0') { "보통주" } else { "구형우선주" },
        });
        (
            &[("ISU_SRT_CD", "Code"), ("ISU_ABBRV", "Name"), ("LIST_SHRS", "Stocks")],
            more.as_object().unwrap().clone(),
        )
    } else {
        let names: &[(&str, &str)] = &[
            ("ISU_CD", "Code"),
            ("ISU_NM", "Name"),
            ("MKT_NM", "Market"),
            ("SECT_TP_NM", "Dept"),
            ("TDD_CLSPRC", "Close"),
            ("CMPPREVDD_PRC", "Changes"),
            ("FLUC_RT", "ChangesRatio"),
            ("TDD_OPNPRC", "Open"),
            ("TDD_HGPRC", "High"),
            ("TDD_LWPRC", "Low"),
            ("ACC_TRDVOL", "Volume"),
            ("ACC_TRDVAL", "Amount"),
            ("MKTCAP", "Marcap"),
            ("LIST_SHRS", "Stocks"),
        ];
        (names, json!({ "BAS_DD": day }).as_object().unwrap().clone())
    };
    let cells = names.iter().map(|(theirs, column)| ((*theirs).to_owned(), cell(column)));
    Value::Object(more.into_iter().chain(cells).collect())
}

/// An ISIN of a share, with its check digit.
pub fn isin(code: &str) -> String {
    let body = format!("KR7{code}00");
    let mut digits = String::new();
    for c in body.chars() {
        digits.push_str(&c.to_digit(36).unwrap().to_string());
    }
    let sum: u32 = digits
        .chars()
        .rev()
        .enumerate()
        .map(|(at, c)| {
            let n = c.to_digit(10).unwrap() * if at % 2 == 0 { 2 } else { 1 };
            n / 10 + n % 10
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}
