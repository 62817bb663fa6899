//! What `kdata rejects` and `kdata flags` have in common: which rows are meant, and how they are listed and shown.

use chrono::NaiveDate;
use tokio_postgres::Client;

use super::{Context, Format, explain, printer, range};
use crate::dataset::Dataset;
use crate::db::cluster::home;
use crate::error::{Error, Result};
use crate::market::kst;
use crate::source::trace::trace;
use crate::stage::kept::{self, Filter, Kept, Line, RuleCount};
use crate::stage::report;

/// Which of them.
#[derive(clap::Args, Debug)]
pub(super) struct Which {
    /// Their numbers
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    of: Of,
}

#[derive(clap::Args, Debug)]
struct Of {
    /// Only those of this dataset
    #[arg(long, value_parser = super::dataset_parser())]
    dataset: Option<&'static Dataset>,
    /// Only those of this rule
    #[arg(long)]
    rule: Option<String>,
    /// Only those of this batch
    #[arg(long, value_name = "BATCH")]
    batch: Option<i64>,
    /// Only those of this run
    #[arg(long, value_name = "RUN")]
    run: Option<i64>,
    /// Only those of this session: today, -1s, 2026-11-20
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    date: Option<String>,
}

/// What to list.
#[derive(clap::Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    of: Of,
    /// What became of them
    #[arg(long, value_parser = ["open", "replayed", "discarded", "all"], default_value = "open")]
    state: String,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20)]
    number: u32,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which to show.
