//! How prices, halts and shares go on from session to session. A step keeps the little that the next one needs.

use chrono::NaiveDate;

use super::class::Stay;
use super::dice::{Dice, MEAN_SHOCK, exp, low_bits, real, shock, unit, whole};
use super::fund::{CREATION, CREATION_UNIT};
use super::roster::Name;
use crate::market::limit::{self, Band};
use crate::market::tick::{self, HALF_TICKS_FROM, TickTable};
use crate::market::{Market, SecurityType};

/// Sessions of liquidation trading before a delisting.
pub(super) const LIQUIDATION: usize = 7;

/// Daily standard deviation of the market, and its farthest move.
const MARKET_SD: f64 = 0.011;
const WORST_DAY: f64 = 0.09;
/// Pull towards the level of a name, a session.
const REVERSION: f64 = 0.008;
/// The most that volatility is made up for, a session: well below the pull.
const MOST_LIFT: f64 = 0.001_6;
/// Weight of a session's shock in the liveliness of the next ones.
const MEMORY: f64 = 0.16;
/// Returns as close to the limit as this are checked against the exact band.
const NEAR_LIMIT: f64 = 0.02;
/// Prices do not fall below this by themselves, KRW.
const FLOOR: i64 = 100;
/// Below this shares are consolidated, above this they are split, KRW.
const CHEAP: i64 = 2_000;
const DEAR: i64 = 700_000;
/// Chances a session: an action that changes the base price, a halt, another change of the listed shares.
const ACTION: f64 = 0.000_3;
const HALT: f64 = 0.001_1;
const ISSUE: f64 = 0.005;
/// Of the names of the beginning, those that are halted; and how long a halt is at most, in sessions.
const ASLEEP: f64 = 0.03;
const LONGEST_HALT: usize = 500;
/// Chance of a close between two ticks.
const HALF_TICK_CLOSE: f64 = 0.000_9;
/// On a session without trades on KONEX: chance of a close by quotes (기세).
const QUOTED: f64 = 0.1;

/// What all names share on a session.
pub(super) struct Day {
    pub(super) index: usize,
    pub(super) date: NaiveDate,
    /// The market's return.
    factor: f64,
    /// Of the shares of each market; of exchange traded funds.
    boards: [Board; Market::ALL.len() + 1],
}

/// The rules for shares of one market, or for funds, on a session.
pub(super) struct Board {
    pub(super) table: TickTable,
    /// Midpoint orders execute between two ticks.
    pub(super) half_ticks: bool,
    limit: f64,
}

impl Board {
    fn of(date: NaiveDate, market: Market, kind: SecurityType) -> Self {
        Self {
            table: tick::table(date, market, kind).unwrap_or(&[(i64::MAX, 1)]),
            half_ticks: date >= HALF_TICKS_FROM && kind == SecurityType::Stock,
            limit: real(limit::per_mille(date, market, kind).unwrap_or(0)) / 1_000.0,
        }
    }
}

impl Day {
    /// The rules for a kind of name on its market.
    pub(super) fn board(&self, market: Market, kind: SecurityType) -> &Board {
        let fund = kind == SecurityType::Etf;
        &self.boards[if fund { Market::ALL.len() } else { market as usize }]
    }
}

/// The sessions with what they have in common.
pub(super) fn days(seed: u64, sessions: &[NaiveDate]) -> Vec<Day> {
    let mut heat = 1.0;
    let day = |(index, date): (usize, &NaiveDate)| {
        let mut dice = Dice::of(!seed, index as u64);
        let shock = shock(dice.bell(), dice.unit());
        let factor = (MARKET_SD * heat * shock).clamp(-WORST_DAY, WORST_DAY);
        heat += MEMORY * (shock.abs() / MEAN_SHOCK - heat);
        let [kospi, kosdaq, konex] = Market::ALL.map(|market| Board::of(*date, market, SecurityType::Stock));
        let funds = Board::of(*date, Market::Kospi, SecurityType::Etf);
        Day { index, date: *date, factor, boards: [kospi, kosdaq, konex, funds] }
    };
    sessions.iter().enumerate().map(day).collect()
}

/// What happened to a name in a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trade {
    /// Nothing: halted, or nobody came.
    None,
    Regular,
    /// The first session of a listing.
    Debut,
    /// The week before a delisting, without limits.
    Liquidation,
}

/// The state of a name.
#[derive(Clone, Debug)]
pub(super) struct Walker {
    pub(super) base: i64,
    pub(super) close: i64,
    pub(super) shares: i64,
    pub(super) par: i64,
    /// How lively trading has been, and how large the last shock was; both are 1 in the mean.
    pub(super) heat: f64,
    pub(super) shock: f64,
    level: f64,
    /// First session after a halt, and what the base price is multiplied by then.
    resumes: usize,
    rebase: Option<f64>,
    /// The session on which the listed shares are multiplied, and by what. Until then nothing else happens.
    issues: usize,
    dilution: Option<f64>,
    /// The par value from then on, KRW.
    next_par: i64,
}

