//! `session_status`: whatever came in whatever order, it tells what production holds.

use std::collections::BTreeSet;

use crate::promote::{SESSIONS, turbulent};
use crate::support::{DATASETS, Db, Made, Sheet, on_both_backends, reseal};

on_both_backends! {
    it_tells_what_production_holds_in_any_order
    a_lesser_claim_unmakes_nothing
    a_list_fills_up_a_session
    finality_is_that_of_the_least_final_row
    bars_tell_who_should_have_traded
}

fn show(db: &Db, sheet: &Sheet) {
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
}

fn status(db: &Db) -> Vec<String> {
    db.rows(
        "SELECT dataset, time, rows, expected, missing, names, finality FROM market.session_status \
         ORDER BY dataset, time",
    )
}

/// The names of a session.
fn names(sheet: &Sheet, session: &str) -> BTreeSet<String> {
    let of_session = sheet.rows.iter().filter(|row| row[sheet.at("Date")] == session);
    of_session.map(|row| row[sheet.at("Code")].clone()).collect()
}

/// What the status must be of these sessions, all of them whole, by the sheet alone.
fn model(sheet: &Sheet, loaded: &[(&str, usize, usize)]) -> Vec<String> {
    let of = |dataset: &str| -> BTreeSet<&str> {
        let ranges = loaded.iter().filter(|(d, ..)| *d == dataset);
        ranges.flat_map(|(_, from, to)| &SESSIONS[*from..=*to]).copied().collect()
    };
    let masters = of("stocks");
    let mut lines = Vec::new();
    for dataset in ["market-cap", "ohlcv", "stocks"] {
        for session in of(dataset) {
            let rows = names(sheet, session);
            let master = masters.range(..=session).next_back().filter(|_| dataset != "stocks");
            let measured = master.map_or("-|-".to_owned(), |master| {
                let listed = names(sheet, master);
                format!("{}|{}", listed.len(), listed.difference(&rows).count())
            });
            lines.push(format!("{dataset}|{session}|{}|{measured}|whole|final", rows.len()));
        }
    }
    lines
}

fn it_tells_what_production_holds_in_any_order(db: &Db) {
    let sheet = turbulent();
    // Masters of some sessions only; bars and caps before them, between them, after them.
    let orders: [&[(&str, usize, usize)]; 3] = [
        &[("ohlcv", 0, 4), ("market-cap", 1, 3), ("stocks", 4, 4), ("stocks", 0, 0), ("stocks", 2, 2)],
        &[("stocks", 2, 2), ("ohlcv", 3, 4), ("ohlcv", 0, 2), ("stocks", 3, 3), ("stocks", 0, 1)],
        &[("stocks", 0, 0), ("stocks", 3, 4), ("market-cap", 0, 4), ("stocks", 1, 2), ("ohlcv", 1, 3)],
    ];
    for (at, order) in orders.iter().enumerate() {
        let another = (at > 0).then(|| db.another());
        let db = another.as_ref().unwrap_or(db);
        show(db, &sheet);
        for (done, (dataset, from, to)) in order.iter().enumerate() {
            db.pipe(dataset, SESSIONS[*from], SESSIONS[*to]);
            assert_eq!(status(db), model(&sheet, &order[..=done]), "{order:?}, {done}");
        }
        let before = db.writes();
        for (dataset, from, to) in *order {
            db.pipe(dataset, SESSIONS[*from], SESSIONS[*to]);
        }
        assert_eq!(db.writes(), before, "{order:?}");
        // And back: those that changed nothing first.
        let batches = db.rows("SELECT batch_id FROM ops.batches ORDER BY 1 DESC");
        for (undone, batch) in batches.iter().enumerate() {
            db.kdata(&format!("rollback {batch}")).ok();
            let left = order.len().min(batches.len() - undone - 1);
            assert_eq!(status(db), model(&sheet, &order[..left]), "{order:?}, {batch}");
        }
    }
}

