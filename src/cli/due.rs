//! `kdata due`: what cron should still fetch.

use super::{Context, range};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::market::{Calendar, Day, kst};
use crate::stage::report;
use chrono::{DateTime, NaiveDate, Utc};

const EXAMPLES: &str = "\
Examples:
  kdata due ohlcv                            one session a line; nothing when all are here
  for day in $(kdata due ohlcv); do kdata run ohlcv --date $day; done";

/// So many sessions back is recent.
pub(super) const LOOK_BACK: i64 = 20;

/// List the recent sessions that are not promoted final
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which dataset
    #[arg(value_parser = super::dataset_parser())]
    dataset: &'static Dataset,
    /// How many sessions to look back
    #[arg(long, value_name = "N", default_value_t = LOOK_BACK, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    sessions: i64,
    /// Look back from this day instead of today
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    date: Option<String>,
    /// Say beside each what is there instead
    #[arg(long)]
    long: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let last = match &args.date {
        Some(text) => context.known(range::day(text, &context.calendar, context.today())?)?,
        None => context.last_over()?,
    };
    let due = crate::stage::block_on(async {
        let database = context.database().await?;
        report::due(&database.place.connect().await?, args.dataset, last, args.sessions).await
    })?;
    for (session, state) in due {
        if args.long {
            context.printer.line(format!("{session} {state}"))?;
        } else {
            context.printer.line(session)?;
        }
    }
    Ok(())
}

/// The last session whose regular hours are over.
pub(super) fn last_over(calendar: &Calendar, now: DateTime<Utc>) -> NaiveDate {
    let now = now.with_timezone(&kst()).naive_local();
    let over = |session: NaiveDate| match calendar.day(session) {
        Day::Session(Some(hours)) => session.and_time(hours.close) <= now,
        _ => session < now.date(),
    };
    match calendar.session_at_or_before(now.date()) {
        Some(session) if over(session) => session,
        Some(session) => calendar.prev_session(session).unwrap_or(session),
        None => now.date(),
    }
}
