//! Infomax (연합인포맥스): a terminal's API, code by code or lists of codes on one session.
//!
//! `GET {base}/api/…` with the header `authorization: bearer TOKEN`, answered by `{"success": true, "results": […]}`.
//! At most 1,000 rows an answer, without pages; a quota of bytes a day. An answer without rows is normal for one code (not
//! listed, a listing day, no trades), and never for a whole session.

mod bars;
mod investors;
mod master;
mod part;
mod portfolios;

use std::borrow::Cow;
use std::io::Write;

use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::http::{Answer, Call, Client, Manners, Vendor, Verdict, odd_answer};
use super::text;
use super::{Job, Plan, Roll, Source, Universe};
use crate::dataset::Rule;
use crate::error::{Error, Result};
use crate::market::{SecurityType, StockCode};
use crate::settings::Secret;
use crate::stream::{Names, Preamble, Writer};

const BASE: &str = "https://infomaxy.einfomax.co.kr";
/// Below the 60 a minute of the Lite plan.
const RATE: f64 = 0.95;
/// The Lite plan's 0.2 GB a day.
pub(super) const BYTES_A_DAY: u64 = 200_000_000;
/// So many rows an answer has at most; the rest is left out without a word.
const MOST_ROWS: usize = 1_000;
/// So many rows are held in memory before they go on in the stream's order: about 160 bytes each.
const ROWS_AT_ONCE: usize = 1_000_000;
/// Of all names, fewer than this share mean that a session is not loaded yet: 29 % were there at 18:10, all after 19:00.
const LEAST_PERCENT: usize = 50;
const LATER: &str = "a session is loaded in the evening, all of it after 19:00: run again later; an old one may lie beyond \
                     what the plan looks back: take another source for it";

/// What is remarked of this source's answers.
pub static RULES: [&Rule; 2] = [&master::PRESENT_NAMES, &portfolios::PROXY];

/// A job at Infomax.
pub struct Extract<'a> {
    client: Client<'a>,
    vendor: Token,
}

/// Every call bears the token.
struct Token(Secret);

impl Vendor for Token {
    async fn sign(&self, _: &Client<'_>) -> Result<Vec<(&'static str, Secret)>> {
        // In lower case, as all of the vendor's samples have it.
        Ok(vec![("authorization", Secret::new(format!("bearer {}", self.0.reveal())))])
    }

    fn judge(&self, _: &Call, answer: &Answer) -> Verdict {
        match answer.json::<Envelope<IgnoredAny>>() {
            Ok(Envelope { success: Some(true), results: Some(_), .. }) if answer.status == 200 => {
                Verdict::Good
            }
            Ok(Envelope { success: Some(false), message, .. }) => by_message(answer, &told(&message)),
            Ok(_) if answer.status == 200 => {
                Verdict::Fatal(odd_answer("its answer has neither results nor a reason".into()))
            }
            Err(verdict) if answer.status == 200 => verdict,
            _ => answer.by_status(),
        }
    }

    async fn renew(&self, _: &Client<'_>) -> Result<()> {
        Ok(())
    }
}

/// What the service's own words of refusal mean; they come with status 200 as well.
fn by_message(answer: &Answer, message: &str) -> Verdict {
    let says = |word: &str| message.contains(word);
    let what = format!("it refused: {message}");
    if says("사용량 제한") {
        Verdict::Fatal(Error::Source {
            what: format!("the day's quota of the account is spent ({message})"),
            help: "run the same again after 00:00 KST: what was answered is kept and not asked for again"
                .into(),
        })
    } else if says("access_denied") {
        Verdict::Fatal(Error::Credentials {
            what,
            help: "check KDATA_INFOMAX_TOKEN: the token is issued on terminal screen 9000, one an account, and the \
                   subscription must include the API"
                .into(),
        })
    } else if says("access_limit") || says("timeout") {
        Verdict::Retry { what, after: None }
    } else if answer.status == 200 {
        Verdict::Fatal(odd_answer(what))
    } else {
        answer.by_status()
    }
}

/// A text, or an object with one.
fn told(message: &Value) -> String {
    let text = message.as_str().or_else(|| message.get("errmsg")?.as_str());
    let text = text.map_or_else(|| message.to_string(), ToOwned::to_owned);
    text.chars().take(200).filter(|c| !c.is_control()).collect()
}

