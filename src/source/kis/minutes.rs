//! Minute bars (`FHKST03010230`): 120 rows an answer up to a time of a session, newest first; KIS keeps about a year.
//!
//! The time moves back, since there is no cursor that works. An answer goes on into the session before, so rows are told
//! by their date. Bars of the regular hours are taken, the closing auction's among them: trades of the after-market
//! (since 2026-09-14) bear the same market code.

use std::io::Write;

use chrono::{NaiveDate, NaiveTime, TimeDelta, Timelike};
use futures_util::StreamExt;
use serde::Deserialize;

use super::names::{Name, names, universe};
use super::{Page, Quotes, reject};
use crate::dataset::ohlcv_minute::MinuteBar;
use crate::error::{Error, Result};
use crate::market::{Day, Hours};
use crate::source::http::{Answer, Client, Pages, odd_answer};
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Roll};
use crate::stream::Writer;

/// Answers that a session takes: 391 minutes at most, 120 an answer.
pub(super) const PAGES: usize = 4;
const MOST_PAGES: usize = 12;
/// Of all names, so many are traded on any day.
const LEAST_PERCENT: usize = 10;
const LATER: &str = "run again later; an old session may lie beyond the year or so that KIS keeps minutes";

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    stck_bsop_date: Cell,
    stck_cntg_hour: Cell,
    stck_oprc: Cell,
    stck_hgpr: Cell,
    stck_lwpr: Cell,
    stck_prpr: Cell,
    cntg_vol: Cell,
    /// Of the session up to this bar.
    acml_tr_pbmn: Cell,
}

/// What came of a name's session.
#[derive(Default)]
struct Came {
    /// Its rows with their minutes, newest first.
    rows: Vec<(NaiveTime, Row)>,
    /// Rows without a readable time.
    odd: Vec<(Odd, Row)>,
    /// The earliest minute of the last page.
    earliest: Option<NaiveTime>,
    /// An older session came: all of this one is there.
    is_past: bool,
}

/// Asks session by session and name by name; both come in the stream's order.
pub(super) async fn write<W: Write>(
    files: &Client<'_>,
    quotes: &Quotes<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let universe = universe(files, job, writer).await?;
    let names = names(&universe, job, writer)?;
    let mut roll = Roll::new(&universe, names.iter().map(|name| name.code).collect());
    for session in job.sessions() {
        let Day::Session(Some(hours)) = job.calendar.day(*session) else {
            return Err(Error::usage(
                format!("the hours of {session} are not known"),
                "ask for later sessions",
            ));
        };
        let one = [*session];
        let asked: Vec<&Name> = names.iter().filter(|name| roll.span(name.code, &one).is_some()).collect();
        job.progress.planned((asked.len() * PAGES) as u64);
        let calls = asked.iter().map(|name| ask(quotes, name, *session, hours));
        let mut answers = futures_util::stream::iter(calls).buffered(quotes.client.in_flight());
        let mut quiet = Vec::new();
        for name in &asked {
            let Some(answer) = answers.next().await else { break };
            let came = answer?;
            // KIS knows the name and has no trade of it.
            let knows = came.is_past || !came.rows.is_empty();
            let bars = write_bars(name, (*session, hours), came, job, writer)?;
            if bars > 0 {
                roll.tick(name.code, *session);
            } else if knows {
                quiet.push(name.code);
            }
        }
        drop(answers);
        roll.judge(job, "kis", &one, LEAST_PERCENT, LATER)?;
        for code in quiet {
            roll.tick(code, *session);
        }
        roll.close(&one, "KIS has no minute bars of it", writer)?;
    }
    Ok(())
}

