//! Copies of the database, and what is saved of a damaged one.

use super::verb::verb;
use super::{CheckpointInfo, RecordInfo};
use crate::escape::Word;
use serde::{Deserialize, Serialize};

/// Copy the database into a new file that only root can read: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBackup {
    /// The absolute path of the file.
    pub file: Word,
}

verb!("backup", NewBackup => "backed-up", BackupInfo);

/// Put a backup in the place of the database: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The absolute path of the backup.
    pub file: Word,
}

verb!("restore", Restore => "restored", RestoreInfo);

/// Read the records of a damaged journal, as far as they can be read: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSalvage {
    /// Begin with this record.
    #[serde(default)]
    pub from: u64,
}

verb!("audit-salvage", AuditSalvage => "salvaged", SalvagePage);

/// A backup that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupInfo {
    /// The file.
    pub file: Word,
    /// The number of the last record in it.
    pub through: u64,
    /// Its hash.
    pub head: String,
}

/// A backup that was put in the place of the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreInfo {
    /// The number of the last record in the backup.
    pub through: u64,
    /// Its hash.
    pub head: String,
    /// The file that contains the former database; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Word>,
    /// The greatest number of a record that the anchor of the former database names; the records behind `through` are not in the
    /// backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
}

/// A part of what is saved of a damaged journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SalvagePage {
    /// The records that can be read, oldest first.
    pub records: Vec<RecordInfo>,
    /// The checkpoints that can be read, each after the record with its number.
    pub checkpoints: Vec<CheckpointInfo>,
    /// The records that cannot be read, oldest first.
    pub gaps: Vec<GapInfo>,
    /// Where the next part begins; absent in the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Whether the last number of the journal is unknown, so that more records may be missing.
    #[serde(default)]
    pub open_end: bool,
}

/// Records that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapInfo {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The reason.
    pub why: String,
}
