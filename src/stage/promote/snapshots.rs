//! Snapshots: whole lists (the members of an index, the portfolio of an ETF, the sectors of a scheme) that replace what
//! stands there. Each list comes whole or not at all, and lists that a batch does not hold are not touched.

use chrono::NaiveDate;
use tokio_postgres::Transaction;

use super::around::{check_rows, fill, within};
use super::{Batch, Options, provided};
use crate::dataset::rule::{BETTER_IS_THERE, LIST_IS_WHOLE};
use crate::dataset::{Dataset, TIME};
use crate::db::ledger::Remark;
use crate::db::merge::{Merge, Written};
use crate::db::{failed, staging};
use crate::error::{Error, Result};

const SLICES: &str = include_str!("../../../sql/promote/slices.sql");

/// The column of the key that names a member of a list.
fn member(dataset: &Dataset, slice: &str) -> &'static str {
    dataset
        .key
        .iter()
        .copied()
        .find(|k| *k != TIME && *k != slice)
        .expect("a key of list, session and member")
}

/// Finds the lists of the batch and takes those out that do not come: better ones stand there, or a row was rejected.
/// Returns how many rows were taken out, and what is to be said of it.
pub(super) async fn prepare(
    transaction: &Transaction<'_>,
    batch: &Batch,
    slice: &str,
    options: Options,
) -> Result<(u64, Vec<Remark>)> {
    let doing = failed("cannot tell the lists of the batch");
    let member = member(batch.dataset, slice);
    let place = |column: &str| (batch.dataset.index(column) + 1).to_string();
    let sources = batch.sources.iter().map(|s| format!("'{s}'")).collect::<Vec<_>>().join(", ");
    let statement = SLICES
        .replace("{sources}", &format!("ARRAY[{sources}]"))
        .replace("{member}", member)
        .replace("{member_at}", &place(member))
        .replace("{time_at}", &place(TIME));
    transaction.batch_execute(&fill(&statement, batch)).await.map_err(&doing)?;
    let mut remarks = better(transaction).await?;
    let broken = broken(transaction).await?;
    if options.force {
        remarks.extend(broken);
        return Ok((0, remarks));
    }
    let take_out = format!(
        "DELETE FROM {} s USING withheld w WHERE s.{slice} = w.slice AND s.time = w.time",
        staging::table(batch.id)
    );
    let held = transaction.execute(&take_out, &[]).await.map_err(&doing)?;
    let left = "DELETE FROM slices x USING withheld w WHERE x.slice = w.slice AND x.time = w.time; \
                TRUNCATE staged_times; INSERT INTO staged_times SELECT time, sum(rows) FROM slices GROUP BY time";
    transaction.batch_execute(left).await.map_err(&doing)?;
    let lists: i64 = transaction.query_one("SELECT count(*) FROM slices", &[]).await.map_err(&doing)?.get(0);
    let nothing_is_left = lists == 0;
    if let (true, true, Some(first)) = (nothing_is_left, broken.is_empty(), remarks.first()) {
        return Err(Error::Refused {
            what: format!("batch {} would replace better data: {}", batch.id, first.message),
            help: "`kdata promote --batch N --force` replaces it all the same; `kdata rollback N` drops the batch".into(),
        });
    }
    remarks.extend(broken.into_iter().map(|remark| {
        let severity = if nothing_is_left { "gate".into() } else { remark.severity };
        Remark { severity, ..remark }
    }));
    Ok((held, remarks))
}

/// What stands better in production, a line for each session and source.
async fn better(transaction: &Transaction<'_>) -> Result<Vec<Remark>> {
    let query = "SELECT time, source, finality, count(*), (array_agg(slice ORDER BY slice))[1:3] FROM withheld \
                 WHERE reason = 'better' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
    let rows =
        transaction.query(query, &[]).await.map_err(failed("cannot compare with what production holds"))?;
    let remark = |row: &tokio_postgres::Row| {
        let (time, source, finality, lists, first): (NaiveDate, &str, &str, i64, Vec<&str>) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        Remark {
            severity: "flag".into(),
            rule: BETTER_IS_THERE.name.into(),
            stock_code: None,
            time: Some(time),
            message: format!(
                "production holds {lists} of the lists of {time} from {source}, {finality}: {}{}",
                first.join(", "),
                if lists > 3 { ", …" } else { "" }
            ),
        }
    };
    Ok(rows.iter().map(remark).collect())
}

/// The lists of which a row was rejected.
async fn broken(transaction: &Transaction<'_>) -> Result<Vec<Remark>> {
    let query = "SELECT $1, 'flag', slice, time, format('a row of %s was rejected: it does not come', slice) \
                 FROM withheld WHERE reason = 'broken' ORDER BY time, slice";
    check_rows(transaction, query, &[&LIST_IS_WHOLE.name]).await
}

/// Brings the lists into production: rows that a list has no more are deleted.
pub(super) async fn write(transaction: &Transaction<'_>, batch: &Batch, slice: &str) -> Result<Written> {
    let dataset = batch.dataset;
    let rows = Merge {
        table: dataset.table,
        key: dataset.key,
        columns: provided(batch),
        from: "staged",
        target: &format!(
            "{} AND EXISTS (SELECT FROM slices x WHERE x.time = m.time AND x.slice = m.{slice})",
            within(batch, "m.time")
        ),
        incoming: "true",
        delete: true,
    };
    let written = rows.run(transaction, batch.id).await?;
    let incoming = "CREATE TEMP TABLE incoming_snapshots ON COMMIT DROP AS \
                    SELECT job.dataset, x.slice, x.time, x.rows, job.source, job.finality FROM slices x, job";
    transaction.batch_execute(incoming).await.map_err(failed("cannot note the lists"))?;
    let lists = Merge {
        table: "snapshots",
        key: &["dataset", "slice", "time"],
        columns: vec!["rows", "source", "finality"],
        from: "incoming_snapshots",
        target: "true",
        incoming: "true",
        delete: false,
    };
    lists.run(transaction, batch.id).await?;
    Ok(written)
}
