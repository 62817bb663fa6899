//! KIS Developers and its master files, from a server on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::support::{Db, Reply, Request, Server, Work, on_both_backends};
use crate::vendors::kis::{Stock, bar, env, error, master, sessions, stocks, token_error, vendor};

const NOTHING: &str = r#"{"rt_cd":"0","msg_cd":"MCA00000","msg1":"","output1":{},"output2":[]}"#;

fn server() -> Server {
    Server::answering(|request, _| vendor(request))
}

fn work(server: &Server) -> Work {
    let mut work = Work::new();
    env(&mut work, &server.url);
    work.set("KDATA_RETRY_PAUSE", "0.01").set("KDATA_HTTP_TIMEOUT", "5");
    work
}

fn rows(stream: &str) -> Vec<&str> {
    stream.lines().skip(2).filter(|line| !line.starts_with('#')).collect()
}

/// A stream as it comes out of validate, without rejects.
#[track_caller]
fn valid(work: &Work, ask: &str) -> String {
    let stream = work.sh(&format!("kdata extract {ask} | kdata validate")).ok();
    assert!(stream.contains(" rejected=0 "), "{stream}");
    stream
}

/// The vendor's answer with its rows changed.
fn with_rows(request: &Request, change: impl FnOnce(&mut Vec<Value>)) -> Reply {
    let Reply::Full(200, headers, body) = vendor(request) else { panic!("no answer to {request:?}") };
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    if let Value::Array(rows) = &mut body["output2"] {
        change(rows);
    }
    Reply::Full(200, headers, body.to_string().into_bytes())
}

fn asked(server: &Server, part: &str) -> Vec<String> {
    server.asked().into_iter().filter(|path| path.contains(part)).collect()
}

#[test]
fn bars_are_raw_and_know_their_base() {
    let server = server();
    let work = work(&server);
    let stream = valid(
        &work,
        "ohlcv --source kis --from 2026-11-18 --to 2026-11-20 --codes 100000,100150,500001,0088D0",
    );
    assert!(stream.contains(" finality=final ") && stream.contains(" names=list "), "{stream}");
    let [open, high, low, close, volume, change] = bar("100000", "20261119");
    let value = volume * close;
    let base = close - change;
    let found = rows(&stream);
    assert!(
        found.contains(
            &format!("100000,2026-11-19,{open},{high},{low},{close},{volume},{value},{base},KOSPI,STOCK")
                .as_str()
        ),
        "{stream}"
    );
    // A day without trades has a close alone.
    let [.., close, _, change] = bar("100150", "20261120");
    let quiet = format!("100150,2026-11-20,,,,{close},0,0,{},KOSPI,STOCK", close - change);
    assert!(found.contains(&quiet.as_str()), "{stream}");
    // ETNs are asked for with their letter and kept without it; a name is asked for since it is listed.
    assert!(found.iter().any(|row| row.starts_with("500001,2026-11-18,") && row.ends_with(",KOSPI,ETN")));
    assert_eq!(
        found.iter().filter(|row| row.starts_with("0088D0,") && row.ends_with(",KOSDAQ,SPAC")).count(),
        2
    );
    assert_eq!(found.len(), 3 + 3 + 3 + 2);
    assert!(stream.contains(" missing=0 "), "{stream}");
    let spac = asked(&server, "FID_INPUT_ISCD=0088D0");
    assert!(spac.len() == 1 && spac[0].contains("FID_INPUT_DATE_1=20261119"), "{spac:?}");
    assert!(asked(&server, "FID_INPUT_ISCD=Q500001").len() == 1);
}

#[test]
fn a_long_history_comes_page_by_page() {
    // Now and then an answer is shorter than it may be: that is not the end.
    let short = Server::answering(|request, _| {
        if request.path.contains("itemchartprice") {
            with_rows(request, |rows| rows.truncate(40))
        } else {
            vendor(request)
        }
    });
    let whole = server();
    let ask = "ohlcv --source kis --from 2026-01-05 --to 2026-11-20 --codes 100000";
    let streams = [&whole, &short].map(|server| valid(&work(server), ask));
    // The vendor's first session is the one of 01-05, its last one that of 11-23.
    assert_eq!(rows(&streams[0]).len(), sessions().len() - 2);
    assert_eq!(rows(&streams[0]), rows(&streams[1]));
    let calls = [&whole, &short].map(|server| asked(server, "itemchartprice").len());
    assert!(calls[0] == 3 && calls[1] >= 6, "{calls:?}");
    // The first session is the first of the answers: the end moves back by what came.
    let plan = work(&whole).kdata(&format!("extract {ask} --dry-run")).ok();
    assert!(plan.starts_with("3 calls, about "), "{plan}");
}

