//! Floating shares by session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must, snapshot_is_there};
use super::{Column, Dataset, Kind};
use crate::market::{Decimal, StockCode};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "floating-shares",
    table: "floating_shares",
    about: "listed shares and those of them that float",
    columns: &[
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column { name: "time", sql: "date", about: "session as of which they were read (KST)" },
        Column { name: "listed_shares", sql: "bigint", about: "listed shares of this class" },
        Column { name: "floating_shares", sql: "bigint", about: "shares that float" },
        Column {
            name: "floating_ratio",
            sql: "numeric",
            about: "floating shares in per cent of the listed ones, as the source says it",
        },
    ],
    key: &["stock_code", "time"],
    kind: Kind::Series,
    code: "stock_code",
    expects: Some("h.security_type NOT IN ('ETF', 'ETN')"),
    may_lag: 9,
    row_rules: record::rules_of::<Float>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Float>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/listed_agrees.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[("missing_session", "note"), ("own", "staged"), ("known", "stock_code"), ("can_know", "true")],
};

/// The floating shares of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Float {
    /// The name.
    pub code: StockCode,
    /// The session as of which they were read: sources give no date of their own.
    pub time: NaiveDate,
    /// Listed shares of this class, single shares.
    pub listed_shares: Option<i64>,
    /// Shares that float, single shares.
    pub floating_shares: Option<i64>,
    /// The source's own ratio, per cent.
    pub floating_ratio: Option<Decimal>,
}

impl Float {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.code.as_bytes())
            .date(self.time)
            .optional(self.listed_shares)
            .optional(self.floating_shares)
            .decimal(self.floating_ratio);
    }

    /// How far the source's ratio lies from its own counts, in 1/10,000 per cent, beyond what rounding explains.
    fn ratio_gap(&self) -> Option<i128> {
        let (listed, floating) = (i128::from(self.listed_shares?), i128::from(self.floating_shares?));
        if listed <= 0 {
            return None;
        }
        // Counts in thousand shares are cut off below a thousand.
        let unit = if listed % 1000 == 0 && floating % 1000 == 0 { 1000 } else { 1 };
        let percent = |shares: i128| shares * 1_000_000 / listed;
        let gap = (percent(floating) - self.floating_ratio?.at_scale(4)).abs();
        Some((gap - percent(2 * unit)).max(0))
    }
}

impl Record for Float {
    const RULES: &'static [RowRule<Self>] = &[
        RowRule {
            rule: Rule {
                name: "floating-shares.something_is_there",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "neither floating shares nor their ratio are given",
                why: "A row that says nothing is no row: a name that the source cannot answer for is marked as missing.",
                shows: &["floating_shares", "floating_ratio"],
            },
            test: |row, _| must(row.floating_shares.is_some() || row.floating_ratio.is_some()),
        },
        RowRule {
            rule: Rule {
                name: "floating-shares.counts_are_in_order",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "a count is negative, nothing is listed, or more shares float than are listed",
                why: "Floating shares are a part of the listed ones. A count in thousand shares beside one in single \
                      shares shows here.",
                shows: &["listed_shares", "floating_shares"],
            },
            test: |row, _| {
                let floating = row.floating_shares.unwrap_or(0);
                must(floating >= 0 && row.listed_shares.is_none_or(|listed| listed > 0 && floating <= listed))
            },
        },
        RowRule {
            rule: Rule {
                name: "floating-shares.ratio_is_a_share",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the ratio is below 0 or above 100 per cent",
                why: "Floating shares are a part of the listed ones.",
                shows: &["floating_ratio"],
            },
            test: |row, _| {
                must(row.floating_ratio.is_none_or(|r| !r.is_negative() && r <= Decimal::from(100)))
            },
        },
        RowRule {
            rule: Rule {
                name: "floating-shares.ratio_agrees",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the ratio is not that of the counts",
                why: "ratio = 100 x floating / listed. Sources count in thousand shares and round the ratio to two digits: \
                      flagged beyond 0.1 per cent points, rejected beyond 1, where a unit or a column is wrong.",
                shows: &["listed_shares", "floating_shares", "floating_ratio"],
            },
            test: |row, _| match row.ratio_gap()? {
                0..=1_000 => None,
                1_001..=10_000 => Some(Severity::Flag),
                _ => Some(Severity::Reject),
            },
        },
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        Ok(Self {
            code: fields.code(0)?,
            time: required(fields.date(1)?, 1)?,
            listed_shares: fields.number(2)?,
            floating_shares: fields.number(3)?,
            floating_ratio: fields.decimal(4)?,
        })
    }
}

static BATCH_RULES: [Rule; 3] = [
    snapshot_is_there("floating-shares.session_is_there"),
    batch(
        "floating-shares.listed_agrees",
        Severity::Flag,
        "the listed shares are others elsewhere, or more shares float than are listed there",
        "Compared with the capitalisation of the same session, or else with the stock master, within 1 % and the thousand \
         shares that sources count in. More than a tenth of the names stop the batch: a unit is wrong.",
    ),
    code_is_known("floating-shares.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::judge;

    #[test]
    fn rules() {
        use Severity::{Flag, Reject};
        let order = vec![("floating-shares.counts_are_in_order", Reject)];
        for (row, broken) in [
            ("005930,2026-01-02,5919637922,4497000000,75.97", vec![]),
            ("005930,2026-01-02,5919637000,4497148000,75.97", vec![]),
            // A small class counted in thousands: the cut-off explains the gap.
            ("000011,2026-01-02,27000,20000,76.50", vec![]),
            ("005930,2026-01-02,,,75.97", vec![]),
            ("005930,2026-01-02,5919637922,4497000000,", vec![]),
            ("005930,2026-01-02,5919637922,,", vec![("floating-shares.something_is_there", Reject)]),
            ("005930,2026-01-02,5919637,4497148000,75.97", order.clone()),
            ("005930,2026-01-02,0,0,0", order.clone()),
            ("005930,2026-01-02,5919637922,-1,0", order),
            ("005930,2026-01-02,,4497148000,101", vec![("floating-shares.ratio_is_a_share", Reject)]),
            ("005930,2026-01-02,1000001,750000,75.4", vec![("floating-shares.ratio_agrees", Flag)]),
            ("005930,2026-01-02,1000001,750000,7.5", vec![("floating-shares.ratio_agrees", Reject)]),
        ] {
            assert_eq!(judge::<Float>(row, 1).unwrap(), broken, "{row}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        Float {
            code: StockCode::parse(b"005930").unwrap(),
            time: crate::market::ymd(2026, 1, 2),
            listed_shares: Some(100),
            floating_shares: None,
            floating_ratio: Decimal::parse(b"75.9"),
        }
        .write(&mut out);
        assert_eq!(out, b"005930,2026-01-02,100,,75.9");
    }
}
