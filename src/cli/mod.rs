//! Floor 5: the command line. One file a subcommand: its arguments and how it runs.

mod alert;
mod backfill;
mod backup;
mod calendar;
mod choice;
mod completions;
mod compress;
mod cron;
mod db;
mod demo;
mod doctor;
mod due;
mod explain;
mod extract;
mod flags;
mod kept;
mod language;
mod load;
mod man;
mod printer;
mod promote;
mod range;
mod rejects;
mod render;
mod report;
mod rollback;
mod run;
mod runs;
mod status;
mod suggest;
mod validate;
mod watch;

use std::process::ExitCode;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::dataset::{self, Dataset};
use crate::db::{Database, Target, migrate};
use crate::error::{EXIT_CODES, Error, Result};
use crate::market::{Calendar, kst_date};
use crate::settings::{Settings, locale, unknown_variables};
use crate::source::{self, Source, Stop};
use printer::{LogFormat, Printer};
use watch::Run;

const EXAMPLES: &str = "\
Examples:
  kdata demo                      a simulated market, from nothing to a report
  kdata extract ohlcv --date today | kdata validate | kdata load    into staging
  kdata promote                   staging into production, atomically
  kdata report quality            what came, what is missing, what looks wrong
  kdata due ohlcv                 sessions that cron should still fetch
  kdata explain ohlcv.within_limits    what a rule means, and why";

/// Korean stock market data in one PostgreSQL database
#[derive(Parser, Debug)]
#[command(name = "kdata", version, about, after_help = EXAMPLES, after_long_help = long_help())]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    /// Say nothing on success
    #[arg(short, long, global = true, display_order = 900)]
    quiet: bool,
    /// How remarks, logs and errors are written on stderr
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t, display_order = 901)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Extract(extract::Args),
    Validate(validate::Args),
    Load(load::Args),
    Promote(promote::Args),
    Backfill(backfill::Args),
    Run(run::Args),
    Rollback(rollback::Args),
    Report(report::Args),
    Due(due::Args),
    Runs(runs::Args),
    Rejects(rejects::Args),
    Flags(flags::Args),
    Explain(explain::Args),
    Calendar(calendar::Args),
    Db(db::Args),
    Doctor(doctor::Args),
    Status(status::Args),
    Cron(cron::Args),
    Alert(alert::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Complete(completions::Words),
    Man(man::Args),
}

/// How a report is written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

fn long_help() -> String {
    let codes: Vec<String> =
        EXIT_CODES.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}")).collect();
    format!("{EXAMPLES}\n\nExit codes:\n{}", codes.join("\n"))
}

/// What every subcommand is given: settings resolved once, the clock read once.
struct Context {
    printer: Printer,
    settings: Settings,
    calendar: Calendar,
    now: DateTime<Utc>,
}

impl Context {
    fn today(&self) -> NaiveDate {
        kst_date(self.now)
    }

    /// Insists that the calendar knows a day: beyond it nothing is due, and nothing is up to date, for no reason.
    fn known(&self, day: NaiveDate) -> Result<NaiveDate> {
        let (first, last) = self.calendar.covers();
        if (first..=last).contains(&day) {
            return Ok(day);
        }
        Err(Error::usage(
            format!("the trading calendar covers {first} to {last}, not {day}"),
            "extend it: kdata calendar import FILE --until DAY, a list of the closed days",
        ))
    }

    /// The last session whose regular hours are over.
    fn last_over(&self) -> Result<NaiveDate> {
        self.known(self.today()).map(|_| due::last_over(&self.calendar, self.now))
    }

    /// The database that commands work on.
    async fn database(&self) -> Result<Database> {
        Database::open(&self.settings, Target::Main, &self.calendar).await
    }

    /// The same for a command that promotes: sessions are compared by the calendar of today. Not for every command: what
    /// only reads must not change what clients see.
    async fn database_to_promote(&self) -> Result<Database> {
        let database = self.database().await?;
        migrate::sync_calendar(&mut database.place.connect().await?, &self.calendar).await?;
        Ok(database)
    }

    /// The width of tables: what the user says, else the terminal's.
    fn width(&self) -> Option<u16> {
        self.settings.columns.or_else(printer::terminal_width)
    }

    /// An id that tells runs apart in logs and ledgers.
    fn run_id(&self) -> String {
        format!(
            "{}-{:x}",
            self.now.with_timezone(&crate::market::kst()).format("%Y%m%dT%H%M%S"),
            std::process::id()
        )
    }
}

