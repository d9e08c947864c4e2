//! Proofs from the Merkle tree: that one record is in the journal, and that the journal has only grown.
//! May not: write.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior};

use super::error::JournalError;
use super::history::history;
use super::journal::Journal;
use super::tree::StoredTree;
use jit_core::evidence::checkpoint::{Checkpoint, Statement};
use jit_core::evidence::tree::{consistency, inclusion};
use jit_core::evidence::{Digest, TreeHead};

/// A proof, and the checkpoint whose tree it leads to.
#[derive(Debug)]
pub struct TreeProof {
    /// The tree.
    pub head: TreeHead,
    /// The checkpoint that states it.
    pub checkpoint: Checkpoint,
    /// The place of the record, for a record.
    pub index: Option<u64>,
    /// The hashes.
    pub hashes: Vec<Digest>,
}

/// Why there is no proof.
#[derive(Debug)]
pub enum NoProof {
    /// No record has this number, or it was pruned.
    NoRecord(u64),
    /// No checkpoint covers it, because the host does not sign this journal.
    Unsigned,
    /// The journal was never smaller than this many records since its last pruning.
    Pruned(u64),
    /// The journal has only this many signed records.
    Smaller(u64),
}

impl Journal<'_> {
    /// Proves that record `seq` is in the journal, up to the last checkpoint.
    pub fn prove_record(&self, seq: u64) -> Result<Result<TreeProof, NoProof>, JournalError> {
        self.proven(|tree, checkpoint, head| {
            let Some(index) = tree.place(seq)? else { return Ok(Err(NoProof::NoRecord(seq))) };
            if seq > checkpoint.seq {
                return Ok(Err(NoProof::Unsigned));
            }
            Ok(Ok((Some(index), inclusion(tree, index, head.size)?)))
        })
    }

    /// Proves that the journal up to the last checkpoint begins with the `old` records that it once had.
    pub fn prove_growth(&self, old: u64) -> Result<Result<TreeProof, NoProof>, JournalError> {
        self.proven(|tree, _, head| {
            if old > head.size {
                return Ok(Err(NoProof::Smaller(head.size)));
            }
            if old > 0 && old < tree.removed() {
                return Ok(Err(NoProof::Pruned(tree.removed())));
            }
            Ok(Ok((None, consistency(tree, old, head.size)?)))
        })
    }

    fn proven(
        &self,
        prove: impl FnOnce(
            &StoredTree<'_>,
            &Checkpoint,
            TreeHead,
        ) -> Result<Result<(Option<u64>, Vec<Digest>), NoProof>, JournalError>,
    ) -> Result<Result<TreeProof, NoProof>, JournalError> {
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        let last: Option<i64> =
            snapshot.query_row("SELECT max(seq) FROM checkpoint", [], |row| row.get(0)).optional()?.flatten();
        let last = last.map_or(0, i64::unsigned_abs);
        let Some(checkpoint) = super::checkpoint::checkpoints(&snapshot, last, last)?.pop() else {
            return Ok(Err(NoProof::Unsigned));
        };
        let Some(statement) = Statement::decode(&checkpoint.body) else { return Ok(Err(NoProof::Unsigned)) };
        let (tree, head) = (StoredTree::open(&snapshot)?, statement.tree());
        let proof = prove(&tree, &checkpoint, head)?;
        Ok(proof.map(|(index, hashes)| TreeProof { head, checkpoint, index, hashes }))
    }

    /// Returns the tree of all records before record `from`; `None` if there is no such record.
    pub fn tree_before(&self, from: u64) -> Result<Option<jit_core::evidence::tree::Frontier>, JournalError> {
        let snapshot = Transaction::new_unchecked(self.database.connection(), TransactionBehavior::Deferred)?;
        let query = history!("SELECT min(seq) FROM history WHERE seq >= ?1");
        let first: Option<i64> =
            snapshot.query_row(query, [super::columns::sql_bound(from)], |row| row.get(0)).optional()?.flatten();
        let Some(first) = first else { return Ok(None) };
        let tree = StoredTree::open(&snapshot)?;
        match tree.place(first.unsigned_abs())? {
            Some(place) => Ok(Some(tree.up_to(place)?)),
            None => Ok(None),
        }
    }
}
