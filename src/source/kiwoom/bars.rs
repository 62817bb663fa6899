//! Daily bars (`ka10081`): 600 a page, back from a session; raw.

use std::io::Write;

use chrono::NaiveDate;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use super::{Extract, LEAST_PERCENT, Operation, ROWS_AT_ONCE, Stamped, UNIT, body};
use crate::dataset::ohlcv::Bar;
use crate::error::Result;
use crate::market::StockCode;
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Listing, Roll, Rows, reject};
use crate::stream::Writer;

const DAILY: Operation = Operation { id: "ka10081", path: "/api/dostk/chart", list: "stk_dt_pole_chart_qry" };
/// Rows of a page.
const PAGE: usize = 600;

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    dt: Cell,
    cur_prc: Cell,
    open_pric: Cell,
    high_pric: Cell,
    low_pric: Cell,
    trde_qty: Cell,
    trde_prica: Cell,
    pred_pre: Cell,
}

impl Stamped for Row {
    fn stamp(&self) -> &str {
        self.dt.trim()
    }
}

/// Raw prices, back from a session.
fn question(code: StockCode, last: NaiveDate) -> Value {
    body(code, &[("base_dt", &text::compact(last)), ("upd_stkpc_tp", "0")])
}

/// Sessions that are held in memory, and asked for, together.
pub(super) fn sessions_at_once(names: usize) -> usize {
    (ROWS_AT_ONCE / names.max(1)).clamp(1, PAGE)
}

impl Extract<'_> {
    /// The bars of all sessions.
    pub(super) async fn bars<W: Write>(
        &self,
        mut roll: Roll<'_>,
        job: &Job<'_>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let window = sessions_at_once(roll.names().len());
        job.progress.planned((job.sessions().len().div_ceil(window) * roll.names().len()) as u64);
        for sessions in job.sessions().chunks(window) {
            let asked: Vec<_> =
                roll.names().iter().filter_map(|code| Some((*code, roll.span(*code, sessions)?))).collect();
            let answers = stream::iter(&asked).map(|(code, (first, last))| async move {
                let rows =
                    self.back::<Row>(&DAILY, &question(*code, *last), &text::compact(*first), *last).await;
                rows.map(|rows| (*code, *first, rows))
            });
            let mut answers = answers.buffered(self.client.in_flight());
            let mut rows = Rows::new(job.dataset);
            while let Some((code, first, answer)) = answers.try_next().await? {
                for row in &answer {
                    let date = match row.date() {
                        Ok(date) if date < first => continue,
                        Ok(date) => date,
                        Err(odd) => {
                            reject(writer, code.as_str(), &odd, row)?;
                            continue;
                        }
                    };
                    // Before it was listed there is nothing of it to take.
                    let Some(listing) = roll.at(code, date) else { continue };
                    roll.tick(code, date);
                    match row.bar(code, date, listing) {
                        Ok(bar) => rows.add(|out| bar.write(out)),
                        Err(odd) => reject(writer, &format!("{code} {date}"), &odd, row)?,
                    }
                }
            }
            drop(answers);
            let calls =
                asked.iter().map(|(code, (_, last))| Self::call(&DAILY, &question(*code, *last), None));
            self.judge(&roll, sessions, LEAST_PERCENT, calls)?;
            roll.close(sessions, "listed on that session, and no bar came", writer)?;
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        Ok(())
    }
}

impl Extract<'_> {
    /// Who was not traded at all, as the bars tell, has neither minutes nor flows: that is no gap.
    pub(super) async fn excuse(&self, roll: &mut Roll<'_>, sessions: &[NaiveDate]) -> Result<()> {
        let gaps = stream::iter(roll.gaps(sessions)).map(|(code, first, last)| async move {
            let rows = self.back::<Row>(&DAILY, &question(code, last), &text::compact(first), last).await;
            rows.map(|rows| (code, rows))
        });
        let mut gaps = gaps.buffered(self.client.in_flight());
        while let Some((code, rows)) = gaps.try_next().await? {
            for row in rows.iter().filter(|row| text::whole("trde_qty", &row.trde_qty) == Ok(Some(0))) {
                if let Ok(date) = row.date() {
                    roll.tick(code, date);
                }
            }
        }
        Ok(())
    }
}

impl Row {
    fn date(&self) -> std::result::Result<NaiveDate, Odd> {
        let odd = || Odd { field: "dt", text: self.dt.to_string(), expected: "a date" };
        text::date("dt", &self.dt)?.ok_or_else(odd)
    }

    fn bar(&self, code: StockCode, time: NaiveDate, listing: &Listing) -> std::result::Result<Bar, Odd> {
        // Without trades open, high and low are 0.
        let price =
            |field, value: &str| text::unsigned(field, value).map(|price| price.filter(|price| *price != 0));
        let close = text::required("cur_prc", &self.cur_prc)?.abs();
        let change = text::whole("pred_pre", &self.pred_pre)?;
        Ok(Bar {
            code,
            time,
            open: price("open_pric", &self.open_pric)?,
            high: price("high_pric", &self.high_pric)?,
            low: price("low_pric", &self.low_pric)?,
            close,
            volume: text::required("trde_qty", &self.trde_qty)?,
            value: in_won("trde_prica", &self.trde_prica)?,
            // The change keeps its sign.
            base: change.map(|change| close - change),
            market: listing.market,
            kind: listing.kind,
        })
    }
}

/// A value in million KRW, in KRW.
pub(super) fn in_won(field: &'static str, text: &str) -> std::result::Result<Option<i64>, Odd> {
    let millions = text::whole(field, text)?;
    let won = millions.map(|value| value.checked_mul(UNIT).ok_or(value)).transpose();
    won.map_err(|_| Odd { field, text: text.to_owned(), expected: "a value in million KRW" })
}
