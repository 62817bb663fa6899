//! The SQL of a report. A file begins with the report's title; then come its sections:
//!
//! ```sql
//! -- Rejected rows
//! -- ## what is done beforehand, and shows nothing
//! CREATE TEMP TABLE …;
//! -- # rules: rejected rows by rule
//! -- chart: bars rule rejected
//! -- hidden: first_id
//! -- note: `kdata explain RULE` says what a rule means
//! SELECT …;
//! ```

use super::model::Chart;

/// The title of a script: its first line.
pub(super) fn title(script: &'static str) -> &'static str {
    script.lines().next().and_then(|line| line.strip_prefix("-- ")).unwrap_or_default()
}

/// A query of a script.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The name of its table; empty for what is done beforehand.
    pub(super) name: String,
    pub(super) about: String,
    pub(super) chart: Option<Chart>,
    pub(super) hidden: Vec<String>,
    pub(super) note: Option<String>,
    pub(super) sql: String,
}

/// The sections of a script, in their order.
pub(super) fn sections(script: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in script.lines() {
        if line.starts_with("-- ## ") {
            sections.push(Section::default());
        } else if let Some(heading) = line.strip_prefix("-- # ") {
            let (name, about) = heading.split_once(": ").unwrap_or((heading, ""));
            sections.push(Section { name: name.to_owned(), about: about.to_owned(), ..Section::default() });
        } else if let Some(section) = sections.last_mut() {
            if let Some(words) = line.strip_prefix("-- chart: ") {
                section.chart = chart(words);
            } else if let Some(names) = line.strip_prefix("-- hidden: ") {
                section.hidden = names.split(", ").map(ToOwned::to_owned).collect();
            } else if let Some(note) = line.strip_prefix("-- note: ") {
                section.note = Some(note.to_owned());
            } else {
                section.sql.push_str(line);
                section.sql.push('\n');
            }
        }
    }
    sections
}

fn chart(words: &str) -> Option<Chart> {
    match words.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["heatmap"] => Some(Chart::Heatmap),
        ["bars", label, value] => {
            Some(Chart::Bars { label: (*label).to_owned(), value: (*value).to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_a_script() {
        let script = "-- Title\n-- ## before\nCREATE;\n-- # a: what a is\n-- chart: bars x y\n-- hidden: z, w\n-- why\nSELECT 1;\n";
        let sections = sections(script);
        assert_eq!((title(script), sections.len()), ("Title", 2));
        assert_eq!((sections[0].name.as_str(), sections[0].sql.as_str()), ("", "CREATE;\n"));
        assert_eq!((sections[1].name.as_str(), sections[1].about.as_str()), ("a", "what a is"));
        assert_eq!(sections[1].chart, Some(Chart::Bars { label: "x".into(), value: "y".into() }));
        assert_eq!(sections[1].hidden, ["z", "w"]);
        assert_eq!(sections[1].sql, "-- why\nSELECT 1;\n");
    }
}
