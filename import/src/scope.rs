//! Applies settings for some users, hosts, run-as users or commands: the affected roles get copies, of which the last
//! one that matches decides. The intersection of lists is computed from their names if possible. Otherwise one copy has
//! the setting, and is followed by a copy without the setting, from whose list the affected names are excluded.

use std::collections::BTreeMap;

use super::command::{self, Effect, Rule};
use super::meaning::{self, Meaning, Relation};
use super::members::{Lists, simplified};
use super::role::{MOST_ROLES, Role};
use super::tree::{Kind, Member, MemberKind, Scope};

/// Keys with their values in TOML.
type Keys = BTreeMap<String, String>;

/// Adds `keys` to the part of the roles that `scope` affects.
pub(super) fn apply(roles: Vec<Role>, scope: &Scope, keys: &Keys, mut lists: Lists<'_, '_>) -> Vec<Role> {
    let Some(wanted) = ScopeNames::of(scope, &mut lists) else { return roles };
    let mut out = Vec::with_capacity(roles.len());
    for role in roles {
        if role.terms.is_none() {
            out.push(role);
            continue;
        }
        let copies = if out.len() > MOST_ROLES { None } else { wanted.copies(&role, keys) };
        match copies {
            Some(copies) => out.extend(copies),
            None => {
                let names: Vec<&str> = keys.keys().map(String::as_str).collect();
                let (names, from) = (names.join(", "), &role.place);
                lists.findings.lost(lists.place, format!("{names} for what the rule of {from} shares with it"));
                out.push(role);
            }
        }
    }
    out
}

/// The names in a scope.
enum ScopeNames {
    Users(Vec<String>),
    Hosts(Vec<String>),
    RunAs(Vec<String>),
    Commands(Vec<Rule>),
}

impl ScopeNames {
    /// Converts the names; `None` if there are none, or if the policy cannot express one.
    fn of(scope: &Scope, lists: &mut Lists<'_, '_>) -> Option<Self> {
        match scope {
            Scope::Everywhere => None,
            Scope::Users(members) => lists.users(members, Kind::User).map(Self::Users),
            Scope::Hosts(members) => lists.hosts(members).map(Self::Hosts),
            Scope::RunAs(members) => lists.users(members, Kind::Runas).map(Self::RunAs),
            Scope::Commands(members) => commands(members, lists).map(Self::Commands),
        }
    }

    /// Returns copies of the role with the keys and without them; `None` if the intersection is unknown.
    fn copies(&self, role: &Role, keys: &Keys) -> Option<Vec<Role>> {
        match self {
            Self::Users(users) => {
                Some(parted(&role.users, users, meaning::user, |users| Role { users, ..role.clone() }, keys))
            }
            Self::Hosts(hosts) => {
                Some(parted(&role.hosts, hosts, meaning::host, |hosts| Role { hosts, ..role.clone() }, keys))
            }
            Self::RunAs(users) => Some(run_as(role, users, keys)),
            Self::Commands(rules) => with_commands(role, rules, keys),
        }
    }
}

fn commands(members: &[Member], lists: &mut Lists<'_, '_>) -> Option<Vec<Rule>> {
    let mut wanted = Vec::new();
    for member in lists.flat(members, Kind::Command) {
        let effect = if member.negated { Effect::Deny } else { Effect::Allow };
        match &member.what {
            MemberKind::All(digests) => wanted.push(command::everything(digests, effect)),
            MemberKind::Command(what) => match command::rules(what, effect) {
                Ok(rules) => wanted.extend(rules),
                Err(why) => {
                    lists.findings.lost(lists.place, why);
                    return None;
                }
            },
            _ => {}
        }
    }
    Some(wanted)
}

/// Adds the keys. A tag takes precedence over a setting.
fn with(mut role: Role, keys: &Keys) -> Role {
    let terms = role.terms.get_or_insert_default();
    for (key, value) in keys {
        if !role.tagged.contains(key) {
            terms.insert(key.clone(), value.clone());
        }
    }
    role
}

