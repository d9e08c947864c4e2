//! The environment of the command: sudo's rules (sudoers(5), "Command environment"). Built before the `start` record,
//! because the record holds it. [`CommandEnvironment`] is made here alone, so that a command has no other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Authorized, EnvironmentPolicy, Power};
use crate::elevation::environment::{Variable, split};
use crate::elevation::{CallersEnvironment, Elevation, Wish};
use jit_core::escape::Word;
use jit_core::policy::{Options, Role, name_matches};

/// The variable in which a command is told its run.
pub const RUN_VARIABLE: &str = "JIT_SUDO_RUN";

/// sudo cuts `SUDO_COMMAND` at this many bytes.
const COMMAND_LIMIT: usize = 4096;

/// Where time zones lie: TZ may name a file there and nowhere else.
const ZONES: &[u8] = b"/usr/share/zoneinfo/";

/// The longest TZ (PATH_MAX).
const LONGEST_ZONE: usize = 4096;

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

/// The environment of a command that runs with power: entries `NAME=VALUE`, as the plan of its run lets it have them.
pub struct CommandEnvironment(Vec<OsString>);

/// What a run executes, by the environment that it gets.
pub enum RunEnvironment {
    /// The command of the plan.
    Command(CommandEnvironment),
    /// The caller's editor, which runs as the caller and gets all that is theirs. No command is executed with it.
    Editor(CallersEnvironment),
}

impl CommandEnvironment {
    /// The entries, sorted by name.
    pub fn entries(&self) -> &[OsString] {
        &self.0
    }
}

impl RunEnvironment {
    /// The entries, for the record.
    pub fn entries(&self) -> &[OsString] {
        match self {
            Self::Command(environment) => environment.entries(),
            Self::Editor(callers) => callers.entries(),
        }
    }
}

/// Builds the environment for `authorized`; `pam` is what the PAM stack wants set, `run` is the id of the run.
///
/// # Errors
/// What the role does not let the caller have.
pub fn build(authorized: &Authorized, pam: &[OsString], run: &str) -> Result<CommandEnvironment, EnvironmentError> {
    let mut environment = match authorized.plan().environment() {
        EnvironmentPolicy::Role(callers) => from_caller(authorized, callers, pam)?,
        EnvironmentPolicy::Exact(named) => made_anew(authorized, named, pam)?,
    };
    environment.set_sudo(authorized.elevation());
    environment.set(RUN_VARIABLE, run);
    if let Power::Grant(terms) = authorized.power() {
        environment.set("JIT_SUDO_GRANT", terms.id.as_str());
    }
    Ok(CommandEnvironment(environment.into_entries()))
}

/// Whether `role` would let the caller have what they wish of their variables.
///
/// # Errors
/// What it does not let them have.
pub fn may_have(role: &Role, elevation: &Elevation) -> Result<(), EnvironmentError> {
    let Some(callers) = elevation.environment() else { return Ok(()) };
    let exact = role.activation.exact_command;
    let rules = Rules::of(role, elevation.wish(), callers.wants_everything());
    let rules = if exact { rules.anew() } else { rules };
    rules.wished(callers).map(|_| ())
}

/// What the role lets through of the caller's variables, and what it lets them set.
fn from_caller(
    authorized: &Authorized,
    callers: &CallersEnvironment,
    pam: &[OsString],
) -> Result<Environment, EnvironmentError> {
    let elevation = authorized.elevation();
    let wish = elevation.wish();
    let rules = Rules::of(authorized.role(), wish, callers.wants_everything());
    let wished = rules.wished(callers)?;

    let mut environment = Environment::default();
    environment.take_from_caller(callers, &rules);
    environment.set_target(elevation, &rules);
    for (name, value) in wished {
        environment.put(name, value);
    }
    environment.merge_pam(pam, &rules);
    let prompt = callers.variables().find(|(name, _)| name == b"SUDO_PS1");
    if let Some((_, prompt)) = prompt {
        environment.put(b"PS1", prompt);
    }
    Ok(environment)
}

/// For an exact grant: nothing of the caller's but what the request named and the approver saw, as far as the role lets
/// the caller set it.
fn made_anew(authorized: &Authorized, named: &[Word], pam: &[OsString]) -> Result<Environment, EnvironmentError> {
    let elevation = authorized.elevation();
    let rules = Rules::of(authorized.role(), elevation.wish(), false).anew();
    let named: Vec<Variable<'_>> = named.iter().filter_map(|entry| split(entry.as_os_str())).collect();
    rules.permit(&named)?;

    let mut environment = Environment::default();
    environment.set_target(elevation, &rules);
    for (name, value) in named {
        environment.put(name, value);
    }
    environment.merge_pam(pam, &rules);
    Ok(environment)
}

/// What the role says of variables, for this wish.
struct Rules<'a> {
    options: &'a Options,
    /// The environment is made anew; otherwise it is the caller's, cleaned.
    reset: bool,
    /// The caller may set anything.
    may_set: bool,
    shell: bool,
}

