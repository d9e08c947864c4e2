//! Compares jit-sudo-policy(5) with the tables of keys and the built-in defaults.

use std::collections::BTreeSet;

use super::*;

const MANUAL: &str = include_str!("../../../../docs/man/jit-sudo-policy.5");

#[test]
fn the_manual_documents_exactly_the_known_keys() {
    let headings = MANUAL.lines().filter_map(|line| line.strip_prefix(".It Cm ")).flat_map(|line| line.split(" , "));
    let described: BTreeSet<&str> = headings.collect();
    let tables =
        [file::DEFAULTS, audit_file::KEYS, role_file::ROLE, role_file::ACTIVATION, role_file::RULE, options::OPTIONS];
    let known: BTreeSet<&str> = tables.into_iter().flatten().copied().filter(|key| *key != "activation").collect();
    assert_eq!(described, known);
}

#[test]
fn setting_a_documented_default_changes_nothing() {
    let shown = |table: &str, line: &str| {
        let policy = policy(&format!("{}[{table}]\n{line}\n", with("")));
        format!("{:?} {:?}", policy.settings(), policy.roles())
    };
    let mut compared = 0;
    for (section, table) in [("DEFAULTS", "defaults"), ("AUDIT", "audit"), ("OPTIONS", "defaults")] {
        let (_, rest) = MANUAL.split_once(&format!(".Sh {section}\n")).unwrap();
        let text = rest.split("\n.Sh ").next().unwrap();
        for item in text.split(".It Cm ").skip(1) {
            let (keys, body) = item.split_once('\n').unwrap();
            let Some(value) = stated(body) else { continue };
            // These have no effect without a file, or one of them differs and the page says so.
            for key in keys.split(" , ").filter(|key| !key.starts_with("json_file_") && !key.starts_with("rlimit_")) {
                let same = shown(table, &format!("{key} = {value}")) == shown(table, "");
                assert!(same, "{key} = {value} is not the default");
                compared += 1;
            }
        }
    }
    assert!(compared > 35, "only {compared} defaults were found");
}

/// Returns the default that a description states, as TOML; `None` if it is described in words.
fn stated(body: &str) -> Option<String> {
    let mut lines =
        body.lines().skip_while(|line| !line.starts_with("Default") && *line != "Replaces the default list:");
    let line = lines.next()?;
    if line.ends_with(':') {
        let entries = lines.map_while(|line| line.strip_prefix(".Ev ").or(line.strip_prefix(".Ql ")));
        let names: Vec<String> =
            entries.flat_map(|line| line.split(' ')).filter(|word| word.len() > 1).map(quoted).collect();
        return Some(format!("[{}]", names.join(", ")));
    }
    match line.strip_prefix("Default ").map(|word| word.trim_end_matches('.')) {
        Some("no") => Some("false".to_owned()),
        Some(plain) if plain == "true" || plain == "false" || plain.parse::<u32>().is_ok() => Some(plain.to_owned()),
        Some(_) => None,
        None => {
            // If more follows after a comma, the default is described in words.
            let value = lines.next()?.strip_suffix(" .")?;
            let value = value.trim_start_matches(".Ql ").trim_start_matches(".Pa ").replace("\\(dq", "\"");
            Some(quoted(value.trim_matches('"')))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
