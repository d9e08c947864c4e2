//! The Merkle tree over the records, as the database stores it: the complete subtrees of 2^8, 2^16, … records, and, after a pruning,
//! the largest complete subtrees of the removed records. They are written in the transaction that stores a checkpoint, never by a
//! run. Everything else is computed from the records.
//! May not: sign.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::columns::{digest, sql_bound, sql_integer};
use super::error::JournalError;
use super::history::history;
use super::prune::pruned;
use jit_core::evidence::checkpoint::Statement;
use jit_core::evidence::tree::{Frontier, STEP, Subtrees, TreeHead, frontier};
use jit_core::evidence::{Digest, Mark, StoredSubtree};

/// The tree as far as it is stored, with the records that it is computed from.
pub(super) struct StoredTree<'c> {
    connection: &'c Connection,
    /// The tree of the pruned records, and the number of the last one.
    begin: Frontier,
    begin_seq: u64,
}

/// The head of the tree, and the subtrees that are to be stored with it.
#[derive(Debug)]
pub struct Grown {
    /// Size and root of the tree of all records up to the last one.
    pub head: TreeHead,
    stored: Vec<StoredSubtree>,
    is_anew: bool,
}

/// Returns the tree of the pruned records, as it is stored; `None` if the stored subtrees are not one.
pub(super) fn removed(connection: &Connection) -> Result<Option<Frontier>, JournalError> {
    let Some(last) = pruned(connection)? else { return Ok(Some(Frontier::default())) };
    let query = "SELECT height, place, hash FROM tree WHERE seq = ?1 ORDER BY place << height, height DESC";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([sql_bound(last.seq)])?;
    let (mut size, mut hashes) = (0_u64, Vec::new());
    while let Some(row) = rows.next()? {
        let (height, place) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
        let Some(leaves) = u32::try_from(height).ok().and_then(|height| 1_u64.checked_shl(height)) else {
            return Ok(None);
        };
        if u64::try_from(place).ok().and_then(|place| place.checked_mul(leaves)) != Some(size) {
            return Ok(None);
        }
        size = size.saturating_add(leaves);
        hashes.push(digest(row, 2)?);
    }
    Ok(Frontier::new(size, hashes))
}

impl<'c> StoredTree<'c> {
    pub(super) fn open(connection: &'c Connection) -> Result<Self, JournalError> {
        let begin = removed(connection)?.ok_or(JournalError::Damaged("a tree of the removed records"))?;
        let begin_seq = pruned(connection)?.map_or(0, |last| last.seq);
        Ok(Self { connection, begin, begin_seq })
    }

    /// Computes the tree up to record `last`. `before`: what the last checkpoint states, with which the tree must agree; the
    /// answer is `None` if it does not. Without it, nothing proves the stored subtrees, and all are computed anew.
    pub(super) fn grow(&self, last: Mark, before: Option<&Statement>) -> Result<Option<Grown>, JournalError> {
        let (place, mut seq) = match before {
            Some(_) => self.last_stored(u64::MAX)?,
            None => (self.begin.size(), self.begin_seq),
        };
        let mut tree = self.up_to(place)?;
        let differs = |tree: &Frontier, seq| before.is_some_and(|said| said.seq == seq && said.tree() != tree.head());
        let mut stored = Vec::new();
        if differs(&tree, seq) {
            return Ok(None);
        }
        let query = history!("SELECT seq, hash FROM history WHERE seq > ?1 AND seq <= ?2 ORDER BY seq");
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(params![sql_bound(seq), sql_bound(last.seq)])?;
        while let Some(row) = rows.next()? {
            seq = row.get::<_, i64>(0)?.unsigned_abs();
            tree.push(digest(row, 1)?, |subtree| {
                if subtree.height.is_multiple_of(STEP) {
                    stored.push((subtree, seq));
                }
            });
            if differs(&tree, seq) {
                return Ok(None);
            }
        }
        Ok(Some(Grown { head: tree.head(), stored, is_anew: before.is_none() }))
    }

    /// Returns how many leaves the stored subtrees cover that end at `limit` or before, and the number of the last of them.
    fn last_stored(&self, limit: u64) -> Result<(u64, u64), JournalError> {
        self.covered(
            "SELECT place, seq FROM tree WHERE height = ?1 AND place < ?2 ORDER BY place DESC LIMIT 1",
            limit >> STEP,
        )
    }

