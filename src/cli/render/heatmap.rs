//! Rows times sessions. A cell is a session where they fit, else a quarter of a month; months are blocks, a year a screen.

use chrono::{Datelike, NaiveDate};
use unicode_width::UnicodeWidthStr;

use super::{Look, say};
use crate::stage::report::model::{Document, Table, Value};

/// A state of a session, the gravest first: a cell of several sessions shows the gravest of its own.
pub(super) struct State {
    /// As the report names it.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    mark: char,
    ascii: char,
    /// The colour's number in a terminal.
    colour: u8,
}

const fn state(name: &'static str, mark: char, ascii: char, colour: u8, about: &'static str) -> State {
    State { name, about, mark, ascii, colour }
}

/// All states, the gravest first.
pub(super) static STATES: &[State] = &[
    state("absent", 'x', 'x', 31, "absent"),
    state("held", '!', '!', 35, "staged, not promoted"),
    state("partial", '▒', '~', 33, "some names only"),
    state("provisional", '▓', '+', 36, "not final yet"),
    state("final", '█', '#', 32, "whole and final"),
    state("stands", '░', ':', 32, "the list before stands"),
    state("not listed", '-', '-', 90, "not listed"),
    state("none", '·', '.', 90, "nothing collected"),
    state("not yet", ' ', ' ', 90, "not published yet"),
];
/// The place of `absent` in [`STATES`].
const ABSENT: usize = 0;

/// A mark where the calendar does not reach.
const UNKNOWN: char = '?';

/// Sessions that share a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cell {
    /// The states of its sessions, by their places in [`STATES`].
    states: Vec<usize>,
    /// The calendar does not reach it.
    is_unknown: bool,
}

impl Cell {
    fn mark(&self, look: Look) -> (char, u8) {
        let Some(gravest) = self.states.iter().copied().min() else {
            return (if self.is_unknown { UNKNOWN } else { ' ' }, 0);
        };
        let state = &STATES[gravest];
        let same = self.states.iter().filter(|state| **state == gravest).count();
        let mark = if gravest == ABSENT && same < self.states.len() {
            u32::try_from(same).ok().and_then(|n| char::from_digit(n, 10)).unwrap_or('9')
        } else if look.ascii {
            state.ascii
        } else {
            state.mark
        };
        (mark, state.colour)
    }
}

/// Some months beside each other.
pub(super) struct Block {
    /// The year, or the years.
    pub(super) title: String,
    /// Names of the months, and the days of each that are sessions.
    pub(super) months: Vec<Month>,
}

/// A month of a block.
pub(super) struct Month {
    pub(super) first: NaiveDate,
    pub(super) sessions: Vec<NaiveDate>,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Month {
    /// Its short name.
    pub(super) fn name(&self) -> &'static str {
        MONTHS[self.first.month0() as usize]
    }
}

/// The blocks of a report's range: a year each, or all in one where each session has a cell.
pub(super) fn blocks(document: &Document, one: bool) -> Vec<Block> {
    let Some((from, to)) = document.days else { return Vec::new() };
    let mut blocks: Vec<Block> = Vec::new();
    let mut first = from.with_day(1).unwrap_or(from);
    while first <= to {
        let next = first.checked_add_months(chrono::Months::new(1)).unwrap_or(NaiveDate::MAX);
        let of_month = |day: &&NaiveDate| (first..next).contains(*day);
        let month = Month { first, sessions: document.sessions.iter().filter(of_month).copied().collect() };
        match blocks.last_mut() {
            Some(block) if one || block.months[0].first.year() == first.year() => block.months.push(month),
            _ => blocks.push(Block { title: first.year().to_string(), months: vec![month] }),
        }
        first = next;
    }
    blocks
}

/// A row of the map: its label, and the states of spans of days.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) spans: Vec<(NaiveDate, NaiveDate, usize)>,
}

impl Line {
    /// The state of a session.
    pub(super) fn at(&self, session: NaiveDate) -> Option<usize> {
        let after = self.spans.partition_point(|(from, _, _)| *from <= session);
        // Spans of different states lie inside each other never, but beside each other with sessions between.
        self.spans[..after].iter().rev().find(|(_, to, _)| *to >= session).map(|(_, _, state)| *state)
    }
}

/// The rows of a table of spans: the first column labels them.
pub(super) fn lines(table: &Table) -> Vec<Line> {
    let [Some(state), Some(from), Some(to)] = ["state", "from", "to"].map(|name| table.at(name)) else {
        return Vec::new();
    };
    let mut lines: Vec<Line> = Vec::new();
    for row in &table.rows {
        let (Value::Day(from), Value::Day(to)) = (&row[from], &row[to]) else { continue };
        let name = row[state].plain();
        let Some(place) = STATES.iter().position(|state| state.name == name) else { continue };
        let label = row[0].plain();
        match lines.last_mut() {
            Some(line) if line.label == label => line.spans.push((*from, *to, place)),
            _ => lines.push(Line { label, spans: vec![(*from, *to, place)] }),
        }
    }
    lines
}

