//! Which sector each name belongs to, by scheme and session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must, snapshot_is_there};
use super::stocks::is_readable;
use super::{Column, Dataset, Kind};
use crate::market::StockCode;

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "sectors",
    table: "sectors",
    about: "the sector of each name, by scheme",
    columns: &[
        Column { name: "scheme", sql: "text", about: "who classifies, e.g. KRX or KIS-MID" },
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column { name: "time", sql: "date", about: "session as of which it stands (KST)" },
        Column { name: "sector_code", sql: "text", about: "the scheme's code, e.g. 1013" },
        Column { name: "sector_name", sql: "text", about: "the scheme's name as of the session" },
    ],
    key: &["scheme", "stock_code", "time"],
    kind: Kind::Snapshot { slice: "scheme" },
    code: "stock_code",
    expects: Some("h.security_type NOT IN ('ETF', 'ETN') AND h.market <> 'KONEX'"),
    may_lag: 9,
    row_rules: record::rules_of::<Leaf>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Leaf>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/scheme_is_whole.sql"),
        include_str!("../../sql/checks/list_keeps_its_size.sql"),
        include_str!("../../sql/checks/few_are_replaced.sql"),
        include_str!("../../sql/checks/code_has_one_name.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "note"),
        ("size_severity", "gate"),
        ("size_share", "0.02"),
        ("same_row", "a.stock_code = b.stock_code AND a.sector_code = b.sector_code"),
        ("own", "staged"),
        ("known", "stock_code"),
        ("can_know", "true"),
    ],
};

/// A sector row as a source writes it. One leaf a name and scheme; a source with several levels (large, middle,
/// small) gives each a scheme of its own.
#[derive(Clone, Copy, Debug)]
pub struct Sector<'a> {
    /// Who classifies: capital letters, digits and hyphens, e.g. `KRX`, `KIS-LARGE`, `KIS-MID`, `KIS-SMALL`.
    pub scheme: &'a str,
    /// The classified name.
    pub code: StockCode,
    /// The session as of which it stands.
    pub time: NaiveDate,
    /// The scheme's code; where it has none, its name. Never blank: a name without a sector has no row.
    pub sector_code: &'a str,
    /// The scheme's Korean name as of the session (names are revised now and then); empty where not known.
    pub sector_name: &'a str,
}

impl Sector<'_> {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .text(self.scheme)
            .plain(self.code.as_bytes())
            .date(self.time)
            .text(self.sector_code)
            .text(self.sector_name);
    }
}

/// What the rules look at: a row read back, without its text.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    scheme_is_good: bool,
    code_is_there: bool,
    is_readable: bool,
}

impl Record for Leaf {
    const RULES: &'static [RowRule<Self>] = &[
        RowRule {
            rule: Rule {
                name: "sectors.scheme_is_named",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the scheme is no name in capital letters, digits and hyphens",
                why: "Sector codes mean something only within their scheme, and a scheme's rows replace each other as a \
                      whole: KRX and krx would be two.",
                shows: &["scheme"],
            },
            test: |row, _| must(row.scheme_is_good),
        },
        RowRule {
            rule: Rule {
                name: "sectors.code_is_there",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the sector code is blank or padded with blanks",
                why: "A name without a sector has no row. Fixed-width files pad codes with blanks: those are no part \
                      of it.",
                shows: &["sector_code"],
            },
            test: |row, _| must(row.code_is_there),
        },
        RowRule {
            rule: Rule {
                name: "sectors.name_is_readable",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the sector's name is in a wrong encoding",
                why: "Replacement, control and Latin-1 characters show that CP949 was read as another encoding.",
                shows: &["sector_code", "sector_name"],
            },
            test: |row, _| must(row.is_readable),
        },
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        let (scheme, code, name) = (fields.text(0)?, fields.text(3)?, fields.text(4)?);
        fields.code(1)?;
        required(fields.date(2)?, 2)?;
        let is_word = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
        Ok(Self {
            scheme_is_good: !scheme.is_empty() && scheme.bytes().all(is_word),
            code_is_there: !code.is_empty() && code.trim() == code,
            is_readable: is_readable(code) && is_readable(name),
        })
    }
}

static BATCH_RULES: [Rule; 6] = [
    snapshot_is_there("sectors.session_is_there"),
    batch(
        "sectors.scheme_is_whole",
        Severity::Gate,
        "the batch was asked for some names or markets only",
        "The rows of a scheme replace what stands there of it on the session: some of its names would remove the others. \
         Extract sectors without --codes and --market.",
    ),
    batch(
        "sectors.list_keeps_its_size",
        Severity::Gate,
        "the number of classified names moved by more than 2 % and 10",
        "Compared with the snapshots of the scheme before and after, within 45 days. A half-read file or a lost market \
         shows here.",
    ),
    batch(
        "sectors.few_are_replaced",
        Severity::Flag,
        "more than a fifth of the names are in another sector than before",
        "Compared with the snapshots of the scheme before and after, within 45 days. KRX revises its sectors now and then \
         (2024 for the last time); else a column was read for another.",
    ),
    batch(
        "sectors.code_has_one_name",
        Severity::Flag,
        "a sector code has two names on one session",
        "Names of sectors are revised, codes with them; on one session a code has one name.",
    ),
    code_is_known("sectors.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::judge;

    #[test]
    fn rules() {
        for (row, broken) in [
            ("KRX,005930,2026-01-02,1013,전기·전자", None),
            ("KIS-MID,005930,2026-01-02,0013,", None),
            ("krx,005930,2026-01-02,1013,전기·전자", Some("sectors.scheme_is_named")),
            (",005930,2026-01-02,1013,전기·전자", Some("sectors.scheme_is_named")),
            ("KRX,005930,2026-01-02,,전기·전자", Some("sectors.code_is_there")),
            ("KRX,005930,2026-01-02,1013 ,전기·전자", Some("sectors.code_is_there")),
            ("KRX,005930,2026-01-02,1013,Àü±â", Some("sectors.name_is_readable")),
        ] {
            assert_eq!(judge::<Leaf>(row, 1).unwrap().first().map(|f| f.0), broken, "{row}");
        }
        let row = "KRX,5930,2026-01-02,1013,전기·전자";
        assert_eq!(judge::<Leaf>(row, 1).unwrap_err().column, 1);
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        let code = StockCode::parse(b"005930").unwrap();
        let time = crate::market::ymd(2026, 1, 2);
        let sector = Sector { scheme: "KRX", code, time, sector_code: "1006", sector_name: "섬유,의류" };
        sector.write(&mut out);
        assert_eq!(out, "KRX,005930,2026-01-02,1006,\"섬유,의류\"".as_bytes());
    }
}
