//! Requests, approvals and grants as the exact bytes that are stored, hashed and signed: compact JSON, keys sorted at
//! every depth, only strings, integers, lists and objects of them. For that reason the fields below are in alphabetical
//! order.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use super::host::HostDescriptor;
use crate::clock::duration::Seconds;
use crate::clock::{Moment, Timestamp};
use crate::escape::{Word, command_line};
use crate::names::{GrantId, Person, RoleName, UserName};

/// The version of every format in this module.
pub const VERSION: u32 = 2;

/// The maximum size of encoded terms in bytes: enough for 2 MiB of arguments, all escaped.
pub const TERMS_LIMIT: usize = 16 << 20;

/// Additions of later versions, by name. A reader ignores those that it does not know, unless `critical` names them.
pub type Extensions = BTreeMap<String, String>;

/// Terms of this version.
pub trait Terms: DeserializeOwned + Serialize {
    /// The maximum size of their exact bytes.
    const LIMIT: usize = TERMS_LIMIT;
    /// Returns the version, [`VERSION`].
    fn version(&self) -> u32;
    /// Returns the names of the extensions that a reader must know.
    fn critical(&self) -> &[String];
    /// Returns the additions.
    fn extensions(&self) -> &Extensions;
}

macro_rules! terms {
    ($($name:ty $(, up to $limit:expr)?);*) => {
        $(impl $crate::grant::terms::Terms for $name {
            $(const LIMIT: usize = $limit;)?
            fn version(&self) -> u32 {
                self.version
            }
            fn critical(&self) -> &[String] {
                &self.critical
            }
            fn extensions(&self) -> &$crate::grant::terms::Extensions {
                &self.extensions
            }
        })*
    };
}
pub(crate) use terms;
terms!(RequestTerms; ApprovalTerms; GrantTerms);

/// Why bytes are not valid terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermsFault {
    /// An earlier version wrote them.
    Earlier,
    /// A later version wrote them.
    Later,
    /// They require this extension, which is unknown.
    Critical(String),
    /// They are not in the form that this version writes.
    Malformed,
}

impl TermsFault {
    /// Determines the fault from the version in the bytes, if there is one.
    pub fn of_version(bytes: &[u8]) -> Self {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(1) => Self::Earlier,
            Some(version) if version > u64::from(VERSION) => Self::Later,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for TermsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earlier => f.write_str("it was made by an earlier version; ask again"),
            Self::Later => f.write_str("it was made by a later version, which this one cannot read"),
            Self::Critical(key) => {
                let key = crate::escape::escape(key.as_bytes());
                write!(f, "it requires \"{key}\", which this version does not know")
            }
            Self::Malformed => f.write_str("its terms are not readable"),
        }
    }
}

/// A flag, encoded as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Flag {
    /// 0
    No,
    /// 1
    Yes,
}

impl Flag {
    /// Returns whether it is [`Flag::Yes`].
    pub fn is_set(self) -> bool {
        self == Self::Yes
    }

    /// Returns `Yes` if one of the two is set, which is the stricter limit.
    pub fn or(self, other: Self) -> Self {
        if self.is_set() { self } else { other }
    }
}

impl From<bool> for Flag {
    fn from(set: bool) -> Self {
        if set { Self::Yes } else { Self::No }
    }
}

impl From<Flag> for u8 {
    fn from(flag: Flag) -> u8 {
        u8::from(flag.is_set())
    }
}

impl TryFrom<u8> for Flag {
    type Error = &'static str;
    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::No),
            1 => Ok(Self::Yes),
            _ => Err("a flag is 0 or 1"),
        }
    }
}

fn no() -> Flag {
    Flag::No
}

fn is_no(flag: &Flag) -> bool {
    !flag.is_set()
}

/// How the names of variables begin that the program loader obeys (ld.so(8)): an exact command has those of its request only.
pub const LOADER: &[u8] = b"LD_";

/// The command of a request: everything that an exact grant covers except the name of the run-as user, which is stored
/// beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandTerms {
    /// The path by which rules identify the program, and the arguments; never empty.
    #[serde(deserialize_with = "some_words")]
    pub argv: Vec<Word>,
    /// The working directory.
    pub cwd: Word,
    /// The variables that the requester sets for it, `NAME=VALUE`, sorted. Nothing else comes from the caller.
    pub environment: Vec<Word>,
    /// The canonical path of the program; `sudoedit` when files are edited.
    pub path: Word,
    /// SHA-256 of the program, lower-case hexadecimal.
    pub program: String,
    /// The gid that it runs with.
    pub run_as_gid: u32,
    /// The supplementary groups, sorted.
    pub run_as_groups: Vec<u32>,
    /// The uid that it runs with.
    pub run_as_uid: u32,
}

