//! What the tests stand on: a fresh folder each, the real binary with a cleared environment, one PostgreSQL
//! cluster that kdata itself creates, a database each, sheets of marcap rows, and a small HTTP server.

mod database;
mod server;
mod sheet;
mod stream;
mod tls;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;

pub use database::{Db, Session, cluster, stop_when_gone};
pub use server::{Reply, Request, Server};
pub use sheet::Sheet;
pub use stream::{Made, Stream, reseal, rows};
pub use tls::tls_server;

/// The binary under test.
pub const KDATA: &str = env!("CARGO_BIN_EXE_kdata");
/// The three datasets, masters first.
pub const DATASETS: [&str; 3] = ["stocks", "ohlcv", "market-cap"];
/// The clock of the tests, unless one sets another: a Monday evening, long after all data.
pub const NOW: &str = "2026-11-23T20:00:00+09:00";

/// Runs a test of one argument, a fresh database, once on each storage backend.
macro_rules! on_both_backends {
    ($($test:ident)*) => {$(
        mod $test {
            #[test]
            fn native() {
                super::$test(&crate::support::Db::native());
            }

            #[test]
            fn timescale() {
                if let Some(db) = crate::support::Db::timescale(concat!(module_path!(), "::timescale")) {
                    super::$test(&db);
                }
            }
        }
    )*};
}
pub(crate) use on_both_backends;

/// Says something past libtest's capture.
pub fn announce(text: &str) {
    let _ = writeln!(std::io::stderr(), "it: {text}");
}

/// The folder of real data; `None`, said once, where it is not there.
pub fn real_data() -> Option<PathBuf> {
    static ONCE: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/marcap");
    if folder.is_dir() {
        return Some(folder);
    }
    ONCE.call_once(|| announce(&format!("real data: {} is not there: LEFT OUT", folder.display())));
    None
}

/// The subcommands that a help text lists.
pub fn subcommands(help: &str) -> Vec<String> {
    let list =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Continued descriptions are indented further.
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|n| *n != "help")
        .map(ToOwned::to_owned)
        .collect()
}

/// What a command did.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Insists on success; returns stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }

    /// Insists on an exit code and on what is said; returns both outputs.
    #[track_caller]
    pub fn fails(self, code: i32, says: &[&str]) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        for text in says {
            assert!(self.stderr.contains(text), "{text:?} is not said: {self:#?}");
        }
        self.stdout + &self.stderr
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A fresh folder and an environment: nothing is inherited.
pub struct Work {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Work {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kdata-it-").tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let bin = Path::new(KDATA).parent().unwrap().display();
        let home = folder.path().join("home").display().to_string();
        let mut work = Self { folder, env: BTreeMap::new() };
        work.set("PATH", &format!("{bin}:/usr/local/bin:/usr/bin:/bin"));
        work.set("KDATA_NOW", NOW).set("KDATA_HOME", &home);
        work
    }

    /// Sets a variable for all commands to come.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A program of the system that is not on every machine: a script in the folder `bin`, found before all others.
    pub fn stand_in(&mut self, program: &str, script: &str) -> &mut Self {
        let path = self.write(&format!("bin/{program}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let bin = path.parent().unwrap().display().to_string();
        let path = &self.env["PATH"];
        let path = if path.starts_with(&bin) { path.clone() } else { format!("{bin}:{path}") };
        self.set("PATH", &path)
    }

    /// The variables of a vendor, for a script that runs in another folder.
    pub fn exports(&self) -> String {
        let of_vendor = |name: &&String| !["PATH", "KDATA_NOW", "KDATA_HOME"].contains(&name.as_str());
        let names = self.env.keys().filter(of_vendor);
        names.fold(String::new(), |script, name| script + &format!("export {name}='{}'; ", self.env[name]))
    }

    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.env.remove(name);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A marcap file of the folder `marcap`, which `KDATA_MARCAP` is set to.
    pub fn marcap(&mut self, year: i32, sheet: &Sheet) -> &mut Self {
        self.write(&format!("marcap/marcap-{year}.csv.gz"), sheet.csv_gz());
        let folder = self.path("marcap").display().to_string();
        self.set("KDATA_MARCAP", &folder)
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&self.env).current_dir(&self.folder);
        command
    }

    /// Runs kdata with arguments separated by blanks and nothing on stdin.
    pub fn kdata(&self, args: &str) -> Run {
        self.feed(args, b"")
    }

    /// Runs kdata with something piped in.
    pub fn feed(&self, args: &str, input: &[u8]) -> Run {
        let args: Vec<&str> = args.split_whitespace().collect();
        let mut command = self.command(KDATA, &args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // Who does not read to the end closes the pipe: no failure of the test.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap().into()
        })
    }

    /// Runs a shell script in which `kdata` is the binary.
    pub fn sh(&self, script: &str) -> Run {
        self.command("/bin/sh", &["-c", script]).stdin(Stdio::null()).output().unwrap().into()
    }

    /// A validated stream out of marcap.
    #[track_caller]
    pub fn validated(&self, dataset: &str, from: &str, to: &str) -> String {
        self.sh(&format!("kdata extract {dataset} --source marcap --from {from} --to {to} | kdata validate"))
            .ok()
    }
}
