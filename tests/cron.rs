//! cron: which lines of the crontab have not run.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Run, Work};

const CRONTAB: &str = "\
# kdata
CRON_TZ=Asia/Seoul
0 18 * * 1-5   cd /srv/kdata && KDATA_KIS_APP_KEY=hunter2 kdata -q explain ohlcv.high_is_highest > /dev/null
10 18 * * *    kdata calendar show 2>&1 | kdata -q man > /srv/kdata/x
0 10 * * 6     kdata -q explain --list
0 1 * * *      /usr/local/bin/tidy
@reboot        kdata -q db start
";

/// A folder whose crontab is there, and has been seen on a Friday morning.
fn seen() -> Work {
    let mut work = Work::new();
    work.write("crontab", CRONTAB);
    work.stand_in("crontab", "[ \"$*\" = -l ] && exec cat crontab").set("COLUMNS", "80");
    clock(&mut work, "20T09:00");
    assert_eq!(states(&work, 0), ["waiting"; 4]);
    work
}

fn clock(work: &mut Work, day: &str) {
    work.set("KDATA_NOW", &format!("2026-11-{day}:00+09:00"));
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:#?}"))
}

fn states(work: &Work, code: i32) -> Vec<String> {
    let run = work.kdata("cron check --format json");
    assert_eq!(run.code, code, "{run:#?}");
    let lines = json(&run)["lines"].as_array().unwrap().clone();
    lines.iter().map(|line| line["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_line_that_did_not_run_is_named() {
    let mut work = seen();
    // Friday evening: all but the last call of the pipe.
    clock(&mut work, "20T18:00");
    work.kdata("-q explain ohlcv.high_is_highest").ok();
    clock(&mut work, "20T18:10");
    work.kdata("calendar show").ok();
    assert_eq!(states(&work, 0)[..2], ["ok", "waiting"], "cron has ten minutes");
    clock(&mut work, "20T18:20");
    assert_eq!(states(&work, 3)[..2], ["ok", "overdue"]);
    let said = work.kdata("cron check").fails(3, &["1 of 4 lines: not run since they were due: line 4"]);
    assert!(said.contains("OVERDUE") && said.contains("calendar show | man"), "{said}");
    assert!(said.contains("\n→ kdata calendar show | kdata man\n"), "{said}");
    assert!(said.contains("1 other lines do not run kdata"), "{said}");
    let quiet = work.kdata("-q cron check");
    assert!(quiet.code == 3 && quiet.stdout.contains("OVERDUE"), "{quiet:#?}");
    work.kdata("-q man").ok();
    let quiet = work.kdata("-q cron check");
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));

    // Saturday: the weekly line and the evening's.
    clock(&mut work, "21T09:00");
    assert_eq!(states(&work, 0), ["ok", "ok", "waiting", "waiting"]);
    clock(&mut work, "21T19:00");
    assert_eq!(states(&work, 3), ["ok", "overdue", "overdue", "waiting"]);
    let table = work.kdata("cron check").stdout;
    assert!(table.starts_with("the crontab at 2026-11-21 19:00 KST\n"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let weekly = table.lines().find(|line| line.contains("explain --list")).unwrap();
    assert!(weekly.contains("0 10 * * 6") && weekly.contains("11-21 10:00"), "{table}");
    work.kdata("-q explain --list").ok();
    assert_eq!(states(&work, 3), ["ok", "overdue", "ok", "waiting"]);

    // What stands in the crontab may be a secret.
    let kept = fs::read_to_string(work.path("home/jobs/book.json")).unwrap();
    assert!(!(kept + &said + &table).contains("hunter2"));

    // How it ended is told, and another's matter.
    work.kdata("calendar show").ok();
    work.kdata("-q man --nonsense").fails(2, &[]);
    assert_eq!(states(&work, 3)[1], "overdue", "a command line that does not read begins nothing");
    work.kdata("-q man").ok();
    clock(&mut work, "23T18:30");
    work.kdata("calendar show").ok();
    work.kdata("-q man").ok();
    work.kdata("-q explain ohlcv.high_is_highest").ok();
    assert_eq!(states(&work, 0), ["ok", "ok", "ok", "waiting"]);
    let document = json(&work.kdata("cron check --format json"));
    assert_eq!((&document["schema_version"], &document["other_lines"]), (&1.into(), &1.into()));
    let first = &document["lines"][0];
    assert_eq!((&first["line"], &first["exit_code"]), (&3.into(), &0.into()), "{first}");
    assert_eq!(first["due_at"], "2026-11-23T09:00:00Z", "{first}");
    assert_eq!(first["command"], "kdata explain ohlcv.high_is_highest", "{first}");
}

#[test]
fn how_a_run_ended_is_told_and_a_changed_line_is_a_new_one() {
    let mut work = Work::new();
    let first = work.write("crontab", "CRON_TZ=Asia/Seoul\n0 18 * * * kdata explain nonsense\n");
    let check = format!("cron check --file {}", first.display());
    clock(&mut work, "20T09:00");
    work.kdata(&check).ok();
    clock(&mut work, "20T18:00");
    work.kdata("explain nonsense").fails(2, &[]);
    clock(&mut work, "20T19:00");
    assert!(work.kdata(&check).ok().contains("exit 2"));
    fs::write(&first, "CRON_TZ=Asia/Seoul\n30 18 * * * kdata explain nonsense\n").unwrap();
    assert!(work.kdata(&check).ok().contains("waits"), "it was due before it was seen");
    let piped = work.feed("cron check --file -", b"30 18 * * * root kdata explain nonsense").code;
    assert_eq!(piped, 0, "`root kdata` reads as another program, and the call behind it is found");
    let system = work.feed("cron check --system --file -", b"30 18 * * * root kdata explain nonsense\n").ok();
    assert!(system.contains("30 18 * * *"), "{system}");
    work.set("LC_ALL", "ko_KR.UTF-8");
    clock(&mut work, "22T09:00");
    let korean = work.kdata(&check).fails(3, &[]);
    assert!(korean.contains("미실행") && korean.contains("마지막 실행"), "{korean}");
}

#[test]
fn a_run_that_was_killed_is_not_one() {
    let mut work = Work::new();
    let path = work.write("crontab", "CRON_TZ=Asia/Seoul\n0 18 * * * kdata -q validate\n");
    let check = format!("cron check --format json --file {}", path.display());
    clock(&mut work, "20T09:00");
    work.kdata(&check).ok();
    clock(&mut work, "20T18:00");
    // It waits for its stream.
    let mut child = work
        .command(crate::support::KDATA, &["-q", "validate"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let book = work.path("home/jobs/book.json");
    let begun = std::time::Instant::now();
    while !fs::read_to_string(&book).unwrap().contains("\"validate\":{") {
        assert!(begun.elapsed().as_secs() < 30, "it did not begin");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    clock(&mut work, "20T18:30");
    let run = work.kdata(&check);
    assert_eq!((run.code, &json(&run)["lines"][0]["state"]), (0, &"running".into()), "{run:#?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let run = work.kdata(&check);
    assert_eq!((run.code, &json(&run)["lines"][0]["state"]), (3, &"cut_off".into()), "{run:#?}");
    run.fails(3, &["1 of 1 lines: cut off: line 2"]);
}

#[test]
fn what_somebody_types_is_told_apart() {
    let mut work = Work::new();
    let path = work.write("crontab", "CRON_TZ=Asia/Seoul\n0 18 * * * kdata explain --list\n");
    let check = format!("cron check --format json --file {}", path.display());
    clock(&mut work, "20T09:00");
    work.kdata(&check).ok();
    clock(&mut work, "20T19:00");
    work.kdata(&check).fails(3, &[]);
    // A terminal of its own.
    let typed = work.command("script", &["-qec", "kdata explain --list", "/dev/null"]).output();
    if !typed.is_ok_and(|output| output.status.success()) {
        return crate::support::announce("cron: no script(1) here: runs by hand LEFT OUT");
    }
    let run = work.kdata(&check);
    assert_eq!((run.code, &json(&run)["lines"][0]["state"]), (0, &"by_hand".into()), "{run:#?}");
}

#[test]
fn a_crontab_that_is_not_there_or_does_not_read_is_told() {
    let mut work = Work::new();
    work.set("PATH", "/nonexistent");
    work.kdata("cron check").fails(2, &["there is no crontab command", "systemctl list-timers 'kdata-*'"]);
    work.stand_in("crontab", "echo 'no crontab for kdata' >&2; exit 1");
    work.kdata("cron check").fails(2, &["crontab -l: no crontab for kdata", "`crontab FILE` installs one"]);
    work.kdata("cron check --file nowhere").fails(2, &["nowhere cannot be read"]);
    work.stand_in("crontab", "echo '0 1 * * * /usr/local/bin/tidy'");
    work.kdata("cron check").fails(2, &["no line runs kdata"]);
    work.write("wrong", "0 18 * * 1-5 kdata run x\n0 25 * * * kdata run y\n");
    work.kdata("cron check --file wrong")
        .fails(2, &["wrong, line 2: 0 25 * * * does not read", "crontab -e"]);
}

#[test]
fn a_state_directory_that_cannot_be_written_fails_no_run() {
    let work = Work::new();
    work.write("home", "a file in its place");
    let run = work.kdata("-q explain ohlcv.high_is_highest");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:#?}");
    work.write("crontab", "0 18 * * * kdata doctor");
    work.kdata("cron check --file crontab").fails(1, &["home/jobs"]);
}
