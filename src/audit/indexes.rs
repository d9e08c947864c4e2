//! Whether each index says what its table says. SQLite believes an index, and root can change one alone: a row that an index lacks
//! is not found by it. Whoever concludes that there is no such row reads the table, or asks here.
//! May not: write, except that it builds damaged indexes again.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};

use super::columns::sql_bound;
use super::error::JournalError;
use super::history::history;
use super::journal::Journal;
use super::state_checks::alert;
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::escape::escape;
use jit_core::evidence::chain::Row;
use jit_core::names::GrantId;

/// Returns how an index, or the database itself, is damaged. Reads all of it.
///
/// # Errors
/// Fails when the database fails.
pub(super) fn damaged(connection: &Connection) -> Result<Option<String>, JournalError> {
    let line: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok(Some(line).filter(|line| line != "ok"))
}

/// Returns how the table of the records or an index of it is damaged. Reads all of it.
///
/// # Errors
/// Fails when the database fails.
pub(super) fn damaged_records(connection: &Connection) -> Result<Option<String>, JournalError> {
    let line: String = connection.query_row("PRAGMA integrity_check(record)", [], |row| row.get(0))?;
    Ok(Some(line).filter(|line| line != "ok"))
}

/// What the index finds of the records about some requests, to be compared with the table.
pub(super) struct Indexed<'i> {
    ids: &'i [GrantId],
    /// Number, request and kind.
    found: BTreeSet<(u64, String, String)>,
}

impl<'i> Indexed<'i> {
    /// Reads the index, of the records with a number greater than `after`.
    pub(super) fn about(connection: &Connection, ids: &'i [GrantId], after: u64) -> Result<Self, JournalError> {
        // All columns are read from the index.
        let query = history!("SELECT seq, grant_id, kind FROM history WHERE grant_id = ?1 AND seq > ?2");
        let mut statement = connection.prepare_cached(query)?;
        let mut found = BTreeSet::new();
        for id in ids {
            let rows = statement.query_map(params![id.as_str(), sql_bound(after)], |row| {
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?, row.get(2)?))
            })?;
            for row in rows {
                found.insert(row?);
            }
        }
        Ok(Self { ids, found })
    }

    /// Returns the number of the first record about the requests, with the request; by the table where the index has none.
    pub(super) fn first(&self, connection: &Connection) -> Result<Option<(u64, &'i GrantId)>, JournalError> {
        let mut first = None;
        for id in self.ids {
            let indexed = self.found.iter().find(|(_, of, _)| of == id.as_str()).map(|(seq, ..)| *seq);
            let found = match indexed {
                Some(seq) => Some(seq),
                None => connection
                    .query_row(history!("SELECT min(seq) FROM history WHERE +grant_id = ?1"), [id.as_str()], |row| {
                        row.get::<_, Option<i64>>(0)
                    })?
                    .map(i64::unsigned_abs),
            };
            first = first.into_iter().chain(found.map(|seq| (seq, id))).min_by_key(|(seq, _)| *seq);
        }
        Ok(first)
    }

    /// Processes a record of the table. Returns its number if it is about one of the requests, and the index lacks it.
    pub(super) fn hidden(&mut self, row: &Row<'_>) -> Option<u64> {
        let copies = row.copies?;
        let id = copies.grant.filter(|of| self.ids.iter().any(|id| id.as_str() == *of))?;
        (!self.found.remove(&(row.seq, id.to_owned(), copies.kind.to_owned()))).then_some(row.seq)
    }

    /// Returns the number of a record that the index has and the table has not.
    pub(super) fn surplus(&self) -> Option<u64> {
        self.found.first().map(|(seq, ..)| *seq)
    }
}

impl Journal<'_> {
    /// Builds the indexes of the grants again if they are damaged, and records that: SQLite changes no row that an index lacks, so no
    /// such grant could be ended. The log sinks get the record with the next one. Reads all grants. Returns whether it did.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn rebuild_indexes(&self, tx: &Transaction<'_>, moment: &Moment) -> Result<bool, JournalError> {
        let line: String = tx.query_row("PRAGMA integrity_check(granted)", [], |row| row.get(0))?;
        if line == "ok" {
            return Ok(false);
        }
        tx.execute_batch("REINDEX granted; REINDEX request")?;
        self.tell_rebuilt(tx, moment, &line)?;
        Ok(true)
    }

    /// Builds all indexes again if one is damaged, and records that. Reads the whole database, before it keeps others from writing.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn repair_indexes(&self, moment: &Moment) -> Result<(), JournalError> {
        let Some(how) = damaged(self.database.connection())? else { return Ok(()) };
        self.database.write(Durability::Synced, |tx| self.rebuild_every_index(tx, moment, &how))
    }

    /// Builds all indexes again, because one is damaged, and records that. `how`: the description of the damage. Takes long in a long
    /// journal.
    ///
    /// # Errors
    /// Fails when the database fails.
    pub fn rebuild_every_index(&self, tx: &Transaction<'_>, moment: &Moment, how: &str) -> Result<(), JournalError> {
        tx.execute_batch("REINDEX")?;
        self.tell_rebuilt(tx, moment, how)
    }

    fn tell_rebuilt(&self, tx: &Transaction<'_>, moment: &Moment, how: &str) -> Result<(), JournalError> {
        let sentence = format!("an index of the database was damaged and is built again: {}", escape(how.as_bytes()));
        let _ = self.append(tx, moment, alert("index-damaged", &sentence))?;
        Ok(())
    }
}
