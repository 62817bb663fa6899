//! Floor 2: the framing of what flows through a pipe. Preamble, CSV header, rows with marks between them,
//! trailer. Knows nothing of what the rows mean.
//!
//! ```text
//! #kdata/1 dataset=ohlcv source=marcap stage=extracted run=… from=2026-01-02 to=2026-01-02 …
//! stock_code,time,open,…
//! 005930,2026-01-02,120200,…
//! #reject line=214 rule=ohlcv.high_is_highest msg="…" row="…"
//! #end rows=1 rejected=1 flagged=0 missing=0 crc32=0a1b2c3d
//! ```
//!
//! A pipe carries no exit status: a stage that died looks like an end of file. So there are three ends:
//! `#end` with counts and a checksum over all bytes before it; `#abort code=… reason=…`, which says why the
//! stage before failed; and neither, which is a broken stream. Lines end with a line feed, the last one too,
//! and no field holds one.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{Read, Write};

use chrono::NaiveDate;
use memchr::memchr;

use crate::dataset::rule::WELL_FORMED;
use crate::dataset::{self, Dataset, Finding};
use crate::error::{Error, Result};

/// The version of the framing.
pub const VERSION: u32 = 1;
const MAGIC: &str = "#kdata/";
const CHUNK: usize = 256 * 1024;
/// No line is longer.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// A longer row is none of any dataset: where a quote was lost, a field runs on to the end of its file.
const LONGEST_ROW: usize = 1024 * 1024;
/// So much of a value stands in a mark; escaped it may take five times the room.
const SHOWN: usize = 64 * 1024;

/// What a stream says of itself in its first line.
#[derive(Clone, Debug)]
pub struct Preamble {
    /// What flows.
    pub dataset: &'static Dataset,
    /// Where it comes from, a name of the source list.
    pub source: String,
    /// Which stage wrote it.
    pub stage: Stage,
    /// The run that extracted it.
    pub run: String,
    /// First session of the range.
    pub from: NaiveDate,
    /// Last session of the range.
    pub to: NaiveDate,
    /// Markets and classes (stock, etf, etn), e.g. `KOSPI,KOSDAQ,KONEX/stock`: a whole master tells who is gone of these.
    pub scope: String,
    /// Which names of the scope are claimed.
    pub names: Names,
    /// Read before or after the source's data settle.
    pub finality: Finality,
    /// The columns that the source really has; `all` for all.
    pub provides: String,
    /// Do rows ascend by session, then by the rest of the key?
    pub ordered: bool,
    /// The unit to which the source rounds traded values, KRW.
    pub value_unit: i64,
    /// The calendar's checksum.
    pub calendar: String,
    /// The version of the rules, once validated.
    pub rules: Option<String>,
}

/// The stage that wrote a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Stage {
    Extracted,
    Validated,
}

/// Which names of its scope a batch claims to hold: only a whole one tells that a name is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// All listed names.
    Whole,
    /// Names without trades may be dropped by the source.
    Traded,
    /// A list that the user gave.
    List,
}

/// Whether the source may still change its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Finality {
    Provisional,
    Final,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Extracted => "extracted",
            Self::Validated => "validated",
        }
    }
}

impl Names {
    /// The word in streams and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Traded => "traded",
            Self::List => "list",
        }
    }
}

impl Finality {
    /// The word in streams and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Final => "final",
        }
    }
}

impl Preamble {
    /// The same, claiming these classes of securities (stock, etf, etn) instead of shares.
    #[must_use]
    pub fn with_classes(mut self, classes: &str) -> Self {
        let markets = self.scope.split('/').next().unwrap_or_default();
        self.scope = format!("{markets}/{classes}");
        self
    }

    fn line(&self) -> String {
        let mut line = format!("{MAGIC}{VERSION}");
        let mut put = |key, value: &str| push_pair(&mut line, key, value);
        put("dataset", self.dataset.name);
        put("source", &self.source);
        put("stage", self.stage.as_str());
        put("run", &self.run);
        put("from", &self.from.to_string());
        put("to", &self.to.to_string());
        put("scope", &self.scope);
        put("names", self.names.as_str());
        put("finality", self.finality.as_str());
        put("provides", &self.provides);
        put("order", if self.ordered { "key" } else { "none" });
        put("value_unit", &self.value_unit.to_string());
        put("calendar", &self.calendar);
        if let Some(rules) = &self.rules {
            put("rules", rules);
        }
        line
    }

