//! backfill and run: the stages in one process, windows that are skipped when done, a start after any stop.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Db, KDATA, Sheet, on_both_backends};

const ASK: &str = "backfill ohlcv --source marcap --from 2024-01-02 --to 2024-02-29";

/// Two months of a made-up market.
fn market(db: &Db) -> Sheet {
    let calendar = "2024-01-02 2024-01-03 2024-01-04 2024-01-05 2024-01-08 2024-01-09 2024-01-10 2024-01-11 2024-01-12 \
                    2024-01-15 2024-01-16 2024-01-17 2024-01-18 2024-01-19 2024-01-22 2024-01-23 2024-01-24 2024-01-25 \
                    2024-01-26 2024-01-29 2024-01-30 2024-01-31 2024-02-01 2024-02-02 2024-02-05 2024-02-06 2024-02-07 \
                    2024-02-08 2024-02-13 2024-02-14 2024-02-15 2024-02-16 2024-02-19 2024-02-20 2024-02-21 2024-02-22 \
                    2024-02-23 2024-02-26 2024-02-27 2024-02-28 2024-02-29";
    let sessions: Vec<&str> = calendar.split_whitespace().collect();
    let sheet = Sheet::market(120, &sessions);
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    sheet
}

fn rows(db: &Db) -> usize {
    db.value("SELECT count(*) FROM market.ohlcv_daily").parse().unwrap()
}

fn a_range_comes_in_windows_and_once(db: &Db) {
    let sheet = market(db);
    let plan = db.kdata(&format!("{ASK} --window 10 --dry-run")).ok();
    assert!(plan.contains("41 sessions in 5 windows"), "{plan}");
    assert_eq!(rows(db), 0);
    let run = db.kdata(&format!("{ASK} --window 10 --jobs 2"));
    assert!(run.stderr.contains("5/5 batch "), "{run:#?}");
    run.ok();
    assert_eq!(rows(db), sheet.rows.len());
    assert_eq!(
        db.value("SELECT windows, done, held, problem IS NULL, finished_at IS NOT NULL FROM ops.backfills"),
        "5|5|0|t|t"
    );
    // Twice is the same as once, and asks nobody.
    std::fs::remove_file(db.path("marcap/marcap-2024.csv.gz")).unwrap();
    let again = db.kdata(ASK);
    assert!(again.stderr.contains("all 41 sessions are there"), "{again:#?}");
    again.ok();
    db.nothing_is_staged();
}

fn a_gate_holds_one_window_and_the_others_go_on(db: &Db) {
    let sheet = market(db).copy_session("2024-01-16", "2024-01-17");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    let run = db.kdata(&format!("{ASK} --window 10"));
    assert!(run.stderr.contains("held: "), "{run:#?}");
    run.fails(3, &["ohlcv.session_is_new"]);
    assert_eq!(db.value("SELECT done, held FROM ops.backfills"), "4|1");
    assert_eq!(db.value("SELECT count(DISTINCT time) FROM market.ohlcv_daily"), "31");
    // It stays staged: the same command does not load it again, and is still honest about it.
    db.kdata(&format!("{ASK} --window 10")).fails(3, &["ohlcv.session_is_new"]);
    assert_eq!(db.value("SELECT count(*) FROM ops.batches WHERE state = 'staged'"), "1");
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let db = &Db::native();
    let sheet = market(db);
    for round in 0..8u64 {
        let args: Vec<&str> = ASK.split(' ').chain(["--window", "5", "--jobs", "2"]).collect();
        let mut child = db
            .command(KDATA, &args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 + 90 * round));
        let _ = child.kill();
        child.wait().unwrap();
    }
    db.kdata(&format!("{ASK} --window 5")).ok();
    assert_eq!(rows(db), sheet.rows.len());
    assert_eq!(db.value("SELECT count(DISTINCT time) FROM market.session_status WHERE dataset = 'ohlcv' AND finality = 'final'"), "41");
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily o JOIN ops.batches b USING (batch_id) WHERE b.state <> 'promoted'"), "0");
}

#[test]
fn run_brings_what_is_due() {
    let db = &Db::native();
    let sheet = market(db);
    let at = |now: &str, args: &str| db.sh(&format!("export KDATA_NOW={now}; kdata {args}"));
    at("2024-02-27T18:00:00+09:00", "run stocks ohlcv market-cap --date 2024-02-27").ok();
    assert_eq!(db.value("SELECT count(*) FROM market.session_status WHERE time = '2024-02-27'"), "3");
    // Two evenings later: the outage leaves no gap. What was before the first session here is history.
    at("2024-02-29T18:00:00+09:00", "run stocks ohlcv market-cap --due").ok();
    assert_eq!(at("2024-02-29T18:00:00+09:00", "due ohlcv").ok(), "");
    assert_eq!(at("2024-02-29T18:00:00+09:00", "due ohlcv --sessions 4").ok(), "2024-02-26\n");
    assert_eq!(db.value("SELECT count(DISTINCT time) FROM market.ohlcv_daily"), "3");
    let closed = at("2024-03-01T18:00:00+09:00", "run ohlcv --date today");
    assert!(closed.stderr.contains("the market was closed"), "{closed:#?}");
    closed.ok();
    at("2024-02-29T15:00:00+09:00", "run ohlcv --date 2024-02-29").fails(9, &["2024-02-29 15:30"]);
    assert!(rows(db) < sheet.rows.len());
    assert_eq!(at("2024-02-29T18:00:00+09:00", "-q run ohlcv --due").stderr, "");
}

