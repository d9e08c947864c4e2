//! The grant database: requests, approvals and signed grants, each as exact bytes with the few columns that lookups need.
//! It makes no decisions: a grant that it returns is untrusted until [`crate::verify`] has verified it.

mod extension;
mod request;
mod review;
mod role;
mod statement;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::verify::Attested;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::grant::terms::decode;
use jit_core::grant::{Approval, GrantTerms, SignedGrant, TermsFault};
use jit_core::names::{GrantId, Person, RoleName, UserName};

pub use request::{ListedRequest, PAST_LIMIT, StoredRequest, approve_request, insert_request};
pub use review::{Certification, Debt, SCHEMA as REVIEW_SCHEMA, certify, insert_debt};
pub use role::{SCHEMA as ROLE_SCHEMA, keep_role};
pub use statement::{
    SCHEMA as STATEMENT_SCHEMA, StoredStatement, carry_out, decide_unconditionally, end_unconditionally, settle,
};

/// The tables and indexes of this module.
pub const SCHEMA: &str = "
CREATE TABLE request (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, role TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL, deadline INTEGER NOT NULL, needed INTEGER NOT NULL, body BLOB NOT NULL, ended_by TEXT, ended_at INTEGER, ended_reason BLOB, extends TEXT) STRICT;
CREATE INDEX request_by_user ON request (uid, created);
CREATE INDEX request_pending ON request (deadline) WHERE state = 'pending';
CREATE INDEX request_by_extended ON request (extends) WHERE extends IS NOT NULL;
CREATE TABLE approval (request TEXT NOT NULL, uid INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB, key TEXT, PRIMARY KEY (request, uid)) STRICT, WITHOUT ROWID;
CREATE TABLE granted (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, role TEXT NOT NULL, starts INTEGER NOT NULL, expires INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB NOT NULL, ended TEXT, ended_by TEXT, ended_at INTEGER, ended_reason BLOB, used_by TEXT) STRICT;
CREATE INDEX granted_open ON granted (uid, expires) WHERE ended IS NULL;
CREATE INDEX granted_by_end ON granted (expires) WHERE ended IS NULL;
";

/// The maximum number of rows that a listing returns.
pub const LIST_LIMIT: u32 = 1000;

/// The maximum number of open grants of one user that a run reads.
const CANDIDATE_LIMIT: usize = 256;

/// The requests and grants of this host.
pub struct GrantStore<'a> {
    connection: &'a Connection,
}

/// A decision by a person that closed a request or grant.
#[derive(Debug, Clone)]
pub struct ClosedBy {
    /// The name of that person.
    pub by: String,
    /// Seconds since 1970.
    pub at: i64,
    /// The reason that they gave.
    pub reason: Vec<u8>,
}

/// A grant as it is stored, for display; only [`GrantStore::candidates`] and verification give permission.
pub struct StoredGrant {
    /// The terms it claims.
    pub terms: GrantTerms,
    /// How it ended before its expiry.
    pub end: Option<(GrantEnd, ClosedBy)>,
}

/// The rows of a listing. A row that cannot be read does not hide the others: it is left out and its id is reported.
pub struct Legible<T> {
    /// The rows that can be read.
    pub read: Vec<T>,
    /// The ids of the other rows, as they are stored.
    pub damaged: Vec<String>,
    /// The ids of those that say they are of an earlier version, which serve nothing as long as they do.
    pub earlier: Vec<String>,
}

impl<T> Default for Legible<T> {
    fn default() -> Self {
        Self { read: Vec::new(), damaged: Vec::new(), earlier: Vec::new() }
    }
}

impl<T> Legible<T> {
    /// Adds the next row. Skips a row of an earlier version, which has no effect any more.
    fn take(&mut self, row: Result<T, FindError>) -> Result<(), FindError> {
        match row {
            Ok(row) => self.read.push(row),
            Err(FindError::Terms(id, TermsFault::Earlier)) => self.earlier.push(id),
            Err(FindError::Damaged(id) | FindError::Terms(id, _)) => self.damaged.push(id),
            Err(error @ (FindError::Database(_) | FindError::Unknown)) => return Err(error),
        }
        Ok(())
    }
}

