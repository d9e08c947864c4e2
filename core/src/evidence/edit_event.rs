//! The record of a file that is edited: before and after, written before the file changes. This module touches no
//! database and no sink.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::escape::Word;
use crate::names::{GrantId, RunId};

/// A file is about to get these bytes. The `end` of the run says whether it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The run.
    pub run: RunId,
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
    /// Its size before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_bytes: Option<u64>,
    /// SHA-256 of its bytes after.
    pub after: Digest,
    /// Its size after.
    pub after_bytes: u64,
    /// The difference in the format of `diff -u`: for text of moderate length that all users of the host may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Word>,
}
