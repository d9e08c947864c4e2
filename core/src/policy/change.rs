//! Compares a policy with the previous one: its files and roles by their digests, in lists of bounded length. Opens no
//! file and writes no row.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::escape::{Word, hex};

/// The maximum number of entries in a list; for a longer one, count and digest represent the rest.
pub const LISTED: usize = 256;

/// A file of the policy as it was read, or the list of approvers' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path.
    pub path: Word,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Last write, µs since 1970.
    pub written: i64,
    /// The owner.
    pub owner: u32,
}

/// How a file or role changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is new.
    Added,
    /// It was different before.
    Changed,
    /// It was removed; its digest is the last one.
    Removed,
}

/// A file of the present policy, or a removed one of the previous policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Last write in µs since 1970, and the owner; `None` for a removed file.
    pub written: Option<(i64, u32)>,
    /// `None` if it did not change.
    pub became: Option<Became>,
}

/// The digests of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleDigests {
    /// The digest of its full contents: see [`StoredRole`](super::StoredRole).
    pub sha256: [u8; 32],
    /// The digest of its [`RolePower`](super::RolePower); `None` for a removed role whose row can no longer be read.
    pub power: Option<[u8; 32]>,
}

/// The first entries of a list of roles, and the length of the whole list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// At most [`LISTED`], in the order of their names.
    pub first: Vec<(String, RoleDigests)>,
    /// The number of roles.
    pub count: u64,
    /// The digest of the whole list, if it is truncated: see [`digest_of`].
    pub sha256: Option<[u8; 32]>,
}

/// The changes from the previous policy to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// The digest of the policy.
    pub policy: [u8; 32],
    /// The digest of the previous policy; `None` in a new database.
    pub before: Option<[u8; 32]>,
    /// At most [`LISTED`] files, changed ones first.
    pub files: Vec<FileEntry>,
    /// The number of files of the present policy.
    pub file_count: u64,
    /// New roles.
    pub added: Names,
    /// Changed roles.
    pub changed: Names,
    /// Removed roles, with their last digests.
    pub removed: Names,
    /// The digest of all roles: see [`digest_of`].
    pub roles_sha256: [u8; 32],
    /// The digest of the settings: see [`settings_digest`](super::settings_digest).
    pub settings_sha256: [u8; 32],
}

/// Paths with their digests, in the order of their bytes.
pub type Digests = BTreeMap<String, [u8; 32]>;

/// Names with the digests of their roles, in the order of their bytes.
pub type Roles = BTreeMap<String, RoleDigests>;

/// The stored roles and settings of a policy.
pub struct Stored {
    /// All roles.
    pub roles: Roles,
    /// The digest of the settings; `None` if none are stored.
    pub settings: Option<[u8; 32]>,
}

/// Returns SHA-256 over one line for each entry, as sha256sum(1) prints it: digest, two spaces, name.
pub fn digest_of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8; 32])>) -> [u8; 32] {
    let add = |hash: Sha256, (name, sha256): (&str, &[u8; 32])| {
        hash.chain_update(hex(sha256)).chain_update("  ").chain_update(name).chain_update("\n")
    };
    entries.into_iter().fold(Sha256::new(), add).finalize().into()
}

/// Returns the digest of the policy of these files, in their order.
pub fn policy_digest(files: &[SourceFile]) -> [u8; 32] {
    let paths: Vec<String> = files.iter().map(|file| file.path.to_string()).collect();
    digest_of(paths.iter().map(String::as_str).zip(files.iter().map(|file| &file.sha256)))
}

