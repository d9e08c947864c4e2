//! Whether each index says what its table says. SQLite believes an index, and root can change one alone: a row that an index lacks
//! is not found by it. Whoever concludes that there is no such row reads the table, or asks here.
//! May not: write, except that it builds damaged indexes again.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction};

use super::error::JournalError;
use super::history::history;
use super::journal::Journal;
use super::state_checks::alert;
use jit_core::clock::Moment;
use jit_core::escape::escape;
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

impl Journal<'_> {
    /// Builds the indexes of the grants again if they are damaged, and records that: SQLite changes no row that an index lacks, so no
    /// such grant could be ended. The log sinks get the record with the next one.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn rebuild_indexes(&self, tx: &Transaction<'_>, moment: &Moment) -> Result<(), JournalError> {
        let line: String = tx.query_row("PRAGMA integrity_check(granted)", [], |row| row.get(0))?;
        if line != "ok" {
            tx.execute_batch("REINDEX granted; REINDEX request")?;
            let sentence =
                format!("an index of the database was damaged and is built again: {}", escape(line.as_bytes()));
            let _ = self.append(tx, moment, alert("index-damaged", &sentence))?;
        }
        Ok(())
    }
}
