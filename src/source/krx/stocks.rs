//! The stock master of the present, in three lists: the shares (MDCSTAT01901), the ETFs (MDCSTAT04601), and the names
//! that were delisted (the finder listdelisu).
//!
//! None of them can be asked about another day. Each answer bears the time at which it was made, and so tells of which
//! session it is. What one list lacks the others do not tell: a list that does not come is marked `#missing`, and the
//! batch claims less.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};

use super::super::http::odd_answer;
use super::super::{Job, ROW_READS, Rows, Source};
use super::lists::{Fund, Gone, Listed, Share};
use super::portal::{List, Portal, Question};
use super::{NO_SHARE, OTHER_TIME, Read};
use crate::dataset::{Finding, Severity};
use crate::error::{Error, Result};
use crate::market::{Calendar, Isin, Market, StockCode, kst};
use crate::stream::{Names, Preamble, Writer};

const SHARES: &str = "dbms/MDC/STAT/standard/MDCSTAT01901";
const FUNDS: &str = "dbms/MDC/STAT/standard/MDCSTAT04601";
const DELISTED: &str = "dbms/comm/finder/finder_listdelisu";
const PROVIDES: &str =
    "isin,name,name_en,market,segment,security_type,listing_date,is_active,par_value,listed_shares";

/// A list, or why there is none.
enum Part<R> {
    /// Not asked for.
    Left,
    Came {
        rows: Vec<R>,
        /// What is odd about its time.
        remark: Option<String>,
    },
    Missing(Error),
}

impl<R> Part<R> {
    fn came(&self) -> bool {
        matches!(self, Self::Came { .. })
    }

    fn rows(&self) -> &[R] {
        if let Self::Came { rows, .. } = self { rows } else { &[] }
    }
}

/// The ETFs of the present: ISIN and first session, where known.
pub(super) async fn listed_funds(
    portal: &Portal<'_>,
) -> Result<BTreeMap<StockCode, (Isin, Option<NaiveDate>)>> {
    let list: List<Fund> = portal.ask(&Question::new(FUNDS, None)).await?;
    let read = |fund: &Fund| {
        let stock = fund.stock(NaiveDate::MIN)?;
        Ok((stock.code, (stock.isin.unwrap_or_else(|| Isin::of_fund(stock.code)), stock.listing_date)))
    };
    list.rows
        .iter()
        .map(read)
        .collect::<Read<_>>()
        .map_err(|odd| odd_answer(format!("krx: {}: {odd}", Fund::LIST.1)))
}

/// How many lists a job asks for.
pub(super) fn calls(job: &Job) -> usize {
    if job.markets.contains(&Market::Kospi) { 3 } else { 2 }
}

/// The lists that came.
pub(super) struct Master {
    session: NaiveDate,
    shares: Part<Share>,
    funds: Part<Fund>,
    delisted: Part<Gone>,
}

impl Master {
    /// Asks for the lists: what the stream claims depends on which of them come.
    pub(super) async fn ask(portal: &Portal<'_>, job: &Job<'_>) -> Result<Self> {
        let &[session] = job.sessions() else {
            return Err(Error::usage(
                "the portal tells the master of the present only, and more than one session is asked for",
                "ask for --date today; masters of the past are in krx-openapi and marcap",
            ));
        };
        job.progress.planned(calls(job) as u64);
        let shares = Question::new(SHARES, None).field("mktId", "ALL");
        let delisted =
            Question::new(DELISTED, None).field("mktsel", "ALL").field("searchText", "").field("typeNo", "0");
        let shares = part(portal, job, session, &shares).await?;
        // All ETFs are listed on KOSPI.
        let funds = if job.markets.contains(&Market::Kospi) {
            part(portal, job, session, &Question::new(FUNDS, None)).await?
        } else {
            Part::Left
        };
        let delisted = part(portal, job, session, &delisted).await?;
        match (shares, funds, delisted) {
            // Nothing came: the first reason is as good as any.
            (Part::Missing(error), Part::Missing(_) | Part::Left, Part::Missing(_)) => Err(error),
            (shares, funds, delisted) => Ok(Self { session, shares, funds, delisted }),
        }
    }

    /// Without the list of shares nothing tells who is gone.
    pub(super) fn preamble(&self, job: &Job) -> Preamble {
        let names = if self.shares.came() { Names::Whole } else { Names::List };
        let preamble = job.preamble(Source::Krx, names, PROVIDES);
        preamble.with_classes(match (self.shares.came(), self.funds.came()) {
            (true, true) => "stock,etf",
            (false, true) => "etf",
            (_, false) => "stock",
        })
    }

