//! `kdata validate`: judges a stream by the rules.

use std::time::Instant;

use super::{Context, printer};
use crate::error::Result;
use crate::stage::validate::{self, MaxRejects, Summary};

const EXAMPLES: &str = "\
Examples:
  kdata extract ohlcv --date today | kdata validate | kdata load
  kdata extract ohlcv --date -1s | kdata validate --max-rejects 0 > day.kdata
  kdata explain --list                      the rules";

/// Judge a stream by its dataset's rules; reads stdin, writes stdout
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Rejects that a batch may have: N stops at the one after, P% decides at the end (exit 3)
    #[arg(long, value_name = "N|P%", default_value = "1%", value_parser = max_rejects)]
    max_rejects: MaxRejects,
}

fn max_rejects(text: &str) -> std::result::Result<MaxRejects, String> {
    let expected = || "expected a number of rows, or a share like 1%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.parse().map_err(|_| expected())?;
            if (0.0..=100.0).contains(&percent) { Ok(MaxRejects::Percent(percent)) } else { Err(expected()) }
        }
        None => text.parse().map(MaxRejects::Count).map_err(|_| expected()),
    }
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    if !printer::stdin_is_piped() {
        return Err(super::nothing_piped_in("validate"));
    }
    let started = Instant::now();
    let (input, out) = (std::io::stdin().lock(), std::io::stdout().lock());
    let summary = validate::validate(input, out, &context.calendar, context.today(), args.max_rejects)?;
    context.printer.remark(line(&summary, started.elapsed().as_secs_f64()));
    Ok(())
}

fn line(summary: &Summary, seconds: f64) -> String {
    let counts = summary.counts;
    let mut text = format!(
        "validate: {} rows good, {} rejected, {} flagged, {seconds:.1} s",
        printer::count(counts.rows),
        printer::count(counts.rejected),
        printer::count(counts.flagged),
    );
    for (rule, severity, n) in summary.by_rule.iter().take(5) {
        text.push_str(&format!("\n  {:>9} {} {rule}", printer::count(*n), severity.as_str()));
    }
    text
}
