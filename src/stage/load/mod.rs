//! load: one validated stream into one staging table, in one transaction with its ledger row, by one COPY.

mod minutes;

use std::mem;

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Transaction};

use self::minutes::{Day, Minutes};
use crate::dataset;
use crate::db::copy::Encoder;
use crate::db::ledger::{About, Run};
use crate::db::migrate::Kind;
use crate::db::{failed, staging};
use crate::error::{Error, Result};
use crate::source::Source;
use crate::stream::{self, Block, Counts, Mark, Preamble, Reader, Stage};

/// Pieces on their way from the pipe to the server: back-pressure, not a queue.
const IN_FLIGHT: usize = 16;
/// Small enough to stay in the processor's cache on its way.
const CHUNK: usize = 64 * 1024;
/// The row that fills a chunk may go so far beyond it without moving the others.
const SLACK: usize = 1024;

/// A staged batch.
#[derive(Debug)]
pub struct Loaded {
    /// Its number.
    pub batch: i64,
    /// Its dataset.
    pub dataset: &'static str,
    /// What the stream held.
    pub counts: Counts,
}

/// What the reading thread hands over.
enum Piece {
    Begin(Box<Preamble>),
    Rows(Bytes),
    Mark(Mark),
}

/// Loads a stream. The ledger's connection keeps the run's record and its rejects whatever becomes of the batch. `about`:
/// what is known without the stream, which may end before it says so.
pub async fn load<R: std::io::Read + Send + 'static>(
    input: R,
    mut client: Client,
    ledger: Client,
    kind: Kind,
    about: About<'_>,
) -> Result<Loaded> {
    let (sender, mut pieces) = mpsc::channel(IN_FLIGHT);
    let reading = tokio::task::spawn_blocking(move || read(input, &sender));
    let Some(Piece::Begin(preamble)) = pieces.recv().await else {
        let outcome = finished(reading.await);
        let error = outcome.err().unwrap_or_else(|| Error::stream("it holds nothing"));
        Run::begin(ledger, "load", about).await?.end(Err(&error), Counts::default()).await?;
        return Err(error);
    };
    let mut run = Run::begin(ledger, "load", About::from(&*preamble)).await?;
    let refused = refusal(&preamble, kind);
    let transaction = client.transaction().await.map_err(failed("cannot begin the load"))?;
    let staged = match &refused {
        None => stage(&transaction, &preamble, &mut pieces, &mut run).await.map(Some),
        Some(_) => Ok(None),
    };
    // However staging ended, the stream is read to its end: it may say why, and its rejects are kept.
    while let Some(piece) = pieces.recv().await {
        if let Piece::Mark(mark) = piece {
            run.mark(mark).await?;
        }
    }
    let (counts, verdict) = match finished(reading.await) {
        Ok((counts, days)) => (counts, Ok(days)),
        Err(error) => (Counts::default(), Err(error)),
    };
    // A refusal comes first, then what is wrong with the stream, then what the server made of it.
    let outcome = match (refused, verdict, staged) {
        (Some(error), _, _) | (None, Err(error), _) | (None, Ok(_), Err(error)) => Err(error),
        (None, Ok(days), Ok(staged)) => {
            let staged = staged.expect("what is not refused is staged");
            commit(transaction, &preamble, staged, counts, days, &mut run).await
        }
    };
    match outcome {
        Ok(batch) => {
            run.end(Ok(Some(batch)), counts).await?;
            Ok(Loaded { batch, dataset: preamble.dataset.name, counts })
        }
        Err(error) => {
            run.end(Err(&error), counts).await?;
            Err(error)
        }
    }
}

/// What the reading thread ends with: the counts, and where the rows are minutes in order what each day of a name holds.
type Read = (Counts, Option<Vec<Day>>);

