//! `kdata db compress`: what the server's background jobs would do, from cron.

use std::time::Instant;

use super::{Context, printer};
use crate::db::storage;
use crate::error::Result;
use crate::stage::block_on;

/// Compress what is final and settled, and bring bars of 5, 15 and 60 minutes up to date
///
/// Minute bars are compressed once they are final, parts of daily tables (a year each) 30 days after their last session.
/// Readers go on meanwhile; a promote of the same dataset waits. Plain PostgreSQL compresses nothing.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  kdata db compress --dry-run\n  kdata -q db compress                every night, from cron"
)]
pub(super) struct Args {
    /// Say what would be compressed
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    block_on(async {
        let database = context.database().await?;
        if !args.dry_run {
            storage::refresh_rollups(&database.place).await?;
        }
        let mut client = database.place.connect().await?;
        let (mut before, mut after) = (0, 0);
        let parts = storage::parts(&client).await?;
        let due: Vec<_> = parts.iter().filter(|part| part.is_due(context.now)).collect();
        for part in &due {
            let what = format!(
                "{} {} to {}: {}",
                part.table,
                part.from,
                part.until.pred_opt().unwrap_or(part.until),
                part.mend.as_ref().map_or("", |mend| mend.what.as_str())
            );
            if args.dry_run {
                context.printer.line(format!("{what}, {}", printer::bytes(part.bytes)))?;
                continue;
            }
            let started = Instant::now();
            let bytes = storage::compress(&mut client, part).await?;
            context.printer.remark(format!(
                "{what}, {} → {}, {:.1} s",
                printer::bytes(part.bytes),
                printer::bytes(bytes),
                started.elapsed().as_secs_f64()
            ));
            before += part.bytes;
            after += bytes;
        }
        context.printer.remark(match due.len() {
            0 => "compress: nothing to do".to_owned(),
            n if args.dry_run => format!("compress: {n} parts"),
            n => format!("compress: {n} parts, {} → {}", printer::bytes(before), printer::bytes(after)),
        });
        Ok(())
    })
}
