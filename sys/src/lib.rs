//! The only unsafe code of jit-sudo: safe functions for the kernel and libpam. This crate knows no concepts of
//! jit-sudo: no grant, no policy, no role.
//!
//! Every function here is for programs with one thread, because credentials, signal masks, limits and the environment
//! belong to the process; [`process::fork`] checks that.

mod bpf;
mod kernel;
mod seccomp;
#[cfg(feature = "pam")]
mod stall;

pub mod access;
pub mod audit_link;
pub mod bell;
pub mod calls;
pub mod cgroup;
mod clone;
mod closable;
pub mod counted;
mod custody;
mod descendants;
pub mod descriptors;
pub mod directory;
pub mod disk;
pub mod exec;
pub mod foreign_processes;
pub mod fsuid;
pub mod handle;
pub mod held;
pub mod inherited;
pub mod interpreter;
pub mod interruption;
pub mod limits;
pub mod lock;
pub mod lookup;
pub mod machine;
pub mod marked;
pub mod memfd;
pub mod mount;
pub mod netgroup;
pub mod no_wait;
pub mod opened;
#[cfg(feature = "pam")]
pub mod pam;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod program;
pub mod programs;
pub mod pty;
pub mod random;
#[doc(hidden)]
pub mod readers;
pub mod sandbox;
pub mod sanitize;
pub mod secret;
pub mod signals;
pub mod started;
pub mod terminal;
pub mod time;
pub mod trusted;
pub mod user_path;
pub mod users;
pub mod wake_timer;

pub use sanitize::{Inherited, KernelIdentity, SanitizeError, sanitize};
pub use secret::Secret;

/// Makes a function that never returns the `main` of a program with `#![no_main]`.
///
/// Rust's runtime would read /proc/self/maps at each start to handle stack overflows, with a signal handler that
/// [`sanitize()`] removes again; ignore SIGPIPE, which [`sanitize()`] does; and open descriptors 0 to 2, which libc
/// does in setuid programs and [`sanitize()`] once more. Without it a start is 0.1 ms faster. A panic aborts.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        // SAFETY: no other symbol of a program has this name: `#![no_main]` keeps the compiler from making one, and the
        // C runtime calls it once, with one thread, in a type that it accepts (C11, 5.1.2.2.1).
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ::core::ffi::c_int {
            let main: fn() -> ! = $main;
            main()
        }
    };
}

/// Returns the system's text for an error without Rust's "(os error N)", beginning in lower case.
pub fn plain_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = plain.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
