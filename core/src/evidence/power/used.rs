//! All runs under one grant, in a short form: what of them is compared with the bytes of the grant.

use super::command_document::command_digest;
use super::documents::GrantDocument;
use super::names::{Names, digest_of};
use super::runs::Command;
use crate::escape::Word;

/// All runs under one grant, as far as they are compared with its bytes.
#[derive(Debug, Clone)]
pub(super) struct Used {
    /// The record of the first run.
    seq: u64,
    who: (i64, u32, u32),
    /// By the latest time in the journal so far, in seconds since 1970.
    earliest: i64,
    latest: i64,
    command: [u8; 32],
    cwd: [u8; 32],
    /// The first run by another user or in another role, of another command, and in another directory.
    other: [Option<u64>; 3],
    /// The last time on the boot clock of each boot, µs.
    boots: Vec<(u32, i64)>,
    /// The ids that the host had, each with the first run.
    hosts: Vec<(u32, u64)>,
    /// The digests of the grant's bytes that permitted the runs, each with the first run.
    bytes: Vec<([u8; 32], u64)>,
    /// The names of variables that the program loader obeys, each with the first run that had it.
    loaded: Vec<(Word, u64)>,
}

impl Used {
    pub(super) fn first(seq: u64, who: (i64, u32, u32), now: i64, start: &Command<'_>) -> Self {
        Self {
            seq,
            who,
            earliest: now,
            latest: now,
            command: digest(start),
            cwd: digest_of(start.cwd.as_bytes()),
            other: [None; 3],
            boots: Vec::new(),
            hosts: Vec::new(),
            bytes: Vec::new(),
            loaded: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, seq: u64, who: (i64, u32, u32), now: i64, start: &Command<'_>) {
        (self.earliest, self.latest) = (self.earliest.min(now), self.latest.max(now));
        let same = [who == self.who, digest(start) == self.command, digest_of(start.cwd.as_bytes()) == self.cwd];
        for (other, same) in self.other.iter_mut().zip(same) {
            *other = other.or((!same).then_some(seq));
        }
        for name in start.loaded() {
            note(&mut self.loaded, Some(name.clone()), seq);
        }
    }

    /// Takes the boot, the host and the digest of the grant's bytes of run `seq`.
    pub(super) fn circumstances(&mut self, seq: u64, boot: (u32, i64), host: Option<u32>, grant: Option<[u8; 32]>) {
        match self.boots.iter_mut().find(|(id, _)| *id == boot.0) {
            Some((_, last)) => *last = boot.1.max(*last),
            None => self.boots.push(boot),
        }
        note(&mut self.hosts, host, seq);
        note(&mut self.bytes, grant, seq);
    }

    /// Checks that the runs are by the user, in the role and in the time of a grant whose record was pruned.
    pub(super) fn is_of_holder(&self, document: &GrantDocument, names: &mut Names) -> Result<(), String> {
        let bad = |seq: u64, what: &str| Err(format!("record {seq} is the start of a run under it {what}"));
        let [person, ..] = self.other;
        let who = (document.uid, names.of(document.user.as_bytes()), names.of(document.role.as_bytes()));
        if self.who != who || person.is_some() {
            return bad(person.filter(|_| self.who == who).unwrap_or(self.seq), "by another user or in another role");
        }
        if self.earliest < document.starts || self.latest >= document.expires {
            return bad(self.seq, "or one that follows, outside of its time");
        }
        Ok(())
    }

    /// Checks that the bytes of the grant permit the runs.
    pub(super) fn compare(&self, (document, body): (&GrantDocument, &[u8]), names: &Names) -> Result<(), String> {
        let bad = |seq: u64, what: &str| Err(format!("record {seq} is the start of a run under it {what}"));
        let late = |(boot, last): &(u32, i64)| {
            Some(names.name(*boot)) == document.boot_id.as_deref().map(str::as_bytes)
                && document.boot_deadline.is_some_and(|deadline| *last >= deadline)
        };
        if self.boots.iter().any(late) {
            return bad(self.seq, "or one that follows, after its end on the clock of its boot");
        }
        let other = |(boot, _): &(u32, i64)| Some(names.name(*boot)) != document.boot_id.as_deref().map(str::as_bytes);
        if document.this_boot == 1 && self.boots.iter().any(other) {
            return bad(self.seq, "or one that follows, in another boot than the one for which it is valid");
        }
        if let Some((_, seq)) = self.hosts.iter().find(|(host, _)| names.name(*host) != document.host.as_bytes()) {
            return bad(*seq, "when this host had another identity than the one that it names");
        }
        self.commands(document)?;
        match self.bytes.iter().find(|(digest, _)| *digest != digest_of(body)) {
            Some((_, seq)) => bad(*seq, "as it was then: by other bytes than these"),
            None => Ok(()),
        }
    }

    /// Checks that all runs are of the command of an exact grant.
    fn commands(&self, document: &GrantDocument) -> Result<(), String> {
        let bad = |seq: u64, what: &str| Err(format!("record {seq} is the start of a run under it {what}"));
        let [_, command, cwd] = self.other;
        if document.serves_nothing() {
            return bad(self.seq, "but it is limited to its command, and names none");
        }
        let Some(exact) = document.command.as_ref().filter(|_| document.exact == 1) else { return Ok(()) };
        if exact.digest(&document.run_as) != self.command {
            return bad(self.seq, "with another command, and it is exact");
        }
        if let Some(seq) = command {
            return bad(seq, "with another command, and it is exact");
        }
        // Files to edit are identified by their path.
        if !exact.cwd.as_bytes().is_empty() && (digest_of(exact.cwd.as_bytes()) != self.cwd || cwd.is_some()) {
            return bad(cwd.unwrap_or(self.seq), "in another directory, and it is exact");
        }
        if let Some((name, seq)) = self.loaded.iter().find(|(name, _)| !exact.names(name)) {
            return bad(*seq, &format!("with {name}, which the request did not name, and it is exact"));
        }
        Ok(())
    }
}

/// Stores a value with the first run that has it.
fn note<T: PartialEq>(seen: &mut Vec<(T, u64)>, said: Option<T>, seq: u64) {
    if let Some(said) = said.filter(|said| !seen.iter().any(|(known, _)| known == said)) {
        seen.push((said, seq));
    }
}

fn digest(start: &Command<'_>) -> [u8; 32] {
    let ids = (start.run_as_uid, start.run_as_gid, start.run_as_groups.as_slice());
    command_digest(start.run_as.as_bytes(), &start.path, &start.argv, &start.sha256.0, ids)
}
