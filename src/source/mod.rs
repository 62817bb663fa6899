//! Floor 3: where data come from. Each source is vendor models → parse → records, in a file of its own;
//! an enum dispatches, so that the compiler lists what is missing when a source is added.
//!
//! A source works in two steps: `open` finds out what it can give (and fails before anything is written),
//! then `write` puts rows and marks into the stream, ascending by session and key.

pub mod marcap;
pub mod sim;

use std::collections::BTreeSet;
use std::io::Write;

use chrono::{DateTime, NaiveDate, Utc};

use crate::dataset::{Dataset, Rule};
use crate::error::{Error, Result};
use crate::market::{Calendar, Market, StockCode};
use crate::settings::Settings;
use crate::stream::{Finality, Names, Preamble, Stage, Writer};

/// What is asked of a source.
pub struct Job<'a> {
    /// Of which dataset.
    pub dataset: &'static Dataset,
    /// First day of the range.
    pub from: NaiveDate,
    /// Last day of the range.
    pub to: NaiveDate,
    /// Only these codes; all that were listed then when absent.
    pub codes: Option<BTreeSet<StockCode>>,
    /// Only these markets.
    pub markets: Vec<Market>,
    /// The seed of a simulated market.
    pub seed: u64,
    /// The present instant.
    pub now: DateTime<Utc>,
    /// The run's id.
    pub run: String,
    /// The trading calendar.
    pub calendar: &'a Calendar,
    /// The settings.
    pub settings: &'a Settings,
}

impl Job<'_> {
    /// The sessions of the range.
    pub fn sessions(&self) -> &[NaiveDate] {
        self.calendar.sessions(self.from, self.to)
    }

    /// Is the name asked for?
    pub fn wants(&self, code: StockCode, market: Market) -> bool {
        self.markets.contains(&market) && self.codes.as_ref().is_none_or(|codes| codes.contains(&code))
    }

    /// Marks the codes that were asked for and never came.
    fn mark_missing<W: Write>(&self, seen: &BTreeSet<StockCode>, writer: &mut Writer<W>) -> Result<()> {
        for code in self.codes.iter().flatten().filter(|code| !seen.contains(code)) {
            writer.missing(code.as_str(), "the source has no such name on these sessions and markets")?;
        }
        Ok(())
    }

    /// The preamble of an ordered, final stream of shares; adapters change what differs.
    pub fn preamble(&self, source: Source, names: Names, provides: &str) -> Preamble {
        let markets: Vec<_> = self.markets.iter().map(|m| m.as_str()).collect();
        Preamble {
            dataset: self.dataset,
            source: source.name().to_owned(),
            stage: Stage::Extracted,
            run: self.run.clone(),
            from: self.from,
            to: self.to,
            scope: format!("{}/stock", markets.join(",")),
            names: if self.codes.is_some() { Names::List } else { names },
            finality: Finality::Final,
            provides: provides.to_owned(),
            ordered: true,
            value_unit: 1,
            calendar: self.calendar.id().to_owned(),
            rules: None,
        }
    }
}

/// A place that data come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Source {
    Marcap,
    Sim,
}

/// The sources, best first: a lower one never overwrites a higher one's final data.
pub const PREFERENCE: &[Source] = &[Source::Marcap, Source::Sim];

impl Source {
    /// The name on the command line and in streams.
    pub fn name(self) -> &'static str {
        match self {
            Self::Marcap => "marcap",
            Self::Sim => "sim",
        }
    }

    /// The source of that name.
    pub fn find(name: &str) -> Option<Self> {
        PREFERENCE.iter().copied().find(|s| s.name() == name)
    }

    /// The place in the order of preference, 1 is best; unknown names come last.
    pub fn rank(name: &str) -> i32 {
        let place = PREFERENCE.iter().position(|s| s.name() == name).unwrap_or(PREFERENCE.len());
        i32::try_from(place).map_or(i32::MAX, |p| p + 1)
    }

    /// Is the source set up? Simulated data are never taken unasked.
    pub fn is_configured(self, settings: &Settings) -> bool {
        match self {
            Self::Marcap => settings.marcap.is_some(),
            Self::Sim => false,
        }
    }

    /// Simulated data stay out of a live database.
    pub fn is_simulated(name: &str) -> bool {
        name == Self::Sim.name()
    }
}

/// The first source of the preference list that is set up.
pub fn preferred(settings: &Settings) -> Result<Source> {
    PREFERENCE.iter().copied().find(|s| s.is_configured(settings)).ok_or_else(|| {
        Error::usage(
            "no source is set up",
            "set KDATA_MARCAP to the folder (or base URL) of marcap's yearly files, or try --source sim",
        )
    })
}

/// The rules that sources check on their own answers, beyond those of the datasets.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    marcap::RULES.into_iter()
}

/// A source that was opened for a job.
pub enum Opened {
    /// Yearly files.
    Marcap(marcap::Extract),
    /// The simulated market.
    Sim(Box<sim::Extract>),
}

impl Opened {
    /// Finds out what the source can give; nothing is written yet.
    pub async fn open(source: Source, job: &Job<'_>) -> Result<Self> {
        Ok(match source {
            Source::Marcap => Self::Marcap(marcap::Extract::open(job).await?),
            Source::Sim => Self::Sim(Box::new(sim::Extract::open(job)?)),
        })
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        match self {
            Self::Marcap(extract) => extract.preamble(job),
            Self::Sim(extract) => extract.preamble(job),
        }
    }

    /// Writes rows and marks.
    pub fn write<W: Write>(self, job: &Job, writer: &mut Writer<W>) -> Result<()> {
        match self {
            Self::Marcap(extract) => extract.write(job, writer),
            Self::Sim(extract) => extract.write(job, writer),
        }
    }
}
