//! Editing (-e): the files are copied out for the caller, and back when the editor has ended. Each file is read and written
//! as the run-as user, each copy as the caller, so the kernel judges every step as it would for them.
//! May not: decide whether somebody may edit, or record anything itself.

mod copy;
mod diff;

pub use copy::{Copied, Copy, EditCredentials, EditError};
