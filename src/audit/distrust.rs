//! The mark of a database that lacks records: it permits nothing until root accepts the state of the host.

use rusqlite::{Connection, Transaction};

use super::error::JournalError;
use super::fault::{Fault, alert};
use super::journal::{Journal, Written};
use super::meta::{clear_meta, meta, set_meta};
use crate::database::Durability;
use jit_core::clock::Moment;

/// The mark, in `journal_meta`; its value says how that was detected.
const RESTORED: &str = "restored";

/// The mark that an alert has reported the unsigned head, in `journal_meta`.
pub(super) const UNSEALED: &str = "unsealed";

impl Journal<'_> {
    /// Records that the database lacks records, and marks it as such until root accepts it.
    pub(super) fn record_loss(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        fault: &Fault,
    ) -> Result<Written, JournalError> {
        set_meta(tx, RESTORED, fault.to_string().as_bytes())?;
        self.append(tx, moment, fault.alert())
    }

    /// Returns why the database is not trusted for grants, if it is not.
    pub fn restored(&self) -> Result<Option<String>, JournalError> {
        older(self.database.connection()).map_err(JournalError::from)
    }

    /// Marks the database as an older one and records that, unless it is marked already.
    pub fn distrust(&self, moment: &Moment, how: &str) -> Result<Vec<Written>, JournalError> {
        self.database.write(Durability::Synced, |tx| {
            if meta(tx, RESTORED)?.is_some() {
                return Ok(Vec::new());
            }
            set_meta(tx, RESTORED, how.as_bytes())?;
            Ok(vec![self.append(tx, moment, alert("database-older", how))?])
        })
    }
}

/// Returns the reason why the database is not trusted for grants, if it is not.
pub(super) fn older(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let text = meta(connection, RESTORED)?;
    Ok(text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Marks the database as one that is not trusted for grants, inside the transaction that records why.
pub(super) fn mark(tx: &Transaction<'_>, how: &str) -> rusqlite::Result<()> {
    set_meta(tx, RESTORED, how.as_bytes())
}

/// Removes the mark of a restored database, inside the transaction that records the acceptance.
pub fn accept(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    clear_meta(tx, RESTORED)?;
    clear_meta(tx, UNSEALED)
}
