//! Every example that a help text shows runs as it is printed, in a database of simulated data, and ends with 0 or with
//! the code that its remark tells. And every subcommand is silent on success with -q.

use std::fs;

use crate::support::{Db, Sheet, Work, subcommands};

/// Monday evening: the backups of the examples are of this time.
const NOW: &str = "2026-11-23T19:00:00+09:00";

/// What stands in an example for something that is another here: sources that need keys, a long history, folders of the
/// system, a terminal.
const INSTEAD: &[(&str, &str)] = &[
    (" --source marcap", ""),
    (" --source sim", ""),
    ("kdata extract ", "kdata extract --source sim "),
    ("kdata run ", "kdata run --source sim "),
    ("kdata backfill ", "kdata backfill --source sim "),
    ("--from 2016-01-04 --to 2026-11-20", "--from 2026-11-19 --to 2026-11-20"),
    ("--from -60s --to -1s", "--from -6s --to -1s"),
    ("kdata due ohlcv)", "kdata due ohlcv --sessions 2)"),
    ("kdata demo", "kdata demo --help"),
    ("DATABASE_URL=\"$(kdata db url --demo)\" kdata report", "kdata report"),
    ("psql ", "echo "),
    ("man -l -", "cat"),
    ("kdata db backup", "rm -rf home/backups; kdata db backup"),
    ("kdata -q db backup", "rm -rf home/backups; kdata -q db backup"),
    ("/usr/local/share", "share"),
    ("/etc/bash_completion.d", "."),
    ("~/.zfunc", "."),
    ("~/.config/fish/completions", "."),
    ("--file crontab.example", "--file crontab"),
    ("crontab -l -u kdata", "cat crontab"),
];

/// Examples that a database with data refuses, or whose verdict depends on the day.
const CODES: &[(&str, i32)] = &[("kdata db restore kdata-20261123T190000", 5)];

/// All examples there are, with the code that a remark tells.
fn examples(work: &Work) -> Vec<(String, i32)> {
    let mut found: Vec<(String, i32)> = Vec::new();
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let help = work.kdata(&format!("{path} --help")).ok();
        paths.extend(subcommands(&help).iter().map(|name| format!("{path} {name}")));
        let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
        for line in lines.take_while(|line| line.starts_with("  ")) {
            // Behind two blanks stands a remark.
            let (example, remark) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
            assert!(example.contains("kdata"), "{path}: {line:?} is no example");
            let told = remark
                .split("exit ")
                .nth(1)
                .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
            let code = CODES.iter().find(|(known, _)| *known == example).map(|(_, code)| *code);
            let code = code.or_else(|| told?.parse().ok()).unwrap_or(0);
            if !found.iter().any(|(known, _)| known == example) {
                found.push((example.to_owned(), code));
            }
        }
    }
    // Those that only look come first; those that undo, discard and replace come last.
    let order = [
        "kdata calendar",
        "rejects discard",
        "rejects replay",
        "flags discard",
        "db backup",
        "db verify",
        "db restore",
    ];
    let place = |example: &str| order.iter().position(|word| example.contains(word)).map_or(0, |at| at + 1);
    found.sort_by_key(|(example, _)| place(example));
    found
}

/// The last 20 sessions of the three main datasets; a reject and a flag that are numbered 1.
fn prepared() -> Db {
    let mut db = Db::native();
    db.set("KDATA_NOW", NOW).set("HOME", ".");
    db.kdata("db migrate --demo").ok();
    // A clock that is late: those rows keep the rules today.
    let late = "KDATA_NOW=2026-02-05T20:00:00+09:00 kdata validate --max-rejects 100%";
    db.sh(&format!(
        "kdata extract ohlcv --source sim --from 2026-02-05 --to 2026-02-06 --market KONEX | {late} | kdata load && kdata promote"
    ))
    .ok();
    for dataset in ["stocks", "ohlcv", "market-cap"] {
        db.sh(&format!(
            "kdata extract {dataset} --source sim --from -20s --to -1s | kdata validate | kdata load && kdata promote"
        ))
        .ok();
    }
    db.sh("kdata extract ohlcv --source sim --date -1s | kdata validate > day.kdata").ok();
    db.write("days.csv", "date\n2027-01-01\n2027-12-31\n");
    db.write("crontab", include_str!("../crontab.example"));
    db.stand_in("crontab", "exec cat crontab");
    fs::create_dir_all(db.path("marcap")).unwrap();
    db
}

