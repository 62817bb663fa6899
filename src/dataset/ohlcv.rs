//! Daily bars as KRX publishes them: raw, not adjusted.

use chrono::NaiveDate;

use super::record::{self, Facts, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must};
use super::{Column, Dataset, Kind};
use crate::market::tick::{Grid, HALF_TICKS_FROM};
use crate::market::{Market, SecurityType, StockCode, limit, tick};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "ohlcv",
    table: "ohlcv_daily",
    about: "daily bars: open, high, low, close, volume, value, base price",
    columns: &[
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column { name: "time", sql: "date", about: "session (KST)" },
        Column {
            name: "open",
            sql: "integer",
            about: "first price of the session, KRW; NULL without trades",
        },
        Column { name: "high", sql: "integer", about: "highest price, KRW; NULL without trades" },
        Column { name: "low", sql: "integer", about: "lowest price, KRW; NULL without trades" },
        Column {
            name: "close",
            sql: "integer",
            about: "closing price, KRW; without trades the reference price",
        },
        Column { name: "volume", sql: "bigint", about: "shares traded; 0 without trades" },
        Column { name: "value", sql: "bigint", about: "traded value, KRW" },
        Column {
            name: "base_price",
            sql: "integer",
            about: "base price of the session (close - change), KRW",
        },
        Column { name: "market", sql: "text", about: "KOSPI, KOSDAQ or KONEX as of that session" },
        Column { name: "security_type", sql: "text", about: "STOCK, PREFERRED, REIT, SPAC, ETF or ETN" },
    ],
    key: &["stock_code", "time"],
    kind: Kind::Series,
    code: "stock_code",
    expects: Some("true"),
    may_lag: 0,
    row_rules: record::rules_of::<Bar>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Bar>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/market_is_whole.sql"),
        include_str!("../../sql/checks/session_is_new.sql"),
        include_str!("../../sql/checks/name_is_gone.sql"),
        include_str!("../../sql/checks/name_is_new.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "flag"),
        ("market", "market"),
        ("knows_market", "true"),
        ("traded", "volume > 0"),
        ("knows_traded", "true"),
        ("traded_a", "a.volume > 0"),
        ("same_a", "a.open, a.high, a.low, a.close, a.volume, a.value"),
        ("same_b", "b.open, b.high, b.low, b.close, b.volume, b.value"),
        ("same_key", "b.stock_code = a.stock_code"),
        ("own", "staged"),
        ("known", "stock_code"),
        ("can_know", "true"),
        ("share", "0.2"),
        ("in_scope", "b.market = ANY (job.markets)"),
    ],
};

/// One daily bar. Prices and value in KRW, volume in shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Bar {
    pub code: StockCode,
    pub time: NaiveDate,
    pub open: Option<i64>,
    pub high: Option<i64>,
    pub low: Option<i64>,
    pub close: i64,
    pub volume: i64,
    pub value: Option<i64>,
    pub base: Option<i64>,
    pub market: Market,
    pub kind: SecurityType,
}

impl Bar {
    /// Open, high and low, when all are there.
    fn prices(&self) -> Option<(i64, i64, i64)> {
        Some((self.open?, self.high?, self.low?))
    }

    /// How far the traded value lies outside of what low, high and volume allow; `None` without trades,
    /// prices or value.
    fn value_gap(&self, unit: i64) -> Option<ValueGap> {
        let (_, high, low) = self.prices()?;
        let value = i128::from(self.value?);
        if self.volume <= 0 {
            return None;
        }
        let volume = i128::from(self.volume);
        let (least, most) = (i128::from(low) * volume, i128::from(high) * volume);
        let outside_by = |percent: i128| {
            let unit = i128::from(unit);
            value * 100 < least * (100 - percent) - unit * 100
                || value * 100 > most * (100 + percent) + unit * 100
        };
        // Exact at unit 1: value is a sum of whole prices.
        let unit_slack = i128::from(if unit > 1 { unit } else { 0 });
        Some(if value >= least - unit_slack && value <= most + unit_slack {
            ValueGap::Inside
        } else if outside_by(50) {
            ValueGap::Contradicts
        } else if outside_by(5) {
            ValueGap::Far
        } else {
            ValueGap::Near
        })
    }

    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.code.as_bytes())
            .date(self.time)
            .optional(self.open)
            .optional(self.high)
            .optional(self.low)
            .number(self.close)
            .number(self.volume)
            .optional(self.value)
            .optional(self.base)
            .plain(self.market.as_str().as_bytes())
            .plain(self.kind.as_str().as_bytes());
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ValueGap {
    Inside,
    Near,
    Far,
    Contradicts,
}

