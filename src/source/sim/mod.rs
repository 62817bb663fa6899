//! The simulated market: whole, deterministic and unreal. For demos, load tests and trying things out.
//!
//! A seed makes a roster of names (who is listed when) and a walk through all sessions since 2010-10-04. What a
//! name does on a session depends on the seed alone, never on the range asked for: an extract walks from the
//! beginning, silently up to its first session. Only the names' present state is kept.

mod bar;
mod class;
mod dice;
mod names;
mod roster;
mod walk;

use std::collections::BTreeSet;
use std::io::Write;

use self::roster::{GLOBAL, GLOBAL_FROM, Name};
use self::walk::{Day, Trade, Walker};
use super::{Job, Source};
use crate::dataset::market_cap::Cap;
use crate::dataset::stocks::Stock;
use crate::error::{Error, Result};
use crate::market::tick::FACTS_FROM;
use crate::stream::{Names, Preamble, Writer};

/// The columns of a master that the simulation knows.
const MASTER: &str =
    "isin,name,name_en,market,segment,security_type,listing_date,is_active,par_value,listed_shares";

/// A simulated market that was set up for a job.
pub struct Extract {
    dataset: Kind,
    roster: Vec<Name>,
    days: Vec<Day>,
    /// The first of the days that is asked for.
    first: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Stocks,
    Bars,
    Caps,
}

impl Extract {
    /// Sets the market up; refuses what it cannot simulate.
    pub fn open(job: &Job) -> Result<Self> {
        let dataset = match job.dataset.name {
            "stocks" => Kind::Stocks,
            "ohlcv" => Kind::Bars,
            "market-cap" => Kind::Caps,
            other => {
                return Err(Error::usage(
                    format!("the simulated market has no {other}"),
                    "it has stocks, ohlcv and market-cap",
                ));
            }
        };
        if job.from < FACTS_FROM {
            return Err(Error::usage(
                format!("the simulated market begins on {FACTS_FROM}, not on {}", job.from),
                "tick sizes are not known further back; ask for a later range",
            ));
        }
        let (_, horizon) = job.calendar.covers();
        if job.to > horizon {
            return Err(Error::usage(
                format!("the trading calendar ends on {horizon}, before {}", job.to),
                "extend it with a file in KDATA_CALENDAR, or ask for an earlier range",
            ));
        }
        let until = job.sessions().last().copied().unwrap_or(FACTS_FROM.pred_opt().unwrap_or(FACTS_FROM));
        let sessions = job.calendar.sessions(FACTS_FROM, until);
        let first = sessions.partition_point(|date| *date < job.from);
        let mut roster = roster::roster(job.seed, sessions, job.calendar);
        let asked = |name: &Name| job.codes.as_ref().is_none_or(|codes| codes.contains(&name.code));
        roster.retain(|name| name.delisted > first && asked(name));
        Ok(Self { dataset, roster, days: walk::days(job.seed, sessions), first })
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let provides = if matches!(self.dataset, Kind::Stocks) { MASTER } else { "all" };
        job.preamble(Source::Sim, Names::Whole, provides)
    }

    /// Writes the rows, session by session.
    pub fn write<W: Write>(self, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        let (before, asked) = self.days.split_at(self.first);
        let mut walkers: Vec<_> = self.roster.iter().map(|name| arrive(name, before)).collect();
        let mut seen = BTreeSet::new();
        for day in asked {
            for (name, walker) in self.roster.iter().zip(&mut walkers) {
                if !name.is_listed(day.index) {
                    continue;
                }
                let trade = walker.step(name, day);
                if job.wants(name.code, name.stay(day.index).market) {
                    writer.row(|out| self.dataset.append(name, walker, day, trade, out))?;
                    if job.codes.is_some() {
                        seen.insert(name.code);
                    }
                }
            }
        }
        job.mark_missing(&seen, writer)
    }
}

/// Walks a name up to the first session asked for.
fn arrive(name: &Name, days: &[Day]) -> Walker {
    let mut walker = Walker::new(name);
    for day in days.iter().skip(name.listed) {
        walker.step(name, day);
    }
    walker
}

impl Kind {
    fn append(self, name: &Name, walker: &Walker, day: &Day, trade: Trade, out: &mut Vec<u8>) {
        match self {
            Self::Stocks => listing(name, walker, day).write(out),
            Self::Bars => bar::bar(walker, name, day, trade).write(out),
            Self::Caps => Cap {
                code: name.code,
                time: day.date,
                market_cap: walker.close * walker.shares,
                listed_shares: walker.shares,
            }
            .write(out),
        }
    }
}

