//! `kdata backfill`: history, window by window.

use super::extract::plan_text;
use super::{Context, choice, promote, range};
use crate::dataset::Dataset;
use crate::db::cluster::home;
use crate::error::{Error, Result};
use crate::source::{Job, Source, Stop};
use crate::stage::backfill::{Ledger, Outcome, Window, backfill, windows};
use crate::stage::promote::Options;
use crate::stage::{block_on, extract};

const EXAMPLES: &str = "\
Examples:
  kdata backfill ohlcv --from 2016-01-04 --to 2026-11-20 --dry-run   calls, time
  kdata backfill ohlcv --from 2016-01-04 --to 2026-11-20   goes on after a stop
  kdata backfill market-cap --from -60s --to -1s --source marcap --window 5";

/// Bring in history, window by window; skips what is promoted final, and goes on where it stopped
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which dataset
    #[arg(value_parser = super::dataset_parser())]
    dataset: &'static Dataset,
    #[command(flatten)]
    range: range::Range,
    #[command(flatten)]
    choice: choice::Choice,
    /// Sessions of one window; default: a month of daily data, a session of minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    window: Option<u16>,
    /// How many windows are loaded side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    jobs: u8,
    /// Show the windows, calls and time; do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let range = args.range.resolve(&context.calendar, context.today())?;
    let source = args.choice.resolve(args.dataset, range, context)?;
    let stop = Stop::default();
    let state = home(&context.settings)?;
    let job_of = |window: &Window| {
        // A run of its own each: downloads and logs are told apart by it.
        let now = (context.now, format!("{}-{}", context.run_id(), window.from.format("%Y%m%d")));
        let days = (window.from, window.to);
        let job = Job::new(args.dataset, days, now, &context.calendar, &context.settings, state.clone());
        Job { seed: args.choice.seed, stop: stop.clone(), ..job }
    };
    let whole = job_of(&Window { from: range.0, to: range.1, due: 0, staged: None });
    let width = usize::from(args.window.unwrap_or(if args.dataset.is_intraday() { 1 } else { 21 }));
    let database = block_on(context.database())?;
    let due = block_on(async { windows(&database.place.connect().await?, &whole, source, width).await })?;
    let sessions: usize = due.iter().map(|window| window.due).sum();
    let what = format!("{} {} to {} from {}", args.dataset.name, range.0, range.1, source.name());
    if due.is_empty() {
        context
            .printer
            .remark(format!("backfill: {what}: all {} sessions are there", whole.sessions().len()));
        return Ok(());
    }
    let plan = plan(source, &due, &job_of)?;
    let text = format!("backfill: {what}: {sessions} sessions in {} windows: {plan}", due.len());
    if args.dry_run {
        return context.printer.line(text);
    }
    context.printer.remark(text);
    let database = block_on(context.database_to_promote())?;
    super::stop_on_signals(&stop, context.printer);
    let ledger = block_on_kept(Ledger::begin(&database, &whole, source, due.len()))?;
    let mut count = 0;
    let outcome =
        backfill(&database, source, &due, (args.jobs.into(), &context.settings), job_of, |outcome| {
            count += 1;
            context.printer.remark(format!("{count}/{} {}", due.len(), line(outcome)));
            ledger.0.block_on(ledger.1.note(outcome))
        });
    ledger.0.block_on(ledger.1.end(&outcome))?;
    outcome
}

/// The ledger's connection, and with it the lock, lives as long as its runtime.
fn block_on_kept<T>(future: impl Future<Output = Result<T>>) -> Result<(tokio::runtime::Runtime, T)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("cannot start the runtime", e))?;
    let value = runtime.block_on(future)?;
    Ok((runtime, value))
}

/// The calls of all windows, by those of the first.
fn plan<'a>(source: Source, due: &[Window], job_of: &impl Fn(&Window) -> Job<'a>) -> Result<String> {
    let fresh: Vec<&Window> = due.iter().filter(|window| window.staged.is_none()).collect();
    let Some(first) = fresh.first() else { return Ok("all staged already".into()) };
    let job = job_of(first);
    let mut plan = block_on(extract::plan(source, &job))?;
    plan.calls *= fresh.len() as u64;
    plan.seconds *= f64::from(u32::try_from(fresh.len()).unwrap_or(u32::MAX));
    Ok(plan_text(&plan))
}

fn line(outcome: &Outcome) -> String {
    let Window { from, to, .. } = outcome.window;
    match &outcome.result {
        Ok(receipt) => promote::line(receipt, Options::default(), outcome.took.as_secs_f64()),
        Err(error) if outcome.is_held() => format!("{from} to {to}: held: {error}"),
        Err(error) => format!("{from} to {to}: {error}"),
    }
}
