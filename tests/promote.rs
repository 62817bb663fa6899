//! promote: what reaches production, what is held, and what is kept of what stood there before.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::datasets::made;
use crate::support::{DATASETS, Db, KDATA, Made, Sheet, Stream, on_both_backends, reseal};

on_both_backends! {
    a_dry_run_changes_nothing
    gates_hold_a_batch
    both_seams_of_a_session_are_judged
    forged_rows_get_no_further
    the_same_is_remarked_in_any_order
    a_master_that_loses_names_is_held
    changed_rows_leave_revisions
    worse_data_do_not_replace_better
    closes_of_the_evening_wait_for_the_morning
    a_source_that_does_not_know_takes_nothing_away
    masters_go_first_and_a_held_batch_stops_no_other
    masters_come_in_any_order
    corporate_actions_are_told_from_half_ticks
    promotes_at_once_do_the_work_once
    a_promote_waits_for_another
    a_killed_promote_changes_nothing
    an_emptied_table_is_filled_as_fast_as_a_new_one
    what_is_not_staged_is_told
    a_list_of_codes_claims_nothing_else
}

pub const SESSIONS: [&str; 5] = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"];
const NAMES: usize = 240;

/// Makes a sheet the only yearly file.
fn show(db: &Db, sheet: &Sheet) {
    db.write("marcap/marcap-2024.csv.gz", sheet.csv_gz());
}

fn market() -> Sheet {
    Sheet::market(NAMES, &SESSIONS)
}

/// The whole fixture in production.
fn fixture(db: &Db) {
    show(db, &Sheet::fixture(2024));
    for dataset in DATASETS {
        db.pipe(dataset, "2024-01-02", "2024-01-08");
    }
}

fn a_dry_run_changes_nothing(db: &Db) {
    fixture(db);
    let changed = Sheet::fixture(2024).reprice("000010", "2024-01-08", 69_900).without("Code", "100050");
    show(db, &changed);
    for dataset in DATASETS {
        db.load(&db.validated(dataset, "2024-01-08", "2024-01-08"));
    }
    let all = || {
        (
            db.versions(),
            db.rows(
                "SELECT (SELECT count(*) FROM ops.runs), (SELECT count(*) \
                 FROM ops.flags), (SELECT count(*) FROM ops.revisions), md5(array_agg(b \
                 ORDER BY batch_id)::text) FROM ops.batches b",
            ),
        )
    };
    let before = all();
    let run = db.kdata("promote --dry-run");
    // The master without a name of twelve is held; the others are shown all the same.
    assert!(run.stdout.contains("(dry run): 11 rows: 0 inserted, 1 updated, 10 unchanged"), "{run:#?}");
    run.fails(3, &["stocks.few_are_delisted"]);
    assert_eq!(all(), before);
}

/// Loads a session, sees it held by a gate, and checks that production did not change.
#[track_caller]
fn is_held(db: &Db, dataset: &str, session: &str, rule: &str) -> String {
    let before = (db.production_to_the_letter(), db.writes());
    let batch = db.load(&db.validated(dataset, session, session));
    let run = db.kdata("promote");
    assert_eq!(run.code, 3, "{dataset} {rule}: {run:#?}");
    run.fails(
        3,
        &[rule, &format!("kdata promote --batch {batch} --force"), &format!("kdata rollback {batch}")],
    );
    assert_eq!((db.production_to_the_letter(), db.writes()), before, "{dataset} {rule}");
    // Asked again, it says the same again, and keeps it once.
    let remarks = format!(
        "SELECT severity, rule, stock_code, time, message FROM ops.flags \
         WHERE batch_id = {batch} ORDER BY 1, 2, 3, 4, 5"
    );
    let told = db.rows(&remarks);
    assert_eq!(db.kdata("promote").code, 3);
    assert_eq!(db.rows(&remarks), told);
    let problem = db.value(&format!("SELECT state, problem FROM ops.batches WHERE batch_id = {batch}"));
    assert!(problem.starts_with("staged|") && problem.contains(rule), "{problem}");
    let gates = format!("SELECT DISTINCT rule FROM ops.flags WHERE batch_id = {batch} AND severity = 'gate'");
    assert!(db.rows(&gates).contains(&rule.to_owned()), "{dataset} {rule}");
    db.kdata(&format!("explain {rule}")).ok();
    batch
}

