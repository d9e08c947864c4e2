//! The lookups on the host that decisions need: names, addresses and files, each only if a line of the policy needs it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An address, with the mask of its network.
pub type Address = (IpAddr, Option<IpAddr>);

/// Device and inode, which identify a file under any name.
pub type FileId = (u64, u64);

/// The lookups of one host. If a result has an outer `Option`, that is `None` when the answer is unknown.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// Returns the id of the first group of this name in the account database.
    pub gid_of: fn(group: &str) -> Option<Option<u32>>,
    /// Returns whether a netgroup contains a user.
    pub netgroup_has_user: fn(netgroup: &str, user: &str) -> bool,
    /// Returns whether a netgroup contains a host.
    pub netgroup_has_host: fn(netgroup: &str, host: &str) -> bool,
    /// Returns the addresses of the host.
    pub addresses: fn() -> Option<Vec<Address>>,
    /// Returns the file that a path leads to.
    pub file: fn(&Path) -> Option<Option<FileId>>,
    /// Returns the canonical path of a file.
    pub canonical: fn(&Path) -> Option<Option<PathBuf>>,
}

/// A host without groups, addresses and files.
pub const NOWHERE: Lookup = Lookup {
    gid_of: |_| Some(None),
    netgroup_has_user: |_, _| false,
    netgroup_has_host: |_, _| false,
    addresses: || Some(Vec::new()),
    file: |_| Some(None),
    canonical: |_| Some(None),
};

/// The paths of a program that was found, and the host on which to look for other paths that lead to it.
#[derive(Debug, Clone, Copy)]
pub struct ProgramNames<'a> {
    /// The path by which rules identify it: its directory without links, and its name.
    pub place: &'a Path,
    /// Its canonical path.
    pub canonical: &'a Path,
    /// The host.
    pub lookup: &'a Lookup,
}

impl ProgramNames<'_> {
    /// Returns whether `path` leads to the same file: through a link, or as another name of it. `None` if that is
    /// unknown.
    pub fn are_led_to_by(&self, path: &Path) -> Option<bool> {
        let found = (self.lookup.file)(path)?;
        Some(found.is_some() && found == (self.lookup.file)(self.canonical)?)
    }

    /// Returns the path of the program below `directory`, if that contains a link and the program is in what it leads
    /// to. The outer `None` if that is unknown.
    pub fn below(&self, directory: &Path) -> Option<Option<PathBuf>> {
        let real = (self.lookup.canonical)(directory)?.filter(|real| real != directory);
        Some(real.and_then(|real| Some(directory.join(self.canonical.strip_prefix(real).ok()?))))
    }
}

impl<'a> ProgramNames<'a> {
    /// Creates the names of a program that only a rule names, without lookups.
    pub(super) fn of(path: &'a Path) -> Self {
        Self { place: path, canonical: path, lookup: &NOWHERE }
    }
}

/// A program whose path contains no link.
#[cfg(test)]
impl<'a> From<&'a Path> for ProgramNames<'a> {
    fn from(path: &'a Path) -> Self {
        Self::of(path)
    }
}
