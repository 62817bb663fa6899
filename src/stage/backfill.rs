//! backfill: history in windows of sessions, each through the same stages as a day. What is promoted and final is
//! skipped, so the same command goes on after whatever stopped it; one window is promoted while the next is loaded.

use std::collections::HashSet;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use tokio_postgres::Client;

use super::block_on;
use super::extract;
use super::promote::Receipt;
use super::run::{promote_batch, run};
use super::validate::MaxRejects;
use crate::db::{Database, failed};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::source::{Job, Source};

/// Some sessions in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First session.
    pub from: NaiveDate,
    /// Last session.
    pub to: NaiveDate,
    /// How many of them are still to be promoted final.
    pub due: usize,
    /// The batch that holds them already, staged by a run that was stopped.
    pub staged: Option<i64>,
}

/// What became of a window.
#[derive(Debug)]
pub struct Outcome {
    /// Which one.
    pub window: Window,
    /// Its receipt, or why it is not in production.
    pub result: Result<Receipt>,
    /// From the first call to the receipt.
    pub took: Duration,
}

/// The windows of a range that hold sessions which are not yet promoted final.
pub async fn windows(client: &Client, job: &Job<'_>, source: Source, width: usize) -> Result<Vec<Window>> {
    let doing = failed("cannot read which sessions are there");
    let (dataset, source) = (job.dataset.name, source.name());
    let settled = client
        .query(include_str!("../../sql/report/settled.sql"), &[&dataset, &job.from, &job.to])
        .await
        .map_err(&doing)?;
    let settled: HashSet<NaiveDate> = settled.iter().map(|row| row.get(0)).collect();
    let staged = client
        .query(
            "SELECT from_time, to_time, batch_id FROM ops.batches WHERE state = 'staged' AND dataset = $1 AND source = $2 \
             AND names <> 'list' ORDER BY batch_id",
            &[&dataset, &source],
        )
        .await
        .map_err(&doing)?;
    let staged: Vec<(NaiveDate, NaiveDate, i64)> =
        staged.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let mut windows = Vec::new();
    for sessions in job.sessions().chunks(width) {
        let due: Vec<NaiveDate> =
            sessions.iter().copied().filter(|session| !settled.contains(session)).collect();
        if let (Some(from), Some(to)) = (due.first().copied(), due.last().copied()) {
            let held = staged.iter().rfind(|batch| (batch.0, batch.1) == (from, to));
            windows.push(Window { from, to, due: due.len(), staged: held.map(|batch| batch.2) });
        }
    }
    Ok(windows)
}

/// Keeps a second backfill of the dataset out, and the record of this one.
pub struct Ledger {
    client: Client,
    id: i64,
}

impl Ledger {
    /// Takes the dataset's lock, which goes with the connection; another backfill of it is told.
    pub async fn begin(database: &Database, job: &Job<'_>, source: Source, windows: usize) -> Result<Self> {
        let doing = failed("cannot record the backfill");
        let client = database.place.connect().await?;
        let dataset = job.dataset.name;
        let lock = "SELECT pg_try_advisory_lock(hashtext('kdata.backfill'), hashtext($1))";
        if !client.query_one(lock, &[&dataset]).await.map_err(&doing)?.get::<_, bool>(0) {
            return Err(Error::Locked {
                what: format!("another backfill of {dataset} is running"),
                help: "wait for it to end; it does the same, or asks the same source".into(),
            });
        }
        let windows = i32::try_from(windows).unwrap_or(i32::MAX);
        let row = client
            .query_one(
                "INSERT INTO ops.backfills (dataset, source, from_time, to_time, windows) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (dataset, source, from_time, to_time) DO UPDATE SET windows = $5, done = 0, held = 0, \
                 changed_at = clock_timestamp(), finished_at = NULL, problem = NULL RETURNING backfill_id",
                &[&dataset, &source.name(), &job.from, &job.to, &windows],
            )
            .await
            .map_err(&doing)?;
        Ok(Self { client, id: row.get(0) })
    }

    /// Records what became of a window.
    pub async fn note(&self, outcome: &Outcome) -> Result<()> {
        let column = match &outcome.result {
            Ok(_) => "done",
            Err(error) if is_held(error) => "held",
            Err(_) => return Ok(()),
        };
        let note = format!(
            "UPDATE ops.backfills SET {column} = {column} + 1, changed_at = clock_timestamp() WHERE backfill_id = $1"
        );
        self.client.execute(&note, &[&self.id]).await.map_err(failed("cannot record the window"))?;
        Ok(())
    }

    /// Records how it ended.
    pub async fn end(&self, outcome: &Result<()>) -> Result<()> {
        let problem = outcome.as_ref().err().map(ToString::to_string);
        self.client
            .execute(
                "UPDATE ops.backfills SET changed_at = clock_timestamp(), problem = $2, \
                 finished_at = CASE WHEN $2::text IS NULL THEN clock_timestamp() END WHERE backfill_id = $1",
                &[&self.id, &problem],
            )
            .await
            .map_err(failed("cannot record the end of the backfill"))?;
        Ok(())
    }
}

impl Outcome {
    /// Was it held by a gate, while others may be well?
    pub fn is_held(&self) -> bool {
        self.result.as_ref().is_err_and(is_held)
    }
}

fn is_held(error: &Error) -> bool {
    matches!(error, Error::Gate { .. } | Error::Refused { .. })
}

/// A window that is loaded, or failed to.
type Staged = (Window, Instant, Result<i64>);

/// Brings the windows in: `jobs` at a time are loaded, one is promoted. `tell` hears of each as it ends. What stops a
/// source stops the backfill; what a gate holds stays where it is, and the others go on.
pub fn backfill<'a>(
    database: &Database,
    source: Source,
    windows: &[Window],
    (jobs, settings): (usize, &Settings),
    job_of: impl Fn(&Window) -> Job<'a> + Sync,
    mut tell: impl FnMut(&Outcome) -> Result<()>,
) -> Result<()> {
    let queue = Mutex::new(windows.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (sender, loaded) = sync_channel::<Staged>(1);
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, job_of, next) = (sender.clone(), &job_of, &next);
            scope.spawn(move || {
                while let Some(window) = next() {
                    let begun = Instant::now();
                    let result = stage(database, source, window, job_of);
                    // The promoting side does not hang up: it drains what was loaded.
                    let _ = sender.send((*window, begun, result));
                }
            });
        }
        drop(sender);
        let (mut stopped, mut held) = (None, None);
        for (window, begun, staged) in loaded {
            let result = staged.and_then(|batch| promote_batch(database, batch, settings));
            let outcome = Outcome { window, result, took: begun.elapsed() };
            let mut failures = vec![tell(&outcome).err()];
            if outcome.is_held() {
                held = held.or(outcome.result.err());
            } else {
                failures.push(outcome.result.err());
            }
            for error in failures.into_iter().flatten() {
                // Whoever is left takes nothing more.
                while next().is_some() {}
                stopped.get_or_insert(error);
            }
        }
        stopped.or(held).map_or(Ok(()), Err)
    })
}

/// Loads a window, unless a batch of an earlier run holds it.
fn stage<'a>(
    database: &Database,
    source: Source,
    window: &Window,
    job_of: &(impl Fn(&Window) -> Job<'a> + Sync),
) -> Result<i64> {
    if let Some(batch) = window.staged {
        return Ok(batch);
    }
    let mut job = job_of(window);
    block_on(extract::know_names(source, &mut job, &database.place))?;
    run(source, &job, database, MaxRejects::Percent(1.0)).map(|loaded| loaded.batch)
}
