//! Processes that are known by their pid and a number that no later process has: those of ours, and those that are spared with a run.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use sys::process::{self, Pid};
use sys::procfs::lives;
use sys::signals::{SIGCONT, SIGTERM};

/// A process of ours, identified by its pid and a number, because the pid may be reused. Since Linux 6.9 no path is looked up for
/// that, so that no user can make it wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pid: i32,
    number: u64,
}

impl Known {
    /// Identifies a live process of ours.
    ///
    /// # Errors
    /// Fails when the process does not exist.
    pub fn of(pid: Pid) -> std::io::Result<Self> {
        Ok(Self { pid: pid.raw(), number: process::identity(pid)? })
    }

    /// Returns a pidfd, which is readable when the process has ended. Returns `None` when it has ended already and on kernels
    /// without pidfds.
    pub fn line(self) -> Option<OwnedFd> {
        // Opened before the check, so that the pid cannot be reused between the two.
        let line = Pid::new(self.pid).and_then(|pid| process::open_process(pid).ok());
        line.filter(|_| self.pid().is_some_and(lives))
    }

    /// Returns the pid, as long as it still belongs to this process.
    pub fn pid(self) -> Option<Pid> {
        Pid::new(self.pid).filter(|pid| process::identity(*pid).is_ok_and(|number| number == self.number))
    }
}

/// A process of ours that is not part of the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spared {
    pub(super) who: Known,
    /// Whether the other processes of its session are spared too.
    pub(super) session: bool,
}

impl Spared {
    pub(super) fn is(&self, pid: Pid) -> bool {
        self.who.pid == pid.raw() && self.who.pid().is_some()
    }

    pub(super) fn covers(&self, pid: Pid) -> bool {
        let leads = || self.session && process::session_of(pid).is_some_and(|leader| leader.raw() == self.who.pid);
        (self.who.pid == pid.raw() || leads()) && self.who.pid().is_some()
    }
}

/// Tells a supervisor to end its run, or not to begin it.
pub(super) fn tell_to_end(supervisor: Pid) {
    for signal in [SIGTERM, SIGCONT] {
        let _ = process::kill(supervisor, signal); // it may have ended
    }
}