fn gates_hold_a_batch(db: &Db) {
    let whole = market();
    show(db, &whole);
    db.pipe("stocks", "2024-01-02", "2024-01-08");
    for dataset in ["ohlcv", "market-cap"] {
        db.pipe(dataset, "2024-01-02", "2024-01-03");
    }
    let half = whole.clone().keep(|sheet, row| row[sheet.at("Code")].as_bytes()[4] % 2 == 0);
    let strangers = |count: usize| {
        (1..=count).fold(whole.clone(), |sheet, name| {
            sheet.set(&format!("{:05}0", name * 7), "2024-01-04", "Code", &format!("9{name:04}0"))
        })
    };
    for (sheet, datasets, rule) in [
        (whole.clone().without("Market", "KONEX"), &["ohlcv"][..], "market_is_whole"),
        (half, &["ohlcv", "market-cap"], "market_is_whole"),
        (whole.clone().copy_session("2024-01-03", "2024-01-04"), &["ohlcv", "market-cap"], "session_is_new"),
        (strangers(4), &["ohlcv", "market-cap"], "code_is_known"),
        // As if of the first session: its base prices are not the closes before.
        (Sheet::market(NAMES, &["2024-01-04"]), &["ohlcv"], "bases_follow_closes"),
    ] {
        show(db, &sheet);
        for dataset in datasets {
            let batch = is_held(db, dataset, "2024-01-04", &format!("{dataset}.{rule}"));
            db.kdata(&format!("rollback {batch}")).ok();
            db.nothing_is_staged();
        }
    }
    // Over the gate, once someone has looked; and back.
    show(db, &whole.clone().copy_session("2024-01-03", "2024-01-04"));
    let before = db.production_to_the_letter();
    let batch = is_held(db, "ohlcv", "2024-01-04", "ohlcv.session_is_new");
    let run = db.kdata(&format!("promote --batch {batch} --force"));
    assert!(run.stderr.contains("went over a gate: ohlcv.session_is_new"), "{run:#?}");
    assert!(run.ok().contains("240 inserted"));
    assert_eq!(db.value("SELECT count(*) FROM market.ohlcv_daily WHERE time = '2024-01-04'"), "240");
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(db.production_to_the_letter(), before);
    // Two strangers of 240 are flagged, and hold nothing. Nor does the true session.
    show(db, &strangers(2));
    let run = db.pipe("ohlcv", "2024-01-04", "2024-01-04");
    assert!(run.stdout.contains("240 inserted") && run.stdout.contains("2 flagged"), "{run:#?}");
    show(db, &whole);
    for dataset in ["ohlcv", "market-cap"] {
        db.pipe(dataset, "2024-01-05", "2024-01-08");
    }
    assert_eq!(
        db.value(
            "SELECT count(*) FROM ops.flags f JOIN ops.batches b USING (batch_id) \
             WHERE severity = 'gate' AND b.state = 'promoted'"
        ),
        "0"
    );
}

/// Rows that no validate lets through, in streams whose counts and checksum are right.
const FORGED: &[(&str, &str, &str, &str)] = &[
    ("stocks", "000010,", "00001a,", "stock_history_code"),
    ("stocks", ",KOSPI,", ",NASDAQ,", "stock_history_market"),
    ("stocks", ",REIT,", ",FUND,", "stock_history_security_type"),
    ("stocks", ",5000000\n", ",0\n", "stock_history_shares"),
    ("stocks", ",가나전자,", ",,", "null value in column \"name\""),
    ("ohlcv", "000010,", "00010,", "ohlcv_daily_code"),
    ("ohlcv", ",KOSPI,STOCK", ",KOSPI GLOBAL,STOCK", "ohlcv_daily_market"),
    ("ohlcv", ",KOSPI,STOCK", ",KOSPI,stock", "ohlcv_daily_security_type"),
    ("ohlcv", "2024-01-05,70000,", "2024-01-05,-70000,", "ohlcv_daily_bar"),
    ("ohlcv", "2024-01-05,70000,", "2024-01-05,,", "ohlcv_daily_bar"),
    ("ohlcv", "2024-01-05,70000,", "2024-01-05,90000,", "ohlcv_daily_bar"),
    ("ohlcv", ",,,,895,0,0,895,", ",,,,895,0,7,895,", "ohlcv_daily_bar"),
    ("ohlcv", ",,,,895,0,0,895,", ",,,,0,0,0,895,", "ohlcv_daily_prices"),
    ("market-cap", "000010,", "AAPL,", "market_cap_daily_code"),
    ("market-cap", ",5000000\n", ",-5000000\n", "market_cap_daily_counts"),
];

fn forged_rows_get_no_further(db: &Db) {
    fixture(db);
    let stream = |dataset: &str| db.validated(dataset, "2024-01-05", "2024-01-08");
    let of = DATASETS.map(|dataset| (dataset, stream(dataset)));
    let before = (db.production_to_the_letter(), db.versions());
    for (dataset, from, to, guard) in FORGED {
        let good = &of.iter().find(|(d, _)| d == dataset).unwrap().1;
        assert!(good.contains(from), "{from}: {good}");
        let batch = db.load(&reseal(&good.replacen(from, to, 1)));
        let drops = format!("kdata rollback {batch}");
        let says = [*guard, "was changed after `kdata validate`", drops.as_str()];
        // Over every gate.
        db.kdata(&format!("promote --batch {batch} --force")).fails(5, &says);
        assert_eq!((db.production_to_the_letter(), db.versions()), before, "{to}");
        db.kdata(&format!("rollback {batch}")).ok();
    }
    // What is no number does not even reach the staging.
    let text = reseal(&of[1].1.replacen("2024-01-05,70000,", "2024-01-05,7e4,", 1));
    db.feed("load", text.as_bytes()).fails(5, &["does not read: 000010,2024-01-05,7e4,", "changed after"]);
    db.nothing_is_staged();
}

