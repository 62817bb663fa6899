//! Tells a run to stop at its next safe point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// Raised by the first signal; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(AtomicU8, Notify)>);

impl Stop {
    /// Asks to stop, with the signal's number.
    pub fn raise(&self, signal: u8) {
        self.0.0.store(signal, Ordering::Relaxed);
        self.0.1.notify_waiters();
    }

    /// An error once it was raised.
    pub fn check(&self) -> Result<()> {
        match self.0.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Error::Interrupted { signal }),
        }
    }

    /// Waits until it is raised.
    pub async fn wait(&self) -> Error {
        loop {
            // Registered before the look, so that a signal between the two is not lost.
            let raised = self.0.1.notified();
            if let Err(error) = self.check() {
                return error;
            }
            raised.await;
        }
    }
}
