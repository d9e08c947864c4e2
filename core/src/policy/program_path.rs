//! The program of a command rule: a path or a pattern, with or without negation.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::glob::Glob;
use super::lookup::ProgramNames;
use super::pattern::{Tail, WordPattern};
use crate::escape;

/// The program name of rules for editing files (sudoers(5)).
pub const EDIT: &str = "sudoedit";

/// The effect of the rule on a command that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The command may run.
    Allow,
    /// The command is denied: the rule begins with `!`.
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProgramPath {
    Words(WordPattern),
    /// glob(7).
    Glob(Glob),
    Regex(Expression),
}

impl ProgramPath {
    /// Returns whether a different path in the rule leads to this program: through a link in its directory, as a link
    /// to the program, or as another name of the same file. `None` if that is unknown.
    pub(super) fn leads_to(&self, program: ProgramNames<'_>) -> Option<bool> {
        let (start, tail) = match self {
            Self::Words(pattern) => pattern.literal_start(),
            Self::Glob(glob) => glob.literal_start(),
            Self::Regex(_) => return Some(false),
        };
        let start = Path::new(OsStr::from_bytes(&start));
        match tail {
            Tail::Nothing => program.are_led_to_by(start),
            Tail::Wildcards => match program.below(start)? {
                Some(path) => self.matches(path.as_os_str().as_bytes()),
                None => Some(false),
            },
        }
    }

    pub(super) fn denies(&self, path: &[u8]) -> Option<bool> {
        Some(self.matches(path)? || unmerged(path).is_some_and(|other| self.matches(other) == Some(true)))
    }

    pub(super) fn matches(&self, path: &[u8]) -> Option<bool> {
        match self {
            Self::Words(pattern) => Some(pattern.matches(path)),
            Self::Glob(glob) => Some(glob.matches_path(path)),
            Self::Regex(expression) => std::str::from_utf8(path).ok().and_then(|path| expression.matches(path)),
        }
    }
}

/// Returns the path of the program before `/usr` was merged: `!/bin/sh` also denies `/usr/bin/sh`, because the rule
/// would never match where `/bin` is a link to `/usr/bin`. A rule that allows stays exact, and `jitctl policy check`
/// warns about it.
fn unmerged(path: &[u8]) -> Option<&[u8]> {
    let other = path.strip_prefix(b"/usr")?;
    let merged = [&b"/bin/"[..], b"/sbin/", b"/lib"].iter().any(|directory| other.starts_with(directory));
    merged.then_some(other)
}

pub(super) fn split_effect(text: &str) -> (Effect, &str) {
    match text.strip_prefix('!') {
        Some(rest) => (Effect::Deny, rest.trim_start_matches([' ', '\t'])),
        None => (Effect::Allow, text),
    }
}

/// Parses a path whose directory could be one without links: a rule that never matches is a mistake, and if it denies,
/// a security hole.
pub(super) fn parse_path(text: &str) -> Result<WordPattern, String> {
    // Not a path, but editing, with the files as arguments.
    if text == EDIT {
        return WordPattern::parse(text);
    }
    if !text.starts_with('/') {
        return Err(if text == "ALL" || text.starts_with("ALL ") {
            "has words after ALL, which means every command with any arguments".to_owned()
        } else {
            "does not begin with an absolute path".to_owned()
        });
    }
    let pattern = WordPattern::parse(text)?;
    for component in pattern.components().skip(1) {
        match component.as_deref() {
            Some(b"") if text == "/" => return Err("names the root directory, not a program".to_owned()),
            Some(b"") if text.ends_with('/') => {
                return Err("ends with '/': for the programs of a directory write '/*'".to_owned());
            }
            Some(b"" | b"." | b"..") => {
                return Err("has a path with an empty, '.' or '..' component, which no program has".to_owned());
            }
            Some(_) | None => {}
        }
    }
    Ok(pattern)
}

/// Rejects invisible characters: a text must not have a meaning that an editor does not show (CVE-2021-42574).
pub(super) fn refuse_invisible(text: &str) -> Result<(), String> {
    let visible = text.replace(['\\', '\t'], "");
    if escape::escape(visible.as_bytes()) == visible {
        Ok(())
    } else {
        Err("contains a control character or an invisible character".to_owned())
    }
}
