//! Indices: who is in them, and with what weight. Two are published; the others are what funds follow.

use std::collections::HashSet;

use chrono::{Datelike, NaiveDate, Weekday};

use super::dice::{real, whole};
use super::floating;
use super::roster::Name;
use super::sector::Industry;
use super::walk::{Day, Walker};
use crate::market::tick::FACTS_FROM;
use crate::market::{IndexCode, Market, SecurityType, ymd};

/// An index: the largest names of a universe, weighted by their floating capitalisation.
pub(super) struct Index {
    /// KRX's code of a published one.
    pub(super) code: Option<IndexCode>,
    pub(super) market: Option<Market>,
    industry: Option<Industry>,
    size: usize,
    /// The day from which it is published.
    pub(super) since: NaiveDate,
}

const fn theme(industry: Industry) -> Index {
    Index { code: None, market: None, industry: Some(industry), size: 30, since: FACTS_FROM }
}

pub(super) const KOSPI_200: usize = 0;
pub(super) const KOSDAQ_150: usize = 1;
pub(super) const TOP_10: usize = 2;
pub(super) const ELECTRONICS: usize = 3;
pub(super) const PHARMA: usize = 4;
pub(super) const VEHICLE: usize = 5;
pub(super) const CHEMICAL: usize = 6;
pub(super) const FINANCE: usize = 7;
pub(super) const SOFTWARE: usize = 8;
pub(super) const LEISURE: usize = 9;
pub(super) const METAL: usize = 10;
pub(super) const CONSTRUCTION: usize = 11;
pub(super) const MACHINERY: usize = 12;
pub(super) const FOOD: usize = 13;

/// All of them.
pub(super) static INDICES: [Index; 14] = [
    Index {
        code: Some(IndexCode::KOSPI_200),
        market: Some(Market::Kospi),
        industry: None,
        size: 200,
        since: FACTS_FROM,
    },
    Index {
        code: Some(IndexCode::KOSDAQ_150),
        market: Some(Market::Kosdaq),
        industry: None,
        size: 150,
        since: ymd(2015, 7, 13),
    },
    Index { code: None, market: Some(Market::Kospi), industry: None, size: 10, since: FACTS_FROM },
    theme(Industry::Electronics),
    theme(Industry::Pharma),
    theme(Industry::Vehicle),
    theme(Industry::Chemical),
    theme(Industry::Finance),
    theme(Industry::Software),
    theme(Industry::Leisure),
    theme(Industry::Metal),
    theme(Industry::Construction),
    theme(Industry::Machinery),
    theme(Industry::Food),
];

/// Members stay unless others are larger by this factor: few change places at a review.
const LOYALTY: f64 = 1.2;
/// How many names of a ranking are kept for those that leave between reviews, against the size.
const KEPT: usize = 2;
/// The parts in which weights are counted: 100 %, to so many decimals.
pub(super) const WHOLE: i64 = 1_000_000;
pub(super) const WEIGHT_DIGITS: u8 = 4;

impl Index {
    /// How it moves: its share in the market's return, and the standard deviation of its own.
    pub(super) fn traits(&self) -> (f64, f64) {
        match (self.market, self.industry) {
            (_, Some(_)) => (0.95, 0.006),
            (Some(Market::Kosdaq), _) => (1.0, 0.001_5),
            _ => (0.9, 0.001),
        }
    }

    /// May a name be in it?
    fn admits(&self, name: &Name, session: usize) -> bool {
        let market = name.stay(session).market;
        name.kind == SecurityType::Stock
            && name.is_listed(session)
            && session < name.suspended
            && self.market.map_or(market != Market::Konex, |wanted| wanted == market)
            && self.industry.is_none_or(|wanted| name.industry == Some(wanted))
    }

    /// The best first; who is in already has an advantage. More than there are members.
    fn rank(&self, before: &[usize], roster: &[Name], walkers: &[Walker], session: usize) -> Vec<usize> {
        let members: HashSet<_> = before.iter().take(self.size).collect();
        let cap = |place: &usize| {
            let advantage = if members.contains(place) { LOYALTY } else { 1.0 };
            advantage * real(walkers[*place].close * walkers[*place].shares)
        };
        let mut ranking: Vec<_> =
            (0..roster.len()).filter(|place| self.admits(&roster[*place], session)).collect();
        ranking.sort_by(|a, b| cap(b).total_cmp(&cap(a)));
        ranking.truncate(KEPT * self.size);
        ranking
    }
}

/// The rankings of all indices, as places in the roster. KRX ranks by the mean capitalisation of the six months that
/// end in April and October, and changes the members after the second Thursday of June and December. Here the
/// capitalisation of the first session after those months decides.
pub(super) struct Rankings {
    /// In force, and to come.
    now: Vec<Vec<usize>>,
    next: Vec<Vec<usize>>,
}

/// A member: its place in the roster, and its weight in parts of [`WHOLE`].
pub(super) type Member = (usize, i64);

impl Rankings {
    /// Before the first session.
    pub(super) fn new() -> Self {
        let none = vec![Vec::new(); INDICES.len()];
        Self { now: none.clone(), next: none }
    }

    /// Reviews the members where that is due on a session; `before` is the session before it.
    pub(super) fn review(
        &mut self,
        roster: &[Name],
        walkers: &[Walker],
        day: &Day,
        before: Option<NaiveDate>,
    ) {
        let since = |date: NaiveDate| before.is_none_or(|before| before < date && date <= day.date);
        let first_of =
            |month| since(day.date.with_day(1).filter(|d| d.month() == month).unwrap_or(NaiveDate::MAX));
        if before.is_none() || first_of(5) || first_of(11) {
            for (index, before) in self.now.iter().enumerate() {
                self.next[index] = INDICES[index].rank(before, roster, walkers, day.index);
            }
        }
        if before.is_none() || since(change(day.date, 6)) || since(change(day.date, 12)) {
            self.now.clone_from(&self.next);
        }
    }