/// The reason why a lookup by id fails.
#[derive(Debug)]
pub enum FindError {
    /// No row has this id.
    Unknown,
    /// The database failed.
    Database(rusqlite::Error),
    /// The stored bytes are damaged.
    Damaged(String),
    /// The terms of this id are of another version.
    Terms(String, TermsFault),
}

impl From<rusqlite::Error> for FindError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl<'a> GrantStore<'a> {
    /// Creates a store over an open database; a transaction dereferences to its connection.
    pub fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// Returns the signed grants of `holder` that expire after `now` and have not ended. The last one may belong to another name of
    /// the same uid: verification rejects it, and a renamed user sees the reason.
    pub fn candidates(&self, holder: &Person, now: i64) -> rusqlite::Result<Vec<SignedGrant>> {
        Ok(self.held(holder, now)?.1)
    }

    /// Does the same, and returns first the roles that the grants of `holder` claim, each once: for a first lookup in the policy.
    pub fn held(&self, holder: &Person, now: i64) -> rusqlite::Result<(Vec<RoleName>, Vec<SignedGrant>)> {
        let mut statement = self.connection.prepare(
            "SELECT role, body, signature FROM granted WHERE uid = ?1 AND ended IS NULL AND expires > ?2 \
             ORDER BY expires",
        )?;
        let rows = statement.query_map(params![holder.uid, now], |row| {
            Ok((row.get::<_, String>(0)?, SignedGrant::from_stored(row.get(1)?, row.get(2)?)))
        })?;
        let (mut roles, mut grants, mut other) = (Vec::new(), Vec::new(), None);
        for row in rows {
            let (role, grant) = row?;
            if !belongs(grant.bytes(), holder) {
                other.get_or_insert(grant);
            } else if grants.len() < CANDIDATE_LIMIT {
                roles.extend(RoleName::parse(&role).ok().filter(|role| !roles.contains(role)));
                grants.push(grant);
            }
        }
        grants.extend(other);
        Ok((roles, grants))
    }

    /// Returns the approvals of a request.
    pub fn approvals(&self, id: &GrantId) -> Result<Vec<Approval>, FindError> {
        let mut statement =
            self.connection.prepare("SELECT body, uid, signature FROM approval WHERE request = ?1 ORDER BY at, uid")?;
        let rows = statement.query_map([id.as_str()], |row| Ok(read_approval(row)))?;
        let mut approvals = Vec::new();
        for row in rows {
            approvals.push(row??.ok_or_else(|| FindError::Damaged(format!("an approval of {id}")))?);
        }
        Ok(approvals)
    }

    /// Returns the approvals of the grants that [`GrantStore::candidates`] returns, without damaged ones.
    pub fn candidate_approvals(&self, holder: &Person, now: i64) -> rusqlite::Result<Vec<Approval>> {
        let mut statement = self.connection.prepare(
            "SELECT a.body, a.uid, a.signature, g.body FROM granted g JOIN approval a ON a.request = g.id \
             WHERE g.uid = ?1 AND g.ended IS NULL AND g.expires > ?2 AND a.signature IS NOT NULL",
        )?;
        let rows =
            statement.query_map(params![holder.uid, now], |row| Ok((read_approval(row), row.get::<_, Vec<u8>>(3)?)))?;
        let mut approvals = Vec::new();
        for row in rows {
            let (approval, grant) = row?;
            approvals.extend(approval?.filter(|_| belongs(&grant, holder)));
        }
        Ok(approvals)
    }

