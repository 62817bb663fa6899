//! KIS Developers, the REST API of Korea Investment & Securities, code by code; and its master files, which need no key.
//!
//! Market `J` alone is asked for: KRX. `NX` (Nextrade) and `UN` (both together) would be another venue's numbers.
//! Business errors come with HTTP 200 and rate answers with HTTP 500, so the body is read before the status; token errors
//! have an envelope of their own. An unknown code is answered with success and an empty list.

mod account;
mod bars;
mod history;
mod investors;
mod lists;
mod master;
mod minutes;
mod names;
mod portfolios;

use std::io::Write;

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use self::account::Account;
use super::http::{Answer, Call, Client, Manners, Tokens, Verdict, odd_answer};
use super::text::Odd;
use super::{Job, Listing, Plan, ROW_READS, Source};
use crate::error::{Error, Result};
use crate::market::{Day, kst, kst_date};
use crate::stream::{Names, Preamble, Writer};

const BASE: &str = "https://openapi.koreainvestment.com:9443";
const MASTER_BASE: &str = "https://new.real.download.dws.co.kr";
/// Calls a second: 18 are allowed, and refusals occur below.
const RATE: f64 = 10.0;
/// Of all names, fewer than this share mean that a session is not there yet, whatever the clock says.
const LEAST_PERCENT: usize = 50;
/// So many names are listed, for a plan made before anybody is known: shares, ETFs and ETNs.
const LISTED: usize = 4_300;

/// A job at KIS.
pub struct Extract<'a> {
    files: Client<'a>,
    /// Absent for what the master files tell.
    quotes: Option<Quotes<'a>>,
}

/// The REST API, with a key.
struct Quotes<'a> {
    client: Client<'a>,
    account: Account,
}

impl<'a> Extract<'a> {
    /// Checks the settings and sets up the clients; asks nothing.
    pub fn open(job: &'a Job<'a>) -> Result<Self> {
        let kis = &job.settings.kis;
        if is_of_the_present(job.dataset.name) {
            check_present(job)?;
        }
        if matches!(job.dataset.name, "sectors" | "index-components") {
            lists::check(job)?;
        }
        // Who sends KIS's calls elsewhere sends those for its files there, too, unless the settings say otherwise.
        let url = job.settings.kis_master_url.as_ref().or(kis.url.as_ref());
        let manners = Manners {
            base: url.map_or_else(|| MASTER_BASE.to_owned(), |url| master::base(url)),
            rate: kis.rate.unwrap_or(RATE),
            bucket_rate: None,
            key: None,
            calls_a_day: None,
            bytes_a_day: None,
        };
        let quotes = if is_of_the_files(job.dataset.name) { None } else { Some(Quotes::open(job)?) };
        Ok(Self { files: Client::new(Source::Kis, job, manners)?, quotes })
    }

    /// The calls for the names that are known, or for about as many as are listed.
    pub fn plan(&self, job: &Job) -> Plan {
        let Some(quotes) = &self.quotes else {
            return self.files.plan(lists::files(job).len());
        };
        let sessions = job.sessions();
        let (names, remark) = match (&job.codes, &job.universe) {
            (Some(codes), _) => (codes.len(), ""),
            (None, Some(universe)) => {
                let serves = |(_, listing): &&(_, &Listing)| names::serves(job.dataset.name, listing.kind);
                (job.names(universe).iter().filter(serves).count(), "")
            }
            (None, None) => (LISTED, " (for about as many names as are listed: KIS's master files tell who)"),
        };
        let calls_a_name = match job.dataset.name {
            "ohlcv" => sessions.len().div_ceil(bars::BARS.rows),
            "investor-trading" => sessions.len().div_ceil(investors::INVESTORS.rows),
            "ohlcv-minute" => sessions.len() * minutes::PAGES,
            _ => 1,
        };
        Plan { remark: remark.into(), ..quotes.client.plan(names * calls_a_name) }
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let (provides, value_unit) = match job.dataset.name {
            "stocks" => (lists::MASTER, 1),
            "index-components" => ("stock_code", 1),
            "investor-trading" => ("all", investors::UNIT),
            _ => ("all", 1),
        };
        let names = if job.indices.is_empty() && knows_all(job) { Names::Whole } else { Names::List };
        let preamble = Preamble { value_unit, ..job.preamble(Source::Kis, names, provides) };
        // The master files hold exchange traded products as well.
        if job.dataset.name == "stocks" { preamble.with_classes("stock,etf,etn") } else { preamble }
    }

    /// Asks name by name, and writes session by session.
    pub async fn write<W: Write>(self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let written = match (job.dataset.name, &self.quotes) {
            ("ohlcv", Some(quotes)) => bars::BARS.write(&self.files, quotes, job, writer).await,
            ("investor-trading", Some(quotes)) => {
                investors::INVESTORS.write(&self.files, quotes, job, writer).await
            }
            ("ohlcv-minute", Some(quotes)) => minutes::write(&self.files, quotes, job, writer).await,
            ("etf-portfolios", Some(quotes)) => portfolios::write(&self.files, quotes, job, writer).await,
            _ => lists::write(&self.files, job, writer).await,
        };
        // What is not there yet is asked for anew: the answers without it are no progress.
        if matches!(written, Ok(()) | Err(Error::NotPublished { .. })) {
            self.files.finish()?;
            if let Some(quotes) = self.quotes {
                quotes.client.finish()?;
            }
        }
        written
    }
}

