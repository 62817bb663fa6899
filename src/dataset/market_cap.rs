//! Market capitalisation and listed shares by session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must};
use super::{Column, Dataset, Kind};
use crate::market::StockCode;

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "market-cap",
    table: "market_cap_daily",
    about: "market capitalisation and listed shares",
    columns: &[
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column { name: "time", sql: "date", about: "session (KST)" },
        Column { name: "market_cap", sql: "bigint", about: "close x listed shares of this class, KRW" },
        Column { name: "listed_shares", sql: "bigint", about: "listed shares of this class" },
    ],
    key: &["stock_code", "time"],
    kind: Kind::Series,
    code: "stock_code",
    expects: Some("true"),
    may_lag: 0,
    row_rules: record::rules_of::<Cap>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Cap>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/market_is_whole.sql"),
        include_str!("../../sql/checks/session_is_new.sql"),
        include_str!("../../sql/checks/is_close_times_shares.sql"),
        include_str!("../../sql/checks/shares_keep_their_scale.sql"),
        include_str!("../../sql/checks/cap_keeps_its_scale.sql"),
        include_str!("../../sql/checks/name_is_gone.sql"),
        include_str!("../../sql/checks/name_is_new.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "flag"),
        ("market", "'all'::text"),
        ("knows_market", "false"),
        ("traded", "true"),
        ("knows_traded", "false"),
        ("traded_a", "true"),
        ("same_a", "a.market_cap, a.listed_shares"),
        ("same_b", "b.market_cap, b.listed_shares"),
        ("same_key", "b.stock_code = a.stock_code"),
        ("own", "staged"),
        ("known", "stock_code"),
        ("can_know", "true"),
        ("share", "0.5"),
        ("in_scope", "cardinality(job.markets) = 3"),
    ],
};

/// One market capitalisation, KRW, and the listed shares behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Cap {
    pub code: StockCode,
    pub time: NaiveDate,
    pub market_cap: i64,
    pub listed_shares: i64,
}

impl Cap {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.code.as_bytes())
            .date(self.time)
            .number(self.market_cap)
            .number(self.listed_shares);
    }
}

impl Record for Cap {
    const RULES: &'static [RowRule<Self>] = &[
        RowRule {
            rule: Rule {
                name: "market-cap.both_are_positive",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the capitalisation or the number of listed shares is not positive",
                why: "A listed name has shares and a reference price.",
                shows: &["market_cap", "listed_shares"],
            },
            test: |cap, _| must(cap.market_cap > 0 && cap.listed_shares > 0),
        },
        RowRule {
            rule: Rule {
                name: "market-cap.is_a_price_times_shares",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the capitalisation is no whole price times the listed shares",
                why: "market cap = close x listed shares, exact in all 489,645 rows of the reference data. A source \
                      that rounds (value unit above 1) is judged within its unit.",
                shows: &["market_cap", "listed_shares"],
            },
            test: |cap, facts| {
                let rest = cap.market_cap % cap.listed_shares;
                must(rest.min(cap.listed_shares - rest) < facts.value_unit)
            },
        },
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        Ok(Self {
            code: fields.code(0)?,
            time: required(fields.date(1)?, 1)?,
            market_cap: required(fields.number(2)?, 2)?,
            listed_shares: required(fields.number(3)?, 3)?,
        })
    }
}

static BATCH_RULES: [Rule; 9] = [
    batch(
        "market-cap.session_is_there",
        Severity::Flag,
        "a session of the range has no row",
        "Every session of the calendar within the batch's range should have rows; kdata due lists it until it has.",
    ),
    batch(
        "market-cap.market_is_whole",
        Severity::Gate,
        "the number of names moved by more than 2 % and 10 rows",
        "Compared with the previous calendar session.",
    ),
    batch(
        "market-cap.session_is_new",
        Severity::Gate,
        "the session copies the one before",
        "More than half of the names have the capitalisation and the shares of the previous session; on a true session \
         about a tenth do (unchanged closes and names without trades).",
    ),
    batch(
        "market-cap.is_close_times_shares",
        Severity::Flag,
        "the capitalisation differs from the session's close times the listed shares",
        "Compared with ohlcv of the same session where it is in production.",
    ),
    batch(
        "market-cap.shares_keep_their_scale",
        Severity::Flag,
        "the listed shares changed tenfold or more since the previous session",
        "Splits and consolidations do this now and then, wrong units for many names at once.",
    ),
    batch(
        "market-cap.cap_keeps_its_scale",
        Severity::Flag,
        "the capitalisation changed fivefold or more since the previous session",
        "Splits and consolidations leave it, daily limits hold it. Liquidation trading and mergers go beyond now and then, \
         a price with a slipped decimal always does.",
    ),
    batch(
        "market-cap.name_is_gone",
        Severity::Note,
        "a name of the previous session has no row",
        "Delisted, or lost on the way. Not judged where the source drops names without trades.",
    ),
    batch(
        "market-cap.name_is_new",
        Severity::Note,
        "a name has a row that it had not in the previous session",
        "Listed, or resumed. Not judged where the source drops names without trades.",
    ),
    code_is_known("market-cap.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Facts;
    use crate::market::{Calendar, ymd};

    #[test]
    fn rules() {
        let calendar = Calendar::shipped();
        let range = (ymd(2024, 1, 2), ymd(2024, 1, 2));
        let code = StockCode::parse(b"005930").unwrap();
        let judge = |market_cap, listed_shares, unit| {
            let facts = Facts { calendar: &calendar, today: ymd(2026, 11, 23), range, value_unit: unit };
            let cap = Cap { code, time: ymd(2024, 1, 2), market_cap, listed_shares };
            Cap::RULES.iter().find(|r| (r.test)(&cap, &facts).is_some()).map(|r| r.rule.name)
        };
        assert_eq!(judge(475_194_690_980_000, 5_969_782_550, 1), None);
        assert_eq!(
            judge(475_194_690_980_000, 5_969_782_550_000, 1),
            Some("market-cap.is_a_price_times_shares")
        );
        assert_eq!(judge(475_194_690_980_001, 5_969_782_550, 1), Some("market-cap.is_a_price_times_shares"));
        assert_eq!(judge(475_194_690_000_000, 5_969_782_550, 1_000_000), None);
        assert_eq!(judge(0, 5_969_782_550, 1), Some("market-cap.both_are_positive"));
        assert_eq!(judge(475_194_690_980_000, 0, 1), Some("market-cap.both_are_positive"));
    }
}