impl Record for Bar {
    const RULES: &'static [RowRule<Self>] = &[
        rule(
            "ohlcv.close_is_positive",
            "the closing price is not positive",
            "Every listed name has a reference price, also on a day without trades.",
            &["close"],
            |bar, _| must(bar.close > 0),
        ),
        rule(
            "ohlcv.nothing_is_negative",
            "a price, the volume or the value is negative or a price is zero",
            "Prices are positive KRW, volume and value count what was traded.",
            &["open", "high", "low", "volume", "value"],
            |bar, _| {
                let prices = [bar.open, bar.high, bar.low];
                must(
                    prices.iter().flatten().all(|p| *p > 0)
                        && bar.volume >= 0
                        && bar.value.is_none_or(|v| v >= 0),
                )
            },
        ),
        rule(
            "ohlcv.base_is_positive",
            "the base price is not positive",
            "base price = close - change. A change that is not smaller than the close is no change.",
            &["close", "base_price"],
            |bar, _| must(bar.base.is_none_or(|b| b > 0)),
        ),
        rule(
            "ohlcv.prices_come_together",
            "some of open, high and low are missing",
            "A session has all three or, without trades in the regular session, none.",
            &["open", "high", "low"],
            |bar, _| must(bar.prices().is_some() || (bar.open, bar.high, bar.low) == (None, None, None)),
        ),
        rule(
            "ohlcv.no_trade_is_empty",
            "nothing was traded, yet there are prices or a value",
            "Without volume there is no open, high, low or traded value; the close is the reference price.",
            &["open", "high", "low", "volume", "value"],
            |bar, _| must(bar.volume != 0 || (bar.open.is_none() && bar.value.unwrap_or(0) == 0)),
        ),
        rule(
            "ohlcv.high_is_highest",
            "high is below open, low or close",
            "By definition. Holds for all 489,645 rows of the reference data.",
            &["open", "high", "low", "close"],
            |bar, _| must(bar.prices().is_none_or(|(open, high, low)| high >= open.max(low).max(bar.close))),
        ),
        rule(
            "ohlcv.low_is_lowest",
            "low is above open or close",
            "By definition. Holds for all 489,645 rows of the reference data.",
            &["open", "low", "close"],
            |bar, _| must(bar.prices().is_none_or(|(open, _, low)| low <= open.min(bar.close))),
        ),
        rule(
            "ohlcv.value_fits_volume",
            "the traded value does not fit low x volume .. high x volume",
            "Block and off-hours trades enter volume and value but not open, high and low, so that 0.2 % of true \
             rows lie outside: noted; flagged beyond 5 %; beyond 50 % a number is wrong, and the row is rejected \
             (the farthest true row is 25 % out). The source's value unit is the tolerance.",
            &["high", "low", "volume", "value"],
            |bar, facts| match bar.value_gap(facts.value_unit)? {
                ValueGap::Inside => None,
                ValueGap::Near => Some(Severity::Note),
                ValueGap::Far => Some(Severity::Flag),
                ValueGap::Contradicts => Some(Severity::Reject),
            },
        ),
        rule(
            "ohlcv.traded_value_is_there",
            "shares were traded for nothing",
            "Volume without value occurs in no true row; a value below half of the source's unit rounds to 0.",
            &["volume", "value"],
            |bar, facts| {
                let worth = i128::from(bar.volume) * i128::from(bar.close);
                must(bar.value != Some(0) || worth <= i128::from(facts.value_unit.max(2) - 1))
            },
        ),
        rule(
            "ohlcv.trades_have_prices",
            "shares were traded, yet there is no open, high or low",
            "Only off-hours trades at the closing price: 2 rows in the reference data. Flagged.",
            &["volume", "value", "close"],
            |bar, _| (bar.volume > 0 && bar.open.is_none()).then_some(Severity::Flag),
        ),
        rule(
            "ohlcv.on_tick",
            "a price is off the tick grid",
            "Ticks depend on the date, the market and the kind of security; facts since 2010-10-04. Rejected before \
             2025-03-04. Since then midpoint orders execute at half-ticks, which are good; other prices off the grid \
             are flagged (a midpoint across two price bands can leave other remainders). Judged on sessions with \
             trades.",
            &["open", "high", "low", "close", "market", "security_type"],
            off_tick,
        ),
        rule(
            "ohlcv.within_limits",
            "a price is beyond the daily limit around the base price",
            "30 % on KOSPI and KOSDAQ since 2015-06-15, before that 15 % (KOSPI since 1998-12-07, less before; KOSDAQ \
             since 2006), 15 % on KONEX; exchange traded products are given twice the limit. First sessions (60 % to \
             400 % of the base since 2023-06-26) and liquidation trading (no limit) are legally beyond, and a bar does \
             not tell them: where value, volume and prices agree, the price is real and the row is flagged; where they \
             contradict each other, it is rejected.",
            &["high", "low", "close", "base_price", "volume", "value"],
            beyond_limits,
        ),
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        Ok(Self {
            code: fields.code(0)?,
            time: required(fields.date(1)?, 1)?,
            open: fields.price(2)?,
            high: fields.price(3)?,
            low: fields.price(4)?,
            close: required(fields.price(5)?, 5)?,
            volume: required(fields.number(6)?, 6)?,
            value: fields.number(7)?,
            base: fields.price(8)?,
            market: fields.market(9)?,
            kind: fields.security_type(10)?,
        })
    }
}

