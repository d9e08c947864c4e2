//! THE GATE. An [`Authorized`] is made here and nowhere else, from power (a verified grant or a standing assignment) and
//! an authentication of the same caller. What it holds is all that a run may know of its permission.

pub mod environment;
mod plan;
mod scripts;

use std::fmt;

use crate::auth::{AuthMethod, Authenticated};
use crate::elevation::{Elevation, RunAs, RunAsError};
use crate::judge::Standing;
use crate::judge::{NotPermitted, RunOptions};
use crate::verify::{GrantFault, VerifiedGrant};
use jit_core::clock::Now;
use jit_core::grant::GrantTerms;
use jit_core::policy::Role;
pub use plan::{EnvironmentPolicy, ExecPlan};
pub use scripts::{ProgramFault, Scripts, Serves, may_launch};
use sys::limits::Limits;

/// Where the power comes from.
pub enum Power {
    /// A grant with these terms.
    Grant(Box<GrantTerms>),
    /// A standing assignment.
    Standing,
}

impl Power {
    /// The terms of an exact grant, which serves one command alone.
    pub fn exact(&self) -> Option<&GrantTerms> {
        match self {
            Self::Grant(terms) if terms.exact.is_set() => Some(terms),
            Self::Grant(_) | Self::Standing => None,
        }
    }

    fn serves(&self) -> Serves {
        match self {
            Self::Grant(terms) => Serves::of(terms),
            Self::Standing => Serves::ItsRole,
        }
    }
}

/// Permission to run one elevation now.
#[must_use = "permission leads to the journal"]
pub struct Authorized {
    plan: ExecPlan,
    role: Role,
    power: Power,
    authenticated: Authenticated,
}

/// Why the gate stays shut.
#[derive(Debug)]
pub enum GateError {
    /// The authentication is another person's.
    OtherCaller,
    /// The role asks for a password and none was given.
    NotAuthenticated,
    /// The grant ended while the password was typed.
    Grant(GrantFault),
    /// The role does not allow what was wished besides the command.
    NotPermitted(NotPermitted),
    /// The target's groups cannot be looked up.
    RunAs(RunAsError),
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCaller => f.write_str("the authentication is not the caller's"),
            Self::NotAuthenticated => f.write_str("a password is required"),
            Self::NotPermitted(error) => error.fmt(f),
            Self::RunAs(error) => error.fmt(f),
            Self::Grant(fault) => write!(f, "the grant does not hold any more: {fault}"),
        }
    }
}

impl Authorized {
    /// By a grant, whose window is checked again: a prompt may outlive it.
    pub fn by_grant(grant: VerifiedGrant, authenticated: Authenticated, now: &Now) -> Result<Self, GateError> {
        grant.still_open(now).map_err(GateError::Grant)?;
        let (elevation, role, terms) = grant.into_parts();
        Self::admit(elevation, role, Power::Grant(Box::new(terms)), authenticated)
    }

    /// By a standing assignment.
    pub fn by_standing(standing: Standing, authenticated: Authenticated) -> Result<Self, GateError> {
        let (elevation, role) = standing.into_parts();
        Self::admit(elevation, role, Power::Standing, authenticated)
    }

    fn admit(elevation: Elevation, role: Role, power: Power, authenticated: Authenticated) -> Result<Self, GateError> {
        if authenticated.uid() != elevation.caller().uid() {
            return Err(GateError::OtherCaller);
        }
        if password_due(&role, &elevation) && authenticated.how() == AuthMethod::NotAsked {
            return Err(GateError::NotAuthenticated);
        }
        let run_options = RunOptions::of(&role, &elevation).map_err(GateError::NotPermitted)?;
        let plan = ExecPlan::new(elevation, &role, run_options, &power).map_err(GateError::RunAs)?;
        Ok(Self { plan, role, power, authenticated })
    }

    /// What may run.
    pub fn elevation(&self) -> &Elevation {
        self.plan.elevation()
    }

    /// How exactly.
    pub fn plan(&self) -> &ExecPlan {
        &self.plan
    }

    /// As whom.
    pub fn run_as(&self) -> &RunAs {
        self.elevation().run_as()
    }

    /// Under which role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// By which power.
    pub fn power(&self) -> &Power {
        &self.power
    }

    /// The authentication, whose PAM session is still to be opened.
    pub fn authenticated(&mut self) -> &mut Authenticated {
        &mut self.authenticated
    }

    /// The limits of the command: the caller's, changed by what the PAM session demands and by the plan.
    pub fn session_limits(&self, inherited: &Limits) -> Limits {
        self.plan.limits(inherited, self.authenticated.session_limits(inherited))
    }

    /// How the caller was authenticated.
    pub fn how(&self) -> AuthMethod {
        self.authenticated.how()
    }
}

/// Whether the role asks this caller for a password. Root is asked for none, and neither is who runs as themselves,
/// in a group of theirs (sudoers(5)): both could do it without us.
pub fn password_due(role: &Role, elevation: &Elevation) -> bool {
    let (caller, run_as) = (elevation.caller(), elevation.run_as());
    let themselves = caller.uid() == run_as.uid() && caller.group_ids().contains(&run_as.gid());
    role.authenticate && caller.uid() != 0 && !themselves
}
