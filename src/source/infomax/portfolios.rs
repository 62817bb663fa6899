//! What ETFs consist of (PDF), and the members of indices as far as an ETF on them tells.

use std::io::Write;

use chrono::NaiveDate;
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::{Dated, Extract, LATER, only};
use crate::dataset::etf_portfolios::{Part, component_id, is_cash};
use crate::dataset::index_components::Member;
use crate::dataset::{Finding, Rule, Severity, rule};
use crate::error::{Error, Result};
use crate::market::{IndexCode, StockCode};
use crate::source::http::Call;
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Rows, reject};
use crate::stream::Writer;

/// The columns that portfolios have.
pub(super) const PROVIDES: &str = "component_code,component_name,quantity,value";
const NO_ROW: &str = "listed on that session, and no portfolio came";

/// Indices and the ETF whose portfolio stands for them.
const PROXIES: [(IndexCode, &str); 2] = [(IndexCode::KOSPI_200, "069500"), (IndexCode::KOSDAQ_150, "229200")];

/// The members come from an ETF.
pub(super) static PROXY: Rule = rule::batch(
    "infomax.etf_pdf_proxy",
    Severity::Flag,
    "index members are the stocks in the portfolio of an ETF on the index (source=etf_pdf_proxy)",
    "Infomax has no list of members. The portfolio of a fund that holds the index in full comes close: it may hold cash, \
     futures and a sample, and changes on the fund's days, not the index's.",
);

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    date: Cell,
    code: Cell,
    port_isin: Cell,
    port_code: Cell,
    port_name: Cell,
    port_value: Cell,
    port_volume: Cell,
}

impl Dated for Row {
    fn date(&self) -> &str {
        &self.date
    }

    fn code(&self) -> &str {
        &self.code
    }
}

/// The indices asked for and their ETFs.
pub(super) fn proxies(job: &Job) -> Result<Vec<(IndexCode, StockCode)>> {
    let known = |index: &str| PROXIES.iter().find(|(code, _)| code.as_str() == index);
    if let Some(unknown) = job.indices.iter().find(|index| known(index).is_none()) {
        return Err(Error::usage(
            format!("infomax tells no members of the index {unknown}"),
            "it has 1028 (KOSPI 200) and 2203 (KOSDAQ 150), by the portfolios of ETFs on them",
        ));
    }
    let wanted = |(index, _): &&(IndexCode, &str)| {
        job.indices.is_empty() || job.indices.iter().any(|code| code == index.as_str())
    };
    let etf = |etf: &str| StockCode::parse(etf.as_bytes()).expect("a code");
    Ok(PROXIES.iter().filter(wanted).map(|(index, code)| (*index, etf(code))).collect())
}