impl PolicyChange {
    /// Compares the files, roles and settings `before` with those `now`; returns `None` if all digests are the same.
    pub fn between(
        before: Option<[u8; 32]>,
        (old_files, files): (&Digests, &[SourceFile]),
        (old, now): (&Stored, &Stored),
    ) -> Option<Self> {
        let (old_roles, roles) = (&old.roles, &now.roles);
        let differ = |before: &RoleDigests, now: &RoleDigests| before.sha256 != now.sha256;
        let change = Self {
            policy: policy_digest(files),
            before,
            file_count: count(files.len()),
            files: file_entries(old_files, files),
            added: names(roles, |name, _| !old_roles.contains_key(name)),
            changed: names(roles, |name, now| old_roles.get(name).is_some_and(|before| differ(before, now))),
            removed: names(old_roles, |name, _| !roles.contains_key(name)),
            roles_sha256: digest_of_roles(roles),
            settings_sha256: now.settings.unwrap_or_default(),
        };
        let roles_differ = [&change.added, &change.changed, &change.removed].into_iter().any(|list| list.count > 0);
        // The record of the settings has to match what is stored, even when another version writes them differently.
        let differs = roles_differ || change.before != Some(change.policy) || old.settings != now.settings;
        differs.then_some(change)
    }
}

fn names(all: &Roles, is_meant: impl Fn(&str, &RoleDigests) -> bool) -> Names {
    let meant: Vec<_> = all.iter().filter(|(name, digests)| is_meant(name, digests)).collect();
    Names {
        first: meant.iter().take(LISTED).map(|(name, digests)| ((*name).clone(), **digests)).collect(),
        count: count(meant.len()),
        sha256: (meant.len() > LISTED).then(|| digest_of_roles(meant.iter().copied())),
    }
}

fn digest_of_roles<'a>(roles: impl IntoIterator<Item = (&'a String, &'a RoleDigests)>) -> [u8; 32] {
    digest_of(roles.into_iter().map(|(name, digests)| (name.as_str(), &digests.sha256)))
}

