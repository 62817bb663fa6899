//! What each kind of investor traded (`ka10059`): 100 sessions a page, one metric a question.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use super::bars::in_won;
use super::{Extract, LEAST_PERCENT, Operation, ROWS_AT_ONCE, Stamped, body};
use crate::dataset::investor_trading::Flow;
use crate::error::Result;
use crate::market::{Investor, StockCode};
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Roll, Rows, reject};
use crate::stream::Writer;

const INVESTORS: Operation = Operation { id: "ka10059", path: "/api/dostk/stkinfo", list: "stk_invsr_orgn" };
/// Rows of a page.
const PAGE: usize = 100;
/// Questions a name: what was bought and sold, in shares and in KRW. What is net follows.
pub(super) const METRICS: usize = 4;
/// Selectors of each: `amt_qty_tp` (1 amount, 2 quantity), `trde_tp` (1 buy, 2 sell), `unit_tp`. Quantities come in single
/// shares with unit 1; amounts in million KRW whatever the unit.
const SELECTORS: [(&str, &str, &str); METRICS] =
    [("2", "1", "1"), ("2", "2", "1"), ("1", "1", "1000"), ("1", "2", "1000")];

#[derive(Deserialize, Default, Clone, Debug)]
#[serde(default)]
struct Row {
    dt: Cell,
    ind_invsr: Cell,
    frgnr_invsr: Cell,
    orgn: Cell,
    penfnd_etc: Cell,
    etc_corp: Cell,
    /// Resident foreigners (내외국인).
    natfor: Cell,
}

impl Stamped for Row {
    fn stamp(&self) -> &str {
        self.dt.trim()
    }
}

/// The kinds that Kiwoom tells apart.
const KINDS: usize = 6;
const RETAIL: usize = 0;
const FOREIGN: usize = 1;
const INSTITUTION: usize = 2;
const PENSION: usize = 3;
const OTHER: usize = 4;
const RESIDENT: usize = 5;

/// A session of a name: by metric, then by kind; absent where the row is, or blank.
type Day = [[Option<i64>; KINDS]; METRICS];

/// Sessions that are held in memory, and asked for, together; each has five rows.
pub(super) fn sessions_at_once(names: usize) -> usize {
    (ROWS_AT_ONCE / 5 / names.max(1)).clamp(1, PAGE)
}

impl Extract<'_> {
    /// The flows of all sessions.
    pub(super) async fn investors<W: Write>(
        &self,
        mut roll: Roll<'_>,
        job: &Job<'_>,
        writer: &mut Writer<W>,
    ) -> Result<()> {
        let window = sessions_at_once(roll.names().len());
        job.progress.planned((METRICS * job.sessions().len().div_ceil(window) * roll.names().len()) as u64);
        for sessions in job.sessions().chunks(window) {
            let mut asked = Vec::new();
            for code in roll.names() {
                let Some((first, last)) = roll.span(*code, sessions) else { continue };
                asked.extend((0..METRICS).map(|metric| (*code, metric, first, last)));
            }
            let answers = stream::iter(&asked).map(|(code, metric, first, last)| async move {
                let question = question(*code, *metric, *last);
                let rows = self.back::<Row>(&INVESTORS, &question, &text::compact(*first), *last).await;
                rows.map(|rows| (*code, *metric, *first, rows))
            });
            let mut answers = answers.buffered(self.client.in_flight());
            let (mut rows, mut days) = (Rows::new(job.dataset), BTreeMap::<NaiveDate, Day>::new());
            while let Some((code, metric, first, answer)) = answers.try_next().await? {
                for row in &answer {
                    match row.read(metric) {
                        Ok((date, _)) if date < first => {}
                        // The row of a session whose figures are not known yet is blank.
                        Ok((_, figures)) if figures.iter().all(Option::is_none) => {}
                        Ok((date, figures)) => days.entry(date).or_default()[metric] = figures,
                        Err(odd) => reject(writer, code.as_str(), &odd, row)?,
                    }
                }
                if metric + 1 < METRICS {
                    continue;
                }
                for (date, day) in std::mem::take(&mut days) {
                    if roll.at(code, date).is_some() {
                        roll.tick(code, date);
                        flows(code, date, &day).for_each(|flow| rows.add(|out| flow.write(out)));
                    }
                }
            }
            drop(answers);
            let calls = asked.iter().map(|(code, metric, _, last)| {
                Self::call(&INVESTORS, &question(*code, *metric, *last), None)
            });
            self.judge(&roll, sessions, LEAST_PERCENT, calls)?;
            self.excuse(&mut roll, sessions).await?;
            roll.close(sessions, "traded on that session, and no row came", writer)?;
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        Ok(())
    }
}

fn question(code: StockCode, metric: usize, last: NaiveDate) -> Value {
    let (what, side, unit) = SELECTORS[metric];
    body(code, &[("dt", &text::compact(last)), ("amt_qty_tp", what), ("trde_tp", side), ("unit_tp", unit)])
}

