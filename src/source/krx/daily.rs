//! Bars and capitalisations: the table of all shares on a day (MDCSTAT01501), whole or of one market.

use std::collections::BTreeSet;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::super::quote::{self, market_of};
use super::super::text::{self, Odd};
use super::super::{Job, ROW_READS, Rows};
use super::portal::{Portal, Question, Row};
use super::{CAP, CHANGE, Read, code_of, market_id, not_published};
use crate::dataset::market_cap::Cap;
use crate::dataset::ohlcv::Bar;
use crate::dataset::{Finding, Rule, Severity};
use crate::error::Result;
use crate::market::{Market, SecurityType, StockCode};
use crate::stream::Writer;

const SCREEN: &str = "dbms/MDC/STAT/standard/MDCSTAT01501";

/// A share on a day.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Quote {
    isu_srt_cd: String,
    isu_abbrv: String,
    mkt_nm: String,
    sect_tp_nm: String,
    tdd_clsprc: String,
    fluc_tp_cd: String,
    cmpprevdd_prc: String,
    fluc_rt: String,
    tdd_opnprc: String,
    tdd_hgprc: String,
    tdd_lwprc: String,
    acc_trdvol: String,
    acc_trdval: String,
    mktcap: String,
    list_shrs: String,
}

impl Row for Quote {
    fn is_blank(&self) -> bool {
        text::filled(&self.tdd_clsprc).is_none()
    }
}

/// One call a session.
pub(super) fn questions(job: &Job) -> Vec<Question> {
    let market = match job.markets[..] {
        [market] => market_id(market),
        _ => "ALL",
    };
    let ask = |session: &NaiveDate| Question::new(SCREEN, Some(*session)).field("mktId", market).day("trdDd");
    job.sessions().iter().map(ask).collect()
}

/// Writes session by session.
pub(super) async fn write<W: Write>(
    portal: &Portal<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let questions = questions(job);
    job.progress.planned(questions.len() as u64);
    let mut answers =
        futures_util::stream::iter(questions.iter().map(|question| portal.ask::<Quote>(question)))
            .buffered(portal.client().in_flight());
    let mut seen = BTreeSet::new();
    for session in job.sessions() {
        let list = answers.next().await.expect("an answer a question")?;
        if list.says_nothing() {
            return Err(not_published(&format!("{} of {session}", job.dataset.name)));
        }
        let mut rows = Rows::new(job.dataset);
        for quote in &list.rows {
            quote.add(job, *session, &mut rows, &mut seen, writer)?;
        }
        job.progress.rows(rows.len() as u64);
        rows.write(writer)?;
    }
    job.mark_missing(&seen, writer)
}

impl Quote {
    /// Adds the row if it is wanted; marks what is odd about it.
    fn add<W: Write>(
        &self,
        job: &Job,
        session: NaiveDate,
        rows: &mut Rows,
        seen: &mut BTreeSet<StockCode>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let reject = |writer: &mut Writer<W>, rule: &Rule, message: &str| {
            let raw = serde_json::to_vec(self).expect("plain data");
            writer.reject(0, rule.name, &format!("{session} {}: {message}", self.isu_srt_cd), &raw)
        };
        let name = match self.name() {
            Ok(name) if !job.wants(name.code, name.market) => return Ok(()),
            Ok(name) => name,
            Err(odd) => return reject(writer, &ROW_READS, &odd.to_string()),
        };
        seen.insert(name.code);
        if self.is_blank() {
            return writer.missing(name.code.as_str(), &format!("it has no price of {session}"));
        }
        let day = match self.day() {
            Ok(day) => day,
            Err(odd) => return reject(writer, &ROW_READS, &odd.to_string()),
        };
        // What spoils a bar is only odd about a capitalisation, and the other way round.
        let bars = job.dataset.name == "ohlcv";
        for (rule, holds, spoils) in [(&CHANGE, day.change_agrees(), bars), (&CAP, day.cap_agrees(), !bars)] {
            if !holds && spoils {
                return reject(writer, rule, rule.says);
            }
            if !holds {
                let finding = Finding { rule, severity: Severity::Flag };
                writer.remark(&finding, &format!("{},{session}", name.code), rule.says)?;
            }
        }
        let added = if bars {
            day.bar(&name, session).map(|bar| rows.add(|out| bar.write(out)))
        } else {
            day.cap(&name, session).map(|cap| rows.add(|out| cap.write(out)))
        };
        added.or_else(|odd| reject(writer, &ROW_READS, &odd.to_string()))
    }

