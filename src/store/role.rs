//! Roles as they were when grants were requested, by their digests. A request, its approvals and its grant name the digest.

use rusqlite::{OptionalExtension, Transaction, params};

use super::GrantStore;
use jit_core::policy::{InvalidPower, Role, RolePower};

/// The table of this file.
pub const SCHEMA: &str = "
CREATE TABLE role_text (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

impl GrantStore<'_> {
    /// Returns the exact bytes of the role with this digest, for display and for documents.
    pub fn role_text(&self, digest: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut statement = self.connection.prepare("SELECT body FROM role_text WHERE digest = ?1")?;
        statement.query_row([digest], |row| row.get(0)).optional()
    }

    /// Returns the role with this digest; `None`, which gives no power, where it is missing, unreadable or has another digest.
    pub fn role(&self, digest: &str) -> Option<RolePower> {
        let bytes = self.role_text(digest).ok()??;
        RolePower::named(digest, &bytes).ok()
    }
}

/// Stores the power that `role` gives, as the policy says it, under `digest`, unless it is there.
///
/// # Errors
/// Those of the database. Also fails when `digest` is not stored and no longer names `role`.
pub fn keep_role(tx: &Transaction<'_>, digest: &str, role: &Role) -> rusqlite::Result<()> {
    if GrantStore::new(tx).role_text(digest)?.is_some() {
        return Ok(());
    }
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| rusqlite::Error::ToSqlConversionFailure(error);
    let body = RolePower::of(role.narrowed_from.as_deref().map_or(role, |origin| &origin.present))
        .encode()
        .map_err(|error| failed(error.into()))?;
    RolePower::named(digest, &body).map_err(|InvalidPower| failed("the role is not the requested one".into()))?;
    tx.execute("INSERT INTO role_text (digest, body) VALUES (?1, ?2)", params![digest, body])?;
    Ok(())
}