/// Rejects an empty command: it would look like a request for the whole role.
fn some_words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Word>, D::Error> {
    let words = Vec::deserialize(deserializer)?;
    if words.is_empty() { Err(serde::de::Error::invalid_length(0, &"at least one word")) } else { Ok(words) }
}

impl CommandTerms {
    /// Returns the size of its arguments, directory and variables, in bytes as written.
    pub fn written_length(&self) -> usize {
        let words = self.argv.iter().chain(&self.environment).chain([&self.cwd, &self.path]);
        words.map(|word| word.written_length().saturating_add(3)).fold(0, usize::saturating_add)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTerms {
    /// Set when it was granted without approval, in an emergency; absent otherwise.
    #[serde(default = "no", skip_serializing_if = "is_no")]
    pub break_glass: Flag,
    /// The requested command; absent for the whole role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandTerms>,
    /// Seconds since 1970.
    pub created: i64,
    /// The names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// When the pending request expires, in seconds since 1970.
    pub deadline: i64,
    /// The requested duration in seconds.
    pub duration: Seconds,
    /// Limited to the exact command.
    pub exact: Flag,
    /// The grant whose runs this one shall continue; absent in an ordinary request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// Additions of later versions.
    pub extensions: Extensions,
    /// The host on which it was made.
    pub host: HostDescriptor,
    /// The id of the request and of its grant.
    pub id: GrantId,
    /// The number of approvals that it needs at least; 0 where it is granted at once.
    pub needed: u32,
    /// Limited to one run.
    pub one_shot: Flag,
    /// The requester's reason.
    pub reason: Word,
    /// The role.
    pub role: RoleName,
    /// The digest of that role's power ([`crate::policy::RolePower`]) at that time, lower-case hexadecimal.
    pub role_digest: String,
    /// The run-as user.
    pub run_as: UserName,
    /// The earliest start; 0 for immediately.
    pub start: i64,
    /// The ticket; empty when there is none.
    pub ticket: Word,
    /// The requester's uid.
    pub uid: u32,
    /// The requester's name at that time.
    pub user: UserName,
    /// [`VERSION`].
    pub version: u32,
}

/// An approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalTerms {
    /// The approver: an account of the host, which alone determines the uid.
    pub approver: UserName,
    /// The time in seconds since 1970, by the clock of the machine on which it was given.
    pub at: i64,
    /// The comment; empty when there is none.
    pub comment: Word,
    /// The names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// The maximum duration in seconds; 0 for the requested one.
    pub duration: Seconds,
    /// Limited to the exact command.
    pub exact: Flag,
    /// Additions of later versions.
    pub extensions: Extensions,
    /// The id of the host it is for ([`super::HostId`]).
    pub host: String,
    /// The id of the request.
    pub id: GrantId,
    /// Limited to one run.
    pub one_shot: Flag,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// The role digest of the request.
    pub role_digest: String,
    /// [`VERSION`].
    pub version: u32,
}

/// A grant as the host signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTerms {
    /// SHA-256 of the exact bytes of each approval, lower-case hexadecimal.
    pub approvals: Vec<String>,
    /// The approvers.
    pub approvers: Vec<UserName>,
    /// The expiry on the boot clock of the boot in which it was signed, in microseconds.
    pub boot_deadline: i64,
    /// The id of that boot.
    pub boot_id: String,
    /// Set when no approver approved it (break-glass): an approver must review it. Absent otherwise.
    #[serde(default = "no", skip_serializing_if = "is_no")]
    pub break_glass: Flag,
    /// The requested command; absent for the whole role. Binding when `exact` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandTerms>,
    /// The names of extensions that every reader must know.
    pub critical: Vec<String>,
    /// Limited to the exact command, in its directory, as its user and with its environment.
    pub exact: Flag,
    /// The expiry, in seconds since 1970.
    pub expires: i64,
    /// The grant whose runs this one continues; absent in an ordinary grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// Additions of later versions.
    pub extensions: Extensions,
    /// The id of the only host on which it is valid ([`super::HostId`]).
    pub host: String,
    /// Its id.
    pub id: GrantId,
    /// When it was signed; seconds since 1970.
    pub issued: i64,
    /// Limited to one run.
    pub one_shot: Flag,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// The role that it activates.
    pub role: RoleName,
    /// The role digest of the request: a run needs the permission of the role as it was then and as it is now.
    pub role_digest: String,
    /// The requested run-as user. Binding when `exact` is set.
    pub run_as: UserName,
    /// The start, in seconds since 1970.
    pub starts: i64,
    /// Limited to the boot in which it was signed, because the wall clock was behind the latest time of the journal
    /// then: its validity lies in the clock's future. Absent otherwise.
    #[serde(default = "no", skip_serializing_if = "is_no")]
    pub this_boot: Flag,
    /// The holder's uid.
    pub uid: u32,
    /// The holder's name at that time.
    pub user: UserName,
    /// [`VERSION`].
    pub version: u32,
}

