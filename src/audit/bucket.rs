//! The bytes that a person has caused to be stored, in one leaky bucket (see [`jit_core::budget`]): rejections beyond it are
//! counted, and the count is recorded; requests beyond it are rejected. So no user can fill the disk or hide the records of
//! others.
//! May not: read a clock; time comes in as a `Moment`.

use rusqlite::{Connection, Transaction};
use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::journal::{Journal, Written};
use super::meta::{clear_meta, meta, metas, set_meta};
use crate::database::Durability;
use jit_core::budget::{self, Level, Storage};
use jit_core::clock::{Moment, Timestamp};
use jit_core::escape::Word;
use jit_core::evidence::record::{Alert, Event, Reject};
use jit_core::names::Person;

/// How long rejections are counted before the count is recorded, in seconds.
pub const COUNTED_FOR: u32 = 600;

/// How often a full bucket is recorded, in seconds.
const TOLD_EVERY: i64 = 86_400;

/// The prefix of the uid and the name, in `journal_meta`.
const NAME: &str = "stored:";

/// A leaky bucket, by the boot clock, which cannot be set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bucket {
    boot_id: String,
    /// The level, in bytes.
    bytes: u64,
    /// The time of that level, in µs since boot.
    at: i64,
    /// The number of rejections that were counted and not recorded yet.
    counted: u64,
    /// The time of the first of them, in µs since 1970.
    since: i64,
    user: Word,
    /// When an alert last reported that it is full, in seconds since 1970; 0 for never.
    #[serde(default)]
    told: i64,
}

impl Bucket {
    /// Loads the bucket of this name; a missing or unreadable one is a new one: it is a limit, not evidence.
    pub(super) fn load(connection: &Connection, name: &str, user: &str, moment: &Moment) -> rusqlite::Result<Self> {
        Ok(load(connection, name)?.unwrap_or_else(|| Self::new(&Word::from(user), moment)))
    }

    /// Stores the bucket under this name.
    pub(super) fn store(&self, tx: &Transaction<'_>, name: &str) -> Result<(), JournalError> {
        let value = serde_json::to_vec(self)?;
        Ok(set_meta(tx, name, &value)?)
    }

    fn new(user: &Word, moment: &Moment) -> Self {
        Self { boot_id: moment.boot_id.clone(), bytes: 0, at: 0, counted: 0, since: 0, user: user.clone(), told: 0 }
    }

    /// Returns the level now. After a reboot the bucket is empty.
    fn level(&self, moment: &Moment, storage: &Storage) -> Level {
        if self.boot_id == moment.boot_id {
            return self.level_over_boots(moment, storage);
        }
        Level { bytes: 0, at: moment.boot.0 }
    }

    /// Returns the level now, for a bucket whose contents survive a reboot; the time of the reboot itself does not count.
    pub(super) fn level_over_boots(&self, moment: &Moment, storage: &Storage) -> Level {
        let at = if self.boot_id == moment.boot_id { self.at } else { 0 };
        Level { bytes: self.bytes, at }.leaked(moment.boot.0, storage)
    }

    /// Sets the level.
    pub(super) fn fill(&mut self, level: Level, moment: &Moment) {
        self.boot_id.clone_from(&moment.boot_id);
        (self.bytes, self.at) = (level.bytes, level.at);
    }

    /// Returns true where one more rejection is to be recorded; otherwise counts it.
    fn take(&mut self, cost: u64, moment: &Moment, storage: &Storage) -> bool {
        if let Some(filled) = self.level(moment, storage).with(cost, storage.for_refusals()) {
            self.fill(filled, moment);
            return true;
        }
        if self.counted == 0 {
            self.since = moment.wall.0;
        }
        self.counted = self.counted.saturating_add(1);
        false
    }

    /// Whether the count is to be recorded. A clock that was set back does not delay that.
    fn is_due(&self, moment: &Moment) -> bool {
        self.counted > 0 && !(0..micros(COUNTED_FOR)).contains(&moment.wall.0.saturating_sub(self.since))
    }

    /// Whether the bucket can be deleted without loss.
    fn is_over(&self, moment: &Moment, storage: &Storage) -> bool {
        self.counted == 0 && self.level(moment, storage).bytes == 0
    }

    fn alert(&self, uid: u32) -> Event {
        let (first, user) = (Timestamp(self.since).to_the_second(), &self.user);
        let sentence =
            format!("at least {} more refusals of {user} since {first} are not recorded one by one", self.counted);
        Event::Alert(Box::new(Alert::new("rejects-counted", sentence).about(uid, user.clone())))
    }
}

