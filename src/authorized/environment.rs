//! The environment of the command: sudo's rules (sudoers(5), "Command environment"). Built before the `start` record, because the
//! record contains it. [`CommandEnvironment`] is created only here, so that a command cannot get another one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Authorized, EnvironmentPolicy, Power};
use crate::elevation::environment::{Variable, split};
use crate::elevation::{CallersEnvironment, Elevation, Wish};
use jit_core::escape::Word;
use jit_core::grant::terms::LOADER;
use jit_core::names::RunId;
use jit_core::policy::{EnvironmentOptions, Role, VariableRules};

/// The variable that contains the command's run id.
pub const RUN_VARIABLE: &str = "JIT_SUDO_RUN";

/// sudo cuts `SUDO_COMMAND` at this many bytes.
const COMMAND_LIMIT: usize = 4096;

/// The caller asked for variables that the role does not allow.
#[derive(Debug, PartialEq, Eq)]
pub enum EnvironmentError {
    /// -E was given without `setenv`.
    Preserve,
    /// VAR=value or --preserve-env=list was given without `setenv`.
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

/// The environment of a privileged command: entries `NAME=VALUE`, as its plan permits them.
pub struct CommandEnvironment(Vec<OsString>);

/// What a run executes, with its environment.
pub enum RunEnvironment {
    /// The command of the plan.
    Command(CommandEnvironment),
    /// The caller's editor, which runs as the caller with all of the caller's variables. No command gets this environment.
    Editor(CallersEnvironment),
}

impl CommandEnvironment {
    /// Returns the entries, sorted by name.
    pub fn entries(&self) -> &[OsString] {
        &self.0
    }
}

impl RunEnvironment {
    /// Returns the entries, for the record.
    pub fn entries(&self) -> &[OsString] {
        match self {
            Self::Command(environment) => environment.entries(),
            Self::Editor(callers) => callers.entries(),
        }
    }
}

/// Builds the environment for `authorized`. `pam` are the variables from the PAM stack, `run` is the id of the run.
///
/// # Errors
/// Fails when the role does not allow a variable that the caller asks for.
pub fn build(authorized: &Authorized, pam: &[OsString], run: &RunId) -> Result<CommandEnvironment, EnvironmentError> {
    let mut environment = match authorized.plan().environment() {
        EnvironmentPolicy::Role(callers) => from_caller(authorized, callers, pam)?,
        EnvironmentPolicy::Exact(named) => made_anew(authorized, named, pam)?,
    };
    environment.set_sudo(authorized.elevation());
    environment.set(RUN_VARIABLE, run.as_str());
    if let Power::Grant(terms) = authorized.power() {
        environment.set("JIT_SUDO_GRANT", terms.id.as_str());
    }
    Ok(CommandEnvironment(environment.into_entries()))
}

/// Checks whether `role` allows the variables that the caller asks for.
///
/// # Errors
/// Fails when it does not allow one.
pub fn may_have(role: &Role, elevation: &Elevation) -> Result<(), EnvironmentError> {
    let Some(callers) = elevation.environment() else { return Ok(()) };
    let exact = role.activation.exact_command;
    let rules = rules(role, elevation.wish(), callers.wants_everything());
    let rules = if exact { rules.anew() } else { rules };
    wished(&rules, callers).map(|_| ())
}

/// Builds the environment from the caller's variables that the role lets through, and those that it lets them set.
fn from_caller(
    authorized: &Authorized,
    callers: &CallersEnvironment,
    pam: &[OsString],
) -> Result<Environment, EnvironmentError> {
    let elevation = authorized.elevation();
    let wish = elevation.wish();
    let rules = rules(authorized.role(), wish, callers.wants_everything());
    let wished = wished(&rules, callers)?;

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

/// Builds the environment for an exact grant: of the caller's variables only those that the request named and the approver saw, as
/// far as the role lets the caller set them.
fn made_anew(authorized: &Authorized, named: &[Word], pam: &[OsString]) -> Result<Environment, EnvironmentError> {
    let elevation = authorized.elevation();
    let rules = rules(authorized.role(), elevation.wish(), false).anew();
    let named: Vec<Variable<'_>> = named.iter().filter_map(|entry| split(entry.as_os_str())).collect();
    permit(&rules, &named)?;

    let mut environment = Environment::default();
    environment.set_target(elevation, &rules);
    for (name, value) in named {
        environment.put(name, value);
    }
    let pam: Vec<OsString> = pam.iter().filter(|entry| !is_obeyed_by_loader(entry)).cloned().collect();
    environment.merge_pam(&pam, &rules);
    Ok(environment)
}

/// Whether the program loader obeys the variable: a file that the caller writes may be the source of the PAM stack.
fn is_obeyed_by_loader(entry: &OsStr) -> bool {
    entry.as_bytes().starts_with(LOADER)
}

fn rules<'r>(role: &'r Role, wish: &Wish, wants_everything: bool) -> VariableRules<'r> {
    VariableRules::of(role, &EnvironmentOptions { login: wish.login, shell: wish.shell, everything: wants_everything })
}

