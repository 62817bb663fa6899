//! Rows that come in an order of their own (code by code, newest first) and leave in that of the stream.

use std::io::Write;

use crate::dataset::{Dataset, record};
use crate::error::Result;
use crate::stream::Writer;

/// Rows of one dataset, collected and then written ascending by session and key.
#[derive(Debug)]
pub struct Rows {
    order: Vec<usize>,
    bytes: Vec<u8>,
    /// Where each row is, and its key's fields in the stream's order.
    index: Vec<(Box<[u8]>, usize, usize)>,
    spans: Vec<(usize, usize)>,
}

impl Rows {
    /// Nothing yet.
    pub fn new(dataset: &'static Dataset) -> Self {
        Self { order: dataset.order(), bytes: Vec::new(), index: Vec::new(), spans: Vec::new() }
    }

    /// Adds a row; the function appends its fields, without a line feed. The key's fields need no quotes.
    pub fn add(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        append(&mut self.bytes);
        let row = &self.bytes[start..];
        record::split(row, &mut self.spans);
        let mut key = Vec::with_capacity(40);
        for (at, column) in self.order.iter().enumerate() {
            // A row with quotes before its key does not occur: keys stand first or are plain.
            if let Some((from, to)) = self.spans.get(*column) {
                let field = &row[*from..*to];
                key.extend_from_slice(if at == 0 { record::session_of(field) } else { field });
            }
            key.push(0);
        }
        self.index.push((key.into(), start, self.bytes.len()));
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Writes the rows in order.
    pub fn write<W: Write>(mut self, writer: &mut Writer<W>) -> Result<()> {
        self.index.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, start, end) in &self.index {
            writer.row(|out| out.extend_from_slice(&self.bytes[*start..*end]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{investor_trading, ohlcv_minute};

    #[test]
    fn rows_leave_in_the_order_of_the_stream() {
        for (dataset, rows) in [
            (
                &ohlcv_minute::DATASET,
                &[
                    "000020,2026-01-05T09:01:00+09:00",
                    "000020,2026-01-05T15:30:00+09:00",
                    "005930,2026-01-05T09:00:00+09:00",
                    "000020,2026-01-06T09:00:00+09:00",
                ][..],
            ),
            (
                &investor_trading::DATASET,
                &["005930,2026-01-05,FOREIGN", "005930,2026-01-05,RETAIL", "000020,2026-01-06,PENSION"],
            ),
        ] {
            let mut collected = Rows::new(dataset);
            for row in rows.iter().rev() {
                collected.add(|out| out.extend_from_slice(row.as_bytes()));
            }
            collected.index.sort_by(|a, b| a.0.cmp(&b.0));
            let sorted: Vec<_> =
                collected.index.iter().map(|(_, from, to)| &collected.bytes[*from..*to]).collect();
            assert_eq!(sorted, rows.iter().map(|r| r.as_bytes()).collect::<Vec<_>>());
        }
    }
}
