//! Floor 3: which commands ran, when, and how they ended. Kept in the state directory: many commands leave no row in the
//! database, and it may be the very thing that is down.
//!
//! A command is written down when it begins and when it ends, so that one that was killed shows as what it is.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::state::Document;

/// What did not run for so long is forgotten: a line that fires once a year is not.
const FORGOTTEN: TimeDelta = TimeDelta::days(400);
/// So many jobs are kept: those that a crontab names, and of the others the newest.
const KEPT: usize = 300;
/// A name with thousands of codes in it is cut here, in bytes.
const LONGEST: usize = 500;

/// The words that say what is run, without those that say how it talks.
pub fn name(words: impl IntoIterator<Item = String>) -> String {
    let mut words = words.into_iter();
    let mut name = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-q" | "--quiet" => {}
            "--log-format" => drop(words.next()),
            other if other.starts_with("--log-format=") => {}
            _ => name.push(word),
        }
    }
    name.join(" ")
}

fn cut(name: &str) -> &str {
    let end = (0..=LONGEST.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    &name[..end.unwrap_or_default()]
}

/// One run of a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None`: it runs, or was killed.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its exit code, once it ended.
    pub exit_code: Option<u8>,
    /// The number of its process.
    pub process: u32,
}

impl Run {
    /// It did not end, and nothing runs any more: it was killed, or the machine went down.
    pub fn is_cut_off(&self) -> bool {
        let name = |process: &str| std::fs::read_to_string(format!("/proc/{process}/comm")).ok();
        // Numbers of processes come again: one of another program is another process.
        self.ended_at.is_none()
            && name("self").is_some_and(|own| name(&self.process.to_string()) != Some(own))
    }
}

/// The last runs of a job: a run by hand must not hide whether cron runs it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Nobody watched.
    pub unattended: Option<Run>,
    /// Somebody sat at a terminal.
    pub by_hand: Option<Run>,
}

impl Job {
    fn place(&mut self, by_hand: bool) -> &mut Option<Run> {
        if by_hand { &mut self.by_hand } else { &mut self.unattended }
    }

    fn last(&self) -> Option<DateTime<Utc>> {
        let runs = [&self.unattended, &self.by_hand];
        runs.into_iter().flatten().map(|run| run.started_at).max()
    }
}

/// What a crontab tells of a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Its words, as far as they can be known.
    pub words: String,
    /// These are all: none stands behind them that only a shell can tell.
    pub is_whole: bool,
}

impl Call {
    /// May this be the job of that name?
    pub fn is_of(&self, name: &str) -> bool {
        match name.strip_prefix(cut(&self.words)) {
            None => false,
            Some("") => true,
            Some(rest) => !self.is_whole && (self.words.is_empty() || rest.starts_with(' ')),
        }
    }
}

/// A line of a crontab that a check has seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// When it was seen first: it cannot have run before it was installed.
    pub first: DateTime<Utc>,
    /// When it was seen last.
    pub last: DateTime<Utc>,
    /// What it runs.
    pub calls: Vec<Call>,
}

/// What stands in the state directory.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Book {
    /// The jobs by their names.
    #[serde(default)]
    pub jobs: BTreeMap<String, Job>,
    /// Lines of crontabs: their schedules and commands.
    #[serde(default)]
    pub lines: BTreeMap<String, Seen>,
}

impl Book {
    /// The last runs of a call, by whatever name.
    pub fn last(&self, call: &Call) -> Job {
        let mut last = Job::default();
        for (_, job) in self.jobs.iter().filter(|(name, _)| call.is_of(name)) {
            for by_hand in [false, true] {
                // Whoever looks is no run of a call that could be anything.
                let is_other = |run: &Run| call.is_whole || run.process != std::process::id();
                let run = job.clone().place(by_hand).take().filter(is_other);
                let place = last.place(by_hand);
                if run.as_ref().map(|run| run.started_at) > place.as_ref().map(|run| run.started_at) {
                    *place = run;
                }
            }
        }
        last
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        self.jobs.retain(|_, job| job.last().is_some_and(|last| now - last < FORGOTTEN));
        self.lines.retain(|_, line| now - line.last < FORGOTTEN);
        let surplus = self.jobs.len().saturating_sub(KEPT);
        if surplus == 0 {
            return;
        }
        let calls: Vec<&Call> = self.lines.values().flat_map(|line| &line.calls).collect();
        let is_named = |name: &str| calls.iter().any(|call| call.is_whole && call.is_of(name));
        let mut others: Vec<(Option<DateTime<Utc>>, String)> = self
            .jobs
            .iter()
            .filter(|(name, _)| !is_named(name))
            .map(|(name, job)| (job.last(), name.clone()))
            .collect();
        others.sort();
        for (_, name) in others.into_iter().take(surplus) {
            self.jobs.remove(&name);
        }
    }
}

/// The jobs of one state directory.
#[derive(Clone, Debug)]
pub struct Jobs {
    book: Document<Book>,
}

impl Jobs {
    /// The jobs in the state directory.
    pub fn new(state: &Path) -> Self {
        Self { book: Document::new(state.join("jobs")) }
    }

    /// What stands there, only looked at.
    pub fn book(&self) -> Book {
        self.book.look()
    }

