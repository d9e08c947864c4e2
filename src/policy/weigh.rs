//! The judgement over a policy that is only text yet, for tests of a policy before it is installed: the same rules as
//! [`super::judge`], without an opened program and without the compiled policy.

use super::judge::allowing;
use super::{Assignment, Policy, Question, Role, Subject};
use crate::names::RoleName;

/// What a policy says of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Weighed {
    /// Power without asking, by the first role.
    Standing(Vec<Role>),
    /// May ask for any of these, narrowest first.
    Eligible(Vec<Role>),
    /// No role allows it; a role with the rule that refused, if one matched.
    Denied(Option<(RoleName, String)>),
}

impl Policy {
    /// Weighs what `subject` asks.
    pub fn weigh(&self, subject: &Subject<'_>, question: &Question<'_>) -> Weighed {
        let mut denied = None;
        for assignment in [Assignment::Standing, Assignment::Eligible] {
            let assigned = self.roles.iter().filter(|role| role.assigns(subject, assignment)).cloned().collect();
            let found = allowing(assigned, |role| role.answers(question), &mut denied);
            match (found.is_empty(), assignment) {
                (true, _) => {}
                (false, Assignment::Standing) => return Weighed::Standing(found),
                (false, Assignment::Eligible) => return Weighed::Eligible(found),
            }
        }
        Weighed::Denied(denied)
    }
}
