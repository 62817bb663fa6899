//! The private PostgreSQL cluster: found, made, started, reused and stopped by kdata itself.
//!
//! `<home>/data` is the cluster, `run` holds its socket, `log` its log; `kdata.conf` and the `pg_*.conf`
//! beside them are what kdata tells the server. As root the server runs as an unprivileged user, so nothing
//! that root writes lies in a folder which that user could fill with links.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Result};
use crate::settings::Settings;

/// The superuser role.
const OWNER: &str = "kdata";
/// The role that any user of the machine may take; migrations create it.
const READER: &str = "kdata_reader";
/// Names the socket file; no TCP port is opened.
const PORT: u16 = 5462;
const OLDEST: u32 = 15;
const NEWEST: u32 = 40;
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];
/// Long enough for a recovery after a crash.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG_LIMIT: u64 = 64 << 20;
/// The address of a socket holds 108 bytes on Linux and 104 on macOS, a NUL among them.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Folders of server binaries; `{}` is the major version.
const WELL_KNOWN: [&str; 8] = [
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/usr/lib/postgresql{}/bin",
    "/usr/libexec/postgresql{}",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@{}/bin",
    "/Applications/Postgres.app/Contents/Versions/{}/bin",
];

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
    /// The process, where we may see it.
    pub pid: Option<u32>,
    /// Of the running server in full, else the major version of the cluster or of the binaries found.
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
    /// The binaries come with TimescaleDB.
    pub timescaledb: bool,
    /// Why the running server cannot be used, if so.
    pub trouble: Option<String>,
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
        let Some(name) = home.to_str() else {
            return Err(Error::usage(format!("the folder {} is not UTF-8", home.display()), CHOOSE_HOME));
        };
        let data = home.join("data");
        let runs_as = server_account(&me, &data)?;
        let server = Server::find(settings, &data)?;
        let socket_dir = socket_dir(name);
        let log = home.join("log/postgres.log");
        Ok(Self { home, data, socket_dir, log, server, runs_as, me })
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
        self.make_folders()?;
        let _lock = self.lock().await?;
        if self.settle().await? {
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
        if self.postmaster().is_none() && !self.listening() {
            return Ok(false);
        }
        self.check_mine("stop")?;
        let lock = self.open_lock()?;
        lock.lock().map_err(|e| Error::io(format!("cannot lock {}", self.home.display()), e))?;
        if self.postmaster().is_none() {
            return Ok(false);
        }
        let seconds = PATIENCE.as_secs().to_string();
        let output = self.run(
            self.command("pg_ctl").args(["stop", "-s", "-w", "-m", "fast", "-t", &seconds, "-D"]).arg(&self.data),
        )?;
        if output.status.success() {
            return Ok(true);
        }
        Err(Error::Database {
            what: format!("the private server does not stop: {}", last_lines(&output.stderr, 2)),
            help: format!("it may be writing a large checkpoint: try again; its log is {}", self.log.display()),
        })
    }

    /// Looks, and changes nothing.
    pub async fn status(&self) -> Status {
        let probe = if self.data.exists() { self.probe().await } else { Probe::Absent };
        let (version, trouble) = match &probe {
            Probe::Ready(version) => (Some(version.clone()), None),
            Probe::Busy(why) => (None, Some(why.clone())),
            Probe::Stranger => (None, Some(self.stranger().to_string())),
            Probe::Absent => (None, None),
        };
        Status {
            created: self.data.exists(),
            running: !matches!(probe, Probe::Absent),
            pid: self.postmaster(),
            version: version.unwrap_or_else(|| self.server.major.to_string()),
            bin: self.server.bin.clone(),
            data: self.data.clone(),
            socket_dir: self.socket_dir.clone(),
            log: self.log.clone(),
            log_bytes: fs::metadata(&self.log).map_or(0, |m| m.len()),
            user: self.runs_as.name.clone(),
            timescaledb: self.server.has_timescaledb(),
            trouble,
        }
    }

    /// The address as psql, libpq and tokio-postgres take it.
    pub fn url(&self, database: &str, user: &str) -> String {
        let (user, database) = (percent(user), percent(database));
        let host = percent(&self.socket_dir.to_string_lossy());
        format!("postgresql://{user}@/{database}?host={host}&port={PORT}")
    }

    /// How the owner connects.
    pub fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket_dir).port(PORT).user(OWNER).dbname(database);
        config.application_name("kdata").connect_timeout(Duration::from_secs(10));
        config
    }

    /// The superuser role.
    #[expect(clippy::unused_self, reason = "callers ask the cluster, not a constant")]
    pub fn owner(&self) -> &'static str {
        OWNER
    }

    /// The folder of the cluster and of kdata's state.
    pub fn home(&self) -> &Path {
        &self.home
    }

    async fn probe(&self) -> Probe {
        let config = self.config("postgres");
        match tokio::time::timeout(Duration::from_secs(10), config.connect(NoTls)).await {
            Ok(Ok((_client, connection))) => {
                Probe::Ready(connection.parameter("server_version").unwrap_or_default().to_owned())
            }
            Ok(Err(error)) => match (error.code(), error.as_db_error()) {
                (Some(code), Some(db)) if *code == SqlState::CANNOT_CONNECT_NOW => {
                    Probe::Busy(db.message().to_owned())
                }
                (Some(code), _) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Probe::Stranger,
                // Any other answer, e.g. that somebody dropped the database `postgres`, comes from a server
                // that is up.
                (Some(_), _) => Probe::Ready(self.server.major.to_string()),
                (None, _) => Probe::Absent,
            },
            Err(_) => Probe::Busy("the server does not answer".to_owned()),
        }
    }

    fn listening(&self) -> bool {
        UnixStream::connect(self.socket_dir.join(format!(".s.PGSQL.{PORT}"))).is_ok()
    }

    /// The live server process that the pid file names. A zombie, or another program that got the number
    /// after a reboot, is none.
    fn postmaster(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        let alive = if Path::new("/proc/self/stat").exists() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The server works in its data folder; where we may not see it, the number must do.
            let elsewhere = fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| fs::canonicalize(&self.data).is_ok_and(|data| data != cwd));
            !is_zombie(&stat) && !elsewhere
        } else {
            answer(Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]))
                .is_none_or(|state| !state.is_empty() && !state.starts_with('Z'))
        };
        alive.then_some(pid)
    }

    /// Waits until the server is either ready (true) or gone (false).
    async fn settle(&self) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        while self.data.exists() {
            let state = match self.probe().await {
                Probe::Ready(_) => return Ok(true),
                Probe::Stranger => return Err(self.stranger()),
                Probe::Busy(why) => why,
                Probe::Absent => match self.postmaster() {
                    Some(pid) => format!("process {pid} holds the data folder but opens no socket"),
                    None => return Ok(false),
                },
            };
            if Instant::now() > deadline {
                return Err(self.slow(&state));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(false)
    }

    async fn start(&self) -> Result<()> {
        // Nobody is behind this file any more (`settle`), but PostgreSQL would take a zombie for alive.
        let _ = fs::remove_file(self.data.join("postmaster.pid"));
        let mut log = self.open_log()?;
        let begin = log.seek(SeekFrom::End(0)).unwrap_or(0);
        let mut server = self.spawn(log)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let state = match self.probe().await {
                Probe::Ready(_) => break,
                Probe::Stranger => return Err(self.stranger()),
                Probe::Busy(why) => why,
                Probe::Absent => "it opens no socket".to_owned(),
            };
            if let Ok(Some(status)) = server.try_wait() {
                return Err(Error::Database {
                    what: format!("the private server ended while it started ({status})"),
                    help: format!("the end of {}:\n{}", self.log.display(), self.log_since(begin)),
                });
            }
            if Instant::now() > deadline {
                return Err(self.slow(&state));
            }
        }
        tracing::debug!(pid = server.id(), data = %self.data.display(), "private server started");
        // Whoever outlives the server must not keep it as a zombie.
        std::thread::spawn(move || server.wait());
        Ok(())
    }

    fn spawn(&self, log: File) -> Result<Child> {
        let stdout = log.try_clone().map_err(|e| Error::io("cannot share the log", e))?;
        // The shell closes what kdata inherited: under `flock file kdata …` the server would else hold the
        // lock for ever. A process group of its own keeps Ctrl-C away.
        self.command("sh")
            .args(["-c", "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$0\" -D \"$1\""])
            .args([&self.server.bin.join("postgres"), &self.data])
            .process_group(0)
            .stdout(stdout)
            .stderr(log)
            .spawn()
            .map_err(|e| Error::io("cannot start the server", e))
    }

    /// A program of the server's (or the shell), run as the server's user. The environment stays behind: it
    /// may hold secrets, and `PG…` variables that steer the server.
    fn command(&self, program: &str) -> Command {
        let path = if program == "sh" { PathBuf::from("/bin/sh") } else { self.server.bin.join(program) };
        let mut command = Command::new(path);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        if self.me.uid == 0 {
            // The standard library drops the supplementary groups as well.
            command.uid(self.runs_as.uid).gid(self.runs_as.gid);
        }
        command
    }

    #[expect(clippy::unused_self, reason = "reads as one: self.run(self.command(…))")]
    fn run(&self, command: &mut Command) -> Result<Output> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.output().map_err(|e| Error::io(format!("cannot run {program}"), e))
    }

    fn create(&self) -> Result<()> {
        if fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Refused {
                what: format!("{} holds files that are not a PostgreSQL cluster", self.data.display()),
                help: format!("move them away, or {CHOOSE_HOME}"),
            });
        }
        self.sweep();
        let new = self.home.join(format!("data.new.{}", std::process::id()));
        self.make_folder(&new, 0o700, Some(&self.runs_as))?;
        let made = self.init(&new).and_then(|()| {
            fs::rename(&new, &self.data)
                .and_then(|()| File::open(&self.home)?.sync_all())
                .map_err(|e| Error::io(format!("cannot put the new cluster to {}", self.data.display()), e))
        });
        if made.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        made
    }

    /// Removes what an interrupted run left.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.home).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("data.new.") {
                tracing::debug!(folder = %entry.path().display(), "removing an unfinished cluster");
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn init(&self, new: &Path) -> Result<()> {
        let initdb = self.run(
            self.command("initdb")
                .args(["-U", OWNER, "--auth-local=peer", "--auth-host=scram-sha-256", "--encoding=UTF8"])
                .args(["--locale=C", "--data-checksums", "--no-instructions", "-D"])
                .arg(new),
        )?;
        // Appended by the server's user: the folder is already its own.
        let include = self.run(
            self.command("sh")
                .args(["-c", "echo \"include '../kdata.conf'\" >>\"$0\""])
                .arg(new.join("postgresql.conf")),
        )?;
        match [initdb, include].iter().find(|output| !output.status.success()) {
            None => Ok(()),
            Some(output) => Err(Error::Database {
                what: format!("initdb cannot create the private cluster ({})", output.status),
                help: format!("it said:\n{}", last_lines(&output.stderr, 8)),
            }),
        }
    }

    fn write_settings(&self) -> Result<()> {
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
        let (new, path) = (self.home.join(format!("{name}.new")), self.home.join(name));
        fs::write(&new, text)
            .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?;
        self.hand_over(&path);
        Ok(())
    }

    /// What root makes in a home of somebody else's must not lock that user out.
    fn hand_over(&self, path: &Path) {
        if self.me.uid == 0
            && let Ok(home) = fs::metadata(&self.home)
        {
            let _ = lchown(path, Some(home.uid()), Some(home.gid()));
        }
    }

    fn make_folders(&self) -> Result<()> {
        self.check_passable()?;
        let missing: Vec<_> = self.home.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            self.make_folder(folder, 0o755, None)?;
        }
        let log = self.home.join("log");
        self.make_folder(&log, 0o755, None)?;
        self.hand_over(&log);
        Ok(())
    }

    fn make_folder(&self, path: &Path, mode: u32, owner: Option<&Account>) -> Result<()> {
        let made = DirBuilder::new().mode(mode).create(path).and_then(|()| {
            // Whatever the umask: the server and the readers must pass.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            match owner {
                Some(owner) if self.me.uid == 0 => lchown(path, Some(owner.uid), Some(owner.gid)),
                _ => Ok(()),
            }
        });
        match made {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                Err(Error::usage(format!("cannot create the folder {}: {e}", path.display()), CHOOSE_HOME))
            }
            _ => Ok(()),
        }
    }

    /// As root: every folder on the way must let the server's user pass. The user's shell is asked, since it
    /// knows of ACLs.
    fn check_passable(&self) -> Result<()> {
        if self.me.uid != 0 {
            return Ok(());
        }
        let program = self.server.bin.join("postgres");
        let mut ways: Vec<_> = self.home.ancestors().chain(program.ancestors()).filter(|p| p.exists()).collect();
        ways.sort();
        let test = "for p do [ -x \"$p\" ] || { printf %s \"$p\"; exit 1; }; done";
        let output = self.run(self.command("sh").args(["-c", test, "sh"]).args(&ways))?;
        if output.status.success() {
            return Ok(());
        }
        let barred = String::from_utf8_lossy(&output.stdout).into_owned();
        let name = &self.runs_as.name;
        let help = if self.home.starts_with(&barred) {
            format!("PostgreSQL refuses to run as root; {CHOOSE_HOME}, e.g. KDATA_HOME=/var/lib/kdata")
        } else {
            "set KDATA_PG_BIN to server binaries that every user may run".to_owned()
        };
        Err(Error::usage(format!("the server runs as user {name}, who may not pass {barred}"), help))
    }

    /// A socket folder of somebody else's could lead to a server of theirs.
    fn check_socket_dir(&self) -> Result<()> {
        match fs::symlink_metadata(&self.socket_dir) {
            Ok(folder) if !folder.is_dir() || ![0, self.runs_as.uid].contains(&folder.uid()) => {
                Err(Error::Refused {
                    what: format!("{} is not a folder of user {}", self.socket_dir.display(), self.runs_as.name),
                    help: format!("see who made it, remove it, or {CHOOSE_HOME} (with a shorter path)"),
                })
            }
            _ => Ok(()),
        }
    }

    /// Only the server's user and root may start and stop it.
    fn check_mine(&self, verb: &str) -> Result<()> {
        if [0, self.runs_as.uid].contains(&self.me.uid) {
            return Ok(());
        }
        Err(Error::usage(
            format!("user {} may not {verb} the cluster in {}", self.me.name, self.data.display()),
            format!("ask user {} or root for `kdata db {verb}`, or {CHOOSE_HOME}", self.runs_as.name),
        ))
    }

    fn stranger(&self) -> Error {
        Error::usage(
            format!("user {} does not own the database in {}", self.me.name, self.home.display()),
            format!("read it with {}, or {CHOOSE_HOME}", self.url("kdata", READER)),
        )
    }

    fn slow(&self, state: &str) -> Error {
        Error::Database {
            what: format!("the private server is not ready after {} s: {state}", PATIENCE.as_secs()),
            help: format!("it goes on by itself: try again later; its log is {}", self.log.display()),
        }
    }

    fn open_lock(&self) -> Result<File> {
        let path = self.home.join("lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        self.hand_over(&path);
        file.map_err(|e| Error::io(format!("cannot open {}", path.display()), e))
    }

    /// One kdata at a time creates, starts or stops.
    async fn lock(&self) -> Result<File> {
        let file = self.open_lock()?;
        let deadline = Instant::now() + PATIENCE + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => {
                    return Err(Error::io(format!("cannot lock {}", self.home.display()), e));
                }
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(Error::Locked {
                        what: "another kdata has been starting or stopping the private server for minutes".into(),
                        help: format!("see `kdata db status` and {}", self.log.display()),
                    });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        self.make_folder(&self.socket_dir, 0o755, Some(&self.runs_as))?;
        self.check_socket_dir()?;
        Ok(file)
    }

    fn open_log(&self) -> Result<File> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > LOG_LIMIT) {
            let _ = fs::rename(&self.log, self.log.with_extension("log.1"));
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        self.hand_over(&self.log);
        file.map_err(|e| Error::io(format!("cannot open {}", self.log.display()), e))
    }

    fn log_since(&self, begin: u64) -> String {
        let mut text = Vec::new();
        let _ = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(begin))?;
            log.read_to_end(&mut text)
        });
        last_lines(&text, 8)
    }
}

