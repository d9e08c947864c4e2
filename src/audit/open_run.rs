//! The open runs: `start` inserts a row and `end` deletes it, so that runs whose supervisor was killed are found in time that
//! depends on the number of running commands, not on the length of the journal. A command that leaves descendants running gets a
//! row of the same kind until they have exited.

use std::io;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Deserialize;

use super::columns::{sql_bound, sql_integer};
use super::error::JournalError;
use super::fault::alert;
use super::history::history;
use super::journal::{Journal, Written};
use super::session_wish::Wish;
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::evidence::record::{Event, Intervention, Record};
use jit_core::names::{GrantId, RunId};
use sys::process::{Pid, is_within_reach, namespaces, process_start};

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The command runs, and its supervisor will write the `end`.
    Running,
    /// The command has ended, and an enforcer supervises the descendants that it left running.
    Left,
}

impl Phase {
    /// Returns the value of the column `ended`.
    fn has_ended(self) -> bool {
        match self {
            Self::Running => false,
            Self::Left => true,
        }
    }
}

/// The process that will write the `end` of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The pid.
    pub pid: i32,
    /// The start time in clock ticks since boot (proc_pid_stat(5), field 22), which distinguishes it from a later process with
    /// the same pid.
    pub start: u64,
    /// Where pid and start time are its, see [`namespaces`]; elsewhere they mean another process, or none.
    pub namespace: Option<u64>,
}

impl Process {
    /// Returns this process.
    ///
    /// # Errors
    /// `/proc` cannot be read, or shows another pid namespace; and as [`namespaces`].
    pub fn own() -> io::Result<Self> {
        let pid = Pid::own();
        Ok(Self { pid: pid.raw(), start: process_start(pid)?, namespace: namespaces()? })
    }

    /// Whether pid and start time mean this process here too.
    pub fn is_within_reach(self) -> bool {
        is_within_reach(self.namespace)
    }

    /// Returns the pid where it means this process here too.
    pub fn pid_within_reach(self) -> Option<Pid> {
        if self.is_within_reach() { Pid::new(self.pid) } else { None }
    }
}

/// The supervisor that is stored with an open run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    /// The process.
    pub process: Process,
    /// The boot in which it runs.
    pub boot_id: String,
}

/// What came of a demand.
#[derive(Debug, PartialEq, Eq)]
pub enum Intervened {
    /// It is stored and recorded.
    Done(Written),
    /// The run has no living process any more.
    Over,
    /// This demand stands in its way.
    Overruled(Wish),
}

/// A run that has no end yet, or has left descendants running, as far as the journal knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// The number of the `start`.
    pub start: u64,
    /// The id.
    pub run: RunId,
    /// The caller's uid.
    pub uid: u32,
    /// The grant under which it began.
    pub grant: Option<GrantId>,
    /// The process that will write the end.
    pub supervisor: Supervisor,
    /// The phase.
    pub phase: Phase,
    /// The demand that is stored for it.
    pub wish: Option<Wish>,
}

