//! What the records say of one id: a request, its approvals, its grant and its debt. As small as it can be, because there is one
//! for each request that the journal knows.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::acts::State;
use super::uses::Used;
use super::words::Words;
use crate::clock::Timestamp;
use crate::names::ID_LENGTH;

/// The id of a request and its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id([u8; ID_LENGTH]);

impl Id {
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// SHA-256.
pub(super) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// As text, of a digest that is one.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    <[u8; 32]>::try_from(bytes).map_or_else(|_| "(none)".to_owned(), |digest| crate::escape::hex(&digest))
}

/// Names of people and fingerprints of keys, each kept once: there are few.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<[u8]>, u32>,
    names: Vec<Box<[u8]>>,
}

impl Names {
    pub(super) const NOBODY: u32 = u32::MAX;

    pub(super) fn of(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(Self::NOBODY);
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    pub(super) fn name(&self, number: u32) -> &[u8] {
        usize::try_from(number).ok().and_then(|number| self.names.get(number)).map_or(b"", |name| name)
    }
}

/// A `request` record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestRecord {
    pub(super) seq: u64,
    pub(super) sha256: [u8; 32],
    /// What it says of the document.
    pub(super) words: Words,
    /// How many approvals it needs; records of earlier versions do not say.
    pub(super) needed: Option<i64>,
    /// When it dies, seconds since 1970.
    pub(super) deadline: Option<i64>,
}

/// A `grant` record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issued {
    pub(super) seq: u64,
    pub(super) sha256: [u8; 32],
    /// What it says of the document.
    pub(super) words: Words,
    pub(super) terms: Terms,
}

/// For whom and when a grant is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) uid: i64,
    pub(super) user: u32,
    pub(super) role: u32,
    pub(super) run_as: u32,
    /// Seconds since 1970.
    pub(super) starts: i64,
    /// Seconds since 1970.
    pub(super) expires: i64,
    pub(super) one_shot: bool,
    pub(super) extends: Option<Id>,
}

impl Terms {
    /// What an extension has in common with what it extends.
    pub(super) fn holder(&self) -> (i64, u32, u32, u32) {
        (self.uid, self.user, self.role, self.run_as)
    }
}

/// An `approval` record, or a row whose record was pruned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Approved {
    pub(super) uid: i64,
    /// Seconds since 1970.
    pub(super) at: i64,
    pub(super) sha256: [u8; 32],
    /// What the record says of the document.
    pub(super) words: Option<Words>,
    pub(super) by: u32,
    pub(super) key: Option<u32>,
    /// Its row was met.
    pub(super) met: bool,
}

/// How somebody closed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseKind {
    Denied,
    Cancelled,
    Revoked,
    Released,
    Settled,
}

impl CloseKind {
    /// The word of the column, where there is one.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Revoked => "revoked",
            Self::Released => "released",
            Self::Settled => "reviewed",
        }
    }
}

/// Who closed it, when, and in which words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) how: CloseKind,
    pub(super) by: u32,
    /// Seconds since 1970.
    pub(super) at: i64,
    /// SHA-256 of the words.
    pub(super) words: [u8; 32],
}

impl Done {
    /// `revoked by bob at …`
    pub(super) fn sentence(&self, names: &Names) -> String {
        let by = crate::escape::escape(names.name(self.by));
        format!("{} by {by} at {}", self.how.word(), Timestamp::from_seconds(self.at).to_the_second())
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// What has become of it so far, and by which record.
    pub(super) state: State,
    pub(super) since: u64,
    pub(super) request: Option<RequestRecord>,
    pub(super) approvals: Vec<Approved>,
    pub(super) decided: Option<Box<Done>>,
    pub(super) grant: Option<Issued>,
    pub(super) ended: Option<Box<Done>>,
    pub(super) settled: Option<Box<Done>>,
    /// Of a row whose record was pruned: the digest of its bytes.
    pub(super) kept: Option<Box<[u8; 32]>>,
    /// How many runs began under it.
    pub(super) starts: u32,
    /// When the first of them did; seconds since 1970.
    pub(super) first: i64,
    /// What they were.
    pub(super) used: Option<Box<Used>>,
    /// The end of a run that went on under it, and of a second one.
    pub(super) went_on: Option<u64>,
    pub(super) again: Option<u64>,
    /// Of a row whose record was pruned: its terms.
    pub(super) row: Option<Box<Terms>>,
    /// An alert says that it leaves a debt.
    pub(super) owed: bool,
    pub(super) rows: Rows,
}

/// The rows that were met.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Rows {
    pub(super) request: bool,
    /// That row says approved.
    pub(super) approved: bool,
    /// Its bytes say that the glass was broken.
    pub(super) broken: bool,
    pub(super) needed: u32,
    pub(super) grant: bool,
    pub(super) debt: bool,
}

impl Recorded {
    /// The terms of the grant, from its record, or from the row where the record was pruned.
    pub(super) fn terms(&self) -> Option<&Terms> {
        self.grant.as_ref().map(|issued| &issued.terms).or(self.row.as_deref())
    }

    /// A second approval of the same person takes the place of the first.
    pub(super) fn approved(&mut self, approved: Approved) {
        match self.approvals.iter_mut().find(|before| before.uid == approved.uid) {
            Some(before) => *before = approved,
            None => self.approvals.push(approved),
        }
    }

    /// The digest of the request's bytes, from its record, or from the row where the record was pruned.
    pub(super) fn request_digest(&self) -> Option<[u8; 32]> {
        self.request.map(|asked| asked.sha256).or(self.kept.as_deref().copied())
    }
}
