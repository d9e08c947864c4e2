//! Converts the lists of a sudoers file, with aliases resolved, to lists of the policy: in both the last matching
//! member decides.

use jit_core::policy::{Entry, Hosts, Principal, RunAsGroup, RunAsUser};

use super::finding::Findings;
use super::tree::{Kind, Member, MemberKind, Position, Sudoers};

/// The maximum number of members of one list, with aliases resolved.
const MOST_MEMBERS: usize = 20_000;

/// Converts lists; reports what the policy cannot express.
pub(super) struct Lists<'a, 'f> {
    pub(super) sudoers: &'a Sudoers,
    pub(super) findings: &'f mut Findings,
    pub(super) place: &'a Position,
}

impl Lists<'_, '_> {
    /// Resolves aliases. `!ALIAS` inverts the signs of its members, as in sudo.
    pub(super) fn flat(&mut self, members: &[Member], kind: Kind) -> Vec<Member> {
        let mut out = Vec::new();
        self.flatten(members, kind, false, &mut Vec::new(), &mut out);
        if out.len() >= MOST_MEMBERS {
            self.findings.lost(self.place, format!("the members of a list beyond {MOST_MEMBERS}"));
        }
        out
    }

    fn flatten(&mut self, members: &[Member], kind: Kind, turned: bool, open: &mut Vec<String>, out: &mut Vec<Member>) {
        for member in members {
            if out.len() >= MOST_MEMBERS {
                return;
            }
            let negated = member.negated != turned;
            let MemberKind::Alias(name) = &member.what else {
                out.push(Member { negated, what: member.what.clone() });
                continue;
            };
            let sudoers = self.sudoers;
            match sudoers.aliases.get(&(kind, name.clone())) {
                Some(inner) if !open.contains(name) && open.len() < 100 => {
                    open.push(name.clone());
                    self.flatten(inner, kind, negated, open, out);
                    open.pop();
                }
                found => {
                    let why = if found.is_some() { "refers to itself" } else { "is not defined" };
                    self.findings.lost(self.place, format!("alias {name} {why}"));
                    // sudo then treats the name as that of a user or host.
                    if kind != Kind::Command {
                        out.push(Member { negated, what: MemberKind::Word(name.clone()) });
                    }
                }
            }
        }
    }

    /// Converts users to principals or lines of `run_as`; `None` if the list matches no caller, or cannot be expressed
    /// without matching more users.
    pub(super) fn users(&mut self, members: &[Member], kind: Kind) -> Option<Vec<String>> {
        let check = |text: &str| match kind {
            Kind::Runas => RunAsUser::read(text).map(|_| ()),
            _ => Principal::parse(text).map(|_| ()),
        };
        let lines = simplified(self.lines(members, kind, user, user_number, check)?);
        match (lines.is_empty(), kind) {
            (false, _) => Some(lines),
            // Commands that only change the group are not handled here.
            (true, Kind::Runas) => Some(vec!["!ALL".to_owned()]),
            (true, _) => None,
        }
    }

    /// Converts hosts.
    pub(super) fn hosts(&mut self, members: &[Member]) -> Option<Vec<String>> {
        let lines =
            simplified(self.lines(members, Kind::Host, host, |_| None, |text| Hosts::read(text).map(|_| ()))?);
        (!lines.is_empty()).then_some(lines)
    }

    /// Converts groups for -g. An exclusion counts by itself: otherwise the groups of the user would be permitted.
    pub(super) fn groups(&mut self, members: &[Member]) -> Option<Vec<String>> {
        let mut lines =
            self.lines(members, Kind::Runas, group, group_number, |text| RunAsGroup::read(text).map(|_| ()))?;
        let last = lines.iter().rposition(|line| line == "ALL" || line == "!ALL").unwrap_or(0);
        lines.drain(..last);
        lines.dedup();
        // The policy rejects ALL with other names if nothing is excluded.
        if lines.first().is_some_and(|line| line == "ALL") && !lines.iter().any(|line| line.starts_with('!')) {
            lines.truncate(1);
        }
        Some(lines)
    }

