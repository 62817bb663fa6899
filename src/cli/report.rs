//! `kdata report`: what came, what is missing, what looks wrong.

use super::{Context, Format, printer, range};
use crate::db::Database;
use crate::error::Result;
use crate::market::Day;
use crate::stage::report::{self, DatasetQuality, Quality};

/// Report on what the database holds
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata report quality\n  kdata report quality --date -1s --format json")]
pub(super) struct Args {
    #[command(subcommand)]
    report: Report,
}

#[derive(clap::Subcommand, Debug)]
enum Report {
    /// What came of a session, what is missing, what looks wrong
    Quality {
        /// Which session; default: the last that is over
        #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
        date: Option<String>,
        /// table or json
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let Report::Quality { date, format } = &args.report;
    let session = match date {
        Some(text) => context.known(range::day(text, &context.calendar, context.today())?)?,
        None => context.last_over()?,
    };
    if let Day::Closed(reason) = context.calendar.day(session) {
        context.printer.warning(format!("{session} was no session: {reason}"));
    }
    let quality = crate::stage::block_on(async {
        let database = context.database().await?;
        quality_of(&database, session).await
    })?;
    match format {
        Format::Json => context.printer.json(&quality),
        Format::Table => context.printer.line(text(&quality, context.width())),
    }
}

/// The quality of a session in a database.
pub(super) async fn quality_of(database: &Database, session: chrono::NaiveDate) -> Result<Quality> {
    let client = database.place.connect().await?;
    let storage = database.backend.as_str().to_owned();
    report::quality(&client, session, database.kind.to_string(), storage).await
}

/// The report for people.
pub(super) fn text(quality: &Quality, width: Option<u16>) -> String {
    let rows: Vec<Vec<String>> = quality.datasets.iter().map(row).collect();
    let header =
        ["dataset", "state", "source", "rows", "expected", "coverage", "rejects", "flags", "notes", "fresh"];
    let mut text = format!(
        "Quality of {} ({} database, {} storage)\n\n{}\n",
        quality.session,
        quality.database,
        quality.storage,
        printer::table(&header, &rows, &[3, 4, 5, 6, 7, 8], width)
    );
    for rule in &quality.rules {
        text.push_str(&format!(
            "\n{} {} {} x {}\n",
            rule.dataset,
            rule.severity,
            printer::count(rule.count),
            rule.rule
        ));
        let samples: Vec<Vec<String>> = rule
            .samples
            .iter()
            .map(|s| vec![String::new(), s.stock_code.clone(), s.name.clone(), s.message.clone()])
            .collect();
        text.push_str(&printer::body(&samples, width));
        text.push('\n');
    }
    if !quality.rules.is_empty() {
        text.push_str("\n`kdata explain RULE` says what a rule means.");
    }
    text.trim_end().to_owned()
}

fn row(dataset: &DatasetQuality) -> Vec<String> {
    let number = |n: Option<i64>| n.map_or("-".to_owned(), printer::count);
    let fresh = match (dataset.sessions_behind, dataset.last_session) {
        (Some(0), _) => "up to date".to_owned(),
        (Some(1), Some(last)) => format!("1 session behind ({last})"),
        (Some(n), Some(last)) => format!("{n} sessions behind ({last})"),
        _ => "no session yet".to_owned(),
    };
    vec![
        dataset.dataset.clone(),
        dataset.state.clone(),
        dataset.source.clone().unwrap_or_else(|| "-".into()),
        number(dataset.rows),
        number(dataset.expected),
        dataset.coverage.map_or("-".to_owned(), |c| format!("{c:.2} %")),
        printer::count(dataset.rejected),
        printer::count(dataset.flagged),
        printer::count(dataset.noted),
        fresh,
    ]
}
