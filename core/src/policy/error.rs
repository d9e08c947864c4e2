//! Errors in a policy file and their position. The administrator can fix all of them; only readers of the policy see
//! what they quote.

use std::fmt;
use std::path::PathBuf;

use super::reader::PolicyWords;
use super::role::Source;
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
    /// The mistake.
    pub(super) cause: Cause,
}

/// A mistake in a line of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is not TOML.
    Syntax(String),
    /// An unknown key or table.
    UnknownKey {
        /// The key.
        key: String,
        /// The table, such as `[defaults]`; empty for the top of the file.
        table: String,
        /// What the author may have meant.
        suggestion: Suggestion,
    },
    /// Something that may occur only once is repeated.
    Repeated {
        /// What is repeated, such as `role 'web-ops'`.
        what: String,
        /// Where it occurs first.
        first: Source,
    },
    /// An invalid value.
    Invalid {
        /// The key, or `command 'ls'`.
        what: String,
        /// The table.
        table: String,
        /// Why, such as `is longer than 366 days`.
        why: String,
    },
    /// The file is larger than this many bytes.
    TooLarge(usize),
}

/// A suggestion for an unknown key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// None is similar.
    Nothing,
    /// A key of the same table.
    Key(String),
    /// The same key, in this table.
    Table(String),
}

impl PolicyError {
    /// Returns file, line and mistake, in one line.
    pub fn words(&self) -> PolicyWords {
        PolicyWords::new(format!("{}: {}", self.place(), self.cause))
    }

    /// Returns the mistake without its position.
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

/// Returns one line of bounded length without control characters, whatever the file contains.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let cut: String = text.trim().chars().take(LONGEST).map(|c| if c == '\n' { ' ' } else { c }).collect();
    let more = if text.trim().chars().count() > LONGEST { "…" } else { "" };
    // Backslashes are doubled only if something else had to be escaped too: rules are shown as they were written.
    let escaped = escape(cut.as_bytes());
    if escaped.replace("\\\\", "\\") == cut { format!("{cut}{more}") } else { format!("{escaped}{more}") }
}
