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
    /// Any of these, when the program was called as `jit-sudoedit`.
    InEditing(Box<UsageError>),
}

impl UsageError {
    /// Returns the text for standard error, each message prefixed with `jit-sudo: `.
    pub fn report(&self) -> String {
        self.report_to(CalledAs::JitSudo)
    }

    fn report_to(&self, name: CalledAs) -> String {
        match self {
            Self::InEditing(error) => error.report_to(CalledAs::JitSudoedit),
            Self::Usage => usage(name),
            Self::Mistake(sentence) => format!("jit-sudo: {sentence}\n{}", usage(name)),
            Self::Unsupported(sentence) | Self::Value(sentence) => format!("jit-sudo: {sentence}\n"),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InEditing(error) => error.fmt(f),
            Self::Usage => f.write_str("the options and words do not go together"),
            Self::Mistake(sentence) | Self::Unsupported(sentence) | Self::Value(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for UsageError {}
