//! One record for people. It knows the usual fields by name, and shows those that it does not know as they are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use jit_sudo::broker::wire::RecordInfo;
use jit_sudo::escape::{command_line, unescape};
use serde_json::{Map, Value};

use crate::screen::clean;
use crate::table::Fields;
use crate::when;

/// Fields that every record has; summaries leave them out.
const COMMON: [&str; 8] = ["seq", "prev", "time", "boot", "boot_id", "host", "kind", "version"];

/// The order in which details are shown; all others follow by name, the chain's own come last.
const ORDER: [&str; 34] = [
    "time",
    "host",
    "run",
    "start",
    "id",
    "grant",
    "user",
    "uid",
    "gid",
    "groups",
    "tty",
    "cwd",
    "pid",
    "run_as",
    "run_as_uid",
    "run_as_gid",
    "run_as_groups",
    "role",
    "assignment",
    "authenticated",
    "path",
    "dev",
    "ino",
    "argv",
    "command",
    "reason",
    "status",
    "signal",
    "core",
    "ended_by",
    "duration_us",
    "user_us",
    "system_us",
    "max_rss_kib",
];

/// A record as the broker gave it.
pub(super) struct Record<'a> {
    info: &'a RecordInfo,
    /// Empty when the body is not one JSON object.
    fields: Map<String, Value>,
}

impl<'a> Record<'a> {
    /// Reads the body; a body that cannot be read is shown as it is.
    pub(super) fn read(info: &'a RecordInfo) -> Self {
        Self { info, fields: serde_json::from_str(&info.body).unwrap_or_default() }
    }

    /// `start`, `end`, …
    pub(super) fn kind(&self) -> String {
        self.text("kind").unwrap_or_else(|| "unreadable".to_owned())
    }

    /// When, for tables.
    pub(super) fn time(&self, now: i64) -> String {
        self.seconds().map(|time| when::short(time, now)).unwrap_or_else(|| "-".to_owned())
    }

    /// Who did it.
    pub(super) fn user(&self) -> String {
        let names = ["user", "approver", "requester", "by", "uid"];
        names.iter().find_map(|name| self.text(name)).unwrap_or_else(|| "-".to_owned())
    }

    /// What happened in one line.
    pub(super) fn summary(&self) -> String {
        if self.fields.is_empty() {
            return clean(&self.info.body);
        }
        match self.kind().as_str() {
            "start" => format!("{} as {}: {}", self.or_dash("run"), self.or_dash("run_as"), self.command()),
            "end" => self.end_summary(),
            "reject" => format!("{}: {}", self.or_dash("sentence"), self.command()),
            _ => self.generic_summary(),
        }
    }

    /// Everything, one field a line.
    pub(super) fn details(&self, now: i64) -> String {
        let mut fields = Fields::default();
        fields.add("record", format!("{} ({})", self.info.seq, self.kind()));
        if self.fields.is_empty() {
            fields.add("body", &self.info.body);
        }
        for name in ORDER.iter().filter(|name| self.fields.contains_key(**name)) {
            self.detail(&mut fields, name, now);
        }
        let late = |name: &str| ["environment", "prev", "seq", "kind", "boot", "boot_id", "version"].contains(&name);
        for name in self.fields.keys().filter(|name| !ORDER.contains(&name.as_str()) && !late(name)) {
            self.detail(&mut fields, name, now);
        }
        for name in ["environment", "boot", "boot_id", "version", "prev"] {
            self.detail(&mut fields, name, now);
        }
        // The record's own number and kind are in the first line, unless they contradict the journal's.
        if self.fields.get("seq").is_some_and(|seq| seq.as_u64() != Some(self.info.seq)) {
            fields.add("seq in body", self.or_dash("seq"));
        }
        fields.add("hash", &self.info.hash);
        fields.render()
    }

    fn detail(&self, fields: &mut Fields, name: &str, now: i64) {
        let Some(value) = self.fields.get(name) else { return };
        let label = name.strip_suffix("_us").or_else(|| name.strip_suffix("_kib")).unwrap_or(name).replace('_', " ");
        match (name, value) {
            ("time", Value::Number(micros)) => {
                let exact = micros.as_i64().map(|micros| when::long(micros.div_euclid(1_000_000), now));
                fields.add(&label, exact.unwrap_or_else(|| micros.to_string()));
            }
            ("argv" | "command", Value::Array(words)) => {
                fields.add(&label, words_line(words));
                for (index, word) in words.iter().enumerate() {
                    fields.add(&format!("  word {index}"), plain(word));
                }
            }
            ("environment", Value::Array(entries)) => {
                fields.add(&label, format!("{} variables", entries.len()));
                for entry in entries {
                    fields.add("", variable(entry));
                }
            }
            (_, Value::Number(number)) if name.ends_with("_us") && number.is_u64() => {
                fields.add(&label, when::duration_of_micros(number.as_u64().unwrap_or(0)));
            }
            (_, Value::Number(number)) if name.ends_with("_kib") => {
                fields.add(&label, format!("{number} KiB"));
            }
            (_, value) => {
                fields.add(&label, plain(value));
            }
        }
    }

