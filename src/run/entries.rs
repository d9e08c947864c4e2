//! The text of a listing, laid out as by sudo: options, short and long entries, lines wrapped at the terminal's width.

use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;

use serde_json::Value;

use jit_core::clock::duration::{Seconds, spell};
use jit_core::escape::{Word, command_line, escape};
use jit_core::grant::GrantTerms;
use jit_core::policy::{Options, Role, RunDirectory, Settings};
use sys::terminal::window;

/// The line width where the terminal reports none.
const USUAL_WIDTH: usize = 80;

/// Returns the global settings: those that are always listed, and those that differ from the defaults.
pub(super) fn defaults(settings: &Settings) -> String {
    let options = &settings.options;
    let reset = if options.env_reset { "env_reset" } else { "!env_reset" };
    let pty = if options.use_pty { "use_pty" } else { "!use_pty" };
    let path = format!("secure_path={}", quoted(&options.path_variable()));
    let mut words = vec![reset.to_owned(), path, pty.to_owned()];
    words.extend(differences(options, &Options::default(), &["env_reset", "use_pty", "secure_path"]));
    format!("    {}", words.join(", "))
}

/// One entry of a listing.
#[derive(PartialEq)]
pub(super) struct Entry {
    role: Role,
    run_as: Vec<String>,
    groups: Vec<String>,
    rules: Vec<String>,
}

impl Entry {
    /// Creates the entry of a role for a user, who is named where the role has `SELF`.
    pub(super) fn of(role: Role, user: &str) -> Self {
        let rules = role.commands.iter().map(|rule| escape(rule.to_string().as_bytes())).collect();
        let named = |written: String| if written == "SELF" { user.to_owned() } else { written };
        Self {
            run_as: role.run_as.as_written().into_iter().map(named).collect(),
            groups: role.run_as_groups.as_written(),
            rules,
            role,
        }
    }

    /// Creates the entry of one command of a role: with the rule that allows it, or all if that is unknown.
    pub(super) fn of_rule(role: Role, user: &str, rule: Option<String>) -> Self {
        let entry = Self::of(role, user);
        Self { rules: rule.map_or_else(|| entry.rules.clone(), |rule| vec![rule]), ..entry }
    }

    /// Creates the entry of an exact grant's command, run under `role`: in its directory, with no variables but its own.
    pub(super) fn of_command(role: Role, terms: &GrantTerms, settings: &Settings) -> Self {
        let (mut options, mut words, mut groups) = (Options::clone(&role.options), Vec::new(), Vec::new());
        options.setenv = settings.options.setenv;
        if let Some(command) = &terms.command {
            words.extend(command.argv.iter().map(Word::as_os_str));
            let directory = Path::new(command.cwd.as_os_str());
            options.runcwd = directory.is_absolute().then(|| RunDirectory::Path(directory.to_owned()));
            groups.extend(other_group(terms.run_as.as_str(), command.run_as_gid));
        }
        let rules = vec![command_line(words)];
        Self { run_as: vec![terms.run_as.to_string()], groups, rules, role: Role { options: Rc::new(options), ..role } }
    }
}

/// Returns the name of a group that is not the primary one of the user.
fn other_group(user: &str, gid: u32) -> Option<String> {
    let own = sys::users::account_by_name(user).ok().flatten().is_some_and(|account| account.gid == gid);
    let name = || sys::users::group_by_gid(gid).ok().flatten().map_or_else(|| format!("#{gid}"), |group| group.name);
    (!own).then(name)
}

