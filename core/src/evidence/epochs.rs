//! The sealing keys of a journal: which key signs the checkpoints from which record on, and what proves that it does. Each key
//! is certified by the one before it, which was erased then. So whoever has the present key, and that of the host, can make neither
//! an earlier checkpoint nor another certificate of an earlier key.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::canonical;
use super::certificate::certificate_parts;
use super::elsewhere::KnownEpoch;
use super::epoch_event::{Certifier, EPOCH, Epoch};
use super::faults::{Cause, FirstBad};
use super::forks::Forks;
use super::key_event::{RETIREMENT, ROTATION};
use super::lineage::{FoundRetirement, FoundRotation, Lineage};
use super::record::{VERSION, parse};
use super::signers::Signers;
use crate::clock::{TOLERANCE_US, Timestamp};
use crate::grant::PublicKey;
use crate::grant::sshsig::{Namespace, signer};

/// An epoch, as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEpoch {
    /// Its number.
    pub number: u64,
    /// The number of its record.
    pub seq: u64,
    /// The number of the record that begins its line.
    pub line: u64,
    /// Its sealing key.
    pub key: PublicKey,
}

/// A line of sealing keys: each certified by the one before it, and the first by the key of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLine {
    /// The number of the record that begins it.
    pub line: u64,
    /// The number of its first epoch.
    pub first: u64,
    /// The fingerprint of the host key that certified its first sealing key; `None` if that is not known.
    pub host_key: Option<String>,
    /// The record with which root had accepted the state of the host before it; `None` for the first line of a journal.
    pub accepted: Option<u64>,
    /// The first of its epochs whose key was given and has signed something. A key that a record only names proves nothing, because
    /// whoever writes the record chooses it.
    pub given: Option<u64>,
    /// The last record that this key, or one that it leads to, has signed.
    pub proved: Option<u64>,
}

/// Which sealing keys a journal has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealing {
    /// The lines.
    pub lines: Vec<FoundLine>,
    /// The last epoch.
    pub last: Option<FoundEpoch>,
    /// The number of epochs of which a record was read.
    pub epochs: u64,
    /// The rotations of the host key.
    pub rotations: Vec<FoundRotation>,
    /// The retirements of the host.
    pub retirements: Vec<FoundRetirement>,
    /// The last of them, unless another host key has begun a line since.
    pub retired: Option<FoundRetirement>,
    /// Whether keys were given that the lines must have.
    pub asked: bool,
}

/// Whether a signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It counts.
    Counts,
    /// It is valid, by a key that does not count.
    Foreign,
    /// It is by another key than the sealing key of its epoch.
    Wrong,
    /// It states a time before the certificate of the key.
    Early,
}

/// The times of the current epoch and its line.
#[derive(Debug, Clone, Copy)]
struct Began {
    time: Timestamp,
    latest: Timestamp,
}

/// The sealing keys so far.
#[derive(Debug)]
pub(super) struct Epochs {
    /// Fingerprints of sealing keys that are known from elsewhere. Each line from the first of them on must have one.
    given: Vec<String>,
    /// Whether records before the first one may have begun a line.
    is_part: bool,
    current: Option<FoundEpoch>,
    /// When the current epoch began, and the latest time of an epoch of its line, by their records.
    began: Option<Began>,
    /// The host keys, and by which of them the current line is known.
    lineage: Lineage,
    lines: Vec<FoundLine>,
    epochs: u64,
    /// The last record that was processed.
    last: Option<u64>,
    /// `epoch` records elsewhere that have not come yet, by their number, and those in whose place another record came.
    expected: BTreeMap<u64, Vec<String>>,
    missing: Vec<u64>,
}

impl Epochs {
    /// `given`: fingerprints of sealing keys that are known from elsewhere.
    pub(super) fn new(is_part: bool, given: Vec<String>) -> Self {
        Self {
            given,
            is_part,
            current: None,
            began: None,
            lineage: Lineage::default(),
            lines: Vec::new(),
            epochs: 0,
            last: None,
            expected: BTreeMap::new(),
            missing: Vec::new(),
        }
    }

