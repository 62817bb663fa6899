//! The tables of a staged batch. Their names are made of its number, never of input.

use tokio_postgres::GenericClient;

use super::failed;
use crate::error::Result;

/// The table that holds its rows.
pub fn table(batch: i64) -> String {
    format!("staging.b{batch}")
}

/// The table that tells, of minutes in order, what each day of a name holds: code, session, bars, low, high (KRW), volume
/// (shares).
pub fn days(batch: i64) -> String {
    format!("staging.b{batch}_days")
}

/// Drops what is staged of a batch.
pub async fn drop(client: &impl GenericClient, batch: i64) -> Result<()> {
    // The days are not there for all: their absence is no notice.
    let query = format!(
        "SET LOCAL client_min_messages = warning; DROP TABLE {}; DROP TABLE IF EXISTS {}",
        table(batch),
        days(batch)
    );
    client.batch_execute(&query).await.map_err(failed("cannot drop the staged rows"))
}
