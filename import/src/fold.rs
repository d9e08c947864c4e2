//! Makes as few roles of the rules as the same answers permit: merges roles that differ in one list only, and drops
//! those that never decide. Each step leaves the answer of the sequence, in which the last matching role decides, as it
//! was. What cannot be related by the names alone stays as it is.

use super::command::{Effect, Rule};
use super::finding::Findings;
use super::meaning::{self, Meaning, Relation};
use super::members::simplified;
use super::role::Role;
use super::terms::People;

/// How many roles before a new one are compared with it, so that a file with many rules takes little time.
const COMPARED: usize = 200;

/// Merges roles, in the order of the file.
pub(super) fn fold(roles: Vec<Role>, findings: &mut Findings) -> Vec<Role> {
    let mut folded: Vec<Role> = Vec::with_capacity(roles.len());
    for role in roles {
        let from = folded.len().saturating_sub(COMPARED);
        if let Some(recent) = folded.get(from..)
            && recent.iter().any(|earlier| covers(&role, earlier))
        {
            let dead = folded.extract_if(from.., |earlier| covers(&role, earlier));
            dead.for_each(|earlier| overridden(&earlier, &role, findings));
        }
        if is_needless(&role, &folded) {
            if let Some(place) = role.places.first() {
                findings.note(place, "the rule has no effect: no rule before it allows what it denies");
            }
            continue;
        }
        let role = with_root(&mut folded, role);
        if let Some(role) = merged(&mut folded, role) {
            folded.push(role);
        }
    }
    folded
}

/// Adds root to a role without a password, in the place of an earlier role that differs from it only by the password: root
/// needs none.
fn with_root(folded: &mut Vec<Role>, role: Role) -> Role {
    let from = folded.len().saturating_sub(COMPARED);
    let Some(at) = folded.iter().skip(from).position(|own| is_roots_own(own, &role)).map(|at| from + at) else {
        return role;
    };
    let own = folded.remove(at);
    let users = union(&own.users, &role.users).filter(|_| folded.iter().skip(at).all(|other| commute(&own, other)));
    let Some(users) = users else {
        folded.insert(at, own);
        return role;
    };
    let places = own.places.into_iter().chain(role.places).collect();
    Role { users, places, ..role }
}

/// Returns whether `own` is root's, for every command, and `role` the same for others without a password.
fn is_roots_own(own: &Role, role: &Role) -> bool {
    let (Some(terms), Some(others)) = (&own.terms, &role.terms) else { return false };
    let waived = |key: &str, value: &str| key == "authenticate" && value == "false";
    is_root(own)
        && !is_root(role)
        && !own.refuses()
        && own.commands.iter().any(Rule::is_everything)
        && (&own.hosts, &own.run_as, &own.run_as_groups, &own.commands)
            == (&role.hosts, &role.run_as, &role.run_as_groups, &role.commands)
        && others.get("authenticate").is_some_and(|value| value == "false")
        && others.iter().filter(|(key, value)| !waived(key, value)).eq(terms)
}

/// Returns whether the role only denies what nothing before it allows.
fn is_needless(role: &Role, before: &[Role]) -> bool {
    let allows = |earlier: &Role| earlier.terms.is_some() && !apart(earlier, role);
    role.terms.is_none() && before.len() <= COMPARED && !before.iter().any(allows)
}

fn overridden(earlier: &Role, later: &Role, findings: &mut Findings) {
    if let (Some(place), Some(by)) = (earlier.places.first(), later.places.first())
        && place != by
    {
        findings
            .note(place, format!("the rule never decides: that of {by} comes later and matches all that it matches"));
    }
}

/// Merges a role with an earlier one; returns it if that is not possible.
fn merged(folded: &mut [Role], role: Role) -> Option<Role> {
    for earlier in folded.iter_mut().rev().take(COMPARED) {
        if let Some(mut both) = join(earlier, &role) {
            both.places.extend(role.places.iter().filter(|place| !earlier.places.contains(place)).cloned());
            both.from_alias = earlier.from_alias.clone().filter(|alias| role.from_alias.as_ref() == Some(alias));
            *earlier = both;
            return None;
        }
        if !commute(earlier, &role) {
            break;
        }
    }
    Some(role)
}

