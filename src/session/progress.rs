//! What a process has done to a run, and the reports of it to the watchdog of the run.

use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};

use super::hold::{Purpose, RunHandles};
use super::watchdog::Watchdog;

/// How long a supervisor whose enforcer is late only holds the run, before it kills what the watchdog has not killed by then.
const HELD_FOR: Duration = Duration::from_secs(7);

/// What this process has done to a run, of which its watchdog is told.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last hold, unless the run was thawed.
    hold: Cell<Option<Purpose>>,
    watchdog: OnceCell<Watchdog>,
    /// Since when the enforcer is late.
    late: OnceCell<Instant>,
}

impl Progress {
    /// From now on this watchdog is told.
    pub(super) fn tell(&self, watchdog: Watchdog) {
        let _ = self.watchdog.set(watchdog); // there is none before
    }

    /// Records the hold, or with `None` that the run goes on; then reports as [`Self::report`] does.
    pub(super) fn did(&self, hold: Option<Purpose>, handles: RunHandles<'_>) {
        self.hold.set(hold);
        self.report(handles);
    }

    /// Reports that this process makes progress. Thaws a run that the watchdog has frozen because it heard nothing.
    pub(super) fn report(&self, handles: RunHandles<'_>) {
        let Some(watchdog) = self.watchdog.get() else { return };
        watchdog.report(matches!(self.hold.get(), Some(Purpose::Terminate | Purpose::Kill)));
        if watchdog.has_frozen() && self.hold.get().is_none() {
            handles.thaw();
        }
    }

    /// Returns for how many times [`HELD_FOR`] the enforcer has been late.
    pub(super) fn late(&self) -> u64 {
        self.late.get_or_init(Instant::now).elapsed().as_secs() / HELD_FOR.as_secs()
    }
}
