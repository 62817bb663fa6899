//! A crontab as cron reads it: crontab(5), of Vixie's cron and cronie.

use chrono::{DateTime, FixedOffset, Local, Offset, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::shell::{After, calls};
use crate::error::{Error, Result};
use crate::jobs::Call;
use crate::market::kst;
use crate::state::digest;

const HELP: &str = "mend the line (`crontab -e`); crontab(5) says how one is written";

/// What `@…` stands for.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
const REBOOT: &str = "@reboot";

/// The five fields, and the names that stand for numbers in them.
const FIELDS: [(&str, &[&str]); 5] = [
    ("minute", &[]),
    ("hour", &[]),
    ("day of the month", &[]),
    ("month", &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Where a crontab's times are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Zone {
    Fixed(FixedOffset),
    Machine,
}

/// A line that runs kdata.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// `15 6 * * 2-6`, `@daily`.
    pub schedule: String,
    /// What is run, as it stands there: it may hold secrets.
    command: String,
    /// The calls of kdata in it.
    pub calls: Vec<(After, Call)>,
    /// `None`: when the machine starts.
    fires: Option<Cron>,
    zone: Zone,
}

impl Line {
    /// The last time at or before an instant that cron should have run it.
    pub fn due(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let fires = self.fires.as_ref()?;
        let found = match self.zone {
            Zone::Fixed(zone) => {
                fires.find_previous_occurrence(&at.with_timezone(&zone), true).map(|due| due.to_utc())
            }
            Zone::Machine => {
                fires.find_previous_occurrence(&at.with_timezone(&Local), true).map(|due| due.to_utc())
            }
        };
        // Times that never come are refused when the line is read.
        found.ok()
    }

    /// Under which it is known: with another schedule it is another line.
    pub fn key(&self) -> String {
        digest(&format!("{} {}", self.schedule, self.command))
    }

    /// What it calls, to be shown. Control characters of a file that is somebody else's do not reach the terminal.
    pub fn told(&self) -> String {
        let mut told = String::new();
        for (at, (after, call)) in self.calls.iter().enumerate() {
            told.push_str(match after {
                _ if at == 0 => "",
                After::Always => "; ",
                After::Piped => " | ",
                After::Success => " && ",
                After::Failure => " || ",
            });
            told.push_str(&format!("kdata {}", call.words));
            if !call.is_whole {
                told.push_str(" …");
            }
        }
        told.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }
}

/// What a crontab says of kdata.
#[derive(Clone, Debug, Default)]
pub struct Crontab {
    /// The lines that run kdata.
    pub lines: Vec<Line>,
    /// How many lines run something else.
    pub others: usize,
    /// `CRON_TZ` names another zone than the machine's: not every cron heeds it.
    pub is_shifted: bool,
}

impl Crontab {
    /// Reads a crontab; `place` names it in errors, `is_system` says that lines name a user behind their times, and
    /// `is_command` knows the subcommands of kdata.
    pub fn read(
        text: &str,
        place: &str,
        is_system: bool,
        is_command: &dyn Fn(&str) -> bool,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let mut crontab = Self::default();
        let mut zone = Zone::Machine;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = at + 1;
            // What stands in a line may be a secret: only what is wrong is told.
            let wrong = |why: String| Error::usage(format!("{place}, line {number}: {why}"), HELP);
            if let Some((name, value)) = variable(line) {
                if name == "CRON_TZ" {
                    zone = zone_of(value).map_err(wrong)?;
                    let shifted =
                        matches!(zone, Zone::Fixed(zone) if now.with_timezone(&Local).offset().fix() != zone);
                    crontab.is_shifted = shifted;
                }
                continue;
            }
            let (schedule, command) = parts(line, is_system).map_err(wrong)?;
            let fires = fires(&schedule, now).map_err(wrong)?;
            let calls = calls(&command, is_command).map_err(|why| wrong(why.to_owned()))?;
            if calls.is_empty() {
                crontab.others += 1;
            } else {
                crontab.lines.push(Line { number, schedule, command, calls, fires, zone });
            }
        }
        Ok(crontab)
    }
}

/// `NAME = value`, either of them in quotes.
fn variable(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = unquoted(name.trim());
    let mut chars = name.chars();
    let is_name = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| (name, unquoted(value.trim())))
}

