//! `kdata db`: the database itself.

use super::{Context, backup, compress};
use crate::db::cluster::{Cluster, Started};
use crate::db::migrate::{self, Kind, State};
use crate::db::{Place, Target, url};
use crate::error::{Error, Result};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  kdata db status
  kdata db backup && kdata db verify
  psql \"$(kdata db url --reader)\"
  DATABASE_URL=\"$(kdata db url --demo)\" kdata report quality";

/// Start, stop, look at, migrate, back up and restore the database
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Start the private cluster; creates it the first time
    Start,
    /// Stop the private cluster
    Stop,
    /// Say which database is used, whether it runs, what it holds
    Status,
    /// Print the connection string, for psql and for client projects
    Url {
        /// For the role that may only read schema market
        #[arg(long)]
        reader: bool,
        /// Of the demo's database
        #[arg(long)]
        demo: bool,
    },
    /// Make or update the schema; safe to run at any time
    Migrate {
        /// The demo's own database; or make `DATABASE_URL` one for simulated data, which it stays
        #[arg(long)]
        demo: bool,
    },
    Compress(compress::Args),
    Backup(backup::BackupArgs),
    Verify(backup::VerifyArgs),
    Restore(backup::RestoreArgs),
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.command {
        Command::Start => start(context),
        Command::Stop => stop(context),
        Command::Status => status(context),
        Command::Url { reader, demo } => print_url(context, *reader, *demo),
        Command::Migrate { demo } => migrate(context, *demo),
        Command::Compress(args) => compress::run(args, context),
        Command::Backup(args) => backup::backup(args, context),
        Command::Verify(args) => backup::verify(args, context),
        Command::Restore(args) => backup::restore(args, context),
    }
}

/// Start and stop are about the private cluster, whatever `DATABASE_URL` says; so say when it is not in use.
fn remark_if_unused(context: &Context) {
    if context.settings.database_url.is_some() {
        context.printer.warning("DATABASE_URL is set: kdata uses that database, not the private cluster");
    }
}

fn start(context: &Context) -> Result<()> {
    remark_if_unused(context);
    let cluster = Cluster::locate(&context.settings)?;
    let private = Settings { database_url: None, ..context.settings.clone() };
    let place = crate::stage::block_on(Place::resolve(&private, Target::Main))?;
    let started = place.started.unwrap_or(Started::Already);
    context.printer.receipt(match started {
        Started::Already => "it runs already",
        Started::Started => "started",
        Started::Created => "created and started",
    })?;
    context.printer.remark(cluster.url(Target::Main.database(), cluster.owner()));
    Ok(())
}

fn stop(context: &Context) -> Result<()> {
    remark_if_unused(context);
    let stopped = Cluster::locate(&context.settings)?.stop()?;
    context.printer.receipt(if stopped { "stopped" } else { "it did not run" })
}

fn status(context: &Context) -> Result<()> {
    let printer = &context.printer;
    crate::stage::block_on(async {
        if context.settings.database_url.is_some() {
            printer.line("database    DATABASE_URL")?;
            let place = Place::resolve(&context.settings, Target::Main).await?;
            if let Some(protection) = place.protection().await? {
                printer.line(format!("connection  {protection}"))?;
            }
            return schema(context, place).await;
        }
        let cluster = Cluster::locate(&context.settings)?;
        let status = cluster.status().await;
        let state = match (status.created, status.running, status.pid) {
            (false, _, _) => "not created yet; any command that needs it creates it".to_owned(),
            (true, false, _) => "stopped; any command that needs it starts it".to_owned(),
            (true, true, Some(pid)) => format!("running, process {pid}, as {}", status.user),
            (true, true, None) => format!("running, as {}", status.user),
        };
        printer.line("database    private cluster")?;
        printer.line(format!("server      {state}"))?;
        if let Some(trouble) = &status.trouble {
            printer.line(format!("trouble     {trouble}"))?;
        }
        let timescale = if status.timescaledb { "with" } else { "without" };
        printer.line(format!(
            "PostgreSQL  {} in {}, {timescale} TimescaleDB",
            status.version,
            status.bin.display()
        ))?;
        printer.line(format!("data        {}", status.data.display()))?;
        printer.line(format!("log         {} ({} bytes)", status.log.display(), status.log_bytes))?;
        if status.running && status.trouble.is_none() {
            return schema(context, Place::resolve(&context.settings, Target::Main).await?).await;
        }
        Ok(())
    })
}

async fn schema(context: &Context, place: Place) -> Result<()> {
    let told = match migrate::state(&place.connect().await?).await? {
        State::Current(kind, backend) => {
            format!("up to date; a {kind} database, {} storage", backend.as_str())
        }
        State::Unfinished => "half made: the next command that needs it goes on".to_owned(),
        State::Older => "older than this kdata: run `kdata db migrate`".to_owned(),
        State::Empty => "none yet; made when first needed".to_owned(),
        State::Foreign => {
            "none, but other tables: run `kdata db migrate` if it is the right database".to_owned()
        }
    };
    context.printer.line(format!("schema      {told}"))
}

fn print_url(context: &Context, reader: bool, demo: bool) -> Result<()> {
    let target = if demo { Target::Demo } else { Target::Main };
    let Some(given) = context.settings.database_url.as_ref().filter(|_| !demo) else {
        let cluster = Cluster::locate(&context.settings)?;
        let user = if reader { "kdata_reader" } else { cluster.owner() };
        return context.printer.line(cluster.url(target.database(), user));
    };
    if !reader {
        return Err(Error::usage(
            "the connection string is DATABASE_URL, and may hold a password: it is not printed",
            "use $DATABASE_URL; `kdata db url --reader` prints the reader's",
        ));
    }
    let (config, encryption) = url::parse(given)?;
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        Some(tokio_postgres::config::Host::Unix(path)) => {
            path.to_string_lossy().replace('%', "%25").replace('/', "%2F")
        }
        None => "localhost".into(),
    };
    if [host.as_str(), config.get_dbname().unwrap_or_default()]
        .iter()
        .any(|part| part.contains(['@', '#', '?', ':']))
    {
        return Err(Error::usage(
            "DATABASE_URL has @, #, ? or : in its host or database name: part of a password?",
            "write such characters of a password as %40, %23, %3F, %3A (and / as %2F)",
        ));
    }
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let name = config.get_dbname().unwrap_or("postgres");
    let query = encryption.query();
    context.printer.line(format!("postgresql://kdata_reader@{host}:{port}/{name}{query}"))?;
    context.printer.remark("give the role a password once: ALTER ROLE kdata_reader PASSWORD '…'");
    Ok(())
}

fn migrate(context: &Context, demo: bool) -> Result<()> {
    let migrated = crate::stage::block_on(async {
        let own = demo && context.settings.database_url.is_none();
        let place = Place::resolve(&context.settings, if own { Target::Demo } else { Target::Main }).await?;
        let kind = if demo { Kind::Demo } else { Kind::Live };
        migrate::migrate(&mut place.connect().await?, kind, context.settings.backend, &context.calendar).await
    })?;
    context.printer.receipt(migrated)
}
