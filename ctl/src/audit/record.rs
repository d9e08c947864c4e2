//! Shows one record to people. Labels the usual fields, and shows unknown fields as they are.

mod policy;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use jit_core::clock::duration::Seconds;
use jit_core::escape::{command_line, unescape};
use jit_core::wire::RecordInfo;
use serde_json::{Map, Value};

use crate::clean::clean;
use crate::table::Fields;
use crate::when;

/// The order in which details are shown; unlisted fields follow, and the fields of the chain come last.
const ORDER: [&str; 69] = [
    "time",
    "host",
    "run",
    "start",
    "grant",
    "code",
    "verdict",
    "break_glass",
    "sentence",
    "user",
    "uid",
    "gid",
    "groups",
    "holder",
    "holder_uid",
    "approvers",
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
    "sha256",
    "policy",
    "role_digest",
    "replaces",
    "file_count",
    "files",
    "added_count",
    "added",
    "added_sha256",
    "changed_count",
    "changed",
    "changed_sha256",
    "removed_count",
    "removed",
    "removed_sha256",
    "roles_sha256",
    "settings_sha256",
    "caller",
    "caller_uid",
    "loginuid",
    "umask",
    "argv",
    "typed",
    "reason",
    "ticket",
    "comment",
    "duration",
    "limits",
    "starts",
    "expires",
    "deadline",
    "exit",
    "signal",
    "core",
    "ended_by",
    "detail",
    "duration_us",
    "user_us",
    "system_us",
    "max_rss_kib",
];

/// Shown after all other fields.
const LAST: [&str; 6] = ["diff", "environment", "boot", "boot_id", "version", "prev"];

/// Shown in the first line, unless they differ from the values that the journal stores beside the body.
const HEAD: [&str; 2] = ["seq", "kind"];

/// A record as the broker sent it.
pub(super) struct Record<'a> {
    info: &'a RecordInfo,
    /// Empty if the body is not a JSON object.
    fields: Map<String, Value>,
}

impl<'a> Record<'a> {
    /// Reads the body; a body that cannot be decoded is shown as it is.
    pub(super) fn read(info: &'a RecordInfo) -> Self {
        Self { info, fields: serde_json::from_str(&info.body).unwrap_or_default() }
    }

    /// Returns the record's number in the journal.
    pub(super) fn seq(&self) -> u64 {
        self.info.seq
    }

    /// `start`, `end`, …
    pub(super) fn kind(&self) -> String {
        self.text("kind").unwrap_or_else(|| "unreadable".to_owned())
    }

    /// Returns the time for tables.
    pub(super) fn time(&self, now: i64) -> String {
        self.seconds().map(|time| when::short(time, now)).unwrap_or_else(|| "-".to_owned())
    }

    /// Returns who acted: a name, else `#uid`.
    pub(super) fn user(&self) -> String {
        let uid = || self.uid().map(|uid| format!("#{uid}"));
        self.text("user").or_else(uid).unwrap_or_else(|| "-".to_owned())
    }

    /// Returns the name of who acted at that time, if the record contains it.
    pub(super) fn named(&self) -> Option<String> {
        self.text("user")
    }

    /// Returns the run and the grant of the record, each with the uid of who acted. A uid alone does not identify a user:
    /// it may be assigned again.
    pub(super) fn matters(&self) -> Vec<(String, u64)> {
        let Some(uid) = self.uid() else { return Vec::new() };
        ["run", "grant"].into_iter().filter_map(|key| Some((self.text(key)?, uid))).collect()
    }

    /// Returns the same, each with the name in this record.
    pub(super) fn names(&self) -> Vec<((String, u64), String)> {
        let Some(name) = self.named() else { return Vec::new() };
        self.matters().into_iter().map(|matter| (matter, name.clone())).collect()
    }

    /// Returns the uid of who acted.
    pub(super) fn uid(&self) -> Option<u64> {
        self.fields.get("uid")?.as_u64()
    }