    fn parse(line: &[u8]) -> Result<Self> {
        let broken = |what: String| Error::stream(what);
        let line =
            std::str::from_utf8(line).ok().filter(|l| l.starts_with(MAGIC)).ok_or_else(not_a_stream)?;
        let (version, rest) = line[MAGIC.len()..].split_once(' ').unwrap_or((&line[MAGIC.len()..], ""));
        if version != VERSION.to_string() {
            return Err(Error::Stream {
                what: format!("it is of version {version:?}, this kdata reads version {VERSION}"),
                help: "use the same kdata on both sides of the pipe".into(),
            });
        }
        let pairs = pairs(rest).ok_or_else(|| broken("the preamble (first line) does not read".into()))?;
        let get = |key: &str| {
            pairs
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, v)| v.as_str())
                .ok_or_else(|| broken(format!("the preamble (first line) lacks {key}=")))
        };
        let odd = |key: &str| {
            broken(format!("the preamble (first line) has an unknown {key}={:?}", get(key).unwrap_or("")))
        };
        let date = |key: &str| get(key)?.parse::<NaiveDate>().map_err(|_| odd(key));
        let one_of = |key: &str, words: &[&str]| {
            let word = get(key)?;
            words.iter().position(|w| *w == word).ok_or_else(|| odd(key))
        };
        Ok(Self {
            dataset: dataset::find(get("dataset")?).ok_or_else(|| odd("dataset"))?,
            source: get("source")?.to_owned(),
            stage: [Stage::Extracted, Stage::Validated][one_of("stage", &["extracted", "validated"])?],
            run: get("run")?.to_owned(),
            from: date("from")?,
            to: date("to")?,
            scope: get("scope")?.to_owned(),
            names: [Names::Whole, Names::Traded, Names::List][one_of("names", &["whole", "traded", "list"])?],
            finality: [Finality::Provisional, Finality::Final]
                [one_of("finality", &["provisional", "final"])?],
            provides: get("provides")?.to_owned(),
            ordered: one_of("order", &["none", "key"])? == 1,
            value_unit: get("value_unit")?
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| odd("value_unit"))?,
            calendar: get("calendar")?.to_owned(),
            rules: get("rules").ok().map(ToOwned::to_owned),
        })
    }

    /// The columns that the source has, of the dataset's; the key always.
    pub fn provided(&self) -> Vec<&'static str> {
        let listed: Vec<&str> = self.provides.split(',').collect();
        let all = self.provides == "all";
        let columns = self.dataset.columns.iter().map(|c| c.name);
        columns.filter(|c| all || listed.contains(c) || self.dataset.key.contains(c)).collect()
    }
}

fn not_a_stream() -> Error {
    Error::Stream {
        what: "it does not begin with `#kdata/1`".into(),
        help: "pipe in what `kdata extract` or `kdata validate` writes, unchanged".into(),
    }
}

/// What a stream holds, by its trailer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Data rows.
    pub rows: u64,
    /// `#reject` marks.
    pub rejected: u64,
    /// `#flag` marks.
    pub flagged: u64,
    /// `#missing` marks.
    pub missing: u64,
}

impl Counts {
    fn count(&mut self, mark: &[u8]) -> Result<()> {
        match mark_kind(mark) {
            Some(MarkKind::Reject) => self.rejected += 1,
            Some(MarkKind::Flag) => self.flagged += 1,
            Some(MarkKind::Missing) => self.missing += 1,
            Some(MarkKind::Note | MarkKind::Slice) => {}
            None => return Err(Error::stream(format!("a mark is unknown: {}", shorten(mark)))),
        }
        Ok(())
    }

    fn trailer(&self, crc: u32) -> String {
        format!(
            "#end rows={} rejected={} flagged={} missing={} crc32={crc:08x}",
            self.rows, self.rejected, self.flagged, self.missing
        )
    }
}

/// The kinds of marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MarkKind {
    Reject,
    Flag,
    Note,
    Missing,
    Slice,
}

const MARKS: [(&str, MarkKind); 5] = [
    ("#reject", MarkKind::Reject),
    ("#flag", MarkKind::Flag),
    ("#note", MarkKind::Note),
    ("#missing", MarkKind::Missing),
    ("#slice", MarkKind::Slice),
];

fn mark_kind(line: &[u8]) -> Option<MarkKind> {
    let word = &line[..memchr(b' ', line).unwrap_or(line.len())];
    MARKS.iter().find(|(name, _)| name.as_bytes() == word).map(|(_, kind)| *kind)
}

