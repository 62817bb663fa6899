//! The reports: each in each form; coverage, freshness, reconciliation and storage against data that is known.

use crate::support::{DATASETS, Db, Run, Sheet, on_both_backends};

on_both_backends! {
    every_report_in_every_form
    coverage_tells_gaps_from_what_is_held_or_not_final
    freshness_counts_sessions_that_were_published
    sources_are_compared_row_by_row
    storage_counts_what_is_there
}

/// Real names, wide and narrow ones, and one that wants to be markup.
const NAMES: [(&str, &str); 5] = [
    ("000010", "삼성바이오로직스"),
    ("100010", "SK이노베이션"),
    ("100040", "NAVER"),
    ("100050", "<script>alert('x')</script> & \"친구들\""),
    ("000040", "a|b *c* `d`"),
];

/// Four sessions of three datasets with the names above, a row that is flagged and one that is rejected.
pub fn collected(db: &Db) {
    let sheet = Sheet::fixture(2024).set("000010", "2024-01-03", "Marcap", "7");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    for dataset in DATASETS {
        db.sh(&format!(
            "kdata extract {dataset} --source marcap --from 2024-01-02 --to 2024-01-05 | \
             kdata validate --max-rejects 2 | kdata load && kdata promote"
        ))
        .ok();
    }
    for (code, name) in NAMES {
        for table in ["stocks", "stock_history"] {
            let name = name.replace('\'', "''");
            db.rows(&format!("UPDATE market.{table} SET name = '{name}' WHERE stock_code = '{code}'"));
        }
    }
}

pub fn at(db: &Db, now: &str, args: &str) -> Run {
    let mut command = db.command(crate::support::KDATA, &[]);
    command.args(args.split_whitespace()).env("KDATA_NOW", now).env("COLUMNS", "80").output().unwrap().into()
}

const EVENING: &str = "2024-01-05T20:00:00+09:00";

fn json(run: &Run) -> serde_json::Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:#?}"))
}

/// How wide a text is in a terminal.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(c, '가'..='힣');
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

fn reports(db: &Db) -> Vec<String> {
    let help = db.kdata("report -h").ok();
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names =
        list.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(ToOwned::to_owned).collect()
}

fn every_report_in_every_form(db: &Db) {
    collected(db);
    let all = reports(db);
    assert_eq!(all.len(), kdata::stage::report::ALL.len());
    for report in kdata::stage::report::ALL {
        assert!(all.contains(&report.name.to_owned()), "{}", report.name);
        // Its examples run as they stand.
        for example in report.examples.iter().filter(|example| !example.contains("--batch")) {
            let run = db.sh(&format!("KDATA_NOW={EVENING} {example}"));
            assert!(matches!(run.code, 0 | 3), "{example}: {run:#?}");
        }
        let ask = |form: &str| {
            let days = if report.name == "runs" { "--year 2026" } else { "" };
            let now = if report.name == "runs" { crate::support::NOW } else { EVENING };
            at(db, now, &format!("report {} {days} --format {form}", report.name)).ok()
        };
        let json: serde_json::Value = serde_json::from_str(&ask("json")).unwrap();
        assert_eq!((&json["schema_version"], &json["report"]), (&1.into(), &report.name.into()));
        let tables: Vec<(&String, &Vec<serde_json::Value>)> = json
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_array()?)))
            .filter(|(name, _)| *name != "notes")
            .collect();
        assert!(!tables.is_empty() && tables.iter().any(|(_, rows)| !rows.is_empty()), "{json}");
        // CSV and Markdown hold the same rows and columns.
        let (csv, markdown) = (ask("csv"), ask("md"));
        for (name, rows) in &tables {
            let part = csv.split("\n\n").find(|part| part.starts_with(&format!("# {name}: "))).unwrap();
            let mut reader = csv::Reader::from_reader(part.split_once('\n').unwrap().1.as_bytes());
            let header = reader.headers().unwrap().clone();
            let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            assert_eq!(records.len(), rows.len(), "{}: {name} in {csv}", report.name);
            for (record, row) in records.iter().zip(*rows) {
                assert_eq!(header.len(), row.as_object().unwrap().len(), "{name}");
                for (column, field) in header.iter().zip(record) {
                    match &row[column] {
                        serde_json::Value::String(text) if !column.ends_with("_at") && column != "last" => {
                            assert_eq!(field, text, "{column}");
                        }
                        serde_json::Value::Null => assert_eq!(field, "", "{column}"),
                        // Sizes change while one looks.
                        value @ serde_json::Value::Number(_) if !column.ends_with("bytes") => {
                            let number: serde_json::Value = serde_json::from_str(field).unwrap();
                            assert_eq!(
                                number.as_f64().map(f64::to_bits),
                                value.as_f64().map(f64::to_bits),
                                "{column}"
                            );
                        }
                        _ => {}
                    }
                }
            }
            let part = markdown.split("\n## ").find(|part| part.starts_with(&format!("{name}: "))).unwrap();
            let lines = part.lines().filter(|line| line.starts_with("| ")).count();
            assert_eq!(lines.saturating_sub(2), rows.len(), "{}: {name} in {markdown}", report.name);
        }
        for options in ["table", "table --ascii"] {
            let table = ask(options);
            assert!(table.lines().all(|line| width(line) <= 80), "{table}");
            let is_plain = options == "table" || !table.contains(['█', '▓', '▒', '░', '▁', '·']);
            assert!(is_plain && !table.contains('\x1b'), "{table}");
        }
        let html = ask("html");
        assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"), "{html}");
        assert!(!html.contains("<script") && html.matches("<section").count() == tables.len(), "{html}");
        for network in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(network), "{}: {network}", report.name);
        }
    }
    let quality = at(db, EVENING, "report quality --date 2024-01-03 --format html").ok();
    assert!(quality.contains("삼성바이오로직스"), "{quality}");
}

