//! Kiwoom REST: name by name, from a server on loopback.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::support::{Db, Reply, Request, Server, Sheet, Work, on_both_backends, rows};
use crate::vendors::kiwoom::{env, paged, refused, vendor};

/// The names of the fixture; the ETF that is listed, too, has no rows.
const NAMES: &str =
    "--codes 000010,000015,000020,000030,000040,00012K,0012A0,100010,100020,100030,100050,200010,200020";

fn work(server: &Server) -> Work {
    let mut work = Work::new();
    env(&mut work, &server.url);
    work.set("KDATA_RETRY_PAUSE", "0.01");
    work
}

fn serve() -> Server {
    Server::answering(|request, _| vendor(request))
}

fn asked(server: &Server, operation: &str) -> Vec<Request> {
    let is = |request: &Request| request.header("api-id") == Some(operation);
    server.requests().into_iter().filter(is).collect()
}

/// Rows without one column.
fn without(rows: Vec<String>, column: usize) -> Vec<String> {
    let cut = |row: String| {
        let mut fields: Vec<&str> = row.split(',').collect();
        fields.remove(column);
        fields.join(",")
    };
    rows.into_iter().map(cut).collect()
}

#[test]
fn bars_equal_those_of_the_yearly_file_but_for_the_last_digits_of_values() {
    // Two rows a page: the cursor is followed.
    let server = Server::answering(|request, _| paged(request, 2));
    let mut work = work(&server);
    work.marcap(2026, &Sheet::fixture(2026));
    let of = |source: &str| {
        work.kdata(&format!("extract ohlcv --source {source} --from 2026-01-02 --to 2026-01-07 {NAMES}")).ok()
    };
    let (theirs, file) = (of("kiwoom"), of("marcap"));
    let column = 7;
    assert_eq!(without(rows(&theirs), column), without(rows(&file), column));
    for (ours, exact) in rows(&theirs).iter().zip(rows(&file)) {
        let value = |row: &str| row.split(',').nth(column).unwrap().parse::<i64>().unwrap();
        assert_eq!(value(ours), value(&exact) / 1_000_000 * 1_000_000, "{ours}");
    }
    assert!(theirs.contains(" value_unit=1000000 "), "{theirs}");
    assert!(work.feed("validate", theirs.as_bytes()).ok().contains(" rejected=0 "));
    let requests = asked(&server, "ka10081");
    assert_eq!(requests.len(), 13 * 2);
    let is_next = |request: &&Request| request.header("cont-yn") == Some("Y");
    assert_eq!(requests.iter().filter(is_next).count(), 13);
    assert!(requests.iter().filter(|r| !is_next(r)).all(|r| r.header("next-key").is_none()));
    let first = &requests[0];
    assert_eq!(first.json(), json!({"stk_cd": "000010", "base_dt": "20260107", "upd_stkpc_tp": "0"}));
    // One token for all, kept for those that come.
    assert_eq!(asked(&server, "au10001").len(), 1);
    let kept: Vec<_> = std::fs::read_dir(work.path("home/tokens")).unwrap().flatten().collect();
    assert!(
        kept.iter().all(|file| file.metadata().unwrap().permissions().mode() & 0o777 == 0o600)
            && !kept.is_empty()
    );
    of("kiwoom");
    assert_eq!(asked(&server, "au10001").len(), 1);
}

