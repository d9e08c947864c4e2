//! What is recorded of a file that is edited: before and after, on the disk before the file changes.
//! May not: touch a database or a sink.

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::escape::Word;
use crate::names::GrantId;

/// A file is about to get these bytes. Whether it really did, the `end` of the run says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The run.
    pub run: String,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant, as in `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The file and its bytes.
    #[serde(flatten)]
    pub change: Change,
}

/// One file's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The file: a directory without links, and a name.
    pub path: Word,
    /// SHA-256 of its bytes before; absent for a new file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// How many they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_bytes: Option<u64>,
    /// SHA-256 of its bytes after.
    pub after: Digest,
    /// How many they are.
    pub after_bytes: u64,
    /// The difference as `diff -u` writes it: for text of moderate length that everybody on the host may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Word>,
}
