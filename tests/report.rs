//! report, due, runs: what is told of what came.

use crate::support::{DATASETS, Db, Sheet, on_both_backends};

on_both_backends! {
    quality_in_numbers
    every_batch_of_a_session_has_its_say
    quality_for_people
    due_lists_what_cron_should_fetch
    runs_tell_what_happened
}

fn fixture(db: &Db) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    for dataset in DATASETS {
        db.pipe(dataset, "2024-01-02", "2024-01-05");
    }
}

fn json(db: &Db, command: &str) -> serde_json::Value {
    serde_json::from_str(&db.kdata(command).ok()).unwrap()
}

fn quality_in_numbers(db: &Db) {
    fixture(db);
    let report = json(db, "report quality --date 2024-01-05 --format json");
    assert_eq!((&report["schema_version"], &report["session"]), (&1.into(), &"2024-01-05".into()));
    assert_eq!((&report["database"], &report["storage"]), (&"live".into(), &db.backend.into()));
    let all = report["datasets"].as_array().unwrap();
    let (datasets, others) = all.split_at(DATASETS.len());
    assert_eq!(datasets.iter().map(|d| d["dataset"].as_str().unwrap()).collect::<Vec<_>>(), DATASETS);
    assert_eq!((others.len(), &others[0]["state"]), (6, &"absent".into()));
    for dataset in datasets {
        assert_eq!((&dataset["state"], &dataset["source"]), (&"final".into(), &"marcap".into()));
        assert_eq!(
            (&dataset["rows"], &dataset["rejected"], &dataset["sessions_behind"]),
            (&12.into(), &0.into(), &0.into())
        );
    }
    // The master is what the others are measured by.
    assert!(datasets[0]["expected"].is_null() && datasets[0]["coverage"].is_null(), "{report}");
    for dataset in &datasets[1..] {
        assert_eq!(
            (&dataset["expected"], &dataset["missing"], &dataset["coverage"]),
            (&12.into(), &0.into(), &100.0.into())
        );
    }
    assert_eq!(datasets[1]["flagged"], 1, "{report}");
    let rules = report["rules"].as_array().unwrap();
    let flag = rules.iter().find(|r| r["severity"] == "flag").unwrap();
    assert_eq!((&flag["rule"], &flag["count"]), (&"ohlcv.value_fits_volume".into(), &1.into()));
    assert_eq!(
        (&flag["samples"][0]["stock_code"], &flag["samples"][0]["name"]),
        (&"100010".into(), &"자차바이오".into())
    );
    // Counts agree with the ledger.
    for rule in rules {
        let (name, severity) = (rule["rule"].as_str().unwrap(), rule["severity"].as_str().unwrap());
        let counted = db.value(&format!(
            "SELECT count(*) FROM ops.flags WHERE time = '2024-01-05' AND rule = '{name}' \
             AND severity = '{severity}'"
        ));
        assert_eq!(rule["count"].to_string(), counted, "{rule}");
    }

    // Names that did not come are counted, by the master of that session.
    let sheet = Sheet::fixture(2024).keep(|sheet, row| row[sheet.at("Code")] != "000040");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    db.pipe("ohlcv", "2024-01-08", "2024-01-08");
    let report = json(db, "report quality --date 2024-01-08 --format json");
    let bars = &report["datasets"][1];
    assert_eq!(
        (&bars["rows"], &bars["expected"], &bars["missing"], &bars["coverage"]),
        (&11.into(), &12.into(), &1.into(), &91.66.into())
    );
    let caps = &report["datasets"][2];
    assert_eq!(
        (&caps["state"], &caps["last_session"], &caps["sessions_behind"]),
        (&"absent".into(), &"2024-01-05".into(), &1.into())
    );
    assert!(caps["rows"].is_null() && caps["coverage"].is_null());

    // Rejects count where they belong.
    let sheet = Sheet::fixture(2024).set("000010", "2024-01-08", "Marcap", "7");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    db.sh("kdata extract market-cap --date 2024-01-08 | kdata validate --max-rejects 1 | kdata \
           load && kdata promote")
        .ok();
    let report = json(db, "report quality --date 2024-01-08 --format json");
    let caps = &report["datasets"][2];
    assert_eq!(
        (&caps["rejected"], &caps["rows"], &caps["missing"]),
        (&1.into(), &11.into(), &1.into()),
        "{report}"
    );
    let rule = report["rules"].as_array().unwrap().iter().find(|r| r["severity"] == "reject").unwrap();
    assert_eq!((&rule["rule"], &rule["count"]), (&"marcap.cap_agrees".into(), &1.into()));
}

