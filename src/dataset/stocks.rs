//! The stock master: which names were listed on a session, and what they were.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, must};
use super::{Column, Dataset, Kind};
use crate::market::{Isin, Market, SecurityType, StockCode};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "stocks",
    table: "stocks",
    about: "the master of listed names, with its history",
    columns: &[
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column { name: "time", sql: "date", about: "session as of which the master stands (KST)" },
        Column { name: "isin", sql: "text", about: "ISIN" },
        Column { name: "name", sql: "text", about: "Korean short name" },
        Column { name: "name_en", sql: "text", about: "English name" },
        Column { name: "market", sql: "text", about: "KOSPI, KOSDAQ or KONEX" },
        Column { name: "segment", sql: "text", about: "segment of the market, e.g. KOSDAQ GLOBAL" },
        Column { name: "security_type", sql: "text", about: "STOCK, PREFERRED, REIT, SPAC, ETF or ETN" },
        Column { name: "listing_date", sql: "date", about: "first session" },
        Column { name: "delisting_date", sql: "date", about: "first day on which it is not listed any more" },
        Column { name: "is_active", sql: "boolean", about: "listed as of the session" },
        Column { name: "par_value", sql: "bigint", about: "par value, KRW; NULL without par" },
        Column { name: "listed_shares", sql: "bigint", about: "listed shares of this class" },
    ],
    key: &["stock_code", "time"],
    kind: Kind::Master,
    code: "stock_code",
    expects: None,
    may_lag: 0,
    row_rules: record::rules_of::<Listing>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Listing>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/market_is_whole.sql"),
        include_str!("../../sql/checks/shares_keep_their_scale.sql"),
        include_str!("../../sql/checks/name_is_new.sql"),
    ],
    holes: &[
        ("missing_session", "note"),
        // Each class is counted on its own: a master of shares says nothing of ETFs.
        (
            "market",
            "CASE WHEN security_type IN ('ETF', 'ETN') THEN market || ' ' || security_type ELSE market END",
        ),
        ("knows_market", "true"),
        ("traded", "true"),
        ("knows_traded", "false"),
        ("in_scope", "split_part(b.market, ' ', 1) = ANY (job.markets)"),
    ],
};

/// A master row as a source writes it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Stock<'a> {
    pub code: StockCode,
    pub time: NaiveDate,
    pub isin: Option<Isin>,
    pub name: &'a str,
    pub name_en: &'a str,
    pub market: Market,
    pub segment: &'a str,
    pub kind: SecurityType,
    pub listing_date: Option<NaiveDate>,
    pub delisting_date: Option<NaiveDate>,
    pub is_active: bool,
    pub par_value: Option<i64>,
    pub listed_shares: Option<i64>,
}

impl Stock<'_> {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut row = RowWriter::new(out);
        row.plain(self.code.as_bytes()).date(self.time);
        row.plain(self.isin.as_ref().map_or(b"", |i| i.as_str().as_bytes()));
        row.text(self.name).text(self.name_en);
        row.plain(self.market.as_str().as_bytes()).text(self.segment);
        row.plain(self.kind.as_str().as_bytes());
        for date in [self.listing_date, self.delisting_date] {
            match date {
                Some(date) => row.date(date),
                None => row.plain(b""),
            };
        }
        row.plain(if self.is_active { b"t" } else { b"f" });
        row.optional(self.par_value).optional(self.listed_shares);
    }
}

/// What the rules look at: a row read back, without its text.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    time: NaiveDate,
    name: NameForm,
    listed_on: Option<NaiveDate>,
    delisted_on: Option<NaiveDate>,
    is_active: bool,
    par_value: Option<i64>,
    listed_shares: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NameForm {
    Good,
    Blank,
    Suspect,
}

/// Korean names hold Hangul, ASCII and a few signs. Replacement and control characters and runs of Latin-1 letters
/// are what CP949 looks like when it was read as something else: each Hangul syllable has two bytes. A single one
/// is a middle dot (전기·전자) or a foreign name.
pub(crate) fn is_readable(text: &str) -> bool {
    let mut before = false;
    !text.chars().any(|c| {
        let is_latin = matches!(c, '\u{a0}'..='\u{ff}');
        let in_a_run = std::mem::replace(&mut before, is_latin) && is_latin;
        in_a_run || c == '\u{fffd}' || c.is_control()
    })
}

/// Bytes. Korean short names take some forty; where a quote was lost, a name runs on into other fields.
const LONGEST_NAME: usize = 400;

fn form(name: &str) -> NameForm {
    if name.trim().is_empty() {
        NameForm::Blank
    } else if is_readable(name) && name.len() <= LONGEST_NAME {
        NameForm::Good
    } else {
        NameForm::Suspect
    }
}