    /// Summarizes the event in one line.
    pub(super) fn summary(&self, now: i64) -> String {
        if self.fields.is_empty() {
            return clean(&self.info.body);
        }
        match self.kind().as_str() {
            "start" => format!("{} as {}: {}", self.or_dash("run"), self.or_dash("run_as"), self.command()),
            "end" => self.end_summary(),
            "reject" => format!("{}: {}", self.or_dash("sentence"), self.command()),
            "request" | "approval" | "denial" | "cancellation" | "grant" | "revocation" | "release" | "alert"
            | "review" => self.grant_summary(now),
            "edit" => self.edit_summary(),
            "reading" => {
                let run = self.text("run").unwrap_or_else(|| "all recordings".to_owned());
                format!("{} of {run}{}", self.or_dash("purpose"), self.holder())
            }
            "left-running" => {
                let count = self.fields.get("count").and_then(Value::as_u64).unwrap_or(0);
                let what = if count == 1 { "process" } else { "processes" };
                format!("{} left {count} {what} running", self.or_dash("run"))
            }
            "left-ended" => {
                format!("{}: processes left running ended by {}", self.or_dash("run"), self.or_dash("ended_by"))
            }
            "intervention" => {
                let (act, run, reason) = (self.or_dash("act"), self.or_dash("run"), self.or_dash("reason"));
                format!("{act} {run}{}: {reason}", self.holder())
            }
            "policy" => policy::summary(&self.fields),
            "backup" => {
                format!("records up to {} were copied to {}", self.or_dash("through"), self.or_dash("file"))
            }
            "prune" => format!("records up to {} were removed", self.or_dash("through")),
            "fork" => format!("continues record {}: {}", self.or_dash("continues"), self.or_dash("sentence")),
            "epoch" => format!("epoch {} begins: another sealing key signs the journal", self.or_dash("number")),
            "rotation" => format!("the host key was replaced: {}", self.or_dash("reason")),
            "retirement" => format!("this host was retired: {}", self.or_dash("reason")),
            "clock" => format!("the clock is confirmed: {}", self.or_dash("confirmed_by")),
            _ => self.unknown_summary(),
        }
    }

