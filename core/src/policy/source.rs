//! The position of a definition in the files of the policy.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The position of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The path of the file, as text.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", crate::escape::escape(self.file.as_bytes()), self.line)
    }
}
