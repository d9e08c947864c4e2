//! The environment of the command: sudo's rules (sudoers(5), "Command environment"). Built before the `start` record,
//! because the record holds it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::authorized::{Authorized, Power};
use crate::elevation::{Elevation, Wish};
use crate::escape::Word;
use crate::policy::{Role, name_matches};

/// Where a variable came from decides what may replace it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Caller,
    Us,
}

/// Kept only when the value cannot be a format string or a path (sudo's `env_check`).
const CHECKED: &[&str] = &["COLORTERM", "LANG", "LANGUAGE", "LC_*", "LINGUAS", "TERM", "TZ"];

/// Never handed on, whoever asks (sudo's `env_delete`): loader, shell, resolver and interpreter variables.
const DELETED: &[&str] = &[
    "IFS",
    "CDPATH",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
    "NLSPATH",
    "PATH_LOCALE",
    "LD_*",
    "_RLD*",
    "SHLIB_PATH",
    "LIBPATH",
    "DYLD_*",
    "AUTHSTATE",
    "KRB5_CONFIG*",
    "KRB5_KTNAME",
    "VAR_ACE",
    "USR_ACE",
    "DLC_ACE",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMPATH",
    "TERMCAP",
    "ENV",
    "BASH_ENV",
    "PS4",
    "GLOBIGNORE",
    "BASHOPTS",
    "SHELLOPTS",
    "JAVA_TOOL_OPTIONS",
    "PERLIO_DEBUG",
    "PERLLIB",
    "PERL5LIB",
    "PERL5OPT",
    "PERL5DB",
    "FPATH",
    "NULLCMD",
    "READNULLCMD",
    "ZDOTDIR",
    "TMPPREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONINSPECT",
    "PYTHONUSERBASE",
    "RUBYLIB",
    "RUBYOPT",
    "GCONV_PATH",
    "GETCONF_DIR",
    "LOCPATH",
    "MALLOC_*",
    "NIS_PATH",
    "RESOLV_*",
    "SQLITE_TMPDIR",
    "TMPDIR",
    "SUDO_*",
    "JIT_SUDO_*",
];

/// sudo cuts `SUDO_COMMAND` at this many bytes.
const COMMAND_LIMIT: usize = 4096;

/// The settings of the policy that this room needs.
pub struct Rules<'a> {
    /// `secure_path`.
    pub secure_path: &'a str,
    /// `env_keep` of `[defaults]`.
    pub env_keep: &'a [String],
}