    /// Writes the rows, and marks what is missing.
    pub(super) fn write<W: Write>(&self, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        let mut rows = Rows::new(job.dataset);
        let mut seen = BTreeSet::new();
        self.add(&self.shares, job, &mut rows, &mut seen, writer)?;
        self.add(&self.funds, job, &mut rows, &mut seen, writer)?;
        self.add(&self.delisted, job, &mut rows, &mut seen, writer)?;
        job.progress.rows(rows.len() as u64);
        rows.write(writer)?;
        job.mark_missing(&seen, writer)
    }

    fn add<R: Listed, W: Write>(
        &self,
        part: &Part<R>,
        job: &Job,
        rows: &mut Rows,
        seen: &mut BTreeSet<StockCode>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        match part {
            Part::Missing(reason) => writer.missing(R::LIST.0, &format!("{}: {reason}", R::LIST.1))?,
            Part::Came { remark: Some(remark), .. } => {
                let finding = Finding { rule: &OTHER_TIME, severity: Severity::Flag };
                writer.remark(&finding, "", &format!("{} {remark}", R::LIST.1))?;
            }
            Part::Came { .. } | Part::Left => {}
        }
        let (listed, others): (Vec<&R>, Vec<&R>) = part.rows().iter().partition(|row| row.is_in_scope());
        if !others.is_empty() {
            let finding = Finding { rule: &NO_SHARE, severity: Severity::Note };
            let message = format!("{} of the {} names of {}", others.len(), part.rows().len(), R::LIST.1);
            writer.remark(&finding, "", &message)?;
        }
        for row in listed {
            match row.stock(self.session) {
                Ok(stock) if !job.wants(stock.code, stock.market) => {}
                // Listed again since: the list of the listed comes first, and holds.
                Ok(stock) if !stock.is_active && seen.contains(&stock.code) => {}
                Ok(stock) => {
                    seen.insert(stock.code);
                    rows.add(|out| stock.write(out));
                }
                Err(odd) => {
                    let raw = serde_json::to_vec(row).expect("plain data");
                    writer.reject(0, ROW_READS.name, &format!("{}: {odd}", R::LIST.1), &raw)?;
                }
            }
        }
        Ok(())
    }
}

/// Asks for one list. That the portal could not give it stops the others only when it blocks us.
async fn part<R: Listed>(
    portal: &Portal<'_>,
    job: &Job<'_>,
    session: NaiveDate,
    question: &Question,
) -> Result<Part<R>> {
    let list: List<R> = match portal.ask(question).await {
        Ok(list) => list,
        Err(error @ (Error::Source { .. } | Error::Credentials { .. })) => {
            portal.client().check()?;
            return Ok(Part::Missing(error));
        }
        Err(error) => return Err(error),
    };
    if list.rows.is_empty() {
        return Ok(Part::Missing(odd_answer(format!("krx: {} is empty", R::LIST.1))));
    }
    let of = list.made_at.as_deref().and_then(made_at).and_then(|at| session_at(job.calendar, at));
    let now = session_at(job.calendar, job.now.with_timezone(&kst()).naive_local());
    let said = of.map_or_else(|| "without a time".to_owned(), |of| format!("of {of}"));
    Ok(if of == Some(session) {
        Part::Came { rows: list.rows, remark: None }
    } else if now == Some(session) {
        Part::Came { rows: list.rows, remark: Some(format!("is {said}, not of {session}")) }
    } else {
        Part::Missing(Error::usage(
            format!("krx: {} is {said}, not of {session}: the portal tells the present only", R::LIST.1),
            "ask for --date today; masters of the past are in krx-openapi and marcap",
        ))
    })
}

/// `2026.01.25 PM 08:28:15`, KST.
fn made_at(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text.trim(), "%Y.%m.%d %p %I:%M:%S").ok()
}

/// The session of which the present is at an instant (KST): lists are made anew in the night.
fn session_at(calendar: &Calendar, at: NaiveDateTime) -> Option<NaiveDate> {
    let day = if at.time() < NaiveTime::from_hms_opt(7, 0, 0)? {
        at.date().checked_sub_days(Days::new(1))?
    } else {
        at.date()
    };
    calendar.session_at_or_before(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn the_present_is_of_a_session() {
        let calendar = Calendar::shipped();
        for (text, session) in [
            ("2026.01.25 PM 08:28:15", ymd(2026, 1, 23)),
            ("2026.01.26 AM 06:59:59", ymd(2026, 1, 23)),
            ("2026.01.26 AM 07:00:00", ymd(2026, 1, 26)),
            ("2026.01.27 AM 12:10:00", ymd(2026, 1, 26)),
            ("2026.04.14 PM 12:02:56", ymd(2026, 4, 14)),
        ] {
            assert_eq!(session_at(&calendar, made_at(text).unwrap()), Some(session), "{text}");
        }
        assert_eq!(made_at("2026.01.25 20:28:15"), None);
    }
}
