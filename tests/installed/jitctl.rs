//! jitctl, as people and programs use it. It has no privileges.

use std::os::unix::fs::MetadataExt;

use crate::{granted, id, request, root};

#[test]
fn jitctl_has_no_privilege_of_its_own() {
    let status = std::fs::metadata(root().path("/usr/bin/jitctl")).unwrap();
    assert_eq!(status.mode() & 0o7777, 0o755);
}

#[test]
fn roles_lists_only_the_roles_of_the_caller() {
    let person = root().person(&["reviewed", "deploy"]);
    let roles = root().run_as(&person.name, ["jitctl", "--json", "roles"]).json();
    let mut names: Vec<&str> =
        roles["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["deploy", "reviewed"]);
    let text = root().run_as(&person.name, ["jitctl", "roles"]);
    assert!(text.succeeded().contains("reviewed") && text.stdout.contains("Look at accounts"), "{text:?}");
    let nobody = root().person(&[]);
    let roles = root().run_as(&nobody.name, ["jitctl", "--json", "roles"]).json();
    assert_eq!(roles["roles"].as_array().map(Vec::len), Some(0));
}

#[test]
fn why_shows_the_decision_and_a_hint() {
    let person = root().person(&["reviewed"]);
    let why = |words: &[&str]| {
        root().run_as(&person.name, [&["jitctl", "--json", "why"][..], words].concat()).json()["why"].clone()
    };
    let no = why(&["--", "cat", "/etc/shadow"]);
    assert_eq!(no["allowed"], false, "{no}");
    let would = why(&["--", "id", "-u"]);
    assert_eq!((would["allowed"].as_bool(), would["role"].as_str()), (Some(false), Some("reviewed")), "{would}");
    assert!(would["hint"].as_str().is_some_and(|hint| hint.contains("jitctl request")), "{would}");
    assert_eq!(would["approvers"], serde_json::json!(["%approvers"]));
    let granted = granted(root(), "self-service");
    let yes = root().run_as(&granted.name, ["jitctl", "--json", "why", "--", "id"]).json()["why"].clone();
    assert_eq!(yes["allowed"], true, "{yes}");
}

#[test]
fn requests_shows_approvers_the_pending_requests() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "reviewed", &["--", "id", "-u"]));
    let text = root().run_as(&approver.name, ["jitctl", "requests"]);
    assert!(text.succeeded().contains(&pending) && text.stdout.contains(&person.name), "{text:?}");
    let shown = root().run_as(&approver.name, ["jitctl", "show", &pending[..6]]);
    assert!(shown.succeeded().contains("/usr/bin/id") && shown.stdout.contains("a test needs it"), "{shown:?}");
    let stranger = root().person(&["self-service"]);
    let listed = root().run_as(&stranger.name, ["jitctl", "--json", "requests"]).json();
    assert_eq!(listed["requests"].as_array().map(Vec::len), Some(0), "{listed}");
}

#[test]
fn text_of_a_requester_cannot_control_the_approvers_terminal() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let evil = "fine\x1b[2J\x1b]0;title\x07\u{202e}\r\nAPPROVED";
    let words = ["jitctl", "--json", "request", "--role", "reviewed", "--reason", evil, "--", "id", evil];
    let pending = id(&root().run_as(&person.name, words).json()["grant"]);
    for words in
        [["jitctl", "show", &pending].as_slice(), &["jitctl", "requests"], &["jitctl", "--json", "show", &pending]]
    {
        let mut session = root().pty_as(&approver.name, words);
        assert!(session.wait().success());
        let screen = session.screen();
        assert!(
            !screen.contains("\x1b[2J") && !screen.contains("\x1b]0") && !screen.contains('\u{202e}'),
            "{screen:?}"
        );
        assert!(!screen.lines().any(|line| line.starts_with("APPROVED")), "{screen}");
    }
}

#[test]
fn waiting_ends_with_3_while_it_is_pending_and_with_0_once_approved() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let words = ["jitctl", "request", "--role", "reviewed", "--reason", "x", "--wait=1s"];
    assert_eq!(root().run_as(&person.name, words).status.code(), Some(3));
    let pending = root().run_as(&approver.name, ["jitctl", "--json", "requests"]).json();
    let mine = pending["requests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|request| request["requester"] == person.name.as_str())
        .unwrap();
    let pending = id(mine);
    root().run_as(&approver.name, ["jitctl", "approve", &pending]).succeeded();
}

#[test]
fn usage_errors_exit_with_2() {
    for words in [
        &["jitctl", "aprove", "x"][..],
        &["jitctl"],
        &["jitctl", "request"],
        &["jitctl", "deny", "abc"],
        &["jitctl", "request", "--role", "x", "--for", "soon"],
    ] {
        let output = root().run_as("alice", words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
    }
}

#[test]
fn an_id_that_is_not_there_or_not_clear_is_refused() {
    root().run_as("alice", ["jitctl", "show", "zzzzzzzzzz"]).refused("zzzzzzzzzz");
    let output = root().run_as("alice", ["jitctl", "show", "../../etc"]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn everybody_sees_their_own_records_and_readers_see_all() {
    let (person, other) = (root().person(&["deploy"]), root().person(&["deploy"]));
    for who in [&person, &other] {
        root().run_as(&who.name, ["jit-sudo", "-n", "id"]).succeeded();
    }
    let records =
        root().run_as(&person.name, ["jitctl", "--json", "audit", "list"]).json()["records"]["records"].clone();
    let bodies: Vec<&str> = records.as_array().unwrap().iter().map(|record| record["body"].as_str().unwrap()).collect();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(bodies.iter().all(|body| body.contains(&format!("\"uid\":{}", person.uid))), "{bodies:?}");
    let foreign = crate::records_of(root(), &other)[0].seq.to_string();
    root().run_as(&person.name, ["jitctl", "audit", "show", &foreign]).refused("");
    root().run_as(&person.name, ["jitctl", "audit", "verify"]).refused("");
    root().as_root(["jitctl", "audit", "show", &foreign]).succeeded();
}

#[test]
fn audit_show_describes_a_run() {
    let person = root().person(&["deploy"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "exit 41"]).exited(41);
    let run = crate::records_of(root(), &person)[0].text("run").to_owned();
    let shown = root().as_root(["jitctl", "audit", "show", &run]);
    for word in [person.name.as_str(), "exit 41", "/usr/bin/sh"] {
        assert!(shown.succeeded().contains(word), "'{word}' is missing: {shown:?}");
    }
}

#[test]
fn key_init_changes_nothing_the_second_time() {
    let before = root().as_root(["jitctl", "--json", "key", "show"]).json();
    let again = root().as_root(["jitctl", "--json", "key", "init"]).json();
    assert_eq!(again["host-key"]["created"], false, "{again}");
    assert_eq!(again["host-key"]["public_key"], before["host-key"]["public_key"]);
    root().run_as("alice", ["jitctl", "key", "init"]).refused("");
}
