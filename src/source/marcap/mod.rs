//! marcap (FinanceData/marcap): KRX daily rows of all listed shares, one file a year, from a folder or over HTTP.
//!
//! Prices are raw, value and capitalisation in KRW. `O = H = L = 0` means no trade. Some years' files drop the
//! names without trades (2021 does): found out from the rows, not from the year.

mod fetch;
mod file;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use chrono::{Datelike, NaiveDate};

use self::file::{Cell, Col, Row, YearFile};
use self::survey::Survey;
use super::quote::{self, market_of};
use super::{Job, Source};
use crate::dataset::market_cap::Cap;
use crate::dataset::ohlcv::Bar;
use crate::dataset::stocks::{self, Stock};
use crate::dataset::{Finding, Rule, Severity, rule};
use crate::error::{Error, Result};
use crate::market::{Market, SecurityType, StockCode, limit};
use crate::stream::{Names, Preamble, Writer};

static READS: Rule = rule::row(
    "marcap.row_reads",
    Severity::Reject,
    "the row of the source file does not read",
    "As many fields as the header; names in UTF-8 without control characters, quotes, or the Latin-1 letters that \
     CP949 turns into; a code [0-9A-Z]{6}, a known market, a date of the file's year, whole numbers, a rank from 1. One \
     damaged cell makes the whole row doubtful.",
);
static IN_ORDER: Rule = rule::row(
    "marcap.date_in_order",
    Severity::Reject,
    "the row stands among rows of another date",
    "marcap's files ascend by date, and a session has thousands of rows. A few rows out of order, or alone on their \
     day, are rows with a changed date.",
);
static CHANGE: Rule = rule::row(
    "marcap.change_agrees",
    Severity::Reject,
    "change, change code and change ratio contradict each other",
    "Code 1 and 4 mean up, 2 and 5 down, 0 and 3 unchanged; ratio = change / (close - change) within 0.0051 points. \
     Holds for all 489,645 rows of the reference data. The base price is made from the change: bars are rejected, caps \
     and masters flagged. A row without a ratio in a file that has them is flagged.",
);
static MARKET: Rule = rule::row(
    "marcap.market_agrees",
    Severity::Flag,
    "the market and the market id contradict each other",
    "KOSPI is STK, KOSDAQ and its segment GLOBAL are KSQ, KONEX is KNX, in every row of the reference data. Scopes, ticks \
     and limits depend on the market.",
);
static CAP: Rule = rule::row(
    "marcap.cap_agrees",
    Severity::Reject,
    "the capitalisation is not close x listed shares",
    "Exact in all 489,645 rows of the reference data. Rejected where cap or shares are asked for; a bar is flagged, as \
     its close may be right.",
);
static TURNOVER: Rule = rule::row(
    "marcap.volume_within_shares",
    Severity::Flag,
    "more than five times the listed shares were traded",
    "Theme stocks trade more than their listed shares in a day now and then, but not five times.",
);
static LIMIT_CODE: Rule = rule::row(
    "marcap.limit_code_agrees",
    Severity::Flag,
    "the change code says the close is at the daily limit, and it is not",
    "Code 4 is limit-up, 5 limit-down: right for 2,133 of 2,136 rows of the reference data; the others are first sessions.",
);
static PLAIN: Rule = rule::row(
    "marcap.file_is_plain",
    Severity::Flag,
    "the file has a byte order mark or line ends of two kinds",
    "marcap's files have neither (all lines end alike, in CR LF or in LF): something has edited or joined them.",
);

/// The rules that this source checks on its own rows.
pub static RULES: [&Rule; 8] = [&READS, &IN_ORDER, &CHANGE, &MARKET, &CAP, &TURNOVER, &LIMIT_CODE, &PLAIN];

/// No rank is higher: about 2,900 shares are listed.
const MOST_NAMES: i64 = 9_999;

/// The files that answer a job, looked through once.
pub struct Extract {
    years: Vec<(YearFile, Survey)>,
    /// Sessions asked for that no file has.
    missing: Vec<NaiveDate>,
    _downloads: fetch::Downloads,
}

