//! Every environment variable is read here and nowhere else. A flag beats the environment, the environment
//! beats `.env`, `.env` beats the default.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

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
    ("KDATA_BACKUPS", "folder of the backups; absent: `backups` in KDATA_HOME"),
    ("KDATA_BACKEND", "storage of a new database: auto, timescale or native"),
    ("KDATA_CALENDAR", "a file laid over the shipped trading calendar; absent: calendar.csv in KDATA_HOME"),
    ("KDATA_MARCAP", "marcap's yearly files: a folder or a base URL"),
    ("KDATA_INFOMAX_TOKEN", "token of the Infomax API"),
    ("KDATA_INFOMAX_URL", "another base URL of Infomax"),
    ("KDATA_INFOMAX_RATE", "calls a second (0.95, below the Lite plan's 60 a minute)"),
    ("KDATA_INFOMAX_BYTES", "bytes of answers a day (200000000, the Lite plan's)"),
    ("KDATA_KIS_APP_KEY", "app key of KIS Developers, of a real account"),
    ("KDATA_KIS_APP_SECRET", "app secret of KIS Developers"),
    ("KDATA_KIS_URL", "another base URL of KIS"),
    ("KDATA_KIS_MASTER_URL", "another base URL of KIS's master files"),
    ("KDATA_KIS_RATE", "calls a second (10; 3 in the first days of a subscription)"),
    ("KDATA_KIWOOM_APP_KEY", "app key of Kiwoom REST"),
    ("KDATA_KIWOOM_SECRET_KEY", "secret key of Kiwoom REST"),
    ("KDATA_KIWOOM_URL", "another base URL of Kiwoom"),
    ("KDATA_KIWOOM_RATE", "calls a second of all operations together (3); each one has a third of it"),
    ("KDATA_KRX_OPENAPI_KEY", "key of KRX OPEN API"),
    ("KDATA_KRX_OPENAPI_URL", "another base URL of KRX OPEN API"),
    ("KDATA_KRX_OPENAPI_RATE", "calls a second (2)"),
    ("KDATA_KRX", "on: use the KRX data portal, whose terms forbid automated collection"),
    ("KDATA_KRX_ID", "login of the KRX data portal"),
    ("KDATA_KRX_PASSWORD", "password of the KRX data portal"),
    ("KDATA_KRX_URL", "another base URL of the KRX data portal"),
    ("KDATA_KRX_RATE", "calls a second (0.5)"),
    ("KDATA_CSV", "folder of your own files, one a dataset: ohlcv.csv or ohlcv.csv.gz"),
    ("KDATA_CSV_COLUMNS", "their columns by kdata's names: close=종가,volume=거래량"),
    ("KDATA_CSV_ENCODING", "their encoding: utf-8 or cp949"),
    ("KDATA_SOURCES", "order of preference of the sources instead of the shipped one, e.g. krx-openapi,kis"),
    ("KDATA_ARCHIVE", "folder that keeps all answers for good; absent: 7 days in the state directory"),
    ("KDATA_CA_FILE", "certificates (PEM) to trust besides the system's"),
    ("KDATA_TLS_INSECURE", "sources whose certificate is not checked; dangerous"),
    ("KDATA_HTTP_TIMEOUT", "seconds that an answer may take (60)"),
    ("KDATA_RETRY_PAUSE", "seconds before the first retry (1); later ones wait longer"),
    ("KDATA_RETRY_LIMIT", "seconds that all waits of one call may take together (180)"),
    ("KDATA_ALERT_WEBHOOK", "URL that is told of failures of unattended runs; it is a secret"),
    ("KDATA_ALERT_FORM", "what it takes: json, slack or telegram; absent: by its host"),
    ("KDATA_ALERT_COMMAND", "shell command that is told the same, JSON on its stdin"),
    ("KDATA_ALERT_WINDOW", "hours in which the same failure is told once (12)"),
    ("KDATA_PING_URL", "URL of a dead man's switch, pinged by run and promote; it is a secret"),
    ("KDATA_NOW", "the time to take for now (RFC 3339), for drills and tests"),
    ("KDATA_LOG", "log filter on stderr, e.g. kdata=debug"),
];

/// The settings that hold secrets. Each may also be named `…_FILE`, a file with the value, or `…_COMMAND`, a shell
/// command that prints it.
pub const SECRETS: &[&str] = &[
    "KDATA_INFOMAX_TOKEN",
    "KDATA_KIS_APP_KEY",
    "KDATA_KIS_APP_SECRET",
    "KDATA_KIWOOM_APP_KEY",
    "KDATA_KIWOOM_SECRET_KEY",
    "KDATA_KRX_OPENAPI_KEY",
    "KDATA_KRX_ID",
    "KDATA_KRX_PASSWORD",
    "KDATA_ALERT_WEBHOOK",
    "KDATA_PING_URL",
];

