//! A kill at each system call of a rotation or a retirement leaves a host that works with one key, or with none.

use std::collections::{BTreeSet, HashMap};

use harness::PrivateRoot;

use crate::{both_say_intact, own_root};

const STATE: &str = "/var/lib/jit-sudo";
const BROKER: &str = "/usr/libexec/jit-sudo/jit-sudo-broker";
const ROTATE: &str = r#"{"verb":"key-rotate","reason":"x"}"#;
const ASK: &str = r#"{"verb":"key-rotate","reason":"x","dry_run":true}"#;
const RETIRE: &str = r#"{"verb":"key-retire","reason":"x"}"#;

/// The system calls that change what another process finds later. A kill at any other call leaves what a kill at the next of
/// these leaves.
const CHANGING: [&str; 16] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "linkat",
    "fchmod",
    "exit_group",
];

/// At which system calls a test kills.
#[derive(Clone, Copy, PartialEq)]
enum Kills {
    /// At those that change something.
    Changing,
    Each,
}

/// Returns the system calls of a broker that answers `question`, from the first one on that names the file of a key.
fn places(root: &PrivateRoot, question: &str, kills: Kills) -> Vec<(String, u32)> {
    root.script(&format!("echo '{question}' | strace -q -o /root/reference {BROKER} >/dev/null"));
    let trace = root.read("/root/reference");
    let mut counts: HashMap<&str, u32> = HashMap::new();
    let (mut calls, mut has_begun) = (Vec::new(), false);
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            continue;
        }
        let count = counts.entry(name).or_default();
        *count += 1;
        // What comes before changes nothing but the head that is signed.
        has_begun |= line.contains("\"host_key.next\"") || line.contains("BEGIN") || line.contains("\"host_key\"");
        if has_begun && (kills == Kills::Each || CHANGING.contains(&name) || line.contains("O_CREAT")) {
            calls.push((name.to_owned(), *count));
        }
    }
    assert!(calls.len() > if kills == Kills::Each { 100 } else { 30 }, "{} calls", calls.len());
    calls
}

fn kill_at(root: &PrivateRoot, question: &str, (name, at): &(String, u32)) {
    root.script(&format!(
        "echo '{question}' | strace -q -o /dev/null -e inject={name}:signal=KILL:when={at} {BROKER} >/dev/null 2>&1 || :"
    ));
}

/// Returns what is in the journal of records of this kind.
fn count(root: &PrivateRoot, kind: &str) -> usize {
    let query = format!("SELECT count(*) FROM record WHERE kind = '{kind}'");
    root.script(&format!("sqlite3 {STATE}/journal.db \"{query}\"")).trim().parse().unwrap()
}

fn files(root: &PrivateRoot) -> String {
    let names = root.script(&format!("cd {STATE} && ls -d host_key* sealing_key.* 2>/dev/null || :"));
    names.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_kill_at_each_change_of_a_rotation_leaves_one_key_that_works() {
    rotations(Kills::Changing);
}

#[test]
#[ignore = "some minutes: make kills"]
fn a_kill_at_each_system_call_of_a_rotation_leaves_one_key_that_works() {
    rotations(Kills::Each);
}

fn rotations(kills: Kills) {
    let root = own_root();
    let expected = files(&root);
    let calls = places(&root, ROTATE, kills);
    let (mut rotated, mut left) = (0, BTreeSet::new());
    for call in &calls {
        let before = count(&root, "rotation");
        kill_at(&root, ROTATE, call);
        let after = count(&root, "rotation");
        assert!(after == before || after == before + 1, "{call:?}: {before} and {after} rotations");
        rotated += after - before;
        left.insert(files(&root));
        // The next act with the key repairs the rest.
        root.script(&format!("echo '{ASK}' | {BROKER} | grep -q '\"ok\"'"));
        assert_eq!(files(&root), expected, "{call:?}");
        let query = "SELECT json_extract(CAST(body AS TEXT), '$.identity.key') FROM record WHERE kind = 'rotation' \
                     ORDER BY seq DESC LIMIT 1";
        let named = root.script(&format!("sqlite3 {STATE}/journal.db \"{query}\""));
        let keys = root.script(&format!("ssh-keygen -y -f {STATE}/host_key; cat {STATE}/host_key.pub"));
        for line in keys.lines() {
            assert!(line.starts_with(named.trim()), "{call:?}: {named} / {keys}");
        }
        assert_eq!(count(&root, "rotation"), after, "{call:?}: the repair rotates nothing");
    }
    assert!(rotated > 5 && rotated < calls.len(), "{rotated} of {}", calls.len());
    assert!(left.iter().any(|files| files.contains("host_key.next")), "{left:?}");
    assert!(left.iter().any(|files| files.contains("host_key.former")), "{left:?}");
    both_say_intact(&root);
    let codes: BTreeSet<String> = root.journal().iter().map(|record| record.text("code").to_owned()).collect();
    assert!(!codes.contains("host-changed") && !codes.contains("journal-not-signed"), "{codes:?}");
}

#[test]
fn a_kill_at_each_change_of_a_retirement_leaves_the_key_or_none() {
    retirements(Kills::Changing);
}

#[test]
#[ignore = "some minutes: make kills"]
fn a_kill_at_each_system_call_of_a_retirement_leaves_the_key_or_none() {
    retirements(Kills::Each);
}

fn retirements(kills: Kills) {
    let root = own_root();
    let expected = files(&root);
    root.script(&format!("cp -a {STATE} /root/state"));
    let restore = || drop(root.script(&format!("rm -rf {STATE}; cp -a /root/state {STATE}")));
    let calls = places(&root, RETIRE, kills);
    let (mut retired, mut left) = (0, BTreeSet::new());
    for call in &calls {
        restore();
        kill_at(&root, RETIRE, call);
        let is_retired = count(&root, "retirement") == 1;
        left.insert((is_retired, files(&root)));
        let said = root.script(&format!("echo '{ASK}' | {BROKER} || :"));
        if is_retired {
            retired += 1;
            assert!(said.contains("this host was retired at "), "{call:?}: {said}");
            assert_eq!(files(&root), "host_key.pub", "{call:?}");
            root.as_root(["jitctl", "audit", "verify"]).intact();
        } else {
            assert!(said.contains("\"ok\""), "{call:?}: {said}");
            assert_eq!(files(&root), expected, "{call:?}");
        }
    }
    assert!(retired > 5 && retired < calls.len(), "{retired} of {}", calls.len());
    assert!(left.contains(&(true, expected.clone())) && left.contains(&(true, "host_key.pub".to_owned())), "{left:?}");
}
