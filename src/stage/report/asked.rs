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
//! | `$8` | jsonb | what the program knows: `datasets` (name, `may_lag`), `promises` (dataset, source, there, settled) |
//! | `$9` | bigint | how many sessions a dataset may lie behind; NULL: as many as its own fact says |

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::json;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::dataset::{self, Dataset};
use crate::db::failed;
use crate::error::Result;
use crate::market::{Calendar, kst_date};
use crate::source::published::{self, State};
use crate::source::{self, Source};

/// So much later than a source publishes must a session be here: time for cron's next line and for retries.
pub const GRACE: TimeDelta = TimeDelta::hours(4);

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
    /// A batch.
    pub batch: Option<i64>,
    /// How many sessions a dataset may lie behind.
    pub max_behind: Option<i64>,
    /// The trading calendar.
    pub calendar: &'a Calendar,
    /// The present instant.
    pub now: DateTime<Utc>,
}

impl<'a> Asked<'a> {
    /// All datasets in a range of days.
    pub fn new((from, to): (NaiveDate, NaiveDate), calendar: &'a Calendar, now: DateTime<Utc>) -> Self {
        let datasets = dataset::ALL.to_vec();
        Self { from, to, datasets, codes: None, limit: 20, batch: None, max_behind: None, calendar, now }
    }

    /// Runs a query with the parameters above. Dates of series stand in the query as `{from}` and `{to}`, so that the
    /// server sees while planning which partitions it needs.
    pub(super) async fn query(&self, client: &Client, sql: &str) -> Result<Vec<Row>> {
        let doing = failed("cannot read the report");
        let sql = sql.replace("{from}", &self.from.to_string()).replace("{to}", &self.to.to_string());
        let types = [
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
        let statement = client.prepare_typed(&sql, &types).await.map_err(&doing)?;
        let names: Vec<&str> = self.datasets.iter().map(|d| d.name).collect();
        let (sessions, facts) = (self.sessions(), self.facts());
        client
            .query(
                &statement,
                &[
                    &self.from,
                    &self.to,
                    &names,
                    &self.codes,
                    &self.limit,
                    &self.batch,
                    &sessions,
                    &facts,
                    &self.max_behind,
                ],
            )
            .await
            .map_err(&doing)
    }

    /// The sessions up to today whose absence means something.
    fn sessions(&self) -> Vec<NaiveDate> {
        let (first, _) = self.calendar.covers();
        let sessions = self.calendar.sessions(first, kst_date(self.now)).iter().copied();
        sessions.filter(|session| self.calendar.is_certain(*session)).collect()
    }

    fn facts(&self) -> serde_json::Value {
        let datasets = dataset::ALL.iter().map(|d| json!({ "name": d.name, "may_lag": d.may_lag }));
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
