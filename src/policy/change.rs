//! What tells a policy from the one before: its files and its roles by their digests, in lists of bounded length.
//! Opens no file and writes no row.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::escape::{Word, hex};

/// The most entries of one list; of a longer one the count and the digest stand for the rest.
pub const LISTED: usize = 256;

/// A file of the policy as it was read, or the list of the approvers' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it was.
    pub path: Word,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Last write, µs since 1970.
    pub written: i64,
    /// Who owns it.
    pub owner: u32,
}

/// What became of a file or role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was not there before.
    Added,
    /// It was another before.
    Changed,
    /// It is not there any more; its digest is the last one.
    Removed,
}

/// A file of the present policy, or one that belonged to the policy before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Where it is.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Last write in µs since 1970, and the owner; of a removed one nobody knows.
    pub written: Option<(i64, u32)>,
    /// Nothing where it is as before.
    pub became: Option<Became>,
}

/// The first entries of a list of names with digests, and how long all of it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// At most [`LISTED`], in the order of their names.
    pub first: Vec<(String, [u8; 32])>,
    /// How many there are.
    pub count: u64,
    /// The digest of the whole list, where there are more than are shown: see [`digest_of`].
    pub sha256: Option<[u8; 32]>,
}

/// What a policy that takes the place of another changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// The digest that names the policy.
    pub policy: [u8; 32],
    /// That of the policy before; nothing in a new database.
    pub before: Option<[u8; 32]>,
    /// At most [`LISTED`] files, those that changed before all others.
    pub files: Vec<FileEntry>,
    /// How many files the present policy has.
    pub file_count: u64,
    /// Roles that were not there before.
    pub added: Names,
    /// Roles that were others before.
    pub changed: Names,
    /// Roles that are gone, with their last digests.
    pub removed: Names,
}

/// Names with their digests, in the order of their bytes.
pub(super) type Digests = BTreeMap<String, [u8; 32]>;

/// SHA-256 over one line for each entry, as sha256sum(1) prints it: digest, two spaces, name.
pub fn digest_of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8; 32])>) -> [u8; 32] {
    let lines = entries.into_iter().map(|(name, sha256)| format!("{}  {name}\n", hex(sha256)));
    lines.fold(Sha256::new(), |hash, line| hash.chain_update(line)).finalize().into()
}

/// The digest that names the policy of these files, in their order.
pub fn policy_digest(files: &[SourceFile]) -> [u8; 32] {
    let paths: Vec<String> = files.iter().map(|file| file.path.to_string()).collect();
    digest_of(paths.iter().map(String::as_str).zip(files.iter().map(|file| &file.sha256)))
}

impl PolicyChange {
    /// From the digests of the files and roles `before` to what is `now`; nothing where all of them are the same.
    pub(super) fn between(
        before: Option<[u8; 32]>,
        (old_files, files): (&Digests, &[SourceFile]),
        (old_roles, roles): (&Digests, &Digests),
    ) -> Option<Self> {
        let change = Self {
            policy: policy_digest(files),
            before,
            file_count: count(files.len()),
            files: file_entries(old_files, files),
            added: names(roles, |name, _| !old_roles.contains_key(name)),
            changed: names(roles, |name, now| old_roles.get(name).is_some_and(|before| before != now)),
            removed: names(old_roles, |name, _| !roles.contains_key(name)),
        };
        let roles_differ = [&change.added, &change.changed, &change.removed].into_iter().any(|list| list.count > 0);
        (roles_differ || change.before != Some(change.policy)).then_some(change)
    }
}

