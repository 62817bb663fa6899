//! kept: what the ledger keeps of rows that broke a rule: rejects, and flags and the other remarks. Listed, shown,
//! marked as looked at, and given to load once more. Nothing is deleted.

mod replay;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

pub use replay::{Replayed, replay};

use super::validate;
use crate::dataset::{self, Dataset};
use crate::db::failed;
use crate::error::{Error, Result};

const FILTER: &str = include_str!("../../../sql/kept/filter.sql");

/// Which kind of kept rows is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Rows that did not go on.
    Rejects,
    /// Remarks about rows and batches that did.
    Flags,
}

impl Kept {
    /// The word for many of them, which is also the subcommand's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejects => "rejects",
            Self::Flags => "flags",
        }
    }

    fn filter(self) -> String {
        FILTER.replace(
            "{view}",
            match self {
                Self::Rejects => "ops.kept_rejects",
                Self::Flags => "ops.kept_flags",
            },
        )
    }

    fn discard(self) -> &'static str {
        match self {
            Self::Rejects => {
                "UPDATE ops.rejects t SET discarded_at = now(), discarded_why = $9 FROM ({}) k WHERE t.reject_id = k.id"
            }
            Self::Flags => {
                "UPDATE ops.flags t SET discarded_at = now(), discarded_why = $9 FROM ({}) k WHERE t.flag_id = k.id"
            }
        }
    }
}

/// Which of them; what is `None` or empty leaves all.
#[derive(Clone, Default, Debug)]
#[allow(missing_docs)]
pub struct Filter {
    pub ids: Vec<i64>,
    pub dataset: Option<&'static Dataset>,
    pub rule: Option<String>,
    pub batch: Option<i64>,
    pub run: Option<i64>,
    pub session: Option<NaiveDate>,
    /// `open`, `replayed` or `discarded`.
    pub state: Option<String>,
    /// Words of `ops.flags.severity`.
    pub severities: Vec<String>,
}

impl Filter {
    /// Does it leave all?
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.dataset.is_none()
            && self.rule.is_none()
            && self.batch.or(self.run).is_none()
            && self.session.is_none()
    }

    /// Runs a query around the filtered rows (`{}`); what it needs besides is its ninth parameter.
    async fn query(
        &self,
        client: &Client,
        kept: Kept,
        query: &str,
        ninth: Option<&(dyn ToSql + Sync)>,
    ) -> Result<Vec<Row>> {
        let ids = (!self.ids.is_empty()).then_some(&self.ids);
        let severities = (!self.severities.is_empty()).then_some(&self.severities);
        let dataset = self.dataset.map(|d| d.name);
        let mut values: Vec<&(dyn ToSql + Sync)> =
            vec![&ids, &dataset, &self.rule, &self.batch, &self.run, &self.session, &self.state, &severities];
        values.extend(ninth);
        let query = query.replace("{}", &kept.filter());
        client.query(&query, &values).await.map_err(failed("cannot read what was kept"))
    }
}

/// How many break a rule, and what became of them.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RuleCount {
    pub dataset: String,
    pub severity: String,
    pub rule: String,
    pub open: i64,
    pub replayed: i64,
    pub discarded: i64,
}

/// One kept row or remark, whole.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Line {
    pub id: i64,
    /// The same under the name that rejects had first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_id: Option<i64>,
    pub run_id: i64,
    pub batch_id: Option<i64>,
    pub dataset: String,
    pub source: Option<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    pub severity: String,
    pub rule: String,
    /// Where it stood in its stream or file.
    pub line: Option<i64>,
    pub stock_code: Option<String>,
    pub time: Option<NaiveDate>,
    pub message: String,
    pub row: Option<String>,
    /// `open`, `replayed`, `discarded`.
    pub state: String,
    /// The batch that brought it in all the same.
    pub replayed_as: Option<i64>,
    pub discarded_at: Option<DateTime<Utc>>,
    pub discarded_why: Option<String>,
}

impl Line {
    /// The row column by column, where it has its dataset's columns; a source's own rows have others.
    pub fn columns(&self) -> Option<Vec<(&'static str, String)>> {
        let dataset = dataset::find(&self.dataset)?;
        let fields = validate::fields(self.row.as_ref()?.as_bytes());
        let names = dataset.columns.iter().map(|column| column.name);
        (fields.len() == dataset.columns.len()).then(|| names.zip(fields).collect())
    }

    fn read(row: &Row, kept: Kept) -> Self {
        let id = row.get("id");
        Self {
            id,
            reject_id: (kept == Kept::Rejects).then_some(id),
            run_id: row.get("run_id"),
            batch_id: row.get("batch_id"),
            dataset: row.get("dataset"),
            source: row.get("source"),
            from: row.get("from_time"),
            to: row.get("to_time"),
            severity: row.get("severity"),
            rule: row.get("rule"),
            line: row.get("line"),
            stock_code: row.get("stock_code"),
            time: row.get("time"),
            message: row.get("message"),
            row: row.get("row"),
            state: row.get("state"),
            replayed_as: row.get("replayed_as"),
            discarded_at: row.get("discarded_at"),
            discarded_why: row.get("discarded_why"),
        }
    }
}

/// Counts by rule, most first.
pub async fn counts(client: &Client, kept: Kept, filter: &Filter) -> Result<Vec<RuleCount>> {
    let query = "SELECT dataset, severity, rule, count(*) FILTER (WHERE state = 'open') AS open, \
                 count(*) FILTER (WHERE state = 'replayed') AS replayed, \
                 count(*) FILTER (WHERE state = 'discarded') AS discarded \
                 FROM ({}) k GROUP BY dataset, severity, rule ORDER BY count(*) DESC, dataset, rule";
    let rows = filter.query(client, kept, query, None).await?;
    let count = |row: &Row| RuleCount {
        dataset: row.get(0),
        severity: row.get(1),
        rule: row.get(2),
        open: row.get(3),
        replayed: row.get(4),
        discarded: row.get(5),
    };
    Ok(rows.iter().map(count).collect())
}

/// The kept rows, newest first.
pub async fn list(client: &Client, kept: Kept, filter: &Filter, most: i64) -> Result<Vec<Line>> {
    let query = "SELECT * FROM ({}) k ORDER BY id DESC LIMIT $9";
    let rows = filter.query(client, kept, query, Some(&most)).await?;
    Ok(rows.iter().map(|row| Line::read(row, kept)).collect())
}

/// One of them.
pub async fn show(client: &Client, kept: Kept, id: i64) -> Result<Line> {
    let filter = Filter { ids: vec![id], ..Filter::default() };
    list(client, kept, &filter, 1).await?.pop().ok_or_else(|| {
        let word = kept.as_str();
        Error::usage(
            format!("there is no {} {id}", word.trim_end_matches('s')),
            format!("`kdata {word} list` lists them; the number stands first"),
        )
    })
}

/// Marks the open ones as looked at, with the reason; tells how many.
pub async fn discard(client: &Client, kept: Kept, filter: &Filter, why: &str) -> Result<usize> {
    let open = Filter { state: Some("open".into()), ..filter.clone() };
    let query = format!("{} RETURNING 1", kept.discard());
    Ok(open.query(client, kept, &query, Some(&why)).await?.len())
}
