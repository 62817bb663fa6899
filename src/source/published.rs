//! When a source has a session's data, and when they settle. Dated facts of the vendors; what is not known for sure
//! errs to the later hour, so that nothing half-ready is taken for whole.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use super::Source;
use crate::market::{Calendar, Day, Hours, kst, ymd};

/// What a source has of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing, or not all: it will be there from then on (KST).
    NotYet {
        /// KST.
        from: NaiveDateTime,
    },
    /// There, and may change until then (KST).
    Provisional {
        /// KST.
        until: NaiveDateTime,
    },
    /// There for good.
    Final,
    /// The source tells the present only, and this is past.
    Gone,
}

/// A moment after a session: so many days later, at that hour (KST).
type Moment = (u64, u32, u32);

/// One line of the table: for sessions since a date, when data are there, and when they settle.
struct Line {
    source: &'static str,
    /// `*` for all that have no line of their own above.
    dataset: &'static str,
    since: NaiveDate,
    there: Moment,
    settled: Moment,
    /// Told of the present only: the hour of the next session from which that one is the present.
    gone: Option<u32>,
}

impl Line {
    const fn of_the_present_until(self, hour: u32) -> Self {
        Self { gone: Some(hour), ..self }
    }
}

const ALWAYS: NaiveDate = ymd(1956, 3, 3);
const REGULAR_CLOSE: NaiveTime = NaiveTime::from_hms_opt(15, 30, 0).expect("a time");
/// The after-market (16:00 to 20:00) trades since then.
pub const AFTER_MARKET_FROM: NaiveDate = ymd(2026, 9, 14);

const fn line(
    source: &'static str,
    dataset: &'static str,
    since: NaiveDate,
    there: Moment,
    settled: Moment,
) -> Line {
    Line { source, dataset, since, there, settled, gone: None }
}

/// The first line that fits counts.
static TABLE: &[Line] = &[
    // 29 % of the codes at 18:10, nearly all after 19:00; a wrong price was seen to be corrected later.
    line("infomax", "etf-portfolios", ALWAYS, (0, 9, 0), (0, 9, 0)),
    line("infomax", "index-components", ALWAYS, (0, 9, 0), (0, 9, 0)),
    line("infomax", "*", ALWAYS, (0, 19, 0), (1, 6, 0)),
    // The master files describe the opening of their day, and are fresh from about 07:00.
    line("kis", "stocks", ALWAYS, (0, 7, 0), (0, 7, 0)).of_the_present_until(0),
    line("kis", "sectors", ALWAYS, (0, 7, 0), (0, 7, 0)).of_the_present_until(0),
    line("kis", "index-components", ALWAYS, (0, 7, 0), (0, 7, 0)).of_the_present_until(0),
    line("kis", "etf-portfolios", ALWAYS, (0, 9, 0), (0, 9, 0)).of_the_present_until(0),
    // Bars of the evening bear after-market prices; they turn to the regular session's between 23:12 and 05:28.
    // Before the after-market the off-hours sessions ended at 18:00.
    line("kis", "*", AFTER_MARKET_FROM, (0, 15, 41), (1, 6, 0)),
    line("kis", "*", ALWAYS, (0, 15, 41), (0, 18, 0)),
    // A snapshot of the present, without a date of its own.
    line("kiwoom", "floating-shares", ALWAYS, (0, 9, 0), (0, 9, 0)).of_the_present_until(9),
    // Nothing is known of when its bars settle: as KIS.
    line("kiwoom", "*", AFTER_MARKET_FROM, (0, 15, 41), (1, 6, 0)),
    line("kiwoom", "*", ALWAYS, (0, 15, 41), (0, 18, 0)),
    // The last session appears at 08:00 of the next day.
    line("krx-openapi", "*", ALWAYS, (1, 8, 0), (1, 8, 0)),
    // The masters are of the present, and made anew in the night; listed shares may be corrected within the day.
    line("krx", "stocks", ALWAYS, (0, 9, 0), (0, 18, 30)).of_the_present_until(7),
    // Daily prices are final after the off-hours sessions, investors about half an hour after 18:00.
    line("krx", "*", AFTER_MARKET_FROM, (0, 18, 30), (0, 20, 30)),
    line("krx", "*", ALWAYS, (0, 18, 30), (0, 18, 30)),
];

