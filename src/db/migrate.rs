//! Migrations: numbered, forward, checksummed, locked; each script and its bookkeeping row in one transaction.

use std::fmt;

use tokio_postgres::{Client, Transaction};

use super::failed;
use crate::error::{Error, Result};
use crate::market::{Calendar, Day};
use crate::settings::BackendChoice;

/// The scripts, in order. Number 0 is the storage backend's, chosen at the first migrate.
const MIGRATIONS: &[(i32, &str, Script)] = &[
    (1, "ledger", Script::Same(include_str!("../../sql/migrations/0001_ledger.sql"))),
    (2, "market", Script::Same(include_str!("../../sql/migrations/0002_market.sql"))),
    (3, "sectors", Script::Same(include_str!("../../sql/migrations/0003_sectors.sql"))),
    (4, "index_components", Script::Same(include_str!("../../sql/migrations/0004_index_components.sql"))),
    (5, "floating_shares", Script::Same(include_str!("../../sql/migrations/0005_floating_shares.sql"))),
    (6, "etf_portfolios", Script::Same(include_str!("../../sql/migrations/0006_etf_portfolios.sql"))),
    (7, "ohlcv_minute", Script::Same(include_str!("../../sql/migrations/0007_ohlcv_minute.sql"))),
    (8, "investor_trading", Script::Same(include_str!("../../sql/migrations/0008_investor_trading.sql"))),
    (9, "snapshots", Script::Same(include_str!("../../sql/migrations/0009_snapshots.sql"))),
    (10, "guards", Script::Same(include_str!("../../sql/migrations/0010_guards.sql"))),
    (20, "readers", Script::Same(include_str!("../../sql/migrations/0020_readers.sql"))),
    (30, "backfills", Script::Same(include_str!("../../sql/migrations/0030_backfills.sql"))),
    (40, "parts", Script::Same(include_str!("../../sql/migrations/0040_parts.sql"))),
    (
        41,
        "parts_of_backend",
        Script::Each {
            timescale: include_str!("../../sql/backend/timescale_parts.sql"),
            native: include_str!("../../sql/backend/native_parts.sql"),
        },
    ),
    (42, "storage", Script::Same(include_str!("../../sql/migrations/0042_storage.sql"))),
    (55, "looked_at", Script::Same(include_str!("../../sql/migrations/0055_looked_at.sql"))),
    (60, "superseded", Script::Same(include_str!("../../sql/migrations/0060_superseded.sql"))),
];

/// The script of a migration.
#[derive(Clone, Copy)]
enum Script {
    Same(&'static str),
    Each { timescale: &'static str, native: &'static str },
}

impl Script {
    fn text(self, backend: Backend) -> &'static str {
        match (self, backend) {
            (Self::Same(script), _)
            | (Self::Each { timescale: script, .. }, Backend::Timescale)
            | (Self::Each { native: script, .. }, Backend::Native) => script,
        }
    }
}

/// The remark on the list of scripts until a new database is made to the end.
const UNFINISHED: &str = "being made";
const ROLES: &str = include_str!("../../sql/roles.sql");
/// Any number: the advisory lock that migrations take.
const LOCK: i64 = 0x6b64_6174_615f_6d69;

/// What a database is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Real data.
    Live,
    /// Simulated data.
    Demo,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Demo => "demo",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a database stores its series.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Backend {
    Timescale,
    Native,
}

impl Backend {
    /// The word in `ops.settings`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timescale => "timescale",
            Self::Native => "native",
        }
    }

    /// By its name, which is that of migration 0.
    fn named(name: &str) -> Self {
        if name == Self::Timescale.as_str() { Self::Timescale } else { Self::Native }
    }
}

/// What a database holds of kdata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing at all: nobody's database.
    Empty,
    /// Other people's tables, none of ours.
    Foreign,
    /// Our schema, whose first migrate was stopped half way: nobody has used it.
    Unfinished,
    /// Our schema, but older than this binary's.
    Older,
    /// Our schema as this binary knows it.
    Current(Kind, Backend),
}

