//! Rows of `certification` and `journal_meta`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::acts::inconsistency;
use super::names::digest_of;
use super::requests::{closed, spoken};
use super::rows::EndColumns;
use super::said::{CloseKind, Done};
use super::{Power, Table};
use crate::clock::Timestamp;
use crate::escape::Word;
use crate::evidence::acceptance::ACCEPTED;
use crate::evidence::copies::Copies;
use crate::evidence::faults::{Cause, FirstBad};
use crate::evidence::key_event::{RETIREMENT, ROTATION};
use crate::evidence::record::parse;
use crate::grant::HostDescriptor;

/// A row of `certification`.
#[derive(Debug, Clone, Copy)]
pub struct CertificationRow<'r> {
    /// The role.
    pub role: &'r str,
    /// The user or group that it is about.
    pub holder: &'r str,
    /// The verdict.
    pub verdict: &'r str,
    /// Who gave it, when, and the comment.
    pub reviewed: EndColumns<'r>,
}

/// A row of `journal_meta`.
#[derive(Debug, Clone, Copy)]
pub struct MetaRow<'r> {
    /// Its name.
    pub name: &'r str,
    /// Its value.
    pub value: &'r [u8],
}

/// What the records say of these tables.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By role and holder: the verdict, and who gave it.
    certified: BTreeMap<(String, String), (String, Done)>,
    /// The last alerts of their kinds.
    older: u64,
    /// The last of these alerts, unless root has accepted the state of the host since.
    pub(super) doubted: Option<u64>,
    /// The last record so far by which root accepted the state of the host.
    pub(super) accepted: Option<u64>,
    pub(super) host_changed: u64,
    /// The last rotation of the host key, and the last retirement.
    rotated: u64,
    pub(super) retired: u64,
    /// The id of the host since then; `None` when no record gives it.
    pub(super) identity: Option<u32>,
    redaction_key: bool,
    host: bool,
    restored: bool,
}

#[derive(Deserialize)]
struct Certified<'a> {
    user: Word,
    holder: Word,
    role: &'a str,
    verdict: &'a str,
    comment: Word,
}

#[derive(Deserialize)]
struct Rotated {
    identity: HostDescriptor,
}

#[derive(Deserialize)]
struct Alerted<'a> {
    code: &'a str,
    identity: Option<HostDescriptor>,
}

impl Power {
    /// Processes the next record for these tables.
    pub(super) fn kept(&mut self, seq: u64, copies: &Copies<'_>, body: &[u8]) -> Result<(), FirstBad> {
        let malformed = |error: serde_json::Error| FirstBad { seq, cause: Cause::Malformed(error.to_string()) };
        match (copies.kind, copies.grant) {
            ("review", None) => {
                let said: Certified<'_> = parse(body).map_err(malformed)?;
                let (by, at) = (self.names.of(said.user.as_bytes()), Timestamp(copies.at).seconds());
                let done =
                    Done { how: CloseKind::Settled, by, at, high: at, words: digest_of(said.comment.as_bytes()) };
                let Ok(holder) = std::str::from_utf8(said.holder.as_bytes()).map(str::to_owned) else {
                    return Err(inconsistency(
                        seq,
                        "reviews an assignment of somebody whose name is no text".to_owned(),
                    ));
                };
                self.kept.certified.insert((said.role.to_owned(), holder), (said.verdict.to_owned(), done));
                if said.verdict == "settled" {
                    return Err(inconsistency(seq, "settles the review of a grant, and names none".to_owned()));
                }
            }
            ("alert", _) => {
                let said: Alerted<'_> = parse(body).map_err(malformed)?;
                match said.code {
                    "database-older" => (self.kept.older, self.kept.doubted) = (seq, Some(seq)),
                    ACCEPTED => (self.kept.doubted, self.kept.accepted) = (None, Some(seq)),
                    "host-changed" => self.kept.host_changed = seq,
                    _ => return Ok(()),
                }
                if ["host-changed", ACCEPTED].contains(&said.code) {
                    self.kept.identity = said.identity.as_ref().map(|host| self.names.of(host.id.as_bytes()));
                    self.hosts.became(seq, said.identity.as_ref())?;
                }
            }
            (ROTATION, _) => {
                let said: Rotated = parse(body).map_err(malformed)?;
                (self.kept.rotated, self.kept.identity) = (seq, Some(self.names.of(said.identity.id.as_bytes())));
                self.hosts.became(seq, Some(&said.identity))?;
            }
            // As an older database, a retired host permits nothing until root accepts its state.
            (RETIREMENT, _) => {
                (self.kept.older, self.kept.doubted, self.kept.retired) = (seq, Some(seq), seq);
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares the next row.
    pub fn certification(&mut self, row: &CertificationRow<'_>) {
        let said = self.kept.certified.remove(&(row.role.to_owned(), row.holder.to_owned()));
        let what = match said {
            Some((verdict, _)) if verdict != row.verdict => Some(format!("the journal says {}", spoken(&verdict))),
            Some((_, done)) => closed(&row.reviewed, &done, &self.names).err(),
            None if self.pruned.is_some() => None,
            None => Some("the journal has no record of it".to_owned()),
        };
        if let Some(what) = what {
            self.differs(Table::Certification, row.role, format!("about {}: {what}", spoken(row.holder)));
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_certifications(&mut self) {
        for (role, holder) in std::mem::take(&mut self.kept.certified).into_keys() {
            self.differs(Table::Certification, &role, format!("about {}: its row is missing", spoken(&holder)));
        }
    }

    /// Compares the next row.
    pub fn meta(&mut self, row: &MetaRow<'_>) {
        let what = match row.name {
            "redaction_key" => {
                self.kept.redaction_key = true;
                (row.value.len() != 32).then_some("it is not 32 bytes")
            }
            "host" => {
                self.kept.host = true;
                let since = self.kept.host_changed.max(self.kept.rotated).max(self.accepted);
                let named = self.hosts.newest.as_ref().filter(|(seq, _)| *seq > since);
                let other = named.is_some_and(|(_, id)| id.as_bytes() != row.value);
                other.then_some("it is not the host of the newest request")
            }
            "restored" => {
                self.kept.restored = true;
                let said = self.kept.older > self.accepted || self.pruned.is_some();
                (!said).then_some("no alert says that the database is an older copy")
            }
            "pruned" | "unsealed" | "backup" => None,
            name if ["stored:", "recorded:", "limit:", "failed:", "certificate:"]
                .iter()
                .any(|known| name.starts_with(known)) =>
            {
                None
            }
            _ => Some("the name is unknown"),
        };
        if let Some(what) = what {
            self.differs(Table::JournalMeta, row.name, what.to_owned());
        }
    }

    /// Ends the table and reports missing rows.
    pub fn end_of_meta(&mut self) {
        let missing = [
            ("redaction_key", !self.kept.redaction_key),
            ("host", !self.kept.host && self.hosts.newest.is_some()),
            ("restored", !self.kept.restored && self.kept.older > self.accepted),
        ];
        for (name, _) in missing.into_iter().filter(|(_, missing)| *missing) {
            self.differs(Table::JournalMeta, name, "its row is missing".to_owned());
        }
    }

    /// Sets the key of the journal; called before the rows of the compiled policy.
    pub fn journal_key(&mut self, key: Option<Vec<u8>>) {
        self.key = key;
    }
}