impl Journal<'_> {
    /// Whether a rejection would be counted and not recorded, as far as can be seen without a lock.
    pub fn only_counts(&self, moment: &Moment, person: &Person, reject: &Reject) -> Result<bool, JournalError> {
        let Some(bucket) = load(self.database.connection(), &name(person))? else { return Ok(false) };
        let event = Event::Reject(Box::new(reject.clone().bounded()));
        let cost = budget::cost_of_record(serde_json::to_vec(&event)?.len());
        Ok(bucket.level(moment, &self.storage).with(cost, self.storage.for_refusals()).is_none())
    }

    /// Records a rejection of this person, or counts it where there were too many.
    pub fn reject(&self, moment: &Moment, person: &Person, reject: Reject) -> Result<Vec<Written>, JournalError> {
        let event = Event::Reject(Box::new(reject.bounded()));
        let cost = budget::cost_of_record(serde_json::to_vec(&event)?.len());
        let name = name(person);
        let mut written = self.tell_counted(moment)?;
        written.extend(self.database.write(Durability::Ordered, |tx| {
            let mut bucket = Bucket::load(tx, &name, person.name.as_str(), moment)?;
            let recorded = bucket.take(cost, moment, &self.storage);
            bucket.store(tx, &name)?;
            if recorded { self.append(tx, moment, event).map(Some) } else { Ok::<_, JournalError>(None) }
        })?);
        Ok(written)
    }

    /// Records, once a day, that a request of `person` was rejected because their budget is used.
    pub fn tell_full(&self, moment: &Moment, person: &Person) -> Result<Vec<Written>, JournalError> {
        let (name, user) = (name(person), Word::from(person.name.as_str()));
        let now = moment.wall.seconds();
        let is_told = |bucket: &Bucket| (0..TOLD_EVERY).contains(&now.saturating_sub(bucket.told));
        if load(self.database.connection(), &name)?.as_ref().is_some_and(is_told) {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Ordered, |tx| {
            let mut bucket = Bucket::load(tx, &name, person.name.as_str(), moment)?;
            if is_told(&bucket) {
                return Ok(Vec::new());
            }
            bucket.told = now;
            bucket.store(tx, &name)?;
            let sentence = format!("{user} has used up the storage budget of one user ({})", self.storage);
            let alert = Alert::new("budget-used", sentence).about(person.uid, user);
            Ok(vec![self.append(tx, moment, Event::Alert(Box::new(alert)))?])
        })
    }

    /// Records the counts of all persons and hooks that are due: a flood may have ended, with no later rejection of the same person.
    pub fn tell_counted(&self, moment: &Moment) -> Result<Vec<Written>, JournalError> {
        let failures = self.tell_failures(moment)?;
        let settled = |bucket: &Bucket| bucket.is_due(moment) || bucket.is_over(moment, &self.storage);
        if !all(self.database.connection())?.iter().any(|(_, _, bucket)| settled(bucket)) {
            return Ok(failures);
        }
        self.database.write(Durability::Ordered, |tx| {
            let mut written = failures;
            for (name, uid, mut bucket) in all(tx)? {
                if bucket.is_due(moment) {
                    written.push(self.append(tx, moment, bucket.alert(uid))?);
                    bucket.counted = 0;
                    bucket.store(tx, &name)?;
                }
                if bucket.is_over(moment, &self.storage) {
                    clear_meta(tx, &name)?;
                }
            }
            Ok(written)
        })
    }
}

/// The cost of a request for its requester: the bytes of its terms.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The requester.
    pub person: &'a Person,
    /// The bytes of the terms.
    pub bytes: usize,
    /// Whether the request is charged but never rejected.
    pub urgent: bool,
    /// The budget of the requester.
    pub storage: Storage,
}

impl Charge<'_> {
    /// Charges the requester inside the transaction that stores the request. The error is the time in seconds until there is room
    /// for it.
    pub fn put(&self, tx: &Transaction<'_>, moment: &Moment) -> Result<Result<(), u64>, JournalError> {
        let (name, mut bucket, level) = self.found(tx, moment)?;
        match level {
            Ok(filled) => {
                bucket.fill(filled, moment);
                bucket.store(tx, &name)?;
                Ok(Ok(()))
            }
            Err(seconds) => Ok(Err(seconds)),
        }
    }

    /// Whether there is room for it, as far as can be seen without a lock.
    pub fn fits(&self, connection: &Connection, moment: &Moment) -> Result<Result<(), u64>, JournalError> {
        Ok(self.found(connection, moment)?.2.map(drop))
    }

    /// Returns the bucket, and its level after the charge.
    fn found(&self, connection: &Connection, moment: &Moment) -> Result<Filled, JournalError> {
        let name = name(self.person);
        let bucket = Bucket::load(connection, &name, self.person.name.as_str(), moment)?;
        let (cost, level) = (budget::cost_of_request(self.bytes), bucket.level(moment, &self.storage));
        let filled = level.with(cost, if self.urgent { u64::MAX } else { self.storage.at_once });
        Ok((name, bucket, filled.ok_or_else(|| level.wait_for(cost, &self.storage))))
    }
}

