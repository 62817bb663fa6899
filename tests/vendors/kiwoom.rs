//! Kiwoom REST, with the market of the fixtures.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{CANARY, Vendor};
use crate::support::{Reply, Request, Sheet, Work};

pub static VENDOR: Vendor = Vendor {
    source: "kiwoom",
    ask: "extract ohlcv --source kiwoom --from 2026-01-02 --to 2026-01-06 --codes 000010,000020,000030,100010",
    env,
    reply: vendor,
    is_data: |request| request.header("api-id") == Some("ka10081"),
    empty: r#"{"stk_dt_pole_chart_qry":[],"return_code":0,"return_msg":"정상적으로 처리되었습니다"}"#,
    // The first has its rows: the others are missing.
    empty_code: 7,
    stale: |request| {
        let body = String::from_utf8_lossy(&request.body).replace("20260106", "20260107");
        vendor(&Request { body: body.into_bytes(), ..request.clone() })
    },
    expired: Some(|| refused(200, 3, "인증에 실패했습니다[8005:Token이 유효하지 않습니다]")),
};

pub fn env(work: &mut Work, url: &str) {
    work.set("KDATA_KIWOOM_URL", url).set("KDATA_KIWOOM_RATE", "1200");
    work.set("KDATA_KIWOOM_APP_KEY", &format!("{CANARY}app"));
    work.set("KDATA_KIWOOM_SECRET_KEY", &format!("{CANARY}secret"));
}

/// The real one's pages are longer than any of these answers.
pub fn vendor(request: &Request) -> Reply {
    paged(request, 600)
}

pub fn paged(request: &Request, page: usize) -> Reply {
    let (operation, body) = match entered(request, "20261124200000") {
        Ok(asked) => asked,
        Err(reply) => return reply,
    };
    let fields: &[&str] = match (operation, request.place()) {
        ("ka10099", "/api/dostk/stkinfo") => &["mrkt_tp"],
        ("ka10001", "/api/dostk/stkinfo") => &["stk_cd"],
        ("ka10059", "/api/dostk/stkinfo") => &["stk_cd", "dt", "amt_qty_tp", "trde_tp", "unit_tp"],
        ("ka10081", "/api/dostk/chart") => &["stk_cd", "base_dt", "upd_stkpc_tp"],
        ("ka10080", "/api/dostk/chart") => &["stk_cd", "tic_scope", "upd_stkpc_tp", "base_dt"],
        _ => return refused(200, 2, "입력 값 오류입니다[1504:해당 URI에서는 지원하는 API ID가 아닙니다]"),
    };
    let given: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let is_whole = given.len() == fields.len() && fields.iter().all(|name| given.contains(name));
    if !is_whole || fields.contains(&"upd_stkpc_tp") && text("upd_stkpc_tp") != "0" {
        return refused(200, 2, "입력 값 오류입니다[1511:필수 입력 값에 값이 존재하지 않습니다]");
    }
    let sheet = Sheet::fixture(2026);
    let code = text("stk_cd");
    if fields.contains(&"stk_cd") && !sheet.rows.iter().any(|row| row[sheet.at("Code")] == code) {
        return refused(200, 2, "입력 값 오류입니다[1902:종목 정보가 없습니다]");
    }
    let (list, rows) = match operation {
        "ka10099" => ("list", listed(&sheet, &text("mrkt_tp"))),
        "ka10001" => return basic(&sheet, &code),
        "ka10059" => ("stk_invsr_orgn", investors(&sheet, &body)),
        "ka10081" => ("stk_dt_pole_chart_qry", days(&sheet, &code, &text("base_dt"))),
        _ => ("stk_min_pole_chart_qry", minutes(&sheet, &code, &text("base_dt"))),
    };
    let start = match (request.header("cont-yn"), request.header("next-key")) {
        (None, None) => 0,
        (Some("Y"), Some(key)) => {
            key.strip_prefix(&format!("A{code}")).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
        }
        // A blank cursor is refused.
        _ => return refused(200, 2, "입력 값 오류입니다[1515:next-key 헤더가 올바르지 않습니다]"),
    };
    let end = rows.len().min(start.saturating_add(page));
    let mut shown = rows.get(start..end).map_or(Vec::new(), <[Value]>::to_vec);
    let is_last = end >= rows.len();
    if is_last && list.ends_with("chart_qry") {
        // Padding.
        shown.push(json!({"dt": "", "cntr_tm": "", "cur_prc": "", "trde_qty": ""}));
    }
    let mut answer = json!({"return_code": 0, "return_msg": "정상적으로 처리되었습니다"});
    answer[list] = json!(shown);
    let headers = vec![
        ("api-id", operation.to_owned()),
        ("cont-yn", if is_last { "N" } else { "Y" }.to_owned()),
        ("next-key", if is_last { String::new() } else { format!("A{code}{end}") }),
    ];
    Reply::Full(200, headers, answer.to_string().into_bytes())
}

