//! Errors after which a change is not stored though the database is sound. The act that could not be recorded can be repeated, or
//! carried out without a record.

use std::io::ErrorKind;

use rusqlite::ErrorCode;

use super::DatabaseError;

/// Why a change could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// The file system, or root's quota there, is full.
    Full,
    /// The file system is read-only or fails, or another process held the write lock for too long.
    Failed,
}

impl Unwritten {
    /// Returns whether SQLite could not write, and why.
    pub fn of(error: &rusqlite::Error) -> Option<Self> {
        match error.sqlite_error()?.code {
            // SQLite reports a full disk in different ways: for the log, for its index, for a file that does not exist yet.
            ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => Some(Self::Full),
            ErrorCode::ReadOnly | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(Self::Failed),
            _ => None,
        }
    }

    fn of_file(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Failed,
        }
    }
}

impl DatabaseError {
    /// Returns whether the database could not be written, and why.
    pub fn unwritten(&self) -> Option<Unwritten> {
        match self {
            Self::Sqlite(_, error) => Unwritten::of(error),
            Self::File(_, error) => Some(Unwritten::of_file(error)),
            Self::Busy(_) => Some(Unwritten::Failed),
            _ => None,
        }
    }
}
