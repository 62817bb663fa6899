//! What the master files tell: stocks, sectors, and the members of KOSPI 200 and KOSDAQ 150.

use std::io::Write;

use chrono::NaiveDate;

use super::names::masters;
use super::{before_is_over, master};
use crate::dataset::index_components::Member;
use crate::dataset::sectors::Sector;
use crate::dataset::stocks::Stock;
use crate::error::{Error, Result};
use crate::market::{IndexCode, Market};
use crate::source::http::{Client, odd_answer};
use crate::source::{Job, Rows};
use crate::stream::Writer;

/// The columns that the master files have of stocks.
pub(super) const MASTER: &str =
    "isin,name,market,security_type,listing_date,is_active,par_value,listed_shares";
const SECTORS_FILE: &str = "idxcode";
/// The levels of the index sectors, each a scheme of its own.
const SCHEMES: [&str; 3] = ["KIS-LARGE", "KIS-MID", "KIS-SMALL"];

/// An index whose members the files flag: its market, and how many there may be, since a quarterly review or a merger
/// leaves it with one more or less for a while.
struct Index {
    code: IndexCode,
    market: Market,
    members: std::ops::RangeInclusive<usize>,
}

static INDICES: [Index; 2] = [
    Index { code: IndexCode::KOSPI_200, market: Market::Kospi, members: 195..=205 },
    Index { code: IndexCode::KOSDAQ_150, market: Market::Kosdaq, members: 145..=155 },
];

/// Refuses what would cut a list: lists replace each other as a whole.
pub(super) fn check(job: &Job) -> Result<()> {
    let dataset = job.dataset.name;
    if job.codes.is_some() || (dataset == "sectors" && job.markets.len() < Market::ALL.len()) {
        return Err(Error::usage(
            format!("KIS's {dataset} come whole: a part would replace the whole"),
            "leave --codes and --market out; --index chooses among the indices",
        ));
    }
    let unknown = job.indices.iter().find(|code| INDICES.iter().all(|index| index.code.as_str() != **code));
    match unknown {
        Some(code) if dataset == "index-components" => Err(Error::usage(
            format!("KIS does not tell the members of the index {code}"),
            "it has 1028 (KOSPI 200) and 2203 (KOSDAQ 150)",
        )),
        _ => Ok(()),
    }
}

/// The files that a job needs.
pub(super) fn files(job: &Job) -> Vec<&'static str> {
    let markets = match job.dataset.name {
        "index-components" => indices(job).map(|index| index.market).collect(),
        "sectors" => vec![Market::Kospi, Market::Kosdaq],
        _ => job.markets.clone(),
    };
    let names = (job.dataset.name == "sectors").then_some(SECTORS_FILE);
    markets.into_iter().map(master::file_of).chain(names).collect()
}

fn indices<'j>(job: &'j Job) -> impl Iterator<Item = &'static Index> + 'j {
    INDICES.iter().filter(|index| {
        let is_named = job.indices.iter().any(|code| code == index.code.as_str());
        job.markets.contains(&index.market) && (job.indices.is_empty() || is_named)
    })
}

/// Reads the files and writes the dataset.
pub(super) async fn write<W: Write>(files: &Client<'_>, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
    let Some(session) = job.sessions().last().copied() else { return Ok(()) };
    job.progress.planned(self::files(job).len() as u64);
    let mut rows = Rows::new(job.dataset);
    match job.dataset.name {
        "stocks" => stocks(files, session, job, writer, &mut rows).await?,
        "sectors" => sectors(files, session, job, writer, &mut rows).await?,
        _ => members(files, session, job, writer, &mut rows).await?,
    }
    job.progress.rows(rows.len() as u64);
    rows.write(writer)
}

async fn stocks<W: Write>(
    files: &Client<'_>,
    time: NaiveDate,
    job: &Job<'_>,
    writer: &mut Writer<W>,
    rows: &mut Rows,
) -> Result<()> {
    let entries = masters(files, &job.markets, job, writer).await?;
    let wanted = entries.iter().filter(|entry| job.wants(entry.code, entry.market));
    let mut seen = std::collections::BTreeSet::new();
    for entry in wanted {
        seen.insert(entry.code);
        let stock = Stock {
            code: entry.code,
            time,
            isin: entry.isin,
            name: &entry.name,
            name_en: "",
            market: entry.market,
            segment: "",
            kind: entry.kind,
            listing_date: entry.listing_date,
            delisting_date: None,
            is_active: true,
            par_value: entry.par_value,
            listed_shares: entry.listed_shares,
        };
        rows.add(|out| stock.write(out));
    }
    job.mark_missing(&seen, writer)
}

/// Reads master files of which every line must read: a list with a name left out is none.
async fn whole<W: Write>(
    files: &Client<'_>,
    markets: &[Market],
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<Vec<master::Entry>> {
    let before = writer.counts().rejected;
    let entries = masters(files, markets, job, writer).await?;
    match writer.counts().rejected - before {
        0 => Ok(entries),
        lines => Err(Error::Gate {
            what: format!("kis: {lines} lines of its master files do not read, so that no list is whole"),
            help: "the rejects tell them; if the files have changed, report it".into(),
        }),
    }
}

async fn sectors<W: Write>(
    files: &Client<'_>,
    time: NaiveDate,
    job: &Job<'_>,
    writer: &mut Writer<W>,
    rows: &mut Rows,
) -> Result<()> {
    let text = master::fetch(files, SECTORS_FILE, time, before_is_over(job, time)).await?;
    let names = master::parse_sectors(&text);
    let entries = whole(files, &[Market::Kospi, Market::Kosdaq], job, writer).await?;
    let mut counts = [0; SCHEMES.len()];
    for entry in entries.iter().filter(|entry| !entry.kind.is_exchange_traded_product()) {
        for ((scheme, sector), count) in SCHEMES.iter().zip(&entry.sectors).zip(&mut counts) {
            let Some(code) = sector else { continue };
            let name = names.get(code).map_or("", String::as_str);
            let sector = Sector { scheme, code: entry.code, time, sector_code: code, sector_name: name };
            rows.add(|out| sector.write(out));
            *count += 1;
        }
    }
    if counts.iter().all(|count| *count == 0) {
        return Err(odd_answer("kis: no name of its master files has a sector".into()));
    }
    for (scheme, _) in SCHEMES.iter().zip(counts).filter(|(_, count)| *count == 0) {
        writer.empty_slice(scheme, time)?;
    }
    Ok(())
}

async fn members<W: Write>(
    files: &Client<'_>,
    time: NaiveDate,
    job: &Job<'_>,
    writer: &mut Writer<W>,
    rows: &mut Rows,
) -> Result<()> {
    for index in indices(job) {
        let entries = whole(files, &[index.market], job, writer).await?;
        let members: Vec<_> = entries.iter().filter(|entry| entry.is_member).collect();
        if !index.members.contains(&members.len()) {
            return Err(Error::Gate {
                what: format!(
                    "kis: its master file flags {} members of {} on {time}, not {} to {}",
                    members.len(),
                    index.code,
                    index.members.start(),
                    index.members.end()
                ),
                help: "the file, or the place of the flag in it, has changed: nothing was taken".into(),
            });
        }
        for entry in members {
            let member = Member { index: index.code, time, code: entry.code, weight: None };
            rows.add(|out| member.write(out));
        }
    }
    Ok(())
}
