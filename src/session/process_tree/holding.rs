//! How a run is held, and watched by a watchdog, before anything about its processes is looked up.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::ProcessTree;
use crate::programs::UNBORN;
use crate::session::hold::{Held, Purpose, RunHandles};
use crate::session::known::Known;
use crate::session::lost::{LostRun, end_lost};
use crate::session::run_groups::refuge;
use crate::session::watchdog::Watchdog;
use sys::cgroup::Cgroup;
use sys::handle::ProcessHandle;
use sys::process::{Earlier, Pid, process_start, signal_if};
use sys::procfs::{name_of, status};
use sys::signals::SIGKILL;

/// A command that runs this long gets a watchdog, which costs a tenth of a millisecond.
const UNWATCHED: Duration = Duration::from_millis(3);

/// How long after the grace period the watchdog of a dead supervisor waits for the process that ends the run.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

impl ProcessTree {
    /// Records that the command was started: the watchdog is due in [`UNWATCHED`].
    pub(in crate::session) fn begins(&self) {
        self.watched_from.set(Some(Instant::now() + UNWATCHED));
    }

    /// Returns when the watchdog is to be started; `None` when it was, or could not be.
    pub(in crate::session) fn watched_from(&self) -> Option<Instant> {
        self.watched_from.get()
    }

    /// Starts the watchdog of the run that this process supervises, unless it was started. It ends the run when this process is killed,
    /// stopped or stuck, and stays when the run is handed over. If a subreaper or monitor ends the run of a dead supervisor, the
    /// watchdog waits for that, at most `grace`. Returns whether it was started now; false too as long as nothing is known that it could
    /// kill. Looks up nothing before the watchdog exists, but in directories that only root may list.
    pub(in crate::session) fn post_watchdog(&self, grace: Duration) -> io::Result<bool> {
        if self.progress.is_watched() || self.handles().is_empty() {
            return Ok(false);
        }
        self.watched_from.set(None);
        let (group, own, command) = (self.group.as_ref().map(Cgroup::path), Known::of(Pid::own())?, self.command());
        let since = process_start(Pid::own())?; // known since the start record
        let is_ended_by_parent = self.parent.get().is_some();
        let watchdog = Watchdog::of_supervisor(refuge().as_ref(), self.handles(), self.status.as_ref(), || {
            if is_ended_by_parent {
                std::thread::sleep(grace + ENDED_WITHIN);
                return self.handles().kill();
            }
            // Before this process looks up anything.
            let _ = self.handles().hold(Purpose::Terminate);
            let watchdog = Watchdog::start(self.handles()).inspect(|watchdog| watchdog.report(true));
            let process_tree = Self::of(own, command, group, Rc::clone(&self.ours));
            let _ = watchdog.map(|watchdog| process_tree.progress.tell(watchdog)); // as in `take_watchdog`
            // The watchdog has closed the files of the supervisor.
            process_tree.spare_earlier(Earlier::with(self.earlier.borrow().numbers()));
            self.handles().thaw(); // `terminate` treats a frozen run otherwise, and freezes it at once
            process_tree.terminate();
            process_tree.end_leftovers(Instant::now());
            let _ = end_lost(&LostRun { run: self.run.clone(), user: None, since }); // whoever closes the run writes the record
        })?;
        let _ = watchdog.pid().map(|pid| self.spare(pid));
        self.progress.tell(watchdog);
        self.progress.report(self.handles());
        Ok(true)
    }

    /// Returns the watchdog that this process has started, and the socket to it.
    pub(in crate::session) fn watchdog(&self) -> Option<(Pid, Rc<OwnedFd>)> {
        self.progress.watchdog()
    }

    /// Reaps a watchdog that has ended.
    pub(in crate::session) fn bury_watchdog(&self) {
        self.progress.bury_watchdog();
    }

    /// Lets the watchdog end, because no process of the run is left, unless the enforcer does that.
    pub(in crate::session) fn relieve_watchdog(&self) {
        self.progress.relieve();
    }

    /// Whether the watchdog has killed the run, as far as it has told this process, or this process has, because the enforcer was late.
    pub(in crate::session) fn was_killed(&self) -> bool {
        self.progress.was_late() || self.progress.was_killed()
    }

    /// Records that the enforcer is gone: this process reports to the watchdog again.
    pub(in crate::session) fn take_back_watch(&self) {
        self.progress.take_back();
    }

    /// Connects to the watchdog of the run by `line`; where the run has none, starts one. Call [`Self::keep_up`] or an end at least once
    /// a second from then on.
    pub(in crate::session) fn take_watchdog(&self, line: Option<OwnedFd>) {
        if let (None, Some(command)) = (&self.group, self.command()) {
            // Opened before the check, so that the pid cannot be reused between the two.
            let opened = ProcessHandle::open(command).ok().filter(|_| self.is_command(command));
            let _ = opened.map(|handle| self.command_handle.set(handle));
        }
        let watchdog = line.map_or_else(|| Watchdog::start(self.handles()), |line| Ok(Watchdog::inherited(line)));
        // When none can be started, no other process can be, and the supervisor ends the run.
        let _ = watchdog.map(|watchdog| self.progress.tell(watchdog));
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