/// A session may come after the one that follows it.
fn both_seams_of_a_session_are_judged(db: &Db) {
    let whole = market();
    let half = whole.clone().keep(|sheet, row| row[sheet.at("Code")].as_bytes()[4] % 2 == 0);
    show(db, &whole);
    db.pipe("stocks", "2024-01-02", "2024-01-08");
    for dataset in ["ohlcv", "market-cap"] {
        db.pipe(dataset, "2024-01-05", "2024-01-08");
    }
    for (sheet, rule) in [
        (half, "market_is_whole"),
        (whole.clone().copy_session("2024-01-05", "2024-01-04"), "session_is_new"),
    ] {
        show(db, &sheet);
        for dataset in ["ohlcv", "market-cap"] {
            let rule = format!("{dataset}.{rule}");
            let batch = is_held(db, dataset, "2024-01-04", &rule);
            let gates = "SELECT DISTINCT time, message FROM ops.flags WHERE severity = 'gate' AND rule = ";
            let gates = db.rows(&format!("{gates}'{rule}' AND batch_id = {batch}"));
            // What is held together with what stands in production.
            assert!(!gates.is_empty() && gates.iter().all(|g| g.starts_with("2024-01-05|")), "{gates:?}");
            assert!(
                gates.iter().all(|g| g.contains("2024-01-04") && g.contains("on 2024-01-05")),
                "{gates:?}"
            );
            db.kdata(&format!("rollback {batch}")).ok();
        }
    }
    // A master that lacks half of the names, before one that is whole.
    let masters = db.another();
    show(&masters, &whole);
    masters.pipe("stocks", "2024-01-05", "2024-01-08");
    show(&masters, &whole.clone().without("Market", "KOSDAQ"));
    is_held(&masters, "stocks", "2024-01-04", "stocks.market_is_whole");
    // One market of a session tells nothing of the others, on either side.
    let names = "SELECT count(*) FROM ops.flags WHERE rule LIKE '%.name_is_%'";
    let before = db.value(names);
    show(db, &whole);
    for dataset in ["ohlcv", "market-cap"] {
        for day in ["2024-01-04", "2024-01-09"] {
            let day_before = whole.clone().copy_session("2024-01-08", "2024-01-09");
            show(db, if day == "2024-01-04" { &whole } else { &day_before });
            let extract = format!("kdata extract {dataset} --date {day} --market KOSPI");
            db.sh(&format!("{extract} | kdata validate | kdata load")).ok();
            let run = db.kdata("promote");
            assert!(!(run.stdout + &run.stderr).contains("market_is_whole"));
            let batch = db.value("SELECT max(batch_id) FROM ops.batches");
            db.kdata(&format!("rollback {batch}")).ok();
        }
    }
    assert_eq!(db.value(names), before);
    show(db, &whole);
    for dataset in ["ohlcv", "market-cap"] {
        db.pipe(dataset, "2024-01-04", "2024-01-04");
        db.pipe(dataset, "2024-01-02", "2024-01-03");
    }
}

fn the_same_is_remarked_in_any_order(db: &Db) {
    let sheet = turbulent();
    let mut ended = None;
    for (at, order) in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3, 0, 4, 2]].iter().enumerate() {
        let another = (at > 0).then(|| db.another());
        let db = another.as_ref().unwrap_or(db);
        show(db, &sheet);
        db.pipe("stocks", SESSIONS[0], SESSIONS[4]);
        for session in order {
            for dataset in ["ohlcv", "market-cap"] {
                db.pipe(dataset, SESSIONS[*session], SESSIONS[*session]);
            }
        }
        let remarks = db.rows(
            "SELECT severity, rule, stock_code, time, message FROM ops.flags \
             WHERE dataset <> 'stocks' AND rule <> 'source.missing' ORDER BY 1, 2, 3, 4",
        );
        for rule in
            ["ohlcv.name_is_gone", "ohlcv.name_is_new", "market-cap.name_is_gone", "market-cap.name_is_new"]
        {
            assert!(remarks.iter().any(|r| r.contains(rule)), "{rule}: {remarks:#?}");
        }
        assert_eq!(remarks, *ended.get_or_insert_with(|| remarks.clone()), "{order:?}");
    }
}

fn a_master_that_loses_names_is_held(db: &Db) {
    show(db, &market());
    db.pipe("stocks", "2024-01-02", "2024-01-03");
    let gone = |count: usize| {
        market().keep(move |sheet, row| {
            row[sheet.at("Date")].as_str() < "2024-01-04"
                || sheet.number(row, "Stocks") >= 1_000_000 + i128::try_from(count).unwrap()
        })
    };
    // 1 % of 240, and a little for the session that passed.
    show(db, &gone(3));
    is_held(db, "stocks", "2024-01-04", "stocks.few_are_delisted");
    show(db, &market().without("Market", "KOSPI"));
    let batch = is_held(db, "stocks", "2024-01-05", "stocks.market_is_whole");
    for held in db.rows("SELECT batch_id FROM ops.batches WHERE state = 'staged'") {
        db.kdata(&format!("rollback {held}")).ok();
    }
    assert!(!batch.is_empty());
    show(db, &gone(2));
    db.pipe("stocks", "2024-01-04", "2024-01-04");
    assert_eq!(
        db.rows("SELECT stock_code, valid_from FROM market.stocks WHERE NOT is_active ORDER BY 1"),
        ["000010|2024-01-04", "000020|2024-01-04"]
    );
    assert_eq!(
        db.rows(
            "SELECT stock_code, time FROM ops.flags JOIN ops.batches USING (batch_id) \
             WHERE state = 'promoted' AND rule = 'stocks.name_is_gone' \
             AND severity = 'note' ORDER BY 1"
        ),
        ["000010|2024-01-04", "000020|2024-01-04"]
    );
}

