//! The yearly files, csv.gz or parquet, as rows of cells. Columns and their order differ between years and are
//! found by name; parquet is read by column and row group, a few thousand rows at a time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, DataType};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescPtr;

use crate::dataset::record::parse_date;
use crate::error::{Error, Result};

/// The columns that are read, with their other spellings.
pub(super) const COLUMNS: &[(Col, &[&str], bool)] = &[
    (Col::Code, &["Code"], true),
    (Col::Date, &["Date"], true),
    (Col::Name, &["Name"], true),
    (Col::Market, &["Market", "MarketId"], true),
    (Col::MarketId, &["MarketId"], false),
    (Col::Dept, &["Dept"], false),
    (Col::Open, &["Open"], true),
    (Col::High, &["High"], true),
    (Col::Low, &["Low"], true),
    (Col::Close, &["Close"], true),
    (Col::Volume, &["Volume"], true),
    (Col::Amount, &["Amount"], true),
    (Col::Changes, &["Changes"], true),
    (Col::ChangeCode, &["ChangeCode"], true),
    (Col::Marcap, &["Marcap"], true),
    (Col::Stocks, &["Stocks"], true),
    (Col::Ratio, &["ChangesRatio"], false),
    (Col::MisspeltRatio, &["ChagesRatio"], false),
    (Col::Rank, &["Rank"], false),
];

/// A column of marcap. Prices, changes, amount and capitalisation in KRW, volume and stocks in shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Col {
    Code,
    Date,
    Name,
    Market,
    MarketId,
    Dept,
    Open,
    High,
    Low,
    Close,
    Volume,
    Amount,
    Changes,
    ChangeCode,
    Marcap,
    Stocks,
    Ratio,
    MisspeltRatio,
    Rank,
}

/// How many columns are read.
const WIDTH: usize = COLUMNS.len();
/// Rows of a parquet column read at once.
const BATCH: usize = 4096;

/// A value as the file has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Cell<'a> {
    /// The file lacks the column.
    Absent,
    Blank,
    Int(i64),
    Float(f64),
    Text(&'a [u8]),
    Day(NaiveDate),
}

impl Cell<'_> {
    /// The value as text, for a reject.
    pub(super) fn text(self) -> String {
        match self {
            Self::Absent | Self::Blank => String::new(),
            Self::Int(n) => n.to_string(),
            Self::Float(x) => x.to_string(),
            Self::Text(bytes) => crate::stream::printable(bytes).into_owned(),
            Self::Day(date) => date.to_string(),
        }
    }

    /// A whole number; `None` when it is blank, not whole or not finite. Text may end in `.0`, as pandas
    /// writes whole floats; signs other than minus, exponents and blanks are refused.
    pub(super) fn whole(self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(n),
            Self::Float(x) => whole_float(x),
            Self::Text(bytes) => {
                let end = bytes.iter().position(|b| *b == b'.').unwrap_or(bytes.len());
                let fraction = bytes.get(end + 1..).unwrap_or_default();
                let whole =
                    fraction.iter().all(|b| *b == b'0') && (end == bytes.len() || !fraction.is_empty());
                crate::dataset::record::parse_int(&bytes[..end]).filter(|_| whole)
            }
            Self::Absent | Self::Blank | Self::Day(_) => None,
        }
    }

    /// A real number, if there is one. pandas writes exponents below 0.0001 only: elsewhere they are refused.
    pub(super) fn real(self) -> Option<f64> {
        match self {
            Self::Float(x) => Some(x).filter(|x| x.is_finite()),
            Self::Text(bytes) => {
                let x: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
                let exponent = bytes.iter().any(|b| matches!(b, b'e' | b'E'));
                Some(x).filter(|x| x.is_finite() && (!exponent || x.abs() < 0.0001))
            }
            _ => None,
        }
    }

    /// A date.
    pub(super) fn date(self) -> Option<NaiveDate> {
        match self {
            Self::Day(date) => Some(date),
            Self::Text(bytes) => parse_date(bytes.strip_suffix(b" 00:00:00").unwrap_or(bytes)),
            _ => None,
        }
    }

    /// Bytes of text.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) => bytes,
            _ => b"",
        }
    }
}

/// Whole floats below 2^53 are exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole_float(x: f64) -> Option<i64> {
    (x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0).then_some(x as i64)
}

