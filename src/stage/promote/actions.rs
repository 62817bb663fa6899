//! Corporate action candidates: base prices that differ from the close of the previous calendar session.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use tokio_postgres::Transaction;

use crate::dataset::Dataset;
use crate::db::failed;
use crate::db::ledger::Remark;
use crate::db::merge::Merge;
use crate::error::Result;
use crate::market::tick::{self, Grid};
use crate::market::{Market, SecurityType};

const BASES: &str = include_str!("../../../sql/promote/bases.sql");
const DIFFERENCES: &str = include_str!("../../../sql/checks/base_follows_close.sql");
const COMPARED: &str = include_str!("../../../sql/checks/bases_follow_closes.sql");
/// How far a factor may lie from 1/n or n and still be taken for a split or a consolidation.
const NEAR: f64 = 0.02;
/// Factors outside are looked at by someone.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.05..=30.0;
/// Base prices change so without a halt: rights and bonus issues.
const WITHOUT_HALT: std::ops::Range<f64> = 0.2..1.0;

/// A candidate. Prices in KRW.
#[derive(Clone, Debug)]
pub(super) struct Action {
    stock_code: String,
    time: NaiveDate,
    base: i32,
    close: i32,
    factor: f64,
    kind: &'static str,
    explained: bool,
    evidence: String,
}

/// Finds the candidates among the staged bars; more than 1 % of a session's names are a gate.
pub(super) async fn find(
    transaction: &Transaction<'_>,
    dataset: &Dataset,
    remarks: &mut Vec<Remark>,
) -> Result<Vec<Action>> {
    let doing = failed("cannot compare base prices with closes");
    transaction.batch_execute(&BASES.replace("{table}", dataset.table)).await.map_err(&doing)?;
    let mut actions = Vec::new();
    for row in transaction.query(DIFFERENCES, &[]).await.map_err(&doing)? {
        let (time, base, close): (NaiveDate, i32, i32) = (row.get(1), row.get(2), row.get(3));
        let market = Market::parse(row.get::<_, &str>(5).as_bytes());
        let kind = SecurityType::parse(row.get::<_, &str>(6).as_bytes());
        if is_round_up(time, market, kind, i64::from(base), i64::from(close)) {
            continue;
        }
        let factor = f64::from(base) / f64::from(close);
        let (before, traded, traded_before): (NaiveDate, bool, bool) = (row.get(4), row.get(7), row.get(8));
        let how = |traded| if traded { "traded" } else { "without trades" };
        actions.push(Action {
            stock_code: row.get(0),
            time,
            base,
            close,
            factor,
            kind: kind_of(factor),
            explained: is_explained(factor, traded_before),
            evidence: format!(
                "base price {base} on {time} ({}), close {close} on {before} ({})",
                how(traded),
                how(traded_before)
            ),
        });
    }
    for action in &actions {
        remarks.push(Remark {
            severity: if action.explained { "note" } else { "flag" }.into(),
            rule: format!("{}.base_follows_close", dataset.name),
            stock_code: Some(action.stock_code.clone()),
            time: Some(action.time),
            message: format!("{}: factor {:.4}, {}", action.evidence, action.factor, action.kind),
        });
    }
    let mut by_session: BTreeMap<NaiveDate, i64> = BTreeMap::new();
    for action in &actions {
        *by_session.entry(action.time).or_default() += 1;
    }
    for row in transaction.query(COMPARED, &[]).await.map_err(&doing)? {
        let (time, names): (NaiveDate, i64) = (row.get(0), row.get(1));
        let differing = by_session.get(&time).copied().unwrap_or(0);
        if differing > 10 && differing * 100 > names {
            remarks.push(Remark {
                severity: "gate".into(),
                rule: format!("{}.bases_follow_closes", dataset.name),
                stock_code: None,
                time: Some(time),
                message: format!(
                    "{differing} of {names} base prices of {time} differ from the closes before"
                ),
            });
        }
    }
    Ok(actions)
}

/// A half-tick close becomes the next base price rounded up to the tick: no corporate action.
fn is_round_up(
    time: NaiveDate,
    market: Option<Market>,
    kind: Option<SecurityType>,
    base: i64,
    close: i64,
) -> bool {
    let (Some(market), Some(kind)) = (market, kind) else {
        return false;
    };
    time >= tick::HALF_TICKS_FROM
        && tick::table(time, market, kind)
            .is_some_and(|table| tick::grid(table, close) != Grid::On && tick::round_up(table, close) == base)
}

