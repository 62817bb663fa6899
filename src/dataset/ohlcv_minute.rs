//! Minute bars of the regular session of KRX: raw, not adjusted.

use chrono::{NaiveDateTime, TimeDelta};

use super::record::{self, Facts, Fields, Malformed, Record, RowWriter, required};
use super::rule::{RowRule, Rule, Scope, Severity, batch, code_is_known, must};
use super::{Column, Dataset, Kind};
use crate::market::{Day, StockCode};

/// The dataset.
pub static DATASET: Dataset = Dataset {
    name: "ohlcv-minute",
    table: "ohlcv_minute",
    about: "minute bars: open, high, low, close, volume, value",
    columns: &[
        Column { name: "stock_code", sql: "text", about: "KRX short code, six characters" },
        Column {
            name: "time",
            sql: "timestamptz",
            about: "start of the minute; its date in Seoul is the session",
        },
        Column { name: "open", sql: "integer", about: "first price of the minute, KRW" },
        Column { name: "high", sql: "integer", about: "highest price, KRW" },
        Column { name: "low", sql: "integer", about: "lowest price, KRW" },
        Column { name: "close", sql: "integer", about: "last price, KRW" },
        Column { name: "volume", sql: "bigint", about: "shares traded in the minute" },
        Column { name: "value", sql: "bigint", about: "value traded in the minute, KRW; NULL if not known" },
    ],
    key: &["stock_code", "time"],
    kind: Kind::Series,
    code: "stock_code",
    expects: Some(
        "NOT EXISTS (SELECT FROM market.ohlcv_daily o \
         WHERE o.stock_code = h.stock_code AND o.time = t.time AND o.open IS NULL)",
    ),
    may_lag: 0,
    row_rules: record::rules_of::<MinuteBar>,
    batch_rules: &BATCH_RULES,
    check: record::check::<MinuteBar>,
    check_group: None,
    queries: &[
        include_str!("../../sql/checks/session_is_there.sql"),
        include_str!("../../sql/checks/names_are_whole.sql"),
        include_str!("../../sql/checks/session_is_new.sql"),
        include_str!("../../sql/checks/within_day.sql"),
        include_str!("../../sql/checks/volume_is_of_day.sql"),
        include_str!("../../sql/checks/session_is_its_own.sql"),
        include_str!("../../sql/checks/code_is_known.sql"),
    ],
    holes: &[
        ("missing_session", "flag"),
        ("traded_a", "true"),
        ("same_key", "b.stock_code = a.stock_code"),
        ("same_a", "a.bars, a.low, a.high, a.volume"),
        ("same_b", "b.bars, b.low, b.high, b.volume"),
        ("share", "0.2"),
        ("own", "(SELECT d.* FROM around d JOIN staged_times t ON t.time = d.time)"),
        ("known", "stock_code"),
        ("can_know", "true"),
    ],
};

/// One minute bar. A minute without trades has no bar: fillers of a source (volume 0) are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteBar {
    /// The name.
    pub code: StockCode,
    /// Start of the minute in Seoul; the closing auction is the bar of the close itself (15:30).
    pub time: NaiveDateTime,
    /// First price, KRW.
    pub open: i64,
    /// Highest price, KRW.
    pub high: i64,
    /// Lowest price, KRW.
    pub low: i64,
    /// Last price, KRW.
    pub close: i64,
    /// Shares traded in this minute (not since the open).
    pub volume: i64,
    /// Value traded in this minute, KRW (not since the open); `None` where the source does not tell it.
    pub value: Option<i64>,
}

impl MinuteBar {
    /// Writes the row, without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        RowWriter::new(out)
            .plain(self.code.as_bytes())
            .minute(self.time)
            .number(self.open)
            .number(self.high)
            .number(self.low)
            .number(self.close)
            .number(self.volume)
            .optional(self.value);
    }
}

