//! The valid records: those after the last pruning. Earlier rows were left over from it or inserted since, so every query
//! of this module reads `history` instead of the table (tests/floors.rs finds those that do not).

use rusqlite::{Connection, Row};

use super::columns::digest;
use super::error::JournalError;
use jit_core::clock::Timestamp;
use jit_core::evidence::{Digest, Mark};

/// A query of `history`: the table `record` without the pruned records.
macro_rules! history {
    ($query:literal) => {
        concat!(
            "WITH history AS NOT MATERIALIZED (SELECT * FROM record WHERE seq > coalesce(\
             (SELECT CAST(substr(value, 1, 20) AS INTEGER) FROM journal_meta WHERE name = 'pruned'), 0)) ",
            $query
        )
    };
}
pub(super) use history;

/// The same prefix for a query that is composed at run time.
pub(super) const HISTORY: &str = history!("");

/// A query of the last record, which every run makes several times. It reads the table, and says whether the record is valid: after
/// a record that was pruned nothing may follow as if it were the first.
pub(super) const LAST: &str = "SELECT seq, hash, high, body, seq > coalesce((SELECT CAST(substr(value, 1, 20) AS INTEGER) \
                               FROM journal_meta WHERE name = 'pruned'), 0) FROM record ORDER BY seq DESC LIMIT 1";

/// The last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// Its number and hash.
    pub(super) mark: Mark,
    /// The greatest time of all records.
    pub(super) high: Timestamp,
}

/// Returns the last record.
///
/// # Errors
/// The record is one that was pruned, has no valid number or hash, or the database failed.
pub(super) fn last(connection: &Connection) -> Result<Option<Last>, JournalError> {
    Ok(last_with(connection, |_| ())?.map(|(last, ())| last))
}

/// Returns the last record, and what `read` makes of its body.
///
/// # Errors
/// As [`last`].
pub(super) fn last_with<T>(
    connection: &Connection,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<Option<(Last, T)>, JournalError> {
    let mut statement = connection.prepare_cached(LAST)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let last = valid(row)?;
    Ok(Some((last, read(row.get_ref(3)?.as_bytes().unwrap_or_default()))))
}

fn valid(row: &Row<'_>) -> Result<Last, JournalError> {
    if !row.get::<_, bool>(4)? {
        return Err(JournalError::Damaged("its last record is one that was pruned, or has no number"));
    }
    let seq = u64::try_from(row.get::<_, i64>(0)?).map_err(|_| JournalError::Damaged("a negative number"))?;
    let hash: Digest = digest(row, 1)?;
    Ok(Last { mark: Mark { seq, hash }, high: Timestamp(row.get(2)?) })
}
