//! What the records say of one request and its grant, whatever the rows of the database say.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;

use super::columns::sql_bound;
use super::error::JournalError;
use super::history::history;
use super::provenance;
use jit_core::clock::Timestamp;
use jit_core::escape::Word;
use jit_core::evidence::record::Digest;
use jit_core::grant::GrantTerms;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::grant::terms::Flag;
use jit_core::names::{GrantId, IdPrefix, RoleName, UserName};

/// The state of a request by its records alone, whatever its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestInRecords {
    /// It was made, and not decided.
    Pending,
    /// It was denied or cancelled.
    Decided,
    /// A grant was issued for it.
    Granted,
    /// Its grant was revoked or released.
    Ended,
    /// It has no records. They were pruned, if it cannot be approved any more.
    Unknown,
}

/// Returns the state of a request by its records. Every decision about a request asks this inside its transaction, so a row that is
/// put back is not decided twice.
///
/// # Errors
/// Fails when the database fails.
pub fn request_in_records(connection: &Connection, id: &GrantId) -> Result<RequestInRecords, JournalError> {
    let states = said_of(connection, id)?.into_iter().filter_map(|kind| match kind {
        Said::Request => Some((1, RequestInRecords::Pending)),
        Said::Denial | Said::Cancellation => Some((2, RequestInRecords::Decided)),
        Said::Grant | Said::Start => Some((3, RequestInRecords::Granted)),
        Said::Revocation | Said::Release => Some((4, RequestInRecords::Ended)),
        Said::Other => None,
    });
    Ok(states.max_by_key(|(rank, _)| *rank).map_or(RequestInRecords::Unknown, |(_, state)| state))
}

/// The kind of a record, by its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Request,
    Denial,
    Cancellation,
    Grant,
    Start,
    Revocation,
    Release,
    #[serde(other)]
    Other,
}

/// Returns the kinds of the records about a request and its grant, and of one run. A record counts as what its body says, which is
/// hashed into the chain: its columns are copies, and say where it is found only.
fn said_of(connection: &Connection, id: &GrantId) -> Result<Vec<Said>, JournalError> {
    let query = history!(
        "SELECT body FROM history WHERE grant_id = ?1 AND kind NOT IN ('start', 'end') UNION ALL \
                 SELECT * FROM (SELECT body FROM history WHERE grant_id = ?1 AND kind = 'start' LIMIT 1)"
    );
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([id.as_str()])?;
    let mut said = Vec::new();
    while let Some(row) = rows.next()? {
        // Ignores what cannot be decoded, which a verification reports.
        said.extend(told(row.get_ref(0)?.as_bytes().unwrap_or_default(), id));
    }
    Ok(said)
}

/// Returns the kind of a record about this request, by its body.
fn told(body: &[u8], id: &GrantId) -> Option<Said> {
    #[derive(Deserialize)]
    struct Told {
        kind: Said,
        grant: GrantId,
    }
    serde_json::from_slice::<Told>(body).ok().filter(|told| told.grant == *id).map(|told| told.kind)
}

/// Who asked for what, by the record of a request or of its grant.
pub struct AskedInRecords {
    /// SHA-256 of the exact bytes of the request; `None` where only the record of the grant can be read.
    pub request: Option<Digest>,
    /// The role.
    pub role: RoleName,
    /// The holder.
    pub holder: UserName,
    /// The uid of the holder.
    pub holder_uid: u32,
}

/// Returns who asked for what by the records, whatever the row says; `None` where they are missing or cannot be read.
///
/// # Errors
/// Fails when the database fails.
pub fn asked_in_records(connection: &Connection, id: &GrantId) -> Result<Option<AskedInRecords>, JournalError> {
    let by_index = history!(
        "SELECT kind, body FROM history WHERE grant_id = ?1 AND kind IN ('grant', 'request') ORDER BY kind DESC, seq"
    );
    // An index may lack them.
    let by_table = history!(
        "SELECT kind, body FROM history WHERE +grant_id = ?1 AND +kind IN ('grant', 'request') ORDER BY kind DESC, seq"
    );
    match asked_by(connection, by_index, id)? {
        Some(asked) => Ok(Some(asked)),
        None => asked_by(connection, by_table, id),
    }
}