/// A mark read back: its kind and its pairs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Mark {
    pub kind: MarkKind,
    pub pairs: Vec<(String, String)>,
}

impl Mark {
    /// Reads a mark line.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let unreadable = || Error::stream(format!("a mark does not read: {}", shorten(line)));
        let kind = mark_kind(line).ok_or_else(unreadable)?;
        let text = std::str::from_utf8(line).map_err(|_| unreadable())?;
        let rest = text.split_once(' ').map_or("", |(_, rest)| rest);
        Ok(Self { kind, pairs: pairs(rest).ok_or_else(unreadable)? })
    }

    /// A value by its key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

fn shorten(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).escape_debug().to_string()
}

/// Bytes as text that loses nothing: what is not UTF-8 stands as `\\xNN`.
pub fn printable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

/// What a mark shows of a value: all of it, or its beginning and how long it is.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    if bytes.len() <= SHOWN {
        return printable(bytes);
    }
    // Not within a character.
    let end = (0..=SHOWN).rev().find(|at| bytes[*at] & 0xc0 != 0x80).unwrap_or(SHOWN);
    let text = printable(&bytes[..end]);
    Cow::Owned(format!("{text} … (cut here: {} bytes in all)", bytes.len()))
}

/// `key=value` pairs; a value with blanks, quotes or line ends is quoted like a JSON string.
fn push_pair(line: &mut String, key: &str, value: &str) {
    line.push(' ');
    line.push_str(key);
    line.push('=');
    let bare = !value.is_empty() && value.bytes().all(|b| b > b' ' && b != b'"' && b != b'\\' && b != 0x7f);
    if bare {
        line.push_str(value);
        return;
    }
    line.push('"');
    // Rejects come by the million when a source is bad: what needs no escape is copied whole.
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\r' | 0)) {
        line.push_str(&rest[..at]);
        line.push_str(match rest.as_bytes()[at] {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            _ => "\\0",
        });
        rest = &rest[at + 1..];
    }
    line.push_str(rest);
    line.push('"');
}

fn pairs(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    loop {
        text = text.trim_start_matches(' ');
        if text.is_empty() {
            return Some(pairs);
        }
        let (key, rest) = text.split_once('=')?;
        if key.is_empty() || key.contains([' ', '"']) {
            return None;
        }
        let (value, rest) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
            Some(quoted) => unquote(quoted)?,
        };
        pairs.push((key.to_owned(), value));
        text = rest;
    }
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                '0' => '\0',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Writes a stream. Dropped without [`Writer::finish`] or [`Writer::abort`] it leaves a broken stream, on purpose.
pub struct Writer<W: Write> {
    out: W,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
    counts: Counts,
    mark: String,
}

impl<W: Write> Writer<W> {
    /// Begins a stream: preamble and header.
    pub fn new(out: W, preamble: &Preamble) -> Result<Self> {
        let mut buffer = Vec::with_capacity(CHUNK + 4096);
        writeln!(buffer, "{}\n{}", preamble.line(), preamble.dataset.header()).map_err(Error::output)?;
        let mut writer = Self {
            out,
            buffer,
            crc: crc32fast::Hasher::new(),
            counts: Counts::default(),
            mark: String::new(),
        };
        // The preamble goes out at once: the next stages start while the source is still being read.
        writer.flush_buffer()?;
        writer.out.flush().map_err(Error::output)?;
        Ok(writer)
    }

    /// Writes one row; the function appends its fields, without a line feed. One that is far too long for any dataset
    /// becomes a reject.
    pub fn row(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let start = self.buffer.len();
        append(&mut self.buffer);
        if self.buffer.len() - start > LONGEST_ROW {
            let row = self.buffer.split_off(start);
            return self.reject(0, WELL_FORMED.name, "no row is that long: was a quote lost?", &row);
        }
        self.buffer.push(b'\n');
        self.counts.rows += 1;
        self.flush_when_full()
    }

    /// Writes a row that does not go on, with the rule and where it stood (0: not known). It is shown whole, unless it
    /// is far longer than any row.
    pub fn reject(&mut self, line: u64, rule: &str, message: &str, row: &[u8]) -> Result<()> {
        self.counts.rejected += 1;
        self.mark.clear();
        self.mark.push_str("#reject");
        if line > 0 {
            push_pair(&mut self.mark, "line", itoa::Buffer::new().format(line));
        }
        push_pair(&mut self.mark, "rule", rule);
        push_pair(&mut self.mark, "msg", &shown(message.as_bytes()));
        push_pair(&mut self.mark, "row", &shown(row));
        self.push_mark()
    }

