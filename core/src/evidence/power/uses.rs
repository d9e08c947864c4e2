//! Runs under grants: each is compared with the grant that it names.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::acts::{Act, inconsistency};
use super::documents::GrantDocument;
use super::runs::Command;
use super::said::{Id, Names, Recorded, Terms, digest_of};
use super::{Copies, FirstBad, Power, Table};
use crate::clock::Timestamp;
use crate::escape::{Word, unhex};

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
}

/// The command of an exact grant.
#[derive(Debug, Deserialize)]
pub(super) struct CommandDocument {
    argv: Vec<Word>,
    cwd: Word,
    path: Word,
    program: String,
    run_as_uid: i64,
    run_as_gid: i64,
    run_as_groups: Vec<i64>,
}

impl CommandDocument {
    fn digest(&self, run_as: &str) -> [u8; 32] {
        let program = unhex(&self.program).unwrap_or_default();
        let ids = (self.run_as_uid, self.run_as_gid, self.run_as_groups.as_slice());
        command_digest(run_as.as_bytes(), &self.path, &self.argv, &program, ids)
    }
}

fn command_digest(
    run_as: &[u8],
    path: &Word,
    argv: &[Word],
    program: &[u8; 32],
    (uid, gid, groups): (i64, i64, &[i64]),
) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(u64::try_from(argv.len()).unwrap_or(u64::MAX).to_be_bytes());
    for word in [run_as, path.as_bytes()].into_iter().chain(argv.iter().map(Word::as_bytes)) {
        // A word may hold any byte.
        digest.update(u64::try_from(word.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(word);
    }
    digest.update(program);
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    for id in [uid, gid].iter().chain(&groups) {
        digest.update(id.to_be_bytes());
    }
    digest.finalize().into()
}

impl Power {
    /// Processes record `seq`, the start of a run under a grant.
    pub(super) fn used(&mut self, seq: u64, copies: &Copies<'_>, id: Id, start: &Command<'_>) -> Result<(), FirstBad> {
        let who = (
            copies.uid.unwrap_or(-1),
            self.names.of(start.user.as_bytes()),
            self.names.of(start.role.unwrap_or_default().as_bytes()),
        );
        let boot = (self.names.of(start.boot_id.as_bytes()), start.boot);
        let (identity, accepted) = (self.kept.identity, self.kept.accepted);
        let now = Timestamp(self.last).seconds();
        let (said, follows) = self.act(seq, id, Act::Use);
        let before = said.starts > 0;
        let wrong = said.grant.and_then(|issued| Some((issued.seq, differs(&issued.terms, who, now, before)?)));
        let fits = wrong.map_or(Ok(()), |(issued, what)| {
            Err(inconsistency(seq, format!("is the start of a run under grant {id} of record {issued}: {what}")))
        });
        let outlived = accepted.filter(|accepted| said.grant.is_none_or(|issued| issued.seq < *accepted));
        let living = outlived.map_or(Ok(()), |accepted| {
            let what = "by which root accepted the state of the host, and all grants ended";
            Err(inconsistency(
                seq,
                format!("is the start of a run under grant {id}, which is older than record {accepted}, {what}"),
            ))
        });
        if said.starts == 0 {
            said.first = Timestamp(copies.at).seconds();
        }
        said.starts = said.starts.saturating_add(1);
        let used = said.used.get_or_insert_with(|| Box::new(Used::first(seq, who, now, start)));
        used.take(seq, who, now, start);
        match used.boots.iter_mut().find(|(id, _)| *id == boot.0) {
            Some((_, last)) => *last = boot.1.max(*last),
            None => used.boots.push(boot),
        }
        note(&mut used.hosts, identity, seq);
        note(&mut used.bytes, start.grant_sha256.map(|digest| digest.0), seq);
        follows.and(fits).and(living)
    }

    /// Processes record `seq`, the end of a run that started under `base` and continued under `last`.
    pub(super) fn gone_on(&mut self, seq: u64, base: Id, last: Id) -> Result<(), FirstBad> {
        let (said, follows) = self.act(seq, last, Act::GoneOn);
        let before = said.went_on;
        match before {
            None => said.went_on = Some(seq),
            Some(_) => said.again = said.again.or(Some(seq)),
        }
        let one_shot = said.grant.is_some_and(|issued| issued.terms.one_shot);
        let alone = before.filter(|_| one_shot).map_or(Ok(()), |before| {
            let what = format!("ends a run that continued under {last}, as that of record {before}: it is for one run");
            Err(inconsistency(seq, what))
        });
        let leads = match self.leads(base, last) {
            Some(true) => Ok(()),
            Some(false) => {
                let what = format!("ends a run under {base} that continued under {last}, which does not extend that");
                Err(inconsistency(seq, what))
            }
            None if self.pruned.is_some() => {
                self.unproven.insert((base, last), seq);
                Ok(())
            }
            None => Err(inconsistency(seq, format!("names grant {base}, which no earlier record mentions"))),
        };
        follows.and(alone).and(leads)
    }

    /// Returns whether `last` extends `base`, perhaps through other grants, for the same user in the same role; `None`
    /// when that is unknown.
    fn leads(&self, base: Id, last: Id) -> Option<bool> {
        let terms = |id: &Id| self.said.get(id).and_then(Recorded::terms);
        let first = terms(&base)?;
        let mut at = last;
        // No grant extends itself: each is younger than the one that it extends.
        for _ in 0..self.said.len() {
            let here = terms(&at)?;
            if here.holder() != first.holder() {
                return Some(false);
            }
            match here.extends {
                None => return Some(false),
                Some(next) if next == base => return Some(true),
                Some(next) => at = next,
            }
        }
        Some(false)
    }

    /// Checks the extensions that were unknown when their runs ended, now that all rows are known.
    pub(super) fn end_of_extended(&mut self) {
        for ((base, last), seq) in std::mem::take(&mut self.unproven) {
            if self.leads(base, last) != Some(true) {
                let what = format!(
                    "record {seq} ends a run under {base} that continued under it, and it does not extend that"
                );
                self.differs(Table::Granted, &last.to_string(), what);
            }
        }
    }
}

/// Returns how a run by `who` at `now` (seconds since 1970) differs from the terms of its grant.
fn differs(terms: &Terms, who: (i64, u32, u32), now: i64, before: bool) -> Option<String> {
    let time = |seconds| Timestamp::from_seconds(seconds).to_the_second();
    if (terms.uid, terms.user) != (who.0, who.1) {
        Some("it was given to another user".to_owned())
    } else if terms.role != who.2 {
        Some("it was given for another role".to_owned())
    } else if now < terms.starts {
        Some(format!("it starts at {}", time(terms.starts)))
    } else if now >= terms.expires {
        Some(format!("it ended at {}", time(terms.expires)))
    } else if terms.one_shot && terms.extends.is_some() {
        Some("it continues one run and permits no new one".to_owned())
    } else if terms.one_shot && before {
        Some("it is for one run, and it was used before".to_owned())
    } else {
        None
    }
}

impl Used {
    fn first(seq: u64, who: (i64, u32, u32), now: i64, start: &Command<'_>) -> Self {
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
        }
    }

    fn take(&mut self, seq: u64, who: (i64, u32, u32), now: i64, start: &Command<'_>) {
        (self.earliest, self.latest) = (self.earliest.min(now), self.latest.max(now));
        let same = [who == self.who, digest(start) == self.command, digest_of(start.cwd.as_bytes()) == self.cwd];
        for (other, same) in self.other.iter_mut().zip(same) {
            *other = other.or((!same).then_some(seq));
        }
    }

    /// Checks that the bytes of the grant permit the runs.
    pub(super) fn compare(
        &self,
        said: &Recorded,
        (document, body): (&GrantDocument, &[u8]),
        names: &mut Names,
    ) -> Result<(), String> {
        let bad = |seq: u64, what: &str| Err(format!("record {seq} is the start of a run under it {what}"));
        let [person, ..] = self.other;
        if said.grant.is_none() {
            let who = (document.uid, names.of(document.user.as_bytes()), names.of(document.role.as_bytes()));
            if self.who != who || person.is_some() {
                return bad(
                    person.filter(|_| self.who == who).unwrap_or(self.seq),
                    "by another user or in another role",
                );
            }
            if self.earliest < document.starts || self.latest >= document.expires {
                return bad(self.seq, "or one that follows, outside of its time");
            }
        }
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
