//! What one creation unit of an ETF consists of (portfolio deposit file), by session.

use chrono::NaiveDate;

use super::record::{self, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must};
use super::stocks::is_readable;
use super::{Column, Dataset, Kind};
use crate::market::{Decimal, Isin, StockCode};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "etf-portfolios",
    table: "etf_portfolios",
    about: "what a creation unit of each ETF consists of",
    columns: &[
        Column { name: "etf_code", sql: "text", about: "KRX short code of the ETF" },
        Column { name: "time", sql: "date", about: "session for which the portfolio stands (KST)" },
        Column {
            name: "component_id",
            sql: "text",
            about: "ISIN, else short code, else CASH: or FUT: with the name",
        },
        Column { name: "component_code", sql: "text", about: "short code of the component; NULL without" },
        Column { name: "component_name", sql: "text", about: "name of the component" },
        Column {
            name: "quantity",
            sql: "numeric",
            about: "shares or contracts in a creation unit; negative when short",
        },
        Column { name: "value", sql: "bigint", about: "value in a creation unit, KRW; negative when owed" },
        Column { name: "weight", sql: "numeric", about: "share of the creation unit's value, per cent" },
    ],
    key: &["etf_code", "time", "component_id"],
    kind: Kind::Snapshot { slice: "etf_code" },
    code: "etf_code",
    expects: Some("h.security_type = 'ETF'"),
    may_lag: 9,
    row_rules: record::rules_of::<Share>,
    batch_rules: &BATCH_RULES,
    check: record::check::<Share>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/lists_are_there.sql"),
        include_str!("../../sql/checks/list_keeps_its_size.sql"),
        include_str!("../../sql/checks/weights_add_up.sql"),
        include_str!("../../sql/checks/part_is_known.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "flag"),
        ("size_severity", "flag"),
        ("size_share", "0.2"),
        ("leveraged", "component_id ~ '^(KR4|FUT:)' OR quantity < 0 OR weight < 0"),
        ("own", "staged"),
        ("known", "etf_code"),
        ("can_know", "EXISTS (SELECT FROM market.stocks WHERE security_type = 'ETF')"),
    ],
};

/// A component of a portfolio as a source writes it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The ETF.
    pub etf: StockCode,
    /// The session for which the portfolio stands.
    pub time: NaiveDate,
    /// ISIN, else short code, else `CASH:` or `FUT:` and the name. Unique within the portfolio; rows ascend by it,
    /// byte by byte.
    pub component_id: &'a str,
    /// Short code (six characters for stocks and ETFs, twelve for derivatives); empty without.
    pub component_code: &'a str,
    /// Name; empty where not known.
    pub component_name: &'a str,
    /// Shares or contracts in one creation unit; negative when short.
    pub quantity: Option<Decimal>,
    /// Value in one creation unit, KRW.
    pub value: Option<i64>,
    /// Share of the creation unit's value, per cent.
    pub weight: Option<Decimal>,
}

/// What tells a component apart in its portfolio: its ISIN, else `CASH:` and its name for cash, else its short code, else
/// `FUT:` and its name. Without commas and quotes, so that it needs no quotes in the stream.
pub fn component_id(isin: &str, code: &str, name: &str) -> String {
    let plain = || name.replace([',', '"'], " ");
    match (isin, code) {
        ("", _) if is_cash(name) => format!("CASH:{}", plain()),
        ("", "") => format!("FUT:{}", plain()),
        ("", code) => code.to_owned(),
        (isin, _) => isin.to_owned(),
    }
}

/// Cash and deposits, by their name.
pub fn is_cash(name: &str) -> bool {
    ["현금", "예금", "예수금", "원화", "CASH"].iter().any(|word| name.contains(word))
}

impl Part<'_> {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.etf.as_bytes())
            .date(self.time)
            .text(self.component_id)
            .text(self.component_code)
            .text(self.component_name)
            .decimal(self.quantity)
            .optional(self.value)
            .decimal(self.weight);
    }
}

/// What the rules look at: a row read back, without its text.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    id_is_good: bool,
    is_readable: bool,
    is_told: bool,
    weight: Option<Decimal>,
}

/// Leveraged and inverse funds hold futures of up to this many times their value.
const MOST_LEVERAGE: i32 = 400;