fn every_batch_of_a_session_has_its_say(db: &Db) {
    let day = "2024-01-05";
    let sheet = Sheet::fixture(2024);
    let show = |sheet: &Sheet| db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    let told = || {
        let report = json(db, &format!("report quality --date {day} --format json"));
        let rules = report["rules"].as_array().unwrap().iter().filter(|r| r["severity"] != "note");
        let rules: Vec<String> = rules
            .map(|r| {
                format!("{} {} {} {}", r["severity"], r["rule"], r["count"], r["samples"][0]["stock_code"])
            })
            .collect();
        let bars = &report["datasets"][1];
        (
            bars["rows"].as_i64().unwrap(),
            bars["rejected"].as_i64().unwrap(),
            rules.join(", ").replace('"', ""),
        )
    };
    let bring = |args: &str| {
        let extract = format!("kdata extract ohlcv --date {day} {args} | kdata validate --max-rejects 1");
        db.sh(&format!("{extract} | kdata load && kdata promote")).ok();
    };
    let flag = "flag ohlcv.value_fits_volume 1 100010".to_owned();
    // Not yet the name that is flagged, and one that is rejected.
    let without = |code: &str| sheet.clone().without("Code", code);
    show(&without("100010").set("000010", day, "Low", "99999"));
    bring("");
    let reject = "reject ohlcv.high_is_highest 1 000010".to_owned();
    assert_eq!(told(), (10, 1, reject.clone()));
    // A list fills up: its flags and the rejects of the batch before.
    show(&sheet);
    bring("--codes 100010");
    assert_eq!(told(), (11, 1, format!("{reject}, {flag}")));
    bring("--codes 100010,000010");
    assert_eq!(told().0, 12);
    assert!(told().2.ends_with(&flag), "once: {:?}", told());
    // The session comes anew, with a value that fits: nothing of what was said before is true any more.
    let row =
        sheet.rows.iter().find(|r| r[sheet.at("Code")] == "100010" && r[sheet.at("Date")] == day).unwrap();
    let value = sheet.number(row, "Close") * sheet.number(row, "Volume");
    show(&sheet.clone().set("100010", day, "Amount", &value.to_string()));
    bring("");
    assert_eq!(told(), (12, 0, String::new()));
}

/// How wide a text is in a terminal.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(c, '가'..='힣') { 2 } else { 1 }).sum()
}

fn quality_for_people(db: &Db) {
    // Three names of different widths break one rule.
    let flagged = ["000010", "100050", "100040"].iter().fold(Sheet::fixture(2024), |sheet, code| {
        let row = sheet
            .rows
            .iter()
            .find(|r| r[sheet.at("Code")] == **code && r[sheet.at("Date")] == "2024-01-04")
            .unwrap();
        let value = sheet.number(row, "Low") * sheet.number(row, "Volume") * 9 / 10;
        sheet.set(code, "2024-01-04", "Amount", &value.to_string())
    });
    db.write("marcap/marcap-2024.csv.gz", flagged.csv_gz());
    for dataset in DATASETS {
        db.pipe(dataset, "2024-01-02", "2024-01-05");
    }
    let table = db.kdata("report quality --date 2024-01-04").ok();
    let samples: Vec<&str> = table
        .lines()
        .skip_while(|l| !l.contains("flag  3  ohlcv.value_fits_volume"))
        .skip(1)
        .take(3)
        .collect();
    let message_at = |line: &str| width(&line[..line.find("the traded value").unwrap()]);
    assert!(
        samples.iter().any(|l| l.contains("나,다홀딩스")) && samples.iter().any(|l| l.contains("가나전자")),
        "{table}"
    );
    assert!(samples.iter().all(|line| message_at(line) == message_at(samples[0])), "{table}");
    insta::with_settings!({ filters => vec![("native|timescale", "…")] }, {
        insta::assert_snapshot!("quality", table);
    });
    let narrow = {
        let mut command = db.command(crate::support::KDATA, &["report", "quality", "--date", "2024-01-04"]);
        let run: crate::support::Run = command.env("COLUMNS", "80").output().unwrap().into();
        run.ok()
    };
    assert!(narrow.lines().all(|line| width(line) <= 80), "{narrow}");
}

