//! A list whose last fitting line decides, as in sudoers(5): lines name somebody or something, and lines with `!` take
//! it out again.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// What can stand in a line of a list.
pub trait Entry: Sized + Display {
    /// Reads one; the error is a sentence fragment that names what was written.
    fn read(text: &str) -> Result<Self, String>;
}

/// Whether a line lets in or keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Named.
    In,
    /// Named with `!`.
    Out,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line<T> {
    side: Side,
    what: T,
}

/// The list. Nothing is in an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>", bound = "T: Entry + Clone")]
pub struct Listed<T>(Vec<Line<T>>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Entry> Line<T> {
    /// Reads a line, with its `!` or without.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix('!') {
            Some(rest) => T::read(rest).map(|what| Self { side: Side::Out, what }),
            None => T::read(text).map(|what| Self { side: Side::In, what }),
        }
    }
}

impl<T> Line<T> {
    /// What it names.
    pub fn what(&self) -> &T {
        &self.what
    }

    /// Whether it lets in or keeps out.
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
    /// A list of these lines; of two that say the same next to each other one is kept.
    pub(super) fn new(mut lines: Vec<Line<T>>) -> Self
    where
        T: PartialEq,
    {
        lines.dedup();
        Self(lines)
    }

    /// A list of one line that lets in.
    pub(super) fn only(what: T) -> Self {
        Self(vec![Line { side: Side::In, what }])
    }

    /// What the last line says that fits; `None` where there is none. Where nobody can tell whether a line fits
    /// (`None`), one that lets in does not and one that keeps out does.
    pub fn decide(&self, fits: impl Fn(&T) -> Option<bool>) -> Option<Side> {
        let fitting = |line: &&Line<T>| fits(&line.what).unwrap_or(line.side == Side::Out);
        self.0.iter().rev().find(fitting).map(|line| line.side)
    }

    /// What the lines name that let in: whom they take out again is not considered.
    pub fn named(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter(|line| line.side == Side::In).map(|line| &line.what)
    }

    /// Every line.
    pub fn lines(&self) -> &[Line<T>] {
        &self.0
    }

    /// Whether it names nobody and nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a line takes something out.
    pub fn takes_out(&self) -> bool {
        self.0.iter().any(|line| line.side == Side::Out)
    }
}

impl<T: Display> Listed<T> {
    /// As written in the policy.
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
