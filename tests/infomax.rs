//! Infomax: name by name, from a server on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{Db, Reply, Request, Run, Server, Sheet, Work, on_both_backends, rows};
use crate::vendors::infomax::{ETFS, GONE, Listed, env, names, refused, results, vendor};

fn work(server: &Server) -> Work {
    let mut work = Work::new();
    env(&mut work, &server.url);
    work.set("KDATA_RETRY_PAUSE", "0.01");
    work
}

fn serve() -> Server {
    Server::answering(|request, _| vendor(request))
}

fn asked(server: &Server, place: &str) -> usize {
    server.requests().iter().filter(|request| request.place() == place).count()
}

/// Without the rows that the yearly file has not, or Infomax.
fn shared(run: &Run) -> Vec<String> {
    let is_shared = |row: &String| {
        !ETFS.iter().any(|(etf, _)| row.starts_with(etf))
            && !row.starts_with(GONE)
            && !row.starts_with("00012K,2026-01-05")
    };
    rows(&run.stdout).into_iter().filter(is_shared).collect()
}

#[test]
fn bars_and_caps_equal_those_of_the_yearly_file() {
    let server = serve();
    let mut work = work(&server);
    work.marcap(2026, &Sheet::fixture(2026));
    for (scope, by_code) in [("", false), (" --codes 000010,000040,0012A0", true)] {
        for dataset in ["ohlcv", "market-cap"] {
            let of = |source: &str| {
                let range = "--from 2026-01-02 --to 2026-01-07";
                work.kdata(&format!("extract {dataset} --source {source} {range}{scope}"))
            };
            let before = [asked(&server, "/api/stock/info"), asked(&server, "/api/stock/hist")];
            let (theirs, file) = (of("infomax"), of("marcap"));
            assert_eq!(shared(&theirs), shared(&file), "{dataset}{scope}");
            assert_eq!(work.feed("validate", theirs.stdout.as_bytes()).ok().matches("#reject").count(), 0);
            let calls = [
                asked(&server, "/api/stock/info") - before[0],
                asked(&server, "/api/stock/hist") - before[1],
            ];
            // A list for each session, and what it left out singly; or a range for each code.
            assert_eq!(calls, if by_code { [0, 3] } else { [5, 0] }, "{dataset}{scope}");
            if !by_code {
                // It has no row of a name on its first session, and says so.
                assert!(theirs.stdout.contains("#missing what=00012K,2026-01-05 "), "{}", theirs.stdout);
                theirs.fails(7, &["could not give 1"]);
            }
        }
    }
}

#[test]
fn lists_that_do_not_work_are_found_out() {
    // Only the first code of a list is looked at.
    let server = Server::answering(|request, _| {
        let path = request.path.split("%2C").next().unwrap();
        let date = request.param("date").map_or(String::new(), |date| format!("&date={date}"));
        if request.path.contains("%2C") && request.place() == "/api/stock/info" {
            vendor(&Request { path: format!("{path}{date}"), ..request.clone() })
        } else {
            vendor(request)
        }
    });
    let ask = "extract ohlcv --source infomax --date 2026-01-06";
    let run = work(&server).kdata(ask);
    assert!(run.stderr.contains("left some out"), "{}", run.stderr);
    let good = serve();
    assert_eq!(rows(&run.ok()), rows(&work(&good).kdata(ask).ok()));
}

