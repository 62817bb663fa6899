//! validate: what goes on, what does not, and what is said of it. No database.

use crate::support::{NOW, Sheet, Stream, Work, reseal};
use proptest::prelude::*;

fn work() -> Work {
    let mut work = Work::new();
    work.marcap(2024, &Sheet::fixture(2024));
    work
}

fn extracted(work: &Work, dataset: &str) -> String {
    work.kdata(&format!("extract {dataset} --from 2024-01-02 --to 2024-01-08")).ok()
}

#[test]
fn good_rows_go_on_unchanged() {
    let work = work();
    for (dataset, flags) in [("stocks", 0), ("ohlcv", 2), ("market-cap", 0)] {
        let before = extracted(&work, dataset);
        let after = work.feed("validate", before.as_bytes()).ok();
        let rows =
            |text: &str| text.lines().skip(1).filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(rows(&before), rows(&after), "{dataset}");
        assert!(after.contains(" stage=validated ") && after.contains(" rules="), "{after}");
        assert!(
            Stream::of(&after).end.starts_with(&format!("#end rows=60 rejected=0 flagged={flags} missing=0"))
        );
        assert_eq!(reseal(&after), after, "{dataset}: checksum and counts are what the design says");
    }
}

/// A row of the fixture, what becomes of it, and the rule that must say so.
const BROKEN: &[(&str, &str, &str, &str)] = &[
    ("ohlcv", "000010,2024-01-05,", "000010,2024-01-06,", "row.on_a_session"),
    ("ohlcv", "000010,2024-01-05,", "000010,2024-01-09,", "row.in_range"),
    ("ohlcv", "000010,2024-01-05,", "00010,2024-01-05,", "row.well_formed"),
    ("ohlcv", "000010,2024-01-05,", "00001a,2024-01-05,", "row.well_formed"),
    ("ohlcv", "000010,2024-01-05,", "000010,20240105,", "row.well_formed"),
    ("ohlcv", ",KOSPI,STOCK", ",KOSPI,STOCK,", "row.well_formed"),
    ("ohlcv", ",KOSPI,STOCK", ",NASDAQ,STOCK", "row.well_formed"),
    ("ohlcv", "000010,2024-01-05,7", "000010,2024-01-05,-7", "ohlcv.nothing_is_negative"),
    ("ohlcv", "000010,2024-01-05,7", "000010,2024-01-05,77", "ohlcv.high_is_highest"),
    ("ohlcv", "000010,2024-01-05,7", "000010,2024-01-05,1e", "row.well_formed"),
    ("ohlcv", "000010,2024-01-05,7", "000010,2024-01-05,NaN", "row.well_formed"),
    ("stocks", ",가나전자,", ",,", "stocks.has_a_name"),
    ("stocks", ",가나전자,", ",°¡³ªÀüÀÚ,", "stocks.has_a_name"),
    ("market-cap", ",5000000\n", ",5000001\n", "market-cap.is_a_price_times_shares"),
    ("market-cap", "000010,2024-01-05,3", "000010,2024-01-05,-3", "market-cap.both_are_positive"),
];

#[test]
fn a_broken_row_does_not_go_on() {
    let work = work();
    for (dataset, from, to, rule) in BROKEN {
        let good = extracted(&work, dataset);
        let stream = reseal(&good.replacen(from, to, 1));
        let bad = stream.lines().skip(2).find(|line| !good.contains(line)).unwrap();
        let run = work.feed("validate --max-rejects 10", stream.as_bytes());
        assert!(run.stderr.contains("1 rejected"), "{to}: {run:#?}");
        let after = run.ok();
        let reject = after.lines().find(|l| l.starts_with("#reject ")).unwrap();
        assert!(reject.contains(&format!(" rule={rule} msg=")) && reject.contains(" row="), "{to}: {reject}");
        assert!(Stream::of(&after).end.starts_with("#end rows=59 rejected=1 "), "{to}");
        assert!(!after.lines().any(|line| line == bad), "{to}");
    }
}

#[test]
fn the_clock_is_seouls() {
    let mut work = work();
    let stream = extracted(&work, "ohlcv");
    work.set("KDATA_NOW", "2024-01-08T00:00:00+09:00").feed("validate", stream.as_bytes()).ok();
    work.set("KDATA_NOW", "2024-01-07T23:59:59+09:00");
    let run = work.feed("validate", stream.as_bytes());
    assert_eq!(run.stdout.matches("rule=row.not_in_future").count(), 12, "{run:#?}");
    run.fails(3, &["12 of 60 rows were rejected"]);
    work.set("KDATA_NOW", NOW);
}

#[test]
fn keys_are_unique_and_in_order() {
    let work = work();
    let stream = extracted(&work, "ohlcv");
    let row = stream.lines().find(|l| l.starts_with("000020,2024-01-05")).unwrap();
    let other = row.replace(",KOSPI", "1,KOSPI");
    let with = |rows: &str| reseal(&stream.replacen(&format!("{row}\n"), rows, 1));
    let validate = |text: &str| work.feed("validate --max-rejects 10%", text.as_bytes());
    // The same twice: one goes on. Two that differ: none does.
    let twice = validate(&with(&format!("{row}\n{row}\n"))).ok();
    assert!(Stream::of(&twice).end.starts_with("#end rows=60 rejected=1 "), "{twice}");
    let contradiction = validate(&with(&format!("{row}\n{other}\n"))).ok();
    assert!(Stream::of(&contradiction).end.starts_with("#end rows=59 rejected=2 "), "{contradiction}");
    assert_eq!(contradiction.matches("rule=row.key_unique").count(), 2);
    let next = stream.lines().find(|l| l.starts_with("000030,2024-01-05")).unwrap();
    let swapped = stream.replace(row, "#").replace(next, row).replacen("#\n", &format!("{next}\n"), 1);
    validate(&reseal(&swapped)).fails(5, &["out of the order"]);
}

