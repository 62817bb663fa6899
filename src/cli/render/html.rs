//! One file for a browser, without any network: on a phone, at a desk, on paper, light and dark.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::super::language::is_korean;
use super::{heading, say, sentence, shown, svg, title, visible};
use crate::market::kst;
use crate::stage::report::model::{Chart, Document, Kind, Table, Value};

/// A third of a phone's width has room for so many characters.
const NARROW: usize = 14;
/// A heading longer than this is wrapped.
const LONG: usize = 36;
const STYLE: &str = include_str!("report.css");

/// Writes it.
pub(super) fn write(document: &Document) -> String {
    let heading = escaped(&heading(document));
    let made = document.made_at.with_timezone(&kst()).format("%Y-%m-%d %H:%M KST");
    let (what, rest) = heading.split_once(" (").unwrap_or((&heading, ""));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{heading}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<header>\n<h1>{what}</h1>\n<p>{} · <span class=\"nb\">{made}</span></p>\n</header>\n",
        if is_korean() { "ko" } else { "en" },
        rest.trim_end_matches(')'),
    );
    for note in &document.notes {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escaped(say(note)));
    }
    for table in &document.tables {
        let _ = write!(
            out,
            "<section id=\"{}\">\n<h2>{}</h2>\n",
            escaped(&table.name),
            escaped(&sentence(&table.about))
        );
        out.push_str(&section(document, table));
        out.push_str("</section>\n");
    }
    out.push_str("</main>\n</body>\n</html>");
    out
}

fn section(document: &Document, table: &Table) -> String {
    if table.rows.is_empty() {
        return format!("<p class=\"nothing\">{}</p>\n", say("nothing"));
    }
    let note = table.note.as_ref().map(|note| format!("<p class=\"note\">{}</p>\n", code(say(note))));
    let note = note.unwrap_or_default();
    let folded = |chart: String| {
        let n = table.rows.len();
        format!("{chart}<details><summary>{n} {}</summary>\n{}</details>\n", say("rows"), rows(table))
    };
    let body = match &table.chart {
        Some(Chart::Heatmap) => folded(svg::heatmap(document, table)),
        Some(Chart::Bars { label, value }) => format!("{}{}", svg::bars(table, label, value), rows(table)),
        None if table.columns.iter().any(|column| column.kind == Kind::Trend) => folded(svg::trends(table)),
        None => rows(table),
    };
    body + &note
}

fn rows(table: &Table) -> String {
    let columns = visible(table);
    let class = |kind: Kind| if kind.is_number() { " class=\"n\"" } else { "" };
    // The first one is a row's heading.
    let class_of = |at: usize, value: &Value, kind: Kind| match value {
        Value::Text(text) if text.width() > if at == 0 { LONG } else { NARROW } => " class=\"wide\"",
        Value::Details(_) => " class=\"wide\"",
        _ => class(kind),
    };
    let head = columns.iter().map(|(_, column)| {
        format!("<th scope=\"col\"{}>{}</th>", class(column.kind), escaped(&title(column)))
    });
    let mut out = format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        head.collect::<String>()
    );
    for row in &table.rows {
        out.push_str("<tr>");
        for (at, column) in &columns {
            let _ = write!(
                out,
                "<td{} data-label=\"{}\">{}</td>",
                class_of(*at, &row[*at], column.kind),
                escaped(&title(column)),
                cell(&row[*at], &column.name, column.kind)
            );
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn cell(value: &Value, name: &str, kind: Kind) -> String {
    match value {
        Value::Details(details) => {
            let item = |pairs: &Vec<(String, String)>| {
                let values = pairs.iter().map(|(_, value)| escaped(value));
                format!("<li>{}</li>", values.collect::<Vec<_>>().join(" "))
            };
            format!("<ul>{}</ul>", details.iter().map(item).collect::<String>())
        }
        Value::Text(word) if name == "state" => {
            format!("<span class=\"state {}\">{}</span>", escaped(&word.replace(' ', "-")), escaped(word))
        }
        value => escaped(&shown(value, kind)),
    }
}

/// What stands between backticks is code.
fn code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let part = |(at, part): (usize, &str)| {
        if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) }
    };
    parts.map(part).collect()
}

/// Text that no browser takes for markup, inside of elements and of quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Neither HTML nor a reader knows what they mean.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_markup() {
        assert_eq!(escaped("<b a='1'>\"A&B\"\u{7}"), "&lt;b a=&#39;1&#39;&gt;&quot;A&amp;B&quot;\u{fffd}");
        assert_eq!(code("run `a <b>` now"), "run <code>a &lt;b&gt;</code> now");
    }
}
