//! Who is asked for: the names listed on the sessions as the stock master in the database tells, else as KIS's master
//! files do.

use std::io::Write;

use chrono::NaiveDate;

use super::{before_is_over, knows_all, master, present};
use crate::error::Result;
use crate::market::{Market, SecurityType, StockCode};
use crate::source::http::{Client, odd_answer};
use crate::source::{Job, Listing, ROW_READS, Universe};
use crate::stream::Writer;

/// Are names of that kind asked for, where all are? Who trades ETFs and ETNs says little of who wants what is in them.
pub(super) fn serves(dataset: &str, kind: SecurityType) -> bool {
    match dataset {
        "investor-trading" => !kind.is_exchange_traded_product(),
        "etf-portfolios" => kind == SecurityType::Etf,
        _ => true,
    }
}

/// Reads the master files of some markets; what does not read becomes a reject.
pub(super) async fn masters<W: Write>(
    files: &Client<'_>,
    markets: &[Market],
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<Vec<master::Entry>> {
    let session = present(job).ok_or_else(|| odd_answer("kis: there is no present session".into()))?;
    let before_is_over = before_is_over(job, session);
    let mut all = Vec::new();
    for market in markets {
        let name = master::file_of(*market);
        let text = master::fetch(files, name, session, before_is_over).await?;
        let (entries, bad) = master::parse(*market, &text, session)?;
        for bad in bad {
            let message = format!("{name}.mst of {session}: {}", bad.problem);
            // Code and session first, as in a row of stocks: who is rejected is not taken for gone.
            let row = format!("{},{session},{}", bad.code, bad.text);
            writer.reject(bad.line, ROW_READS.name, &message, row.as_bytes())?;
        }
        all.extend(entries);
    }
    Ok(all)
}

/// Who was listed. The master files are read where the database does not know all that are asked for.
pub(super) async fn universe<W: Write>(
    files: &Client<'_>,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<Universe> {
    let mut universe = job.universe.clone().unwrap_or_default();
    let is_enough = match &job.codes {
        Some(codes) => codes.iter().all(|code| universe.has(*code)),
        None => job.universe.is_some(),
    };
    if is_enough {
        return Ok(universe);
    }
    if job.codes.is_none() && !knows_all(job) {
        tracing::warn!(
            "names delisted since {} are not asked for: load stocks of these sessions (marcap, krx-openapi) to know them",
            job.from
        );
    }
    for entry in masters(files, &Market::ALL, job, writer).await? {
        if !universe.has(entry.code) {
            let listing = Listing {
                from: entry.listing_date.unwrap_or(NaiveDate::MIN),
                until: None,
                market: entry.market,
                kind: entry.kind,
                isin: entry.isin,
                name: entry.name,
            };
            universe.add(entry.code, listing);
        }
    }
    Ok(universe)
}

/// A name to ask for, and what it was.
#[derive(Clone, Copy)]
pub(super) struct Name<'u> {
    pub(super) code: StockCode,
    first: &'u Listing,
    universe: &'u Universe,
}

/// The names to ask for, ascending; codes that are asked for and nobody's are marked. Those that the user named are
/// asked for whatever their kind is, but for portfolios, which ETFs alone have.
pub(super) fn names<'u, W: Write>(
    universe: &'u Universe,
    job: &Job<'_>,
    writer: &mut Writer<W>,
) -> Result<Vec<Name<'u>>> {
    let dataset = job.dataset.name;
    let is_named = job.codes.is_some() && dataset != "etf-portfolios";
    let listed = job.names(universe).into_iter();
    let names: Vec<Name> = listed
        .filter(|(_, first)| is_named || serves(dataset, first.kind))
        .map(|(code, first)| Name { code, first, universe })
        .collect();
    job.mark_missing(&names.iter().map(|name| name.code).collect(), writer)?;
    Ok(names)
}

impl<'u> Name<'u> {
    /// The code as KIS wants it: ETNs with a letter before it.
    pub(super) fn asked_as(&self) -> String {
        if self.first.kind == SecurityType::Etn { format!("Q{}", self.code) } else { self.code.to_string() }
    }

    /// What it was on a session; what it was first where the master does not reach.
    pub(super) fn at(&self, session: NaiveDate) -> &'u Listing {
        self.universe.at(self.code, session).unwrap_or(self.first)
    }
}
