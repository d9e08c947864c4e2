//! Converts Defaults (sudoers(5), "SUDOERS OPTIONS") to keys of the policy. The policy's own parser decides whether a
//! key with this value is valid: what it rejects is not converted.

use std::collections::BTreeMap;

use super::finding::Findings;
use super::members::Lists;
use super::role::Role;
use super::scope;
use super::settings::{LISTS, Settings, add_term, needed};
use super::terms::Terms;
use super::toml::{self, accepted, entry, quoted};
use super::tree::{Default, Scope, Sudoers, Value};
use super::unsupported;

/// Flags that are on by default in sudo; all others are off.
const ON: [&str; 34] = [
    "authenticate",
    "case_insensitive_group",
    "case_insensitive_user",
    "compress_io",
    "env_editor",
    "env_reset",
    "exec_background",
    "ignore_audit_errors",
    "ignore_dot",
    "ignore_logfile_errors",
    "intercept_verify",
    "lecture",
    "log_allowed",
    "log_denied",
    "log_passwords",
    "log_server_keepalive",
    "log_server_verify",
    "long_otp_prompt",
    "mail_no_user",
    "match_group_by_gid",
    "pam_acct_mgmt",
    "pam_rhost",
    "pam_ruser",
    "pam_session",
    "pam_setcred",
    "path_info",
    "root_sudo",
    "selinux",
    "set_logname",
    "set_utmp",
    "sudoedit_checkdir",
    "tty_tickets",
    "use_netgroups",
    "use_pty",
];

/// Settings that have a value by default.
const GIVEN: [&str; 3] = ["listpw", "secure_path", "verifypw"];

/// Converts the settings for the whole file.
pub(super) fn everywhere(sudoers: &Sudoers, findings: &mut Findings) -> Settings {
    let mut settings = Settings { runas_default: "root".to_owned(), keys: BTreeMap::new() };
    let mut lists: BTreeMap<&str, Vec<String>> = usual_lists();
    for default in sudoers.defaults.iter().filter(|default| default.scope == Scope::Everywhere) {
        let name = default.name.as_str();
        if name == "runas_default" {
            match &default.value {
                Value::Set(user)
                    if accepted(&format!("[roles.x]\ncommands = \"ALL\"\nrun_as = [{}]\n", quoted(user))).is_ok() =>
                {
                    settings.runas_default.clone_from(user);
                    let why = format!("rules without a runas list mean {user}, but without -u commands run as root");
                    findings.lost(&default.place, told(default, &why));
                }
                _ => findings.lost(&default.place, told(default, "names no user")),
            }
            continue;
        }
        let key = match lists.get_mut(name) {
            Some(list) => {
                change(list, &default.value);
                Ok(Some((name.to_owned(), toml_list(list))))
            }
            None => key(default),
        };
        keep(key, "[defaults]\n", default, findings, &mut settings.keys);
    }
    if let Some(default) =
        sudoers.defaults.iter().find(|default| is_without_pty(default) && default.scope == Scope::Everywhere)
    {
        without_recording(default, &mut settings.keys, findings);
    }
    settings.keys = needed(&settings.keys, toml::defaults);
    settings
}

fn is_without_pty(default: &Default) -> bool {
    default.name == "use_pty" && default.value == Value::Off
}

/// A recorded session has a terminal of its own, so one without is not recorded.
fn without_recording(default: &Default, keys: &mut Terms, findings: &mut Findings) {
    if keys.get("use_pty").is_some_and(|value| value == "false") {
        match keys.get("record") {
            None => {
                keys.insert("record".to_owned(), quoted("none"));
                findings.note(
                    &default.place,
                    told(default, "a recorded session has its own terminal, so these are not recorded"),
                );
            }
            Some(record) if *record != quoted("none") => {
                findings.lost(&default.place, told(default, "a recorded session has its own terminal"));
            }
            Some(_) => {}
        }
    }
}

/// Applies the settings for some users, hosts, run-as users or commands: roles get the keys, or a copy with them that
/// follows immediately.
pub(super) fn somewhere(
    sudoers: &Sudoers,
    settings: &Settings,
    mut roles: Vec<Role>,
    findings: &mut Findings,
) -> Vec<Role> {
    // sudo applies those for commands after all others.
    let late = |(_, default): &(usize, &Default)| matches!(default.scope, Scope::Commands(_));
    let scoped = sudoers.defaults.iter().enumerate().filter(|(_, default)| default.scope != Scope::Everywhere);
    let (after, before): (Vec<_>, Vec<_>) = scoped.partition(late);
    let ordered: Vec<(usize, &Default)> = before.into_iter().chain(after).collect();
    for group in ordered.chunk_by(|(_, one), (_, other)| one.place == other.place) {
        let Some((_, first)) = group.first() else { continue };
        let mut keys = Terms::new();
        for (index, default) in group {
            scoped_key(*index, default, sudoers, findings, &mut keys);
        }
        if let Some((_, default)) = group.iter().find(|(_, default)| is_without_pty(default))
            && !settings.keys.contains_key("record")
        {
            without_recording(default, &mut keys, findings);
        }
        if keys.is_empty() {
            continue;
        }
        let lists = Lists { sudoers, findings, place: &first.place };
        roles = scope::apply(roles, &first.scope, &keys, settings, lists);
    }
    for role in &mut roles {
        role.tagged.clear();
    }
    settings.tidy(&mut roles);
    roles
}