fn changed_rows_leave_revisions(db: &Db) {
    fixture(db);
    let closes = |codes: &str| {
        db.rows(&format!(
            "SELECT stock_code, close, value, batch_id FROM market.ohlcv_daily \
             WHERE time = '2024-01-08' AND stock_code IN ({codes}) ORDER BY 1"
        ))
    };
    let before = closes("'000010', '000015'");
    let first = before[0].rsplit('|').next().unwrap().to_owned();
    let old: Vec<&str> = before.iter().map(|row| row.split('|').nth(1).unwrap()).collect();
    let xmins = || {
        db.rows(
            "SELECT stock_code, time, xmin FROM market.ohlcv_daily \
             WHERE (stock_code, time) NOT IN (('000010', '2024-01-08'), ('000015', \
             '2024-01-08')) ORDER BY 1, 2",
        )
    };
    let untouched = xmins();
    let low = |code: &str| {
        let low = db.value(&format!(
            "SELECT low FROM market.ohlcv_daily WHERE time = '2024-01-08' AND stock_code = '{code}'"
        ));
        low.parse::<usize>().unwrap()
    };
    let (a, b) = (low("000010"), low("000015"));
    assert!(old[0] != a.to_string() && old[1] != b.to_string(), "{before:?}");
    show(db, &Sheet::fixture(2024).reprice("000010", "2024-01-08", a).reprice("000015", "2024-01-08", b));
    let run = db.pipe("ohlcv", "2024-01-02", "2024-01-08");
    assert!(run.stdout.contains("60 rows: 0 inserted, 2 updated, 58 unchanged"), "{run:#?}");
    let second = db.value("SELECT max(batch_id) FROM ops.batches");
    let after = closes("'000010', '000015'");
    assert!(
        after[0].starts_with(&format!("000010|{a}|")) && after[0].ends_with(&format!("|{second}")),
        "{after:?}"
    );
    assert!(after[1].starts_with(&format!("000015|{b}|")), "{after:?}");
    assert_eq!(xmins(), untouched);
    let revisions = "SELECT table_name, key->>'stock_code', key->>'time', operation, old->>'close', old_batch_id, \
                     batch_id, valid_to > valid_from AND valid_from = \
                     (SELECT promoted_at FROM ops.batches b WHERE b.batch_id = r.old_batch_id) \
                     FROM ops.revisions r WHERE undone_at IS NULL ORDER BY 2, 3";
    assert_eq!(
        db.rows(revisions),
        [
            format!("ohlcv_daily|000010|2024-01-08|update|{}|{first}|{second}|t", old[0]),
            format!("ohlcv_daily|000015|2024-01-08|update|{}|{first}|{second}|t", old[1]),
            // The session's data are those of the second batch from now on.
            format!("session_status|-|2024-01-08|update|-|{first}|{second}|t"),
        ]
    );
    assert_eq!(
        db.value(&format!(
            "SELECT rows, inserted, updated, deleted, unchanged, held, state \
             FROM ops.batches WHERE batch_id = {second}"
        )),
        "60|0|2|0|58|0|promoted"
    );
}

fn worse_data_do_not_replace_better(db: &Db) {
    fixture(db);
    let better = db.production_to_the_letter();
    let a = "2024-01-08";
    show(db, &Sheet::fixture(2024).reprice("000010", a, 69_900));
    let stream = db.validated("ohlcv", a, a);
    for (from, to) in [("finality=final", "finality=provisional"), ("source=marcap", "source=csv")] {
        let batch = db.load(&reseal(&stream.replacen(from, to, 1)));
        db.kdata("promote").fails(
            5,
            &["would replace better data: production holds 2024-01-08 from marcap, final", "--force"],
        );
        assert_eq!(db.production_to_the_letter(), better, "{to}");
        let run = db.kdata(&format!("promote --batch {batch} --force")).ok();
        assert!(run.contains("1 updated, 11 unchanged"), "{run}");
        assert_eq!(
            db.value(
                "SELECT close FROM market.ohlcv_daily WHERE stock_code = '000010' AND time = '2024-01-08'"
            ),
            "69900"
        );
        db.kdata(&format!("rollback {batch}")).ok();
        assert_eq!(db.production_to_the_letter(), better, "{to}");
    }
    // Provisional first, final later; and of a range only what is better there is held.
    let fresh = db.another();
    show(&fresh, &Sheet::fixture(2024));
    let range = fresh.validated("ohlcv", "2024-01-04", a);
    fresh.load(&reseal(&range.replacen("finality=final", "finality=provisional", 1)));
    fresh.kdata("promote").ok();
    assert_eq!(
        fresh.kdata("due ohlcv --date 2024-01-08 --sessions 3 --long").ok(),
        "2024-01-04 provisional\n2024-01-05 provisional\n2024-01-08 provisional\n"
    );
    fresh.pipe("ohlcv", "2024-01-05", "2024-01-05");
    assert_eq!(fresh.kdata("due ohlcv --date 2024-01-08 --sessions 3").ok(), "2024-01-04\n2024-01-08\n");
    let changed = range
        .replacen("finality=final", "finality=provisional", 1)
        .replace(",KOSPI,STOCK", ",KOSPI,PREFERRED");
    fresh.load(&reseal(&changed));
    let told = fresh.kdata("promote").ok();
    assert!(told.contains("36 rows: 0 inserted, 6 updated, 18 unchanged, 12 held back"), "{told}");
    assert_eq!(
        fresh.value(
            "SELECT inserted + updated + unchanged + held = rows FROM ops.batches \
             ORDER BY batch_id DESC LIMIT 1"
        ),
        "t"
    );
    assert_eq!(
        fresh.value(
            "SELECT count(*) FROM market.ohlcv_daily WHERE time = '2024-01-05' \
             AND stock_code = '000010' AND security_type = 'STOCK'"
        ),
        "1"
    );
    for rule in fresh.rows("SELECT DISTINCT rule FROM ops.flags UNION SELECT DISTINCT rule FROM ops.rejects")
    {
        fresh.kdata(&format!("explain {rule}")).ok();
    }
}

