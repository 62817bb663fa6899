//! The folders and files of the private cluster: made, owned, locked and configured.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;
use std::time::{Duration, Instant};

use super::place::Account;
use super::{CHOOSE_HOME, Cluster, OWNER, PATIENCE, PORT, READER, cannot, failed, last_lines, run};
use crate::error::{Error, Result};

impl Cluster {
    /// Made beside and renamed: an interrupted run leaves nothing that looks like a cluster.
    pub(super) fn create(&self) -> Result<()> {
        if fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Refused {
                what: format!("{} holds files that are not a PostgreSQL cluster", self.data.display()),
                help: format!("move them away, or {CHOOSE_HOME}"),
            });
        }
        for entry in fs::read_dir(&self.home).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("data.new.") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let new = self.home.join(format!("data.new.{}", std::process::id()));
        self.make_folder(&new, 0o700, Some(&self.runs_as))?;
        let result = self.init(&new).and_then(|()| {
            let renamed = fs::rename(&new, &self.data).and_then(|()| File::open(&self.home)?.sync_all());
            renamed.map_err(|e| cannot("move the new cluster to", &self.data, e))
        });
        if result.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        result
    }

    fn init(&self, new: &Path) -> Result<()> {
        let mut initdb = self.command("initdb");
        initdb.args(["-U", OWNER, "--auth-local=peer", "--auth-host=scram-sha-256"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]);
        // Appended by the server's user, since the folder is already its own.
        let mut append = self.command("/bin/sh");
        append.args(["-c", "echo \"include '../kdata.conf'\" >>\"$0\"/postgresql.conf"]);
        for command in [initdb.arg("-D").arg(new), append.arg(new)] {
            let output = run(command)?;
            if !output.status.success() {
                let said = last_lines(&output.stderr, 8);
                return Err(failed("cannot create the private cluster", format!("initdb said:\n{said}")));
            }
        }
        Ok(())
    }

    pub(super) fn write_settings(&self) -> Result<()> {
        let preload = self.server.has_timescaledb();
        self.write("kdata.conf", &kdata_conf(&self.home, &self.socket_dir, preload))?;
        // These two are the user's to extend.
        if !self.home.join("pg_hba.conf").exists() {
            self.write("pg_hba.conf", PG_HBA)?;
        }
        if !self.home.join("pg_ident.conf").exists() {
            self.write("pg_ident.conf", &pg_ident(&[&self.me.name, &self.runs_as.name]))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.home.join(name);
        let new = self.home.join(format!("{name}.new"));
        fs::write(&new, text)
            .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|e| cannot("write", &path, e))?;
        self.hand_over(&path);
        Ok(())
    }

    /// Opens a file below the home to append to, and to lock.
    pub(super) fn open(&self, name: &str) -> Result<File> {
        let path = self.home.join(name);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        self.hand_over(&path);
        file.map_err(|e| cannot("open", &path, e))
    }

    /// What root makes in a home of somebody else's must not lock that user out.
    fn hand_over(&self, path: &Path) {
        if self.me.uid == 0
            && let Ok(home) = fs::metadata(&self.home)
        {
            let _ = lchown(path, Some(home.uid()), Some(home.gid()));
        }
    }

    /// One kdata at a time creates, starts or stops.
    pub(super) async fn lock(&self) -> Result<File> {
        let file = self.open("lock")?;
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(cannot("lock", &self.home, e)),
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(Error::Locked {
                        what: "another kdata is still starting or stopping the private server".to_owned(),
                        help: format!("see `kdata db status` and {}", self.log.display()),
                    });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    pub(super) fn make_home(&self) -> Result<()> {
        self.check_passable()?;
        let missing = self.home.ancestors().take_while(|folder| !folder.exists());
        for folder in missing.collect::<Vec<_>>().into_iter().rev() {
            self.make_folder(folder, 0o755, None)?;
        }
        let log = self.home.join("log");
        self.make_folder(&log, 0o755, None)?;
        self.hand_over(&log);
        Ok(())
    }

    pub(super) fn make_folder(&self, path: &Path, mode: u32, owner: Option<&Account>) -> Result<()> {
        let result = DirBuilder::new().mode(mode).create(path).and_then(|()| {
            // Whatever the umask: the server and the readers must pass.
            fs::set_permissions(path, Permissions::from_mode(mode))?;
            match owner {
                Some(owner) if self.me.uid == 0 => lchown(path, Some(owner.uid), Some(owner.gid)),
                _ => Ok(()),
            }
        });
        match result {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                Err(Error::usage(format!("cannot create the folder {}: {e}", path.display()), CHOOSE_HOME))
            }
            _ => Ok(()),
        }
    }

    /// As root: every folder on the way must let the server's user pass. A shell of that user is asked,
    /// since it knows of ACLs.
    fn check_passable(&self) -> Result<()> {
        if self.me.uid != 0 {
            return Ok(());
        }
        let program = self.server.bin.join("postgres");
        let ways = self.home.ancestors().chain(program.ancestors());
        let mut ways: Vec<_> = ways.filter(|path| path.exists()).collect();
        ways.sort();
        let test = "for p do [ -x \"$p\" ] || { printf %s \"$p\"; exit 1; }; done";
        let output = run(self.command("/bin/sh").args(["-c", test, "sh"]).args(&ways))?;
        if output.status.success() {
            return Ok(());
        }
        let barred = String::from_utf8_lossy(&output.stdout);
        let what = format!(
            "PostgreSQL refuses to run as root, and user {} may not pass {barred}",
            self.runs_as.name
        );
        let help = if self.home.starts_with(&*barred) {
            "set KDATA_HOME to a folder that every user may pass, e.g. /var/lib/kdata, or run kdata as a \
             normal user"
        } else {
            "set KDATA_PG_BIN to server binaries that every user may run"
        };
        Err(Error::usage(what, help))
    }

    /// A socket folder of somebody else's could lead to a server of theirs.
    pub(super) fn check_socket_dir(&self) -> Result<()> {
        let Ok(folder) = fs::symlink_metadata(&self.socket_dir) else {
            return Ok(());
        };
        if folder.is_dir() && [0, self.runs_as.uid].contains(&folder.uid()) {
            return Ok(());
        }
        Err(Error::Refused {
            what: format!("{} is not a folder of user {}", self.socket_dir.display(), self.runs_as.name),
            help: format!("see who made it and remove it, or {CHOOSE_HOME}"),
        })
    }

    /// Only the server's user and root may start and stop it.
    pub(super) fn check_mine(&self, verb: &str) -> Result<()> {
        if [0, self.runs_as.uid].contains(&self.me.uid) {
            return Ok(());
        }
        let kept_by_root = fs::metadata(&self.home).is_ok_and(|home| home.uid() == 0);
        let who = if kept_by_root { "root" } else { &self.runs_as.name };
        let (me, home) = (&self.me.name, self.home.display());
        Err(Error::usage(
            format!("user {me} may not {verb} the server of {home}"),
            format!("have {who} run `kdata db {verb}`, or {CHOOSE_HOME}"),
        ))
    }

    pub(super) fn stranger(&self) -> Error {
        let (me, home) = (&self.me.name, self.home.display());
        Error::usage(
            format!("user {me} does not own the database in {home}"),
            format!("read it with psql \"$(kdata db url --reader)\", or {CHOOSE_HOME}"),
        )
    }
}

