//! A program that is opened once, and then checked, hashed and executed by its descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::closable::is_closable;
use crate::exec::Credentials;
use crate::fsuid::as_user;
use crate::trusted::{RootsName, Stamp, TrustError, steered_by_others};

/// An open regular file with an execute bit.
#[derive(Debug)]
#[must_use]
pub struct OpenedProgram {
    file: File,
    path: PathBuf,
    name: Result<RootsName, TrustError>,
    steered: bool,
    stamp: Stamp,
    mode: u32,
    uid: u32,
}

impl OpenedProgram {
    /// Opens a path as root. Never opens for reading what is not a regular file, so that no device reacts.
    ///
    /// # Errors
    /// `NotFound`; `PermissionDenied` also when no execute bit is set; `IsADirectory`; `InvalidInput` for other files
    /// that are not regular; `Unsupported` on FUSE; `NotADirectory` and `FilesystemLoop` as open(2) says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(Found::at(path)?)
    }

    /// Opens a path as `who`, with the permission to search directories that these ids have.
    ///
    /// # Errors
    /// As [`Self::open`]; `None` when they may not search a directory of the path (`EACCES`).
    pub fn open_as(path: &Path, who: &Credentials) -> io::Result<Option<Self>> {
        match as_user(who, || Found::at(path))? {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            found => Self::new(found?).map(Some),
        }
    }

    fn new(found: Found) -> io::Result<Self> {
        let metadata = found.file.metadata()?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if mode & 0o111 == 0 {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        // Every process of ours would have the file that is opened below.
        if !is_closable(found.file.as_fd())? {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is on a FUSE file system, which can delay its closing for ever: copy it to another one",
            ));
        }
        let own = own_link(&found.file);
        let path = fs::read_link(&own)?;
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&own)?;
        let stamp = Stamp::of(&metadata);
        let name = found.name(&path)?;
        let steered = name.is_err() && steered_by_others(&path).unwrap_or(true);
        let opened = Self { file, path, name, steered, stamp, mode, uid: metadata.uid() };
        // The path that the kernel reports is useless when the file was deleted, or lies outside our root.
        if opened.same_as(&opened.path)? { Ok(opened) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
    }

    /// Returns the canonical path, as the kernel reported it at the time of opening.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path by which the program was found, in its directory without links, if only root controls what that
    /// path refers to: no directory and no link on the way belongs to another user. Otherwise returns the canonical
    /// path.
    pub fn place(&self) -> &Path {
        self.name.as_ref().map_or(&self.path, RootsName::path)
    }

    /// Returns the path by which the program may be executed: root owns the file and everything on the way to it.
    ///
    /// # Errors
    /// Why there is none: what on the way does not belong to root, or that other users may write to the file.
    pub fn roots_name(&self) -> Result<&RootsName, String> {
        match &self.name {
            Err(error) => Err(error.to_string()),
            Ok(name) if self.writable_by_others() => {
                Err(format!("{:?} can be changed by users other than root", name.path()))
            }
            Ok(name) => Ok(name),
        }
    }

    /// Returns device, inode, size and times at the time of opening.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns the mode bits, without the file type.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Returns the owner.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns whether a user other than root can change the contents: the file has another owner, its group or all
    /// users may write to it, or it lies on a file system that others control.
    pub fn writable_by_others(&self) -> bool {
        self.uid != 0 || self.mode & 0o022 != 0 || self.steered
    }

    /// Returns whether the file is in the machine's format for executables (ELF); every other file needs an
    /// interpreter.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn is_binary(&self) -> io::Result<bool> {
        let mut start = [0; 4];
        let length = self.file.read_at(&mut start, 0)?;
        Ok(start.get(..length) == Some(b"\x7fELF"))
    }

    /// That nobody but root and `user` decides which interpreter or loader executes it.
    ///
    /// # Errors
    /// What belongs to another user.
    pub fn check_interpreters(&self, user: u32) -> Result<(), TrustError> {
        crate::interpreter::check(&self.file, user)
    }

    /// Returns whether a path now refers to the same file (device and inode; links are followed, as exec does).
    ///
    /// # Errors
    /// Those of stat(2), except that a missing path is no error: it is not the same file.
    pub fn same_as(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(file) => Ok((file.dev(), file.ino()) == (self.stamp.dev, self.stamp.ino)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether size and times are the same as at the time of opening.
    pub fn unchanged(&self) -> io::Result<bool> {
        Ok(Stamp::of(&self.file.metadata()?) == self.stamp)
    }

    /// Returns a reader of the contents from the beginning, which does not move the file offset.
    pub fn reader(&self) -> impl Read + '_ {
        Reader { file: &self.file, offset: 0 }
    }

    /// Returns the last component of the canonical path.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_else(|| OsStr::from_bytes(b"/"))
    }
}

/// A file and the directory in which its name was looked up, from one path resolution.
struct Found {
    directory: File,
    name: OsString,
    file: File,
}

impl Found {
    fn at(path: &Path) -> io::Result<Self> {
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => (path, OsStr::new(".")), // a directory, whatever its name
        };
        // `.` in the path requires the permission to search the directory.
        let parent =
            OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent.join("."))?;
        let mut looked_up = name.to_owned();
        if path.as_os_str().as_bytes().ends_with(b"/") {
            looked_up.push("/"); // a directory, or an error
        }
        let file = openat(&parent, looked_up.as_os_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { directory: parent, name: name.to_owned(), file: file.into() })
    }

    /// Returns the name in its directory or the canonical path, see [`OpenedProgram::place`].
    fn name(&self, canonical: &Path) -> io::Result<Result<RootsName, TrustError>> {
        let named = fs::read_link(own_link(&self.directory))?.join(&self.name);
        match RootsName::check(&named) {
            Ok(name) if name.leads_to() == canonical => Ok(Ok(name)),
            Ok(_) | Err(_) if named != canonical => Ok(RootsName::check(canonical)),
            Ok(_) => Ok(Err(TrustError::Symlink { path: named })),
            Err(error) => Ok(Err(error)),
        }
    }
}

