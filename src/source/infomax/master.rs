//! The names: those that are listed now, and those that were delisted within a range of days.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::{Days, NaiveDate};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::part::Part;
use super::{Extract, MOST_ROWS, ranged, rows};
use crate::dataset::stocks::Stock;
use crate::dataset::{Finding, Rule, Severity, rule};
use crate::error::{Error, Result};
use crate::market::{Isin, Market, SecurityType, StockCode, kst_date};
use crate::source::http::{Call, odd_answer};
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Listing, Rows, Universe, reject};
use crate::stream::Writer;

/// The columns that the lists have.
pub(super) const PROVIDES: &str = "isin,name,market,security_type,listing_date,delisting_date,is_active";
/// So many calls a master takes, as the market is now: two lists of each type, and two types with more than 1,000 names.
pub(super) const CALLS: usize = 2 * TYPES.len() + 2 * (100 + 26);
/// The delisted are asked for from so many days before the first session: names that left since the last master in the
/// database get their date.
const LOOK_BACK: Days = Days::new(45);

/// Types of securities in scope, as the service selects them; warrants, rights and beneficiary certificates are not.
const TYPES: [&str; 10] = ["ST", "RT", "SC", "IF", "MF", "DR", "FS", "FE", "EF", "EN"];

/// The master of a past session is put together from the present names and the delisted ones.
pub(super) static PRESENT_NAMES: Rule = rule::batch(
    "infomax.names_are_of_the_present",
    Severity::Flag,
    "names, markets and types of a past session are those of now",
    "The list has no date: who was listed on a past session follows from the dates of listing and delisting, but not what \
     they were called then, nor whether they moved from one market to another since.",
);

/// A row of either list.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    code: Cell,
    kr_name: Cell,
    #[serde(alias = "market_type")]
    market: Cell,
    equity_type: Cell,
    isin: Cell,
    listed_date: Cell,
    delisted_date: Cell,
}

/// A name's stay on a market.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    code: StockCode,
    isin: Option<Isin>,
    name: String,
    market: Market,
    kind: SecurityType,
    listed: Option<NaiveDate>,
    delisted: Option<NaiveDate>,
}

/// What the lists hold.
#[derive(Debug)]
pub(super) struct Master(Vec<Stay>);

impl Master {
    /// Who was listed when, the present names first.
    pub(super) fn listings(self) -> impl Iterator<Item = (StockCode, Listing)> {
        self.0.into_iter().map(|name| {
            let listing = Listing {
                from: name.listed.unwrap_or(NaiveDate::MIN),
                until: name.delisted,
                market: name.market,
                kind: name.kind,
                isin: name.isin,
                name: name.name,
            };
            (name.code, listing)
        })
    }

    /// The same by code.
    pub(super) fn universe(self) -> Universe {
        let mut universe = Universe::default();
        for (code, listing) in self.listings() {
            universe.add(code, listing);
        }
        universe
    }

    /// What each name was on a session; one that is listed again is not delisted.
    fn on(&self, session: NaiveDate) -> BTreeMap<StockCode, (&Stay, bool)> {
        let mut state: BTreeMap<StockCode, (&Stay, bool)> = BTreeMap::new();
        for name in self.0.iter().filter(|name| name.listed.is_none_or(|listed| listed <= session)) {
            let is_active = name.delisted.is_none_or(|delisted| delisted > session);
            let later = |(other, other_is_active): &(&Stay, bool)| {
                (is_active, name.delisted) > (*other_is_active, other.delisted)
            };
            if state.get(&name.code).is_none_or(later) {
                state.insert(name.code, (name, is_active));
            }
        }
        state
    }
}

