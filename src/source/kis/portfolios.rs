//! What ETFs hold (`FHKST121600C0`): the present portfolio, whole in one answer.
//!
//! KIS tells of each component its value at the present price, at the close before, and its weight, but not how many
//! shares there are. Where both values are whole multiples of their prices and agree, that is the number; else only the
//! value and the weight are known: cash, futures, bonds and foreign shares have no price here.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::Deserialize;

use super::names::{Name, masters, names, universe};
use super::{LEAST_PERCENT, Quotes, one_or_many, reject};
use crate::dataset::etf_portfolios::{Part, component_id};
use crate::error::Result;
use crate::market::{Decimal, Isin, Market, StockCode};
use crate::source::http::Client;
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Roll, Rows};
use crate::stream::Writer;

const MISSING: &str = "KIS has no portfolio of it";

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "output1", default)]
    fund: Fund,
    #[serde(rename = "output2", default, deserialize_with = "one_or_many")]
    rows: Vec<Row>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Fund {
    /// How many components there are.
    etf_cnfg_issu_cnt: Cell,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    stck_shrn_iscd: Cell,
    hts_kor_isnm: Cell,
    stck_prpr: Cell,
    prdy_vrss: Cell,
    /// Value in a creation unit at the present price.
    etf_cnfg_issu_avls: Cell,
    /// Weight, per cent.
    etf_cnfg_issu_rlim: Cell,
    /// Value in a creation unit at the close before.
    etf_vltn_amt: Cell,
}

