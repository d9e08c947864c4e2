//! The record of a backup: which part of the chain it contains, and where it was written.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::escape::Word;

/// The database was copied into a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The uid of the user who did it.
    pub uid: u32,
    /// The user who did it.
    pub user: Word,
    /// The file.
    pub file: Word,
    /// The number of the last record in the copy.
    pub through: u64,
    /// Its hash.
    pub head: Digest,
}
