//! What may hide a grant from a search: a record that is not as it was written, or an index that does not say what its table says.

use std::fmt;

use rusqlite::Connection;

use super::error::JournalError;
use super::indexes::damaged_records;
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

/// Returns how the records are damaged, or else the record.
pub(super) fn damaged_or(connection: &Connection, record: Option<u64>) -> Result<Option<Altered>, JournalError> {
    let damage = damaged_records(connection)?.map(Altered::Database);
    Ok(damage.or(record.map(Altered::Record)))
}