fn asked_by(connection: &Connection, query: &str, id: &GrantId) -> Result<Option<AskedInRecords>, JournalError> {
    #[derive(Deserialize)]
    struct Asked {
        grant: GrantId,
        role: RoleName,
        sha256: Digest,
        uid: u32,
        user: Word,
    }
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([id.as_str()])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(1)?.as_bytes().unwrap_or_default();
        let Some(asked) = serde_json::from_slice::<Asked>(body).ok().filter(|asked| asked.grant == *id) else {
            continue;
        };
        let Some(holder) = std::str::from_utf8(asked.user.as_bytes()).ok().and_then(|name| UserName::parse(name).ok())
        else {
            continue;
        };
        let is_request = row.get_ref(0)?.as_str().is_ok_and(|kind| kind == "request");
        let request = is_request.then_some(asked.sha256);
        return Ok(Some(AskedInRecords { request, role: asked.role, holder, holder_uid: asked.uid }));
    }
    Ok(None)
}

/// What the records alone say of a grant, whatever its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InRecords {
    /// It was requested, and has not ended.
    Open,
    /// It was revoked or released, it was for one run and that began, or root accepted the state of the host after it was
    /// requested.
    Ended(GrantEnd),
    /// There is no record of its request. A pruning keeps those of grants that may still be used.
    Unknown,
}

/// Returns what the records say of a grant. Every check of a grant asks this, so a row that is put back gives nothing. An extension
/// ends with each grant that it extends, directly or through other extensions.
///
/// # Errors
/// Fails when the database fails.
pub fn in_records(connection: &Connection, terms: &GrantTerms) -> Result<InRecords, JournalError> {
    match (alone_in_records(connection, &terms.id, terms.one_shot)?, &terms.extends) {
        (InRecords::Open, Some(base)) => match base_in_records(connection, base)? {
            ended @ InRecords::Ended(_) => Ok(ended),
            // The records of a grant that has expired may be pruned.
            InRecords::Open | InRecords::Unknown => Ok(InRecords::Open),
        },
        (alone, _) => Ok(alone),
    }
}

/// Returns what the records say of a grant that is extended, and of those that it extends itself. It may be used up.
///
/// # Errors
/// Fails when the database fails.
pub fn base_in_records(connection: &Connection, id: &GrantId) -> Result<InRecords, JournalError> {
    let first = alone_in_records(connection, id, Flag::No)?;
    let (mut said, mut seen) = (first, vec![id.clone()]);
    while !matches!(said, InRecords::Ended(_)) {
        // Two that extend each other: only in a changed database.
        let next = seen.last().map(|last| extended_by(connection, last)).transpose()?.flatten();
        let Some(base) = next.filter(|base| !seen.contains(base)) else { return Ok(first) };
        said = alone_in_records(connection, &base, Flag::No)?;
        seen.push(base);
    }
    Ok(said)
}

/// Returns the grant that a grant extends, by its record.
fn extended_by(connection: &Connection, id: &GrantId) -> Result<Option<GrantId>, JournalError> {
    #[derive(Deserialize)]
    struct Issued {
        grant: GrantId,
        extends: Option<GrantId>,
    }
    let mut statement =
        connection.prepare_cached(history!("SELECT body FROM history WHERE grant_id = ?1 AND kind = 'grant'"))?;
    let mut rows = statement.query([id.as_str()])?;
    while let Some(row) = rows.next()? {
        // Ignores what cannot be decoded, which a verification reports.
        let issued = serde_json::from_slice::<Issued>(row.get_ref(0)?.as_bytes().unwrap_or_default());
        if let Some(base) = issued.ok().filter(|issued| issued.grant == *id).and_then(|issued| issued.extends) {
            return Ok(Some(base));
        }
    }
    Ok(None)
}