impl Walker {
    /// A name before its first session.
    pub(super) fn new(name: &Name) -> Self {
        let mut dice = Dice::of(name.key, u64::MAX);
        let spread = exp(0.3 * dice.bell());
        let asleep = name.listed == 0 && dice.chance(ASLEEP * name.stay(0).risk);
        let resumes = if asleep { 1 + dice.below(LONGEST_HALT) } else { 0 };
        let start = if name.kind == SecurityType::Spac { 2_000.0 } else { name.level * spread };
        Self {
            base: 0,
            close: whole(start),
            shares: name.shares,
            par: name.par,
            heat: 1.0,
            shock: 1.0,
            level: name.level,
            resumes,
            rebase: None,
            issues: resumes,
            dilution: None,
            next_par: name.par,
        }
    }

    /// Goes through one session on which the name is listed.
    pub(super) fn step(&mut self, name: &Name, day: &Day) -> Trade {
        let stay = name.stay(day.index);
        let table = day.board(stay.market, name.kind).table;
        self.base = tick::round_up(table, self.close);
        let mut dice = Dice::of(name.key, day.index as u64);
        let trade = if day.index >= name.suspended {
            self.leave(name, day, table, &mut dice)
        } else if day.index == name.listed && day.index > 0 {
            Some(self.debut(name, day, &mut dice))
        } else {
            self.usual(name, stay, day, &mut dice)
        };
        trade.unwrap_or_else(|| {
            self.close = self.base;
            Trade::None
        })
    }

    /// A session like any other; `None` without a new price.
    fn usual(&mut self, name: &Name, stay: &Stay, day: &Day, dice: &mut Dice) -> Option<Trade> {
        let board = day.board(stay.market, name.kind);
        let (word, other) = (dice.next(), dice.next());
        let event = low_bits(word);
        let seldom = if name.fund.is_some() { CREATION } else { ACTION + HALT + ISSUE };
        if event < seldom && day.index > self.issues {
            self.begin(name, day, event, dice);
        }
        if day.index <= self.issues {
            self.carry_on(name, day, board.table);
        }
        let luck = low_bits(other);
        let absent = luck < stay.thin;
        let quoted = stay.market == Market::Konex && luck < stay.thin * QUOTED;
        if day.index < self.resumes || (absent && !quoted) {
            return None;
        }
        let bell = (low_bits(word >> 16) + low_bits(word >> 32) + low_bits(word >> 48) - 1.5) * 2.0;
        let shock = shock(bell, unit(other));
        let price = real(self.base);
        // The square makes up for what volatility takes off the logarithm of the price.
        let pull =
            REVERSION * (self.level - price) / (self.level + price) + (stay.sd * stay.sd).min(MOST_LIFT);
        let change = stay.beta * day.factor + pull + stay.sd * self.heat * shock;
        self.shock = shock.abs() / MEAN_SHOCK;
        self.heat += MEMORY * (self.shock - self.heat);
        self.close = snap(board.table, price * (1.0 + change)).max(FLOOR.min(self.base));
        if change.abs() > board.limit - NEAR_LIMIT {
            let band = self.band(name, day, Trade::Regular);
            self.close = self.close.clamp(band.lower, band.upper);
        } else if board.half_ticks && low_bits(other >> 16) < HALF_TICK_CLOSE {
            self.close += tick::size(board.table, self.close) / 2;
        }
        Some(if absent { Trade::None } else { Trade::Regular })
    }

    /// What seldom begins in a session: a corporate action, a halt, a change of the listed shares.
    fn begin(&mut self, name: &Name, day: &Day, event: f64, dice: &mut Dice) {
        let company = name.kind == SecurityType::Stock;
        let (halt, wait) = if name.fund.is_some() {
            let (usual, now) = (real(name.shares), real(self.shares));
            self.dilution = Some(1.0 + 0.08 * dice.bell() + 0.1 * (usual - now) / (usual + now));
            (0, 0)
        } else if event < ACTION && company {
            self.act(dice)
        } else if event < ACTION + HALT && dice.chance(name.stay(day.index).risk) {
            (halt_length(dice), 0)
        } else if event >= ACTION + HALT && company {
            let draw = dice.unit();
            let cancelled = dice.chance(0.12);
            self.dilution = Some(if cancelled { 1.0 - 0.02 * draw } else { 1.0 + 0.04 * draw * draw * draw });
            (0, 0)
        } else {
            return;
        };
        self.resumes = day.index + halt;
        self.issues = self.resumes + wait;
    }

