//! Floating shares (`ka10001`): of the present, without a date, one name a question.

use std::io::Write;

use chrono::NaiveDate;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{Extract, LEAST_PERCENT, Operation, body, code_of};
use crate::dataset::floating_shares::Float;
use crate::dataset::{Rule, Severity, rule};
use crate::error::{Error, Result};
use crate::market::{Decimal, StockCode};
use crate::source::http::{Answer, odd_answer};
use crate::source::published::{self, State};
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Roll, Rows, Source, reject};
use crate::stream::Writer;

const BASIC: Operation = Operation { id: "ka10001", path: "/api/dostk/stkinfo", list: "" };

/// Floating shares whose unit is not certain.
pub(super) static UNIT_AGREES: Rule = rule::batch(
    "kiwoom.floating_shares_agree",
    Severity::Flag,
    "floating shares, listed shares and the ratio do not agree: the floating shares are left out",
    "Kiwoom's documents call dstr_stk single shares, its answers have thousands. The ratio (dstr_rt) decides: where \
     dstr_stk / flo_stk is not dstr_rt in either unit, nobody knows what the number counts.",
);

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    stk_cd: Cell,
    /// Listed, in thousand shares.
    flo_stk: Cell,
    /// Floating, in thousand shares or single ones.
    dstr_stk: Cell,
    /// Floating, per cent of the listed.
    dstr_rt: Cell,
}

/// The session whose evening the answer describes: the only one that can be asked for.
pub(super) fn present(job: &Job) -> Result<NaiveDate> {
    let is_there = |session: &&NaiveDate| {
        let state = published::state(Source::Kiwoom, job.dataset.name, **session, job.calendar, job.now);
        !matches!(state, State::NotYet { .. })
    };
    let (first, last) = job.calendar.covers();
    let present = job.calendar.sessions(first, last).iter().rfind(is_there).copied();
    match present {
        Some(present) if job.sessions() == [present] => Ok(present),
        _ => Err(Error::usage(
            format!(
                "kiwoom tells the floating shares of the present only, not of {} to {}",
                job.from, job.to
            ),
            format!(
                "ask for {}",
                present.map_or_else(|| "a session".to_owned(), |session| session.to_string())
            ),
        )),
    }
}

impl Extract<'_> {
    /// The floating shares of all names.
    pub(super) async fn floats<W: Write>(
        &self,
        mut roll: Roll<'_>,
        job: &Job<'_>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let session = present(job)?;
        let asked: Vec<StockCode> = roll.listed(session).collect();
        job.progress.planned(asked.len() as u64);
        let answers = stream::iter(&asked).map(|code| async move {
            let call = Self::call(&BASIC, &body(*code, &[]), None);
            self.client
                .ask(&self.account, &call, |answer| of_name(answer, *code))
                .await
                .map(|row| (*code, row))
        });
        let mut answers = answers.buffered(self.client.in_flight());
        let mut rows = Rows::new(job.dataset);
        while let Some((code, row)) = answers.try_next().await? {
            let Some(row) = row else { continue };
            match row.float(code, session) {
                Ok((float, agrees)) => {
                    if !agrees {
                        let says = format!(
                            "dstr_stk {} of flo_stk {} is not {} %",
                            &*row.dstr_stk, &*row.flo_stk, &*row.dstr_rt
                        );
                        Self::remark(writer, &UNIT_AGREES, &format!("{code},{session}"), &says)?;
                    }
                    if float.floating_shares.is_some() || float.floating_ratio.is_some() {
                        roll.tick(code, session);
                        rows.add(|out| float.write(out));
                    }
                }
                Err(odd) => {
                    roll.tick(code, session);
                    reject(writer, &format!("{code} {session}"), &odd, &row)?;
                }
            }
        }
        drop(answers);
        let calls = asked.iter().map(|code| Self::call(&BASIC, &body(*code, &[]), None));
        self.judge(&roll, &[session], LEAST_PERCENT, calls)?;
        roll.close(&[session], "Kiwoom does not tell its floating shares", writer)?;
        job.progress.rows(rows.len() as u64);
        rows.write(writer)
    }
}

