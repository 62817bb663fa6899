//! `kdata load`: a validated stream into staging.

use std::io::stdin;
use std::time::Instant;

use super::{Context, printer};
use crate::db::ledger::About;
use crate::error::Result;
use crate::stage;

const EXAMPLES: &str = "\
Examples:
  kdata extract ohlcv --date today | kdata validate | kdata load && kdata promote
  kdata load < day.kdata                    prints the batch's number";

/// Load a validated stream into staging; prints the batch's number
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn run(_: &Args, context: &Context) -> Result<()> {
    if !printer::stdin_is_piped() {
        return Err(super::nothing_piped_in("load"));
    }
    let started = Instant::now();
    let loaded = crate::stage::block_on(async {
        let database = context.database().await?;
        let (client, ledger) = (database.place.connect().await?, database.place.connect().await?);
        stage::load::load(stdin(), client, ledger, database.kind, About::default()).await
    })?;
    context.printer.receipt(loaded.batch)?;
    if loaded.counts.missing > 0 {
        context
            .printer
            .warning(format!("the source could not give {} sessions or codes", loaded.counts.missing));
    }
    context.printer.remark(format!(
        "load: batch {} of {}, {} rows, {:.1} s; next: kdata promote",
        loaded.batch,
        loaded.dataset,
        printer::count(loaded.counts.rows),
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
