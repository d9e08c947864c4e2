//! Decides which variables of the caller a command gets (sudoers(5), "Command environment").

use std::borrow::Cow;

use super::{Options, Role, name_matches};

/// The directory of time zones: TZ may name a file there and nowhere else.
const ZONES: &[u8] = b"/usr/share/zoneinfo/";

/// The maximum length of TZ (PATH_MAX).
const LONGEST_ZONE: usize = 4096;

/// The caller's options for the whole environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvironmentOptions {
    /// -i: a login environment.
    pub login: bool,
    /// -s: a shell, which keeps SHELL.
    pub shell: bool,
    /// -E: the caller's whole environment.
    pub everything: bool,
}

/// The rules of a role for variables in one run. When a role is narrowed by an earlier approval, both versions of the
/// role have to permit a variable: lists of patterns have no intersection that could be written as a list.
pub struct VariableRules<'a> {
    options: &'a Options,
    each: Vec<RoleRules<'a>>,
}

/// The rules of one role.
struct RoleRules<'a> {
    options: &'a Options,
    /// Whether the environment is reset; otherwise it is the caller's, cleaned.
    reset: bool,
    /// Whether the caller may set any variable.
    may_set: bool,
    shell: bool,
}

impl<'a> VariableRules<'a> {
    /// Returns the rules of `role`.
    pub fn of(role: &'a Role, wanted: &EnvironmentOptions) -> Self {
        let each = match role.narrowed_from.as_deref() {
            Some(origin) => vec![RoleRules::of(&origin.present, wanted), RoleRules::of(&origin.approved, wanted)],
            None => vec![RoleRules::of(role, wanted)],
        };
        Self { options: &role.options, each }
    }

    /// Returns these rules with a reset environment.
    #[must_use]
    pub fn anew(mut self) -> Self {
        for rules in &mut self.each {
            (rules.reset, rules.shell) = (true, false);
        }
        self
    }

    /// Returns the options of the role.
    pub fn options(&self) -> &'a Options {
        self.options
    }

    /// Returns whether the environment is reset.
    pub fn reset(&self) -> bool {
        self.each.iter().any(|rules| rules.reset)
    }

    /// Whether LOGNAME and USER stay the caller's where they were let through: each role that cleans the caller's environment has to
    /// say so.
    pub fn keeps_names(&self) -> bool {
        self.each.iter().all(|rules| rules.reset || !rules.options.set_logname)
    }

    /// Whether the caller may set every variable (`setenv`).
    pub fn may_set_anything(&self) -> bool {
        self.each.iter().all(|rules| rules.may_set)
    }

    /// Returns whether the command gets a variable of the caller.
    pub fn let_through(&self, name: &[u8], value: &[u8]) -> bool {
        self.each.iter().all(|rules| rules.let_through(name, value))
    }

    /// Returns whether the caller may set the variable on the command line: without `setenv` only one that would be
    /// kept anyway, and never PATH.
    pub fn may_set(&self, name: &[u8], value: &[u8]) -> bool {
        let may = |rules: &RoleRules<'_>| rules.may_set || (name != b"PATH" && rules.let_through(name, value));
        self.each.iter().all(may)
    }
}

impl<'a> RoleRules<'a> {
    fn of(role: &'a Role, wanted: &EnvironmentOptions) -> Self {
        let (options, may_set) = (&role.options, role.lets_set_variables());
        let preserves = wanted.everything && may_set;
        Self { options, reset: wanted.login || (options.env_reset && !preserves), may_set, shell: wanted.shell }
    }

    fn let_through(&self, name: &[u8], value: &[u8]) -> bool {
        if self.reset { self.keeps(name, value) } else { !self.deletes(name, value) }
    }

    /// Returns whether a reset environment keeps the variable. An exported shell function (CVE-2014-6271) is kept only
    /// by a pattern that matches its value.
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

    /// Returns whether the caller's environment loses the variable when it is not reset.
    fn deletes(&self, name: &[u8], value: &[u8]) -> bool {
        listed(&self.options.env_delete, name, value).is_some()
            || (listed(&self.options.env_check, name, value).is_some() && !is_harmless(name, value))
    }
}

/// How a list matches a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    ByName,
    ByValue,
}

/// Returns how one of `patterns` matches the variable. LOGNAME and USER count as one: a list with either matches both.
fn listed(patterns: &[Cow<'_, str>], name: &[u8], value: &[u8]) -> Option<Listed> {
    let names: &[&[u8]] = if matches!(name, b"LOGNAME" | b"USER") { &[b"LOGNAME", b"USER"] } else { &[name] };
    // The first byte rules most patterns out.
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

/// Applies sudo's rule for `env_check`: no format string and no path; TZ (CVE-2014-9680) must be a name below the zone
/// directory, printable, without parent directories.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(options: &Options, reset: bool) -> RoleRules<'_> {
        RoleRules { options, reset, may_set: false, shell: false }
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
    fn a_pattern_of_name_and_value_must_match_both() {
        let options = Options { env_keep: vec!["BASH_FUNC_*=()*".into(), "USER".into()], ..Options::default() };
        let rules = rules(&options, true);
        assert!(rules.keeps(b"BASH_FUNC_f%%", b"() { :; }") && !rules.keeps(b"BASH_FUNC_f%%", b"x"));
        assert!(rules.keeps(b"LOGNAME", b"alice"), "USER and LOGNAME are one");
    }

    #[test]
    fn without_setenv_path_cannot_be_set() {
        let options = Options { env_keep: vec!["*".into()], ..Options::default() };
        let rules = VariableRules { options: &options, each: vec![rules(&options, true)] };
        assert!(!rules.may_set(b"PATH", b"/x") && rules.may_set(b"FOO", b"/x"));
    }
}
