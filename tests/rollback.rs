//! rollback: production stands as it stood, to the letter.

use crate::support::{DATASETS, Db, Sheet, on_both_backends};

on_both_backends! {
    a_staged_batch_is_dropped
    a_promoted_batch_is_undone_to_the_letter
    what_a_later_batch_built_on_stays
    masters_are_undone_in_the_reverse_order
    rows_found_equal_are_built_upon
    what_cannot_be_undone_is_told
}

const FROM: &str = "2024-01-02";
const TO: &str = "2024-01-08";

fn show(db: &Db, sheet: &Sheet) {
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
}

/// Stages and promotes; returns the batch.
fn promoted(db: &Db, dataset: &str, from: &str, to: &str) -> String {
    let batch = db.load(&db.validated(dataset, from, to));
    db.kdata(&format!("promote --batch {batch}")).ok();
    batch
}

fn a_staged_batch_is_dropped(db: &Db) {
    show(db, &Sheet::fixture(2024));
    promoted(db, "ohlcv", FROM, "2024-01-05");
    let before = db.production_to_the_letter();
    let batch = db.load(&db.validated("ohlcv", TO, TO));
    assert_eq!(
        db.kdata(&format!("rollback {batch}")).ok(),
        format!("batch {batch} was staged and is dropped\n")
    );
    assert_eq!(db.production_to_the_letter(), before);
    db.nothing_is_staged();
    assert_eq!(db.value(&format!("SELECT state FROM ops.batches WHERE batch_id = {batch}")), "discarded");
    db.kdata(&format!("promote --batch {batch}")).fails(2, &["it is discarded"]);
}

fn a_promoted_batch_is_undone_to_the_letter(db: &Db) {
    let sheet = Sheet::fixture(2024);
    show(db, &sheet);
    db.kdata("db migrate").ok();
    let empty = db.production_to_the_letter();
    let first: Vec<_> = DATASETS.iter().map(|dataset| promoted(db, dataset, FROM, "2024-01-05")).collect();
    let before = db.production_to_the_letter();
    // New sessions, changed rows, a changed split, a moved name: over sessions that are there and one that is not.
    let changed = sheet
        .reprice("000010", "2024-01-05", 70_100)
        .reprice("000020", "2024-01-04", 50_000)
        .set("100010", "2024-01-05", "Market", "KOSDAQ GLOBAL")
        .set("100010", TO, "Market", "KOSDAQ GLOBAL")
        .set("100020", "2024-01-03", "Name", "옛이름");
    show(db, &changed);
    let second: Vec<_> = DATASETS.iter().map(|dataset| promoted(db, dataset, "2024-01-03", TO)).collect();
    let after = db.production();
    let touched = |table: &&String| !table.contains("|0|");
    assert!(
        before.iter().filter(touched).all(|table| !db.production_to_the_letter().contains(table)),
        "every table changed"
    );
    for batch in second.iter().rev() {
        let told = db.kdata(&format!("rollback {batch}")).ok();
        assert!(told.starts_with(&format!("batch {batch} is rolled back: ")), "{told}");
        assert_eq!(
            db.value(&format!("SELECT state FROM ops.batches WHERE batch_id = {batch}")),
            "rolled_back"
        );
    }
    assert_eq!(db.production_to_the_letter(), before);
    // Forward again: the same as the first time.
    for dataset in DATASETS {
        promoted(db, dataset, "2024-01-03", TO);
    }
    assert_eq!(db.production(), after);
    for batch in db.rows("SELECT batch_id FROM ops.batches WHERE state = 'promoted' ORDER BY 1 DESC") {
        db.kdata(&format!("rollback {batch}")).ok();
    }
    assert_eq!(db.production_to_the_letter(), empty);
    assert_eq!(first.len(), 3);
}