#[test]
fn every_example_of_the_help_runs_as_printed() {
    let db = prepared();
    let name = db.value("SELECT current_database()");
    let mut broken = Vec::new();
    let examples = examples(&db);
    assert!(examples.len() > 40, "{}", examples.len());
    for (example, code) in examples {
        let mut script = example.clone();
        for (from, to) in INSTEAD {
            script = script.replace(from, to);
        }
        if script.contains(" 12") {
            let batch = db.sh("kdata load < day.kdata").ok();
            script = script.replace(" 12", &format!(" {}", batch.trim()));
        }
        script = script.replace("kdata-20261123", &format!("{name}-20261123"));
        let begun = std::time::Instant::now();
        let run = db.sh(&format!("bash -o pipefail -c '{}'", script.replace('\'', "'\\''")));
        if begun.elapsed().as_secs() > 10 {
            crate::support::announce(&format!("examples: {example}: {} s", begun.elapsed().as_secs()));
        }
        // A check that finds nothing is as good as one that finds what its remark tells.
        if run.code != code && run.code != 0 {
            broken.push(format!(
                "{example}\n  as {script}\n  ended with {}, not {code}: {}",
                run.code, run.stderr
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

/// How each subcommand is run to succeed, in an order in which it can; whether it answers on stdout all the same, since
/// a stream or a list is what it is for.
const QUIET: &[(&str, bool)] = &[
    ("db start", false),
    ("db migrate", false),
    ("extract ohlcv --date 2024-01-02", true),
    ("validate < ohlcv.extracted", true),
    ("load < ohlcv.validated", false),
    ("promote", false),
    ("run stocks --date 2024-01-02", false),
    ("backfill market-cap --from 2024-01-02 --to 2024-01-03", false),
    ("report quality --date 2024-01-02", true),
    ("due ohlcv", true),
    ("runs", true),
    ("rejects", true),
    ("flags", true),
    ("calendar add 2024-01-10 typhoon", false),
    ("calendar undo", false),
    ("calendar import days.csv --until 2027-12-31", false),
    ("calendar check --from 2026-11-23", false),
    ("calendar show", true),
    ("cron check --file crontab", false),
    ("explain row.in_range", true),
    ("doctor", false),
    ("alert test", false),
    ("alert list", true),
    ("db status", true),
    ("db url --reader", true),
    ("db compress", false),
    ("db backup", false),
    ("db verify", false),
    ("rollback 1", false),
    ("completions bash", true),
    ("man", true),
    ("man pages", false),
    ("db stop", false),
];
/// Subcommands whose -q is shown elsewhere, or that need what is not there.
const NOT_LOOPED: &[&str] = &["db restore", "status", "rejects", "flags", "report", "demo"];

#[test]
fn every_subcommand_is_silent_on_success_with_q() {
    let mut work = Work::new();
    work.marcap(2024, &Sheet::fixture(2024)).set("KDATA_ALERT_COMMAND", "cat >/dev/null");
    work.sh("kdata extract ohlcv --date 2024-01-02 | tee ohlcv.extracted | kdata validate > ohlcv.validated")
        .ok();
    work.write("days.csv", "2027-01-01\n");
    work.write("crontab", include_str!("../crontab.example"));
    for command in subcommands(&work.kdata("--help").ok()) {
        let inner = subcommands(&work.kdata(&format!("{command} --help")).ok());
        let inner: Vec<String> = inner.iter().map(|name| format!("{command} {name}")).collect();
        for path in
            if inner.is_empty() || NOT_LOOPED.contains(&command.as_str()) { vec![command] } else { inner }
        {
            let is_run = QUIET.iter().any(|(call, _)| call.starts_with(&path));
            assert!(is_run || NOT_LOOPED.contains(&path.as_str()), "kdata -q {path} is not tried");
        }
    }
    for (call, answers) in QUIET {
        let run = work.sh(&format!("kdata -q {call}"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{call}: {run:#?}");
        assert!(*answers || run.stdout.is_empty(), "{call}: {run:#?}");
    }
}
