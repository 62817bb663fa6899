//! promote: staged batches into production, one transaction each. Either all of a batch is visible, with its
//! receipt and its sessions' status, or nothing.

mod actions;
mod around;
mod empty;
mod masters;
mod snapshots;
mod superseded;

use std::time::Duration;

use chrono::NaiveDate;
use tokio_postgres::{Client, GenericClient, Transaction};

pub use self::superseded::discard_refused;

use self::around::{DAYS_OF_MINUTES, STAGED_DAYS, check, fill, look_around, within};
use crate::dataset::rule::BETTER_IS_THERE;
use crate::dataset::{self, Dataset, Kind, TIME};
use crate::db::ledger::{self, About, Remark, Run};
use crate::db::merge::{Merge, Written};
use crate::db::{self, Place, failed, staging, storage};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::source::{self, published};
use crate::stream::Counts;

const JOB: &str = include_str!("../../../sql/promote/job.sql");
const HELD: &str = include_str!("../../../sql/promote/held.sql");
const STATUS: &str = include_str!("../../../sql/promote/status.sql");
const DAY_IS_OPEN: &str = include_str!("../../../sql/checks/day_is_open.sql");
const CODES_ARE_THERE: &str = include_str!("../../../sql/checks/codes_are_there.sql");
/// The state of a batch; one in whose place a later one was promoted is as good as promoted.
const STATE: &str = "CASE WHEN (SELECT s.state FROM ops.batches s WHERE s.batch_id = b.superseded_by) = 'promoted' \
     THEN 'superseded' WHEN b.superseded_by IS NOT NULL THEN b.problem ELSE b.state END";
/// How long a promote waits for whoever else holds something that it needs, besides another promote.
const LOCK_WAIT: &str = "30s";

/// Of so many staged minutes the server expects enough without having looked at them.
const ENOUGH_FOR_ANY_PLAN: u64 = 1_000_000;

/// How to promote.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Show what would change, change nothing.
    pub dry_run: bool,
    /// Go on although a gate failed or production holds better data.
    pub force: bool,
    /// How many of the codes asked for may be missing, per cent.
    pub max_missing: f64,
    /// How long to wait for another run that promotes the same dataset.
    pub wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { dry_run: false, force: false, max_missing: 1.0, wait: Duration::from_secs(600) }
    }
}

/// A staged batch.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Batch {
    pub id: i64,
    pub dataset: &'static Dataset,
    pub source: String,
    pub range: (NaiveDate, NaiveDate),
    pub rows: u64,
    finality: String,
    /// Its rows ascend by session and key, so that none comes twice.
    ordered: bool,
    /// Load kept what its minutes are together, by name and session.
    has_days: bool,
    provides: Vec<String>,
    /// The sources of the dataset, best first.
    sources: Vec<&'static str>,
}

impl Batch {
    /// Are its closes those of the after-market, since it was read before the source's bars settled?
    fn has_after_market_closes(&self) -> bool {
        self.finality == "provisional"
            && published::has_after_market_closes(&self.source, self.dataset.name, self.range.1)
    }
}

/// What promoting a batch did.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The batch.
    pub batch: Batch,
    /// What was written to the dataset's tables.
    pub written: Written,
    /// Staged rows that better data in production kept out.
    pub held: u64,
    /// Remarks by severity.
    pub flags: usize,
    /// Remarks by severity.
    pub notes: usize,
    /// Corporate action candidates.
    pub actions: usize,
    /// Gates that `--force` went over.
    pub forced: Vec<String>,
    /// Another run promoted the batch.
    pub by_another: bool,
    /// Staged batches that this one made needless.
    pub superseded: Vec<i64>,
}

