//! Processes that a run has left behind and that no process supervises: the supervisor has ended, and the enforcer was killed
//! before it could record them.

use std::time::Duration;

use super::{Host, HostError};
use crate::audit::{Journal, Written};
use crate::database::Durability;
use crate::session::{LostRun, abandoned, end_lost};
use jit_core::evidence::record::{Alert, Event};
use jit_core::names::RunId;

/// How long an enforcer may take to record the processes that it supervises.
const PATIENCE: Duration = Duration::from_secs(5);

impl Host {
    /// Ends such processes, and writes a record for each run. Returns the number of runs. Takes five seconds where there are any.
    ///
    /// # Errors
    /// Fails when the record cannot be written.
    pub fn end_strays(&self, journal: &Journal<'_>) -> Result<usize, HostError> {
        if self.strays(journal)?.is_empty() {
            return Ok(0);
        }
        std::thread::sleep(PATIENCE);
        let strays = self.strays(journal)?;
        for run in &strays {
            let lost = LostRun { run: run.to_string(), user: journal.user_of(run.as_str())?, since: 0 };
            let count = end_lost(&lost).processes;
            let sentence = format!("run {run} had left {count} processes without a supervisor; they were ended");
            let written = self.tell_stray(journal, run, &sentence)?;
            let _ = journal.mirror(&[written]); // the journal has it; a sink never decides
        }
        Ok(strays.len())
    }

    fn strays(&self, journal: &Journal<'_>) -> Result<Vec<RunId>, HostError> {
        let abandoned: Vec<RunId> = abandoned().into_iter().map(RunId::stored).collect();
        let known = if abandoned.is_empty() { Vec::new() } else { journal.living_runs()? };
        Ok(abandoned.into_iter().filter(|run| !known.iter().any(|known| known.run == *run)).collect())
    }

    fn tell_stray(&self, journal: &Journal<'_>, run: &RunId, sentence: &str) -> Result<Written, HostError> {
        let alert = Alert { run: Some(run.clone()), ..Alert::new("left-alone", sentence) };
        let moment = self.clocks()?;
        Ok(self.database.write(Durability::Ordered, |tx| journal.append(tx, &moment, Event::Alert(Box::new(alert))))?)
    }
}
