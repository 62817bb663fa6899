//! load: one validated stream into one staging table, in one transaction with its ledger row, by one COPY.

use std::io::Read;
use std::mem;

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Transaction};

use crate::dataset;
use crate::db::copy::Encoder;
use crate::db::failed;
use crate::db::ledger::{About, Run};
use crate::db::migrate::Kind;
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
pub async fn load<R: Read + Send + 'static>(
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
        Ok(counts) => (counts, Ok(())),
        Err(error) => (Counts::default(), Err(error)),
    };
    // A refusal comes first, then what is wrong with the stream, then what the server made of it.
    let outcome = match (refused, verdict, staged) {
        (Some(error), _, _) | (None, Err(error), _) | (None, Ok(()), Err(error)) => Err(error),
        (None, Ok(()), Ok(staged)) => {
            let staged = staged.expect("what is not refused is staged");
            commit(transaction, &preamble, staged, counts, &mut run).await
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

fn finished(reading: std::result::Result<Result<Counts>, tokio::task::JoinError>) -> Result<Counts> {
    reading.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Reads the stream on a thread of its own and proves its end.
fn read<R: Read>(input: R, pieces: &mpsc::Sender<Piece>) -> Result<Counts> {
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
    Ok(reader.counts())
}

/// Rows on their way into the COPY: encoded for the server, or as they stand.
struct Rows {
    encoder: Option<Encoder>,
    ascent: Option<Ascent>,
    buffer: Vec<u8>,
}

impl Rows {
    fn new(preamble: &Preamble) -> Self {
        let encoder = Encoder::new(preamble.dataset);
        let ascent = (preamble.ordered && preamble.dataset.is_intraday()).then(Ascent::default);
        let mut buffer = Vec::with_capacity(CHUNK + SLACK);
        if encoder.is_some() {
            Encoder::begin(&mut buffer);
        }
        Self { encoder, ascent, buffer }
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
            if let Some(ascent) = &mut self.ascent {
                ascent.go_on(row)?;
            }
            encoder.row(row, &mut self.buffer).ok_or_else(|| Error::Refused {
                what: format!("a row does not read: {}", stream::printable(row)),
                help: "validated rows do: the stream was changed after `kdata validate`; run the whole pipe again"
                    .into(),
            })?;
            if self.buffer.len() >= CHUNK {
                send(mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + SLACK)).into());
            }
        }
        Ok(())
    }

    /// What is left at the end of a good stream.
    fn finish(mut self) -> Option<Bytes> {
        self.encoder.map(|_| {
            Encoder::end(&mut self.buffer);
            self.buffer.into()
        })
    }
}

/// Looks that minute bars ascend by session, name and minute, so that none comes twice. `kdata validate` made sure; but
/// promote may write them where no index watches, and a stream may be made by other means.
#[derive(Default)]
struct Ascent {
    /// The key of the row before: its session, name and minute.
    last: [u8; Ascent::KEY],
}

impl Ascent {
    const CODE: usize = 6;
    const TIME: usize = "2026-11-20T09:00:00+09:00".len();
    const DAY: usize = "2026-11-20".len();
    const KEY: usize = Self::CODE + Self::TIME;

    /// Takes a row, which begins with code and time.
    fn go_on(&mut self, row: &[u8]) -> Result<()> {
        let mut key = [0; Self::KEY];
        let is_read = row.len() > Self::KEY + 1
            && row[Self::CODE] == b','
            && row[Self::KEY + 1] == b','
            && row[..=Self::KEY].ends_with(b"+09:00");
        if is_read {
            let (code, time) = (&row[..Self::CODE], &row[Self::CODE + 1..=Self::KEY]);
            let (day, minute) = time.split_at(Self::DAY);
            key[..Self::DAY].copy_from_slice(day);
            key[Self::DAY..Self::DAY + Self::CODE].copy_from_slice(code);
            key[Self::DAY + Self::CODE..].copy_from_slice(minute);
        }
        if key <= self.last {
            return Err(Error::Refused {
                what: format!(
                    "the stream is out of the order that it promises (order=key) at: {}",
                    String::from_utf8_lossy(&row[..row.len().min(Self::KEY + 1)])
                ),
                help: "it was changed after `kdata validate`: run the whole pipe again".into(),
            });
        }
        self.last = key;
        Ok(())
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
    let create = format!("CREATE TABLE staging.b{batch} ({columns})");
    transaction.batch_execute(&create).await.map_err(&doing)?;
    let format = if Encoder::new(dataset).is_some() { "binary" } else { "csv" };
    let copy =
        format!("COPY staging.b{batch} ({}) FROM STDIN WITH (FORMAT {format}, FREEZE)", dataset.header());
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
    run: &mut Run,
) -> Result<i64> {
    let doing = failed("cannot record the batch");
    if staged.rows != counts.rows {
        return Err(Error::stream(format!(
            "the server took {} rows, the stream holds {}",
            staged.rows, counts.rows
        )));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_ascend() {
        let row = |code: &str, time: &str| format!("{code},2026-11-{time}:00+09:00,1,1,1,1,1,").into_bytes();
        let mut ascent = Ascent::default();
        for (code, time) in [
            ("000020", "19T09:00"),
            ("000020", "19T09:01"),
            ("000040", "19T09:00"),
            ("000020", "20T09:00"),
            ("000020", "20T09:01"),
        ] {
            assert!(ascent.go_on(&row(code, time)).is_ok(), "{code} {time}");
        }
        for bad in [
            row("000020", "20T09:01"),
            row("000020", "20T09:00"),
            row("000010", "20T15:30"),
            row("999999", "19T15:30"),
            b"000020,2026-11-20T01:00:00+00:00,1,1,1,1,1,".to_vec(),
            b"x".to_vec(),
        ] {
            let mut after = Ascent { last: ascent.last };
            assert!(after.go_on(&bad).is_err(), "{}", String::from_utf8_lossy(&bad));
        }
    }
}
