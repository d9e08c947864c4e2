//! Statements about requests and grants other than approvals: the only way to a denial, a cancellation, a revocation, a release
//! or a settled debt, each with its exact bytes and signatures beside it. Rows are added and never changed.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{FindError, GrantStore};
use crate::verify::Act;
use jit_core::grant::lifecycle::{GrantEnd, RequestState};
use jit_core::grant::terms::decode;
use jit_core::grant::{SignedStatement, StatementKind, StatementTerms};
use jit_core::names::GrantId;

/// The table of this file.
pub const SCHEMA: &str = "
CREATE TABLE statement (request TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, uid INTEGER NOT NULL, body BLOB NOT NULL, host_signature BLOB NOT NULL, signature BLOB, key TEXT) STRICT;
CREATE INDEX statement_by_request ON statement (request);
";

/// A statement as it is stored, for display and for documents.
pub struct StoredStatement {
    /// The terms of the statement.
    pub terms: StatementTerms,
    /// The exact bytes of the terms.
    pub bytes: Vec<u8>,
    /// The host's signature over them (binary SSHSIG).
    pub host_signature: Vec<u8>,
    /// The signature of the person who made it, if they used a key.
    pub signature: Option<Vec<u8>>,
}

impl GrantStore<'_> {
    /// Returns all statements about a request and its grant, in the order in which they were made.
    pub fn statements(&self, id: &GrantId) -> Result<Vec<StoredStatement>, FindError> {
        let query = "SELECT body, host_signature, signature FROM statement WHERE request = ?1 ORDER BY rowid";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut statements = Vec::new();
        for row in rows {
            let (bytes, host_signature, signature): (Vec<u8>, _, _) = row?;
            let terms = decode(&bytes).map_err(|_| FindError::Damaged(format!("a statement about {id}")))?;
            statements.push(StoredStatement { terms, bytes, host_signature, signature });
        }
        Ok(statements)
    }

    /// Returns the fingerprint of the key that signed the last statement about a request and its grant; `None` where only the
    /// kernel identified its author.
    pub fn stated_with(&self, id: &GrantId) -> rusqlite::Result<Option<String>> {
        let query = "SELECT key FROM statement WHERE request = ?1 AND kind <> 'review' ORDER BY rowid DESC LIMIT 1";
        let key = self.connection.query_row(query, [id.as_str()], |row| row.get(0)).optional()?;
        Ok(key.flatten())
    }
}

/// Applies the statement at `at` (seconds since 1970), and stores it. Returns false, and stores nothing, where there is
/// nothing left to do: the request is no longer pending, or the grant has ended. A review has no effect without an act of its
/// reviewer ([`settle`]).
pub fn carry_out(tx: &Transaction<'_>, statement: &SignedStatement, at: i64) -> rusqlite::Result<bool> {
    let changed = match statement.terms().kind {
        StatementKind::Denial => decide(tx, statement, RequestState::Denied, at)?,
        StatementKind::Cancellation => decide(tx, statement, RequestState::Cancelled, at)?,
        StatementKind::Revocation => end(tx, statement, GrantEnd::Revoked, at)?,
        StatementKind::Release => end(tx, statement, GrantEnd::Released, at)?,
        StatementKind::Review => false,
    };
    if changed {
        keep(tx, statement, at)?;
    }
    Ok(changed)
}

/// Applies a revocation or release of a grant of which the journal says that it has not ended, whatever its row says: a row that is
/// missing or changed ends nothing and keeps nothing.
pub fn end_unconditionally(tx: &Transaction<'_>, statement: &SignedStatement, at: i64) -> rusqlite::Result<()> {
    let terms = statement.terms();
    let end = if terms.kind == StatementKind::Release { GrantEnd::Released } else { GrantEnd::Revoked };
    let query = "UPDATE granted SET ended = ?2, ended_by = ?3, ended_at = ?4, ended_reason = ?5 WHERE id = ?1";
    let reason = terms.reason.as_bytes();
    tx.execute(query, params![terms.id.as_str(), end.as_str(), terms.by.as_str(), at, reason])?;
    keep(tx, statement, at)
}

/// Applies a denial or cancellation of a request of which the journal says that it is not decided, whatever its row says.
pub fn decide_unconditionally(tx: &Transaction<'_>, statement: &SignedStatement, at: i64) -> rusqlite::Result<()> {
    let terms = statement.terms();
    let state = if terms.kind == StatementKind::Denial { RequestState::Denied } else { RequestState::Cancelled };
    let query = "UPDATE request SET state = ?2, ended_by = ?3, ended_at = ?4, ended_reason = ?5 WHERE id = ?1";
    let set = params![terms.id.as_str(), state.as_str(), terms.by.as_str(), at, terms.reason.as_bytes()];
    tx.execute(query, set)?;
    keep(tx, statement, at)
}

/// Moves a request out of `pending`, even after its deadline: a withdrawal of permission has no deadline.
fn decide(tx: &Transaction<'_>, statement: &SignedStatement, state: RequestState, at: i64) -> rusqlite::Result<bool> {
    let terms = statement.terms();
    let query = "UPDATE request SET state = ?2, ended_by = ?3, ended_at = ?4, ended_reason = ?5 \
                 WHERE id = ?1 AND state = 'pending'";
    let set = params![terms.id.as_str(), state.as_str(), terms.by.as_str(), at, terms.reason.as_bytes()];
    Ok(tx.execute(query, set)? == 1)
}

/// Ends a grant. A one-shot grant that was used up can still be revoked while its run lasts.
fn end(tx: &Transaction<'_>, statement: &SignedStatement, end: GrantEnd, at: i64) -> rusqlite::Result<bool> {
    let terms = statement.terms();
    let query = "UPDATE granted SET ended = ?2, ended_by = ?3, ended_at = ?4, ended_reason = ?5 \
                 WHERE id = ?1 AND (ended IS NULL OR ended = ?6)";
    let (reason, used) = (terms.reason.as_bytes(), GrantEnd::Used.as_str());
    Ok(tx.execute(query, params![terms.id.as_str(), end.as_str(), terms.by.as_str(), at, reason, used])? == 1)
}

/// Settles the review debt of a break-glass grant as the review says, and stores the review. Returns false, and stores nothing,
/// where it was settled before, or where the statement is no review by the person of `act`.
pub fn settle(tx: &Transaction<'_>, statement: &SignedStatement, act: &Act, at: i64) -> rusqlite::Result<bool> {
    let terms = statement.terms();
    if terms.kind != StatementKind::Review || act.uid() != statement.uid() {
        return Ok(false);
    }
    let query = "UPDATE review_debt SET reviewer = ?2, reviewed = ?3, comment = ?4 WHERE id = ?1 AND reviewer IS NULL";
    let changed = tx.execute(query, params![terms.id.as_str(), terms.by.as_str(), at, terms.reason.as_bytes()])? == 1;
    if changed {
        keep(tx, statement, at)?;
    }
    Ok(changed)
}

fn keep(tx: &Transaction<'_>, statement: &SignedStatement, at: i64) -> rusqlite::Result<()> {
    let terms = statement.terms();
    tx.execute(
        "INSERT INTO statement (request, kind, at, uid, body, host_signature, signature, key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            terms.id.as_str(),
            terms.kind.as_str(),
            at,
            statement.uid(),
            statement.bytes(),
            statement.host_signature(),
            statement.signature(),
            statement.fingerprint()
        ],
    )?;
    Ok(())
}
