//! Minute bars on their way into staging: that they ascend, and what each day of a name holds together.

use std::io::Write;

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tokio_postgres::Transaction;

use crate::dataset::Dataset;
use crate::db::{failed, staging};
use crate::error::{Error, Result};

/// Looks that minute bars ascend by session, name and minute, so that none comes twice, and adds them up. `kdata validate`
/// made sure that they ascend; but promote may write them where no index watches, and a stream may be made by other means.
pub(super) struct Minutes {
    /// The key of the row before: its session, name and minute.
    last: [u8; Minutes::KEY],
    /// Of the columns low, high and volume.
    columns: [usize; 3],
    days: Vec<Day>,
}

/// The minutes of a name on a day together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Day {
    /// `2026-11-20` and the code: how the key of its minutes begins.
    key: [u8; Minutes::OF_DAY],
    bars: u64,
    low: i64,
    high: i64,
    volume: i64,
}

impl Minutes {
    const CODE: usize = 6;
    const TIME: usize = "2026-11-20T09:00:00+09:00".len();
    const DAY: usize = "2026-11-20".len();
    const OF_DAY: usize = Self::DAY + Self::CODE;
    const KEY: usize = Self::CODE + Self::TIME;

    pub(super) fn new(dataset: &Dataset) -> Self {
        Self {
            last: [0; Self::KEY],
            columns: ["low", "high", "volume"].map(|column| dataset.index(column)),
            days: Vec::new(),
        }
    }

    /// Takes a row, which begins with code and time; `value` tells a column's.
    pub(super) fn take(&mut self, row: &[u8], value: impl Fn(usize) -> i64) -> Result<()> {
        let mut key = [0; Self::KEY];
        let is_read = row.len() > Self::KEY + 1
            && row[Self::CODE] == b','
            && row[Self::KEY + 1] == b','
            && row[..=Self::KEY].ends_with(b"+09:00");
        if is_read {
            let (code, time) = (&row[..Self::CODE], &row[Self::CODE + 1..=Self::KEY]);
            let (day, minute) = time.split_at(Self::DAY);
            key[..Self::DAY].copy_from_slice(day);
            key[Self::DAY..Self::OF_DAY].copy_from_slice(code);
            key[Self::OF_DAY..].copy_from_slice(minute);
        }
        if key <= self.last {
            return Err(Error::Refused {
                what: format!(
                    "the stream is out of the order that it promises (order=key) at: {}",
                    String::from_utf8_lossy(&row[..row.len().min(Self::KEY + 1)])
                ),
                help: "it was changed after `kdata validate`: run the whole pipe again".into(),
            });
        }
        let [low, high, volume] = self.columns.map(value);
        match self.days.last_mut() {
            Some(day) if key.starts_with(&day.key) => {
                day.bars += 1;
                day.low = day.low.min(low);
                day.high = day.high.max(high);
                day.volume = day.volume.saturating_add(volume);
            }
            _ => {
                let mut of_day = [0; Self::OF_DAY];
                of_day.copy_from_slice(&key[..Self::OF_DAY]);
                self.days.push(Day { key: of_day, bars: 1, low, high, volume });
            }
        }
        self.last = key;
        Ok(())
    }

    /// What was added up.
    pub(super) fn days(self) -> Vec<Day> {
        self.days
    }
}

/// Keeps the days of a batch beside its rows: promote need not read millions of minutes for them, and compares with them
/// what it brought into production.
pub(super) async fn keep(transaction: &Transaction<'_>, batch: i64, days: &[Day]) -> Result<()> {
    let doing = failed("cannot stage the days");
    let table = staging::days(batch);
    let create = format!(
        "CREATE TABLE {table} (stock_code text, time date, bars bigint, low integer, high integer, volume bigint)"
    );
    transaction.batch_execute(&create).await.map_err(&doing)?;
    let copy = format!("COPY {table} FROM STDIN WITH (FORMAT csv, FREEZE)");
    let sink = transaction.copy_in::<_, Bytes>(&copy).await.map_err(&doing)?;
    pin_mut!(sink);
    for days in days.chunks(1000) {
        let mut rows = Vec::new();
        for Day { key, bars, low, high, volume } in days {
            let (day, code) = key.split_at(Minutes::DAY);
            rows.extend_from_slice(code);
            rows.push(b',');
            rows.extend_from_slice(day);
            writeln!(rows, ",{bars},{low},{high},{volume}").expect("memory takes it");
        }
        sink.send(rows.into()).await.map_err(&doing)?;
    }
    sink.finish().await.map_err(&doing)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;

    fn minutes() -> Minutes {
        Minutes::new(dataset::find("ohlcv-minute").unwrap())
    }

    fn row(code: &str, time: &str) -> Vec<u8> {
        format!("{code},2026-11-{time}:00+09:00,1,1,1,1,1,").into_bytes()
    }

    const GOOD: [(&str, &str); 5] = [
        ("000020", "19T09:00"),
        ("000020", "19T09:01"),
        ("000040", "19T09:00"),
        ("000020", "20T09:00"),
        ("000020", "20T09:01"),
    ];

    #[test]
    fn minutes_ascend() {
        let mut good = minutes();
        for (code, time) in GOOD {
            assert!(good.take(&row(code, time), |_| 1).is_ok(), "{code} {time}");
        }
        for bad in [
            row("000020", "20T09:01"),
            row("000020", "20T09:00"),
            row("000010", "20T15:30"),
            row("999999", "19T15:30"),
            b"000020,2026-11-20T01:00:00+00:00,1,1,1,1,1,".to_vec(),
            b"x".to_vec(),
        ] {
            let mut after = Minutes { last: good.last, ..minutes() };
            assert!(after.take(&bad, |_| 1).is_err(), "{}", String::from_utf8_lossy(&bad));
        }
    }

    #[test]
    fn days_are_their_minutes_together() {
        let mut all = minutes();
        let [low, high, volume] = all.columns;
        for (n, (code, time)) in (1..).zip(GOOD) {
            let value = |column| match column {
                c if c == low => 10 - n,
                c if c == high => 10 + n,
                c if c == volume => n,
                _ => unreachable!("nobody asks for it"),
            };
            all.take(&row(code, time), value).unwrap();
        }
        let days = all.days();
        let told: Vec<_> = days.iter().map(|d| (d.bars, d.low, d.high, d.volume)).collect();
        assert_eq!(told, [(2, 8, 12, 3), (1, 7, 13, 3), (2, 5, 15, 9)]);
        assert_eq!(&days[1].key, b"2026-11-19000040");
    }
}
