//! What a creation unit of a fund consists of: members of its index, futures, cash.
//!
//! A unit is worth what its shares cost. The members are bought by their weights, and what is left is cash: so weights
//! add up to 100 per cent.

use chrono::{Datelike, NaiveDate, Weekday};

use super::dice::{Dice, real, whole};
use super::fund::{CREATION_UNIT, Fund, Manner};
use super::index::{INDICES, Member, WHOLE};
use super::roster::Name;
use super::walk::{Day, Walker};
use crate::dataset::etf_portfolios::Part;
use crate::error::Result;
use crate::market::{Decimal, Market};

const SALT: u64 = 0xBA5E;
/// Cash that a fund keeps, in parts of its money: at least, and at most.
const CASH: (f64, f64) = (0.002, 0.012);
/// Parts in which weights are written: 100 %, to two decimals.
const PARTS: i64 = 10_000;
/// What futures are on, and what a contract stands for, KRW.
const CONTRACTS: [(&str, f64); 2] = [("코스피200", 87_500_000.0), ("코스닥150", 13_000_000.0)];

/// Against the money of a fund: the members it holds, the futures, and whether these count in its value.
fn plan(manner: Manner, cash: f64) -> (f64, f64, bool) {
    match manner {
        Manner::Holds => (1.0 - cash, 0.0, false),
        Manner::Hedges => (1.1, -0.1 - cash, true),
        Manner::Leverages => (0.7, 1.3, false),
        Manner::Inverts => (0.0, -1.0, false),
        Manner::InvertsTwice => (0.0, -2.0, false),
    }
}

/// Gives the parts of a fund's creation unit in order: cash, futures, shares by their ISIN.
pub(super) fn parts(
    (name, walker, fund): (&Name, &Walker, Fund),
    day: &Day,
    members: &[Member],
    (roster, walkers): (&[Name], &[Walker]),
    mut give: impl FnMut(&Part) -> Result<()>,
) -> Result<()> {
    let money = walker.close * CREATION_UNIT;
    let cash = Dice::of(name.key ^ SALT, 0).between(CASH.0, CASH.1);
    let (held, futures, counted) = plan(fund.manner, cash);
    let lot = |(place, weight): &Member| {
        let price = walkers[*place].close;
        let shares = whole(held * real(money) * real(*weight) / real(WHOLE) / real(price));
        (shares, shares * price)
    };
    let parts = |value: i64| rounded(real(value) / real(money) * real(PARTS));
    let percent = |parts: i64| Some(Decimal::new(parts, 2));
    let sold = if counted { rounded(futures * real(money)) } else { 0 };
    let (value, weight) = members.iter().fold((sold, parts(sold)), |(value, weight), member| {
        let (_, worth) = lot(member);
        (value + worth, weight + parts(worth))
    });

    let mut part = Part {
        etf: name.code,
        time: day.date,
        component_id: "CASH:KRW",
        component_code: "",
        component_name: "원화예금",
        quantity: None,
        value: Some(money - value),
        weight: percent(PARTS - weight),
    };
    give(&part)?;
    if futures != 0.0 {
        let (underlying, contract) =
            CONTRACTS[usize::from(INDICES[fund.index].market == Some(Market::Kosdaq))];
        let (year, month) = expiry(day.date);
        let id = format!("FUT:{underlying} F {year}{month:02}");
        give(&Part {
            component_id: &id,
            component_name: &id[4..],
            quantity: percent(rounded(futures * real(money) / contract * 100.0)),
            value: counted.then_some(sold),
            weight: counted.then(|| Decimal::new(parts(sold), 2)),
            ..part
        })?;
    }
    for member in members {
        let (shares, value) = lot(member);
        if shares > 0 {
            let stock = &roster[member.0];
            part.component_id = stock.isin.as_str();
            part.component_code = stock.code.as_str();
            part.component_name = &stock.korean;
            part.quantity = Some(Decimal::new(shares, 0));
            (part.value, part.weight) = (Some(value), percent(parts(value)));
            give(&part)?;
        }
    }
    Ok(())
}

fn rounded(x: f64) -> i64 {
    if x < 0.0 { -whole(-x) } else { whole(x) }
}

