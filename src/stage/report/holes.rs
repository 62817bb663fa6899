//! What stands in braces in a report's SQL. Dates of series are written out, so that the server sees while planning which
//! partitions it needs; identifiers come from the static list of datasets.

use super::asked::Asked;
use crate::dataset::{Column, Dataset, Kind, TIME};

/// Fills the holes of a query.
pub(super) fn fill(asked: &Asked<'_>, sql: &str) -> String {
    let mut sql = sql
        .replace("{from}", &asked.from.to_string())
        .replace("{to}", &asked.to.to_string())
        .replace("{present}", &present(asked));
    if let [dataset] = asked.datasets.as_slice() {
        for (hole, text) in of_dataset(asked, dataset).into_iter().chain(of_batch(asked, dataset)) {
            sql = sql.replace(hole, &text);
        }
    }
    sql
}

fn of_dataset(asked: &Asked<'_>, dataset: &Dataset) -> [(&'static str, String); 5] {
    [
        ("{dataset}", dataset.name.to_owned()),
        ("{table}", dataset.table.to_owned()),
        ("{code}", dataset.code.to_owned()),
        ("{session}", dataset.session_of(TIME)),
        ("{within}", dataset.within(TIME, (asked.from, asked.to))),
    ]
}

/// The rows of production that stand where a row of `revised` was changed.
fn present(asked: &Asked<'_>) -> String {
    let series = asked.datasets.iter().filter(|dataset| dataset.kind != Kind::Master);
    let queries = series.map(|dataset| {
        let key = dataset.key.iter().map(|name| {
            let column = &dataset.columns[dataset.index(name)];
            format!("m.{name} = (r.key ->> '{name}')::{}", column.sql)
        });
        format!(
            "SELECT r.revision_id, to_jsonb(m) AS now FROM revised r JOIN market.{} m ON {} \
             WHERE r.table_name = '{}' AND {}",
            dataset.table,
            key.collect::<Vec<_>>().join(" AND "),
            dataset.table,
            dataset.within("m.time", (asked.from, asked.to))
        )
    });
    let nothing = "SELECT NULL::bigint AS revision_id, NULL::jsonb AS now WHERE false".to_owned();
    std::iter::once(nothing).chain(queries).collect::<Vec<_>>().join(" UNION ALL ")
}

/// A staged batch `s` beside production `m`.
fn of_batch(asked: &Asked<'_>, dataset: &Dataset) -> Vec<(&'static str, String)> {
    let Some(batch) = asked.batch else { return Vec::new() };
    // A master stands until the next one.
    let (production, join, within) = if dataset.kind == Kind::Master {
        let stands = "m.stock_code = s.stock_code AND m.valid_from <= s.time AND (m.valid_to IS NULL OR m.valid_to > s.time)";
        ("market.stock_history".to_owned(), stands.to_owned(), "true".to_owned())
    } else {
        let same = dataset.key.iter().map(|name| format!("m.{name} = s.{name}"));
        let within = dataset.within("m.time", (asked.from, asked.to));
        (format!("market.{}", dataset.table), same.collect::<Vec<_>>().join(" AND "), within)
    };
    let provided = |column: &&Column| {
        !dataset.key.contains(&column.name) && asked.provides.iter().any(|p| p == column.name || p == "all")
    };
    let columns: Vec<&str> = dataset.columns.iter().filter(provided).map(|column| column.name).collect();
    let list = |table: &str| {
        let columns = columns.iter().map(|name| format!("{table}.{name}"));
        std::iter::once("true".to_owned()).chain(columns).collect::<Vec<_>>().join(", ")
    };
    let key = dataset.key.iter().map(|name| format!("'{name}', s.{name}")).collect::<Vec<_>>();
    vec![
        ("{batch}", batch.to_string()),
        ("{production}", production),
        ("{join}", join),
        ("{m_within}", within),
        ("{s_columns}", list("s")),
        ("{m_columns}", list("m")),
        ("{staged_key}", format!("jsonb_build_object({})", key.join(", "))),
    ]
}
