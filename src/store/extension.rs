//! Which request extends which grant, found from the old one.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{FindError, GrantStore, StoredGrant};
use crate::grant::{RequestTerms, SignedGrant};
use crate::names::GrantId;

/// The table of this file.
pub(super) const SCHEMA: &str = "
CREATE TABLE extension (extends TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (extends, request)) STRICT, WITHOUT ROWID;
";

/// More extensions of one grant than this are not looked at.
const LIMIT: u32 = 64;

impl GrantStore<'_> {
    /// The signed grants that claim to extend `old` and were not ended; untrusted, as all that is stored.
    pub fn extensions(&self, old: &GrantId) -> rusqlite::Result<Vec<SignedGrant>> {
        let mut statement = self.connection.prepare(
            "SELECT g.body, g.signature FROM extension e JOIN granted g ON g.id = e.request \
             WHERE e.extends = ?1 AND (g.ended IS NULL OR g.ended = 'used') ORDER BY g.expires DESC LIMIT ?2",
        )?;
        let rows = statement
            .query_map(params![old.as_str(), LIMIT], |row| Ok(SignedGrant::from_stored(row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// The grant that extended `old`, for showing: the latest.
    pub fn extension(&self, old: &GrantId) -> Result<Option<StoredGrant>, FindError> {
        let query = "SELECT g.id FROM extension e JOIN granted g ON g.id = e.request \
                     WHERE e.extends = ?1 ORDER BY g.expires DESC LIMIT 1";
        let id: Option<String> = self.connection.query_row(query, [old.as_str()], |row| row.get(0)).optional()?;
        match id.and_then(|id| GrantId::parse(&id).ok()) {
            Some(id) => self.grant(&id),
            None => Ok(None),
        }
    }

    /// A request to extend `old` that may still be approved.
    pub fn pending_extension(&self, old: &GrantId, now: i64) -> rusqlite::Result<Option<String>> {
        let query = "SELECT r.id FROM extension e JOIN request r ON r.id = e.request \
                     WHERE e.extends = ?1 AND r.state = 'pending' AND r.deadline > ?2 LIMIT 1";
        self.connection.query_row(query, params![old.as_str(), now], |row| row.get(0)).optional()
    }
}

/// Remembers what a new request extends, if anything.
pub(super) fn insert(tx: &Transaction<'_>, terms: &RequestTerms) -> rusqlite::Result<()> {
    if let Some(old) = &terms.extends {
        tx.execute(
            "INSERT INTO extension (request, extends) VALUES (?1, ?2)",
            params![terms.id.as_str(), old.as_str()],
        )?;
    }
    Ok(())
}
