//! The users and groups that a line of the policy names, and whether the caller is among them. Ids come from the kernel
//! and names from the caller of this module; it looks up only netgroups and the first group of a name, when a line
//! names one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::listed::{Entry, Listed, Side};
use super::lookup::Lookup;
use crate::names::{GroupName, UserName};

/// A user as the kernel identifies them, with the names of the ids in the account database.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The login name of `uid`.
    pub name: &'a str,
    /// The real user id.
    pub uid: u32,
    /// Primary and supplementary groups; the name is `None` if the account database has none.
    pub groups: &'a [(u32, Option<String>)],
    /// The host.
    pub lookup: &'a Lookup,
}

/// `alice`, `#1000`, `%group`, `%#1000`, `+netgroup` or `ALL`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// Everybody.
    All,
    /// The user of this name.
    User(UserName),
    /// The user of this id.
    Uid(u32),
    /// Members of the group of this name.
    Group(GroupName),
    /// Members of the group of this id.
    Gid(u32),
    /// Members of the netgroup of this name (netgroup(5)).
    Netgroup(String),
}

/// The users of a role; the last line that matches a user decides.
pub type People = Listed<Principal>;

/// The key of the index for netgroups: the netgroups of a user cannot be listed.
pub(super) const ANY_NETGROUP: &str = "+";

impl People {
    /// Returns whether `subject` is one of them.
    pub fn mean(&self, subject: &Subject<'_>) -> bool {
        self.decide(|principal| principal.fits(subject)) == Some(Side::In)
    }
}

impl Entry for Principal {
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Principal {
    /// Parses a principal; the error is a sentence fragment that names the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "ALL" {
            return Ok(Self::All);
        }
        if let Some(group) = text.strip_prefix('%') {
            return match group.strip_prefix('#') {
                Some(digits) => parse_id(digits).map(Self::Gid).ok_or_else(|| not_an_id(text)),
                None => GroupName::parse(group).map(Self::Group).map_err(|error| error.to_string()),
            };
        }
        if let Some(name) = text.strip_prefix('+') {
            return netgroup(name).map(Self::Netgroup);
        }
        match text.strip_prefix('#') {
            Some(digits) => parse_id(digits).map(Self::Uid).ok_or_else(|| not_an_id(text)),
            None => UserName::parse(text).map(Self::User).map_err(|error| error.to_string()),
        }
    }

    /// Returns whether `subject` certainly matches.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.fits(subject) == Some(true)
    }

    /// Returns whether `subject` matches; `None` if the account database cannot answer, so that a line that excludes
    /// users applies.
    pub fn fits(&self, subject: &Subject<'_>) -> Option<bool> {
        Some(match self {
            Self::All => true,
            Self::User(name) => name.as_str() == subject.name,
            Self::Uid(uid) => *uid == subject.uid,
            Self::Group(name) => {
                let named = |group: &&(u32, Option<String>)| group.1.as_deref() == Some(name.as_str());
                let mut gids = subject.groups.iter().filter(named).map(|(gid, _)| *gid).peekable();
                // Of two groups of one name only the first one has it. A group that is not in the account database (an
                // evaluation may assume one) shares its name with no other.
                gids.peek().is_some() && {
                    let first = (subject.lookup.gid_of)(name.as_str())?;
                    gids.any(|gid| first.is_none_or(|first| first == gid))
                }
            }
            Self::Gid(gid) => subject.groups.iter().any(|(known, _)| known == gid),
            Self::Netgroup(name) => (subject.lookup.netgroup_has_user)(name, subject.name),
        })
    }

    /// Returns its key in the index.
    pub fn key(&self) -> String {
        match self {
            Self::Netgroup(_) => ANY_NETGROUP.to_owned(),
            _ => self.to_string(),
        }
    }

    /// Returns whether it may match several users, so that counting it as one would be wrong.
    pub(super) fn is_plural(&self) -> bool {
        match self {
            Self::All | Self::Group(_) | Self::Gid(_) | Self::Netgroup(_) => true,
            Self::User(_) | Self::Uid(_) => false,
        }
    }
}

/// Formats it as written in the policy.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("ALL"),
            Self::User(name) => f.pad(name.as_str()),
            Self::Uid(uid) => f.pad(&format!("#{uid}")),
            Self::Group(name) => f.pad(&format!("%{name}")),
            Self::Gid(gid) => f.pad(&format!("%#{gid}")),
            Self::Netgroup(name) => f.pad(&format!("+{name}")),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> String {
        principal.to_string()
    }
}

