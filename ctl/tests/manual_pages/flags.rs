//! jit-sudo(8): the synopsis from the usage, the options from the table of flags. Each option begins with its line of the
//! help.

use jit_core::cli::{Argument, CalledAs, FLAGS, Flag, FlagName, Support, usage};

use crate::mdoc::{flag, prose, sentence};

/// Returns the part of that name.
pub(crate) fn part(name: &str) -> String {
    let ours = |flag: &&Flag| flag.short.is_none();
    let built = FLAGS.iter().filter(|flag| flag.support == Support::Built);
    match name {
        "synopsis" => [CalledAs::JitSudo, CalledAs::JitSudoedit].into_iter().map(synopsis).collect(),
        "options of sudo" => built.filter(|flag| !ours(flag)).map(items).collect(),
        "options for a grant" => built.filter(ours).map(items).collect(),
        "options that are refused" => FLAGS.iter().map(refusal).collect(),
        _ => panic!("jit-sudo(8) has no part {name}"),
    }
}

/// Returns what the manual adds to the line of the help, and to the form with an optional value.
fn more(name: FlagName) -> (&'static str, &'static str) {
    let one = |text| (text, "");
    match name {
        FlagName::Askpass => {
            one("`SUDO_ASKPASS` names the program. It runs as the caller, and its argument is the prompt.")
        }
        FlagName::Background => {
            one("The command is never in the foreground of the caller's terminal. If its standard input would be the \
                 terminal, the command reads the end of a file instead. It reads a pipe or a file as without `-b`.")
        }
        FlagName::CloseFrom => one("The number must be 3 or more. The role must have `closefrom_override`."),
        FlagName::Chdir => one("The role must have `runcwd = \"*\"`."),
        FlagName::PreserveEnv => (
            "Some variables are never preserved; see ENVIRONMENT. The role must have `setenv`, or allow every command.",
            "Separate their names by commas. The role must have `setenv`, unless the policy keeps these variables \
             without this option.",
        ),
        FlagName::Edit => one("See EDITING. If the name of the program ends in `edit`, such as the link \
                               `jit-sudoedit`, this option is implied."),
        FlagName::Group => {
            one("This group is the primary group of the command. Write a group id as `#gid`. With `-g` alone the \
                 command runs as the caller. The role must list the group in `run_as_groups`, unless the run-as user is \
                 a member of it.")
        }
        FlagName::SetHome => one("This is the default, except with `-E`."),
        FlagName::Login => {
            one("The shell starts in the target user's home directory. If you give a command, its words are quoted \
                 and passed to `-c` of the shell.")
        }
        FlagName::RemoveTimestamp => one("No password is required."),
        FlagName::ResetTimestamp => {
            one("With a command, jit-sudo does not use cached credentials, and does not cache \
                                         the password that you enter.")
        }
        FlagName::List => {
            one("First the commands that you may run now are listed, and then the roles that you may activate. For an \
                 exact grant, the list contains its one command, with the approved directory as `CWD=`. If a role has \
                 changed since the approval, the list contains what it allowed then and what it allows now. A grant \
                 that has not begun is not listed. If you give a command that you may run now, its path and arguments \
                 are printed. With a second `-l`, the role and the rule that allow it are printed before, and the command \
                 after `Matched:`.")
        }
        FlagName::NonInteractive => {
            one("jit-sudo does not ask, does not wait and does not request a grant. If a password is required, it \
                 fails with `jit-sudo: a password is required`.")
        }
        FlagName::PreserveGroups => one("The command has the caller's supplementary groups."),
        FlagName::Prompt => {
            one("In the prompt, `%u` is the caller and `%U` the target user. `%p` is the user whose password is \
                 required: the caller, unless the policy says otherwise. `%h` is the short name of the host and `%H` \
                 its full name. `%%` is a per cent sign.")
        }
        FlagName::Stdin => one("The prompt is written to the standard error."),
        FlagName::Shell => one("The shell is the caller's `SHELL`. If you give a command, its words are passed to \
                                `-c` of the shell."),
        FlagName::CommandTimeout => one("Write the time as `1h30m`, or as a number of seconds such as `90`. The role \
                                         must have `user_command_timeouts`."),
        FlagName::OtherUser => {
            one("Root, readers of the audit, and users who may run every command as root now may use it.")
        }
        FlagName::User => one("Write a user id as `#uid`."),
        FlagName::Validate => {
            one("The credentials are cached for this terminal and session. No password is required if no command that \
                 you may run now requires one.")
        }
        FlagName::For => one("The default is the role's maximum."),
        FlagName::Wait => (
            "The command runs as soon as the request is approved. The wait ends at the deadline of the \
                            request.",
            "",
        ),
        FlagName::BreakGlass => {
            one("The role must have `break_glass`. A reason is always required. The activation causes an alert in the \
                 journal and in syslog. Until an approver has reviewed it with `jitctl review`, you cannot use this \
                 option again.")
        }
        FlagName::Bell
        | FlagName::Help
        | FlagName::Host
        | FlagName::NoUpdate
        | FlagName::Chroot
        | FlagName::SelinuxRole
        | FlagName::SelinuxType
        | FlagName::Version
        | FlagName::Role
        | FlagName::Reason
        | FlagName::Ticket => one(""),
    }
}

