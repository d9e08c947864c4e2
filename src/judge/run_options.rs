//! The run options: what the caller wants besides the command itself, as far as the role allows it (sudoers(5)).

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::console;
use crate::elevation::{Caller, Elevation};
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::names::UserName;
use jit_core::policy::{Role, RunDirectory};
use sys::directory::OpenedDirectory;

/// How a command is to be run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The working directory.
    pub directory: WorkingDirectory,
    /// File descriptors from this one on are closed.
    pub closefrom: u32,
    /// The time limit in seconds.
    pub time_limit: Option<Seconds>,
}

/// The working directory of a command by name, not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedDirectory {
    /// The caller's.
    Callers,
    /// This one; the command does not run elsewhere.
    Path(PathBuf),
    /// The home directory of a login; the caller's if it cannot be entered.
    Home(PathBuf),
}

/// The working directory of a command.
#[derive(Debug, Clone)]
pub enum WorkingDirectory {
    /// The caller's.
    Callers,
    /// This one, opened with the permissions of the run-as user and never looked up again.
    Opened(Rc<OpenedDirectory>),
    /// The caller's, because the home directory of the login cannot be entered; with the message for the caller.
    Instead(String),
}

/// Why the role does not allow a run option. The sentences are sudo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPermitted {
    /// `requiretty` is set, and there is no terminal.
    NoTerminal,
    /// -C was given without `closefrom_override`.
    CloseFrom,
    /// -D was given without `runcwd = "*"`; contains the command.
    Directory(Word),
    /// -T was given without `user_command_timeouts`.
    TimeLimit,
    /// The home directory of a user that does not exist.
    NoHome(UserName),
    /// A directory that the run-as user cannot enter, and the reason.
    NotEntered(Word, &'static str),
}

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTerminal => f.write_str("sorry, you must have a tty to run sudo"),
            Self::CloseFrom => f.write_str("you are not permitted to use the -C option"),
            Self::Directory(command) => write!(f, "you are not permitted to use the -D option with {command}"),
            Self::NoHome(user) => write!(f, "unknown user {user}"),
            Self::NotEntered(path, reason) => write!(f, "unable to change directory to {path}: {reason}"),
            // sudo's wording.
            Self::TimeLimit => f.write_str("sorry, you are not allowed set a command timeout"),
        }
    }
}

impl RunOptions {
    /// Returns the options with which `role` lets `elevation` run.
    pub fn of(role: &Role, elevation: &Elevation) -> Result<Self, NotPermitted> {
        let (options, wish) = (&role.options, elevation.wish());
        if options.requiretty && elevation.caller().tty().is_none() {
            return Err(NotPermitted::NoTerminal);
        }
        let closefrom = match wish.close_from {
            Some(number) if number != options.closefrom && !options.closefrom_override => {
                return Err(NotPermitted::CloseFrom);
            }
            number => number.unwrap_or(options.closefrom),
        };
        let time_limit = match (wish.time_limit.and_then(Seconds::positive), options.command_timeout.positive()) {
            (Some(_), _) if !options.user_command_timeouts => return Err(NotPermitted::TimeLimit),
            (Some(wished), Some(most)) => Some(wished.min(most)),
            (wished, most) => wished.or(most),
        };
        Ok(Self { directory: Self::working_directory(role, elevation)?, closefrom, time_limit })
    }

    /// Returns the directory where `role` lets `elevation` run, opened once for all questions about this elevation.
    ///
    /// # Errors
    /// Fails when the role does not allow the requested directory, its user does not exist, or it cannot be entered.
    pub fn working_directory(role: &Role, elevation: &Elevation) -> Result<WorkingDirectory, NotPermitted> {
        let (wanted, or_else): (_, fn(NotPermitted) -> _) = match Self::wanted_directory(role, elevation)? {
            WantedDirectory::Callers => return Ok(WorkingDirectory::Callers),
            WantedDirectory::Path(path) => (path, Err),
            WantedDirectory::Home(home) => {
                (home, |error| Ok(WorkingDirectory::Instead(format!("{}: {error}", console::name().as_str()))))
            }
        };
        match elevation.directory(&wanted) {
            Ok(opened) => Ok(WorkingDirectory::Opened(opened)),
            Err(reason) => or_else(NotPermitted::NotEntered(Word::from(wanted.as_os_str()), reason)),
        }
    }

    /// Returns the name of the directory where `role` lets `elevation` run. Accesses no file, so that it reveals nothing.
    ///
    /// # Errors
    /// Fails when the role does not allow the requested directory, or its user does not exist.
    pub fn wanted_directory(role: &Role, elevation: &Elevation) -> Result<WantedDirectory, NotPermitted> {
        let home = &elevation.run_as().account().home;
        Ok(match run_directory(role, elevation)? {
            // As typed, but made absolute.
            Some(RunDirectory::Path(path)) => {
                WantedDirectory::Path(elevation.caller().directory().unwrap_or(Path::new("/")).join(path))
            }
            Some(RunDirectory::TargetsHome) => WantedDirectory::Path(home.clone()),
            Some(RunDirectory::HomeOf(user)) => match sys::users::account_by_name(user.as_str()) {
                Ok(Some(account)) => WantedDirectory::Path(account.home),
                Ok(None) | Err(_) => return Err(NotPermitted::NoHome(user)),
            },
            None | Some(RunDirectory::CallersChoice) if elevation.wish().login => WantedDirectory::Home(home.clone()),
            None | Some(RunDirectory::CallersChoice) => WantedDirectory::Callers,
        })
    }
}

impl WorkingDirectory {
    /// Returns the name for records.
    pub fn word(&self, caller: &Caller) -> Word {
        match self {
            Self::Callers | Self::Instead(_) => caller.directory_word(),
            Self::Opened(directory) => Word::from(directory.path().as_os_str()),
        }
    }
}

fn run_directory(role: &Role, elevation: &Elevation) -> Result<Option<RunDirectory>, NotPermitted> {
    let (wish, said) = (elevation.wish(), &role.options.runcwd);
    let wished = wish.directory.as_deref().filter(|wished| Some(*wished) != elevation.caller().directory());
    match (wished, said) {
        (Some(wished), Some(RunDirectory::CallersChoice)) => Ok(Some(typed(wished))),
        (Some(_), _) => Err(NotPermitted::Directory(Word::from(elevation.command().path().as_os_str()))),
        (None, None | Some(RunDirectory::CallersChoice)) => Ok(None),
        (None, Some(said)) => Ok(Some(said.clone())),
    }
}

/// Parses the argument of -D: a path, `~`, or `~USER`.
fn typed(path: &Path) -> RunDirectory {
    match path.as_os_str().as_bytes().strip_prefix(b"~") {
        Some(b"") => RunDirectory::TargetsHome,
        Some(user) => match std::str::from_utf8(user).map(UserName::parse) {
            Ok(Ok(user)) => RunDirectory::HomeOf(user),
            _ => RunDirectory::Path(PathBuf::from(path)),
        },
        None => RunDirectory::Path(PathBuf::from(path)),
    }
}
