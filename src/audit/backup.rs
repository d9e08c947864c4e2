//! What a copy of the database says about itself: the head of its journal, by which a copy that was changed later is detected.
//! May not: copy a file.

use rusqlite::Connection;

use super::error::JournalError;
use super::history::last;
use super::journal::{Journal, Written};
use super::state_checks::{meta, set_meta};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::evidence::Mark;
use jit_core::evidence::record::{Backup, Event};

/// The name in `journal_meta` of a copy.
const BACKUP: &str = "backup";

/// Names in the copy the head of its journal, and returns it.
///
/// # Errors
/// The journal is empty, or the copy cannot be read or written.
pub fn name_head(copy: &Connection) -> Result<Mark, JournalError> {
    let head = last(copy)?.ok_or(JournalError::Damaged("it has no record"))?.mark;
    set_meta(copy, BACKUP, format!("{head}\n").as_bytes())?;
    Ok(head)
}

/// Returns the head that is named in a copy, if it is that of its journal.
///
/// # Errors
/// The copy names no head or another one, or cannot be read.
pub fn named_head(copy: &Connection) -> Result<Mark, JournalError> {
    let named = meta(copy, BACKUP)?.and_then(|text| Mark::parse(&text));
    let named = named.ok_or(JournalError::Damaged("it names no head, so it is no backup"))?;
    match last(copy)? {
        Some(last) if last.mark == named => Ok(named),
        _ => Err(JournalError::Damaged("its last record is not the head that it names")),
    }
}

/// Removes the name of the head: the journal goes on.
pub fn forget_head(database: &Connection) -> rusqlite::Result<()> {
    database.execute("DELETE FROM journal_meta WHERE name = ?1", [BACKUP]).map(drop)
}

impl Journal<'_> {
    /// Records a backup.
    pub fn tell_backup(&self, moment: &Moment, backup: Backup) -> Result<Written, JournalError> {
        self.database.write(Durability::Synced, |tx| self.append(tx, moment, Event::Backup(Box::new(backup))))
    }
}