impl Record for Share {
    const RULES: &'static [RowRule<Self>] = &[
        RowRule {
            rule: Rule {
                name: "etf-portfolios.id_is_good",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the component's id is blank, padded, or an ISIN with a wrong check digit",
                why: "The id tells the components of a portfolio apart: ISIN, else short code, else CASH: or FUT: with the \
                      name. Cash has pseudo codes (CASH00000001) that are no ISIN.",
                shows: &["component_id"],
            },
            test: |row, _| must(row.id_is_good),
        },
        RowRule {
            rule: Rule {
                name: "etf-portfolios.name_is_readable",
                severity: Severity::Reject,
                scope: Scope::Row,
                says: "the component's id, code or name is in a wrong encoding",
                why: "Replacement, control and Latin-1 characters show that CP949 was read as another encoding.",
                shows: &["component_id", "component_name"],
            },
            test: |row, _| must(row.is_readable),
        },
        RowRule {
            rule: Rule {
                name: "etf-portfolios.says_how_much",
                severity: Severity::Flag,
                scope: Scope::Row,
                says: "the component has neither quantity nor value nor weight",
                why: "Sources leave one or two of the three blank for cash, futures and foreign shares; a component of \
                      which nothing is known is kept and looked at.",
                shows: &["component_id", "component_name"],
            },
            test: |row, _| (!row.is_told).then_some(Severity::Flag),
        },
        RowRule {
            rule: Rule {
                name: "etf-portfolios.weight_is_possible",
                severity: Severity::Flag,
                scope: Scope::Row,
                says: "the weight is beyond 400 per cent",
                why: "Weights may be negative, and futures of leveraged funds weigh more than the fund. Beyond four times \
                      it a point has slipped.",
                shows: &["component_id", "weight"],
            },
            test: |row, _| {
                let most = Decimal::from(MOST_LEVERAGE);
                let least = Decimal::from(-MOST_LEVERAGE);
                row.weight.is_some_and(|w| w > most || w < least).then_some(Severity::Flag)
            },
        },
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        fields.code(0)?;
        required(fields.date(1)?, 1)?;
        let (id, code, name) = (fields.text(2)?, fields.text(3)?, fields.text(4)?);
        let (quantity, value, weight) = (fields.decimal(5)?, fields.number(6)?, fields.decimal(7)?);
        Ok(Self {
            id_is_good: is_good(id),
            is_readable: [id, code, name].into_iter().all(is_readable),
            is_told: quantity.is_some() || value.is_some() || weight.is_some(),
            weight,
        })
    }
}

fn is_good(id: &str) -> bool {
    let bytes = id.as_bytes();
    let like_an_isin = bytes.len() == 12
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..].iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    !id.is_empty()
        && id.trim() == id
        && (!like_an_isin || id.starts_with("CASH") || Isin::parse(bytes).is_some())
}

static BATCH_RULES: [Rule; 6] = [
    batch(
        "etf-portfolios.session_is_there",
        Severity::Flag,
        "a session of the range has no portfolio",
        "Portfolios are published for each session; kdata due lists it until it is here.",
    ),
    batch(
        "etf-portfolios.lists_are_there",
        Severity::Gate,
        "the number of ETFs moved by more than 2 % and 10",
        "Compared with the previous calendar session, where both claim all ETFs.",
    ),
    batch(
        "etf-portfolios.list_keeps_its_size",
        Severity::Flag,
        "the number of components moved by more than a fifth and 10",
        "Compared with the portfolios of the ETF before and after, within 45 days. A page that was lost shows here; an \
         index that was reviewed as well.",
    ),
    batch(
        "etf-portfolios.weights_add_up",
        Severity::Flag,
        "the weights are not about 100 per cent together",
        "95 to 105 per cent pass: sources round, some leave out cash, and where not all weights are told, a smaller sum is \
         right. Portfolios with derivatives or with negative quantities are not judged.",
    ),
    batch(
        "etf-portfolios.part_is_known",
        Severity::Flag,
        "a domestic stock in a portfolio is not in the stock master",
        "Flagged once for each code. ETFs held by ETFs, foreign shares, bonds and derivatives are in no master and are not \
         judged.",
    ),
    code_is_known("etf-portfolios.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::judge;

    #[test]
    fn rules() {
        use Severity::{Flag, Reject};
        let id = vec![("etf-portfolios.id_is_good", Reject)];
        for (row, broken) in [
            ("152100,2021-04-02,KR7005930003,005930,삼성전자,8140,690272000,31.74", vec![]),
            ("152100,2021-04-02,KRD010010001,,원화예금,,14159974,0.65", vec![]),
            ("152100,2021-04-02,CASH00000001,,설정현금액,,14159974,0.65", vec![]),
            ("252670,2026-01-02,KR4101R60000,KR4101R60000,코스피200 F,-3.58,-300,-99.5", vec![]),
            ("152100,2021-04-02,CASH:원화현금,,,,5,", vec![]),
            ("152100,2021-04-02,005930,005930,삼성전자,8140,,", vec![]),
            ("152100,2021-04-02,KR7005930004,005930,삼성전자,8140,690272000,31.74", id.clone()),
            ("152100,2021-04-02,,005930,삼성전자,8140,690272000,31.74", id.clone()),
            ("152100,2021-04-02,005930 ,005930,삼성전자,8140,690272000,31.74", id),
            (
                "152100,2021-04-02,KR7005930003,005930,»ï¼ºÀüÀÚ,8140,690272000,31.74",
                vec![("etf-portfolios.name_is_readable", Reject)],
            ),
            (
                "152100,2021-04-02,KR7005930003,005930,삼성전자,,,",
                vec![("etf-portfolios.says_how_much", Flag)],
            ),
            (
                "152100,2021-04-02,KR7005930003,005930,삼성전자,8140,1,3174",
                vec![("etf-portfolios.weight_is_possible", Flag)],
            ),
        ] {
            assert_eq!(judge::<Share>(row, 1).unwrap(), broken, "{row}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        Part {
            etf: StockCode::parse(b"252670").unwrap(),
            time: crate::market::ymd(2026, 1, 2),
            component_id: "KR4101R60000",
            component_code: "KR4101R60000",
            component_name: "코스피200 F, 근월",
            quantity: Decimal::parse(b"-3.58"),
            value: None,
            weight: Decimal::parse(b"-99.50"),
        }
        .write(&mut out);
        let written = "252670,2026-01-02,KR4101R60000,KR4101R60000,\"코스피200 F, 근월\",-3.58,,-99.5";
        assert_eq!(String::from_utf8(out).unwrap(), written);
    }
}
