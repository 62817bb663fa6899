//! Rows of a stream in PostgreSQL's binary COPY format. The server spends most of a COPY reading text: read here, on a core
//! of its own beside the server's, the same rows are staged in half the time.

use chrono::NaiveDate;

use crate::dataset::record::{parse_date, parse_int, parse_minute, split, unquote};
use crate::dataset::{Column, Dataset};

/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A row of -1 columns.
const TRAILER: &[u8] = &(-1i16).to_be_bytes();
const NULL: &[u8] = &(-1i32).to_be_bytes();
/// The server counts from here.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");
const SEOUL_AHEAD: i64 = 9 * 3600;

/// How a column's values are written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Bigint,
    Boolean,
    Date,
    Minute,
}

/// Writes rows of a dataset as the server wants them. Buffers are used again.
pub struct Encoder {
    columns: Vec<Kind>,
    spans: Vec<(usize, usize)>,
    /// Where the values of the last row begin in what it was appended to.
    values: Vec<usize>,
    unquoted: Vec<u8>,
}

impl Encoder {
    /// `None` for a dataset with a type that is better left to the server: numbers with a fraction.
    pub fn new(dataset: &Dataset) -> Option<Self> {
        let kind = |column: &Column| match column.sql {
            "text" => Some(Kind::Text),
            "integer" => Some(Kind::Integer),
            "bigint" => Some(Kind::Bigint),
            "boolean" => Some(Kind::Boolean),
            "date" => Some(Kind::Date),
            "timestamptz" => Some(Kind::Minute),
            _ => None,
        };
        let columns = dataset.columns.iter().map(kind).collect::<Option<_>>()?;
        Some(Self { columns, spans: Vec::new(), values: Vec::new(), unquoted: Vec::new() })
    }

    /// What stands before the first row.
    pub fn begin(out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER);
    }

    /// What stands after the last one.
    pub fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(TRAILER);
    }

    /// Appends a row, given without its line feed; `None` where it does not read, with half a row appended.
    pub fn row(&mut self, row: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let Self { columns, spans, values, unquoted } = self;
        unquoted.clear();
        values.clear();
        if !split(row, spans) {
            unquote(row, unquoted, spans);
        }
        if spans.len() != columns.len() {
            return None;
        }
        let text = if unquoted.is_empty() { row } else { unquoted };
        out.extend_from_slice(&i16::try_from(columns.len()).ok()?.to_be_bytes());
        for (kind, (start, end)) in columns.iter().zip(spans) {
            values.push(out.len() + size_of::<i32>());
            match &text[*start..*end] {
                [] => out.extend_from_slice(NULL),
                field => write(*kind, field, out)?,
            }
        }
        Some(())
    }

    /// The value of a column of integers in the row that was appended last to `out`; 0 where it has none.
    pub fn integer(&self, column: usize, out: &[u8]) -> i64 {
        let at = &out[self.values[column]..];
        match self.columns[column] {
            _ if out[..self.values[column]].ends_with(NULL) => 0,
            Kind::Bigint => i64::from_be_bytes(at[..8].try_into().expect("eight bytes")),
            _ => i64::from(i32::from_be_bytes(at[..4].try_into().expect("four bytes"))),
        }
    }
}

fn write(kind: Kind, field: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Text => value(field, out),
        Kind::Integer => value(&i32::try_from(parse_int(field)?).ok()?.to_be_bytes(), out),
        Kind::Bigint => value(&parse_int(field)?.to_be_bytes(), out),
        Kind::Boolean => value(
            &[u8::from(match field {
                b"t" => true,
                b"f" => false,
                _ => return None,
            })],
            out,
        ),
        Kind::Date => value(&days(parse_date(field)?)?.to_be_bytes(), out),
        Kind::Minute => {
            let time = parse_minute(field)?;
            let seconds = (time - EPOCH.and_hms_opt(0, 0, 0)?).num_seconds() - SEOUL_AHEAD;
            value(&(seconds * 1_000_000).to_be_bytes(), out)
        }
    }
}

fn days(date: NaiveDate) -> Option<i32> {
    i32::try_from((date - EPOCH).num_days()).ok()
}

/// A value after its length.
fn value(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&i32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;

    fn encoded(name: &str, row: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        Encoder::new(dataset::find(name).unwrap()).unwrap().row(row.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn values_are_the_servers() {
        let row = encoded("ohlcv-minute", "005930,2026-11-20T09:00:00+09:00,1,2,3,-4,5,").unwrap();
        let field = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let expected = [
            8i16.to_be_bytes().to_vec(),
            field(b"005930"),
            // SELECT extract(epoch FROM timestamptz '2026-11-20 09:00+09' - timestamptz '2000-01-01 00:00+00')
            field(&(848_448_000i64 * 1_000_000).to_be_bytes()),
            field(&1i32.to_be_bytes()),
            field(&2i32.to_be_bytes()),
            field(&3i32.to_be_bytes()),
            field(&(-4i32).to_be_bytes()),
            field(&5i64.to_be_bytes()),
            NULL.to_vec(),
        ];
        assert_eq!(row, expected.concat());
    }

    #[test]
    fn integers_are_read_back() {
        let dataset = dataset::find("ohlcv-minute").unwrap();
        let mut encoder = Encoder::new(dataset).unwrap();
        let mut out = b"what stands before".to_vec();
        encoder.row(b"005930,2026-11-20T09:00:00+09:00,1,2,3,-4,5000000000,", &mut out).unwrap();
        let told = ["open", "high", "low", "close", "volume", "value"]
            .map(|column| encoder.integer(dataset.index(column), &out));
        assert_eq!(told, [1, 2, 3, -4, 5_000_000_000, 0]);
    }

    #[test]
    fn what_does_not_read_is_none() {
        let good = "005930,2026-11-20T09:00:00+09:00,1,2,3,4,5,6";
        assert!(encoded("ohlcv-minute", good).is_some());
        for (from, to) in [
            (",6", ",6,7"),
            (",6", ""),
            ("09:00:00", "09:00:01"),
            ("+09:00", "+00:00"),
            (",1,", ",x,"),
            (",1,", ",3000000000,"),
        ] {
            assert!(encoded("ohlcv-minute", &good.replacen(from, to, 1)).is_none(), "{from} {to}");
        }
    }

    #[test]
    fn quoted_fields_are_unquoted() {
        let plain = "005930,2026-01-05,KR7005930003,삼성 \"전자\",,KOSPI,,STOCK,,,t,100,5";
        let quoted = plain.replace("삼성 \"전자\"", "\"삼성 \"\"전자\"\"\"");
        let text = encoded("stocks", &quoted).unwrap();
        assert!(text.windows(15).any(|part| part == "삼성 \"전자\"".as_bytes()), "{text:?}");
    }

    #[test]
    fn only_fractions_are_left_to_the_server() {
        for dataset in dataset::ALL {
            let has_fractions = dataset.columns.iter().any(|column| column.sql == "numeric");
            assert_eq!(Encoder::new(dataset).is_none(), has_fractions, "{}", dataset.name);
        }
    }
}
