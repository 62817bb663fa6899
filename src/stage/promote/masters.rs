//! Stock masters: kept as a history of changes, in any order of dates, and a table of the present.

use tokio_postgres::Transaction;

use super::Batch;
use super::around::{check, fill};
use crate::db::failed;
use crate::db::ledger::Remark;
use crate::db::merge::{Merge, Written};
use crate::error::Result;

const HISTORY: &str = include_str!("../../../sql/promote/history.sql");
const FEW_ARE_DELISTED: &str = include_str!("../../../sql/checks/few_are_delisted.sql");
const DELISTED: &str = include_str!("../../../sql/checks/delisted.sql");

/// The columns that make up a name's state.
const STATE: [&str; 11] = [
    "isin",
    "name",
    "name_en",
    "market",
    "segment",
    "security_type",
    "listing_date",
    "delisting_date",
    "is_active",
    "par_value",
    "listed_shares",
];
/// Of these, what never changes for a name, so that any master may tell it of any session.
const FIXED: [&str; 3] = ["isin", "name_en", "listing_date"];

/// Of a state `h`: was the name merely in no master any more?
const BY_ABSENCE: &str = "(NOT h.is_active AND h.delisting_date IS NULL AND EXISTS \
     (SELECT FROM market.stock_history p WHERE p.stock_code = h.stock_code AND p.valid_to = h.valid_from))";

/// Makes the history as it must stand after the batch, and judges how many names it would deactivate.
pub(super) async fn prepare(transaction: &Transaction<'_>, batch: &Batch) -> Result<Vec<Remark>> {
    let each = |of: &dyn Fn(&str) -> String| STATE.iter().map(|c| of(c)).collect::<Vec<_>>().join(", ");
    // What the source does not know stays what is known. A list of delisted names tells that a name is gone, and little of
    // what it was: there it only fills in.
    let present = each(&|c| {
        let provided = batch.provides.iter().any(|p| p == c);
        if provided && c == "is_active" {
            format!("s.{c}")
        } else if provided {
            format!(
                "CASE WHEN s.is_active OR h.stock_code IS NULL THEN s.{c} ELSE coalesce(h.{c}, s.{c}) END AS {c}"
            )
        } else if FIXED.contains(&c) {
            format!("coalesce(h.{c}, k.{c}) AS {c}")
        } else {
            format!("h.{c}")
        }
    });
    let carried = each(&|c| match c {
        "is_active" => "(is_active AND NOT absent) IS TRUE AS is_active".to_owned(),
        c => format!("first_value({c}) OVER w AS {c}"),
    });
    let statement = HISTORY
        .replace("{present}", &present)
        .replace("{by_absence}", BY_ABSENCE)
        .replace("{history}", &each(&|c| format!("h.{c}")))
        .replace("{nulls}", &each(&|_| "NULL".to_owned()))
        .replace("{carried}", &carried)
        .replace("{lagged}", &each(&|c| format!("lag({c}) OVER w")))
        .replace("{columns}", &STATE.join(", "))
        .replace("{batch}", &batch.id.to_string());
    transaction
        .batch_execute(&statement)
        .await
        .map_err(failed("cannot work out the history of the names"))?;
    let mut remarks = check(transaction, &fill(FEW_ARE_DELISTED, batch)).await?;
    remarks.extend(check(transaction, &fill(DELISTED, batch)).await?);
    Ok(remarks)
}

/// Brings history and present into production.
pub(super) async fn write(transaction: &Transaction<'_>, batch: &Batch) -> Result<Written> {
    let history = Merge {
        table: "stock_history",
        key: &["stock_code", "valid_from"],
        columns: std::iter::once("valid_to").chain(STATE).collect(),
        from: "incoming_history",
        target: "m.stock_code IN (SELECT stock_code FROM touched)",
        incoming: "true",
        delete: true,
    };
    let mut written = history.run(transaction, batch.id).await?;
    let present = Merge {
        table: "stocks",
        key: &["stock_code"],
        columns: std::iter::once("valid_from").chain(STATE).collect(),
        from: "incoming_stocks",
        target: "m.stock_code IN (SELECT stock_code FROM touched)",
        incoming: "true",
        delete: true,
    };
    written += present.run(transaction, batch.id).await?;
    Ok(written)
}
