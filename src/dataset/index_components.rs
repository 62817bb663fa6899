//! The members of indices by session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must, snapshot_is_there};
use super::{Column, Dataset, Kind};
use crate::market::{Decimal, IndexCode, StockCode};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "index-components",
    table: "index_components",
    about: "the members of indices, e.g. KOSPI 200 (1028) and KOSDAQ 150 (2203)",
    columns: &[
        Column {
            name: "index_code",
            sql: "text",
            about: "group and number of KRX joined, e.g. 1028 for KOSPI 200",
        },
        Column { name: "time", sql: "date", about: "session as of which the member stands (KST)" },
        Column { name: "stock_code", sql: "text", about: "KRX short code of the member" },
        Column { name: "weight", sql: "numeric", about: "weight in the index, per cent; NULL if not known" },
    ],
    key: &["index_code", "time", "stock_code"],
    kind: Kind::Snapshot { slice: "index_code" },
    code: "index_code",
    expects: None,
    may_lag: 68,
    row_rules: record::rules_of::<Member>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Member>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/members_are_all.sql"),
        include_str!("../../sql/checks/list_keeps_its_size.sql"),
        include_str!("../../sql/checks/few_are_replaced.sql"),
        include_str!("../../sql/checks/weights_add_up.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "note"),
        ("size_severity", "flag"),
        ("size_share", "0.1"),
        ("same_row", "a.stock_code = b.stock_code"),
        ("leveraged", "false"),
        ("own", "staged"),
        ("known", "stock_code"),
        ("can_know", "true"),
    ],
};

/// One member of an index on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The index.
    pub index: IndexCode,
    /// The session as of which the member stands.
    pub time: NaiveDate,
    /// The member.
    pub code: StockCode,
    /// Weight in per cent; `None` where the source does not tell it.
    pub weight: Option<Decimal>,
}

impl Member {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.index.as_bytes())
            .date(self.time)
            .plain(self.code.as_bytes())
            .decimal(self.weight);
    }
}

impl Record for Member {
    const RULES: &'static [RowRule<Self>] = &[RowRule {
        rule: Rule {
            name: "index-components.weight_is_a_share",
            severity: Severity::Reject,
            scope: Scope::Row,
            says: "the weight is below 0 or above 100 per cent",
            why: "A member weighs a share of its index. Absent is empty, not 0.",
            shows: &["weight"],
        },
        test: |row, _| must(row.weight.is_none_or(|w| !w.is_negative() && w <= Decimal::from(100))),
    }];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        Ok(Self {
            index: fields.index_code(0)?,
            time: required(fields.date(1)?, 1)?,
            code: fields.code(2)?,
            weight: fields.decimal(3)?,
        })
    }
}

static BATCH_RULES: [Rule; 6] = [
    snapshot_is_there("index-components.session_is_there"),
    batch(
        "index-components.members_are_all",
        Severity::Gate,
        "an index of fixed size has another number of members",
        "KOSPI 200 (1028) has 200 members and KOSDAQ 150 (2203) has 150, a few more or fewer around spin-offs, mergers and \
         delistings: 195 to 205 and 145 to 155 pass.",
    ),
    batch(
        "index-components.list_keeps_its_size",
        Severity::Flag,
        "the number of members moved by more than a tenth and 10",
        "Compared with the snapshots of the index before and after, within 45 days. A page that was lost shows here.",
    ),
    batch(
        "index-components.few_are_replaced",
        Severity::Flag,
        "more than a fifth of the members are others than before",
        "Compared with the snapshots of the index before and after, within 45 days. Regular reviews of KOSPI 200 replace \
         about ten members; narrow themes may replace more.",
    ),
    batch(
        "index-components.weights_add_up",
        Severity::Flag,
        "the weights are not about 100 per cent together",
        "95 to 105 per cent pass: sources round, and where not all weights are told, a smaller sum is right.",
    ),
    code_is_known("index-components.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::judge;

    #[test]
    fn rules() {
        let weight = Some("index-components.weight_is_a_share");
        for (row, broken) in [
            ("1028,2026-01-02,005930,31.52", None),
            ("1028,2026-01-02,005930,", None),
            ("1028,2026-01-02,005930,100.1", weight),
            ("1028,2026-01-02,005930,-0.1", weight),
        ] {
            assert_eq!(judge::<Member>(row, 1).unwrap().first().map(|f| f.0), broken, "{row}");
        }
        for (row, column) in [("028,2026-01-02,005930,", 0), ("1028,2026-01-02,5930,", 2)] {
            assert_eq!(judge::<Member>(row, 1).unwrap_err().column, column, "{row}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        Member {
            index: IndexCode::KOSPI_200,
            time: crate::market::ymd(2026, 1, 2),
            code: StockCode::parse(b"005930").unwrap(),
            weight: Decimal::parse(b"31.50"),
        }
        .write(&mut out);
        assert_eq!(out, b"1028,2026-01-02,005930,31.5");
    }
}
