//! Lookups that distinguish "unknown" from "there is none": the outer `Option` is `None` for "unknown".

use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::no_wait::may_wait_for;
use crate::users::{Account, group_by_gid, group_by_name, groups_of};

/// Returns the id of the first group of this name in the account database.
pub fn gid_of(group: &str) -> Option<Option<u32>> {
    Some(group_by_name(group).ok()?.map(|group| group.gid))
}

/// Returns the groups of an account, the primary one included. A group has no name here if it has none, or if its name
/// belongs to another group.
pub fn named_groups(account: &Account) -> Option<Vec<(u32, Option<String>)>> {
    let groups = groups_of(&account.name, account.gid).ok()?;
    let name = |gid| {
        let Some(group) = group_by_gid(gid).ok()? else { return Some((gid, None)) };
        let leads_back = gid_of(&group.name)? == Some(gid);
        Some((gid, leads_back.then_some(group.name)))
    };
    groups.into_iter().map(name).collect()
}

/// Returns the addresses of this host, each with the mask of its network.
pub fn addresses() -> Option<Vec<(IpAddr, Option<IpAddr>)>> {
    Some(crate::machine::addresses().ok()?.into_iter().map(|own| (own.address, own.mask)).collect())
}

/// Returns device and inode of the file at a path, links followed.
pub fn file(path: &Path) -> Option<Option<(u64, u64)>> {
    may_wait_for("a file");
    Some(seen(fs::metadata(path))?.map(|found| (found.dev(), found.ino())))
}

/// Returns the canonical path of a file.
pub fn canonical(path: &Path) -> Option<Option<PathBuf>> {
    may_wait_for("a file");
    seen(fs::canonicalize(path))
}

fn seen<T>(found: io::Result<T>) -> Option<Option<T>> {
    match found {
        Ok(found) => Some(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some(None),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_unknown_results_are_distinguished() {
        assert_eq!(gid_of("root"), Some(Some(0)));
        assert_eq!(gid_of("no-group-of-this-host"), Some(None));
        assert_eq!(file(Path::new("/no/such/file")), Some(None));
        assert_eq!(canonical(Path::new("/usr/..")), Some(Some(PathBuf::from("/"))));
        let metadata = fs::metadata("/").unwrap();
        assert_eq!(file(Path::new("/")), Some(Some((metadata.dev(), metadata.ino()))));
        assert_eq!(file(&PathBuf::from("/x".repeat(5000))), None, "too long to be looked at");
    }
}
