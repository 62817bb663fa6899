//! rejects and flags: listed, shown, replayed, discarded; nothing is deleted.

use crate::support::{Db, Sheet, on_both_backends};

on_both_backends! {
    a_row_of_tomorrow_is_replayed_today
    what_was_looked_at_is_kept
}

fn json(db: &Db, command: &str) -> serde_json::Value {
    serde_json::from_str(&db.kdata(command).ok()).unwrap()
}

/// Counts by rule: open, replayed, discarded.
fn counts(db: &Db, command: &str) -> Vec<(String, i64, i64, i64)> {
    let document = json(db, &format!("{command} --format json"));
    let rules = document["rules"].as_array().unwrap().clone();
    let number = |rule: &serde_json::Value, of: &str| rule[of].as_i64().unwrap();
    rules
        .iter()
        .map(|r| {
            let rule = r["rule"].as_str().unwrap().to_owned();
            (rule, number(r, "open"), number(r, "replayed"), number(r, "discarded"))
        })
        .collect()
}

/// Twelve rows of the next day, by a clock that is late, and one that is broken for good.
fn rejected(db: &Db) {
    let sheet = Sheet::fixture(2024).set("000010", "2024-01-04", "Low", "99999999");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    db.sh("kdata extract ohlcv --from 2024-01-04 --to 2024-01-05 | \
           KDATA_NOW=2024-01-04T20:00:00+09:00 kdata validate --max-rejects 90% | kdata load && kdata promote")
        .ok();
}

fn a_row_of_tomorrow_is_replayed_today(db: &Db) {
    rejected(db);
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), "11");
    let all = vec![("row.not_in_future".to_owned(), 12, 0, 0), ("ohlcv.high_is_highest".to_owned(), 1, 0, 0)];
    assert_eq!(counts(db, "rejects list --batch 1"), all);
    assert_eq!(counts(db, "rejects --date 2024-01-05").len(), 1);
    assert_eq!(counts(db, "rejects --dataset stocks"), []);
    let whole = db.kdata("rejects -n 1").ok();
    assert!(
        whole.starts_with("open") || whole.trim_start().starts_with("open"),
        "counts come first: {whole}"
    );
    assert!(whole.contains(",2024-01-0") && whole.contains("run 1, batch 1"), "the row: {whole}");

    // Nothing is marked by a stream that nobody loads.
    db.sh("kdata rejects replay --batch 1 > /dev/null").ok();
    assert_eq!(counts(db, "rejects"), all);
    let stream = db.kdata("rejects replay --batch 1");
    assert!(stream.stderr.contains("12 rows of batch 1 pass"), "{stream:#?}");
    assert!(stream.stderr.contains("1 still break ohlcv.high_is_highest"), "{stream:#?}");
    let stream = stream.ok();
    for text in ["names=list", "from=2024-01-05 to=2024-01-05", "source=marcap", "#end rows=12 rejected=0"] {
        assert!(stream.contains(text), "{text}: {stream}");
    }
    assert!(!stream.contains("#reject"), "{stream}");
    let batch = db.load(&stream);
    assert_eq!(counts(db, "rejects")[0], ("row.not_in_future".into(), 0, 12, 0));
    db.kdata("promote").ok();
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), "23");
    let status = "SELECT names, rows, finality, source FROM market.session_status WHERE time = '2024-01-05'";
    assert_eq!(db.value(status), "list|12|final|marcap");
    let quality = json(db, "report quality --date 2024-01-05 --format json");
    assert_eq!(quality["datasets"][1]["rejected"], 0, "what came in all the same is no reject: {quality}");
    // A second time there is nothing to do but what is still broken.
    db.kdata("rejects replay --batch 1").fails(3, &["none of the 1 rows keeps today's rules", "discard"]);
    assert_eq!(
        db.sh("kdata rejects replay --batch 1 2>/dev/null | kdata load").code,
        3,
        "load tells the cause"
    );
    let shown = db.kdata("rejects show 1").ok();
    assert!(shown.contains("state"), "{shown}");
    // A rollback opens them again by itself.
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(counts(db, "rejects"), all);
    db.kdata("rejects replay").fails(2, &["which ones?"]);
    db.kdata("rejects replay --batch 77").fails(2, &["no open reject matches"]);
}

fn what_was_looked_at_is_kept(db: &Db) {
    rejected(db);
    let id = db.value("SELECT reject_id FROM ops.rejects WHERE rule = 'ohlcv.high_is_highest'");
    let shown = db.kdata(&format!("rejects show {id}")).ok();
    let place = format!("marcap-2024 in {}", db.path("marcap").display());
    for text in [place.as_str(), "low", "99999999", "broken when", "batch", "open"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    db.kdata("rejects discard --reason x").fails(2, &["which ones?"]);
    db.kdata(&format!("rejects discard {id}")).fails(2, &["--reason"]);
    let discard = |args: &str| db.sh(&format!("kdata rejects discard {args}"));
    discard(&format!("{id} --reason '  '")).fails(2, &["the reason is empty"]);
    discard(&format!("{id} --reason '단위 오류'")).ok();
    discard(&format!("{id} --reason again")).fails(2, &["no open rejects matches"]);
    assert_eq!(counts(db, "rejects")[1], ("ohlcv.high_is_highest".into(), 0, 0, 1));
    assert!(db.kdata(&format!("rejects show {id}")).ok().contains("discarded on "));
    assert!(!db.kdata("rejects").ok().contains("99999999"));
    assert!(db.kdata("rejects --state discarded").ok().contains("99999999"));
    assert_eq!(db.value("SELECT count(*) FROM ops.rejects"), "13");
    db.kdata("rejects --rule ohlcv.high_is_higest").fails(2, &["did you mean ohlcv.high_is_highest"]);
    db.kdata("rejects show 999").fails(2, &["there is no reject 999"]);
    // Flags go the same way.
    assert!(db.kdata("flags").ok().contains("ohlcv."));
    let flag = db.value("SELECT min(flag_id) FROM ops.flags WHERE severity IN ('flag', 'gate', 'missing')");
    assert!(db.kdata(&format!("flags show {flag}")).ok().contains("broken when"));
    db.sh(&format!("kdata flags discard {flag} --reason ok")).ok();
    assert_eq!(json(db, "flags --state discarded --format json")["flags"].as_array().unwrap().len(), 1);
}
