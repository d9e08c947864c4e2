//! The state directory on a full file system: no command starts, but everything that ends a grant or a session still does so.

use harness::{Person, PrivateRoot, eventually};
use serde_json::Value;

use crate::{id, own_root, request};

/// Moves the state directory to a small file system of its own.
fn small(root: &PrivateRoot) {
    root.script(
        "cp -a /var/lib/jit-sudo /root/state; mount -t tmpfs -o size=12m,mode=700 tmpfs /var/lib/jit-sudo; \
         cp -a /root/state/. /var/lib/jit-sudo/; rm /var/lib/jit-sudo/reserve; jitctl sweep",
    );
}

/// Uses the last byte of that file system, and of the space that the database has already.
fn fill(root: &PrivateRoot, other: &Person) {
    root.script("dd if=/dev/zero bs=1k 2>/dev/null >>/var/lib/jit-sudo/filler || true");
    for _ in 0..300 {
        let run = root.run_as(&other.name, ["jit-sudo", "-n", "true"]);
        if !run.status.success() {
            let said = run.refused("the run cannot be recorded, so it does not begin");
            assert!(said.contains("hint: as root: free space on the file system of /var/lib/jit-sudo"), "{said}");
            assert_eq!(said.lines().count(), 2, "{said}");
            let free = root.script("stat -f -c %a /var/lib/jit-sudo");
            assert_eq!(free.trim(), "0");
            return;
        }
        root.script("dd if=/dev/zero bs=1k 2>/dev/null >>/var/lib/jit-sudo/filler || true");
    }
    panic!("the disk never was full");
}

fn empty(root: &PrivateRoot) {
    root.script("rm -f /var/lib/jit-sudo/filler");
}

/// Starts a command that lasts, and returns the id of its run. `seconds` tells it from others.
fn lasting(root: &PrivateRoot, person: &Person, seconds: u32) -> String {
    root.run_as(&person.name, ["setsid", "-f", "jit-sudo", "-n", "sleep", &seconds.to_string()]).succeeded();
    let nap = seconds.to_string();
    let found = || {
        let listed = root.as_root(["jitctl", "--json", "session", "list"]).json();
        let sessions: Vec<Value> = listed["sessions"].as_array().cloned().unwrap_or_default();
        let one = sessions.into_iter().find(|one| one["command"][1] == *nap)?;
        one["run"].as_str().map(str::to_owned)
    };
    eventually("the session is listed", harness::PATIENCE, found)
}

fn is_running(root: &PrivateRoot, seconds: u32) -> bool {
    root.as_root(["pgrep", "-xf", &format!("sleep {seconds}")]).status.success()
}

fn ends(root: &PrivateRoot, seconds: u32) {
    eventually("it ends", harness::PATIENCE, || (!is_running(root, seconds)).then_some(()));
}

fn codes(root: &PrivateRoot, code: &str) -> usize {
    root.journal().iter().filter(|record| record.kind() == "alert" && record.text("code") == code).count()
}

#[test]
fn on_a_full_disk_grants_and_sessions_can_be_ended_and_this_is_recorded() {
    let root = own_root();
    let (other, person, leaver) =
        (root.person(&["deploy"]), root.person(&["self-service"]), root.person(&["self-service"]));
    small(&root);
    let revoked = id(&request(&root, &person, "self-service", &[]));
    request(&root, &leaver, "self-service", &[]);
    let killed = lasting(&root, &other, 901);
    let frozen = lasting(&root, &other, 902);
    let _ = (lasting(&root, &person, 903), lasting(&root, &leaver, 904));
    fill(&root, &other);
    root.as_root(["jitctl", "session", "freeze", &frozen, "--reason", "looking"]).succeeded();
    root.as_root(["jitctl", "session", "kill", &killed, "--reason", "enough"]).succeeded();
    ends(&root, 901);
    fill(&root, &other);
    root.as_root(["jitctl", "revoke", &revoked, "--reason", "enough"]).succeeded();
    ends(&root, 903);
    fill(&root, &other);
    root.run_as(&leaver.name, ["jitctl", "release"]).succeeded();
    ends(&root, 904);
    fill(&root, &other);
    root.as_root(["jitctl", "session", "kill", &frozen, "--reason", "enough"]).succeeded();
    ends(&root, 902);
    fill(&root, &other);
    root.as_root(["jitctl", "key", "accept", "--reason", "all is well"]).succeeded();
    assert_eq!(codes(&root, "reserve-used"), 1, "it is told once while the disk stays full");
    root.as_root(["jitctl", "session", "thaw", &frozen, "--reason", "x"]).exited(1);
    empty(&root);
    root.as_root(["jitctl", "sweep"]).succeeded();
    assert_eq!(root.script("stat -c %s /var/lib/jit-sudo/reserve").trim(), (4 << 20).to_string());
    root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.as_root(["jitctl", "audit", "verify"]).intact();
    for kind in ["intervention", "revocation", "release"] {
        assert!(root.journal().iter().any(|record| record.kind() == kind), "{kind}");
    }
}

