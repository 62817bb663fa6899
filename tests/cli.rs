//! Help, errors and exit codes, as someone new meets them.

use crate::support::{Sheet, Work, subcommands};

#[test]
fn every_subcommand_helps_and_shows_examples() {
    let work = Work::new();
    let help = work.kdata("--help").ok();
    assert!(help.contains("Exit codes:") && help.contains("Examples:"), "{help}");
    let commands = subcommands(&help);
    for known in
        ["extract", "validate", "load", "promote", "rollback", "report", "due", "runs", "explain", "db"]
    {
        assert!(commands.iter().any(|c| c == known), "{known} is not in {commands:?}");
    }
    for command in &commands {
        let help = work.kdata(&format!("{command} -h")).ok();
        assert!(help.contains("Examples:"), "{command}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{command}: {help}");
        for inner in subcommands(&help) {
            let help = work.kdata(&format!("{command} {inner} -h")).ok();
            assert!(help.contains("Usage:"), "{command} {inner}: {help}");
        }
    }
}

#[test]
fn nothing_at_all_shows_help() {
    let run = Work::new().kdata("");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("Usage:"), "{}", run.stderr);
}

#[test]
fn wrong_words_are_answered_with_right_ones() {
    let work = Work::new();
    work.kdata("extract ohlvc --date today").fails(2, &["similar", "'ohlcv'"]);
    work.kdata("due market_cap").fails(2, &["market-cap"]);
    work.kdata("extrakt ohlcv").fails(2, &["'extract'"]);
    work.kdata("extract ohlcv --source marcab --date today").fails(2, &["'marcap'"]);
    work.kdata("explain within_limits").fails(2, &["did you mean ohlcv.within_limits?"]);
    work.kdata("explain nonsense").fails(2, &["kdata explain --list"]);
}

#[test]
fn usage_errors_say_what_to_do() {
    let mut work = Work::new();
    work.kdata("extract ohlcv --date today").fails(2, &["no source of ohlcv is set up", "set KDATA_MARCAP"]);
    work.kdata("extract ohlcv --source marcap --date 2024-01-02").fails(2, &["KDATA_MARCAP is not set"]);
    work.kdata("extract ohlcv --source marcap").fails(2, &["no day is given", "--date today"]);
    work.kdata("extract ohlcv --source marcap --date 2024-13-01").fails(2, &["\"2024-13-01\" is not a day"]);
    work.kdata("extract ohlcv --source marcap --from 2024-01-03 --to 2024-01-02")
        .fails(2, &["is after --to"]);
    work.kdata("extract ohlcv --source marcap --from 2024-01-03").fails(2, &["--to"]);
    work.kdata("extract ohlcv --source marcap --date 2024-01-02 --codes 5930")
        .fails(2, &["\"5930\" is not a stock code"]);
    work.kdata("extract ohlcv --source marcap --date 2024-01-02 --market NASDAQ")
        .fails(2, &["KOSPI, KOSDAQ or KONEX"]);
    work.kdata("validate --max-rejects 101%").fails(2, &["a share like 1%"]);
    work.kdata("promote --force").fails(2, &["--batch"]);
    work.set("KDATA_BACKEND", "oracle").kdata("runs").fails(2, &["KDATA_BACKEND=oracle is unknown"]);
    work.unset("KDATA_BACKEND").set("KDATA_NOW", "noon");
    work.kdata("runs").fails(2, &["KDATA_NOW=noon", "2026-11-20T18:00:00+09:00"]);
}

#[test]
fn what_was_mistyped_is_answered_with_what_is_meant() {
    let mut db = crate::support::Db::native();
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    let ask = "extract ohlcv --date 2024-01-05 --codes";
    db.kdata(&format!("{ask} 가나전자")).fails(2, &["is not a stock code", "names are known once `stocks`"]);
    db.pipe("stocks", "2024-01-05", "2024-01-05");
    db.kdata(&format!("{ask} 가나전자"))
        .fails(2, &["\"가나전자\" is not a stock code", "did you mean 000010 (가나전자)?"]);
    db.kdata(&format!("{ask} 10")).fails(2, &["did you mean 000010 (가나전자)?"]);
    let some = db.kdata(&format!("{ask} 전자")).fails(2, &["did you mean"]);
    assert!((1..=5).contains(&some.matches('(').count()), "{some}");
    db.kdata(&format!("{ask} 없는회사이름")).fails(2, &["no stock is called like that"]);
    db.kdata("report coverage --dataset ohlcv --codes 가나전자")
        .fails(2, &["did you mean 000010 (가나전자)?"]);
    // The simulated market has names of its own.
    let sim =
        db.kdata("extract ohlcv --source sim --date 2024-01-05 --codes 전자").fails(2, &["did you mean"]);
    assert!(sim.contains("전자"), "{sim}");
    db.kdata("promote --batch 99").fails(2, &["there is no batch 99", "there are 1 (stocks, promoted)"]);
    db.kdata("rollback 99").fails(2, &["there are 1 (stocks, promoted)"]);
    db.kdata("reprot quality").fails(2, &["report"]);
    db.kdata("extract ohlcv --source markap --date today").fails(2, &["marcap"]);
    db.set("KDATA_MARKAP", "/srv").set("KDATA_SOURCES", "krx-openap");
    let told = db.kdata("runs");
    assert!(told.stderr.contains("KDATA_MARKAP is no setting: did you mean KDATA_MARCAP?"), "{told:#?}");
    assert!(told.stderr.contains("did you mean krx-openapi"), "{told:#?}");
}

