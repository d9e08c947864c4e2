//! Editing (-e): the files are copied out for the caller, and written back when the editor has ended. Each file is read and written
//! as the run-as user, each copy as the caller, so that the kernel checks every step with their permissions.
//! May not: decide whether a user may edit, or record anything itself.

mod copy;
mod diff;

pub use copy::{Copied, Copy, EditCredentials, EditError};
