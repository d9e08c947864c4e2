//! The names of a program, and what else leads to it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The names of a program that was found.
#[derive(Debug, Clone, Copy)]
pub struct ProgramNames<'a> {
    /// By which rules know it: its directory without links, and the name in it.
    pub place: &'a Path,
    /// What that leads to.
    pub canonical: &'a Path,
}

impl ProgramNames<'_> {
    /// Whether `path` leads to the same file: through a link, or as another name of it. `None` where that cannot be seen.
    pub fn are_led_to_by(&self, path: &Path) -> Option<bool> {
        let file = |path: &Path| Some(seen(fs::metadata(path))?.map(|found| (found.dev(), found.ino())));
        let found = file(path)?;
        Some(found.is_some() && found == file(self.canonical)?)
    }

    /// The path of the program below `directory`, where there is a link in that and the program lies in what it leads to. The
    /// outer `None` where that cannot be seen.
    pub fn below(&self, directory: &Path) -> Option<Option<PathBuf>> {
        let real = seen(fs::canonicalize(directory))?.filter(|real| real != directory);
        Some(real.and_then(|real| Some(directory.join(self.canonical.strip_prefix(real).ok()?))))
    }
}

/// What is there; `Some(None)` where nothing is.
fn seen<T>(found: io::Result<T>) -> Option<Option<T>> {
    match found {
        Ok(found) => Some(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some(None),
        Err(_) => None,
    }
}

/// A program whose name is no link.
#[cfg(test)]
impl<'a> From<&'a Path> for ProgramNames<'a> {
    fn from(path: &'a Path) -> Self {
        Self { place: path, canonical: path }
    }
}