fn coverage_tells_gaps_from_what_is_held_or_not_final(db: &Db) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    db.pipe("stocks", "2024-01-02", "2024-01-08");
    db.pipe("ohlcv", "2024-01-03", "2024-01-03");
    db.pipe("ohlcv", "2024-01-05", "2024-01-05");
    db.load(&db.validated("ohlcv", "2024-01-08", "2024-01-08"));
    db.rows("UPDATE market.session_status SET finality = 'provisional' WHERE dataset = 'ohlcv' AND time = '2024-01-05'");
    for (day, names) in [("2024-01-09", "list"), ("2024-01-10", "whole")] {
        db.rows(&format!(
            "INSERT INTO market.session_status (dataset, time, source, names, finality, batch_id) \
             VALUES ('ohlcv', '{day}', 'marcap', '{names}', 'final', 1)"
        ));
    }
    // A list of indices stands for a quarter.
    db.rows(
        "INSERT INTO market.session_status (dataset, time, source, names, finality, batch_id) \
         VALUES ('index-components', '2024-01-03', 'marcap', 'whole', 'final', 1)",
    );
    let now = "2024-01-11T19:40:00+09:00";
    let range = "report coverage --from 2024-01-02 --to 2024-01-15";
    let table = at(db, now, range).ok();
    let of = |table: &str, dataset: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("{dataset} "))).unwrap().to_owned();
        line[dataset.len()..].trim().to_owned()
    };
    // 2 nothing yet, 3 final, 4 absent, 5 provisional, 8 held, 9 in part, 10 final, 11 absent, 12 and 15 are to come.
    assert_eq!(of(&table, "ohlcv"), "·█x▓!▒█x", "{table}");
    assert_eq!(of(&table, "index-components"), "·█░░░░░░", "{table}");
    assert_eq!(of(&table, "sectors"), "········", "{table}");
    for said in
        ["█ whole and final", "x absent", "! staged, not promoted", "▓ not final yet", "▒ some names only"]
    {
        assert!(table.contains(said), "{said}: {table}");
    }
    assert_eq!(of(&at(db, now, &format!("{range} --ascii")).ok(), "ohlcv"), ".#x+!~#x");
    // Before a session can have been published it is not absent.
    assert_eq!(of(&at(db, "2024-01-11T19:20:00+09:00", range).ok(), "ohlcv"), "·█x▓!▒█");
    let report = json(&at(db, now, &format!("{range} --dataset ohlcv --format json")));
    let gaps: Vec<String> = report["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| {
            format!(
                "{} {} {}",
                gap["state"].as_str().unwrap(),
                gap["from"].as_str().unwrap(),
                gap["sessions"]
            )
        })
        .collect();
    assert_eq!(
        gaps,
        [
            "absent 2024-01-11 1",
            "partial 2024-01-09 1",
            "held 2024-01-08 1",
            "provisional 2024-01-05 1",
            "absent 2024-01-04 1"
        ]
    );
    let counts = &report["datasets"][0];
    assert_eq!((&counts["sessions"], &counts["final"], &counts["absent"]), (&8.into(), &2.into(), &2.into()));
    // A year: a quarter of a month a cell, which says how many of its sessions are absent.
    let year = at(db, now, "report coverage --year 2024").ok();
    assert!(year.contains("Jan  Feb  Mar  Apr  May  Jun  Jul  Aug  Sep  Oct  Nov  Dec"), "{year}");
    assert_eq!(of(&year, "ohlcv"), "11", "{year}");
    assert!(year.lines().take_while(|line| !line.starts_with("How many")).count() <= 24, "{year}");
    // Beyond the calendar nothing is judged, and that is said.
    let beyond =
        at(db, "2026-12-30T20:00:00+09:00", "report coverage --from 2026-12-01 --to 2027-02-01").ok();
    assert!(
        beyond.contains("The trading calendar covers 1995-01-01 to 2026-12-31") && beyond.contains("???"),
        "{beyond}"
    );

    // By name: on which sessions it has rows.
    let names = format!("{range} --dataset ohlcv --codes 000010,999990");
    let table = at(db, now, &names).ok();
    assert_eq!(of(&table, "000010 가나전자"), "·█·▓·xx·", "{table}");
    assert_eq!(of(&table, "999990"), "·x·x·xx·", "{table}");
    at(db, now, &format!("{range} --codes 000010")).fails(2, &["--dataset ohlcv --codes"]);
    at(db, now, "report coverage --from 2024-01-05 --to 2024-01-02").fails(2, &["is after --to"]);
    at(db, now, "report coverage --dataset ohlcv --codes 5930").fails(2, &["\"5930\" is not a stock code"]);
    at(db, now, "report coverage --dataset ohlcv --codes 가나전").fails(2, &["000010"]);
    at(db, now, "report storage --codes 005930").fails(2, &["unexpected argument '--codes'"]);
}

