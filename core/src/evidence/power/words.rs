//! Compares what a record says of a document with the document, which it names by its digest. Only a digest of the
//! common keys is kept for each document, because there is one for each request.

use serde_json::{Map, Value, json};

use super::names::digest_of;
use crate::clock::{TOLERANCE_US, Timestamp};
use crate::escape::Word;
use crate::evidence::record::parse;

/// The first half of the SHA-256 digest of a document's keys in the form of a record.
pub(super) type Words = [u8; 16];

/// The message when they differ.
pub(super) const OTHER: &str = "its record differs from its bytes";

/// Returns the keys of a record of this kind that its document has too.
fn keys(kind: &str) -> &'static [&'static str] {
    match kind {
        "request" => &[
            "uid",
            "user",
            "role",
            "run_as",
            "argv",
            "duration",
            "starts",
            "deadline",
            "limits",
            "reason",
            "ticket",
            "break_glass",
            "extends",
        ],
        "approval" => &["user", "role", "duration", "limits", "comment"],
        "grant" => {
            &["uid", "user", "role", "run_as", "starts", "expires", "limits", "approvers", "break_glass", "extends"]
        }
        "denial" => &["user", "role", "reason"],
        "cancellation" | "release" => &["user", "role"],
        "revocation" => &["user", "role", "reason", "holder", "holder_uid"],
        "review" => &["user", "role", "comment", "holder", "holder_uid"],
        _ => &[],
    }
}

/// Returns the digest for a record; `high` is the latest time so far, in µs.
pub(super) fn of_record(kind: &str, high: i64, body: &[u8]) -> Option<Words> {
    let record: Map<String, Value> = parse(body).ok()?;
    let wanted = keys(kind);
    let clocks = if kind == "grant" { clocks(&record, high) } else { Map::new() };
    let mut words: Map<_, _> =
        record.into_iter().filter(|(key, word)| wanted.contains(&key.as_str()) && !word.is_null()).collect();
    words.extend(clocks);
    Some(digest(words))
}

/// Returns the keys of a grant that follow from the clocks of its record and the latest time so far.
fn clocks(record: &Map<String, Value>, high: i64) -> Map<String, Value> {
    let number = |key| record.get(key).and_then(Value::as_i64).unwrap_or_default();
    let issued = Timestamp(high).seconds();
    let lasts = Timestamp(number("expires")).seconds().saturating_sub(issued);
    let mut words = Map::from_iter([
        ("issued".to_owned(), json!(issued)),
        ("boot_deadline".to_owned(), json!(number("boot").saturating_add(lasts.saturating_mul(1_000_000)))),
    ]);
    words.extend(record.get("boot_id").map(|boot| ("boot_id".to_owned(), boot.clone())));
    if high.saturating_sub(number("time")) > TOLERANCE_US {
        words.insert("this_boot".to_owned(), json!(1));
    }
    words
}

/// Returns the digest of what the record of this request must say.
pub(super) fn of_request(body: &[u8]) -> Option<Words> {
    let document = read(body)?;
    let mut words = document.same(&["uid", "role", "duration", "reason", "extends"]);
    words.extend(document.escaped(&["user", "run_as"])?);
    let argv = document.0.get("command").map_or_else(|| Some(json!([])), |command| command.get("argv").cloned());
    words.insert("argv".to_owned(), argv?);
    words.insert("deadline".to_owned(), document.micros("deadline")?);
    words.insert("limits".to_owned(), document.limits()?);
    words.extend(document.said("ticket")?);
    if document.number("start")? != 0 {
        words.insert("starts".to_owned(), document.micros("start")?);
    }
    words.extend(document.glass());
    Some(digest(words))
}

/// Returns the digest of what the record of this approval of a request for `role` must say.
pub(super) fn of_approval(body: &[u8], role: &str) -> Option<Words> {
    let document = read(body)?;
    let mut words = Map::from_iter([
        ("role".to_owned(), json!(role)),
        ("user".to_owned(), escaped(document.0.get("approver")?)?),
        ("limits".to_owned(), document.limits()?),
    ]);
    words.extend(document.said("comment")?);
    if document.number("duration")? != 0 {
        words.extend(document.same(&["duration"]));
    }
    Some(digest(words))
}