fn is_of_the_files(dataset: &str) -> bool {
    matches!(dataset, "stocks" | "sectors" | "index-components")
}

/// Answered without a date: as it is now.
fn is_of_the_present(dataset: &str) -> bool {
    is_of_the_files(dataset) || dataset == "etf-portfolios"
}

/// The session that the present belongs to.
fn present(job: &Job) -> Option<NaiveDate> {
    job.calendar.session_at_or_before(kst_date(job.now))
}

/// Is everybody known who was listed? Who was delisted since is not in the master of the present.
fn knows_all(job: &Job) -> bool {
    job.universe.is_some() || job.sessions().iter().all(|session| Some(*session) == present(job))
}

fn check_present(job: &Job) -> Result<()> {
    let present = present(job);
    if job.sessions().iter().all(|session| Some(*session) == present) {
        return Ok(());
    }
    let present = present.map_or_else(|| "the present".to_owned(), |session| session.to_string());
    Err(Error::usage(
        format!("KIS tells {} of {present} alone, the present session", job.dataset.name),
        "extract it daily from now on; for past sessions take another source",
    ))
}

/// When the session before the one asked for was over.
fn before_is_over(job: &Job, session: NaiveDate) -> Option<DateTime<Utc>> {
    let before = job.calendar.prev_session(session)?;
    let Day::Session(Some(hours)) = job.calendar.day(before) else { return None };
    before.and_time(hours.close).and_local_timezone(kst()).single().map(|at| at.to_utc())
}

impl<'a> Quotes<'a> {
    fn open(job: &'a Job<'a>) -> Result<Self> {
        let kis = &job.settings.kis;
        let missing = |name: &str| {
            Error::usage(
                format!("{name} is not set"),
                "open an account at 한국투자증권, apply for KIS Developers (apiportal.koreainvestment.com) with a real \
                 account, and set KDATA_KIS_APP_KEY and KDATA_KIS_APP_SECRET; stocks, sectors and index-components need \
                 no key",
            )
        };
        let app_key = kis.key.as_ref().ok_or_else(|| missing("KDATA_KIS_APP_KEY"))?.get()?;
        let app_secret = kis.secret.as_ref().ok_or_else(|| missing("KDATA_KIS_APP_SECRET"))?.get()?;
        let base = kis.url.clone().unwrap_or_else(|| BASE.into());
        let tokens = Tokens::new(&job.state, Source::Kis.name(), &base, &app_key, job.now)?;
        let manners = Manners {
            base,
            rate: kis.rate.unwrap_or(RATE),
            bucket_rate: None,
            key: Some(app_key.clone()),
            calls_a_day: None,
            bytes_a_day: None,
        };
        let account = Account::new(app_key, app_secret, tokens);
        Ok(Self { client: Client::new(Source::Kis, job, manners)?, account })
    }

    /// A question for quotations. All parameters go with it, blank ones too: KIS refuses a question without one.
    fn call(path: &str, tr_id: &'static str, parameters: &[(&'static str, &str)]) -> Call {
        let call = Call::get(format!("/uapi/{path}"))
            .header("content-type", "application/json; charset=utf-8")
            .header("tr_id", tr_id)
            .header("custtype", "P");
        parameters.iter().fold(call, |call, (name, value)| call.query(name, *value))
    }

    /// Asks, and reads the rows of the answer.
    async fn ask<T: DeserializeOwned, U>(
        &self,
        call: &Call,
        read: impl FnOnce(T, &Answer) -> Result<U>,
    ) -> Result<U> {
        let typed = |answer: &Answer| match answer.json::<T>() {
            Ok(body) => read(body, answer),
            Err(Verdict::Fatal(error)) => Err(error),
            Err(_) => Err(odd_answer("its answer does not read twice".into())),
        };
        self.client.ask(&self.account, call, typed).await
    }
}

/// An answer with rows.
#[derive(Deserialize)]
#[serde(bound = "R: Deserialize<'de>")]
struct Page<R> {
    #[serde(rename = "output2", default = "Vec::new", deserialize_with = "one_or_many")]
    rows: Vec<R>,
}

/// KIS answers with an object where there is one row, now and then.
fn one_or_many<'de, D: Deserializer<'de>, R: Deserialize<'de>>(
    from: D,
) -> std::result::Result<Vec<R>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<R> {
        Many(Vec<R>),
        One(R),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::Many(rows) => rows,
        OneOrMany::One(row) => vec![row],
    })
}

/// Writes a row that does not read as a reject.
fn reject<W: Write>(
    writer: &mut Writer<W>,
    about: &str,
    odd: &Odd,
    row: &impl std::fmt::Debug,
) -> Result<()> {
    writer.reject(0, ROW_READS.name, &format!("{about}: {odd}"), format!("{row:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_or_many() {
        #[derive(Deserialize, PartialEq, Debug, Default)]
        #[serde(default)]
        struct Row {
            a: String,
        }
        let read = |text: &str| serde_json::from_str::<Page<Row>>(text).unwrap().rows;
        let row = |a: &str| Row { a: a.into() };
        assert_eq!(read(r#"{"output2":[{"a":"1"},{}]}"#), [row("1"), row("")]);
        assert_eq!(read(r#"{"output2":{"a":"1"}}"#), [row("1")]);
        assert_eq!(read(r#"{"output2":[]}"#), []);
        assert_eq!(read("{}"), []);
    }
}