/// The schema version of this kdata.
pub fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |m| m.0)
}

/// What belongs to the server and the database and not to the schema: the reader's role and rights, settings.
pub async fn set_up_roles(client: &Client) -> Result<()> {
    client.batch_execute(ROLES).await.map_err(failed("cannot set up the reader's role"))
}

/// What migrate did.
#[derive(Debug)]
pub struct Migrated {
    /// The scripts that were applied.
    pub applied: Vec<&'static str>,
    /// What the database is for.
    pub kind: Kind,
    /// How it stores its series.
    pub backend: Backend,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.applied.as_slice() {
            [] => f.write_str("nothing to do")?,
            names => write!(f, "applied {}", names.join(", "))?,
        }
        write!(f, "; a {} database, {} storage", self.kind, self.backend.as_str())
    }
}

/// Looks what a database holds. A newer schema, or a script that was changed after it was applied, is refused.
pub async fn state(client: &Client) -> Result<State> {
    let doing = failed("cannot read the schema's version");
    let ours: bool = client
        .query_one("SELECT to_regclass('ops.migrations') IS NOT NULL", &[])
        .await
        .map_err(&doing)?
        .get(0);
    if !ours {
        let query = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^_?timescale' \
                     AND n.nspname !~ '^pg_t' AND c.relkind IN ('r', 'p', 'v', 'm')";
        let tables: i64 = client.query_one(query, &[]).await.map_err(&doing)?.get(0);
        return Ok(if tables == 0 { State::Empty } else { State::Foreign });
    }
    let applied = client
        .query("SELECT version, name, checksum FROM ops.migrations ORDER BY version", &[])
        .await
        .map_err(&doing)?;
    let backend = applied.first().map_or(Backend::Native, |row| Backend::named(row.get(1)));
    for row in &applied {
        let (version, name, checksum): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
        if version > newest() {
            return Err(Error::Refused {
                what: format!(
                    "the database has schema version {version} ({name}), newer than this kdata knows"
                ),
                help: "install the kdata that made it, or a newer one".into(),
            });
        }
        let script = MIGRATIONS.iter().find(|(v, _, _)| *v == version).map(|m| m.2.text(backend));
        if script.is_some_and(|script| self::checksum(script) != checksum) {
            return Err(Error::Refused {
                what: format!("migration {version} ({name}) differs from the one that was applied"),
                help: "this kdata and the database do not belong together: install the kdata that made it"
                    .into(),
            });
        }
    }
    let unfinished = client
        .query_one(
            "SELECT obj_description('ops.migrations'::regclass) IS NOT DISTINCT FROM $1",
            &[&UNFINISHED],
        )
        .await
        .map_err(&doing)?;
    if unfinished.get(0) {
        return Ok(State::Unfinished);
    }
    let has = |version: i32| applied.iter().any(|row| row.get::<_, i32>(0) == version);
    if !MIGRATIONS.iter().all(|(version, _, _)| has(*version)) {
        return Ok(State::Older);
    }
    let row = client.query_one("SELECT kind FROM ops.settings", &[]).await.map_err(&doing)?;
    let kind = if row.get::<_, &str>(0) == "demo" { Kind::Demo } else { Kind::Live };
    Ok(State::Current(kind, backend))
}

/// The same once nobody migrates.
pub async fn settled_state(client: &Client) -> Result<State> {
    let doing = failed("cannot wait for a migration");
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(&doing)?;
    let state = state(client).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(&doing)?;
    state
}

/// Brings the schema up to date; twice is the same as once. `kind` is what a new database becomes, and what an
/// existing one must be.
pub async fn migrate(
    client: &mut Client,
    kind: Kind,
    choice: BackendChoice,
    calendar: &Calendar,
) -> Result<Migrated> {
    let doing = failed("cannot migrate the schema");
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(&doing)?;
    let outcome = migrate_locked(client, kind, choice, calendar).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(&doing)?;
    outcome
}

