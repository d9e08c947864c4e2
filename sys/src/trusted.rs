//! Files that only root could have written, read from the descriptor that was checked. No symbolic link is followed;
//! each directory from `/` down is checked, and a sticky bit is no exception.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::random::random;

mod chain;
mod keeping;

pub use chain::RootsName;
pub(crate) use chain::{changed_by_none_but, steered_by_others};
pub use keeping::{free_space, is_read_only};

/// The maximum number of names that are read from a directory.
const MAX_ENTRIES: usize = 10_000;

/// Who besides root could write a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    /// Its group.
    Group,
    /// All users.
    Others,
}

/// Why a file is not trusted.
#[derive(Debug)]
pub enum TrustError {
    /// The file does not exist.
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Another user owns it or a directory above it.
    NotRootOwned {
        /// The path.
        path: PathBuf,
        /// The owner.
        uid: u32,
    },
    /// Another user may write to it or to a directory above it.
    Writable {
        /// The path.
        path: PathBuf,
        /// The users who may write.
        by: Writer,
    },
    /// It or a directory above it is a symbolic link.
    Symlink {
        /// The path.
        path: PathBuf,
    },
    /// It is a device, a pipe, a socket or a directory.
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// It, or a part of the path to it, should be a directory and is not.
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The path is relative or contains `..`, or the name has more than one component.
    NotCanonical {
        /// The path.
        path: PathBuf,
    },
    /// It is too large.
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The limit in bytes, or in entries of a directory.
        limit: usize,
    },
    /// Only root should be able to read it, but other users may.
    Readable {
        /// The path.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// Users other than root may list it or search it, so they could keep every other process from using it.
    Listable {
        /// The path.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// It lies on a file system whose contents users other than root control.
    FileSystem {
        /// The mount point.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// It cannot be opened, read or written.
    Io {
        /// The path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "{} does not exist", Shown(path)),
            Self::NotRootOwned { path, uid } => write!(f, "{} is owned by uid {uid}, should be 0", Shown(path)),
            Self::Writable { path, by: Writer::Group } => write!(f, "{} is writable by its group", Shown(path)),
            Self::Writable { path, by: Writer::Others } => write!(f, "{} is writable by everybody", Shown(path)),
            Self::Symlink { path } => write!(f, "{} is a symbolic link", Shown(path)),
            Self::NotRegular { path } => write!(f, "{} is not a regular file", Shown(path)),
            Self::NotDirectory { path } => write!(f, "{} is not a directory", Shown(path)),
            Self::NotCanonical { path } => write!(f, "{} is not an absolute path without '..'", Shown(path)),
            Self::TooLarge { path, limit } => write!(f, "{} is larger than {limit}", Shown(path)),
            Self::Readable { path, mode } => write!(f, "{} is open to others (mode {mode:04o})", Shown(path)),
            Self::Listable { path, mode } => {
                write!(f, "{} is open to other users (mode {mode:04o}), who could block everybody there", Shown(path))
            }
            Self::FileSystem { path, kind } => {
                write!(f, "{} is on {kind}, where users other than root may control what a path refers to", Shown(path))
            }
            Self::Io { path, error } => write!(f, "{}: {error}", Shown(path)),
        }
    }
}

/// A path as text: every byte that is no visible ASCII character as `\\xNN`, and backslashes doubled.
struct Shown<'p>(&'p Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.as_os_str().as_bytes() {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                byte => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for TrustError {}

/// The attributes that distinguish one version of a file from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last write, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of contents or metadata, nanoseconds since 1970.
    pub ctime_ns: i128,
}

impl Stamp {
    /// Takes the attributes from the result of fstat(2).
    pub fn of(file: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            dev: file.dev(),
            ino: file.ino(),
            size: file.size(),
            mtime_ns: nanoseconds(file.mtime(), file.mtime_nsec()),
            ctime_ns: nanoseconds(file.ctime(), file.ctime_nsec()),
        }
    }
}

