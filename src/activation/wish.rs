//! Checks whether a role allows what is requested besides the command: a request that no approver could make work is denied when it
//! is made, not when its grant is used.

use std::fmt;

use crate::authorized::environment::{EnvironmentError, may_have};
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
}

impl fmt::Display for WishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(error) => error.fmt(f),
            Self::Directory(error) => error.fmt(f),
        }
    }
}

/// Checks directory and variables of `elevation`. What depends on the terminal is checked by the run.
///
/// # Errors
/// Fails with the first of them that `role` does not allow.
pub fn served(role: &Role, elevation: &Elevation) -> Result<(), WishError> {
    RunOptions::wanted_directory(role, elevation).map_err(WishError::Directory)?;
    may_have(role, elevation).map_err(WishError::Environment)
}
