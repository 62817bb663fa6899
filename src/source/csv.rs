//! A user's own files: history that they already have, in kdata's columns or with a map of columns.
//!
//! `KDATA_CSV` is a folder with a file a dataset, `ohlcv.csv` or `ohlcv.csv.gz`. Each column is read by the type it has
//! in the stream; a value that does not read makes its row a reject with the file's line. Columns that the file lacks
//! are not provided: production keeps what it knows of them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use csv::ByteRecord;
use encoding_rs::{EUC_KR, Encoding, UTF_8};

use super::text::{self, Odd};
use super::{Job, Plan, ROW_READS, Rows, Source};
use crate::dataset::record::RowWriter;
use crate::dataset::{Column, Dataset, TIME};
use crate::error::{Error, Result};
use crate::market::{Decimal, Market, StockCode};
use crate::stream::{Names, Preamble, Writer};

/// A file that was opened for a job.
pub struct Extract {
    path: PathBuf,
    encoding: &'static Encoding,
    reader: csv::Reader<Box<dyn Read>>,
    /// For each column of the dataset, where it stands in the file.
    places: Vec<Option<usize>>,
}

impl Extract {
    /// Opens the file and finds the columns.
    pub fn open(job: &Job) -> Result<Self> {
        let settings = &job.settings.csv;
        let folder = settings.folder.as_ref().ok_or_else(|| {
            Error::usage(
                "KDATA_CSV is not set",
                format!("set it to the folder that holds {0}.csv or {0}.csv.gz", job.dataset.name),
            )
        })?;
        let encoding = match settings.encoding.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("utf-8" | "utf8") => UTF_8,
            Some("cp949" | "euc-kr" | "ms949" | "uhc") => EUC_KR,
            Some(other) => {
                return Err(Error::usage(
                    format!("KDATA_CSV_ENCODING={other} is unknown"),
                    "set utf-8 or cp949",
                ));
            }
        };
        let path = find(folder, job.dataset)?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(open(&path)?);
        let header = reader.byte_headers().map_err(|e| unreadable(&path, &e))?.clone();
        let names: Vec<String> = header
            .iter()
            .map(|name| {
                decode(name, encoding).map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            })
            .collect::<Option<_>>()
            .ok_or_else(|| {
                Error::usage(
                    format!("the header of {} is no {}", path.display(), encoding.name()),
                    "set KDATA_CSV_ENCODING to its encoding: utf-8 or cp949",
                )
            })?;
        let places = places(job.dataset, &settings.columns, &names, &path)?;
        let extract = Self { path, encoding, reader, places };
        extract.insist(job)?;
        Ok(extract)
    }

    /// The key must be there; the time may be missing where one session is asked for.
    fn insist(&self, job: &Job) -> Result<()> {
        let absent: Vec<&str> = job
            .dataset
            .key
            .iter()
            .copied()
            .filter(|key| self.places[job.dataset.index(key)].is_none())
            .filter(|key| *key != TIME || job.dataset.is_intraday() || job.sessions().len() != 1)
            .collect();
        if absent.is_empty() {
            return Ok(());
        }
        Err(Error::usage(
            format!("{} lacks the columns {}", self.path.display(), absent.join(", ")),
            "name the file's columns in KDATA_CSV_COLUMNS, e.g. stock_code=종목코드,time=일자",
        ))
    }

    /// Nothing is asked of anybody.
    pub fn plan(&self) -> Plan {
        Plan { remark: format!(": {}", self.path.display()), ..Plan::default() }
    }

    /// What the stream will say of itself. A file does not tell whether it holds all names: nobody is taken for gone.
    pub fn preamble(&self, job: &Job) -> Preamble {
        let has = |(column, place): (&Column, &Option<usize>)| {
            (place.is_some() || fills(job, column.name)).then_some(column.name)
        };
        let provided: Vec<&str> = job.dataset.columns.iter().zip(&self.places).filter_map(has).collect();
        let names = if job.dataset.name == "stocks" { Names::List } else { Names::Traded };
        job.preamble(Source::Csv, names, &provided.join(","))
    }

    /// Reads the file once; the rows of the range leave in the order of the stream.
    pub fn write<W: Write>(mut self, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        let mut rows = Rows::new(job.dataset);
        let mut seen = BTreeSet::new();
        let mut record = ByteRecord::new();
        let mut out = Vec::new();
        loop {
            match self.reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {}
                Err(e) => return Err(unreadable(&self.path, &e)),
            }
            out.clear();
            match self.row(job, &record, &mut seen, &mut out) {
                Ok(false) => {}
                Ok(true) => rows.add(|bytes| bytes.extend_from_slice(&out)),
                Err(why) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    let shown: Vec<_> = record.iter().map(|field| EUC_KR.decode(field).0).collect();
                    let shown = if self.encoding == UTF_8 {
                        record.iter().map(String::from_utf8_lossy).collect()
                    } else {
                        shown
                    };
                    writer.reject(line, ROW_READS.name, &why, shown.join(",").as_bytes())?;
                }
            }
        }
        rows.write(writer)?;
        job.mark_missing(&seen, writer)
    }

    /// Makes a row of the stream; false when it is not asked for.
    fn row(
        &self,
        job: &Job,
        record: &ByteRecord,
        seen: &mut BTreeSet<StockCode>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<bool, String> {
        let dataset = job.dataset;
        let mut cells = Vec::with_capacity(dataset.columns.len());
        for (column, place) in dataset.columns.iter().zip(&self.places) {
            let Some(place) = place else {
                cells.push(String::new());
                continue;
            };
            let field = record.get(*place).ok_or_else(|| format!("{} fields: too few", record.len()))?;
            let cell = decode(field, self.encoding)
                .ok_or_else(|| format!("{} is no {}", column.name, self.encoding.name()))?;
            cells.push(normal(column, &cell).map_err(|odd| odd.to_string())?);
        }
        let time = dataset.index(TIME);
        if cells[time].is_empty() {
            cells[time] = job.to.to_string();
        }
        let session: NaiveDate =
            cells[time].get(..10).and_then(|day| day.parse().ok()).ok_or("no session")?;
        if session < job.from || session > job.to {
            return Ok(false);
        }
        let code = StockCode::parse(cells[dataset.index(dataset.code)].as_bytes());
        fill(job, session, code, &mut cells)?;
        let market =
            dataset.has("market").then(|| Market::parse(cells[dataset.index("market")].as_bytes())).flatten();
        if job.codes.as_ref().is_some_and(|codes| code.is_none_or(|code| !codes.contains(&code)))
            || market.is_some_and(|market| !job.markets.contains(&market))
        {
            return Ok(false);
        }
        let mut row = RowWriter::new(out);
        for cell in &cells {
            row.text(cell);
        }
        seen.extend(code);
        Ok(true)
    }
}

