//! `kdata runs` and `kdata rejects`: the ledger.

use super::{Context, Format, printer};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::market::kst;
use crate::stage::report::{self, RunLine};

/// List the last runs: what was loaded, promoted, refused, and why
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata runs --failed\n  kdata runs --dataset ohlcv --format json")]
pub(super) struct Args {
    /// How many
    #[arg(short = 'n', long, default_value_t = 20)]
    number: u32,
    /// Only those that failed or were killed
    #[arg(long)]
    failed: bool,
    /// Only this dataset
    #[arg(long, value_parser = super::dataset_parser())]
    dataset: Option<&'static Dataset>,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let runs = crate::stage::block_on(async {
        let database = context.database().await?;
        let client = database.place.connect().await?;
        report::runs(&client, args.number.into(), args.failed, args.dataset.map(|d| d.name)).await
    })?;
    if args.format == Format::Json {
        return context
            .printer
            .json(&serde_json::json!({ "schema_version": report::SCHEMA_VERSION, "runs": runs }));
    }
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    let header =
        ["run", "started (KST)", "command", "dataset", "sessions", "rows", "rejects", "batch", "outcome"];
    let wide = printer::table_with_text(&header, &rows, &[0, 5, 6, 7], context.width());
    context.printer.line(wide.unwrap_or_else(|| narrow(&rows, context.width())))
}

/// Two lines a run, where a table would break its dates in two: what it was, and what came of it.
fn narrow(rows: &[Vec<String>], width: Option<u16>) -> String {
    let lines = rows.iter().flat_map(|row| {
        let [run, started, command, dataset, sessions, rows, rejects, batch, outcome] = row.as_slice() else {
            return [Vec::new(), Vec::new()];
        };
        let what = [started, command, dataset, sessions].map(String::as_str);
        let counts = [("batch ", batch, ""), ("", rows, " rows"), ("", rejects, " rejects")];
        let counts = counts.iter().filter(|(_, n, _)| !n.is_empty() && *n != "0");
        let counts: Vec<String> = counts.map(|(before, n, after)| format!("{before}{n}{after}")).collect();
        let came = [outcome.clone(), counts.join(", ")].join("; ");
        [vec![run.clone(), what.join("  ")], vec![String::new(), came.trim_end_matches("; ").to_owned()]]
    });
    printer::body(&lines.collect::<Vec<_>>(), width)
}

fn row(run: &RunLine) -> Vec<String> {
    let number = |n: Option<i64>| n.map_or(String::new(), printer::count);
    let sessions = match (run.from, run.to) {
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{from} to {to}"),
        _ => String::new(),
    };
    let outcome = match (run.state.as_str(), run.exit_code, &run.reason) {
        ("failed", Some(code), Some(reason)) => format!("exit {code}: {reason}"),
        ("running", _, _) => "running, or killed".into(),
        _ => run.batch_state.clone().unwrap_or_else(|| "ok".into()),
    };
    vec![
        run.run_id.to_string(),
        run.started_at.with_timezone(&kst()).format("%m-%d %H:%M:%S").to_string(),
        run.command.clone(),
        run.dataset.clone().unwrap_or_default(),
        sessions,
        number(run.rows),
        number(run.rejected),
        run.batch_id.map_or(String::new(), |b| b.to_string()),
        outcome,
    ]
}
