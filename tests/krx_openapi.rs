//! KRX OPEN API: whole markets by date, from a server on loopback.

use crate::support::{Db, Reply, Server, Sheet, Work, on_both_backends, rows};
use crate::vendors::krx_openapi::{env, vendor};

fn work(server: &Server) -> Work {
    let mut work = Work::new();
    env(&mut work, &server.url);
    work
}

#[test]
fn bars_and_caps_equal_those_of_the_yearly_file() {
    let server = Server::answering(|request, _| vendor(request));
    let mut work = work(&server);
    work.marcap(2026, &Sheet::fixture(2026));
    for dataset in ["ohlcv", "market-cap"] {
        let of = |source: &str| {
            let range = "--from 2026-01-02 --to 2026-01-07";
            work.sh(&format!("kdata extract {dataset} --source {source} {range} | kdata validate")).ok()
        };
        let (theirs, file) = (of("krx-openapi"), of("marcap"));
        assert!(theirs.contains(" rejected=0 "), "{theirs}");
        assert_eq!(rows(&theirs), rows(&file), "{dataset}");
    }
    // Four sessions, three markets, two datasets of the same answers.
    assert_eq!(server.asked().len(), 4 * 3 * 2, "{:?}", server.asked());
}

#[test]
fn scopes_plans_and_closed_days() {
    let server = Server::answering(|request, _| vendor(request));
    let work = work(&server);
    let plan =
        work.kdata("extract ohlcv --source krx-openapi --from 2026-01-02 --to 2026-01-06 --dry-run").ok();
    assert!(plan.starts_with("9 calls, about "), "{plan}");
    let closed = work.kdata("extract ohlcv --source krx-openapi --date 2026-01-03").ok();
    assert!(closed.contains("#end rows=0 "), "{closed}");
    assert!(server.asked().is_empty());
    let konex = work.kdata("extract ohlcv --source krx-openapi --date 2026-01-05 --market KONEX").ok();
    assert!(rows(&konex).iter().all(|row| row.contains(",KONEX,")) && konex.contains(" scope=KONEX/stock "));
    assert_eq!(server.asked(), ["/svc/apis/sto/knx_bydd_trd.json?basDd=20260105"]);
    let one = work.kdata("extract ohlcv --source krx-openapi --date 2026-01-05 --codes 000010,999990");
    assert_eq!(rows(&one.stdout).len(), 1);
    one.fails(7, &["could not give 1 of the codes"]);
}

#[test]
fn a_session_is_there_on_the_next_morning() {
    let server = Server::answering(|request, _| vendor(request));
    let mut work = work(&server);
    let ask = "extract ohlcv --date 2026-01-06";
    work.set("KDATA_NOW", "2026-01-07T07:59:00+09:00").kdata(ask).fails(9, &["from 2026-01-07 08:00 KST"]);
    assert!(server.asked().is_empty());
    let there = work.set("KDATA_NOW", "2026-01-07T08:00:00+09:00").kdata(ask).ok();
    assert!(there.contains(" source=krx-openapi ") && there.contains(" finality=final "), "{there}");
    // Where another source is set up that has it, that one is taken.
    work.marcap(2026, &Sheet::fixture(2026)).set("KDATA_NOW", "2026-01-06T18:00:00+09:00");
    assert!(work.kdata(ask).ok().contains(" source=marcap "));
}

#[test]
fn refusals_have_their_codes() {
    for (body, status, code, says) in [
        (r#"{"respMsg":"Unauthorized Key","respCode":"401"}"#, 200, 6, "respCode=401"),
        ("", 401, 6, "applied for"),
        ("", 403, 6, "403"),
        ("", 429, 4, "quota"),
        (r#"{"respMsg":"system error","respCode":"500"}"#, 200, 4, "respCode=500"),
        (r#"{"respMsg":"no such service","respCode":"404"}"#, 200, 4, "respCode=404"),
        ("", 302, 4, "redirect"),
    ] {
        let server = Server::answering(move |_, _| Reply::Full(status, vec![], body.as_bytes().to_vec()));
        let mut work = work(&server);
        work.set("KDATA_RETRY_PAUSE", "0.01");
        let run = work.kdata("extract ohlcv --source krx-openapi --date 2026-01-05 --market KOSPI");
        assert!(!run.stdout.contains("#end") && run.stdout.contains("#abort"), "{run:#?}");
        run.fails(code, &[says]);
    }
    Work::new()
        .kdata("extract ohlcv --source krx-openapi --date 2026-01-05")
        .fails(2, &["KDATA_KRX_OPENAPI_KEY is not set"]);
}

#[test]
fn a_row_that_does_not_read_is_a_reject() {
    let server = Server::answering(|request, _| match vendor(request) {
        Reply::Full(status, headers, body) => {
            let text = String::from_utf8(body).unwrap();
            let text = text.replace(r#""TDD_CLSPRC":"97400""#, r#""TDD_CLSPRC":"#.to_owned().as_str());
            Reply::Full(
                status,
                headers,
                text.replace(r#""TDD_CLSPRC":,"#, r#""TDD_CLSPRC":"97,40O","#).into_bytes(),
            )
        }
        other => other,
    });
    let stream = work(&server).kdata("extract ohlcv --source krx-openapi --date 2026-01-02").ok();
    assert!(stream.contains("#reject rule=source.row_reads"), "{stream}");
    assert!(stream.contains("97,40O") && stream.contains(" rejected=1 "), "{stream}");
}

fn masters_bars_and_caps_are_promoted(db: &Db) {
    let server = Server::answering(|request, _| vendor(request));
    let exports = work(&server).exports();
    for dataset in ["stocks", "ohlcv", "market-cap"] {
        let range = "--from 2026-01-02 --to 2026-01-07";
        db.sh(&format!(
            "{exports} kdata extract {dataset} --source krx-openapi {range} | kdata validate | kdata load && kdata promote"
        ))
        .ok();
    }
    let sheet = Sheet::fixture(2026);
    let all = sheet.rows.len().to_string();
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), all);
    assert_eq!(db.value("SELECT count(*) FROM market.market_cap_daily"), all);
    assert_eq!(db.value("SELECT count(*) FROM ops.rejects"), "0");
    assert_eq!(
        db.value("SELECT isin FROM market.stocks WHERE stock_code = '000010'"),
        crate::vendors::krx_openapi::isin("000010")
    );
    assert_eq!(
        db.value(
            "SELECT security_type, par_value, listing_date FROM market.stocks WHERE stock_code = '00012K'"
        ),
        "PREFERRED|500|2010-01-04"
    );
}

on_both_backends!(masters_bars_and_caps_are_promoted);
