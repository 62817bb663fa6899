//! `kdata report`: what came, what is missing, what looks wrong. Each report of the static list is a subcommand; its SQL
//! tells which options it takes.

use chrono::{Datelike, NaiveDate};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};

use super::render::{Form, Look, render};
use super::{Context, printer, range, suggest};
use crate::dataset::{self, Dataset};
use crate::db::Database;
use crate::error::{Error, Result};
use crate::market::Day;
use crate::stage::report::{self, ALL, Asked, Param, Report, Span};

const EXAMPLES: &str = "\
Examples:
  kdata report quality                     what came of the last session
  kdata report coverage                    a year of all datasets on one screen
  kdata report freshness                   exit 3 when a dataset is stale
  kdata report quality --format html > quality.html";

/// The report and its options.
#[derive(Debug)]
pub(super) struct Args {
    report: &'static Report,
    matches: ArgMatches,
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        command
            .about("Report on what the database holds")
            .after_help(EXAMPLES)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommands(ALL.iter().map(subcommand))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let report = report::find(name).ok_or_else(missing)?;
        Ok(Self { report, matches: matches.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The options, in the order of the help: which one calls for it, and how it is written.
fn options() -> [(Option<Param>, Arg); 11] {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(true)
    };
    let of_range = Some(Param::Range);
    let number = || value_parser!(i64).range(0..);
    [
        (Some(Param::Day), arg("date", "DAY", "One day: today, -1s (one session back), 2026-11-20")),
        (of_range, arg("from", "DAY", "First day of a range").requires("to").conflicts_with("date")),
        (of_range, arg("to", "DAY", "Last day of a range").requires("from").conflicts_with("date")),
        (
            of_range,
            arg("year", "YEAR", "A calendar year")
                .value_parser(value_parser!(i32).range(1956..=9998))
                .conflicts_with_all(["date", "from"]),
        ),
        (
            Some(Param::Datasets),
            arg("dataset", "DATASET", "Only these datasets, separated by commas")
                .value_delimiter(',')
                .hide_possible_values(true)
                .value_parser(super::dataset_parser()),
        ),
        (
            Some(Param::Codes),
            arg("codes", "CODES", "Only these codes of one dataset, separated by commas")
                .value_delimiter(','),
        ),
        (Some(Param::Batch), arg("batch", "N", "A staged batch, row by row").value_parser(number())),
        (
            Some(Param::MaxBehind),
            arg(
                "max-behind",
                "N",
                "So many sessions may each lie behind; default: as many as the dataset's rhythm allows",
            )
            .value_parser(number()),
        ),
        (
            Some(Param::Limit),
            arg("number", "N", "How many rows of a list")
                .short('n')
                .default_value("20")
                .value_parser(number()),
        ),
        (
            None,
            arg("format", "FORM", "How it is written")
                .default_value("table")
                .value_parser(value_parser!(Form)),
        ),
        (None, Arg::new("ascii").long("ascii").help("Draw with ASCII only").action(ArgAction::SetTrue)),
    ]
}

fn subcommand(report: &'static Report) -> Command {
    let taken = options().into_iter().filter(|(param, _)| param.is_none_or(|param| report.takes(param)));
    let examples = report.examples.iter().map(|example| format!("\n  {example}"));
    Command::new(report.name)
        .about(report.about)
        .args(taken.map(|(_, arg)| arg))
        .after_help(format!("Examples:{}", examples.collect::<String>()))
}

impl Args {
    fn one<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<T> {
        self.matches.try_get_one::<T>(name).ok().flatten().cloned()
    }

    fn many<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<Vec<T>> {
        self.matches.try_get_many::<T>(name).ok().flatten().map(|values| values.cloned().collect())
    }

    fn asked<'c>(&self, context: &'c Context) -> Result<Asked<'c>> {
        let mut asked = Asked::new(self.days(context)?, &context.calendar, context.now);
        if let Some(datasets) = self.many::<&'static Dataset>("dataset") {
            asked.datasets =
                dataset::ALL.iter().copied().filter(|d| datasets.iter().any(|a| a.name == d.name)).collect();
        }
        asked.codes = self
            .many::<String>("codes")
            .map(|codes| {
                codes.iter().map(|c| Ok(suggest::code(c.trim(), context, None)?.to_string())).collect()
            })
            .transpose()?;
        asked.limit = self.one("number").unwrap_or(asked.limit);
        asked.batch = self.one("batch");
        asked.max_behind = self.one("max-behind");
        Ok(asked)
    }

    /// The days that are asked for, else those that the report is about by itself.
    fn days(&self, context: &Context) -> Result<(NaiveDate, NaiveDate)> {
        let (calendar, today) = (&context.calendar, context.today());
        let day =
            |name: &str| self.one::<String>(name).map(|text| range::day(&text, calendar, today)).transpose();
        if let Some(year) = self.one::<i32>("year") {
            return Ok(year_of(year));
        }
        match (day("date")?, day("from")?, day("to")?, self.report.span) {
            (Some(day), _, _, Span::Session) => context.known(day).map(|day| (day, day)),
            (Some(day), _, _, _) => Ok((day, day)),
            (None, Some(from), Some(to), _) if from > to => {
                Err(Error::usage(format!("--from {from} is after --to {to}"), "swap them"))
            }
            (None, Some(from), Some(to), _) => Ok((from, to)),
            (_, _, _, Span::Session) => context.last_over().map(|day| (day, day)),
            (_, _, _, Span::Now) => context.known(today).map(|day| (day, day)),
            (_, _, _, Span::Year) => Ok(year_of(today.year())),
            (_, _, _, Span::Recent) => {
                let mut from = context.known(today)?;
                for _ in 0..report::RECENT {
                    from = calendar.prev_session(from).unwrap_or(from);
                }
                Ok((from, today))
            }
        }
    }
}

fn year_of(year: i32) -> (NaiveDate, NaiveDate) {
    let day = |month, day| {
        NaiveDate::from_ymd_opt(year, month, day).expect("a day of a year that the parser takes")
    };
    (day(1, 1), day(12, 31))
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let asked = args.asked(context)?;
    if args.report.span == Span::Session
        && let Day::Closed(reason) = context.calendar.day(asked.to)
    {
        context.printer.warning(format!("{} was no session: {reason}", asked.to));
    }
    let document = crate::stage::block_on(async {
        let database = context.database().await?;
        args.report.make(&database, &asked).await
    })?;
    let form = args.one("format").unwrap_or_default();
    context.printer.line(render(&document, form, look(args.one("ascii") == Some(true), context)))?;
    match args.report.gate {
        Some(gate) => gate(&document, args.many::<&'static Dataset>("dataset").is_some()),
        None => Ok(()),
    }
}

fn look(ascii: bool, context: &Context) -> Look {
    Look {
        width: context.width(),
        ascii,
        colour: !context.settings.no_color && !ascii && printer::terminal_width().is_some(),
    }
}

/// The quality of a session in a database, for people.
pub(super) async fn quality(database: &Database, session: NaiveDate, context: &Context) -> Result<String> {
    let asked = Asked::new((session, session), &context.calendar, context.now);
    let report = report::find("quality").expect("one of the list");
    let document = report.make(database, &asked).await?;
    Ok(render(&document, Form::Table, look(false, context)))
}
