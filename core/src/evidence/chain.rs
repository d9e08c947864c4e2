//! The hash chain: each record contains the hash of the previous one, so the hash of the last one covers all. This
//! module needs no SQLite, no privilege and no clock: jitctl verifies exported records with the same code.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::acceptance;
use super::canonical;
pub use super::copies::Copies;
use super::digest::Digest;
pub use super::faults::{Cause, FirstBad};
use super::fork_event::{FORK, Fork};
use super::forks;
use super::mark::Mark;
use super::policies::Policies;
use super::policy_history::{Named, PolicyHistory};
use super::policy_keys::PolicyKeys;
use super::record::{VERSION, parse};
use crate::escape::{Word, hex, unhex};

/// Returns the hash of a record: SHA-256 of its exact bytes.
pub fn hash(body: &[u8]) -> Digest {
    Digest(Sha256::digest(body).into())
}

/// One record as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its number.
    pub seq: u64,
    /// Its exact bytes.
    pub body: &'a [u8],
    /// Its stored hash.
    pub hash: &'a [u8],
    /// The journal's columns for the record; `None` in an export.
    pub copies: Option<Copies<'a>>,
}

/// What a complete chain proves: no record was altered, removed or inserted. Truncation at the end only shows when
/// `head` is compared with one that was kept elsewhere (a syslog line, a checkpoint): see [`super::proof`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    /// The number of records.
    pub records: u64,
    /// The hash of the last record; zeros without records.
    pub head: Digest,
}

/// Where a chain starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At record 1.
    First,
    /// After this record, which was pruned together with all earlier ones: a later `prune` record must confirm it.
    Pruned(Mark),
    /// At this number, because the caller verifies a part; what was before is not verified.
    Part(u64),
}

/// A verification in progress, which gets rows in order of their numbers.
#[derive(Debug, Clone)]
pub struct Chain {
    records: u64,
    last: u64,
    /// The hash of the last record; `None` while it is not verified.
    head: Option<Digest>,
    /// The latest time; `None` while earlier records are unknown.
    high: Option<i64>,
    /// The mark that a `prune` record has yet to confirm.
    pruned: Option<Mark>,
    policies: Policies,
    /// The last record with which root accepted the state of the host; 0 without one.
    accepted: u64,
    /// The last record, if it is a fork.
    fork: Option<Fork>,
}

impl Chain {
    /// Creates a chain without records.
    pub fn new(begin: Begin) -> Self {
        let (last, head, high, pruned) = match begin {
            Begin::First => (0, Some(Digest::ZERO), Some(i64::MIN), None),
            Begin::Pruned(mark) => (mark.seq, Some(mark.hash), None, Some(mark)),
            Begin::Part(first) => (first.saturating_sub(1), None, None, None),
        };
        let policies = match begin {
            Begin::Part(_) => Policies::Unasked,
            Begin::First => Policies::asked(true),
            Begin::Pruned(_) => Policies::asked(false),
        };
        Self { records: 0, last, head, high, pruned, policies, accepted: 0, fork: None }
    }

