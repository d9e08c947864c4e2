//! The settings of the whole host, with their defaults.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::principal::Principal;
use super::recording::{RecordingSettings, is_default};
use crate::budget::Storage;

/// Settings of the host: `[defaults]` (those that do not belong to roles) and `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The options for roles that do not override them, and for operations without a role (-v, the search for a
    /// command).
    #[serde(serialize_with = "Options::serialize_changed")]
    pub options: Options,
    /// The time from SIGTERM to SIGKILL when a grant ends while a command runs; at most a minute.
    pub grace_period: Duration,
    /// The log sinks of the journal, and the users who may read it.
    pub audit: AuditSettings,
    /// The maximum number of requests of one user within an hour; at least 1.
    pub request_rate: u32,
    /// Whether a role has an `order`, so that a role which denies may overrule another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
}

/// The table `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSettings {
    /// How records are sent to syslog.
    pub syslog: SyslogMode,
    /// What else is sent to syslog.
    #[serde(default, skip_serializing_if = "is_default")]
    pub syslog_format: SyslogFormat,
    /// Whether every record is also sent to systemd's journal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub journald: bool,
    /// Whether every record is also sent to the kernel's audit log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auditd: bool,
    /// The file to which every record is also written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_file: Option<JsonFile>,
    /// Variables whose values are recorded as a keyed digest; see [`name_matches`](super::name_matches).
    pub redact: Vec<String>,
    /// The users who may read all records, besides root.
    pub readers: Vec<Principal>,
    /// What happens when a session cannot be recorded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recording: RecordingSettings,
    /// How long records are kept when an administrator prunes them; `None` if it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
    /// How long one sealing key signs the journal.
    #[serde(default = "usual_epoch", skip_serializing_if = "is_usual_epoch")]
    pub epoch: Duration,
    /// How much one user may cause to be stored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub storage: Storage,
}

/// `syslog` of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogMode {
    /// Every record is sent; errors never affect a run.
    Mirror,
    /// No command runs when its record cannot be sent.
    Required,
    /// No record is sent.
    Off,
}

/// `syslog_format` of `[audit]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogFormat {
    /// Each record as JSON.
    #[default]
    Json,
    /// Runs and refusals also as sudo writes them.
    Sudo,
}

/// `json_file`, `json_file_size` and `json_file_count` of `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFile {
    /// The path: absolute, with a file name.
    pub path: PathBuf,
    /// The file is rotated when another line would make it larger than this, in bytes.
    pub size: u64,
    /// The number of files that are kept, rotated ones included; at least 1.
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
            syslog_format: SyslogFormat::Json,
            journald: false,
            auditd: false,
            json_file: None,
            redact: REDACT.map(str::to_owned).to_vec(),
            readers: Vec::new(),
            recording: RecordingSettings::default(),
            keep: None,
            epoch: EPOCH,
            storage: Storage::default(),
        }
    }
}

/// `epoch` of `[audit]` if it is not set.
pub const EPOCH: Duration = Duration::from_secs(3600);

fn usual_epoch() -> Duration {
    EPOCH
}

fn is_usual_epoch(epoch: &Duration) -> bool {
    *epoch == EPOCH
}

const REDACT: [&str; 6] = ["*_TOKEN", "*PASSWORD*", "*SECRET*", "*_KEY", "*PASSPHRASE*", "*CREDENTIAL*"];
