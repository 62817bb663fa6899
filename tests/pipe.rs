//! The whole: extract | validate | load, then promote; on fixtures, and on real data where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use crate::support::{DATASETS, Db, Sheet, on_both_backends, real_data};

on_both_backends! {
    fixtures_arrive_whole_in_any_order
    real_years_arrive_whole_in_any_order
    a_file_of_traded_names_raises_no_false_gates
    a_real_file_of_traded_names_raises_no_false_gates
}

/// A yearly file.
struct Year {
    file: String,
    sheet: Sheet,
    /// The most flags that its bars may raise.
    flags: usize,
}

impl Year {
    fn range(&self) -> (String, String) {
        let sessions = self.sheet.sessions();
        (sessions[0].clone(), sessions[sessions.len() - 1].clone())
    }
}

/// All datasets of a year through the real pipe.
fn bring(db: &Db, year: &Year) {
    let (from, to) = year.range();
    for dataset in DATASETS {
        db.pipe(dataset, &from, &to);
    }
}

/// What production must hold of a year, by the file alone.
fn compare(db: &Db, year: &Year) {
    let (from, to) = year.range();
    let sheet = &year.sheet;
    let of_year = format!("time BETWEEN '{from}' AND '{to}'");
    assert_eq!(
        db.value(&format!(
            "SELECT count(*), count(DISTINCT time), count(DISTINCT stock_code), sum(close), \
             sum(volume), sum(value) FROM market.ohlcv_daily WHERE {of_year}"
        )),
        format!(
            "{}|{}|{}|{}|{}|{}",
            sheet.rows.len(),
            sheet.sessions().len(),
            codes(sheet).len(),
            sheet.sum("Close"),
            sheet.sum("Volume"),
            sheet.sum("Amount")
        ),
        "{}",
        year.file
    );
    let untraded = sheet.rows.iter().filter(|r| sheet.number(r, "Open") == 0).count();
    assert_eq!(
        db.value(&format!(
            "SELECT count(*) FILTER (WHERE open IS NULL AND high IS NULL \
             AND low IS NULL), coalesce(sum(open), 0), coalesce(sum(high), 0), \
             coalesce(sum(low), 0), sum(close - base_price) FROM market.ohlcv_daily \
             WHERE {of_year}"
        )),
        format!(
            "{untraded}|{}|{}|{}|{}",
            sheet.sum("Open"),
            sheet.sum("High"),
            sheet.sum("Low"),
            sheet.sum("Changes")
        ),
        "{}",
        year.file
    );
    assert_eq!(
        db.value(&format!(
            "SELECT count(*), sum(market_cap), sum(listed_shares) \
             FROM market.market_cap_daily WHERE {of_year}"
        )),
        format!("{}|{}|{}", sheet.rows.len(), sheet.sum("Marcap"), sheet.sum("Stocks")),
        "{}",
        year.file
    );
    let (sessions, rows) = (sheet.sessions().len(), sheet.rows.len());
    assert_eq!(
        db.rows(&format!(
            "SELECT dataset, count(*), sum(rows), sum(expected), sum(missing), min(names), min(finality) \
             FROM market.session_status WHERE {of_year} GROUP BY 1 ORDER BY 1"
        )),
        [("market-cap", format!("{rows}|0")), ("ohlcv", format!("{rows}|0")), ("stocks", "-|-".to_owned())]
            .map(|(dataset, expected)| format!("{dataset}|{sessions}|{rows}|{expected}|whole|final")),
        "{}",
        year.file
    );
    let flags = db.value(&format!(
        "SELECT coalesce(sum(flagged), 0) FROM ops.batches WHERE dataset = 'ohlcv' AND from_time = '{from}'"
    ));
    assert!(flags.parse::<usize>().unwrap() <= year.flags, "{}: {flags} flags", year.file);
}

fn codes(sheet: &Sheet) -> BTreeMap<String, &[String]> {
    // Later rows replace earlier ones: what is left is each name's last session.
    sheet.rows.iter().map(|row| (row[sheet.at("Code")].clone(), row.as_slice())).collect()
}

