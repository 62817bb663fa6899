//! load: a stream that is not proven good leaves nothing behind but the run's record and its rejects.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use crate::support::{Db, KDATA, Reply, Server, Sheet, Stream, on_both_backends, reseal};

on_both_backends! {
    every_broken_stream_is_refused
    a_killed_stage_leaves_nothing
    the_code_of_the_stage_that_failed_is_passed_on
    rejects_outlive_their_stream
    a_reject_of_any_length_is_kept
    simulated_and_real_data_stay_apart
    a_closed_day_is_a_batch_without_rows
    text_arrives_as_it_was
}

/// A day of two names: short enough to be cut at every byte.
fn short(db: &Db) -> String {
    db.sh("kdata extract market-cap --date 2024-01-05 --codes 000010,000020 | kdata validate").ok()
}

fn with_fixture(db: &Db) -> String {
    let file = db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    file.parent().unwrap().display().to_string()
}

fn every_broken_stream_is_refused(db: &Db) {
    with_fixture(db);
    let stream = short(db);
    let end = stream.len() - Stream::of(&stream).end.len();
    // All bytes on one backend: what reads the stream does not know of them.
    let is_sampled = |at: usize| db.backend == "native" || at.is_multiple_of(9) || at >= end;
    for at in (0..stream.len()).filter(|at| is_sampled(*at)) {
        db.feed("load", &stream.as_bytes()[..at]).fails(5, &["broken stream: "]);
    }
    for at in (0..stream.len()).step_by(if db.backend == "native" { 3 } else { 13 }) {
        let mut changed = stream.clone().into_bytes();
        changed[at] ^= [1, 0x20, 0x80][at % 3];
        let run = db.feed("load", &changed);
        assert_eq!((run.code, run.stdout.as_str()), (5, ""), "byte {at}: {run:#?}");
    }
    let extracted = db.kdata("extract market-cap --date 2024-01-05").ok();
    for (text, says) in [
        (extracted, "refused: the stream was not validated"),
        (stream.replacen("#kdata/1", "#kdata/2", 1), "it is of version \"2\", this kdata reads version 1"),
        (stream.replacen("rows=2", "rows=3", 1), "its end says rows=3, but 2 came"),
        (stream.replacen("rows=2", "rows=1", 1), "its end says rows=1, but 2 came"),
        (stream.replacen("rejected=0", "rejected=1", 1), "its end says rejected=1, but 0 came"),
        (stream.replacen("flagged=0", "flagged=1", 1), "its end says flagged=1, but 0 came"),
        (stream.replacen("missing=0", "missing=1", 1), "its end says missing=1, but 0 came"),
        (stream.replacen("000020,", "000021,", 1), "it was changed on the way"),
        (
            stream.replacen("dataset=market-cap", "dataset=ohlcv", 1),
            "the header does not hold the columns of ohlcv",
        ),
        (format!("{stream}\n"), "more follows after its end"),
        (format!("{stream}{stream}"), "more follows after its end"),
        (stream.trim_end().to_owned(), "it ends without #end"),
        (String::new(), "it is empty"),
        ("stock_code,time\n".to_owned(), "does not begin with `#kdata/1`"),
    ] {
        db.feed("load", text.as_bytes()).fails(5, &[says, "help: "]);
    }
    db.nothing_is_staged();
    assert_eq!(db.value("SELECT count(*) FROM ops.batches"), "0");
    assert_eq!(
        db.value(
            "SELECT count(*) FROM ops.runs WHERE state <> 'failed' OR exit_code <> 5 OR reason \
             IS NULL"
        ),
        "0"
    );
    assert_eq!(db.load(&stream).parse::<u32>().map(|_| ()), Ok(()));
}

