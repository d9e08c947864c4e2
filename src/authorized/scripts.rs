//! What executes the program of a run: the interpreter of a script, and the loader of a binary, run in its place or before it.
//! The launch asks here, and so does whoever only wants to know whether a command may run.

use std::fmt;
use std::path::PathBuf;

use crate::elevation::{Command, Elevation, RunAs};
use jit_core::escape::Word;
use jit_core::grant::GrantTerms;
use jit_core::policy::Role;

/// Which scripts may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// Those that only root can change.
    OfRootAlone,
    /// All: who may run anything may run an interpreter.
    Any,
}

/// Whether a power serves one command alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// The very command of an exact grant.
    OneCommand,
    /// Every command of its role.
    ItsRole,
}

/// Why a program is not executed with power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramFault {
    /// A script that others than root can change, and how.
    Script(PathBuf, String),
    /// A program whose interpreter or loader somebody else than root and the run-as user can change, and how.
    Interpreter(PathBuf, String),
    /// It cannot be read.
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
    /// A grant with these terms.
    pub fn of(terms: &GrantTerms) -> Self {
        if terms.exact.is_set() { Self::OneCommand } else { Self::ItsRole }
    }
}

/// That the command of `elevation` would be launched by the power of `role` that `serves` so.
///
/// # Errors
/// What the launch would refuse.
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
    /// Under this role. An exact grant serves one command alone, whatever else its role allows: what executes it must be as
    /// little the caller's as the command is.
    pub fn of(role: &Role, serves: Serves) -> Self {
        match serves {
            Serves::ItsRole if role.allows_everything() => Self::Any,
            Serves::ItsRole | Serves::OneCommand => Self::OfRootAlone,
        }
    }

    /// That `command` may be executed where `user` may change its interpreter too. Files to edit are no program.
    ///
    /// # Errors
    /// What others can change.
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
