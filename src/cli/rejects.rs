//! `kdata rejects`: rows that broke a hard rule.

use super::{Context, Format};
use crate::error::Result;
use crate::stage::report;

/// List rejected rows, newest first, each whole
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  kdata rejects -n 5\n  kdata rejects --run 12 --rule ohlcv.high_is_highest --format json"
)]
pub(super) struct Args {
    /// How many
    #[arg(short = 'n', long, default_value_t = 20)]
    number: u32,
    /// Only those of this run
    #[arg(long, value_name = "RUN")]
    run: Option<i64>,
    /// Only those of this rule
    #[arg(long)]
    rule: Option<String>,
    /// table or json
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let rejects = crate::stage::block_on(async {
        let database = context.database().await?;
        let client = database.place.connect().await?;
        report::rejects(&client, args.number.into(), args.run, args.rule.as_deref()).await
    })?;
    if args.format == Format::Json {
        let document = serde_json::json!({ "schema_version": report::SCHEMA_VERSION, "rejects": rejects });
        return context.printer.json(&document);
    }
    for reject in &rejects {
        let line = reject.line.map_or(String::new(), |l| format!(" line {l}"));
        context.printer.line(format!(
            "run {} {}{line} {}\n  {}\n  {}",
            reject.run_id,
            reject.dataset,
            reject.rule,
            shortened(&reject.message),
            shortened(&reject.row)
        ))?;
    }
    if rejects.is_empty() {
        context.printer.remark("no rejects");
    }
    Ok(())
}

/// As much as a person reads; json has it whole.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} … (--format json shows all {} bytes)", &text[..end], text.len()),
    }
}

/// Characters.
const MOST: usize = 400;
