//! The simulated market: whole, deterministic and unreal. For demos, load tests and trying things out.
//!
//! A seed makes a roster of names (who is listed when) and a walk through all sessions since 2010-10-04. What a
//! name does on a session depends on the seed alone, never on the range asked for: an extract walks from the
//! beginning, silently up to its first session. Only the names' present state is kept.

mod bar;
mod basket;
mod class;
mod dice;
mod floating;
mod flow;
mod fund;
mod index;
mod minute;
mod names;
mod page;
mod roster;
mod sector;
#[cfg(test)]
mod testing;
mod walk;

use std::collections::BTreeSet;
use std::io::Write;

use chrono::NaiveDate;

use self::index::{INDICES, Rankings};
use self::minute::Minutes;
use self::page::Page;
use self::roster::Name;
use self::walk::{Day, Walker};
use super::{Job, Source};
use crate::dataset::index_components;
use crate::error::{Error, Result};
use crate::market::tick::FACTS_FROM;
use crate::market::{self, Decimal, Hours, Market, StockCode};
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

/// What is asked for: records of names, each of which goes its own way, or lists that take the whole market to make.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stocks,
    Bars,
    Caps,
    Sectors,
    Floats,
    Minutes,
    Flows,
    Indices,
    Baskets,
}

impl Kind {
    fn of(dataset: &str) -> Option<Self> {
        Some(match dataset {
            "stocks" => Self::Stocks,
            "ohlcv" => Self::Bars,
            "market-cap" => Self::Caps,
            "sectors" => Self::Sectors,
            "floating-shares" => Self::Floats,
            "ohlcv-minute" => Self::Minutes,
            "investor-trading" => Self::Flows,
            "index-components" => Self::Indices,
            "etf-portfolios" => Self::Baskets,
            _ => return None,
        })
    }

    /// Does it take the whole market, from its beginning?
    fn is_list(self) -> bool {
        matches!(self, Self::Indices | Self::Baskets)
    }
}

impl Extract {
    /// Sets the market up; refuses what it cannot simulate.
    pub fn open(job: &Job) -> Result<Self> {
        let dataset = Kind::of(job.dataset.name).ok_or_else(|| {
            Error::usage(format!("the simulated market has no {}", job.dataset.name), "take another source")
        })?;
        refuse(job, dataset)?;
        let until = job.sessions().last().copied().unwrap_or(FACTS_FROM.pred_opt().unwrap_or(FACTS_FROM));
        let sessions = job.calendar.sessions(FACTS_FROM, until);
        let first = sessions.partition_point(|date| *date < job.from);
        let mut roster = roster::roster(job.seed, sessions, job.calendar);
        if !dataset.is_list() {
            let asked = |name: &Name| job.codes.as_ref().is_none_or(|codes| codes.contains(&name.code));
            roster.retain(|name| name.delisted > first && asked(name));
        }
        Ok(Self { dataset, roster, days: walk::days(job.seed, sessions), first })
    }

    /// Codes, Korean and English names of all that are listed on the last session of a job.
    pub fn names(job: &Job) -> Vec<(StockCode, String, String)> {
        let until = job.sessions().last().copied().unwrap_or(job.to);
        let sessions = job.calendar.sessions(FACTS_FROM, until);
        let roster = roster::roster(job.seed, sessions, job.calendar);
        let listed = roster.into_iter().filter(|name| name.is_listed(sessions.len().saturating_sub(1)));
        listed.map(|name| (name.code, name.korean, name.english)).collect()
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let provides = if self.dataset == Kind::Stocks { MASTER } else { "all" };
        let preamble = job.preamble(Source::Sim, Names::Whole, provides);
        if self.dataset == Kind::Stocks { preamble.with_classes("stock,etf") } else { preamble }
    }

    /// Writes the rows, session by session.
    pub fn write<W: Write>(self, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        let mut seen = BTreeSet::new();
        if self.dataset.is_list() {
            self.write_lists(job, writer, &mut seen)?;
        } else {
            self.write_names(job, writer, &mut seen)?;
        }
        job.mark_missing(&seen, writer)
    }