fn a_lesser_claim_unmakes_nothing(db: &Db) {
    let whole = Sheet::fixture(2024);
    let traded = whole.clone().keep(|sheet, row| sheet.number(row, "Volume") > 0);
    let bring = |db: &Db, sheet: &Sheet| {
        show(db, sheet);
        for dataset in DATASETS {
            db.pipe(dataset, SESSIONS[0], SESSIONS[4]);
        }
    };
    bring(db, &whole);
    let before = (status(db), db.writes());
    assert!(
        before.0.iter().all(|line| line.ends_with("|12|0|whole|final") || line.contains("|12|-|-|whole|"))
    );
    bring(db, &traded);
    assert_eq!((status(db), db.writes()), before);
    // Backwards: what is whole stays whole, and what comes whole becomes it.
    let other = db.another();
    bring(&other, &traded);
    assert!(status(&other).iter().all(|line| line.ends_with("|traded|final")));
    bring(&other, &whole);
    assert_eq!(status(&other), before.0);
    bring(&other, &traded);
    assert_eq!((status(&other), other.production()), (before.0, db.production()));
    // A changed price in a file of traded names arrives, and the session stays whole.
    bring(db, &traded.reprice("000010", SESSIONS[4], 69_900));
    assert_eq!(status(db), status(&other));
    assert_eq!(
        db.value("SELECT close FROM market.ohlcv_daily WHERE stock_code = '000010' AND time = '2024-01-08'"),
        "69900"
    );
}

fn a_list_fills_up_a_session(db: &Db) {
    let sheet = Sheet::fixture(2024);
    show(db, &sheet);
    db.pipe("stocks", SESSIONS[0], SESSIONS[3]);
    let without = |codes: [&str; 2]| {
        sheet.clone().keep(|sheet, row| {
            row[sheet.at("Date")] != SESSIONS[4] || !codes.contains(&row[sheet.at("Code")].as_str())
        })
    };
    show(db, &without(["000040", "000030"]));
    for dataset in ["ohlcv", "market-cap"] {
        db.pipe(dataset, SESSIONS[4], SESSIONS[4]);
    }
    let of = |dataset: &str| {
        db.value(&format!(
            "SELECT rows, expected, missing, names, batch_id FROM market.session_status \
             WHERE dataset = '{dataset}' AND time = '2024-01-08'"
        ))
    };
    let before = (of("ohlcv"), db.production_to_the_letter());
    assert!(before.0.starts_with("10|12|2|whole|"), "{before:?}");
    show(db, &sheet);
    let fill = |codes: &str| {
        let extract = format!("kdata extract ohlcv --date 2024-01-08 --codes {codes}");
        db.sh(&format!("{extract} | kdata validate | kdata load && kdata promote")).ok();
        db.value("SELECT max(batch_id) FROM ops.batches")
    };
    let one = fill("000040,000010");
    assert_eq!(of("ohlcv"), before.0.replacen("10|12|2", "11|12|1", 1));
    let two = fill("000030");
    assert_eq!(of("ohlcv"), before.0.replacen("10|12|2", "12|12|0", 1));
    let after = db.writes();
    fill("000010,000040,000030");
    assert_eq!(db.writes(), after);
    // What was filled up stands on what was there.
    let first = before.0.rsplit('|').next().unwrap();
    db.kdata(&format!("rollback {first}")).fails(5, &["roll batch", "back first"]);
    db.kdata(&format!("rollback {}", two.parse::<u32>().unwrap() + 1)).ok();
    db.kdata(&format!("rollback {two}")).ok();
    assert_eq!(of("ohlcv"), before.0.replacen("10|12|2", "11|12|1", 1));
    db.kdata(&format!("rollback {first}")).fails(5, &[&format!("roll batch {one} back first")]);
    db.kdata(&format!("rollback {one}")).ok();
    assert_eq!((of("ohlcv"), db.production_to_the_letter()), before);
    // A master of some names over a whole one, and one name more in it.
    show(db, &without(["000040", "000040"]));
    let master = db.load(&db.validated("stocks", SESSIONS[4], SESSIONS[4]));
    db.kdata(&format!("promote --batch {master} --force")).ok();
    assert!(of("stocks").starts_with("11|-|-|whole|") && of("ohlcv").starts_with("10|11|1|whole|"));
    show(db, &sheet);
    db.sh("kdata extract stocks --date 2024-01-08 --codes 000040 | kdata validate | kdata load && kdata promote")
        .ok();
    assert!(of("stocks").starts_with("12|-|-|whole|"), "{}", of("stocks"));
    assert!(of("ohlcv").starts_with("10|12|2|whole|") && of("market-cap").starts_with("10|12|2|whole|"));
}

