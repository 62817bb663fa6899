//! A user's own files.

use crate::support::{Sheet, Work};

fn work(file: &str, bytes: impl AsRef<[u8]>) -> Work {
    let mut work = Work::new();
    work.write(&format!("own/{file}"), bytes);
    let folder = work.path("own").display().to_string();
    work.set("KDATA_CSV", &folder);
    work
}

fn rows(stream: &str) -> Vec<&str> {
    stream.lines().skip(2).filter(|line| !line.starts_with('#')).collect()
}

const KOREAN: &str = "일자,종목코드,종목명,시가,고가,저가,종가,거래량,시장,구분\n\
    2026/01/05,005930,삼성전자,\"71,000\",\"71,500\",\"70,600\",\"71,300\",\"14,210,331\",KOSPI,STOCK\n\
    2026/01/02,005930,삼성전자,70000,70500,69600,70300,100,KOSPI,STOCK\n\
    2026/01/02,000020,동화약품,0,0,0,6060,0,KOSPI,STOCK\n";
const MAP: &str = "time=일자,stock_code=종목코드,open=시가,high=고가,low=저가,ohlcv.close=종가,volume=거래량,market=시장,security_type=구분";

#[test]
fn a_map_names_the_columns_and_the_encoding_may_be_cp949() {
    let plain = {
        let mut work = work("ohlcv.csv", KOREAN);
        work.set("KDATA_CSV_COLUMNS", MAP)
            .kdata("extract ohlcv --source csv --from 2026-01-02 --to 2026-01-05")
            .ok()
    };
    assert!(
        plain.contains(" provides=stock_code,time,open,high,low,close,volume,market,security_type "),
        "{plain}"
    );
    assert_eq!(
        rows(&plain),
        [
            "000020,2026-01-02,,,,6060,0,,,KOSPI,STOCK",
            "005930,2026-01-02,70000,70500,69600,70300,100,,,KOSPI,STOCK",
            "005930,2026-01-05,71000,71500,70600,71300,14210331,,,KOSPI,STOCK",
        ]
    );
    let bytes = encoding_rs::EUC_KR.encode(KOREAN).0;
    let mut old = work("ohlcv.csv", &bytes);
    old.set("KDATA_CSV_COLUMNS", MAP);
    let ask = "extract ohlcv --source csv --from 2026-01-02 --to 2026-01-05";
    old.kdata(ask).fails(2, &["KDATA_CSV_ENCODING", "cp949"]);
    assert_eq!(rows(&old.set("KDATA_CSV_ENCODING", "cp949").kdata(ask).ok()), rows(&plain));
    let one = old.kdata("extract ohlcv --source csv --date 2026-01-02 --codes 005930,999990");
    assert_eq!(rows(&one.stdout).len(), 1);
    one.fails(7, &["could not give 1 of the codes"]);
}

#[test]
fn what_kdata_wrote_reads_back_for_every_dataset() {
    let mut source = Work::new();
    source.marcap(2026, &Sheet::fixture(2026));
    for dataset in crate::support::DATASETS {
        let range = "--from 2026-01-02 --to 2026-01-07";
        let stream =
            source.sh(&format!("kdata extract {dataset} --source marcap {range} | kdata validate")).ok();
        let lines: Vec<&str> = stream.lines().filter(|line| !line.starts_with('#')).collect();
        let work = work(&format!("{dataset}.csv"), lines.join("\n"));
        let again = work.sh(&format!("kdata extract {dataset} --source csv {range} | kdata validate")).ok();
        assert_eq!(rows(&again), lines[1..], "{dataset}");
    }
    let minutes = "stock_code,time,open,high,low,close,volume,value\n\
        005930,2026-01-05 09:01,10,11,9,10,5,50\n005930,2026-01-05 09:00,10,11,9,10,5,50\n000020,20260105090000,10,11,9,10,5,50\n";
    let minutes =
        work("ohlcv-minute.csv", minutes).kdata("extract ohlcv-minute --source csv --date 2026-01-05").ok();
    let keys: Vec<_> = rows(&minutes).iter().map(|row| &row[..32]).collect();
    assert_eq!(
        keys,
        [
            "000020,2026-01-05T09:00:00+09:00",
            "005930,2026-01-05T09:00:00+09:00",
            "005930,2026-01-05T09:01:00+09:00"
        ]
    );
}

#[test]
fn bad_files_are_named_and_bad_rows_are_kept() {
    let ask = "extract ohlcv --source csv --date 2026-01-02";
    Work::new().kdata(ask).fails(2, &["KDATA_CSV is not set"]);
    work("other.csv", "x\n").kdata(ask).fails(4, &["neither ohlcv.csv nor ohlcv.csv.gz"]);
    work("ohlcv.csv", "date,code\n").kdata(ask).fails(2, &["lacks the columns stock_code"]);
    let mut work = work("ohlcv.csv", KOREAN.replace("70300", "7O300").replace("6060,0", "6060"));
    work.set("KDATA_CSV_COLUMNS", "close=없는").kdata(ask).fails(2, &["has no column 없는", "일자"]);
    let stream = work.set("KDATA_CSV_COLUMNS", MAP).kdata(ask).ok();
    assert!(stream.contains("#reject line=3 rule=source.row_reads") && stream.contains("7O300"), "{stream}");
    assert!(stream.contains("#reject line=4 rule=source.row_reads"), "{stream}");
    assert!(stream.contains(" rejected=2 "), "{stream}");
}
