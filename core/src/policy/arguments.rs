//! The arguments that a rule matches: one by one, or as one line as in sudoers(5).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::glob::Glob;
use super::pattern::WordPattern;

/// The maximum number of arguments in one rule.
pub(super) const MOST_WORDS: usize = 1024;

/// The part of a rule about arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Arguments {
    /// A pattern for each argument.
    Words(Vec<ArgumentPattern>),
    /// fnmatch(3) over the arguments joined by spaces.
    Glob(Glob),
    /// A regular expression for the arguments joined by spaces.
    Regex(Expression),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ArgumentPattern {
    /// `**`
    AnyNumber,
    /// `*`
    AnyWord,
    Word(WordPattern),
}

impl Arguments {
    /// Returns whether these arguments match; `None` if that is unknown.
    pub(super) fn mean(&self, words: &[OsString]) -> Option<bool> {
        match self {
            Self::Words(wanted) => Some(arguments_match(wanted, words)),
            Self::Glob(glob) => Some(glob.matches(&line(words))),
            // Regular expressions match characters: for other bytes the result is unknown.
            Self::Regex(expression) => String::from_utf8(line(words)).ok().and_then(|line| expression.matches(&line)),
        }
    }

    /// Returns whether `other` matches everything that this matches, as far as the texts show it.
    pub(super) fn are_within(&self, other: &Self) -> bool {
        let anything = matches!(other, Self::Words(words) if *words == [ArgumentPattern::AnyNumber]);
        anything || self == other || self.literal().is_some_and(|words| other.mean(&words) == Some(true))
    }

    /// Returns the only arguments that match, if there is no wildcard.
    fn literal(&self) -> Option<Vec<OsString>> {
        let Self::Words(wanted) = self else { return None };
        let word = |pattern: &ArgumentPattern| match pattern {
            ArgumentPattern::Word(word) => word.literal().map(OsString::from_vec),
            ArgumentPattern::AnyNumber | ArgumentPattern::AnyWord => None,
        };
        wanted.iter().map(word).collect()
    }
}

/// Parses the arguments of a rule, each a pattern; the error is a sentence fragment about the rule.
pub(super) fn parse_arguments(words: &[String]) -> Result<Vec<ArgumentPattern>, String> {
    if words.len() > MOST_WORDS {
        return Err(format!("has more than {MOST_WORDS} words"));
    }
    let one = |word: &String| match word.as_str() {
        "**" => Ok(ArgumentPattern::AnyNumber),
        "*" => Ok(ArgumentPattern::AnyWord),
        word => WordPattern::parse(word).map(ArgumentPattern::Word),
    };
    words.iter().map(one).collect()
}

fn line(words: &[OsString]) -> Vec<u8> {
    words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(&b' ')
}

/// Matches as [`glob`](super::pattern) does: each pattern of one argument takes exactly one, so only the last `**` ever
/// needs to be retried.
fn arguments_match(wanted: &[ArgumentPattern], words: &[OsString]) -> bool {
    let (mut pattern, mut word) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let fits = match (wanted.get(pattern), words.get(word)) {
            (Some(ArgumentPattern::AnyNumber), _) => {
                retry = Some((pattern + 1, word));
                pattern += 1;
                continue;
            }
            (None, None) => return true,
            (Some(ArgumentPattern::AnyWord), Some(_)) => true,
            (Some(ArgumentPattern::Word(expected)), Some(found)) => expected.matches(found.as_bytes()),
            (Some(_), None) | (None, Some(_)) => false,
        };
        match retry {
            _ if fits => {
                pattern += 1;
                word += 1;
            }
            Some((after, from)) if from < words.len() => {
                retry = Some((after, from + 1));
                (pattern, word) = (after, from + 1);
            }
            Some(_) | None => return false,
        }
    }
}
