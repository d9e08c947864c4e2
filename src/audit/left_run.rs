//! What finished commands have left running: a row as long as anybody of it lives, so that it is listed, ended on demand and
//! missed when its enforcer is gone.

use rusqlite::{OptionalExtension, Transaction, params};

use super::journal::{Journal, JournalError, Written, sql_bound, sql_integer};
use super::open_run::{OpenRun, Process, Supervisor, runs_of};
use super::record::{EndedBy, Event, LeftEnded, LeftRunning};
use crate::clock::Moment;
use crate::database::Durability;

impl Journal<'_> {
    /// Records that a command has left somebody running, whom `enforcer` looks after.
    pub fn left_running(&self, moment: &Moment, left: LeftRunning, enforcer: Process) -> Result<Written, JournalError> {
        let query = "INSERT INTO left_run (start, run, uid, grant_id, pid, pid_start, boot_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.database.write(Durability::Ordered, |tx| {
            tx.execute(
                query,
                params![
                    sql_integer(left.start)?,
                    left.run,
                    left.uid,
                    left.grant.as_ref().map(crate::names::GrantId::as_str),
                    enforcer.pid,
                    sql_bound(enforcer.start),
                    moment.boot_id
                ],
            )?;
            self.append(tx, moment, Event::LeftRunning(Box::new(left)))
        })
    }

    /// Records that nobody of it is left; nothing where that was done before.
    pub fn left_ended(&self, moment: &Moment, ended: LeftEnded) -> Result<Option<Written>, JournalError> {
        self.database.write(Durability::Ordered, |tx| {
            if !close(tx, ended.start)? {
                return Ok(None);
            }
            self.append(tx, moment, Event::LeftEnded(Box::new(ended))).map(Some)
        })
    }

    /// The number of the `start` of a run.
    pub fn start_of(&self, run: &str) -> Result<Option<u64>, JournalError> {
        let query = "SELECT seq FROM record WHERE run = ?1 AND kind = 'start' ORDER BY seq LIMIT 1";
        let found = self.database.connection().query_row(query, [run], |row| row.get::<_, i64>(0)).optional()?;
        Ok(found.map(i64::unsigned_abs))
    }

    /// What finished commands have left running, the oldest first.
    pub fn left_runs(&self) -> Result<Vec<OpenRun>, JournalError> {
        runs_of(self.database.connection(), "left_run", 0, None)
    }

    /// Closes what is left running and has no enforcer any more, as lost, when `end` has ended it.
    pub fn close_lost_left(
        &self,
        moment: &Moment,
        alive: &dyn Fn(&Supervisor) -> bool,
        end: &dyn Fn(&OpenRun) -> usize,
    ) -> Result<Vec<Written>, JournalError> {
        let mut written = Vec::new();
        for run in self.left_runs()?.into_iter().filter(|run| !alive(&run.supervisor)) {
            let _ = end(&run); // whoever it was, they are gone
            let ended =
                LeftEnded { run: run.run, start: run.start, uid: run.uid, grant: run.grant, ended_by: EndedBy::Lost };
            written.extend(self.left_ended(moment, ended)?);
        }
        Ok(written)
    }
}

fn close(tx: &Transaction<'_>, start: u64) -> Result<bool, JournalError> {
    Ok(tx.execute("DELETE FROM left_run WHERE start = ?1", [sql_integer(start)?])? == 1)
}
