//! Kiwoom REST, name by name. Every question is a POST whose header `api-id` names the operation; answers are newest
//! first, page by page, with a cursor in the headers.
//!
//! Only KRX is asked for: `005930`, never `005930_NX` (Nextrade) or `005930_AL` (both together). Prices bear the sign of
//! their change, counts come as texts, values in million KRW.

mod account;
mod bars;
mod floats;
mod investors;
mod master;
mod minutes;

use std::io::Write;

use chrono::NaiveDate;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::account::Account;
use super::http::{Answer, Call, Client, Manners, Pages, Tokens, odd_answer};
use super::text;
use super::{Job, Plan, Roll, Source};
use crate::dataset::{Finding, Rule};
use crate::error::{Error, Result};
use crate::market::{SecurityType, StockCode, kst_date};
use crate::stream::{Names, Preamble, Writer};

const BASE: &str = "https://api.kiwoom.com";
/// Below the published 5 a second.
const RATE: f64 = 3.0;
/// What of the rate one operation may have: about one call a second goes through for long.
const SHARE: f64 = 3.0;
/// Traded values come in million KRW.
const UNIT: i64 = 1_000_000;
const CONTENT_TYPE: &str = "application/json;charset=UTF-8";
/// So many rows are held in memory before they go on in the stream's order: about 160 bytes each.
const ROWS_AT_ONCE: usize = 1_000_000;
/// No question needs more pages: a year of minutes has 110.
const MOST_PAGES: usize = 200;
/// Of all names, fewer than this share mean that a session is not there yet.
const LEAST_PERCENT: usize = 50;
const LATER: &str =
    "run again later; an old session may lie beyond what Kiwoom keeps: take another source for it";

/// What is remarked of this source's answers.
pub static RULES: [&Rule; 3] = [&master::PRESENT_NAMES, &minutes::OUT_OF_HOURS, &floats::UNIT_AGREES];

/// An operation: its id, its path, and the list in its answers.
struct Operation {
    id: &'static str,
    path: &'static str,
    list: &'static str,
}

/// A job at Kiwoom.
pub struct Extract<'a> {
    client: Client<'a>,
    account: Account,
    /// Calls a second of one operation.
    rate: f64,
}

/// A row that bears its time, `20250908` or `20250917132000`; blank ones are padding.
trait Stamped {
    fn stamp(&self) -> &str;
}

impl<'a> Extract<'a> {
    /// Sets up the client; asks nothing.
    pub fn open(job: &'a Job<'a>) -> Result<Self> {
        if job.dataset.name == "floating-shares" {
            floats::present(job)?;
        }
        let settings = &job.settings.kiwoom;
        let missing = |name: &str| {
            Error::usage(
                format!("{name} is not set"),
                "open an account at 키움증권, apply for Kiwoom REST (openapi.kiwoom.com), register this machine's address \
                 there, and set KDATA_KIWOOM_APP_KEY and KDATA_KIWOOM_SECRET_KEY",
            )
        };
        let app_key = settings.key.as_ref().ok_or_else(|| missing("KDATA_KIWOOM_APP_KEY"))?.get()?;
        let secret_key = settings.secret.as_ref().ok_or_else(|| missing("KDATA_KIWOOM_SECRET_KEY"))?.get()?;
        let base = settings.url.clone().unwrap_or_else(|| BASE.into());
        let tokens = Tokens::new(&job.state, Source::Kiwoom.name(), &base, &app_key, job.now)?;
        let all = settings.rate.unwrap_or(RATE);
        // A rate that was set lower is shared by nobody.
        let rate = (all / SHARE).max(all.min(1.0));
        let manners = Manners {
            base,
            rate: all,
            bucket_rate: Some(rate),
            key: Some(app_key.clone()),
            calls_a_day: None,
            bytes_a_day: None,
        };
        let account = Account::new(app_key, secret_key, tokens);
        Ok(Self { client: Client::new(Source::Kiwoom, job, manners)?, account, rate })
    }

