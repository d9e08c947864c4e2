//! `env_keep`, `env_check`, `env_delete`: parses these lists, and defines their defaults.

#[cfg(feature = "policy-text")]
use std::borrow::Cow;

/// What becomes of a list that stands in a table.
#[cfg(feature = "policy-text")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Lists {
    /// It replaces the previous list.
    Replace,
    /// It is added to the previous list.
    Add,
}

/// One entry of a list: whether it is taken away (`!`), and the pattern.
#[cfg(feature = "policy-text")]
pub(super) fn list_entry(text: &str) -> Result<(bool, String), String> {
    match text.strip_prefix('!') {
        Some(rest) => variable(rest).map(|pattern| (true, pattern)),
        None => variable(text).map(|pattern| (false, pattern)),
    }
}

/// A pattern of a name, or of a name and a value around `=`.
pub(super) fn variable(text: &str) -> Result<String, String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let plain = value.len() <= 1024 && !value.chars().any(char::is_control);
    match variable_pattern(name) {
        Ok(_) if plain => Ok(text.to_owned()),
        _ => Err("must be the name of a variable, with '*' for any part of it, or such a name, '=' and a pattern of \
                  its value"
            .to_owned()),
    }
}

#[cfg(feature = "policy-text")]
pub(super) fn change(list: &mut Vec<Cow<'static, str>>, entries: Vec<(bool, String)>, lists: Lists) {
    if lists == Lists::Replace {
        list.clear();
    }
    for (is_taken_away, pattern) in entries {
        if is_taken_away {
            list.retain(|known| pattern != "*" && *known != pattern);
        } else if !list.iter().any(|known| *known == pattern) {
            list.push(pattern.into());
        }
    }
}

/// The name of a variable, perhaps with `*` for any part of it.
pub(in super::super) fn variable_pattern(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 256 || text.contains('=') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("must be the name of a variable, with '*' for any part of it and without '='".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// "Environment variables to preserve" of `sudo -V`, without PATH: that is always `secure_path`.
pub(super) const ENV_KEEP: &[&str] = &[
    "COLORS",
    "DISPLAY",
    "DPKG_COLORS",
    "HOSTNAME",
    "KRB5CCNAME",
    "LS_COLORS",
    "PS1",
    "PS2",
    "XAUTHORITY",
    "XAUTHORIZATION",
    "XDG_CURRENT_DESKTOP",
];

/// "Environment variables to check for safety" of `sudo -V`.
pub(super) const ENV_CHECK: &[&str] = &["COLORTERM", "LANG", "LANGUAGE", "LC_*", "LINGUAS", "TERM", "TZ"];

/// "Environment variables to remove" of `sudo -V`, and what other loaders, resolvers and SQLite read.
pub(super) const ENV_DELETE: &[&str] = &[
    "*=()*",
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
];