/// Can it be an action? Base prices rise, and fall below a fifth, when trading resumes after a halt: consolidation,
/// split, merger. A power of ten is a slipped decimal as often as a consolidation.
fn is_explained(factor: f64, traded_before: bool) -> bool {
    let tens = factor.log10();
    let slipped = (tens - tens.round()).abs() <= (1.0 + NEAR).log10() && tens.round() != 0.0;
    PLAUSIBLE.contains(&factor) && !slipped && (!traded_before || WITHOUT_HALT.contains(&factor))
}

fn kind_of(factor: f64) -> &'static str {
    let near = |x: f64| x.round() >= 2.0 && (x - x.round()).abs() <= NEAR * x.round();
    if near(1.0 / factor) {
        "split"
    } else if near(factor) {
        "consolidation"
    } else if factor < 1.0 {
        "rights"
    } else {
        "resumption"
    }
}

/// Writes the candidates; those that an earlier batch saw and this one does not are removed.
pub(super) async fn write(transaction: &Transaction<'_>, batch: i64, actions: &[Action]) -> Result<()> {
    let doing = failed("cannot write the corporate actions");
    transaction
        .batch_execute("CREATE TEMP TABLE incoming_actions (LIKE market.corporate_actions) ON COMMIT DROP")
        .await
        .map_err(&doing)?;
    let column = |of: fn(&Action) -> i32| actions.iter().map(of).collect::<Vec<_>>();
    let text = |of: fn(&Action) -> &str| actions.iter().map(of).collect::<Vec<_>>();
    transaction
        .execute(
            "INSERT INTO incoming_actions SELECT a.*, $1 FROM unnest($2::text[], $3::date[], $4::int[], $5::int[], \
             $6::float8[], $7::text[], $8::text[]) AS a",
            &[
                &batch,
                &text(|a| &a.stock_code),
                &actions.iter().map(|a| a.time).collect::<Vec<_>>(),
                &column(|a| a.base),
                &column(|a| a.close),
                &actions.iter().map(|a| a.factor).collect::<Vec<_>>(),
                &text(|a| a.kind),
                &text(|a| &a.evidence),
            ],
        )
        .await
        .map_err(&doing)?;
    let merge = Merge {
        table: "corporate_actions",
        key: &["stock_code", "time"],
        columns: vec!["base_price", "prev_close", "factor", "kind", "evidence"],
        from: "incoming_actions",
        // Only what this batch could judge.
        target: "EXISTS (SELECT FROM bases a WHERE a.stock_code = m.stock_code AND a.time = m.time)",
        incoming: "true",
        delete: true,
    };
    merge.run(transaction, batch).await?;
    Ok(())
}

/// Brings the factors of adjusted prices up to date, after bars of these sessions changed.
pub(super) async fn refresh_adjustments(
    transaction: &Transaction<'_>,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<()> {
    transaction
        .execute("SELECT ops.refresh_adjustments($1, $2)", &[&from, &to])
        .await
        .map_err(failed("cannot work out adjustment factors"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn kinds_by_factor() {
        for (factor, kind) in [
            (0.2, "split"),
            (0.0998, "split"),
            (5.0, "consolidation"),
            (0.9, "rights"),
            (1.4, "resumption"),
            (0.65, "rights"),
        ] {
            assert_eq!(kind_of(factor), kind, "{factor}");
        }
    }

    #[test]
    fn what_explains_a_factor() {
        // Consolidation, SPAC merger, after a halt; 1:1 bonus, rights, without.
        for (factor, traded_before) in [(5.0, false), (1.45, false), (0.2, false), (0.5, true), (0.93, true)]
        {
            assert!(is_explained(factor, traded_before), "{factor}");
        }
        for (factor, traded_before) in [
            (5.0, true),
            (1.02, true),
            (0.12, true),
            (10.0, false),
            (9.9, false),
            (0.1, false),
            (45.0, false),
        ] {
            assert!(!is_explained(factor, traded_before), "{factor}");
        }
    }

    #[test]
    fn half_tick_round_ups() {
        let is = |time, base, close| {
            is_round_up(time, Some(Market::Kosdaq), Some(SecurityType::Stock), base, close)
        };
        assert!(is(ymd(2026, 1, 5), 2_070, 2_067));
        assert!(!is(ymd(2026, 1, 5), 2_075, 2_067));
        assert!(!is(ymd(2024, 1, 5), 2_070, 2_067));
        assert!(!is(ymd(2026, 1, 5), 2_070, 2_060));
    }
}
