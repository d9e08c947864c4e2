//! The record of a policy for people: what it changes, in which files, and who met it first.

use serde_json::{Map, Value};

use super::plain;
use crate::when;

/// So many files are named in one line.
const NAMED: usize = 3;

/// `3 roles added, 1 changed: /etc/jit-sudo/policy.d/web.toml by uid 0; compiled for alice, loginuid 1000`.
pub(super) fn summary(fields: &Map<String, Value>) -> String {
    let parts = [Some(roles(fields)), files(fields)];
    let said = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let who = [text(fields, "caller"), text(fields, "loginuid").map(|uid| format!("loginuid {uid}"))];
    let who = who.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if who.is_empty() { said } else { format!("{said}; compiled for {who}") }
}

/// A file or a role, with its digest.
pub(super) fn entry(entry: &Value, now: i64) -> String {
    let known = |name: &&String| ["path", "role", "sha256", "change", "mtime", "uid"].contains(&name.as_str());
    let Some(fields) = entry.as_object().filter(|fields| fields.keys().all(|name| known(&name))) else {
        return plain(entry);
    };
    let written = fields.get("mtime").and_then(Value::as_i64);
    let about = [
        text(fields, "change"),
        text(fields, "uid").map(|uid| format!("uid {uid}")),
        written.map(|micros| format!("written {}", when::short(micros.div_euclid(1_000_000), now))),
    ];
    let about = about.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let about = (!about.is_empty()).then(|| format!("({about})"));
    let parts = [text(fields, "path").or_else(|| text(fields, "role")), about, text(fields, "sha256")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn roles(fields: &Map<String, Value>) -> String {
    let count = |name: &str| fields.get(name).and_then(Value::as_u64).filter(|count| *count > 0);
    let counts = [("added_count", "added"), ("changed_count", "changed"), ("removed_count", "removed")];
    let mut parts = counts.into_iter().filter_map(|(name, became)| Some((count(name)?, became)));
    let Some((first, became)) = parts.next() else { return "no role changed".to_owned() };
    let roles = if first == 1 { "role" } else { "roles" };
    parts.fold(format!("{first} {roles} {became}"), |said, (count, became)| format!("{said}, {count} {became}"))
}

/// Those that changed, and whose they are.
fn files(fields: &Map<String, Value>) -> Option<String> {
    let entries = fields.get("files")?.as_array()?.iter().filter_map(Value::as_object);
    let changed: Vec<_> = entries.filter(|entry| entry.contains_key("change")).collect();
    let path = |entry: &&Map<String, Value>| text(entry, "path");
    let mut named = changed.iter().filter_map(path).take(NAMED).collect::<Vec<_>>().join(", ");
    if changed.len() > NAMED {
        named.push_str(&format!(" and {} more", changed.len() - NAMED));
    }
    let mut owners: Vec<String> = changed.iter().filter_map(|entry| text(entry, "uid")).collect();
    owners.sort_unstable();
    owners.dedup();
    let owners = if owners.is_empty() { String::new() } else { format!(" by uid {}", owners.join(", ")) };
    (!named.is_empty()).then(|| format!("{named}{owners}"))
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).filter(|value| !value.is_null()).map(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> String {
        summary(&serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_policy_is_told_in_one_line() {
        let body = r#"{"added_count":3,"changed_count":1,"removed_count":0,"caller":"alice","loginuid":1000,"files":[
            {"path":"/etc/jit-sudo/policy.toml","uid":0,"mtime":5},
            {"path":"/etc/jit-sudo/policy.d/web.toml","uid":0,"mtime":5,"change":"added"}]}"#;
        let expected =
            "3 roles added, 1 changed: /etc/jit-sudo/policy.d/web.toml by uid 0; compiled for alice, loginuid 1000";
        assert_eq!(said(body), expected);
        let body = r#"{"removed_count":1,"files":[{"path":"/a","change":"removed"}]}"#;
        assert_eq!(said(body), "1 role removed: /a");
        let many: Vec<String> =
            (0..9).map(|n| format!(r#"{{"path":"/{n}\u001b","change":"changed","uid":0}}"#)).collect();
        let body = format!(r#"{{"added_count":"x","files":[{}]}}"#, many.join(","));
        let told = said(&body);
        assert!(told.starts_with("no role changed: /0") && told.ends_with(" and 6 more by uid 0"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
        assert_eq!(said("{}"), "no role changed");
    }

    #[test]
    fn an_entry_shows_all_that_it_has() {
        let shown = |text: &str| entry(&serde_json::from_str(text).unwrap(), 0);
        assert_eq!(shown(r#"{"role":"web-ops","sha256":"ab"}"#), "web-ops ab");
        let file = shown(r#"{"path":"/a","sha256":"ab","change":"changed","uid":0,"mtime":1000000}"#);
        assert!(file.starts_with("/a (changed, uid 0, written ") && file.ends_with(") ab"), "{file}");
        assert!(shown(r#"{"path":"/a","novel":1}"#).contains("novel"));
        assert_eq!(shown("7"), "7");
    }
}
