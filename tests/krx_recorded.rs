//! The KRX data portal as it answered once: recorded answers, served to requests that are the recorded ones to the last
//! field. Where the recordings are not at hand, these tests say so and pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Once};

use crate::support::{Db, Reply, Request, Server, Stream, Work, announce, on_both_backends};
use crate::vendors::krx::form;

/// Recorded answers by the fields of their requests.
type Answers = BTreeMap<BTreeMap<String, String>, Vec<u8>>;

/// The recordings of those names; `None`, said once, where they are not there.
fn recorded(names: &[&str]) -> Option<Answers> {
    static ONCE: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings/krx");
    if !folder.is_dir() {
        ONCE.call_once(|| {
            announce(&format!("recorded answers: {} is not there: LEFT OUT", folder.display()));
        });
        return None;
    }
    let mut answers = Answers::new();
    for name in names {
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let exchanges: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for exchange in exchanges.as_array().unwrap() {
            let body = exchange["request"]["body"].as_str().unwrap();
            let answer = exchange["response"]["body"].as_str().unwrap();
            answers.insert(fields(body.as_bytes()), answer.into());
        }
    }
    Some(answers)
}

fn fields(body: &[u8]) -> BTreeMap<String, String> {
    let request = Request {
        method: "POST".into(),
        path: String::new(),
        headers: vec![],
        body: body.to_vec(),
        at: std::time::Instant::now(),
    };
    form(&request)
}

/// Answers what was recorded, as HTML as the portal does, and nothing else.
fn serve(answers: Answers) -> Server {
    let answers = Arc::new(answers);
    Server::answering(move |request, _| match answers.get(&form(request)) {
        Some(body) if request.place() == "/comm/bldAttendant/getJsonData.cmd" => {
            Reply::Full(200, vec![("Content-Type", "text/html; charset=utf-8".into())], body.clone())
        }
        _ => Reply::Status(404),
    })
}

fn work(server: &Server, now: &str) -> Work {
    let mut work = Work::new();
    work.set("KDATA_KRX", "on").set("KDATA_KRX_URL", &server.url).set("KDATA_KRX_RATE", "400");
    work.set("KDATA_RETRY_PAUSE", "0.001").set("KDATA_NOW", now);
    work
}

const LATER: &str = "2026-11-23T20:00:00+09:00";

fn rows(stream: &str) -> Vec<&str> {
    stream.lines().skip(2).filter(|line| !line.starts_with('#')).collect()
}

/// Extracts, and validates without a reject.
#[track_caller]
fn extracted(work: &Work, job: &str, code: i32) -> String {
    let run = work.kdata(&format!("extract {job} --source krx"));
    assert_eq!(run.code, code, "{job}: {} {}", run.stderr, Stream::of(&run.stdout).end);
    let validated = work.feed("validate --max-rejects 0", run.stdout.as_bytes()).ok();
    assert!(validated.contains(" rejected=0 "), "{job}");
    validated
}

#[test]
fn days_whole_and_of_one_market() {
    let Some(answers) = recorded(&["daily_all_markets", "daily_all_markets_holiday", "daily_kospi"]) else {
        return;
    };
    let server = serve(answers);
    let work = work(&server, LATER);
    for (job, count) in [
        ("ohlcv --date 2021-01-04", 2_531),
        ("market-cap --date 2021-01-04", 2_531),
        ("ohlcv --date 2020-12-30", 2_531),
        ("market-cap --date 2020-12-30", 2_531),
        ("ohlcv --date 2021-01-22 --market KOSPI", 917),
        ("market-cap --date 2021-01-22 --market KOSPI", 917),
        // A Sunday: the portal would answer with all names and no prices, and is not asked.
        ("ohlcv --date 2021-01-03", 0),
    ] {
        let stream = extracted(&work, job, 0);
        assert_eq!(rows(&stream).len(), count, "{job}");
        if job.contains("2021-01-04") && job.starts_with("ohlcv") {
            // Without trades there are no prices; a close nevertheless.
            let still = rows(&stream).iter().filter(|row| row.contains(",2021-01-04,,,,")).count();
            assert_eq!(still, 112);
        }
    }
    // A calendar that takes that Sunday for a session: nothing is made of the dashes.
    let mut work = work;
    let calendar = work.write("calendar.csv", "2021-01-03,09:00,15:30\n").display().to_string();
    work.set("KDATA_CALENDAR", &calendar);
    work.kdata("extract ohlcv --source krx --date 2021-01-03").fails(9, &["nothing of ohlcv of 2021-01-03"]);
    assert!(server.requests().iter().all(|request| form(request).len() == 3));
}

