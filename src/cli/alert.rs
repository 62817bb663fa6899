//! `kdata alert`: do alerts arrive, and what is still to be told.

use super::language::say;
use super::{Context, Format, printer, watch};
use crate::alert::{self, Alerts, Channel};
use crate::db::cluster::home;
use crate::error::{Error, Result};
use crate::market::kst;

const EXAMPLES: &str = "\
Examples:
  kdata alert list              what fails, and what could not be told
  kdata alert test              exit 2: nobody is set up, or it did not arrive";

/// Who is told of failures: try it, list what fails
///
/// Unattended runs (their stderr is no terminal) of load, promote, run, backfill, report, doctor, status, calendar check, cron
/// check and db backup, verify and compress tell when they fail: the webhook of `KDATA_ALERT_WEBHOOK` and the command of `KDATA_ALERT_COMMAND`,
/// once within `KDATA_ALERT_WINDOW` hours, and once when the same command ends well again. Exit 9 (not published yet) is no
/// failure. Telling takes a few seconds at most and never changes how the run ends.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Send a test message to all that are set up
    Test,
    /// Commands that fail, and alerts that were not delivered
    List {
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match args.action {
        Action::Test => test(context),
        Action::List { format } => list(format, context),
    }
}

fn test(context: &Context) -> Result<()> {
    let channels = Channel::of(&context.settings.alerts);
    if channels.is_empty() && context.settings.alerts.ping.is_none() {
        return Err(Error::usage(
            "nobody is told of failures",
            "set KDATA_ALERT_WEBHOOK, KDATA_ALERT_COMMAND or KDATA_PING_URL; .env.example says how",
        ));
    }
    let alert = watch::test(context.now);
    let due: Vec<_> = channels.into_iter().map(|channel| (alert.clone(), channel)).collect();
    let mut told: Vec<_> =
        due.iter().map(|(_, to)| to.setting()).zip(alert::send(&due, &context.settings)).collect();
    if context.settings.alerts.ping.is_some() {
        told.push(("KDATA_PING_URL", alert::ping(alert::Ping::Success, &context.settings)));
    }
    let mut failed = Vec::new();
    for (setting, outcome) in told {
        match outcome {
            Ok(()) => context.printer.receipt(format!("{setting}: {}", say("told")))?,
            Err(why) => failed.push(format!("{setting}: {why}")),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::usage(
        failed.join("\n"),
        "correct the setting, then `kdata alert test` again; its value is not shown",
    ))
}

fn list(format: Format, context: &Context) -> Result<()> {
    let book = Alerts::new(&home(&context.settings)?, context.settings.alerts.window).book();
    if format == Format::Json {
        return context.printer.json(&serde_json::json!({
            "schema_version": alert::SCHEMA_VERSION,
            "problems": book.problems,
            "waiting": book.waiting,
        }));
    }
    let time = |at: chrono::DateTime<chrono::Utc>| at.with_timezone(&kst()).format("%m-%d %H:%M").to_string();
    let problems = book.problems.iter().map(|problem| {
        let what = format!("kdata {}\n{}", problem.job, problem.message);
        vec![time(problem.since), format!("exit {} × {}", problem.exit_code, problem.times), what]
    });
    let waiting = book.waiting.iter().map(|waiting| {
        let what = format!("kdata {}\n{}: {}", waiting.alert.job, waiting.to.setting(), waiting.why);
        vec![time(waiting.alert.at.to_utc()), say("not told").to_owned(), what]
    });
    let rows: Vec<_> = problems.chain(waiting).collect();
    if rows.is_empty() {
        context.printer.remark(say("nothing fails, and all was told"));
        return Ok(());
    }
    context.printer.line(printer::body(&rows, context.width()))
}
