//! The KRX data portal: its login, its blocks, its holidays, its screens; and its recorded answers.

use crate::support::{Db, Reply, Request, Server, Sheet, Stream, Work, on_both_backends};
use crate::vendors::krx::{data, env, form, screen, vendor};
use crate::vendors::krx_openapi::isin;

fn work(server: &Server) -> Work {
    let mut work = Work::new();
    env(&mut work, &server.url);
    work
}

/// The portal as it was before it wanted a login.
fn open_work(server: &Server) -> Work {
    let mut work = work(server);
    work.unset("KDATA_KRX_ID").unset("KDATA_KRX_PASSWORD");
    work
}

fn rows(stream: &str) -> Vec<&str> {
    stream.lines().skip(2).filter(|line| !line.starts_with('#')).collect()
}

/// Validates; returns the stream.
#[track_caller]
fn validated(work: &Work, stream: &str) -> String {
    let validated = work.feed("validate --max-rejects 0", stream.as_bytes()).ok();
    assert!(validated.contains(" rejected=0 "), "{validated}");
    validated
}

/// Changes the rows of a good answer.
fn edited(reply: Reply, edit: impl Fn(&str) -> String) -> Reply {
    match reply {
        Reply::Full(status, headers, body) => {
            Reply::Full(status, headers, edit(&String::from_utf8(body).unwrap()).into_bytes())
        }
        other => other,
    }
}

/// How many shares the fixture has on a day.
fn listed(day: &str) -> usize {
    let sheet = Sheet::fixture(2026);
    sheet.rows.iter().filter(|row| row[sheet.at("Date")] == day).count()
}

const DAY: &str = "--source krx --date 2026-01-05";

#[test]
fn bars_and_caps_equal_those_of_the_yearly_file() {
    let server = Server::answering(|request, _| vendor(request));
    let mut work = work(&server);
    work.marcap(2026, &Sheet::fixture(2026));
    for dataset in ["ohlcv", "market-cap"] {
        for scope in ["", " --market KOSPI", " --market KOSDAQ,KONEX", " --codes 000010,100010"] {
            let of = |source: &str| {
                let range = "--from 2026-01-02 --to 2026-01-07";
                let stream = work.kdata(&format!("extract {dataset} --source {source} {range}{scope}")).ok();
                validated(&work, &stream)
            };
            let (theirs, file) = (of("krx"), of("marcap"));
            assert_eq!(rows(&theirs), rows(&file), "{dataset}{scope}");
            assert!(rows(&theirs).len() >= 8);
        }
    }
    let markets = |scope: &str| {
        let asked = server.requests();
        asked.iter().filter(|r| screen(r) == "MDCSTAT01501" && form(r)["mktId"] == scope).count()
    };
    // Once more for the login that the very first call lacked.
    assert_eq!((markets("ALL"), markets("STK")), (2 * 3 * 4 + 1, 2 * 4));
}

#[test]
fn it_is_off_until_it_is_turned_on() {
    let server = Server::answering(|request, _| vendor(request));
    let mut work = work(&server);
    for off in ["", "off"] {
        work.set("KDATA_KRX", off);
        work.kdata(&format!("extract ohlcv {DAY}"))
            .fails(2, &["article 10(2)", "automated collection", "krx-openapi", "KDATA_KRX=on"]);
    }
    work.kdata("extract ohlcv --date 2026-01-05").fails(2, &["no source of ohlcv is set up"]);
    assert!(server.asked().is_empty());
    work.set("KDATA_KRX", "on").unset("KDATA_KRX_PASSWORD");
    work.kdata(&format!("extract ohlcv {DAY}")).fails(2, &["KDATA_KRX_PASSWORD is not"]);
}