/// One row of a file.
pub(super) struct Row<'a> {
    /// Line (csv) or row (parquet), counted from 1.
    pub(super) line: u64,
    cells: &'a [Cell<'a>],
    /// The whole row, when it has another number of fields than the header.
    pub(super) torn: Option<String>,
}

impl<'a> Row<'a> {
    /// A cell.
    pub(super) fn get(&self, col: Col) -> Cell<'a> {
        let at = COLUMNS.iter().position(|(c, _, _)| *c == col).expect("a listed column");
        self.cells.get(at).copied().unwrap_or(Cell::Absent)
    }

    /// The change ratio, under the spelling that has one; blank where neither has.
    pub(super) fn ratio(&self) -> Cell<'a> {
        match self.get(Col::Ratio) {
            Cell::Absent | Cell::Blank => match self.get(Col::MisspeltRatio) {
                Cell::Absent => Cell::Blank,
                ratio => ratio,
            },
            ratio => ratio,
        }
    }

    /// The whole row as text, for a reject.
    pub(super) fn text(&self) -> String {
        match &self.torn {
            Some(text) => text.clone(),
            None => self.cells.iter().map(|c| c.text()).collect::<Vec<_>>().join(","),
        }
    }
}

/// A yearly file on disk.
#[derive(Debug)]
pub(super) struct YearFile {
    pub(super) year: i32,
    pub(super) path: PathBuf,
    /// Its name for messages.
    pub(super) name: String,
}

impl YearFile {
    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::Source {
            what: format!("{} cannot be read: {what}", self.name),
            help: "fetch the file again; nothing of it was used".into(),
        }
    }

    fn lacks(&self, column: &str) -> Error {
        self.damaged(format_args!("the column {column} is missing"))
    }

    /// Calls `each` for every row, in the file's order. Returns whether the text is plain (no byte order mark,
    /// line ends of one kind).
    pub(super) fn rows(&self, each: impl FnMut(Row) -> Result<()>) -> Result<bool> {
        let mut magic = [0u8; 4];
        let mut file = File::open(&self.path).map_err(|e| self.damaged(e))?;
        let read = file.read(&mut magic).map_err(|e| self.damaged(e))?;
        match &magic[..read] {
            b"PAR1" => self.parquet_rows(each).map(|()| true),
            [0x1f, 0x8b, ..] => {
                let file = File::open(&self.path).map_err(|e| self.damaged(e))?;
                self.csv_rows(flate2::read::MultiGzDecoder::new(BufReader::new(file)), each)
            }
            _ => Err(self.damaged("it is neither parquet nor gzip (an error page?)")),
        }
    }

    fn csv_rows(&self, input: impl Read, mut each: impl FnMut(Row) -> Result<()>) -> Result<bool> {
        let mut ends = LineEnds::default();
        let sniff = Sniff { input, ends: &mut ends };
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .buffer_capacity(1 << 18)
            .from_reader(sniff);
        let mut record = csv::ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(|e| self.damaged(e))? {
            return Err(self.damaged("it is empty"));
        }
        let width = record.len();
        let places = self.places(|name| record.iter().position(|field| field == name.as_bytes()))?;
        // Of CR LF the reader takes the LF only with the next record: its count of lines stays one behind.
        let behind = 2u64.saturating_sub(reader.position().line());
        let mut next =
            |record: &mut csv::ByteRecord| reader.read_byte_record(record).map_err(|e| self.damaged(e));
        let mut cells = [Cell::Absent; WIDTH];
        while next(&mut record)? {
            let line = record.position().map_or(0, csv::Position::line) + behind;
            if record.len() != width {
                let text = record.iter().map(crate::stream::printable).collect::<Vec<_>>().join(",");
                each(Row { line, cells: &[], torn: Some(text) })?;
                continue;
            }
            let mut row_cells = cells;
            for (cell, place) in row_cells.iter_mut().zip(places) {
                *cell = match place.map(|at| &record[at]) {
                    None => Cell::Absent,
                    Some([]) => Cell::Blank,
                    Some(bytes) => Cell::Text(bytes),
                };
            }
            each(Row { line, cells: &row_cells, torn: None })?;
            cells = [Cell::Absent; WIDTH];
        }
        drop(reader);
        Ok(ends.are_plain())
    }

    fn parquet_rows(&self, mut each: impl FnMut(Row) -> Result<()>) -> Result<()> {
        let file = File::open(&self.path).map_err(|e| self.damaged(e))?;
        let file = SerializedFileReader::new(file).map_err(|e| self.damaged(e))?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let places = self.places(|name| schema.columns().iter().position(|c| c.name() == name))?;
        let mut line = 0;
        for group in 0..file.num_row_groups() {
            let group = file.get_row_group(group).map_err(|e| self.damaged(e))?;
            let mut columns = Vec::with_capacity(WIDTH);
            for place in places {
                columns.push(
                    place.map(|at| Column::open(&*group, at)).transpose().map_err(|e| self.damaged(e))?,
                );
            }
            let rows = usize::try_from(group.metadata().num_rows()).map_err(|e| self.damaged(e))?;
            for start in (0..rows).step_by(BATCH) {
                let count = BATCH.min(rows - start);
                for column in columns.iter_mut().flatten() {
                    column.read(count).map_err(|e| self.damaged(e))?;
                }
                for at in 0..count {
                    line += 1;
                    let mut cells = [Cell::Absent; WIDTH];
                    for (cell, column) in cells.iter_mut().zip(&columns) {
                        *cell = column.as_ref().map_or(Cell::Absent, |c| c.cell(at));
                    }
                    each(Row { line, cells: &cells, torn: None })?;
                }
            }
        }
        Ok(())
    }

    fn places(&self, find: impl Fn(&str) -> Option<usize>) -> Result<[Option<usize>; WIDTH]> {
        let mut places = [None; WIDTH];
        for (place, (_, names, required)) in places.iter_mut().zip(COLUMNS) {
            *place = names.iter().find_map(|name| find(name));
            if *required && place.is_none() {
                return Err(self.lacks(names[0]));
            }
        }
        Ok(places)
    }
}

