//! Who is listed when: listings, transfers and delistings from 2010-10-04 on.
//!
//! Built forwards, session by session: what comes later changes nothing before it.

use chrono::{Datelike, Days, NaiveDate};

use super::class::{CLASSES, Class, KONEX, KOSDAQ, KOSPI, PREFERRED, SOLID, Stay, spread};
use super::dice::{Dice, exp, real, whole};
use super::fund::{self, Fund};
use super::names::{Namer, isin, preferred_code};
use super::sector::Industry;
use super::walk::LIQUIDATION;
use crate::market::{Calendar, Isin, Market, SecurityType, StockCode, ymd};

/// KOSDAQ's segment of large names, and the session on which they are named.
pub(super) const GLOBAL: &str = "KOSDAQ GLOBAL";
pub(super) const GLOBAL_FROM: NaiveDate = ymd(2022, 11, 21);
const GLOBAL_NAMES: usize = 52;
const KONEX_FROM: NaiveDate = ymd(2013, 7, 1);
const KOSDAQ_FROM: NaiveDate = ymd(1996, 7, 1);
const OLDEST: NaiveDate = ymd(1975, 6, 2);
/// No session, ever.
pub(super) const NEVER: usize = usize::MAX;

const SESSIONS_A_YEAR: f64 = 246.5;
const TRANSFERS_A_YEAR: f64 = 9.0;
/// Sessions for which a name stays on its market at least.
const SETTLED: usize = 400;
/// A SPAC that found no partner is wound up within three years.
const SPAC_LIFE: (usize, usize) = (540, 730);
/// Sessions for which it stands still before that: at least, and up to this many more.
const SPAC_MERGER: (usize, usize) = (10, 80);
/// Of the smaller KOSPI names of the beginning, those with preferred shares; of the larger ones, twice as many.
const WITH_PREFERRED: f64 = 0.112;
/// Prices around which names move, KRW.
const LEVELS: (f64, f64) = (700.0, 450_000.0);
const FEWEST_SHARES: i64 = 20_000;
const PARS: [i64; 10] = [500, 500, 500, 500, 500, 500, 5_000, 1_000, 100, 200];

/// One listed name and what it is like.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) key: u64,
    pub(super) code: StockCode,
    pub(super) isin: Isin,
    pub(super) korean: String,
    pub(super) english: String,
    pub(super) kind: SecurityType,
    /// What a company does; funds do nothing.
    pub(super) industry: Option<Industry>,
    /// What a fund follows, and how.
    pub(super) fund: Option<Fund>,
    /// First session, counted from the beginning; 0 for those that were listed before.
    pub(super) listed: usize,
    /// First session on KOSDAQ of a name that came from KONEX.
    pub(super) moved: usize,
    pub(super) stays: [Stay; 2],
    /// First session of the suspension that ends in the delisting, and the first session without it.
    pub(super) suspended: usize,
    pub(super) delisted: usize,
    pub(super) liquidated: bool,
    pub(super) global: bool,
    pub(super) par: i64,
    pub(super) shares: i64,
    /// How large it is, in standard deviations of its class.
    pub(super) size: f64,
    /// The price around which it moves, KRW.
    pub(super) level: f64,
}

impl Name {
    /// Where it is on a session, and what it is like there.
    pub(super) fn stay(&self, session: usize) -> &Stay {
        &self.stays[usize::from(session >= self.moved)]
    }

    /// Settles the price around which it moves, and the shares that make its capitalisation.
    pub(super) fn price_at(&mut self, price: f64, cap: f64) {
        self.level = price.clamp(LEVELS.0, LEVELS.1);
        self.shares = whole(cap / self.level).max(FEWEST_SHARES);
    }

    /// Is it listed on a session?
    pub(super) fn is_listed(&self, session: usize) -> bool {
        (self.listed..self.delisted).contains(&session)
    }
}

