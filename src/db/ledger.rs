//! The ledger: runs, rejects, flags, batches. It outlives what it tells of, so it is written on a connection of
//! its own, outside of the transaction that may be undone.

use chrono::NaiveDate;
use tokio_postgres::{Client, GenericClient};

use super::failed;
use crate::dataset::record::{parse_date, session_of};
use crate::dataset::{Dataset, TIME, rule};
use crate::error::{Error, Result};
use crate::stream::{Counts, Mark, MarkKind, Preamble};

/// Marks are written so many at a time, or earlier where they are long.
const BATCH: usize = 1000;
const BYTES: usize = 1024 * 1024;

/// What a run is about, as far as it is known when it begins.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct About<'a> {
    pub extract_run: Option<&'a str>,
    pub dataset: Option<&'static Dataset>,
    pub source: Option<&'a str>,
    pub range: Option<(NaiveDate, NaiveDate)>,
    pub batch: Option<i64>,
}

impl<'a> From<&'a Preamble> for About<'a> {
    fn from(preamble: &'a Preamble) -> Self {
        Self {
            extract_run: Some(&preamble.run),
            dataset: Some(preamble.dataset),
            source: Some(&preamble.source),
            range: Some((preamble.from, preamble.to)),
            batch: None,
        }
    }
}

/// One run, from its start to its end.
pub struct Run {
    /// Its number in `ops.runs`.
    pub id: i64,
    client: Client,
    dataset: Option<&'static Dataset>,
    marks: Vec<Mark>,
    /// How many bytes these are.
    held: usize,
    /// Rejects kept so far: known also of a stream without an end.
    rejects: u64,
}

impl Run {
    /// Writes that a run began.
    pub async fn begin(client: Client, command: &str, about: About<'_>) -> Result<Self> {
        let row = client
            .query_one(
                "INSERT INTO ops.runs (command, extract_run, dataset, source, from_time, to_time, batch_id) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING run_id",
                &[
                    &command,
                    &about.extract_run,
                    &about.dataset.map(|d| d.name),
                    &about.source,
                    &about.range.map(|r| r.0),
                    &about.range.map(|r| r.1),
                    &about.batch,
                ],
            )
            .await
            .map_err(failed("cannot write the run's record"))?;
        Ok(Self { id: row.get(0), client, dataset: about.dataset, marks: Vec::new(), held: 0, rejects: 0 })
    }

    /// Keeps remarks although what they are about was undone.
    pub async fn remarks(&self, batch: i64, remarks: &[Remark]) -> Result<()> {
        let Some(dataset) = self.dataset else {
            return Ok(());
        };
        replace_remarks(&self.client, self.id, batch, dataset.name, remarks).await
    }

    /// Writes why a batch was not promoted.
    pub async fn problem(&self, batch: i64, problem: &str) -> Result<()> {
        self.client
            .execute(
                "UPDATE ops.batches SET problem = $2 WHERE batch_id = $1 AND state = 'staged'",
                &[&batch, &problem],
            )
            .await
            .map_err(failed("cannot write why the batch was held"))?;
        Ok(())
    }

    /// Keeps a mark of the stream.
    pub async fn mark(&mut self, mark: Mark) -> Result<()> {
        self.held += mark.pairs.iter().map(|(_, value)| value.len()).sum::<usize>();
        self.marks.push(mark);
        if self.marks.len() >= BATCH || self.held >= BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes the marks that are still held.
    pub async fn flush(&mut self) -> Result<()> {
        let marks = std::mem::take(&mut self.marks);
        self.held = 0;
        let Some(dataset) = self.dataset.filter(|_| !marks.is_empty()) else {
            return Ok(());
        };
        let (rejects, remarks): (Vec<_>, Vec<_>) =
            marks.into_iter().partition(|m| m.kind == MarkKind::Reject);
        self.rejects += rejects.len() as u64;
        if !rejects.is_empty() {
            let text = |key: &str| rejects.iter().map(|m| storable(m.get(key))).collect::<Vec<_>>();
            let lines: Vec<Option<i64>> =
                rejects.iter().map(|m| m.get("line").and_then(|l| l.parse().ok())).collect();
            self.client
                .execute(
                    "INSERT INTO ops.rejects (run_id, dataset, line, rule, message, row) \
                     SELECT $1, $2, r.* FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[]) AS r",
                    &[&self.id, &dataset.name, &lines, &text("rule"), &text("msg"), &text("row")],
                )
                .await
                .map_err(failed("cannot keep the rejects"))?;
        }
        let remarks: Vec<Remark> = remarks.iter().map(|mark| Remark::of_mark(mark, dataset)).collect();
        write_remarks(&self.client, self.id, None, dataset.name, &remarks).await
    }

    /// Takes the run's record back: it found nothing to do.
    pub async fn forget(self) -> Result<()> {
        let query = "DELETE FROM ops.runs WHERE run_id = $1";
        self.client.execute(query, &[&self.id]).await.map_err(failed("cannot clear the run's record"))?;
        Ok(())
    }

    /// Writes how the run ended; what it wrote of the batch is already there.
    pub async fn end(
        mut self,
        outcome: std::result::Result<Option<i64>, &Error>,
        counts: Counts,
    ) -> Result<()> {
        self.flush().await?;
        let (state, code, reason, batch) = match outcome {
            Ok(batch) => ("ok", 0, None, batch),
            Err(error) => {
                let reason = match error {
                    Error::Upstream { reason, .. } => reason.clone(),
                    other => other.to_string(),
                };
                ("failed", i32::from(error.exit_code()), Some(storable(Some(&reason))), None)
            }
        };
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.client
            .execute(
                "UPDATE ops.runs SET finished_at = clock_timestamp(), state = $2, exit_code = $3, reason = $4, \
                 rows = $5, rejected = $6, flagged = $7, missing = $8, batch_id = coalesce($9, batch_id) WHERE run_id = $1",
                &[
                    &self.id,
                    &state,
                    &code,
                    &reason,
                    &number(counts.rows),
                    &number(counts.rejected.max(self.rejects)),
                    &number(counts.flagged),
                    &number(counts.missing),
                    &batch,
                ],
            )
            .await
            .map_err(failed("cannot write the run's end"))?;
        Ok(())
    }
}

/// The error about a batch that is not there, with those that are.
pub async fn no_batch(client: &Client, batch: i64) -> Error {
    let query = "SELECT format('%s (%s, %s)', batch_id, dataset, state) FROM ops.batches \
                 ORDER BY state <> 'staged', batch_id DESC LIMIT 5";
    let there = match client.query(query, &[]).await {
        Ok(rows) => rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(", "),
        Err(error) => return failed("cannot list the batches")(error),
    };
    let help = if there.is_empty() {
        "nothing was loaded yet: kdata extract … | kdata validate | kdata load".to_owned()
    } else {
        format!("there are {there}; `kdata runs` lists more")
    };
    Error::usage(format!("there is no batch {batch}"), help)
}

/// A remark as `ops.flags` keeps it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Remark {
    pub severity: String,
    pub rule: String,
    pub stock_code: Option<String>,
    pub time: Option<NaiveDate>,
    pub message: String,
}