fn due_lists_what_cron_should_fetch(db: &Db) {
    fixture(db);
    let due = |now: &str, args: &str| {
        let mut command = db.command(crate::support::KDATA, &[]);
        command.arg("due").args(args.split(' ')).env("KDATA_NOW", now);
        let run: crate::support::Run = command.output().unwrap().into();
        run.ok().lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(due("2024-01-05T18:00:00+09:00", "ohlcv --sessions 4"), Vec::<String>::new());
    assert_eq!(due("2024-01-05T18:00:00+09:00", "ohlcv --sessions 5"), ["2023-12-28"]);
    // The session of today is due once it is over, and past midnight as well.
    assert_eq!(due("2024-01-08T15:29:00+09:00", "ohlcv --sessions 3"), Vec::<String>::new());
    assert_eq!(due("2024-01-08T15:30:00+09:00", "ohlcv --sessions 3"), ["2024-01-08"]);
    assert_eq!(due("2024-01-09T00:10:00+09:00", "ohlcv --sessions 3"), ["2024-01-08"]);
    assert_eq!(
        due("2024-01-09T20:00:00+09:00", "market-cap --sessions 3 --long"),
        ["2024-01-08 absent", "2024-01-09 absent"]
    );
    assert_eq!(due("2024-01-09T20:00:00+09:00", "stocks --sessions 9 --date 2024-01-03").len(), 7);
}

fn runs_tell_what_happened(db: &Db) {
    assert_eq!(json(db, "runs --format json")["runs"], serde_json::json!([]));
    fixture(db);
    db.feed("load", b"").fails(5, &[]);
    let runs = json(db, "runs --format json");
    assert_eq!(runs["schema_version"], 1);
    let runs = runs["runs"].as_array().unwrap().clone();
    let commands: Vec<_> = runs.iter().map(|r| r["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["load", "promote", "load", "promote", "load", "promote", "load"], "newest first");
    assert_eq!((&runs[0]["state"], &runs[0]["exit_code"]), (&"failed".into(), &5.into()));
    assert!(runs[0]["reason"].as_str().unwrap().contains("it is empty"));
    assert_eq!(
        (&runs[1]["inserted"], &runs[1]["batch_state"], &runs[1]["from"]),
        (&48.into(), &"promoted".into(), &"2024-01-02".into())
    );
    assert_eq!(
        (&runs[2]["rows"], &runs[2]["source"], &runs[2]["state"]),
        (&48.into(), &"marcap".into(), &"ok".into())
    );
    assert_eq!(json(db, "runs --failed --format json")["runs"].as_array().unwrap().len(), 1);
    assert_eq!(json(db, "runs --dataset ohlcv -n 1 --format json")["runs"][0]["command"], "promote");
    let table = db.kdata("runs").ok();
    assert!(table.contains("exit 5: broken stream: it is empty") && table.contains("promoted"), "{table}");
    assert_eq!(table.lines().count(), 8);
    // At 80 columns a date stands whole on its line, and a reason is wrapped between words.
    let of_width = |columns: &str| {
        let mut command = db.command(crate::support::KDATA, &["runs"]);
        let run: crate::support::Run = command.env("COLUMNS", columns).output().unwrap().into();
        run.ok()
    };
    for columns in [60, 80, 100, 118, 140] {
        let table = of_width(&columns.to_string());
        assert!(table.lines().all(|line| width(line) <= columns), "{table}");
        assert!(table.contains("2024-01-02 to 2024-01-05"), "{table}");
        assert!(table.contains("exit 5: broken stream: it is empty"), "{table}");
    }
    insta::with_settings!({ filters => vec![(r"\d\d-\d\d \d\d:\d\d:\d\d", "MM-DD hh:mm:ss")] }, {
        insta::assert_snapshot!("runs_narrow", of_width("80"));
    });
}
