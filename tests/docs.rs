//! The documents name the same things in both languages, and what they name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::Work;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of code blocks without their remarks.
fn blocks(text: &str) -> Vec<String> {
    let fenced = text.split("```").skip(1).step_by(2);
    // Behind the fence stands the language.
    let lines = fenced.flat_map(|block| block.lines().skip(1));
    let plain = lines.map(|line| line.split(" # ").next().unwrap().trim().to_owned());
    plain.filter(|line| !line.is_empty()).collect()
}

/// What stands between backticks.
fn spans(text: &str) -> BTreeSet<String> {
    let outside: String = text.split("```").step_by(2).collect();
    let spans = outside.split('`').skip(1).step_by(2);
    spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The first cells of tables: settings, tables, sources, exit codes.
fn first_cells(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    let cells = rows.map(|row| row.trim_start_matches("| ").split(" |").next().unwrap().to_owned());
    let telling =
        cells.filter(|cell| cell.starts_with('`') || cell.starts_with(|c: char| c.is_ascii_digit()));
    // Behind what is named may stand words of the language.
    let names = |cell: String| {
        if cell.starts_with('`') { spans(&cell).into_iter().collect::<Vec<_>>().join(" ") } else { cell }
    };
    telling.map(names).collect()
}

#[test]
fn both_languages_name_the_same() {
    for (english, korean) in
        [("README.md", "README.ko.md"), ("examples/runbook.md", "examples/runbook.ko.md")]
    {
        let (here, there) = (document(english), document(korean));
        assert_eq!(blocks(&here), blocks(&there), "{english} and {korean}: code blocks");
        let headings = |text: &str| text.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(headings(&here), headings(&there), "{english} and {korean}: chapters");
        if english == "README.md" {
            assert_eq!(first_cells(&here), first_cells(&there), "{english} and {korean}: rows of tables");
        }
        // Each names the documents of its own language.
        let own = |text: &str| spans(&text.replace(".ko.md`", ".md`"));
        let (here, there) = (own(&here), own(&there));
        let lacking: Vec<_> = here.difference(&there).collect();
        assert!(
            lacking.is_empty(),
            "{korean} does not name {lacking:?}: put what {english} says into Korean"
        );
        let lacking: Vec<_> = there.difference(&here).collect();
        assert!(lacking.is_empty(), "{english} does not name {lacking:?}");
    }
}

#[test]
fn what_the_documents_type_is_understood() {
    let work = Work::new();
    let mut seen = 0;
    for name in ["README.md", "examples/runbook.md"] {
        let text = document(name);
        let lines = blocks(&text).into_iter().chain(spans(&text));
        for call in lines
            .flat_map(|line| line.split(['|', '&', ';', '(', ')']).map(ToOwned::to_owned).collect::<Vec<_>>())
        {
            let call = call.trim();
            // `kdata report quality`, `kdata -q validate`; not `kdata_reader`, nor a name within a word.
            let Some(words) = call
                .split_once("kdata ")
                .filter(|(before, _)| !before.ends_with(['/', '.']))
                .map(|(_, words)| words)
            else {
                continue;
            };
            let words = words.split(['>', '<', '"', '…']).next().unwrap().trim();
            let places = [
                ("DATASET", "ohlcv"),
                ("BATCH", "1"),
                (" N", " 1"),
                (" ID", " 1"),
                ("bash|zsh|fish", "bash"),
            ];
            let words =
                places.iter().fold(words.to_owned(), |words, (place, value)| words.replace(place, value));
            // Only whether it parses: --help wins over all that is required, but not over what is unknown.
            work.kdata(&format!("{words} --help")).ok();
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn the_runbook_has_a_chapter_for_every_exit_code() {
    let help = Work::new().kdata("--help").ok();
    let codes = help.lines().skip_while(|line| *line != "Exit codes:").skip(1);
    let codes: Vec<&str> = codes
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.chars().all(|c| c.is_ascii_digit()))
        .collect();
    assert!(codes.len() >= 12, "{codes:?}");
    for name in ["examples/runbook.md", "examples/runbook.ko.md"] {
        let text = document(name);
        let chapters: Vec<&str> = text.lines().filter(|line| line.starts_with("### ")).collect();
        for code in &codes {
            let is_of = |chapter: &&&str| {
                chapter.trim_start_matches("### ").split(':').next().unwrap().split(", ").any(|c| c == *code)
            };
            assert!(chapters.iter().any(|chapter| is_of(&chapter)), "{name} has no chapter of {code}");
        }
    }
}
