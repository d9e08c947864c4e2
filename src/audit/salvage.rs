//! Reads what can be read of a damaged journal, record by record: a page that cannot be read costs the records on it, not the others.
//! May not: write.

use rusqlite::{Connection, Error, ErrorCode, OptionalExtension};

use super::columns::{digest, sql_bound};
use super::error::JournalError;
use super::history::last;
use super::journal::Journal;
use super::listing::Stored;
use super::prune::pruned;
use jit_core::evidence::chain::hash;
use jit_core::evidence::{Checkpoint, Mark};

/// The most records, and bytes of records, in one part.
const PART: u64 = 10_000;
const PART_BYTES: usize = 8 << 20;

/// Records that cannot be read: from the first to the last, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The reason.
    pub why: String,
}

/// A part of what can be read.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// The records, each with its own hash.
    pub records: Vec<Stored>,
    /// Their checkpoints.
    pub checkpoints: Vec<Checkpoint>,
    /// What is missing between and around them.
    pub gaps: Vec<Gap>,
    /// Where the next part begins.
    pub next: Option<u64>,
    /// Whether the number of the last record is unknown.
    pub open_end: bool,
}

impl Journal<'_> {
    /// Reads records from number `from` on. `anchor`: a head that was kept elsewhere; where the end of the journal cannot be read, it
    /// shows how many records there were at least.
    ///
    /// # Errors
    /// The database failed in another way than by damage.
    pub fn salvage(&self, from: u64, anchor: Option<Mark>) -> Result<Salvaged, JournalError> {
        let connection = self.database.connection();
        let gone = readable(pruned(connection))?.flatten().map_or(0, |mark| mark.seq);
        let (end, open_end) = end(connection, anchor)?;
        let mut salvaged = Salvaged { open_end, ..Salvaged::default() };
        let (mut seq, mut bytes) = (from.max(gone.saturating_add(1)), 0);
        let until = end.min(seq.saturating_add(PART - 1));
        if from <= gone && gone > 0 {
            salvaged.checkpoints.extend(checkpoint(connection, gone));
        }
        while seq <= until && bytes < PART_BYTES {
            match record(connection, seq)? {
                Ok(stored) => {
                    bytes += stored.body.len();
                    salvaged.records.push(stored);
                    salvaged.checkpoints.extend(checkpoint(connection, seq));
                }
                Err(why) => salvaged.miss(seq, why),
            }
            seq = seq.saturating_add(1);
        }
        salvaged.next = (seq <= end).then_some(seq);
        Ok(salvaged)
    }
}

impl Salvaged {
    fn miss(&mut self, seq: u64, why: String) {
        match self.gaps.last_mut() {
            Some(gap) if gap.last.saturating_add(1) == seq && gap.why == why => gap.last = seq,
            _ => self.gaps.push(Gap { first: seq, last: seq, why }),
        }
    }
}

/// Returns the number of the last record, and whether there may be later ones.
fn end(connection: &Connection, anchor: Option<Mark>) -> Result<(u64, bool), JournalError> {
    // A damaged anchor names no record.
    let anchored = anchor.filter(|mark| mark.seq < u64::MAX).map_or(0, |mark| mark.seq);
    let query = |query: &str| connection.query_row(query, [], |row| row.get::<_, Option<i64>>(0)).map_err(Into::into);
    let signed = readable(query("SELECT max(seq) FROM checkpoint"))?.flatten().unwrap_or(0).unsigned_abs();
    let (last, open_end) = match readable(query("SELECT max(seq) FROM record"))? {
        Some(last) => (last.unwrap_or(0).unsigned_abs(), false),
        // The last record may be read where the greatest number cannot be.
        None => (readable(last(connection))?.flatten().map_or(0, |last| last.mark.seq), true),
    };
    // The index has its own pages.
    let runs = "SELECT max(seq) FROM record INDEXED BY record_by_run WHERE run IS NOT NULL";
    let indexed = if open_end { readable(query(runs))?.flatten() } else { None };
    let indexed = indexed.unwrap_or(0).unsigned_abs();
    Ok((last.max(signed).max(anchored).max(indexed), open_end))
}