/// Asks ETF by ETF.
pub(super) async fn write<W: Write>(
    files: &Client<'_>,
    quotes: &Quotes<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<()> {
    let sessions = job.sessions();
    let Some(session) = sessions.last().copied() else { return Ok(()) };
    // Components are named by their ISIN, which the answers do not tell.
    let entries = masters(files, &[Market::Kospi, Market::Kosdaq], job, writer).await?;
    let isins: BTreeMap<StockCode, Isin> = entries.iter().filter_map(|e| Some((e.code, e.isin?))).collect();
    let universe = universe(files, job, writer).await?;
    let names = names(&universe, job, writer)?;
    let mut roll = Roll::new(&universe, names.iter().map(|name| name.code).collect());
    job.progress.planned(names.len() as u64);
    let mut answers = futures_util::stream::iter(names.iter().map(|name| ask(quotes, name, session)))
        .buffered(quotes.client.in_flight());
    let mut rows = Rows::new(job.dataset);
    for name in &names {
        let Some(answer) = answers.next().await else { break };
        let body = answer?;
        let told = text::whole("etf_cnfg_issu_cnt", &body.fund.etf_cnfg_issu_cnt).ok().flatten();
        let components: Vec<Row> = body.rows.into_iter().filter(Row::is_something).collect();
        let count = i64::try_from(components.len()).unwrap_or(i64::MAX);
        if let Some(told) = told.filter(|told| count > 0 && count < *told) {
            // A part would replace the whole.
            roll.tick(name.code, session);
            let reason = format!("KIS told {count} of its {told} components");
            writer.missing(&format!("{},{session}", name.code), &reason)?;
            continue;
        }
        let (mut parts, mut is_whole) = (Vec::with_capacity(components.len()), true);
        for row in &components {
            roll.tick(name.code, session);
            match row.part(name.code, session, &isins) {
                Ok(part) => parts.push(part),
                Err(odd) => {
                    is_whole = false;
                    reject(writer, &format!("{} {}", name.code, &*row.hts_kor_isnm), &odd, row)?;
                }
            }
        }
        if !is_whole {
            writer.missing(&format!("{},{session}", name.code), "a component of it does not read")?;
            continue;
        }
        for (id, part) in parts {
            rows.add(|out| Part { component_id: &id, ..part }.write(out));
        }
    }
    drop(answers);
    roll.judge(job, "kis", sessions, LEAST_PERCENT, "run again later")?;
    roll.close(sessions, MISSING, writer)?;
    job.progress.rows(rows.len() as u64);
    rows.write(writer)
}

async fn ask(quotes: &Quotes<'_>, name: &Name<'_>, session: NaiveDate) -> Result<Body> {
    let call = Quotes::call(
        "etfetn/v1/quotations/inquire-component-stock-price",
        "FHKST121600C0",
        &[
            ("FID_COND_MRKT_DIV_CODE", "J"),
            ("FID_INPUT_ISCD", name.code.as_str()),
            ("FID_COND_SCR_DIV_CODE", "11216"),
        ],
    );
    quotes.ask(&call.session(session), |body: Body, _| Ok(body)).await
}

impl Row {
    /// Padding has neither code nor name.
    fn is_something(&self) -> bool {
        text::filled(&self.stck_shrn_iscd).or(text::filled(&self.hts_kor_isnm)).is_some()
    }

    /// A component, and what tells it apart.
    fn part(
        &self,
        etf: StockCode,
        time: NaiveDate,
        isins: &BTreeMap<StockCode, Isin>,
    ) -> std::result::Result<(String, Part<'_>), Odd> {
        let (code, name) = (text::filled(&self.stck_shrn_iscd).unwrap_or_default(), self.hts_kor_isnm.trim());
        let isin = StockCode::parse(code.as_bytes()).and_then(|code| isins.get(&code));
        let id = component_id(isin.map_or("", Isin::as_str), code, name);
        let now = text::whole("etf_cnfg_issu_avls", &self.etf_cnfg_issu_avls)?;
        let before = text::whole("etf_vltn_amt", &self.etf_vltn_amt)?;
        let price = text::whole("stck_prpr", &self.stck_prpr)?;
        let change = text::whole("prdy_vrss", &self.prdy_vrss)?;
        let close_before = price.zip(change).map(|(price, change)| price - change);
        let shares = quotient(now, price).filter(|shares| quotient(before, close_before) == Some(*shares));
        let part = Part {
            etf,
            time,
            component_id: "",
            component_code: code,
            component_name: name,
            quantity: shares.and_then(|shares| Decimal::parse(shares.to_string().as_bytes())),
            // At the close before, as the fund publishes it; the present value changes by the second.
            value: before.or(now),
            weight: text::decimal("etf_cnfg_issu_rlim", &self.etf_cnfg_issu_rlim)?,
        };
        Ok((id, part))
    }
}

/// How many times the price goes into the value, if it does without a rest.
fn quotient(value: Option<i64>, price: Option<i64>) -> Option<i64> {
    let (value, price) = (value?, price.filter(|price| *price > 0)?);
    (value % price == 0).then_some(value / price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    /// Code, name, price, change, value now and before, weight.
    fn part(cells: [&str; 7]) -> (String, Option<Decimal>, Option<i64>) {
        let [code, name, price, change, now, before, weight] = cells;
        let row: Row = serde_json::from_value(serde_json::json!({
            "stck_shrn_iscd": code, "hts_kor_isnm": name, "stck_prpr": price, "prdy_vrss": change,
            "etf_cnfg_issu_avls": now, "etf_vltn_amt": before, "etf_cnfg_issu_rlim": weight,
        }))
        .unwrap();
        let (etf, samsung) = (StockCode::parse(b"069500").unwrap(), StockCode::parse(b"005930").unwrap());
        let isins = [(samsung, Isin::parse(b"KR7005930003").unwrap())].into_iter().collect();
        let (id, part) = row.part(etf, ymd(2026, 11, 23), &isins).unwrap();
        assert_eq!(part.weight, text::decimal("", weight).unwrap());
        (id, part.quantity, part.value)
    }

    #[test]
    fn shares_are_told_where_both_values_agree() {
        let whole = |shares| Some(Decimal::from(shares));
        // As KIS's portal shows them.
        assert_eq!(
            part(["005930", "삼성전자", "83700", "-400", "601300800", "604174400", "32.65"]),
            ("KR7005930003".into(), whole(7_184), Some(604_174_400))
        );
        assert_eq!(
            part(["000660", "SK하이닉스", "187400", "-1000", "160039600", "160893600", "8.69"]),
            ("000660".into(), whole(854), Some(160_893_600))
        );
        for (price, now, before) in
            [("100", "1000", "1100"), ("100", "1050", "1050"), ("0", "1050", "1050"), ("", "1", "1")]
        {
            assert_eq!(
                part(["000660", "가", price, "0", now, before, "1"]).1,
                None,
                "{price} {now} {before}"
            );
        }
        assert_eq!(
            part(["", "원화현금", "", "", "-500", "", "-0.05"]),
            ("CASH:원화현금".into(), None, Some(-500))
        );
        let future = part(["", "코스피200 F 202612", "", "", "", "9000", ""]);
        assert_eq!(future, ("FUT:코스피200 F 202612".into(), None, Some(9_000)));
    }
}