/// Parses the command line, runs it, reports an error, and tells the exit code.
pub fn main() -> ExitCode {
    language::choose(locale().as_deref());
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help to stdout and errors to stderr, and knows their codes; a closed pipe is no failure.
            if error.use_stderr() && wants_json() {
                let text = error.to_string();
                Printer::new(false, LogFormat::Json)
                    .error(&Error::usage(text.trim_start_matches("error: ").trim(), "kdata --help"));
            } else if error.use_stderr() && language::is_korean() {
                let text = error.to_string();
                let what = language::say(language::misunderstood(error.kind()));
                let text = format!("{what}\n\n{}", text.trim_start_matches("error: ").trim());
                Printer::new(false, LogFormat::Text).error(&Error::usage(text, ""));
            } else {
                let _ = error.print();
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let printer = Printer::new(cli.quiet, cli.log_format);
    printer.log_panics();
    let context = match prepare(printer, cli.log_format) {
        Ok(context) => context,
        Err(error) => return told(&Err(error), printer),
    };
    let run = Run::begin(std::env::args().skip(1), &context);
    let outcome = dispatch(cli.command, &context);
    // The error first: nothing that comes after it may keep it from cron's mail.
    let code = told(&outcome, printer);
    if let Some(run) = run {
        run.end(&outcome);
    }
    code
}

/// Tells an error, and the exit code.
fn told(outcome: &Result<()>, printer: Printer) -> ExitCode {
    match outcome {
        Ok(()) | Err(Error::ClosedOutput) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line, in the reader's language.
fn command() -> clap::Command {
    language::localized(Cli::command())
}

/// What a command line that does not parse asks for.
fn wants_json() -> bool {
    let words: Vec<String> = std::env::args().collect();
    let pairs = words.windows(2).any(|pair| pair == ["--log-format", "json"]);
    pairs || words.iter().any(|word| word == "--log-format=json")
}

/// Reads the settings and the calendar.
fn prepare(printer: Printer, log: LogFormat) -> Result<Context> {
    let settings = Settings::from_environment()?;
    start_log(&settings, log)?;
    for name in settings.sources.iter().filter(|name| Source::find(name).is_none()) {
        let all: Vec<&str> = source::ALL.iter().map(|source| source.name()).collect();
        let meant = suggest::did_you_mean(name, all.iter().copied()).unwrap_or_else(|| all.join(", "));
        printer.warning(format!("KDATA_SOURCES names {name}, which is no source: {meant}"));
    }
    for (name, meant) in unknown_variables() {
        let meant = meant.map_or(String::new(), |meant| format!(": did you mean {meant}?"));
        printer.warning(format!("{name} is no setting{meant}"));
    }
    let calendar = crate::stage::calendar::load(&settings)?;
    Ok(Context { printer, now: settings.now(), calendar, settings })
}

fn dispatch(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Extract(args) => extract::run(&args, context),
        Command::Validate(args) => validate::run(&args, context),
        Command::Load(args) => load::run(&args, context),
        Command::Promote(args) => promote::run(&args, context),
        Command::Backfill(args) => backfill::run(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Rollback(args) => rollback::run(&args, context),
        Command::Report(args) => report::run(&args, context),
        Command::Due(args) => due::run(&args, context),
        Command::Runs(args) => runs::run(&args, context),
        Command::Rejects(args) => rejects::run(&args, context),
        Command::Flags(args) => flags::run(&args, context),
        Command::Calendar(args) => calendar::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Db(args) => db::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Status(args) => status::run(&args, context),
        Command::Cron(args) => cron::run(&args, context),
        Command::Alert(args) => alert::run(&args, context),
        Command::Demo(args) => demo::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Complete(words) => completions::offer(&words, context),
        Command::Man(args) => man::run(&args, context),
    }
}

fn start_log(settings: &Settings, format: LogFormat) -> Result<()> {
    let filter = settings.log.as_deref().unwrap_or("kdata=warn");
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|e| {
        Error::usage(format!("KDATA_LOG={filter} does not read: {e}"), "write it like kdata=debug")
    })?;
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Reads the name of a dataset; clap lists the names and suggests one.
fn dataset_parser() -> impl clap::builder::TypedValueParser<Value = &'static Dataset> {
    use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
    let names = dataset::ALL.iter().map(|d| PossibleValue::new(d.name).help(d.about));
    PossibleValuesParser::new(names).map(|name| dataset::find(&name).expect("one of the possible values"))
}

/// The first signal asks the run to stop at its next safe point, the second ends it at once. Listens on a thread of its
/// own, which ends with the process.
fn stop_on_signals(stop: &Stop, printer: Printer) {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = stop.clone();
    let listen = async move {
        let kinds = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        // Without handlers the default holds: signals end the process.
        let (Ok(mut interrupt), Ok(mut terminate)) = kinds else { return Ok(()) };
        let mut told = false;
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
            };
            if told {
                #[expect(clippy::exit, reason = "the second signal wants it at once")]
                std::process::exit(128 + i32::from(number));
            }
            told = true;
            printer.remark("stopping after what is under way; once more to stop at once");
            stop.raise(number);
        }
    };
    std::thread::spawn(|| crate::stage::block_on(listen));
}

/// Nothing is piped in: show how to use the command.
fn nothing_piped_in(subcommand: &str) -> Error {
    let mut cli = command();
    let usage = cli.find_subcommand_mut(subcommand).map(|c| c.render_help().to_string()).unwrap_or_default();
    Error::usage(
        format!("nothing is piped into `kdata {subcommand}`\n\n{usage}"),
        "pipe a stream in, as in the examples",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