    /// Records of names: each walks silently to the first session asked for.
    fn write_names<W: Write>(
        &self,
        job: &Job,
        writer: &mut Writer<W>,
        seen: &mut BTreeSet<StockCode>,
    ) -> Result<()> {
        let (before, asked) = self.days.split_at(self.first);
        let mut walkers: Vec<_> = self.roster.iter().map(|name| arrive(name, before)).collect();
        for day in asked {
            let mut page = Page { dataset: self.dataset, day, minutes: None, writer };
            if self.dataset == Kind::Minutes {
                page.minutes = hours(job, day.date).map(|hours| Minutes::of(day.date, hours));
            }
            for (name, walker) in self.roster.iter().zip(&mut walkers) {
                if !name.is_listed(day.index) {
                    continue;
                }
                let trade = walker.step(name, day);
                if job.wants(name.code, name.stay(day.index).market) {
                    page.write(name, walker, trade)?;
                    if job.codes.is_some() {
                        seen.insert(name.code);
                    }
                }
            }
        }
        Ok(())
    }

    /// Lists: the whole market walks from its beginning, silently up to the first session asked for.
    fn write_lists<W: Write>(
        &self,
        job: &Job,
        writer: &mut Writer<W>,
        seen: &mut BTreeSet<StockCode>,
    ) -> Result<()> {
        let roster = &self.roster;
        let mut walkers: Vec<_> = roster.iter().map(Walker::new).collect();
        let (mut rankings, mut before) = (Rankings::new(), None);
        for day in &self.days {
            for (name, walker) in roster.iter().zip(&mut walkers).filter(|(n, _)| n.is_listed(day.index)) {
                walker.step(name, day);
            }
            rankings.review(roster, &walkers, day, before.replace(day.date));
            if day.index < self.first {
                continue;
            }
            let members: Vec<_> =
                (0..INDICES.len()).map(|index| rankings.members(index, roster, &walkers, day)).collect();
            if self.dataset == Kind::Indices {
                self.indices(job, day, &members, writer)?;
                continue;
            }
            for (name, walker) in roster.iter().zip(&walkers) {
                let Some(fund) = name.fund.filter(|_| name.is_listed(day.index)) else { continue };
                if job.wants(name.code, Market::Kospi) {
                    seen.insert(name.code);
                    let market = (roster.as_slice(), walkers.as_slice());
                    basket::parts((name, walker, fund), day, &members[fund.index], market, |part| {
                        writer.row(|out| part.write(out))
                    })?;
                }
            }
        }
        Ok(())
    }

    fn indices<W: Write>(
        &self,
        job: &Job,
        day: &Day,
        members: &[Vec<index::Member>],
        writer: &mut Writer<W>,
    ) -> Result<()> {
        for (rules, members) in INDICES.iter().zip(members) {
            let Some(index) = rules.code.filter(|code| wants_index(job, code.as_str())) else { continue };
            if day.date < rules.since || rules.market.is_some_and(|market| !job.markets.contains(&market)) {
                continue;
            }
            for (place, weight) in members {
                let code = self.roster[*place].code;
                let weight = Some(Decimal::new(*weight, index::WEIGHT_DIGITS));
                let member = index_components::Member { index, time: day.date, code, weight };
                writer.row(|out| member.write(out))?;
            }
        }
        Ok(())
    }
}

/// What a simulated market does not have.
fn refuse(job: &Job, dataset: Kind) -> Result<()> {
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
            "extend it (kdata calendar import FILE --until DAY), or ask for an earlier range",
        ));
    }
    if dataset == Kind::Indices && job.codes.is_some() {
        return Err(Error::usage(
            "the members of an index are asked for as a whole, not by --codes",
            "narrow it down with --index 1028 or --index 2203",
        ));
    }
    let published = |index: &str| INDICES.iter().any(|i| i.code.is_some_and(|code| code.as_str() == index));
    if let Some(index) = job.indices.iter().find(|index| !published(index)) {
        return Err(Error::usage(
            format!("the simulated market has no index {index}"),
            "it has 1028 (KOSPI 200) and 2203 (KOSDAQ 150)",
        ));
    }
    Ok(())
}

fn wants_index(job: &Job, index: &str) -> bool {
    job.indices.is_empty() || job.indices.iter().any(|wanted| wanted == index)
}

