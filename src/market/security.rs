//! Markets and kinds of securities.

use std::fmt;

use chrono::NaiveDate;

use super::ymd;

/// A market of KRX. KOSDAQ GLOBAL is a segment of KOSDAQ, not a market.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Market {
    Kospi,
    Kosdaq,
    Konex,
}

impl Market {
    /// All markets, in the order in which they are printed.
    pub const ALL: [Self; 3] = [Self::Kospi, Self::Kosdaq, Self::Konex];

    /// The name in streams and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kospi => "KOSPI",
            Self::Kosdaq => "KOSDAQ",
            Self::Konex => "KONEX",
        }
    }

    /// Was the market there on a session? KONEX opened on 2013-07-01; the others are older than all data.
    pub fn is_open_on(self, session: NaiveDate) -> bool {
        self != Self::Konex || session >= ymd(2013, 7, 1)
    }

    /// Reads the name as written in streams and tables.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"KOSPI" => Some(Self::Kospi),
            b"KOSDAQ" => Some(Self::Kosdaq),
            b"KONEX" => Some(Self::Konex),
            _ => None,
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What kind of security a code is. Tick sizes and price limits depend on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum SecurityType {
    /// Common shares, also of foreign issuers, depositary receipts and listed infrastructure funds.
    Stock,
    Preferred,
    Reit,
    Spac,
    Etf,
    Etn,
}

impl SecurityType {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Stock, Self::Preferred, Self::Reit, Self::Spac, Self::Etf, Self::Etn];

    /// The name in streams and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "STOCK",
            Self::Preferred => "PREFERRED",
            Self::Reit => "REIT",
            Self::Spac => "SPAC",
            Self::Etf => "ETF",
            Self::Etn => "ETN",
        }
    }

    /// Reads the name as written in streams and tables.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"STOCK" => Some(Self::Stock),
            b"PREFERRED" => Some(Self::Preferred),
            b"REIT" => Some(Self::Reit),
            b"SPAC" => Some(Self::Spac),
            b"ETF" => Some(Self::Etf),
            b"ETN" => Some(Self::Etn),
            _ => None,
        }
    }

    /// Exchange traded products have tick sizes and limits of their own.
    pub fn is_exchange_traded_product(self) -> bool {
        matches!(self, Self::Etf | Self::Etn)
    }

    /// The kind of a share as the exchange's masters name it: the group of securities (주권, 부동산투자회사, …) and the
    /// kind of share (보통주, 구형우선주, 신형우선주, 종류주권 or just 우선주). What they leave open is told by code and name.
    pub fn of_master(
        code: crate::market::StockCode,
        name: &str,
        market: Market,
        group: &str,
        kind: &str,
    ) -> Self {
        if group.contains("부동산투자회사") {
            Self::Reit
        } else if kind.contains("우선주") || kind.contains("종류주권") {
            Self::Preferred
        } else {
            match Self::of_share(code, name, market) {
                // The master says that it is a common share, and no REIT.
                Self::Preferred if kind.contains("보통주") => Self::Stock,
                Self::Reit if !group.is_empty() => Self::Stock,
                kind => kind,
            }
        }
    }

    /// The kind of a share by its code and Korean name, for sources that do not say it.
    ///
    /// Common shares end in `0`, preferred ones in 5, 7, 9, K, L or M; 1 to 4 are new shares of a common class (신주),
    /// listed on their own until they had the same rights, as was done up to the 2000s. A SPAC says 스팩 or 기업인수목적.
    /// A REIT says 리츠 and is listed on KOSPI; 메리츠 and 블리츠 are other words.
    pub fn of_share(code: crate::market::StockCode, name: &str, market: Market) -> Self {
        if !(b'0'..=b'4').contains(&code.as_bytes()[5]) {
            Self::Preferred
        } else if name.contains("스팩") || name.contains("기업인수목적") {
            Self::Spac
        } else if market == Market::Kospi && says_reit(name) {
            Self::Reit
        } else {
            Self::Stock
        }
    }
}

fn says_reit(name: &str) -> bool {
    name.match_indices("리츠").any(|(at, _)| !name[..at].ends_with(['메', '블']))
}

impl fmt::Display for SecurityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::StockCode;

    #[test]
    fn names_read_back() {
        assert!(Market::ALL.into_iter().all(|m| Market::parse(m.as_str().as_bytes()) == Some(m)));
        assert!(SecurityType::ALL.into_iter().all(|t| SecurityType::parse(t.as_str().as_bytes()) == Some(t)));
    }

    #[test]
    fn kinds_of_shares() {
        for (code, name, market, kind) in [
            ("005930", "삼성전자", Market::Kospi, SecurityType::Stock),
            ("005935", "삼성전자우", Market::Kospi, SecurityType::Preferred),
            ("00680K", "미래에셋증권2우B", Market::Kospi, SecurityType::Preferred),
            ("115960", "연우", Market::Kosdaq, SecurityType::Stock),
            ("026261", "M플러스텍1신", Market::Kosdaq, SecurityType::Stock),
            ("02313A", "국민은행(4우B)", Market::Kospi, SecurityType::Preferred),
            ("138040", "메리츠금융지주", Market::Kospi, SecurityType::Stock),
            ("0088D0", "메리츠제1호스팩", Market::Kosdaq, SecurityType::Spac),
            ("088260", "이리츠코크렙", Market::Kospi, SecurityType::Reit),
            ("395400", "SK리츠", Market::Kospi, SecurityType::Reit),
            ("369370", "블리츠웨이", Market::Kosdaq, SecurityType::Stock),
        ] {
            let code = StockCode::parse(code.as_bytes()).unwrap();
            assert_eq!(SecurityType::of_share(code, name, market), kind, "{name}");
        }
    }
}
