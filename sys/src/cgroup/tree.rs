//! The tree of version 2 in the file system: where it is, which group a process is in, and who can change a group.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Mount points of version 2: alone, or beside version 1 (systemd's "hybrid" layout).
const TREES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The mode of each group. Other users cannot list it: who can list a directory can make every look-up in it wait for ever.
pub(super) const UNLISTED: u32 = 0o700;

/// The maximum size of `/proc/PID/cgroup` that is read, in bytes.
const MAX_MEMBERSHIP: u64 = 64 << 10;

/// Returns the root of the version 2 tree.
///
/// # Errors
/// `Unsupported` without version 2.
pub fn root() -> io::Result<PathBuf> {
    tree()
}

pub(super) fn tree() -> io::Result<PathBuf> {
    let is_version_2 = |path: &str| statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let found = TREES.into_iter().find(|path| is_version_2(path)).map(PathBuf::from);
    found.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

/// Creates a group if it is missing, and checks that only root can change it.
pub(super) fn own_directory(path: &Path) -> io::Result<Metadata> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Another run may create it at the same time.
            let _ = DirBuilder::new().mode(UNLISTED).create(path);
            fs::symlink_metadata(path)?
        }
        found => found?,
    };
    if is_roots_alone(&found) { Ok(found) } else { Err(io::Error::from(io::ErrorKind::PermissionDenied)) }
}

/// Returns the directory of a group; `None` when it is outside our view of the tree.
pub(super) fn seen(tree: &Path, membership: &Path) -> Option<PathBuf> {
    let is_outside = membership.components().any(|part| part == Component::ParentDir);
    (!is_outside).then(|| tree.join(membership.strip_prefix("/").unwrap_or(membership)))
}

pub(super) fn is_roots_all_the_way(tree: &Path, path: &Path) -> io::Result<bool> {
    for around in path.ancestors().take_while(|around| *around != tree && around.starts_with(tree)) {
        if !is_roots_alone(&fs::symlink_metadata(around)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn is_roots_alone(found: &Metadata) -> bool {
    found.is_dir() && found.uid() == 0 && found.permissions().mode() & 0o022 == 0
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

pub(super) fn write(group: &Path, file: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(group.join(file))?.write_all(text.as_bytes())
}

/// Returns the version 2 group of a process, as a path from the root of the tree that we see.
pub(super) fn membership(pid: &str) -> io::Result<PathBuf> {
    let mut bytes = Vec::with_capacity(1024);
    File::open(format!("/proc/{pid}/cgroup"))?.take(MAX_MEMBERSHIP).read_to_end(&mut bytes)?;
    parse_membership(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

pub(crate) fn parse_membership(bytes: &[u8]) -> Option<PathBuf> {
    let path = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(PathBuf::from(std::ffi::OsStr::new(std::str::from_utf8(path).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_of_version_2_counts() {
        let lines = b"9:name=systemd:/a\n4:memory:/b\n0::/user.slice/x y.scope\n";
        assert_eq!(parse_membership(lines), Some(PathBuf::from("/user.slice/x y.scope")));
        for lines in [&b""[..], b"4:memory:/b\n", b"0::/\xff\n"] {
            assert_eq!(parse_membership(lines), None);
        }
    }
}
