//! The epochs of the journal: which sealing key signs now, and the records that certify one. The certificates of records that were
//! pruned are kept beside the chain.
//! May not: read a clock or a key file; both come in as arguments.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::columns::sql_bound;
use super::distrust::older;
use super::error::JournalError;
use super::history::{history, last};
use super::journal::{Journal, Written};
use super::meta::{meta, set_meta};
use crate::database::Durability;
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::certificate::{certifier, certify};
use jit_core::evidence::epoch_event::{Certifier, Epoch, key_words};
use jit_core::evidence::record::{Event, Record};
use jit_core::evidence::{FoundEpoch, Mark};
use jit_core::grant::{HostKey, PublicKey};

/// The names in `journal_meta` of the certificates of pruned records, in their order.
const KEPT: &str = "certificate:";

/// An epoch of the journal, and when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentEpoch {
    /// What its record says.
    pub epoch: FoundEpoch,
    /// The time of its record.
    pub began: Timestamp,
}

impl Journal<'_> {
    /// Returns the present epoch; `None` in a journal in which no sealing key was certified.
    pub fn epoch(&self) -> Result<Option<CurrentEpoch>, JournalError> {
        epoch_at(self.database.connection(), u64::MAX)
    }

    /// Returns whether the present epoch has lasted as long as the policy allows. A clock that was set back ends it too.
    pub fn is_epoch_over(&self, current: &CurrentEpoch, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(current.began.0);
        let most = i64::try_from(self.epoch.as_micros()).unwrap_or(i64::MAX);
        !(0..most).contains(&age)
    }

    /// Begins the next epoch: certifies its key with that of the `current` one. Returns `None` if another process has begun it, or if
    /// the database lacks records.
    pub fn next_epoch(
        &self,
        moment: &Moment,
        current: &CurrentEpoch,
        by: &HostKey,
        next: &PublicKey,
    ) -> Result<Option<Written>, JournalError> {
        self.database.write(Durability::Synced, |tx| {
            if epoch_at(tx, u64::MAX)?.as_ref() != Some(current) || older(tx)?.is_some() {
                return Ok(None);
            }
            let epoch = Epoch {
                number: current.epoch.number.saturating_add(1),
                line: current.epoch.line,
                key: key_words(next),
                certified_by: Certifier::SealingKey,
                signature: String::new(),
            };
            self.certify(tx, moment, epoch, by)
        })
    }

    /// Begins a line of sealing keys, inside the caller's transaction: the key of the host certifies its first key. Returns `None` if
    /// the database lacks records.
    pub fn begin_line(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        by: &HostKey,
        first: &PublicKey,
    ) -> Result<Option<Written>, JournalError> {
        let number = epoch_at(tx, u64::MAX)?.map_or(1, |current| current.epoch.number.saturating_add(1));
        let line = last(tx)?.map_or(1, |last| last.mark.seq.saturating_add(1));
        let key = key_words(first);
        let epoch = Epoch { number, line, key, certified_by: Certifier::HostKey, signature: String::new() };
        self.certify(tx, moment, epoch, by)
    }

    fn certify(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        epoch: Epoch,
        by: &HostKey,
    ) -> Result<Option<Written>, JournalError> {
        let last = last(tx)?;
        let seq = last.map_or(0, |last| last.mark.seq);
        if self.anchor_ahead(seq).is_some() {
            return Ok(None);
        }
        let event = Event::Epoch(Box::new(epoch));
        let sign = |record: Record| certify(record, by);
        self.put_signed(tx, moment, (seq.saturating_add(1), last), event, sign).map(Some)
    }

    /// Returns whether the host has got another identity since this line began: a copy of the host may have the same keys.
    pub fn is_of_another_host(&self, current: &CurrentEpoch) -> Result<bool, JournalError> {
        let query = history!(
            "SELECT EXISTS (SELECT 1 FROM history WHERE kind = 'alert' AND kind NOT IN ('start', 'end') AND seq > ?1 \
             AND instr(body, CAST('\"code\":\"host-changed\"' AS BLOB)) > 0)"
        );
        let line = sql_bound(current.epoch.line);
        Ok(self.database.connection().query_row(query, [line], |row| row.get(0))?)
    }

    /// Whether an epoch of the present line began later than `now`, by a clock that was ahead. No pruning removes such a record.
    pub fn has_epochs_to_come(&self, now: Timestamp) -> Result<bool, JournalError> {
        Ok(latest_until(self.database.connection(), u64::MAX)?.is_some_and(|latest| latest > now))
    }

    /// Returns the exact bytes of all `epoch` records before number `before`, with their numbers, in their order: at most `limit`
    /// behind number `after`.
    pub fn certificates(&self, after: u64, before: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        certificates(self.database.connection(), after, before, limit)
    }

    /// Returns the host key by which the line of this epoch is known: the one that certified its first key.
    pub fn host_key_of(&self, current: &CurrentEpoch) -> Result<Option<PublicKey>, JournalError> {
        host_key_of(self.database.connection(), current)
    }
}

