//! What is done to the stored rows after they are promoted: bars of bars brought up to date, parts compressed. How is
//! the storage's matter (`sql/backend/`).

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio_postgres::{Client, Transaction};

use super::{Place, failed};
use crate::dataset::{self, Dataset, Kind};
use crate::error::Result;
use crate::market::kst_date;

/// Daily tables: a part is compressed so long after its last session, as corrections come within weeks, and while it
/// is plain a session across the market is read in a tenth of the time.
const SETTLED_AFTER: TimeDelta = TimeDelta::days(30);

/// Records that the rollups of these sessions are to be brought up to date, and their parts to be keyed: in the transaction
/// that changes them, since a refresh cannot run inside one.
pub async fn leave_rollups(
    transaction: &Transaction<'_>,
    (from, to): (NaiveDate, NaiveDate),
    batch: i64,
) -> Result<()> {
    let query = "INSERT INTO ops.pending_rollups (from_time, to_time, batch_id) VALUES ($1, $2, $3)";
    transaction.execute(query, &[&from, &to, &batch]).await.map_err(failed("cannot record the rollups"))?;
    Ok(())
}

/// Keys new parts, which proves that they hold no key twice, and brings the rollups of changed sessions up to date. What
/// fails stays recorded, with the reason; the next promote, rollback or compress tries again. Returns how many spans of
/// sessions were refreshed.
pub async fn refresh_rollups(place: &Place) -> Result<usize> {
    let client = place.connect().await?;
    let doing = failed("cannot bring the rollups up to date");
    // One at a time; the lock goes with the connection. What another is at is not pending any more afterwards.
    client.execute("SELECT pg_advisory_lock(hashtext('kdata.settle'))", &[]).await.map_err(&doing)?;
    let pending = client
        .query("SELECT pending_id, from_time, to_time FROM ops.pending_rollups ORDER BY from_time", &[])
        .await
        .map_err(&doing)?;
    // Spans that meet are refreshed at once.
    let mut spans: Vec<(NaiveDate, NaiveDate, Vec<i64>)> = Vec::new();
    for row in &pending {
        let (id, from, to): (i64, NaiveDate, NaiveDate) = (row.get(0), row.get(1), row.get(2));
        match spans.last_mut() {
            Some(last) if from <= last.1 + TimeDelta::days(1) => {
                last.1 = last.1.max(to);
                last.2.push(id);
            }
            _ => spans.push((from, to, vec![id])),
        }
    }
    for (from, to, ids) in &spans {
        if let Err(error) = refresh(&client, *from, *to).await {
            let note = "UPDATE ops.pending_rollups SET problem = $2 WHERE pending_id = ANY ($1)";
            client.execute(note, &[ids, &error.to_string()]).await.map_err(&doing)?;
            return Err(error);
        }
        let done = "DELETE FROM ops.pending_rollups WHERE pending_id = ANY ($1)";
        client.execute(done, &[ids]).await.map_err(&doing)?;
    }
    Ok(spans.len())
}

/// The same for a caller whose own work is done whatever becomes of this: that it waits is told to the log.
pub async fn refresh_rollups_or_wait(place: &Place) {
    if let Err(error) = refresh_rollups(place).await {
        tracing::warn!("rollups wait for the next promote: {error}");
    }
}

async fn refresh(client: &Client, from: NaiveDate, to: NaiveDate) -> Result<()> {
    let doing = failed("cannot bring the rollups up to date");
    let statements = client.query("SELECT ops.to_settle($1, $2)", &[&from, &to]).await.map_err(&doing)?;
    for row in &statements {
        client.batch_execute(row.get(0)).await.map_err(&doing)?;
    }
    Ok(())
}

/// A part of a table: a chunk, or a partition.
#[derive(Clone, Debug)]
pub struct Part {
    /// Whose rows it holds.
    pub dataset: &'static Dataset,
    /// The table or rollup in schema `market`.
    pub table: String,
    /// Its name in the server, quoted.
    pub name: String,
    /// First day.
    pub from: NaiveDate,
    /// Day after the last.
    pub until: NaiveDate,
    /// With indexes.
    pub bytes: i64,
    /// Is it compressed, all or some of it?
    pub is_compressed: bool,
    /// What compressing it would mend.
    pub mend: Option<Mend>,
    /// Are all its sessions final?
    pub is_final: bool,
}