/// The states that occur and are drawn.
pub(super) fn occurring(lines: &[Line]) -> Vec<&'static State> {
    let drawn = |place: &usize| STATES[*place].mark != ' ';
    let occurs = |place: &usize| lines.iter().any(|line| line.spans.iter().any(|span| span.2 == *place));
    (0..STATES.len()).filter(drawn).filter(occurs).map(|place| &STATES[place]).collect()
}

/// Cells of a month that is not drawn by session.
const QUARTERS: u32 = 4;
/// Where no width is known.
const WIDTH: u16 = 80;

/// The map in characters, with its legend.
pub(super) fn text(document: &Document, table: &Table, look: Look) -> String {
    let lines = lines(table);
    let label = lines.iter().map(|line| line.label.width()).max().unwrap_or(0) + 1;
    let by_session = blocks(document, true);
    let needed: usize =
        by_session.iter().flat_map(|b| &b.months).map(|month| month.sessions.len().max(3) + 1).sum();
    let fits = label + needed <= usize::from(look.width.unwrap_or(WIDTH)) + 1;
    let blocks = if fits { by_session } else { blocks(document, false) };
    let mut out = Vec::new();
    for block in &blocks {
        let months = block.months.iter().map(|month| {
            let cells = cells(month, None, fits).len();
            format!("{:<cells$}", month.name())
        });
        out.push(format!("{:<label$}{}", block.title, months.collect::<Vec<_>>().join(" ")));
        for line in &lines {
            let months = block.months.iter().map(|month| painted(&cells(month, Some(line), fits), look));
            let blanks = " ".repeat(label - line.label.width());
            out.push(format!("{}{blanks}{}", line.label, months.collect::<Vec<_>>().join(" ")));
        }
        out.push(String::new());
    }
    out.push(legend(&lines, fits, look));
    out.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// The cells of a month; of a line's sessions, or of none for their number.
fn cells(month: &Month, line: Option<&Line>, by_session: bool) -> Vec<Cell> {
    let state = |session: NaiveDate| line.and_then(|line| line.at(session));
    if by_session {
        let cells = month
            .sessions
            .iter()
            .map(|session| Cell { states: state(*session).into_iter().collect(), is_unknown: false });
        let mut cells: Vec<Cell> = cells.collect();
        // Room for the month's name.
        let is_unknown = cells.is_empty();
        cells.resize(cells.len().max(3), Cell { is_unknown, ..Cell::default() });
        return cells;
    }
    let mut cells =
        vec![Cell { is_unknown: month.sessions.is_empty(), ..Cell::default() }; QUARTERS as usize];
    let days = u32::from(month.first.num_days_in_month());
    for session in &month.sessions {
        let quarter = session.day0() * QUARTERS / days;
        cells[quarter as usize].states.extend(state(*session));
    }
    cells
}

fn painted(cells: &[Cell], look: Look) -> String {
    let mut out = String::new();
    let mut current = 0;
    for cell in cells {
        let (mark, colour) = cell.mark(look);
        if look.colour && colour != current {
            out.push_str(&format!("\x1b[{colour}m"));
            current = colour;
        }
        out.push(mark);
    }
    if current != 0 {
        out.push_str("\x1b[0m");
    }
    out
}

fn legend(lines: &[Line], by_session: bool, look: Look) -> String {
    let width = usize::from(look.width.unwrap_or(WIDTH));
    let mut rows = vec![String::new()];
    let cell = if by_session {
        "a cell is a session:"
    } else {
        "a cell is a quarter of a month, a digit its absent sessions:"
    };
    let entries = occurring(lines).into_iter().rev().map(|state| {
        let mark = if look.ascii { state.ascii } else { state.mark };
        (format!("{mark} {}", say(state.about)), state.colour)
    });
    let mut used = 0;
    for (entry, colour) in std::iter::once((say(cell).to_owned(), 0)).chain(entries) {
        if used > 0 && used + 2 + entry.width() > width {
            rows.push(String::new());
            used = 0;
        }
        let row = rows.last_mut().expect("there is one");
        if used > 0 {
            row.push_str("  ");
            used += 2;
        }
        used += entry.width();
        if look.colour && colour != 0 {
            row.push_str(&format!("\x1b[{colour}m{entry}\x1b[0m"));
        } else {
            row.push_str(&entry);
        }
    }
    rows.join("\n")
}
