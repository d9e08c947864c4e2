//! The record of a fork: the database lacks records that existed, so the journal goes on behind every number that they may have.
//! No number occurs twice, and the record says which branch was lost.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::mark::Mark;
use crate::escape::Word;

/// The kind of the record.
pub const FORK: &str = "fork";

/// How far the journal goes on behind the highest known number: the anchor and the log sinks lag behind by fewer records.
pub const MARGIN: u64 = 1_000;

/// The same where the anchor is missing or damaged, so that the highest number is not known.
pub const WIDE_MARGIN: u64 = 1_000_000;

/// Records were lost. Its `prev` is the hash of the record that it continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The number of the record before it in this journal; 0 if there is none.
    pub continues: u64,
    /// The highest number that is known to have been in use.
    pub highest: u64,
    /// The known heads that are not part of this journal.
    pub heads: Vec<LostHead>,
    /// How the loss was noticed.
    pub sentence: Word,
}

/// A record that existed and is not part of this journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostHead {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub head: Digest,
    /// Where it is known from: `anchor`, or the name of a log sink.
    pub source: String,
}

impl LostHead {
    /// Returns number and hash.
    pub fn mark(&self) -> Mark {
        Mark { seq: self.seq, hash: self.head }
    }
}

impl Fork {
    /// Returns whether it may be record `seq` after record `last`. `whole`: every record up to `last` is known.
    pub(super) fn leads(&self, last: u64, seq: u64, whole: bool) -> bool {
        let follows = if whole { self.continues == last } else { self.continues <= last };
        let is_near = seq.checked_sub(self.highest).is_some_and(|gap| (1..=WIDE_MARGIN).contains(&gap));
        let are_known = self.heads.iter().all(|lost| lost.seq <= self.highest);
        follows && self.continues <= self.highest && is_near && are_known
    }
}
