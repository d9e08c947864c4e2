//! Writes the policy as readable TOML: with the origin of each role, and only the keys that differ from the defaults.

use std::collections::BTreeMap;

use super::defaults::{Settings, toml_list};
use super::role::Role;
use super::toml::entry;
use super::tree::Position;

/// How users get the roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum People {
    /// They have standing assignments, as in sudo.
    Standing,
    /// They are eligible and activate them; only root has standing assignments.
    Eligible,
}

/// The maximum length of a line in a list.
const WIDTH: usize = 110;

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
    let ordered = roles.len() > 1 && needs_order(roles);
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut last: Option<&Position> = None;
    for (index, role) in roles.iter().enumerate() {
        text.push('\n');
        if last != Some(&role.place) {
            text.push_str(&format!("# {}\n", role.place));
        }
        last = Some(&role.place);
        text.push_str(&format!("[roles.{}]\n", name(role, &mut names)));
        lines(keys(role, people, ordered.then_some((index + 1) * 10)), &mut text);
    }
    text
}

/// Returns whether the order of the roles matters.
fn needs_order(roles: &[Role]) -> bool {
    let mut terms = roles.iter().filter_map(|role| role.terms.as_ref());
    let first = terms.next();
    roles.iter().any(Role::refuses) || terms.any(|other| Some(other) != first)
}

/// Returns a unique name, in quotes if it contains a dot.
fn name(role: &Role, names: &mut BTreeMap<String, usize>) -> String {
    let mut name = role.name.clone();
    loop {
        let count = names.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            return if name.contains('.') { format!("\"{name}\"") } else { name };
        }
        // Another role may already have this name.
        name = format!("{}-{count}", role.name);
    }
}

fn keys(role: &Role, people: People, order: Option<usize>) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    let mut add = |key: &str, value: String| keys.push((key.to_owned(), value));
    let root = role.users.iter().all(|user| user == "root" || user == "#0");
    let assignment = if people == People::Standing || root { "standing" } else { "eligible" };
    add(assignment, toml_list(&role.users));
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
        add(key, value.clone());
    }
    if let Some(order) = order {
        add("order", order.to_string());
    }
    let rules: Vec<&str> = role.commands.iter().map(|rule| rule.toml.as_str()).collect();
    let short = format!("[{}]", rules.join(", "));
    let commands = if short.len() <= WIDTH { short } else { format!("[\n  {},\n]", rules.join(",\n  ")) };
    add("commands", commands);
    keys
}

/// Writes keys and values with aligned equals signs.
fn lines(keys: Vec<(String, String)>, text: &mut String) {
    let width = keys.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in keys {
        text.push_str(&entry(&format!("{key:width$}"), &value));
        text.push('\n');
    }
}
