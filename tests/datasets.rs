//! The datasets beyond masters, bars and caps, by streams made by hand: through the stages, twice, replaced, undone.
//! What their batches are compared with is in `neighbours.rs`.

use crate::support::{Db, Made, Run, on_both_backends};

on_both_backends! {
    twice_is_once
    a_list_replaces_what_stood_there
    lists_come_whole_or_not_at_all
    better_lists_stay
    codes_that_did_not_come_hold_a_batch
    who_was_not_traded_has_no_minutes
    readers_ask_for_a_date
    rows_of_a_name_are_judged_together
}

const DAYS: (&str, &str) = ("2026-01-05", "2026-01-06");

/// A stream of a dataset, yet without lines.
pub fn made(dataset: &'static str) -> Made {
    let header = match dataset {
        "sectors" => "scheme,stock_code,time,sector_code,sector_name",
        "index-components" => "index_code,time,stock_code,weight",
        "floating-shares" => "stock_code,time,listed_shares,floating_shares,floating_ratio",
        "etf-portfolios" => "etf_code,time,component_id,component_code,component_name,quantity,value,weight",
        "ohlcv-minute" => "stock_code,time,open,high,low,close,volume,value",
        "investor-trading" => {
            "stock_code,time,investor_type,buy_volume,sell_volume,buy_value,sell_value,net_volume,net_value"
        }
        "stocks" => {
            "stock_code,time,isin,name,name_en,market,segment,security_type,listing_date,delisting_date,is_active,\
             par_value,listed_shares"
        }
        "ohlcv" => "stock_code,time,open,high,low,close,volume,value,base_price,market,security_type",
        other => panic!("{other}"),
    };
    Made { dataset, header, range: DAYS, says: Vec::new() }
}

/// A few good rows of two sessions.
fn sample(dataset: &str) -> Vec<&'static str> {
    match dataset {
        "sectors" => vec![
            "KRX,000020,2026-01-05,1009,제약",
            "KRX,005930,2026-01-05,1013,전기·전자",
            "KRX,000020,2026-01-06,1009,제약",
            "KRX,005930,2026-01-06,1013,전기·전자",
        ],
        "index-components" => vec![
            "1034,2026-01-05,000660,20.5",
            "1034,2026-01-05,005930,79.5",
            "1034,2026-01-06,005930,",
            "5300,2026-01-06,005930,31",
        ],
        "floating-shares" => {
            vec!["000020,2026-01-05,27931000,18000000,64.44", "005930,2026-01-06,5919637922,,75.97"]
        }
        "etf-portfolios" => vec![
            "152100,2026-01-05,KR7005930003,005930,삼성전자,8140,690272000,99.35",
            "152100,2026-01-05,KRD010010001,,원화예금,,14159974,0.65",
            "152100,2026-01-06,KR7005930003,005930,삼성전자,8140,690272000,100",
        ],
        "ohlcv-minute" => vec![
            "000020,2026-01-05T09:00:00+09:00,6000,6010,6000,6010,10,60050",
            "000020,2026-01-05T15:30:00+09:00,6010,6010,6010,6010,7,42070",
            "005930,2026-01-05T09:00:00+09:00,130000,130100,130000,130100,3,",
            "000020,2026-01-06T09:01:00+09:00,6000,6010,6000,6010,10,60050",
        ],
        "investor-trading" => vec![
            "005930,2026-01-05,FOREIGN,10,4,1000,400,6,600",
            "005930,2026-01-05,INSTITUTION,,,,,-5,-500",
            "005930,2026-01-05,OTHER_CORPORATION,,,,,0,0",
            "005930,2026-01-05,PENSION,,,,,-1,-100",
            "005930,2026-01-05,RETAIL,,,,,-1,-100",
            "005930,2026-01-06,FOREIGN,10,4,1000,400,6,600",
        ],
        other => panic!("{other}"),
    }
}

