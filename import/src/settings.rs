//! The settings for the whole file, and what a key of a role changes below them: the policy's own parser decides.

use std::collections::BTreeMap;

use super::role::Role;
use super::terms::Terms;
use super::toml;

/// The settings for the whole file.
#[derive(Debug)]
pub(super) struct Settings {
    /// The run-as user of a rule without a runas list.
    pub(super) runas_default: String,
    /// `[defaults]`: keys with their values in TOML.
    pub(super) keys: Terms,
}

/// Settings of the environment that are lists.
pub(super) const LISTS: [&str; 3] = ["env_check", "env_delete", "env_keep"];

impl Settings {
    /// Returns those of the keys that change a role with these terms.
    pub(super) fn changing(&self, terms: &Terms, keys: &Terms) -> Terms {
        let before = toml::role(&self.keys, terms);
        let changes = |key: &String, value: &String| {
            let mut after = terms.clone();
            add_term(&mut after, key, value);
            toml::role(&self.keys, &after) != before
        };
        keys.iter()
            .filter(|(key, value)| changes(key, value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Removes the terms that only say what the roles do without them.
    pub(super) fn tidy(&self, roles: &mut [Role]) {
        let mut known: BTreeMap<Terms, Terms> = BTreeMap::new();
        for terms in roles.iter_mut().filter_map(|role| role.terms.as_mut()).filter(|terms| !terms.is_empty()) {
            let tidied =
                known.entry(terms.clone()).or_insert_with(|| needed(terms, |terms| toml::role(&self.keys, terms)));
            terms.clone_from(tidied);
        }
    }
}

/// Returns the keys without which the result would be another one.
pub(super) fn needed<T: PartialEq>(terms: &Terms, result: impl Fn(&Terms) -> T) -> Terms {
    let mut kept = terms.clone();
    let full = result(&kept);
    for key in terms.keys() {
        let value = kept.remove(key);
        if result(&kept) != full {
            kept.extend(value.map(|value| (key.clone(), value)));
        }
    }
    kept
}

/// Sets a key; a list is continued, because its entries change that of `[defaults]` one after the other.
pub(super) fn add_term(terms: &mut Terms, key: &str, value: &str) {
    let list = |text: &str| text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).map(str::to_owned);
    let before = terms.get(key).filter(|_| LISTS.contains(&key)).and_then(|text| list(text));
    let value = match (before, list(value)) {
        (Some(before), Some(more)) => format!("[{before}, {more}]"),
        _ => value.to_owned(),
    };
    terms.insert(key.to_owned(), value);
}
