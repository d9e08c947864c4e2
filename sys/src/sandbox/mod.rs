//! The sandbox for a process that continues while a command runs: it removes everything that the process does not need,
//! in case an attacker takes it over. Three parts: capabilities, files (Landlock) and system calls (from one table).
//!
//! Each part is set up independently. On a kernel without one of them the others still apply, and the process
//! continues: the sandbox is a second line of defence. `jitctl doctor` shows which parts this kernel has.

mod capabilities;
mod filter;
mod landlock;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

pub use capabilities::{Capability, holds};

use crate::bpf;
use crate::clone;
pub use crate::descriptors::{close_all_but, close_but, let_go};
use crate::exec::{Credentials, ExecError, Step};
use crate::random::random;

/// The kind of a process, which determines what it may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Post {
    /// Relays bytes between caller and command, and waits for the command: opens nothing.
    RelayProcess,
    /// Writes records and ends runs: opens files, and sockets of this host.
    Enforcer,
    /// Computes: reads and writes only open descriptors.
    Worker,
}

/// A path below which files can still be opened.
#[derive(Clone, Copy, Debug)]
pub enum AllowedPath<'a> {
    /// For reading.
    Read(&'a Path),
    /// For writing, and for creating and removing files.
    Write(&'a Path),
}

/// Which parts of the sandbox are in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts {
    /// No capability but the named ones.
    pub capabilities: bool,
    /// No file but below the named paths.
    pub files: bool,
    /// No system call but those of the table.
    pub calls: bool,
}

/// The files that a process may open.
#[derive(Clone, Copy, Debug)]
pub enum Files<'a> {
    /// Those that it could open before.
    Any,
    /// Those below these paths.
    Below(&'a [AllowedPath<'a>]),
}

/// The lowest of the million user ids among which [`become_nobody`] chooses. No distribution assigns them.
const NOBODIES: u32 = 0xfff0_0000;

/// The kernel's overflow id, "nobody".
const NOBODY: u32 = 65534;

/// Becomes, for good, a user and group that own no file and have no other process, so that nobody but root can signal, stop or trace
/// this process. The id is chosen at random; where the user namespace has no such ids, it is 65534, which other programs may use too.
/// For root.
///
/// # Errors
/// As [`Credentials::assume`].
pub fn become_nobody() -> Result<(), ExecError> {
    let id = random().map_or(NOBODY, |bytes: [u8; 4]| NOBODIES | u32::from_le_bytes(bytes) & 0xf_fffe);
    let become_one = |id| Credentials { uid: id, gid: id, groups: vec![id] }.assume();
    match become_one(id) {
        Err(ExecError { step: Step::Groups, errno: libc::EINVAL }) => become_one(NOBODY),
        done => done,
    }
}

/// Confines this process and its future children, for good. For a process that executes no other program. Returns the
/// parts that are in force.
pub fn confine(post: Post, kept: &[Capability], files: Files<'_>) -> Parts {
    // Without CAP_SYS_ADMIN the kernel requires it first; with it, it restricts nothing for a process that executes
    // nothing. SAFETY: this prctl takes integers only.
    let _ = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let files = match files {
        Files::Any => Ok(()),
        Files::Below(grounds) => landlock::restrict(grounds),
    };
    let capabilities = capabilities::keep(kept);
    // Last, because it denies calls that the other parts need.
    let calls = filter::filter(post).and_then(|mut filter| bpf::set(&mut filter));
    if calls.is_ok() {
        clone::deny();
    }
    Parts { capabilities: capabilities.is_ok(), files: files.is_ok(), calls: calls.is_ok() }
}

/// Returns the version of this kernel's Landlock.
///
/// # Errors
/// When the kernel has none.
pub fn landlock_version() -> io::Result<i64> {
    landlock::version()
}