#[test]
fn plans_ask_nothing() {
    let server = Server::answering(|request, _| vendor(request));
    let mut work = work(&server);
    work.set("KDATA_KRX_RATE", "0.5");
    for (job, says) in [
        ("ohlcv --from 2026-01-02 --to 2026-01-07", "4 calls, about 8 s"),
        ("stocks --date 2026-11-23", "3 calls, about 6 s"),
        ("investor-trading --date 2026-01-05", "18 calls, about 36 s"),
        ("investor-trading --date 2013-06-28", "12 calls"),
        ("index-components --from 2026-01-02 --to 2026-01-05", "4 calls"),
        ("index-components --date 2026-01-05 --index 1001,2001,5300", "3 calls"),
        ("sectors --date 2026-01-05", "2 calls"),
        ("etf-portfolios --date 2026-01-05 --codes 152100,069500", "2 calls"),
        ("etf-portfolios --date 2026-01-05", "1,101 calls"),
    ] {
        let plan = work.kdata(&format!("extract {job} --source krx --dry-run")).ok();
        assert!(plan.starts_with(says), "{job}: {plan}");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn it_logs_in_once_and_again_when_logged_out() {
    // The third call for data finds the login gone.
    let server = Server::answering(|request, before| {
        let calls = before.iter().filter(|r| screen(r) == "MDCSTAT01501").count();
        if screen(request) == "MDCSTAT01501" && calls == 2 {
            return Reply::Full(200, vec![], b"LOGOUT".to_vec());
        }
        vendor(request)
    });
    let work = work(&server);
    let entries = || server.requests().iter().filter(|r| r.path.ends_with("/MDCCOMS001D1.cmd")).count();
    let range = "--source krx --from 2026-01-02 --to 2026-01-06";
    let listed = listed("2026-01-02") + listed("2026-01-05") + listed("2026-01-06");
    let stream = work.kdata(&format!("extract ohlcv {range}")).ok();
    assert_eq!(rows(&stream).len(), listed);
    // Twice the login, each told that somebody is in there already.
    assert_eq!(entries(), 4);
    // Another process takes the session that is there.
    assert_eq!(rows(&work.kdata(&format!("extract market-cap {range}")).ok()).len(), listed);
    assert_eq!(entries(), 4);
    for file in std::fs::read_dir(work.path("home/tokens")).unwrap().flatten() {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_login_that_fails_is_code_6() {
    let said = |code: &'static str| {
        move |request: &Request, _: &[Request]| {
            if !request.path.ends_with("/MDCCOMS001D1.cmd") {
                return vendor(request);
            }
            let echo =
                format!(r#"{{"_error_code":"{code}","_error_message":"{}: no"}}"#, form(request)["pw"]);
            Reply::Full(200, vec![], echo.into_bytes())
        }
    };
    for (code, says) in [("CD010", "password changed"), ("CD003", "CD003"), ("CD011", "CD011")] {
        let server = Server::answering(said(code));
        let told = work(&server).kdata(&format!("extract ohlcv {DAY}")).fails(6, &[says]);
        assert!(told.contains("#abort code=6") && !told.contains("canary-"), "{told}");
    }
    // One login and one repetition, whatever it says instead of data.
    for (status, body) in [(200, "LOGOUT"), (400, "LOGOUT"), (404, "")] {
        let server = Server::answering(move |request, _| match screen(request).as_str() {
            "" => vendor(request),
            _ => Reply::Full(status, vec![], body.as_bytes().to_vec()),
        });
        work(&server).kdata(&format!("extract ohlcv {DAY}")).fails(6, &["also after renewing"]);
        assert_eq!(
            server.requests().iter().filter(|r| screen(r) == "MDCSTAT01501").count(),
            2,
            "{status} {body}"
        );
        let server = Server::answering(move |_, _| Reply::Full(status, vec![], body.as_bytes().to_vec()));
        let told = open_work(&server).kdata(&format!("extract ohlcv {DAY}"));
        told.fails(6, &["it wants a login, and KDATA_KRX_ID is not set"]);
        assert_eq!(server.asked().len(), 1);
    }
    // A page may be the one to log in, or anything else.
    let server = Server::answering(move |request, _| match screen(request).as_str() {
        "" => vendor(request),
        _ => Reply::Full(200, vec![], "<html><title>점검</title></html>".into()),
    });
    work(&server).kdata(&format!("extract ohlcv {DAY}")).fails(4, &["a web page (\"점검\")"]);
    assert_eq!(server.asked().iter().filter(|path| path.ends_with("/login.jsp?site=mdc")).count(), 1);
}

#[test]
fn a_portal_without_a_login_is_asked_without_one() {
    let server = Server::answering(|request, _| data(request));
    let stream = open_work(&server).kdata(&format!("extract ohlcv {DAY}")).ok();
    assert_eq!(rows(&stream).len(), listed("2026-01-05"));
    assert_eq!(server.asked().len(), 1);
    assert!(server.requests()[0].header("cookie").is_none());
    // An account that is set up is not used before it is wanted.
    let stream = work(&server).kdata(&format!("extract ohlcv {DAY}")).ok();
    assert_eq!((rows(&stream).len(), server.asked().len()), (listed("2026-01-05"), 2));
}

#[test]
fn a_block_is_not_tried_again() {
    let page = "<!DOCTYPE html><html><head><title>에러페이지 - 한국거래소</title></head><body>KRX OPEN API</body></html>";
    for (status, body) in [(200, page), (403, page), (403, "")] {
        let server = Server::answering(move |request, _| match screen(request).as_str() {
            "" => vendor(request),
            _ => Reply::Full(status, vec![], body.as_bytes().to_vec()),
        });
        let mut work = work(&server);
        let ask = format!("extract ohlcv {DAY}");
        let run = work.kdata(&ask);
        assert!(run.stdout.contains("#abort code=6") && !run.stdout.contains("#end"), "{run:#?}");
        run.fails(6, &["blocks this machine until 2026-11-24 20:00 KST"]);
        work.kdata("extract stocks --source krx --date 2026-11-23").fails(6, &["until 2026-11-24 20:00"]);
        assert_eq!(server.asked().len(), 1, "{status}");
        work.set("KDATA_NOW", "2026-11-24T20:01:00+09:00").kdata(&ask).fails(6, &["until 2026-11-25 20:01"]);
        assert_eq!(server.asked().len(), 2, "{status}");
    }
    // Also while logging in, and among several lists.
    let server = Server::answering(move |request, _| {
        if request.path.ends_with("/MDCCOMS001D1.cmd") {
            return Reply::Full(200, vec![], page.as_bytes().to_vec());
        }
        vendor(request)
    });
    work(&server).kdata("extract stocks --source krx --date 2026-11-23").fails(6, &["blocks this machine"]);
}

#[test]
fn holidays_and_what_is_not_there_yet() {
    let late = "2026-01-08T18:40:00+09:00";
    for empty in [false, true] {
        let server = Server::answering(move |request, before| match screen(request).as_str() {
            // On the 8th, which has no data, it answers with names and dashes.
            "MDCSTAT01501" if empty && before.len() < 2 => Reply::Full(
                200,
                vec![],
                br#"{"OutBlock_1":[],"CURRENT_DATETIME":"2026.01.08 PM 06:40:00"}"#.to_vec(),
            ),
            "MDCSTAT01501" if !empty && before.len() >= 2 => {
                edited(data(request), |text| text.replace(r#""TDD_CLSPRC":"-""#, r#""TDD_CLSPRC":"1,000""#))
            }
            _ => data(request),
        });
        let mut work = open_work(&server);
        let closed = work.kdata("extract ohlcv --source krx --from 2026-01-03 --to 2026-01-04").ok();
        assert!(closed.contains("#end rows=0 rejected=0 flagged=0 missing=0 ") && server.asked().is_empty());
        work.set("KDATA_NOW", "2026-01-08T18:00:00+09:00");
        let ask = "extract market-cap --source krx --date 2026-01-08 --market KOSPI";
        work.kdata(ask).fails(9, &["from 2026-01-08 18:30 KST"]);
        assert!(server.asked().is_empty());
        work.set("KDATA_NOW", late);
        let run = work.kdata(ask);
        assert!(run.stdout.ends_with('\n') && run.stdout.contains("#abort code=9"), "{run:#?}");
        run.fails(9, &["krx has nothing of market-cap of 2026-01-08", "kdata calendar add"]);
        // The same job again asks again: nothing is taken for an answer.
        work.kdata(ask).fails(9, &["krx has nothing of"]);
        assert_eq!(server.asked().len(), 2);
        work.kdata(ask);
        assert_eq!(server.asked().len(), 3);
    }
}

#[test]
fn blanks_stay_blank_and_what_does_not_read_is_a_reject() {
    let server = Server::answering(|request, _| {
        edited(data(request), |text| {
            let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
            for row in answer["OutBlock_1"].as_array_mut().unwrap() {
                let set: &[(&str, &str)] = match row["ISU_SRT_CD"].as_str().unwrap() {
                    "000010" => &[("ACC_TRDVAL", "-"), ("CMPPREVDD_PRC", ""), ("LIST_SHRS", "")],
                    "000015" => &[("TDD_CLSPRC", "-"), ("MKTCAP", "-")],
                    "000020" => &[("ACC_TRDVOL", "1,O00")],
                    "000030" => &[("ISU_SRT_CD", "00003")],
                    "000040" => &[("CMPPREVDD_PRC", "5")],
                    "00012K" => &[("MKTCAP", "1")],
                    _ => &[],
                };
                for (name, value) in set {
                    row[name] = (*value).into();
                }
            }
            answer.to_string()
        })
    });
    let work = open_work(&server);
    let run = work.kdata(&format!("extract ohlcv {DAY}"));
    let row = rows(&run.stdout).into_iter().find(|row| row.starts_with("000010")).unwrap().to_owned();
    let fields: Vec<_> = row.split(',').collect();
    assert_eq!((fields[7], fields[8], fields[9]), ("", "", "KOSPI"), "{row}");
    assert!(
        run.stdout.contains("#missing what=000015 reason=\"it has no price of 2026-01-05\""),
        "{}",
        run.stdout
    );
    for says in [
        "00003: ISU_SRT_CD",
        "ACC_TRDVOL is \\\"1,O00\\\"",
        "rule=krx.change_agrees",
        "#flag rule=krx.cap_agrees",
    ] {
        assert!(run.stdout.contains(says), "{says}: {}", run.stdout);
    }
    let end = format!("#end rows={} rejected=3 flagged=1 missing=1 ", listed("2026-01-05") - 4);
    assert!(Stream::of(&run.stdout).end.starts_with(&end), "{}", run.stdout);
    run.fails(7, &["could not give 1 of the codes"]);
    let caps = work.kdata(&format!("extract market-cap {DAY}"));
    for says in ["rule=krx.cap_agrees", "#flag rule=krx.change_agrees", "LIST_SHRS is \\\"\\\""] {
        assert!(caps.stdout.contains(says), "{says}: {}", caps.stdout);
    }
    assert!(!caps.stdout.contains("\n000010,"), "{}", caps.stdout);
}

#[test]
fn a_column_that_was_renamed_is_no_blank() {
    let server =
        Server::answering(|request, _| edited(data(request), |text| text.replace("ACC_TRDVAL", "TRDVAL")));
    open_work(&server).kdata(&format!("extract ohlcv {DAY}")).fails(4, &["missing field `ACC_TRDVAL`"]);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn cp949_reads_and_a_list_of_another_day_does_not() {
    let server = Server::answering(|request, _| match data(request) {
        Reply::Full(status, headers, body) => {
            let text = String::from_utf8(body).unwrap();
            Reply::Full(status, headers, encoding_rs::EUC_KR.encode(&text).0.into_owned())
        }
        other => other,
    });
    let stream = open_work(&server).kdata("extract stocks --source krx --date 2026-01-07").ok();
    assert!(stream.contains("가나전자") && stream.contains("국민은행(4우B)"), "{stream}");
    let server = Server::answering(|request, _| {
        let body = request.body.clone();
        let body = String::from_utf8(body).unwrap().replace("20260106", "20260105").into_bytes();
        data(&Request { body, ..request.clone() })
    });
    let mut work = open_work(&server);
    // One after the other, so that it is known which came first.
    work.set("KDATA_KRX_RATE", "8");
    let run = work.kdata("extract ohlcv --source krx --from 2026-01-05 --to 2026-01-06");
    run.fails(4, &["the very list of 2026-01-05"]);
}

#[test]
fn investors_are_those_of_one_session() {
    let server = Server::answering(|request, _| data(request));
    let work = open_work(&server);
    let stream = work.kdata("extract investor-trading --source krx --from 2026-01-05 --to 2026-01-06").ok();
    let stream = validated(&work, &stream);
    assert!(stream.contains(" names=whole ") && stream.contains(" provides=all "), "{stream}");
    let of = |code: &str| -> Vec<String> {
        let key = format!("{code},2026-01-05,");
        rows(&stream).iter().filter_map(|row| row.strip_prefix(&key)).map(ToOwned::to_owned).collect()
    };
    let kinds = ["FOREIGN", "INSTITUTION", "OTHER_CORPORATION", "PENSION", "RETAIL"];
    let nets = |code: &str| -> Vec<(String, i64, i64)> {
        let parse = |row: &String| {
            let fields: Vec<_> = row.split(',').collect();
            let number = |at: usize| fields[at].parse::<i64>().unwrap();
            assert_eq!((number(1) - number(2), number(3) - number(4)), (number(5), number(6)), "{row}");
            (fields[0].to_owned(), number(5), number(6))
        };
        of(code).iter().map(parse).collect()
    };
    // 000010 is absent from the other foreigners' list, and who trades on KONEX from most: zeros.
    for (code, shares) in
        [("000020", [-5, -4, -1, -1, 10]), ("000010", [-5, -4, -1, -1, 10]), ("200020", [0, 0, -3, 0, 3])]
    {
        let nets = nets(code);
        assert_eq!(nets.iter().map(|n| n.0.as_str()).collect::<Vec<_>>(), kinds, "{code}");
        assert_eq!(nets.iter().map(|n| n.1).collect::<Vec<_>>(), shares, "{code}");
        let all: i64 = nets.iter().filter(|n| n.0 != "PENSION").map(|n| n.2).sum();
        assert_eq!(all, 0, "{code}");
    }
    // One call a session, market and kind, with both ends of the range at the session.
    let asked = server.requests();
    assert_eq!(asked.len(), 2 * 3 * 6);
    assert!(asked.iter().map(form).all(|f| f["strtDd"] == f["endDd"] && f.len() == 5));
    // Without trades there is nothing to tell.
    let sheet = Sheet::fixture(2026);
    let on = |market: &str, traded: bool| {
        let is = |row: &&Vec<String>| {
            row[sheet.at("Date")] == "2026-01-06"
                && row[sheet.at("Market")] == market
                && (row[sheet.at("Volume")] != "0") == traded
        };
        sheet
            .rows
            .iter()
            .filter(is)
            .map(|row| format!("{},2026-01-06,", row[sheet.at("Code")]))
            .collect::<Vec<_>>()
    };
    assert!(on("KOSPI", true).iter().all(|key| stream.contains(key)));
    assert!(!on("KOSDAQ", false).iter().chain(&on("KOSPI", false)).any(|key| stream.contains(key)));
}

#[test]
fn what_an_investor_did_is_no_zero_when_it_does_not_read() {
    let server = Server::answering(|request, _| {
        let kind = form(request).remove("invstTpCd").unwrap_or_default();
        edited(data(request), |text| {
            let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
            for row in answer["output"].as_array_mut().unwrap() {
                match (row["ISU_SRT_CD"].as_str().unwrap(), kind.as_str()) {
                    ("000010", "8000") => row["BID_TRDVOL"] = "1O0".into(),
                    ("000020", "9001") => {
                        for name in [
                            "ASK_TRDVOL",
                            "BID_TRDVOL",
                            "NETBID_TRDVOL",
                            "ASK_TRDVAL",
                            "BID_TRDVAL",
                            "NETBID_TRDVAL",
                        ] {
                            row[name] = "-".into();
                        }
                    }
                    ("000030", "7050") => row["NETBID_TRDVAL"] = "".into(),
                    _ => {}
                }
            }
            answer.to_string()
        })
    });
    let run =
        open_work(&server).kdata("extract investor-trading --source krx --date 2026-01-05 --market KOSPI");
    let has = |key: &str| run.stdout.contains(&format!("\n{key}"));
    assert!(!has("000010,2026-01-05,RETAIL") && has("000010,2026-01-05,FOREIGN"), "{}", run.stdout);
    assert!(
        run.stdout.contains("rule=source.row_reads msg=\"2026-01-05 RETAIL 000010: BID_TRDVOL"),
        "{}",
        run.stdout
    );
    assert!(
        !has("000020,2026-01-05,FOREIGN") && run.stdout.contains("#missing what=000020 "),
        "{}",
        run.stdout
    );
    let row = run.stdout.lines().find(|row| row.starts_with("000030,2026-01-05,INSTITUTION")).unwrap();
    assert!(row.ends_with(",-4,"), "{row}");
    run.fails(7, &[]);
    // A kind of investor without anybody is no zero for all, but on KONEX.
    let server = Server::answering(|request, _| match form(request)["invstTpCd"].as_str() {
        "6000" => Reply::Full(200, vec![], br#"{"output":[]}"#.to_vec()),
        _ => data(request),
    });
    let run =
        open_work(&server).kdata("extract investor-trading --source krx --date 2026-01-05 --market KOSDAQ");
    run.fails(9, &["PENSION on KOSDAQ of 2026-01-05"]);
}

#[test]
fn members_of_indices() {
    let server = Server::answering(|request, _| data(request));
    let work = open_work(&server);
    let stream = work.kdata(&format!("extract index-components {DAY}")).ok();
    let stream = validated(&work, &stream);
    // Which weight a member has does not follow from its whole capitalisation.
    assert!(
        stream.contains(" provides=\"\" ") && rows(&stream).contains(&"1028,2026-01-05,000010,"),
        "{stream}"
    );
    assert_eq!(rows(&stream).len(), rows(&stream).iter().filter(|row| row.ends_with(',')).count());
    assert!(rows(&stream).iter().any(|row| row.starts_with("2203,2026-01-05,100010,")), "{stream}");
    let some = work.kdata(&format!("extract index-components {DAY} --index 1001,1999"));
    assert!(some.stdout.contains("#missing what=1999,2026-01-05 "), "{some:#?}");
    assert!(rows(&some.stdout).iter().all(|row| row.starts_with("1001,")) && rows(&some.stdout).len() > 3);
    some.fails(7, &["could not give 1 of"]);
    work.kdata(&format!("extract index-components {DAY} --index 1999"))
        .fails(9, &["members of indices on 2026-01-05"]);
    work.kdata(&format!("extract index-components {DAY} --index 028")).fails(2, &["\"028\" is no index"]);
    work.kdata(&format!("extract index-components {DAY} --codes 000010")).fails(2, &["--index"]);
}

#[test]
fn sectors_by_name() {
    let server = Server::answering(|request, _| {
        edited(data(request), |text| text.replacen(r#""IDX_IND_NM":"IT 서비스""#, r#""IDX_IND_NM":"""#, 1))
    });
    let work = open_work(&server);
    let run = work.kdata(&format!("extract sectors {DAY}"));
    assert!(rows(&run.stdout).contains(&"KRX,000010,2026-01-05,전기·전자,전기·전자"), "{}", run.stdout);
    assert!(run.stdout.contains(" names=whole ") && run.stdout.contains("it has no sector on 2026-01-05"));
    validated(&work, &run.stdout);
    run.fails(7, &["could not give 1 of"]);
    let kospi = work.kdata(&format!("extract sectors {DAY} --market KOSPI")).ok();
    assert!(
        kospi.contains(" names=list ") && rows(&kospi).iter().all(|row| row.ends_with("전기·전자")),
        "{kospi}"
    );
}

#[test]
fn portfolios_of_funds() {
    let server = Server::answering(|request, _| data(request));
    let work = open_work(&server);
    let stream = work.kdata("extract etf-portfolios --source krx --from 2026-01-05 --to 2026-01-06").ok();
    let stream = validated(&work, &stream);
    // The second fund was listed on the 6th; which there are is asked once.
    assert_eq!(rows(&stream).len(), 3 * 4, "{stream}");
    assert!(stream.contains(" names=list ") && stream.contains(" scope=KOSPI,KOSDAQ,KONEX/etf "), "{stream}");
    let asked: Vec<_> = server.requests().iter().map(screen).collect();
    assert_eq!(asked, ["MDCSTAT04601", "MDCSTAT05001", "MDCSTAT05001", "MDCSTAT05001"]);
    for row in [
        "152100,2026-01-05,CASH00000001,,이름,,-1000,",
        "152100,2026-01-05,KR4101R60000,KR4101R60000,이름,-3.58,,",
        "152100,2026-01-05,KR7000010009,000010,이름,8140,1300000,99.35",
        "152100,2026-01-05,KRD010010001,,이름,,10000,0.65",
    ] {
        assert!(rows(&stream).contains(&row), "{row}: {stream}");
    }
    // Funds that are named need no list of them.
    let some = work.kdata(&format!("extract etf-portfolios {DAY} --codes 152100,0069M0"));
    assert!(some.stdout.contains("#missing what=0069M0,2026-01-05 "), "{some:#?}");
    assert_eq!(rows(&some.stdout).len(), 4);
    some.fails(7, &["could not give 1 of"]);
    work.kdata(&format!("extract etf-portfolios {DAY} --codes 0069M0"))
        .fails(9, &["portfolios of 2026-01-05"]);
}

#[test]
fn the_master_is_made_of_three_lists() {
    let server = Server::answering(|request, _| data(request));
    let mut work = open_work(&server);
    let stream = work.kdata("extract stocks --source krx --date 2026-01-07").ok();
    validated(&work, &stream);
    assert!(stream.contains(" scope=KOSPI,KOSDAQ,KONEX/stock,etf names=whole "), "{stream}");
    for row in [
        "000010,2026-01-07,KR7000010009,가나전자,\"Name, Inc.\",KOSPI,,STOCK,2010-01-04,,t,5000,5000000",
        "152100,2026-01-07,KR7152100004,가나 ETF 152100,ETF,KOSPI,,ETF,2012-01-20,,t,,1000000",
        "02313A,2026-01-07,KR7023134000,국민은행(4우B),,KOSPI,,PREFERRED,,,f,,",
        "026261,2026-01-07,KR7026260018,M플러스텍1신,,KOSDAQ,,STOCK,,,f,,",
        "037730,2026-01-07,KR7037730009,3R,,KOSDAQ,,STOCK,,,f,,",
    ] {
        assert!(rows(&stream).contains(&row), "{row}: {stream}");
    }
    assert!(stream.contains("#note rule=krx.no_share") && stream.contains("1 of the 4 names"), "{stream}");
    assert_eq!(rows(&stream).len(), listed("2026-01-07") + 2 + 3);
    let konex = work.kdata("extract stocks --source krx --date 2026-01-07 --market KOSDAQ").ok();
    assert_eq!(rows(&konex).iter().filter(|row| row.contains(",f,")).count(), 2);
    assert!(konex.contains(" scope=KOSDAQ/stock "), "{konex}");
    assert_eq!(server.asked().len(), 3 + 2);
    // The lists are of the present: they bear their time.
    work.kdata("extract stocks --source krx --date 2026-01-06")
        .fails(2, &["of 2026-01-07, not of 2026-01-06"]);
    work.kdata("extract stocks --source krx --from 2026-01-06 --to 2026-01-07")
        .fails(2, &["the present only"]);
    work.set("KDATA_NOW", "2026-01-08T20:00:00+09:00");
    let stale = work.kdata("extract stocks --source krx --date 2026-01-08").ok();
    assert_eq!(stale.matches("#flag rule=krx.is_of_its_session").count(), 3, "{stale}");
}

#[test]
fn a_list_that_does_not_come_is_marked() {
    for (left, scope, names, count) in [
        ("MDCSTAT01901", "/etf", "list", 2),
        ("MDCSTAT04601", "/stock", "whole", listed("2026-01-07")),
        ("finder_listdelisu", "/stock,etf", "whole", listed("2026-01-07") + 2),
    ] {
        for reply in
            [Reply::Status(500), Reply::Status(404), Reply::Full(200, vec![], br#"{"output":[]}"#.to_vec())]
        {
            let server =
                Server::answering(
                    move |request, _| {
                        if screen(request) == left { reply.clone() } else { data(request) }
                    },
                );
            let mut work = open_work(&server);
            work.set("KDATA_RETRY_PAUSE", "0.001");
            let run = work.kdata("extract stocks --source krx --date 2026-01-07");
            assert!(run.stdout.contains(&format!("{scope} names={names} ")), "{left}: {}", run.stdout);
            assert!(run.stdout.contains(&format!("#missing what={left} reason=")), "{left}: {}", run.stdout);
            let listed = rows(&run.stdout).iter().filter(|row| row.contains(",t,")).count();
            assert_eq!(listed, count, "{left}");
            validated(&work, &run.stdout);
            run.fails(7, &["could not give 1 of the codes, lists or sessions"]);
        }
    }
    let server = Server::answering(|_, _| Reply::Status(500));
    let mut work = open_work(&server);
    work.set("KDATA_RETRY_PAUSE", "0.001");
    work.kdata("extract stocks --source krx --date 2026-01-07").fails(4, &["MDCSTAT01901", "500"]);
}

fn all_datasets_are_promoted(db: &Db) {
    let server = Server::answering(|request, _| vendor(request));
    let exports = work(&server).exports();
    let pipe = |dataset: &str, range: &str| {
        db.sh(&format!(
            "{exports} kdata extract {dataset} --source krx {range} | kdata validate | kdata load"
        ))
        .ok();
        db.promote_over(&SMALL)
    };
    let range = "--from 2026-01-02 --to 2026-01-07";
    for (dataset, range) in [
        ("stocks", "--date 2026-01-07"),
        ("ohlcv", range),
        ("market-cap", range),
        ("investor-trading", range),
        ("index-components", range),
        ("sectors", range),
        ("etf-portfolios", range),
    ] {
        pipe(dataset, range);
        let again = pipe(dataset, range);
        assert!(again.contains("0 inserted, 0 updated"), "{dataset}: {again}");
    }
    let count = |table: &str| db.value(&format!("SELECT count(*) FROM market.{table}"));
    let all = Sheet::fixture(2026).rows.len().to_string();
    assert_eq!((count("ohlcv_daily"), count("market_cap_daily")), (all.clone(), all));
    let listed = listed("2026-01-07") + 2;
    let names = db.value("SELECT count(*) FILTER (WHERE is_active), count(*) FROM market.stocks");
    assert_eq!(names, format!("{listed}|{}", listed + 3));
    assert_eq!(count("etf_portfolios"), ((4 + 2) * 4).to_string());
    assert_eq!(db.value("SELECT count(*) FROM ops.rejects"), "0");
    db.nothing_is_staged();
}

/// What holds a market of fifteen names.
const SMALL: [&str; 6] = [
    "index-components.members_are_all",
    "investor-trading.session_is_new",
    "investor-trading.within_volume",
    "investor-trading.values_have_their_unit",
    "sectors.names_are_whole",
    "stocks.few_are_delisted",
];

/// A master of shares says nothing of ETFs, and a list of delisted names little of what they were.
fn masters_keep_to_what_they_know(db: &Db) {
    let server = Server::answering(|request, before| {
        // The first three answers are of the 6th. On the 7th a name has gone from one list to the other.
        let day = if before.len() < 3 { "2026.01.06" } else { "2026.01.07" };
        edited(data(request), |text| {
            let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
            answer["CURRENT_DATETIME"] = format!("{day} PM 08:00:00").into();
            if before.len() >= 3 {
                let shares = answer.get_mut("OutBlock_1").and_then(|rows| rows.as_array_mut());
                if let Some(rows) = shares {
                    rows.retain(|row| row["ISU_SRT_CD"] != "000040");
                }
                let gone = serde_json::json!({
                    "full_code": isin("000040"), "short_code": "000040", "codeName": "다른 이름", "marketCode": "STK",
                });
                let delisted = answer.get_mut("block1").and_then(|rows| rows.as_array_mut());
                if let Some(rows) = delisted {
                    rows.push(gone);
                }
            }
            answer.to_string()
        })
    });
    let exports = open_work(&server).exports();
    let promote = |day: &str| {
        db.sh(&format!(
            "{exports} kdata extract stocks --source krx --date {day} | kdata validate | kdata load"
        ))
        .ok();
        // One of so few names is more than the gate lets pass.
        db.promote_over(&SMALL)
    };
    let gone = || {
        let query = "SELECT stock_code FROM ops.flags WHERE rule = 'stocks.name_is_gone' ORDER BY 1";
        db.rows(query)
    };
    db.write("marcap/marcap-2026.csv.gz", Sheet::fixture(2026).csv_gz());
    db.pipe("stocks", "2026-01-02", "2026-01-05");
    let before = gone();
    promote("2026-01-06");
    assert_eq!(gone(), before, "what is told to be gone was never there");
    let funds = "SELECT stock_code, valid_from FROM market.stocks WHERE security_type = 'ETF' AND is_active ORDER BY 1";
    let delisted = "SELECT stock_code, valid_from FROM market.stocks WHERE NOT is_active AND listed_shares IS NULL ORDER BY 1";
    let (their_funds, their_delisted) = (db.rows(funds), db.rows(delisted));
    assert_eq!((their_funds.len(), their_delisted.len()), (2, 3));
    // Shares alone, by another source: the others stay as they are.
    db.pipe("stocks", "2026-01-07", "2026-01-07");
    assert_eq!((db.rows(funds), db.rows(delisted)), (their_funds, their_delisted));
    assert_eq!(gone(), before);
    let known = "SELECT name, isin, name_en, market, security_type, listing_date, listed_shares FROM market.stocks \
                 WHERE stock_code = '000040'";
    let was = db.value(known);
    promote("2026-01-07");
    assert_eq!(db.value(known), was);
    assert_eq!(gone().len(), before.len() + 1);
    let history = "SELECT valid_from, is_active FROM market.stock_history WHERE stock_code = '000040' ORDER BY 1 DESC LIMIT 1";
    assert_eq!(db.value(history), "2026-01-07|f");
    assert_eq!(db.rows(delisted).len(), 3);
    let again = promote("2026-01-07");
    assert!(again.contains("0 inserted, 0 updated"), "{again}");
}

/// Of one market, or some codes: the rest of the scheme is not gone.
fn a_scheme_does_not_come_in_part(db: &Db) {
    let server = Server::answering(|request, _| data(request));
    let exports = open_work(&server).exports();
    let promote = |scope: &str| {
        db.sh(&format!(
            "{exports} kdata extract sectors --source krx --date 2026-01-07 {scope} | kdata validate | kdata load && kdata promote"
        ))
    };
    promote("").ok();
    let all = db.production_to_the_letter();
    for scope in ["--market KOSPI", "--codes 000010"] {
        promote(scope).fails(3, &["sectors.scheme_is_whole"]);
        assert_eq!(db.production_to_the_letter(), all, "{scope}");
        let batch = db.value("SELECT max(batch_id) FROM ops.batches");
        db.kdata(&format!("rollback {batch}")).ok();
    }
}

on_both_backends! {
    all_datasets_are_promoted
    masters_keep_to_what_they_know
    a_scheme_does_not_come_in_part
}
