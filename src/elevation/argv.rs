//! How a command is called. Programs read their `argv[0]`: Python looks beside it for its modules, and a program with many
//! names chooses by it what to do. So the caller gives it only where they may run anything anyway.

use std::ffi::{OsStr, OsString};

use super::Command;
use crate::escape::Word;

/// Who gives `argv[0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The caller: as typed.
    AsTyped,
    /// A path that was typed is replaced by the place of the program. A name that was found in `secure_path` stays.
    Bound,
}

/// The words with which a command is executed. Made from the opened command here alone: the verification of an exact grant makes
/// one to compare, and the plan of a run makes the one that is recorded and executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv {
    words: Vec<OsString>,
    /// As which rules know the program.
    place: OsString,
    typed: OsString,
    login: bool,
}

impl Argv {
    pub(super) fn of(command: &Command, naming: Naming) -> Self {
        let typed = command.typed_name().to_owned();
        let place = command.path().as_os_str().to_owned();
        let first = match naming {
            Naming::Bound if typed.as_encoded_bytes().contains(&b'/') => place.clone(),
            Naming::Bound | Naming::AsTyped => typed.clone(),
        };
        let words = std::iter::once(first).chain(command.arguments().iter().cloned()).collect();
        Self { words, place, typed, login: command.is_login() }
    }

    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &OsStr> {
        self.words.iter().map(OsString::as_os_str)
    }

    /// What was typed, where that is not the first word.
    pub fn typed(&self) -> Option<&OsStr> {
        (self.words.first() != Some(&self.typed)).then_some(self.typed.as_os_str())
    }

    /// The words as they stand in a request: by whatever name the program was found, the first is its place; but that of a
    /// login shell (`-bash`) means another command and stays.
    pub fn asked_for(&self) -> Vec<Word> {
        let first = if self.login { &self.typed } else { &self.place };
        std::iter::once(first).chain(self.words.iter().skip(1)).map(Word::from).collect()
    }
}