    /// This process begins a job.
    pub fn begin(&self, name: &str, by_hand: bool, now: DateTime<Utc>) -> Result<()> {
        let run = Run { started_at: now, ended_at: None, exit_code: None, process: std::process::id() };
        self.book.change(|book| {
            book.forget(now);
            *book.jobs.entry(cut(name).to_owned()).or_default().place(by_hand) = Some(run);
        })
    }

    /// It ended.
    pub fn end(&self, name: &str, by_hand: bool, exit_code: u8, now: DateTime<Utc>) -> Result<()> {
        self.book.change(|book| {
            let run = book.jobs.get_mut(cut(name)).and_then(|job| job.place(by_hand).as_mut());
            // Another one began the same meanwhile: it is the last.
            if let Some(run) = run.filter(|run| run.process == std::process::id()) {
                (run.ended_at, run.exit_code) = (Some(now), Some(exit_code));
            }
        })
    }

    /// A check sees lines: notes which of them are new, and returns what stands there then.
    pub fn see(&self, lines: impl Iterator<Item = (String, Vec<Call>)>, now: DateTime<Utc>) -> Result<Book> {
        self.book.change(|book| {
            for (line, calls) in lines {
                let seen = book.lines.entry(line).or_insert(Seen { first: now, last: now, calls });
                seen.last = now;
            }
            book.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-{text}:00Z").parse().unwrap()
    }

    fn call(words: &str, is_whole: bool) -> Call {
        Call { words: words.to_owned(), is_whole }
    }

    #[test]
    fn how_it_talks_is_not_what_it_does() {
        let name = |words: &str| name(words.split(' ').map(ToOwned::to_owned));
        for words in [
            "-q run ohlcv --due",
            "run -q ohlcv --due",
            "run ohlcv --due --quiet",
            "--log-format json run ohlcv --due",
            "run ohlcv --log-format=json --due",
        ] {
            assert_eq!(name(words), "run ohlcv --due");
        }
    }

    #[test]
    fn beginnings_and_ends_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(folder.path());
        assert_eq!(jobs.book().last(&call("doctor", true)), Job::default());
        jobs.begin("doctor", false, at("20T10:00")).unwrap();
        let run = jobs.book().last(&call("doctor", true)).unattended.unwrap();
        assert_eq!((run.started_at, run.ended_at, run.is_cut_off()), (at("20T10:00"), None, false));
        jobs.end("doctor", false, 2, at("20T10:01")).unwrap();
        jobs.begin("doctor", true, at("20T11:00")).unwrap();
        let job = jobs.book().last(&call("doctor", true));
        let run = job.unattended.unwrap();
        assert_eq!((run.ended_at, run.exit_code), (Some(at("20T10:01")), Some(2)));
        assert_eq!(job.by_hand.unwrap().started_at, at("20T11:00"));
        // One that was killed: no process has a number like this.
        let gone = Run { ended_at: None, process: u32::MAX, ..run };
        assert!(gone.is_cut_off());
        // The end of one does not end another that began the same.
        jobs.book
            .change(|book| book.jobs.get_mut("doctor").unwrap().unattended = Some(gone.clone()))
            .unwrap();
        jobs.end("doctor", false, 0, at("20T12:00")).unwrap();
        assert_eq!(jobs.book().last(&call("doctor", true)).unattended, Some(gone));
    }

    #[test]
    fn what_only_a_shell_can_tell_is_not_compared() {
        let long = "x".repeat(LONGEST + 100);
        for (words, is_whole, name, is) in [
            ("run ohlcv", true, "run ohlcv", true),
            ("run ohlcv", true, "run ohlcv --due", false),
            ("run ohlcv", true, "run ohlcv-minute", false),
            ("run ohlcv", false, "run ohlcv --date 2026-11-20", true),
            ("run ohlcv", false, "run ohlcv", true),
            ("run ohlcv", false, "run ohlcv-minute --due", false),
            ("", false, "doctor", true),
            ("", true, "doctor", false),
            (long.as_str(), true, &long[..LONGEST], true),
        ] {
            assert_eq!(call(words, is_whole).is_of(name), is, "{words} {is_whole} {name}");
        }
    }

    #[test]
    fn the_book_is_bounded_but_what_a_crontab_names_stays() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(folder.path());
        jobs.begin("db verify", false, at("01T10:00")).unwrap();
        let line = ("0 10 * * 6 kdata db verify".to_owned(), vec![call("db verify", true)]);
        jobs.see([line].into_iter(), at("01T11:00")).unwrap();
        jobs.begin("doctor", false, at("01T10:00")).unwrap();
        jobs.book
            .change(|book| {
                let job = book.jobs["doctor"].clone();
                book.jobs.extend((0..KEPT).map(|n| (format!("extract {n}"), job.clone())));
            })
            .unwrap();
        jobs.begin("status", false, at("02T10:00")).unwrap();
        jobs.begin("load", false, at("02T10:00")).unwrap();
        let book = jobs.book();
        assert!(book.jobs.len() <= KEPT + 1, "{}", book.jobs.len());
        assert!(book.jobs.contains_key("db verify") && book.jobs.contains_key("status"));
        // What nobody runs any more is forgotten.
        jobs.begin("load", false, at("02T10:00") + FORGOTTEN).unwrap();
        assert_eq!((jobs.book().jobs.len(), jobs.book().lines.len()), (1, 0));
    }
}