/// The batches that wait, masters first: other datasets are compared with them. The only one that is asked for may be in
/// production already.
pub async fn staged(client: &Client, only: Option<i64>, settings: &Settings) -> Result<Vec<Batch>> {
    let rows = client
        .query(
            &format!(
                "SELECT batch_id, dataset, source, from_time, to_time, rows, provides, {STATE}, finality, ordered, \
                 to_regclass(format('staging.b%s_days', batch_id)) IS NOT NULL \
                 FROM ops.batches b \
                 WHERE CASE WHEN $1::bigint IS NULL THEN state = 'staged' ELSE batch_id = $1 END \
                 ORDER BY dataset <> 'stocks', batch_id"
            ),
            &[&only],
        )
        .await
        .map_err(failed("cannot list the staged batches"))?;
    if let (Some(batch), true) = (only, rows.is_empty()) {
        return Err(ledger::no_batch(client, batch).await);
    }
    let batches = rows.iter().map(|row| {
        let (id, name, state): (i64, &str, &str) = (row.get(0), row.get(1), row.get(7));
        if !["staged", "promoted", "superseded"].contains(&state) {
            return Err(not_staged(id, state));
        }
        let dataset = dataset::find(name).ok_or_else(|| {
            Error::usage(
                format!("batch {id} is of {name}, which this kdata does not know"),
                "install a newer kdata",
            )
        })?;
        Ok(Batch {
            id,
            dataset,
            source: row.get(2),
            range: (row.get(3), row.get(4)),
            rows: u64::try_from(row.get::<_, i64>(5)).unwrap_or(0),
            finality: row.get(8),
            ordered: row.get(9),
            has_days: row.get(10),
            provides: row.get(6),
            sources: source::preference(name, settings).iter().map(|s| s.name()).collect(),
        })
    });
    let mut batches = batches.collect::<Result<Vec<Batch>>>()?;
    // What is held comes last: a final batch may have made it needless by then.
    batches.sort_by_key(Batch::has_after_market_closes);
    Ok(batches)
}

fn not_staged(batch: i64, state: &str) -> Error {
    Error::usage(
        format!("batch {batch} is not staged any more: it is {state}"),
        "`kdata runs` lists the batches",
    )
}

/// Promotes one batch. Where another run did so while this one waited, nothing is left to do: its receipt is returned.
pub async fn promote(place: &Place, batch: &Batch, options: Options) -> Result<Receipt> {
    let mut client = place.connect().await?;
    let run = if options.dry_run {
        None
    } else {
        let about = About {
            dataset: Some(batch.dataset),
            source: Some(&batch.source),
            range: Some(batch.range),
            batch: Some(batch.id),
            ..About::default()
        };
        Some(Run::begin(place.connect().await?, "promote", about).await?)
    };
    let outcome = attempt(&mut client, batch, options, run.as_ref()).await;
    if let Some(run) = run {
        if outcome.as_ref().is_ok_and(|receipt| receipt.by_another) {
            run.forget().await?;
            return outcome;
        }
        let counts = Counts { rows: batch.rows, ..Counts::default() };
        // What stopped the batch is told, whether or not the ledger can still be written.
        let mut told = Ok(());
        if let Err(error) = &outcome {
            told = run.problem(batch.id, &error.to_string()).await;
        }
        let told = told.and(run.end(outcome.as_ref().map(|_| Some(batch.id)), counts).await);
        if outcome.is_ok() {
            told?;
        }
    }
    outcome
}

