//! Staged batches that another one makes needless.

use tokio_postgres::Transaction;

use super::{Batch, Options, lock};
use crate::db::{Place, failed, staging};
use crate::error::Result;

/// Discards staged batches of the same that a promote refused: this one was read since, and is judged in their place. Else
/// a batch that is held would be staged again with every run.
pub async fn discard_refused(place: &Place, batch: &Batch) -> Result<()> {
    let doing = failed("cannot discard what was refused before");
    let mut client = place.connect().await?;
    let transaction = client.transaction().await.map_err(&doing)?;
    lock(&transaction, batch, Options::default()).await?;
    supersede(&transaction, batch, true).await?;
    transaction.commit().await.map_err(&doing)
}

/// Discards staged batches that were read before this one, of the same or of less: left behind by a run that was killed, or
/// read before the source's data settled. Promoted later they would bring back what is old.
pub(super) async fn supersede(
    transaction: &Transaction<'_>,
    batch: &Batch,
    only_refused: bool,
) -> Result<Vec<i64>> {
    let doing = failed("cannot discard what was superseded");
    let rows = transaction
        .query(
            "UPDATE ops.batches p SET state = 'discarded', ended_at = now(), superseded_by = f.batch_id, \
             problem = concat('superseded by batch ', f.batch_id, ', which is ', \
                              CASE WHEN f.finality = p.finality THEN 'newer' ELSE f.finality END) \
             FROM ops.batches f \
             WHERE f.batch_id = $1 AND p.state = 'staged' AND p.batch_id < f.batch_id \
             AND (p.problem IS NOT NULL OR NOT $2) AND (p.finality = 'provisional' OR f.finality = 'final') \
             AND (p.dataset, p.source, p.scope) = (f.dataset, f.source, f.scope) \
             AND (f.names = p.names OR f.names <> 'list') AND p.from_time >= f.from_time AND p.to_time <= f.to_time \
             RETURNING p.batch_id",
            &[&batch.id, &only_refused],
        )
        .await
        .map_err(&doing)?;
    let superseded: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    for id in &superseded {
        staging::drop(transaction, *id).await?;
    }
    Ok(superseded)
}