fn unquoted(text: &str) -> &str {
    let within = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

fn zone_of(name: &str) -> std::result::Result<Zone, String> {
    match name {
        "" => Ok(Zone::Machine),
        "Asia/Seoul" | "ROK" => Ok(Zone::Fixed(kst())),
        "UTC" | "Etc/UTC" | "GMT" => Ok(Zone::Fixed(Utc.fix())),
        other => Err(format!("CRON_TZ={other} is not known here: set Asia/Seoul or UTC, or leave it out")),
    }
}

/// The schedule and the command, up to an unescaped `%`.
fn parts(line: &str, is_system: bool) -> std::result::Result<(String, String), String> {
    let count = if line.starts_with('@') { 1 } else { FIELDS.len() };
    let mut rest = line;
    let mut fields = Vec::new();
    for _ in 0..count + usize::from(is_system) {
        let (field, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        fields.push(field);
        rest = after.trim_start();
    }
    if rest.is_empty() {
        let user = if is_system { ", a user" } else { "" };
        return Err(format!(
            "too short: it needs five fields of time or @daily and the like{user}, and a command"
        ));
    }
    let mut command = String::with_capacity(rest.len());
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' => break,
            '\\' => command.push(chars.next_if_eq(&'%').unwrap_or(c)),
            other => command.push(other),
        }
    }
    Ok((fields[..count].join(" "), command.trim_end().to_owned()))
}

/// When a schedule fires; `None`: when the machine starts.
fn fires(schedule: &str, now: DateTime<Utc>) -> std::result::Result<Option<Cron>, String> {
    if schedule == REBOOT {
        return Ok(None);
    }
    let times = match NICKNAMES.iter().find(|(name, _)| *name == schedule) {
        Some((_, times)) => times,
        None if schedule.starts_with('@') => return Err(format!("{schedule} is not known")),
        None => schedule,
    };
    let fields: Vec<&str> = times.split(' ').collect();
    for (field, (what, names)) in fields.iter().zip(FIELDS) {
        if !is_field(field, names) {
            // Something else in this place may be a secret.
            let told =
                if field.len() <= 20 && !field.contains('=') { format!(": {field}") } else { String::new() };
            return Err(format!("this is no {what}{told}"));
        }
    }
    // Either day is enough where both are restricted; one that begins with a star is not.
    let both = [fields[2], fields[4]].iter().any(|field| field.starts_with('*'));
    let parser =
        CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).dom_and_dow(both).build();
    let fires = parser.parse(times).map_err(|e| format!("{times} does not read: {e}"))?;
    // 29 February is eight years away at most.
    let within = now + TimeDelta::days(366 * 8 + 2);
    match fires.find_next_occurrence(&now, true) {
        Ok(next) if next <= within => Ok(Some(fires)),
        _ => Err(format!("{times} never comes")),
    }
}

