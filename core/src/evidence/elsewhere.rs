//! What was kept elsewhere of a journal.

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
    /// The number of the last record that it covers, as the lines say that have it: the greatest one. No signature of the note proves it.
    pub seq: Option<u64>,
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
