//! The keys of this room as they are written in a table.

use std::path::PathBuf;

use super::super::error::PolicyError;
use super::super::table::Table;
use super::limit::{RESOURCES, Rlimit};
use super::values::{Lecture, RunDirectory, TimestampType, Umask, absolute, pam_service, words};
use super::variables::{Lists, change, list_entry};
use super::{Options, UNTIL_REBOOT};
use crate::clock::duration;
use crate::clock::duration::Seconds;

/// Keys of this room; `env_keep` and its like stand here too, though a role adds to them.
pub(in super::super) const OPTIONS: &[&str] = &[
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

impl Options {
    /// Reads the keys of `table` over `self`. Lists of variables begin anew in `[defaults]` (`Lists::Replace`) and are
    /// added to in a role.
    pub(in super::super) fn read(mut self, table: &Table<'_>, lists: Lists) -> Result<Self, PolicyError> {
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

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Absolute paths parted by colons.
fn directories(text: &str) -> Result<Vec<PathBuf>, String> {
    text.split(':')
        .map(|part| absolute(part).map_err(|_| "must be absolute paths parted by ':', without '..'".to_owned()))
        .collect()
}

fn remembered(text: &str) -> Result<Seconds, duration::InvalidDuration> {
    if text == "until-reboot" { Ok(UNTIL_REBOOT) } else { duration::seconds(text) }
}