impl Extract {
    /// Finds (or fetches) the files and looks through their dates.
    pub async fn open(job: &Job<'_>) -> Result<Self> {
        let sessions = job.sessions();
        let mut years: Vec<i32> = sessions.iter().map(Datelike::year).collect();
        years.dedup();
        let (files, downloads) = fetch::files(job, &years).await?;
        let mut surveyed = Vec::new();
        for file in files {
            let survey = Survey::of(&file)?;
            surveyed.push((file, survey));
        }
        let has = |date: &NaiveDate| surveyed.iter().any(|(_, survey)| survey.has(*date));
        let missing: Vec<_> =
            sessions.iter().copied().filter(|d| job.calendar.is_certain(*d) && !has(d)).collect();
        if let (Some(first), true) = (missing.first(), missing.len() == sessions.len()) {
            let newest = surveyed.iter().filter_map(|(_, survey)| survey.last()).max();
            return Err(Error::NotPublished {
                what: match newest {
                    Some(last) if last < *first => format!("marcap ends at {last}: {first} is not in it yet"),
                    _ => format!("marcap has no row of {first}"),
                },
                help: "fetch the newest yearly file, or take another source".into(),
            });
        }
        Ok(Self { years: surveyed, missing, _downloads: downloads })
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let asked = |date: &NaiveDate| (job.from..=job.to).contains(date);
        let traded_only = self.years.iter().any(|(_, survey)| survey.drops_untraded(asked));
        let provides = match job.dataset.name {
            "stocks" => "name,market,segment,security_type,is_active,listed_shares",
            _ => "all",
        };
        job.preamble(Source::Marcap, if traded_only { Names::Traded } else { Names::Whole }, provides)
    }

    /// Writes rows and marks, session by session.
    pub fn write<W: Write>(self, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        for date in &self.missing {
            writer.missing(&date.to_string(), "a session that the yearly file does not have")?;
        }
        let mut seen = BTreeSet::new();
        for (file, survey) in &self.years {
            let mut pending = Pending { job, file, survey, sessions: BTreeMap::new(), seen: &mut seen };
            let mut index = 0;
            let plain = file.rows(|row| {
                pending.take(&row, index, writer)?;
                index += 1;
                pending.emit_until(Some(index), writer)
            })?;
            pending.emit_until(None, writer)?;
            if !plain {
                let finding = Finding { rule: &PLAIN, severity: Severity::Flag };
                writer.remark(&finding, "", &format!("{}: {}", file.name, PLAIN.says))?;
            }
        }
        job.mark_missing(&seen, writer)
    }
}

/// Sessions whose rows have not all come yet; one at a time in an ordered file.
struct Pending<'a> {
    job: &'a Job<'a>,
    file: &'a YearFile,
    survey: &'a Survey,
    sessions: BTreeMap<NaiveDate, Vec<Quote>>,
    /// The codes that were met, of those asked for.
    seen: &'a mut BTreeSet<StockCode>,
}

impl Pending<'_> {
    fn take<W: Write>(&mut self, row: &Row, index: usize, writer: &mut Writer<W>) -> Result<()> {
        let mut reject = |rule: &Rule, message: &str| {
            writer.reject(
                row.line,
                rule.name,
                &format!("{}: {message}", self.file.name),
                row.text().as_bytes(),
            )
        };
        let date = row.get(Col::Date).date().filter(|d| d.year() == self.file.year);
        // A row whose date does not read may belong to any session: it is told whatever was asked for.
        let Some(date) = date else {
            let found = row.get(Col::Date).text();
            let year = self.file.year;
            return reject(
                &READS,
                &match &row.torn {
                    Some(_) => "another number of fields than the header".to_owned(),
                    None => format!("Date {found:?} is no date of {year}"),
                },
            );
        };
        if self.survey.is_stray(index) {
            return reject(&IN_ORDER, IN_ORDER.says);
        }
        if !(self.job.from..=self.job.to).contains(&date) {
            return Ok(());
        }
        match Quote::read(row, date) {
            Err(problem) => reject(&READS, &problem),
            Ok(quote) if !self.job.wants(quote.code, quote.market) => Ok(()),
            Ok(quote) => {
                if self.job.codes.is_some() {
                    self.seen.insert(quote.code);
                }
                self.accept(quote, date, row, writer)
            }
        }
    }

    fn accept<W: Write>(
        &mut self,
        quote: Quote,
        date: NaiveDate,
        row: &Row,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        match quote.contradiction(self.job.dataset.name) {
            Some((rule, message)) => {
                let message = format!("{}: {message}", self.file.name);
                writer.reject(row.line, rule.name, &message, row.text().as_bytes())
            }
            None => {
                self.sessions.entry(date).or_default().push(quote);
                Ok(())
            }
        }
    }

    /// Emits the sessions of which every row has come: all when `seen` is `None`.
    fn emit_until<W: Write>(&mut self, seen: Option<usize>, writer: &mut Writer<W>) -> Result<()> {
        while let Some(entry) = self.sessions.first_entry() {
            if seen.is_some_and(|seen| self.survey.complete_at(*entry.key()) > seen) {
                return Ok(());
            }
            let (date, mut quotes) = entry.remove_entry();
            quotes.sort_by_key(|q| q.code);
            for quote in &quotes {
                quote.write(self.job.dataset.name, date, self.survey.has_ratios(), writer)?;
            }
        }
        Ok(())
    }
}