    /// One operation is asked for each name, at its own rate.
    pub fn plan(&self, job: &Job) -> Plan {
        let roll = |universe| Roll::of(job, universe, |kind| has(job.dataset.name, kind)).names().len();
        let known = job.universe.as_ref().map(roll);
        let names = known.or(job.codes.as_ref().map(std::collections::BTreeSet::len));
        let sessions = job.sessions().len();
        let each = match job.dataset.name {
            "ohlcv" => sessions.div_ceil(bars::sessions_at_once(names.unwrap_or(1))),
            "ohlcv-minute" => sessions.div_ceil(minutes::SESSIONS_AT_ONCE),
            "investor-trading" => {
                investors::METRICS * sessions.div_ceil(investors::sessions_at_once(names.unwrap_or(1)))
            }
            _ => 1,
        };
        let calls = names.map_or(master::CALLS, |names| names * each);
        let mut plan = Plan::new(calls, self.rate);
        if names.is_none() {
            plan.remark = format!(
                " for the names, then {each} for each of them: a stock master in the database tells them, and spares these"
            );
        }
        plan
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let past = job.sessions().first().copied() < job.calendar.session_at_or_before(kst_date(job.now));
        // Its own list lacks those that were delisted since.
        let names = if job.universe.is_none() && past { Names::List } else { Names::Whole };
        let of = |provides| job.preamble(Source::Kiwoom, names, provides);
        match job.dataset.name {
            "ohlcv-minute" => of("open,high,low,close,volume"),
            "floating-shares" => of("all"),
            _ => Preamble { value_unit: UNIT, ..of("all") },
        }
    }

    /// Writes rows and marks.
    pub async fn write<W: Write>(self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let universe = self.universe(writer).await?;
        let roll = Roll::of(job, &universe, |kind| has(job.dataset.name, kind));
        roll.open(job, "kiwoom", writer)?;
        match job.dataset.name {
            "ohlcv-minute" => self.minutes(roll, job, writer).await?,
            "investor-trading" => self.investors(roll, job, writer).await?,
            "floating-shares" => self.floats(roll, job, writer).await?,
            _ => self.bars(roll, job, writer).await?,
        }
        self.client.finish()
    }

    /// A question; the next page of its answer with a cursor. Without one both headers are left out: some servers refuse
    /// them blank.
    fn call(operation: &Operation, body: &Value, cursor: Option<&str>) -> Call {
        let call = Call::json(operation.path, body.clone()).bucket(operation.id);
        let call = call.header("content-type", CONTENT_TYPE).header("api-id", operation.id);
        match cursor {
            Some(cursor) => call.header("cont-yn", "Y").header("next-key", cursor),
            None => call,
        }
    }

    /// Asks for what a name did up to a session, page by page and newest first, until a row of `until` came, or an older
    /// one; nothing newer than `last` may come.
    async fn back<T: DeserializeOwned + Stamped>(
        &self,
        operation: &Operation,
        body: &Value,
        until: &str,
        last: NaiveDate,
    ) -> Result<Vec<T>> {
        let about = format!("kiwoom: {} {body}", operation.id);
        let mut pages = Pages::new(&about, MOST_PAGES);
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        let mut oldest = String::new();
        loop {
            let call = Self::call(operation, body, cursor.as_deref());
            let read = |answer: &Answer| {
                let mut rows: Vec<T> = rows(answer, operation, body["stk_cd"].as_str())?;
                rows.retain(|row| text::filled(row.stamp()).is_some());
                if rows.is_empty() {
                    return Ok((rows, None));
                }
                pages.turn(answer, None)?;
                in_order(&rows, &oldest, last).map_err(|error| error.at(&about))?;
                // Pages may share the row at their border. What has no time at all is rejected later.
                rows.retain(|row| oldest.is_empty() || !has_time(row) || row.stamp() < oldest.as_str());
                Ok((rows, next(answer)?))
            };
            let (rows, more) = self.client.ask(&self.account, &call, read).await?;
            if let Some(row) = rows.iter().filter(|row| has_time(*row)).map(Stamped::stamp).min() {
                row.clone_into(&mut oldest);
            }
            let is_end = rows.is_empty() || oldest.as_str() <= until;
            all.extend(rows);
            if is_end || more.is_none() {
                return Ok(all);
            }
            cursor = more;
        }
    }