#[test]
fn without_a_reserve_a_session_is_ended_and_the_caller_is_told_that_there_is_no_record() {
    let root = own_root();
    let (other, person) = (root.person(&["deploy"]), root.person(&["self-service"]));
    small(&root);
    let grant = id(&request(&root, &person, "self-service", &[]));
    let killed = lasting(&root, &other, 911);
    let frozen = lasting(&root, &other, 912);
    let _ = lasting(&root, &person, 913);
    root.script("rm /var/lib/jit-sudo/reserve");
    fill(&root, &other);
    let said = root.as_root(["jitctl", "doctor"]);
    assert!(said.stdout.contains("/var/lib/jit-sudo/reserve holds 0 of 4096 KiB"), "{said:?}");
    root.as_root(["jitctl", "session", "freeze", &frozen, "--reason", "x"]).refused("disk is full");
    let said = root.as_root(["jitctl", "session", "kill", &killed, "--reason", "enough"]);
    said.refused(&format!("the session of run {killed} was ended, but this cannot be recorded"));
    assert!(said.stderr.contains("hint: free space on the file system of /var/lib/jit-sudo"), "{said:?}");
    assert!(!is_running(&root, 911));
    let said = root.as_root(["jitctl", "revoke", &grant, "--reason", "enough"]);
    said.refused("their grants could not be ended");
    assert!(!is_running(&root, 913) && is_running(&root, 912));
    let alerts = || {
        let lines = root.auth_log().into_iter();
        let count =
            lines.filter(|line| line.contains("root has ended run") && line.contains("cannot be recorded")).count();
        (count == 2).then_some(())
    };
    eventually("syslog has the alerts", harness::PATIENCE, alerts);
    empty(&root);
    root.as_root(["jitctl", "revoke", &grant, "--reason", "enough"]).succeeded();
    root.as_root(["jitctl", "sweep"]).succeeded();
    let ends: Vec<_> = root.journal().into_iter().filter(|record| record.kind() == "end").collect();
    assert_eq!(ends.iter().filter(|end| end.text("ended_by") == "lost").count(), 2);
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

/// The log of the database cannot be opened, although the file system has room.
#[test]
fn another_error_of_the_disk_is_not_taken_for_a_full_one() {
    let root = own_root();
    let other = root.person(&["deploy"]);
    root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
    root.script("mount --bind /proc/self/mem /var/lib/jit-sudo/journal.db-wal");
    let said = root.run_as(&other.name, ["jit-sudo", "-n", "true"]);
    root.script("umount /var/lib/jit-sudo/journal.db-wal");
    assert!(!said.status.success() && said.stderr.contains("unable to open"), "{said:?}");
    assert!(!said.stderr.contains("free space"), "{said:?}");
    root.run_as(&other.name, ["jit-sudo", "-n", "true"]).succeeded();
}

/// What ends a session wakes its supervisor by a file. Here this file cannot be written, as on a full file system that writes each
/// block to a new place, and the act has the reserve already.
#[test]
fn an_act_does_not_wait_for_the_reserve_that_it_has_itself() {
    let root = own_root();
    let (other, person) = (root.person(&["deploy"]), root.person(&["self-service"]));
    small(&root);
    let grant = id(&request(&root, &person, "self-service", &[]));
    fill(&root, &other);
    root.script("cd /var/lib/jit-sudo; mount --bind bell bell; mount -o remount,bind,ro bell");
    let begun = std::time::Instant::now();
    root.as_root(["jitctl", "revoke", &grant, "--reason", "enough"]).succeeded();
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{:?}", begun.elapsed());
    root.script("umount /var/lib/jit-sudo/bell");
    assert_eq!(codes(&root, "reserve-used"), 1);
}