impl Remark {
    fn of_mark(mark: &Mark, dataset: &Dataset) -> Self {
        let (mut code, mut time) = (None, None);
        let day = |part: &str| {
            // A minute begins with its session.
            let session = if dataset.is_intraday() { session_of(part.as_bytes()) } else { part.as_bytes() };
            parse_date(session)
        };
        // A key is the row's, column by column.
        let parts = |key| mark.get(key).unwrap_or_default().split(',');
        for (column, part) in dataset.key.iter().zip(parts("key")).filter(|(_, part)| !part.is_empty()) {
            if *column == TIME {
                time = day(part);
            } else if *column == dataset.code {
                code = Some(part);
            }
        }
        // What is missing or empty is a code, a session, or a code's session.
        for part in parts("what").filter(|part| !part.is_empty()) {
            match day(part) {
                Some(date) => time = Some(date),
                None => code = code.or(Some(part)),
            }
        }
        let severity = match mark.kind {
            MarkKind::Flag => "flag",
            MarkKind::Missing => "missing",
            MarkKind::Slice => "slice",
            MarkKind::Note | MarkKind::Reject => "note",
        };
        Self {
            severity: severity.to_owned(),
            rule: storable(mark.get("rule").or(Some(rule::MISSING.name))),
            stock_code: code.map(|code| storable(Some(code))),
            time,
            message: storable(mark.get("msg").or_else(|| mark.get("reason"))),
        }
    }
}

/// Text that PostgreSQL can store: it has no NUL.
fn storable(text: Option<&str>) -> String {
    text.unwrap_or_default().replace('\0', "\\0")
}

/// Writes what a promote remarks of its batch, in place of what earlier attempts did.
pub async fn replace_remarks<C: GenericClient>(
    client: &C,
    run: i64,
    batch: i64,
    dataset: &str,
    remarks: &[Remark],
) -> Result<()> {
    client
        .execute(
            "DELETE FROM ops.flags f USING ops.runs r \
             WHERE r.run_id = f.run_id AND r.command = 'promote' AND f.batch_id = $1",
            &[&batch],
        )
        .await
        .map_err(failed("cannot replace the flags"))?;
    write_remarks(client, run, Some(batch), dataset, remarks).await
}

/// Writes remarks, on whatever connection or transaction they belong to.
async fn write_remarks<C: GenericClient>(
    client: &C,
    run: i64,
    batch: Option<i64>,
    dataset: &str,
    remarks: &[Remark],
) -> Result<()> {
    for chunk in remarks.chunks(BATCH) {
        let severities: Vec<&str> = chunk.iter().map(|r| r.severity.as_str()).collect();
        let rules: Vec<&str> = chunk.iter().map(|r| r.rule.as_str()).collect();
        let codes: Vec<Option<&str>> = chunk.iter().map(|r| r.stock_code.as_deref()).collect();
        let times: Vec<Option<NaiveDate>> = chunk.iter().map(|r| r.time).collect();
        let messages: Vec<&str> = chunk.iter().map(|r| r.message.as_str()).collect();
        client
            .execute(
                "INSERT INTO ops.flags (run_id, batch_id, dataset, severity, rule, stock_code, time, message) \
                 SELECT $1, $2, $3, f.* FROM unnest($4::text[], $5::text[], $6::text[], $7::date[], $8::text[]) AS f",
                &[&run, &batch, &dataset, &severities, &rules, &codes, &times, &messages],
            )
            .await
            .map_err(failed("cannot keep the flags"))?;
    }
    Ok(())
}
