//! rollback: undoes one batch, unless a later one built on it.

use chrono::NaiveDate;
use tokio_postgres::{Client, Transaction};

use crate::dataset::{self, Dataset, Kind};
use crate::db::ledger::{self, About, Run};
use crate::db::{self, Place, failed, staging, storage};
use crate::error::{Error, Result};
use crate::stream::Counts;

/// What rollback did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undone {
    /// The batch was only staged: its table was dropped.
    Discarded,
    /// The batch was promoted: so many rows were removed, so many got their old values back.
    RolledBack {
        /// Rows that the batch had inserted.
        removed: u64,
        /// Rows that the batch had changed or deleted.
        restored: u64,
    },
}

/// The tables that a dataset's batches write, with their keys.
fn tables(dataset: &Dataset) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut tables = match dataset.kind {
        Kind::Series => vec![(dataset.table, dataset.key.to_vec())],
        Kind::Snapshot { .. } => {
            vec![(dataset.table, dataset.key.to_vec()), ("snapshots", vec!["dataset", "slice", "time"])]
        }
        Kind::Master => {
            vec![("stocks", vec!["stock_code"]), ("stock_history", vec!["stock_code", "valid_from"])]
        }
    };
    if dataset.has("base_price") {
        tables.push(("corporate_actions", vec!["stock_code", "time"]));
    }
    tables.push(("session_status", vec!["dataset", "time"]));
    tables
}

/// Which rows `m` of a table may be a batch's: of years of compressed minutes only its sessions are opened.
fn of_batch(dataset: &Dataset, table: &str, range: (NaiveDate, NaiveDate)) -> String {
    if table == dataset.table && dataset.kind != Kind::Master {
        dataset.within("m.time", range)
    } else {
        "true".to_owned()
    }
}

/// Undoes a batch; the ledger tells of it, also where it was refused.
pub async fn rollback(place: &Place, batch: i64) -> Result<Undone> {
    let mut client = place.connect().await?;
    let query = "SELECT dataset, source, from_time, to_time FROM ops.batches WHERE batch_id = $1";
    let row = client.query_opt(query, &[&batch]).await.map_err(failed("cannot read the batch"))?;
    let Some(row) = row else { return Err(ledger::no_batch(&client, batch).await) };
    let about = About {
        dataset: dataset::find(row.get(0)),
        source: row.get(1),
        range: Some((row.get(2), row.get(3))),
        batch: Some(batch),
        ..About::default()
    };
    let run = Run::begin(place.connect().await?, "rollback", about).await?;
    let outcome = attempt(&mut client, batch).await;
    if outcome.is_ok() {
        storage::refresh_rollups_or_wait(place).await;
    }
    run.end(outcome.as_ref().map(|_| Some(batch)), Counts::default()).await?;
    outcome
}

/// Undoes a batch in one transaction.
async fn attempt(client: &mut Client, batch: i64) -> Result<Undone> {
    let doing = failed("cannot roll the batch back");
    let transaction = client.transaction().await.map_err(&doing)?;
    transaction.batch_execute("SET LOCAL lock_timeout = '30s'").await.map_err(&doing)?;
    let row = transaction
        .query_one(
            "SELECT dataset, state, from_time, to_time FROM ops.batches WHERE batch_id = $1 FOR UPDATE",
            &[&batch],
        )
        .await
        .map_err(&doing)?;
    let (name, state): (&str, &str) = (row.get(0), row.get(1));
    let range: (NaiveDate, NaiveDate) = (row.get(2), row.get(3));
    let undone = match (state, dataset::find(name)) {
        ("staged", _) => {
            staging::drop(&transaction, batch).await?;
            Undone::Discarded
        }
        ("promoted", Some(dataset)) => {
            transaction
                .execute("SELECT pg_advisory_xact_lock(hashtext('kdata.promote'), hashtext($1))", &[&name])
                .await
                .map_err(&doing)?;
            refuse_if_built_upon(&transaction, batch, dataset, range).await?;
            refuse_if_filled_up(&transaction, batch, dataset, range).await?;
            let (mut removed, mut restored) = (0, 0);
            for (table, key) in tables(dataset) {
                let within = of_batch(dataset, table, range);
                let counts = undo(&transaction, batch, table, &key, &within).await?;
                if table == dataset.table || table == "stock_history" {
                    removed += counts.0;
                    restored += counts.1;
                }
            }
            db::status::recount(&transaction, dataset, range, None).await?;
            transaction
                .execute(
                    "UPDATE ops.revisions SET undone_at = now() WHERE batch_id = $1 AND operation <> 'rollback'",
                    &[&batch],
                )
                .await
                .map_err(&doing)?;
            if dataset.is_intraday() {
                storage::leave_rollups(&transaction, range, batch).await?;
            }
            if dataset.has("base_price") {
                let (from, to) = range;
                transaction
                    .execute("SELECT ops.refresh_adjustments($1, $2)", &[&from, &to])
                    .await
                    .map_err(&doing)?;
            }
            Undone::RolledBack { removed, restored }
        }
        (state, _) => {
            return Err(Error::usage(
                format!("batch {batch} is {state}: nothing to undo"),
                "`kdata runs` lists the batches",
            ));
        }
    };
    let state = if undone == Undone::Discarded { "discarded" } else { "rolled_back" };
    transaction
        .execute("UPDATE ops.batches SET state = $2, ended_at = now() WHERE batch_id = $1", &[&batch, &state])
        .await
        .map_err(&doing)?;
    transaction.commit().await.map_err(&doing)?;
    Ok(undone)
}

fn refusal(batch: i64, by: i64, what: &str) -> Error {
    Error::Refused {
        what: format!("batch {batch} cannot be undone: batch {by} {what} after it"),
        help: format!("roll batch {by} back first"),
    }
}

