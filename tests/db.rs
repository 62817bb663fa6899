//! The database: what kdata makes of an empty one, whom it lets in, and the private cluster.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{DATASETS, Db, Run, Session, Sheet, Work, on_both_backends};

on_both_backends! {
    the_reader_reads_the_market_and_nothing_else
    migrating_again_changes_nothing
    what_is_not_ours_or_newer_is_refused
    many_at_once_migrate_once
    storage_is_what_was_chosen
}

fn the_reader_reads_the_market_and_nothing_else(db: &Db) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    for dataset in DATASETS {
        db.pipe(dataset, "2024-01-02", "2024-01-08");
    }
    let batch = db.load(&db.validated("ohlcv", "2024-01-08", "2024-01-08"));
    let url = db.kdata("db url --reader").ok();
    let reader = Session::connect(url.trim());
    // search_path = market: tables by their bare names.
    assert_eq!(reader.value("SELECT current_user, count(*) FROM ohlcv_daily"), "kdata_reader|60");
    for table in
        ["stocks", "stock_history", "market_cap_daily", "session_status", "trading_days", "corporate_actions"]
    {
        assert_ne!(reader.value(&format!("SELECT count(*) FROM {table}")), "0", "{table}");
    }
    for forbidden in [
        "INSERT INTO stocks SELECT * FROM stocks",
        "UPDATE ohlcv_daily SET close = 1",
        "DELETE FROM ohlcv_daily",
        "TRUNCATE market.stocks",
        "DROP TABLE market.stocks",
        "CREATE TABLE market.mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "SELECT * FROM ops.runs",
        "SELECT * FROM ops.settings",
        &format!("SELECT * FROM staging.b{batch}"),
        "SELECT ops.ensure_range('ohlcv_daily', '2020-01-01', '2020-01-02')",
    ] {
        // Also when the reader lifts what is only a default.
        for before in ["", "SET default_transaction_read_only = off; SET transaction_read_only = off; "] {
            let answer = reader.try_rows(&format!("{before}{forbidden}"));
            assert!(answer.is_err(), "{before}{forbidden}: {answer:?}");
        }
    }
    // Partitions and chunks made later are readable as well.
    db.write("marcap/marcap-2026.parquet", Sheet::fixture(2026).parquet());
    db.pipe("stocks", "2026-01-02", "2026-01-07");
    db.pipe("ohlcv", "2026-01-02", "2026-01-07");
    assert_eq!(reader.value("SELECT count(*) FROM ohlcv_daily WHERE time >= '2026-01-01'"), "51");
}

fn migrating_again_changes_nothing(db: &Db) {
    let first = db.kdata("db migrate").ok();
    assert!(first.contains("applied") && first.contains("ledger, market, "), "{first}");
    assert!(first.contains(&format!("a live database, {} storage", db.backend)), "{first}");
    let schema = || {
        db.rows(
            "SELECT c.oid, c.relname FROM pg_class c \
             JOIN pg_namespace n ON n.oid = relnamespace \
             WHERE nspname IN ('ops', 'market', 'staging') ORDER BY 1",
        )
    };
    let before = (
        schema(),
        db.rows("SELECT * FROM ops.migrations"),
        db.value("SELECT count(*), sum(xmin::text::bigint) FROM market.trading_days"),
    );
    assert!(db.kdata("db migrate").ok().contains("nothing to do"));
    db.kdata("runs").ok();
    assert_eq!(
        (
            schema(),
            db.rows("SELECT * FROM ops.migrations"),
            db.value("SELECT count(*), sum(xmin::text::bigint) FROM market.trading_days")
        ),
        before
    );
    let status = db.kdata("db status").ok();
    assert!(status.contains(&format!("up to date; a live database, {} storage", db.backend)), "{status}");
    // The calendar's days, with the session before each.
    assert_eq!(
        db.rows(
            "SELECT time, prev_time, opens_at, closes_at FROM market.trading_days \
             WHERE time IN ('2024-01-02', '2024-02-13') ORDER BY 1"
        ),
        ["2024-01-02|2023-12-28|10:00:00|15:30:00", "2024-02-13|2024-02-08|09:00:00|15:30:00"]
    );
}