impl Journal<'_> {
    /// Stores a demand for the supervisor of that run, and records it, unless another demand stands in its way
    /// (`Wish::yields_to`).
    pub fn intervene(
        &self,
        moment: &Moment,
        which: RunKey<'_>,
        wish: &Wish,
        intervention: Intervention,
    ) -> Result<Intervened, JournalError> {
        self.database.write(Durability::Synced, |tx| {
            let Some(standing) = wish_of(tx, which)? else { return Ok(Intervened::Over) };
            let is_own = intervention.uid == intervention.holder_uid;
            if let Some(standing) = standing.filter(|standing| !standing.yields_to(wish, is_own)) {
                return Ok(Intervened::Overruled(standing));
            }
            if !leave_wish(tx, which, wish)? {
                return Ok(Intervened::Over);
            }
            self.append(tx, moment, Event::Intervention(Box::new(intervention))).map(Intervened::Done)
        })
    }

    /// Returns the grants under which living runs began, each once.
    pub fn grants_in_use(&self) -> Result<Vec<GrantId>, JournalError> {
        let query = "SELECT DISTINCT grant_id FROM open_run WHERE grant_id IS NOT NULL ORDER BY grant_id";
        let mut statement = self.database.connection().prepare(query)?;
        // A row whose id cannot be read hides no other.
        let rows =
            statement.query_map([], |row| Ok(row.get_ref(0)?.as_str().ok().and_then(|id| GrantId::parse(id).ok())))?;
        rows.filter_map(Result::transpose).collect::<rusqlite::Result<_>>().map_err(JournalError::from)
    }

    /// Returns all runs with living processes, whether the command itself or descendants that it left; the oldest first.
    pub fn living_runs(&self) -> Result<Vec<OpenRun>, JournalError> {
        rows(self.database.connection(), 0, None)
    }

    /// Returns all open runs, the oldest first.
    pub fn open_runs(&self) -> Result<Vec<OpenRun>, JournalError> {
        Ok(those_in(Phase::Running, self.living_runs()?))
    }

    /// Returns the demand that is stored for this run.
    pub fn wish_for(&self, run: &str) -> Result<Option<Wish>, JournalError> {
        let mut statement = self.database.connection().prepare("SELECT wish FROM open_run WHERE run = ?1")?;
        let mut rows = statement.query([run])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(row.get::<_, Option<String>>(0)?.as_deref().and_then(Wish::parse))
    }
}

/// Whether the records show that this run is open: it has begun, and has not ended.
pub(super) fn is_open(connection: &Connection, run: &OpenRun) -> Result<bool, JournalError> {
    #[derive(Deserialize)]
    struct Over {
        start: u64,
    }
    let (begun, over) = match run.phase {
        Phase::Running => ("start", "end"),
        Phase::Left => ("left-running", "left-ended"),
    };
    let mut statement = connection.prepare_cached(history!("SELECT seq, body, kind FROM history WHERE run = ?1"))?;
    let mut rows = statement.query([run.run.as_str()])?;
    let mut known = false;
    while let Some(row) = rows.next()? {
        let kind = row.get_ref(2)?.as_str().unwrap_or_default().to_owned();
        if kind != begun && kind != over {
            continue;
        }
        let body = row.get_ref(1)?.as_bytes().unwrap_or_default();
        let start = match serde_json::from_slice::<Over>(body) {
            Ok(named) => named.start,
            Err(_) => row.get::<_, i64>(0)?.unsigned_abs(),
        };
        if start == run.start && kind == over {
            return Ok(false);
        }
        known |= start == run.start;
    }
    Ok(known)
}

pub(super) fn unknown(run: &OpenRun) -> Event {
    let shown = jit_core::escape::escape(run.run.as_str().as_bytes());
    alert(
        "unknown-run",
        &format!("the database listed run {shown} as open, but the records do not: its row was removed"),
    )
}

