//! extract: which sessions and names come, and what is said of those that do not.

use crate::support::{NOW, Sheet, Stream, Work};

fn work() -> Work {
    let mut work = Work::new();
    work.marcap(2024, &Sheet::fixture(2024)).marcap(2026, &Sheet::fixture(2026));
    work
}

/// The rows of a stream.
fn rows(stream: &str) -> Vec<&str> {
    stream.lines().skip(2).filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn a_stream_reads_like_the_design_says() {
    let work = work();
    let mut settings = insta::Settings::clone_current();
    for (what, with) in [
        (r"run=\S+", "run=…"),
        (r"calendar=\S+", "calendar=…"),
        (r"rules=\S+", "rules=…"),
        (r"crc32=\S+", "crc32=…"),
    ] {
        settings.add_filter(what, with);
    }
    settings.bind(|| {
        for dataset in crate::support::DATASETS {
            let scope = "--from 2024-01-04 --to 2024-01-05 --codes 200020,000020,100010,100050";
            let script = format!("kdata -q extract {dataset} {scope} | kdata -q validate");
            insta::assert_snapshot!(dataset, work.sh(&script).ok());
        }
    });
}

#[test]
fn parquet_and_csv_give_the_same() {
    let (csv, mut parquet) = (work(), work());
    parquet.write("parquet/marcap-2026.parquet", Sheet::fixture(2026).parquet());
    let folder = parquet.path("parquet").display().to_string();
    parquet.set("KDATA_MARCAP", &folder);
    for dataset in crate::support::DATASETS {
        let of = |work: &Work| {
            let stream = work.validated(dataset, "2026-01-02", "2026-01-07");
            stream
                .lines()
                .skip(1)
                .filter(|l| !l.starts_with("#end"))
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&csv), of(&parquet), "{dataset}");
        assert!(of(&csv).len() >= 52, "{dataset}");
    }
}

#[test]
fn rows_ascend_by_session_and_code_across_years() {
    let stream = work().validated("ohlcv", "2024-01-05", "2026-01-02");
    // Most sessions in between are in no file, and said to be missing.
    let keys: Vec<_> = rows(&stream).iter().map(|r| (r[7..17].to_owned(), r[..6].to_owned())).collect();
    assert!(keys.is_sorted() && keys.len() == 36, "{keys:?}");
    assert!(stream.contains("#missing what=2024-01-09 "), "{stream}");
    assert!(!stream.contains("what=2024-01-06") && !stream.contains("what=2024-01-05"), "{stream}");
}

#[test]
fn a_closed_day_is_no_failure() {
    let work = work();
    for (day, why) in
        [("2024-01-01", "closed"), ("2024-01-06", "closed (Saturday)"), ("2024-02-09", "closed")]
    {
        let run = work.kdata(&format!("extract ohlcv --date {day}"));
        assert!(run.stderr.contains(why), "{}", run.stderr);
        assert!(
            Stream::of(&run.ok()).end.starts_with("#end rows=0 rejected=0 flagged=0 missing=0 "),
            "{day}"
        );
    }
    let whole_weekend = work.kdata("extract ohlcv --from 2024-01-06 --to 2024-01-07").ok();
    assert!(rows(&whole_weekend).is_empty(), "{whole_weekend}");
}

#[test]
fn days_are_resolved_in_seoul() {
    let mut work = work();
    // Half past midnight on the 9th in Seoul, still the 8th in Greenwich.
    work.set("KDATA_NOW", "2024-01-08T15:30:00Z");
    for (day, session) in [
        ("-1s", "2024-01-08"),
        ("-2s", "2024-01-05"),
        ("yesterday", "2024-01-08"),
        ("20240105", "2024-01-05"),
    ] {
        let run = work.kdata(&format!("extract ohlcv --date {day}"));
        assert!(run.stderr.contains(&format!("ohlcv of {session} from marcap")), "{day}: {}", run.stderr);
        assert!(rows(&run.ok()).iter().all(|row| row[7..].starts_with(session)), "{day}");
    }
    work.kdata("extract ohlcv --date today")
        .fails(9, &["of the session 2024-01-09 from 2024-01-09 15:30 KST"]);
}

