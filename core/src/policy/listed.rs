//! A list whose last matching line decides, as in sudoers(5): lines include something, and lines with `!` exclude it
//! again.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// An entry of a list.
pub trait Entry: Sized + Display {
    /// Parses an entry; the error is a sentence fragment that names the text.
    fn read(text: &str) -> Result<Self, String>;
}

/// Whether a line includes or excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It includes.
    In,
    /// It excludes: it is written with `!`.
    Out,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line<T> {
    side: Side,
    what: T,
}

/// The list. An empty list includes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>", bound = "T: Entry + Clone")]
pub struct Listed<T>(Vec<Line<T>>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Entry> Line<T> {
    /// Parses a line, with or without `!`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix('!') {
            Some(rest) => T::read(rest).map(|what| Self { side: Side::Out, what }),
            None => T::read(text).map(|what| Self { side: Side::In, what }),
        }
    }
}

impl<T> Line<T> {
    /// Returns the entry.
    pub fn what(&self) -> &T {
        &self.what
    }

    /// Returns whether it includes or excludes.
    pub fn side(&self) -> Side {
        self.side
    }
}

impl<T: Display> Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.side == Side::Out { "!" } else { "" };
        write!(f, "{not}{}", self.what)
    }
}

impl<T> Listed<T> {
    /// Creates a list of these lines; drops a line that repeats the previous one.
    pub(super) fn new(mut lines: Vec<Line<T>>) -> Self
    where
        T: PartialEq,
    {
        lines.dedup();
        Self(lines)
    }

    /// Creates a list with one line that includes `what`.
    pub(super) fn only(what: T) -> Self {
        Self(vec![Line { side: Side::In, what }])
    }

    /// Returns the side of the last matching line; `None` if no line matches. If a match is unknown (`None`), a line
    /// that includes does not match and a line that excludes does.
    pub fn decide(&self, fits: impl Fn(&T) -> Option<bool>) -> Option<Side> {
        let fitting = |line: &&Line<T>| fits(&line.what).unwrap_or(line.side == Side::Out);
        self.0.iter().rev().find(fitting).map(|line| line.side)
    }

    /// Returns the entries of lines that include, even if later lines exclude them again.
    pub fn named(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter(|line| line.side == Side::In).map(|line| &line.what)
    }

    /// Returns every line.
    pub fn lines(&self) -> &[Line<T>] {
        &self.0
    }

    /// Returns whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a line excludes something.
    pub fn takes_out(&self) -> bool {
        self.0.iter().any(|line| line.side == Side::Out)
    }
}

impl<T: Display> Listed<T> {
    /// Returns the lines as written in the policy.
    pub fn as_written(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl<T: Entry> TryFrom<Vec<String>> for Listed<T> {
    type Error = String;
    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        texts.iter().map(|text| Line::read(text)).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: Display> From<Listed<T>> for Vec<String> {
    fn from(listed: Listed<T>) -> Self {
        listed.as_written()
    }
}