    /// Shows everything, one field per line.
    pub(super) fn details(&self, now: i64) -> String {
        let mut fields = Fields::default();
        fields.add("record", format!("{} ({})", self.info.seq, self.kind()));
        if self.fields.is_empty() {
            fields.add("body", &self.info.body);
        }
        let named = |name: &&str| ORDER.contains(name) || LAST.contains(name) || HEAD.contains(name);
        let others = self.fields.keys().map(String::as_str).filter(|name| !named(name));
        for name in ORDER.into_iter().chain(others).chain(LAST) {
            self.detail(&mut fields, name, now);
        }
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
            ("time" | "starts" | "expires" | "deadline", Value::Number(micros)) => {
                let exact = micros.as_i64().map(|micros| when::long(micros.div_euclid(1_000_000), now));
                fields.add(&label, exact.unwrap_or_else(|| micros.to_string()));
            }
            ("umask", Value::Number(bits)) => {
                let octal = bits.as_u64().map(|bits| format!("{bits:04o}"));
                fields.add(&label, octal.unwrap_or_else(|| bits.to_string()));
            }
            ("argv", Value::Array(words)) => {
                fields.add(&label, words_line(words));
                for (index, word) in words.iter().enumerate() {
                    fields.add(&format!("  word {index}"), plain(word));
                }
            }
            ("diff", Value::String(text)) => {
                let text = unescape(text).unwrap_or_else(|| text.as_bytes().to_vec());
                let text = text.strip_suffix(b"\n").unwrap_or(&text);
                for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
                    fields.add(if index == 0 { &label } else { "" }, String::from_utf8_lossy(line));
                }
            }
            ("environment", Value::Array(entries)) => {
                let variables = if entries.len() == 1 { "variable" } else { "variables" };
                fields.add(&label, format!("{} {variables}", entries.len()));
                for entry in entries {
                    fields.add("", variable(entry));
                }
            }
            (_, Value::Number(number)) if name.ends_with("_us") && number.is_u64() => {
                fields.add(&label, when::duration_of_micros(number.as_u64().unwrap_or(0)));
            }
            ("duration", Value::Number(number)) if number.is_u64() => {
                fields.add(&label, when::spell(Seconds(number.as_u64().unwrap_or(0))));
            }
            (_, Value::Number(number)) if name.ends_with("_kib") => {
                fields.add(&label, format!("{number} KiB"));
            }
            ("files" | "added" | "changed" | "removed", Value::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    fields.add(if index == 0 { &label } else { "" }, policy::entry(entry, now));
                }
            }
            (_, value) => {
                fields.add(&label, plain(value));
            }
        }
    }

    fn end_summary(&self) -> String {
        let by = self.text("ended_by").filter(|by| by != "itself");
        let by = by.as_deref();
        let also = by.map(|by| format!(", ended by {by}")).unwrap_or_default();
        let (outcome, also) = match (self.text("signal"), self.text("exit"), by) {
            (Some(signal), _, _) => (format!("killed by signal {signal}"), also),
            (None, Some(status), _) => (format!("exit status {status}"), also),
            // For a session of another program neither its status nor the amount lost is known.
            (None, None, Some("lost")) => ("lost".to_owned(), String::new()),
            (None, None, Some("not-executed")) => ("not executed".to_owned(), String::new()),
            (None, None, Some(by)) => (format!("ended by {by}"), String::new()),
            (None, None, None) if self.text("detail").is_some() => ("abandoned".to_owned(), String::new()),
            (None, None, None) => ("closed".to_owned(), String::new()),
        };
        let time = self.fields.get("duration_us").and_then(Value::as_u64).map(when::duration_of_micros);
        let time = time.map(|time| format!(" after {time}")).unwrap_or_default();
        format!("{}: {outcome}{time}{also}", self.or_dash("run"))
    }

    fn edit_summary(&self) -> String {
        let before = self.text("before_bytes").map_or_else(|| "new".to_owned(), |bytes| format!("{bytes} bytes"));
        let (run, path, after) = (self.or_dash("run"), self.or_dash("path"), self.or_dash("after_bytes"));
        format!("{run}: {path} edited, {before} before, {after} after")
    }

    /// Returns the parts that records about grants have in common, if present.
    fn grant_summary(&self, now: i64) -> String {
        let part = |name: &str, before: &str| self.text(name).map(|text| format!("{before}{text}"));
        let number = |name: &str| self.fields.get(name).and_then(Value::as_u64);
        let listed = |name: &str, before: &str| {
            let list = self.fields.get(name)?.as_array()?;
            (!list.is_empty()).then(|| format!("{before}{}", plain(&Value::Array(list.clone()))))
        };
        let expires = self.fields.get("expires").and_then(Value::as_i64);
        let parts = [
            part("grant", ""),
            part("verdict", ""),
            part("holder", "of "),
            part("role", "for "),
            part("run_as", "as "),
            number("duration").map(|seconds| format!("for {}", when::spell(Seconds(seconds)))),
            expires.map(|time| format!("until {}", when::short(time.div_euclid(1_000_000), now))),
            listed("limits", "limited to "),
            listed("approvers", "approved by "),
        ];
        let texts = [
            listed("argv", "").map(|_| self.command()),
            part("reason", "").filter(|reason| !reason.is_empty()),
            part("comment", ""),
            part("sentence", ""),
        ];
        let join =
            |parts: &[Option<String>], between| parts.iter().flatten().cloned().collect::<Vec<_>>().join(between);
        let (parts, texts) = (join(&parts, " "), join(&texts, "; "));
        let between = if parts.is_empty() || texts.is_empty() { "" } else { ": " };
        format!("{parts}{between}{texts}")
    }

    fn holder(&self) -> String {
        self.text("holder").map(|holder| format!(" of {holder}")).unwrap_or_default()
    }

    /// Returns all fields that only some records have, as they are.
    fn unknown_summary(&self) -> String {
        let common = ["time", "host", "user"].iter().chain(&LAST).chain(&HEAD);
        let common: Vec<&str> = common.copied().collect();
        let own = self.fields.iter().filter(|(name, _)| !common.contains(&name.as_str()));
        own.map(|(name, value)| format!("{}={}", clean(name), plain(value))).collect::<Vec<_>>().join(" ")
    }

    fn command(&self) -> String {
        match self.fields.get("argv") {
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

/// Returns a value as text: escapes strings, joins lists of plain values, and prints everything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Array(values) if values.iter().all(|value| !value.is_array() && !value.is_object()) => {
            values.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        value => clean(&value.to_string()),
    }
}

