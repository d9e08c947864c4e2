//! Settings for some people, hosts, run-as users or commands: the roles that they reach get a copy with them, which comes
//! right after and so decides.

use std::collections::BTreeMap;

use super::carry::Role;
use super::command::{self, Effect, Rule};
use super::members::Lists;
use super::tree::{Kind, Scope, What};

/// What a scope makes of one role.
enum Reach {
    /// None of it.
    Nothing,
    /// All of it.
    Whole,
    /// This narrower copy of it.
    Part(Box<Role>),
    /// Nobody can tell.
    Unknown,
}

/// Gives `keys` to what `scope` reaches of the roles.
pub(super) fn apply(
    roles: Vec<Role>,
    scope: &Scope,
    keys: &BTreeMap<String, String>,
    mut lists: Lists<'_, '_>,
) -> Vec<Role> {
    let Some(narrow) = narrowing(scope, &mut lists) else { return roles };
    let mut out = Vec::with_capacity(roles.len());
    for mut role in roles {
        if role.terms.is_none() {
            out.push(role);
            continue;
        }
        match narrow(&role) {
            Reach::Nothing => out.push(role),
            Reach::Whole => {
                say(&mut role, keys);
                out.push(role);
            }
            Reach::Part(mut copy) => {
                say(&mut copy, keys);
                out.extend([role, *copy]);
            }
            Reach::Unknown => {
                let names: Vec<&str> = keys.keys().map(String::as_str).collect();
                let (names, from) = (names.join(", "), &role.place);
                lists.findings.lost(lists.place, format!("{names} for what the rule of {from} shares with it"));
                out.push(role);
            }
        }
    }
    out
}

/// A tag says more than a setting.
fn say(role: &mut Role, keys: &BTreeMap<String, String>) {
    let terms = role.terms.get_or_insert_default();
    for (key, value) in keys {
        if !role.tagged.contains(key) {
            terms.insert(key.clone(), value.clone());
        }
    }
}

type Narrow = Box<dyn Fn(&Role) -> Reach>;

fn narrowing(scope: &Scope, lists: &mut Lists<'_, '_>) -> Option<Narrow> {
    match scope {
        Scope::Everywhere => None,
        Scope::Users(members) => {
            let wanted = lists.users(members, Kind::User)?;
            Some(Box::new(move |role| people(role, &wanted)))
        }
        Scope::Hosts(members) => {
            let wanted = lists.hosts(members)?;
            Some(Box::new(move |role| part(&role.hosts, &wanted, |hosts| Role { hosts, ..role.clone() }, |_, _| false)))
        }
        Scope::RunAs(members) => {
            let wanted = lists.users(members, Kind::Runas)?;
            Some(Box::new(move |role| {
                part(&role.run_as, &wanted, |run_as| Role { run_as, ..role.clone() }, other_user)
            }))
        }
        Scope::Commands(members) => {
            let mut wanted = Vec::new();
            for member in lists.flat(members, Kind::Command) {
                let effect = if member.negated { Effect::Deny } else { Effect::Allow };
                match &member.what {
                    What::All(digests) => wanted.push(command::everything(digests, effect)),
                    What::Command(what) => match command::rules(what, effect) {
                        Ok(rules) => wanted.extend(rules),
                        Err(why) => {
                            lists.findings.lost(lists.place, why);
                            return None;
                        }
                    },
                    _ => {}
                }
            }
            Some(Box::new(move |role| commands(role, &wanted)))
        }
    }
}

/// Two lists of people have no common list that could be written down, so the copy has both.
fn people(role: &Role, wanted: &[String]) -> Reach {
    if role.users == wanted || *wanted == ["ALL"] {
        return Reach::Whole;
    }
    if !role.among.is_empty() {
        return Reach::Unknown;
    }
    let user = |line: &String| !line.starts_with(['!', '%', '+', '#']) && line != "ALL";
    if role.users.iter().all(user) && wanted.iter().all(user) {
        let both: Vec<String> = role.users.iter().filter(|line| wanted.contains(line)).cloned().collect();
        return match both.len() {
            0 => Reach::Nothing,
            count if count == role.users.len() => Reach::Whole,
            _ => Reach::Part(Box::new(Role { users: both, ..role.clone() })),
        };
    }
    let among = if *role.users == ["ALL"] { Vec::new() } else { role.users.clone() };
    Reach::Part(Box::new(Role { users: wanted.to_vec(), among, ..role.clone() }))
}

/// What two lists share, where that can be seen; `apart` tells of two lines that they never mean the same.
fn part(
    own: &[String],
    wanted: &[String],
    copy: impl Fn(Vec<String>) -> Role,
    apart: impl Fn(&str, &str) -> bool,
) -> Reach {
    let all = ["ALL".to_owned()];
    if own == wanted || wanted == all {
        return Reach::Whole;
    }
    if own == all {
        return Reach::Part(Box::new(copy(wanted.to_vec())));
    }
    if own.iter().chain(wanted).any(|line| line.starts_with('!')) {
        return Reach::Unknown;
    }
    let both: Vec<String> = own.iter().filter(|line| wanted.contains(line)).cloned().collect();
    let certain = own.iter().all(|line| wanted.iter().all(|other| line == other || apart(line, other)));
    match (certain, both.is_empty()) {
        (false, _) => Reach::Unknown,
        (true, true) => Reach::Nothing,
        (true, false) if both.len() == own.len() => Reach::Whole,
        (true, false) => Reach::Part(Box::new(copy(both))),
    }
}

/// Two names of users are two users.
fn other_user(one: &str, other: &str) -> bool {
    let name = |line: &str| !line.starts_with(['!', '%', '+', '#']) && line != "ALL" && line != "SELF";
    name(one) && name(other)
}

fn commands(role: &Role, wanted: &[Rule]) -> Reach {
    let everything = command::everything(&[], Effect::Allow);
    if wanted.contains(&everything) || role.commands == wanted {
        return Reach::Whole;
    }
    let refuses = |rule: &&Rule| rule.effect == Effect::Deny;
    let (refusals, allowed): (Vec<&Rule>, Vec<&Rule>) = role.commands.iter().partition(refuses);
    if wanted.iter().any(|rule| refuses(&rule)) {
        return Reach::Unknown;
    }
    let mut shared = Vec::new();
    for own in &allowed {
        for rule in wanted {
            if **own == everything {
                shared.push(rule.clone());
            } else if own == &rule || (rule.any && rule.program.is_some() && own.program == rule.program) {
                shared.push((*own).clone());
            } else if own.program.is_none() || rule.program.is_none() || own.program == rule.program {
                return Reach::Unknown;
            }
        }
    }
    if shared.is_empty() {
        return Reach::Nothing;
    }
    if refusals.is_empty() && shared.len() == allowed.len() && allowed.iter().all(|own| shared.contains(own)) {
        return Reach::Whole;
    }
    // Refusals hold in the copy too, wherever they stood: one that an earlier rule overruled makes it narrower.
    let before_refusals = role.commands.iter().take_while(|rule| !refuses(rule)).count() == allowed.len();
    if !before_refusals {
        return Reach::Unknown;
    }
    shared.extend(refusals.into_iter().cloned());
    Reach::Part(Box::new(Role { commands: shared, ..role.clone() }))
}
