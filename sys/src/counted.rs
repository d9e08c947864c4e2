//! Makes the kernel count a privileged process among those of a user for a while.

use std::io;

use crate::kernel::check;

/// Runs `act` while the kernel counts this process among those of `uid` (RLIMIT_NPROC, getrlimit(2)), by its real user
/// id. Meanwhile that user may also stop and kill it, so the caller must hold nothing that another process could wait
/// for. For root.
///
/// # Errors
/// When the ids cannot be changed, or not changed back: then the process must not go on.
pub fn counted_as<T>(uid: u32, act: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: takes integers; the effective and the saved id stay root's.
    check(unsafe { libc::setresuid(uid, 0, 0) })?;
    let done = act();
    // SAFETY: takes integers.
    check(unsafe { libc::setresuid(0, 0, 0) })?;
    Ok(done)
}
