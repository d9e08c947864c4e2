//! The error of the journal.

use std::fmt;

use crate::database::{DatabaseError, Unwritten};
use jit_core::clock::Timestamp;
use jit_core::evidence::KeyEnd;
use jit_core::names::GrantId;

/// The reason why the journal could not be written or read; `Display` is a sentence fragment.
#[derive(Debug)]
pub enum JournalError {
    /// The database could not be used.
    Database(DatabaseError),
    /// A statement failed in SQLite.
    Sqlite(rusqlite::Error),
    /// An event cannot be encoded as a record (a bug), or a stored record cannot be decoded.
    Malformed(serde_json::Error),
    /// The number or hash of the last record is damaged, so that no record can follow it.
    Damaged(&'static str),
    /// The run was closed before: by itself, or as lost by a process that found its supervisor dead.
    NotOpen(String),
    /// The journal is not set up: it has no redaction key.
    NoKey,
    /// Another policy was compiled since the one that judged this was read.
    OtherPolicy,
    /// The request was made when this host had another identity.
    AskedElsewhere,
    /// What was asked for before root last accepted the state of the host.
    AskedBefore,
    /// What the records say was denied or cancelled.
    Decided,
    /// What the records say was granted.
    Granted,
    /// The approvals of this request in the database are not those of the records.
    OtherApprovals(GrantId),
    /// This record, which is missing or is not as it was written, may be one about this request.
    Altered(GrantId, u64),
    /// The host has got another identity since it was read.
    OtherHost,
    /// The host key was replaced, or the host retired, since the key was read.
    KeyEnded(KeyEnd),
    /// The database is an older copy, which gives no permission until root accepts it; the text says how that was detected.
    Older(String),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "{error}"),
            Self::Sqlite(error) => write!(f, "the journal: {error}"),
            Self::Malformed(error) => write!(f, "a record of the journal is malformed: {error}"),
            Self::Damaged(what) => write!(f, "the journal is damaged: {what}"),
            Self::NotOpen(run) => write!(f, "the run {run} is closed in the journal already"),
            Self::NoKey => write!(f, "the journal has no redaction key"),
            Self::OtherPolicy => write!(f, "the policy was changed meanwhile: try again"),
            Self::AskedElsewhere => {
                write!(
                    f,
                    "the request was made under another identity of this host and can only be denied or cancelled: make a new one"
                )
            }
            Self::AskedBefore => {
                write!(
                    f,
                    "it was asked for before root accepted the state of this host and can only be denied or cancelled: ask again"
                )
            }
            Self::Decided => write!(f, "it was denied or cancelled before, by the records: ask again"),
            Self::Granted => write!(f, "it was granted before, by the records: ask again"),
            Self::OtherApprovals(id) => {
                write!(
                    f,
                    "request {id}: its approvals in the database are not those of the journal, so none is accepted"
                )
            }
            Self::Altered(id, seq) => {
                write!(
                    f,
                    "request {id}: record {seq} of the journal is missing or was changed, so it may hide what was said about it"
                )
            }
            Self::OtherHost => write!(f, "the identity of this host was changed meanwhile: try again"),
            Self::KeyEnded(end) if end.is_retirement => {
                write!(f, "this host was retired at {}", Timestamp::from_seconds(end.at).to_the_second())
            }
            Self::KeyEnded(_) => write!(f, "the host key was replaced meanwhile: try again"),
            Self::Older(how) => write!(f, "{how}; no grant is given or accepted until root runs jitctl key accept"),
        }
    }
}

impl JournalError {
    /// Returns whether the journal could not be written, and why.
    pub fn unwritten(&self) -> Option<Unwritten> {
        match self {
            Self::Database(error) => error.unwritten(),
            Self::Sqlite(error) => Unwritten::of(error),
            _ => None,
        }
    }
}

impl std::error::Error for JournalError {}

impl From<DatabaseError> for JournalError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<serde_json::Error> for JournalError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error)
    }
}