fn freshness_counts_sessions_that_were_published(db: &Db) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    // Nobody promised anything: only who asks for a dataset by name is told.
    at(db, EVENING, "report freshness").ok();
    at(db, EVENING, "report freshness --dataset ohlcv").fails(3, &["ohlcv (never)"]);
    for dataset in DATASETS {
        db.pipe(dataset, "2024-01-02", "2024-01-05");
    }
    let states = |now: &str| {
        let report = json(&at(db, now, "report freshness --format json"));
        let told = |d: &serde_json::Value| format!("{} {}", d["state"].as_str().unwrap(), d["behind"]);
        report["datasets"].as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(states(EVENING)[..4], ["fresh 0", "fresh 0", "fresh 0", "never null"]);
    // Over the weekend, on Monday before the close, and while cron has time to fetch it.
    for now in ["2024-01-07T12:00:00+09:00", "2024-01-08T15:00:00+09:00", "2024-01-08T19:29:00+09:00"] {
        at(db, now, "report freshness").ok();
    }
    let late = "2024-01-08T19:31:00+09:00";
    assert_eq!(states(late)[1], "stale 1");
    let told = at(db, late, "report freshness").fails(3, &["not fresh: stocks (stale), ohlcv (stale)"]);
    assert!(told.contains("2024-01-05") && told.contains("kdata due DATASET"), "{told}");
    at(db, late, "report freshness --max-behind 1").ok();
    assert_eq!(states("2024-01-10T12:00:00+09:00")[1], "stale 2");
    // Here, but never read again once it had settled.
    db.rows("UPDATE market.session_status SET finality = 'provisional' WHERE dataset = 'ohlcv' AND time = '2024-01-05'");
    at(db, EVENING, "report freshness --dataset ohlcv,stocks").fails(3, &["not fresh: ohlcv (not final)"]);
    // One name alone makes no session.
    db.rows("UPDATE market.session_status SET names = 'list', finality = 'final' WHERE dataset = 'ohlcv' AND time = '2024-01-05'");
    at(db, EVENING, "report freshness").fails(3, &["not fresh: ohlcv (stale)"]);
    // Lists have a rhythm of their own.
    db.rows(
        "INSERT INTO market.session_status (dataset, time, source, names, finality, batch_id) \
         VALUES ('sectors', '2023-12-18', 'marcap', 'whole', 'final', 1)",
    );
    assert_eq!(states("2024-01-05T12:00:00+09:00")[3], "stale 10");
    assert_eq!(states("2024-01-04T12:00:00+09:00")[3], "fresh 9");
    at(db, "2027-02-01T12:00:00+09:00", "report freshness").fails(2, &["the trading calendar covers"]);
}

