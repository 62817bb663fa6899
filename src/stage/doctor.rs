//! doctor: looks whether everything that an unattended run needs is in order, and says what to do where it is not.
//! Asks no source anything: a look must not cost quota, or prolong a block.

use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};

use super::block_on;
use super::calendar::HORIZON_DAYS;
use crate::db::{Database, Place, Target, cluster, failed};
use crate::error::Result;
use crate::market::{Calendar, kst, kst_date};
use crate::settings::{Settings, VendorSettings};
use crate::source::http::Breaker;
use crate::source::{self, Source};

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Health {
    Ok,
    Warning,
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing.
    pub remedy: String,
}

fn check(
    name: impl Into<String>,
    health: Health,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Check {
    Check { name: name.into(), health, found: found.into(), remedy: remedy.into() }
}

/// Less than this is too little for a day's data, its indexes and the server's log.
const LEAST_SPACE: u64 = 2 << 30;
/// Clocks of two machines may differ by so much.
const CLOCK_DRIFT: i64 = 5;

/// Looks at everything.
pub fn examine(settings: &Settings, calendar: &Calendar, now: DateTime<Utc>) -> Result<Vec<Check>> {
    let state = cluster::home(settings)?;
    let mut checks = sources(settings, &state, now);
    checks.push(horizon(calendar, now));
    checks.push(alerts(settings));
    checks.push(zone());
    checks.push(space("state directory", &state));
    checks.extend(database(settings, calendar));
    Ok(checks)
}

/// Which sources are set up, whether their secrets are to be had, and whether one blocks us.
fn sources(settings: &Settings, state: &Path, now: DateTime<Utc>) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in &settings.sources {
        if Source::find(name).is_none() {
            let all: Vec<_> = source::ALL.iter().map(|s| s.name()).collect();
            let found = format!("KDATA_SOURCES names {name}, which is no source");
            checks.push(check("settings", Health::Failed, found, format!("take {}", all.join(", "))));
        }
    }
    let ready: Vec<Source> = source::ALL.iter().copied().filter(|s| s.is_configured(settings)).collect();
    if ready.is_empty() {
        let remedy = ".env.example lists them; marcap needs no key: set KDATA_MARCAP";
        checks.push(check("sources", Health::Failed, "no source is set up", remedy));
    }
    for source in ready {
        checks.push(credentials(source, settings));
    }
    checks.extend(blocks(state, now));
    checks
}

/// The blocks in force, also of a source that is no longer set up: its block stands all the same.
pub(super) fn blocks(state: &Path, now: DateTime<Utc>) -> Vec<Check> {
    let blocks = source::ALL.iter().filter_map(|source| {
        let block = Breaker::new(state, source.name()).block(now)?;
        let until = block.until.with_timezone(&kst()).format("%F %H:%M");
        let found = format!("blocked until {until} KST: {}", block.reason);
        let remedy = "wait: it is not asked before then; take another source meanwhile";
        Some(check(format!("breaker of {}", source.name()), Health::Failed, found, remedy))
    });
    blocks.collect()
}

fn credentials(source: Source, settings: &Settings) -> Check {
    let name = format!("source {}", source.name());
    let vendor = source.vendor(settings);
    let places = vendor.into_iter().flat_map(|VendorSettings { key, secret, .. }| [key, secret]).flatten();
    for place in places {
        if let Err(error) = place.get() {
            return check(
                name,
                Health::Failed,
                error.to_string(),
                "correct the setting; its value is not shown",
            );
        }
    }
    check(name, Health::Ok, "set up", "")
}

pub(super) fn horizon(calendar: &Calendar, now: DateTime<Utc>) -> Check {
    let (_, last) = calendar.covers();
    let left = (last - kst_date(now)).num_days();
    let found = format!("the trading calendar ends on {last}, {left} days ahead");
    let remedy =
        "when KRX has published the next year's closed days: kdata calendar import FILE --until YYYY-12-31";
    match left {
        ..0 => check("calendar", Health::Failed, found, remedy),
        0..HORIZON_DAYS => check("calendar", Health::Warning, found, remedy),
        _ => check("calendar", Health::Ok, found, ""),
    }
}

/// Is somebody told of failures, and are the secrets for it to be had?
fn alerts(settings: &Settings) -> Check {
    let alerts = &settings.alerts;
    let remedy = "correct the setting; its value is not shown. `kdata alert test` tries it";
    if let Some(error) =
        [&alerts.webhook, &alerts.ping].into_iter().flatten().find_map(|place| place.get().err())
    {
        return check("alerts", Health::Failed, error.to_string(), remedy);
    }
    if alerts.is_set() {
        return check("alerts", Health::Ok, "set up", "");
    }
    let remedy = "set KDATA_ALERT_WEBHOOK or KDATA_ALERT_COMMAND, unless cron's mail is read";
    check("alerts", Health::Warning, "nobody is told when an unattended run fails", remedy)
}

