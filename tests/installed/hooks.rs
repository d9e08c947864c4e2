//! Hooks: the administrator's programs receive events, without rights and without delaying commands.

use std::time::{Duration, Instant};

use harness::{PrivateRoot, Record, eventually};
use serde_json::Value;

use crate::{both_say_intact, granted, own_root, request};

const PATIENCE: Duration = Duration::from_secs(25);

fn hook(root: &PrivateRoot, name: &str, mode: u32, text: &str) {
    root.write(&format!("/etc/jit-sudo/hooks.d/{name}"), mode, format!("#!/bin/sh\n{text}\n"));
}

fn alerts(root: &PrivateRoot) -> Vec<Record> {
    root.journal().into_iter().filter(|record| record.kind() == "alert").collect()
}

fn lines(root: &PrivateRoot, path: &str, least: usize) -> Vec<String> {
    eventually("the hook has written", PATIENCE, || {
        let text = std::fs::read_to_string(root.path(path)).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= least).then_some(lines)
    })
}

#[test]
fn a_hook_gets_each_record_with_no_rights_and_no_environment() {
    let root = own_root();
    hook(
        &root,
        "10-file",
        0o755,
        "umask 022; id >/tmp/id; tr '\\0' '\\n' </proc/self/environ >/tmp/env; cat >>/tmp/events",
    );
    let (person, approver) = (root.person(&["reviewed"]), root.person(&["approvers"]));
    let pending = crate::id(&request(&root, &person, "reviewed", &[]));
    root.run_as(&approver.name, ["jitctl", "approve", &pending]).succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.run_as(&approver.name, ["jitctl", "revoke", &pending, "--reason", "done"]).succeeded();
    let mut events: Vec<Value> =
        lines(&root, "/tmp/events", 4).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    events.sort_by_key(|event| event["seq"].as_u64());
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["request", "approval", "grant", "revocation"]);
    // The exact bytes of the journal.
    let journal: Vec<String> = root.journal().into_iter().map(|record| record.body).collect();
    for line in lines(&root, "/tmp/events", 4) {
        assert!(journal.contains(&line), "{line}");
    }
    assert!(root.read("/tmp/id").contains("(jit-sudo-hooks)") && !root.read("/tmp/id").contains("root"));
    let environment = root.read("/tmp/env");
    assert_eq!(environment.trim_end().lines().count(), 1, "{environment}");
    assert!(environment.starts_with("PATH="));
    assert!(alerts(&root).is_empty(), "{:?}", alerts(&root));
}