#[test]
fn minutes_are_those_of_the_regular_session_and_whole() {
    // Three rows a page: each cuts a session in two.
    let server = Server::answering(|request, _| paged(request, 3));
    let work = work(&server);
    let stream = work
        .kdata("extract ohlcv-minute --source kiwoom --from 2026-01-02 --to 2026-01-06 --codes 000010,000040")
        .ok();
    let expected = [
        "000010,2026-01-02T10:00:00+09:00,98000,98100,97300,97400,990,",
        "000010,2026-01-02T15:30:00+09:00,97400,97400,97400,97400,10,",
        "000040,2026-01-02T10:00:00+09:00,3905,3915,3900,3910,1538,",
        "000040,2026-01-02T15:30:00+09:00,3910,3910,3910,3910,10,",
        "000010,2026-01-05T09:00:00+09:00,97400,97600,97300,97500,1031,",
        "000010,2026-01-05T15:30:00+09:00,97500,97500,97500,97500,10,",
        "000040,2026-01-05T09:00:00+09:00,3910,3915,3880,3885,1579,",
        "000040,2026-01-05T15:30:00+09:00,3885,3885,3885,3885,10,",
        // Nobody traded the other one on the 6th.
        "000010,2026-01-06T09:00:00+09:00,97500,97600,96900,97000,1072,",
        "000010,2026-01-06T15:30:00+09:00,97000,97000,97000,97000,10,",
    ];
    assert_eq!(rows(&stream), expected);
    assert!(
        stream.contains(" provides=open,high,low,close,volume ") && stream.contains(" missing=0 "),
        "{stream}"
    );
    assert!(
        stream.contains("#note rule=kiwoom.minutes_out_of_hours") && stream.contains("5 minutes outside"),
        "{stream}"
    );
    assert!(work.feed("validate", stream.as_bytes()).ok().contains(" rejected=0 "));
}

#[test]
fn minutes_of_a_name_that_was_traded_are_missing_and_said_to_be() {
    let server = Server::answering(|request, _| match vendor(request) {
        Reply::Full(200, headers, body) if request.header("api-id") == Some("ka10080") => {
            let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let lost = |row: &serde_json::Value| row["cntr_tm"].as_str().unwrap().starts_with("20260105");
            body["stk_min_pole_chart_qry"].as_array_mut().unwrap().retain(|row| !lost(row));
            Reply::Full(200, headers, body.to_string().into_bytes())
        }
        other => other,
    });
    let run = work(&server).kdata(
        "extract ohlcv-minute --source kiwoom --from 2026-01-05 --to 2026-01-06 --codes 000010,000040",
    );
    // Nobody has minutes of the 5th.
    run.fails(9, &["2026-01-05", "for 0 of 2 names"]);
    let server = Server::answering(|request, _| match request.json()["stk_cd"].as_str() {
        Some("000020") if request.header("api-id") == Some("ka10080") => {
            refused(200, 20, "조회된 데이터가 없습니다")
        }
        _ => vendor(request),
    });
    let run = work(&server)
        .kdata("extract ohlcv-minute --source kiwoom --date 2026-01-06 --codes 000010,000020,000040");
    assert_eq!(rows(&run.stdout).len(), 2);
    assert_eq!(run.stdout.matches("#missing").count(), 1, "{}", run.stdout);
    assert!(run.stdout.contains("#missing what=000020,2026-01-06 "), "{}", run.stdout);
    run.fails(7, &[]);
}

#[test]
fn flows_of_four_questions_net_to_zero() {
    let server = serve();
    let work = work(&server);
    let stream = work.kdata("extract investor-trading --source kiwoom --date 2026-01-05 --codes 000010").ok();
    assert_eq!(
        rows(&stream),
        [
            // Resident foreigners are among the foreigners.
            "000010,2026-01-05,FOREIGN,570000,500000,55575000000,48750000000,70000,6825000000",
            "000010,2026-01-05,INSTITUTION,120000,80000,11700000000,7800000000,40000,3900000000",
            "000010,2026-01-05,OTHER_CORPORATION,10000,20000,975000000,1950000000,-10000,-975000000",
            "000010,2026-01-05,PENSION,40000,10000,3900000000,975000000,30000,2925000000",
            "000010,2026-01-05,RETAIL,300000,400000,29250000000,39000000000,-100000,-9750000000",
        ]
    );
    assert!(work.feed("validate", stream.as_bytes()).ok().contains(" rejected=0 "));
    let questions: Vec<_> = asked(&server, "ka10059").iter().map(Request::json).collect();
    assert_eq!(questions.len(), 4);
    assert_eq!(
        questions[0],
        json!({"stk_cd": "000010", "dt": "20260105", "amt_qty_tp": "2", "trde_tp": "1", "unit_tp": "1"})
    );
}

