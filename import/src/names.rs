//! Names the roles by what they are: who has them, and where somebody has several, what they allow.

use std::collections::BTreeMap;

use super::command::{Effect, Rule};
use super::role::Role;

/// The maximum length of a name.
const LONGEST: usize = 60;

/// Returns a unique name for each role.
pub(super) fn names(roles: &[Role]) -> Vec<String> {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for role in roles {
        *owners.entry(&role.name).or_default() += 1;
    }
    let said: Vec<String> = roles
        .iter()
        .map(|role| match (owners.get(role.name.as_str()), subject(role)) {
            (Some(1), _) | (_, None) => role.name.clone(),
            (_, Some(subject)) => shortened(&format!("{}-{subject}", role.name)),
        })
        .collect();
    let mut alike: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &said {
        *alike.entry(name).or_default() += 1;
    }
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    let described = roles.iter().zip(&said).map(|(role, name)| match alike.get(name.as_str()) {
        Some(1) => name.clone(),
        _ => with_setting(name, role),
    });
    described.map(|name| unique(name, &mut used)).collect()
}

/// Adds a number if another role has the name.
fn unique(name: String, used: &mut BTreeMap<String, usize>) -> String {
    let mut tried = name.clone();
    loop {
        let count = used.entry(tried.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            return tried;
        }
        // Another role may already have this name.
        tried = format!("{name}-{count}");
    }
}

/// Returns what the role allows; `None` for every command as root or as anybody.
fn subject(role: &Role) -> Option<String> {
    let programs = programs(role);
    let run_as = match role.run_as.as_slice() {
        [one] if one == "root" || one == "ALL" => None,
        [one] if one == "!ALL" => Some("as-group".to_owned()),
        [first, ..] => Some(format!("as-{}", plain(first))),
        [] => None,
    };
    match (programs, run_as) {
        (None, run_as) => run_as,
        (Some(programs), None) => Some(programs),
        (Some(programs), Some(run_as)) => Some(format!("{programs}-{run_as}")),
    }
}

fn programs(role: &Role) -> Option<String> {
    if let Some(alias) = &role.from_alias {
        return Some(plain(alias).to_lowercase().replace('_', "-"));
    }
    let allowed: Vec<&Rule> = role.commands.iter().filter(|rule| rule.effect == Effect::Allow).collect();
    if allowed.is_empty() {
        return Some("denied".to_owned());
    }
    if allowed.iter().any(|rule| rule.is_everything()) {
        return None;
    }
    let mut called: Vec<String> = Vec::new();
    for rule in &allowed {
        let name = program_name(rule);
        if !called.contains(&name) {
            called.push(name);
        }
    }
    match called.as_slice() {
        [one] => Some(match action(&allowed) {
            Some(action) => format!("{one}-{action}"),
            None => one.clone(),
        }),
        [one, other] => Some(format!("{one}-{other}")),
        [one, other, ..] => Some(format!("{one}-{other}-etc")),
        [] => None,
    }
}

/// Returns the base name of the program; of editing, that of the file.
fn program_name(rule: &Rule) -> String {
    let path = rule.of.path.as_str();
    if path == "sudoedit" {
        let file = rule.of.args.as_deref().and_then(|args| args.rsplit('/').find(|part| !plain(part).is_empty()));
        return file.map_or_else(|| "edit".to_owned(), |file| format!("edit-{}", plain(file)));
    }
    let part = path.rsplit('/').map(plain).find(|part| !part.is_empty());
    part.unwrap_or_else(|| "commands".to_owned())
}

/// Returns the words that all commands begin with after the program, such as `restart`.
fn action(rules: &[&Rule]) -> Option<String> {
    let word = |rule: &Rule, index: usize| {
        let word = rule.of.args.as_deref()?.split(' ').nth(index)?;
        let named = word.len() < 20 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
        (named && !word.starts_with('-')).then(|| plain(word))
    };
    let common = |index| {
        let first = word(rules.first()?, index)?;
        rules.iter().all(|rule| word(rule, index).as_ref() == Some(&first)).then_some(first)
    };
    let first = common(0)?;
    Some(match common(1) {
        Some(second) => format!("{first}-{second}"),
        None => first,
    })
}

/// Adds the setting that distinguishes a role from one with the same users and commands.
fn with_setting(name: &str, role: &Role) -> String {
    let said =
        |key: &str, value: &str| role.terms.as_ref().and_then(|terms| terms.get(key)).is_some_and(|said| said == value);
    if said("authenticate", "false") {
        format!("{name}-nopasswd")
    } else if said("noexec", "true") {
        format!("{name}-noexec")
    } else {
        name.to_owned()
    }
}

fn plain(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    text.chars().map(allowed).collect::<String>().trim_matches(['.', '_', '-']).to_owned()
}

fn shortened(name: &str) -> String {
    let name: String = name.chars().take(LONGEST).collect();
    name.trim_end_matches(['.', '_', '-']).to_owned()
}
