//! replay: rejected rows through today's rules once more, as a stream that load takes as a batch of its own.

use std::io::Write;

use chrono::NaiveDate;
use tokio_postgres::Client;

use super::{Filter, Kept, Line, list};
use crate::dataset::record::{parse_date, session_of};
use crate::dataset::{self, Dataset, Kind, TIME};
use crate::db::failed;
use crate::error::{Error, Result};
use crate::market::Calendar;
use crate::source;
use crate::stage::validate::{self, MaxRejects};
use crate::stream::{self, Finality, Mark, Names, Preamble, Reader, Stage, Writer};

/// What a replay did.
#[derive(Debug)]
pub struct Replayed {
    /// The batch whose rejects they are.
    pub batch: i64,
    /// Rows that go on.
    pub passed: usize,
    /// Rows that still break a rule, by rule.
    pub still: Vec<(String, usize)>,
    /// Rows that cannot be judged again: a source's own, or not kept to the letter.
    pub left: usize,
}

/// Validates kept rows again and writes those that pass as a validated stream. All must be of one batch: a stream has
/// one preamble. Which rows went into it is noted with its run; they count as replayed while a batch of it stands.
pub async fn replay<W: Write>(
    client: &Client,
    filter: &Filter,
    mut out: W,
    calendar: &Calendar,
    today: NaiveDate,
    run: &str,
) -> Result<Replayed> {
    let outcome = prepare(client, filter, calendar, today, run).await;
    let (preamble, judged, replayed) = match outcome {
        Ok(prepared) => prepared,
        Err(error) => {
            // So that load tells the cause, and not only that nothing came.
            stream::write_abort(&mut out, &error)?;
            return Err(error);
        }
    };
    write(&preamble, &judged.stream, &mut out)?;
    Ok(replayed)
}

/// What validate made of the rows.
struct Judged {
    stream: Vec<u8>,
    /// The rejects whose rows pass.
    passed: Vec<i64>,
    still: Vec<(String, usize)>,
}

async fn prepare(
    client: &Client,
    filter: &Filter,
    calendar: &Calendar,
    today: NaiveDate,
    run: &str,
) -> Result<(Preamble, Judged, Replayed)> {
    let open = Filter { state: Some("open".into()), ..filter.clone() };
    let all = list(client, Kept::Rejects, &open, i64::MAX).await?;
    let batch = one_batch(&all)?;
    let preamble = preamble_of(client, batch, calendar, run).await?;
    if matches!(preamble.dataset.kind, Kind::Snapshot { .. }) {
        return Err(again(
            "a list comes into production as a whole: one of its rows alone would replace it",
            preamble.dataset,
            &all,
        ));
    }
    let count = all.len();
    let rows = in_order(all.iter().filter(|line| is_whole(line)).collect(), &preamble);
    let left = count - rows.len();
    if rows.is_empty() {
        return Err(again(
            "these rows were rejected by their source, or are not kept to the letter",
            preamble.dataset,
            &all,
        ));
    }
    let judged = judge(&rows, &preamble, calendar, today)?;
    if judged.passed.is_empty() {
        let rules: Vec<&str> = judged.still.iter().map(|(rule, _)| rule.as_str()).collect();
        return Err(Error::Gate {
            what: format!(
                "none of the {} rows keeps today's rules; still broken: {}",
                rows.len(),
                rules.join(", ")
            ),
            help: "`kdata rejects show ID` explains; what is wrong at the source is marked with `kdata rejects discard`"
                .into(),
        });
    }
    let query = "UPDATE ops.rejects SET replay = $1 WHERE reject_id = ANY ($2)";
    client.execute(query, &[&run, &judged.passed]).await.map_err(failed("cannot mark the rejects"))?;
    let replayed = Replayed { batch, passed: judged.passed.len(), still: judged.still.clone(), left };
    Ok((preamble, judged, replayed))
}

/// The batch that all rejects belong to.
fn one_batch(lines: &[Line]) -> Result<i64> {
    let mut batches: Vec<Option<i64>> = lines.iter().map(|line| line.batch_id).collect();
    batches.sort_unstable();
    batches.dedup();
    match batches.as_slice() {
        [] => Err(Error::usage("no open reject matches", "`kdata rejects list --state all` lists them all")),
        [Some(batch)] => Ok(*batch),
        [None] => Err(Error::usage(
            "these rejects belong to a run that was not kept: the rows beside them are not in the database",
            "extract and load the sessions again; --replay parses the kept answers without a call",
        )),
        several => {
            let numbers: Vec<String> =
                several.iter().map(|b| b.map_or("none".to_owned(), |b| b.to_string())).collect();
            Err(Error::usage(
                format!("rejects of several batches match: {}", numbers.join(", ")),
                "replay one batch at a time: add --batch N",
            ))
        }
    }
}

fn again(what: &str, dataset: &Dataset, lines: &[Line]) -> Error {
    let range = lines.first().and_then(|line| line.from.zip(line.to));
    let range = range.map_or_else(String::new, |(from, to)| format!(" --from {from} --to {to}"));
    Error::usage(
        what.to_owned(),
        format!(
            "extract them again, which takes the whole pipe: kdata extract {}{range} --replay parses the kept answers \
             without a call",
            dataset.name
        ),
    )
}

