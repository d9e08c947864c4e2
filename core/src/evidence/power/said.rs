//! What the records say of one id: a request, its approvals, its grant and its debt. Kept small, because there is one
//! for each request in the journal.

use super::names::{Names, Terms};
use super::state::State;
use super::used::Used;
use super::words::Words;
use crate::clock::Timestamp;
use crate::grant::{Limits, Uncounted};

/// A `request` record.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestRecord {
    pub(super) seq: u64,
    pub(super) sha256: [u8; 32],
    /// The digest of what it says of the document.
    pub(super) words: Words,
    /// The number of approvals that it needs; absent in records of earlier versions.
    pub(super) needed: Option<i64>,
    /// The deadline of the request, in seconds since 1970.
    pub(super) deadline: Option<i64>,
}

/// A `grant` record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issued {
    pub(super) seq: u64,
    pub(super) sha256: [u8; 32],
    /// The digest of what it says of the document.
    pub(super) words: Words,
    pub(super) terms: Terms,
}

/// An `approval` record, or a row whose record was pruned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Approved {
    pub(super) uid: i64,
    /// Seconds since 1970.
    pub(super) at: i64,
    pub(super) sha256: [u8; 32],
    /// The digest of what the record says of the document.
    pub(super) words: Option<Words>,
    pub(super) by: u32,
    pub(super) key: Option<u32>,
    /// From its record.
    pub(super) told: Option<Limits>,
    /// From its row; absent in version 1.
    pub(super) limits: Option<Limits>,
    /// Whether a later record of the same user replaces it, so that it has no row.
    pub(super) superseded: bool,
    /// Whether its row was found.
    pub(super) met: bool,
}

/// How a request, grant or debt was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseKind {
    Denied,
    Cancelled,
    Revoked,
    Released,
    Settled,
}

impl CloseKind {
    /// Returns the value of the column, if there is one.
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

/// Who closed it, when, and with which text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) how: CloseKind,
    pub(super) by: u32,
    /// Seconds since 1970.
    pub(super) at: i64,
    /// The latest time so far, in seconds since 1970.
    pub(super) high: i64,
    /// SHA-256 of the text.
    pub(super) words: [u8; 32],
}

impl Done {
    /// Formats the end, such as `revoked by bob at …`.
    pub(super) fn sentence(&self, names: &Names) -> String {
        let by = crate::escape::escape(names.name(self.by));
        format!("{} by {by} at {}", self.how.word(), Timestamp::from_seconds(self.at).to_the_second())
    }
}

/// Everything that the records say of one id.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The present state, and the record that led to it.
    pub(super) state: State,
    pub(super) since: u64,
    pub(super) request: Option<RequestRecord>,
    pub(super) approvals: Vec<Approved>,
    pub(super) decided: Option<Box<Done>>,
    pub(super) grant: Option<Issued>,
    /// The approvals that the record of the grant does not count: the digest of the bytes, the approver and the reason.
    pub(super) not_counted: Box<[([u8; 32], u32, Uncounted)]>,
    pub(super) ended: Option<Box<Done>>,
    pub(super) settled: Option<Box<Done>>,
    /// For a row whose record was pruned: the digest of its bytes.
    pub(super) kept: Option<Box<[u8; 32]>>,
    /// The number of runs that started under the grant.
    pub(super) starts: u32,
    /// The start of the first of them, in seconds since 1970.
    pub(super) first: i64,
    /// The runs.
    pub(super) used: Option<Box<Used>>,
    /// The end of a run that continued under the grant, and of a second one.
    pub(super) went_on: Option<u64>,
    pub(super) again: Option<u64>,
    /// For a row whose record was pruned: its terms.
    pub(super) row: Option<Box<Terms>>,
    /// Whether an alert says that it requires a review.
    pub(super) owed: bool,
    pub(super) rows: Rows,
}

/// The rows that were found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Rows {
    pub(super) request: bool,
    /// Whether that row has the state `approved`.
    pub(super) approved: bool,
    /// Whether its bytes say that it was a break-glass request.
    pub(super) broken: bool,
    pub(super) needed: u32,
    pub(super) grant: bool,
    pub(super) debt: bool,
}

impl Recorded {
    /// Returns the terms of the grant, from its record, or from the row if the record was pruned.
    pub(super) fn terms(&self) -> Option<&Terms> {
        self.grant.as_ref().map(|issued| &issued.terms).or(self.row.as_deref())
    }

    /// Adds the approval of a record. Its row replaces that of an earlier approval of the same user. Returns whether it is wider
    /// than an earlier one of the same person.
    pub(super) fn approved(&mut self, approved: Approved) -> bool {
        let is_same = |before: &&Approved| before.uid == approved.uid || before.by == approved.by;
        let narrower = self.approvals.iter().filter(is_same).filter_map(|before| before.told);
        let is_wider = approved.told.is_some_and(|now| narrower.into_iter().any(|before| now.is_wider_than(&before)));
        for before in self.approvals.iter_mut().filter(|before| before.uid == approved.uid) {
            before.superseded = true;
        }
        self.approvals.push(approved);
        is_wider
    }

    /// Returns the digest of the request's bytes, from its record, or from the row if the record was pruned.
    pub(super) fn request_digest(&self) -> Option<[u8; 32]> {
        self.request.map(|asked| asked.sha256).or(self.kept.as_deref().copied())
    }
}
