//! A command in a directory that a user may not look into. Whether it exists, and what it is, is sealed: the value looks the same
//! for a program, for any other file and for none (CVE-2021-23239), until an [`Insight`] opens it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::elevation::{Command, CommandError};
use jit_core::escape::Word;

/// What was typed, and the sealed result of looking it up.
pub struct Hidden {
    typed: PathBuf,
    arguments: Vec<OsString>,
    inside: Result<Command, CommandError>,
}

/// Proof that a user may know what is there, because they may run it now. Only `activation::insight` creates it, which
/// `tests/floors.rs` checks.
pub struct Insight(());

impl Insight {
    pub(crate) fn proven() -> Self {
        Self(())
    }
}

impl Hidden {
    /// Seals what was found at the typed path.
    pub(super) fn seal(typed: PathBuf, arguments: &[OsString], inside: Result<Command, CommandError>) -> Box<Self> {
        Box::new(Self { typed, arguments: arguments.to_vec(), inside })
    }

    /// Returns the typed path, made absolute.
    pub fn path(&self) -> &Path {
        &self.typed
    }

    /// Returns the typed arguments.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Returns both, for messages.
    pub fn words(&self) -> Vec<Word> {
        std::iter::once(Word::from(self.typed.as_os_str())).chain(self.arguments.iter().map(Word::from)).collect()
    }

    /// Returns the program, if there is one, to check whether rules allow it; the result must not be revealed.
    pub(crate) fn judged(&self) -> Option<&Command> {
        self.inside.as_ref().ok()
    }

    /// Returns what is there.
    pub fn open(self, _: &Insight) -> Result<Command, CommandError> {
        self.inside
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({:?})", self.typed)
    }
}