/// Returns the digest of what the record of this grant must say.
pub(super) fn of_grant(body: &[u8]) -> Option<Words> {
    let document = read(body)?;
    let mut words = document.same(&["uid", "role", "extends", "issued", "boot_id", "boot_deadline", "this_boot"]);
    words.extend(document.escaped(&["user", "run_as"])?);
    words.insert("starts".to_owned(), document.micros("starts")?);
    words.insert("expires".to_owned(), document.micros("expires")?);
    words.insert("limits".to_owned(), document.limits()?);
    let approvers: Option<Vec<Value>> = document.0.get("approvers")?.as_array()?.iter().map(escaped).collect();
    words.insert("approvers".to_owned(), Value::Array(approvers?));
    words.extend(document.glass());
    Some(digest(words))
}

/// Returns the digest of what the record of this statement must say, about a request of `holder` (uid and name) for
/// `role`.
pub(super) fn of_statement(kind: &str, body: &[u8], role: &str, holder: (i64, &str)) -> Option<Words> {
    let document = read(body)?;
    let reason = document.0.get("reason").filter(|reason| reason.is_string())?;
    let all = Map::from_iter([
        ("user".to_owned(), escaped(document.0.get("by")?)?),
        ("role".to_owned(), json!(role)),
        ("reason".to_owned(), reason.clone()),
        ("comment".to_owned(), reason.clone()),
        ("holder".to_owned(), json!(Word::from(holder.1))),
        ("holder_uid".to_owned(), json!(holder.0)),
    ]);
    Some(digest(all.into_iter().filter(|(key, _)| keys(kind).contains(&key.as_str())).collect()))
}

/// A document of any kind.
struct Document(Map<String, Value>);

/// Parses a document, without keys whose value is null.
fn read(body: &[u8]) -> Option<Document> {
    let document: Map<String, Value> = serde_json::from_slice(body).ok()?;
    Some(Document(document.into_iter().filter(|(_, value)| !value.is_null()).collect()))
}

impl Document {
    fn same(&self, keys: &[&str]) -> Map<String, Value> {
        let found = keys.iter().filter_map(|key| Some(((*key).to_owned(), self.0.get(*key)?.clone())));
        found.collect()
    }

    fn escaped(&self, keys: &[&str]) -> Option<Vec<(String, Value)>> {
        keys.iter().map(|key| Some(((*key).to_owned(), escaped(self.0.get(*key)?)?))).collect()
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.0.get(key)?.as_i64()
    }

    fn micros(&self, key: &str) -> Option<Value> {
        Some(json!(self.number(key)?.checked_mul(1_000_000)?))
    }

    fn limits(&self) -> Option<Value> {
        let (one_shot, exact) = (self.number("one_shot")?, self.number("exact")?);
        let words = [(one_shot, "one-shot"), (exact, "exact")];
        Some(words.iter().filter(|(flag, _)| *flag == 1).map(|(_, word)| json!(word)).collect())
    }

    /// Returns the keys of a record if this text of the document is not empty, as a record has them.
    fn said(&self, key: &str) -> Option<Map<String, Value>> {
        let text = self.0.get(key)?.as_str()?;
        Some(if text.is_empty() { Map::new() } else { self.same(&[key]) })
    }

    fn glass(&self) -> Option<(String, Value)> {
        (self.0.get("break_glass") == Some(&json!(1))).then(|| ("break_glass".to_owned(), json!(1)))
    }
}

/// Escapes a name as records do.
fn escaped(name: &Value) -> Option<Value> {
    Some(json!(Word::from(name.as_str()?)))
}

/// Computes the digest; a `Map` has its keys in order.
fn digest(words: Map<String, Value>) -> Words {
    digest_of(Value::Object(words).to_string().as_bytes()).first_chunk().copied().unwrap_or_default()
}