/// The locale of messages, as POSIX has it: `LC_ALL`, else `LC_MESSAGES`, else `LANG`.
pub fn locale() -> Option<String> {
    ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| text(name).ok().flatten())
}

/// Variables that are named like settings and are none, each with the setting that is meant, if one is alike.
pub fn unknown_variables() -> Vec<(String, Option<&'static str>)> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<_> = names
        .filter(|name| name.starts_with("KDATA_"))
        .filter(|name| !VARIABLES.iter().any(|(known, _)| known == name))
        .filter(|name| {
            let place = name.strip_suffix("_FILE").or_else(|| name.strip_suffix("_COMMAND"));
            !place.is_some_and(|secret| SECRETS.contains(&secret))
        })
        .map(|name| {
            let meant = likeliest(&name);
            (name, meant)
        })
        .collect();
    unknown.sort();
    unknown
}

/// The setting that a mistyped name is most like.
fn likeliest(name: &str) -> Option<&'static str> {
    let scored = VARIABLES.iter().map(|(known, _)| (strsim::jaro_winkler(known, name), *known));
    scored.filter(|(score, _)| *score > 0.9).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// Where a secret is to be had; it is fetched when a source needs it, and not before.
#[derive(Clone, Debug)]
pub struct SecretPlace {
    /// The setting's name.
    pub name: &'static str,
    place: Where,
}

#[derive(Clone, Debug)]
enum Where {
    Value(Secret),
    File(PathBuf),
    Command(Secret),
}

impl SecretPlace {
    fn find(name: &'static str) -> Result<Option<Self>> {
        let (value, file) = (text(name)?, path(&format!("{name}_FILE"))?);
        let command = text(&format!("{name}_COMMAND"))?;
        let place = match (value, file, command) {
            (Some(value), _, _) => Where::Value(Secret::new(value)),
            (None, Some(file), _) => Where::File(file),
            (None, None, Some(command)) => Where::Command(Secret::new(command)),
            (None, None, None) => return Ok(None),
        };
        Ok(Some(Self { name, place }))
    }

    /// The secret.
    pub fn get(&self) -> Result<Secret> {
        let name = self.name;
        let value = match &self.place {
            Where::Value(value) => return Ok(value.clone()),
            Where::File(file) => std::fs::read_to_string(file).map_err(|e| {
                Error::usage(
                    format!("{name}_FILE ({}) cannot be read: {e}", file.display()),
                    "correct the path or its permissions",
                )
            })?,
            Where::Command(command) => {
                // What the command says on stderr may be about the secret: not shown.
                let output =
                    Command::new("/bin/sh").arg("-c").arg(command.reveal()).stderr(Stdio::null()).output();
                let output = output.map_err(|e| Error::io(format!("{name}_COMMAND cannot be run"), e))?;
                if !output.status.success() {
                    return Err(Error::usage(
                        format!("{name}_COMMAND failed ({})", output.status),
                        "run it by hand: it must print the value and nothing else",
                    ));
                }
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
        };
        match value.trim() {
            "" => Err(Error::usage(
                format!("{name} is empty"),
                "check the file or the command that it comes from",
            )),
            value => Ok(Secret::new(value.to_owned())),
        }
    }
}

/// How a vendor is reached.
#[derive(Clone, Debug, Default)]
pub struct VendorSettings {
    /// A base URL instead of the vendor's own, without a slash at its end.
    pub url: Option<String>,
    /// The key, token or login.
    pub key: Option<SecretPlace>,
    /// What goes with the key.
    pub secret: Option<SecretPlace>,
    /// Calls a second.
    pub rate: Option<f64>,
}

impl VendorSettings {
    fn read(url: &str, key: &'static str, secret: Option<&'static str>, rate: &str) -> Result<Self> {
        Ok(Self {
            url: base_url(url)?,
            key: SecretPlace::find(key)?,
            secret: secret.map(SecretPlace::find).transpose()?.flatten(),
            rate: number(rate)?,
        })
    }
}

/// What all HTTP sources share.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `KDATA_ARCHIVE`.
    pub archive: Option<PathBuf>,
    /// `KDATA_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// `KDATA_TLS_INSECURE`, names of sources.
    pub insecure: Vec<String>,
    /// `KDATA_HTTP_TIMEOUT`.
    pub timeout: Duration,
    /// `KDATA_RETRY_PAUSE`.
    pub retry_pause: Duration,
    /// `KDATA_RETRY_LIMIT`.
    pub retry_limit: Duration,
}

/// What a webhook takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The alert as it is, as JSON.
    Json,
    /// Slack's incoming webhooks, and those that are like them.
    Slack,
    /// `sendMessage` of Telegram's bots; the URL ends in `?chat_id=…`.
    Telegram,
}

