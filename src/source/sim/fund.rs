//! Exchange traded funds: which are listed when, what they follow, and what is in their baskets.

use chrono::{Days, NaiveDate};

use super::class::{Stay, spread};
use super::dice::Dice;
use super::index::{self, INDICES};
use super::names::{fund_code, isin};
use super::roster::{NEVER, Name};
use crate::market::tick::FACTS_FROM;
use crate::market::{Calendar, Market, SecurityType, ymd};

/// What a fund does with its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// Holds the members.
    Holds,
    /// Holds more of the members than it has money, and has sold futures on more than that.
    Hedges,
    /// Twice the index: members and futures.
    Leverages,
    /// The other way round: cash and sold futures.
    Inverts,
    /// Twice the other way round.
    InvertsTwice,
}

/// What a fund follows, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fund {
    /// A place in [`INDICES`].
    pub(super) index: usize,
    pub(super) manner: Manner,
}

/// Shares that are created and redeemed at once.
pub(super) const CREATION_UNIT: i64 = 50_000;
/// Chance of a creation or a redemption in a session.
pub(super) const CREATION: f64 = 0.08;

/// A kind of fund that several houses offer: its name in Korean and English, what it follows and how.
type Product = (&'static str, &'static str, usize, Manner);

#[rustfmt::skip]
const PRODUCTS: &[Product] = &[
    ("200", "200", index::KOSPI_200, Manner::Holds),
    ("레버리지", "Leverage", index::KOSPI_200, Manner::Leverages),
    ("인버스", "Inverse", index::KOSPI_200, Manner::Inverts),
    ("Top10", "Top10", index::TOP_10, Manner::Holds),
    ("반도체", "Semiconductor", index::ELECTRONICS, Manner::Holds),
    ("헬스케어", "Healthcare", index::PHARMA, Manner::Holds),
    ("자동차", "Autos", index::VEHICLE, Manner::Holds),
    ("화학", "Chemicals", index::CHEMICAL, Manner::Holds),
    ("금융", "Financials", index::FINANCE, Manner::Holds),
    ("철강", "Steels", index::METAL, Manner::Holds),
    ("건설", "Construction", index::CONSTRUCTION, Manner::Holds),
    ("코스닥150", "KOSDAQ150", index::KOSDAQ_150, Manner::Holds),
    ("코스닥150레버리지", "KOSDAQ150 Leverage", index::KOSDAQ_150, Manner::Leverages),
    ("코스닥150선물인버스", "KOSDAQ150 Futures Inverse", index::KOSDAQ_150, Manner::Inverts),
    ("200선물인버스2X", "200 Futures Inverse 2X", index::KOSPI_200, Manner::InvertsTwice),
    ("200헤지", "200 Hedged", index::KOSPI_200, Manner::Hedges),
    ("소프트웨어", "Software", index::SOFTWARE, Manner::Holds),
    ("미디어컨텐츠", "Media Contents", index::LEISURE, Manner::Holds),
    ("로봇", "Robotics", index::MACHINERY, Manner::Holds),
    ("필수소비재", "Consumer Staples", index::FOOD, Manner::Holds),
    ("코스닥150헤지", "KOSDAQ150 Hedged", index::KOSDAQ_150, Manner::Hedges),
];
const HOUSES: [&str; 8] = ["HANBIT", "GAON", "NURI", "MIR", "DASOM", "NARAE", "MARU", "YEOUL"];

/// Price and capitalisation, KRW: medians with the standard deviation of their logarithms.
const PRICE: (f64, f64) = (12_000.0, 0.45);
const CAP: (f64, f64) = (8e10, 1.4);
/// So many of the products are listed when the simulation begins; each house offers each in turn.
const OLD: usize = 11;
const ROUNDS: usize = 4;
/// What follows an index that is not published yet comes this long after it.
const AFTER_INDEX: Days = Days::new(80);
/// Days before the beginning in which the old ones were listed, and the last listing.
const OLDEST: usize = 2_900;
const LAST_LISTING: NaiveDate = ymd(2026, 10, 1);
/// Keys of funds are not keys of shares.
const KEYS: u64 = 1 << 32;

impl Manner {
    /// How much of the index's return it makes, and how much of its shares is traded in a session.
    fn traits(self) -> (f64, (f64, f64)) {
        match self {
            Self::Holds => (1.0, (0.004, 1.2)),
            Self::Hedges => (0.6, (0.002, 1.2)),
            Self::Leverages => (2.0, (0.05, 0.8)),
            Self::Inverts => (-1.0, (0.05, 0.8)),
            Self::InvertsTwice => (-2.0, (0.08, 0.8)),
        }
    }
}

/// All funds of a seed that are listed on any of the sessions.
pub(super) fn listed(seed: u64, sessions: &[NaiveDate], calendar: &Calendar) -> Vec<Name> {
    (0..PRODUCTS.len() * ROUNDS).filter_map(|number| fund(seed, number, sessions, calendar)).collect()
}

fn fund(seed: u64, number: usize, sessions: &[NaiveDate], calendar: &Calendar) -> Option<Name> {
    let key = Dice::of(seed, KEYS + number as u64).next();
    let mut dice = Dice::of(key, u64::MAX);
    let (korean, english, index, manner) = PRODUCTS[number % PRODUCTS.len()];
    let house = HOUSES[(number / PRODUCTS.len() + number) % HOUSES.len()];
    let listing = listing_day(number, index, &mut dice);
    let (listed, since) = match listing {
        Some(day) => {
            let session = sessions.partition_point(|date| *date < day);
            (session, *sessions.get(session)?)
        }
        None => {
            let day = FACTS_FROM - Days::new(1 + dice.below(OLDEST) as u64);
            (0, calendar.session_at_or_before(day).unwrap_or(day))
        }
    };
    let code = fund_code(number, listing, &mut dice);
    let (times, turnover) = manner.traits();
    let (beta, sd) = INDICES[index].traits();
    let stay = Stay {
        market: Market::Kospi,
        since,
        sd: sd * times.abs(),
        beta: beta * times,
        turnover: spread(turnover, dice.bell()),
        noise: 0.6,
        thin: 0.03 * dice.unit(),
        risk: 0.0,
    };
    let mut name = Name {
        key,
        code,
        isin: isin(code),
        korean: format!("{house} {korean}"),
        english: format!("{house} {english} ETF"),
        kind: SecurityType::Etf,
        industry: None,
        fund: Some(Fund { index, manner }),
        listed,
        moved: NEVER,
        stays: [stay.clone(), stay],
        suspended: NEVER,
        delisted: NEVER,
        liquidated: false,
        global: false,
        par: 0,
        shares: 0,
        size: 0.0,
        level: 0.0,
    };
    name.price_at(spread(PRICE, dice.bell()), spread(CAP, dice.bell()));
    name.shares = (name.shares / CREATION_UNIT).max(6) * CREATION_UNIT;
    Some(name)
}

/// The day from which a fund is to be listed; none for those that were before.
fn listing_day(number: usize, index: usize, dice: &mut Dice) -> Option<NaiveDate> {
    let newer = number.checked_sub(OLD)?;
    let span = usize::try_from((LAST_LISTING - FACTS_FROM).num_days()).unwrap_or(0);
    let step = span / (PRODUCTS.len() * ROUNDS - OLD);
    let day = FACTS_FROM + Days::new((newer * step + 1 + dice.below(step)) as u64);
    Some(if INDICES[index].since > FACTS_FROM { day.max(INDICES[index].since + AFTER_INDEX) } else { day })
}
