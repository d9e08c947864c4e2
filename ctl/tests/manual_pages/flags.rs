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
            one("It is named by `SUDO_ASKPASS`, runs as the caller and gets the prompt as its argument.")
        }
        FlagName::Background => one("It never gets the caller's terminal."),
        FlagName::CloseFrom => one("The number is 3 or more. Needs a role with `closefrom_override`."),
        FlagName::Chdir => one("Needs a role with `runcwd = \"*\"`."),
        FlagName::PreserveEnv => (
            "Some variables are never preserved, see ENVIRONMENT. Needs a role with `setenv`, or one that may run every \
             command.",
            "Their names are separated by commas. Needs `setenv` for those that are not kept anyway.",
        ),
        FlagName::Edit => one("See EDITING. A name of the program that ends in `edit`, such as that of the link \
                               `jit-sudoedit`, means the same."),
        FlagName::Group => {
            one("It is the primary group then; a number is written `#gid`. Without `-u` the command runs as \
                                the caller. The role must list the group in `run_as_groups`.")
        }
        FlagName::SetHome => one("It is so anyway, except with `-E`."),
        FlagName::Login => {
            one("The shell starts in the target user's home directory; the words of a command are quoted and \
                                handed to its `-c`.")
        }
        FlagName::RemoveTimestamp => one("Needs no password."),
        FlagName::ResetTimestamp => one("With a command: do not use what is remembered, and do not remember this one."),
        FlagName::List => {
            one("List the commands that may run now, and then the roles that could be activated. Of a grant \
                               it lists what the grant gives: the one command of an exact grant, with the directory that \
                               was approved as `CWD=`; of a role that has changed since the approval, what it allowed \
                               then and allows now; nothing of a grant that has not begun. With a command: print its \
                               path and arguments if it may run now. Given twice it says no more than once.")
        }
        FlagName::NonInteractive => {
            one("Never ask, never wait and never open a request: where a password would be asked for, \
                                         fail with `jit-sudo: a password is required`.")
        }
        FlagName::PreserveGroups => one("The caller's supplementary groups stay."),
        FlagName::Prompt => {
            one("In it `%u` is the caller, `%U` the target user, `%p` whose password is wanted (the caller's, \
                                 unless the policy says otherwise), `%h` the short and `%H` the full name of the host, and \
                                 `%%` a per cent sign.")
        }
        FlagName::Stdin => one("The prompt goes to the standard error."),
        FlagName::Shell => one("It is the caller's `SHELL`; the words of a command are handed to its `-c`."),
        FlagName::CommandTimeout => one("It is written `1h30m`, or `90`, which is in seconds. Needs a role with \
                                         `user_command_timeouts`."),
        FlagName::OtherUser => one("For root and the readers of the audit."),
        FlagName::User => one("A number is written `#uid`."),
        FlagName::Validate => one("They are remembered for this terminal and session."),
        FlagName::For => one("Default: the role's maximum."),
        FlagName::Wait => ("The command runs as soon as it is; the wait ends with the request's deadline.", ""),
        FlagName::BreakGlass => {
            one("For a role that has `break_glass`. A reason is always wanted. There is an alert in the \
                                     journal and in syslog, and until an approver has reviewed it (`jitctl review`), the \
                                     same person cannot do so again.")
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
