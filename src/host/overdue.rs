//! Runs that had to end and did not: the process that ends them is kept from it, and so is the watchdog, or it was killed. Who kills,
//! revokes, sweeps or runs a command later ends them without it. Only the groups of runs are looked up, which only root may list.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Host, HostError};
use crate::audit::{Journal, OpenRun, Phase};
use crate::database::Durability;
use crate::programs::start_enforcer;
use crate::session::{end_group_of, refuge};
use jit_core::clock::Moment;
use jit_core::evidence::record::{Act, Alert, Event};
use jit_core::grant::GrantTerms;
use jit_core::grant::extension::extends;
use jit_core::grant::lifecycle::GrantEnd;
use jit_core::places::STATE;
use jit_core::policy::{Leftovers, OnExpiry};
use sys::lock::{Locked, open};

/// The command that tells the enforcer to end overdue runs, and nothing else.
pub const OVERDUE: &[u8] = b"overdue";

/// The file whose lock the process holds that does it. Its time of modification is that of the last look by a run.
const TURN: &str = "overdue-runs";

/// How long one that finds another at work waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(60);

/// How long after its grace period a run is overdue: longer than the silence that the watchdog bears.
const LATE: Duration = Duration::from_secs(8);

/// A run has another one looked for overdue runs at most once in this time.
const EVERY: Duration = Duration::from_secs(10);

/// How many extensions of a grant follow each other at most.
const EXTENSIONS: u32 = 64;

/// Has another process end the runs that are overdue, or will be soon, and does not wait.
pub fn end_overdue_apart() {
    let _ = start_enforcer(OVERDUE, refuge().as_ref()); // otherwise a later run does
}

fn turn() -> PathBuf {
    Path::new(STATE).join(TURN)
}

impl Host {
    /// Whether no process has looked for overdue runs a moment ago. If none has, this one counts as looking now.
    pub(super) fn may_look_for_overdue() -> bool {
        let turn = turn();
        let looked = std::fs::metadata(&turn).and_then(|file| file.modified());
        let now = SystemTime::now();
        let may = looked.map_or(true, |looked| now.duration_since(looked).map_or(true, |since| since > EVERY));
        if may {
            let _ = open(&turn).and_then(|file| file.set_modified(now)); // otherwise others look too
        }
        may
    }

    /// Returns why a run must end, if it must. Where this is not certain, as when the database fails, its own watch decides.
    pub(super) fn must_end(&self, journal: &Journal<'_>, run: &OpenRun, moment: &Moment) -> Option<&'static str> {
        if run.supervisor.boot_id != moment.boot_id {
            return None;
        }
        let wish = journal.wish_for(run.run.as_str()).ok()?;
        if wish.is_some_and(|wish| wish.act == Act::Kill) {
            return Some("its session was to be ended");
        }
        let id = run.grant.as_ref()?;
        match self.store().end_of(id).ok()? {
            Some(GrantEnd::Revoked) => return Some("its grant was revoked"),
            Some(GrantEnd::Released) => return Some("its grant was released"),
            Some(GrantEnd::Used) | None => {}
        }
        let terms = self.store().grant(id).ok()??.terms;
        let role = self.store().role(&terms.role_digest)?;
        let is_ended =
            role.on_expiry == OnExpiry::Terminate && (run.phase == Phase::Running || role.leftovers != Leftovers::Keep);
        (is_ended && self.has_expired(&terms, run.run.as_str(), moment, EXTENSIONS)?).then_some("its grant has expired")
    }

    /// Whether a grant and its extensions have expired; `None` where that is not certain.
    fn has_expired(&self, terms: &GrantTerms, run: &str, moment: &Moment, depth: u32) -> Option<bool> {
        if !terms.left(moment).is_zero() || depth == 0 {
            return Some(false);
        }
        let key = self.record_public_identity().ok()?.key;
        for signed in self.store().extensions(&terms.id, run).ok()? {
            let Some(extension) = extends(&signed, terms, &key) else { continue };
            if !self.has_expired(&extension, run, moment, depth - 1)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn due_runs(&self, journal: &Journal<'_>) -> Result<Vec<OpenRun>, HostError> {
        let moment = self.clocks()?;
        let mut runs = journal.living_runs()?;
        runs.retain(|run| self.must_end(journal, run, &moment).is_some());
        Ok(runs)
    }

    /// Waits until runs that must end are overdue, kills the groups of those that have not ended by then, and records that.
    ///
    /// # Errors
    /// Fails when the database cannot be read or written.
    pub fn end_overdue(&self, journal: &Journal<'_>, grace: Duration) -> Result<(), HostError> {
        let Ok(turn) = Locked::at(&turn(), TURN_WITHIN) else { return Ok(()) };
        let due = self.due_runs(journal)?;
        if due.is_empty() {
            return Ok(());
        }
        std::thread::sleep(grace + LATE);
        let moment = self.clocks()?;
        for run in journal.living_runs()?.iter().filter(|run| due.iter().any(|due| due.which() == run.which())) {
            let Some(why) = self.must_end(journal, run, &moment) else { continue };
            if !end_group_of(run.run.as_str()) {
                continue;
            }
            let sentence = format!("run {} had not ended although {why}; its processes were killed", run.run);
            let alert = Alert { run: Some(run.run.clone()), ..Alert::new("overdue", sentence.as_str()) };
            let append = |tx: &rusqlite::Transaction<'_>| journal.append(tx, &moment, Event::Alert(Box::new(alert)));
            match self.database.write(Durability::Ordered, append) {
                Ok(written) => drop(journal.mirror(&[written])), // the journal has it; a sink never decides
                Err(error) => self.alert(&format!("{sentence}, and this cannot be recorded: {error}")),
            }
        }
        drop(turn);
        Ok(())
    }
}
