//! The market of the drill: some 350 names, so that both indices have their members, and few enough for a year. What a
//! name does on a session follows from its number and the session's alone.
//!
//! Prices are multiples of 10 KRW below 5,000 and move by less than every limit; a halted name keeps its close, a split
//! divides it by five after three sessions of halt.

use std::ops::Range;

use chrono::{NaiveDate, NaiveTime};
use kdata::market::{Calendar, Day};

/// Where a name is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Board {
    Kospi,
    Kosdaq,
    Konex,
    /// Exchange traded funds, on KOSPI.
    Fund,
}

/// A name and what befalls it, by the numbers of sessions.
#[derive(Clone, Debug)]
pub struct Name {
    pub code: String,
    pub korean: String,
    pub board: Board,
    number: usize,
    /// First session; 0 was listed before.
    pub listed: usize,
    /// First session without it.
    pub delisted: usize,
    halts: Vec<Range<usize>>,
    /// The session on which a split takes effect.
    pub split: Option<usize>,
}

/// What a name did on a session.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub base: i64,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i64,
    pub value: i64,
    pub shares: i64,
    pub par: i64,
}

/// A minute: when, prices, volume, value.
pub type Minute = (NaiveTime, [i64; 4], i64, i64);

/// All names, and all sessions.
pub struct Market {
    pub calendar: Calendar,
    pub sessions: Vec<NaiveDate>,
    pub names: Vec<Name>,
}

const KOSPI: usize = 198;
const KOSDAQ: usize = 148;
const KONEX: usize = 3;
/// Sessions of the halt before a split.
const HALT: usize = 3;
const NEVER: usize = usize::MAX;

impl Market {
    /// A market that begins some sessions before the drill, so that names have a past.
    pub fn new(calendar: Calendar, from: NaiveDate, to: NaiveDate) -> Self {
        let before = calendar.prev_session(calendar.prev_session(from).unwrap()).unwrap();
        let sessions = calendar.sessions(before, to).to_vec();
        let boards = [(Board::Kospi, 1, KOSPI), (Board::Kosdaq, 2, KOSDAQ), (Board::Konex, 3, KONEX)];
        let mut names = Vec::new();
        for (board, first, count) in boards {
            for number in 0..count {
                names.push(Name::of(&format!("{first}{number:04}0"), board, names.len()));
            }
        }
        for (code, korean) in [("069500", "KODEX 200"), ("229200", "KODEX 코스닥150")] {
            names.push(Name { korean: korean.into(), ..Name::of(code, Board::Fund, names.len()) });
        }
        let mut market = Self { calendar, sessions, names };
        market.befall();
        market
    }

    /// Halts, splits, listings and delistings, spread over whatever span there is.
    fn befall(&mut self) {
        let last = self.sessions.len();
        // Every 60 sessions, at least once.
        let times = (last / 60).max(1);
        let at = |k: usize, part: usize| 3 + k * last / times + (last / times) * part / 10;
        for k in 0..times {
            self.names[10 + k].halts.push(at(k, 1)..at(k, 1) + 2);
            // A long one, which begins before the drill or goes on for long.
            self.names[30 + k].halts.push(at(k, 0).saturating_sub(2)..at(k, 6));
            let split = at(k, 4);
            self.names[50 + k].halts.push(split - HALT..split);
            self.names[50 + k].split = Some(split);
            // Those that leave stand still before.
            let (leaver, gone) = (KOSPI + 100 + k, at(k, 5));
            self.names[leaver].halts.push(gone.saturating_sub(5)..gone);
            self.names[leaver].delisted = gone;
            let number = self.names.len();
            let code = format!("29{k:03}0");
            self.names.push(Name { listed: at(k, 3), ..Name::of(&code, Board::Kosdaq, number) });
        }
        self.names.sort_by(|a, b| a.code.cmp(&b.code));
    }

    /// The number of a session.
    pub fn at(&self, date: NaiveDate) -> Option<usize> {
        self.sessions.binary_search(&date).ok()
    }

    /// The number of the last session that is not after a day.
    pub fn at_or_before(&self, date: NaiveDate) -> usize {
        self.sessions.partition_point(|session| *session <= date).saturating_sub(1)
    }

    /// The names listed on a session.
    pub fn listed(&self, session: usize) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(move |name| name.is_listed(session))
    }

    pub fn find(&self, code: &str) -> Option<&Name> {
        self.names.iter().find(|name| name.code == code)
    }

    /// The regular hours of a session.
    pub fn hours(&self, session: usize) -> (NaiveTime, NaiveTime) {
        let Day::Session(Some(hours)) = self.calendar.day(self.sessions[session]) else {
            panic!("{} is no session", self.sessions[session]);
        };
        (hours.open, hours.close)
    }

    /// The minutes of a name: the first, one in the morning, the closing auction; none where nothing was traded.
    pub fn minutes(&self, name: &Name, session: usize) -> Vec<Minute> {
        let bar = name.bar(session);
        if bar.volume == 0 {
            return Vec::new();
        }
        let (open, close) = self.hours(session);
        let eleven = NaiveTime::from_hms_opt(11, 0, 0).unwrap();
        let [first, second, third] = parts(bar.volume);
        vec![
            (open, [bar.open, bar.high, bar.low, bar.open], first, first * bar.open),
            (eleven, [bar.open; 4], second, second * bar.open),
            (close, [bar.close; 4], third, third * bar.close),
        ]
    }
}

fn parts(volume: i64) -> [i64; 3] {
    let (first, second) = (volume * 2 / 5, volume / 5);
    [first, second, volume - first - second]
}

impl Name {
    fn of(code: &str, board: Board, number: usize) -> Self {
        Self {
            code: code.into(),
            korean: format!("가상{number}"),
            board,
            number,
            listed: 0,
            delisted: NEVER,
            halts: Vec::new(),
            split: None,
        }
    }

    pub fn is_listed(&self, session: usize) -> bool {
        (self.listed..self.delisted).contains(&session)
    }

    pub fn is_halted(&self, session: usize) -> bool {
        self.halts.iter().any(|halt| halt.contains(&session))
    }

    fn is_split(&self, session: usize) -> bool {
        self.split.is_some_and(|split| session >= split)
    }

    /// The close, as if it had never been split.
    fn whole_close(&self, session: usize) -> i64 {
        let traded = (0..=session).rev().find(|session| !self.is_halted(*session)).unwrap_or(0);
        let level = 4_000 + 50 * i64::try_from(self.number % 11).unwrap();
        let step = i64::try_from((self.number * 7 + traded * 4) % 9).unwrap();
        level + 50 * (step - 4)
    }

    /// What it did on a session on which it was listed.
    pub fn bar(&self, session: usize) -> Bar {
        let unit = if self.is_split(session) { 5 } else { 1 };
        let close = self.whole_close(session) / unit;
        let before = if session == self.listed { session } else { session - 1 };
        let base = self.whole_close(before) / unit;
        let volume = if self.is_halted(session) {
            0
        } else {
            50_000 + 100 * i64::try_from((self.number * 13 + session * 7) % 400).unwrap()
        };
        let [first, second, third] = parts(volume);
        Bar {
            base,
            open: base,
            high: base.max(close) + 10,
            low: base.min(close) - 10,
            close,
            volume,
            value: (first + second) * base + third * close,
            shares: (1_000_000 + 1_000 * i64::try_from(self.number).unwrap()) * unit,
            par: 500 / unit,
        }
    }
}
