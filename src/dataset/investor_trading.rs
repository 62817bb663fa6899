//! What each kind of investor bought and sold, by name and session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{GroupRule, RowRule, Rule, Scope, Severity, batch, code_is_known, must};
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
    may_lag: 0,
    row_rules: record::rules_of::<Flow>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Flow>,
    check_group: Some(record::check_group::<Flow>),
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/names_are_whole.sql"),
        include_str!("../../sql/checks/session_is_new.sql"),
        include_str!("../../sql/checks/within_volume.sql"),
        include_str!("../../sql/checks/values_have_their_unit.sql"),
        include_str!("../../sql/checks/buys_are_the_volume.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "flag"),
        ("traded_a", "coalesce(a.net_volume, 0) <> 0"),
        ("same_key", "b.stock_code = a.stock_code AND b.investor_type = a.investor_type"),
        ("same_a", "a.buy_volume, a.sell_volume, a.buy_value, a.sell_value, a.net_volume, a.net_value"),
        ("same_b", "b.buy_volume, b.sell_volume, b.buy_value, b.sell_value, b.net_volume, b.net_value"),
        ("share", "0.2"),
        ("own", "staged"),
        ("known", "stock_code"),
        ("can_know", "true"),
    ],
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

impl Flow {
    /// Net volume, also where only bought and sold are told.
    fn net_volume(&self) -> Option<i64> {
        self.net_volume.or_else(|| Some(self.buy_volume? - self.sell_volume?))
    }

    /// Net value, also where only bought and sold are told.
    fn net_value(&self) -> Option<i64> {
        self.net_value.or_else(|| Some(self.buy_value? - self.sell_value?))
    }
}

/// How far a sum of rounded values may be off: sources round or cut off each to their unit.
fn slack(terms: i64, unit: i64) -> i64 {
    if unit > 1 { terms * unit } else { 0 }
}

/// The four kinds that are everybody.
const EVERYBODY: [Investor; 4] =
    [Investor::Foreign, Investor::Institution, Investor::OtherCorporation, Investor::Retail];

