//! Verifying and restoring: both restore into a scratch database and compare it with the manifest; restoring then gives
//! it the database's name. So a damaged backup never replaces anything, and nothing is half restored.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use chrono::{DateTime, Utc};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel};

use super::manifest::{DUMP, Manifest, contents, damaged};
use super::{VERIFIED, lock, run};
use crate::db::cluster;
use crate::db::migrate::{self, Backend, State};
use crate::db::{Place, failed};
use crate::error::{Error, Result};
use crate::market::kst;
use crate::settings::Settings;

/// What verifying found: all as it was.
#[derive(Debug)]
pub struct Verified {
    /// Tables, partitions and chunks that were compared.
    pub tables: usize,
    /// Rows of the tables that clients read.
    pub rows: i64,
    /// When the backup was made.
    pub made_at: DateTime<Utc>,
}

/// What restoring did.
#[derive(Debug)]
pub struct Restored {
    /// What was compared on the way.
    pub verified: Verified,
    /// The database that stood there before, under its new name.
    pub replaced: Option<String>,
    /// Staged batches, which a backup does not hold: they are discarded.
    pub discarded: u64,
}

/// Proves a backup: its files by their checksums, its contents by restoring them beside and comparing every table.
pub async fn verify(
    place: &Place,
    settings: &Settings,
    folder: &Path,
    now: DateTime<Utc>,
) -> Result<Verified> {
    let _lock = lock(folder.parent().unwrap_or(folder), false)?;
    let manifest = Manifest::read(folder)?;
    manifest.check_files(folder)?;
    let server = maintenance(place).await?;
    let scratch = Scratch::create(&server, place).await?;
    let outcome = scratch.fill(settings, folder, &manifest).await;
    scratch.drop(&server).await?;
    outcome?;
    let mark = folder.join(VERIFIED);
    fs::write(&mark, format!("{}\n", now.with_timezone(&kst()).to_rfc3339()))
        .and_then(|()| File::open(&mark)?.sync_all())
        .map_err(|e| Error::io(format!("cannot write {}", mark.display()), e))?;
    Ok(told(&manifest))
}

/// Restores a backup into the place's database. One that holds data is only replaced on demand, and kept.
pub async fn restore(
    place: &Place,
    settings: &Settings,
    folder: &Path,
    replace: bool,
    now: DateTime<Utc>,
) -> Result<Restored> {
    let _lock = lock(folder.parent().unwrap_or(folder), false)?;
    let manifest = Manifest::read(folder)?;
    if manifest.schema > migrate::newest() {
        return Err(Error::Refused {
            what: format!("the backup has schema version {}, newer than this kdata knows", manifest.schema),
            help: format!("install the kdata that made it ({}), or a newer one", manifest.kdata),
        });
    }
    let there = standing(place).await?;
    if there == Some(true) && !replace {
        return Err(Error::Refused {
            what: format!("the database {} holds data", place.name()),
            help:
                "`kdata db restore … --replace` puts the backup in its place and keeps it under another name"
                    .into(),
        });
    }
    manifest.check_files(folder)?;
    let server = maintenance(place).await?;
    let scratch = Scratch::create(&server, place).await?;
    let finished = match scratch.fill(settings, folder, &manifest).await {
        Ok(()) => scratch.finish().await,
        Err(error) => Err(error),
    };
    let discarded = match finished {
        Ok(discarded) => discarded,
        Err(error) => {
            scratch.drop(&server).await?;
            return Err(error);
        }
    };
    let old = format!("{}_until_{}", place.name(), now.with_timezone(&kst()).format("%Y%m%dt%H%M%S"));
    scratch.take_the_place(&server, place.name(), there.map(|_| old.as_str())).await?;
    let replaced = match there {
        Some(true) => Some(old),
        // It was empty.
        Some(false) => {
            let drop = format!("DROP DATABASE {}", quoted(&old));
            server.batch_execute(&drop).await.map_err(failed("cannot drop the empty database"))?;
            None
        }
        None => None,
    };
    Ok(Restored { verified: told(&manifest), replaced, discarded })
}

