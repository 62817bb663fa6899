//! KRX OPEN API: the exchange's official service, whole markets by date. A free key; each service is applied for.
//!
//! `GET {base}/svc/apis/{category}/{service}.json?basDd=YYYYMMDD` with the header `AUTH_KEY`. The last session appears
//! at 08:00 of the next day; an answer without rows does not tell a closed day from one that is not there yet, so the
//! calendar does.

use std::io::Write;

use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::Deserialize;

use super::http::{Answer, Call, Client, Manners, Vendor, Verdict, odd_answer};
use super::text::{self, Odd};
use super::{Job, Plan, ROW_READS, Rows, Source};
use crate::dataset::market_cap::Cap;
use crate::dataset::ohlcv::Bar;
use crate::dataset::stocks::Stock;
use crate::error::{Error, Result};
use crate::market::{Isin, Market, SecurityType, StockCode, ymd};
use crate::settings::Secret;
use crate::stream::{Names, Preamble, Writer};

const BASE: &str = "https://data-dbg.krx.co.kr";
const RATE: f64 = 2.0;
pub(super) const CALLS_A_DAY: u64 = 10_000;
/// The first session of the service.
const FIRST: NaiveDate = ymd(2010, 1, 4);
const MASTER: &str =
    "isin,name,name_en,market,segment,security_type,listing_date,is_active,par_value,listed_shares";

/// A job at the service.
pub struct Extract<'a> {
    client: Client<'a>,
    vendor: Key,
}

/// Every call bears the key.
struct Key(Secret);

impl Vendor for Key {
    async fn sign(&self, _: &Client<'_>) -> Result<Vec<(&'static str, Secret)>> {
        Ok(vec![("AUTH_KEY", self.0.clone())])
    }

    fn judge(&self, call: &Call, answer: &Answer) -> Verdict {
        match answer.status {
            200 => match answer.json::<Body>() {
                Err(verdict) => verdict,
                Ok(Body { rows: Some(_), .. }) => Verdict::Good,
                Ok(Body { code, message, .. }) => by_code(&code, &message),
            },
            401 => Verdict::Fatal(Error::Credentials {
                what: "the key was refused (401)".into(),
                help: format!(
                    "check KDATA_KRX_OPENAPI_KEY, and that the service of {} was applied for and approved: each one is",
                    call.line()
                ),
            }),
            // Without a time to wait it is the day's quota.
            429 if answer.header("retry-after").is_none() => Verdict::Fatal(Error::Source {
                what: "the day's quota of the key is spent (429)".into(),
                help: "run the same again after 00:00 KST: what was answered is kept and not asked for again"
                    .into(),
            }),
            _ => answer.by_status(),
        }
    }

    async fn renew(&self, _: &Client<'_>) -> Result<()> {
        Ok(())
    }
}

fn by_code(code: &str, message: &str) -> Verdict {
    let what = format!("it answered respCode={code} {message}");
    match code {
        "401" | "403" => Verdict::Fatal(Error::Credentials {
            what,
            help: "check KDATA_KRX_OPENAPI_KEY, and that the service was applied for and approved".into(),
        }),
        code if code.starts_with('5') || code == "429" => Verdict::Retry { what, after: None },
        _ => Verdict::Fatal(odd_answer(what)),
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "OutBlock_1")]
    rows: Option<Vec<Row>>,
    #[serde(rename = "respCode", default)]
    code: String,
    #[serde(rename = "respMsg", default)]
    message: String,
}

/// A row of the daily services and of the masters: each has its part of the fields.
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
struct Row {
    bas_dd: String,
    /// The short code in daily services, the ISIN in masters.
    isu_cd: String,
    isu_srt_cd: String,
    isu_nm: String,
    isu_abbrv: String,
    isu_eng_nm: String,
    list_dd: String,
    secugrp_nm: String,
    sect_tp_nm: String,
    mkt_tp_nm: String,
    kind_stkcert_tp_nm: String,
    parval: String,
    list_shrs: String,
    tdd_clsprc: String,
    cmpprevdd_prc: String,
    tdd_opnprc: String,
    tdd_hgprc: String,
    tdd_lwprc: String,
    acc_trdvol: String,
    acc_trdval: String,
    mktcap: String,
}

