//! Bounds how long a daemon that does not read may delay this process.

use std::time::{Duration, Instant};

/// How long one message may wait for a daemon that does not read; after that, this process sends nothing more.
pub(super) const STALL: Duration = Duration::from_millis(200);

/// The time that is left for all messages of one process together, however slowly the daemon reads.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Patience {
    pub(super) const fn new() -> Self {
        Self(Duration::from_secs(2))
    }

    /// Returns how long the next message may take. A timeout of zero would mean "forever", so that an exhausted limit still
    /// allows one microsecond.
    pub(super) fn limit(&self) -> Duration {
        STALL.min(self.0).max(Duration::from_micros(1))
    }

    /// Runs `send`, and subtracts the time that it takes.
    pub(super) fn during<T>(&mut self, send: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let outcome = send();
        self.0 = self.0.saturating_sub(begun.elapsed());
        outcome
    }
}