/// Adds the key of a setting. Of the settings for all, users, hosts and run-as users, sudo uses the last one in the
/// file; those for commands come after them.
fn scoped_key(index: usize, default: &Default, sudoers: &Sudoers, findings: &mut Findings, keys: &mut Terms) {
    let name = default.name.as_str();
    let later: Vec<&Default> = match default.scope {
        Scope::Commands(_) => Vec::new(),
        _ => sudoers
            .defaults
            .iter()
            .skip(index + 1)
            .filter(|later| later.scope == Scope::Everywhere && later.name == name)
            .collect(),
    };
    let key = if LISTS.contains(&name) {
        let values = std::iter::once(&default.value).chain(later.iter().map(|later| &later.value));
        Ok(Some((name.to_owned(), toml_list(&values.flat_map(role_list).collect::<Vec<_>>()))))
    } else if let Some(later) = later.first() {
        findings
            .note(&default.place, told(default, &format!("has no effect, because {} sets it for all", later.place)));
        return;
    } else if name == "secure_path" {
        let why = "commands get it as PATH, but are searched in the secure_path of [defaults]";
        findings.lost(&default.place, told(default, why));
        key(default)
    } else {
        key(default)
    };
    keep(key, "[roles.x]\ncommands = \"ALL\"\n", default, findings, keys);
}

/// Stores a key if the policy accepts it, and otherwise reports it.
fn keep(
    key: Result<Option<(String, String)>, String>,
    before: &str,
    default: &Default,
    findings: &mut Findings,
    keys: &mut Terms,
) {
    if let Ok(None) = key
        && !is_default(default)
    {
        let (weight, why) = unsupported::meaning(default);
        findings.add(&default.place, &told(default, why), weight);
    }
    let taken = key.and_then(|key| match key {
        Some((key, value)) => {
            let known = accepted(&format!("{before}{}\n", entry(&key, &value)));
            // A key that only sets the default is not needed.
            if known.is_err() && is_default(default) { Ok(None) } else { known.map(|()| Some((key, value))) }
        }
        None => Ok(None),
    });
    match taken {
        Ok(Some((key, value))) if before.starts_with("[roles") => add_term(keys, &key, &value),
        Ok(Some((key, value))) => {
            keys.insert(key, value);
        }
        Ok(None) => {}
        Err(why) => findings.lost(&default.place, told(default, &why)),
    }
}

/// Returns the key of a setting and its value in TOML; `None` if sudo does the same without it.
fn key(default: &Default) -> Result<Option<(String, String)>, String> {
    let name = default.name.as_str();
    let said = |key: &str, value: String| Ok(Some((key.to_owned(), value)));
    match (name, &default.value) {
        (
            "authenticate"
            | "env_reset"
            | "setenv"
            | "umask_override"
            | "use_pty"
            | "requiretty"
            | "rootpw"
            | "targetpw"
            | "always_set_home"
            | "set_home"
            | "set_logname"
            | "env_editor"
            | "closefrom_override"
            | "user_command_timeouts"
            | "passprompt_override"
            | "noexec",
            Value::On | Value::Off,
        ) => said(name, (default.value == Value::On).to_string()),
        ("passwd_tries" | "closefrom", Value::Set(number)) => said(name, number.trim().to_owned()),
        ("timestamp_timeout" | "passwd_timeout", Value::Set(minutes)) => match time_of(minutes) {
            Some(text) => said(name, quoted(&text)),
            None => Err("is not a number of minutes".to_owned()),
        },
        ("timestamp_timeout" | "passwd_timeout", Value::Off) => said(name, quoted("0s")),
        ("command_timeout", Value::Set(text)) => match timeout(text) {
            Some(text) => said(name, quoted(&text)),
            None => Err("is not a time".to_owned()),
        },
        ("umask", Value::Off) => said(name, quoted("0777")),
        ("tty_tickets", Value::On) => said("timestamp_type", quoted("tty")),
        ("tty_tickets", Value::Off) => said("timestamp_type", quoted("global")),
        ("lecture", Value::On) => said(name, quoted("once")),
        ("lecture", Value::Off) => said(name, quoted("never")),
        ("log_output", Value::On) => said("record", quoted("all")),
        ("log_output", Value::Off) => said("record", quoted("none")),
        ("log_input", Value::On | Value::Off) => said("record_input", (default.value == Value::On).to_string()),
        (
            "passprompt" | "badpass_message" | "pam_service" | "pam_login_service" | "lecture" | "lecture_file"
            | "editor" | "secure_path" | "runcwd" | "umask" | "timestamp_type",
            Value::Set(text),
        ) => said(name, quoted(text)),
        (_, Value::Set(text)) if name.starts_with("rlimit_") => said(name, quoted(text)),
        _ if is_default(default) => Ok(None),
        _ => Ok(None),
    }
}

