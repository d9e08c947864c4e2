//! Processes that finished commands have left running: the run has a row again until the last of its descendants has exited, so
//! that it is listed, can be ended on demand, and is noticed when its enforcer is gone.

use rusqlite::OptionalExtension;

use super::error::JournalError;
use super::history::history;
use super::journal::{Journal, Written};
use super::open_run::{
    OpenRun, Opened, Phase, Process, RunKey, Supervisor, close, is_open, put_in, renew_wish, those_in, unknown,
};
use crate::database::Durability;
use jit_core::clock::Moment;
use jit_core::evidence::record::{EndedBy, Event, LeftEnded, LeftRunning, Record};

impl Journal<'_> {
    /// Records that a command has left descendants running, which `enforcer` supervises. The last demand for the run applies to them:
    /// what is being ended is not spared because its command has ended first.
    pub fn left_running(&self, moment: &Moment, left: LeftRunning, enforcer: Process) -> Result<Written, JournalError> {
        self.database.write(Durability::Ordered, |tx| {
            let LeftRunning { start, uid, .. } = left;
            let opened = Opened { start, run: left.run.as_str(), uid, grant: left.grant.as_ref(), by: enforcer };
            put_in(tx, &opened, &moment.boot_id, Phase::Left)?;
            renew_wish(tx, RunKey { start, run: left.run.as_str() })?;
            self.append(tx, moment, Event::LeftRunning(Box::new(left)))
        })
    }

    /// Records that no descendant of the command is left; returns `None` where that was recorded before.
    pub fn left_ended(&self, moment: &Moment, ended: LeftEnded) -> Result<Option<Written>, JournalError> {
        self.database.write(Durability::Ordered, |tx| {
            if !close(tx, RunKey { start: ended.start, run: ended.run.as_str() }, Phase::Left)? {
                return Ok(None);
            }
            self.append(tx, moment, Event::LeftEnded(Box::new(ended))).map(Some)
        })
    }

    /// Returns the number of the `start` of a run.
    pub fn start_of(&self, run: &str) -> Result<Option<u64>, JournalError> {
        let query = history!("SELECT seq FROM history WHERE run = ?1 AND kind = 'start' ORDER BY seq LIMIT 1");
        let found = self.database.connection().query_row(query, [run], |row| row.get::<_, i64>(0)).optional()?;
        Ok(found.map(i64::unsigned_abs))
    }

    /// Returns the user as whom the processes of a run are executed, by its start. Returns `None` where that was pruned, and for
    /// root, whose processes can become those of any user.
    pub fn user_of(&self, run: &str) -> Result<Option<u32>, JournalError> {
        let query = history!("SELECT body FROM history WHERE run = ?1 AND kind = 'start' ORDER BY seq LIMIT 1");
        let body = self
            .database
            .connection()
            .query_row(query, [run], |row| Ok(row.get_ref(0)?.as_bytes()?.to_owned()))
            .optional()?;
        let record = body.and_then(|body| Record::decode(std::str::from_utf8(&body).ok()?).ok());
        let Some(Event::Start(start)) = record.map(|record| record.event) else { return Ok(None) };
        let user = if start.editor.is_some() { start.uid } else { start.run_as_uid };
        Ok(Some(user).filter(|user| *user != 0))
    }

    /// Whether this database knows the run: by its start, or, where that was pruned, as one with living processes.
    pub fn knows(&self, run: &str) -> Result<bool, JournalError> {
        let query = history!(
            "SELECT EXISTS (SELECT 1 FROM history WHERE run = ?1 AND kind = 'start') \
                     OR EXISTS (SELECT 1 FROM open_run WHERE run = ?1)"
        );
        Ok(self.database.connection().query_row(query, [run], |row| row.get(0))?)
    }

    /// Returns the runs whose commands have ended and left descendants running, the oldest first.
    pub fn left_runs(&self) -> Result<Vec<OpenRun>, JournalError> {
        Ok(those_in(Phase::Left, self.living_runs()?))
    }

    /// Closes such runs whose enforcer is gone, as lost, after `end` has ended their processes.
    pub fn close_lost_left(
        &self,
        moment: &Moment,
        alive: &dyn Fn(&Supervisor) -> bool,
        end: &dyn Fn(&OpenRun) -> usize,
    ) -> Result<Vec<Written>, JournalError> {
        let mut written = Vec::new();
        for run in self.left_runs()?.into_iter().filter(|run| !alive(&run.supervisor)) {
            if !is_open(self.database.connection(), &run)? {
                written.extend(self.database.write(Durability::Ordered, |tx| {
                    match close(tx, run.which(), run.phase)? {
                        true => self.append(tx, moment, unknown(&run)).map(Some),
                        false => Ok(None),
                    }
                })?);
                continue;
            }
            let _ = end(&run); // ended now, however many they were
            let ended =
                LeftEnded { run: run.run, start: run.start, uid: run.uid, grant: run.grant, ended_by: EndedBy::Lost };
            written.extend(self.left_ended(moment, ended)?);
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Intervened, SCHEMA, Sweep, Wish, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use jit_core::evidence::record::{Act, Intervention, Start};
    use jit_core::names::RunId;

    #[test]
    fn the_user_of_a_run_is_that_of_its_processes() {
        let scratch = Scratch::new("user-of");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        for (run, run_as_uid, user) in [("run000000001", 33, Some(33)), ("run000000002", 0, None)] {
            let start = Start { run_as_uid, editor: None, ..sample::start(run) };
            let _ = journal.start(&sample::moment(1), start, sample::SELF, |_| Ok::<_, JournalError>(())).unwrap();
            assert_eq!(journal.user_of(run).unwrap(), user);
        }
        assert_eq!(journal.user_of("run000000003").unwrap(), None);
    }

    #[test]
    fn a_demand_for_a_run_holds_for_what_its_command_has_left() {
        for (demanded, renewed) in [
            (vec![(Act::Kill, 1001)], Some(Wish { act: Act::Kill, by: "bob".to_owned() })),
            (vec![(Act::Kill, 0)], Some(Wish { act: Act::Kill, by: "root".to_owned() })),
            (vec![(Act::Freeze, 1001)], Some(Wish { act: Act::Freeze, by: "bob".to_owned() })),
            (vec![(Act::Freeze, 1001), (Act::Thaw, 1001)], None),
            (Vec::new(), None),
        ] {
            let scratch = Scratch::new("left-wish");
            let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
            let journal = Journal::new(&database, "web1", Vec::new());
            let started = sample::started(&journal, "run000000001", 1);
            let other = sample::started(&journal, "run000000002", 1);
            for (started, act, uid) in
                demanded.iter().map(|(act, uid)| (&started, *act, *uid)).chain([(&other, Act::Kill, 1002)])
            {
                let event = sample::events().into_iter().find(|event| event.keys().kind == "intervention").unwrap();
                let Event::Intervention(event) = event else { panic!("{event:?}") };
                let run = RunId::stored(started.which().run);
                let event = Intervention { uid, user: "bob".into(), act, run, holder_uid: 1000, ..*event };
                let wish = Wish::of(act, uid, "bob");
                let done = journal.intervene(&sample::moment(2), started.which(), &wish, event).unwrap();
                assert!(matches!(done, Intervened::Done(_)), "{done:?}");
            }
            let _ = journal.end(&started, &sample::moment(3), sample::ending()).unwrap();
            let run = RunId::stored("run000000001");
            let left = LeftRunning { run, start: 1, uid: 1000, grant: None, processes: Vec::new(), count: 1 };
            let enforcer = Process { pid: 7, start: 9, namespace: None };
            let _ = journal.left_running(&sample::moment(4), left, enforcer).unwrap();
            assert_eq!(journal.wish_for("run000000001").unwrap(), renewed, "{demanded:?}");
        }
    }

    #[test]
    fn a_run_is_open_then_left_running_then_closed() {
        let scratch = Scratch::new("left");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let (run, uid, grant) = (jit_core::names::RunId::stored("run000000001"), 1000, Some(sample::grant()));
        let left =
            || LeftRunning { run: run.clone(), start: 1, uid, grant: grant.clone(), processes: Vec::new(), count: 1 };
        let enforcer = Process { pid: 7, start: 9, namespace: None };
        let seen_before = journal.open_runs().unwrap();
        assert!(journal.left_running(&sample::moment(2), left(), enforcer).is_err(), "its command runs");
        let _ = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
        let _ = journal.left_running(&sample::moment(3), left(), enforcer).unwrap();

        // A process that saw it open takes it for lost, and closes nothing.
        let tx = |phase| database.write(Durability::Ordered, |tx| close(tx, seen_before[0].which(), phase));
        assert_eq!(seen_before[0].phase, Phase::Running);
        assert!(!tx(Phase::Running).unwrap());
        assert_eq!(journal.close_lost(&sample::moment(4), Sweep::Sample, &|_| false, &|_| 0).unwrap(), []);
        assert_eq!(journal.close_lost(&sample::moment(4), Sweep::All, &|_| false, &|_| 0).unwrap(), []);
        assert!(journal.open_runs().unwrap().is_empty());
        let living = journal.living_runs().unwrap();
        assert_eq!((living.len(), living[0].phase, living[0].supervisor.process), (1, Phase::Left, enforcer));
        assert_eq!(journal.left_runs().unwrap(), living);
        assert_eq!(journal.grants_in_use().unwrap(), [sample::grant()]);
        assert!(journal.verify_all().unwrap().is_ok());

        let ended = LeftEnded { run, start: 1, uid, grant, ended_by: EndedBy::Itself };
        assert!(journal.left_ended(&sample::moment(5), ended.clone()).unwrap().is_some());
        assert!(journal.left_ended(&sample::moment(5), ended).unwrap().is_none(), "once");
        assert!(journal.living_runs().unwrap().is_empty());
        assert!(journal.verify_all().unwrap().is_ok());
    }
}
