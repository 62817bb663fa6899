//! `kdata demo`: a simulated market, from nothing to a report.

use std::time::Instant;

use super::language::{NEXT_STEPS, fill, say};
use super::{Context, promote, report};
use crate::dataset::{self, Dataset, Kind};
use crate::db::migrate::{self, State};
use crate::db::{Database, Place, Target};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::source::{Job, Source};
use crate::stage::promote::Options;
use crate::stage::validate::MaxRejects;
use crate::stage::{self, block_on};

/// Show a simulated market, from nothing to a report, in a database of its own
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata demo\n  kdata demo --sessions 60 --seed 7")]
pub(super) struct Args {
    /// How many sessions, up to the last that is over
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=250))]
    sessions: u16,
    /// Seed of the simulated market
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let started = Instant::now();
    let printer = &context.printer;
    // The demo has a database of its own in the private cluster, whatever DATABASE_URL says.
    let settings = Settings { database_url: None, ..context.settings.clone() };
    let database = block_on(database(&settings, context)).map_err(or_anew)?;
    let last = context.last_over()?;
    let (first_day, _) = context.calendar.covers();
    let sessions = context.calendar.sessions(first_day, last);
    let from = *sessions.iter().rev().nth(usize::from(args.sessions) - 1).ok_or_else(|| {
        Error::usage("the calendar does not reach that far back", "ask for fewer --sessions")
    })?;
    printer.remark(fill(
        "A simulated market of {count} sessions, {from} to {to}, through the stages:",
        &[("count", &args.sessions.to_string()), ("from", &from.to_string()), ("to", &last.to_string())],
    ));
    for dataset in dataset::ALL {
        let first = sessions[sessions.len() - usize::from(args.sessions).min(most_sessions(dataset))];
        let job = job(dataset, (first, last), args.seed, context, &settings);
        let promoted = stage::run::bring(Source::Sim, &job, &database, MaxRejects::Percent(1.0))?;
        printer.remark(format!(
            "  {}",
            promote::line(&promoted, Options::default(), started.elapsed().as_secs_f64())
        ));
    }
    let report = block_on(report::quality(&database, last, context))?;
    printer.receipt(format!(
        "\n{report}\n\n{}",
        say(NEXT_STEPS).replace("kdata ", &format!("{} ", program()))
    ))?;
    printer.remark(format!("\nkdata demo: done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// The demo's database. One that an older kdata made is brought up to date: nobody else's work depends on it.
async fn database(settings: &Settings, context: &Context) -> Result<Database> {
    let mut client = Place::resolve(settings, Target::Demo).await?.connect().await?;
    if migrate::settled_state(&client).await? == State::Older {
        let (kind, calendar) = (migrate::Kind::Demo, &context.calendar);
        let migrated = migrate::migrate(&mut client, kind, settings.backend, calendar).await?;
        context.printer.remark(format!("The demo's database was of an older kdata: {migrated}"));
    }
    Database::open(settings, Target::Demo, &context.calendar).await
}

/// Where real data would need another kdata, simulated ones are made again.
fn or_anew(error: Error) -> Error {
    let Error::Refused { what, .. } = error else { return error };
    let url = "psql \"$(DATABASE_URL= kdata db url)\"";
    let help = format!(
        "nothing in the demo's database is real: {url} -c 'DROP DATABASE {}', and the demo makes it anew",
        Target::Demo.database()
    );
    Error::Refused { what, help }
}

/// A session has 220 times as many minute bars as daily ones, and lists say the same day after day: the last sessions
/// must do.
fn most_sessions(dataset: &Dataset) -> usize {
    match dataset.kind {
        _ if dataset.is_intraday() => 1,
        Kind::Snapshot { .. } => 5,
        Kind::Series | Kind::Master => usize::MAX,
    }
}

/// How this program was called, so that the next steps can be typed as printed.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "kdata".into())
}

fn job<'a>(
    dataset: &'static Dataset,
    (from, to): (chrono::NaiveDate, chrono::NaiveDate),
    seed: u64,
    context: &'a Context,
    settings: &'a Settings,
) -> Job<'a> {
    let now = (context.now, context.run_id());
    // Nothing is asked of anybody: no state is kept.
    Job { seed, ..Job::new(dataset, (from, to), now, &context.calendar, settings, std::env::temp_dir()) }
}