pub(super) fn host_key_of(connection: &Connection, current: &CurrentEpoch) -> Result<Option<PublicKey>, JournalError> {
    let query = history!("SELECT body FROM history WHERE seq = ?1");
    let line = current.epoch.line;
    let body: Option<Vec<u8>> = connection.query_row(query, [sql_bound(line)], |row| row.get(0)).optional()?;
    let body = match body {
        Some(body) => Some(body),
        None => meta(connection, &kept_name(line))?,
    };
    Ok(body.and_then(|body| certifier(&body)))
}

/// Returns the epoch of record `seq`.
pub(super) fn epoch_at(connection: &Connection, seq: u64) -> Result<Option<CurrentEpoch>, JournalError> {
    let query = history!(
        "SELECT body FROM history WHERE kind = 'epoch' AND kind NOT IN ('start', 'end') AND seq <= ?1 ORDER BY seq DESC LIMIT 1"
    );
    let body: Option<Vec<u8>> = connection.query_row(query, [sql_bound(seq)], |row| row.get(0)).optional()?;
    let body = match body {
        Some(body) => Some(body),
        None => {
            let query =
                "SELECT value FROM journal_meta WHERE name BETWEEN 'certificate:' AND ?1 ORDER BY name DESC LIMIT 1";
            connection.query_row(query, [kept_name(seq)], |row| row.get(0)).optional()?
        }
    };
    body.map(|body| read(&body)).transpose()
}

/// Returns the latest time at which an epoch began: of the line of record `seq`, and up to this record.
pub(super) fn latest_until(connection: &Connection, seq: u64) -> Result<Option<Timestamp>, JournalError> {
    let Some(current) = epoch_at(connection, seq)? else { return Ok(None) };
    let line = certificates(connection, current.epoch.line.saturating_sub(1), seq.saturating_add(1), u32::MAX)?;
    // Ignores what cannot be decoded, which a verification reports.
    Ok(line.iter().filter_map(|(_, body)| read(body).ok()).map(|epoch| epoch.began).max())
}

fn read(body: &[u8]) -> Result<CurrentEpoch, JournalError> {
    const NONE: JournalError = JournalError::Damaged("the record of the present epoch");
    let record = Record::decode(std::str::from_utf8(body).map_err(|_| NONE)?)?;
    let Event::Epoch(epoch) = &record.event else { return Err(NONE) };
    let key = epoch.public_key().ok_or(NONE)?;
    let epoch = FoundEpoch { number: epoch.number, seq: record.seq, line: epoch.line, key };
    Ok(CurrentEpoch { epoch, began: record.time })
}

