//! What is told of the ledger to `kdata runs` and `kdata due`.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use tokio_postgres::Client;

use crate::dataset::Dataset;
use crate::db::failed;
use crate::error::Result;

const DUE: &str = include_str!("../../../sql/report/due.sql");
const RUNS: &str = include_str!("../../../sql/report/last_runs.sql");

/// So many sessions back is recent.
pub const RECENT: u16 = 20;

/// The sessions that are not promoted final, with what they are instead; of lists the last of each week that has none.
/// `sessions`: how many to look back; absent: the recent ones, as far as this database goes back. What was before is
/// history, and backfill's.
pub async fn due(
    client: &Client,
    dataset: &Dataset,
    last: NaiveDate,
    sessions: Option<i64>,
) -> Result<Vec<(NaiveDate, String)>> {
    let is_weekly = dataset.may_lag > 0;
    let rows = client
        .query(
            DUE,
            &[&dataset.name, &last, &sessions.unwrap_or(RECENT.into()), &is_weekly, &sessions.is_some()],
        )
        .await
        .map_err(failed("cannot list what is due"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A run of the ledger.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RunLine {
    pub run_id: i64,
    pub command: String,
    pub dataset: Option<String>,
    pub source: Option<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    pub started_at: DateTime<Utc>,
    pub seconds: Option<f64>,
    pub state: String,
    pub exit_code: Option<i32>,
    pub rows: Option<i64>,
    pub rejected: Option<i64>,
    pub flagged: Option<i64>,
    pub batch_id: Option<i64>,
    pub batch_state: Option<String>,
    pub inserted: Option<i64>,
    pub updated: Option<i64>,
    pub unchanged: Option<i64>,
    pub reason: Option<String>,
}

/// The last runs, newest first.
pub async fn runs(
    client: &Client,
    count: i64,
    only_failed: bool,
    dataset: Option<&str>,
) -> Result<Vec<RunLine>> {
    let rows = client
        .query(RUNS, &[&count, &only_failed, &dataset])
        .await
        .map_err(failed("cannot list the runs"))?;
    let run = |row: &tokio_postgres::Row| RunLine {
        run_id: row.get(0),
        command: row.get(1),
        dataset: row.get(2),
        source: row.get(3),
        from: row.get(4),
        to: row.get(5),
        started_at: row.get(6),
        seconds: row.get(7),
        state: row.get(8),
        exit_code: row.get(9),
        rows: row.get(10),
        rejected: row.get(11),
        flagged: row.get(12),
        batch_id: row.get(13),
        batch_state: row.get(14),
        inserted: row.get(15),
        updated: row.get(16),
        unchanged: row.get(17),
        reason: row.get(18),
    };
    Ok(rows.iter().map(run).collect())
}
