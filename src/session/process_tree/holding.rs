//! How a run is held, and watched by a watchdog, before anything about its processes is looked up.

use super::ProcessTree;
use crate::programs::UNBORN;
use crate::session::hold::{Held, Purpose, RunHandles};
use crate::session::watchdog::Watchdog;
use sys::cgroup::Cgroup;
use sys::handle::ProcessHandle;
use sys::process::{Pid, signal_if};
use sys::procfs::{name_of, status};
use sys::signals::SIGKILL;

impl ProcessTree {
    /// Starts a process that kills the processes when this one makes no progress. Call [`Self::keep_up`] or an end at least once a
    /// second from then on.
    pub(in crate::session) fn start_watchdog(&self) {
        if let (None, Some(command)) = (&self.group, self.command()) {
            // Opened before the check, so that the pid cannot be reused between the two.
            let opened = ProcessHandle::open(command).ok().filter(|_| self.is_command(command));
            let _ = opened.map(|handle| self.command_handle.set(handle));
        }
        // When none can be started, no other process can be, and the supervisor ends the run.
        let _ = Watchdog::start(self.handles()).map(|watchdog| self.progress.tell(watchdog));
    }

    /// Opens the command, a child of ours or of the process that started it, which has not ended.
    pub(super) fn open_command(&self, command: Pid) {
        if self.group.is_none() {
            // Without pidfds the command is found as a descendant.
            let _ = ProcessHandle::open(command).map(|handle| self.command_handle.set(handle));
        }
    }

    /// Whether this pid belongs to the process that was started to execute the command.
    fn is_command(&self, command: Pid) -> bool {
        match &self.group {
            Some(group) => group.holds(command),
            None => self.root().is_some_and(|root| status(command).is_ok_and(|status| status.parent == root.raw())),
        }
    }

    pub(super) fn handles(&self) -> RunHandles<'_> {
        RunHandles::of(self.group.as_ref(), self.command_handle.get())
    }

    /// Does what needs no look-up of a path, and tells the watchdog.
    pub(super) fn hold(&self, purpose: Purpose) -> Held {
        let held = self.handles().hold(purpose);
        self.progress.did(Some(purpose), self.handles());
        held
    }

    /// Kills the process that was started to execute the command, if it has not done so. No milder end is possible: the command may
    /// ignore SIGTERM from its first moment on, and a process that was stopped before the exec would begin by SIGCONT.
    pub(super) fn kill_unborn(&self, _: Held) {
        let Some(command) = self.command() else { return };
        let is_unborn = || name_of(command).is_some_and(|name| name == UNBORN.as_bytes()) && self.is_command(command);
        let _ = signal_if(command, SIGKILL, &is_unborn); // it may have ended
    }

    /// Holds the processes for an enforcer that is late, and kills them in the end, our own programs too. Looks up nothing in
    /// /proc: what the enforcer waits for may be such a look-up. Returns false where there is no group, when no process of it lives, and
    /// when even this had no effect.
    pub(in crate::session) fn hold_for_enforcer(&self) -> bool {
        let late = self.progress.late();
        let _ = self.hold(Purpose::Kill);
        if late > 0 {
            self.handles().kill();
        }
        self.group.as_ref().is_some_and(Cgroup::is_populated) && late < 2
    }
}
