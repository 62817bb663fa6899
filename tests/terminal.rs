//! The terminal: completions, manual, logs for programs, quiet runs, examples that run as printed.

use crate::support::{Run, Work, announce};

fn offers(work: &Work, words: &str) -> Vec<String> {
    let run = work.kdata(&format!("complete -- {words}")).ok();
    run.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// With nothing under the cursor yet.
fn next(work: &Work, words: &str) -> Vec<String> {
    let run = work.sh(&format!("kdata complete -- {words} ''")).ok();
    run.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn what_may_follow_is_offered() {
    let work = Work::new();
    assert_eq!(offers(&work, "reje"), ["rejects"]);
    assert!(next(&work, "db").contains(&"backup".to_owned()));
    assert_eq!(offers(&work, "extract oh"), ["ohlcv", "ohlcv-minute"]);
    assert_eq!(offers(&work, "extract ohlcv --source kr"), ["krx", "krx-openapi"]);
    assert_eq!(offers(&work, "extract ohlcv --source=kr"), ["--source=krx", "--source=krx-openapi"]);
    assert_eq!(offers(&work, "extract ohlcv --source = kr"), ["krx", "krx-openapi"], "as bash splits it");
    assert_eq!(offers(&work, "flags list --severity flag,n"), ["flag,note"]);
    assert_eq!(offers(&work, "explain ohlcv.high"), ["ohlcv.high_is_highest"]);
    assert_eq!(offers(&work, "rejects list --rule row.w"), ["row.well_formed"]);
    assert_eq!(offers(&work, "extract ohlcv --da"), ["--date"]);
    assert_eq!(offers(&work, "-q run stocks ohlcv market-c"), ["market-cap"], "a place that takes many");
    assert_eq!(offers(&work, "--log-format j"), ["json"]);
    assert!(next(&work, "extract ohlcv --date").contains(&"-1s".to_owned()));
    // No database is made for it, and nothing fails.
    assert!(next(&work, "rollback").is_empty() && !work.path("home/data").exists());
    assert!(offers(&work, "nonsense x y z").is_empty());
}

#[test]
fn batches_are_offered_from_the_database() {
    let db = crate::support::Db::native();
    db.write("marcap/marcap-2024.csv.gz", crate::support::Sheet::fixture(2024).csv_gz());
    let batch = db.load(&db.validated("ohlcv", "2024-01-02", "2024-01-02"));
    assert_eq!(next(&db, "promote --batch"), [batch.as_str()]);
    assert_eq!(next(&db, "rollback"), [batch.as_str()]);
    assert_eq!(next(&db, "rejects list --run"), ["1"]);
}

#[test]
fn the_shells_take_the_scripts() {
    let work = Work::new();
    for shell in ["bash", "zsh", "fish"] {
        let file =
            work.write(&format!("{shell}.completion"), work.kdata(&format!("completions {shell}")).ok());
        if work.sh(&format!("command -v {shell}")).code != 0 {
            announce(&format!("terminal: no {shell} here: its completions NOT RUN"));
            continue;
        }
        let file = file.display();
        let script = match shell {
            "bash" => format!(
                "bash --norc -c 'source {file}; COMP_WORDS=(kdata extract oh); COMP_CWORD=2; _kdata; echo ${{COMPREPLY[@]}}'"
            ),
            // zsh completes only at a prompt: that it reads is what can be seen from outside.
            "zsh" => format!(
                "zsh -f -c 'autoload -U compinit; compinit -u -D; source {file}; echo $_comps[kdata]'"
            ),
            _ => format!("fish --no-config -c 'source {file}; complete -C \"kdata extract oh\"'"),
        };
        let run = work.sh(&script);
        let told = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let expected = if shell == "zsh" { "_kdata" } else { "ohlcv-minute" };
        assert!(told.contains(expected), "{shell}: {run:#?}");
    }
}

#[test]
fn the_manual_has_a_page_a_subcommand() {
    let work = Work::new();
    let page = work.kdata("man").ok();
    assert!(page.contains(".TH kdata 1") && page.contains("EXIT STATUS"), "{page}");
    work.kdata("man pages").ok();
    let extract = std::fs::read_to_string(work.path("pages/kdata-extract.1")).unwrap();
    assert!(
        extract.contains("EXAMPLES") && extract.contains("kdata extract ohlcv \\-\\-date today"),
        "{extract}"
    );
    assert!(work.path("pages/kdata-db-backup.1").exists() && !work.path("pages/kdata-complete.1").exists());
    if work.sh("command -v groff").code == 0 {
        let warnings = work.sh("for page in pages/*.1; do groff -man -Tutf8 -wall -z \"$page\"; done");
        assert_eq!((warnings.stdout.as_str(), warnings.stderr.as_str()), ("", ""));
    }
}

/// Each line of stderr as JSON.
fn log(run: &Run) -> Vec<serde_json::Value> {
    run.stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

#[test]
fn logs_for_programs_are_json_line_by_line() {
    let mut work = Work::new();
    let failed = work.kdata("--log-format json extract ohlcv --date 2026-11-20");
    let lines = log(&failed);
    let last = lines.last().unwrap();
    assert_eq!((failed.code, &last["exit_code"], &last["level"]), (2, &2.into(), &"ERROR".into()));
    assert!(last["message"].as_str().unwrap().contains("no source of ohlcv") && last["help"].is_string());
    assert!(last["code"] == "kdata::usage" && last["timestamp"].as_str().unwrap().ends_with('Z'));
    let remarks = work.kdata("extract ohlcv --source sim --date -1s --log-format=json");
    assert!(log(&remarks).iter().all(|line| line["level"] == "INFO" && line["message"].is_string()));
    assert!(log(&remarks).len() >= 2, "{remarks:#?}");
    // What does not even parse, and what libraries log.
    assert_eq!(log(&work.kdata("--log-format json nonsense"))[0]["exit_code"], 2);
    work.set("KDATA_LOG", "trace").set("DATABASE_URL", "postgresql://kdata:hunter2@127.0.0.1:1/kdata");
    let lines = log(&work.kdata("runs --log-format json"));
    assert_eq!(lines.last().unwrap()["exit_code"], 4);
}

#[test]
fn people_with_a_korean_locale_read_korean() {
    let mut work = Work::new();
    work.set("LANG", "ko_KR.UTF-8");
    let help = work.kdata("--help").ok();
    for text in [
        "사용법: kdata",
        "명령:",
        "옵션:",
        "예:",
        "종료 코드:",
        "소스에서 데이터셋을 가져와",
        "아직 공표되지 않음",
    ] {
        assert!(help.contains(text), "{text}: {help}");
    }
    work.kdata("extract ohlcv --date 2026-11-20").fails(
        2,
        &[
            "kdata: 오류: no source of ohlcv",
            "도움말: ",
            "종료 코드 2: 사용법 또는 설정 오류",
            "지금 할 일: ",
        ],
    );
    work.kdata("nonsense").fails(2, &["kdata: 오류: 그런 하위 명령은 없습니다", "'nonsense'", "종료 코드 2"]);
    let month = work.kdata("calendar show 2026-11").ok();
    assert!(month.contains("월 화 수 목 금 토 일") && month.contains("유효 기간:"), "{month}");
    // Programs read the same everywhere.
    let log = log(&work.kdata("--log-format json extract ohlcv --date 2026-11-20"));
    assert!(log[0]["message"].as_str().unwrap().starts_with("no source of ohlcv"));
    // LC_ALL goes before LANG; other encodings would show it in pieces.
    for (name, value) in [("LC_ALL", "C"), ("LC_ALL", "ko_KR.eucKR")] {
        let told = work.set(name, value).kdata("nonsense").fails(2, &["unrecognized"]);
        assert!(!told.contains("오류"), "{told}");
    }
}

#[test]
fn reports_have_korean_headings() {
    let mut db = crate::support::Db::native();
    db.write("marcap/marcap-2024.csv.gz", crate::support::Sheet::fixture(2024).csv_gz());
    db.pipe("ohlcv", "2024-01-02", "2024-01-02");
    let english = db.kdata("report quality --date 2024-01-02 --format json").ok();
    db.set("LC_MESSAGES", "ko_KR.UTF-8");
    let report = db.kdata("report quality --date 2024-01-02").ok();
    for text in ["품질 2024-01-02 (live 데이터베이스", "데이터셋", "소스", "예상"] {
        assert!(report.contains(text), "{text}: {report}");
    }
    let json = db.kdata("report quality --date 2024-01-02 --format json").ok();
    assert!(
        !json.contains("품질") && json.contains("\"expected\"") && english.contains("\"expected\""),
        "{json}"
    );
}
