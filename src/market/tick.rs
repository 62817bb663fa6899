//! Tick sizes (호가가격단위), by date, market and kind of security.

use chrono::NaiveDate;

use super::{Market, SecurityType, ymd};

/// A tick table: (prices below, tick), both in KRW; the last row holds for all prices above.
pub type TickTable = &'static [(i64, i64)];

const ABOVE: i64 = i64::MAX;
const KOSPI_2010: TickTable =
    &[(1_000, 1), (5_000, 5), (10_000, 10), (50_000, 50), (100_000, 100), (500_000, 500), (ABOVE, 1_000)];
const KOSDAQ_2010: TickTable = &[(1_000, 1), (5_000, 5), (10_000, 10), (50_000, 50), (ABOVE, 100)];
const ALL_2023: TickTable =
    &[(2_000, 1), (5_000, 5), (20_000, 10), (50_000, 50), (200_000, 100), (500_000, 500), (ABOVE, 1_000)];
const ETP_FLAT: TickTable = &[(ABOVE, 5)];
const ETP_2023: TickTable = &[(2_000, 1), (ABOVE, 5)];

/// The first day of the table of 2010; the facts do not reach further back.
pub const FACTS_FROM: NaiveDate = ymd(2010, 10, 4);
/// One table for all markets since then.
const UNIFIED_FROM: NaiveDate = ymd(2023, 1, 25);
/// ETF and ETN below 2,000 won: one-won ticks. Reports differ (12-08 or 12-18); the earlier day accepts more.
const ETP_FINE_FROM: NaiveDate = ymd(2023, 12, 8);
/// Midpoint orders (중간가호가) execute between two ticks since then.
pub const HALF_TICKS_FROM: NaiveDate = ymd(2025, 3, 4);

/// The tick table in force, or `None` before 2010-10-04.
pub fn table(date: NaiveDate, market: Market, kind: SecurityType) -> Option<TickTable> {
    if date < FACTS_FROM {
        None
    } else if kind.is_exchange_traded_product() {
        Some(if date < ETP_FINE_FROM { ETP_FLAT } else { ETP_2023 })
    } else if date >= UNIFIED_FROM {
        Some(ALL_2023)
    } else {
        Some(match market {
            Market::Kospi => KOSPI_2010,
            Market::Kosdaq | Market::Konex => KOSDAQ_2010,
        })
    }
}

/// The tick at a price, in KRW.
pub fn size(table: TickTable, price: i64) -> i64 {
    table.iter().find(|(below, _)| price < *below).map_or(1, |(_, tick)| *tick)
}

/// How a price lies on the grid of its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grid {
    /// A multiple of the tick.
    On,
    /// `k·tick + floor(tick / 2)`: the midpoint of two neighbouring quotes.
    Half,
    /// Neither.
    Off,
}

/// Where a price lies on the grid.
pub fn grid(table: TickTable, price: i64) -> Grid {
    let tick = size(table, price);
    match price % tick {
        0 => Grid::On,
        rest if rest == tick / 2 => Grid::Half,
        _ => Grid::Off,
    }
}

/// The price rounded up to the grid: KRX's next base price after a half-tick close.
pub fn round_up(table: TickTable, price: i64) -> i64 {
    let tick = size(table, price);
    (price + tick - 1) / tick * tick
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(date: (i32, u32, u32), market: Market, price: i64) -> i64 {
        size(table(ymd(date.0, date.1, date.2), market, SecurityType::Stock).unwrap(), price)
    }

    #[test]
    fn sizes_by_date_and_market() {
        let before = (2023, 1, 24);
        let after = (2023, 1, 25);
        for (price, kospi, kosdaq, unified) in [
            (999, 1, 1, 1),
            (1_000, 5, 5, 1),
            (1_999, 5, 5, 1),
            (2_000, 5, 5, 5),
            (4_999, 5, 5, 5),
            (5_000, 10, 10, 10),
            (10_000, 50, 50, 10),
            (20_000, 50, 50, 50),
            (50_000, 100, 100, 100),
            (100_000, 500, 100, 100),
            (200_000, 500, 100, 500),
            (500_000, 1_000, 100, 1_000),
        ] {
            assert_eq!(tick(before, Market::Kospi, price), kospi, "{price}");
            assert_eq!(tick(before, Market::Kosdaq, price), kosdaq, "{price}");
            assert_eq!(tick(before, Market::Konex, price), kosdaq, "{price}");
            for market in Market::ALL {
                assert_eq!(tick(after, market, price), unified, "{price}");
            }
        }
        assert!(table(ymd(2010, 10, 3), Market::Kospi, SecurityType::Stock).is_none());
    }

    #[test]
    fn half_ticks() {
        for (price, place) in [
            (2_067, Grid::Half),
            (2_068, Grid::Off),
            (5_005, Grid::Half),
            (20_025, Grid::Half),
            (1_999, Grid::On),
        ] {
            assert_eq!(grid(ALL_2023, price), place, "{price}");
        }
        assert_eq!(round_up(ALL_2023, 2_067), 2_070);
        assert_eq!(round_up(ALL_2023, 2_070), 2_070);
    }

    #[test]
    fn exchange_traded_products() {
        let etf = |date, price| size(table(date, Market::Kospi, SecurityType::Etf).unwrap(), price);
        assert_eq!(etf(ymd(2023, 12, 7), 1_500), 5);
        assert_eq!(etf(ymd(2023, 12, 8), 1_500), 1);
        assert_eq!(etf(ymd(2023, 12, 8), 100_000), 5);
    }
}