    /// Decides on a corporate action; returns the sessions of its halt, and those until its shares are listed.
    fn act(&mut self, dice: &mut Dice) -> (usize, usize) {
        let draw = dice.unit();
        let times = if dice.chance(0.5) || self.par == 500 { 5 } else { 10 };
        let (rebase, dilution, sessions) = if self.close < CHEAP && draw < 0.45 {
            (real(times), Some(1.0 / real(times)), (15 + dice.below(10), 0))
        } else if self.par % (times * 100) == 0
            && (self.close > DEAR || (self.close > DEAR / 30 && draw < 0.2))
        {
            self.next_par = self.par / times;
            (1.0 / real(times), Some(real(times)), (3, 0))
        } else if draw < 0.25 {
            let bonus = *dice.pick(&[2.0, 2.0, 2.0, 1.5, 1.2]);
            (1.0 / bonus, Some(bonus), (0, 15 + dice.below(10)))
        } else if draw < 0.8 {
            let rights = dice.between(0.72, 0.98);
            (rights, Some(dice.between(1.05, 1.4)), (0, 25 + dice.below(15)))
        } else {
            let merger = dice.between(1.05, 1.8);
            (merger, None, (20 + dice.below(40), 0))
        };
        (self.rebase, self.dilution) = (Some(rebase), dilution);
        sessions
    }

    /// What is due of a corporate action.
    fn carry_on(&mut self, name: &Name, day: &Day, table: TickTable) {
        if day.index == self.resumes
            && let Some(factor) = self.rebase.take()
        {
            self.base = tick::round_up(table, whole(real(self.close) * factor).max(1));
            self.level *= factor;
        }
        if day.index == self.issues
            && let Some(factor) = self.dilution.take()
        {
            let unit = if name.fund.is_some() { CREATION_UNIT } else { 1 };
            self.shares = whole(real(self.shares / unit) * factor).max(1) * unit;
            self.par = self.next_par;
        }
    }

    /// The first session: around the offer price since 2023-06-26, before that around the open.
    fn debut(&mut self, name: &Name, day: &Day, dice: &mut Dice) -> Trade {
        let market = name.stay(day.index).market;
        let table = day.board(market, name.kind).table;
        let hot = name.kind == SecurityType::Stock || (dice.chance(0.05) && name.kind != SecurityType::Etf);
        let pop = if hot { exp(0.3 + 0.45 * dice.bell()) } else { exp(0.02 * dice.bell()) };
        let change = if limit::first_session_band(day.date, market, self.base).is_some() {
            pop
        } else {
            self.base = snap(table, real(self.base) * pop.clamp(0.9, 2.0));
            exp(0.08 * dice.bell())
        };
        let band = self.band(name, day, Trade::Debut);
        self.close = snap(table, real(self.base) * change).clamp(band.lower, band.upper);
        self.heat = 3.0;
        Trade::Debut
    }

    /// The way out: a suspension, then perhaps a week at any price.
    fn leave(&mut self, name: &Name, day: &Day, table: TickTable, dice: &mut Dice) -> Option<Trade> {
        let last_week = name.delisted.saturating_sub(LIQUIDATION);
        if !name.liquidated || day.index < last_week {
            return None;
        }
        let first = day.index == last_week;
        let change = if first { dice.between(0.03, 0.6) } else { exp(0.25 * dice.bell() - 0.1) };
        self.close = snap(table, real(self.base) * change);
        self.heat = 4.0;
        Some(Trade::Liquidation)
    }

    /// Between which prices a session trades.
    pub(super) fn band(&self, name: &Name, day: &Day, trade: Trade) -> Band {
        let market = name.stay(day.index).market;
        let table = day.board(market, name.kind).table;
        let free = Band { lower: 1, upper: i64::MAX };
        match (trade, limit::first_session_band(day.date, market, self.base)) {
            (Trade::Liquidation, _) => free,
            (Trade::Debut, Some(band)) => Band {
                lower: tick::round_up(table, band.lower),
                upper: band.upper - band.upper % tick::size(table, band.upper),
            },
            _ => limit::band(day.date, market, name.kind, self.base).unwrap_or(free),
        }
    }
}

fn halt_length(dice: &mut Dice) -> usize {
    match dice.unit() {
        draw if draw < 0.6 => 1 + dice.below(3),
        draw if draw < 0.9 => 5 + dice.below(25),
        _ => 60 + dice.below(LONGEST_HALT - 60),
    }
}

/// The nearest price on the grid.
pub(super) fn snap(table: TickTable, price: f64) -> i64 {
    let price = whole(price);
    let tick = tick::size(table, price);
    ((price + tick / 2) / tick * tick).max(1)
}
