//! Roles of the caller, and whether a command may run.

use super::CommandWords;
use super::verb::verb;
use crate::escape::Word;
use crate::names::{GrantId, RoleName, UserName};
use crate::policy::Role;
use serde::{Deserialize, Serialize};

/// The roles that the caller may activate or has standing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {}

verb!("roles", Roles => "roles", Vec<RoleInfo>);

/// May a command run now, and if not, what would help?
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// Somebody else's question needs root or a reader of the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// What would be run.
    #[serde(flatten)]
    pub command: CommandWords,
}

verb!("why", Why => "why", WhyInfo);

/// A role as its user sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleInfo {
    /// Its name.
    pub name: RoleName,
    /// One line from the policy; empty when there is none.
    pub description: String,
    /// True when no activation is needed.
    pub standing: bool,
    /// The command rules as written in the policy.
    pub commands: Vec<String>,
    /// Whom it runs commands as.
    pub run_as: Vec<String>,
    /// Seconds.
    pub maximum_duration: u64,
    /// A reason must be given.
    pub require_justification: bool,
    /// The pattern a ticket must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// A second person must approve.
    pub require_approval: bool,
    /// Who may approve.
    pub approvers: Vec<String>,
    /// How many different approvers.
    pub approvals: u32,
    /// A password is asked for.
    pub authenticate: bool,
    /// A grant serves one run.
    pub one_shot: bool,
    /// A grant serves the very command asked for.
    pub exact_command: bool,
    /// Only signed approvals count.
    #[serde(default)]
    pub signed_approvals: bool,
    /// PAM authenticates who gives an approval without a signature.
    #[serde(default)]
    pub approval_authentication: bool,
    /// A signed approval counts only with a security key that has verified its user.
    #[serde(default)]
    pub user_verification: bool,
    /// In an emergency it is activated without approval.
    #[serde(default)]
    pub break_glass: bool,
}

impl RoleInfo {
    /// A role as its user sees it.
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

/// Things as the policy wrote them.
pub fn texts<T: ToString>(things: &[T]) -> Vec<String> {
    things.iter().map(ToString::to_string).collect()
}

/// Whether a command may run, and what would help if not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WhyInfo {
    /// It would run now.
    pub allowed: bool,
    /// One sentence: through what, or which rule said no.
    pub because: String,
    /// The command as it was found: resolved path and arguments.
    pub command: Vec<Word>,
    /// As whom.
    pub run_as: String,
    /// The role that serves or would serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The grant that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Who would have to approve.
    pub approvers: Vec<String>,
    /// What to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Per role that was looked at: its verdict in words.
    pub roles: Vec<RoleVerdict>,
}

/// What one role says of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleVerdict {
    /// Which role.
    pub role: RoleName,
    /// `allows`, or why not.
    pub verdict: String,
    /// The rule that decided, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}