/// Returns what the records say of one grant, whatever they say of those that it extends.
pub(super) fn alone_in_records(
    connection: &Connection,
    id: &GrantId,
    one_shot: Flag,
) -> Result<InRecords, JournalError> {
    // Reads the table, which takes half the time: what was pruned and is left over is that of a grant that cannot be used. Two short
    // statements, because most of the time is that to prepare them. The rows of its runs may be many, and are not read.
    let query = "SELECT kind, seq, body FROM record WHERE grant_id = ?1 AND kind <> 'end' AND (kind <> 'start' OR ?2)";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(rusqlite::params![id.as_str(), one_shot.is_set()])?;
    let mut asked: Option<i64> = None;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(1)?;
        match row.get_ref(0)?.as_str().unwrap_or_default() {
            "request" => asked = Some(asked.map_or(seq, |before| before.min(seq))),
            "release" => return Ok(InRecords::Ended(GrantEnd::Released)),
            "start" => return Ok(InRecords::Ended(GrantEnd::Used)),
            "revocation" => return Ok(InRecords::Ended(GrantEnd::Revoked)),
            _ => {}
        }
        // The columns are copies: a record of another kind, by its column, may be an end.
        match told(row.get_ref(2)?.as_bytes().unwrap_or_default(), id) {
            Some(Said::Release) => return Ok(InRecords::Ended(GrantEnd::Released)),
            Some(Said::Revocation) => return Ok(InRecords::Ended(GrantEnd::Revoked)),
            _ => {}
        }
    }
    let Some(asked) = asked else { return Ok(InRecords::Unknown) };
    let query = "SELECT 1 FROM record WHERE kind = 'alert' AND kind NOT IN ('start', 'end') AND seq > ?1 \
                 AND instr(body, CAST('\"code\":\"state-accepted\"' AS BLOB)) > 0";
    let accepted = connection.prepare_cached(query)?.exists([asked])?;
    Ok(if accepted { InRecords::Ended(GrantEnd::Revoked) } else { InRecords::Open })
}

/// Returns whether a grant was issued, and neither revoked nor released since, by its records alone: whether another statement may
/// end it. An acceptance of the state of the host does not count here, because statements about each grant follow it.
///
/// # Errors
/// Fails when the database fails.
pub fn by_statements(connection: &Connection, id: &GrantId) -> Result<InRecords, JournalError> {
    let said = said_of(connection, id)?;
    let has = |kind| said.contains(&kind);
    Ok(match (has(Said::Revocation), has(Said::Release), has(Said::Grant)) {
        (true, _, _) => InRecords::Ended(GrantEnd::Revoked),
        (false, true, _) => InRecords::Ended(GrantEnd::Released),
        (false, false, true) => InRecords::Open,
        (false, false, false) => InRecords::Unknown,
    })
}

/// Returns the ids of grants that begin with `prefix`, by their records: at most `limit`.
///
/// # Errors
/// Fails when the database fails.
pub fn grants_beginning_with(
    connection: &Connection,
    prefix: &IdPrefix,
    limit: u32,
) -> Result<Vec<GrantId>, JournalError> {
    let query = history!(
        "SELECT DISTINCT grant_id FROM history WHERE grant_id >= ?1 AND grant_id < ?1 || '~' AND kind = 'grant' LIMIT ?2"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(rusqlite::params![prefix.as_str(), limit])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.extend(row.get_ref(0)?.as_str().ok().and_then(|id| GrantId::parse(id).ok()));
    }
    Ok(ids)
}

/// A grant that the records say is open.
pub struct OpenInRecords {
    /// Its id.
    pub id: GrantId,
    /// The grant that it extends.
    pub extends: Option<GrantId>,
    /// Whether its row says the same.
    pub agrees: bool,
}