    /// Verifies the next record as it is stored. Returns the digest of the role that permitted a run, if the record has
    /// one. If only the contents of the record are wrong, the caller may continue after the error.
    pub fn feed<'r>(&mut self, row: &Row<'r>) -> Result<Option<&'r str>, FirstBad> {
        self.follows(row.seq, row.body)?;
        let hash = hash(row.body);
        if hash.0 != row.hash {
            return Err(FirstBad { seq: row.seq, cause: Cause::Hash });
        }
        let inside = Inside::read(row.seq, row.body)?;
        if inside.seq != row.seq {
            return Err(FirstBad { seq: row.seq, cause: Cause::Number(inside.seq) });
        }
        self.take(&inside, row.body, hash, row.copies)?;
        Ok(inside.judged_by())
    }

    /// Verifies the next record of an export, which has no columns. Returns its kind.
    pub fn feed_bare<'r>(&mut self, body: &'r [u8]) -> Result<&'r str, FirstBad> {
        let inside = Inside::read(self.next(), body)?;
        self.follows(inside.seq, body)?;
        self.take(&inside, body, hash(body), None)?;
        Ok(inside.kind)
    }

    /// Checks that record `seq` may come next: it has the next number, or it is a fork that says why there is a gap.
    fn follows(&self, seq: u64, body: &[u8]) -> Result<(), FirstBad> {
        let leads = |fork: &Fork| fork.leads(self.last, seq, self.head.is_some());
        if seq == self.next() || (seq > self.last && forks::read(body).as_ref().is_some_and(leads)) {
            return Ok(());
        }
        Err(FirstBad { seq: self.next(), cause: Cause::Gap { found: seq } })
    }

    fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Returns the last record with which root accepted the state of the host; 0 without one.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Returns the last record, if it is a fork.
    pub(super) fn fork(&self) -> Option<&Fork> {
        self.fork.as_ref()
    }

    /// Returns the roles of the policies so far; `None` when a part is verified.
    pub fn policies(&self) -> Option<&PolicyHistory> {
        self.policies.history()
    }

    fn take(
        &mut self,
        inside: &Inside<'_>,
        body: &[u8],
        hash: Digest,
        copies: Option<Copies<'_>>,
    ) -> Result<(), FirstBad> {
        let bad = |cause| Err(FirstBad { seq: inside.seq, cause });
        if self.head.is_some_and(|head| unhex(inside.prev) != Some(head.0)) {
            return bad(Cause::Link);
        }
        let fork = if inside.kind == FORK { forks::read(body) } else { None };
        if let Some(fork) = fork.as_ref().filter(|fork| !fork.leads(self.last, inside.seq, self.head.is_some())) {
            return bad(Cause::Fork(fork.continues));
        }
        // The first record after a gap gives the latest time before it.
        let before = self.high.or(copies.map(|copies| copies.high)).unwrap_or(i64::MIN);
        let high = acceptance::high_after(before, inside.kind, inside.code, inside.time);
        if let Some(column) = copies.and_then(|copies| inside.differs(&copies, high)) {
            return bad(Cause::Copy(column));
        }
        let judged = self.judge(inside, body)?;
        if acceptance::accepts(inside.kind, inside.code) {
            self.accepted = inside.seq;
        }
        self.records = self.records.saturating_add(1);
        (self.last, self.head, self.high, self.fork) = (inside.seq, Some(hash), Some(high), fork);
        judged
    }

    /// Checks what a record says of policies and their roles. The outer error means that it is no record.
    fn judge(&mut self, inside: &Inside<'_>, body: &[u8]) -> Result<Result<(), FirstBad>, FirstBad> {
        let mut judged = Ok(());
        if self.pruned.is_some_and(|mark| inside.tells_of(mark)) {
            self.pruned = None;
            let policies = inside.policies.as_deref().unwrap_or_default();
            judged = self.policies.remembered(policies, &policy_keys(inside.seq, body)?);
        }
        let named = match (inside.kind, inside.policy) {
            ("policy", Some(policy)) => self.policies.told(inside.seq, policy, &policy_keys(inside.seq, body)?),
            (_, Some(policy)) => {
                let role = inside.role.as_deref();
                let named = Named { policy, role, power: inside.role_digest, sha256: inside.role_sha256 };
                self.policies.named(inside.seq, &named, self.pruned.is_some())
            }
            (_, None) => Ok(()),
        };
        Ok(judged.and(named))
    }

    /// Returns the last record.
    pub fn last(&self) -> Mark {
        Mark { seq: self.last, hash: self.head.unwrap_or(Digest::ZERO) }
    }

    /// Ends the verification after the last record. Fails if the beginning is missing without a reason.
    pub fn end(&self) -> Result<Verified, FirstBad> {
        match self.pruned {
            Some(mark) => Err(FirstBad { seq: mark.seq, cause: Cause::NotPruned }),
            None => Ok(self.verified()),
        }
    }

    /// Returns what is proved so far.
    pub fn verified(&self) -> Verified {
        Verified { records: self.records, head: self.last().hash }
    }
}

/// Verifies a list of records; the first must have number 1.
pub fn verify<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> Result<Verified, FirstBad> {
    let mut chain = Chain::new(Begin::First);
    for row in rows {
        chain.feed(&row)?;
    }
    Ok(chain.verified())
}

/// Returns the digest of the role that permitted a run, from the record of its start.
pub fn role_digest(body: &[u8]) -> Option<&str> {
    Inside::read(0, body).ok().and_then(|inside| inside.judged_by())
}

/// Returns whether the bytes are a record with a position, a time and a host.
#[cfg(test)]
pub(super) fn stands(body: &[u8]) -> bool {
    Inside::read(0, body).is_ok_and(|inside| unhex::<32>(inside.prev).is_some())
}