/// An open regular file that only root can have written.
#[derive(Debug)]
#[must_use]
pub struct TrustedFile {
    file: File,
    path: PathBuf,
    metadata: Metadata,
}

impl TrustedFile {
    /// Opens and checks a file and every directory above it.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        let refused = || TrustError::NotCanonical { path: path.to_owned() };
        let directory = path.parent().ok_or_else(refused)?;
        let name = path.file_name().ok_or_else(refused)?;
        let directory = TrustedDirectory::open(directory)?;
        Self::open_in(directory.as_fd(), path.to_owned(), name)
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`] above `max` bytes.
    pub fn read(&self, max: usize) -> Result<Vec<u8>, TrustError> {
        let failed = |error| TrustError::Io { path: self.path.clone(), error };
        let too_large = || TrustError::TooLarge { path: self.path.clone(), limit: max };
        let size = usize::try_from(self.metadata.size()).map_err(|_| too_large())?;
        if size > max {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(size + 1);
        let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        (&self.file).take(limit).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > max { Err(too_large()) } else { Ok(bytes) }
    }

    /// Returns the path at which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the attributes of the version that was opened.
    pub fn stamp(&self) -> Stamp {
        Stamp::of(&self.metadata)
    }

    /// Returns the owner.
    pub fn owner(&self) -> u32 {
        self.metadata.uid()
    }

    /// Checks that only root may read the file.
    pub fn private(&self) -> Result<(), TrustError> {
        let mode = self.metadata.permissions().mode() & 0o7777;
        if mode & 0o077 == 0 { Ok(()) } else { Err(TrustError::Readable { path: self.path.clone(), mode }) }
    }

    fn open_in(directory: BorrowedFd<'_>, path: PathBuf, name: &OsStr) -> Result<Self, TrustError> {
        // A pipe without a writer must not block this, and a terminal must not become the controlling one.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = match openat(directory, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ELOOP) => return Err(TrustError::Symlink { path }),
            Err(Errno::ENXIO) => return Err(TrustError::NotRegular { path }),
            Err(errno) => return Err(failed(path, errno)),
        };
        let metadata = file.metadata().map_err(|error| TrustError::Io { path: path.clone(), error })?;
        if !metadata.is_file() {
            return Err(TrustError::NotRegular { path });
        }
        root_only(&metadata, &path)?;
        Ok(Self { file, path, metadata })
    }
}

/// An open directory that only root can have changed.
#[derive(Debug)]
#[must_use]
pub struct TrustedDirectory {
    fd: OwnedFd,
    path: PathBuf,
    mode: u32,
    gid: u32,
}

impl TrustedDirectory {
    /// Opens and checks a directory and every one above it.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        walk(path)?;
        let fd = nix::fcntl::open(path, DIRECTORY, Mode::empty()).map_err(|errno| failed(path.to_owned(), errno))?;
        Self::checked(fd, path)
    }

    fn checked(fd: OwnedFd, path: &Path) -> Result<Self, TrustError> {
        let file = File::from(fd);
        let metadata = file.metadata().map_err(|error| TrustError::Io { path: path.to_owned(), error })?;
        root_only(&metadata, path)?;
        let mode = metadata.permissions().mode() & 0o7777;
        Ok(Self { fd: file.into(), path: path.to_owned(), mode, gid: metadata.gid() })
    }

    /// Returns the path at which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names in it, sorted by their bytes, without `.` and `..`.
    ///
    /// # Errors
    /// [`TrustError::Listable`] when users other than root, or a group other than root's, may list it (see [`Self::closed`]).
    pub fn entries(&self) -> Result<Vec<OsString>, TrustError> {
        if self.mode & 0o004 != 0 || (self.mode & 0o040 != 0 && self.gid != 0) {
            return Err(self.listable());
        }
        let io_failed = |error| TrustError::Io { path: self.path.clone(), error };
        let fd = self.fd.try_clone().map_err(io_failed)?;
        let mut directory = nix::dir::Dir::from_fd(fd).map_err(|errno| failed(self.path.clone(), errno))?;
        let mut names = Vec::new();
        // Dropping the iterator rewinds the directory for the next reader.
        for entry in directory.iter() {
            let name = entry.map_err(|errno| io_failed(errno.into()))?.file_name().to_bytes().to_vec();
            if matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            if names.len() == MAX_ENTRIES {
                return Err(TrustError::TooLarge { path: self.path.clone(), limit: MAX_ENTRIES });
            }
            names.push(OsString::from_vec(name));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens and checks a subdirectory.
    pub fn directory(&self, name: &OsStr) -> Result<Self, TrustError> {
        let path = self.child(name)?;
        match openat(self.fd.as_fd(), name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Self::checked(fd, &path),
            // A symbolic link is no directory either.
            Err(Errno::ENOTDIR) => Err(directory(&path).err().unwrap_or(TrustError::NotDirectory { path })),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    /// Opens and checks a file in the directory.
    pub fn file(&self, name: &OsStr) -> Result<TrustedFile, TrustError> {
        let path = self.child(name)?;
        TrustedFile::open_in(self.fd.as_fd(), path, name)
    }

    /// Creates a file with these contents, synced, or no file at all.
    ///
    /// # Errors
    /// [`TrustError::Io`] with `AlreadyExists` when the name is taken; the existing file stays unchanged.
    pub fn create(&self, name: &OsStr, bytes: &[u8], mode: u32) -> Result<(), TrustError> {
        self.put(name, bytes, mode, |temporary| {
            linkat(self.fd.as_fd(), temporary, self.fd.as_fd(), name, AtFlags::empty())?;
            unlinkat(self.fd.as_fd(), temporary, UnlinkatFlags::NoRemoveDir)
        })
    }

    /// Creates a file or replaces an old one, atomically for readers.
    pub fn replace(&self, name: &OsStr, bytes: &[u8], mode: u32) -> Result<(), TrustError> {
        self.put(name, bytes, mode, |temporary| nix::fcntl::renameat(self.fd.as_fd(), temporary, self.fd.as_fd(), name))
    }

    /// Opens a file for appending, and creates it if it is missing.
    ///
    /// # Errors
    /// When it is another kind of file, or users other than root may write to it.
    pub fn append(&self, name: &OsStr, mode: u32) -> Result<File, TrustError> {
        let path = self.child(name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = match openat(self.fd.as_fd(), name, flags, Mode::from_bits_truncate(mode)) {
            Ok(fd) => File::from(fd),
            Err(Errno::ELOOP) => return Err(TrustError::Symlink { path }),
            Err(Errno::ENXIO) => return Err(TrustError::NotRegular { path }),
            Err(errno) => return Err(failed(path, errno)),
        };
        let metadata = file.metadata().map_err(|error| TrustError::Io { path: path.clone(), error })?;
        if !metadata.is_file() {
            return Err(TrustError::NotRegular { path });
        }
        root_only(&metadata, &path)?;
        Ok(file)
    }

    /// Renames a file in the directory; replaces a file of the new name.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), TrustError> {
        let (path, _) = (self.child(from)?, self.child(to)?);
        nix::fcntl::renameat(self.fd.as_fd(), from, self.fd.as_fd(), to).map_err(|errno| failed(path, errno))
    }

    /// Removes a file from the directory.
    pub fn remove(&self, name: &OsStr) -> Result<(), TrustError> {
        let path = self.child(name)?;
        unlinkat(self.fd.as_fd(), name, UnlinkatFlags::NoRemoveDir).map_err(|errno| failed(path, errno))
    }

    fn put(
        &self,
        name: &OsStr,
        bytes: &[u8],
        mode: u32,
        publish: impl FnOnce(&OsStr) -> nix::Result<()>,
    ) -> Result<(), TrustError> {
        let path = self.child(name)?;
        let failed = |error| TrustError::Io { path: path.clone(), error };
        let temporary = OsString::from(format!(".new-{:016x}", u64::from_ne_bytes(random().map_err(failed)?)));
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(self.fd.as_fd(), temporary.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let mut file = File::from(fd.map_err(io::Error::from).map_err(failed)?);
        let outcome = file
            .write_all(bytes)
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
            .and_then(|()| file.sync_all())
            .and_then(|()| publish(&temporary).map_err(io::Error::from));
        if outcome.is_err() {
            // Cleans up after a failure; if this fails too, a hidden file remains that is never read.
            let _ = unlinkat(self.fd.as_fd(), temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
        outcome.and_then(|()| nix::unistd::fsync(self.fd.as_fd()).map_err(io::Error::from)).map_err(failed)
    }

    fn child(&self, name: &OsStr) -> Result<PathBuf, TrustError> {
        let path = self.path.join(name);
        let plain = !name.is_empty() && !name.as_bytes().contains(&b'/') && name != "." && name != "..";
        if plain { Ok(path) } else { Err(TrustError::NotCanonical { path }) }
    }
}

impl AsFd for TrustedDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Checks every directory from `/` down to `path`, the highest first. It works by name, not by descriptor: once only
/// root can change a directory, no other user can change what the names in it refer to, and so on downwards.
fn walk(path: &Path) -> Result<(), TrustError> {
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(TrustError::NotCanonical { path: path.to_owned() });
    }
    let mut so_far = PathBuf::from("/");
    directory(&so_far)?;
    for component in components {
        let Component::Normal(name) = component else {
            return Err(TrustError::NotCanonical { path: path.to_owned() });
        };
        so_far.push(name);
        directory(&so_far)?;
    }
    Ok(())
}

fn directory(path: &Path) -> Result<Metadata, TrustError> {
    let metadata = look_at(path)?;
    directory_of(&metadata, path, 0)?;
    Ok(metadata)
}

fn directory_of(metadata: &Metadata, path: &Path, user: u32) -> Result<(), TrustError> {
    if metadata.is_dir() {
        only_of(metadata, path, user)
    } else {
        Err(TrustError::NotDirectory { path: path.to_owned() })
    }
}

/// Returns the metadata of anything but a symbolic link.
fn look_at(path: &Path) -> Result<Metadata, TrustError> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TrustError::Missing { path: path.to_owned() },
        io::ErrorKind::NotADirectory => TrustError::NotDirectory { path: path.to_owned() },
        _ => TrustError::Io { path: path.to_owned(), error },
    })?;
    if metadata.is_symlink() { Err(TrustError::Symlink { path: path.to_owned() }) } else { Ok(metadata) }
}

fn root_only(metadata: &Metadata, path: &Path) -> Result<(), TrustError> {
    only_of(metadata, path, 0)
}

/// Checks that the file belongs to root or `user`, and that no other user may write to it.
fn only_of(metadata: &Metadata, path: &Path, user: u32) -> Result<(), TrustError> {
    let path = || path.to_owned();
    let mode = metadata.permissions().mode();
    if ![0, user].contains(&metadata.uid()) {
        Err(TrustError::NotRootOwned { path: path(), uid: metadata.uid() })
    } else if mode & 0o002 != 0 {
        Err(TrustError::Writable { path: path(), by: Writer::Others })
    } else if mode & 0o020 != 0 {
        Err(TrustError::Writable { path: path(), by: Writer::Group })
    } else {
        Ok(())
    }
}

fn failed(path: PathBuf, errno: Errno) -> TrustError {
    match errno {
        Errno::ENOENT => TrustError::Missing { path },
        Errno::ENOTDIR => TrustError::NotDirectory { path },
        errno => TrustError::Io { path, error: errno.into() },
    }
}

#[cfg(test)]
mod tests;
