//! `kdata rollback`: undoes a batch.

use super::{Context, printer};
use crate::error::Result;
use crate::stage::rollback::{self, Undone};

/// Undo a batch: promoted rows get their old values back, a staged one is dropped
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  kdata runs                 which batches there are\n  kdata rollback 12"
)]
pub(super) struct Args {
    /// The batch's number
    #[arg(value_name = "BATCH")]
    batch: i64,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let undone = crate::stage::block_on(async {
        let database = context.database().await?;
        rollback::rollback(&database.place, args.batch).await
    })?;
    let what = match undone {
        Undone::Discarded => "was staged and is dropped".to_owned(),
        Undone::RolledBack { removed, restored } => format!(
            "is rolled back: {} rows removed, {} restored",
            printer::count(removed),
            printer::count(restored)
        ),
    };
    context.printer.receipt(format!("batch {} {what}", args.batch))
}