/// Returns a record, or the reason why it cannot be read.
fn record(connection: &Connection, seq: u64) -> Result<Result<Stored, String>, JournalError> {
    let mut statement = connection.prepare_cached("SELECT hash, body FROM record WHERE seq = ?1")?;
    let row = statement.query_row([sql_bound(seq)], |row| Ok((digest(row, 0), row.get::<_, Vec<u8>>(1)?)));
    let (stored, body) = match row.optional() {
        Ok(Some((Ok(stored), body))) => (stored, body),
        Ok(Some((Err(_), _))) => return Ok(Err("its hash is damaged".to_owned())),
        Ok(None) => return Ok(Err("it is missing".to_owned())),
        Err(error) if is_damage(&error) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let altered = || "its bytes are not those that were written".to_owned();
    Ok(match String::from_utf8(body) {
        Ok(body) if hash(body.as_bytes()) == stored => Ok(Stored { seq, hash: stored, body }),
        _ => Err(altered()),
    })
}

/// Returns the checkpoint of a record; none where it cannot be read, because the record counts without it.
fn checkpoint(connection: &Connection, seq: u64) -> Option<Checkpoint> {
    let mut statement =
        connection.prepare_cached("SELECT body, signature, note FROM checkpoint WHERE seq = ?1").ok()?;
    let read = statement.query_row([sql_bound(seq)], |row| {
        Ok(Checkpoint { seq, body: row.get(0)?, signature: row.get(1)?, note: row.get(2)? })
    });
    read.ok()
}

/// Returns `None` where the database is damaged.
fn readable<T>(read: Result<T, JournalError>) -> Result<Option<T>, JournalError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(JournalError::Damaged(_) | JournalError::Malformed(_)) => Ok(None),
        Err(JournalError::Sqlite(error)) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the database, the file or the disk is damaged.
fn is_damage(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
    ) || matches!(error, Error::InvalidColumnType(..) | Error::FromSqlConversionFailure(..))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::audit::{SCHEMA, sample};
    use crate::database::Database;
    use crate::database::tests::Scratch;

    /// Reads all parts; returns the numbers of the records and the gaps.
    fn salvaged(journal: &Journal<'_>, anchor: Option<Mark>) -> (Vec<u64>, Vec<Gap>, bool) {
        let (mut from, mut all) = (Some(0), (Vec::new(), Vec::new(), false));
        while let Some(next) = from {
            let part = journal.salvage(next, anchor).unwrap();
            all.0.extend(part.records.iter().map(|stored| stored.seq));
            all.1.extend(part.gaps);
            all.2 |= part.open_end;
            from = part.next;
        }
        all
    }

    #[test]
    fn each_zeroed_page_costs_only_the_records_on_it() {
        let scratch = Scratch::new("salvage");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        sample::fill(&journal, 300);
        let head = journal.head().unwrap().map(|(seq, hash)| Mark { seq, hash });
        assert_eq!(salvaged(&journal, head), ((1..=300).collect(), Vec::new(), false));
        let size = database.connection().query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).unwrap();
        let size = size.unsigned_abs();
        let pages: Vec<u64> = {
            database.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            (3..std::fs::metadata(scratch.path()).unwrap().len() / size).collect()
        };
        drop(journal);
        drop(database);
        let sound = std::fs::read(scratch.path()).unwrap();
        let mut losses = 0;
        for page in pages {
            let file = std::fs::OpenOptions::new().write(true).open(scratch.path()).unwrap();
            file.write_all_at(&vec![0; usize::try_from(size).unwrap()], page * size).unwrap();
            let Ok(database) = Database::open(&scratch.path(), &[SCHEMA]) else {
                file.write_all_at(&sound, 0).unwrap();
                continue;
            };
            let journal = Journal::new(&database, "web1", Vec::new());
            let (records, gaps, _) = salvaged(&journal, head);
            let missing: u64 = gaps.iter().map(|gap| gap.last - gap.first + 1).sum();
            assert_eq!(records.len() as u64 + missing, 300, "page {page}: {gaps:?}");
            assert!(missing < 250, "page {page}: {gaps:?}");
            losses += u64::from(missing > 0);
            drop(journal);
            drop(database);
            file.write_all_at(&sound, 0).unwrap();
        }
        assert!(losses > 20, "{losses} pages cost a record");
    }

    #[test]
    fn what_was_altered_or_deleted_is_a_gap() {
        let scratch = Scratch::new("salvage-altered");
        let database = Database::create(&scratch.path(), &[SCHEMA]).unwrap();
        let journal = Journal::new(&database, "web1", Vec::new());
        sample::fill(&journal, 10);
        let damage = "DELETE FROM record WHERE seq IN (3, 4, 10); UPDATE record SET body = x'00' WHERE seq = 7;
            UPDATE record SET hash = x'00' WHERE seq = 8";
        let (_, head) = journal.head().unwrap().unwrap();
        database.connection().execute_batch(damage).unwrap();
        let (records, gaps, open_end) = salvaged(&journal, Some(Mark { seq: 10, hash: head }));
        assert_eq!((records, open_end), (vec![1, 2, 5, 6, 9], false));
        let gaps: Vec<_> = gaps.into_iter().map(|gap| (gap.first, gap.last, gap.why)).collect();
        let gap = |first, last, why: &str| (first, last, why.to_owned());
        let altered = "its bytes are not those that were written";
        assert_eq!(
            gaps,
            [
                gap(3, 4, "it is missing"),
                gap(7, 7, altered),
                gap(8, 8, "its hash is damaged"),
                gap(10, 10, "it is missing")
            ]
        );
    }
}