fn sources_are_compared_row_by_row(db: &Db) {
    collected(db);
    let differences = |args: &str| {
        let report = json(&at(db, EVENING, &format!("report reconcile {args} --format json")));
        let text = |row: &serde_json::Value, names: &[&str]| {
            names.iter().map(|name| row[name].to_string().replace('"', "")).collect::<Vec<_>>().join(" | ")
        };
        let names: &[&str] = if args.contains("--batch") {
            &["stock_code", "session", "column", "staged", "production", "production_source"]
        } else {
            &["check", "session", "stock_code", "name", "one", "other", "difference", "item"]
        };
        report["differences"].as_array().unwrap().iter().map(|row| text(row, names)).collect::<Vec<_>>()
    };
    assert_eq!(differences(""), Vec::<String>::new());
    // Another source for a session: its rows but for two of them.
    let stream = db.validated("ohlcv", "2024-01-04", "2024-01-04");
    let lines: Vec<&str> = stream.lines().filter(|line| !line.starts_with('#')).collect();
    let mut own = String::new();
    for line in &lines {
        let mut fields: Vec<String> = line.split(',').map(ToOwned::to_owned).collect();
        if ["000010", "100040"].contains(&fields[0].as_str()) {
            let value: i64 = fields[6].parse().unwrap();
            fields[6] = (value + 1).to_string();
        }
        own.push_str(&(fields.join(",") + "\n"));
    }
    db.write("own/ohlcv.csv", own);
    let folder = db.path("own").display().to_string();
    let csv = format!("KDATA_CSV={folder} kdata extract ohlcv --source csv --date 2024-01-04");
    let batch = db.sh(&format!("{csv} | kdata validate | kdata load")).ok().trim().to_owned();
    let volume = |code: &str| {
        db.value(&format!(
            "SELECT volume FROM market.ohlcv_daily WHERE stock_code = '{code}' AND time = '2024-01-04'"
        ))
    };
    let (one, two) = (volume("000010"), volume("100040"));
    let more = |n: &str| (n.parse::<i64>().unwrap() + 1).to_string();
    assert_eq!(
        differences(&format!("--batch {batch}")),
        [
            format!("000010 | 2024-01-04 | volume | {} | {one} | marcap", more(&one)),
            format!("100040 | 2024-01-04 | volume | {} | {two} | marcap", more(&two)),
        ]
    );
    let table = at(db, EVENING, &format!("report reconcile --batch {batch}")).ok();
    assert!(table.contains("삼성바이오로직스") && table.lines().all(|line| width(line) <= 80), "{table}");
    // Promoted, it is a source against another in production.
    db.kdata(&format!("promote --batch {batch} --force")).ok();
    let found = differences("");
    let said = format!("volume: marcap batch 2, csv batch {batch}");
    assert_eq!(
        found,
        [
            format!(
                "sources | 2024-01-04 | 000010 | 삼성바이오로직스 | {one} | {} | -1 | {said}",
                more(&one)
            ),
            format!("sources | 2024-01-04 | 100040 | NAVER | {two} | {} | -1 | {said}", more(&two)),
        ]
    );
    at(db, EVENING, &format!("report reconcile --batch {batch}")).fails(2, &["is promoted"]);
    at(db, EVENING, "report reconcile --batch 99").fails(2, &["there is no batch 99"]);
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(differences(""), Vec::<String>::new());
    db.rows("UPDATE market.market_cap_daily SET market_cap = market_cap + 5 WHERE stock_code = '100010' AND time = '2024-01-05'");
    let found = differences("");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("market-cap | 2024-01-05 | 100010 | SK이노베이션 | "), "{found:?}");
    assert!(found[0].contains(" | 5 | KRW: market cap, close x listed shares"), "{found:?}");
}

fn storage_counts_what_is_there(db: &Db) {
    collected(db);
    let report = json(&db.kdata("report storage --format json"));
    let tables = report["tables"].as_array().unwrap();
    let table = |name: &str| tables.iter().find(|table| table["table"] == name).unwrap();
    for name in ["ohlcv_daily", "market_cap_daily"] {
        let rows = db.value(&format!("SELECT count(*) FROM market.{name}"));
        assert_eq!(table(name)["rows"].to_string(), rows, "{report}");
        assert_eq!((&table(name)["parts"], &table(name)["compressed"]), (&1.into(), &0.into()));
        assert!(table(name)["bytes"].as_i64().unwrap() > 8192, "{report}");
    }
    assert!(table("stock_history")["bytes"].as_i64().unwrap() > 8192, "{report}");
    assert!(report["schemas"].as_array().unwrap().iter().any(|schema| schema["schema"] == "ops"), "{report}");
    assert_eq!(report["storage"], db.backend);
}