fn what_is_not_ours_or_newer_is_refused(db: &Db) {
    db.rows("CREATE TABLE mine (a int)");
    db.kdata("runs").fails(2, &["the database holds other tables and no kdata schema", "kdata db migrate"]);
    assert_eq!(
        db.value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('ops', 'market', 'staging')"),
        "0"
    );
    db.kdata("db migrate").ok();
    db.kdata("runs").ok();
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    let stream = db.validated("ohlcv", "2024-01-08", "2024-01-08");
    db.load(&stream);
    let before = db.rows("SELECT * FROM ops.runs");
    db.rows("INSERT INTO ops.migrations (version, name, checksum) VALUES (9999, 'future', 'x')");
    for command in [
        "load",
        "promote",
        "promote --dry-run",
        "rollback 1",
        "runs",
        "due ohlcv",
        "report quality",
        "db migrate",
    ] {
        db.feed(command, stream.as_bytes())
            .fails(5, &["schema version 9999 (future), newer than this kdata knows", "install"]);
    }
    db.rows("DELETE FROM ops.migrations WHERE version = 9999");
    db.rows("UPDATE ops.migrations SET checksum = 'other' WHERE version = 2");
    db.kdata("promote").fails(5, &["migration 2 (market) differs from the one that was applied"]);
    db.rows("DELETE FROM ops.migrations WHERE version = 2");
    db.kdata("promote").fails(2, &["older than this kdata", "kdata db migrate"]);
    assert_eq!(db.rows("SELECT * FROM ops.runs"), before);
}

fn many_at_once_migrate_once(db: &Db) {
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = db.command(crate::support::KDATA, &["runs"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        Run::from(child.wait_with_output().unwrap()).ok();
    }
    // The numbered ones, and the storage's own of each kind.
    let files = |folder: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(folder);
        std::fs::read_dir(folder).unwrap().count()
    };
    let all = files("migrations") + files("backend") / 2;
    let applied = db.value("SELECT count(*), count(DISTINCT version) FROM ops.migrations");
    assert_eq!(applied, format!("{all}|{all}"));
}

fn storage_is_what_was_chosen(db: &Db) {
    db.kdata("runs").ok();
    assert_eq!(db.value("SELECT backend FROM ops.settings"), db.backend);
    let partitioned = db.value(
        "SELECT count(*) FROM pg_partitioned_table p \
         JOIN pg_class c ON c.oid = partrelid \
         WHERE relname IN ('ohlcv_daily', 'market_cap_daily')",
    );
    let extension = db.value("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'");
    assert_eq!(
        (partitioned.as_str(), extension.as_str()),
        if db.backend == "native" { ("2", "0") } else { ("0", "1") }
    );
    // Chosen once: another wish later changes nothing.
    let other = if db.backend == "native" { "timescale" } else { "native" };
    let run: Run = db
        .command(crate::support::KDATA, &["db", "migrate"])
        .env("KDATA_BACKEND", other)
        .output()
        .unwrap()
        .into();
    assert!(run.ok().contains(&format!("{} storage", db.backend)));
    // Keys are unique everywhere.
    let key = db.value(
        "SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_index i \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
         WHERE indrelid = 'market.ohlcv_daily'::regclass AND indisprimary",
    );
    assert_eq!(key, "stock_code,time");
}

/// A cluster of the test's own, stopped when the test ends.
struct Own(Work);

impl Own {
    fn new() -> Self {
        Self(Work::new())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.kdata("db stop");
    }
}