#[derive(Deserialize)]
struct Envelope<T> {
    success: Option<bool>,
    #[serde(default)]
    message: Value,
    results: Option<Vec<T>>,
}

/// The rows of an answer, if they may be all.
fn rows<T: DeserializeOwned>(answer: &Answer) -> Result<Vec<T>> {
    let body: Envelope<T> = answer.json().map_err(|_| odd_answer("infomax: its rows do not read".into()))?;
    Ok(body.results.unwrap_or_default())
}

/// Has a name of that kind the dataset? Funds and notes are not known to have flows.
fn has(dataset: &str, kind: SecurityType) -> bool {
    match dataset {
        "investor-trading" => !kind.is_exchange_traded_product(),
        "etf-portfolios" => kind == SecurityType::Etf,
        _ => true,
    }
}

/// All rows must be of the names and within the days asked for. A date that does not read makes a reject of its row later.
fn only<T: Dated>(rows: &[T], codes: &[StockCode], from: NaiveDate, to: NaiveDate) -> Result<()> {
    let is_other = |row: &&T| {
        let date = text::date("date", row.date()).ok().flatten();
        let names = |code: &StockCode| code.as_str() == row.code().trim();
        date.is_some_and(|date| date < from || date > to) || !codes.iter().any(names)
    };
    rows.iter().find(is_other).map_or(Ok(()), |row| {
        let names = codes.iter().take(3).map(StockCode::as_str).collect::<Vec<_>>().join(", ");
        Err(odd_answer(format!(
            "infomax: asked for {from} to {to} and {} names ({names}), it answered with a row of {} for {}",
            codes.len(),
            row.date().escape_debug(),
            row.code().escape_debug()
        )))
    })
}

/// A question about a range of days.
fn ranged(call: Call, from: NaiveDate, to: NaiveDate) -> Call {
    call.query("startDate", text::compact(from)).query("endDate", text::compact(to))
}

/// A row that bears the session and the name it is about.
trait Dated {
    fn date(&self) -> &str;
    fn code(&self) -> &str;
}

impl<'a> Extract<'a> {
    /// Sets up the client; asks nothing.
    pub fn open(job: &'a Job<'a>) -> Result<Self> {
        if job.dataset.name == "index-components" {
            portfolios::proxies(job)?;
        }
        let settings = &job.settings.infomax;
        let token = settings.key.as_ref().ok_or_else(|| {
            Error::usage(
                "KDATA_INFOMAX_TOKEN is not set",
                "the API needs a terminal subscription; its token is issued on terminal screen 9000",
            )
        })?;
        let token = token.get()?;
        let manners = Manners {
            base: settings.url.clone().unwrap_or_else(|| BASE.into()),
            rate: settings.rate.unwrap_or(RATE),
            bucket_rate: None,
            key: Some(token.clone()),
            calls_a_day: None,
            bytes_a_day: Source::Infomax.quota(job.settings).1,
        };
        Ok(Self { client: Client::new(Source::Infomax, job, manners)?, vendor: Token(token) })
    }

    /// As many calls as the names that are known need; else those of the master come on top.
    pub fn plan(&self, job: &Job) -> Plan {
        let sessions = job.sessions().len();
        let roll = |universe| Roll::of(job, universe, |kind| has(job.dataset.name, kind)).names().len();
        let known = job.universe.as_ref().map(roll);
        let names = known.or(job.codes.as_ref().map(std::collections::BTreeSet::len));
        let counted = match (job.dataset.name, names) {
            ("index-components", _) => Some(portfolios::proxies(job).map_or(0, |p| p.len()) * sessions),
            ("stocks", _) | (_, None) => None,
            ("etf-portfolios", Some(names)) => Some(names * sessions),
            ("investor-trading", Some(names)) => Some(names * investors::chunks(job.sessions()).len()),
            (_, Some(names)) => Some(bars::calls(names, sessions)),
        };
        let mut plan = self.client.plan(counted.unwrap_or(master::CALLS));
        if counted.is_none() && job.dataset.name != "stocks" {
            plan.remark =
                " for the names, then about one for each of them: a stock master in the database tells \
                           them, and spares these"
                    .into();
        }
        plan
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let of = |provides| job.preamble(Source::Infomax, Names::Whole, provides);
        match job.dataset.name {
            "stocks" => of(master::PROVIDES).with_classes("stock,etf,etn"),
            "investor-trading" => Preamble { value_unit: investors::UNIT, ..of("all") },
            "etf-portfolios" => of(portfolios::PROVIDES),
            "index-components" => {
                let names = if job.indices.is_empty() { Names::Whole } else { Names::List };
                Preamble { names, ..of("index_code,time,stock_code") }
            }
            _ => of("all"),
        }
    }

