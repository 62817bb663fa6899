//! For people at a terminal.

use unicode_width::UnicodeWidthStr;

use super::{Look, heading, heatmap, printer, say, sentence, shown, spark, title, visible};
use crate::stage::report::model::{Chart, Document, Kind, Table, Value};

/// So many sessions does a line of blocks show.
const TREND: usize = 40;

/// Writes it.
pub(super) fn write(document: &Document, look: Look) -> String {
    let width = usize::from(look.width.unwrap_or(u16::MAX));
    let mut out = heading(document);
    out.push('\n');
    for note in &document.notes {
        out.push_str(&format!("{}\n", wrapped(say(note), width).join("\n")));
    }
    for table in &document.tables {
        out.push('\n');
        if document.tables.len() > 1 || table.rows.is_empty() {
            let nothing = if table.rows.is_empty() { format!(": {}", say("nothing")) } else { String::new() };
            let about = format!("{}{nothing}", sentence(&table.about));
            out.push_str(&format!("{}\n", wrapped(&about, width).join("\n")));
        }
        if table.rows.is_empty() {
            continue;
        }
        out.push_str(&if table.chart == Some(Chart::Heatmap) {
            heatmap::text(document, table, look)
        } else if table.columns.iter().any(|column| column.kind == Kind::Details) {
            details(table, look)
        } else {
            rows(table, look)
        });
        out.push('\n');
        if let Some(note) = &table.note {
            out.push_str(&format!("\n{}\n", wrapped(say(note), width).join("\n")));
        }
    }
    out.trim_end().to_owned()
}

/// As a table where its cells need not be broken; else a line a row and what is left below it.
fn rows(table: &Table, look: Look) -> String {
    let columns = visible(table);
    let cell = |row: &[Value], at: usize| match &row[at] {
        Value::Trend(numbers) => spark::line(numbers, TREND, look.ascii),
        value => shown(value, table.columns[at].kind),
    };
    let rows: Vec<Vec<String>> =
        table.rows.iter().map(|row| columns.iter().map(|(at, _)| cell(row, *at)).collect()).collect();
    let right: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].1.kind.is_number()).collect();
    let header: Vec<String> = columns.iter().map(|(_, column)| title(column)).collect();
    let broken: Vec<String> = header.iter().map(|name| name.replace(' ', "\n")).collect();
    for header in [&header, &broken] {
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let needed: usize = widths(&header, &rows).iter().map(|width| width + 2).sum();
        if look.width.is_none_or(|width| needed <= usize::from(width)) {
            return printer::table(&header, &rows, &right, look.width);
        }
        if columns.last().is_some_and(|(_, column)| column.kind == Kind::Text)
            && let Some(text) = printer::table_with_text(&header, &rows, &right, look.width)
        {
            return text;
        }
    }
    narrow(&header, &rows, &right, usize::from(look.width.unwrap_or(80)))
}

/// The widest line of each column.
fn widths(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |text: &str| text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
    let column = |at: usize| rows.iter().map(|row| widest(&row[at])).max().unwrap_or(0);
    header.iter().enumerate().map(|(at, name)| widest(name).max(column(at))).collect()
}

/// The first columns line up, as many as fit; the others follow by name on lines of their own.
fn narrow(header: &[String], rows: &[Vec<String>], right: &[usize], width: usize) -> String {
    let names: Vec<&str> = header.iter().map(String::as_str).collect();
    let widths = widths(&names, rows);
    let mut used = 0;
    let first = widths.iter().take_while(|column| {
        used += *column + 2;
        used <= width
    });
    let first = first.count().max(1);
    let line = |cells: &[String]| {
        let padded = cells.iter().take(first).enumerate().map(|(at, cell)| {
            let blanks = " ".repeat(widths[at].saturating_sub(cell.width()));
            if right.contains(&at) { format!(" {blanks}{cell}") } else { format!(" {cell}{blanks}") }
        });
        padded.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    let mut out = vec![line(header)];
    for row in rows {
        out.push(line(row));
        let rest = header.iter().zip(row).skip(first).filter(|(_, cell)| *cell != "-");
        let words: Vec<String> = rest.map(|(name, cell)| format!("{name} {cell}")).collect();
        out.extend(
            wrapped(&words.join(", "), width.saturating_sub(4)).iter().map(|line| format!("    {line}")),
        );
    }
    out.join("\n")
}

/// A text in lines that are broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A line a row, its samples below.
fn details(table: &Table, look: Look) -> String {
    let columns = visible(table);
    let parts = table.rows.iter().map(|row| {
        let (mut words, mut samples) = (Vec::new(), Vec::new());
        for (at, column) in &columns {
            match &row[*at] {
                Value::Details(details) => samples.extend(details.iter().map(|pairs| {
                    let values = pairs.iter().map(|(_, value)| value.clone());
                    std::iter::once(String::new()).chain(values).collect()
                })),
                value => words.push(shown(value, column.kind)),
            }
        }
        format!("{}\n{}", words.join("  "), printer::body(&samples, look.width))
    });
    parts.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_follows_below() {
        let header = ["stock", "rows", "what happened"].map(ToOwned::to_owned);
        let rows =
            vec![["삼성바이오로직스", "12", "a long story of a word or two"].map(ToOwned::to_owned).to_vec()];
        let text = narrow(&header, &rows, &[1], 30);
        assert_eq!(
            text,
            " stock             rows\n 삼성바이오로직스    12\n    what happened a long story\n    of a word or two"
        );
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
    }
}
