//! The private cluster: found, made, started, reused and stopped by kdata itself.
//!
//! `<home>/data` is the cluster, `run` holds its socket, `log` its log; `kdata.conf` and the `pg_*.conf`
//! beside them are what kdata tells the server. As root the server runs as an unprivileged user, so nothing
//! that root writes lies in a folder which that user could fill with links.

mod files;
mod place;
mod server;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Result};
use crate::settings::Settings;

pub use self::place::home;
use self::place::{Account, own_uid, resolve, server_account, socket_dir};
use self::server::Server;

/// One of PostgreSQL's client programs, of this major version or newer.
pub fn client_program(settings: &Settings, name: &str, major: u32) -> Result<PathBuf> {
    server::client_program(settings, name, major)
}

/// The superuser role.
const OWNER: &str = "kdata";
/// The role that any user of the machine may take; migrations create it.
const READER: &str = "kdata_reader";
/// Names the socket file; no TCP port is opened.
const PORT: u16 = 5462;
/// Long enough for a recovery after a crash.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG_LIMIT: u64 = 64 << 20;
/// The address of a socket holds 108 bytes on Linux and 104 on macOS, a NUL among them.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };
const CHOOSE_HOME: &str = "set KDATA_HOME to a folder of your own";

/// Where the private cluster lives and how to reach it.
#[derive(Debug, Clone)]
pub struct Cluster {
    home: PathBuf,
    data: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
    server: Server,
    runs_as: Account,
    me: Account,
}

/// What it took to have a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It ran already.
    Already,
    /// It was started.
    Started,
    /// The cluster was created, then started.
    Created,
}

/// The cluster as `kdata db status` shows it.
#[derive(Debug, Clone)]
pub struct Status {
    /// The data folder holds a cluster.
    pub created: bool,
    /// A server answers on the socket, be it still busy with recovery.
    pub running: bool,
    /// Why the running server cannot be used, if so.
    pub trouble: Option<String>,
    /// The process, where we may see it.
    pub pid: Option<u32>,
    /// The running server's version in full, else the major version of the binaries.
    pub version: String,
    /// The folder of the server binaries.
    pub bin: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// The folder of the socket.
    pub socket_dir: PathBuf,
    /// The server's log.
    pub log: PathBuf,
    /// Its size.
    pub log_bytes: u64,
    /// The OS user that the server runs as.
    pub user: String,
    /// The binaries come with the `timescaledb` extension.
    pub timescaledb: bool,
}

/// What a connection attempt tells.
enum Probe {
    Ready(String),
    /// Starting, recovering or shutting down.
    Busy(String),
    /// The server does not take this OS user for the owner.
    Stranger,
    Absent,
}

impl Cluster {
    /// Finds the folders and the server binaries; touches nothing.
    pub fn locate(settings: &Settings) -> Result<Self> {
        let me = Account::by_uid(own_uid()?)?;
        let home = resolve(&home(settings)?);
        let data = home.join("data");
        Ok(Self {
            runs_as: server_account(&me, &data)?,
            server: Server::find(settings, &data)?,
            socket_dir: socket_dir(&home)?,
            log: home.join("log/postgres.log"),
            home,
            data,
            me,
        })
    }

    /// Uses the running server, else starts it, else creates the cluster first.
    pub async fn ensure_running(&self) -> Result<Started> {
        if self.data.exists() {
            self.check_socket_dir()?;
            match self.probe().await {
                Probe::Ready(_) => return Ok(Started::Already),
                Probe::Stranger => return Err(self.stranger()),
                Probe::Busy(_) | Probe::Absent => self.check_mine("start")?,
            }
        }
        self.make_home()?;
        let _lock = self.lock().await?;
        self.make_folder(&self.socket_dir, 0o755, Some(&self.runs_as))?;
        self.check_socket_dir()?;
        if self.data.exists() && self.wait(None).await? {
            return Ok(Started::Already);
        }
        let created = !self.data.join("PG_VERSION").exists();
        if created {
            self.create()?;
        }
        self.write_settings()?;
        self.start().await?;
        Ok(if created { Started::Created } else { Started::Started })
    }

    /// Shuts the server down and waits for it; false if it did not run.
    pub fn stop(&self) -> Result<bool> {
        let up = || self.postmaster().is_some() || UnixStream::connect(self.socket()).is_ok();
        if !up() {
            return Ok(false);
        }
        self.check_mine("stop")?;
        let lock = self.open("lock")?;
        lock.lock().map_err(|e| cannot("lock", &self.home, e))?;
        if !up() {
            return Ok(false);
        }
        let options = ["stop", "-s", "-w", "-m", "fast", "-t", "60", "-D"];
        let output = run(self.command("pg_ctl").args(options).arg(&self.data))?;
        if output.status.success() {
            return Ok(true);
        }
        Err(failed(
            format!("the private server does not stop: {}", last_lines(&output.stderr, 2)),
            format!("it may be writing a large checkpoint: try again; its log is {}", self.log.display()),
        ))
    }

