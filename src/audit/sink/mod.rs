//! The log sinks: copies of the journal elsewhere. A sink never decides: it reports whether a record reached it, and the policy of
//! the caller judges.
//! May not: hang, or write to the database. A new sink is a [`Transport`] in a file here and one line in `host.rs`.

use super::error::JournalError;
use super::journal::Written;
use jit_core::clock::Timestamp;
use jit_core::evidence::Checkpoint;
use jit_core::evidence::record::Digest;

pub mod auditd;
pub mod hooks;
pub mod journald;
pub mod json_file;
pub mod outbox;
mod patience;
mod sudo_line;
pub mod syslog;

pub use outbox::Outbox;

/// Whether a sink got a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It got the whole record.
    Delivered,
    /// It got nothing, or only a part.
    Missed,
}

/// A receiver of every commit.
pub trait Sink {
    /// Sends the records of one commit, in bounded time; `journal` has the earlier ones.
    fn mirror(&mut self, commit: &[Written], journal: &dyn Backlog) -> Delivery;

    /// Whether it cannot wait for a file system, which may not answer, nor for the look-up of a path. A process that alone ends a run or what it left running
    /// sends to no other sink.
    fn is_prompt(&self) -> bool {
        true
    }

    /// Connects, so that sending looks up no path: to look up a socket in a directory can take for ever. Call it before a command
    /// exists. Where it fails, sending tries again.
    fn connect(&mut self) {}

    /// Sends a checkpoint, in bounded time. A later one covers the records of one that does not arrive.
    fn checkpoint(&mut self, _: &Checkpoint, _: Timestamp) {}
}

/// A connection that sends one record after the other.
pub trait Transport {
    /// See [`Sink::is_prompt`].
    fn is_prompt(&self) -> bool {
        true
    }

    /// See [`Sink::connect`].
    fn connect(&mut self) {}

    /// Sends one record, in bounded time.
    fn send(&mut self, record: &Written) -> Delivery;

    /// Sends one checkpoint, in bounded time.
    fn send_checkpoint(&mut self, checkpoint: &Checkpoint, time: Timestamp) -> Delivery;
}

/// The committed records, for a sink that missed some.
pub trait Backlog {
    /// Returns records from number `from` up to but not including `to`, in order: as many as fit into a page.
    fn between(&self, from: u64, to: u64) -> Result<Vec<Written>, JournalError>;

    /// Returns the hash of a record, if it exists.
    fn hash(&self, seq: u64) -> Result<Option<Digest>, JournalError>;
}

/// A backlog without records.
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
