//! cron: which lines of a crontab have not run. What ran tells [`crate::jobs`]; when something should have, the crontab.

mod crontab;
mod shell;

use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub use crontab::{Crontab, Line};
pub use shell::After;

use crate::error::{Error, Result};
use crate::jobs::{Book, Job, Jobs, Run};

/// cron may begin a line so much later than it should; what is due since then is not asked for.
const LATE: TimeDelta = TimeDelta::minutes(10);
/// Clocks of cron and kdata may differ by so much.
const EARLY: TimeDelta = TimeDelta::minutes(1);

/// Whether a line has run; the gravest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Since it was due last.
    Ok,
    /// Not by cron: somebody caught up.
    ByHand,
    /// It is under way.
    Running,
    /// It was not due since it was seen first.
    Waiting,
    /// It began, but never ended: it was killed, or the machine went down.
    CutOff,
    /// It was due, and did not begin.
    Overdue,
}

impl State {
    /// Is nothing to be done?
    pub fn is_well(self) -> bool {
        self < Self::CutOff
    }
}

/// A line and what became of it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Checked {
    pub line: usize,
    pub schedule: String,
    /// What it calls, without what only a shell can tell.
    pub command: String,
    pub first_seen_at: DateTime<Utc>,
    /// When it should have run last; `None`: it runs when the machine starts.
    pub due_at: Option<DateTime<Utc>>,
    /// When it ran last; of several calls the earliest.
    pub ran_at: Option<DateTime<Utc>>,
    /// How it ended; of several calls the first that failed.
    pub exit_code: Option<u8>,
    pub state: State,
}

/// The crontab of this user.
pub fn installed() -> Result<String> {
    let help = "`crontab FILE` installs one; `--file` reads another; under systemd: `systemctl list-timers 'kdata-*'`";
    let listed = Command::new("crontab").arg("-l").stdin(Stdio::null()).output();
    let listed = listed.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::usage("there is no crontab command on this machine", help),
        _ => Error::io("cannot run crontab -l", e),
    })?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr);
        let said = said.lines().next().unwrap_or("it failed").trim().to_owned();
        return Err(Error::usage(format!("crontab -l: {said}"), help));
    }
    String::from_utf8(listed.stdout)
        .map_err(|_| Error::usage("crontab -l: it is not UTF-8", "write it in UTF-8: `crontab FILE`"))
}

/// Looks which lines have run. Notes those that are new: they are overdue only for what is due from now on.
pub fn check(crontab: &Crontab, state: &Path, now: DateTime<Utc>) -> Result<Vec<Checked>> {
    let seen = |line: &Line| (line.key(), line.calls.iter().map(|(_, call)| call.clone()).collect());
    let book = Jobs::new(state).see(crontab.lines.iter().map(seen), now)?;
    Ok(crontab.lines.iter().map(|line| judged(line, &book, now)).collect())
}

fn judged(line: &Line, book: &Book, now: DateTime<Utc>) -> Checked {
    let due = line.due(now - LATE);
    let first_seen = book.lines.get(&line.key()).map_or(now, |seen| seen.first);
    let mut state = State::Ok;
    let mut ran: Vec<Run> = Vec::new();
    let mut before: Option<Run> = None;
    for (after, call) in &line.calls {
        let is_left_out = before.as_ref().is_some_and(|before| match after {
            After::Always | After::Piped => false,
            After::Success => before.exit_code != Some(0),
            After::Failure => matches!(before.exit_code, None | Some(0)),
        });
        if is_left_out {
            continue;
        }
        let (of_call, run) = state_of(book.last(call), due, first_seen);
        state = state.max(of_call);
        before = run.clone().filter(|run| is_since(run, due));
        ran.extend(run);
    }
    let code = |run: &Run| run.exit_code.filter(|code| *code != 0);
    Checked {
        line: line.number,
        schedule: line.schedule.clone(),
        command: line.told(),
        first_seen_at: first_seen,
        due_at: due,
        ran_at: ran.iter().map(|run| run.started_at).min(),
        exit_code: ran.iter().find_map(code).or_else(|| ran.last().and_then(|run| run.exit_code)),
        state,
    }
}

fn is_since(run: &Run, due: Option<DateTime<Utc>>) -> bool {
    due.is_none_or(|due| run.started_at >= due - EARLY)
}

