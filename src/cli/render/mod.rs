//! How a report is written: one file a form. What it holds is the same in all of them.

mod csv;
mod heatmap;
mod html;
mod json;
mod markdown;
mod spark;
mod svg;
mod text;

use super::language::{fill, say};
use super::printer;
use crate::market::kst;
use crate::stage::report::model::{Column, Document, Kind, Table, Value};

/// The forms.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Form {
    /// For people at a terminal
    #[default]
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// For notes and issues (Markdown)
    Md,
    /// One file for a browser, also on a phone and on paper
    Html,
}

/// What the place that it is shown at can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Columns of the terminal, where there is one.
    pub(super) width: Option<u16>,
    /// ASCII only.
    pub(super) ascii: bool,
    /// Colours.
    pub(super) colour: bool,
}

/// Writes a report.
pub(super) fn render(document: &Document, form: Form, look: Look) -> String {
    match form {
        Form::Table => text::write(document, look),
        Form::Json => json::write(document),
        Form::Csv => csv::write(document),
        Form::Md => markdown::write(document),
        Form::Html => html::write(document),
    }
}

/// Which days it is about, and of which database.
fn heading(document: &Document) -> String {
    let days = match document.days {
        Some((from, to)) if from == to => fill(" of {day}", &[("day", &from.to_string())]),
        Some((from, to)) => {
            fill(" of {from} to {to}", &[("from", &from.to_string()), ("to", &to.to_string())])
        }
        None => String::new(),
    };
    fill(
        "{title}{days} ({database} database, {storage} storage)",
        &[
            ("title", say(&document.title)),
            ("days", &days),
            ("database", &document.database),
            ("storage", &document.storage),
        ],
    )
}

/// The name of a column for people.
fn title(column: &Column) -> String {
    say(&column.name.replace('_', " ")).to_owned()
}

/// The columns that people see, with their positions.
fn visible(table: &Table) -> Vec<(usize, &Column)> {
    table.columns.iter().enumerate().filter(|(_, column)| !column.is_hidden).collect()
}

/// A value as people read it.
fn shown(value: &Value, kind: Kind) -> String {
    match (value, kind) {
        (Value::Absent, _) => "-".to_owned(),
        (Value::Integer(n), Kind::Count) => printer::count(*n),
        (Value::Integer(n), Kind::Bytes) => printer::bytes(*n),
        (Value::Number(n), Kind::Percent) => format!("{n:.2} %"),
        (Value::Number(n), Kind::Seconds) => format!("{n:.1} s"),
        (Value::Moment(at), _) => at.with_timezone(&kst()).format("%Y-%m-%d %H:%M").to_string(),
        (Value::Flag(flag), _) => if *flag { "yes" } else { "no" }.to_owned(),
        (value, _) => value.plain(),
    }
}

/// In the reader's language, the first letter in upper case.
fn sentence(text: &str) -> String {
    let mut chars = say(text).chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
