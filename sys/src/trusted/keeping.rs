//! Who may list a directory; and files in a directory of our own that are written over a long time and then moved, all by the
//! descriptor of the directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::{FsFlags, fstatvfs, statvfs};

use super::{TrustError, TrustedDirectory, TrustedFile};

impl TrustedDirectory {
    /// Checks that its mode is exactly 0700.
    pub fn private(&self) -> Result<(), TrustError> {
        if self.mode == 0o700 { Ok(()) } else { Err(TrustError::Readable { path: self.path.clone(), mode: self.mode }) }
    }

    /// Checks that no user outside of its group may list or search it. While a process lists a directory, it holds the lock of
    /// the directory, and for ever if the names go to a page that is never delivered (FUSE). Then every process that creates a
    /// name there waits, whether it may or not, and so does every later one that opens or lists.
    pub fn closed(&self) -> Result<(), TrustError> {
        if self.mode & 0o007 == 0 { Ok(()) } else { Err(self.listable()) }
    }

    pub(super) fn listable(&self) -> TrustError {
        TrustError::Listable { path: self.path.clone(), mode: self.mode }
    }

    /// Opens and checks a subdirectory to which only root has access; creates it if it is missing.
    pub fn private_directory(&self, name: &OsStr) -> Result<Self, TrustError> {
        let directory = match self.directory(name) {
            Err(TrustError::Missing { path }) => {
                match mkdirat(self.as_fd(), name, Mode::S_IRWXU) {
                    // Two runs may create it at the same time.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(TrustError::Io { path, error: errno.into() }),
                }
                self.directory(name)?
            }
            found => found?,
        };
        directory.private()?;
        Ok(directory)
    }

    /// Creates a new, empty file of mode 0600 and opens it for reading and writing.
    ///
    /// # Errors
    /// [`TrustError::Io`] with `AlreadyExists` when the name is taken, even by a dangling link.
    pub fn begin(&self, name: &OsStr) -> Result<File, TrustError> {
        let path = self.child(name)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(self.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map(File::from)
            .map_err(|errno| TrustError::Io { path, error: errno.into() })
    }

    /// Overwrites a file with zeros, syncs it, and removes it; a file that is missing is no error. Copies that the file system or the
    /// disk keeps of earlier contents stay.
    pub fn erase(&self, name: &OsStr) -> Result<(), TrustError> {
        let path = self.child(name)?;
        let failed = |error| TrustError::Io { path: path.clone(), error };
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mut file = match openat(self.as_fd(), name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno.into())),
        };
        let length = file.metadata().map_err(failed)?.len();
        io::copy(&mut io::repeat(0).take(length), &mut file).and_then(|_| file.sync_all()).map_err(failed)?;
        match self.remove(name) {
            Ok(()) | Err(TrustError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        nix::unistd::fsync(self.as_fd()).map_err(|errno| failed(errno.into()))
    }

    /// Moves a file into another directory of the same file system, atomically for readers.
    pub fn hand_over(&self, name: &OsStr, to: &Self, new_name: &OsStr) -> Result<(), TrustError> {
        let path = self.child(name)?;
        to.child(new_name)?;
        renameat(self.as_fd(), name, to.as_fd(), new_name).map_err(|errno| TrustError::Io { path, error: errno.into() })
    }
}

impl TrustedFile {
    /// Returns the open file, positioned at its beginning, for a file that is too long to be read at once.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }
}

/// Returns whether the file system of a path is mounted read-only.
pub fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(statvfs(path)?.flags().contains(FsFlags::ST_RDONLY))
}

/// Returns the bytes that users other than root can still use on the file system of an open file: what df(1) calls
/// available.
pub fn free_space(file: BorrowedFd<'_>) -> io::Result<u64> {
    let answer = fstatvfs(file)?;
    Ok(answer.blocks_available().saturating_mul(answer.fragment_size()))
}