const ALL: [(&str, &str); 6] = [
    ("sectors", "sectors"),
    ("index-components", "index_components"),
    ("floating-shares", "floating_shares"),
    ("etf-portfolios", "etf_portfolios"),
    ("ohlcv-minute", "ohlcv_minute"),
    ("investor-trading", "investor_trading"),
];

/// Validates and loads; returns the batch.
#[track_caller]
pub fn staged(db: &Db, stream: &str) -> String {
    db.load(&db.feed("validate --max-rejects 100%", stream.as_bytes()).ok())
}

/// Validates, loads and promotes; returns the batch and what promote said.
#[track_caller]
pub fn promoted(db: &Db, stream: &str) -> (String, String) {
    let batch = staged(db, stream);
    let told = db.kdata(&format!("promote --batch {batch}")).ok();
    (batch, told)
}

/// The same for a batch that does not come.
#[track_caller]
fn refused(db: &Db, stream: &str) -> (String, Run) {
    let before = db.production_to_the_letter();
    let batch = staged(db, stream);
    let run = db.kdata(&format!("promote --batch {batch}"));
    assert_eq!(db.production_to_the_letter(), before);
    (batch, run)
}

/// What stands of the remarks about a batch, notes aside.
fn remarks(db: &Db, batch: &str) -> Vec<String> {
    db.rows(&format!(
        "SELECT severity, rule, stock_code, time, message FROM ops.flags \
         WHERE batch_id = {batch} AND severity <> 'note' ORDER BY 1, 2, 3, 4"
    ))
}

fn twice_is_once(db: &Db) {
    db.kdata("db migrate").ok();
    let empty = db.production_to_the_letter();
    let mut batches = Vec::new();
    for (dataset, table) in ALL {
        let (made, rows) = (made(dataset), sample(dataset));
        let (batch, told) = promoted(db, &made.stream(&rows));
        assert!(told.contains(&format!("{0} rows: {0} inserted", rows.len())), "{told}");
        assert_eq!(db.value(&format!("SELECT count(*) FROM market.{table}")), rows.len().to_string());
        let status = format!(
            "SELECT time, rows, source, finality FROM market.session_status WHERE dataset = '{dataset}' ORDER BY 1"
        );
        let of = |day: &str| rows.iter().filter(|row| row.contains(day)).count();
        let days = [DAYS.0, DAYS.1].map(|day| format!("{day}|{}|csv|final", of(day)));
        assert_eq!(db.rows(&status), days, "{dataset}");
        let before = db.writes();
        let (_, told) = promoted(db, &made.stream(&rows));
        assert!(told.contains(&format!("0 inserted, 0 updated, {} unchanged", rows.len())), "{told}");
        assert_eq!(db.writes(), before, "{dataset}");
        batches.push(batch);
    }
    for batch in db.rows("SELECT batch_id FROM ops.batches ORDER BY 1 DESC") {
        db.kdata(&format!("rollback {batch}")).ok();
    }
    assert_eq!(db.production_to_the_letter(), empty);
    db.nothing_is_staged();
}

const DAY: (&str, &str) = ("2026-01-05", "2026-01-05");

