#![no_main]
//! Command lines: arguments separated by NUL bytes, the program's name first.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use jit_core::cli::{CalledAs, Invocation, List, Mode, Run, parse};
use jit_sudo_fuzz::{shown, shown_lines};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let words: Vec<OsString> = data.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_owned()).collect();
    match parse(&words) {
        Ok(Invocation::Run(run)) => runs(&run, &words),
        Ok(Invocation::List(list)) => lists(&list, &words),
        Ok(_) => {}
        Err(error) => {
            let called = CalledAs::of(words.first().map_or(OsStr::new(""), OsString::as_os_str));
            shown(&error);
            shown_lines(&error.report(called));
            assert!(error.report(called).len() < 16 << 10);
        }
    }
});

/// Checks that the command is the last part of the arguments, unchanged, and that required values are not empty.
fn runs(run: &Run, words: &[OsString]) {
    assert!(words.ends_with(&run.command));
    assert!(run.mode != Mode::Command || !run.command.is_empty());
    let named = [&run.run_as, &run.run_as_group, &run.directory];
    assert!(named.iter().all(|name| name.as_ref().is_none_or(|name| !name.is_empty())));
    assert!(run.close_from.is_none_or(|from| from >= 3));
    let names = run.environment.set.iter().map(|(name, _)| name).chain(&run.environment.preserve);
    assert!(names.into_iter().all(|name| !name.is_empty() && !name.as_bytes().contains(&b'=')));
}

fn lists(list: &List, words: &[OsString]) {
    assert!(words.ends_with(&list.command));
}
