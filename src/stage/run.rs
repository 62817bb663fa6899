//! run: the stages in one process, connected by the same pipes and streams as in a shell.

use std::io::pipe;
use std::thread;

use super::extract::extract;
use super::load::{Loaded, load};
use super::promote::{self, Options, Receipt};
use super::validate::{MaxRejects, validate};
use crate::db::ledger::About;
use crate::db::{Database, storage};
use crate::error::{Error, Result};
use crate::market::kst_date;
use crate::settings::Settings;
use crate::source::{Job, Source};

/// Brings what a job asks for into staging. What failed first is what is told: each stage passes it on.
pub fn run(source: Source, job: &Job<'_>, database: &Database, limit: MaxRejects) -> Result<Loaded> {
    let no_pipe = |e| Error::io("cannot make a pipe", e);
    let (extracted, to_validate) = pipe().map_err(no_pipe)?;
    let (validated, to_load) = pipe().map_err(no_pipe)?;
    thread::scope(|scope| {
        let extracting = scope.spawn(|| super::block_on(extract(source, job, to_validate)));
        let today = kst_date(job.now);
        let validating = scope.spawn(move || validate(extracted, to_load, job.calendar, today, limit));
        let loaded = super::block_on(async {
            let (client, ledger) = (database.place.connect().await?, database.place.connect().await?);
            let about = About {
                extract_run: Some(&job.run),
                dataset: Some(job.dataset),
                source: Some(source.name()),
                range: Some((job.from, job.to)),
                batch: None,
            };
            load(validated, client, ledger, database.kind, about).await
        });
        let extracted = extracting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let validated = validating.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A stage whose reader hung up has nothing to tell; the reader has.
        for first in [extracted.map(|_| ()), validated.map(|_| ())] {
            match first {
                Ok(()) | Err(Error::ClosedOutput | Error::Upstream { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        loaded
    })
}

/// The same, and from staging into production.
pub fn bring(source: Source, job: &Job<'_>, database: &Database, limit: MaxRejects) -> Result<Receipt> {
    let batch = run(source, job, database, limit)?.batch;
    promote_batch(database, batch, job.settings)
}

/// Promotes one staged batch.
pub fn promote_batch(database: &Database, batch: i64, settings: &Settings) -> Result<Receipt> {
    super::block_on(async {
        let staged = promote::staged(&database.place.connect().await?, Some(batch), settings).await?;
        let [batch] = staged.as_slice() else { unreachable!("one batch was asked for") };
        promote::discard_refused(&database.place, batch).await?;
        let receipt = promote::promote(&database.place, batch, Options::default()).await?;
        storage::refresh_rollups_or_wait(&database.place).await;
        Ok(receipt)
    })
}
