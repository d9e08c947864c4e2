//! The output to a terminal, a pipe and a full disk.

use std::io::Read;

use jit_core::wire::{
    AuditList, AuditVerify, EndedInfo, Grants, KeyInfo, KeyShow, PolicyCheck, PolicyInfo, RecordInfo, RecordPage,
    Requests, Roles, VerifyInfo, Why,
};
use serde_json::json;

use crate::fixtures::{grant, on_a_terminal, page, role, why};
use crate::support::{Answer, Scripted, active, finish, listed, pending};

#[test]
fn escape_sequences_in_any_string_are_shown_not_obeyed() {
    let evil = "\x1b]0;owned\x07\r\u{9b}2J\u{202e}";
    let mut info = pending();
    info.run_as = evil.into();
    info.state = evil.into();
    info.reason = evil.into();
    info.command = vec![evil.into()];
    info.approvers = vec![evil.into()];
    info.ended = Some(EndedInfo { by: evil.into(), at: 0, reason: evil.into(), key: None });
    let mut evil_role = role();
    evil_role.description = evil.into();
    evil_role.commands = vec![evil.into()];
    let mut evil_why = why(false);
    evil_why.because = evil.into();
    evil_why.hint = Some(evil.into());
    let record =
        RecordInfo { seq: 1, body: format!("{{\"kind\":\"start\",\"argv\":{}}}", json!([evil])), hash: evil.into() };
    let records = RecordPage { records: vec![record], more: true, looked_at: 0 };
    let policy = PolicyInfo { files: vec![evil.into()], roles: 1, rules: 2, warnings: vec![evil.into()] };
    let key = KeyInfo {
        public_key: evil.into(),
        fingerprint: evil.into(),
        created: true,
        epoch: None,
        sealing_key: None,
        former_keys: Vec::new(),
        rotations: Vec::new(),
    };
    let verified = VerifyInfo {
        intact: false,
        records: 2,
        head: evil.into(),
        first_bad: Some(evil.into()),
        ..VerifyInfo::default()
    };
    let answers: [(&[&str], Answer); 10] = [
        (&["show", "0"], grant(info.clone())),
        (&["request", "ls"], grant(info.clone())),
        (&["approve", "0"], grant(info.clone())),
        (&["grants"], Answer::to::<Grants>(listed(vec![info]))),
        (&["roles"], Answer::to::<Roles>(vec![evil_role])),
        (&["why", "ls"], Answer::to::<Why>(evil_why)),
        (&["audit", "show", "1"], Answer::to::<AuditList>(records)),
        (&["policy", "check"], Answer::to::<PolicyCheck>(policy)),
        (&["audit", "verify"], Answer::to::<AuditVerify>(verified)),
        (&["key", "show"], Answer::to::<KeyShow>(key)),
    ];
    for (words, answer) in answers {
        let broker = Scripted::answering(answer);
        for words in [words.to_vec(), [&["--json"], words].concat()] {
            let called = broker.call(&words);
            let shown = called.stdout + &called.stderr;
            assert!(shown.contains("owned"), "{words:?}: {shown}");
            let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!shown.chars().any(obeyed), "{words:?}: {shown:?}");
        }
    }
}

#[test]
fn lists_are_aligned_and_plain_when_piped() {
    let called = Scripted::answering(Answer::to::<Requests>(listed(vec![pending(), pending()]))).call(&["requests"]);
    assert_eq!(called.status, 0);
    let lines: Vec<&str> = called.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", called.stdout);
    assert!(lines[0].starts_with("ID          STATE    BY     ROLE     FOR  ASKED   APPROVED"), "{}", called.stdout);
    assert!(lines[1].contains("1h ago  0/1 *     /usr/bin/systemctl restart nginx; disk full"), "{}", called.stdout);
    assert!(!called.stdout.contains(['\t', '\x1b']));
    let called = Scripted::answering(Answer::to::<Roles>(vec![role()])).call(&["roles"]);
    assert!(called.stdout.contains("web-ops  root    1h30m  reason; 1 approval (bob); password"), "{}", called.stdout);
}

#[test]
fn a_terminal_gets_its_width_and_sparse_colour() {
    let broker = Scripted::answering(Answer::to::<Grants>(listed(vec![active()])));
    let shown = on_a_terminal(&broker, "grants", "env -u NO_COLOR TERM=xterm");
    assert!(shown.contains("\x1b[38;5;10m") || shown.contains("\x1b[32m"), "no colour in {shown:?}");
    for environment in ["env NO_COLOR=1 TERM=xterm", "env -u NO_COLOR TERM=dumb"] {
        let shown = on_a_terminal(&broker, "grants", environment);
        assert!(shown.contains("0123456789  active") && !shown.contains('\x1b'), "{environment}: {shown:?}");
    }
    let shown =
        on_a_terminal(&Scripted::answering(Answer::to::<AuditList>(page())), "audit list", "env NO_COLOR=1 TERM=xterm");
    assert!(shown.lines().all(|line| line.chars().count() <= 70), "{shown}");
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let broker = Scripted::answering(Answer::to::<Requests>(listed(vec![pending(); 5000])));
    for words in [&["requests"][..], &["requests", "--json"], &["--help"]] {
        let mut child = broker.start(words);
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_not_silent() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let broker = Scripted::answering(Answer::to::<Roles>(vec![role()]));
    let called = finish(broker.command(&["roles"]).stdout(full).spawn().unwrap());
    assert_eq!(
        (called.status, called.stderr.as_str()),
        (1, "jitctl: cannot write to stdout: no space left on device\n")
    );
}
