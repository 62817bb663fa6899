//! extract: asks a source and writes a stream.

use std::io::Write;

use chrono::NaiveDate;

use crate::db::{Place, failed};
use crate::error::{Error, Result};
use crate::market::{Day, Isin, Market, SecurityType, StockCode, kst};
use crate::source::published::{self, State};
use crate::source::{Job, Listing, Opened, Plan, Source, Universe};
use crate::stream::{self, Counts, Names, Writer};

/// Runs a job. Whatever fails is written into the stream as `#abort`, so that the next stage passes it on.
pub async fn extract<W: Write>(source: Source, job: &Job<'_>, mut out: W) -> Result<Counts> {
    let opened = match prepare(source, job).await {
        Ok(opened) => opened,
        Err(error) => {
            stream::write_abort(&mut out, &error)?;
            return Err(error);
        }
    };
    let preamble = match &opened {
        Some(opened) => opened.preamble(job),
        None => job.preamble(source, Names::Whole, "all"),
    };
    let mut writer = Writer::new(&mut out, &preamble)?;
    let written = match opened {
        Some(opened) => opened.write(job, &mut writer).await,
        None => Ok(()),
    };
    job.progress.clear();
    match written {
        Ok(()) => writer.finish(),
        Err(Error::ClosedOutput) => Err(Error::ClosedOutput),
        Err(error) => {
            writer.abort(&error)?;
            Err(error)
        }
    }
}

/// Opens the source, and lets it ask what the stream's first line depends on.
async fn prepare<'a>(source: Source, job: &'a Job<'a>) -> Result<Option<Opened<'a>>> {
    let mut opened = open(source, job).await?;
    if let Some(opened) = &mut opened {
        opened.prepare(job).await?;
    }
    Ok(opened)
}

/// What a job would ask, without asking it.
pub async fn plan(source: Source, job: &Job<'_>) -> Result<Plan> {
    Ok(open(source, job).await?.map_or_else(Plan::default, |opened| opened.plan(job)))
}

/// Opens the source; `None` when the market was closed on every day asked for.
async fn open<'a>(source: Source, job: &'a Job<'a>) -> Result<Option<Opened<'a>>> {
    for date in [job.from, job.to] {
        if job.calendar.day(date) == Day::Unknown {
            let (first, last) = job.calendar.covers();
            return Err(Error::usage(
                format!("the trading calendar covers {first} to {last}, not {date}"),
                "extend it: kdata calendar import FILE --until DAY, a list of the closed days",
            ));
        }
    }
    let Some(last) = job.sessions().last() else {
        return Ok(None);
    };
    if let State::NotYet { from } = published::state(source, job.dataset.name, *last, job.calendar, job.now) {
        let now = job.now.with_timezone(&kst()).format("%F %H:%M");
        return Err(Error::NotPublished {
            what: format!(
                "{} has {} of the session {last} from {} KST; it is {now} now",
                source.name(),
                job.dataset.name,
                from.format("%F %H:%M"),
            ),
            help: "ask for an earlier session, take another source, or run again then".into(),
        });
    }
    Opened::open(source, job).await.map(Some)
}

/// Tells a job who was listed, where its source goes from name to name and the stock master reaches its sessions; else the
/// source's own master has to do.
pub async fn know_names(source: Source, job: &mut Job<'_>, place: &Place) -> Result<()> {
    if source.asks_by_code(job.dataset.name) && !job.sessions().is_empty() {
        let known = universe(place, job.from, job.to).await?;
        job.universe = Some(known).filter(|universe| !universe.is_empty());
    }
    Ok(())
}

/// The names listed on the sessions of a range as the stock master tells, those included that were delisted later.
/// Empty where it does not reach.
async fn universe(place: &Place, from: NaiveDate, to: NaiveDate) -> Result<Universe> {
    let client = place.connect().await?;
    let rows = client
        .query(include_str!("../../sql/report/universe.sql"), &[&from, &to])
        .await
        .map_err(failed("cannot read who was listed"))?;
    let mut universe = Universe::default();
    for row in rows {
        let (code, isin): (&str, Option<&str>) = (row.get(0), row.get(5));
        let market = Market::parse(row.get::<_, &str>(3).as_bytes());
        let kind = SecurityType::parse(row.get::<_, &str>(4).as_bytes());
        // What an older kdata wrote and this one does not know is nobody's to ask for.
        let (Some(code), Some(market), Some(kind)) = (StockCode::parse(code.as_bytes()), market, kind) else {
            continue;
        };
        let isin = isin.and_then(|isin| Isin::parse(isin.as_bytes()));
        let (from, until) = (row.get(1), row.get(2));
        universe.add(code, Listing { from, until, market, kind, isin, name: row.get(6) });
    }
    Ok(universe)
}