fn is_default(default: &Default) -> bool {
    match default.value {
        Value::On => ON.contains(&default.name.as_str()),
        Value::Off => !ON.contains(&default.name.as_str()) && !GIVEN.contains(&default.name.as_str()),
        Value::Set(_) | Value::Add(_) | Value::Remove(_) => false,
    }
}

fn told(default: &Default, why: &str) -> String {
    let name = &default.name;
    let said = match &default.value {
        Value::On => name.clone(),
        Value::Off => format!("!{name}"),
        Value::Set(text) => format!("{name}={text}"),
        Value::Add(text) => format!("{name}+={text}"),
        Value::Remove(text) => format!("{name}-={text}"),
    };
    format!("Defaults {said}: {why}")
}

/// Converts minutes, which may have a fraction; a negative value means no limit.
fn time_of(minutes: &str) -> Option<String> {
    let minutes: f64 = minutes.trim().parse().ok().filter(|minutes: &f64| minutes.is_finite())?;
    if minutes < 0.0 {
        return Some("until-reboot".to_owned());
    }
    // At most a year, which is more than the policy accepts.
    let seconds = (minutes.min(527_040.0) * 60.0).round() as u64;
    Some(if seconds.is_multiple_of(60) && seconds > 0 { format!("{}m", seconds / 60) } else { format!("{seconds}s") })
}

/// Converts a time span such as `90` or `2h30m` (sudoers(5), "TIMEOUT").
pub(super) fn timeout(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if lower.bytes().all(|byte| byte.is_ascii_digit()) { Some(format!("{lower}s")) } else { Some(lower) }
}

/// Returns the default lists of Debian's sudo (`sudo -V`), without PATH: that is always `secure_path`.
fn usual_lists() -> BTreeMap<&'static str, Vec<String>> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    BTreeMap::from([("env_keep", words(ENV_KEEP)), ("env_check", words(ENV_CHECK)), ("env_delete", words(ENV_DELETE))])
}

const ENV_KEEP: &str = "COLORS DISPLAY DPKG_COLORS HOSTNAME KRB5CCNAME LS_COLORS PS1 PS2 XAUTHORITY XAUTHORIZATION \
    XDG_CURRENT_DESKTOP";

const ENV_CHECK: &str = "COLORTERM LANG LANGUAGE LC_* LINGUAS TERM TZ";

const ENV_DELETE: &str = "IFS CDPATH LOCALDOMAIN RES_OPTIONS HOSTALIASES NLSPATH PATH_LOCALE LD_* _RLD* SHLIB_PATH LIBPATH \
    AUTHSTATE KRB5_CONFIG* KRB5_KTNAME VAR_ACE USR_ACE DLC_ACE TERMINFO TERMINFO_DIRS TERMPATH TERMCAP ENV BASH_ENV PS4 \
    GLOBIGNORE BASHOPTS SHELLOPTS JAVA_TOOL_OPTIONS PERLIO_DEBUG PERLLIB PERL5LIB PERL5OPT PERL5DB FPATH NULLCMD READNULLCMD \
    ZDOTDIR TMPPREFIX PYTHONHOME PYTHONPATH PYTHONINSPECT PYTHONUSERBASE RUBYLIB RUBYOPT *=()*";

fn change(list: &mut Vec<String>, value: &Value) {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match value {
        Value::On => {}
        Value::Off => list.clear(),
        Value::Set(text) => *list = words(text),
        Value::Add(text) => {
            for word in words(text) {
                if !list.contains(&word) {
                    list.push(word);
                }
            }
        }
        Value::Remove(text) => {
            let gone = words(text);
            list.retain(|word| !gone.contains(word));
        }
    }
}

/// Returns the entries of a list of a role, which changes that of `[defaults]`.
fn role_list(value: &Value) -> Vec<String> {
    let words =
        |text: &str, sign: &str| text.split_whitespace().map(|word| format!("{sign}{word}")).collect::<Vec<_>>();
    let all_gone = "!*".to_owned();
    match value {
        Value::On => Vec::new(),
        Value::Off => vec![all_gone],
        Value::Set(text) => std::iter::once(all_gone).chain(words(text, "")).collect(),
        Value::Add(text) => words(text, ""),
        Value::Remove(text) => words(text, "!"),
    }
}

pub(super) fn toml_list(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}
