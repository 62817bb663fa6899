//! calendar: shown, changed, undone; and compared with the data.

use crate::support::{Db, Sheet, Work, on_both_backends};

on_both_backends! {
    a_holiday_that_was_lifted_is_no_loss
    calendar_and_data_are_compared
}

#[test]
fn a_year_fits_eighty_columns() {
    let work = Work::new();
    let year = work.kdata("calendar show 2026").ok();
    assert!(year.lines().all(|line| line.chars().count() <= 80), "{year}");
    for text in [
        "2026-11-19 Thu  session 10:00–16:30 (CSAT)",
        "2026-01-02 Fri  session 10:00–15:30 (first session of the year)",
        "2026-12-25 Fri  closed (exchange holiday)",
        "244 sessions",
    ] {
        assert!(year.contains(text), "{text}: {year}");
    }
    let month = work.kdata("calendar show 2026-11").ok();
    assert!(month.contains("16 17 18 19*20  .  ."), "{month}");
    assert!(work.kdata("calendar show 2027-01").ok().contains(" 4? 5?"), "what is not covered is said");
    let json: serde_json::Value =
        serde_json::from_str(&work.kdata("calendar show 2026-11 --format json").ok()).unwrap();
    assert_eq!(
        (&json["days"][18]["state"], &json["days"][18]["hours"][0]),
        (&"session".into(), &"10:00".into())
    );
    for bad in ["2026-13", "26", "november"] {
        work.kdata(&format!("calendar show {bad}")).fails(2, &["write 2026-11 or 2026"]);
    }
}

#[test]
fn a_day_is_added_and_taken_back() {
    let work = Work::new();
    work.kdata("calendar undo").fails(2, &["nothing to undo"]);
    let added = work.kdata("calendar add 2026-12-24 temporary holiday");
    assert!(added.stdout.contains("session 09:00–15:30 → closed (temporary holiday)"), "{added:#?}");
    assert!(
        added.stderr.contains("home/calendar.csv") && added.stderr.contains("next promote"),
        "{added:#?}"
    );
    // Without a setting, and for every command.
    assert!(
        work.kdata("extract ohlcv --date 2026-12-24 --source sim").stderr.contains("(temporary holiday)")
    );
    assert!(work.kdata("calendar add 2026-12-24 temporary holiday").stderr.contains("nothing to do"));
    work.kdata("calendar add 2026-11-26 --hours 10:00-16:30 CSAT").ok();
    assert!(work.kdata("calendar show 2026-11").ok().contains("2026-11-26 Thu  session 10:00–16:30 (CSAT)"));
    let undone = work.kdata("calendar undo").ok();
    assert!(undone.contains("2026-11-26") && !undone.contains("2026-12-24"), "{undone}");
    for (bad, says) in [
        ("2026-12-32", "is not a day"),
        ("2026-12-24 --hours 16:30-10:00", "the open before the close"),
        ("2026-12-24 --hours 10", "are no hours"),
    ] {
        work.kdata(&format!("calendar add {bad}")).fails(2, &[says]);
    }
}

