//! Checks whether a role allows what is requested besides the command: a request that no approver could make work is denied when it
//! is made, not when its grant is used.

use std::fmt;

use crate::authorized::environment::{EnvironmentError, may_have};
use crate::authorized::{ProgramFault, Serves, may_launch};
use crate::elevation::Elevation;
use crate::judge::{NotPermitted, RunOptions};
use jit_core::policy::Role;

/// Why the role does not allow it.
#[derive(Debug, PartialEq, Eq)]
pub enum WishError {
    /// A variable.
    Environment(EnvironmentError),
    /// The directory.
    Directory(NotPermitted),
    /// What would execute the program.
    Program(ProgramFault),
}

impl fmt::Display for WishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(error) => error.fmt(f),
            Self::Directory(error) => error.fmt(f),
            Self::Program(fault) => fault.fmt(f),
        }
    }
}

/// Checks directory, variables and program of `elevation`, under a grant as the role is given. What depends on the terminal is left to
/// the run.
///
/// # Errors
/// Fails with the first of them that `role` does not allow.
pub fn served(role: &Role, elevation: &Elevation) -> Result<(), WishError> {
    let serves = if role.activation.exact_command { Serves::OneCommand } else { Serves::ItsRole };
    served_by(role, serves, elevation)
}

/// Returns the first of `roles` under which the command would run, or the first where none would: the one that is asked for when the
/// caller names none, and the one that every hint names.
#[must_use]
pub fn first_served<'r>(roles: &'r [Role], elevation: &Elevation) -> Option<&'r Role> {
    roles.iter().find(|role| served(role, elevation).is_ok()).or(roles.first())
}

/// The same under a power that is there.
///
/// # Errors
/// As for [`served`].
pub fn served_by(role: &Role, serves: Serves, elevation: &Elevation) -> Result<(), WishError> {
    RunOptions::wanted_directory(role, elevation).map_err(WishError::Directory)?;
    may_have(role, elevation).map_err(WishError::Environment)?;
    may_launch(role, serves, elevation).map_err(WishError::Program)
}
