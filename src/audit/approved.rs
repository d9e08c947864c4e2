//! Whether the approvals in the table of a request are those of its records: one that is missing would lose its limits, and one
//! without a record was never given.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::error::JournalError;
use super::history::history;
use jit_core::evidence::Event;
use jit_core::evidence::record::{Digest, Record};
use jit_core::grant::{Approval, digest};
use jit_core::names::GrantId;

/// Fails unless `given` are the approvals of the request by its records: the last one of each approver, with its bytes and its key.
/// Where the decision is made in a transaction, this is called inside it.
///
/// # Errors
/// They differ, or the database failed.
pub fn approved_as(connection: &Connection, id: &GrantId, given: &[Approval]) -> Result<(), JournalError> {
    let query = history!("SELECT body FROM history WHERE grant_id = ?1 AND kind = 'approval' ORDER BY seq");
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([id.as_str()])?;
    let mut recorded = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        match Record::decode(&String::from_utf8_lossy(&body)).map(|record| record.event) {
            Ok(Event::Approval(approval)) => recorded.insert(approval.uid, (approval.sha256, approval.key)),
            _ => return Err(JournalError::OtherApprovals(id.clone())),
        };
    }
    let is_recorded = |approval: &Approval| {
        recorded.get(&approval.uid).is_some_and(|(sha256, key)| {
            *sha256 == Digest(digest(&approval.bytes))
                && key.as_ref().map(|key| key.as_bytes()) == approval.fingerprint().as_deref().map(str::as_bytes)
        })
    };
    let same = given.len() == recorded.len() && given.iter().all(is_recorded);
    if same { Ok(()) } else { Err(JournalError::OtherApprovals(id.clone())) }
}