    fn end_summary(&self) -> String {
        let outcome = match (self.text("signal"), self.text("status")) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(status)) => format!("exit status {status}"),
            (None, None) => "no status".to_owned(),
        };
        let time = self.fields.get("duration_us").and_then(Value::as_u64).map(when::duration_of_micros);
        let time = time.map(|time| format!(" after {time}")).unwrap_or_default();
        let by = self.text("ended_by").filter(|by| by != "itself").map(|by| format!(", ended by {by}"));
        format!("{}: {outcome}{time}{}", self.or_dash("run"), by.unwrap_or_default())
    }

    fn generic_summary(&self) -> String {
        let own = self.fields.iter().filter(|(name, _)| !COMMON.contains(&name.as_str()) && *name != "user");
        let words =
            own.filter(|(name, value)| *name != "uid" && *name != "sha256" && !value.is_null()).map(|(name, value)| {
                match (name.as_str(), value) {
                    ("argv" | "command", Value::Array(words)) => format!("{}={}", clean(name), words_line(words)),
                    _ => format!("{}={}", clean(name), plain(value)),
                }
            });
        words.collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> String {
        match self.fields.get("argv").or_else(|| self.fields.get("command")) {
            Some(Value::Array(words)) => words_line(words),
            Some(value) => plain(value),
            None => "-".to_owned(),
        }
    }

    fn seconds(&self) -> Option<i64> {
        self.fields.get("time")?.as_i64().map(|micros| micros.div_euclid(1_000_000))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.fields.get(name).filter(|value| !value.is_null()).map(plain)
    }

    fn or_dash(&self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| "-".to_owned())
    }
}

/// A value as text: strings cleaned, lists of plain values joined, everything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Array(values) if values.iter().all(|value| !value.is_array() && !value.is_object()) => {
            values.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        value => clean(&value.to_string()),
    }
}

/// Words of a record are escaped texts; one that is not is taken as it is.
fn words_line(words: &[Value]) -> String {
    command_line(words.iter().map(|word| match word.as_str() {
        Some(text) => OsString::from_vec(unescape(text).unwrap_or_else(|| text.as_bytes().to_vec())),
        None => OsString::from(word.to_string()),
    }))
}

/// `NAME=value`, or the name and the digest that stands for a secret value.
fn variable(entry: &Value) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(clean);
    let known = entry.as_object().is_some_and(|object| object.len() == 2);
    match (text("name"), text("value"), text("digest")) {
        (Some(name), Some(value), None) if known => format!("{name}={value}"),
        (Some(name), None, Some(digest)) if known => format!("{name} (redacted, digest {digest})"),
        _ => plain(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(body: &str) -> RecordInfo {
        RecordInfo { seq: 7, body: body.to_owned(), hash: "ab".repeat(32) }
    }

    const START: &str = r#"{"argv":["/bin/ls","a b","x\\x1by"],"environment":[{"name":"LANG","value":"C"},
        {"name":"API_TOKEN","digest":"00ff"},{"odd":1}],"kind":"start","novel":{"deep":[1,2]},"prev":"00","run":"abcdef012345",
        "run_as":"root","seq":7,"sha256":"cd","time":1000000,"tty":null,"uid":1001,"user":"alice","version":1}"#;

    #[test]
    fn a_start_is_one_line_and_all_its_fields() {
        let info = info(START);
        let record = Record::read(&info);
        assert_eq!(record.summary(), "abcdef012345 as root: /bin/ls 'a b' 'x\\x1by'");
        assert_eq!(record.user(), "alice");
        let text = record.details(2);
        for part in [
            "LANG=C",
            "API_TOKEN (redacted, digest 00ff)",
            "{\"odd\":1}",
            "{\"deep\":[1,2]}",
            "sha256",
            "word 1     a b",
            "version",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }

    #[test]
    fn no_field_of_a_record_is_hidden() {
        let body = r#"{"a_new_field":"one","boot":1,"boot_id":"x","host":"h","kind":"novel","prev":"p","seq":8,"time":"soon","tty":null,"zeta":-1}"#;
        let text = Record::read(&info(body)).details(0);
        for name in ["a new field", "boot id", "host", "novel", "prev", "seq in body", "soon", "tty", "zeta"] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    }

    #[test]
    fn an_end_tells_how_it_ended() {
        let ended = |body: &str| Record::read(&info(body)).summary();
        let body = r#"{"kind":"end","run":"r","status":0,"duration_us":1204999,"ended_by":"itself"}"#;
        assert_eq!(ended(body), "r: exit status 0 after 1.204s");
        let body = r#"{"kind":"end","run":"r","signal":15,"duration_us":5400000000,"ended_by":"expiry"}"#;
        assert_eq!(ended(body), "r: killed by signal 15 after 1h30m, ended by expiry");
    }

    #[test]
    fn records_that_make_no_sense_are_shown_and_harmless() {
        for body in [
            "",
            "[]",
            "not json \x1b[2J",
            "{\"kind\":5}",
            "{\"argv\":7,\"kind\":\"start\"}",
            "{\"time\":1e300,\"kind\":\"end\"}",
        ] {
            let info = info(body);
            let record = Record::read(&info);
            let shown = format!(
                "{}{}{}{}{}",
                record.kind(),
                record.user(),
                record.time(0),
                record.summary(),
                record.details(0)
            );
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}