/// `*`, `5`, `1-5`, `*/15`, `8-18/2`, `mon`, and lists of them.
fn is_field(field: &str, names: &[&str]) -> bool {
    let is_number = |text: &str| {
        (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
            || names.contains(&text.to_ascii_lowercase().as_str())
    };
    field.split(',').all(|part| {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let is_range = match range.split_once('-') {
            Some((from, to)) => is_number(from) && is_number(to),
            // A step needs a range.
            None => range == "*" || is_number(range) && !part.contains('/'),
        };
        is_range && !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}:00+09:00").parse().unwrap()
    }

    fn read(text: &str, is_system: bool) -> Result<Crontab> {
        Crontab::read(text, "the crontab", is_system, &|word| word == "run", at("2026-11-25T09:40"))
    }

    #[test]
    fn a_line_is_due_when_cron_runs_it() {
        // Wednesday, 09:40.
        let now = at("2026-11-25T09:40");
        for (schedule, due) in [
            ("0 18 * * 1-5", "2026-11-24T18:00"),
            ("40 9 * * *", "2026-11-25T09:40"),
            ("*/15 * * * *", "2026-11-25T09:30"),
            ("15 6 * * 2-6", "2026-11-25T06:15"),
            ("0 10 * * 6", "2026-11-21T10:00"),
            ("0 10 * * sat", "2026-11-21T10:00"),
            ("0 10 * * 7", "2026-11-22T10:00"),
            ("0 10 * * Fri-Sun", "2026-11-22T10:00"),
            ("25 9 8-14 6,12 *", "2026-06-14T09:25"),
            ("0 8-18/2 * nov *", "2026-11-25T08:00"),
            // Either day where both are restricted; both where one begins with a star.
            ("0 0 1 * 2", "2026-11-24T00:00"),
            ("0 0 20 * 2", "2026-11-24T00:00"),
            ("0 0 */2 * 2", "2026-11-17T00:00"),
            ("0 0 29 2 *", "2024-02-29T00:00"),
            ("@daily", "2026-11-25T00:00"),
            ("@midnight", "2026-11-25T00:00"),
            ("@weekly", "2026-11-22T00:00"),
            ("@monthly", "2026-11-01T00:00"),
            ("@yearly", "2026-01-01T00:00"),
            ("@hourly", "2026-11-25T09:00"),
        ] {
            let crontab = read(&format!("CRON_TZ=Asia/Seoul\n{schedule}   kdata run x"), false).unwrap();
            assert_eq!(crontab.lines[0].due(now), Some(at(due)), "{schedule}");
        }
        let crontab = read("@reboot kdata run x", false).unwrap();
        assert_eq!(crontab.lines[0].due(now), None);
        let crontab = read("CRON_TZ=\"UTC\"\n0 18 * * *\tkdata run x", false).unwrap();
        assert_eq!(crontab.lines[0].due(now), Some(at("2026-11-25T03:00")));
    }

    #[test]
    fn lines_are_read_as_cron_reads_them() {
        let text = "# kdata\nSHELL=/bin/sh\n MAILTO = \"a=b\"\n\n0 18 * * 1-5   cd /srv && kdata run x --date \\%F%in%put\n\
                    0 1 * * * backup\n@daily kdata run y\n";
        let crontab = read(text, false).unwrap();
        let told: Vec<_> = crontab
            .lines
            .iter()
            .map(|line| (line.number, line.schedule.as_str(), line.command.as_str()))
            .collect();
        assert_eq!(
            told,
            [(5, "0 18 * * 1-5", "cd /srv && kdata run x --date %F"), (7, "@daily", "kdata run y")]
        );
        assert_eq!(crontab.others, 1);
        assert_eq!(crontab.lines[0].told(), "kdata run x --date %F");
        let told = |command: &str| read(&format!("@daily {command}"), false).unwrap().lines[0].told();
        let all = "kdata run x && kdata load || kdata run y | kdata load; kdata run …";
        assert_eq!(told(&format!("cd x; KEY=secret {}", all.replace('…', "$X"))), all);
        let system = read("0 18 * * 1-5 kdata kdata run x\n@daily root kdata run y", true).unwrap();
        assert_eq!(
            system.lines.iter().map(|l| l.command.as_str()).collect::<Vec<_>>(),
            ["kdata run x", "kdata run y"]
        );
        assert!(read("CRON_TZ=Asia/Seoul", false).unwrap().lines.is_empty());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever stands in a file is read or refused.
        #[test]
        fn nothing_is_too_odd(line in "[-0-9*/,a-z@% \\t]{0,12} \\* \\* \\* [0-9a-z*]{1,3} (kdata )?[ -~\n]{0,40}") {
            let _ = read(&line, false);
            let _ = read(&line, true);
        }
    }

    #[test]
    fn what_does_not_read_is_told_with_its_line_and_without_what_may_be_secret() {
        for (line, says) in [
            ("0 18 * * kdata run x", "line 2: this is no day of the week: kdata"),
            ("0 18 * *", "line 2: too short"),
            ("0 18 * * 1-5", "line 2: too short"),
            ("@daily", "line 2: too short"),
            ("@sometimes kdata run x", "line 2: @sometimes is not known"),
            ("61 18 * * * kdata run x", "line 2: 61 18 * * * does not read"),
            ("0 18 0 * * kdata run x", "line 2: 0 18 0 * * does not read"),
            ("0 18 * * 5-1 kdata run x", "line 2: 0 18 * * 5-1 does not read"),
            ("mon 18 * * * kdata run x", "line 2: this is no minute: mon"),
            ("0 5/2 * * * kdata run x", "line 2: this is no hour: 5/2"),
            ("0 18,,19 * * * kdata run x", "line 2: this is no hour: 18,,19"),
            ("0 18 L * * kdata run x", "line 2: this is no day of the month: L"),
            ("0 18 * * 5#2 kdata run x", "line 2: this is no day of the week: 5#2"),
            ("0 18 31 2 * kdata run x", "line 2: 0 18 31 2 * never comes"),
            ("0 18 * * * kdata run 'x", "line 2: a quote is not closed"),
            ("CRON_TZ=America/New_York", "line 2: CRON_TZ=America/New_York is not known here"),
            ("MY-KEY=secret x x x x x", "line 2: this is no minute"),
        ] {
            let error = read(&format!("# first\n{line}\n"), false).unwrap_err();
            assert!(error.to_string().contains(says), "{line}: {error}");
            assert!(!error.to_string().contains("secret") && error.exit_code() == 2, "{error}");
        }
    }
}