/// A process between pipes.
fn spawn(db: &Db, args: &[&str]) -> Child {
    let mut command = db.command(KDATA, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Takes what a process says until it is in the midst of it, kills it, and takes the rest.
fn kill_in_the_midst(mut child: Child, input: Vec<u8>) -> Vec<u8> {
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || stdin.write_all(&input));
    let mut stdout = child.stdout.take().unwrap();
    let mut said = vec![0; 300_000];
    stdout.read_exact(&mut said).unwrap();
    child.kill().unwrap();
    stdout.read_to_end(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!String::from_utf8(said.clone()).unwrap().contains("#end"), "it was too fast");
    said
}

fn a_killed_stage_leaves_nothing(db: &Db) {
    let sessions = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"];
    // Well above what a pipe holds.
    db.write("marcap/marcap-2024.csv.gz", Sheet::market(4_000, &sessions).csv_gz());
    let extract = ["extract", "ohlcv", "--from", "2024-01-02", "--to", "2024-01-09"];
    let whole = db.kdata(&extract.join(" ")).ok();
    assert!(whole.len() > 1_000_000);

    let torn = kill_in_the_midst(spawn(db, &extract), Vec::new());
    let validated = db.feed("validate", &torn);
    assert_eq!(validated.code, 5, "{}", validated.stderr);
    let told = db.feed("load", validated.stdout.as_bytes()).fails(5, &["the stage before"]);
    assert!(told.contains("died or was killed"), "{told}");
    db.nothing_is_staged();

    let torn = kill_in_the_midst(spawn(db, &["validate"]), whole.clone().into_bytes());
    db.feed("load", &torn).fails(5, &["it ends without #end: the stage before died or was killed"]);
    db.nothing_is_staged();
    assert_eq!(db.rows("SELECT state, exit_code FROM ops.runs"), ["failed|5", "failed|5"]);

    // load itself: the server undoes what it did.
    let validated = db.feed("validate", whole.as_bytes()).ok();
    let mut load = spawn(db, &["load"]);
    let mut stdin = load.stdin.take().unwrap();
    stdin.write_all(&validated.as_bytes()[..600_000]).unwrap();
    db.wait_until("EXISTS (SELECT FROM ops.runs WHERE state = 'running')");
    load.kill().unwrap();
    load.wait().unwrap();
    db.wait_for_the_others();
    db.nothing_is_staged();
    assert!(db.kdata("runs").ok().contains("running, or killed"));
    // The same pipe again, alive.
    db.load(&validated);
    assert!(db.kdata("promote").ok().contains("24,000 inserted"));
}

fn the_code_of_the_stage_that_failed_is_passed_on(db: &Db) {
    let folder = with_fixture(db);
    let pipe = |marcap: &str, extract: &str| {
        db.sh(&format!("KDATA_MARCAP={marcap} kdata extract {extract} | kdata validate | kdata load"))
    };
    let server = Server::start(|_, _| Reply::Status(500));
    for (marcap, extract, code, says) in [
        (
            "/no/such/folder",
            "ohlcv --source marcap --date 2024-01-05",
            4,
            "the marcap folder /no/such/folder is not there",
        ),
        (server.url.as_str(), "ohlcv --source marcap --date 2024-01-05", 4, "answered 500"),
        (&folder, "market-cap --date 2024-01-09", 9, "marcap ends at 2024-01-08"),
        ("", "stocks --date 2024-01-05", 2, "no source of stocks is set up"),
    ] {
        let told = pipe(marcap, extract).fails(code, &[]);
        assert!(told.contains(&format!("exit code {code}:")), "{told}");
        // What happened before a stream began is known to extract alone; the rest must be in the ledger.
        assert!(told.contains(says), "{told}");
        let runs = db.kdata("runs --failed").ok();
        let newest = runs.lines().nth(1).unwrap();
        assert!(newest.contains(&format!("exit {code}: ")) && newest.contains(says), "{runs}");
    }
    db.nothing_is_staged();
    assert_eq!(db.rows("SELECT exit_code FROM ops.runs ORDER BY run_id"), ["4", "4", "9", "2"]);
}

fn rejects_outlive_their_stream(db: &Db) {
    with_fixture(db);
    let sheet = Sheet::fixture(2024).set("000010", "2024-01-05", "Low", "99999");
    let sheet =
        sheet.set("100020", "2024-01-05", "Close", "1").set("100030", "2024-01-08", "Date", "someday");
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    let run = db.sh("kdata extract ohlcv --from 2024-01-02 --to 2024-01-08 | kdata validate \
                     --max-rejects 0 | kdata load");
    run.fails(3, &["the stage before this one failed: ", "rows were rejected, more than --max-rejects 0"]);
    db.nothing_is_staged();
    assert_eq!(db.rows("SELECT exit_code, rejected > 0 FROM ops.runs"), ["3|t"]);

    // With patience for all of them: a batch, and its rejects with it.
    let validated = db
        .sh("kdata extract ohlcv --from 2024-01-02 --to 2024-01-08 | kdata validate \
             --max-rejects 5")
        .ok();
    let batch: i64 = db.load(&validated).parse().unwrap();
    assert_eq!(
        db.rows(
            "SELECT b.rows, b.rejected, count(*) FROM ops.rejects r \
             JOIN ops.runs USING (run_id) JOIN ops.batches b USING (batch_id) GROUP BY 1, 2"
        ),
        ["57|3|3"]
    );
    let json: serde_json::Value = serde_json::from_str(&db.kdata("rejects --format json").ok()).unwrap();
    assert_eq!(json["schema_version"], 1);
    let of_batch: Vec<_> =
        json["rejects"].as_array().unwrap().iter().filter(|r| r["batch_id"] == batch).collect();
    let mut rules: Vec<_> = of_batch.iter().map(|r| r["rule"].as_str().unwrap()).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["marcap.row_reads", "ohlcv.base_is_positive", "ohlcv.high_is_highest"]);
    let low = of_batch.iter().find(|r| r["rule"] == "ohlcv.high_is_highest").unwrap();
    assert!(
        low["row"].as_str().unwrap().starts_with("000010,2024-01-05,") && low["line"].is_number(),
        "{low}"
    );
    let table = db.kdata("rejects --rule ohlcv.high_is_highest -n 1").ok();
    assert!(
        table.contains("000010,2024-01-05,") && table.contains("high is below open, low or close"),
        "{table}"
    );
    for rule in rules {
        db.kdata(&format!("explain {rule}")).ok();
    }
}