async fn migrate_locked(
    client: &mut Client,
    kind: Kind,
    choice: BackendChoice,
    calendar: &Calendar,
) -> Result<Migrated> {
    let doing = failed("cannot migrate the schema");
    let before = state(client).await?;
    if let State::Current(is, backend) = before {
        if is != kind {
            return Err(Error::Refused {
                what: format!("the database is a {is} one, and stays it"),
                help: "choose another database: simulated and real data never share one".into(),
            });
        }
        sync_calendar(client, calendar).await?;
        set_up_roles(client).await?;
        return Ok(Migrated { applied: Vec::new(), kind, backend });
    }
    let backend = choose_backend(client, choice).await?;
    // Whoever is stopped from here on is gone on for by the next command: nothing of it was used.
    let remark = match before {
        State::Empty | State::Unfinished => format!("COMMENT ON TABLE ops.migrations IS '{UNFINISHED}'"),
        State::Foreign | State::Older | State::Current(..) => String::new(),
    };
    client
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS ops; CREATE SCHEMA IF NOT EXISTS staging; CREATE SCHEMA IF NOT EXISTS market; \
             CREATE TABLE IF NOT EXISTS ops.migrations (version int PRIMARY KEY, name text NOT NULL, \
             checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); {remark}"
        ))
        .await
        .map_err(&doing)?;
    let mut applied = Vec::new();
    let first = Script::Each {
        timescale: include_str!("../../sql/backend/timescale.sql"),
        native: include_str!("../../sql/backend/native.sql"),
    };
    for (version, name, script) in std::iter::once(&(0, backend.as_str(), first)).chain(MIGRATIONS) {
        let transaction = client.transaction().await.map_err(&doing)?;
        if apply(&transaction, *version, name, script.text(backend), kind, backend).await? {
            applied.push(*name);
        }
        transaction.commit().await.map_err(&doing)?;
    }
    sync_calendar(client, calendar).await?;
    set_up_roles(client).await?;
    client
        .batch_execute("COMMENT ON TABLE ops.migrations IS 'The scripts that made this schema.'")
        .await
        .map_err(&doing)?;
    match state(client).await? {
        State::Current(is, backend) => Ok(Migrated { applied, kind: is, backend }),
        other => unreachable!("a migrated schema is current, not {other:?}"),
    }
}

async fn apply(
    transaction: &Transaction<'_>,
    version: i32,
    name: &str,
    script: &str,
    kind: Kind,
    backend: Backend,
) -> Result<bool> {
    let doing = failed("cannot apply a migration");
    let known = transaction
        .query_opt("SELECT 1 FROM ops.migrations WHERE version = $1", &[&version])
        .await
        .map_err(&doing)?;
    if known.is_some() {
        return Ok(false);
    }
    transaction.batch_execute(script).await.map_err(&doing)?;
    if version == 1 {
        let values = [&kind.as_str() as &(dyn tokio_postgres::types::ToSql + Sync), &backend.as_str()];
        transaction
            .execute("INSERT INTO ops.settings (kind, backend) VALUES ($1, $2)", &values)
            .await
            .map_err(&doing)?;
    }
    transaction
        .execute(
            "INSERT INTO ops.migrations (version, name, checksum) VALUES ($1, $2, $3)",
            &[&version, &name, &checksum(script)],
        )
        .await
        .map_err(&doing)?;
    Ok(true)
}

/// A backend once chosen stays: version 0 in the ledger names it.
async fn choose_backend(client: &Client, choice: BackendChoice) -> Result<Backend> {
    let doing = failed("cannot look for TimescaleDB");
    let begun: bool = client
        .query_one("SELECT to_regclass('ops.migrations') IS NOT NULL", &[])
        .await
        .map_err(&doing)?
        .get(0);
    if begun {
        let row = client
            .query_opt("SELECT name FROM ops.migrations WHERE version = 0", &[])
            .await
            .map_err(&doing)?;
        if let Some(row) = row {
            return Ok(Backend::named(row.get(0)));
        }
    }
    if choice == BackendChoice::Native {
        return Ok(Backend::Native);
    }
    let query = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') \
                 AND coalesce(current_setting('shared_preload_libraries', true), '') LIKE '%timescaledb%'";
    let offered: bool = client.query_one(query, &[]).await.map_err(&doing)?.get(0);
    let created = if offered {
        client
            .batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            .await
            .map_err(failed("cannot create the extension"))
    } else {
        Err(Error::usage(
            "the server does not offer TimescaleDB",
            "install it and put timescaledb into shared_preload_libraries, or set KDATA_BACKEND=native",
        ))
    };
    match (created, choice) {
        (Ok(()), _) => Ok(Backend::Timescale),
        (Err(error), BackendChoice::Timescale) => Err(error),
        (Err(error), _) => {
            tracing::info!("native partitions: {error}");
            Ok(Backend::Native)
        }
    }
}

