//! Who may be told what the policy says. Its files are root's to read, so an error in them is told to everybody by file and
//! line, and in the words of the policy only to somebody who may read them.

use std::fmt;

use super::PolicyText;

/// Proof that somebody may read the policy, which opens [`PolicyWords`].
#[must_use = "it opens the words of the policy"]
pub struct PolicyReader(());

impl PolicyReader {
    /// Root; the uid is the kernel's word.
    pub fn root(uid: u32) -> Option<Self> {
        (uid == 0).then_some(Self(()))
    }

    /// Whoever holds the files: those of somebody's own, read with their own rights.
    pub fn of(_files: &[PolicyText]) -> Self {
        Self(())
    }
}

/// A sentence that quotes the policy or another file that only root can read: keys, names, values. It shows itself to
/// nobody; [`PolicyWords::told_to`] is the only way to it.
pub struct PolicyWords(String);

impl PolicyWords {
    /// Seals a sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// The sentence.
    pub fn told_to(&self, _: &PolicyReader) -> &str {
        &self.0
    }
}

impl fmt::Debug for PolicyWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicyWords(…)")
    }
}
