//! Floor 3: where data come from. Each source is vendor models → parse → records, in a file of its own;
//! an enum dispatches, so that the compiler lists what is missing when a source is added.
//!
//! A source works in two steps: `open` finds out what it can give (and fails before anything is written),
//! then `write` puts rows and marks into the stream, ascending by session and key.

pub mod csv;
pub mod http;
pub mod infomax;
pub mod kis;
pub mod kiwoom;
pub mod krx;
pub mod krx_openapi;
pub mod marcap;
mod progress;
pub mod published;
mod quote;
mod roll;
mod rows;
pub mod sim;
mod stop;
pub mod text;
pub mod trace;
mod universe;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};

use crate::dataset::{Dataset, Rule, Scope, Severity};
use crate::error::{Error, Result};
use crate::market::{Calendar, Market, StockCode};
use crate::settings::{Settings, VendorSettings};
use crate::stream::{Finality, Names, Preamble, Stage, Writer};

pub use progress::Progress;
pub use roll::Roll;
pub use rows::Rows;
pub use stop::Stop;
pub use universe::{Listing, Universe};

/// What is asked of a source.
#[derive(Debug)]
pub struct Job<'a> {
    /// Of which dataset.
    pub dataset: &'static Dataset,
    /// First day of the range.
    pub from: NaiveDate,
    /// Last day of the range.
    pub to: NaiveDate,
    /// Only these codes; all that were listed then when absent. ETFs for their portfolios.
    pub codes: Option<BTreeSet<StockCode>>,
    /// Only these markets.
    pub markets: Vec<Market>,
    /// Only these indices (1028 KOSPI 200, 2203 KOSDAQ 150); the source's default when empty.
    pub indices: Vec<String>,
    /// The names listed on the sessions of the range, as far as the stock master in the database tells.
    pub universe: Option<Universe>,
    /// The seed of a simulated market.
    pub seed: u64,
    /// Parse the kept answers again, without a call.
    pub replay: bool,
    /// The present instant.
    pub now: DateTime<Utc>,
    /// The run's id.
    pub run: String,
    /// The trading calendar.
    pub calendar: &'a Calendar,
    /// The settings.
    pub settings: &'a Settings,
    /// The folder of limits, tokens, breakers and the spool.
    pub state: PathBuf,
    /// Told what has been done.
    pub progress: Progress,
    /// Tells when to stop.
    pub stop: Stop,
}

impl<'a> Job<'a> {
    /// All names of all markets in a range of days.
    pub fn new(
        dataset: &'static Dataset,
        (from, to): (NaiveDate, NaiveDate),
        (now, run): (DateTime<Utc>, String),
        calendar: &'a Calendar,
        settings: &'a Settings,
        state: PathBuf,
    ) -> Self {
        Self {
            dataset,
            from,
            to,
            codes: None,
            markets: Market::ALL.to_vec(),
            indices: Vec::new(),
            universe: None,
            seed: 1,
            replay: false,
            now,
            run,
            calendar,
            settings,
            state,
            progress: Progress::default(),
            stop: Stop::default(),
        }
    }

    /// The sessions of the range.
    pub fn sessions(&self) -> &[NaiveDate] {
        self.calendar.sessions(self.from, self.to)
    }

    /// Is the name asked for?
    pub fn wants(&self, code: StockCode, market: Market) -> bool {
        self.markets.contains(&market) && self.wants_code(code)
    }

    /// Is the name asked for, as far as the code tells?
    pub fn wants_code(&self, code: StockCode) -> bool {
        self.codes.as_ref().is_none_or(|codes| codes.contains(&code))
    }

    /// The names to ask for, ascending: those asked for that were listed on at least one of the sessions.
    pub fn names<'u>(&self, universe: &'u Universe) -> Vec<(StockCode, &'u Listing)> {
        let listed = universe.listed(self.sessions());
        listed.filter(|(code, listing)| self.wants(*code, listing.market)).collect()
    }

    /// The job in one line, the same for the same job: what a run that failed goes on with.
    fn line(&self, source: Source) -> String {
        let markets: Vec<_> = self.markets.iter().map(|m| m.as_str()).collect();
        let codes: Vec<_> = self.codes.iter().flatten().map(StockCode::as_str).collect();
        format!(
            "{} {} {} {} {} {} {} {}",
            source.name(),
            self.dataset.name,
            self.from,
            self.to,
            markets.join(","),
            codes.join(","),
            self.indices.join(","),
            self.finality(source).as_str()
        )
    }

    /// Will the source's answers of all sessions still change?
    fn finality(&self, source: Source) -> Finality {
        let is_final = |session: &NaiveDate| {
            let state = published::state(source, self.dataset.name, *session, self.calendar, self.now);
            matches!(state, published::State::Final | published::State::Gone)
        };
        if self.sessions().iter().all(is_final) { Finality::Final } else { Finality::Provisional }
    }

    /// Marks the codes that were asked for and never came.
    fn mark_missing<W: Write>(&self, seen: &BTreeSet<StockCode>, writer: &mut Writer<W>) -> Result<()> {
        for code in self.codes.iter().flatten().filter(|code| !seen.contains(code)) {
            writer.missing(code.as_str(), "the source has no such name on these sessions and markets")?;
        }
        Ok(())
    }

    /// The preamble of an ordered stream of shares; adapters change what differs.
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
            finality: self.finality(source),
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
    Infomax,
    Krx,
    Kiwoom,
    KrxOpenapi,
    Kis,
    Marcap,
    Csv,
    Sim,
}

