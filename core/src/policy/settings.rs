//! What the policy says of the whole host rather than of a role, with the values that hold when it says nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::principal::Principal;
use super::recording::{RecordingSettings, is_default};
use crate::budget::Storage;

/// Settings of the host: `[defaults]` (as far as no role decides) and `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What holds where no role says otherwise, and where no role is in question (-v, the search for a command).
    #[serde(serialize_with = "Options::serialize_changed")]
    pub options: Options,
    /// From SIGTERM to SIGKILL when a grant ends under a running command; at most a minute.
    pub grace_period: Duration,
    /// How the journal is mirrored and who may read it.
    pub audit: AuditSettings,
    /// How many requests one person may make within an hour; at least 1.
    pub request_rate: u32,
    /// Whether some role has an `order`, so that a role which refuses may overrule another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
}

/// The table `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSettings {
    /// What the mirror in syslog decides.
    pub syslog: SyslogMode,
    /// Every record is sent to systemd's journal, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub journald: bool,
    /// Every record is sent to the kernel's audit log, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auditd: bool,
    /// Every record is written to this file, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_file: Option<JsonFile>,
    /// Variables whose values are recorded as a keyed digest; see [`name_matches`](super::name_matches).
    pub redact: Vec<String>,
    /// Who may read everybody's records besides root.
    pub readers: Vec<Principal>,
    /// What happens when a session cannot be recorded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recording: RecordingSettings,
    /// How long records are kept where somebody prunes them; nothing says it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// How much one user may cause to be stored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub storage: Storage,
}

/// `syslog` of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogMode {
    /// Every record is sent, and its state never decides a run.
    Mirror,
    /// Nothing runs when its record cannot be sent.
    Required,
    /// Nothing is sent.
    Off,
}

/// `json_file`, `json_file_size` and `json_file_count` of `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFile {
    /// Where it lies: absolute, with a name.
    pub path: PathBuf,
    /// It is put aside when a line more would make it longer than so many bytes.
    pub size: u64,
    /// How many files are kept with those put aside; at least 1.
    pub count: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            options: Options::default(),
            grace_period: Duration::from_millis(500),
            audit: AuditSettings::default(),
            request_rate: 30,
            ordered: false,
        }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            syslog: SyslogMode::Mirror,
            journald: false,
            auditd: false,
            json_file: None,
            redact: REDACT.map(str::to_owned).to_vec(),
            readers: Vec::new(),
            recording: RecordingSettings::default(),
            keep: None,
            storage: Storage::default(),
        }
    }
}

const REDACT: [&str; 6] = ["*_TOKEN", "*PASSWORD*", "*SECRET*", "*_KEY", "*PASSPHRASE*", "*CREDENTIAL*"];
