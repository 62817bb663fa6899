//! What becomes of a run that nobody watches: the one place that maps its end to an alert, and pings a dead man's switch.
//! Every run is written down, so that `kdata cron check` can tell what did not run.
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
use crate::jobs::{self, Jobs};
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
    watched("status"),
    watched("cron check"),
];

/// A shell asks for it at each press of a key.
const NOT_WRITTEN_DOWN: &str = "complete";

/// Ends that are no failure: done, and not published yet (the next line asks again); Ctrl-C is a person's.
fn is_failure(code: u8) -> bool {
    !matches!(code, 0 | 9 | 130)
}

/// A run under way.
pub(super) struct Run<'a> {
    context: &'a Context,
    job: String,
    started: Instant,
    unattended: bool,
    jobs: Jobs,
    watch: Option<Watch>,
}

/// What a run has that is watched.
struct Watch {
    of: &'static Watched,
    alerts: Alerts,
    /// Pings that it began.
    start: Option<std::thread::JoinHandle<Outcome>>,
}

impl<'a> Run<'a> {
    /// A run begins; `None` where nothing is to be kept of it.
    pub(super) fn begin(words: impl IntoIterator<Item = String>, context: &'a Context) -> Option<Self> {
        let job = jobs::name(words);
        let begins = |command: &str| job == command || job.starts_with(&format!("{command} "));
        if begins(NOT_WRITTEN_DOWN) {
            return None;
        }
        let state = home(&context.settings).ok()?;
        let unattended = !printer::stderr_is_terminal();
        // Who only looks around on a machine gets no folder for it.
        if !unattended && !state.exists() {
            return None;
        }
        let jobs = Jobs::new(&state);
        written(jobs.begin(&job, !unattended, context.now));
        let of = WATCHED.iter().find(|watched| unattended && begins(watched.command));
        let watch = of.map(|of| {
            let pings = of.pings && context.settings.alerts.ping.is_some();
            let start = pings.then(|| {
                let settings = context.settings.clone();
                std::thread::spawn(move || alert::ping(Ping::Start, &settings))
            });
            Watch { of, alerts: Alerts::new(&state, context.settings.alerts.window), start }
        });
        Some(Self { context, job, started: Instant::now(), unattended, jobs, watch })
    }

    /// It has ended. Never fails: what goes wrong with telling is told on stderr.
    pub(super) fn end(self, outcome: &Result<()>) {
        let Self { context, job, started, unattended, jobs, watch } = self;
        let code = outcome.as_ref().err().map_or(0, Error::exit_code);
        let passed = TimeDelta::from_std(started.elapsed()).unwrap_or_default();
        let now = context.now + passed;
        written(jobs.end(&job, !unattended, code, now));
        let Some(watch) = watch else { return };
        if context.settings.alerts.is_set() {
            let mut new = Vec::new();
            if let Some(alert) = watch.alert(&job, outcome, code, (context.now, now)) {
                let channels = Channel::of(&context.settings.alerts);
                let why = "its run ended before it was told".to_owned();
                new.extend(channels.into_iter().map(|to| Waiting {
                    alert: alert.clone(),
                    to,
                    why: why.clone(),
                }));
            }
            deliver(new, &watch.alerts, context);
        }
        // Its beginning must not arrive after its end.
        if let Some(start) = watch.start {
            let began = start.join().unwrap_or_else(|_| Err("it failed".to_owned()));
            let ended =
                alert::ping(if is_failure(code) { Ping::Fail } else { Ping::Success }, &context.settings);
            if let Err(why) = began.and(ended) {
                context.printer.warning(format!("KDATA_PING_URL was not told: {why}"));
            }
        }
    }
}

/// That a run could not be written down (the disk is full) is no matter of the run: `kdata cron check` misses it then.
fn written(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::info!("{error}");
    }
}

impl Watch {
    /// What is to be told of its end.
    fn alert(
        &self,
        job: &str,
        outcome: &Result<()>,
        code: u8,
        (began, now): (DateTime<Utc>, DateTime<Utc>),
    ) -> Option<Alert> {
        match outcome {
            Err(error) if is_failure(code) => {
                let message = error.to_string();
                // By when it began: cron starts a job at its minute, and how long it takes differs.
                let is_new = self.alerts.failed(job, code, &message, began);
                is_new.then(|| failed(job, error, now))
            }
            Ok(()) if self.of.recovers => {
                let over = self.alerts.recovered(job);
                (!over.is_empty()).then(|| {
                    let since = over.iter().map(|problem| problem.since).min().unwrap_or(now);
                    recovered(job, over.iter().map(|problem| problem.times).sum(), since, now)
                })
            }
            _ => None,
        }
    }
}

/// Delivers what is new, and what waits since earlier runs.
fn deliver(new: Vec<Waiting>, alerts: &Alerts, context: &Context) {
    let mut due = alerts.book().waiting;
    due.extend(new.iter().cloned());
    if due.is_empty() {
        return;
    }
    let kept = if new.is_empty() { Ok(()) } else { alerts.keep(new) };
    let what: Vec<(Alert, Channel)> = due.iter().map(|one| (one.alert.clone(), one.to)).collect();
    let outcomes = alert::send(&what, &context.settings);
    let tried: Vec<(Waiting, Outcome)> = due.into_iter().zip(outcomes).collect();
    for (Waiting { alert, to, .. }, outcome) in &tried {
        if let Err(why) = outcome {
            context.printer.warning(format!(
                "{} was not told of `kdata {}`: {why}; the next run tries again",
                to.setting(),
                alert.job
            ));
        }
    }
    if let Err(error) = kept.and(alerts.tried(&tried)) {
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
