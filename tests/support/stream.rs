//! Streams taken apart and sealed again, as a bug or an attacker would.

/// A stream as text: what stands before its end, and that end.
pub struct Stream<'a> {
    pub body: &'a str,
    pub end: &'a str,
}

impl<'a> Stream<'a> {
    #[track_caller]
    pub fn of(text: &'a str) -> Self {
        let at = text.rfind("#end ").expect("a stream with an end");
        Self { body: &text[..at], end: &text[at..] }
    }
}

/// The rows of a stream.
pub fn rows(stream: &str) -> Vec<String> {
    stream.lines().skip(2).filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect()
}

/// Gives a changed stream the counts and the checksum that its bytes have: a good stream with other content.
pub fn reseal(text: &str) -> String {
    let body = Stream::of(text).body;
    let count = |mark: &str| body.lines().filter(|line| line.starts_with(mark)).count();
    let rows = body.lines().filter(|line| !line.starts_with('#')).count() - 1;
    format!(
        "{body}#end rows={rows} rejected={} flagged={} missing={} crc32={:08x}\n",
        count("#reject "),
        count("#flag "),
        count("#missing "),
        crc32fast::hash(body.as_bytes())
    )
}

/// An extracted stream made by hand: a dataset's header, rows, and marks between them.
pub struct Made {
    pub dataset: &'static str,
    pub header: &'static str,
    pub range: (&'static str, &'static str),
    /// What the preamble says otherwise, e.g. ("source", "kis").
    pub says: Vec<(&'static str, &'static str)>,
}

impl Made {
    /// The stream, with the counts and the checksum of its lines.
    pub fn stream(&self, lines: &[&str]) -> String {
        let (from, to) = self.range;
        let mut preamble =
            format!("#kdata/1 dataset={} stage=extracted run=made from={from} to={to}", self.dataset);
        for (key, value) in [
            ("source", "csv"),
            ("scope", "KOSPI,KOSDAQ,KONEX/stock"),
            ("names", "whole"),
            ("finality", "final"),
            ("provides", "all"),
            ("order", "key"),
            ("value_unit", "1"),
            ("calendar", "made"),
        ] {
            let value = self.says.iter().find(|(k, _)| *k == key).map_or(value, |(_, other)| *other);
            preamble.push_str(&format!(" {key}={value}"));
        }
        reseal(&format!("{preamble}\n{}\n{}\n#end \n", self.header, lines.join("\n")))
    }
}