/// The caller asked for what the role does not allow.
#[derive(Debug, PartialEq, Eq)]
pub enum EnvironmentError {
    /// -E without `setenv`.
    Preserve,
    /// VAR=value or --preserve-env=list without `setenv`.
    Set(Vec<Word>),
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preserve => f.write_str("sorry, you are not allowed to preserve the environment"),
            Self::Set(names) => {
                f.write_str("sorry, you are not allowed to set the following environment variables: ")?;
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// The environment under construction, in a stable order.
struct Environment {
    variables: BTreeMap<Vec<u8>, (Vec<u8>, Origin)>,
}

/// Builds the environment for `authorized`; `pam` is what the PAM stack wants set, `run` is the id of the run.
pub fn build(
    authorized: &Authorized,
    rules: &Rules<'_>,
    pam: &[OsString],
    run: &str,
) -> Result<Vec<OsString>, EnvironmentError> {
    let elevation = authorized.elevation();
    let mut environment = Environment { variables: BTreeMap::new() };
    environment.take_from_caller(elevation.wish(), authorized.role(), rules)?;
    environment.set_target(elevation, rules);
    environment.set_wished(elevation.wish(), authorized.role(), rules)?;
    environment.merge_pam(pam);
    environment.set_sudo(elevation);
    environment.set("JIT_SUDO_RUN", run);
    if let Power::Grant(terms) = authorized.power() {
        environment.set("JIT_SUDO_GRANT", terms.id.as_str());
    }
    Ok(environment.into_entries())
}

impl Environment {
    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.variables.insert(name.into(), (value.as_ref().as_bytes().to_vec(), Origin::Us));
    }

    fn set_if_absent(&mut self, name: &str, value: impl AsRef<OsStr>) {
        if !self.variables.contains_key(name.as_bytes()) {
            self.set(name, value);
        }
    }

    fn take_from_caller(&mut self, wish: &Wish, role: &Role, rules: &Rules<'_>) -> Result<(), EnvironmentError> {
        let wanted = &wish.environment;
        if wanted.preserve_all && !role.setenv {
            return Err(EnvironmentError::Preserve);
        }
        let mut refused = Vec::new();
        for (name, value) in wish.inherited.iter().filter_map(|entry| split(entry)) {
            if is_function(value) || self.variables.contains_key(name) {
                continue; // the first of two wins, as with getenv(3)
            }
            let listed = wanted.preserve.iter().any(|preserved| preserved.as_bytes() == name);
            let kept = is_kept(name, value, role, rules);
            if listed && !kept && !role.setenv {
                refused.push(Word::from(OsStr::from_bytes(name)));
            } else if kept || ((listed || wanted.preserve_all) && !matches_any(DELETED, name)) {
                self.variables.insert(name.to_vec(), (value.to_vec(), Origin::Caller));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(EnvironmentError::Set(refused)) }
    }

    fn set_target(&mut self, elevation: &Elevation, rules: &Rules<'_>) {
        let (account, wish) = (elevation.run_as().account(), elevation.wish());
        let keep = wish.environment.preserve_all && !wish.login;
        for (name, value) in [
            ("LOGNAME", account.name.as_bytes()),
            ("USER", account.name.as_bytes()),
            ("SHELL", account.shell.as_os_str().as_bytes()),
            ("MAIL", &[b"/var/mail/", account.name.as_bytes()].concat()),
            ("HOME", account.home.as_os_str().as_bytes()),
        ] {
            let value = OsStr::from_bytes(value);
            let forced = name == "HOME" && wish.set_home;
            if keep && !forced { self.set_if_absent(name, value) } else { self.set(name, value) }
        }
        self.set("PATH", rules.secure_path);
        self.set_if_absent("TERM", "unknown");
    }

    fn set_wished(&mut self, wish: &Wish, role: &Role, rules: &Rules<'_>) -> Result<(), EnvironmentError> {
        let mut refused = Vec::new();
        for (name, value) in &wish.environment.set {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            if role.setenv || (is_kept(name, value, role, rules) && !is_function(value)) {
                self.variables.insert(name.to_vec(), (value.to_vec(), Origin::Caller));
            } else {
                refused.push(Word::from(OsStr::from_bytes(name)));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(EnvironmentError::Set(refused)) }
    }

    /// What the stack sets counts, except over what the caller was allowed to keep (sudoers(5)).
    fn merge_pam(&mut self, pam: &[OsString]) {
        for (name, value) in pam.iter().filter_map(|entry| split(entry)) {
            let kept = self.variables.get(name).is_some_and(|(_, origin)| *origin == Origin::Caller);
            // PATH of pam_env is for logins; secure_path decides here.
            if !kept && name != b"PATH" {
                self.variables.insert(name.to_vec(), (value.to_vec(), Origin::Us));
            }
        }
    }

    fn set_sudo(&mut self, elevation: &Elevation) {
        let caller = elevation.caller();
        let mut line = elevation.command().line().into_vec();
        line.truncate(COMMAND_LIMIT);
        self.set("SUDO_COMMAND", OsString::from_vec(line));
        self.set("SUDO_USER", caller.name().as_str());
        self.set("SUDO_UID", caller.uid().to_string());
        self.set("SUDO_GID", caller.gid().to_string());
        self.set("SUDO_HOME", &caller.account().home);
        if let Some(tty) = caller.tty() {
            self.set("SUDO_TTY", &tty.name);
        }
        let inherited = &elevation.wish().inherited;
        if let Some(prompt) = inherited.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"SUDO_PS1=")) {
            self.set("PS1", OsStr::from_bytes(prompt));
        }
    }

    fn into_entries(self) -> Vec<OsString> {
        let entry = |(mut name, (value, _)): (Vec<u8>, (Vec<u8>, Origin))| {
            name.push(b'=');
            name.extend_from_slice(&value);
            OsString::from_vec(name)
        };
        self.variables.into_iter().map(entry).collect()
    }
}

/// Name and value of an entry; an entry without a name or without `=` is none.
fn split(entry: &OsStr) -> Option<(&[u8], &[u8])> {
    let bytes = entry.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').filter(|index| *index > 0)?;
    let (name, value) = bytes.split_at_checked(equals)?;
    Some((name, value.get(1..)?))
}

/// An exported shell function (CVE-2014-6271).
fn is_function(value: &[u8]) -> bool {
    value.starts_with(b"()")
}

fn is_kept(name: &[u8], value: &[u8], role: &Role, rules: &Rules<'_>) -> bool {
    let kept = |list: &[String]| list.iter().any(|pattern| name_matches(pattern, name));
    if kept(rules.env_keep) || kept(&role.env_keep) {
        return true;
    }
    if name == b"TZ" {
        return is_plain_time_zone(value);
    }
    matches_any(CHECKED, name) && !value.iter().any(|byte| b"%/".contains(byte))
}

/// sudo's rule for TZ (CVE-2014-9680): a name below the zone directory, printable, no parent directories.
fn is_plain_time_zone(value: &[u8]) -> bool {
    let value = value.strip_prefix(b":").unwrap_or(value);
    value.len() < 256
        && value.first() != Some(&b'/')
        && value.iter().all(u8::is_ascii_graphic)
        && !value.split(|byte| *byte == b'/').any(|part| part == b"..")
}

fn matches_any(patterns: &[&str], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// `LC_*` covers every name that begins so; without a star the names are equal.
fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_without_name_or_value_are_not_variables() {
        assert_eq!(split(OsStr::new("A=b=c")), Some((&b"A"[..], &b"b=c"[..])));
        assert_eq!(split(OsStr::new("=x")), None);
        assert_eq!(split(OsStr::new("A")), None);
        assert_eq!(split(OsStr::new("")), None);
    }

    #[test]
    fn time_zones_stay_below_their_directory() {
        assert!(is_plain_time_zone(b"Europe/Berlin"));
        assert!(is_plain_time_zone(b":UTC"));
        for bad in [&b"/etc/shadow"[..], b"../../etc/shadow", b":/dev/zero", b"A B", b"\xff"] {
            assert!(!is_plain_time_zone(bad));
        }
    }

    #[test]
    fn patterns_end_in_a_star_or_are_whole_names() {
        assert!(matches("LC_*", b"LC_ALL"));
        assert!(!matches("LANG", b"LANGUAGE"));
        assert!(matches_any(DELETED, b"LD_PRELOAD"));
        assert!(matches_any(DELETED, b"SUDO_ASKPASS"));
    }
}
