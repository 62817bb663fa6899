//! The KRX data portal (data.krx.co.kr): the exchange's own screens, asked as its pages ask.
//!
//! Its terms forbid automated collection (article 10(2)) and it blocks machines that it finds at it, so the source is off
//! until `KDATA_KRX=on`, asks slowly, and never asks again once it is blocked. Every screen is one form with the name of the
//! screen (`bld`), answered with one list whose values are texts: `1,234`, `-` for what is missing, a sign in front. What is
//! read is the JSON, whatever the content type says.
//!
//! | dataset | screen | one call |
//! |---|---|---|
//! | stocks | MDCSTAT01901, MDCSTAT04601, finder_listdelisu | shares, ETFs, delisted names, all of the present |
//! | ohlcv, market-cap | MDCSTAT01501 | a session, all markets or one |
//! | investor-trading | MDCSTAT02401 | a session, a market, a kind of investor |
//! | index-components | MDCSTAT00601 | a session, an index |
//! | sectors | MDCSTAT03901 | a session, KOSPI or KOSDAQ |
//! | etf-portfolios | MDCSTAT05001 | a session, an ETF |

mod daily;
mod indices;
mod investors;
mod lists;
mod login;
mod portal;
mod portfolios;
mod sectors;
mod stocks;

use std::io::Write;

use self::portal::Portal;
use self::stocks::Master;
use super::text::Odd;
use super::{Job, Plan, Source};
use crate::dataset::{Rule, Severity, rule};
use crate::error::{Error, Result};
use crate::market::{Market, StockCode};
use crate::stream::{Names, Preamble, Writer};

static CHANGE: Rule = rule::row(
    "krx.change_agrees",
    Severity::Reject,
    "change, change code and change ratio contradict each other",
    "Code 1 and 4 mean up, 2 and 5 down, 0 and 3 unchanged; ratio = change / (close - change) within 0.0051 points. Holds \
     for all rows of the recorded answers. The base price is made from the change: bars are rejected, caps flagged.",
);
static CAP: Rule = rule::row(
    "krx.cap_agrees",
    Severity::Reject,
    "the capitalisation is not close x listed shares",
    "Exact in all rows of the recorded answers. Caps are rejected; a bar is flagged, as its close may be right.",
);
static NO_SHARE: Rule = rule::row(
    "krx.no_share",
    Severity::Note,
    "names of the list are no shares, and are left out",
    "The list of delisted names also holds subscription rights and beneficiary certificates; their codes have eight \
     characters, where those of shares have six. Of the 4,043 names recorded in January 2026, 1,749 are such.",
);
static OTHER_TIME: Rule = rule::row(
    "krx.is_of_its_session",
    Severity::Flag,
    "the list bears the time of another session",
    "The portal's masters are of the present, and say when they were made. One that was made at another time than it was \
     asked for comes out of some cache: names may be missing in it.",
);

/// The rules that this source checks on its own rows.
pub static RULES: [&Rule; 4] = [&CHANGE, &CAP, &NO_SHARE, &OTHER_TIME];

type Read<T> = std::result::Result<T, Odd>;

/// A job at the portal.
pub struct Extract<'a> {
    portal: Portal<'a>,
    master: Option<Master>,
}

impl<'a> Extract<'a> {
    /// Sets up the client; asks nothing.
    pub fn open(job: &'a Job<'a>) -> Result<Self> {
        let portal = Portal::new(job)?;
        if job.dataset.name == "index-components" {
            indices::indices(job)?;
        }
        Ok(Self { portal, master: None })
    }

    /// What it will ask.
    pub fn plan(&self, job: &Job) -> Plan {
        let calls = match job.dataset.name {
            "stocks" => stocks::calls(job),
            "investor-trading" => investors::questions(job).len(),
            "index-components" => indices::questions(job).map_or(0, |questions| questions.len()),
            "sectors" => sectors::questions(job).len(),
            "etf-portfolios" => return portfolios::plan(&self.portal, job),
            _ => daily::questions(job).len(),
        };
        self.portal.client().plan(calls)
    }

    /// Asks for the masters: the stream's first line says which of them came.
    pub async fn prepare(&mut self, job: &Job<'_>) -> Result<()> {
        if job.dataset.name == "stocks" {
            self.master = Some(Master::ask(&self.portal, job).await?);
        }
        Ok(())
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let plain = |names, provides| job.preamble(Source::Krx, names, provides);
        match (job.dataset.name, &self.master) {
            (_, Some(master)) => master.preamble(job),
            // The key alone.
            ("index-components", _) => plain(Names::Whole, ""),
            ("sectors", _) if !sectors::is_whole(job) => plain(Names::List, "all"),
            ("etf-portfolios", _) => {
                // Without a stock master it is the ETFs of the present, whatever the session.
                let names = if portfolios::is_whole(job) { Names::Whole } else { Names::List };
                plain(names, "all").with_classes("etf")
            }
            _ => plain(Names::Whole, "all"),
        }
    }

    /// Writes rows and marks.
    pub async fn write<W: Write>(self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let portal = &self.portal;
        match (job.dataset.name, &self.master) {
            (_, Some(master)) => master.write(job, writer)?,
            ("investor-trading", _) => investors::write(portal, job, writer).await?,
            ("index-components", _) => indices::write(portal, job, writer).await?,
            ("sectors", _) => sectors::write(portal, job, writer).await?,
            ("etf-portfolios", _) => portfolios::write(portal, job, writer).await?,
            _ => daily::write(portal, job, writer).await?,
        }
        self.portal.finish()
    }
}

fn market_id(market: Market) -> &'static str {
    match market {
        Market::Kospi => "STK",
        Market::Kosdaq => "KSQ",
        Market::Konex => "KNX",
    }
}

fn code_of(field: &'static str, text: &str) -> Read<StockCode> {
    let odd = || Odd { field, text: text.to_owned(), expected: "a code of six characters [0-9A-Z]" };
    StockCode::parse(text.trim().as_bytes()).ok_or_else(odd)
}

/// The portal answered, and has nothing.
fn not_published(what: &str) -> Error {
    Error::NotPublished {
        what: format!("krx has nothing of {what}, which the calendar calls a session"),
        help: "run again later; if the market was closed that day: kdata calendar add DAY REASON".into(),
    }
}
