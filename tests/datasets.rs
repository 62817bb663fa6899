//! The datasets beyond masters, bars and caps, by streams made by hand: through the stages, twice, replaced, undone.

use crate::support::{Db, Made, on_both_backends};

on_both_backends! {
    twice_is_once
}

const DAY: (&str, &str) = ("2026-01-05", "2026-01-06");

fn made(dataset: &'static str) -> Made {
    let header = match dataset {
        "sectors" => "scheme,stock_code,time,sector_code,sector_name",
        "index-components" => "index_code,time,stock_code,weight",
        "floating-shares" => "stock_code,time,listed_shares,floating_shares,floating_ratio",
        "etf-portfolios" => "etf_code,time,component_id,component_code,component_name,quantity,value,weight",
        "ohlcv-minute" => "stock_code,time,open,high,low,close,volume,value",
        "investor-trading" => {
            "stock_code,time,investor_type,buy_volume,sell_volume,buy_value,sell_value,net_volume,net_value"
        }
        other => panic!("{other}"),
    };
    Made { dataset, header, range: DAY, says: Vec::new() }
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

/// Validates, loads and promotes; returns the batch and what promote said.
#[track_caller]
fn promoted(db: &Db, stream: &str) -> (String, String) {
    let validated = db.feed("validate", stream.as_bytes()).ok();
    let batch = db.load(&validated);
    let told = db.kdata(&format!("promote --batch {batch}")).ok();
    (batch, told)
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
        let days = [DAY.0, DAY.1].map(|day| format!("{day}|{}|csv|final", of(day)));
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
