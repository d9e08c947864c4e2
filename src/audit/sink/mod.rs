//! Mirrors of the journal. A sink never decides: it says whether a record reached it, and the caller's policy judges.
//! May not: hang, or touch the database. A new sink is one file here and one line in `host.rs`.

use super::journal::Written;

pub mod hooks;
pub mod syslog;

/// Whether a mirror got a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It was handed over whole.
    Delivered,
    /// It was not, or not whole.
    Missed,
}

/// A mirror of the journal.
pub trait Sink {
    /// Hands a committed record over, in bounded time.
    fn mirror(&mut self, written: &Written) -> Delivery;

    /// All records of one commit have been handed over.
    fn flush(&mut self) {}
}