#[test]
fn who_is_unknown_is_missing_and_is_not_asked_for() {
    let server = server();
    let work = work(&server);
    let run = work.kdata("extract ohlcv --source kis --date 2026-11-20 --codes 100000,999990");
    assert_eq!(rows(&run.stdout).len(), 1);
    assert!(run.stdout.contains("#missing what=999990 ") && asked(&server, "999990").is_empty());
    run.fails(7, &["could not give 1 of the codes"]);
    // Known, and without an answer.
    let silent = Server::answering(|request, _| {
        if request.path.contains("ISCD=100010") { Reply::Body(NOTHING.into()) } else { vendor(request) }
    });
    let run = self::work(&silent).kdata("extract ohlcv --source kis --date 2026-11-20 --codes 100000,100010");
    assert!(run.stdout.contains("#missing what=100010,2026-11-20 "), "{run:#?}");
    run.fails(7, &["could not give 1"]);
}

#[test]
fn a_session_that_nobody_has_is_not_there() {
    let switch = Arc::new(AtomicBool::new(true));
    let is_empty = Arc::clone(&switch);
    let server = Server::answering(move |request, _| {
        if is_empty.load(Ordering::Relaxed) && request.path.contains("itemchartprice") {
            Reply::Body(NOTHING.into())
        } else {
            vendor(request)
        }
    });
    let work = work(&server);
    let ask = "extract ohlcv --source kis --date 2026-11-20 --market KONEX";
    let run = work.kdata(ask);
    assert!(run.stdout.contains("#abort code=9 ") && !run.stdout.contains("#end"), "{run:#?}");
    run.fails(9, &["0 of 1 names", "2026-11-20"]);
    // It is asked for anew, and not taken from what was kept.
    switch.store(false, Ordering::Relaxed);
    assert_eq!(rows(&work.kdata(ask).ok()).len(), 1);
    // Only shares whose master is known are a whole market: this one is the present's.
    assert!(work.kdata(ask).ok().contains(" names=list "));
}

#[test]
fn another_session_than_asked_for_is_refused() {
    let server = Server::answering(|request, _| {
        let path = request.path.replace("20261120", "20261119");
        vendor(&Request { path, ..request.clone() })
    });
    let run = work(&server).kdata("extract ohlcv --source kis --date 2026-11-20 --codes 100000");
    assert!(run.stdout.contains("#abort code=4 "), "{run:#?}");
    run.fails(4, &["it answered with rows of 2026-11-19"]);
}

#[test]
fn a_row_that_does_not_read_is_a_reject() {
    let server = Server::answering(|request, _| {
        if !request.path.contains("itemchartprice") {
            return vendor(request);
        }
        with_rows(request, |rows| rows[0]["stck_clpr"] = "15,00O".into())
    });
    let stream = work(&server)
        .kdata("extract ohlcv --source kis --from 2026-11-19 --to 2026-11-20 --codes 100000")
        .ok();
    assert!(stream.contains("#reject rule=source.row_reads") && stream.contains("15,00O"), "{stream}");
    assert!(stream.contains(" rows=1 rejected=1 ") || stream.contains("#end rows=1 rejected=1 "), "{stream}");
}

#[test]
fn minutes_are_the_regular_sessions() {
    let server = server();
    let work = work(&server);
    let stream = valid(&work, "ohlcv-minute --source kis --date 2026-11-20 --codes 100000,100150");
    let found = rows(&stream);
    // 09:00 to 15:19 without the one that has no price, and the closing auction.
    assert_eq!(found.len(), 380, "{stream}");
    let close = bar("100000", "20261120")[3];
    let expected = |minute: &str, volume: i64| {
        format!(
            "100000,2026-11-20T{minute}:00+09:00,{close},{close},{close},{close},{volume},{}",
            close * volume
        )
    };
    assert_eq!(found[0], expected("09:00", 10 + 540 % 7));
    assert_eq!(found[379], expected("15:30", 10 + 930 % 7));
    assert_eq!(found.iter().filter(|row| row.contains("T11:40:00")).count(), 1);
    assert!(!stream.contains("T15:2") && !stream.contains("T16:"), "{stream}");
    // Nothing was traded of the other name: KIS shows the session before, so nothing is missing.
    assert!(stream.contains(" missing=0 "), "{stream}");
    let anchors: Vec<String> = asked(&server, "ISCD=100000")
        .iter()
        .map(|path| path.split("HOUR_1=").nth(1).unwrap()[..6].to_owned())
        .collect();
    assert_eq!(anchors, ["153000", "133000", "113100", "093100"]);
    assert_eq!(asked(&server, "ISCD=100150").len(), 1);
}