/// The hours of a session; the calendar has them since 2000.
fn hours(job: &Job, date: NaiveDate) -> Option<Hours> {
    match job.calendar.day(date) {
        market::Day::Session(hours) => hours,
        _ => None,
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use chrono::NaiveDate;

    use super::testing::{date, extract, judge, months, number, some_codes};
    use super::*;
    use crate::dataset;
    use crate::market::tick::{Grid, HALF_TICKS_FROM, TickTable, grid, round_up, table};
    use crate::market::{Calendar, Isin, Market, SecurityType, StockCode, limit, ymd};

    fn ticks(row: &[String]) -> TickTable {
        let kind = SecurityType::parse(row[10].as_bytes()).unwrap();
        table(date(row), Market::parse(row[9].as_bytes()).unwrap(), kind).unwrap()
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
        assert_ne!(extract("ohlcv", narrow, &[], 8).unwrap(), inside);
        let konex = |r: &&Vec<String>| r[9] == "KONEX";
        assert_eq!(inside.iter().find(konex).map(|r| date(r)), Some(ymd(2013, 7, 1)));
    }

    #[test]
    fn no_dataset_depends_on_the_range_or_on_the_codes_asked_for() {
        // A review of the indices in between, and new listings.
        let (wide, narrow) = ((ymd(2016, 6, 8), ymd(2016, 6, 14)), (ymd(2016, 6, 10), ymd(2016, 6, 13)));
        let few = some_codes(7, 40);
        for dataset in dataset::ALL {
            let name = dataset.name;
            let asked = if dataset.is_intraday() { &few[..] } else { &[] };
            let (time, of) = (dataset.index(dataset::TIME), dataset.index(dataset.code));
            let session = |row: &Vec<String>| row[time][..10].parse::<NaiveDate>().unwrap();
            let mut inside = extract(name, wide, asked, 7).unwrap();
            inside.retain(|row| (narrow.0..=narrow.1).contains(&session(row)));
            assert!(!inside.is_empty() && extract(name, narrow, asked, 7).unwrap() == inside, "{name}");
            if name != "index-components" {
                let code = inside[inside.len() / 3][of].clone();
                inside.retain(|row| row[of] == code);
                let codes = [StockCode::parse(code.as_bytes()).unwrap()];
                assert_eq!(extract(name, narrow, &codes, 7).unwrap(), inside, "{name} {code}");
            }
        }
    }

    #[test]
    fn no_dataset_has_rejects_and_flags_are_rare() {
        let range = (ymd(2024, 6, 12), ymd(2024, 6, 18));
        let few = some_codes(11, 40);
        for dataset in dataset::ALL {
            let asked = if dataset.is_intraday() { &few[..] } else { &[] };
            let rows = extract(dataset.name, range, asked, 11).unwrap();
            let flagged = judge(dataset.name, range, &rows);
            assert!(flagged * 1_000 < rows.len(), "{}: {flagged} of {}", dataset.name, rows.len());
            let order = dataset.order();
            let key = |row: &Vec<String>| {
                let session = row[order[0]][..10].to_owned();
                std::iter::once(session)
                    .chain(order[1..].iter().map(|at| row[*at].clone()))
                    .collect::<Vec<_>>()
            };
            assert!(rows.is_sorted_by(|a, b| key(a) < key(b)), "{}", dataset.name);
        }
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
            if row[7] != "ETF" {
                let kind = SecurityType::of_share(code, &row[3], market);
                assert_eq!(kind.as_str(), row[7], "{row:?}");
                *counts.entry(row[5].clone()).or_insert(0) += 1;
            }
            assert_eq!(row[7] == "ETF", row[11].is_empty(), "{row:?}");
            // A name that came from KONEX keeps its code, but not its listing date.
            if row[5] != "KOSDAQ" && row[8].parse::<NaiveDate>().unwrap() >= ymd(2024, 1, 1) {
                assert!(code.as_bytes()[4].is_ascii_uppercase(), "{row:?}");
            }
            assert!(unique.insert(row[3].clone()) && unique.insert(isin.to_string()), "{row:?}");
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
            ("ETF", 78, 84),
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
        let november = (ymd(2026, 11, 2), ymd(2026, 11, 3));
        let one = [StockCode::parse(b"000020").unwrap()];
        assert_eq!(extract("index-components", november, &one, 1).unwrap_err().exit_code(), 2);
        assert_eq!(extract("ohlcv", (ymd(2026, 11, 21), ymd(2026, 11, 22)), &[], 1).unwrap().len(), 0);
        assert!(extract("ohlcv", (ymd(2010, 10, 4), ymd(2010, 10, 4)), &[], 1).unwrap().len() > 2_000);
    }
}