/// Does the stock master fill the column where the file lacks it?
fn fills(job: &Job, column: &str) -> bool {
    job.dataset.name == "ohlcv" && matches!(column, "market" | "security_type") && job.universe.is_some()
}

/// Fills what the stock master knows, and turns the zeros of a session without trades into absences.
fn fill(
    job: &Job,
    session: NaiveDate,
    code: Option<StockCode>,
    cells: &mut [String],
) -> std::result::Result<(), String> {
    if job.dataset.name != "ohlcv" {
        return Ok(());
    }
    let at = |column| job.dataset.index(column);
    if cells[at("market")].is_empty() || cells[at("security_type")].is_empty() {
        let listing = code.zip(job.universe.as_ref()).and_then(|(code, universe)| universe.at(code, session));
        let listing =
            listing.ok_or("the file lacks market or security_type, and no stock master knows the name")?;
        cells[at("market")] = listing.market.to_string();
        cells[at("security_type")] = listing.kind.to_string();
    }
    if cells[at("volume")] == "0" {
        for column in ["open", "high", "low"] {
            if cells[at(column)] == "0" {
                cells[at(column)].clear();
            }
        }
    }
    Ok(())
}

fn find(folder: &Path, dataset: &Dataset) -> Result<PathBuf> {
    let names = [format!("{}.csv", dataset.name), format!("{}.csv.gz", dataset.name)];
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| Error::Source {
        what: format!("{} holds neither {} nor {}", folder.display(), names[0], names[1]),
        help: "put the file there, or correct KDATA_CSV".into(),
    })
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = File::open(path).map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
    let file = BufReader::with_capacity(256 * 1024, file);
    Ok(if path.extension().is_some_and(|ending| ending == "gz") {
        Box::new(BufReader::with_capacity(256 * 1024, flate2::bufread::MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

fn unreadable(path: &Path, error: &csv::Error) -> Error {
    Error::Source {
        what: format!("{} cannot be read: {error}", path.display()),
        help: "nothing of it was taken; repair the file".into(),
    }
}

fn decode(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(std::borrow::Cow::into_owned)
}

/// Where the columns of a dataset stand in a file. The map may name a dataset: `ohlcv.close=종가`.
fn places(
    dataset: &Dataset,
    map: &[(String, String)],
    names: &[String],
    path: &Path,
) -> Result<Vec<Option<usize>>> {
    let mut places = Vec::new();
    for column in dataset.columns {
        let own = format!("{}.{}", dataset.name, column.name);
        let mapped = map.iter().find(|(ours, _)| *ours == own);
        let mapped = mapped.or_else(|| map.iter().find(|(ours, _)| ours == column.name));
        let theirs = mapped.map_or(column.name, |(_, theirs)| theirs.as_str());
        let found: Vec<usize> = (0..names.len()).filter(|at| names[*at] == theirs).collect();
        if found.len() > 1 {
            return Err(Error::usage(
                format!("{} has the column {theirs} twice", path.display()),
                "rename one of them",
            ));
        }
        if let (Some((_, theirs)), true) = (mapped, found.is_empty()) {
            return Err(Error::usage(
                format!("{} has no column {theirs}, which KDATA_CSV_COLUMNS names", path.display()),
                format!("its columns are {}", names.join(", ")),
            ));
        }
        places.push(found.first().copied());
    }
    Ok(places)
}

/// A cell as the stream has it, by the type of its column.
fn normal(column: &Column, cell: &str) -> std::result::Result<String, Odd> {
    let odd = |expected| Odd { field: column.name, text: cell.to_owned(), expected };
    let number = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
    match column.sql {
        "integer" | "bigint" => Ok(number(text::whole(column.name, cell)?)),
        "date" => Ok(text::date(column.name, cell)?.map_or_else(String::new, |date| date.to_string())),
        "timestamptz" => minute(cell).map_err(odd),
        "boolean" => match cell.trim().to_ascii_lowercase().as_str() {
            "" => Ok(String::new()),
            "t" | "true" | "y" | "1" => Ok("t".into()),
            "f" | "false" | "n" | "0" => Ok("f".into()),
            _ => Err(odd("t or f")),
        },
        "text" => Ok(cell.trim().to_owned()),
        // numeric(p, s)
        _ => match text::filled(cell) {
            None => Ok(String::new()),
            Some(filled) => {
                let plain: String = filled.chars().filter(|c| *c != ',' && *c != '+').collect();
                let decimal = Decimal::parse(plain.as_bytes()).ok_or_else(|| odd("a decimal number"))?;
                Ok(decimal.to_string())
            }
        },
    }
}

/// The start of a minute, in Seoul where the text does not say.
fn minute(cell: &str) -> std::result::Result<String, &'static str> {
    let cell = cell.trim();
    let local =
        ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y%m%d%H%M%S"];
    let read = local.iter().find_map(|form| NaiveDateTime::parse_from_str(cell, form).ok());
    let read = read.or_else(|| {
        DateTime::parse_from_rfc3339(cell)
            .ok()
            .map(|time| time.with_timezone(&crate::market::kst()).naive_local())
    });
    read.map(|time| time.format("%Y-%m-%dT%H:%M:%S+09:00").to_string()).ok_or("a time, e.g. 2026-01-02 09:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_by_type() {
        let cell = |sql, text: &str| normal(&Column { name: "c", sql, about: "" }, text);
        for (sql, text, stream) in [
            ("integer", "71,000", "71000"),
            ("bigint", "-", ""),
            ("date", "2026/01/02", "2026-01-02"),
            ("timestamptz", "2026-01-02 09:00", "2026-01-02T09:00:00+09:00"),
            ("timestamptz", "20260102090000", "2026-01-02T09:00:00+09:00"),
            ("timestamptz", "2026-01-02T00:00:00Z", "2026-01-02T09:00:00+09:00"),
            ("boolean", "Y", "t"),
            ("text", " 삼성전자 ", "삼성전자"),
            ("numeric(12, 6)", "1,234.50", "1234.5"),
        ] {
            assert_eq!(cell(sql, text).unwrap(), stream, "{sql} {text}");
        }
        for (sql, text) in
            [("integer", "7.5"), ("date", "02-01-2026"), ("timestamptz", "09:00"), ("boolean", "?")]
        {
            assert!(cell(sql, text).is_err(), "{sql} {text}");
        }
    }
}
