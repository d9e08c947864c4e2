//! A privileged process that the kernel counts among those of a user for a while.

use std::io;

use crate::kernel::check;

/// Does `act` while this process is counted among those of `uid` (RLIMIT_NPROC, getrlimit(2)), by its real user id. Meanwhile
/// that user may also stop and kill it, so nothing may be held that somebody else could wait for. For root.
///
/// # Errors
/// When the ids cannot be changed, or not changed back: then nothing should go on.
pub fn counted_as<T>(uid: u32, act: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: takes integers; the effective and the saved id stay root's.
    check(unsafe { libc::setresuid(uid, 0, 0) })?;
    let done = act();
    // SAFETY: takes integers.
    check(unsafe { libc::setresuid(0, 0, 0) })?;
    Ok(done)
}
