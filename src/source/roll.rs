//! The roll of a job that asks name by name: who was listed on which session, and whose rows came.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use chrono::NaiveDate;

use super::{Job, Listing, Universe};
use crate::error::{Error, Result};
use crate::market::{SecurityType, StockCode};
use crate::stream::Writer;

/// Who is asked for, and what came of whom.
#[derive(Debug)]
pub struct Roll<'u> {
    universe: &'u Universe,
    names: Vec<StockCode>,
    came: BTreeSet<(NaiveDate, StockCode)>,
    /// The source has no row of a name on its first session.
    lacks_first: bool,
}

impl<'u> Roll<'u> {
    /// Who is to be asked for, ascending: the names of the kinds that have the dataset, and those of `--codes` whatever
    /// their kind.
    pub fn of(job: &Job, universe: &'u Universe, has: impl Fn(SecurityType) -> bool) -> Self {
        let has = |listing: &Listing| job.codes.is_some() || has(listing.kind);
        let names = job.names(universe).into_iter().filter(|(_, listing)| has(listing));
        Self::new(universe, names.map(|(code, _)| code).collect())
    }

    /// Marks the codes that nobody has; refuses where there is nobody at all.
    pub fn open<W: Write>(&self, job: &Job, source: &str, writer: &mut Writer<W>) -> Result<()> {
        if self.names.is_empty() && job.codes.is_none() {
            let markets: Vec<_> = job.markets.iter().map(|market| market.as_str()).collect();
            return Err(Error::Source {
                what: format!("{source} knows no name of {} on these sessions", markets.join(", ")),
                help: "leave those markets out (--market), or take another source".into(),
            });
        }
        job.mark_missing(&self.names.iter().copied().collect(), writer)
    }

    /// The roll of some names, ascending.
    pub fn new(universe: &'u Universe, names: Vec<StockCode>) -> Self {
        Self { universe, names, came: BTreeSet::new(), lacks_first: false }
    }

    /// Nobody is expected on their first session.
    #[must_use]
    pub fn lacking_first_sessions(mut self) -> Self {
        self.lacks_first = true;
        self
    }

    /// Who is asked for on one session or another.
    pub fn names(&self) -> &[StockCode] {
        &self.names
    }

    /// What a name was on a session.
    pub fn at(&self, code: StockCode, session: NaiveDate) -> Option<&'u Listing> {
        self.universe.at(code, session)
    }

    /// The names listed on a session.
    pub fn listed(&self, session: NaiveDate) -> impl Iterator<Item = StockCode> + '_ {
        self.names.iter().copied().filter(move |code| self.at(*code, session).is_some())
    }

    /// The first and the last of the sessions on which a name was listed.
    pub fn span(&self, code: StockCode, sessions: &[NaiveDate]) -> Option<(NaiveDate, NaiveDate)> {
        let is_listed = |session: &&NaiveDate| self.at(code, **session).is_some();
        let first = sessions.iter().find(is_listed)?;
        Some((*first, *sessions.iter().rfind(is_listed)?))
    }

    /// A row of a name came.
    pub fn tick(&mut self, code: StockCode, session: NaiveDate) {
        self.came.insert((session, code));
    }

    /// The names listed on a session of which no row came.
    pub fn absent(&self, session: NaiveDate) -> Vec<StockCode> {
        self.listed(session).filter(|code| !self.came.contains(&(session, *code))).collect()
    }

    /// The names of which no row came on some of the sessions, with the first and the last of these.
    pub fn gaps(&self, sessions: &[NaiveDate]) -> Vec<(StockCode, NaiveDate, NaiveDate)> {
        let mut gaps: BTreeMap<StockCode, (NaiveDate, NaiveDate)> = BTreeMap::new();
        for session in sessions {
            for code in self.absent(*session) {
                gaps.entry(code).and_modify(|(_, last)| *last = *session).or_insert((*session, *session));
            }
        }
        gaps.into_iter().map(|(code, (first, last))| (code, first, last)).collect()
    }

    /// Is every session there? Of all names at least a share in per cent must have come, of a list of codes one; else
    /// the source has not published it, whatever it says. `help` says when it does.
    pub fn judge(
        &self,
        job: &Job,
        source: &str,
        sessions: &[NaiveDate],
        percent: usize,
        help: &str,
    ) -> Result<()> {
        for session in sessions {
            let is_due = |code: &StockCode| {
                !self.lacks_first || self.at(*code, *session).is_some_and(|listing| listing.from < *session)
            };
            let (mut due, mut came) = (0, 0);
            for code in self.listed(*session) {
                due += usize::from(is_due(&code));
                came += usize::from(self.came.contains(&(*session, code)));
            }
            let least = if job.codes.is_some() { 1 } else { (due * percent).div_ceil(100).max(1) };
            if due > 0 && came < least {
                return Err(Error::NotPublished {
                    what: format!(
                        "{source} has {} of {session} for {came} of {due} names, though the market was open",
                        job.dataset.name
                    ),
                    help: help.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Marks who did not come, and begins anew.
    pub fn close<W: Write>(
        &mut self,
        sessions: &[NaiveDate],
        reason: &str,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        for session in sessions {
            for code in self.absent(*session) {
                let is_first = self.at(code, *session).is_some_and(|listing| listing.from == *session);
                let why =
                    if is_first && self.lacks_first { "no row on a name's first session" } else { reason };
                writer.missing(&format!("{code},{session}"), why)?;
            }
        }
        self.came.clear();
        Ok(())
    }
}
