//! THE GATE. An [`Authorized`] is created only here, from power (a verified grant or a standing assignment) and an authentication
//! of the same caller. It contains everything that a run may know about its permission.

pub mod environment;
mod plan;
mod scripts;

use std::fmt;

use crate::auth::{AuthMethod, Authenticated, DecidedBy};
use crate::elevation::{Elevation, RunAs, RunAsError};
use crate::judge::Standing;
use crate::judge::{NotPermitted, RunOptions};
use crate::verify::{GrantFault, VerifiedGrant};
use jit_core::clock::Now;
use jit_core::grant::GrantTerms;
use jit_core::policy::Role;
pub use plan::{EnvironmentPolicy, ExecPlan};
pub use scripts::{ProgramFault, Scripts, Serves, may_launch, trusted};
use sys::limits::Limits;
use sys::sanitize::Inherited;

/// Where the power comes from.
pub enum Power {
    /// A grant with these terms.
    Grant(Box<GrantTerms>),
    /// A standing assignment.
    Standing,
}

impl Power {
    /// Returns the terms of an exact grant, which serves one command only.
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

/// Why the gate denies.
#[derive(Debug)]
pub enum GateError {
    /// The authentication is another user's.
    OtherCaller,
    /// The role requires a password and none was given.
    NotAuthenticated,
    /// The grant ended while the password was typed.
    Grant(GrantFault),
    /// The role does not allow a run option.
    NotPermitted(NotPermitted),
    /// The run-as user's groups cannot be looked up.
    RunAs(RunAsError),
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCaller => f.write_str("the authentication is not the caller's"),
            Self::NotAuthenticated => f.write_str("a password is required"),
            Self::NotPermitted(error) => error.fmt(f),
            Self::RunAs(error) => error.fmt(f),
            Self::Grant(fault) => write!(f, "the grant is not valid any more: {fault}"),
        }
    }
}

impl Authorized {
    /// Permits by a grant. Its time window is checked again, because a prompt may take longer than the grant lasts.
    pub fn by_grant(grant: VerifiedGrant, authenticated: Authenticated, now: &Now) -> Result<Self, GateError> {
        grant.still_open(now).map_err(GateError::Grant)?;
        let (elevation, role, terms) = grant.into_parts();
        Self::admit(elevation, role, Power::Grant(Box::new(terms)), authenticated)
    }

    /// Permits by a standing assignment.
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

    /// Returns the permitted elevation.
    pub fn elevation(&self) -> &Elevation {
        self.plan.elevation()
    }

    /// Returns the plan of the run.
    pub fn plan(&self) -> &ExecPlan {
        &self.plan
    }

    /// Returns the run-as user.
    pub fn run_as(&self) -> &RunAs {
        self.elevation().run_as()
    }

    /// Returns the role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Returns the power.
    pub fn power(&self) -> &Power {
        &self.power
    }

    /// Returns the authentication, whose PAM session is not opened yet.
    pub fn authenticated(&mut self) -> &mut Authenticated {
        &mut self.authenticated
    }

    /// Returns the resource limits of the command: the caller's, changed by the PAM session and by the plan.
    pub fn session_limits(&self, inherited: &Inherited) -> Limits {
        self.plan.limits(&inherited.limits, self.authenticated.session_limits(inherited))
    }

    /// Returns the resource limits that this process has now.
    pub fn own_limits(&self, inherited: &Inherited) -> Limits {
        self.authenticated.own_limits(inherited)
    }

    /// Returns how the caller was authenticated.
    pub fn how(&self) -> AuthMethod {
        self.authenticated.how()
    }

    /// Returns the PAM service that authenticated the caller now.
    pub fn authenticated_by(&self) -> Option<&DecidedBy> {
        self.authenticated.decided_by()
    }
}

/// Whether the role requires a password from this caller. Root needs none, nor does a caller who runs a command as themselves in
/// one of their groups (sudoers(5)): both could do that without us.
pub fn password_due(role: &Role, elevation: &Elevation) -> bool {
    let (caller, run_as) = (elevation.caller(), elevation.run_as());
    let themselves = caller.uid() == run_as.uid() && caller.group_ids().contains(&run_as.gid());
    role.authenticate && caller.uid() != 0 && !themselves
}
