//! Who is listed when: what sources that ask code by code go through, and what they say of a code.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::market::{Isin, Market, SecurityType, StockCode};

/// What a name is from one session up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// First session.
    pub from: NaiveDate,
    /// The session after the last; `None`: until now.
    pub until: Option<NaiveDate>,
    /// As of then.
    pub market: Market,
    /// As of then.
    pub kind: SecurityType,
    /// Where it is known.
    pub isin: Option<Isin>,
    /// The Korean name.
    pub name: String,
}

impl Listing {
    fn covers(&self, session: NaiveDate) -> bool {
        self.from <= session && self.until.is_none_or(|until| session < until)
    }
}

/// The names listed on some sessions, those included that were delisted later.
#[derive(Clone, Debug, Default)]
pub struct Universe(BTreeMap<StockCode, Vec<Listing>>);

impl Universe {
    /// Adds what a name was for a time.
    pub fn add(&mut self, code: StockCode, listing: Listing) {
        self.0.entry(code).or_default().push(listing);
    }

    /// Is there nobody?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is anything known of the name?
    pub fn has(&self, code: StockCode) -> bool {
        self.0.contains_key(&code)
    }

    /// What the name was on a session.
    pub fn at(&self, code: StockCode, session: NaiveDate) -> Option<&Listing> {
        self.0.get(&code)?.iter().find(|listing| listing.covers(session))
    }

    /// The names listed on at least one of the sessions, ascending by code, each with its first listing there.
    pub fn listed<'u>(&'u self, sessions: &[NaiveDate]) -> impl Iterator<Item = (StockCode, &'u Listing)> {
        self.0.iter().filter_map(|(code, listings)| {
            let there = |listing: &&Listing| sessions.iter().any(|session| listing.covers(*session));
            listings.iter().find(there).map(|listing| (*code, listing))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn names_are_what_they_were() {
        let code = StockCode::parse(b"005930").unwrap();
        let listing = |from, until, market| Listing {
            from,
            until,
            market,
            kind: SecurityType::Stock,
            isin: None,
            name: "삼성전자".into(),
        };
        let mut universe = Universe::default();
        universe.add(code, listing(ymd(2024, 1, 2), Some(ymd(2024, 6, 3)), Market::Konex));
        universe.add(code, listing(ymd(2024, 6, 3), Some(ymd(2025, 1, 2)), Market::Kosdaq));
        assert_eq!(universe.at(code, ymd(2024, 5, 31)).unwrap().market, Market::Konex);
        assert_eq!(universe.at(code, ymd(2024, 6, 3)).unwrap().market, Market::Kosdaq);
        assert!(universe.at(code, ymd(2025, 1, 2)).is_none());
        assert_eq!(universe.listed(&[ymd(2023, 1, 2), ymd(2024, 12, 30)]).count(), 1);
        assert_eq!(universe.listed(&[ymd(2025, 1, 2)]).count(), 0);
    }
}
