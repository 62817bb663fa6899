//! Bringing rows into a production table: old versions to `ops.revisions`, then update what differs, insert what is
//! absent and, where the incoming rows are all there is, delete the rest. Twice is the same as once: a row that is
//! equal is not written.

use tokio_postgres::Transaction;

use super::failed;
use crate::error::{Error, Result};

/// What to bring in.
pub struct Merge<'a> {
    /// The table in schema `market`.
    pub table: &'static str,
    /// Its key.
    pub key: &'a [&'static str],
    /// The columns to bring in besides the key; others keep their values.
    pub columns: Vec<&'static str>,
    /// The relation that holds the rows, with the same column names: a static or made name, never input.
    pub from: &'a str,
    /// A condition on the target `m` that narrows it, e.g. to the batch's sessions; static text.
    pub target: &'a str,
    /// A condition on the incoming row `s`; static text.
    pub incoming: &'a str,
    /// Delete target rows (that `target` allows) without an incoming row.
    pub delete: bool,
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs)]
pub struct Written {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub unchanged: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
    }
}

impl Merge<'_> {
    fn list(&self, alias: &str) -> String {
        self.columns.iter().map(|c| format!("{alias}.{c}")).collect::<Vec<_>>().join(", ")
    }

    fn join(&self) -> String {
        self.key.iter().map(|k| format!("m.{k} = s.{k}")).collect::<Vec<_>>().join(" AND ")
    }

    fn differs(&self) -> String {
        // A source that has nothing but the key has nothing to change.
        if self.columns.is_empty() {
            return "false".to_owned();
        }
        format!("({}) IS DISTINCT FROM ({})", self.list("m"), self.list("s"))
    }

    fn revisions(&self, operation: &str, rows: &str) -> String {
        let key = self.key.iter().map(|k| format!("'{k}', m.{k}")).collect::<Vec<_>>().join(", ");
        format!(
            "INSERT INTO ops.revisions (table_name, key, operation, old, old_batch_id, batch_id, valid_from) \
             SELECT '{}', jsonb_build_object({key}), '{operation}', to_jsonb(m), m.batch_id, $1, b.promoted_at \
             {rows}",
            self.table
        )
    }

    fn update_rows(&self) -> String {
        format!(
            "FROM market.{} m JOIN {} s ON {} LEFT JOIN ops.batches b ON b.batch_id = m.batch_id \
             WHERE {} AND {} AND {}",
            self.table,
            self.from,
            self.join(),
            self.target,
            self.incoming,
            self.differs()
        )
    }

    /// Writes the rows for a batch.
    pub async fn run(&self, transaction: &Transaction<'_>, batch: i64) -> Result<Written> {
        let doing = failed("cannot bring rows into production");
        let (table, from, join) = (self.table, self.from, self.join());
        let (target, incoming) = (self.target, self.incoming);
        let mut written = Written::default();
        if self.delete {
            let gone = format!(
                "FROM market.{table} m LEFT JOIN ops.batches b ON b.batch_id = m.batch_id \
                 WHERE {target} AND NOT EXISTS (SELECT FROM {from} s WHERE {join} AND {incoming})"
            );
            written.deleted =
                transaction.execute(&self.revisions("delete", &gone), &[&batch]).await.map_err(&doing)?;
            if written.deleted > 0 {
                let query = format!(
                    "DELETE FROM market.{table} m \
                     WHERE {target} AND NOT EXISTS (SELECT FROM {from} s WHERE {join} AND {incoming})"
                );
                let deleted = transaction.execute(&query, &[]).await.map_err(&doing)?;
                agree(table, "deleted", written.deleted, deleted)?;
            }
        }
        let query = format!(
            "SELECT count(*) FROM market.{table} m JOIN {from} s ON {join} WHERE {target} AND {incoming}"
        );
        let matched: i64 = transaction.query_one(&query, &[]).await.map_err(&doing)?.get(0);
        if matched > 0 {
            let revisions = self.revisions("update", &self.update_rows());
            written.updated = transaction.execute(&revisions, &[&batch]).await.map_err(&doing)?;
        }
        if written.updated > 0 {
            // Named one by one, so that of a compressed part only the segments that hold them are opened.
            let first = self.key[0];
            let query = format!(
                "SELECT array_agg(DISTINCT key->>'{first}') FROM ops.revisions \
                 WHERE batch_id = $1 AND table_name = '{table}' AND operation = 'update'"
            );
            let named: Vec<String> = transaction.query_one(&query, &[&batch]).await.map_err(&doing)?.get(0);
            let query = format!(
                "UPDATE market.{table} m SET ({}, batch_id) = ({}, $1::bigint) FROM {from} s \
                 WHERE {join} AND {target} AND {incoming} AND {} AND m.{first} = ANY ($2)",
                self.columns.join(", "),
                self.list("s"),
                self.differs()
            );
            let updated = transaction.execute(&query, &[&batch, &named]).await.map_err(&doing)?;
            agree(table, "updated", written.updated, updated)?;
        }
        written.unchanged = u64::try_from(matched).unwrap_or(0).saturating_sub(written.updated);
        let columns: Vec<&str> = self.key.iter().chain(&self.columns).copied().collect();
        // Sorted, so that all absent rows are known before the first is written: where the server takes the table for
        // empty (emptied and vacuumed), it would look for each row among all that this statement has written so far.
        // And by key, which writes the index in a third less time, and a name's rows beside each other.
        let query = format!(
            "INSERT INTO market.{table} ({columns}, batch_id) SELECT {values}, $1::bigint FROM {from} s \
             WHERE {incoming} AND NOT EXISTS (SELECT FROM market.{table} m WHERE {join} AND {target}) \
             ORDER BY {key}",
            key = self.key.iter().map(|k| format!("s.{k}")).collect::<Vec<_>>().join(", "),
            columns = columns.join(", "),
            values = columns.iter().map(|c| format!("s.{c}")).collect::<Vec<_>>().join(", "),
        );
        written.inserted = transaction.execute(&query, &[&batch]).await.map_err(&doing)?;
        self.prove(transaction).await?;
        Ok(written)
    }

    /// Every incoming row now stands in production. The server had faults here (a conflict on a compressed chunk
    /// ended an insert early, direct compression lost rows), so it is counted, not assumed.
    async fn prove(&self, transaction: &Transaction<'_>) -> Result<()> {
        let query = format!(
            "SELECT count(*) FROM {} s LEFT JOIN market.{} m ON {} AND {} AND NOT {} WHERE {} AND m.{} IS NULL",
            self.from,
            self.table,
            self.join(),
            self.target,
            self.differs(),
            self.incoming,
            self.key[0],
        );
        let lost: i64 =
            transaction.query_one(&query, &[]).await.map_err(failed("cannot prove the promotion"))?.get(0);
        agree(self.table, "missing after the promotion", 0, u64::try_from(lost).unwrap_or(u64::MAX))
    }
}

fn agree(table: &str, what: &str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Refused {
        what: format!("counts of market.{table} do not add up: {found} rows {what}, {expected} expected"),
        help: "nothing was changed; this is a fault of kdata or of the server: keep the batch and report it"
            .into(),
    })
}
