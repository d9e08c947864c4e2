//! The policy in force.

use super::verb::verb;
use super::{CommandWords, RoleInfo};
use crate::clock::duration::Seconds;
use crate::escape::Word;
use crate::names::{RoleName, UserName};
use crate::policy::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Check the installed policy: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCheck {}

verb!("policy-check", PolicyCheck => "policy-checked", PolicyInfo);

/// Show the policy in force, or one of its roles: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyShow {
    /// Only this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
}

verb!("policy-show", PolicyShow => "policy", PolicyShown);

/// Evaluate a command against the installed policy, without grants: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// The user who would run it.
    pub user: UserName,
    /// The command.
    #[serde(flatten)]
    pub command: CommandWords,
}

verb!("policy-test", PolicyTest => "evaluation", Evaluation);

/// A summary of the policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// The files read, in order.
    pub files: Vec<String>,
    /// How many roles they define.
    pub roles: usize,
    /// How many command rules.
    pub rules: usize,
    /// What is permitted but not advisable, one line each.
    pub warnings: Vec<String>,
}

/// The policy in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyShown {
    /// Its digest in records, lower-case hexadecimal.
    pub sha256: String,
    /// The settings for the whole host.
    pub settings: SettingsInfo,
    /// The roles in alphabetical order.
    pub roles: Vec<RoleDetails>,
}

/// The settings for the whole host; durations in seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SettingsInfo {
    /// The directories in which commands are searched for.
    pub secure_path: String,
    /// How long a password is remembered.
    pub timestamp_timeout: Seconds,
    /// How many attempts a user has to enter a password.
    pub passwd_tries: u32,
    /// The timeout of a password prompt; 0 means none.
    pub passwd_timeout: Seconds,
    /// The time between SIGTERM and SIGKILL, in milliseconds.
    pub grace_period_ms: u64,
    /// Variables kept from the caller's environment.
    pub env_keep: Vec<String>,
    /// Every other option that differs from its default, by its key; durations in seconds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// How many requests one user may make within an hour.
    pub request_rate: u32,
    /// `mirror`, `required` or `off`.
    pub syslog: String,
    /// What else is sent to syslog: `sudo`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_format: Option<String>,
    /// Whether records are sent to systemd's journal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub journald: bool,
    /// Whether records are sent to the audit log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auditd: bool,
    /// The file to which records are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_file: Option<String>,
    /// Variables whose values are recorded as a digest.
    pub redact: Vec<String>,
    /// The users who may read all records besides root.
    pub readers: Vec<String>,
    /// What happens if a session cannot be recorded: `best-effort` or `strict`.
    pub recording: String,
    /// The longest recording in bytes.
    pub recording_limit: u64,
    /// How many bytes stay free on the file system.
    pub recording_reserve: u64,
    /// How long records are kept when pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Seconds>,
}

/// A role with every default filled in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleDetails {
    /// The role as its users see it; `standing` says whether any user has a standing assignment.
    #[serde(flatten)]
    pub terms: RoleInfo,
    /// The users who are eligible.
    pub eligible: Vec<String>,
    /// The users with a standing assignment.
    pub standing_for: Vec<String>,
    /// The groups that `-g` may name.
    pub run_as_groups: Vec<String>,
    /// The hosts on which the role applies.
    pub hosts: Vec<String>,
    /// Variables kept from the caller's environment.
    pub env_keep: Vec<String>,
    /// Whether the caller may set any variable.
    pub setenv: bool,
    /// Whether its commands may execute no other program.
    #[serde(default)]
    pub noexec: bool,
    /// Every option that differs from its default, by its key; durations in seconds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// The PAM service, if it is not the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pam_service: Option<String>,
    /// How long a request may stay pending, in seconds.
    pub request_lifetime: Seconds,
    /// What happens to a running command when its grant expires: `terminate`, `freeze` or `finish`.
    pub on_expiry: String,
    /// What happens to a running command when its user loses the role: `end` or `finish`.
    pub on_removal: String,
    /// What happens to processes that a finished command left running: `end` or `keep`.
    pub leftovers: String,
    /// Its rank: of a user's roles with a rule that matches a command, those with the highest one decide.
    pub order: u32,
    /// Which sessions are recorded: `none`, `tty` or `all`.
    pub record: String,
    /// Whether input is recorded while the terminal echoes it.
    pub record_input: bool,
    /// The users who may watch a running session.
    pub observers: Vec<String>,
    /// File and line of its definition.
    pub source: String,
}

/// The evaluation of one command for one user, without grants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    /// The user who would run it.
    pub user: String,
    /// The run-as user.
    pub run_as: String,
    /// The command: resolved path and arguments.
    pub command: Vec<Word>,
    /// `standing`, `eligible` or `denied`.
    pub verdict: String,
    /// Every role that allows it, narrowest first; the first one decides.
    pub roles: Vec<RoleName>,
    /// The reason, in one sentence.
    pub because: String,
    /// The terms of the first role that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<RoleInfo>,
}

impl Evaluation {
    /// Fills in the result for `roles` that allow the command, the narrowest first.
    pub fn allow(&mut self, verdict: &str, roles: &[Role]) {
        let Some(first) = roles.first() else { return };
        verdict.clone_into(&mut self.verdict);
        self.roles = roles.iter().map(|role| role.name.clone()).collect();
        self.because = format!("role {} is {verdict}", first.name);
        self.terms = Some(RoleInfo::of(first, verdict == "standing"));
    }

    /// Returns `standing`, `denied` or `eligible:ROLE`, as in a file of expected results.
    pub fn answer(&self) -> String {
        match (self.verdict.as_str(), self.roles.first()) {
            ("eligible", Some(role)) => format!("eligible:{role}"),
            (verdict, _) => verdict.to_owned(),
        }
    }
}