#[test]
fn masters_alone_and_together() {
    let Some(shares) = recorded(&["stock_master"]) else { return };
    let count = |stream: &str, what: &str| rows(stream).iter().filter(|row| row.contains(what)).count();
    let server = serve(shares.clone());
    for (now, date) in [(LATER, "2026-04-14"), ("2026-04-15T01:00:00+09:00", "2026-04-14"), (LATER, "today")]
    {
        let stream = extracted(&work(&server, now), &format!("stocks --date {date}"), 7);
        assert_eq!((rows(&stream).len(), count(&stream, ",t,")), (2_882, 2_882), "{date}");
        assert!(stream.contains(" scope=KOSPI,KOSDAQ,KONEX/stock names=whole "));
        assert_eq!(count(&stream, ",KOSDAQ,KOSDAQ GLOBAL,"), 52);
        for (kind, many) in [(",REIT,", 25), (",PREFERRED,", 113), (",SPAC,", 77)] {
            assert_eq!(count(&stream, kind), many, "{kind}");
        }
        assert!(
            stream.contains("#missing what=MDCSTAT04601 ")
                && stream.contains("#missing what=finder_listdelisu ")
        );
    }
    let finder = recorded(&["code_finder"]).unwrap();
    let server = serve(finder.clone());
    // Of the 4,043 names 2,294 are shares; rights and certificates have longer codes, and are told of.
    let stream = extracted(&work(&server, LATER), "stocks --date 2026-01-23", 7);
    assert_eq!((rows(&stream).len(), count(&stream, ",f,")), (2_294, 2_294));
    assert!(
        stream.contains("1749 of the 4043 names of the list of delisted names"),
        "{}",
        Stream::of(&stream).end
    );
    let funds = recorded(&["etf_master"]).unwrap();
    let stream = extracted(&work(&serve(funds.clone()), LATER), "stocks --date 2026-01-23", 7);
    assert_eq!((rows(&stream).len(), count(&stream, ",KOSPI,,ETF,")), (1_066, 1_066));
    // All of them, although they are of two days: the day asked for is the present, and the others are flagged.
    let all = shares.into_iter().chain(finder).chain(funds).collect();
    let stream = extracted(&work(&serve(all), "2026-04-14T23:30:00+09:00"), "stocks --date 2026-04-14", 0);
    assert_eq!((count(&stream, ",t,"), count(&stream, ",f,")), (2_882 + 1_066, 2_294));
    assert_eq!(stream.matches("#flag rule=krx.is_of_its_session").count(), 2);
}

#[test]
fn members_and_portfolios() {
    let Some(answers) = recorded(&["index_components", "etf_portfolio"]) else { return };
    let work = work(&serve(answers), LATER);
    for (day, count) in [("2021-01-29", 796), ("2014-05-02", 760)] {
        let stream = extracted(&work, &format!("index-components --index 1001 --date {day}"), 0);
        assert_eq!(rows(&stream).len(), count);
        assert!(rows(&stream).contains(&&*format!("1001,{day},005930,")));
    }
    let stream = extracted(&work, "etf-portfolios --codes 152100 --date 2021-04-02", 0);
    assert_eq!(rows(&stream).len(), 201);
    for row in [
        "152100,2021-04-02,KR7005930003,005930,삼성전자,8140,690272000,31.74",
        "152100,2021-04-02,KRD010010001,,원화예금,,14159974,0.65",
    ] {
        assert!(rows(&stream).contains(&row), "{row}");
    }
}

/// Sums over several days are no session's, prices of today's basis no raw ones: no request asks for them, so a server
/// that has nothing else has nothing to give.
#[test]
fn what_is_no_dataset_is_not_asked_for() {
    let names = [
        "investor_by_type_market",
        "investor_value_by_date",
        "investor_value_by_stock",
        "investor_volume_by_stock",
        "index_list",
        "foreign_holding",
    ];
    let Some(answers) = recorded(&names) else { return };
    let server = serve(answers);
    let work = work(&server, LATER);
    for job in [
        "investor-trading --date 2021-01-22 --market KOSPI",
        "investor-trading --from 2021-01-15 --to 2021-01-22",
        "ohlcv --date 2021-01-18 --codes 005930",
    ] {
        work.kdata(&format!("extract {job} --source krx")).fails(6, &["404", "wants a login"]);
    }
    work.kdata("extract floating-shares --source krx --date 2021-01-18")
        .fails(2, &["krx has no floating-shares"]);
    assert!(server.requests().iter().map(form).all(|f| f.get("strtDd") == f.get("endDd")));
}

fn they_are_promoted(db: &Db) {
    let names = [
        "stock_master",
        "code_finder",
        "etf_master",
        "daily_all_markets",
        "daily_all_markets_holiday",
        "index_components",
        "etf_portfolio",
    ];
    let Some(answers) = recorded(&names) else { return };
    let server = serve(answers);
    let exports = work(&server, LATER).exports();
    for (now, job) in [
        ("2026-04-14T23:30:00+09:00", "stocks --date 2026-04-14"),
        (LATER, "ohlcv --from 2020-12-30 --to 2021-01-04"),
        (LATER, "market-cap --from 2020-12-30 --to 2021-01-04"),
        (LATER, "index-components --index 1001 --date 2014-05-02"),
        (LATER, "index-components --index 1001 --date 2021-01-29"),
        (LATER, "etf-portfolios --codes 152100 --date 2021-04-02"),
    ] {
        let told = db
            .sh(&format!(
                "{exports} export KDATA_NOW='{now}'; kdata extract {job} --source krx | kdata validate | kdata load && kdata promote"
            ))
            .ok();
        assert!(told.contains("inserted"), "{job}: {told}");
    }
    for (query, value) in [
        (
            "SELECT count(*) FILTER (WHERE is_active), count(*) FILTER (WHERE NOT is_active) FROM market.stocks",
            "3948|2294",
        ),
        ("SELECT count(*), count(DISTINCT time) FROM market.ohlcv_daily", "5062|2"),
        ("SELECT count(*) FROM market.market_cap_daily", "5062"),
        ("SELECT count(*) FROM market.index_components WHERE time = '2021-01-29'", "796"),
        ("SELECT count(*) FROM market.index_components WHERE time = '2014-05-02' AND weight IS NULL", "760"),
        ("SELECT count(*) FROM market.etf_portfolios", "201"),
        ("SELECT count(*) FROM ops.rejects", "0"),
    ] {
        assert_eq!(db.value(query), value, "{query}");
    }
}

on_both_backends!(they_are_promoted);
