//! The parts of a sudoers file that could not be converted, by file and line.

use std::collections::BTreeSet;

use jit_core::escape::escape;

use super::tree::Position;

/// What a finding means for the users of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// The policy allows less than sudo, or a setting is missing.
    Less,
    /// The policy does or allows something that sudo does not.
    More,
    /// The answers are the same.
    Note,
}

/// Each finding once, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Findings {
    files: Vec<String>,
    found: BTreeSet<(usize, usize, String, Weight)>,
}

impl Findings {
    /// Adds something that the policy allows in fewer cases than the sudoers file, or does not do.
    pub(super) fn lost(&mut self, place: &Position, what: impl AsRef<str>) {
        self.add(place, what.as_ref(), Weight::Less);
    }

    /// Adds something that changes no answer.
    pub(super) fn note(&mut self, place: &Position, what: impl AsRef<str>) {
        self.add(place, what.as_ref(), Weight::Note);
    }

    /// Adds a finding.
    pub(super) fn add(&mut self, place: &Position, what: &str, weight: Weight) {
        let name = place.file.to_string();
        let file = self.files.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.files.push(name);
            self.files.len() - 1
        });
        self.found.insert((file, place.line, escape(what.as_bytes()), weight));
    }

    /// Returns one line for each of this weight: `FILE:LINE: what`.
    pub(super) fn lines(&self, wanted: Weight) -> Vec<String> {
        let name = |file: &usize| self.files.get(*file).map(|name| escape(name.as_bytes())).unwrap_or_default();
        let found = self.found.iter().filter(|(.., weight)| *weight == wanted);
        found.map(|(file, line, what, _)| format!("{}:{line}: {what}", name(file))).collect()
    }
}
