//! What the names of each kind are like: how many, how large, how dear, how lively.

use chrono::{Datelike, NaiveDate};

use super::dice::{Dice, exp};
use crate::market::{Market, SecurityType};

/// Names larger than this many standard deviations neither fail nor stand still for long.
pub(super) const SOLID: f64 = 1.0;

/// No name moves more than this in a session, in the mean: daily limits would turn it into a drift.
const WILDEST: f64 = 0.08;

/// What a name is like while it is on one market.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    pub(super) market: Market,
    pub(super) since: NaiveDate,
    /// Daily standard deviation of its own returns, and its share in the market's.
    pub(super) sd: f64,
    pub(super) beta: f64,
    /// Median share of the listed shares that is traded in a session, and how much that varies (log).
    pub(super) turnover: f64,
    pub(super) noise: f64,
    /// Probability that nobody trades it in a session.
    pub(super) thin: f64,
    /// How often it is halted, against the average.
    pub(super) risk: f64,
}

/// A kind of name on a market: how many there are and what they are like. Medians with the standard deviation of
/// their logarithms, measured on KRX's bars of January and February 2022, 2024 and 2026.
pub(super) struct Class {
    pub(super) market: Market,
    pub(super) kind: SecurityType,
    /// (year, number of names), linear between.
    targets: &'static [(f64, f64)],
    /// Share of the names that leave in a year, and how many of them through liquidation trading.
    pub(super) leaving: f64,
    pub(super) liquidated: f64,
    /// Capitalisation, KRW; `skew` makes the largest larger.
    pub(super) cap: (f64, f64),
    skew: f64,
    /// Price, KRW (of a preferred share: against the common share's); `slope`: larger companies have higher ones.
    pub(super) price: (f64, f64),
    pub(super) slope: f64,
    /// Share of the listed shares traded in a session; `lure`: larger companies are traded more.
    turnover: (f64, f64),
    lure: f64,
    sd: (f64, f64),
    beta: f64,
    noise: f64,
    thin: f64,
    risk: f64,
}

pub(super) const KOSPI: usize = 0;
pub(super) const KOSDAQ: usize = 1;
pub(super) const KONEX: usize = 2;
pub(super) const PREFERRED: usize = 5;

#[rustfmt::skip]
pub(super) static CLASSES: [Class; 6] = [
    Class {
        market: Market::Kospi, kind: SecurityType::Stock,
        targets: &[(2010.0, 785.0), (2018.0, 775.0), (2022.0, 800.0), (2027.0, 815.0)],
        leaving: 0.013, liquidated: 0.5, cap: (2.6e11, 1.3), skew: 0.35, price: (12_500.0, 1.3), slope: 0.68,
        turnover: (0.0029, 0.85), lure: 0.05, sd: (0.0195, 0.38), beta: 0.9, noise: 0.6, thin: 0.0, risk: 0.5,
    },
    Class {
        market: Market::Kosdaq, kind: SecurityType::Stock,
        targets: &[(2010.0, 1_190.0), (2016.0, 1_200.0), (2022.0, 1_490.0), (2027.0, 1_765.0)],
        leaving: 0.018, liquidated: 0.7, cap: (1.0e11, 0.75), skew: 0.25, price: (6_000.0, 0.75), slope: 0.88,
        turnover: (0.0052, 1.05), lure: 0.3, sd: (0.0255, 0.42), beta: 1.0, noise: 0.65, thin: 0.0, risk: 1.0,
    },
    Class {
        market: Market::Konex, kind: SecurityType::Stock,
        targets: &[(2013.4, 21.0), (2018.0, 150.0), (2022.0, 131.0), (2027.0, 112.0)],
        leaving: 0.05, liquidated: 0.5, cap: (1.7e10, 0.9), skew: 0.1, price: (3_300.0, 0.7), slope: 0.75,
        turnover: (0.00008, 1.6), lure: 0.2, sd: (0.038, 0.6), beta: 0.2, noise: 2.2, thin: 0.5, risk: 1.0,
    },
    Class {
        market: Market::Kospi, kind: SecurityType::Reit,
        targets: &[(2010.0, 2.0), (2018.0, 6.0), (2022.0, 19.0), (2025.0, 24.0), (2027.0, 24.0)],
        leaving: 0.0, liquidated: 0.0, cap: (2.3e11, 0.9), skew: 0.0, price: (4_400.0, 0.25), slope: 0.1,
        turnover: (0.0015, 0.5), lure: 0.0, sd: (0.006, 0.3), beta: 0.25, noise: 0.6, thin: 0.0, risk: 0.1,
    },
    Class {
        market: Market::Kosdaq, kind: SecurityType::Spac,
        targets: &[(2010.0, 9.0), (2015.0, 45.0), (2022.0, 57.0), (2024.0, 83.0), (2027.0, 82.0)],
        leaving: 0.0, liquidated: 0.0, cap: (1.1e10, 0.3), skew: 0.0, price: (2_110.0, 0.02), slope: 0.0,
        turnover: (0.0022, 0.9), lure: 0.0, sd: (0.0033, 0.4), beta: 0.05, noise: 0.7, thin: 0.02, risk: 0.0,
    },
    Class {
        market: Market::Kospi, kind: SecurityType::Preferred,
        targets: &[],
        leaving: 0.0, liquidated: 0.0, cap: (2.7e10, 1.1), skew: 0.35, price: (0.9, 0.6), slope: 0.0,
        turnover: (0.002, 0.95), lure: 0.0, sd: (0.0165, 0.45), beta: 0.7, noise: 0.7, thin: 0.015, risk: 0.2,
    },
];

impl Class {
    /// How many names there are on a day.
    pub(super) fn target(&self, date: NaiveDate) -> f64 {
        let year = f64::from(date.year()) + f64::from(date.ordinal()) / 366.0;
        let Some(after) = self.targets.iter().position(|(from, _)| *from > year) else {
            return self.targets.last().map_or(0.0, |(_, count)| *count);
        };
        let Some(before) = after.checked_sub(1) else {
            return 0.0;
        };
        let ((y0, n0), (y1, n1)) = (self.targets[before], self.targets[after]);
        n0 + (n1 - n0) * (year - y0) / (y1 - y0)
    }

    /// Against the median of the class, the capitalisation of a name of that size (log).
    pub(super) fn cap(&self, size: f64) -> f64 {
        self.cap.1 * size + self.skew * size.max(0.0) * size
    }

    /// What a name of that size is like here.
    pub(super) fn stay(&self, size: f64, since: NaiveDate, dice: &mut Dice) -> Stay {
        let (busy, thin) = (dice.bell(), dice.unit());
        Stay {
            market: self.market,
            since,
            turnover: spread(self.turnover, busy) * exp(self.lure * self.cap(size)),
            // What moves is traded, and what is traded moves.
            sd: spread(self.sd, 0.65 * busy + 0.76 * dice.bell()).min(WILDEST),
            beta: self.beta * dice.between(0.5, 1.5),
            noise: self.noise,
            thin: self.thin * thin * thin,
            risk: if size > SOLID { 0.0 } else { self.risk },
        }
    }
}

/// A number by its median, the standard deviation of its logarithm, and how far off the median it is.
pub(super) fn spread((median, sd): (f64, f64), z: f64) -> f64 {
    median * exp(sd * z)
}
