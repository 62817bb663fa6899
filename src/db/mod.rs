//! Floor 3: the database. Identifiers come from static strings and numbers only, values are always parameters.

pub mod backup;
pub mod cluster;
pub mod copy;
pub mod ledger;
pub mod merge;
pub mod migrate;
pub mod staging;
pub mod status;
pub mod storage;
mod tls;
pub mod url;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use crate::error::{Error, Result, causes};
use crate::market::Calendar;
use crate::settings::Settings;
use cluster::{Cluster, Started};
use migrate::{Backend, Kind, State};
use tls::Tls;

/// A server that takes connections but says nothing must not keep a job for ever.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Which database is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// `DATABASE_URL`, else `kdata` in the private cluster.
    Main,
    /// The demo's own database in the private cluster.
    Demo,
}

impl Target {
    /// Its name in the private cluster.
    pub fn database(self) -> &'static str {
        match self {
            Self::Main => "kdata",
            Self::Demo => "kdata_demo",
        }
    }
}

/// A place to connect to, resolved once; several connections may be opened.
#[derive(Clone, Debug)]
pub struct Place {
    config: Config,
    tls: Tls,
    /// What was started on the way, if it is the private cluster.
    pub started: Option<Started>,
}

impl Place {
    /// Resolves the target; starts the private cluster when it is needed and does not run.
    pub async fn resolve(settings: &Settings, target: Target) -> Result<Self> {
        if let (Some(given), Target::Main) = (&settings.database_url, target) {
            let (mut config, encryption) = url::parse(given)?;
            let tls = Tls::new(&config, &encryption, settings.user_home.as_deref())?;
            config.application_name("kdata");
            return Ok(Self { config, tls, started: None });
        }
        let cluster = Cluster::locate(settings)?;
        let started = cluster.ensure_running().await?;
        let mut config = cluster.config(target.database());
        config.application_name("kdata");
        let place = Self { config, tls: Tls::none(), started: Some(started) };
        place.create_database(target).await?;
        Ok(place)
    }

    /// A connection to the main database where it runs; nothing is started or made for it.
    pub async fn connect_if_running(settings: &Settings) -> Result<Option<Client>> {
        if !Self::is_running(settings).await? {
            return Ok(None);
        }
        Self::resolve(settings, Target::Main).await?.connect().await.map(Some)
    }

    /// Does its server run, as far as that is kdata's to know? One that `DATABASE_URL` names is somebody else's.
    pub async fn is_running(settings: &Settings) -> Result<bool> {
        Ok(settings.database_url.is_some() || Cluster::locate(settings)?.status().await.running)
    }

    /// Is there a database that could be asked, without making one?
    pub fn exists(settings: &Settings) -> Result<bool> {
        Ok(settings.database_url.is_some() || cluster::home(settings)?.join("data/PG_VERSION").exists())
    }

    async fn create_database(&self, target: Target) -> Result<()> {
        let server = self.beside("postgres").connect().await?;
        let name = target.database();
        let exists = server
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
            .await
            .map_err(failed("cannot list the databases"))?;
        if exists.is_none() {
            match server.batch_execute(&format!("CREATE DATABASE {name}")).await {
                Err(e)
                    if e.code() == Some(&SqlState::DUPLICATE_DATABASE)
                        || e.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
                other => other.map_err(failed("cannot create the database"))?,
            }
        }
        Ok(())
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres")
    }

    /// Another database of the same server.
    fn beside(&self, name: &str) -> Self {
        let mut config = self.config.clone();
        config.dbname(name);
        Self { config, tls: self.tls.clone(), started: None }
    }

    async fn try_connect(&self) -> std::result::Result<Client, tokio_postgres::Error> {
        Ok(self.tls.connect(&self.config).await?.0)
    }

    /// A bare connection, and whether it is encrypted.
    async fn reach(&self) -> Result<(Client, bool)> {
        let connecting = tokio::time::timeout(PATIENCE, self.tls.connect(&self.config)).await;
        let outcome = connecting.map_err(|_| Error::Source {
            what: format!("the database did not answer within {} s", PATIENCE.as_secs()),
            help: "does DATABASE_URL name a PostgreSQL server? Look at its log, then run the same again"
                .into(),
        })?;
        outcome.map_err(|e| cannot_connect(&e))
    }

