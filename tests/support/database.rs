//! One private cluster a run of the tests, made by kdata itself, and a database for each test.

use std::fs::{self, Permissions};
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{KDATA, Run, Work, announce};

/// The cluster that all tests share.
pub struct Cluster {
    /// The owner's URL with `{}` for the database.
    url: String,
    /// TimescaleDB's version, where the server offers it.
    pub timescale: Option<String>,
}

/// The cluster; the first test that asks starts it. Without server binaries the test fails and says so.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// What the tests inherit: where programs are, and where server binaries are if the user says so.
#[expect(clippy::disallowed_methods, reason = "tests have no settings.rs")]
fn inherited() -> impl Iterator<Item = (&'static str, String)> {
    ["PATH", "KDATA_PG_BIN"].into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)))
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("kdata-it-").tempdir().unwrap().keep();
        // PostgreSQL runs as another user where the tests run as root.
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let home = folder.join("home").display().to_string();
        stop_when_gone(&folder.display().to_string(), &home);
        let kdata = |args: &[&str]| -> Run {
            let mut command = Command::new(KDATA);
            command.args(args).env_clear().envs(inherited()).env("KDATA_HOME", &home);
            command.current_dir(&folder).stdin(Stdio::null()).output().unwrap().into()
        };
        let started = kdata(&["db", "start"]);
        assert_eq!(
            started.code, 0,
            "the tests need PostgreSQL's server binaries, 15 or newer (KDATA_PG_BIN says where):\n{}",
            started.stderr
        );
        let url = kdata(&["db", "url"]).ok().trim().replacen("/kdata?", "/{}?", 1);
        let server = Session::connect(&url.replace("{}", "postgres"));
        // The data are worth nothing after the run.
        for setting in ["fsync = off", "synchronous_commit = off", "full_page_writes = off"] {
            server.rows(&format!("ALTER SYSTEM SET {setting}"));
        }
        // A role that needs a password; the owner and the reader are known by their OS user.
        let line = "local all stranger scram-sha-256\n";
        fs::OpenOptions::new()
            .append(true)
            .open(format!("{home}/pg_hba.conf"))
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        server.rows("CREATE ROLE stranger LOGIN PASSWORD 'right'");
        server.rows("SELECT pg_reload_conf()");
        let offered = server.rows(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb' \
             AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'",
        );
        let timescale = offered.first().cloned();
        let version = server.rows("SHOW server_version").concat();
        announce(&match &timescale {
            Some(timescale) => format!("PostgreSQL {version}; storage: native AND TimescaleDB {timescale}"),
            None => {
                format!("PostgreSQL {version}; storage: native ONLY (the server does not offer TimescaleDB)")
            }
        });
        if let Some(folder) = super::real_data() {
            announce(&format!("real data: {}", folder.display()));
        }
        Self { url, timescale }
    }

    /// The URL of a role that must say its password, which is `right`.
    pub fn with_password(&self, password: &str) -> String {
        self.url.replace("{}", "postgres").replacen("kdata@", &format!("stranger:{password}@"), 1)
    }
}

/// Statics are not dropped: a shell waits for this process to end, however it ends, and clears up.
#[expect(clippy::zombie_processes, reason = "it outlives us")]
pub fn stop_when_gone(folder: &str, home: &str) {
    let script = "while kill -0 \"$1\" 2>/dev/null; do sleep 0.2; done; \
                  KDATA_HOME=\"$3\" \"$4\" db stop; rm -rf \"$2\"";
    let pid = std::process::id().to_string();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh", &pid, folder, home, KDATA]).env_clear().envs(inherited());
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A process group of its own: Ctrl-C ends the tests, not this.
    shell.current_dir("/").process_group(0).spawn().unwrap();
}

/// A connection whose answers are text.
pub struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Session {
    pub fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap()
    }

    pub fn try_connect(url: &str) -> Result<Self, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// The rows of an answer, columns separated by `|`, NULL as `-`; the server's error as text.
    pub fn try_rows(&self, sql: &str) -> Result<Vec<String>, String> {
        let answer = self.runtime.block_on(self.client.simple_query(sql));
        let messages =
            answer.map_err(|e| e.as_db_error().map_or(e.to_string(), |db| db.message().to_owned()))?;
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or("-")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.try_rows(sql).unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// The only row.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows[0].clone()
    }
}

/// A fresh database, and a folder whose commands work on it.
pub struct Db {
    pub work: Work,
    pub url: String,
    pub backend: &'static str,
    session: Session,
}

impl Deref for Db {
    type Target = Work;
    fn deref(&self) -> &Work {
        &self.work
    }
}

impl DerefMut for Db {
    fn deref_mut(&mut self) -> &mut Work {
        &mut self.work
    }
}

/// The tables that clients read.
const MARKET: [&str; 13] = [
    "stocks",
    "stock_history",
    "ohlcv_daily",
    "market_cap_daily",
    "session_status",
    "corporate_actions",
    "sectors",
    "index_components",
    "floating_shares",
    "etf_portfolios",
    "snapshots",
    "ohlcv_minute",
    "investor_trading",
];

impl Db {
    pub fn native() -> Self {
        Self::new("native")
    }

