//! Questions of the PAM module: whether a user holds a role, and sessions that other programs open.

use super::verb::verb;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, RunId, UserName};
use serde::{Deserialize, Serialize};

/// Ask whether a user now holds a whole role: the caller about themselves, root about everybody.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Which user; the caller when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Which role; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// If the user has a pending request, wait for its decision for at most this many seconds.
    #[serde(default)]
    pub wait: Seconds,
}

verb!("membership", Membership => "membership", MembershipInfo);

verb!("open-session", NewSession => "session", LoginInfo);

/// Close a session that a program opened and whose socket to the supervisor the program has lost: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseSession {
    /// The run of the session.
    pub run: RunId,
}

verb!("close-session", CloseSession => "closed", Closed);

/// The user whom a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// By user name.
    User(UserName),
    /// By uid.
    Uid(u32),
}

/// The answer to [`Membership`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipInfo {
    /// Whether the user holds the role, by a verified active grant or by a standing assignment.
    pub holds: bool,
    /// Which role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The grant; absent for a standing assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// When the grant ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Seconds until the grant ends, by the clock that ends it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Seconds>,
    /// A pending request of a user who does not hold the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<GrantId>,
}

/// Open a session for another program: root only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The user who has to hold the role.
    pub holder: Holder,
    /// Which role; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The user as whom the session runs.
    pub run_as: UserName,
    /// The PAM service, such as `sshd`.
    pub service: Word,
    /// The terminal, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// The remote host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Word>,
    /// The pid of the program. The processes that it starts from now on belong to the session.
    pub pid: i32,
}

/// A session that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginInfo {
    /// The run id in the records.
    pub run: RunId,
    /// The role.
    pub role: RoleName,
    /// The grant; absent for a standing assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Seconds until the session is ended; absent if it is not ended with its grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Seconds>,
}

/// A session that was closed, with its end recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {}
