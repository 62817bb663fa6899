//! status: every check, well and not, with what to type and one exit code.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use kdata::stage::status::CHECKS;
use serde_json::Value;

use crate::support::{DATASETS, Db, NOW, Run, Sheet, Work, on_both_backends};

on_both_backends! {
    all_is_well_on_one_screen
    a_session_that_is_missing_before_the_last_is_told
    what_waits_or_is_held_is_told
    what_did_not_end_well_is_told
    the_machine_is_looked_at
    a_backup_that_is_old_or_never_verified_is_told
}

fn prepared(db: &Db) -> Db {
    let mut db = db.another();
    db.write("marcap/marcap-2026.csv.gz", Sheet::fixture(2026).csv_gz());
    db.set("COLUMNS", "80");
    for dataset in DATASETS {
        db.pipe(dataset, "2026-01-02", "2026-01-30");
    }
    db
}

/// The state and the words of each check.
fn judged(run: &Run) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:#?}"));
    assert_eq!(document["schema_version"], 1, "{document}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    checks
        .map(|c| {
            (text(&c["name"]), text(&c["state"]), format!("{}\n→ {}", text(&c["found"]), text(&c["remedy"])))
        })
        .collect()
}

/// The checks that are not well.
fn bad(db: &Work) -> Vec<(String, String, String)> {
    let run = db.kdata("status --format json");
    let bad: Vec<_> = judged(&run).into_iter().filter(|(_, state, _)| state != "ok").collect();
    assert_eq!(run.code, if bad.is_empty() { 0 } else { 3 }, "{run:#?}");
    bad
}

/// Insists that one check is not well, and no other; returns what is told.
#[track_caller]
fn only(db: &Work, name: &str, state: &str) -> String {
    let bad = bad(db);
    assert_eq!(
        bad.iter().map(|(n, s, _)| (n.as_str(), s.as_str())).collect::<Vec<_>>(),
        [(name, state)],
        "{bad:#?}"
    );
    bad[0].2.clone()
}

/// A database in which all is well, an hour after the last runs.
fn well(db: &Db) -> (Db, Clock) {
    let mut db = prepared(db);
    let clock = Clock(db.value("SELECT max(time) FROM market.session_status"));
    db.set("KDATA_NOW", &clock.before(0));
    db.kdata("db backup").ok();
    db.kdata("db verify").ok();
    clock.settle(&db);
    assert_eq!(bad(&db), []);
    (db, clock)
}

/// The evening of the last session at hand.
struct Clock(String);

impl Clock {
    /// So many minutes before.
    fn before(&self, minutes: i64) -> String {
        let now: DateTime<Utc> = format!("{}T20:00:00+09:00", self.0).parse().unwrap();
        (now - TimeDelta::minutes(minutes)).to_rfc3339()
    }

    /// What the server's clock dated happened an hour before.
    fn settle(&self, db: &Db) {
        db.rows(&format!("UPDATE ops.runs SET started_at = '{0}', finished_at = '{0}'", self.before(60)));
    }
}

fn all_is_well_on_one_screen(db: &Db) {
    let (mut db, _) = well(db);
    let quiet = db.kdata("-q status");
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
    let screen = db.kdata("status").ok();
    for check in CHECKS {
        let is_shown = screen.lines().any(|line| line.trim_start().starts_with(check.name));
        assert!(is_shown, "{}: {screen}", check.name);
    }
    assert!(
        screen.lines().all(|line| line.chars().count() <= 80) && screen.lines().count() <= 24,
        "{screen}"
    );
    // Months later nothing has come.
    db.set("KDATA_NOW", NOW);
    let told = bad(&db);
    let fresh = &told.iter().find(|(name, ..)| name == "freshness").unwrap().2;
    assert!(
        fresh.contains("ohlcv: stale") && fresh.contains("→ kdata run stocks ohlcv market-cap --due"),
        "{fresh}"
    );
    let said = db.kdata("status").fails(3, &["checks: freshness", "exit code 3"]);
    assert!(said.contains("FAILED"), "{said}");
    let quiet = db.kdata("-q status");
    assert_eq!(quiet.code, 3);
    assert!(quiet.stdout.contains("FAILED"), "{quiet:#?}");
}