#[test]
fn a_session_that_is_not_loaded_is_code_9_and_asked_for_again() {
    // 29 % of the names at 18:10.
    for (share, says) in [(0, "for 0 of 15 names"), (4, "for 4 of 15 names")] {
        let is_early = Arc::new(AtomicBool::new(true));
        let early = Arc::clone(&is_early);
        let server = Server::answering(move |request, _| match vendor(request) {
            Reply::Full(200, _, body)
                if early.load(Ordering::Relaxed) && request.place() == "/api/stock/info" =>
            {
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let rows = body["results"].as_array().unwrap();
                results(if rows.len() > share { &rows[..share] } else { &[] })
            }
            other => other,
        });
        let work = work(&server);
        let ask = "extract ohlcv --source infomax --date 2026-01-06";
        let run = work.kdata(ask);
        assert!(run.stdout.contains("#abort code=9 ") && rows(&run.stdout).is_empty(), "{run:#?}");
        run.fails(9, &[says, "after 19:00"]);
        let all = server.asked().len();
        // A list, and some of its names singly, to see whether it left them out.
        assert!(asked(&server, "/api/stock/info") <= 16, "{:#?}", server.asked());
        // What it said of the names stands; of the session it is asked anew.
        is_early.store(false, Ordering::Relaxed);
        assert_eq!(rows(&work.kdata(ask).ok()).len(), 15);
        assert!(server.requests()[all..].iter().all(|request| request.place() == "/api/stock/info"));
    }
}

#[test]
fn masters_hold_the_delisted_with_their_dates() {
    let server = serve();
    let work = work(&server);
    let stream = work.kdata("extract stocks --source infomax --from 2026-01-05 --to 2026-01-06").ok();
    assert!(stream.contains("#flag rule=infomax.names_are_of_the_present"), "{stream}");
    let of = |code: &str, day: &str| {
        let start = format!("{code},{day},");
        rows(&stream).into_iter().find(|row| row.starts_with(&start)).unwrap_or_default()
    };
    let isin = crate::vendors::krx_openapi::isin(GONE);
    assert_eq!(
        of(GONE, "2026-01-05"),
        format!("{GONE},2026-01-05,{isin},지난상사,,KOSDAQ,,STOCK,2015-03-02,2026-01-06,t,,")
    );
    assert!(of(GONE, "2026-01-06").ends_with(",2015-03-02,2026-01-06,f,,"), "{stream}");
    assert!(of("069500", "2026-01-06").contains(",KODEX 200,,KOSPI,,ETF,"), "{stream}");
    assert!(of("000015", "2026-01-06").contains(",KOSPI,,PREFERRED,"), "{stream}");
    assert!(of("200020", "2026-01-06").contains(",KONEX,,STOCK,"), "{stream}");
    // Asked for from before the range, since the service's own default is the last 365 days.
    let expired = server.requests().into_iter().find(|r| r.place() == "/api/stock/expired").unwrap();
    assert_eq!(expired.param("startDate").unwrap(), "20251121");
    assert_eq!(expired.param("endDate").unwrap(), "20261123");
    assert!(work.feed("validate", stream.as_bytes()).ok().contains(" rejected=0 "));
    // A list of codes is looked up singly: two calls each.
    let before = server.asked().len();
    let one = work
        .kdata(&format!("extract stocks --source infomax --date 2026-01-06 --codes 000010,{GONE},999990"));
    assert_eq!(rows(&one.stdout).len(), 2);
    assert_eq!(server.asked().len() - before, 6);
    one.fails(7, &["could not give 1"]);
}

#[test]
fn lists_of_more_than_a_thousand_names_are_split() {
    // So many names that begin with 00 that they are split again, and some with letters.
    let mut all: Vec<Listed> = (0..1_150)
        .map(|n| Listed::of(&format!("00{n:03}0", n = n % 1_000), "가나", "거래소(코스피)", "ST"))
        .chain((0..700).map(|n| Listed::of(&format!("{:06}", 100_000 + n * 130), "다라", "코스닥", "ST")))
        .chain(["0126Z0", "00680K", "33626L", "0A0B1C"].map(|code| Listed::of(code, "마바", "코스닥", "ST")))
        .collect();
    all.sort_by(|a, b| a.code.cmp(&b.code));
    all.dedup_by(|a, b| a.code == b.code);
    let count = all.len();
    let server = Server::answering(move |request, _| match request.place() {
        "/api/stock/code" => names(request, &["code", "type"], &all),
        _ => results(&[]),
    });
    let stream = work(&server).kdata("extract stocks --source infomax --date 2026-11-23").ok();
    let codes: Vec<String> = rows(&stream).iter().map(|row| row[..6].to_owned()).collect();
    assert_eq!(codes.len(), count);
    assert!(
        codes.is_sorted()
            && ["0126Z0", "00680K", "33626L", "0A0B1C"].iter().all(|c| codes.contains(&(*c).to_owned()))
    );
}

