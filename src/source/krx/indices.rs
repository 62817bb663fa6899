//! The members of an index on a session (MDCSTAT00601). The capitalisations beside them are whole ones, not of the
//! shares that float: weights do not follow from them, and stay blank.

use std::collections::BTreeSet;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::super::{Job, ROW_READS, keyed};
use super::portal::{Portal, Question, Row};
use super::{code_of, not_published};
use crate::dataset::index_components::Member;
use crate::error::{Error, Result};
use crate::market::IndexCode;
use crate::stream::Writer;

const SCREEN: &str = "dbms/MDC/STAT/standard/MDCSTAT00601";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Listed {
    isu_srt_cd: String,
}

impl Row for Listed {}

/// The indices asked for, ascending.
pub(super) fn indices(job: &Job) -> Result<BTreeSet<IndexCode>> {
    if job.codes.is_some() {
        return Err(Error::usage(
            "an index is taken whole: --codes does not choose among its members",
            "choose indices with --index",
        ));
    }
    if job.indices.is_empty() {
        return Ok([IndexCode::KOSPI_200, IndexCode::KOSDAQ_150].into());
    }
    let read = |text: &String| {
        IndexCode::parse(text.as_bytes()).ok_or_else(|| {
            Error::usage(
                format!("{text:?} is no index of KRX"),
                "write group and number, e.g. 1028 for KOSPI 200, 1001 for KOSPI, 2001 for KOSDAQ",
            )
        })
    };
    job.indices.iter().map(read).collect()
}

/// A call a session and index.
pub(super) fn questions(job: &Job) -> Result<Vec<(NaiveDate, IndexCode, Question)>> {
    let indices = indices(job)?;
    let ask = |session: NaiveDate, index: IndexCode| {
        let (group, number) = index.as_str().split_at(1);
        let question =
            Question::new(SCREEN, Some(session)).field("indIdx2", number).field("indIdx", group).day("trdDd");
        (session, index, question)
    };
    Ok(job
        .sessions()
        .iter()
        .flat_map(|session| indices.iter().map(move |index| ask(*session, *index)))
        .collect())
}

/// Writes index by index.
pub(super) async fn write<W: Write>(
    portal: &Portal<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let questions = questions(job)?;
    job.progress.planned(questions.len() as u64);
    let asked = questions.iter().map(|(.., question)| portal.ask::<Listed>(question));
    let mut answers = futures_util::stream::iter(asked).buffered(portal.client().in_flight());
    let mut any = false;
    for (at, (session, index, _)) in questions.iter().enumerate() {
        let list = answers.next().await.expect("an answer a question")?;
        let mut members = BTreeSet::new();
        for row in &list.rows {
            let raw = || keyed(&format!("{},{session}", index.as_str()), row);
            match code_of("ISU_SRT_CD", &row.isu_srt_cd) {
                Ok(code) if members.insert(code) => {}
                Ok(code) => {
                    writer.reject(
                        0,
                        ROW_READS.name,
                        &format!("{index} of {session}: {code} comes twice"),
                        &raw(),
                    )?;
                }
                Err(odd) => {
                    writer.reject(0, ROW_READS.name, &format!("{index} of {session}: {odd}"), &raw())?;
                }
            }
        }
        if list.rows.is_empty() {
            writer.missing(
                &format!("{index},{session}"),
                "the portal has no members of the index on the session",
            )?;
        }
        any |= !list.rows.is_empty();
        if questions.get(at + 1).is_none_or(|(next, ..)| next != session) && !std::mem::take(&mut any) {
            return Err(not_published(&format!("the members of indices on {session}")));
        }
        job.progress.rows(members.len() as u64);
        for code in members {
            let member = Member { index: *index, time: *session, code, weight: None };
            writer.row(|out| member.write(out))?;
        }
    }
    Ok(())
}