    /// Writes a flag or a note about a row or the batch; `key` is empty for the batch.
    pub fn remark(&mut self, finding: &Finding, key: &str, message: &str) -> Result<()> {
        let flag = finding.severity == dataset::Severity::Flag;
        self.counts.flagged += u64::from(flag);
        self.mark.clear();
        self.mark.push_str(if flag { "#flag" } else { "#note" });
        push_pair(&mut self.mark, "rule", finding.rule.name);
        push_pair(&mut self.mark, "key", &shown(key.as_bytes()));
        push_pair(&mut self.mark, "msg", &shown(message.as_bytes()));
        self.push_mark()
    }

    /// Writes a code or a session that the source could not give.
    pub fn missing(&mut self, what: &str, reason: &str) -> Result<()> {
        self.counts.missing += 1;
        self.mark.clear();
        self.mark.push_str("#missing");
        push_pair(&mut self.mark, "what", &shown(what.as_bytes()));
        push_pair(&mut self.mark, "reason", &shown(reason.as_bytes()));
        self.push_mark()
    }

    /// Writes that a list of a snapshot is truly empty: the ETF, index or scheme has no member on the session.
    pub fn empty_slice(&mut self, slice: &str, session: NaiveDate) -> Result<()> {
        self.mark.clear();
        self.mark.push_str("#slice");
        push_pair(&mut self.mark, "what", &format!("{slice},{session}"));
        push_pair(&mut self.mark, "rows", "0");
        self.push_mark()
    }

    /// Passes a mark of the stage before on, unchanged.
    pub fn pass_mark(&mut self, line: &[u8]) -> Result<()> {
        self.counts.count(line)?;
        self.buffer.extend_from_slice(line);
        self.buffer.push(b'\n');
        self.flush_when_full()
    }

    fn push_mark(&mut self) -> Result<()> {
        self.buffer.extend_from_slice(self.mark.as_bytes());
        self.buffer.push(b'\n');
        self.flush_when_full()
    }

    fn flush_when_full(&mut self) -> Result<()> {
        if self.buffer.len() >= CHUNK { self.flush_buffer() } else { Ok(()) }
    }

    fn flush_buffer(&mut self) -> Result<()> {
        self.crc.update(&self.buffer);
        self.out.write_all(&self.buffer).map_err(Error::output)?;
        self.buffer.clear();
        Ok(())
    }

    /// What was written so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Ends a good stream.
    pub fn finish(mut self) -> Result<Counts> {
        self.flush_buffer()?;
        let trailer = self.counts.trailer(self.crc.clone().finalize());
        self.out.write_all(format!("{trailer}\n").as_bytes()).map_err(Error::output)?;
        self.out.flush().map_err(Error::output)?;
        Ok(self.counts)
    }

    /// Ends a stream that failed: the next stage passes the code and the reason on.
    pub fn abort(mut self, error: &Error) -> Result<()> {
        self.flush_buffer()?;
        write_abort(&mut self.out, error)
    }
}

