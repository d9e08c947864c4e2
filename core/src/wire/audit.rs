//! The journal.

use super::VerifyInfo;
use super::verb::verb;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::names::{RoleName, UserName};
use serde::{Deserialize, Serialize};

/// List records in the order of their numbers. A caller who is not root or a reader sees their own records.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditList {
    /// Only records with a greater number.
    #[serde(default)]
    pub after: u64,
    /// At most this many. With `newest` the last ones, still listed oldest first.
    pub limit: u32,
    /// The last `limit` records instead of the first.
    #[serde(default)]
    pub newest: bool,
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only acts of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Only records with a smaller number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only records that match this filter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: Box<RecordFilter>,
}

verb!("audit-list", AuditList => "records", RecordPage);

/// Show every record of one run or grant, or one record by number.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditShow {
    /// A run's id (12 characters), a grant's id, or a record's number.
    pub what: String,
}

verb!("audit-show", AuditShow => "records", RecordPage);

/// Verify the chain from the first record to the last, its checkpoints and its anchors: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditVerify {
    /// Chain heads that were stored elsewhere, besides the host's own anchor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchor: Vec<MarkInfo>,
    /// Tree heads that the host has signed and that were stored elsewhere; the caller has verified the signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadInfo>,
    /// Chain heads without a signature. They are compared, but do not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsigned: Vec<MarkInfo>,
    /// The public keys whose checkpoints count, each as `ssh-ed25519 AAAA…`; the host's own key if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Fingerprints of sealing keys that were kept elsewhere: the journal must have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealing_keys: Vec<String>,
    /// Certified `epoch` records that were kept elsewhere; the caller has verified their certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<EpochInfo>,
}

/// An `epoch` record that was stored elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochInfo {
    /// The number of the record.
    pub seq: u64,
    /// The sealing key that it certifies, `SHA256:…`.
    pub key: String,
}

verb!("audit-verify", AuditVerify => "verified", VerifyInfo);

/// Prove with the Merkle tree that a record is in the journal, or that the journal has only grown; the head is signed first:
/// root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AuditProve {
    /// The record with this number is in the journal.
    #[serde(rename = "record")]
    Record(u64),
    /// The journal begins with the records that it had when there were this many.
    #[serde(rename = "growth")]
    Growth(u64),
}

verb!("audit-prove", AuditProve => "proof", ProofInfo);

/// Export records without gaps, with their checkpoints; the head is signed first: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditExport {
    /// Begin with this record.
    #[serde(default)]
    pub from: u64,
    /// Begin with the first record that is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// End with this record: `through` of the first part of the same export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
}

verb!("audit-export", AuditExport => "exported", ExportPage);

/// Remove old records in whole segments between checkpoints: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPrune {
    /// How long records are kept; the policy's `keep` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Seconds>,
    /// Only report what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

verb!("audit-prune", AuditPrune => "pruned", PruneInfo);

/// The records that a listing contains, besides the filter by kind and user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordFilter {
    /// Only records that name this role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Only records whose command line, its arguments separated by single spaces, contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Word>,
    /// Only records of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Word>,
    /// Only ends of runs with this status: a number, `failed`, `signal`, or a value of `ended_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Not after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Only refusals by the program and denials by a user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
    /// Only records that contain this text in any field except the environment; ASCII case is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Word>,
}

/// Number and hash of a record, stored elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkInfo {
    /// The number.
    pub seq: u64,
    /// The hash, lower-case hexadecimal.
    pub head: String,
}

/// A tree head that the host has signed, stored elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadInfo {
    /// The number of records.
    pub size: u64,
    /// The root of their tree, lower-case hexadecimal.
    pub root: String,
    /// The origin of its note.
    pub origin: String,
    /// The key that signed it, as `ssh-ed25519 AAAA…`.
    pub key: String,
    /// When a witness cosigned it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosigned: Option<u64>,
    /// Which of the named witnesses did, one bit for each.
    #[serde(default)]
    pub witnesses: u64,
    /// The number of the last record that it covers, as the lines say that have it: the greatest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// A proof with the Merkle tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProofInfo {
    /// The number of records in the tree that the proof leads to.
    pub size: u64,
    /// The hashes, lower-case hexadecimal.
    pub hashes: Vec<String>,
    /// The signed note of that tree.
    pub note: String,
    /// The record, and the number of records before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<(u64, String)>,
}

/// The Merkle tree of the records before a part of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TreeInfo {
    /// The number of these records.
    pub size: u64,
    /// The largest complete subtrees, from left to right, lower-case hexadecimal.
    pub tree: Vec<String>,
}

/// A page of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordPage {
    /// The records, oldest first.
    pub records: Vec<RecordInfo>,
    /// Whether more records may follow (or precede, with `newest`).
    pub more: bool,
    /// The last record that was examined: where to continue if there is more.
    #[serde(default)]
    pub looked_at: u64,
}

/// One record of the journal: exact bytes and hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordInfo {
    /// Its number, from 1.
    pub seq: u64,
    /// The record: its exact bytes, which are one JSON object (docs/formats.md).
    pub body: String,
    /// SHA-256 of the exact bytes, lower-case hexadecimal: the chain head after this record.
    pub hash: String,
}

/// One checkpoint: the host's signature over the head of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// The last record that it covers.
    pub seq: u64,
    /// The exact bytes that were signed (docs/formats.md).
    pub body: String,
    /// The armored SSHSIG over them.
    pub signature: String,
    /// The same head as a signed note.
    pub note: String,
}

/// A part of an export: records without gaps, and the checkpoints among them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportPage {
    /// In the first part: the exact bytes of the `epoch` records before its first record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// The records, oldest first.
    pub records: Vec<RecordInfo>,
    /// The checkpoints, each after the record with its number; the checkpoint of the last pruned record comes first.
    pub checkpoints: Vec<CheckpointInfo>,
    /// The tree of the records before the first one; absent at the beginning of the journal, and after the first part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeInfo>,
    /// The last record of the whole export.
    pub through: u64,
    /// Whether more records follow.
    pub more: bool,
}

/// The result of pruning.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PruneInfo {
    /// How many records were removed, or would be removed.
    pub records: u64,
    /// How many session recordings were removed with them.
    #[serde(default)]
    pub recordings: u64,
    /// The number of the last one; 0 when there is none.
    pub through: u64,
    /// Records older than this were to be removed.
    pub before: i64,
    /// Whether anything was really removed; false for a dry run.
    pub done: bool,
    /// How many records are kept although they are old enough by the wall clock: their age is not proven.
    #[serde(default)]
    pub held: u64,
}

fn is_default(filter: &RecordFilter) -> bool {
    *filter == RecordFilter::default()
}
