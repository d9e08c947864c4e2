//! How the lines of two lists relate, as far as their names show it, without looking up the present members of groups.

use jit_core::policy::{Entry, Hosts};

/// Whether a line matches everything that a name matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It matches all of it.
    Holds,
    /// It matches none of it.
    Apart,
    /// Unknown.
    Unknown,
}

/// Relates a line (without its `!`) to a name.
pub(super) type Meaning = fn(&str, &str) -> Relation;

/// Relates users.
pub(super) fn user(line: &str, name: &str) -> Relation {
    match line {
        "ALL" => Relation::Holds,
        _ if line == name => Relation::Holds,
        _ if is_plain(line) && is_plain(name) => Relation::Apart,
        _ => Relation::Unknown,
    }
}

/// Relates users as [`user`] does, and a user to a group by its present members.
pub(super) fn present_user(line: &str, name: &str) -> Relation {
    match user(line, name) {
        Relation::Unknown => match line.strip_prefix('%') {
            Some(group) if is_plain(name) && !group.starts_with(['#', ':']) && !is_member(name, group) => {
                Relation::Apart
            }
            _ => Relation::Unknown,
        },
        known => known,
    }
}

fn is_plain(line: &str) -> bool {
    !line.starts_with(['!', '%', '+', '#']) && line != "ALL" && line != "SELF"
}

/// Returns whether the user is in the group here; true if that is unknown.
fn is_member(user: &str, group: &str) -> bool {
    let Ok(account) = sys::users::account_by_name(user) else { return true };
    let Some(account) = account else { return false };
    match sys::users::group_by_name(group) {
        Ok(None) => false,
        Ok(Some(group)) => {
            sys::users::groups_of(&account.name, account.gid).map_or(true, |ids| ids.contains(&group.gid))
        }
        Err(_) => true,
    }
}

/// Relates hosts: patterns for short names are tried on short names.
pub(super) fn host(line: &str, name: &str) -> Relation {
    let short = |text: &str| matches!(Hosts::read(text), Ok(Hosts::Name(_))) && !text.contains('.');
    match Hosts::read(line) {
        Ok(Hosts::All) => Relation::Holds,
        _ if line == name => Relation::Holds,
        Ok(Hosts::Name(pattern)) if short(line) && short(name) && !name.contains(['*', '?', '[', '!', '^']) => {
            if pattern.matches_name(name) {
                Relation::Holds
            } else {
                Relation::Apart
            }
        }
        _ => Relation::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_related_only_as_far_as_they_show() {
        for (line, name, said) in [
            ("ALL", "%web", Relation::Holds),
            ("%web", "%web", Relation::Holds),
            ("alice", "bob", Relation::Apart),
            ("%web", "alice", Relation::Unknown),
            ("alice", "#1000", Relation::Unknown),
            ("alice", "ALL", Relation::Unknown),
        ] {
            assert_eq!(user(line, name), said, "{line} {name}");
        }
        for (line, name, said) in [
            ("web*", "Web1", Relation::Holds),
            ("web[0-3]", "web7", Relation::Apart),
            ("web*", "web?", Relation::Unknown),
            ("web1", "web1.example.org", Relation::Unknown),
            ("10.0.0.0/8", "web1", Relation::Unknown),
        ] {
            assert_eq!(host(line, name), said, "{line} {name}");
        }
    }
}