    /// `None`, and said, where the server does not offer TimescaleDB.
    pub fn timescale(test: &str) -> Option<Self> {
        if cluster().timescale.is_none() {
            announce(&format!("{test}: NOT RUN, this server does not offer TimescaleDB"));
            return None;
        }
        Some(Self::new("timescale"))
    }

    /// Promotes what is staged. A vendor's market on loopback is small, so that gates about the size of markets hold it: a
    /// batch is promoted all the same when it is held by these rules and no other.
    #[track_caller]
    pub fn promote_over(&self, gates: &[&str]) -> String {
        let run = self.kdata("promote");
        if run.code != 3 {
            return run.ok();
        }
        let batch = self.value("SELECT batch_id FROM ops.batches WHERE state = 'staged'");
        let query =
            format!("SELECT DISTINCT rule FROM ops.flags WHERE severity = 'gate' AND batch_id = {batch}");
        for rule in self.rows(&query) {
            assert!(gates.contains(&rule.as_str()), "{rule}: {run:#?}");
        }
        self.kdata(&format!("promote --batch {batch} --force")).ok()
    }

    /// Another database of the same storage.
    pub fn another(&self) -> Self {
        Self::new(self.backend)
    }

    fn new(backend: &'static str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = |database: &str| cluster().url.replace("{}", database);
        // template0: nobody can be connected to it, which would make this fail. Copied as files: no WAL is wanted.
        Session::connect(&url("postgres"))
            .rows(&format!("CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy"));
        let url = url(&name);
        let mut work = Work::new();
        let marcap = work.path("marcap").display().to_string();
        work.set("DATABASE_URL", &url).set("KDATA_BACKEND", backend).set("KDATA_MARCAP", &marcap);
        Self { work, backend, session: Session::connect(&url), url }
    }

    /// Connects anew, after the database was replaced.
    pub fn reconnect(&mut self) {
        self.session = Session::connect(&self.url);
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.session.rows(sql)
    }

    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        self.session.value(sql)
    }

    /// Stages a stream; returns the batch's number.
    #[track_caller]
    pub fn load(&self, stream: &str) -> String {
        self.feed("load", stream.as_bytes()).ok().trim().to_owned()
    }

    /// Brings a dataset's sessions from marcap into production through the real pipe.
    #[track_caller]
    pub fn pipe(&self, dataset: &str, from: &str, to: &str) -> Run {
        let run = self.sh(&format!(
            "kdata extract {dataset} --source marcap --from {from} --to {to} | kdata validate | \
             kdata load && kdata promote"
        ));
        assert_eq!(run.code, 0, "{run:#?}");
        run
    }

    /// Checksums of all that clients read, whatever the order of rows; without what tells how it came there.
    pub fn production(&self) -> Vec<String> {
        self.checksums("AND column_name NOT IN ('batch_id', 'promoted_at')")
    }

    /// The same with batch numbers and times of promotion.
    pub fn production_to_the_letter(&self) -> Vec<String> {
        self.checksums("")
    }

    fn checksums(&self, and: &str) -> Vec<String> {
        let checksum = |table: &str| {
            let columns = self.value(&format!(
                "SELECT string_agg(column_name, ', ' ORDER BY column_name) FROM information_schema.columns \
                 WHERE table_schema = 'market' AND table_name = '{table}' {and}"
            ));
            self.value(&format!(
                "SELECT '{table}', count(*), sum(hashtextextended(ROW({columns})::text, 0)) \
                 FROM market.{table}"
            ))
        };
        MARKET.iter().map(|table| checksum(table)).collect()
    }

    /// Which transactions wrote which rows where.
    pub fn versions(&self) -> Vec<String> {
        let of_table = |table: &&str, row: &str| {
            format!(
                "SELECT '{table}', count(*), sum(hashtextextended(ROW({row})::text, 0)) FROM market.{table} m"
            )
        };
        let versions = |table: &&str| {
            // Rows of compressed parts have no place of their own: there, what they hold must do.
            let versions = self.session.try_rows(&of_table(table, "tableoid, ctid, xmin"));
            versions.map_or_else(|_| self.value(&of_table(table, "m.*")), |rows| rows.concat())
        };
        MARKET.iter().map(versions).collect()
    }

    /// The same, and how often the server wrote rows at all, also in transactions that were undone.
    pub fn writes(&self) -> Vec<String> {
        // Counters arrive with the end of their session.
        self.wait_for_the_others();
        let counters = "SELECT 'written', sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_all_tables \
                        WHERE schemaname IN ('market', '_timescaledb_internal')";
        self.versions().into_iter().chain([self.value(counters)]).collect()
    }

    /// Waits until no session of kdata is left, also of one that was killed.
    pub fn wait_for_the_others(&self) {
        self.wait_until(
            "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'kdata')",
        );
    }

    /// Waits until a condition holds, for a minute.
    #[track_caller]
    pub fn wait_until(&self, condition: &str) {
        let begun = Instant::now();
        while self.value(&format!("SELECT {condition}")) != "t" {
            assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {condition}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Insists that no batch waits and no table is left over.
    #[track_caller]
    pub fn nothing_is_staged(&self) {
        let tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'");
        assert!(tables.is_empty(), "{tables:?}");
        let batches = self.rows("SELECT batch_id FROM ops.batches WHERE state = 'staged'");
        assert!(batches.is_empty(), "{batches:?}");
    }
}