    fn lines(
        &mut self,
        members: &[Member],
        kind: Kind,
        text: impl Fn(&MemberKind) -> String,
        number: impl Fn(&MemberKind) -> Option<String>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Vec<String>> {
        let mut lines: Vec<String> = Vec::new();
        for member in self.flat(members, kind) {
            let mut line = text(&member.what);
            if let (true, Some(number)) = (line.contains(char::is_whitespace), number(&member.what)) {
                self.findings.note(self.place, format!("{line} is {number} in the policy, where a name has no blank"));
                line = number;
            }
            match check(&line) {
                Ok(()) if member.negated => lines.push(format!("!{line}")),
                Ok(()) => lines.push(line),
                Err(why) if member.negated => {
                    // Without it the list would match more.
                    self.findings.lost(self.place, format!("the rule: {why}, and it is excluded from a list"));
                    return None;
                }
                Err(why) => self.findings.lost(self.place, format!("a member of a list: {why}")),
            }
        }
        Some(lines)
    }
}

/// Returns the list without lines that a later ALL overrides, and without exclusions from an empty list.
pub(super) fn simplified(lines: Vec<String>) -> Vec<String> {
    let from = match lines.iter().rposition(|line| line == "ALL" || line == "!ALL") {
        Some(all) if lines.get(all).is_some_and(|line| line == "ALL") => all,
        Some(none) => none + 1,
        None => 0,
    };
    let mut rest: Vec<String> = lines.into_iter().skip(from).skip_while(|line| line.starts_with('!')).collect();
    rest.dedup();
    // After ALL, names are needed only if something was excluded.
    if rest.first().is_some_and(|line| line == "ALL") && !rest.iter().any(|line| line.starts_with('!')) {
        rest.truncate(1);
    }
    rest
}

/// Returns the members of a group of this host by number. A user with such a name cannot use jit-sudo at all.
fn user_number(what: &MemberKind) -> Option<String> {
    let MemberKind::Group(name) = what else { return None };
    Some(format!("%#{}", sys::users::group_by_name(name.strip_prefix('%')?).ok()??.gid))
}

/// Returns a group of this host by number, for -g.
fn group_number(what: &MemberKind) -> Option<String> {
    let MemberKind::Word(name) = what else { return None };
    Some(format!("#{}", sys::users::group_by_name(name).ok()??.gid))
}

fn user(what: &MemberKind) -> String {
    match what {
        MemberKind::All(_) => "ALL".to_owned(),
        MemberKind::Myself => "SELF".to_owned(),
        MemberKind::Netgroup(name) => name.clone(),
        MemberKind::Group(name) => match name.strip_prefix('%') {
            Some(group) if group.starts_with('#') => format!("%{}", id(group)),
            Some(group) => format!("%{}", known(group, knows_group)),
            None => name.clone(),
        },
        MemberKind::Word(name) if name.starts_with('#') => id(name),
        MemberKind::Word(name) => known(name, knows_user),
        MemberKind::Alias(name) | MemberKind::Network(name) => name.clone(),
        MemberKind::Command(command) => command.path.clone(),
    }
}

fn group(what: &MemberKind) -> String {
    match what {
        MemberKind::All(_) => "ALL".to_owned(),
        MemberKind::Word(name) if name.starts_with('#') => id(name),
        MemberKind::Word(name) => known(name, knows_group),
        other => user(other),
    }
}

fn host(what: &MemberKind) -> String {
    match what {
        MemberKind::All(_) => "ALL".to_owned(),
        MemberKind::Word(name) | MemberKind::Network(name) => name.clone(),
        other => user(other),
    }
}

/// Removes leading zeros, which sudo ignores.
fn id(text: &str) -> String {
    text.strip_prefix('#')
        .and_then(|digits| digits.parse::<u32>().ok())
        .map_or_else(|| text.to_owned(), |id| format!("#{id}"))
}

/// sudo ignores the case of names, and the policy does not: returns the name in lower case if only that one exists
/// here.
fn known(name: &str, exists: fn(&str) -> bool) -> String {
    let lower = name.to_lowercase();
    if lower != name && !exists(name) && exists(&lower) { lower } else { name.to_owned() }
}

/// Returns a name for the role of these users: their alias, or the first of them.
pub(super) fn role_name(members: &[Member], users: &[String]) -> String {
    let source = match members {
        [Member { negated: false, what: MemberKind::Alias(name) }] => name.to_lowercase(),
        _ => users.first().cloned().unwrap_or_default(),
    };
    let plain = match source.as_str() {
        "ALL" => "everybody".to_owned(),
        id if id.starts_with('#') => format!("uid-{}", id.trim_start_matches('#')),
        id if id.starts_with("%#") => format!("gid-{}", id.trim_start_matches("%#")),
        other => other.to_owned(),
    };
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = plain.chars().map(allowed).take(48).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { "role".to_owned() } else { name.to_owned() }
}

/// Returns whether the account database has a user of this name.
fn knows_user(name: &str) -> bool {
    sys::users::account_by_name(name).is_ok_and(|user| user.is_some())
}

/// Returns whether the account database has a group of this name.
fn knows_group(name: &str) -> bool {
    sys::users::group_by_name(name).is_ok_and(|group| group.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(list: &[&str]) -> Vec<String> {
        simplified(list.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn simplified_lists_keep_their_meaning() {
        assert_eq!(lines(&["alice", "ALL"]), ["ALL"]);
        assert_eq!(lines(&["!alice", "bob"]), ["bob"]);
        assert_eq!(lines(&["alice", "!ALL", "bob"]), ["bob"]);
        assert_eq!(lines(&["ALL", "!bob", "bob"]), ["ALL", "!bob", "bob"]);
        assert_eq!(lines(&["ALL", "bob"]), ["ALL"]);
        assert!(lines(&["!ALL"]).is_empty() && lines(&["!x"]).is_empty());
    }

    #[test]
    fn role_names_are_valid() {
        for (users, name) in
            [("%sudo", "sudo"), ("ALL", "everybody"), ("#1000", "uid-1000"), ("+n g", "n-g"), ("%", "role")]
        {
            assert_eq!(role_name(&[], &[users.to_owned()]), name);
        }
    }
}
