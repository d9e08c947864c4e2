//! Combines the flags and rejects invalid combinations: with sudo's rules and texts (its parse_args.c).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::error::UsageError;
use super::flags::{FLAGS, FlagName, NOT_FOR_EDITING};
use super::gather::{self, Words};
use super::help::CalledAs;
use super::time_limit;
use super::{Invocation, Length, List, Mode, PasswordFrom, Run, Validate, Wait};
use crate::clock::duration;
use crate::clock::duration::Seconds;
use crate::escape::escape;
use crate::names::RoleName;

/// Parses the arguments, starting with the program's name, which may be missing or arbitrary (CVE-2021-4034).
pub fn parse(arguments: &[OsString]) -> Result<Invocation, UsageError> {
    let (program, rest) = arguments.split_first().ok_or(UsageError::Usage)?;
    let name = CalledAs::of(program);
    let words = gather::gather(rest)?;
    let mut typed = Typed::default();
    if name.edits() {
        check_edit_flags(&words)?;
    }
    for (flag, value) in &words.flags {
        typed.take(*flag, value.as_deref())?;
    }
    if name.edits() {
        typed.verb.get_or_insert(Verb::Edit);
    }
    typed.into_invocation(words, name)
}

/// The maximum number of a descriptor.
const MOST: u32 = i32::MAX.cast_unsigned();

/// A mode that a flag selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Edit,
    List,
    Validate,
    RemoveCache,
    Version,
    Help,
}

/// The collected values of all flags.
#[derive(Default)]
struct Typed {
    verb: Option<Verb>,
    run: Run,
    login: bool,
    shell: bool,
    stdin: bool,
    askpass: bool,
    reset: bool,
    length: Length,
    other_user: Option<OsString>,
}

impl Typed {
    fn take(&mut self, name: FlagName, value: Option<&OsStr>) -> Result<(), UsageError> {
        match name {
            FlagName::Askpass => self.askpass = true,
            FlagName::Stdin => self.stdin = true,
            FlagName::Bell => self.run.asking.bell = true,
            FlagName::NonInteractive => self.run.asking.non_interactive = true,
            FlagName::NoUpdate => self.run.asking.no_update = true,
            FlagName::ResetTimestamp => self.reset = true,
            FlagName::Prompt => once(&mut self.run.asking.prompt, value)?,
            FlagName::Background => self.run.background = true,
            FlagName::SetHome => self.run.set_home = true,
            FlagName::PreserveGroups => self.run.preserve_groups = true,
            FlagName::Login => self.login = true,
            FlagName::Shell => self.shell = true,
            FlagName::Chdir => once_not_empty(&mut self.run.directory, value)?,
            FlagName::User => once_not_empty(&mut self.run.run_as, value)?,
            FlagName::Group => once_not_empty(&mut self.run.run_as_group, value)?,
            FlagName::OtherUser => once_not_empty(&mut self.other_user, value)?,
            FlagName::PreserveEnv => self.preserve(value)?,
            FlagName::Edit => self.become_verb(Verb::Edit)?,
            FlagName::List => self.list()?,
            FlagName::Validate => self.become_verb(Verb::Validate)?,
            FlagName::RemoveTimestamp => self.become_verb(Verb::RemoveCache)?,
            FlagName::Version => self.become_verb(Verb::Version)?,
            FlagName::Help => self.become_verb(Verb::Help)?,
            FlagName::Reason => once(&mut self.run.activation.reason, value)?,
            FlagName::Ticket => once(&mut self.run.activation.ticket, value)?,
            FlagName::Role => self.role(value.unwrap_or_default())?,
            FlagName::For => self.duration(value.unwrap_or_default())?,
            FlagName::Wait => self.wait(value)?,
            FlagName::BreakGlass => self.run.activation.break_glass = true,
            FlagName::CloseFrom => self.close_from(value.unwrap_or_default())?,
            FlagName::CommandTimeout => {
                first_time(self.run.time_limit.is_none())?;
                self.run.time_limit = Some(time_limit::read(value.unwrap_or_default())?);
            }
            // Not supported, so rejected before.
            FlagName::Host | FlagName::Chroot | FlagName::SelinuxRole | FlagName::SelinuxType => {
                return Err(gather::refusal(name));
            }
        }
        Ok(())
    }

    fn become_verb(&mut self, verb: Verb) -> Result<(), UsageError> {
        if self.verb.is_some_and(|other| other != verb) {
            let sentence = "Only one of the -e, -h, -i, -K, -l, -s, -v or -V options may be specified";
            return Err(UsageError::Mistake(sentence.to_owned()));
        }
        self.verb = Some(verb);
        Ok(())
    }

    fn list(&mut self) -> Result<(), UsageError> {
        if self.verb == Some(Verb::List) {
            self.length = Length::Long;
        }
        self.become_verb(Verb::List)
    }