/// All rows of a name's session, page by page.
async fn ask(quotes: &Quotes<'_>, name: &Name<'_>, session: NaiveDate, hours: Hours) -> Result<Came> {
    let code = name.asked_as();
    let mut pages = Pages::new(format!("{code} on {session}"), MOST_PAGES);
    let (mut came, mut anchor) = (Came::default(), hours.close);
    loop {
        let call = Quotes::call(
            "domestic-stock/v1/quotations/inquire-time-dailychartprice",
            "FHKST03010230",
            &[
                ("FID_COND_MRKT_DIV_CODE", "J"),
                ("FID_INPUT_ISCD", &code),
                ("FID_INPUT_HOUR_1", &anchor.format("%H%M%S").to_string()),
                ("FID_INPUT_DATE_1", &text::compact(session)),
                ("FID_PW_DATA_INCU_YN", "Y"),
                ("FID_FAKE_TICK_INCU_YN", ""),
            ],
        );
        let read = |page: Page<Row>, answer: &Answer| {
            came.sort(page.rows, session, anchor)?;
            if came.earliest.is_some() { pages.turn(answer, None) } else { Ok(()) }
        };
        quotes.ask(&call.session(session), read).await?;
        match came.earliest {
            Some(earliest) if !came.is_past && earliest > hours.open => {
                anchor = earliest - TimeDelta::minutes(1);
            }
            _ => return Ok(came),
        }
    }
}

impl Came {
    /// Takes the rows of a page.
    fn sort(&mut self, page: Vec<Row>, session: NaiveDate, anchor: NaiveTime) -> Result<()> {
        self.earliest = None;
        for row in page {
            // Padding has no date.
            if text::filled(&row.stck_bsop_date).is_none() {
                continue;
            }
            let (date, time) = match row.at() {
                Ok(at) => at,
                Err(odd) => {
                    self.odd.push((odd, row));
                    continue;
                }
            };
            if date < session {
                self.is_past = true;
                continue;
            }
            if date > session || time > anchor {
                return Err(odd_answer(format!(
                    "asked for bars up to {session} {anchor}, it answered with one of {date} {time}"
                )));
            }
            let minute = time.with_second(0).unwrap_or(time);
            self.earliest = Some(self.earliest.map_or(minute, |earliest| earliest.min(minute)));
            self.rows.push((minute, row));
        }
        Ok(())
    }
}

