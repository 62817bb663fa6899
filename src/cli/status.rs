//! `kdata status`: is all well, on one screen, with one exit code.

use super::language::{fill, say};
use super::{Context, Format, printer};
use crate::error::{Error, Result};
use crate::market::kst;
use crate::stage::report;
use crate::stage::status::{Judged, State, Status, look};

const EXAMPLES: &str = "\
Examples:
  kdata status                       exit 3 when something wants a look
  kdata -q status                    silent when all is well, else exit 3
  kdata status --format json         for programs, exit 3 as well";

/// Is all well: one screen, one exit code for monitors
///
/// Exit 0: all is well. 3: something is stale, held, pending, failed or near its end; what to type stands beside it. Another
/// code: the database cannot be looked at (4 when it cannot be reached).
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One screen is so wide where nothing else is known.
const WIDTH: u16 = 80;

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let status = look(&context.settings, &context.calendar, context.now)?;
    let bad: Vec<&str> =
        status.checks.iter().filter(|check| check.state != State::Ok).map(|check| check.name).collect();
    match args.format {
        Format::Json => context.printer.json(&serde_json::json!({
            "schema_version": report::SCHEMA_VERSION,
            "made_at": context.now,
            "state": status.checks.iter().map(|check| check.state).max(),
            "checks": status.checks,
            "datasets": status.datasets,
        }))?,
        Format::Table => context.printer.verdict(bad.is_empty(), text(&status, context))?,
    }
    match status.error {
        Some(error) => Err(error),
        None if bad.is_empty() => Ok(()),
        None => Err(Error::Gate {
            what: format!("{} of {} checks: {}", bad.len(), status.checks.len(), bad.join(", ")),
            help: "type what stands beside each arrow; `kdata status` again shows what it did".into(),
        }),
    }
}

fn text(status: &Status, context: &Context) -> String {
    let word = |state| match state {
        State::Ok => "ok",
        State::Attention => "attention",
        State::Failed => "FAILED",
    };
    let row = |check: &Judged| {
        let mut found = check.found.clone();
        for remedy in check.remedy.lines() {
            found.push_str(&format!("\n→ {remedy}"));
        }
        vec![say(check.name).to_owned(), say(word(check.state)).to_owned(), found]
    };
    let rows: Vec<Vec<String>> = status.checks.iter().map(row).collect();
    let at = context.now.with_timezone(&kst()).format("%Y-%m-%d %H:%M").to_string();
    let title = fill("kdata at {time} KST", &[("time", &at)]);
    format!("{title}\n{}", printer::body(&rows, context.width().or(Some(WIDTH))))
}
