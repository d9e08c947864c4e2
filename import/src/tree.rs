//! The contents of a sudoers file, as sudoers(5) defines them, without evaluation.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use jit_core::escape::escape;

/// File and line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The name of the file, for display.
    pub(super) file: Rc<str>,
    /// The line, from 1.
    pub(super) line: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", escape(self.file.as_bytes()), self.line)
    }
}

/// A sudoers file with everything that it includes.
#[derive(Debug, Default)]
pub(super) struct Sudoers {
    pub(super) specs: Vec<UserSpec>,
    pub(super) aliases: HashMap<(Kind, String), Vec<Member>>,
    pub(super) defaults: Vec<Default>,
}

/// The four kinds of alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    User,
    Host,
    Runas,
    Command,
}

/// Users and their privileges.
#[derive(Debug)]
pub(super) struct UserSpec {
    pub(super) users: Vec<Member>,
    pub(super) privileges: Vec<Privilege>,
    pub(super) place: Position,
}

/// Hosts and commands.
#[derive(Debug)]
pub(super) struct Privilege {
    pub(super) hosts: Vec<Member>,
    pub(super) commands: Vec<CommandSpec>,
}

/// One command with its runas lists, options and tags, including those of the preceding commands.
#[derive(Debug)]
pub(super) struct CommandSpec {
    pub(super) run_as: Option<RunAs>,
    pub(super) options: Vec<(Opt, String)>,
    pub(super) tags: Vec<(Tag, Say)>,
    pub(super) command: Member,
    pub(super) place: Position,
}

/// The lists in parentheses; `None` if one is missing.
#[derive(Debug, Clone)]
pub(super) struct RunAs {
    pub(super) users: Option<Vec<Member>>,
    pub(super) groups: Option<Vec<Member>>,
}

/// A member of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) negated: bool,
    pub(super) what: MemberKind,
}

/// The kind and name of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// `ALL`; digests for commands only.
    All(Vec<String>),
    /// A name in capitals, which is an alias if one is defined.
    Alias(String),
    /// A user, uid, host or group.
    Word(String),
    /// `+netgroup`
    Netgroup(String),
    /// `%group`, `%#gid`, `%:plugin`
    Group(String),
    /// An address or network.
    Network(String),
    /// The caller: an empty runas list.
    Myself,
    /// A command.
    Command(Command),
}

/// A path, an expression, `sudoedit` or `list`, with arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) path: String,
    /// `None` for any.
    pub(super) args: Option<String>,
    /// Whether a blank in them was escaped, so that it does not separate two arguments.
    pub(super) blanks: bool,
    /// `sha512:hex`
    pub(super) digests: Vec<String>,
}

/// Options before a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opt {
    Chroot,
    Cwd,
    Timeout,
    NotBefore,
    NotAfter,
    Role,
    Type,
}

impl Opt {
    /// Returns the name as written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chroot => "CHROOT",
            Self::Cwd => "CWD",
            Self::Timeout => "TIMEOUT",
            Self::NotBefore => "NOTBEFORE",
            Self::NotAfter => "NOTAFTER",
            Self::Role => "ROLE",
            Self::Type => "TYPE",
        }
    }
}

/// Tags before a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Passwd,
    Exec,
    Setenv,
    LogInput,
    LogOutput,
    Mail,
    Follow,
    Intercept,
}

/// The effect of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    Yes,
    No,
}

/// One setting of a Defaults line.
#[derive(Debug)]
pub(super) struct Default {
    pub(super) scope: Scope,
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) place: Position,
}

/// The users, hosts, run-as users or commands that a setting applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Everywhere,
    Hosts(Vec<Member>),
    Users(Vec<Member>),
    RunAs(Vec<Member>),
    Commands(Vec<Member>),
}

/// The operation of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    On,
    Off,
    Set(String),
    Add(String),
    Remove(String),
}
