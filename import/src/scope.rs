//! Applies settings for some users, hosts, run-as users or commands: the affected roles get copies, of which the last
//! one that matches decides. The intersection of lists is computed from their names if possible. Otherwise one copy has
//! the setting, and is followed by a copy without the setting, from whose list the affected names are excluded.

use super::command::{self, Effect, Rule};
use super::fold;
use super::meaning::{self, Meaning, Relation};
use super::members::{Lists, simplified};
use super::role::{MOST_ROLES, Role};
use super::settings::{Settings, add_term};
use super::terms::Terms;
use super::tree::{Kind, Member, MemberKind, Scope};

/// Adds `keys` to the part of the roles that `scope` affects.
pub(super) fn apply(
    roles: Vec<Role>,
    scope: &Scope,
    keys: &Terms,
    settings: &Settings,
    mut lists: Lists<'_, '_>,
) -> Vec<Role> {
    let Some(wanted) = ScopeNames::of(scope, &mut lists) else { return roles };
    let mut out = Vec::with_capacity(roles.len());
    for role in roles {
        let Some(terms) = role.terms.as_ref() else {
            out.push(role);
            continue;
        };
        // A tag takes precedence over a setting.
        let applies = |key: &str| !(role.tagged.contains(key) || is_root_itself(&role) && RESTRICTING.contains(&key));
        let untagged: Terms = keys.iter().filter(|(key, _)| applies(key)).map(owned).collect();
        let changing = settings.changing(terms, &untagged);
        if changing.is_empty() {
            out.push(role);
            continue;
        }
        let loosens = changing.iter().all(|(key, value)| loosens(key, value));
        let copies = if out.len() > MOST_ROLES { None } else { wanted.copies(&role, &changing, loosens) };
        match copies {
            Some(copies) => out.extend(copies),
            None => {
                let names: Vec<&str> = keys.keys().map(String::as_str).collect();
                let (names, from) = (names.join(", "), shown(&role));
                lists.findings.lost(lists.place, format!("{names} for what the rule of {from} shares with it"));
                out.push(role);
            }
        }
    }
    out
}

/// Returns whether the policy allows less without the setting.
fn loosens(key: &str, value: &str) -> bool {
    let lax = |key, value| match key {
        "authenticate" | "noexec" | "requiretty" | "record_input" => value == "false",
        "record" => value == "\"none\"",
        _ => false,
    };
    lax(key, value) || key == "env_keep" && !value.contains("\"!")
}

/// Settings that mean nothing where root runs every command: root needs no password, and can do everything itself.
const RESTRICTING: [&str; 9] = [
    "authenticate",
    "badpass_message",
    "lecture",
    "noexec",
    "passprompt",
    "passwd_timeout",
    "passwd_tries",
    "timestamp_timeout",
    "timestamp_type",
];

