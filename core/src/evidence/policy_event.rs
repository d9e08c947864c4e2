//! What is recorded of the policy: which one was compiled, and what it changes.
//! May not: touch a database or a sink.

use serde::{Deserialize, Serialize};

use super::record::Digest;
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::policy::{Became, FileEntry, Names, PolicyChange};

/// The policy was compiled, and it is another one than before. The record commits together with the compiled policy, so that
/// nothing is judged by a policy that is not in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The digest that names the policy; `start` and `grant` records name the one that they were judged by.
    pub policy: Digest,
    /// That of the policy before; absent in a new database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Digest>,
    /// Its files and the list of the approvers' keys, and those that are gone: at most 256.
    pub files: Vec<PolicyFile>,
    /// How many files it has.
    pub file_count: u64,
    /// Roles that were not there before: at most 256, in the order of their names.
    pub added: Vec<RoleEntry>,
    /// How many they are.
    pub added_count: u64,
    /// SHA-256 of the whole list where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_sha256: Option<Digest>,
    /// Roles that were others before.
    pub changed: Vec<RoleEntry>,
    /// How many they are.
    pub changed_count: u64,
    /// SHA-256 of the whole list where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_sha256: Option<Digest>,
    /// Roles that are gone, with their last digests.
    pub removed: Vec<RoleEntry>,
    /// How many they are.
    pub removed_count: u64,
    /// SHA-256 of the whole list where there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_sha256: Option<Digest>,
    /// SHA-256 of the list of all its roles; records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_sha256: Option<Digest>,
    /// SHA-256 of its settings as they are compiled; the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_sha256: Option<Digest>,
    /// Who compiled it.
    #[serde(flatten)]
    pub compiled: CompiledBy,
}

/// In whose process the policy was compiled: not who changed it, which is the owner of its files as far as anybody knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledBy {
    /// The caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Word>,
    /// Their uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_uid: Option<u32>,
    /// As whom they logged in, whoever they have become since (`/proc/self/loginuid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
}

/// A file that the policy was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFile {
    /// Where it is; an escaped word.
    pub path: String,
    /// SHA-256 of its bytes; of a removed one the last.
    pub sha256: Digest,
    /// What became of it; absent where it is as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// When it was last written, µs; absent where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Timestamp>,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Added,
    /// It has other bytes.
    Changed,
    /// It is gone.
    Removed,
}

/// A role with the digest of what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleEntry {
    /// Its name.
    pub role: String,
    /// SHA-256 of what it says, wherever it stands.
    pub sha256: Digest,
    /// SHA-256 of its text, which is what it gives power to; records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_digest: Option<Digest>,
}

impl PolicyRecord {
    /// The record of `change`.
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
    fn the_longest_record_of_a_policy_stays_short() {
        let name = |n: usize| (format!("{n:064}"), RoleDigests { sha256: [n as u8; 32], power: Some([n as u8; 32]) });
        let names = Names { first: (0..LISTED).map(name).collect(), count: 100_000, sha256: Some([7; 32]) };
        let file = |n: usize| FileEntry {
            // The longest name that a file can have, each byte of which is escaped.
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
