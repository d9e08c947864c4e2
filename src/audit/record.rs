//! The events that the journal keeps, and the exact bytes of a record (docs/formats.md, "Records").
//! May not: touch a database or a sink.
//!
//! Every text that comes from a person or a caller is a [`Word`], so that no record holds a control character.
//! Booleans and floating numbers do not occur; an absent value is an absent key.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::grant_event::{Approval, Cancellation, Denial, Grant, Limit, Release, Request, Revocation};
pub use super::run_event::{Alert, Assignment, Authentication, End, EndedBy, Ending, Reject, Start, Variable};
use crate::clock::{Moment, Timestamp};
use crate::escape::{Word, hex, unhex};
use crate::names::GrantId;

/// The version of the record format that this build writes.
pub const VERSION: u32 = 1;

/// A SHA-256 digest; lower-case hexadecimal in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// `prev` of the first record.
    pub const ZERO: Self = Self([0; 32]);
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// One record: where it stands in the chain, when and where it was made, and what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number; the first is 1, and there is no gap.
    pub seq: u64,
    /// The hash of the record before; zeros in the first.
    pub prev: Digest,
    /// Wall time, µs since 1970.
    pub time: Timestamp,
    /// Boot clock, µs since the kernel booted.
    pub boot: i64,
    /// Which boot; see `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The name of the host.
    pub host: Word,
    /// The version of this format.
    pub version: u32,
    /// `kind` and the keys that belong to it.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// Puts `event` behind the record whose hash is `prev`.
    pub fn new(seq: u64, prev: Digest, moment: &Moment, host: &str, event: Event) -> Self {
        Self {
            seq,
            prev,
            time: moment.wall,
            boot: moment.boot.0,
            boot_id: moment.boot_id.clone(),
            host: host.into(),
            version: VERSION,
            event,
        }
    }

    /// The exact bytes: one compact JSON object with sorted keys. They are made once, stored and hashed as they are.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        // A `Value` keeps its keys in a BTreeMap, so they come out sorted at every depth.
        Ok(serde_json::to_value(self)?.to_string())
    }

    /// Reads exact bytes back. Keys that a later minor version added are ignored.
    pub fn decode(body: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(body)
    }
}

/// What happened; the variant's name is the record's `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A command is about to run.
    Start(Box<Start>),
    /// It has ended.
    End(Box<End>),
    /// The program said no.
    Reject(Box<Reject>),
    /// Somebody asked for a grant.
    Request(Box<Request>),
    /// An approver agreed.
    Approval(Box<Approval>),
    /// An approver refused.
    Denial(Box<Denial>),
    /// The requester took the request back.
    Cancellation(Box<Cancellation>),
    /// A grant was signed.
    Grant(Box<Grant>),
    /// A grant was ended by others.
    Revocation(Box<Revocation>),
    /// A grant was given back by its holder.
    Release(Box<Release>),
    /// Something that a person must look at.
    Alert(Box<Alert>),
}

/// The keys of an event by which records are searched; the journal keeps copies of them in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys<'a> {
    /// The kind's word.
    pub kind: &'a str,
    /// Who did it.
    pub uid: Option<u32>,
    /// In which run.
    pub run: Option<&'a str>,
    /// Under which grant or request.
    pub grant: Option<&'a str>,
}

impl Event {
    /// What to search by.
    pub fn keys(&self) -> Keys<'_> {
        let (kind, uid, run, grant) = match self {
            Self::Start(e) => ("start", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str)),
            Self::End(e) => ("end", Some(e.uid), Some(e.run.as_str()), e.grant.as_ref().map(GrantId::as_str)),
            Self::Reject(e) => ("reject", Some(e.uid), None, None),
            Self::Request(e) => ("request", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Approval(e) => ("approval", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Denial(e) => ("denial", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Cancellation(e) => ("cancellation", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Grant(e) => ("grant", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Revocation(e) => ("revocation", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Release(e) => ("release", Some(e.uid), None, Some(e.grant.as_str())),
            Self::Alert(e) => ("alert", e.uid, e.run.as_deref(), e.grant.as_ref().map(GrantId::as_str)),
        };
        Keys { kind, uid, run, grant }
    }
}
