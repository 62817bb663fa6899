//! report: what came, what is missing, what looks wrong. Reads only.
//!
//! A report is a file of SQL in `sql/report/` and a line in [`ALL`]: its title, its tables, their charts and remarks stand
//! in the file (`script`), what its columns hold is told by their types and names ([`model`]), which options it takes by
//! the parameters that it uses ([`Asked`]).

mod asked;
mod freshness;
mod holes;
mod ledger;
pub mod model;
mod script;

use tokio_postgres::Client;

use crate::db::{Database, failed};
use crate::error::Result;

pub use asked::{Asked, GRACE, Param};
pub use freshness::{Freshness, freshness, gate};
pub use ledger::{RECENT, RunLine, due, runs};
use model::{Column, Document, Kind, Table, Value};

/// The version of the JSON forms; fields are only added within one.
pub const SCHEMA_VERSION: u32 = 1;

/// Which days a report is about, unless they are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// The present.
    Now,
    /// The last session that is over.
    Session,
    /// The last 20 sessions, and today.
    Recent,
    /// This calendar year.
    Year,
}

/// A report.
#[derive(Debug)]
pub struct Report {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it tells, in a line.
    pub about: &'static str,
    /// Its days, unless they are given.
    pub span: Span,
    /// Its SQL.
    pub sql: &'static str,
    /// The SQL instead where an option is given.
    pub instead: Option<(Param, &'static str)>,
    /// Fails when what was found is not as it must be; told whether datasets were named.
    pub gate: Option<fn(&Document, bool) -> Result<()>>,
    /// How it is called.
    pub examples: &'static [&'static str],
}

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/report/", $name, ".sql"))
    };
}

/// All reports.
pub static ALL: &[Report] = &[
    Report {
        name: "quality",
        about: "What came of a session, what is missing, what looks wrong",
        span: Span::Session,
        sql: sql!("quality"),
        instead: None,
        gate: None,
        examples: &["kdata report quality", "kdata report quality --date -1s --format json"],
    },
    Report {
        name: "coverage",
        about: "Which sessions of which datasets are here: a year on one screen",
        span: Span::Year,
        sql: sql!("coverage"),
        instead: Some((Param::Codes, sql!("coverage_names"))),
        gate: None,
        examples: &[
            "kdata report coverage",
            "kdata report coverage --year 2024 --ascii",
            "kdata report coverage --dataset ohlcv --codes 005930,000660 --from 2024-01-02 --to 2024-03-29",
            "kdata report coverage --format html > coverage.html",
        ],
    },
    Report {
        name: "freshness",
        about: "How many sessions each dataset lies behind; exit 3 when one is stale",
        span: Span::Now,
        sql: sql!("freshness"),
        instead: None,
        gate: Some(gate),
        examples: &[
            "kdata report freshness",
            "kdata report freshness --dataset ohlcv,market-cap --max-behind 1",
        ],
    },
    Report {
        name: "runs",
        about: "What ran, how long it took, what failed",
        span: Span::Recent,
        sql: sql!("runs"),
        instead: None,
        gate: None,
        examples: &["kdata report runs", "kdata report runs --date today --dataset ohlcv --format md"],
    },
    Report {
        name: "reconcile",
        about: "Where datasets, or sources, contradict each other: stock, session, both values",
        span: Span::Recent,
        sql: sql!("reconcile"),
        instead: Some((Param::Batch, sql!("reconcile_batch"))),
        gate: None,
        examples: &[
            "kdata report reconcile",
            "kdata report reconcile --date -1s --format csv",
            "kdata report reconcile --batch 12",
        ],
    },
    Report {
        name: "rejects",
        about: "Rejected rows by rule, and the newest",
        span: Span::Recent,
        sql: sql!("rejects"),
        instead: None,
        gate: None,
        examples: &["kdata report rejects", "kdata report rejects --year 2026 -n 5 --format csv"],
    },
    Report {
        name: "storage",
        about: "How large each table is, and how much of it is compressed",
        span: Span::Now,
        sql: sql!("storage"),
        instead: None,
        gate: None,
        examples: &["kdata report storage", "kdata report storage --dataset ohlcv-minute -n 60"],
    },
];

/// The report of that name.
pub fn find(name: &str) -> Option<&'static Report> {
    ALL.iter().find(|report| report.name == name)
}

impl Report {
    /// What people read above its tables and below them.
    pub fn headings(&self) -> Vec<String> {
        let scripts = std::iter::once(self.sql).chain(self.instead.map(|(_, sql)| sql));
        let of = |sql: &'static str| {
            let sections =
                script::sections(sql).into_iter().flat_map(|section| [Some(section.about), section.note]);
            std::iter::once(script::title(sql).to_owned())
                .chain(sections.flatten())
                .filter(|text| !text.is_empty())
        };
        scripts.flat_map(of).collect()
    }

    /// Does it take the option? Its SQL tells.
    pub fn takes(&self, option: Param) -> bool {
        let instead = self.instead.as_slice();
        let of_now = self.span == Span::Now && matches!(option, Param::Day | Param::Range);
        !of_now
            && (instead.iter().any(|(of, sql)| *of == option || option.is_in(sql)) || option.is_in(self.sql))
    }

    /// Makes it. All its queries see the database as of one moment.
    pub async fn make(&self, database: &Database, asked: &Asked<'_>) -> Result<Document> {
        let client = database.place.connect().await?;
        let doing = failed("cannot read the report");
        let sql = match self.instead {
            Some((option, sql)) if asked.gives(option) => sql,
            _ => self.sql,
        };
        asked.is_complete(sql)?;
        let asked = &asked.resolved(&client).await?;
        let mut tables = Vec::new();
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.map_err(&doing)?;
        for section in script::sections(sql) {
            if section.name.is_empty() {
                asked.execute(&client, &section.sql).await?;
            } else {
                tables.push(table(&client, asked, section).await?);
            }
        }
        client.batch_execute("ROLLBACK").await.map_err(&doing)?;
        let (sessions, notes) = asked.judged();
        Ok(Document {
            report: self.name,
            title: script::title(sql).to_owned(),
            // A report of one session is about its last day.
            days: (self.span != Span::Now).then_some((asked.from, asked.to)),
            sessions,
            database: database.kind.to_string(),
            storage: database.backend.as_str().to_owned(),
            made_at: asked.now,
            tables,
            notes,
        })
    }
}

async fn table(client: &Client, asked: &Asked<'_>, section: script::Section) -> Result<Table> {
    let (columns, rows) = asked.query(client, &section.sql).await?;
    let columns: Vec<Column> = columns
        .into_iter()
        .map(|(name, sql)| Column {
            kind: Kind::of(&sql, &name),
            is_hidden: section.hidden.contains(&name),
            name,
        })
        .collect();
    let rows = rows.iter().map(|row| (0..row.len()).map(|at| Value::read(row, at)).collect());
    let rows = rows.collect();
    let script::Section { name, about, chart, note, .. } = section;
    Ok(Table { name, about, columns, rows, chart, note })
}
