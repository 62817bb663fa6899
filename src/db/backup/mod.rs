//! Backups: `pg_dump`'s directory form, compressed and written in parallel, with a manifest of every table's rows and
//! fingerprint as of the same snapshot, so that a restored copy can be compared with what the database held.
//!
//! A backup is a folder `<database>-<time in Seoul>`; it gets that name when it is whole. Staging is left out: its
//! tables live for minutes, and holding them would make a promote wait.

mod manifest;
mod restore;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::{Client, IsolationLevel};

use self::manifest::{About, DUMP, Manifest, RELATIONS, contents};
pub use self::restore::{Restored, Verified, restore, verify};
use super::cluster;
use super::{Database, Place, failed};
use crate::error::{Error, Result};
use crate::market::kst;
use crate::settings::Settings;

/// Marks a folder that is not finished.
const PARTIAL: &str = ".partial";
/// Beside the manifest, once a backup was restored and compared.
const VERIFIED: &str = "verified";
/// Fewer rows than this share of an older backup's: nothing older is deleted.
const SHRUNK: f64 = 0.99;

/// What making a backup did.
#[derive(Debug)]
pub struct Made {
    /// The backup's folder.
    pub folder: PathBuf,
    /// Tables, partitions and chunks.
    pub tables: usize,
    /// Rows of the tables that clients read.
    pub rows: i64,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Older backups that were deleted.
    pub deleted: Vec<String>,
    /// Why no older one was, if so.
    pub kept_because: Option<String>,
}

/// A backup at hand.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its folder's name.
    pub name: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// It was restored once and found equal.
    pub verified: bool,
    /// Of which database.
    pub database: String,
    rows: i64,
}

/// The folder of backups: `KDATA_BACKUPS`, else `backups` in kdata's home.
pub fn folder(settings: &Settings) -> Result<PathBuf> {
    settings.backups.clone().map_or_else(|| Ok(cluster::home(settings)?.join("backups")), Ok)
}

