//! Requests: their rows, and the listings of them.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{ClosedBy, FindError, GrantScope, GrantStore, Legible, belongs, read_ended, unusable};
use jit_core::grant::lifecycle::RequestState;
use jit_core::grant::terms::decode;
use jit_core::grant::{RequestTerms, TermsFault};
use jit_core::names::{GrantId, IdPrefix, Person, RoleName};

/// The maximum number of pending requests, of all users, that a listing reads; each person has few.
const PENDING_LIMIT: usize = 20_000;

/// The maximum number of past requests that a listing returns, so that it stays quick however many there were.
pub const PAST_LIMIT: usize = 200;

/// A request as it is stored.
pub struct StoredRequest {
    /// The terms of the request.
    pub terms: RequestTerms,
    /// The exact bytes of the terms.
    pub bytes: Vec<u8>,
    /// The state, with the deadline taken into account.
    pub state: RequestState,
    /// Who closed it, when, and with which reason.
    pub ended: Option<ClosedBy>,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub struct ListedRequest {
    /// Its row: a later request has a greater number.
    pub row: i64,
    /// The id.
    pub id: GrantId,
    /// The requester's uid, which may belong to another user by now.
    pub uid: u32,
    /// The role.
    pub role: RoleName,
    /// The state, with the deadline taken into account.
    pub state: RequestState,
}

impl GrantStore<'_> {
    /// Returns the ids that begin with `prefix`, in order: at most `limit`, of all users.
    pub fn beginning_with(&self, prefix: &IdPrefix, limit: u32) -> Result<Vec<GrantId>, FindError> {
        let query = "SELECT id FROM request WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT ?2";
        let mut statement = self.connection.prepare(query)?;
        let rows = statement.query_map(params![prefix.as_str(), limit], |row| row.get::<_, String>(0))?;
        let mut ids = Vec::new();
        for row in rows {
            let id = row?;
            ids.push(GrantId::parse(&id).map_err(|_| FindError::Damaged(id))?);
        }
        Ok(ids)
    }

    /// Returns one request from its columns, even where its body cannot be read.
    pub fn columns(&self, id: &GrantId, now: i64) -> Result<ListedRequest, FindError> {
        let query = "SELECT rowid, id, uid, role, state, deadline FROM request WHERE id = ?1";
        let row = self.connection.query_row(query, [id.as_str()], |row| Ok(read_listed(row, now))).optional()?;
        row.ok_or(FindError::Unknown)?
    }

    /// Returns one request.
    pub fn request(&self, id: &GrantId, now: i64) -> Result<StoredRequest, FindError> {
        self.connection
            .query_row(
                "SELECT body, state, ended_by, ended_at, ended_reason, id FROM request WHERE id = ?1",
                [id.as_str()],
                |row| Ok(read_request(row, now)),
            )
            .optional()?
            .ok_or(FindError::Unknown)?
    }

    /// Returns requests from their columns, newest first: without their bodies, which a requester may make long. With `before`,
    /// only rows before that one.
    pub fn listed(
        &self,
        which: GrantScope<'_>,
        before: Option<i64>,
        now: i64,
    ) -> Result<Vec<ListedRequest>, FindError> {
        const COLUMNS: &str = "SELECT rowid, id, uid, role, state, deadline FROM request";
        let (query, uid, limit) = match which {
            GrantScope::Pending => (
                format!("{COLUMNS} WHERE state = 'pending' AND deadline > ?2 AND rowid < ?3 AND ?1 = 0"),
                0,
                PENDING_LIMIT,
            ),
            GrantScope::Of(person) => {
                (format!("{COLUMNS} WHERE uid = ?1 AND rowid < ?3 AND ?2 IS NOT NULL"), person.uid, PAST_LIMIT)
            }
            GrantScope::Everybody => {
                (format!("{COLUMNS} WHERE rowid < ?3 AND ?1 = 0 AND ?2 IS NOT NULL"), 0, PAST_LIMIT)
            }
        };
        // By the index for the requests of one person, who may have many.
        let order = if matches!(which, GrantScope::Of(_)) { "created DESC, rowid DESC" } else { "rowid DESC" };
        let mut statement = self.connection.prepare(&format!("{query} ORDER BY {order} LIMIT {limit}"))?;
        let mut rows = statement.query(params![uid, now, before.unwrap_or(i64::MAX)])?;
        let mut listed = Vec::new();
        while let Some(row) = rows.next()? {
            listed.push(read_listed(row, now)?);
        }
        Ok(listed)
    }

    /// Returns requests, newest first: all that are pending, or all of one user.
    pub fn requests(&self, which: GrantScope<'_>, now: i64) -> Result<Vec<StoredRequest>, FindError> {
        let mut requests = Vec::new();
        for listed in self.listed(which, None, now)? {
            requests.extend(self.usable(&listed.id, now)?.filter(|request| match which {
                GrantScope::Of(person) => person.is(request.terms.uid, &request.terms.user),
                GrantScope::Pending | GrantScope::Everybody => true,
            }));
        }
        Ok(requests)
    }

    /// Returns one request, or `None` if an earlier version made it: a lookup by id reports that, and a listing has nothing to
    /// show of it.
    pub fn usable(&self, id: &GrantId, now: i64) -> Result<Option<StoredRequest>, FindError> {
        match self.request(id, now) {
            Err(FindError::Terms(_, TermsFault::Earlier)) => Ok(None),
            request => request.map(Some),
        }
    }

