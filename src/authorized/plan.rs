//! The plan of a run: what the gate lets run. The `start` record and the exec are both made from this value. Whatever it needs
//! of NSS or the file system was looked up when it was made, and nobody looks again. What the session does around the command
//! (its terminal, its recording) the role says.

use std::collections::BTreeMap;

use super::{Power, Scripts};
use crate::elevation::{Argv, CallersEnvironment, Elevation, Naming, RunAsError};
use crate::judge::{RunOptions, WorkingDirectory};
use jit_core::escape::Word;
use jit_core::policy::{Options, Rlimit, Role};
use sys::exec::{Credentials, Programs};
use sys::limits::{Limit, Limits};

/// What will be executed, by whom, where, and with what.
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

/// What the role says of limits; where it was another when it was approved, what each of the two says. What they amount to, and so
/// which is lower, is known only beside the limits of the session and of the caller.
struct RoleLimits {
    first: BTreeMap<String, Rlimit>,
    second: Option<BTreeMap<String, Rlimit>>,
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
        &self.run_options.directory
    }

    /// Descriptors from this one on are closed.
    pub fn closefrom(&self) -> u32 {
        self.run_options.closefrom
    }

    /// For how long it may run at most, in seconds.
    pub fn time_limit(&self) -> Option<u64> {
        self.run_options.time_limit
    }

    /// Its file mode mask.
    pub fn umask(&self) -> u32 {
        self.umask
    }

    /// Its limits: `session`'s, changed by what the role says; `callers` are those that the caller has.
    pub fn limits(&self, callers: &Limits, session: Limits) -> Limits {
        self.limits.over(callers, session)
    }

    /// What it and its descendants may execute.
    pub fn programs(&self) -> Programs {
        self.programs
    }

    /// Whether it may be a script that others can change.
    pub fn scripts(&self) -> Scripts {
        self.scripts
    }

    /// What comes of the caller's variables.
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
    /// An exact grant leaves nothing of the caller's variables but what it names itself.
    fn of(callers: Option<CallersEnvironment>, power: &Power) -> Self {
        match (power.exact(), callers) {
            (Some(terms), _) => {
                Self::Exact(terms.command.as_ref().map_or_else(Vec::new, |command| command.environment.clone()))
            }
            (None, Some(callers)) => Self::Role(callers),
            // The caller's variables were taken before, which nobody else does: better none than an unknown set.
            (None, None) => Self::Exact(Vec::new()),
        }
    }
}

/// A caller who may run anything may give it any `argv[0]`, as with sudo.
fn naming(role: &Role, power: &Power) -> Naming {
    match power.exact() {
        Some(_) => Naming::Place,
        None if role.allows_everything() => Naming::AsTyped,
        None => Naming::Bound,
    }
}

/// The caller's mask and the role's; one alone where the role says so.
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
    fn a_limit_is_the_lower_of_what_the_role_says_and_said() {
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
