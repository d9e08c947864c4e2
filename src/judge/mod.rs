//! Judges which roles would allow an elevation, by a standing assignment or once activated.

mod run_options;

use std::fmt;

pub use run_options::{NotPermitted, RunOptions, WantedDirectory, WorkingDirectory};
use sha2::{Sha224, Sha384, Sha512};

use crate::elevation::{Caller, CallerError, Command, Elevation, THIS_HOST};
use jit_core::grant::Approval;
use jit_core::names::RoleName;

use crate::policy_index::{IndexError, PolicyIndex};
use jit_core::policy::{
    Algorithm, Answer, Assignment, Decision, Principal, Question, Role, Subject, Target, decide, with,
};

/// What the policy says about an elevation.
#[must_use = "a judgement leads to a grant or to the gate"]
pub enum Judgement {
    /// A standing assignment allows it.
    Standing(Box<Standing>),
    /// The caller may request it.
    Eligible(Box<Eligible>),
}

/// An elevation that a standing assignment allows.
#[must_use = "a standing assignment leads to the gate"]
pub struct Standing {
    elevation: Elevation,
    role: Role,
}

/// An elevation that some roles would allow once one of them is activated.
#[must_use = "eligibility leads to a grant or to a request"]
pub struct Eligible {
    elevation: Elevation,
    roles: Vec<Role>,
}

/// Why there is no positive judgement.
pub enum JudgeError {
    /// No role allows it.
    NotAllowed(Box<NotAllowed>),
    /// The compiled policy cannot be read.
    Index(IndexError),
    /// The caller's groups cannot be looked up.
    Caller(CallerError),
}

/// A denied elevation, and what the nearest role said.
pub struct NotAllowed {
    /// The elevation.
    pub elevation: Elevation,
    /// A role of the caller with the rule that denied it, if one matched.
    pub denied: Option<(RoleName, String)>,
}

impl From<IndexError> for JudgeError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<CallerError> for JudgeError {
    fn from(error: CallerError) -> Self {
        Self::Caller(error)
    }
}

impl fmt::Debug for JudgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(_) => f.write_str("NotAllowed"),
            Self::Index(error) => write!(f, "Index({error})"),
            Self::Caller(error) => write!(f, "Caller({error})"),
        }
    }
}

impl Standing {
    /// Returns the elevation.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// Returns the role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Returns its parts, for the gate.
    pub fn into_parts(self) -> (Elevation, Role) {
        (self.elevation, self.role)
    }
}

impl Eligible {
    /// For tests of verification, which do not judge.
    #[cfg(test)]
    pub(crate) fn for_tests(elevation: Elevation, roles: Vec<Role>) -> Self {
        Self { elevation, roles }
    }

    /// Returns the elevation.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// Returns the roles that would allow it, narrowest first; never empty.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Returns the elevation by value.
    pub fn into_elevation(self) -> Elevation {
        self.elevation
    }
}

/// Whether a role means anything on the host where `who` is.
pub fn counts_here(role: &Role, who: &Caller) -> bool {
    role.holds_on(who.host(), &THIS_HOST)
}

/// Which roles may serve.
#[derive(Debug, Clone, Copy)]
pub enum Among<'a> {
    /// All; these are asked before the rest.
    All(&'a [RoleName]),
    /// Only the one that the caller named.
    Only(&'a RoleName),
}

/// Judges `elevation`. Preferred roles (those that the caller's open grants name) are asked before the rest, so that the cost of a
/// run under a grant does not grow with the number of roles. In a policy with ordered roles, where another role may deny what they
/// allow, all roles of the caller are asked.
pub fn judge(elevation: Elevation, index: &PolicyIndex<'_>, among: Among<'_>) -> Result<Judgement, JudgeError> {
    let (preferred, only) = match among {
        Among::All(preferred) => (preferred, None),
        Among::Only(name) => (std::slice::from_ref(name), Some(name)),
    };
    let subject = subject(elevation.caller())?;
    let mut denied = None;
    let mut decided = |roles| decide(roles, |role| ask(role, &elevation), only, &mut denied);
    let candidates = |assignment| index.roles_for(&subject, assignment).map(|roles| with(assignment, roles));

    let mut roles = candidates(Assignment::Standing)?;
    if index.settings().ordered {
        roles.extend(candidates(Assignment::Eligible)?);
    }
    let mut verdict = decided(roles);
    if verdict.is_none() && !index.settings().ordered {
        let mut held = Vec::new();
        for name in preferred {
            held.extend(index.role(name)?.filter(|role| role.assigns(&subject, Assignment::Eligible)));
        }
        verdict = decided(with(Assignment::Eligible, held));
        if verdict.is_none() {
            verdict = decided(candidates(Assignment::Eligible)?);
        }
    }
    match verdict {
        Some(Decision::Standing(role)) => Ok(Judgement::Standing(Box::new(Standing { elevation, role: *role }))),
        Some(Decision::Eligible(roles)) => Ok(Judgement::Eligible(Box::new(Eligible { elevation, roles }))),
        None => Err(JudgeError::NotAllowed(Box::new(NotAllowed { elevation, denied }))),
    }
}

/// Returns what one role says about an elevation.
pub fn ask<'r>(role: &'r Role, elevation: &Elevation) -> Answer<'r> {
    let command = elevation.command();
    let run_as = elevation.run_as();
    role.answers(&Question {
        run_as: Target {
            name: run_as.name().as_str(),
            uid: run_as.uid(),
            groups: &|| sys::lookup::named_groups(run_as.account()),
            is_caller: run_as.uid() == elevation.caller().uid(),
            lookup: &THIS_HOST,
        },
        run_as_group: run_as.group().map(|group| (group.name.as_str(), group.gid)),
        host: elevation.caller().host(),
        program: command.names(),
        arguments: command.arguments(),
        digest: &|algorithm| computed(command, algorithm),
    })
}

/// Returns the caller in the form that the policy's principals are matched with.
pub fn subject(caller: &Caller) -> Result<Subject<'_>, CallerError> {
    Ok(Subject { name: caller.name().as_str(), uid: caller.uid(), groups: caller.named_groups()?, lookup: &THIS_HOST })
}

/// Whether one of `principals` matches `subject`.
pub fn names(principals: &[Principal], subject: &Subject<'_>) -> bool {
    principals.iter().any(|principal| principal.matches(subject))
}

/// Whether the author of an approval is an approver of `role` now. An account that cannot be looked up is none.
pub fn still_approves(approval: &Approval, role: &Role) -> bool {
    match Caller::of_uid(approval.uid) {
        Ok(Some(approver)) => {
            approver.name() == &approval.terms.approver
                && subject(&approver).is_ok_and(|subject| names(&role.activation.approvers, &subject))
        }
        Ok(None) | Err(_) => false,
    }
}

/// Returns the digest of the opened program. A rule with a digest never matches a file that another user could rewrite after it was
/// read (CVE-2015-8239).
pub fn computed(command: &Command, algorithm: Algorithm) -> Option<Vec<u8>> {
    if command.is_writable_by_others() {
        return None;
    }
    match algorithm {
        Algorithm::Sha224 => command.hashed::<Sha224>().ok(),
        Algorithm::Sha256 => command.digest().ok().map(Vec::from),
        Algorithm::Sha384 => command.hashed::<Sha384>().ok(),
        Algorithm::Sha512 => command.hashed::<Sha512>().ok(),
    }
}
