//! Reads the evidence without help of the product: the journal through the sqlite3 program, the log through rsyslog's own JSON
//! parser.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::root::PrivateRoot;

/// One record of the journal.
#[derive(Debug, Clone)]
pub struct Record {
    /// The number.
    pub seq: u64,
    /// The exact text.
    pub body: String,
    /// The stored hash, in lower-case hexadecimal.
    pub hash: String,
    /// The text as JSON.
    pub json: Value,
}

impl Record {
    /// Returns a field as text; empty when there is none.
    pub fn text(&self, field: &str) -> &str {
        self.json.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns a field as a number; -1 when there is none.
    pub fn number(&self, field: &str) -> i64 {
        self.json.get(field).and_then(Value::as_i64).unwrap_or(-1)
    }

    /// Returns the kind: `start`, `end`, `reject` …
    pub fn kind(&self) -> &str {
        self.text("kind")
    }
}

/// One line of jit-sudo in the log; a long record has several.
#[derive(Debug, Clone)]
pub struct SyslogLine {
    /// The number of the record.
    pub seq: u64,
    /// The chain head that the line states.
    pub head: String,
    /// Whether rsyslog's parser accepted it as JSON.
    pub parsed: bool,
    /// The JSON as rsyslog parsed it.
    pub json: Value,
}

pub(crate) fn journal(root: &PrivateRoot) -> Vec<Record> {
    let query = "SELECT seq || ' ' || lower(hex(hash)) || ' ' || hex(body) FROM record ORDER BY seq";
    let output = root.as_root([
        "sqlite3",
        "-readonly",
        "-batch",
        "-cmd",
        ".timeout 10000",
        "/var/lib/jit-sudo/journal.db",
        query,
    ]);
    assert!(output.status.success(), "the journal cannot be read: {output:?}");
    output.stdout.lines().map(record).collect()
}

/// Returns the lines once their number has not grown for a moment: rsyslog writes a little later than it receives.
pub(crate) fn syslog(root: &PrivateRoot) -> Vec<SyslogLine> {
    // A checkpoint is not a record, and has no head of its own.
    let lines = settled(root, "/var/log/auth.parsed").into_iter().map(|line| syslog_line(&line));
    lines.filter(|line| line.json["kind"] != "checkpoint").collect()
}

pub(crate) fn auth_log(root: &PrivateRoot) -> Vec<String> {
    settled(root, "/var/log/auth.log")
}

fn settled(root: &PrivateRoot, file: &str) -> Vec<String> {
    let path = root.path(file);
    let read = || fs::read(&path).unwrap_or_default();
    let mut before = read();
    let text = crate::eventually("rsyslog has written everything", crate::PATIENCE, || {
        std::thread::sleep(Duration::from_millis(150));
        let now = read();
        let quiet = now == before;
        before.clone_from(&now);
        quiet.then_some(now)
    });
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

fn record(line: &str) -> Record {
    let mut fields = line.splitn(3, ' ');
    let mut field = || fields.next().unwrap_or_default();
    let (seq, hash, body) = (field(), field(), field());
    let body = String::from_utf8_lossy(&unhex(body)).into_owned();
    let json = serde_json::from_str(&body).unwrap_or_else(|error| panic!("record {seq} is no JSON: {error}\n{body}"));
    Record { seq: seq.parse().unwrap_or_default(), body, hash: hash.to_owned(), json }
}

fn syslog_line(line: &str) -> SyslogLine {
    let mut fields = line.splitn(4, ' ');
    let mut field = || fields.next().unwrap_or_default();
    let (seq, head, parsed, json) = (field(), field(), field(), field());
    SyslogLine {
        seq: seq.parse().unwrap_or_default(),
        head: head.to_owned(),
        parsed: parsed == "OK",
        json: serde_json::from_str(json).unwrap_or(Value::Null),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap_or_default())
        .collect()
}
