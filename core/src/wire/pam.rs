//! Questions of PAM stacks, asked through the module: who holds a role, and sessions that other programs open.

use super::verb::verb;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, UserName};
use serde::{Deserialize, Serialize};

/// Does somebody hold a role as a whole at this moment? Anyone about themselves, root about everybody.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Who; the caller when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Which role; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Where a request of theirs is pending, wait for its decision, at most so many seconds.
    #[serde(default)]
    pub wait: u64,
}

verb!("membership", Membership => "membership", MembershipInfo);

verb!("open-session", NewSession => "session", LoginInfo);

/// Such a session is closed by a program that has lost the line: root only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseSession {
    /// Its run.
    pub run: String,
}

verb!("close-session", CloseSession => "closed", Closed);

/// Whom a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// By name.
    User(UserName),
    /// By number, as the kernel told it.
    Uid(u32),
}

/// Whether somebody holds a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipInfo {
    /// Under a grant that is verified and active now, or by a standing assignment.
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
    /// Seconds until then, by the clock that is ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Where they do not hold it: the request that still waits for its decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<GrantId>,
}

/// A session that a program opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// Who has to hold the role.
    pub holder: Holder,
    /// Which role; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// As whom the session runs.
    pub run_as: UserName,
    /// The service, such as `sshd`.
    pub service: Word,
    /// The terminal, where one is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Word>,
    /// From which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Word>,
    /// The program: what it begets from now on is the session.
    pub pid: i32,
}

/// A session that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginInfo {
    /// The id of its records.
    pub run: String,
    /// The role.
    pub role: RoleName,
    /// The grant; absent for a standing assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Seconds until it is ended; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}

/// A session that another program has opened is closed, and its end is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {}
