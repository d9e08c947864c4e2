//! Checkpoints: the host's signature over the number and hash of a record, which covers all records up to it. Stock
//! `ssh-keygen` can verify them.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::grant::terms::encode;

/// A checkpoint is due after this many records without one.
pub const EVERY_RECORDS: u64 = 1000;

/// A checkpoint is due with the first record after this many seconds without one.
pub const EVERY_SECONDS: i64 = 60;

/// The version of the format.
pub const VERSION: u32 = 1;

/// The exact bytes that the host signs (docs/formats.md, "Checkpoints"). The keys are in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The time of the signature, in seconds since 1970.
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
    /// Decodes exact bytes; `None` for anything that this version would not have written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let statement: Self = serde_json::from_slice(bytes).ok()?;
        let exact = encode(&statement).ok()? == bytes && statement.version == VERSION;
        exact.then_some(statement)
    }
}

/// A statement and its signature, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the record that it signs.
    pub seq: u64,
    /// The exact bytes of the [`Statement`].
    pub body: Vec<u8>,
    /// SSHSIG in the namespace `jit-sudo/checkpoint/v1`.
    pub signature: Vec<u8>,
}
