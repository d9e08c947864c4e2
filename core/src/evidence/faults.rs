//! The faults that a verification finds: the one at which the chain breaks, and all those of a journal whose bytes,
//! hashes and links are good (records that contradict earlier ones, and rows that differ). Verification continues after
//! the latter, so that it reports the others too.

use std::fmt;

use super::difference::Differences;

/// The first record at which the chain is broken; `Display` names it and the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBad {
    /// The record's number as stored (for a gap: the missing number).
    pub seq: u64,
    /// What is wrong.
    pub cause: Cause,
}

/// The fault of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// This number is missing.
    Gap {
        /// The next number that exists.
        found: u64,
    },
    /// The stored hash is not the hash of the bytes.
    Hash,
    /// The bytes are not a record, for this reason.
    Malformed(String),
    /// It lacks a key of its kind, or has a wrong value there; the text says which.
    Lacks(String),
    /// Its own number differs from the stored number.
    Number(u64),
    /// It does not follow the previous record: its `prev` is another hash.
    Link,
    /// It is a fork that continues the record with this number, in the wrong place.
    Fork(u64),
    /// The column named here differs from the record.
    Copy(&'static str),
    /// It and all earlier records are missing, and no record says that they were pruned.
    NotPruned,
    /// It stands before the last record that was pruned, which is this one, and was not pruned with it.
    BeforePruned(u64),
    /// Its checkpoint is not one; the text says why.
    Checkpoint(String),
    /// It begins an epoch, and its sealing key is not certified; the text says why.
    Epoch(String),
    /// It replaces or removes the host key, and is not signed as it must be; the text says why.
    KeyLife(String),
    /// It begins a line of sealing keys by another host key, to which no rotation by a key that counts leads: its fingerprint.
    NotRotated(String),
    /// It is the last record, and none of the given sealing keys has signed anything.
    NoGivenKey,
    /// It begins a line of sealing keys in which none of the given keys has signed anything.
    OtherLine,
    /// An `epoch` record with this number was kept elsewhere, and the journal has another record, or none, in its place.
    OtherEpoch,
    /// The host signed another record with this number.
    OtherSigned,
    /// The anchor has another record with this number.
    OtherAnchored,
    /// A tree head that the host signed for this many records, and that was kept elsewhere, is another.
    OtherHead(u64),
    /// The journal ends before it, although a tree head that was kept elsewhere was signed for this many records.
    CutOffHead(u64),
    /// What it states of the Merkle tree, or what is stored of the tree up to it, is wrong; the text says what.
    Tree(String),
    /// The journal ends before it, although a checkpoint or the anchor refers to the record with this number.
    CutOff(u64),
    /// Another key than this host's signed it, and the host's key did not, or not with root's acceptance.
    OtherKey,
    /// Neither it nor a later record has a checkpoint.
    Unsigned,
    /// It is older than a minute, and the host has signed no checkpoint.
    NoCheckpoint,
    /// Every record up to this one, the last, is good, but rows of the tables that give power differ from them.
    Rows(Differences),
    /// An index says something else than its table, or the database is damaged; the text says how.
    Damaged(String),
    /// The chain of hashes is good, but the contents of this record, or of rows, are inconsistent. Contains all that
    /// was found.
    Inconsistencies(Box<Inconsistencies>),
    /// It names the policy with this digest, which no earlier record introduced.
    UnknownPolicy(String),
    /// It names the first policy while the second was in force.
    OtherPolicy(String, String),
    /// It ends a run that did not exist; the text says which.
    Runs(String),
    /// It contradicts the earlier records of its request or grant; the text says how.
    Acts(String),
    /// It removes records that had to stay; the text says how that shows.
    Pruning(String),
    /// It contradicts the records of policies and their roles; the text says how.
    Policies(String),
}

impl Cause {
    /// Whether only what a record says is wrong, while its bytes, its hash and its place are those that were written.
    pub fn is_of_the_replay(&self) -> bool {
        matches!(
            self,
            Self::Lacks(_)
                | Self::UnknownPolicy(_)
                | Self::OtherPolicy(..)
                | Self::Policies(_)
                | Self::Runs(_)
                | Self::Acts(_)
                | Self::Pruning(_)
        )
    }
}

