//! What is wrong with a policy file, and where. Only the administrator can fix such an error, and what it quotes is told to
//! nobody else.

use std::fmt;
use std::path::PathBuf;

use super::reader::PolicyWords;
use crate::escape::escape;

/// The first mistake in the policy. `Display` and `Debug` are for everybody: `/etc/jit-sudo/policy.toml:12: the policy has an
/// error`. What is wrong, such as `unknown key 'aprovers' in [roles.web-ops.activation]; did you mean 'approvers'?`, is for
/// whoever may read the policy: [`PolicyError::words`].
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file.
    pub file: PathBuf,
    /// Line from 1; 0 when the error is about the whole file.
    pub line: usize,
    /// Column in characters from 1; 0 when the error is about the whole file.
    pub column: usize,
    /// What is wrong, in one line that shows no control character.
    pub(super) cause: String,
}

impl PolicyError {
    /// File, line and what is wrong, in one line.
    pub fn words(&self) -> PolicyWords {
        PolicyWords::new(format!("{}: {}", self.place(), self.cause))
    }

    /// What is wrong, without its place.
    pub fn cause(&self) -> PolicyWords {
        PolicyWords::new(self.cause.clone())
    }

    fn place(&self) -> String {
        let file = escape(self.file.as_os_str().as_encoded_bytes());
        if self.line > 0 { format!("{file}:{}", self.line) } else { file }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the policy has an error", self.place())
    }
}

impl fmt::Debug for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyError({self})")
    }
}

impl std::error::Error for PolicyError {}
