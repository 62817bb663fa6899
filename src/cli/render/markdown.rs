//! For notes and issues.

use super::{Look, heading, heatmap, say};
use crate::stage::report::model::{Chart, Document, Table};

/// Writes it.
pub(super) fn write(document: &Document) -> String {
    let mut out = format!("# {}\n", heading(document));
    for note in &document.notes {
        out.push_str(&format!("\n{}\n", escaped(say(note))));
    }
    for table in &document.tables {
        out.push_str(&format!("\n## {}: {}\n\n", table.name, escaped(say(&table.about))));
        if table.chart == Some(Chart::Heatmap) {
            let plain = Look { width: Some(80), ascii: false, colour: false };
            out.push_str(&format!("```text\n{}\n```\n\n", heatmap::text(document, table, plain)));
        }
        out.push_str(&rows(table));
    }
    out.trim_end().to_owned()
}

fn rows(table: &Table) -> String {
    if table.rows.is_empty() {
        return format!("{}\n", say("nothing"));
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = line(table.columns.iter().map(|column| escaped(&column.name)).collect());
    let rules = table.columns.iter().map(|column| if column.kind.is_number() { "--:" } else { "---" });
    out.push_str(&line(rules.map(ToOwned::to_owned).collect()));
    for row in &table.rows {
        out.push_str(&line(row.iter().map(|value| escaped(&value.plain())).collect()));
    }
    out
}

/// What would end a cell, or be taken for markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '`' | '<' | '[' | ']' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_together() {
        assert_eq!(escaped("a|b\n*c* <d> e_f"), "a\\|b \\*c\\* \\<d> e_f");
    }
}
