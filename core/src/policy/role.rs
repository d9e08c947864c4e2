//! A role: who may have it, on what terms, and what it lets them run. Judges questions; grants nothing.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::command_rule::{Algorithm, CommandRule, Effect};
use super::expression::Expression;
use super::host::Hosts;
use super::listed::Listed;
use super::lookup::{Lookup, ProgramNames};
use super::options::Options;
use super::power::Origin;
use super::principal::{People, Principal, Subject};
use super::recording::{Recording, is_default};
use super::run_as::{RunAs, RunAsGroups, Target};
use crate::names::RoleName;

/// A role with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// One line for people; empty when there is none.
    pub description: String,
    /// Who may ask for it.
    pub eligible: People,
    /// Who has it without asking.
    pub standing: People,
    /// As whom its commands may run.
    pub run_as: RunAs,
    /// Which groups `-g` may name.
    pub run_as_groups: RunAsGroups,
    /// The hosts on which it means something.
    pub hosts: Listed<Hosts>,
    /// Its rules; the last one that means the command decides.
    pub commands: Vec<CommandRule>,
    /// Whether PAM authenticates the caller (through the credential cache).
    pub authenticate: bool,
    /// How its commands are run: the keys of `[defaults]` with its own over them.
    #[serde(default, serialize_with = "Options::serialize_changed")]
    pub options: Rc<Options>,
    /// A PAM service other than `jit-sudo` and `jit-sudo-i`.
    pub pam_service: Option<String>,
    /// What becomes of a running command when its grant expires.
    pub on_expiry: OnExpiry,
    /// What becomes of what a finished command left running.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leftovers: Leftovers,
    /// What becomes of a running command when the one who began it may no longer have the role.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_removal: OnRemoval,
    /// Which of its sessions are recorded, and who may watch them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recording: Recording,
    /// Whether its commands may execute no other program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noexec: bool,
    /// On what terms an eligible person gets it.
    pub activation: Activation,
    /// Its rank among the roles of a person: of those that mean a command the ones of the highest order decide.
    pub order: u32,
    /// Where it stands in the policy.
    pub source: Source,
    /// The digest of its [`RolePower`](super::RolePower), lower-case hexadecimal.
    pub digest: String,
    /// The digest of the compiled policy from which it was read; of a role that comes from the files alone there is none.
    #[serde(skip)]
    pub policy: Option<[u8; 32]>,
    /// By which `policy` records tell it from another, as computed from the row that was read: of all that it says, its people
    /// and approvers included.
    #[serde(skip)]
    pub compiled: Option<[u8; 32]>,
    /// Of what is left of a role beside what was approved: the two.
    #[serde(skip)]
    pub narrowed_from: Option<Rc<Origin>>,
}

/// The terms of activation; times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The longest grant: 1 second to 366 days.
    pub maximum_duration: u64,
    /// Whether a reason must be given.
    pub require_justification: bool,
    /// What a ticket must look like; no ticket is needed when absent.
    pub ticket: Option<TicketPattern>,
    /// Whether somebody else must approve.
    pub require_approval: bool,
    /// Who may approve; empty unless approval is required.
    pub approvers: Vec<Principal>,
    /// How many different approvers it takes; 1 where none is required.
    pub approvals: u32,
    /// Whether only approvals count that were signed with a key of /etc/jit-sudo/approvers.
    pub signed_approvals: bool,
    /// Whether PAM authenticates who gives an approval without a signature, or reviews a break-glass.
    pub approval_authentication: bool,
    /// Whether a signed approval counts only with a security key that has verified its user, not merely been touched.
    pub user_verification: bool,
    /// How long a request may stay pending.
    pub request_lifetime: u64,
    /// Whether a grant serves one run.
    pub one_shot: bool,
    /// Whether a grant serves only the very arguments and binary that were asked for.
    pub exact_command: bool,
    /// Whether it may be activated without approval in an emergency; only where approval is required.
    pub break_glass: bool,
}

/// What becomes of what a finished command left running when its grant expires; a revocation always ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leftovers {
    /// It is ended.
    #[default]
    End,
    /// It goes on: for roles that start daemons where no service manager does.
    Keep,
}

/// What becomes of a running command, and of what it has left running, when the one who began it may no longer have the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemoval {
    /// It is ended.
    #[default]
    End,
    /// It may run to its end, or to that of its grant.
    Finish,
}

/// What becomes of a running command when its grant expires; a revocation always ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// It is ended.
    #[default]
    Terminate,
    /// It is stopped until the grant is extended.
    Freeze,
    /// It may run to its end.
    Finish,
}

/// File and line of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Path of the file, as text.
    pub file: String,
    /// Line of the definition, from 1.
    pub line: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", crate::escape::escape(self.file.as_bytes()), self.line)
    }
}

/// How somebody comes to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// Without asking.
    Standing,
    /// By activating a grant.
    Eligible,
}

/// What a ticket must look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketPattern(Expression);

/// The longest ticket in bytes.
pub const LONGEST_TICKET: usize = 256;

