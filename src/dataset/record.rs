//! Typed records: how a row is read from its fields, and what the rules may know while judging it.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::rule::{Finding, GroupRule, RowRule, Rule, Severity};
use crate::market::{Calendar, Decimal, IndexCode, Investor, Isin, Market, SecurityType, StockCode};

/// The fields of one row, unquoted; borrowed from the reader's buffers.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    text: &'a [u8],
    spans: &'a [(usize, usize)],
}

/// A field that does not read as its column's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// The column's position; the number of columns when the row has another number of fields.
    pub column: usize,
    /// What was expected.
    pub expected: &'static str,
}

type Read<T> = std::result::Result<T, Malformed>;

impl<'a> Fields<'a> {
    /// Fields by the text that holds them and where each begins and ends in it.
    pub fn new(text: &'a [u8], spans: &'a [(usize, usize)]) -> Self {
        Self { text, spans }
    }

    /// How many fields the row has.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Is it a row without fields?
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// A field's bytes.
    pub fn get(&self, column: usize) -> &'a [u8] {
        let (start, end) = self.spans[column];
        &self.text[start..end]
    }

    /// A stock code.
    pub fn code(&self, column: usize) -> Read<StockCode> {
        StockCode::parse(self.get(column))
            .ok_or(Malformed { column, expected: "a code of six characters [0-9A-Z]" })
    }

    /// An index code.
    pub fn index_code(&self, column: usize) -> Read<IndexCode> {
        IndexCode::parse(self.get(column))
            .ok_or(Malformed { column, expected: "an index code of four characters [0-9A-Z]" })
    }

    /// A kind of investor.
    pub fn investor(&self, column: usize) -> Read<Investor> {
        Investor::parse(self.get(column)).ok_or(Malformed {
            column,
            expected: "FOREIGN, INSTITUTION, OTHER_CORPORATION, PENSION or RETAIL",
        })
    }

    /// An ISIN with a right check digit, or absent.
    pub fn isin(&self, column: usize) -> Read<Option<Isin>> {
        self.optional(column, Isin::parse, "an ISIN with a right check digit")
    }

    /// A market.
    pub fn market(&self, column: usize) -> Read<Market> {
        Market::parse(self.get(column)).ok_or(Malformed { column, expected: "KOSPI, KOSDAQ or KONEX" })
    }

    /// A kind of security.
    pub fn security_type(&self, column: usize) -> Read<SecurityType> {
        SecurityType::parse(self.get(column))
            .ok_or(Malformed { column, expected: "STOCK, PREFERRED, REIT, SPAC, ETF or ETN" })
    }

    /// A date, or absent.
    pub fn date(&self, column: usize) -> Read<Option<NaiveDate>> {
        self.optional(column, parse_date, "a date YYYY-MM-DD")
    }

    /// A minute in Seoul, or absent.
    pub fn minute(&self, column: usize) -> Read<Option<NaiveDateTime>> {
        self.optional(column, parse_minute, "a minute YYYY-MM-DDTHH:MM:00+09:00")
    }

    /// A decimal number, or absent.
    pub fn decimal(&self, column: usize) -> Read<Option<Decimal>> {
        self.optional(column, Decimal::parse, "a decimal number of at most 18 digits")
    }

    /// A whole number, or absent. Negative ones read, so that a rule can name them.
    pub fn number(&self, column: usize) -> Read<Option<i64>> {
        self.optional(column, parse_int, "a whole number")
    }

    /// A number of the size of a price (it fits an `integer` column), or absent.
    pub fn price(&self, column: usize) -> Read<Option<i64>> {
        let fits = |bytes: &[u8]| parse_int(bytes).filter(|n| i32::try_from(*n).is_ok());
        self.optional(column, fits, "a whole number of at most 2147483647")
    }

    /// UTF-8 text; absent is empty.
    pub fn text(&self, column: usize) -> Read<&'a str> {
        std::str::from_utf8(self.get(column)).map_err(|_| Malformed { column, expected: "UTF-8 text" })
    }

    /// `t` or `f`.
    pub fn flag(&self, column: usize) -> Read<bool> {
        match self.get(column) {
            b"t" => Ok(true),
            b"f" => Ok(false),
            _ => Err(Malformed { column, expected: "t or f" }),
        }
    }

    fn optional<T>(
        &self,
        column: usize,
        read: impl Fn(&[u8]) -> Option<T>,
        expected: &'static str,
    ) -> Read<Option<T>> {
        match self.get(column) {
            [] => Ok(None),
            bytes => read(bytes).map(Some).ok_or(Malformed { column, expected }),
        }
    }
}

