//! The disk space of one person's recordings, in a bucket of their own (see [`jit_core::budget`]): the recordings of one person
//! always leave room for those of others.
//! May not: read a clock; time comes in as a `Moment`.

use super::bucket::Bucket;
use super::error::JournalError;
use super::journal::Journal;
use crate::database::Durability;
use jit_core::budget::{Level, RECORDED_ALWAYS, Storage};
use jit_core::clock::Moment;
use jit_core::names::Person;

/// The prefix of the uid and the name, in `journal_meta`.
const NAME: &str = "recorded:";

impl Journal<'_> {
    /// Reserves space for a recording that begins now, at most `most` bytes, and returns its size: at most half of what this
    /// person has left, so that their concurrent recordings have space too, but at least [`RECORDED_ALWAYS`]. [`Self::give_back`]
    /// returns what was not used.
    pub fn set_aside(
        &self,
        moment: &Moment,
        person: &Person,
        storage: &Storage,
        most: u64,
    ) -> Result<u64, JournalError> {
        self.change(moment, person, storage, |bytes| {
            let room = (storage.at_once.saturating_sub(bytes) / 2).max(RECORDED_ALWAYS).min(most);
            (bytes.saturating_add(room), room)
        })
    }

    /// Returns the bytes that a complete recording did not use to the budget.
    pub fn give_back(
        &self,
        moment: &Moment,
        person: &Person,
        storage: &Storage,
        unused: u64,
    ) -> Result<(), JournalError> {
        self.change(moment, person, storage, |bytes| (bytes.saturating_sub(unused), ()))
    }

    /// Sets the level of this person's bucket, in bytes, to what `change` computes from the current one; returns the other result
    /// of
    /// `change`.
    fn change<T>(
        &self,
        moment: &Moment,
        person: &Person,
        storage: &Storage,
        change: impl FnOnce(u64) -> (u64, T),
    ) -> Result<T, JournalError> {
        let name = name(person);
        self.database.write(Durability::Ordered, |tx| {
            let mut bucket = Bucket::load(tx, &name, person.name.as_str(), moment)?;
            let level = bucket.level_over_boots(moment, storage);
            let (bytes, told) = change(level.bytes);
            bucket.fill(Level { bytes, ..level }, moment);
            bucket.store(tx, &name)?;
            Ok(told)
        })
    }
}

fn name(person: &Person) -> String {
    format!("{NAME}{}:{}", person.uid, person.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use jit_core::clock::BootTime;
    use jit_core::names::UserName;

    #[test]
    fn each_recording_gets_half_of_the_remaining_budget_and_returns_the_rest() {
        let scratch = Scratch::new("footage");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let at = |seconds: i64| Moment { boot: BootTime(seconds * 1_000_000), ..sample::moment(0) };
        let person = |uid, name| Person { uid, name: UserName::parse(name).unwrap() };
        let (alice, bob) = (person(7, "alice"), person(8, "bob"));
        let kib = |number: u64| number << 10;
        let storage = Storage { at_once: kib(1000), per_day: kib(86_400) };
        let begin = |who, seconds, most| journal.set_aside(&at(seconds), who, &storage, kib(most)).unwrap() >> 10;
        assert_eq!([begin(&alice, 0, 400), begin(&alice, 0, 400), begin(&alice, 0, 400)], [400, 300, 150]);
        journal.give_back(&at(0), &alice, &storage, kib(290)).unwrap();
        assert_eq!((begin(&alice, 0, 400), begin(&bob, 0, 9999)), (220, 500));
        assert_eq!((begin(&alice, 10, 0), begin(&alice, 10, 400)), (0, 115), "a KiB a second becomes free again");
        journal.give_back(&at(10), &bob, &storage, u64::MAX).unwrap();
        assert_eq!(begin(&bob, 10, 9999), 500);
        for _ in 0..9 {
            begin(&alice, 10, 400);
        }
        assert_eq!((begin(&alice, 10, 400), begin(&alice, 10, 400)), (16, 16), "its beginning is always recorded");
        let rebooted = Moment { boot_id: "another".to_owned(), ..at(5) };
        assert_eq!(
            journal.set_aside(&rebooted, &alice, &storage, kib(400)).unwrap(),
            kib(16),
            "the files are still there"
        );
        assert_eq!(journal.set_aside(&rebooted, &bob, &storage, kib(400)).unwrap() >> 10, 252);
        let later = Moment { boot: BootTime(2_000_000_000), ..rebooted };
        assert_eq!(journal.set_aside(&later, &alice, &storage, kib(400)).unwrap(), kib(400));
    }
}