/// The sum over everybody; `None` where one is not there.
fn total(rows: &[Flow], of: impl Fn(&Flow) -> Option<i64>) -> Option<i64> {
    EVERYBODY.iter().try_fold(0, |sum, kind| Some(sum + of(rows.iter().find(|r| r.investor == *kind)?)?))
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
                        && is_net(row.buy_value, row.sell_value, row.net_value, slack(2, facts.value_unit)),
                )
            },
        },
    ];

    const GROUP_RULES: &'static [GroupRule<Self>] = &[
        GroupRule {
            rule: Rule {
                name: "investor-trading.nets_are_zero",
                severity: Severity::Reject,
                scope: Scope::Group,
                says: "foreigners, institutions, other corporations and individuals do not net to zero",
                why: "What one buys another sells: the four are everybody, PENSION being a part of INSTITUTION. Holds in \
                      all recorded answers, exactly for volumes, and for values within four of the source's units. \
                      Nobody knows which of them is wrong, so none of the name's rows of the session goes on. Not judged \
                      where one of the four is not there.",
                shows: &["investor_type", "net_volume", "net_value"],
            },
            test: |rows, facts| {
                let volume = total(rows, Flow::net_volume).is_none_or(|sum| sum == 0);
                let slack = slack(4, facts.value_unit);
                must(volume && total(rows, Flow::net_value).is_none_or(|sum| sum.abs() <= slack))
            },
        },
        GroupRule {
            rule: Rule {
                name: "investor-trading.pension_is_in_institution",
                severity: Severity::Reject,
                scope: Scope::Group,
                says: "pension funds bought or sold more than all institutions",
                why: "Pension funds are institutions: in every source PENSION is contained in INSTITUTION. Judged by what \
                      was bought and sold; net amounts may well be larger.",
                shows: &["investor_type", "buy_volume", "sell_volume", "buy_value", "sell_value"],
            },
            test: |rows, facts| {
                let of = |kind| rows.iter().find(|r| r.investor == kind);
                let (all, part) = (of(Investor::Institution)?, of(Investor::Pension)?);
                let within = |part: Option<i64>, all: Option<i64>, slack: i64| match (part, all) {
                    (Some(part), Some(all)) => part <= all + slack,
                    _ => true,
                };
                let slack = slack(1, facts.value_unit);
                must(
                    within(part.buy_volume, all.buy_volume, 0)
                        && within(part.sell_volume, all.sell_volume, 0)
                        && within(part.buy_value, all.buy_value, slack)
                        && within(part.sell_value, all.sell_value, slack),
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

static BATCH_RULES: [Rule; 7] = [
    batch(
        "investor-trading.session_is_there",
        Severity::Flag,
        "a session of the range has no row",
        "Every session of the calendar within the batch's range should have rows; kdata due lists it until it has.",
    ),
    batch(
        "investor-trading.names_are_whole",
        Severity::Gate,
        "the number of names moved by more than 5 % and 10",
        "Compared with the previous calendar session, where both claim all names. Names without trades may have no row.",
    ),
    batch(
        "investor-trading.session_is_new",
        Severity::Gate,
        "the session copies the one before",
        "All amounts of more than a fifth of the rows with a net volume equal those of the previous session: the source \
         answered with yesterday's data.",
    ),
    batch(
        "investor-trading.within_volume",
        Severity::Flag,
        "one kind of investor traded more than was traded in all",
        "Compared with volume and value of ohlcv of the same session where it is in production. More than 1 % of the rows \
         and 10 stop the batch: a unit is wrong, or it is another session.",
    ),
    batch(
        "investor-trading.values_have_their_unit",
        Severity::Gate,
        "net value over net volume is not near the close",
        "Of a session's rows with at least 1,000 shares net, the middle one must lie between half and twice the close of \
         ohlcv in production. Sources give values in KRW, thousand or million KRW: a unit that was not applied shows here.",
    ),
    batch(
        "investor-trading.buys_are_the_volume",
        Severity::Flag,
        "what everybody bought is not the day's volume",
        "Foreigners, institutions, other corporations and individuals together, against ohlcv of the same session where it \
         is in production: one remark a session, when more than 1 % of the names differ. Sources may leave off-hours trades \
         out.",
    ),
    code_is_known("investor-trading.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::{judge, judge_group};

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
    fn rules_of_groups() {
        let zero = Some("investor-trading.nets_are_zero");
        let pension = Some("investor-trading.pension_is_in_institution");
        let row = |rest: &str| format!("005930,2026-01-02,{rest}");
        for (rows, unit, broken) in [
            // Everybody, net or gross.
            (
                &[
                    "FOREIGN,,,,,6,600",
                    "INSTITUTION,,,,,-5,-500",
                    "OTHER_CORPORATION,,,,,0,0",
                    "PENSION,,,,,-9,-900",
                    "RETAIL,,,,,-1,-100",
                ][..],
                1,
                None,
            ),
            (
                &[
                    "FOREIGN,10,4,,,,",
                    "INSTITUTION,,,,,-5,-500",
                    "OTHER_CORPORATION,,,,,0,0",
                    "RETAIL,,,,,-2,-100",
                ],
                1,
                zero,
            ),
            (
                &[
                    "FOREIGN,,,,,6,600000",
                    "INSTITUTION,,,,,-5,-500000",
                    "OTHER_CORPORATION,,,,,0,0",
                    "RETAIL,,,,,-1,-103000",
                ],
                1000,
                None,
            ),
            (
                &[
                    "FOREIGN,,,,,6,600000",
                    "INSTITUTION,,,,,-5,-500000",
                    "OTHER_CORPORATION,,,,,0,0",
                    "RETAIL,,,,,-1,-105000",
                ],
                1000,
                zero,
            ),
            // Not everybody.
            (&["FOREIGN,,,,,6,600", "INSTITUTION,,,,,-5,-500", "RETAIL,,,,,-2,-100"], 1, None),
            (&["INSTITUTION,10,5,1000,500,,", "PENSION,10,5,1000,500,,"], 1, None),
            (&["INSTITUTION,10,5,1000,500,,", "PENSION,11,5,1000,500,,"], 1, pension),
            (&["INSTITUTION,10,5,1000,500,,", "PENSION,10,5,1000,501,,"], 1, pension),
            (&["INSTITUTION,10,5,1000,500,,", "PENSION,10,5,1000,501,,"], 1000, None),
        ] {
            let rows: Vec<_> = rows.iter().map(|rest| row(rest)).collect();
            let rows: Vec<_> = rows.iter().map(String::as_str).collect();
            assert_eq!(judge_group::<Flow>(&rows, unit).first().map(|f| f.0), broken, "{rows:?}");
        }
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
