//! What a creation unit of an ETF consists of on a session (MDCSTAT05001), one ETF a call, by ISIN.
//!
//! Components are shares, other ETFs, futures, deposits and cash. Quantities may be negative, and any amount may be `-`.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::super::text;
use super::super::{Job, Plan, ROW_READS, keyed};
use super::portal::{List, Portal, Question, Row};
use super::{Read, not_published, stocks};
use crate::dataset::etf_portfolios::Part;
use crate::error::Result;
use crate::market::{Isin, SecurityType, StockCode};
use crate::stream::Writer;

const SCREEN: &str = "dbms/MDC/STAT/standard/MDCSTAT05001";
/// About so many ETFs are listed: for plans only.
const ABOUT: usize = 1_100;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Component {
    /// Six characters for shares and ETFs, twelve for others.
    compst_isu_cd: String,
    /// The ISIN, or a pseudo code of twelve characters for cash.
    compst_isu_cd2: String,
    secugrp_id: String,
    compst_isu_nm: String,
    compst_isu_cu1_shrs: String,
    /// Of this the ratio is a share; the other amount, `VALU_AMT`, is at the prices of the day before.
    compst_amt: String,
    compst_rto: String,
}

impl Row for Component {
    /// A fund of deposits may stand still.
    const MOVES: bool = false;
}

/// An ETF on a session.
type Fund = (NaiveDate, StockCode, Isin);

/// The ETFs of a session, where they are known without asking: those named, or those of the stock master. `None` where it
/// knows of none: it may not reach back so far.
fn known(job: &Job, session: NaiveDate) -> Option<Vec<Fund>> {
    let listing = |code| job.universe.as_ref().and_then(|universe| universe.at(code, session));
    let isin_of =
        |code| listing(code).and_then(|listing| listing.isin).unwrap_or_else(|| Isin::of_fund(code));
    let codes: Vec<StockCode> = match (&job.codes, &job.universe) {
        (Some(codes), _) => codes.iter().copied().collect(),
        (None, Some(universe)) => universe
            .listed(&[session])
            .filter(|(_, listing)| listing.kind == SecurityType::Etf)
            .map(|(code, _)| code)
            .collect(),
        (None, None) => Vec::new(),
    };
    (!codes.is_empty()).then(|| codes.into_iter().map(|code| (session, code, isin_of(code))).collect())
}

/// Are the ETFs of all sessions known, those included that were delisted since?
pub(super) fn is_whole(job: &Job) -> bool {
    job.sessions().iter().all(|session| known(job, *session).is_some())
}

/// One call an ETF and session.
pub(super) fn plan(portal: &Portal<'_>, job: &Job) -> Plan {
    let known: Vec<_> = job.sessions().iter().map(|session| known(job, *session)).collect();
    let calls: usize = known.iter().map(|funds| funds.as_ref().map_or(ABOUT, Vec::len)).sum();
    if known.iter().all(Option::is_some) {
        return portal.client().plan(calls);
    }
    Plan {
        remark: ", if about 1,100 ETFs are listed: the portal is asked which first".into(),
        ..portal.client().plan(1 + calls)
    }
}

/// The ETFs by session. Where they are not known the portal is asked for those of the present.
async fn funds(portal: &Portal<'_>, job: &Job<'_>) -> Result<Vec<Fund>> {
    let present = if is_whole(job) { BTreeMap::new() } else { stocks::listed_funds(portal).await? };
    let listed = |session: NaiveDate| -> Vec<Fund> {
        let there = present.iter().filter(|(_, (_, since))| since.is_none_or(|since| since <= session));
        there.map(|(code, (isin, _))| (session, *code, *isin)).collect()
    };
    let of = |session: &NaiveDate| known(job, *session).unwrap_or_else(|| listed(*session));
    Ok(job.sessions().iter().flat_map(of).collect())
}

/// Writes ETF by ETF.
pub(super) async fn write<W: Write>(
    portal: &Portal<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let funds = funds(portal, job).await?;
    job.progress.planned(funds.len() as u64);
    let ask = |(session, _, isin): &Fund| {
        Question::new(SCREEN, Some(*session)).day("trdDd").field("isuCd", isin.as_str())
    };
    let questions: Vec<_> = funds.iter().map(ask).collect();
    let mut answers = futures_util::stream::iter(questions.iter().map(|q| portal.ask::<Component>(q)))
        .buffered(portal.client().in_flight());
    let mut any = false;
    for (at, (session, fund, isin)) in funds.iter().enumerate() {
        let list = answers.next().await.expect("an answer a question")?;
        any |= !list.rows.is_empty();
        if list.rows.is_empty() {
            let reason = format!("the portal has no portfolio of {isin} on {session}");
            writer.missing(&format!("{fund},{session}"), &reason)?;
        }
        if funds.get(at + 1).is_none_or(|(next, ..)| next != session) && !std::mem::take(&mut any) {
            return Err(not_published(&format!("the portfolios of {session}")));
        }
        portfolio(*fund, *session, &list, job, writer)?;
    }
    Ok(())
}

/// Writes one portfolio, ascending by component.
fn portfolio<W: Write>(
    etf: StockCode,
    time: NaiveDate,
    list: &List<Component>,
    job: &Job,
    writer: &mut Writer<W>,
) -> Result<()> {
    let mut parts = BTreeMap::new();
    for component in &list.rows {
        let problem = match component.part(etf, time) {
            Err(odd) => odd.to_string(),
            Ok((id, _)) if parts.contains_key(&id) => format!("the component {id} comes twice"),
            Ok((id, part)) => {
                parts.insert(id, part);
                continue;
            }
        };
        let raw = keyed(&format!("{etf},{time}"), component);
        writer.reject(0, ROW_READS.name, &format!("{etf} of {time}: {problem}"), &raw)?;
    }
    job.progress.rows(parts.len() as u64);
    for (id, part) in &parts {
        writer.row(|out| Part { component_id: id, ..*part }.write(out))?;
    }
    Ok(())
}

impl Component {
    /// The component with its id, which the caller holds.
    fn part(&self, etf: StockCode, time: NaiveDate) -> Read<(String, Part<'_>)> {
        let (code, isin) = (text::filled(&self.compst_isu_cd), text::filled(&self.compst_isu_cd2));
        let name = self.compst_isu_nm.trim();
        let is_future = self.secugrp_id.trim() == "FU";
        let id = match (isin.filter(|isin| Isin::parse(isin.as_bytes()).is_some()), code) {
            (Some(isin), _) => isin.to_owned(),
            (None, Some(code)) => code.to_owned(),
            (None, None) => format!("{}:{name}", if is_future { "FUT" } else { "CASH" }),
        };
        // Deposits and cash have no code but their id.
        let code = code.filter(|code| is_future || *code != id);
        let part = Part {
            etf,
            time,
            component_id: "",
            component_code: code.unwrap_or_default(),
            component_name: name,
            quantity: text::decimal("COMPST_ISU_CU1_SHRS", &self.compst_isu_cu1_shrs)?,
            value: text::whole("COMPST_AMT", &self.compst_amt)?,
            weight: text::decimal("COMPST_RTO", &self.compst_rto)?,
        };
        Ok((id, part))
    }
}