/// A rule of one row that rejects unless its test says otherwise.
const fn rule(
    name: &'static str,
    says: &'static str,
    why: &'static str,
    shows: &'static [&'static str],
    test: fn(&Bar, &Facts) -> Option<Severity>,
) -> RowRule<Bar> {
    RowRule { rule: Rule { name, severity: Severity::Reject, scope: Scope::Row, says, why, shows }, test }
}

fn off_tick(bar: &Bar, _: &Facts) -> Option<Severity> {
    let (open, high, low) = bar.prices()?;
    let table = tick::table(bar.time, bar.market, bar.kind)?;
    let half_ticks = bar.time >= HALF_TICKS_FROM;
    let good = [open, high, low, bar.close].iter().all(|price| match tick::grid(table, *price) {
        Grid::On => true,
        Grid::Half => half_ticks,
        Grid::Off => false,
    });
    (!good).then_some(if half_ticks { Severity::Flag } else { Severity::Reject })
}

fn beyond_limits(bar: &Bar, facts: &Facts) -> Option<Severity> {
    let band = limit::band(bar.time, bar.market, bar.kind, bar.base?)?;
    let (high, low) = bar.prices().map_or((bar.close, bar.close), |(_, high, low)| (high, low));
    if band.contains(high) && band.contains(low) && band.contains(bar.close) {
        return None;
    }
    match bar.value_gap(facts.value_unit) {
        Some(ValueGap::Far | ValueGap::Contradicts) => Some(Severity::Reject),
        // Without trades there is no evidence either way: no-trade days are good rows.
        Some(ValueGap::Inside | ValueGap::Near) | None => Some(Severity::Flag),
    }
}