fn a_list_replaces_what_stood_there(db: &Db) {
    let made = Made { range: DAY, ..made("etf-portfolios") };
    promoted(
        db,
        &made.stream(&[
            "069500,2026-01-05,KR7000660001,000660,SK하이닉스,854,160893600,40",
            "069500,2026-01-05,KR7005930003,005930,삼성전자,8140,690272000,60",
            "152100,2026-01-05,KR7005930003,005930,삼성전자,8140,690272000,100",
            "229200,2026-01-05,KR7005930003,005930,삼성전자,8140,690272000,100",
        ]),
    );
    let before = db.production_to_the_letter();
    // One ETF with another part, one truly empty, one not in the batch.
    let (batch, told) = promoted(
        db,
        &made.stream(&[
            "069500,2026-01-05,CASH:원화현금,,,,160893600,40",
            "069500,2026-01-05,KR7005930003,005930,삼성전자,8141,690272000,60",
            "#slice what=229200,2026-01-05 rows=0",
        ]),
    );
    assert!(told.contains("2 rows: 1 inserted, 1 updated, 0 unchanged, 2 deleted"), "{told}");
    assert_eq!(
        db.rows("SELECT etf_code, component_id, quantity FROM market.etf_portfolios ORDER BY 1, 2"),
        ["069500|CASH:원화현금|-", "069500|KR7005930003|8141", "152100|KR7005930003|8140"]
    );
    assert_eq!(
        db.rows("SELECT slice, time, rows, source, finality FROM market.snapshots ORDER BY 1"),
        ["069500|2026-01-05|2|csv|final", "152100|2026-01-05|1|csv|final", "229200|2026-01-05|0|csv|final"]
    );
    assert_eq!(
        db.rows(&format!(
            "SELECT operation, key->>'etf_code', key->>'component_id' FROM ops.revisions \
             WHERE batch_id = {batch} AND table_name = 'etf_portfolios' ORDER BY 1, 2, 3"
        )),
        ["delete|069500|KR7000660001", "delete|229200|KR7005930003", "update|069500|KR7005930003"]
    );
    assert_eq!(db.value("SELECT rows FROM market.session_status WHERE dataset = 'etf-portfolios'"), "3");
    db.kdata(&format!("rollback {batch}")).ok();
    assert_eq!(db.production_to_the_letter(), before);
}

fn lists_come_whole_or_not_at_all(db: &Db) {
    let made = Made { range: DAY, ..made("index-components") };
    promoted(db, &made.stream(&["1034,2026-01-05,000660,20", "1034,2026-01-05,005930,80"]));
    // A row of one list is rejected, another one came twice the same.
    let rows = [
        "1034,2026-01-05,000660,200",
        "1034,2026-01-05,005930,80",
        "5042,2026-01-05,000660,",
        "5042,2026-01-05,005930,",
        "5042,2026-01-05,005930,",
    ];
    let (batch, told) = promoted(db, &made.stream(&rows));
    assert!(told.contains("3 rows: 2 inserted, 0 updated, 0 unchanged, 1 held back, 1 flagged"), "{told}");
    assert_eq!(
        db.rows("SELECT index_code, count(*) FROM market.index_components GROUP BY 1 ORDER BY 1"),
        ["1034|2", "5042|2"]
    );
    assert_eq!(
        remarks(db, &batch),
        ["flag|batch.list_is_whole|1034|2026-01-05|a row of 1034 was rejected: it does not come"]
    );
    // Nothing is left: held, unless someone wants it so.
    let (batch, run) = refused(db, &made.stream(&rows[..2]));
    run.fails(3, &["batch.list_is_whole", &format!("kdata promote --batch {batch} --force")]);
    db.kdata("explain batch.list_is_whole").ok();
    let told = db.kdata(&format!("promote --batch {batch} --force")).ok();
    assert!(told.contains("1 rows: 0 inserted, 0 updated, 1 unchanged, 1 deleted"), "{told}");
}

fn better_lists_stay(db: &Db) {
    let of =
        |finality: &'static str| Made { range: DAY, says: vec![("finality", finality)], ..made("sectors") };
    promoted(db, &of("final").stream(&["KRX,005930,2026-01-05,1013,전기·전자"]));
    // Of the same session, another scheme comes; the one that stands there final stays.
    let (batch, told) = promoted(
        db,
        &of("provisional")
            .stream(&["KIS-MID,005930,2026-01-05,0013,전기·전자", "KRX,005930,2026-01-05,1009,제약"]),
    );
    assert!(told.contains("2 rows: 1 inserted, 0 updated, 0 unchanged, 1 held back, 1 flagged"), "{told}");
    assert_eq!(
        db.rows("SELECT scheme, sector_code FROM market.sectors ORDER BY 1"),
        ["KIS-MID|0013", "KRX|1013"]
    );
    assert_eq!(
        remarks(db, &batch),
        [
            "flag|batch.better_is_there|-|2026-01-05|production holds 1 of the lists of 2026-01-05 from csv, final: KRX"
        ]
    );
    let (batch, run) = refused(db, &of("provisional").stream(&["KRX,005930,2026-01-05,1009,제약"]));
    run.fails(5, &["would replace better data", "KRX", "--force"]);
    db.kdata(&format!("promote --batch {batch} --force")).ok();
    assert_eq!(
        db.rows("SELECT slice, finality FROM market.snapshots ORDER BY 1"),
        ["KIS-MID|provisional", "KRX|provisional"]
    );
}