/// Returns the grants that expire after `now` (seconds since 1970) and were not ended, by their records alone: a row that is
/// missing or changed hides none of them, and neither does an index.
///
/// # Errors
/// Fails when the database fails.
pub fn open_in_records(connection: &Connection, now: i64) -> Result<Vec<OpenInRecords>, JournalError> {
    let (issued, begun) = issued(connection, now)?;
    let mut open = Vec::new();
    for Issued { id, expires, extends, one_shot } in issued {
        if (one_shot && begun.contains(&id)) || matches!(by_statements(connection, &id)?, InRecords::Ended(_)) {
            continue;
        }
        let is_open = |ended: Option<String>| match ended {
            None => true,
            // No record says that a running command continues under it.
            Some(ended) => ended == GrantEnd::Used.as_str() && one_shot && extends.is_some(),
        };
        let row = "SELECT CAST(ended AS TEXT), expires FROM granted WHERE id = ?1";
        let row: Option<(Option<String>, i64)> = connection
            .prepare_cached(row)?
            .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let agrees = row.is_some_and(|(ended, until)| is_open(ended) && until == expires);
        open.push(OpenInRecords { id, extends, agrees });
    }
    Ok(open)
}

/// A grant that was issued, by its record.
struct Issued {
    id: GrantId,
    /// Seconds since 1970.
    expires: i64,
    extends: Option<GrantId>,
    one_shot: bool,
}

/// Returns the grants since root last accepted the state of the host that expire after `now`, and the ids of those under which a run
/// has begun. Reads the whole table.
fn issued(connection: &Connection, now: i64) -> Result<(Vec<Issued>, BTreeSet<GrantId>), JournalError> {
    #[derive(Deserialize)]
    struct Told {
        expires: i64,
        extends: Option<GrantId>,
        limits: Vec<String>,
    }
    let query = history!(
        "SELECT kind, grant_id, body FROM history WHERE +kind IN ('grant', 'start') AND seq > ?1 \
                 AND +grant_id IS NOT NULL ORDER BY seq"
    );
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([sql_bound(provenance::accepted(connection)?)])?;
    let (mut issued, mut begun) = (Vec::new(), BTreeSet::new());
    while let Some(row) = rows.next()? {
        // Ignores what cannot be decoded, which a verification reports.
        let Some(id) = row.get_ref(1)?.as_str().ok().and_then(|id| GrantId::parse(id).ok()) else { continue };
        if row.get_ref(0)?.as_str() == Ok("start") {
            begun.insert(id);
            continue;
        }
        let body = row.get_ref(2)?.as_bytes().unwrap_or_default();
        let Ok(Told { expires, extends, limits }) = serde_json::from_slice::<Told>(body) else { continue };
        let (expires, one_shot) = (Timestamp(expires).seconds(), limits.iter().any(|limit| limit == "one-shot"));
        if expires > now {
            issued.push(Issued { id, expires, extends, one_shot });
        }
    }
    Ok((issued, begun))
}

#[cfg(test)]
mod tests {
    use rusqlite::Transaction;