/// Writes an abort line; also where a stage fails before it could begin its stream.
pub fn write_abort(out: &mut impl Write, error: &Error) -> Result<()> {
    let mut line = format!("#abort code={}", error.exit_code());
    let reason = match error {
        Error::Upstream { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    push_pair(&mut line, "reason", &shown(reason.as_bytes()));
    line.push('\n');
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(Error::output)
}

/// A line of a stream.
#[derive(Debug)]
pub enum Line<'a> {
    /// A row without its line feed, and its line number counted from 1.
    Row(&'a [u8], u64),
    /// A mark, unparsed.
    Mark(&'a [u8]),
}

/// A piece of a stream, for a reader that does not look into rows.
#[derive(Debug)]
pub enum Block<'a> {
    /// Whole rows with their line feeds.
    Rows(&'a [u8]),
    /// A mark, unparsed.
    Mark(&'a [u8]),
}

/// Reads a stream and proves its end.
pub struct Reader<R: Read> {
    input: R,
    buffer: Vec<u8>,
    /// Not yet handed out: `buffer[at..filled]`.
    at: usize,
    filled: usize,
    /// Not yet in the checksum: from here.
    summed: usize,
    crc: crc32fast::Hasher,
    counts: Counts,
    line: u64,
}

/// What stands at the reader's position.
enum Next {
    /// A line in `buffer[start..end]`, without its line feed.
    Line(usize, usize),
    EndOfFile,
}

impl<R: Read> Reader<R> {
    /// Reads preamble and header.
    pub fn new(input: R) -> Result<(Self, Preamble)> {
        let mut reader = Self {
            input,
            buffer: vec![0; CHUNK],
            at: 0,
            filled: 0,
            summed: 0,
            crc: crc32fast::Hasher::new(),
            counts: Counts::default(),
            line: 0,
        };
        let Next::Line(start, end) = reader.next_line()? else {
            return Err(Error::stream(if reader.filled == 0 {
                "it is empty: the stage before did not start or died at once"
            } else {
                "it ends within its first line: the stage before died"
            }));
        };
        if let Some(abort) = parse_abort(&reader.buffer[start..end]) {
            return Err(abort);
        }
        let preamble = Preamble::parse(&reader.buffer[start..end])?;
        let Next::Line(start, end) = reader.next_line()? else {
            return Err(cut());
        };
        if let Some(abort) = parse_abort(&reader.buffer[start..end]) {
            return Err(abort);
        }
        if reader.buffer[start..end] != *preamble.dataset.header().as_bytes() {
            return Err(Error::stream(format!(
                "the header does not hold the columns of {}: {}",
                preamble.dataset.name,
                shorten(&reader.buffer[start..end])
            )));
        }
        Ok((reader, preamble))
    }

    /// The next row or mark, for a reader that looks into rows; `None` after an end that is proven good.
    pub fn next_item(&mut self) -> Result<Option<Line<'_>>> {
        let Next::Line(start, end) = self.next_line()? else {
            return Err(cut());
        };
        if self.buffer.get(start) == Some(&b'#') {
            if self.ends_at(start, end)? {
                return Ok(None);
            }
            self.counts.count(&self.buffer[start..end])?;
            return Ok(Some(Line::Mark(&self.buffer[start..end])));
        }
        self.counts.rows += 1;
        Ok(Some(Line::Row(&self.buffer[start..end], self.line)))
    }

    /// The next run of rows or the next mark; `None` after an end that is proven good.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>> {
        let Next::Line(start, end) = self.next_line()? else {
            return Err(cut());
        };
        if self.buffer.get(start) == Some(&b'#') {
            if self.ends_at(start, end)? {
                return Ok(None);
            }
            self.counts.count(&self.buffer[start..end])?;
            return Ok(Some(Block::Mark(&self.buffer[start..end])));
        }
        let mut rows = 1;
        while self.at < self.filled && self.buffer[self.at] != b'#' {
            let Some(length) = memchr(b'\n', &self.buffer[self.at..self.filled]) else {
                break;
            };
            self.at += length + 1;
            rows += 1;
        }
        self.line += rows - 1;
        self.counts.rows += rows;
        Ok(Some(Block::Rows(&self.buffer[start..self.at])))
    }

    /// What was read so far; after the end, what the trailer says.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next line, reading more when it is not whole.
    fn next_line(&mut self) -> Result<Next> {
        let mut searched = self.at;
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[searched..self.filled]) {
                let (start, end) = (self.at, searched + length);
                self.at = end + 1;
                self.line += 1;
                return Ok(Next::Line(start, end));
            }
            searched = self.filled;
            if self.filled - self.at > LONGEST_LINE {
                return Err(Error::stream(format!(
                    "line {} is longer than {LONGEST_LINE} bytes",
                    self.line + 1
                )));
            }
            let shift = self.fill()?;
            searched -= shift.0;
            if shift.1 == 0 {
                return Ok(Next::EndOfFile);
            }
        }
    }

    /// Reads more, moving what is left to the front; returns (bytes moved by, bytes read).
    fn fill(&mut self) -> Result<(usize, usize)> {
        let moved = if self.filled == self.buffer.len() {
            self.sum_up_to(self.at);
            self.buffer.copy_within(self.at..self.filled, 0);
            let moved = self.at;
            self.filled -= moved;
            self.summed -= moved;
            self.at = 0;
            if moved == 0 {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            moved
        } else {
            0
        };
        loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    return Ok((moved, read));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read the stream", error)),
            }
        }
    }

    fn sum_up_to(&mut self, end: usize) {
        self.crc.update(&self.buffer[self.summed..end]);
        self.summed = end;
    }

    /// Is the line at `start..end` the trailer? If so, proves it.
    fn ends_at(&mut self, start: usize, end: usize) -> Result<bool> {
        let line = &self.buffer[start..end];
        if let Some(abort) = parse_abort(line) {
            return Err(abort);
        }
        if !line.starts_with(b"#end") {
            return Ok(false);
        }
        let given = String::from_utf8_lossy(line).into_owned();
        self.sum_up_to(start);
        let crc = self.crc.clone().finalize();
        if given != self.counts.trailer(crc) {
            return Err(self.disproved(&given, crc));
        }
        if self.at < self.filled || self.fill()?.1 > 0 {
            return Err(Error::stream("more follows after its end"));
        }
        Ok(true)
    }

    fn disproved(&self, given: &str, crc: u32) -> Error {
        let claimed = pairs(given.strip_prefix("#end").unwrap_or_default()).unwrap_or_default();
        let claim = |key: &str| claimed.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let counted = [
            ("rows", self.counts.rows),
            ("rejected", self.counts.rejected),
            ("flagged", self.counts.flagged),
            ("missing", self.counts.missing),
        ];
        let count = counted.iter().find(|(key, n)| claim(key).is_some_and(|c| c != n.to_string()));
        Error::stream(match (claim("crc32"), count) {
            (_, Some((key, n))) => {
                format!(
                    "its end says {key}={}, but {n} came: lines were lost, added or changed",
                    claim(key).unwrap_or("")
                )
            }
            (Some(sum), None) if sum != format!("{crc:08x}") => {
                format!("its checksum is {crc:08x}, its end says {sum}: it was changed on the way")
            }
            _ => format!("its end does not read: {}", shorten(given.as_bytes())),
        })
    }
}