impl Record for MinuteBar {
    const RULES: &'static [RowRule<Self>] = &[
        rule(
            "ohlcv-minute.nothing_is_negative",
            "a price is not positive, or the value is negative",
            "Prices are positive KRW, value counts what was traded.",
            &["open", "high", "low", "close", "value"],
            |bar, _| {
                let prices = [bar.open, bar.high, bar.low, bar.close];
                must(prices.iter().all(|p| *p > 0) && bar.value.is_none_or(|v| v >= 0))
            },
        ),
        rule(
            "ohlcv-minute.something_was_traded",
            "the minute has no volume",
            "A minute without trades has no bar. Sources fill gaps with bars of volume 0 and the last price: those are \
             no trades, and adapters leave them out.",
            &["volume"],
            |bar, _| must(bar.volume > 0),
        ),
        rule(
            "ohlcv-minute.high_is_highest",
            "high is below open, low or close",
            "By definition.",
            &["open", "high", "low", "close"],
            |bar, _| must(bar.high >= bar.open.max(bar.low).max(bar.close)),
        ),
        rule(
            "ohlcv-minute.low_is_lowest",
            "low is above open or close",
            "By definition.",
            &["open", "low", "close"],
            |bar, _| must(bar.low <= bar.open.min(bar.close)),
        ),
        rule(
            "ohlcv-minute.within_hours",
            "the minute lies outside of the regular session",
            "09:00 to 15:30 (15:00 until 2016-07-31), from 10:00 on the first session of a year, 10:00 to 16:30 on the day \
             of the college entrance exam. The bar of the close itself is the closing auction. Auctions before the open, \
             off-hours trades, the after-market (since 2026-09-14) and NXT are other venues or sessions, never mixed in. \
             Not judged where the hours are not known.",
            &["time"],
            |bar, facts| must(until_close(bar, facts).is_none_or(|left| left.is_some())),
        ),
        rule(
            "ohlcv-minute.auction_is_quiet",
            "there are trades during the closing auction",
            "Orders are gathered for the ten minutes before the close (15:20 to 15:30) and executed at once: those minutes \
             are normally empty, but for a trade stamped in their first one. Noted: auctions of single names end later \
             now and then.",
            &["time", "volume"],
            |bar, facts| match until_close(bar, facts)?? {
                1..=9 => Some(Severity::Note),
                _ => None,
            },
        ),
        rule(
            "ohlcv-minute.value_fits_volume",
            "the traded value does not fit low x volume .. high x volume",
            "Flagged beyond 5 per cent and the source's value unit. Sources that tell only the day's running value include \
             block trades and the trades before the open, so that true bars may lie outside.",
            &["time", "high", "low", "volume", "value"],
            |bar, facts| {
                let (value, volume, unit) =
                    (i128::from(bar.value?), i128::from(bar.volume), i128::from(facts.value_unit));
                let (least, most) = (i128::from(bar.low) * volume * 95, i128::from(bar.high) * volume * 105);
                let outside = value * 100 < least - unit * 100 || value * 100 > most + unit * 100;
                outside.then_some(Severity::Flag)
            },
        ),
    ];

    fn read(fields: &Fields) -> Result<Self, Malformed> {
        let price = |column| required(fields.price(column)?, column);
        Ok(Self {
            code: fields.code(0)?,
            time: required(fields.minute(1)?, 1)?,
            open: price(2)?,
            high: price(3)?,
            low: price(4)?,
            close: price(5)?,
            volume: required(fields.number(6)?, 6)?,
            value: fields.number(7)?,
        })
    }
}

/// A rule of one row that rejects unless its test says otherwise.
const fn rule(
    name: &'static str,
    says: &'static str,
    why: &'static str,
    shows: &'static [&'static str],
    test: fn(&MinuteBar, &Facts) -> Option<Severity>,
) -> RowRule<MinuteBar> {
    RowRule { rule: Rule { name, severity: Severity::Reject, scope: Scope::Row, says, why, shows }, test }
}

/// Minutes from the bar to the session's close, `Some(None)` outside of its hours; `None` where these are not known.
#[expect(clippy::option_option, reason = "not known and not within are two things")]
fn until_close(bar: &MinuteBar, facts: &Facts) -> Option<Option<i64>> {
    let Day::Session(Some(hours)) = facts.calendar.day(bar.time.date()) else {
        return None;
    };
    let time = bar.time.time();
    let left = (hours.close - time).max(TimeDelta::zero()).num_minutes();
    Some((time >= hours.open && time <= hours.close).then_some(left))
}

