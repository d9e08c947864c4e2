//! How a command is called. Programs read their `argv[0]`: Python looks beside it for its modules, and a program with many
//! names chooses by it what to do. So the caller gives it only where they may run anything anyway.

use std::ffi::{OsStr, OsString};

use super::Command;

/// Who gives `argv[0]`. That of a login shell (`-bash`) means another command and stays in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The caller: as typed.
    AsTyped,
    /// The place of the program, but for its own bare name.
    Bound,
    /// The place of the program, by whatever name it was found: as it stands in a request.
    Place,
}

/// The words with which a command is executed. Made from the opened command here alone: the verification of an exact grant
/// compares the very words that the plan of the run records and executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv {
    words: Vec<OsString>,
    typed: OsString,
}

impl Argv {
    pub(super) fn of(command: &Command, naming: Naming) -> Self {
        let (typed, place) = (command.typed_name(), command.path());
        let stays = command.is_login()
            || match naming {
                Naming::AsTyped => true,
                Naming::Bound => place.file_name() == Some(typed),
                Naming::Place => false,
            };
        let first = if stays { typed } else { place.as_os_str() };
        let words = std::iter::once(first).chain(command.arguments().iter().map(OsString::as_os_str));
        Self { words: words.map(OsStr::to_owned).collect(), typed: typed.to_owned() }
    }

    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &OsStr> {
        self.words.iter().map(OsString::as_os_str)
    }

    /// What was typed, where that is not the first word.
    pub fn typed(&self) -> Option<&OsStr> {
        (self.words.first() != Some(&self.typed)).then_some(self.typed.as_os_str())
    }
}
