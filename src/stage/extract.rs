//! extract: asks a source and writes a stream.

use std::io::Write;

use crate::error::{Error, Result};
use crate::market::{Day, Hours, kst};
use crate::source::{Job, Opened, Source};
use crate::stream::{self, Counts, Names, Writer};

/// Runs a job. Whatever fails is written into the stream as `#abort`, so that the next stage passes it on.
pub async fn extract<W: Write>(source: Source, job: &Job<'_>, mut out: W) -> Result<Counts> {
    let opened = match open(source, job).await {
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
    let written = opened.map_or(Ok(()), |opened| opened.write(job, &mut writer));
    match written {
        Ok(()) => writer.finish(),
        Err(Error::ClosedOutput) => Err(Error::ClosedOutput),
        Err(error) => {
            writer.abort(&error)?;
            Err(error)
        }
    }
}

/// Opens the source; `None` when the market was closed on every day asked for.
async fn open(source: Source, job: &Job<'_>) -> Result<Option<Opened>> {
    for date in [job.from, job.to] {
        if job.calendar.day(date) == Day::Unknown {
            let (first, last) = job.calendar.covers();
            return Err(Error::usage(
                format!("the trading calendar covers {first} to {last}, not {date}"),
                "extend it with a file in KDATA_CALENDAR (a line `# covers FROM TO`, and the closed days)",
            ));
        }
    }
    let Some(last) = job.sessions().last() else {
        return Ok(None);
    };
    let now = job.now.with_timezone(&kst()).naive_local();
    let close = match job.calendar.day(*last) {
        Day::Session(Some(Hours { close, .. })) => close,
        _ => chrono::NaiveTime::MIN,
    };
    if last.and_time(close) > now {
        return Err(Error::NotPublished {
            what: format!(
                "the session {last} closes at {} KST; it is {} now",
                close.format("%H:%M"),
                now.format("%F %H:%M")
            ),
            help: "ask for an earlier session, or run again after the close".into(),
        });
    }
    Opened::open(source, job).await.map(Some)
}
