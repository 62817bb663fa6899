//! Daily bars and capitalisations: by lists of codes for single sessions, or code by code for ranges, whichever takes
//! fewer calls.

use std::io::Write;

use chrono::NaiveDate;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{Dated, Extract, ROWS_AT_ONCE, master, only, ranged};
use crate::dataset::market_cap::Cap;
use crate::dataset::ohlcv::Bar;
use crate::error::Result;
use crate::market::{Market, SecurityType, StockCode};
use crate::source::http::Call;
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Roll, Rows, reject};
use crate::stream::Writer;

/// Codes in one question about a session: a URL stays below 1,000 characters.
const CODES_AT_ONCE: usize = 100;
/// Sessions in one question about a code: below the 1,000 rows of an answer.
const MOST_SESSIONS: usize = 900;
/// So many codes that a list left out are asked for singly, spread over all: when one of them comes after all, lists
/// are not to be trusted, and every code is asked for.
const PROBES: usize = 20;

const NO_ROW: &str = "listed on that session, and no row came";

/// A row of `/api/stock/info` and of `/api/stock/hist`.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Quote {
    date: Cell,
    code: Cell,
    market: Cell,
    open_price: Cell,
    high_price: Cell,
    low_price: Cell,
    close_price: Cell,
    base_price: Cell,
    change: Cell,
    trading_volume: Cell,
    trading_value: Cell,
    listed_shares: Cell,
}

impl Dated for Quote {
    fn date(&self) -> &str {
        &self.date
    }

    fn code(&self) -> &str {
        &self.code
    }
}

/// How many calls so many names and sessions take.
pub(super) fn calls(names: usize, sessions: usize) -> usize {
    let window = sessions_at_once(names);
    let by_list = names.div_ceil(CODES_AT_ONCE) * sessions;
    by_list.min(names * sessions.div_ceil(window))
}

/// Sessions that are held in memory, and asked for, together.
fn sessions_at_once(names: usize) -> usize {
    (ROWS_AT_ONCE / names.max(1)).clamp(1, MOST_SESSIONS)
}

/// Rows on their way into the stream, and what came of whom.
struct Window<'u> {
    roll: Roll<'u>,
    rows: Rows,
}

impl Extract<'_> {
    /// Bars or capitalisations of all sessions.
    pub(super) async fn bars<W: Write>(&self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let universe = self.universe(writer).await?;
        let roll = self.roll(&universe, writer)?;
        let names = roll.names().len();
        job.progress.planned(calls(names, job.sessions().len()) as u64);
        let mut window = Window { roll, rows: Rows::new(job.dataset) };
        for sessions in job.sessions().chunks(sessions_at_once(names)) {
            let asked = if names.div_ceil(CODES_AT_ONCE) * sessions.len() <= names {
                self.by_session(sessions, &mut window, writer).await?
            } else {
                self.by_code(sessions, &mut window, writer).await?
            };
            self.judge(&window.roll, sessions, asked.into_iter())?;
            window.roll.close(sessions, NO_ROW, writer)?;
            job.progress.rows(window.rows.len() as u64);
            std::mem::replace(&mut window.rows, Rows::new(job.dataset)).write(writer)?;
        }
        Ok(())
    }

    /// Who was not traded at all, as the bars tell, has no flows: that is no gap.
    pub(super) async fn excuse(&self, roll: &mut Roll<'_>, sessions: &[NaiveDate]) -> Result<()> {
        let gaps = stream::iter(roll.gaps(sessions)).map(|(code, first, last)| async move {
            let call = Call::get("/api/stock/hist").query("code", code.as_str());
            self.history::<Quote>(&call, code, first, last).await.map(|quotes| (code, quotes))
        });
        let mut gaps = gaps.buffered(self.client.in_flight());
        while let Some((code, quotes)) = gaps.try_next().await? {
            let untraded =
                |quote: &&Quote| text::whole("trading_volume", &quote.trading_volume) == Ok(Some(0));
            for quote in quotes.iter().filter(untraded) {
                if let Ok(Some(date)) = text::date("date", &quote.date) {
                    roll.tick(code, date);
                }
            }
        }
        Ok(())
    }

    /// Lists of codes, session by session.
    async fn by_session<W: Write>(
        &self,
        sessions: &[NaiveDate],
        window: &mut Window<'_>,
        writer: &mut Writer<W>,
    ) -> Result<Vec<Call>> {
        let mut asked = Vec::new();
        for session in sessions {
            let listed: Vec<StockCode> = window.roll.listed(*session).collect();
            self.lists(*session, listed.chunks(CODES_AT_ONCE), &mut asked, window, writer).await?;
            let left_out = window.roll.absent(*session);
            if listed.len() == 1 || left_out.is_empty() {
                continue;
            }
            let probes: Vec<StockCode> =
                left_out.iter().copied().step_by(left_out.len().div_ceil(PROBES)).collect();
            self.lists(*session, probes.chunks(1), &mut asked, window, writer).await?;
            let mut still = window.roll.absent(*session);
            if still.len() < left_out.len() {
                tracing::warn!("infomax: a list of codes left some out on {session}: each is asked for");
                still.retain(|code| !probes.contains(code));
                self.lists(*session, still.chunks(1), &mut asked, window, writer).await?;
            }
        }
        Ok(asked)
    }

    /// Asks for lists of codes on one session.
    async fn lists<W: Write>(
        &self,
        session: NaiveDate,
        lists: impl Iterator<Item = &[StockCode]>,
        asked: &mut Vec<Call>,
        window: &mut Window<'_>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let calls: Vec<(Call, &[StockCode])> = lists
            .map(|codes| {
                let list = codes.iter().map(StockCode::as_str).collect::<Vec<_>>().join(",");
                let call = Call::get("/api/stock/info").query("code", list);
                (call.query("date", text::compact(session)).session(session), codes)
            })
            .collect();
        let answers = stream::iter(&calls)
            .map(|(call, codes)| self.ask::<Quote>(call, |rows| only(rows, codes, session, session)));
        let mut answers = answers.buffered(self.client.in_flight());
        while let Some(quotes) = answers.try_next().await? {
            for quote in &quotes {
                window.take(quote, self.client.job(), writer)?;
            }
        }
        drop(answers);
        asked.extend(calls.into_iter().map(|(call, _)| call));
        Ok(())
    }

    /// Ranges, code by code.
    async fn by_code<W: Write>(
        &self,
        sessions: &[NaiveDate],
        window: &mut Window<'_>,
        writer: &mut Writer<W>,
    ) -> Result<Vec<Call>> {
        let mut questions = Vec::new();
        for code in window.roll.names() {
            let Some((first, last)) = window.roll.span(*code, sessions) else { continue };
            questions.push((*code, first, last, Call::get("/api/stock/hist").query("code", code.as_str())));
        }
        let answers = stream::iter(&questions)
            .map(|(code, first, last, call)| self.history::<Quote>(call, *code, *first, *last));
        let mut answers = answers.buffered(self.client.in_flight());
        while let Some(quotes) = answers.try_next().await? {
            for quote in &quotes {
                window.take(quote, self.client.job(), writer)?;
            }
        }
        drop(answers);
        Ok(questions.into_iter().map(|(_, first, last, call)| ranged(call, first, last)).collect())
    }
}