fn a_source_that_does_not_know_takes_nothing_away(db: &Db) {
    fixture(db);
    let known = db.rows("SELECT * FROM market.ohlcv_daily WHERE time < '2024-01-08' ORDER BY 1, 2");
    let stream = db.validated("ohlcv", "2024-01-04", "2024-01-08");
    // Neither value nor base price; other closes on the last session.
    let poor = stream.lines().map(|line| {
        let mut cells: Vec<&str> = line.split(',').collect();
        if line.starts_with(['0', '1', '2']) {
            (cells[7], cells[8]) = ("", "");
            if cells[1] == "2024-01-08" && !cells[2].is_empty() {
                cells[5] = cells[4];
            }
        }
        cells.join(",") + "\n"
    });
    let provides = "provides=open,high,low,close,volume,market,security_type";
    db.load(&reseal(&poor.collect::<String>().replacen("provides=all", provides, 1)));
    let told = db.kdata("promote").ok();
    assert!(told.contains("36 rows: 0 inserted, ") && !told.contains(" 0 updated"), "{told}");
    assert_eq!(db.rows("SELECT * FROM market.ohlcv_daily WHERE time < '2024-01-08' ORDER BY 1, 2"), known);
    assert_eq!(
        db.value("SELECT count(*) FROM market.ohlcv_daily WHERE value IS NULL OR base_price IS NULL"),
        "0"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM market.ohlcv_daily WHERE time = '2024-01-08' AND close = low"),
        db.value("SELECT count(*) FROM market.ohlcv_daily WHERE time = '2024-01-08' AND low IS NOT NULL")
    );
}

fn masters_go_first_and_a_held_batch_stops_no_other(db: &Db) {
    show(db, &market());
    for dataset in ["ohlcv", "market-cap", "stocks"] {
        db.load(&db.validated(dataset, "2024-01-02", "2024-01-03"));
    }
    let order: Vec<String> =
        db.kdata("promote").ok().lines().map(|l| l.split(' ').nth(2).unwrap().to_owned()).collect();
    assert_eq!(order, DATASETS);
    assert_eq!(db.value("SELECT count(*) FROM ops.flags WHERE rule LIKE '%.code_is_known'"), "0");
    assert_eq!(
        db.rows(
            "SELECT dataset, time, rows, expected, missing, names, finality \
             FROM market.session_status ORDER BY 1, 2"
        ),
        [("market-cap", "240|0"), ("ohlcv", "240|0"), ("stocks", "-|-")]
            .iter()
            .flat_map(|(d, expected)| ["02", "03"]
                .map(|day| format!("{d}|2024-01-{day}|240|{expected}|whole|final")))
            .collect::<Vec<_>>()
    );
    show(db, &market().copy_session("2024-01-03", "2024-01-04"));
    let held = db.load(&db.validated("ohlcv", "2024-01-04", "2024-01-04"));
    show(db, &market());
    let good = db.load(&db.validated("market-cap", "2024-01-04", "2024-01-04"));
    let run = db.kdata("promote");
    assert!(run.stdout.contains("240 inserted"), "{run:#?}");
    run.fails(3, &["ohlcv.session_is_new"]);
    assert_eq!(
        db.rows(&format!(
            "SELECT batch_id, state FROM ops.batches WHERE batch_id IN ({held}, {good}) ORDER BY 1"
        )),
        [format!("{held}|staged"), format!("{good}|promoted")]
    );
    let failed = db.kdata("runs --failed").ok();
    assert!(failed.contains("exit 3: batch") && failed.contains("session_is_new"), "{failed}");
}

/// Names that come, go, come back, are renamed, move, split.
pub fn turbulent() -> Sheet {
    let date = |sheet: &Sheet, row: &[String]| row[sheet.at("Date")].clone();
    let code = |sheet: &Sheet, row: &[String]| row[sheet.at("Code")].clone();
    let sheet = Sheet::market(400, &SESSIONS).keep(|sheet, row| {
        let (code, date) = (code(sheet, row), date(sheet, row));
        match code.as_str() {
            "000010" => date.as_str() < SESSIONS[2],                // goes
            "000020" => date.as_str() >= SESSIONS[3],               // comes
            "000030" => date != SESSIONS[2],                        // goes and comes back
            "000050" => date != SESSIONS[1] && date != SESSIONS[3], // twice
            "000060" => date == SESSIONS[2],                        // one day only
            _ => true,
        }
    });
    let mut sheet = sheet
        .set("000070", SESSIONS[2], "Name", "새이름")
        .set("000070", SESSIONS[3], "Name", "새이름")
        .set("000080", SESSIONS[4], "Market", "KOSDAQ GLOBAL")
        .set("000100", SESSIONS[1], "Market", "KOSDAQ")
        .set("000030", SESSIONS[3], "Stocks", "5000000");
    let [close, stocks, cap] = ["Close", "Stocks", "Marcap"].map(|column| sheet.at(column));
    for row in &mut sheet.rows {
        row[cap] = (row[close].parse::<u64>().unwrap() * row[stocks].parse::<u64>().unwrap()).to_string();
    }
    sheet
}

