//! The names that are listed now (`ka10099`), where the database does not know who was.

use std::borrow::Cow;
use std::io::Write;

use chrono::NaiveDate;
use serde::Deserialize;

use super::{Extract, Operation, next, rows};
use crate::dataset::{Rule, Severity, rule};
use crate::error::Result;
use crate::market::{Market, SecurityType, StockCode, kst_date};
use crate::source::http::{Answer, Pages};
use crate::source::text::{self, Cell, Odd};
use crate::source::{Listing, Universe, reject};
use crate::stream::Writer;

const LIST: Operation = Operation { id: "ka10099", path: "/api/dostk/stkinfo", list: "list" };
/// Lists to ask for, and what is in them: KOSPI, KOSDAQ, KONEX, ETFs, ETNs, REITs. The first has some of the others, too.
const LISTS: [&str; 6] = ["0", "10", "50", "8", "60", "6"];
/// So many calls they take: each is a few pages at most.
pub(super) const CALLS: usize = 2 * LISTS.len();

/// The list has no date.
pub(super) static PRESENT_NAMES: Rule = rule::batch(
    "kiwoom.names_are_of_the_present",
    Severity::Flag,
    "names of past sessions are those that are listed now",
    "No stock master in the database tells who was listed then, and Kiwoom lists only who is listed now: names that were \
     delisted since are not asked for. Extract stocks from another source first.",
);

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
struct Row {
    code: Cell,
    name: Cell,
    reg_day: Cell,
    market_code: Cell,
}

impl<'a> Extract<'a> {
    /// Who was listed: the database's stock master where it knows all that are asked for, else also Kiwoom's list.
    pub(super) async fn universe<W: Write>(&self, writer: &mut Writer<W>) -> Result<Cow<'a, Universe>> {
        let job = self.client.job();
        if let Some(universe) = &job.universe
            && job.codes.iter().flatten().all(|code| universe.has(*code))
        {
            return Ok(Cow::Borrowed(universe));
        }
        let is_past = job.sessions().first().copied() < job.calendar.session_at_or_before(kst_date(job.now));
        if is_past && job.codes.is_none() {
            Self::remark(writer, &PRESENT_NAMES, "", PRESENT_NAMES.says)?;
        }
        let mut universe = job.universe.clone().unwrap_or_default();
        for list in LISTS {
            for row in self.list(list).await? {
                match row.read(list) {
                    Ok(Some((code, listing))) if !universe.has(code) => universe.add(code, listing),
                    Ok(_) => {}
                    Err(odd) => {
                        reject(writer, &format!("the list of names, {}", &*row.code), &odd, &row)?;
                    }
                }
            }
        }
        Ok(Cow::Owned(universe))
    }

    async fn list(&self, list: &str) -> Result<Vec<Row>> {
        let body = serde_json::json!({ "mrkt_tp": list });
        let mut pages = Pages::new(format!("kiwoom: the list of names {list}"), super::MOST_PAGES);
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let call = Self::call(&LIST, &body, cursor.as_deref());
            let read = |answer: &Answer| {
                let rows: Vec<Row> = rows(answer, &LIST, None)?;
                if rows.is_empty() {
                    return Ok((rows, None));
                }
                pages.turn(answer, None)?;
                Ok((rows, next(answer)?))
            };
            let (rows, more) = self.client.ask(&self.account, &call, read).await?;
            all.extend(rows);
            if more.is_none() {
                return Ok(all);
            }
            cursor = more;
        }
    }
}

impl Row {
    /// A name; `None` for what is out of scope.
    fn read(&self, list: &str) -> std::result::Result<Option<(StockCode, Listing)>, Odd> {
        let expected = "a code of six characters [0-9A-Z]";
        let code = StockCode::parse(self.code.trim().as_bytes()).ok_or_else(|| Odd {
            field: "code",
            text: self.code.to_string(),
            expected,
        })?;
        let name = self.name.trim();
        // The list of KOSPI holds ETFs, ETNs, warrants and rights as well: the row says what it is.
        let told = text::filled(&self.market_code).unwrap_or(list);
        let (market, kind) = match told {
            "0" | "2" | "4" => (Market::Kospi, None),
            "10" => (Market::Kosdaq, None),
            "50" => (Market::Konex, None),
            "6" => (Market::Kospi, Some(SecurityType::Reit)),
            "8" => (Market::Kospi, Some(SecurityType::Etf)),
            "60" | "70" | "90" => (Market::Kospi, Some(SecurityType::Etn)),
            _ => return Ok(None),
        };
        let kind = kind.unwrap_or_else(|| SecurityType::of_share(code, name, market));
        let from = text::date("regDay", &self.reg_day)?.unwrap_or(NaiveDate::MIN);
        Ok(Some((code, Listing { from, until: None, market, kind, isin: None, name: name.to_owned() })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_their_lists() {
        let read = |code: &str, market_code: &str, list: &str| {
            let row: Row = serde_json::from_value(serde_json::json!({
                "code": code, "name": "가나", "regDay": "20150302", "marketCode": market_code, "listCount": "0000000001",
            }))
            .unwrap();
            row.read(list).unwrap().map(|(_, listing)| (listing.market, listing.kind))
        };
        assert_eq!(read("000010", "0", "0"), Some((Market::Kospi, SecurityType::Stock)));
        assert_eq!(read("000015", "0", "0"), Some((Market::Kospi, SecurityType::Preferred)));
        assert_eq!(read("069500", "8", "0"), Some((Market::Kospi, SecurityType::Etf)));
        assert_eq!(read("100010", "", "10"), Some((Market::Kosdaq, SecurityType::Stock)));
        assert_eq!(read("200010", "50", "50"), Some((Market::Konex, SecurityType::Stock)));
        assert_eq!(read("580001", "60", "0"), Some((Market::Kospi, SecurityType::Etn)));
        assert_eq!(read("57JB01", "3", "0"), None);
    }
}
