//! A directory that is opened once, with a user's permissions, and then compared, recorded and entered by its
//! descriptor.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::exec::Credentials;
use crate::fsuid::as_user;

/// An open directory with its canonical path.
#[derive(Debug)]
#[must_use]
pub struct OpenedDirectory {
    file: File,
    path: PathBuf,
}

impl OpenedDirectory {
    /// Opens a path as `who`, who must be allowed to enter it. Resolves the canonical path from the kernel again, which
    /// must lead to the same directory: in another mount namespace the same path means another directory.
    ///
    /// # Errors
    /// Those of open(2) and chdir(2); `NotFound` also for a directory that was removed; `Unsupported` for one that
    /// cannot be reached from our root.
    pub fn open_as(path: &Path, who: &Credentials) -> io::Result<Self> {
        let typed = as_user(who, || enterable(path))??;
        let name = name_of(&typed)?;
        if !name.is_absolute() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = as_user(who, || enterable(&name))??;
        let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
        if identity(&typed)? == identity(&file)? && name_of(&file)? == name {
            Ok(Self { file, path: name })
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Returns the canonical path, as the kernel reported it at the time of opening.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for OpenedDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Returns the C library's text for an error, without its number.
pub fn reason(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc(),
        None if error.kind() == io::ErrorKind::Unsupported => "it cannot be reached from the root of this system",
        None => "No such file or directory",
    }
}

/// Opens a directory. `.` in the path requires the permission to search it, as chdir(2) does.
fn enterable(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path.join("."))
}

fn name_of(directory: &File) -> io::Result<PathBuf> {
    let name = fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    let removed = directory.metadata()?.nlink() == 0 && name.as_os_str().as_bytes().ends_with(b" (deleted)");
    if removed { Err(io::ErrorKind::NotFound.into()) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn an_opened_directory_keeps_its_canonical_path_and_identity() {
        let place = std::env::temp_dir().join(format!("directory-{}", std::process::id()));
        fs::create_dir_all(place.join("closed")).unwrap();
        fs::create_dir(place.join("one")).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(place.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("one", place.join("link")).unwrap();
        let place = fs::canonicalize(&place).unwrap();
        let nobody = Credentials { uid: 65534, gid: 65534, groups: vec![] };
        let opened = OpenedDirectory::open_as(&place.join("link"), &nobody).unwrap();
        assert_eq!(opened.path(), place.join("one"));
        let error = |name: &str| OpenedDirectory::open_as(&place.join(name), &nobody).unwrap_err();
        assert_eq!(reason(&error("closed")), "Permission denied");
        assert_eq!(reason(&error("none")), "No such file or directory");
        fs::remove_dir(place.join("one")).unwrap();
        assert_eq!(reason(&error("link")), "No such file or directory");
        fs::remove_dir_all(&place).unwrap();
    }
}
