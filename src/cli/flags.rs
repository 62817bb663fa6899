//! `kdata flags`: remarks about rows and batches that went on: what they are, and what was looked at.

use super::Context;
use super::kept::{self, Discard, List, Show};
use crate::error::Result;
use crate::stage::kept::Kept;

const EXAMPLES: &str = "\
Examples:
  kdata flags                                        counts by rule, then the newest
  kdata flags list --dataset ohlcv --date -1s        of one session
  kdata flags list --severity note                   remarks for the record
  kdata flags show 1                                 one of them, and its rule
  kdata flags discard 1 --reason block-deal          looked at; nothing is deleted";

/// Flags, gates and what is missing: list, show, discard
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Counts by rule, then the newest; what `kdata flags` does
    List(Listing),
    /// One of them, and its rule
    Show(Show),
    /// Mark them as looked at; nothing is deleted
    Discard(Discard),
}

#[derive(clap::Args, Debug)]
struct Listing {
    #[command(flatten)]
    list: List,
    /// Which of them
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = ["flag", "gate", "missing", "slice", "note"])]
    #[arg(default_value = "flag,gate,missing")]
    severity: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let list = |Listing { list, severity }: &Listing| kept::list(Kept::Flags, list, severity, context);
    match &args.action {
        None => list(&args.listing),
        Some(Action::List(listing)) => list(listing),
        Some(Action::Show(show)) => kept::show(Kept::Flags, show, context),
        Some(Action::Discard(discard)) => kept::discard(Kept::Flags, discard, context),
    }
}
