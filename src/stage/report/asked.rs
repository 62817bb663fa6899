//! What is asked of a report. All reports take the same parameters, so that one is a file of SQL and a line in a list:
//!
//! | | type | |
//! |---|---|---|
//! | `$1`, `$2` | date | first and last day |
//! | `$3` | text[] | the datasets, in their order |
//! | `$4` | text[] | only these codes; NULL: all |
//! | `$5` | bigint | how many rows of a list |
//! | `$6` | bigint | a batch; NULL: none |
//! | `$7` | date[] | the sessions of the calendar, up to today |
//! | `$8` | jsonb | what the program knows: `datasets` (name, table, `may_lag`), `promises` (dataset, source, there, settled) |
//! | `$9` | bigint | how many sessions a dataset may lie behind; NULL: as many as its own fact says |

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::json;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::holes::fill;
use crate::dataset::{self, Dataset};
use crate::db::{failed, ledger};
use crate::error::{Error, Result};
use crate::market::{Calendar, kst_date};
use crate::source::published::{self, State};
use crate::source::{self, Source};

/// So much later than a source publishes must a session be here: time for cron's next line and for retries.
pub const GRACE: TimeDelta = TimeDelta::hours(4);

/// What a report may be asked for; its SQL tells what it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Param {
    Range,
    Day,
    Datasets,
    Codes,
    Limit,
    Batch,
    MaxBehind,
}

impl Param {
    /// Does the SQL use it?
    pub(super) fn is_in(self, sql: &str) -> bool {
        let marks: &[&str] = match self {
            Self::Range => &["$1", "{from}", "{within}"],
            Self::Day => &["$2", "{to}"],
            Self::Datasets => &["$3", "{dataset}"],
            Self::Codes => &["$4"],
            Self::Limit => &["$5"],
            Self::Batch => &["$6"],
            Self::MaxBehind => &["$9"],
        };
        marks.iter().any(|mark| sql.contains(mark))
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// These datasets.
    pub datasets: Vec<&'static Dataset>,
    /// Only these codes.
    pub codes: Option<Vec<String>>,
    /// How many rows of a list.
    pub limit: i64,
    /// A staged batch.
    pub batch: Option<i64>,
    /// The columns that the batch provides; found when the report is made.
    pub(super) provides: Vec<String>,
    /// How many sessions a dataset may lie behind.
    pub max_behind: Option<i64>,
    /// The trading calendar.
    pub calendar: &'a Calendar,
    /// The present instant.
    pub now: DateTime<Utc>,
}

/// What the parameters are, in their order.
const TYPES: [Type; 9] = [
    Type::DATE,
    Type::DATE,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8,
    Type::INT8,
    Type::DATE_ARRAY,
    Type::JSONB,
    Type::INT8,
];
const DOING: &str = "cannot read the report";

impl<'a> Asked<'a> {
    /// All datasets in a range of days.
    pub fn new((from, to): (NaiveDate, NaiveDate), calendar: &'a Calendar, now: DateTime<Utc>) -> Self {
        let datasets = dataset::ALL.to_vec();
        Self {
            from,
            to,
            datasets,
            codes: None,
            limit: 20,
            batch: None,
            provides: Vec::new(),
            max_behind: None,
            calendar,
            now,
        }
    }

    /// Is the option given that calls for other SQL?
    pub(super) fn gives(&self, param: Param) -> bool {
        match param {
            Param::Codes => self.codes.is_some(),
            Param::Batch => self.batch.is_some(),
            _ => false,
        }
    }

    /// The same with what its batch, if it names one, is of.
    pub(super) async fn resolved(&self, client: &Client) -> Result<Self> {
        let Some(batch) = self.batch else { return Ok(self.clone()) };
        let query =
            "SELECT dataset, from_time, to_time, state, provides FROM ops.batches WHERE batch_id = $1";
        let row = client.query_opt(query, &[&batch]).await.map_err(failed(DOING))?;
        let Some(row) = row else { return Err(ledger::no_batch(client, batch).await) };
        let (name, state): (&str, &str) = (row.get(0), row.get(3));
        if state != "staged" {
            return Err(Error::usage(
                format!("batch {batch} is {state}: its rows are not in staging any more"),
                "`kdata report reconcile --from DAY --to DAY` tells what batches changed in production",
            ));
        }
        let dataset = dataset::find(name).ok_or_else(|| {
            Error::usage(
                format!("batch {batch} is of {name}, which this kdata does not know"),
                "update kdata",
            )
        })?;
        Ok(Self {
            from: row.get(1),
            to: row.get(2),
            datasets: vec![dataset],
            provides: row.get(4),
            ..self.clone()
        })
    }

