//! A regular expression of the policy (regex-lite: linear time, no backreferences), validated when it is parsed.

use serde::{Deserialize, Serialize};

/// The longest expression in bytes.
#[cfg(feature = "policy-text")]
const LONGEST: usize = 4096;

/// A valid expression. `.` matches any character, a line break too, so that nothing in an argument hides what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Expression(String);

impl Expression {
    /// Checks the expression; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        match compile(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("is not a regular expression: {error}")),
        }
    }

    /// Returns whether some part of `text` matches; `None` if that is unknown.
    pub(super) fn matches(&self, text: &str) -> Option<bool> {
        compile(&self.0).ok().map(|pattern| pattern.is_match(text))
    }

    /// Returns the expression as written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn compile(text: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
    regex_lite::RegexBuilder::new(text).dot_matches_new_line(true).size_limit(1 << 20).nest_limit(50).build()
}
