//! What a name did in a session, as rows of each dataset.

use std::io::Write;

use super::Kind;
use super::bar;
use super::floating;
use super::flow;
use super::minute::Minutes;
use super::roster::{GLOBAL, GLOBAL_FROM, Name};
use super::walk::{Day, Trade, Walker};
use crate::dataset::floating_shares::Float;
use crate::dataset::market_cap::Cap;
use crate::dataset::sectors::Sector;
use crate::dataset::stocks::Stock;
use crate::error::Result;
use crate::market::{Decimal, Market};
use crate::stream::Writer;

/// Who classifies the names.
const SCHEME: &str = "KRX";

/// One session of a stream.
pub(super) struct Page<'a, W: Write> {
    pub(super) dataset: Kind,
    pub(super) day: &'a Day,
    /// For minute bars only.
    pub(super) minutes: Option<Minutes>,
    pub(super) writer: &'a mut Writer<W>,
}

impl<W: Write> Page<'_, W> {
    /// Writes what a name did.
    pub(super) fn write(&mut self, name: &Name, walker: &Walker, trade: Trade) -> Result<()> {
        let (day, writer) = (self.day, &mut *self.writer);
        match self.dataset {
            Kind::Stocks => writer.row(|out| listing(name, walker, day).write(out)),
            Kind::Bars => writer.row(|out| bar::bar(walker, name, day, trade).0.write(out)),
            Kind::Caps => writer.row(|out| {
                let market_cap = walker.close * walker.shares;
                let (code, time, listed_shares) = (name.code, day.date, walker.shares);
                Cap { code, time, market_cap, listed_shares }.write(out);
            }),
            Kind::Sectors => match sector(name, day) {
                Some(sector) => writer.row(|out| sector.write(out)),
                None => Ok(()),
            },
            Kind::Floats if name.fund.is_some() => Ok(()),
            Kind::Floats => writer.row(|out| floating(name, walker, day).write(out)),
            Kind::Flows => {
                let (bar, _) = bar::bar(walker, name, day, trade);
                flow::flows(name, day, &bar, |flow| writer.row(|out| flow.write(out)))
            }
            Kind::Minutes => {
                let Some(minutes) = &mut self.minutes else { return Ok(()) };
                let (bar, lots) = bar::bar(walker, name, day, trade);
                minutes.bars(name, day, trade, (&bar, lots), |bar| writer.row(|out| bar.write(out)))
            }
            Kind::Indices | Kind::Baskets => Ok(()),
        }
    }
}

/// The sector of a company; KRX has none for KONEX.
fn sector(name: &Name, day: &Day) -> Option<Sector<'static>> {
    let market = name.stay(day.index).market;
    let (sector_code, sector_name) = name.industry.filter(|_| market != Market::Konex)?.sector(market);
    Some(Sector { scheme: SCHEME, code: name.code, time: day.date, sector_code, sector_name })
}

fn floating(name: &Name, walker: &Walker, day: &Day) -> Float {
    Float {
        code: name.code,
        time: day.date,
        listed_shares: Some(walker.shares),
        floating_shares: Some(floating::shares(name, walker, day.date)),
        floating_ratio: Some(Decimal::new(floating::part(name, day.date), 2)),
    }
}

fn listing<'a>(name: &'a Name, walker: &Walker, day: &Day) -> Stock<'a> {
    let stay = name.stay(day.index);
    Stock {
        code: name.code,
        time: day.date,
        isin: Some(name.isin),
        name: &name.korean,
        name_en: &name.english,
        market: stay.market,
        segment: if name.global && day.date >= GLOBAL_FROM { GLOBAL } else { "" },
        kind: name.kind,
        listing_date: Some(stay.since),
        delisting_date: None,
        is_active: true,
        par_value: name.fund.is_none().then_some(walker.par),
        listed_shares: Some(walker.shares),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::market::ymd;
    use crate::source::sim::testing::{extract, judge, months, number};

    #[test]
    fn every_share_of_kospi_and_kosdaq_has_a_sector() {
        for range in months() {
            let day = (range.0, range.0);
            let (stocks, sectors) =
                (extract("stocks", day, &[], 1).unwrap(), extract("sectors", day, &[], 1).unwrap());
            assert_eq!(judge("sectors", day, &sectors), 0);
            let expected = stocks.iter().filter(|row| row[7] != "ETF" && row[5] != "KONEX");
            assert!(expected.map(|row| &row[0]).eq(sectors.iter().map(|row| &row[1])), "{range:?}");
            let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (row, stock) in sectors.iter().zip(stocks.iter().filter(|r| r[7] != "ETF" && r[5] != "KONEX"))
            {
                let group = if stock[5] == "KOSPI" { "1" } else { "2" };
                assert!(row[3].starts_with(group), "{row:?} {stock:?}");
                members.entry((&row[3], &row[4])).or_default().push(&stock[7]);
            }
            let codes: BTreeSet<_> = members.keys().map(|(code, _)| code).collect();
            assert!(codes.len() == members.len() && members.len() > 30, "{}", members.len());
            assert!(members.values().all(|names| names.len() * 4 < sectors.len()));
        }
    }

    #[test]
    fn a_preferred_share_is_in_the_sector_of_its_common_share() {
        let day = (ymd(2026, 11, 20), ymd(2026, 11, 20));
        let sectors = extract("sectors", day, &[], 1).unwrap();
        let of: BTreeMap<_, _> = sectors.iter().map(|row| (row[1].as_str(), &row[3])).collect();
        let preferred: Vec<_> = of.iter().filter(|(code, _)| !code.ends_with('0')).collect();
        assert!(preferred.len() > 90);
        for (code, sector) in preferred {
            let common = format!("{}0", &code[..5]);
            assert!(of.get(common.as_str()).is_none_or(|of_common| of_common == sector), "{code}");
        }
    }

    #[test]
    fn floating_shares_are_a_part_of_the_listed_ones() {
        for range in months() {
            let (floats, caps) = (
                extract("floating-shares", range, &[], 1).unwrap(),
                extract("market-cap", range, &[], 1).unwrap(),
            );
            assert_eq!(judge("floating-shares", range, &floats), 0);
            let listed: BTreeMap<_, _> = caps.iter().map(|row| ((&row[0], &row[1]), &row[3])).collect();
            assert!(floats.len() > 2_000 && floats.iter().all(|row| listed[&(&row[0], &row[1])] == &row[2]));
            let ratio = |row: &Vec<String>| number(row, 3) * 100 / number(row, 2);
            let mean = floats.iter().map(ratio).sum::<i64>() / i64::try_from(floats.len()).unwrap();
            assert!((50..65).contains(&mean), "{mean}");
        }
    }
}
