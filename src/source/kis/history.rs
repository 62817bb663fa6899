//! Histories that KIS answers newest first, up to a date: the end moves back until the first session is there. There is
//! no cursor.

use std::fmt::Debug;
use std::io::Write;

use chrono::{Days, NaiveDate};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::names::{self, Name, names};
use super::{LEAST_PERCENT, Page, Quotes, reject};
use crate::error::Result;
use crate::source::http::{Answer, Call, Client, Pages, odd_answer};
use crate::source::text::{self, Odd};
use crate::source::{Job, Roll, Rows};
use crate::stream::Writer;

/// No question needs more pages.
const MOST_PAGES: usize = 200;

/// A history by name and session, with rows of type `R`.
pub(super) struct History<R> {
    /// Rows an answer has.
    pub(super) rows: usize,
    /// The question about a code from a session to another.
    pub(super) question: fn(&str, NaiveDate, NaiveDate) -> Call,
    /// Does the first of them go with the question, so that nothing older may come?
    pub(super) is_bounded: bool,
    /// A row's session, `stck_bsop_date`.
    pub(super) date: fn(&R) -> &str,
    /// Adds what a row tells; false where its figures are blank.
    pub(super) put: fn(&R, &Name<'_>, NaiveDate, &mut Rows) -> std::result::Result<bool, Odd>,
    /// What is said of a session that did not come.
    pub(super) missing: &'static str,
}

impl<R: DeserializeOwned + Debug> History<R> {
    /// Asks for as many sessions at a time as fit into an answer, and writes them when all names are there.
    pub(super) async fn write<W: Write>(
        &self,
        files: &Client<'_>,
        quotes: &Quotes<'_>,
        job: &Job<'_>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let universe = names::universe(files, job, writer).await?;
        let names = names(&universe, job, writer)?;
        let mut roll = Roll::new(&universe, names.iter().map(|name| name.code).collect());
        for sessions in job.sessions().chunks(self.rows) {
            let asked: Vec<(&Name, (NaiveDate, NaiveDate))> =
                names.iter().filter_map(|name| Some((name, roll.span(name.code, sessions)?))).collect();
            job.progress.planned(asked.len() as u64);
            let calls = asked.iter().map(|(name, span)| self.ask(quotes, name, *span));
            let mut answers = futures_util::stream::iter(calls).buffered(quotes.client.in_flight());
            let mut rows = Rows::new(job.dataset);
            for (name, _) in &asked {
                let Some(answer) = answers.next().await else { break };
                for row in answer? {
                    let session = self.session(&row);
                    let put = session.clone().and_then(|session| (self.put)(&row, name, session, &mut rows));
                    if let Err(odd) = &put {
                        reject(writer, &format!("{} {}", name.code, (self.date)(&row)), odd, &row)?;
                    }
                    if let (Ok(session), true) = (session, put != Ok(false)) {
                        roll.tick(name.code, session);
                    }
                }
            }
            drop(answers);
            roll.judge(job, "kis", sessions, LEAST_PERCENT, "run again later")?;
            roll.close(sessions, self.missing, writer)?;
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        Ok(())
    }

    fn session(&self, row: &R) -> std::result::Result<NaiveDate, Odd> {
        let date = (self.date)(row);
        let odd = || Odd { field: "stck_bsop_date", text: date.to_owned(), expected: "a date" };
        text::date("stck_bsop_date", date)?.ok_or_else(odd)
    }

    /// All rows of a name from its first session to its last, page by page. Fewer rows than an answer may have are no
    /// proof that nothing older is there: only the first session is, or an answer without rows.
    async fn ask(
        &self,
        quotes: &Quotes<'_>,
        name: &Name<'_>,
        (first, last): (NaiveDate, NaiveDate),
    ) -> Result<Vec<R>> {
        let code = name.asked_as();
        let mut pages = Pages::new(&code, MOST_PAGES);
        let (mut rows, mut end) = (Vec::new(), last);
        loop {
            let call = (self.question)(&code, first, end).session(last);
            let read = |page: Page<R>, answer: &Answer| {
                let (page, oldest) = self.sort(page.rows, first, end)?;
                if oldest.is_some() {
                    pages.turn(answer, None)?;
                }
                Ok((page, oldest))
            };
            let (page, oldest) = quotes.ask(&call, read).await?;
            rows.extend(page);
            match oldest {
                Some(oldest) if oldest > first => end = oldest - Days::new(1),
                _ => return Ok(rows),
            }
        }
    }

    /// The rows of an answer since the first session, and the oldest session that it has.
    fn sort(&self, rows: Vec<R>, first: NaiveDate, end: NaiveDate) -> Result<(Vec<R>, Option<NaiveDate>)> {
        let (mut wanted, mut oldest) = (Vec::with_capacity(rows.len()), None::<NaiveDate>);
        for row in rows {
            // Rows without a date are padding; those whose date does not read go on, to be rejected.
            if text::filled((self.date)(&row)).is_none() {
                continue;
            }
            if let Ok(session) = self.session(&row) {
                if session > end || (self.is_bounded && session < first) {
                    return Err(odd_answer(format!(
                        "asked for {first} to {end}, it answered with rows of {session}"
                    )));
                }
                oldest = Some(oldest.map_or(session, |oldest| oldest.min(session)));
                if session < first {
                    continue;
                }
            }
            wanted.push(row);
        }
        Ok((wanted, oldest))
    }
}