/// kdata thinks in Asia/Seoul; cron may not.
fn zone() -> Check {
    let link = std::fs::read_link("/etc/localtime").ok();
    let place = link.as_deref().and_then(Path::to_str).and_then(|path| path.split_once("zoneinfo/"));
    let zone = place.map_or_else(
        || {
            std::fs::read_to_string("/etc/timezone")
                .map_or_else(|_| "unknown".into(), |zone| zone.trim().to_owned())
        },
        |(_, zone)| zone.to_owned(),
    );
    if matches!(zone.as_str(), "Asia/Seoul" | "ROK") {
        return check("time zone", Health::Ok, zone, "");
    }
    let found = format!("the machine's zone is {zone}; kdata itself always takes Asia/Seoul");
    let remedy = "where cron does not know CRON_TZ, set the machine's zone (timedatectl set-timezone Asia/Seoul), or \
                  the lines of crontab.example run at other hours";
    check("time zone", Health::Warning, found, remedy)
}

/// The space left where a folder is, or will be.
pub(super) fn space(what: &str, folder: &Path) -> Check {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let output = Command::new("df").arg("-Pk").arg(there).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let free = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    let name = format!("disk of the {what}");
    match free.map(|blocks| blocks * 1024) {
        None => check(
            name,
            Health::Warning,
            format!("cannot tell how much is free at {}", folder.display()),
            "try df",
        ),
        Some(free) if free < LEAST_SPACE => {
            let found = format!("{} MiB are free at {}", free >> 20, folder.display());
            check(name, Health::Failed, found, "make room, or move it (KDATA_HOME)")
        }
        Some(free) => check(name, Health::Ok, format!("{} GiB free at {}", free >> 30, folder.display()), ""),
    }
}

/// Is it there, of this schema, and does its clock agree with ours?
fn database(settings: &Settings, calendar: &Calendar) -> Vec<Check> {
    match Place::exists(settings) {
        Ok(true) => {}
        Ok(false) => {
            let found = "none yet: the private cluster is made by the first command that needs it";
            return vec![check("database", Health::Ok, found, "")];
        }
        Err(error) => return vec![failing("database", &error)],
    }
    let looked = block_on(async {
        let database = Database::open(settings, Target::Main, calendar).await?;
        let client = database.place.connect().await?;
        let row = client
            .query_one("SELECT current_setting('server_version'), clock_timestamp()", &[])
            .await
            .map_err(failed("cannot ask the server"))?;
        Ok((database, row.get::<_, String>(0), row.get::<_, DateTime<Utc>>(1)))
    });
    let (database, version, theirs) = match looked {
        Ok(looked) => looked,
        Err(error) => return vec![failing("database", &error)],
    };
    let found = format!(
        "PostgreSQL {version}, a {} database on {} storage",
        database.kind,
        database.backend.as_str()
    );
    vec![check("database", Health::Ok, found, ""), clock(theirs)]
}

fn failing(name: &str, error: &crate::error::Error) -> Check {
    let remedy = miette::Diagnostic::help(error).map_or_else(String::new, |help| help.to_string());
    check(name, Health::Failed, error.to_string(), remedy)
}

/// The machine's real clock against the server's: drills that fix the time do not count.
#[expect(clippy::disallowed_methods, reason = "this is about the machine's clock itself")]
fn clock(theirs: DateTime<Utc>) -> Check {
    let drift = (Utc::now() - theirs).num_seconds();
    if drift.abs() <= CLOCK_DRIFT {
        return check("clock", Health::Ok, "agrees with the database server's", "");
    }
    let found =
        format!("{} s {} the database server's", drift.abs(), if drift < 0 { "behind" } else { "ahead of" });
    check(
        "clock",
        Health::Failed,
        found,
        "set both by NTP (timedatectl set-ntp true): sessions are told by the clock",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_is_told_in_time() {
        let calendar = Calendar::shipped();
        let (_, last) = calendar.covers();
        let days_before = |days| {
            let day = last - chrono::Duration::days(days);
            horizon(&calendar, day.and_hms_opt(3, 0, 0).unwrap().and_utc()).health
        };
        assert_eq!(days_before(60), Health::Ok);
        assert_eq!(days_before(59), Health::Warning);
        assert_eq!(days_before(-1), Health::Failed);
    }

    #[test]
    fn space_is_told_of_folders_to_come() {
        let space = space("state directory", Path::new("/tmp/not/there/yet"));
        assert!(space.found.contains("free at /tmp/not/there/yet"), "{space:?}");
    }
}