/// What is asked of a role. Everything was resolved by the caller of this room: names and ids agree, the path leads to
/// the program that was opened and its directory holds no link.
pub struct Question<'a> {
    /// As whom.
    pub run_as: Target<'a>,
    /// `-g`, unless it is the run-as user's own primary group.
    pub run_as_group: Option<(&'a str, u32)>,
    /// This host, short or fully qualified; its first label counts as its short name.
    pub host: &'a str,
    /// The program.
    pub program: ProgramNames<'a>,
    /// Its arguments, without the program.
    pub arguments: &'a [OsString],
    /// The digest of the opened program; called at most once for each algorithm, and only when a rule asks. `None`: it
    /// could not be told.
    pub digest: &'a dyn Fn(Algorithm) -> Option<Vec<u8>>,
}

/// What a role says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Answer<'r> {
    /// This rule allows the command.
    Allowed {
        /// The last rule that means the command.
        rule: &'r CommandRule,
    },
    /// This rule forbids the command.
    Denied {
        /// The last rule that means the command.
        rule: &'r CommandRule,
    },
    /// No rule means the command.
    NoRule,
    /// Not as this user.
    OtherRunAs,
    /// Not with this group.
    OtherGroup,
    /// Not on this host.
    OtherHost,
}

impl Role {
    /// What the role says to `question`; who asks is not considered here (see [`Role::assigns`]).
    pub fn answers<'r>(&'r self, question: &Question<'_>) -> Answer<'r> {
        if !self.holds_on(question.host, question.program.lookup) {
            return Answer::OtherHost;
        }
        // Who changes only the group stays who they are, and run_as is not asked (sudoers(5), "Runas_Spec").
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

    /// Whether `subject` has the role in this way.
    pub fn assigns(&self, subject: &Subject<'_>, assignment: Assignment) -> bool {
        self.assigned(assignment).mean(subject)
    }

    /// Whether `subject` is named as an approver. That nobody approves their own request is the grant's business.
    pub fn may_approve(&self, subject: &Subject<'_>) -> bool {
        self.activation.approvers.iter().any(|principal| principal.matches(subject))
    }

    /// Whether a rule allows every command, and no later one takes all of them back; others may still refuse some.
    pub fn allows_everything(&self) -> bool {
        let last = self.commands.iter().rev().find(|rule| rule.means_all());
        last.is_some_and(|rule| rule.effect() == Effect::Allow)
    }

    /// Whether the caller may set any variable for the command (`-E`, `VAR=value`): where nothing is said, whoever may run
    /// every command could do it with env(1) anyway (sudoers(5): ALL implies SETENV).
    pub fn lets_set_variables(&self) -> bool {
        self.options.setenv.unwrap_or_else(|| self.allows_everything())
    }

    /// Whether the role means something on `host`, by its full or its short name.
    pub fn holds_on(&self, host: &str, lookup: &Lookup) -> bool {
        self.hosts.mean(host, lookup)
    }

    /// Whom the policy names for this assignment.
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
            return said("user_verification", "means nothing unless signed_approvals is true");
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
            return said(key, "means nothing unless require_approval is true");
        }
        if self.approvers.is_empty() {
            return said("require_approval", "is true, but approvers names nobody");
        }
        let people = self.approvers.len();
        let is_reachable = self.approvers.iter().any(Principal::is_plural) || people >= self.approvals as usize;
        let why = || format!("{} can never be reached: approvers names only {people}", self.approvals);
        (!is_reachable).then(|| ("approvals", why()))
    }
}

impl Leftovers {
    /// The one that ends them.
    pub(super) fn narrower(self, other: Self) -> Self {
        if self == Self::Keep { other } else { self }
    }

    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "end" => Ok(Self::End),
            "keep" => Ok(Self::Keep),
            _ => Err("must be \"end\" or \"keep\""),
        }
    }
}

impl OnRemoval {
    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "end" => Ok(Self::End),
            "finish" => Ok(Self::Finish),
            _ => Err("must be \"end\" or \"finish\""),
        }
    }
}

impl OnExpiry {
    /// The one that ends a command sooner.
    pub(super) fn narrower(self, other: Self) -> Self {
        [Self::Terminate, Self::Freeze].into_iter().find(|one| *one == self || *one == other).unwrap_or(Self::Finish)
    }

    /// Reads the word of the policy; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "terminate" => Ok(Self::Terminate),
            "freeze" => Ok(Self::Freeze),
            "finish" => Ok(Self::Finish),
            _ => Err("must be \"terminate\", \"freeze\" or \"finish\""),
        }
    }
}

impl TicketPattern {
    /// Checks the expression; the error is a sentence fragment.
    #[cfg(feature = "policy-text")]
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Expression::read(text).map(Self)
    }

    /// Whether `ticket` is one; never for a longer one than [`LONGEST_TICKET`] or one with control characters.
    pub fn matches(&self, ticket: &str) -> bool {
        let plain = ticket.len() <= LONGEST_TICKET && !ticket.chars().any(char::is_control);
        plain && self.0.matches(ticket) == Some(true)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}
