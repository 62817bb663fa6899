//! The server binaries: found on the machine, or named by `KDATA_PG_BIN`.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CHOOSE_HOME, answer};
use crate::error::{Error, Result};
use crate::settings::Settings;

const OLDEST: u32 = 15;
const NEWEST: u32 = 40;
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

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

/// Server binaries of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) bin: PathBuf,
    pub(super) major: u32,
}

impl Server {
    /// Those that `KDATA_PG_BIN` names, else the best on the machine for the cluster in `data`.
    pub(super) fn find(settings: &Settings, data: &Path) -> Result<Self> {
        let version = fs::read_to_string(data.join("PG_VERSION")).ok();
        let existing = version.and_then(|text| text.trim().parse().ok());
        let found = match &settings.pg_bin {
            Some(bin) => vec![Self::named(bin)?],
            None => Self::installed(&settings.path, existing),
        };
        let mut fitting = choose(&found, existing);
        if fitting.len() > 1 {
            fitting.sort_by_cached_key(|server| !server.has_timescaledb());
        }
        match (fitting.first(), existing) {
            (Some(&server), _) => Ok(server.clone()),
            (None, Some(major)) if !found.is_empty() => Err(Error::usage(
                format!("{} was made by PostgreSQL {major}, whose binaries are not here", data.display()),
                format!(
                    "install PostgreSQL {major}, or set KDATA_PG_BIN to it, or {CHOOSE_HOME} to begin anew"
                ),
            )),
            _ => Err(Error::usage(
                "no PostgreSQL server (15 or newer) is installed",
                "install it: apt-get install postgresql | dnf install postgresql-server | brew install \
                 postgresql@16; or set KDATA_PG_BIN to the folder of initdb and postgres, or DATABASE_URL to a \
                 database that runs already",
            )),
        }
    }

    fn named(bin: &Path) -> Result<Self> {
        let name = format!("KDATA_PG_BIN={}", bin.display());
        let help = "set it to the folder that holds initdb, postgres and pg_ctl (version 15 or newer), e.g. \
                    /usr/lib/postgresql/15/bin; or unset it and let kdata look";
        if let Some(program) = PROGRAMS.iter().find(|program| !bin.join(program).is_file()) {
            return Err(Error::usage(format!("{name} holds no {program}"), help));
        }
        match ask_major(bin) {
            None => Err(Error::usage(format!("{name}: postgres does not run"), help)),
            Some(major) if major < OLDEST => Err(Error::usage(format!("{name} is PostgreSQL {major}"), help)),
            Some(major) => Ok(Self { bin: bin.to_owned(), major }),
        }
    }

    fn installed(path: &[PathBuf], existing: Option<u32>) -> Vec<Self> {
        let complete = |bin: &PathBuf| PROGRAMS.iter().all(|program| bin.join(program).is_file());
        let mut found = Vec::new();
        for major in OLDEST..=NEWEST {
            let bins = WELL_KNOWN.map(|folder| PathBuf::from(folder.replace("{}", &major.to_string())));
            found.extend(bins.into_iter().filter(complete).map(|bin| Self { bin, major }));
        }
        // Binaries elsewhere must be asked for their version, which takes time: only where they are needed.
        if choose(&found, existing).is_empty() {
            for bin in path.iter().filter(|bin| complete(bin)) {
                found.extend(ask_major(bin).map(|major| Self { bin: bin.clone(), major }));
            }
        }
        found
    }

    /// Both halves of the extension are where these binaries look for them.
    pub(super) fn has_timescaledb(&self) -> bool {
        let holds = |share: &Path, lib: &Path| {
            share.join("extension/timescaledb.control").is_file()
                && ["so", "dylib"].iter().any(|end| lib.join("timescaledb").with_extension(end).is_file())
        };
        let real = fs::canonicalize(self.bin.join("postgres")).unwrap_or_default();
        let Some(prefix) = real.parent().and_then(Path::parent) else {
            return false;
        };
        let debian = format!("../../../share/postgresql/{}", self.major);
        let layouts = [
            (debian.as_str(), "lib"),
            ("share", "lib"),
            ("share/postgresql", "lib/postgresql"),
            ("share/postgresql", "lib"),
            ("share/pgsql", "lib64/pgsql"),
        ];
        layouts.iter().any(|(share, lib)| holds(&prefix.join(share), &prefix.join(lib)))
            || answer(Command::new(self.bin.join("pg_config")).args(["--sharedir", "--pkglibdir"]))
                .is_some_and(|dirs| dirs.split_once('\n').is_some_and(|(s, l)| holds(s.as_ref(), l.as_ref())))
    }
}

/// One of PostgreSQL's client programs, of a server's version or newer: an older one refuses.
pub(super) fn client_program(settings: &Settings, name: &str, major: u32) -> Result<PathBuf> {
    let named = settings.pg_bin.iter().cloned();
    let known = (major..=NEWEST)
        .flat_map(|major| WELL_KNOWN.map(|folder| PathBuf::from(folder.replace("{}", &major.to_string()))));
    let candidates = named.chain(known).chain(settings.path.iter().cloned()).map(|bin| bin.join(name));
    let fits = |program: &PathBuf| {
        program.is_file()
            && answer(Command::new(program).arg("--version")).and_then(|said| parse_major(&said))
                >= Some(major)
    };
    candidates.into_iter().find(fits).ok_or_else(|| {
        Error::usage(
            format!("{name} {major} or newer is not here"),
            format!("install PostgreSQL {major}'s client programs, or set KDATA_PG_BIN to their folder"),
        )
    })
}

/// The servers that may run the cluster, the newest first.
fn choose(found: &[Server], existing: Option<u32>) -> Vec<&Server> {
    let fits = |major: u32| existing.map_or(major >= OLDEST, |existing| major == existing);
    let mut fitting: Vec<_> = found.iter().filter(|server| fits(server.major)).collect();
    fitting.sort_by_key(|server| Reverse(server.major));
    fitting
}

fn ask_major(bin: &Path) -> Option<u32> {
    parse_major(&answer(Command::new(bin.join("postgres")).arg("--version"))?)
}

/// `postgres (PostgreSQL) 15.20 (Debian 15.20-1)`, `postgres (PostgreSQL) 19beta1`.
fn parse_major(answer: &str) -> Option<u32> {
    let (_, version) = answer.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
