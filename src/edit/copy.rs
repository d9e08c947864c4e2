//! One edited file: copied out to a file that belongs to the caller, and written back.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::diff::difference;
use crate::elevation::edit::Target;
use jit_core::budget::EDITED;
use jit_core::escape::Word;
use jit_core::evidence::record::{self, Change};
use sys::exec::Credentials;
use sys::fsuid::as_user;
use sys::user_path::{Place, PlaceError, open_own, read_all};

/// Larger files are not edited: both versions are held in memory, so that the recorded contents are the ones that are written.
const LARGEST: usize = 64 << 20;

/// The directories for copies; the first that the caller can write to is used.
const PLACES: [&str; 2] = ["/var/tmp", "/tmp"];

/// The longest part of a name that a copy keeps, in bytes.
const LONGEST_STEM: usize = 200;

/// How many names are tried in one directory.
const TRIES: usize = 100;

/// The credentials with which files are accessed.
pub struct EditCredentials {
    /// Reads and writes the files.
    pub run_as: Credentials,
    /// Owns the copies.
    pub caller: Credentials,
    /// The caller's file mode mask, for new files.
    pub umask: u32,
}

/// Why a file is not edited; each error names it as it was typed.
#[derive(Debug)]
pub enum EditError {
    /// It cannot be read, or may not be edited.
    Target(Word, PlaceError),
    /// Together with the files before it, it exceeds the limit for files that are edited at once.
    Together(Word),
    /// It cannot be copied.
    Copy(Word, io::Error),
    /// The copy cannot be read back.
    Lost(PathBuf, PlaceError),
    /// It cannot be written.
    Write(Word, PlaceError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(name, PlaceError::Writable) => {
                write!(f, "{name}: editing files in a writable directory is not permitted")
            }
            Self::Together(name) => write!(
                f,
                "{name}: the files to be edited have more than {} MiB together; edit them one after another",
                EDITED >> 20
            ),
            Self::Target(name, PlaceError::Symlink) => write!(f, "{name}: editing symbolic links is not permitted"),
            Self::Target(name, error) => write!(f, "{name}: {}", reason(error)),
            Self::Copy(name, error) => write!(f, "{name}: no copy can be made: {}", plain(error)),
            Self::Lost(path, error) => write!(f, "{}: {}", Word::from(path.as_os_str()), reason(error)),
            Self::Write(name, PlaceError::Changed) => {
                write!(f, "{name} was changed by another process while it was edited")
            }
            Self::Write(name, error) => write!(f, "unable to write to {name}: {}", reason(error)),
        }
    }
}

/// A file that was copied out.
pub struct Copy<'a> {
    target: &'a Target,
    place: &'a Place,
    before: Option<Vec<u8>>,
    public: bool,
    path: PathBuf,
    time: SystemTime,
}

/// The result of reading a copy back.
pub enum Copied {
    /// The copy was not changed.
    Unchanged,
    /// These bytes are to be written, after the change was recorded.
    Changed(Vec<u8>, Box<Change>),
}

impl<'a> Copy<'a> {
    /// Reads the file and creates a copy of it that only the caller can read. The files before it have `held` bytes.
    pub fn out(target: &'a Target, hands: &EditCredentials, held: usize) -> Result<Self, EditError> {
        let name = || Word::from(target.typed());
        let place = target.place().map_err(|error| EditError::Target(name(), again(error)))?;
        let room = EDITED.saturating_sub(held).min(LARGEST);
        let read = place.read(&hands.run_as, room).map_err(|error| match error {
            PlaceError::TooLarge(_) if room < LARGEST => EditError::Together(name()),
            error => EditError::Target(name(), error),
        })?;
        let (before, public, time) = match read {
            Some(found) => {
                let time = found.metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                (Some(found.bytes), found.public, time)
            }
            // The modification time will show that the copy was written at all.
            None => (None, place.is_open_to_all() && hands.umask & 0o004 == 0, SystemTime::UNIX_EPOCH),
        };
        let failed = |error| EditError::Copy(name(), error);
        let (mut file, path) = create(target.path().file_name().unwrap_or_default(), &hands.caller).map_err(failed)?;
        let written = file
            .write_all(before.as_deref().unwrap_or_default())
            .and_then(|()| file.set_times(FileTimes::new().set_modified(time)));
        if let Err(error) = written {
            remove(&path, &hands.caller);
            return Err(failed(error));
        }
        Ok(Self { target, place, before, public, path, time })
    }

    /// Returns how many of its bytes are held in memory.
    pub fn held(&self) -> usize {
        self.before.as_ref().map_or(0, Vec::len)
    }

    /// Returns the path of the copy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the file for messages.
    pub fn name(&self) -> Word {
        Word::from(self.target.typed())
    }

