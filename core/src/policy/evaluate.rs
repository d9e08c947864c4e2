//! Evaluates a policy that exists only as text, to test it before it is installed: the same rules as [`super::judge`],
//! without an opened program and without the compiled policy.

use std::cmp::Reverse;

use super::{Answer, Assignment, Policy, Question, Role, Subject};
use crate::names::RoleName;

/// The answer of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Evaluated {
    /// This role permits the command without activation.
    Standing(Box<Role>),
    /// The subject may request any of these roles, narrowest first.
    Eligible(Vec<Role>),
    /// No role permits it; contains a role with the rule that denied it, if one matched.
    Denied(Option<(RoleName, String)>),
}

impl Policy {
    /// Evaluates the question of `subject`.
    pub fn evaluate(&self, subject: &Subject<'_>, question: &Question<'_>) -> Evaluated {
        let mut denied = None;
        let assigned = |assignment| {
            let roles = self.roles.iter().filter(|role| role.assigns(subject, assignment)).cloned().collect();
            with(assignment, roles)
        };
        let mut candidates = assigned(Assignment::Standing);
        candidates.extend(assigned(Assignment::Eligible));
        match decide(candidates, |role| role.answers(question), None, &mut denied) {
            Some(Decision::Standing(role)) => Evaluated::Standing(role),
            Some(Decision::Eligible(roles)) => Evaluated::Eligible(roles),
            None => Evaluated::Denied(denied),
        }
    }
}

/// The roles that decide: one standing role, or at least one role to be activated, narrowest first.
pub enum Decision {
    /// The narrowest of the standing roles.
    Standing(Box<Role>),
    /// At least one, narrowest first.
    Eligible(Vec<Role>),
}

/// Combines roles with the kind of their assignment.
pub fn with(assignment: Assignment, roles: Vec<Role>) -> Vec<(Assignment, Role)> {
    roles.into_iter().map(|role| (assignment, role)).collect()
}

/// Decides among the roles that match the command: those of the highest order count, one that allows is enough, and a
/// standing assignment is preferred; if `only` names a role, no other role that allows counts. Stores the last rule
/// that denied in `denied`.
pub fn decide(
    mut roles: Vec<(Assignment, Role)>,
    answers: impl for<'r> Fn(&'r Role) -> Answer<'r>,
    only: Option<&RoleName>,
    denied: &mut Option<(RoleName, String)>,
) -> Option<Decision> {
    roles.sort_by_key(|(_, role)| Reverse(role.order));
    for level in roles.chunk_by(|(_, one), (_, other)| one.order == other.order) {
        let (mut standing, mut eligible, mut refused) = (Vec::new(), Vec::new(), false);
        for (assignment, role) in level {
            match answers(role) {
                Answer::Allowed { .. } if only.is_some_and(|only| *only != role.name) => {}
                Answer::Allowed { .. } if *assignment == Assignment::Standing => standing.push(role.clone()),
                Answer::Allowed { .. } => eligible.push(role.clone()),
                Answer::Denied { rule } => {
                    *denied = Some((role.name.clone(), rule.to_string()));
                    refused = true;
                }
                Answer::NoRule | Answer::OtherRunAs | Answer::OtherGroup | Answer::OtherHost => {}
            }
        }
        if let Some(role) = standing.into_iter().min_by_key(breadth) {
            return Some(Decision::Standing(Box::new(role)));
        }
        if !eligible.is_empty() {
            eligible.sort_by_key(breadth);
            return Some(Decision::Eligible(eligible));
        }
        if refused {
            return None;
        }
    }
    None
}

/// Returns a sort key; smaller is narrower: not every command, not every run-as user, fewer rules.
fn breadth(role: &Role) -> (bool, bool, usize) {
    (role.allows_everything(), role.run_as.is_anyone(), role.commands.len())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::policy::{NOWHERE, PolicyText, Target};

    fn policy(text: &str) -> Policy {
        Policy::parse(&[PolicyText { path: "p".into(), text: text.to_owned() }]).unwrap()
    }

    /// Returns the answer of `policy` when alice, in no group, runs `command` as root.
    fn evaluated(text: &str, command: &str) -> String {
        let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let question = Question {
            run_as: Target { name: "root", uid: 0, groups: &|| None, is_caller: false, lookup: &NOWHERE },
            run_as_group: None,
            host: "web1",
            program: Path::new(&words[0]).into(),
            arguments: &words[1..],
            digest: &|_| None,
        };
        let names = |roles: &[Role]| roles.iter().map(|role| role.name.to_string()).collect::<Vec<_>>().join(" ");
        match policy(text).evaluate(&Subject { name: "alice", uid: 1001, groups: &[], lookup: &NOWHERE }, &question) {
            Evaluated::Standing(role) => format!("standing {}", role.name),
            Evaluated::Eligible(roles) => format!("eligible {}", names(&roles)),
            Evaluated::Denied(Some((role, rule))) => format!("denied by {role}: {rule}"),
            Evaluated::Denied(None) => "denied".to_owned(),
        }
    }

    #[test]
    fn roles_of_the_highest_order_decide() {
        let text = r#"
[roles.all]
eligible = ["alice"]
commands = ["ALL"]
order = 10
[roles.no-su]
eligible = ["ALL"]
commands = ["!/usr/bin/su **", "/usr/bin/w"]
order = 20
[roles.su-after-all]
standing = ["ALL", "!bob"]
commands = ["/usr/bin/su bob"]
order = 30
[roles.other]
standing = ["alice"]
commands = ["/usr/bin/su root", "/usr/bin/id"]
"#;
        for (command, said) in [
            ("/usr/bin/ls", "eligible all"),
            ("/usr/bin/w", "eligible no-su"),
            ("/usr/bin/su", "denied by no-su: !/usr/bin/su **"),
            ("/usr/bin/su root", "denied by no-su: !/usr/bin/su **"),
            ("/usr/bin/su bob", "standing su-after-all"),
            ("/usr/bin/id", "eligible all"),
        ] {
            assert_eq!(evaluated(text, command), said, "{command}");
        }
        assert!(policy(text).settings().ordered);
    }

    #[test]
    fn without_an_order_a_denying_role_does_not_affect_others() {
        let text = r#"
[roles.no-su]
standing = ["alice"]
commands = ["ALL", "!/usr/bin/su **"]
[roles.su]
eligible = ["alice"]
commands = ["/usr/bin/su **"]
"#;
        assert_eq!(evaluated(text, "/usr/bin/su"), "eligible su");
        assert_eq!(evaluated(text, "/usr/bin/ls"), "standing no-su");
        assert!(!policy(text).settings().ordered);
    }
}
