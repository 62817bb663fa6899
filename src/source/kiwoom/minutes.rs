//! Minute bars (`ka10080`): 900 a page, back from a session; raw, without traded values. Kiwoom keeps about a year.
//!
//! A page holds the minutes of two sessions and a part of the one before: pages follow until an older session shows that
//! the first one asked for is whole.

use std::io::Write;

use chrono::{NaiveDate, NaiveDateTime, Timelike};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use super::{Extract, Operation, Stamped, body};
use crate::dataset::ohlcv_minute::MinuteBar;
use crate::dataset::{Rule, Severity, rule};
use crate::error::{Error, Result};
use crate::market::{Day, Hours, StockCode};
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Roll, reject};
use crate::stream::Writer;

const MINUTES: Operation =
    Operation { id: "ka10080", path: "/api/dostk/chart", list: "stk_min_pole_chart_qry" };
/// Sessions that are asked for together: two fit into a page, and the second one's bars of all names into 100 MB.
pub(super) const SESSIONS_AT_ONCE: usize = 2;
/// Of all names, so many are traded on any day.
const LEAST_PERCENT: usize = 10;

/// Bars that are none of the regular session's.
pub(super) static OUT_OF_HOURS: Rule = rule::batch(
    "kiwoom.minutes_out_of_hours",
    Severity::Note,
    "minutes outside of the regular session were left out",
    "Rows of 15:31 to 15:35 appear among Kiwoom's minutes: trades after the close at the closing price, which are no part of \
     the regular session.",
);

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    cntr_tm: Cell,
    open_pric: Cell,
    high_pric: Cell,
    low_pric: Cell,
    cur_prc: Cell,
    trde_qty: Cell,
}

impl Stamped for Row {
    fn stamp(&self) -> &str {
        self.cntr_tm.trim()
    }
}

/// The bars of one name, oldest first, and what was left out of them.
#[derive(Default)]
struct Came {
    bars: Vec<MinuteBar>,
    out_of_hours: usize,
}

impl Extract<'_> {
    /// The bars of all sessions, name by name within each.
    pub(super) async fn minutes<W: Write>(
        &self,
        mut roll: Roll<'_>,
        job: &Job<'_>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let windows = job.sessions().len().div_ceil(SESSIONS_AT_ONCE);
        job.progress.planned((windows * roll.names().len()) as u64);
        let mut out_of_hours = 0;
        for sessions in job.sessions().chunks(SESSIONS_AT_ONCE) {
            let hours = sessions.iter().map(|session| hours(job, *session)).collect::<Result<Vec<_>>>()?;
            let asked: Vec<_> =
                roll.names().iter().filter_map(|code| Some((*code, roll.span(*code, sessions)?))).collect();
            let answers = stream::iter(&asked).map(|(code, (first, last))| async move {
                let question = question(*code, *last);
                let rows = self.back::<Row>(&MINUTES, &question, &text::compact(*first), *last).await;
                rows.map(|rows| (*code, *first, rows))
            });
            let mut answers = answers.buffered(self.client.in_flight());
            // The first session's bars go on at once, those of the second wait until it is over.
            let mut later = Vec::new();
            while let Some((code, first, rows)) = answers.try_next().await? {
                let came = read(code, first, &rows, sessions, &hours, writer)?;
                out_of_hours += came.out_of_hours;
                job.progress.rows(came.bars.len() as u64);
                came.bars.iter().for_each(|bar| roll.tick(code, bar.time.date()));
                let (now, then) =
                    came.bars.split_at(came.bars.partition_point(|bar| bar.time.date() <= sessions[0]));
                now.iter().try_for_each(|bar| writer.row(|out| bar.write(out)))?;
                later.extend_from_slice(then);
            }
            drop(answers);
            let calls =
                asked.iter().map(|(code, (_, last))| Self::call(&MINUTES, &question(*code, *last), None));
            self.judge(&roll, sessions, LEAST_PERCENT, calls)?;
            self.excuse(&mut roll, sessions).await?;
            roll.close(sessions, "traded on that session, and no minute came", writer)?;
            later.iter().try_for_each(|bar| writer.row(|out| bar.write(out)))?;
        }
        if out_of_hours > 0 {
            Self::remark(writer, &OUT_OF_HOURS, "", &format!("{out_of_hours} {}", OUT_OF_HOURS.says))?;
        }
        Ok(())
    }
}

/// Raw bars of one minute, back from a session.
fn question(code: StockCode, last: NaiveDate) -> Value {
    body(code, &[("tic_scope", "1"), ("upd_stkpc_tp", "0"), ("base_dt", &text::compact(last))])
}

fn hours(job: &Job, session: NaiveDate) -> Result<Hours> {
    match job.calendar.day(session) {
        Day::Session(Some(hours)) => Ok(hours),
        _ => Err(Error::usage(format!("the hours of {session} are not known"), "ask for later sessions")),
    }
}

/// Reads the rows of some sessions; those of older ones only showed that the first one is whole.
fn read<W: Write>(
    code: StockCode,
    first: NaiveDate,
    rows: &[Row],
    sessions: &[NaiveDate],
    hours: &[Hours],
    writer: &mut Writer<W>,
) -> Result<Came> {
    let mut came = Came::default();
    for row in rows {
        let at = match row.at() {
            Ok(at) => at,
            Err(odd) => {
                reject(writer, code.as_str(), &odd, row)?;
                continue;
            }
        };
        if at.date() < first {
            continue;
        }
        let Some(hours) = sessions.iter().position(|session| *session == at.date()).map(|at| hours[at])
        else {
            let odd =
                Odd { field: "cntr_tm", text: row.cntr_tm.to_string(), expected: "a minute of a session" };
            reject(writer, code.as_str(), &odd, row)?;
            continue;
        };
        if at.time() < hours.open || at.time() > hours.close {
            came.out_of_hours += 1;
            continue;
        }
        match row.bar(code, at) {
            // A minute without trades has no bar.
            Ok(bar) if bar.volume == 0 => {}
            Ok(bar) => came.bars.push(bar),
            Err(odd) => reject(writer, &format!("{code} {at}"), &odd, row)?,
        }
    }
    came.bars.sort_by_key(|bar| bar.time);
    Ok(came)
}

impl Row {
    fn at(&self) -> std::result::Result<NaiveDateTime, Odd> {
        let read = NaiveDateTime::parse_from_str(self.cntr_tm.trim(), "%Y%m%d%H%M%S").ok();
        let odd =
            || Odd { field: "cntr_tm", text: self.cntr_tm.to_string(), expected: "a minute YYYYMMDDHHMM00" };
        read.and_then(|at| at.with_second(0)).ok_or_else(odd)
    }

    fn bar(&self, code: StockCode, time: NaiveDateTime) -> std::result::Result<MinuteBar, Odd> {
        // Prices bear the sign of their change.
        let price = |field, value: &str| text::required(field, value).map(i64::abs);
        Ok(MinuteBar {
            code,
            time,
            open: price("open_pric", &self.open_pric)?,
            high: price("high_pric", &self.high_pric)?,
            low: price("low_pric", &self.low_pric)?,
            close: price("cur_prc", &self.cur_prc)?,
            volume: text::required("trde_qty", &self.trde_qty)?,
            value: None,
        })
    }
}
