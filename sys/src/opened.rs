//! Files and directories that are checked before they are trusted: the result of fstat(2) describes the file that is
//! read, and no path is resolved twice. Links are followed. A device, pipe or socket is only found, never opened.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::Mode;

/// A file of any kind, held by a descriptor, with its metadata at that moment.
#[derive(Debug)]
pub struct Opened {
    held: File,
    metadata: Metadata,
}

impl Opened {
    /// Finds `path`, following links.
    ///
    /// # Errors
    /// As open(2) with `O_PATH`: the file itself need not be readable.
    pub fn find(path: &Path) -> io::Result<Self> {
        Self::hold(openat(AT_FDCWD, path, HOLD, Mode::empty())?.into())
    }

    /// Finds a name in this directory, following links.
    ///
    /// # Errors
    /// As openat(2) with `O_PATH`.
    pub fn find_in(&self, name: &OsStr) -> io::Result<Self> {
        Self::hold(openat(self.held.as_fd(), name, HOLD, Mode::empty())?.into())
    }

    fn hold(held: File) -> io::Result<Self> {
        Ok(Self { metadata: held.metadata()?, held })
    }

    /// Returns the result of fstat(2).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns whether this process can now open the file for reading.
    pub fn may_be_read(&self) -> bool {
        self.again(OFlag::O_NONBLOCK).is_ok()
    }

    /// Reads a regular file; `None` when it has more than `most` bytes.
    ///
    /// # Errors
    /// `InvalidInput` for any other kind of file, else as open(2) and read(2).
    pub fn read(&self, most: u64) -> io::Result<Option<Vec<u8>>> {
        if !self.metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        bytes_of(self.again(OFlag::O_NONBLOCK)?, most)
    }

    /// Returns the names in a directory, sorted by their bytes; `None` when there are more than `most`.
    ///
    /// # Errors
    /// As open(2) and getdents(2).
    pub fn names(&self, most: usize) -> io::Result<Option<Vec<OsString>>> {
        let mut directory = nix::dir::Dir::from_fd(self.again(OFlag::O_DIRECTORY)?.into())?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if matches!(name.as_slice(), b"." | b"..") {
                continue;
            }
            if names.len() == most {
                return Ok(None);
            }
            names.push(OsString::from_vec(name));
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    /// Opens the same file for reading.
    fn again(&self, more: OFlag) -> io::Result<File> {
        let own_name = format!("/proc/self/fd/{}", self.held.as_raw_fd());
        let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | more;
        Ok(open(own_name.as_str(), flags, Mode::empty())?.into())
    }
}

/// Reads standard input to its end; `None` when it has more than `most` bytes.
///
/// # Errors
/// As read(2).
pub fn standard_input(most: u64) -> io::Result<Option<Vec<u8>>> {
    bytes_of(File::from(io::stdin().as_fd().try_clone_to_owned()?), most)
}

const HOLD: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

fn bytes_of(file: File, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_found_file_is_read_even_after_its_name_was_replaced() {
        let place = std::env::temp_dir().join(format!("opened-{}", std::process::id()));
        fs::create_dir_all(place.join("directory")).unwrap();
        fs::write(place.join("one"), "first").unwrap();
        symlink("one", place.join("link")).unwrap();
        nix::unistd::mkfifo(&place.join("fifo"), Mode::S_IRWXU).unwrap();
        let found = Opened::find(&place.join("link")).unwrap();
        fs::rename(place.join("one"), place.join("away")).unwrap();
        fs::write(place.join("one"), "second").unwrap();
        assert_eq!(found.read(5).unwrap().unwrap(), b"first");
        assert_eq!(found.read(4).unwrap(), None);
        let fifo = Opened::find(&place.join("fifo")).unwrap();
        assert_eq!(fifo.read(9).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let directory = Opened::find(&place).unwrap();
        assert_eq!(directory.names(9).unwrap().unwrap(), ["away", "directory", "fifo", "link", "one"]);
        assert_eq!(directory.names(4).unwrap(), None);
        assert_eq!(directory.find_in("one".as_ref()).unwrap().read(9).unwrap().unwrap(), b"second");
        assert!(directory.find_in("none".as_ref()).is_err());
        fs::remove_dir_all(&place).unwrap();
    }
}
