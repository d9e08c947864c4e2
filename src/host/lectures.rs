//! `lecture` of the policy: what is said, and who has heard it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Host;
use jit_core::names::Person;
use jit_core::places::STATE;
use sys::trusted::TrustedFile;

/// A file for each person who has been lectured, below the state directory.
const LECTURED: &str = "lectured";

/// The longest lecture in bytes.
const LONGEST: usize = 64 << 10;

/// sudo's words.
const LECTURE: &str = "
We trust you have received the usual lecture from the local System
Administrator. It usually boils down to these three things:

    #1) Respect the privacy of others.
    #2) Think before you type.
    #3) With great power comes great responsibility.

For security reasons, the password you type will not be visible.

";

impl Host {
    /// Whether this person has heard the lecture and typed a password after it.
    pub fn was_lectured(&self, person: &Person) -> bool {
        mark(person).exists()
    }

    /// Notes that it has. Where that cannot be noted, it is heard again.
    pub fn note_lecture(&self, person: &Person) {
        let path = mark(person);
        let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
        let _ =
            directory.and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path));
    }

    /// What is said: the administrator's file, or sudo's words where it cannot be read.
    pub fn lecture(&self, file: Option<&Path>) -> String {
        let own = file.and_then(|path| TrustedFile::open(path).and_then(|file| file.read(LONGEST)).ok());
        own.map_or_else(|| LECTURE.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn mark(person: &Person) -> PathBuf {
    Path::new(STATE).join(LECTURED).join(format!("{}.{}", person.uid, person.name))
}