fn a_session_that_is_missing_before_the_last_is_told(db: &Db) {
    let (db, _) = well(db);
    // Its run failed, and that of the next session did not.
    let of_it = "time = (SELECT DISTINCT time FROM market.ohlcv_daily ORDER BY time LIMIT 1 OFFSET 1)";
    let session = db.value(&format!("SELECT DISTINCT time FROM market.ohlcv_daily WHERE {of_it}"));
    db.rows(&format!("DELETE FROM market.session_status WHERE dataset = 'ohlcv' AND {of_it}"));
    let told = only(&db, "gaps", "failed");
    assert!(
        told.contains(&format!("ohlcv {session}: absent")) && told.contains("→ kdata run ohlcv --due"),
        "{told}"
    );
}

#[test]
fn a_private_server_that_is_down_is_told_and_left_so() {
    let work = Work::new();
    work.kdata("db start").ok();
    work.kdata("db stop").ok();
    work.kdata("status").fails(4, &["the private server does not run", "kdata db start"]);
    assert!(work.kdata("db status").ok().contains("stopped"));
}

fn what_waits_or_is_held_is_told(db: &Db) {
    let (db, clock) = well(db);
    let batch = db.load(&db.validated("ohlcv", "2026-01-02", "2026-01-02"));
    clock.settle(&db);
    db.rows(&format!("UPDATE ops.batches SET staged_at = '{}'", clock.before(10)));
    assert_eq!(bad(&db), [], "the next promote takes it");
    db.rows(&format!("UPDATE ops.batches SET staged_at = '{}'", clock.before(70)));
    assert!(only(&db, "staged", "attention").contains("waits\n→ kdata promote"));
    db.rows(&format!("UPDATE ops.batches SET problem = 'names are gone' WHERE batch_id = {batch}"));
    let told = only(&db, "staged", "failed");
    assert!(
        told.contains("is held: names are gone") && told.contains(&format!("kdata rollback {batch}")),
        "{told}"
    );
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(bad(&db), []);
}

fn what_did_not_end_well_is_told(db: &Db) {
    let (db, clock) = well(db);
    // Runs that failed, until the next good one.
    let run = |command: &str, state: &str, code: &str, minutes: i64| {
        db.rows(&format!(
            "INSERT INTO ops.runs (command, dataset, state, exit_code, reason, started_at) \
             VALUES ('{command}', 'ohlcv', '{state}', {code}, 'the source is down', '{}')",
            clock.before(minutes)
        ));
    };
    run("load", "failed", "9", 50);
    run("load", "failed", "8", 50);
    run("load", "running", "NULL", 50);
    assert_eq!(bad(&db), [], "not published yet, locked and running are no failures");
    run("load", "failed", "4", 40);
    run("load", "failed", "4", 30);
    let told = only(&db, "failed runs", "failed");
    assert!(told.contains("load ohlcv exit 4, 2 times: the source is down"), "{told}");
    assert!(told.contains("kdata run ohlcv --due"), "{told}");
    run("promote", "ok", "0", 25);
    assert_eq!(bad(&db).len(), 1, "another command's success says nothing");
    run("load", "ok", "0", 20);
    assert_eq!(bad(&db), []);

    // Rollups and backfills.
    let pending = |minutes: i64, problem: &str| {
        db.rows("DELETE FROM ops.pending_rollups");
        db.rows(&format!(
            "INSERT INTO ops.pending_rollups (from_time, to_time, batch_id, since, problem) \
             VALUES ('2026-01-05', '2026-01-06', 1, '{}', {problem})",
            clock.before(minutes)
        ));
    };
    pending(14, "NULL");
    assert_eq!(bad(&db), [], "it was promoted a moment ago");
    pending(16, "NULL");
    assert!(only(&db, "rollups", "failed").contains("2026-01-05 to 2026-01-06"));
    pending(1, "'two rows of one key'");
    assert!(only(&db, "rollups", "failed").contains("two rows of one key\n→ kdata db compress"));
    db.rows("DELETE FROM ops.pending_rollups");
    let backfill = |minutes: i64, problem: &str| {
        db.rows("DELETE FROM ops.backfills");
        db.rows(&format!(
            "INSERT INTO ops.backfills (dataset, source, from_time, to_time, windows, done, changed_at, problem) \
             VALUES ('ohlcv', 'marcap', '2024-01-02', '2024-12-30', 12, 5, '{}', {problem})",
            clock.before(minutes)
        ));
    };
    backfill(100, "NULL");
    assert_eq!(bad(&db), [], "it is under way");
    backfill(130, "NULL");
    assert!(only(&db, "backfills", "attention").contains("5 of 12 windows: it was killed"));
    backfill(5, "'the quota is spent'");
    let told = only(&db, "backfills", "attention");
    let again = "kdata backfill ohlcv --from 2024-01-02 --to 2024-12-30 --source marcap";
    assert!(told.contains("the quota is spent") && told.contains(again), "{told}");
    db.rows("DELETE FROM ops.backfills");
}