/// Returns copies of a role whose list is `own`: those that `wanted` matches have the keys, the others do not.
fn parted(
    own: &[String],
    wanted: &[String],
    meaning: Meaning,
    copy: impl Fn(Vec<String>) -> Role,
    keys: &Keys,
) -> Vec<Role> {
    if own == wanted {
        return vec![with(copy(own.to_vec()), keys)];
    }
    if let Some(both) = shared(own, wanted, meaning) {
        let whole = own.iter().all(|line| wanted.contains(line));
        return match both.is_empty() {
            true => vec![copy(own.to_vec())],
            false if whole => vec![with(copy(own.to_vec()), keys)],
            false => vec![copy(own.to_vec()), with(copy(both), keys)],
        };
    }
    // From the last group of lines with the same sign to the first: it decides about the names in it, whatever
    // precedes; the rest is for the copies that follow.
    let mut copies = Vec::new();
    let mut rest = own.to_vec();
    for stretch in wanted.chunk_by(|one, other| one.starts_with('!') == other.starts_with('!')).rev() {
        let out = stretch.iter().any(|line| line.starts_with('!'));
        let names: Vec<&str> = stretch.iter().map(|line| line.trim_start_matches('!')).collect();
        let left = without(&rest, &names, meaning);
        if left != rest {
            copies.push(if out { copy(rest) } else { with(copy(rest), keys) });
        }
        rest = left;
        if rest.is_empty() {
            return copies;
        }
    }
    copies.push(copy(rest));
    copies
}

/// With `-g` alone the command runs as the caller, so the setting depends on the caller.
fn run_as(role: &Role, wanted: &[String], keys: &Keys) -> Vec<Role> {
    let nobody = ["!ALL".to_owned()];
    let mut copies = Vec::new();
    if role.run_as != nobody {
        copies = parted(&role.run_as, wanted, meaning::user, |run_as| Role { run_as, ..role.clone() }, keys);
    }
    if copies.is_empty() || !role.run_as_groups.is_empty() && copies.len() > 1 {
        let themselves = Role { run_as: nobody.to_vec(), ..role.clone() };
        copies.extend(parted(&role.users, wanted, meaning::user, |users| Role { users, ..themselves.clone() }, keys));
    }
    copies
}

/// Returns the names of `wanted` that `own` matches too; `None` if that is unknown.
fn shared(own: &[String], wanted: &[String], meaning: Meaning) -> Option<Vec<String>> {
    let mut both = Vec::new();
    for name in wanted {
        let mut inside = false;
        for line in own {
            match meaning(line.trim_start_matches('!'), name) {
                Relation::Holds => inside = !line.starts_with('!'),
                Relation::Apart => {}
                Relation::Unknown => return None,
            }
        }
        if inside && !both.contains(name) {
            both.push(name.clone());
        }
    }
    // What remains of ALL has no names.
    let everybody = both.iter().any(|name| name == "ALL");
    (!everybody && !wanted.iter().any(|name| name.starts_with('!'))).then_some(both)
}

/// Returns `own` without `names`.
fn without(own: &[String], names: &[&str], meaning: Meaning) -> Vec<String> {
    let mut left = own.to_vec();
    for name in names {
        let equal = |line: &str| line.trim_start_matches('!') == *name;
        let told = |line: &str| meaning(line.trim_start_matches('!'), name);
        if left.iter().all(|line| equal(line) || told(line) == Relation::Apart) {
            left.retain(|line| !equal(line));
        } else {
            left.push(format!("!{name}"));
        }
    }
    simplified(left)
}

/// Splits off the commands that the role shares with each group of `wanted`.
fn with_commands(role: &Role, wanted: &[Rule], keys: &Keys) -> Option<Vec<Role>> {
    let mut copies = vec![role.clone()];
    for stretch in wanted.chunk_by(|one, other| one.effect == other.effect) {
        let on = stretch.iter().all(|rule| rule.effect == Effect::Allow);
        if stretch.iter().any(Rule::is_everything) {
            copies = vec![if on { with(role.clone(), keys) } else { role.clone() }];
            continue;
        }
        let mut commands: Vec<Rule> = Vec::new();
        for own in &role.commands {
            for rule in stretch {
                for both in own.shared_with(rule)?.into_iter().flatten() {
                    if commands.last() != Some(&both) {
                        commands.push(both);
                    }
                }
            }
        }
        if commands.iter().all(|rule| rule.effect == Effect::Deny) {
            continue;
        }
        let part = Role { commands, ..role.clone() };
        if part.commands == role.commands {
            copies = Vec::new();
        }
        copies.push(if on { with(part, keys) } else { part });
    }
    Some(copies)
}
