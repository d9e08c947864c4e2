//! The life of the host key in the journal: the records that replace it by another one, and the one that retires the host. Both are
//! signed with the key itself, and kept beside the chain when they are pruned, as certificates are. A key that one of them has ended
//! signs no such record more, and begins no line of sealing keys: both take an [`Unended`] key.
//! May not: read a clock or a key file; both come in as arguments.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::columns::sql_bound;
use super::distrust;
use super::epochs::{CurrentEpoch, epoch_at, kept_name};
use super::error::JournalError;
use super::forks::names_a_record;
use super::history::{history, last};
use super::journal::{Journal, Written};
use super::meta::{HOST, set_meta};
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::certificate::certifier;
use jit_core::evidence::key_event::{RETIREMENT, ROTATION};
use jit_core::evidence::key_statement::{lineage, sign_retirement, sign_rotation};
use jit_core::evidence::record::{Event, Record, Retirement, Rotation};
use jit_core::evidence::{KeyEnd, Lineage};
use jit_core::grant::{HostKey, PublicKey};

/// The retirement of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// When.
    pub at: Timestamp,
    /// The key, which was removed.
    pub key: PublicKey,
}

/// A host key that no rotation and no retirement has ended. Only [`Journal::unended`] returns one, inside the transaction that writes
/// what it signs.
#[derive(Clone, Copy)]
pub struct Unended<'k>(&'k HostKey);

impl<'k> Unended<'k> {
    /// Returns the key.
    pub(super) fn key(self) -> &'k HostKey {
        self.0
    }
}

impl Journal<'_> {
    /// Returns the key if nothing has ended it, in this transaction.
    pub fn unended<'k>(
        &self,
        tx: &Transaction<'_>,
        key: &'k HostKey,
    ) -> Result<Result<Unended<'k>, KeyEnd>, JournalError> {
        Ok(hosts(tx)?.end(&key.public_key()).map_or(Ok(Unended(key)), Err))
    }

    /// Returns what has ended this host key, pruned or not, in whichever line of sealing keys.
    pub fn key_end(&self, key: &PublicKey) -> Result<Option<KeyEnd>, JournalError> {
        Ok(hosts(self.database.connection())?.end(key))
    }

    /// Records that the host key `new` takes the place of `old`, inside the caller's transaction, and who the host is from now on.
    ///
    /// # Errors
    /// The journal is that of another key, or the database lacks records.
    pub fn rotate(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        (old, new): (Unended<'_>, &HostKey),
        rotation: Rotation,
    ) -> Result<Written, JournalError> {
        set_meta(tx, HOST, rotation.identity.id.as_bytes())?;
        let event = Event::Rotation(Box::new(rotation));
        self.append_by(tx, moment, old, event, |record| sign_rotation(record, old.key(), new))
    }

    /// Records that the host is retired, inside the caller's transaction. No grant is given or accepted after that until root
    /// accepts the state of the host.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn retire(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        by: Unended<'_>,
        retirement: Retirement,
    ) -> Result<Written, JournalError> {
        distrust::mark(tx, &format!("this host was retired at {}", moment.wall.to_the_second()))?;
        let event = Event::Retirement(Box::new(retirement));
        self.append_by(tx, moment, by, event, |record| sign_retirement(record, by.key()))
    }

    /// Appends a record of the host key by which the present line of sealing keys is known.
    fn append_by(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        by: Unended<'_>,
        event: Event,
        sign: impl FnOnce(Record) -> Result<Record, serde_json::Error>,
    ) -> Result<Written, JournalError> {
        let last = last(tx)?;
        let seq = last.map_or(0, |last| last.mark.seq);
        if self.anchor_ahead(seq).is_some_and(names_a_record) {
            return Err(JournalError::Older("the database lacks records that its anchor names".to_owned()));
        }
        if own_key(tx)? != Some(by.key().public_key()) {
            return Err(JournalError::OtherHost);
        }
        self.put_signed(tx, moment, (seq.saturating_add(1), last), event, sign)
    }

    /// Returns the retirement of this host, unless another host key has begun a line of sealing keys since.
    pub fn retired(&self) -> Result<Option<Retired>, JournalError> {
        retired(self.database.connection())
    }

    /// Returns the exact bytes of all records by which the host key was replaced, in their order.
    pub fn rotations(&self) -> Result<Vec<String>, JournalError> {
        let is_rotation = |body: &String| matches!(Record::decode(body), Ok(Record { event: Event::Rotation(_), .. }));
        Ok(key_records(self.database.connection())?.into_iter().filter(is_rotation).collect())
    }

    /// Returns the host key `own` and those that it has taken the place of, the latest first.
    pub fn lineage(&self, own: PublicKey) -> Result<Vec<PublicKey>, JournalError> {
        let rotations = self.rotations()?;
        Ok(lineage(rotations.iter().map(String::as_str), own))
    }

    /// Returns the host key by which the line of this epoch is known now.
    pub fn host_key_of(&self, current: &CurrentEpoch) -> Result<Option<PublicKey>, JournalError> {
        host_key_at(self.database.connection(), current, u64::MAX)
    }

    /// Returns the host key by which the present line of sealing keys is known; `None` if the journal has no line.
    pub fn own_key(&self) -> Result<Option<PublicKey>, JournalError> {
        own_key(self.database.connection())
    }
}