/// What became of one call, and its last run.
fn state_of(job: Job, due: Option<DateTime<Utc>>, first_seen: DateTime<Utc>) -> (State, Option<Run>) {
    let Job { unattended, by_hand } = job;
    let since = |run: &Option<Run>| run.clone().filter(|run| is_since(run, due));
    // Who fails by hand has not caught up: no alert tells of it.
    let caught_up = since(&by_hand).filter(|run| run.exit_code == Some(0));
    match (since(&unattended), caught_up) {
        (Some(run), _) if run.ended_at.is_some() => (State::Ok, Some(run)),
        (Some(run), _) if !run.is_cut_off() => (State::Running, Some(run)),
        (Some(run), Some(by_hand)) if by_hand.started_at > run.started_at => (State::ByHand, Some(by_hand)),
        (Some(run), _) => (State::CutOff, Some(run)),
        (None, Some(by_hand)) => (State::ByHand, Some(by_hand)),
        (None, None) if due.is_some_and(|due| due > first_seen) => (State::Overdue, unattended),
        (None, None) => (State::Waiting, unattended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-{text}:00+09:00").parse().unwrap()
    }

    fn run(started: &str, code: Option<u8>) -> Run {
        let ended_at = code.map(|_| at(started));
        Run { started_at: at(started), ended_at, exit_code: code, process: u32::MAX }
    }

    /// The state of one line, given the runs of its jobs.
    fn state(line: &str, first_seen: &str, runs: &[(&str, Run)], now: &str) -> (State, Option<u8>) {
        let text = format!("CRON_TZ=Asia/Seoul\n{line}");
        let crontab = Crontab::read(&text, "x", false, &|_| false, at(now)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        check(&crontab, folder.path(), at(first_seen)).unwrap();
        let mut book = Jobs::new(folder.path()).book();
        for (name, run) in runs {
            let job = book.jobs.entry(name.trim_start_matches("hand ").to_owned()).or_default();
            let place = if name.starts_with("hand ") { &mut job.by_hand } else { &mut job.unattended };
            *place = Some(run.clone());
        }
        let checked = judged(&crontab.lines[0], &book, at(now));
        (checked.state, checked.exit_code)
    }

    #[test]
    fn a_line_is_judged_by_when_it_was_due_last() {
        let line = "0 18 * * 1-5 kdata -q run stocks";
        let now = |runs: &[(&str, Run)], now: &str| state(line, "20T09:00", runs, now);
        // Seen on a Friday morning; due at 18:00, and given ten minutes.
        assert_eq!(now(&[], "20T18:09"), (State::Waiting, None));
        assert_eq!(now(&[], "20T18:10"), (State::Overdue, None));
        let friday = [("run stocks", run("20T18:00", Some(0)))];
        assert_eq!(now(&friday, "20T18:10"), (State::Ok, Some(0)));
        assert_eq!(now(&friday, "23T18:09"), (State::Ok, Some(0)), "nothing was due on the weekend");
        assert_eq!(now(&friday, "23T18:10"), (State::Overdue, Some(0)));
        // That it failed is another matter, but it is told.
        assert_eq!(now(&[("run stocks", run("20T17:59", Some(4)))], "20T18:30"), (State::Ok, Some(4)));
        assert_eq!(now(&[("run stocks", run("20T17:58", Some(0)))], "20T18:30"), (State::Overdue, Some(0)));
        assert_eq!(now(&[("run stocks --due", run("20T18:00", Some(0)))], "20T18:30").0, State::Overdue);
        // Killed; caught up by hand.
        let killed = ("run stocks", run("20T18:00", None));
        assert_eq!(now(std::slice::from_ref(&killed), "20T18:30").0, State::CutOff);
        assert_eq!(now(&[("hand run stocks", run("20T18:20", Some(0)))], "20T18:30").0, State::ByHand);
        assert_eq!(
            now(&[killed, ("hand run stocks", run("20T18:20", Some(0)))], "20T18:30").0,
            State::ByHand
        );
        assert_eq!(now(&[("hand run stocks", run("20T18:20", Some(4)))], "20T18:30").0, State::Overdue);
        let own = Run { process: std::process::id(), ..run("20T18:00", None) };
        assert_eq!(now(&[("run stocks", own)], "20T18:30").0, State::Running);
    }

    #[test]
    fn all_calls_of_a_line_count_that_should_have_come() {
        let now = |line: &str, runs: &[(&str, Option<u8>)]| {
            let runs: Vec<_> = runs.iter().map(|(name, code)| (*name, run("20T18:00", *code))).collect();
            state(&format!("0 18 * * * {line}"), "20T09:00", &runs, "20T18:30")
        };
        let pipe = "kdata extract x | kdata validate | kdata load";
        assert_eq!(now(pipe, &[("extract x", Some(0)), ("validate", Some(0))]).0, State::Overdue);
        let all = [("extract x", Some(9)), ("validate", Some(9)), ("load", Some(9))];
        assert_eq!(now(pipe, &all), (State::Ok, Some(9)));
        // What a failure before it left out was not to run.
        let both = "kdata run x && kdata promote";
        assert_eq!(now(both, &[("run x", Some(4))]), (State::Ok, Some(4)));
        assert_eq!(now(both, &[("run x", Some(0))]).0, State::Overdue);
        let either = "kdata run x || kdata doctor";
        assert_eq!(now(either, &[("run x", Some(0))]).0, State::Ok);
        assert_eq!(now(either, &[("run x", Some(4))]).0, State::Overdue);
        assert_eq!(now("cd /srv && kdata run x", &[]).0, State::Overdue);
    }

    #[test]
    fn what_runs_when_the_machine_starts_is_never_overdue() {
        assert_eq!(state("@reboot kdata db start", "20T09:00", &[], "25T09:00").0, State::Waiting);
        let runs = [("db start", run("21T09:00", Some(0)))];
        assert_eq!(state("@reboot kdata db start", "20T09:00", &runs, "25T09:00").0, State::Ok);
    }
}
