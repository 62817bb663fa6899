//! `kdata rejects`: rows that broke a hard rule: what they are, and what becomes of them.

use std::io::IsTerminal;

use super::kept::{Discard, List, Show, Which, ask};
use super::{Context, kept};
use crate::error::{Error, Result};
use crate::stage;
use crate::stage::kept::Kept;

const EXAMPLES: &str = "\
Examples:
  kdata rejects                                  counts by rule, then the newest
  kdata rejects list --dataset ohlcv --date -1s  of one session
  kdata rejects list --state all --format json   also those replayed, discarded
  kdata rejects show 1                           one row, its rule, its source
  kdata rejects replay --batch 1 | kdata load    those that keep today's rules
  kdata rejects discard 1 --reason typo          looked at, not deleted";

/// Rejected rows: list, show, replay by today's rules, discard
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: List,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Counts by rule, then the newest; what `kdata rejects` does
    List(List),
    /// One row, column by column, its rule, and where it came from
    Show(Show),
    /// Judge rows by today's rules; writes those that pass as a stream for load
    Replay(Which),
    /// Mark rows as looked at; nothing is deleted
    Discard(Discard),
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.action {
        None => kept::list(Kept::Rejects, &args.list, &[], context),
        Some(Action::List(list)) => kept::list(Kept::Rejects, list, &[], context),
        Some(Action::Show(show)) => kept::show(Kept::Rejects, show, context),
        Some(Action::Discard(discard)) => kept::discard(Kept::Rejects, discard, context),
        Some(Action::Replay(which)) => replay(which, context),
    }
}

fn replay(which: &Which, context: &Context) -> Result<()> {
    let filter = which.filter(context)?;
    if std::io::stdout().is_terminal() {
        return Err(Error::usage(
            "the stream of a replay goes into load",
            "kdata rejects replay --batch N | kdata load && kdata promote",
        ));
    }
    let run = format!("replay-{}", context.run_id());
    let replayed = ask(context, async |client| {
        let out = std::io::stdout().lock();
        stage::kept::replay(client, &filter, out, &context.calendar, context.today(), &run).await
    })?;
    let mut text = format!("replay: {} rows of batch {} pass", replayed.passed, replayed.batch);
    for (rule, count) in &replayed.still {
        text.push_str(&format!("\n  {count} still break {rule}"));
    }
    if replayed.left > 0 {
        text.push_str(&format!(
            "\n  {} were left: their source rejected them, or they are not kept to the letter",
            replayed.left
        ));
    }
    context.printer.remark(text);
    Ok(())
}