impl fmt::Display for FirstBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match &self.cause {
            Cause::Gap { found } => write!(f, "record {seq} is missing, the next one is {found}"),
            Cause::Hash => write!(f, "record {seq} was altered: its hash is not that of its bytes"),
            Cause::Malformed(why) => write!(f, "record {seq} is not a record: {why}"),
            Cause::Lacks(what) => write!(f, "record {seq} lacks a key of its kind, or has a wrong one: {what}"),
            Cause::Number(inside) => write!(f, "record {seq} says that its number is {inside}"),
            Cause::Link => {
                let before = seq.saturating_sub(1);
                write!(f, "record {seq} does not follow record {before}: one of the two was altered")
            }
            Cause::Fork(continues) => {
                write!(f, "record {seq} is a fork that continues record {continues}, and stands in the wrong place")
            }
            Cause::Copy(column) => write!(f, "the column '{column}' of record {seq} differs from the record"),
            Cause::NotPruned => write!(f, "records 1 to {seq} are missing, and no record says that they were pruned"),
            Cause::BeforePruned(last) => write!(
                f,
                "record {seq} is none of those that were pruned up to record {last}: it was written there later, nothing lists it; keep a copy \
                 of the database for whoever looks into this, then delete that row"
            ),
            Cause::Checkpoint(why) => write!(f, "the checkpoint of record {seq} {why}"),
            Cause::Epoch(why) => write!(f, "record {seq} begins an epoch and {why}"),
            Cause::KeyLife(why) => write!(f, "record {seq} changes the host key and {why}"),
            Cause::NotRotated(key) => write!(
                f,
                "record {seq} begins a line of sealing keys by another host key, {key}, and no rotation by a key that counts leads to it"
            ),
            Cause::NoGivenKey => write!(
                f,
                "none of the given sealing keys has signed anything up to record {seq}: the journal was rewritten, is that of another host, \
                 has lost these epochs by a pruning of an earlier version, or the epoch has just begun (then repeat this after: jitctl audit export)"
            ),
            Cause::OtherLine => write!(
                f,
                "record {seq} begins a line of sealing keys in which no given key has signed: whoever was root then may have rewritten what \
                 came before; if that was an accepted restore, give a sealing key of this line too"
            ),
            Cause::OtherEpoch => write!(
                f,
                "record {seq} begins an epoch according to a certified record that was kept elsewhere, and the journal has not this record: \
                 it was rewritten or cut off"
            ),
            Cause::OtherSigned => {
                write!(f, "record {seq} is not the one that the host signed: the chain up to it was rewritten")
            }
            Cause::OtherAnchored => {
                write!(f, "record {seq} is not the one in the anchor: the chain up to it was rewritten")
            }
            Cause::OtherHead(size) => write!(
                f,
                "record {seq} and the {size} records up to it are not those of a signed head that was kept elsewhere: the chain up \
                 to it was rewritten"
            ),
            Cause::CutOffHead(size) => write!(
                f,
                "record {seq} is missing: the journal ends before it, and a signed head that was kept elsewhere covers {size} records"
            ),
            Cause::Tree(what) => write!(f, "record {seq} {what}"),
            Cause::CutOff(u64::MAX) => {
                write!(f, "cannot tell whether record {seq} was cut off: the anchor is damaged")
            }
            Cause::CutOff(known) => {
                write!(
                    f,
                    "record {seq} is missing: the journal ends before it, and record {known} was signed or anchored"
                )
            }
            Cause::UnknownPolicy(policy) => {
                write!(f, "record {seq} names policy {policy}, and no earlier policy record has that digest")
            }
            Cause::OtherPolicy(policy, last) => {
                write!(f, "record {seq} names policy {policy}, and at that time policy {last} was in force")
            }
            Cause::Policies(what) | Cause::Runs(what) | Cause::Acts(what) | Cause::Pruning(what) => {
                write!(f, "record {seq} {what}")
            }
            Cause::Damaged(how) => write!(f, "the database is damaged, so rows may be hidden: {how}"),
            Cause::Rows(differences) => write!(f, "{differences}"),
            Cause::Inconsistencies(inconsistencies) => write!(f, "{inconsistencies}"),
            Cause::OtherKey => write!(
                f,
                "record {seq} was signed with another key than this host's, and root has not accepted that: put this host's own \
                 journal back, or accept its new key with jitctl key accept --reason WHY"
            ),
            Cause::NoCheckpoint => write!(
                f,
                "record {seq} is older than a minute, and no checkpoint is by this host's key: put this host's own journal back, \
                 or accept this one with jitctl key accept --reason WHY"
            ),
            Cause::Unsigned => write!(f, "no checkpoint covers record {seq} and those after it"),
        }
    }
}

impl std::error::Error for FirstBad {}

/// The number of records that are listed; more are only counted.
const KEPT: usize = 100;

/// Records that contradict earlier ones, and rows that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inconsistencies {
    /// The first records, at most a hundred.
    pub records: Vec<FirstBad>,
    /// The number of records.
    pub count: u64,
    /// The rows.
    pub rows: Differences,
}

impl Inconsistencies {
    /// Adds a record.
    pub fn push(&mut self, bad: FirstBad) {
        self.count = self.count.saturating_add(1);
        if self.records.len() < KEPT {
            self.records.push(bad);
        }
    }

    /// Returns the result of a step. Adds an error that does not stop the verification, and returns one that does.
    pub fn pass<T>(&mut self, step: Result<T, FirstBad>) -> Result<Option<T>, FirstBad> {
        match step {
            Ok(good) => Ok(Some(good)),
            Err(bad) if bad.cause.is_of_the_replay() => {
                self.push(bad);
                Ok(None)
            }
            Err(bad) => Err(bad),
        }
    }
}

impl fmt::Display for Inconsistencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.records.first() {
            first.fmt(f)?;
        }
        match self.count.saturating_add(self.rows.count).saturating_sub(1) {
            0 => Ok(()),
            1 => f.write_str("; and one other fault"),
            more => write!(f, "; and {more} other faults"),
        }
    }
}
