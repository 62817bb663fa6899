//! `kdata extract`: asks a source, writes a stream.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::time::Instant;

use super::{Context, choice, printer, range, suggest};
use crate::dataset::Dataset;
use crate::db::Place;
use crate::db::cluster::home;
use crate::error::{Error, Result};
use crate::market::{Day, Market, StockCode};
use crate::source::{Job, Plan, Source};
use crate::stage::block_on;
use crate::{stage, stream};

const EXAMPLES: &str = "\
Examples:
  kdata extract ohlcv --date today | kdata validate | kdata load
  kdata extract stocks --source marcap --from -5s --to -1s | kdata validate | kdata load
  kdata extract ohlcv --source sim --date -1s --market KONEX | head";

/// Ask a source for a dataset; writes a stream to stdout
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which dataset
    #[arg(value_parser = super::dataset_parser())]
    dataset: &'static Dataset,
    #[command(flatten)]
    range: range::Range,
    #[command(flatten)]
    choice: choice::Choice,
    /// Only these codes, separated by commas; - reads them from stdin. Default: all that were listed then
    #[arg(long, value_name = "A,B")]
    codes: Option<String>,
    /// Only these markets
    #[arg(long, value_name = "KOSPI,KOSDAQ,KONEX", value_delimiter = ',', value_parser = market)]
    market: Vec<Market>,
    /// Only these indices, for index-components: 1028 (KOSPI 200), 2203 (KOSDAQ 150)
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = index)]
    index: Vec<String>,
    /// Parse the answers kept from before again, without a call
    #[arg(long)]
    replay: bool,
    /// Show what would be asked, how many calls and how long; ask nothing
    #[arg(long, conflicts_with = "replay")]
    dry_run: bool,
}

fn market(text: &str) -> std::result::Result<Market, String> {
    Market::parse(text.as_bytes()).ok_or_else(|| "expected KOSPI, KOSDAQ or KONEX".into())
}

fn index(text: &str) -> std::result::Result<String, String> {
    let plain = (2..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| text.to_owned()).ok_or_else(|| "expected an index code, e.g. 1028 for KOSPI 200".into())
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let started = Instant::now();
    let (source, job) = match prepare(args, context) {
        Ok(prepared) => prepared,
        Err(error) => {
            // So that the next stage tells the cause, and not only that nothing came.
            stream::write_abort(&mut std::io::stdout(), &error)?;
            return Err(error);
        }
    };
    let sessions = job.sessions().len();
    context.printer.remark(what(&job, source, sessions));
    if args.dry_run {
        let plan = block_on(stage::extract::plan(source, &job))?;
        return context.printer.line(plan_text(&plan));
    }
    super::stop_on_signals(&job.stop, context.printer);
    let counts = block_on(stage::extract::extract(source, &job, std::io::stdout().lock()))?;
    if counts.missing > 0 && (args.codes.is_some() || !source.reads_files()) {
        return Err(Error::Partial {
            what: format!(
                "{} could not give {} of the codes, lists or sessions asked for",
                source.name(),
                counts.missing
            ),
            help: "the stream is good and marks them #missing; promote takes it when they are few: check the codes, run \
                   again later, or ask another source"
                .into(),
        });
    }
    if counts.missing > 0 {
        context.printer.warning(format!(
            "{} has no data for {} of {sessions} sessions; they are marked #missing, and `kdata due {}` lists them",
            source.name(),
            counts.missing,
            args.dataset.name,
        ));
    }
    context.printer.remark(format!(
        "extract: {} rows, {} rejected, {} flagged, {:.1} s",
        printer::count(counts.rows),
        printer::count(counts.rejected),
        printer::count(counts.flagged),
        started.elapsed().as_secs_f64()
    ));
    std::io::stdout().flush().map_err(Error::output)
}

/// Everything that can be wrong before a source is asked.
fn prepare<'a>(args: &Args, context: &'a Context) -> Result<(Source, Job<'a>)> {
    let (from, to) = args.range.resolve(&context.calendar, context.today())?;
    let (calendar, settings) = (&context.calendar, &context.settings);
    let source = args.choice.resolve(args.dataset, (from, to), context)?;
    let state = home(settings)?;
    let now = (context.now, context.run_id());
    let mut job = Job {
        markets: Market::ALL
            .into_iter()
            .filter(|m| args.market.is_empty() || args.market.contains(m))
            .collect(),
        indices: args.index.clone(),
        seed: args.choice.seed,
        replay: args.replay,
        progress: context.printer.progress(),
        ..Job::new(args.dataset, (from, to), now, calendar, settings, state)
    };
    job.codes = args.codes.as_deref().map(|text| codes(text, source, &job, context)).transpose()?;
    // A source that needs no names must not start a database for them.
    if source.asks_by_code(args.dataset.name) && Place::exists(settings)? {
        let known = block_on(async {
            let database = context.database().await?;
            stage::extract::know_names(source, &mut job, &database.place).await
        });
        if let Err(error) = known {
            context.printer.warning(format!("who was listed is taken from the source itself: {error}"));
        }
    }
    Ok((source, job))
}

/// What would be asked.
pub(super) fn plan_text(plan: &Plan) -> String {
    let minutes = plan.seconds / 60.0;
    let time = if minutes < 1.0 { format!("{:.0} s", plan.seconds) } else { format!("{minutes:.0} min") };
    let calls = if plan.calls == 1 { "call" } else { "calls" };
    format!("{} {calls}, about {time} at the configured rate{}", printer::count(plan.calls), plan.remark)
}

/// The resolved sessions in a line, also why there is none.
fn what(job: &Job, source: Source, sessions: usize) -> String {
    let dataset = job.dataset.name;
    match (job.calendar.day(job.from), sessions) {
        (Day::Closed(reason), 0) if job.from == job.to => {
            format!("extract: {} is closed ({reason}): nothing to ask", job.from)
        }
        _ if job.from == job.to => format!("extract: {dataset} of {} from {}", job.from, source.name()),
        _ => format!(
            "extract: {dataset} of {} to {} ({sessions} sessions) from {}",
            job.from,
            job.to,
            source.name()
        ),
    }
}

/// The codes of `--codes`; a name in place of one is answered with its code.
fn codes(text: &str, source: Source, job: &Job, context: &Context) -> Result<BTreeSet<StockCode>> {
    let mut list = String::new();
    if text == "-" {
        for line in std::io::stdin().lock().lines() {
            list.push_str(&line.map_err(|e| Error::io("cannot read codes from stdin", e))?);
            list.push(',');
        }
    } else {
        list.push_str(text);
    }
    // Names hold blanks; codes never do.
    let words = list.split([',', '\t']).map(str::trim).filter(|w| !w.is_empty());
    let words = words.flat_map(|word| {
        let parts: Vec<&str> = word.split(' ').filter(|part| !part.is_empty()).collect();
        if parts.iter().all(|part| StockCode::parse(part.as_bytes()).is_some()) { parts } else { vec![word] }
    });
    let simulated = if source == Source::Sim { Some(job) } else { None };
    let codes: BTreeSet<StockCode> =
        words.map(|word| suggest::code(word, context, simulated)).collect::<Result<_>>()?;
    if codes.is_empty() {
        return Err(Error::usage("--codes names no code", "write --codes 005930,000660"));
    }
    Ok(codes)
}