fn finished(reading: std::result::Result<Result<Read>, tokio::task::JoinError>) -> Result<Read> {
    reading.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Reads the stream on a thread of its own and proves its end.
fn read<R: std::io::Read>(input: R, pieces: &mpsc::Sender<Piece>) -> Result<Read> {
    let (mut reader, preamble) = Reader::new(input)?;
    let mut rows = Rows::new(&preamble);
    // The receiver hangs up only when it has failed, and then reports its own error.
    let _ = pieces.blocking_send(Piece::Begin(Box::new(preamble)));
    while let Some(block) = reader.next_block()? {
        match block {
            Block::Rows(block) => {
                rows.take(block, |chunk| {
                    let _ = pieces.blocking_send(Piece::Rows(chunk));
                })?;
            }
            Block::Mark(line) => {
                let _ = pieces.blocking_send(Piece::Mark(Mark::parse(line)?));
            }
        }
    }
    if let Some(chunk) = rows.finish() {
        let _ = pieces.blocking_send(Piece::Rows(chunk));
    }
    Ok((reader.counts(), rows.minutes.map(Minutes::days)))
}

/// Rows on their way into the COPY: encoded for the server, or as they stand.
struct Rows {
    encoder: Option<Encoder>,
    minutes: Option<Minutes>,
    buffer: Vec<u8>,
}

impl Rows {
    fn new(preamble: &Preamble) -> Self {
        let encoder = Encoder::new(preamble.dataset);
        let minutes =
            (preamble.ordered && preamble.dataset.is_intraday()).then(|| Minutes::new(preamble.dataset));
        let mut buffer = Vec::with_capacity(CHUNK + SLACK);
        if encoder.is_some() {
            Encoder::begin(&mut buffer);
        }
        Self { encoder, minutes, buffer }
    }

    /// Takes whole rows and hands chunks on.
    fn take(&mut self, rows: &[u8], mut send: impl FnMut(Bytes)) -> Result<()> {
        let Some(encoder) = &mut self.encoder else {
            // COPY does not care where a piece ends.
            rows.chunks(CHUNK).for_each(|chunk| send(Bytes::copy_from_slice(chunk)));
            return Ok(());
        };
        let mut at = 0;
        for end in memchr::memchr_iter(b'\n', rows) {
            let row = &rows[at..end];
            at = end + 1;
            encoder.row(row, &mut self.buffer).ok_or_else(|| Error::Refused {
                what: format!("a row does not read: {}", stream::printable(row)),
                help: "validated rows do: the stream was changed after `kdata validate`; run the whole pipe again"
                    .into(),
            })?;
            if let Some(minutes) = &mut self.minutes {
                let value = |column| encoder.integer(column, &self.buffer);
                minutes.take(row, value)?;
            }
            if self.buffer.len() >= CHUNK {
                send(mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + SLACK)).into());
            }
        }
        Ok(())
    }

    /// What is left at the end of a good stream.
    fn finish(&mut self) -> Option<Bytes> {
        self.encoder.as_ref().map(|_| {
            Encoder::end(&mut self.buffer);
            mem::take(&mut self.buffer).into()
        })
    }
}

fn refusal(preamble: &Preamble, kind: Kind) -> Option<Error> {
    if preamble.stage != Stage::Validated {
        return Some(Error::Refused {
            what: "the stream was not validated".into(),
            help: "put `kdata validate` between extract and load".into(),
        });
    }
    let rules = dataset::rules_version();
    if preamble.rules.as_deref() != Some(rules.as_str()) {
        let by = preamble.rules.as_deref().unwrap_or("none");
        return Some(Error::Refused {
            what: format!("the stream was validated by other rules ({by}) than this kdata's ({rules})"),
            help: "use the same kdata for validate and load: run the whole pipe again".into(),
        });
    }
    let simulated = Source::is_simulated(&preamble.source);
    match (simulated, kind) {
        (true, Kind::Live) => Some(Error::Refused {
            what: format!("{} data are simulated, and this database is a live one", preamble.source),
            help: "try it with `kdata demo`, or in a database made by `kdata db migrate --demo`".into(),
        }),
        (false, Kind::Demo) => Some(Error::Refused {
            what: format!("{} data are real, and this database is a demo", preamble.source),
            help: "load them into a live database (`kdata db migrate`)".into(),
        }),
        _ => None,
    }
}