fn is_root_itself(role: &Role) -> bool {
    fold::is_root(role) && !role.refuses() && role.commands.iter().any(Rule::is_everything)
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

fn shown(role: &Role) -> String {
    role.places.first().map(ToString::to_string).unwrap_or_default()
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
    fn copies(&self, role: &Role, keys: &Terms, loosens: bool) -> Option<Vec<Role>> {
        let user = if loosens { meaning::present_user } else { meaning::user };
        match self {
            Self::Users(users) => Some(parted(&role.users, users, user, |users| Role { users, ..role.clone() }, keys)),
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
                Ok(rules) if rules.iter().all(|rule| rule.is_accepted()) => wanted.extend(rules),
                Ok(_) => {
                    lists.findings.lost(lists.place, format!("a setting for {}, which no rule can name", what.path));
                    return None;
                }
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

/// Adds the keys.
fn with(mut role: Role, keys: &Terms) -> Role {
    let terms = role.terms.get_or_insert_default();
    for (key, value) in keys {
        add_term(terms, key, value);
    }
    role
}

/// Returns copies of a role whose list is `own`: those that `wanted` matches have the keys, the others do not.
fn parted(
    own: &[String],
    wanted: &[String],
    meaning: Meaning,
    copy: impl Fn(Vec<String>) -> Role,
    keys: &Terms,
) -> Vec<Role> {
    if own == wanted {
        return vec![with(copy(own.to_vec()), keys)];
    }
    if let Some(both) = shared(own, wanted, meaning) {
        let whole = own.iter().all(|line| wanted.contains(line));
        return match both.is_empty() {
            true => vec![copy(own.to_vec())],
            false if whole => vec![with(copy(own.to_vec()), keys)],
            // Nobody has both copies, so that their order does not matter.
            false if own.iter().all(|line| both.contains(line) || are_apart(line, &both, meaning)) => {
                let rest = own.iter().filter(|line| !both.contains(line)).cloned().collect();
                vec![copy(rest), with(copy(both), keys)]
            }
            false if *own == ["ALL"] => {
                let rest = own.iter().cloned().chain(both.iter().map(|name| format!("!{name}"))).collect();
                vec![copy(rest), with(copy(both), keys)]
            }
            false => vec![copy(own.to_vec()), with(copy(both), keys)],
        };
    }
    let excepted = || wanted.iter().filter_map(|line| line.strip_prefix('!'));
    if excepted().next().is_some() && excepted().all(|name| holds(own, name, meaning)) {
        // Whatever is not wanted is in one list: the exceptions are in the role.
        let rest = simplified(own.iter().cloned().chain(wanted.iter().map(|line| opposite(line))).collect());
        let all = with(copy(own.to_vec()), keys);
        return std::iter::once(all).chain((!rest.is_empty()).then(|| copy(rest))).collect();
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

/// Returns whether the list certainly matches the name.
fn holds(own: &[String], name: &str, meaning: Meaning) -> bool {
    own.iter().fold(false, |inside, line| {
        let excludes = line.starts_with('!');
        match meaning(line.trim_start_matches('!'), name) {
            Relation::Holds => !excludes,
            Relation::Apart => inside,
            Relation::Unknown => inside && !excludes,
        }
    })
}

/// Returns the line that includes what `line` excludes, or excludes what it includes.
fn opposite(line: &str) -> String {
    line.strip_prefix('!').map_or_else(|| format!("!{line}"), str::to_owned)
}

fn are_apart(line: &str, names: &[String], meaning: Meaning) -> bool {
    !line.starts_with('!') && names.iter().all(|name| meaning(line, name) == Relation::Apart)
}

/// With `-g`, sudo applies the setting only if the group is one of the run-as user's own: otherwise the role remains
/// as it is.
fn run_as(role: &Role, wanted: &[String], keys: &Terms) -> Vec<Role> {
    if *role.run_as == ["!ALL"] {
        return vec![role.clone()];
    }
    let own_groups = Role { run_as_groups: exclusions(&role.run_as_groups), ..role.clone() };
    let copy = |run_as| Role { run_as, ..own_groups.clone() };
    let copies = parted(&role.run_as, wanted, meaning::user, copy, keys);
    let unchanged = copies.iter().all(|copy| copy.terms == role.terms);
    match (role.run_as_groups.is_empty(), unchanged) {
        (_, true) => vec![role.clone()],
        (true, false) => copies,
        (false, false) => std::iter::once(role.clone()).chain(copies).collect(),
    }
}

/// Returns the groups that remain excluded where no other group than the run-as user's own may be named.
fn exclusions(groups: &[String]) -> Vec<String> {
    let first = groups.iter().position(|line| line.starts_with('!')).unwrap_or(groups.len());
    let (_, rest) = groups.split_at(first);
    // What is included again after an exclusion cannot be said for one's own groups only.
    if rest.iter().all(|line| line.starts_with('!')) { rest.to_vec() } else { groups.to_vec() }
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
fn with_commands(role: &Role, wanted: &[Rule], keys: &Terms) -> Option<Vec<Role>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// Returns the hosts of each copy of a role, and whether it has the setting.
    fn split(own: &str, wanted: &str) -> Vec<(String, bool)> {
        let keys = Terms::from([("noexec".to_owned(), "true".to_owned())]);
        let copies =
            parted(&lines(own), &lines(wanted), meaning::host, |hosts| Role { hosts, ..Role::default() }, &keys);
        copies.into_iter().map(|copy| (copy.hosts.join(" "), copy.terms.is_some())).collect()
    }

    #[test]
    fn a_scope_with_exceptions_makes_two_copies_where_the_role_matches_them() {
        let with = |hosts: &str| (hosts.to_owned(), true);
        let without = |hosts: &str| (hosts.to_owned(), false);
        let wanted = "web* !web1 10.0.0.0/8 !db1";
        assert_eq!(split("ALL", wanted), [with("ALL"), without("ALL !web* web1 !10.0.0.0/8 db1")]);
        // db1 may not be included here: the role does not match it.
        let copies = split("web* +others", wanted);
        assert!(copies.len() > 2 && copies.iter().all(|(hosts, _)| !hosts.contains(" db1")), "{copies:?}");
        // An exclusion that may match it.
        assert!(split("ALL !+others", wanted).len() > 2);
    }
}