/// Who has a token comes in: the operation asked for, and its fields. Tokens are good until `expires`.
pub fn entered<'r>(request: &'r Request, expires: &str) -> Result<(&'r str, Value), Reply> {
    if request.method != "POST" || request.header("content-type") != Some("application/json;charset=UTF-8") {
        return Err(Reply::Status(405));
    }
    let body = request.json();
    if request.place() == "/oauth2/token" {
        return Err(
            if body
                == json!({"grant_type": "client_credentials", "appkey": format!("{CANARY}app"), "secretkey": format!("{CANARY}secret")})
            {
                Reply::json(&json!({
                    "expires_dt": expires, "token_type": "bearer", "token": format!("{CANARY}token"),
                    "return_code": 0, "return_msg": "정상적으로 처리되었습니다",
                }))
            } else {
                refused(200, 3, "인증에 실패했습니다[8001:App Key와 Secret Key 검증에 실패했습니다]")
            },
        );
    }
    if request.header("authorization") != Some(&format!("Bearer {CANARY}token")) {
        return Err(refused(200, 3, "인증에 실패했습니다[8005:Token이 유효하지 않습니다]"));
    }
    Ok((request.header("api-id").unwrap_or_default(), body))
}

pub fn refused(status: u16, class: i32, message: &str) -> Reply {
    let body = json!({"return_code": class, "return_msg": message});
    Reply::Full(status, vec![], body.to_string().into_bytes())
}

fn date(sheet: &Sheet, row: &[String]) -> String {
    row[sheet.at("Date")].replace('-', "")
}

/// The rows of a name up to a day, newest first.
fn back<'a>(sheet: &'a Sheet, code: &str, last: &str) -> Vec<&'a Vec<String>> {
    let of = |row: &&Vec<String>| row[sheet.at("Code")] == code && date(sheet, row).as_str() <= last;
    let mut rows: Vec<_> = sheet.rows.iter().filter(of).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(date(sheet, row)));
    rows
}

/// A price with the sign of its change.
fn signed(price: i128, base: i128) -> String {
    match price.cmp(&base) {
        Ordering::Less => format!("-{price}"),
        Ordering::Equal => price.to_string(),
        Ordering::Greater => format!("+{price}"),
    }
}

fn days(sheet: &Sheet, code: &str, last: &str) -> Vec<Value> {
    let number = |row: &[String], column: &str| sheet.number(row, column);
    let day = |row: &&Vec<String>| {
        let base = number(row, "Close") - number(row, "Changes");
        let change = number(row, "Changes");
        json!({
            "dt": date(sheet, row), "cur_prc": signed(number(row, "Close"), base), "trde_qty": number(row, "Volume").to_string(),
            "trde_prica": (number(row, "Amount") / 1_000_000).to_string(), "open_pric": number(row, "Open").to_string(),
            "high_pric": number(row, "High").to_string(), "low_pric": number(row, "Low").to_string(),
            "pred_pre": if change > 0 { format!("+{change}") } else { change.to_string() }, "pred_pre_sig": "2",
            "trde_tern_rt": "+0.16",
        })
    };
    back(sheet, code, last).iter().map(day).collect()
}

