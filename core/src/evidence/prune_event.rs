//! The record of a pruning: which part of the chain was removed, and how the rest is still proved.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::grant::HostDescriptor;

/// Old records were removed. Everything up to `through` is gone; `head` is the `prev` of the next record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The uid of the user who did it.
    pub uid: u32,
    /// The user who did it.
    pub user: Word,
    /// For every removed record, the latest time so far was before this, µs.
    pub before: Timestamp,
    /// The latest time of any record that was ever removed, µs: it is greater than `before` if the clock was once
    /// ahead, until root accepted its correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
    /// The host according to the removed records, if they named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<HostDescriptor>,
    /// The number of the last record that was removed.
    pub through: u64,
    /// Its hash.
    pub head: Digest,
    /// The number of records that this pruning removed.
    pub records: u64,
    /// The number of all records up to that one, with those that earlier prunings removed.
    pub size: u64,
    /// The largest complete subtrees of the Merkle tree of these records, from left to right: with them the tree of the remaining
    /// records is known ([`Frontier`](super::tree::Frontier)).
    pub tree: Vec<Digest>,
    /// The policies that removed records introduced, the latest first: remaining records may name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Digest>,
    /// What the latest of these records said of all its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_sha256: Option<Digest>,
    /// What it said of its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<Digest>,
    /// The number of the last row of `request` that was ever removed, with all rows before it; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_gone: Option<u64>,
    /// The same for `granted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants_gone: Option<u64>,
    /// The number of remaining rows of `request`, the oldest ones, that have lost their record; absent in records of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// The same for `granted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<u64>,
}