pub(super) fn rows(connection: &Connection, from: i64, limit: Option<u32>) -> Result<Vec<OpenRun>, JournalError> {
    let query = "SELECT start, run, uid, grant_id, pid, pid_start, boot_id, wish, ended FROM open_run WHERE start >= ?1 \
                 ORDER BY start LIMIT ?2";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map(params![from, limit.map_or(-1, i64::from)], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<OpenRun> {
    let grant: Option<String> = row.get(3)?;
    let place: String = row.get(6)?;
    let (boot_id, namespace) = match place.split_once(' ') {
        Some((boot, namespace)) => (boot.to_owned(), namespace.parse().ok()),
        None => (place, None),
    };
    Ok(OpenRun {
        start: row.get::<_, i64>(0)?.unsigned_abs(),
        run: RunId::stored(row.get::<_, String>(1)?),
        uid: row.get(2)?,
        grant: grant.and_then(|id| GrantId::parse(&id).ok()),
        supervisor: Supervisor {
            process: Process { pid: row.get(4)?, start: row.get::<_, i64>(5)?.unsigned_abs(), namespace },
            boot_id,
        },
        phase: if row.get::<_, i64>(8)? == 0 { Phase::Running } else { Phase::Left },
        wish: row.get::<_, Option<String>>(7)?.as_deref().and_then(Wish::parse),
    })
}

pub(super) fn those_in(phase: Phase, mut runs: Vec<OpenRun>) -> Vec<OpenRun> {
    runs.retain(|run| run.phase == phase);
    runs
}

/// A row to be inserted.
pub(super) struct Opened<'a> {
    /// The number of the `start`.
    pub(super) start: u64,
    /// The id.
    pub(super) run: &'a str,
    /// The caller's uid.
    pub(super) uid: u32,
    /// The grant under which it began.
    pub(super) grant: Option<&'a GrantId>,
    /// The process that supervises it.
    pub(super) by: Process,
}

/// Inserts a row; fails where the run has one. The row for descendants is inserted after `end` has deleted the row of the
/// command.
pub(super) fn put_in(
    transaction: &Transaction<'_>,
    opened: &Opened<'_>,
    boot_id: &str,
    phase: Phase,
) -> Result<(), JournalError> {
    transaction.execute(
        "INSERT INTO open_run (start, run, uid, grant_id, pid, pid_start, boot_id, ended) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            sql_integer(opened.start)?,
            opened.run,
            opened.uid,
            opened.grant.map(GrantId::as_str),
            opened.by.pid,
            sql_bound(opened.by.start),
            opened.by.namespace.map_or(boot_id.to_owned(), |namespace| format!("{boot_id} {namespace}")),
            phase.has_ended()
        ],
    )?;
    Ok(())
}

pub(super) const CLOSE: &str = "DELETE FROM open_run WHERE start = ?1 AND run = ?2 AND ended = ?3";

/// Whether the run has its row in this phase.
pub(super) fn is_listed(tx: &Transaction<'_>, which: RunKey<'_>, phase: Phase) -> Result<bool, JournalError> {
    let query = "SELECT 1 FROM open_run WHERE start = ?1 AND run = ?2 AND ended = ?3";
    Ok(tx.prepare_cached(query)?.exists(params![sql_integer(which.start)?, which.run, phase.has_ended()])?)
}

/// A run by the number of its `start` and its id: in a restored database other records have the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunKey<'r> {
    /// The number.
    pub start: u64,
    /// The id.
    pub run: &'r str,
}

impl OpenRun {
    /// Returns the key of the run.
    pub fn which(&self) -> RunKey<'_> {
        RunKey { start: self.start, run: self.run.as_str() }
    }
}

/// Returns the demand that is stored for a run, if there is one; `None` when the run has no living process.
fn wish_of(transaction: &Transaction<'_>, which: RunKey<'_>) -> Result<Option<Option<Wish>>, JournalError> {
    let query = "SELECT wish FROM open_run WHERE start = ?1 AND run = ?2";
    let stored = transaction
        .query_row(query, params![sql_integer(which.start)?, which.run], |row| row.get::<_, Option<String>>(0))
        .optional()?;
    Ok(stored.map(|text| text.as_deref().and_then(Wish::parse)))
}

/// Stores a demand for the process that supervises a run; returns false when the run has no living process.
fn leave_wish(transaction: &Transaction<'_>, which: RunKey<'_>, wish: &Wish) -> Result<bool, JournalError> {
    let query = "UPDATE open_run SET wish = ?3 WHERE start = ?1 AND run = ?2";
    Ok(transaction.execute(query, params![sql_integer(which.start)?, which.run, wish.to_text()])? == 1)
}

