//! A role: who may have it, how it is activated, and what it permits. Answers questions; grants nothing.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::command_rule::{Algorithm, CommandRule};
use super::expression::Expression;
use super::host::Hosts;
use super::listed::Listed;
use super::lookup::{Lookup, ProgramNames};
use super::on_end::{Leftovers, OnExpiry, OnRemoval};
use super::options::Options;
use super::principal::{People, Principal, Subject};
use super::program_path::Effect;
use super::recording::{Recording, is_default};
use super::run_as::{RunAs, RunAsGroups, Target};
use super::source::Source;
use super::ticket_example::example;
use crate::clock::duration::Seconds;
use crate::names::RoleName;

/// A role with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// A one-line description; empty when there is none.
    pub description: String,
    /// The users who may request it.
    pub eligible: People,
    /// The users who have it without activation.
    pub standing: People,
    /// The users that its commands may run as.
    pub run_as: RunAs,
    /// The groups that `-g` may name.
    pub run_as_groups: RunAsGroups,
    /// The hosts on which it is valid.
    pub hosts: Listed<Hosts>,
    /// Its rules; the last one that matches the command decides.
    pub commands: Vec<CommandRule>,
    /// Whether PAM authenticates the caller (through the credential cache).
    pub authenticate: bool,
    /// The options for its commands: the keys of `[defaults]` overridden by its own.
    #[serde(default, serialize_with = "Options::serialize_changed")]
    pub options: Rc<Options>,
    /// A PAM service other than `jit-sudo` and `jit-sudo-i`.
    pub pam_service: Option<String>,
    /// What happens to a running command when its grant expires.
    pub on_expiry: OnExpiry,
    /// What happens to processes that a finished command left running.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leftovers: Leftovers,
    /// What happens to a running command when the user who started it may no longer have the role.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_removal: OnRemoval,
    /// Which of its sessions are recorded, and which users may watch them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recording: Recording,
    /// Whether its commands may not execute other programs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noexec: bool,
    /// How an eligible user activates it.
    pub activation: Activation,
    /// Its rank among the roles of a user: of those that match a command the ones of the highest order decide.
    pub order: u32,
    /// Its position in the policy.
    pub source: Source,
    /// The digest of its [`RolePower`](super::RolePower), lower-case hexadecimal.
    pub digest: String,
    /// The digest of the compiled policy from which it was read; `None` for a role that was read from the files.
    #[serde(skip)]
    pub policy: Option<[u8; 32]>,
    /// The digest with which `policy` records identify it, computed from its row: it covers its full contents, users
    /// and approvers included.
    #[serde(skip)]
    pub compiled: Option<[u8; 32]>,
    /// For a role that was narrowed by an earlier approval: the two original roles.
    #[serde(skip)]
    pub narrowed_from: Option<Rc<Origin>>,
}

/// The two roles from which a narrowed role was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The role in the present policy, which its digest names.
    pub present: Role,
    /// The role as it was approved.
    pub approved: Role,
}

/// The rules of activation; times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The maximum duration of a grant: 1 second to 366 days.
    pub maximum_duration: Seconds,
    /// Whether a reason is required.
    pub require_justification: bool,
    /// The form of a ticket; `None` if no ticket is required.
    pub ticket: Option<TicketPattern>,
    /// Whether another user must approve.
    pub require_approval: bool,
    /// The users who may approve; empty unless approval is required.
    pub approvers: Vec<Principal>,
    /// The number of different approvers that are required; 1 if approval is not required.
    pub approvals: u32,
    /// Whether only approvals count that are signed with a key of /etc/jit-sudo/approvers.
    pub signed_approvals: bool,
    /// Whether PAM authenticates a user who gives an approval without a signature, or reviews a break-glass activation.
    pub approval_authentication: bool,
    /// Whether a signed approval requires a security key that has verified its user, not only been touched.
    pub user_verification: bool,
    /// How long a request may stay pending.
    pub request_lifetime: Seconds,
    /// Whether a grant is limited to one run.
    pub one_shot: bool,
    /// Whether a grant is limited to the exact arguments and binary of the request.
    pub exact_command: bool,
    /// Whether it may be activated without approval in an emergency; only if approval is required.
    pub break_glass: bool,
}

/// The kind of a user's assignment to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// The user has the role without activation.
    Standing,
    /// The user may activate a grant.
    Eligible,
}

/// The form of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketPattern(Expression);

/// The maximum length of a ticket in bytes.
pub const LONGEST_TICKET: usize = 256;

/// A question to a role. The caller of this module resolved everything: names and ids agree, the path leads to the
/// opened program and its directory contains no link.
pub struct Question<'a> {
    /// The run-as user.
    pub run_as: Target<'a>,
    /// `-g`, unless it is the run-as user's own primary group.
    pub run_as_group: Option<(&'a str, u32)>,
    /// The name of this host, short or fully qualified; its first label is its short name.
    pub host: &'a str,
    /// The program.
    pub program: ProgramNames<'a>,
    /// Its arguments, without the program.
    pub arguments: &'a [OsString],
    /// Returns the digest of the opened program; called at most once for each algorithm, and only when a rule needs it.
    /// `None` if it is unknown.
    pub digest: &'a dyn Fn(Algorithm) -> Option<Vec<u8>>,
}

