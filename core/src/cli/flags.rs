//! The table of flags, from which parser, help, manual and completion are made.

/// A flag; one for each line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is described by its line in FLAGS")]
pub enum FlagName {
    Askpass,
    Background,
    Bell,
    CloseFrom,
    Chdir,
    PreserveEnv,
    Edit,
    Group,
    SetHome,
    Help,
    Host,
    Login,
    RemoveTimestamp,
    ResetTimestamp,
    List,
    NoUpdate,
    NonInteractive,
    PreserveGroups,
    Prompt,
    Chroot,
    SelinuxRole,
    Stdin,
    Shell,
    SelinuxType,
    CommandTimeout,
    OtherUser,
    User,
    Version,
    Validate,
    Role,
    For,
    Reason,
    Ticket,
    Wait,
    BreakGlass,
}

/// An entry of the table.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The flag.
    pub name: FlagName,
    /// Its letter.
    pub short: Option<u8>,
    /// Its long name without dashes.
    pub long: Option<&'static str>,
    /// Its argument.
    pub argument: Argument,
    /// One line for the help.
    pub help: &'static str,
    /// Whether it is supported.
    pub support: Support,
}

/// The argument of a flag; the text is its name in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// None.
    None,
    /// A required value: attached, after `=`, or the next argument.
    Required(&'static str),
    /// An optional value after `=` of the long name (the second text is for the help).
    Optional(&'static str, &'static str),
}

/// Whether a flag is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Built,
    /// It never will be; the text says why.
    Never(&'static str),
}

use Argument::{None as Nothing, Optional, Required};
use FlagName as Name;
use Support::{Built, Never};

/// The flags that sudo does not support when it is called `sudoedit`.
pub(super) const NOT_FOR_EDITING: [FlagName; 10] = [
    Name::Background,
    Name::Edit,
    Name::List,
    Name::Login,
    Name::PreserveEnv,
    Name::PreserveGroups,
    Name::RemoveTimestamp,
    Name::SetHome,
    Name::Shell,
    Name::Validate,
];

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &[
    both(Name::Askpass, b'A', "askpass", Nothing, "use a helper program for password prompting", Built),
    both(Name::Background, b'b', "background", Nothing, "run command in the background", Built),
    both(Name::Bell, b'B', "bell", Nothing, "ring bell when prompting", Built),
    both(Name::CloseFrom, b'C', "close-from", Required("num"), "close all file descriptors >= num", Built),
    both(
        Name::Chdir,
        b'D',
        "chdir",
        Required("directory"),
        "change the working directory before running command",
        Built,
    ),
    both(
        Name::PreserveEnv,
        b'E',
        "preserve-env",
        Optional("list", "preserve specific environment variables"),
        "preserve user environment when running command",
        Built,
    ),
    both(Name::Edit, b'e', "edit", Nothing, "edit files instead of running a command", Built),
    both(Name::Group, b'g', "group", Required("group"), "run command as the specified group name or ID", Built),
    both(Name::SetHome, b'H', "set-home", Nothing, "set HOME variable to target user's home dir", Built),
    both(Name::Help, b'h', "help", Nothing, "display help message and exit", Built),
    both(
        Name::Host,
        b'h',
        "host",
        Required("host"),
        "run command on host",
        Never(
            "a host (-h) is not supported: a rule for another host must not allow a command on this host (CVE-2025-32462)",
        ),
    ),
    both(
        Name::Login,
        b'i',
        "login",
        Nothing,
        "run login shell as the target user; a command may also be specified",
        Built,
    ),
    both(Name::RemoveTimestamp, b'K', "remove-timestamp", Nothing, "remove all cached credentials", Built),
    both(
        Name::ResetTimestamp,
        b'k',
        "reset-timestamp",
        Nothing,
        "invalidate the cached credentials of this terminal",
        Built,
    ),
    both(
        Name::List,
        b'l',
        "list",
        Nothing,
        "list user's privileges or check a specific command; use twice for longer format",
        Built,
    ),
    both(Name::NoUpdate, b'N', "no-update", Nothing, "do not update the cached credentials", Built),
    both(Name::NonInteractive, b'n', "non-interactive", Nothing, "non-interactive mode, no prompts are used", Built),
    both(
        Name::PreserveGroups,
        b'P',
        "preserve-groups",
        Nothing,
        "preserve group vector instead of setting to target's",
        Built,
    ),
    both(Name::Prompt, b'p', "prompt", Required("prompt"), "use the specified password prompt", Built),
    both(
        Name::Chroot,
        b'R',
        "chroot",
        Required("directory"),
        "change the root directory before running command",
        Never(
            "another root directory (-R) is not supported: files below that directory could make any user root (CVE-2025-32463)",
        ),
    ),
    Flag {
        name: Name::SelinuxRole,
        short: Some(b'r'),
        long: None,
        argument: Required("role"),
        help: "create SELinux security context with specified role",
        support: Never(
            "an SELinux role (-r) is not supported: the system sets the security context; --role selects a role of the policy",
        ),
    },
    both(Name::Stdin, b'S', "stdin", Nothing, "read password from standard input", Built),
    both(Name::Shell, b's', "shell", Nothing, "run shell as the target user; a command may also be specified", Built),
    both(
        Name::SelinuxType,
        b't',
        "type",
        Required("type"),
        "create SELinux security context with specified type",
        Never("an SELinux type (-t) is not supported: the system sets the security context"),
    ),
    both(
        Name::CommandTimeout,
        b'T',
        "command-timeout",
        Required("timeout"),
        "terminate command after the specified time limit",
        Built,
    ),
    both(Name::OtherUser, b'U', "other-user", Required("user"), "in list mode, display privileges for user", Built),
    both(Name::User, b'u', "user", Required("user"), "run command as specified user name or ID", Built),
    both(Name::Version, b'V', "version", Nothing, "display version information and exit", Built),
    both(
        Name::Validate,
        b'v',
        "validate",
        Nothing,
        "update user's cached credentials without running a command",
        Built,
    ),
    long(Name::Role, "role", Required("role"), "use or request this role of the policy", Built),
    long(Name::For, "for", Required("duration"), "request a grant of this duration, such as 30m", Built),
    long(Name::Reason, "reason", Required("text"), "the reason of the request", Built),
    long(Name::Ticket, "ticket", Required("ticket"), "the ticket of the request", Built),
    long(
        Name::Wait,
        "wait",
        Optional("duration", "wait at most this long"),
        "wait until the request is approved",
        Built,
    ),
    long(Name::BreakGlass, "break-glass", Nothing, "activate in an emergency, without approval; review follows", Built),
];

const fn both(
    name: FlagName,
    short: u8,
    long: &'static str,
    argument: Argument,
    help: &'static str,
    support: Support,
) -> Flag {
    Flag { name, short: Some(short), long: Some(long), argument, help, support }
}

const fn long(name: FlagName, long: &'static str, argument: Argument, help: &'static str, support: Support) -> Flag {
    Flag { name, short: None, long: Some(long), argument, help, support }
}
