//! The trading calendar: which days are sessions, and their hours. A file is the truth, not the code.
//!
//! The shipped files list closed weekdays and special hours; a user's file is laid over them
//! (`KDATA_CALENDAR`). What the calendar does not cover is [`Day::Unknown`], never a guess.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use super::ymd;

const CLOSED_DAYS: &str = include_str!("closed_days.csv");
const SPECIAL_SESSIONS: &str = include_str!("special_sessions.csv");

/// The last Saturday session.
const LAST_SATURDAY: NaiveDate = ymd(1998, 12, 5);
/// (first day, close): the regular session opens at 09:00. Hours before 2000-05-22 (lunch break) are left out.
const CLOSES: [(NaiveDate, NaiveTime); 2] = [(ymd(2016, 8, 1), hm(15, 30)), (ymd(2000, 5, 22), hm(15, 0))];

const fn hm(hour: u32, minute: u32) -> NaiveTime {
    match NaiveTime::from_hms_opt(hour, minute, 0) {
        Some(time) => time,
        None => panic!("not a time"),
    }
}

/// The regular session's hours, KST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Hours {
    pub open: NaiveTime,
    pub close: NaiveTime,
}

impl Hours {
    /// Hours as people write them, `HH:MM`; the open before the close.
    pub fn parse(open: &str, close: &str) -> Option<Self> {
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
        let (open, close) = (time(open)?, time(close)?);
        (open < close).then_some(Self { open, close })
    }
}

/// What a day is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Day {
    /// A session; hours are `None` where the facts do not reach.
    Session(Option<Hours>),
    /// Closed, with the reason.
    Closed(String),
    /// Outside of what the calendar covers.
    Unknown,
}

/// Why a calendar file could not be read.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// What a line of a calendar file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The file knows all closed days from the first to the last.
    Covers(NaiveDate, NaiveDate),
    /// A day is closed, with the reason.
    Closed(NaiveDate, String),
    /// A day is a session of its own hours, with the reason.
    Open(NaiveDate, Hours, String),
}

impl Entry {
    /// Reads a line; `None` for remarks, headers and blank lines; what is wrong with it otherwise.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim_start_matches('\u{feff}').trim();
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_whitespace();
            if words.next() != Some("covers") {
                return Ok(None);
            }
            let mut day = || words.next().and_then(|w| w.parse::<NaiveDate>().ok());
            let days = day().zip(day());
            let expected = || "expected `# covers YYYY-MM-DD YYYY-MM-DD`".to_owned();
            return days.map(|(from, to)| Some(Self::Covers(from, to))).ok_or_else(expected);
        }
        if line.is_empty() || line.starts_with("date") {
            return Ok(None);
        }
        let mut fields = line.splitn(4, ',').map(str::trim);
        let date: NaiveDate = fields
            .next()
            .and_then(|f| f.parse().ok())
            .ok_or("expected a date, YYYY-MM-DD, in the first column")?;
        let opens = fields.next().unwrap_or_default();
        let closes = fields.next().unwrap_or_default();
        let reason = fields.next().unwrap_or_default().to_owned();
        if opens.is_empty() && closes.is_empty() {
            let reason = if reason.is_empty() { "exchange holiday".into() } else { reason };
            return Ok(Some(Self::Closed(date, reason)));
        }
        let hours =
            Hours::parse(opens, closes).ok_or("expected hours as HH:MM, the open before the close")?;
        Ok(Some(Self::Open(date, hours, reason)))
    }

    /// The day that it is about.
    pub fn day(&self) -> Option<NaiveDate> {
        match self {
            Self::Covers(..) => None,
            Self::Closed(day, _) | Self::Open(day, ..) => Some(*day),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Covers(from, to) => write!(f, "# covers {from} {to}"),
            Self::Closed(day, reason) => write!(f, "{day},,,{reason}"),
            Self::Open(day, hours, reason) => {
                write!(f, "{day},{},{},{reason}", hours.open.format("%H:%M"), hours.close.format("%H:%M"))
            }
        }
    }
}

/// The trading calendar.
#[derive(Clone, Debug)]
pub struct Calendar {
    first: NaiveDate,
    last: NaiveDate,
    closed: BTreeMap<NaiveDate, String>,
    open: BTreeMap<NaiveDate, (Option<Hours>, String)>,
    sessions: Vec<NaiveDate>,
    id: String,
}