    /// Is every session there? If not, what was answered is asked for again by the next run.
    fn judge(
        &self,
        roll: &Roll,
        sessions: &[NaiveDate],
        percent: usize,
        asked: impl Iterator<Item = Call>,
    ) -> Result<()> {
        roll.judge(self.client.job(), "kiwoom", sessions, percent, LATER).inspect_err(|_| {
            asked.for_each(|call| self.client.disown(&call));
        })
    }

    fn remark<W: Write>(writer: &mut Writer<W>, rule: &'static Rule, key: &str, message: &str) -> Result<()> {
        writer.remark(&Finding { rule, severity: rule.severity }, key, message)
    }
}

/// Has a name of that kind the dataset?
fn has(dataset: &str, kind: SecurityType) -> bool {
    dataset.starts_with("ohlcv") || !kind.is_exchange_traded_product()
}

/// The rows of an answer about a name; none where it says that there are none.
fn rows<T: DeserializeOwned>(answer: &Answer, operation: &Operation, code: Option<&str>) -> Result<Vec<T>> {
    let unread = |why: String| {
        odd_answer(format!("kiwoom: {} of {} does not read: {why}", operation.list, operation.id))
    };
    let mut body: Value = answer.json().map_err(|_| unread("no JSON".into()))?;
    // Another venue's numbers bear a name of their own: 005930_NX, 005930_AL.
    if let (Some(asked), Some(told)) = (code, body.get("stk_cd").and_then(Value::as_str))
        && !told.is_empty()
        && told != asked
    {
        return Err(odd_answer(format!(
            "kiwoom: asked for {asked}, it answered with {}",
            told.escape_debug()
        )));
    }
    match body.get_mut(operation.list).map(Value::take) {
        Some(list @ Value::Array(_)) => serde_json::from_value(list).map_err(|e| unread(e.to_string())),
        None | Some(Value::Null) if text::whole("return_code", &code_of(&body)) != Ok(Some(0)) => {
            Ok(Vec::new())
        }
        None | Some(Value::Null) => Err(unread("it is not there".into())),
        Some(_) => Err(unread("it is no list".into())),
    }
}

fn code_of(body: &Value) -> String {
    match body.get("return_code") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// The cursor to the next page, if there is one.
fn next(answer: &Answer) -> Result<Option<String>> {
    if answer.header("cont-yn") != Some("Y") {
        return Ok(None);
    }
    let cursor = answer.header("next-key").filter(|cursor| !cursor.is_empty());
    let cursor =
        cursor.ok_or_else(|| odd_answer("kiwoom: more pages are there, and no cursor to them".into()))?;
    Ok(Some(cursor.to_owned()))
}

/// Does a row's time begin with eight digits?
fn has_time(row: &impl Stamped) -> bool {
    row.stamp().get(..8).is_some_and(|day| day.bytes().all(|b| b.is_ascii_digit()))
}

/// Nothing may be newer than what was asked for, and a page must go on where the one before it ended.
fn in_order<T: Stamped>(rows: &[T], oldest: &str, last: NaiveDate) -> Result<()> {
    let last = text::compact(last);
    let stamps = || rows.iter().filter(|row| has_time(*row)).map(Stamped::stamp);
    if let Some(newer) = stamps().find(|stamp| stamp[..8] > *last) {
        return Err(odd_answer(format!("asked for rows up to {last}, it answered with one of {newer}")));
    }
    if !oldest.is_empty() && !stamps().any(|stamp| stamp < oldest) {
        return Err(odd_answer(format!("its next page does not go on behind {oldest}")));
    }
    Ok(())
}

/// The body of a question about one name.
fn body(code: StockCode, more: &[(&str, &str)]) -> Value {
    let mut body = json!({ "stk_cd": code.as_str() });
    for (name, value) in more {
        body[*name] = Value::from(*value);
    }
    body
}
