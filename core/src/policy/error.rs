//! What is wrong with a policy file, and where. Every error here is the administrator's to mend, and what it quotes is told
//! to nobody else.

use std::fmt;
use std::path::PathBuf;

use super::reader::PolicyWords;
use super::role::Source;
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
    /// What is wrong.
    pub(super) cause: Cause,
}

/// What is wrong with a line of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is not TOML.
    Syntax(String),
    /// A key or table that the policy does not have there.
    UnknownKey {
        /// The key.
        key: String,
        /// The table, such as `[defaults]`; empty for the top of the file.
        table: String,
        /// What may have been meant.
        suggestion: Suggestion,
    },
    /// Something that may be said once is said again.
    Repeated {
        /// Such as `role 'web-ops'`.
        what: String,
        /// Where it was said first.
        first: Source,
    },
    /// A value that cannot be meant.
    Invalid {
        /// The key, or `command 'ls'`.
        what: String,
        /// The table.
        table: String,
        /// Such as `is longer than 366 days`.
        why: String,
    },
    /// The file is larger than this many bytes.
    TooLarge(usize),
}

/// What an unknown key may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// Nothing is near.
    Nothing,
    /// A key of the same table.
    Key(String),
    /// The same key, in this table.
    Table(String),
}

impl PolicyError {
    /// File, line and what is wrong, in one line.
    pub fn words(&self) -> PolicyWords {
        PolicyWords::new(format!("{}: {}", self.place(), self.cause))
    }

    /// What is wrong, without its place.
    pub fn cause(&self) -> PolicyWords {
        PolicyWords::new(self.cause.to_string())
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

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => f.write_str(&shown(message)),
            Self::UnknownKey { key, table, suggestion } => {
                write!(f, "unknown key '{}'{}", shown(key), within(table))?;
                match suggestion {
                    Suggestion::Nothing => Ok(()),
                    Suggestion::Key(near) => write!(f, "; did you mean '{near}'?"),
                    Suggestion::Table(place) => write!(f, "; it belongs in {place}"),
                }
            }
            Self::Repeated { what, first } => write!(f, "{} is already defined at {first}", shown(what)),
            Self::Invalid { what, table, why } => write!(f, "{}{}: {}", shown(what), within(table), shown(why)),
            Self::TooLarge(limit) => write!(f, "the file is larger than {limit} bytes"),
        }
    }
}

fn within(table: &str) -> String {
    if table.is_empty() { String::new() } else { format!(" in {}", shown(table)) }
}

/// One line of bounded length without control characters, whatever the file holds.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let cut: String = text.trim().chars().take(LONGEST).map(|c| if c == '\n' { ' ' } else { c }).collect();
    let more = if text.trim().chars().count() > LONGEST { "…" } else { "" };
    // Backslashes are doubled only where something else had to be escaped too: rules are shown as they were written.
    let escaped = escape(cut.as_bytes());
    if escaped.replace("\\\\", "\\") == cut { format!("{cut}{more}") } else { format!("{escaped}{more}") }
}
