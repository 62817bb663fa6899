//! Who bought and sold: all names of a market, one kind of investor, one session a call (MDCSTAT02401).
//!
//! The portal sums over a range of days: both ends are the session. A name that a kind of investor did not trade is
//! absent from its list; where all lists came, that is a zero.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::super::text::{self, Odd};
use super::super::{Job, ROW_READS};
use super::portal::{List, Portal, Question, Row};
use super::{Read, code_of, market_id, not_published};
use crate::dataset::investor_trading::Flow;
use crate::error::Result;
use crate::market::{Investor, Market, StockCode};
use crate::stream::Writer;

const SCREEN: &str = "dbms/MDC/STAT/standard/MDCSTAT02401";

/// The portal's kinds (invstTpCd), and whose they are. Foreigners are two of them, registered and other.
const KINDS: [(&str, Investor); 6] = [
    ("8000", Investor::Retail),
    ("7050", Investor::Institution),
    ("6000", Investor::Pension),
    ("7100", Investor::OtherCorporation),
    ("9000", Investor::Foreign),
    ("9001", Investor::Foreign),
];

/// What a kind of investor traded of one name. ASK is sold, BID is bought.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Traded {
    isu_srt_cd: String,
    ask_trdvol: String,
    bid_trdvol: String,
    netbid_trdvol: String,
    ask_trdval: String,
    bid_trdval: String,
    netbid_trdval: String,
}

impl Row for Traded {
    fn is_blank(&self) -> bool {
        [&self.ask_trdvol, &self.bid_trdvol, &self.netbid_trdvol]
            .iter()
            .all(|text| text::filled(text).is_none())
    }
}

/// A call a session, market and kind, in that order.
pub(super) fn questions(job: &Job) -> Vec<(NaiveDate, Market, Investor, Question)> {
    let mut questions = Vec::new();
    for session in job.sessions() {
        for market in job.markets.iter().filter(|market| market.is_open_on(*session)) {
            for (kind, investor) in KINDS {
                let question = Question::new(SCREEN, Some(*session))
                    .day("strtDd")
                    .day("endDd")
                    .field("mktId", market_id(*market))
                    .field("invstTpCd", kind);
                questions.push((*session, *market, investor, question));
            }
        }
    }
    questions
}

/// Six amounts; a blank one makes a blank sum.
type Amounts = [Option<i64>; 6];
const NOTHING: Amounts = [Some(0); 6];

/// Writes session by session, once the lists of all its markets are there.
pub(super) async fn write<W: Write>(
    portal: &Portal<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let questions = questions(job);
    job.progress.planned(questions.len() as u64);
    let asked = questions.iter().map(|(.., question)| portal.ask::<Traded>(question));
    let mut answers = futures_util::stream::iter(asked).buffered(portal.client().in_flight());
    let mut seen = std::collections::BTreeSet::new();
    let mut flows: BTreeMap<StockCode, [Amounts; Investor::ALL.len()]> = BTreeMap::new();
    for (at, (session, market, investor, _)) in questions.iter().enumerate() {
        let list = answers.next().await.expect("an answer a question")?;
        // On KONEX some kinds of investors may well do nothing all day.
        if list.says_nothing() && (*market != Market::Konex || *investor == Investor::Retail) {
            return Err(not_published(&format!("{investor} on {market} of {session}")));
        }
        add(job, *session, *investor, &list, &mut flows, writer)?;
        if questions.get(at + 1).is_none_or(|(next, ..)| next != session) {
            job.progress.rows((flows.len() * Investor::ALL.len()) as u64);
            for (code, amounts) in std::mem::take(&mut flows) {
                seen.insert(code);
                let known = |(_, amounts): &(Investor, Amounts)| amounts.iter().any(Option::is_some);
                for (investor, amounts) in Investor::ALL.into_iter().zip(amounts).filter(known) {
                    let [sell_volume, buy_volume, net_volume, sell_value, buy_value, net_value] = amounts;
                    let flow = Flow {
                        code,
                        time: *session,
                        investor,
                        buy_volume,
                        sell_volume,
                        buy_value,
                        sell_value,
                        net_volume,
                        net_value,
                    };
                    writer.row(|out| flow.write(out))?;
                }
            }
        }
    }
    job.mark_missing(&seen, writer)
}

fn add<W: Write>(
    job: &Job,
    session: NaiveDate,
    investor: Investor,
    list: &List<Traded>,
    flows: &mut BTreeMap<StockCode, [Amounts; Investor::ALL.len()]>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let place = Investor::ALL.iter().position(|known| *known == investor).expect("one of all");
    for row in &list.rows {
        let read = code_of("ISU_SRT_CD", &row.isu_srt_cd);
        if read.as_ref().is_ok_and(|code| !job.wants_code(*code)) {
            continue;
        }
        let amounts = read.as_ref().map_err(Odd::clone).and_then(|_| row.amounts());
        if let Err(odd) = &amounts {
            let raw = serde_json::to_vec(row).expect("plain data");
            let message = format!("{session} {investor} {}: {odd}", row.isu_srt_cd);
            writer.reject(0, ROW_READS.name, &message, &raw)?;
        } else if row.is_blank() {
            writer
                .missing(&row.isu_srt_cd, &format!("what {investor} traded of it on {session} is blank"))?;
        }
        // What does not read or is blank is not known: no zero.
        let (Ok(code), amounts) = (read, amounts.unwrap_or([None; 6])) else { continue };
        let sums = &mut flows.entry(code).or_insert([NOTHING; Investor::ALL.len()])[place];
        for (sum, amount) in sums.iter_mut().zip(amounts) {
            *sum = sum.zip(amount).and_then(|(sum, amount)| sum.checked_add(amount));
        }
    }
    Ok(())
}

impl Traded {
    fn amounts(&self) -> Read<Amounts> {
        Ok([
            text::whole("ASK_TRDVOL", &self.ask_trdvol)?,
            text::whole("BID_TRDVOL", &self.bid_trdvol)?,
            text::whole("NETBID_TRDVOL", &self.netbid_trdvol)?,
            text::whole("ASK_TRDVAL", &self.ask_trdval)?,
            text::whole("BID_TRDVAL", &self.bid_trdval)?,
            text::whole("NETBID_TRDVAL", &self.netbid_trdval)?,
        ])
    }
}
