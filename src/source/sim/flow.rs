//! Who bought and who sold. For each share that is bought one is sold: foreigners, institutions, other corporations
//! and individuals together buy what was traded, and sell it. Pension funds are a part of the institutions.

use super::dice::{Dice, exp, real, whole};
use super::roster::Name;
use super::walk::Day;
use crate::dataset::investor_trading::Flow;
use crate::dataset::ohlcv::Bar;
use crate::error::Result;
use crate::market::Investor;

/// What is drawn for investors is not what is drawn for a bar.
const SALT: u64 = 0xF103;
/// Part of the shares that foreigners and institutions trade of a name of middle size: on KOSPI, KOSDAQ and KONEX.
const FOREIGN: [f64; 3] = [0.15, 0.08, 0.004];
const INSTITUTION: [f64; 3] = [0.09, 0.02, 0.01];
/// How much more of larger names (log, a standard deviation of size).
const TASTE: f64 = 0.45;
/// Part that other corporations trade; part of the institutions' shares that pension funds do.
const CORPORATION: f64 = 0.008;
const PENSION: f64 = 0.15;
/// All these together trade no more than this: there are always individuals.
const MOST: f64 = 0.85;
/// How much a side varies from session to session (log), and how much of it follows the price.
const MOOD: f64 = 0.35;
const TREND: f64 = 0.3;
/// How far off the mean price they trade, against half the width of the bar, and what the width counts at most.
const LUCK: f64 = 0.2;
const WIDEST: f64 = 0.2;

/// Shares and their value in KRW, in the order of [`Investor::ALL`].
type Side = [(i64, i64); Investor::ALL.len()];

/// Gives the rows of a company's session, in order; none without trades.
pub(super) fn flows(
    name: &Name,
    day: &Day,
    bar: &Bar,
    mut give: impl FnMut(&Flow) -> Result<()>,
) -> Result<()> {
    if bar.volume == 0 || name.fund.is_some() {
        return Ok(());
    }
    let mut dice = Dice::of(name.key ^ SALT, day.index as u64);
    let base = real(bar.base.unwrap_or(bar.close));
    let trend = (real(bar.close) / base - 1.0) / name.stay(day.index).sd;
    let trend = TREND * trend.clamp(-3.0, 3.0);
    let bought = side(name, bar, trend, &mut dice);
    let sold = side(name, bar, -trend, &mut dice);
    for (investor, (buy, sell)) in Investor::ALL.into_iter().zip(bought.into_iter().zip(sold)) {
        give(&Flow {
            code: name.code,
            time: day.date,
            investor,
            buy_volume: Some(buy.0),
            sell_volume: Some(sell.0),
            buy_value: Some(buy.1),
            sell_value: Some(sell.1),
            net_volume: Some(buy.0 - sell.0),
            net_value: Some(buy.1 - sell.1),
        })?;
    }
    Ok(())
}

/// One side of a session's trades.
fn side(name: &Name, bar: &Bar, trend: f64, dice: &mut Dice) -> Side {
    let (market, value) = (bar.market as usize, bar.value.unwrap_or(0));
    let large = exp(TASTE * name.size);
    let mut mood = |part: f64, trend: f64| part * exp(MOOD * (dice.bell() + trend));
    let parts = [
        mood(FOREIGN[market] * large, trend),
        mood(INSTITUTION[market] * large, 0.5 * trend),
        mood(CORPORATION, 0.0),
    ];
    let scale = (MOST / parts.iter().sum::<f64>()).min(1.0);
    let pension = PENSION * large.min(2.0) * dice.unit();

    let mean = real(value) / real(bar.volume);
    let width = real(bar.high.unwrap_or(0) - bar.low.unwrap_or(0)) / mean;
    let room = LUCK * width.min(WIDEST);
    let [foreign, institution, corporation] = parts.map(|part| {
        let volume = whole(real(bar.volume) * part * scale - 0.5);
        (volume, whole(real(volume) * mean * (1.0 + room * (dice.unit() - 0.5))))
    });
    let funds = whole(real(institution.0) * pension - 0.5);
    let funds = (funds, whole(real(institution.1) * real(funds) / real(institution.0.max(1))));
    let others = [foreign, institution, corporation];
    let retail = others.iter().fold((bar.volume, value), |rest, one| (rest.0 - one.0, rest.1 - one.1));
    [foreign, institution, corporation, funds, retail]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::source::sim::bar::bar;
    use crate::source::sim::testing::{extract, judge, months, walk_through};

    #[test]
    fn what_is_bought_is_sold_and_is_what_was_traded() {
        for range in months() {
            let (mut names, mut nets) = (0, 0);
            walk_through(range, 1, |name, walker, day, trade| {
                let (bar, _) = bar(walker, name, day, trade);
                let mut rows = Vec::new();
                flows(name, day, &bar, |flow| {
                    rows.push(*flow);
                    Ok(())
                })
                .unwrap();
                if bar.volume == 0 || name.fund.is_some() {
                    return assert!(rows.is_empty());
                }
                assert!(rows.iter().map(|r| r.investor).eq(Investor::ALL));
                let sum = |amount: fn(&Flow) -> Option<i64>| {
                    let everybody = rows.iter().filter(|r| r.investor != Investor::Pension);
                    everybody.map(|row| amount(row).unwrap()).sum::<i64>()
                };
                assert_eq!(
                    (sum(|r| r.buy_volume), sum(|r| r.sell_volume)),
                    (bar.volume, bar.volume),
                    "{rows:?}"
                );
                let value = bar.value.unwrap();
                assert_eq!((sum(|r| r.buy_value), sum(|r| r.sell_value)), (value, value), "{rows:?}");
                assert_eq!((sum(|r| r.net_volume), sum(|r| r.net_value)), (0, 0), "{rows:?}");
                for row in &rows {
                    for (volume, value) in
                        [(row.buy_volume, row.buy_value), (row.sell_volume, row.sell_value)]
                    {
                        assert!(volume >= Some(0) && (volume > Some(0)) == (value > Some(0)), "{row:?}");
                    }
                }
                let (all, part) = (rows[1], rows[3]);
                assert!(part.buy_volume <= all.buy_volume && part.buy_value <= all.buy_value, "{rows:?}");
                assert!(part.sell_volume <= all.sell_volume && part.sell_value <= all.sell_value, "{rows:?}");
                names += 1;
                nets += usize::from(rows[0].net_volume != Some(0));
            });
            assert!(nets * 10 > names * 7, "{range:?}: foreigners have a net in {nets} of {names}");
        }
    }

    #[test]
    fn individuals_trade_the_small_names_and_others_the_large_ones() {
        let range = months()[4];
        let rows = extract("investor-trading", range, &[], 1).unwrap();
        assert_eq!(judge("investor-trading", range, &rows), 0);
        let (mut all, mut own): (BTreeMap<&str, f64>, BTreeMap<&str, f64>) = Default::default();
        for row in &rows {
            let value: f64 = row[5].parse().unwrap();
            *all.entry(&row[0]).or_default() += if row[2] == "PENSION" { 0.0 } else { value };
            *own.entry(&row[0]).or_default() += if row[2] == "RETAIL" { value } else { 0.0 };
        }
        let mut shares: Vec<_> = all.iter().map(|(code, value)| own[code] / value).collect();
        shares.sort_by(f64::total_cmp);
        let (few, median, most) =
            (shares[shares.len() / 50], shares[shares.len() / 2], shares[shares.len() * 9 / 10]);
        assert!(few < 0.5 && (0.75..0.95).contains(&median) && most > 0.9, "{few} {median} {most}");
    }
}