/// The answer of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Answer<'r> {
    /// This rule allows the command.
    Allowed {
        /// The last rule that matches the command.
        rule: &'r CommandRule,
    },
    /// This rule denies the command.
    Denied {
        /// The last rule that matches the command.
        rule: &'r CommandRule,
    },
    /// No rule matches the command.
    NoRule,
    /// The role does not permit this run-as user.
    OtherRunAs,
    /// The role does not permit this group.
    OtherGroup,
    /// The role is not valid on this host.
    OtherHost,
}

impl Role {
    /// Returns the answer to `question`, regardless of the user who asks (see [`Role::assigns`]).
    pub fn answers<'r>(&'r self, question: &Question<'_>) -> Answer<'r> {
        if !self.holds_on(question.host, question.program.lookup) {
            return Answer::OtherHost;
        }
        // With `-g` alone the command runs as the caller, and run_as does not apply (sudoers(5), "Runas_Spec").
        let group_alone = question.run_as_group.is_some() && question.run_as.is_caller;
        if !group_alone && !self.run_as.allows(&question.run_as) {
            return Answer::OtherRunAs;
        }
        if question.run_as_group.is_some_and(|group| !self.run_as_groups.allows(group, &question.run_as)) {
            return Answer::OtherGroup;
        }
        let known: [OnceCell<Option<Vec<u8>>>; Algorithm::COUNT] = Default::default();
        let digest = |algorithm: Algorithm| {
            let known = known.get(algorithm as usize)?;
            known.get_or_init(|| (question.digest)(algorithm)).clone()
        };
        let decides = |rule: &&CommandRule| rule.matches(question.program, question.arguments, &digest);
        match self.commands.iter().rev().find(decides) {
            None => Answer::NoRule,
            Some(rule) => match rule.effect() {
                Effect::Allow => Answer::Allowed { rule },
                Effect::Deny => Answer::Denied { rule },
            },
        }
    }

    /// Returns whether `subject` has this kind of assignment.
    pub fn assigns(&self, subject: &Subject<'_>, assignment: Assignment) -> bool {
        self.assigned(assignment).mean(subject)
    }

    /// Returns whether `subject` is named as an approver. The grant checks that users do not approve their own
    /// requests.
    pub fn may_approve(&self, subject: &Subject<'_>) -> bool {
        self.activation.approvers.iter().any(|principal| principal.matches(subject))
    }

    /// Returns whether a rule allows every command, and no later one denies all; others may still deny some.
    pub fn allows_everything(&self) -> bool {
        let last = self.commands.iter().rev().find(|rule| rule.means_all());
        last.is_some_and(|rule| rule.effect() == Effect::Allow)
    }

    /// Returns whether the caller may set any variable for the command (`-E`, `VAR=value`): without a setting, a caller
    /// who may run every command may, because env(1) would do the same (sudoers(5): ALL implies SETENV).
    pub fn lets_set_variables(&self) -> bool {
        self.options.setenv.unwrap_or_else(|| self.allows_everything())
    }

    /// Returns whether the role is valid on `host`, by its full or its short name.
    pub fn holds_on(&self, host: &str, lookup: &Lookup) -> bool {
        self.hosts.mean(host, lookup)
    }

    /// Returns the users whom the policy names for this assignment.
    pub fn assigned(&self, assignment: Assignment) -> &People {
        match assignment {
            Assignment::Standing => &self.standing,
            Assignment::Eligible => &self.eligible,
        }
    }
}

impl Activation {
    /// The key that contradicts the others, and how: approval that is half said would be an approval that is not asked for.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String)> {
        let said = |key, why: &str| Some((key, why.to_owned()));
        if self.user_verification && !self.signed_approvals {
            return said("user_verification", "has no effect unless signed_approvals is true");
        }
        if !self.require_approval {
            let useless = [
                ("approvers", !self.approvers.is_empty()),
                ("approvals", self.approvals > 1),
                ("signed_approvals", self.signed_approvals),
                ("approval_authentication", self.approval_authentication),
                ("break_glass", self.break_glass),
            ];
            let (key, _) = useless.into_iter().find(|(_, given)| *given)?;
            return said(key, "has no effect unless require_approval is true");
        }
        if self.approvers.is_empty() {
            return said("require_approval", "is true, but approvers names no user");
        }
        let people = self.approvers.len();
        let is_reachable = self.approvers.iter().any(Principal::is_plural) || people >= self.approvals as usize;
        let why = || format!("{} can never be reached: approvers names only {people}", self.approvals);
        (!is_reachable).then(|| ("approvals", why()))
    }
}

impl TicketPattern {
    /// Checks the expression; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Expression::read(text).map(Self)
    }

    /// Returns an example of a ticket, or the expression where no example is known.
    #[must_use]
    pub fn example(&self) -> String {
        example(self.as_str()).filter(|ticket| self.matches(ticket)).unwrap_or_else(|| self.as_str().to_owned())
    }

    /// Returns whether `ticket` matches; false if it is longer than [`LONGEST_TICKET`] or contains control characters.
    pub fn matches(&self, ticket: &str) -> bool {
        let plain = ticket.len() <= LONGEST_TICKET && !ticket.chars().any(char::is_control);
        plain && self.0.matches(ticket) == Some(true)
    }

    /// Returns the expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}