#[test]
fn flows_net_to_zero_and_come_in_won() {
    let server = serve();
    let work = work(&server);
    let ask = "extract investor-trading --source infomax --from 2026-01-02 --to 2026-01-07 --codes 000010,000040,00012K";
    let stream = work.kdata(ask);
    assert!(stream.stdout.contains(" value_unit=1000 "), "{}", stream.stdout);
    let of = |day: &str| -> Vec<Vec<String>> {
        let all = rows(&stream.stdout).into_iter().filter(|row| row.starts_with(&format!("000010,{day}")));
        all.map(|row| row.split(',').map(ToOwned::to_owned).collect()).collect()
    };
    let day = of("2026-01-02");
    let kinds: Vec<&str> = day.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(kinds, ["FOREIGN", "INSTITUTION", "OTHER_CORPORATION", "PENSION", "RETAIL"]);
    // 57 hundred bought and 50 hundred sold by all foreigners, at 97,400.
    assert_eq!(day[0][3..], ["570", "500", "55518000", "48700000", "70", "6818000"]);
    let net: i64 =
        day.iter().filter(|row| row[2] != "PENSION").map(|row| row[7].parse::<i64>().unwrap()).sum();
    assert_eq!(net, 0);
    // Not traded on the 6th, which its bars tell; listed on the 5th, and not loaded on that day.
    assert!(!rows(&stream.stdout).iter().any(|row| row.starts_with("000040,2026-01-06")));
    assert_eq!(stream.stdout.matches("#missing").count(), 1, "{}", stream.stdout);
    assert!(stream.stdout.contains("#missing what=00012K,2026-01-05 "), "{}", stream.stdout);
    assert!(work.feed("validate", stream.stdout.as_bytes()).ok().contains(" rejected=0 "));
    stream.fails(7, &[]);
    let request = server.requests().into_iter().find(|r| r.place() == "/api/stock/investor").unwrap();
    assert_eq!(request.param("investor").unwrap(), "T010,6000,7100,8000,9000,9001,9002");
    // A year takes five questions, each below the thousand rows.
    let plan = work.kdata(
        "extract investor-trading --source infomax --from 2025-01-02 --to 2025-12-30 --codes 000010 --dry-run",
    );
    assert!(plan.ok().starts_with("5 calls, "));
}

#[test]
fn portfolios_and_the_members_that_follow_from_them() {
    let server = serve();
    let work = work(&server);
    let stream = work.kdata("extract etf-portfolios --source infomax --date 2026-01-06").ok();
    let isin = crate::vendors::krx_openapi::isin;
    let of = |etf: &str| -> Vec<String> {
        let all = rows(&stream)
            .into_iter()
            .filter_map(|row| row.strip_prefix(&format!("{etf},2026-01-06,")).map(ToOwned::to_owned));
        all.collect()
    };
    let expected = [
        "KR4101R60000,KR4101R60000,코스피200 F 202603,-3.58,-300,".to_owned(),
        format!("{},000010,가나전자,1000,97400000,", isin("000010")),
        format!("{},0012A0,새벽에너지,10.5,120000,", isin("0012A0")),
        "KRD010010001,,원화예금,,5000,".to_owned(),
    ];
    assert_eq!(of("069500"), expected);
    assert_eq!(of("229200"), expected);
    assert!(work.feed("validate", stream.as_bytes()).ok().contains(" rejected=0 "));
    let stream = work
        .kdata("extract index-components --source infomax --from 2026-01-06 --to 2026-01-07 --index 1028")
        .ok();
    assert_eq!(
        rows(&stream),
        [
            "1028,2026-01-06,000010,",
            "1028,2026-01-06,0012A0,",
            "1028,2026-01-07,000010,",
            "1028,2026-01-07,0012A0,"
        ]
    );
    assert!(stream.contains("source=etf_pdf_proxy") && stream.contains(" names=list "), "{stream}");
    work.kdata("extract index-components --source infomax --date 2026-01-06 --index 1001")
        .fails(2, &["1001", "1028"]);
}