    /// Returns the exact bytes of the requests of the grants that [`GrantStore::candidates`] returns.
    pub fn candidate_requests(&self, holder: &Person, now: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
        let mut statement = self.connection.prepare(
            "SELECT r.body FROM granted g JOIN request r ON r.id = g.id \
             WHERE g.uid = ?1 AND g.ended IS NULL AND g.expires > ?2",
        )?;
        let mut rows = statement.query(params![holder.uid, now])?;
        let mut requests = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(0)?.as_bytes()?;
            requests.extend(belongs(bytes, holder).then(|| bytes.to_vec()));
        }
        Ok(requests)
    }

    /// Returns the grant that resulted from a request.
    pub fn grant(&self, id: &GrantId) -> Result<Option<StoredGrant>, FindError> {
        let row = self
            .connection
            .query_row(
                "SELECT body, ended, ended_by, ended_at, ended_reason, id FROM granted WHERE id = ?1",
                [id.as_str()],
                |row| Ok(read_grant(row)),
            )
            .optional()?;
        row.transpose()
    }

    /// Returns the signed grant that resulted from a request, for display.
    pub fn signed_grant(&self, id: &GrantId) -> rusqlite::Result<Option<SignedGrant>> {
        self.connection
            .query_row("SELECT body, signature FROM granted WHERE id = ?1", [id.as_str()], |row| {
                Ok(SignedGrant::from_stored(row.get(0)?, row.get(1)?))
            })
            .optional()
    }

    /// Returns every grant that expires after `now` and has not ended, latest expiry last: of one user or of all. For those
    /// of all it reads the table: an index may lack one, and would hide it from whoever revokes.
    pub fn open_grants(&self, which: GrantScope<'_>, now: i64) -> Result<Legible<StoredGrant>, FindError> {
        let (condition, person) = match which {
            GrantScope::Of(person) => ("WHERE uid = ?1", Some(person)),
            GrantScope::Pending | GrantScope::Everybody => ("NOT INDEXED WHERE ?1 >= 0", None),
        };
        // The time comes first in a row, before what may be on further pages.
        let mut statement = self.connection.prepare(&format!(
            "SELECT body, ended, ended_by, ended_at, ended_reason, id FROM granted {condition} \
             AND expires > ?2 AND ended IS NULL ORDER BY expires"
        ))?;
        let uid = person.map_or(0, |person| person.uid);
        let rows = statement.query_map(params![uid, now], |row| Ok(read_grant(row)))?;
        let mut grants = Legible::default();
        for row in rows {
            grants.take(row?)?;
        }
        grants.read.retain(|grant| person.is_none_or(|person| person.is(grant.terms.uid, &grant.terms.user)));
        Ok(grants)
    }

    /// Returns grants that have not ended and expire after `now` (seconds since 1970), in rows after this one: at most
    /// [`LIST_LIMIT`], with the row of the last; `None` when there are no more.
    pub fn unended(&self, after: i64, now: i64) -> Result<Option<(i64, Legible<StoredGrant>)>, FindError> {
        let mut statement = self.connection.prepare(
            "SELECT body, ended, ended_by, ended_at, ended_reason, id, rowid FROM granted NOT INDEXED \
             WHERE rowid > ?1 AND ended IS NULL AND expires > ?3 ORDER BY rowid LIMIT ?2",
        )?;
        let rows =
            statement.query_map(params![after, LIST_LIMIT, now], |row| Ok((row.get::<_, i64>(6)?, read_grant(row))))?;
        let (mut last, mut grants) = (None, Legible::default());
        for row in rows {
            let (row, grant) = row?;
            last = Some(row);
            grants.take(grant)?;
        }
        Ok(last.map(|last| (last, grants)))
    }

    /// Returns how the grant ended before its expiry, if it did; a grant that is not stored counts as revoked.
    pub fn end_of(&self, id: &GrantId) -> rusqlite::Result<Option<GrantEnd>> {
        let ended: Option<Option<String>> = self
            .connection
            .query_row("SELECT ended FROM granted WHERE id = ?1", [id.as_str()], |row| row.get(0))
            .optional()?;
        Ok(match ended {
            Some(None) => None,
            Some(Some(word)) => Some(GrantEnd::parse(&word).unwrap_or(GrantEnd::Revoked)),
            None => Some(GrantEnd::Revoked),
        })
    }

    /// Whether `run` is the one that used up this one-shot grant.
    pub fn is_used_by(&self, id: &GrantId, run: &str) -> rusqlite::Result<bool> {
        let query = "SELECT used_by IS ?2 FROM granted WHERE id = ?1";
        let is_same = self.connection.query_row(query, params![id.as_str(), run], |row| row.get(0)).optional()?;
        Ok(is_same.unwrap_or(false))
    }
}