/// What compressing a part would mend.
#[derive(Clone, Debug)]
pub struct Mend {
    /// Plain rows, rows out of order, too many segments.
    pub what: String,
    /// Is the part to be decompressed first?
    pub anew: bool,
    /// May it wait until the part gets no more sessions?
    pub can_wait: bool,
}

impl Part {
    /// Is it time to compress it? Minutes as soon as they are final; daily rows when nobody corrects them any more.
    /// Rollups, and segments that sessions left which came one by one, once the part gets no more of them.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        let Some(mend) = &self.mend else { return false };
        let today = kst_date(now);
        let is_over = self.until <= today;
        let is_time = if !self.dataset.is_intraday() {
            self.until + SETTLED_AFTER <= today
        } else if self.table == self.dataset.table {
            is_over || !mend.can_wait
        } else {
            is_over
        };
        self.is_final && is_time
    }
}

/// The parts of all series, and of the rollups of minutes.
pub async fn parts(client: &Client) -> Result<Vec<Part>> {
    let doing = failed("cannot list the parts of the tables");
    let rollups =
        client.query("SELECT table_name FROM ops.rollups ORDER BY width", &[]).await.map_err(&doing)?;
    let mut tables: Vec<(&'static Dataset, String)> = Vec::new();
    for dataset in dataset::ALL.iter().copied().filter(|dataset| dataset.kind != Kind::Master) {
        tables.push((dataset, dataset.table.to_owned()));
        if dataset.is_intraday() {
            tables.extend(rollups.iter().map(|row| (dataset, row.get(0))));
        }
    }
    let mut parts = Vec::new();
    for (dataset, table) in tables {
        let rows = client
            .query(
                "SELECT p.part, p.from_session, p.until_session, p.bytes, p.is_compressed, p.to_mend, p.anew, p.can_wait, \
                 NOT EXISTS (SELECT FROM market.session_status s WHERE s.dataset = $2 AND s.finality = 'provisional' \
                             AND s.time >= p.from_session AND s.time < p.until_session) \
                 FROM ops.parts($1) p",
                &[&table, &dataset.name],
            )
            .await
            .map_err(&doing)?;
        parts.extend(rows.iter().map(|row| Part {
            dataset,
            table: table.clone(),
            name: row.get(0),
            from: row.get(1),
            until: row.get(2),
            bytes: row.get(3),
            is_compressed: row.get(4),
            mend: row.get::<_, Option<String>>(5).map(|what| Mend {
                what,
                anew: row.get(6),
                can_wait: row.get(7),
            }),
            is_final: row.get(8),
        }));
    }
    Ok(parts)
}

/// Compresses a part under the lock of its dataset, so that no promote writes it meanwhile; readers go on. Returns the
/// bytes it takes now.
pub async fn compress(client: &mut Client, part: &Part) -> Result<i64> {
    let doing = failed("cannot compress the part");
    let steps = [
        (part.mend.as_ref().is_some_and(|mend| mend.anew), "SELECT ops.decompress_part($1)"),
        (true, "SELECT ops.compress_part($1)"),
    ];
    for (_, step) in steps.iter().filter(|(is_needed, _)| *is_needed) {
        let transaction = client.transaction().await.map_err(&doing)?;
        let lock = "SELECT pg_advisory_xact_lock(hashtext('kdata.promote'), hashtext($1))";
        transaction.execute(lock, &[&part.dataset.name]).await.map_err(&doing)?;
        // Rather another night than readers who queue behind this, which queues behind one of them.
        transaction.batch_execute("SET LOCAL lock_timeout = '30s'").await.map_err(&doing)?;
        transaction.execute(*step, &[&part.name]).await.map_err(&doing)?;
        transaction.commit().await.map_err(&doing)?;
    }
    // Rows that were plain leave holes and an index behind. The name is the server's own.
    let name = &part.name;
    client.batch_execute(&format!("VACUUM (ANALYZE) {name}")).await.map_err(&doing)?;
    client.batch_execute("SET lock_timeout = '10s'").await.map_err(&doing)?;
    // Rather a larger index than readers that queue behind this.
    if let Err(error) = client.batch_execute(&format!("REINDEX TABLE {name}")).await {
        tracing::info!("the index of {name} stays as it is: {error}");
    }
    let bytes = "SELECT bytes FROM ops.parts($1) WHERE part = $2";
    let row = client.query_one(bytes, &[&part.table, name]).await.map_err(&doing)?;
    Ok(row.get(0))
}
