//! What is wrong with the words typed. All of it is the caller's to mend; the texts are sudo's and getopt's where they have one.

use std::fmt;

use super::help::{CalledAs, usage};

/// Why the words are not an invocation. The exit status is 1, as sudo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// The usage says it all.
    Usage,
    /// This sentence, and then the usage.
    Mistake(String),
    /// This sentence alone: the words are understood, and not built or never to be.
    Unsupported(String),
    /// This sentence alone: a value that says nothing.
    Value(String),
    /// Any of these, by somebody who called `jit-sudoedit`.
    InEditing(Box<UsageError>),
}

impl UsageError {
    /// Everything for standard error, each sentence behind `jit-sudo: `.
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
