//! The broker: the requests that jitctl sends, and how it handles unusual answers.

use jit_core::wire::{Question, Roles};
use serde_json::{Value, json};

use crate::support::{Answer, Scripted, finish};

#[test]
fn every_verb_sends_its_request() {
    let questions: [(&[&str], Value); 25] = [
        (&["roles"], json!({"verb": "roles"})),
        (
            &["why", "-u", "www-data", "--for-user", "bob", "--", "ls", "-l"],
            json!({"verb": "why", "user": "bob", "run_as": "www-data", "command": ["ls", "-l"]}),
        ),
        (
            &[
                "request",
                "--role",
                "web-ops",
                "--for",
                "1h30m",
                "--reason",
                "a b",
                "--ticket",
                "OPS-1",
                "--one-shot",
                "-u",
                "#33",
                "--at",
                "2033-05-18T03:33:20Z",
                "ls",
            ],
            json!({"verb": "request", "role": "web-ops", "duration": 5400, "reason": "a b", "ticket": "OPS-1",
                "one_shot": true, "run_as": "#33", "start": 2_000_000_000, "command": ["ls"]}),
        ),
        (&["request", "--role", "r"], json!({"verb": "request", "role": "r", "one_shot": false, "command": []})),
        (&["requests"], json!({"verb": "requests", "all": false})),
        (&["requests", "--all"], json!({"verb": "requests", "all": true})),
        (&["show", "OIL"], json!({"verb": "show", "id": "011"})),
        (
            &["approve", "0123", "--for", "10m", "--one-shot", "--exact", "--comment", "ok"],
            json!({"verb": "approve", "id": "0123", "duration": 600, "one_shot": true, "exact": true, "comment": "ok"}),
        ),
        (&["approve", "0"], json!({"verb": "approve", "id": "0", "one_shot": false, "exact": false})),
        (&["deny", "0", "--reason", "no"], json!({"verb": "deny", "id": "0", "reason": "no"})),
        (&["cancel", "0"], json!({"verb": "cancel", "id": "0"})),
        (&["grants", "--all"], json!({"verb": "grants", "all": true})),
        (&["release"], json!({"verb": "release"})),
        (&["release", "0"], json!({"verb": "release", "id": "0"})),
        (&["revoke", "0", "--reason", "x"], json!({"verb": "revoke", "target": {"id": "0"}, "reason": "x"})),
        (
            &["revoke", "--user", "bob", "--reason", "x"],
            json!({"verb": "revoke", "target": {"user": "bob"}, "reason": "x"}),
        ),
        (&["revoke", "--all", "--reason", "x"], json!({"verb": "revoke", "target": "all", "reason": "x"})),
        (&["policy", "check"], json!({"verb": "policy-check"})),
        (
            &["audit", "list", "--after", "7", "--limit", "9", "--kind", "end", "--user", "bob"],
            json!({"verb": "audit-list", "after": 7, "limit": 9, "newest": false, "kind": "end", "user": "bob"}),
        ),
        (&["audit", "show", "17"], json!({"verb": "audit-show", "what": "17"})),
        (&["audit", "verify"], json!({"verb": "audit-verify"})),
        (
            &[
                "audit",
                "list",
                "--role",
                "ops",
                "--command",
                "ls -l",
                "--host",
                "web1",
                "--status",
                "failed",
                "--since",
                "2033-05-18T03:33:20Z",
                "--until",
                "2033-05-18T03:33:21Z",
                "--denied",
                "--before",
                "9",
            ],
            json!({"verb": "audit-list", "after": 0, "limit": 50, "newest": true, "before": 9, "filter": {"role": "ops",
                "command": "ls -l", "host": "web1", "status": "failed", "since": 2_000_000_000, "until": 2_000_000_001,
                "denied": true}}),
        ),
        (
            &["audit", "search", "a\u{7}b", "--limit", "3", "--after", "0"],
            json!({"verb": "audit-list", "after": 0, "limit": 3, "newest": false, "filter": {"text": "a\\x07b"}}),
        ),
        (
            &["audit", "export", "--from", "7", "--since", "2033-05-18T03:33:20Z"],
            json!({"verb": "audit-export", "from": 7, "since": 2_000_000_000}),
        ),
        (
            &["audit", "prune", "--keep", "2d", "--dry-run"],
            json!({"verb": "audit-prune", "keep": 172_800, "dry_run": true}),
        ),
    ];
    for (words, question) in questions {
        let broker = Scripted::refusing("no", None, 1);
        assert_eq!(broker.call(words).status, 1, "{words:?}");
        assert_eq!(broker.asked(), question, "{words:?}");
        let read: Question = serde_json::from_value(broker.asked()).unwrap();
        assert_eq!(Some(read.verb()), question["verb"].as_str(), "{words:?}");
    }
}