fn policy_keys(seq: u64, body: &[u8]) -> Result<PolicyKeys<'_>, FirstBad> {
    parse(body).map_err(|error| FirstBad { seq, cause: Cause::Malformed(error.to_string()) })
}

/// The keys that the chain and the columns need; all others are skipped.
#[derive(Deserialize)]
struct Inside<'a> {
    seq: u64,
    prev: &'a str,
    time: i64,
    #[serde(rename = "boot")]
    _boot: i64,
    #[serde(rename = "boot_id", borrow)]
    _boot_id: Cow<'a, str>,
    #[serde(rename = "host")]
    _host: Word,
    version: u32,
    kind: &'a str,
    uid: Option<i64>,
    run: Option<&'a str>,
    grant: Option<&'a str>,
    /// In a `prune` record.
    through: Option<u64>,
    head: Option<&'a str>,
    /// In a `prune` record: the policies that removed records introduced.
    policies: Option<Vec<&'a str>>,
    /// In an alert or a refusal.
    code: Option<&'a str>,
    /// In a record that depends on a role, and in the `policy` record itself.
    policy: Option<&'a str>,
    /// In a record that concerns a role.
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    /// In a `start` record.
    role_digest: Option<&'a str>,
    /// In a record that depends on a role: the digest with which `policy` records identify it.
    role_sha256: Option<&'a str>,
}

impl<'a> Inside<'a> {
    fn read(seq: u64, body: &'a [u8]) -> Result<Self, FirstBad> {
        let malformed = |why: &dyn fmt::Display| FirstBad { seq, cause: Cause::Malformed(why.to_string()) };
        let text = canonical::text(body).map_err(|why| malformed(&why))?;
        let inside: Self = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        match inside.version {
            VERSION => Ok(inside),
            other => Err(malformed(&format!("version {other} is not known"))),
        }
    }