impl<'a> Extract<'a> {
    /// Sets up the client; asks nothing.
    pub fn open(job: &'a Job<'a>) -> Result<Self> {
        if job.from < FIRST {
            return Err(Error::usage(
                format!("KRX OPEN API begins on {FIRST}, not on {}", job.from),
                "ask for a later range, or take marcap for older sessions",
            ));
        }
        let settings = &job.settings.krx_openapi;
        let key = settings.key.as_ref().ok_or_else(|| {
            Error::usage(
                "KDATA_KRX_OPENAPI_KEY is not set",
                "get a free key from KRX OPEN API (openapi.krx.co.kr), apply for its stock services, and set it",
            )
        })?;
        let key = key.get()?;
        let manners = Manners {
            base: settings.url.clone().unwrap_or_else(|| BASE.into()),
            rate: settings.rate.unwrap_or(RATE),
            bucket_rate: None,
            key: Some(key.clone()),
            calls_a_day: Source::KrxOpenapi.quota(job.settings).0,
            bytes_a_day: None,
        };
        Ok(Self { client: Client::new(Source::KrxOpenapi, job, manners)?, vendor: Key(key) })
    }

    /// One call a session and market.
    pub fn plan(&self, job: &Job) -> Plan {
        self.client.plan(questions(job).len())
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let provides = if job.dataset.name == "stocks" { MASTER } else { "all" };
        job.preamble(Source::KrxOpenapi, Names::Whole, provides)
    }

    /// Asks session by session, and writes each when all its markets are there.
    pub async fn write<W: Write>(self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let questions = questions(job);
        job.progress.planned(questions.len() as u64);
        let mut answers = futures_util::stream::iter(questions.iter().map(|question| self.ask(*question)))
            .buffered(self.client.in_flight());
        let mut seen = std::collections::BTreeSet::new();
        let mut rows = Rows::new(job.dataset);
        let mut at = 0;
        while let Some(answer) = answers.next().await {
            let (session, market) = questions[at];
            at += 1;
            for row in answer? {
                let wanted =
                    StockCode::parse(row.code().as_bytes()).is_none_or(|code| job.wants(code, market));
                if !wanted {
                    continue;
                }
                match row.record(job.dataset.name, session, market, &mut rows) {
                    Ok(code) => {
                        seen.insert(code);
                    }
                    Err(odd) => {
                        // Code and session first: promote looks for them, so that a rejected name is not taken for gone.
                        let shown = format!("{},{session},{row:?}", row.code());
                        writer.reject(
                            0,
                            ROW_READS.name,
                            &format!("{session} {}: {odd}", row.code()),
                            shown.as_bytes(),
                        )?;
                    }
                }
            }
            if questions.get(at).is_none_or(|(next, _)| *next != session) {
                job.progress.rows(rows.len() as u64);
                std::mem::replace(&mut rows, Rows::new(job.dataset)).write(writer)?;
            }
        }
        drop(answers);
        job.mark_missing(&seen, writer)?;
        self.client.finish()
    }

    async fn ask(&self, (session, market): (NaiveDate, Market)) -> Result<Vec<Row>> {
        let dataset = self.client.job().dataset.name;
        let service = match (dataset, market) {
            ("stocks", Market::Kospi) => "stk_isu_base_info",
            ("stocks", Market::Kosdaq) => "ksq_isu_base_info",
            ("stocks", Market::Konex) => "knx_isu_base_info",
            (_, Market::Kospi) => "stk_bydd_trd",
            (_, Market::Kosdaq) => "ksq_bydd_trd",
            (_, Market::Konex) => "knx_bydd_trd",
        };
        let call = Call::get(format!("/svc/apis/sto/{service}.json"))
            .query("basDd", text::compact(session))
            .session(session);
        let read = |answer: &Answer| {
            let body: Body =
                answer.json().map_err(|_| odd_answer("its answer does not read twice".into()))?;
            rows_of(body, dataset, session, market)
        };
        self.client.ask(&self.vendor, &call, read).await
    }
}

/// The rows of an answer, if they are those of the session asked for.
fn rows_of(body: Body, dataset: &str, session: NaiveDate, market: Market) -> Result<Vec<Row>> {
    let rows = body.rows.unwrap_or_default();
    if rows.is_empty() {
        return Err(Error::NotPublished {
            what: format!("krx-openapi has no {dataset} of {market} for {session}, which the calendar calls a session"),
            help: "it appears at 08:00 of the next day: run again later; if the market was closed that day: kdata \
                   calendar add DAY REASON"
                .into(),
        });
    }
    let wanted = text::compact(session);
    if let Some(row) = rows.iter().find(|row| !row.bas_dd.is_empty() && row.bas_dd != wanted) {
        return Err(odd_answer(format!(
            "krx-openapi: asked for {session}, it answered with rows of {}",
            row.bas_dd.escape_debug()
        )));
    }
    Ok(rows)
}

