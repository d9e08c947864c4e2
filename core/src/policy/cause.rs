//! The errors in a line of the policy, and their messages.

use std::fmt;

use super::source::Source;
use crate::escape::escape;

/// An error in a line of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// The file is not TOML.
    Syntax(String),
    /// The policy has no such key or table at this place.
    UnknownKey {
        /// The key.
        key: String,
        /// The table, such as `[defaults]`; empty for the top of the file.
        table: String,
        /// A similar key or table, if there is one.
        suggestion: Suggestion,
    },
    /// Something that may be defined once is defined again.
    Repeated {
        /// Such as `role 'web-ops'`.
        what: String,
        /// Where it was defined first.
        first: Source,
    },
    /// An invalid value.
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

/// The key that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// No key is similar.
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

/// Returns one line of limited length without control characters, whatever the file contains.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let cut: String = text.trim().chars().take(LONGEST).map(|c| if c == '\n' { ' ' } else { c }).collect();
    let more = if text.trim().chars().count() > LONGEST { "…" } else { "" };
    // Doubles backslashes only where something else had to be escaped too, so that rules are shown as written.
    let escaped = escape(cut.as_bytes());
    if escaped.replace("\\\\", "\\") == cut { format!("{cut}{more}") } else { format!("{escaped}{more}") }
}
