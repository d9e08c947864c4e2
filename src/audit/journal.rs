//! The durable, ordered journal: table `record` and the open runs, in the one database.
//! May not: read a clock, choose a sink, or write outside a transaction that the caller can see.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rusqlite::{Transaction, params};

use super::checkpoint::Due;
use super::columns::sql_integer;
use super::error::JournalError;
use super::forks::Traces;
use super::history::{LAST, Last, last};
use super::listing::Stored;
use super::meta::meta;
use super::open_run::{self, Opened, Phase, Process, RunKey};
use super::precedent;
use super::sink::{Delivery, Sink};
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
use jit_core::policy::EPOCH;
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
    /// How long one sealing key signs.
    pub(super) epoch: Duration,
    pub(super) traces: Option<Box<dyn Traces>>,
    sealer: Option<Box<dyn Fn()>>,
    /// A record that is on the disk.
    on_disk: Cell<u64>,
}

/// After how many records whose commits do not wait for the disk one of them puts all records before it on the disk.
const SYNC_EVERY: u64 = 32;

const APPEND: &str = "INSERT INTO record (seq, kind, uid, run, grant_id, at, high, hash, body) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

impl<'a> Journal<'a> {
    /// Creates a journal on `database` with `sinks`; `host` is the host name in records.
    pub fn new(database: &'a Database, host: &'a str, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            database,
            host,
            sinks: RefCell::new(sinks),
            storage: Storage::default(),
            epoch: EPOCH,
            traces: None,
            sealer: None,
            on_disk: Cell::new(0),
        }
    }

    /// Sets another budget for what one user may cause to be stored.
    #[must_use]
    pub fn with_storage(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// Sets how long one sealing key signs.
    #[must_use]
    pub fn with_epoch(self, epoch: Duration) -> Self {
        Self { epoch, ..self }
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
        place: (u64, Option<Last>),
        event: Event,
    ) -> Result<Written, JournalError> {
        self.put_signed(transaction, moment, place, event, Ok)
    }

    /// Stores the record that `sign` returns for that of `event`.
    pub(super) fn put_signed(
        &self,
        transaction: &Transaction<'_>,
        moment: &Moment,
        (seq, last): (u64, Option<Last>),
        event: Event,
        sign: impl FnOnce(Record) -> Result<Record, serde_json::Error>,
    ) -> Result<Written, JournalError> {
        let (prev, high) = last.map_or((Digest::ZERO, i64::MIN), |last| (last.mark.hash, last.high.0));
        let record = sign(Record::new(seq, prev, moment, self.host, event))?;
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
        if durability == Durability::Ordered {
            self.bound_unsynced(record.seq)?;
        }
        Ok(Written { seq: record.seq, time: record.time, hash, kind, body, durability })
    }

    /// Puts the records before this one on the disk if many may not be there. The caller holds the write lock, so none is added
    /// meanwhile: whatever the number of processes, a power failure loses few records that a log sink has got.
    fn bound_unsynced(&self, seq: u64) -> Result<(), JournalError> {
        if seq.is_multiple_of(SYNC_EVERY) && seq.saturating_sub(self.on_disk.get()) > SYNC_EVERY / 2 {
            self.database.sync_commits()?;
        }
        Ok(())
    }

    /// Sends committed records to every sink; returns `Missed` when any sink missed any of them.
    pub fn mirror(&self, written: &[Written]) -> Delivery {
        self.send(written, &|_| true)
    }

    /// Connects the sinks, so that they can send without the look-up of a path.
    pub fn connect_sinks(&self) {
        self.sinks.borrow_mut().iter_mut().for_each(|sink| sink.connect());
    }

    /// Sends committed records to the sinks that cannot wait for a file system. For a process that must not wait, because it alone
    /// ends a run: the other sinks get the records with the next ones, or by [`Self::mirror_rest`].
    pub fn mirror_promptly(&self, written: &[Written]) {
        let _ = self.send(written, &|sink| sink.is_prompt()); // once the command runs, a failing sink changes nothing
    }

    /// Sends the records of [`Self::mirror_promptly`] to the other sinks.
    pub fn mirror_rest(&self, written: &[Written]) {
        let _ = self.send(written, &|sink| !sink.is_prompt()); // as above
    }

    fn send(&self, written: &[Written], is_meant: &dyn Fn(&dyn Sink) -> bool) -> Delivery {
        if written.is_empty() {
            return Delivery::Delivered;
        }
        let missed = |sink: &mut Box<dyn Sink>| sink.mirror(written, self) == Delivery::Missed;
        // Sends to every sink, even after one of them failed.
        let mut sinks = self.sinks.borrow_mut();
        let missed = sinks.iter_mut().filter(|sink| is_meant(&***sink)).map(missed).filter(|missed| *missed).count();
        drop(sinks);
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

    /// Records the new contents of a file before the run installs it; the record is on the disk when this returns. Fails where the run
    /// was closed as lost: nobody would expect it to change a file.
    pub fn edit(&self, started: &Started, moment: &Moment, change: Change) -> Result<Written, JournalError> {
        let edit = Edit {
            run: started.run.clone(),
            start: started.written.seq,
            uid: started.uid,
            grant: started.grant.clone(),
            change,
        };
        self.database.write(Durability::Synced, |tx| {
            if !open_run::is_listed(tx, started.which(), Phase::Running)? {
                return Err(JournalError::NotOpen(started.run.to_string()));
            }
            self.append(tx, moment, Event::Edit(Box::new(edit)))
        })
    }

    /// Records the end of a run. The record survives a killed process, but not necessarily a power failure (the next start syncs
    /// it); after one the run is closed as lost.
    pub fn end(&self, started: &Started, moment: &Moment, ending: RunOutcome) -> Result<Written, JournalError> {
        // Its command did not begin before, so a short run syncs nothing more.
        self.on_disk.set(started.written.seq);
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
mod tests;
