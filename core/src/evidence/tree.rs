//! The Merkle tree over the hashes of the records (RFC 6962, section 2.1). The leaves are the records in the order of the
//! chain: the first leaf is the first record of the chain, whatever its number is. Knows no database and no signature.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::digest::Digest;

/// The most hashes in a proof: a tree has at most 2^63 leaves.
pub const LONGEST: usize = 63;

/// The heights of the subtrees that are stored are multiples of this.
pub const STEP: u32 = 8;

/// The size and the root of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeHead {
    /// The number of leaves.
    pub size: u64,
    /// The root.
    pub root: Digest,
}

/// A complete subtree: it has 2^`height` leaves, and `place` subtrees of the same height are before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// The height; 0 for a leaf.
    pub height: u32,
    /// How many subtrees of this height are before it.
    pub place: u64,
    /// The hash of its top.
    pub hash: Digest,
}

/// Returns the hash of the leaf of a record with this hash.
pub fn leaf(record: Digest) -> Digest {
    Digest(Sha256::new_with_prefix([0]).chain_update(record.0).finalize().into())
}

/// Returns the hash of a node with these children.
pub fn node(left: Digest, right: Digest) -> Digest {
    Digest(Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// What a tree needs to grow: the largest complete subtrees that it consists of, from left to right. There is one for each bit
/// that is set in its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Digest>,
}

impl Frontier {
    /// Returns the frontier of a tree with `size` leaves; `None` if the number of hashes is wrong.
    pub fn new(size: u64, hashes: Vec<Digest>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the hashes, from left to right.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// Returns the subtrees, from left to right.
    pub fn subtrees(&self) -> impl Iterator<Item = Subtree> {
        pieces(self.size).zip(&self.hashes).map(|((height, place), hash)| Subtree { height, place, hash: *hash })
    }

    /// Adds a record. Calls `done` with each subtree that it completes, the lowest first.
    pub fn push(&mut self, record: Digest, mut done: impl FnMut(Subtree)) {
        let (mut hash, mut height) = (leaf(record), 0);
        while self.size >> height & 1 == 1 {
            let Some(left) = self.hashes.pop() else { break };
            hash = node(left, hash);
            height += 1;
            done(Subtree { height, place: self.size >> height, hash });
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Returns size and root.
    pub fn head(&self) -> TreeHead {
        let join = |right, left: &Digest| node(*left, right);
        let mut hashes = self.hashes.iter().rev();
        let root = hashes.next().map_or_else(empty, |last| hashes.fold(*last, join));
        TreeHead { size: self.size, root }
    }
}

/// The root of a tree without leaves.
fn empty() -> Digest {
    Digest(Sha256::digest([]).into())
}

/// Returns height and place of the subtrees of a frontier, from left to right.
pub fn pieces(size: u64) -> impl Iterator<Item = (u32, u64)> {
    let bits = (0..u64::BITS).rev().filter(move |height| size >> height & 1 == 1);
    bits.map(move |height| (height, (size >> height) - 1))
}

/// Returns the largest power of two that is less than `size`, for a size of 2 or more.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// A source of complete subtrees.
pub trait Subtrees {
    /// Why a subtree cannot be read.
    type Error;

    /// Returns the hash of a complete subtree.
    fn hash(&self, height: u32, place: u64) -> Result<Digest, Self::Error>;
}

/// Returns the frontier of the first `size` leaves.
pub fn frontier<S: Subtrees>(subtrees: &S, size: u64) -> Result<Frontier, S::Error> {
    let hashes = pieces(size).map(|(height, place)| subtrees.hash(height, place)).collect::<Result<_, _>>()?;
    Ok(Frontier { size, hashes })
}

/// Returns the hash over the leaves from `from` to `to`, a range that a split of the whole tree leads to.
fn range<S: Subtrees>(subtrees: &S, from: u64, to: u64) -> Result<Digest, S::Error> {
    let size = to - from;
    if size.is_power_of_two() {
        return subtrees.hash(size.ilog2(), from / size);
    }
    let middle = from + split(size);
    Ok(node(range(subtrees, from, middle)?, range(subtrees, middle, to)?))
}

/// Returns the proof that leaf `index` is in the tree of `size` leaves: the siblings from the leaf to the root (RFC 6962,
/// 2.1.1). `index` is less than `size`.
pub fn inclusion<S: Subtrees>(subtrees: &S, index: u64, size: u64) -> Result<Vec<Digest>, S::Error> {
    let (mut from, mut to, mut proof) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            proof.push(range(subtrees, middle, to)?);
            to = middle;
        } else {
            proof.push(range(subtrees, from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Returns the proof that the tree of `old` leaves is the beginning of that of `size` leaves (RFC 6962, 2.1.2). `old` is at
/// most `size`; the proof is empty if they are the same, or if `old` is 0.
pub fn consistency<S: Subtrees>(subtrees: &S, old: u64, size: u64) -> Result<Vec<Digest>, S::Error> {
    let (mut from, mut to, mut proof) = (0, size, Vec::new());
    if old == 0 || old == size {
        return Ok(proof);
    }
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(range(subtrees, middle, to)?);
            to = middle;
        } else {
            proof.push(range(subtrees, from, middle)?);
            from = middle;
        }
    }
    if from > 0 {
        proof.push(range(subtrees, from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// A proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unproven;

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the proof does not lead to the signed root")
    }
}

/// Checks that the record with this hash is leaf `index` of the tree (RFC 9162, 2.1.3.2).
pub fn check_inclusion(head: &TreeHead, index: u64, record: Digest, proof: &[Digest]) -> Result<(), Unproven> {
    if index >= head.size || proof.len() > LONGEST {
        return Err(Unproven);
    }
    let (mut place, mut last, mut hash) = (index, head.size - 1, leaf(record));
    for sibling in proof {
        if last == 0 {
            return Err(Unproven);
        }
        if place & 1 == 1 || place == last {
            hash = node(*sibling, hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node(hash, *sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && hash == head.root { Ok(()) } else { Err(Unproven) }
}

/// Checks that the tree `old` is the beginning of the tree `new` (RFC 9162, 2.1.4.2).
pub fn check_consistency(old: &TreeHead, new: &TreeHead, proof: &[Digest]) -> Result<(), Unproven> {
    let fits = |holds: bool| if holds { Ok(()) } else { Err(Unproven) };
    if old.size > new.size || proof.len() > LONGEST {
        return Err(Unproven);
    }
    if old.size == new.size {
        return fits(old.root == new.root && proof.is_empty());
    }
    if old.size == 0 {
        return fits(proof.is_empty());
    }
    // A tree whose size is a power of two is the first hash of its own proof.
    let own = old.size.is_power_of_two().then_some(old.root);
    let mut hashes = own.into_iter().chain(proof.iter().copied());
    let (mut place, mut last) = (old.size - 1, new.size - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let first = hashes.next().ok_or(Unproven)?;
    let (mut before, mut after) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return Err(Unproven);
        }
        if place & 1 == 1 || place == last {
            (before, after) = (node(sibling, before), node(sibling, after));
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            after = node(after, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    fits(last == 0 && before == old.root && after == new.root)
}

#[cfg(test)]
mod tests;