/// Returns one line: `    (root : ALL) NOPASSWD: /usr/bin/id, /usr/bin/w`.
pub(super) fn short(entry: &Entry, settings: &Settings) -> String {
    let Entry { role, run_as, groups, rules } = entry;
    let options = &role.options;
    let groups = if groups.is_empty() { String::new() } else { format!(" : {}", groups.join(", ")) };
    let mut text = format!("    ({}{groups}) ", run_as.join(", "));
    if let Some(directory) = own_directory(role, settings) {
        text.push_str(&format!("CWD={directory} "));
    }
    if options.command_timeout != settings.options.command_timeout {
        text.push_str(&format!("TIMEOUT={} ", options.command_timeout.0));
    }
    match options.setenv {
        // ALL implies it, so it says nothing (sudoers(5)).
        Some(true) if !role.allows_everything() => text.push_str("SETENV: "),
        Some(false) if settings.options.setenv != Some(false) => text.push_str("NOSETENV: "),
        _ => {}
    }
    if role.noexec {
        text.push_str("NOEXEC: ");
    }
    if !role.authenticate {
        text.push_str("NOPASSWD: ");
    }
    text + &rules.join(", ")
}

/// Returns a paragraph of several lines.
pub(super) fn long(entry: &Entry, settings: &Settings) -> String {
    let Entry { role, run_as, groups, rules } = entry;
    let mut text = format!("\nSudoers entry: {} (role {})\n", role.source, role.name);
    text.push_str(&format!("    RunAsUsers: {}\n", run_as.join(", ")));
    if !groups.is_empty() {
        text.push_str(&format!("    RunAsGroups: {}\n", groups.join(", ")));
    }
    let mut words = Vec::new();
    if role.noexec {
        words.push("noexec".to_owned());
    }
    if !role.authenticate {
        words.push("!authenticate".to_owned());
    }
    // As in the short form, setenv says nothing where ALL implies it.
    let implied = if role.allows_everything() && role.options.setenv == Some(true) { "setenv" } else { "" };
    words.extend(differences(&role.options, &settings.options, &["runcwd", "command_timeout", implied]));
    words.sort_by_key(|word| word.trim_start_matches('!') != "setenv");
    if !words.is_empty() {
        text.push_str(&format!("    Options: {}\n", words.join(", ")));
    }
    if let Some(directory) = own_directory(role, settings) {
        text.push_str(&format!("    Cwd: {directory}\n"));
    }
    if role.options.command_timeout != settings.options.command_timeout {
        text.push_str(&format!("    Timeout: {}\n", role.options.command_timeout.0));
    }
    text.push_str("    Commands:\n");
    rules.iter().for_each(|rule| text.push_str(&format!("\t{rule}\n")));
    text
}

/// Returns the maximum line width on standard output; `None` for a pipe, which programs read.
pub(super) fn width() -> Option<usize> {
    let output = std::io::stdout();
    let is_pipe =
        || Some(std::fs::File::from(output.as_fd().try_clone_to_owned().ok()?).metadata().ok()?.file_type().is_fifo());
    match window(output.as_fd()) {
        Ok(window) if window.columns > 0 => Some(usize::from(window.columns)),
        _ if is_pipe() == Some(true) => None,
        _ => Some(USUAL_WIDTH),
    }
}

/// Breaks a line at spaces where it is wider than `width`, and indents the lines after the first.
pub(super) fn wrapped(line: &str, width: Option<usize>, indent: usize) -> String {
    let mut text = String::new();
    let mut room = width.unwrap_or(usize::MAX);
    let mut rest = line;
    while rest.len() > room {
        let within = (0..=room).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or_default();
        let (head, tail) = rest.split_at_checked(within).unwrap_or((rest, ""));
        // Does not break within the indentation of the first line.
        let first = head.len().saturating_sub(head.trim_start().len());
        let at = match head.rfind(' ').filter(|at| *at >= first) {
            Some(at) => Some(at),
            None => tail.find(' ').map(|at| at + within),
        };
        let Some((line, after)) = at.and_then(|at| rest.split_at_checked(at)) else { break };
        text.push_str(line);
        text.push('\n');
        text.push_str(&" ".repeat(indent));
        rest = after.trim_start();
        room = width.unwrap_or(usize::MAX).saturating_sub(indent).max(1);
    }
    text + rest + "\n"
}

fn own_directory<'r>(role: &'r Role, settings: &Settings) -> Option<&'r RunDirectory> {
    role.options.runcwd.as_ref().filter(|own| settings.options.runcwd.as_ref() != Some(*own))
}

