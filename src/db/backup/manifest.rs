//! The manifest of a backup: what the database held, table by table, and what the files are.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_postgres::Transaction;

use crate::db::failed;
use crate::db::migrate::{Backend, Kind};
use crate::error::{Error, Result};

/// The form of manifests that this kdata writes and reads.
const FORM: u32 = 1;
/// Its file in a backup's folder.
const FILE: &str = "manifest.json";
/// The folder of the dump beside it.
pub(super) const DUMP: &str = "dump";

/// What a backup is, and what it must hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    form: u32,
    pub(super) kdata: String,
    pub(super) database: String,
    pub(super) kind: String,
    pub(super) backend: String,
    pub(super) schema: i32,
    pub(super) server: String,
    pub(super) timescaledb: Option<String>,
    pub(super) made_at: DateTime<Utc>,
    pub(super) tables: Vec<Table>,
    sequences: Vec<Sequence>,
    files: Vec<FileState>,
}

/// A table, a partition or a chunk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) name: String,
    /// Its rows; for a parent those of its parts.
    pub(super) rows: i64,
    /// A checksum over the rows that it stores itself, whatever their order.
    fingerprint: String,
}

/// A sequence: it may only have moved on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Sequence {
    name: String,
    value: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct FileState {
    name: String,
    bytes: u64,
    crc32: String,
}

/// What tells of the database besides its tables.
pub(super) struct About<'a> {
    pub(super) database: &'a str,
    pub(super) kind: Kind,
    pub(super) backend: Backend,
    pub(super) schema: i32,
    pub(super) server: String,
    pub(super) timescaledb: Option<String>,
    pub(super) made_at: DateTime<Utc>,
}

impl Manifest {
    /// Puts the manifest of a finished dump together.
    pub(super) fn new(about: About<'_>, contents: Contents, folder: &Path) -> Result<Self> {
        Ok(Self {
            form: FORM,
            kdata: env!("CARGO_PKG_VERSION").to_owned(),
            database: about.database.to_owned(),
            kind: about.kind.to_string(),
            backend: about.backend.as_str().to_owned(),
            schema: about.schema,
            server: about.server,
            timescaledb: about.timescaledb,
            made_at: about.made_at,
            tables: contents.tables,
            sequences: contents.sequences,
            files: files(&folder.join(DUMP))?,
        })
    }

    /// Reads the manifest of a backup.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read(&path).map_err(|e| damaged(folder, &format!("{FILE} cannot be read: {e}")))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|e| damaged(folder, &format!("{FILE} does not read: {e}")))?;
        if manifest.form == FORM {
            return Ok(manifest);
        }
        Err(Error::Refused {
            what: format!("the backup is of form {}, this kdata reads form {FORM}", manifest.form),
            help: format!("use the kdata that made it: {}", manifest.kdata),
        })
    }

    /// Writes it; on the disk when this returns.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        let write = || {
            fs::write(&path, text)?;
            File::open(&path)?.sync_all()?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|e| Error::io(format!("cannot write {}", path.display()), e))
    }

    /// Rows of the tables that clients read.
    pub(super) fn rows(&self) -> i64 {
        self.tables.iter().filter(|t| t.name.starts_with("market.")).map(|t| t.rows).sum()
    }

    /// Bytes of the dump.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// Are the files those that were written?
    pub(super) fn check_files(&self, folder: &Path) -> Result<()> {
        let found = files(&folder.join(DUMP)).map_err(|e| damaged(folder, &e.to_string()))?;
        let wrong: Vec<String> = self
            .files
            .iter()
            .filter_map(|file| match found.iter().find(|f| f.name == file.name) {
                None => Some(format!("{} is missing", file.name)),
                Some(now) if now.bytes != file.bytes => {
                    Some(format!("{} has {} bytes instead of {}", file.name, now.bytes, file.bytes))
                }
                Some(now) if now.crc32 != file.crc32 => Some(format!("{} was changed", file.name)),
                Some(_) => None,
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(damaged(folder, &wrong.join("; "))) }
    }

    /// Does a restored database hold the very same?
    pub(super) fn check_contents(&self, folder: &Path, restored: &Contents) -> Result<()> {
        let mut wrong = Vec::new();
        for table in &self.tables {
            match restored.tables.iter().find(|t| t.name == table.name) {
                None => wrong.push(format!("{} is missing", table.name)),
                Some(now) if now.rows != table.rows => {
                    wrong.push(format!("{} has {} rows instead of {}", table.name, now.rows, table.rows));
                }
                Some(now) if now.fingerprint != table.fingerprint => {
                    wrong.push(format!("{} has other contents", table.name));
                }
                Some(_) => {}
            }
        }
        for sequence in &self.sequences {
            if !restored.sequences.iter().any(|s| s.name == sequence.name && s.value >= sequence.value) {
                wrong.push(format!("the numbers of {} would be given again", sequence.name));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(damaged(folder, &wrong.join("; "))) }
    }
}

/// The error of a backup that cannot be trusted.
pub(super) fn damaged(folder: &Path, what: &str) -> Error {
    Error::Gate {
        what: format!("the backup {} is damaged: {what}", folder.display()),
        help: "do not rely on it: verify an older one, and make a new one while the database stands".into(),
    }
}

/// The rows of a database, table by table.
pub(super) struct Contents {
    tables: Vec<Table>,
    sequences: Vec<Sequence>,
}

/// The relations that hold rows of kdata, and whether their rows lie in parts; of hypertables the chunks as they are
/// stored, compressed ones too. Staging is left out: its tables come and go.
pub(super) const RELATIONS: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relhassubclass OR c.relkind = 'p' AS has_parts
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
      AND (n.nspname IN ('ops', 'market') OR n.nspname = '_timescaledb_internal' AND c.relname LIKE '%\\_chunk')
    ORDER BY name";

/// Reads the contents in the transaction's snapshot.
pub(super) async fn contents(transaction: &Transaction<'_>) -> Result<Contents> {
    let doing = failed("cannot read what the tables hold");
    // Values as text must not depend on a session's settings.
    transaction
        .batch_execute(
            "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; \
             SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'",
        )
        .await
        .map_err(&doing)?;
    let relations = transaction.query(RELATIONS, &[]).await.map_err(&doing)?;
    let mut tables = Vec::new();
    for relation in &relations {
        let (name, has_parts): (String, bool) = (relation.get(0), relation.get(1));
        // The names come from the catalogue, quoted by the server.
        let query = if has_parts {
            format!("SELECT count(*), '' FROM {name}")
        } else {
            format!(
                "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM ONLY {name} t"
            )
        };
        let row = transaction.query_one(&query, &[]).await.map_err(&doing)?;
        tables.push(Table { name, rows: row.get(0), fingerprint: row.get(1) });
    }
    let sequences = transaction
        .query(
            "SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, 0) FROM pg_sequences \
             WHERE schemaname IN ('ops', 'market') ORDER BY 1",
            &[],
        )
        .await
        .map_err(&doing)?;
    let sequences = sequences.iter().map(|row| Sequence { name: row.get(0), value: row.get(1) }).collect();
    Ok(Contents { tables, sequences })
}

/// The files of a dump with their checksums.
fn files(folder: &Path) -> Result<Vec<FileState>> {
    let cannot = |e| Error::io(format!("cannot read {}", folder.display()), e);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let (bytes, crc32) =
            checksum(&path).map_err(|e| Error::io(format!("cannot read {}", path.display()), e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(FileState { name, bytes, crc32: format!("{crc32:08x}") });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, crc.finalize()));
        }
        crc.update(&buffer[..read]);
        bytes += read as u64;
    }
}