async fn refuse_if_built_upon(
    transaction: &Transaction<'_>,
    batch: i64,
    dataset: &Dataset,
    range: (NaiveDate, NaiveDate),
) -> Result<()> {
    let doing = failed("cannot look for later batches");
    let later = transaction
        .query_opt(
            "SELECT batch_id, table_name, key::text FROM ops.revisions \
             WHERE old_batch_id = $1 AND batch_id <> $1 AND undone_at IS NULL AND operation <> 'rollback' \
             ORDER BY batch_id LIMIT 1",
            &[&batch],
        )
        .await
        .map_err(&doing)?;
    if let Some(row) = later {
        let what = format!("changed {} {}", row.get::<_, &str>(1), row.get::<_, &str>(2));
        return Err(refusal(batch, row.get(0), &what));
    }
    // Rows that a later batch brought as well and found equal: they are its own as much. A history is made of all
    // masters at hand, so each of them is built on by the later ones.
    let later = transaction
        .query_opt(
            "SELECT l.batch_id FROM ops.batches b JOIN ops.batches l ON l.dataset = b.dataset AND l.state = 'promoted' \
             AND (l.promoted_at, l.batch_id) > (b.promoted_at, b.batch_id) \
             WHERE b.batch_id = $1 AND (CASE WHEN $2 THEN l.rows > 0 ELSE l.unchanged > 0 \
             AND l.from_time <= b.to_time AND l.to_time >= b.from_time END) ORDER BY l.batch_id LIMIT 1",
            &[&batch, &(dataset.kind == Kind::Master)],
        )
        .await
        .map_err(&doing)?;
    if let Some(row) = later {
        return Err(refusal(batch, row.get(0), "built on its rows"));
    }
    // Rows that this batch deleted, and a later one wrote again.
    for (table, key) in tables(dataset) {
        let same =
            key.iter().map(|k| format!("to_jsonb(m.{k}) = r.key->'{k}'")).collect::<Vec<_>>().join(" AND ");
        let query = format!(
            "SELECT m.batch_id, r.key::text FROM ops.revisions r JOIN market.{table} m ON {same} \
             WHERE r.batch_id = $1 AND r.table_name = '{table}' AND r.operation = 'delete' AND r.undone_at IS NULL \
             AND {within} LIMIT 1",
            within = of_batch(dataset, table, range)
        );
        if let Some(row) = transaction.query_opt(&query, &[&batch]).await.map_err(&doing)? {
            return Err(refusal(batch, row.get(0), &format!("wrote {table} {}", row.get::<_, &str>(1))));
        }
    }
    Ok(())
}

/// A session whose status is the batch's, and which a later batch filled up: its rows would stay without a status.
async fn refuse_if_filled_up(
    transaction: &Transaction<'_>,
    batch: i64,
    dataset: &Dataset,
    range: (NaiveDate, NaiveDate),
) -> Result<()> {
    if dataset.kind == Kind::Master {
        return Ok(());
    }
    let query = format!(
        "SELECT l.batch_id, s.time FROM ops.batches b \
         JOIN market.session_status s ON s.dataset = b.dataset AND s.batch_id = b.batch_id \
         JOIN market.{} m ON {} = s.time AND {} \
         JOIN ops.batches l ON l.batch_id = m.batch_id AND (l.promoted_at, l.batch_id) > (b.promoted_at, b.batch_id) \
         WHERE b.batch_id = $1 ORDER BY l.promoted_at DESC, l.batch_id DESC LIMIT 1",
        dataset.table,
        dataset.session_of("m.time"),
        dataset.within("m.time", range)
    );
    let row =
        transaction.query_opt(&query, &[&batch]).await.map_err(failed("cannot look for later batches"))?;
    row.map_or(Ok(()), |row| {
        let time: NaiveDate = row.get(1);
        Err(refusal(batch, row.get(0), &format!("filled up {time}")))
    })
}

/// Removes what the batch inserted and brings back what it changed or deleted; its own rows go to the revisions.
async fn undo(
    transaction: &Transaction<'_>,
    batch: i64,
    table: &str,
    key: &[&str],
    within: &str,
) -> Result<(u64, u64)> {
    let doing = failed("cannot roll the batch back");
    let pairs = key.iter().map(|k| format!("'{k}', m.{k}")).collect::<Vec<_>>().join(", ");
    let key_object = format!("jsonb_build_object({pairs})");
    let run = async |statement: String| transaction.execute(&statement, &[&batch]).await.map_err(&doing);
    run(format!(
        "INSERT INTO ops.revisions (table_name, key, operation, old, old_batch_id, batch_id, valid_from) \
         SELECT '{table}', {key_object}, 'rollback', to_jsonb(m), m.batch_id, $1, b.promoted_at \
         FROM market.{table} m JOIN ops.batches b ON b.batch_id = m.batch_id WHERE m.batch_id = $1 AND {within}"
    ))
    .await?;
    let of_batch = format!("r.batch_id = $1 AND r.table_name = '{table}' AND r.undone_at IS NULL");
    let touched = run(format!("DELETE FROM market.{table} m WHERE m.batch_id = $1 AND {within}")).await?;
    let restored = run(format!(
        "INSERT INTO market.{table} SELECT (jsonb_populate_record(NULL::market.{table}, r.old)).* \
         FROM ops.revisions r WHERE {of_batch} AND r.operation IN ('update', 'delete')"
    ))
    .await?;
    let updated = transaction
        .query_one(
            &format!("SELECT count(*) FROM ops.revisions r WHERE {of_batch} AND r.operation = 'update'"),
            &[&batch],
        )
        .await
        .map_err(&doing)?
        .get::<_, i64>(0);
    Ok((touched.saturating_sub(u64::try_from(updated).unwrap_or(0)), restored))
}
