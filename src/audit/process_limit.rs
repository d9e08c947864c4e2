//! Alerts that a user has reached a limit on processes: once a day for each user and limit, however often the user is refused.
//! May not: read a clock; time comes in as a `Moment`.

use rusqlite::Connection;

use super::error::JournalError;
use super::journal::{Journal, Written};
use super::meta::{clear_meta, meta, metas, set_meta};
use crate::database::Durability;
use jit_core::budget::ProcessLimit;
use jit_core::clock::Moment;
use jit_core::escape::Word;
use jit_core::evidence::record::{Alert, Event};
use jit_core::names::Person;

/// How long an alert counts for all further ones, in seconds.
const TOLD_EVERY: i64 = 86_400;

/// The prefix of the limit, the uid and the name, in `journal_meta`.
const NAME: &str = "limit:";

impl Journal<'_> {
    /// Records that `person` has reached a limit, unless an alert said so less than a day ago.
    pub fn tell_limit(
        &self,
        moment: &Moment,
        person: &Person,
        limit: ProcessLimit,
    ) -> Result<Vec<Written>, JournalError> {
        let (name, now) = (format!("{NAME}{}:{}:{}", limit.name(), person.uid, person.name), moment.wall.seconds());
        if is_told(self.database.connection(), &name, now)? {
            return Ok(Vec::new());
        }
        self.database.write(Durability::Ordered, |tx| {
            if is_told(tx, &name, now)? {
                return Ok(Vec::new());
            }
            // One row for each user and limit of a day.
            for (old, told) in metas(tx, NAME)? {
                if told_at(&told).is_none_or(|told| now.abs_diff(told) >= TOLD_EVERY.unsigned_abs()) {
                    clear_meta(tx, &old)?;
                }
            }
            set_meta(tx, &name, now.to_string().as_bytes())?;
            let user = Word::from(person.name.as_str());
            let sentence = format!("{user} has used up the budget of one user for {limit}");
            let alert = Alert::new("budget-used", sentence).about(person.uid, user);
            Ok(vec![self.append(tx, moment, Event::Alert(Box::new(alert)))?])
        })
    }
}

fn is_told(connection: &Connection, name: &str, now: i64) -> rusqlite::Result<bool> {
    let told = meta(connection, name)?.and_then(|value| told_at(&value));
    Ok(told.is_some_and(|told| (0..TOLD_EVERY).contains(&now.saturating_sub(told))))
}

/// Reads the time of an alert, in seconds since 1970; an unreadable one is none.
fn told_at(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;
    use jit_core::clock::Timestamp;
    use jit_core::names::UserName;

    #[test]
    fn a_limit_is_told_once_a_day_for_each_user() {
        let scratch = Scratch::new("process-limit");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let told = |uid, limit, seconds: i64| {
            let start = sample::moment(0);
            let moment = Moment { wall: Timestamp(start.wall.0 + seconds * 1_000_000), ..start };
            let person = Person { uid, name: UserName::parse("alice").unwrap() };
            journal.tell_limit(&moment, &person, limit).unwrap().len()
        };
        assert_eq!(told(7, ProcessLimit::Questions, 1), 1);
        for second in 1..100 {
            assert_eq!(told(7, ProcessLimit::Questions, second), 0);
        }
        assert_eq!((told(7, ProcessLimit::Supervisors, 2), told(8, ProcessLimit::Questions, 2)), (1, 1));
        assert_eq!(told(7, ProcessLimit::Questions, 90_000), 1, "the next day");
        let rows = "SELECT count(*) FROM journal_meta WHERE name LIKE 'limit:%'";
        let rows: i64 = database.connection().query_row(rows, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "those of the day before are removed");
        assert_eq!(told(7, ProcessLimit::Questions, 5), 1, "a clock that was set back hides nothing");
        assert!(journal.verify_all().unwrap().is_ok());
    }
}
