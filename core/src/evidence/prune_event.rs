//! The record of a pruning: how much of the old end of the chain is gone, and by what the rest goes on to be proved.

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::grant::HostDescriptor;

/// Old records were removed. Everything up to `through` is gone; `head` is what the next record names as `prev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The uid of who did it.
    pub uid: u32,
    /// Who did it.
    pub user: Word,
    /// The latest time so far was before this at each that was removed, µs.
    pub before: Timestamp,
    /// The greatest time of any that was ever removed, µs: greater than that where the clock once stood ahead, until root accepted it as
    /// it was put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
    /// Which host this was by the records that were removed, where they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<HostDescriptor>,
    /// The number of the last record that was removed.
    pub through: u64,
    /// Its hash.
    pub head: Digest,
    /// How many were removed now.
    pub records: u64,
    /// The policies of which removed records told, the latest first: records that stay may name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Digest>,
    /// What the latest of their records said of all its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_sha256: Option<Digest>,
    /// And of its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<Digest>,
    /// So many rows of `request`, the oldest, have no record any more; records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// The same of `granted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<u64>,
}