    /// The members of a session in the order of their codes. Their weights add up to [`WHOLE`].
    pub(super) fn members(
        &self,
        index: usize,
        roster: &[Name],
        walkers: &[Walker],
        day: &Day,
    ) -> Vec<Member> {
        let rules = &INDICES[index];
        let ranked = self.now[index].iter().copied();
        let mut places: Vec<_> =
            ranked.filter(|place| rules.admits(&roster[*place], day.index)).take(rules.size).collect();
        places.sort_unstable();
        let cap = |place: &usize| {
            real(walkers[*place].close * floating::shares(&roster[*place], &walkers[*place], day.date))
        };
        let total: f64 = places.iter().map(cap).sum();
        let (mut sum, mut given) = (0.0, 0);
        let weigh = |place: usize| {
            sum += cap(&place);
            let weight = whole(sum / total * real(WHOLE)) - given;
            given += weight;
            (place, weight)
        };
        places.into_iter().map(weigh).collect()
    }
}

/// The first day on which the members of a review count: after the second Thursday of its month.
fn change(date: NaiveDate, month: u32) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(date.year(), month, Weekday::Thu, 2)
        .and_then(|thursday| thursday.succ_opt())
        .unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::market::Decimal;
    use crate::source::sim::testing::{date, extract, judge, number};

    type Lists = BTreeMap<(NaiveDate, String), BTreeMap<String, i64>>;

    /// By session and index, the members with their weights in 1/10,000 per cent.
    fn lists(from: NaiveDate, to: NaiveDate, seed: u64) -> Lists {
        let rows = extract("index-components", (from, to), &[], seed).unwrap();
        assert_eq!(judge("index-components", (from, to), &rows), 0);
        let mut lists = Lists::new();
        for row in &rows {
            let weight = Decimal::parse(row[3].as_bytes()).unwrap().at_scale(WEIGHT_DIGITS);
            let list = lists.entry((date(row), row[0].clone())).or_default();
            list.insert(row[2].clone(), i64::try_from(weight).unwrap());
        }
        lists
    }

    #[test]
    fn members_are_listed_and_their_weights_are_whole() {
        for (from, to) in [(ymd(2015, 7, 6), ymd(2015, 7, 17)), (ymd(2026, 11, 16), ymd(2026, 11, 20))] {
            let bars = extract("ohlcv", (from, to), &[], 5).unwrap();
            let caps = extract("market-cap", (from, to), &[], 5).unwrap();
            let market: BTreeMap<_, _> = bars
                .iter()
                .map(|row| ((date(row), row[0].as_str()), (row[9].as_str(), row[10].as_str())))
                .collect();
            for ((day, index), members) in lists(from, to, 5) {
                let (size, home) = if index == "1028" { (200, "KOSPI") } else { (150, "KOSDAQ") };
                assert_eq!((members.len(), members.values().sum::<i64>()), (size, WHOLE), "{day} {index}");
                assert!(members.values().all(|weight| *weight > 0), "{day} {index}");
                for code in members.keys() {
                    assert_eq!(
                        market.get(&(day, code.as_str())),
                        Some(&(home, "STOCK")),
                        "{day} {index} {code}"
                    );
                }
                let mut largest: Vec<_> = caps
                    .iter()
                    .filter(|row| date(row) == day && market[&(day, row[0].as_str())] == (home, "STOCK"))
                    .map(|row| (number(row, 2), &row[0]))
                    .collect();
                largest.sort_unstable_by(|a, b| b.cmp(a));
                let inside =
                    largest.iter().take(size).filter(|(_, code)| members.contains_key(*code)).count();
                assert!(inside * 10 > size * 7, "{day} {index}: {inside} of the {size} largest");
            }
        }
    }

    #[test]
    fn kosdaq_150_begins_on_its_day() {
        let lists = lists(ymd(2015, 7, 9), ymd(2015, 7, 14), 1);
        let days =
            |index: &str| lists.keys().filter(|(_, i)| i == index).map(|(d, _)| *d).collect::<Vec<_>>();
        assert_eq!(days("1028").len(), 4);
        assert_eq!(days("2203"), [ymd(2015, 7, 13), ymd(2015, 7, 14)]);
    }

    #[test]
    fn members_change_at_reviews_and_when_one_leaves() {
        let lists = lists(ymd(2024, 1, 2), ymd(2025, 1, 31), 1);
        let mut reviews = BTreeSet::new();
        for index in ["1028", "2203"] {
            let of_index: Vec<_> = lists.iter().filter(|((_, i), _)| i == index).collect();
            let mut all = 0;
            for pair in of_index.windows(2) {
                let (((_, _), before), ((day, _), after)) = (pair[0], pair[1]);
                let new = after.keys().filter(|code| !before.contains_key(*code)).count();
                if new > 2 {
                    assert!(new < 40, "{day} {index}: {new} new");
                    reviews.insert(*day);
                }
                all += new;
            }
            assert!((6..80).contains(&all), "{index}: {all} new in a year");
        }
        // The sessions after the second Thursdays: 2024-06-13 and 2024-12-12.
        assert!(reviews.iter().eq(&[ymd(2024, 6, 14), ymd(2024, 12, 13)]), "{reviews:?}");
    }
}