/// Returns the variables from the command line, if all of them are allowed.
fn wished<'w>(
    rules: &VariableRules<'_>,
    callers: &'w CallersEnvironment,
) -> Result<Vec<Variable<'w>>, EnvironmentError> {
    if callers.wants_everything() && !rules.may_set_anything() {
        return Err(EnvironmentError::Preserve);
    }
    let wished = callers.wished();
    permit(rules, &wished)?;
    Ok(wished)
}

/// Checks that the caller may set all of these.
fn permit(rules: &VariableRules<'_>, variables: &[Variable<'_>]) -> Result<(), EnvironmentError> {
    let refused = variables.iter().filter(|(name, value)| !rules.may_set(name, value));
    let refused: Vec<Word> = refused.map(|(name, _)| Word::from(OsStr::from_bytes(name))).collect();
    if refused.is_empty() { Ok(()) } else { Err(EnvironmentError::Set(refused)) }
}

/// The environment under construction, sorted by name.
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

    fn take_from_caller(&mut self, callers: &CallersEnvironment, rules: &VariableRules<'_>) {
        for (name, value) in callers.variables() {
            let taken = rules.let_through(name, value);
            // Of duplicates the first wins, as with getenv(3). JIT_SUDO_ variables cannot be set by the caller.
            if taken && !self.variables.contains_key(name) && !name.starts_with(b"JIT_SUDO_") {
                self.put(name, value);
            }
        }
    }

    fn set_target(&mut self, elevation: &Elevation, rules: &VariableRules<'_>) {
        let (account, wish, options) = (elevation.run_as().account(), elevation.wish(), rules.options());
        self.set_names(elevation, rules);
        if rules.reset() && (wish.login || !self.has("MAIL")) {
            self.set("MAIL", format!("/var/mail/{}", account.name));
        }
        let always = wish.set_home || wish.login || options.always_set_home || (wish.shell && options.set_home);
        if always || (rules.reset() && !self.has("HOME")) {
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

    /// Sets LOGNAME and USER: both to the run-as user, or both as kept from the caller.
    fn set_names(&mut self, elevation: &Elevation, rules: &VariableRules<'_>) {
        let target = elevation.run_as().account().name.as_bytes();
        let kept = ["LOGNAME", "USER"].map(|name| self.variables.get(name.as_bytes()).cloned());
        let names = match kept {
            _ if elevation.wish().login || !rules.keeps_names() => [target, target].map(<[u8]>::to_vec),
            [Some(logname), Some(user)] => [logname, user],
            [Some(one), None] | [None, Some(one)] => [one.clone(), one],
            [None, None] if rules.options().set_logname => [target, target].map(<[u8]>::to_vec),
            [None, None] if rules.reset() => {
                [elevation.caller().name().as_str(); 2].map(|name| name.as_bytes().to_vec())
            }
            [None, None] => return,
        };
        for (name, value) in [&b"LOGNAME"[..], b"USER"].into_iter().zip(names) {
            self.put(name, &value);
        }
    }

    /// Merges the variables of the PAM stack; they do not replace those that the caller was allowed to keep (sudoers(5)).
    fn merge_pam(&mut self, pam: &[OsString], rules: &VariableRules<'_>) {
        for (name, value) in pam.iter().filter_map(|entry| split(entry)) {
            let yields = rules.let_through(name, value);
            // PATH of pam_env is for logins; here secure_path applies.
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
