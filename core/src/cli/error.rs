//! Errors in the command line. The caller can fix all of them; the texts are those of sudo and getopt where these have
//! one.

use std::fmt;

use super::help::{CalledAs, usage};

/// Why the arguments are not valid. The exit status is 1, as sudo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// Only the usage is shown.
    Usage,
    /// This message and the usage are shown.
    Mistake(String),
    /// Only this message is shown: the flag is known but not supported.
    Unsupported(String),
    /// Only this message is shown: a value is invalid.
    Value(String),
}

impl UsageError {
    /// Returns the text for standard error, each message prefixed with the name under which the program was called.
    pub fn report(&self, name: CalledAs) -> String {
        match self {
            Self::Usage => usage(name),
            Self::Mistake(sentence) => format!("{}: {sentence}\n{}", name.as_str(), usage(name)),
            Self::Unsupported(sentence) | Self::Value(sentence) => format!("{}: {sentence}\n", name.as_str()),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str("the options and words do not go together"),
            Self::Mistake(sentence) | Self::Unsupported(sentence) | Self::Value(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for UsageError {}
