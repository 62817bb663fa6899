//! What each kind of investor bought and sold, by name and session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, must};
use super::{Column, Dataset, Kind};
use crate::market::{Investor, StockCode};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "investor-trading",
    table: "investor_trading",
    about: "what foreigners, institutions, individuals and pension funds bought and sold",
    columns: &[
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column { name: "time", sql: "date", about: "session (KST)" },
        Column {
            name: "investor_type",
            sql: "text",
            about: "FOREIGN, INSTITUTION (PENSION among them), OTHER_CORPORATION, PENSION or RETAIL",
        },
        Column { name: "buy_volume", sql: "bigint", about: "shares bought" },
        Column { name: "sell_volume", sql: "bigint", about: "shares sold" },
        Column { name: "buy_value", sql: "bigint", about: "value bought, KRW" },
        Column { name: "sell_value", sql: "bigint", about: "value sold, KRW" },
        Column { name: "net_volume", sql: "bigint", about: "shares bought less shares sold" },
        Column { name: "net_value", sql: "bigint", about: "value bought less value sold, KRW" },
    ],
    key: &["stock_code", "time", "investor_type"],
    kind: Kind::Series,
    code: "stock_code",
    expects: Some(
        "h.security_type NOT IN ('ETF', 'ETN') AND NOT EXISTS (SELECT FROM market.ohlcv_daily o \
         WHERE o.stock_code = h.stock_code AND o.time = t.time AND o.volume = 0)",
    ),
    row_rules: record::rules_of::<Flow>,
    batch_rules: &[],
    check: record::check::<Flow>,
    queries: &[],
    holes: &[],
};

/// What one kind of investor traded of one name in one session. Volumes in single shares, values in KRW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The name.
    pub code: StockCode,
    /// The session.
    pub time: NaiveDate,
    /// Who. Rows of a name ascend by [`Investor::as_str`], which is the order of [`Investor::ALL`].
    pub investor: Investor,
    /// Shares bought.
    pub buy_volume: Option<i64>,
    /// Shares sold.
    pub sell_volume: Option<i64>,
    /// Value bought, KRW.
    pub buy_value: Option<i64>,
    /// Value sold, KRW.
    pub sell_value: Option<i64>,
    /// Shares bought less shares sold; some sources have only this.
    pub net_volume: Option<i64>,
    /// Value bought less value sold, KRW. Its sign may differ from the volume's.
    pub net_value: Option<i64>,
}

impl Flow {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.code.as_bytes())
            .date(self.time)
            .plain(self.investor.as_str().as_bytes())
            .optional(self.buy_volume)
            .optional(self.sell_volume)
            .optional(self.buy_value)
            .optional(self.sell_value)
            .optional(self.net_volume)
            .optional(self.net_value);
    }
}

/// How far a sum of rounded values may be off: sources round each to their unit.
fn slack(unit: i64) -> i64 {
    if unit > 1 { 2 * unit } else { 0 }
}

fn is_net(buy: Option<i64>, sell: Option<i64>, net: Option<i64>, slack: i64) -> bool {
    match (buy, sell, net) {
        (Some(buy), Some(sell), Some(net)) => (buy - sell - net).abs() <= slack,
        _ => true,
    }
}

impl Record for Flow {
    const RULES: &'static [RowRule<Self>] = &[
        RowRule {
            rule: Rule {
                name: "investor-trading.something_is_there",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "all volumes and values are blank",
                why: "Sources show today's row before its figures are known. A row that says nothing is no row, and blank \
                      is not 0.",
                shows: &["investor_type"],
            },
            test: |row, _| {
                let all = [
                    row.buy_volume,
                    row.sell_volume,
                    row.buy_value,
                    row.sell_value,
                    row.net_volume,
                    row.net_value,
                ];
                must(all.iter().any(Option::is_some))
            },
        },
        RowRule {
            rule: Rule {
                name: "investor-trading.nothing_is_negative",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "a bought or sold volume or value is negative",
                why: "Only net amounts have a sign.",
                shows: &["investor_type", "buy_volume", "sell_volume", "buy_value", "sell_value"],
            },
            test: |row, _| {
                let gross = [row.buy_volume, row.sell_volume, row.buy_value, row.sell_value];
                must(gross.iter().flatten().all(|n| *n >= 0))
            },
        },
        RowRule {
            rule: Rule {
                name: "investor-trading.net_is_buy_minus_sell",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the net amount is not bought less sold",
                why: "By definition; it holds for all 4,208 rows of five recorded answers. Values that a source rounds may \
                      be off by two of its units.",
                shows: &[
                    "investor_type",
                    "buy_volume",
                    "sell_volume",
                    "net_volume",
                    "buy_value",
                    "sell_value",
                    "net_value",
                ],
            },
            test: |row, facts| {
                must(
                    is_net(row.buy_volume, row.sell_volume, row.net_volume, 0)
                        && is_net(row.buy_value, row.sell_value, row.net_value, slack(facts.value_unit)),
                )
            },
        },
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        Ok(Self {
            code: fields.code(0)?,
            time: required(fields.date(1)?, 1)?,
            investor: fields.investor(2)?,
            buy_volume: fields.number(3)?,
            sell_volume: fields.number(4)?,
            buy_value: fields.number(5)?,
            sell_value: fields.number(6)?,
            net_volume: fields.number(7)?,
            net_value: fields.number(8)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::judge;

    #[test]
    fn rules() {
        let net = Some("investor-trading.net_is_buy_minus_sell");
        for (row, unit, broken) in [
            ("005930,2026-01-02,FOREIGN,10,4,1000,400,6,600", 1, None),
            ("005930,2026-01-02,PENSION,,,,,-6,600", 1, None),
            ("005930,2026-01-02,RETAIL,10,4,,,,", 1, None),
            ("005930,2026-01-02,FOREIGN,10,4,1000,400,7,600", 1, net),
            ("005930,2026-01-02,FOREIGN,10,4,1000,400,6,601", 1, net),
            ("005930,2026-01-02,FOREIGN,10,4,1000000,400000,6,601000", 1000, None),
            ("005930,2026-01-02,FOREIGN,10,4,1000000,400000,6,603000", 1000, net),
            ("005930,2026-01-02,FOREIGN,10,4,1000000,400000,7,600000", 1000, net),
            ("005930,2026-01-02,RETAIL,-1,4,,,,", 1, Some("investor-trading.nothing_is_negative")),
            ("005930,2026-01-02,RETAIL,,,,,,", 1, Some("investor-trading.something_is_there")),
        ] {
            assert_eq!(judge::<Flow>(row, unit).unwrap().first().map(|f| f.0), broken, "{row}");
        }
        let row = "005930,2026-01-02,ALL,10,4,1000,400,6,600";
        assert_eq!(judge::<Flow>(row, 1).unwrap_err().column, 2);
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        Flow {
            code: StockCode::parse(b"005930").unwrap(),
            time: crate::market::ymd(2026, 1, 2),
            investor: Investor::OtherCorporation,
            buy_volume: Some(1),
            sell_volume: None,
            buy_value: None,
            sell_value: None,
            net_volume: Some(-5),
            net_value: Some(7),
        }
        .write(&mut out);
        assert_eq!(out, b"005930,2026-01-02,OTHER_CORPORATION,1,,,,-5,7");
    }
}
