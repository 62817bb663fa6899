//! Sessions of which production holds nothing: their rows need no comparison, and go into the compressed form at once
//! where the storage has one.

use chrono::NaiveDate;
use tokio_postgres::Transaction;

use super::Batch;
use super::around::fill as fill_holes;
use crate::db::merge::Written;
use crate::db::{failed, staging};
use crate::error::{Error, Result};

const FILLED: &str = include_str!("../../../sql/promote/filled.sql");

/// The sessions from the first to the last of the batch, where production has no minute of them and they are final:
/// what is still to change stays plain. Only for rows in order, among which validate and load have seen no key twice.
/// To be asked under the lock of the dataset, which whoever writes it takes.
pub(super) async fn range(
    transaction: &Transaction<'_>,
    batch: &Batch,
) -> Result<Option<(NaiveDate, NaiveDate)>> {
    if !batch.dataset.is_intraday() || !batch.ordered || batch.finality != "final" {
        return Ok(None);
    }
    let doing = failed("cannot look whether the sessions are new");
    let query = "SELECT min(time), max(time) FROM staged_times";
    let row = transaction.query_one(query, &[]).await.map_err(&doing)?;
    let (Some(from), Some(to)) = (row.get(0), row.get(1)) else { return Ok(None) };
    let within = batch.dataset.within("time", (from, to));
    let query = format!("SELECT EXISTS (SELECT FROM market.{} WHERE {within})", batch.dataset.table);
    let is_there: bool = transaction.query_one(&query, &[]).await.map_err(&doing)?.get(0);
    Ok((!is_there).then_some((from, to)))
}

/// Writes the batch into those sessions, and proves what was written name by name: the server had faults here.
pub(super) async fn fill(
    transaction: &Transaction<'_>,
    batch: &Batch,
    provided: &[&str],
    range: (NaiveDate, NaiveDate),
) -> Result<Written> {
    let doing = failed("cannot fill the sessions");
    let dataset = batch.dataset;
    let columns = dataset.key.iter().chain(provided).copied().collect::<Vec<_>>().join(", ");
    let start = |day: NaiveDate| format!("TIMESTAMPTZ '{day} 00:00+09'");
    let query = format!(
        "SELECT ops.fill($1, $2::text::regclass, $3, {}, {} + interval '1 day', $4)",
        start(range.0),
        start(range.1)
    );
    let source = staging::table(batch.id);
    let row = transaction.query_one(&query, &[&dataset.table, &source, &columns, &batch.id]).await;
    let inserted: i64 = row.map_err(&doing)?.get(0);
    let within = dataset.within("time", range);
    let proof = fill_holes(FILLED, batch).replace("{written_within}", &within);
    let wrong: i64 = transaction.query_one(&proof, &[]).await.map_err(&doing)?.get(0);
    if wrong > 0 {
        return Err(Error::Refused {
            what: format!(
                "of {wrong} names not all minutes stand in market.{} after they were written",
                dataset.table
            ),
            help:
                "nothing was changed; this is a fault of kdata or of the server: keep the batch and report it"
                    .into(),
        });
    }
    Ok(Written { inserted: inserted.unsigned_abs(), ..Written::default() })
}
