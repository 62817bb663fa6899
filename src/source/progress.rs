//! What a run tells on a terminal while it asks: calls, rows, time left, quota left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::http::Used;

/// A line that is drawn again and again; silent without a terminal. Clones share it.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    rows: Arc<AtomicU64>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { bar: ProgressBar::hidden(), rows: Arc::default() }
    }
}

impl Progress {
    /// Draws on stderr, if that is a terminal.
    pub fn on_terminal() -> Self {
        let bar = ProgressBar::new(0);
        let style =
            ProgressStyle::with_template("{elapsed_precise} {bar:20} {pos}/{len} calls, {msg}, {eta} left")
                .expect("a good template");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, rows: Arc::default() }
    }

    /// So many more calls will be made, as far as is known.
    pub fn planned(&self, calls: u64) {
        self.bar.inc_length(calls);
    }

    /// A call was answered.
    pub fn called(&self) {
        self.bar.inc(1);
        if self.bar.length().is_some_and(|length| length < self.bar.position()) {
            self.bar.inc_length(1);
        }
    }

    /// Rows came.
    pub fn rows(&self, rows: u64) {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        self.bar.set_message(format!("{rows} rows"));
    }

    /// What of the day's quota is used.
    pub fn quota(&self, used: Used, most: Option<u64>) {
        if let Some(most) = most {
            let rows = self.rows.load(Ordering::Relaxed);
            self.bar.set_message(format!(
                "{rows} rows, {} of {most} calls left today",
                most.saturating_sub(used.calls)
            ));
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
