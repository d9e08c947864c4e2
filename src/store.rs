//! The grant database: requests, approvals and signed grants, each as exact bytes with the few columns that lookups need.
//! It decides nothing: whatever it returns as a grant is untrusted until [`crate::grant::verify`] has seen it.

mod extension;
mod review;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::grant::lifecycle::{GrantEnd, RequestState};
use crate::grant::terms::decode;
use crate::grant::{Approval, GrantTerms, RequestTerms, SignedGrant};
use crate::names::{GrantId, IdPrefix, RoleName};

pub use review::{Certification, Debt, SCHEMA as REVIEW_SCHEMA, certify, insert_debt, settle_debt};

/// The tables and indexes of this room.
pub const SCHEMA: &str = "
CREATE TABLE request (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, role TEXT NOT NULL, state TEXT NOT NULL, created INTEGER NOT NULL, deadline INTEGER NOT NULL, needed INTEGER NOT NULL, body BLOB NOT NULL, ended_by TEXT, ended_at INTEGER, ended_reason BLOB) STRICT;
CREATE INDEX request_by_user ON request (uid, created);
CREATE INDEX request_pending ON request (created) WHERE state = 'pending';
CREATE TABLE approval (request TEXT NOT NULL, uid INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB, key TEXT, PRIMARY KEY (request, uid)) STRICT, WITHOUT ROWID;
CREATE TABLE granted (id TEXT PRIMARY KEY, uid INTEGER NOT NULL, role TEXT NOT NULL, starts INTEGER NOT NULL, expires INTEGER NOT NULL, body BLOB NOT NULL, signature BLOB NOT NULL, ended TEXT, ended_by TEXT, ended_at INTEGER, ended_reason BLOB) STRICT;
CREATE INDEX granted_open ON granted (uid, expires) WHERE ended IS NULL;
CREATE INDEX granted_by_end ON granted (expires) WHERE ended IS NULL;
";

/// The table and index by which extensions are found.
pub const EXTENSION_SCHEMA: &str = extension::SCHEMA;

/// The most rows that a listing returns.
pub const LIST_LIMIT: u32 = 1000;

/// The most requests of the past that a listing returns, so that it stays quick however many there were.
pub const PAST_LIMIT: u32 = 200;

/// The most open grants of one user that a run looks at.
const CANDIDATE_LIMIT: u32 = 256;

/// The requests and grants of this host.
pub struct GrantStore<'a> {
    connection: &'a Connection,
}

/// A request as it is stored.
pub struct StoredRequest {
    /// What was asked.
    pub terms: RequestTerms,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// Its state, deadlines considered.
    pub state: RequestState,
    /// How many approvals it needs.
    pub needed: u32,
    /// Who gave it an end, when, and in which words.
    pub ended: Option<Ended>,
}

/// The end that somebody gave to a request or grant.
#[derive(Debug, Clone)]
pub struct Ended {
    /// By whom.
    pub by: String,
    /// Seconds since 1970.
    pub at: i64,
    /// Their words.
    pub reason: Vec<u8>,
}

/// A grant as it is stored, for showing; power comes only from [`GrantStore::candidates`] and verification.
pub struct StoredGrant {
    /// The terms it claims.
    pub terms: GrantTerms,
    /// How it ended before its time.
    pub end: Option<(GrantEnd, Ended)>,
}

/// Why an id names nothing, or too much.
#[derive(Debug)]
pub enum FindError {
    /// No request begins so.
    Unknown,
    /// Several do.
    Several(Vec<String>),
    /// The database failed.
    Database(rusqlite::Error),
    /// The stored bytes are damaged.
    Damaged(String),
}

impl From<rusqlite::Error> for FindError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl<'a> GrantStore<'a> {
    /// Over an open database; a transaction dereferences to its connection.
    pub fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// The signed grants of `uid` that end after `now` and were not ended.
    pub fn candidates(&self, uid: u32, now: i64) -> rusqlite::Result<Vec<SignedGrant>> {
        Ok(self.held(uid, now)?.1)
    }