fn what_a_later_batch_built_on_stays(db: &Db) {
    let sheet = Sheet::fixture(2024);
    show(db, &sheet);
    for dataset in ["ohlcv", "market-cap"] {
        let first = promoted(db, dataset, FROM, TO);
        show(db, &sheet.clone().reprice("000010", TO, 69_900));
        let second = promoted(db, dataset, TO, TO);
        let both = db.production_to_the_letter();
        db.kdata(&format!("rollback {first}"))
            .fails(5, &[&format!("batch {second} changed"), &format!("roll batch {second} back first")]);
        assert_eq!(db.production_to_the_letter(), both, "{dataset}");
        db.kdata(&format!("rollback {second}")).ok();
        db.kdata(&format!("rollback {first}")).ok();
        show(db, &sheet);
    }
    assert_eq!(
        db.value(
            "SELECT (SELECT count(*) FROM market.ohlcv_daily) + (SELECT count(*) \
             FROM market.market_cap_daily) + (SELECT count(*) FROM market.session_status)"
        ),
        "0"
    );
}

fn masters_are_undone_in_the_reverse_order(db: &Db) {
    let sheet = Sheet::fixture(2024).set("000010", "2024-01-04", "Name", "가나전자홀딩스");
    show(db, &sheet);
    db.kdata("db migrate").ok();
    let mut before = Vec::new();
    // An older master in between fills history under a newer one.
    for (from, to) in
        [("2024-01-03", "2024-01-03"), ("2024-01-05", TO), ("2024-01-04", "2024-01-04"), (FROM, FROM)]
    {
        before.push(db.production_to_the_letter());
        promoted(db, "stocks", from, to);
    }
    let batches = db.rows("SELECT batch_id FROM ops.batches ORDER BY 1 DESC");
    for (batch, state) in batches.iter().zip(before.iter().rev()) {
        db.kdata(&format!("rollback {batch}")).ok();
        assert_eq!(db.production_to_the_letter(), *state, "{batch}");
    }
}

fn rows_found_equal_are_built_upon(db: &Db) {
    show(db, &Sheet::fixture(2024));
    // Later masters changed nothing, and stand on the first; so do the same bars once more.
    let masters = [("2024-01-02", "2024-01-02"), ("2024-01-03", "2024-01-04")];
    let bars = [(FROM, "2024-01-04"), ("2024-01-04", TO)];
    for (dataset, ranges) in [("stocks", masters), ("ohlcv", bars)] {
        let [first, second] = ranges.map(|(from, to)| promoted(db, dataset, from, to));
        let both = db.production_to_the_letter();
        let says = [format!("batch {second} built on its rows"), format!("roll batch {second} back first")];
        db.kdata(&format!("rollback {first}")).fails(5, &says.each_ref().map(String::as_str));
        assert_eq!(db.production_to_the_letter(), both, "{dataset}");
        db.kdata(&format!("rollback {second}")).ok();
        db.kdata(&format!("rollback {first}")).ok();
        let runs =
            "SELECT state, exit_code FROM ops.runs WHERE command = 'rollback' ORDER BY run_id DESC LIMIT 3";
        assert_eq!(db.rows(runs), ["ok|0", "ok|0", "failed|5"], "{dataset}");
    }
    // Bars of other sessions do not build on it.
    let first = promoted(db, "ohlcv", FROM, "2024-01-03");
    promoted(db, "ohlcv", "2024-01-04", TO);
    assert!(db.kdata(&format!("rollback {first}")).ok().contains("24 rows removed"));
}

fn what_cannot_be_undone_is_told(db: &Db) {
    show(db, &Sheet::fixture(2024));
    db.kdata("rollback 1").fails(2, &["there is no batch 1", "nothing was loaded yet"]);
    let batch = promoted(db, "ohlcv", FROM, TO);
    db.kdata("rollback 999").fails(2, &["there is no batch 999", "kdata runs"]);
    db.kdata(&format!("rollback {batch}")).ok();
    db.kdata(&format!("rollback {batch}")).fails(2, &["is rolled_back: nothing to undo"]);
    db.kdata("rollback").fails(2, &["BATCH"]);
}
