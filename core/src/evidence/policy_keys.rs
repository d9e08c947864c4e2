//! The contents of a `policy` record besides its digest.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::policy::LISTED;

/// The contents of a `policy` record besides its digest. A `prune` record has some of them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PolicyKeys<'a> {
    #[serde(borrow, default)]
    pub(super) files: Vec<FileKeys<'a>>,
    pub(super) replaces: Option<&'a str>,
    pub(super) file_count: Option<u64>,
    #[serde(borrow, default)]
    pub(super) added: Vec<RoleKeys<'a>>,
    #[serde(default)]
    pub(super) added_count: u64,
    #[serde(borrow, default)]
    pub(super) changed: Vec<RoleKeys<'a>>,
    #[serde(default)]
    pub(super) changed_count: u64,
    #[serde(borrow, default)]
    pub(super) removed: Vec<RoleKeys<'a>>,
    #[serde(default)]
    pub(super) removed_count: u64,
    pub(super) added_sha256: Option<&'a str>,
    pub(super) changed_sha256: Option<&'a str>,
    pub(super) removed_sha256: Option<&'a str>,
    /// Absent in earlier versions; `prune` records contain it too.
    pub(super) roles_sha256: Option<&'a str>,
    pub(super) settings_sha256: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FileKeys<'a> {
    #[serde(borrow)]
    pub(super) path: Cow<'a, str>,
    pub(super) sha256: &'a str,
    pub(super) change: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RoleKeys<'a> {
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    pub(super) sha256: &'a str,
    pub(super) role_digest: Option<&'a str>,
}

impl PolicyKeys<'_> {
    /// Returns the list whose length is wrong: neither complete nor truncated at the limit with a digest of the whole.
    pub(super) fn counted(&self) -> Option<&'static str> {
        let lists = [
            ("added", self.added.len(), self.added_count, self.added_sha256),
            ("changed", self.changed.len(), self.changed_count, self.changed_sha256),
            ("removed", self.removed.len(), self.removed_count, self.removed_sha256),
        ];
        let fits = |listed: usize, count: u64, digest: Option<&str>| {
            u64::try_from(listed).is_ok_and(|all| all == count || (listed == LISTED && all < count && digest.is_some()))
        };
        lists.iter().find(|(_, listed, count, digest)| !fits(*listed, *count, *digest)).map(|(name, ..)| *name)
    }

    /// Returns whether the lists of added, changed and removed roles are complete.
    pub(super) fn are_whole(&self) -> bool {
        let counts = [
            (self.added.len(), self.added_count),
            (self.changed.len(), self.changed_count),
            (self.removed.len(), self.removed_count),
        ];
        counts.iter().all(|(listed, count)| u64::try_from(*listed).is_ok_and(|listed| listed == *count))
    }

    pub(super) fn files(&self) -> Option<BTreeMap<String, String>> {
        let present = self.files.iter().filter(|file| file.change != Some("removed"));
        let files: BTreeMap<_, _> = present.map(|file| (file.path.to_string(), file.sha256.to_owned())).collect();
        (u64::try_from(files.len()).ok() == self.file_count).then_some(files)
    }

    pub(super) fn tables(&self) -> LastPolicy {
        LastPolicy {
            roles_sha256: self.roles_sha256.map(str::to_owned),
            settings_sha256: self.settings_sha256.map(str::to_owned),
            ..LastPolicy::default()
        }
    }
}

/// What the last `policy` record says of the tables; each field is `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastPolicy {
    /// The digest of the policy; `None` when none was ever compiled, or the last one is unknown.
    pub policy: Option<String>,
    /// The digest of the list of all roles.
    pub roles_sha256: Option<String>,
    /// The digest of the settings.
    pub settings_sha256: Option<String>,
    /// Its files with their digests, if all of them are listed.
    pub files: Option<BTreeMap<String, String>>,
}