const DAMAGED: JournalError = JournalError::Damaged("a record about the host key");

/// Returns the exact bytes of all records by which a host key was replaced or retired, in their order.
fn key_records(connection: &Connection) -> Result<Vec<String>, JournalError> {
    let query = history!(
        "SELECT value FROM (SELECT CAST(substr(name, 13) AS INTEGER) AS seq, value FROM journal_meta \
         WHERE name > ?1 AND name < ?2 AND instr(value, CAST('\"kind\":\"epoch\"' AS BLOB)) = 0 UNION ALL \
         SELECT seq, body FROM history WHERE kind IN ('rotation', 'retirement') AND kind NOT IN ('start', 'end')) ORDER BY seq"
    );
    let mut statement = connection.prepare(query)?;
    let bodies = statement.query_map([kept_name(0), kept_name(u64::MAX)], |row| row.get::<_, Vec<u8>>(0))?;
    let bodies = bodies.collect::<rusqlite::Result<Vec<_>>>()?;
    // Leaves out what is no text, which a verification reports.
    Ok(bodies.into_iter().filter_map(|body| String::from_utf8(body).ok()).collect())
}

/// Returns what these records say of the host keys.
fn hosts(connection: &Connection) -> Result<Lineage, JournalError> {
    let mut lineage = Lineage::default();
    key_records(connection)?.iter().for_each(|body| lineage.learn(body.as_bytes()));
    Ok(lineage)
}

/// Returns the retirement in the present line of sealing keys.
pub(super) fn retired(connection: &Connection) -> Result<Option<Retired>, JournalError> {
    let since = epoch_at(connection, u64::MAX)?.map_or(0, |current| current.epoch.line);
    let Some(body) = last_of(connection, RETIREMENT, since, u64::MAX)? else { return Ok(None) };
    let record = decoded(&body)?;
    let Event::Retirement(retirement) = &record.event else { return Err(DAMAGED) };
    Ok(Some(Retired { at: record.time, key: retirement.public_key().ok_or(DAMAGED)? }))
}

fn own_key(connection: &Connection) -> Result<Option<PublicKey>, JournalError> {
    match epoch_at(connection, u64::MAX)? {
        Some(current) => host_key_at(connection, &current, u64::MAX),
        None => Ok(None),
    }
}

/// Returns the host key by which the line of this epoch is known at record `seq`: the one that certified its first key, or the one
/// that has taken its place since.
pub(super) fn host_key_at(
    connection: &Connection,
    current: &CurrentEpoch,
    seq: u64,
) -> Result<Option<PublicKey>, JournalError> {
    let line = current.epoch.line;
    if let Some(body) = last_of(connection, ROTATION, line, seq)? {
        let Event::Rotation(rotation) = decoded(&body)?.event else { return Err(DAMAGED) };
        return Ok(rotation.identity.public_key());
    }
    let query =
        history!("SELECT body FROM history WHERE seq = ?1 UNION ALL SELECT value FROM journal_meta WHERE name = ?2");
    let bounds = params![sql_bound(line), kept_name(line)];
    let body: Option<Vec<u8>> = connection.query_row(query, bounds, |row| row.get(0)).optional()?;
    Ok(body.and_then(|body| certifier(&body)))
}

/// Returns the number of the last rotation that was not pruned; 0 without one.
pub(super) fn rotated(connection: &Connection) -> Result<u64, JournalError> {
    let query = history!("SELECT max(seq) FROM history WHERE kind = 'rotation' AND kind NOT IN ('start', 'end')");
    let last: Option<i64> = connection.query_row(query, [], |row| row.get(0))?;
    Ok(last.map_or(0, i64::unsigned_abs))
}