    /// Writes rows and marks.
    pub async fn write<W: Write>(self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        match job.dataset.name {
            "stocks" => self.stocks(job, writer).await?,
            "investor-trading" => self.investors(job, writer).await?,
            "etf-portfolios" => self.portfolios(job, writer).await?,
            "index-components" => self.members(job, writer).await?,
            _ => self.bars(job, writer).await?,
        }
        self.client.finish()
    }

    /// Asks a question. The answer must have fewer rows than the service's most, and pass a check.
    async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call,
        check: impl FnOnce(&[T]) -> Result<()>,
    ) -> Result<Vec<T>> {
        let read = |answer: &Answer| {
            let rows = rows(answer)?;
            if rows.len() >= MOST_ROWS {
                return Err(odd_answer(format!(
                    "infomax: {} has {} rows, the most it gives: some may be left out",
                    call.line(),
                    rows.len()
                )));
            }
            check(&rows).map(|()| rows)
        };
        self.client.ask(&self.vendor, call, read).await
    }

    /// Asks for what a code did in a range of days; all rows must lie in it. An answer that does not reach back to
    /// `first` is asked on for what is before it: plans differ in how far one answer reaches.
    async fn history<T: DeserializeOwned + Dated>(
        &self,
        question: &Call,
        code: StockCode,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Vec<T>> {
        let calendar = self.client.job().calendar;
        let mut all = Vec::new();
        let mut until = last;
        loop {
            let call = ranged(question.clone(), first, until);
            let rows: Vec<T> = self.ask(&call, |rows| only(rows, &[code], first, until)).await?;
            let earliest = rows.iter().filter_map(|row| text::date("date", row.date()).ok().flatten()).min();
            all.extend(rows);
            match earliest.and_then(|earliest| calendar.prev_session(earliest)) {
                Some(before) if before >= first => until = before,
                _ => return Ok(all),
            }
        }
    }

    /// Who was listed: the database's stock master where it knows, else the source's own.
    async fn universe<W: Write>(&self, writer: &mut Writer<W>) -> Result<Cow<'a, Universe>> {
        let job = self.client.job();
        let Some(codes) = &job.codes else {
            return Ok(match &job.universe {
                Some(universe) => Cow::Borrowed(universe),
                None => Cow::Owned(self.master(writer).await?.universe()),
            });
        };
        let mut universe = job.universe.clone().unwrap_or_default();
        let unknown: Vec<StockCode> = codes.iter().copied().filter(|code| !universe.has(*code)).collect();
        let master = self.master_of(&unknown, writer).await?;
        for (code, listing) in master.listings().filter(|(code, _)| unknown.contains(code)) {
            universe.add(code, listing);
        }
        Ok(Cow::Owned(universe))
    }

    /// Calls the roll. Nobody has a row on their first session.
    fn roll<'u, W: Write>(&self, universe: &'u Universe, writer: &mut Writer<W>) -> Result<Roll<'u>> {
        let job = self.client.job();
        let roll = Roll::of(job, universe, |kind| has(job.dataset.name, kind)).lacking_first_sessions();
        roll.open(job, "infomax", writer)?;
        Ok(roll)
    }

    /// Is every session there? If not, what was answered is asked for again by the next run.
    fn judge(&self, roll: &Roll, sessions: &[NaiveDate], asked: impl Iterator<Item = Call>) -> Result<()> {
        roll.judge(self.client.job(), "infomax", sessions, LEAST_PERCENT, LATER).inspect_err(|_| {
            asked.for_each(|call| self.client.disown(&call));
        })
    }
}
