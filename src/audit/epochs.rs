//! The epochs of the journal: which sealing key signs now, and the records that certify one. These records, and those about the host
//! key, are kept beside the chain when they are pruned.
//! May not: read a clock or a key file; both come in as arguments.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::columns::sql_bound;
use super::distrust::older;
use super::error::JournalError;
use super::history::{history, last};
use super::journal::{Journal, Written};
use super::key_life::{Unended, retired};
use super::meta::{metas, set_meta};
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::certificate::certify;
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

    /// Returns whether the epoch is still `before`, and the database lacks no records: only then another epoch may begin. For use inside
    /// the write that begins it, before its key is made.
    pub fn may_follow(&self, tx: &Transaction<'_>, before: Option<&CurrentEpoch>) -> Result<bool, JournalError> {
        let seq = last(tx)?.map_or(0, |last| last.mark.seq);
        Ok(epoch_at(tx, u64::MAX)?.as_ref() == before && self.anchor_ahead(seq).is_none())
    }

    /// Returns whether the present line goes on behind the epoch `current`: no other has begun, the database lacks no records, and the
    /// host was not retired. For use as [`Self::may_follow`].
    pub fn may_continue(&self, tx: &Transaction<'_>, current: &CurrentEpoch) -> Result<bool, JournalError> {
        Ok(self.may_follow(tx, Some(current))? && older(tx)?.is_none() && retired(tx)?.is_none())
    }

    /// Begins the next epoch, inside the caller's transaction: certifies its key with that of the `current` one. Returns `None` if
    /// another process has begun it, if the database lacks records, or if the host was retired.
    pub fn next_epoch(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        current: &CurrentEpoch,
        by: &HostKey,
        next: &PublicKey,
    ) -> Result<Option<Written>, JournalError> {
        if !self.may_continue(tx, current)? {
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
    }

    /// Begins a line of sealing keys, inside the caller's transaction: the key of the host certifies its first key. Returns `None` if
    /// the database lacks records.
    pub fn begin_line(
        &self,
        tx: &Transaction<'_>,
        moment: &Moment,
        by: Unended<'_>,
        first: &PublicKey,
    ) -> Result<Option<Written>, JournalError> {
        let number = epoch_at(tx, u64::MAX)?.map_or(1, |current| current.epoch.number.saturating_add(1));
        let line = last(tx)?.map_or(1, |last| last.mark.seq.saturating_add(1));
        let key = key_words(first);
        let epoch = Epoch { number, line, key, certified_by: Certifier::HostKey, signature: String::new() };
        self.certify(tx, moment, epoch, by.key())
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

    /// Returns the exact bytes of all records about sealing keys and the host key before number `before`, with their numbers, in their order: at most `limit`
    /// behind number `after`.
    pub fn certificates(&self, after: u64, before: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        certificates(self.database.connection(), after, before, limit)
    }
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
            let query = "SELECT value FROM journal_meta WHERE name BETWEEN 'certificate:' AND ?1 \
                         AND instr(value, CAST('\"kind\":\"epoch\"' AS BLOB)) > 0 ORDER BY name DESC LIMIT 1";
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
         WHERE kind IN ('epoch', 'rotation', 'retirement') AND kind NOT IN ('start', 'end') AND seq > ?3 AND seq < ?4 ORDER BY number LIMIT ?5"
    );
    let mut statement = connection.prepare(query)?;
    let bounds = params![kept_name(after), kept_name(before), sql_bound(after), sql_bound(before), limit];
    let rows = statement.query_map(bounds, |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the number that a kept certificate has by its name, if that is not the name of its record, or if the record is not before
/// number `first`: no search finds it.
pub(super) fn misnamed(connection: &Connection, first: u64) -> Result<Option<u64>, JournalError> {
    for (name, body) in metas(connection, KEPT)? {
        let record = std::str::from_utf8(&body).ok().and_then(|body| Record::decode(body).ok());
        if record.is_none_or(|record| record.seq >= first || kept_name(record.seq) != name) {
            return Ok(Some(name.trim_start_matches(KEPT).parse().unwrap_or(0)));
        }
    }
    Ok(None)
}

/// Keeps the records about sealing keys and the host key up to `last`, which is about to be pruned.
pub(super) fn keep(tx: &Transaction<'_>, last: Mark) -> Result<(), JournalError> {
    // Those that an earlier pruning kept are there already.
    for (seq, body) in certificates(tx, 0, last.seq.saturating_add(1), u32::MAX)? {
        set_meta(tx, &kept_name(seq), &body)?;
    }
    Ok(())
}

pub(super) fn kept_name(seq: u64) -> String {
    format!("{KEPT}{seq:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{CutOff, Due, SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};
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
        let begin = |tx: &Transaction<'_>| {
            let by = journal.unended(tx, &host)?.unwrap();
            journal.begin_line(tx, &sample::moment(second), by, &first)
        };
        let written = journal.database.write(Durability::Synced, begin).unwrap();
        assert_eq!(written.unwrap().kind(), "epoch");
        journal.epoch().unwrap().unwrap()
    }

    fn follows(journal: &Journal<'_>, second: i64, current: &CurrentEpoch, by: u8, next: u8) -> Option<Written> {
        let next = key(next).public_key();
        let begin = |tx: &Transaction<'_>| journal.next_epoch(tx, &sample::moment(second), current, &key(by), &next);
        journal.database.write(Durability::Synced, begin).unwrap()
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
        let next = |with: u8| follows(&journal, 12, &first, 11, with).map(|told| told.seq);
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
        assert_eq!(follows(&journal, 9, &first, 11, 12), None);
    }

    #[test]
    fn a_kept_certificate_has_the_name_of_its_record() {
        let scratch = Scratch::new("epochs-misnamed");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let _ = begun(&journal, 1, 11);
        let body = journal.certificates(0, 2, 1).unwrap().remove(0).1;
        let connection = database.connection();
        let misnamed_as = |name: &str, body: &[u8]| {
            set_meta(connection, name, body).unwrap();
            let found = misnamed(connection, 2).unwrap();
            connection.execute("DELETE FROM journal_meta WHERE name LIKE 'certificate:%'", []).unwrap();
            found
        };
        assert_eq!(misnamed_as(&kept_name(1), &body), None);
        assert_eq!(misnamed_as(&kept_name(2), &body), Some(2));
        assert_eq!((misnamed_as("certificate:1", &body), misnamed_as(KEPT, &body)), (Some(1), Some(0)));
        assert_eq!(misnamed_as(&kept_name(1), b"{}"), Some(1));
        set_meta(connection, &kept_name(1), &body).unwrap();
        assert_eq!(misnamed(connection, 1).unwrap(), Some(1), "its record was not pruned");
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
            let _ = follows(&journal, 1, &current, number - 1, number).unwrap();
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
