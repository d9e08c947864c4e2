//! Parses the command line to an [`Invocation`], with sudo's grammar and from one table of flags. Arguments stay bytes;
//! nothing is looked up, so a user, group or command may not exist.

pub mod completion;
mod error;
mod flags;
mod gather;
mod help;
mod parse;
mod time_limit;

use std::ffi::OsString;

pub use error::UsageError;
pub use flags::{Argument, FLAGS, Flag, FlagName, Support};
pub use help::{CalledAs, help, usage, version};
pub use parse::parse;

use crate::clock::duration::Seconds;
use crate::names::RoleName;

/// What the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run a command or a shell.
    Run(Box<Run>),
    /// `-l`: list the caller's permissions, or check one command.
    List(Box<List>),
    /// `-v`: authenticate and update the cached credentials.
    Validate(Box<Validate>),
    /// `-k` alone: invalidate the cached credentials of this terminal.
    InvalidateCache,
    /// `-K`: remove all cached credentials of the caller.
    RemoveCache,
    /// `-V`
    Version(CalledAs),
    /// `-h`
    Help(CalledAs),
}

/// How to ask for a password, and how to use cached credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asking {
    /// `-n`: never ask, never wait.
    pub non_interactive: bool,
    /// `-S`, `-A`
    pub password_from: PasswordFrom,
    /// `-p`; may be empty.
    pub prompt: Option<OsString>,
    /// `-B`: ring the bell with the prompt.
    pub bell: bool,
    /// `-k` with a command: ignore cached credentials.
    pub ignore_cache: bool,
    /// `-N`: do not update cached credentials.
    pub no_update: bool,
}

/// Where the password comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PasswordFrom {
    /// /dev/tty
    #[default]
    Terminal,
    /// `-S`: standard input, with the prompt on standard error.
    Stdin,
    /// `-A`: the program in SUDO_ASKPASS.
    Askpass,
}

/// A command or shell to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// How to ask.
    pub asking: Asking,
    /// `-u`: a name or `#uid`; not empty.
    pub run_as: Option<OsString>,
    /// `-g`: a name or `#gid`; not empty.
    pub run_as_group: Option<OsString>,
    /// `-i`, `-s`
    pub mode: Mode,
    /// `-E`, `--preserve-env=list`, `VAR=value`
    pub environment: EnvironmentWish,
    /// `-H`
    pub set_home: bool,
    /// `-P`
    pub preserve_groups: bool,
    /// `-D`; not empty.
    pub directory: Option<OsString>,
    /// `-C`: at least 3.
    pub close_from: Option<u32>,
    /// `-T`, in seconds; 0 is no limit.
    pub time_limit: Option<Seconds>,
    /// `-b`
    pub background: bool,
    /// The command and its arguments; empty only for a shell.
    pub command: Vec<OsString>,
    /// The details for an activation, if one is needed.
    pub activation: ActivationWish,
}

/// How to run the command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Directly.
    #[default]
    Command,
    /// `-i`: by the run-as user's login shell, with or without a command.
    LoginShell,
    /// `-s`: by the caller's `$SHELL`, with or without a command.
    Shell,
    /// `-e`: files to edit.
    Edit,
}

/// The environment variables that the caller asks for; the policy decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentWish {
    /// `-E`: all of them.
    pub preserve_all: bool,
    /// `--preserve-env=list`: these names.
    pub preserve: Vec<OsString>,
    /// Those of them that are named after a `VAR=value` of the same name, and so replace its value.
    pub preserve_over: Vec<OsString>,
    /// `VAR=value`, in the order given; a name is never empty.
    pub set: Vec<(OsString, OsString)>,
}

/// The details of a request, if one is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivationWish {
    /// `--reason`
    pub reason: Option<OsString>,
    /// `--ticket`
    pub ticket: Option<OsString>,
    /// `--for`: 1 second to 366 days.
    pub duration: Option<Seconds>,
    /// `--role`
    pub role: Option<RoleName>,
    /// `--wait`: wait for approvers.
    pub wait: Wait,
    /// `--break-glass`: activate at once, without approvers.
    pub break_glass: bool,
}

/// How long to wait for approvers: `--wait`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wait {
    /// Not given: wait if there is a terminal.
    #[default]
    Unsaid,
    /// As long as the request is pending.
    AsLongAsPending,
    /// At most this long.
    AtMost(Seconds),
}

/// A listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// How to ask.
    pub asking: Asking,
    /// `-l` or `-ll`
    pub length: Length,
    /// `-U`: the privileges of another user.
    pub other_user: Option<OsString>,
    /// `-u`, only with a command.
    pub run_as: Option<OsString>,
    /// `-g`, only with a command.
    pub run_as_group: Option<OsString>,
    /// The command to check; empty to list everything.
    pub command: Vec<OsString>,
}

/// How detailed a listing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Length {
    /// `-l`
    #[default]
    Short,
    /// `-ll`
    Long,
}

/// `-v`: authenticate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validate {
    /// How to ask.
    pub asking: Asking,
    /// `-u`
    pub run_as: Option<OsString>,
    /// `-g`
    pub run_as_group: Option<OsString>,
}

#[cfg(test)]
mod tests;