fn file_entries(before: &Digests, files: &[SourceFile]) -> Vec<FileEntry> {
    let present = files.iter().map(|file| {
        let path = file.path.to_string();
        let became = match before.get(&path) {
            None => Some(Became::Added),
            Some(sha256) if *sha256 != file.sha256 => Some(Became::Changed),
            Some(_) => None,
        };
        FileEntry { path, sha256: file.sha256, written: Some((file.written, file.owner)), became }
    });
    let mut entries: Vec<FileEntry> = present.collect();
    let present: BTreeSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    let gone = before.iter().filter(|(path, _)| !present.contains(*path));
    entries.extend(gone.map(|(path, sha256)| FileEntry {
        path: path.clone(),
        sha256: *sha256,
        written: None,
        became: Some(Became::Removed),
    }));
    if entries.len() > LISTED {
        entries.sort_by_key(|entry| entry.became.is_none()); // stable: otherwise in their order
        entries.truncate(LISTED);
    }
    entries
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(texts: &[(&str, u8)]) -> Stored {
        stored(texts.iter().map(|(name, byte)| ((*name).to_owned(), digests(*byte))).collect())
    }

    fn digests(byte: u8) -> RoleDigests {
        RoleDigests { sha256: [byte; 32], power: Some([byte; 32]) }
    }

    fn stored(roles: Roles) -> Stored {
        Stored { roles, settings: Some([1; 32]) }
    }

    fn file(path: &str, byte: u8) -> SourceFile {
        SourceFile { path: path.into(), sha256: [byte; 32], written: 5, owner: 0 }
    }

    fn known(files: &[SourceFile]) -> Digests {
        files.iter().map(|file| (file.path.to_string(), file.sha256)).collect()
    }

    fn shown(names: &Names) -> Vec<&str> {
        names.first.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn the_digest_is_that_of_the_output_of_sha256sum() {
        let files = [file("/etc/jit-sudo/policy.toml", 0xab), file("/etc/jit-sudo/policy.d/a.toml", 1)];
        let text = format!(
            "{}  /etc/jit-sudo/policy.toml\n{}  /etc/jit-sudo/policy.d/a.toml\n",
            "ab".repeat(32),
            "01".repeat(32)
        );
        assert_eq!(policy_digest(&files), <[u8; 32]>::from(Sha256::digest(text)));
        assert_eq!(policy_digest(&[]), <[u8; 32]>::from(Sha256::digest([])));
        let odd = [file("/etc/a\nb", 1)];
        assert_eq!(policy_digest(&odd), digest_of([("/etc/a\\x0ab", &[1; 32])]), "one line for each file");
    }

    #[test]
    fn each_role_is_added_changed_removed_or_unchanged() {
        let files = [file("/a", 1)];
        let before = roles(&[("gone", 1), ("other", 2), ("same", 3)]);
        let now = roles(&[("new", 4), ("other", 5), ("same", 3)]);
        let between = |old: &Stored, new: &Stored| {
            PolicyChange::between(Some(policy_digest(&files)), (&known(&files), &files), (old, new))
        };
        let change = between(&before, &now).unwrap();
        assert_eq!(
            (shown(&change.added), shown(&change.changed), shown(&change.removed)),
            (vec!["new"], vec!["other"], vec!["gone"])
        );
        assert_eq!((change.changed.first[0].1, change.removed.first[0].1), (digests(5), digests(1)));
        let all = [("new", &[4; 32]), ("other", &[5; 32]), ("same", &[3; 32])];
        assert_eq!((change.roles_sha256, change.settings_sha256), (digest_of(all), [1; 32]));
        assert_eq!(between(&now, &now), None, "the files and roles are the same");
        let other = Stored { settings: Some([2; 32]), ..roles(&[("new", 4), ("other", 5), ("same", 3)]) };
        assert_eq!(between(&now, &other).unwrap().settings_sha256, [2; 32], "as another version writes them");
    }

    #[test]
    fn a_file_that_changes_no_role_is_a_change() {
        let (before, now) = ([file("/a", 1), file("/b", 2)], [file("/a", 9), file("/c", 2)]);
        let nothing = stored(Roles::new());
        let change =
            PolicyChange::between(Some(policy_digest(&before)), (&known(&before), &now), (&nothing, &nothing)).unwrap();
        let became: Vec<_> = change.files.iter().map(|entry| (entry.path.as_str(), entry.became)).collect();
        let expected = [("/a", Some(Became::Changed)), ("/c", Some(Became::Added)), ("/b", Some(Became::Removed))];
        assert_eq!((became.as_slice(), change.file_count), (&expected[..], 2));
        let first = PolicyChange::between(None, (&Digests::new(), &[]), (&nothing, &nothing)).unwrap();
        assert_eq!((first.before, first.file_count), (None, 0), "the first policy is one, however empty");
    }

    #[test]
    fn a_long_list_names_256_roles_and_counts_and_digests_all() {
        let many: Roles = (0..100_000).map(|n| (format!("role{n:06}"), digests(7))).collect();
        let (nothing, many) = (stored(Roles::new()), stored(many));
        let change = PolicyChange::between(None, (&Digests::new(), &[]), (&nothing, &many)).unwrap();
        assert_eq!((change.added.first.len(), change.added.count), (LISTED, 100_000));
        assert_eq!(shown(&change.added)[255], "role000255");
        let all: String = (0..100_000).map(|n| format!("{}  role{n:06}\n", "07".repeat(32))).collect();
        assert_eq!(change.added.sha256, Some(Sha256::digest(all).into()));
        assert_eq!(change.added.sha256, Some(change.roles_sha256));
        let exactly = stored(many.roles.into_iter().take(LISTED).collect());
        let change = PolicyChange::between(None, (&Digests::new(), &[]), (&nothing, &exactly)).unwrap();
        assert_eq!((change.added.count, change.added.sha256), (256, None));
    }

    #[test]
    fn changed_files_are_listed_first() {
        let before: Vec<SourceFile> = (0..1000).map(|n| file(&format!("/f{n:04}"), 1)).collect();
        let mut now = before.clone();
        now[999] = file("/f0999", 2);
        now.remove(0);
        let nothing = stored(Roles::new());
        let change = PolicyChange::between(None, (&known(&before), &now), (&nothing, &nothing)).unwrap();
        let first: Vec<&str> = change.files.iter().take(3).map(|entry| entry.path.as_str()).collect();
        assert_eq!(first, ["/f0999", "/f0000", "/f0001"], "the changed, the removed, and then the others in order");
        assert_eq!((change.files.len(), change.file_count), (LISTED, 999));
    }
}
