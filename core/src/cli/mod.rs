//! From the words typed to an [`Invocation`], in sudo's grammar and from one table of flags. Words stay bytes; nothing
//! is looked up, so a user, group or command may not exist.

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

use crate::names::RoleName;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run a command or a shell.
    Run(Box<Run>),
    /// `-l`: what may I run, or may I run this?
    List(Box<List>),
    /// `-v`: authenticate and remember it.
    Validate(Box<Validate>),
    /// `-k` alone: forget the credentials of this terminal.
    InvalidateCache,
    /// `-K`: forget all credentials of the caller.
    RemoveCache,
    /// `-V`
    Version,
    /// `-h`
    Help(CalledAs),
}

/// How a password is asked for, and what is remembered of it.
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
    /// `-k` with a command: do not use what is remembered.
    pub ignore_cache: bool,
    /// `-N`: do not remember this.
    pub no_update: bool,
}

/// Where the password comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PasswordFrom {
    /// /dev/tty
    #[default]
    Terminal,
    /// `-S`: standard input, prompt on standard error.
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
    pub time_limit: Option<u64>,
    /// `-b`
    pub background: bool,
    /// The words of the command; empty only for a shell.
    pub command: Vec<OsString>,
    /// What is said for an activation, should one be needed.
    pub activation: ActivationWish,
}

/// What the command words are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The command itself.
    #[default]
    Command,
    /// `-i`: the run-as user's login shell, perhaps with a command.
    LoginShell,
    /// `-s`: the caller's `$SHELL`, perhaps with a command.
    Shell,
    /// `-e`: files to edit.
    Edit,
}

/// What the caller wants in the environment of the command; the policy decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentWish {
    /// `-E`: everything.
    pub preserve_all: bool,
    /// `--preserve-env=list`: these names.
    pub preserve: Vec<OsString>,
    /// `VAR=value`, in the order typed; a name is never empty.
    pub set: Vec<(OsString, OsString)>,
}

/// What a request needs, should one be made. Times in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivationWish {
    /// `--reason`
    pub reason: Option<OsString>,
    /// `--ticket`
    pub ticket: Option<OsString>,
    /// `--for`: 1 second to 366 days.
    pub duration: Option<u64>,
    /// `--role`
    pub role: Option<RoleName>,
    /// `--wait`: wait for approvers.
    pub wait: Wait,
    /// `--break-glass`: at once, without approvers.
    pub break_glass: bool,
}

/// `--wait`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wait {
    /// Not asked for: what a terminal allows.
    #[default]
    Unsaid,
    /// As long as the request lives.
    AsLongAsPending,
    /// At most this many seconds.
    AtMost(u64),
}

/// A listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// How to ask.
    pub asking: Asking,
    /// `-l` or `-ll`
    pub length: Length,
    /// `-U`: somebody else's privileges.
    pub other_user: Option<OsString>,
    /// `-u`, only with a command.
    pub run_as: Option<OsString>,
    /// `-g`, only with a command.
    pub run_as_group: Option<OsString>,
    /// The command to check; empty to list everything.
    pub command: Vec<OsString>,
}

/// How much a listing says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Length {
    /// `-l`
    #[default]
    Short,
    /// `-ll`
    Long,
}

/// `-v`
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