fn codes_that_did_not_come_hold_a_batch(db: &Db) {
    let made = Made { range: DAY, ..made("floating-shares") };
    let rows: Vec<String> = (1..=150).map(|n| format!("{n:05}0,2026-01-05,1000,500,50")).collect();
    let mut lines: Vec<&str> = rows.iter().map(String::as_str).collect();
    // Another session that a source lacks is no code.
    lines.extend(["#missing what=900000 reason=timeout", "#missing what=2026-01-05 reason=x"]);
    let (batch, told) = promoted(db, &made.stream(&lines));
    assert!(told.contains("150 inserted") && told.contains("1 flagged"), "{told}");
    let told = remarks(db, &batch);
    assert_eq!(
        told.iter().filter(|r| r.starts_with("flag")).collect::<Vec<_>>(),
        ["flag|batch.codes_are_there|-|-|1 of 151 codes did not come, e.g. 900000 (timeout)"]
    );
    assert!(told.contains(&"missing|source.missing|900000|-|timeout".to_owned()), "{told:?}");
    lines.push("#missing what=900010,2026-01-05 reason=timeout");
    let (batch, run) = refused(db, &made.stream(&lines));
    run.fails(3, &["batch.codes_are_there", "2 of 152 codes did not come", "--force"]);
    db.kdata("explain batch.codes_are_there").ok();
    db.kdata(&format!("promote --batch {batch} --max-missing 2%")).ok();
    // Of two sessions, a code lacks one.
    let days = Made { range: DAYS, ..self::made("floating-shares") };
    lines.pop();
    lines.retain(|line| !line.contains("900000"));
    lines.extend(["#missing what=000010,2026-01-06 reason=x", "#missing what=000020,2026-01-06 reason=x"]);
    let (batch, _) = promoted(db, &days.stream(&lines));
    let told = remarks(db, &batch);
    let says = "2 of 150 codes did not come, on 2 of their 4 sessions, e.g. 000010 (x)";
    assert!(told.iter().any(|r| r.starts_with("flag") && r.contains(says)), "{told:?}");
    // None came at all.
    let (_, run) = refused(db, &made.stream(&["#missing what=900000 reason=timeout"]));
    run.fails(3, &["1 of 1 codes did not come"]);
}

/// A name that has stood still for long has nothing that a broker could tell, and is not missed.
fn who_was_not_traded_has_no_minutes(db: &Db) {
    let made = |dataset| Made { range: DAY, ..made(dataset) };
    let master = |code: &str| format!("{code},2026-01-05,,가{code},,KOSPI,,STOCK,2010-01-04,,t,500,1000000");
    let bar = |code: &str, open: &str, volume: u32| {
        format!("{code},2026-01-05,{open},{open},{open},6000,{volume},{},6000,KOSPI,STOCK", volume * 6000)
    };
    let codes = ["000020", "000660", "005930"];
    let batch = staged(db, &made("stocks").stream(&codes.map(master).each_ref().map(String::as_str)));
    db.kdata(&format!("promote --batch {batch} --force")).ok();
    let bars = [bar(codes[0], "6000", 6), bar(codes[1], "6000", 6), bar(codes[2], "", 0)];
    let batch = staged(db, &made("ohlcv").stream(&bars.each_ref().map(String::as_str)));
    db.kdata(&format!("promote --batch {batch} --force")).ok();
    let minute = "000020,2026-01-05T09:00:00+09:00,6000,6000,6000,6000,6,36000";
    let other = "000660,2026-01-05T09:00:00+09:00,6000,6000,6000,6000,6,36000";
    let of_one_that_stands = "#missing what=005930,2026-01-05 reason=none";
    promoted(db, &made("ohlcv-minute").stream(&[minute, other, of_one_that_stands]));
    let of_one_that_trades = "#missing what=000660,2026-01-05 reason=none";
    let (_, run) =
        refused(db, &made("ohlcv-minute").stream(&[minute, of_one_that_stands, of_one_that_trades]));
    run.fails(3, &["1 of 2 codes did not come, e.g. 000660"]);
}

