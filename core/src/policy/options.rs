//! How a command is run and its caller authenticated: what sudoers(5) calls Defaults. The same keys stand in `[defaults]`
//! and in every role; a role has those of `[defaults]` with its own over them, so that a run looks in one place.

mod limit;
mod narrowed;
mod sound;
#[cfg(feature = "policy-text")]
mod text;
mod values;
mod variables;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

pub use limit::{RESOURCES, Rlimit};
#[cfg(feature = "policy-text")]
pub(super) use text::OPTIONS;
pub(super) use values::pam_service;
pub use values::{Lecture, RunDirectory, TimestampType, Umask};
#[cfg(feature = "policy-text")]
pub(super) use variables::Lists;
pub(super) use variables::variable_pattern;

use variables::{ENV_CHECK, ENV_DELETE, ENV_KEEP};

/// The value of every key, in force. Times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The command gets a new environment; otherwise the caller's, cleaned.
    pub env_reset: bool,
    /// Variables kept from the caller; see [`name_matches`](super::name_matches), and `NAME=VALUE` patterns match both.
    pub env_keep: Vec<Cow<'static, str>>,
    /// Variables kept when their values are harmless.
    pub env_check: Vec<Cow<'static, str>>,
    /// Variables dropped where the environment is not reset.
    pub env_delete: Vec<Cow<'static, str>>,
    /// Whether the caller may set any variable; unsaid, whoever may run every command may.
    pub setenv: Option<bool>,
    /// Where commands are looked for, and PATH of the command: absolute directories, at least one.
    pub secure_path: Vec<PathBuf>,
    /// LOGNAME and USER are the target's.
    pub set_logname: bool,
    /// With -s, HOME is the target's even where the caller's is kept.
    pub set_home: bool,
    /// HOME is the target's even where the caller's is kept.
    pub always_set_home: bool,
    /// Added to the caller's mask.
    pub umask: Umask,
    /// The caller's mask does not count.
    pub umask_override: bool,
    /// On a terminal, the command gets one of its own.
    pub use_pty: bool,
    /// Where the command runs; none: where the caller is.
    pub runcwd: Option<RunDirectory>,
    /// Descriptors from this one on are closed; at least 3.
    pub closefrom: u32,
    /// -C may say another.
    pub closefrom_override: bool,
    /// How long a command may run; 0 means for ever.
    pub command_timeout: u64,
    /// -T may say a shorter time.
    pub user_command_timeouts: bool,
    /// Resource limits by name (`nofile`), where they are not the caller's or PAM's.
    pub rlimits: BTreeMap<String, Rlimit>,
    /// Nothing runs without a terminal.
    pub requiretty: bool,
    /// Root's password is asked for.
    pub rootpw: bool,
    /// The target's password is asked for.
    pub targetpw: bool,
    /// How long a password is remembered; 0: not at all; [`UNTIL_REBOOT`].
    pub timestamp_timeout: u64,
    /// For what it is remembered.
    pub timestamp_type: TimestampType,
    /// How often a password may be tried, 1 to 10.
    pub passwd_tries: u32,
    /// How long a password prompt waits; 0 means for ever.
    pub passwd_timeout: u64,
    /// The prompt, unless the caller has one; with the escapes of -p.
    pub passprompt: String,
    /// It replaces every prompt of PAM.
    pub passprompt_override: bool,
    /// Said after a wrong password.
    pub badpass_message: String,
    /// Whether people are lectured before they type a password.
    pub lecture: Lecture,
    /// What is said then, instead of sudo's words.
    pub lecture_file: Option<PathBuf>,
    /// The PAM service of -i.
    pub pam_login_service: Option<String>,
    /// The editors of -e when the caller names none: absolute paths.
    pub editor: Vec<PathBuf>,
    /// The caller may name any editor; otherwise only one of `editor`.
    pub env_editor: bool,
}

/// `timestamp_timeout` that does not end while the machine runs.
pub const UNTIL_REBOOT: u64 = u64::MAX;

impl Options {
    /// `secure_path` as the value of PATH.
    pub fn path_variable(&self) -> String {
        let directories: Vec<&str> = self.secure_path.iter().filter_map(|directory| directory.to_str()).collect();
        directories.join(":")
    }

    /// The keys whose values are not those that hold when nobody says anything, for the index and for people.
    pub fn changed(&self) -> Map<String, Value> {
        let usual = Self::default().fields();
        self.fields().into_iter().filter(|(key, value)| usual.get(key) != Some(value)).collect()
    }

    fn fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(), // a struct of numbers and texts is always an object
        }
    }

    /// Writes only what [`Self::changed`] tells: most roles say nothing, and every run reads one.
    pub(super) fn serialize_changed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.changed().serialize(serializer)
    }
}

/// Debian's sudo: its sudoers, and sudoers(5) with `sudo -V` for the rest.
impl Default for Options {
    fn default() -> Self {
        let texts = |list: &[&'static str]| list.iter().copied().map(Cow::Borrowed).collect();
        let secure_path = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        Self {
            env_reset: true,
            env_keep: texts(ENV_KEEP),
            env_check: texts(ENV_CHECK),
            env_delete: texts(ENV_DELETE),
            setenv: None,
            secure_path: secure_path.map(PathBuf::from).to_vec(),
            set_logname: true,
            set_home: false,
            always_set_home: false,
            umask: Umask::USUAL,
            umask_override: false,
            use_pty: true,
            runcwd: None,
            closefrom: 3,
            closefrom_override: false,
            command_timeout: 0,
            user_command_timeouts: false,
            rlimits: BTreeMap::from([("core".to_owned(), Rlimit::Limit { soft: 0, hard: 0 })]),
            requiretty: false,
            rootpw: false,
            targetpw: false,
            timestamp_timeout: 15 * 60,
            timestamp_type: TimestampType::Tty,
            passwd_tries: 3,
            passwd_timeout: 5 * 60,
            passprompt: "[sudo] password for %p: ".to_owned(),
            passprompt_override: false,
            badpass_message: "Sorry, try again.".to_owned(),
            lecture: Lecture::Never,
            lecture_file: None,
            pam_login_service: None,
            editor: vec![PathBuf::from("/usr/bin/editor")],
            env_editor: true,
        }
    }
}

#[cfg(test)]
mod tests;
