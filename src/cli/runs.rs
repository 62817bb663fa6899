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
    context.printer.line(printer::table(&header, &rows, &[0, 5, 6, 7], context.width()))
}

fn row(run: &RunLine) -> Vec<String> {
    let number = |n: Option<i64>| n.map_or(String::new(), printer::count);
    let sessions = match (run.from, run.to) {
        (Some(from), Some(to)) if from == to => from.to_string(),
        (Some(from), Some(to)) => format!("{from} {to}"),
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
