//! Requests for grants.

use super::HostInfo;
use super::verb::verb;
use crate::escape::Word;
use crate::grant::CommandTerms;
use crate::names::{GrantId, IdPrefix, RoleName, UserName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

verb!("request", NewRequest => "grant", GrantInfo);

/// Pending requests that the caller made or may decide; with `all`, every state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Also those that are decided, cancelled or expired.
    #[serde(default)]
    pub all: bool,
    /// Go on where a part has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

verb!("requests", Requests => "requests", GrantPage);

/// One request and its grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Its id or the beginning of it.
    pub id: IdPrefix,
}

verb!("show", Show => "grant", GrantInfo);

/// Take one's own pending request back.
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
    /// How long at most, in seconds; bounded by the request's own deadline.
    pub seconds: u64,
}

verb!("wait", Wait => "grant", GrantInfo);

/// A request for a grant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Which role; inferred from the command when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// Seconds; the role's maximum when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
    /// The ticket that the role demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Word>,
    /// For one run only.
    #[serde(default)]
    pub one_shot: bool,
    /// As whom; see [`CommandWords::run_as`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// See [`CommandWords::run_as_group`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<Word>,
    /// See [`CommandWords::directory`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Word>,
    /// See [`CommandWords::environment`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Word>,
    /// The command the grant is wanted for; shown to approvers.
    #[serde(default)]
    pub command: Vec<Word>,
    /// At once and without approvers, in an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

/// The command that a question or a request is about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CommandWords {
    /// As whom; root (or what the role says) when absent. A name or `#uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<Word>,
    /// -g: the primary group. A name or `#gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<Word>,
    /// -D: the working directory; where the caller is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Word>,
    /// Variables for the command, `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Word>,
    /// The words typed; may be empty in a request for a whole role.
    #[serde(default)]
    pub command: Vec<Word>,
}

/// What an approver weighs, and how the role was found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Background {
    /// Earlier runs of the very command by the requester, as the same user; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedent: Option<Precedent>,
    /// What else the role allows: its command rules as written. Empty where the policy no longer knows the role.
    pub role_commands: Vec<String>,
    /// Its command rules as they were when this was asked for, where they have changed: a run needs both. Empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub role_commands_then: Vec<String>,
    /// As whom the role runs commands.
    pub role_run_as: Vec<String>,
    /// As whom it ran them when this was asked for: a run needs both. Only where the role has changed; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub role_run_as_then: Vec<String>,
    /// How it runs them, where that is not as usual: options of the policy with their values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub role_options: Map<String, Value>,
    /// The same when this was asked for: the narrower of each counts. Only where the role has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_options_then: Option<Map<String, Value>>,
    /// The roles that would have done, narrowest first, where the requester named none; the first was chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen_among: Vec<RoleName>,
}

/// Earlier runs of the same words by the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precedent {
    /// How many.
    pub runs: u64,
    /// When the latest began.
    pub last: i64,
}

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

/// One page of a listing.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantPage {
    /// Its entries.
    pub entries: Vec<GrantInfo>,
    /// Where the listing goes on, as the `before` of the next question; absent from the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
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

impl GrantInfo {
    /// How many approvals it has that count.
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
