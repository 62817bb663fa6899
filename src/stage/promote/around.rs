//! What a promote sees: the batch's rows, those of the sessions beside them, and what the dataset's queries say of both.

use chrono::{Days, NaiveDate};
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::Batch;
use crate::dataset::{Kind, TIME};
use crate::db::ledger::Remark;
use crate::db::{failed, staging};
use crate::error::Result;

const SEAMS: &str = include_str!("../../../sql/promote/seams.sql");
const AROUND_SERIES: &str = include_str!("../../../sql/promote/around_series.sql");
const AROUND_MASTER: &str = include_str!("../../../sql/promote/around_master.sql");
const AROUND_MINUTES: &str = include_str!("../../../sql/promote/around_minutes.sql");
const AROUND_LISTS: &str = include_str!("../../../sql/promote/around_lists.sql");
/// How far a list's neighbours may lie away, as in slices.sql.
const NEIGHBOURS_WITHIN: Days = Days::new(45);

/// The minutes of a batch by name and session: as load kept them, or read once, since there are millions of them.
pub(super) const STAGED_DAYS: &str = include_str!("../../../sql/promote/staged_days.sql");
pub(super) const DAYS_OF_MINUTES: &str = "\
    SELECT stock_code, {session} AS time, count(*) AS bars, min(low) AS low, max(high) AS high, sum(volume)::bigint AS volume \
    FROM {staging} GROUP BY 1, 2";

/// Fills the holes of a statement with names of the program and the batch's number: never with input.
pub(super) fn fill(statement: &str, batch: &Batch) -> String {
    let staging = staging::table(batch.id);
    let id = batch.id.to_string();
    let columns = batch.dataset.header();
    let session = batch.dataset.session_of(TIME);
    let slice = if let Kind::Snapshot { slice } = batch.dataset.kind { slice } else { batch.dataset.code };
    let days = format!("BETWEEN DATE '{}' AND DATE '{}'", batch.range.0, batch.range.1);
    let by_session = if batch.dataset.is_intraday() {
        "SELECT time, sum(bars)::bigint AS rows FROM staged_days GROUP BY 1".to_owned()
    } else {
        format!("SELECT {session} AS time, count(*) AS rows FROM {staging} GROUP BY 1")
    };
    let mut text = statement.to_owned();
    let own = [
        ("by_session", by_session.as_str()),
        ("staging", &staging),
        ("batch", &id),
        ("dataset", batch.dataset.name),
        ("table", batch.dataset.table),
        ("columns", &columns),
        ("session", &session),
        ("code", batch.dataset.code),
        ("slice", slice),
        ("within", &within(batch, TIME)),
        ("days", &days),
    ];
    for (hole, value) in own.iter().chain(batch.dataset.holes) {
        text = text.replace(&format!("{{{hole}}}"), value);
    }
    text
}

/// The batch's range as a condition, with the dates written out: made of dates, never of input. With the range in a
/// subquery, TimescaleDB 2.28.3 now and then skipped every chunk in a parallel plan (`ChunkAppend` with exclusion at
/// run time): caught by counting, and avoided by excluding chunks while planning.
pub(super) fn within(batch: &Batch, time: &str) -> String {
    batch.dataset.within(time, batch.range)
}

/// Puts the rows of the sessions beside the batch's next to its own. Their dates are written out, as in [`within`].
pub(super) async fn look_around(transaction: &Transaction<'_>, batch: &Batch) -> Result<()> {
    let doing = failed("cannot look at the sessions beside the batch");
    transaction.batch_execute(SEAMS).await.map_err(&doing)?;
    let around = match batch.dataset.kind {
        Kind::Series if batch.dataset.is_intraday() => AROUND_MINUTES,
        Kind::Series => AROUND_SERIES,
        Kind::Master => AROUND_MASTER,
        Kind::Snapshot { .. } => AROUND_LISTS,
    };
    let rows = transaction.query("SELECT time FROM beside ORDER BY time", &[]).await.map_err(&doing)?;
    let beside: Vec<NaiveDate> = rows.iter().map(|row| row.get(0)).collect();
    let dates = beside.iter().map(|day| format!("DATE '{day}'")).collect::<Vec<_>>().join(", ");
    let minutes = beside.iter().map(|day| {
        format!(
            "UNION ALL SELECT stock_code, {{session}}, count(*), min(low), max(high), sum(volume)::bigint \
             FROM market.{{table}} WHERE {} GROUP BY 1, 2",
            batch.dataset.within(TIME, (*day, *day))
        )
    });
    let (from, to) = (batch.range.0 - NEIGHBOURS_WITHIN, batch.range.1 + NEIGHBOURS_WITHIN);
    let around = around
        .replace("{beside}", &format!("ARRAY[{dates}]::date[]"))
        .replace("{minutes_beside}", &minutes.collect::<Vec<_>>().join(" "))
        .replace("{days_beside}", &format!("BETWEEN DATE '{from}' AND DATE '{to}'"));
    transaction.batch_execute(&fill(&around, batch)).await.map_err(&doing)
}

pub(super) async fn check(transaction: &Transaction<'_>, query: &str) -> Result<Vec<Remark>> {
    check_rows(transaction, query, &[]).await
}

pub(super) async fn check_rows(
    transaction: &Transaction<'_>,
    query: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Remark>> {
    let rows = transaction.query(query, values).await.map_err(failed("cannot check the batch"))?;
    let remark = |row: &tokio_postgres::Row| Remark {
        rule: row.get(0),
        severity: row.get(1),
        stock_code: row.get(2),
        time: row.get(3),
        message: row.get(4),
    };
    Ok(rows.iter().map(remark).collect())
}