/// Whether these exact bytes of a request or grant name this person: the columns only hold the uid.
fn belongs(bytes: &[u8], person: &Person) -> bool {
    #[derive(serde::Deserialize)]
    struct Owner {
        uid: u32,
        user: UserName,
    }
    serde_json::from_slice::<Owner>(bytes).is_ok_and(|owner| person.is(owner.uid, &owner.user))
}

/// Whose rows a listing returns.
#[derive(Debug, Clone, Copy)]
pub enum GrantScope<'a> {
    /// Every pending request.
    Pending,
    /// All rows of one person.
    Of(&'a Person),
    /// All rows.
    Everybody,
}

/// Stores an approval at `now`. The row of a second one by the same approver replaces the first, whose record stays; the caller has
/// checked that it is not wider.
pub fn insert_approval(tx: &Transaction<'_>, attested: &Attested, now: i64) -> rusqlite::Result<()> {
    let approval = attested.approval();
    let Approval { terms, bytes, uid, signature } = approval;
    tx.execute(
        "INSERT OR REPLACE INTO approval (request, uid, at, body, signature, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![terms.id.as_str(), uid, now, bytes, signature, approval.fingerprint()],
    )?;
    Ok(())
}

/// Stores a signed grant.
pub fn insert_grant(tx: &Transaction<'_>, terms: &GrantTerms, signed: &SignedGrant) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO granted (id, uid, role, starts, expires, body, signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            terms.id.as_str(),
            terms.uid,
            terms.role.as_str(),
            terms.starts,
            terms.expires,
            signed.bytes(),
            signed.signature()
        ],
    )?;
    Ok(())
}

/// Whether the grant has not ended.
pub fn is_open(tx: &Transaction<'_>, id: &GrantId) -> rusqlite::Result<bool> {
    Ok(GrantStore::new(tx).end_of(id)?.is_none())
}

/// Marks a one-shot grant as used up by `run` at `at` (seconds since 1970); returns false when it had ended before. Every other
/// end is a statement ([`carry_out`]).
pub fn use_up(tx: &Transaction<'_>, terms: &GrantTerms, run: &str, at: i64) -> rusqlite::Result<bool> {
    let query = "UPDATE granted SET ended = ?2, ended_by = ?3, ended_at = ?4, ended_reason = x'', used_by = ?5 \
                 WHERE id = ?1 AND ended IS NULL";
    let (used, user) = (GrantEnd::Used.as_str(), terms.user.as_str());
    Ok(tx.execute(query, params![terms.id.as_str(), used, user, at, run])? == 1)
}

/// Returns `None` when the bytes are damaged.
fn read_approval(row: &Row<'_>) -> rusqlite::Result<Option<Approval>> {
    let bytes: Vec<u8> = row.get(0)?;
    let (uid, signature) = (row.get(1)?, row.get(2)?);
    Ok(decode(&bytes).ok().map(|terms| Approval { terms, bytes, uid, signature }))
}

fn read_grant(row: &Row<'_>) -> Result<StoredGrant, FindError> {
    let id: String = row.get(5)?;
    let damaged = || FindError::Damaged(id.clone());
    let bytes: Vec<u8> = row.get(0)?;
    let terms: GrantTerms = decode(&bytes).map_err(|fault| unusable(&id, fault))?;
    if terms.id.as_str() != id {
        return Err(damaged());
    }
    let end: Option<String> = row.get(1)?;
    let end = end.map(|word| GrantEnd::parse(&word).ok_or_else(damaged)).transpose()?;
    let ended = read_ended(row, 2)?;
    Ok(StoredGrant { terms, end: end.zip(ended) })
}

fn unusable(id: &str, fault: TermsFault) -> FindError {
    match fault {
        TermsFault::Malformed => FindError::Damaged(id.to_owned()),
        fault => FindError::Terms(id.to_owned(), fault),
    }
}

fn read_ended(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<ClosedBy>> {
    let by: Option<String> = row.get(first)?;
    let at: Option<i64> = row.get(first + 1)?;
    let reason: Option<Vec<u8>> = row.get(first + 2)?;
    Ok(by.zip(at).map(|(by, at)| ClosedBy { by, at, reason: reason.unwrap_or_default() }))
}

#[cfg(test)]
mod tests;
