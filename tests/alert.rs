//! Alerts: who is told what, once, in time, and without a secret; a dead man's switch.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Db, Reply, Request, Server, Work};

/// What only the webhook and we may know.
const TOKEN: &str = "T0KEN-hunter2";

/// Answers all with one reply.
fn server(reply: Reply) -> Server {
    Server::start(move |_, _| reply.clone())
}

fn documents(server: &Server) -> Vec<Value> {
    server.requests().iter().map(Request::json).collect()
}

/// A machine on which `doctor` fails (no source is set up), with a webhook.
fn failing(server: &Server) -> Work {
    let mut work = Work::new();
    work.set("KDATA_ALERT_WEBHOOK", &format!("{}/hooks/{TOKEN}", server.url));
    work
}

/// All that is written below a folder.
fn written(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all += &written(&path);
        } else {
            all += &String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default());
        }
    }
    all
}

#[test]
fn a_failure_is_told_once_and_so_is_its_end() {
    let server = server(Reply::Status(200));
    let mut work = failing(&server);
    for hour in ["20:00", "21:00"] {
        work.set("KDATA_NOW", &format!("2026-11-23T{hour}:00+09:00")).kdata("doctor").fails(2, &["sources"]);
    }
    let told = documents(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["event"], &told[0]["job"], &told[0]["exit_code"]),
        (&"failed".into(), &"doctor".into(), &2.into())
    );
    assert_eq!(told[0]["at"].as_str().unwrap()[..16], *"2026-11-23T20:00");
    assert!(told[0]["text"].as_str().unwrap().contains("FAILED: `kdata doctor`"), "{told:?}");
    let list = work.kdata("alert list").ok();
    assert!(list.contains("exit 2 × 2") && list.contains("kdata doctor"), "{list}");
    // Half a day later it is told again; other words are another job.
    work.set("KDATA_NOW", "2026-11-24T08:00:00+09:00").kdata("doctor").fails(2, &[]);
    work.kdata("doctor --format json").fails(2, &[]);
    assert_eq!(documents(&server).len(), 3);
    work.set("KDATA_MARCAP", "/tmp");
    work.kdata("-q doctor").ok();
    work.kdata("-q doctor").ok();
    let told = documents(&server);
    assert_eq!((told.len(), &told[3]["event"]), (4, &"recovered".into()), "{told:?}");
    assert!(
        told[3]["message"].as_str().unwrap().contains("failed 3 times since 2026-11-23 20:00 KST"),
        "{told:?}"
    );
    let list = work.kdata("alert list --format json").ok();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list["schema_version"], list["problems"].as_array().unwrap().len()), (&1.into(), 1));
}

#[test]
fn what_is_not_watched_and_what_a_person_does_is_not_told() {
    let server = server(Reply::Status(200));
    let work = failing(&server);
    work.kdata("explain nonsense").fails(2, &[]);
    work.kdata("extract ohlcv --source marcap --date today").fails(2, &[]);
    assert_eq!(server.asked(), Vec::<String>::new());
    // A terminal of its own.
    let typed = work.command("script", &["-qec", "kdata doctor", "/dev/null"]).output();
    if typed.is_ok_and(|output| output.status.code() == Some(2)) {
        assert_eq!(server.asked(), Vec::<String>::new());
    }
}

#[test]
fn slack_and_telegram_get_their_form_in_korean() {
    let server = server(Reply::Status(200));
    let mut work = failing(&server);
    work.set("LANG", "ko_KR.UTF-8").set("KDATA_ALERT_FORM", "slack").kdata("doctor").fails(2, &[]);
    let hook = format!("{}/bot1:{TOKEN}/sendMessage?chat_id=-1001", server.url);
    work.set("KDATA_ALERT_FORM", "telegram").set("KDATA_ALERT_WEBHOOK", &hook);
    work.kdata("doctor --format json").fails(2, &[]);
    let told = documents(&server);
    assert_eq!(told[0].as_object().unwrap().len(), 1);
    assert!(told[0]["text"].as_str().unwrap().starts_with("실패: "), "{told:?}");
    assert_eq!(told[1]["chat_id"], "-1001");
    assert!(told[1]["text"].as_str().unwrap().contains("종료 코드 2: 사용법 또는 설정 오류"), "{told:?}");
    assert_eq!(server.asked()[1], format!("/bot1:{TOKEN}/sendMessage"));
    work.set("KDATA_ALERT_FORM", "fax").kdata("doctor").fails(2, &["set json, slack or telegram"]);
}

