//! The answer to a verification of the journal.

use super::{RecordingsChecked, SealingInfo};
use crate::escape::escape;
use crate::evidence::chain::Cause;
use crate::evidence::power::Difference;
use serde::{Deserialize, Serialize};

/// The result of verifying the chain.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VerifyInfo {
    /// Whether nothing was altered, as far as chain, checkpoints and anchor show.
    pub intact: bool,
    /// How many records were read.
    pub records: u64,
    /// The hash of the last one.
    pub head: String,
    /// The first bad record and what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<String>,
    /// The number before the first record that was read: 0, or that of the last record that was pruned or not requested.
    #[serde(default)]
    pub before: u64,
    /// The number of the last record.
    #[serde(default)]
    pub last: u64,
    /// The last checkpoint that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedInfo>,
    /// How many checkpoints were signed with other keys and do not count.
    #[serde(default)]
    pub foreign: u64,
    /// The greatest record number that the anchor confirms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchored: Option<u64>,
    /// What the heads show that were stored elsewhere.
    #[serde(default)]
    pub heads: HeadsInfo,
    /// Whether the tree heads of the checkpoints were compared with the records.
    #[serde(default)]
    pub tree: bool,
    /// How many heads of the anchor are of records that were pruned; of these only that of the last one is compared.
    #[serde(default)]
    pub pruned_heads: u64,
    /// The forks: where records were lost, and the journal went on behind their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<ForkInfo>,
    /// The sealing keys; absent if the journal has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing: Option<Box<SealingInfo>>,
    /// How many database rows match the records; absent for an exported file, and if there is a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Box<ComparedInfo>>,
    /// All records that contradict earlier records, at most a hundred; the first is also in `first_bad`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inconsistencies: Vec<String>,
    /// The database rows that differ from the records, at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<DifferenceInfo>,
    /// The result of comparing the recordings with the journal, if requested; added by jitctl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recordings: Option<RecordingsChecked>,
}

/// What the heads show that were stored elsewhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HeadsInfo {
    /// The last record that a signed head confirms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<u64>,
    /// The last record that a head with a witness's cosignature confirms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosigned: Option<u64>,
    /// When the witness cosigned it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosigned_at: Option<u64>,
    /// Which of the named witnesses have cosigned a head that agrees: the lowest bit stands for the first.
    #[serde(default)]
    pub witnesses: u64,
    /// How many signed heads belong to branches that were lost.
    #[serde(default)]
    pub lost: u64,
    /// How many of those only a fork explains that names another record in the place of one of this journal.
    #[serde(default)]
    pub replaced: u64,
    /// How many signed heads by a former host key are of more records than it can have signed in this journal.
    #[serde(default)]
    pub beyond: u64,
    /// How many signed heads are by given keys that this journal is not by.
    #[serde(default)]
    pub others: u64,
    /// How many signed heads differ, and nothing shows whether they are of a branch that was lost.
    #[serde(default)]
    pub undecided: u64,
    /// How many signed heads are of fewer records than were pruned.
    #[serde(default)]
    pub pruned: u64,
    /// How many signed heads could not be compared: the records before the file are not known.
    #[serde(default)]
    pub uncompared: u64,
    /// The last record that a head without a signature confirms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<u64>,
    /// How many heads without a signature disagree.
    #[serde(default)]
    pub disagreeing: u64,
    /// The first record that such a head names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_disagreeing: Option<u64>,
}

/// A fork of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForkInfo {
    /// The number of its record.
    pub seq: u64,
    /// The number of the record that it continues; 0 if there is none.
    pub continues: u64,
    /// The highest number that was known. Records between these two numbers were lost.
    pub highest: u64,
    /// The known heads of the lost branch.
    pub heads: Vec<LostHeadInfo>,
    /// The record with which root accepted the state of the host after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// The first record of the lost branch whose head was kept elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_elsewhere: Option<u64>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_elsewhere: Option<u64>,
}

/// A record that was lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LostHeadInfo {
    /// Its number.
    pub seq: u64,
    /// Its hash, lower-case hexadecimal.
    pub head: String,
    /// Where it is known from: `anchor`, or the name of a log sink.
    pub source: String,
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
    /// Break-glass grants, reviewed or not.
    pub debts: u64,
    /// Denials, cancellations, revocations, releases and reviews.
    pub statements: u64,
    /// Grants older than the pruning; whether they had ended is unknown.
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
    /// The difference, as a clause.
    pub what: String,
}

/// The last checkpoint that counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedInfo {
    /// The last record that it covers.
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
            heads: proven.heads.into(),
            tree: proven.tree,
            pruned_heads: proven.pruned_heads,
            forks: proven.forks.into_iter().map(Into::into).collect(),
            sealing: SealingInfo::of(proven.sealing).map(Box::new),
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

impl From<crate::evidence::ComparedHeads> for HeadsInfo {
    fn from(heads: crate::evidence::ComparedHeads) -> Self {
        Self {
            signed: heads.signed.map(|agreed| agreed.seq),
            cosigned: heads.cosigned.map(|agreed| agreed.seq),
            cosigned_at: heads.cosigned.and_then(|agreed| agreed.at),
            witnesses: heads.witnesses,
            lost: heads.lost,
            replaced: heads.replaced,
            beyond: heads.beyond,
            others: heads.others,
            undecided: heads.undecided,
            pruned: heads.pruned,
            uncompared: heads.uncompared,
            unsigned: heads.unsigned,
            disagreeing: heads.disagreeing,
            first_disagreeing: heads.first_disagreeing,
        }
    }
}

impl From<crate::evidence::FoundFork> for ForkInfo {
    fn from(fork: crate::evidence::FoundFork) -> Self {
        let head = |lost: crate::evidence::record::LostHead| LostHeadInfo {
            seq: lost.seq,
            head: lost.head.to_string(),
            source: lost.source,
        };
        Self {
            seq: fork.seq,
            continues: fork.continues,
            highest: fork.highest,
            heads: fork.heads.into_iter().map(head).collect(),
            accepted: fork.accepted,
            first_elsewhere: fork.elsewhere.map(|(first, _)| first),
            last_elsewhere: fork.elsewhere.map(|(_, last)| last),
        }
    }
}