    fn preserve(&mut self, value: Option<&OsStr>) -> Result<(), UsageError> {
        let Some(list) = value else {
            self.run.environment.preserve_all = true;
            return Ok(());
        };
        for name in list.as_bytes().split(|byte| *byte == b',').filter(|name| !name.is_empty()) {
            if name.contains(&b'=') {
                return Err(UsageError::Mistake(format!("invalid environment variable name: {}", escape(name))));
            }
            self.run.environment.preserve.push(OsStr::from_bytes(name).to_os_string());
        }
        Ok(())
    }

    fn close_from(&mut self, value: &OsStr) -> Result<(), UsageError> {
        let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (3..=MOST).contains(number));
        first_time(self.run.close_from.is_none())?;
        self.run.close_from = number;
        if number.is_some() {
            Ok(())
        } else {
            mistake("the argument to -C must be a number greater than or equal to 3")
        }
    }

    fn role(&mut self, value: &OsStr) -> Result<(), UsageError> {
        let role = RoleName::parse(&value.to_string_lossy()).map_err(|error| UsageError::Mistake(error.to_string()))?;
        first_time(self.run.activation.role.is_none())?;
        self.run.activation.role = Some(role);
        Ok(())
    }

    fn duration(&mut self, value: &OsStr) -> Result<(), UsageError> {
        first_time(self.run.activation.duration.is_none())?;
        self.run.activation.duration = Some(span("--for", value)?);
        Ok(())
    }

    fn wait(&mut self, value: Option<&OsStr>) -> Result<(), UsageError> {
        first_time(self.run.activation.wait == Wait::Unsaid)?;
        self.run.activation.wait = match value {
            None => Wait::AsLongAsPending,
            Some(value) => Wait::AtMost(span("--wait", value)?),
        };
        Ok(())
    }

    fn into_invocation(mut self, words: Words, name: CalledAs) -> Result<Invocation, UsageError> {
        if self.run.asking.no_update && (self.reset || self.verb == Some(Verb::RemoveCache)) {
            return mistake("Only one of the -K, -k or -N options may be specified");
        }
        self.run.asking.ignore_cache = self.reset;
        self.check_shell()?;
        let forget = self.reset && words.command.is_empty() && self.run.mode == Mode::Command;
        let no_command = words.command.is_empty();
        self.run.command = words.command;
        self.run.environment.set = words.variables;
        self.run.environment.preserve_over = words.preserved_over;
        match self.verb {
            None if forget => self.forget(),
            None => self.run(),
            Some(Verb::Edit) => self.edit(),
            Some(Verb::List) => self.listing(),
            Some(Verb::Validate) => self.validation(),
            Some(verb) => {
                self.allow_only(Interaction::No)?;
                self.check_users()?;
                match verb {
                    _ if !no_command => Err(UsageError::Usage),
                    Verb::RemoveCache => Ok(Invocation::RemoveCache),
                    Verb::Version => Ok(Invocation::Version(name)),
                    Verb::Help | Verb::Edit | Verb::List | Verb::Validate => Ok(Invocation::Help(name)),
                }
            }
        }
    }

    fn check_shell(&mut self) -> Result<(), UsageError> {
        self.run.mode = match (self.login, self.shell) {
            (true, true) => return mistake("you may not specify both the -i and -s options"),
            (true, false) if self.run.environment.preserve_all => {
                return mistake("you may not specify both the -i and -E options");
            }
            (true, false) => Mode::LoginShell,
            (false, true) => Mode::Shell,
            (false, false) => Mode::Command,
        };
        Ok(())
    }

    /// `-k` alone.
    fn forget(self) -> Result<Invocation, UsageError> {
        self.allow_only(Interaction::No)?;
        self.check_users()?;
        self.check_password()?;
        Ok(Invocation::InvalidateCache)
    }

    fn run(mut self) -> Result<Invocation, UsageError> {
        self.check_other_user()?;
        self.check_password()?;
        if self.run.command.is_empty() && self.run.mode == Mode::Command {
            return Err(UsageError::Usage);
        }
        if self.run.asking.non_interactive && self.run.activation.wait != Wait::Unsaid {
            return mistake("the -n and --wait options may not be used together");
        }
        self.run.asking.password_from = self.password_from();
        Ok(Invocation::Run(Box::new(self.run)))
    }

    /// `-e`, or a program name that ends in `edit`: a run whose arguments are files.
    fn edit(mut self) -> Result<Invocation, UsageError> {
        let (run, preserve_all) = (&self.run, self.run.environment.preserve_all);
        if run.background || run.set_home || run.preserve_groups || run.mode != Mode::Command || preserve_all {
            return Err(UsageError::Usage);
        }
        if !run.environment.set.is_empty() {
            return mistake("you may not specify environment variables in edit mode");
        }
        if self.run.directory.is_some() {
            let sentence = "you are not permitted to use the -D option with sudoedit";
            return Err(UsageError::Unsupported(sentence.to_owned()));
        }
        if self.run.command.is_empty() {
            return Err(UsageError::Usage);
        }
        self.run.mode = Mode::Edit;
        self.run()
    }

    fn listing(mut self) -> Result<Invocation, UsageError> {
        self.allow_only(Interaction::Refusable)?;
        if self.run.command.is_empty() && (self.run.run_as.is_some() || self.run.run_as_group.is_some()) {
            return Err(UsageError::Usage);
        }
        self.check_password()?;
        self.run.asking.password_from = self.password_from();
        let Run { asking, run_as, run_as_group, command, .. } = self.run;
        let (length, other_user) = (self.length, self.other_user);
        Ok(Invocation::List(Box::new(List { asking, length, other_user, run_as, run_as_group, command })))
    }

    fn validation(mut self) -> Result<Invocation, UsageError> {
        self.allow_only(Interaction::Refusable)?;
        self.check_other_user()?;
        self.check_password()?;
        if !self.run.command.is_empty() {
            return Err(UsageError::Usage);
        }
        self.run.asking.password_from = self.password_from();
        let Run { asking, run_as, run_as_group, .. } = self.run;
        Ok(Invocation::Validate(Box::new(Validate { asking, run_as, run_as_group })))
    }

    /// Rejects flags that only apply to running a command.
    fn allow_only(&self, interaction: Interaction) -> Result<(), UsageError> {
        let run = &self.run;
        let activation = [
            ("--reason", run.activation.reason.is_some()),
            ("--ticket", run.activation.ticket.is_some()),
            ("--for", run.activation.duration.is_some()),
            ("--role", run.activation.role.is_some()),
            ("--wait", run.activation.wait != Wait::Unsaid),
        ];
        if let Some((flag, _)) = activation.iter().find(|(_, given)| *given) {
            return mistake(&format!("the {flag} option may only be used when running a command"));
        }
        let flags = run.background || run.environment.preserve_all || run.set_home || run.preserve_groups;
        let shell = run.mode != Mode::Command;
        let silent = run.asking.non_interactive && interaction == Interaction::No;
        if flags || shell || silent { Err(UsageError::Usage) } else { Ok(()) }
    }

    fn check_users(&self) -> Result<(), UsageError> {
        if self.run.run_as.is_some() || self.run.run_as_group.is_some() {
            return Err(UsageError::Usage);
        }
        self.check_other_user()
    }

    fn check_other_user(&self) -> Result<(), UsageError> {
        if self.other_user.is_some() { mistake("the -U option may only be used with the -l option") } else { Ok(()) }
    }

    fn check_password(&self) -> Result<(), UsageError> {
        if self.stdin && self.askpass { mistake("the -A and -S options may not be used together") } else { Ok(()) }
    }

    fn password_from(&self) -> PasswordFrom {
        match (self.stdin, self.askpass) {
            (true, _) => PasswordFrom::Stdin,
            (false, true) => PasswordFrom::Askpass,
            (false, false) => PasswordFrom::Terminal,
        }
    }
}

