//! What may hide a grant from a search: a record that is not as it was written, or an index that does not say what its table says.

use std::fmt;

use rusqlite::Connection;

use super::error::JournalError;
use super::indexes::damaged;
use jit_core::escape::escape;

/// What may hide a grant from a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Altered {
    /// The record with this number.
    Record(u64),
    /// An index, or the database; the text says how.
    Database(String),
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(seq) => write!(f, "record {seq} of the journal is missing or was changed"),
            Self::Database(how) => write!(f, "the database is damaged ({})", escape(how.as_bytes())),
        }
    }
}

/// Returns the record, or what is damaged where there is none.
pub(super) fn or_damaged(connection: &Connection, record: Option<u64>) -> Result<Option<Altered>, JournalError> {
    Ok(match record {
        Some(seq) => Some(Altered::Record(seq)),
        None => damaged(connection)?.map(Altered::Database),
    })
}