fn items(flag: &Flag) -> String {
    let (text, text_with_value) = more(flag.name);
    let item = |head: String, help: &str, text: &str| {
        format!(".It {head}\n{}", prose(format!("{} {text}", sentence(help)).trim(), &[]))
    };
    match flag.argument {
        Argument::None => item(spelled(flag, "", ""), flag.help, text),
        Argument::Required(value) => {
            item(spelled(flag, &format!(" Ar {value}"), &format!(" Ns = Ns Ar {value}")), flag.help, text)
        }
        Argument::Optional(value, help) => {
            let long = format!("Fl -{} Ns = Ns Ar {value}", flag.long.unwrap_or_default());
            item(spelled(flag, "", ""), flag.help, text) + &item(long, help, text_with_value)
        }
    }
}

/// `Fl u Ar user , Fl -user Ns = Ns Ar user`
fn spelled(flag: &Flag, short: &str, long: &str) -> String {
    let short = flag.short.map(|letter| format!("Fl {}{short}", char::from(letter)));
    let long = flag.long.map(|name| format!("Fl -{name}{long}"));
    short.into_iter().chain(long).collect::<Vec<_>>().join(" , ")
}

fn refusal(flag: &Flag) -> String {
    let Support::Never(why) = flag.support else { return String::new() };
    let Argument::Required(value) = flag.argument else { panic!("{flag:?}") };
    format!(
        ".It {}\n{}",
        spelled(flag, &format!(" Ar {value}"), &format!(" Ns = Ns Ar {value}")),
        prose(&sentence(why), &[])
    )
}

/// Returns the lines of the usage, each as a call of `.Nm`.
fn synopsis(called: CalledAs) -> String {
    let text = usage(called).replace("\n            ", " ");
    let mut page = String::new();
    for line in text.lines() {
        let (program, words) = line.strip_prefix("usage: ").unwrap().split_once(' ').unwrap();
        page.push_str(&format!(".Nm {program}\n"));
        for part in bracketed(words) {
            page.push_str(&format!(".{}\n", option(&part)));
        }
    }
    page
}

/// Splits a usage; brackets and their contents are one part, and so are alternatives without brackets.
fn bracketed(words: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut depth = 0;
    let mut joined = false;
    for word in words.split(' ') {
        let bar = word == "|";
        match parts.last_mut() {
            Some(part) if depth > 0 || bar || joined || word == "..." => *part = format!("{part} {word}"),
            _ => parts.push(word.to_owned()),
        }
        joined = bar;
        depth += word.matches('[').count();
        depth -= word.matches(']').count();
    }
    parts
}

fn option(part: &str) -> String {
    let inner = part.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let words: Vec<String> = inner.unwrap_or(part).split(' ').map(word).collect();
    format!("{}{}", if inner.is_some() { "Op " } else { "" }, words.join(" "))
}

fn word(word: &str) -> String {
    let open = word.starts_with('[');
    let plain = word.trim_start_matches('[');
    let plain = if open || !plain.contains('[') { plain.trim_end_matches(']') } else { plain };
    let text = match plain.split_once("[=") {
        Some((name, value)) => format!("{} Ns Op = Ns Ar {}", flag(name), value.trim_end_matches(']')),
        None if plain.starts_with('-') => flag(plain),
        None if plain == "|" || plain == "..." => plain.to_owned(),
        None => match plain.split_once('=') {
            Some((name, value)) => format!("Ar {name} Ns = Ns Ar {value}"),
            None => format!("Ar {plain}"),
        },
    };
    if open { format!("Op {text}") } else { text }
}
