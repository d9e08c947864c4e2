#![no_main]
//! An exported journal: records, checkpoints, and heads that were kept elsewhere.

use jit_core::escape::Word;
use jit_core::evidence::chain::{Begin, Chain};
use jit_core::evidence::checkpoint::Statement;
use jit_core::evidence::filter::{Status, Words};
use jit_core::evidence::{Mark, Record, Signers};
use jit_core::grant::terms::encode;
use jit_sudo_fuzz::{exact, shown};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        record(line);
        exact(line, |bytes| Statement::decode(bytes).ok_or(()), |statement| encode(statement).expect("it was read"));
    }
    exact(data, |bytes| Mark::parse(bytes).ok_or(()), |mark| format!("{mark}\n").into_bytes());
    for mark in jitctl::readers::heads(data).expect("reading from memory") {
        shown(mark);
    }
    if let Err(bad) = jitctl::readers::exported(data, Signers::Anybody).expect("reading from memory") {
        shown(bad);
    }
});

fn record(line: &[u8]) {
    let Ok(text) = std::str::from_utf8(line) else { return };
    searched(text);
    let value = serde_json::from_str::<Value>(text).unwrap_or_default();
    let seq = value.get("seq").and_then(Value::as_u64).unwrap_or(1);
    if let Err(bad) = Chain::new(Begin::Part(seq)).feed_bare(line) {
        return shown(bad);
    }
    // All readers read the same, because there is only one form.
    assert_eq!(value.to_string(), text);
    if let Ok(record) = Record::decode(text) {
        let again = record.encode().expect("what was read is written");
        assert_eq!(Record::decode(&again).expect("and read"), record);
        let fed = Chain::new(Begin::Part(record.seq)).feed_bare(again.as_bytes()).map(drop);
        fed.unwrap_or_else(|bad| panic!("{bad}: {again}"));
    }
}

fn searched(text: &str) {
    let words = Words {
        command: Some(Word::from("restart")),
        text: Some(Word::from("alice")),
        status: Some(Status::Failed),
        ..Words::default()
    };
    let found = words.fit(text);
    assert!(!found || Words { status: None, ..words }.fit(text));
}
