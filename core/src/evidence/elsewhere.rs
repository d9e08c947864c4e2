//! What was kept elsewhere of a journal.

use super::lineage::KeyEnd;
use super::mark::Mark;
use super::tree::TreeHead;

/// A tree head that its host has signed, and that was kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownHead {
    /// Size and root.
    pub head: TreeHead,
    /// When a witness cosigned it, in seconds since 1970; `None` if none did.
    pub cosigned: Option<u64>,
    /// Which of the named witnesses did, one bit for each.
    pub witnesses: u64,
    /// Whether its origin and key are those of the journal. Another head does not confirm the journal.
    pub is_own: bool,
    /// Whether its key is given, and the journal is not by it, although it is by another given key. Such a head is only counted.
    pub is_other: bool,
    /// The end of its key in the journal: the key signs no larger tree.
    pub end: Option<KeyEnd>,
    /// The number of the last record that it covers, as the lines say that have it: the greatest one. No signature of the note proves it.
    pub seq: Option<u64>,
}

impl KnownHead {
    /// Whether the journal shows that its key was not that of the host any more when record `seq`, the last that it covers, was there. A
    /// cosignature from before the end of the key proves the contrary.
    pub(super) fn is_beyond(&self, seq: u64) -> bool {
        let was_before = |end: KeyEnd| self.cosigned.is_some_and(|at| i64::try_from(at).is_ok_and(|at| at <= end.at));
        self.end.is_some_and(|end| end.is_before(seq) && !was_before(end))
    }
}

/// An `epoch` record that was kept elsewhere, and whose certificate the caller has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEpoch {
    /// Its number.
    pub seq: u64,
    /// The fingerprint of the sealing key that it certifies.
    pub key: String,
}

/// What was kept elsewhere besides heads that decide by their number.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    /// Certified `epoch` records. Each is one of the journal, or of a branch that was lost.
    pub epochs: Vec<KnownEpoch>,
    /// Tree heads with a signature of the host that the caller has verified. They decide.
    pub heads: Vec<KnownHead>,
    /// Heads without a signature, which any user may have written. They are compared, and decide nothing.
    pub unsigned: Vec<Mark>,
}