    fn name(&self) -> Read<Name> {
        let code = code_of("ISU_SRT_CD", &self.isu_srt_cd)?;
        let (market, _) = market_of(self.mkt_nm.trim().as_bytes()).ok_or_else(|| Odd {
            field: "MKT_NM",
            text: self.mkt_nm.clone(),
            expected: "a market",
        })?;
        let kind = quote::kind_of(code, self.isu_abbrv.trim(), market, self.sect_tp_nm.trim());
        Ok(Name { code, market, kind })
    }

    fn day(&self) -> Read<Day> {
        let odd = |expected| Odd { field: "FLUC_RT", text: self.fluc_rt.clone(), expected };
        let ratio = text::filled(&self.fluc_rt)
            .map(|ratio| ratio.replace(',', "").parse().map_err(|_| odd("a ratio")));
        // Without trades the prices are "0".
        let price =
            |field, value: &str| text::whole(field, value).map(|price| price.filter(|price| *price != 0));
        Ok(Day {
            open: price("TDD_OPNPRC", &self.tdd_opnprc)?,
            high: price("TDD_HGPRC", &self.tdd_hgprc)?,
            low: price("TDD_LWPRC", &self.tdd_lwprc)?,
            close: text::required("TDD_CLSPRC", &self.tdd_clsprc)?,
            change: text::whole("CMPPREVDD_PRC", &self.cmpprevdd_prc)?,
            change_code: text::whole("FLUC_TP_CD", &self.fluc_tp_cd)?,
            ratio: ratio.transpose()?,
            volume: text::whole("ACC_TRDVOL", &self.acc_trdvol)?,
            value: text::whole("ACC_TRDVAL", &self.acc_trdval)?,
            cap: text::whole("MKTCAP", &self.mktcap)?,
            shares: text::whole("LIST_SHRS", &self.list_shrs)?,
        })
    }
}

/// Which share it is.
struct Name {
    code: StockCode,
    market: Market,
    kind: SecurityType,
}

/// What a share did on a day.
struct Day {
    open: Option<i64>,
    high: Option<i64>,
    low: Option<i64>,
    close: i64,
    change: Option<i64>,
    change_code: Option<i64>,
    ratio: Option<f64>,
    volume: Option<i64>,
    value: Option<i64>,
    cap: Option<i64>,
    shares: Option<i64>,
}

impl Day {
    /// Where one of them is blank nothing contradicts it.
    fn change_agrees(&self) -> bool {
        self.change.zip(self.change_code).is_none_or(|(change, code)| {
            quote::change_agrees(self.close, change, u8::try_from(code).unwrap_or(u8::MAX), self.ratio)
        })
    }

    fn cap_agrees(&self) -> bool {
        self.cap.zip(self.shares).is_none_or(|(cap, shares)| quote::cap_agrees(self.close, shares, cap))
    }

    fn bar(&self, name: &Name, time: NaiveDate) -> Read<Bar> {
        Ok(Bar {
            code: name.code,
            time,
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            volume: self.volume.ok_or_else(|| blank("ACC_TRDVOL"))?,
            value: self.value,
            base: self.change.map(|change| self.close.saturating_sub(change)),
            market: name.market,
            kind: name.kind,
        })
    }

    fn cap(&self, name: &Name, time: NaiveDate) -> Read<Cap> {
        let market_cap = self.cap.ok_or_else(|| blank("MKTCAP"))?;
        let listed_shares = self.shares.ok_or_else(|| blank("LIST_SHRS"))?;
        Ok(Cap { code: name.code, time, market_cap, listed_shares })
    }
}

fn blank(field: &'static str) -> Odd {
    Odd { field, text: String::new(), expected: "a number" }
}