#[test]
fn a_database_that_cannot_be_used_is_told() {
    let mut work = Work::new();
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    work.set("DATABASE_URL", &format!("postgresql://kdata:hunter2@127.0.0.1:{port}/kdata"));
    for command in
        ["promote", "report quality", "due ohlcv", "runs", "rejects", "rollback 1", "db migrate", "db status"]
    {
        let told = work.kdata(command).fails(4, &["cannot connect", "help:"]);
        assert!(!told.contains("hunter2"), "{command}: {told}");
    }
    let empty = crate::support::Db::native();
    let gone = empty.url.replace("/t", "/no_such_");
    work.set("DATABASE_URL", &gone).kdata("runs").fails(2, &["does not exist", "CREATE DATABASE"]);
}

#[test]
fn secrets_are_not_printed() {
    let cluster = crate::support::cluster();
    let mut work = Work::new();
    work.set("KDATA_LOG", "trace");
    // A role that needs a password, on the real server.
    let url = cluster.with_password("hunter2");
    let socket = url.split("host=").nth(1).unwrap();
    for (url, code) in [
        (format!("postgresql://stranger:hunter2@/postgres?host={socket}&bad"), 2),
        ("postgresql://kdata:hunter2@host:notaport/kdata".to_owned(), 2),
        ("postgresql:/kdata:hunter2@host".to_owned(), 2),
        ("hunter2".to_owned(), 2),
        ("postgresql://kdata:hunter2@127.0.0.1:1/kdata".to_owned(), 4),
        (url, 6),
    ] {
        work.set("DATABASE_URL", &url);
        for command in ["runs", "promote", "load", "db status", "db migrate", "db url"] {
            let run = work.kdata(command);
            let told = format!("{}{}", run.stdout, run.stderr);
            assert!(!told.contains("hunter2"), "{command} with {url}: {told}");
            let expected = if command == "db url" { 2 } else { code };
            assert_eq!(run.code, expected, "{command} with {url}: {told}");
        }
    }
    // A right password works, and `db url --reader` leaves it out.
    work.set("DATABASE_URL", &cluster.with_password("right"));
    let reader = work.kdata("db url --reader").ok();
    assert!(reader.starts_with("postgresql://kdata_reader@") && !reader.contains("right"), "{reader}");
    work.unset("DATABASE_URL").write(".env", "TOKEN hunter2\n");
    let told = work.kdata("runs").fails(2, &[".env", "TOKEN"]);
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn dotenv_is_read_and_the_environment_beats_it() {
    let mut work = Work::new();
    work.write("a/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    work.write(".env", format!("KDATA_MARCAP={}\n", work.path("a").display()));
    assert!(work.kdata("extract ohlcv --date 2024-01-02").ok().contains("rows=12 "));
    let nowhere = work.path("b").display().to_string();
    work.set("KDATA_MARCAP", &nowhere).kdata("extract ohlcv --date 2024-01-02").fails(4, &["is not there"]);
}

#[test]
fn nothing_piped_in_is_a_broken_stream_or_a_question_for_help() {
    let work = Work::new();
    work.sh("kdata validate < /dev/null").fails(5, &["it is empty"]);
    // On a terminal: util-linux' script makes one.
    if !std::path::Path::new("/usr/bin/script").exists() {
        crate::support::announce("cli: no `script` here: stdin on a terminal NOT RUN");
        return;
    }
    for command in ["validate", "load"] {
        let run = work.sh(&format!("script -qec 'kdata {command}' /dev/null"));
        assert_eq!(run.code, 2, "{run:#?}");
        assert!(run.stdout.contains("nothing is piped into") && run.stdout.contains("Usage:"), "{run:#?}");
    }
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let mut work = Work::new();
    work.marcap(2024, &Sheet::market(500, &["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]));
    work.validated("ohlcv", "2024-01-02", "2024-01-05");
    for script in [
        "{ kdata explain --list; echo $? >&2; } | :",
        "{ kdata -q extract ohlcv --from 2024-01-02 --to 2024-01-05; echo $? >&2; } | head -c 9 >/dev/null",
        "{ kdata -q extract ohlcv --from 2024-01-02 --to 2024-01-05 | { kdata -q validate; echo $? >&2; }; } | head -c 9 >/dev/null",
    ] {
        assert_eq!(work.sh(script).stderr, "0\n", "{script}");
    }
}

#[test]
fn quiet_is_quiet() {
    let mut work = Work::new();
    work.marcap(2024, &Sheet::fixture(2024));
    let run = work.sh("kdata -q extract ohlcv --date 2024-01-02 | kdata validate -q");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(!work.sh("kdata -q extract ohlcv --date 2099-01-02").fails(2, &[]).is_empty());
}

#[test]
fn every_rule_is_explained() {
    let work = Work::new();
    let list = work.kdata("explain --list").ok();
    let rules: Vec<&str> = list.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
    assert!(rules.len() > 30, "{list}");
    for rule in rules {
        let told = work.kdata(&format!("explain {rule}")).ok();
        assert!(
            told.starts_with(rule) && told.contains("broken when") && told.contains("severity"),
            "{told}"
        );
        assert!(told.lines().count() > 5, "{rule} has no why: {told}");
    }
}

#[test]
fn the_version_is_told() {
    assert_eq!(Work::new().kdata("--version").ok(), format!("kdata {}\n", env!("CARGO_PKG_VERSION")));
}
