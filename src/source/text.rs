//! Vendors' values are texts: thousands separators, signs, padding, blanks. Read exactly; a blank stays blank.

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::market::Decimal;

/// A value of an answer as text, whether the vendor wrote a text, a number or null.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Cell(String);

impl std::ops::Deref for Cell {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(from)? {
            Value::Null => String::new(),
            Value::String(text) => text,
            // What is no value at all does not read as one later, and then shows as it came.
            other => other.to_string(),
        }))
    }
}

/// A value that does not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Odd {
    /// The vendor's name of the field.
    pub field: &'static str,
    /// What stands in it.
    pub text: String,
    /// What was expected.
    pub expected: &'static str,
}

impl std::fmt::Display for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {:?}: expected {}", self.field, self.text, self.expected)
    }
}

type Read<T> = std::result::Result<T, Odd>;

/// A whole number; `""` and `-` are absent. `+5`, `1,234`, `--714` (minus), `0000006060` and `8,140.00` read.
pub fn whole(field: &'static str, text: &str) -> Read<Option<i64>> {
    let odd = || Odd { field, text: text.to_owned(), expected: "a whole number" };
    let Some((negative, digits)) = split_sign(text) else { return Ok(None) };
    // Decimals are allowed where they say nothing.
    let digits = match digits.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|b| b == b'0') => whole,
        Some(_) => return Err(odd()),
        None => digits,
    };
    let mut value = 0i64;
    let mut any = false;
    for byte in digits.bytes().filter(|b| *b != b',') {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0')).ok_or_else(odd)?;
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or_else(odd)?;
        any = true;
    }
    if any { Ok(Some(if negative { -value } else { value })) } else { Err(odd()) }
}

/// A whole number that must be there.
pub fn required(field: &'static str, text: &str) -> Read<i64> {
    whole(field, text)?.ok_or_else(|| Odd { field, text: text.to_owned(), expected: "a number" })
}

/// A decimal number; signs, separators and blanks as in whole ones.
pub fn decimal(field: &'static str, text: &str) -> Read<Option<Decimal>> {
    let Some((negative, digits)) = split_sign(text) else { return Ok(None) };
    let plain: String =
        negative.then_some('-').into_iter().chain(digits.chars().filter(|c| *c != ',')).collect();
    let read = Decimal::parse(plain.as_bytes());
    read.map(Some).ok_or_else(|| Odd { field, text: text.to_owned(), expected: "a decimal number" })
}

/// A price whose sign is that of the change: the sign is dropped.
pub fn unsigned(field: &'static str, text: &str) -> Read<Option<i64>> {
    Ok(whole(field, text)?.map(i64::abs))
}

/// Text without the blanks around it; absent when nothing is left, or only a dash.
pub fn filled(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && *text != "-")
}

/// A date: `20260102`, `2026/01/02`, `2026-01-02` or `2026.01.02`; blanks and `00000000` are absent.
pub fn date(field: &'static str, text: &str) -> Read<Option<NaiveDate>> {
    let Some(filled) = filled(text) else { return Ok(None) };
    let digits: String = filled.chars().filter(char::is_ascii_digit).collect();
    if digits == "00000000" {
        return Ok(None);
    }
    let separators = filled.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let plain = digits.len() == 8 && matches!(separators.as_str(), "" | "//" | "--" | "..");
    let read = plain.then(|| NaiveDate::parse_from_str(&digits, "%Y%m%d").ok()).flatten();
    read.map(Some).ok_or_else(|| Odd { field, text: text.to_owned(), expected: "a date" })
}

/// A date as vendors want it in a question: `20260102`.
pub fn compact(date: NaiveDate) -> String {
    date.format("%Y%m%d").to_string()
}

fn split_sign(text: &str) -> Option<(bool, &str)> {
    let mut rest = filled(text)?;
    let mut negative = false;
    while let Some(after) = rest.strip_prefix('-') {
        (negative, rest) = (true, after);
    }
    rest = rest.strip_prefix('+').unwrap_or(rest);
    Some((negative, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn numbers() {
        for (text, value) in [
            ("1,234,567", Some(1_234_567)),
            ("-562,644,916,900", Some(-562_644_916_900)),
            ("--714", Some(-714)),
            ("+0", Some(0)),
            ("-00000029", Some(-29)),
            ("0000006060", Some(6060)),
            ("8,140.00", Some(8_140)),
            (" 75 ", Some(75)),
            ("", None),
            ("-", None),
            ("   ", None),
        ] {
            assert_eq!(whole("n", text).unwrap(), value, "{text}");
        }
        for bad in ["1.5", "abc", "1e3", ",", "99999999999999999999", "5-", "+-"] {
            assert!(whole("n", bad).is_err(), "{bad}");
        }
        assert_eq!(unsigned("n", "-78800").unwrap(), Some(78_800));
        assert!(required("n", "-").is_err());
        for (text, value) in [("+1,234.50", "1234.5"), ("--0.75", "-0.75"), ("8140", "8140")] {
            assert_eq!(decimal("n", text).unwrap(), Decimal::parse(value.as_bytes()), "{text}");
        }
        assert_eq!(decimal("n", " - ").unwrap(), None);
        assert!(decimal("n", "1.2.3").is_err() && decimal("n", "5%").is_err());
    }

    #[test]
    fn cells() {
        let cells: Vec<Cell> =
            serde_json::from_str(r#"["0126Z0", 5900, -1.5, 20260102, null, [1]]"#).unwrap();
        let texts: Vec<&str> = cells.iter().map(|cell| &**cell).collect();
        assert_eq!(texts, ["0126Z0", "5900", "-1.5", "20260102", "", "[1]"]);
        assert!(whole("n", &cells[5]).is_err());
    }

    #[test]
    fn dates() {
        for text in ["20260102", "2026/01/02", "2026-01-02", " 2026.01.02 "] {
            assert_eq!(date("d", text).unwrap(), Some(ymd(2026, 1, 2)), "{text}");
        }
        assert_eq!(date("d", "").unwrap(), None);
        assert_eq!(date("d", "00000000").unwrap(), None);
        for bad in ["20261301", "2026-1-2", "2026/01-02", "26/01/02"] {
            assert!(date("d", bad).is_err(), "{bad}");
        }
        assert_eq!(compact(ymd(2026, 1, 2)), "20260102");
    }
}
