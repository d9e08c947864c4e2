//! How a command is run and its caller authenticated: what sudoers(5) calls Defaults. `[defaults]` and every role have
//! the same keys; the options of a role are those of `[defaults]` overridden by its own, so that a run looks in one
//! place.

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

use crate::clock::duration::Seconds;
use variables::{ENV_CHECK, ENV_DELETE, ENV_KEEP};

/// The effective value of every key. Times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The command gets a new environment; otherwise the caller's, cleaned.
    pub env_reset: bool,
    /// Variables kept from the caller; see [`name_matches`](super::name_matches), and `NAME=VALUE` patterns match both.
    pub env_keep: Vec<Cow<'static, str>>,
    /// Variables kept when their values are harmless.
    pub env_check: Vec<Cow<'static, str>>,
    /// Variables dropped when the environment is not reset.
    pub env_delete: Vec<Cow<'static, str>>,
    /// Whether the caller may set any variable; without a value, a caller who may run every command may.
    pub setenv: Option<bool>,
    /// The directories in which commands are searched, and PATH of the command: absolute, at least one.
    pub secure_path: Vec<PathBuf>,
    /// LOGNAME and USER are set to the run-as user.
    pub set_logname: bool,
    /// With -s, HOME is that of the run-as user even if the caller's is kept.
    pub set_home: bool,
    /// HOME is that of the run-as user even if the caller's is kept.
    pub always_set_home: bool,
    /// Added to the caller's mask.
    pub umask: Umask,
    /// The caller's mask is ignored.
    pub umask_override: bool,
    /// On a terminal, the command gets a terminal of its own.
    pub use_pty: bool,
    /// The working directory of the command; `None`: the caller's.
    pub runcwd: Option<RunDirectory>,
    /// Descriptors from this one on are closed; at least 3.
    pub closefrom: u32,
    /// -C may change it.
    pub closefrom_override: bool,
    /// The maximum run time of a command; 0 means no limit.
    pub command_timeout: Seconds,
    /// -T may set a shorter time.
    pub user_command_timeouts: bool,
    /// Resource limits by name (`nofile`), if they are not the caller's or PAM's.
    pub rlimits: BTreeMap<String, Rlimit>,
    /// Commands require a terminal.
    pub requiretty: bool,
    /// Ask for root's password.
    pub rootpw: bool,
    /// Ask for the run-as user's password.
    pub targetpw: bool,
    /// How long credentials are cached; 0: not at all; [`UNTIL_REBOOT`].
    pub timestamp_timeout: Seconds,
    /// The scope of the cached credentials.
    pub timestamp_type: TimestampType,
    /// The maximum number of password attempts, 1 to 10.
    pub passwd_tries: u32,
    /// The timeout of a password prompt; 0 means none.
    pub passwd_timeout: Seconds,
    /// The prompt, unless the caller sets one; with the escapes of -p.
    pub passprompt: String,
    /// It replaces every prompt of PAM.
    pub passprompt_override: bool,
    /// The message after a wrong password.
    pub badpass_message: String,
    /// Whether users are lectured before they type a password.
    pub lecture: Lecture,
    /// The file with the lecture, instead of sudo's text.
    pub lecture_file: Option<PathBuf>,
    /// The PAM service of -i.
    pub pam_login_service: Option<String>,
    /// The editors of -e if the caller names none: absolute paths.
    pub editor: Vec<PathBuf>,
    /// The caller may name any editor; otherwise only one of `editor`.
    pub env_editor: bool,
}

/// A `timestamp_timeout` that lasts until the machine is restarted.
pub const UNTIL_REBOOT: Seconds = Seconds(u64::MAX);

impl Options {
    /// Returns `secure_path` as the value of PATH.
    pub fn path_variable(&self) -> String {
        let directories: Vec<&str> = self.secure_path.iter().filter_map(|directory| directory.to_str()).collect();
        directories.join(":")
    }

    /// Returns the keys whose values differ from the built-in defaults, for the index and for display.
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

    /// Serializes only what [`Self::changed`] returns: most roles change nothing, and every run reads one.
    pub(super) fn serialize_changed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.changed().serialize(serializer)
    }
}

/// The defaults of Debian's sudo: its sudoers, and sudoers(5) with `sudo -V` for the rest.
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
            command_timeout: Seconds::ZERO,
            user_command_timeouts: false,
            rlimits: BTreeMap::from([("core".to_owned(), Rlimit::Limit { soft: 0, hard: 0 })]),
            requiretty: false,
            rootpw: false,
            targetpw: false,
            timestamp_timeout: Seconds(15 * 60),
            timestamp_type: TimestampType::Tty,
            passwd_tries: 3,
            passwd_timeout: Seconds(5 * 60),
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
