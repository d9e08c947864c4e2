//! The lineage of the host keys of a journal: which key is that of the host, and for which records. A key begins a line of sealing
//! keys; a rotation puts another one in its place; a retirement ends it. Whoever asks whether a key is the host's asks this value.

use serde::Deserialize;

use super::epoch_event::{Certifier, EPOCH, Epoch};
use super::key_event::{RETIREMENT, ROTATION};
use super::key_statement::{retired, rotated};
use super::note::origin;
use super::record::parse;
use super::signers::Signers;
use super::{certificate::certifier, hosts::Hosts};
use crate::clock::Timestamp;
use crate::grant::PublicKey;

/// A rotation of the host key: the old key and the new one have both signed its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRotation {
    /// The number of its record.
    pub seq: u64,
    /// Its time, in seconds since 1970.
    pub at: i64,
    /// The key before it.
    pub old: PublicKey,
    /// The key from it on.
    pub new: PublicKey,
}

/// The retirement of the host: its key has signed the record, and was removed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRetirement {
    /// The number of its record.
    pub seq: u64,
    /// Its time, in seconds since 1970.
    pub at: i64,
    /// The key.
    pub key: PublicKey,
}

/// The end of a host key: it signs nothing from this record on, or, if the host was retired, nothing behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEnd {
    /// The number of the record.
    pub seq: u64,
    /// Its time, in seconds since 1970.
    pub at: i64,
    /// Whether the host was retired; otherwise another key has taken the place of this one.
    pub is_retirement: bool,
}

impl KeyEnd {
    /// Whether the key signs no tree whose last record is this one.
    pub fn is_before(&self, seq: u64) -> bool {
        if self.is_retirement { self.seq < seq } else { self.seq <= seq }
    }

    fn what(&self) -> String {
        let what = if self.is_retirement { "retired" } else { "replaced" };
        format!("that record {} has {what}", self.seq)
    }
}

/// The host keys of a journal so far.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    /// The host key by which the present line is known.
    key: Option<PublicKey>,
    /// Whether the host is retired, and no other host key has begun a line since.
    is_retired: bool,
    /// The keys that have begun lines.
    begun: Vec<PublicKey>,
    rotations: Vec<FoundRotation>,
    retirements: Vec<FoundRetirement>,
    hosts: Hosts,
}

