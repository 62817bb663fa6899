//! Which sessions a command is about: `--date`, or `--from` and `--to`.

use chrono::NaiveDate;
use clap::Args;

use crate::dataset::record::parse_date;
use crate::error::{Error, Result};
use crate::market::Calendar;

/// `--date`, or `--from` and `--to`.
#[derive(Args, Debug, Clone)]
pub(super) struct Range {
    /// One day: today, yesterday, -1s (one session back), 2026-11-20 (always Asia/Seoul)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    date: Option<String>,
    /// First day of a range
    #[arg(long, value_name = "DAY", allow_hyphen_values = true, requires = "to")]
    from: Option<String>,
    /// Last day of a range
    #[arg(long, value_name = "DAY", allow_hyphen_values = true, requires = "from")]
    to: Option<String>,
}

impl Range {
    /// The first and the last day.
    pub(super) fn resolve(&self, calendar: &Calendar, today: NaiveDate) -> Result<(NaiveDate, NaiveDate)> {
        let day = |text: &str| day(text, calendar, today);
        match (&self.date, &self.from, &self.to) {
            (Some(date), _, _) => day(date).map(|d| (d, d)),
            (None, Some(from), Some(to)) => {
                let (from, to) = (day(from)?, day(to)?);
                if from > to {
                    return Err(Error::usage(format!("--from {from} is after --to {to}"), "swap them"));
                }
                Ok((from, to))
            }
            _ => {
                Err(Error::usage("no day is given", "add --date today, or --from 2026-01-02 --to 2026-02-20"))
            }
        }
    }
}

/// Reads a day as people write it.
pub(super) fn day(text: &str, calendar: &Calendar, today: NaiveDate) -> Result<NaiveDate> {
    let back = text.strip_prefix('-').and_then(|t| t.strip_suffix('s')).and_then(|n| n.parse::<usize>().ok());
    let compact = |t: &str| (t.len() == 8).then(|| NaiveDate::parse_from_str(t, "%Y%m%d").ok()).flatten();
    let resolved = match (text, back) {
        ("today", _) => Some(today),
        ("yesterday", _) => today.pred_opt(),
        (_, Some(back)) => {
            let mut date = Some(today);
            for _ in 0..back {
                date = date.and_then(|d| calendar.prev_session(d));
            }
            date
        }
        _ => parse_date(text.as_bytes()).or_else(|| compact(text)),
    };
    resolved.ok_or_else(|| {
        Error::usage(
            format!("{text:?} is not a day"),
            "write today, yesterday, -1s (one session back) or 2026-11-20",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    #[test]
    fn days() {
        let calendar = Calendar::shipped();
        let sunday = ymd(2026, 11, 22);
        for (text, date) in [
            ("today", sunday),
            ("yesterday", ymd(2026, 11, 21)),
            ("-1s", ymd(2026, 11, 20)),
            ("-2s", ymd(2026, 11, 19)),
            ("2026-11-20", ymd(2026, 11, 20)),
            ("20261120", ymd(2026, 11, 20)),
        ] {
            assert_eq!(day(text, &calendar, sunday).unwrap(), date, "{text}");
        }
        for bad in ["", "tomorow", "-s", "2026-11-31", "26-11-20"] {
            assert_eq!(day(bad, &calendar, sunday).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