    /// What connections are protected by, in words; `None` where they do not leave the machine's sockets.
    pub async fn protection(&self) -> Result<Option<String>> {
        use tokio_postgres::config::Host;
        if !self.config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) {
            return Ok(None);
        }
        let (_, encrypted) = self.reach().await?;
        Ok(Some(self.tls.describe(encrypted)))
    }

    /// Opens a connection; times are Asia/Seoul's, as everywhere in kdata. Corrections may reach into as many compressed
    /// rows as they touch, where TimescaleDB would stop at 100,000 in a transaction.
    pub async fn connect(&self) -> Result<Client> {
        let (client, _) = self.reach().await?;
        client
            .batch_execute(
                "SET timezone = 'Asia/Seoul'; SET client_min_messages = warning; SET search_path = public, pg_temp; \
                 SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0",
            )
            .await
            .map_err(failed("cannot set up the connection"))?;
        Ok(client)
    }
}

/// A database whose schema is this binary's.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub place: Place,
    /// What it is for.
    pub kind: Kind,
    /// How it stores its series.
    pub backend: Backend,
}

impl Database {
    /// Opens the target. A database that holds nothing at all is made ready on the way; one that holds other
    /// people's tables, or an older schema, asks for `kdata db migrate`.
    pub async fn open(settings: &Settings, target: Target, calendar: &Calendar) -> Result<Self> {
        let place = Place::resolve(settings, target).await?;
        let mut client = place.connect().await?;
        let state = match migrate::state(&client).await? {
            // Or another kdata is making it at this moment.
            State::Older | State::Foreign | State::Unfinished => migrate::settled_state(&client).await?,
            state => state,
        };
        let (kind, backend) = match state {
            State::Current(kind, backend) => (kind, backend),
            State::Empty | State::Unfinished => {
                let kind = if target == Target::Demo { Kind::Demo } else { Kind::Live };
                let migrated = migrate::migrate(&mut client, kind, settings.backend, calendar).await?;
                (migrated.kind, migrated.backend)
            }
            State::Foreign => {
                return Err(Error::usage(
                    "the database holds other tables and no kdata schema",
                    "if it is the right one, run `kdata db migrate` (schemas ops, staging and market)",
                ));
            }
            State::Older => {
                return Err(Error::usage(
                    "the database's schema is older than this kdata",
                    "run `kdata db migrate`",
                ));
            }
        };
        Ok(Self { place, kind, backend })
    }
}

fn cannot_connect(error: &tokio_postgres::Error) -> Error {
    if let Some(refusal) = tls::refusal(error) {
        return refusal;
    }
    let what = format!("cannot connect to the database: {}", text(error));
    match error.code() {
        Some(code)
            if *code == SqlState::INVALID_PASSWORD
                || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            let advice = error.as_db_error().and_then(|db| tls::advice(db.message()));
            Error::Credentials {
                what,
                help: advice.unwrap_or("check user and password in DATABASE_URL").into(),
            }
        }
        Some(code) if *code == SqlState::UNDEFINED_DATABASE => {
            Error::usage(what, "create it (CREATE DATABASE …), or correct the name in DATABASE_URL")
        }
        _ => Error::Source {
            what,
            help:
                "check that the server runs and may be reached (`kdata db status`), then run the same again"
                    .into(),
        },
    }
}

/// Turns the server's error into ours, with what was being done.
pub fn failed(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> Error {
    move |error| {
        let what = format!("{doing}: {}", text(&error));
        match error.code() {
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Error::Locked {
                what: format!("{doing}: another run holds the lock"),
                help: "wait for it to end (`kdata runs`), then run the same again".into(),
            },
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                Error::Credentials { what, help: "connect as the owner of the kdata schemas".into() }
            }
            // Class 22 are values that do not read or fit, class 23 those that break a guard of their table.
            Some(code) if code.code().starts_with("22") || code.code().starts_with("23") => Error::Refused {
                what,
                help: "validated rows break no guard of their table: the stream was changed after `kdata validate`; \
                       nothing was written; run the whole pipe again"
                    .into(),
            },
            Some(code) if *code == SqlState::DISK_FULL => Error::Database {
                what,
                help: "make room on the server's disk, then run the same again".into(),
            },
            None if error.is_closed() => Error::Source {
                what: format!("{doing}: the connection to the database was lost"),
                help: "nothing was half done: run the same again once the server is back".into(),
            },
            _ => Error::Database {
                what,
                help: "nothing was half done; `kdata db status` tells about the server".into(),
            },
        }
    }
}

/// The server's message with its detail and hint; tokio-postgres itself says only "db error".
fn text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let extra = [db.detail(), db.hint(), db.where_()];
            let extra: Vec<&str> = extra.into_iter().flatten().collect();
            let extra = if extra.is_empty() { String::new() } else { format!(" ({})", extra.join("; ")) };
            format!("{} [{}]{extra}", db.message(), db.code().code())
        }
        None => causes(error),
    }
}
