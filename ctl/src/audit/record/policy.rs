//! Shows the record of a policy to people: what changed, in which files, and who used the policy first.

use serde_json::{Map, Value};

use super::plain;
use crate::when;

/// The maximum number of files, and of roles, named in one line.
const NAMED: usize = 3;

/// How many characters of a role's digest are shown.
const SHORT: usize = 12;

/// `role web added; /etc/jit-sudo/policy.d/web.toml (owner root), first used by alice, loginuid 1000`. The user who first
/// used the policy need not be the one who changed it.
pub(super) fn summary(fields: &Map<String, Value>) -> String {
    let loginuid = text(fields, "loginuid").map(|uid| format!("loginuid {uid}"));
    let who = text(fields, "caller").map(|caller| format!("first used by {caller}"));
    let whence = [files(fields), who, loginuid].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let said = roles(fields);
    if whence.is_empty() { said } else { format!("{said}; {whence}") }
}

/// A file or a role, with its digest.
pub(super) fn entry(entry: &Value, now: i64) -> String {
    let known = |names: &[&str], fields: &Map<String, Value>| fields.keys().all(|name| names.contains(&name.as_str()));
    let Some(fields) = entry.as_object() else { return plain(entry) };
    if fields.contains_key("role") && known(&["role", "role_digest", "sha256"], fields) {
        return role(fields);
    }
    if !known(&["path", "sha256", "change", "mtime", "uid"], fields) {
        return plain(entry);
    }
    let written = fields.get("mtime").and_then(Value::as_i64);
    let about = [
        text(fields, "change"),
        text(fields, "uid").map(|uid| format!("uid {uid}")),
        written.map(|micros| format!("written {}", when::short(micros.div_euclid(1_000_000), now))),
    ];
    let about = about.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let about = (!about.is_empty()).then(|| format!("({about})"));
    let parts = [text(fields, "path"), about, text(fields, "sha256")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `web-ops  text 7b076e99edae…  all 2d9a92b44c32…`: the digests of what the role allows and of the whole role. `--json`
/// shows them in full.
fn role(fields: &Map<String, Value>) -> String {
    let short = |name: &str, label: &str| {
        let digest = text(fields, name)?;
        let begin: String = digest.chars().take(SHORT).collect();
        let more = if begin == digest { "" } else { "…" };
        Some(format!("{label} {begin}{more}"))
    };
    let parts = [text(fields, "role"), short("role_digest", "text"), short("sha256", "all")];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// Summarizes the changes of roles, naming the first ones.
fn roles(fields: &Map<String, Value>) -> String {
    let became = ["added", "changed", "removed"].into_iter().filter_map(|became| {
        let count = fields.get(&format!("{became}_count")).and_then(Value::as_u64).filter(|count| *count > 0)?;
        let entries = fields.get(became).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let names: Vec<String> =
            entries.iter().filter_map(|entry| text(entry.as_object()?, "role")).take(NAMED).collect();
        let roles = if count == 1 { "role" } else { "roles" };
        let more = count.saturating_sub(names.len() as u64);
        Some(match (names.is_empty(), more) {
            (true, _) => format!("{count} {roles} {became}"),
            (false, 0) => format!("{roles} {} {became}", names.join(", ")),
            (false, _) => format!("{roles} {} and {more} more {became}", names.join(", ")),
        })
    });
    let became = became.collect::<Vec<_>>().join(", ");
    if became.is_empty() { "no role changed".to_owned() } else { became }
}

/// Returns the changed files with their owners.
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
    let owner = |uid: &String| if uid == "0" { "root".to_owned() } else { format!("uid {uid}") };
    let owners = owners.iter().map(owner).collect::<Vec<_>>().join(", ");
    let owners = if owners.is_empty() { owners } else { format!(" (owner {owners})") };
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
    fn a_policy_record_is_summarized_in_one_line() {
        let body = r#"{"added_count":3,"changed_count":1,"removed_count":0,"caller":"alice","loginuid":1000,"files":[
            {"path":"/etc/jit-sudo/policy.toml","uid":0,"mtime":5},
            {"path":"/etc/jit-sudo/policy.d/web.toml","uid":0,"mtime":5,"change":"added"}]}"#;
        let expected = "3 roles added, 1 role changed; /etc/jit-sudo/policy.d/web.toml (owner root), first used by alice, loginuid 1000";
        assert_eq!(said(body), expected);
        let body = r#"{"added_count":1,"caller":"alice","added":[{"role":"backdoor","sha256":"ab"}],"files":[
            {"path":"/etc/s.toml","uid":0,"mtime":5,"change":"added"}]}"#;
        assert_eq!(said(body), "role backdoor added; /etc/s.toml (owner root), first used by alice");
        let body = r#"{"removed_count":9,"removed":[{"role":"a"},{"role":"b"},{"role":"c"},{"role":"d"}]}"#;
        assert_eq!(said(body), "roles a, b, c and 6 more removed");
        let body = r#"{"removed_count":1,"files":[{"path":"/a","change":"removed"}]}"#;
        assert_eq!(said(body), "1 role removed; /a");
        let many: Vec<String> =
            (0..9).map(|n| format!(r#"{{"path":"/{n}\u001b","change":"changed","uid":0}}"#)).collect();
        let body = format!(r#"{{"added_count":"x","files":[{}]}}"#, many.join(","));
        let told = said(&body);
        assert!(told.starts_with("no role changed; /0") && told.ends_with(" and 6 more (owner root)"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
        assert_eq!(said("{}"), "no role changed");
    }

    #[test]
    fn an_entry_shows_all_its_fields() {
        let shown = |text: &str| entry(&serde_json::from_str(text).unwrap(), 0);
        assert_eq!(shown(r#"{"role":"web-ops","sha256":"ab"}"#), "web-ops  all ab");
        let digests = [("7b076e99edae", "c2"), ("2d9a92b44c32", "d3")].map(|(one, two)| format!("{one}{two}"));
        let text = format!(r#"{{"role":"admin","role_digest":"{}","sha256":"{}"}}"#, digests[0], digests[1]);
        assert_eq!(shown(&text), "admin  text 7b076e99edae…  all 2d9a92b44c32…");
        assert!(shown(r#"{"role":"a","mtime":1}"#).contains("mtime"), "a role has no time");
        let file = shown(r#"{"path":"/a","sha256":"ab","change":"changed","uid":0,"mtime":1000000}"#);
        assert!(file.starts_with("/a (changed, uid 0, written ") && file.ends_with(") ab"), "{file}");
        assert!(shown(r#"{"path":"/a","novel":1}"#).contains("novel"));
        assert_eq!(shown("7"), "7");
    }
}
