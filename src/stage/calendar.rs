//! calendar: the user's file over the shipped trading calendar: read, changed as a whole, undone; and whether the
//! calendar and the database agree.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use serde::Serialize;
use tokio_postgres::Client;

use crate::db::{cluster, failed};
use crate::error::{Error, Result};
use crate::market::{Calendar, Day, Entry, Hours};
use crate::settings::Settings;

/// The user's file in the state folder, where `KDATA_CALENDAR` names no other.
const FILE: &str = "calendar.csv";
/// The calendar must reach so many days ahead: KRX publishes the next year's closed days in December.
pub const HORIZON_DAYS: i64 = 60;
const FORM: &str =
    "lines are DATE,OPEN,CLOSE,REASON; DATE alone closes the day; `# covers FROM TO` moves the horizon";

/// Where the user's file is, or will be.
pub fn place(settings: &Settings) -> Result<PathBuf> {
    match &settings.calendar_file {
        Some(file) => Ok(file.clone()),
        None => Ok(cluster::home(settings)?.join(FILE)),
    }
}

/// The trading calendar: the shipped one, with the user's file laid over it.
pub fn load(settings: &Settings) -> Result<Calendar> {
    // Whoever has no home folder has no file in it.
    let Ok(file) = place(settings) else { return Ok(Calendar::shipped()) };
    if settings.calendar_file.is_none() && !file.exists() {
        return Ok(Calendar::shipped());
    }
    let text = fs::read_to_string(&file).map_err(|e| {
        let what = format!("cannot read the calendar {}: {e}", file.display());
        Error::usage(what, "correct the path in KDATA_CALENDAR or the file's permissions")
    })?;
    parse(&file, &text)
}

/// The shipped calendar under a file's text.
pub fn parse(file: &Path, text: &str) -> Result<Calendar> {
    Calendar::with_override(text)
        .map_err(|bad| Error::usage(format!("{}, line {}: {}", file.display(), bad.line, bad.problem), FORM))
}

/// The text of the user's file; empty where there is none.
pub fn read(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::io(format!("cannot read the calendar {}", file.display()), e)),
    }
}

/// Lays lines over a file's text: what it said of the same days goes, its remarks and all else stay.
pub fn merge(text: &str, entries: &[Entry]) -> String {
    let is_replaced = |line: &str| {
        let entry = Entry::parse(line).ok().flatten();
        entry.is_some_and(|old| {
            entries.iter().any(|new| new.day().map_or(old == *new, |d| old.day() == Some(d)))
        })
    };
    let mut lines: Vec<String> =
        text.lines().filter(|line| !is_replaced(line)).map(ToOwned::to_owned).collect();
    lines.extend(entries.iter().map(ToString::to_string));
    lines.join("\n") + "\n"
}

/// The lines of a file that is to be imported.
pub fn entries(file: &Path, text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = Entry::parse(line)
            .map_err(|bad| Error::usage(format!("{}, line {}: {bad}", file.display(), index + 1), FORM))?;
        entries.extend(entry);
    }
    Ok(entries)
}

/// Those of the lines that say something new.
pub fn news(calendar: &Calendar, entries: &[Entry]) -> Vec<Entry> {
    let (first, last) = calendar.covers();
    let is_new = |entry: &&Entry| match entry {
        Entry::Covers(from, to) => *from < first || *to > last,
        Entry::Closed(day, reason) => match calendar.day(*day) {
            // A list of bare dates knows no reasons.
            Day::Closed(known) => known != *reason && reason != "exchange holiday",
            Day::Session(_) | Day::Unknown => true,
        },
        Entry::Open(day, hours, reason) => {
            calendar.day(*day) != Day::Session(Some(*hours)) || calendar.remark(*day).unwrap_or("") != reason
        }
    };
    entries.iter().filter(is_new).cloned().collect()
}

/// Replaces the file as a whole; what it was is kept beside it, for [`undo`].
pub fn put(file: &Path, text: &str) -> Result<()> {
    parse(file, text)?;
    let before = read(file)?;
    replace(&beside(file), &before)?;
    replace(file, text)
}

/// Puts the text back that stood there before the last change, and tells both; twice is as never.
pub fn undo(file: &Path) -> Result<(String, String)> {
    let kept = beside(file);
    if !kept.exists() {
        return Err(Error::usage(
            format!("there is nothing to undo: {} was not changed by kdata", file.display()),
            "kdata calendar show",
        ));
    }
    let (now, before) = (read(file)?, read(&kept)?);
    put(file, &before)?;
    Ok((now, before))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".before");
    file.with_file_name(name)
}

/// Writes a file anew and puts it in the old one's place when it is whole.
fn replace(file: &Path, text: &str) -> Result<()> {
    let write = || -> std::io::Result<()> {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let part = file.with_extension(format!("{}.part", std::process::id()));
        let mut out = fs::File::create(&part)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&part, file)
    };
    write().map_err(|e| Error::io(format!("cannot write the calendar {}", file.display()), e))
}

/// A day that two calendars see differently.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Change {
    pub day: NaiveDate,
    pub before: String,
    pub after: String,
}

