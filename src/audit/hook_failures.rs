//! The failures of the administrator's hooks: the first is recorded, repeats within a while are counted, and the count is recorded. A
//! hook that fails at each event must not fill the journal.
//! May not: read a clock; time comes in as a `Moment`.

use rusqlite::{Connection, Transaction};
use serde::{Deserialize, Serialize};

use super::bucket::COUNTED_FOR;
use super::error::JournalError;
use super::journal::{Journal, Written};
use super::meta::{clear_meta, meta, metas, set_meta};
use crate::database::Durability;
use jit_core::clock::{Moment, Timestamp};
use jit_core::evidence::record::{Alert, Event};

/// The prefix of the name of the hook, in `journal_meta`.
const NAME: &str = "failed:";

/// What is counted for one hook.
#[derive(Debug, Serialize, Deserialize)]
struct Failures {
    /// When the last record was made, in µs since 1970.
    since: i64,
    /// How many failures followed it.
    counted: u64,
    /// How the last of them happened.
    last: String,
}

impl Failures {
    /// Whether failures are no longer counted under the last record. A clock that was set back does not delay that.
    fn is_over(&self, moment: &Moment) -> bool {
        let limit = i64::from(COUNTED_FOR).saturating_mul(1_000_000);
        !(0..limit).contains(&moment.wall.0.saturating_sub(self.since))
    }

    fn alert(&self) -> Event {
        let (first, are) = (
            Timestamp(self.since).to_the_second(),
            if self.counted == 1 { "failure of a hook is" } else { "failures of a hook are" },
        );
        let sentence =
            format!("{} more {are} not recorded one by one since {first}; the last: {}", self.counted, self.last);
        Event::Alert(Box::new(Alert::new("hooks-counted", sentence)))
    }
}

impl Journal<'_> {
    /// Records that a hook has failed, or counts it; `sentence` says how. The `hook` is empty where none could be run.
    pub fn hook_failed(&self, moment: &Moment, hook: &str, sentence: &str) -> Result<Vec<Written>, JournalError> {
        let name = format!("{NAME}{hook}");
        self.database.write(Durability::Synced, |tx| {
            let mut written = self.tell_failures_in(tx, moment)?;
            let failures = match load(tx, &name)? {
                Some(failures) => {
                    Failures { counted: failures.counted.saturating_add(1), last: sentence.to_owned(), ..failures }
                }
                None => {
                    let alert = Alert::new("hook-failed", sentence);
                    written.push(self.append(tx, moment, Event::Alert(Box::new(alert)))?);
                    Failures { since: moment.wall.0, counted: 0, last: sentence.to_owned() }
                }
            };
            store(tx, &name, &failures)?;
            Ok(written)
        })
    }

    /// Records the counts that are due: the hook may not have failed since.
    pub(super) fn tell_failures(&self, moment: &Moment) -> Result<Vec<Written>, JournalError> {
        if !all(self.database.connection())?.iter().any(|(_, failures)| failures.is_over(moment)) {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Ordered, |tx| self.tell_failures_in(tx, moment))
    }

    fn tell_failures_in(&self, tx: &Transaction<'_>, moment: &Moment) -> Result<Vec<Written>, JournalError> {
        let mut written = Vec::new();
        for (name, failures) in all(tx)?.into_iter().filter(|(_, failures)| failures.is_over(moment)) {
            if failures.counted == 0 {
                clear_meta(tx, &name)?;
                continue;
            }
            written.push(self.append(tx, moment, failures.alert())?);
            store(tx, &name, &Failures { since: moment.wall.0, counted: 0, ..failures })?;
        }
        Ok(written)
    }
}

fn store(tx: &Transaction<'_>, name: &str, failures: &Failures) -> Result<(), JournalError> {
    Ok(set_meta(tx, name, &serde_json::to_vec(failures)?)?)
}

/// Loads a count; an unreadable one is none: it is a limit, not evidence.
fn load(connection: &Connection, name: &str) -> rusqlite::Result<Option<Failures>> {
    Ok(meta(connection, name)?.and_then(|value| serde_json::from_slice(&value).ok()))
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<(String, Failures)>> {
    let rows = metas(connection, NAME)?.into_iter();
    Ok(rows.filter_map(|(name, value)| Some((name, serde_json::from_slice(&value).ok()?))).collect())
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
        let (start, us) = (sample::moment(0), seconds * 1_000_000);
        Moment { wall: Timestamp(start.wall.0 + us), boot: BootTime(us), ..start }
    }

    fn told(written: &[Written]) -> Vec<(String, String)> {
        let alerts = written.iter().map(|written| match Record::decode(&written.body).unwrap().event {
            Event::Alert(alert) => (alert.code.clone(), alert.sentence.to_string()),
            other => panic!("{other:?}"),
        });
        alerts.collect()
    }

    #[test]
    fn repeats_are_counted_and_the_count_is_recorded_while_the_hook_fails_and_afterwards() {
        let scratch = Scratch::new("hook-failures");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let fails = |hook: &str, seconds| {
            told(&journal.hook_failed(&moment(seconds), hook, &format!("the hook {hook} failed")).unwrap())
        };
        assert_eq!(fails("a", 0), [("hook-failed".to_owned(), "the hook a failed".to_owned())]);
        for seconds in 1..200 {
            assert!(fails("a", seconds).is_empty());
        }
        assert_eq!(fails("b", 300).len(), 1, "another hook");
        assert!(journal.tell_failures(&moment(599)).unwrap().is_empty(), "not yet");
        let counted = fails("a", 600);
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert_eq!(counted[0].0, "hooks-counted");
        assert!(
            counted[0].1.starts_with("199 more failures of a hook are not recorded one by one since 2")
                && counted[0].1.ends_with("the last: the hook a failed"),
            "{counted:?}"
        );
        // The failure that made this known is counted in turn.
        let last = told(&journal.tell_failures(&moment(1200)).unwrap());
        assert!(last[0].1.starts_with("1 more failure of a hook is not"), "{last:?}");
        assert_eq!(last.len(), 1);
        assert!(journal.tell_failures(&moment(1800)).unwrap().is_empty());
        assert!(all(database.connection()).unwrap().is_empty(), "nothing stays behind");
        assert_eq!(fails("a", 1801).len(), 1, "after a while it is news again");
        assert!(journal.verify_all().unwrap().is_ok());
    }

    #[test]
    fn a_damaged_count_is_none() {
        let scratch = Scratch::new("hook-failures-damaged");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        database.connection().execute("INSERT INTO journal_meta (name, value) VALUES ('failed:a', x'ff')", []).unwrap();
        assert_eq!(journal.hook_failed(&moment(0), "a", "ended").unwrap().len(), 1);
    }
}
