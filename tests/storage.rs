//! How rows are stored: minute bars compressed as they come, corrected, undone; the parts of tables; bars of bars.

use std::process::{Child, Stdio};

use crate::datasets::{made, promoted, staged};
use crate::support::{Db, KDATA, Made, Run, Session, on_both_backends, reseal};

on_both_backends! {
    final_minutes_are_compressed_as_they_come
    minutes_stay_plain_until_they_are_final
    nobody_inserts_a_minute_twice
    corrections_reach_compressed_minutes
    batches_that_overlap_make_no_double
    promotes_at_once_make_no_double
    rollups_are_the_minutes_together
    rollups_that_fail_wait
    what_is_settled_is_compressed
    what_was_compressed_anew_is_restored
    a_dry_run_makes_no_part
    readers_go_on
}

/// Two weeks, four of them in the chunk of the second.
const DAYS: [&str; 6] = ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08", "2026-01-09", "2026-01-12"];
const MINUTES: [&str; 7] = ["09:00", "09:01", "09:07", "10:14", "10:15", "15:19", "15:30"];
const NAMES: usize = 40;

/// The minutes of all names on some days; `shift` moves prices and volumes.
fn minutes(days: &[&str], shift: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for (d, day) in days.iter().enumerate() {
        for name in 1..=NAMES {
            for (m, minute) in MINUTES.iter().enumerate() {
                let (price, volume) = (1000 * name + 10 * (m + d + shift), name + m + 3 * d + shift);
                let value = price * volume;
                rows.push(format!(
                    "{name:05}0,{day}T{minute}:00+09:00,{price},{},{price},{price},{volume},{value}",
                    price + 5
                ));
            }
        }
    }
    rows
}

