//! What is wrong with a policy file, and where. Only the administrator can fix such an error, and what it quotes is told to
//! nobody else.

use std::fmt;
use std::path::PathBuf;

use super::reader::PolicyWords;
use crate::escape::escape;

/// The first mistake in the policy. All users may see `Display` and `Debug`: `/etc/jit-sudo/policy.toml:12: the policy
/// has an error`. Only users who may read the policy see the mistake, such as `unknown key 'aprovers' in
/// [roles.web-ops.activation]; did you mean 'approvers'?`: [`PolicyError::words`].
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
    /// Returns file, line and mistake, in one line.
    pub fn words(&self) -> PolicyWords {
        PolicyWords::new(format!("{}: {}", self.place(), self.cause))
    }

    /// Returns the mistake without its position.
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
