//! The life of the host key in the journal: the records that replace it by another one, and the one that retires the host. Both are
//! signed with the key itself, and kept beside the chain when they are pruned, as certificates are.
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
use jit_core::grant::{HostKey, PublicKey};

/// The retirement of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// When.
    pub at: Timestamp,
    /// The key, which was removed.
    pub key: PublicKey,
}

impl Journal<'_> {
    /// Records that the host key `new` takes the place of `old`, inside the caller's transaction, and who the host is from now on.
    ///
    /// # Errors
    /// The journal is that of another key, or the database lacks records.
    pub fn rotate(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        (old, new): (&HostKey, &HostKey),
        rotation: Rotation,
    ) -> Result<Written, JournalError> {
        set_meta(tx, HOST, rotation.identity.id.as_bytes())?;
        let event = Event::Rotation(Box::new(rotation));
        self.append_by(tx, moment, old, event, |record| sign_rotation(record, old, new))
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
        by: &HostKey,
        retirement: Retirement,
    ) -> Result<Written, JournalError> {
        distrust::mark(tx, &format!("this host was retired at {}", moment.wall.to_the_second()))?;
        let event = Event::Retirement(Box::new(retirement));
        self.append_by(tx, moment, by, event, |record| sign_retirement(record, by))
    }

    /// Appends a record of the host key by which the present line of sealing keys is known.
    fn append_by(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        by: &HostKey,
        event: Event,
        sign: impl FnOnce(Record) -> Result<Record, serde_json::Error>,
    ) -> Result<Written, JournalError> {
        let last = last(tx)?;
        let seq = last.map_or(0, |last| last.mark.seq);
        if self.anchor_ahead(seq).is_some_and(names_a_record) {
            return Err(JournalError::Older("the database lacks records that its anchor names".to_owned()));
        }
        if own_key(tx)? != Some(by.public_key()) {
            return Err(JournalError::OtherHost);
        }
        self.put_signed(tx, moment, (seq.saturating_add(1), last), event, sign)
    }

    /// Returns the retirement of this host, unless another host key has begun a line of sealing keys since.
    pub fn retired(&self) -> Result<Option<Retired>, JournalError> {
        let connection = self.database.connection();
        let since = epoch_at(connection, u64::MAX)?.map_or(0, |current| current.epoch.line);
        let Some(body) = last_of(connection, RETIREMENT, since, u64::MAX)? else { return Ok(None) };
        let record = decoded(&body)?;
        let Event::Retirement(retirement) = &record.event else { return Err(DAMAGED) };
        Ok(Some(Retired { at: record.time, key: retirement.public_key().ok_or(DAMAGED)? }))
    }

    /// Returns the exact bytes of all records by which the host key was replaced, in their order.
    pub fn rotations(&self) -> Result<Vec<String>, JournalError> {
        let query = history!(
            "SELECT value FROM (SELECT CAST(substr(name, 13) AS INTEGER) AS seq, value FROM journal_meta \
             WHERE name > ?1 AND name < ?2 AND instr(value, CAST('\"kind\":\"rotation\"' AS BLOB)) > 0 UNION ALL \
             SELECT seq, body FROM history WHERE kind = 'rotation' AND kind NOT IN ('start', 'end')) ORDER BY seq"
        );
        let mut statement = self.database.connection().prepare(query)?;
        let bodies = statement.query_map([kept_name(0), kept_name(u64::MAX)], |row| row.get::<_, Vec<u8>>(0))?;
        let bodies = bodies.collect::<rusqlite::Result<Vec<_>>>()?;
        let texts = bodies.into_iter().filter_map(|body| String::from_utf8(body).ok());
        Ok(texts.filter(|body| matches!(Record::decode(body), Ok(Record { event: Event::Rotation(_), .. }))).collect())
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

    fn rotates(journal: &Journal<'_>, second: i64, old: &HostKey, new: &HostKey) {
        let rotation = Rotation {
            uid: 0,
            user: "root".into(),
            reason: "it is a year old".into(),
            old_key: key_words(&old.public_key()),
            identity: identity(new),
            old_signature: String::new(),
            new_signature: String::new(),
        };
        let rotate = |tx: &Transaction<'_>| journal.rotate(tx, &sample::moment(second), (old, new), rotation);
        let _ = journal.database.write(Durability::Synced, rotate).unwrap();
    }

    #[test]
    fn the_host_key_of_a_record_signs_its_note_and_no_former_one() {
        let scratch = Scratch::new("key-life-former");
        let all = [SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::ROLE_SCHEMA, store::STATEMENT_SCHEMA];
        let database = Database::create(&scratch.path(), &all).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let (old, new, sealing) = (key(sample::HOST_SEED), key(2), key(11));
        let begin = |tx: &Transaction<'_>| journal.begin_line(tx, &sample::moment(1), &old, &sealing.public_key());
        let _ = database.write(Durability::Synced, begin).unwrap().unwrap();
        let (before, later) = (sample::moment(3).wall, sample::moment(KEEP_LEAST + 9));
        let seals = |second, by: &HostKey| {
            let last = journal.unsealed(sample::moment(second).wall, Due::Now).unwrap().unwrap();
            let grown = journal.grown(last).unwrap().unwrap();
            let id = identity(by).host_id().unwrap();
            journal.seal((last, &grown), &sample::moment(second), &sealing, (by, &id)).unwrap().is_some()
        };
        let prunes = |by: &HostKey| {
            let last = journal.prunable(CutOff::by_time(before), &later).unwrap().unwrap();
            let id = identity(by).host_id().unwrap();
            journal.prune(&later, last, (0, "root"), before, &sealing, (by, &id)).unwrap().is_some()
        };
        assert!(!seals(1, &new) && seals(1, &old));
        sample::fill(&journal, 1);
        rotates(&journal, 2, &old, &new);
        assert!(!seals(2, &old), "the rotation overtakes the checkpoint");
        assert!(!prunes(&old) && journal.pruned().unwrap().is_none(), "the rotation overtakes the pruning");
        assert!(prunes(&new) && journal.pruned().unwrap().is_some());
        let note = journal.notes().unwrap().pop().unwrap();
        let origin = origin(identity(&new).host_id().unwrap().as_str());
        assert_eq!(note.head().unwrap().0, origin);
    }
}