impl Subject<'_> {
    /// Returns every name by which a policy may refer to this user: the keys of the index.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = vec!["ALL".to_owned(), ANY_NETGROUP.to_owned(), self.name.to_owned(), format!("#{}", self.uid)];
        for (gid, name) in self.groups {
            keys.push(format!("%#{gid}"));
            keys.extend(name.as_ref().map(|name| format!("%{name}")));
        }
        // Both sort and dedup, because the primary group is usually among the supplementary ones too.
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// Parses the name of a netgroup, without its `+`.
pub(super) fn netgroup(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"(),!+%#\"'\\".contains(&byte);
    if !name.is_empty() && name.len() <= 256 && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        let shown: String = name.chars().take(64).collect();
        Err(format!("'+{}' is not the name of a netgroup", crate::escape::escape(shown.as_bytes())))
    }
}

/// Parses a decimal number without sign or leading zeros, other than -1, which system calls interpret as "leave it as
/// it is" (CVE-2019-14287).
pub(super) fn parse_id(digits: &str) -> Option<u32> {
    let canonical = digits == "0" || !digits.starts_with(['0', '+', '-']);
    digits.parse().ok().filter(|id| canonical && *id != u32::MAX)
}

/// Returns the message for an id that [`parse_id`] rejected.
pub(super) fn not_an_id(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("'{}' is not an id from 0 to 4294967294", crate::escape::escape(shown.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::lookup::NOWHERE;

    fn subject<'a>(name: &'a str, uid: u32, groups: &'a [(u32, Option<String>)]) -> Subject<'a> {
        Subject { name, uid, groups, lookup: &NOWHERE }
    }

    #[test]
    fn each_form_of_principal_matches_its_users() {
        let groups = [(33, Some("web".to_owned())), (500, None)];
        let alice = subject("alice", 1001, &groups);
        for text in ["alice", "#1001", "%web", "%#33", "%#500", "ALL"] {
            assert!(Principal::parse(text).unwrap().matches(&alice), "{text}");
        }
        for text in ["bob", "Alice", "#1000", "%alice", "web", "%Web", "%#1001", "#33"] {
            assert!(!Principal::parse(text).unwrap().matches(&alice), "{text}");
        }
    }

    #[test]
    fn with_an_unknown_match_exclusions_apply_and_inclusions_do_not() {
        let groups = [(33, Some("web".to_owned()))];
        let (web, alice) = (Principal::parse("%web").unwrap(), subject("alice", 1001, &groups));
        let among = |lookup: &Lookup| web.fits(&Subject { lookup, ..alice });
        let silent = Lookup { gid_of: |_| None, ..NOWHERE };
        assert_eq!(among(&silent), None);
        assert_eq!(among(&Lookup { gid_of: |_| Some(Some(34)), ..NOWHERE }), Some(false));
        assert_eq!(among(&Lookup { gid_of: |_| Some(Some(33)), ..NOWHERE }), Some(true));
        let lines =
            |lines: &[&str]| People::try_from(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()).unwrap();
        let silent = |people: &People| people.decide(|who| who.fits(&Subject { lookup: &silent, ..alice }));
        assert_eq!(silent(&lines(&["ALL", "!%web"])), Some(Side::Out));
        assert_eq!(silent(&lines(&["%web"])), None);
    }

    #[test]
    fn a_nameless_group_is_not_the_group_without_a_name() {
        let groups = [(500, None)];
        assert!(Principal::parse("%").is_err());
        assert!(!Principal::parse("%500x").unwrap().matches(&subject("a", 1, &groups)));
    }

    #[test]
    fn negative_overflowing_and_odd_ids_are_rejected() {
        for text in
            ["#-1", "#4294967295", "#4294967296", "#+1", "#", "#01", "#1x", "%#-1", "%#4294967295", "#0x1", "# 1"]
        {
            assert!(Principal::parse(text).is_err(), "{text}");
        }
        assert_eq!(Principal::parse("#0"), Ok(Principal::Uid(0)));
    }

    #[test]
    fn invalid_names_are_rejected() {
        for text in ["", "1000", "-alice", "+", "+a b", "+a,b", "!alice", "a b", "a:b", "a/b", "%a b", "%%x", "\u{1b}x"]
        {
            assert!(Principal::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_principal_is_shown_as_written_and_found_by_a_key_of_its_subject() {
        let groups = [(33, Some("web".to_owned()))];
        let keys = subject("alice", 1001, &groups).keys();
        for text in ["alice", "#1001", "%web", "%#33", "ALL", "+staff"] {
            let principal = Principal::parse(text).unwrap();
            assert_eq!(principal.to_string(), text);
            assert!(keys.contains(&principal.key()));
        }
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn the_last_line_that_matches_a_user_decides() {
        let groups = [(33, Some("web".to_owned()))];
        let alice = subject("alice", 1001, &groups);
        for (lines, meant) in [
            (&["%web", "!alice"][..], false),
            (&["!alice", "%web"], true),
            (&["ALL", "!%web", "#1001"], true),
            (&["!bob"], false),
            (&[], false),
        ] {
            let people = People::try_from(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()).unwrap();
            assert_eq!(people.mean(&alice), meant, "{lines:?}");
            assert_eq!(people.as_written(), lines);
        }
        assert!(People::try_from(vec!["!!alice".to_owned()]).is_err());
    }
}
