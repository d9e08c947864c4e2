//! Checkpoints: the host's signature over the number and hash of a record, which covers all records up to it. They are stored
//! beside the chain, the latest of each thousand records, and stock `ssh-keygen` can verify them.
//! May not: read a clock or a key; both come in as arguments.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::columns::{sql_bound, sql_integer};
use super::epochs::epoch_at;
use super::error::JournalError;
use super::history::{self, Last};
use super::journal::Journal;
use super::key_life::host_key_at;
use super::provenance::accepted;
use super::tree::{self, Grown, StoredTree};
use crate::database::Durability;
use jit_core::clock::{Moment, TOLERANCE_US, Timestamp};
use jit_core::evidence::checkpoint::{Checkpoint, EVERY_RECORDS, EVERY_SECONDS, Statement, VERSION};
use jit_core::evidence::note::{Note, signed_by_host};
use jit_core::evidence::{Mark, TreeHead};
use jit_core::grant::sshsig::Namespace;
use jit_core::grant::terms::encode;
use jit_core::grant::{HostId, HostKey};

/// When a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Whenever the last record has none.
    Now,
    /// After [`EVERY_RECORDS`] or [`EVERY_SECONDS`].
    InTime,
}

impl Journal<'_> {
    /// Returns the last record, when a checkpoint of it is due.
    pub fn unsealed(&self, now: Timestamp, due: Due) -> Result<Option<Mark>, JournalError> {
        let connection = self.database.connection();
        let Some(Last { mark: last, .. }) = history::last(connection)? else { return Ok(None) };
        let mut statement = connection.prepare("SELECT seq, body FROM checkpoint ORDER BY seq DESC LIMIT 1")?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(Some(last)) };
        let sealed = row.get::<_, i64>(0)?.unsigned_abs();
        // A checkpoint that cannot be decoded counts as none; the next one follows it.
        let at = serde_json::from_slice::<Statement>(row.get_ref(1)?.as_bytes().unwrap_or_default())
            .map_or(i64::MIN, |statement| statement.at);
        let age = now.seconds().saturating_sub(at);
        let due = last.seq > sealed
            && match due {
                Due::Now => true,
                Due::InTime => last.seq.saturating_sub(sealed) >= EVERY_RECORDS || !(0..EVERY_SECONDS).contains(&age),
            };
        Ok(due.then_some(last))
    }

    /// Returns the tree of all records up to the one that [`Self::unsealed`] returned; `None` if it does not agree with the last
    /// checkpoint.
    pub fn grown(&self, last: Mark) -> Result<Option<Grown>, JournalError> {
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        grown_in(&snapshot, last)
    }

    /// Signs the record that [`Self::unsealed`] returned and the tree up to it, with the sealing key of the present epoch, and deletes
    /// earlier checkpoints of the same thousand records. The very first one stays: after a pruning it is all that is left of the pruned
    /// records. That of the record of a pruning stays too, and the last one before each rotation, each retirement and each line of sealing
    /// keys: what a key has signed is known by it. The host key signs the note. Returns `None` if another epoch has begun, or
    /// another host key has taken the place of this one before the record; then nothing was signed.
    pub fn seal(
        &self,
        (last, grown): (Mark, &Grown),
        moment: &Moment,
        sealing: &HostKey,
        (key, host): (&HostKey, &HostId),
    ) -> Result<Option<Checkpoint>, JournalError> {
        let checkpoint = signed((last, grown), moment, sealing, (key, host))?;
        // Synced: the log sinks get it, and no power failure may remove what a witness has seen.
        let is_signed = self.database.write(Durability::Synced, |tx| {
            if !may_sign(tx, last.seq, moment, sealing, key)? {
                return Ok(false);
            }
            store(tx, grown, &checkpoint)?;
            Ok::<_, JournalError>(true)
        })?;
        Ok(is_signed.then_some(checkpoint))
    }

    /// Returns the notes of all checkpoints. Leaves out what cannot be decoded, which a verification reports.
    pub fn notes(&self) -> Result<Vec<Note>, JournalError> {
        let mut statement = self.database.connection().prepare("SELECT note FROM checkpoint")?;
        let (mut rows, mut notes) = (statement.query([])?, Vec::new());
        while let Some(row) = rows.next()? {
            notes.extend(row.get_ref(0)?.as_str().ok().and_then(Note::parse));
        }
        Ok(notes)
    }

    /// Returns the checkpoints of records `from` to `through`, in their order.
    pub fn checkpoints(&self, from: u64, through: u64) -> Result<Vec<Checkpoint>, JournalError> {
        checkpoints(self.database.connection(), from, through)
    }
}

/// Whether these keys sign record `seq`: the sealing key is that of the present epoch, which has begun at this time, and no other host
/// key has taken the place of this one before the record. Otherwise another process has begun an epoch or replaced the host key
/// meanwhile, and the caller reads the keys again.
pub(super) fn may_sign(
    tx: &Transaction<'_>,
    seq: u64,
    moment: &Moment,
    sealing: &HostKey,
    host: &HostKey,
) -> Result<bool, JournalError> {
    let Some(current) = epoch_at(tx, u64::MAX)? else { return Ok(true) };
    let is_early = current.began.0.saturating_sub(moment.wall.0) > TOLERANCE_US;
    if current.epoch.key != sealing.public_key() || is_early {
        return Ok(false);
    }
    Ok(host_key_at(tx, &current, seq)?.is_none_or(|own| own == host.public_key()))
}

