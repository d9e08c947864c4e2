//! How long a daemon that does not read may hold this process up.

use std::time::{Duration, Instant};

/// How long one message may wait for a daemon that does not read; after that, nothing more is tried in this process.
pub(super) const STALL: Duration = Duration::from_millis(200);

/// What is left of the time that all messages of one process may take together, however slowly the daemon reads.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Patience {
    pub(super) const fn new() -> Self {
        Self(Duration::from_secs(2))
    }

    /// How long the next message may take. A timeout of zero would mean "for ever", so that an exhausted patience still
    /// waits one microsecond.
    pub(super) fn limit(&self) -> Duration {
        STALL.min(self.0).max(Duration::from_micros(1))
    }

    /// Takes the time that `send` needs.
    pub(super) fn during<T>(&mut self, send: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let outcome = send();
        self.0 = self.0.saturating_sub(begun.elapsed());
        outcome
    }
}
