//! One entry of `commands`: parses it and matches commands with it. Opens and runs nothing; the caller computes the
//! digest of the program, and only when a rule needs it. For a rule that denies, it also checks which file the path in
//! the rule leads to.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::arguments::{Arguments, MOST_WORDS, parse_arguments};
pub use super::digest::Algorithm;
use super::digest::Digest;
use super::lookup::ProgramNames;
use super::program_path::{EDIT, Effect, ProgramPath, parse_path, refuse_invisible, split_effect};
#[cfg(feature = "policy-text")]
use super::rule_table::RuleTable;

/// An entry of `commands`: a pattern for a program and its arguments, or `ALL`, with or without negation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRule {
    text: String,
    effect: Effect,
    means: Means,
    /// One of them must be that of the program, unless there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    digests: Vec<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Means {
    All,
    Program { path: ProgramPath, arguments: Arguments },
}

impl CommandRule {
    /// Parses the string form: words separated by spaces or tabs, the first an absolute path. The error is a sentence
    /// fragment about the rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        refuse_invisible(text)?;
        let (effect, rest) = split_effect(text);
        if rest == "ALL" {
            return Ok(Self { text: text.to_owned(), effect, means: Means::All, digests: Vec::new() });
        }
        let words = split_words(rest)?;
        let (path, arguments) = words.split_first().ok_or("is empty")?;
        check_files(path, arguments)?;
        let path = ProgramPath::Words(parse_path(path)?);
        let means = Means::Program { path, arguments: Arguments::Words(parse_arguments(arguments)?) };
        Ok(Self { text: text.to_owned(), effect, means, digests: Vec::new() })
    }

    /// Reads the table form; words are not split, `!` may stand before the path.
    #[cfg(feature = "policy-text")]
    pub(super) fn from_table(table: &RuleTable<'_>) -> Result<Self, String> {
        let (effect, path) = table.program()?;
        let means = match (path, table.arguments()?) {
            (None, None) => Means::All,
            (None, Some(_)) => return Err("has arguments for ALL, which means every command with any".to_owned()),
            (Some(path), arguments) => {
                Means::Program { path, arguments: arguments.unwrap_or(Arguments::Words(Vec::new())) }
            }
        };
        let digests = table.digests()?;
        if table.path.is_some_and(|path| split_effect(path).1 == EDIT) {
            check_files(EDIT, table.args.as_deref().unwrap_or_default())?;
            if !digests.is_empty() {
                return Err(format!("has a digest for {EDIT}, which is not a file"));
            }
        }
        Ok(Self { text: table.text(&digests), effect, means, digests })
    }

    /// Returns the parsed rule as JSON, unless its text alone determines it. The text of a table form does not, and a
    /// rule that was read from elsewhere may have any text beside it.
    pub fn meaning(&self) -> Option<String> {
        if Self::parse(&self.text).as_ref() == Ok(self) {
            return None;
        }
        let Self { text: _, effect, means, digests } = self;
        Some(serde_json::json!({"digests": digests, "effect": effect, "means": means}).to_string())
    }

    /// Returns the effect of the rule on a command that it matches.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Returns whether the rule matches every command.
    pub fn means_all(&self) -> bool {
        self.means == Means::All && self.digests.is_empty()
    }

    /// Returns the only path that the rule can match; `None` for `ALL` and for a path with a wildcard.
    pub fn literal_path(&self) -> Option<PathBuf> {
        match &self.means {
            Means::Program { path: ProgramPath::Words(path), .. } => {
                path.literal().map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
            }
            Means::All | Means::Program { .. } => None,
        }
    }

    /// Returns whether the rule matches this command by its path. A rule that denies also matches by the canonical
    /// path, and by what the path in the rule leads to, so that no link of root's (`python3` to `python3.11`) bypasses
    /// it. `digest` is called last, and only for a rule with a digest. If something is unknown (`None`), a rule that
    /// allows does not match and a rule that denies does.
    pub fn matches<'a>(
        &self,
        program: impl Into<ProgramNames<'a>>,
        arguments: &[OsString],
        digest: &dyn Fn(Algorithm) -> Option<Vec<u8>>,
    ) -> bool {
        let unknown = self.effect == Effect::Deny;
        let named = match &self.means {
            Means::All => true,
            Means::Program { path: wanted, arguments: words } => {
                self.names(wanted, program.into()).unwrap_or(unknown) && words.mean(arguments).unwrap_or(unknown)
            }
        };
        named && (self.digests.is_empty() || self.digests.iter().any(|known| known.is(digest).unwrap_or(unknown)))
    }

    /// Returns whether `other` matches everything that this rule matches, as far as their texts show it; for rules that
    /// allow.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        if !other.digests.is_empty() && self.digests != other.digests {
            return false;
        }
        match (&self.means, &other.means) {
            (_, Means::All) => true,
            (Means::All, Means::Program { .. }) => false,
            (Means::Program { path, arguments }, Means::Program { path: other_path, arguments: other_arguments }) => {
                let named = |path: PathBuf| other.names(other_path, ProgramNames::of(&path)) == Some(true);
                (path == other_path || self.literal_path().is_some_and(named)) && arguments.are_within(other_arguments)
            }
        }
    }

    fn names(&self, wanted: &ProgramPath, program: ProgramNames<'_>) -> Option<bool> {
        let (place, canonical) = (program.place.as_os_str().as_bytes(), program.canonical.as_os_str().as_bytes());
        match self.effect {
            // A rule for paths is not meant for editing, which has no path.
            Effect::Allow if place == EDIT.as_bytes() && !matches!(wanted, ProgramPath::Words(_)) => Some(false),
            Effect::Allow => wanted.matches(place),
            Effect::Deny => Some(
                wanted.denies(place)?
                    || (canonical != place && wanted.denies(canonical)?)
                    || wanted.leads_to(program)?,
            ),
        }
    }
}

/// Formats the rule as written in the policy; the table form as one line.
impl fmt::Display for CommandRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Splits the text into words, and keeps escapes for [`WordPattern`].
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' if word.is_empty() => {}
            ' ' | '\t' => words.push(std::mem::take(&mut word)),
            '\'' | '"' => {
                return Err(format!(
                    "contains {character}, but quotes do not group words here: write \\{character}, or the table form"
                ));
            }
            '\\' => {
                word.push('\\');
                word.extend(characters.next());
            }
            character => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if words.len() > MOST_WORDS { Err(format!("has more than {MOST_WORDS} words")) } else { Ok(words) }
}

/// Checks the arguments of a rule for editing: files are matched by their full paths, so a rule with another argument
/// would never match.
fn check_files(program: &str, words: &[String]) -> Result<(), String> {
    match words.iter().find(|word| program == EDIT && !word.starts_with('/') && !matches!(word.as_str(), "*" | "**")) {
        Some(word) => Err(format!("has the word '{word}', which is not an absolute path, after {EDIT}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