/// Notices a byte order mark and mixed line ends while bytes pass.
#[derive(Default)]
struct LineEnds {
    begun: bool,
    marked: bool,
    carriage_returns: usize,
    line_feeds: usize,
}

impl LineEnds {
    fn are_plain(&self) -> bool {
        !self.marked && (self.carriage_returns == 0 || self.carriage_returns == self.line_feeds)
    }
}

struct Sniff<'a, R> {
    input: R,
    ends: &'a mut LineEnds,
}

impl<R: Read> Read for Sniff<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        let bytes = &buffer[..read];
        self.ends.marked |= !self.ends.begun && bytes.starts_with(b"\xef\xbb\xbf");
        self.ends.begun |= read > 0;
        self.ends.carriage_returns += memchr::memchr_iter(b'\r', bytes).count();
        self.ends.line_feeds += memchr::memchr_iter(b'\n', bytes).count();
        Ok(read)
    }
}

/// A batch of one parquet column.
struct Column {
    reader: ColumnReader,
    about: ColumnDescPtr,
    defined: Vec<i16>,
    ints: Vec<i64>,
    small_ints: Vec<i32>,
    floats: Vec<f64>,
    texts: Vec<ByteArray>,
    /// The position of each row's value among those that are there.
    at: Vec<Option<usize>>,
}

impl Column {
    fn open(group: &dyn RowGroupReader, place: usize) -> parquet::errors::Result<Self> {
        Ok(Self {
            reader: group.get_column_reader(place)?,
            about: group.metadata().schema_descr().column(place),
            defined: Vec::new(),
            ints: Vec::new(),
            small_ints: Vec::new(),
            floats: Vec::new(),
            texts: Vec::new(),
            at: Vec::new(),
        })
    }

    fn read(&mut self, count: usize) -> parquet::errors::Result<()> {
        self.defined.clear();
        let defined = &mut self.defined;
        match &mut self.reader {
            ColumnReader::Int64ColumnReader(reader) => fill(reader, count, defined, &mut self.ints)?,
            ColumnReader::Int32ColumnReader(reader) => fill(reader, count, defined, &mut self.small_ints)?,
            ColumnReader::DoubleColumnReader(reader) => fill(reader, count, defined, &mut self.floats)?,
            ColumnReader::ByteArrayColumnReader(reader) => fill(reader, count, defined, &mut self.texts)?,
            _ => {
                let name = self.about.name();
                return Err(parquet::errors::ParquetError::NYI(format!("the type of column {name}")));
            }
        }
        let full = self.about.max_def_level();
        self.at.clear();
        let mut value = 0;
        for row in 0..count {
            let there = full == 0 || self.defined.get(row) == Some(&full);
            self.at.push(there.then_some(value));
            value += usize::from(there);
        }
        Ok(())
    }

