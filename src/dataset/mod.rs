//! Floor 1: what a dataset is. A [`Dataset`] is a value in the static list [`ALL`]; everything above loops
//! over the list or takes one `&Dataset`. The typed record behind it stops at [`check`].

pub mod etf_portfolios;
pub mod floating_shares;
pub mod index_components;
pub mod investor_trading;
pub mod market_cap;
pub mod ohlcv;
pub mod ohlcv_minute;
pub mod record;
pub mod rule;
pub mod sectors;
pub mod stocks;

use chrono::NaiveDate;

pub use record::{Facts, Fields, Malformed, Record, check};
pub use rule::{Finding, GroupRule, RowRule, Rule, Scope, Severity};

/// All datasets, in the order in which a day is collected.
pub static ALL: &[&Dataset] = &[
    &stocks::DATASET,
    &ohlcv::DATASET,
    &market_cap::DATASET,
    &sectors::DATASET,
    &index_components::DATASET,
    &floating_shares::DATASET,
    &etf_portfolios::DATASET,
    &ohlcv_minute::DATASET,
    &investor_trading::DATASET,
];

/// One kind of record.
#[derive(Debug)]
pub struct Dataset {
    /// The name on the command line.
    pub name: &'static str,
    /// The table in schema `market`.
    pub table: &'static str,
    /// One line for lists.
    pub about: &'static str,
    /// The columns of the stream, in its order; the names are the table's.
    pub columns: &'static [Column],
    /// What identifies a row.
    pub key: &'static [&'static str],
    /// Records of single sessions, or masters that stand until the next one.
    pub kind: Kind,
    /// The column of what is collected one by one: its values are counted, and `#missing` marks name them.
    pub code: &'static str,
    /// Which names listed on a session should have rows: a condition on a row `h` of the stock history and a session
    /// `t`; `None` where the master does not tell.
    pub expects: Option<&'static str>,
    /// How many sessions it may lie behind what its source has published before it is stale. 0: each session is collected.
    /// Lists that are read on Mondays: one Monday may be a holiday (9); once a quarter, and a week besides (68).
    pub may_lag: u32,
    /// The rules that validate tests, of rows and of groups; their tests are in the dataset's file.
    pub row_rules: fn() -> Vec<&'static Rule>,
    /// The rules that need neighbours; promote checks them.
    pub batch_rules: &'static [Rule],
    /// Reads one row and judges it by the row rules.
    pub check: record::Check,
    /// Judges the rows of a session with the same `code` together, where the dataset has rules about them.
    pub check_group: Option<record::CheckGroup>,
    /// The queries behind the batch rules: each returns `(rule, severity, stock_code, time, message)`.
    pub queries: &'static [&'static str],
    /// What stands for the `{holes}` of those queries, besides `{dataset}`.
    pub holes: &'static [(&'static str, &'static str)],
}

/// How promote brings a dataset into production.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One row a key and session: update what differs, insert what is absent.
    Series,
    /// Masters as of sessions, kept as a history of changes and a table of the present.
    Master,
    /// Whole lists as of sessions: one replaces what stands there of its slice, so that members which left are gone.
    Snapshot {
        /// The column of the key that, with the session, names a slice: one index, one ETF, one scheme.
        slice: &'static str,
    },
}

/// A column of the stream and of the table.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its PostgreSQL type.
    pub sql: &'static str,
    /// What it holds, with the unit.
    pub about: &'static str,
}

/// The name of the column that holds the session in every dataset.
pub const TIME: &str = "time";

impl Dataset {
    /// The position of a column.
    ///
    /// # Panics
    /// When the dataset has no such column: a mistake in the program.
    pub fn index(&self, column: &str) -> usize {
        self.columns.iter().position(|c| c.name == column).expect("a column of the dataset")
    }

    /// Has it this column?
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c.name == column)
    }

    /// Are its times minutes? Their session is the date in Seoul.
    pub fn is_intraday(&self) -> bool {
        self.columns[self.index(TIME)].sql == "timestamptz"
    }

    /// The SQL expression of the session that a time belongs to.
    pub fn session_of(&self, time: &str) -> String {
        if self.is_intraday() { format!("({time} AT TIME ZONE 'Asia/Seoul')::date") } else { time.to_owned() }
    }

    /// The SQL condition that a time lies within sessions, with the dates written out.
    pub fn within(&self, time: &str, (from, to): (NaiveDate, NaiveDate)) -> String {
        if self.is_intraday() {
            format!(
                "{time} >= TIMESTAMPTZ '{from} 00:00+09' AND {time} < TIMESTAMPTZ '{to} 00:00+09' + INTERVAL '1 day'"
            )
        } else {
            format!("{time} BETWEEN DATE '{from}' AND DATE '{to}'")
        }
    }

    /// The positions by which an ordered stream ascends: first the column of the session (by
    /// [`record::session_of`]), then the rest of the key, a minute last.
    pub fn order(&self) -> Vec<usize> {
        let rest = self.key.iter().filter(|k| **k != TIME);
        let minute = self.is_intraday().then_some(&TIME);
        std::iter::once(&TIME).chain(rest).chain(minute).map(|k| self.index(k)).collect()
    }

    /// The header line of the stream, without its line feed.
    pub fn header(&self) -> String {
        self.column_list(|c| c.name.to_owned())
    }

    /// A comma-separated list made of all columns.
    pub fn column_list(&self, each: impl Fn(&Column) -> String) -> String {
        self.columns.iter().map(each).collect::<Vec<_>>().join(",")
    }

    /// All rules: those every row of any dataset must keep, those of a row, those of a batch.
    pub fn rules(&self) -> Vec<&'static Rule> {
        (self.row_rules)().into_iter().chain(self.batch_rules.iter()).collect()
    }
}

