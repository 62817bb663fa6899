//! The same year as history: backfill, killed again and again at random moments. What stands at the end is what a run
//! without a kill makes, and no window that was promoted was asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::NaiveDate;
use kdata::market::Calendar;

use super::market::Market;
use super::vendors::{self, World};
use super::{at, date, is_whole_year, kst};
use crate::support::{Db, KDATA, Server, announce};
use crate::vendors::krx_openapi;

const DATASETS: [&str; 3] = ["stocks", "ohlcv", "market-cap"];

/// Any numbers will do, as long as the seed makes the same ones again.
struct Dice(u64);

impl Dice {
    /// By `KDATA_TEST_SEED`, or by the clock.
    #[expect(clippy::disallowed_methods, reason = "tests have no settings.rs")]
    fn new() -> Self {
        let given = std::env::var("KDATA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self(given.unwrap_or_else(clock))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What was asked for since the last look: a session and a service, once a call.
type Asked = Arc<Mutex<Vec<(String, NaiveDate)>>>;

#[test]
fn a_backfill_killed_at_random_moments() {
    let (from, kills, window) = if is_whole_year() { ("2025-11-10", 50, 5) } else { ("2026-09-01", 10, 4) };
    let (from, to) = (date(from), date("2026-11-20"));
    let mut dice = Dice::new();
    let seed = dice.0;
    let (mut db, mut other) = (Db::native(), Db::native());
    let asked = serve(&mut db, &mut other, from, to);
    let range = format!("--source krx-openapi --from {from} --to {to} --window {window} --jobs 2");
    let begun = Instant::now();
    for dataset in DATASETS {
        other.kdata(&format!("backfill {dataset} {range}")).ok();
    }
    let unkilled = begun.elapsed();
    let needed = std::mem::take(&mut *asked.lock().unwrap()).len();

    let (mut hits, mut total) = (0, 0);
    for dataset in DATASETS {
        loop {
            let promoted: BTreeSet<NaiveDate> = promoted(&db, dataset);
            let args = format!("backfill {dataset} {range}");
            let mut child = db.command(KDATA, &args.split(' ').collect::<Vec<_>>());
            let child = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = child.spawn().unwrap();
            if hits < kills {
                // Half of what a whole run takes, all kills together: there is something left to be killed.
                let share = u64::try_from(unkilled.as_millis()).unwrap() / kills;
                std::thread::sleep(Duration::from_millis(dice.below(share.max(100))));
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    hits += 1;
                }
            }
            let output = child.wait_with_output().unwrap();
            db.wait_for_the_others();
            let calls = std::mem::take(&mut *asked.lock().unwrap());
            total += calls.len();
            let mut times = BTreeMap::<_, usize>::new();
            for call in &calls {
                assert!(
                    !promoted.contains(&call.1),
                    "seed {seed}: {call:?} was promoted, and asked for again"
                );
                *times.entry(call).or_default() += 1;
            }
            assert!(times.values().all(|times| *times == 1), "seed {seed}: within one run: {times:?}");
            match output.status.code() {
                Some(0) => break,
                None => {}
                Some(_) => panic!("seed {seed}: {}", String::from_utf8_lossy(&output.stderr)),
            }
        }
    }
    announce(&format!(
        "backfill: {}, {from} to {to}, seed {seed}: killed {hits} times, {total} calls where {needed} are needed, \
         {:.0} s; {:.0} s without a kill",
        if is_whole_year() { "the whole year" } else { "SHORT FORM (KDATA_TEST_YEAR=1 runs the year)" },
        begun.elapsed().saturating_sub(unkilled).as_secs_f64(),
        unkilled.as_secs_f64()
    ));
    assert_eq!(hits, kills, "seed {seed}");
    assert_eq!(db.production(), other.production(), "seed {seed}");
    db.nothing_is_staged();
}

/// Sets both databases up to ask the market, which notes what it was asked for.
fn serve(db: &mut Db, other: &mut Db, from: NaiveDate, to: NaiveDate) -> Asked {
    let market = Market::new(Calendar::shipped(), from, to);
    let world = World {
        market,
        now: Mutex::new(kst(at(to, 23, 0))),
        down: Mutex::default(),
        revised: None,
        trap: Mutex::new(None),
    };
    *world.now.lock().unwrap() += chrono::Duration::days(1);
    let asked = Asked::default();
    let notes = Arc::clone(&asked);
    let server = Server::forgetting(move |request| {
        if let Some(day) = request.param("basDd").and_then(|day| vendors::day(&day)) {
            notes.lock().unwrap().push((request.place().to_owned(), day));
        }
        vendors::openapi(&world, request)
    });
    for db in [db, other] {
        krx_openapi::env(db, &server.url);
    }
    asked
}

/// The sessions that are there for good.
fn promoted(db: &Db, dataset: &str) -> BTreeSet<NaiveDate> {
    let is_there =
        "SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'market' AND tablename = 'session_status'";
    if db.value(is_there) == "f" {
        return BTreeSet::new();
    }
    let query =
        format!("SELECT time FROM market.session_status WHERE dataset = '{dataset}' AND finality = 'final'");
    db.rows(&query).iter().map(|day| date(day)).collect()
}
