//! The caller's roles, and whether a command may run.

use super::CommandWords;
use super::verb::verb;
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, UserName};
use crate::policy::Role;
use serde::{Deserialize, Serialize};

/// List the roles for which the caller is eligible or has a standing assignment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {}

verb!("roles", Roles => "roles", Vec<RoleInfo>);

/// Ask whether a command may run now, and what to do if it may not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// The user; the caller when absent. Only root and readers may ask about others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The command.
    #[serde(flatten)]
    pub command: CommandWords,
}

verb!("why", Why => "why", WhyInfo);

/// A role as its users see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleInfo {
    /// Its name.
    pub name: RoleName,
    /// Its description in the policy; empty if there is none.
    pub description: String,
    /// Whether it needs no activation.
    pub standing: bool,
    /// The command rules as written in the policy.
    pub commands: Vec<String>,
    /// The users as whom it runs commands.
    pub run_as: Vec<String>,
    /// The longest duration in seconds.
    pub maximum_duration: Seconds,
    /// Whether a reason is required.
    pub require_justification: bool,
    /// The pattern a ticket must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Whether another user must approve.
    pub require_approval: bool,
    /// The users who may approve.
    pub approvers: Vec<String>,
    /// How many different approvers are needed.
    pub approvals: u32,
    /// Whether a password is required.
    pub authenticate: bool,
    /// Whether a grant serves one run only.
    pub one_shot: bool,
    /// Whether a grant serves the requested command only.
    pub exact_command: bool,
    /// Whether only signed approvals count.
    #[serde(default)]
    pub signed_approvals: bool,
    /// Whether PAM authenticates an approver who approves without a signature.
    #[serde(default)]
    pub approval_authentication: bool,
    /// Whether a signed approval needs a security key that has verified its user.
    #[serde(default)]
    pub user_verification: bool,
    /// Whether break-glass can activate it without approval.
    #[serde(default)]
    pub break_glass: bool,
}

impl RoleInfo {
    /// Returns a role as its users see it.
    pub fn of(role: &Role, standing: bool) -> Self {
        let rules = &role.activation;
        Self {
            name: role.name.clone(),
            description: role.description.clone(),
            standing,
            commands: texts(&role.commands),
            run_as: role.run_as.as_written(),
            maximum_duration: rules.maximum_duration,
            require_justification: rules.require_justification,
            ticket: rules.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
            require_approval: rules.require_approval,
            approvers: texts(&rules.approvers),
            approvals: if rules.require_approval { rules.approvals } else { 0 },
            authenticate: role.authenticate,
            one_shot: rules.one_shot,
            exact_command: rules.exact_command,
            signed_approvals: rules.signed_approvals,
            approval_authentication: rules.approval_authentication,
            user_verification: rules.user_verification,
            break_glass: rules.break_glass,
        }
    }
}

/// Returns items as written in the policy.
pub fn texts<T: ToString>(things: &[T]) -> Vec<String> {
    things.iter().map(ToString::to_string).collect()
}

/// Whether a command may run, and what to do if it may not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WhyInfo {
    /// Whether it would run now.
    pub allowed: bool,
    /// One sentence: the role or grant that allows it, or the rule that denies it.
    pub because: String,
    /// The command as it was found: resolved path and arguments.
    pub command: Vec<Word>,
    /// The run-as user.
    pub run_as: String,
    /// The role that allows it or would allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The grant that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The users who may approve.
    pub approvers: Vec<String>,
    /// What to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The verdict of each role that was examined.
    pub roles: Vec<RoleVerdict>,
}

/// The verdict of one role about a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleVerdict {
    /// The role.
    pub role: RoleName,
    /// `allows`, or the reason why not.
    pub verdict: String,
    /// The rule that matched, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}