fn readers_ask_for_a_date(db: &Db) {
    for dataset in ["index-components", "etf-portfolios", "investor-trading"] {
        promoted(db, &made(dataset).stream(&sample(dataset)));
    }
    let empty = Made { range: ("2026-01-07", "2026-01-07"), ..made("etf-portfolios") };
    promoted(db, &empty.stream(&["#slice what=152100,2026-01-07 rows=0"]));
    let reader = db.kdata("db url --reader").ok();
    let reader = crate::support::Session::connect(reader.trim());
    for (query, rows) in [
        (
            "SELECT time, stock_code FROM members_on('1034', '2026-01-05')",
            &["2026-01-05|000660", "2026-01-05|005930"][..],
        ),
        ("SELECT time, stock_code FROM members_on('1034', '2026-07-01')", &["2026-01-06|005930"]),
        ("SELECT time, stock_code FROM members_on('1034', '2026-01-04')", &[]),
        (
            "SELECT time, component_id FROM portfolio_on('152100', '2026-01-05')",
            &["2026-01-05|KR7005930003", "2026-01-05|KRD010010001"],
        ),
        ("SELECT time, component_id FROM portfolio_on('152100', '2026-01-06')", &["2026-01-06|KR7005930003"]),
        ("SELECT time, component_id FROM portfolio_on('152100', '2026-01-08')", &[]),
        (
            "SELECT investor_type, buy_volume, net_volume, net_value FROM investor_trading_pure \
             WHERE time = '2026-01-05' ORDER BY 1",
            &[
                "FOREIGN|10|6|600",
                "INSTITUTION_PURE|-|-4|-400",
                "OTHER_CORPORATION|-|0|0",
                "PENSION|-|-1|-100",
                "RETAIL|-|-1|-100",
            ],
        ),
    ] {
        assert_eq!(reader.rows(query), rows, "{query}");
    }
}

fn rows_of_a_name_are_judged_together(db: &Db) {
    let made = Made { range: DAY, ..made("investor-trading") };
    let good = ["000020,2026-01-05,FOREIGN,,,,,5,500", "000020,2026-01-05,RETAIL,,,,,-5,-500"];
    let odd = [
        "005930,2026-01-05,FOREIGN,,,,,6,600",
        "005930,2026-01-05,INSTITUTION,,,,,-5,-500",
        "005930,2026-01-05,OTHER_CORPORATION,,,,,0,0",
        "005930,2026-01-05,RETAIL,,,,,-2,-100",
    ];
    let lines: Vec<&str> = good.iter().chain(&odd).copied().collect();
    let validated = db.feed("validate --max-rejects 100%", made.stream(&lines).as_bytes()).ok();
    for row in good {
        assert!(validated.contains(&format!("\n{row}\n")), "{validated}");
    }
    assert!(validated.contains("#end rows=2 rejected=4 "), "{validated}");
    assert_eq!(validated.matches("rule=investor-trading.nets_are_zero").count(), 4, "{validated}");
    assert!(validated.contains("investor_type=RETAIL net_volume=-2 net_value=-100"), "{validated}");
    // Without order nothing stands together: said, and not judged.
    let unordered = Made { says: vec![("order", "none")], ..made };
    let validated = db.feed("validate", unordered.stream(&lines).as_bytes()).ok();
    assert!(validated.contains("#note rule=row.groups_are_judged "), "{validated}");
    assert!(validated.contains("#end rows=6 rejected=0 "), "{validated}");
    for rule in ["row.groups_are_judged", "investor-trading.nets_are_zero"] {
        db.kdata(&format!("explain {rule}")).ok();
    }
}