    /// Reads the copy with the caller's permissions: whatever is there now, they may read it themselves.
    pub fn look(&self, hands: &EditCredentials) -> Result<Copied, EditError> {
        let lost = |error| EditError::Lost(self.path.clone(), error);
        let file = open_own(&self.path, &hands.caller).map_err(lost)?;
        let after = read_all(&file, LARGEST).map_err(lost)?;
        let unchanged = match &self.before {
            Some(before) => *before == after,
            None => {
                after.is_empty() && file.metadata().and_then(|file| file.modified()).is_ok_and(|at| at == self.time)
            }
        };
        if unchanged {
            return Ok(Copied::Unchanged);
        }
        let change = Box::new(self.change(&after));
        Ok(Copied::Changed(after, change))
    }

    /// Writes `after` to the file, unless another process has changed it.
    pub fn back(&self, after: &[u8], hands: &EditCredentials) -> Result<(), EditError> {
        let mode = 0o644 & !hands.umask;
        let written = self.place.write(&hands.run_as, self.before.as_deref(), after, mode);
        written.map_err(|error| EditError::Write(self.name(), error))
    }

    /// Removes the copy.
    pub fn discard(self, hands: &EditCredentials) {
        remove(&self.path, &hands.caller);
    }

    fn change(&self, after: &[u8]) -> Change {
        let digest = |bytes: &[u8]| record::Digest(Sha256::digest(bytes).into());
        let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let path = Word::from(self.target.path().as_os_str());
        // Records can be read by more users than the file may be.
        let diff = if self.public { difference(&path.to_string(), self.before.as_deref(), after) } else { None };
        Change {
            path,
            before: self.before.as_deref().map(digest),
            before_bytes: self.before.as_deref().map(length),
            after: digest(after),
            after_bytes: length(after),
            diff: diff.map(Word::from),
        }
    }
}

/// Returns the name of a copy: `motd` becomes `motd.XXXXXXXX` and `a.conf` becomes `aXXXXXXXX.conf`, so that an editor recognizes
/// the file type.
fn copy_name(name: &OsStr, random: &str) -> OsString {
    let name = name.as_bytes();
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| name.len() - dot <= LONGEST_STEM / 4);
    let (stem, suffix) = name.split_at_checked(dot.unwrap_or(name.len())).unwrap_or((name, b""));
    let stem = stem.get(..LONGEST_STEM).unwrap_or(stem);
    let between: &[u8] = if dot.is_some() { b"" } else { b"." };
    OsString::from_vec([stem, between, random.as_bytes(), suffix].concat())
}

fn create(name: &OsStr, owner: &Credentials) -> io::Result<(File, PathBuf)> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for place in PLACES {
        for _ in 0..TRIES {
            let path = Path::new(place).join(copy_name(name, &letters(sys::random::random()?)));
            let made = as_user(owner, || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path))?;
            match made {
                Ok(file) => return Ok((file, path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    refused = error;
                    break;
                }
            }
        }
    }
    Err(refused)
}

fn letters(random: [u8; 8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyzABCDEFG";
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'x');
    random.iter().map(|byte| char::from(letter(byte))).collect()
}

/// Removes a copy. A failure is ignored, because the copy belongs to the caller.
fn remove(path: &Path, owner: &Credentials) {
    let _ = as_user(owner, || fs::remove_file(path));
}

/// Duplicates an error: the stored one is reported each time.
fn again(error: &PlaceError) -> PlaceError {
    match error {
        PlaceError::Writable => PlaceError::Writable,
        PlaceError::Symlink => PlaceError::Symlink,
        PlaceError::NotRegular => PlaceError::NotRegular,
        PlaceError::TooLarge(most) => PlaceError::TooLarge(*most),
        PlaceError::Changed => PlaceError::Changed,
        PlaceError::Io(error) => PlaceError::Io(match error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::from(error.kind()),
        }),
    }
}

fn reason(error: &PlaceError) -> String {
    match error {
        PlaceError::NotRegular => "not a regular file".to_owned(),
        PlaceError::TooLarge(most) => format!("larger than {} MiB, which is too large to be edited here", most >> 20),
        PlaceError::Symlink => "is a symbolic link".to_owned(),
        PlaceError::Writable => "lies in a writable directory".to_owned(),
        PlaceError::Changed => "was changed by another process".to_owned(),
        PlaceError::Io(error) => plain(error),
    }
}

/// Returns the kernel's error text without its number, as sudo prints it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_the_kind_of_its_file() {
        let name = |name: &str| copy_name(OsStr::new(name), "XXXXXXXX");
        assert_eq!(name("motd"), "motd.XXXXXXXX");
        assert_eq!(name("a.b.conf"), "a.bXXXXXXXX.conf");
        assert_eq!(name(".profile"), "XXXXXXXX.profile");
        assert!(name(&"x".repeat(255)).len() <= 255 && name(&format!(".{}", "x".repeat(254))).len() <= 255);
        assert!(name(&format!("{}.conf", "x".repeat(250))).len() <= 255);
    }
}
