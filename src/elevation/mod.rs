//! The elevation: who calls, as whom, and which opened program. Decides nothing about whether it is allowed.

pub mod argv;
pub mod caller;
pub mod command;
pub mod edit;
pub mod environment;
pub mod hidden;
mod lookup;
pub mod run_as;

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use argv::{Argv, Naming};
pub use caller::{Caller, CallerError, Tty};
pub use command::{Command, CommandError};
pub use edit::{Edit, Editor, EditorError, Editors, is_edit_word};
pub use environment::CallersEnvironment;
pub use hidden::Hidden;
pub use lookup::THIS_HOST;
pub use run_as::{RunAs, RunAsError};

use crate::console::Console;
use jit_core::cli::{EnvironmentWish, Mode, Run};
use jit_core::clock::duration::Seconds;
use sys::directory::{OpenedDirectory, reason};
use sys::exec::Credentials;
use sys::sanitize::Inherited;

/// One caller, one run-as user, one opened program, and how the caller wants it to be run.
#[must_use = "an elevation leads to the policy"]
pub struct Elevation {
    caller: Caller,
    run_as: RunAs,
    command: Command,
    wish: Wish,
    /// Present until the gate takes it.
    environment: Option<CallersEnvironment>,
    directories: Directories,
}

/// The directories that have been looked up, with the result.
type Directories = RefCell<Vec<(PathBuf, Result<Rc<OpenedDirectory>, &'static str>)>>;

/// How the caller wants the command to be run, as far as the policy allows it.
#[derive(Default)]
pub struct Wish {
    /// -i: a login shell in the run-as user's home.
    pub login: bool,
    /// -s without -i: the caller's shell.
    pub shell: bool,
    /// -H.
    pub set_home: bool,
    /// -P.
    pub preserve_groups: bool,
    /// -b.
    pub background: bool,
    /// -D.
    pub directory: Option<PathBuf>,
    /// -C.
    pub close_from: Option<u32>,
    /// -T, in seconds.
    pub time_limit: Option<Seconds>,
    /// The caller's file mode mask.
    pub umask: u32,
}

/// Why the arguments are no elevation.
#[derive(Debug)]
pub enum ElevationError {
    /// The caller.
    Caller(CallerError),
    /// The run-as user.
    RunAs(RunAsError),
    /// The command.
    Command(CommandError),
}

impl fmt::Display for ElevationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(error) => error.fmt(f),
            Self::RunAs(error) => error.fmt(f),
            Self::Command(error) => error.fmt(f),
        }
    }
}

impl From<CallerError> for ElevationError {
    fn from(error: CallerError) -> Self {
        Self::Caller(error)
    }
}

impl From<RunAsError> for ElevationError {
    fn from(error: RunAsError) -> Self {
        Self::RunAs(error)
    }
}

impl From<CommandError> for ElevationError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl Elevation {
    /// Resolves the arguments: names through NSS, the command in `secure_path`, opened once. `reveal` decides what the caller
    /// learns about a command in a directory that they may not look into. The look-up of a path that the caller typed may wait
    /// for ever. So it takes the console, which nobody has while the database is read.
    pub fn resolve<E: From<ElevationError>>(
        run: &Run,
        caller: Caller,
        secure_path: &str,
        inherited: &Inherited,
        _: &mut Console,
        reveal: impl FnOnce(Box<Hidden>, &Caller, &RunAs) -> Result<Result<Command, CommandError>, E>,
    ) -> Result<Self, E> {
        let run_as = RunAs::resolve(run.run_as.as_deref(), run.run_as_group.as_deref(), &caller)
            .map_err(|error| E::from(error.into()))?;
        let command = match run.mode {
            Mode::Command if run.command.first().is_some_and(|word| is_edit_word(word)) => {
                Command::edit(run.command.get(1..).unwrap_or_default(), &caller, &run_as)
            }
            Mode::Command => Command::find(&run.command, secure_path, &caller),
            Mode::LoginShell => Command::login_shell(run_as.shell(), &run.command),
            Mode::Edit => Command::edit(&run.command, &caller, &run_as),
            Mode::Shell => Command::shell(&caller.preferred_shell(&inherited.environment), &run.command, &caller),
        };
        let command = match command {
            Err(CommandError::Hidden(hidden)) => reveal(hidden, &caller, &run_as)?,
            command => command,
        };
        let command = command.map_err(|error| E::from(error.into()))?;
        let wish = Wish {
            login: run.mode == Mode::LoginShell,
            shell: run.mode == Mode::Shell,
            set_home: run.set_home,
            preserve_groups: run.preserve_groups,
            background: run.background,
            directory: run.directory.clone().map(PathBuf::from),
            close_from: run.close_from,
            time_limit: run.time_limit,
            umask: inherited.umask,
        };
        let environment = CallersEnvironment::new(inherited.environment.clone(), run.environment.clone());
        Ok(Self { caller, run_as, command, wish, environment: Some(environment), directories: Directories::default() })
    }

