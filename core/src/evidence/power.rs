//! Checks that the tables agree with the records: requests, approvals, grants, debts, role texts, statements, the
//! compiled policy, reviews of assignments, open runs and what is kept beside the records. The caller passes every
//! record in order and then every row (docs/formats.md, "The tables that give power"). This module needs no SQLite, no
//! privilege and no clock.

mod acts;
mod approvals;
mod command_document;
mod documents;
mod doubt;
mod grants;
mod hosts;
mod kept;
mod names;
mod policy;
mod requests;
mod rest;
mod rows;
mod runs;
mod said;
mod state;
mod statements;
mod used;
mod uses;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use serde::Deserialize;

use super::copies::Copies;
use super::digest::Digest;
use super::faults::{Cause, FirstBad};
use super::record::parse;
use crate::clock::Timestamp;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::grant::terms::Flag;
use crate::grant::{Limits, Uncounted};

pub use super::difference::{Difference, Differences, Table};
use doubt::Doubt;
use hosts::Hosts;
use kept::Kept;
pub use kept::{CertificationRow, MetaRow};
use names::{Id, Names, Terms};
use policy::PolicyTables;
pub use policy::{PolicyRoleRow, PrincipalRow, SettingsRow};
pub use rows::{ApprovalRow, DebtRow, EndColumns, GrantRow, RequestRow, RoleRow, StatementRow};
use runs::{Command, Runs};
pub use runs::{PrecedentRow, RunRow};
use said::{Approved, CloseKind, Done, Issued, Recorded, RequestRecord};
use state::Act;
use statements::{Causes, Statements};

/// The number of differences that are listed; more are only counted.
const KEPT: usize = 100;

/// The number of rows that were compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows of `request`.
    pub requests: u64,
    /// Rows of `approval`.
    pub approvals: u64,
    /// Rows of `granted`.
    pub grants: u64,
    /// Rows of `review_debt`.
    pub debts: u64,
    /// Rows of `statement`.
    pub statements: u64,
    /// Grants whose record was pruned: their end may be unknown, so it was not compared.
    pub older: u64,
    /// How many of these had not ended when the last record was written.
    pub older_open: u64,
}

/// How many rows of a table lost their record in the last pruning: the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// This many.
    Exactly(u64),
    /// All before the first row with a record: an earlier version did not count them.
    Leading,
}

/// A comparison in progress: it gets every record in order, then every row, table by table in the order of [`Table`].
pub struct Power {
    said: HashMap<Id, Recorded>,
    names: Names,
    /// The last record that was pruned.
    pruned: Option<u64>,
    lost: [Lost; 2],
    /// The time of the last pruning, in seconds, if it removed nothing that could give power later.
    pruned_at: Option<i64>,
    /// The latest time of any record, µs.
    last: i64,
    place: [RowPosition; 2],
    /// Runs that continued under an extension, each with its record, where the records of the grants were pruned.
    unproven: BTreeMap<(Id, Id), u64>,
    /// The roles that requests and runs name, and whether the row of each was found.
    roles: HashMap<[u8; 32], bool>,
    statements: Statements,
    causes: Causes,
    policy: PolicyTables,
    hosts: Hosts,
    runs: Runs,
    kept: Kept,
    doubt: Doubt,
    /// The last record with which root accepted the state of the host.
    accepted: u64,
    /// The key of the journal, with which the stamp of the policy is sealed.
    key: Option<Vec<u8>>,
    compared: Compared,
    differences: Differences,
}

/// The position in a table that is being read.
#[derive(Debug, Clone, Copy, Default)]
struct RowPosition {
    /// The last row that was removed with its records.
    gone: i64,
    rowid: i64,
    seq: u64,
    /// The number of a missing row, and the row that has this place instead.
    gap: Option<(i64, Id)>,
}

/// The tables whose rows are in the order of their records.
#[derive(Clone, Copy)]
enum Ordered {
    Requests,
    Grants,
}

/// The keys of records that matter here.
#[derive(Default)]
struct RecordKeys<'a> {
    user: Option<Word>,
    uid: Option<i64>,
    sha256: Option<Digest>,
    key: Option<Word>,
    reason: Option<Word>,
    comment: Option<Word>,
    code: Option<&'a str>,
    verdict: Option<&'a str>,
    needed: Option<i64>,
    deadline: Option<i64>,
    role: Option<&'a str>,
    run_as: Option<Word>,
    starts: Option<i64>,
    expires: Option<i64>,
    limits: Option<Vec<&'a str>>,
    duration: Option<Seconds>,
    not_counted: Option<Vec<UncountedKeys>>,
    extends: Option<&'a str>,
    extended_by: Option<&'a str>,
    through: Option<u64>,
    requests: Option<u64>,
    grants: Option<u64>,
    requests_gone: Option<u64>,
    grants_gone: Option<u64>,
}