#[test]
fn a_webhook_that_fails_changes_nothing_and_is_tried_again() {
    let elsewhere = server(Reply::Status(200));
    let there = format!("{}/elsewhere", elsewhere.url);
    for (reply, why) in [
        (Reply::Status(500), "it answered 500"),
        (Reply::Full(302, vec![("Location", there)], vec![]), "a redirect"),
        (Reply::Reset, "KDATA_ALERT_WEBHOOK was not told"),
        (Reply::Silence, "KDATA_ALERT_WEBHOOK was not told"),
        (Reply::Drip(vec![b'x'; 100]), ""),
    ] {
        let broken = server(reply);
        let mut work = failing(&broken);
        let begun = Instant::now();
        let said = work.kdata("doctor").fails(2, &["checks failed: sources", why]);
        assert!(begun.elapsed() < Duration::from_secs(12), "{why}: {:?}", begun.elapsed());
        assert!(!said.contains(TOKEN), "{said}");
        if why.is_empty() {
            // The head was good: what follows is not waited for.
            continue;
        }
        assert!(work.kdata("alert list").ok().contains("not told"));
        let good = server(Reply::Status(204));
        work.set("KDATA_ALERT_WEBHOOK", &good.url);
        work.kdata("doctor").fails(2, &[]);
        let told = documents(&good);
        assert_eq!((told.len(), &told[0]["event"]), (1, &"failed".into()), "{why}: {told:?}");
        assert!(!work.kdata("alert list").ok().contains("not told"));
    }
    assert_eq!(elsewhere.asked(), Vec::<String>::new());
}

#[test]
fn a_command_gets_the_same_and_may_hang() {
    let mut work = Work::new();
    let out = work.path("told.json");
    work.set("KDATA_ALERT_COMMAND", &format!("cat > {}; echo {TOKEN}; echo {TOKEN} >&2", out.display()));
    work.set("LC_ALL", "ko_KR.UTF-8");
    let said = work.kdata("doctor").fails(2, &[]);
    assert!(!said.contains(TOKEN), "{said}");
    let told: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(told["meaning"], "사용법 또는 설정 오류");
    work.set("KDATA_ALERT_COMMAND", "exec sleep 60");
    let begun = Instant::now();
    work.kdata("doctor --format json").fails(2, &["KDATA_ALERT_COMMAND", "took longer than 3 s"]);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[test]
fn no_secret_is_shown_or_written() {
    let broken = server(Reply::Status(500));
    let mut work = failing(&broken);
    let ping = format!("{}/{TOKEN}", broken.url);
    work.set("KDATA_PING_URL", &ping).set("KDATA_ALERT_COMMAND", &format!("exit 3 # {TOKEN}"));
    work.set("KDATA_LOG", "trace").set("KDATA_PG_BIN", "/nowhere");
    let mut said = String::new();
    for call in [
        "doctor",
        "run ohlcv --source marcap --date 2026-11-20",
        "alert list",
        "alert test",
        "alert list --format json",
    ] {
        let run = work.kdata(call);
        said += &(run.stdout + &run.stderr);
    }
    // Also where it does not read.
    work.set("KDATA_ALERT_WEBHOOK", &format!("//{TOKEN}"));
    said += &work
        .kdata("alert test")
        .fails(2, &["KDATA_ALERT_WEBHOOK is not an http or https URL", "KDATA_PING_URL: it answered 500"]);
    work.set("KDATA_ALERT_WEBHOOK", &format!("http://127.0.0.1:1/{TOKEN}"));
    said += &work.kdata("alert test").fails(2, &["KDATA_ALERT_WEBHOOK: "]);
    let kept = written(&work.path("home"));
    assert!(kept.contains("it answered 500"), "{kept}");
    for text in [said, kept] {
        assert!(!text.contains(TOKEN) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn alerts_are_tried_by_hand() {
    let server = server(Reply::Status(200));
    let mut work = Work::new();
    work.kdata("alert test").fails(2, &["nobody is told of failures"]);
    let file = work.write("hook", format!("{}/{TOKEN}\n", server.url)).display().to_string();
    work.set("KDATA_ALERT_WEBHOOK_FILE", &file);
    work.set("KDATA_PING_URL_COMMAND", &format!("echo '{}/ping?x=1'", server.url));
    let said = work.kdata("alert test").ok();
    assert!(said.contains("KDATA_ALERT_WEBHOOK: told") && said.contains("KDATA_PING_URL: told"), "{said}");
    assert_eq!(server.requests()[0].json()["event"], "test");
    assert_eq!(server.asked(), [format!("/{TOKEN}"), "/ping?x=1".to_owned()]);
}

#[test]
fn a_dead_mans_switch_hears_of_beginning_and_end() {
    let mut db = Db::native();
    let server = server(Reply::Status(200));
    db.set("KDATA_PING_URL", &format!("{}/uuid/", server.url));
    db.set("KDATA_ALERT_WEBHOOK", &format!("{}/hook", server.url));
    db.kdata("promote").ok();
    assert_eq!(server.asked(), ["/uuid/start", "/uuid/"]);
    // Not published yet is no failure; it is a sign of life, and no alert.
    db.set("KDATA_MARCAP", "/tmp").set("KDATA_NOW", "2026-11-23T10:00:00+09:00");
    db.kdata("run ohlcv --source marcap --date today").fails(9, &[]);
    assert_eq!(server.asked()[2..], ["/uuid/start", "/uuid/"]);
    db.set("KDATA_MARCAP", "http://127.0.0.1:1").set("KDATA_RETRY_LIMIT", "0.1");
    db.kdata("run ohlcv --source marcap --date -1s").fails(4, &[]);
    assert_eq!(server.asked()[4..], ["/uuid/start", "/hook", "/uuid/fail"]);
    db.kdata("doctor").ok();
    assert_eq!(server.asked().len(), 7);
}