    /// Creates an elevation that is only a question and does not run: for `why`, requests and listings. `directory` is -D, `wished`
    /// are variables typed before the command.
    pub fn question(
        caller: Caller,
        run_as: RunAs,
        command: Command,
        directory: Option<PathBuf>,
        wished: EnvironmentWish,
    ) -> Self {
        let wish = Wish { directory, ..Wish::default() };
        let environment = Some(CallersEnvironment::new(Vec::new(), wished));
        Self { caller, run_as, command, wish, environment, directories: Directories::default() }
    }

    /// Replaces -P and the variables.
    #[cfg(test)]
    pub(crate) fn wishing(
        self,
        preserve_groups: bool,
        inherited: Vec<std::ffi::OsString>,
        wished: EnvironmentWish,
    ) -> Self {
        let wish = Wish { preserve_groups, ..self.wish };
        Self { wish, environment: Some(CallersEnvironment::new(inherited, wished)), ..self }
    }

    /// Returns the caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the run-as user.
    pub fn run_as(&self) -> &RunAs {
        &self.run_as
    }

    /// Returns the command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Returns how the caller wants it to be run.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Opens a directory for the command with the command's permissions when it is first asked for, and returns the same one ever
    /// after. Fails with the reason why it cannot be entered.
    pub fn directory(&self, path: &Path) -> Result<Rc<OpenedDirectory>, &'static str> {
        let known = self.directories.borrow().iter().find(|(known, _)| known == path).map(|(_, found)| found.clone());
        if let Some(found) = known {
            return found;
        }
        let found = self.opened(path);
        self.directories.borrow_mut().push((path.to_owned(), found.clone()));
        found
    }

    fn opened(&self, path: &Path) -> Result<Rc<OpenedDirectory>, &'static str> {
        let groups = self.supplementary_groups().map_err(|_| "the groups of its user cannot be looked up")?;
        let who = Credentials { uid: self.run_as.uid(), gid: self.run_as.gid(), groups: groups.to_vec() };
        OpenedDirectory::open_as(path, &who).map(Rc::new).map_err(|error| reason(&error))
    }

    /// Returns the canonical name of a directory, as far as the caller's own permissions can tell; otherwise the given name.
    ///
    /// # Errors
    /// Fails with the reason why no user could enter it.
    pub fn name_of_directory(&self, path: &Path) -> Result<PathBuf, &'static str> {
        let caller = &self.caller;
        let who = Credentials { uid: caller.uid(), gid: caller.gid(), groups: caller.group_ids().to_vec() };
        match OpenedDirectory::open_as(path, &who) {
            Ok(opened) => Ok(opened.path().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(path.components().collect()),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Returns the caller's variables, until the gate has taken them.
    pub fn environment(&self) -> Option<&CallersEnvironment> {
        self.environment.as_ref()
    }

    /// Takes the caller's variables out for the gate, which alone decides about them.
    pub(crate) fn take_environment(&mut self) -> Option<CallersEnvironment> {
        self.environment.take()
    }

    /// Returns the supplementary groups of the command: the run-as user's, or with -P the caller's.
    ///
    /// # Errors
    /// Fails when the account database cannot be read.
    pub fn supplementary_groups(&self) -> Result<&[u32], RunAsError> {
        if self.wish.preserve_groups { Ok(self.caller.group_ids()) } else { self.run_as.group_ids() }
    }
}