static BATCH_RULES: [Rule; 7] = [
    batch(
        "ohlcv-minute.session_is_there",
        Severity::Flag,
        "a session of the range has no row",
        "Every session of the calendar within the batch's range should have rows; kdata due lists it until it has. Sources \
         keep minutes for about a year.",
    ),
    batch(
        "ohlcv-minute.names_are_whole",
        Severity::Gate,
        "the number of names with trades moved by more than 5 % and 10",
        "Compared with the previous calendar session, where both claim all names.",
    ),
    batch(
        "ohlcv-minute.session_is_new",
        Severity::Gate,
        "the session copies the one before",
        "Number of bars, low, high and volume of more than a fifth of the names equal those of the previous session: the \
         source answered with yesterday's data.",
    ),
    batch(
        "ohlcv-minute.within_day",
        Severity::Flag,
        "minutes lie beyond the day's low and high, or the day had no trades",
        "Compared with ohlcv of the same session where it is in production. Consolidated feeds (NXT) and adjusted prices \
         show here.",
    ),
    batch(
        "ohlcv-minute.volume_is_of_day",
        Severity::Flag,
        "the minutes make more than the day's volume, or less than half of it",
        "Compared with ohlcv of the same session where it is in production. A running total taken for the minute's volume, \
         or a consolidated feed, makes more. Less is noted: block and off-hours trades are in no minute, and minutes \
         may be missing.",
    ),
    batch(
        "ohlcv-minute.session_is_its_own",
        Severity::Gate,
        "the minutes contradict the daily bars for more than a fifth of the names",
        "By within_day and volume_is_of_day. So many are no accident: another day's data, adjusted prices, a consolidated \
         feed, half a session.",
    ),
    code_is_known("ohlcv-minute.code_is_known"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::record::judge;

    #[test]
    fn rules() {
        use Severity::{Flag, Note, Reject};
        let bar = |time: &str, rest: &str| format!("005930,{time}:00+09:00,{rest}");
        let good = "75300,75400,75300,75300,69449,5233675100";
        let hours = vec![("ohlcv-minute.within_hours", Reject)];
        let quiet = vec![("ohlcv-minute.auction_is_quiet", Note)];
        let high = vec![("ohlcv-minute.high_is_highest", Reject)];
        let value = vec![("ohlcv-minute.value_fits_volume", Flag)];
        for (time, rest, broken) in [
            ("2024-06-11T12:50", good, vec![]),
            ("2024-06-11T12:50", "75300,75400,75300,75300,69449,", vec![]),
            ("2024-06-11T09:00", good, vec![]),
            ("2024-06-11T15:19", good, vec![]),
            ("2024-06-11T15:20", good, vec![]),
            ("2024-06-11T15:21", good, quiet.clone()),
            ("2024-06-11T15:29", good, quiet.clone()),
            ("2024-06-11T15:30", good, vec![]),
            ("2024-06-11T15:31", good, hours.clone()),
            ("2024-06-11T08:59", good, hours.clone()),
            // First session of a year, exam days, the close of 15:00.
            ("2026-01-02T09:59", good, hours.clone()),
            ("2026-01-02T10:00", good, vec![]),
            ("2026-11-19T09:30", good, hours.clone()),
            ("2026-11-19T15:40", good, vec![]),
            ("2026-11-19T16:21", good, quiet.clone()),
            ("2026-11-19T16:30", good, vec![]),
            ("2016-07-29T15:00", good, vec![]),
            ("2016-07-29T15:01", good, hours),
            ("2016-07-29T14:55", good, quiet),
            // Hours are not known.
            ("1999-01-05T11:30", good, vec![]),
            (
                "2024-06-11T12:50",
                "75300,75400,75300,75300,0,0",
                vec![("ohlcv-minute.something_was_traded", Reject)],
            ),
            (
                "2024-06-11T12:50",
                "75300,75400,0,75300,5,",
                vec![("ohlcv-minute.nothing_is_negative", Reject)],
            ),
            ("2024-06-11T12:50", "75300,75200,75100,75100,5,", high.clone()),
            ("2024-06-11T12:50", "75300,75300,75100,75400,5,", high),
            ("2024-06-11T12:50", "75300,75400,75350,75400,5,", vec![("ohlcv-minute.low_is_lowest", Reject)]),
            ("2024-06-11T12:50", "75300,75400,75300,75300,69449,5233675", value.clone()),
            ("2024-06-11T12:50", "75300,75400,75300,75300,69449,677732980500", value),
        ] {
            assert_eq!(judge::<MinuteBar>(&bar(time, rest), 1).unwrap(), broken, "{time} {rest}");
        }
        let row = format!("005930,2024-06-11,{good}");
        assert_eq!(judge::<MinuteBar>(&row, 1).unwrap_err().column, 1);
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        MinuteBar {
            code: StockCode::parse(b"005930").unwrap(),
            time: crate::market::ymd(2026, 1, 2).and_hms_opt(15, 30, 0).unwrap(),
            open: 1,
            high: 2,
            low: 1,
            close: 2,
            volume: 3,
            value: None,
        }
        .write(&mut out);
        assert_eq!(out, b"005930,2026-01-02T15:30:00+09:00,1,2,1,2,3,");
    }
}
