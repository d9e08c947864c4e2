#![no_main]
//! Texts from the kernel about processes, terminals and tables, some of which contain names that a process has chosen
//! to mislead.

use jit_sudo_fuzz::cut;
use sys::procfs::parse_stat;
use sys::readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    stat(data);
    readers::status(data);
    readers::membership(data);
    if let Some(id) = readers::machine_id(data) {
        assert_eq!(readers::machine_id(format!("{id}\n").as_bytes()), Some(id));
    }
    if let Some(path) = readers::interpreter(data) {
        assert!(!path.as_os_str().is_empty() && data.starts_with(b"#!"));
    }
    if let Some(encoded) = data.first_chunk() {
        terminal(u32::from_ne_bytes(*encoded));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    readers::is_hiding(text);
    readers::sockets(text);
    if let Some(uid) = readers::login_uid(text) {
        assert_eq!(readers::login_uid(&uid.to_string()), Some(uid));
    }
});

/// Checks that the numbers are those after the name, whatever name a process has chosen (CVE-2017-1000367).
fn stat(data: &[u8]) {
    let _ = parse_stat(data);
    let rest = b" T 7 8 9 34817 9 0 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0\n";
    let honest = parse_stat(&[&b"42 (x)"[..], rest].concat()).expect("a line of the kernel");
    let name = &data[..cut(data.len().min(64), data.last().copied().unwrap_or_default())];
    assert_eq!(parse_stat(&[b"42 (", name, b")", rest].concat()), Some(honest));
}

/// Checks that two terminals never have the same number.
fn terminal(encoded: u32) {
    let device = readers::terminal(encoded);
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    assert_eq!(u64::from(encoded), (minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12));
}
