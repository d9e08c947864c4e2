//! The argv of a command. Programs use their `argv[0]`: Python searches next to it for its modules, and a program with several
//! names chooses its function by it. So the caller chooses it only where they may run any command.

use std::ffi::{OsStr, OsString};

use super::Command;

/// Who chooses `argv[0]`. That of a login shell (`-bash`) means another command and stays in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// The caller: it is as typed.
    AsTyped,
    /// The path of the program, or its file name where the caller typed just that.
    Bound,
    /// The path of the program, however it was found: the form used in requests.
    Place,
}

/// The argv with which a command is executed. It is made only here from the opened command: the verification of an exact grant
/// compares the same argv that the plan of the run records and executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv {
    words: Vec<OsString>,
    typed: OsString,
}

impl Command {
    /// Returns argv, with the `argv[0]` that `naming` chooses.
    pub fn argv(&self, naming: Naming) -> Argv {
        Argv::of(self, naming)
    }
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

    /// Returns the arguments, beginning with `argv[0]`.
    pub fn words(&self) -> impl Iterator<Item = &OsStr> {
        self.words.iter().map(OsString::as_os_str)
    }

    /// Returns the typed name, where it is not `argv[0]`.
    pub fn typed(&self) -> Option<&OsStr> {
        (self.words.first() != Some(&self.typed)).then_some(self.typed.as_os_str())
    }
}