/// A run that was killed before it promoted leaves a batch. What it holds must not come back once a newer one stands.
#[test]
fn what_a_killed_run_left_is_discarded() {
    let db = &Db::native();
    let sheet = market(db);
    let stream = db.validated("ohlcv", "2024-01-02", "2024-01-02");
    let left = db.load(&stream);
    db.write("marcap/marcap-2024.csv.gz", sheet.reprice("000010", "2024-01-02", 1_001).csv_gz());
    db.kdata("run ohlcv --source marcap --date 2024-01-02").ok();
    db.nothing_is_staged();
    let told = format!("SELECT state, superseded_by > batch_id FROM ops.batches WHERE batch_id = {left}");
    assert_eq!(db.value(&told), "discarded|t");
    // Whoever loaded it and is slower to promote it has nothing left to do.
    db.kdata(&format!("promote --batch {left}")).ok();
    assert_eq!(db.value("SELECT close FROM market.ohlcv_daily WHERE stock_code = '000010'"), "1001");
}

/// Each run asks again for what is held; what it held before goes.
#[test]
fn a_held_batch_is_held_once() {
    let db = &Db::native();
    let sheet = market(db).copy_session("2024-01-16", "2024-01-17");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    db.kdata("run ohlcv --source marcap --date 2024-01-16").ok();
    let again = || {
        db.kdata("run ohlcv --source marcap --date 2024-01-17").fails(3, &["ohlcv.session_is_new"]);
        db.value("SELECT batch_id FROM ops.batches WHERE state = 'staged'")
    };
    let (first, second) = (again(), again());
    assert_ne!(first, second);
    db.kdata(&format!("promote --batch {first} --force"))
        .fails(2, &[&format!("superseded by batch {second}, which is newer")]);
    db.kdata(&format!("promote --batch {second} --force")).ok();
    db.nothing_is_staged();
}

/// Lists of the present come once a week, on its first session that works out; a week that has passed cannot be had.
#[test]
fn lists_are_due_once_a_week() {
    let db = &Db::native();
    market(db);
    let due = |now: &str, dataset: &str| db.sh(&format!("KDATA_NOW={now} kdata due {dataset}")).ok();
    db.kdata("run ohlcv --source marcap --date 2024-01-08").ok();
    let insert = |day: &str| {
        db.rows(&format!(
            "INSERT INTO market.session_status (dataset, time, source, names, rows, finality, promoted_at, batch_id) \
             SELECT 'sectors', '{day}', 'kis', 'whole', 1, 'final', now(), batch_id FROM market.session_status LIMIT 1"
        ))
    };
    assert_eq!(due("2024-01-08T09:20:00+09:00", "sectors"), "2024-01-08\n");
    assert_eq!(due("2024-01-10T09:20:00+09:00", "sectors"), "2024-01-10\n");
    insert("2024-01-10");
    assert_eq!(due("2024-01-13T09:20:00+09:00", "sectors"), "");
    // A week went by.
    assert_eq!(due("2024-01-24T09:20:00+09:00", "sectors"), "2024-01-19\n2024-01-24\n");
    insert("2024-01-24");
    assert_eq!(due("2024-01-26T09:20:00+09:00", "sectors"), "2024-01-19\n");
    // Twenty sessions later they begin in the middle of a week.
    assert_eq!(due("2024-02-07T09:20:00+09:00", "sectors"), "2024-01-19\n2024-02-02\n2024-02-07\n");
    let run = db.sh("export KDATA_NOW=2024-01-26T09:20:00+09:00; kdata run sectors --due --source kis");
    assert!(run.stderr.contains("sectors 2024-01-19: left out"), "{run:#?}");
    run.ok();
}

/// A holiday that was declared since: what is compared with the session before must know it, as in promote.
#[test]
fn the_calendar_of_the_day_counts() {
    let db = &Db::native();
    let sheet = Sheet::market(120, &["2024-01-08", "2024-01-09", "2024-01-11", "2024-01-12"]);
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    db.kdata("db migrate").ok();
    let calendar = db.write("calendar.csv", "2024-01-10,,,temporary holiday\n").display().to_string();
    let ask = "backfill ohlcv --source marcap --from 2024-01-08 --to 2024-01-12";
    db.sh(&format!("export KDATA_CALENDAR={calendar}; kdata {ask}")).ok();
    assert_eq!(db.value("SELECT prev_time FROM market.trading_days WHERE time = '2024-01-11'"), "2024-01-09");
    assert_eq!(rows(db), sheet.rows.len());
}

#[test]
fn a_year_by_the_example_script() {
    let db = &Db::native();
    let sheet = market(db);
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/backfill-year.sh");
    // The year has more sessions than the file: the rest of it is not published yet.
    db.sh(&format!("sh {} 2024 --source marcap", script.display())).fails(9, &["marcap ends at 2024-02-29"]);
    assert_eq!(rows(db), sheet.rows.len());
}

on_both_backends!(a_range_comes_in_windows_and_once a_gate_holds_one_window_and_the_others_go_on);
