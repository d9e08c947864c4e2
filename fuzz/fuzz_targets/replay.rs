#![no_main]
//! The output of a replay to an auditor's terminal.

use jit_sudo_fuzz::{cut, screen};
use jitctl::readers::{plain, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let seen = shown([&*text]);
    screen::only_draws(&seen);
    assert_eq!(shown([&*seen]), seen, "what was let through is let through again");
    let read = plain([&*text]);
    assert!(!read.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{read:?}");

    let at = (0..=cut(text.len(), *seed)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (begin, end) = text.split_at(at);
    assert_eq!(shown([begin, end]), seen, "a sequence may come in pieces");
    assert_eq!(plain([begin, end]), read);
});