/// The contract that is traded on a day: it ends on the second Thursday of March, June, September or December.
fn expiry(date: NaiveDate) -> (i32, u32) {
    let month = date.month().div_ceil(3) * 3;
    let last = NaiveDate::from_weekday_of_month_opt(date.year(), month, Weekday::Thu, 2);
    match (last.is_some_and(|last| date > last), month) {
        (false, month) => (date.year(), month),
        (true, 12) => (date.year() + 1, 3),
        (true, month) => (date.year(), month + 3),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::market::ymd;
    use crate::source::sim::testing::{Range, date, extract, judge, number};

    type Rows = Vec<Vec<String>>;

    fn ranges() -> [Range; 3] {
        [(2011, 5, 2), (2016, 6, 9), (2026, 11, 19)].map(|(y, m, d)| (ymd(y, m, d), ymd(y, m, d + 1)))
    }

    /// By session and fund, the parts.
    fn baskets(rows: &Rows) -> BTreeMap<(NaiveDate, &str), Vec<&Vec<String>>> {
        let mut baskets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in rows {
            baskets.entry((date(row), row[0].as_str())).or_default().push(row);
        }
        baskets
    }

    #[test]
    fn every_fund_has_a_basket_of_listed_names_that_is_worth_its_price() {
        for range in ranges() {
            let [rows, stocks, bars] =
                ["etf-portfolios", "stocks", "ohlcv"].map(|name| extract(name, range, &[], 2).unwrap());
            assert_eq!(judge("etf-portfolios", range, &rows), 0);
            let master: BTreeMap<_, _> =
                stocks.iter().map(|row| ((date(row), row[2].as_str()), row)).collect();
            let close: BTreeMap<_, _> =
                bars.iter().map(|row| ((date(row), row[0].as_str()), number(row, 5))).collect();
            let baskets = baskets(&rows);
            let funds = stocks.iter().filter(|row| row[7] == "ETF").map(|row| (date(row), row[0].as_str()));
            assert!(funds.eq(baskets.keys().copied()), "{range:?}");
            for ((day, fund), parts) in baskets {
                let sum = |column: usize, scale: u8| {
                    let told = parts.iter().filter(|row| !row[column].is_empty());
                    told.map(|row| Decimal::parse(row[column].as_bytes()).unwrap().at_scale(scale))
                        .sum::<i128>()
                };
                assert_eq!(sum(6, 0), i128::from(close[&(day, fund)] * CREATION_UNIT), "{day} {fund}");
                assert_eq!(sum(7, 2), i128::from(PARTS), "{day} {fund}");
                assert_eq!(parts[0][2], "CASH:KRW");
                for row in parts.iter().filter(|row| row[2].starts_with("KR7")) {
                    let stock = master[&(day, row[2].as_str())];
                    assert_eq!((&stock[0], &stock[3], "STOCK"), (&row[3], &row[4], stock[7].as_str()));
                    let worth = number(row, 5) * close[&(day, stock[0].as_str())];
                    assert!(number(row, 5) > 0 && worth == number(row, 6), "{row:?}");
                }
            }
        }
    }

    #[test]
    fn funds_on_an_index_hold_its_members_and_some_are_short() {
        for range in ranges() {
            let [rows, members, stocks] = ["etf-portfolios", "index-components", "stocks"]
                .map(|name| extract(name, range, &[], 2).unwrap());
            let names: BTreeMap<_, _> = stocks.iter().map(|row| (row[0].as_str(), row[3].as_str())).collect();
            let (mut tracking, mut short) = (0, 0);
            for ((day, fund), parts) in baskets(&rows) {
                let held: Vec<_> = parts.iter().filter(|r| !r[3].is_empty()).map(|r| r[3].as_str()).collect();
                short += usize::from(parts.iter().any(|r| r[5].starts_with('-')));
                if names[fund].ends_with(" 200") {
                    tracking += 1;
                    let of_index: Vec<_> = members
                        .iter()
                        .filter(|r| date(r) == day && r[0] == "1028")
                        .map(|r| r[2].as_str())
                        .collect();
                    assert!(held.iter().all(|code| of_index.contains(code)), "{day} {fund}");
                    assert!(held.len() > 170, "{day} {fund}: {} members", held.len());
                }
            }
            assert!(tracking > 0 && short > 0, "{range:?}: {tracking} {short}");
        }
    }

    #[test]
    fn contracts_end_on_second_thursdays() {
        for (day, contract) in [
            (ymd(2026, 11, 20), (2026, 12)),
            (ymd(2026, 12, 10), (2026, 12)),
            (ymd(2026, 12, 11), (2027, 3)),
            (ymd(2026, 3, 13), (2026, 6)),
            (ymd(2026, 1, 2), (2026, 3)),
        ] {
            assert_eq!(expiry(day), contract, "{day}");
        }
    }
}
