//! The durable, ordered journal: table `record` and the open runs, in the one database.
//! May not: read a clock, choose a sink, or write outside a transaction that the caller can see.

use std::cell::RefCell;

use rusqlite::{Transaction, params};

use super::checkpoint::Due;
use super::columns::sql_integer;
use super::error::JournalError;
use super::forks::Traces;
use super::history::{LAST, Last, last};
use super::listing::Stored;
use super::open_run::{self, Opened, Phase, Process, RunKey};
use super::precedent;
use super::sink::{Delivery, Sink};
use super::state_checks::meta;
use crate::database::{Database, DatabaseError, Durability, Unsynced};
use crate::policy_index;
use jit_core::budget::Storage;
use jit_core::clock::{Moment, Timestamp};
use jit_core::escape::Word;
use jit_core::evidence::acceptance;
use jit_core::evidence::chain;
use jit_core::evidence::record::{Change, Digest, Edit, End, Event, Keys, Record, RunOutcome, Start};
use jit_core::evidence::{Checkpoint, Mark};
use jit_core::names::{GrantId, RunId};
use sys::signals::block_endings;

/// The tables of this module. `kind`, `uid`, `run`, `grant_id` and `at` are copies of the record's own keys for searching; `high`
/// is the greatest `at` since root last accepted the state of the host. Verification compares all of them with the record.
pub const SCHEMA: &str = "
CREATE TABLE record (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, uid INTEGER, run TEXT, grant_id TEXT, at INTEGER NOT NULL, high INTEGER NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL) STRICT;
CREATE INDEX record_by_kind ON record (kind) WHERE kind NOT IN ('start', 'end');
CREATE INDEX record_by_uid ON record (uid) WHERE uid IS NOT NULL;
CREATE INDEX record_by_run ON record (run) WHERE run IS NOT NULL;
CREATE INDEX record_by_grant ON record (grant_id, kind) WHERE grant_id IS NOT NULL;
CREATE TABLE open_run (start INTEGER PRIMARY KEY, run TEXT NOT NULL, uid INTEGER NOT NULL, grant_id TEXT, pid INTEGER NOT NULL, pid_start INTEGER NOT NULL, boot_id TEXT NOT NULL, wish TEXT, ended INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE journal_meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, signature BLOB NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE tree (height INTEGER NOT NULL, place INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (height, place)) STRICT, WITHOUT ROWID;
CREATE TABLE precedent (uid INTEGER NOT NULL, command BLOB NOT NULL, runs INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (uid, command)) STRICT, WITHOUT ROWID;
";

/// A record that a transaction has appended; it is durable once that transaction has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a committed record is mirrored to the sinks"]
pub struct Written {
    /// The number.
    pub seq: u64,
    /// The time.
    pub time: Timestamp,
    /// The hash: the chain head after this record.
    pub hash: Digest,
    /// The exact bytes.
    pub body: String,
    kind: &'static str,
    durability: Durability,
}

impl Written {
    /// Returns the name of the kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the durability of the commit.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Returns the number and hash.
    pub fn mark(&self) -> Mark {
        Mark { seq: self.seq, hash: self.hash }
    }

    /// Converts a record that was read from the database; it counts as ordered.
    pub(super) fn stored(stored: Stored) -> Result<Self, JournalError> {
        let record = Record::decode(&stored.body)?;
        let (kind, time) = (record.event.keys().kind, record.time);
        let Stored { seq, body, hash } = stored;
        Ok(Self { seq, time, hash, body, kind, durability: Durability::Ordered })
    }

    #[cfg(test)]
    pub(super) fn for_test(seq: u64, time: Timestamp, hash: Digest, body: String, kind: &'static str) -> Self {
        Self { seq, time, hash, body, kind, durability: Durability::Synced }
    }
}

/// A run whose `start` is on the disk. Only this value allows its `end`.
#[derive(Debug)]
#[must_use = "a started run needs an end"]
pub struct Started {
    run: RunId,
    uid: u32,
    grant: Option<GrantId>,
    /// The digest of the command, counted as a precedent when the run has ended.
    command: [u8; 32],
    written: Written,
}

impl Started {
    /// Returns the id of the run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub(super) fn which(&self) -> RunKey<'_> {
        RunKey { start: self.written.seq, run: self.run.as_str() }
    }

    /// Returns the `start` record, which must be sent to the sinks.
    pub fn written(&self) -> &Written {
        &self.written
    }
}