/// The dataset of that name.
pub fn find(name: &str) -> Option<&'static Dataset> {
    ALL.iter().copied().find(|d| d.name == name)
}

/// The version of the rules: a checksum over all of them, so that a batch names what judged it.
pub fn rules_version() -> String {
    let mut crc = crc32fast::Hasher::new();
    let rules = ALL.iter().flat_map(|d| d.rules());
    for rule in rule::STREAM_RULES.iter().copied().chain(rules) {
        crc.update(rule.name.as_bytes());
        crc.update(rule.says.as_bytes());
        crc.update(&[rule.severity as u8]);
    }
    format!("{:08x}", crc.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_dataset_is_well_formed() {
        let mut names = HashSet::new();
        for dataset in ALL {
            assert!(names.insert(dataset.name), "{} twice", dataset.name);
            assert!(dataset.key.contains(&TIME));
            for key in dataset.key {
                assert!(dataset.has(key), "{}: key {key}", dataset.name);
            }
            assert!(dataset.columns.iter().all(|c| !c.about.is_empty()));
            assert!(dataset.key.contains(&dataset.code), "{}: code {}", dataset.name, dataset.code);
            if let Kind::Snapshot { slice } = dataset.kind {
                assert!(dataset.key.contains(&slice), "{}: slice {slice}", dataset.name);
                assert_eq!(dataset.index(slice), 0, "{}: marks begin with their slice", dataset.name);
            }
        }
    }

    /// What promote fills in for every dataset.
    const HOLES: [&str; 6] = ["dataset", "code", "slice", "within", "days", "table"];

    #[test]
    fn queries_are_filled_and_say_what_is_explained() {
        for dataset in ALL {
            let mut said: Vec<&str> = Vec::new();
            for query in dataset.queries {
                for hole in
                    query.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(hole, _)| hole)
                {
                    let is_filled =
                        HOLES.contains(&hole) || dataset.holes.iter().any(|(name, _)| *name == hole);
                    let is_sql = hole.bytes().any(|b| !b.is_ascii_lowercase() && b != b'_');
                    assert!(is_filled || is_sql, "{}: {{{hole}}} in {query}", dataset.name);
                }
                let own = format!("'{}.", dataset.name);
                for mark in ["'{dataset}.", own.as_str()] {
                    said.extend(query.split(mark).skip(1).filter_map(|rest| rest.split('\'').next()));
                }
            }
            for rule in &said {
                let name = format!("{}.{rule}", dataset.name);
                assert!(dataset.batch_rules.iter().any(|r| r.name == name), "{name} is not explained");
            }
            // Rules that no query checks are checked by promote's own code.
            let by_code = [
                "ohlcv.base_follows_close",
                "ohlcv.bases_follow_closes",
                "stocks.few_are_delisted",
                "stocks.name_is_gone",
            ];
            for rule in dataset.batch_rules {
                let is_said =
                    said.iter().any(|said| rule.name.split_once('.').is_some_and(|(_, own)| own == *said));
                assert!(is_said || by_code.contains(&rule.name), "{} is checked by nobody", rule.name);
            }
        }
    }

    #[test]
    fn rules_are_named_after_their_dataset_and_explain_themselves() {
        let mut names = HashSet::new();
        for dataset in ALL {
            for rule in dataset.rules() {
                assert!(names.insert(rule.name), "{} twice", rule.name);
                assert_eq!(rule.name.split('.').next(), Some(dataset.name), "{}", rule.name);
                assert!(!rule.says.is_empty() && !rule.why.is_empty(), "{}", rule.name);
                for column in rule.shows {
                    assert!(dataset.has(column), "{} shows {column}", rule.name);
                }
            }
        }
        for rule in rule::STREAM_RULES {
            assert!(names.insert(rule.name));
        }
    }
}
