//! Opens a file that an untrusted user names with the privileges of another user. Walks to it directory by directory,
//! so that the untrusted user can neither redirect the path nor replace the file (sudo's `sudoedit_checkdir`;
//! CVE-2015-5602).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::exec::Credentials;
use crate::fsuid::as_user;
use crate::kernel::check;

/// As the kernel's own limit (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Opens a link itself, not its target.
const WALKING: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Why a file cannot be used.
#[derive(Debug)]
pub enum PlaceError {
    /// The untrusted user could replace the file: the directory belongs to them or they may write to it.
    Writable,
    /// It is a symbolic link.
    Symlink,
    /// It is a device, a pipe, a socket or a directory.
    NotRegular,
    /// It has more than this many bytes.
    TooLarge(usize),
    /// It has changed since it was read.
    Changed,
    /// The kernel returned an error.
    Io(io::Error),
}

impl From<io::Error> for PlaceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for PlaceError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// A name in an open directory that the untrusted user cannot change; the file itself may not exist yet.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    name: OsString,
    path: PathBuf,
    open_to_all: bool,
}

/// The contents of a file, with their metadata.
#[derive(Debug)]
pub struct Contents {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Whether all users may read them: the file and every directory above it are open to all.
    pub public: bool,
    /// The result of fstat(2).
    pub metadata: Metadata,
}

impl Place {
    /// Walks to the directory of `path`, which is absolute, with the privileges of `reader`. Follows a link if
    /// `stranger`, the untrusted user, could not have put it there.
    ///
    /// # Errors
    /// [`PlaceError::Writable`] for the last directory; `NotADirectory` for a link in a directory that the untrusted
    /// user may write to, as for a file. Root counts as trusted.
    pub fn find(path: &Path, reader: &Credentials, stranger: &Credentials) -> Result<Self, PlaceError> {
        let bytes = path.as_os_str().as_bytes();
        let last = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let directories = bytes.get(..bytes.len() - last.len()).unwrap_or_default();
        let mut walk = Walk::begin(reader, stranger)?;
        walk.go(directories)?;
        if walk.writable {
            return Err(PlaceError::Writable);
        }
        // A path that ends in a slash means a directory.
        let name = if last.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(last) }.to_owned();
        let directory = fs::read_link(own_name(walk.here.as_fd()))?;
        Ok(Self { path: directory.join(&name), directory: walk.here, name, open_to_all: walk.open_to_all })
    }

    /// Returns the path: the directory without links, as the kernel reports it, and the name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether all users may pass through all directories above it.
    pub fn is_open_to_all(&self) -> bool {
        self.open_to_all
    }

    /// Reads the file with the privileges of `reader`; `None` when it does not exist yet.
    pub fn read(&self, reader: &Credentials, most: usize) -> Result<Option<Contents>, PlaceError> {
        let Some((handle, metadata)) = self.handle(reader)? else { return Ok(None) };
        let bytes = read_through(handle.as_fd(), reader, most)?;
        let public = self.open_to_all && metadata.permissions().mode() & 0o004 != 0;
        Ok(Some(Contents { bytes, public, metadata }))
    }

    /// Replaces the bytes of the file, which must still be `before`, or creates it with `mode` if it did not exist,
    /// with the privileges of `writer`. Owner, mode and links stay. Synced.
    ///
    /// # Errors
    /// [`PlaceError::Changed`] when another process wrote it meanwhile. After any other failure the bytes are `before`
    /// again if at all possible.
    pub fn write(
        &self,
        writer: &Credentials,
        before: Option<&[u8]>,
        after: &[u8],
        mode: u32,
    ) -> Result<(), PlaceError> {
        match before {
            Some(before) => self.rewrite(writer, before, after),
            None => self.create(writer, after, mode),
        }
    }

    fn rewrite(&self, writer: &Credentials, before: &[u8], after: &[u8]) -> Result<(), PlaceError> {
        let (handle, _) = self.handle(writer)?.ok_or(PlaceError::Changed)?;
        match read_through(handle.as_fd(), writer, before.len()) {
            Ok(found) if found == before => {}
            Ok(_) | Err(PlaceError::TooLarge(_)) => return Err(PlaceError::Changed),
            Err(error) => return Err(error),
        }
        let own = own_name(handle.as_fd());
        let file = as_user(writer, || OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(own))??;
        let written = make_room(&file, before.len(), after.len()).and_then(|()| put(&file, before.len(), after));
        if written.is_err() {
            // The space for these bytes was there; if even that fails, the caller keeps both versions.
            let _ = put(&file, usize::MAX, before);
        }
        Ok(written?)
    }

    fn create(&self, writer: &Credentials, bytes: &[u8], mode: u32) -> Result<(), PlaceError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let name = self.name.as_os_str();
        let opened = as_user(writer, || openat(self.directory.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR))?;
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(Errno::EEXIST) => return Err(PlaceError::Changed),
            Err(errno) => return Err(errno.into()),
        };
        let written = put(&file, 0, bytes).and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)));
        if written.is_err() {
            // There was no file before.
            let _ = as_user(writer, || unlinkat(self.directory.as_fd(), name, UnlinkatFlags::NoRemoveDir));
        }
        Ok(written?)
    }

    /// Opens the file itself with O_PATH, so that no device reacts; `None` when it does not exist.
    fn handle(&self, who: &Credentials) -> Result<Option<(File, Metadata)>, PlaceError> {
        let opened = as_user(who, || openat(self.directory.as_fd(), self.name.as_os_str(), WALKING, Mode::empty()))?;
        let handle = match opened {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let metadata = handle.metadata()?;
        if metadata.is_symlink() {
            Err(PlaceError::Symlink)
        } else if !metadata.is_file() {
            Err(PlaceError::NotRegular)
        } else {
            Ok(Some((handle, metadata)))
        }
    }
}