fn listing<'a>(name: &'a Name, walker: &Walker, day: &Day) -> Stock<'a> {
    let stay = name.stay(day.index);
    Stock {
        code: name.code,
        time: day.date,
        isin: Some(name.isin),
        name: &name.korean,
        name_en: &name.english,
        market: stay.market,
        segment: if name.global && day.date >= GLOBAL_FROM { GLOBAL } else { "" },
        kind: name.kind,
        listing_date: Some(stay.since),
        delisting_date: None,
        is_active: true,
        par_value: Some(walker.par),
        listed_shares: Some(walker.shares),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use chrono::NaiveDate;

    use super::*;
    use crate::dataset::{self, Facts, Fields, Severity};
    use crate::market::tick::{Grid, HALF_TICKS_FROM, TickTable, grid, round_up, table};
    use crate::market::{Calendar, Isin, Market, SecurityType, StockCode, limit, ymd};
    use crate::settings::Settings;

    type Range = (NaiveDate, NaiveDate);

    /// Rows by their fields, in the order of the stream.
    fn extract(dataset: &str, (from, to): Range, codes: &[StockCode], seed: u64) -> Result<Vec<Vec<String>>> {
        let (calendar, settings) = (Calendar::shipped(), Settings::from_environment()?);
        let now = (settings.now(), "test".into());
        let range = (from, to);
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
    fn judge(dataset: &str, range: Range, rows: &[Vec<String>]) -> usize {
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

    fn number(row: &[String], column: usize) -> i64 {
        row[column].parse().unwrap()
    }

    fn date(row: &[String]) -> NaiveDate {
        row[1].parse().unwrap()
    }

    fn ticks(row: &[String]) -> TickTable {
        table(date(row), Market::parse(row[9].as_bytes()).unwrap(), SecurityType::Stock).unwrap()
    }

    fn months() -> [Range; 5] {
        [
            (ymd(2011, 5, 2), ymd(2011, 5, 31)),
            (ymd(2015, 6, 1), ymd(2015, 6, 30)),
            (ymd(2023, 6, 19), ymd(2023, 7, 7)),
            (ymd(2025, 2, 26), ymd(2025, 3, 21)),
            (ymd(2026, 11, 2), ymd(2026, 11, 20)),
        ]
    }

    /// Bases follow closes but for actions; first sessions open where the rules of their day say.
    fn follows(rows: &[Vec<String>]) -> (usize, usize, usize) {
        let (mut last, mut actions, mut debuts) = (BTreeMap::new(), 0, 0);
        for row in rows {
            let (day, base, close) = (date(row), number(row, 8), number(row, 5));
            let market = Market::parse(row[9].as_bytes()).unwrap();
            match last.insert(row[0].clone(), (day, close)) {
                Some((_, before)) => actions += usize::from(round_up(ticks(row), before) != base),
                None if day == date(&rows[0]) => {}
                None => {
                    debuts += 1;
                    match limit::first_session_band(day, market, base) {
                        Some(band) => assert!(band.contains(number(row, 4)) && band.contains(number(row, 3))),
                        None => assert_eq!(number(row, 2), base, "{row:?}"),
                    }
                }
            }
        }
        (actions, debuts, rows.iter().filter(|row| row[6] == "0").count())
    }

    #[test]
    fn bars_keep_every_rule() {
        let (mut all, mut flagged, mut debuts) = (0, 0, 0);
        for range in months() {
            let rows = extract("ohlcv", range, &[], 1).unwrap();
            flagged += judge("ohlcv", range, &rows);
            assert!(rows.is_sorted_by(|a, b| (&a[1], &a[0]) < (&b[1], &b[0])), "{range:?}");
            let (actions, new, untraded) = follows(&rows);
            assert!(actions > 0 && actions * 1_000 < rows.len(), "{range:?}: {actions} actions");
            assert!(
                (15..60).contains(&(untraded * 1_000 / rows.len())),
                "{range:?}: {untraded} without trades"
            );
            all += rows.len();
            debuts += new;
            let half = |r: &Vec<String>, c| grid(ticks(r), number(r, c)) == Grid::Half;
            let halves = rows.iter().filter(|r| !r[3].is_empty() && (2..6).any(|c| half(r, c)));
            assert_eq!(range.1 >= HALF_TICKS_FROM, halves.count() > 0, "{range:?}");
        }
        assert!(
            debuts > 10 && flagged > 0 && flagged * 1_000 < all,
            "{debuts} debuts, {flagged} of {all} flagged"
        );
    }

    #[test]
    fn a_session_does_not_depend_on_the_range() {
        let wide = extract("ohlcv", (ymd(2013, 5, 20), ymd(2013, 8, 30)), &[], 7).unwrap();
        let narrow = (ymd(2013, 6, 27), ymd(2013, 7, 3));
        let inside: Vec<_> = wide.into_iter().filter(|r| (narrow.0..=narrow.1).contains(&date(r))).collect();
        assert_eq!(extract("ohlcv", narrow, &[], 7).unwrap(), inside);
        let code = StockCode::parse(inside[99][0].as_bytes()).unwrap();
        let some: Vec<_> = inside.iter().filter(|r| r[0] == code.as_str()).cloned().collect();
        assert_eq!(extract("ohlcv", narrow, &[code], 7).unwrap(), some);
        assert_ne!(extract("ohlcv", narrow, &[], 8).unwrap(), inside);
        let konex = |r: &&Vec<String>| r[9] == "KONEX";
        assert_eq!(inside.iter().find(konex).map(|r| date(r)), Some(ymd(2013, 7, 1)));
    }

    #[test]
    fn caps_are_closes_times_shares() {
        let range = (ymd(2012, 3, 2), ymd(2012, 3, 30));
        let (bars, caps) =
            (extract("ohlcv", range, &[], 1).unwrap(), extract("market-cap", range, &[], 1).unwrap());
        assert_eq!(judge("market-cap", range, &caps), 0);
        assert_eq!(bars.len(), caps.len());
        for (bar, cap) in bars.iter().zip(&caps) {
            assert_eq!(bar[..2], cap[..2]);
            assert_eq!(number(bar, 5) * number(cap, 3), number(cap, 2), "{cap:?}");
        }
    }

    #[test]
    fn the_master_is_whole() {
        let day = (ymd(2026, 11, 20), ymd(2026, 11, 20));
        let rows = extract("stocks", day, &[], 1).unwrap();
        assert_eq!(judge("stocks", day, &rows), 0);
        let (mut counts, mut unique) = (BTreeMap::new(), HashSet::new());
        for row in &rows {
            let code = StockCode::parse(row[0].as_bytes()).unwrap();
            let (isin, market) =
                (Isin::parse(row[2].as_bytes()).unwrap(), Market::parse(row[5].as_bytes()).unwrap());
            let kind = SecurityType::of_share(code, &row[3], market);
            assert_eq!(kind.as_str(), row[7], "{row:?}");
            // A name that came from KONEX keeps its code, but not its listing date.
            if row[5] != "KOSDAQ" && row[8].parse::<NaiveDate>().unwrap() >= ymd(2024, 1, 1) {
                assert!(code.as_bytes()[4].is_ascii_uppercase(), "{row:?}");
            }
            assert!(unique.insert(row[3].clone()) && unique.insert(isin.to_string()), "{row:?}");
            *counts.entry(row[5].clone()).or_insert(0) += 1;
            *counts.entry(if row[6].is_empty() { row[7].clone() } else { row[6].clone() }).or_insert(0) += 1;
        }
        for (what, least, most) in [
            ("KOSPI", 930, 975),
            ("KOSDAQ", 1_770, 1_850),
            ("KONEX", 100, 130),
            ("PREFERRED", 95, 135),
            ("REIT", 22, 26),
            ("SPAC", 70, 90),
            ("KOSDAQ GLOBAL", 40, 52),
        ] {
            assert!((least..=most).contains(&counts[what]), "{what}: {}", counts[what]);
        }
    }

    #[test]
    fn markets_grow_slowly_and_codes_are_unique() {
        let calendar = Calendar::shipped();
        let sessions = calendar.sessions(FACTS_FROM, calendar.covers().1);
        let roster = roster::roster(3, sessions, &calendar);
        assert!(roster.is_sorted_by(|a, b| a.code < b.code));
        let mut last = [0i64; 3];
        for (session, date) in sessions.iter().enumerate() {
            let mut counts = [0i64; 3];
            for name in roster.iter().filter(|n| n.is_listed(session)) {
                counts[name.stay(session).market as usize] += 1;
            }
            for (now, before) in counts.iter().zip(&last) {
                assert!(*before == 0 || (now - before).abs() <= 9, "{date}: {before} to {now}");
            }
            last = counts;
        }
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        for range in [(ymd(2010, 10, 1), ymd(2010, 10, 5)), (ymd(2026, 12, 1), ymd(2027, 1, 4))] {
            assert_eq!(extract("ohlcv", range, &[], 1).unwrap_err().exit_code(), 2);
        }
        assert_eq!(extract("ohlcv", (ymd(2026, 11, 21), ymd(2026, 11, 22)), &[], 1).unwrap().len(), 0);
        assert!(extract("ohlcv", (ymd(2010, 10, 4), ymd(2010, 10, 4)), &[], 1).unwrap().len() > 2_000);
    }
}
