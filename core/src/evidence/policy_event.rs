//! The record of a policy: which one was compiled, and what it changes. This module touches no database and no sink.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::policy::{Became, FileEntry, Names, PolicyChange};

/// A new policy was compiled. The record is committed together with the compiled policy, so that no decision depends on
/// a policy that is not in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The digest of the policy; `start` and `grant` records name the policy that applied by it.
    pub policy: Digest,
    /// The digest of the previous policy; absent in a new database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Digest>,
    /// Its files and the list of approvers' keys, and removed files: at most 256.
    pub files: Vec<PolicyFile>,
    /// The number of files.
    pub file_count: u64,
    /// New roles: at most 256, in the order of their names.
    pub added: Vec<RoleEntry>,
    /// Their number.
    pub added_count: u64,
    /// SHA-256 of the whole list when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_sha256: Option<Digest>,
    /// Changed roles.
    pub changed: Vec<RoleEntry>,
    /// Their number.
    pub changed_count: u64,
    /// SHA-256 of the whole list when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_sha256: Option<Digest>,
    /// Removed roles, with their last digests.
    pub removed: Vec<RoleEntry>,
    /// Their number.
    pub removed_count: u64,
    /// SHA-256 of the whole list when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_sha256: Option<Digest>,
    /// SHA-256 of the list of all its roles; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_sha256: Option<Digest>,
    /// SHA-256 of its compiled settings; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<Digest>,
    /// The process that compiled it.
    #[serde(flatten)]
    pub compiled: CompiledBy,
}

/// The user of the process that compiled the policy. Not the user who changed it: only the owner of its files indicates
/// that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledBy {
    /// The caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Word>,
    /// The caller's uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_uid: Option<u32>,
    /// The caller's login uid, which does not change with later changes of identity (`/proc/self/loginuid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
}

/// A file that the policy was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFile {
    /// The path, escaped.
    pub path: String,
    /// SHA-256 of its bytes; for a removed file of its last bytes.
    pub sha256: Digest,
    /// How it changed; absent if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// When it was last written, µs; absent for a removed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Timestamp>,
    /// The owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// How a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Added,
    /// It has other bytes.
    Changed,
    /// It was removed.
    Removed,
}

/// A role with the digest of its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleEntry {
    /// Its name.
    pub role: String,
    /// SHA-256 of its contents, whichever file they are in.
    pub sha256: Digest,
    /// SHA-256 of its text, which determines what it permits; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_digest: Option<Digest>,
}

impl PolicyRecord {
    /// Creates the record of `change`.
    pub fn new(change: PolicyChange, compiled: CompiledBy) -> Self {
        let [added, changed, removed] = [change.added, change.changed, change.removed].map(Listed::from);
        Self {
            policy: Digest(change.policy),
            replaces: change.before.map(Digest),
            files: change.files.into_iter().map(PolicyFile::from).collect(),
            file_count: change.file_count,
            added: added.roles,
            added_count: added.count,
            added_sha256: added.sha256,
            changed: changed.roles,
            changed_count: changed.count,
            changed_sha256: changed.sha256,
            removed: removed.roles,
            removed_count: removed.count,
            removed_sha256: removed.sha256,
            roles_sha256: Some(Digest(change.roles_sha256)),
            settings_sha256: Some(Digest(change.settings_sha256)),
            compiled,
        }
    }
}

struct Listed {
    roles: Vec<RoleEntry>,
    count: u64,
    sha256: Option<Digest>,
}

impl From<Names> for Listed {
    fn from(names: Names) -> Self {
        let roles = names.first.into_iter().map(|(role, digests)| RoleEntry {
            role,
            sha256: Digest(digests.sha256),
            role_digest: digests.power.map(Digest),
        });
        Self { roles: roles.collect(), count: names.count, sha256: names.sha256.map(Digest) }
    }
}

impl From<FileEntry> for PolicyFile {
    fn from(entry: FileEntry) -> Self {
        Self {
            path: entry.path,
            sha256: Digest(entry.sha256),
            change: entry.became.map(|became| match became {
                Became::Added => Change::Added,
                Became::Changed => Change::Changed,
                Became::Removed => Change::Removed,
            }),
            mtime: entry.written.map(|(written, _)| Timestamp(written)),
            uid: entry.written.map(|(_, owner)| owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::{Event, Record};
    use crate::policy::{LISTED, RoleDigests};
    use crate::samples;

    #[test]
    fn the_longest_policy_record_is_bounded() {
        let name = |n: usize| (format!("{n:064}"), RoleDigests { sha256: [n as u8; 32], power: Some([n as u8; 32]) });
        let names = Names { first: (0..LISTED).map(name).collect(), count: 100_000, sha256: Some([7; 32]) };
        let file = |n: usize| FileEntry {
            // The longest name that a file can have, with every byte escaped.
            path: format!("/etc/jit-sudo/policy.d/{n:04}{}", "\\x01".repeat(246)),
            sha256: [n as u8; 32],
            written: Some((i64::MAX, u32::MAX)),
            became: Some(Became::Changed),
        };
        let change = PolicyChange {
            policy: [1; 32],
            before: Some([2; 32]),
            files: (0..LISTED).map(file).collect(),
            file_count: 10_000,
            added: names.clone(),
            changed: names.clone(),
            removed: names,
            roles_sha256: [3; 32],
            settings_sha256: [4; 32],
        };
        let event = Event::Policy(Box::new(PolicyRecord::new(change, CompiledBy::default())));
        let record = Record::new(7, Digest::ZERO, &samples::moment(1), "web1", event);
        let body = record.encode().unwrap();
        assert!(body.len() < 640 << 10, "{} bytes", body.len());
        assert_eq!(Record::decode(&body).unwrap(), record);
    }
}
