//! The parts of a sudoers file that could not be converted, by file and line.

use std::collections::BTreeSet;

use jit_core::escape::escape;

use super::tree::Position;

/// Each finding once, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Findings {
    files: Vec<String>,
    lost: BTreeSet<(usize, usize, String)>,
}

impl Findings {
    /// Adds something that the policy cannot express as the sudoers file does.
    pub(super) fn lost(&mut self, place: &Position, what: impl AsRef<str>) {
        let name = place.file.to_string();
        let file = self.files.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.files.push(name);
            self.files.len() - 1
        });
        self.lost.insert((file, place.line, escape(what.as_ref().as_bytes())));
    }

    /// Returns one line for each: `FILE:LINE: what`.
    pub(super) fn lines(&self) -> Vec<String> {
        let name = |file: &usize| self.files.get(*file).map(|name| escape(name.as_bytes())).unwrap_or_default();
        self.lost.iter().map(|(file, line, what)| format!("{}:{line}: {what}", name(file))).collect()
    }
}
