//! A first look through a yearly file: which rows belong to which session, so that the second can hand out each
//! session as soon as its last row has come, and so that a row with a changed date is noticed.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use super::file::{Cell, Col, YearFile};
use crate::error::Result;

/// A longer run of rows out of order is a file in another order, not a changed date.
const LONGEST_STRAY: usize = 50;
/// A session of so many times fewer rows than the largest is no session, but rows whose date was changed.
const SMALLEST_SHARE: usize = 20;

/// What a file holds, by session.
#[derive(Debug, Default)]
pub(super) struct Survey {
    sessions: BTreeMap<NaiveDate, Session>,
    /// Rows out of order, ascending.
    strays: Vec<usize>,
    has_ratios: bool,
}

#[derive(Debug, Default)]
struct Session {
    /// All rows of this session, and of those before it, have come after so many rows of the file.
    complete_at: usize,
    has_untraded: bool,
}

/// Neighbouring rows of one date.
#[derive(Debug, Clone, Copy)]
struct Run {
    date: NaiveDate,
    start: usize,
    length: usize,
}

impl Survey {
    pub(super) fn of(file: &YearFile) -> Result<Self> {
        let mut runs: Vec<Run> = Vec::new();
        let mut survey = Self::default();
        let (mut index, mut ratios) = (0, 0);
        file.rows(|row| {
            ratios += usize::from(row.ratio() != Cell::Blank);
            let date = row.get(Col::Date).date().filter(|d| d.year() == file.year);
            if let Some(date) = date {
                match runs.last_mut() {
                    Some(run) if run.date == date => run.length += 1,
                    _ => runs.push(Run { date, start: index, length: 1 }),
                }
                if row.get(Col::Volume).whole() == Some(0) {
                    survey.sessions.entry(date).or_default().has_untraded = true;
                }
            }
            index += 1;
            Ok(())
        })?;
        survey.has_ratios = ratios * 2 > index;
        let strays = strays(&runs);
        // Torn rows and strays between two runs belong to neither: a session is complete where the next run begins.
        let ends = runs.iter().skip(1).map(|r| r.start).chain([index]);
        for (run, end) in runs.iter().zip(ends).filter(|(r, _)| strays.binary_search(&r.start).is_err()) {
            let session = survey.sessions.entry(run.date).or_default();
            session.complete_at = session.complete_at.max(end);
        }
        survey.sessions.retain(|_, session| session.complete_at > 0);
        let mut before = 0;
        for session in survey.sessions.values_mut() {
            before = session.complete_at.max(before);
            session.complete_at = before;
        }
        let rows_of = |run: &Run| run.start..run.start + run.length;
        survey.strays =
            runs.iter().filter(|r| strays.binary_search(&r.start).is_ok()).flat_map(rows_of).collect();
        Ok(survey)
    }

    pub(super) fn has(&self, date: NaiveDate) -> bool {
        self.sessions.contains_key(&date)
    }

    pub(super) fn last(&self) -> Option<NaiveDate> {
        self.sessions.keys().next_back().copied()
    }

    pub(super) fn is_stray(&self, index: usize) -> bool {
        self.strays.binary_search(&index).is_ok()
    }

    /// Does the file have change ratios? Then a row without one has lost it.
    pub(super) fn has_ratios(&self) -> bool {
        self.has_ratios
    }

    /// After how many rows of the file the session can be handed out.
    pub(super) fn complete_at(&self, date: NaiveDate) -> usize {
        self.sessions.get(&date).map_or(0, |s| s.complete_at)
    }

    /// Does a session of those asked for lack every name without trades? A whole market always has some.
    pub(super) fn drops_untraded(&self, asked: impl Fn(&NaiveDate) -> bool) -> bool {
        self.sessions.iter().any(|(date, session)| asked(date) && !session.has_untraded)
    }
}

/// The starts of the runs that are not part of the longest ascending order of dates, or of far fewer rows than a
/// session has, when they are few and short.
fn strays(runs: &[Run]) -> Vec<usize> {
    let mut rows_of = BTreeMap::new();
    for run in runs {
        *rows_of.entry(run.date).or_insert(0) += run.length;
    }
    let largest = rows_of.values().copied().max().unwrap_or(0);
    let is_small = |run: &Run| rows_of[&run.date] * SMALLEST_SHARE < largest;
    let dates: Vec<NaiveDate> = rows_of.keys().copied().collect();
    // The heaviest ascending chain that ends at each date: (rows, its last run).
    let mut best: Vec<(usize, Option<usize>)> = vec![(0, None); dates.len()];
    let mut before: Vec<Option<usize>> = vec![None; runs.len()];
    for (at, run) in runs.iter().enumerate() {
        let place = dates.partition_point(|d| *d < run.date);
        let (rows, last) = best[..=place].iter().copied().max_by_key(|(rows, _)| *rows).unwrap_or((0, None));
        before[at] = last;
        best[place] = (rows + if is_small(run) { 0 } else { run.length }, Some(at));
    }
    let mut in_order = vec![false; runs.len()];
    let mut at = best.iter().max_by_key(|(rows, _)| *rows).and_then(|(_, last)| *last);
    while let Some(run) = at {
        in_order[run] = true;
        at = before[run];
    }
    let total: usize = runs.iter().map(|r| r.length).sum();
    let outside = runs.iter().zip(&in_order).filter(|(_, kept)| !**kept);
    let out_of_order: usize = outside.map(|(run, _)| run.length).sum();
    if out_of_order * 10 > total {
        return Vec::new();
    }
    let is_stray = |run: &Run, in_order: bool| run.length <= LONGEST_STRAY && (!in_order || is_small(run));
    runs.iter().zip(in_order).filter(|(run, kept)| is_stray(run, *kept)).map(|(run, _)| run.start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    fn runs(list: &[(u32, usize)]) -> Vec<Run> {
        let mut start = 0;
        list.iter()
            .map(|(day, length)| {
                let run = Run { date: ymd(2024, 1, *day), start, length: *length };
                start += length;
                run
            })
            .collect()
    }

    #[test]
    fn a_changed_date_is_a_stray() {
        assert_eq!(strays(&runs(&[(2, 100), (3, 100), (4, 100)])), Vec::<usize>::new());
        assert_eq!(strays(&runs(&[(2, 50), (9, 1), (2, 50), (3, 100)])), vec![50]);
        assert_eq!(strays(&runs(&[(2, 50), (9, 1), (1, 2), (2, 50), (3, 100)])), vec![50, 51]);
    }

    #[test]
    fn a_session_of_a_few_rows_is_a_stray() {
        // The last row of the 3rd, moved to a Sunday; the last row of the file, moved into the future.
        assert_eq!(strays(&runs(&[(2, 100), (3, 99), (7, 1), (8, 99), (30, 1)])), vec![199, 299]);
        assert_eq!(strays(&runs(&[(2, 100), (3, 99), (7, 60), (8, 99)])), Vec::<usize>::new());
        // The last row but one: the last is where it belongs.
        assert_eq!(strays(&runs(&[(2, 100), (3, 98), (30, 1), (3, 1)])), vec![198]);
    }

    #[test]
    fn another_order_has_no_strays() {
        assert_eq!(strays(&runs(&[(4, 100), (3, 100), (2, 100)])), Vec::<usize>::new());
        assert_eq!(strays(&runs(&[(2, 1), (3, 1), (2, 1), (3, 1), (2, 1)])), Vec::<usize>::new());
    }
}
