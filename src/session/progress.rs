//! What a process has done to a run, and the reports of it to the watchdog of the run.

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::hold::{Purpose, RunHandles};
use super::watchdog::{Deed, Watchdog};
use sys::process::Pid;

/// How long a supervisor whose enforcer is late only holds the run, before it kills what the watchdog has not killed by then.
const HELD_FOR: Duration = Duration::from_secs(7);

/// What this process has done to a run, of which its watchdog is told.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last hold, unless the run was thawed.
    hold: Cell<Option<Purpose>>,
    watchdog: RefCell<Option<Watchdog>>,
    /// Another process reports.
    is_handed_over: Cell<bool>,
    /// The watchdog has killed the run.
    was_killed: Cell<bool>,
    /// Since when the enforcer is late.
    late: OnceCell<Instant>,
}

impl Progress {
    /// From now on this watchdog is told.
    pub(super) fn tell(&self, watchdog: Watchdog) {
        let _ = self.watchdog.replace(Some(watchdog)); // there is none before
    }

    /// Whether there is a watchdog.
    pub(super) fn is_watched(&self) -> bool {
        self.watchdog.borrow().is_some()
    }

    /// Returns the watchdog that this process has started, and the socket to it.
    pub(super) fn watchdog(&self) -> Option<(Pid, Rc<OwnedFd>)> {
        self.watchdog.borrow().as_ref().and_then(|watchdog| Some((watchdog.pid()?, watchdog.line())))
    }

    /// Reaps a watchdog that has ended.
    pub(super) fn bury_watchdog(&self) {
        let has_ended = self.watchdog.borrow().as_ref().is_some_and(Watchdog::has_ended);
        if has_ended {
            let _ = self.watchdog.take();
        }
    }

    /// From now on the enforcer reports.
    pub(super) fn hand_over(&self) {
        self.is_handed_over.set(true);
        self.watchdog.borrow().iter().for_each(Watchdog::hand_over);
    }

    /// The enforcer is gone, and this process reports again.
    pub(super) fn take_back(&self) {
        self.is_handed_over.set(false);
    }

    /// Lets the watchdog end, because the run is over, unless another process does that.
    pub(super) fn relieve(&self) {
        if self.is_handed_over.get() {
            return;
        }
        let _ = self.was_killed();
        self.watchdog.take().iter().for_each(Watchdog::relieve);
    }

    /// Whether the watchdog has killed the run.
    pub(super) fn was_killed(&self) -> bool {
        while let Some(deed) = self.watchdog.borrow().as_ref().and_then(Watchdog::deed) {
            self.was_killed.set(self.was_killed.get() || deed == Deed::Killed);
        }
        self.was_killed.get()
    }

    /// Whether this process had to kill the run because the enforcer was late.
    pub(super) fn was_late(&self) -> bool {
        self.late.get().is_some_and(|since| since.elapsed() >= HELD_FOR)
    }

    /// Records the hold, or with `None` that the run goes on; then reports as [`Self::report`] does.
    pub(super) fn did(&self, hold: Option<Purpose>, handles: RunHandles<'_>) {
        self.hold.set(hold);
        self.report(handles);
    }

    /// Records that the run goes on, unless it is being ended.
    pub(super) fn thawed(&self) {
        if self.hold.get() == Some(Purpose::Freeze) {
            self.hold.set(None);
        }
    }

    /// Reports that this process makes progress, unless another one reports. Thaws a run that the watchdog has frozen because it heard
    /// nothing.
    pub(super) fn report(&self, handles: RunHandles<'_>) {
        if self.is_handed_over.get() {
            return;
        }
        let watchdog = self.watchdog.borrow();
        let Some(watchdog) = watchdog.as_ref() else { return };
        watchdog.report(matches!(self.hold.get(), Some(Purpose::Terminate | Purpose::Kill)));
        let mut has_frozen = false;
        while let Some(deed) = watchdog.deed() {
            match deed {
                Deed::Froze => has_frozen = true,
                Deed::Killed => self.was_killed.set(true),
            }
        }
        if has_frozen && self.hold.get().is_none() {
            handles.thaw();
        }
    }

    /// Returns for how many times [`HELD_FOR`] the enforcer has been late.
    pub(super) fn late(&self) -> u64 {
        self.late.get_or_init(Instant::now).elapsed().as_secs() / HELD_FOR.as_secs()
    }
}