impl Lineage {
    /// Adds what a record says that may stand anywhere and whose place is not checked, if it is about a host key and its signatures are
    /// valid: to know which heads elsewhere are of a journal before it is verified.
    pub fn learn(&mut self, body: &[u8]) {
        #[derive(Deserialize)]
        struct Head<'b> {
            seq: u64,
            kind: &'b str,
        }
        let Ok(Head { seq, kind }) = parse::<Head<'_>>(body) else { return };
        match kind {
            EPOCH => {
                let is_first = parse::<Epoch>(body).is_ok_and(|epoch| matches!(epoch.certified_by, Certifier::HostKey));
                self.begun.extend(certifier(body).filter(|_| is_first));
            }
            ROTATION => drop(rotated(body).map(|keys| self.replaced(seq, body, keys))),
            RETIREMENT => drop(retired(body).map(|key| self.retirements.push(found(seq, body, key)))),
            _ => {}
        }
    }

    /// A line of sealing keys begins with record `seq`, certified by this host key.
    pub(super) fn begins(&mut self, by: &PublicKey) -> Result<(), String> {
        if let Some(end) = self.end(by) {
            return Err(format!("begins a line of sealing keys by a host key {}", end.what()));
        }
        self.begun.push(by.clone());
        (self.key, self.is_retired) = (Some(by.clone()), false);
        Ok(())
    }

    /// Another host key takes the place of the one by which the line is known. `is_part`: earlier records may have begun the line.
    pub(super) fn rotates(&mut self, seq: u64, body: &[u8], (is_part, given): (bool, &Signers)) -> Result<(), String> {
        let (old, new) = rotated(body)?;
        self.is_by(&old, is_part && (given.name(&old) || given.name(&new)))?;
        if let Some(end) = self.end(&new) {
            return Err(format!("puts a key into the place of another {}", end.what()));
        }
        self.replaced(seq, body, (old, new));
        Ok(())
    }

    fn replaced(&mut self, seq: u64, body: &[u8], (old, new): (PublicKey, PublicKey)) {
        self.hosts.named(seq, body);
        self.key = Some(new.clone());
        self.rotations.push(FoundRotation { seq, at: time_of(body), old, new });
    }

    /// The host is retired.
    pub(super) fn retires(&mut self, seq: u64, body: &[u8], (is_part, given): (bool, &Signers)) -> Result<(), String> {
        let key = retired(body)?;
        self.is_by(&key, is_part && given.name(&key))?;
        (self.key, self.is_retired) = (Some(key.clone()), true);
        self.retirements.push(found(seq, body, key));
        Ok(())
    }

    /// Checks that a record is signed with the host key of the line. `is_given`: where this key is not known, this one is.
    fn is_by(&self, key: &PublicKey, is_given: bool) -> Result<(), String> {
        if let Some(retired) = self.retired() {
            return Err(format!("follows the retirement of the host in record {}", retired.seq));
        }
        match &self.key {
            Some(own) if own == key => Ok(()),
            Some(_) => Err("is not by the host key of its line".to_owned()),
            None if is_given => Ok(()),
            None => Err("is by a host key that has certified no sealing key, and that was not given".to_owned()),
        }
    }

    /// Processes a record of another kind, which may name the host.
    pub(super) fn other(&mut self, seq: u64, kind: &str, body: &[u8]) {
        self.hosts.record(seq, kind, body);
    }

    /// Processes a checkpoint of record `seq` that states this host id.
    pub(super) fn stated(&mut self, seq: u64, host: &str) {
        if let Some(key) = &self.key {
            self.hosts.stated(seq, key, host);
        }
    }

    /// Returns the first checkpoint by a key that counts that states a host that this was not.
    pub(super) fn misnamed(&self, given: &Signers) -> Option<u64> {
        self.hosts.misnamed(|key| self.counts(key, given))
    }

    /// Returns the host key by which the present line is known; `None` if that is not known.
    pub fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// Returns the end of this key, if it has one.
    pub fn end(&self, key: &PublicKey) -> Option<KeyEnd> {
        let replaced = self.rotations.iter().find(|found| found.old == *key);
        let replaced = replaced.map(|found| KeyEnd { seq: found.seq, at: found.at, is_retirement: false });
        let retired = self.retirements.iter().find(|found| found.key == *key);
        replaced.or(retired.map(|found| KeyEnd { seq: found.seq, at: found.at, is_retirement: true }))
    }

    /// Returns whether signatures by this host key count: it is given, or rotations lead from it to a given key, or from a given one to it.
    pub fn counts(&self, key: &PublicKey, given: &Signers) -> bool {
        given.count(key) || (!self.rotations.is_empty() && self.joined(given.keys()).contains(key))
    }

    /// Returns these keys, and all to which rotations lead from them, and from which rotations lead to them.
    pub fn joined(&self, keys: &[PublicKey]) -> Vec<PublicKey> {
        let mut joined = keys.to_vec();
        let mut next = 0;
        while let Some(key) = joined.get(next).cloned() {
            let beside = |found: &FoundRotation| match (found.old == key, found.new == key) {
                (true, _) => Some(found.new.clone()),
                (_, true) => Some(found.old.clone()),
                _ => None,
            };
            for other in self.rotations.iter().filter_map(beside) {
                if !joined.contains(&other) {
                    joined.push(other);
                }
            }
            next += 1;
        }
        joined
    }

    /// Returns whose signatures are valid after the last record: the keys that count and have not been replaced.
    pub(super) fn present(&self, given: &Signers) -> Signers {
        match given {
            Signers::Anybody => Signers::Anybody,
            Signers::These(_) | Signers::Host(_) => {
                let is_present = |key: &PublicKey| self.end(key).is_none_or(|end| end.is_retirement);
                Signers::These(self.joined(given.keys()).into_iter().filter(is_present).collect())
            }
        }
    }

    /// Returns the last rotation to a key that counts: that key signs what came before, too.
    pub(super) fn vouched(&self, given: &Signers) -> u64 {
        let counts = |found: &&FoundRotation| self.counts(&found.new, given);
        self.rotations.iter().rev().find(counts).map_or(0, |found| found.seq)
    }

    /// Returns the retirement of the host, unless another host key has begun a line since.
    pub fn retired(&self) -> Option<&FoundRetirement> {
        self.retirements.last().filter(|_| self.is_retired)
    }

    /// Returns all retirements.
    pub fn retirements(&self) -> &[FoundRetirement] {
        &self.retirements
    }

    /// Returns all rotations.
    pub fn rotations(&self) -> &[FoundRotation] {
        &self.rotations
    }

    /// Returns whether this key is, or was, that of the host.
    pub fn has(&self, key: &PublicKey) -> bool {
        self.begun.contains(key)
            || self.rotations.iter().any(|found| found.old == *key || found.new == *key)
            || self.retirements.iter().any(|found| found.key == *key)
    }

    /// Returns whether this is the origin of the notes of this key, on a machine that a record names.
    pub fn is_origin(&self, name: &str, key: &PublicKey) -> bool {
        self.has(key) && self.hosts.ids(key).any(|id| origin(id.as_str()) == name)
    }
}

fn found(seq: u64, body: &[u8], key: PublicKey) -> FoundRetirement {
    FoundRetirement { seq, at: time_of(body), key }
}

/// Returns the time of a record, in seconds; the chain has checked that it has one.
fn time_of(body: &[u8]) -> i64 {
    #[derive(Deserialize)]
    struct Time {
        time: Timestamp,
    }
    parse::<Time>(body).map_or(0, |said| said.time.seconds())
}