impl<'a> Rules<'a> {
    fn of(role: &'a Role, wish: &Wish, wants_everything: bool) -> Self {
        let (options, may_set) = (&role.options, role.lets_set_variables());
        let preserves = wants_everything && may_set;
        Self { options, reset: wish.login || (options.env_reset && !preserves), may_set, shell: wish.shell }
    }

    /// The same for an environment that is made anew.
    fn anew(self) -> Self {
        Self { reset: true, shell: false, ..self }
    }

    /// What the caller said on the command line, where all of it is allowed.
    fn wished<'w>(&self, callers: &'w CallersEnvironment) -> Result<Vec<Variable<'w>>, EnvironmentError> {
        if callers.wants_everything() && !self.may_set {
            return Err(EnvironmentError::Preserve);
        }
        let wished = callers.wished();
        self.permit(&wished)?;
        Ok(wished)
    }

    /// Checks that the caller may set all of these.
    fn permit(&self, variables: &[Variable<'_>]) -> Result<(), EnvironmentError> {
        let is_refused = |(name, value): &&Variable<'_>| !self.may_set && !self.allows(name, value);
        let refused: Vec<Word> =
            variables.iter().filter(is_refused).map(|(name, _)| Word::from(OsStr::from_bytes(name))).collect();
        if refused.is_empty() { Ok(()) } else { Err(EnvironmentError::Set(refused)) }
    }

    /// Whether somebody without `setenv` may set it: what would be kept anyway, and never PATH.
    fn allows(&self, name: &[u8], value: &[u8]) -> bool {
        name != b"PATH" && if self.reset { self.keeps(name, value) } else { !self.deletes(name, value) }
    }

    /// Where the environment is reset. An exported shell function (CVE-2014-6271) is kept only by a pattern that means its
    /// value.
    fn keeps(&self, name: &[u8], value: &[u8]) -> bool {
        let is_function = value.starts_with(b"()");
        match listed(&self.options.env_check, name, value) {
            Some(how) => is_harmless(name, value) && (how == Listed::ByValue || !is_function),
            None if self.shell && name == b"SHELL" => !is_function,
            None => match listed(&self.options.env_keep, name, value) {
                Some(how) => how == Listed::ByValue || !is_function,
                None => false,
            },
        }
    }

    /// Where it is not.
    fn deletes(&self, name: &[u8], value: &[u8]) -> bool {
        listed(&self.options.env_delete, name, value).is_some()
            || (listed(&self.options.env_check, name, value).is_some() && !is_harmless(name, value))
    }
}

/// How a list means a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    ByName,
    ByValue,
}

/// Whether one of `patterns` means the variable. LOGNAME and USER are one: a list that has either means both.
fn listed(patterns: &[Cow<'_, str>], name: &[u8], value: &[u8]) -> Option<Listed> {
    let names: &[&[u8]] = if matches!(name, b"LOGNAME" | b"USER") { &[b"LOGNAME", b"USER"] } else { &[name] };
    // Most are told apart by their first byte.
    let alike = |pattern: &Cow<'_, str>| {
        let first = pattern.as_bytes().first();
        first == Some(&b'*') || names.iter().any(|name| name.first() == first)
    };
    patterns.iter().filter(|pattern| alike(pattern)).find_map(|pattern| {
        let (wanted, content) = pattern.split_once('=').map_or((pattern.as_ref(), None), |(n, v)| (n, Some(v)));
        let named = names.iter().any(|name| name_matches(wanted, name));
        match content {
            _ if !named => None,
            None => Some(Listed::ByName),
            Some(content) => name_matches(content, value).then_some(Listed::ByValue),
        }
    })
}

/// sudo's rule for `env_check`: no format string and no path; TZ (CVE-2014-9680) is a name below the zone directory,
/// printable, without parent directories.
fn is_harmless(name: &[u8], value: &[u8]) -> bool {
    if name != b"TZ" {
        return !value.iter().any(|byte| b"%/".contains(byte));
    }
    let zone = value.strip_prefix(b":").unwrap_or(value);
    zone.len() < LONGEST_ZONE
        && (zone.first() != Some(&b'/') || zone.starts_with(ZONES))
        && zone.iter().all(u8::is_ascii_graphic)
        && !zone.split(|byte| *byte == b'/').any(|part| part == b"..")
}

/// The environment under construction, in a stable order.
#[derive(Default)]
struct Environment {
    variables: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Environment {
    fn put(&mut self, name: &[u8], value: &[u8]) {
        self.variables.insert(name.to_vec(), value.to_vec());
    }

    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.put(name.as_bytes(), value.as_ref().as_bytes());
    }

    fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name.as_bytes())
    }

    fn take_from_caller(&mut self, callers: &CallersEnvironment, rules: &Rules<'_>) {
        for (name, value) in callers.variables() {
            let taken = if rules.reset { rules.keeps(name, value) } else { !rules.deletes(name, value) };
            // The first of two wins, as with getenv(3); ours are nobody else's to set.
            if taken && !self.variables.contains_key(name) && !name.starts_with(b"JIT_SUDO_") {
                self.put(name, value);
            }
        }
    }

    fn set_target(&mut self, elevation: &Elevation, rules: &Rules<'_>) {
        let (account, wish, options) = (elevation.run_as().account(), elevation.wish(), rules.options);
        self.set_names(elevation, rules);
        if rules.reset && (wish.login || !self.has("MAIL")) {
            self.set("MAIL", format!("/var/mail/{}", account.name));
        }
        let always = wish.set_home || wish.login || options.always_set_home || (wish.shell && options.set_home);
        if always || (rules.reset && !self.has("HOME")) {
            self.set("HOME", &account.home);
        }
        if wish.login || !self.has("SHELL") {
            self.set("SHELL", &account.shell);
        }
        self.set("PATH", options.path_variable());
        if !self.has("TERM") {
            self.set("TERM", "unknown");
        }
    }

    /// LOGNAME and USER: both of the target, or both as kept from the caller.
    fn set_names(&mut self, elevation: &Elevation, rules: &Rules<'_>) {
        let target = elevation.run_as().account().name.as_bytes();
        let kept = ["LOGNAME", "USER"].map(|name| self.variables.get(name.as_bytes()).cloned());
        let names = match kept {
            _ if elevation.wish().login || !rules.reset && rules.options.set_logname => {
                [target, target].map(<[u8]>::to_vec)
            }
            [Some(logname), Some(user)] => [logname, user],
            [Some(one), None] | [None, Some(one)] => [one.clone(), one],
            [None, None] if rules.options.set_logname => [target, target].map(<[u8]>::to_vec),
            [None, None] if rules.reset => [elevation.caller().name().as_str(); 2].map(|name| name.as_bytes().to_vec()),
            [None, None] => return,
        };
        for (name, value) in [&b"LOGNAME"[..], b"USER"].into_iter().zip(names) {
            self.put(name, &value);
        }
    }

    /// What the stack sets counts, except over what the caller was allowed to keep (sudoers(5)).
    fn merge_pam(&mut self, pam: &[OsString], rules: &Rules<'_>) {
        for (name, value) in pam.iter().filter_map(|entry| split(entry)) {
            let yields = if rules.reset { rules.keeps(name, value) } else { !rules.deletes(name, value) };
            // PATH of pam_env is for logins; secure_path decides here.
            if !self.variables.contains_key(name) || (!yields && name != b"PATH") {
                self.put(name, value);
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
        match caller.tty() {
            Some(tty) => self.set("SUDO_TTY", &tty.name),
            None => drop(self.variables.remove(&b"SUDO_TTY"[..])),
        }
    }

    fn into_entries(self) -> Vec<OsString> {
        let entry = |(mut name, value): (Vec<u8>, Vec<u8>)| {
            name.push(b'=');
            name.extend_from_slice(&value);
            OsString::from_vec(name)
        };
        self.variables.into_iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(options: &Options, reset: bool) -> Rules<'_> {
        Rules { options, reset, may_set: false, shell: false }
    }

    #[test]
    fn time_zones_stay_below_their_directory() {
        for good in ["Europe/Berlin", ":UTC", "/usr/share/zoneinfo/UTC", ""] {
            assert!(is_harmless(b"TZ", good.as_bytes()), "{good}");
        }
        for bad in
            [&b"/etc/shadow"[..], b"../../etc/shadow", b":/dev/zero", b"A B", b"\xff", b"/usr/share/zoneinfo/../x"]
        {
            assert!(!is_harmless(b"TZ", bad));
        }
        assert!(!is_harmless(b"TZ", &[b'x'; 4096]));
    }

    #[test]
    fn names_are_kept_or_dropped_by_the_lists() {
        let options = Options::default();
        let reset = rules(&options, true);
        assert!(reset.keeps(b"DISPLAY", b":0") && reset.keeps(b"LC_ALL", b"C"));
        for (name, value) in
            [(&b"DISPLAY"[..], &b"() { :; }"[..]), (b"LANG", b"%n"), (b"TERM", b"/etc/x"), (b"FOO", b"1")]
        {
            assert!(!reset.keeps(name, value), "{name:?}");
        }
        let whole = rules(&options, false);
        for (name, value) in
            [(&b"LD_PRELOAD"[..], &b"x"[..]), (b"BASH_ENV", b"x"), (b"F", b"() { :; }"), (b"LANG", b"a/b")]
        {
            assert!(whole.deletes(name, value), "{name:?}");
        }
        assert!(!whole.deletes(b"FOO", b"1") && !whole.deletes(b"LDX", b"1"));
    }

    #[test]
    fn a_pattern_of_name_and_value_means_both() {
        let options = Options { env_keep: vec!["BASH_FUNC_*=()*".into(), "USER".into()], ..Options::default() };
        let rules = rules(&options, true);
        assert!(rules.keeps(b"BASH_FUNC_f%%", b"() { :; }") && !rules.keeps(b"BASH_FUNC_f%%", b"x"));
        assert!(rules.keeps(b"LOGNAME", b"alice"), "USER and LOGNAME are one");
    }

    #[test]
    fn nobody_sets_the_path_without_setenv() {
        let options = Options { env_keep: vec!["*".into()], ..Options::default() };
        assert!(!rules(&options, true).allows(b"PATH", b"/x") && rules(&options, true).allows(b"FOO", b"/x"));
    }
}