static BATCH_RULES: [Rule; 8] = [
    batch(
        "ohlcv.session_is_there",
        Severity::Flag,
        "a session of the range has no row",
        "Every session of the calendar within the batch's range should have rows. A source may lack one for good \
         (marcap lacks 2021-01-22): the session stays listed by kdata due until another source fills it.",
    ),
    batch(
        "ohlcv.market_is_whole",
        Severity::Gate,
        "a market's number of names moved by more than 2 % and 10 rows, or a market is missing",
        "Compared with the previous calendar session, market by market; where a source drops names without trades, \
         only traded names are compared. A half-read page, a lost market or half a session shows here.",
    ),
    batch(
        "ohlcv.session_is_new",
        Severity::Gate,
        "the session copies the one before",
        "Open, high, low, close, volume and value of more than a fifth of the traded names equal those of the previous \
         session: the source answered with yesterday's data. By chance no traded name does.",
    ),
    batch(
        "ohlcv.base_follows_close",
        Severity::Note,
        "the base price differs from the previous close: a corporate action candidate",
        "Compared with the close of the previous calendar session, never with the last row at hand. Half-tick closes \
         that were rounded up to the tick are none. Candidates go to market.corporate_actions with their evidence. \
         Flagged when no action explains it: a factor outside 0.05 .. 30, or near a power of ten (a slipped decimal looks \
         like a 10 to 1 consolidation, of which a two-month sample has one at most), or above 1 or below 0.2 without a halt before (rights and bonus \
         issues lower it, all else comes with a halt). More than 1 % of a session's names stops the batch.",
    ),
    batch(
        "ohlcv.bases_follow_closes",
        Severity::Gate,
        "base prices differ from the previous closes for more than 1 % of the names",
        "Corporate actions change about 0.03 % of base prices a session. Many at once mean wrong prices or another \
         session's data.",
    ),
    batch(
        "ohlcv.name_is_gone",
        Severity::Note,
        "a name of the previous session has no row",
        "Delisted, or lost on the way: about one a session. Not judged where the source drops names without trades.",
    ),
    batch(
        "ohlcv.name_is_new",
        Severity::Note,
        "a name has a row that it had not in the previous session",
        "Listed, or resumed. Not judged where the source drops names without trades.",
    ),
    code_is_known("ohlcv.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Finding;
    use crate::market::{Calendar, ymd};

    fn judge(row: &str, unit: i64) -> Vec<(&'static str, Severity)> {
        let mut spans = Vec::new();
        record::split(row.as_bytes(), &mut spans);
        let calendar = Calendar::shipped();
        let range = (ymd(1995, 1, 1), ymd(2026, 12, 31));
        let facts = Facts { calendar: &calendar, today: ymd(2026, 11, 23), range, value_unit: unit };
        let mut findings: Vec<Finding> = Vec::new();
        record::check::<Bar>(&Fields::new(row.as_bytes(), &spans), &facts, &mut findings).unwrap();
        findings.iter().map(|f| (f.rule.name, f.severity)).collect()
    }

    #[test]
    fn rules() {
        use Severity::{Flag, Note, Reject};
        for (row, broken) in [
            // Good rows: traded, without trades, off-hours only, limit up, half-ticks.
            (
                "005930,2026-01-02,120200,128700,119900,128500,31287562,3911226718050,119900,KOSPI,STOCK",
                vec![],
            ),
            ("225860,2022-02-17,,,,75,0,0,75,KONEX,STOCK", vec![]),
            (
                "141070,2021-02-01,,,,3000,177,531000,3000,KOSDAQ,STOCK",
                vec![("ohlcv.trades_have_prices", Flag)],
            ),
            ("000001,2026-01-02,2067,2070,2065,2067,10,20670,2070,KOSDAQ,STOCK", vec![]),
            (
                "000001,2026-01-02,2068,2070,2065,2070,10,20680,2070,KOSDAQ,STOCK",
                vec![("ohlcv.on_tick", Flag)],
            ),
            (
                "000001,2025-03-03,2067,2070,2065,2070,10,20680,2070,KOSDAQ,STOCK",
                vec![("ohlcv.on_tick", Reject)],
            ),
            // KOSDAQ's grid of 2022 is not KOSPI's.
            ("000001,2022-01-03,123400,123400,123400,123400,1,123400,123400,KOSDAQ,STOCK", vec![]),
            (
                "000001,2022-01-03,123400,123400,123400,123400,1,123400,123400,KOSPI,STOCK",
                vec![("ohlcv.on_tick", Reject)],
            ),
            // Liquidation: +29,948 %, confirmed by value and volume.
            (
                "052670,2026-02-09,890000,890000,311000,625000,13432,8109375000,2080,KOSDAQ,STOCK",
                vec![("ohlcv.within_limits", Flag)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,1000,10,14000,600,KOSDAQ,STOCK",
                vec![("ohlcv.value_fits_volume", Flag), ("ohlcv.within_limits", Reject)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,1000,10,10200,1000,KOSDAQ,STOCK",
                vec![("ohlcv.value_fits_volume", Note)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,1000,10,10000000,1000,KOSDAQ,STOCK",
                vec![("ohlcv.value_fits_volume", Reject)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,1000,10,0,1000,KOSDAQ,STOCK",
                vec![("ohlcv.value_fits_volume", Reject)],
            ),
            (
                "000001,2024-01-02,,,,1000,10,0,1000,KOSDAQ,STOCK",
                vec![("ohlcv.traded_value_is_there", Reject)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,0,10,10000,1000,KOSDAQ,STOCK",
                vec![("ohlcv.close_is_positive", Reject)],
            ),
            (
                "000001,2024-01-02,1000,-1000,1000,1000,10,10000,1000,KOSDAQ,STOCK",
                vec![("ohlcv.nothing_is_negative", Reject)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,1000,10,10000,-5,KOSDAQ,STOCK",
                vec![("ohlcv.base_is_positive", Reject)],
            ),
            (
                "000001,2024-01-02,1000,,1000,1000,10,10000,1000,KOSDAQ,STOCK",
                vec![("ohlcv.prices_come_together", Reject)],
            ),
            (
                "000001,2024-01-02,1000,1000,1000,1000,0,0,1000,KOSDAQ,STOCK",
                vec![("ohlcv.no_trade_is_empty", Reject)],
            ),
            (
                "000001,2024-01-02,1000,990,990,1000,10,10000,1000,KOSDAQ,STOCK",
                vec![("ohlcv.high_is_highest", Reject)],
            ),
            (
                "000001,2024-01-02,1000,1010,1005,1000,10,10000,1000,KOSDAQ,STOCK",
                vec![("ohlcv.low_is_lowest", Reject)],
            ),
            // KONEX is +-15 %.
            ("000001,2024-01-02,,,,1200,0,0,1000,KONEX,STOCK", vec![("ohlcv.within_limits", Flag)]),
            ("000001,2024-01-02,,,,1200,0,0,1000,KOSDAQ,STOCK", vec![]),
            // Before the facts begin nothing is judged by ticks or limits.
            ("000001,1994-01-03,1003,1003,1003,1003,10,10030,500,KOSPI,STOCK", vec![]),
        ] {
            assert_eq!(judge(row, 1), broken, "{row}");
        }
    }

    #[test]
    fn a_coarse_value_unit_is_a_tolerance() {
        let row = "000001,2024-01-02,1000,1000,1000,1000,10,0,1000,KOSDAQ,STOCK";
        assert_eq!(judge(row, 1_000_000), vec![]);
        let row = "000001,2024-01-02,1000,1000,1000,1000,5000000,1000000,1000,KOSDAQ,STOCK";
        assert_eq!(judge(row, 1_000_000), vec![("ohlcv.value_fits_volume", Severity::Reject)]);
    }

    #[test]
    fn every_row_rule_is_broken_by_a_row_of_the_table() {
        // The table above names each; here only the count is held, so that a new rule brings a new row.
        assert_eq!(Bar::RULES.len(), 12);
    }
}