/// What the record of a grant says of an approval that it does not name.
#[derive(Deserialize)]
struct UncountedKeys {
    sha256: Digest,
    user: Word,
    why: Uncounted,
}

/// A structure for each kind, so that a key that a kind does not have is one that nobody knows there, whatever it says.
macro_rules! keys_of_kinds {
    ($($kind:literal: $($key:ident: $type:ty),+;)+) => {
        impl<'a> RecordKeys<'a> {
            fn of(kind: &str, body: &'a [u8]) -> Result<Self, serde_json::Error> {
                match kind {
                    $($kind => {
                        #[derive(Deserialize)]
                        #[serde(bound(deserialize = "'de: 'a"))]
                        struct OfKind<'a> {
                            $(#[serde(default)] $key: Option<$type>,)+
                            #[serde(skip)]
                            _body: PhantomData<&'a ()>,
                        }
                        let OfKind { $($key,)+ .. } = parse(body)?;
                        Ok(Self { $($key,)+ ..Self::default() })
                    })+
                    _ => Ok(Self::default()),
                }
            }
        }
    };
}
keys_of_kinds! {
    "end": extended_by: &'a str;
    "request": user: Word, uid: i64, sha256: Digest, needed: i64, deadline: i64;
    "approval": user: Word, uid: i64, sha256: Digest, key: Word, duration: Seconds, limits: Vec<&'a str>;
    "denial": user: Word, uid: i64, sha256: Digest, key: Word, reason: Word;
    "cancellation": user: Word, uid: i64, sha256: Digest, key: Word;
    "grant": user: Word, uid: i64, sha256: Digest, role: &'a str, run_as: Word, starts: i64, expires: i64,
        limits: Vec<&'a str>, not_counted: Vec<UncountedKeys>, extends: &'a str;
    "revocation": user: Word, uid: i64, sha256: Digest, key: Word, reason: Word;
    "release": user: Word, uid: i64, sha256: Digest, key: Word;
    "alert": user: Word, code: &'a str;
    "review": user: Word, uid: i64, sha256: Digest, key: Word, comment: Word, verdict: &'a str;
    "prune": through: u64, requests: u64, grants: u64, requests_gone: u64, grants_gone: u64;
}

impl RecordKeys<'_> {
    /// Returns the limits of an approval.
    fn limits(&self) -> Limits {
        let has = |limit| Flag::from(self.limits.as_ref().is_some_and(|limits| limits.contains(&limit)));
        Limits { duration: self.duration.unwrap_or_default(), exact: has("exact"), one_shot: has("one-shot") }
    }

    /// Returns the effect of a record of this kind on its request or grant.
    fn act(&self, kind: &str) -> Option<Act> {
        match kind {
            "alert" if self.code == Some("break-glass") => Some(Act::BreakGlass),
            "review" if self.verdict == Some("settled") => Some(Act::Review),
            kind => Act::of(kind),
        }
    }
}

impl Power {
    /// Starts before the first record. `pruned`: the number of the last record that was pruned.
    pub fn new(pruned: Option<u64>) -> Self {
        let lost = if pruned.is_some() { Lost::Leading } else { Lost::Exactly(0) };
        Self {
            said: HashMap::new(),
            names: Names::default(),
            pruned,
            lost: [lost; 2],
            pruned_at: None,
            last: 0,
            place: [RowPosition::default(); 2],
            unproven: BTreeMap::new(),
            roles: HashMap::new(),
            statements: Statements::new(),
            causes: Causes::new(),
            policy: PolicyTables::default(),
            hosts: Hosts::default(),
            runs: Runs::default(),
            kept: Kept::default(),
            doubt: Doubt::default(),
            accepted: 0,
            key: None,
            compared: Compared::default(),
            differences: Differences::default(),
        }
    }

    /// Processes the next record, with its columns, which the chain has verified. Even after an error the contents of
    /// the record count, so that the caller can continue.
    ///
    /// # Errors
    /// When a record lacks a key of its kind, or contradicts earlier ones.
    pub fn record(&mut self, seq: u64, copies: &Copies<'_>, body: &[u8]) -> Result<(), FirstBad> {
        self.last = copies.high;
        let (start, run) = match self.run(seq, copies, body) {
            Ok(start) => (start, self.runs.misjudged.take().map_or(Ok(()), Err)),
            Err(bad) => (None, Err(bad)),
        };
        let kept = self.kept(seq, copies, body);
        let doubt = self.doubt(seq, copies.kind, body);
        run.and(kept).and(doubt).and(self.replay(seq, copies, start.as_ref(), body))
    }