#[test]
fn floating_shares_are_of_the_present() {
    let server = Server::answering(|request, _| {
        let odd = |floating: &str| {
            Reply::json(
                &json!({"stk_cd": "", "flo_stk": "5000", "dstr_stk": floating, "dstr_rt": "75.00", "return_code": 0}),
            )
        };
        match request.json()["stk_cd"].as_str() {
            Some("000020") => odd("1234"),
            Some("000030") => odd(""),
            Some("000015") => odd("3750000"),
            _ => vendor(request),
        }
    });
    let mut work = work(&server);
    work.set("KDATA_NOW", "2026-01-06T09:30:00+09:00");
    let ask = "extract floating-shares --source kiwoom --date 2026-01-06 --codes 000010,000015,000020,000030,999990";
    let run = work.kdata(ask);
    assert_eq!(
        rows(&run.stdout),
        [
            "000010,2026-01-06,5000000,3750000,75",
            // In single shares, as the ratio tells.
            "000015,2026-01-06,5000000,3750000,75",
            "000020,2026-01-06,5000000,,75",
            "000030,2026-01-06,5000000,,75",
        ]
    );
    assert_eq!(
        run.stdout.matches("#flag rule=kiwoom.floating_shares_agree key=000020,2026-01-06").count(),
        1
    );
    assert!(run.stdout.contains("#missing what=999990 "), "{}", run.stdout);
    assert!(work.feed("validate", run.stdout.as_bytes()).ok().contains(" rejected=0 "));
    run.fails(7, &[]);
    work.kdata("extract floating-shares --source kiwoom --date 2026-01-05")
        .fails(2, &["of the present only", "2026-01-06"]);
}

#[test]
fn answers_about_too_many_calls_are_waited_for_and_those_about_too_many_codes_are_not() {
    let too_many = "허용된 요청 개수를 초과하였습니다";
    for (status, code, tries, exit) in [
        (429, "1700: 유량=5, API ID=ka10081", 2, 0),
        (429, "1701", 2, 0),
        (200, "1702", 2, 0),
        (429, "1634", 1, 4),
        (200, "1634", 1, 4),
    ] {
        let message = format!("{too_many}[{code}:x]");
        let server = Server::answering(move |request, before| {
            let is_first = !before.iter().any(|b| b.header("api-id") == Some("ka10081"));
            if is_first && request.header("api-id") == Some("ka10081") {
                refused(status, 5, &message)
            } else {
                vendor(request)
            }
        });
        let run = work(&server).kdata("extract ohlcv --source kiwoom --date 2026-01-05 --codes 000010");
        assert_eq!(run.code, exit, "{code}: {run:#?}");
        assert_eq!(asked(&server, "ka10081").len(), tries, "{code}");
    }
}

#[test]
fn tokens_are_renewed_once_and_refusals_say_what_to_do() {
    for (code, tokens, exit, says) in [
        ("8005", 2, 0, ""),
        ("8103", 2, 0, ""),
        ("8010", 1, 6, "register this machine's"),
        ("8030", 1, 6, "mockapi.kiwoom.com"),
        ("8031", 1, 6, "mockapi.kiwoom.com"),
        ("8001", 1, 6, "KDATA_KIWOOM_SECRET_KEY"),
        ("8050", 1, 6, "Kiwoom REST"),
        ("1511", 1, 4, "1511"),
    ] {
        let message = format!("인증에 실패했습니다[{code}:x]");
        let server = Server::answering(move |request, before| {
            let is_first = !before.iter().any(|b| b.header("api-id") == Some("ka10081"));
            if is_first && request.header("api-id") == Some("ka10081") {
                refused(200, 3, &message)
            } else {
                vendor(request)
            }
        });
        let run = work(&server).kdata("extract ohlcv --source kiwoom --date 2026-01-05 --codes 000010");
        assert_eq!(run.code, exit, "{code}: {run:#?}");
        assert!(run.stderr.contains(says), "{code}: {}", run.stderr);
        assert_eq!(asked(&server, "au10001").len(), tokens, "{code}");
    }
    // The token itself is refused.
    let server = serve();
    let mut other = work(&server);
    other.set("KDATA_KIWOOM_SECRET_KEY", "wrong");
    let run = other.kdata("extract ohlcv --source kiwoom --date 2026-01-05 --codes 000010");
    run.fails(6, &["the token", "8001", "KDATA_KIWOOM_APP_KEY"]);
    other
        .unset("KDATA_KIWOOM_SECRET_KEY")
        .kdata("extract ohlcv --source kiwoom --date 2026-01-05")
        .fails(2, &["KDATA_KIWOOM_SECRET_KEY is not set"]);
}

