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

/// List the recent sessions that are not promoted final
///
/// Looks 20 sessions back, but not beyond the first session that the database has: what is older is for `kdata backfill`.
/// Of lists that change slowly (sectors, index members, floating shares, ETF portfolios) one session a week is enough.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which dataset
    #[arg(value_parser = super::dataset_parser())]
    dataset: &'static Dataset,
    /// How many sessions to look back, whatever the database has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=10_000))]
    sessions: Option<i64>,
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
        None => last(args.dataset, context)?,
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

/// The last session that may be there: lists are of the present, whatever the hour, all others once it is over.
pub(super) fn last(dataset: &Dataset, context: &Context) -> Result<NaiveDate> {
    if dataset.may_lag > 0 { context.known(context.today()) } else { context.last_over() }
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