    /// Insists on one dataset where the SQL is about one.
    pub(super) fn is_complete(&self, sql: &str) -> Result<()> {
        if !sql.contains("{dataset}") || self.datasets.len() == 1 {
            return Ok(());
        }
        Err(Error::usage("codes are looked for in one dataset", "say which: --dataset ohlcv --codes 005930"))
    }

    /// Runs a query; returns the names and types of its columns, and its rows.
    pub(super) async fn query(&self, client: &Client, sql: &str) -> Result<(Vec<(String, Type)>, Vec<Row>)> {
        let doing = failed(DOING);
        let statement = client.prepare_typed(&fill(self, sql), &TYPES).await.map_err(&doing)?;
        let columns = statement.columns().iter().map(|c| (c.name().to_owned(), c.type_().clone()));
        let columns = columns.collect();
        let names: Vec<&str> = self.datasets.iter().map(|d| d.name).collect();
        let (sessions, facts) = (self.sessions(), self.facts());
        let values: [&(dyn ToSql + Sync); 9] = [
            &self.from,
            &self.to,
            &names,
            &self.codes,
            &self.limit,
            &self.batch,
            &sessions,
            &facts,
            &self.max_behind,
        ];
        Ok((columns, client.query(&statement, &values).await.map_err(&doing)?))
    }

    /// Runs what is done before the queries: a statement, with parameters as they have.
    pub(super) async fn execute(&self, client: &Client, sql: &str) -> Result<()> {
        self.query(client, sql).await.map(drop)
    }

    /// The sessions of the range, and a remark where the calendar does not reach.
    pub(super) fn judged(&self) -> (Vec<NaiveDate>, Vec<String>) {
        let sessions = self.calendar.sessions(self.from, self.to).iter().copied();
        let sessions = sessions.filter(|session| self.calendar.is_certain(*session)).collect();
        let (first, last) = self.calendar.covers();
        let mut notes = Vec::new();
        if self.from < first || self.to > last {
            notes.push(format!(
                "The trading calendar covers {first} to {last}: what lies beyond is not judged."
            ));
        }
        (sessions, notes)
    }

    /// The sessions up to today whose absence means something.
    fn sessions(&self) -> Vec<NaiveDate> {
        let (first, _) = self.calendar.covers();
        let sessions = self.calendar.sessions(first, kst_date(self.now)).iter().copied();
        sessions.filter(|session| self.calendar.is_certain(*session)).collect()
    }

    fn facts(&self) -> serde_json::Value {
        let datasets =
            dataset::ALL.iter().map(|d| json!({ "name": d.name, "table": d.table, "may_lag": d.may_lag }));
        let pairs = dataset::ALL.iter().flat_map(|d| source::ALL.iter().map(move |source| (d, *source)));
        let promises = pairs.map(|(dataset, source)| {
            let last = |is_there: fn(State) -> bool| self.last_published(source, dataset, is_there);
            json!({
                "dataset": dataset.name,
                "source": source.name(),
                "there": last(|state| !matches!(state, State::NotYet { .. })),
                "settled": last(|state| state == State::Final),
            })
        });
        json!({ "datasets": datasets.collect::<Vec<_>>(), "promises": promises.collect::<Vec<_>>() })
    }

    /// The last session that a source had, some hours ago.
    fn last_published(
        &self,
        source: Source,
        dataset: &Dataset,
        is_there: fn(State) -> bool,
    ) -> Option<NaiveDate> {
        let then = self.now - GRACE;
        let mut session = self.calendar.session_at_or_before(kst_date(self.now));
        while let Some(day) = session {
            if is_there(published::state(source, dataset.name, day, self.calendar, then)) {
                break;
            }
            session = self.calendar.prev_session(day);
        }
        session
    }
}
