//! Checkpoints: the host's signature over the number and hash of a record, which covers all records up to it. Stock
//! `ssh-keygen` can verify them.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::tree::TreeHead;
use crate::grant::sshsig::{armor, dearmor};
use crate::grant::terms::encode;

/// A checkpoint is due after this many records without one.
pub const EVERY_RECORDS: u64 = 1000;

/// A checkpoint is due with the first record after this many seconds without one.
pub const EVERY_SECONDS: i64 = 60;

/// The version of the format.
pub const VERSION: u32 = 2;

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
    /// The root of the Merkle tree of all records up to this one.
    pub root: Digest,
    /// The number of the record.
    pub seq: u64,
    /// The number of records up to this one, with those that were pruned.
    pub size: u64,
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

    /// Returns the tree head that it states.
    pub fn tree(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root }
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
    /// The same head as a signed note of the host ([`note`](super::note)).
    pub note: String,
}

/// A checkpoint as one line of text: in an export, and in the log sinks.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// The exact bytes that were signed.
    checkpoint: String,
    /// Distinguishes the line from records, for programs.
    kind: String,
    /// The same head as a signed note.
    note: String,
    /// The number of the record that it follows.
    seq: u64,
    /// The armored signature.
    signature: String,
}

impl Checkpoint {
    /// Returns the checkpoint as one JSON object, without a line feed.
    pub fn to_line(&self) -> String {
        let line = Line {
            checkpoint: String::from_utf8_lossy(&self.body).into_owned(),
            kind: "checkpoint".to_owned(),
            note: self.note.clone(),
            seq: self.seq,
            signature: armor(&self.signature),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Decodes a line if it is a checkpoint.
    pub fn from_line(line: &[u8]) -> Option<Self> {
        let line = line.starts_with(b"{\"checkpoint\":").then(|| serde_json::from_slice::<Line>(line).ok())??;
        let signature = dearmor(&line.signature).unwrap_or_default();
        Some(Self { seq: line.seq, body: line.checkpoint.into_bytes(), signature, note: line.note })
    }
}