impl Record for Listing {
    const RULES: &'static [RowRule<Self>] = &[
        RowRule {
            rule: Rule {
                name: "stocks.has_a_name",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the name is blank, far too long, or in a wrong encoding",
                why: "Every listed name has a Korean short name. Replacement, control and Latin-1 characters show that \
                      CP949 was read as another encoding.",
                shows: &["name"],
            },
            test: |row, _| must(row.name == NameForm::Good),
        },
        RowRule {
            rule: Rule {
                name: "stocks.counts_are_positive",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the listed shares are not positive, or the par value is negative",
                why: "A listed class has shares. Absent is empty, not 0.",
                shows: &["listed_shares", "par_value"],
            },
            test: |row, _| {
                must(row.listed_shares.is_none_or(|n| n > 0) && row.par_value.is_none_or(|n| n >= 0))
            },
        },
        RowRule {
            rule: Rule {
                name: "stocks.dates_are_in_order",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the dates of listing and delisting contradict each other or the session",
                why: "A name is listed before it is delisted, and one that is active was listed and is not delisted yet.",
                shows: &["time", "listing_date", "delisting_date", "is_active"],
            },
            test: |row, _| {
                let ordered = match (row.listed_on, row.delisted_on) {
                    (Some(listed), Some(delisted)) => listed <= delisted,
                    _ => true,
                };
                let listed = row.listed_on.is_none_or(|d| d <= row.time);
                let delisted = row.delisted_on.is_some_and(|d| d <= row.time);
                must(ordered && (!row.is_active || (listed && !delisted)))
            },
        },
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        fields.code(0)?;
        fields.isin(2)?;
        fields.text(4)?;
        fields.market(5)?;
        fields.text(6)?;
        fields.security_type(7)?;
        Ok(Self {
            time: required(fields.date(1)?, 1)?,
            name: form(fields.text(3)?),
            listed_on: fields.date(8)?,
            delisted_on: fields.date(9)?,
            is_active: fields.flag(10)?,
            par_value: fields.number(11)?,
            listed_shares: fields.number(12)?,
        })
    }
}

static BATCH_RULES: [Rule; 6] = [
    batch(
        "stocks.session_is_there",
        Severity::Note,
        "a session of the range has no master",
        "A master stands until the next one; a missing session is no gap in the history.",
    ),
    batch(
        "stocks.market_is_whole",
        Severity::Gate,
        "a market's number of names moved by more than 2 % and 10 rows, or a market is missing",
        "Compared with the master of the previous calendar session.",
    ),
    batch(
        "stocks.few_are_delisted",
        Severity::Gate,
        "the batch would deactivate more names than delistings explain",
        "Allowed are 1 % plus 0.02 % a session since the last master: 100 of 2,613 names left between the samples of \
         2022 and 2024. More means a half-read master.",
    ),
    batch(
        "stocks.name_is_gone",
        Severity::Note,
        "a name of the last master is not in this one: inactive from this session",
        "A soft delete: the name stays with its history. Only a whole master can tell.",
    ),
    batch(
        "stocks.name_is_new",
        Severity::Note,
        "a name is in the master for the first time since the previous session",
        "Listed, or relisted.",
    ),
    batch(
        "stocks.shares_keep_their_scale",
        Severity::Flag,
        "the listed shares changed tenfold or more since the last master",
        "Splits and consolidations do this now and then, wrong units for many names at once.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Facts;
    use crate::market::{Calendar, ymd};

    fn judge(row: &str) -> Result<Option<&'static str>, Malformed> {
        let mut spans = Vec::new();
        record::split(row.as_bytes(), &mut spans);
        let calendar = Calendar::shipped();
        let range = (ymd(2024, 1, 2), ymd(2024, 1, 2));
        let facts = Facts { calendar: &calendar, today: ymd(2026, 11, 23), range, value_unit: 1 };
        let mut findings = Vec::new();
        record::check::<Listing>(&Fields::new(row.as_bytes(), &spans), &facts, &mut findings)?;
        Ok(findings.first().map(|f| f.rule.name))
    }

    #[test]
    fn rules() {
        for (row, broken) in [
            ("005930,2024-01-02,KR7005930003,삼성전자,,KOSPI,,STOCK,1975-06-11,,t,100,5969782550", None),
            ("005930,2024-01-02,,삼성전자,,KOSDAQ,KOSDAQ GLOBAL,STOCK,,,t,,5969782550", None),
            ("005930,2024-01-02,,,,KOSPI,,STOCK,,,t,,5969782550", Some("stocks.has_a_name")),
            (
                &format!("005930,2024-01-02,,{},,KOSPI,,STOCK,,,t,,5", "전자".repeat(67)),
                Some("stocks.has_a_name"),
            ),
            ("005930,2024-01-02,,»ï¼ºÀüÀÚ,,KOSPI,,STOCK,,,t,,5969782550", Some("stocks.has_a_name")),
            ("005930,2024-01-02,,삼성전자,,KOSPI,,STOCK,,,t,,0", Some("stocks.counts_are_positive")),
            ("005930,2024-01-02,,삼성전자,,KOSPI,,STOCK,2025-01-02,,t,,5", Some("stocks.dates_are_in_order")),
            ("005930,2024-01-02,,삼성전자,,KOSPI,,STOCK,,2023-01-02,t,,5", Some("stocks.dates_are_in_order")),
            ("005930,2024-01-02,,삼성전자,,KOSPI,,STOCK,2020-01-02,2023-01-02,f,,5", None),
        ] {
            assert_eq!(judge(row), Ok(broken), "{row}");
        }
        for (row, column) in [
            ("005930,2024-01-02,KR7005930004,삼성전자,,KOSPI,,STOCK,,,t,,5", 2),
            ("005930,2024-01-02,,삼성전자,,KOSDAQ GLOBAL,,STOCK,,,t,,5", 5),
            ("005930,2024-01-02,,삼성전자,,KOSPI,,STOCK,,,yes,,5", 10),
        ] {
            assert_eq!(judge(row).unwrap_err().column, column, "{row}");
        }
    }
}
