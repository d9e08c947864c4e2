//! What is asked, approved and granted, as the exact bytes that are stored, hashed and signed: compact JSON, keys sorted,
//! only strings and integers (and lists of strings). The fields below stand in alphabetical order for that reason.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Timestamp};
use crate::escape::Word;
use crate::names::{GrantId, RoleName, UserName};

/// The version of all three formats.
pub const VERSION: u32 = 1;

/// The longest encoded terms in bytes: room for 2 MiB of arguments, all escaped.
pub const TERMS_LIMIT: usize = 16 << 20;

/// A flag that is an integer on paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Flag {
    /// 0
    No,
    /// 1
    Yes,
}

impl Flag {
    /// True for [`Flag::Yes`].
    pub fn is_set(self) -> bool {
        self == Self::Yes
    }

    /// The narrower of two.
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

/// A request as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTerms {
    /// The command asked for, resolved path first; empty for the whole role.
    pub argv: Vec<Word>,
    /// Granted without approval, in an emergency; absent otherwise.
    #[serde(default = "no", skip_serializing_if = "is_no")]
    pub break_glass: Flag,
    /// Seconds since 1970.
    pub created: i64,
    /// When a pending request dies; seconds since 1970.
    pub deadline: i64,
    /// Seconds asked for.
    pub duration: u64,
    /// Only the very command.
    pub exact: Flag,
    /// The grant whose runs this shall let go on; absent in an ordinary request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The host it was made on ([`super::HostId`]).
    pub host: String,
    /// The id of the request and of its grant.
    pub id: GrantId,
    /// Only one run.
    pub one_shot: Flag,
    /// SHA-256 of the executable, lower-case hexadecimal; empty without a command.
    pub program: String,
    /// The words of the requester.
    pub reason: Word,
    /// For which role.
    pub role: RoleName,
    /// As whom.
    pub run_as: UserName,
    /// Not before this time; 0 for at once.
    pub start: i64,
    /// Empty when there is none.
    pub ticket: Word,
    /// The requester.
    pub uid: u32,
    /// The requester's name at that time.
    pub user: UserName,
    /// [`VERSION`].
    pub version: u32,
}

/// An approval as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalTerms {
    /// By whom: an account of the host, which alone says which uid that is.
    pub approver: UserName,
    /// Seconds since 1970, by the clock of the machine on which it was given.
    pub at: i64,
    /// Empty when there is none.
    pub comment: Word,
    /// At most this many seconds; 0 for what was asked.
    pub duration: u64,
    /// Only the very command.
    pub exact: Flag,
    /// The host it is for.
    pub host: String,
    /// The id of the request.
    pub id: GrantId,
    /// Only one run.
    pub one_shot: Flag,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// [`VERSION`].
    pub version: u32,
}

/// A grant as the host signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTerms {
    /// SHA-256 of the exact bytes of each approval, lower-case hexadecimal.
    pub approvals: Vec<String>,
    /// Who approved.
    pub approvers: Vec<UserName>,
    /// The command it was asked for, resolved path first; empty for the whole role. Binding when `exact` is set.
    pub argv: Vec<Word>,
    /// The end on the boot clock of the boot in which it was signed, in microseconds.
    pub boot_deadline: i64,
    /// That boot.
    pub boot_id: String,
    /// Nobody approved it: the glass was broken, and an approver is to review it. Absent otherwise.
    #[serde(default = "no", skip_serializing_if = "is_no")]
    pub break_glass: Flag,
    /// Serves only the very command and binary.
    pub exact: Flag,
    /// The end; seconds since 1970.
    pub expires: i64,
    /// The grant whose runs this lets go on; absent in an ordinary grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The only host it is good for ([`super::HostId`]).
    pub host: String,
    /// Its id.
    pub id: GrantId,
    /// When it was signed; seconds since 1970.
    pub issued: i64,
    /// Serves only one run.
    pub one_shot: Flag,
    /// SHA-256 of the executable, lower-case hexadecimal; empty without a command. Binding when `exact` is set.
    pub program: String,
    /// SHA-256 of the exact bytes of the request, lower-case hexadecimal.
    pub request: String,
    /// Which role it activates.
    pub role: RoleName,
    /// As whom the command was asked for. Binding when `exact` is set.
    pub run_as: UserName,
    /// The begin; seconds since 1970.
    pub starts: i64,
    /// The holder.
    pub uid: u32,
    /// The holder's name at that time.
    pub user: UserName,
    /// [`VERSION`].
    pub version: u32,
}

impl GrantTerms {
    /// The time until it ends on the first of the clocks that know it.
    pub fn left(&self, moment: &Moment) -> Duration {
        let wall = Timestamp::from_seconds(self.expires).0.saturating_sub(moment.wall.0);
        let boot = self.boot_deadline.saturating_sub(moment.boot.0);
        let micros = if moment.boot_id == self.boot_id { wall.min(boot) } else { wall };
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// Terms as exact bytes.
pub fn encode<T: Serialize>(terms: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(terms)
}

/// Reads exact bytes; anything that this version would not have written itself is refused.
pub fn decode<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    if bytes.len() > TERMS_LIMIT {
        return None;
    }
    let terms: T = serde_json::from_slice(bytes).ok()?;
    (encode(&terms).ok()? == bytes).then_some(terms)
}