async fn attempt(client: &mut Client, batch: &Batch, options: Options, run: Option<&Run>) -> Result<Receipt> {
    let doing = failed("cannot promote the batch");
    if batch.has_after_market_closes() && !options.force {
        return Err(Error::NotPublished {
            what: format!(
                "batch {} is not promoted: {} read in the evening bears after-market prices as closes until about 06:00 \
                 of the next day",
                batch.id, batch.source
            ),
            help: format!(
                "extract it again after 06:00: promoting that final batch discards this one; \
                 `kdata promote --batch {} --force` takes it as it is",
                batch.id
            ),
        });
    }
    if !options.dry_run {
        make_room(client, batch).await?;
    }
    let transaction = client.transaction().await.map_err(&doing)?;
    match lock(&transaction, batch, options).await?.as_str() {
        "staged" => {}
        // A run beside this one read the same, and was faster.
        "promoted" | "superseded" => return earlier(&transaction, batch).await,
        state => return Err(not_staged(batch.id, state)),
    }
    if options.dry_run {
        make_room(&transaction, batch).await?;
        transaction
            .batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
            .await
            .map_err(&doing)?;
    }
    if batch.dataset.is_intraday() {
        let days = if batch.has_days {
            format!("SELECT * FROM {}", staging::days(batch.id))
        } else {
            DAYS_OF_MINUTES.to_owned()
        };
        let query = fill(&STAGED_DAYS.replace("{days_of_minutes}", &days), batch);
        transaction.batch_execute(&query).await.map_err(&doing)?;
    }
    transaction.batch_execute(&fill(JOB, batch)).await.map_err(&doing)?;
    // The checks of minutes look at their days. But rows are written compressed only where the server expects ten at least:
    // unless it knows better it expects one in 200 in a range of times, which of a million is enough.
    if !batch.dataset.is_intraday() || batch.rows < ENOUGH_FOR_ANY_PLAN {
        analyze(&transaction, batch).await?;
    }
    let view = format!("CREATE TEMP VIEW staged AS SELECT * FROM {}", staging::table(batch.id));
    transaction.batch_execute(&view).await.map_err(&doing)?;
    let (held, mut remarks) = match batch.dataset.kind {
        Kind::Snapshot { slice } => snapshots::prepare(&transaction, batch, slice, options).await?,
        Kind::Series | Kind::Master => hold_back(&transaction, batch, options).await?,
    };
    look_around(&transaction, batch).await?;
    let codes_are_there = CODES_ARE_THERE.replace("{max_missing}", &options.max_missing.to_string());
    let codes_are_there = codes_are_there.replace("{expects}", batch.dataset.expects.unwrap_or("true"));
    for query in [DAY_IS_OPEN, codes_are_there.as_str()].iter().chain(batch.dataset.queries) {
        remarks.extend(check(&transaction, &fill(query, batch)).await?);
    }
    if batch.dataset.kind == Kind::Master {
        remarks.extend(masters::prepare(&transaction, batch).await?);
    }
    let actions = if batch.dataset.has("base_price") {
        actions::find(&transaction, batch.dataset, &mut remarks).await?
    } else {
        Vec::new()
    };
    let forced = gates(batch, &remarks, options, run).await?;
    let written = write(&transaction, batch, &actions).await.map_err(|error| match error {
        Error::Refused { what, help } => {
            let (what, id) = (format!("batch {}: {what}", batch.id), batch.id);
            Error::Refused { what, help: format!("{help}; `kdata rollback {id}` drops the batch") }
        }
        other => other,
    })?;
    let mut receipt = Receipt {
        batch: batch.clone(),
        written,
        held,
        flags: remarks.iter().filter(|r| r.severity == "flag").count(),
        notes: remarks.iter().filter(|r| r.severity == "note").count(),
        actions: actions.len(),
        forced,
        by_another: false,
        superseded: Vec::new(),
    };
    add_up(&receipt)?;
    if let Some(run) = run {
        ledger::replace_remarks(&transaction, run.id, batch.id, batch.dataset.name, &remarks).await?;
        close(&transaction, &receipt).await?;
        receipt.superseded = superseded::supersede(&transaction, batch, false).await?;
        transaction.commit().await.map_err(&doing)?;
    }
    Ok(receipt)
}