#[test]
fn minutes_of_the_day_of_the_entrance_exam() {
    let server = server();
    let stream = valid(&work(&server), "ohlcv-minute --source kis --date 2026-11-19 --codes 100000");
    let found = rows(&stream);
    assert!(found[0].starts_with("100000,2026-11-19T10:00:00"), "{}", found[0]);
    assert!(found[found.len() - 1].starts_with("100000,2026-11-19T16:30:00"), "{}", found[found.len() - 1]);
    assert_eq!(found.len(), 380);
}

#[test]
fn investors_net_to_zero() {
    let server = server();
    let work = work(&server);
    let stream =
        valid(&work, "investor-trading --source kis --from 2026-09-15 --to 2026-11-20 --codes 100000");
    assert!(stream.contains(" value_unit=1000000 "), "{stream}");
    let found = rows(&stream);
    let count = sessions().iter().filter(|day| ("20260915".."20261121").contains(&day.as_str())).count();
    assert_eq!(found.len(), count * 5);
    let first: Vec<&str> =
        found.iter().filter(|row| row.starts_with("100000,2026-11-20,")).copied().collect();
    assert_eq!(
        first,
        [
            "100000,2026-11-20,FOREIGN,20000,40000,300000000,600000000,-20000,-300000000",
            "100000,2026-11-20,INSTITUTION,15000,28000,225000000,420000000,-13000,-195000000",
            "100000,2026-11-20,OTHER_CORPORATION,5000,2000,75000000,30000000,3000,45000000",
            "100000,2026-11-20,PENSION,5000,8000,75000000,120000000,-3000,-45000000",
            "100000,2026-11-20,RETAIL,60000,30000,900000000,450000000,30000,450000000",
        ]
    );
}

#[test]
fn investors_of_today_come_later() {
    let closed = Server::answering(|request, _| {
        if request.path.contains("investor") {
            error(200, "OPSQ2001", "ERROR TIME LIMIT 00:00 ~ 15:40")
        } else {
            vendor(request)
        }
    });
    let ask = "extract investor-trading --source kis --date 2026-11-23 --codes 100000";
    work(&closed).set("KDATA_NOW", "2026-11-23T15:40:00+09:00").kdata(ask).fails(9, &["15:41"]);
    assert!(closed.asked().is_empty());
    let run = work(&closed).set("KDATA_NOW", "2026-11-23T15:41:00+09:00").kdata(ask);
    assert!(run.stdout.contains("#abort code=9 "), "{run:#?}");
    run.fails(9, &["TIME LIMIT"]);
    // A row whose figures are blank is as none.
    let blank = Server::answering(|request, _| {
        if !request.path.contains("investor") {
            return vendor(request);
        }
        with_rows(request, |rows| {
            for (name, cell) in rows[0].as_object_mut().unwrap() {
                if name.contains("_vol") || name.contains("_ntby") || name.contains("_tr_pbmn") {
                    *cell = "".into();
                }
            }
        })
    });
    work(&blank).kdata(ask).fails(9, &["0 of 1 names"]);
    let stream = work(&blank)
        .kdata("extract investor-trading --source kis --from 2026-11-20 --to 2026-11-23 --codes 100000");
    stream.fails(9, &["2026-11-23"]);
}

#[test]
fn the_hours_move_with_the_session() {
    let server = server();
    let mut work = work(&server);
    // The entrance exam: the session ends at 16:30.
    let ask = "extract ohlcv --source kis --date 2026-11-19 --codes 100000";
    work.set("KDATA_NOW", "2026-11-19T16:00:00+09:00").kdata(ask).fails(9, &["from 2026-11-19 16:41 KST"]);
    let there = work.set("KDATA_NOW", "2026-11-19T16:41:00+09:00").kdata(ask).ok();
    assert!(there.contains(" finality=provisional "), "{there}");
}