/// Who is told what becomes of unattended runs.
#[derive(Clone, Debug)]
pub struct AlertSettings {
    /// `KDATA_ALERT_WEBHOOK`: URLs of Slack and Telegram hold tokens.
    pub webhook: Option<SecretPlace>,
    /// `KDATA_ALERT_FORM`; `None`: told by the webhook's host.
    pub form: Option<Form>,
    /// `KDATA_ALERT_COMMAND`, which may hold a token as well.
    pub command: Option<Secret>,
    /// `KDATA_ALERT_WINDOW`.
    pub window: Duration,
    /// `KDATA_PING_URL`: who knows it can ping it.
    pub ping: Option<SecretPlace>,
}

impl AlertSettings {
    fn read() -> Result<Self> {
        let form = match text("KDATA_ALERT_FORM")?.as_deref() {
            None => None,
            Some("json") => Some(Form::Json),
            Some("slack") => Some(Form::Slack),
            Some("telegram") => Some(Form::Telegram),
            Some(other) => {
                return Err(Error::usage(
                    format!("KDATA_ALERT_FORM={other} is unknown"),
                    "set json, slack or telegram",
                ));
            }
        };
        Ok(Self {
            webhook: SecretPlace::find("KDATA_ALERT_WEBHOOK")?,
            form,
            command: text("KDATA_ALERT_COMMAND")?.map(Secret::new),
            window: Duration::from_secs_f64(number("KDATA_ALERT_WINDOW")?.unwrap_or(12.0) * 3600.0),
            ping: SecretPlace::find("KDATA_PING_URL")?,
        })
    }

    /// Is anybody told?
    pub fn is_set(&self) -> bool {
        self.webhook.is_some() || self.command.is_some()
    }
}

/// A user's own files.
#[derive(Clone, Debug, Default)]
pub struct CsvSettings {
    /// `KDATA_CSV`.
    pub folder: Option<PathBuf>,
    /// `KDATA_CSV_COLUMNS`: kdata's name and the file's.
    pub columns: Vec<(String, String)>,
    /// `KDATA_CSV_ENCODING`.
    pub encoding: Option<String>,
}

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
    /// `KDATA_BACKUPS`, absolute.
    pub backups: Option<PathBuf>,
    /// `KDATA_BACKEND`.
    pub backend: BackendChoice,
    /// `KDATA_MARCAP`.
    pub marcap: Option<String>,
    /// Infomax.
    pub infomax: VendorSettings,
    /// `KDATA_INFOMAX_BYTES`.
    pub infomax_bytes: Option<u64>,
    /// KIS Developers.
    pub kis: VendorSettings,
    /// `KDATA_KIS_MASTER_URL`.
    pub kis_master_url: Option<String>,
    /// Kiwoom REST.
    pub kiwoom: VendorSettings,
    /// KRX OPEN API.
    pub krx_openapi: VendorSettings,
    /// The KRX data portal.
    pub krx: VendorSettings,
    /// `KDATA_KRX`: the user has read the portal's terms and turned it on.
    pub krx_is_on: bool,
    /// A user's own files.
    pub csv: CsvSettings,
    /// `KDATA_SOURCES`, names of sources.
    pub sources: Vec<String>,
    /// What all HTTP sources share.
    pub http: HttpSettings,
    /// Who is told what becomes of unattended runs.
    pub alerts: AlertSettings,
    /// `KDATA_LOG`.
    pub log: Option<String>,
    /// Where downloads are kept while they are read.
    pub temporary: PathBuf,
    /// `COLUMNS`, when set: the width of tables where there is no terminal.
    pub columns: Option<u16>,
    /// `NO_COLOR`, when set to anything: no colours on a terminal either.
    pub no_color: bool,
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
            backups: path("KDATA_BACKUPS")?.map(|p| std::path::absolute(&p).unwrap_or(p)),
            path: text("PATH")?.map(|p| std::env::split_paths(&p).collect()).unwrap_or_default(),
            backend,
            marcap: text("KDATA_MARCAP")?,
            infomax: VendorSettings::read(
                "KDATA_INFOMAX_URL",
                "KDATA_INFOMAX_TOKEN",
                None,
                "KDATA_INFOMAX_RATE",
            )?,
            infomax_bytes: whole("KDATA_INFOMAX_BYTES")?,
            kis: VendorSettings::read(
                "KDATA_KIS_URL",
                "KDATA_KIS_APP_KEY",
                Some("KDATA_KIS_APP_SECRET"),
                "KDATA_KIS_RATE",
            )?,
            kis_master_url: base_url("KDATA_KIS_MASTER_URL")?,
            kiwoom: VendorSettings::read(
                "KDATA_KIWOOM_URL",
                "KDATA_KIWOOM_APP_KEY",
                Some("KDATA_KIWOOM_SECRET_KEY"),
                "KDATA_KIWOOM_RATE",
            )?,
            krx_openapi: VendorSettings::read(
                "KDATA_KRX_OPENAPI_URL",
                "KDATA_KRX_OPENAPI_KEY",
                None,
                "KDATA_KRX_OPENAPI_RATE",
            )?,
            krx: VendorSettings::read(
                "KDATA_KRX_URL",
                "KDATA_KRX_ID",
                Some("KDATA_KRX_PASSWORD"),
                "KDATA_KRX_RATE",
            )?,
            krx_is_on: switch("KDATA_KRX")?,
            csv: CsvSettings {
                folder: path("KDATA_CSV")?,
                columns: column_map("KDATA_CSV_COLUMNS")?,
                encoding: text("KDATA_CSV_ENCODING")?,
            },
            sources: list("KDATA_SOURCES")?,
            http: HttpSettings {
                archive: path("KDATA_ARCHIVE")?,
                ca_file: path("KDATA_CA_FILE")?,
                insecure: list("KDATA_TLS_INSECURE")?,
                timeout: seconds("KDATA_HTTP_TIMEOUT", 60.0)?,
                retry_pause: seconds("KDATA_RETRY_PAUSE", 1.0)?,
                retry_limit: seconds("KDATA_RETRY_LIMIT", 180.0)?,
            },
            alerts: AlertSettings::read()?,
            log: text("KDATA_LOG")?,
            temporary: std::env::temp_dir(),
            columns: text("COLUMNS")?.and_then(|c| c.parse().ok()),
            no_color: text("NO_COLOR")?.is_some(),
            calendar_file: path("KDATA_CALENDAR")?,
            fixed_now,
        })
    }

    /// The present instant: the system's clock, unless `KDATA_NOW` fixes it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> DateTime<Utc> {
        self.fixed_now.unwrap_or_else(Utc::now)
    }
}