/// The minutes of a name's sessions, newest first: the first and the last, one between without trades, and one after the
/// close. Together they trade what the day did.
fn minutes(sheet: &Sheet, code: &str, last: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    for row in back(sheet, code, last) {
        let [open, high, low, close, volume] =
            ["Open", "High", "Low", "Close", "Volume"].map(|column| sheet.number(row, column));
        if volume == 0 {
            continue;
        }
        let day = date(sheet, row);
        let base = close - sheet.number(row, "Changes");
        let bar = |time: &str, [open, high, low, close]: [i128; 4], volume: i128| {
            json!({
                "cur_prc": signed(close, base), "trde_qty": volume.to_string(), "cntr_tm": format!("{day}{time}00"),
                "open_pric": signed(open, base), "high_pric": signed(high, base), "low_pric": signed(low, base),
                "acc_trde_qty": volume.to_string(), "pred_pre": "-600", "pred_pre_sig": "5",
            })
        };
        rows.push(bar("1531", [close; 4], 7));
        rows.push(bar("1530", [close; 4], 10));
        rows.push(bar("1200", [close; 4], 0));
        // The first session of a year begins at ten.
        rows.push(bar(
            if day == "20260102" { "1000" } else { "0900" },
            [open, high, low, close],
            volume - 10,
        ));
    }
    rows
}

/// Resident foreigners are counted apart; everybody together buys what is sold.
fn investors(sheet: &Sheet, body: &Value) -> Vec<Value> {
    const NAMES: [(&str, i128, i128); 7] = [
        ("ind_invsr", 30, 40),
        ("frgnr_invsr", 56, 48),
        ("orgn", 12, 8),
        ("penfnd_etc", 4, 1),
        ("fnnc_invt", 8, 7),
        ("etc_corp", 1, 2),
        ("natfor", 1, 2),
    ];
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let is_amount = text("amt_qty_tp") == "1";
    assert!(is_amount || text("unit_tp") == "1", "quantities in single shares");
    let day = |row: &&Vec<String>| {
        let close = sheet.number(row, "Close");
        let is_traded = i128::from(sheet.number(row, "Volume") > 0);
        let mut day = json!({"dt": date(sheet, row), "cur_prc": "+1", "flu_rt": "+698", "acc_trde_qty": "1"});
        for (name, bought, sold) in NAMES {
            let shares = is_traded
                * match text("trde_tp") {
                    "1" => bought * 10_000,
                    "2" => sold * 10_000,
                    _ => (bought - sold) * 10_000,
                };
            let figure = if is_amount { shares * close / 1_000_000 } else { shares };
            // What was sold bears a minus sign.
            day[name] = json!(if text("trde_tp") == "2" { format!("-{figure}") } else { figure.to_string() });
        }
        day
    };
    back(sheet, text("stk_cd"), text("dt")).iter().map(day).collect()
}

fn basic(sheet: &Sheet, code: &str) -> Reply {
    let row = sheet.rows.iter().rfind(|row| row[sheet.at("Code")] == code).unwrap();
    let listed = sheet.number(row, "Stocks") / 1_000;
    let floating = listed * 3 / 4;
    Reply::json(&json!({
        "stk_cd": code, "stk_nm": row[sheet.at("Name")], "setl_mm": "12", "fav": "500", "flo_stk": listed.to_string(),
        "dstr_stk": floating.to_string(), "dstr_rt": format!("{}.{:02}", floating * 100 / listed, floating * 10_000 / listed % 100),
        "250hgst": "+1", "return_code": 0, "return_msg": "정상적으로 처리되었습니다",
    }))
}

/// The list of KOSPI has an ETF as well.
fn listed(sheet: &Sheet, list: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for row in &sheet.rows {
        let (code, market) = (&row[sheet.at("Code")], &row[sheet.at("Market")]);
        let market = match market.as_str() {
            "KOSPI" => "0",
            "KONEX" => "50",
            _ => "10",
        };
        if market == list && seen.insert(code) {
            let since = if code == "00012K" { "20260105" } else { "20150302" };
            rows.push(json!({
                "code": code, "name": row[sheet.at("Name")], "listCount": "0000000026034239", "regDay": since,
                "lastPrice": "00136000", "marketCode": market, "marketName": "거래소", "orderWarning": "0",
            }));
        }
    }
    if list == "0" || list == "8" {
        rows.push(json!({"code": "069500", "name": "KODEX 200", "regDay": "20021014", "marketCode": "8"}));
    }
    rows
}