/// Returns the options that differ from `usual`, as in sudoers; without those in `told`.
fn differences(options: &Options, usual: &Options, told: &[&str]) -> Vec<String> {
    let (fields, usual) = (options.changed(), usual.changed());
    let mut words = Vec::new();
    for (key, value) in &fields {
        if usual.get(key) == Some(value) || told.contains(&key.as_str()) {
            continue;
        }
        match value {
            Value::Object(limits) => {
                let own = limits.iter().filter(|(name, limit)| usual_limit(&usual, name) != Some(*limit));
                words.extend(own.map(|(name, limit)| format!("rlimit_{name}={}", shown(key, limit))));
            }
            Value::Bool(true) => words.push(key.clone()),
            Value::Bool(false) => words.push(format!("!{key}")),
            value => words.push(format!("{key}={}", shown(key, value))),
        }
    }
    // Options that the role resets to the default are listed too.
    for key in usual.keys().filter(|key| !fields.contains_key(*key) && !told.contains(&key.as_str())) {
        words.push(format!("{key} as usual"));
    }
    words
}

fn usual_limit<'v>(usual: &'v serde_json::Map<String, Value>, name: &str) -> Option<&'v Value> {
    usual.get("rlimits")?.get(name)
}

fn shown(key: &str, value: &Value) -> String {
    const SPANS: [&str; 3] = ["timestamp_timeout", "passwd_timeout", "command_timeout"];
    match value {
        Value::Number(number) if SPANS.contains(&key) => match number.as_u64() {
            Some(u64::MAX) | None => "until-reboot".to_owned(),
            Some(seconds) => spell(Seconds(seconds)),
        },
        Value::Array(items) => {
            let separator = if key.starts_with("env_") { " " } else { ":" };
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            quoted(&items.join(separator))
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// Quotes a value as sudoers does.
fn quoted(text: &str) -> String {
    let text = escape(text.as_bytes());
    if text.contains([' ', '\t']) {
        return format!("\"{}\"", text.replace('"', "\\\""));
    }
    let mut quoted = String::new();
    for letter in text.chars() {
        if matches!(letter, ':' | '\\' | ',' | '=' | '#' | '"') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces_and_only_where_they_must_be() {
        let line = "    env_reset, secure_path=/usr/local/sbin:/usr/local/bin, use_pty";
        assert_eq!(wrapped(line, None, 4), format!("{line}\n"));
        assert_eq!(wrapped(line, Some(80), 4), format!("{line}\n"));
        assert_eq!(
            wrapped(line, Some(30), 4),
            "    env_reset,\n    secure_path=/usr/local/sbin:/usr/local/bin,\n    use_pty\n"
        );
        for width in 0..100 {
            let text = wrapped("    a bb ccc öööö \u{1f600}\u{1f600} x", Some(width), 8);
            assert_eq!(
                text.split_whitespace().collect::<Vec<_>>(),
                ["a", "bb", "ccc", "öööö", "\u{1f600}\u{1f600}", "x"]
            );
        }
    }

    #[test]
    fn values_are_quoted_as_sudoers_quotes_them() {
        for (text, expected) in [("/a:/b", "/a\\:/b"), ("a b: ", "\"a b: \""), ("1,2", "1\\,2"), ("x", "x")] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn only_options_that_differ_from_the_default_are_listed() {
        let mut options = Options::default();
        assert_eq!(differences(&options, &Options::default(), &[]), Vec::<String>::new());
        options.timestamp_timeout = Seconds(150);
        options.use_pty = false;
        options.requiretty = true;
        options.env_check = vec!["A".into(), "B".into()];
        let expected = ["env_check=\"A B\"", "requiretty", "timestamp_timeout=2m30s", "!use_pty"];
        assert_eq!(differences(&options, &Options::default(), &[]), expected);
        assert_eq!(
            differences(&Options::default(), &options, &["use_pty", "requiretty", "env_check"]),
            ["timestamp_timeout as usual"]
        );
    }
}