    use super::*;
    use crate::audit::SCHEMA;
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};

    #[test]
    fn the_records_alone_say_what_became_of_a_request() {
        use RequestInRecords::{Decided, Ended, Granted, Pending, Unknown};
        let scratch = Scratch::new("claim-request");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let mut seq = 0;
        for (kinds, state) in [
            ("approval alert", Unknown),
            ("request", Pending),
            ("request approval alert", Pending),
            ("request approval denial", Decided),
            ("request cancellation", Decided),
            ("request approval grant", Granted),
            ("request approval grant denial", Granted),
            ("request start", Granted),
            ("request grant start revocation end", Ended),
            ("request grant release", Ended),
            ("request grant extended", Granted),
        ] {
            let id = GrantId::parse(&format!("{seq:0>10}")).unwrap();
            for kind in kinds.split(' ') {
                seq += 1;
                let insert = "INSERT INTO record VALUES (?1, ?2, NULL, NULL, ?3, 0, 0, x'00', ?4)";
                let write = |tx: &Transaction<'_>| {
                    let grant = id.as_str();
                    let id = (state != Unknown).then_some(grant);
                    let body = format!(r#"{{"grant":"{grant}","kind":"{kind}"}}"#);
                    // The body counts: the column of the last one says that the grant has ended.
                    let column = if kind == "extended" { "release" } else { kind };
                    tx.execute(insert, rusqlite::params![seq, column, id, body.as_bytes()]).map_err(JournalError::from)
                };
                assert_eq!(database.write(Durability::Ordered, write).unwrap(), 1);
            }
            assert_eq!(request_in_records(database.connection(), &id).unwrap(), state, "{kinds}");
        }
    }

    #[test]
    fn a_record_of_a_grant_without_an_id_hides_no_other() {
        let scratch = Scratch::new("claim-open");
        let database = Database::create(&scratch.path(), &[SCHEMA, crate::store::SCHEMA]).unwrap();
        let body = r#"{"expires":4000000000000000,"limits":[]}"#;
        for (seq, id) in (1..).zip(["NULL", "'-'", "CAST(x'ff' AS TEXT)", "'aaaaaaaaaa'"]) {
            let insert = format!("INSERT INTO record VALUES (?1, 'grant', NULL, NULL, {id}, 0, 0, x'00', ?2)");
            let write = |tx: &Transaction<'_>| {
                tx.execute(&insert, rusqlite::params![seq, body.as_bytes()]).map_err(JournalError::from)
            };
            assert_eq!(database.write(Durability::Ordered, write).unwrap(), 1);
        }
        let open = open_in_records(database.connection(), 0).unwrap();
        assert_eq!(open.iter().map(|open| open.id.as_str()).collect::<Vec<_>>(), ["aaaaaaaaaa"]);
    }

    #[test]
    fn the_records_alone_say_whether_a_grant_has_ended() {
        let scratch = Scratch::new("claim-in-records");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let put = |seq: i64, kind: &str, id: Option<&str>, body: &str| {
            let insert = "INSERT INTO record VALUES (?1, ?2, NULL, NULL, ?3, 0, 0, x'00', ?4)";
            let write = |tx: &Transaction<'_>| {
                tx.execute(insert, rusqlite::params![seq, kind, id, body.as_bytes()]).map_err(JournalError::from)
            };
            assert_eq!(database.write(Durability::Ordered, write).unwrap(), 1);
        };
        let said = |id: &str, one_shot| {
            alone_in_records(database.connection(), &GrantId::parse(id).unwrap(), one_shot).unwrap()
        };
        let accepted = r#"{"code":"state-accepted"}"#;
        put(1, "alert", None, accepted);
        for (seq, id) in (2..).zip(["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"]) {
            assert_eq!(said(id, Flag::No), InRecords::Unknown, "no record of its request");
            put(seq, "request", Some(id), "{}");
            assert_eq!(said(id, Flag::Yes), InRecords::Open);
        }
        put(5, "start", Some("aaaaaaaaaa"), "{}");
        assert_eq!(said("aaaaaaaaaa", Flag::No), InRecords::Open);
        assert_eq!(said("aaaaaaaaaa", Flag::Yes), InRecords::Ended(GrantEnd::Used));
        put(6, "release", Some("aaaaaaaaaa"), "{}");
        assert_eq!(said("aaaaaaaaaa", Flag::Yes), InRecords::Ended(GrantEnd::Released));
        put(7, "revocation", Some("bbbbbbbbbb"), "{}");
        assert_eq!(said("bbbbbbbbbb", Flag::No), InRecords::Ended(GrantEnd::Revoked));
        put(8, "alert", Some("cccccccccc"), r#"{"code":"break-glass"}"#);
        assert_eq!(said("cccccccccc", Flag::No), InRecords::Open);
        put(9, "alert", None, accepted);
        assert_eq!(said("cccccccccc", Flag::No), InRecords::Ended(GrantEnd::Revoked));
    }
}
