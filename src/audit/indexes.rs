//! Whether each index says what its table says. SQLite believes an index, and root can change one alone: a row that an index lacks
//! is not found by it. Whoever concludes that there is no such row reads the table, or asks here.
//! May not: write.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::error::JournalError;
use super::history::history;
use jit_core::names::GrantId;

/// Returns how an index, or the database itself, is damaged. Reads all of it.
///
/// # Errors
/// Fails when the database fails.
pub(super) fn damaged(connection: &Connection) -> Result<Option<String>, JournalError> {
    let line: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(Some(line).filter(|line| line != "ok"))
}

/// What the indexes find of the records about one request, to be compared with the table.
pub(super) struct Indexed {
    /// Kind and number.
    found: BTreeSet<(i64, String)>,
}

impl Indexed {
    pub(super) fn about(connection: &Connection, id: &GrantId) -> Result<Self, JournalError> {
        // Both columns are read from the index.
        let query = history!("SELECT seq, kind FROM history WHERE grant_id = ?1");
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { found: rows.collect::<rusqlite::Result<_>>()? })
    }

    /// Returns the number of the first record, by the table where the index has none.
    pub(super) fn first(&self, connection: &Connection, id: &GrantId) -> Result<Option<i64>, JournalError> {
        if let Some((first, _)) = self.found.first() {
            return Ok(Some(*first));
        }
        let query = history!("SELECT min(seq) FROM history WHERE +grant_id = ?1");
        Ok(connection.query_row(query, [id.as_str()], |row| row.get(0))?)
    }

    /// Processes a record of the table. Returns whether the index has it.
    pub(super) fn take(&mut self, seq: i64, kind: &str) -> bool {
        self.found.remove(&(seq, kind.to_owned()))
    }

    /// Returns the number of a record that the table does not have.
    pub(super) fn surplus(&self) -> Option<i64> {
        self.found.first().map(|(seq, _)| *seq)
    }
}