/// Sessions and markets, in the order of the stream.
fn questions(job: &Job) -> Vec<(NaiveDate, Market)> {
    let markets = |session: &NaiveDate| {
        let is_open = |market: &&Market| market.is_open_on(*session);
        job.markets.iter().filter(is_open).map(|market| (*session, *market)).collect::<Vec<_>>()
    };
    job.sessions().iter().flat_map(markets).collect()
}

impl Row {
    /// The short code, wherever it stands.
    fn code(&self) -> &str {
        if self.isu_srt_cd.is_empty() { self.isu_cd.trim() } else { self.isu_srt_cd.trim() }
    }

    fn record(
        &self,
        dataset: &str,
        time: NaiveDate,
        market: Market,
        rows: &mut Rows,
    ) -> std::result::Result<StockCode, Odd> {
        let expected = "a code of six characters [0-9A-Z]";
        let code = StockCode::parse(self.code().as_bytes()).ok_or(Odd {
            field: "ISU_CD",
            text: self.code().to_owned(),
            expected,
        })?;
        match dataset {
            "stocks" => {
                let stock = self.stock(code, time, market)?;
                rows.add(|out| stock.write(out));
            }
            "ohlcv" => {
                let bar = self.bar(code, time, market)?;
                rows.add(|out| bar.write(out));
            }
            _ => {
                let market_cap = text::required("MKTCAP", &self.mktcap)?;
                let listed_shares = text::required("LIST_SHRS", &self.list_shrs)?;
                let cap = Cap { code, time, market_cap, listed_shares };
                rows.add(|out| cap.write(out));
            }
        }
        Ok(code)
    }

    fn bar(&self, code: StockCode, time: NaiveDate, market: Market) -> std::result::Result<Bar, Odd> {
        // Without trades the prices are "0" or blank.
        let price =
            |field, value: &str| text::whole(field, value).map(|price| price.filter(|price| *price != 0));
        let close = text::required("TDD_CLSPRC", &self.tdd_clsprc)?;
        Ok(Bar {
            code,
            time,
            open: price("TDD_OPNPRC", &self.tdd_opnprc)?,
            high: price("TDD_HGPRC", &self.tdd_hgprc)?,
            low: price("TDD_LWPRC", &self.tdd_lwprc)?,
            close,
            volume: text::required("ACC_TRDVOL", &self.acc_trdvol)?,
            value: text::whole("ACC_TRDVAL", &self.acc_trdval)?,
            base: text::whole("CMPPREVDD_PRC", &self.cmpprevdd_prc)?.map(|change| close - change),
            market,
            kind: SecurityType::of_share(code, &self.isu_nm, market),
        })
    }

    fn stock(&self, code: StockCode, time: NaiveDate, market: Market) -> std::result::Result<Stock<'_>, Odd> {
        let isin = self.isu_cd.trim();
        let name = if self.isu_abbrv.is_empty() { &self.isu_nm } else { &self.isu_abbrv };
        let is_global = [&self.sect_tp_nm, &self.mkt_tp_nm].iter().any(|text| text.contains("GLOBAL"));
        Ok(Stock {
            code,
            time,
            isin: match isin.len() {
                12 => Some(Isin::parse(isin.as_bytes()).ok_or_else(|| Odd {
                    field: "ISU_CD",
                    text: isin.to_owned(),
                    expected: "an ISIN with a right check digit",
                })?),
                _ => None,
            },
            name: name.trim(),
            name_en: self.isu_eng_nm.trim(),
            market,
            segment: if is_global { "KOSDAQ GLOBAL" } else { "" },
            kind: SecurityType::of_master(code, name, market, &self.secugrp_nm, &self.kind_stkcert_tp_nm),
            listing_date: text::date("LIST_DD", &self.list_dd)?,
            delisting_date: None,
            is_active: true,
            // 무액면 (no par), and par values in another currency, are no number of won.
            par_value: text::whole("PARVAL", &self.parval).ok().flatten().filter(|par| *par > 0),
            listed_shares: text::whole("LIST_SHRS", &self.list_shrs)?,
        })
    }
}