/// Stores for a run that has a row again the demand that was recorded last: it may have come too late for the process that supervised
/// the run before.
pub(super) fn renew_wish(transaction: &Transaction<'_>, which: RunKey<'_>) -> Result<(), JournalError> {
    let query = history!(
        "SELECT body FROM history WHERE run = ?1 AND kind = 'intervention' AND seq > ?2 ORDER BY seq DESC LIMIT 1"
    );
    let body = transaction
        .query_row(query, params![which.run, sql_integer(which.start)?], |row| {
            Ok(row.get_ref(0)?.as_bytes()?.to_owned())
        })
        .optional()?;
    let record = body.and_then(|body| Record::decode(std::str::from_utf8(&body).ok()?).ok());
    if let Some(Event::Intervention(last)) = record.map(|record| record.event) {
        let name = String::from_utf8_lossy(last.user.as_bytes());
        leave_wish(transaction, which, &Wish::of(last.act, last.uid, &name))?;
    }
    Ok(())
}

/// Deletes the row; returns false when it was closed in this phase before.
pub(super) fn close(transaction: &Transaction<'_>, which: RunKey<'_>, phase: Phase) -> Result<bool, JournalError> {
    let values = params![sql_integer(which.start)?, which.run, phase.has_ended()];
    Ok(transaction.prepare_cached(CLOSE)?.execute(values)? == 1)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::audit::lost_run::{SAMPLE, Sweep};
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use jit_core::evidence::record::{Act, EndedBy, RunOutcome};

    #[test]
    fn a_kill_is_final_and_what_root_has_frozen_only_root_thaws() {
        let wish = |act, by: &str| Wish { act, by: by.to_owned() };
        for (standing, later, own, replaced) in [
            (wish(Act::Kill, "bob"), wish(Act::Thaw, "root"), false, false),
            (wish(Act::Kill, "bob"), wish(Act::Freeze, "bob"), false, false),
            (wish(Act::Kill, "bob"), wish(Act::Kill, "carol"), false, true),
            (wish(Act::Freeze, "root"), wish(Act::Thaw, "bob"), false, false),
            (wish(Act::Freeze, "root"), wish(Act::Freeze, "bob"), false, false),
            (wish(Act::Freeze, "root"), wish(Act::Kill, "bob"), false, true),
            (wish(Act::Freeze, "root"), wish(Act::Thaw, "root"), true, true),
            (wish(Act::Freeze, "bob"), wish(Act::Thaw, "carol"), false, true),
            (wish(Act::Freeze, "bob"), wish(Act::Thaw, "carol"), true, false),
            (wish(Act::Freeze, "carol"), wish(Act::Thaw, "carol"), true, true),
            (wish(Act::Freeze, "bob"), wish(Act::Thaw, "root"), false, true),
            (wish(Act::Thaw, "root"), wish(Act::Freeze, "bob"), true, true),
        ] {
            assert_eq!(standing.yields_to(&later, own), replaced, "{standing:?} {later:?} {own}");
        }
    }

    #[test]
    fn a_run_whose_supervisor_is_gone_is_closed_as_lost() {
        let scratch = Scratch::new("open-lost");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let lost = sample::started(&journal, "run000000001", 1);
        let close = |alive: bool| {
            journal
                .close_lost(
                    &sample::moment(2),
                    Sweep::Sample,
                    &|supervisor| {
                        assert_eq!(
                            (supervisor.process, &supervisor.boot_id),
                            (sample::SELF, &sample::moment(1).boot_id)
                        );
                        alive
                    },
                    &|_| 0,
                )
                .unwrap()
        };
        assert_eq!(close(true), []);
        let written = close(false);
        assert_eq!(close(false), []);
        let Event::End(end) = Record::decode(&written[0].body).unwrap().event else { panic!() };
        assert_eq!((end.start, end.run.as_str(), end.uid), (1, "run000000001", 1000));
        assert_eq!((end.ending, end.grant), (RunOutcome::unknown(EndedBy::Lost), Some(sample::grant())));
        assert!(matches!(
            journal.end(&lost, &sample::moment(3), sample::ending()),
            Err(JournalError::NotOpen(run)) if run == "run000000001"
        ));
        assert_eq!(journal.verify_all().unwrap().unwrap().records, 2);
    }

    #[test]
    fn a_demand_reaches_its_open_run_and_can_be_withdrawn() {
        let scratch = Scratch::new("open-wish");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let _other = sample::started(&journal, "run000000002", 1);
        let leave = |act| {
            let wish = Wish { act, by: "bob b".to_owned() };
            database
                .write(Durability::Ordered, |tx| leave_wish(tx, RunKey { start: 1, run: "run000000001" }, &wish))
                .unwrap()
        };
        for act in [Act::Freeze, Act::Kill] {
            assert!(leave(act));
            assert_eq!(journal.wish_for("run000000001").unwrap(), Some(Wish { act, by: "bob b".to_owned() }));
            assert_eq!(journal.wish_for("run000000002").unwrap(), None);
        }
        assert!(leave(Act::Thaw));
        assert_eq!(journal.open_runs().unwrap()[0].wish, None);
        let _ = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
        assert!(!leave(Act::Freeze));
        assert_eq!(journal.wish_for("run000000001").unwrap(), None);
    }

    /// The situation after a restored backup, in which numbers are used again.
    #[test]
    fn a_run_does_not_close_or_stop_another_with_its_number() {
        let scratch = [Scratch::new("open-one"), Scratch::new("open-other")];
        let [one, other] = scratch.each_ref().map(|scratch| Database::create(&scratch.path(), &[SCHEMA]).unwrap());
        let of = |database| Journal::new(database, "web1", Vec::new());
        let gone = sample::started(&of(&one), "run000000001", 1);
        let _there = sample::started(&of(&other), "run000000002", 1);
        let journal = of(&other);
        let wish = Wish { act: Act::Kill, by: "bob".to_owned() };
        let left = |which| other.write(Durability::Ordered, |tx| leave_wish(tx, which, &wish)).unwrap();
        assert!(!left(RunKey { start: 1, run: "run000000001" }));
        let ended = journal.end(&gone, &sample::moment(2), sample::ending());
        assert!(matches!(ended, Err(JournalError::NotOpen(run)) if run == "run000000001"));
        assert_eq!(journal.open_runs().unwrap()[0].run.as_str(), "run000000002");
        assert!(left(RunKey { start: 1, run: "run000000002" }));
    }

    #[test]
    fn each_pass_samples_many_open_runs_and_all_are_found() {
        let scratch = Scratch::new("open-many");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        database
            .write(Durability::Ordered, |transaction| {
                for start in 1..=1000_u64 {
                    let event = Event::Start(Box::new(sample::start("run000000001")));
                    let written = journal.append(transaction, &sample::moment(1), event)?;
                    let dead = Process { pid: 1, start, namespace: None };
                    let opened = Opened { start: written.seq, run: "run000000001", uid: 1000, grant: None, by: dead };
                    put_in(transaction, &opened, "b", Phase::Running)?;
                }
                Ok::<_, JournalError>(())
            })
            .unwrap();
        let asked = Cell::new(0);
        // Only one in a hundred is dead; the sample moves with the time, so all are found eventually.
        let alive = |supervisor: &Supervisor| {
            asked.set(asked.get() + 1);
            !supervisor.process.start.is_multiple_of(100)
        };
        let mut found = 0;
        for pass in 0..3000_i64 {
            let mut moment = sample::moment(2);
            moment.wall.0 += pass * 7_919;
            asked.set(0);
            found += journal.close_lost(&moment, Sweep::Sample, &alive, &|_| 0).unwrap().len();
            assert!(asked.get() <= 2 * SAMPLE);
        }
        assert_eq!(found, 10);
        assert_eq!(journal.close_lost(&sample::moment(3), Sweep::All, &|_| false, &|_| 0).unwrap().len(), 990);
        assert!(journal.verify_all().unwrap().is_ok());
    }
}