impl GrantTerms {
    /// Returns the SHA-256 digest of the exact bytes: reading and writing use the same ones.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        encode(self).ok().map(|bytes| Sha256::digest(bytes).into())
    }

    /// Returns the holder.
    pub fn person(&self) -> Person {
        Person { uid: self.uid, name: self.user.clone() }
    }

    /// Returns the time until it expires by the first of the clocks that apply.
    pub fn left(&self, moment: &Moment) -> Duration {
        let wall = Timestamp::from_seconds(self.expires).0.saturating_sub(moment.wall.0);
        let boot = self.boot_deadline.saturating_sub(moment.boot.0);
        let micros = if moment.boot_id == self.boot_id { wall.min(boot) } else { wall };
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

impl RequestTerms {
    /// Returns the requester.
    pub fn person(&self) -> Person {
        Person { uid: self.uid, name: self.user.clone() }
    }

    /// Returns the circumstances in which the command would run, which an approver has to see besides its arguments:
    /// run-as user, directory and variables, one line each, escaped and quoted. For a whole role, only the run-as user.
    pub fn circumstances(&self) -> Vec<String> {
        let user = crate::escape::escape(self.run_as.as_str().as_bytes());
        let Some(command) = &self.command else { return vec![format!("as {user}")] };
        let groups: Vec<String> = command.run_as_groups.iter().map(u32::to_string).collect();
        let (uid, gid, groups) = (command.run_as_uid, command.run_as_gid, groups.join(" "));
        let quoted = |word: &Word| command_line([word.as_os_str()]);
        let mut lines = vec![format!("as {user} (uid {uid}, gid {gid}, groups {groups})")];
        // Files to edit are identified by their path.
        lines.extend((!command.cwd.as_bytes().is_empty()).then(|| format!("in {}", quoted(&command.cwd))));
        lines.extend(command.environment.iter().map(|variable| format!("with {}", quoted(variable))));
        lines
    }

    /// Returns the command and its arguments; empty for the whole role.
    pub fn argv(&self) -> &[Word] {
        self.command.as_ref().map_or(&[], |command| &command.argv)
    }
}

/// Encodes terms as exact bytes.
pub fn encode<T: Serialize>(terms: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(terms)
}

/// Decodes exact bytes.
///
/// # Errors
/// For anything that this version would not have written, except optional extensions.
pub fn decode<T: Terms>(bytes: &[u8]) -> Result<T, TermsFault> {
    if bytes.len() > T::LIMIT {
        return Err(TermsFault::Malformed);
    }
    let terms = serde_json::from_slice::<T>(bytes).map_err(|_| TermsFault::of_version(bytes))?;
    if terms.version() != VERSION {
        return Err(TermsFault::of_version(bytes));
    }
    if encode(&terms).ok().as_deref() != Some(bytes) {
        return Err(TermsFault::Malformed);
    }
    match terms.critical().first() {
        None => Ok(terms),
        Some(key) if terms.extensions().contains_key(key) => Err(TermsFault::Critical(key.clone())),
        Some(_) => Err(TermsFault::Malformed),
    }
}

/// Returns the id that invalid bytes contain, for messages.
pub fn claimed_id(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let id = value.get("id").and_then(serde_json::Value::as_str).and_then(|id| GrantId::parse(id).ok());
    id.map_or_else(|| "(unreadable)".to_owned(), |id| id.to_string())
}
