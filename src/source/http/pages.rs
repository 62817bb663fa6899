//! Guards a loop over pages: it must make progress and end.

use std::collections::HashSet;

use super::Answer;
use crate::error::{Error, Result};
use crate::state::digest;

/// The pages seen so far of one question.
#[derive(Debug)]
pub struct Pages {
    about: String,
    most: usize,
    seen: HashSet<String>,
    count: usize,
}

impl Pages {
    /// Begins a loop of at most so many pages; `about` says of what, for the error.
    pub fn new(about: impl Into<String>, most: usize) -> Self {
        Self { about: about.into(), most, seen: HashSet::new(), count: 0 }
    }

    /// Counts a page by its body and the cursor to the next one. A page or a cursor that came before is an error: the
    /// source goes in circles, and what it gave is not the whole.
    pub fn turn(&mut self, answer: &Answer, cursor: Option<&str>) -> Result<()> {
        self.count += 1;
        let body = digest(&String::from_utf8_lossy(&answer.body));
        let cursor = cursor.filter(|c| !c.is_empty()).map(|cursor| format!("cursor {cursor}"));
        if !self.seen.insert(body) {
            return Err(self.stuck("the same page came twice"));
        }
        if cursor.is_some_and(|cursor| !self.seen.insert(cursor)) {
            return Err(self.stuck("its cursor to the next page points back"));
        }
        if self.count > self.most {
            return Err(self.stuck(&format!("there is no end after {} pages", self.most)));
        }
        Ok(())
    }

    fn stuck(&self, what: &str) -> Error {
        Error::Source {
            what: format!("{}: {what} (page {})", self.about, self.count),
            help: "nothing of it was taken, since it may lack rows; run the same again later".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_seen() {
        let page = |body: &str| Answer { status: 200, headers: vec![], body: body.into(), kept: false };
        let mut pages = Pages::new("ohlcv of 005930", 3);
        pages.turn(&page("a"), Some("1")).unwrap();
        pages.turn(&page("b"), None).unwrap();
        assert!(pages.turn(&page("a"), None).unwrap_err().to_string().contains("the same page"));
        assert!(pages.turn(&page("c"), Some("1")).unwrap_err().to_string().contains("points back"));
        assert!(pages.turn(&page("d"), None).unwrap_err().to_string().contains("no end"));
    }
}
