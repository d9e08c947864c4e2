//! What the policy says of the whole host rather than of a role, with the values that hold when it says nothing.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::principal::Principal;

/// Settings of the host: `[defaults]` (as far as no role decides) and `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Where commands are looked for, and PATH of the command: absolute directories, at least one.
    pub secure_path: Vec<PathBuf>,
    /// How long a password is remembered for a terminal and session; zero means that it is asked every time.
    pub timestamp_timeout: Duration,
    /// How often a password may be tried, 1 to 10.
    pub passwd_tries: u32,
    /// How long a password prompt waits; zero means for ever.
    pub passwd_timeout: Duration,
    /// From SIGTERM to SIGKILL when a grant ends under a running command; at most a minute.
    pub grace_period: Duration,
    /// Variables kept from the caller's environment where no role says more; see [`name_matches`](super::name_matches).
    pub env_keep: Vec<String>,
    /// How the journal is mirrored and who may read it.
    pub audit: AuditSettings,
    /// How many requests one person may make within an hour; at least 1.
    pub request_rate: u32,
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

impl Settings {
    /// `secure_path` as the value of PATH.
    pub fn path_variable(&self) -> String {
        let directories: Vec<&str> = self.secure_path.iter().filter_map(|directory| directory.to_str()).collect();
        directories.join(":")
    }
}

/// Debian's sudo: `Defaults secure_path`, and sudoers(5) for the rest.
impl Default for Settings {
    fn default() -> Self {
        let secure_path = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        Self {
            secure_path: secure_path.map(PathBuf::from).to_vec(),
            timestamp_timeout: Duration::from_secs(15 * 60),
            passwd_tries: 3,
            passwd_timeout: Duration::from_secs(5 * 60),
            grace_period: Duration::from_millis(500),
            env_keep: ENV_KEEP.map(str::to_owned).to_vec(),
            audit: AuditSettings::default(),
            request_rate: 30,
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
        }
    }
}

/// "Environment variables to preserve" of `sudo -V`, without PATH: that is always `secure_path`.
const ENV_KEEP: [&str; 11] = [
    "COLORS",
    "DISPLAY",
    "DPKG_COLORS",
    "HOSTNAME",
    "KRB5CCNAME",
    "LS_COLORS",
    "PS1",
    "PS2",
    "XAUTHORITY",
    "XAUTHORIZATION",
    "XDG_CURRENT_DESKTOP",
];

const REDACT: [&str; 6] = ["*_TOKEN", "*PASSWORD*", "*SECRET*", "*_KEY", "*PASSPHRASE*", "*CREDENTIAL*"];
