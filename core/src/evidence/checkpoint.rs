//! Checkpoints: the host's signature over the number and hash of a record, which vouches for all records up to it. Stock
//! `ssh-keygen` can check them.

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::grant::terms::encode;

/// After so many records without a checkpoint the next one is due.
pub const EVERY_RECORDS: u64 = 1000;

/// After so many seconds without a checkpoint the next record makes one due.
pub const EVERY_SECONDS: i64 = 60;

/// The version of the format.
pub const VERSION: u32 = 1;

/// What the host signs, as exact bytes (docs/formats.md, "Checkpoints"). The keys stand in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// When it was signed; seconds since 1970.
    pub at: i64,
    /// The hash of the record.
    pub head: Digest,
    /// The host that signed it ([`HostId`](crate::grant::HostId)).
    pub host: String,
    /// The number of the record.
    pub seq: u64,
    /// [`VERSION`].
    pub version: u32,
}

impl Statement {
    /// Reads exact bytes; anything that this version would not have written itself is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let statement: Self = serde_json::from_slice(bytes).ok()?;
        let exact = encode(&statement).ok()? == bytes && statement.version == VERSION;
        exact.then_some(statement)
    }
}

/// A statement and its signature, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The record behind which it stands.
    pub seq: u64,
    /// The exact bytes of the [`Statement`].
    pub body: Vec<u8>,
    /// SSHSIG in the namespace `jit-sudo/checkpoint/v1`.
    pub signature: Vec<u8>,
}