#[test]
fn limits_of_rejects() {
    let work = work();
    let good = extracted(&work, "ohlcv");
    // Six rows of the same session, 10 %.
    let bad: String = good
        .lines()
        .map(|line| (line, line.starts_with('0') && line.contains(",2024-01-03,")))
        .map(|(line, bad)| if bad { line.replace(",KOSPI,", ",KOSDAK,") } else { line.to_owned() } + "\n")
        .collect();
    let bad = reseal(&bad);
    let rejects = bad.matches("KOSDAK").count();
    assert_eq!(rejects, 5);
    for (limit, code, kept) in
        [("0", 3, 1), ("4", 3, 5), ("5", 0, 5), ("8%", 3, 5), ("9%", 0, 5), ("100%", 0, 5), ("1%", 3, 5)]
    {
        let run = work.feed(&format!("validate --max-rejects {limit}"), bad.as_bytes());
        assert_eq!(run.stdout.lines().filter(|l| l.starts_with("#reject ")).count(), kept, "{limit}");
        if code == 0 {
            run.ok();
        } else {
            assert!(run.stdout.lines().last().unwrap().starts_with("#abort code=3 reason="), "{limit}");
            run.fails(
                code,
                &["rows were rejected, more than --max-rejects", "kdata explain row.well_formed"],
            );
        }
    }
    work.feed("validate", bad.as_bytes()).fails(3, &["--max-rejects 1%"]);
    work.feed("validate --max-rejects 0", good.as_bytes()).ok();
}

#[test]
fn a_stream_cut_anywhere_is_broken() {
    let work = work();
    let stream = work.kdata("extract market-cap --date 2024-01-05 --codes 000010,000020").ok();
    for end in 0..stream.len() {
        let run = work.feed("validate", &stream.as_bytes()[..end]);
        assert!(run.stdout.lines().last().unwrap().starts_with("#abort code=5 "), "cut at {end}: {run:#?}");
        run.fails(5, &["broken stream: ", "run the whole pipe again"]);
    }
}

#[test]
fn the_message_says_which() {
    let work = work();
    let stream = extracted(&work, "ohlcv");
    for (from, to, says) in [
        ("#kdata/1 ", "#kdata/2 ", "it is of version \"2\", this kdata reads version 1"),
        ("#kdata/1 ", "kdata/1 ", "does not begin with `#kdata/1`"),
        ("rows=60", "rows=61", "its end says rows=61, but 60 came"),
        ("missing=0", "missing=1", "its end says missing=1, but 0 came"),
        ("dataset=ohlcv", "dataset=ohlc", "unknown dataset=\"ohlc\""),
        ("stock_code,time", "code,time", "the header does not hold the columns of ohlcv"),
        ("from=2024", "from=x024", "unknown from="),
        (" scope=", " scop=", "lacks scope="),
        ("71000", "71001", "its checksum is"),
    ] {
        work.feed("validate", stream.replacen(from, to, 1).as_bytes()).fails(5, &["broken stream: ", says]);
    }
    work.feed("validate", format!("{stream}x").as_bytes()).fails(5, &["more follows after its end"]);
    let validated = work.feed("validate", stream.as_bytes()).ok();
    work.feed("validate", validated.as_bytes()).fails(5, &["it is validated already", "kdata load"]);
}

#[test]
fn what_the_stage_before_said_is_passed_on() {
    let work = work();
    let stream = extracted(&work, "ohlcv");
    let aborted = format!("{}#abort code=4 reason=\"gone away\"\n", Stream::of(&stream).body);
    for input in [aborted.as_str(), "#abort code=4 reason=\"gone away\"\n"] {
        let run = work.feed("validate", input.as_bytes());
        assert!(run.stdout.ends_with("#abort code=4 reason=\"gone away\"\n"), "{run:#?}");
        run.fails(4, &["the stage before this one failed: gone away"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in the rows: no row is lost, and what goes on was judged.
    #[test]
    fn every_row_is_accounted_for(
        dataset in 0..3usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        static STREAMS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
        let work = work();
        let streams = STREAMS.get_or_init(|| crate::support::DATASETS.map(|d| extracted(&work, d)).to_vec());
        let body = Stream::of(&streams[dataset]).body;
        let start = body.match_indices('\n').nth(1).unwrap().0 + 1;
        let mut bytes = body.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = start + at.index(bytes.len() - start);
            // Line ends and marks would make other lines of it, which the trailer below does not count.
            if !matches!(byte, b'\n' | b'#') && bytes[at] != b'\n' {
                bytes[at] = byte;
            }
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend(format!("#end rows=60 rejected=0 flagged=0 missing=0 crc32={crc:08x}\n").bytes());
        let run = work.feed("validate --max-rejects 100%", &bytes);
        // A changed key may break the promised order.
        prop_assert!(run.code == 0 || run.code == 5 && run.stderr.contains("out of the order"), "{run:#?}");
        if run.code == 0 {
            let end = Stream::of(&run.stdout).end;
            let count = |key: &str| {
                let value = end.split(key).nth(1).unwrap().split(' ').next();
                value.unwrap().parse::<u32>().unwrap()
            };
            prop_assert_eq!(count("rows=") + count("rejected="), 60);
        }
    }
}
