//! How many rows, expected names and missing names `market.session_status` tells of a session. They are counted from
//! what stands in production, by promote and rollback alike: so they are true whatever came in whatever order.

use chrono::NaiveDate;
use tokio_postgres::Transaction;

use super::failed;
use crate::dataset::{self, Dataset, Kind, TIME};
use crate::error::Result;

const COUNTS: &str = include_str!("../../sql/status/counts.sql");
const DOING: &str = "cannot write the sessions' status";

/// Counts again what the dataset's rows of a range tell of: its own sessions, and those of the datasets that are
/// measured by it. `counted` is a query that tells time, code and rows of its own sessions, where somebody knows; else
/// they are counted.
pub async fn recount(
    transaction: &Transaction<'_>,
    dataset: &Dataset,
    (from, mut to): (NaiveDate, NaiveDate),
    counted: Option<&str>,
) -> Result<()> {
    if dataset.kind == Kind::Master {
        // A master stands until the next whole one.
        let query = "SELECT coalesce(min(time) FILTER (WHERE dataset = $1 AND names = 'whole' AND time > $2) - 1, max(time)) \
                     FROM market.session_status";
        let row = transaction.query_one(query, &[&dataset.name, &to]).await.map_err(failed(DOING))?;
        let Some(last) = row.get(0) else { return Ok(()) };
        to = last;
    }
    let table = format!("market.{} ", dataset.table);
    let is_measured = |other: &Dataset| match dataset.kind {
        Kind::Master => other.expects.is_some(),
        _ => other.expects.is_some_and(|expects| expects.contains(&table)),
    };
    for other in dataset::ALL.iter().filter(|other| other.name == dataset.name || is_measured(other)) {
        let counted = counted.filter(|_| other.name == dataset.name);
        transaction.batch_execute(&counts(other, (from, to), counted)).await.map_err(failed(DOING))?;
    }
    Ok(())
}

/// The statement. Dates are written out: only so does the server see while planning which partitions it needs.
fn counts(dataset: &Dataset, range: (NaiveDate, NaiveDate), counted: Option<&str>) -> String {
    let produced = match dataset.kind {
        _ if counted.is_some() => counted.unwrap_or_default().to_owned(),
        Kind::Series | Kind::Snapshot { .. } => format!(
            "SELECT {} AS time, {} AS code, count(*) AS rows FROM market.{} WHERE {} GROUP BY 1, 2",
            dataset.session_of(TIME),
            dataset.code,
            dataset.table,
            dataset.within(TIME, range)
        ),
        // A master has as many rows as names are listed.
        Kind::Master => "SELECT t.time, h.stock_code AS code, 1 AS rows FROM concerned t JOIN market.stock_history h \
                         ON h.is_active AND h.valid_from <= t.time AND (h.valid_to IS NULL OR h.valid_to > t.time)"
            .to_owned(),
    };
    COUNTS
        .replace("{produced}", &produced)
        .replace("{expects}", dataset.expects.unwrap_or("false"))
        .replace("{tells}", if dataset.expects.is_some() { "true" } else { "false" })
        .replace("{dataset}", dataset.name)
        .replace("{from}", &format!("DATE '{}'", range.0))
        .replace("{to}", &format!("DATE '{}'", range.1))
}
