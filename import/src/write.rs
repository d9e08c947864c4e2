//! Writes the policy as readable TOML: with the origin of each role, and only the keys that differ from the defaults.

use super::command::Effect;
use super::defaults::toml_list;
use super::role::Role;
use super::settings::Settings;
use super::terms::{People, Terms};
use super::toml::{entry, quoted};
use super::tree::Position;
use super::{fold, names};

/// The maximum length of a line in a list.
const WIDTH: usize = 110;

/// The highest `order`.
const HIGHEST: u32 = 1_000_000;

/// Returns the whole file.
pub(super) fn policy(
    source: &str,
    untrusted: &[String],
    settings: &Settings,
    roles: &[Role],
    people: People,
) -> String {
    let mut text = format!("# What {source} allows, converted by `jitctl policy import`.\n");
    for line in untrusted {
        text.push_str(&format!("# WARNING: {line}, so sudo would not read it.\n"));
    }
    text.push_str("# Review it, then test it: jitctl policy check FILE; jitctl policy test --policy FILE -- COMMAND\n");
    if !settings.keys.is_empty() {
        text.push_str("\n[defaults]\n");
        lines(settings.keys.iter().map(|(key, value)| (key.clone(), value.clone())).collect(), &mut text);
    }
    let levels = fold::levels(roles, people);
    let mut last: &[Position] = &[];
    for ((role, name), level) in roles.iter().zip(names::names(roles)).zip(levels) {
        text.push('\n');
        if last != role.places {
            let places: Vec<String> = role.places.iter().map(ToString::to_string).collect();
            text.push_str(&format!("# {}\n", places.join(", ")));
        }
        last = &role.places;
        text.push_str(&format!("[roles.{}]\n", if name.contains('.') { quoted(&name) } else { name }));
        lines(keys(role, people, settings, level), &mut text);
    }
    text
}

/// Returns a policy with this role only.
pub(super) fn role(role: &Role) -> String {
    let mut text = "[roles.x]\n".to_owned();
    let settings = Settings { runas_default: String::new(), keys: Terms::new() };
    lines(keys(role, People::Standing, &settings, 0), &mut text);
    text
}

fn keys(role: &Role, people: People, settings: &Settings, level: u32) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    let mut add = |key: &str, value: String| keys.push((key.to_owned(), value));
    let plain = role.users.iter().all(|user| !user.starts_with('!'));
    let (root, others): (Vec<String>, Vec<String>) =
        role.users.iter().cloned().partition(|user| people == People::Standing || plain && fold::is_root_user(user));
    for (assignment, users) in [("standing", root), ("eligible", others)] {
        if !users.is_empty() {
            add(assignment, toml_list(&users));
        }
    }
    if *role.hosts != ["ALL"] {
        add("hosts", toml_list(&role.hosts));
    }
    if *role.run_as != ["root"] {
        add("run_as", if *role.run_as == ["ALL"] { "\"ALL\"".to_owned() } else { toml_list(&role.run_as) });
    }
    if !role.run_as_groups.is_empty() {
        let all = *role.run_as_groups == ["ALL"];
        add("run_as_groups", if all { "\"ALL\"".to_owned() } else { toml_list(&role.run_as_groups) });
    }
    for (key, value) in role.terms.iter().flatten() {
        // A role that allows every command has it without the key.
        if key != "setenv" || value != "true" || settings.keys.contains_key(key) || !allows_everything(role) {
            add(key, value.clone());
        }
    }
    if level > 0 {
        add("order", (level * 10).min(HIGHEST).to_string());
    }
    let rules: Vec<&str> = role.commands.iter().map(|rule| rule.toml.as_str()).collect();
    let short = format!("[{}]", rules.join(", "));
    let commands = if short.len() <= WIDTH { short } else { format!("[\n  {},\n]", rules.join(",\n  ")) };
    add("commands", commands);
    keys
}

fn allows_everything(role: &Role) -> bool {
    role.commands.iter().rev().find(|rule| rule.is_everything()).is_some_and(|rule| rule.effect == Effect::Allow)
}

/// Writes keys and values with aligned equals signs.
fn lines(keys: Vec<(String, String)>, text: &mut String) {
    let width = keys.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in keys {
        text.push_str(&entry(&format!("{key:width$}"), &value));
        text.push('\n');
    }
}