    /// Looks, and changes nothing.
    pub async fn status(&self) -> Status {
        let created = self.data.exists();
        let probe = if created { self.probe().await } else { Probe::Absent };
        let trouble = match &probe {
            Probe::Busy(why) => Some(why.clone()),
            Probe::Stranger => Some(self.stranger().to_string()),
            Probe::Ready(_) | Probe::Absent => None,
        };
        Status {
            created,
            running: !matches!(probe, Probe::Absent),
            trouble,
            pid: self.postmaster(),
            version: match probe {
                Probe::Ready(version) => version,
                _ => self.server.major.to_string(),
            },
            bin: self.server.bin.clone(),
            data: self.data.clone(),
            socket_dir: self.socket_dir.clone(),
            log: self.log.clone(),
            log_bytes: fs::metadata(&self.log).map_or(0, |log| log.len()),
            user: self.runs_as.name.clone(),
            timescaledb: self.server.has_timescaledb(),
        }
    }

    /// The address as psql, libpq and tokio-postgres take it.
    pub fn url(&self, database: &str, user: &str) -> String {
        let [user, database] = [user, database].map(percent);
        let host = percent(&self.socket_dir.to_string_lossy());
        format!("postgresql://{user}@/{database}?host={host}&port={PORT}")
    }

    /// How the owner connects.
    pub fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket_dir).port(PORT);
        config.user(OWNER).dbname(database).application_name("kdata");
        config.connect_timeout(Duration::from_secs(10));
        config
    }

    /// The superuser role.
    pub fn owner(&self) -> &'static str {
        OWNER
    }

    /// The folder of the cluster and of kdata's state.
    pub fn home(&self) -> &Path {
        &self.home
    }

    async fn probe(&self) -> Probe {
        let config = self.config("postgres");
        let attempt = config.connect(NoTls);
        let error = match tokio::time::timeout(Duration::from_secs(10), attempt).await {
            Ok(Ok((_client, connection))) => {
                return Probe::Ready(connection.parameter("server_version").unwrap_or("?").to_owned());
            }
            Ok(Err(error)) => error,
            Err(_) => return Probe::Busy("it does not answer".to_owned()),
        };
        match error.as_db_error() {
            None => Probe::Absent,
            Some(db) if *db.code() == SqlState::CANNOT_CONNECT_NOW => Probe::Busy(db.message().to_owned()),
            Some(db) if *db.code() == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Probe::Stranger,
            // E.g. somebody dropped the database `postgres`: the server is up all the same.
            Some(_) => Probe::Ready(self.server.major.to_string()),
        }
    }

    fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{PORT}"))
    }

    /// The live server process that the pid file names. A zombie, or another program that got the number
    /// after a reboot, is none.
    fn postmaster(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid: u32 = text.lines().next()?.trim().parse().ok()?;
        let alive = if Path::new("/proc/self/stat").exists() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // A server works in its data folder; where we may not see that, the number must do.
            let place = |path: &Path| fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
            let there = place(Path::new(&format!("/proc/{pid}/cwd")));
            !is_zombie(&stat) && (there.is_none() || there == place(&self.data))
        } else {
            let state = answer(Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]));
            state.is_some_and(|state| !state.starts_with('Z'))
        };
        alive.then_some(pid)
    }

    /// Waits until the server is either ready (true) or gone (false): `child`, or whom the pid file names.
    async fn wait(&self, mut child: Option<&mut Child>) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Asked before the probe: a server that is gone by now cannot answer later.
            let gone = match &mut child {
                Some(child) => matches!(child.try_wait(), Ok(Some(_))),
                None => self.postmaster().is_none(),
            };
            let state = match self.probe().await {
                Probe::Ready(_) => return Ok(true),
                Probe::Stranger => return Err(self.stranger()),
                Probe::Busy(why) => why,
                Probe::Absent if gone => return Ok(false),
                Probe::Absent => "it opens no socket".to_owned(),
            };
            if Instant::now() > deadline {
                let what = format!("the private server is not ready after {} s: {state}", PATIENCE.as_secs());
                let log = self.log.display();
                return Err(failed(what, format!("it goes on by itself: try again later; its log is {log}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn start(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        while let Some(said) = self.launch().await? {
            // Queries of a server that crashed go on until they notice; meanwhile no other may start.
            if !said.contains("is still in use") || Instant::now() > deadline {
                let help = format!("the end of {}:\n{said}", self.log.display());
                return Err(failed("the private server ended while it started", help));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("waiting for the last queries of the server that crashed");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// Starts the server once; returns its last words if it ends again.
    async fn launch(&self) -> Result<Option<String>> {
        // Nobody is behind these any more, but PostgreSQL would take a zombie for alive.
        let _ = fs::remove_file(self.data.join("postmaster.pid"));
        let _ = fs::remove_file(self.socket().with_extension(format!("{PORT}.lock")));
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_LIMIT) {
            let _ = fs::rename(&self.log, self.log.with_extension("log.1"));
        }
        let mut log = self.open("log/postgres.log")?;
        let begin = log.seek(SeekFrom::End(0)).unwrap_or(0);
        let mut server = self.spawn(log)?;
        if self.wait(Some(&mut server)).await? {
            tracing::debug!(pid = server.id(), data = %self.data.display(), "private server started");
            // If the server dies before us, it must not stay as our zombie.
            std::thread::spawn(move || server.wait());
            return Ok(None);
        }
        let mut said = Vec::new();
        let _ = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(begin))?;
            log.read_to_end(&mut said)
        });
        Ok(Some(last_lines(&said, 8)))
    }

    fn spawn(&self, log: File) -> Result<Child> {
        let stdout = log.try_clone().map_err(|e| cannot("share", &self.log, e))?;
        // The shell closes what kdata inherited: under `flock FILE kdata …` the server would hold the lock
        // for ever. Only bash can close numbers above 9. A process group of its own keeps Ctrl-C away.
        let script = "for f in /dev/fd/*; do n=${f##*/}; case $n in [012]) ;; \
            [3-9]) eval \"exec $n>&-\" ;; *) [ -n \"${BASH_VERSION-}\" ] && eval \"exec $n>&-\" ;; esac; done; \
            exec \"$0\" -D \"$1\"";
        let bash = Path::new("/bin/bash").exists();
        let mut command = self.command(if bash { "/bin/bash" } else { "/bin/sh" });
        command.args(["-c", script]).arg(self.server.bin.join("postgres")).arg(&self.data);
        command.process_group(0).stdout(stdout).stderr(log);
        command.spawn().map_err(|e| cannot("run", Path::new("/bin/sh"), e))
    }

    /// A program (beside the server's, or with its full path), run as the server's user. The environment
    /// stays behind: it may hold secrets, and `PG…` variables that steer the server.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.server.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command.current_dir("/").stdin(Stdio::null());
        if self.me.uid == 0 {
            // The standard library drops the supplementary groups as well.
            command.uid(self.runs_as.uid).gid(self.runs_as.gid);
        }
        command
    }
}

