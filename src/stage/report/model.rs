//! What a report is, whatever it is written as: tables whose columns say what they hold, and charts drawn from them.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value as Json;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::market::kst;

/// A report that was made.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name on the command line.
    pub report: &'static str,
    /// Its name for people.
    pub title: String,
    /// First and last day; `None` where it is about the present.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// The sessions of those days that the calendar is certain of, also those to come.
    pub sessions: Vec<NaiveDate>,
    /// `live` or `demo`.
    pub database: String,
    /// The storage backend.
    pub storage: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// What was found.
    pub tables: Vec<Table>,
    /// Remarks about the whole.
    pub notes: Vec<String>,
}

/// Rows of one kind.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its key in JSON.
    pub name: String,
    /// What it shows, for people.
    pub about: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, a value a column.
    pub rows: Vec<Vec<Value>>,
    /// What people would rather look at.
    pub chart: Option<Chart>,
    /// A remark for those who read its rows.
    pub note: Option<String>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its key in JSON.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// For programs only.
    pub is_hidden: bool,
}

/// What a column holds: how it is aligned, and with which unit it is shown. Told by the type of the query's column and
/// by the end of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Words.
    Text,
    /// A whole number, shown with thousands separators.
    Count,
    /// A number that names something (`…_id`, `line`, `…_code` of an integer).
    Id,
    /// Per cent (`coverage`, `…_percent`).
    Percent,
    /// Bytes (`bytes`, `…_bytes`).
    Bytes,
    /// Seconds (`seconds`).
    Seconds,
    /// A session or another day (KST).
    Day,
    /// An instant.
    Moment,
    /// Yes or no.
    Flag,
    /// Numbers of sessions in a row; a session without one is a gap.
    Trend,
    /// Samples: objects of texts.
    Details,
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Not known, or not there.
    Absent,
    /// Words.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A day.
    Day(NaiveDate),
    /// An instant.
    Moment(DateTime<Utc>),
    /// Yes or no.
    Flag(bool),
    /// Numbers in a row.
    Trend(Vec<Option<i64>>),
    /// Objects of texts.
    Details(Vec<Vec<(String, String)>>),
}

/// How a table is drawn; the names are those of its columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chart {
    /// A row for each value of the first column, a cell for some sessions, by `state` from `from` to `to`.
    Heatmap,
    /// A bar a row.
    Bars {
        /// What it is.
        label: String,
        /// How long it is.
        value: String,
    },
}

impl Table {
    /// The position of a column.
    pub fn at(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}

impl Kind {
    /// Do its values line up at their right ends?
    pub fn is_number(self) -> bool {
        matches!(self, Self::Count | Self::Id | Self::Percent | Self::Bytes | Self::Seconds)
    }

    /// By the type and the name of a query's column.
    pub(super) fn of(sql: &Type, name: &str) -> Self {
        let ends = |end: &str| name == end || name.ends_with(&format!("_{end}"));
        match *sql {
            Type::DATE => Self::Day,
            Type::TIMESTAMPTZ => Self::Moment,
            Type::BOOL => Self::Flag,
            Type::INT8_ARRAY => Self::Trend,
            Type::JSONB => Self::Details,
            Type::FLOAT8 if ends("seconds") => Self::Seconds,
            Type::FLOAT8 => Self::Percent,
            Type::INT4 | Type::INT8 if ends("bytes") => Self::Bytes,
            Type::INT4 | Type::INT8 if ends("id") || ends("code") || ends("line") => Self::Id,
            Type::INT4 | Type::INT8 => Self::Count,
            _ => Self::Text,
        }
    }
}

impl Value {
    /// Reads a column of a query's row.
    pub(super) fn read(row: &Row, at: usize) -> Self {
        fn some<T>(value: Option<T>, make: impl FnOnce(T) -> Value) -> Value {
            value.map_or(Value::Absent, make)
        }
        match *row.columns()[at].type_() {
            Type::INT4 => some(row.get::<_, Option<i32>>(at), |n| Self::Integer(n.into())),
            Type::INT8 => some(row.get(at), Self::Integer),
            Type::FLOAT8 => some(row.get(at), Self::Number),
            Type::DATE => some(row.get(at), Self::Day),
            Type::TIMESTAMPTZ => some(row.get(at), Self::Moment),
            Type::BOOL => some(row.get(at), Self::Flag),
            Type::INT8_ARRAY => some(row.get(at), Self::Trend),
            Type::JSONB => some(row.get(at), |json: Json| Self::Details(details(&json))),
            _ => some(row.get(at), Self::Text),
        }
    }

    /// The value as CSV and Markdown hold it: no separators, no units.
    pub fn plain(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Text(text) => text.clone(),
            Self::Integer(n) => n.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Day(day) => day.to_string(),
            Self::Moment(at) => at.with_timezone(&kst()).format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Trend(numbers) => {
                let numbers: Vec<String> =
                    numbers.iter().map(|n| n.map_or("-".to_owned(), |n| n.to_string())).collect();
                numbers.join(" ")
            }
            Self::Details(details) => {
                let one = |pairs: &Vec<(String, String)>| {
                    let values = pairs.iter().map(|(_, value)| value.as_str()).filter(|v| !v.is_empty());
                    values.collect::<Vec<_>>().join(" ")
                };
                details.iter().map(one).collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// The value as JSON holds it.
    pub fn json(&self) -> Json {
        match self {
            Self::Absent => Json::Null,
            Self::Integer(n) => (*n).into(),
            Self::Number(n) => (*n).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Moment(at) => serde_json::to_value(at).unwrap_or_default(),
            Self::Trend(numbers) => numbers.iter().map(|n| Json::from(*n)).collect(),
            Self::Details(details) => {
                let object = |pairs: &Vec<(String, String)>| {
                    Json::Object(pairs.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect())
                };
                details.iter().map(object).collect()
            }
            Self::Text(_) | Self::Day(_) => self.plain().into(),
        }
    }
}

/// jsonb orders keys by their length: names of samples come first by the order here.
const ORDER: [&str; 3] = ["stock_code", "name", "message"];

fn details(json: &Json) -> Vec<Vec<(String, String)>> {
    let objects = json.as_array().into_iter().flatten().filter_map(Json::as_object);
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let pairs = objects.map(|object| {
        let mut pairs: Vec<(String, String)> = object.iter().map(|(k, v)| (k.clone(), text(v))).collect();
        pairs.sort_by_key(|(key, _)| ORDER.iter().position(|k| k == key).unwrap_or(ORDER.len()));
        pairs
    });
    pairs.collect()
}