/// All sources.
pub const ALL: &[Source] = &[
    Source::Infomax,
    Source::Kis,
    Source::Kiwoom,
    Source::Krx,
    Source::KrxOpenapi,
    Source::Marcap,
    Source::Csv,
    Source::Sim,
];

/// Which sources serve a dataset, best first: a lower one never overwrites a higher one's data of the same finality.
const PREFERENCE: &[(&str, &[Source])] = &[
    (
        "stocks",
        &[
            Source::Infomax,
            Source::KrxOpenapi,
            Source::Kis,
            Source::Krx,
            Source::Marcap,
            Source::Csv,
            Source::Sim,
        ],
    ),
    (
        "ohlcv",
        &[
            Source::Infomax,
            Source::KrxOpenapi,
            Source::Kis,
            Source::Kiwoom,
            Source::Krx,
            Source::Marcap,
            Source::Csv,
            Source::Sim,
        ],
    ),
    (
        "market-cap",
        &[Source::Infomax, Source::KrxOpenapi, Source::Krx, Source::Marcap, Source::Csv, Source::Sim],
    ),
    ("sectors", &[Source::Kis, Source::Krx, Source::Csv, Source::Sim]),
    ("index-components", &[Source::Kis, Source::Infomax, Source::Krx, Source::Csv, Source::Sim]),
    ("floating-shares", &[Source::Kiwoom, Source::Csv, Source::Sim]),
    ("etf-portfolios", &[Source::Infomax, Source::Kis, Source::Krx, Source::Csv, Source::Sim]),
    ("ohlcv-minute", &[Source::Kis, Source::Kiwoom, Source::Csv, Source::Sim]),
    (
        "investor-trading",
        &[Source::Infomax, Source::Kis, Source::Kiwoom, Source::Krx, Source::Csv, Source::Sim],
    ),
];

/// The sources that serve a dataset, best first, by the user's order (`KDATA_SOURCES`) where there is one.
pub fn preference(dataset: &str, settings: &Settings) -> Vec<Source> {
    let shipped =
        PREFERENCE.iter().find(|(name, _)| *name == dataset).map_or(&[][..], |(_, sources)| sources);
    let mut sources = shipped.to_vec();
    let place = |source: &Source| settings.sources.iter().position(|name| name == source.name());
    sources.sort_by_key(|source| place(source).unwrap_or(usize::MAX));
    sources
}

impl Source {
    /// The name on the command line and in streams.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infomax => "infomax",
            Self::Krx => "krx",
            Self::Kiwoom => "kiwoom",
            Self::KrxOpenapi => "krx-openapi",
            Self::Kis => "kis",
            Self::Marcap => "marcap",
            Self::Csv => "csv",
            Self::Sim => "sim",
        }
    }

    /// The source of that name.
    pub fn find(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|s| s.name() == name)
    }

    /// Is the source set up? Simulated data are never taken unasked.
    pub fn is_configured(self, settings: &Settings) -> bool {
        match self {
            Self::Infomax => settings.infomax.key.is_some(),
            Self::Krx => settings.krx_is_on,
            Self::Kiwoom => settings.kiwoom.key.is_some() && settings.kiwoom.secret.is_some(),
            Self::KrxOpenapi => settings.krx_openapi.key.is_some(),
            Self::Kis => settings.kis.key.is_some(),
            Self::Marcap => settings.marcap.is_some(),
            Self::Csv => settings.csv.folder.is_some(),
            Self::Sim => false,
        }
    }

    /// How its vendor is reached, where there is one.
    pub fn vendor(self, settings: &Settings) -> Option<&VendorSettings> {
        match self {
            Self::Infomax => Some(&settings.infomax),
            Self::Krx => Some(&settings.krx),
            Self::Kiwoom => Some(&settings.kiwoom),
            Self::KrxOpenapi => Some(&settings.krx_openapi),
            Self::Kis => Some(&settings.kis),
            Self::Marcap | Self::Csv | Self::Sim => None,
        }
    }

    /// What it allows a key on one day (KST): calls, and bytes of answers; `None` where nothing is known of a quota.
    pub fn quota(self, settings: &Settings) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Infomax => (None, Some(settings.infomax_bytes.unwrap_or(infomax::BYTES_A_DAY))),
            Self::KrxOpenapi => (Some(krx_openapi::CALLS_A_DAY), None),
            _ => (None, None),
        }
    }

    /// Simulated data stay out of a live database.
    pub fn is_simulated(name: &str) -> bool {
        name == Self::Sim.name()
    }

    /// Does it read files, in which a session may be missing without the run having failed?
    pub fn reads_files(self) -> bool {
        self == Self::Marcap
    }

    /// Does it ask code by code, so that it needs to know who was listed?
    pub fn asks_by_code(self, dataset: &str) -> bool {
        match self {
            Self::Infomax => !matches!(dataset, "stocks" | "index-components"),
            Self::Krx => dataset == "etf-portfolios",
            Self::Kiwoom => true,
            Self::KrxOpenapi | Self::Marcap | Self::Sim => false,
            Self::Kis => !matches!(dataset, "stocks" | "sectors" | "index-components"),
            // Files may lack the market and the kind of security, which a bar must have.
            Self::Csv => dataset == "ohlcv",
        }
    }
}

