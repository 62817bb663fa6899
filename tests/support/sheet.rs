//! Rows in marcap's columns, read and computed independently of the program.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// A yearly file.
#[derive(Clone)]
pub struct Sheet {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Reads csv, csv.gz or parquet.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        match &bytes[..4] {
            b"PAR1" => Self::read_parquet(path),
            [0x1f, 0x8b, ..] => {
                let mut text = Vec::new();
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
                Self::parse(&text)
            }
            _ => Self::parse(&bytes),
        }
    }

    /// A fixture of ours: made-up names and numbers.
    pub fn fixture(year: i32) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/marcap");
        Self::read(&folder.join(format!("{year}.csv")))
    }

    fn parse(text: &[u8]) -> Self {
        let mut reader = csv::Reader::from_reader(text);
        let words = |record: &csv::StringRecord| record.iter().map(ToOwned::to_owned).collect::<Vec<_>>();
        let header = words(reader.headers().unwrap());
        Self { header, rows: reader.records().map(|record| words(&record.unwrap())).collect() }
    }

    fn read_parquet(path: &Path) -> Self {
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let text = |field: &Field| match field {
            Field::Null => String::new(),
            Field::Str(text) => text.clone(),
            Field::Double(number) => number.to_string(),
            Field::Long(number) => number.to_string(),
            Field::TimestampMicros(time) => {
                chrono::DateTime::from_timestamp_micros(*time).unwrap().date_naive().to_string()
            }
            other => panic!("{other:?}"),
        };
        let schema = reader.metadata().file_metadata().schema_descr();
        let header = schema.columns().iter().map(|c| c.name().to_owned()).collect();
        let row = |row: parquet::record::Row| row.get_column_iter().map(|(_, field)| text(field)).collect();
        Self { header, rows: reader.get_row_iter(None).unwrap().map(|r| row(r.unwrap())).collect() }
    }

    /// A made-up market: `names` listed names, most on KOSPI and KOSDAQ, a tenth on KONEX, a tenth without
    /// trades. Prices stay below 2,000, where every won is a tick, and move by less than 10 % a session.
    pub fn market(names: usize, sessions: &[&str]) -> Self {
        const MARKETS: [&str; 5] = ["KOSPI", "KOSDAQ", "KOSDAQ", "KOSPI", "KOSDAQ"];
        let columns = "Code,Name,Dept,Market,Stocks,Date,Open,High,Low,Close,Volume,Amount,Marcap,\
                       Changes,ChangeCode,ChagesRatio";
        let mut sheet =
            Self { header: columns.split(',').map(ToOwned::to_owned).collect(), rows: Vec::new() };
        for (session, date) in (1..).zip(sessions) {
            for name in 0..names {
                let traded = name % 10 != 3;
                let price = |session: usize| 1_000 + (name * 37 + usize::from(traded) * session * 29) % 97;
                let (base, close) = (price(session - 1), price(session));
                let volume = if traded { 500 + name + session } else { 0 };
                let prices =
                    [base, base.max(close) + 2, base.min(close) - 2].map(|p| if traded { p } else { 0 });
                let stocks = 1_000_000 + name;
                let market = if name % 10 == 9 { "KONEX" } else { MARKETS[name % 5] };
                let texts = [&format!("{:05}0", name + 1), &format!("모의{name}"), "", market];
                let numbers =
                    [prices[0], prices[1], prices[2], close, volume, volume * close, stocks * close];
                let mut row: Vec<String> = texts.iter().map(ToString::to_string).collect();
                row.extend([stocks.to_string(), (*date).to_owned()]);
                row.extend(numbers.iter().map(ToString::to_string));
                row.extend(change(base, close));
                sheet.rows.push(row);
            }
        }
        sheet
    }

    /// A column's position.
    pub fn at(&self, column: &str) -> usize {
        self.header.iter().position(|name| name == column).unwrap_or_else(|| panic!("no column {column}"))
    }

    /// A cell as a whole number.
    pub fn number(&self, row: &[String], column: &str) -> i128 {
        let text = &row[self.at(column)];
        text.strip_suffix(".0").unwrap_or(text).parse().unwrap_or_else(|_| panic!("{column} {text:?}"))
    }

    pub fn sum(&self, column: &str) -> i128 {
        self.rows.iter().map(|row| self.number(row, column)).sum()
    }

    /// Its sessions, ascending.
    pub fn sessions(&self) -> Vec<String> {
        let at = self.at("Date");
        let dates: std::collections::BTreeSet<_> = self.rows.iter().map(|row| row[at].clone()).collect();
        dates.into_iter().collect()
    }

    /// Only the rows for which this holds.
    pub fn keep(mut self, holds: impl Fn(&Self, &[String]) -> bool) -> Self {
        let rows = std::mem::take(&mut self.rows);
        self.rows = rows.into_iter().filter(|row| holds(&self, row)).collect();
        self
    }

    /// Only the rows whose column does not hold this.
    pub fn without(self, column: &str, value: &str) -> Self {
        self.keep(|sheet, row| row[sheet.at(column)] != value)
    }

    fn row(&mut self, code: &str, date: &str) -> &mut Vec<String> {
        let (codes, dates) = (self.at("Code"), self.at("Date"));
        self.rows.iter_mut().find(|row| row[codes] == code && row[dates] == date).expect("a row of the sheet")
    }

    /// Another value in one cell.
    pub fn set(mut self, code: &str, date: &str, column: &str, value: &str) -> Self {
        let at = self.at(column);
        value.clone_into(&mut self.row(code, date)[at]);
        self
    }

    /// Another close, with all that follows from it; it must lie within low and high.
    pub fn reprice(mut self, code: &str, date: &str, close: usize) -> Self {
        let row = self.row(code, date).clone();
        let number = |column| usize::try_from(self.number(&row, column)).unwrap();
        let base = usize::try_from(self.number(&row, "Close") - self.number(&row, "Changes")).unwrap();
        let cap = number("Stocks") * close;
        let ratio = self.header.iter().rfind(|c| c.ends_with("Ratio")).unwrap().clone();
        let [changes, sign, percent] = change(base, close);
        self.set(code, date, "Close", &close.to_string())
            .set(code, date, "Marcap", &cap.to_string())
            .set(code, date, "Changes", &changes)
            .set(code, date, "ChangeCode", &sign)
            .set(code, date, &ratio, &percent)
    }

    /// The session `to` becomes a copy of `from`.
    pub fn copy_session(self, from: &str, to: &str) -> Self {
        let at = self.at("Date");
        let mut copies: Vec<_> = self.rows.iter().filter(|row| row[at] == from).cloned().collect();
        for row in &mut copies {
            to.clone_into(&mut row[at]);
        }
        let mut sheet = self.without("Date", to);
        sheet.rows.extend(copies);
        sheet.rows.sort_by(|a, b| a[at].cmp(&b[at]));
        sheet
    }

    pub fn csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.header).unwrap();
        self.rows.iter().for_each(|row| writer.write_record(row).unwrap());
        writer.into_inner().unwrap()
    }

    pub fn csv_gz(&self) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.csv()).unwrap();
        encoder.finish().unwrap()
    }

    /// The same as parquet, with the types of marcap's own files.
    pub fn parquet(&self) -> Vec<u8> {
        use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
        let kind = |column: &str| match column {
            "Code" | "Name" | "Dept" | "ChangeCode" | "Market" | "MarketId" => "BYTE_ARRAY (STRING)",
            "Date" => "INT64 (TIMESTAMP(MICROS, false))",
            "Stocks" | "Rank" => "INT64",
            _ => "DOUBLE",
        };
        let (kinds, names): (Vec<_>, Vec<_>) = self
            .header
            .iter()
            .map(|name| kind(name).split_once(' ').map_or((kind(name), ""), |(kind, note)| (kind, note)))
            .zip(&self.header)
            .unzip();
        let fields: Vec<_> = kinds
            .iter()
            .zip(&names)
            .map(|((kind, note), name)| format!("OPTIONAL {kind} {name} {note};"))
            .collect();
        let schema = format!("message schema {{ {} }}", fields.join(" "));
        let schema = parquet::schema::parser::parse_message_type(&schema).unwrap().into();
        let mut bytes = Vec::new();
        let mut file =
            parquet::file::writer::SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        for (at, (kind, note)) in kinds.iter().enumerate() {
            let cells: Vec<&str> =
                self.rows.iter().map(|r| r[at].as_str()).filter(|c| !c.is_empty()).collect();
            let there: Vec<i16> = self.rows.iter().map(|r| i16::from(!r[at].is_empty())).collect();
            let mut column = group.next_column().unwrap().unwrap();
            let there = Some(there.as_slice());
            match (*kind, note.starts_with("(TIMESTAMP")) {
                ("DOUBLE", _) => {
                    let values: Vec<f64> = cells.iter().map(|c| c.parse().unwrap()).collect();
                    column.typed::<DoubleType>().write_batch(&values, there, None).unwrap();
                }
                ("INT64", is_time) => {
                    let micros = |c: &str| {
                        c.parse::<chrono::NaiveDate>()
                            .unwrap()
                            .and_time(chrono::NaiveTime::MIN)
                            .and_utc()
                            .timestamp_micros()
                    };
                    let value = |c: &&str| if is_time { micros(c) } else { c.parse().unwrap() };
                    let values: Vec<i64> = cells.iter().map(value).collect();
                    column.typed::<Int64Type>().write_batch(&values, there, None).unwrap();
                }
                _ => {
                    let values: Vec<ByteArray> = cells.iter().map(|c| ByteArray::from(*c)).collect();
                    column.typed::<ByteArrayType>().write_batch(&values, there, None).unwrap();
                }
            }
            column.close().unwrap();
        }
        group.close().unwrap();
        file.close().unwrap();
        bytes
    }
}

/// Change, its code and its ratio in per cent.
#[expect(clippy::cast_precision_loss, reason = "prices are small")]
fn change(base: usize, close: usize) -> [String; 3] {
    let changes = i64::try_from(close).unwrap() - i64::try_from(base).unwrap();
    let code = match changes.signum() {
        1 => "1",
        -1 => "2",
        _ => "3",
    };
    [changes.to_string(), code.to_owned(), format!("{:.2}", changes as f64 * 100.0 / base as f64)]
}
