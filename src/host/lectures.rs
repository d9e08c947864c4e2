//! `lecture` of the policy: its text, and who has read it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Host;
use jit_core::names::Person;
use jit_core::places::STATE;
use sys::trusted::TrustedFile;

/// The directory below the state directory with one file for each person who has read the lecture.
const LECTURED: &str = "lectured";

/// The longest lecture, in bytes.
const LONGEST: usize = 64 << 10;

/// The text of sudo.
const LECTURE: &str = "
We trust you have received the usual lecture from the local System
Administrator. It usually boils down to these three things:

    #1) Respect the privacy of others.
    #2) Think before you type.
    #3) With great power comes great responsibility.

For security reasons, the password you type will not be visible.

";

impl Host {
    /// Whether this person has seen the lecture and typed a password after it.
    pub fn was_lectured(&self, person: &Person) -> bool {
        mark(person).exists()
    }

    /// Records that the person has seen it. If that fails, the lecture is shown again.
    pub fn note_lecture(&self, person: &Person) {
        let path = mark(person);
        let directory = path.parent().map_or(Ok(()), fs::create_dir_all);
        let _ =
            directory.and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path));
    }

    /// Returns the text: the administrator's file, or the text of sudo where that file cannot be read.
    pub fn lecture(&self, file: Option<&Path>) -> String {
        let own = file.and_then(|path| TrustedFile::open(path).and_then(|file| file.read(LONGEST)).ok());
        own.map_or_else(|| LECTURE.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn mark(person: &Person) -> PathBuf {
    Path::new(STATE).join(LECTURED).join(format!("{}.{}", person.uid, person.name))
}
