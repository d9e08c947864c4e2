//! A process of which a pidfd is open.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::descendants::send_along;
use crate::process::{Pid, open_process};

/// A process, opened while it is known which one it is. To signal it, nothing looks up a path: any user can make the look-ups in the
/// directory of a process in `/proc` wait for ever. No later process with the same pid is meant.
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Opens a process. Call it for a child that is not reaped, or check afterwards that the pid still belongs to the process.
    ///
    /// # Errors
    /// `ESRCH` when the process does not exist; `ENOSYS` on kernels without pidfds.
    pub fn open(pid: Pid) -> io::Result<Self> {
        open_process(pid).map(Self)
    }

    /// Sends a signal to exactly this process.
    ///
    /// # Errors
    /// `ESRCH` when it does not exist any more.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        send_along(&self.0, signal)
    }
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
