//! What a person last did to a running session, as the records say: for the messages to its user.

use rusqlite::OptionalExtension;

use super::error::JournalError;
use super::history::history;
use super::journal::Journal;
use jit_core::evidence::record::Intervention;

impl Journal<'_> {
    /// Returns the last intervention in this run, if there was one.
    pub fn last_intervention(&self, run: &str) -> Result<Option<Intervention>, JournalError> {
        let query =
            history!("SELECT body FROM history WHERE run = ?1 AND kind = 'intervention' ORDER BY seq DESC LIMIT 1");
        let connection = self.database.connection();
        let body =
            connection.query_row(query, [run], |row| Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec()));
        Ok(body.optional()?.and_then(|body| serde_json::from_slice(&body).ok()))
    }
}