/// Opens a regular file of `owner` at a path, with their privileges and without following a link at its end.
pub fn open_own(path: &Path, owner: &Credentials) -> Result<File, PlaceError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = as_user(owner, || OpenOptions::new().read(true).custom_flags(flags).open(path))?;
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(PlaceError::Symlink),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(PlaceError::NotRegular) }
}

/// Reads all bytes of a file.
///
/// # Errors
/// [`PlaceError::TooLarge`] when there are more than `most`.
pub fn read_all(file: &File, most: usize) -> Result<Vec<u8>, PlaceError> {
    let size = usize::try_from(file.metadata()?.size()).unwrap_or(usize::MAX);
    if size > most {
        return Err(PlaceError::TooLarge(most));
    }
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(PlaceError::TooLarge(most)) } else { Ok(bytes) }
}

/// The state of a walk to a directory.
struct Walk<'a> {
    reader: &'a Credentials,
    stranger: &'a Credentials,
    here: OwnedFd,
    /// Whether the untrusted user may write to `here`.
    writable: bool,
    /// Whether all users may pass through all directories so far.
    open_to_all: bool,
}

impl<'a> Walk<'a> {
    fn begin(reader: &'a Credentials, stranger: &'a Credentials) -> Result<Self, PlaceError> {
        let here = root()?;
        let mut walk = Self { reader, stranger, here, writable: false, open_to_all: true };
        walk.writable = walk.is_writable()?;
        Ok(walk)
    }

    fn go(&mut self, directories: &[u8]) -> Result<(), PlaceError> {
        let mut ahead = parts(directories);
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            let opened = as_user(self.reader, || openat(self.here.as_fd(), part.as_os_str(), WALKING, Mode::empty()))?;
            let next = File::from(opened?);
            let metadata = next.metadata()?;
            if metadata.is_symlink() {
                links += 1;
                if self.writable {
                    return Err(Errno::ENOTDIR.into());
                }
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                let target = readlinkat(next.as_fd(), "")?;
                if target.as_bytes().starts_with(b"/") {
                    self.enter(root()?)?;
                }
                ahead.extend(parts(target.as_bytes()));
            } else if metadata.is_dir() {
                self.open_to_all &= metadata.permissions().mode() & 0o001 != 0;
                self.enter(next.into())?;
            } else {
                return Err(Errno::ENOTDIR.into());
            }
        }
        Ok(())
    }

    fn enter(&mut self, directory: OwnedFd) -> Result<(), PlaceError> {
        self.here = directory;
        self.writable = self.is_writable()?;
        Ok(())
    }

    /// Returns whether the untrusted user may write to the directory. An owner can give themselves the permission at
    /// any time.
    fn is_writable(&self) -> Result<bool, PlaceError> {
        if self.stranger.uid == 0 {
            return Ok(false);
        }
        // A duplicate, because a File owns its descriptor.
        let owner = File::from(self.here.try_clone()?).metadata()?.uid();
        if owner == self.stranger.uid {
            return Ok(true);
        }
        let (here, path) = (self.here.as_raw_fd(), c".".as_ptr());
        let answer = as_user(self.stranger, || {
            // SAFETY: the path ends in NUL. AT_EACCESS checks with the present file-system ids.
            check(
                unsafe { libc::syscall(libc::SYS_faccessat2, here, path, libc::W_OK, libc::AT_EACCESS) } as libc::c_int
            )
        })?;
        // Any other error, such as ENOSYS before Linux 5.8, does not prove that it is safe.
        let no = [libc::EACCES, libc::EPERM, libc::EROFS];
        Ok(!answer.is_err_and(|error| error.raw_os_error().is_some_and(|errno| no.contains(&errno))))
    }
}

fn root() -> Result<OwnedFd, PlaceError> {
    Ok(nix::fcntl::open("/", WALKING | OFlag::O_DIRECTORY, Mode::empty())?)
}

/// Returns the components, the last first.
fn parts(path: &[u8]) -> Vec<OsString> {
    let named = |part: &&[u8]| !part.is_empty() && *part != b".";
    path.split(|byte| *byte == b'/').rev().filter(named).map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

fn own_name(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Reads the file behind a handle, if `reader` may.
fn read_through(handle: BorrowedFd<'_>, reader: &Credentials, most: usize) -> Result<Vec<u8>, PlaceError> {
    let own = own_name(handle);
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = as_user(reader, || OpenOptions::new().read(true).custom_flags(flags).open(own))??;
    read_all(&file, most)
}

/// Allocates space for the bytes to be added, so that a full disk is detected before the first byte is replaced.
fn make_room(file: &File, before: usize, after: usize) -> io::Result<()> {
    let offset =
        |length: usize| libc::off_t::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    if after <= before {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), offset(before)?, offset(after - before)?) {
        // Not every file system supports it.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes all bytes over the first `before`.
fn put(file: &File, before: usize, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, 0)?;
    if bytes.len() < before {
        file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
    }
    match file.sync_all() {
        // Files in procfs and similar file systems are on no disk.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests;