/// Writes the bars of a name's session, oldest first; tells how many there are.
fn write_bars<W: Write>(
    name: &Name<'_>,
    (session, hours): (NaiveDate, Hours),
    came: Came,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<usize> {
    let about = format!("{} {session}", name.code);
    for (odd, row) in &came.odd {
        reject(writer, &about, odd, row)?;
    }
    let mut bars: Vec<MinuteBar> = Vec::with_capacity(came.rows.len());
    for (minute, row) in came.rows {
        if minute < hours.open || minute > hours.close {
            continue;
        }
        match row.bar(name, session, minute) {
            Ok(bar) => bars.push(bar),
            Err(odd) => reject(writer, &format!("{about} {minute}"), &odd, &row)?,
        }
    }
    settle(&mut bars);
    job.progress.rows(bars.len() as u64);
    bars.iter().try_for_each(|bar| writer.row(|out| bar.write(out)))?;
    Ok(bars.len())
}

/// Orders the bars, keeps of the same minute the one with volume, turns the session's running value into each bar's own,
/// and drops fillers: bars without trades or prices.
fn settle(bars: &mut Vec<MinuteBar>) {
    bars.sort_by_key(|bar| (bar.time, std::cmp::Reverse(bar.volume)));
    bars.dedup_by_key(|bar| bar.time);
    let mut before = Some(0);
    for bar in bars.iter_mut() {
        let running = bar.value;
        bar.value = running.zip(before).map(|(running, before)| running - before);
        before = running;
    }
    bars.retain(|bar| bar.volume != 0 && bar.close != 0);
}

impl Row {
    fn at(&self) -> std::result::Result<(NaiveDate, NaiveTime), Odd> {
        let odd = |field, text: &str, expected| Odd { field, text: text.to_owned(), expected };
        let date = text::date("stck_bsop_date", &self.stck_bsop_date)?;
        let date = date.ok_or_else(|| odd("stck_bsop_date", &self.stck_bsop_date, "a date"))?;
        let time = NaiveTime::parse_from_str(self.stck_cntg_hour.trim(), "%H%M%S");
        Ok((date, time.map_err(|_| odd("stck_cntg_hour", &self.stck_cntg_hour, "a time"))?))
    }

    /// The bar, with the session's running value.
    fn bar(
        &self,
        name: &Name<'_>,
        session: NaiveDate,
        minute: NaiveTime,
    ) -> std::result::Result<MinuteBar, Odd> {
        Ok(MinuteBar {
            code: name.code,
            time: session.and_time(minute),
            open: text::required("stck_oprc", &self.stck_oprc)?,
            high: text::required("stck_hgpr", &self.stck_hgpr)?,
            low: text::required("stck_lwpr", &self.stck_lwpr)?,
            close: text::required("stck_prpr", &self.stck_prpr)?,
            volume: text::required("cntg_vol", &self.cntg_vol)?,
            value: text::whole("acml_tr_pbmn", &self.acml_tr_pbmn)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{StockCode, ymd};

    const SESSION: NaiveDate = ymd(2026, 11, 20);

    fn at(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H%M%S").unwrap()
    }

    fn bar(time: &str, price: i64, volume: i64, running: Option<i64>) -> MinuteBar {
        let code = StockCode::parse(b"005930").unwrap();
        let time = SESSION.and_time(at(time));
        MinuteBar { code, time, open: price, high: price, low: price, close: price, volume, value: running }
    }

    #[test]
    fn running_values_become_each_bars_own() {
        // Newest first, a minute twice, a filler, a bar without a price, as they come.
        let mut bars = vec![
            bar("153000", 75_300, 10, Some(2_000_000)),
            bar("152000", 75_200, 0, Some(1_247_000)),
            bar("090200", 75_200, 0, Some(1_000_000)),
            bar("090200", 75_200, 7, Some(1_247_000)),
            bar("090100", 0, 3, Some(1_000_000)),
            bar("090000", 75_000, 9, Some(1_000_000)),
        ];
        settle(&mut bars);
        let values: Vec<_> = bars.iter().map(|bar| (bar.time.hour(), bar.time.minute(), bar.value)).collect();
        assert_eq!(values, [(9, 0, Some(1_000_000)), (9, 2, Some(247_000)), (15, 30, Some(753_000))]);
        // Where the running value is blank, neither this bar's nor the next one's is known.
        let mut bars = vec![
            bar("090200", 1, 1, Some(30)),
            bar("090100", 1, 1, None),
            bar("090000", 1, 1, Some(10)),
            bar("090300", 1, 1, Some(35)),
        ];
        settle(&mut bars);
        let values: Vec<_> = bars.iter().map(|bar| bar.value).collect();
        assert_eq!(values, [Some(10), None, None, Some(5)]);
    }

    #[test]
    fn pages_hold_other_sessions() {
        let row = |date: &str, time: &str| {
            let cells = serde_json::json!({ "stck_bsop_date": date, "stck_cntg_hour": time });
            serde_json::from_value::<Row>(cells).unwrap()
        };
        let rows = ["090100", "090000", "9:00"].map(|time| row("20261120", time));
        let mut came = Came::default();
        let page: Vec<Row> = rows.into_iter().chain([row("20261119", "163000"), row("", "")]).collect();
        came.sort(page, SESSION, at("090100")).unwrap();
        assert_eq!((came.rows.len(), came.odd.len()), (2, 1));
        assert_eq!((came.earliest, came.is_past), (Some(at("090000")), true));
        for (date, time) in [("20261120", "090200"), ("20261123", "090000")] {
            assert!(came.sort(vec![row(date, time)], SESSION, at("090100")).is_err(), "{date} {time}");
        }
    }
}
