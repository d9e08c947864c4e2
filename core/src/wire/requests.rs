//! Requests for grants.

use super::HostInfo;
use super::verb::verb;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::grant::CommandTerms;
use crate::names::{GrantId, IdPrefix, RoleName, UserName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

verb!("request", NewRequest => "grant", GrantInfo);

/// List pending requests that the caller made or may decide; with `all`, those in every state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Also requests that are decided, cancelled or expired.
    #[serde(default)]
    pub all: bool,
    /// Where to continue: `before` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

verb!("requests", Requests => "requests", GrantPage);

/// Show one request and its grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// The id of the request, or the beginning of it.
    pub id: IdPrefix,
}

verb!("show", Show => "grant", GrantInfo);

/// Cancel the caller's own pending request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// Which request.
    pub id: IdPrefix,
}

verb!("cancel", Cancel => "grant", GrantInfo);

/// Wait until a request is no longer pending.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Which request.
    pub id: IdPrefix,
    /// The longest wait; the request's own expiry also ends it.
    pub seconds: Seconds,
}

verb!("wait", Wait => "grant", GrantInfo);

/// Create a request for a grant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Which role; inferred from the command when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Seconds; the role's maximum when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
    /// The ticket, if the role demands one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// For one run only.
    #[serde(default)]
    pub one_shot: bool,
    /// The command the grant is wanted for, shown to approvers, and how it would run.
    #[serde(flatten)]
    pub command: CommandWords,
    /// Break-glass: immediately and without approvers, in an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

/// The command that a question or a request is about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CommandWords {
    /// The run-as user; root (or the role's default) when absent. A name or `#uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// -g: the primary group. A name or `#gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<Word>,
    /// -D: the working directory; the caller's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Word>,
    /// Variables for the command, `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Word>,
    /// The command as typed; may be empty in a request for a whole role.
    #[serde(default)]
    pub command: Vec<Word>,
}

/// Background for the approver's decision, and how the role was chosen.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Background {
    /// Earlier runs of the same command by the requester, as the same run-as user; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedent: Option<Precedent>,
    /// The role's command rules as written. Empty if the role is no longer in the policy.
    pub role_commands: Vec<String>,
    /// Its command rules at the time of the request, if they have changed: both must allow a run. Empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub role_commands_then: Vec<String>,
    /// The run-as users of the role.
    pub role_run_as: Vec<String>,
    /// Its run-as users at the time of the request, if the role has changed: both must allow a run. Empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub role_run_as_then: Vec<String>,
    /// The role's options that differ from the defaults, with their values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub role_options: Map<String, Value>,
    /// The same at the time of the request, if the role has changed: the stricter of both applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_options_then: Option<Map<String, Value>>,
    /// The roles that allow the command, narrowest first, if the requester named none; the first was chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen_among: Vec<RoleName>,
}

/// Earlier runs of the same command by the same user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precedent {
    /// The number of runs.
    pub runs: u64,
    /// When the latest run began.
    pub last: i64,
}

/// One request, its approvals and its grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantInfo {
    /// The id of the request and the grant.
    pub id: GrantId,
    /// The state of the request: `pending`, `approved`, `denied`, `cancelled` or `expired`.
    pub state: String,
    /// The state of the grant: `scheduled`, `active`, `expired`, `revoked`, `released` or `used`; absent while there is no grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The requester.
    pub requester: UserName,
    /// Their uid.
    pub requester_uid: u32,
    /// The role.
    pub role: RoleName,
    /// The run-as user.
    pub run_as: String,
    /// The requested command, resolved path first; empty for the whole role.
    pub command: Vec<Word>,
    /// The length of the command in bytes, each argument with a terminator; only if the listing shows only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_bytes: Option<usize>,
    /// What else an exact grant fixes; absent for the whole role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<BoundInfo>,
    /// SHA-256 of the requested executable, lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why.
    pub reason: Word,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// The requested seconds, or the granted seconds once there is a grant.
    pub duration: Seconds,
    /// When the request was made.
    pub requested: i64,
    /// When a pending request expires.
    pub deadline: i64,
    /// Start of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<i64>,
    /// End of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Whether the grant serves one run only.
    pub one_shot: bool,
    /// Whether the grant serves the requested command only.
    pub exact: bool,
    /// How many approvals are needed.
    pub approvals_needed: u32,
    /// Who may approve, as the policy names them.
    pub approvers: Vec<String>,
    /// The approvals so far.
    pub approvals: Vec<ApprovalInfo>,
    /// Whether the caller may approve or deny it now.
    pub may_decide: bool,
    /// Why it was denied, revoked or released, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedInfo>,
    /// The number of runs under the grant.
    pub runs: u64,
    /// Background for the approver; only if one request is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// The grant that this one extends or would extend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The grant that extends this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_by: Option<GrantId>,
    /// Whether only signed approvals count.
    #[serde(default)]
    pub signed_approvals: bool,
    /// Whether it is a break-glass grant.
    #[serde(default)]
    pub break_glass: bool,
    /// The host of a request that was signed elsewhere. Its document contains neither its state nor who may decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostInfo>,
    /// Whether the role has changed since the request, or no longer exists: both versions must allow a run.
    #[serde(default)]
    pub role_changed: bool,
}

/// One page of a listing.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantPage {
    /// The entries of the page.
    pub entries: Vec<GrantInfo>,
    /// Where the listing continues: the `before` of the next question; absent from the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// What an exact grant fixes besides the command's arguments and the program's contents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundInfo {
    /// The canonical path of the program.
    pub path: Word,
    /// The working directory.
    pub directory: Word,
    /// The variables that the requester named, `NAME=VALUE`; the caller cannot set others.
    pub environment: Vec<Word>,
    /// The uid of the command.
    pub run_as_uid: u32,
    /// The gid of the command.
    pub run_as_gid: u32,
    /// The supplementary groups of the command.
    pub run_as_groups: Vec<u32>,
}

/// One approval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApprovalInfo {
    /// The approver.
    pub approver: UserName,
    /// When it was given.
    pub at: i64,
    /// The shorter duration in seconds, if the approver shortened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Seconds>,
    /// Whether the approver narrowed it to one run.
    pub one_shot: bool,
    /// Whether the approver narrowed it to the exact command.
    pub exact: bool,
    /// The approver's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Word>,
    /// The key that signed it, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it counts now. It does not if, for example, its author is no longer an approver.
    pub counts: bool,
}

/// How a user ended a request or grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndedInfo {
    /// The user who ended it.
    pub by: String,
    /// When it ended.
    pub at: i64,
    /// The reason; empty if none was given.
    pub reason: Word,
    /// The key that signed the statement, `SHA256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl GrantInfo {
    /// Returns the number of approvals that count.
    pub fn approvals_given(&self) -> usize {
        self.approvals.iter().filter(|approval| approval.counts).count()
    }
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
