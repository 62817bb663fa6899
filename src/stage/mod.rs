//! Floor 4: the stages, functions from input to output. They know nothing of the command line.

pub mod backfill;
pub mod calendar;
pub mod cron;
pub mod doctor;
pub mod extract;
pub mod kept;
pub mod load;
pub mod promote;
pub mod report;
pub mod rollback;
pub mod run;
pub mod status;
pub mod validate;

use crate::error::{Error, Result};

/// Runs what waits for the network or the database.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("cannot start the runtime", e))?
        .block_on(future)
}
