//! Numbers and hashes as columns of tables.

use rusqlite::Row;

use super::error::JournalError;
use jit_core::evidence::Digest;

pub(super) fn digest(row: &Row<'_>, column: usize) -> Result<Digest, JournalError> {
    let bytes = row.get_ref(column)?.as_bytes().unwrap_or_default();
    bytes.try_into().map(Digest).map_err(|_| JournalError::Damaged("a hash that is not 32 bytes"))
}

/// Converts a number to be stored; numbers of this program never come near the limit.
pub(super) fn sql_integer(number: u64) -> Result<i64, JournalError> {
    i64::try_from(number).map_err(|_| JournalError::Damaged("a record number that is out of range"))
}

/// Converts a number that is only compared.
pub(super) fn sql_bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
