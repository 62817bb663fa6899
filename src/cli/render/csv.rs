//! For spreadsheets: each table under a comment that names it, a blank line between.

use crate::stage::report::model::Document;

/// Writes it.
pub(super) fn write(document: &Document) -> String {
    let tables = document.tables.iter().map(|table| {
        let mut out = ::csv::Writer::from_writer(Vec::new());
        let header = table.columns.iter().map(|column| column.name.as_str());
        out.write_record(header).expect("memory takes it");
        for row in &table.rows {
            out.write_record(row.iter().map(crate::stage::report::model::Value::plain))
                .expect("memory takes it");
        }
        let bytes = out.into_inner().expect("memory takes it");
        let rows = String::from_utf8(bytes).expect("made of texts");
        format!("# {}: {}\n{}", table.name, table.about, rows.trim_end_matches('\n'))
    });
    tables.collect::<Vec<_>>().join("\n\n")
}
