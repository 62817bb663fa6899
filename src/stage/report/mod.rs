//! report: what came, what is missing, what looks wrong. Reads only.

mod asked;
mod freshness;

pub use asked::{Asked, GRACE};
pub use freshness::{Freshness, freshness};

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use tokio_postgres::Client;

use crate::dataset::{self, Dataset};
use crate::db::failed;
use crate::error::Result;

const QUALITY: &str = include_str!("../../../sql/report/quality.sql");
const QUALITY_RULES: &str = include_str!("../../../sql/report/quality_rules.sql");
const DUE: &str = include_str!("../../../sql/report/due.sql");
const RUNS: &str = include_str!("../../../sql/report/runs.sql");
const REJECTS: &str = include_str!("../../../sql/report/rejects.sql");

/// The version of the JSON forms; fields are only added within one.
pub const SCHEMA_VERSION: u32 = 1;

/// A session's quality, dataset by dataset.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Quality {
    pub schema_version: u32,
    pub session: NaiveDate,
    pub database: String,
    pub storage: String,
    pub datasets: Vec<DatasetQuality>,
    pub rules: Vec<RuleCount>,
}

/// One dataset of a session. Counts are rows; `None` is not known or not there.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct DatasetQuality {
    pub dataset: String,
    /// `final`, `provisional`, or `absent`.
    pub state: String,
    pub source: Option<String>,
    pub rows: Option<i64>,
    /// Names listed on that session, as the stock master tells.
    pub expected: Option<i64>,
    /// Of those, names without a row.
    pub missing: Option<i64>,
    /// Share of the expected names that have a row, per cent.
    pub coverage: Option<f64>,
    pub names: Option<String>,
    pub rejected: i64,
    pub flagged: i64,
    pub noted: i64,
    pub batch_id: Option<i64>,
    pub promoted_at: Option<DateTime<Utc>>,
    /// The last session at hand up to the one reported.
    pub last_session: Option<NaiveDate>,
    /// How many sessions that one lies behind the one reported.
    pub sessions_behind: Option<i64>,
}

/// How often a rule was broken, with samples.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RuleCount {
    pub dataset: String,
    pub severity: String,
    pub rule: String,
    pub count: i64,
    pub samples: Vec<Sample>,
}

/// A sample of a broken rule.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Sample {
    pub stock_code: String,
    pub name: String,
    pub message: String,
}

/// The quality of a session.
pub async fn quality(
    client: &Client,
    session: NaiveDate,
    database: String,
    storage: String,
) -> Result<Quality> {
    let doing = failed("cannot read the report");
    let names: Vec<&str> = dataset::ALL.iter().map(|d| d.name).collect();
    let datasets = client.query(QUALITY, &[&session, &names]).await.map_err(&doing)?;
    let rules = client.query(QUALITY_RULES, &[&session]).await.map_err(&doing)?;
    Ok(Quality {
        schema_version: SCHEMA_VERSION,
        session,
        database,
        storage,
        datasets: datasets.iter().map(dataset_quality).collect(),
        rules: rules.iter().map(rule_count).collect(),
    })
}

fn dataset_quality(row: &tokio_postgres::Row) -> DatasetQuality {
    let (expected, missing): (Option<i64>, Option<i64>) = (row.get("expected"), row.get("missing"));
    #[expect(clippy::cast_precision_loss, reason = "counts of names are small")]
    let coverage = match (expected, missing) {
        (Some(expected), Some(missing)) if expected > 0 => {
            Some(((expected - missing) as f64 * 10_000.0 / expected as f64).floor() / 100.0)
        }
        _ => None,
    };
    DatasetQuality {
        dataset: row.get("dataset"),
        state: row.get::<_, Option<String>>("finality").unwrap_or_else(|| "absent".into()),
        source: row.get("source"),
        rows: row.get("rows"),
        expected,
        missing,
        coverage,
        names: row.get("names"),
        rejected: row.get("rejected"),
        flagged: row.get("flagged"),
        noted: row.get("noted"),
        batch_id: row.get("batch_id"),
        promoted_at: row.get("promoted_at"),
        last_session: row.get("last_session"),
        sessions_behind: row.get::<_, Option<NaiveDate>>("last_session").map(|_| row.get("sessions_behind")),
    }
}

fn rule_count(row: &tokio_postgres::Row) -> RuleCount {
    let (codes, names, messages): (Vec<String>, Vec<String>, Vec<String>) =
        (row.get(4), row.get(5), row.get(6));
    let samples = codes.into_iter().zip(names).zip(messages);
    RuleCount {
        dataset: row.get(0),
        severity: row.get(1),
        rule: row.get(2),
        count: row.get(3),
        samples: samples.map(|((stock_code, name), message)| Sample { stock_code, name, message }).collect(),
    }
}

/// The recent sessions that are not promoted final, with what they are instead.
pub async fn due(
    client: &Client,
    dataset: &Dataset,
    last: NaiveDate,
    count: i64,
) -> Result<Vec<(NaiveDate, String)>> {
    let rows = client
        .query(DUE, &[&dataset.name, &last, &count])
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

/// A rejected row.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RejectLine {
    pub reject_id: i64,
    pub run_id: i64,
    pub batch_id: Option<i64>,
    pub dataset: String,
    pub line: Option<i64>,
    pub rule: String,
    pub message: String,
    pub row: String,
}

/// Rejected rows, newest first.
pub async fn rejects(
    client: &Client,
    count: i64,
    run: Option<i64>,
    rule: Option<&str>,
) -> Result<Vec<RejectLine>> {
    let rows =
        client.query(REJECTS, &[&count, &run, &rule]).await.map_err(failed("cannot list the rejects"))?;
    let reject = |row: &tokio_postgres::Row| RejectLine {
        reject_id: row.get(0),
        run_id: row.get(1),
        batch_id: row.get(2),
        dataset: row.get(3),
        line: row.get(4),
        rule: row.get(5),
        message: row.get(6),
        row: row.get(7),
    };
    Ok(rows.iter().map(reject).collect())
}
