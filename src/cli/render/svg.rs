//! Charts as SVG, with HTML around them for what must stay legible at any width: the drawing stretches, labels do not.

use std::fmt::Write as _;

use super::html::escaped;
use super::{heatmap, say, shown};
use crate::stage::report::model::{Document, Kind, Table, Value};

/// Rows times sessions: a strip a row, a year below the other.
pub(super) fn heatmap(document: &Document, table: &Table) -> String {
    let lines = heatmap::lines(table);
    let mut out = String::from("<figure class=\"heatmap\" role=\"group\">\n");
    let short = document.sessions.len() <= 130;
    for block in heatmap::blocks(document, short) {
        let sessions: usize = block.months.iter().map(|month| month.sessions.len().max(1)).sum();
        let columns: Vec<String> =
            block.months.iter().map(|month| format!("{}fr", month.sessions.len().max(1))).collect();
        let months = block.months.iter().map(|month| format!("<span>{}</span>", month.name()));
        let _ = writeln!(
            out,
            "<div class=\"strip head\"><b>{}</b><div class=\"months\" style=\"grid-template-columns:{}\">{}</div></div>",
            block.title,
            columns.join(" "),
            months.collect::<String>()
        );
        for line in &lines {
            let _ = writeln!(
                out,
                "<div class=\"strip\"><span class=\"label\">{}</span>{}</div>",
                escaped(&line.label),
                strip(&block, line, sessions)
            );
        }
    }
    let entries = heatmap::occurring(&lines).into_iter().rev().map(|state| {
        let class = class(state.name);
        let swatch = format!(
            "<svg viewBox=\"0 0 10 10\" class=\"swatch\" aria-hidden=\"true\">{}</svg>",
            bar(0, 10, &class, 10)
        );
        format!("<li>{swatch}{}</li>", escaped(say(state.about)))
    });
    let _ = writeln!(
        out,
        "<figcaption><ul class=\"legend\">{}</ul></figcaption>\n</figure>",
        entries.collect::<String>()
    );
    out
}

/// Height of a strip's drawing.
const HIGH: usize = 10;

fn class(state: &str) -> String {
    format!("s-{}", state.replace(' ', "-"))
}

/// Heights tell states apart as well as colours, for those who print in black or see no red.
fn bar(x: usize, width: usize, class: &str, high: usize) -> String {
    let height = match class {
        "s-final" | "s-absent" => high,
        "s-provisional" | "s-held" => high * 8 / 10,
        "s-partial" => high * 5 / 10,
        "s-stands" => high * 3 / 10,
        _ => high / 10,
    };
    format!(
        "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{height}\"/>",
        high - height
    )
}

fn strip(block: &heatmap::Block, line: &heatmap::Line, sessions: usize) -> String {
    let mut out = format!(
        "<svg viewBox=\"0 0 {sessions} {HIGH}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
        escaped(&line.label)
    );
    // Sessions in a row in the same state are one rectangle.
    let mut days: Vec<(usize, chrono::NaiveDate, Option<usize>)> = Vec::new();
    let (mut x, mut seams) = (0, String::new());
    for month in &block.months {
        if x > 0 {
            let _ = write!(seams, "<line class=\"seam\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{HIGH}\"/>");
        }
        days.extend(month.sessions.iter().enumerate().map(|(at, day)| (x + at, *day, line.at(*day))));
        x += month.sessions.len().max(1);
    }
    for run in days.chunk_by(|a, b| a.2 == b.2) {
        let (Some((begin, first, Some(state))), Some((end, last, _))) = (run.first(), run.last()) else {
            continue;
        };
        let state = &heatmap::STATES[*state];
        let rect = bar(*begin, end - begin + 1, &class(state.name), HIGH);
        let days = if first == last { first.to_string() } else { format!("{first} to {last}") };
        let title = format!("<title>{days}: {}, {} sessions</title></rect>", state.name, run.len());
        out.push_str(&rect.replace("/>", &format!(">{title}")));
    }
    out.push_str(&seams);
    out.push_str("</svg>");
    out
}

/// A bar a row, as long as its value.
pub(super) fn bars(table: &Table, label: &str, value: &str) -> String {
    let (Some(label), Some(value)) = (table.at(label), table.at(value)) else { return String::new() };
    let number = |row: &[Value]| match &row[value] {
        Value::Integer(n) => *n,
        #[expect(clippy::cast_possible_truncation, reason = "the length of a bar")]
        Value::Number(n) => *n as i64,
        _ => 0,
    };
    let most = table.rows.iter().map(|row| number(row)).max().unwrap_or(0).max(1);
    let rows = table.rows.iter().map(|row| {
        let length = number(row) * 1000 / most;
        format!(
            "<div class=\"bar\"><span class=\"label\">{}</span><svg viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" \
             aria-hidden=\"true\"><rect class=\"fill\" width=\"{}\" height=\"10\"/></svg><span class=\"n\">{}</span></div>\n",
            escaped(&row[label].plain()),
            length.max(4),
            escaped(&shown(&row[value], table.columns[value].kind))
        )
    });
    format!("<figure class=\"bars\">\n{}</figure>\n", rows.collect::<String>())
}

/// A line a row: numbers of sessions in a row, each with a scale of its own that begins at zero unless the numbers are
/// close to each other.
pub(super) fn trends(table: &Table) -> String {
    let Some(trend) = table.columns.iter().position(|column| column.kind == Kind::Trend) else {
        return String::new();
    };
    let rows = table.rows.iter().filter_map(|row| {
        let Value::Trend(numbers) = &row[trend] else { return None };
        let last = numbers.iter().rev().find_map(|n| *n).unwrap_or(0);
        Some(format!(
            "<div class=\"trend\"><span class=\"label\">{}</span>{}<span class=\"n\">{}</span></div>\n",
            escaped(&row[0].plain()),
            line(numbers),
            shown(&Value::Integer(last), Kind::Count)
        ))
    });
    format!("<figure class=\"trends\">\n{}</figure>\n", rows.collect::<String>())
}

fn line(numbers: &[Option<i64>]) -> String {
    let known = || numbers.iter().copied().flatten();
    let highest = known().max().unwrap_or(0).max(1);
    let ground = known().min().unwrap_or(0).min(highest / 2);
    let points: Vec<(usize, Option<i64>)> = numbers
        .iter()
        .map(|n| n.map(|n| 38 - (n - ground) * 36 / (highest - ground).max(1)))
        .enumerate()
        .collect();
    let mut paths = String::new();
    for run in points.chunk_by(|a, b| a.1.is_some() == b.1.is_some()).filter(|run| run[0].1.is_some()) {
        let mut path = String::new();
        for (at, (x, y)) in run.iter().enumerate() {
            let _ = write!(path, "{}{x} {} ", if at == 0 { "M" } else { "L" }, y.unwrap_or_default());
        }
        // A session alone is a dash.
        if let [(x, Some(y))] = run {
            let _ = write!(path, "L{x}.5 {y}");
        }
        let _ = write!(paths, "<path d=\"{}\"/>", path.trim_end());
    }
    // Before the first one nothing is lacking; whether a gap is a fault, coverage tells.
    let begun = points.iter().skip_while(|(_, y)| y.is_none());
    let gaps = begun.filter(|(_, y)| y.is_none()).fold(String::new(), |mut out, (x, _)| {
        let _ = write!(out, "<rect class=\"gap\" x=\"{x}\" y=\"36\" width=\"1\" height=\"4\"/>");
        out
    });
    format!(
        "<svg viewBox=\"0 0 {} 40\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"rows per session\">{gaps}{paths}</svg>",
        numbers.len().max(2) - 1
    )
}
