//! The sector of each share by session (MDCSTAT03901), KOSPI and KOSDAQ. The portal tells a name, and no code: the name
//! stands for both.

use std::collections::BTreeSet;
use std::io::Write;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::super::text;
use super::super::{Job, ROW_READS, Rows, keyed};
use super::portal::{Portal, Question, Row};
use super::{code_of, market_id, not_published};
use crate::dataset::sectors::Sector;
use crate::error::Result;
use crate::market::{Market, StockCode};
use crate::stream::Writer;

const SCREEN: &str = "dbms/MDC/STAT/standard/MDCSTAT03901";
/// KONEX has no sectors.
const CLASSIFIED: [Market; 2] = [Market::Kospi, Market::Kosdaq];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Leaf {
    isu_srt_cd: String,
    idx_ind_nm: String,
}

impl Row for Leaf {
    fn is_blank(&self) -> bool {
        text::filled(&self.idx_ind_nm).is_none()
    }
}

fn markets(job: &Job) -> Vec<Market> {
    CLASSIFIED.into_iter().filter(|market| job.markets.contains(market)).collect()
}

/// Does the job ask for all that the portal classifies?
pub(super) fn is_whole(job: &Job) -> bool {
    job.codes.is_none() && markets(job).len() == CLASSIFIED.len()
}

/// A call a session and market.
pub(super) fn questions(job: &Job) -> Vec<Question> {
    let mut questions = Vec::new();
    for session in job.sessions() {
        for market in markets(job) {
            questions
                .push(Question::new(SCREEN, Some(*session)).day("trdDd").field("mktId", market_id(market)));
        }
    }
    questions
}

/// Writes session by session.
pub(super) async fn write<W: Write>(
    portal: &Portal<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let questions = questions(job);
    job.progress.planned(questions.len() as u64);
    let asked = questions.iter().map(|question| portal.ask::<Leaf>(question));
    let mut answers = futures_util::stream::iter(asked).buffered(portal.client().in_flight());
    let mut seen: BTreeSet<StockCode> = BTreeSet::new();
    for session in job.sessions() {
        let mut rows = Rows::new(job.dataset);
        for market in markets(job) {
            let list = answers.next().await.expect("an answer a question")?;
            if list.says_nothing() {
                return Err(not_published(&format!("the sectors of {market} on {session}")));
            }
            for leaf in &list.rows {
                match code_of("ISU_SRT_CD", &leaf.isu_srt_cd) {
                    Ok(code) if !job.wants_code(code) => {}
                    // A name without a sector has no row.
                    Ok(code) if leaf.is_blank() => {
                        seen.insert(code);
                        writer.missing(code.as_str(), &format!("it has no sector on {session}"))?;
                    }
                    Ok(code) => {
                        seen.insert(code);
                        let name = leaf.idx_ind_nm.trim();
                        let sector = Sector {
                            scheme: "KRX",
                            code,
                            time: *session,
                            sector_code: name,
                            sector_name: name,
                        };
                        rows.add(|out| sector.write(out));
                    }
                    Err(odd) => {
                        let raw = keyed(&format!("KRX,{},{session}", leaf.isu_srt_cd), leaf);
                        writer.reject(0, ROW_READS.name, &format!("{session}: {odd}"), &raw)?;
                    }
                }
            }
        }
        job.progress.rows(rows.len() as u64);
        rows.write(writer)?;
    }
    job.mark_missing(&seen, writer)
}
