//! Mirrors of the journal. A sink never decides: it says whether a record reached it, and the caller's policy judges.
//! May not: hang, or write to the database. A new one is a [`Transport`] in a file here and one line in `host.rs`.

use super::journal::{JournalError, Written};
use jit_core::evidence::record::Digest;

pub mod auditd;
pub mod hooks;
pub mod journald;
pub mod json_file;
pub mod outbox;
mod patience;
pub mod syslog;

pub use outbox::Outbox;

/// Whether a mirror got a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It was handed over whole.
    Delivered,
    /// It was not, or not whole.
    Missed,
}

/// What hears of every commit.
pub trait Sink {
    /// Hears, in bounded time, of the records of one commit; `journal` has those before.
    fn mirror(&mut self, commit: &[Written], journal: &dyn Backlog) -> Delivery;
}

/// Where one record after the other is handed over.
pub trait Transport {
    /// Hands one record over, in bounded time.
    fn send(&mut self, record: &Written) -> Delivery;
}

/// The committed records, for a mirror that missed some.
pub trait Backlog {
    /// Records from number `from` up to but not including `to`, in order: as many as fit into a page.
    fn between(&self, from: u64, to: u64) -> Result<Vec<Written>, JournalError>;

    /// The hash of a record, if it is there.
    fn hash(&self, seq: u64) -> Result<Option<Digest>, JournalError>;
}

/// Nothing before.
#[cfg(test)]
pub(crate) struct NoBacklog;

#[cfg(test)]
impl Backlog for NoBacklog {
    fn between(&self, _: u64, _: u64) -> Result<Vec<Written>, JournalError> {
        Ok(Vec::new())
    }

    fn hash(&self, _: u64) -> Result<Option<Digest>, JournalError> {
        Ok(None)
    }
}
