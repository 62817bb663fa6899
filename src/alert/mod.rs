//! Floor 3: who is told that an unattended run failed: a webhook, a command, a dead man's switch.
//!
//! What was told, and what could not be delivered, is kept in the state directory: the database may be the very thing that
//! is down. The same failure of the same job is told once within a window, and once when the job ends well again. Telling
//! takes a few seconds at most and never fails a run.

mod send;

use std::path::Path;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use send::{Channel, Outcome, Ping, ping, send};

use crate::error::Result;
use crate::state::Document;

/// The version of what a webhook and a command get.
pub const SCHEMA_VERSION: u32 = 1;
/// What failed so long ago and never ended well is forgotten: nobody runs it any more.
const FORGOTTEN: TimeDelta = TimeDelta::days(30);
/// So many undelivered alerts are kept, the newest.
const WAITING: usize = 50;

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A job failed.
    Failed,
    /// It ended well again.
    Recovered,
    /// A person tries whether alerts arrive.
    Test,
}

/// What is told. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What it is about.
    pub event: Event,
    /// The machine.
    pub host: String,
    /// The command line without `kdata`.
    pub job: String,
    /// When, KST.
    pub at: DateTime<FixedOffset>,
    /// The exit code, and what it means.
    pub exit_code: u8,
    /// The exit code's meaning.
    pub meaning: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub help: String,
    /// All of it for people, in their language.
    pub text: String,
}

/// A job that fails.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The command line without `kdata`.
    pub job: String,
    /// Its exit code.
    pub exit_code: u8,
    /// What happened, the last time.
    pub message: String,
    /// When it failed first.
    pub since: DateTime<Utc>,
    /// When that was told last.
    pub told: DateTime<Utc>,
    /// How often it failed since.
    pub times: u64,
}

impl Problem {
    /// The same failure? Counts and times differ from run to run.
    fn is_like(&self, job: &str, exit_code: u8, message: &str) -> bool {
        self.job == job && self.exit_code == exit_code && shape(&self.message) == shape(message)
    }
}

/// A message without its numbers: `3.1 %` and `12 %` are alike, and so are two times of day.
fn shape(message: &str) -> String {
    let mut shape = String::with_capacity(message.len());
    let mut chars = message.chars().peekable();
    while let Some(c) = chars.next() {
        let is_digit = c.is_ascii_digit();
        let joins =
            matches!(c, '.' | ',') && shape.ends_with('#') && chars.peek().is_some_and(char::is_ascii_digit);
        match is_digit || joins {
            false => shape.push(c),
            true if !shape.ends_with('#') => shape.push('#'),
            true => {}
        }
    }
    shape
}

/// An alert that somebody did not get yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// What is told.
    pub alert: Alert,
    /// To whom.
    pub to: Channel,
    /// Why it did not arrive, the last time.
    pub why: String,
}

/// What stands in the state directory.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Book {
    /// Jobs that fail.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// What was not delivered.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
}

impl Book {
    /// A job failed: is that to be told?
    fn failed(
        &mut self,
        job: &str,
        exit_code: u8,
        message: &str,
        now: DateTime<Utc>,
        window: TimeDelta,
    ) -> bool {
        self.problems.retain(|problem| now - problem.told < FORGOTTEN.max(window));
        let known = self.problems.iter_mut().find(|problem| problem.is_like(job, exit_code, message));
        let Some(problem) = known else {
            let (job, message) = (job.to_owned(), message.to_owned());
            self.problems.push(Problem { job, exit_code, message, since: now, told: now, times: 1 });
            return true;
        };
        problem.times += 1;
        message.clone_into(&mut problem.message);
        // A clock that was set back must not silence it for longer.
        let is_due = (now - problem.told).abs() >= window;
        if is_due {
            problem.told = now;
        }
        is_due
    }

    /// A job ended well: what is over by that.
    fn recovered(&mut self, job: &str) -> Vec<Problem> {
        self.problems.extract_if(.., |problem| problem.job == job).collect()
    }
}

/// The alerts of one state directory.
#[derive(Clone, Debug)]
pub struct Alerts {
    book: Document<Book>,
    window: TimeDelta,
}

impl Alerts {
    /// The alerts in the state directory; the same failure is told once within the window.
    pub fn new(state: &Path, window: std::time::Duration) -> Self {
        let window = TimeDelta::from_std(window).unwrap_or(FORGOTTEN);
        Self { book: Document::new(state.join("alerts")), window }
    }

    /// What stands there, only looked at.
    pub fn book(&self) -> Book {
        self.book.look()
    }

    /// A job failed: is that to be told? Where the state directory cannot be written (the disk is full) it is.
    pub fn failed(&self, job: &str, exit_code: u8, message: &str, now: DateTime<Utc>) -> bool {
        let kept = self.book.change(|book| book.failed(job, exit_code, message, now, self.window));
        kept.unwrap_or_else(|error| {
            tracing::warn!("alerts: {error}");
            true
        })
    }