fn finality_is_that_of_the_least_final_row(db: &Db) {
    show(db, &Sheet::fixture(2024));
    let day = SESSIONS[4];
    let bring = |codes: &str, finality: &str, force: bool| {
        let codes = if codes.is_empty() { String::new() } else { format!("--codes {codes}") };
        let extract = format!("kdata extract ohlcv --date {day} {codes} | kdata validate");
        let stream = db.sh(&extract).ok().replacen("finality=final", &format!("finality={finality}"), 1);
        let stream = if force { stream.replace(",KOSPI,STOCK", ",KOSPI,PREFERRED") } else { stream };
        let batch = db.load(&reseal(&stream));
        db.kdata(&format!("promote --batch {batch} {}", if force { "--force" } else { "" })).ok();
        db.value("SELECT rows || ' ' || names || ' ' || finality FROM market.session_status")
    };
    assert_eq!(bring("000010,000020", "provisional", false), "2 list provisional");
    assert_eq!(bring("000010", "final", false), "2 list provisional");
    assert_eq!(bring("000010,000020", "final", false), "2 list final");
    assert_eq!(bring("000030", "provisional", true), "3 list provisional");
    assert_eq!(bring("", "provisional", true), "12 whole provisional");
    assert_eq!(bring("000010", "final", false), "12 whole provisional");
    assert_eq!(bring("", "final", false), "12 whole final");
    // Final data that were replaced by force are final no more.
    assert_eq!(bring("000010", "provisional", true), "12 whole provisional");
    assert_eq!(db.kdata(&format!("due ohlcv --date {day} --sessions 1")).ok(), format!("{day}\n"));
    let last = db.value("SELECT max(batch_id) FROM ops.batches");
    db.kdata(&format!("rollback {last}")).ok();
    assert_eq!(db.kdata(&format!("due ohlcv --date {day} --sessions 1")).ok(), "");
}

/// Who trades minutes and who is bought is measured by the bars of the session, whichever came first.
fn bars_tell_who_should_have_traded(db: &Db) {
    show(db, &Sheet::fixture(2024));
    let day = SESSIONS[4];
    db.pipe("stocks", day, day);
    let minutes = Made {
        dataset: "ohlcv-minute",
        header: "stock_code,time,open,high,low,close,volume,value",
        range: (day, day),
        says: Vec::new(),
    };
    let row = "000010,2024-01-08T09:00:00+09:00,70000,70000,70000,70000,1,70000";
    db.load(&db.feed("validate", minutes.stream(&[row]).as_bytes()).ok());
    db.kdata("promote").ok();
    let of_minutes =
        "SELECT rows, expected, missing FROM market.session_status WHERE dataset = 'ohlcv-minute'";
    assert_eq!(db.value(of_minutes), "1|12|11");
    // One of the twelve had no trade.
    db.pipe("ohlcv", day, day);
    assert_eq!(db.value(of_minutes), "1|11|10");
    let bars = db.value("SELECT max(batch_id) FROM ops.batches");
    db.kdata(&format!("rollback {bars}")).ok();
    assert_eq!(db.value(of_minutes), "1|12|11");
}