fn the_machine_is_looked_at(db: &Db) {
    let (db, clock) = well(db);
    db.write(
        "home/breakers/krx.json",
        format!(
            "{{\"since\":\"{}\",\"until\":\"{}\",\"reason\":\"a notice page\"}}",
            clock.before(60),
            clock.before(-60)
        ),
    );
    assert!(only(&db, "blocked", "failed").starts_with("krx: blocked until"));
    fs::remove_file(db.path("home/breakers/krx.json")).unwrap();
    for (calls, is_near) in [(7_999, false), (8_000, true)] {
        db.write("home/limits/krx-openapi-0123abcd-day", format!("{} {calls} 0", clock.0));
        assert_eq!(!bad(&db).is_empty(), is_near, "{calls}");
    }
    assert!(only(&db, "quota", "attention").starts_with("krx-openapi: 80 % of the day's quota"));
    fs::remove_file(db.path("home/limits/krx-openapi-0123abcd-day")).unwrap();
}

fn a_backup_that_is_old_or_never_verified_is_told(db: &Db) {
    let mut db = prepared(db);
    let day = db.value("SELECT max(time) FROM market.session_status");
    db.set("KDATA_NOW", &format!("{day}T20:00:00+09:00"));
    db.rows("UPDATE ops.runs SET started_at = now() - interval '10 years'");
    assert!(only(&db, "backup", "attention").contains("there is none\n→ kdata db backup"));
    db.kdata("db backup").ok();
    assert!(only(&db, "backup", "attention").contains("none was verified\n→ kdata db verify"));
    db.kdata("db verify").ok();
    assert_eq!(bad(&db), []);
    let later = |days: i64| {
        let at: DateTime<Utc> = format!("{day}T20:01:00+09:00").parse().unwrap();
        (at + TimeDelta::days(days)).to_rfc3339()
    };
    db.set("KDATA_NOW", &later(2));
    let told = bad(&db).into_iter().find(|(name, ..)| name == "backup").unwrap().2;
    assert!(told.contains("2 days old, verified\n→ kdata db backup"), "{told}");
}

#[test]
fn a_database_that_cannot_be_reached_is_told_with_its_own_code() {
    let mut work = Work::new();
    let run = work.kdata("status");
    assert_eq!(run.code, 4, "{run:#?}");
    assert!(run.stdout.contains("there is no database yet") && !work.path("home/data").exists(), "{run:#?}");
    work.set("DATABASE_URL", "postgresql://kdata:hunter2@127.0.0.1:1/kdata");
    let run = work.kdata("status");
    let said = run.fails(4, &["cannot connect to the database"]);
    // What is to be seen of the machine is shown all the same.
    assert!(said.contains("disk") && said.contains("calendar") && !said.contains("hunter2"), "{said}");
    let json = work.kdata("status --format json");
    assert_eq!(judged(&json)[0].1, "failed");
    work.set("LANG", "ko_KR.UTF-8");
    let korean = work.kdata("status").stdout;
    assert!(
        korean.contains("kdata 상태 2026-11-23 20:00 KST") && korean.contains("데이터베이스"),
        "{korean}"
    );
}

#[test]
fn a_new_database_has_nothing_to_be_fresh() {
    let db = Db::native();
    db.kdata("db migrate").ok();
    let bad = bad(&db);
    assert!(
        bad.iter().any(|(name, _, told)| name == "freshness" && told.contains("nothing was collected yet"))
    );
}
