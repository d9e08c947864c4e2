#![no_main]
//! Bytes converted to text and back: nothing is lost, nothing acts on a terminal, and a shell parses a line to the same
//! arguments.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use jit_core::escape::{Word, command_line, escape, hex, shell_line, unescape, unhex};
use jit_sudo_fuzz::{shell, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = escape(data);
    shown(&text);
    assert_eq!(unescape(&text).as_deref(), Some(data));
    if let Some(bytes) = std::str::from_utf8(data).ok().and_then(unescape) {
        assert_eq!(unescape(&escape(&bytes)), Some(bytes));
    }
    assert_eq!(unhex::<32>(&hex(data)).map(Vec::from), (data.len() == 32).then(|| data.to_vec()));
    in_json(data);
    cut(data);
    lines(data);
});

fn in_json(data: &[u8]) {
    let word = Word::from(OsStr::from_bytes(data));
    let json = serde_json::to_string(&word).expect("a word is written");
    assert_eq!(json.len(), word.written_length() + 2);
    assert_eq!(serde_json::from_str::<Word>(&json).expect("and read"), word);
}

fn cut(data: &[u8]) {
    let Some((most, bytes)) = data.split_first() else { return };
    let (word, most) = (Word::from(OsStr::from_bytes(bytes)), usize::from(*most));
    let begin = word.beginning(most);
    assert!(bytes.starts_with(begin.as_bytes()) && begin.written_length() <= most);
    assert!(begin == word || word.written_length() > most);
}

fn lines(data: &[u8]) {
    let words: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let typed = || words.iter().map(|word| OsStr::from_bytes(word));
    shown(command_line(typed()));
    let line = shell_line(typed());
    shown(&line);
    let read = shell::words(&line).unwrap_or_else(|| panic!("no shell reads words from {line}"));
    assert_eq!(read, words, "{line}");
}