impl Extract<'_> {
    /// The stock master of each session.
    pub(super) async fn stocks<W: Write>(&self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let master = match &job.codes {
            Some(codes) => self.master_of(&codes.iter().copied().collect::<Vec<_>>(), writer).await?,
            None => self.master(writer).await?,
        };
        let mut seen = std::collections::BTreeSet::new();
        let present = job.calendar.session_at_or_before(kst_date(job.now));
        if job.sessions().first().copied() < present {
            let finding = Finding { rule: &PRESENT_NAMES, severity: PRESENT_NAMES.severity };
            writer.remark(&finding, "", PRESENT_NAMES.says)?;
        }
        for session in job.sessions() {
            let mut rows = Rows::new(job.dataset);
            for (code, (name, is_active)) in master.on(*session) {
                if job.wants(code, name.market) {
                    seen.insert(code);
                    rows.add(|out| name.stock(*session, is_active).write(out));
                }
            }
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        job.mark_missing(&seen, writer)
    }

    /// All names listed on a session of the job, and those delisted shortly before or since.
    pub(super) async fn master<W: Write>(&self, writer: &mut Writer<W>) -> Result<Master> {
        let job = self.client.job();
        job.progress.planned(CALLS as u64);
        let mut names = Vec::new();
        for kind in TYPES {
            for row in self.listed(kind).await? {
                read(&row, kind, &mut names, writer)?;
            }
        }
        if names.is_empty() {
            for kind in TYPES {
                self.client.disown(&self.list(kind));
            }
            return Err(Error::NotPublished {
                what: "infomax's list of names is empty".into(),
                help: "run the same again later".into(),
            });
        }
        for kind in TYPES {
            let (from, to) = self.since();
            for row in self.delisted(kind, from, to).await? {
                read(&row, kind, &mut names, writer)?;
            }
        }
        Ok(Master(names))
    }

    /// The same for some codes at least: singly, unless the whole takes fewer calls.
    pub(super) async fn master_of<W: Write>(
        &self,
        codes: &[StockCode],
        writer: &mut Writer<W>,
    ) -> Result<Master> {
        if codes.len() * 2 > CALLS {
            return self.master(writer).await;
        }
        self.client.job().progress.planned(codes.len() as u64 * 2);
        let (from, to) = self.since();
        let questions = codes.iter().flat_map(|code| {
            let of = |path: &str| self.question(path).query("code", code.as_str());
            [(*code, of("/api/stock/code")), (*code, ranged(of("/api/stock/expired"), from, to))]
        });
        let answers = stream::iter(questions).map(|(code, call)| async move {
            self.ask::<Row>(&call, |_| Ok(())).await.map(|rows| (code, rows))
        });
        let mut names = Vec::new();
        let mut answers = answers.buffered(self.client.in_flight());
        while let Some((code, rows)) = answers.try_next().await? {
            // The filter finds the text anywhere in a code.
            for row in rows.iter().filter(|row| row.code.trim() == code.as_str()) {
                read(row, "", &mut names, writer)?;
            }
        }
        Ok(Master(names))
    }

    /// The range of delisting dates to ask for: whoever was listed on a session of the job and is not any more.
    fn since(&self) -> (NaiveDate, NaiveDate) {
        let job = self.client.job();
        (job.from.checked_sub_days(LOOK_BACK).unwrap_or(job.from), kst_date(job.now))
    }

    fn question(&self, path: &str) -> Call {
        let last = self.client.job().sessions().last();
        let call = Call::get(path);
        last.map_or_else(|| call.clone(), |session| call.clone().session(*session))
    }

    fn list(&self, kind: &str) -> Call {
        self.question("/api/stock/code").query("type", kind)
    }

    /// The present names of a type. Where there are more than an answer takes, they are split by parts of their codes.
    async fn listed(&self, kind: &str) -> Result<Vec<Row>> {
        let all: Vec<Row> = self.client.ask(&self.vendor, &self.list(kind), rows).await?;
        if all.len() < MOST_ROWS {
            return Ok(all);
        }
        let mut found = BTreeMap::new();
        let mut parts = Part::first();
        while !parts.is_empty() {
            let answers = stream::iter(std::mem::take(&mut parts)).map(|part| async move {
                let call = self.list(kind).query("code", part.text());
                let rows: Vec<Row> = self.client.ask(&self.vendor, &call, rows).await?;
                Ok::<_, Error>((part, rows))
            });
            let mut answers = answers.buffered(self.client.in_flight());
            while let Some((part, rows)) = answers.try_next().await? {
                if rows.len() < MOST_ROWS {
                    let mine = rows.into_iter().filter(|row| part.holds(row.code.trim()));
                    found.extend(mine.map(|row| (row.code.to_string(), row)));
                } else if let Some(finer) = part.finer() {
                    parts.extend(finer);
                } else {
                    let what = format!(
                        "infomax: there are more than {MOST_ROWS} names with the code {}",
                        part.text()
                    );
                    return Err(odd_answer(what));
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The names of a type that were delisted within a range of days; the range is halved while it holds too many.
    async fn delisted(&self, kind: &str, from: NaiveDate, to: NaiveDate) -> Result<Vec<Row>> {
        let mut ranges = vec![(from, to)];
        let mut found = Vec::new();
        while let Some((from, to)) = ranges.pop() {
            let call = ranged(self.question("/api/stock/expired").query("type", kind), from, to);
            let rows: Vec<Row> = self.client.ask(&self.vendor, &call, rows).await?;
            if rows.len() < MOST_ROWS {
                found.extend(rows);
                continue;
            }
            let Some(middle) = from.checked_add_days(Days::new((to - from).num_days().unsigned_abs() / 2))
            else {
                continue;
            };
            if from == to {
                return Err(odd_answer(format!(
                    "infomax: more than {MOST_ROWS} names of type {kind} were delisted on {from}"
                )));
            }
            ranges.extend([(from, middle), (middle + Days::new(1), to)]);
        }
        Ok(found)
    }
}

/// Reads a row into the names; one that does not read is kept as a reject, so that its absence is known.
fn read<W: Write>(row: &Row, kind: &str, names: &mut Vec<Stay>, writer: &mut Writer<W>) -> Result<()> {
    match row.name(kind) {
        Ok(Some(name)) => names.push(name),
        Ok(None) => {}
        Err(odd) => reject(writer, &format!("the list of names, {}", &*row.code), &odd, row)?,
    }
    Ok(())
}

impl Row {
    /// A name; `None` for a security that is out of scope.
    fn name(&self, asked: &str) -> std::result::Result<Option<Stay>, Odd> {
        let odd = |field, text: &str, expected| Odd { field, text: text.to_owned(), expected };
        let expected = "a code of six characters [0-9A-Z]";
        let code =
            StockCode::parse(self.code.trim().as_bytes()).ok_or_else(|| odd("code", &self.code, expected))?;
        let market = market(&self.market).ok_or_else(|| odd("market", &self.market, "a market"))?;
        let name = self.kr_name.trim();
        let told = if asked.is_empty() { self.equity_type.trim() } else { asked };
        let Some(kind) = kind(told, code, name, market) else { return Ok(None) };
        let isin = match self.isin.trim() {
            "" => None,
            isin => Some(
                Isin::parse(isin.as_bytes())
                    .ok_or_else(|| odd("isin", isin, "an ISIN with a right check digit"))?,
            ),
        };
        Ok(Some(Stay {
            code,
            isin,
            name: name.to_owned(),
            market,
            kind,
            listed: text::date("listed_date", &self.listed_date)?,
            delisted: text::date("delisted_date", &self.delisted_date)?,
        }))
    }
}

impl Stay {
    fn stock(&self, time: NaiveDate, is_active: bool) -> Stock<'_> {
        Stock {
            code: self.code,
            time,
            isin: self.isin,
            name: &self.name,
            name_en: "",
            market: self.market,
            segment: "",
            kind: self.kind,
            listing_date: self.listed,
            delisting_date: self.delisted,
            is_active,
            par_value: None,
            listed_shares: None,
        }
    }
}

/// A market in the service's words or numbers: 1 거래소, 2 거래소기타, 7 코스닥, 8 코스닥기타.
pub(super) fn market(text: &str) -> Option<Market> {
    let text = text.trim();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["코넥스", "KONEX"]) {
        Some(Market::Konex)
    } else if says(&["코스닥", "KOSDAQ"]) || matches!(text, "7" | "8") {
        Some(Market::Kosdaq)
    } else if says(&["거래소", "코스피", "유가증권", "KOSPI"]) || matches!(text, "1" | "2") {
        Some(Market::Kospi)
    } else {
        None
    }
}

/// A kind of security by the service's type, its selector or its Korean word; `None` for what is out of scope.
fn kind(told: &str, code: StockCode, name: &str, market: Market) -> Option<SecurityType> {
    let says = |words: &[&str]| words.iter().any(|word| told.contains(word));
    if told == "EF" || says(&["ETF"]) {
        Some(SecurityType::Etf)
    } else if told == "EN" || says(&["ETN"]) {
        Some(SecurityType::Etn)
    } else if told == "RT" || says(&["리츠", "부동산투자"]) {
        Some(SecurityType::Reit)
    } else if TYPES.contains(&told) || says(&["주식", "주권", "뮤추얼", "선박", "인프라", "예탁증", "외국"])
    {
        Some(SecurityType::of_share(code, name, market))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    fn name(code: &str, listed: NaiveDate, delisted: Option<NaiveDate>) -> Stay {
        Stay {
            code: StockCode::parse(code.as_bytes()).unwrap(),
            isin: None,
            name: code.into(),
            market: Market::Kospi,
            kind: SecurityType::Stock,
            listed: Some(listed),
            delisted,
        }
    }

    #[test]
    fn a_name_that_moved_is_listed() {
        // Delisted from one market and listed on another on the same day.
        let master = Master(vec![
            name("000010", ymd(2026, 1, 6), None),
            name("000010", ymd(2020, 1, 2), Some(ymd(2026, 1, 6))),
            name("000020", ymd(2020, 1, 2), Some(ymd(2026, 1, 6))),
        ]);
        let on = |day| {
            let state = master.on(ymd(2026, 1, day));
            state.values().map(|(name, is_active)| (name.delisted.is_some(), *is_active)).collect::<Vec<_>>()
        };
        assert_eq!(on(5), [(true, true), (true, true)]);
        assert_eq!(on(6), [(false, true), (true, false)]);
        let universe = master.universe();
        let sessions = [ymd(2026, 1, 6)];
        assert_eq!(universe.listed(&sessions).count(), 1);
    }

    #[test]
    fn words_and_selectors_are_the_same() {
        let code = StockCode::parse(b"000010").unwrap();
        for (told, expected) in [
            ("ST", Some(SecurityType::Stock)),
            ("주식", Some(SecurityType::Stock)),
            ("RT", Some(SecurityType::Reit)),
            ("리츠", Some(SecurityType::Reit)),
            ("ETF", Some(SecurityType::Etf)),
            ("EN", Some(SecurityType::Etn)),
            ("인프라", Some(SecurityType::Stock)),
            ("EW", None),
            ("수익증권", None),
        ] {
            assert_eq!(kind(told, code, "가나", Market::Kospi), expected, "{told}");
        }
        for (told, expected) in [
            ("거래소(코스피)", Some(Market::Kospi)),
            ("1", Some(Market::Kospi)),
            ("코스닥", Some(Market::Kosdaq)),
            ("7", Some(Market::Kosdaq)),
            ("코넥스", Some(Market::Konex)),
            ("", None),
            ("5", None),
        ] {
            assert_eq!(market(told), expected, "{told}");
        }
    }
}