/// What a source has of a session at an instant.
pub fn state(
    source: Source,
    dataset: &str,
    session: NaiveDate,
    calendar: &Calendar,
    now: DateTime<Utc>,
) -> State {
    let now = now.with_timezone(&kst()).naive_local();
    let line = TABLE.iter().find(|line| {
        line.source == source.name()
            && (line.dataset == dataset || line.dataset == "*")
            && session >= line.since
    });
    let Some(line) = line else {
        // Files and simulations have a session once it is over.
        let close = match calendar.day(session) {
            Day::Session(Some(Hours { close, .. })) => close,
            _ => NaiveTime::MIN,
        };
        let from = session.and_time(close);
        return if from > now { State::NotYet { from } } else { State::Final };
    };
    // What is there after the close is there later where the session ends later: the entrance exam's day.
    let late = match calendar.day(session) {
        Day::Session(Some(Hours { close, .. })) => (close - REGULAR_CLOSE).max(TimeDelta::zero()),
        _ => TimeDelta::zero(),
    };
    let at = |(days, hour, minute): Moment| {
        let day = session.checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX);
        let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default();
        day.and_time(time) + if days == 0 && time > REGULAR_CLOSE { late } else { TimeDelta::zero() }
    };
    let (there, settled) = (at(line.there), at(line.settled));
    let next =
        session.succ_opt().and_then(|day| calendar.sessions(day, calendar.covers().1).first().copied());
    let is_gone =
        |hour| next.is_some_and(|next| now.date() > next || (now.date() == next && now.hour() >= hour));
    if line.gone.is_some_and(is_gone) {
        State::Gone
    } else if there > now {
        State::NotYet { from: there }
    } else if settled > now {
        State::Provisional { until: settled }
    } else {
        State::Final
    }
}

/// Are the source's provisional closes another market's prices, so that they must not be taken for closes?
pub fn has_after_market_closes(source: &str, dataset: &str, session: NaiveDate) -> bool {
    source == "kis" && dataset == "ohlcv" && session >= AFTER_MARKET_FROM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_session_once_it_is_over() {
        let calendar = Calendar::shipped();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let state = |now| state(Source::Marcap, "ohlcv", ymd(2026, 11, 19), &calendar, at(now));
        // CSAT day closes at 16:30.
        let closes = ymd(2026, 11, 19).and_hms_opt(16, 30, 0).unwrap();
        assert_eq!(state("2026-11-19T16:29:00+09:00"), State::NotYet { from: closes });
        assert_eq!(state("2026-11-19T16:30:00+09:00"), State::Final);
    }

    #[test]
    fn a_session_that_ends_later_is_there_later() {
        let calendar = Calendar::shipped();
        let state = |dataset: &str, session, now: &str| {
            state(Source::Kis, dataset, session, &calendar, now.parse::<DateTime<Utc>>().unwrap())
        };
        let at = |day: u32, hour, minute| ymd(2026, 11, day).and_hms_opt(hour, minute, 0).unwrap();
        for (day, from) in [(18, at(18, 15, 41)), (19, at(19, 16, 41))] {
            let now = format!("2026-11-{day}T15:40:59+09:00");
            assert_eq!(state("ohlcv", ymd(2026, 11, day), &now), State::NotYet { from });
        }
        let settled = State::Provisional { until: at(20, 6, 0) };
        assert_eq!(state("ohlcv", ymd(2026, 11, 19), "2026-11-19T16:41:00+09:00"), settled);
        assert_eq!(state("stocks", ymd(2026, 11, 19), "2026-11-19T07:00:00+09:00"), State::Final);
    }

    #[test]
    fn the_present_is_told_until_the_next_session() {
        let calendar = Calendar::shipped();
        let friday = ymd(2026, 11, 20);
        for (source, dataset, last, gone) in [
            (Source::Kis, "sectors", "2026-11-22T23:59:00+09:00", "2026-11-23T00:00:00+09:00"),
            (Source::Krx, "stocks", "2026-11-23T06:59:00+09:00", "2026-11-23T07:00:00+09:00"),
            (Source::Kiwoom, "floating-shares", "2026-11-23T08:59:00+09:00", "2026-11-23T09:00:00+09:00"),
        ] {
            let state =
                |now: &str| state(source, dataset, friday, &calendar, now.parse::<DateTime<Utc>>().unwrap());
            assert_eq!((state(last), state(gone)), (State::Final, State::Gone), "{dataset}");
        }
    }

    /// A moment as the crontab's comment has it.
    fn said((days, hour, minute): Moment) -> String {
        format!("{}{hour:02}:{minute:02}", if days > 0 { format!("+{days} ") } else { String::new() })
    }

    #[test]
    fn the_crontab_says_what_the_table_says() {
        // The newest line of each source and dataset.
        let is_newest = |(at, line): &(usize, &Line)| {
            !TABLE[..*at].iter().any(|above| (above.source, above.dataset) == (line.source, line.dataset))
        };
        let lines = TABLE.iter().enumerate().filter(is_newest).map(|(_, line)| {
            let dataset = if line.dataset == "*" { "all others" } else { line.dataset };
            let (there, settled) = (said(line.there), said(line.settled));
            format!("#   {:<12}  {dataset:<16}  {there:<9}  {settled}", line.source)
        });
        let table: Vec<String> = lines.collect();
        let crontab = include_str!("../../crontab.example");
        let told = crontab.lines().skip_while(|line| !line.starts_with("#   source ")).skip(1);
        let told: Vec<&str> = told.take_while(|line| line.starts_with("#   ")).collect();
        assert_eq!(told, table, "crontab.example should read:\n{}", table.join("\n"));
    }

    #[test]
    fn lines_are_in_order() {
        for line in TABLE {
            assert!(line.there <= line.settled, "{} {}", line.source, line.dataset);
        }
    }
}
