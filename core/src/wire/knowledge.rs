//! Answers about the policy and about what stands behind a request.

use crate::policy::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RoleInfo;
use crate::escape::Word;
use crate::names::{GrantId, RoleName};

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

/// The policy as it is in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyShown {
    /// The digest that names it in records, lower-case hexadecimal.
    pub sha256: String,
    /// What holds for the whole host.
    pub settings: SettingsInfo,
    /// The roles in alphabetical order.
    pub roles: Vec<RoleDetails>,
}

/// What the policy says of the whole host; durations in seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SettingsInfo {
    /// Where commands are looked for.
    pub secure_path: String,
    /// How long a password is remembered.
    pub timestamp_timeout: u64,
    /// How often a password may be tried.
    pub passwd_tries: u32,
    /// How long a password prompt waits; 0 means for ever.
    pub passwd_timeout: u64,
    /// From SIGTERM to SIGKILL, in milliseconds.
    pub grace_period_ms: u64,
    /// Variables kept from the caller's environment.
    pub env_keep: Vec<String>,
    /// Every other option that is not as it is when nobody says anything, by its key; durations in seconds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// How many requests one person may make within an hour.
    pub request_rate: u32,
    /// `mirror`, `required` or `off`.
    pub syslog: String,
    /// Records go to systemd's journal, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub journald: bool,
    /// Records go to the audit log, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auditd: bool,
    /// Records go to this file, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_file: Option<String>,
    /// Variables whose values are recorded as a digest.
    pub redact: Vec<String>,
    /// Who may read everybody's records besides root.
    pub readers: Vec<String>,
    /// When a session cannot be recorded: `best-effort` or `strict`.
    pub recording: String,
    /// The longest recording in bytes.
    pub recording_limit: u64,
    /// Bytes that stay free on the file system.
    pub recording_reserve: u64,
    /// How long records are kept where somebody prunes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
}

/// A role with every default filled in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleDetails {
    /// As its users see it; `standing` says whether anybody has it without asking.
    #[serde(flatten)]
    pub terms: RoleInfo,
    /// Who may ask.
    pub eligible: Vec<String>,
    /// Who has it without asking.
    pub standing_for: Vec<String>,
    /// Which groups `-g` may name.
    pub run_as_groups: Vec<String>,
    /// On which hosts it means something.
    pub hosts: Vec<String>,
    /// Variables kept from the caller's environment.
    pub env_keep: Vec<String>,
    /// The caller may set any variable.
    pub setenv: bool,
    /// Its commands may execute no other program.
    #[serde(default)]
    pub noexec: bool,
    /// Every option that is not as it is when nobody says anything, by its key; durations in seconds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// The PAM service, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pam_service: Option<String>,
    /// How long a request may stay pending, in seconds.
    pub request_lifetime: u64,
    /// What happens to a running command when its grant expires: `terminate`, `freeze` or `finish`.
    pub on_expiry: String,
    /// Which sessions are recorded: `none`, `tty` or `all`.
    pub record: String,
    /// What is typed is recorded too, while the terminal shows it.
    pub record_input: bool,
    /// Who may watch a running session.
    pub observers: Vec<String>,
    /// File and line where it stands.
    pub source: String,
}

/// What a policy says of one command by one person, grants aside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// Who would run it.
    pub user: String,
    /// As whom.
    pub run_as: String,
    /// The command: resolved path and arguments.
    pub command: Vec<Word>,
    /// `standing`, `eligible` or `denied`.
    pub verdict: String,
    /// Every role that allows it, narrowest first; the first one decides.
    pub roles: Vec<RoleName>,
    /// One sentence.
    pub because: String,
    /// On what terms the first role allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<RoleInfo>,
}

impl Evaluation {
    /// Fills in what `roles`, the narrowest first, allow.
    pub fn allow(&mut self, verdict: &str, roles: &[Role]) {
        let Some(first) = roles.first() else { return };
        verdict.clone_into(&mut self.verdict);
        self.roles = roles.iter().map(|role| role.name.clone()).collect();
        self.because = format!("role {} is {verdict}", first.name);
        self.terms = Some(RoleInfo::of(first, verdict == "standing"));
    }

    /// `standing`, `denied` or `eligible:ROLE`, as a file of expected answers writes it.
    pub fn answer(&self) -> String {
        match (self.verdict.as_str(), self.roles.first()) {
            ("eligible", Some(role)) => format!("eligible:{role}"),
            (verdict, _) => verdict.to_owned(),
        }
    }
}

/// A policy made of a sudoers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportedPolicy {
    /// The policy in TOML.
    pub policy: String,
    /// How many roles it has.
    pub roles: usize,
    /// What could not be converted: `FILE:LINE: what`.
    pub left_out: Vec<String>,
    /// With `--untrusted`, the files and directories that sudo would not read, and why.
    #[serde(default)]
    pub untrusted: Vec<String>,
}

/// What came of a file of expected answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Expectations {
    /// How many cases it holds.
    pub cases: usize,
    /// Those with another answer.
    pub differences: Vec<Difference>,
}

/// A case with another answer than expected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Difference {
    /// The file, and the number of the case in it, from 1: `expected.toml, case 3`.
    pub place: String,
    /// The person, the run-as user and the command.
    pub question: String,
    /// What the file says.
    pub expected: String,
    /// What the policy says.
    pub found: String,
    /// Why.
    pub because: String,
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
