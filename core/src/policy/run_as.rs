//! The users and groups that the commands of a role may run as: `run_as` and `run_as_groups`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::listed::{Entry, Listed, Side};
use super::lookup::{Lookup, NOWHERE};
use super::meet::{Everything, listed_in_both};
use super::principal::{Principal, Subject, not_an_id, parse_id};
use crate::names::GroupName;

/// `run_as` of a role; the last line that matches the user decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunAs(pub(super) Listed<RunAsUser>);

/// One line of `run_as`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAsUser {
    /// `SELF`: the caller.
    Oneself,
    /// A name, id, group or netgroup, or `ALL`.
    Of(Principal),
}

/// `run_as_groups` of a role, in addition to the groups of the run-as user; the last line that matches the group
/// decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunAsGroups(pub(super) Listed<RunAsGroup>);

/// One line of `run_as_groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAsGroup {
    /// `ALL`
    All,
    /// A name, without `%`.
    Name(GroupName),
    /// An id, written `#1000`.
    Gid(u32),
}

/// Groups by id; the name is `None` if the account database has none. `None` if the groups are unknown.
pub type Groups = Option<Vec<(u32, Option<String>)>>;

/// The user that a command would run as.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The login name.
    pub name: &'a str,
    /// The uid.
    pub uid: u32,
    /// Returns the groups in the account database; called only when a line of the policy needs them.
    pub groups: &'a dyn Fn() -> Groups,
    /// Whether it is the caller.
    pub is_caller: bool,
    /// The host.
    pub lookup: &'a Lookup,
}

impl RunAs {
    /// Returns whether a command may run as this user.
    pub fn allows(&self, target: &Target<'_>) -> bool {
        self.says(target) == Some(Side::In)
    }

    fn says(&self, target: &Target<'_>) -> Option<Side> {
        self.0.decide(|user| match user {
            RunAsUser::Oneself => Some(target.is_caller),
            RunAsUser::Of(principal) => {
                let groups = match principal {
                    Principal::Group(_) | Principal::Gid(_) => (target.groups)()?,
                    _ => Vec::new(),
                };
                principal.fits(&Subject { name: target.name, uid: target.uid, groups: &groups, lookup: target.lookup })
            }
        })
    }

    /// Returns whether it includes all users.
    pub fn is_anyone(&self) -> bool {
        !self.0.takes_out() && self.0.named().any(|user| *user == RunAsUser::Of(Principal::All))
    }

    /// Returns whether it only excludes users.
    pub(super) fn names_nobody(&self) -> bool {
        self.0.named().next().is_none()
    }

    /// Returns the default run-as user, as `name` or `#uid`: root if root is allowed, otherwise the first user in the
    /// list.
    pub fn default_user(&self) -> String {
        let groups = || Some(vec![(0, Some("root".to_owned()))]);
        let root = Target { name: "root", uid: 0, groups: &groups, is_caller: false, lookup: &NOWHERE };
        let one = |user: &&RunAsUser| matches!(user, RunAsUser::Of(Principal::User(_) | Principal::Uid(_)));
        match self.0.named().find(one) {
            Some(user) if !self.allows(&root) => user.to_string(),
            Some(_) | None => "root".to_owned(),
        }
    }

    /// Returns the lines as written in the policy.
    pub fn as_written(&self) -> Vec<String> {
        self.0.as_written()
    }

    /// Returns the users that both include.
    pub(super) fn met(&self, other: &Self) -> Self {
        Self(listed_in_both(&self.0, &other.0))
    }
}

impl RunAsGroups {
    /// Returns the groups that both include.
    pub(super) fn met(&self, other: &Self) -> Self {
        Self(listed_in_both(&self.0, &other.0))
    }

    /// Returns whether `-g` may name this group, for this user.
    pub fn allows(&self, (name, gid): (&str, u32), target: &Target<'_>) -> bool {
        let said = self.0.decide(|group| match group {
            RunAsGroup::All => Some(true),
            RunAsGroup::Name(wanted) => Some(wanted.as_str() == name),
            RunAsGroup::Gid(wanted) => Some(*wanted == gid),
        });
        match said {
            Some(side) => side == Side::In,
            None => (target.groups)().is_some_and(|groups| groups.iter().any(|(own, _)| *own == gid)),
        }
    }

