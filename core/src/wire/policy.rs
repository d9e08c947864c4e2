//! The policy in force.

use super::verb::verb;
use super::{CommandWords, RoleInfo};
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

/// The policy in force, or one role of it: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyShow {
    /// Only this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
}

verb!("policy-show", PolicyShow => "policy", PolicyShown);

/// What the installed policy says of a command, grants aside: root and readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// Who would run it.
    pub user: UserName,
    /// What would be run.
    #[serde(flatten)]
    pub command: CommandWords,
}

verb!("policy-test", PolicyTest => "evaluation", Evaluation);

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