/// Sets up the journal in a new database, inside the transaction of the caller. `key` must be random.
pub fn set_up(transaction: &Transaction<'_>, key: [u8; 32]) -> Result<(), JournalError> {
    transaction.execute("INSERT INTO journal_meta (name, value) VALUES ('redaction_key', ?1)", params![key])?;
    Ok(())
}

/// Returns whether the journal of this database was set up: a process may have been killed before.
pub fn is_set_up(database: &Database) -> Result<bool, JournalError> {
    Ok(meta(database.connection(), "redaction_key")?.is_some())
}

/// Rejects, inside the transaction that records a decision, one by another policy than the policy compiled now. So a record
/// always names the policy of the latest `policy` record before it, and no earlier one is used again.
pub fn in_force(transaction: &Transaction<'_>, policy: Option<Digest>) -> Result<(), JournalError> {
    match policy {
        Some(policy) if policy_index::stored_policy(transaction)? != Some(policy.0) => Err(JournalError::OtherPolicy),
        Some(_) | None => Ok(()),
    }
}

/// The journal of one host.
pub struct Journal<'a> {
    pub(super) database: &'a Database,
    host: &'a str,
    sinks: RefCell<Vec<Box<dyn Sink>>>,
    pub(super) storage: Storage,
    pub(super) traces: Option<Box<dyn Traces>>,
    sealer: Option<Box<dyn Fn()>>,
}

const APPEND: &str = "INSERT INTO record (seq, kind, uid, run, grant_id, at, high, hash, body) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

impl<'a> Journal<'a> {
    /// Creates a journal on `database` with `sinks`; `host` is the host name in records.
    pub fn new(database: &'a Database, host: &'a str, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { database, host, sinks: RefCell::new(sinks), storage: Storage::default(), traces: None, sealer: None }
    }

