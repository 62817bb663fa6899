//! Daily price limits (가격제한폭) around the base price, by date and market.

use chrono::NaiveDate;

use super::{Market, SecurityType, tick, ymd};

/// The lowest and highest price allowed, in KRW.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Band {
    pub lower: i64,
    pub upper: i64,
}

impl Band {
    /// Is the price inside?
    pub fn contains(self, price: i64) -> bool {
        (self.lower..=self.upper).contains(&price)
    }
}

/// (market, in force from, per mille of the base price), newest first within a market.
///
/// KOSDAQ reached 15 % in the course of 2005: the table begins in 2006.
const LIMITS: &[(Market, NaiveDate, i64)] = &[
    (Market::Kospi, ymd(2015, 6, 15), 300),
    (Market::Kospi, ymd(1998, 12, 7), 150),
    (Market::Kospi, ymd(1998, 3, 2), 120),
    (Market::Kospi, ymd(1996, 11, 24), 80),
    (Market::Kospi, ymd(1995, 4, 1), 60),
    (Market::Kosdaq, ymd(2015, 6, 15), 300),
    (Market::Kosdaq, ymd(2006, 1, 1), 150),
    (Market::Konex, ymd(2013, 7, 1), 150),
];

/// The limit in per mille of the base price, or `None` where the facts do not reach.
///
/// A leveraged ETF has its limit times its leverage, which a bar does not tell: exchange traded products
/// are judged by twice the limit.
pub fn per_mille(date: NaiveDate, market: Market, kind: SecurityType) -> Option<i64> {
    let (_, _, limit) = LIMITS.iter().find(|(m, from, _)| *m == market && date >= *from)?;
    Some(if kind.is_exchange_traded_product() { limit * 2 } else { *limit })
}

/// The band around a base price.
///
/// Upper: `floor(base × 1.30 / tick) × tick` with the tick of that value; lower: `base − floor(base × 0.30 /
/// tick) × tick` with the tick of the base. It reproduces every limit-up and limit-down close of the real
/// data. Where the tick table does not reach, the band is not rounded (wider by less than a tick).
pub fn band(date: NaiveDate, market: Market, kind: SecurityType, base: i64) -> Option<Band> {
    let limit = per_mille(date, market, kind)?;
    let highest = base.checked_mul(1000 + limit)? / 1000;
    let widest = base.checked_mul(limit)? / 1000;
    Some(match tick::table(date, market, kind) {
        Some(table) => {
            let above = tick::size(table, highest);
            let below = tick::size(table, base);
            Band { lower: base - widest / below * below, upper: highest / above * above }
        }
        None => Band { lower: base - widest - 1, upper: highest + 1 },
    })
}

/// First sessions of new listings by public offering trade within 60 % to 400 % of the offer price since then.
pub const FIRST_SESSION_FROM: NaiveDate = ymd(2023, 6, 26);

/// The band of a first session around the base price that KRX stores for it.
///
/// Since 2023-06-26 the base is the offer price. Before, the opening auction ran from 90 % to 200 % of the
/// offer, the open became the base, and the usual limit held around it: then `band` applies. KONEX has no
/// such rule.
pub fn first_session_band(date: NaiveDate, market: Market, base: i64) -> Option<Band> {
    (date >= FIRST_SESSION_FROM && market != Market::Konex)
        .then_some(Band { lower: base * 6 / 10, upper: base.saturating_mul(4) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands() {
        let stock = SecurityType::Stock;
        // Limit-up and limit-down closes as KRX published them.
        let band = |y, m, d, market, base| band(ymd(y, m, d), market, stock, base).unwrap();
        assert_eq!(band(2024, 1, 2, Market::Kospi, 78_500).upper, 102_000);
        assert_eq!(band(2024, 1, 2, Market::Kosdaq, 1_230), Band { lower: 861, upper: 1_599 });
        assert_eq!(band(2026, 2, 20, Market::Konex, 1_530), Band { lower: 1_301, upper: 1_759 });
        assert_eq!(band(2014, 1, 2, Market::Kospi, 10_000), Band { lower: 8_500, upper: 11_500 });
        assert!(super::band(ymd(1995, 3, 1), Market::Kospi, stock, 10_000).is_none());
        assert!(super::band(ymd(2004, 3, 2), Market::Kosdaq, stock, 10_000).is_none());
    }

    #[test]
    fn first_sessions() {
        let band = first_session_band(ymd(2024, 1, 24), Market::Kosdaq, 5_300).unwrap();
        assert!(band.contains(21_200) && !band.contains(21_210) && band.contains(3_180));
        assert!(first_session_band(ymd(2023, 6, 23), Market::Kosdaq, 5_300).is_none());
        assert!(first_session_band(ymd(2024, 1, 24), Market::Konex, 5_300).is_none());
    }
}
