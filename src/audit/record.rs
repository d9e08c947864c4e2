//! The events that the journal keeps, and the exact bytes of a record (docs/formats.md, "Records").
//! May not: touch a database or a sink.
//!
//! Every text that comes from a person or a caller is a [`Word`], so that no record holds a control character.
//! Booleans and floating numbers do not occur; an absent value is an absent key.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{Moment, Timestamp};
use crate::escape::{Word, hex, unhex};
use crate::names::{GrantId, RoleName};

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

/// A command is about to run. Nothing runs before this record is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The id of this run, 12 characters.
    pub run: String,
    /// The caller's real uid.
    pub uid: u32,
    /// The caller's name.
    pub user: Word,
    /// The caller's real gid.
    pub gid: u32,
    /// The caller's supplementary groups.
    pub groups: Vec<u32>,
    /// The controlling terminal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// The working directory of the command.
    pub cwd: Word,
    /// The process that supervises the command.
    pub pid: i32,
    /// As whom the command runs.
    pub run_as: Word,
    /// Its uid.
    pub run_as_uid: u32,
    /// Its gid.
    pub run_as_gid: u32,
    /// Its supplementary groups.
    pub run_as_groups: Vec<u32>,
    /// The words of the command.
    pub argv: Vec<Word>,
    /// The environment of the command, in its order.
    pub environment: Vec<Variable>,
    /// The path by which the program was opened.
    pub path: Word,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// The role that allows it; absent for root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Through what the caller has the power.
    pub assignment: Assignment,
    /// The grant that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// How the caller proved who they are.
    pub authenticated: Authentication,
}

/// Through what a caller has the power to run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assignment {
    /// An activated grant.
    Grant,
    /// A standing assignment of the role.
    Standing,
    /// The caller is root.
    Root,
}

/// How a caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// PAM asked just now.
    Password,
    /// PAM asked not long ago on this terminal and session.
    Cache,
    /// The role asks for none.
    None,
}

/// One variable of the command's environment: its value, or a keyed digest of it (see [`crate::audit::redact`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Always complete.
    pub name: Word,
    /// The value, unless its name is on the list of secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Word>,
    /// HMAC-SHA256 of a secret value under the journal's redaction key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A command has ended, or its supervisor has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The run.
    pub run: String,
    /// The number of its `start`.
    pub start: u64,
    /// The caller's uid, as in `start`.
    pub uid: u32,
    /// The grant, as in `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
}

/// How a run ended. Exactly one of `exit` and `signal` is there, neither for a lost run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// 1 when it left a core dump, else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<u32>,
    /// Who or what ended it.
    pub ended_by: EndedBy,
    /// From `start` to the end, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// CPU time in user mode, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_us: Option<u64>,
    /// CPU time in the kernel, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_us: Option<u64>,
    /// Peak resident set, KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rss_kib: Option<u64>,
    /// More words, such as why it could not be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Word>,
}

impl Ending {
    /// An ending of which nothing more is known.
    pub fn unknown(ended_by: EndedBy) -> Self {
        Self {
            exit: None,
            signal: None,
            core: None,
            ended_by,
            duration_us: None,
            user_us: None,
            system_us: None,
            max_rss_kib: None,
            detail: None,
        }
    }
}

/// Who or what ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// The command ended by itself, or was killed by somebody else than us.
    Itself,
    /// The grant expired and we ended it.
    Expiry,
    /// The grant was revoked and we ended it.
    Revocation,
    /// The grant was given back and we ended it.
    Release,
    /// The supervisor was told to end by a signal, and passed it on.
    Signal,
    /// It was recorded but could not be executed; `detail` says why.
    NotExecuted,
    /// The supervisor vanished; nobody knows how the command ended.
    Lost,
}

/// The program said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// The caller's real uid.
    pub uid: u32,
    /// The caller's name.
    pub user: Word,
    /// The controlling terminal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// The caller's working directory, when it can be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<Word>,
    /// The command as typed.
    pub argv: Vec<Word>,
    /// As whom, as typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// A stable word for programs.
    pub code: String,
    /// What the caller was told.
    pub sentence: Word,
}

/// A limit that a request, an approval or a grant carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// For one run.
    OneShot,
    /// For the very command and binary asked for.
    Exact,
}

/// Somebody asked for a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The id of the request and of the grant that may come of it.
    pub grant: GrantId,
    /// The requester's uid.
    pub uid: u32,
    /// The requester.
    pub user: Word,
    /// For which role.
    pub role: RoleName,
    /// As whom commands would run.
    pub run_as: Word,
    /// The command asked for; empty for the whole role.
    pub argv: Vec<Word>,
    /// Seconds asked for.
    pub duration: u64,
    /// Not before this time, µs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Timestamp>,
    /// When the pending request dies, µs.
    pub deadline: Timestamp,
    /// Limits asked for.
    pub limits: Vec<Limit>,
    /// Why; empty when none was given.
    pub reason: Word,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// SHA-256 of the stored request's exact bytes.
    pub sha256: Digest,
}

/// An approver agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The request.
    pub grant: GrantId,
    /// The approver's uid.
    pub uid: u32,
    /// The approver.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
    /// Narrowed to this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Narrowed to these limits.
    pub limits: Vec<Limit>,
    /// The approver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// SHA-256 of the approval's exact bytes.
    pub sha256: Digest,
}

/// An approver refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The request.
    pub grant: GrantId,
    /// The approver's uid.
    pub uid: u32,
    /// The approver.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
    /// Why.
    pub reason: Word,
}

/// The requester took the request back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The request.
    pub grant: GrantId,
    /// The uid of who did it.
    pub uid: u32,
    /// Who did it.
    pub user: Word,
    /// The role asked for.
    pub role: RoleName,
}

/// A grant was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub grant: GrantId,
    /// The holder's uid.
    pub uid: u32,
    /// The holder.
    pub user: Word,
    /// Of which role.
    pub role: RoleName,
    /// As whom commands run.
    pub run_as: Word,
    /// When it begins, µs.
    pub starts: Timestamp,
    /// When it ends, µs.
    pub expires: Timestamp,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// Who approved it; empty when the role needs nobody.
    pub approvers: Vec<Word>,
    /// SHA-256 of the signed grant's exact bytes.
    pub sha256: Digest,
}

/// A grant was ended by others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The grant.
    pub grant: GrantId,
    /// The uid of who revoked it.
    pub uid: u32,
    /// Who revoked it.
    pub user: Word,
    /// The holder's uid.
    pub holder_uid: u32,
    /// The holder.
    pub holder: Word,
    /// Its role.
    pub role: RoleName,
    /// Why.
    pub reason: Word,
}

/// A grant was given back by its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The grant.
    pub grant: GrantId,
    /// The holder's uid.
    pub uid: u32,
    /// The holder.
    pub user: Word,
    /// Its role.
    pub role: RoleName,
}

/// Something that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// A stable word for programs.
    pub code: String,
    /// What happened.
    pub sentence: Word,
    /// Whom it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Word>,
    /// Which run it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Which grant it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
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