impl Row {
    fn read(&self, metric: usize) -> std::result::Result<(NaiveDate, [Option<i64>; KINDS]), Odd> {
        let odd = || Odd { field: "dt", text: self.dt.to_string(), expected: "a date" };
        let date = text::date("dt", &self.dt)?.ok_or_else(odd)?;
        let is_amount = SELECTORS[metric].0 == "1";
        // What was sold may bear a minus sign.
        let figure = |field, text: &str| {
            let figure = if is_amount { in_won(field, text) } else { text::whole(field, text) };
            figure.map(|figure| figure.map(i64::abs))
        };
        Ok((
            date,
            [
                figure("ind_invsr", &self.ind_invsr)?,
                figure("frgnr_invsr", &self.frgnr_invsr)?,
                figure("orgn", &self.orgn)?,
                figure("penfnd_etc", &self.penfnd_etc)?,
                figure("etc_corp", &self.etc_corp)?,
                figure("natfor", &self.natfor)?,
            ],
        ))
    }
}

/// Are resident foreigners counted apart from `frgnr_invsr`? Shares tell, since they are exact: what everybody bought net
/// is zero. Where the sum is zero without them they are in it already, or traded nothing net.
fn residents_are_apart(day: &Day) -> bool {
    let net = |kind: usize| Some(day[0][kind]? - day[1][kind]?);
    let sum = [RETAIL, FOREIGN, INSTITUTION, OTHER].into_iter().map(net).sum::<Option<i64>>();
    sum != Some(0)
}

/// A session's flows.
fn flows(code: StockCode, time: NaiveDate, day: &Day) -> impl Iterator<Item = Flow> {
    let mut day = *day;
    if residents_are_apart(&day) {
        for metric in &mut day {
            metric[FOREIGN] = metric[FOREIGN].map(|foreign| foreign + metric[RESIDENT].unwrap_or(0));
        }
    }
    Investor::ALL.into_iter().filter_map(move |investor| {
        let kind = match investor {
            Investor::Foreign => FOREIGN,
            Investor::Institution => INSTITUTION,
            Investor::OtherCorporation => OTHER,
            Investor::Pension => PENSION,
            Investor::Retail => RETAIL,
        };
        let [buy_volume, sell_volume, buy_value, sell_value] = day.map(|metric| metric[kind]);
        let net = |buy: Option<i64>, sell: Option<i64>| Some(buy? - sell?);
        let is_told = [buy_volume, sell_volume, buy_value, sell_value].iter().any(Option::is_some);
        is_told.then(|| Flow {
            code,
            time,
            investor,
            buy_volume,
            sell_volume,
            buy_value,
            sell_value,
            net_volume: net(buy_volume, sell_volume),
            net_value: net(buy_value, sell_value),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    fn day(bought: [i64; KINDS], sold: [i64; KINDS]) -> Day {
        [bought.map(Some), sold.map(Some), [Some(0); KINDS], [None; KINDS]]
    }

    #[test]
    fn resident_foreigners_belong_where_everybody_adds_up_to_zero() {
        let code = StockCode::parse(b"000010").unwrap();
        let foreign = |day: &Day| {
            let flow =
                flows(code, ymd(2026, 1, 2), day).find(|flow| flow.investor == Investor::Foreign).unwrap();
            (flow.buy_volume, flow.sell_volume, flow.net_volume)
        };
        // Apart: 30 - 40, 56 - 48, 12 - 8, 1 - 2, and 1 - 2 of residents.
        let apart = day([30, 56, 12, 4, 1, 1], [40, 48, 8, 1, 2, 2]);
        assert!(residents_are_apart(&apart));
        assert_eq!(foreign(&apart), (Some(57), Some(50), Some(7)));
        // Among the foreigners already.
        let among = day([30, 57, 12, 4, 1, 1], [40, 50, 8, 1, 2, 2]);
        assert!(!residents_are_apart(&among));
        assert_eq!(foreign(&among), (Some(57), Some(50), Some(7)));
        // What does not add up either way is for the rules to see.
        let odd = day([30, 57, 12, 4, 1, 5], [40, 51, 8, 1, 2, 2]);
        assert_eq!(foreign(&odd), (Some(62), Some(53), Some(9)));
    }

    #[test]
    fn what_is_blank_stays_blank() {
        let row: Row =
            serde_json::from_str(r#"{"dt":"20260102","ind_invsr":"-40","orgn":"","frgnr_invsr":"+5"}"#)
                .unwrap();
        assert_eq!(row.read(1).unwrap().1, [Some(40), Some(5), None, None, None, None]);
        assert_eq!(row.read(3).unwrap().1[0], Some(40_000_000));
        let code = StockCode::parse(b"000010").unwrap();
        let day = [row.read(0).unwrap().1, [None; KINDS], [None; KINDS], [None; KINDS]];
        let flows: Vec<Flow> = flows(code, ymd(2026, 1, 2), &day).collect();
        assert_eq!(
            flows.iter().map(|f| f.investor).collect::<Vec<_>>(),
            [Investor::Foreign, Investor::Retail]
        );
        assert_eq!((flows[1].buy_volume, flows[1].net_volume), (Some(40), None));
        assert_eq!(sessions_at_once(2_700), 74);
        assert_eq!(sessions_at_once(1), 100);
    }
}