#[test]
fn portfolios_are_the_present_ones() {
    let server = server();
    let work = work(&server);
    let stream = valid(&work, "etf-portfolios --source kis --date 2026-11-23");
    let id = crate::vendors::krx_openapi::isin;
    let of = |etf: &str| {
        [
            format!("{etf},2026-11-23,CASH:원화현금,,원화현금,,1234567,0.5"),
            format!("{etf},2026-11-23,{},100000,SK하이닉스,854,160893600,39.5", id("100000")),
            format!("{etf},2026-11-23,{},100010,삼성전자,7184,604174400,60", id("100010")),
        ]
    };
    assert_eq!(rows(&stream), [of("069500"), of("229200")].concat(), "{stream}");
    assert!(stream.contains(" names=whole "), "{stream}");
    work.kdata("extract etf-portfolios --source kis --date 2026-11-20").fails(2, &["2026-11-23 alone"]);
    let run = work.kdata("extract etf-portfolios --source kis --date 2026-11-23 --codes 069500,100000");
    assert!(run.stdout.contains("#missing what=100000 "), "{run:#?}");
    run.fails(7, &["could not give 1"]);
    // A part of a portfolio is none.
    let part = Server::answering(|request, _| {
        if request.path.contains("ISCD=069500") {
            with_rows(request, |rows| rows.truncate(2))
        } else {
            vendor(request)
        }
    });
    let run = self::work(&part).kdata("extract etf-portfolios --source kis --date 2026-11-23");
    assert!(run.stdout.contains("2 of its 3 components") && rows(&run.stdout).len() == 3, "{run:#?}");
    run.fails(7, &["could not give 1"]);
}

#[test]
fn master_files_need_no_key_and_tell_the_present_alone() {
    let server = server();
    let mut work = work(&server);
    work.unset("KDATA_KIS_APP_KEY").unset("KDATA_KIS_APP_SECRET").unset("KDATA_KIS_URL");
    work.set("KDATA_KIS_MASTER_URL", &format!("{}/common/master", server.url));
    let stream = valid(&work, "stocks --source kis --date 2026-11-23");
    assert_eq!(rows(&stream).len(), stocks().len() - 1, "{stream}");
    let isin = crate::vendors::krx_openapi::isin;
    for row in [
        format!("100000,2026-11-23,{},삼성전자,,KOSPI,,STOCK,1990-01-03,,t,500,10000500", isin("100000")),
        format!("100005,2026-11-23,{},삼성전자우,,KOSPI,,PREFERRED,1990-01-03,,t,500,", isin("100005")),
        format!(
            "0126Z0,2026-11-23,{},삼성에피스홀딩스,,KOSPI,,STOCK,1990-01-03,,t,500,10000500",
            isin("0126Z0")
        ),
        format!("395400,2026-11-23,{},SK리츠,,KOSPI,,REIT,1990-01-03,,t,500,10000500", isin("395400")),
        format!("069500,2026-11-23,{},KODEX 200,,KOSPI,,ETF,1990-01-03,,t,500,10000500", isin("069500")),
        format!(
            "0088D0,2026-11-23,{},메리츠제1호스팩,,KOSDAQ,,SPAC,2026-11-19,,t,500,10000500",
            isin("0088D0")
        ),
    ] {
        assert!(rows(&stream).contains(&row.as_str()), "{row} is not in {stream}");
    }
    work.kdata("extract stocks --source kis --date 2026-11-20").fails(2, &["of 2026-11-23 alone"]);
    work.kdata("extract stocks --source kis --from 2026-11-20 --to 2026-11-23").fails(2, &["alone"]);
    work.kdata("extract ohlcv --source kis --date 2026-11-20").fails(2, &["KDATA_KIS_APP_KEY is not set"]);
    // At the weekend the files still describe Friday; before 07:00 those of the day may not be there.
    work.set("KDATA_NOW", "2026-11-22T12:00:00+09:00")
        .kdata("extract stocks --source kis --date 2026-11-20")
        .ok();
    work.set("KDATA_NOW", "2026-11-23T06:59:00+09:00");
    work.kdata("extract stocks --source kis --date 2026-11-23").fails(9, &["07:00"]);
    // One that was changed last before Friday's close knows nothing of Monday.
    let old = Server::answering(|request, _| match vendor(request) {
        Reply::Body(body) => {
            Reply::Full(200, vec![("Last-Modified", "Thu, 19 Nov 2026 21:00:00 GMT".into())], body)
        }
        other => other,
    });
    work.set("KDATA_KIS_MASTER_URL", &old.url).set("KDATA_NOW", "2026-11-23T08:00:00+09:00");
    work.kdata("extract stocks --source kis --date 2026-11-23").fails(9, &["the file is of 2026-11-19"]);
}