#[test]
fn a_list_moves_the_horizon_when_it_says_that_it_is_whole() {
    let mut work = Work::new();
    work.set("KDATA_NOW", "2026-11-25T18:00:00+09:00");
    let told = work.kdata("calendar check").fails(3, &["the trading calendar needs a look"]);
    assert!(told.contains("36 days ahead") && told.contains("--until 2027-12-31"), "{told}");
    let said = work.kdata("doctor");
    assert!(said.stdout.contains("kdata calendar import FILE --until"), "{said:#?}");
    let list = "date\n2027-01-01\n2027-02-08\n2027-12-31\n2027-01-04,10:00,15:30,first session of the year\n";
    work.write("days.csv", list);
    let half = work.kdata("calendar import days.csv --dry-run");
    assert!(
        half.stderr.contains("days after 2026-12-31 stay unknown") && half.stderr.contains("--dry-run"),
        "{half:#?}"
    );
    let whole = work.kdata("calendar import days.csv --until 2027-12-31");
    assert!(
        whole.stdout.contains("covered: 1995-01-01 to 2026-12-31 → 1995-01-01 to 2027-12-31"),
        "{whole:#?}"
    );
    assert!(whole.stdout.contains("2027-02-08 Mon"), "{whole:#?}");
    assert!(work.kdata("calendar check").ok().contains("401 days ahead"));
    assert!(work.kdata("calendar import days.csv --until 2027-12-31").stderr.contains("nothing to do"));
    work.write("days.csv", "2028-13-01\n");
    work.kdata("calendar import days.csv").fails(2, &["days.csv, line 1: expected a date"]);
    work.write("days.csv", "# covers 2029-01-01 2029-12-31\n");
    work.kdata("calendar import days.csv").fails(2, &["does not touch what is covered"]);
    // A file that somebody broke by hand is named.
    work.write("home/calendar.csv", "nonsense\n");
    work.kdata("calendar show").fails(2, &["home/calendar.csv, line 1"]);
}

fn fixture(db: &Db, from: &str, to: &str) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    db.pipe("ohlcv", from, to);
}

fn a_holiday_that_was_lifted_is_no_loss(db: &Db) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    db.kdata("calendar add 2024-01-05 typhoon").ok();
    let pipe = "kdata extract ohlcv --from 2024-01-04 --to 2024-01-08 | kdata validate | kdata load";
    db.sh(pipe).fails(3, &["marcap has data of 2024-01-05 (Friday)", "kdata calendar add 2024-01-05"]);
    assert_eq!(db.value("SELECT count(*) FROM ops.batches"), "0");
    assert!(db.value("SELECT reason FROM ops.runs").contains("closed: typhoon"));
    // A few names are a day as well, measured by how many a session has.
    let few = "kdata extract ohlcv --from 2024-01-04 --to 2024-01-08 --codes 000010,000020 | kdata validate --max-rejects 9";
    db.sh(&format!("{few} | kdata load")).fails(3, &["on which the market was closed"]);
    db.kdata("calendar add 2024-01-05 --hours 09:00-15:30 lifted").ok();
    db.sh("kdata extract ohlcv --from 2024-01-02 --to 2024-01-08 | kdata validate | kdata load").ok();
    // Closed again before it is promoted: the gate of promote.
    db.kdata("calendar add 2024-01-05 typhoon").ok();
    db.kdata("promote").fails(3, &["row.on_a_session", "2024-01-05"]);
    db.kdata("calendar undo").ok();
    db.kdata("promote").ok();
    assert_eq!(db.value("SELECT count(DISTINCT time) FROM market.ohlcv_daily"), "5");
}

fn calendar_and_data_are_compared(db: &Db) {
    fixture(db, "2024-01-02", "2024-01-03");
    fixture(db, "2024-01-05", "2024-01-05");
    let mut work = Work::new();
    work.set("DATABASE_URL", &db.url).set("KDATA_NOW", "2024-01-09T20:00:00+09:00");
    let told = work.kdata("calendar check").fails(3, &[]);
    for text in ["2024-01-04: no dataset has any data", "2024-01-08 to 2024-01-09, 2 sessions"] {
        assert!(told.contains(text), "{text}: {told}");
    }
    work.set("KDATA_NOW", "2024-01-05T20:00:00+09:00");
    let added = work.kdata("calendar add 2024-01-04 typhoon");
    assert!(added.stderr.contains("market.trading_days shows it"), "{added:#?}");
    assert_eq!(db.value("SELECT count(*) FROM market.trading_days WHERE time = '2024-01-04'"), "0");
    work.kdata("calendar check").ok();
    work.kdata("calendar add 2024-01-05 typhoon").ok();
    let told = work.kdata("calendar check").fails(3, &[]);
    assert!(told.contains("closed day with data") && told.contains("2024-01-05 (typhoon): ohlcv"), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&work.kdata("calendar check --format json").stdout).unwrap();
    assert_eq!(json["calendar"]["closed_days_with_data"][0][0], "2024-01-05");
}
