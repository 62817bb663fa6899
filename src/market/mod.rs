//! Floor 0: the Korean stock market as plain values. No I/O, no async, no database.
//!
//! Facts are dated. Where a fact does not reach back to a date, the function answers `None` and the rule
//! built on it does not apply there.

pub mod calendar;
pub mod code;
pub mod decimal;
pub mod investor;
pub mod limit;
pub mod security;
pub mod tick;

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};

pub use calendar::{Calendar, Day, Entry, Hours};
pub use code::{IndexCode, Isin, StockCode};
pub use decimal::Decimal;
pub use investor::Investor;
pub use security::{Market, SecurityType};

/// Asia/Seoul: UTC+9, without daylight saving time since 1988.
pub fn kst() -> FixedOffset {
    FixedOffset::east_opt(9 * 3600).expect("nine hours is a valid offset")
}

/// The date in Seoul at an instant.
pub fn kst_date(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&kst()).date_naive()
}

/// A date from three numbers known to be right; for tables of facts.
///
/// # Panics
/// When the numbers are not a date: a mistake in a table.
pub const fn ymd(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => panic!("not a date"),
    }
}
