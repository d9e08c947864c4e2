#![no_main]
//! A policy file, and the text of a role in a request.

use std::path::{Path, PathBuf};

use jit_core::policy::compiled::{Uncompiled, answer, answer_limit, read_answer, request};
use jit_core::policy::{
    NOWHERE, Policy, PolicyError, PolicyReader, PolicyText, ProgramNames, Question, Role, RolePower, Subject, Target, Evaluated,
};
use jit_sudo_fuzz::{exact, shown};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    carried(data);
    let none = [];
    if let Ok(policy) = read_answer(data, &none) {
        assert!(policy.roles().is_empty());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let files = [PolicyText { path: PathBuf::from("/etc/jit-sudo/policy.toml"), text: text.to_owned() }];
    let parsed = Policy::parse(&files);
    passes_on(&files, &parsed);
    match parsed {
        Ok(policy) => {
            policy.warnings().iter().for_each(shown);
            policy.roles().iter().for_each(role);
            weighs(&policy);
        }
        Err(error) => {
            shown(&error);
            shown(error.words().told_to(&PolicyReader::of(&files)));
            assert!(error.line <= text.lines().count() + 1);
        }
    }
});

/// What the compiler says to these files is what the privileged side reads.
fn passes_on(files: &[PolicyText], parsed: &Result<Policy, PolicyError>) {
    let request = request(files).expect("no input is that long");
    let answer = answer(&request).expect("both are of one version");
    assert!(answer.len() <= answer_limit(files));
    match (parsed, read_answer(&answer, files)) {
        (Ok(parsed), Ok(read)) => {
            assert_eq!((parsed.settings(), parsed.roles()), (read.settings(), read.roles()));
        }
        (Err(parsed), Err(Uncompiled::Policy(read))) => assert_eq!(*parsed, read),
        (_, other) => panic!("{:?}", other.err()),
    }
}

/// The text of a role as strangers carry it.
fn carried(data: &[u8]) {
    if let Some(power) = exact(data, RolePower::decode, |power| power.encode().expect("what was read is written")) {
        power.changed_options();
    }
}

/// Checks that the approved part of a role is decoded to the same value, and that narrowing a role twice is the same as
/// once.
fn role(role: &Role) {
    let power = RolePower::of(role);
    let bytes = power.encode().expect("each role is written down");
    assert_eq!(RolePower::decode(&bytes).expect("and read"), power);
    let narrowed = role.narrowed(&power).expect("a role has itself in common with itself");
    let both = RolePower::of(&narrowed.both);
    let again = narrowed.both.narrowed(&both).expect("the common part has itself in common with itself");
    assert_eq!(RolePower::of(&again.both), both);
}

/// Checks that without a role everything is denied.
fn weighs(policy: &Policy) {
    let weigh = |name, uid| {
        let program =
            ProgramNames { place: Path::new("/usr/bin/id"), canonical: Path::new("/usr/bin/id"), lookup: &NOWHERE };
        let groups = || Some(Vec::new());
        let run_as = Target { name: "root", uid: 0, groups: &groups, is_caller: false, lookup: &NOWHERE };
        let question =
            Question { run_as, run_as_group: None, host: "web1", program, arguments: &[], digest: &|_| None };
        policy.evaluate(&Subject { name, uid, groups: &[], lookup: &NOWHERE }, &question)
    };
    match weigh("alice", 1000) {
        Evaluated::Eligible(roles) => assert!(!roles.is_empty()),
        Evaluated::Denied(Some((role, _))) => assert!(policy.roles().iter().any(|known| known.name == role)),
        Evaluated::Standing(_) | Evaluated::Denied(None) => {}
    }
    assert!(!policy.roles().is_empty() || weigh("root", 0) == Evaluated::Denied(None));
}