#[test]
fn lists_that_never_end_end() {
    // An empty list that says that there is more, the same page again, a page that goes back.
    let empty = json!({"stk_dt_pole_chart_qry": [], "return_code": 0});
    let more = || vec![("cont-yn", "Y".to_owned()), ("next-key", "A1".to_owned())];
    let server = Server::answering(move |request, _| match request.header("api-id") {
        Some("ka10081") if request.json()["stk_cd"] == "000020" => {
            Reply::Full(200, more(), empty.to_string().into_bytes())
        }
        _ => vendor(request),
    });
    let run = work(&server).kdata("extract ohlcv --source kiwoom --date 2026-01-05 --codes 000010,000020");
    assert_eq!(rows(&run.stdout).len(), 1);
    assert!(run.stdout.contains("#missing what=000020,2026-01-05 "), "{}", run.stdout);
    assert_eq!(asked(&server, "ka10081").len(), 2);
    run.fails(7, &[]);
    let same = Server::answering(|request, _| match paged(request, 2) {
        Reply::Full(200, _, body) if request.header("api-id") == Some("ka10081") => {
            let first = Request {
                headers: request
                    .headers
                    .iter()
                    .filter(|(n, _)| n != "cont-yn" && n != "next-key")
                    .cloned()
                    .collect(),
                ..request.clone()
            };
            let Reply::Full(_, _, first) = paged(&first, 2) else { panic!() };
            drop(body);
            Reply::Full(200, vec![("cont-yn", "Y".to_owned()), ("next-key", "A1".to_owned())], first)
        }
        other => other,
    });
    work(&same)
        .kdata("extract ohlcv --source kiwoom --from 2026-01-02 --to 2026-01-07 --codes 000010")
        .fails(4, &["the same page came twice"]);
    let lost = Server::answering(|request, _| match paged(request, 2) {
        Reply::Full(200, _, body) if request.header("api-id") == Some("ka10081") => {
            Reply::Full(200, vec![("cont-yn", "Y".to_owned())], body)
        }
        other => other,
    });
    work(&lost)
        .kdata("extract ohlcv --source kiwoom --from 2026-01-02 --to 2026-01-07 --codes 000010")
        .fails(4, &["no cursor"]);
}

#[test]
fn a_session_that_is_not_there_is_code_9_and_asked_for_again() {
    // The newest bar is that of the session before.
    let server = Server::answering(|request, before| {
        let is_early = before.iter().filter(|b| b.header("api-id") == Some("ka10081")).count() < 2;
        let body = String::from_utf8_lossy(&request.body).replace("20260106", "20260105");
        match request.header("api-id") {
            Some("ka10081") if is_early => vendor(&Request { body: body.into_bytes(), ..request.clone() }),
            _ => vendor(request),
        }
    });
    let work = work(&server);
    let ask = "extract ohlcv --source kiwoom --date 2026-01-06 --codes 000010,000020";
    work.kdata(ask).fails(9, &["for 0 of 2 names", "run again later"]);
    assert_eq!(rows(&work.kdata(ask).ok()).len(), 2);
    assert_eq!(asked(&server, "ka10081").len(), 4);
}

