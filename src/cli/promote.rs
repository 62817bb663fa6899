//! `kdata promote`: staged batches into production.

use std::time::{Duration, Instant};

use super::{Context, printer};
use crate::db::storage;
use crate::error::{Error, Result};
use crate::stage::promote::{self, Options, Receipt};

const EXAMPLES: &str = "\
Examples:
  kdata promote                     all staged batches, masters first, each whole or not at all
  kdata promote --dry-run           what would change
  kdata promote --batch 12 --force  over a gate, once you have looked";

/// Bring staged batches into production, atomically
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only this batch
    #[arg(long, value_name = "N")]
    batch: Option<i64>,
    /// Show what would change, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on although a gate failed or production holds better data
    #[arg(long, requires = "batch")]
    force: bool,
    /// How many of the codes asked for a batch may lack; more hold it (exit 3)
    #[arg(long, value_name = "P%", default_value = "1%", value_parser = percent)]
    max_missing: f64,
    /// How long to wait for another run that promotes the same dataset
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|n| n.parse().ok());
    number.filter(|n| (0.0..=100.0).contains(n)).ok_or_else(|| "expected a share like 1%".to_owned())
}

/// Runs the command. A batch that is held does not stop the others; the first failure decides the exit code.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let options = Options {
        dry_run: args.dry_run,
        force: args.force,
        max_missing: args.max_missing,
        wait: Duration::from_secs(args.wait),
    };
    crate::stage::block_on(async {
        let database = context.database_to_promote().await?;
        let batches =
            promote::staged(&database.place.connect().await?, args.batch, &context.settings).await?;
        if batches.is_empty() {
            context.printer.remark("promote: nothing is staged");
        }
        let mut failure: Option<Error> = None;
        let mut superseded = Vec::new();
        for batch in &batches {
            if superseded.contains(&batch.id) {
                continue;
            }
            let started = Instant::now();
            match promote::promote(&database.place, batch, options).await {
                Ok(receipt) if receipt.by_another => {
                    let seconds = started.elapsed().as_secs_f64();
                    context.printer.remark(line(&receipt, options, seconds));
                }
                Ok(receipt) => {
                    context.printer.receipt(line(&receipt, options, started.elapsed().as_secs_f64()))?;
                    for id in &receipt.superseded {
                        context
                            .printer
                            .remark(format!("batch {id} is discarded: batch {} supersedes it", batch.id));
                    }
                    superseded.extend(receipt.superseded.iter().copied());
                    for gate in &receipt.forced {
                        context.printer.warning(format!("went over a gate: {gate}"));
                    }
                }
                // What only has to wait is told, and does not hide what failed.
                Err(error @ Error::NotPublished { .. }) if failure.is_some() => context.printer.error(&error),
                Err(error) => {
                    if let Some(earlier) = failure.replace(error) {
                        context.printer.error(&earlier);
                    }
                }
            }
        }
        // Beside the receipts: what is promoted stays so, whatever becomes of this.
        let started = Instant::now();
        match storage::refresh_rollups(&database.place).await {
            Ok(0) => {}
            Ok(_) => context
                .printer
                .remark(format!("rollups are up to date, {:.1} s", started.elapsed().as_secs_f64())),
            Err(error) => context.printer.warning(format!("rollups wait for the next promote: {error}")),
        }
        failure.map_or(Ok(()), Err)
    })
}

/// The receipt in a line.
pub(super) fn line(receipt: &Receipt, options: Options, seconds: f64) -> String {
    let (batch, written) = (&receipt.batch, receipt.written);
    let (from, to) = batch.range;
    let range = if from == to { from.to_string() } else { format!("{from} to {to}") };
    let mut text = format!(
        "batch {} {} {range} from {}{}: {} rows: {} inserted, {} updated, {} unchanged",
        batch.id,
        batch.dataset.name,
        batch.source,
        match (receipt.by_another, options.dry_run) {
            (true, _) => " (nothing left to do, promoted before)",
            (false, true) => " (dry run)",
            (false, false) => "",
        },
        printer::count(batch.rows),
        printer::count(written.inserted),
        printer::count(written.updated),
        printer::count(written.unchanged),
    );
    let others = [
        (written.deleted, "deleted"),
        (receipt.held, "held back"),
        (receipt.flags as u64, "flagged"),
        (receipt.notes as u64, "noted"),
        (receipt.actions as u64, "corporate action candidates"),
    ];
    for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {} {what}", printer::count(*count)));
    }
    text + &format!(", {seconds:.1} s")
}