#[test]
fn the_private_cluster_starts_by_itself_and_survives() {
    // Without server binaries this says what to install.
    crate::support::cluster();
    let own = Own::new();
    let work = &own.0;
    let status = work.kdata("db status").ok();
    assert!(status.contains("not created yet") && status.contains("private cluster"), "{status}");
    assert_eq!(work.kdata("db stop").ok(), "it did not run\n");
    // Any command that needs it creates it.
    assert!(work.kdata("runs").ok().contains("outcome"));
    assert_eq!(work.kdata("db start").ok(), "it runs already\n");
    let status = work.kdata("db status").ok();
    assert!(
        status.contains("running, process ") && status.contains("up to date; a live database"),
        "{status}"
    );
    let url = work.kdata("db url").ok();
    assert!(url.starts_with("postgresql://kdata@/kdata?host="), "{url}");
    let reader = Session::connect(work.kdata("db url --reader").ok().trim());
    assert_ne!(reader.value("SELECT count(*) FROM trading_days"), "0");
    assert_eq!(Session::connect(url.trim()).value("SHOW listen_addresses"), "");
    drop(reader);

    // A demo's database that an older kdata made: brought up to date by hand, and below by the demo itself.
    assert!(work.kdata("db migrate --demo").ok().contains("; a demo database, "));
    let demo = work.kdata("db url --demo").ok();
    let aged = || {
        let demo = Session::connect(demo.trim());
        demo.rows("ALTER TABLE ops.batches DROP COLUMN superseded_by");
        demo.rows("DELETE FROM ops.migrations WHERE name = 'superseded'");
    };
    aged();
    assert!(work.kdata("db migrate --demo").ok().starts_with("applied superseded; a demo database, "));
    aged();

    // kill -9 of the server: the next command recovers.
    let pid = status.split("process ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    Session::connect(url.trim()).rows("CREATE TABLE market.kept AS SELECT 1 AS a");
    assert!(Command::new("/bin/kill").args(["-9", &pid]).status().unwrap().success());
    let begun = Instant::now();
    let shown = work.kdata("demo");
    assert!(shown.stderr.contains("database was of an older kdata: applied superseded;"), "{shown:#?}");
    let shown = shown.ok();
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    assert!(shown.contains("Quality of ") && shown.contains("(demo database, "), "{shown}");
    assert!(shown.contains("100.00 %") && shown.contains(" db url --demo --reader)\""), "{shown}");
    assert_eq!(Session::connect(url.trim()).value("SELECT a FROM market.kept"), "1");

    // One that it cannot use.
    let spoilt = "UPDATE ops.migrations SET checksum = 'x' || checksum WHERE version = 2";
    Session::connect(demo.trim()).rows(spoilt);
    work.kdata("demo").fails(5, &["differs from the one that was applied", "'DROP DATABASE kdata_demo'"]);
    let mended = "UPDATE ops.migrations SET checksum = substr(checksum, 2) WHERE version = 2";
    Session::connect(demo.trim()).rows(mended);

    // Again on the same, aged with all its data; and nothing of it is in the database of real data.
    aged();
    let quiet = work.kdata("-q demo");
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
    let demo = Session::connect(work.kdata("db url --demo --reader").ok().trim());
    assert_eq!(demo.value("SELECT count(DISTINCT time) FROM session_status WHERE dataset = 'ohlcv'"), "20");
    drop(demo);
    let live = Session::connect(url.trim());
    assert_eq!(live.value("SELECT count(*) FROM market.session_status"), "0");
    drop(live);

    // Backed up by us, from a server that runs as another user where we are root.
    work.kdata("db backup").ok();
    assert!(work.kdata("db verify").ok().contains(" is good: "));

    assert_eq!(work.kdata("db stop").ok(), "stopped\n");
    assert!(work.kdata("db status").ok().contains("stopped; any command that needs it starts it"));
    assert!(Session::try_connect(url.trim()).is_err());
    assert_eq!(work.kdata("db start").ok(), "started\n");
}

#[test]
fn no_server_binaries_is_said_and_what_to_do() {
    let mut work = Work::new();
    let empty = work.write("empty/file", "").parent().unwrap().display().to_string();
    work.set("KDATA_PG_BIN", &empty);
    work.kdata("runs").fails(2, &["holds no initdb", "/usr/lib/postgresql/15/bin"]);
}

#[test]
fn a_normal_user_has_a_cluster_of_their_own() {
    use std::os::unix::fs::{MetadataExt, chown};
    use std::os::unix::process::CommandExt;
    let own = Own::new();
    let work = &own.0;
    let me = std::fs::metadata("/proc/self").map_or(0, |m| m.uid());
    if me != 0 {
        // Then the shared cluster of these tests is one already.
        crate::support::cluster();
        return;
    }
    let account = std::fs::read_to_string("/etc/passwd").unwrap();
    let nobody = account.lines().find(|line| line.starts_with("nobody:")).expect("a user nobody");
    let id = |at: usize| nobody.split(':').nth(at).unwrap().parse::<u32>().unwrap();
    let (uid, gid) = (id(2), id(3));
    // The binary may lie where only root may pass.
    let kdata = work.path("kdata");
    std::fs::copy(crate::support::KDATA, &kdata).unwrap();
    chown(work.path(""), Some(uid), Some(gid)).unwrap();
    let run = |args: &[&str]| -> Run {
        let mut command = work.command(&kdata.display().to_string(), args);
        command.uid(uid).gid(gid).stdin(Stdio::null()).output().unwrap().into()
    };
    run(&["runs"]).ok();
    let status = run(&["db", "status"]).ok();
    assert!(status.contains(", as nobody"), "{status}");
    run(&["db", "backup"]).ok();
    run(&["db", "verify"]).ok();
    // root may use it too; it stays theirs.
    work.kdata("runs").ok();
    assert_eq!(run(&["db", "stop"]).ok(), "stopped\n");
    work.kdata("runs").ok();
    run(&["runs"]).ok();
    assert_eq!(std::fs::metadata(work.path("home/data")).unwrap().uid(), uid);
}