fn told(manifest: &Manifest) -> Verified {
    Verified { tables: manifest.tables.len(), rows: manifest.rows(), made_at: manifest.made_at }
}

/// Does the database exist, and does it hold anything?
async fn standing(place: &Place) -> Result<Option<bool>> {
    let client = match place.try_connect().await {
        Ok(client) => client,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_DATABASE) => return Ok(None),
        Err(_) => place.connect().await?,
    };
    Ok(Some(!matches!(migrate::state(&client).await, Ok(State::Empty))))
}

/// A connection beside the database, to create, rename and drop.
async fn maintenance(place: &Place) -> Result<Client> {
    match place.beside("postgres").try_connect().await {
        Ok(_) => place.beside("postgres").connect().await,
        Err(_) => place.beside("template1").connect().await,
    }
}

/// A database to restore into, locked so that nobody else uses its name.
struct Scratch {
    place: Place,
}

impl Scratch {
    async fn create(server: &Client, place: &Place) -> Result<Self> {
        let doing = failed("cannot create a scratch database");
        let name = format!("{}_scratch", place.name());
        let query = "SELECT pg_try_advisory_lock(hashtext('kdata.scratch'), hashtext($1))";
        let locked: bool = server.query_one(query, &[&name]).await.map_err(&doing)?.get(0);
        if !locked {
            return Err(Error::Locked {
                what: format!("another kdata restores into {name}"),
                help: "wait for it to end, then run the same again".into(),
            });
        }
        // What a run that was killed left.
        let scratch = Self { place: place.beside(&name) };
        scratch.drop(server).await?;
        let create = format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", quoted(&name));
        server.batch_execute(&create).await.map_err(&doing)?;
        Ok(scratch)
    }

    /// Restores the dump and compares it with the manifest.
    async fn fill(&self, settings: &Settings, folder: &Path, manifest: &Manifest) -> Result<()> {
        let doing = failed("cannot restore the backup");
        let mut client = self.place.connect().await?;
        let major = client
            .query_one("SELECT current_setting('server_version_num')::int / 10000", &[])
            .await
            .map_err(&doing)?
            .get::<_, i32>(0);
        let timescale = manifest.backend == Backend::Timescale.as_str();
        if let (true, Some(version)) = (timescale, &manifest.timescaledb) {
            check_version(&client, version).await?;
            let quoted = version.replace('\'', "''");
            client
                .batch_execute(&format!("CREATE EXTENSION timescaledb VERSION '{quoted}'"))
                .await
                .map_err(&doing)?;
            client = self.place.connect().await?;
            client.execute("SELECT public.timescaledb_pre_restore()", &[]).await.map_err(&doing)?;
            let lenient = format!("ALTER TABLE {CHUNK_SIZES} DISABLE TRIGGER ALL");
            client.batch_execute(&lenient).await.map_err(&doing)?;
        }
        let pg_restore = cluster::client_program(settings, "pg_restore", u32::try_from(major).unwrap_or(0))?;
        let mut command = self.place.program(&pg_restore);
        self.arguments(&mut command, folder, timescale);
        let restored = tokio::task::spawn_blocking(move || run(&mut command, "pg_restore"));
        let restored = restored.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        restored.map_err(|error| match error {
            Error::Database { what, .. } => damaged(folder, &what),
            other => other,
        })?;
        if timescale {
            client.execute("SELECT public.timescaledb_post_restore()", &[]).await.map_err(&doing)?;
            let mend = format!("{MEND_CHUNK_SIZES}; ALTER TABLE {CHUNK_SIZES} ENABLE TRIGGER ALL");
            client.batch_execute(&mend).await.map_err(&doing)?;
        }
        drop(client);
        let mut client = self.place.connect().await?;
        client.batch_execute("ANALYZE").await.map_err(&doing)?;
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(&doing)?;
        manifest.check_contents(folder, &contents(&transaction).await?)
    }

