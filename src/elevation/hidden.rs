//! A command in a directory that somebody may not look into. Whether it is there, and what it is, are sealed: the value is the
//! same for a program, for anything else and for nothing at all (CVE-2021-23239), until [`Insight`] opens it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::elevation::{Command, CommandError};
use jit_core::escape::Word;

/// What was typed, and, sealed, what it is.
pub struct Hidden {
    typed: PathBuf,
    arguments: Vec<OsString>,
    inside: Result<Command, CommandError>,
}

/// That somebody may know what is there, because they may run it now. Made by `activation::insight` alone, which
/// `tests/floors.rs` sees to.
pub struct Insight(());

impl Insight {
    pub(crate) fn proven() -> Self {
        Self(())
    }
}

impl Hidden {
    /// Seals what was found at the place that was typed.
    pub(super) fn seal(typed: PathBuf, arguments: &[OsString], inside: Result<Command, CommandError>) -> Box<Self> {
        Box::new(Self { typed, arguments: arguments.to_vec(), inside })
    }

    /// What was typed, the path made absolute.
    pub fn path(&self) -> &Path {
        &self.typed
    }

    /// The arguments that were typed.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Both, for messages.
    pub fn words(&self) -> Vec<Word> {
        std::iter::once(Word::from(self.typed.as_os_str())).chain(self.arguments.iter().map(Word::from)).collect()
    }

    /// For the question whether rules allow it, of which nothing is said: the program, where there is one.
    pub(crate) fn judged(&self) -> Option<&Command> {
        self.inside.as_ref().ok()
    }

    /// What is there.
    pub fn open(self, _: &Insight) -> Result<Command, CommandError> {
        self.inside
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({:?})", self.typed)
    }
}
