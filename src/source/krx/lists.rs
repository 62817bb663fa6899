//! The rows of the three lists of names: listed shares, listed ETFs, delisted names.

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize};

use super::super::quote::{kind_of, market_of};
use super::super::text::{self, Odd};
use super::portal::Row;
use super::{Read, code_of};
use crate::dataset::stocks::Stock;
use crate::market::{Isin, Market, SecurityType};

/// A listed share.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Share {
    isu_cd: String,
    isu_srt_cd: String,
    isu_abbrv: String,
    isu_eng_nm: String,
    list_dd: String,
    mkt_tp_nm: String,
    secugrp_nm: String,
    sect_tp_nm: String,
    kind_stkcert_tp_nm: String,
    parval: String,
    list_shrs: String,
}

/// A listed ETF.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct Fund {
    isu_cd: String,
    isu_srt_cd: String,
    isu_abbrv: String,
    isu_eng_nm: String,
    list_dd: String,
    list_shrs: String,
}

/// A name that was delisted; when, it does not say.
#[derive(Serialize, Deserialize)]
pub(super) struct Gone {
    full_code: String,
    short_code: String,
    #[serde(rename = "codeName", deserialize_with = "without_tags")]
    name: String,
    #[serde(rename = "marketCode")]
    market: String,
}

impl Row for Share {}
impl Row for Fund {}
impl Row for Gone {}

/// Older answers marked what was searched for with tags.
fn without_tags<'de, D: Deserializer<'de>>(text: D) -> std::result::Result<String, D::Error> {
    let mut name = String::deserialize(text)?;
    while let Some((from, to)) = ["<em", "</em"]
        .iter()
        .find_map(|tag| name.find(tag))
        .and_then(|from| Some((from, from + name[from..].find('>')?)))
    {
        name.replace_range(from..=to, "");
    }
    Ok(name)
}

/// A row that becomes one of the master.
pub(super) trait Listed: Row + Serialize {
    /// The screen of the list, and what is on it.
    const LIST: (&'static str, &'static str);

    /// Is it a name that the master holds?
    fn is_in_scope(&self) -> bool {
        true
    }

    fn stock(&self, time: NaiveDate) -> Read<Stock<'_>>;
}

impl Listed for Share {
    const LIST: (&'static str, &'static str) = ("MDCSTAT01901", "the list of shares");

    fn stock(&self, time: NaiveDate) -> Read<Stock<'_>> {
        let (code, name) = (code_of("ISU_SRT_CD", &self.isu_srt_cd)?, self.isu_abbrv.trim());
        let (market, is_global) = market_of(self.mkt_tp_nm.trim().as_bytes()).ok_or_else(|| Odd {
            field: "MKT_TP_NM",
            text: self.mkt_tp_nm.clone(),
            expected: "a market",
        })?;
        let kind = match kind_of(code, name, market, self.sect_tp_nm.trim()) {
            SecurityType::Spac => SecurityType::Spac,
            _ => SecurityType::of_master(code, name, market, &self.secugrp_nm, &self.kind_stkcert_tp_nm),
        };
        Ok(Stock {
            code,
            time,
            isin: isin_of("ISU_CD", &self.isu_cd)?,
            name,
            name_en: self.isu_eng_nm.trim(),
            market,
            segment: if is_global { "KOSDAQ GLOBAL" } else { "" },
            kind,
            listing_date: text::date("LIST_DD", &self.list_dd)?,
            delisting_date: None,
            is_active: true,
            par_value: par_value(&self.parval)?,
            listed_shares: text::whole("LIST_SHRS", &self.list_shrs)?,
        })
    }
}

impl Listed for Fund {
    const LIST: (&'static str, &'static str) = ("MDCSTAT04601", "the list of ETFs");

    fn stock(&self, time: NaiveDate) -> Read<Stock<'_>> {
        Ok(Stock {
            code: code_of("ISU_SRT_CD", &self.isu_srt_cd)?,
            time,
            isin: isin_of("ISU_CD", &self.isu_cd)?,
            name: self.isu_abbrv.trim(),
            name_en: self.isu_eng_nm.trim(),
            market: Market::Kospi,
            segment: "",
            kind: SecurityType::Etf,
            listing_date: text::date("LIST_DD", &self.list_dd)?,
            delisting_date: None,
            is_active: true,
            par_value: None,
            listed_shares: text::whole("LIST_SHRS", &self.list_shrs)?,
        })
    }
}

impl Listed for Gone {
    const LIST: (&'static str, &'static str) = ("finder_listdelisu", "the list of delisted names");

    /// Subscription rights and beneficiary certificates have codes of eight characters.
    fn is_in_scope(&self) -> bool {
        let code = self.short_code.trim().as_bytes();
        code.len() != 8 || !code.iter().all(u8::is_ascii_alphanumeric)
    }

    fn stock(&self, time: NaiveDate) -> Read<Stock<'_>> {
        let (code, name) = (code_of("short_code", &self.short_code)?, self.name.trim());
        let (market, _) = market_of(self.market.trim().as_bytes()).ok_or_else(|| Odd {
            field: "marketCode",
            text: self.market.clone(),
            expected: "a market",
        })?;
        Ok(Stock {
            code,
            time,
            isin: isin_of("full_code", &self.full_code)?,
            name,
            name_en: "",
            market,
            segment: "",
            kind: SecurityType::of_share(code, name, market),
            listing_date: None,
            delisting_date: None,
            is_active: false,
            par_value: None,
            listed_shares: None,
        })
    }
}

fn isin_of(field: &'static str, text: &str) -> Read<Option<Isin>> {
    let Some(filled) = text::filled(text) else { return Ok(None) };
    let odd = || Odd { field, text: text.to_owned(), expected: "an ISIN with a right check digit" };
    Isin::parse(filled.as_bytes()).map(Some).ok_or_else(odd)
}

/// In won; absent for shares without par (무액면, 0) and for par values in another currency, which have decimals.
fn par_value(text: &str) -> Read<Option<i64>> {
    let foreign = text.split_once('.').is_some_and(|(_, cents)| cents.bytes().any(|b| b != b'0'));
    if text.trim() == "무액면" || (foreign && text.trim().parse::<f64>().is_ok()) {
        return Ok(None);
    }
    Ok(text::whole("PARVAL", text)?.filter(|par| *par != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn par_values() {
        for (text, value) in [
            ("5,000", Some(5000)),
            ("무액면", None),
            ("0", None),
            ("0.25", None),
            ("500.00", Some(500)),
            ("-", None),
        ] {
            assert_eq!(par_value(text).unwrap(), value, "{text}");
        }
        assert!(par_value("five").is_err() && par_value("0.x").is_err());
    }

    #[test]
    fn names_lose_their_tags() {
        let row = r#"{"full_code":"KR7037730009","short_code":"037730","codeName":"<em class =\"up\">3</em>R","marketCode":"KSQ"}"#;
        let gone: Gone = serde_json::from_str(row).unwrap();
        assert_eq!(gone.name, "3R");
    }
}
