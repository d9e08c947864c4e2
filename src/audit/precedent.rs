//! How often a person ran the very same command before: a count beside the journal, kept by the transaction of `start`,
//! so that an approver's question costs one look however long the journal is.
//! May not: serve as evidence. The records are; this only counts them.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::journal::Journal;
use super::record::Start;
use crate::clock::Timestamp;
use crate::escape::Word;

/// Earlier runs of one command by one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precedent {
    /// How many; at least 1.
    pub runs: u64,
    /// When the latest began.
    pub last: Timestamp,
}

impl Journal<'_> {
    /// The earlier runs by `uid` of `words`, the program's path first, as `run_as`.
    pub fn precedent(&self, uid: u32, run_as: &Word, words: &[Word]) -> rusqlite::Result<Option<Precedent>> {
        let Some((path, arguments)) = words.split_first() else { return Ok(None) };
        look_up(self.database.connection(), uid, &key(run_as, path, arguments))
    }
}

/// Counts a start.
pub(super) fn count(transaction: &Transaction<'_>, start: &Start, at: Timestamp) -> rusqlite::Result<()> {
    let arguments = start.argv.get(1..).unwrap_or_default();
    let key = key(&start.run_as, &start.path, arguments);
    // Two statements, for the one that could do either is slow to prepare.
    let again = "UPDATE precedent SET runs = runs + 1, last = ?3 WHERE uid = ?1 AND command = ?2";
    if transaction.execute(again, params![start.uid, key, at.0])? == 0 {
        let first = "INSERT INTO precedent (uid, command, runs, last) VALUES (?1, ?2, 1, ?3)";
        transaction.execute(first, params![start.uid, key, at.0])?;
    }
    Ok(())
}

fn look_up(connection: &Connection, uid: u32, key: &[u8; 32]) -> rusqlite::Result<Option<Precedent>> {
    let query = "SELECT runs, last FROM precedent WHERE uid = ?1 AND command = ?2";
    connection
        .query_row(query, params![uid, key], |row| {
            Ok(Precedent { runs: row.get::<_, i64>(0)?.unsigned_abs(), last: Timestamp(row.get(1)?) })
        })
        .optional()
}

/// No word holds a NUL, so different words never make the same text.
fn key(run_as: &Word, path: &Word, arguments: &[Word]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in [run_as, path].into_iter().chain(arguments) {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{JournalError, SCHEMA, sample};
    use crate::database::tests::Scratch;
    use crate::database::{Database, Durability};

    #[test]
    fn the_very_same_command_is_counted_for_the_same_person_only() {
        let scratch = Scratch::new("precedent");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        let start = sample::start("run000000001");
        for second in [3, 7] {
            database
                .write(Durability::Ordered, |tx| {
                    count(tx, &start, sample::moment(second).wall)?;
                    Ok::<_, JournalError>(())
                })
                .unwrap();
        }
        let words: Vec<Word> = std::iter::once(start.path.clone()).chain(start.argv.iter().skip(1).cloned()).collect();
        let found = journal.precedent(start.uid, &start.run_as, &words).unwrap();
        assert_eq!(found, Some(Precedent { runs: 2, last: sample::moment(7).wall }));
        let mut longer = words.clone();
        longer.push(Word::default());
        let joined = vec![words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").as_str().into()];
        for other in [&longer[..], &words[..1], &joined, &[]] {
            assert_eq!(journal.precedent(start.uid, &start.run_as, other).unwrap(), None, "{other:?}");
        }
        assert_eq!(journal.precedent(start.uid + 1, &start.run_as, &words).unwrap(), None);
        assert_eq!(journal.precedent(start.uid, &"nobody".into(), &words).unwrap(), None);
    }
}
