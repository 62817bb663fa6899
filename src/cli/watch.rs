//! What becomes of a run that nobody watches: the one place that maps its end to an alert, and pings a dead man's switch.
//!
//! Nobody watches where stderr is no terminal: cron, systemd, a script in the background. Who sits at a terminal sees the
//! error, and is not told a second time.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::language::{fill, say};
use super::{Context, printer};
use crate::alert::{self, Alert, Alerts, Channel, Event, Outcome, Ping, Waiting};
use crate::db::cluster::home;
use crate::error::{EXIT_CODES, Error, Result};
use crate::market::kst;

/// A command that is meant to run unattended.
struct Watched {
    /// The words that it begins with.
    command: &'static str,
    /// Its success means that what failed before is over. A `load` that goes well says nothing of another dataset's.
    recovers: bool,
    /// It is a sign of life.
    pings: bool,
}

const fn watched(command: &'static str) -> Watched {
    Watched { command, recovers: true, pings: false }
}

/// `extract` and `validate` are not among them: what fails there is passed on through the pipe, and `load` tells it.
static WATCHED: &[Watched] = &[
    Watched { recovers: false, ..watched("load") },
    Watched { pings: true, ..watched("promote") },
    Watched { pings: true, ..watched("run") },
    watched("backfill"),
    watched("db backup"),
    watched("db verify"),
    watched("db compress"),
    watched("report"),
    watched("calendar check"),
    watched("doctor"),
];

/// Ends that are no failure: done, and not published yet (the next line asks again); Ctrl-C is a person's.
fn is_failure(code: u8) -> bool {
    !matches!(code, 0 | 9 | 130)
}

/// The words that say what is run, without those that say how it talks.
pub(super) fn job(words: impl IntoIterator<Item = String>) -> String {
    let mut words = words.into_iter();
    let mut job = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-q" | "--quiet" => {}
            "--log-format" => drop(words.next()),
            other if other.starts_with("--log-format=") => {}
            _ => job.push(word),
        }
    }
    job.join(" ")
}

/// A run that is watched.
pub(super) struct Watch<'a> {
    context: &'a Context,
    job: String,
    of: &'static Watched,
    started: Instant,
    unattended: bool,
    alerts: Alerts,
    /// Pings that it began.
    start: Option<std::thread::JoinHandle<Outcome>>,
}

impl<'a> Watch<'a> {
    /// A run begins; `None` where it is not one to watch.
    pub(super) fn begin(words: impl IntoIterator<Item = String>, context: &'a Context) -> Option<Self> {
        let job = job(words);
        let begins = |command: &str| job == command || job.starts_with(&format!("{command} "));
        let of = WATCHED.iter().find(|watched| begins(watched.command))?;
        let state = home(&context.settings).ok()?;
        let unattended = !printer::stderr_is_terminal();
        let pings = unattended && of.pings && context.settings.alerts.ping.is_some();
        let start = pings.then(|| {
            let settings = context.settings.clone();
            std::thread::spawn(move || alert::ping(Ping::Start, &settings))
        });
        let alerts = Alerts::new(&state, context.settings.alerts.window);
        Some(Self { context, job, of, started: Instant::now(), unattended, alerts, start })
    }

    /// It has ended. Never fails: what goes wrong with telling is told on stderr.
    pub(super) fn end(self, outcome: &Result<()>) {
        let code = outcome.as_ref().err().map_or(0, Error::exit_code);
        let passed = TimeDelta::from_std(self.started.elapsed()).unwrap_or_default();
        let now = self.context.now + passed;
        if !self.unattended {
            return;
        }
        if self.context.settings.alerts.is_set() {
            let mut due: Vec<(Alert, Channel)> =
                self.alerts.take_waiting().into_iter().map(|waiting| (waiting.alert, waiting.to)).collect();
            if let Some(alert) = self.alert(outcome, code, now) {
                due.extend(
                    Channel::of(&self.context.settings.alerts).into_iter().map(|to| (alert.clone(), to)),
                );
            }
            deliver(due, &self.alerts, self.context);
        }
        // Its beginning must not arrive after its end.
        if let Some(start) = self.start {
            let began = start.join().unwrap_or_else(|_| Err("it failed".to_owned()));
            let ended = alert::ping(
                if is_failure(code) { Ping::Fail } else { Ping::Success },
                &self.context.settings,
            );
            if let Err(why) = began.and(ended) {
                self.context.printer.warning(format!("KDATA_PING_URL was not told: {why}"));
            }
        }
    }

    /// What is to be told of its end.
    fn alert(&self, outcome: &Result<()>, code: u8, now: DateTime<Utc>) -> Option<Alert> {
        match outcome {
            Err(error) if is_failure(code) => {
                let message = error.to_string();
                // By when it began: cron starts a job at its minute, and how long it takes differs.
                let is_new = self.alerts.failed(&self.job, code, &message, self.context.now);
                is_new.then(|| failed(&self.job, error, now))
            }
            Ok(()) if self.of.recovers => {
                let over = self.alerts.recovered(&self.job);
                (!over.is_empty()).then(|| {
                    let since = over.iter().map(|problem| problem.since).min().unwrap_or(now);
                    recovered(&self.job, over.iter().map(|problem| problem.times).sum(), since, now)
                })
            }
            _ => None,
        }
    }
}

