//! `kdata run`: the stages of a day in one process, for cron lines that want one command.

use std::time::Instant;

use chrono::NaiveDate;

use super::{Context, choice, due, promote, range};
use crate::dataset::Dataset;
use crate::db::Database;
use crate::db::cluster::home;
use crate::error::{Error, Result};
use crate::source::published::{self, State};
use crate::source::{Job, Stop};
use crate::stage::promote::{Options, Receipt};
use crate::stage::validate::MaxRejects;
use crate::stage::{self, block_on};

const EXAMPLES: &str = "\
Examples:
  kdata run stocks ohlcv market-cap --due          what is not there yet, also after an outage
  kdata run ohlcv --date today --source marcap     one session
  kdata run investor-trading --from -5s --to -1s   a range, as one batch";

/// Extract, validate, load and promote in one process
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which datasets, in this order
    #[arg(required = true, value_parser = super::dataset_parser())]
    datasets: Vec<&'static Dataset>,
    #[command(flatten)]
    range: range::Range,
    /// The recent sessions that are not promoted final, as `kdata due` lists them
    #[arg(long, conflicts_with_all = ["date", "from", "to"])]
    due: bool,
    #[command(flatten)]
    choice: choice::Choice,
}

/// Runs the command. What fails does not stop the others; the gravest failure decides the exit code, and what is only
/// not published yet is the least.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut database = block_on(context.database_to_promote())?;
    let stop = Stop::default();
    super::stop_on_signals(&stop, context.printer);
    let mut failure: Option<Error> = None;
    for dataset in &args.datasets {
        let days = days(args, context, &database, dataset).unwrap_or_else(|error| {
            note(&mut failure, error, context);
            Vec::new()
        });
        for days in days {
            let begun = Instant::now();
            match bring(args, context, &database, dataset, days, &stop) {
                Ok(Some(receipt)) => context.printer.remark(promote::line(
                    &receipt,
                    Options::default(),
                    begun.elapsed().as_secs_f64(),
                )),
                Ok(None) => {
                    context
                        .printer
                        .remark(format!("{} {} to {}: the market was closed", dataset.name, days.0, days.1));
                }
                Err(error @ Error::Interrupted { .. }) => return Err(error),
                Err(error) => {
                    note(&mut failure, error, context);
                    // A private server that died is started again: what comes next may go well.
                    if let Ok(again) = block_on(context.database_to_promote()) {
                        database = again;
                    }
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Keeps the gravest failure for the end, and tells the other one.
fn note(failure: &mut Option<Error>, error: Error, context: &Context) {
    let is_worse = |earlier: &Error| matches!(earlier, Error::NotPublished { .. });
    if failure.as_ref().is_none_or(is_worse) {
        if let Some(earlier) = failure.replace(error) {
            context.printer.remark(earlier);
        }
    } else {
        context.printer.error(&error);
    }
}

/// The ranges to bring in: the one that was given, or the sessions that are due, one by one.
fn days(
    args: &Args,
    context: &Context,
    database: &Database,
    dataset: &'static Dataset,
) -> Result<Vec<(NaiveDate, NaiveDate)>> {
    if !args.due {
        return Ok(vec![args.range.resolve(&context.calendar, context.today())?]);
    }
    let last = due::last(dataset, context)?;
    let due =
        block_on(async { stage::report::due(&database.place.connect().await?, dataset, last, None).await })?;
    let can_be_had = |session: &NaiveDate| {
        let (calendar, now) = (&context.calendar, context.now);
        let source = args.choice.resolve(dataset, (*session, *session), context);
        // What is wrong with the choice is told when the session is asked for.
        let is_gone = source.is_ok_and(|source| {
            published::state(source, dataset.name, *session, calendar, now) == State::Gone
        });
        if is_gone {
            context.printer.remark(format!(
                "{} {session}: left out: what is set up tells the present only; another source has to bring it",
                dataset.name
            ));
        }
        !is_gone
    };
    let sessions = due.into_iter().map(|(session, _)| session).filter(can_be_had);
    Ok(sessions.map(|session| (session, session)).collect())
}

fn bring(
    args: &Args,
    context: &Context,
    database: &Database,
    dataset: &'static Dataset,
    days: (NaiveDate, NaiveDate),
    stop: &Stop,
) -> Result<Option<Receipt>> {
    let (calendar, settings) = (&context.calendar, &context.settings);
    if calendar.sessions(days.0, days.1).is_empty() {
        return Ok(None);
    }
    let source = args.choice.resolve(dataset, days, context)?;
    let now = (context.now, format!("{}-{}", context.run_id(), days.0.format("%Y%m%d")));
    let mut job = Job {
        seed: args.choice.seed,
        stop: stop.clone(),
        ..Job::new(dataset, days, now, calendar, settings, home(settings)?)
    };
    block_on(stage::extract::know_names(source, &mut job, &database.place))?;
    stage::run::bring(source, &job, database, MaxRejects::Percent(1.0)).map(Some)
}
