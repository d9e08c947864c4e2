//! The judgement: which roles would allow an elevation, as a standing assignment or once activated.

mod run_options;

use std::fmt;

pub use run_options::{NotPermitted, RunOptions, WantedDirectory, WorkingDirectory};
use sha2::{Sha224, Sha384, Sha512};

use crate::elevation::{Caller, CallerError, Command, Elevation, THIS_HOST};
use jit_core::names::RoleName;

use crate::policy_index::{IndexError, PolicyIndex};
use jit_core::policy::{
    Algorithm, Answer, Assignment, Decision, Principal, Question, Role, Subject, Target, decide, with,
};

/// What the policy says of an elevation that it knows.
#[must_use = "a judgement leads to a grant or to the gate"]
pub enum Judgement {
    /// Power without asking.
    Standing(Box<Standing>),
    /// May ask.
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

/// Why there is no judgement.
pub enum JudgeError {
    /// No role allows it.
    NotAllowed(Box<NotAllowed>),
    /// The compiled policy cannot be read.
    Index(IndexError),
    /// The caller's groups cannot be looked up.
    Caller(CallerError),
}

/// A refused elevation, and what the nearest role said.
pub struct NotAllowed {
    /// What was asked.
    pub elevation: Elevation,
    /// A role of the caller with the rule that refused, if one matched.
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
    /// What is allowed.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// Through which role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Takes it apart, for the gate.
    pub fn into_parts(self) -> (Elevation, Role) {
        (self.elevation, self.role)
    }
}

impl Eligible {
    /// For tests of verification, which is not about the judgement.
    #[cfg(test)]
    pub(crate) fn for_tests(elevation: Elevation, roles: Vec<Role>) -> Self {
        Self { elevation, roles }
    }

    /// What was asked.
    pub fn elevation(&self) -> &Elevation {
        &self.elevation
    }

    /// The roles that would allow it, narrowest first; never empty.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Gives the elevation back.
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
    /// Any; these are asked before the rest.
    All(&'a [RoleName]),
    /// The one that the caller named.
    Only(&'a RoleName),
}

/// Judges `elevation`. The roles that are preferred (those that the caller's open grants name) are asked before the rest, so
/// that the cost of a run under a grant does not grow with the number of roles; in a policy with orders, where another
/// role may refuse what they allow, every role of the caller is asked.
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

/// What one role says of an elevation.
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

/// The caller as the policy's principals see them.
pub fn subject(caller: &Caller) -> Result<Subject<'_>, CallerError> {
    Ok(Subject { name: caller.name().as_str(), uid: caller.uid(), groups: caller.named_groups()?, lookup: &THIS_HOST })
}

/// True when one of `principals` names `subject`.
pub fn names(principals: &[Principal], subject: &Subject<'_>) -> bool {
    principals.iter().any(|principal| principal.matches(subject))
}

/// The digest of the opened program. A rule with a digest never trusts a file that somebody else can rewrite after it was read
/// (CVE-2015-8239).
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
