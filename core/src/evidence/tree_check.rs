//! The Merkle tree in a verification: the tree heads that the checkpoints state, those that were signed and kept elsewhere, and
//! the subtrees that the database stores.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::checkpoint::{Checkpoint, Statement};
use super::digest::Digest;
use super::elsewhere::KnownHead;
use super::faults::{Cause, FirstBad};
use super::fork_event::Fork;
use super::forks::Forks;
use super::mark::Mark;
use super::note::{self, Note, NoteKey};
use super::record::parse;
use super::signers::Signers;
use super::tree::{Frontier, STEP, Subtree, TreeHead};
use crate::grant::PublicKey;

/// A signed head elsewhere that agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The number of the last record that it covers.
    pub seq: u64,
    /// The number of records that it covers.
    pub size: u64,
    /// When a witness cosigned it, in seconds since 1970.
    pub at: Option<u64>,
}

/// The result of the comparison with what was kept elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// The last signed head that agrees.
    pub signed: Option<Agreed>,
    /// The last cosigned head that agrees.
    pub cosigned: Option<Agreed>,
    /// Which of the named witnesses have cosigned a head that agrees, one bit for each.
    pub witnesses: u64,
    /// The number of signed heads of branches that were lost.
    pub lost: u64,
    /// The number of those among them that a fork explains which names another record in the place of one of this journal: it explains
    /// every head up to there.
    pub replaced: u64,
    /// The number of signed heads by a former host key that are of more records than it can have signed in this journal.
    pub beyond: u64,
    /// The number of signed heads by given keys that this journal is not by.
    pub others: u64,
    /// The number of signed heads that differ, and of which nothing shows whether they are of a branch that was lost.
    pub undecided: u64,
    /// The number of signed heads of fewer records than were pruned.
    pub pruned: u64,
    /// The number of signed heads that could not be compared, because the records before the file are not known.
    pub uncompared: u64,
    /// The last unsigned head that agrees.
    pub unsigned: Option<u64>,
    /// The number of unsigned heads that differ, or name a record that the journal does not have.
    pub disagreeing: u64,
    /// The number of the first record that such a head names.
    pub first_disagreeing: Option<u64>,
}

/// A subtree that the database stores, and the number of its last record.
pub type Stored = (Subtree, u64);

/// The tree so far.
#[derive(Debug, Default)]
pub(super) struct TreeCheck {
    /// The tree of all records so far; `None` if the records before the first one are not known.
    frontier: Option<Frontier>,
    /// The tree before the first record.
    begin: Option<Frontier>,
    heads: BTreeMap<u64, Vec<KnownHead>>,
    /// The sizes of signed heads that differ, each with the number of the last record of that size.
    differing: BTreeMap<u64, u64>,
    /// For each fork the sizes of the lost branch, and its number: more than the first, at most the second one.
    lost: Vec<(u64, u64, u64)>,
    /// Heads of such sizes that differ, with the number of the last record of that size.
    doubtful: Vec<(KnownHead, u64)>,
    stored: Vec<Stored>,
    found: Compared,
}

impl TreeCheck {
    /// Begins with the tree before the first record.
    pub(super) fn new(begin: Option<Frontier>) -> Self {
        Self { frontier: begin.clone(), begin, ..Self::default() }
    }

    /// Adds the signed heads that were kept elsewhere.
    pub(super) fn expect(&mut self, heads: Vec<KnownHead>) {
        let before = self.begin.as_ref().map_or(0, Frontier::size);
        for known in heads {
            if known.is_other {
                self.found.others += 1;
            } else if known.head.size > before {
                self.heads.entry(known.head.size).or_default().push(known);
            } else {
                self.found.pruned += 1;
            }
        }
    }

    /// Adds a record.
    pub(super) fn record(&mut self, last: Mark, fork: Option<&Fork>) {
        let Some(frontier) = &mut self.frontier else { return };
        if let Some(fork) = fork {
            let (place, span) = (frontier.size(), last.seq.saturating_sub(fork.continues).saturating_sub(1));
            self.lost.push((place, place.saturating_add(span), last.seq));
            // The numbers of a branch are not smaller than its sizes.
            let replaced = fork.heads.iter().map(|lost| lost.seq).filter(|lost| *lost <= fork.continues).max();
            let behind = self.differing.split_off(&replaced.unwrap_or(0).saturating_add(1));
            let explained = std::mem::replace(&mut self.differing, behind).len() as u64;
            self.found.lost += explained;
            self.found.replaced += explained;
        }
        let (stored, seq) = (&mut self.stored, last.seq);
        frontier.push(last.hash, |subtree| {
            if subtree.height.is_multiple_of(STEP) {
                stored.push((subtree, seq));
            }
        });
        let size = frontier.size();
        if self.heads.first_key_value().is_some_and(|(first, _)| *first == size) {
            let (head, known) = (frontier.head(), self.heads.remove(&size).unwrap_or_default());
            known.iter().for_each(|known| self.compare(known, head, last.seq));
        }
    }

