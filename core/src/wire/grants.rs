//! Answers about one request, its approvals and its grant.

use serde::{Deserialize, Serialize};

use super::{Background, HostInfo};
use crate::escape::Word;
use crate::grant::CommandTerms;
use crate::names::{GrantId, RoleName, UserName};

/// One request, its approvals and the grant that came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantInfo {
    /// The id of both.
    pub id: GrantId,
    /// `pending`, `approved`, `denied`, `cancelled` or `expired` (of the request).
    pub state: String,
    /// `scheduled`, `active`, `expired`, `revoked`, `released` or `used`; absent while there is no grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Who asked.
    pub requester: UserName,
    /// Their uid.
    pub requester_uid: u32,
    /// For which role.
    pub role: RoleName,
    /// As whom the command runs.
    pub run_as: String,
    /// The command asked for, resolved path first; empty for the whole role.
    pub command: Vec<Word>,
    /// How many bytes the command has, each word with one behind it; only where a listing shows its beginning alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_bytes: Option<usize>,
    /// What else an exact grant binds; absent for the whole role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<BoundInfo>,
    /// SHA-256 of the executable asked for, lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why.
    pub reason: Word,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// Seconds asked for, or granted once there is a grant.
    pub duration: u64,
    /// When it was asked.
    pub requested: i64,
    /// When a pending request dies.
    pub deadline: i64,
    /// Start of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<i64>,
    /// End of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Serves one run.
    pub one_shot: bool,
    /// Serves the very command.
    pub exact: bool,
    /// How many approvals are needed.
    pub approvals_needed: u32,
    /// Who may approve, as the policy names them.
    pub approvers: Vec<String>,
    /// Those given so far.
    pub approvals: Vec<ApprovalInfo>,
    /// The caller may approve or deny it now.
    pub may_decide: bool,
    /// Why it was denied, revoked or released, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedInfo>,
    /// Runs made under the grant.
    pub runs: u64,
    /// What stands behind it; only where one request is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// The grant that this one extends, or would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The grant that extends this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_by: Option<GrantId>,
    /// Only signed approvals count.
    #[serde(default)]
    pub signed_approvals: bool,
    /// Granted without approval, in an emergency.
    #[serde(default)]
    pub break_glass: bool,
    /// Where it was made; only of a request from elsewhere, whose text tells nothing of its state or of who may decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostInfo>,
    /// The role has changed since it was asked for, or is gone: a run needs what it allowed then and allows now.
    #[serde(default)]
    pub role_changed: bool,
}

/// Entries of a listing after which others come.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantPage {
    /// These.
    pub entries: Vec<GrantInfo>,
    /// What to ask for next, as `before`.
    pub before: i64,
}

/// What an exact grant binds besides the words of the command and the program's bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundInfo {
    /// The canonical path of the program.
    pub path: Word,
    /// The working directory.
    pub directory: Word,
    /// The variables that the requester named, `NAME=VALUE`; no others come from the caller.
    pub environment: Vec<Word>,
    /// The uid that the command runs with.
    pub run_as_uid: u32,
    /// Its gid.
    pub run_as_gid: u32,
    /// Its supplementary groups.
    pub run_as_groups: Vec<u32>,
}

/// One approval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalInfo {
    /// By whom.
    pub approver: UserName,
    /// When.
    pub at: i64,
    /// Narrowed to this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Narrowed to one run.
    pub one_shot: bool,
    /// Narrowed to the very command.
    pub exact: bool,
    /// Their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// The key that signed it, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it counts. One of somebody who is no approver any more, for one, does not.
    pub counts: bool,
}

impl GrantInfo {
    /// How many approvals it has that count.
    pub fn approvals_given(&self) -> usize {
        self.approvals.iter().filter(|approval| approval.counts).count()
    }
}

/// What ended when root accepted the state of the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedInfo {
    /// Grants that were revoked.
    pub grants: Vec<GrantId>,
    /// Requests that were denied.
    pub requests: Vec<GrantId>,
    /// Ids of grants and requests that cannot be read, and so give no power; they were left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Word>,
}

/// The end that somebody gave to a request or grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndedInfo {
    /// By whom.
    pub by: String,
    /// When.
    pub at: i64,
    /// Their reason; empty when none was given.
    pub reason: Word,
    /// The key with which they signed it, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl From<CommandTerms> for BoundInfo {
    fn from(command: CommandTerms) -> Self {
        Self {
            path: command.path,
            directory: command.cwd,
            environment: command.environment,
            run_as_uid: command.run_as_uid,
            run_as_gid: command.run_as_gid,
            run_as_groups: command.run_as_groups,
        }
    }
}