/// All names of a seed that are listed on any of the sessions, in the order of their codes.
pub(super) fn roster(seed: u64, sessions: &[NaiveDate], calendar: &Calendar) -> Vec<Name> {
    let mut builder = Builder {
        seed,
        dice: Dice::of(seed, u64::MAX),
        calendar,
        namer: Namer::default(),
        names: Vec::new(),
        alive: Default::default(),
        global: false,
    };
    for (session, date) in sessions.iter().enumerate() {
        builder.session(session, *date);
    }
    let mut names = builder.names;
    names.extend(fund::listed(seed, sessions, calendar));
    names.sort_unstable_by_key(|name| name.code);
    names
}

struct Builder<'a> {
    seed: u64,
    dice: Dice,
    calendar: &'a Calendar,
    namer: Namer,
    names: Vec<Name>,
    /// By class, the names that are listed and not about to leave.
    alive: [Vec<usize>; CLASSES.len()],
    /// Were the names of KOSDAQ GLOBAL named?
    global: bool,
}

impl Builder<'_> {
    fn session(&mut self, session: usize, date: NaiveDate) {
        for (index, class) in CLASSES.iter().enumerate() {
            if class.market == Market::Konex && date < KONEX_FROM {
                continue;
            }
            let found = self.alive[index].is_empty();
            if class.kind == SecurityType::Spac {
                self.alive[index].retain(|name| self.names[*name].delisted > session);
            }
            let leaving = class.leaving / SESSIONS_A_YEAR * real_len(&self.alive[index]);
            if self.dice.chance(leaving) {
                self.leave(index, session);
            }
            while real_len(&self.alive[index]) + 1.0 <= class.target(date) && (found || self.dice.chance(0.4))
            {
                self.enlist(index, session, date);
            }
        }
        if self.dice.chance(TRANSFERS_A_YEAR / SESSIONS_A_YEAR) {
            self.transfer(session, date);
        }
        if date >= GLOBAL_FROM && !std::mem::replace(&mut self.global, true) {
            self.appoint_global();
        }
    }

    fn enlist(&mut self, index: usize, session: usize, date: NaiveDate) {
        let class = &CLASSES[index];
        let listing_date = if session == 0 { self.former_date(class, date) } else { date };
        let ((korean, english), industry) = match class.kind {
            SecurityType::Spac => (self.namer.spac(&mut self.dice), Industry::Finance),
            SecurityType::Reit => (self.namer.reit(&mut self.dice), Industry::RealEstate),
            _ => self.namer.company(&mut self.dice),
        };
        let code = self.namer.code((session > 0).then_some(date), &mut self.dice);
        let size = self.dice.bell();
        let price = spread(class.price, self.dice.bell()) * exp(class.slope * class.cap(size));
        let stay = class.stay(size, listing_date, &mut self.dice);
        let mut name = Name {
            key: Dice::of(self.seed, self.names.len() as u64).next(),
            isin: isin(code),
            code,
            korean,
            english,
            kind: class.kind,
            industry: Some(industry),
            fund: None,
            listed: session,
            moved: NEVER,
            stays: [stay.clone(), stay],
            suspended: NEVER,
            delisted: NEVER,
            liquidated: false,
            global: false,
            par: *self.dice.pick(&PARS),
            shares: 0,
            size,
            level: 0.0,
        };
        name.price_at(price, class.cap.0 * exp(class.cap(size)));
        if class.kind == SecurityType::Spac {
            name.par = 100;
            name.delisted = session + SPAC_LIFE.0 + self.dice.below(SPAC_LIFE.1 - SPAC_LIFE.0);
            name.suspended = name.delisted - SPAC_MERGER.0 - self.dice.below(SPAC_MERGER.1);
        }
        let with_preferred = if size > 0.0 { 2.0 * WITH_PREFERRED } else { WITH_PREFERRED };
        let old = index == KOSPI && session == 0;
        let preferred = (old && self.dice.chance(with_preferred)).then(|| self.preferred(&name));
        self.alive[index].push(self.names.len());
        self.names.push(name);
        self.names.extend(preferred);
    }

    /// A preferred share stands right behind its common share.
    fn preferred(&mut self, common: &Name) -> Name {
        let class = &CLASSES[PREFERRED];
        let newer = self.dice.chance(0.2);
        let code = preferred_code(common.code, newer);
        let size = self.dice.bell();
        let stay = class.stay(size, common.stays[0].since, &mut self.dice);
        let mut name = Name {
            key: Dice::of(common.key, 1).next(),
            code,
            isin: isin(code),
            korean: format!("{}{}", common.korean, if newer { "2우B" } else { "우" }),
            english: format!("{} ({}P)", common.english, if newer { 2 } else { 1 }),
            kind: SecurityType::Preferred,
            stays: [stay.clone(), stay],
            size,
            ..common.clone()
        };
        let part = spread(class.price, self.dice.bell());
        name.price_at(common.level * part, class.cap.0 * exp(class.cap(size)));
        name
    }

    /// A day on which a name was listed before the simulation begins.
    fn former_date(&mut self, class: &Class, today: NaiveDate) -> NaiveDate {
        let oldest = match (class.kind, class.market) {
            (SecurityType::Spac, _) => today - Days::new(200),
            (SecurityType::Reit, _) => today - Days::new(1_500),
            (_, Market::Kosdaq) => KOSDAQ_FROM,
            _ => OLDEST,
        };
        let days = usize::try_from((today - oldest).num_days()).unwrap_or(0);
        let date = oldest + Days::new(self.dice.below(days) as u64);
        // Where the calendar does not reach back, any weekday will do.
        let weekend = u64::from(date.weekday().num_days_from_monday().saturating_sub(4));
        self.calendar.session_at_or_before(date).unwrap_or(date - Days::new(weekend))
    }

    /// Lets a name go: some quietly, some after a long suspension and a week of liquidation trading.
    fn leave(&mut self, index: usize, session: usize) {
        let Some(name) = self.someone(index, session) else {
            return;
        };
        let liquidated = self.dice.chance(CLASSES[index].liquidated);
        let waits = if liquidated { 1 + self.dice.below(250) } else { 10 };
        let leavers = self.names[name..].iter_mut().enumerate().take(2);
        for (_, leaver) in leavers.filter(|(place, one)| *place == 0 || one.kind == SecurityType::Preferred) {
            leaver.suspended = session + 1;
            leaver.delisted = session + 1 + waits + if liquidated { LIQUIDATION } else { 0 };
            leaver.liquidated = liquidated;
        }
    }

    /// Takes a name off the list of those that stay.
    fn someone(&mut self, index: usize, session: usize) -> Option<usize> {
        let place = self.dice.below(self.alive[index].len());
        let name = *self.alive[index].get(place)?;
        let settled = self.names[name].listed == 0 || self.names[name].listed + SETTLED < session;
        (settled && self.names[name].size < SOLID).then(|| self.alive[index].swap_remove(place))
    }

    fn transfer(&mut self, session: usize, date: NaiveDate) {
        let Some(index) = self.someone(KONEX, session) else {
            return;
        };
        let name = &mut self.names[index];
        name.moved = session;
        name.stays[1] = CLASSES[KOSDAQ].stay(name.size, date, &mut self.dice);
        self.alive[KOSDAQ].push(index);
    }

    fn appoint_global(&mut self) {
        let mut largest: Vec<_> = self.alive[KOSDAQ].clone();
        let cap = |name: &usize| self.names[*name].level * real(self.names[*name].shares);
        largest.sort_unstable_by(|a, b| cap(b).total_cmp(&cap(a)));
        for name in largest.into_iter().take(GLOBAL_NAMES) {
            self.names[name].global = true;
        }
    }
}

fn real_len(list: &[usize]) -> f64 {
    real(i64::try_from(list.len()).unwrap_or(0))
}
