//! Selects records for a listing by their contents. This module touches no database.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::escape::Word;
use crate::names::RoleName;

/// The required contents of a record; an absent field matches any record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Only records that name this role, and `policy` records that change it.
    pub role: Option<RoleName>,
    /// Only records whose command line contains this text.
    pub command: Option<Word>,
    /// Only records of this host.
    pub host: Option<Word>,
    /// Only ends of runs with this status.
    pub status: Option<Status>,
    /// Only records that contain this text in any value except the environment, ignoring ASCII case.
    pub text: Option<Word>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// With this exit status.
    Exit(i64),
    /// With another exit status than 0, or by a signal.
    Failed,
    /// By a signal.
    Signal,
    /// For this reason; see [`super::record::EndedBy`].
    EndedBy(String),
}

/// Keys that are not searched: their values are no text of a user, or too long.
const UNSEARCHED: [&str; 15] = [
    "environment",
    "prev",
    "boot_id",
    "sha256",
    "kind",
    "head",
    "assignment",
    "policy",
    "policies",
    "replaces",
    "added_sha256",
    "changed_sha256",
    "removed_sha256",
    "roles_sha256",
    "settings_sha256",
];

/// The lists of roles in a `policy` record.
const ROLE_LISTS: [&str; 3] = ["added", "changed", "removed"];

impl Status {
    /// Parses a number, `failed`, `signal`, or a value of `ended_by`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "failed" => Some(Self::Failed),
            "signal" => Some(Self::Signal),
            "expiry" | "revocation" | "release" | "not-executed" | "lost" | "itself" => {
                Some(Self::EndedBy(text.to_owned()))
            }
            number => number.parse().ok().map(Self::Exit),
        }
    }

    fn fits(&self, record: &Map<String, Value>) -> bool {
        let number = |key: &str| record.get(key).and_then(Value::as_i64);
        match self {
            Self::Exit(status) => number("exit") == Some(*status),
            Self::Failed => number("exit").is_some_and(|status| status != 0) || number("signal").is_some(),
            Self::Signal => number("signal").is_some(),
            Self::EndedBy(why) => record.get("ended_by").and_then(Value::as_str) == Some(why),
        }
    }
}

impl Words {
    /// Returns whether every record matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the record with these bytes matches; false when it cannot be parsed.
    pub fn fit(&self, body: &str) -> bool {
        if self.is_empty() {
            return true;
        }
        let Ok(record) = serde_json::from_str::<Map<String, Value>>(body) else { return false };
        let is = |key: &str, wanted: &str| record.get(key).and_then(Value::as_str) == Some(wanted);
        let same = |key: &str, word: &Option<Word>| word.as_ref().is_none_or(|word| is(key, &word.to_string()));
        self.role.as_ref().is_none_or(|role| is("role", role.as_str()) || lists_role(&record, role.as_str()))
            && same("host", &self.host)
            && self.status.as_ref().is_none_or(|status| status.fits(&record))
            && self
                .command
                .as_ref()
                .is_none_or(|part| line(&record).is_some_and(|line| line.contains(&part.to_string())))
            && self.text.as_ref().is_none_or(|text| {
                let text = text.to_string().to_ascii_lowercase();
                line(&record).is_some_and(|line| line.to_ascii_lowercase().contains(&text))
                    || fields_hold(&record, &text)
            })
    }
}

/// Returns the arguments of the command separated by single spaces, escaped as in the record.
fn line(record: &Map<String, Value>) -> Option<String> {
    let words: Vec<&str> = record.get("argv")?.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(words.join(" "))
}

fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(word) => word.to_ascii_lowercase().contains(text),
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(fields) => fields_hold(fields, text),
        _ => false,
    }
}

fn fields_hold(fields: &Map<String, Value>, text: &str) -> bool {
    fields.iter().any(|(key, value)| !UNSEARCHED.contains(&key.as_str()) && holds(value, text))
}

fn lists_role(record: &Map<String, Value>, role: &str) -> bool {
    let lists = ROLE_LISTS.iter().filter_map(|list| record.get(*list)?.as_array());
    lists.flatten().any(|entry| entry.get("role").and_then(Value::as_str) == Some(role))
}

/// A time span, µs, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Not before.
    pub since: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

impl Default for Span {
    fn default() -> Self {
        Self { since: Timestamp(i64::MIN), until: Timestamp(i64::MAX) }
    }
}

impl Span {
    /// Returns whether this time is in the span.
    pub fn holds(&self, at: i64) -> bool {
        (self.since.0..=self.until.0).contains(&at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"argv":["/usr/bin/systemctl","restart","a\\x0ab"],"environment":[{"name":"SECRETIVE","value":"needle"}],
        "host":"web1","kind":"start","role":"web-ops","user":"alice","cwd":"/srv/Data"}"#;
    const END: &str = r#"{"exit":3,"ended_by":"expiry","kind":"end","host":"web1"}"#;

    fn fits(body: &str, set: impl FnOnce(&mut Words)) -> bool {
        let mut words = Words::default();
        set(&mut words);
        words.fit(body)
    }

    #[test]
    fn a_record_must_match_every_condition() {
        assert!(Words::default().fit("not even json"));
        assert!(fits(START, |words| words.role = RoleName::parse("web-ops").ok()));
        assert!(!fits(END, |words| words.role = RoleName::parse("web-ops").ok()));
        assert!(fits(START, |words| words.command = Some("systemctl restart".into())));
        assert!(!fits(START, |words| words.command = Some("Systemctl".into())));
        assert!(fits(START, |words| words.command = Some("a\nb".into())));
        assert!(!fits(START, |words| words.host = Some("web".into())));
        assert!(fits(END, |words| words.host = Some("web1".into())));
        assert!(!fits("[]", |words| words.host = Some("web1".into())));
    }

    #[test]
    fn a_text_is_found_in_any_value_except_environments() {
        for (text, found) in [
            ("DATA", true),
            ("alice", true),
            ("restart a\nb", true),
            ("needle", false),
            ("start", true),
            ("bob", false),
        ] {
            assert_eq!(fits(START, |words| words.text = Some(text.into())), found, "{text}");
        }
    }

    #[test]
    fn a_policy_record_is_found_by_changed_roles_and_not_by_digests() {
        let body = r#"{"kind":"policy","policy":"ab12","added":[{"role":"web-ops","sha256":"beef"}],"removed":[{"role":"dba"}],
            "files":[{"path":"/etc/jit-sudo/policy.toml","sha256":"cafe","change":"changed"}],"host":"web1"}"#;
        for (role, found) in [("web-ops", true), ("dba", true), ("web", false)] {
            assert_eq!(fits(body, |words| words.role = RoleName::parse(role).ok()), found, "{role}");
        }
        for (text, found) in
            [("policy.toml", true), ("WEB-OPS", true), ("beef", false), ("cafe", false), ("ab12", false)]
        {
            assert_eq!(fits(body, |words| words.text = Some(text.into())), found, "{text}");
        }
    }

    #[test]
    fn a_status_is_a_number_or_a_reason() {
        for (status, found) in [("3", true), ("0", false), ("failed", true), ("signal", false), ("expiry", true)] {
            assert_eq!(fits(END, |words| words.status = Status::parse(status)), found, "{status}");
        }
        assert!(!fits(START, |words| words.status = Status::parse("failed")));
        assert_eq!(Status::parse("soon"), None);
    }
}