#[test]
fn one_operation_has_a_third_of_the_rate() {
    let server = serve();
    let mut work = work(&server);
    work.set("KDATA_KIWOOM_RATE", "30");
    work.kdata(&format!("extract ohlcv --source kiwoom --date 2026-01-05 {NAMES}")).ok();
    let times: Vec<_> = asked(&server, "ka10081").iter().map(|request| request.at).collect();
    assert_eq!(times.len(), 13);
    // Ten a second; a busy machine hears of some a little late.
    for window in times.windows(11) {
        assert!(window[10] - window[0] >= Duration::from_millis(900), "{:?}", window[10] - window[0]);
    }
}

#[test]
fn numbers_of_another_venue_are_refused() {
    let server = Server::answering(|request, _| match vendor(request) {
        Reply::Full(200, headers, body) if request.header("api-id") == Some("ka10081") => {
            let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["stk_cd"] = json!("000010_AL");
            Reply::Full(200, headers, body.to_string().into_bytes())
        }
        other => other,
    });
    work(&server)
        .kdata("extract ohlcv --source kiwoom --date 2026-01-05 --codes 000010")
        .fails(4, &["asked for 000010, it answered with 000010_AL"]);
}

#[test]
fn plans_count_at_the_rate_of_one_operation() {
    let server = serve();
    let mut work = work(&server);
    work.unset("KDATA_KIWOOM_RATE");
    for (ask, says) in [
        ("ohlcv --from 2023-01-02 --to 2026-01-07 --codes 000010,000020", "4 calls, about 4 s"),
        ("investor-trading --date 2026-01-05 --codes 000010", "4 calls, about 4 s"),
        ("ohlcv-minute --from 2026-01-02 --to 2026-01-07 --codes 000010", "2 calls, about 2 s"),
        (
            "ohlcv --date 2026-01-05",
            "12 calls, about 12 s at the configured rate for the names, then 1 for each",
        ),
    ] {
        let plan = work.kdata(&format!("extract {ask} --source kiwoom --dry-run")).ok();
        assert!(plan.starts_with(says), "{plan}");
    }
    assert!(server.asked().is_empty());
}

fn all_its_datasets_are_promoted(db: &Db) {
    let server = serve();
    let exports = work(&server).exports();
    db.write("marcap/marcap-2026.csv.gz", Sheet::fixture(2026).csv_gz());
    db.pipe("stocks", "2026-01-02", "2026-01-07");
    for (dataset, range) in [
        ("ohlcv", "--from 2026-01-02 --to 2026-01-07"),
        ("ohlcv-minute", "--from 2026-01-02 --to 2026-01-07"),
        ("investor-trading", "--from 2026-01-02 --to 2026-01-07"),
        ("floating-shares", "--date 2026-01-07"),
    ] {
        db.sh(&format!(
            "{exports} export KDATA_NOW=2026-01-08T06:30:00+09:00; kdata extract {dataset} --source kiwoom {range} \
             | kdata validate | kdata load"
        ))
        .ok();
        // Everybody trades the same every day there, whatever the day's volume.
        db.promote_over(&["investor-trading.within_volume", "investor-trading.session_is_new"]);
    }
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), "51");
    // Two bars of each name's session that was traded.
    assert_eq!(
        db.value("SELECT count(*) FROM market.ohlcv_minute"),
        db.value("SELECT 2 * count(*) FROM market.ohlcv_daily WHERE volume > 0")
    );
    assert_eq!(db.value("SELECT count(*) FROM market.investor_trading"), (51 * 5).to_string());
    assert_eq!(db.value("SELECT count(*) FROM market.floating_shares"), "13");
    assert_eq!(db.value("SELECT count(*) FROM ops.rejects"), "0");
    // The database knows the names: Kiwoom's list was not asked for.
    assert!(asked(&server, "ka10099").is_empty());
}

on_both_backends!(all_its_datasets_are_promoted);