#[test]
fn the_broker_inherits_no_environment() {
    let broker = Scripted::answering(Answer::to::<Roles>(vec![]));
    broker.call(&["roles"]);
    let environment = broker.file("environment");
    assert!(!environment.contains("SECRET_OF_CALLER") && !environment.contains("TZ="), "{environment}");
}

#[test]
fn refusals_are_a_line_a_hint_and_a_status() {
    let broker = Scripted::refusing("you are not eligible for role admin", Some("jitctl roles"), 1);
    let called = broker.call(&["request", "--role", "admin"]);
    assert_eq!(called.status, 1);
    assert_eq!(called.stderr, "jitctl: you are not eligible for role admin\nhint: jitctl roles\n");
    assert_eq!(called.stdout, "");
    let called = broker.call(&["request", "--role", "admin", "--json"]);
    let expected = json!({"error": {"code": "not-eligible", "message": "you are not eligible for role admin",
        "hint": "jitctl roles", "exit": 1}});
    assert_eq!(serde_json::from_str::<Value>(&called.stdout).unwrap(), expected);
    assert_eq!(Scripted::refusing("x", None, 2).call(&["roles"]).status, 2);
    assert_eq!(Scripted::refusing("x", None, 0).call(&["roles"]).status, 1, "a refusal is never a success");
}

#[test]
fn hostile_answers_become_an_error_of_one_line() {
    let good = serde_json::to_string(&json!({"ok": {"roles": []}})).unwrap();
    let hostile = [
        Scripted::silent(),
        Scripted::silent().with("reply", "\x1b[2J garbage \x07"),
        Scripted::silent().with("reply", &good[..good.len() - 3]),
        Scripted::silent().with("reply", format!("{good}{good}")),
        Scripted::silent().with("reply", b"\xff\xfe\x00"),
        Scripted::silent().with("reply", "[".repeat(1_000_000)),
        Scripted::silent().with("reply", "{\"ok\":{\"grants\":[]}}"),
        Scripted::silent().with("reply", "{\"ok\":{\"roles\":[{\"name\":\"../x\"}]}}"),
        Scripted::silent().with("endless", ""),
    ];
    for (index, broker) in hostile.iter().enumerate() {
        let called = broker.call(&["roles"]);
        assert_eq!((called.status, called.stdout.as_str()), (1, ""), "{index}");
        assert_eq!(called.stderr.lines().count(), 1, "{index}: {}", called.stderr);
        assert!(called.stderr.starts_with("jitctl: the broker"), "{index}: {}", called.stderr);
        assert!(!called.stderr.trim_end().chars().any(char::is_control), "{index}: {}", called.stderr);
    }
}

#[test]
fn stderr_of_the_broker_reaches_the_user() {
    let broker = Scripted::silent().with("says", "jit-sudo-broker: must be setuid root\n");
    let called = broker.call(&["roles"]);
    assert_eq!(
        called.stderr,
        "jit-sudo-broker: must be setuid root\njitctl: the broker gave no answer (exit status 7)\n"
    );
}

#[test]
fn local_times_follow_the_zone_of_the_user() {
    // Central European time as a POSIX TZ rule, so that no zone database is needed.
    let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
    let request = |time: &str| {
        let broker = Scripted::refusing("no", None, 1);
        let called = finish(broker.command(&["request", "--at", time, "ls"]).env("TZ", zone).spawn().unwrap());
        (called.status, called.status == 1 && broker.asked()["start"] == 2_003_824_800)
    };
    assert_eq!(request("2033-07-01 12:00"), (1, true));
    assert_eq!(request("2033-07-01T10:00:00Z"), (1, true));
    assert_eq!(request("2033-07-01 13:00"), (1, false));
    assert_eq!(request("2033-03-27 02:30"), (2, false), "the clock is put forward over this time");
}

#[test]
fn bytes_that_are_not_utf_8_reach_the_broker_unchanged() {
    use std::os::unix::ffi::OsStrExt;
    let broker = Scripted::refusing("no", None, 1);
    let mut command = broker.command(&["request", "--reason"]);
    command
        .arg(std::ffi::OsStr::from_bytes(b"\xff\x1b"))
        .args(["--", "ls"])
        .arg(std::ffi::OsStr::from_bytes(b"a\xfe\\"));
    finish(command.spawn().unwrap());
    assert_eq!(broker.asked()["reason"], "\\xff\\x1b");
    assert_eq!(broker.asked()["command"], json!(["ls", "a\\xfe\\\\"]));
}

#[test]
fn a_request_that_is_too_long_is_not_sent() {
    let broker = Scripted::silent();
    // execve accepts one argument of 120 KiB; escaped control bytes are four times as long, and JSON doubles the
    // backslash.
    let word = "\x01".repeat(120_000);
    let mut words = vec!["why", "--", "ls"];
    words.extend([word.as_str(); 10]);
    let called = broker.call(&words);
    assert_eq!(called.status, 1);
    assert!(called.stderr.starts_with("jitctl: the question to the broker has"), "{}", called.stderr);
    assert_eq!(broker.times_asked(), 0);
}
