//! Errors after which a change is not stored though the database is sound. The act that could not be recorded can be repeated, or
//! carried out without a record.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::ErrorCode;

use super::DatabaseError;
use jit_core::places::STATE;
use sys::disk::has_room;

/// A file system with less room than this counts as full, in bytes: other programs may have freed a little since.
const ROOM: u64 = 256 << 10;

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
        Self::of_code(error.sqlite_error()?.code, || has_room(Path::new(STATE), ROOM))
    }

    fn of_code(code: ErrorCode, has_room: impl FnOnce() -> bool) -> Option<Self> {
        match code {
            ErrorCode::DiskFull => Some(Self::Full),
            // SQLite reports a full disk in different ways: for the log, for its index, for a file that does not exist yet. A disk
            // that fails gives the same errors.
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => {
                Some(if has_room() { Self::Failed } else { Self::Full })
            }
            ErrorCode::ReadOnly | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(Self::Failed),
            _ => None,
        }
    }

    /// Returns why a file of the state directory could not be written.
    pub fn of_file(error: &std::io::Error) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_output_error_means_a_full_disk_only_without_room() {
        for code in [ErrorCode::SystemIoFailure, ErrorCode::CannotOpen] {
            assert_eq!(Unwritten::of_code(code, || true), Some(Unwritten::Failed));
            assert_eq!(Unwritten::of_code(code, || false), Some(Unwritten::Full));
        }
        assert_eq!(Unwritten::of_code(ErrorCode::DiskFull, || true), Some(Unwritten::Full));
        assert_eq!(Unwritten::of_code(ErrorCode::DatabaseCorrupt, || false), None);
    }
}