    /// Does the same for those that `query` finds below this bound.
    fn covered(&self, query: &str, below: u64) -> Result<(u64, u64), JournalError> {
        let mut statement = self.connection.prepare_cached(query)?;
        let found = statement
            .query_row(params![STEP, sql_bound(below)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let found = found.map(|(place, seq)| (place.unsigned_abs().saturating_add(1) << STEP, seq.unsigned_abs()));
        // A subtree of pruned records may end before the last of them.
        Ok(found.filter(|(place, _)| *place > self.begin.size()).unwrap_or((self.begin.size(), self.begin_seq)))
    }

    /// Returns the hashes of the records from place `from` on.
    fn records(&self, from: u64, count: u64) -> Result<Vec<Digest>, JournalError> {
        let (place, seq) = self.last_stored(from)?;
        let Some(skipped) = from.checked_sub(place) else {
            return Err(JournalError::Damaged("a subtree that is missing"));
        };
        let query = history!("SELECT hash FROM history WHERE seq > ?1 ORDER BY seq LIMIT ?2 OFFSET ?3");
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query(params![sql_bound(seq), sql_bound(count), sql_bound(skipped)])?;
        let mut hashes = Vec::new();
        while let Some(row) = rows.next()? {
            hashes.push(digest(row, 0)?);
        }
        if hashes.len() as u64 == count { Ok(hashes) } else { Err(JournalError::Damaged("a tree of more records")) }
    }

    /// Returns how many records were pruned.
    pub(super) fn removed(&self) -> u64 {
        self.begin.size()
    }

    /// Returns the tree of the first `size` records.
    pub(super) fn up_to(&self, size: u64) -> Result<Frontier, JournalError> {
        if size == self.begin.size() { Ok(self.begin.clone()) } else { frontier(self, size) }
    }

    /// Returns the place of record `seq`.
    pub(super) fn place(&self, seq: u64) -> Result<Option<u64>, JournalError> {
        let before = "SELECT place, seq FROM tree WHERE height = ?1 AND seq < ?2 ORDER BY place DESC LIMIT 1";
        let (place, last) = self.covered(before, seq)?;
        let query = history!("SELECT count(*), max(seq) FROM history WHERE seq > ?1 AND seq <= ?2");
        let (count, found): (i64, Option<i64>) =
            self.connection
                .query_row(query, params![sql_bound(last), sql_bound(seq)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let is_there = found.map(i64::unsigned_abs) == Some(seq);
        Ok(is_there.then(|| place.saturating_add(count.unsigned_abs()).saturating_sub(1)))
    }
}

impl Subtrees for StoredTree<'_> {
    type Error = JournalError;

    fn hash(&self, height: u32, place: u64) -> Result<Digest, JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT hash FROM tree WHERE height = ?1 AND place = ?2")?;
        let stored = statement.query_row(params![height, sql_bound(place)], |row| Ok(digest(row, 0))).optional()?;
        if let Some(hash) = stored {
            return hash;
        }
        let from = place << height;
        if height <= STEP && from >= self.begin.size() {
            let mut subtree = Frontier::default();
            self.records(from, 1 << height)?.iter().for_each(|hash| subtree.push(*hash, |_| ()));
            return Ok(subtree.head().root);
        }
        let Some(below) = height.checked_sub(1) else { return Err(JournalError::Damaged("a subtree that is missing")) };
        let (left, right) = (self.hash(below, place << 1)?, self.hash(below, place << 1 | 1)?);
        Ok(jit_core::evidence::tree::node(left, right))
    }
}

/// Stores the subtrees of a tree that has grown, unless their records were pruned meanwhile.
pub(super) fn store(tx: &Transaction<'_>, grown: &Grown) -> Result<(), JournalError> {
    let gone = pruned(tx)?.map_or(0, |last| last.seq);
    if grown.is_anew {
        tx.execute("DELETE FROM tree WHERE seq > ?1", [sql_bound(gone)])?;
    }
    for (subtree, seq) in grown.stored.iter().filter(|(_, seq)| *seq > gone) {
        put(tx, *subtree, *seq)?;
    }
    Ok(())
}

fn put(tx: &Transaction<'_>, subtree: jit_core::evidence::tree::Subtree, seq: u64) -> Result<(), JournalError> {
    let query = "INSERT OR REPLACE INTO tree (height, place, seq, hash) VALUES (?1, ?2, ?3, ?4)";
    let row = params![subtree.height, sql_integer(subtree.place)?, sql_integer(seq)?, subtree.hash.0];
    tx.prepare_cached(query)?.execute(row)?;
    Ok(())
}

/// Replaces the subtrees of the records up to `last` by the largest ones, which are returned.
pub(super) fn cut(tx: &Transaction<'_>, last: Mark) -> Result<Frontier, JournalError> {
    let tree = StoredTree::open(tx)?;
    let missing = JournalError::Damaged("a record of the tree that is missing");
    let size = tree.place(last.seq)?.ok_or(missing)?.saturating_add(1);
    let removed = frontier(&tree, size)?;
    tx.execute("DELETE FROM tree WHERE seq <= ?1", [sql_bound(last.seq)])?;
    removed.subtrees().try_for_each(|subtree| put(tx, subtree, last.seq))?;
    Ok(removed)
}

/// Returns what is wrong with the stored subtrees: the number of a record and the fault. `expected`: those that the records up to
/// the last checkpoint, number `sealed`, require; the subtrees of the removed records were compared before.
pub(super) fn differs(
    connection: &Connection,
    expected: &[StoredSubtree],
    sealed: u64,
) -> Result<Option<(u64, &'static str)>, JournalError> {
    let gone = pruned(connection)?.map_or(0, |last| last.seq);
    let mut statement = connection
        .prepare("SELECT height, place, seq, hash FROM tree WHERE seq <> ?1 OR ?1 = 0 ORDER BY seq, height")?;
    let mut rows = statement.query([sql_bound(gone)])?;
    let mut expected = expected.iter().take_while(|(_, seq)| *seq <= sealed);
    loop {
        let (row, wanted) = (rows.next()?, expected.next());
        let Some(row) = row else {
            return Ok(wanted.map(|(_, seq)| (*seq, "completes a subtree that is not stored")));
        };
        let (height, place, seq) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        let same = wanted.is_some_and(|(subtree, last)| {
            (i64::from(subtree.height), sql_bound(subtree.place), sql_bound(*last)) == (height, place, seq)
                && row.get_ref(3).is_ok_and(|hash| hash.as_bytes() == Ok(&subtree.hash.0[..]))
        });
        if !same {
            let seq = wanted.map_or(seq.unsigned_abs(), |(_, last)| *last);
            return Ok(Some((seq, "does not complete the subtree that is stored for it")));
        }
    }
}
