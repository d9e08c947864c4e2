//! Answers about the roles of somebody, and about the policy that was checked.

use crate::policy::Role;
use serde::{Deserialize, Serialize};

use crate::names::RoleName;

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

/// What the policy says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// The files read, in order.
    pub files: Vec<String>,
    /// How many roles they define.
    pub roles: usize,
    /// How many command rules.
    pub rules: usize,
    /// What is allowed but unwise, one line each.
    pub warnings: Vec<String>,
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