#[test]
fn sectors_and_members() {
    let server = server();
    let work = work(&server);
    let stream = valid(&work, "sectors --source kis --date 2026-11-23");
    assert!(rows(&stream).contains(&"KIS-LARGE,100000,2026-11-23,0027,제조"), "{stream}");
    assert!(rows(&stream).contains(&"KIS-MID,200000,2026-11-23,1024,제약"), "{stream}");
    assert!(
        stream.contains("#slice what=KIS-SMALL,2026-11-23 rows=0") && !stream.contains("069500"),
        "{stream}"
    );
    let stream = valid(&work, "index-components --source kis --date 2026-11-23");
    let of = |index: &str| rows(&stream).iter().filter(|row| row.starts_with(index)).count();
    assert_eq!((of("1028,2026-11-23,"), of("2203,2026-11-23,")), (201, 150));
    assert!(rows(&stream).contains(&"1028,2026-11-23,0126Z0,"), "{stream}");
    let stream = valid(&work, "index-components --source kis --date 2026-11-23 --index 2203");
    assert_eq!(rows(&stream).len(), 150);
    for (ask, says) in [
        ("index-components --index 5300", "5300"),
        ("index-components --codes 100000", "come whole"),
        ("sectors --market KOSPI", "come whole"),
        ("sectors --codes 100000", "come whole"),
    ] {
        work.kdata(&format!("extract {ask} --source kis --date 2026-11-23")).fails(2, &[says]);
    }
}

#[test]
fn too_few_members_are_no_index() {
    for (market, members, code) in [("kospi", 194, "1028"), ("kospi", 206, "1028"), ("kosdaq", 144, "2203")] {
        let server = Server::answering(move |request, _| {
            if !request.path.contains(market) {
                return vendor(request);
            }
            let flag = if market == "kospi" { 'A' } else { 'Y' };
            let some = stocks().into_iter().find(|stock| stock.market == market).unwrap();
            let all: Vec<Stock> = (0..members)
                .map(|number| Stock { code: format!("3{number:04}0"), member: flag, ..some.clone() })
                .collect();
            Reply::Body(master(market, &all))
        });
        let run = work(&server).kdata("extract index-components --source kis --date 2026-11-23");
        assert!(run.stdout.contains("#abort code=3 "), "{run:#?}");
        run.fails(3, &[&format!("flags {members} members of {code}")]);
    }
}

#[test]
fn damaged_files_are_tried_again_and_then_refused() {
    let server = Server::answering(|request, before| match vendor(request) {
        Reply::Body(body) if before.iter().filter(|b| b.path == request.path).count() == 0 => {
            Reply::Body(body[..body.len() / 2].to_vec())
        }
        other => other,
    });
    assert_eq!(
        rows(&work(&server).kdata("extract stocks --source kis --date 2026-11-23").ok()).len(),
        stocks().len() - 1
    );
    let shifted = Server::answering(|request, _| match vendor(request) {
        Reply::Body(_) => {
            let text: Vec<u8> = (0..10).flat_map(|_| [vec![b'1'; 290], vec![b'\n']].concat()).collect();
            Reply::Body(crate::vendors::kis::zip(&text))
        }
        other => other,
    });
    work(&shifted)
        .kdata("extract stocks --source kis --date 2026-11-23")
        .fails(4, &["another layout", "288"]);
}

#[test]
fn a_token_is_issued_once_and_shared() {
    let server = server();
    let work = work(&server);
    let ask = "extract ohlcv --source kis --date 2026-11-20 --codes 100000,100010,100020,100030";
    for _ in 0..2 {
        assert_eq!(rows(&work.kdata(ask).ok()).len(), 4);
    }
    assert_eq!(asked(&server, "tokenP").len(), 1);
}

#[test]
fn an_expired_token_is_renewed_once_for_all_calls() {
    // The first token is no good for anybody.
    let server = Server::answering(|request, before| {
        let issued = before.iter().filter(|b| b.path == "/oauth2/tokenP").count();
        if request.path.contains("itemchartprice") && issued == 1 {
            error(500, "EGW00123", "기간이 만료된 token 입니다.")
        } else {
            vendor(request)
        }
    });
    let ask = "extract ohlcv --source kis --date 2026-11-20 --codes 100000,100010,100020,100030";
    assert_eq!(rows(&work(&server).kdata(ask).ok()).len(), 4);
    assert_eq!(asked(&server, "tokenP").len(), 2);
}