fn deliver(due: Vec<(Alert, Channel)>, alerts: &Alerts, context: &Context) {
    if due.is_empty() {
        return;
    }
    let outcomes = alert::send(&due, &context.settings);
    let mut waiting = Vec::new();
    for ((alert, to), outcome) in due.into_iter().zip(outcomes) {
        if let Err(why) = outcome {
            context.printer.warning(format!(
                "{} was not told of `kdata {}`: {why}; the next run tries again",
                to.setting(),
                alert.job
            ));
            waiting.push(Waiting { alert, to, why });
        }
    }
    if waiting.is_empty() {
        return;
    }
    if let Err(error) = alerts.keep(waiting) {
        context.printer.warning(format!("what was not told is not kept: {error}"));
    }
}

/// What is told of a failure.
fn failed(job: &str, error: &Error, now: DateTime<Utc>) -> Alert {
    use miette::Diagnostic;
    let code = error.exit_code();
    let meaning = EXIT_CODES.iter().find(|(known, _)| *known == code).map_or("", |(_, meaning)| meaning);
    let (message, help) = (error.to_string(), error.help().map_or_else(String::new, |help| help.to_string()));
    let mut alert =
        Alert { meaning: say(meaning).to_owned(), message, help, ..about(job, Event::Failed, code, now) };
    let number = code.to_string();
    let head = fill("FAILED: `kdata {job}` on {host}", &[("job", job), ("host", &alert.host)]);
    let mut lines = vec![head, alert.message.clone()];
    if !alert.help.is_empty() {
        lines.push(format!("→ {}", alert.help));
    }
    lines.push(fill("exit code {code}: {meaning}", &[("code", &number), ("meaning", &alert.meaning)]));
    lines.push(at(now));
    alert.text = lines.join("\n");
    alert
}

/// What is told when it is over.
fn recovered(job: &str, times: u64, since: DateTime<Utc>, now: DateTime<Utc>) -> Alert {
    let mut alert = about(job, Event::Recovered, 0, now);
    let head = fill("all is well again: `kdata {job}` on {host}", &[("job", job), ("host", &alert.host)]);
    let times = times.to_string();
    alert.message = fill("it failed {n} times since {time}", &[("n", &times), ("time", &at(since))]);
    alert.text = format!("{head}\n{}\n{}", alert.message, at(now));
    alert
}

/// An alert that somebody tries.
pub(super) fn test(now: DateTime<Utc>) -> Alert {
    let mut alert = about("alert test", Event::Test, 0, now);
    alert.message = fill("a test of {host}: alerts arrive (시험 알림)", &[("host", &alert.host)]);
    alert.text = format!("kdata: {}\n{}", alert.message, at(now));
    alert
}

fn about(job: &str, event: Event, exit_code: u8, now: DateTime<Utc>) -> Alert {
    Alert {
        schema_version: alert::SCHEMA_VERSION,
        event,
        host: alert::host(),
        job: job.to_owned(),
        at: now.with_timezone(&kst()),
        exit_code,
        meaning: String::new(),
        message: String::new(),
        help: String::new(),
        text: String::new(),
    }
}

fn at(time: DateTime<Utc>) -> String {
    time.with_timezone(&kst()).format("%F %H:%M KST").to_string()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn how_it_talks_is_not_what_it_does() {
        let job = |words: &str| job(words.split(' ').map(ToOwned::to_owned));
        for words in [
            "-q run ohlcv --due",
            "run -q ohlcv --due",
            "run ohlcv --due --quiet",
            "--log-format json run ohlcv --due",
            "run ohlcv --log-format=json --due",
        ] {
            assert_eq!(job(words), "run ohlcv --due");
        }
    }

    #[test]
    fn what_is_watched_is_there() {
        for watched in WATCHED {
            let whole = super::super::Cli::command();
            let mut command = &whole;
            for word in watched.command.split(' ') {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("{}", watched.command));
            }
        }
    }

    #[test]
    fn an_alert_tells_what_happened_and_what_to_do() {
        let now = "2026-11-20T10:10:00Z".parse().unwrap();
        let error = Error::Gate { what: "batch 12: 삼성전자 3 %".into(), help: "look".into() };
        let alert = failed("run ohlcv --due", &error, now);
        for part in
            ["run ohlcv --due", "삼성전자 3 %", "→ look", "exit code 3: a data gate", "2026-11-20 19:10 KST"]
        {
            assert!(alert.text.contains(part), "{part}: {}", alert.text);
        }
        let since = "2026-11-19T10:10:00Z".parse().unwrap();
        let over = recovered("run ohlcv --due", 2, since, now);
        assert!(over.text.contains("failed 2 times since 2026-11-19 19:10 KST"), "{}", over.text);
    }
}