impl Calendar {
    /// The calendar that comes with the program.
    ///
    /// # Panics
    /// When a shipped file is malformed: a test reads it.
    pub fn shipped() -> Self {
        let mut calendar = Self {
            first: ymd(1995, 1, 1),
            last: ymd(1995, 1, 1),
            closed: BTreeMap::new(),
            open: BTreeMap::new(),
            sessions: Vec::new(),
            id: String::new(),
        };
        calendar.read(CLOSED_DAYS).expect("the shipped list of closed days is well-formed");
        calendar.read(SPECIAL_SESSIONS).expect("the shipped list of special sessions is well-formed");
        calendar.settle(&[CLOSED_DAYS, SPECIAL_SESSIONS]);
        calendar
    }

    /// The shipped calendar with a user's file laid over it.
    ///
    /// Lines: `DATE[,,,REASON]` closes a day, `DATE,OPEN,CLOSE[,REASON]` opens it (hours KST, `HH:MM`);
    /// `# covers FROM TO` moves the horizon; other lines that begin with `#` and a header are skipped.
    pub fn with_override(text: &str) -> Result<Self, BadLine> {
        let mut calendar = Self::shipped();
        calendar.read(text)?;
        calendar.settle(&[CLOSED_DAYS, SPECIAL_SESSIONS, text]);
        Ok(calendar)
    }