impl Extract<'_> {
    /// The portfolios of all ETFs, session by session.
    pub(super) async fn portfolios<W: Write>(&self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let universe = self.universe(writer).await?;
        let mut roll = self.roll(&universe, writer)?;
        job.progress.planned((job.sessions().len() * roll.names().len()) as u64);
        for session in job.sessions() {
            let asked: Vec<StockCode> = roll.listed(*session).collect();
            let answers =
                stream::iter(&asked).map(|etf| async { (*etf, self.portfolio(*etf, *session).await) });
            let mut answers = answers.buffered(self.client.in_flight());
            let mut rows = Rows::new(job.dataset);
            while let Some((etf, answer)) = answers.next().await {
                for row in &answer? {
                    roll.tick(etf, *session);
                    match row.part(etf, *session) {
                        Ok((id, part)) => rows.add(|out| Part { component_id: &id, ..part }.write(out)),
                        Err(odd) => reject(writer, &format!("{etf},{session}"), &odd, row)?,
                    }
                }
            }
            drop(answers);
            self.judge(&roll, &[*session], asked.iter().map(|etf| question(*etf, *session)))?;
            roll.close(&[*session], NO_ROW, writer)?;
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        Ok(())
    }

    /// The members of indices, session by session.
    pub(super) async fn members<W: Write>(&self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let proxies = proxies(job)?;
        job.progress.planned((job.sessions().len() * proxies.len()) as u64);
        for (index, etf) in &proxies {
            let finding = Finding { rule: &PROXY, severity: PROXY.severity };
            let message = format!(
                "source=etf_pdf_proxy: the members of {index} are the stocks in the portfolio of {etf}"
            );
            writer.remark(&finding, index.as_str(), &message)?;
        }
        for session in job.sessions() {
            let mut rows = Rows::new(job.dataset);
            let answers = stream::iter(&proxies)
                .map(|proxy| async { (*proxy, self.portfolio(proxy.1, *session).await) });
            let mut answers = answers.buffered(self.client.in_flight());
            while let Some(((index, etf), answer)) = answers.next().await {
                let mut members: Vec<StockCode> = answer?.iter().filter_map(Row::stock).collect();
                members.sort_unstable();
                members.dedup();
                if members.is_empty() {
                    self.client.disown(&question(etf, *session));
                    return Err(Error::NotPublished {
                        what: format!(
                            "infomax has no portfolio of {etf} on {session}, which stands for the index {index}"
                        ),
                        help: LATER.into(),
                    });
                }
                for code in members {
                    rows.add(|out| Member { index, time: *session, code, weight: None }.write(out));
                }
            }
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        Ok(())
    }

    async fn portfolio(&self, etf: StockCode, session: NaiveDate) -> Result<Vec<Row>> {
        self.ask(&question(etf, session), |rows| only(rows, &[etf], session, session)).await
    }
}

fn question(etf: StockCode, session: NaiveDate) -> Call {
    let call = Call::get("/api/etf/port").query("code", etf.as_str()).query("date", text::compact(session));
    call.query("sort", "value").session(session)
}

impl Row {
    /// A component, and what tells it apart within its portfolio.
    fn part(&self, etf: StockCode, time: NaiveDate) -> std::result::Result<(String, Part<'_>), Odd> {
        let (isin, code, name) = (self.port_isin.trim(), self.port_code.trim(), self.port_name.trim());
        if isin.is_empty() && code.is_empty() && name.is_empty() {
            let expected = "an ISIN, a code or a name";
            return Err(Odd { field: "port_isin", text: String::new(), expected });
        }
        let id = component_id(isin, code, name);
        // Deposits bear codes that look like those of stocks: 010010 with KRD010010001.
        let is_pseudo = isin.starts_with("KRD") || id.starts_with("CASH:");
        let part = Part {
            etf,
            time,
            component_id: "",
            component_code: if is_pseudo { "" } else { code },
            component_name: name,
            quantity: text::decimal("port_volume", &self.port_volume)?,
            value: text::whole("port_value", &self.port_value)?,
            weight: None,
        };
        Ok((id, part))
    }

    /// The code of a share; `None` for cash, deposits, futures, bonds and the funds themselves.
    fn stock(&self) -> Option<StockCode> {
        let isin = self.port_isin.trim();
        // Foreign issuers keep their own ISINs.
        let of_share = ["KR7", "KR8"].iter().any(|start| isin.starts_with(start)) || !isin.starts_with("KR");
        let code = StockCode::parse(self.port_code.trim().as_bytes())?;
        let is_fund = PROXIES.iter().any(|(_, etf)| *etf == code.as_str());
        (of_share && !is_fund && !is_cash(&self.port_name)).then_some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Decimal, ymd};

    fn row(isin: &str, code: &str, name: &str) -> Row {
        serde_json::from_value(serde_json::json!({
            "date": 20_260_102, "code": "069500", "port_isin": isin, "port_code": code, "port_name": name,
            "port_value": "-1,200", "port_volume": "-3.58",
        }))
        .unwrap()
    }

    #[test]
    fn components_are_told_apart_and_only_shares_are_members() {
        let etf = StockCode::parse(b"069500").unwrap();
        for (isin, code, name, id, shown, is_member) in [
            ("KR7005930003", "005930", "삼성전자", "KR7005930003", "005930", true),
            ("HK0000057197", "900140", "엘브이엠씨", "HK0000057197", "900140", true),
            ("KRD010010001", "010010", "원화예금", "KRD010010001", "", false),
            ("", "010010", "현금", "CASH:현금", "", false),
            ("KR4A01630007", "KR4A01630007", "코스피200 F 202603", "KR4A01630007", "KR4A01630007", false),
            ("", "", "코스피200 F, 202603", "FUT:코스피200 F  202603", "", false),
            ("KR7069500007", "069500", "KODEX 200", "KR7069500007", "069500", false),
            ("KR103502GC34", "", "국고채권", "KR103502GC34", "", false),
            ("", "0126Z0", "삼성에피스홀딩스", "0126Z0", "0126Z0", true),
        ] {
            let row = row(isin, code, name);
            let (found, part) = row.part(etf, ymd(2026, 1, 2)).unwrap();
            assert_eq!(
                (found.as_str(), part.component_code, part.value),
                (id, shown, Some(-1_200)),
                "{name}"
            );
            assert_eq!(part.quantity, Decimal::parse(b"-3.58"));
            assert_eq!(row.stock().is_some(), is_member, "{name}");
        }
        assert!(row("", "", "").part(etf, ymd(2026, 1, 2)).is_err());
    }
}