/// Returns one role for both, where `later` follows immediately.
fn join(earlier: &Role, later: &Role) -> Option<Role> {
    let alike = |one: &Role, other: &Role| one.terms == other.terms && one.tagged == other.tagged;
    let users = earlier.users == later.users;
    let hosts = earlier.hosts == later.hosts;
    let run_as = earlier.run_as == later.run_as;
    let groups = earlier.run_as_groups == later.run_as_groups;
    let commands = earlier.commands == later.commands;
    if users && hosts && run_as && groups && (alike(earlier, later) || earlier.terms.is_none() || later.terms.is_none())
    {
        return Some(with_commands(earlier, later));
    }
    if !alike(earlier, later) {
        return None;
    }
    if is_within(later, earlier) {
        return Some(earlier.clone());
    }
    match (users, hosts, run_as, groups, commands) {
        (false, true, true, true, true) => {
            let users = union(&earlier.users, &later.users)?;
            Some(Role { users, name: common_name(earlier, later), ..earlier.clone() })
        }
        (true, false, true, true, true) => {
            Some(Role { hosts: union(&earlier.hosts, &later.hosts)?, ..earlier.clone() })
        }
        (true, true, false, true, true) if earlier.run_as_groups.is_empty() => {
            Some(Role { run_as: union(&earlier.run_as, &later.run_as)?, ..earlier.clone() })
        }
        _ => None,
    }
}

fn with_commands(earlier: &Role, later: &Role) -> Role {
    let mut both = earlier.clone();
    if both.terms.is_none() {
        both.terms.clone_from(&later.terms);
        both.tagged.clone_from(&later.tagged);
    }
    let repeats = !earlier.refuses();
    both.commands.extend(later.commands.iter().filter(|rule| !(repeats && earlier.commands.contains(rule))).cloned());
    both
}

/// Returns the entries of both lists; `None` if an entry excludes something.
fn union(one: &[String], other: &[String]) -> Option<Vec<String>> {
    if one.iter().chain(other).any(|line| line.starts_with('!')) {
        return None;
    }
    let more = other.iter().filter(|line| !one.contains(line));
    Some(simplified(one.iter().chain(more).cloned().collect()))
}

/// Returns what the users of both are called; root is not counted.
fn common_name(earlier: &Role, later: &Role) -> String {
    match (is_root(earlier), is_root(later), earlier.name == later.name) {
        (true, false, _) => later.name.clone(),
        (false, true, _) | (_, _, true) => earlier.name.clone(),
        _ if earlier.name.len() + later.name.len() > LONGEST_NAME => match earlier.name.ends_with("-etc") {
            true => earlier.name.clone(),
            false => format!("{}-etc", earlier.name),
        },
        _ => format!("{}-{}", earlier.name, later.name),
    }
}

/// The maximum length of the name of several users.
const LONGEST_NAME: usize = 30;

/// Returns whether only root has the role.
pub(super) fn is_root(role: &Role) -> bool {
    role.users.iter().all(|user| is_root_user(user))
}

/// Returns whether the line of a list is root.
pub(super) fn is_root_user(user: &str) -> bool {
    user == "root" || user == "#0"
}

/// Returns whether the order of two roles, of which one follows the other, does not matter.
fn commute(one: &Role, other: &Role) -> bool {
    let same = one.terms == other.terms && one.tagged == other.tagged;
    let permits = !one.refuses() && !other.refuses();
    let denies = one.terms.is_none() && other.terms.is_none();
    denies || (permits && same) || apart(one, other)
}

/// Returns whether no command certainly matches both.
pub(super) fn apart(one: &Role, other: &Role) -> bool {
    // A rule that denies also matches by the links that lead to its program; and with -g alone, run_as does not count.
    let permits = !one.refuses() && !other.refuses();
    are_apart(&one.users, &other.users, meaning::user)
        || are_apart(&one.hosts, &other.hosts, meaning::host)
        || permits
            && (one.run_as_groups.is_empty()
                && other.run_as_groups.is_empty()
                && are_apart(&one.run_as, &other.run_as, meaning::user)
                || one.commands.iter().all(|rule| other.commands.iter().all(|theirs| rule.is_apart_from(theirs))))
}