    fn cell(&self, row: usize) -> Cell<'_> {
        let Some(at) = self.at[row] else {
            return Cell::Blank;
        };
        match &self.reader {
            ColumnReader::Int64ColumnReader(_) => match self.about.logical_type_ref() {
                Some(LogicalType::Timestamp(about)) => {
                    moment(self.ints[at], about.unit).map_or(Cell::Int(self.ints[at]), Cell::Day)
                }
                _ => Cell::Int(self.ints[at]),
            },
            ColumnReader::Int32ColumnReader(_) => {
                let value = i64::from(self.small_ints[at]);
                match self.about.logical_type_ref() {
                    Some(LogicalType::Date) => DateTime::from_timestamp(value * 86_400, 0)
                        .map_or(Cell::Int(value), |t| Cell::Day(t.date_naive())),
                    _ => Cell::Int(value),
                }
            }
            ColumnReader::DoubleColumnReader(_) if self.floats[at].is_nan() => Cell::Blank,
            ColumnReader::DoubleColumnReader(_) => Cell::Float(self.floats[at]),
            _ => match self.texts[at].data() {
                [] => Cell::Blank,
                bytes => Cell::Text(bytes),
            },
        }
    }
}

fn fill<T: DataType>(
    reader: &mut parquet::column::reader::ColumnReaderImpl<T>,
    count: usize,
    defined: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> parquet::errors::Result<()> {
    values.clear();
    let (records, _, _) = reader.read_records(count, Some(defined), None, values)?;
    if records == count {
        Ok(())
    } else {
        Err(parquet::errors::ParquetError::EOF(format!("{records} of {count} rows")))
    }
}

/// A timestamp that is a midnight; another time of day is no session.
fn moment(value: i64, unit: TimeUnit) -> Option<NaiveDate> {
    let time = match unit {
        TimeUnit::MILLIS => DateTime::from_timestamp_millis(value)?,
        TimeUnit::MICROS => DateTime::from_timestamp_micros(value)?,
        TimeUnit::NANOS => DateTime::from_timestamp_nanos(value),
    };
    (time.time() == chrono::NaiveTime::MIN).then_some(time.date_naive())
}

/// The file of a year in a folder.
pub(super) fn in_folder(folder: &Path, year: i32) -> Option<YearFile> {
    ["parquet", "csv.gz"].iter().find_map(|ending| {
        let name = format!("marcap-{year}.{ending}");
        let path = folder.join(&name);
        path.is_file().then_some(YearFile { year, path, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (text, value) in
            [("78600.0", Some(78_600)), ("-300.0", Some(-300)), ("5", Some(5)), ("5.00", Some(5))]
        {
            assert_eq!(Cell::Text(text.as_bytes()).whole(), value, "{text}");
        }
        for bad in ["7.5", "1e5", "NaN", "inf", "", ".", "5.", " 5", "1,000", "0x5", "--5"] {
            assert_eq!(Cell::Text(bad.as_bytes()).whole(), None, "{bad}");
        }
        assert_eq!(Cell::Float(78_600.0).whole(), Some(78_600));
        for bad in [7.5, f64::NAN, f64::INFINITY, 1e16] {
            assert_eq!(Cell::Float(bad).whole(), None, "{bad}");
        }
    }

    #[test]
    fn real_numbers() {
        for (text, value) in [("-4.76", Some(-4.76)), ("5e-05", Some(5e-5)), ("0.0", Some(0.0))] {
            assert_eq!(Cell::Text(text.as_bytes()).real(), value, "{text}");
        }
        for bad in ["", "abc", "NaN", "-inf", "3.8e+00", "1e5", " 1"] {
            assert_eq!(Cell::Text(bad.as_bytes()).real(), None, "{bad}");
        }
    }

    #[test]
    fn dates() {
        assert!(Cell::Text(b"2022-01-03").date().is_some());
        assert!(Cell::Text(b"2022-01-03 00:00:00").date().is_some());
        assert!(Cell::Text(b"2022-01-03 09:00:00").date().is_none());
        assert!(moment(1_767_312_000_000_000, TimeUnit::MICROS).is_some());
        assert!(moment(1_767_312_000_000_001, TimeUnit::MICROS).is_none());
    }
}