/// The history as the masters tell it, worked out independently.
fn history_of(sheet: &Sheet) -> Vec<String> {
    let cell = |row: &[String], column| row[sheet.at(column)].clone();
    let mut states: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for row in &sheet.rows {
        let market = cell(row, "Market");
        let (market, segment) =
            if market == "KOSDAQ GLOBAL" { ("KOSDAQ", "KOSDAQ GLOBAL") } else { (market.as_str(), "-") };
        let state = format!("{}|{market}|{segment}|{}", cell(row, "Name"), cell(row, "Stocks"));
        states.entry(cell(row, "Code")).or_default().insert(cell(row, "Date"), state);
    }
    let mut lines = Vec::new();
    for (code, shown) in states {
        let mut intervals: Vec<(String, String)> = Vec::new();
        let mut last = None;
        for session in SESSIONS {
            last = shown.get(session).or(last);
            let Some(state) = last else { continue };
            let state = format!("{state}|{}", if shown.contains_key(session) { "t" } else { "f" });
            if intervals.last().is_none_or(|(_, before)| *before != state) {
                intervals.push((session.to_owned(), state));
            }
        }
        for (at, (from, state)) in intervals.iter().enumerate() {
            let to = intervals.get(at + 1).map_or("-", |(next, _)| next);
            lines.push(format!("{code}|{from}|{to}|{state}"));
        }
    }
    lines
}

fn masters_come_in_any_order(db: &Db) {
    let sheet = turbulent();
    let expected = history_of(&sheet);
    assert!(expected.len() > 405, "{}", expected.len());
    let history = "SELECT stock_code, valid_from, valid_to, name, market, segment, listed_shares, \
                   is_active FROM market.stock_history ORDER BY 1, 2";
    // What is shown of the present is the end of the history.
    let columns = "valid_from, name, market, segment, security_type, is_active, listed_shares";
    let of = |table: &str| columns.split(", ").map(|c| format!("{table}.{c}")).collect::<Vec<_>>().join(", ");
    let present = format!(
        "SELECT count(*) FROM market.stocks s \
         FULL JOIN (SELECT * FROM market.stock_history WHERE valid_to IS NULL) h USING (stock_code) \
         WHERE ({}) IS DISTINCT FROM ({})",
        of("s"),
        of("h")
    );
    // In order at once, in order one by one, backwards, and shuffled; some in ranges that lie around others.
    let orders: [&[(usize, usize)]; 5] = [
        &[(0, 4)],
        &[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)],
        &[(4, 4), (3, 3), (2, 2), (1, 1), (0, 0)],
        &[(2, 2), (4, 4), (0, 0), (3, 3), (1, 1)],
        &[(3, 4), (0, 1), (2, 2), (0, 4)],
    ];
    for (at, order) in orders.iter().enumerate() {
        let another = (at > 0).then(|| db.another());
        let db = another.as_ref().unwrap_or(db);
        show(db, &sheet);
        for (from, to) in *order {
            db.pipe("stocks", SESSIONS[*from], SESSIONS[*to]);
        }
        let found = db.rows(history);
        let differing: Vec<_> = found
            .iter()
            .filter(|l| !expected.contains(l))
            .chain(expected.iter().filter(|l| !found.contains(l)))
            .collect();
        assert!(differing.is_empty(), "{order:?}: {differing:#?}");
        assert_eq!(db.value(&present), "0", "{order:?}");
        // The whole again writes nothing.
        let before = db.writes();
        db.pipe("stocks", SESSIONS[0], SESSIONS[4]);
        assert_eq!(db.writes(), before, "{order:?}");
    }
}

fn corporate_actions_are_told_from_half_ticks(db: &Db) {
    fixture(db);
    db.write("marcap/marcap-2026.parquet", Sheet::fixture(2026).parquet());
    db.pipe("stocks", "2026-01-02", "2026-01-07");
    db.pipe("ohlcv", "2026-01-02", "2026-01-07");
    // 100030 closed at the half-tick 2,067 and had the base price 2,070: no action.
    assert_eq!(
        db.rows(
            "SELECT close FROM market.ohlcv_daily WHERE stock_code = '100030' \
             AND time = '2026-01-05' UNION SELECT base_price FROM market.ohlcv_daily \
             WHERE stock_code = '100030' AND time = '2026-01-06'"
        ),
        ["2067", "2070"]
    );
    assert_eq!(
        db.rows(
            "SELECT stock_code, time, base_price, prev_close, round(factor::numeric, 2), \
             kind FROM market.corporate_actions"
        ),
        ["000020|2024-01-05|10040|50200|0.20|split"]
    );
    assert!(db.value("SELECT evidence FROM market.corporate_actions").contains("close 50200 on 2024-01-04"));
    assert_eq!(
        db.value(
            "SELECT count(*) FROM ops.flags WHERE rule = 'ohlcv.base_follows_close' AND severity = 'note'"
        ),
        "1"
    );
    // Nothing is concluded across a gap, and once the session before comes, it is.
    let gap = db.another();
    show(&gap, &Sheet::fixture(2024));
    gap.pipe("ohlcv", "2024-01-03", "2024-01-03");
    gap.pipe("ohlcv", "2024-01-05", "2024-01-05");
    assert_eq!(gap.value("SELECT count(*) FROM market.corporate_actions"), "0");
    gap.pipe("ohlcv", "2024-01-04", "2024-01-05");
    assert_eq!(gap.value("SELECT stock_code FROM market.corporate_actions"), "000020");
}