/// The days that differ, of those that both cover or that have a reason of their own.
pub fn changes(before: &Calendar, after: &Calendar) -> Vec<Change> {
    let (first, last) = after.covers();
    let known = before.covers();
    let days = first.iter_days().take_while(|day| *day <= last);
    days.filter(|day| (known.0..=known.1).contains(day))
        .chain(after.special().filter(|day| !(known.0..=known.1).contains(day)))
        .map(|day| Change { day, before: said(before, day), after: said(after, day) })
        .filter(|change| change.before != change.after)
        .collect()
}

/// What a day is, in words.
pub fn said(calendar: &Calendar, day: NaiveDate) -> String {
    let reason =
        |day| calendar.remark(day).filter(|r| !r.is_empty()).map_or(String::new(), |r| format!(" ({r})"));
    match calendar.day(day) {
        Day::Session(Some(Hours { open, close })) => {
            format!("session {}–{}{}", open.format("%H:%M"), close.format("%H:%M"), reason(day))
        }
        Day::Session(None) => format!("session{}", reason(day)),
        Day::Closed(reason) => format!("closed ({reason})"),
        Day::Unknown => "not covered".into(),
    }
}

/// Where calendar and database disagree, and how far the calendar reaches.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Agreement {
    pub covers: (NaiveDate, NaiveDate),
    /// Days from today to the end of what is covered.
    pub days_ahead: i64,
    /// Runs of sessions of which no dataset has any data: first, last, how many.
    pub sessions_without_data: Vec<(NaiveDate, NaiveDate, usize)>,
    /// Closed days that have data, with the reason and the datasets.
    pub closed_days_with_data: Vec<(NaiveDate, String, Vec<String>)>,
    /// Does `market.trading_days` show this calendar? `None` without a database.
    pub is_shown: Option<bool>,
}

impl Agreement {
    /// The horizon alone, where there is no database.
    pub fn horizon(calendar: &Calendar, today: NaiveDate) -> Self {
        let covers = calendar.covers();
        Self { covers, days_ahead: (covers.1 - today).num_days(), ..Self::default() }
    }

    /// Is there nothing to look at?
    pub fn is_good(&self) -> bool {
        self.days_ahead >= HORIZON_DAYS
            && self.sessions_without_data.is_empty()
            && self.closed_days_with_data.is_empty()
    }
}

/// Compares the calendar with what production holds, from a day (or its first session, whichever is later) up to the
/// last session that is over.
pub async fn agreement(
    client: &Client,
    calendar: &Calendar,
    today: NaiveDate,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<Agreement> {
    let doing = failed("cannot compare the calendar with the database");
    let query = "SELECT time, array_agg(dataset ORDER BY dataset) FROM market.session_status \
                 WHERE time >= $1 AND rows > 0 GROUP BY time ORDER BY time";
    let rows = client.query(query, &[&from]).await.map_err(&doing)?;
    let held: Vec<(NaiveDate, Vec<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut agreement = Agreement::horizon(calendar, today);
    if let Some((first, _)) = held.first() {
        let all = calendar.sessions(*first, to);
        let lacks = |day: &NaiveDate| {
            calendar.is_certain(*day) && held.binary_search_by_key(day, |(held, _)| *held).is_err()
        };
        for run in all.chunk_by(|a, b| lacks(a) == lacks(b)).filter(|run| lacks(&run[0])) {
            agreement.sessions_without_data.push((run[0], run[run.len() - 1], run.len()));
        }
    }
    for (day, datasets) in held {
        if let Day::Closed(reason) = calendar.day(day) {
            agreement.closed_days_with_data.push((day, reason, datasets));
        }
    }
    let query = "SELECT calendar IS NOT DISTINCT FROM $1 FROM ops.settings";
    agreement.is_shown =
        client.query_one(query, &[&calendar.id()]).await.map_err(&doing)?.get::<_, Option<bool>>(0);
    Ok(agreement)
}

/// The last day of a month.
pub fn month_end(first: NaiveDate) -> NaiveDate {
    let next = first.checked_add_months(chrono::Months::new(1)).unwrap_or(NaiveDate::MAX);
    next - Days::new(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn lines_are_laid_over() {
        let day = ymd(2026, 12, 24);
        let closed = Entry::Closed(day, "temporary holiday, declared".into());
        let text =
            merge("# mine\n2026-12-24,10:00,15:30,late\n2026-12-28,,,x\n", std::slice::from_ref(&closed));
        assert_eq!(text, "# mine\n2026-12-28,,,x\n2026-12-24,,,temporary holiday, declared\n");
        let calendar = parse(Path::new("x"), &text).unwrap();
        assert_eq!(said(&calendar, day), "closed (temporary holiday, declared)");
        assert!(news(&calendar, &[closed]).is_empty());
        let days: Vec<NaiveDate> = changes(&Calendar::shipped(), &calendar).iter().map(|c| c.day).collect();
        assert_eq!(days, [day, ymd(2026, 12, 28)]);
    }

    #[test]
    fn a_change_is_undone_and_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("home/calendar.csv");
        assert!(undo(&file).is_err());
        put(&file, "2026-12-24\n").unwrap();
        assert!(put(&file, "2026-12-24,x\n").is_err());
        assert_eq!(read(&file).unwrap(), "2026-12-24\n");
        assert_eq!(undo(&file).unwrap().1, "");
        assert_eq!(read(&file).unwrap(), "");
        undo(&file).unwrap();
        assert_eq!(read(&file).unwrap(), "2026-12-24\n");
    }
}