/// Finds where the fields of a row begin and end; false when it has quotes and must be unquoted instead. One plain
/// pass: fields are too short for a vectorised search to pay.
pub fn split(row: &[u8], spans: &mut Vec<(usize, usize)>) -> bool {
    spans.clear();
    let mut start = 0;
    for (at, byte) in row.iter().enumerate() {
        match byte {
            b',' => {
                spans.push((start, at));
                start = at + 1;
            }
            b'"' => return false,
            _ => {}
        }
    }
    spans.push((start, row.len()));
    true
}

/// Splits a row that has quoted fields: the spans are those of `text`. None where it does not read.
pub fn unquote(row: &[u8], text: &mut Vec<u8>, spans: &mut Vec<(usize, usize)>) {
    let mut ends = vec![0; row.len() + 1];
    // One byte more than needed: an unquoted text of length 0 would be taken for the row itself.
    text.resize(row.len() + 1, 0);
    let mut reader = csv_core::Reader::new();
    let (result, read, written, count) = reader.read_record(row, text, &mut ends);
    spans.clear();
    // A carriage return ends the record for the reader, and leaves a rest that is nothing: no row at all.
    if result != csv_core::ReadRecordResult::InputEmpty || read < row.len() {
        return;
    }
    let (_, _, _, last) = reader.read_record(&[], &mut text[written..], &mut ends[count..]);
    let mut start = 0;
    for end in &ends[..count + last] {
        spans.push((start, *end));
        start = *end;
    }
}

/// Insists on a value.
pub fn required<T>(value: Option<T>, column: usize) -> Read<T> {
    value.ok_or(Malformed { column, expected: "a value" })
}

/// Reads `YYYY-MM-DD`, nothing else.
pub fn parse_date(bytes: &[u8]) -> Option<NaiveDate> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
    };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)
}

/// Reads `YYYY-MM-DDTHH:MM:00+09:00`, nothing else: a whole minute in Seoul.
pub fn parse_minute(bytes: &[u8]) -> Option<NaiveDateTime> {
    let (date, time) = bytes.split_at_checked(SESSION_WIDTH)?;
    let [b'T', h1, h2, b':', m1, m2, b':', b'0', b'0', b'+', b'0', b'9', b':', b'0', b'0'] = *time else {
        return None;
    };
    let pair = |a: u8, b: u8| {
        (a.is_ascii_digit() && b.is_ascii_digit()).then(|| u32::from(a - b'0') * 10 + u32::from(b - b'0'))
    };
    Some(parse_date(date)?.and_time(NaiveTime::from_hms_opt(pair(h1, h2)?, pair(m1, m2)?, 0)?))
}

/// How many bytes of a time name its session: times are Seoul's, so a minute begins with its date.
const SESSION_WIDTH: usize = 10;

/// The part of a time that names its session: a date itself, the date of a minute.
pub fn session_of(time: &[u8]) -> &[u8] {
    time.get(..SESSION_WIDTH).unwrap_or(time)
}

/// Reads a whole number with an optional minus sign; at most 18 digits, so that sums of two fit.
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

/// What the rules may know besides the row: the stream's preamble, the calendar and the clock.
pub struct Facts<'a> {
    /// The trading calendar.
    pub calendar: &'a Calendar,
    /// The date in Seoul.
    pub today: NaiveDate,
    /// The range that the stream claims.
    pub range: (NaiveDate, NaiveDate),
    /// The unit to which the source rounds traded values, in KRW: the tolerance of rules about value.
    pub value_unit: i64,
}

