//! Runs whose supervisor was killed: they are closed as lost by a later run, or by the sweep.

use super::error::JournalError;
use super::journal::{Journal, Written};
use super::open_run::{OpenRun, Phase, Supervisor, close, is_open, rows, those_in, unknown};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::escape::Word;
use jit_core::evidence::record::{End, EndedBy, Event, RunOutcome};
use sys::process::Pid;
use sys::started::learn_starts;

/// The number of rows that one ordinary run examines to find lost runs, at most twice.
pub(super) const SAMPLE: u32 = 8;

/// How thoroughly to look for runs whose supervisor is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// All open runs while they are few, else a sample: the extent of the check in each run.
    Sample,
    /// All open runs.
    All,
}

impl Journal<'_> {
    /// Closes open runs whose supervisor is not `alive` any more, as lost, after `end` has ended the remaining processes of each
    /// and returned their number. Costs one small SELECT when there are none.
    pub fn close_lost(
        &self,
        moment: &Moment,
        sweep: Sweep,
        alive: &dyn Fn(&Supervisor) -> bool,
        end: &dyn Fn(&OpenRun) -> usize,
    ) -> Result<Vec<Written>, JournalError> {
        let open = match sweep {
            Sweep::All => self.open_runs()?,
            Sweep::Sample => self.sample_of_open_runs(moment)?,
        };
        learn(&open);
        let lost: Vec<OpenRun> = open.into_iter().filter(|run| !alive(&run.supervisor)).collect();
        // Processes are ended before the row is closed, because closed runs are not examined again. A row that has no `start`
        // record was not written by a run: no process is ended for it, and no `end` is recorded.
        let ends = |run: OpenRun| {
            let is_open = is_open(self.database.connection(), &run)?;
            let left = is_open.then(|| end(&run));
            Ok((run, left))
        };
        let lost: Vec<(OpenRun, Option<usize>)> = lost.into_iter().map(ends).collect::<Result<_, JournalError>>()?;
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Ordered, |transaction| {
            let mut written = Vec::with_capacity(lost.len());
            for (run, left) in lost {
                // Another process may have closed the run meanwhile, and may supervise what it left.
                if close(transaction, run.which(), run.phase)? {
                    let Some(left) = left else {
                        written.push(self.append(transaction, moment, unknown(&run))?);
                        continue;
                    };
                    let ending = RunOutcome { detail: ended(left), ..RunOutcome::unknown(EndedBy::Lost) };
                    let end = End { run: run.run, start: run.start, uid: run.uid, grant: run.grant, ending };
                    written.push(self.append(transaction, moment, Event::End(Box::new(end)))?);
                }
            }
            Ok(written)
        })
    }

    /// Returns the open runs that [`Sweep::Sample`] examines, except those of this process. Looks up nothing in /proc.
    pub fn others_open(&self, moment: &Moment) -> Result<Vec<OpenRun>, JournalError> {
        let own = Pid::own().raw();
        let mut others = self.sample_of_open_runs(moment)?;
        others.retain(|run| run.supervisor.process.pid != own);
        Ok(others)
    }

    /// Returns all open runs while there are few rows; else some of the oldest and some from a position that moves with the time.
    fn sample_of_open_runs(&self, moment: &Moment) -> Result<Vec<OpenRun>, JournalError> {
        let connection = self.database.connection();
        let mut sample = rows(connection, 0, Some(2 * SAMPLE + 1))?;
        if sample.len() > 2 * SAMPLE as usize {
            sample.truncate(SAMPLE as usize);
            let bounds = "SELECT (SELECT min(start) FROM open_run), (SELECT max(start) FROM open_run)";
            let (first, last): (i64, i64) = connection.query_row(bounds, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let pivot = first.saturating_add(moment.wall.0.rem_euclid(last.saturating_sub(first).max(1)));
            sample.extend(rows(connection, pivot, Some(SAMPLE))?);
        }
        // Not a condition of the query, which would then skip any number of rows of the other phase.
        Ok(those_in(Phase::Running, sample))
    }
}

/// Whether the supervisor of one of these runs is not `alive` any more.
pub fn is_one_lost(open: &[OpenRun], alive: &dyn Fn(&Supervisor) -> bool) -> bool {
    learn(open);
    open.iter().any(|run| !alive(&run.supervisor))
}

/// Reads at once what tells whether the supervisors of these runs live.
fn learn(open: &[OpenRun]) {
    learn_starts(open.iter().filter_map(|run| run.supervisor.process.pid_within_reach()));
}

/// Returns what the record of a lost run says of its remaining processes.
fn ended(left: usize) -> Option<Word> {
    let words = match left {
        0 => return None,
        1 => "1 process of it was still running and was killed".to_owned(),
        more => format!("{more} processes of it were still running and were killed"),
    };
    Some(Word::from(words.as_str()))
}