    /// Applies the record to its request or grant.
    fn replay(
        &mut self,
        seq: u64,
        copies: &Copies<'_>,
        start: Option<&Command<'_>>,
        body: &[u8],
    ) -> Result<(), FirstBad> {
        let bad = |why: &str| FirstBad { seq, cause: Cause::Malformed(why.to_owned()) };
        // A kind that has no grant may have a key of that name, which says nothing.
        let named = || copies.grant.map(|id| Id::parse(id).ok_or_else(|| bad("its grant is no id"))).transpose();
        let id = if ["start", "end", "alert", "review"].contains(&copies.kind) || Act::of(copies.kind).is_some() {
            named()?
        } else {
            None
        };
        match (copies.kind, id) {
            ("start", Some(id)) => {
                let start = start.ok_or_else(|| bad("it lacks a key of its kind"))?;
                return self.used(seq, copies, id, start);
            }
            ("end" | "request" | "approval" | "denial" | "cancellation" | "grant", Some(id))
            | ("revocation" | "release" | "alert" | "review", Some(id)) => {
                let told = RecordKeys::of(copies.kind, body).map_err(|error| bad(&error.to_string()))?;
                let missing = || bad("it lacks a key of its kind");
                let act = told.act(copies.kind).map_or(Ok(()), |act| self.act(seq, id, act).1);
                if let Some(last) = told.extended_by.filter(|_| copies.kind == "end") {
                    let last = Id::parse(last).ok_or_else(|| bad("its grant is not an id"))?;
                    return self.gone_on(seq, id, last);
                }
                let fits = self.told(seq, copies, id, (&told, body)).ok_or_else(missing);
                return act.and(fits.and_then(|what| what.map_or(Ok(()), |what| Err(acts::inconsistency(seq, what)))));
            }
            ("end", None) => {
                let told = RecordKeys::of(copies.kind, body).map_err(|error| bad(&error.to_string()))?;
                if let Some(last) = told.extended_by {
                    let last = crate::escape::escape(last.as_bytes());
                    let what = format!("ends a run under no grant that went on under {last}");
                    return Err(acts::inconsistency(seq, what));
                }
            }
            ("prune", _) => {
                let told = RecordKeys::of(copies.kind, body).map_err(|error| bad(&error.to_string()))?;
                if told.through == self.pruned {
                    let named = self.hosts.began(seq, body);
                    let lost = |count: Option<u64>| count.map_or(Lost::Leading, Lost::Exactly);
                    self.lost = [lost(told.requests), lost(told.grants)];
                    for (place, gone) in self.place.iter_mut().zip([told.requests_gone, told.grants_gone]) {
                        place.gone = gone.map_or(0, |gone| i64::try_from(gone).unwrap_or(i64::MAX));
                        place.rowid = place.gone;
                    }
                    self.pruned_at = told.grants.map(|_| Timestamp(copies.at).seconds());
                    named?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Stores the contents of a record, and returns how it contradicts earlier ones, if it does; `None` when a key is missing.
    fn told(
        &mut self,
        seq: u64,
        copies: &Copies<'_>,
        id: Id,
        (told, body): (&RecordKeys<'_>, &[u8]),
    ) -> Option<Option<String>> {
        let (at, high) = (Timestamp(copies.at).seconds(), Timestamp(copies.high).seconds());
        if copies.kind == "end" {
            return Some(None);
        }
        let user = match &told.user {
            Some(user) => self.names.of(user.as_bytes()),
            None => Names::NOBODY,
        };
        let document = words::of_record(copies.kind, copies.high, body)?;
        self.stated((seq, copies.kind), id, (at, user, document), told)?;
        let words = |words: Option<&Word>| names::digest_of(words.map_or(&[], Word::as_bytes));
        let done = |how, text| Some(Box::new(Done { how, by: user, at, high, words: words(text) }));
        let issued = match copies.kind {
            "grant" => {
                Some(Issued { seq, sha256: told.sha256?.0, words: document, terms: self.terms(copies, user, told)? })
            }
            _ => None,
        };
        let not_counted = told.not_counted.iter().flatten();
        let not_counted =
            not_counted.map(|told| (told.sha256.0, self.names.of(told.user.as_bytes()), told.why)).collect();
        let contradiction = issued.and_then(|issued| self.extends_ended(id, &issued));
        let said = self.said.entry(id).or_default();
        match copies.kind {
            "request" => {
                let deadline = told.deadline.map(|end| Timestamp(end).seconds());
                let sha256 = told.sha256?.0;
                said.request = Some(RequestRecord { seq, sha256, words: document, needed: told.needed, deadline });
            }
            "approval" => {
                let key = told.key.as_ref().map(|key| self.names.of(key.as_bytes()));
                let (sha256, words) = (told.sha256?.0, Some(document));
                let approved = Approved {
                    uid: told.uid?,
                    at,
                    sha256,
                    words,
                    by: user,
                    key,
                    told: Some(told.limits()),
                    limits: None,
                    superseded: false,
                    met: false,
                };
                if said.approved(approved) {
                    return Some(Some(format!(
                        "is an approval of {id} that is wider than an earlier one by the same person"
                    )));
                }
            }
            "denial" => said.decided = done(CloseKind::Denied, told.reason.as_ref()),
            "cancellation" => said.decided = done(CloseKind::Cancelled, None),
            "grant" => (said.grant, said.not_counted) = (issued, not_counted),
            "revocation" => said.ended = done(CloseKind::Revoked, told.reason.as_ref()),
            "release" => said.ended = done(CloseKind::Released, None),
            "review" if told.verdict? == "settled" => said.settled = done(CloseKind::Settled, told.comment.as_ref()),
            "alert" if told.code? == "break-glass" => said.owed = true,
            _ => {}
        }
        Some(contradiction)
    }

    /// Returns a sentence if this grant extends one that had ended.
    fn extends_ended(&self, id: Id, issued: &Issued) -> Option<String> {
        let base = issued.terms.extends?;
        let ended = self.said.get(&base)?.ended.as_ref()?;
        Some(format!("is the grant of {id}, which extends {base}, but that was {} before", ended.how.word()))
    }

    fn terms(&mut self, copies: &Copies<'_>, user: u32, told: &RecordKeys<'_>) -> Option<Terms> {
        Some(Terms {
            uid: copies.uid?,
            user,
            role: self.names.of(told.role?.as_bytes()),
            run_as: self.names.of(told.run_as.as_ref()?.as_bytes()),
            starts: Timestamp(told.starts?).seconds(),
            expires: Timestamp(told.expires?).seconds(),
            one_shot: told.limits.as_ref()?.contains(&"one-shot"),
            extends: told.extends.map(Id::parse).map_or(Some(None), |id| id.map(Some))?,
        })
    }

    /// Ends the comparison after the last row.
    ///
    /// # Errors
    /// The differences.
    pub fn end(self) -> Result<Compared, Differences> {
        if self.differences.count == 0 { Ok(self.compared) } else { Err(self.differences) }
    }

    fn differs(&mut self, table: Table, id: &str, what: String) {
        self.differences.count = self.differences.count.saturating_add(1);
        if self.differences.found.len() < KEPT {
            self.differences.found.push(Difference { table, id: id.to_owned(), what });
        }
    }

    /// Reports missing rows: the ids for which `is` returns true, in order. Returns their number.
    fn lacking(&mut self, table: Table, is: impl Fn(&Recorded) -> bool) -> usize {
        let mut ids: Vec<Id> = self.said.iter().filter(|(_, said)| is(said)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in &ids {
            self.differs(table, &id.to_string(), "its row is missing".to_owned());
        }
        ids.len()
    }

    /// Reports missing rows of a table with numbered rows: if no record names the missing row, the gap in the numbers
    /// shows it.
    fn lacking_in_order(&mut self, which: Ordered, table: Table, is: impl Fn(&Recorded) -> bool) {
        let gap = self.place.get(which as usize).and_then(|place| place.gap);
        if let (0, Some((rowid, id))) = (self.lacking(table, is), gap) {
            self.differs(table, &id.to_string(), format!("row {rowid} before it is missing"));
        }
    }

    /// Checks that rows are numbered from 1, or from the last removed row, without a gap, in the order of their records; only the first rows may have
    /// lost theirs. Returns true if the record of this row is gone: then the row must be closed, or its time, `until`
    /// in seconds, has passed.
    fn placed(
        &mut self,
        which: Ordered,
        rowid: i64,
        id: Id,
        seq: Option<u64>,
        (until, is_closed): (i64, bool),
    ) -> Result<bool, String> {
        let index = which as usize;
        let (Some(place), Some(lost)) = (self.place.get_mut(index), self.lost.get_mut(index)) else {
            return Err("it belongs to no table".to_owned());
        };
        let expected = place.rowid.saturating_add(1);
        place.rowid = rowid;
        if rowid != expected && place.gap.is_none() {
            place.gap = Some((expected, id));
        }
        let among = match *lost {
            Lost::Exactly(count) => u64::try_from(rowid.saturating_sub(place.gone)).is_ok_and(|number| number <= count),
            Lost::Leading => place.seq == 0 && seq.is_none(),
        };
        match seq {
            None if among && !is_closed && self.pruned_at.is_some_and(|at| until > at) => {
                Err("its records were pruned, although its contents required them to stay".to_owned())
            }
            None if among => Ok(true),
            None => Err("the journal has no record of it".to_owned()),
            Some(seq) if among || seq <= place.seq => Err("it is not in the place of its record".to_owned()),
            Some(seq) => {
                place.seq = seq;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests;