/// The first source of the preference list that is set up and has published the last session asked for, and still tells
/// it; else the one that will have it first: it says since when.
pub fn preferred(
    dataset: &str,
    last: Option<NaiveDate>,
    calendar: &Calendar,
    now: DateTime<Utc>,
    settings: &Settings,
) -> Result<Source> {
    let serving = preference(dataset, settings);
    let ready: Vec<Source> = serving.iter().copied().filter(|s| s.is_configured(settings)).collect();
    let state = |source: Source| match last {
        Some(session) => published::state(source, dataset, session, calendar, now),
        None => published::State::Final,
    };
    let has = |source: &&Source| {
        !matches!(state(**source), published::State::NotYet { .. } | published::State::Gone)
    };
    // Where nobody has it, whoever will have it first says so.
    let soonest = || {
        let from = |source: &Source| match state(*source) {
            published::State::NotYet { from } => Some((from, *source)),
            _ => None,
        };
        let all = ready.iter().filter_map(from);
        all.reduce(|first, other| if other.0 < first.0 { other } else { first }).map(|(_, source)| source)
    };
    let names: Vec<_> = serving.iter().map(|s| s.name()).collect();
    let hint =
        if serving.contains(&Source::Marcap) { "marcap needs no key (set KDATA_MARCAP), " } else { "" };
    ready.iter().find(has).copied().or_else(soonest).or(ready.first().copied()).ok_or_else(|| {
        Error::usage(
            format!("no source of {dataset} is set up"),
            format!(
                "set up one of {}: .env.example says how; {hint}--source sim needs nothing",
                names.join(", ")
            ),
        )
    })
}

/// The rules that sources check on their own answers, beyond those of the datasets.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    std::iter::once(&ROW_READS)
        .chain(marcap::RULES)
        .chain(infomax::RULES)
        .chain(krx::RULES)
        .chain(kiwoom::RULES)
}

/// A vendor's row for a reject, behind its key: promote looks for list and session, or code and session, at the start of
/// rejected rows, so that their list is not taken for whole, nor their name for gone.
fn keyed(key: &str, row: &impl serde::Serialize) -> Vec<u8> {
    let mut raw = format!("{key},").into_bytes();
    serde_json::to_writer(&mut raw, row).expect("plain data");
    raw
}

/// Keeps a row that does not read, behind what it is about.
fn reject<W: Write>(
    writer: &mut Writer<W>,
    what: &str,
    odd: &text::Odd,
    row: &impl std::fmt::Debug,
) -> Result<()> {
    writer.reject(0, ROW_READS.name, &format!("{what}: {odd}"), format!("{what},{row:?}").as_bytes())
}

/// What every source checks while it reads its answers.
pub static ROW_READS: Rule = Rule {
    name: "source.row_reads",
    severity: Severity::Reject,
    scope: Scope::Row,
    says: "a row of the source's answer does not read",
    why: "A field that must be there is blank, or holds something else than its kind: a source that changed its answer, or \
          a damaged one. The row is kept with the reject as it came; the answer it stood in is in the spool.",
    shows: &[],
};

/// What a job will ask, as far as it is known before.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// Calls over the network.
    pub calls: u64,
    /// At the configured rate.
    pub seconds: f64,
    /// What else is to be said, beginning with a separator.
    pub remark: String,
}

impl Plan {
    /// So many calls at a rate.
    pub fn new(calls: usize, rate: f64) -> Self {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        Self { calls: calls.into(), seconds: f64::from(calls) / rate, remark: String::new() }
    }
}