fn stream(finality: &'static str, days: &[&'static str], rows: &[String]) -> String {
    let range = (days[0], days[days.len() - 1]);
    let made = Made { range, says: vec![("finality", finality)], ..made("ohlcv-minute") };
    made.stream(&rows.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Promotes minutes; returns the batch and what promote said.
#[track_caller]
fn bring(db: &Db, finality: &'static str, days: &[&'static str], rows: &[String]) -> (String, String) {
    promoted(db, &stream(finality, days, rows))
}

/// The minutes in production, in the order of the stream.
fn stands(db: &Db) -> Vec<String> {
    db.rows(
        "SELECT format('%s,%s+09:00,%s,%s,%s,%s,%s,%s', stock_code, \
                to_char(time AT TIME ZONE 'Asia/Seoul', 'YYYY-MM-DD\"T\"HH24:MI:SS'), open, high, low, close, volume, value) \
         FROM market.ohlcv_minute \
         ORDER BY (time AT TIME ZONE 'Asia/Seoul')::date, stock_code COLLATE \"C\", market.ohlcv_minute.time",
    )
}

fn is_timescale(db: &Db) -> bool {
    db.value("SELECT backend FROM ops.settings") == "timescale"
}

/// Plain rows of the minute bars, those of no compressed segment; on native partitions all.
fn plain(db: &Db) -> usize {
    let chunks = if is_timescale(db) {
        db.rows(
            "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks \
                 WHERE hypertable_name = 'ohlcv_minute'",
        )
    } else {
        vec!["market.ohlcv_minute".to_owned()]
    };
    let only = if is_timescale(db) { "ONLY" } else { "" };
    // Reading a chunk reads its compressed rows too, unless the planner is told not to look.
    let count = |chunk: &String| -> usize {
        db.value(&format!(
            "SET timescaledb.enable_transparent_decompression = off; SELECT count(*) FROM {only} {chunk}"
        ))
        .parse()
        .unwrap()
    };
    chunks.iter().map(count).sum()
}

fn final_minutes_are_compressed_as_they_come(db: &Db) {
    let rows = minutes(&DAYS[..5], 0);
    let (_, told) = bring(db, "final", &DAYS[..5], &rows);
    assert!(told.contains("1,400 rows: 1,400 inserted"), "{told}");
    assert_eq!(stands(db), rows);
    if is_timescale(db) {
        assert_eq!(plain(db), 0);
    }
    // A session that comes alone, beside those and in a part of its own.
    let more = minutes(&DAYS[5..], 1);
    bring(db, "final", &DAYS[5..], &more);
    assert_eq!(stands(db), [rows.clone(), more.clone()].concat());
    if is_timescale(db) {
        assert_eq!(plain(db), 0);
    }
    // Again: nothing is written.
    let before = db.production_to_the_letter();
    let (_, told) = bring(db, "final", &DAYS[..5], &rows);
    assert!(told.contains("0 inserted, 0 updated, 1,400 unchanged"), "{told}");
    assert_eq!(db.production_to_the_letter(), before);
    assert_eq!(db.value("SELECT count(*) FROM ops.revisions WHERE table_name = 'ohlcv_minute'"), "0");
    // The sessions are told of as if each row had been counted.
    let status = "SELECT time, rows, names, finality FROM market.session_status WHERE dataset = 'ohlcv-minute' ORDER BY 1";
    let expected: Vec<String> =
        DAYS.iter().map(|day| format!("{day}|{}|whole|final", NAMES * MINUTES.len())).collect();
    assert_eq!(db.rows(status), expected);
}

fn minutes_stay_plain_until_they_are_final(db: &Db) {
    let days = &DAYS[..1];
    let evening = minutes(days, 0);
    bring(db, "provisional", days, &evening);
    assert_eq!(plain(db), evening.len());
    db.kdata("db compress").ok();
    assert_eq!(plain(db), evening.len(), "what may still change is not compressed");
    // The morning changes the last name's rows.
    let mut morning = evening.clone();
    let first = &mut morning[(NAMES - 1) * MINUTES.len()];
    *first = first.replace(",40000,40005,40000,40000,", ",40000,40005,40000,40005,");
    let (_, told) = bring(db, "final", days, &morning);
    assert!(told.contains("0 inserted, 1 updated"), "{told}");
    assert_eq!(stands(db), morning);
    let told = db.kdata("db compress --dry-run").ok();
    assert_eq!(told.contains("plain rows"), is_timescale(db), "{told}");
    db.kdata("db compress").ok();
    assert_eq!(stands(db), morning);
    if is_timescale(db) {
        assert_eq!(plain(db), 0);
    }
}

fn nobody_inserts_a_minute_twice(db: &Db) {
    let rows = minutes(&DAYS[..2], 0);
    bring(db, "final", &DAYS[..1], &minutes(&DAYS[..1], 0));
    bring(db, "provisional", &DAYS[1..2], &rows[rows.len() / 2..]);
    for time in ["2026-01-05 15:30+09", "2026-01-06 09:00+09"] {
        let insert = format!(
            "INSERT INTO market.ohlcv_minute SELECT stock_code, time, 1, 1, 1, 1, 1, 1, 1 FROM market.ohlcv_minute \
             WHERE time = '{time}' AND stock_code = '000010'"
        );
        let error = Session::connect(&db.url).try_rows(&insert).unwrap_err();
        assert!(error.contains("duplicate key"), "{error}");
    }
    // A stream with a key twice, made by other means than validate, gets no further than load.
    let twice = [rows[0].clone(), rows[0].clone()];
    let good = db.feed("validate", stream("final", &DAYS[..1], &twice[..1]).as_bytes()).ok();
    let forged = reseal(&good.replace(&rows[0], &twice.join("\n")));
    db.feed("load", forged.as_bytes()).fails(5, &["order", "000010,2026-01-05T09:00"]);
}

fn corrections_reach_compressed_minutes(db: &Db) {
    let days = &DAYS[..3];
    let rows = minutes(days, 0);
    bring(db, "final", days, &rows);
    let before = stands(db);
    // One minute of one name is corrected, one comes in addition; another name is told by nobody.
    let mut corrected = rows[NAMES * MINUTES.len()..][..MINUTES.len()].to_vec();
    corrected[1] = corrected[1].replace(",1020,1025,1020,1020,", ",1020,1030,1020,1025,");
    corrected.insert(2, "000010,2026-01-06T09:02:00+09:00,1020,1020,1020,1020,1,1020".to_owned());
    let (batch, told) = bring_list(db, DAYS[1], &corrected);
    assert!(told.contains("1 inserted, 1 updated, 6 unchanged"), "{told}");
    let mut expected = rows.clone();
    let at = NAMES * MINUTES.len();
    expected.splice(at..at + MINUTES.len(), corrected);
    assert_eq!(stands(db), expected);
    assert_eq!(
        db.rows(&format!(
            "SELECT operation, key->>'stock_code', old->>'close' FROM ops.revisions WHERE batch_id = {batch}"
        )),
        ["update|000010|1020"]
    );
    let seen = "SELECT count(*) FROM market.as_of(NULL::market.ohlcv_minute, now() - interval '1 hour')";
    assert_eq!(db.value(seen), "0");
    db.kdata("db compress").ok();
    assert_eq!(stands(db), expected);
    if is_timescale(db) {
        assert_eq!(plain(db), 0);
    }
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(stands(db), before);
    // And the whole of it.
    let first = db.value("SELECT min(batch_id) FROM ops.batches");
    db.kdata(&format!("rollback {first}")).ok();
    assert_eq!(stands(db), Vec::<String>::new());
    bring(db, "final", days, &rows);
    assert_eq!(stands(db), rows);
}

/// Some minutes asked for by code.
fn bring_list(db: &Db, day: &'static str, rows: &[String]) -> (String, String) {
    let made = Made { range: (day, day), says: vec![("names", "list")], ..made("ohlcv-minute") };
    promoted(db, &made.stream(&rows.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn batches_that_overlap_make_no_double(db: &Db) {
    // Around a hole, then over it and both sides.
    let outer = [DAYS[0], DAYS[2]];
    let rows = minutes(&DAYS[..3], 0);
    let per_day = NAMES * MINUTES.len();
    let around: Vec<String> = [&rows[..per_day], &rows[2 * per_day..]].concat();
    let batch = staged(db, &stream("final", &outer, &around));
    db.kdata(&format!("promote --batch {batch}")).ok();
    assert_eq!(stands(db), around);
    let (_, told) = bring(db, "final", &DAYS[..3], &rows);
    assert!(told.contains(&format!("{per_day} inserted, 0 updated, {} unchanged", 2 * per_day)), "{told}");
    assert_eq!(stands(db), rows);
    // The hole alone, between rows that stand compressed together on both sides: read in order all the same.
    let last = db.value("SELECT max(batch_id) FROM ops.batches");
    db.kdata(&format!("rollback {last}")).ok();
    db.kdata("db compress").ok();
    bring(db, "final", &DAYS[1..2], &rows[per_day..2 * per_day]);
    let of_one = "SELECT time FROM market.ohlcv_minute WHERE stock_code = '000030' ORDER BY time";
    let sorted =
        format!("SELECT time FROM ({} OFFSET 0) AS t ORDER BY 1", of_one.replace(" ORDER BY time", ""));
    assert_eq!(db.rows(of_one), db.rows(&sorted));
    assert_eq!(db.rows(of_one).len(), 3 * MINUTES.len());
    db.kdata("db compress").ok();
    assert_eq!(stands(db), rows);
}

fn promotes_at_once_make_no_double(db: &Db) {
    let rows = minutes(&DAYS[..5], 0);
    let per_day = NAMES * MINUTES.len();
    // Each overlaps the next.
    for at in 0..4 {
        staged(db, &stream("final", &DAYS[at..at + 2], &rows[at * per_day..(at + 2) * per_day]));
    }
    let children: Vec<_> = (0..4).map(|_| promote_beside(db)).collect();
    for child in children {
        Run::from(child.wait_with_output().unwrap()).ok();
    }
    assert_eq!(stands(db), rows);
    db.nothing_is_staged();
}

/// The minutes of a day together, worked out here.
fn rolled(rows: &[String], width: u32) -> Vec<String> {
    let mut bars: Vec<(String, String, [i64; 6])> = Vec::new();
    for row in rows {
        let fields: Vec<&str> = row.split(',').collect();
        let (day, clock) = fields[1].split_once('T').unwrap();
        let minute = clock[..2].parse::<u32>().unwrap() * 60 + clock[3..5].parse::<u32>().unwrap();
        let start = minute / width * width;
        let time = format!("{day} {:02}:{:02}:00+09", start / 60, start % 60);
        let n: Vec<i64> = fields[2..].iter().map(|field| field.parse().unwrap()).collect();
        match bars.last_mut() {
            Some((code, at, bar)) if code == fields[0] && *at == time => {
                bar[1] = bar[1].max(n[1]);
                bar[2] = bar[2].min(n[2]);
                bar[3] = n[3];
                bar[4] += n[4];
                bar[5] += n[5];
            }
            _ => bars.push((fields[0].to_owned(), time, n.try_into().unwrap())),
        }
    }
    bars.iter()
        .map(|(code, time, n)| format!("{code}|{time}|{}", n.map(|n| n.to_string()).join("|")))
        .collect()
}

const ROLLUPS: [(&str, u32); 3] = [("ohlcv_5min", 5), ("ohlcv_15min", 15), ("ohlcv_60min", 60)];

#[track_caller]
fn rollups_are(db: &Db, rows: &[String]) {
    assert_eq!(db.value("SELECT count(*) FROM ops.pending_rollups"), "0");
    for (rel, width) in ROLLUPS {
        let found = db.rows(&format!(
            "SELECT stock_code, time, open, high, low, close, volume, value FROM market.{rel} \
             ORDER BY (time AT TIME ZONE 'Asia/Seoul')::date, 1, 2"
        ));
        assert_eq!(found, rolled(rows, width), "{rel}");
    }
}

fn rollups_are_the_minutes_together(db: &Db) {
    let days = &DAYS[..2];
    let mut rows = minutes(days, 0);
    bring(db, "final", days, &rows);
    rollups_are(db, &rows);
    let of_hour = "SELECT time, open, close FROM market.ohlcv_60min WHERE stock_code = '000010' AND time >= '2026-01-06' ORDER BY 1";
    assert_eq!(
        db.rows(of_hour),
        [
            "2026-01-06 09:00:00+09|1010|1030",
            "2026-01-06 10:00:00+09|1040|1050",
            "2026-01-06 15:00:00+09|1060|1070"
        ]
    );
    // A correction, and its end.
    let mut corrected = rows[..MINUTES.len()].to_vec();
    corrected[6] = corrected[6].replace(",1060,1065,1060,1060,", ",1060,1090,1060,1090,");
    let (batch, _) = bring_list(db, DAYS[0], &corrected);
    let as_it_was = rows.clone();
    rows.splice(..MINUTES.len(), corrected);
    rollups_are(db, &rows);
    db.kdata("db compress").ok();
    rollups_are(db, &rows);
    db.kdata(&format!("rollback {batch}")).ok();
    rollups_are(db, &as_it_was);
    // A value that is not known of each minute is not made up.
    let day = &DAYS[5..];
    bring(
        db,
        "final",
        day,
        &[
            format!("000010,{}T09:00:00+09:00,5,5,5,5,1,5", DAYS[5]),
            format!("000010,{}T09:01:00+09:00,5,5,5,5,1,", DAYS[5]),
        ],
    );
    let values = "SELECT volume, value FROM market.ohlcv_60min WHERE time >= '2026-01-12'";
    assert_eq!(db.rows(values), ["2|-"]);
    // The reader may.
    let reader = Session::connect(db.kdata("db url --reader").ok().trim());
    assert_eq!(reader.value("SELECT count(*) > 0 FROM ohlcv_15min"), "t");
}

fn rollups_that_fail_wait(db: &Db) {
    db.kdata("db migrate").ok();
    let rename = |from: &str, to: &str| {
        db.rows(&format!("ALTER FUNCTION ops.{from}(date, date) RENAME TO {to}"));
    };
    rename("to_settle", "gone");
    let rows = minutes(&DAYS[..2], 0);
    let per_day = NAMES * MINUTES.len();
    let batch = staged(db, &stream("final", &DAYS[..1], &rows[..per_day]));
    let run = db.kdata(&format!("promote --batch {batch}"));
    assert!(run.stderr.contains("rollups wait for the next promote"), "{run:#?}");
    assert!(run.ok().contains("inserted"), "what is promoted stays promoted");
    let pending = "SELECT from_time, to_time, problem IS NOT NULL FROM ops.pending_rollups";
    assert_eq!(db.rows(pending), ["2026-01-05|2026-01-05|t"]);
    rename("gone", "to_settle");
    bring(db, "final", &DAYS[1..2], &rows[per_day..]);
    rollups_are(db, &rows);
}

fn what_is_settled_is_compressed(db: &Db) {
    let list = vec![("names", "list")];
    let made = Made { range: ("2025-12-29", "2025-12-30"), says: list.clone(), ..made("ohlcv") };
    let mut rows = Vec::new();
    for (day, volume) in [("2025-12-29", 10), ("2025-12-30", 11)] {
        for name in 1..=200 {
            let value = 1000 * volume;
            rows.push(format!("{name:05}0,{day},1000,1010,990,1000,{volume},{value},1000,KOSPI,STOCK"));
        }
    }
    promoted(db, &made.stream(&rows.iter().map(String::as_str).collect::<Vec<_>>()));
    let before = db.production_to_the_letter();
    let at = |now: &str, command: &str| db.sh(&format!("KDATA_NOW={now}T22:00:00+09:00 kdata {command}"));
    let after = |days: u8| db.value(&format!("SELECT until_session + {days} FROM ops.parts('ohlcv_daily')"));
    let (soon, late) = (after(29), after(30));
    let told = at(&soon, "db compress").ok();
    assert_eq!(told, "");
    let parts = "SELECT count(*) FROM ops.parts('ohlcv_daily') WHERE is_compressed";
    assert_eq!(db.value(parts), "0", "corrections still come");
    at(&late, "db compress").ok();
    assert_eq!(db.value(parts) == "1", is_timescale(db));
    assert_eq!(db.production_to_the_letter(), before);
    let run = at(&late, "db compress");
    assert!(run.stderr.contains("nothing to do"), "{run:#?}");
    assert_eq!(at(&late, "-q db compress").stderr, "");
    // A late correction all the same.
    let corrected = [rows[0].replace(",1000,10,10000,", ",1005,10,10000,")];
    let day = Made { range: ("2025-12-29", "2025-12-29"), says: list, ..self::made("ohlcv") };
    let (batch, told) = promoted(db, &day.stream(&[corrected[0].as_str()]));
    assert!(told.contains("0 inserted, 1 updated"), "{told}");
    assert_eq!(
        db.value("SELECT close FROM market.ohlcv_daily WHERE stock_code = '000010' AND time = '2025-12-29'"),
        "1005"
    );
    at(&late, "db compress").ok();
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(db.production_to_the_letter(), before);
}

fn what_was_compressed_anew_is_restored(db: &Db) {
    let days = &DAYS[..4];
    for at in 0..days.len() {
        bring(db, "final", &days[at..=at], &minutes(&days[at..=at], at));
    }
    let mending = "SELECT to_mend FROM ops.parts('ohlcv_minute') WHERE to_mend IS NOT NULL";
    assert_eq!(db.rows(mending).len(), usize::from(is_timescale(db)), "sessions that came one by one");
    let before = db.production_to_the_letter();
    db.kdata("db compress").ok();
    assert_eq!(db.rows(mending), [""; 0]);
    assert_eq!(db.production_to_the_letter(), before);
    let verified = |db: &Db| {
        let told = db.kdata("db backup").ok();
        let told = db.kdata(&format!("db verify {}", told.split(": ").next().unwrap())).ok();
        assert!(told.contains(" is good: "), "{told}");
    };
    if is_timescale(db) {
        let lost = "SELECT s.chunk_id FROM _timescaledb_catalog.compression_chunk_size s \
                    WHERE NOT EXISTS (SELECT FROM _timescaledb_catalog.chunk c WHERE c.id = s.compressed_chunk_id)";
        assert_eq!(db.rows(lost), [""; 0]);
        // Another client of the server's compresses by hand.
        db.rows("SELECT compress_chunk(c, recompress => true) FROM show_chunks('market.ohlcv_minute') c");
    }
    verified(db);
}

fn a_dry_run_makes_no_part(db: &Db) {
    let rows = minutes(&DAYS[..1], 0);
    let batch = staged(db, &stream("final", &DAYS[..1], &rows));
    let told = db.kdata(&format!("promote --batch {batch} --dry-run")).ok();
    assert!(told.contains(&format!("(dry run): {0} rows: {0} inserted", rows.len())), "{told}");
    assert_eq!(db.value("SELECT count(*) FROM ops.parts('ohlcv_minute')"), "0");
    assert_eq!(stands(db), Vec::<String>::new());
}

fn promote_beside(db: &Db) -> Child {
    let mut command = db.command(KDATA, &["promote"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A client that reads yesterday, while a session of the whole market is promoted and its part is made, never waits for
/// a lock: not for half a second, where the promote takes several.
fn readers_go_on(db: &Db) {
    let mut demo = db.another();
    demo.set("KDATA_NOW", "2026-11-03T09:00:00+09:00");
    demo.kdata("db migrate --demo").ok();
    let load = |day: &str| {
        demo.sh(&format!(
            "kdata -q extract ohlcv-minute --source sim --date {day} | kdata -q validate | kdata -q load"
        ))
        .ok()
    };
    load("2026-10-30");
    demo.kdata("promote").ok();
    load("2026-11-02");
    let reader = Session::connect(demo.kdata("db url --reader").ok().trim());
    reader.rows("SET lock_timeout = '500ms'");
    let code = demo.value("SELECT min(stock_code) FROM market.ohlcv_minute");
    let day = "time >= '2026-10-30 00:00+09' AND time < '2026-10-31 00:00+09'";
    let read = format!(
        "SELECT count(*) FROM ohlcv_minute WHERE stock_code = '{code}' AND {day} \
         UNION ALL SELECT count(*) FROM ohlcv_15min WHERE stock_code = '{code}' AND {day} \
         UNION ALL SELECT count(*) FROM session_status WHERE time = '2026-10-30'"
    );
    let expected = reader.rows(&read);
    let mut child = promote_beside(&demo);
    let mut reads = 0;
    while child.try_wait().unwrap().is_none() {
        assert_eq!(reader.rows(&read), expected);
        reads += 1;
    }
    Run::from(child.wait_with_output().unwrap()).ok();
    assert!(reads > 10, "{reads} reads");
    // Compressing what is there does not stop them either.
    let mut command =
        demo.command("/bin/sh", &["-c", "KDATA_NOW=2026-12-01T22:00:00+09:00 kdata db compress"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert_eq!(reader.rows(&read), expected);
    }
    assert!(child.wait().unwrap().success());
}
