//! `kdata calendar`: the trading calendar, what the user lays over it, and whether it agrees with the data.

use std::path::{Path, PathBuf};

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use unicode_width::UnicodeWidthStr;

use super::language::{fill, say};
use super::{Context, Format, due, printer, range};
use crate::db::{Place, migrate};
use crate::error::{Error, Result};
use crate::market::{Calendar, Day, Entry, Hours, ymd};
use crate::stage::calendar::{self, Agreement, HORIZON_DAYS, month_end, said};
use crate::stage::{block_on, report};

const EXAMPLES: &str = "\
Examples:
  kdata calendar show                              this month and the next
  kdata calendar show 2026                         a year
  kdata calendar add 2026-12-24 temporary holiday  closes a day
  kdata calendar add 2026-11-26 --hours 10:00-16:30 CSAT
  kdata calendar undo                              takes the last change back
  kdata calendar import days.csv --until 2027-12-31
  kdata calendar check                             exit 3: something to look at";

/// The trading calendar: show, add a day, import a list, check it against the data
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Sessions, closed days with reasons, special hours
    Show {
        /// 2026-11 or 2026; default: this month and the next
        #[arg(value_name = "MONTH|YEAR")]
        period: Option<String>,
        /// table or json
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Close a day, or give it hours of its own, in the user's file
    Add {
        /// Which day: 2026-12-24
        #[arg(allow_hyphen_values = true)]
        day: String,
        /// It is a session of these hours (KST); absent: the market is closed
        #[arg(long, value_name = "HH:MM-HH:MM")]
        hours: Option<String>,
        /// Why
        reason: Vec<String>,
    },
    /// Lay a file's lines over the calendar: DATE[,OPEN,CLOSE[,REASON]]
    Import {
        /// The file; - reads stdin
        file: PathBuf,
        /// It lists all closed days until then: moves the horizon
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Take the last add or import back
    Undo,
    /// Compare with the database, and see how far it reaches
    Check {
        /// From which day on; default: a year back
        #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
        from: Option<String>,
        /// table or json
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.action {
        Action::Show { period, format } => show(period.as_deref(), *format, context),
        Action::Add { day, hours, reason } => add(day, hours.as_deref(), &reason.join(" "), context),
        Action::Import { file, until, dry_run } => import(file, until.as_deref(), *dry_run, context),
        Action::Undo => undo(context),
        Action::Check { from, format } => check(from.as_deref(), *format, context),
    }
}

// ---- show ----

fn show(period: Option<&str>, format: Format, context: &Context) -> Result<()> {
    let months = months(period, context.today())?;
    let (from, to) = (months[0], month_end(months[months.len() - 1]));
    if format == Format::Json {
        let days: Vec<_> =
            from.iter_days().take_while(|day| *day <= to).map(|day| of_day(&context.calendar, day)).collect();
        let (first, last) = context.calendar.covers();
        return context.printer.json(&serde_json::json!({
            "schema_version": report::SCHEMA_VERSION, "calendar": context.calendar.id(),
            "covers": [first, last], "days": days,
        }));
    }
    context.printer.line(grids(&context.calendar, &months))?;
    let (first, last) = context.calendar.covers();
    let legend = "{count} sessions; * other hours, x closed, ? not covered\ncovered: {from} to {to}";
    let count = context.calendar.sessions(from, to).len().to_string();
    context.printer.line("")?;
    context
        .printer
        .line(fill(legend, &[("count", &count), ("from", &first.to_string()), ("to", &last.to_string())]))
}

fn months(period: Option<&str>, today: NaiveDate) -> Result<Vec<NaiveDate>> {
    let first = |year, month| NaiveDate::from_ymd_opt(year, month, 1);
    let count = |from: Option<NaiveDate>, n: u32| {
        from.map(|from| (0..n).filter_map(|month| from.checked_add_months(Months::new(month))).collect())
    };
    let months = match period {
        None => count(first(today.year(), today.month()), 2),
        Some(text) => match text.split_once('-') {
            None => count(text.parse().ok().filter(|_| text.len() == 4).and_then(|year| first(year, 1)), 12),
            Some((year, month)) => count(
                year.parse().ok().zip(month.parse().ok()).and_then(|(year, month)| first(year, month)),
                1,
            ),
        },
    };
    months.ok_or_else(|| {
        Error::usage(format!("{:?} is no month and no year", period.unwrap_or("")), "write 2026-11 or 2026")
    })
}

fn of_day(calendar: &Calendar, day: NaiveDate) -> serde_json::Value {
    let (state, hours, reason) = match calendar.day(day) {
        Day::Session(hours) => ("session", hours, calendar.remark(day).unwrap_or_default().to_owned()),
        Day::Closed(reason) => ("closed", None, reason),
        Day::Unknown => ("unknown", None, String::new()),
    };
    let hours = hours.map(|h| [h.open.format("%H:%M").to_string(), h.close.format("%H:%M").to_string()]);
    serde_json::json!({ "day": day, "state": state, "hours": hours, "reason": reason })
}

/// Three months side by side: 71 columns. Below each row of them what is out of the ordinary.
fn grids(calendar: &Calendar, months: &[NaiveDate]) -> String {
    let mut text: Vec<String> = Vec::new();
    for row in months.chunks(3) {
        let grids: Vec<Vec<String>> = row.iter().map(|month| grid(calendar, *month)).collect();
        for line in 0..grids.iter().map(Vec::len).max().unwrap_or(0) {
            let cells = grids.iter().map(|grid| {
                let cell = grid.get(line).map_or("", String::as_str);
                format!("{cell}{}", " ".repeat(21_usize.saturating_sub(cell.width())))
            });
            text.push(cells.collect::<Vec<_>>().join("    ").trim_end().to_owned());
        }
        let days = row.iter().flat_map(|month| month.iter_days().take_while(|day| *day <= month_end(*month)));
        let remarks = days
            .filter(|day| is_special(calendar, *day))
            .map(|day| format!("  {} {}  {}", day, day.format("%a"), said(calendar, day)));
        text.extend(remarks);
        text.push(String::new());
    }
    text.join("\n").trim_end().to_owned()
}

fn grid(calendar: &Calendar, month: NaiveDate) -> Vec<String> {
    let mut lines = vec![format!("{}", month.format("%Y-%m")), say("Mo Tu We Th Fr Sa Su").to_owned()];
    let mut line = "   ".repeat(month.weekday().num_days_from_monday() as usize);
    for day in month.iter_days().take_while(|day| *day <= month_end(month)) {
        let mark = match calendar.day(day) {
            Day::Unknown => '?',
            Day::Closed(_) if is_weekend(day) => ' ',
            Day::Closed(_) => 'x',
            Day::Session(_) if is_special(calendar, day) => '*',
            Day::Session(_) => ' ',
        };
        // What is closed every week is no news.
        let shown = if mark == ' ' && !calendar.is_session(day) {
            " .".to_owned()
        } else {
            format!("{:>2}", day.day())
        };
        line.push_str(&format!("{shown}{mark}"));
        if day.weekday() == Weekday::Sun {
            lines.push(std::mem::take(&mut line));
        }
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

fn is_special(calendar: &Calendar, day: NaiveDate) -> bool {
    match calendar.day(day) {
        Day::Session(_) => calendar.remark(day).is_some(),
        Day::Closed(_) => !is_weekend(day),
        Day::Unknown => false,
    }
}

// ---- add, import, undo ----

fn add(day: &str, hours: Option<&str>, reason: &str, context: &Context) -> Result<()> {
    let day = range::day(day, &context.calendar, context.today())?;
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let entry = match hours {
        None if reason.is_empty() => Entry::Closed(day, "exchange holiday".into()),
        None => Entry::Closed(day, reason),
        Some(hours) => Entry::Open(day, self::hours(hours)?, reason),
    };
    change(&[entry], false, context)
}

fn hours(text: &str) -> Result<Hours> {
    let parts = text.split_once(['-', '–', '~']);
    parts.and_then(|(open, close)| Hours::parse(open, close)).ok_or_else(|| {
        Error::usage(format!("{text:?} are no hours"), "write --hours 10:00-16:30, the open before the close")
    })
}

fn import(file: &Path, until: Option<&str>, dry_run: bool, context: &Context) -> Result<()> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).map_err(|e| Error::io("cannot read stdin", e))?
    } else {
        std::fs::read_to_string(file).map_err(|e| Error::io(format!("cannot read {}", file.display()), e))?
    };
    let mut entries = calendar::entries(file, &text)?;
    let (_, last) = context.calendar.covers();
    if let Some(until) = until {
        let until = range::day(until, &context.calendar, context.today())?;
        entries.push(Entry::Covers((last + Days::new(1)).min(until), until));
    }
    let covered =
        entries.iter().filter_map(|e| if let Entry::Covers(_, to) = e { Some(*to) } else { None }).max();
    let beyond =
        entries.iter().filter_map(Entry::day).filter(|day| *day > covered.map_or(last, |to| to.max(last)));
    if let Some(day) = beyond.max() {
        context.printer.warning(format!(
            "the file does not say that it is whole up to {day}: days after {last} stay unknown; if it lists all closed \
             days, add --until {}-12-31",
            day.year()
        ));
    }
    change(&entries, dry_run, context)
}

/// Lays lines over the user's file, shows what is new, and brings it into the database.
fn change(entries: &[Entry], dry_run: bool, context: &Context) -> Result<()> {
    let file = calendar::place(&context.settings)?;
    let entries = calendar::news(&context.calendar, entries);
    if entries.is_empty() {
        context.printer.remark("the calendar says all of this already: nothing to do");
        return Ok(());
    }
    let text = calendar::merge(&calendar::read(&file)?, &entries);
    let after = calendar::parse(&file, &text)?;
    tell(&context.calendar, &after, context)?;
    if dry_run {
        context.printer.remark("nothing was changed (--dry-run)");
        return Ok(());
    }
    calendar::put(&file, &text)?;
    context.printer.remark(format!("written to {}; `kdata calendar undo` takes it back", file.display()));
    show_readers(&after, context);
    Ok(())
}

fn undo(context: &Context) -> Result<()> {
    let file = calendar::place(&context.settings)?;
    let (_, text) = calendar::undo(&file)?;
    let after = calendar::parse(&file, &text)?;
    tell(&context.calendar, &after, context)?;
    context.printer.remark(format!("{} is as it was before; once more to take this back", file.display()));
    show_readers(&after, context);
    Ok(())
}

/// So many changed days are told one by one.
const TOLD: usize = 40;

/// Tells what two calendars see differently.
fn tell(before: &Calendar, after: &Calendar, context: &Context) -> Result<()> {
    let changes = calendar::changes(before, after);
    let rows: Vec<Vec<String>> = changes
        .iter()
        .take(TOLD)
        .map(|c| vec![format!("{} {}", c.day, c.day.format("%a")), format!("{} → {}", c.before, c.after)])
        .collect();
    if !rows.is_empty() {
        context.printer.receipt(printer::body(&rows, context.width()))?;
    }
    if changes.len() > TOLD {
        context.printer.receipt(format!(" … and {} days more", changes.len() - TOLD))?;
    }
    let (was, is) = (before.covers(), after.covers());
    if was != is {
        context.printer.receipt(format!(" covered: {} to {} → {} to {}", was.0, was.1, is.0, is.1))?;
        let new = if is.1 > was.1 { (was.1 + Days::new(1), is.1) } else { (is.1, is.1) };
        if new.0 < new.1 {
            let sessions = after.sessions(new.0, new.1).len();
            context.printer.receipt(format!(" {} to {}: {sessions} sessions", new.0, new.1))?;
        }
    }
    Ok(())
}

/// Brings the days into `market.trading_days`, where there is a database; otherwise the next promote does.
fn show_readers(after: &Calendar, context: &Context) {
    let sync = || -> Result<bool> {
        if !Place::exists(&context.settings)? {
            return Ok(false);
        }
        block_on(async {
            let database = context.database().await?;
            migrate::sync_calendar(&mut database.place.connect().await?, after).await
        })?;
        Ok(true)
    };
    match sync() {
        Ok(true) => context.printer.remark("market.trading_days shows it"),
        Ok(false) => context.printer.remark("the next promote shows it in market.trading_days"),
        Err(error) => context
            .printer
            .warning(format!("market.trading_days does not show it yet, the next promote will: {error}")),
    }
}

// ---- check ----

fn check(from: Option<&str>, format: Format, context: &Context) -> Result<()> {
    let today = context.today();
    let from = match from {
        Some(text) => range::day(text, &context.calendar, today)?,
        None => today.checked_sub_months(Months::new(12)).unwrap_or(ymd(1995, 1, 1)),
    };
    let found = if Place::exists(&context.settings)? {
        let to = due::last_over(&context.calendar, context.now);
        block_on(async {
            let client = context.database().await?.place.connect().await?;
            calendar::agreement(&client, &context.calendar, today, (from, to)).await
        })?
    } else {
        Agreement::horizon(&context.calendar, today)
    };
    match format {
        Format::Json => context.printer.json(&serde_json::json!({
            "schema_version": report::SCHEMA_VERSION, "is_good": found.is_good(), "calendar": found,
        }))?,
        Format::Table => {
            context.printer.verdict(found.is_good(), printer::body(&rows(&found), context.width()))?;
        }
    }
    if found.is_good() {
        return Ok(());
    }
    Err(Error::Gate {
        what: "the trading calendar needs a look".into(),
        help: "what stands beside each arrow; `kdata calendar show` shows the days".into(),
    })
}

fn rows(found: &Agreement) -> Vec<Vec<String>> {
    let row = |name: &str, state: &str, text: String| vec![name.to_owned(), state.to_owned(), text];
    let mut rows = Vec::new();
    let reach = format!("covered until {}, {} days ahead", found.covers.1, found.days_ahead);
    rows.push(if found.days_ahead >= HORIZON_DAYS {
        row("horizon", "ok", reach)
    } else {
        let next = found.covers.1 + Days::new(1);
        let remedy = format!(
            "{reach}; {HORIZON_DAYS} are wanted\n→ when KRX has published the closed days of {}: kdata calendar import FILE \
             --until {}-12-31",
            next.year(),
            next.year()
        );
        row("horizon", "LOOK", remedy)
    });
    for (from, to, count) in &found.sessions_without_data {
        let days = if from == to { from.to_string() } else { format!("{from} to {to}, {count} sessions") };
        let remedy = format!(
            "{days}: no dataset has any data\n→ closed after all: kdata calendar add {from} REASON; else fetch it: kdata run \
             ohlcv --from {from} --to {to}"
        );
        rows.push(row("session without data", "LOOK", remedy));
    }
    for (day, reason, datasets) in &found.closed_days_with_data {
        let remedy = format!(
            "{day} ({reason}): {}\n→ a session after all: kdata calendar add {day} --hours 09:00-15:30; else the source was \
             wrong: kdata runs, kdata rollback BATCH",
            datasets.join(", ")
        );
        rows.push(row("closed day with data", "LOOK", remedy));
    }
    match found.is_shown {
        None => rows.push(row("database", "-", "none yet".into())),
        Some(true) => rows.push(row("trading_days", "ok", "as this calendar".into())),
        Some(false) => {
            rows.push(row(
                "trading_days",
                "-",
                "of another calendar: the next promote shows this one".into(),
            ));
        }
    }
    rows
}