/// Partitions are made beforehand, in a transaction of their own, so that readers do not wait for this one; for a dry run
/// in its own, so that none stays.
async fn make_room(client: &impl GenericClient, batch: &Batch) -> Result<()> {
    let query = if batch.has_days {
        format!("SELECT min(time), max(time) FROM {}", staging::days(batch.id))
    } else {
        let session = |time: &str| batch.dataset.session_of(time);
        let table = staging::table(batch.id);
        format!("SELECT {}, {} FROM {table}", session("min(time)"), session("max(time)"))
    };
    // No such table: another promote was faster, and the lock tells.
    let Ok(row) = client.query_one(&query, &[]).await else { return Ok(()) };
    let (Some(from), Some(to)): (Option<NaiveDate>, Option<NaiveDate>) = (row.get(0), row.get(1)) else {
        return Ok(());
    };
    if from < batch.range.0 || to > batch.range.1 {
        let (claimed_from, claimed_to) = batch.range;
        return Err(Error::Refused {
            what: format!(
                "batch {} claims {claimed_from} to {claimed_to}, but has rows of {from} to {to}",
                batch.id
            ),
            help: format!("its stream was made by other means: `kdata rollback {}` drops it", batch.id),
        });
    }
    if batch.dataset.kind != Kind::Master {
        client
            .execute("SELECT ops.ensure_range($1, $2, $3)", &[&batch.dataset.table, &from, &to])
            .await
            .map_err(failed("cannot make room for the sessions"))?;
    }
    Ok(())
}

/// Waits until no other run promotes the dataset; tells the batch's state then.
async fn lock(transaction: &Transaction<'_>, batch: &Batch, options: Options) -> Result<String> {
    let doing = failed("cannot lock the dataset");
    // 0 would be for ever.
    let patience = options.wait.as_millis().max(1);
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = {patience}")).await.map_err(&doing)?;
    let name = batch.dataset.name;
    let locked = transaction
        .execute("SELECT pg_advisory_xact_lock(hashtext('kdata.promote'), hashtext($1))", &[&name])
        .await;
    match locked.map_err(&doing) {
        Err(Error::Locked { .. }) => {
            return Err(Error::Locked {
                what: format!("another run was promoting {name} for {} s", options.wait.as_secs()),
                help: "batches stay staged: run `kdata promote` again once it has ended (`kdata runs`), or with a \
                       longer --wait"
                    .into(),
            });
        }
        other => other?,
    };
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_WAIT}'")).await.map_err(&doing)?;
    // NO KEY: the remarks of a failed gate, written beside this transaction, refer to the batch.
    let query = format!("SELECT {STATE} FROM ops.batches b WHERE batch_id = $1 FOR NO KEY UPDATE OF b");
    Ok(transaction.query_one(&query, &[&batch.id]).await.map_err(&doing)?.get(0))
}

/// The receipt of a batch that is in production, from the ledger; of its remarks the ledger tells more.
async fn earlier(transaction: &Transaction<'_>, batch: &Batch) -> Result<Receipt> {
    let query = "SELECT inserted, updated, deleted, unchanged, held FROM ops.batches WHERE batch_id = $1";
    let row = transaction.query_one(query, &[&batch.id]).await.map_err(failed("cannot read the receipt"))?;
    let count = |at: usize| u64::try_from(row.get::<_, Option<i64>>(at).unwrap_or(0)).unwrap_or(0);
    let written = Written { inserted: count(0), updated: count(1), deleted: count(2), unchanged: count(3) };
    Ok(Receipt {
        batch: batch.clone(),
        written,
        held: count(4),
        flags: 0,
        notes: 0,
        actions: 0,
        forced: Vec::new(),
        by_another: true,
        superseded: Vec::new(),
    })
}