type Filled = (String, Bucket, Result<Level, u64>);

fn micros(seconds: u32) -> i64 {
    i64::from(seconds).saturating_mul(1_000_000)
}

fn name(person: &Person) -> String {
    format!("{NAME}{}:{}", person.uid, person.name)
}

/// Loads a bucket; an unreadable one is a new one: it is a limit, not evidence.
fn load(connection: &Connection, name: &str) -> rusqlite::Result<Option<Bucket>> {
    Ok(meta(connection, name)?.and_then(|value| serde_json::from_slice(&value).ok()))
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<(String, u32, Bucket)>> {
    let mut buckets = Vec::new();
    for (name, value) in metas(connection, NAME)? {
        let person = name.strip_prefix(NAME).unwrap_or_default();
        let uid = person.split(':').next().and_then(|uid| uid.parse().ok());
        buckets.extend(uid.zip(serde_json::from_slice(&value).ok()).map(|(uid, bucket)| (name, uid, bucket)));
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use jit_core::clock::BootTime;
    use jit_core::evidence::Record;

    fn moment(seconds: i64) -> Moment {
        let start = sample::moment(0);
        let us = seconds * 1_000_000;
        Moment { wall: Timestamp(start.wall.0 + us), boot: BootTime(us), ..start }
    }

    /// Returns the kinds of the records that one rejection at `seconds` leaves.
    fn refused(journal: &Journal<'_>, uid: u32, seconds: i64) -> Vec<&'static str> {
        let event = sample::events().into_iter().find(|event| event.keys().kind == "reject").unwrap();
        let Event::Reject(reject) = event else { panic!() };
        let person = Person { uid, name: jit_core::names::UserName::parse("alice").unwrap() };
        let written = journal
            .reject(&moment(seconds), &person, Reject { argv: vec!["ls".into()], run_as: None, ..*reject })
            .unwrap();
        written.iter().map(Written::kind).collect()
    }

    #[test]
    fn many_rejections_are_counted_and_the_count_is_recorded_once() {
        let scratch = Scratch::new("flood");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        for _ in 0..64 {
            assert_eq!(refused(&journal, 7, 1), ["reject"]);
        }
        for _ in 0..1000 {
            assert!(refused(&journal, 7, 2).is_empty());
        }
        assert_eq!(refused(&journal, 8, 2), ["reject"], "another person has a bucket of their own");
        assert_eq!(refused(&journal, 7, 14), ["reject"], "after a while there is room for one");
        assert!(refused(&journal, 7, 15).is_empty());
        assert!(journal.tell_counted(&moment(500)).unwrap().is_empty(), "not yet");
        let told = journal.tell_counted(&moment(700)).unwrap();
        let Event::Alert(alert) = Record::decode(&told[0].body).unwrap().event else { panic!("{told:?}") };
        assert_eq!((alert.code.as_str(), alert.uid), ("rejects-counted", Some(7)));
        assert!(
            alert.sentence.to_string().starts_with("at least 1001 more refusals of alice since 20"),
            "{}",
            alert.sentence
        );
        assert!(journal.tell_counted(&moment(1400)).unwrap().is_empty(), "once");
        assert!(all(database.connection()).unwrap().is_empty(), "nothing stays behind");
        assert!(journal.verify_all().unwrap().is_ok());
    }

    #[test]
    fn a_reboot_empties_the_bucket_and_keeps_the_count() {
        let mut bucket = Bucket::new(&Word::from("alice"), &moment(0));
        while bucket.take(4096, &moment(1), &Storage::default()) {}
        let after = Moment { boot_id: "another".to_owned(), ..moment(3) };
        assert!(bucket.take(4096, &after, &Storage::default()));
        assert_eq!(bucket.counted, 1);
        assert!(bucket.is_due(&Moment { wall: Timestamp(0), ..after }), "a clock that was set back puts nothing off");
    }

    #[test]
    fn a_damaged_bucket_counts_as_empty() {
        let scratch = Scratch::new("flood-damaged");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let damage =
            "INSERT OR REPLACE INTO journal_meta (name, value) VALUES ('stored:7:alice', x'ff'), ('stored:x', x'')";
        database.connection().execute(damage, []).unwrap();
        assert_eq!(refused(&journal, 7, 1), ["reject"]);
    }
}
