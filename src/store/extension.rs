//! Finds the requests and grants that extend a grant.

use rusqlite::{OptionalExtension, params};

use super::{FindError, GrantStore, StoredGrant};
use jit_core::grant::SignedGrant;
use jit_core::names::GrantId;

/// The maximum number of extensions of one grant that are read.
const LIMIT: u32 = 64;

impl GrantStore<'_> {
    /// Returns the signed grants that claim to extend `old` and that have not ended or were used up by `run`; untrusted, as
    /// everything in the store.
    pub fn extensions(&self, old: &GrantId, run: &str) -> rusqlite::Result<Vec<SignedGrant>> {
        let mut statement = self.connection.prepare(
            "SELECT g.body, g.signature FROM request r JOIN granted g ON g.id = r.id \
             WHERE r.extends = ?1 AND (g.ended IS NULL OR g.used_by IS ?3) ORDER BY g.expires DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![old.as_str(), LIMIT, run], |row| {
            Ok(SignedGrant::from_stored(row.get(0)?, row.get(1)?))
        })?;
        rows.collect()
    }

    /// Returns the latest grant that extended `old`, for display.
    pub fn extension(&self, old: &GrantId) -> Result<Option<StoredGrant>, FindError> {
        let query = "SELECT g.id FROM request r JOIN granted g ON g.id = r.id \
                     WHERE r.extends = ?1 ORDER BY g.expires DESC LIMIT 1";
        let id: Option<String> = self.connection.query_row(query, [old.as_str()], |row| row.get(0)).optional()?;
        match id.and_then(|id| GrantId::parse(&id).ok()) {
            Some(id) => self.grant(&id),
            None => Ok(None),
        }
    }

    /// Returns a request to extend `old` that may still be approved.
    pub fn pending_extension(&self, old: &GrantId, now: i64) -> rusqlite::Result<Option<String>> {
        let query = "SELECT id FROM request WHERE extends = ?1 AND state = 'pending' AND deadline > ?2 LIMIT 1";
        self.connection.query_row(query, params![old.as_str(), now], |row| row.get(0)).optional()
    }
}