    /// The same with the roles that they claim, each once: where the policy is asked first.
    pub fn held(&self, uid: u32, now: i64) -> rusqlite::Result<(Vec<RoleName>, Vec<SignedGrant>)> {
        let mut statement = self.connection.prepare(
            "SELECT role, body, signature FROM granted WHERE uid = ?1 AND ended IS NULL AND expires > ?2 \
             ORDER BY expires LIMIT ?3",
        )?;
        let rows = statement.query_map(params![uid, now, CANDIDATE_LIMIT], |row| {
            Ok((row.get::<_, String>(0)?, SignedGrant::from_stored(row.get(1)?, row.get(2)?)))
        })?;
        let (mut roles, mut grants) = (Vec::new(), Vec::new());
        for row in rows {
            let (role, grant) = row?;
            roles.extend(RoleName::parse(&role).ok().filter(|role| !roles.contains(role)));
            grants.push(grant);
        }
        Ok((roles, grants))
    }

    /// The id that begins with `prefix`.
    pub fn find(&self, prefix: &IdPrefix) -> Result<GrantId, FindError> {
        let mut statement =
            self.connection.prepare("SELECT id FROM request WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT 6")?;
        let ids: Vec<String> =
            statement.query_map([prefix.as_str()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        match ids.as_slice() {
            [] => Err(FindError::Unknown),
            [id] => GrantId::parse(id).map_err(|_| FindError::Damaged(id.clone())),
            _ => Err(FindError::Several(ids)),
        }
    }

    /// One request.
    pub fn request(&self, id: &GrantId, now: i64) -> Result<StoredRequest, FindError> {
        self.connection
            .query_row(
                "SELECT body, state, needed, ended_by, ended_at, ended_reason, id FROM request WHERE id = ?1",
                [id.as_str()],
                |row| Ok(read_request(row, now)),
            )
            .optional()?
            .ok_or(FindError::Unknown)?
    }

    /// Requests, newest first: all that are pending, or all of one user.
    pub fn requests(&self, which: Which, now: i64) -> Result<Vec<StoredRequest>, FindError> {
        let (condition, order, uid, limit) = match which {
            Which::Pending => ("state = 'pending'", "created", 0, LIST_LIMIT),
            Which::OfUser(uid) => ("uid = ?1", "created", uid, PAST_LIMIT),
            Which::Everybody => ("1", "rowid", 0, PAST_LIMIT),
        };
        let mut statement = self.connection.prepare(&format!(
            "SELECT body, state, needed, ended_by, ended_at, ended_reason, id FROM request \
             WHERE {condition} AND ?1 >= 0 ORDER BY {order} DESC LIMIT ?2"
        ))?;
        let rows = statement.query_map(params![uid, limit], |row| Ok(read_request(row, now)))?;
        let mut requests = Vec::new();
        for row in rows {
            requests.push(row??);
        }
        Ok(requests)
    }

    /// The newest pending request of `uid` for `role`.
    pub fn pending_for(&self, uid: u32, role: &RoleName, now: i64) -> Result<Option<StoredRequest>, FindError> {
        self.connection
            .query_row(
                "SELECT body, state, needed, ended_by, ended_at, ended_reason, id FROM request \
                 WHERE state = 'pending' AND uid = ?1 AND role = ?2 AND deadline > ?3 ORDER BY created DESC LIMIT 1",
                params![uid, role.as_str(), now],
                |row| Ok(read_request(row, now)),
            )
            .optional()?
            .transpose()
    }

    /// The approvals of a request.
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

    /// The approvals behind the grants of [`GrantStore::candidates`]; what is damaged vouches for nothing.
    pub fn candidate_approvals(&self, uid: u32, now: i64) -> rusqlite::Result<Vec<Approval>> {
        let mut statement = self.connection.prepare(
            "SELECT a.body, a.uid, a.signature FROM granted g JOIN approval a ON a.request = g.id \
             WHERE g.uid = ?1 AND g.ended IS NULL AND g.expires > ?2 AND a.signature IS NOT NULL",
        )?;
        let rows = statement.query_map(params![uid, now], |row| Ok(read_approval(row)))?;
        let mut approvals = Vec::new();
        for row in rows {
            approvals.extend(row??);
        }
        Ok(approvals)
    }

    /// The grant that came of a request.
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

    /// The signed grant that came of a request, for showing.
    pub fn signed_grant(&self, id: &GrantId) -> rusqlite::Result<Option<SignedGrant>> {
        self.connection
            .query_row("SELECT body, signature FROM granted WHERE id = ?1", [id.as_str()], |row| {
                Ok(SignedGrant::from_stored(row.get(0)?, row.get(1)?))
            })
            .optional()
    }

    /// Grants that end after `now` and were not ended, newest end last: of one user or of everybody.
    pub fn open_grants(&self, which: Which, now: i64) -> Result<Vec<StoredGrant>, FindError> {
        let (condition, uid) = match which {
            Which::OfUser(uid) => ("uid = ?1", uid),
            Which::Pending | Which::Everybody => ("?1 >= 0", 0),
        };
        let mut statement = self.connection.prepare(&format!(
            "SELECT body, ended, ended_by, ended_at, ended_reason, id FROM granted \
             WHERE {condition} AND ended IS NULL AND expires > ?2 ORDER BY expires LIMIT ?3"
        ))?;
        let rows = statement.query_map(params![uid, now, LIST_LIMIT], |row| Ok(read_grant(row)))?;
        let mut grants = Vec::new();
        for row in rows {
            grants.push(row??);
        }
        Ok(grants)
    }

    /// How the grant ended before its time, if it did; a grant that is not there was revoked with its database.
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

    /// How many requests of `uid` are pending.
    pub fn pending_of(&self, uid: u32, now: i64) -> rusqlite::Result<u32> {
        self.connection.query_row(
            "SELECT count(*) FROM request INDEXED BY request_pending WHERE state = 'pending' AND uid = ?1 AND deadline > ?2",
            params![uid, now],
            |row| row.get(0),
        )
    }

    /// When `uid` made the request that is the `nth` from the newest, counted from 1; seconds since 1970.
    pub fn nth_newest_request_of(&self, uid: u32, nth: u32) -> rusqlite::Result<Option<i64>> {
        self.connection
            .query_row(
                "SELECT created FROM request WHERE uid = ?1 ORDER BY created DESC LIMIT 1 OFFSET ?2",
                params![uid, nth.saturating_sub(1)],
                |row| row.get(0),
            )
            .optional()
    }
}

/// Whose rows a listing returns.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// Every pending request.
    Pending,
    /// Everything of one user.
    OfUser(u32),
    /// Everything.
    Everybody,
}

/// Stores a new request.
pub fn insert_request(tx: &Transaction<'_>, terms: &RequestTerms, bytes: &[u8], needed: u32) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
         VALUES (?1, ?2, ?3, 'pending', ?4, ?5, ?6, ?7)",
        params![terms.id.as_str(), terms.uid, terms.role.as_str(), terms.created, terms.deadline, needed, bytes],
    )?;
    extension::insert(tx, terms)
}