/// Signs the tree up to this record with a sealing key; the host key signs the note.
fn signed(
    (last, grown): (Mark, &Grown),
    moment: &Moment,
    sealing: &HostKey,
    (key, host): (&HostKey, &HostId),
) -> Result<Checkpoint, JournalError> {
    let TreeHead { size, root } = grown.head;
    let (at, host_id, seq) = (moment.wall.seconds(), host.as_str().to_owned(), last.seq);
    let statement = Statement { at, head: last.hash, host: host_id, root, seq, size, version: VERSION };
    let body = encode(&statement)?;
    let signature = sealing.sign(Namespace::Checkpoint, &body);
    let note = signed_by_host(key, host.as_str(), &grown.head).map(|note| note.to_string());
    Ok(Checkpoint { seq, body, signature, note: note.unwrap_or_default() })
}

/// Signs and stores the last record, inside the transaction that has written it.
pub(super) fn seal_in(
    tx: &Transaction<'_>,
    last: Mark,
    moment: &Moment,
    sealing: &HostKey,
    host: (&HostKey, &HostId),
) -> Result<Checkpoint, JournalError> {
    let grown =
        grown_in(tx, last)?.ok_or(JournalError::Damaged("a tree that does not agree with the last checkpoint"))?;
    let checkpoint = signed((last, &grown), moment, sealing, host)?;
    store(tx, &grown, &checkpoint)?;
    Ok(checkpoint)
}

fn store(tx: &Transaction<'_>, grown: &Grown, checkpoint: &Checkpoint) -> Result<(), JournalError> {
    let Checkpoint { seq, body, signature, note } = checkpoint;
    let seq = sql_integer(*seq)?;
    tree::store(tx, grown)?;
    tx.execute(
        "DELETE FROM checkpoint WHERE seq < ?1 AND (seq - 1) / ?2 = (?1 - 1) / ?2 AND seq > (SELECT min(seq) FROM checkpoint) \
         AND seq NOT IN (SELECT seq FROM record WHERE kind = 'prune' AND kind NOT IN ('start', 'end')) \
         AND seq NOT IN (SELECT (SELECT max(seq) FROM checkpoint WHERE seq < record.seq) FROM record \
         WHERE kind IN ('rotation', 'retirement', 'epoch') AND kind NOT IN ('start', 'end') AND seq <= ?1 \
         AND seq > (?1 - 1) / ?2 * ?2 AND (kind <> 'epoch' OR instr(body, CAST('\"certified_by\":\"host-key\"' AS BLOB)) > 0) \
         AND EXISTS (SELECT 1 FROM checkpoint WHERE seq < record.seq))",
        params![seq, sql_bound(EVERY_RECORDS)],
    )?;
    tx.execute(
        "INSERT OR REPLACE INTO checkpoint (seq, body, signature, note) VALUES (?1, ?2, ?3, ?4)",
        params![seq, body, signature, note],
    )?;
    Ok(())
}

fn grown_in(connection: &Connection, last: Mark) -> Result<Option<Grown>, JournalError> {
    let query = "SELECT body FROM checkpoint ORDER BY seq DESC LIMIT 1";
    let before: Option<Vec<u8>> = connection.query_row(query, [], |row| row.get(0)).optional()?;
    let before = before.and_then(|body| Statement::decode(&body));
    // Root accepts the records as they are.
    let accepted = accepted(connection)?;
    StoredTree::open(connection)?.grow(last, before.filter(|said| said.seq > accepted).as_ref())
}

pub(super) fn checkpoints(connection: &Connection, from: u64, through: u64) -> Result<Vec<Checkpoint>, JournalError> {
    let query = "SELECT seq, body, signature, note FROM checkpoint WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map(params![sql_bound(from), sql_bound(through)], |row| {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        Ok(Checkpoint { seq, body: row.get(1)?, signature: row.get(2)?, note: row.get(3)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;

    #[test]
    fn a_checkpoint_is_due_after_a_minute_or_a_thousand_records() {
        let scratch = Scratch::new("checkpoint-due");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let due = |second, due| journal.unsealed(sample::moment(second).wall, due).unwrap().map(|mark| mark.seq);
        assert_eq!(due(0, Due::Now), None, "an empty journal has nothing to sign");
        sample::fill(&journal, 1);
        assert_eq!(due(0, Due::InTime), Some(1), "the first record");
        sample::seal(&journal, 0);
        assert_eq!((due(0, Due::Now), due(1000, Due::InTime)), (None, None), "nothing is signed twice");
        sample::fill(&journal, 1);
        assert_eq!((due(59, Due::InTime), due(59, Due::Now), due(60, Due::InTime)), (None, Some(2), Some(2)));
        assert_eq!(due(-1, Due::InTime), Some(2), "a clock set back");
        sample::fill(&journal, 998);
        assert_eq!(due(1, Due::InTime), None);
        sample::fill(&journal, 1);
        assert_eq!(due(1, Due::InTime), Some(1001));
    }

    #[test]
    fn the_first_checkpoint_and_the_latest_of_each_thousand_are_kept() {
        let scratch = Scratch::new("checkpoint-stays");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        for _ in 0..25 {
            sample::fill(&journal, 100);
            sample::seal(&journal, 0);
        }
        let stored = journal.checkpoints(0, u64::MAX).unwrap();
        assert_eq!(stored.iter().map(|checkpoint| checkpoint.seq).collect::<Vec<_>>(), [100, 1000, 2000, 2500]);
        assert_eq!(journal.checkpoints(1001, 2000).unwrap().len(), 1);
    }
}