#[test]
fn a_plan_that_looks_back_less_is_asked_on() {
    // The answer reaches two sessions back from its end, whatever was asked.
    let server = Server::answering(|request, _| match vendor(request) {
        Reply::Full(200, _, body) if request.place() == "/api/stock/hist" => {
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let mut rows = body["results"].as_array().unwrap().clone();
            rows.drain(..rows.len().saturating_sub(2));
            results(&rows)
        }
        other => other,
    });
    let work = work(&server);
    let stream =
        work.kdata("extract ohlcv --source infomax --from 2026-01-02 --to 2026-01-07 --codes 000010").ok();
    assert_eq!(rows(&stream).len(), 4);
    assert_eq!(asked(&server, "/api/stock/hist"), 2);
}

#[test]
fn refusals_have_their_codes() {
    for (reply, code, says, tries) in [
        (refused(&json!("access_denied")), 6, "screen 9000", 1),
        (refused(&json!({"errmsg": "일일 사용량 제한을 초과하였습니다"})), 4, "after 00:00 KST", 1),
        (refused(&json!({"errmsg": "access_limit"})), 4, "access_limit, 5 times", 5),
        (refused(&json!("error timeout")), 4, "error timeout, 5 times", 5),
        (refused(&json!("error params")), 4, "error params", 1),
        (Reply::Status(429), 4, "429", 5),
        (Reply::Body(br#"{"success":true}"#.to_vec()), 4, "neither results nor a reason", 1),
    ] {
        let server = Server::answering(move |_, _| reply.clone());
        let run =
            work(&server).kdata("extract etf-portfolios --source infomax --date 2026-01-05 --codes 069500");
        assert!(!run.stdout.contains("#end") && run.stdout.contains("#abort"), "{run:#?}");
        run.fails(code, &[says]);
        // Two questions are under way: one of them was asked so often.
        let asked = server.asked();
        let most = asked.iter().map(|path| asked.iter().filter(|other| *other == path).count()).max();
        assert_eq!(most, Some(tries), "{says}");
    }
    Work::new()
        .kdata("extract ohlcv --source infomax --date 2026-01-05")
        .fails(2, &["KDATA_INFOMAX_TOKEN is not set"]);
}

#[test]
fn the_days_bytes_are_counted_across_runs() {
    let server = serve();
    let mut work = work(&server);
    work.set("KDATA_INFOMAX_BYTES", "2000");
    let ask = "extract investor-trading --source infomax --from 2026-01-02 --to 2026-01-06 --codes 000010,000020,000030";
    let spent = work.kdata(ask);
    spent.fails(4, &["quota is spent", "after 00:00 KST"]);
    let calls = server.asked().len();
    work.kdata(ask).fails(4, &["quota is spent"]);
    assert_eq!(server.asked().len(), calls);
    // The next day goes on where this one ended.
    work.set("KDATA_NOW", "2026-11-24T00:30:00+09:00").set("KDATA_INFOMAX_BYTES", "200000000");
    assert_eq!(rows(&work.kdata(ask).ok()).len(), 3 * 3 * 5);
    let asked = server.asked();
    let (before, after) = asked.split_at(calls);
    assert!(!after.is_empty() && after.iter().all(|path| !before.contains(path)), "{asked:#?}");
}

#[test]
fn a_row_that_does_not_read_is_a_reject() {
    let server = Server::answering(|request, _| match vendor(request) {
        Reply::Full(status, headers, body) => {
            let text = String::from_utf8(body).unwrap();
            Reply::Full(
                status,
                headers,
                text.replace(r#""close_price":97000"#, r#""close_price":"97,00O""#).into_bytes(),
            )
        }
        other => other,
    });
    let stream =
        work(&server).kdata("extract ohlcv --source infomax --date 2026-01-06 --codes 000010,000020").ok();
    assert!(stream.contains("#reject rule=source.row_reads"), "{stream}");
    assert!(
        stream.contains("97,00O") && stream.contains(" rejected=1 ") && stream.contains(" missing=0 "),
        "{stream}"
    );
}

fn all_its_datasets_are_promoted(db: &Db) {
    let server = serve();
    let exports = work(&server).exports();
    for (dataset, sessions) in [
        ("stocks", "2026-01-02,2026-01-07"),
        ("ohlcv", "2026-01-02,2026-01-07"),
        ("market-cap", "2026-01-02,2026-01-07"),
        ("etf-portfolios", "2026-01-06,2026-01-06"),
        ("index-components", "2026-01-06,2026-01-06"),
        ("investor-trading", "2026-01-02,2026-01-07"),
    ] {
        let (from, to) = sessions.split_once(',').unwrap();
        db.sh(&format!(
            "{exports} kdata extract {dataset} --source infomax --from {from} --to {to} | kdata validate | kdata load"
        ))
        .ok();
        // One of sixteen names that leaves, or does not come, is more than the gates let pass.
        db.promote_over(&[
            "batch.codes_are_there",
            "stocks.few_are_delisted",
            "index-components.members_are_all",
            "investor-trading.session_is_new",
            "investor-trading.within_volume",
        ]);
    }
    // The fixture's 51 rows but for one first session, the two ETFs and the delisted name.
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), (51 - 1 + 2 * 4 + 2).to_string());
    assert_eq!(db.value("SELECT count(*) FROM market.market_cap_daily"), (51 - 1 + 2 * 4 + 2).to_string());
    assert_eq!(db.value("SELECT count(*) FROM market.etf_portfolios"), "8");
    assert_eq!(db.value("SELECT count(*) FROM market.index_components"), "4");
    assert_eq!(db.value("SELECT count(*) FROM ops.rejects"), "0");
    assert_eq!(
        db.value(&format!(
            "SELECT is_active, delisting_date, market FROM market.stocks WHERE stock_code = '{GONE}'"
        )),
        "f|2026-01-06|KOSDAQ"
    );
    assert_eq!(
        db.value(
            "SELECT count(*) FROM (SELECT FROM market.investor_trading WHERE investor_type <> 'PENSION' \
             GROUP BY stock_code, time HAVING sum(net_volume) <> 0) AS odd"
        ),
        "0"
    );
    // Names that the database knows are not asked for again.
    let masters = asked(&server, "/api/stock/code");
    db.sh(&format!(
        "{exports} kdata extract ohlcv --source infomax --date 2026-01-07 | kdata validate >/dev/null"
    ))
    .ok();
    assert_eq!(asked(&server, "/api/stock/code"), masters);
}

fn the_delisted_that_were_never_known_are_no_alarm(db: &Db) {
    let server = serve();
    let exports = work(&server).exports();
    let sheet = Sheet::fixture(2026);
    db.write("marcap/marcap-2026.csv.gz", sheet.csv_gz());
    db.pipe("stocks", "2026-01-06", "2026-01-06");
    let range = "--source infomax --date 2026-01-07";
    db.sh(&format!("{exports} kdata extract stocks {range} | kdata validate | kdata load && kdata promote"))
        .ok();
    assert_eq!(
        db.value(&format!("SELECT is_active, valid_from FROM market.stocks WHERE stock_code = '{GONE}'")),
        "f|2026-01-07"
    );
}

on_both_backends!(all_its_datasets_are_promoted the_delisted_that_were_never_known_are_no_alarm);
