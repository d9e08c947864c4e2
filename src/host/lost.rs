//! Closes runs whose supervisor has died.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::overdue::end_overdue_apart;
use super::supervisors::{is_alive, signal_supervisor};
use super::{Host, HostError};
use crate::audit::{Journal, OpenRun, Phase, Supervisor, Sweep, is_one_lost};
use crate::programs::start_enforcer;
use crate::session::{Ended, LostRun, end_lost, give_up_stopped, refuge};
use jit_core::clock::Moment;
use sys::process::Pid;
use sys::signals::SIGKILL;

/// The command that tells the enforcer to close some lost runs, and nothing else.
pub const CLOSE: &[u8] = b"close";

/// How long a killed supervisor may take to end, and how often that is checked.
const DIES_WITHIN: Duration = Duration::from_secs(1);
const ROUND: Duration = Duration::from_millis(5);

/// Returns what is known about the processes of a run without a supervisor.
fn lost(journal: &Journal<'_>, run: &OpenRun) -> LostRun {
    // What a finished command has left is older than the process that supervised it last.
    let process = run.supervisor.process;
    // In another time namespace the kernel reports other start times.
    let since = if run.phase == Phase::Running && process.is_within_reach() { process.start } else { 0 };
    // If the user is unknown, processes of all users are searched.
    let user = journal.user_of(run.run.as_str()).unwrap_or_default();
    LostRun { run: run.run.to_string(), user, since }
}

/// What was closed because its supervisor or enforcer had died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Runs that were closed.
    pub runs: usize,
    /// Finished runs whose remaining processes were ended.
    pub left: usize,
}

impl Host {
    /// Closes some of the runs whose supervisor has died: a few at a time, and eventually every one.
    pub fn close_some_lost(&self, journal: &Journal<'_>) -> Result<(), HostError> {
        self.close_lost(journal, &self.clocks()?, Sweep::Sample, &give_up_stopped, &end_lost).map(drop)
    }

    /// Has another process do that to these runs, if it is needed, and does not wait. It searches the processes of all users, and no
    /// process that ends a run in time, or for which a user waits, may depend on that. It ends overdue runs too.
    pub fn close_lost_apart(&self, journal: &Journal<'_>, open: &[OpenRun]) {
        let Ok(moment) = self.clocks() else { return };
        if open.is_empty() {
            return;
        }
        if is_one_lost(open, &|supervisor| is_alive(supervisor, &moment)) {
            let _ = start_enforcer(CLOSE, refuge().as_ref()); // otherwise a later run does
        }
        if Self::may_look_for_overdue() && open.iter().any(|run| self.must_end(journal, run, &moment).is_some()) {
            end_overdue_apart();
        }
    }

    /// Closes every run whose supervisor has died, for callers that list what really runs.
    pub fn close_every_lost(&self, journal: &Journal<'_>) -> Result<Closed, HostError> {
        self.close_lost(journal, &self.clocks()?, Sweep::All, &give_up_stopped, &end_lost)
    }

    /// Does the same for a process that may not see the remaining processes, and asks another one to end them.
    pub fn close_every_lost_by(
        &self,
        journal: &Journal<'_>,
        end: &dyn Fn(&LostRun) -> Ended,
    ) -> Result<Closed, HostError> {
        self.close_lost(journal, &self.clocks()?, Sweep::All, &|_| false, end)
    }

    /// Ends a run at once, without a record: kills its supervisor, and what the run has left then. A process that finds the run
    /// without a supervisor closes it as lost, as soon as the journal can be written.
    pub fn end_now(&self, journal: &Journal<'_>, run: &OpenRun) {
        let Ok(moment) = self.clocks() else { return };
        let lives = || is_alive(&run.supervisor, &moment);
        let _ = signal_supervisor(&run.supervisor, SIGKILL, &moment); // it may have ended
        let deadline = Instant::now() + DIES_WITHIN;
        while lives() && Instant::now() < deadline {
            std::thread::sleep(ROUND);
        }
        // A reboot has ended the processes of an earlier boot.
        if run.supervisor.boot_id == moment.boot_id {
            let _ = end_lost(&lost(journal, run));
        }
    }

    pub(super) fn close_lost(
        &self,
        journal: &Journal<'_>,
        moment: &Moment,
        sweep: Sweep,
        is_given_up: &dyn Fn(Pid) -> bool,
        end: &dyn Fn(&LostRun) -> Ended,
    ) -> Result<Closed, HostError> {
        let alive = |supervisor: &Supervisor| {
            let is_given_up = || supervisor.process.pid_within_reach().is_some_and(is_given_up);
            is_alive(supervisor, moment) && !is_given_up()
        };
        let silent = Cell::new(0);
        let end = |run: &OpenRun| {
            // A reboot has ended the processes of an earlier boot.
            if run.supervisor.boot_id != moment.boot_id {
                return 0;
            }
            let ended = end(&lost(journal, run));
            silent.set(silent.get() + ended.silent);
            ended.processes
        };
        let mut closed = journal.close_lost(moment, sweep, &alive, &end)?;
        let runs = closed.len();
        if sweep == Sweep::All {
            closed.extend(journal.close_lost_left(moment, &alive, &end)?);
        }
        let _ = journal.mirror(&closed); // the journal has them; a sink never decides
        if silent.get() > 0 {
            let which =
                "did not show in time whether they belong to a run whose supervisor has died, and were not ended";
            self.alert(&format!("{} processes {which}", silent.get()));
        }
        Ok(Closed { runs, left: closed.len() - runs })
    }
}
