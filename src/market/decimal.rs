//! Decimal numbers without rounding: weights, ratios, quantities.

use std::cmp::Ordering;
use std::fmt;

/// The most digits that a number may have, so that any two compare within 128 bits.
const MOST_DIGITS: usize = 18;

/// A decimal number as its source wrote it: digits and the place of the point. `12.30` and `12.3` are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Without trailing zeros behind the point.
    digits: i64,
    scale: u8,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self { digits: 0, scale: 0 };

    /// `digits` x 10^-`scale`, e.g. (-358, 2) is -3.58.
    ///
    /// # Panics
    /// When the number has more than 18 digits: parse what comes from outside.
    pub fn new(digits: i64, scale: u8) -> Self {
        assert!(
            digits.unsigned_abs() < 10u64.pow(18) && usize::from(scale) <= MOST_DIGITS,
            "too many digits"
        );
        let (mut digits, mut scale) = (digits, scale);
        while scale > 0 && digits % 10 == 0 {
            (digits, scale) = (digits / 10, scale - 1);
        }
        Self { digits, scale }
    }

    /// Reads `12`, `-3.58` or `.5`: at most 18 digits, no exponent, plus sign, blank or thousands separator.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (negative, number) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (whole, part) = match number.iter().position(|b| *b == b'.') {
            Some(at) if at + 1 < number.len() => (&number[..at], &number[at + 1..]),
            Some(_) => return None,
            None if number.is_empty() => return None,
            None => (number, &b""[..]),
        };
        let part = &part[..part.iter().rposition(|b| *b != b'0').map_or(0, |at| at + 1)];
        let whole = &whole[whole.iter().position(|b| *b != b'0').unwrap_or(whole.len())..];
        if whole.len() + part.len() > MOST_DIGITS {
            return None;
        }
        let mut digits = 0i64;
        for byte in whole.iter().chain(part) {
            if !byte.is_ascii_digit() {
                return None;
            }
            digits = digits * 10 + i64::from(byte - b'0');
        }
        Some(Self { digits: if negative { -digits } else { digits }, scale: u8::try_from(part.len()).ok()? })
    }

    /// The number times 10^`scale`; what is finer is cut off.
    pub fn at_scale(self, scale: u8) -> i128 {
        let digits = i128::from(self.digits);
        match scale.checked_sub(self.scale) {
            Some(more) => digits * 10i128.pow(u32::from(more.min(18))),
            None => digits / 10i128.pow(u32::from(self.scale - scale)),
        }
    }

    /// Is it below zero?
    pub fn is_negative(self) -> bool {
        self.digits < 0
    }
}

impl From<i32> for Decimal {
    fn from(whole: i32) -> Self {
        Self { digits: i64::from(whole), scale: 0 }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.at_scale(scale).cmp(&other.at_scale(scale))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let power = 10u64.pow(u32::from(self.scale));
        let digits = self.digits.unsigned_abs();
        write!(f, "{sign}{}", digits / power)?;
        if self.scale > 0 {
            write!(f, ".{:0width$}", digits % power, width = usize::from(self.scale))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Decimal> {
        Decimal::parse(text.as_bytes())
    }

    #[test]
    fn reads_and_writes() {
        for (text, written) in [
            ("0", "0"),
            ("12", "12"),
            ("32.65", "32.65"),
            ("-3.58", "-3.58"),
            ("-0.05", "-0.05"),
            (".5", "0.5"),
            ("0012.300", "12.3"),
            ("100.00", "100"),
            ("-0.0", "0"),
            ("999999999999999999", "999999999999999999"),
            ("0.000000000000000001", "0.000000000000000001"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), written, "{text}");
        }
        for bad in [
            "",
            "-",
            ".",
            "5.",
            "1e3",
            "+1",
            " 1",
            "1,000",
            "NaN",
            "1.2.3",
            "--1",
            "1-",
            "1000000000000000000",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(Decimal::new(-3580, 3), parse("-3.58").unwrap());
    }

    #[test]
    fn compares_by_value() {
        let sorted =
            ["-12.5", "-12.49", "-1", "0", "0.000000000000000001", "0.5", "12", "999999999999999999"];
        for pair in sorted.windows(2) {
            assert!(parse(pair[0]) < parse(pair[1]), "{pair:?}");
        }
        assert_eq!(parse("1.50"), parse("1.5"));
        assert_eq!(parse("32.65").unwrap().at_scale(4), 326_500);
        assert_eq!(parse("-32.659").unwrap().at_scale(1), -326);
    }
}