/// Returns the last record of this kind behind number `after` and up to `through`, pruned or not.
fn last_of(connection: &Connection, kind: &str, after: u64, through: u64) -> Result<Option<Vec<u8>>, JournalError> {
    let query = history!(
        "SELECT body FROM history WHERE kind = ?1 AND kind NOT IN ('start', 'end') AND seq > ?2 AND seq <= ?3 \
         ORDER BY seq DESC LIMIT 1"
    );
    let bounds = params![kind, sql_bound(after), sql_bound(through)];
    let body: Option<Vec<u8>> = connection.query_row(query, bounds, |row| row.get(0)).optional()?;
    if body.is_some() {
        return Ok(body);
    }
    let query = "SELECT value FROM journal_meta WHERE name > ?1 AND name <= ?2 AND instr(value, ?3) > 0 ORDER BY name DESC LIMIT 1";
    let bounds = params![kept_name(after), kept_name(through), format!("\"kind\":\"{kind}\"").into_bytes()];
    Ok(connection.query_row(query, bounds, |row| row.get(0)).optional()?)
}

fn decoded(body: &[u8]) -> Result<Record, JournalError> {
    Ok(Record::decode(std::str::from_utf8(body).map_err(|_| DAMAGED)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{CutOff, Due, SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};
    use crate::store;
    use jit_core::evidence::epoch_event::key_words;
    use jit_core::evidence::note::origin;
    use jit_core::evidence::prunings::KEEP_LEAST;
    use jit_core::grant::HostDescriptor;

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed([seed; 32])
    }

    fn identity(key: &HostKey) -> HostDescriptor {
        HostDescriptor::of(key, "web1", "machine")
    }

    const ALL: [&str; 5] = [SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::ROLE_SCHEMA, store::STATEMENT_SCHEMA];

    /// Does what `change` does with the key, unless something has ended it.
    fn changes(
        journal: &Journal<'_>,
        by: &HostKey,
        change: impl FnOnce(&Transaction<'_>, Unended<'_>) -> Result<Written, JournalError>,
    ) -> Result<Written, KeyEnd> {
        let change = |tx: &Transaction<'_>| match journal.unended(tx, by)? {
            Ok(by) => change(tx, by).map(Ok),
            Err(end) => Ok::<_, JournalError>(Err(end)),
        };
        journal.database.write(Durability::Synced, change).unwrap()
    }

    fn rotates(journal: &Journal<'_>, second: i64, old: &HostKey, new: &HostKey) -> Result<Written, KeyEnd> {
        let rotation = Rotation {
            uid: 0,
            user: "root".into(),
            reason: "it is a year old".into(),
            old_key: key_words(&old.public_key()),
            identity: identity(new),
            old_signature: String::new(),
            new_signature: String::new(),
        };
        changes(journal, old, |tx, old| journal.rotate(tx, &sample::moment(second), (old, new), rotation))
    }

    fn retires(journal: &Journal<'_>, second: i64, by: &HostKey) -> Result<Written, KeyEnd> {
        let retirement = Retirement {
            uid: 0,
            user: "root".into(),
            reason: "scrapped".into(),
            key: key_words(&by.public_key()),
            signature: String::new(),
        };
        changes(journal, by, |tx, by| journal.retire(tx, &sample::moment(second), by, retirement))
    }

    fn begins(journal: &Journal<'_>, second: i64, by: &HostKey, first: &HostKey) -> Result<Written, KeyEnd> {
        changes(journal, by, |tx, by| {
            Ok(journal.begin_line(tx, &sample::moment(second), by, &first.public_key())?.unwrap())
        })
    }

    fn seals(journal: &Journal<'_>, second: i64, sealing: &HostKey, by: &HostKey) -> bool {
        let last = journal.unsealed(sample::moment(second).wall, Due::Now).unwrap().unwrap();
        let grown = journal.grown(last).unwrap().unwrap();
        let id = identity(by).host_id().unwrap();
        journal.seal((last, &grown), &sample::moment(second), sealing, (by, &id)).unwrap().is_some()
    }

    #[test]
    fn a_key_that_was_replaced_or_retired_changes_nothing_more() {
        let scratch = Scratch::new("key-life-ended");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let [first, second, third, sealing] = [1, 2, 3, 11].map(key);
        let _ = begins(&journal, 1, &first, &sealing).unwrap();
        let _ = rotates(&journal, 2, &first, &second).unwrap();
        let ended =
            |seq, second, is_retirement| KeyEnd { seq, at: sample::moment(second).wall.seconds(), is_retirement };
        let replaced = ended(2, 2, false);
        assert_eq!(rotates(&journal, 3, &first, &third).unwrap_err(), replaced, "two rotations at once");
        assert_eq!(retires(&journal, 3, &first).unwrap_err(), replaced);
        let _ = retires(&journal, 4, &second).unwrap();
        let gone = Retired { at: sample::moment(4).wall, key: second.public_key() };
        let retired = ended(3, 4, true);
        assert_eq!(retires(&journal, 5, &second).unwrap_err(), retired, "two retirements at once");
        assert_eq!(rotates(&journal, 5, &second, &third).unwrap_err(), retired);
        assert_eq!(journal.retired().unwrap(), Some(gone));
        // Not even the mark is needed.
        let unmark = |tx: &Transaction<'_>| distrust::accept(tx).map_err(JournalError::from);
        database.write(Durability::Synced, unmark).unwrap();
        let current = journal.epoch().unwrap().unwrap();
        let next = |tx: &Transaction<'_>| {
            journal.next_epoch(tx, &sample::moment(5), &current, &sealing, &key(12).public_key())
        };
        assert_eq!(database.write(Durability::Synced, next).unwrap(), None, "its sealing key certifies none");
        assert_eq!(begins(&journal, 6, &first, &key(12)).unwrap_err(), replaced);
        assert_eq!(begins(&journal, 6, &second, &key(12)).unwrap_err(), retired);
        let _ = begins(&journal, 6, &third, &key(12)).unwrap();
        assert_eq!(journal.retired().unwrap(), None);
        assert_eq!(begins(&journal, 7, &second, &key(13)).unwrap_err(), retired, "in whichever line");
    }

    #[test]
    fn the_checkpoints_before_a_rotation_a_retirement_and_a_line_stay() {
        let scratch = Scratch::new("key-life-thinned");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let [first, second, third, sealing] = [1, 2, 3, 11].map(key);
        let fills = |second: i64, sealing: &HostKey, by: &HostKey| {
            sample::fill(&journal, 1);
            assert!(seals(&journal, second, sealing, by));
            journal.head().unwrap().unwrap().0
        };
        let _ = begins(&journal, 1, &first, &sealing).unwrap();
        let mut kept = vec![fills(1, &sealing, &first)];
        let _ = fills(1, &sealing, &first);
        kept.push(fills(1, &sealing, &first)); // before the rotation
        let _ = rotates(&journal, 1, &first, &second).unwrap();
        let _ = fills(1, &sealing, &second);
        kept.push(fills(1, &sealing, &second)); // before the retirement
        let _ = retires(&journal, 1, &second).unwrap();
        assert!(seals(&journal, 1, &sealing, &second));
        kept.push(journal.head().unwrap().unwrap().0); // before the line
        let _ = begins(&journal, 1, &third, &key(12)).unwrap();
        let _ = fills(1, &key(12), &third);
        kept.push(fills(1, &key(12), &third));
        let stored = journal.checkpoints(0, u64::MAX).unwrap();
        assert_eq!(stored.iter().map(|checkpoint| checkpoint.seq).collect::<Vec<_>>(), kept);
    }

    #[test]
    fn the_host_key_of_a_record_signs_its_note_and_no_former_one() {
        let scratch = Scratch::new("key-life-former");
        let database = Database::create(&scratch.path(), &ALL).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let (old, new, sealing) = (key(sample::HOST_SEED), key(2), key(11));
        let _ = begins(&journal, 1, &old, &sealing).unwrap();
        let (before, later) = (sample::moment(3).wall, sample::moment(KEEP_LEAST + 9));
        let seals = |second, by: &HostKey| seals(&journal, second, &sealing, by);
        let prunes = |by: &HostKey| {
            let last = journal.prunable(CutOff::by_time(before), &later).unwrap().unwrap();
            let id = identity(by).host_id().unwrap();
            journal.prune(&later, last, (0, "root"), before, &sealing, (by, &id)).unwrap().is_some()
        };
        assert!(!seals(1, &new) && seals(1, &old));
        sample::fill(&journal, 1);
        let _ = rotates(&journal, 2, &old, &new).unwrap();
        assert!(!seals(2, &old), "the rotation overtakes the checkpoint");
        assert!(!prunes(&old) && journal.pruned().unwrap().is_none(), "the rotation overtakes the pruning");
        assert!(prunes(&new) && journal.pruned().unwrap().is_some());
        let note = journal.notes().unwrap().pop().unwrap();
        let origin = origin(identity(&new).host_id().unwrap().as_str());
        assert_eq!(note.head().unwrap().0, origin);
    }
}