fn own_link(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl AsFd for OpenedProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

struct Reader<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(u64::try_from(length).unwrap_or(0));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct TestDir(PathBuf);

    impl TestDir {
        fn new() -> Self {
            let name = u64::from_ne_bytes(crate::random::random().unwrap());
            let path = PathBuf::from(format!("/run/sys-program-{name:016x}"));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_program_has_its_canonical_path() {
        let place = TestDir::new();
        let path = place.file("tool", "#! /bin/sh -e \necho\n", 0o755);
        symlink(&path, place.0.join("link")).unwrap();
        let program = OpenedProgram::open(&place.0.join("link")).unwrap();
        assert_eq!((program.path(), program.name()), (path.as_path(), OsStr::new("tool")));
        assert!(!program.is_binary().unwrap());
        assert!(!program.writable_by_others());
        for _ in 0..2 {
            let mut text = String::new();
            program.reader().read_to_string(&mut text).unwrap();
            assert_eq!(text, "#! /bin/sh -e \necho\n");
        }
    }

    #[test]
    fn a_name_is_trusted_if_root_owns_every_link_to_the_file() {
        let place = TestDir::new();
        let tool = place.file("tool", "one", 0o755);
        let open = |path: &Path| OpenedProgram::open(path).unwrap();
        symlink("tool", place.0.join("link")).unwrap();
        symlink(place.0.join("link"), place.0.join("alias")).unwrap();
        symlink(&place.0, place.0.join("here")).unwrap();
        assert_eq!(open(&tool).place(), tool);
        assert_eq!(open(&place.0.join("alias")).place(), place.0.join("alias"));
        assert_eq!(open(&place.0.join("here/link")).place(), place.0.join("link"));
        // A link on the way lies in a directory where another user may replace it.
        let others = place.0.join("others");
        fs::create_dir(&others).unwrap();
        symlink(&tool, others.join("mine")).unwrap();
        symlink(others.join("mine"), place.0.join("far")).unwrap();
        std::os::unix::fs::chown(&others, Some(65534), None).unwrap();
        for path in [others.join("mine"), place.0.join("far"), place.0.join("here/far")] {
            assert_eq!(open(&path).place(), tool, "{path:?}");
        }
    }

    #[test]
    fn a_user_without_search_permission_opens_nothing() {
        let place = TestDir::new();
        let nobody = Credentials { uid: 65534, gid: 65534, groups: vec![] };
        let seen = place.file("seen", "", 0o755);
        let hidden = place.0.join("hidden");
        fs::create_dir(&hidden).unwrap();
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
        place.file("hidden/tool", "", 0o755);
        symlink(hidden.join("tool"), place.0.join("to-tool")).unwrap();
        symlink(hidden.join("none"), place.0.join("to-none")).unwrap();
        assert!(OpenedProgram::open_as(&seen, &nobody).unwrap().is_some());
        for path in ["hidden/tool", "hidden/none", "to-tool", "to-none"] {
            assert!(OpenedProgram::open_as(&place.0.join(path), &nobody).unwrap().is_none(), "{path}");
        }
        assert!(OpenedProgram::open_as(&place.0.join("nothing"), &nobody).is_err());
    }

    #[test]
    fn a_replaced_file_is_detected() {
        let place = TestDir::new();
        let path = place.file("tool", "one", 0o755);
        let program = OpenedProgram::open(&path).unwrap();
        assert!(program.same_as(&path).unwrap() && program.unchanged().unwrap());
        fs::rename(place.file("other", "two", 0o755), &path).unwrap();
        assert!(!program.same_as(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!program.same_as(&path).unwrap());
    }

    #[test]
    fn a_file_written_in_place_is_detected() {
        let place = TestDir::new();
        let path = place.file("tool", "one", 0o755);
        let program = OpenedProgram::open(&path).unwrap();
        fs::write(&path, "longer").unwrap();
        assert!(program.same_as(&path).unwrap() && !program.unchanged().unwrap());
    }

    #[test]
    fn other_kinds_of_files_are_rejected_with_their_errors() {
        let place = TestDir::new();
        let kind = |path: &Path| OpenedProgram::open(path).unwrap_err().kind();
        assert_eq!(kind(&place.0), io::ErrorKind::IsADirectory);
        assert_eq!(kind(&place.0.join("none")), io::ErrorKind::NotFound);
        assert_eq!(kind(&place.file("plain", "text", 0o644)), io::ErrorKind::PermissionDenied);
        nix::unistd::mkfifo(&place.0.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(kind(&place.0.join("pipe")), io::ErrorKind::InvalidInput);
        assert_eq!(kind(Path::new("/dev/null")), io::ErrorKind::InvalidInput);
        assert_eq!(kind(&place.file("a", "", 0o755).join("b")), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_program_that_others_can_write_is_detected() {
        let place = TestDir::new();
        assert!(OpenedProgram::open(&place.file("a", "", 0o775)).unwrap().writable_by_others());
        let path = place.file("b", "", 0o755);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(OpenedProgram::open(&path).unwrap().writable_by_others());
        assert!(OpenedProgram::open(Path::new("/bin/sh")).unwrap().is_binary().unwrap());
    }
}
