//! A kill at each system call of a backup, and of a pruning, costs no record: the journal stays intact, the next try does the rest, and
//! no file is taken for a backup that is none.

use std::collections::HashMap;

use harness::PrivateRoot;

use crate::evidence::{Epochs, forge, with_runs};

const STATE: &str = "/var/lib/jit-sudo";
const BROKER: &str = "/usr/libexec/jit-sudo/jit-sudo-broker";
const BACKUP: &str = r#"{"verb":"backup","file":"/root/backup.db"}"#;
const PRUNE: &str = r#"{"verb":"audit-prune","keep":777600}"#;

/// How many of the calls an ordinary test takes.
const SOME: usize = 60;

/// Every call.
const ALL: usize = usize::MAX;

/// Returns the system calls of a broker that answers `question`, each with its number among those of its name, from the first one on
/// that names `file`.
fn calls(root: &PrivateRoot, question: &str, file: &str) -> Vec<(String, u32)> {
    root.script(&format!("echo '{question}' | strace -q -o /root/reference {BROKER} | grep -q '\"ok\"'"));
    let trace = root.read("/root/reference");
    let (mut counts, mut calls, mut has_begun) = (HashMap::<&str, u32>::new(), Vec::new(), false);
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(').filter(|(name, _)| !name.contains(' ')) else { continue };
        let count = counts.entry(name).or_default();
        *count += 1;
        has_begun |= line.contains(file);
        if has_begun {
            calls.push((name.to_owned(), *count));
        }
    }
    calls
}

/// Kills a broker that answers `question` at each call, or at `limit` of them, each time with the same state, and calls `check`.
fn killed(root: &PrivateRoot, question: &str, file: &str, limit: usize, mut check: impl FnMut(&(String, u32))) {
    root.script(&format!("settle; cp -a {STATE} /root/state"));
    let restore = || drop(root.script(&format!("settle; rm -rf {STATE} /root/backup.db*; cp -a /root/state {STATE}")));
    let calls = calls(root, question, file);
    assert!(calls.len() > 100, "{} calls", calls.len());
    let step = calls.len().div_ceil(limit).max(1);
    for call in calls.iter().step_by(step).chain(calls.last()) {
        restore();
        let (name, at) = call;
        root.script(&format!(
            "echo '{question}' | strace -q -o /dev/null -e inject={name}:signal=KILL:when={at} {BROKER} >/dev/null 2>&1 || :"
        ));
        check(call);
    }
}

fn backup_is_killed(limit: usize) {
    let (root, _) = with_runs(3);
    let (mut whole, mut partial) = (0, 0);
    killed(&root, BACKUP, "/root/backup.db", limit, |call| {
        root.as_root(["jitctl", "audit", "verify"]).intact();
        if root.path("/root/backup.db").exists() {
            // What is taken for a backup is one; anything else is refused, and the database stays.
            let restored = root.as_root(["jitctl", "restore", "/root/backup.db"]);
            root.as_root(["jitctl", "audit", "verify"]).intact();
            if restored.status.success() {
                whole += 1;
                return;
            }
            partial += 1;
            root.script("rm -f /root/backup.db*");
        }
        let again = root.as_root(["jitctl", "backup", "/root/backup.db"]);
        assert!(again.status.success(), "{call:?}: {again:?}");
    });
    assert!(whole > 0 && partial > 0, "{whole} whole and {partial} partial backups");
}

fn pruning_is_killed(limit: usize) {
    let (root, person) = with_runs(1);
    let now = root.journal()[0].number("time");
    forge(&root, 1500, now - 10 * 86_400_000_000, Epochs::None);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.as_root(["jitctl", "key", "accept", "--reason", "it was off"]).succeeded();
    let (mut before, mut behind) = (0, 0);
    killed(&root, PRUNE, "journal.db", limit, |call| {
        root.as_root(["jitctl", "audit", "verify"]).intact();
        let pruned = root.journal().iter().filter(|record| record.kind() == "prune").count();
        assert!(pruned <= 1, "{call:?}");
        if pruned == 1 {
            behind += 1
        } else {
            before += 1
        }
        root.as_root(["jitctl", "audit", "prune", "--keep", "9d"]).succeeded();
        let records = root.journal();
        assert_eq!(records.iter().filter(|record| record.kind() == "prune").count(), 1, "{call:?}");
        assert_eq!(records[0].seq, 1501, "{call:?}");
        root.as_root(["jitctl", "audit", "verify"]).intact();
    });
    assert!(before > 0 && behind > 0, "{before} before and {behind} behind the record");
}

#[test]
fn a_kill_at_some_system_calls_of_a_backup_leaves_the_journal_and_no_false_backup() {
    backup_is_killed(SOME);
}

#[test]
#[ignore = "takes minutes; `make kills`"]
fn a_kill_at_each_system_call_of_a_backup_leaves_the_journal_and_no_false_backup() {
    backup_is_killed(ALL);
}

#[test]
fn a_kill_at_some_system_calls_of_a_pruning_leaves_a_journal_that_verifies() {
    pruning_is_killed(SOME);
}

#[test]
#[ignore = "takes minutes; `make kills`"]
fn a_kill_at_each_system_call_of_a_pruning_leaves_a_journal_that_verifies() {
    pruning_is_killed(ALL);
}
