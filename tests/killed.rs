//! kill -9 of the client and of the server at random moments of a day's work: nothing is lost, nothing is double, no
//! session is half there, and the same commands afterwards finish the work.
#![allow(clippy::disallowed_methods, reason = "a test that takes long is asked for, and says its seed")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Session, Work, announce, cluster};

/// A day's work: masters, bars and minutes of some names, loaded and promoted.
const WORK: &str = "for dataset in stocks ohlcv 'ohlcv-minute --codes '$codes; do
    kdata -q extract $dataset --source sim --seed 7 --from 2026-11-19 --to 2026-11-20 | kdata -q validate | kdata -q load
done
kdata promote";
const TABLES: [(&str, &str, &str); 2] = [
    ("ohlcv", "ohlcv_daily", "time"),
    ("ohlcv-minute", "ohlcv_minute", "(time AT TIME ZONE 'Asia/Seoul')::date"),
];

/// A private cluster with a demo database.
struct Own {
    work: Work,
    url: String,
}

impl Own {
    fn new(backend: &str) -> Self {
        let mut work = Work::new();
        work.set("KDATA_BACKEND", backend);
        work.kdata("db start").ok();
        let url = work.kdata("db url").ok().trim().to_owned();
        work.set("DATABASE_URL", &url).kdata("db migrate --demo").ok();
        work.unset("DATABASE_URL");
        // The codes of the simulated roster, some of them.
        let stocks =
            work.sh("kdata -q extract stocks --source sim --seed 7 --date 2026-11-16 | grep ',STOCK,'").ok();
        let codes: Vec<&str> = stocks.lines().step_by(40).map(|row| &row[..6]).collect();
        work.set("codes", &codes.join(","));
        Self { work, url }
    }

    /// What the sessions hold: dataset, session, rows as told and as counted.
    fn sessions(&self) -> Vec<String> {
        let session = Session::connect(&self.url);
        let of = |(dataset, table, day): (&str, &str, &str)| {
            session.rows(&format!(
                "SELECT '{dataset}', coalesce(s.time, c.time), s.rows, c.rows, c.keys \
                 FROM (SELECT * FROM market.session_status WHERE dataset = '{dataset}') s \
                 FULL JOIN (SELECT {day} AS time, count(*) AS rows, count(DISTINCT (stock_code, time)) AS keys \
                            FROM market.{table} GROUP BY 1) c USING (time) ORDER BY 2"
            ))
        };
        TABLES.into_iter().flat_map(of).collect()
    }

    fn fingerprints(&self) -> Vec<String> {
        let session = Session::connect(&self.url);
        let of = |table: &str| {
            session.value(&format!(
                "SELECT '{table}', count(*), sum(hashtextextended((to_jsonb(t) - 'batch_id' - 'promoted_at')::text, 0)) \
                 FROM market.{table} t"
            ))
        };
        [
            "stocks",
            "stock_history",
            "ohlcv_daily",
            "ohlcv_minute",
            "ohlcv_5min",
            "ohlcv_60min",
            "session_status",
        ]
        .map(of)
        .into()
    }

    /// Takes away what was promoted.
    fn empty(&self) {
        let session = Session::connect(&self.url);
        let batches =
            "SELECT batch_id FROM ops.batches WHERE state IN ('staged', 'promoted') ORDER BY 1 DESC";
        for batch in session.rows(batches) {
            self.work.kdata(&format!("rollback {batch}")).ok();
        }
    }

    fn server(&self) -> String {
        let status = self.work.kdata("db status").ok();
        status.split("process ").nth(1).unwrap().split(',').next().unwrap().to_owned()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.work.kdata("db stop");
    }
}

/// Pseudo-random shares of the whole, the seed of which a failure tells.
fn moments(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from(u32::try_from(state >> 40).unwrap()) / f64::from(1 << 24)
    })
}

/// kill -9 of a process, or of a group of them.
fn kill(target: &str) {
    let _ = Command::new("/bin/kill").args(["-9", "--", target]).stderr(Stdio::null()).status();
}

fn killed_at_random_moments(backend: &str) {
    // All of them take minutes: a plain run of the tests makes a few.
    let all = std::env::var_os("KDATA_TEST_KILLS").is_some();
    let (of_client, of_server) = if all { (20, 10) } else { (2, 1) };
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    announce(&format!("killed ({backend}): client {of_client} times, server {of_server} times, seed {seed}"));
    let own = Own::new(backend);
    let begun = Instant::now();
    own.work.sh(WORK).ok();
    let took = begun.elapsed();
    let (whole, expected) = (own.sessions(), own.fingerprints());
    assert_eq!(whole.len(), 4, "{whole:?}");
    let mut moments = moments(seed);
    for is_server in std::iter::repeat_n(false, of_client).chain(std::iter::repeat_n(true, of_server)) {
        own.empty();
        let at = took.mul_f64(moments.next().unwrap());
        let victim = own.server();
        let mut command = own.work.command("/bin/sh", &["-c", WORK]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().unwrap();
        sleep(at);
        let what =
            format!("seed {seed}: {} killed after {at:?}", if is_server { "server" } else { "client" });
        if is_server {
            kill(&victim);
            let _ = child.wait();
        } else {
            kill(&format!("-{}", child.id()));
            let _ = child.wait();
        }
        own.work.kdata("db start").ok();
        wait_for_the_others(&own);
        for session in own.sessions() {
            assert!(whole.contains(&session), "{what}: {session} is none of {whole:?}");
        }
        own.work.sh(WORK).ok();
        assert_eq!(own.sessions(), whole, "{what}");
        assert_eq!(own.fingerprints(), expected, "{what}");
        let session = Session::connect(&own.url);
        assert_eq!(session.value("SELECT count(*) FROM ops.pending_rollups"), "0", "{what}");
        assert_eq!(
            session.rows("SELECT batch_id FROM ops.batches WHERE state = 'staged'"),
            Vec::<String>::new()
        );
    }
}

/// Until the server has noticed that its client is gone.
fn wait_for_the_others(own: &Own) {
    let session = Session::connect(&own.url);
    let begun = Instant::now();
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kdata' AND datname = 'kdata'";
    while session.value(others) != "0" {
        assert!(begun.elapsed() < Duration::from_secs(60), "sessions of kdata stay");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn native() {
    cluster();
    killed_at_random_moments("native");
}

#[test]
fn timescale() {
    if cluster().timescale.is_none() {
        announce("killed::timescale: NOT RUN, this server does not offer TimescaleDB");
        return;
    }
    killed_at_random_moments("timescale");
}