    /// The digest of the role by which a run was judged; other kinds may name one, and keep no text of it.
    fn judged_by(&self) -> Option<&'a str> {
        self.role_digest.filter(|_| self.kind == "start")
    }

    fn tells_of(&self, pruned: Mark) -> bool {
        self.kind == "prune" && self.through == Some(pruned.seq) && self.head == Some(hex(&pruned.hash.0).as_str())
    }

    fn differs(&self, copies: &Copies<'_>, high: i64) -> Option<&'static str> {
        [
            ("kind", self.kind == copies.kind),
            ("uid", self.uid == copies.uid),
            ("run", self.run == copies.run),
            ("grant_id", self.grant == copies.grant),
            ("at", self.time == copies.at),
            ("high", high == copies.high),
        ]
        .into_iter()
        .find_map(|(column, same)| if same { None } else { Some(column) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    type Chained = (u64, String, Digest);

    fn verify_records(records: &[Chained]) -> Result<Verified, FirstBad> {
        verify(records.iter().map(|(seq, body, hash)| Row {
            seq: *seq,
            body: body.as_bytes(),
            hash: &hash.0,
            copies: None,
        }))
    }

    fn bad(seq: u64, cause: Cause) -> Result<Verified, FirstBad> {
        Err(FirstBad { seq, cause })
    }

    #[test]
    fn an_untouched_chain_verifies() {
        let records = samples::chain(30);
        assert_eq!(verify_records(&records), Ok(Verified { records: 30, head: records[29].2 }));
        assert_eq!(verify_records(&[]), Ok(Verified { records: 0, head: Digest::ZERO }));
    }

    #[test]
    fn every_altered_byte_is_found() {
        let records = samples::chain(5);
        let body = records[2].1.as_bytes();
        for index in 0..body.len() {
            for bit in 0..8 {
                let mut altered = body.to_vec();
                altered[index] ^= 1 << bit;
                let rows = records.iter().map(|(seq, body, hash)| Row {
                    seq: *seq,
                    body: if *seq == 3 { &altered } else { body.as_bytes() },
                    hash: &hash.0,
                    copies: None,
                });
                assert_eq!(verify(rows), bad(3, Cause::Hash));
            }
        }
    }

    #[test]
    fn an_altered_record_with_a_new_hash_is_found_at_the_next_one() {
        for (from, to) in [
            ("\"alice\"", "\"mallory\""),
            ("\"uid\":1000", "\"uid\":1001"),
            ("\"code\":\"no-grant\"", "\"code\":\"none\""),
            ("\"time\":1800000003", "\"time\":1700000003"),
            ("\"host\":\"web1\"", "\"host\":\"web2\""),
            ("\"kind\":\"reject\"", "\"kind\":\"alert\""),
        ] {
            let mut records = samples::chain(5);
            let altered = records[2].1.replacen(from, to, 1);
            assert_ne!(altered, records[2].1, "{from}");
            records[2] = (3, altered.clone(), hash(altered.as_bytes()));
            assert_eq!(verify_records(&records), bad(4, Cause::Link), "{from}");
        }
    }

    #[test]
    fn altered_numbers_and_links_are_found_at_once() {
        let altered = |from: &str, to: &str| {
            let mut records = samples::chain(5);
            let body = records[2].1.replacen(from, to, 1);
            assert_ne!(body, records[2].1, "{from}");
            records[2] = (3, body.clone(), hash(body.as_bytes()));
            verify_records(&records)
        };
        assert_eq!(altered("\"seq\":3", "\"seq\":4"), bad(3, Cause::Number(4)));
        let prev = samples::chain(2)[1].2.to_string();
        assert_eq!(altered(&prev, &"0".repeat(64)), bad(3, Cause::Link));
        assert_eq!(altered(&prev, &prev.to_uppercase()), bad(3, Cause::Link));
        for (from, to) in [("\"seq\":3", "\"seq\":3,\"seq\":3"), ("\"seq\":3", "\"seq\":-3"), ("{", "["), ("{", "")] {
            assert!(matches!(altered(from, to), Err(FirstBad { seq: 3, cause: Cause::Malformed(_) })), "{from} {to}");
        }
    }

    #[test]
    fn removed_swapped_and_inserted_records_are_found() {
        let whole = samples::chain(6);
        let mut records = whole.clone();
        records.remove(2);
        assert_eq!(verify_records(&records), bad(3, Cause::Gap { found: 4 }));
        for (index, record) in records.iter_mut().enumerate() {
            record.0 = index as u64 + 1; // renumbered columns, unchanged bytes
        }
        assert_eq!(verify_records(&records), bad(3, Cause::Number(4)));

        let mut records = whole.clone();
        records.swap(1, 2);
        assert_eq!(verify_records(&records), bad(2, Cause::Gap { found: 3 }));

        let mut records = whole.clone();
        records.insert(3, whole[2].clone());
        assert_eq!(verify_records(&records), bad(4, Cause::Gap { found: 3 }));

        assert_eq!(verify_records(&whole[1..]), bad(1, Cause::Gap { found: 2 }));
        let short = (3, whole[2].1[..40].to_owned(), whole[2].2);
        assert_eq!(verify_records(&[whole[0].clone(), whole[1].clone(), short]), bad(3, Cause::Hash));
    }

    #[test]
    fn a_chain_cut_at_its_end_has_another_head() {
        let records = samples::chain(6);
        let cut = verify_records(&records[..5]).unwrap();
        assert_ne!(cut.head, records[5].2);
        assert_eq!(cut.records, 5);
    }

    #[test]
    fn columns_that_differ_from_the_record_are_found() {
        let (seq, body, hash) = samples::chain(1).remove(0);
        let time = samples::moment(1).wall.0;
        let grant = samples::grant();
        let right = Copies {
            kind: "start",
            uid: Some(1000),
            run: Some("run000000001"),
            grant: Some(grant.as_str()),
            at: time,
            high: time,
        };
        let check = |copies| verify([Row { seq, body: body.as_bytes(), hash: &hash.0, copies: Some(copies) }]);
        assert!(check(right).is_ok());
        assert_eq!(check(Copies { kind: "end", ..right }), bad(1, Cause::Copy("kind")));
        assert_eq!(check(Copies { uid: None, ..right }), bad(1, Cause::Copy("uid")));
        assert_eq!(check(Copies { uid: Some(0), ..right }), bad(1, Cause::Copy("uid")));
        assert_eq!(check(Copies { run: Some("x"), ..right }), bad(1, Cause::Copy("run")));
        assert_eq!(check(Copies { grant: None, ..right }), bad(1, Cause::Copy("grant_id")));
        assert_eq!(check(Copies { at: 0, ..right }), bad(1, Cause::Copy("at")));
        assert_eq!(check(Copies { high: time + 1, ..right }), bad(1, Cause::Copy("high")));
    }
}