    fn read(&mut self, text: &str) -> Result<(), BadLine> {
        for (index, line) in text.lines().enumerate() {
            let bad = |problem: String| BadLine { line: index + 1, problem };
            match Entry::parse(line).map_err(bad)? {
                None => {}
                Some(Entry::Covers(from, to)) => {
                    // A hole would be taken for weekdays without a holiday.
                    let touches = from <= self.last + Days::new(1) && to >= self.first - Days::new(1);
                    if from > to || !(touches || self.first == self.last) {
                        let problem = format!(
                            "{from} to {to} does not touch what is covered, {} to {}",
                            self.first, self.last
                        );
                        return Err(bad(problem));
                    }
                    (self.first, self.last) = (self.first.min(from), self.last.max(to));
                }
                Some(Entry::Closed(date, reason)) => {
                    self.open.remove(&date);
                    self.closed.insert(date, reason);
                }
                Some(Entry::Open(date, hours, reason)) => {
                    self.closed.remove(&date);
                    self.open.insert(date, (Some(hours), reason));
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, texts: &[&str]) {
        let mut crc = crc32fast::Hasher::new();
        for text in texts {
            crc.update(text.as_bytes());
        }
        self.id = format!("{:08x}", crc.finalize());
        self.sessions = self
            .first
            .iter_days()
            .take_while(|date| *date <= self.last)
            .filter(|date| matches!(self.day(*date), Day::Session(_)))
            .collect();
    }

    /// What a day is.
    pub fn day(&self, date: NaiveDate) -> Day {
        if let Some((hours, _)) = self.open.get(&date) {
            return Day::Session(*hours);
        }
        if let Some(reason) = self.closed.get(&date) {
            return Day::Closed(reason.clone());
        }
        if date < self.first || date > self.last {
            return Day::Unknown;
        }
        match date.weekday() {
            Weekday::Sun => Day::Closed("Sunday".into()),
            Weekday::Sat if date > LAST_SATURDAY => Day::Closed("Saturday".into()),
            Weekday::Sat => Day::Session(None),
            _ => Day::Session(regular_hours(date)),
        }
    }

    /// Is it a session? A Saturday before 1998-12-06 counts as one, see [`Self::is_certain`].
    pub fn is_session(&self, date: NaiveDate) -> bool {
        self.sessions.binary_search(&date).is_ok()
    }

    /// Is it certain that a session is a session? Saturdays until 1998-12-05 were, but for holidays that no
    /// list at hand gives: data there is right, and their absence means nothing.
    pub fn is_certain(&self, session: NaiveDate) -> bool {
        session.weekday() != Weekday::Sat || session > LAST_SATURDAY
    }

    /// The sessions of a range, both ends included.
    pub fn sessions(&self, from: NaiveDate, to: NaiveDate) -> &[NaiveDate] {
        let begin = self.sessions.partition_point(|d| *d < from);
        let end = self.sessions.partition_point(|d| *d <= to);
        &self.sessions[begin.min(end)..end]
    }

    /// The last session before a date, if the calendar reaches back to it.
    pub fn prev_session(&self, date: NaiveDate) -> Option<NaiveDate> {
        let at = self.sessions.partition_point(|d| *d < date);
        (at > 0 && date <= self.last + Days::new(1)).then(|| self.sessions[at - 1])
    }

    /// The last session that is not after a date.
    pub fn session_at_or_before(&self, date: NaiveDate) -> Option<NaiveDate> {
        self.prev_session(date.succ_opt()?)
    }

    /// The first and the last day that the calendar covers.
    pub fn covers(&self) -> (NaiveDate, NaiveDate) {
        (self.first, self.last)
    }

    /// A checksum of the files it was read from; batches name it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The days that a file names, closed or open.
    pub fn special(&self) -> impl Iterator<Item = NaiveDate> {
        self.closed.keys().chain(self.open.keys()).copied()
    }

    /// Why a session has special hours, if it has.
    pub fn remark(&self, date: NaiveDate) -> Option<&str> {
        self.open.get(&date).map(|(_, reason)| reason.as_str())
    }
}

fn regular_hours(date: NaiveDate) -> Option<Hours> {
    let (_, close) = CLOSES.iter().find(|(from, _)| date >= *from)?;
    Some(Hours { open: hm(9, 0), close: *close })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_sessions() {
        let calendar = Calendar::shipped();
        for (year, count) in
            [(2020, 248), (2021, 248), (2022, 246), (2023, 245), (2024, 244), (2025, 242), (2026, 244)]
        {
            assert_eq!(calendar.sessions(ymd(year, 1, 1), ymd(year, 12, 31)).len(), count, "{year}");
        }
        assert_eq!(calendar.covers(), (ymd(1995, 1, 1), ymd(2026, 12, 31)));
    }

    #[test]
    fn days() {
        let calendar = Calendar::shipped();
        assert_eq!(calendar.day(ymd(2026, 6, 3)), Day::Closed("exchange holiday".into()));
        assert_eq!(calendar.day(ymd(2026, 11, 22)), Day::Closed("Sunday".into()));
        assert_eq!(calendar.day(ymd(2027, 1, 4)), Day::Unknown);
        assert_eq!(calendar.day(ymd(1994, 1, 4)), Day::Unknown);
        assert!(calendar.is_session(ymd(1998, 12, 5)) && !calendar.is_certain(ymd(1998, 12, 5)));
        assert!(!calendar.is_session(ymd(1998, 12, 12)));
        assert_eq!(
            calendar.day(ymd(2026, 11, 19)),
            Day::Session(Some(Hours { open: hm(10, 0), close: hm(16, 30) }))
        );
        assert_eq!(
            calendar.day(ymd(2015, 3, 2)),
            Day::Session(Some(Hours { open: hm(9, 0), close: hm(15, 0) }))
        );
        assert_eq!(calendar.prev_session(ymd(2024, 1, 2)), Some(ymd(2023, 12, 28)));
        assert_eq!(calendar.prev_session(ymd(2027, 1, 4)), None);
        assert_eq!(calendar.session_at_or_before(ymd(2026, 11, 22)), Some(ymd(2026, 11, 20)));
        assert!(calendar.sessions(ymd(2024, 2, 9), ymd(2024, 2, 12)).is_empty());
        assert!(calendar.sessions(ymd(2024, 2, 12), ymd(2024, 2, 9)).is_empty());
    }

    #[test]
    fn override_file() {
        let text = "# covers 2027-01-01 2027-12-31\ndate,open,close,reason\n2026-12-24,,,temporary holiday\n2026-12-31,09:00,15:30,moved\n2027-01-01\n";
        let calendar = Calendar::with_override(text).unwrap();
        assert_eq!(calendar.day(ymd(2026, 12, 24)), Day::Closed("temporary holiday".into()));
        assert!(calendar.is_session(ymd(2026, 12, 31)) && calendar.is_session(ymd(2027, 1, 4)));
        assert!(!calendar.is_session(ymd(2027, 1, 1)));
        assert_ne!(calendar.id(), Calendar::shipped().id());
        assert_eq!(Calendar::with_override("2026/12/24").unwrap_err().line, 1);
        assert_eq!(Calendar::with_override("\n2026-12-24,9,15\n").unwrap_err().line, 2);
        assert_eq!(Calendar::with_override("2026-12-24,15:30,09:00").unwrap_err().line, 1);
        // A year left out would look like one without holidays.
        assert!(Calendar::with_override("# covers 2028-01-01 2028-12-31").is_err());
        assert!(Calendar::with_override("# covers 2027-12-31 2027-01-01").is_err());
    }
}
