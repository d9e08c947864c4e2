//! How an answer of a program of ours is waited for: with forks, which a test harness with threads cannot make.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jit_sudo::programs::{Unanswered, ask};
use sys::process::WaitEvent;

const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    an_answer_is_heard_whole_from_a_program_that_ends_well();
    an_answer_with_a_bad_end_is_none();
    nobody_waits_longer_than_they_will();
    nobody_hears_more_than_they_asked_for();
}

/// What is heard of a script.
fn asked(script: &str, patience: Duration) -> Result<Vec<u8>, Unanswered> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("asking-{}", std::process::id()));
    fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let answer = ask(program.to_str().unwrap(), b"request", None, patience, 1 << 20);
    fs::remove_file(&program).unwrap();
    answer
}

fn an_answer_is_heard_whole_from_a_program_that_ends_well() {
    assert_eq!(asked("cat", PATIENCE).unwrap(), b"request");
    assert_eq!(asked(":", PATIENCE).unwrap(), b"");
    assert_eq!(asked("head -c 1000000 /dev/zero", PATIENCE).unwrap().len(), 1_000_000);
    println!("test an_answer_is_heard_whole_from_a_program_that_ends_well ... ok");
}

fn an_answer_with_a_bad_end_is_none() {
    assert!(matches!(asked("cat; exit 3", PATIENCE), Err(Unanswered::Ended(WaitEvent::Exited(3)))));
    let killed = asked("cat; kill -9 $$", PATIENCE);
    assert!(matches!(killed, Err(Unanswered::Ended(WaitEvent::Signaled { signal: 9, .. }))), "{killed:?}");
    let nothing = ask("/nonexistent/program", b"", None, PATIENCE, 1);
    assert!(matches!(nothing, Err(Unanswered::Start(error)) if error.kind() == ErrorKind::NotFound));
    println!("test an_answer_with_a_bad_end_is_none ... ok");
}

fn nobody_waits_longer_than_they_will() {
    let short = Duration::from_millis(300);
    // Silent, silent after its answer, silent with the pipe held by another, and talking for good.
    for script in ["exec sleep 60", "cat; exec >&-; exec sleep 60", "sleep 5 & cat", "while echo; do sleep 0.01; done"]
    {
        let begun = Instant::now();
        let answer = asked(script, short);
        assert!(matches!(answer, Err(Unanswered::Late(patience)) if patience == short), "{script}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{script}");
    }
    println!("test nobody_waits_longer_than_they_will ... ok");
}

fn nobody_hears_more_than_they_asked_for() {
    assert!(matches!(asked("exec cat /dev/zero", PATIENCE), Err(Unanswered::Long(limit)) if limit == 1 << 20));
    println!("test nobody_hears_more_than_they_asked_for ... ok");
}
