//! The plan of a run: what the gate permits. The `start` record and the exec are both made from this value. Everything it needs
//! from NSS or the file system was looked up when it was created, and is not looked up again. The role decides what the session
//! does around the command (its terminal, its recording).

use std::collections::BTreeMap;

use super::{Power, Scripts};
use crate::elevation::{Argv, CallersEnvironment, Elevation, Naming, RunAsError};
use crate::judge::{RunOptions, WorkingDirectory};
use jit_core::clock::duration::Seconds;
use jit_core::escape::Word;
use jit_core::policy::{Options, Rlimit, Role};
use sys::exec::{Credentials, Programs};
use sys::limits::{Limit, Limits};

/// What will be executed, as which user, where, and with what environment.
pub struct ExecPlan {
    elevation: Elevation,
    argv: Argv,
    credentials: Credentials,
    run_options: RunOptions,
    umask: u32,
    limits: RoleLimits,
    programs: Programs,
    scripts: Scripts,
    environment: EnvironmentPolicy,
}

/// The role's limits; if the role has changed since the approval, those of both versions. The lower one can be determined only with
/// the limits of the session and the caller.
struct RoleLimits {
    first: BTreeMap<String, Rlimit>,
    second: Option<BTreeMap<String, Rlimit>>,
}

/// Which of the caller's variables the command gets.
pub enum EnvironmentPolicy {
    /// As the role's options say.
    Role(CallersEnvironment),
    /// A new environment; only these variables come from the caller, who named them in the request as `NAME=VALUE`.
    Exact(Vec<Word>),
}

impl ExecPlan {
    /// Creates the plan for an elevation that `power` allows, with these options.
    ///
    /// # Errors
    /// Fails when the groups of the run-as user cannot be looked up.
    pub(super) fn new(
        mut elevation: Elevation,
        role: &Role,
        run_options: RunOptions,
        power: &Power,
    ) -> Result<Self, RunAsError> {
        let run_as = elevation.run_as();
        let groups = elevation.supplementary_groups()?.to_vec();
        let credentials = Credentials { uid: run_as.uid(), gid: run_as.gid(), groups };
        let umask = umask(&role.options, elevation.wish().umask);
        let environment = EnvironmentPolicy::of(elevation.take_environment(), power);
        let argv = elevation.command().argv(naming(role, power));
        let limits = RoleLimits::of(role);
        let programs = if role.noexec { Programs::ThisAlone } else { Programs::Any };
        let scripts = Scripts::of(role, power.serves());
        Ok(Self { elevation, argv, credentials, run_options, umask, limits, programs, scripts, environment })
    }

    /// Returns the elevation: the caller, the opened program with its arguments, and the run-as user.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// Returns the argv that is recorded and executed.
    pub fn argv(&self) -> &Argv {
        &self.argv
    }

    /// Returns the ids and groups of the command.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns the working directory.
    pub fn directory(&self) -> &WorkingDirectory {
        &self.run_options.directory
    }

    /// Returns the first of the file descriptors that are closed.
    pub fn closefrom(&self) -> u32 {
        self.run_options.closefrom
    }

    /// Returns the time limit in seconds.
    pub fn time_limit(&self) -> Option<Seconds> {
        self.run_options.time_limit
    }

    /// Returns the file mode mask.
    pub fn umask(&self) -> u32 {
        self.umask
    }

    /// Returns the limits of the command: `session`, changed by the role. `callers` are the limits of the caller.
    pub fn limits(&self, callers: &Limits, session: Limits) -> Limits {
        self.limits.over(callers, session)
    }

    /// Returns what the command and its descendants may execute.
    pub fn programs(&self) -> Programs {
        self.programs
    }

    /// Returns which scripts it may be.
    pub fn scripts(&self) -> Scripts {
        self.scripts
    }

    /// Returns which of the caller's variables the command gets.
    pub fn environment(&self) -> &EnvironmentPolicy {
        &self.environment
    }
}

impl RoleLimits {
    fn of(role: &Role) -> Self {
        let limits = |role: &Role| role.options.rlimits.clone();
        match role.narrowed_from.as_deref() {
            None => Self { first: limits(role), second: None },
            Some(origin) => Self { first: limits(&origin.present), second: Some(limits(&origin.approved)) },
        }
    }

    fn over(&self, callers: &Limits, session: Limits) -> Limits {
        match &self.second {
            None => over(&self.first, callers, session),
            Some(second) => over(&self.first, callers, session.clone()).lowest(&over(second, callers, session)),
        }
    }
}

fn over(said: &BTreeMap<String, Rlimit>, callers: &Limits, mut session: Limits) -> Limits {
    for (name, said) in said {
        let limit = match *said {
            Rlimit::Default => None,
            Rlimit::Caller => callers.named(name),
            Rlimit::Limit { soft, hard } => Some(Limit { soft, hard }),
        };
        // The policy has no other names.
        let _ = limit.map(|limit| session.set(name, limit));
    }
    session
}

impl EnvironmentPolicy {
    /// Returns the variables of the caller that the command gets: with an exact grant only those that the grant names.
    fn of(callers: Option<CallersEnvironment>, power: &Power) -> Self {
        match (power.exact(), callers) {
            (Some(terms), _) => {
                Self::Exact(terms.command.as_ref().map_or_else(Vec::new, |command| command.environment.clone()))
            }
            (None, Some(callers)) => Self::Role(callers),
            // Only the gate gets here, with the variables already taken. No variables are better than unknown ones.
            (None, None) => Self::Exact(Vec::new()),
        }
    }
}

/// A caller who may run all commands may choose any `argv[0]`, as with sudo.
fn naming(role: &Role, power: &Power) -> Naming {
    match power.exact() {
        Some(_) => Naming::Place,
        None if role.allows_everything() => Naming::AsTyped,
        None => Naming::Bound,
    }
}

/// Combines the caller's mask with the role's; `umask_override` makes the role's replace it.
fn umask(options: &Options, callers: u32) -> u32 {
    match options.umask.bits() {
        None => callers,
        Some(bits) if options.umask_override => bits,
        Some(bits) => bits | callers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jit_core::policy::{Policy, PolicyText, RolePower};

    fn role(limit: &str) -> Role {
        let option = if limit.is_empty() { String::new() } else { format!("rlimit_nofile = \"{limit}\"\n") };
        let text = format!("[roles.ops]\neligible = [\"alice\"]\ncommands = \"ALL\"\n{option}");
        Policy::parse(&[PolicyText { path: "policy.toml".into(), text }]).unwrap().roles()[0].clone()
    }

    #[test]
    fn the_lower_limit_of_the_present_and_the_approved_role_applies() {
        let limits = |soft, hard| {
            let mut limits = Limits::current().unwrap();
            limits.set("nofile", Limit { soft, hard }).unwrap();
            limits
        };
        let (callers, session) = (limits(200, 3000), limits(100, 4096));
        let nofile = |role: &Role| RoleLimits::of(role).over(&callers, session.clone()).named("nofile").unwrap();
        let all = ["", "default", "user", "150", "50,8000", "8000", "infinity"].map(role);
        for then in &all {
            for now in &all {
                let both = now.narrowed(&RolePower::of(then)).unwrap().both;
                let (one, two, both) = (nofile(then), nofile(now), nofile(&both));
                let lower = Limit { soft: one.soft.min(two.soft), hard: one.hard.min(two.hard) };
                assert_eq!(both, lower, "{:?}, then {:?}", then.options.rlimits, now.options.rlimits);
            }
        }
        assert_eq!(nofile(&all[4]), Limit { soft: 50, hard: 8000 });
    }
}