/// A base URL of http or https; credentials in it would show up in messages.
fn base_url(name: &str) -> Result<Option<String>> {
    let Some(url) = text(name)? else { return Ok(None) };
    let is_plain = url.starts_with("http://") || url.starts_with("https://");
    if !is_plain || url.contains(['@', '?', '#']) {
        return Err(Error::usage(
            format!("{name} is not a plain base URL"),
            "write it like https://host:port, without user, password and query",
        ));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

fn number(name: &str) -> Result<Option<f64>> {
    let Some(value) = text(name)? else { return Ok(None) };
    let number = value.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0 && *n <= 1e6);
    number.map(Some).ok_or_else(|| {
        Error::usage(format!("{name}={value} is not a positive number"), "write it like 10 or 0.5")
    })
}

fn whole(name: &str) -> Result<Option<u64>> {
    let Some(value) = text(name)? else { return Ok(None) };
    let number = value.parse::<u64>().ok();
    number
        .map(Some)
        .ok_or_else(|| Error::usage(format!("{name}={value} is not a whole number"), "write digits only"))
}

fn seconds(name: &str, default: f64) -> Result<Duration> {
    Ok(Duration::from_secs_f64(number(name)?.unwrap_or(default)))
}

fn switch(name: &str) -> Result<bool> {
    match text(name)?.as_deref() {
        None | Some("off" | "0" | "no") => Ok(false),
        Some("on" | "1" | "yes") => Ok(true),
        Some(other) => Err(Error::usage(format!("{name}={other} is unknown"), "set on or off")),
    }
}

fn list(name: &str) -> Result<Vec<String>> {
    let words = text(name)?.unwrap_or_default();
    Ok(words.split([',', ' ']).filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect())
}

fn column_map(name: &str) -> Result<Vec<(String, String)>> {
    let pairs = text(name)?.unwrap_or_default();
    let pairs = pairs.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (ours, theirs) = pair.split_once('=').ok_or_else(|| {
                Error::usage(
                    format!("{name}: {pair:?} is not NAME=COLUMN"),
                    "write it like close=종가,volume=거래량",
                )
            })?;
            Ok((ours.trim().to_owned(), theirs.trim().to_owned()))
        })
        .collect()
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
    fn a_mistyped_name_is_recognised() {
        assert_eq!(likeliest("KDATA_MARKAP"), Some("KDATA_MARCAP"));
        assert_eq!(likeliest("KDATA_HOEM"), Some("KDATA_HOME"));
        assert_eq!(likeliest("KDATA_NONSENSE"), None);
    }

    #[test]
    fn the_example_lists_every_variable() {
        let example = include_str!("../.env.example");
        for (name, _) in VARIABLES {
            assert!(example.contains(&format!("{name}=")), "{name} is missing in .env.example");
        }
    }
}