/// Whether an invocation can ask the user, so that `-n` has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interaction {
    No,
    Refusable,
}

/// Rejects flags that sudo does not support under such a name.
fn check_edit_flags(words: &Words) -> Result<(), UsageError> {
    let met = words.flags.iter().find(|(name, _)| NOT_FOR_EDITING.contains(name));
    let letter = met.and_then(|(name, _)| FLAGS.iter().find(|flag| flag.name == *name)).and_then(|flag| flag.short);
    match letter {
        Some(letter) => mistake(&format!("invalid option -- '{}'", char::from(letter))),
        None => Ok(()),
    }
}

fn once(place: &mut Option<OsString>, value: Option<&OsStr>) -> Result<(), UsageError> {
    first_time(place.is_none())?;
    *place = Some(value.unwrap_or_default().to_os_string());
    Ok(())
}

fn once_not_empty(place: &mut Option<OsString>, value: Option<&OsStr>) -> Result<(), UsageError> {
    match value {
        Some(value) if !value.is_empty() => once(place, Some(value)),
        Some(_) | None => Err(UsageError::Usage),
    }
}

/// Rejects a value that is given twice, which would be ambiguous; sudo does the same.
fn first_time(absent: bool) -> Result<(), UsageError> {
    if absent { Ok(()) } else { Err(UsageError::Usage) }
}

fn span(flag: &str, value: &OsStr) -> Result<Seconds, UsageError> {
    match duration::seconds(&value.to_string_lossy()) {
        Ok(Seconds::ZERO) => mistake(&format!("the argument to {flag} must be longer than zero")),
        Ok(seconds) => Ok(seconds),
        Err(error) => mistake(&format!("the argument to {flag}, {error}")),
    }
}

fn mistake<T>(sentence: &str) -> Result<T, UsageError> {
    Err(UsageError::Mistake(sentence.to_owned()))
}