    fn compare(&mut self, known: &KnownHead, head: TreeHead, seq: u64) {
        let agreed = Agreed { seq, size: head.size, at: known.cosigned };
        match (known.head == head, self.is_lost(head.size) || known.is_beyond(seq)) {
            (true, _) if !known.is_own || known.is_beyond(seq) => {}
            (true, _) => {
                self.found.witnesses |= known.witnesses;
                self.found.signed = Some(Agreed { at: None, ..agreed });
                self.found.cosigned = if known.cosigned.is_some() { Some(agreed) } else { self.found.cosigned };
            }
            (false, true) => self.doubtful.push((*known, seq)),
            (false, false) => drop(self.differing.insert(head.size, seq)),
        }
    }

    fn is_lost(&self, size: u64) -> bool {
        self.lost.iter().any(|(after, through, _)| *after < size && size <= *through)
    }

    /// Checks what a checkpoint that counts states of the tree, and its note. `host`: the host key of its line, if that is known.
    pub(super) fn checkpoint(
        &self,
        checkpoint: &Checkpoint,
        statement: &Statement,
        host: Option<&PublicKey>,
        signers: &Signers,
    ) -> Result<(), Cause> {
        let head = statement.tree();
        if self.frontier.as_ref().is_some_and(|frontier| frontier.head() != head) {
            let why = format!("states another tree than that of its {} records", head.size);
            return Err(Cause::Checkpoint(why));
        }
        let bad = || Err(Cause::Checkpoint("has a note that is not by this host, or states another tree".to_owned()));
        let origin = note::origin(&statement.host);
        let Some(note) = Note::parse(&checkpoint.note) else { return bad() };
        if note.text != note::text(&origin, &head) || note.signatures.len() != 1 {
            return bad();
        }
        let signed = |key| NoteKey::of_host(&origin, key).is_some_and(|key| key.signed(&note));
        let is_signed = match (host, signers) {
            (Some(host), _) => signed(host),
            // The key of a note is not in the note.
            (None, Signers::Anybody) => true,
            (None, Signers::These(keys)) => keys.iter().any(signed),
            (None, Signers::Host(key)) => signed(key),
        };
        if is_signed { Ok(()) } else { bad() }
    }

    /// Checks what the record of a pruning up to record `before` states of the tree before the first record.
    pub(super) fn pruning(&self, before: u64, body: &[u8]) -> Result<(), Cause> {
        #[derive(Deserialize)]
        struct Cut {
            through: u64,
            size: u64,
            tree: Vec<Digest>,
        }
        let Ok(cut) = parse::<Cut>(body) else { return Ok(()) };
        let same = |begin: &Frontier| (begin.size(), begin.hashes()) == (cut.size, &cut.tree[..]);
        if cut.through == before && self.begin.as_ref().is_some_and(|begin| !same(begin)) {
            return Err(Cause::Tree("states another tree of the removed records".to_owned()));
        }
        Ok(())
    }

    /// Returns the first signed head that differs from the chain.
    pub(super) fn differing(&self) -> Option<FirstBad> {
        let first = self.differing.first_key_value();
        first.map(|(size, seq)| FirstBad { seq: *seq, cause: Cause::OtherHead(*size) })
    }

    /// Returns the subtrees that a database stores with the records so far, the lowest first where several end with one record.
    pub(super) fn stored(&self) -> &[Stored] {
        &self.stored
    }

    /// Ends the comparison. `last`: the number of the last record.
    pub(super) fn end(mut self, last: u64, forks: &Forks) -> Result<Compared, FirstBad> {
        if let Some(bad) = self.differing() {
            return Err(bad);
        }
        for (known, seq) in std::mem::take(&mut self.doubtful) {
            let other = FirstBad { seq, cause: Cause::OtherHead(known.head.size) };
            self.count((&known, seq), forks).map_err(|()| other)?;
        }
        for (size, heads) in std::mem::take(&mut self.heads) {
            for known in heads {
                let cut_off = FirstBad { seq: last.saturating_add(1), cause: Cause::CutOffHead(size) };
                self.count((&known, last.saturating_add(1)), forks).map_err(|()| cut_off)?;
            }
        }
        Ok(self.found)
    }

    /// Counts a head that does not agree. `seq`: the last record that it covers. Fails if neither a fork nor the end of its key explains it.
    fn count(&mut self, (known, seq): (&KnownHead, u64), forks: &Forks) -> Result<(), ()> {
        let size = known.head.size;
        let may_be = |(after, through, _): &&(u64, u64, u64)| *after < size && size <= *through;
        let of = self.lost.iter().filter(may_be).filter_map(|(_, _, seq)| forks.at(*seq));
        let told: Vec<Option<bool>> = of.map(|fork| fork.has_lost(known)).collect();
        let counted = if self.frontier.is_none() {
            &mut self.found.uncompared
        } else if told.contains(&Some(true)) {
            &mut self.found.lost
        } else if told.contains(&None) {
            &mut self.found.undecided
        } else if known.is_beyond(seq) {
            &mut self.found.beyond
        } else {
            return Err(());
        };
        *counted += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