/// Takes the sessions out of the batch that production holds in better shape.
async fn hold_back(
    transaction: &Transaction<'_>,
    batch: &Batch,
    options: Options,
) -> Result<(u64, Vec<Remark>)> {
    let doing = failed("cannot compare with what production holds");
    let better = transaction.query(HELD, &[&batch.sources]).await.map_err(&doing)?;
    let times: Vec<NaiveDate> = better.iter().map(|row| row.get(0)).collect();
    let remarks: Vec<Remark> = better
        .iter()
        .map(|row| {
            let (time, source, finality): (NaiveDate, &str, &str) = (row.get(0), row.get(1), row.get(2));
            Remark {
                severity: "flag".into(),
                rule: BETTER_IS_THERE.name.into(),
                stock_code: None,
                time: Some(time),
                message: format!("production holds {time} from {source}, {finality}"),
            }
        })
        .collect();
    if options.force || times.is_empty() {
        return Ok((0, remarks));
    }
    let session = batch.dataset.session_of(TIME);
    let query = format!("DELETE FROM {} WHERE {session} = ANY ($1)", staging::table(batch.id));
    let held = transaction.execute(&query, &[&times]).await.map_err(&doing)?;
    transaction.execute("DELETE FROM staged_times WHERE time = ANY ($1)", &[&times]).await.map_err(&doing)?;
    if held == batch.rows {
        let first = remarks.first().map_or(String::new(), |r| format!(": {}", r.message));
        return Err(Error::Refused {
            what: format!("batch {} would replace better data{first}", batch.id),
            help: "`kdata promote --batch N --force` replaces it all the same; `kdata rollback N` drops the batch".into(),
        });
    }
    Ok((held, remarks))
}

/// Stops at a gate, keeping what was found; with `--force` the gates are told instead.
async fn gates(
    batch: &Batch,
    remarks: &[Remark],
    options: Options,
    run: Option<&Run>,
) -> Result<Vec<String>> {
    let gates: Vec<&Remark> = remarks.iter().filter(|r| r.severity == "gate").collect();
    let told = gates.iter().map(|g| format!("{}: {}", g.rule, g.message)).collect();
    let (Some(first), false) = (gates.first(), options.force) else {
        return Ok(told);
    };
    if let Some(run) = run {
        run.remarks(batch.id, remarks).await?;
    }
    let more = if gates.len() > 1 { format!(" (and {} more)", gates.len() - 1) } else { String::new() };
    Err(Error::Gate {
        what: format!(
            "batch {} ({}) is held: {}: {}{more}",
            batch.id, batch.dataset.name, first.rule, first.message
        ),
        help: format!(
            "`kdata explain {}` says why; `kdata promote --batch {id} --force` if the data are right, \
             `kdata rollback {id}` drops the batch",
            first.rule,
            id = batch.id
        ),
    })
}

/// Lets the server know the staged rows before it plans with them.
async fn analyze(transaction: &Transaction<'_>, batch: &Batch) -> Result<()> {
    let query = format!("ANALYZE {}", staging::table(batch.id));
    transaction.batch_execute(&query).await.map_err(failed("cannot analyze the staged rows"))
}

/// The columns that the batch brings besides the key.
fn provided(batch: &Batch) -> Vec<&'static str> {
    let dataset = batch.dataset;
    let brings = |c: &&str| batch.provides.iter().any(|p| p == c) && !dataset.key.contains(c);
    dataset.columns.iter().map(|c| c.name).filter(brings).collect()
}

async fn write(transaction: &Transaction<'_>, batch: &Batch, actions: &[actions::Action]) -> Result<Written> {
    let dataset = batch.dataset;
    let empty = empty::range(transaction, batch).await?;
    let written = match (dataset.kind, empty) {
        (Kind::Series, Some(range)) => empty::fill(transaction, batch, &provided(batch), range).await?,
        (Kind::Series, None) => {
            if dataset.is_intraday() && batch.rows >= ENOUGH_FOR_ANY_PLAN {
                analyze(transaction, batch).await?;
            }
            let key = "SELECT ops.key_range($1, $2, $3)";
            let (from, to) = batch.range;
            let keyed = transaction.execute(key, &[&dataset.table, &from, &to]).await;
            keyed.map_err(failed("cannot key the parts of the table"))?;
            let merge = Merge {
                table: dataset.table,
                key: dataset.key,
                columns: provided(batch),
                from: "staged",
                target: &within(batch, "m.time"),
                incoming: "true",
                delete: false,
            };
            merge.run(transaction, batch.id).await?
        }
        (Kind::Snapshot { slice }, _) => snapshots::write(transaction, batch, slice).await?,
        (Kind::Master, _) => masters::write(transaction, batch).await?,
    };
    if dataset.has("base_price") {
        actions::write(transaction, batch.id, actions).await?;
    }
    status(transaction, batch, empty).await?;
    if dataset.is_intraday() && written.inserted + written.updated > 0 {
        storage::leave_rollups(transaction, batch.range, batch.id).await?;
    }
    if dataset.has("base_price") {
        actions::refresh_adjustments(transaction, batch.range).await?;
    }
    Ok(written)
}

