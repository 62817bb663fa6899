//! For programs: a table is a list of objects.

use serde_json::{Map, Value as Json, json};

use crate::stage::report::SCHEMA_VERSION;
use crate::stage::report::model::Document;

/// Writes it.
pub(super) fn write(document: &Document) -> String {
    let mut json = Map::new();
    json.insert("schema_version".into(), SCHEMA_VERSION.into());
    json.insert("report".into(), document.report.into());
    if let Some((from, to)) = document.days {
        if from == to {
            json.insert("session".into(), to.to_string().into());
        }
        json.insert("from".into(), from.to_string().into());
        json.insert("to".into(), to.to_string().into());
    }
    json.insert("database".into(), document.database.as_str().into());
    json.insert("storage".into(), document.storage.as_str().into());
    json.insert("made_at".into(), json!(document.made_at));
    for table in &document.tables {
        let row = |row: &Vec<_>| {
            let fields = table.columns.iter().zip(row);
            Json::Object(fields.map(|(column, value)| (column.name.clone(), value_of(value))).collect())
        };
        json.insert(table.name.clone(), table.rows.iter().map(row).collect());
    }
    json.insert("notes".into(), json!(document.notes));
    serde_json::to_string_pretty(&Json::Object(json)).expect("reports are plain data")
}

fn value_of(value: &crate::stage::report::model::Value) -> Json {
    value.json()
}
