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