    /// Returns the lines as written in the policy.
    pub fn as_written(&self) -> Vec<String> {
        self.0.as_written()
    }
}

impl Entry for RunAsUser {
    fn read(text: &str) -> Result<Self, String> {
        if text == "SELF" { Ok(Self::Oneself) } else { Principal::parse(text).map(Self::Of) }
    }
}

impl fmt::Display for RunAsUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oneself => f.pad("SELF"),
            Self::Of(principal) => principal.fmt(f),
        }
    }
}

impl Entry for RunAsGroup {
    fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix('#') {
            _ if text == "ALL" => Ok(Self::All),
            Some(digits) => parse_id(digits).map(Self::Gid).ok_or_else(|| not_an_id(text)),
            None => GroupName::parse(text).map(Self::Name).map_err(|error| error.to_string()),
        }
    }
}

impl fmt::Display for RunAsGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("ALL"),
            Self::Name(name) => f.pad(name.as_str()),
            Self::Gid(gid) => f.pad(&format!("#{gid}")),
        }
    }
}

impl Everything for RunAsUser {
    fn is_everything(&self) -> bool {
        *self == Self::Of(Principal::All)
    }
}

impl Everything for RunAsGroup {
    fn is_everything(&self) -> bool {
        *self == Self::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: fn() -> Groups = || Some(Vec::new());

    fn run_as(lines: &[&str]) -> RunAs {
        RunAs(Listed::try_from(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()).unwrap())
    }

    fn target<'a>(name: &'a str, uid: u32, groups: &'a dyn Fn() -> Groups) -> Target<'a> {
        Target { name, uid, groups, is_caller: name == "alice", lookup: &NOWHERE }
    }

    #[test]
    fn a_group_is_read_again_as_it_is_written() {
        for text in ["ALL", "web", "#33"] {
            assert_eq!(RunAsGroup::read(text).map(|group| group.to_string()).as_deref(), Ok(text));
        }
        for text in ["%ALL", "%web", "%#33", "#web", ""] {
            assert!(RunAsGroup::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_but_root_excludes_root() {
        let anybody = run_as(&["ALL", "!root"]);
        assert!(anybody.allows(&target("bob", 5, &NONE)) && !anybody.allows(&target("root", 0, &NONE)));
        assert!(!anybody.is_anyone() && run_as(&["ALL"]).is_anyone());
        assert_eq!(run_as(&["ALL"]).default_user(), "root");
        assert_eq!(run_as(&["%web", "www-data"]).default_user(), "www-data");
    }

    #[test]
    fn groups_are_looked_up_only_for_lines_that_need_them() {
        let web = || Some(vec![(33, Some("web".to_owned()))]);
        assert!(run_as(&["%web"]).allows(&target("bob", 5, &web)) && run_as(&["%#33"]).allows(&target("bob", 5, &web)));
        assert!(!run_as(&["%web"]).allows(&target("bob", 5, &NONE)));
        assert!(!run_as(&["%web"]).allows(&target("bob", 5, &|| None)));
        assert!(!run_as(&["ALL", "!%web"]).allows(&target("bob", 5, &|| None)), "unknown, so no");
        assert!(run_as(&["bob"]).allows(&target("bob", 5, &|| panic!("asked without need"))));
    }

    #[test]
    fn self_is_the_caller() {
        assert!(run_as(&["SELF"]).allows(&target("alice", 7, &NONE)));
        assert!(!run_as(&["SELF"]).allows(&target("root", 0, &NONE)));
    }

    #[test]
    fn only_groups_that_the_user_is_not_in_need_a_line() {
        let groups = |lines: &[&str]| {
            RunAsGroups(Listed::try_from(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()).unwrap())
        };
        let web = || Some(vec![(33, Some("web".to_owned()))]);
        let bob = target("bob", 5, &web);
        assert!(groups(&[]).allows(("web", 33), &bob) && !groups(&[]).allows(("adm", 4), &bob));
        assert!(groups(&["adm"]).allows(("adm", 4), &bob) && groups(&["#4"]).allows(("adm", 4), &bob));
        assert!(!groups(&["ALL", "!web"]).allows(("web", 33), &bob));
    }
}
