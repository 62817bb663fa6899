//! Suggestions for what was mistyped: rules, batches, and stocks by their names.

use super::Context;
use crate::db::{Place, failed};
use crate::error::{Error, Result};
use crate::market::StockCode;
use crate::source::{Job, sim};
use crate::stage::block_on;

/// So many are told.
const MOST: usize = 5;
/// Below this similarity (Jaro-Winkler) words have nothing to do with each other.
const CLOSE: f64 = 0.8;

/// How alike a word and a candidate are: the same, the beginning of it, a part of it, or only similar.
fn likeness(word: &str, candidate: &str) -> f64 {
    let (word, candidate) = (word.to_lowercase(), candidate.to_lowercase());
    if candidate == word {
        4.0
    } else if candidate.starts_with(&word) {
        3.0
    } else if candidate.contains(&word) {
        2.0
    } else {
        strsim::jaro_winkler(&candidate, &word)
    }
}

/// Those that contain the word, then those that look like it, best first.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = candidates.into_iter().map(|c| (likeness(word, c), c)).collect();
    scored.retain(|(score, _)| *score >= CLOSE);
    // Of those that are as alike, the shortest is meant.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.len().cmp(&b.1.len())));
    scored.truncate(MOST);
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The question, where something is close.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    match closest(word, candidates).as_slice() {
        [] => None,
        names => Some(format!("did you mean {}?", names.join(", "))),
    }
}

/// A stock by code and names.
type Stock = (StockCode, String, String);

/// Reads a stock code; a name in its place is answered with the codes of those that are called so, out of the database,
/// or of the simulated market when that is asked.
pub(super) fn code(word: &str, context: &Context, simulated: Option<&Job>) -> Result<StockCode> {
    if let Some(code) = StockCode::parse(word.as_bytes()) {
        return Ok(code);
    }
    let stocks = simulated.map_or_else(|| known(context), sim::Extract::names);
    let padded = StockCode::parse(format!("{word:0>6}").as_bytes())
        .filter(|_| word.bytes().all(|b| b.is_ascii_digit()));
    let told = |(code, korean, _): &Stock| format!("{code} ({korean})");
    let mut found: Vec<String> = match padded {
        Some(padded) => stocks.iter().filter(|(code, ..)| *code == padded).map(told).collect(),
        None => called(word, &stocks).into_iter().map(told).collect(),
    };
    if let (Some(padded), true) = (padded, found.is_empty()) {
        found.push(format!("{padded} (codes keep their zeros)"));
    }
    let help = match found.as_slice() {
        [] if stocks.is_empty() => {
            "codes are six characters [0-9A-Z], e.g. 005930; names are known once `stocks` are in the database".to_owned()
        }
        [] => "codes are six characters [0-9A-Z], e.g. 005930; no stock is called like that".to_owned(),
        found => format!("did you mean {}?", found.join(", ")),
    };
    Err(Error::usage(format!("{word:?} is not a stock code"), help))
}

/// The stocks whose Korean or English name is like the word, best first.
fn called<'s>(word: &str, stocks: &'s [Stock]) -> Vec<&'s Stock> {
    let best = |(_, korean, english): &Stock| likeness(word, korean).max(likeness(word, english));
    let mut scored: Vec<(f64, &Stock)> = stocks.iter().map(|stock| (best(stock), stock)).collect();
    scored.retain(|(score, _)| *score >= CLOSE);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.1.len().cmp(&b.1.1.len())).then(a.1.0.cmp(&b.1.0)));
    // A name that is meant to the letter, or contained, is not mixed with those that only look like it.
    let is_part = scored.first().is_some_and(|(score, _)| *score >= 2.0);
    let is_exact = scored.first().is_some_and(|(score, _)| *score >= 4.0);
    scored.retain(|(score, _)| !is_exact && (!is_part || *score >= 2.0) || *score >= 4.0);
    scored.truncate(MOST);
    scored.into_iter().map(|(_, stock)| stock).collect()
}

/// The stocks that the database knows, where it runs; nothing is started for a hint.
fn known(context: &Context) -> Vec<Stock> {
    let ask = async {
        let Some(client) = Place::connect_if_running(&context.settings).await? else { return Ok(Vec::new()) };
        let query = "SELECT stock_code, name, coalesce(name_en, '') FROM market.stocks ORDER BY is_active DESC, stock_code";
        let rows = client.query(query, &[]).await.map_err(failed("cannot read the names"))?;
        let stock = |row: &tokio_postgres::Row| {
            Some((StockCode::parse(row.get::<_, &str>(0).as_bytes())?, row.get(1), row.get(2)))
        };
        Ok(rows.iter().filter_map(stock).collect())
    };
    block_on(ask).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_parts_of_names() {
        let rules = ["ohlcv.within_limits", "ohlcv.high_is_highest", "row.in_range"];
        for (word, first) in
            [("ohlcv.within_limit", rules[0]), ("high_is", rules[1]), ("ohlcv.higth_is_highest", rules[1])]
        {
            assert_eq!(closest(word, rules).first(), Some(&first), "{word}");
        }
        assert_eq!(did_you_mean("zebra", rules), None);
    }

    #[test]
    fn names_lead_to_codes() {
        let stock = |code: &str, korean: &str, english: &str| {
            (StockCode::parse(code.as_bytes()).unwrap(), korean.to_owned(), english.to_owned())
        };
        let stocks = [
            stock("005935", "삼성전자우", "SamsungElec(1P)"),
            stock("005930", "삼성전자", "SamsungElec"),
            stock("028260", "삼성물산", "SAMSUNG C&T"),
            stock("000660", "SK하이닉스", "SK hynix"),
        ];
        let codes =
            |word| called(word, &stocks).iter().map(|(code, ..)| code.to_string()).collect::<Vec<_>>();
        assert_eq!(codes("삼성전자"), ["005930"]);
        assert_eq!(codes("삼성"), ["005930", "028260", "005935"]);
        assert_eq!(codes("하이닉스"), ["000660"]);
        assert_eq!(codes("sk hynix"), ["000660"]);
        assert_eq!(codes("삼성전지").first(), Some(&"005930".to_owned()), "a typo");
        assert!(codes("현대차").is_empty());
    }
}
