//! `kdata doctor`: is everything in order for an unattended run?

use super::{Context, Format, printer};
use crate::error::{Error, Result};
use crate::stage::doctor::{Check, Health, examine};

const EXAMPLES: &str = "\
Examples:
  kdata doctor
  kdata doctor --format json";

/// Check settings, credentials, clock, time zone, database, disk, blocks and calendar; asks no source
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema_version: u32,
    checks: &'a [Check],
}

/// Runs the command: exit 2 when something must be mended.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let checks = examine(&context.settings, &context.calendar, context.now)?;
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| check.health == Health::Failed)
        .map(|check| check.name.as_str())
        .collect();
    match args.format {
        Format::Json => context.printer.json(&Document { schema_version: 1, checks: &checks })?,
        Format::Table => context.printer.verdict(failed.is_empty(), text(&checks, context.width()))?,
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::usage(
        format!("{} of {} checks failed: {}", failed.len(), checks.len(), failed.join(", ")),
        "do what stands beside each, then run it again",
    ))
}

fn text(checks: &[Check], width: Option<u16>) -> String {
    let word = |health| match health {
        Health::Ok => "ok",
        Health::Warning => "warning",
        Health::Failed => "FAILED",
    };
    let row = |check: &Check| {
        let found = if check.remedy.is_empty() {
            check.found.clone()
        } else {
            format!("{}\n→ {}", check.found, check.remedy)
        };
        vec![check.name.clone(), word(check.health).to_owned(), found]
    };
    printer::body(&checks.iter().map(row).collect::<Vec<_>>(), width)
}
