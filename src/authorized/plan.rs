//! The plan of a run: one value that is judged, recorded and executed. Whatever it needs of NSS or the file system was looked
//! up when it was made, and nobody looks again.

use super::Power;
use crate::elevation::{Argv, CallersEnvironment, Elevation, Naming, RunAsError};
use crate::escape::Word;
use crate::policy::{Manner, Options, Role, WorkingDirectory};
use sys::exec::Credentials;

/// What will be executed, by whom, where, and with what.
pub struct ExecPlan {
    elevation: Elevation,
    argv: Argv,
    credentials: Credentials,
    directory: WorkingDirectory,
    umask: u32,
    environment: EnvironmentPolicy,
}

/// What the caller's variables have to do with those of the command.
pub enum EnvironmentPolicy {
    /// As the role's options say.
    Role(CallersEnvironment),
    /// The environment is made anew, and only these come from the caller, who named them in the request: `NAME=VALUE`.
    Exact(Vec<Word>),
}

impl ExecPlan {
    /// For an elevation that `power` allows, in this manner.
    ///
    /// # Errors
    /// The groups of the run-as user cannot be looked up.
    pub(super) fn new(
        mut elevation: Elevation,
        role: &Role,
        manner: &Manner,
        power: &Power,
    ) -> Result<Self, RunAsError> {
        let run_as = elevation.run_as();
        let groups = elevation.supplementary_groups()?.to_vec();
        let credentials = Credentials { uid: run_as.uid(), gid: run_as.gid(), groups };
        let umask = umask(&role.options, elevation.wish().umask);
        let environment = EnvironmentPolicy::of(elevation.take_environment(), power);
        let argv = elevation.command().argv(naming(role, power));
        Ok(Self { elevation, argv, credentials, directory: manner.directory.clone(), umask, environment })
    }

    /// Who asked for what: the opened program, its arguments, and the account that it runs as.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// Its words: those that are recorded and executed.
    pub fn argv(&self) -> &Argv {
        &self.argv
    }

    /// The ids and groups of the command.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where it begins.
    pub fn directory(&self) -> &WorkingDirectory {
        &self.directory
    }

    /// Its file mode mask.
    pub fn umask(&self) -> u32 {
        self.umask
    }

    /// What comes of the caller's variables.
    pub fn environment(&self) -> &EnvironmentPolicy {
        &self.environment
    }
}

impl EnvironmentPolicy {
    /// An exact grant leaves nothing of the caller's variables but what it names itself.
    fn of(callers: Option<CallersEnvironment>, power: &Power) -> Self {
        let exact = match power {
            Power::Grant(terms) if terms.exact.is_set() => Some(terms),
            Power::Grant(_) | Power::Standing => None,
        };
        match (exact, callers) {
            (None, Some(callers)) => Self::Role(callers),
            (Some(terms), _) => {
                Self::Exact(terms.command.as_ref().map_or_else(Vec::new, |command| command.environment.clone()))
            }
            (None, None) => Self::Exact(Vec::new()),
        }
    }
}

/// A caller who may run anything may give it any `argv[0]`, as with sudo.
fn naming(role: &Role, power: &Power) -> Naming {
    let exact = matches!(power, Power::Grant(terms) if terms.exact.is_set());
    if role.allows_everything() && !exact { Naming::AsTyped } else { Naming::Bound }
}

/// The caller's mask and the role's; one alone where the role says so.
fn umask(options: &Options, callers: u32) -> u32 {
    match options.umask.bits() {
        None => callers,
        Some(bits) if options.umask_override => bits,
        Some(bits) => bits | callers,
    }
}
