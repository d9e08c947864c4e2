//! The journal.

use super::RecordingsChecked;
use super::verb::verb;
use crate::escape::{Word, escape};
use crate::evidence::chain::Cause;
use crate::evidence::power::Difference;
use crate::names::{RoleName, UserName};
use serde::{Deserialize, Serialize};

/// Records in order of their number. Who is not root or a reader sees their own runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditList {
    /// Only records with a greater number.
    #[serde(default)]
    pub after: u64,
    /// At most this many, from the newest backwards when `newest` is set (but listed oldest first).
    pub limit: u32,
    /// The last `limit` records instead of the first.
    #[serde(default)]
    pub newest: bool,
    /// Only this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only what this user did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Only records with a smaller number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only what fits this besides.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: Box<RecordFilter>,
}

verb!("audit-list", AuditList => "records", RecordPage);

/// Every record of one run, or one record by number.
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
    /// Heads that were kept elsewhere, besides the host's own anchor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchor: Vec<MarkInfo>,
    /// The public keys whose checkpoints count, each as `ssh-ed25519 AAAA…`; the host's own when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

verb!("audit-verify", AuditVerify => "verified", VerifyInfo);

/// Records without a gap, with their checkpoints; the head is signed first: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditExport {
    /// Begin with this record.
    #[serde(default)]
    pub from: u64,
    /// Begin with the first record that is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// End with this record, as the first piece of the same export said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
}

verb!("audit-export", AuditExport => "exported", ExportPage);

/// Remove old records, whole segments between checkpoints: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPrune {
    /// How many seconds records are kept; what the policy says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

verb!("audit-prune", AuditPrune => "pruned", PruneInfo);

/// Which records a listing holds, besides their kind and user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordFilter {
    /// Only records that name this role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Only records whose command line, its words parted by one space each, holds this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Word>,
    /// Only records of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Word>,
    /// Only ends of runs with this status: a number, `failed`, `signal`, or a word of `ended_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// Not after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Only what somebody was refused, by the program or by a person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
    /// Only records that hold this text in any of their words, environments apart; ASCII case does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Word>,
}

/// Number and hash of a record, kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkInfo {
    /// The number.
    pub seq: u64,
    /// The hash, lower-case hexadecimal.
    pub head: String,
}

/// A page of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordPage {
    /// The records, oldest first.
    pub records: Vec<RecordInfo>,
    /// True when more follow (or precede, for `newest`), or may.
    pub more: bool,
    /// The last record that was looked at: where to go on when there is more.
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
    /// The record behind which it stands.
    pub seq: u64,
    /// The exact bytes that were signed (docs/formats.md).
    pub body: String,
    /// The armored SSHSIG over them.
    pub signature: String,
}

/// A piece of an export: records without a gap, and the checkpoints among them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportPage {
    /// The records, oldest first.
    pub records: Vec<RecordInfo>,
    /// The checkpoints, each behind the record of its number; that of the last pruned record comes first.
    pub checkpoints: Vec<CheckpointInfo>,
    /// The record with which the whole export ends.
    pub through: u64,
    /// True when more follow.
    pub more: bool,
}

/// What was pruned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PruneInfo {
    /// How many records were removed, or would be.
    pub records: u64,
    /// How many recordings of sessions went with them.
    #[serde(default)]
    pub recordings: u64,
    /// The number of the last one; 0 when there is none.
    pub through: u64,
    /// What is older than this was asked to go.
    pub before: i64,
    /// It was really done.
    pub done: bool,
}

/// The result of verifying the chain.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VerifyInfo {
    /// Nothing was altered, as far as chain, checkpoints and anchor can tell.
    pub intact: bool,
    /// How many records were read.
    pub records: u64,
    /// The hash of the last one.
    pub head: String,
    /// The first bad record and what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<String>,
    /// The number before the first record: 0, or that of the last one that was pruned or was not asked for.
    #[serde(default)]
    pub before: u64,
    /// The number of the last record.
    #[serde(default)]
    pub last: u64,
    /// The last checkpoint that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedInfo>,
    /// How many checkpoints are by other keys, and count for nothing.
    #[serde(default)]
    pub foreign: u64,
    /// The greatest number of which the anchor agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchored: Option<u64>,
    /// Which rows of the database say what the records say; absent for an exported file, and where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Box<ComparedInfo>>,
    /// All records that may not follow what those before them say, at most a hundred; the first is `first_bad` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inconsistencies: Vec<String>,
    /// The rows of the database that say something else, at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<DifferenceInfo>,
    /// What came of comparing the recordings, where that was asked for; made by jitctl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recordings: Option<RecordingsChecked>,
}

/// How many rows of the database were compared with the records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ComparedInfo {
    /// Requests.
    pub requests: u64,
    /// Approvals.
    pub approvals: u64,
    /// Grants.
    pub grants: u64,
    /// Break-glass grants that were reviewed or are to be.
    pub debts: u64,
    /// Denials, cancellations, revocations, releases and reviews.
    pub statements: u64,
    /// Grants that are older than the pruning: whether they had ended is not known.
    pub older: u64,
    /// How many of these had not ended when the last record was written.
    pub older_open: u64,
}

/// A row of the database that differs from the records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DifferenceInfo {
    /// The table.
    pub table: String,
    /// The id of the request or grant; for a role text its digest.
    pub id: String,
    /// What differs, as a clause.
    pub what: String,
}

/// The last checkpoint that counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedInfo {
    /// It covers all records up to this number.
    pub through: u64,
    /// When it was signed.
    pub at: i64,
    /// The key, `SHA256:…`.
    pub key: String,
}

impl From<crate::evidence::Proven> for VerifyInfo {
    fn from(proven: crate::evidence::Proven) -> Self {
        let signed = proven.signed.map(|signed| SignedInfo {
            through: signed.through,
            at: signed.at,
            key: signed.key.fingerprint(),
        });
        Self {
            intact: true,
            records: proven.records,
            head: proven.last.hash.to_string(),
            first_bad: None,
            before: proven.before,
            last: proven.last.seq,
            signed,
            foreign: proven.foreign,
            anchored: proven.anchored,
            compared: proven.compared.map(|compared| {
                Box::new(ComparedInfo {
                    requests: compared.requests,
                    approvals: compared.approvals,
                    grants: compared.grants,
                    debts: compared.debts,
                    statements: compared.statements,
                    older: compared.older,
                    older_open: compared.older_open,
                })
            }),
            inconsistencies: Vec::new(),
            differences: Vec::new(),
            recordings: None,
        }
    }
}

impl From<crate::evidence::FirstBad> for VerifyInfo {
    fn from(bad: crate::evidence::FirstBad) -> Self {
        let first_bad = Some(bad.to_string());
        let (records, inconsistencies, differences) = match bad.cause {
            Cause::Rows(differences) => (bad.seq, Vec::new(), differences),
            Cause::Inconsistencies(all) => {
                let inconsistencies = all.records.iter().map(ToString::to_string).collect();
                (bad.seq.saturating_sub(1), inconsistencies, all.rows)
            }
            _ => return Self { records: bad.seq.saturating_sub(1), first_bad, ..Self::default() },
        };
        let info = |difference: Difference| DifferenceInfo {
            table: difference.table.name().to_owned(),
            id: escape(difference.id.as_bytes()),
            what: difference.what,
        };
        let differences = differences.found.into_iter().map(info).collect();
        Self { records, first_bad, inconsistencies, differences, ..Self::default() }
    }
}

fn is_default(filter: &RecordFilter) -> bool {
    *filter == RecordFilter::default()
}
