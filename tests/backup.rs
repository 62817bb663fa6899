//! db backup, verify, restore: what was there is there again, and what is damaged is said to be.

use std::fs;
use std::path::PathBuf;

use crate::support::{DATASETS, Db, Run, Session, Sheet, on_both_backends};

on_both_backends! {
    what_was_there_is_there_again
    a_damaged_backup_is_told
}

fn fixture(db: &Db) {
    db.write("marcap/marcap-2024.csv.gz", Sheet::fixture(2024).csv_gz());
    for dataset in DATASETS {
        db.pipe(dataset, "2024-01-02", "2024-01-08");
    }
}

/// The folder that `db backup` tells.
fn made(run: Run) -> PathBuf {
    PathBuf::from(run.ok().split(": ").next().unwrap())
}

fn name(folder: &std::path::Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// The kept copies of the test's database, and its scratch database.
fn beside(db: &Db) -> Vec<String> {
    db.rows("SELECT datname FROM pg_database WHERE datname LIKE current_database() || '\\_%' ORDER BY 1")
}

fn what_was_there_is_there_again(db: &Db) {
    let db = &mut db.another();
    fixture(db);
    db.write(
        "marcap/marcap-2024.csv.gz",
        Sheet::fixture(2024).reprice("000010", "2024-01-08", 69_900).csv_gz(),
    );
    db.pipe("ohlcv", "2024-01-08", "2024-01-08");
    let staged = db.load(&db.validated("ohlcv", "2024-01-08", "2024-01-08"));
    let all = |session: &Session| {
        session.rows(
            "SELECT (SELECT md5(string_agg(r::text, '' ORDER BY r::text)) FROM ops.revisions r), \
             (SELECT md5(string_agg(r::text, '' ORDER BY run_id)) FROM ops.runs r), (SELECT count(*) FROM ops.flags), \
             (SELECT md5(string_agg(a::text, '' ORDER BY a::text)) FROM market.ohlcv_daily_adjusted a), \
             (SELECT count(*) FROM market.as_of('ohlcv', now()))",
        )
    };
    let here = Session::connect(&db.url);
    let (before, rest) = (db.production_to_the_letter(), all(&here));
    let folder = made(db.kdata("db backup"));
    let told = db.kdata(&format!("db verify {}", name(&folder))).ok();
    assert!(
        told.contains(" is good: ") && told.contains("rows for clients, all as on 2026-11-23 20:00:00"),
        "{told}"
    );
    assert!(folder.join("verified").exists());
    assert_eq!(beside(db), [""; 0]);

    // A database that holds data is not overwritten.
    db.kdata(&format!("db restore {}", name(&folder))).fails(5, &["holds data", "--replace"]);
    assert_eq!(db.production_to_the_letter(), before);

    // Lost altogether.
    drop(here);
    let database = db.value("SELECT current_database()");
    let server = Session::connect(&db.url.replacen(&format!("/{database}?"), "/postgres?", 1));
    server.rows(&format!("DROP DATABASE {database} WITH (FORCE)"));
    let run = db.kdata(&format!("db restore {}", folder.display()));
    assert!(run.stderr.contains("1 staged batches were not part of the backup"), "{run:#?}");
    assert!(run.ok().contains(" restored: "));
    let here = Session::connect(&db.url);
    assert_eq!(all(&here), rest);
    db.reconnect();
    assert_eq!(db.production_to_the_letter(), before);
    assert_eq!(db.value(&format!("SELECT state FROM ops.batches WHERE batch_id = {staged}")), "discarded");
    assert_eq!(beside(db), [""; 0]);
    // It is a whole database: it migrates, takes data, serves readers, and keeps them out of the rest.
    assert!(db.kdata("db migrate").ok().contains("nothing to do"));
    db.pipe("ohlcv", "2024-01-08", "2024-01-08");
    let reader = Session::connect(db.kdata("db url --reader").ok().trim());
    assert_eq!(reader.value("SELECT count(*) FROM ohlcv_daily"), "60");
    assert!(reader.try_rows("SELECT * FROM ops.runs").is_err());
    let setting = "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase \
                   WHERE datname = current_database() AND setrole = 0 AND setconfig::text LIKE '%parallel_chunk_append=off%'";
    assert_eq!(db.value(setting), if db.backend == "native" { "0" } else { "1" });

    // In the place of one that holds data: that one is kept.
    db.pipe("ohlcv", "2024-01-02", "2024-01-05");
    db.rows("DELETE FROM market.ohlcv_daily WHERE time = '2024-01-05'");
    let held = Session::connect(&db.url);
    let run = db.kdata(&format!("db restore {} --replace", name(&folder)));
    assert!(run.stderr.contains(&format!("kept as database {database}_until_20261123t200000")), "{run:#?}");
    run.ok();
    assert!(held.try_rows("SELECT 1").is_err(), "old sessions do not go on in the old database");
    db.reconnect();
    assert_eq!(db.production_to_the_letter(), before);
    assert_eq!(beside(db), [format!("{database}_until_20261123t200000")]);
    server.rows(&format!("DROP DATABASE {database}_until_20261123t200000 WITH (FORCE)"));
}

fn a_damaged_backup_is_told(db: &Db) {
    fixture(db);
    let before = db.production_to_the_letter();
    let folder = made(db.kdata("db backup"));
    // The largest file holds bars.
    let files = fs::read_dir(folder.join("dump")).unwrap().map(|f| f.unwrap().path());
    let data =
        files.filter(|f| !f.ends_with("toc.dat")).max_by_key(|f| fs::metadata(f).unwrap().len()).unwrap();
    let (manifest, toc) = (folder.join("manifest.json"), folder.join("dump/toc.dat"));
    let text = fs::read_to_string(&manifest).unwrap();
    // Sealed again, as if it had been damaged before its checksum was taken.
    let sum = fs::read(&data).unwrap();
    let other: String = text
        .replacen(
            &format!("{:08x}", crc32fast::hash(&sum)),
            &format!("{:08x}", crc32fast::hash(&sum[..sum.len() / 2])),
            1,
        )
        .replacen(&format!("\"bytes\": {},", sum.len()), &format!("\"bytes\": {},", sum.len() / 2), 1);
    let bars = text.find("\"rows\": 60").expect("a table of 60 rows");
    let fewer = format!("{}\"rows\": 59{}", &text[..bars], &text[bars + 10..]);
    let print = text[bars..].find("\"fingerprint\": \"").unwrap() + bars + 16;
    let changed = format!("{}7{}", &text[..print], &text[print..]);
    for (file, bytes, says) in [
        (&data, Some(sum[..sum.len() / 2].to_vec()), "bytes instead of"),
        (&data, Some([&sum[..sum.len() - 9], b"123456789"].concat()), "was changed"),
        (&data, None, "is missing"),
        (&toc, None, "toc.dat is missing"),
        (&manifest, Some(b"{}".to_vec()), "manifest.json does not read"),
        (&manifest, None, "manifest.json cannot be read"),
        (&manifest, Some(fewer.into_bytes()), "rows instead of 59"),
        (&manifest, Some(changed.into_bytes()), "has other contents"),
    ] {
        let whole = fs::read(file).unwrap();
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        for command in ["verify", "restore --replace"] {
            let run = db.kdata(&format!("db {command} {}", folder.display()));
            run.fails(3, &["is damaged: ", says, "verify an older one"]);
        }
        fs::write(file, whole).unwrap();
    }
    // Cut, and its checksum with it: only restoring shows it.
    fs::write(&data, &sum[..sum.len() / 2]).unwrap();
    fs::write(&manifest, other).unwrap();
    db.kdata(&format!("db verify {}", folder.display())).fails(3, &["is damaged: ", "pg_restore"]);
    assert!(!folder.join("verified").exists());
    assert_eq!(db.production_to_the_letter(), before);
    assert_eq!(beside(db), [""; 0]);
    fs::write(&data, &sum).unwrap();
    fs::write(&manifest, &text).unwrap();
    db.kdata("db verify").ok();
    db.kdata("db verify nothing").fails(2, &["nothing is neither a folder nor a backup"]);
    // A form that this kdata does not read.
    fs::write(&manifest, text.replacen("\"form\": 1", "\"form\": 2", 1)).unwrap();
    db.kdata(&format!("db verify {}", folder.display())).fails(5, &["is of form 2"]);
    fs::write(&manifest, text.replacen("\"schema\": ", "\"schema\": 9", 1)).unwrap();
    db.kdata(&format!("db restore {} --replace", folder.display()))
        .fails(5, &["newer than this kdata knows"]);
}

#[test]
fn old_backups_go_but_the_last_proven_one() {
    let mut db = Db::native();
    fixture(&db);
    let parent = db.path("home/backups");
    let backup = |db: &mut Db, day: u32| {
        db.set("KDATA_NOW", &format!("2026-11-{day:02}T20:00:00+09:00"));
        let run = db.kdata("db backup");
        let said = run.stderr.clone();
        (name(&made(run)), said)
    };
    let (first, _) = backup(&mut db, 1);
    let (second, _) = backup(&mut db, 2);
    db.kdata(&format!("db verify {first}")).ok();
    // A run that was killed left this.
    fs::create_dir(parent.join("x.partial")).unwrap();
    let (third, said) = backup(&mut db, 12);
    assert!(
        said.contains(&format!("deleted {second}")) && !said.contains(&format!("deleted {first}")),
        "{said}"
    );
    let kept = || {
        let entries = fs::read_dir(&parent).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        entries.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(kept(), [first.clone(), third.clone()]);
    // A database that lost its rows does not push out what holds them.
    db.rows("DELETE FROM market.ohlcv_daily");
    let (fourth, said) = backup(&mut db, 30);
    assert!(said.contains("no older backup was deleted"), "{said}");
    assert_eq!(kept(), [first, third, fourth]);
    // One at a time.
    let lock = fs::File::open(&parent).unwrap();
    lock.lock().unwrap();
    db.kdata("db backup").fails(8, &["another kdata works on the backups"]);
}
