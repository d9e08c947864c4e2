//! Who may see the contents of the policy. Only root can read its files, so all users see file and line of an error,
//! but only users who may read the policy see its text.

use std::fmt;

use super::PolicyText;

/// Proof that a user may read the policy, which gives access to [`PolicyWords`].
#[must_use = "it gives access to the text of the policy"]
pub struct PolicyReader(());

impl PolicyReader {
    /// Returns the proof for root; the uid must come from the kernel.
    pub fn root(uid: u32) -> Option<Self> {
        (uid == 0).then_some(Self(()))
    }

    /// Returns the proof for a user with files of their own, which they read with their own rights.
    pub fn of(_files: &[PolicyText]) -> Self {
        Self(())
    }
}

/// A text that quotes the policy or another file that only root can read: keys, names, values. It has no other output
/// than [`PolicyWords::told_to`].
pub struct PolicyWords(String);

impl PolicyWords {
    /// Wraps a text.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Returns the text.
    pub fn told_to(&self, _: &PolicyReader) -> &str {
        &self.0
    }
}

impl fmt::Debug for PolicyWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicyWords(…)")
    }
}
