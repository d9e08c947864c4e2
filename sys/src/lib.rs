//! The only unsafe code of jit-sudo: the kernel and libpam, behind safe functions.
//! This room knows no domain word: no grant, no policy, no role.
//!
//! Every function here is for programs with one thread, because credentials, signal masks, limits and the environment
//! belong to the process; [`process::fork`] checks it.

mod kernel;
mod stall;

pub mod bell;
mod birth;
pub mod cgroup;
mod descendants;
pub mod exec;
pub mod limits;
pub mod lock;
pub mod machine;
pub mod pam;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod program;
pub mod pty;
pub mod random;
pub mod sanitize;
pub mod secret;
pub mod sight;
pub mod signals;
pub mod terminal;
pub mod time;
pub mod trusted;
pub mod users;

pub use sanitize::{Inherited, KernelIdentity, SanitizeError, sanitize};
pub use secret::Secret;