#[derive(clap::Args, Debug)]
pub(super) struct Show {
    /// Its number
    id: i64,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which to mark as looked at.
#[derive(clap::Args, Debug)]
pub(super) struct Discard {
    #[command(flatten)]
    which: Which,
    /// Why: it is kept with them
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Of {
    fn filter(&self, ids: &[i64], context: &Context) -> Result<Filter> {
        let rule = self.rule.as_deref().map(explain::find).transpose()?;
        let day = |text: &String| range::day(text, &context.calendar, context.today());
        Ok(Filter {
            ids: ids.to_vec(),
            dataset: self.dataset,
            rule: rule.map(|rule| rule.name.to_owned()),
            batch: self.batch,
            run: self.run,
            session: self.date.as_ref().map(day).transpose()?,
            state: None,
            severities: Vec::new(),
        })
    }
}

impl Which {
    /// The rows that were named; all of them must be named by something.
    pub(super) fn filter(&self, context: &Context) -> Result<Filter> {
        let filter = self.of.filter(&self.ids, context)?;
        if filter.is_empty() {
            return Err(Error::usage(
                "which ones?",
                "name them: ID …, --batch N, --run N, --rule RULE, --dataset NAME or --date DAY",
            ));
        }
        Ok(filter)
    }
}

/// Runs something on a connection of the database.
pub(super) fn ask<T>(context: &Context, act: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
    crate::stage::block_on(async {
        let database = context.database().await?;
        act(&database.place.connect().await?).await
    })
}

/// Counts by rule first, whatever became of the rows; then the newest of the state that is asked for.
pub(super) fn list(what: Kept, list: &List, severities: &[String], context: &Context) -> Result<()> {
    let all = Filter { severities: severities.to_vec(), ..list.of.filter(&[], context)? };
    let state = Some(list.state.clone()).filter(|state| state != "all");
    let some = Filter { state, ..all.clone() };
    let (counts, lines) = ask(context, async |client| {
        let counts = kept::counts(client, what, &all).await?;
        Ok((counts, kept::list(client, what, &some, list.number.into()).await?))
    })?;
    if list.format == Format::Json {
        let document = serde_json::json!({
            "schema_version": report::SCHEMA_VERSION, "rules": counts, what.as_str(): lines,
        });
        return context.printer.json(&document);
    }
    if counts.is_empty() {
        context.printer.remark(format!("no {}", what.as_str()));
        return Ok(());
    }
    let header = ["open", "replayed", "discarded", "dataset", "severity", "rule"];
    let rows: Vec<Vec<String>> = counts.iter().map(count_row).collect();
    context.printer.line(printer::table(&header, &rows, &[0, 1, 2], context.width()))?;
    let rows: Vec<Vec<String>> = lines.iter().map(line_row).collect();
    if !rows.is_empty() {
        context.printer.line(format!("\n{}", printer::body(&rows, context.width())))?;
    }
    let word = what.as_str();
    context.printer.remark(format!(
        "\n{} of the newest shown (-n, --state); `kdata {word} show ID` explains one",
        lines.len()
    ));
    Ok(())
}

fn count_row(count: &RuleCount) -> Vec<String> {
    vec![
        printer::count(count.open),
        printer::count(count.replayed),
        printer::count(count.discarded),
        count.dataset.clone(),
        count.severity.clone(),
        count.rule.clone(),
    ]
}

fn line_row(line: &Line) -> Vec<String> {
    let about = [line.stock_code.clone(), line.time.map(|time| time.to_string())];
    let about: Vec<String> = about.into_iter().flatten().collect();
    let place = [("line", line.line), ("run", Some(line.run_id)), ("batch", line.batch_id)];
    let place = place.iter().filter_map(|(what, n)| n.map(|n| format!("{what} {n}")));
    let mut head: Vec<String> = vec![line.rule.clone()];
    head.extend(about);
    head.push(place.collect::<Vec<_>>().join(", "));
    if line.state != "open" {
        head.push(line.state.clone());
    }
    let mut text = vec![head.join("  "), shortened(&line.message)];
    text.extend(line.row.as_deref().map(shortened));
    vec![line.id.to_string(), text.join("\n")]
}

/// Shows one, with all that is known.
pub(super) fn show(what: Kept, show: &Show, context: &Context) -> Result<()> {
    let line = ask(context, async |client| kept::show(client, what, show.id).await)?;
    let traces = traces(&line, context)?;
    if show.format == Format::Json {
        let document = serde_json::json!({
            "schema_version": report::SCHEMA_VERSION, what.as_str(): [line], "source_at": traces,
        });
        return context.printer.json(&document);
    }
    let range = match (line.from, line.to) {
        (Some(from), Some(to)) if from != to => format!(", {from} to {to}"),
        (Some(day), _) => format!(", {day}"),
        _ => String::new(),
    };
    let mut rows = vec![
        row("state", state(&line)),
        row("dataset", format!("{} from {}{range}", line.dataset, line.source.as_deref().unwrap_or("?"))),
        row("run", line.run_id.to_string()),
        row("batch", line.batch_id.map_or("none: its stream was not kept".to_owned(), |b| b.to_string())),
    ];
    rows.extend(line.line.map(|n| row("line", n.to_string())));
    rows.extend(line.stock_code.as_ref().map(|code| row("stock_code", code.as_str())));
    rows.extend(line.time.map(|time| row("time", time.to_string())));
    rows.push(row("message", line.message.as_str()));
    rows.extend(traces.iter().map(|trace| row("source at", trace.as_str())));
    let mut text = format!(
        "{} {}: {}\n\n{}",
        what.as_str().trim_end_matches('s'),
        line.id,
        line.rule,
        printer::body(&rows, context.width())
    );
    match (line.columns(), &line.row) {
        (Some(columns), _) => {
            let rows: Vec<_> = columns.into_iter().map(|(name, value)| row(name, value)).collect();
            text.push_str(&format!("\n\nthe row\n{}", printer::body(&rows, context.width())));
        }
        (None, Some(whole)) => text.push_str(&format!("\n\nthe row, as its source gave it\n{whole}")),
        (None, None) => {}
    }
    if let Ok(rule) = explain::find(&line.rule) {
        text.push_str(&format!("\n\n{}", explain::text(rule)));
    }
    context.printer.line(text)
}

fn row(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![format!("  {name}"), value.into()]
}

fn state(line: &Line) -> String {
    let when = line.discarded_at.map(|at| at.with_timezone(&kst()).format("%F %H:%M").to_string());
    match (line.replayed_as, &line.discarded_why, when) {
        (Some(batch), _, _) => format!("replayed, as batch {batch}"),
        (None, Some(why), Some(when)) => format!("discarded on {when}: {why}"),
        _ => line.state.clone(),
    }
}

/// Where the row came from, as far as it is still known.
fn traces(line: &Line, context: &Context) -> Result<Vec<String>> {
    let Some(source) = line.source.as_deref().and_then(crate::source::Source::find) else {
        return Ok(Vec::new());
    };
    let columns = line.columns().unwrap_or_default();
    let value = |name: &str| columns.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    let session = line.time.or_else(|| value("time")?.get(..10)?.parse::<NaiveDate>().ok()).or(line.from);
    let code = line.stock_code.clone().or_else(|| value("stock_code"));
    let Some((session, dataset)) = session.zip(crate::dataset::find(&line.dataset)) else {
        return Ok(Vec::new());
    };
    Ok(trace(source, dataset, session, code.as_deref(), &context.settings, &home(&context.settings)?))
}

/// Marks as looked at.
pub(super) fn discard(what: Kept, discard: &Discard, context: &Context) -> Result<()> {
    let filter = discard.which.filter(context)?;
    if discard.reason.trim().is_empty() {
        return Err(Error::usage("the reason is empty", "write --reason 'what you found'"));
    }
    let count =
        ask(context, async |client| kept::discard(client, what, &filter, discard.reason.trim()).await)?;
    if count == 0 {
        return Err(Error::usage(
            format!("no open {} matches", what.as_str()),
            format!("`kdata {} list --state all` lists them all", what.as_str()),
        ));
    }
    let many = if count == 1 { "" } else { "s" };
    let one = what.as_str().trim_end_matches('s');
    context
        .printer
        .remark(format!("discard: {} {one}{many} marked as looked at", printer::count(count as u64)));
    Ok(())
}

/// As much as a person reads; json and `show` have it whole.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} … (--format json shows all {} bytes)", &text[..end], text.len()),
    }
}

/// Characters.
const MOST: usize = 400;