/// Makes a backup, then deletes those older than `keep_days` that are not needed any more.
pub async fn backup(
    database: &Database,
    settings: &Settings,
    now: DateTime<Utc>,
    keep_days: u16,
) -> Result<Made> {
    let parent = folder(settings)?;
    make_folder(&parent)?;
    let _lock = lock(&parent, true)?;
    remove_leftovers(&parent);
    let name = format!("{}-{}", database.place.name(), now.with_timezone(&kst()).format("%Y%m%dT%H%M%S"));
    let (partial, whole) = (parent.join(format!("{name}{PARTIAL}")), parent.join(&name));
    if whole.exists() {
        return Err(Error::usage(format!("{} exists already", whole.display()), "run it again in a second"));
    }
    make_folder(&partial)?;
    let dumped = dump(database, settings, &partial, now).await;
    let manifest = match dumped {
        Ok(manifest) => manifest,
        Err(error) => {
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
    };
    let renamed = fs::rename(&partial, &whole).and_then(|()| File::open(&parent)?.sync_all());
    renamed.map_err(|e| Error::io(format!("cannot name the backup {}", whole.display()), e))?;
    let (expendable, kept_because) = expendable(&list(&parent), &name, now, keep_days);
    let mut deleted = Vec::new();
    for name in expendable {
        let path = parent.join(&name);
        fs::remove_dir_all(&path).map_err(|e| Error::io(format!("cannot delete {}", path.display()), e))?;
        deleted.push(name);
    }
    Ok(Made {
        folder: whole,
        tables: manifest.tables.len(),
        rows: manifest.rows(),
        bytes: manifest.bytes(),
        deleted,
        kept_because,
    })
}

/// Dumps and reads the contents at the same time, in one snapshot.
async fn dump(
    database: &Database,
    settings: &Settings,
    folder: &Path,
    now: DateTime<Utc>,
) -> Result<Manifest> {
    let doing = failed("cannot make a backup");
    let mut client = database.place.connect().await?;
    let relations = client.query(RELATIONS, &[]).await.map_err(&doing)?;
    let relations: Vec<String> = relations.iter().map(|row| row.get(0)).collect();
    let (major, server, timescaledb, schema) = server(&client).await?;
    let pg_dump = cluster::client_program(settings, "pg_dump", major)?;
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(&doing)?;
    // Before the snapshot is taken: a table that is emptied (as compressing a chunk does) between snapshot and lock
    // would look empty to both the dump and the count.
    let locks = format!("LOCK TABLE {} IN ACCESS SHARE MODE", relations.join(", "));
    transaction.batch_execute("SET LOCAL lock_timeout = '60s'").await.map_err(&doing)?;
    transaction.batch_execute(&locks).await.map_err(&doing)?;
    let snapshot: String =
        transaction.query_one("SELECT pg_export_snapshot()", &[]).await.map_err(&doing)?.get(0);
    let jobs = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    let mut command = database.place.program(&pg_dump);
    command.args(["--format=directory", "--compress=3", "--no-password", "--exclude-table=staging.*"]);
    command.arg(format!("--jobs={jobs}")).arg(format!("--snapshot={snapshot}"));
    command.arg("--file").arg(folder.join(DUMP));
    let dumping = tokio::task::spawn_blocking(move || run(&mut command, "pg_dump"));
    let contents = contents(&transaction).await;
    dumping.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let about = About {
        database: database.place.name(),
        kind: database.kind,
        backend: database.backend,
        schema,
        server,
        timescaledb,
        made_at: now,
    };
    let manifest = Manifest::new(about, contents?, folder)?;
    manifest.write(folder)?;
    Ok(manifest)
}

/// The server's major version and version, the extension's, and the schema's.
async fn server(client: &Client) -> Result<(u32, String, Option<String>, i32)> {
    let query = "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'), \
                 (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), \
                 (SELECT max(version) FROM ops.migrations)";
    let row = client.query_one(query, &[]).await.map_err(failed("cannot ask for the server's version"))?;
    Ok((u32::try_from(row.get::<_, i32>(0)).unwrap_or(0), row.get(1), row.get(2), row.get(3)))
}

/// Runs one of PostgreSQL's programs to its end.
fn run(command: &mut Command, name: &str) -> Result<()> {
    let output = command.output().map_err(|e| Error::io(format!("cannot run {name}"), e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("error")).take(3).collect();
    Err(Error::Database {
        what: format!(
            "{name} failed: {}",
            if lines.is_empty() { said.trim().to_owned() } else { lines.join("; ") }
        ),
        help: "nothing was kept of it; see that the disk has room and the server runs, then run it again"
            .into(),
    })
}

/// The backups at hand, oldest first. A folder without a readable manifest is none.
pub fn list(folder: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut kept: Vec<Kept> = entries
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with(PARTIAL))
        .filter_map(|entry| {
            let manifest = Manifest::read(&entry.path()).ok()?;
            Some(Kept {
                name: entry.file_name().to_string_lossy().into_owned(),
                made_at: manifest.made_at,
                verified: entry.path().join(VERIFIED).exists(),
                rows: manifest.rows(),
                database: manifest.database,
            })
        })
        .collect();
    kept.sort_by(|a, b| (a.made_at, &a.name).cmp(&(b.made_at, &b.name)));
    kept
}

/// Which backups may go, after `new` was made; or why none.
fn expendable(all: &[Kept], new: &str, now: DateTime<Utc>, keep_days: u16) -> (Vec<String>, Option<String>) {
    let Some(made) = all.iter().find(|b| b.name == new) else {
        return (Vec::new(), None);
    };
    let older: Vec<&Kept> = all.iter().filter(|b| b.database == made.database && b.name != new).collect();
    let most = older.iter().map(|b| b.rows).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a share of row counts")]
    if (made.rows as f64) < most as f64 * SHRUNK {
        let why = format!(
            "it holds {} rows, an older one {most}: if the loss is meant, delete older ones by hand",
            made.rows
        );
        return (Vec::new(), Some(why));
    }
    // The one proven last stays, however old: the new one is not proven yet.
    let proven = older.iter().rev().find(|b| b.verified).map(|b| &b.name);
    let oldest = now - TimeDelta::days(i64::from(keep_days));
    let old = older.iter().filter(|b| b.made_at < oldest && Some(&b.name) != proven);
    (old.map(|b| b.name.clone()).collect(), None)
}

fn make_folder(path: &Path) -> Result<()> {
    // Only for its owner: it holds all that the database holds.
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| {
        Error::usage(
            format!("cannot create {}: {e}", path.display()),
            "set KDATA_BACKUPS to a folder of yours",
        )
    })
}