#[test]
fn tokens_have_errors_of_their_own() {
    let ask = "extract ohlcv --source kis --date 2026-11-20 --codes 100000";
    // One a minute: the wait is 61 times the first pause.
    let busy = Server::answering(|request, before| {
        let first = !before.iter().any(|b| b.path == "/oauth2/tokenP");
        if request.path == "/oauth2/tokenP" && first {
            token_error("EGW00133", "접근토큰 발급 잠시 후 다시 시도하세요(1분당 1회)")
        } else {
            vendor(request)
        }
    });
    let begun = Instant::now();
    assert_eq!(rows(&work(&busy).kdata(ask).ok()).len(), 1);
    assert!(begun.elapsed().as_secs_f64() > 0.6, "{:?}", begun.elapsed());
    let server = server();
    let mut work = work(&server);
    work.set("KDATA_KIS_APP_SECRET", "canary-wrong")
        .kdata(ask)
        .fails(6, &["EGW00105", "KDATA_KIS_APP_SECRET"]);
    work.set("KDATA_KIS_APP_KEY", "canary-wrong").kdata(ask).fails(6, &["EGW00103"]);
}

#[test]
fn rate_answers_are_waited_for_and_other_refusals_told() {
    let ask = "extract ohlcv --source kis --date 2026-11-20 --codes 100000";
    let answering = |times: usize, status: u16, code: &'static str| {
        Server::answering(move |request, before| {
            let so_far = before.iter().filter(|b| b.path == request.path).count();
            if request.path.contains("itemchartprice") && so_far < times {
                error(status, code, "초당 거래건수를 초과하였습니다.")
            } else {
                vendor(request)
            }
        })
    };
    for code in ["EGW00201", "EGW00215", "EGW00300", "EGW00316", "OPSQ1002"] {
        let server = answering(2, 500, code);
        assert_eq!(rows(&work(&server).kdata(ask).ok()).len(), 1, "{code}");
        assert_eq!(asked(&server, "itemchartprice").len(), 3);
    }
    for (status, code, exit, calls) in [
        (500, "EGW00201", 4, 5),
        (500, "EGW02004", 2, 1),
        (500, "EGW00206", 6, 1),
        (200, "OPSQ0002", 4, 1),
        (200, "APBK0919", 4, 1),
    ] {
        let server = answering(9, status, code);
        let run = work(&server).kdata(ask);
        assert!(run.stdout.contains(&format!("#abort code={exit} ")), "{code}: {run:#?}");
        run.fails(exit, &[code]);
        assert_eq!(asked(&server, "itemchartprice").len(), calls, "{code}");
    }
}

fn all_of_a_day_is_promoted(db: &Db) {
    let server = server();
    let exports = work(&server).exports();
    let pipe = |ask: &str| {
        db.sh(&format!("{exports} kdata extract {ask} --source kis | kdata validate | kdata load")).ok();
        // Everybody trades the same every day there, whatever the day's volume.
        db.promote_over(&["investor-trading.session_is_new", "investor-trading.within_volume"]);
    };
    for dataset in ["stocks", "sectors", "index-components", "etf-portfolios"] {
        pipe(&format!("{dataset} --date 2026-11-23"));
    }
    for dataset in ["ohlcv", "investor-trading", "ohlcv-minute"] {
        pipe(&format!("{dataset} --from 2026-11-19 --to 2026-11-20 --codes 100000,100010,200000"));
    }
    assert_eq!(db.value("SELECT count(*) FROM ops.rejects"), "0");
    assert_eq!(db.value("SELECT count(*) FROM market.stocks"), (stocks().len() - 1).to_string());
    assert_eq!(db.value("SELECT count(*) FROM market.index_components"), "351");
    assert_eq!(db.value("SELECT count(*) FROM market.etf_portfolios"), "6");
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), "6");
    assert_eq!(db.value("SELECT count(*) FROM market.investor_trading"), "30");
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_minute"), (3 * 2 * 380).to_string());
    // The whole market of a session, by the master that is now there: shares, ETFs and ETNs.
    let day =
        db.sh(&format!("{exports} kdata extract ohlcv --source kis --date 2026-11-23 | kdata validate")).ok();
    assert!(day.contains(" names=whole "), "{day}");
    assert_eq!(rows(&day).len(), stocks().len() - 1);
}

on_both_backends!(all_of_a_day_is_promoted);
