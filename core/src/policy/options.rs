//! How a command is run and its caller authenticated: what sudoers(5) calls Defaults. `[defaults]` and every role have
//! the same keys; the options of a role are those of `[defaults]` overridden by its own, so that a run looks in one
//! place.

mod limit;
mod narrowed;
mod values;
mod variables;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::error::PolicyError;
pub use limit::{RESOURCES, Rlimit};
pub use values::{Lecture, RunDirectory, TimestampType, Umask};
pub(super) use variables::Lists;

use super::role_file::pam_service;
use super::table::Table;
use crate::clock::duration;
use values::absolute;
use variables::{ENV_CHECK, ENV_DELETE, ENV_KEEP, change, list_entry};

/// The keys of this module; `env_keep` and similar keys are included, although a role adds to them.
pub(super) const OPTIONS: &[&str] = &[
    "env_reset",
    "env_keep",
    "env_check",
    "env_delete",
    "setenv",
    "secure_path",
    "set_logname",
    "set_home",
    "always_set_home",
    "umask",
    "umask_override",
    "use_pty",
    "runcwd",
    "closefrom",
    "closefrom_override",
    "command_timeout",
    "user_command_timeouts",
    "rlimit_as",
    "rlimit_core",
    "rlimit_cpu",
    "rlimit_data",
    "rlimit_fsize",
    "rlimit_locks",
    "rlimit_memlock",
    "rlimit_nofile",
    "rlimit_nproc",
    "rlimit_rss",
    "rlimit_stack",
    "requiretty",
    "rootpw",
    "targetpw",
    "timestamp_timeout",
    "timestamp_type",
    "passwd_tries",
    "passwd_timeout",
    "passprompt",
    "passprompt_override",
    "badpass_message",
    "lecture",
    "lecture_file",
    "pam_login_service",
    "editor",
    "env_editor",
];

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
    pub command_timeout: u64,
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
    pub timestamp_timeout: u64,
    /// The scope of the cached credentials.
    pub timestamp_type: TimestampType,
    /// The maximum number of password attempts, 1 to 10.
    pub passwd_tries: u32,
    /// The timeout of a password prompt; 0 means none.
    pub passwd_timeout: u64,
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
pub const UNTIL_REBOOT: u64 = u64::MAX;

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

    /// Overrides `self` with the keys of `table`. Lists of variables replace the previous ones in `[defaults]`
    /// (`Lists::Replace`) and are added to in a role.
    pub(super) fn read(mut self, table: &Table<'_>, lists: Lists) -> Result<Self, PolicyError> {
        self.read_environment(table, lists)?;
        self.read_process(table)?;
        self.read_authentication(table)?;
        Ok(self)
    }

    fn read_environment(&mut self, table: &Table<'_>, lists: Lists) -> Result<(), PolicyError> {
        set(&mut self.env_reset, table.boolean("env_reset")?);
        for (key, list) in
            [("env_keep", &mut self.env_keep), ("env_check", &mut self.env_check), ("env_delete", &mut self.env_delete)]
        {
            if let Some(entries) = table.each(key, list_entry)? {
                change(list, entries, lists);
            }
        }
        if let Some(value) = table.boolean("setenv")? {
            self.setenv = Some(value);
        }
        set(&mut self.secure_path, table.parsed("secure_path", directories)?);
        set(&mut self.set_logname, table.boolean("set_logname")?);
        set(&mut self.set_home, table.boolean("set_home")?);
        set(&mut self.always_set_home, table.boolean("always_set_home")?);
        Ok(())
    }

    fn read_process(&mut self, table: &Table<'_>) -> Result<(), PolicyError> {
        set(&mut self.umask, table.parsed("umask", Umask::parse)?);
        set(&mut self.umask_override, table.boolean("umask_override")?);
        set(&mut self.use_pty, table.boolean("use_pty")?);
        if let Some(value) = table.parsed("runcwd", RunDirectory::parse)? {
            self.runcwd = Some(value);
        }
        set(&mut self.closefrom, table.number("closefrom", 3..1_048_577)?);
        set(&mut self.closefrom_override, table.boolean("closefrom_override")?);
        set(&mut self.command_timeout, table.parsed("command_timeout", duration::seconds)?);
        set(&mut self.user_command_timeouts, table.boolean("user_command_timeouts")?);
        for resource in RESOURCES {
            if let Some(limit) = table.parsed(&format!("rlimit_{resource}"), Rlimit::parse)? {
                self.rlimits.insert((*resource).to_owned(), limit);
            }
        }
        set(&mut self.editor, table.parsed("editor", directories)?);
        set(&mut self.env_editor, table.boolean("env_editor")?);
        Ok(())
    }

    fn read_authentication(&mut self, table: &Table<'_>) -> Result<(), PolicyError> {
        set(&mut self.requiretty, table.boolean("requiretty")?);
        set(&mut self.rootpw, table.boolean("rootpw")?);
        set(&mut self.targetpw, table.boolean("targetpw")?);
        set(&mut self.timestamp_timeout, table.parsed("timestamp_timeout", remembered)?);
        set(&mut self.timestamp_type, table.parsed("timestamp_type", TimestampType::parse)?);
        set(&mut self.passwd_tries, table.number("passwd_tries", 1..11)?);
        set(&mut self.passwd_timeout, table.parsed("passwd_timeout", duration::seconds)?);
        set(&mut self.passprompt, table.parsed("passprompt", words)?);
        set(&mut self.passprompt_override, table.boolean("passprompt_override")?);
        set(&mut self.badpass_message, table.parsed("badpass_message", words)?);
        set(&mut self.lecture, table.parsed("lecture", Lecture::parse)?);
        if let Some(value) = table.parsed("lecture_file", absolute)? {
            self.lecture_file = Some(value);
        }
        if let Some(value) = table.parsed("pam_login_service", pam_service)? {
            self.pam_login_service = Some(value);
        }
        Ok(())
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

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Parses absolute paths separated by colons.
fn directories(text: &str) -> Result<Vec<PathBuf>, String> {
    text.split(':')
        .map(|part| absolute(part).map_err(|_| "must be absolute paths separated by ':', without '..'".to_owned()))
        .collect()
}

fn remembered(text: &str) -> Result<u64, duration::InvalidDuration> {
    if text == "until-reboot" { Ok(UNTIL_REBOOT) } else { duration::seconds(text) }
}

/// Validates a text for a terminal: no control characters but tabs and line ends.
fn words(text: &str) -> Result<String, &'static str> {
    if text.len() > 1024 || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        Err("must be at most 1024 bytes without control characters")
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