fn kdata_conf(home: &Path, socket_dir: &Path, timescaledb: bool) -> String {
    let quote = |text: String| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let socket_dir = quote(format!("\"{}\"", socket_dir.display()));
    let [hba, ident] = ["pg_hba", "pg_ident"].map(|name| quote(format!("{}/{name}.conf", home.display())));
    let preload = if timescaledb {
        "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n"
    } else {
        ""
    };
    format!(
        "# Written anew by kdata at each start. Settings of your own go to the end of data/postgresql.conf.
cluster_name = 'kdata'
listen_addresses = ''
port = {PORT}
unix_socket_directories = {socket_dir}
hba_file = {hba}
ident_file = {ident}
timezone = 'Asia/Seoul'
log_timezone = 'Asia/Seoul'
shared_buffers = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
wal_compression = on
# A batch goes into a table of its own transaction: written once, not into the log as well. Whoever wants to archive the
# log or replicate sets wal_level = replica (and max_wal_senders) at the end of data/postgresql.conf.
wal_level = minimal
max_wal_senders = 0
jit = off
{preload}"
    )
}

const PG_HBA: &str = "# Written once by kdata; who may take which role: pg_ident.conf.
# TYPE  DATABASE  USER          METHOD
local   all       kdata         peer map=kdata_owner
local   all       kdata_reader  peer map=kdata_reader
";

/// The owner's role is for root, the cluster's creator and the server's user; everybody may read.
fn pg_ident(names: &[&str]) -> String {
    let mut text = "# Written once by kdata.\n# MAP  OS-USER  ROLE\n".to_owned();
    let mut all = vec!["root"];
    all.extend(names);
    for (i, name) in all.iter().enumerate() {
        if !all[..i].contains(name) {
            let _ = writeln!(text, "kdata_owner  \"{name}\"  {OWNER}");
        }
    }
    text + "kdata_reader  /^.*$  " + READER + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_os_user_is_named_once() {
        let text = pg_ident(&["root", "postgres"]);
        assert_eq!(text.matches("\"root\"").count(), 1);
        assert_eq!(pg_ident(&["u", "u"]).matches("\"u\"").count(), 1);
        assert!(text.ends_with("kdata_owner  \"postgres\"  kdata\nkdata_reader  /^.*$  kdata_reader\n"));
    }

    #[test]
    fn settings_survive_quotes_in_paths() {
        let conf = kdata_conf(Path::new("/it's"), Path::new("/it's/run"), false);
        assert!(conf.contains("hba_file = '/it''s/pg_hba.conf'\n"));
        assert!(conf.contains("unix_socket_directories = '\"/it''s/run\"'\n"));
        assert!(!conf.contains("timescaledb"));
        assert!(
            kdata_conf(Path::new("/h"), Path::new("/h/run"), true)
                .contains("timescaledb.telemetry_level = off")
        );
    }
}