#[test]
fn what_is_not_published_yet_is_code_9() {
    let mut work = work();
    for (now, day, says) in [
        ("2024-01-08T15:29:59+09:00", "2024-01-08", "from 2024-01-08 15:30 KST; it is 2024-01-08 15:29 now"),
        (NOW, "2026-11-24", "2026-11-24 from 2026-11-24 15:30"),
        (NOW, "2026-11-20", "marcap ends at 2026-01-07"),
        (NOW, "2025-03-04", "marcap has no file of 2025"),
    ] {
        work.set("KDATA_NOW", now);
        let run = work.kdata(&format!("extract ohlcv --date {day}"));
        assert!(run.stdout.lines().last().unwrap().starts_with("#abort code=9 reason="), "{}", run.stdout);
        run.fails(9, &[says]);
    }
    work.set("KDATA_NOW", "2024-01-08T15:30:00+09:00").kdata("extract ohlcv --date 2024-01-08").ok();
    // Beyond the calendar nothing is guessed.
    work.kdata("extract ohlcv --date 2094-01-04")
        .fails(2, &["the trading calendar covers", "kdata calendar import"]);
}

#[test]
fn a_calendar_of_the_users_own_is_laid_over_the_shipped_one() {
    let mut work = work();
    let file = work.write("calendar.csv", "2024-01-05,,,typhoon\n");
    work.set("KDATA_CALENDAR", &file.display().to_string());
    let run = work.kdata("extract ohlcv --date 2024-01-05");
    assert!(run.stderr.contains("closed (typhoon)"), "{}", run.stderr);
    // The source has rows of that day: one of the two is wrong, and the batch stops.
    let stream = work.kdata("extract ohlcv --from 2024-01-04 --to 2024-01-08").ok();
    assert_eq!(rows(&stream).len(), 36);
    work.feed("validate --max-rejects 100%", stream.as_bytes()).fails(
        3,
        &["marcap has data of 2024-01-05 (Friday)", "closed: typhoon", "kdata calendar add 2024-01-05"],
    );
}

#[test]
fn scopes_are_kept() {
    let work = work();
    let of = |args: &str| work.kdata(&format!("extract ohlcv --date 2024-01-05 {args}")).ok();
    let listed = of("--codes 000020,200010");
    assert!(listed.contains(" names=list "), "{listed}");
    assert_eq!(rows(&listed).len(), 2);
    let piped = work.feed("extract ohlcv --date 2024-01-05 --codes -", b"000020\n200010\n").ok();
    assert_eq!(rows(&piped), rows(&listed));
    // What the source lacks is marked, and told by the exit code; the rest is good.
    let partial = work.kdata("extract ohlcv --date 2024-01-05 --codes 000020,999999");
    assert!(partial.stdout.contains("#missing what=999999 "), "{partial:#?}");
    assert!(Stream::of(&partial.stdout).end.starts_with("#end rows=1 rejected=0 flagged=0 missing=1 "));
    work.feed("validate", partial.stdout.as_bytes()).ok();
    partial.fails(7, &["could not give 1 of the codes"]);
    let konex = of("--market KONEX");
    assert!(konex.contains(" scope=KONEX/stock names=whole "), "{konex}");
    assert_eq!(rows(&konex).len(), 2);
    assert_eq!(rows(&of("--market KOSPI,KOSDAQ")).len(), 10);
}

#[test]
fn a_file_without_untraded_names_claims_no_more_than_it_has() {
    let mut work = Work::new();
    let sheet = Sheet::fixture(2024).without("Volume", "0.0").without("Date", "2024-01-04");
    work.marcap(2024, &sheet);
    let run = work.kdata("extract ohlcv --from 2024-01-02 --to 2024-01-08");
    assert!(run.stderr.contains("no data for 1 of 5 sessions"), "{}", run.stderr);
    let stream = run.ok();
    assert!(stream.contains(" names=traded "), "{stream}");
    assert!(stream.contains("#missing what=2024-01-04 "), "{stream}");
    assert!(Stream::of(&stream).end.contains(" missing=1 "), "{stream}");
}

#[test]
fn a_damaged_file_is_code_4_and_said_so_in_the_stream() {
    let mut work = work();
    let good = Sheet::fixture(2024).csv_gz();
    let folder = work.path("bad").display().to_string();
    work.set("KDATA_MARCAP", &folder);
    let no_column = Sheet::fixture(2024);
    let no_column = String::from_utf8(no_column.csv()).unwrap().replacen("Amount", "Turnover", 1);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, no_column.as_bytes()).unwrap();
    for (bytes, says) in [
        (good[..good.len() / 2].to_vec(), "cannot be read"),
        (b"<html>sorry</html>".to_vec(), "neither parquet nor gzip"),
        (Vec::new(), "neither parquet nor gzip"),
        (gz.finish().unwrap(), "the column Amount is missing"),
    ] {
        work.write("bad/marcap-2024.csv.gz", bytes);
        let run = work.kdata("extract ohlcv --date 2024-01-05");
        assert!(run.stdout.starts_with("#abort code=4 reason="), "{}", run.stdout);
        run.fails(4, &[says, "marcap-2024.csv.gz", "fetch the file again"]);
    }
}