/// The sessions' status: the batch's claim, and the counts of what production now holds. Where `empty` sessions were
/// filled, that is what was staged, as was proved.
async fn status(
    transaction: &Transaction<'_>,
    batch: &Batch,
    empty: Option<(NaiveDate, NaiveDate)>,
) -> Result<()> {
    let written = match batch.dataset.kind {
        _ if empty.is_some() => "SELECT time, rows, true AS wrote FROM staged_times",
        Kind::Series | Kind::Snapshot { .. } => {
            "SELECT {session} AS time, count(*) AS rows, bool_or(batch_id = {batch}) AS wrote FROM market.{table} \
             WHERE {within} GROUP BY 1"
        }
        // A master's rows are in the history once they differ from the master before.
        Kind::Master => {
            "SELECT valid_from AS time, NULL::bigint AS rows, bool_or(batch_id = {batch}) AS wrote \
             FROM market.stock_history GROUP BY valid_from"
        }
    };
    transaction
        .batch_execute(&fill(&STATUS.replace("{written}", written), batch))
        .await
        .map_err(failed("cannot work out the sessions' status"))?;
    let merge = Merge {
        table: "session_status",
        key: &["dataset", "time"],
        columns: vec!["source", "names", "finality", "promoted_at"],
        from: "incoming_status",
        target: "true",
        incoming: "true",
        delete: false,
    };
    merge.run(transaction, batch.id).await?;
    let counted = empty.map(|_| "SELECT time, stock_code AS code, bars AS rows FROM staged_days");
    db::status::recount(transaction, batch.dataset, empty.unwrap_or(batch.range), counted).await
}

/// Every staged row is accounted for.
fn add_up(receipt: &Receipt) -> Result<()> {
    let written = receipt.written;
    let told = written.inserted + written.updated + written.unchanged + receipt.held;
    if receipt.batch.dataset.kind == Kind::Master || told == receipt.batch.rows {
        return Ok(());
    }
    Err(Error::Refused {
        what: format!(
            "batch {} has {} rows, but {} were inserted, {} updated, {} unchanged and {} held",
            receipt.batch.id,
            receipt.batch.rows,
            written.inserted,
            written.updated,
            written.unchanged,
            receipt.held
        ),
        help: "nothing was changed; a key may occur twice in the batch: validate it with an ordered source"
            .into(),
    })
}

async fn close(transaction: &Transaction<'_>, receipt: &Receipt) -> Result<()> {
    let doing = failed("cannot close the batch");
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let written = receipt.written;
    transaction
        .execute(
            "UPDATE ops.batches SET state = 'promoted', promoted_at = now(), ended_at = now(), problem = NULL, \
             inserted = $2, updated = $3, deleted = $4, unchanged = $5, held = $6 WHERE batch_id = $1",
            &[
                &receipt.batch.id,
                &number(written.inserted),
                &number(written.updated),
                &number(written.deleted),
                &number(written.unchanged),
                &number(receipt.held),
            ],
        )
        .await
        .map_err(&doing)?;
    transaction.batch_execute("DROP VIEW staged").await.map_err(&doing)?;
    staging::drop(transaction, receipt.batch.id).await
}