/// A row that reads.
struct Quote {
    code: StockCode,
    name: String,
    market: Market,
    market_agrees: bool,
    is_global: bool,
    kind: SecurityType,
    open: i64,
    high: i64,
    low: i64,
    close: i64,
    volume: i64,
    amount: i64,
    changes: i64,
    change_code: u8,
    ratio: Option<f64>,
    marcap: i64,
    stocks: i64,
    date: NaiveDate,
}

impl Quote {
    fn read(row: &Row, date: NaiveDate) -> std::result::Result<Self, String> {
        let text = |col| {
            let cell = row.get(col);
            match std::str::from_utf8(cell.bytes()) {
                Err(_) => Err(format!("{col:?} {:?} is not UTF-8 (CP949?)", cell.text())),
                // NaN and inf read as numbers.
                Ok(text)
                    if stocks::is_readable(text) && !text.contains('"') && text.parse::<f64>().is_err() =>
                {
                    Ok(text.to_owned())
                }
                Ok(text) => Err(format!("{col:?} {text:?} is no name")),
            }
        };
        let whole = |col| {
            let cell = row.get(col);
            cell.whole().ok_or_else(|| format!("{col:?} {:?} is no whole number", cell.text()))
        };
        let code = StockCode::parse(row.get(Col::Code).bytes())
            .ok_or_else(|| format!("Code {:?} is no stock code", row.get(Col::Code).text()))?;
        let (name, dept) = (text(Col::Name)?, text(Col::Dept)?);
        let (market, is_global) = market_of(row.get(Col::Market).bytes())
            .ok_or_else(|| format!("Market {:?} is unknown", row.get(Col::Market).text()))?;
        let change_code = match row.get(Col::ChangeCode).whole() {
            Some(code @ 0..=5) => u8::try_from(code).unwrap_or(0),
            _ => {
                return Err(format!("ChangeCode {:?} is unknown", row.get(Col::ChangeCode).text()));
            }
        };
        if !name.contains(char::is_alphabetic) {
            return Err(format!("Name {name:?} is no name"));
        }
        let rank = row.get(Col::Rank);
        if rank != Cell::Absent && !rank.whole().is_some_and(|rank| (1..=MOST_NAMES).contains(&rank)) {
            return Err(format!("Rank {:?} is no rank", rank.text()));
        }
        let market_agrees = match row.get(Col::MarketId) {
            Cell::Absent => true,
            id => market_of(id.bytes()).is_some_and(|(by_id, _)| by_id == market),
        };
        let kind = quote::kind_of(code, &name, market, &dept);
        let ratio = match row.ratio() {
            Cell::Blank => None,
            cell => Some(cell.real().ok_or_else(|| format!("ChangesRatio {:?} is no number", cell.text()))?),
        };
        Ok(Self {
            code,
            name,
            market,
            market_agrees,
            is_global,
            kind,
            open: whole(Col::Open)?,
            high: whole(Col::High)?,
            low: whole(Col::Low)?,
            close: whole(Col::Close)?,
            volume: whole(Col::Volume)?,
            amount: whole(Col::Amount)?,
            changes: whole(Col::Changes)?,
            change_code,
            ratio,
            marcap: whole(Col::Marcap)?,
            stocks: whole(Col::Stocks)?,
            date,
        })
    }

