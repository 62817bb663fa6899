//! A crontab, read and obeyed as cron does.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// A line that runs something.
#[derive(Clone, Debug)]
pub struct Line {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    months: Vec<u32>,
    /// 0 is Sunday.
    weekdays: Vec<u32>,
    /// Cron takes either day where both are restricted.
    both_days: bool,
    /// With `%` as cron has it: a line feed, and what follows the first one is piped in.
    pub command: String,
    pub input: String,
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub struct Crontab {
    pub env: BTreeMap<String, String>,
    pub lines: Vec<Line>,
}

impl Crontab {
    pub fn parse(text: &str) -> Self {
        let mut crontab = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with(|c: char| c.is_ascii_digit() || c == '*') {
                crontab.lines.push(Line::parse(line));
            } else {
                let (name, value) =
                    line.split_once('=').unwrap_or_else(|| panic!("neither a setting nor a line: {line}"));
                crontab.env.insert(name.trim().to_owned(), value.trim().trim_matches('"').to_owned());
            }
        }
        crontab
    }

    /// What fires on a day, in the order of time and of the file.
    pub fn on(&self, date: NaiveDate) -> Vec<(NaiveDateTime, &Line)> {
        let mut all = Vec::new();
        for line in self.lines.iter().filter(|line| line.is_on(date)) {
            for hour in &line.hours {
                for minute in &line.minutes {
                    all.push((date.and_time(NaiveTime::from_hms_opt(*hour, *minute, 0).unwrap()), line));
                }
            }
        }
        all.sort_by_key(|(at, _)| (at.hour(), at.minute()));
        all
    }
}

impl Line {
    fn parse(line: &str) -> Self {
        let mut rest = line;
        let mut field = || {
            let (field, after) =
                rest.split_once(char::is_whitespace).unwrap_or_else(|| panic!("too short: {line}"));
            rest = after.trim_start();
            field.to_owned()
        };
        let fields = [field(), field(), field(), field(), field()];
        let [minutes, hours, days, months, weekdays] = &fields;
        let mut weekdays_of: Vec<u32> = numbers(weekdays, 0, 7).into_iter().map(|day| day % 7).collect();
        weekdays_of.dedup();
        let (command, input) = percent(rest);
        Self {
            minutes: numbers(minutes, 0, 59),
            hours: numbers(hours, 0, 23),
            days: numbers(days, 1, 31),
            months: numbers(months, 1, 12),
            weekdays: weekdays_of,
            both_days: days != "*" && weekdays != "*",
            command,
            input,
        }
    }

    fn is_on(&self, date: NaiveDate) -> bool {
        let day = self.days.contains(&date.day());
        let weekday = self.weekdays.contains(&date.weekday().num_days_from_sunday());
        self.months.contains(&date.month()) && if self.both_days { day || weekday } else { day && weekday }
    }
}

/// `*`, `*/15`, `1-5`, `1,3,5-7`, `8-18/2`.
fn numbers(field: &str, first: u32, last: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (first, last),
            (_, Some((from, to))) => (number(from, field), number(to, field)),
            (one, None) => (number(one, field), number(one, field)),
        };
        assert!(first <= from && from <= to && to <= last, "{field} is no range of {first} to {last}");
        all.extend((from..=to).step_by(usize::try_from(number(step, field)).unwrap()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn number(text: &str, field: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("{field} is no field of a crontab"))
}

/// An unescaped `%` ends the command; those behind it are line feeds of what is piped in.
fn percent(text: &str) -> (String, String) {
    let (mut command, mut input, mut inside) = (String::new(), String::new(), true);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' if chars.peek() == Some(&'%') => chars.next().unwrap(),
            '%' if inside => {
                inside = false;
                continue;
            }
            '%' => '\n',
            other => other,
        };
        if inside { command.push(c) } else { input.push(c) }
    }
    (command, input)
}

#[test]
fn lines_fire_when_cron_fires_them() {
    let crontab = Crontab::parse(
        "# a comment\nCRON_TZ=Asia/Seoul\n10 19 * * 1-5  cd /srv && date +\\%F\n*/30 6 1,15 * *  cat%a%b\n0 0 1 * 1  x\n",
    );
    assert_eq!(crontab.env["CRON_TZ"], "Asia/Seoul");
    let fires = |date: &str| {
        let all = crontab.on(date.parse().unwrap());
        all.iter().map(|(at, line)| format!("{} {}", at.format("%H:%M"), line.command)).collect::<Vec<_>>()
    };
    assert_eq!(fires("2026-11-20"), ["19:10 cd /srv && date +%F"]);
    assert_eq!(fires("2026-11-21"), Vec::<String>::new());
    assert_eq!(fires("2026-11-15"), ["06:00 cat", "06:30 cat"]);
    assert_eq!(fires("2026-11-16"), ["00:00 x", "19:10 cd /srv && date +%F"]);
    assert_eq!(crontab.lines[1].input, "a\nb");
}
