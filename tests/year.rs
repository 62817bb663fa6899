//! A year without a hand: the lines of `crontab.example` under a clock that the drill turns, against vendors that
//! publish when the real ones do, with all that goes wrong in a year. What stands at the end must be what the market did.
//!
//! `cargo test` runs a short form, seven sessions with every fault in them. The year itself:
//! `KDATA_TEST_YEAR=1 cargo test --locked year -- --nocapture`.

pub mod cron;
mod history; // the same year by backfill
mod market;
mod vendors;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveDateTime};
use kdata::market::Calendar;

use self::cron::{Crontab, Line};
use self::market::{Board, Market};
use self::vendors::World;
use crate::support::{KDATA, Run, Session, Work, announce, stop_when_gone};

/// The datasets that are of every session.
const DAILY: [&str; 5] = ["stocks", "ohlcv", "market-cap", "ohlcv-minute", "investor-trading"];
/// Lists that change slowly: one a week.
const WEEKLY: [&str; 4] = ["sectors", "index-components", "floating-shares", "etf-portfolios"];

/// The line that looks whether all others ran.
const CRON_CHECK: &str = "cron check";

/// A line that cron ran.
#[derive(Debug)]
struct Ran {
    at: NaiveDateTime,
    command: String,
    took: Duration,
    run: Run,
}

/// What goes wrong, by the days on which it does.
#[derive(Default)]
struct Faults {
    /// Evenings on which the portal and the broker are down.
    outages: Vec<NaiveDate>,
    /// From the afternoon of these days to the next morning the machine is off: a power cut.
    off: Vec<NaiveDate>,
    /// The database server is killed while minutes are loaded.
    kills: Vec<NaiveDate>,
    /// Everything runs twice at once.
    twice: Vec<NaiveDate>,
    /// Declared a week before.
    holidays: Vec<NaiveDate>,
}

struct Drill {
    work: Work,
    world: Arc<World>,
    crontab: Crontab,
    faults: Faults,
    /// The first and the last day.
    span: (NaiveDate, NaiveDate),
    ran: Vec<Ran>,
    peak: Arc<AtomicU64>,
    /// By month, the largest process in KiB.
    peaks: BTreeMap<String, u64>,
}

/// What a line runs, without its folder.
fn name_of(command: &str) -> &str {
    command.split("&& ").last().unwrap_or(command)
}

/// The first line of what went wrong.
fn reason(run: &Run) -> &str {
    run.stderr.lines().find(|line| line.starts_with("kdata: error: ")).unwrap_or("killed")
}