fn names(all: &Digests, is_meant: impl Fn(&str, &[u8; 32]) -> bool) -> Names {
    let meant: Vec<_> = all.iter().filter(|(name, sha256)| is_meant(name, sha256)).collect();
    Names {
        first: meant.iter().take(LISTED).map(|(name, sha256)| ((*name).clone(), **sha256)).collect(),
        count: count(meant.len()),
        sha256: (meant.len() > LISTED).then(|| digest_of(meant.iter().map(|(name, sha256)| (name.as_str(), *sha256)))),
    }
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
        entries.sort_by_key(|entry| entry.became.is_none()); // stable: in their order otherwise
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

    fn roles(texts: &[(&str, u8)]) -> Digests {
        texts.iter().map(|(name, byte)| ((*name).to_owned(), [*byte; 32])).collect()
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
    fn the_digest_is_that_of_what_sha256sum_prints() {
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
    fn each_role_is_added_changed_removed_or_as_it_was() {
        let files = [file("/a", 1)];
        let before = roles(&[("gone", 1), ("other", 2), ("same", 3)]);
        let now = roles(&[("new", 4), ("other", 5), ("same", 3)]);
        let between = |old: &Digests, new: &Digests| {
            PolicyChange::between(Some(policy_digest(&files)), (&known(&files), &files), (old, new))
        };
        let change = between(&before, &now).unwrap();
        assert_eq!(
            (shown(&change.added), shown(&change.changed), shown(&change.removed)),
            (vec!["new"], vec!["other"], vec!["gone"])
        );
        assert_eq!((change.changed.first[0].1, change.removed.first[0].1), ([5; 32], [1; 32]));
        assert_eq!(between(&now, &now), None, "the files and roles are the same");
    }

    #[test]
    fn a_file_that_changes_no_role_is_a_change() {
        let (before, now) = ([file("/a", 1), file("/b", 2)], [file("/a", 9), file("/c", 2)]);
        let nothing = Digests::new();
        let change =
            PolicyChange::between(Some(policy_digest(&before)), (&known(&before), &now), (&nothing, &nothing)).unwrap();
        let became: Vec<_> = change.files.iter().map(|entry| (entry.path.as_str(), entry.became)).collect();
        let expected = [("/a", Some(Became::Changed)), ("/c", Some(Became::Added)), ("/b", Some(Became::Removed))];
        assert_eq!((became.as_slice(), change.file_count), (&expected[..], 2));
        let first = PolicyChange::between(None, (&nothing, &[]), (&nothing, &nothing)).unwrap();
        assert_eq!((first.before, first.file_count), (None, 0), "the first policy is one, however empty");
    }

    #[test]
    fn of_a_hundred_thousand_roles_256_are_named_and_all_are_counted_and_digested() {
        let many: Digests = (0..100_000).map(|n| (format!("role{n:06}"), [7; 32])).collect();
        let change = PolicyChange::between(None, (&Digests::new(), &[]), (&Digests::new(), &many)).unwrap();
        assert_eq!((change.added.first.len(), change.added.count), (LISTED, 100_000));
        assert_eq!(shown(&change.added)[255], "role000255");
        let all: String = (0..100_000).map(|n| format!("{}  role{n:06}\n", "07".repeat(32))).collect();
        assert_eq!(change.added.sha256, Some(Sha256::digest(all).into()));
        let exactly: Digests = many.into_iter().take(LISTED).collect();
        let change = PolicyChange::between(None, (&Digests::new(), &[]), (&Digests::new(), &exactly)).unwrap();
        assert_eq!((change.added.count, change.added.sha256), (256, None));
    }

    #[test]
    fn of_many_files_those_that_changed_come_first() {
        let before: Vec<SourceFile> = (0..1000).map(|n| file(&format!("/f{n:04}"), 1)).collect();
        let mut now = before.clone();
        now[999] = file("/f0999", 2);
        now.remove(0);
        let nothing = Digests::new();
        let change = PolicyChange::between(None, (&known(&before), &now), (&nothing, &nothing)).unwrap();
        let first: Vec<&str> = change.files.iter().take(3).map(|entry| entry.path.as_str()).collect();
        assert_eq!(first, ["/f0999", "/f0000", "/f0001"], "the changed, the removed, and then the others in order");
        assert_eq!((change.files.len(), change.file_count), (LISTED, 999));
    }
}
