//! Which source a command asks: `--source`, or the best that is set up; and the seed of the simulated one.

use chrono::NaiveDate;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Context;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::source::{self, Source};

/// `--source` and `--seed`.
#[derive(Args, Debug, Clone)]
pub(super) struct Choice {
    /// Which source; absent: the best that is set up and has published
    #[arg(long, value_parser = source_parser())]
    source: Option<Source>,
    /// Seed of the simulated market
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

impl Choice {
    /// The source to ask about a range of days.
    pub(super) fn resolve(
        &self,
        dataset: &Dataset,
        (from, to): (NaiveDate, NaiveDate),
        context: &Context,
    ) -> Result<Source> {
        let (calendar, settings) = (&context.calendar, &context.settings);
        let last = calendar.sessions(from, to).last().copied();
        self.source.map_or_else(|| source::preferred(dataset.name, last, calendar, context.now, settings), Ok)
    }
}

fn source_parser() -> impl TypedValueParser<Value = Source> {
    let names = PossibleValuesParser::new(source::ALL.iter().map(|s| s.name()));
    names.map(|name| Source::find(&name).expect("one of the possible values"))
}
