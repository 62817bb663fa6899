//! The breaker: a source that blocks us is not asked again until the block is over. Kept in the state directory,
//! so that it holds for all processes and over restarts.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::market::kst;

/// A block: since when, until when, and what the source said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Block {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub reason: String,
}

/// The breaker of one source.
#[derive(Debug)]
pub struct Breaker {
    path: PathBuf,
    source: &'static str,
}

impl Breaker {
    /// The breaker of a source, in the state directory.
    pub fn new(state: &Path, source: &'static str) -> Self {
        Self { path: state.join("breakers").join(format!("{source}.json")), source }
    }

    /// The block in force, if there is one.
    pub fn block(&self, now: DateTime<Utc>) -> Option<Block> {
        let text = fs::read_to_string(&self.path).ok()?;
        // A file that does not read was damaged while a block stood in it: it counts for a day from its last change.
        let block = serde_json::from_str(&text).unwrap_or_else(|_| {
            let since: DateTime<Utc> =
                fs::metadata(&self.path).and_then(|m| m.modified()).map_or(now, Into::into);
            let until = since + chrono::Duration::hours(24);
            Block { since, until, reason: "a block whose record does not read".into() }
        });
        (block.until > now).then_some(block)
    }

    /// Refuses while a block is in force.
    pub fn check(&self, now: DateTime<Utc>) -> Result<()> {
        self.block(now).map_or(Ok(()), |block| Err(self.error(&block)))
    }

    /// Opens the breaker and tells the error.
    pub fn trip(&self, now: DateTime<Utc>, length: chrono::Duration, reason: &str) -> Error {
        let block = Block { since: now, until: now + length, reason: reason.to_owned() };
        let text = serde_json::to_string(&block).expect("plain data");
        let written =
            self.path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&self.path, text));
        match written {
            Ok(()) => self.error(&block),
            Err(e) => {
                Error::io(format!("{reason}; and it cannot be remembered in {}", self.path.display()), e)
            }
        }
    }

    fn error(&self, block: &Block) -> Error {
        let until = block.until.with_timezone(&kst()).format("%F %H:%M");
        Error::Credentials {
            what: format!("{} blocks this machine until {until} KST: {}", self.source, block.reason),
            help: format!(
                "it is not asked before then, since each try prolongs a block; `kdata doctor` shows it, take another \
                 source meanwhile, or remove {} if you know that it is over",
                self.path.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let breaker = Breaker::new(folder.path(), "krx");
        let now: DateTime<Utc> = "2026-11-20T09:00:00Z".parse().unwrap();
        assert!(breaker.check(now).is_ok());
        let error = breaker.trip(now, chrono::Duration::hours(24), "a notice page");
        assert_eq!(error.exit_code(), 6);
        let other = Breaker::new(folder.path(), "krx");
        let error = other.check(now + chrono::Duration::hours(23)).unwrap_err();
        assert!(error.to_string().contains("until 2026-11-21 18:00 KST: a notice page"), "{error}");
        assert!(other.check(now + chrono::Duration::hours(25)).is_ok());
        assert!(Breaker::new(folder.path(), "kis").check(now).is_ok());
    }
}