fn are_apart(one: &[String], other: &[String], meaning: Meaning) -> bool {
    let named = |list: &'_ [String]| list.iter().filter(|line| !line.starts_with('!')).cloned().collect::<Vec<_>>();
    let (one, other) = (named(one), named(other));
    one.iter().all(|line| {
        other.iter().all(|name| meaning(line, name) == Relation::Apart && meaning(name, line) == Relation::Apart)
    })
}

/// Returns whether `later` matches whatever `earlier` matches, so that `earlier` never decides.
fn covers(later: &Role, earlier: &Role) -> bool {
    let all = later.commands.iter().any(Rule::is_everything);
    lists_within(earlier, later)
        && (all || earlier.commands.iter().all(|rule| later.commands.iter().any(|other| other.of == rule.of)))
        // A rule that allows matches less than one that denies the same.
        && (all || !earlier.refuses() || later.commands == earlier.commands)
}

/// Returns whether `outer` allows whatever `inner` allows.
fn is_within(inner: &Role, outer: &Role) -> bool {
    let all = outer.commands.iter().any(Rule::is_everything);
    !inner.refuses()
        && !outer.refuses()
        && lists_within(inner, outer)
        && (all || inner.commands.iter().all(|rule| outer.commands.contains(rule)))
}

fn lists_within(inner: &Role, outer: &Role) -> bool {
    is_list_within(&inner.users, &outer.users, meaning::user)
        && is_list_within(&inner.hosts, &outer.hosts, meaning::host)
        && (inner.run_as == outer.run_as || is_list_within(&inner.run_as, &outer.run_as, meaning::user))
        && (inner.run_as_groups == outer.run_as_groups || *outer.run_as_groups == ["ALL"])
}

fn is_list_within(inner: &[String], outer: &[String], meaning: Meaning) -> bool {
    if inner == outer {
        return true;
    }
    let holds = |line: &String| outer.iter().any(|wider| meaning(wider, line) == Relation::Holds);
    !outer.iter().any(|line| line.starts_with('!'))
        && inner.iter().filter(|line| !line.starts_with('!')).all(holds)
        && inner.iter().any(|line| !line.starts_with('!'))
}

/// The `order` of each role; 0 for all if the order of the file does not matter.
pub(super) fn levels(roles: &[Role], people: People) -> Vec<u32> {
    if roles.len() > 2000 {
        return (1..).take(roles.len()).collect();
    }
    let mut levels: Vec<u32> = Vec::with_capacity(roles.len());
    for (index, role) in roles.iter().enumerate() {
        let least =
            roles.iter().take(index).zip(&levels).map(|(earlier, level)| match precedence(earlier, role, people) {
                Precedence::None => 0,
                Precedence::Equal => *level,
                Precedence::Above => *level + 1,
            });
        levels.push(least.max().unwrap_or(0));
    }
    levels
}

/// How the order of a role relates to that of an earlier one.
enum Precedence {
    /// Any order gives the same answers.
    None,
    /// The same order or a higher one.
    Equal,
    /// A higher one.
    Above,
}

/// Among roles of the same order one that allows is enough, and the narrowest gives its settings. Where users activate
/// roles, the broader one may be the only active one, so it must not be laxer.
fn precedence(earlier: &Role, later: &Role, people: People) -> Precedence {
    if commute(earlier, later) || earlier.terms == later.terms && !earlier.refuses() && !later.refuses() {
        return Precedence::None;
    }
    match (earlier.terms.is_none(), later.refuses()) {
        (true, _) => Precedence::Equal,
        (false, true) => Precedence::Above,
        (false, false) if earlier.terms == later.terms => Precedence::Equal,
        (false, false)
            if breadth(earlier) > breadth(later) && (people == People::Standing || is_stricter(earlier, later)) =>
        {
            Precedence::Equal
        }
        (false, false) => Precedence::Above,
    }
}