    /// Demands these `epoch` records, which were kept elsewhere.
    pub(super) fn expect(&mut self, epochs: Vec<KnownEpoch>) {
        for KnownEpoch { seq, key } in epochs {
            self.expected.entry(seq).or_default().push(key);
        }
    }

    /// Processes the `epoch`, `rotation` or `retirement` record of an earlier part of the journal.
    pub(super) fn certificate(&mut self, body: &[u8], given: &Signers) -> Result<u64, FirstBad> {
        #[derive(Deserialize)]
        struct Place<'b> {
            seq: u64,
            kind: &'b str,
            version: u32,
        }
        // A record of the chain has been checked for this.
        canonical::text(body).map_err(|why| bad(0, &format!("is no record: {why}")))?;
        let place: Place<'_> = parse(body).map_err(|error| bad(0, &format!("cannot be read: {error}")))?;
        if ![EPOCH, ROTATION, RETIREMENT].contains(&place.kind)
            || place.version != VERSION
            || self.last.is_some_and(|last| place.seq <= last)
        {
            return Err(bad(place.seq, "stands in the wrong place"));
        }
        self.is_part = false;
        self.record(place.seq, place.kind, body, (None, given))?;
        Ok(place.seq)
    }

    /// Processes record `seq`. `accepted`: the last record with which root accepted the state of the host; `None` if that is not
    /// known. `given`: the host keys that are known. Returns the key that signed it, for an `epoch` record.
    pub(super) fn record(
        &mut self,
        seq: u64,
        kind: &str,
        body: &[u8],
        (accepted, given): (Option<u64>, &Signers),
    ) -> Result<Option<PublicKey>, FirstBad> {
        let known = (self.is_part, given);
        let by = match kind {
            EPOCH => Some(self.certified(seq, body, accepted)?),
            ROTATION => self.lineage.rotates(seq, body, known).map(|()| None).map_err(|why| bad_key(seq, why))?,
            RETIREMENT => self.lineage.retires(seq, body, known).map(|()| None).map_err(|why| bad_key(seq, why))?,
            _ => {
                self.lineage.other(seq, kind, body);
                return Ok(None);
            }
        };
        self.last = Some(seq);
        Ok(by)
    }

    fn certified(&mut self, seq: u64, body: &[u8], accepted: Option<u64>) -> Result<PublicKey, FirstBad> {
        let epoch: Epoch = parse(body).map_err(|error| bad(seq, &format!("cannot be read: {error}")))?;
        let Some(key) = epoch.public_key() else { return Err(bad(seq, "names no ed25519 key")) };
        let Some((signed, signature)) = certificate_parts(body) else { return Err(bad(seq, "has no signature")) };
        let by = signer(Namespace::Epoch, &signed, &signature)
            .map_err(|fault| bad(seq, &format!("is not certified: {fault}")))?;
        let before = self.current.take();
        if let (Some(retired), Certifier::SealingKey) = (self.lineage.retired(), epoch.certified_by) {
            return Err(bad(seq, &format!("follows the retirement of the host in record {}", retired.seq)));
        }
        if let Some(before) = &before
            && before.number.checked_add(1) != Some(epoch.number)
        {
            return Err(bad(seq, &format!("has number {} and follows epoch {}", epoch.number, before.number)));
        }
        match epoch.certified_by {
            Certifier::SealingKey => self.continues(seq, &epoch, before.as_ref(), &by)?,
            Certifier::HostKey => self.begins(seq, &epoch, before.as_ref(), &by, accepted)?,
        }
        if matches!(epoch.certified_by, Certifier::SealingKey) {
            self.signed(seq, epoch.number.saturating_sub(1), &by);
        }
        if self.expected.remove(&seq).is_some_and(|keys| keys.iter().any(|other| *other != key.fingerprint())) {
            self.missing.push(seq);
        }
        self.epochs = self.epochs.saturating_add(1);
        self.began = Some(self.begins_at(body, &epoch).map_err(|error| bad(seq, &format!("cannot be read: {error}")))?);
        self.current = Some(FoundEpoch { number: epoch.number, seq, line: epoch.line, key });
        Ok(by)
    }

    fn begins_at(&self, body: &[u8], epoch: &Epoch) -> Result<Began, serde_json::Error> {
        #[derive(Deserialize)]
        struct Time {
            time: Timestamp,
        }
        let Time { time } = parse(body)?;
        let before = self.began.filter(|_| matches!(epoch.certified_by, Certifier::SealingKey));
        Ok(Began { time, latest: before.map_or(time, |before| before.latest.max(time)) })
    }

    /// Returns the latest time of an epoch of the current line.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.began.map(|began| began.latest)
    }

    /// Whether a signature at this time, in seconds since 1970, is older than the certificate of its key.
    fn is_too_early(&self, at: i64) -> bool {
        let tolerance = TOLERANCE_US / 1_000_000;
        self.began.is_some_and(|began| at.saturating_add(tolerance) < began.time.seconds())
    }

    /// Checks a key that the one before it certified.
    fn continues(
        &mut self,
        seq: u64,
        epoch: &Epoch,
        before: Option<&FoundEpoch>,
        by: &PublicKey,
    ) -> Result<(), FirstBad> {
        match before {
            Some(before) if before.line != epoch.line => Err(bad(seq, "is of another line than the epoch before it")),
            Some(before) if before.key != *by => {
                Err(bad(seq, &format!("is not certified by the sealing key of epoch {}", before.number)))
            }
            Some(_) => Ok(()),
            None if self.is_part && epoch.line < seq => {
                let first = epoch.number.saturating_sub(1);
                let (given, proved) = (None, None);
                self.lines.push(FoundLine { line: epoch.line, first, host_key: None, accepted: None, given, proved });
                Ok(())
            }
            None => Err(bad(seq, "is certified by a sealing key of which there is no record")),
        }
    }

    /// Checks a key that the key of the host certified: only the first one, and one after root's acceptance.
    fn begins(
        &mut self,
        seq: u64,
        epoch: &Epoch,
        before: Option<&FoundEpoch>,
        by: &PublicKey,
        accepted: Option<u64>,
    ) -> Result<(), FirstBad> {
        if epoch.line != seq {
            return Err(bad(seq, "begins a line of sealing keys, and names another record"));
        }
        if before.is_none() && !self.is_part && epoch.number != 1 {
            return Err(bad(seq, "is the first epoch and has another number than 1"));
        }
        if let (Some(before), Some(accepted)) = (before, accepted)
            && accepted <= before.seq
        {
            let why = "begins a line of sealing keys although root has not accepted the state of the host since the last epoch";
            return Err(bad(seq, why));
        }
        self.lineage.begins(by).map_err(|why| bad(seq, &why))?;
        let accepted = accepted.filter(|accepted| *accepted > 0 && before.is_some());
        let host_key = Some(by.fingerprint());
        let (given, proved) = (None, None);
        self.lines.push(FoundLine { line: seq, first: epoch.number, host_key, accepted, given, proved });
        Ok(())
    }

    /// Returns the host keys.
    pub(super) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Processes a checkpoint of record `seq` that states this host.
    pub(super) fn stated(&mut self, seq: u64, host: &str) {
        self.lineage.stated(seq, host);
    }

    /// Returns the number of the record that begins the current line, and its host key, if that does not count.
    pub(super) fn other_line(&self, signers: &Signers) -> Option<(u64, String)> {
        let key = self.lineage.key().filter(|key| !self.lineage.counts(key, signers))?;
        Some((self.lines.last()?.line, key.fingerprint()))
    }

    /// Processes a valid signature up to record `seq` by the sealing key of epoch `number` of the current line.
    fn signed(&mut self, seq: u64, number: u64, by: &PublicKey) {
        let Some(line) = self.lines.last_mut() else { return };
        if line.given.is_none() && self.given.contains(&by.fingerprint()) {
            line.given = Some(number);
        }
        if line.given.is_some() {
            line.proved = Some(seq);
        }
    }

    /// Processes a checkpoint of record `seq` with a valid signature by `key`, which states the time `at`. Returns whether it counts as
    /// evidence.
    pub(super) fn checkpoint(&mut self, (seq, at): (u64, i64), key: &PublicKey, signers: &Signers) -> Standing {
        if let Some(number) = self.current.as_ref().filter(|current| current.key == *key).map(|current| current.number)
        {
            self.signed(seq, number, key);
        }
        if self.is_too_early(at) { Standing::Early } else { self.standing(key, signers) }
    }

    /// Returns whether a signature by `key` counts as evidence for the record before it.
    fn standing(&self, key: &PublicKey, signers: &Signers) -> Standing {
        match &self.current {
            Some(current) if current.key != *key => Standing::Wrong,
            Some(_) => self.line_standing(signers),
            // A journal of an earlier version: the key of the host signs until the first epoch.
            None if signers.count(key) || (self.is_part && self.given.contains(&key.fingerprint())) => Standing::Counts,
            None => Standing::Foreign,
        }
    }

    /// Returns whether what the current line signs counts.
    pub(super) fn line_standing(&self, signers: &Signers) -> Standing {
        let is_given = self.lines.last().is_some_and(|line| line.given.is_some());
        let counts = match self.lineage.key() {
            Some(key) => self.lineage.counts(key, signers),
            None => matches!(signers, Signers::Anybody),
        };
        if counts || is_given { Standing::Counts } else { Standing::Foreign }
    }

    /// Returns the first `epoch` record elsewhere that is neither here nor of a lost branch. `before`: the number before the first record.
    fn lacks(&self, before: u64, forks: &Forks) -> Option<FirstBad> {
        let known = |seq: &&u64| !(forks.has_lost_record(**seq) || self.is_part && **seq <= before);
        let seq = self.expected.keys().chain(&self.missing).filter(known).min()?;
        Some(FirstBad { seq: *seq, cause: Cause::OtherEpoch })
    }

    /// Ends the verification. `last`: the number of the last record; `before`: that before the first one.
    pub(super) fn end(
        self,
        (before, last): (u64, u64),
        signed_by: Option<&PublicKey>,
        forks: &Forks,
    ) -> Result<Sealing, FirstBad> {
        if !self.given.is_empty() {
            // A part within one epoch has its key in its checkpoints alone.
            let is_one = self.lines.is_empty()
                && self.is_part
                && signed_by.is_some_and(|key| self.given.contains(&key.fingerprint()));
            let Some(first) = self.lines.iter().position(|line| line.given.is_some()).or(is_one.then_some(0)) else {
                return Err(FirstBad { seq: last, cause: Cause::NoGivenKey });
            };
            if let Some(other) = self.lines.iter().skip(first).find(|line| line.given.is_none()) {
                return Err(FirstBad { seq: other.line, cause: Cause::OtherLine });
            }
        }
        if let Some(lacking) = self.lacks(before, forks) {
            return Err(lacking);
        }
        Ok(Sealing {
            lines: self.lines,
            last: self.current,
            epochs: self.epochs,
            rotations: self.lineage.rotations().to_vec(),
            retirements: self.lineage.retirements().to_vec(),
            retired: self.lineage.retired().cloned(),
            asked: !self.given.is_empty(),
        })
    }
}

#[cfg(test)]
mod tests;

fn bad(seq: u64, why: &str) -> FirstBad {
    FirstBad { seq, cause: Cause::Epoch(why.to_owned()) }
}

fn bad_key(seq: u64, why: String) -> FirstBad {
    FirstBad { seq, cause: Cause::KeyLife(why) }
}