/// The tick of KOSPI and KOSDAQ since 2023-01-25.
fn tick(price: i128) -> i128 {
    let bands = [(2_000, 1), (5_000, 5), (20_000, 10), (50_000, 50), (200_000, 100), (500_000, 500)];
    bands.iter().find(|(below, _)| price < *below).map_or(1_000, |(_, tick)| *tick)
}

/// Adjusted prices of a year, by the file alone: each change of a base price is applied but for round-ups of half-tick
/// closes, and no return from one session to the next lies beyond the limits where the bar's own change does not.
fn compare_adjusted(db: &Db, sheet: &Sheet) {
    let sessions = sheet.sessions();
    let (from, to) = (&sessions[0], &sessions[sessions.len() - 1]);
    let before: BTreeMap<String, String> = db
        .rows(&format!(
            "SELECT time, prev_time FROM market.trading_days WHERE time BETWEEN '{from}' AND '{to}'"
        ))
        .iter()
        .map(|row| row.split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
        .collect();
    let (code, date) = (sheet.at("Code"), sheet.at("Date"));
    let closes: BTreeMap<(&str, &str), i128> =
        sheet.rows.iter().map(|r| ((r[code].as_str(), r[date].as_str()), sheet.number(r, "Close"))).collect();
    let (mut actions, mut round_ups, mut linked, mut beyond) = (Vec::new(), 0, 0, BTreeSet::new());
    for row in &sheet.rows {
        let (code, date, change) = (row[code].as_str(), row[date].as_str(), sheet.number(row, "Changes"));
        let base = sheet.number(row, "Close") - change;
        if (change.abs() * 1000) > base * (if row[sheet.at("Market")] == "KONEX" { 150 } else { 300 }) {
            beyond.insert(format!("{code}|{date}"));
        }
        let Some(close) = closes.get(&(code, before[date].as_str())) else { continue };
        linked += 1;
        let half_tick = date >= "2025-03-04"
            && close % tick(*close) != 0
            && base == close + tick(*close) - close % tick(*close);
        match base == *close {
            true => {}
            false if half_tick => round_ups += 1,
            false => actions.push(format!("{code}|{date}|{base}|{close}")),
        }
    }
    actions.sort();
    let of_year = format!("a.time BETWEEN '{from}' AND '{to}'");
    let found = format!(
        "SELECT stock_code, time, base_price, prev_close FROM market.corporate_actions a WHERE {of_year}"
    );
    assert_eq!(db.rows(&format!("{found} ORDER BY stock_code COLLATE \"C\", time")), actions);
    // The adjusted base price of a bar is the adjusted close of the bar before.
    let pairs = format!(
        "FROM market.trading_days d \
         JOIN market.ohlcv_daily_adjusted a ON a.time = d.time AND {of_year} \
         JOIN market.ohlcv_daily_adjusted b ON b.stock_code = a.stock_code AND b.time = d.prev_time \
              AND b.time BETWEEN '{from}' AND '{to}' AND b.chain_end IS NOT DISTINCT FROM a.chain_end"
    );
    assert_eq!(
        db.value(&format!(
            "SELECT count(*), count(*) FILTER (WHERE abs(a.base_price - b.close) > 1e-9 * b.close) {pairs}"
        )),
        format!("{linked}|{round_ups}")
    );
    let jumps = db.rows(&format!(
        "SELECT a.stock_code, a.time {pairs} \
         WHERE abs(a.close / b.close - 1) > CASE a.market WHEN 'KONEX' THEN 0.151 ELSE 0.301 END"
    ));
    let unexplained: Vec<_> = jumps.iter().filter(|jump| !beyond.contains(*jump)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// What each name is after its last session.
fn stocks(years: &[Year]) -> Vec<String> {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let end = years.last().unwrap();
    let (_, end_session) = end.range();
    for year in years {
        let sheet = &year.sheet;
        for (code, row) in codes(sheet) {
            let cell = |column| row[sheet.at(column)].as_str();
            let (market, segment) = match cell("Market") {
                "KOSDAQ GLOBAL" => ("KOSDAQ", "KOSDAQ GLOBAL"),
                market => (market, "-"),
            };
            let name = cell("Name");
            let kind = if !code.ends_with('0') {
                "PREFERRED"
            } else if name.contains("스팩")
                || name.contains("기업인수목적")
                || cell("Dept").starts_with("SPAC")
            {
                "SPAC"
            } else if market == "KOSPI" && name.contains("리츠") && !name.contains("메리츠") {
                "REIT"
            } else {
                "STOCK"
            };
            let active = if cell("Date") == end_session { "t" } else { "f" };
            let shares = sheet.number(row, "Stocks");
            last.insert(code.clone(), format!("{code}|{name}|{market}|{segment}|{kind}|{shares}|{active}"));
        }
    }
    last.into_values().collect()
}

fn arrive_whole_in_any_order(db: &Db, years: &[Year], other_order: Option<&[usize]>) {
    let link = |db: &Db| {
        for year in years {
            db.write(
                &format!("marcap/{}", Path::new(&year.file).file_name().unwrap().display()),
                std::fs::read(&year.file).unwrap(),
            );
        }
    };
    link(db);
    for year in years {
        bring(db, year);
    }
    for year in years {
        compare(db, year);
    }
    for year in years {
        compare_adjusted(db, &year.sheet);
    }
    let rows: usize = years.iter().map(|y| y.sheet.rows.len()).sum();
    assert_eq!(
        db.value(
            "SELECT (SELECT count(*) FROM market.ohlcv_daily), (SELECT count(*) \
             FROM market.market_cap_daily)"
        ),
        format!("{rows}|{rows}")
    );
    assert_eq!(db.value("SELECT (SELECT count(*) FROM ops.rejects), sum(rejected) FROM ops.batches"), "0|0");
    let found = db.rows(
        "SELECT stock_code, name, market, segment, security_type, listed_shares, \
         is_active FROM market.stocks ORDER BY stock_code COLLATE \"C\"",
    );
    let expected = stocks(years);
    let differing: Vec<_> = found
        .iter()
        .filter(|l| !expected.contains(l))
        .chain(expected.iter().filter(|l| !found.contains(l)))
        .take(10)
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");

    // The whole again writes nothing.
    let before = (db.writes(), db.value("SELECT count(*) FROM ops.revisions"));
    for year in years {
        let (from, to) = year.range();
        for dataset in DATASETS {
            let run = db.pipe(dataset, &from, &to);
            assert!(
                run.stdout.contains(" 0 inserted, 0 updated, ") && !run.stdout.contains("deleted"),
                "{run:#?}"
            );
        }
    }
    assert_eq!((db.writes(), db.value("SELECT count(*) FROM ops.revisions")), before);
    db.nothing_is_staged();

    let Some(other_order) = other_order else { return };
    let other = db.another();
    link(&other);
    for at in other_order {
        bring(&other, &years[*at]);
    }
    assert_eq!(other.production(), db.production());
}

fn fixtures_arrive_whole_in_any_order(db: &Db) {
    let years = [2024, 2026].map(|year| {
        let sheet = Sheet::fixture(year);
        let (name, bytes) = if year == 2024 {
            ("marcap-2024.csv.gz", sheet.csv_gz())
        } else {
            ("marcap-2026.parquet", sheet.parquet())
        };
        let file = db.write(&format!("files/{name}"), bytes).display().to_string();
        Year { file, sheet, flags: 2 }
    });
    arrive_whole_in_any_order(db, &years, Some(&[1, 0]));
    // Gone between the years, and said so.
    assert_eq!(
        db.value("SELECT stock_code, valid_from FROM market.stocks WHERE NOT is_active"),
        "100040|2026-01-02"
    );
}

fn real_years_arrive_whole_in_any_order(db: &Db) {
    static ENDED: Mutex<Option<Vec<String>>> = Mutex::new(None);
    let Some(folder) = real_data() else { return };
    let truth = std::fs::read_to_string(folder.join("truth_table.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
    let years = [("2022", "csv.gz"), ("2024", "csv.gz"), ("2026", "parquet")].map(|(year, ending)| {
        let file = folder.join(format!("marcap-{year}.{ending}"));
        let sheet = Sheet::read(&file);
        assert_eq!(
            (
                truth[year]["rows"].to_string(),
                truth[year]["trading dates"].to_string(),
                truth[year]["distinct codes"].to_string()
            ),
            (
                sheet.rows.len().to_string(),
                sheet.sessions().len().to_string(),
                codes(&sheet).len().to_string()
            )
        );
        let flags = sheet.rows.len() / 1000;
        Year { file: file.display().to_string(), sheet, flags }
    });
    // The other order takes its time: on one backend, and the other must end in the same state.
    arrive_whole_in_any_order(db, &years, (db.backend == "native").then_some(&[2, 0, 1]));
    let mut ended = ENDED.lock().unwrap();
    match ended.as_ref() {
        Some(before) => assert_eq!(*before, db.production()),
        None => *ended = Some(db.production()),
    }
}

/// Names without trades and one session left out, as in marcap's file of 2021; the sessions before and after whole.
fn no_false_gates(db: &Db, whole: &Sheet) {
    let sessions = whole.sessions();
    let (first, last) = (&sessions[0], &sessions[sessions.len() - 1]);
    let (gap, after) = (&sessions[sessions.len() / 2], &sessions[sessions.len() / 2 + 1]);
    let traded =
        whole.clone().keep(|sheet, row| sheet.number(row, "Volume") > 0 && row[sheet.at("Date")] != *gap);
    db.write("marcap/marcap-2024.csv.gz", traded.csv_gz());
    for dataset in DATASETS {
        let run = db.pipe(dataset, first, last);
        assert!(run.stderr.contains("no data for 1 of "), "{run:#?}");
        assert_eq!(
            db.kdata(&format!("due {dataset} --date {last} --sessions {}", sessions.len())).ok(),
            format!("{gap}\n"),
            "{dataset}"
        );
    }
    assert_eq!(db.rows("SELECT DISTINCT names FROM market.session_status"), ["traded"]);
    assert_eq!(db.value("SELECT count(*) FROM market.stocks WHERE NOT is_active"), "0");
    assert_eq!(
        db.value("SELECT count(*) FROM ops.flags WHERE severity = 'gate' OR rule LIKE '%.name_is_gone'"),
        "0"
    );
    assert_eq!(
        db.rows(&format!(
            "SELECT dataset, severity, count(*) FROM ops.flags WHERE time = '{gap}' \
             AND rule = 'source.missing' GROUP BY 1, 2 ORDER BY 1"
        )),
        ["market-cap|missing|1", "ohlcv|missing|1", "stocks|missing|1"]
    );
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily"), traded.rows.len().to_string());
    // Every rule that was noted can be explained.
    for rule in db.rows("SELECT DISTINCT rule FROM ops.flags") {
        db.kdata(&format!("explain {rule}")).ok();
    }
    compare_adjusted(db, &traded);
    // No action is concluded across the gap.
    assert_eq!(
        db.value(&format!("SELECT count(*) FROM market.corporate_actions WHERE time = '{after}'")),
        "0"
    );

    // Whole sessions between traded ones, and the other way round: no gate either.
    let mixed = db.another();
    mixed.write("marcap/marcap-2024.csv.gz", whole.csv_gz());
    mixed.pipe("stocks", first, first);
    mixed.pipe("ohlcv", first, first);
    mixed.write("marcap/marcap-2024.csv.gz", traded.csv_gz());
    mixed.pipe("stocks", &sessions[1], &sessions[1]);
    mixed.pipe("ohlcv", &sessions[1], &sessions[1]);
    mixed.write("marcap/marcap-2024.csv.gz", whole.csv_gz());
    mixed.pipe("stocks", &sessions[2], &sessions[2]);
    mixed.pipe("ohlcv", &sessions[2], &sessions[2]);
    // Gone are those that the two whole masters tell of.
    let listed = |session: &String| {
        let of_session = whole.clone().keep(|sheet, row| row[sheet.at("Date")] == *session);
        codes(&of_session).into_keys().collect::<BTreeSet<_>>()
    };
    let gone: Vec<_> = listed(first).difference(&listed(&sessions[2])).cloned().collect();
    assert_eq!(mixed.rows("SELECT stock_code FROM market.stocks WHERE NOT is_active ORDER BY 1"), gone);
}

fn a_file_of_traded_names_raises_no_false_gates(db: &Db) {
    no_false_gates(
        db,
        &Sheet::market(
            240,
            &["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"],
        ),
    );
}

fn a_real_file_of_traded_names_raises_no_false_gates(db: &Db) {
    let Some(folder) = real_data() else { return };
    no_false_gates(db, &Sheet::read(&folder.join("marcap-2024.csv.gz")));
}