    fn cap_agrees(&self) -> bool {
        quote::cap_agrees(self.close, self.stocks, self.marcap)
    }

    fn change_agrees(&self) -> bool {
        quote::change_agrees(self.close, self.changes, self.change_code, self.ratio)
    }

    fn contradiction(&self, dataset: &str) -> Option<(&'static Rule, String)> {
        if dataset == "ohlcv" {
            (!self.change_agrees()).then(|| (&CHANGE, self.show_change()))
        } else {
            (!self.cap_agrees()).then(|| (&CAP, self.show_cap()))
        }
    }

    fn show_change(&self) -> String {
        let ratio = self.ratio.map_or_else(String::new, |ratio| ratio.to_string());
        format!("Changes={} ChangeCode={} ratio={ratio} Close={}", self.changes, self.change_code, self.close)
    }

    fn show_cap(&self) -> String {
        format!("Close={} Stocks={} Marcap={}", self.close, self.stocks, self.marcap)
    }

    fn write<W: Write>(
        &self,
        dataset: &str,
        time: NaiveDate,
        has_ratios: bool,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        for (rule, message) in self.remarks(dataset, has_ratios) {
            let finding = Finding { rule, severity: Severity::Flag };
            writer.remark(&finding, &format!("{},{time}", self.code), &message)?;
        }
        match dataset {
            "ohlcv" => writer.row(|out| self.bar(time).write(out)),
            "market-cap" => {
                let cap = Cap { code: self.code, time, market_cap: self.marcap, listed_shares: self.stocks };
                writer.row(|out| cap.write(out))
            }
            _ => {
                let stock = self.stock(time);
                writer.row(|out| stock.write(out))
            }
        }
    }

    /// What is odd about the row. What rejects bars flags the others, and the other way round.
    fn remarks(&self, dataset: &str, has_ratios: bool) -> Vec<(&'static Rule, String)> {
        let mut remarks = Vec::new();
        if !self.market_agrees {
            remarks.push((&MARKET, format!("Market={} and another MarketId", self.market)));
        }
        if self.ratio.is_none() && has_ratios {
            remarks.push((&CHANGE, "the ratio is missing".to_owned()));
        }
        if dataset != "ohlcv" {
            remarks.extend((!self.change_agrees()).then(|| (&CHANGE, self.show_change())));
            return remarks;
        }
        if !self.cap_agrees() {
            remarks.push((&CAP, self.show_cap()));
        }
        if i128::from(self.volume) > i128::from(self.stocks) * 5 {
            remarks.push((&TURNOVER, format!("Volume={} Stocks={}", self.volume, self.stocks)));
        }
        if self.change_code >= 4 {
            let base = self.close.saturating_sub(self.changes);
            let band = limit::band(self.date, self.market, self.kind, base);
            let expected = band.map(|band| if self.change_code == 4 { band.upper } else { band.lower });
            if expected.is_some_and(|limit| limit != self.close) {
                remarks.push((&LIMIT_CODE, format!("Close={} limit={}", self.close, expected.unwrap_or(0))));
            }
        }
        remarks
    }

    fn bar(&self, time: NaiveDate) -> Bar {
        let price = |p: i64| (p != 0).then_some(p);
        Bar {
            code: self.code,
            time,
            open: price(self.open),
            high: price(self.high),
            low: price(self.low),
            close: self.close,
            volume: self.volume,
            value: Some(self.amount),
            base: Some(self.close.saturating_sub(self.changes)),
            market: self.market,
            kind: self.kind,
        }
    }

    fn stock(&self, time: NaiveDate) -> Stock<'_> {
        Stock {
            code: self.code,
            time,
            isin: None,
            name: &self.name,
            name_en: "",
            market: self.market,
            segment: if self.is_global { "KOSDAQ GLOBAL" } else { "" },
            kind: self.kind,
            listing_date: None,
            delisting_date: None,
            is_active: true,
            par_value: None,
            listed_shares: Some(self.stocks),
        }
    }
}