/// Stores an approval at `now`; a second one by the same approver replaces the first.
pub fn insert_approval(tx: &Transaction<'_>, approval: &Approval, now: i64) -> rusqlite::Result<()> {
    let Approval { terms, bytes, uid, signature } = approval;
    tx.execute(
        "INSERT OR REPLACE INTO approval (request, uid, at, body, signature, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![terms.id.as_str(), uid, now, bytes, signature, approval.fingerprint()],
    )?;
    Ok(())
}

/// Takes a request out of `pending`; false when it no longer was.
pub fn decide_request(
    tx: &Transaction<'_>,
    id: &GrantId,
    state: RequestState,
    ended: Option<&Ended>,
) -> rusqlite::Result<bool> {
    let changed = tx.execute(
        "UPDATE request SET state = ?2, ended_by = ?3, ended_at = ?4, ended_reason = ?5 \
         WHERE id = ?1 AND state = 'pending'",
        params![
            id.as_str(),
            state.as_str(),
            ended.map(|ended| ended.by.as_str()),
            ended.map(|ended| ended.at),
            ended.map(|ended| ended.reason.as_slice())
        ],
    )?;
    Ok(changed == 1)
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

/// True while nobody has ended the grant.
pub fn is_open(tx: &Transaction<'_>, id: &GrantId) -> rusqlite::Result<bool> {
    Ok(GrantStore::new(tx).end_of(id)?.is_none())
}

/// Ends a grant; false when it had already been ended. One that has served its one run may still be taken back from that
/// run.
pub fn end_grant(tx: &Transaction<'_>, id: &GrantId, end: GrantEnd, ended: &Ended) -> rusqlite::Result<bool> {
    let over = match end {
        GrantEnd::Used => "",
        GrantEnd::Revoked | GrantEnd::Released => GrantEnd::Used.as_str(),
    };
    let changed = tx.execute(
        "UPDATE granted SET ended = ?2, ended_by = ?3, ended_at = ?4, ended_reason = ?5 \
         WHERE id = ?1 AND (ended IS NULL OR ended = ?6)",
        params![id.as_str(), end.as_str(), ended.by, ended.at, ended.reason, over],
    )?;
    Ok(changed == 1)
}

/// `None` when the bytes are damaged.
fn read_approval(row: &Row<'_>) -> rusqlite::Result<Option<Approval>> {
    let bytes: Vec<u8> = row.get(0)?;
    let (uid, signature) = (row.get(1)?, row.get(2)?);
    Ok(decode(&bytes).map(|terms| Approval { terms, bytes, uid, signature }))
}

fn read_request(row: &Row<'_>, now: i64) -> Result<StoredRequest, FindError> {
    let id: String = row.get(6)?;
    let damaged = || FindError::Damaged(id.clone());
    let bytes: Vec<u8> = row.get(0)?;
    let terms: RequestTerms = decode(&bytes).ok_or_else(damaged)?;
    let state: String = row.get(1)?;
    let mut state = RequestState::parse(&state).ok_or_else(damaged)?;
    if state == RequestState::Pending && now >= terms.deadline {
        state = RequestState::Expired;
    }
    Ok(StoredRequest { terms, bytes, state, needed: row.get(2)?, ended: read_ended(row, 3)? })
}

fn read_grant(row: &Row<'_>) -> Result<StoredGrant, FindError> {
    let id: String = row.get(5)?;
    let damaged = || FindError::Damaged(id.clone());
    let bytes: Vec<u8> = row.get(0)?;
    let terms = decode(&bytes).ok_or_else(damaged)?;
    let end: Option<String> = row.get(1)?;
    let end = end.map(|word| GrantEnd::parse(&word).ok_or_else(damaged)).transpose()?;
    let ended = read_ended(row, 2)?;
    Ok(StoredGrant { terms, end: end.zip(ended) })
}

fn read_ended(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Ended>> {
    let by: Option<String> = row.get(first)?;
    let at: Option<i64> = row.get(first + 1)?;
    let reason: Option<Vec<u8>> = row.get(first + 2)?;
    Ok(by.zip(at).map(|(by, at)| Ended { by, at, reason: reason.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::Word;
    use crate::grant::HostKey;
    use crate::grant::terms::{Flag, encode};
    use crate::names::UserName;

    const NOW: i64 = 1_000;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection.execute_batch(EXTENSION_SCHEMA).unwrap();
        connection
    }

    fn request(id: &str, uid: u32) -> RequestTerms {
        RequestTerms {
            break_glass: Flag::No,
            argv: vec![Word::from("/usr/bin/id")],
            created: NOW,
            deadline: NOW + 100,
            duration: 60,
            exact: Flag::No,
            extends: None,
            host: "host".into(),
            id: GrantId::parse(id).unwrap(),
            one_shot: Flag::No,
            program: String::new(),
            reason: Word::from("because"),
            role: RoleName::parse("ops").unwrap(),
            run_as: UserName::parse("root").unwrap(),
            start: 0,
            ticket: Word::default(),
            uid,
            user: UserName::parse("alice").unwrap(),
            version: 1,
        }
    }

    fn grant(id: &str, uid: u32, expires: i64) -> GrantTerms {
        GrantTerms {
            break_glass: Flag::No,
            approvals: Vec::new(),
            approvers: Vec::new(),
            argv: Vec::new(),
            boot_deadline: 0,
            boot_id: "boot".into(),
            exact: Flag::No,
            expires,
            extends: None,
            host: "host".into(),
            id: GrantId::parse(id).unwrap(),
            issued: NOW,
            one_shot: Flag::No,
            program: String::new(),
            request: String::new(),
            role: RoleName::parse("ops").unwrap(),
            run_as: UserName::parse("root").unwrap(),
            starts: NOW,
            uid,
            user: UserName::parse("alice").unwrap(),
            version: 1,
        }
    }

    fn ended() -> Ended {
        Ended { by: "bob".into(), at: NOW, reason: b"enough".to_vec() }
    }

    fn put<T>(connection: &Connection, change: impl FnOnce(&Transaction<'_>) -> T) -> T {
        let tx = connection.unchecked_transaction().unwrap();
        let changed = change(&tx);
        tx.commit().unwrap();
        changed
    }

    #[test]
    fn an_id_is_found_by_its_beginning_when_it_is_the_only_one() {
        let connection = database();
        put(&connection, |tx| {
            for id in ["abc0000000", "abd0000000", "zzzzzzzzzz"] {
                let terms = request(id, 1);
                insert_request(tx, &terms, &encode(&terms).unwrap(), 1).unwrap();
            }
        });
        let find = |prefix: &str| GrantStore::new(&connection).find(&IdPrefix::parse(prefix).unwrap());
        assert_eq!(find("abc").unwrap().as_str(), "abc0000000");
        assert_eq!(find("zzzzzzzzzz").unwrap().as_str(), "zzzzzzzzzz");
        assert!(matches!(find("ab"), Err(FindError::Several(ids)) if ids.len() == 2));
        assert!(matches!(find("abe"), Err(FindError::Unknown)));
    }

    #[test]
    fn a_request_leaves_pending_once() {
        let connection = database();
        let terms = request("abc0000000", 1);
        put(&connection, |tx| {
            insert_request(tx, &terms, &encode(&terms).unwrap(), 1).unwrap();
            assert!(decide_request(tx, &terms.id, RequestState::Denied, Some(&ended())).unwrap());
            assert!(!decide_request(tx, &terms.id, RequestState::Approved, None).unwrap());
        });
        let stored = GrantStore::new(&connection).request(&terms.id, NOW).unwrap();
        assert_eq!((stored.state, stored.terms), (RequestState::Denied, terms));
        assert_eq!(stored.ended.unwrap().reason, b"enough");
    }

    #[test]
    fn a_request_dies_at_its_deadline_by_itself() {
        let connection = database();
        let terms = request("abc0000000", 7);
        put(&connection, |tx| insert_request(tx, &terms, &encode(&terms).unwrap(), 1).unwrap());
        let store = GrantStore::new(&connection);
        assert_eq!(store.request(&terms.id, NOW + 99).unwrap().state, RequestState::Pending);
        assert_eq!(store.request(&terms.id, NOW + 100).unwrap().state, RequestState::Expired);
        assert_eq!((store.pending_of(7, NOW).unwrap(), store.pending_of(7, NOW + 100).unwrap()), (1, 0));
        assert!(store.pending_for(7, &terms.role, NOW).unwrap().is_some());
        assert!(store.pending_for(8, &terms.role, NOW).unwrap().is_none());
        assert!(store.pending_for(7, &RoleName::parse("other").unwrap(), NOW).unwrap().is_none());
    }

    #[test]
    fn only_open_grants_of_the_user_are_candidates() {
        let connection = database();
        let key = HostKey::from_seed([1; 32]);
        put(&connection, |tx| {
            for (id, uid, expires) in [("aaaaaaaaaa", 1, NOW + 9), ("bbbbbbbbbb", 1, NOW), ("cccccccccc", 2, NOW + 9)] {
                let terms = grant(id, uid, expires);
                insert_grant(tx, &terms, &SignedGrant::issue(&terms, &key).unwrap()).unwrap();
            }
        });
        let candidates = || GrantStore::new(&connection).candidates(1, NOW).unwrap().len();
        assert_eq!(candidates(), 1);
        let id = GrantId::parse("aaaaaaaaaa").unwrap();
        put(&connection, |tx| {
            assert!(is_open(tx, &id).unwrap());
            assert!(end_grant(tx, &id, GrantEnd::Revoked, &ended()).unwrap());
            assert!(!end_grant(tx, &id, GrantEnd::Used, &ended()).unwrap(), "an end is final");
            assert!(!is_open(tx, &id).unwrap());
        });
        assert_eq!(candidates(), 0);
        assert_eq!(GrantStore::new(&connection).end_of(&id).unwrap(), Some(GrantEnd::Revoked));
    }

    #[test]
    fn an_extension_is_found_from_what_it_extends_until_it_is_ended() {
        let connection = database();
        let old = GrantId::parse("aaaaaaaaaa").unwrap();
        let longer = RequestTerms { extends: Some(old.clone()), ..request("bbbbbbbbbb", 7) };
        let store = GrantStore::new(&connection);
        put(&connection, |tx| insert_request(tx, &longer, &encode(&longer).unwrap(), 1).unwrap());
        assert_eq!(store.pending_extension(&old, NOW).unwrap().as_deref(), Some("bbbbbbbbbb"));
        assert_eq!(store.pending_extension(&old, NOW + 100).unwrap(), None, "the request is dead by then");
        assert!(store.extensions(&old).unwrap().is_empty() && store.extension(&old).unwrap().is_none());

        let terms = GrantTerms { extends: longer.extends.clone(), ..grant("bbbbbbbbbb", 7, NOW + 60) };
        let signed = SignedGrant::issue(&terms, &HostKey::from_seed([1; 32])).unwrap();
        put(&connection, |tx| {
            decide_request(tx, &terms.id, RequestState::Approved, None).unwrap();
            insert_grant(tx, &terms, &signed).unwrap();
        });
        assert_eq!(store.pending_extension(&old, NOW).unwrap(), None);
        assert_eq!(store.extensions(&old).unwrap().len(), 1);
        assert_eq!(store.extension(&old).unwrap().unwrap().terms, terms);
        let ended = Ended { by: "bob".into(), at: NOW, reason: Vec::new() };
        put(&connection, |tx| assert!(end_grant(tx, &terms.id, GrantEnd::Revoked, &ended).unwrap()));
        assert!(store.extensions(&old).unwrap().is_empty());
    }

    #[test]
    fn a_one_shot_grant_can_be_taken_back_from_its_run_and_nothing_twice() {
        let connection = database();
        let terms = grant("aaaaaaaaaa", 7, NOW + 60);
        let signed = SignedGrant::issue(&terms, &HostKey::from_seed([1; 32])).unwrap();
        let ended = Ended { by: "bob".into(), at: NOW, reason: Vec::new() };
        let end = |end| put(&connection, |tx| end_grant(tx, &terms.id, end, &ended).unwrap());
        put(&connection, |tx| insert_grant(tx, &terms, &signed).unwrap());
        assert!(end(GrantEnd::Used));
        assert!(!end(GrantEnd::Used));
        assert!(end(GrantEnd::Revoked));
        assert!(!end(GrantEnd::Released));
        assert_eq!(GrantStore::new(&connection).end_of(&terms.id).unwrap(), Some(GrantEnd::Revoked));
    }

    #[test]
    fn a_grant_that_vanished_with_its_database_does_not_stand() {
        let connection = database();
        let id = GrantId::parse("aaaaaaaaaa").unwrap();
        assert_eq!(GrantStore::new(&connection).end_of(&id).unwrap(), Some(GrantEnd::Revoked));
    }

    #[test]
    fn damaged_terms_are_an_error_and_no_request() {
        let connection = database();
        let terms = request("abc0000000", 1);
        put(&connection, |tx| insert_request(tx, &terms, b"{}", 1).unwrap());
        assert!(matches!(GrantStore::new(&connection).request(&terms.id, NOW), Err(FindError::Damaged(_))));
    }
}
