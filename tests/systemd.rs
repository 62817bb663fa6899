//! The units of `examples/systemd` are the lines of `crontab.example`: the same commands at the same times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;

use crate::support::{KDATA, Work, announce};
use crate::year::cron::{Crontab, Line};

/// The line that has no unit: systemd itself tells what ran.
const BY_SYSTEMD: &str = "kdata -q cron check";
/// Two weeks in which every line fires, and a month changes.
const WEEKS: [&str; 2] = ["2026-11-23", "2026-12-06"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/systemd")
}

/// The names of the units of a kind, without their kind.
fn units(kind: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|name| name.strip_suffix(kind).map(ToOwned::to_owned)).collect()
}

/// What stands in a unit, each setting once.
fn settings(unit: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder().join(unit)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn crontab() -> Crontab {
    let mut crontab = Crontab::parse(include_str!("../crontab.example"));
    crontab.lines.retain(|line| !line.command.ends_with(BY_SYSTEMD));
    crontab
}

/// A service as the crontab would have it.
fn command(unit: &str) -> String {
    let settings = settings(&format!("{unit}.service"));
    let command = settings["ExecStart"].strip_prefix("/usr/local/bin/").unwrap();
    let output = settings.get("StandardOutput").map_or(String::new(), |output| {
        format!(" > {}", output.strip_prefix("truncate:").expect("as `>` does"))
    });
    format!("cd /srv/kdata && {command}{output}")
}

#[test]
fn each_line_of_the_crontab_has_a_unit_of_the_same_command() {
    let timers = units(".timer");
    let services: BTreeSet<String> =
        units(".service").into_iter().filter(|unit| unit != "kdata-db").collect();
    assert_eq!(timers, services);
    let mut here: Vec<String> = timers.iter().map(|unit| command(unit)).collect();
    let mut there: Vec<String> = crontab().lines.iter().map(|line| line.command.clone()).collect();
    here.sort();
    there.sort();
    assert_eq!(here, there);
    for timer in timers {
        let settings = settings(&format!("{timer}.timer"));
        assert!(settings["OnCalendar"].ends_with(" Asia/Seoul"), "{timer}");
        assert_eq!((&*settings["Persistent"], &*settings["WantedBy"]), ("true", "timers.target"), "{timer}");
    }
    let common = settings("kdata-.service.d/10-common.conf");
    assert_eq!((&*common["Type"], &*common["WorkingDirectory"]), ("oneshot", "/srv/kdata"));
}

/// systemd's own word on when a timer fires.
fn fires(work: &Work, calendar: &str, base: &str) -> Vec<NaiveDateTime> {
    let run = work.sh(&format!(
        "TZ=Asia/Seoul systemd-analyze calendar --base-time='{base} 00:00:00' --iterations=20 '{calendar}'"
    ));
    let run = run.ok();
    // `Next elapse: Mon 2026-11-23 18:00:00 KST`, `Iter. #2: …`
    let times = run.lines().filter(|line| line.contains("elapse:") || line.contains("Iter")).map(|line| {
        let words: Vec<&str> = line.split_whitespace().rev().take(3).collect();
        assert_eq!(words[0], "KST", "{line}");
        NaiveDateTime::parse_from_str(&format!("{} {}", words[2], words[1]), "%F %T").unwrap()
    });
    times.collect()
}

#[test]
fn the_timers_fire_when_the_crontab_does() {
    let work = Work::new();
    if work.sh("command -v systemd-analyze").code != 0 {
        return announce(
            "systemd: no systemd-analyze here: the times of the timers and the units NOT CHECKED",
        );
    }
    let crontab = crontab();
    let [from, to] = WEEKS.map(|day| day.parse::<chrono::NaiveDate>().unwrap());
    // Two lines may run the same: of a command all times together.
    let mut there = BTreeMap::<String, BTreeSet<NaiveDateTime>>::new();
    for day in from.iter_days().take_while(|day| *day <= to) {
        for (at, line) in crontab.on(day) {
            let Line { command, .. } = line;
            there.entry(command.clone()).or_default().insert(at);
        }
    }
    let mut here = BTreeMap::<String, BTreeSet<NaiveDateTime>>::new();
    for unit in units(".timer") {
        let calendar = &settings(&format!("{unit}.timer"))["OnCalendar"];
        let times = fires(&work, calendar, WEEKS[0]).into_iter().filter(|at| at.date() <= to);
        here.entry(command(&unit)).or_default().extend(times);
    }
    assert_eq!(here, there);

    // And systemd understands all that they say.
    let copy = work.path("units").display().to_string();
    work.sh(&format!(
        "cp -r '{}' '{copy}' && sed -i 's|/usr/local/bin/kdata|{KDATA}|' {copy}/*.service",
        folder().display()
    ))
    .ok();
    let run = work.sh(&format!(
        "systemd-analyze verify --man=no --recursive-errors=no {copy}/kdata-*.service {copy}/kdata-*.timer"
    ));
    // The drop-in of all names the one that all others come after.
    let itself = "kdata-db.service: Dependency After=kdata-db.service is dropped.";
    let told: Vec<&str> = run.stderr.lines().filter(|line| *line != itself).collect();
    assert!(run.code == 0 && told.is_empty(), "{run:#?}");
}
