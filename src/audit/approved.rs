//! Whether the approvals in the table of a request are those of its records: one that is missing would lose its limits, and one
//! without a record was never given.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::error::JournalError;
use super::history::history;
use jit_core::escape::Word;
use jit_core::evidence::Event;
use jit_core::evidence::record::{self, Digest, Limit, Record};
use jit_core::grant::terms::Flag;
use jit_core::grant::{Approval, Limits, digest};
use jit_core::names::GrantId;

/// The approvals of a request by their records, in order.
pub struct RecordedApprovals(Vec<record::Approval>);

impl RecordedApprovals {
    /// Returns those whose approver gave a later one: the digests of their bytes, and their approvers.
    pub fn superseded(&self) -> Vec<([u8; 32], Word)> {
        let (mut found, mut rest) = (Vec::new(), self.0.as_slice());
        while let Some((first, later)) = rest.split_first() {
            if later.iter().any(|other| other.uid == first.uid) {
                found.push((first.sha256.0, first.user.clone()));
            }
            rest = later;
        }
        found
    }

    /// Returns whether exactly this approval was given before.
    pub fn has(&self, approval: &Approval) -> bool {
        self.0.iter().any(|before| before.sha256 == Digest(digest(&approval.bytes)))
    }

    /// Returns whether an approval allows something that an earlier one of the same person did not.
    pub fn is_wider(&self, approval: &Approval) -> bool {
        let name = approval.terms.approver.as_str().as_bytes();
        let is_same = |before: &&record::Approval| before.uid == approval.uid || before.user.as_bytes() == name;
        let now = Limits::from(&approval.terms);
        self.0.iter().filter(is_same).any(|before| now.is_wider_than(&limits(before)))
    }
}

fn limits(record: &record::Approval) -> Limits {
    let has = |limit| Flag::from(record.limits.contains(&limit));
    let duration = record.duration.unwrap_or_default();
    Limits { duration, exact: has(Limit::Exact), one_shot: has(Limit::OneShot) }
}

/// Fails unless `given` are the approvals of the request by its records: the last one of each approver, with its bytes and its key.
/// Where the decision is made in a transaction, this is called inside it. Returns those of the records.
///
/// # Errors
/// They differ, or the database failed.
pub fn approved_as(
    connection: &Connection,
    id: &GrantId,
    given: &[Approval],
) -> Result<RecordedApprovals, JournalError> {
    let query = history!("SELECT body FROM history WHERE grant_id = ?1 AND kind = 'approval' ORDER BY seq");
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([id.as_str()])?;
    let mut recorded = Vec::new();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(0)?;
        match Record::decode(&String::from_utf8_lossy(&body)).map(|record| record.event) {
            Ok(Event::Approval(approval)) if approval.grant == *id => recorded.push(*approval),
            _ => return Err(JournalError::OtherApprovals(id.clone())),
        }
    }
    let people: BTreeSet<u32> = recorded.iter().map(|approval| approval.uid).collect();
    let is_recorded = |approval: &Approval| {
        recorded.iter().rfind(|before| before.uid == approval.uid).is_some_and(|before| {
            before.sha256 == Digest(digest(&approval.bytes))
                && before.key.as_ref().map(|key| key.as_bytes()) == approval.fingerprint().as_deref().map(str::as_bytes)
        })
    };
    let same = given.len() == people.len() && given.iter().all(is_recorded);
    if same { Ok(RecordedApprovals(recorded)) } else { Err(JournalError::OtherApprovals(id.clone())) }
}
