//! What each kind of investor traded: code by code.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::NaiveDate;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{Dated, Extract, ranged};
use crate::dataset::investor_trading::Flow;
use crate::error::Result;
use crate::market::{Investor, StockCode};
use crate::source::http::Call;
use crate::source::text::{self, Cell, Odd};
use crate::source::{Job, Rows, reject};
use crate::stream::Writer;

/// Values come in thousand KRW, whatever the price; volumes in shares.
pub(super) const UNIT: i64 = 1_000;
/// Calendar days in one question: all 14 kinds of investors stay below the 1,000 rows of an answer, also where the
/// service does not take the selection.
const DAYS_AT_ONCE: i64 = 90;
/// The kinds to select: 기관계, 연기금, 기타법인, 개인, 외국인합, 외국인, 기타외국인.
const SELECTED: &str = "T010,6000,7100,8000,9000,9001,9002";
const NO_ROW: &str = "traded on that session, and no row came";

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct Row {
    date: Cell,
    code: Cell,
    investor: Cell,
    ask_volume: Cell,
    ask_value: Cell,
    bid_volume: Cell,
    bid_value: Cell,
}

impl Dated for Row {
    fn date(&self) -> &str {
        &self.date
    }

    fn code(&self) -> &str {
        &self.code
    }
}

/// A kind of investor as the service tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    /// 외국인합: all foreigners.
    Foreigners,
    /// 외국인: the registered ones.
    Registered,
    /// 기타외국인: the others.
    OtherForeigners,
    Plain(Investor),
}

impl Kind {
    /// By the name in answers, or by the selector; `None` for those that are parts of the institutions.
    fn find(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        match plain.as_str() {
            "외국인합" | "외국인합계" | "9000" => Some(Self::Foreigners),
            "외국인" | "9001" => Some(Self::Registered),
            "기타외국인" | "9002" => Some(Self::OtherForeigners),
            "기관계" | "기관합계" | "T010" => Some(Self::Plain(Investor::Institution)),
            "개인" | "8000" => Some(Self::Plain(Investor::Retail)),
            "기타법인" | "7100" => Some(Self::Plain(Investor::OtherCorporation)),
            // The documents say 연기금, answers 기금공제.
            "기금공제" | "연기금" | "연기금등" | "6000" => Some(Self::Plain(Investor::Pension)),
            _ => None,
        }
    }
}

/// Bought and sold, in shares and KRW.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Amounts {
    buy_volume: Option<i64>,
    sell_volume: Option<i64>,
    buy_value: Option<i64>,
    sell_value: Option<i64>,
}

type Day = BTreeMap<Kind, Amounts>;