#[test]
fn a_hook_that_fails_hangs_or_is_untrusted_raises_an_alert_without_delay() {
    let root = own_root();
    hook(&root, "10-fail", 0o755, "exit 3");
    hook(&root, "20-hang", 0o755, "setsid sleep 1234 & exec sleep 1234");
    hook(&root, "30-open", 0o757, "touch /tmp/never");
    hook(&root, "40-last", 0o755, "umask 022; cat >>/tmp/last");
    hook(&root, "50-off", 0o644, "touch /tmp/never");
    hook(&root, "60-old~", 0o755, "touch /tmp/never");
    let begun = Instant::now();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    assert!(begun.elapsed() < Duration::from_secs(5), "a hook held a command up: {:?}", begun.elapsed());
    // Both events; the hook that hangs was killed twice. The second failure of a hook is counted.
    lines(&root, "/tmp/last", 2);
    let said: Vec<String> = alerts(&root).iter().map(|alert| alert.text("sentence").to_owned()).collect();
    let count = |part: &str| said.iter().filter(|sentence| sentence.contains(part)).count();
    assert_eq!(count("10-fail ended with status 3"), 1, "{said:?}");
    assert_eq!(count("20-hang did not end within 10 s"), 1, "{said:?}");
    assert_eq!(count("30-open is not run"), 1, "{said:?}");
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(!root.path("/tmp/never").exists());
    assert_eq!(root.script("pgrep -x sleep || true"), "", "what a hook leaves behind is killed");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn the_repeats_of_a_failing_hook_are_counted_and_the_count_is_recorded() {
    let root = own_root();
    hook(&root, "10-fail", 0o755, "cat >>/tmp/seen; exit 3");
    root.script("install -m 666 /dev/null /tmp/seen");
    let person = granted(&root, "self-service");
    for _ in 0..10 {
        request(&root, &person, "self-service", &[]);
        root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    }
    let seen = || root.read("/tmp/seen").lines().count();
    eventually("the hook has got each event", PATIENCE, || (seen() >= 20).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let failures = seen();
    let codes = |root: &harness::PrivateRoot| {
        let alerts = alerts(root);
        alerts.iter().map(|alert| alert.text("code").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&root), ["hook-failed"]);
    // As if ten minutes had passed.
    root.script(
        "sqlite3 /var/lib/jit-sudo/journal.db \"UPDATE journal_meta SET value = \
         CAST(json_set(CAST(value AS TEXT), '$.since', json_extract(CAST(value AS TEXT), '$.since') - 600000000) AS BLOB) \
         WHERE name = 'failed:10-fail'\"",
    );
    root.as_root(["jitctl", "audit", "list"]).succeeded();
    eventually("the count is recorded", PATIENCE, || (codes(&root).len() >= 2).then_some(()));
    assert_eq!(codes(&root), ["hook-failed", "hooks-counted"]);
    let sentence = alerts(&root)[1].text("sentence").to_owned();
    assert!(sentence.starts_with(&format!("{} more failures of a hook", failures - 1)), "{failures}: {sentence}");
    both_say_intact(&root);
}

#[test]
fn a_hook_directory_that_others_may_write_is_not_used() {
    let root = own_root();
    hook(&root, "10-file", 0o755, "touch /tmp/never");
    root.script("chmod o+w /etc/jit-sudo/hooks.d");
    let _ = granted(&root, "self-service");
    eventually("an alert is recorded", PATIENCE, || (!alerts(&root).is_empty()).then_some(()));
    assert!(alerts(&root)[0].text("sentence").contains("no hook is run"));
    assert!(!root.path("/tmp/never").exists());
}

#[test]
fn a_hook_directory_that_others_may_list_is_not_used() {
    let root = own_root();
    hook(&root, "10-file", 0o755, "touch /tmp/never");
    root.script("chmod 755 /etc/jit-sudo/hooks.d");
    let _ = granted(&root, "self-service");
    eventually("an alert is recorded", PATIENCE, || (!alerts(&root).is_empty()).then_some(()));
    assert!(alerts(&root)[0].text("sentence").contains("/etc/jit-sudo/hooks.d is open to other users (mode 0755)"));
    assert!(!root.path("/tmp/never").exists());
    let doctor = root.as_root(["jitctl", "doctor"]);
    assert!(doctor.stdout.contains("chmod 711 /etc/jit-sudo/hooks.d"), "{doctor:?}");
}

#[test]
fn without_the_user_no_hook_runs_and_one_alert_says_so() {
    let root = own_root();
    root.script("userdel jit-sudo-hooks");
    hook(&root, "10-file", 0o755, "touch /tmp/never");
    let person = granted(&root, "self-service");
    eventually("an alert is recorded", PATIENCE, || (!alerts(&root).is_empty()).then_some(()));
    request(&root, &person, "self-service", &[]);
    root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(alerts(&root).len(), 1, "{:?}", alerts(&root));
    assert_eq!(alerts(&root)[0].text("code"), "hooks-without-user");
    assert!(!root.path("/tmp/never").exists());
}

#[test]
fn only_root_can_use_the_hook_runner() {
    let root = own_root();
    hook(&root, "10-file", 0o755, "touch /tmp/never");
    let output = root.command("alice", ["/usr/libexec/jit-sudo/jit-sudo-hooks"]).stdin("{\"kind\":\"alert\"}\n").run();
    output.exited(1);
    std::thread::sleep(Duration::from_millis(500));
    assert!(!root.path("/tmp/never").exists());
}