    /// A job ended well: what is over by that.
    pub fn recovered(&self, job: &str) -> Vec<Problem> {
        // Most runs end well after runs that did: nothing is written then.
        if !self.book().problems.iter().any(|problem| problem.job == job) {
            return Vec::new();
        }
        self.book.change(|book| book.recovered(job)).unwrap_or_else(|error| {
            tracing::warn!("alerts: {error}");
            Vec::new()
        })
    }

    /// Keeps what is to be delivered, before it is: who is killed meanwhile has it told by the next run.
    pub fn keep(&self, waiting: Vec<Waiting>) -> Result<()> {
        self.book.change(|book| {
            book.waiting.extend(waiting);
            let surplus = book.waiting.len().saturating_sub(WAITING);
            book.waiting.drain(..surplus);
        })
    }

    /// What was tried has been delivered, or was not for a reason.
    pub fn tried(&self, tried: &[(Waiting, Outcome)]) -> Result<()> {
        self.book.change(|book| {
            book.waiting.retain_mut(|waiting| {
                let is_same = |one: &Waiting| one.alert == waiting.alert && one.to == waiting.to;
                match tried.iter().find(|(one, _)| is_same(one)) {
                    Some((_, Ok(()))) => false,
                    Some((_, Err(why))) => {
                        why.clone_into(&mut waiting.why);
                        true
                    }
                    None => true,
                }
            });
        })
    }
}

/// The machine's name, for people who have several.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "?".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_failure_is_told_once_within_the_window() {
        let mut book = Book::default();
        let mut failed = |job: &str, code, message: &str, hour: &str| {
            let now = at(&format!("2026-11-{hour}:00Z"));
            book.failed(job, code, message, now, TimeDelta::hours(12))
        };
        assert!(failed("run ohlcv --due", 3, "batch 12: 3.1 % of KOSPI is missing", "20T10:00"));
        assert!(!failed("run ohlcv --due", 3, "batch 13: 12 % of KOSPI is missing", "20T21:59"));
        // Another dataset, another code, another problem.
        assert!(failed("run stocks --due", 3, "batch 12: 3.1 % of KOSPI is missing", "20T10:00"));
        assert!(failed("run ohlcv --due", 4, "batch 12: 3.1 % of KOSPI is missing", "20T10:00"));
        assert!(failed("run ohlcv --due", 3, "batch 14: 1 % of KOSDAQ is missing", "20T22:00"));
        assert!(failed("run ohlcv --due", 3, "batch 15: 2 % of KOSPI is missing", "20T22:00"));
        assert_eq!(book.problems.len(), 4);
        assert_eq!(book.problems[0].times, 3);
        let over = book.recovered("run ohlcv --due");
        assert_eq!(over.len(), 3);
        assert_eq!(over[0].since, at("2026-11-20T10:00:00Z"));
        assert!(book.recovered("run ohlcv --due").is_empty());
        // What nobody runs any more is forgotten.
        book.failed("x", 1, "y", at("2027-01-01T00:00:00Z"), TimeDelta::hours(12));
        assert_eq!(book.problems.len(), 1);
    }

    #[test]
    fn a_state_directory_that_cannot_be_written_silences_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("alerts"), "a file in its place").unwrap();
        let alerts = Alerts::new(folder.path(), std::time::Duration::from_secs(3600));
        for _ in 0..2 {
            assert!(alerts.failed("run ohlcv", 1, "the disk is full", at("2026-11-20T10:00:00Z")));
        }
        assert!(alerts.recovered("run ohlcv").is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let alerts = Alerts::new(folder.path(), std::time::Duration::from_secs(3600));
        let waiting = |n: usize| Waiting {
            alert: Alert {
                schema_version: SCHEMA_VERSION,
                event: Event::Failed,
                host: "h".into(),
                job: n.to_string(),
                at: at("2026-11-20T10:00:00Z").into(),
                exit_code: 4,
                meaning: String::new(),
                message: "수신 실패".into(),
                help: String::new(),
                text: String::new(),
            },
            to: Channel::Webhook,
            why: "it answered 500".into(),
        };
        alerts.keep((0..WAITING + 3).map(waiting).collect()).unwrap();
        let kept = alerts.book().waiting;
        assert_eq!((kept.len(), kept[0].alert.job.as_str()), (WAITING, "3"));
        let tried: Vec<_> = kept.into_iter().map(|one| (one, Ok(()))).collect();
        alerts.tried(&tried[1..]).unwrap();
        alerts.tried(&[(tried[0].0.clone(), Err("it answered 503".into()))]).unwrap();
        let left = alerts.book().waiting;
        assert_eq!((left.len(), left[0].why.as_str()), (1, "it answered 503"));
    }
}
