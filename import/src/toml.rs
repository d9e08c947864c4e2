//! Formats texts as TOML, and checks whether the policy accepts a key.

use jit_core::policy::{Policy, PolicyReader, PolicyText, Role, Settings};

use super::terms::Terms;

/// Returns a TOML string: basic, or literal if that needs no backslashes.
pub(super) fn quoted(text: &str) -> String {
    let literal = text.contains(['\\', '"']) && !text.contains('\'') && !text.chars().any(char::is_control);
    if literal {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Returns `key = value`.
pub(super) fn entry(key: &str, value: &str) -> String {
    format!("{key} = {value}")
}

/// Checks that the policy accepts this text; the error is its message.
pub(super) fn accepted(text: &str) -> Result<(), String> {
    policy(text).map(|_| ())
}

/// Returns what a role with these keys is, below these of `[defaults]`; the error is the parser's message.
pub(super) fn role(defaults: &Terms, terms: &Terms) -> Result<Vec<Role>, String> {
    // The role comes first, so that its position is always the same.
    let text = format!("[roles.x]\ncommands = \"ALL\"\n{}[defaults]\n{}", entries(terms), entries(defaults));
    policy(&text).map(|policy| policy.roles().to_vec())
}

/// Returns the settings with these keys of `[defaults]`, and what a role without keys is.
pub(super) fn defaults(keys: &Terms) -> Result<(Settings, Vec<Role>), String> {
    let policy = policy(&format!("[roles.x]\ncommands = \"ALL\"\n[defaults]\n{}", entries(keys)))?;
    Ok((policy.settings().clone(), policy.roles().to_vec()))
}

fn entries(terms: &Terms) -> String {
    terms.iter().map(|(key, value)| format!("{}\n", entry(key, value))).collect()
}

/// Parses this text as a policy.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    let files = [PolicyText { path: "policy".into(), text: text.to_owned() }];
    // Without the position, which is in a text that the user does not see.
    Policy::parse(&files).map_err(|error| error.cause().told_to(&PolicyReader::of(&files)).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_round_trips() {
        for text in ["", "a", "a\"b", "a\\b", "a'b\\", "\u{1b}\n\u{7f}", "é\"'\\"] {
            let line = format!("x = {}", quoted(text));
            let table: std::collections::BTreeMap<String, String> = ::toml::from_str(&line).unwrap();
            assert_eq!(table.get("x").map(String::as_str), Some(text), "{line}");
        }
    }
}
