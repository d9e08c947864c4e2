//! Which request extends which grant, found from the old one.

use rusqlite::{OptionalExtension, params};

use super::{FindError, GrantStore, StoredGrant};
use jit_core::grant::SignedGrant;
use jit_core::names::GrantId;

/// More extensions of one grant than this are not looked at.
const LIMIT: u32 = 64;

impl GrantStore<'_> {
    /// The signed grants that claim to extend `old` and were not ended, or were after `run` had used them; untrusted, as all that is
    /// stored.
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

    /// The grant that extended `old`, for showing: the latest.
    pub fn extension(&self, old: &GrantId) -> Result<Option<StoredGrant>, FindError> {
        let query = "SELECT g.id FROM request r JOIN granted g ON g.id = r.id \
                     WHERE r.extends = ?1 ORDER BY g.expires DESC LIMIT 1";
        let id: Option<String> = self.connection.query_row(query, [old.as_str()], |row| row.get(0)).optional()?;
        match id.and_then(|id| GrantId::parse(&id).ok()) {
            Some(id) => self.grant(&id),
            None => Ok(None),
        }
    }

    /// A request to extend `old` that may still be approved.
    pub fn pending_extension(&self, old: &GrantId, now: i64) -> rusqlite::Result<Option<String>> {
        let query = "SELECT id FROM request WHERE extends = ?1 AND state = 'pending' AND deadline > ?2 LIMIT 1";
        self.connection.query_row(query, params![old.as_str(), now], |row| row.get(0)).optional()
    }
}