/// A typed record of a dataset.
pub trait Record: Sized + 'static {
    /// The rules about one row.
    const RULES: &'static [RowRule<Self>];
    /// The rules about the rows of one group; datasets that have some name the group.
    const GROUP_RULES: &'static [GroupRule<Self>] = &[];

    /// Reads the record; the number of fields is right already.
    fn read(fields: &Fields) -> Read<Self>;
}

/// [`check`] of some record.
pub type Check = fn(&Fields, &Facts, &mut Vec<Finding>) -> Read<()>;

/// Reads one row and adds what it breaks to the findings, up to the first reject.
pub fn check<R: Record>(fields: &Fields, facts: &Facts, findings: &mut Vec<Finding>) -> Read<()> {
    let record = R::read(fields)?;
    for rule in R::RULES {
        if let Some(severity) = (rule.test)(&record, facts) {
            findings.push(Finding { rule: &rule.rule, severity });
            if severity >= Severity::Reject {
                break;
            }
        }
    }
    Ok(())
}

/// [`check_group`] of some record.
pub type CheckGroup = fn(&[Fields], &Facts, &mut Vec<Finding>);

/// Adds what the rows of a group break together to the findings, up to the first reject. The rows are good ones.
pub fn check_group<R: Record>(rows: &[Fields], facts: &Facts, findings: &mut Vec<Finding>) {
    let records: Vec<R> = rows.iter().filter_map(|row| R::read(row).ok()).collect();
    for rule in R::GROUP_RULES {
        if let Some(severity) = (rule.test)(&records, facts) {
            findings.push(Finding { rule: &rule.rule, severity });
            if severity >= Severity::Reject {
                break;
            }
        }
    }
}

/// The rules of a record, without their tests.
pub fn rules_of<R: Record>() -> Vec<&'static Rule> {
    R::RULES.iter().map(|r| &r.rule).chain(R::GROUP_RULES.iter().map(|r| &r.rule)).collect()
}

/// Two digits.
fn pair(n: u32) -> [u8; 2] {
    [b'0' + u8::try_from(n / 10).unwrap_or(0), b'0' + u8::try_from(n % 10).unwrap_or(0)]
}

/// Appends a field and the separator before it.
pub struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    begun: bool,
}

impl<'a> RowWriter<'a> {
    /// Begins a row at the end of a buffer.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, begun: false }
    }

    fn separate(&mut self) {
        if self.begun {
            self.out.push(b',');
        }
        self.begun = true;
    }

    /// Bytes that need no quotes: codes, names of markets.
    pub fn plain(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(bytes);
        self
    }

    /// Text, quoted where CSV asks for it.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        if text.bytes().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n')) || text.starts_with('#') {
            self.out.push(b'"');
            for byte in text.bytes() {
                match byte {
                    b'"' => self.out.extend_from_slice(b"\"\""),
                    // A field holds no line end: the stream is read line by line.
                    b'\r' | b'\n' => self.out.push(b' '),
                    _ => self.out.push(byte),
                }
            }
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(text.as_bytes());
        }
        self
    }

    /// A whole number.
    pub fn number(&mut self, value: i64) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self
    }

    /// A whole number, or nothing.
    pub fn optional(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.number(value),
            None => self.plain(b""),
        }
    }

    /// A decimal number, or nothing.
    pub fn decimal(&mut self, value: Option<Decimal>) -> &mut Self {
        self.separate();
        if let Some(value) = value {
            use std::io::Write as _;
            write!(self.out, "{value}").expect("memory takes all");
        }
        self
    }

    /// A date as `YYYY-MM-DD`.
    pub fn date(&mut self, date: NaiveDate) -> &mut Self {
        self.separate();
        let year = date.year().unsigned_abs();
        for part in
            [&pair(year / 100)[..], &pair(year % 100), b"-", &pair(date.month()), b"-", &pair(date.day())]
        {
            self.out.extend_from_slice(part);
        }
        self
    }

    /// A minute in Seoul as `YYYY-MM-DDTHH:MM:00+09:00`.
    pub fn minute(&mut self, minute: NaiveDateTime) -> &mut Self {
        self.date(minute.date());
        for part in [b"T", &pair(minute.hour())[..], b":", &pair(minute.minute()), b":00+09:00"] {
            self.out.extend_from_slice(part);
        }
        self
    }
}