/// Writes the calendar's sessions into `market.trading_days`, when they differ from what stands there.
pub async fn sync_calendar(client: &mut Client, calendar: &Calendar) -> Result<()> {
    let doing = failed("cannot write the trading days");
    let (first, last) = calendar.covers();
    let query =
        "SELECT calendar IS NOT DISTINCT FROM $1 AND covers_from = $2 AND covers_to = $3 FROM ops.settings";
    let shown: Option<bool> =
        client.query_one(query, &[&calendar.id(), &first, &last]).await.map_err(&doing)?.get(0);
    if shown == Some(true) {
        return Ok(());
    }
    let days = calendar.sessions(first, last);
    let hours: Vec<_> = days
        .iter()
        .map(|day| match calendar.day(*day) {
            Day::Session(hours) => hours,
            _ => None,
        })
        .collect();
    let opens: Vec<_> = hours.iter().map(|h| h.map(|h| h.open)).collect();
    let closes: Vec<_> = hours.iter().map(|h| h.map(|h| h.close)).collect();
    let certain: Vec<bool> = days.iter().map(|d| calendar.is_certain(*d)).collect();
    let remarks: Vec<Option<&str>> = days.iter().map(|d| calendar.remark(*d)).collect();
    let transaction = client.transaction().await.map_err(&doing)?;
    transaction
        .batch_execute("CREATE TEMP TABLE days (LIKE market.trading_days) ON COMMIT DROP")
        .await
        .map_err(&doing)?;
    transaction
        .execute(
            "INSERT INTO days SELECT d.time, lag(d.time) OVER (ORDER BY d.time), d.opens, d.closes, d.certain, d.remark \
             FROM unnest($1::date[], $2::time[], $3::time[], $4::bool[], $5::text[]) AS d(time, opens, closes, certain, remark)",
            &[&days, &opens, &closes, &certain, &remarks],
        )
        .await
        .map_err(&doing)?;
    transaction
        .batch_execute(
            "DELETE FROM market.trading_days t WHERE NOT EXISTS (SELECT FROM days d WHERE d.time = t.time); \
             UPDATE market.trading_days t SET (prev_time, opens_at, closes_at, certain, remark) = \
                    (d.prev_time, d.opens_at, d.closes_at, d.certain, d.remark) FROM days d \
             WHERE d.time = t.time AND (t.*) IS DISTINCT FROM (d.*); \
             INSERT INTO market.trading_days SELECT * FROM days d \
             WHERE NOT EXISTS (SELECT FROM market.trading_days t WHERE t.time = d.time)",
        )
        .await
        .map_err(&doing)?;
    let query = "UPDATE ops.settings SET calendar = $1, covers_from = $2, covers_to = $3";
    transaction.execute(query, &[&calendar.id(), &first, &last]).await.map_err(&doing)?;
    transaction.commit().await.map_err(&doing)
}

fn checksum(script: &str) -> String {
    format!("{:08x}", crc32fast::hash(script.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let mut files: Vec<String> =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/migrations"))
                .unwrap()
                .map(|f| f.unwrap().file_name().into_string().unwrap())
                .collect();
        files.sort();
        let same = MIGRATIONS.iter().filter(|(_, _, script)| matches!(script, Script::Same(_)));
        let listed: Vec<String> = same.map(|(v, name, _)| format!("{v:04}_{name}.sql")).collect();
        assert_eq!(files, listed);
    }
}