const CHOOSE_HOME: &str = "set KDATA_HOME to a folder of your choice";

/// Server binaries of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    bin: PathBuf,
    major: u32,
}

impl Server {
    /// Those that `KDATA_PG_BIN` names, else the best on the machine for the cluster in `data`.
    fn find(settings: &Settings, data: &Path) -> Result<Self> {
        let existing = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|v| v.trim().parse().ok());
        let found = match &settings.pg_bin {
            Some(bin) => vec![Self::named(bin)?],
            None => Self::installed(&settings.path, existing),
        };
        let mut fitting = choose(&found, existing);
        if fitting.len() > 1 {
            fitting.sort_by_cached_key(|server| !server.has_timescaledb());
        }
        match (fitting.first(), existing) {
            (Some(server), _) => Ok((*server).clone()),
            (None, Some(major)) if !found.is_empty() => Err(Error::usage(
                format!("{} was made by PostgreSQL {major}, whose binaries are not here", data.display()),
                format!("install PostgreSQL {major} or set KDATA_PG_BIN to it; or {CHOOSE_HOME} for a new cluster"),
            )),
            _ => Err(Error::usage(
                "no PostgreSQL server (15 or newer) is installed",
                "install it: apt-get install postgresql, dnf install postgresql-server, or brew install \
                 postgresql@16; or set KDATA_PG_BIN to the folder of initdb and postgres, or DATABASE_URL to a \
                 database that runs already",
            )),
        }
    }

    fn named(bin: &Path) -> Result<Self> {
        let example = "set KDATA_PG_BIN to the folder that holds initdb, postgres and pg_ctl, e.g. \
                       /usr/lib/postgresql/15/bin, or unset it to let kdata look";
        if let Some(program) = PROGRAMS.iter().find(|program| !bin.join(program).is_file()) {
            return Err(Error::usage(format!("KDATA_PG_BIN={} holds no {program}", bin.display()), example));
        }
        let major = ask_major(bin)
            .ok_or_else(|| Error::usage(format!("KDATA_PG_BIN={}: postgres does not run", bin.display()), example))?;
        if major < OLDEST {
            let what = format!("KDATA_PG_BIN={} is PostgreSQL {major}: too old", bin.display());
            return Err(Error::usage(what, format!("kdata needs PostgreSQL {OLDEST} or newer")));
        }
        Ok(Self { bin: bin.to_owned(), major })
    }

    fn installed(path: &[PathBuf], existing: Option<u32>) -> Vec<Self> {
        let complete = |bin: &Path| PROGRAMS.iter().all(|program| bin.join(program).is_file());
        let mut found = Vec::new();
        for major in (OLDEST..=NEWEST).rev() {
            let folders = WELL_KNOWN.iter().map(|folder| PathBuf::from(folder.replace("{}", &major.to_string())));
            found.extend(folders.filter(|bin| complete(bin)).map(|bin| Self { bin, major }));
        }
        // Binaries elsewhere must be asked for their version, which takes time: only where they are needed.
        if choose(&found, existing).is_empty() {
            let others = path.iter().filter(|bin| complete(bin));
            found.extend(others.filter_map(|bin| Some(Self { major: ask_major(bin)?, bin: bin.clone() })));
        }
        found
    }

    /// Both halves of the extension are where these binaries look for them.
    fn has_timescaledb(&self) -> bool {
        let holds = |share: &Path, lib: &Path| {
            share.join("extension/timescaledb.control").is_file()
                && ["timescaledb.so", "timescaledb.dylib"].iter().any(|name| lib.join(name).is_file())
        };
        let real = fs::canonicalize(self.bin.join("postgres")).unwrap_or_default();
        let Some(prefix) = real.parent().and_then(Path::parent) else { return false };
        let debian = format!("../../../share/postgresql/{}", self.major);
        let layouts = [
            ("share", "lib"),
            ("share/postgresql", "lib/postgresql"),
            ("share/postgresql", "lib"),
            ("share/pgsql", "lib64/pgsql"),
            (&debian, "lib"),
        ];
        layouts.iter().any(|(share, lib)| holds(&prefix.join(share), &prefix.join(lib)))
            || answer(Command::new(self.bin.join("pg_config")).args(["--sharedir", "--pkglibdir"]))
                .and_then(|text| text.split_once('\n').map(|(s, l)| holds(Path::new(s), Path::new(l))))
                .unwrap_or(false)
    }
}