/// What rows without quotes break together, for the datasets' own tests.
#[cfg(test)]
pub(super) fn judge_group<R: Record>(rows: &[&str], value_unit: i64) -> Vec<(&'static str, Severity)> {
    use crate::market::ymd;
    let spans: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut spans = Vec::new();
            split(row.as_bytes(), &mut spans);
            spans
        })
        .collect();
    let fields: Vec<_> = rows.iter().zip(&spans).map(|(r, spans)| Fields::new(r.as_bytes(), spans)).collect();
    let (calendar, range) = (Calendar::shipped(), (ymd(1995, 1, 1), ymd(2026, 12, 31)));
    let facts = Facts { calendar: &calendar, today: ymd(2026, 11, 23), range, value_unit };
    let mut findings = Vec::new();
    check_group::<R>(&fields, &facts, &mut findings);
    findings.iter().map(|f| (f.rule.name, f.severity)).collect()
}

/// What a row without quotes breaks, for the datasets' own tests.
#[cfg(test)]
pub(super) fn judge<R: Record>(row: &str, value_unit: i64) -> Read<Vec<(&'static str, Severity)>> {
    use crate::market::ymd;
    let mut spans = Vec::new();
    assert!(split(row.as_bytes(), &mut spans), "a row without quotes");
    let (calendar, range) = (Calendar::shipped(), (ymd(1995, 1, 1), ymd(2026, 12, 31)));
    let facts = Facts { calendar: &calendar, today: ymd(2026, 11, 23), range, value_unit };
    let mut findings = Vec::new();
    check::<R>(&Fields::new(row.as_bytes(), &spans), &facts, &mut findings)?;
    Ok(findings.iter().map(|f| (f.rule.name, f.severity)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn numbers() {
        for (text, value) in
            [("0", Some(0)), ("-5", Some(-5)), ("123456789012345678", Some(123_456_789_012_345_678))]
        {
            assert_eq!(parse_int(text.as_bytes()), value);
        }
        for bad in ["", "-", "+5", "1.0", "1e3", "NaN", "inf", " 1", "1,000", "1234567890123456789", "１"] {
            assert_eq!(parse_int(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(parse_date(b"2024-02-29"), Some(ymd(2024, 2, 29)));
        for bad in ["2023-02-29", "2024-2-29", "20240229", "2024-02-29 00:00:00", ""] {
            assert_eq!(parse_date(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn minutes() {
        let minute = ymd(2026, 1, 2).and_hms_opt(9, 30, 0);
        assert_eq!(parse_minute(b"2026-01-02T09:30:00+09:00"), minute);
        let mut out = Vec::new();
        RowWriter::new(&mut out).minute(minute.unwrap());
        assert_eq!(out, b"2026-01-02T09:30:00+09:00");
        assert_eq!(session_of(&out), b"2026-01-02");
        assert_eq!(session_of(b"2026"), b"2026");
        for bad in [
            "2026-01-02",
            "2026-01-02T09:30:00",
            "2026-01-02 09:30:00+09:00",
            "2026-01-02T09:30:01+09:00",
            "2026-01-02T00:30:00+00:00",
            "2026-01-02T24:00:00+09:00",
            "2026-02-30T09:30:00+09:00",
            "2026-01-02T09:30:00+09:00 ",
        ] {
            assert_eq!(parse_minute(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn rows_are_quoted_where_needed() {
        let mut out = Vec::new();
        RowWriter::new(&mut out)
            .plain(b"005930")
            .date(ymd(2026, 1, 2))
            .text("a,\"b\"\nc")
            .text("#x")
            .optional(None)
            .number(-7);
        assert_eq!(out, b"005930,2026-01-02,\"a,\"\"b\"\" c\",\"#x\",,-7");
    }
}
