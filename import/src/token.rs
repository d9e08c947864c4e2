//! The tokens of a sudoers file.

use super::tree::{Kind, Opt, Say, Tag};

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Newline,
    Comma,
    Equals,
    Colon,
    Not,
    Add,
    Remove,
    Open,
    Close,
    All,
    Alias(String),
    Word(String),
    Netgroup(String),
    Group(String),
    Network(String),
    /// Path, arguments, and whether an argument contains an escaped blank.
    Command(String, Option<String>, bool),
    Variable(String),
    /// The algorithm; its digest comes after a colon.
    Algorithm(Sha),
    /// Hexadecimal digits.
    Digest(String),
    Tag(Tag, Say),
    Opt(Opt),
    Defaults(Option<DefaultsFor>),
    AliasKind(Kind),
    Include,
    IncludeDirectory,
    Wrong(&'static str),
    End,
}

/// The sign after `Defaults`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultsFor {
    Users,
    Hosts,
    RunAs,
    Commands,
}

/// A SHA-2 algorithm: name and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sha(pub(super) &'static str, pub(super) usize);

pub(super) const SHAS: [Sha; 4] = [Sha("sha224", 28), Sha("sha256", 32), Sha("sha384", 48), Sha("sha512", 64)];

pub(super) const TAGS: [(&str, Tag, Say); 16] = [
    ("NOPASSWD", Tag::Passwd, Say::No),
    ("PASSWD", Tag::Passwd, Say::Yes),
    ("NOEXEC", Tag::Exec, Say::No),
    ("EXEC", Tag::Exec, Say::Yes),
    ("INTERCEPT", Tag::Intercept, Say::Yes),
    ("NOINTERCEPT", Tag::Intercept, Say::No),
    ("SETENV", Tag::Setenv, Say::Yes),
    ("NOSETENV", Tag::Setenv, Say::No),
    ("LOG_OUTPUT", Tag::LogOutput, Say::Yes),
    ("NOLOG_OUTPUT", Tag::LogOutput, Say::No),
    ("LOG_INPUT", Tag::LogInput, Say::Yes),
    ("NOLOG_INPUT", Tag::LogInput, Say::No),
    ("MAIL", Tag::Mail, Say::Yes),
    ("NOMAIL", Tag::Mail, Say::No),
    ("FOLLOW", Tag::Follow, Say::Yes),
    ("NOFOLLOW", Tag::Follow, Say::No),
];

pub(super) const OPTIONS: [(&str, Opt); 7] = [
    ("TIMEOUT", Opt::Timeout),
    ("NOTBEFORE", Opt::NotBefore),
    ("NOTAFTER", Opt::NotAfter),
    ("CWD", Opt::Cwd),
    ("CHROOT", Opt::Chroot),
    ("ROLE", Opt::Role),
    ("TYPE", Opt::Type),
];