fn cannot(verb: &str, path: &Path, cause: io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", path.display()), cause)
}

fn failed(what: impl Into<String>, help: String) -> Error {
    let what = what.into();
    Error::Database { what, help }
}

fn run(command: &mut Command) -> Result<Output> {
    let program = PathBuf::from(command.get_program());
    command.output().map_err(|e| cannot("run", &program, e))
}

/// What a helper program prints, where there is one and it succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// From the text of /proc/PID/stat; the program's name in it may hold anything.
fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn last_lines(text: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_the_url_are_encoded() {
        assert_eq!(percent("/var/lib/k data,한"), "%2Fvar%2Flib%2Fk%20data%2C%ED%95%9C");
        assert_eq!(percent("kdata_reader-1.2~"), "kdata_reader-1.2~");
    }

    #[test]
    fn the_url_means_the_same_to_tokio_postgres() {
        let me = Account { name: "u".into(), uid: 1, gid: 1, home: PathBuf::new() };
        let cluster = Cluster {
            home: "/h".into(),
            data: "/h/data".into(),
            socket_dir: "/h é/run".into(),
            log: "/h/log".into(),
            server: Server { bin: "/pg".into(), major: 15 },
            runs_as: me.clone(),
            me,
        };
        let url = cluster.url("kdata", OWNER);
        assert_eq!(url, "postgresql://kdata@/kdata?host=%2Fh%20%C3%A9%2Frun&port=5462");
        let (parsed, own): (tokio_postgres::Config, _) = (url.parse().unwrap(), cluster.config("kdata"));
        assert_eq!(parsed.get_hosts(), own.get_hosts());
        assert_eq!(parsed.get_ports(), own.get_ports());
        assert_eq!((parsed.get_user(), parsed.get_dbname()), (own.get_user(), own.get_dbname()));
    }

    #[test]
    fn zombies_are_told_apart() {
        assert!(is_zombie("12 (postgres) Z 1 12 12 0 -1"));
        assert!(is_zombie("12 (a) b) Z 1"));
        assert!(!is_zombie("12 (Z) S 1 12 12 0 -1"));
    }

    #[test]
    fn the_end_of_a_log() {
        assert_eq!(last_lines(b"a\n\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines(b"", 2), "");
    }
}
