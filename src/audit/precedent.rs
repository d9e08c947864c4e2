//! Counts how often a person ran the same command before: a table beside the journal, updated in the transaction of `end`, so
//! that an approver's question costs one lookup however long the journal is, and no caller waits for the count.
//! May not: serve as evidence. The records are the evidence; this only counts them.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::journal::Journal;
use jit_core::clock::Timestamp;
use jit_core::escape::Word;
use jit_core::evidence::precedent::key;
use jit_core::evidence::record::Start;
use jit_core::names::Person;

/// Earlier runs of one command by one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precedent {
    /// Their number; at least 1.
    pub runs: u64,
    /// The start of the latest.
    pub last: Timestamp,
}

impl Journal<'_> {
    /// Returns the earlier runs by `person`, as `run_as`, of the program with the canonical `path` and these arguments: records
    /// name the program by that path, whatever name was typed.
    pub fn precedent(
        &self,
        person: &Person,
        run_as: &Word,
        path: &Word,
        arguments: &[Word],
    ) -> rusqlite::Result<Option<Precedent>> {
        let user = Word::from(person.name.as_str());
        look_up(self.database.connection(), person.uid, &key(&user, run_as, path, arguments))
    }
}

/// Returns the key under which [`count`] counts a run.
pub(super) fn command(start: &Start) -> [u8; 32] {
    key(&start.user, &start.run_as, &start.path, start.argv.get(1..).unwrap_or_default())
}

pub(super) const AGAIN: &str =
    "UPDATE precedent SET runs = runs + 1, last = max(last, ?3) WHERE uid = ?1 AND command = ?2";

/// Counts a run that began at `began` and has ended.
pub(super) fn count(tx: &Transaction<'_>, uid: u32, command: &[u8; 32], began: Timestamp) -> rusqlite::Result<()> {
    // Two statements, because one statement that does either is slow to prepare.
    if tx.prepare_cached(AGAIN)?.execute(params![uid, command, began.0])? == 0 {
        let first = "INSERT INTO precedent (uid, command, runs, last) VALUES (?1, ?2, 1, ?3)";
        tx.execute(first, params![uid, command, began.0])?;
    }
    Ok(())
}

fn look_up(connection: &Connection, uid: u32, key: &[u8; 32]) -> rusqlite::Result<Option<Precedent>> {
    let query = "SELECT runs, last FROM precedent WHERE uid = ?1 AND command = ?2";
    connection
        .query_row(query, params![uid, key], |row| {
            Ok(Precedent { runs: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), last: Timestamp(row.get(1)?) })
        })
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{JournalError, SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};

    #[test]
    fn only_the_same_command_by_the_same_person_is_counted() {
        let scratch = Scratch::new("precedent");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let start = sample::start("run000000001");
        for second in [3, 7, 5] {
            database
                .write(Durability::Ordered, |tx| {
                    count(tx, start.uid, &command(&start), sample::moment(second).wall)?;
                    Ok::<_, JournalError>(())
                })
                .unwrap();
        }
        let words: Vec<Word> = start.argv.iter().skip(1).cloned().collect();
        let name = jit_core::names::UserName::parse(&start.user.to_string()).unwrap();
        let person = Person { uid: start.uid, name };
        let found = journal.precedent(&person, &start.run_as, &start.path, &words).unwrap();
        assert_eq!(found, Some(Precedent { runs: 3, last: sample::moment(7).wall }));
        let mut longer = words.clone();
        longer.push(Word::default());
        let joined = vec![words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").as_str().into()];
        for other in [&longer[..], &joined] {
            assert_eq!(journal.precedent(&person, &start.run_as, &start.path, other).unwrap(), None, "{other:?}");
        }
        let next = jit_core::names::UserName::parse("dave").unwrap();
        for other in [Person { uid: start.uid + 1, ..person.clone() }, Person { uid: start.uid, name: next }] {
            assert_eq!(journal.precedent(&other, &start.run_as, &start.path, &words).unwrap(), None, "{other:?}");
        }
        assert_eq!(journal.precedent(&person, &"nobody".into(), &start.path, &words).unwrap(), None);
        assert_eq!(journal.precedent(&person, &start.run_as, &"/usr/bin/other".into(), &words).unwrap(), None);
    }
}