    /// Returns the newest pending request of `person` for `role`.
    pub fn pending_for(&self, person: &Person, role: &RoleName, now: i64) -> Result<Option<StoredRequest>, FindError> {
        let mut statement = self.connection.prepare(
            "SELECT body, state, ended_by, ended_at, ended_reason, id FROM request \
             WHERE state = 'pending' AND uid = ?1 AND role = ?2 AND deadline > ?3 ORDER BY created DESC",
        )?;
        let rows = statement.query_map(params![person.uid, role.as_str(), now], |row| Ok(read_request(row, now)))?;
        for row in rows {
            let request = row??;
            if person.is(request.terms.uid, &request.terms.user) {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    /// Returns the pending requests whose deadline is after `now` (seconds since 1970).
    pub fn undecided(&self, now: i64) -> Result<Legible<StoredRequest>, FindError> {
        let mut statement = self.connection.prepare(
            "SELECT body, state, ended_by, ended_at, ended_reason, id FROM request NOT INDEXED \
             WHERE state = 'pending' AND deadline > ?1 ORDER BY rowid",
        )?;
        let rows = statement.query_map([now], |row| Ok(read_request(row, i64::MIN)))?;
        let mut requests = Legible::default();
        for row in rows {
            requests.take(row?)?;
        }
        Ok(requests)
    }

    /// Returns the number of pending requests of `person`.
    pub fn pending_of(&self, person: &Person, now: i64) -> rusqlite::Result<usize> {
        let query = "SELECT body FROM request INDEXED BY request_pending \
                     WHERE state = 'pending' AND uid = ?1 AND deadline > ?2";
        self.count(query, person, now)
    }

    /// Returns when `person` made the request that is the `nth` from the newest, counted from 1, of those after `since` and up to
    /// `until`; all in seconds since 1970.
    pub fn nth_newest_request_of(
        &self,
        person: &Person,
        nth: u32,
        (since, until): (i64, i64),
    ) -> rusqlite::Result<Option<i64>> {
        let query = "SELECT body, created FROM request WHERE uid = ?1 AND created > ?2 AND created <= ?3 \
                     ORDER BY created DESC";
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(params![person.uid, since, until])?;
        let mut left = nth.max(1);
        while let Some(row) = rows.next()? {
            left = left.saturating_sub(u32::from(belongs(row.get_ref(0)?.as_bytes()?, person)));
            if left == 0 {
                return row.get(1).map(Some);
            }
        }
        Ok(None)
    }

    fn count(&self, query: &str, person: &Person, now: i64) -> rusqlite::Result<usize> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(params![person.uid, now])?;
        let mut count = 0_usize;
        while let Some(row) = rows.next()? {
            count = count.saturating_add(usize::from(belongs(row.get_ref(0)?.as_bytes()?, person)));
        }
        Ok(count)
    }
}

/// Stores a new request.
pub fn insert_request(tx: &Transaction<'_>, terms: &RequestTerms, bytes: &[u8], needed: u32) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO request (id, uid, role, state, created, deadline, needed, body, extends) \
         VALUES (?1, ?2, ?3, 'pending', ?4, ?5, ?6, ?7, ?8)",
        params![
            terms.id.as_str(),
            terms.uid,
            terms.role.as_str(),
            terms.created,
            terms.deadline,
            needed,
            bytes,
            terms.extends.as_ref().map(GrantId::as_str)
        ],
    )?;
    Ok(())
}

/// Moves an approved request out of `pending`; returns false when it was no longer pending. Every other change of state is
/// a statement ([`carry_out`](super::carry_out)).
pub fn approve_request(tx: &Transaction<'_>, id: &GrantId) -> rusqlite::Result<bool> {
    let query = "UPDATE request SET state = ?2 WHERE id = ?1 AND state = 'pending'";
    Ok(tx.execute(query, params![id.as_str(), RequestState::Approved.as_str()])? == 1)
}

fn read_request(row: &Row<'_>, now: i64) -> Result<StoredRequest, FindError> {
    let id: String = row.get(5)?;
    let damaged = || FindError::Damaged(id.clone());
    let bytes: Vec<u8> = row.get(0)?;
    let terms: RequestTerms = decode(&bytes).map_err(|fault| unusable(&id, fault))?;
    if terms.id.as_str() != id {
        return Err(damaged());
    }
    let state: String = row.get(1)?;
    let mut state = RequestState::parse(&state).ok_or_else(damaged)?;
    if state == RequestState::Pending && now >= terms.deadline {
        state = RequestState::Expired;
    }
    Ok(StoredRequest { terms, bytes, state, ended: read_ended(row, 2)? })
}

fn read_listed(row: &Row<'_>, now: i64) -> Result<ListedRequest, FindError> {
    let id: String = row.get(1)?;
    let damaged = || FindError::Damaged(id.clone());
    let (role, state): (String, String) = (row.get(3)?, row.get(4)?);
    let mut state = RequestState::parse(&state).ok_or_else(damaged)?;
    if state == RequestState::Pending && now >= row.get(5)? {
        state = RequestState::Expired;
    }
    Ok(ListedRequest {
        row: row.get(0)?,
        id: GrantId::parse(&id).map_err(|_| damaged())?,
        uid: row.get(2)?,
        role: RoleName::parse(&role).map_err(|_| damaged())?,
        state,
    })
}