/// The answer about a name; `None` where Kiwoom does not know it.
fn of_name(answer: &Answer, code: StockCode) -> Result<Option<Row>> {
    let body: serde_json::Value = answer.json().map_err(|_| odd_answer("kiwoom: no JSON".into()))?;
    if text::whole("return_code", &code_of(&body)) != Ok(Some(0)) {
        return Ok(None);
    }
    let row: Row = serde_json::from_value(body).map_err(|e| odd_answer(format!("kiwoom: {e}")))?;
    let other = row.stk_cd.trim();
    if !other.is_empty() && other != code.as_str() {
        let other = other.escape_debug();
        return Err(odd_answer(format!("kiwoom: asked for {code}, it answered with {other}")));
    }
    Ok(Some(row))
}

impl Row {
    /// A row, and whether its numbers agree.
    fn float(&self, code: StockCode, time: NaiveDate) -> std::result::Result<(Float, bool), Odd> {
        let listed = text::whole("flo_stk", &self.flo_stk)?.filter(|listed| *listed > 0);
        let floating = text::whole("dstr_stk", &self.dstr_stk)?;
        let ratio = text::decimal("dstr_rt", &self.dstr_rt)?;
        let in_thousands = |n: i64| n.checked_mul(1_000);
        // A blank or zero beside a ratio of zero says nothing.
        let ratio = ratio.filter(|ratio| *ratio != Decimal::ZERO || floating.is_some());
        let unit = match (listed, floating, ratio) {
            (Some(listed), Some(floating), Some(ratio)) => unit(listed, floating, ratio),
            _ => None,
        };
        let float = Float {
            code,
            time,
            listed_shares: listed.and_then(in_thousands),
            floating_shares: floating.zip(unit).and_then(|(floating, unit)| floating.checked_mul(unit)),
            floating_ratio: ratio,
        };
        Ok((float, floating.is_none() || unit.is_some()))
    }
}

/// In which unit are the floating shares their ratio of the listed ones, which come in thousands? Within 0.1 per cent
/// points, and what cutting off below a thousand explains.
fn unit(listed: i64, floating: i64, ratio: Decimal) -> Option<i64> {
    [1_000, 1].into_iter().find(|unit| {
        let (listed, floating) = (i128::from(listed) * 1_000, i128::from(floating) * i128::from(*unit));
        // In 1/10,000 per cent.
        let gap = (floating * 1_000_000 / listed - ratio.at_scale(4)).abs();
        gap <= 1_000 + 2_000 * 1_000_000 / listed
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    fn float(listed: &str, floating: &str, ratio: &str) -> (Option<i64>, Option<i64>, Option<Decimal>, bool) {
        let row: Row = serde_json::from_value(serde_json::json!({
            "stk_cd": "000010", "flo_stk": listed, "dstr_stk": floating, "dstr_rt": ratio,
        }))
        .unwrap();
        let code = StockCode::parse(b"000010").unwrap();
        let (float, agrees) = row.float(code, ymd(2026, 1, 2)).unwrap();
        (float.listed_shares, float.floating_shares, float.floating_ratio, agrees)
    }

    #[test]
    fn the_ratio_tells_the_unit() {
        let ratio = Decimal::parse(b"75.97");
        let listed = Some(5_919_637_000);
        assert_eq!(float("5919637", "4497148", "75.97"), (listed, Some(4_497_148_000), ratio, true));
        assert_eq!(float("5919637", "4497148922", "+75.97"), (listed, Some(4_497_148_922), ratio, true));
        assert_eq!(float("5919637", "3297148", "75.97"), (listed, None, ratio, false));
        // A small class: what is cut off is much of it.
        assert_eq!(float("27", "20", "76.50"), (Some(27_000), Some(20_000), Decimal::parse(b"76.5"), true));
        // Nothing to compare with.
        assert_eq!(float("", "4497148", "75.97"), (None, None, ratio, false));
        assert_eq!(float("5919637", "4497148", ""), (listed, None, None, false));
        assert_eq!(float("5919637", "", "75.97"), (listed, None, ratio, true));
        assert_eq!(float("5919637", "", ""), (listed, None, None, true));
        assert_eq!(float("5919637", "", "0.00"), (listed, None, None, true));
    }
}