/// The servers that may run the cluster, the newest first.
fn choose(found: &[Server], existing: Option<u32>) -> Vec<&Server> {
    let fits = |server: &&Server| existing.map_or(server.major >= OLDEST, |major| server.major == major);
    let mut fitting: Vec<_> = found.iter().filter(fits).collect();
    fitting.sort_by_key(|server| std::cmp::Reverse(server.major));
    fitting
}

fn ask_major(bin: &Path) -> Option<u32> {
    parse_major(&answer(Command::new(bin.join("postgres")).arg("--version"))?)
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-1)`, `postgres (PostgreSQL) 19beta1`.
fn parse_major(answer: &str) -> Option<u32> {
    let version = answer.split_once("(PostgreSQL) ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a helper program prints, where there is one and it succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An OS user.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl Account {
    fn by_uid(uid: u32) -> Result<Self> {
        let listed = |text: &str| passwd(text).find(|account| account.uid == uid);
        let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let id = uid.to_string();
        // Users of LDAP and the like are not in the file; macOS has no getent.
        listed(&file)
            .or_else(|| listed(&answer(Command::new("getent").args(["passwd", &id]))?))
            .or_else(|| {
                let name = answer(Command::new("id").args(["-un", &id])).filter(|name| *name != id)?;
                let gid = answer(Command::new("id").args(["-g", &id]))?.parse().ok()?;
                Some(Self { name, uid, gid, home: PathBuf::new() })
            })
            .ok_or_else(|| {
                Error::usage(
                    format!("the user id {uid} has no name on this machine, which PostgreSQL needs"),
                    "add the user to /etc/passwd, or set DATABASE_URL to a database that runs already",
                )
            })
    }
}

/// The accounts of a file like /etc/passwd.
fn passwd(text: &str) -> impl Iterator<Item = Account> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name, uid, gid, home: PathBuf::from(fields.nth(1)?) })
    })
}

fn own_uid() -> Result<u32> {
    fs::metadata("/proc/self")
        .ok()
        .map(|process| process.uid())
        .or_else(|| answer(Command::new("id").arg("-u"))?.parse().ok())
        .ok_or_else(|| Error::usage("cannot tell which user runs kdata", "mount /proc, or set DATABASE_URL"))
}

/// Whom the server runs as: the owner of the cluster's files, else us, or an unprivileged user instead of root.
fn server_account(me: &Account, data: &Path) -> Result<Account> {
    match fs::metadata(data) {
        Ok(folder) if folder.uid() != 0 => return Account::by_uid(folder.uid()),
        _ if me.uid != 0 => return Ok(me.clone()),
        _ => {}
    }
    let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| passwd(&file).find(|account| account.name == *name)).ok_or_else(
        || Error::usage("PostgreSQL refuses to run as root, and there is no user postgres", "run kdata as a normal user"),
    )
}

/// The folder of the private cluster and of kdata's state: `KDATA_HOME`, else the user's default.
pub fn home(settings: &Settings) -> Result<PathBuf> {
    if let Some(home) = &settings.home {
        return Ok(home.clone());
    }
    let uid = own_uid()?;
    if uid == 0 {
        return Ok(PathBuf::from("/var/lib/kdata"));
    }
    // The XDG specification: a relative path is to be ignored.
    if let Some(xdg) = settings.xdg_data_home.as_ref().filter(|xdg| xdg.is_absolute()) {
        return Ok(xdg.join("kdata"));
    }
    let user = settings.user_home.clone().map_or_else(|| Account::by_uid(uid).map(|me| me.home), Ok)?;
    Ok(user.join(".local/share/kdata"))
}

/// The path without links, as far as it exists: one home has one spelling, and one socket.
fn resolve(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|existing| {
            let rest = path.strip_prefix(existing).ok()?;
            fs::canonicalize(existing).ok().map(|real| if rest.as_os_str().is_empty() { real } else { real.join(rest) })
        })
        .unwrap_or_else(|| path.to_owned())
}

/// `<home>/run`, unless the path is too long for a socket or holds what a list of hosts cannot.
fn socket_dir(home: &str) -> PathBuf {
    let run = format!("{home}/run");
    let longest = run.len() + format!("/.s.PGSQL.{PORT}").len();
    if longest <= SOCKET_PATH_LIMIT && !home.contains([',', '"', '\\']) && !home.contains(char::is_control) {
        return PathBuf::from(run);
    }
    let fnv = home.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    PathBuf::from(format!("/tmp/kdata-{fnv:08x}"))
}

fn is_zombie(stat: &str) -> bool {
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    state.starts_with(['Z', 'X'])
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn last_lines(text: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A string in a configuration file.
fn quote(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\\', "\\\\").replace('\'', "''"))
}

fn kdata_conf(home: &Path, socket_dir: &Path, timescaledb: bool) -> String {
    let socket_dir = quote(Path::new(&format!("\"{}\"", socket_dir.display())));
    let (hba, ident) = (quote(&home.join("pg_hba.conf")), quote(&home.join("pg_ident.conf")));
    let preload = if timescaledb {
        "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n"
    } else {
        ""
    };
    format!(
        "# Written anew by kdata at each start. Settings of your own go to the end of data/postgresql.conf.\n\
         cluster_name = 'kdata'\n\
         listen_addresses = ''\n\
         port = {PORT}\n\
         unix_socket_directories = {socket_dir}\n\
         hba_file = {hba}\n\
         ident_file = {ident}\n\
         timezone = 'Asia/Seoul'\n\
         log_timezone = 'Asia/Seoul'\n\
         shared_buffers = '256MB'\n\
         max_wal_size = '4GB'\n\
         checkpoint_timeout = '15min'\n\
         wal_compression = on\n\
         jit = off\n\
         {preload}"
    )
}

const PG_HBA: &str = "# Written once by kdata; who is who: pg_ident.conf.\n\
    # TYPE  DATABASE  USER          METHOD\n\
    local   all       kdata         peer map=kdata_owner\n\
    local   all       kdata_reader  peer map=kdata_reader\n";

/// The owner's role is for root, the cluster's creator and the server's user; everybody may read.
fn pg_ident(names: &[&str]) -> String {
    let mut text = "# Written once by kdata.\n# MAP  OS-USER  ROLE\nkdata_owner  \"root\"  kdata\n".to_owned();
    for (i, name) in names.iter().enumerate() {
        if *name != "root" && !names[..i].contains(name) {
            text.push_str(&format!("kdata_owner  \"{name}\"  {OWNER}\n"));
        }
    }
    text.push_str(&format!("kdata_reader  /^.*$  {READER}\n"));
    text
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
            server: server(15),
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
    fn a_long_or_awkward_home_gets_a_short_socket_folder() {
        assert_eq!(socket_dir("/var/lib/kdata"), Path::new("/var/lib/kdata/run"));
        let fits = format!("/{}", "a".repeat(SOCKET_PATH_LIMIT - "//run/.s.PGSQL.5462".len()));
        assert_eq!(socket_dir(&fits), Path::new(&format!("{fits}/run")));
        assert_eq!(socket_dir(&format!("{fits}a")).to_string_lossy().len(), "/tmp/kdata-01234567".len());
        assert!(socket_dir("/data/a,b").starts_with("/tmp"));
        assert_ne!(socket_dir("/data/a,b"), socket_dir("/data/a,c"));
    }

    #[test]
    fn passwd_lines_are_read() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbroken\n+::::::\n\
                    nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";
        let found: Vec<_> = passwd(text).collect();
        assert_eq!(found.len(), 2);
        let nobody = Account { name: "nobody".into(), uid: 65534, gid: 65533, home: "/nonexistent".into() };
        assert_eq!(found[1], nobody);
    }

    fn server(major: u32) -> Server {
        Server { bin: format!("/pg/{major}").into(), major }
    }

    #[test]
    fn the_newest_server_wins_unless_a_cluster_exists() {
        let found = [server(15), server(17), server(14), server(16)];
        let majors = |existing| choose(&found, existing).iter().map(|s| s.major).collect::<Vec<_>>();
        assert_eq!(majors(None), [17, 16, 15]);
        assert_eq!(majors(Some(16)), [16]);
        assert!(majors(Some(18)).is_empty());
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("command not found"), None);
    }

    #[test]
    fn zombies_are_told_apart() {
        assert!(is_zombie("12 (postgres) Z 1 12 12 0 -1"));
        assert!(is_zombie("12 (a) b) Z 1"));
        assert!(!is_zombie("12 (Z) S 1 12 12 0 -1"));
    }

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
        assert!(kdata_conf(Path::new("/h"), Path::new("/h/run"), true).contains("timescaledb.telemetry_level = off"));
    }

    #[test]
    fn the_end_of_a_log() {
        assert_eq!(last_lines(b"a\n\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines(b"", 2), "");
    }
}