fn is_whole_year() -> bool {
    #[expect(clippy::disallowed_methods, reason = "tests have no settings.rs")]
    std::env::var("KDATA_TEST_YEAR").is_ok_and(|value| value == "1")
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn kst(at: NaiveDateTime) -> DateTime<FixedOffset> {
    at.and_local_timezone(FixedOffset::east_opt(9 * 3600).unwrap()).unwrap()
}

fn at(date: NaiveDate, hour: u32, minute: u32) -> NaiveDateTime {
    date.and_hms_opt(hour, minute, 0).unwrap()
}

#[test]
fn a_year_without_a_hand() {
    let whole = is_whole_year();
    let (from, to) = if whole {
        (date("2025-11-10"), date("2026-11-20"))
    } else {
        (date("2026-11-13"), date("2026-11-24"))
    };
    let begun = Instant::now();
    let mut drill = Drill::new(from, to);
    let sessions = drill.sessions(from, to);
    announce(&format!(
        "year: {}, {} sessions, {from} to {to}",
        if whole { "the whole" } else { "SHORT FORM (KDATA_TEST_YEAR=1 runs the year)" },
        sessions.len()
    ));
    let mut day = from;
    while day <= to + Days::new(1) {
        drill.day(day);
        day = day + Days::new(1);
    }
    let counts = drill.ran.iter().fold(BTreeMap::<i32, usize>::new(), |mut counts, ran| {
        *counts.entry(ran.run.code).or_default() += 1;
        counts
    });
    announce(&format!(
        "year: {} runs in {:.0} s, by exit code {counts:?}; largest process, MiB by month: {:?}",
        drill.ran.len(),
        begun.elapsed().as_secs_f64(),
        drill.peaks.iter().map(|(month, kib)| (month, kib / 1024)).collect::<Vec<_>>()
    ));
    let mut by_line = BTreeMap::<&str, (usize, Duration)>::new();
    for ran in &drill.ran {
        let (count, took) = by_line.entry(name_of(&ran.command)).or_default();
        *count += 1;
        *took += ran.took;
    }
    for (line, (count, took)) in by_line {
        announce(&format!("year: {count} x {line}: {:.1} s", took.as_secs_f64()));
    }
    drill.everything_is_there(&sessions);
    drill.what_happened_is_told();
    drill.what_did_not_run_is_told();
}

impl Drill {
    fn new(from: NaiveDate, to: NaiveDate) -> Self {
        let mut work = Work::new();
        let mut faults = Faults::default();
        let shipped = Calendar::shipped();
        let all = shipped.sessions(from, to).to_vec();
        let rounds = (all.len() / 50).max(1);
        let mut overlay = String::new();
        // Since there is an after-market the portal's evening is provisional; before, nothing changed after 18:30.
        let revised = Some(("100070".to_owned(), all[all.len() - 6]));
        for round in 0..rounds {
            let session = |n: usize| all[(round * 50 + n).min(all.len() - 1)];
            faults.outages.push(session(1));
            faults.twice.push(session(2));
            faults.kills.push(session(3));
            faults.off.push(session(5));
            faults.holidays.push(session(6));
            overlay.push_str(&format!("{},,,임시공휴일\n", session(6)));
        }
        let calendar = Calendar::with_override(&overlay).unwrap();
        let world = Arc::new(World {
            market: Market::new(calendar, from, to),
            now: Mutex::new(kst(at(from, 0, 0))),
            down: Mutex::default(),
            revised,
            trap: Mutex::new(None),
        });
        vendors::start(&world, &mut work);
        work.set("KDATA_SOURCES", "krx-openapi,krx,kis,kiwoom").set("KDATA_RETRY_LIMIT", "0.2");
        work.set("KDATA_KIS_RATE", "1000").set("KDATA_KIWOOM_RATE", "3000");
        let calendar = work.write("calendar.csv", "").display().to_string();
        work.set("KDATA_CALENDAR", &calendar);
        let home = work.path("home").display().to_string();
        // The settings stand where the crontab says that they do.
        let settings = work.exports().replace("export ", "").replace("; ", "\n");
        work.write(".env", format!("{settings}KDATA_HOME='{home}'\n"));
        let folder = work.path("").display().to_string();
        stop_when_gone(folder.trim_end_matches('/'), &home);
        let text = include_str!("../crontab.example").replace("/srv/kdata", folder.trim_end_matches('/'));
        let crontab = Crontab::parse(&text);
        assert_eq!(crontab.env["CRON_TZ"], "Asia/Seoul");
        work.write("crontab", text);
        work.stand_in("crontab", "exec cat crontab");
        let peak = Arc::new(AtomicU64::new(0));
        watch(PathBuf::from(folder.trim_end_matches('/')), Arc::clone(&peak));
        Self { work, world, crontab, faults, span: (from, to), ran: Vec::new(), peak, peaks: BTreeMap::new() }
    }

    /// The sessions of the market as it turned out.
    fn sessions(&self, from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        self.world.market.calendar.sessions(from, to).to_vec()
    }

    /// Lives through a day.
    fn day(&mut self, day: NaiveDate) {
        if self.faults.holidays.contains(&(day + Days::new(7))) {
            let path = self.work.path("calendar.csv");
            let declared =
                fs::read_to_string(&path).unwrap() + &format!("{},,,임시공휴일\n", day + Days::new(7));
            fs::write(&path, declared).unwrap();
        }
        let was_off = day.pred_opt().is_some_and(|before| self.faults.off.contains(&before));
        let goes_off = self.faults.off.contains(&day);
        let crontab = self.crontab.clone();
        let lines = crontab.on(day);
        for together in lines.chunk_by(|a, b| a.0 == b.0) {
            let now = together[0].0;
            // The crontab is installed in the first morning, and the last one is enough to settle what came before.
            let is_out = now < at(self.span.0, 9, 0) || now > at(self.span.1 + Days::new(1), 12, 0);
            if is_out || (was_off && now < at(day, 10, 0)) || (goes_off && now > at(day, 21, 0)) {
                continue;
            }
            self.set_clock(now);
            let down = self.faults.outages.contains(&day) && now > at(day, 18, 0);
            *self.world.down.lock().unwrap() =
                if down { ["krx", "kis"].into() } else { std::collections::BTreeSet::new() };
            // In the middle of the minutes the server dies, or the whole machine.
            let folder = self.folder();
            *self.world.trap.lock().unwrap() = match now > at(day, 18, 0) {
                _ if self.faults.kills.contains(&day) => {
                    Some((100, Box::new(move || kill_server(&folder, false))))
                }
                true if goes_off => Some((150, Box::new(move || kill_server(&folder, true)))),
                _ => None,
            };
            let twice = self.faults.twice.contains(&day);
            let lines: Vec<&Line> = together
                .iter()
                .flat_map(|(_, line)| if twice { vec![*line, *line] } else { vec![*line] })
                .collect();
            self.run(now, &lines);
        }
    }

    fn set_clock(&mut self, now: NaiveDateTime) {
        *self.world.now.lock().unwrap() = kst(now);
        self.work.set("KDATA_NOW", &kst(now).to_rfc3339());
    }

    /// Runs lines of the same minute side by side, as cron does.
    fn run(&mut self, now: NaiveDateTime, lines: &[&Line]) {
        self.peak.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let runs: Vec<Run> = std::thread::scope(|scope| {
            let all: Vec<_> = lines.iter().map(|line| scope.spawn(|| self.cron(now, line))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let peak = self.peak.load(Ordering::Relaxed);
        let month = self.peaks.entry(now.format("%Y-%m").to_string()).or_default();
        *month = peak.max(*month);
        for (line, run) in lines.iter().zip(runs) {
            if run.code != 0 {
                let (seconds, command) = (begun.elapsed().as_secs_f64(), name_of(&line.command));
                announce(&format!(
                    "year: {now} {seconds:.1} s, exit {}: {command}: {}",
                    run.code,
                    reason(&run)
                ));
            }
            self.ran.push(Ran { at: now, command: line.command.clone(), took: begun.elapsed(), run });
        }
    }

    /// One line, with no more than what cron gives.
    fn cron(&self, now: NaiveDateTime, line: &Line) -> Run {
        let env = &self.crontab.env;
        let bin = std::path::Path::new(KDATA).parent().unwrap().display().to_string();
        let folder = self.folder();
        let mut command = Command::new(&env["SHELL"]);
        command.args(["-c", &line.command]).env_clear().envs(env.iter());
        let own = self.work.path("bin").display().to_string();
        command.env("PATH", format!("{own}:{bin}:{}", env["PATH"]));
        command.env("HOME", &folder).env("LOGNAME", "kdata").env("KDATA_NOW", kst(now).to_rfc3339());
        command.current_dir(&folder).stdin(Stdio::null());
        command.output().unwrap().into()
    }

    fn folder(&self) -> PathBuf {
        self.work.path("home").parent().unwrap().to_owned()
    }

    /// Asks the database.
    fn database(&self) -> Session {
        let home = self.work.path("home").display().to_string();
        let url =
            self.work.sh(&format!("KDATA_HOME={home} kdata db start && KDATA_HOME={home} kdata db url")).ok();
        Session::connect(url.lines().last().unwrap().trim())
    }

    fn everything_is_there(&self, sessions: &[NaiveDate]) {
        let database = self.database();
        let mut problems = Vec::new();
        for dataset in DAILY.iter().chain(&WEEKLY) {
            let due = self.work.kdata(&format!("due --long {dataset}"));
            if due.code != 0 || !due.stdout.is_empty() {
                problems.push(format!("due {dataset}: {due:?}"));
            }
        }
        for dataset in DAILY {
            let query = format!(
                "SELECT time, finality, names FROM market.session_status WHERE dataset = '{dataset}' ORDER BY time"
            );
            let is: Vec<String> = database.rows(&query);
            let should: Vec<String> =
                sessions.iter().map(|session| format!("{session}|final|whole")).collect();
            if is != should {
                let differ: Vec<_> = is.iter().filter(|row| !should.contains(row)).collect();
                let lack: Vec<_> = should.iter().filter(|row| !is.contains(row)).collect();
                problems.push(format!("{dataset}: {differ:?} instead of {lack:?}"));
            }
        }
        for (what, sql, should) in self.truth(sessions) {
            let is = database.value(sql);
            if is != should {
                problems.push(format!("{what}: {is} instead of {should}"));
            }
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// What failed failed on the days that something was wrong, and the ledger has it; what was corrected can be seen.
    fn what_happened_is_told(&self) {
        let faults = &self.faults;
        let is_bad = |ran: &&Ran| {
            let day = ran.at.date();
            let before = day.pred_opt().unwrap();
            let all = [&faults.outages, &faults.off, &faults.kills, &faults.twice];
            let is_after_a_fault = all.iter().any(|days| days.contains(&day) || days.contains(&before));
            // Sessions that end later are published later.
            let (_, close) = self.world.market.hours(self.world.market.at_or_before(day));
            // Whether all is well is told by the exit code: that of the first days, without a verified backup, is no fault.
            let is_verdict = ran.run.code == 3 && name_of(&ran.command).ends_with("status")
                || name_of(&ran.command).ends_with(CRON_CHECK);
            !is_verdict
                && ran.run.code != 0
                && !is_after_a_fault
                && close.format("%H:%M").to_string() == "15:30"
        };
        let bad: Vec<&Ran> = self.ran.iter().filter(is_bad).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        let runs = self.work.kdata("runs --failed -n 1000 --format json").ok();
        let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
        let runs = runs["runs"].as_array().unwrap();
        for outage in &faults.outages {
            let of_ohlcv =
                runs.iter().find(|run| run["dataset"] == "ohlcv" && run["from"] == outage.to_string());
            let reason = of_ohlcv.and_then(|run| run["reason"].as_str()).unwrap_or_default();
            assert!(reason.contains("503 Service Unavailable"), "{runs:#?}");
        }
        // Who lost the database, or died with it, could not say so.
        let cut_off = runs.iter().filter(|run| run["state"] == "running" && run["dataset"] == "ohlcv-minute");
        assert!(cut_off.count() >= faults.kills.len() + faults.off.len(), "{runs:#?}");
        let (code, session) = self.world.revised.as_ref().unwrap();
        let revised = "SELECT key ->> 'stock_code', key ->> 'time', count(*) FROM ops.revisions \
                       WHERE table_name = 'ohlcv_daily' GROUP BY 1, 2";
        assert_eq!(self.database().rows(revised), [format!("{code}|{session}|1")]);
        for session in faults.outages.iter().chain(&faults.off).chain(&faults.kills) {
            let report = self.work.kdata(&format!("report quality --date {session} --format json")).ok();
            let report: serde_json::Value = serde_json::from_str(&report).unwrap();
            for dataset in report["datasets"].as_array().unwrap() {
                if DAILY.contains(&dataset["dataset"].as_str().unwrap()) {
                    assert_eq!(dataset["state"], "final", "{session}: {dataset}");
                }
            }
        }
    }

    /// Each check of the crontab knew which lines the drill had left out since they were due, and which ones it killed.
    fn what_did_not_run_is_told(&self) {
        let of_checks = |ran: &&Ran| name_of(&ran.command).ends_with(CRON_CHECK);
        let checks: Vec<&Ran> = self.ran.iter().filter(of_checks).collect();
        let first = checks[0].at;
        let lines = || self.crontab.lines.iter().enumerate();
        for check in &checks {
            let last_due = |line: &Line| {
                let days = (0..).map_while(|n| check.at.date().checked_sub_days(Days::new(n)));
                let times = days.take(8).flat_map(|day| self.crontab.on(day).into_iter().rev());
                let mut times = times.filter(|(_, of)| std::ptr::eq(*of, line)).map(|(at, _)| at);
                times.find(|at| *at <= check.at - chrono::TimeDelta::minutes(10)).unwrap()
            };
            let is_missed = |line: &Line| {
                let due = last_due(line);
                let mut since = self.ran.iter().filter(|ran| ran.at >= due && ran.at <= check.at);
                // A shell tells that its command was killed by 128 + 9.
                let last = since.rfind(|ran| ran.command == line.command);
                match last {
                    Some(ran) => ran.run.code == 137 || ran.run.code == -1,
                    None => due > first,
                }
            };
            let missed: Vec<_> = lines().filter(|(_, line)| is_missed(line)).map(|(at, _)| at).collect();
            let told =
                check.run.stdout.matches("OVERDUE").count() + check.run.stdout.matches("CUT OFF").count();
            let code = if missed.is_empty() { 0 } else { 3 };
            assert_eq!((check.run.code, told), (code, missed.len()), "{missed:?}: {check:#?}");
        }
        let of_code = |code| checks.iter().filter(|check| check.run.code == code).count();
        announce(&format!(
            "year: {} checks of the crontab found all well, {} did not",
            of_code(0),
            of_code(3)
        ));
        // In the year the power is always back on a weekday at 10:00, after the check; the short form loses a weekend.
        assert!(of_code(0) > 0 && (of_code(3) > 0 || is_whole_year()));
    }

    /// What the market did, counted by the market itself.
    fn truth(&self, sessions: &[NaiveDate]) -> Vec<(&'static str, &'static str, String)> {
        let market = &self.world.market;
        let (mut bars, mut volume, mut value, mut caps, mut minutes, mut flows) = (0, 0, 0, 0, 0, 0);
        for session in sessions.iter().map(|session| market.at(*session).unwrap()) {
            for name in market.listed(session) {
                let bar = name.bar(session);
                minutes += market.minutes(name, session).len();
                if name.board != Board::Fund {
                    bars += 1;
                    volume += bar.volume;
                    value += bar.value;
                    caps += bar.close * bar.shares;
                    flows += if bar.volume > 0 { 5 } else { 0 };
                }
            }
        }
        vec![
            (
                "daily bars",
                "SELECT count(*), sum(volume), sum(value) FROM market.ohlcv_daily",
                format!("{bars}|{volume}|{value}"),
            ),
            (
                "caps",
                "SELECT count(*), sum(market_cap) FROM market.market_cap_daily",
                format!("{bars}|{caps}"),
            ),
            ("minutes", "SELECT count(*) FROM market.ohlcv_minute", minutes.to_string()),
            ("flows", "SELECT count(*) FROM market.investor_trading", flows.to_string()),
            ("batches that wait", "SELECT count(*) FROM ops.batches WHERE state = 'staged'", "0".into()),
            (
                "tables left in staging",
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'",
                "0".into(),
            ),
        ]
    }
}

/// The processes of kdata that work in a folder.
fn kdata_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|process| {
        let link = |name| fs::read_link(process.path().join(name)).ok();
        link("exe").is_some_and(|exe| exe.as_os_str() == KDATA)
            && link("cwd").is_some_and(|cwd| cwd == folder)
    });
    ours.map(|process| (process.file_name().to_string_lossy().into_owned(), process.path())).collect()
}

/// Ends the server of a private cluster at once; as a power cut does, all others as well.
fn kill_server(folder: &Path, and_all_others: bool) {
    let Ok(text) = fs::read_to_string(folder.join("home/data/postmaster.pid")) else { return };
    let server = text.lines().next().unwrap().trim().to_owned();
    let mut all = vec![server.clone()];
    if and_all_others {
        let list = Command::new("ps").args(["-o", "pid=", "--ppid", &server]).output().unwrap();
        all.extend(String::from_utf8(list.stdout).unwrap().split_whitespace().map(ToOwned::to_owned));
        all.extend(kdata_in(folder).into_iter().map(|(pid, _)| pid));
    }
    Command::new("kill").arg("-9").args(&all).status().unwrap();
}

/// Notes the most memory that any kdata of a folder had, in KiB.
fn watch(folder: PathBuf, peak: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        while Arc::strong_count(&peak) > 1 {
            for (_, process) in kdata_in(&folder) {
                let status = fs::read_to_string(process.join("status")).unwrap_or_default();
                let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let most = most.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
                peak.fetch_max(most.unwrap_or(0), Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}
