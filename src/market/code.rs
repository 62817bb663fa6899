//! Stock codes, index codes and ISINs.

use std::fmt;

/// A KRX short code: six characters `[0-9A-Z]`, e.g. `005930`. Letters occur in preferred shares
/// (`00680K`) and, since 2024, in new codes (`0126Z0`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StockCode([u8; 6]);

impl StockCode {
    /// Reads a code. Lower case, blanks and other lengths are refused: a lost leading zero must show.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let code: [u8; 6] = bytes.try_into().ok()?;
        code.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The six characters.
    pub fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }

    /// The six characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a code is ASCII")
    }
}

impl fmt::Display for StockCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for StockCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An index of KRX: four characters `[0-9A-Z]`, the group and the number within it joined. `1028` is KOSPI 200,
/// `2203` KOSDAQ 150, `1001` KOSPI, `2001` KOSDAQ, `5300` KRX 300.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexCode([u8; 4]);

impl IndexCode {
    /// KOSPI 200.
    pub const KOSPI_200: Self = Self(*b"1028");
    /// KOSDAQ 150.
    pub const KOSDAQ_150: Self = Self(*b"2203");

    /// Reads a code.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let code: [u8; 4] = bytes.try_into().ok()?;
        code.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The four characters.
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// The four characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a code is ASCII")
    }
}

impl fmt::Display for IndexCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for IndexCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An ISIN (ISO 6166): two letters, nine characters, a check digit. Foreign issuers listed in Korea keep
/// their own, and old preferred shares do not embed their short code, so a code never follows from an ISIN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isin([u8; 12]);

impl Isin {
    /// Reads an ISIN and checks its last digit.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let isin: [u8; 12] = bytes.try_into().ok()?;
        let form = isin[..2].iter().all(u8::is_ascii_uppercase)
            && isin[2..11].iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            && isin[11].is_ascii_digit();
        (form && check_digit(&isin[..11]) == isin[11] - b'0').then_some(Self(isin))
    }

    /// The ISIN of an ETF: `KR7`, the code, `00` and the check digit. So for all 1,066 ETFs of a recorded master; with
    /// shares it does not hold.
    pub fn of_fund(code: StockCode) -> Self {
        let mut isin = *b"KR7000000000";
        isin[3..9].copy_from_slice(code.as_bytes());
        isin[11] = b'0' + check_digit(&isin[..11]);
        Self(isin)
    }

    /// The twelve characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an ISIN is ASCII")
    }
}

impl fmt::Display for Isin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Isin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The Luhn digit over the characters with letters written as 10..35: from the right, every second digit
/// is doubled, beginning with the rightmost.
fn check_digit(body: &[u8]) -> u8 {
    let mut sum = 0u32;
    let mut double = true;
    let mut add = |digit: u32| {
        let value = if double { digit * 2 } else { digit };
        sum += value / 10 + value % 10;
        double = !double;
    };
    for &byte in body.iter().rev() {
        if byte.is_ascii_digit() {
            add(u32::from(byte - b'0'));
        } else {
            let value = u32::from(byte - b'A') + 10;
            add(value % 10);
            add(value / 10);
        }
    }
    u8::try_from((10 - sum % 10) % 10).expect("a digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for good in ["005930", "0126Z0", "00680K", "33626L", "900140"] {
            assert_eq!(StockCode::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["5930", "0126z0", "", "005930 ", "0059,0", "００5930", "A005930"] {
            assert!(StockCode::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn index_codes() {
        assert_eq!(IndexCode::parse(b"1028"), Some(IndexCode::KOSPI_200));
        assert_eq!(IndexCode::KOSDAQ_150.as_str(), "2203");
        for bad in ["028", "1/028", "", "KOSPI"] {
            assert!(IndexCode::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn isins() {
        for good in
            ["KR7005930003", "KR70126Z0002", "KR7008351009", "KR708537K039", "KR70069M0006", "US0378331005"]
        {
            assert_eq!(Isin::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        for (code, isin) in [("152100", "KR7152100004"), ("0069M0", "KR70069M0006")] {
            assert_eq!(Isin::of_fund(StockCode::parse(code.as_bytes()).unwrap()).as_str(), isin);
        }
        for bad in ["KR7005930004", "KR7005930", "kr7005930003", "KR700593000A", ""] {
            assert!(Isin::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
