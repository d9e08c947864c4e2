//! A run whose supervisor, enforcer and watchdog do not act: it is ended all the same, and the records say so.

use std::time::Duration;

use harness::{Person, PrivateRoot, Record, eventually};

use crate::locked_directory::{Writer, prepared};

/// The silence after which a watchdog kills, and what a busy machine needs.
const SILENCE: Duration = Duration::from_secs(50);

/// The grace period, the time until a run counts as overdue, and what a busy machine needs.
const OVERDUE: Duration = Duration::from_secs(40);

/// Stops the processes of jit-sudo that have this name.
fn stop(root: &PrivateRoot, name: &str) {
    let stopped = root.script(&format!("pkill -STOP -c -x '{name}' || :"));
    assert_ne!(stopped.trim(), "0", "{name}");
}

fn end_of(root: &PrivateRoot, person: &Person) -> Option<Record> {
    let is_one = |record: &Record| record.kind() == "end" && record.number("uid") == i64::from(person.uid);
    root.journal().into_iter().rfind(is_one)
}

#[test]
fn a_run_whose_enforcer_does_not_answer_is_killed_and_its_record_says_why() {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    let writer = Writer::start(&root, &person, false);
    stop(&root, "jit-sudo-enforc");
    eventually("it is killed", SILENCE, || writer.has_ended(&root).then_some(()));
    let end = eventually("its end is recorded", harness::PATIENCE, || end_of(&root, &person));
    assert!(end.text("detail").contains("did not answer, so another one killed it"), "{end:?}");
    root.script("pkill -KILL -x jit-sudo-enforc || :");
}

/// Nobody whose task it is ends the run.
fn is_ended_by(act: impl Fn(&PrivateRoot, &str)) {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    let writer = Writer::start(&root, &person, false);
    stop(&root, "jit-sudo-enforc");
    stop(&root, "jit-sudo");
    act(&root, &writer.grant);
    eventually("all its processes end", OVERDUE, || writer.has_ended(&root).then_some(()));
    let is_told = |record: &Record| record.kind() == "alert" && record.text("code") == "overdue";
    let told = eventually("it is recorded", harness::PATIENCE, || root.journal().into_iter().find(is_told));
    assert!(told.text("sentence").contains("its processes were killed"), "{told:?}");
    root.script("pkill -KILL -x jit-sudo-enforc; pkill -KILL -x jit-sudo || :");
}

#[test]
fn a_revocation_ends_a_run_that_nobody_else_ends() {
    is_ended_by(|root, grant| {
        root.as_root(["jitctl", "revoke", grant, "--reason", "over"]).succeeded();
    });
}

#[test]
fn a_sweep_ends_a_run_that_is_overdue() {
    is_ended_by(|root, _| {
        std::thread::sleep(Duration::from_secs(9));
        root.as_root(["jitctl", "sweep"]).succeeded();
    });
}

#[test]
fn a_later_run_ends_a_run_that_is_overdue() {
    is_ended_by(|root, _| {
        std::thread::sleep(Duration::from_secs(9));
        root.as_root(["jit-sudo", "-n", "true"]).succeeded();
    });
}
