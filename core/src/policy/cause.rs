//! What may be wrong with a line of the policy, and how it is said.

use std::fmt;

use super::role::Source;
use crate::escape::escape;

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