/// Arguments in a record are escaped texts; one that is not is taken as it is.
pub(super) fn words_line(words: &[Value]) -> String {
    command_line(words.iter().map(|word| match word.as_str() {
        Some(text) => OsString::from_vec(unescape(text).unwrap_or_else(|| text.as_bytes().to_vec())),
        None => OsString::from(word.to_string()),
    }))
}

/// `NAME=value`, or the name and the digest in place of a secret value.
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
        assert_eq!(record.summary(0), "abcdef012345 as root: /bin/ls 'a b' 'x\\x1by'");
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
    fn an_end_record_says_how_the_run_ended() {
        let ended = |body: &str| Record::read(&info(body)).summary(0);
        let body = r#"{"kind":"end","run":"r","exit":0,"duration_us":1204999,"ended_by":"itself"}"#;
        assert_eq!(ended(body), "r: exit status 0 after 1.204s");
        let body = r#"{"kind":"end","run":"r","signal":15,"duration_us":5400000000,"ended_by":"expiry"}"#;
        assert_eq!(ended(body), "r: killed by signal 15 after 1h30m, ended by expiry");
        // A session of another program, which has no status.
        for (ended_by, outcome) in [
            (r#""itself""#, "closed after 2.000s"),
            (r#""itself","detail":"the program ended""#, "abandoned after 2.000s"),
            (r#""expiry""#, "ended by expiry after 2.000s"),
            (r#""lost""#, "lost after 2.000s"),
        ] {
            let body = format!(r#"{{"kind":"end","run":"r","duration_us":2000000,"ended_by":{ended_by}}}"#);
            assert_eq!(ended(&body), format!("r: {outcome}"));
        }
    }

    #[test]
    fn an_event_of_a_grant_is_one_sentence() {
        let told = |body: &str| Record::read(&info(body)).summary(0);
        let body = r#"{"argv":["/bin/ls","a b"],"duration":3600,"grant":"0123456789","kind":"request","limits":["one-shot"],
            "reason":"disk full","role":"web-ops","run_as":"root","sha256":"ab","uid":1,"user":"alice"}"#;
        let sentence = "0123456789 for web-ops as root for 1h limited to one-shot: /bin/ls 'a b'; disk full";
        assert_eq!(told(body), sentence);
        let body = r#"{"grant":"0123456789","holder":"alice","kind":"revocation","reason":"left","role":"web-ops","user":"bob"}"#;
        assert_eq!(told(body), "0123456789 of alice for web-ops: left");
        assert_eq!(told(r#"{"code":"x","kind":"alert","sentence":"clock set back"}"#), "clock set back");
        assert_eq!(told(r#"{"kind":"novel","seq":7,"what":"ever"}"#), "what=ever");
    }

    #[test]
    fn malformed_records_are_shown_and_harmless() {
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
                record.summary(0),
                record.details(0)
            );
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}
