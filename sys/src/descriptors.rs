//! The open descriptors of this process: lists them, and closes all but some (close_range(2)).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::kernel::check;

/// Returns the descriptors from 3 on, without the one that reads the list.
pub(crate) fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let mut descriptors = Vec::new();
    // Since Linux 6.2 the size of the directory is the number of open descriptors (proc_pid_fd(5)); before, it is 0.
    if fs::metadata("/proc/self/fd")?.len() == 3 && (0..3).all(is_open) {
        return Ok(descriptors);
    }
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        descriptors.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()).filter(|fd| *fd > 2));
    }
    descriptors.retain(|fd| is_open(*fd)); // the directory was closed when the loop ended
    Ok(descriptors)
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes nothing.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok()
}

/// Returns the standard output of this process, and gives it its standard error in its place.
///
/// # Errors
/// Any error of dup(2).
pub fn take_standard_output() -> io::Result<OwnedFd> {
    let taken = io::stdout().as_fd().try_clone_to_owned()?;
    // SAFETY: both are standard streams, which no value owns.
    check(unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) })?;
    Ok(taken)
}

/// Closes every descriptor from 3 on but `kept`, in a forked process that uses no other, and that ends without dropping
/// what its parent had open ([`exit_now`](crate::process::exit_now)).
///
/// # Errors
/// When the descriptors of this process cannot be listed on a kernel before 5.9.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    close_from_but(3, kept)
}

/// Closes every descriptor but `kept`, the standard streams included: for a process that reads and writes nothing else.
///
/// # Errors
/// As [`close_all_but`].
pub fn close_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    close_from_but(0, kept)
}

fn close_from_but(mut first: u32, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    for fd in kept.into_iter().filter(|fd| *fd >= first).collect::<Vec<_>>().into_iter().map(Some).chain([None]) {
        let last = fd.map_or(u32::MAX, |fd| fd - 1);
        if first <= last {
            close_from_to(first, last)?;
        }
        first = fd.map_or(u32::MAX, |fd| fd + 1);
    }
    Ok(())
}

/// Closes every descriptor below 65,536, inside the sandbox, in a process that only waits from now on, and that ends as
/// after [`close_all_but`].
pub fn let_go() {
    for fd in 0..1 << 16 {
        // SAFETY: as in `close_from_to`. close_range(2) would do it in one call, but the sandbox denies it.
        unsafe { libc::close(fd) };
    }
}

fn close_from_to(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: takes integers. The owner of such a descriptor never uses or drops it again, as `close_all_but` requires.
    match check(unsafe { libc::close_range(first, last, 0) }) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            for fd in open_descriptors()? {
                if u32::try_from(fd).is_ok_and(|fd| (first..=last).contains(&fd)) {
                    // SAFETY: as above.
                    unsafe { libc::close(fd) };
                }
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}