    /// The catalogue of TimescaleDB is restored in order, not in parallel: its tables refer to each other.
    fn arguments(&self, command: &mut Command, folder: &Path, timescale: bool) {
        command.args(["--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]);
        if !timescale {
            let jobs = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
            command.arg(format!("--jobs={jobs}"));
        }
        command.arg("--dbname").arg(self.place.name()).arg(folder.join(DUMP));
    }

    /// What belongs to a database and not to its schema; and no batch is staged whose rows are not here.
    async fn finish(&self) -> Result<u64> {
        let client = self.place.connect().await?;
        migrate::set_up_roles(&client).await?;
        let query = "UPDATE ops.batches SET state = 'discarded', ended_at = now(), \
                     problem = 'its rows were not in the backup that was restored' WHERE state = 'staged'";
        client.execute(query, &[]).await.map_err(failed("cannot discard the staged batches"))
    }

    /// Both names change at once or not at all.
    async fn take_the_place(&self, server: &Client, name: &str, old: Option<&str>) -> Result<()> {
        let doing = failed("cannot give the restored database its name");
        let rename =
            |from: &str, to: &str| format!("ALTER DATABASE {} RENAME TO {}; ", quoted(from), quoted(to));
        let mut script = String::from("BEGIN; ");
        if let Some(old) = old {
            script += &rename(name, old);
        }
        script += &rename(self.place.name(), name);
        script += "COMMIT";
        // Clients that stay connected would make the server refuse; one that reconnects at once, try again.
        for attempt in 0.. {
            end_sessions(server, &[name, self.place.name()]).await?;
            match server.batch_execute(&script).await {
                Ok(()) => return Ok(()),
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && attempt < 20 => {
                    let _ = server.batch_execute("ROLLBACK").await;
                    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
                }
                Err(error) => {
                    let _ = server.batch_execute("ROLLBACK").await;
                    return Err(doing(error));
                }
            }
        }
        unreachable!("the loop returns")
    }

    async fn drop(&self, server: &Client) -> Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(self.place.name()));
        server.batch_execute(&drop).await.map_err(failed("cannot drop the scratch database"))
    }
}

async fn end_sessions(server: &Client, databases: &[&str]) -> Result<()> {
    let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = ANY ($1) AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    server.execute(query, &[&databases]).await.map_err(failed("cannot end the clients' sessions"))?;
    Ok(())
}

/// The extension's table of what compressing a chunk saved.
const CHUNK_SIZES: &str = "_timescaledb_catalog.compression_chunk_size";

/// Whoever compressed a chunk anew in memory (`compress_chunk(…, recompress => true)` of TimescaleDB 2.28) left in
/// [`CHUNK_SIZES`] the number of the compressed chunk that was dropped for it, which no key of a restored table allows.
const MEND_CHUNK_SIZES: &str = "\
    UPDATE _timescaledb_catalog.compression_chunk_size s SET compressed_chunk_id = new.id \
    FROM _timescaledb_catalog.chunk c \
    JOIN _timescaledb_catalog.compression_settings o ON o.relid = format('%I.%I', c.schema_name, c.table_name)::regclass \
    JOIN _timescaledb_catalog.chunk new ON format('%I.%I', new.schema_name, new.table_name)::regclass = o.compress_relid \
    WHERE c.id = s.chunk_id AND new.id <> s.compressed_chunk_id; \
    DELETE FROM _timescaledb_catalog.compression_chunk_size s \
    WHERE NOT EXISTS (SELECT FROM _timescaledb_catalog.chunk c WHERE c.id = s.compressed_chunk_id) \
       OR NOT EXISTS (SELECT FROM _timescaledb_catalog.chunk c WHERE c.id = s.chunk_id)";

/// The extension's files on this server must be of the version that wrote the dump.
async fn check_version(client: &Client, version: &str) -> Result<()> {
    let query = "SELECT EXISTS (SELECT FROM pg_available_extension_versions WHERE name = 'timescaledb' AND version = $1)";
    let offered: bool =
        client.query_one(query, &[&version]).await.map_err(failed("cannot look for TimescaleDB"))?.get(0);
    if offered {
        return Ok(());
    }
    Err(Error::usage(
        format!("the backup needs TimescaleDB {version}, which this server does not offer"),
        "install that version beside, restore, then update the extension",
    ))
}

/// A database's name as the server reads it. Names come from the settings, not from input.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
