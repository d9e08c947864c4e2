//! Whether a role would serve what is wished besides the command: a request that its approver cannot help is refused when
//! it is made, not when the grant is used.

use std::fmt;

use crate::authorized::environment::{EnvironmentError, may_have};
use crate::elevation::Elevation;
use crate::judge::{NotPermitted, RunOptions};
use jit_core::policy::Role;

/// What the role does not let the caller have.
#[derive(Debug, PartialEq, Eq)]
pub enum WishError {
    /// A variable.
    Environment(EnvironmentError),
    /// The directory.
    Directory(NotPermitted),
}

impl fmt::Display for WishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(error) => error.fmt(f),
            Self::Directory(error) => error.fmt(f),
        }
    }
}

/// Checks directory and variables of `elevation`. What depends on the terminal is left to the run.
///
/// # Errors
/// The first of them that `role` does not allow.
pub fn served(role: &Role, elevation: &Elevation) -> Result<(), WishError> {
    RunOptions::wanted_directory(role, elevation).map_err(WishError::Directory)?;
    may_have(role, elevation).map_err(WishError::Environment)
}
