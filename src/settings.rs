//! Every environment variable is read here and nowhere else. A flag beats the environment, the environment
//! beats `.env`, `.env` beats the default.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};
use crate::market::Calendar;

/// A value that cannot be printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A setting: its variable, and what it is for. `.env.example` lists them all (a test compares).
pub const VARIABLES: &[(&str, &str)] = &[
    ("DATABASE_URL", "the database; absent: a private cluster that kdata starts itself"),
    ("KDATA_HOME", "folder of the private cluster and of kdata's state"),
    ("KDATA_PG_BIN", "folder of the PostgreSQL server binaries (initdb, postgres)"),
    ("KDATA_BACKEND", "storage of a new database: auto, timescale or native"),
    ("KDATA_CALENDAR", "a file laid over the shipped trading calendar"),
    ("KDATA_MARCAP", "marcap's yearly files: a folder or a base URL"),
    ("KDATA_NOW", "the time to take for now (RFC 3339), for drills and tests"),
    ("KDATA_LOG", "log filter on stderr, e.g. kdata=debug"),
];

/// Which storage a new database gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackendChoice {
    /// TimescaleDB where the server has it, else native partitions.
    Auto,
    /// Hypertables; an error where the server has none.
    Timescale,
    /// Native range partitions.
    Native,
}

/// The resolved settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `DATABASE_URL`.
    pub database_url: Option<Secret>,
    /// `KDATA_HOME`, absolute; `None` means the default of the user (`db::cluster` resolves it).
    pub home: Option<PathBuf>,
    /// The user's home folder and data folder, where the environment tells them.
    pub user_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub xdg_data_home: Option<PathBuf>,
    /// `KDATA_PG_BIN`.
    pub pg_bin: Option<PathBuf>,
    /// `PATH`, to look for server binaries last.
    pub path: Vec<PathBuf>,
    /// `KDATA_BACKEND`.
    pub backend: BackendChoice,
    /// `KDATA_MARCAP`.
    pub marcap: Option<String>,
    /// `KDATA_LOG`.
    pub log: Option<String>,
    /// Where downloads are kept while they are read.
    pub temporary: PathBuf,
    /// `COLUMNS`, when set: the width of tables where there is no terminal.
    pub columns: Option<u16>,
    /// `KDATA_CALENDAR`.
    pub calendar_file: Option<PathBuf>,
    /// `KDATA_NOW`.
    pub fixed_now: Option<DateTime<Utc>>,
}

impl Settings {
    /// Reads the environment, and `.env` in the current folder or above.
    pub fn from_environment() -> Result<Self> {
        match dotenvy::dotenv() {
            Ok(_) => {}
            Err(error) if error.not_found() || is_unreadable_folder(&error) => {}
            Err(error) => {
                return Err(Error::usage(
                    format!("the .env file cannot be read: {}", describe(&error)),
                    "each line is NAME=value; quote values that hold spaces",
                ));
            }
        }
        let backend = match text("KDATA_BACKEND")?.as_deref() {
            None | Some("auto") => BackendChoice::Auto,
            Some("timescale") => BackendChoice::Timescale,
            Some("native") => BackendChoice::Native,
            Some(other) => {
                return Err(Error::usage(
                    format!("KDATA_BACKEND={other} is unknown"),
                    "set auto, timescale or native",
                ));
            }
        };
        let fixed_now = text("KDATA_NOW")?
            .map(|value| {
                DateTime::parse_from_rfc3339(&value).map(|t| t.to_utc()).map_err(|_| {
                    Error::usage(
                        format!("KDATA_NOW={value} is not a time"),
                        "write it like 2026-11-20T18:00:00+09:00",
                    )
                })
            })
            .transpose()?;
        Ok(Self {
            database_url: text("DATABASE_URL")?.map(Secret::new),
            home: path("KDATA_HOME")?.map(|p| std::path::absolute(&p).unwrap_or(p)),
            user_home: path("HOME")?,
            xdg_data_home: path("XDG_DATA_HOME")?,
            pg_bin: path("KDATA_PG_BIN")?,
            path: text("PATH")?.map(|p| std::env::split_paths(&p).collect()).unwrap_or_default(),
            backend,
            marcap: text("KDATA_MARCAP")?,
            log: text("KDATA_LOG")?,
            temporary: std::env::temp_dir(),
            columns: text("COLUMNS")?.and_then(|c| c.parse().ok()),
            calendar_file: path("KDATA_CALENDAR")?,
            fixed_now,
        })
    }

    /// The present instant: the system's clock, unless `KDATA_NOW` fixes it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> DateTime<Utc> {
        self.fixed_now.unwrap_or_else(Utc::now)
    }

    /// The trading calendar: the shipped one, with the user's file laid over it.
    pub fn calendar(&self) -> Result<Calendar> {
        let Some(file) = &self.calendar_file else {
            return Ok(Calendar::shipped());
        };
        let text = std::fs::read_to_string(file).map_err(|e| {
            let what = format!("cannot read KDATA_CALENDAR ({}): {e}", file.display());
            Error::usage(what, "correct the path, or unset it to use the shipped calendar")
        })?;
        Calendar::with_override(&text).map_err(|bad| {
            Error::usage(
                format!("{}, line {}: {}", file.display(), bad.line, bad.problem),
                "lines are DATE,OPEN,CLOSE,REASON; DATE alone closes the day",
            )
        })
    }
}

/// An empty value counts as absent: cron and compose files often set NAME= for "none".
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn text(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::usage(format!("{name} is not UTF-8"), "set it again in a UTF-8 locale"))
        }
    }
}

fn path(name: &str) -> Result<Option<PathBuf>> {
    Ok(text(name)?.map(PathBuf::from))
}

/// `sudo -u` from a folder that the user may not enter: there is no .env for this user.
fn is_unreadable_folder(error: &dotenvy::Error) -> bool {
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    matches!(error, dotenvy::Error::Io(e) if denied(e))
        && std::fs::metadata(".env").is_err_and(|e| denied(&e))
}

/// dotenvy's parse error quotes the whole line, which may hold a secret: the line's name alone is told.
fn describe(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            format!("a line that begins with `{name}` is not NAME=value")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "***");
    }

    #[test]
    fn a_bad_env_line_does_not_leak() {
        let error = dotenvy::Error::LineParse("TOKEN hunter2".into(), 5);
        assert_eq!(describe(&error), "a line that begins with `TOKEN` is not NAME=value");
    }

    #[test]
    fn the_example_lists_every_variable() {
        let example = include_str!("../.env.example");
        for (name, _) in VARIABLES {
            assert!(example.contains(&format!("{name}=")), "{name} is missing in .env.example");
        }
    }
}