/// A file of which a quote was lost may hold a field of megabytes.
fn a_reject_of_any_length_is_kept(db: &Db) {
    with_fixture(db);
    let long = "가".repeat(2_000_000);
    let sheet = Sheet::fixture(2024).set("000010", "2024-01-05", "Name", &long);
    db.write("marcap/marcap-2024.csv.gz", sheet.set("000020", "2024-01-05", "Code", &long).csv_gz());
    let stream = db.sh("kdata extract stocks --date 2024-01-05 | kdata validate --max-rejects 2").ok();
    assert!(stream.len() < 1_000_000, "{}", stream.len());
    db.load(&stream);
    // As bytes that are no text, the same takes five times the room.
    let stream = db.kdata("extract stocks --date 2024-01-04").ok();
    let good = reseal(&stream.replacen(
        "000010,2024-01-04,,",
        &format!("000010,2024-01-04,{},", "~".repeat(900_000)),
        1,
    ));
    let bytes: Vec<u8> = good.bytes().map(|b| if b == b'~' { 0xff } else { b }).collect();
    let end = bytes.len() - Stream::of(&good).end.len();
    let crc = format!("crc32={:08x}", crc32fast::hash(&bytes[..end]));
    let old = format!("crc32={:08x}", crc32fast::hash(&good.as_bytes()[..end]));
    let end_line = String::from_utf8(bytes[end..].to_vec()).unwrap().replacen(&old, &crc, 1);
    let validated = db.feed("validate --max-rejects 1", &[&bytes[..end], end_line.as_bytes()].concat()).ok();
    db.load(&validated);
    let rejects = db.rows("SELECT rule, length(row) < 400000, row ~ 'cut here: [0-9]+ bytes in all' FROM ops.rejects ORDER BY 1");
    assert_eq!(rejects, ["marcap.row_reads|t|t", "row.well_formed|t|t", "row.well_formed|t|t"]);
    db.kdata("rejects").ok();
}

fn simulated_and_real_data_stay_apart(db: &Db) {
    with_fixture(db);
    let real = short(db);
    let simulated = reseal(&real.replacen("source=marcap", "source=sim", 1));
    db.feed("load", simulated.as_bytes())
        .fails(5, &["refused: sim data are simulated, and this database is a live one", "kdata demo"]);
    db.sh("kdata extract market-cap --source sim --date 2024-01-05 | kdata validate | kdata load")
        .fails(5, &["a live one"]);
    db.kdata("db migrate --demo").fails(5, &["the database is a live one, and stays it"]);
    db.load(&real);
    let demo = db.another();
    demo.kdata("db migrate --demo").ok();
    demo.feed("load", real.as_bytes())
        .fails(5, &["refused: marcap data are real, and this database is a demo"]);
    demo.load(&simulated);
    demo.kdata("db migrate").fails(5, &["the database is a demo one, and stays it"]);
    assert_eq!(demo.rows("SELECT command, exit_code FROM ops.runs ORDER BY run_id"), ["load|5", "load|0"]);
}

fn a_closed_day_is_a_batch_without_rows(db: &Db) {
    with_fixture(db);
    let run = db.pipe("ohlcv", "2024-01-06", "2024-01-07");
    assert!(run.stdout.contains("0 rows: 0 inserted, 0 updated, 0 unchanged"), "{run:#?}");
    assert_eq!(db.rows("SELECT rows, state FROM ops.batches"), ["0|promoted"]);
    assert_eq!(db.value("SELECT count(*) FROM market.session_status"), "0");
    db.nothing_is_staged();
}

fn text_arrives_as_it_was(db: &Db) {
    let names = ["나,다홀딩스", "#1테크", "백\\슬래시", "\\N", "NULL", "a'b;--", "{}%s A"];
    let codes = ["000010", "000015", "000020", "000030", "000040", "100010", "100020"];
    let sheet = codes
        .iter()
        .zip(names)
        .fold(Sheet::fixture(2024), |sheet, (code, name)| sheet.set(code, "2024-01-08", "Name", name));
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
    let stream = db.validated("stocks", "2024-01-08", "2024-01-08");
    db.load(&reseal(&stream.replacen(",바사푸드,", ",\"\"\"가\"\" 전자\",", 1)));
    db.kdata("promote").ok();
    let stored =
        |code: &str| db.value(&format!("SELECT name FROM market.stocks WHERE stock_code = '{code}'"));
    for (code, name) in codes.iter().zip(names).chain([(&"200020", "\"가\" 전자")]) {
        assert_eq!(stored(code), name);
    }
}