fn cut() -> Error {
    Error::stream("it ends without #end: the stage before died or was killed, or the stream was cut")
}

fn parse_abort(line: &[u8]) -> Option<Error> {
    let text = std::str::from_utf8(line.strip_prefix(b"#abort ")?).ok()?;
    let pairs = pairs(text)?;
    let get = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    Some(Error::Upstream { code: get("code")?.parse().ok().filter(|c| *c != 0)?, reason: get("reason")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Severity, ohlcv, rule};
    use crate::market::ymd;

    fn preamble() -> Preamble {
        Preamble {
            dataset: &ohlcv::DATASET,
            source: "sim".into(),
            stage: Stage::Validated,
            run: "r1".into(),
            from: ymd(2026, 1, 2),
            to: ymd(2026, 1, 2),
            scope: "KOSPI,KOSDAQ,KONEX/stock".into(),
            names: Names::Whole,
            finality: Finality::Final,
            provides: "all".into(),
            ordered: true,
            value_unit: 1,
            calendar: "0".into(),
            rules: Some("1".into()),
        }
    }

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, &preamble()).unwrap();
        writer.row(|b| b.extend_from_slice(b"005930,2026-01-02,1,1,1,1,1,1,1,KOSPI,STOCK")).unwrap();
        writer.reject(7, "a.b", "bad \"x\" \\ y", b"q,\"w\"\n\xff").unwrap();
        let finding = Finding { rule: &rule::WELL_FORMED, severity: Severity::Flag };
        writer.remark(&finding, "005930,2026-01-02", "look here").unwrap();
        writer.missing("000660", "timeout").unwrap();
        writer.row(|b| b.extend_from_slice(b"005935,2026-01-02,1,1,1,1,1,1,1,KOSPI,STOCK")).unwrap();
        writer.finish().unwrap();
        out
    }

    fn read_all(bytes: &[u8]) -> Result<Counts> {
        let (mut reader, _) = Reader::new(bytes)?;
        while reader.next_item()?.is_some() {}
        let lines = reader.counts();
        let (mut reader, _) = Reader::new(bytes)?;
        while reader.next_block()?.is_some() {}
        assert_eq!(reader.counts(), lines, "lines and blocks count alike");
        Ok(lines)
    }

    #[test]
    fn round_trip() {
        let bytes = sample();
        assert_eq!(read_all(&bytes).unwrap(), Counts { rows: 2, rejected: 1, flagged: 1, missing: 1 });
        let (mut reader, preamble) = Reader::new(&bytes[..]).unwrap();
        assert_eq!(preamble.line(), self::preamble().line());
        reader.next_item().unwrap();
        let Some(Line::Mark(line)) = reader.next_item().unwrap() else { panic!("a mark") };
        let mark = Mark::parse(line).unwrap();
        assert_eq!(mark.get("msg"), Some("bad \"x\" \\ y"));
        assert_eq!(mark.get("row"), Some("q,\"w\"\n\\xff"));
    }

    #[test]
    fn cut_at_any_byte_is_broken() {
        let bytes = sample();
        for end in 0..bytes.len() {
            let error = read_all(&bytes[..end]).unwrap_err();
            assert_eq!(error.exit_code(), 5, "cut at {end}: {error}");
        }
    }

    #[test]
    fn any_changed_byte_is_broken() {
        let bytes = sample();
        for at in 0..bytes.len() {
            for change in [1u8, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let error = read_all(&changed).unwrap_err();
                assert_eq!(error.exit_code(), 5, "byte {at} ^ {change}: {error}");
            }
        }
    }

    #[test]
    fn the_message_says_which() {
        let text = String::from_utf8(sample()).unwrap();
        for (from, to, says) in [
            ("#kdata/1", "#kdata/2", "version \"2\""),
            ("#kdata/1 ", "hello ", "does not begin with"),
            ("rows=2", "rows=3", "says rows=3, but 2 came"),
            ("005935", "005936", "checksum"),
            ("dataset=ohlcv", "dataset=ohlcw", "unknown dataset=\"ohlcw\""),
            ("stock_code,time", "stock_code,date", "header"),
            ("#missing", "#mussing", "mark is unknown"),
        ] {
            let changed = text.replacen(from, to, 1);
            let error = read_all(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{from} -> {to}: {error}");
        }
        assert!(
            read_all((text.clone() + "x\n").as_bytes()).unwrap_err().to_string().contains("more follows")
        );
        assert!(read_all(b"").unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn an_abort_is_passed_on() {
        let mut out = Vec::new();
        let writer = Writer::new(&mut out, &preamble()).unwrap();
        writer.abort(&Error::Source { what: "gone away".into(), help: String::new() }).unwrap();
        let error = read_all(&out).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("gone away"));
    }

    #[test]
    fn a_reject_is_shown_as_far_as_a_line_reaches() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, &preamble()).unwrap();
        let rows = [
            b"005930,\"".repeat(SHOWN / 8),
            "005930,삼성전자,\u{0}\"".repeat(900_000).into_bytes(),
            [b"x".as_slice(), "삼성전자".repeat(1_000_000).as_bytes()].concat(),
            vec![0xff; 6_000_000],
        ];
        for (line, row) in (7..).zip(&rows) {
            writer.reject(line, "a.b", &printable(row), row).unwrap();
        }
        writer.row(|b| b.resize(b.len() + LONGEST_ROW, b'x')).unwrap();
        writer.row(|b| b.resize(b.len() + LONGEST_ROW + 1, b'y')).unwrap();
        writer.row(|b| b.extend_from_slice(b"z")).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_all(&out).unwrap(), Counts { rows: 2, rejected: 5, flagged: 0, missing: 0 });
        let mut marks = out.split(|b| *b == b'\n').filter(|line| line.starts_with(b"#reject"));
        for row in &rows {
            let mark = Mark::parse(marks.next().unwrap()).unwrap();
            for shown in [mark.get("row").unwrap(), mark.get("msg").unwrap()] {
                let is_whole = row.len() <= SHOWN;
                let text = shown.split(" … (cut here: ").next().unwrap();
                assert!(printable(row).starts_with(text) && text.len() > SHOWN - 4, "{}", text.len());
                assert_eq!(is_whole, shown.len() == row.len());
                assert!(is_whole || shown.ends_with(" bytes in all)"), "it says that it was cut");
            }
        }
        let mark = Mark::parse(marks.next().unwrap()).unwrap();
        assert_eq!((mark.get("line"), mark.get("rule")), (None, Some("row.well_formed")));
        assert!(mark.get("row").unwrap().ends_with("yyy … (cut here: 1048577 bytes in all)"));
    }

    #[test]
    fn lines_longer_than_the_buffer_are_read() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, &preamble()).unwrap();
        let long = vec![b'x'; CHUNK * 2 + 17];
        for _ in 0..3 {
            writer.row(|b| b.extend_from_slice(&long)).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(read_all(&out).unwrap().rows, 3);
    }
}
