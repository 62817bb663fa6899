//! status: is all well, on one screen, for people and for monitors. Looks at what the other stages left behind, and asks
//! no source anything.
//!
//! One list of checks, [`CHECKS`]: what is to be seen is gathered first ([`Seen`]), in one view of the database, and
//! each check judges it without asking anything more.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::doctor::{self, Health};
use super::report::{self, Asked, Freshness, freshness};
use crate::dataset;
use crate::db::backup::{self, Kept};
use crate::db::{Database, Place, Target, cluster, failed};
use crate::error::{Error, Result};
use crate::market::{Calendar, kst_date};
use crate::settings::Settings;
use crate::source::http::{Quota, Used};
use crate::source::{self, Source, published};

const FAILING: &str = include_str!("../../sql/report/failing.sql");
const DOING: &str = "cannot look at the database's state";

/// A batch may wait so long for its promote: cron's next line takes it.
const BATCH_WAITS: TimeDelta = TimeDelta::hours(1);
/// A backfill ends a window within this.
const WINDOW_TAKES: TimeDelta = TimeDelta::hours(2);
/// Rollups are brought up to date right after a promote.
const ROLLUPS_TAKE: TimeDelta = TimeDelta::minutes(15);
/// What `due` says of a session of which single names are here.
const SOME: &str = "only some of the names";
/// The newest backup may be so old.
const BACKUP_AGE: TimeDelta = TimeDelta::days(2);
/// The newest backup that was verified may be so old: one a week is.
const PROVEN_AGE: TimeDelta = TimeDelta::days(8);
/// A quota is near its end from this share on, in per cent.
const NEARLY_SPENT: u64 = 80;

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum State {
    Ok,
    Attention,
    Failed,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// How it went.
    pub state: State,
    /// What was found, a line each.
    pub found: String,
    /// What to type, or to do; empty when nothing.
    pub remedy: String,
}

impl Verdict {
    fn ok(found: impl Into<String>) -> Self {
        Self { state: State::Ok, found: found.into(), remedy: String::new() }
    }

    fn attention(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Attention, found: found.into(), remedy: remedy.into() }
    }

    fn failed(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Failed, found: found.into(), remedy: remedy.into() }
    }

    /// The gravest of many, with a line each; `all_well` where there are none.
    fn of(all: &[Self], all_well: impl Into<String>) -> Self {
        let Some(state) = all.iter().map(|one| one.state).max() else { return Self::ok(all_well) };
        let lines = |of: fn(&Self) -> &String| {
            let mut lines: Vec<&str> = Vec::new();
            for line in all.iter().map(|one| of(one).as_str()).filter(|line| !line.is_empty()) {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
            lines.join("\n")
        };
        Self { state, found: lines(|one| &one.found), remedy: lines(|one| &one.remedy) }
    }
}

impl From<doctor::Check> for Verdict {
    fn from(check: doctor::Check) -> Self {
        let state = match check.health {
            Health::Ok => State::Ok,
            Health::Warning => State::Attention,
            Health::Failed => State::Failed,
        };
        Self { state, found: check.found, remedy: check.remedy }
    }
}

/// One thing that is looked at.
#[derive(Debug)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// How it is judged.
    pub judge: Judge,
}

/// What a check looks at.
#[derive(Clone, Copy, Debug)]
pub enum Judge {
    /// The machine: told also where the database cannot be reached.
    Machine(fn(&Machine<'_>) -> Verdict),
    /// What the database holds.
    Database(fn(&Machine<'_>, &Held) -> Verdict),
}

/// All checks, in the order in which they are shown.
pub static CHECKS: &[Check] = &[
    Check { name: "database", judge: Judge::Database(database) },
    Check { name: "freshness", judge: Judge::Database(fresh) },
    Check { name: "gaps", judge: Judge::Database(gaps) },
    Check { name: "staged", judge: Judge::Database(staged) },
    Check { name: "failed runs", judge: Judge::Database(runs) },
    Check { name: "backfills", judge: Judge::Database(backfills) },
    Check { name: "rollups", judge: Judge::Database(rollups) },
    Check { name: "backup", judge: Judge::Database(backups) },
    Check { name: "calendar", judge: Judge::Machine(horizon) },
    Check { name: "blocked", judge: Judge::Machine(blocked) },
    Check { name: "quota", judge: Judge::Machine(quota) },
    Check { name: "disk", judge: Judge::Machine(disk) },
];

/// What is seen of the machine.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Machine<'a> {
    pub settings: &'a Settings,
    pub calendar: &'a Calendar,
    pub now: DateTime<Utc>,
    /// The folder of limits, breakers and backups.
    pub state: PathBuf,
}

/// What is seen of the database, as of one moment.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Held {
    /// `PostgreSQL 15.8, a live database on timescale storage`.
    pub about: String,
    /// Its name: backups are told apart by it.
    pub name: String,
    /// Why it cannot be judged, where the calendar does not reach today.
    pub freshness: std::result::Result<Vec<Freshness>, String>,
    pub gaps: Vec<Gap>,
    pub staged: Vec<Staged>,
    pub failing: Vec<Failing>,
    pub backfills: Vec<Unfinished>,
    pub rollups: Vec<Pending>,
    pub backups: Vec<Kept>,
}

/// A session before the last one of a dataset that is not here as its source has it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Gap {
    pub dataset: &'static str,
    pub session: NaiveDate,
    /// `absent`, `provisional`, `only some of the names`.
    pub state: String,
}

/// A batch that is not promoted.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Staged {
    pub batch: i64,
    pub dataset: String,
    pub range: (NaiveDate, NaiveDate),
    pub since: DateTime<Utc>,
    pub problem: Option<String>,
}

