//! `kdata db backup`, `verify`, `restore`: a copy of the database, proven, and brought back.

use std::time::Instant;

use super::{Context, printer};
use crate::db::backup::{self, Verified};
use crate::db::{Place, Target};
use crate::error::Result;
use crate::market::kst;

/// Make a backup, then delete old ones that are not needed any more
///
/// A backup is a folder. Staged batches are not part of it. Those older than --keep days are deleted, but never the last
/// one that was verified, and none at all when the new one holds clearly fewer rows.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata db backup\n  kdata -q db backup --keep 30 && kdata -q db verify")]
pub(super) struct BackupArgs {
    /// How many days to keep backups
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    keep: u16,
}

/// Prove a backup: restore it beside, compare every table
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata db verify\n  kdata db verify kdata-20261123T190000")]
pub(super) struct VerifyArgs {
    /// Its folder, or its name among the backups; default: the newest
    backup: Option<String>,
}

/// Restore a backup, proven on the way, into the database
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  kdata db restore kdata-20261123T190000\n  kdata db restore kdata-20261123T190000 --replace"
)]
pub(super) struct RestoreArgs {
    /// Its folder, or its name among the backups
    backup: String,
    /// Take the place of a database that holds data; that one stays, under another name
    #[arg(long)]
    replace: bool,
}

/// Runs `kdata db backup`.
pub(super) fn backup(args: &BackupArgs, context: &Context) -> Result<()> {
    let started = Instant::now();
    let made = crate::stage::block_on(async {
        let database = context.database().await?;
        backup::backup(&database, &context.settings, context.now, args.keep).await
    })?;
    context.printer.receipt(format!(
        "{}: {} tables, {} rows for clients, {} MB, {:.1} s",
        made.folder.display(),
        made.tables,
        printer::count(made.rows),
        printer::count(made.bytes.div_ceil(1_000_000)),
        started.elapsed().as_secs_f64()
    ))?;
    for name in made.deleted {
        context.printer.remark(format!("deleted {name}"));
    }
    if let Some(why) = made.kept_because {
        context.printer.warning(format!("no older backup was deleted: {why}"));
    }
    Ok(())
}

/// Runs `kdata db verify`.
pub(super) fn verify(args: &VerifyArgs, context: &Context) -> Result<()> {
    let started = Instant::now();
    let (folder, verified) = crate::stage::block_on(async {
        let place = Place::resolve(&context.settings, Target::Main).await?;
        let folder = backup::find(&context.settings, args.backup.as_deref(), place.name())?;
        let verified = backup::verify(&place, &context.settings, &folder, context.now).await?;
        Ok((folder, verified))
    })?;
    context.printer.receipt(format!(
        "{} is good: {}, {:.1} s",
        folder.display(),
        told(&verified),
        started.elapsed().as_secs_f64()
    ))
}

/// Runs `kdata db restore`.
pub(super) fn restore(args: &RestoreArgs, context: &Context) -> Result<()> {
    let started = Instant::now();
    let (place, restored) = crate::stage::block_on(async {
        let place = Place::resolve(&context.settings, Target::Main).await?;
        let folder = backup::find(&context.settings, Some(&args.backup), place.name())?;
        let restored = backup::restore(&place, &context.settings, &folder, args.replace, context.now).await?;
        Ok((place, restored))
    })?;
    context.printer.receipt(format!(
        "{} restored: {}, {:.1} s",
        place.name(),
        told(&restored.verified),
        started.elapsed().as_secs_f64()
    ))?;
    if let Some(old) = restored.replaced {
        context
            .printer
            .remark(format!("what stood there is kept as database {old}; drop it once you are sure"));
    }
    if restored.discarded > 0 {
        context.printer.warning(format!(
            "{} staged batches were not part of the backup and are discarded: `kdata due DATASET` lists what to fetch again",
            restored.discarded
        ));
    }
    Ok(())
}

fn told(verified: &Verified) -> String {
    format!(
        "{} tables, {} rows for clients, all as on {}",
        verified.tables,
        printer::count(verified.rows),
        verified.made_at.with_timezone(&kst()).format("%Y-%m-%d %H:%M:%S")
    )
}