/// A staging table that holds the rows, not yet committed.
struct Staged {
    batch: i64,
    rows: u64,
}

async fn stage(
    transaction: &Transaction<'_>,
    preamble: &Preamble,
    pieces: &mut mpsc::Receiver<Piece>,
    run: &mut Run,
) -> Result<Staged> {
    let doing = failed("cannot stage the rows");
    let sequence = "SELECT nextval(pg_get_serial_sequence('ops.batches', 'batch_id'))";
    let batch: i64 = transaction.query_one(sequence, &[]).await.map_err(&doing)?.get(0);
    // A table per batch: dropping it is ten times faster than emptying a shared one, and leaves no bloat.
    let dataset = preamble.dataset;
    let columns = dataset.column_list(|c| format!("{} {}", c.name, c.sql));
    let table = staging::table(batch);
    let create = format!("CREATE TABLE {table} ({columns})");
    transaction.batch_execute(&create).await.map_err(&doing)?;
    let format = if Encoder::new(dataset).is_some() { "binary" } else { "csv" };
    let copy = format!("COPY {table} ({}) FROM STDIN WITH (FORMAT {format}, FREEZE)", dataset.header());
    let sink = transaction.copy_in(&copy).await.map_err(&doing)?;
    pin_mut!(sink);
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Rows(rows) => sink.send(rows).await.map_err(&doing)?,
            Piece::Mark(mark) => run.mark(mark).await?,
            Piece::Begin(_) => {}
        }
    }
    // The reader's verdict is not known here: rows are only counted, the caller commits.
    let rows = sink.finish().await.map_err(&doing)?;
    Ok(Staged { batch, rows })
}

async fn commit(
    transaction: Transaction<'_>,
    preamble: &Preamble,
    staged: Staged,
    counts: Counts,
    days: Option<Vec<Day>>,
    run: &mut Run,
) -> Result<i64> {
    let doing = failed("cannot record the batch");
    if staged.rows != counts.rows {
        return Err(Error::stream(format!(
            "the server took {} rows, the stream holds {}",
            staged.rows, counts.rows
        )));
    }
    if let Some(days) = days {
        minutes::keep(&transaction, staged.batch, &days).await?;
    }
    run.flush().await?;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    transaction
        .execute(
            "INSERT INTO ops.batches (batch_id, extract_run, dataset, source, from_time, to_time, scope, names, finality, \
             provides, ordered, value_unit, calendar, rules, rows, rejected, flagged, missing, state) \
             OVERRIDING SYSTEM VALUE \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 'staged')",
            &[
                &staged.batch,
                &preamble.run,
                &preamble.dataset.name,
                &preamble.source,
                &preamble.from,
                &preamble.to,
                &preamble.scope,
                &preamble.names.as_str(),
                &preamble.finality.as_str(),
                &preamble.provided(),
                &preamble.ordered,
                &preamble.value_unit,
                &preamble.calendar,
                &preamble.rules.as_deref().unwrap_or("none"),
                &number(counts.rows),
                &number(counts.rejected),
                &number(counts.flagged),
                &number(counts.missing),
            ],
        )
        .await
        .map_err(&doing)?;
    transaction
        .execute("UPDATE ops.runs SET batch_id = $2 WHERE run_id = $1", &[&run.id, &staged.batch])
        .await
        .map_err(&doing)?;
    transaction
        .execute("UPDATE ops.flags SET batch_id = $2 WHERE run_id = $1", &[&run.id, &staged.batch])
        .await
        .map_err(&doing)?;
    transaction.commit().await.map_err(&doing)?;
    Ok(staged.batch)
}