fn promotes_at_once_do_the_work_once(db: &Db) {
    show(db, &market());
    for dataset in DATASETS {
        db.load(&db.validated(dataset, "2024-01-02", "2024-01-08"));
    }
    let spawn = || {
        let mut command = db.command(KDATA, &["promote"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [spawn(), spawn(), spawn(), spawn()];
    let runs = children.map(|child| crate::support::Run::from(child.wait_with_output().unwrap()));
    // For cron all of them went well, and each batch has one receipt.
    assert!(runs.iter().all(|run| run.code == 0 && !run.stderr.contains("error")), "{runs:#?}");
    let mut receipts: Vec<&str> = runs.iter().flat_map(|run| run.stdout.lines()).collect();
    receipts.sort_unstable();
    assert_eq!(receipts.len(), 3, "{runs:#?}");
    assert!(
        receipts.iter().all(|line| line.contains("1,200 rows: ") && line.contains(" inserted")),
        "{receipts:?}"
    );
    let kept =
        "SELECT count(*), count(DISTINCT batch_id) FROM ops.runs WHERE command = 'promote' AND state = 'ok'";
    assert_eq!(db.value(kept), "3|3");
    assert_eq!(db.rows("SELECT DISTINCT state FROM ops.batches"), ["promoted"]);
    assert_eq!(db.value("SELECT count(*), count(DISTINCT batch_id) FROM market.ohlcv_daily"), "1200|1");
    db.nothing_is_staged();
    // One by one, as scripts do: the receipt is that of the run that did it.
    let again = db.kdata("promote --batch 2");
    assert!(
        again.stderr.contains("1,200 inserted") && again.stderr.contains("nothing left to do"),
        "{again:#?}"
    );
    assert_eq!(again.ok(), "");
}

fn a_promote_waits_for_another(db: &Db) {
    show(db, &market());
    let batch = db.load(&db.validated("ohlcv", "2024-01-02", "2024-01-08"));
    let lock = "(hashtext('kdata.promote'), hashtext('ohlcv'))";
    db.rows(&format!("SELECT pg_advisory_lock{lock}"));
    for wait in ["0", "1"] {
        db.kdata(&format!("promote --wait {wait}"))
            .fails(8, &["another run was promoting ohlcv for", "batches stay staged", "--wait"]);
    }
    let waiting =
        db.command(KDATA, &["promote"]).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    db.wait_until("EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)");
    db.rows(&format!("SELECT pg_advisory_unlock{lock}"));
    let run: crate::support::Run = waiting.wait_with_output().unwrap().into();
    assert!(run.ok().contains("1,200 inserted"));
    // What was rolled back is not promoted before.
    db.kdata(&format!("rollback {batch}")).ok();
    db.kdata(&format!("promote --batch {batch}")).fails(2, &["it is rolled_back"]);
}

fn a_killed_promote_changes_nothing(db: &Db) {
    let sheet = Sheet::market(4_000, &SESSIONS);
    show(db, &sheet);
    db.pipe("ohlcv", "2024-01-02", "2024-01-02");
    let before = db.production_to_the_letter();
    db.load(&db.validated("ohlcv", "2024-01-02", "2024-01-08"));
    let mut promote = db.command(KDATA, &["promote"]).stdin(Stdio::null()).spawn().unwrap();
    db.wait_until("EXISTS (SELECT FROM ops.runs WHERE command = 'promote' AND state = 'running')");
    promote.kill().unwrap();
    promote.wait().unwrap();
    db.wait_for_the_others();
    assert_eq!(db.production_to_the_letter(), before);
    assert_eq!(db.rows("SELECT state FROM ops.batches ORDER BY batch_id"), ["promoted", "staged"]);
    assert!(db.kdata("promote").ok().contains("16,000 inserted, 0 updated, 4,000 unchanged"));
}

/// The server takes a table for empty that was emptied and vacuumed, and plans for it.
fn an_emptied_table_is_filled_as_fast_as_a_new_one(db: &Db) {
    show(db, &Sheet::market(5_000, &SESSIONS));
    let stream = db.validated("ohlcv", SESSIONS[0], SESSIONS[4]);
    let promote = || {
        let batch = db.load(&stream);
        let begun = Instant::now();
        db.kdata(&format!("promote --batch {batch}")).ok();
        (batch, begun.elapsed())
    };
    let (batch, first) = promote();
    db.kdata(&format!("rollback {batch}")).ok();
    db.wait_for_the_others();
    db.rows("VACUUM ANALYZE");
    let (_, second) = promote();
    assert!(second < 4 * first + Duration::from_secs(3), "{first:?}, then {second:?}");
}

fn what_is_not_staged_is_told(db: &Db) {
    let run = db.kdata("promote");
    assert!(run.stderr.contains("nothing is staged"), "{run:#?}");
    assert_eq!(run.ok(), "");
    db.kdata("promote --batch 7").fails(2, &["there is no batch 7", "nothing was loaded yet"]);
    fixture(db);
    assert!(db.kdata("promote --batch 1").stderr.contains("promoted before"));
}

fn a_list_of_codes_claims_nothing_else(db: &Db) {
    fixture(db);
    let before = db.production();
    for dataset in DATASETS {
        let script = format!(
            "kdata extract {dataset} --from 2024-01-02 --to 2024-01-08 --codes 000010,200010 | \
             kdata validate | kdata load && kdata promote"
        );
        let told = db.sh(&script).ok();
        assert!(told.contains("10 rows: 0 inserted, 0 updated"), "{told}");
    }
    assert_eq!(db.production(), before);
    // A session of which only some codes came is still due.
    let few = db.another();
    show(&few, &Sheet::fixture(2024));
    few.sh("kdata extract ohlcv --date 2024-01-08 --codes 000010 | kdata validate | kdata load \
            && kdata promote")
        .ok();
    assert_eq!(
        few.kdata("due ohlcv --date 2024-01-08 --sessions 1 --long").ok(),
        "2024-01-08 only some of the names\n"
    );
    let stream = few.validated("ohlcv", "2024-01-08", "2024-01-08");
    assert!(Stream::of(&stream).end.starts_with("#end rows=12 "));
    few.load(&stream);
    few.kdata("promote").ok();
    assert_eq!(few.kdata("due ohlcv --date 2024-01-08 --sessions 1").ok(), "");
    // One market does not make a session whole either, nor a name of another market gone.
    let markets = db.another();
    show(&markets, &Sheet::fixture(2024));
    markets.pipe("stocks", "2024-01-05", "2024-01-05");
    let of = |dataset: &str, market: &str| {
        let extract = format!("kdata extract {dataset} --date 2024-01-08 --market {market}");
        markets.sh(&format!("{extract} | kdata validate | kdata load && kdata promote")).ok()
    };
    of("ohlcv", "KOSPI");
    let status = "SELECT rows, expected, missing, names FROM market.session_status WHERE dataset = 'ohlcv'";
    assert_eq!(markets.value(status), "5|12|7|list");
    of("ohlcv", "KOSDAQ,KONEX");
    assert_eq!(markets.value(status), "12|12|0|list");
    of("stocks", "KOSPI");
    assert_eq!(markets.value("SELECT count(*) FROM market.stocks WHERE is_active"), "12");
    for dataset in ["stocks", "ohlcv"] {
        assert_eq!(
            markets.kdata(&format!("due {dataset} --date 2024-01-08 --sessions 1")).ok(),
            "2024-01-08\n"
        );
        of(dataset, "KOSPI,KOSDAQ,KONEX");
        assert_eq!(markets.kdata(&format!("due {dataset} --date 2024-01-08 --sessions 1")).ok(), "");
    }
}

/// KIS's bars of an evening bear after-market prices: not promoted unasked, and discarded once the final ones are.
fn closes_of_the_evening_wait_for_the_morning(db: &Db) {
    let load = |day: &'static str, finality: &'static str, close: &str| {
        let says = vec![("source", "kis"), ("finality", finality), ("scope", "KOSPI/stock")];
        let stream = Made { range: (day, day), says, ..made("ohlcv") };
        let row = format!("005930,{day},70000,71000,69000,{close},10,700000,70000,KOSPI,STOCK");
        let validated = db.feed("validate", stream.stream(&[&row]).as_bytes()).ok();
        db.feed("load", validated.as_bytes()).ok().trim().to_owned()
    };
    let close = || {
        db.value(
            "SELECT coalesce(string_agg(close::text, ',' ORDER BY time), 'none') FROM market.ohlcv_daily",
        )
    };
    let batch = load("2026-09-15", "provisional", "70500");
    db.kdata("promote").fails(9, &["after-market prices", "extract it again after 06:00"]);
    assert_eq!(close(), "none");
    load("2026-09-15", "final", "70400");
    let promoted = db.kdata("promote");
    assert!(promoted.stderr.contains("is discarded"), "{promoted:#?}");
    promoted.ok();
    assert_eq!(close(), "70400");
    assert_eq!(
        db.value(&format!("SELECT state FROM ops.batches WHERE batch_id = {}", number(&batch))),
        "discarded"
    );
    db.nothing_is_staged();
    // Taken as it is by who wants it; and before the after-market there was nothing to wait for.
    let batch = load("2026-09-16", "provisional", "70900");
    db.kdata(&format!("promote --batch {} --force", number(&batch))).ok();
    load("2026-09-11", "provisional", "70100");
    db.kdata("promote").ok();
    assert_eq!(close(), "70100,70400,70900");
}

/// The number of a batch as load prints it.
fn number(printed: &str) -> &str {
    printed.split_whitespace().last().unwrap()
}