impl Window<'_> {
    /// Takes a row in, or rejects it.
    fn take<W: Write>(&mut self, quote: &Quote, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        let code = StockCode::parse(quote.code.trim().as_bytes());
        let listing = text::date("date", &quote.date).and_then(|date| {
            let odd = || Odd {
                field: "date",
                text: quote.date.to_string(),
                expected: "a session on which it is listed",
            };
            let found = code.zip(date).and_then(|(code, date)| Some((code, date, self.roll.at(code, date)?)));
            found.ok_or_else(odd)
        });
        let taken = listing.and_then(|(code, date, listing)| {
            self.roll.tick(code, date);
            if job.dataset.name == "market-cap" {
                return quote.cap(code, date).map(|cap| self.rows.add(|out| cap.write(out)));
            }
            // It may have moved since: the answer tells the market as of that day, where it does.
            let market = master::market(&quote.market).unwrap_or(listing.market);
            quote.bar(code, date, market, listing.kind).map(|bar| self.rows.add(|out| bar.write(out)))
        });
        taken.or_else(|odd| reject(writer, &quote.code, &odd, quote))
    }
}

impl Quote {
    fn bar(
        &self,
        code: StockCode,
        time: NaiveDate,
        market: Market,
        kind: SecurityType,
    ) -> std::result::Result<Bar, Odd> {
        // Without trades open, high and low are 0.
        let price =
            |field, value: &str| text::whole(field, value).map(|price| price.filter(|price| *price != 0));
        let close = text::required("close_price", &self.close_price)?;
        let change = text::whole("change", &self.change)?;
        Ok(Bar {
            code,
            time,
            open: price("open_price", &self.open_price)?,
            high: price("high_price", &self.high_price)?,
            low: price("low_price", &self.low_price)?,
            close,
            volume: text::required("trading_volume", &self.trading_volume)?,
            value: text::whole("trading_value", &self.trading_value)?,
            base: price("base_price", &self.base_price)?.or(change.map(|change| close - change)),
            market,
            kind,
        })
    }

    /// The service has no capitalisation: it is the close times the listed shares.
    fn cap(&self, code: StockCode, time: NaiveDate) -> std::result::Result<Cap, Odd> {
        let close = text::required("close_price", &self.close_price)?;
        let listed_shares = text::required("listed_shares", &self.listed_shares)?;
        let market_cap = close.checked_mul(listed_shares).ok_or_else(|| Odd {
            field: "listed_shares",
            text: self.listed_shares.to_string(),
            expected: "a number of shares",
        })?;
        Ok(Cap { code, time, market_cap, listed_shares })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_way_is_taken() {
        // One session: lists of a hundred. A year: code by code, in windows that memory holds.
        assert_eq!(calls(4_000, 1), 40);
        assert_eq!(calls(4_000, 245), 4_000);
        assert_eq!(calls(4_000, 500), 2 * 4_000);
        assert_eq!(calls(1, 1_000), 2);
        assert_eq!(calls(0, 10), 0);
    }

    #[test]
    fn a_day_without_trades_has_no_prices() {
        let quote: Quote = serde_json::from_str(
            r#"{"date": 20260102, "code": "000040", "open_price": 0, "high_price": 0, "low_price": 0, "close_price": 3885,
                "base_price": 3885, "change": 0, "trading_volume": 0, "trading_value": 0, "listed_shares": 9000000}"#,
        )
        .unwrap();
        let code = StockCode::parse(b"000040").unwrap();
        let time = crate::market::ymd(2026, 1, 2);
        let bar = quote.bar(code, time, Market::Kospi, SecurityType::Reit).unwrap();
        assert_eq!((bar.open, bar.high, bar.low, bar.close, bar.base), (None, None, None, 3885, Some(3885)));
        assert_eq!(quote.cap(code, time).unwrap().market_cap, 3_885 * 9_000_000);
        let blank = Quote { close_price: Cell::default(), ..quote };
        assert_eq!(
            blank.bar(code, time, Market::Kospi, SecurityType::Reit).unwrap_err().field,
            "close_price"
        );
    }
}