pub(super) fn certificates(
    connection: &Connection,
    after: u64,
    before: u64,
    limit: u32,
) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
    let query = history!(
        "SELECT CAST(substr(name, 13) AS INTEGER) AS number, value FROM journal_meta \
         WHERE name > ?1 AND name < ?2 UNION ALL SELECT seq, body FROM history \
         WHERE kind = 'epoch' AND kind NOT IN ('start', 'end') AND seq > ?3 AND seq < ?4 ORDER BY number LIMIT ?5"
    );
    let mut statement = connection.prepare(query)?;
    let bounds = params![kept_name(after), kept_name(before), sql_bound(after), sql_bound(before), limit];
    let rows = statement.query_map(bounds, |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the name of a kept certificate that is not the number of its record, or not of a pruned one. `last`: the last that was pruned.
pub(super) fn misnamed(connection: &Connection, last: u64) -> Result<Option<String>, JournalError> {
    #[derive(serde::Deserialize)]
    struct Place {
        seq: u64,
    }
    let mut statement = connection
        .prepare("SELECT name, value FROM journal_meta WHERE substr(name, 1, 12) = 'certificate:' ORDER BY name")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let place = serde_json::from_slice::<Place>(row.get_ref(1)?.as_bytes().unwrap_or_default());
        if !place.is_ok_and(|place| (1..=last).contains(&place.seq) && kept_name(place.seq) == name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Keeps the `epoch` records up to `last`, which is about to be pruned.
pub(super) fn keep(tx: &Transaction<'_>, last: Mark) -> Result<(), JournalError> {
    // Those that an earlier pruning kept are there already.
    for (seq, body) in certificates(tx, 0, last.seq.saturating_add(1), u32::MAX)? {
        set_meta(tx, &kept_name(seq), &body)?;
    }
    Ok(())
}

fn kept_name(seq: u64) -> String {
    format!("{KEPT}{seq:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{CutOff, Due, SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use crate::store;
    use jit_core::evidence::proof::Signers;
    use jit_core::grant::HostDescriptor;
    use std::time::Duration;

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed([seed; 32])
    }

    fn own() -> Signers {
        Signers::Host(key(sample::HOST_SEED).public_key())
    }

    fn begun(journal: &Journal<'_>, second: i64, first: u8) -> CurrentEpoch {
        let (host, first) = (key(sample::HOST_SEED), key(first).public_key());
        let begin = |tx: &Transaction<'_>| journal.begin_line(tx, &sample::moment(second), &host, &first);
        let written = journal.database.write(Durability::Synced, begin).unwrap();
        assert_eq!(written.unwrap().kind(), "epoch");
        journal.epoch().unwrap().unwrap()
    }

    fn seals(journal: &Journal<'_>, second: i64, with: u8) -> bool {
        let host = key(sample::HOST_SEED);
        let id = HostDescriptor::of(&host, "web1", "machine").host_id().unwrap();
        let last = journal.unsealed(sample::moment(second).wall, Due::Now).unwrap().unwrap();
        let grown = journal.grown(last).unwrap().unwrap();
        journal.seal((last, &grown), &sample::moment(second), &key(with), (&host, &id)).unwrap().is_some()
    }

    #[test]
    fn the_transaction_decides_who_begins_an_epoch_and_the_former_key_signs_no_more() {
        let scratch = Scratch::new("epochs-once");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new()).with_epoch(Duration::from_secs(10));
        assert_eq!(journal.epoch().unwrap(), None);
        let first = begun(&journal, 1, 11);
        assert_eq!((first.epoch.number, first.epoch.seq, first.epoch.line), (1, 1, 1));
        let over = |second| journal.is_epoch_over(&first, sample::moment(second).wall);
        assert_eq!((over(1), over(10), over(11), over(0)), (false, false, true, true), "a clock set back ends it too");
        let next = |with: u8| {
            journal
                .next_epoch(&sample::moment(12), &first, &key(11), &key(with).public_key())
                .unwrap()
                .map(|told| told.seq)
        };
        assert_eq!((next(12), next(13)), (Some(2), None), "two processes have read the same epoch");
        let second = journal.epoch().unwrap().unwrap();
        assert_eq!((second.epoch.number, second.epoch.key), (2, key(12).public_key()));
        let _ = sample::started(&journal, "run000000001", 13);
        assert!(!seals(&journal, 13, 11) && seals(&journal, 13, 12));
        let proven = journal.prove_records(own()).unwrap().unwrap();
        assert_eq!((proven.signed.unwrap().through, proven.sealing.epochs), (3, 2));
    }

    #[test]
    fn a_journal_that_lacks_records_begins_no_epoch() {
        let scratch = Scratch::new("epochs-older");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let first = begun(&journal, 1, 11);
        assert!(!journal.distrust(&sample::moment(2), "it was restored").unwrap().is_empty());
        assert_eq!(journal.next_epoch(&sample::moment(9), &first, &key(11), &key(12).public_key()).unwrap(), None);
    }

    #[test]
    fn certificates_are_kept_when_their_records_are_pruned() {
        let scratch = Scratch::new("epochs-pruned");
        let all = [SCHEMA, store::SCHEMA, store::REVIEW_SCHEMA, store::ROLE_SCHEMA, store::STATEMENT_SCHEMA];
        let database = Database::create(&scratch.path(), &all).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let mut current = begun(&journal, 1, 11);
        for number in 12..15 {
            sample::fill(&journal, 2);
            let next = key(number).public_key();
            let by = key(number - 1);
            let _ = journal.next_epoch(&sample::moment(1), &current, &by, &next).unwrap().unwrap();
            current = journal.epoch().unwrap().unwrap();
            assert!(seals(&journal, 1, number));
        }
        let before = journal.certificates(0, u64::MAX, 99).unwrap();
        assert_eq!(before.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 4, 7, 10]);
        let (since, later) = (sample::moment(9).wall, sample::moment(86_400 + 9));
        sample::fill(&journal, 1);
        let last = journal.prunable(CutOff::by_time(since), &later).unwrap().unwrap();
        assert_eq!(last.seq, 10);
        let _ = sample::prune_with(&journal, 86_400 + 9, last, since, &key(14));
        journal.sweep(|_| Ok::<_, JournalError>(())).unwrap();
        assert_eq!(journal.certificates(0, u64::MAX, 99).unwrap(), before);
        assert_eq!(journal.certificates(4, 10, 99).unwrap(), before[2..3]);
        assert_eq!(journal.epoch().unwrap().as_ref(), Some(&current));
        assert_eq!(journal.host_key_of(&current).unwrap(), Some(key(sample::HOST_SEED).public_key()));
        let proven = journal.prove_records(own()).unwrap().unwrap();
        assert_eq!((proven.before, proven.sealing.epochs, proven.sealing.lines.len()), (10, 4, 1));
        for change in [
            "UPDATE journal_meta SET name = 'certificate:00000000000000000002' WHERE name LIKE 'certificate:%1'",
            "INSERT INTO journal_meta SELECT 'certificate:', value FROM journal_meta WHERE name LIKE 'certificate:%7'",
            "INSERT INTO journal_meta SELECT 'certificate:00000000000000000000', value FROM journal_meta WHERE name LIKE 'certificate:%7'",
            "INSERT INTO journal_meta SELECT 'certificate:00000000000000000099', value FROM journal_meta WHERE name LIKE 'certificate:%7'",
        ] {
            database.connection().execute_batch("BEGIN").unwrap();
            assert_eq!(database.connection().execute(change, []).unwrap(), 1, "{change}");
            assert!(journal.prove_records(own()).unwrap().is_err(), "{change}");
            database.connection().execute_batch("ROLLBACK").unwrap();
        }
    }
}