/// One backup at a time; reading shares.
fn lock(folder: &Path, alone: bool) -> Result<File> {
    let cannot = |e| Error::io(format!("cannot lock {}", folder.display()), e);
    let file = File::open(folder).map_err(cannot)?;
    match if alone { file.try_lock() } else { file.try_lock_shared() } {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(e)) => Err(cannot(e)),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            what: format!("another kdata works on the backups in {}", folder.display()),
            help: "wait for it to end, then run the same again".into(),
        }),
    }
}

/// Under the lock: whoever left these is gone.
fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The folder that the user means: a path, a name among the backups, or the newest of this database.
pub fn find(settings: &Settings, name: Option<&str>, database: &str) -> Result<PathBuf> {
    let parent = folder(settings)?;
    let Some(name) = name else {
        let newest = list(&parent).into_iter().rfind(|b| b.database == database);
        return newest.map(|b| parent.join(b.name)).ok_or_else(|| {
            Error::usage(
                format!("there is no backup of {database} in {}", parent.display()),
                "`kdata db backup` makes one; KDATA_BACKUPS says where they are",
            )
        });
    };
    let known = parent.join(name);
    let path = if known.is_dir() { known } else { PathBuf::from(name) };
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(path),
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("cannot read {}", path.display()), e))
        }
        _ => Err(Error::usage(
            format!("{name} is neither a folder nor a backup in {}", parent.display()),
            "name a backup by its folder",
        )),
    }
}

impl Place {
    /// One of PostgreSQL's programs, told how to connect. Not by its arguments: all users of the machine see those.
    fn program(&self, program: &Path) -> Command {
        use tokio_postgres::config::{ChannelBinding, Host, SslNegotiation};
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null());
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => command.env("PGHOST", host),
            Some(Host::Unix(path)) => command.env("PGHOST", path),
            None => command.env("PGHOST", "localhost"),
        };
        if let Some(port) = self.config.get_ports().first() {
            command.env("PGPORT", port.to_string());
        }
        if let Some(user) = self.config.get_user() {
            command.env("PGUSER", user);
        }
        if let Some(password) = self.config.get_password() {
            command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
        }
        if let Some(address) = self.config.get_hostaddrs().first() {
            command.env("PGHOSTADDR", address.to_string());
        }
        match self.config.get_channel_binding() {
            ChannelBinding::Disable => command.env("PGCHANNELBINDING", "disable"),
            ChannelBinding::Require => command.env("PGCHANNELBINDING", "require"),
            _ => &mut command,
        };
        if self.config.get_ssl_negotiation() == SslNegotiation::Direct {
            command.env("PGSSLNEGOTIATION", "direct");
        }
        if let Some(options) = self.config.get_options() {
            command.env("PGOPTIONS", options);
        }
        // As kdata itself connects.
        self.tls.tell(&mut command);
        command.env("PGDATABASE", self.name());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, days_ago: i64, rows: i64, verified: bool) -> Kept {
        let made_at = DateTime::UNIX_EPOCH + TimeDelta::days(1000 - days_ago);
        Kept { name: name.into(), made_at, verified, database: "kdata".into(), rows }
    }

    fn deleted(all: &[Kept]) -> (Vec<String>, bool) {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        let (names, why) = expendable(all, "new", now, 7);
        (names, why.is_some())
    }

    #[test]
    fn old_ones_go_and_the_last_good_one_stays() {
        let new = kept("new", 0, 100, false);
        let old = |name, days, verified| kept(name, days, 100, verified);
        assert_eq!(
            deleted(&[old("a", 9, false), old("b", 8, false), old("c", 7, false), new.clone()]),
            (vec!["a".into(), "b".into()], false)
        );
        // The newest of those that were proven stays.
        let all = [old("a", 10, true), old("b", 9, true), old("c", 8, false), new.clone()];
        assert_eq!(deleted(&all), (vec!["a".into(), "c".into()], false));
        // Of another database: not ours to delete.
        let other = Kept { database: "kdata_demo".into(), ..old("d", 99, false) };
        assert_eq!(deleted(&[other, new.clone()]), (vec![], false));
        assert_eq!(deleted(&[new]), (vec![], false));
    }

    #[test]
    fn a_backup_of_less_deletes_nothing() {
        let old = kept("a", 30, 1000, false);
        assert_eq!(deleted(&[old.clone(), kept("new", 0, 0, false)]), (vec![], true));
        assert_eq!(deleted(&[old.clone(), kept("new", 0, 989, false)]), (vec![], true));
        assert_eq!(deleted(&[old, kept("new", 0, 990, false)]), (vec!["a".into()], false));
    }
}
