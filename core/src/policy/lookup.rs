//! What judgement has to ask the host: names, addresses and files, each only where a line of the policy needs it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How one host is asked. In what has an outer `Option` it is `None` where that cannot be told.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// The id of the first group of this name in the account database.
    pub gid_of: fn(group: &str) -> Option<Option<u32>>,
    /// Whether a netgroup has a user.
    pub netgroup_has_user: fn(netgroup: &str, user: &str) -> bool,
    /// Whether a netgroup has a host.
    pub netgroup_has_host: fn(netgroup: &str, host: &str) -> bool,
    /// The addresses of the host, each with the mask of its network.
    pub addresses: fn() -> Option<Vec<(IpAddr, Option<IpAddr>)>>,
    /// Device and inode of the file that a path leads to.
    pub file: fn(&Path) -> Option<Option<(u64, u64)>>,
    /// What a path leads to, without links.
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

/// The names of a program that was found, on a host that knows what else leads to it.
#[derive(Debug, Clone, Copy)]
pub struct ProgramNames<'a> {
    /// By which rules know it: its directory without links, and the name in it.
    pub place: &'a Path,
    /// What that leads to.
    pub canonical: &'a Path,
    /// The host.
    pub lookup: &'a Lookup,
}

impl ProgramNames<'_> {
    /// Whether `path` leads to the same file: through a link, or as another name of it. `None` where that cannot be seen.
    pub fn are_led_to_by(&self, path: &Path) -> Option<bool> {
        let found = (self.lookup.file)(path)?;
        Some(found.is_some() && found == (self.lookup.file)(self.canonical)?)
    }

    /// The path of the program below `directory`, where there is a link in that and the program lies in what it leads to. The
    /// outer `None` where that cannot be seen.
    pub fn below(&self, directory: &Path) -> Option<Option<PathBuf>> {
        let real = (self.lookup.canonical)(directory)?.filter(|real| real != directory);
        Some(real.and_then(|real| Some(directory.join(self.canonical.strip_prefix(real).ok()?))))
    }
}

/// A program whose name is no link.
#[cfg(test)]
impl<'a> From<&'a Path> for ProgramNames<'a> {
    fn from(path: &'a Path) -> Self {
        Self { place: path, canonical: path, lookup: &NOWHERE }
    }
}