/// Was the row judged by validate, and is it kept to the letter?
fn is_whole(line: &Line) -> bool {
    let row = line.row.as_deref().unwrap_or_default();
    let is_of_source = source::rules().any(|rule| rule.name == line.rule);
    // What is not UTF-8, NUL, and what is too long stand changed in the ledger.
    !is_of_source && !row.contains("\\x") && !row.contains("\\0") && !row.contains(" … (cut here: ")
}

/// Rows with the numbers of their rejects, in the order that the preamble promises.
fn in_order<'l>(lines: Vec<&'l Line>, preamble: &Preamble) -> Vec<(i64, &'l str)> {
    let order = preamble.dataset.order();
    let mut rows: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let row = line.row.as_deref().unwrap_or_default();
            let fields = validate::fields(row.as_bytes());
            let field = |at: &usize| fields.get(*at).cloned().unwrap_or_default();
            let session = String::from_utf8_lossy(session_of(field(&order[0]).as_bytes())).into_owned();
            let rest: Vec<String> = order[1..].iter().map(field).collect();
            ((preamble.ordered.then_some((session, rest)), line.line, line.id), row)
        })
        .collect();
    rows.sort();
    rows.into_iter().map(|((_, _, id), row)| (id, row)).collect()
}

async fn preamble_of(client: &Client, batch: i64, calendar: &Calendar, run: &str) -> Result<Preamble> {
    let query = "SELECT dataset, source, from_time, to_time, scope, finality, provides, ordered, value_unit \
                 FROM ops.batches WHERE batch_id = $1";
    let row = client.query_one(query, &[&batch]).await.map_err(failed("cannot read the batch"))?;
    let name: &str = row.get(0);
    let dataset = dataset::find(name).ok_or_else(|| {
        Error::usage(
            format!("batch {batch} is of {name}, which is no dataset of this kdata"),
            "install a newer kdata",
        )
    })?;
    let provides: Vec<String> = row.get(6);
    Ok(Preamble {
        dataset,
        source: row.get(1),
        stage: Stage::Extracted,
        run: run.to_owned(),
        from: row.get(2),
        to: row.get(3),
        scope: row.get(4),
        names: Names::List,
        finality: if row.get::<_, &str>(5) == Finality::Final.as_str() {
            Finality::Final
        } else {
            Finality::Provisional
        },
        provides: provides.join(","),
        ordered: row.get(7),
        value_unit: row.get(8),
        calendar: calendar.id().to_owned(),
        rules: None,
    })
}

/// Runs the rows through validate, in memory: rejects are few, or something else is to be done about them.
fn judge(rows: &[(i64, &str)], preamble: &Preamble, calendar: &Calendar, today: NaiveDate) -> Result<Judged> {
    let mut extracted = Vec::new();
    let mut writer = Writer::new(&mut extracted, preamble)?;
    for (_, row) in rows {
        writer.row(|out| out.extend_from_slice(row.as_bytes()))?;
    }
    writer.finish()?;
    let mut stream = Vec::new();
    validate::validate(extracted.as_slice(), &mut stream, calendar, today, MaxRejects::Percent(100.0))?;
    // Rows stand behind preamble and header; lines are counted from 1.
    let mut is_good = vec![true; rows.len()];
    let mut still: Vec<(String, usize)> = Vec::new();
    let (mut reader, _) = Reader::new(stream.as_slice())?;
    while let Some(item) = reader.next_item()? {
        let stream::Line::Mark(mark) = item else { continue };
        let mark = Mark::parse(mark)?;
        if mark.kind != stream::MarkKind::Reject {
            continue;
        }
        let line: usize = mark.get("line").and_then(|l| l.parse().ok()).unwrap_or_default();
        if let Some(is_good) = line.checked_sub(3).and_then(|at| is_good.get_mut(at)) {
            *is_good = false;
        }
        let rule = mark.get("rule").unwrap_or_default();
        match still.iter_mut().find(|(name, _)| name == rule) {
            Some((_, count)) => *count += 1,
            None => still.push((rule.to_owned(), 1)),
        }
    }
    let passed = rows.iter().zip(is_good).filter_map(|((id, _), is_good)| is_good.then_some(*id)).collect();
    Ok(Judged { stream, passed, still })
}

/// Copies what passed: rejects are in the ledger already. The batch claims the sessions of its rows and no others.
fn write<W: Write>(preamble: &Preamble, stream: &[u8], out: W) -> Result<()> {
    let time = preamble.dataset.index(TIME);
    let (mut reader, validated) = Reader::new(stream)?;
    let mut sessions: Option<(NaiveDate, NaiveDate)> = None;
    while let Some(item) = reader.next_item()? {
        let stream::Line::Row(row, _) = item else { continue };
        let fields = validate::fields(row);
        if let Some(day) = parse_date(session_of(fields[time].as_bytes())) {
            sessions = Some(sessions.map_or((day, day), |(from, to)| (from.min(day), to.max(day))));
        }
    }
    let (from, to) = sessions.unwrap_or((preamble.from, preamble.to));
    let (mut reader, _) = Reader::new(stream)?;
    let mut writer = Writer::new(out, &Preamble { from, to, ..validated })?;
    while let Some(item) = reader.next_item()? {
        match item {
            stream::Line::Row(row, _) => writer.row(|out| out.extend_from_slice(row))?,
            stream::Line::Mark(mark) if mark.starts_with(b"#reject") => {}
            stream::Line::Mark(mark) => writer.pass_mark(mark)?,
        }
    }
    writer.finish().map(|_| ())
}