    /// Sets another budget for what one user may cause to be stored.
    #[must_use]
    pub fn with_storage(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// Sets what is left of the records outside the database, by which each record is checked against lost ones.
    #[must_use]
    pub fn with_traces(self, traces: impl Traces + 'static) -> Self {
        Self { traces: Some(Box::new(traces)), ..self }
    }

    /// Sets a function that starts signing the head whenever a record makes a checkpoint due, so that no record waits for a later
    /// one to be signed.
    #[must_use]
    pub fn with_sealer(self, sealer: Box<dyn Fn()>) -> Self {
        Self { sealer: Some(sealer), ..self }
    }

    /// Returns the key for the digests of secret values.
    pub fn redaction_key(&self) -> Result<[u8; 32], JournalError> {
        let key = meta(self.database.connection(), "redaction_key")?.ok_or(JournalError::NoKey)?;
        key.try_into().map_err(|_| JournalError::Damaged("a redaction key that is not 32 bytes"))
    }

    /// Appends one record inside the caller's transaction, so that it commits together with the change that it describes. The
    /// caller calls [`Self::mirror`] after the commit.
    pub fn append(
        &self,
        transaction: &Transaction<'_>,
        moment: &Moment,
        event: Event,
    ) -> Result<Written, JournalError> {
        let last = last(transaction)?;
        let seq = last.map_or(0, |last| last.mark.seq);
        match self.anchor_ahead(seq) {
            Some(anchor) => self.append_behind(transaction, moment, anchor, event),
            None => self.put(transaction, moment, (seq.saturating_add(1), last), event),
        }
    }

    /// Stores the record of `event` under the number `seq`, behind the record `last`.
    pub(super) fn put(
        &self,
        transaction: &Transaction<'_>,
        moment: &Moment,
        (seq, last): (u64, Option<Last>),
        event: Event,
    ) -> Result<Written, JournalError> {
        let (prev, high) = last.map_or((Digest::ZERO, i64::MIN), |last| (last.mark.hash, last.high.0));
        let record = Record::new(seq, prev, moment, self.host, event);
        let body = record.encode()?;
        let hash = chain::hash(body.as_bytes());
        let Keys { kind, uid, run, grant } = record.event.keys();
        let high = acceptance::high_after(high, kind, record.event.code(), record.time.0);
        transaction.prepare_cached(APPEND)?.execute(params![
            sql_integer(record.seq)?,
            kind,
            uid,
            run,
            grant,
            record.time.0,
            high,
            hash.0,
            body.as_bytes()
        ])?;
        let durability = self.database.durability();
        Ok(Written { seq: record.seq, time: record.time, hash, kind, body, durability })
    }

    /// Sends committed records to every sink; returns `Missed` when any sink missed any of them.
    pub fn mirror(&self, written: &[Written]) -> Delivery {
        if written.is_empty() {
            return Delivery::Delivered;
        }
        let missed = |sink: &mut Box<dyn Sink>| sink.mirror(written, self) == Delivery::Missed;
        // Sends to every sink, even after one of them failed.
        let missed = self.sinks.borrow_mut().iter_mut().map(missed).filter(|missed| *missed).count();
        self.have_sealed(written);
        if missed == 0 { Delivery::Delivered } else { Delivery::Missed }
    }

    /// Sends a checkpoint to every sink.
    pub fn send_checkpoint(&self, checkpoint: &Checkpoint, time: Timestamp) {
        self.sinks.borrow_mut().iter_mut().for_each(|sink| sink.checkpoint(checkpoint, time));
    }

    /// Starts the sealer if a checkpoint is due. The records of a run itself are signed when it ends.
    fn have_sealed(&self, written: &[Written]) {
        let mut others = written.iter().filter(|written| !["start", "edit", "end"].contains(&written.kind));
        if let (Some(sealer), Some(last)) = (&self.sealer, others.next_back())
            && self.unsealed(last.time, Due::InTime).is_ok_and(|last| last.is_some())
        {
            sealer();
        }
    }

    /// Records the start of a run and runs `claim` (which uses up a one-shot grant, for example) in one transaction that is on
    /// the disk when this returns. If it fails, the command must not run. From now on no signal but SIGKILL keeps this process
    /// from recording the end: a caller may press ^C in that moment, and a session of another program may be closed.
    pub fn start<T, E: From<DatabaseError> + From<JournalError>>(
        &self,
        moment: &Moment,
        start: Start,
        supervisor: Process,
        claim: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(Started, T), E> {
        let (started, unsynced) = self.start_unsynced(moment, start, supervisor, claim)?;
        unsynced.sync()?;
        Ok(started)
    }

    /// Does the same, but does not wait for the disk.
    pub fn start_unsynced<T, E: From<DatabaseError> + From<JournalError>>(
        &self,
        moment: &Moment,
        start: Start,
        supervisor: Process,
        claim: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<((Started, T), Unsynced), E> {
        block_endings();
        let (run, uid, grant) = (start.run.clone(), start.uid, start.grant.clone());
        let command = precedent::command(&start);
        let change = |transaction: &Transaction<'_>| {
            if !self.is_as_read() {
                in_force(transaction, start.policy)?;
            }
            let claimed = claim(transaction)?;
            let written = self.append(transaction, moment, Event::Start(Box::new(start)))?;
            let opened = Opened { start: written.seq, run: run.as_str(), uid, grant: grant.as_ref(), by: supervisor };
            open_run::put_in(transaction, &opened, &moment.boot_id, Phase::Running)?;
            Ok((Started { run, uid, grant, command, written }, claimed))
        };
        self.database.write_unsynced(change)
    }

    /// Whether what this process has read of the policy, the grants and the records is still so: no other process has written since
    /// it opened the database. For use inside a write.
    pub fn is_as_read(&self) -> bool {
        self.database.is_as_opened()
    }

    /// Records the new contents of a file before the run installs it; the record is on the disk when this returns.
    pub fn edit(&self, started: &Started, moment: &Moment, change: Change) -> Result<Written, JournalError> {
        let edit = Edit {
            run: started.run.clone(),
            start: started.written.seq,
            uid: started.uid,
            grant: started.grant.clone(),
            change,
        };
        self.database.write(Durability::Synced, |tx| self.append(tx, moment, Event::Edit(Box::new(edit))))
    }

    /// Records the end of a run. The record survives a killed process, but not necessarily a power failure (the next start syncs
    /// it); after one the run is closed as lost.
    pub fn end(&self, started: &Started, moment: &Moment, ending: RunOutcome) -> Result<Written, JournalError> {
        self.database.write(Durability::Ordered, |transaction| {
            if !open_run::close(transaction, started.which(), Phase::Running)? {
                return Err(JournalError::NotOpen(started.run.to_string()));
            }
            let ending = in_this_journal(transaction, ending)?;
            precedent::count(transaction, started.uid, &started.command, started.written.time)?;
            let end = End {
                run: started.run.clone(),
                start: started.written.seq,
                uid: started.uid,
                grant: started.grant.clone(),
                ending,
            };
            self.append(transaction, moment, Event::End(Box::new(end)))
        })
    }

    /// Prepares the statements that [`Self::end`] needs, while no caller waits for it. If one cannot be prepared now, the end
    /// reports the error.
    pub fn prepare_end(&self) {
        for statement in [LAST, APPEND, open_run::CLOSE, precedent::AGAIN] {
            let _ = self.database.connection().prepare_cached(statement);
        }
    }

    /// Returns number and hash of the last record.
    pub fn head(&self) -> Result<Option<(u64, Digest)>, JournalError> {
        Ok(last(self.database.connection())?.map(|last| (last.mark.seq, last.mark.hash)))
    }
}

/// Removes from an ending a reference that this journal does not know: the extension of a run may be younger than a backup that
/// root has restored and accepted meanwhile.
fn in_this_journal(transaction: &Transaction<'_>, ending: RunOutcome) -> Result<RunOutcome, JournalError> {
    let Some(last) = &ending.extended_by else { return Ok(ending) };
    let query = "SELECT EXISTS (SELECT 1 FROM granted WHERE id = ?1)";
    if transaction.query_row(query, [last.as_str()], |row| row.get(0))? {
        return Ok(ending);
    }
    let lost = format!("it went on under grant {last}, of which this database has no record");
    let detail = match &ending.detail {
        Some(detail) => format!("{detail}; {lost}"),
        None => lost,
    };
    Ok(RunOutcome { extended_by: None, detail: Some(Word::from(detail.as_str())), ..ending })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::sample;
    use crate::database::tests::Scratch;
    use jit_core::evidence::Verified;
    use jit_core::evidence::record::EndedBy;

    type Failed<T> = Result<T, JournalError>;

    #[test]
    fn a_run_is_recorded_from_start_to_end() {
        let scratch = Scratch::new("journal-run");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let end = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
        assert_eq!((started.written().seq, end.seq, end.kind()), (1, 2, "end"));
        assert_eq!(journal.head().unwrap(), Some((2, end.hash)));
        assert_eq!(journal.verify_all().unwrap(), Ok(Verified { records: 2, head: end.hash }));
        let Event::End(ended) = Record::decode(&end.body).unwrap().event else { panic!("{}", end.body) };
        assert_eq!((ended.start, ended.uid, ended.grant), (1, 1000, Some(sample::grant())));
    }

    #[test]
    fn a_run_can_end_only_once() {
        let scratch = Scratch::new("journal-once");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let started = sample::started(&journal, "run000000001", 1);
        let _ = journal.end(&started, &sample::moment(2), sample::ending()).unwrap();
        let again = journal.end(&started, &sample::moment(3), RunOutcome::unknown(EndedBy::Itself));
        assert!(matches!(again, Err(JournalError::NotOpen(run)) if run == "run000000001"));
        assert_eq!(journal.head().unwrap().unwrap().0, 2);
    }

    #[test]
    fn a_start_whose_claim_fails_writes_nothing() {
        let scratch = Scratch::new("journal-claim");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let refused = journal.start(&sample::moment(1), sample::start("run000000001"), sample::SELF, |transaction| {
            transaction.execute("INSERT INTO journal_meta (name, value) VALUES ('used', x'00')", [])?;
            Failed::<()>::Err(JournalError::NotOpen("used up".to_owned()))
        });
        assert!(refused.is_err());
        assert_eq!(journal.head().unwrap(), None);
        let rest = "SELECT (SELECT count(*) FROM journal_meta) + (SELECT count(*) FROM open_run)";
        assert_eq!(database.connection().query_row(rest, [], |row| row.get(0)), Ok(0));
    }

    #[test]
    fn a_record_commits_together_with_its_transaction() {
        let scratch = Scratch::new("journal-append");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let events = sample::events().into_iter().filter(|event| !matches!(event, Event::Fork(_)));
        let count = events.clone().count() as u64;
        for (index, event) in events.enumerate() {
            let written = database
                .write(Durability::Ordered, |transaction| {
                    let _ = journal.append(transaction, &sample::moment(1), event.clone())?;
                    journal.append(transaction, &sample::moment(2), event)
                })
                .unwrap_or_else(|error: JournalError| panic!("{error}"));
            assert_eq!(written.seq, 2 * index as u64 + 2);
        }
        let failed: Failed<()> = database.write(Durability::Ordered, |transaction| {
            let _ = journal.append(transaction, &sample::moment(3), sample::events().remove(2))?;
            Err(JournalError::NoKey)
        });
        assert!(failed.is_err());
        assert_eq!(journal.verify_all().unwrap().unwrap().records, 2 * count);
    }

    fn high_water(database: &Database) -> Option<Timestamp> {
        last(database.connection()).unwrap().map(|last| last.high)
    }

    #[test]
    fn the_greatest_time_never_decreases_by_itself() {
        let scratch = Scratch::new("journal-high");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        assert_eq!(high_water(&database), None);
        for second in [5, 9, -1_000_000] {
            let _ = sample::started(&journal, "run000000001", second);
        }
        assert_eq!(high_water(&database), Some(sample::moment(9).wall));
        assert!(journal.verify_all().unwrap().is_ok());
    }

    #[test]
    fn the_greatest_time_restarts_when_root_accepts_the_clock() {
        let scratch = Scratch::new("journal-accepted");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let _ = sample::started(&journal, "run000000001", 2_000_000_000);
        let alert = |code: &str, second| {
            let event = sample::events().into_iter().find(|event| event.keys().kind == "alert").unwrap();
            let Event::Alert(mut alert) = event else { panic!("{event:?}") };
            alert.code = code.to_owned();
            let append = |tx: &Transaction<'_>| journal.append(tx, &sample::moment(second), Event::Alert(alert));
            let _ = database.write(Durability::Synced, append).unwrap();
        };
        alert("clock-set-back", 1);
        assert_eq!(high_water(&database), Some(sample::moment(2_000_000_000).wall));
        alert(acceptance::ACCEPTED, 2);
        assert_eq!(high_water(&database), Some(sample::moment(2).wall));
        let _ = sample::started(&journal, "run000000002", 1);
        assert_eq!(high_water(&database), Some(sample::moment(2).wall), "and never sinks after that");
        assert!(journal.verify_all().unwrap().is_ok());
    }

    #[test]
    fn a_journal_keeps_its_redaction_key() {
        let scratch = Scratch::new("journal-key");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        assert!(matches!(journal.redaction_key(), Err(JournalError::NoKey)));
        database.write(Durability::Synced, |transaction| set_up(transaction, [6; 32])).unwrap();
        assert_eq!(journal.redaction_key().unwrap(), [6; 32]);
        assert!(database.write(Durability::Synced, |transaction| set_up(transaction, [7; 32])).is_err());
    }

    #[test]
    fn a_record_of_many_megabytes_is_stored_and_a_larger_one_is_rejected() {
        let scratch = Scratch::new("journal-large");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let mut start = sample::start("run000000001");
        start.argv = vec![sample::hostile(); 10_000];
        let run = |start| journal.start(&sample::moment(1), start, sample::SELF, |_| Failed::Ok(()));
        let (started, ()) = run(start.clone()).unwrap();
        assert!(started.written().body.len() > 5_000_000);
        assert_eq!(journal.by_seq(1).unwrap().unwrap().body, started.written().body);
        start.argv = vec![vec![b'x'; 70 << 20].into_iter().map(char::from).collect::<String>().into()];
        assert!(run(start).is_err());
        assert_eq!(journal.verify_all().unwrap().unwrap().records, 1);
    }

    #[test]
    fn every_altered_column_is_found() {
        for column in ["kind", "uid", "run", "grant_id", "at", "high", "hash", "body"] {
            let scratch = Scratch::new(&format!("journal-column-{column}"));
            let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
            let journal = Journal::new(&database, "web1", Vec::new());
            for second in 1..=3 {
                let _ = sample::started(&journal, "run000000001", second);
            }
            let value = match column {
                "hash" => "zeroblob(32)",
                "body" => "CAST(replace(CAST(body AS TEXT), 'alice', 'malice') AS BLOB)",
                "uid" | "at" | "high" => "7",
                _ => "'x'",
            };
            let alter = format!("UPDATE record SET {column} = {value} WHERE seq = 2");
            assert_eq!(database.connection().execute(&alter, []).unwrap(), 1);
            let bad = journal.verify_all().unwrap().unwrap_err();
            assert_eq!(bad.seq, 2, "{column}: {bad}");
        }
    }

    #[test]
    fn no_record_is_appended_to_a_damaged_last_record() {
        let scratch = Scratch::new("journal-tail");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let _ = sample::started(&journal, "run000000001", 1);
        for damage in ["hash = x'00'", "seq = -1, hash = zeroblob(32)", "seq = 9223372036854775807"] {
            database.connection().execute(&format!("UPDATE record SET {damage}"), []).unwrap();
            let started: Failed<_> =
                journal.start(&sample::moment(2), sample::start("r"), sample::SELF, |_| Failed::Ok(()));
            assert!(matches!(started, Err(JournalError::Damaged(_))), "{damage}");
        }
    }
}