/// Runs that failed since the last good one of their kind.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Failing {
    pub command: String,
    pub dataset: Option<String>,
    pub runs: i64,
    pub exit_code: Option<i32>,
    pub reason: String,
}

/// A backfill that did not end well yet.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Unfinished {
    pub dataset: String,
    pub source: String,
    pub range: (NaiveDate, NaiveDate),
    pub windows: i32,
    pub done: i32,
    pub changed_at: DateTime<Utc>,
    pub problem: Option<String>,
}

/// Sessions whose rollups wait.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Pending {
    pub range: (NaiveDate, NaiveDate),
    pub since: DateTime<Utc>,
    pub problem: Option<String>,
}

/// A check and its verdict.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Judged {
    pub name: &'static str,
    pub state: State,
    pub found: String,
    pub remedy: String,
}

/// The whole screen.
#[derive(Debug)]
pub struct Status {
    /// The checks that could be made.
    pub checks: Vec<Judged>,
    /// How fresh each dataset is.
    pub datasets: Vec<Freshness>,
    /// Why the database could not be looked at.
    pub error: Option<Error>,
}

/// Looks at everything. A database that cannot be reached leaves what is to be seen of the machine.
pub fn look(settings: &Settings, calendar: &Calendar, now: DateTime<Utc>) -> Result<Status> {
    let machine = Machine { settings, calendar, now, state: cluster::home(settings)? };
    let held = super::block_on(held(&machine));
    let judged = |name, Verdict { state, found, remedy }| Judged { name, state, found, remedy };
    let mut checks = Vec::new();
    for Check { name, judge } in CHECKS {
        match (judge, &held) {
            (Judge::Machine(judge), _) => checks.push(judged(name, judge(&machine))),
            (Judge::Database(judge), Ok(held)) => checks.push(judged(name, judge(&machine, held))),
            (Judge::Database(_), Err(error)) if checks.is_empty() => {
                let remedy =
                    miette::Diagnostic::help(error).map_or_else(String::new, |help| help.to_string());
                checks.push(judged(name, Verdict::failed(error.to_string(), remedy)));
            }
            (Judge::Database(_), Err(_)) => {}
        }
    }
    let (datasets, error) = match held {
        Ok(held) => (held.freshness.unwrap_or_default(), None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Ok(Status { checks, datasets, error })
}

async fn held(machine: &Machine<'_>) -> Result<Held> {
    let Machine { settings, calendar, now, .. } = *machine;
    if !Place::exists(settings)? {
        return Err(Error::Source {
            what: "there is no database yet".into(),
            help: "`kdata db start` makes the private cluster, or set DATABASE_URL".into(),
        });
    }
    if !Place::is_running(settings).await? {
        // Whoever looks must not mend it: a server that a check started ends with the check under systemd.
        return Err(Error::Source {
            what: "the private server does not run".into(),
            help: "`kdata db start` starts it; at boot: a line `@reboot` in the crontab, or kdata-db.service"
                .into(),
        });
    }
    let database = Database::open(settings, Target::Main, calendar).await?;
    let client = database.place.connect().await?;
    let doing = failed(DOING);
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(&doing)?;
    let version = client.query_one("SELECT current_setting('server_version')", &[]).await.map_err(&doing)?;
    let about = format!(
        "PostgreSQL {}, a {} database on {} storage",
        version.get::<_, String>(0).split(' ').next().unwrap_or_default(),
        database.kind,
        database.backend.as_str()
    );
    let (first, last) = calendar.covers();
    let today = kst_date(now);
    let freshness = if (first..=last).contains(&today) {
        Ok(freshness(&client, &Asked::new((today, today), calendar, now)).await?)
    } else {
        Err(format!("cannot be told: the calendar does not cover {today}"))
    };
    let gaps = match &freshness {
        Ok(all) => held_gaps(&client, machine, all).await?,
        Err(_) => Vec::new(),
    };
    Ok(Held {
        about,
        name: database.place.name().to_owned(),
        freshness,
        gaps,
        staged: waiting(&client).await?,
        failing: failing(&client, now).await?,
        backfills: unfinished(&client).await?,
        rollups: pending(&client).await?,
        backups: backup::list(&backup::folder(settings)?),
    })
}

/// Freshness looks at the last session; one before it may be missing all the same, when its run failed and the next
/// one's did not.
async fn held_gaps(client: &Client, machine: &Machine<'_>, all: &[Freshness]) -> Result<Vec<Gap>> {
    let mut gaps = Vec::new();
    for one in all {
        let (Some(dataset), Some(last)) = (dataset::find(&one.dataset), one.last_session) else { continue };
        let source = one.source.as_deref().and_then(Source::find);
        // What a source tells of the present only, and what has not settled yet, nobody can mend.
        let can_be_had = |session: NaiveDate| {
            source.is_none_or(|source| {
                let then = machine.now - report::GRACE;
                published::state(source, dataset.name, session, machine.calendar, then)
                    == published::State::Final
            })
        };
        let due = report::due(client, dataset, last, None).await?;
        // Who collects single names only has no other sessions.
        let some_are_all = due.iter().any(|(_, state)| state != SOME) || due.len() < report::RECENT.into();
        gaps.extend(
            due.into_iter()
                .filter(|(session, state)| {
                    *session < last && (some_are_all || state != SOME) && can_be_had(*session)
                })
                .map(|(session, state)| Gap { dataset: dataset.name, session, state }),
        );
    }
    Ok(gaps)
}

async fn waiting(client: &Client) -> Result<Vec<Staged>> {
    let query = "SELECT batch_id, dataset, from_time, to_time, staged_at, problem FROM ops.batches \
                 WHERE state = 'staged' ORDER BY batch_id";
    let rows = client.query(query, &[]).await.map_err(failed(DOING))?;
    let read = |row: &Row| Staged {
        batch: row.get(0),
        dataset: row.get(1),
        range: (row.get(2), row.get(3)),
        since: row.get(4),
        problem: row.get(5),
    };
    Ok(rows.iter().map(read).collect())
}

async fn failing(client: &Client, now: DateTime<Utc>) -> Result<Vec<Failing>> {
    let rows = client.query(FAILING, &[&now]).await.map_err(failed(DOING))?;
    let read = |row: &Row| Failing {
        command: row.get(0),
        dataset: row.get(1),
        runs: row.get(2),
        exit_code: row.get(3),
        reason: row.get(4),
    };
    Ok(rows.iter().map(read).collect())
}

async fn unfinished(client: &Client) -> Result<Vec<Unfinished>> {
    let query = "SELECT dataset, source, from_time, to_time, windows, done, changed_at, problem FROM ops.backfills \
                 WHERE finished_at IS NULL ORDER BY backfill_id";
    let rows = client.query(query, &[]).await.map_err(failed(DOING))?;
    let read = |row: &Row| Unfinished {
        dataset: row.get(0),
        source: row.get(1),
        range: (row.get(2), row.get(3)),
        windows: row.get(4),
        done: row.get(5),
        changed_at: row.get(6),
        problem: row.get(7),
    };
    Ok(rows.iter().map(read).collect())
}

async fn pending(client: &Client) -> Result<Vec<Pending>> {
    let query = "SELECT from_time, to_time, since, problem FROM ops.pending_rollups ORDER BY since";
    let rows = client.query(query, &[]).await.map_err(failed(DOING))?;
    let read =
        |row: &Row| Pending { range: (row.get(0), row.get(1)), since: row.get(2), problem: row.get(3) };
    Ok(rows.iter().map(read).collect())
}

// ---- the checks ----

fn database(_: &Machine<'_>, held: &Held) -> Verdict {
    Verdict::ok(&held.about)
}

fn fresh(_: &Machine<'_>, held: &Held) -> Verdict {
    let all = match &held.freshness {
        Ok(all) => all,
        Err(why) => return Verdict::failed(why, "kdata calendar check"),
    };
    let collected: Vec<&Freshness> = all.iter().filter(|one| one.last_session.is_some()).collect();
    if collected.is_empty() {
        return Verdict::attention("nothing was collected yet", "kdata run stocks ohlcv market-cap --due");
    }
    let stale: Vec<&Freshness> = collected.iter().copied().filter(|one| one.is_stale()).collect();
    if stale.is_empty() {
        let others = all.len() - collected.len();
        let others = if others > 0 { format!("; {others} never collected") } else { String::new() };
        return Verdict::ok(format!("{} datasets fresh{others}", collected.len()));
    }
    let line = |one: &&Freshness| {
        let last = one.last_session.map_or(String::new(), |day| format!(", last {day}"));
        let behind = one.behind.filter(|n| *n > 0).map_or(String::new(), |n| format!(", {n} behind"));
        format!("{}: {}{last}{behind}", one.dataset, one.state)
    };
    let names: Vec<&str> = stale.iter().map(|one| one.dataset.as_str()).collect();
    let lines: Vec<String> = stale.iter().map(line).collect();
    Verdict::failed(lines.join("\n"), format!("kdata run {} --due", names.join(" ")))
}

/// A range of days, as short as it goes.
fn days((from, to): (NaiveDate, NaiveDate)) -> String {
    if from == to { from.to_string() } else { format!("{from} to {to}") }
}

/// The first line, cut where it is long.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(120).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

/// So many of a kind are told one by one.
const TOLD: usize = 3;

/// The first few, and how many more there are.
fn few<T>(all: &[T], of: impl Fn(&T) -> Verdict) -> Vec<Verdict> {
    let mut told: Vec<Verdict> = all.iter().take(TOLD).map(of).collect();
    if let (true, Some(last)) = (all.len() > TOLD, told.last().map(|last| last.state)) {
        let found = format!("and {} more", all.len() - TOLD);
        told.push(Verdict { state: last, found, remedy: String::new() });
    }
    told
}

fn gaps(_: &Machine<'_>, held: &Held) -> Verdict {
    let one = |gap: &Gap| {
        Verdict::failed(
            format!("{} {}: {}", gap.dataset, gap.session, gap.state),
            format!("kdata run {} --due", gap.dataset),
        )
    };
    Verdict::of(&few(&held.gaps, one), "no recent session is missing")
}

fn staged(machine: &Machine<'_>, held: &Held) -> Verdict {
    let is_old = |batch: &&Staged| batch.problem.is_some() || machine.now - batch.since > BATCH_WAITS;
    // Held ones first: they wait for somebody.
    let mut old: Vec<&Staged> = held.staged.iter().filter(is_old).collect();
    old.sort_by_key(|batch| (batch.problem.is_none(), batch.batch));
    let all_well = match held.staged.len() {
        0 => "no batch waits".to_owned(),
        n => format!("{n} under way"),
    };
    let one = |batch: &&Staged| {
        let what = format!("batch {}, {} {}", batch.batch, batch.dataset, days(batch.range));
        match &batch.problem {
            Some(problem) => Verdict::failed(
                format!("{what}, is held: {}", short(problem)),
                format!("kdata promote --batch {0} --force, or kdata rollback {0}", batch.batch),
            ),
            None => Verdict::attention(format!("{what}, waits"), "kdata promote"),
        }
    };
    Verdict::of(&few(&old, one), all_well)
}

fn runs(_: &Machine<'_>, held: &Held) -> Verdict {
    let one = |one: &Failing| {
        let dataset = one.dataset.as_deref().unwrap_or_default();
        let code = one.exit_code.map_or(String::new(), |code| format!(" exit {code}"));
        let times = if one.runs > 1 { format!(", {} times", one.runs) } else { String::new() };
        let remedy = match &one.dataset {
            Some(dataset) => {
                format!("kdata runs --failed --dataset {dataset}; then kdata run {dataset} --due")
            }
            None => "kdata runs --failed".into(),
        };
        let what = format!("{} {dataset}", one.command);
        Verdict::failed(format!("{}{code}{times}: {}", what.trim(), short(&one.reason)), remedy)
    };
    Verdict::of(&few(&held.failing, one), "none since the last good ones")
}

fn backfills(machine: &Machine<'_>, held: &Held) -> Verdict {
    let is_open = |one: &&Unfinished| one.problem.is_some() || machine.now - one.changed_at > WINDOW_TAKES;
    let open: Vec<&Unfinished> = held.backfills.iter().filter(is_open).collect();
    let one = |one: &&Unfinished| {
        let why = one.problem.as_deref().map_or_else(|| "it was killed".to_owned(), short);
        Verdict::attention(
            format!("{} {}: {} of {} windows: {why}", one.dataset, days(one.range), one.done, one.windows),
            format!(
                "kdata backfill {} --from {} --to {} --source {}",
                one.dataset, one.range.0, one.range.1, one.source
            ),
        )
    };
    let all_well = match held.backfills.len() {
        0 => "none unfinished".to_owned(),
        n => format!("{n} under way"),
    };
    Verdict::of(&few(&open, one), all_well)
}

fn rollups(machine: &Machine<'_>, held: &Held) -> Verdict {
    let is_late = |one: &&Pending| one.problem.is_some() || machine.now - one.since > ROLLUPS_TAKE;
    let late: Vec<&Pending> = held.rollups.iter().filter(is_late).collect();
    let one = |one: &&Pending| {
        let why = one.problem.as_deref().map_or_else(|| "nobody brought them up to date".to_owned(), short);
        Verdict::failed(format!("of minute bars {}: {why}", days(one.range)), "kdata db compress")
    };
    let all_well = if held.rollups.is_empty() { "up to date" } else { "being brought up to date" };
    Verdict::of(&few(&late, one), all_well)
}

fn backups(machine: &Machine<'_>, held: &Held) -> Verdict {
    let of_ours: Vec<&Kept> = held.backups.iter().filter(|one| one.database == held.name).collect();
    let Some(newest) = of_ours.last() else {
        return Verdict::attention("there is none", "kdata db backup");
    };
    let age = |one: &Kept| {
        let age = machine.now - one.made_at;
        if age < TimeDelta::days(1) {
            format!("{} h", age.num_hours().max(0))
        } else {
            format!("{} days", age.num_days())
        }
    };
    let proven = of_ours.iter().rfind(|one| one.verified);
    let told = match proven {
        Some(proven) if proven.name == newest.name => format!("{} old, verified", age(newest)),
        Some(proven) => format!("{} old; verified: one of {}", age(newest), age(proven)),
        None => format!("{} old; none was verified", age(newest)),
    };
    if machine.now - newest.made_at > BACKUP_AGE {
        return Verdict::attention(told, "kdata db backup");
    }
    match proven {
        Some(proven) if machine.now - proven.made_at <= PROVEN_AGE => Verdict::ok(told),
        _ => Verdict::attention(told, "kdata db verify"),
    }
}

fn horizon(machine: &Machine<'_>) -> Verdict {
    doctor::horizon(machine.calendar, machine.now).into()
}

fn blocked(machine: &Machine<'_>) -> Verdict {
    let blocks = doctor::blocks(&machine.state, machine.now);
    let one = |check: doctor::Check| {
        let found = format!("{}: {}", check.name.trim_start_matches("breaker of "), check.found);
        Verdict::from(doctor::Check { found, ..check })
    };
    let blocks: Vec<Verdict> = blocks.into_iter().map(one).collect();
    Verdict::of(&blocks, "no source blocks this machine")
}

fn quota(machine: &Machine<'_>) -> Verdict {
    let today = kst_date(machine.now).to_string();
    let folder = machine.state.join("limits");
    let near = |source: &Source| {
        let (calls, bytes) = source.quota(machine.settings);
        let Used { calls: sent, bytes: read } = Quota::used(&folder, source.name(), &today);
        let share = |used: u64, most: Option<u64>| most.map_or(0, |most| used * 100 / most.max(1));
        let share = share(sent, calls).max(share(read, bytes));
        let found = format!("{}: {share} % of the day's quota is spent", source.name());
        let remedy = "wait for tomorrow, or take another source";
        (share >= NEARLY_SPENT).then(|| Verdict::attention(found, remedy))
    };
    let near: Vec<Verdict> = source::ALL.iter().filter_map(near).collect();
    Verdict::of(&near, format!("less than {NEARLY_SPENT} % of each is spent"))
}

fn disk(machine: &Machine<'_>) -> Verdict {
    let state = Verdict::from(doctor::space("state directory", &machine.state));
    match &machine.settings.backups {
        None => state,
        Some(folder) => {
            let backups = Verdict::from(doctor::space("backups", folder));
            Verdict::of(&[state, backups], "")
        }
    }
}
