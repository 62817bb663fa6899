//! How far each dataset lies behind, in sessions, and whether that is more than it may be.

use chrono::NaiveDate;
use serde::Serialize;
use tokio_postgres::Client;

use super::asked::Asked;
use super::model::{Document, Value};

use crate::error::{Error, Result};
use crate::market::kst_date;

const FRESHNESS: &str = include_str!("../../../sql/report/freshness.sql");

/// How fresh a dataset is.
#[derive(Clone, Debug, Serialize)]
pub struct Freshness {
    /// Its name.
    pub dataset: String,
    /// `fresh`, `stale` (sessions are not here that its source has published), `not final` (they are, but were not read
    /// again once they had settled) or `never` (nothing was ever collected: nobody promised it).
    pub state: String,
    /// Whose the last session is; its hours of publication count.
    pub source: Option<String>,
    /// The last session at hand.
    pub last_session: Option<NaiveDate>,
    /// Sessions after it that the source has published, some hours ago at least.
    pub behind: Option<i64>,
    /// How many that may be.
    pub may_lag: i64,
}

impl Freshness {
    /// Is it older than it may be?
    pub fn is_stale(&self) -> bool {
        matches!(self.state.as_str(), "stale" | "not final")
    }
}

/// Judges the datasets that are asked for, at the instant that is asked for. Beyond the calendar nothing is judged: what
/// is due there is not known.
pub async fn freshness(client: &Client, asked: &Asked<'_>) -> Result<Vec<Freshness>> {
    let (first, last) = asked.calendar.covers();
    let today = kst_date(asked.now);
    if !(first..=last).contains(&today) {
        return Err(Error::usage(
            format!("the trading calendar covers {first} to {last}, not {today}: freshness cannot be told"),
            "extend it with a file in KDATA_CALENDAR (a line `# covers FROM TO`, and the closed days)",
        ));
    }
    let (_, rows) = asked.query(client, FRESHNESS).await?;
    let read = |row: &tokio_postgres::Row| Freshness {
        dataset: row.get("dataset"),
        state: row.get("state"),
        source: row.get("source"),
        last_session: row.get("last_session"),
        behind: row.get("behind"),
        may_lag: row.get("may_lag"),
    };
    Ok(rows.iter().map(read).collect())
}

/// Fails when a dataset of the report is stale; one that was never collected only where it was asked for by name.
pub fn gate(document: &Document, is_named: bool) -> Result<()> {
    let table = &document.tables[0];
    let [name, state] =
        ["dataset", "state"].map(|column| table.at(column).expect("a column of freshness.sql"));
    let fails = |row: &&Vec<Value>| match row[state].plain().as_str() {
        "fresh" => false,
        "never" => is_named,
        _ => true,
    };
    let old: Vec<String> = table
        .rows
        .iter()
        .filter(fails)
        .map(|row| format!("{} ({})", row[name].plain(), row[state].plain()))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    Err(Error::Gate {
        what: format!("not fresh: {}", old.join(", ")),
        help: "`kdata due DATASET` lists the sessions, `kdata run DATASET --due` brings them".into(),
    })
}
