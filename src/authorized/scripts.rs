//! Checks what executes the program of a run: the interpreter of a script, and the loader of a binary. Both the launch and the
//! answers about whether a command may run use this check.

use std::fmt;
use std::path::PathBuf;

use crate::elevation::{Command, Elevation, RunAs};
use jit_core::escape::Word;
use jit_core::grant::GrantTerms;
use jit_core::policy::Role;

/// Which scripts may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// Scripts that only root can change.
    OfRootAlone,
    /// All scripts: a caller who may run any command may run any interpreter, too.
    Any,
}

/// Whether a permission serves one command only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// The command of an exact grant.
    OneCommand,
    /// Every command of its role.
    ItsRole,
}

/// Why a program may not be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramFault {
    /// A script that users other than root can change, and how.
    Script(PathBuf, String),
    /// A program whose interpreter or loader can be changed by users other than root and the run-as user, and how.
    Interpreter(PathBuf, String),
    /// A program that cannot be read, and why.
    Unread(PathBuf, String),
}

impl fmt::Display for ProgramFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(_, cause) => write!(f, "the script cannot be trusted: {cause}"),
            Self::Interpreter(path, cause) => {
                write!(f, "the interpreter of {} cannot be trusted: {cause}", Word::from(path.as_os_str()))
            }
            Self::Unread(path, cause) => write!(f, "unable to read {}: {cause}", Word::from(path.as_os_str())),
        }
    }
}

impl Serves {
    /// Returns what a grant with these terms serves.
    pub fn of(terms: &GrantTerms) -> Self {
        if terms.exact.is_set() { Self::OneCommand } else { Self::ItsRole }
    }
}

/// Checks that the launch would execute the command of `elevation` under `role`.
///
/// # Errors
/// Fails with what the launch would reject.
pub fn may_launch(role: &Role, serves: Serves, elevation: &Elevation) -> Result<(), ProgramFault> {
    let run_as = elevation.run_as();
    Scripts::of(role, serves).admit(elevation.command(), trusted(run_as, &[run_as.gid()]))
}

/// Returns the user, besides root, who may change the interpreter of a program that runs as `run_as` with these groups: the run-as
/// user, whose permissions it has, unless it also has a group that this user lacks.
pub fn trusted(run_as: &RunAs, groups: &[u32]) -> u32 {
    // A user whose own groups are unknown is not trusted.
    let own = run_as.group_ids().ok();
    let lacks = |gid: &u32| own.as_ref().is_none_or(|own| !own.contains(gid));
    if groups.iter().any(lacks) { 0 } else { run_as.uid() }
}

impl Scripts {
    /// Returns the scripts that may run under this role. An exact grant serves one command only, whatever else its role allows, so
    /// the caller must not be able to change what executes it either.
    pub fn of(role: &Role, serves: Serves) -> Self {
        match serves {
            Serves::ItsRole if role.allows_everything() => Self::Any,
            Serves::ItsRole | Serves::OneCommand => Self::OfRootAlone,
        }
    }

    /// Checks that `command` may be executed if `user` may also change its interpreter. Files to edit are not checked.
    ///
    /// # Errors
    /// Fails when other users can change the script, the interpreter or the loader.
    pub fn admit(self, command: &Command, user: u32) -> Result<(), ProgramFault> {
        let Some(program) = command.program().filter(|_| self == Self::OfRootAlone) else { return Ok(()) };
        let path = || program.path().to_owned();
        let is_binary = program.is_binary().map_err(|error| ProgramFault::Unread(path(), error.to_string()))?;
        match program.roots_name() {
            Err(cause) if !is_binary => Err(ProgramFault::Script(path(), cause)),
            Ok(_) | Err(_) => {
                program.check_interpreters(user).map_err(|error| ProgramFault::Interpreter(path(), error.to_string()))
            }
        }
    }
}