/// A source that was opened for a job.
pub enum Opened<'a> {
    /// Yearly files.
    Marcap(marcap::Extract),
    /// A user's own file.
    Csv(Box<csv::Extract>),
    /// The simulated market.
    Sim(Box<sim::Extract>),
    /// The portal's screens.
    Krx(Box<krx::Extract<'a>>),
    /// Whole markets by date.
    KrxOpenapi(Box<krx_openapi::Extract<'a>>),
    /// Name by name.
    Infomax(Box<infomax::Extract<'a>>),
    /// Name by name, a broker.
    Kiwoom(Box<kiwoom::Extract<'a>>),
    /// Name by name, and master files.
    Kis(Box<kis::Extract<'a>>),
}

impl<'a> Opened<'a> {
    /// Finds out what the source can give; nothing is written yet.
    pub async fn open(source: Source, job: &'a Job<'a>) -> Result<Self> {
        if !preference(job.dataset.name, job.settings).contains(&source) {
            let serving: Vec<_> =
                preference(job.dataset.name, job.settings).iter().map(|s| s.name()).collect();
            return Err(Error::usage(
                format!("{} has no {}", source.name(), job.dataset.name),
                format!("take one of {}", serving.join(", ")),
            ));
        }
        Ok(match source {
            Source::Infomax => Self::Infomax(Box::new(infomax::Extract::open(job)?)),
            Source::Krx => Self::Krx(Box::new(krx::Extract::open(job)?)),
            Source::Kiwoom => Self::Kiwoom(Box::new(kiwoom::Extract::open(job)?)),
            Source::KrxOpenapi => Self::KrxOpenapi(Box::new(krx_openapi::Extract::open(job)?)),
            Source::Kis => Self::Kis(Box::new(kis::Extract::open(job)?)),
            Source::Marcap => Self::Marcap(marcap::Extract::open(job).await?),
            Source::Csv => Self::Csv(Box::new(csv::Extract::open(job)?)),
            Source::Sim => Self::Sim(Box::new(sim::Extract::open(job)?)),
        })
    }

    /// What it will ask.
    pub fn plan(&self, job: &Job) -> Plan {
        match self {
            Self::Marcap(_) | Self::Sim(_) => Plan { remark: ": local files".into(), ..Plan::default() },
            Self::Infomax(extract) => extract.plan(job),
            Self::Krx(extract) => extract.plan(job),
            Self::Kiwoom(extract) => extract.plan(job),
            Self::KrxOpenapi(extract) => extract.plan(job),
            Self::Kis(extract) => extract.plan(job),
            Self::Csv(extract) => extract.plan(),
        }
    }

    /// Asks for what has to be there before the stream can say what it holds.
    pub async fn prepare(&mut self, job: &Job<'_>) -> Result<()> {
        match self {
            Self::Krx(extract) => extract.prepare(job).await,
            _ => Ok(()),
        }
    }

    /// What the stream will say of itself.
    pub fn preamble(&self, job: &Job) -> Preamble {
        match self {
            Self::Infomax(extract) => extract.preamble(job),
            Self::Krx(extract) => extract.preamble(job),
            Self::Kiwoom(extract) => extract.preamble(job),
            Self::KrxOpenapi(extract) => extract.preamble(job),
            Self::Kis(extract) => extract.preamble(job),
            Self::Marcap(extract) => extract.preamble(job),
            Self::Csv(extract) => extract.preamble(job),
            Self::Sim(extract) => extract.preamble(job),
        }
    }

    /// Writes rows and marks.
    pub async fn write<W: Write>(self, job: &Job<'_>, writer: &mut Writer<W>) -> Result<()> {
        match self {
            Self::Infomax(extract) => extract.write(job, writer).await,
            Self::Krx(extract) => extract.write(job, writer).await,
            Self::Kiwoom(extract) => extract.write(job, writer).await,
            Self::KrxOpenapi(extract) => extract.write(job, writer).await,
            Self::Kis(extract) => extract.write(job, writer).await,
            Self::Marcap(extract) => extract.write(job, writer),
            Self::Csv(extract) => extract.write(job, writer),
            Self::Sim(extract) => extract.write(job, writer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;

    #[test]
    fn every_dataset_has_sources_and_every_source_serves_one() {
        for dataset in dataset::ALL {
            assert!(PREFERENCE.iter().any(|(name, _)| *name == dataset.name), "{}", dataset.name);
        }
        for (name, sources) in PREFERENCE {
            assert!(dataset::find(name).is_some(), "{name}");
            assert!(sources.ends_with(&[Source::Sim]), "{name}");
        }
        for source in ALL {
            assert!(PREFERENCE.iter().any(|(_, sources)| sources.contains(source)), "{}", source.name());
            assert_eq!(Source::find(source.name()), Some(*source));
        }
    }
}