/// The sessions in pieces of so many calendar days as one question may span.
pub(super) fn chunks(sessions: &[NaiveDate]) -> Vec<&[NaiveDate]> {
    let mut chunks = Vec::new();
    let mut rest = sessions;
    while let Some(first) = rest.first() {
        let (chunk, after) =
            rest.split_at(rest.partition_point(|day| (*day - *first).num_days() < DAYS_AT_ONCE));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

impl Extract<'_> {
    /// The flows of all sessions.
    pub(super) async fn investors<W: Write>(&self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        let universe = self.universe(writer).await?;
        let mut roll = self.roll(&universe, writer)?;
        let chunks = chunks(job.sessions());
        job.progress.planned((chunks.len() * roll.names().len()) as u64);
        for sessions in chunks {
            let mut rows = Rows::new(job.dataset);
            let mut asked = Vec::new();
            for code in roll.names() {
                let Some((first, last)) = roll.span(*code, sessions) else { continue };
                let call =
                    Call::get("/api/stock/investor").query("code", code.as_str()).query("investor", SELECTED);
                asked.push((*code, first, last, call));
            }
            let answers = stream::iter(&asked).map(|(code, first, last, call)| async move {
                self.history::<Row>(call, *code, *first, *last).await.map(|rows| (*code, rows))
            });
            let mut answers = answers.buffered(self.client.in_flight());
            while let Some((code, answer)) = answers.try_next().await? {
                for (date, day) in days(code, &answer, writer)? {
                    roll.tick(code, date);
                    flows(code, date, &day).for_each(|flow| rows.add(|out| flow.write(out)));
                }
            }
            drop(answers);
            self.judge(
                &roll,
                sessions,
                asked.iter().map(|(_, first, last, call)| ranged(call.clone(), *first, *last)),
            )?;
            self.excuse(&mut roll, sessions).await?;
            roll.close(sessions, NO_ROW, writer)?;
            job.progress.rows(rows.len() as u64);
            rows.write(writer)?;
        }
        Ok(())
    }
}

/// The rows of a code by session and kind.
fn days<W: Write>(code: StockCode, rows: &[Row], writer: &mut Writer<W>) -> Result<BTreeMap<NaiveDate, Day>> {
    let mut days: BTreeMap<NaiveDate, Day> = BTreeMap::new();
    for row in rows {
        let Some(kind) = Kind::find(&row.investor) else { continue };
        let read = row.read().and_then(|(date, amounts)| {
            let twice =
                days.entry(date).or_default().insert(kind, amounts).is_some_and(|before| before != amounts);
            let odd = Odd {
                field: "investor",
                text: row.investor.to_string(),
                expected: "each kind once a session",
            };
            if twice { Err(odd) } else { Ok(()) }
        });
        if let Err(odd) = read {
            reject(writer, code.as_str(), &odd, row)?;
        }
    }
    Ok(days)
}

impl Row {
    fn read(&self) -> std::result::Result<(NaiveDate, Amounts), Odd> {
        let date = text::date("date", &self.date)?;
        let date =
            date.ok_or_else(|| Odd { field: "date", text: self.date.to_string(), expected: "a date" })?;
        let value = |field, text: &str| {
            let thousands = text::whole(field, text)?;
            let won = thousands.map(|value| value.checked_mul(UNIT).ok_or(value)).transpose();
            won.map_err(|_| Odd { field, text: text.to_owned(), expected: "a value in thousand KRW" })
        };
        // Asked is sold, bid is bought.
        let amounts = Amounts {
            buy_volume: text::whole("bid_volume", &self.bid_volume)?,
            sell_volume: text::whole("ask_volume", &self.ask_volume)?,
            buy_value: value("bid_value", &self.bid_value)?,
            sell_value: value("ask_value", &self.ask_value)?,
        };
        Ok((date, amounts))
    }
}

/// A session's flows. Foreigners are all of them, so that the four kinds add up to zero: 외국인합 where it is, else
/// 외국인 and 기타외국인 together.
fn flows(code: StockCode, time: NaiveDate, day: &Day) -> impl Iterator<Item = Flow> {
    let foreign =
        match (day.get(&Kind::Foreigners), day.get(&Kind::Registered), day.get(&Kind::OtherForeigners)) {
            (Some(all), _, _) => Some(*all),
            (None, Some(registered), Some(others)) => Some(registered.plus(others)),
            (None, registered, others) => registered.or(others).copied(),
        };
    Investor::ALL.into_iter().filter_map(move |investor| {
        let plain = || day.get(&Kind::Plain(investor)).copied();
        let amounts = if investor == Investor::Foreign { foreign } else { plain() }?;
        let net = |buy: Option<i64>, sell: Option<i64>| Some(buy? - sell?);
        Some(Flow {
            code,
            time,
            investor,
            buy_volume: amounts.buy_volume,
            sell_volume: amounts.sell_volume,
            buy_value: amounts.buy_value,
            sell_value: amounts.sell_value,
            net_volume: net(amounts.buy_volume, amounts.sell_volume),
            net_value: net(amounts.buy_value, amounts.sell_value),
        })
    })
}

impl Amounts {
    fn plus(&self, other: &Self) -> Self {
        let sum = |a: Option<i64>, b: Option<i64>| Some(a? + b?);
        Self {
            buy_volume: sum(self.buy_volume, other.buy_volume),
            sell_volume: sum(self.sell_volume, other.sell_volume),
            buy_value: sum(self.buy_value, other.buy_value),
            sell_value: sum(self.sell_value, other.sell_value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{Calendar, ymd};

    #[test]
    fn questions_span_at_most_ninety_days() {
        let calendar = Calendar::shipped();
        let sessions = calendar.sessions(ymd(2024, 1, 1), ymd(2024, 12, 31));
        let chunks = chunks(sessions);
        assert_eq!(chunks.iter().map(|chunk| chunk.len()).sum::<usize>(), sessions.len());
        for chunk in &chunks {
            // All 14 kinds stay below 1,000 rows.
            assert!((chunk[chunk.len() - 1] - chunk[0]).num_days() < 90 && chunk.len() * 14 < 1_000);
        }
        assert_eq!(chunks.len(), 5);
        assert!(super::chunks(&[]).is_empty());
    }

    #[test]
    fn foreigners_are_all_of_them() {
        let code = StockCode::parse(b"000010").unwrap();
        let amounts = |buy: i64, sell: i64| Amounts {
            buy_volume: Some(buy),
            sell_volume: Some(sell),
            buy_value: Some(buy * 1000),
            sell_value: None,
        };
        let net = |day: &Day| {
            let mut flows = flows(code, ymd(2026, 1, 2), day);
            flows
                .find(|flow| flow.investor == Investor::Foreign)
                .map(|flow| (flow.net_volume, flow.net_value))
        };
        let mut day = Day::from([(Kind::Registered, amounts(7, 2))]);
        assert_eq!(net(&day), Some((Some(5), None)));
        day.insert(Kind::OtherForeigners, amounts(1, 3));
        assert_eq!(net(&day), Some((Some(3), None)));
        day.insert(Kind::Foreigners, amounts(9, 5));
        assert_eq!(net(&day), Some((Some(4), None)));
        assert_eq!(net(&Day::new()), None);
    }

    #[test]
    fn names_and_selectors_are_the_same() {
        for (texts, kind) in [
            (["외국인합", "9000"], Kind::Foreigners),
            (["외국인", "9001"], Kind::Registered),
            (["기타 외국인", "9002"], Kind::OtherForeigners),
            (["기금공제", "연기금"], Kind::Plain(Investor::Pension)),
            (["연기금 등", "6000"], Kind::Plain(Investor::Pension)),
            (["기관계", "T010"], Kind::Plain(Investor::Institution)),
        ] {
            assert!(texts.iter().all(|text| Kind::find(text) == Some(kind)), "{texts:?}");
        }
        assert!(["금융투자", "보험", "은행", "국가", ""].iter().all(|text| Kind::find(text).is_none()));
    }
}
