//! Paths that only root can redirect: root owns every directory and every link on the way.

use std::ffi::{CString, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{FUSE_SUPER_MAGIC, FsType, PROC_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::FsFlags;

use super::{TrustError, directory};

/// The maximum number of links on the way to a file (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// An absolute path that was checked completely: root owns every directory and link on the way to the file, and none
/// lies on a file system whose contents others control. So it keeps referring to the same file unless root changes
/// that. Only such a path is executed with privilege ([`Image::Path`](crate::exec::Image)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RootsName {
    name: CString,
    path: PathBuf,
    leads_to: PathBuf,
}

impl RootsName {
    /// Follows the path, links included, and checks every step. Of the file itself it checks only that it exists.
    ///
    /// # Errors
    /// A directory or link on the way that does not belong to root, or that other users may write to; a file system
    /// that others control; a path that cannot be resolved.
    pub fn check(path: &Path) -> Result<Self, TrustError> {
        if !path.is_absolute() {
            return Err(TrustError::NotCanonical { path: path.to_owned() });
        }
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|error| TrustError::Io { path: path.to_owned(), error: error.into() })?;
        Ok(Self { name, path: path.to_owned(), leads_to: follow(path, 0)? })
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the canonical path of the file.
    pub fn leads_to(&self) -> &Path {
        &self.leads_to
    }

    /// Returns the path as a C string.
    pub fn as_c_str(&self) -> &std::ffi::CStr {
        &self.name
    }
}

/// Returns the file that an absolute path leads to, if only root and `user` can change it or redirect the path.
///
/// # Errors
/// As for [`RootsName::check`], and a file that belongs to another user or that others may write to.
pub(crate) fn changed_by_none_but(path: &Path, user: u32) -> Result<PathBuf, TrustError> {
    if !path.is_absolute() {
        return Err(TrustError::NotCanonical { path: path.to_owned() });
    }
    let leads_to = follow(path, user)?;
    super::only_of(&look(&leads_to)?, &leads_to, user)?;
    Ok(leads_to)
}

/// Resolves a path whose directories and links may belong to root and `user`.
fn follow(path: &Path, user: u32) -> Result<PathBuf, TrustError> {
    let mut left: Vec<OsString> = components_reversed(path);
    let (mut so_far, mut links) = (PathBuf::from("/"), 0);
    let mut device = directory(&so_far)?.dev();
    while let Some(name) = left.pop() {
        match name.as_encoded_bytes() {
            b"/" => so_far = PathBuf::from("/"),
            b"." => {}
            b".." => drop(so_far.pop()),
            _ => {
                let next = so_far.join(&name);
                let metadata = look(&next)?;
                if metadata.dev() != device {
                    device = metadata.dev();
                    mounted_by_root(&next)?;
                }
                if metadata.is_symlink() {
                    links += 1;
                    let target =
                        std::fs::read_link(&next).map_err(|error| TrustError::Io { path: next.clone(), error })?;
                    if links > MOST_LINKS || ![0, user].contains(&metadata.uid()) {
                        return Err(TrustError::Symlink { path: next });
                    }
                    left.extend(components_reversed(&target));
                    continue;
                }
                if !left.is_empty() {
                    super::directory_of(&metadata, &next, user)?;
                }
                so_far = next;
            }
        }
    }
    Ok(so_far)
}

fn look(path: &Path) -> Result<Metadata, TrustError> {
    std::fs::symlink_metadata(path).map_err(|error| TrustError::Io { path: path.to_owned(), error })
}

/// Returns the components of a path, the last first; `/` stands for the start of an absolute one.
fn components_reversed(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|component| component.as_os_str().to_owned()).collect()
}

/// Returns whether users other than root control the contents of the file system of an opened file, whatever owners and
/// modes it shows.
///
/// # Errors
/// Those of statfs(2).
pub(crate) fn steered_by_others(canonical: &Path) -> io::Result<bool> {
    let device = std::fs::metadata(canonical)?.dev();
    let is_there = |path: &&Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.dev() == device);
    let point = canonical.ancestors().take_while(is_there).last().unwrap_or(canonical);
    Ok(point != Path::new("/") && kind_of_others(point)?.is_some())
}

/// Checks that root controls the file system that is mounted at this directory.
fn mounted_by_root(point: &Path) -> Result<(), TrustError> {
    match kind_of_others(point) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => Err(TrustError::FileSystem { path: point.to_owned(), kind }),
        Err(error) => Err(TrustError::Io { path: point.to_owned(), error }),
    }
}

/// Returns why users other than root control a mounted file system, if they do. In procfs a path refers to the process
/// that has a pid now, which may soon be another one; a program controls FUSE; and file systems that programs mount for
/// users (udisks2, mount(8) with `user`) always have `nosuid`.
fn kind_of_others(point: &Path) -> io::Result<Option<&'static str>> {
    let found = statfs(point)?;
    Ok(match found.filesystem_type() {
        PROC_SUPER_MAGIC => Some("procfs"),
        FUSE_SUPER_MAGIC => Some("a FUSE file system"),
        FsType(_) if !found.flags().contains(FsFlags::ST_NOSUID) => None,
        // Its contents are in the kernel's memory.
        TMPFS_MAGIC => None,
        FsType(_) if in_fstab_for_root(&std::fs::read("/etc/fstab").unwrap_or_default(), point) => None,
        FsType(_) => Some("a file system that users may have mounted (nosuid, not in /etc/fstab)"),
    })
}

/// Returns whether fstab(5) has a line for the mount point that allows only root to mount it.
fn in_fstab_for_root(fstab: &[u8], point: &Path) -> bool {
    let lines = fstab.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    lines.into_iter().any(|line| {
        let mut fields = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty());
        let (there, options) = (fields.nth(1), fields.nth(1));
        let of_users = |option: &[u8]| matches!(option, b"user" | b"users" | b"owner" | b"group");
        there == Some(point.as_os_str().as_bytes())
            && !options.unwrap_or_default().split(|byte| *byte == b',').any(of_users)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_procfs_are_not_trusted() {
        for path in ["/proc/self/exe", "/proc/1/exe", "/dev/fd/0", "/proc/1/root/bin/sh"] {
            assert!(matches!(RootsName::check(Path::new(path)), Err(TrustError::FileSystem { .. })), "{path}");
        }
        let shell = RootsName::check(Path::new("/bin/sh")).unwrap();
        assert_eq!(shell.leads_to(), std::fs::canonicalize("/bin/sh").unwrap());
        assert!(RootsName::check(Path::new("bin/sh")).is_err());
    }

    #[test]
    fn a_mount_in_fstab_for_root_is_trusted() {
        let fstab =
            b"# /dev/sda9 /usb ext4 nosuid\n/dev/sda2 /var\text4  nosuid,nodev 0 2\n/dev/sdb1 /usb vfat rw,user 0 0\n";
        assert!(in_fstab_for_root(fstab, Path::new("/var")));
        assert!(!in_fstab_for_root(fstab, Path::new("/usb")) && !in_fstab_for_root(fstab, Path::new("/v")));
    }
}
