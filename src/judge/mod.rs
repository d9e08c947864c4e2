//! Judges which roles would allow an elevation, by a standing assignment or once activated.

mod run_options;

use std::fmt;

pub use run_options::{NotPermitted, RunOptions, WantedDirectory, WorkingDirectory};
use sha2::{Sha224, Sha384, Sha512};

use crate::elevation::{Caller, CallerError, Command, Elevation, THIS_HOST};
use jit_core::grant::Approval;
use jit_core::names::RoleName;

use crate::policy_index::{Candidates, IndexError, PolicyIndex};
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

impl<'a> Among<'a> {
    fn preferred(self) -> &'a [RoleName] {
        match self {
            Self::All(preferred) => preferred,
            Self::Only(name) => std::slice::from_ref(name),
        }
    }

    fn only(self) -> Option<&'a RoleName> {
        match self {
            Self::All(_) => None,
            Self::Only(name) => Some(name),
        }
    }
}

/// The roles that are asked first, as they were in one state of the database.
#[must_use = "they are read to be asked"]
pub struct FirstRoles {
    standing: Candidates,
    next: Next,
}

/// The roles that are asked if no standing assignment decides.
enum Next {
    /// In a policy with ordered roles, where another role may deny what one allows, all that the caller may have are asked at once.
    Ordered(Candidates),
    /// The preferred roles, before the rest.
    Preferred(Vec<Role>),
}

impl FirstRoles {
    /// Reads the roles. Only the database is asked, so this is done in one read transaction. The groups of the caller are looked
    /// up if they are not known yet.
    pub fn read(caller: &Caller, index: &PolicyIndex<'_>, among: Among<'_>) -> Result<Self, JudgeError> {
        let subject = subject(caller)?;
        let standing = index.candidates_for(&subject, Assignment::Standing)?;
        let next = if index.settings().ordered {
            Next::Ordered(index.candidates_for(&subject, Assignment::Eligible)?)
        } else {
            let mut preferred = Vec::new();
            for name in among.preferred() {
                preferred.extend(index.role(name)?);
            }
            Next::Preferred(preferred)
        };
        Ok(Self { standing, next })
    }

    /// Judges `elevation` by them, and by the others that its caller may have when they do not decide. Programs, digests and
    /// names are looked up meanwhile, which may take arbitrarily long: no read transaction may be open.
    pub fn judge(
        self,
        elevation: Elevation,
        index: &PolicyIndex<'_>,
        among: Among<'_>,
    ) -> Result<Judgement, JudgeError> {
        let subject = subject(elevation.caller())?;
        let mut denied = None;
        let mut decided = |roles| decide(roles, |role| ask(role, &elevation), among.only(), &mut denied);
        let eligible =
            |candidates: Candidates| candidates.assigned(&subject).map(|roles| with(Assignment::Eligible, roles));

        let mut roles = with(Assignment::Standing, self.standing.assigned(&subject)?);
        let verdict = match self.next {
            Next::Ordered(candidates) => {
                roles.extend(eligible(candidates)?);
                decided(roles)
            }
            Next::Preferred(mut preferred) => match decided(roles) {
                Some(verdict) => Some(verdict),
                None => {
                    preferred.retain(|role| role.assigns(&subject, Assignment::Eligible));
                    match decided(with(Assignment::Eligible, preferred)) {
                        Some(verdict) => Some(verdict),
                        None => decided(eligible(index.candidates_for(&subject, Assignment::Eligible)?)?),
                    }
                }
            },
        };
        match verdict {
            Some(Decision::Standing(role)) => Ok(Judgement::Standing(Box::new(Standing { elevation, role: *role }))),
            Some(Decision::Eligible(roles)) => Ok(Judgement::Eligible(Box::new(Eligible { elevation, roles }))),
            None => Err(JudgeError::NotAllowed(Box::new(NotAllowed { elevation, denied }))),
        }
    }
}

/// Judges `elevation`. Preferred roles (those that the caller's open grants name) are asked before the rest, so that the cost of a
/// run under a grant does not grow with the number of roles.
pub fn judge(elevation: Elevation, index: &PolicyIndex<'_>, among: Among<'_>) -> Result<Judgement, JudgeError> {
    FirstRoles::read(elevation.caller(), index, among)?.judge(elevation, index, among)
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