/// Returns whether the terms of `one` restrict at least as much as those of `other`.
fn is_stricter(one: &Role, other: &Role) -> bool {
    let everything = one.commands.iter().any(Rule::is_everything);
    let (one, other) = (one.terms.clone().unwrap_or_default(), other.terms.clone().unwrap_or_default());
    let restricts = |key: &str, value: Option<&String>| match (key, value.map(String::as_str)) {
        ("authenticate", value) => value != Some("false"),
        ("noexec", value) => value == Some("true"),
        // Who may run every command may set every variable with env(1).
        ("setenv", value) => everything || value != Some("true"),
        _ => false,
    };
    one.keys().chain(other.keys()).all(|key| one.get(key) == other.get(key) || restricts(key, one.get(key)))
}

/// Where users activate roles: a role for every command says which commands need another role, and so never seems to
/// allow what it does not.
pub(super) fn say_exceptions(roles: &mut [Role]) {
    for later in (1..roles.len().min(2000)).rev() {
        let (before, rest) = roles.split_at_mut(later);
        let Some(narrow) = rest.first().filter(|role| !role.refuses()) else { continue };
        let denied: Vec<Rule> = narrow.commands.iter().filter_map(Rule::denial).collect();
        for wide in before.iter_mut().filter(|wide| wide.commands.iter().any(Rule::is_everything)) {
            let needed = matches!(precedence(wide, narrow, People::Eligible), Precedence::Above);
            if needed && lists_within(wide, narrow) && !narrow.commands.iter().any(Rule::is_everything) {
                wide.commands
                    .extend(denied.iter().filter(|rule| !wide.commands.contains(rule)).cloned().collect::<Vec<_>>());
            }
        }
    }
}

/// As the policy compares roles: of those that allow a command, the least is used.
fn breadth(role: &Role) -> (bool, bool, usize) {
    let last = role.commands.iter().rev().find(|rule| rule.is_everything());
    let anyone = role.run_as.iter().all(|line| !line.starts_with('!')) && role.run_as.iter().any(|line| line == "ALL");
    (last.is_some_and(|rule| rule.effect == Effect::Allow), anyone, role.commands.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::everything;

    fn role(user: &str, terms: &[(&str, &str)]) -> Role {
        Role {
            name: user.to_owned(),
            users: vec![user.to_owned()],
            hosts: vec!["ALL".to_owned()],
            run_as: vec!["ALL".to_owned()],
            terms: Some(terms.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            commands: vec![everything(&[], Effect::Allow)],
            ..Role::default()
        }
    }

    fn users(roles: Vec<Role>) -> Vec<Vec<String>> {
        fold(roles, &mut Findings::default()).into_iter().map(|role| role.users).collect()
    }

    #[test]
    fn root_joins_a_role_that_differs_only_by_the_password() {
        let waived = ("authenticate", "false");
        assert_eq!(users(vec![role("root", &[]), role("%wheel", &[waived])]), [["root", "%wheel"]]);
        let between = vec![role("root", &[]), role("%admin", &[]), role("%wheel", &[waived])];
        assert_eq!(users(between).concat(), ["root", "%admin", "%wheel"], "same terms are one role first");
        // Others, and settings that root would feel, stay apart.
        assert_eq!(users(vec![role("alice", &[]), role("%wheel", &[waived])]).len(), 2);
        assert_eq!(users(vec![role("root", &[]), role("%wheel", &[waived, ("noexec", "true")])]).len(), 2);
        assert_eq!(users(vec![role("root", &[]), role("%wheel", &[("noexec", "true")])]).len(), 2);
        assert_eq!(users(vec![role("%wheel", &[waived]), role("root", &[])]).len(), 2);
        // A rule between them that denies decides for root too, if root is in the group.
        let mut denies = role("%admin", &[]);
        denies.commands = vec![everything(&[], Effect::Deny)];
        denies.terms = None;
        assert_eq!(users(vec![role("root", &[]), denies, role("%wheel", &[waived])]).len(), 3);
    }
}
