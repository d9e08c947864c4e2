//! The judgement: which roles would allow an elevation, as a standing assignment or once activated.

use std::fmt;

use crate::elevation::{Caller, CallerError, Elevation};
use crate::names::RoleName;

use super::index::{IndexError, PolicyIndex};
use super::{Answer, Assignment, Principal, Question, Role, RunAs, Subject};

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

    /// With one role alone, the one that the caller named.
    ///
    /// # Errors
    /// The roles that there are, when it is none of them.
    pub fn only(mut self, name: &RoleName) -> Result<Self, Vec<RoleName>> {
        match self.roles.iter().position(|role| &role.name == name) {
            Some(place) => {
                self.roles = vec![self.roles.swap_remove(place)];
                Ok(self)
            }
            None => Err(self.roles.into_iter().map(|role| role.name).collect()),
        }
    }

    /// Gives the elevation back.
    pub fn into_elevation(self) -> Elevation {
        self.elevation
    }
}

/// Judges `elevation`. The roles in `preferred` (those that the caller's open grants name) are asked before the rest, so
/// that the cost of a run under a grant does not grow with the number of roles.
pub fn judge(elevation: Elevation, index: &PolicyIndex<'_>, preferred: &[RoleName]) -> Result<Judgement, JudgeError> {
    let subject = subject(elevation.caller())?;
    let mut denied = None;

    let standing = index.roles_for(&subject, Assignment::Standing)?;
    if let Some(role) = allowing(standing, |role| ask(role, &elevation), &mut denied).into_iter().next() {
        return Ok(Judgement::Standing(Box::new(Standing { elevation, role })));
    }
    let mut held = Vec::new();
    for name in preferred {
        held.extend(index.role(name)?.filter(|role| names(&role.eligible, &subject)));
    }
    let mut roles = allowing(held, |role| ask(role, &elevation), &mut denied);
    if roles.is_empty() {
        roles = allowing(index.roles_for(&subject, Assignment::Eligible)?, |role| ask(role, &elevation), &mut denied);
    }
    if roles.is_empty() {
        return Err(JudgeError::NotAllowed(Box::new(NotAllowed { elevation, denied })));
    }
    Ok(Judgement::Eligible(Box::new(Eligible { elevation, roles })))
}

/// What one role says of an elevation.
pub fn ask<'r>(role: &'r Role, elevation: &Elevation) -> Answer<'r> {
    let command = elevation.command();
    let run_as = elevation.run_as();
    role.answers(&Question {
        run_as: (run_as.name().as_str(), run_as.uid()),
        run_as_group: run_as.group().map(|group| (group.name.as_str(), group.gid)),
        host: elevation.caller().host(),
        path: command.path(),
        arguments: command.arguments(),
        digest: &|| {
            // A rule with a digest never trusts a file that somebody else can rewrite after it was read (CVE-2015-8239).
            if command.is_writable_by_others() { None } else { command.digest().ok() }
        },
    })
}

/// The caller as the policy's principals see them.
pub fn subject(caller: &Caller) -> Result<Subject<'_>, CallerError> {
    Ok(Subject { name: caller.name().as_str(), uid: caller.uid(), groups: caller.named_groups()? })
}

/// True when one of `principals` names `subject`.
pub fn names(principals: &[Principal], subject: &Subject<'_>) -> bool {
    principals.iter().any(|principal| principal.matches(subject))
}

/// Those of `roles` whose answer is yes, narrowest first; `denied` keeps the last rule that said no.
pub(super) fn allowing(
    roles: Vec<Role>,
    answers: impl for<'r> Fn(&'r Role) -> Answer<'r>,
    denied: &mut Option<(RoleName, String)>,
) -> Vec<Role> {
    let mut found = Vec::new();
    for role in roles {
        match answers(&role) {
            Answer::Allowed { .. } => found.push(role),
            Answer::Denied { rule } => *denied = Some((role.name.clone(), rule.to_string())),
            Answer::NoRule | Answer::OtherRunAs | Answer::OtherGroup | Answer::OtherHost => {}
        }
    }
    found.sort_by_key(breadth);
    found
}

/// Smaller is narrower: not every command, not anyone as the target, fewer rules.
fn breadth(role: &Role) -> (bool, bool, usize) {
    (role.allows_everything(), role.run_as == RunAs::Anyone, role.commands.len())
}
