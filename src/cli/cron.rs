//! `kdata cron`: have the lines of the crontab run.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::language::{fill, say};
use super::{Cli, Context, Format, printer};
use crate::db::cluster::home;
use crate::error::{Error, Result};
use crate::market::kst;
use crate::stage::cron::{self, Checked, Crontab, State};

/// The version of what `--format json` writes.
const SCHEMA_VERSION: u32 = 1;

const EXAMPLES: &str = "\
Examples:
  kdata cron check                          exit 3 when a line has not run
  kdata -q cron check                       silent when all have, else exit 3
  kdata cron check --file crontab.example   another crontab than `crontab -l`
  crontab -l -u kdata | kdata cron check --file -";

/// Have the lines of the crontab run
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Check(CheckArgs),
}

/// Which lines of the crontab have not run since they were due
///
/// Reads the crontab of this user (`crontab -l`) and compares it with the runs that kdata wrote down in its state directory.
/// A line counts as run when each kdata in it has begun since the line was due last; cron has ten minutes for that. How a run
/// ended is shown, but is no matter of this check: alerts and `kdata status` tell it. A line that is seen for the first time
/// waits for its first run.
///
/// Exit 0: all have run. 3: a line is overdue, or its run was cut off. 2: there is no crontab, or it does not read.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
struct CheckArgs {
    /// The crontab to read; `-`: what is piped in
    #[arg(long, value_name = "CRONTAB")]
    file: Option<PathBuf>,
    /// Its lines name a user behind their times, as those of /etc/cron.d do
    #[arg(long, requires = "file")]
    system: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One screen is so wide where nothing else is known.
const WIDTH: u16 = 80;
/// No crontab has so many bytes.
const LARGEST: u64 = 64 * 1024;

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let Action::Check(args) = &args.action;
    let (place, text) = crontab(args.file.as_deref())?;
    let cli = Cli::command();
    let is_command = |word: &str| cli.find_subcommand(word).is_some();
    let crontab = Crontab::read(&text, &place, args.system, &is_command, context.now)?;
    if crontab.lines.is_empty() {
        return Err(Error::usage(
            format!("{place}: no line runs kdata"),
            "crontab.example has the lines; `--file` reads another crontab",
        ));
    }
    let lines = cron::check(&crontab, &home(&context.settings)?, context.now)?;
    let bad: Vec<&Checked> = lines.iter().filter(|line| !line.state.is_well()).collect();
    match args.format {
        Format::Json => context.printer.json(&serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "made_at": context.now,
            "state": lines.iter().map(|line| line.state).max(),
            "lines": lines,
            "other_lines": crontab.others,
        }))?,
        Format::Table => {
            context.printer.verdict(bad.is_empty(), table(&lines, &place, crontab.others, context))?;
        }
    }
    if bad.is_empty() {
        return Ok(());
    }
    let of = |state, text: &str| {
        let numbers: Vec<String> =
            bad.iter().filter(|line| line.state == state).map(|line| line.line.to_string()).collect();
        (!numbers.is_empty()).then(|| format!("{text}: line {}", numbers.join(", ")))
    };
    let told = [of(State::Overdue, "not run since they were due"), of(State::CutOff, "cut off")];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let mut help =
        "does cron run, and does its log name these lines? To catch up, type what stands beside the arrows, in the folder of the .env file".to_owned();
    if crontab.is_shifted {
        help.push_str(
            ". CRON_TZ is heeded by cronie alone: for Debian's cron set the machine's time zone to Asia/Seoul",
        );
    }
    Err(Error::Gate { what: format!("{} of {} lines: {}", bad.len(), lines.len(), told.join("; ")), help })
}

/// The crontab, and what to call it.
fn crontab(file: Option<&Path>) -> Result<(String, String)> {
    let Some(file) = file else { return Ok(("the crontab".into(), cron::installed()?)) };
    let mut text = String::new();
    let (place, read) = if file == Path::new("-") {
        ("the crontab".to_owned(), std::io::stdin().take(LARGEST).read_to_string(&mut text))
    } else {
        let read = std::fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
        (file.display().to_string(), read)
    };
    match read {
        Ok(read) if read as u64 == LARGEST => {
            Err(Error::usage(format!("{place} is too large for a crontab"), "name a crontab"))
        }
        Ok(_) => Ok((place, text)),
        Err(e) => {
            Err(Error::usage(format!("{place} cannot be read: {e}"), "correct the path or its permissions"))
        }
    }
}

fn table(lines: &[Checked], place: &str, others: usize, context: &Context) -> String {
    let time = |at: Option<chrono::DateTime<chrono::Utc>>| {
        at.map_or(String::new(), |at| at.with_timezone(&kst()).format("%m-%d %H:%M").to_string())
    };
    let state = |line: &Checked| match (line.state, line.exit_code) {
        (State::Ok, Some(code)) if code != 0 => format!("exit {code}"),
        (State::Ok, _) => say("ok").to_owned(),
        (State::ByHand, _) => say("by hand").to_owned(),
        (State::Running, _) => say("running").to_owned(),
        (State::Waiting, _) => say("waits").to_owned(),
        (State::CutOff, _) => say("CUT OFF").to_owned(),
        (State::Overdue, _) => say("OVERDUE").to_owned(),
    };
    let row = |line: &Checked| {
        vec![
            line.line.to_string(),
            line.schedule.clone(),
            line.command.replace("kdata ", ""),
            time(line.due_at),
            time(line.ran_at),
            state(line),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let header = ["line", "schedule", "kdata …", "due", "last run", "state"].map(say);
    let at = context.now.with_timezone(&kst()).format("%Y-%m-%d %H:%M").to_string();
    let title = fill("{place} at {time} KST", &[("place", say(place)), ("time", &at)]);
    let mut text =
        format!("{title}\n{}", printer::table(&header, &rows, &[0], context.width().or(Some(WIDTH))));
    // What a shell would read in another way is not given to be typed: its words are told without their quotes.
    let is_plain = |c: char| c.is_alphanumeric() || " -_./:=,@%+".contains(c);
    let can_be_typed = |line: &Checked| {
        let joined = [" | ", " && ", " || ", "; "];
        let words =
            joined.iter().fold(line.command.clone(), |text, by| text.replace(&format!("{by}kdata "), " "));
        words.chars().all(is_plain)
    };
    for line in lines.iter().filter(|line| !line.state.is_well() && can_be_typed(line)) {
        text.push_str(&format!("\n→ {}", line.command));
    }
    if others > 0 {
        text.push('\n');
        text.push_str(&fill("{n} other lines do not run kdata", &[("n", &others.to_string())]));
    }
    text
}
