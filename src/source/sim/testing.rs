//! What the tests of the simulated market share.

use chrono::NaiveDate;

use super::roster::{self, Name};
use super::walk::{self, Day, Trade, Walker};
use super::{Extract, Job, Writer};
use crate::dataset::{self, Facts, Fields, Severity};
use crate::error::Result;
use crate::market::tick::FACTS_FROM;
use crate::market::{Calendar, StockCode, ymd};
use crate::settings::Settings;

pub(super) type Range = (NaiveDate, NaiveDate);

/// Rows by their fields, in the order of the stream.
pub(super) fn extract(
    dataset: &str,
    range: Range,
    codes: &[StockCode],
    seed: u64,
) -> Result<Vec<Vec<String>>> {
    let (calendar, settings) = (Calendar::shipped(), Settings::from_environment()?);
    let now = (settings.now(), "test".into());
    let job = Job {
        codes: (!codes.is_empty()).then(|| codes.iter().copied().collect()),
        seed,
        ..Job::new(dataset::find(dataset).unwrap(), range, now, &calendar, &settings, "/".into())
    };
    let opened = Extract::open(&job)?;
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, &opened.preamble(&job))?;
    opened.write(&job, &mut writer)?;
    writer.finish()?;
    let lines = std::str::from_utf8(&out).unwrap().lines().filter(|l| !l.starts_with('#')).skip(1);
    Ok(lines.map(|l| l.split(',').map(str::to_owned).collect()).collect())
}

/// Judges rows by the rules of their dataset; returns how many are flagged.
pub(super) fn judge(dataset: &str, range: Range, rows: &[Vec<String>]) -> usize {
    let (dataset, calendar) = (dataset::find(dataset).unwrap(), Calendar::shipped());
    let facts = Facts { calendar: &calendar, today: range.1, range, value_unit: 1 };
    let mut flagged = 0;
    for row in rows {
        let (mut text, mut spans, mut findings) = (Vec::new(), Vec::new(), Vec::new());
        for field in row {
            spans.push((text.len(), text.len() + field.len()));
            text.extend_from_slice(field.as_bytes());
        }
        (dataset.check)(&Fields::new(&text, &spans), &facts, &mut findings).expect("well-formed");
        for finding in findings {
            assert!(finding.severity < Severity::Reject, "{} {row:?}", finding.rule.name);
            flagged += usize::from(finding.severity == Severity::Flag);
        }
    }
    flagged
}

pub(super) fn number(row: &[String], column: usize) -> i64 {
    row[column].parse().unwrap()
}

pub(super) fn date(row: &[String]) -> NaiveDate {
    row[1][..10].parse().unwrap()
}

/// Months of different rules: of the old limits, the wider ones, first sessions in the new manner, half-ticks.
pub(super) fn months() -> [Range; 5] {
    [
        (ymd(2011, 5, 2), ymd(2011, 5, 31)),
        (ymd(2015, 6, 1), ymd(2015, 6, 30)),
        (ymd(2023, 6, 19), ymd(2023, 7, 7)),
        (ymd(2025, 2, 26), ymd(2025, 3, 21)),
        (ymd(2026, 11, 2), ymd(2026, 11, 20)),
    ]
}

/// Shows what all names do in a range, session by session.
pub(super) fn walk_through(range: Range, seed: u64, mut each: impl FnMut(&Name, &Walker, &Day, Trade)) {
    let calendar = Calendar::shipped();
    let sessions = calendar.sessions(FACTS_FROM, range.1);
    let roster = roster::roster(seed, sessions, &calendar);
    let mut walkers: Vec<_> = roster.iter().map(Walker::new).collect();
    for day in walk::days(seed, sessions) {
        for (name, walker) in roster.iter().zip(&mut walkers).filter(|(name, _)| name.is_listed(day.index)) {
            let trade = walker.step(name, &day);
            if day.date >= range.0 {
                each(name, walker, &day, trade);
            }
        }
    }
}

/// One code in so many, of all that are ever listed.
pub(super) fn some_codes(seed: u64, one_in: usize) -> Vec<StockCode> {
    let calendar = Calendar::shipped();
    let sessions = calendar.sessions(FACTS_FROM, calendar.covers().1);
    roster::roster(seed, sessions, &calendar).iter().map(|name| name.code).step_by(one_in).collect()
}
