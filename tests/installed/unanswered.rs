//! A user can make the memory of a process unreadable: each reader of its environment then waits for ever. A process at an exec that
//! never ends does the same to the readers of its state and of its program. No end of a grant and no question waits for that.

use std::time::Duration;

use harness::{Person, PrivateRoot, eventually};

use crate::pam_programs::prepared;
use crate::{id, records_of, request};

/// Returns how many processes of this name and user live; reads no memory, as pgrep(1) would.
fn alive(root: &PrivateRoot, name: &str, person: Option<&Person>) -> usize {
    let uid = person.map_or(0, |person| person.uid);
    let script = format!(
        "cat /proc/[0-9]*/status 2>/dev/null | awk '/^Name:/ {{ name = $2 }} /^State:/ {{ state = $2 }} \
         /^Uid:/ && name == \"{name}\" && state != \"Z\" && $2 == {uid} {{ count++ }} END {{ print count + 0 }}'"
    );
    root.script(&script).trim().parse().unwrap()
}

fn until(root: &PrivateRoot, name: &str, person: Option<&Person>, count: usize) {
    eventually(&format!("{count} {name}"), harness::PATIENCE, || (alive(root, name, person) == count).then_some(()));
}

/// Starts such a process as this user, without a grant. It ends with the root.
fn unreadable(root: &PrivateRoot, person: &Person) {
    root.write("/root/unanswered.c", 0o600, include_str!("unanswered.c"));
    root.write("/usr/local/lib/fuse.py", 0o644, include_str!("fuse.py"));
    root.script("[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229; mkdir -p -m 1777 /tmp/served");
    root.script("gcc -O1 -o /usr/local/bin/unanswered /root/unanswered.c -lpthread");
    let script = "python3 /usr/local/lib/fuse.py /tmp/served /usr/bin/true /usr/bin/true -1 0 & \
                  while ! [ -e /tmp/served/program ]; do sleep 0.05; done; exec unanswered /tmp/served/program";
    root.write("/usr/local/bin/unreadable", 0o755, format!("#!/bin/sh\n{script}\n"));
    let out = format!("/tmp/unreadable.{}", person.name);
    root.script(&format!("runuser -u {} -- unshare -Urm unreadable >{out} 2>&1 </dev/null &", person.name));
    let pid = eventually("the process runs", harness::PATIENCE, || {
        root.read(&out).lines().find_map(|line| line.parse::<u32>().ok())
    });
    std::thread::sleep(Duration::from_secs(1));
    let read = root.as_root(["timeout", "1", "cat", &format!("/proc/{pid}/environ")]);
    assert_eq!(read.status.code(), Some(124), "the kernel does not answer: {read:?}");
}

fn told(root: &PrivateRoot) {
    let words = "did not show in time whether they belong";
    let told = || root.auth_log().iter().any(|line| line.contains(words));
    eventually("the administrator is told", harness::PATIENCE, || told().then_some(()));
}

fn no_program_waits(root: &PrivateRoot) {
    let script = "cat /proc/[0-9]*/status | awk '/^Name:/ { name = $2 } /^State:/ && $2 == \"D\" && name ~ /jit/ { print name }'";
    eventually("no program of ours waits", harness::PATIENCE, || root.script(script).trim().is_empty().then_some(()));
}

#[test]
fn a_process_whose_memory_cannot_be_read_delays_neither_an_end_nor_a_question() {
    let root = prepared("");
    let (person, other) = (root.person(&["door"]), root.person(&["self-service"]));
    root.script("for name in nap1 nap2 nap3; do cp /usr/bin/sleep /usr/local/bin/$name; done");
    request(&root, &person, "door", &[]);
    let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", "setsid nap1 900 & nap1 900"]);
    until(&root, "nap1", Some(&person), 2);
    let lost = records_of(&root, &person).into_iter().rfind(|record| record.kind() == "start").unwrap();
    root.script("pkill -STOP -x jit-sudo-broker; pkill -KILL -x jit-sudo-broker; while pgrep -x jit-sudo-broker >/dev/null; do sleep 0.05; done");
    unreadable(&root, &person);
    // A grant ends in time although there is a run to be closed, with a terminal and without.
    request(&root, &other, "self-service", &["--for", "5s"]);
    let line = |nap: &str| format!("trap '' TERM HUP INT; while :; do {nap} 900; done");
    let words = ["jit-sudo", "-n", "sh", "-c", &line("nap2")];
    let mut on_terminal = root.pty_as(&other.name, words);
    let words = ["timeout", "-s", "KILL", "60", "jit-sudo", "-n", "sh", "-c", &line("nap3")];
    let mut direct = root.pty_as(&other.name, [&["setsid", "-w"][..], &words].concat());
    until(&root, "nap2", None, 1);
    until(&root, "nap3", None, 1);
    until(&root, "nap2", None, 0);
    until(&root, "nap3", None, 0);
    on_terminal.wait();
    direct.wait();
    // The run is closed, and its processes have ended.
    until(&root, "nap1", Some(&person), 0);
    session.wait();
    for words in [["session", "list"].as_slice(), &["sweep"]] {
        root.command("root", [&["jitctl"], words].concat()).patience(Duration::from_secs(20)).run().succeeded();
    }
    let end = records_of(&root, &person).into_iter().rfind(|record| record.kind() == "end").unwrap();
    assert_eq!((end.text("run"), end.text("ended_by")), (lost.text("run"), "lost"));
    told(&root);
    // A run that lasts has an enforcer, whose helper looks for login sessions at the end.
    request(&root, &other, "self-service", &[]);
    root.run_as(&other.name, ["jit-sudo", "-n", "-u", &person.name, "nap1", "0.3"]).succeeded();
    no_program_waits(&root);
}

/// Two sessions in one daemon end at their revocation, although a process of one of the users delays whoever reads it.
fn sessions_in_a_daemon_end(delay: impl FnOnce(&PrivateRoot, &Person)) -> PrivateRoot {
    let root = prepared("");
    let people = [root.person(&["door"]), root.person(&["door"])];
    let grants = people.each_ref().map(|person| id(&request(&root, person, "door", &[])));
    let orders = people.each_ref().map(|person| format!("{}:900", person.name));
    let words = ["python3", "/usr/local/lib/daemon.py", "seat", "env", &orders[0], &orders[1]];
    let mut daemon = root.pty_as("root", words);
    daemon.expect("ready");
    delay(&root, &people[0]);
    for (person, grant) in people.iter().zip(&grants).rev() {
        until(&root, "sleep", Some(person), 2);
        root.as_root(["jitctl", "revoke", grant, "--reason", "enough"]).succeeded();
        until(&root, "sleep", Some(person), 0);
    }
    for person in &people {
        daemon.type_line(&person.name);
        daemon.expect("closed 0");
    }
    root
}

#[test]
fn a_process_whose_memory_cannot_be_read_delays_no_end_of_a_session_in_a_daemon() {
    let root = sessions_in_a_daemon_end(unreadable);
    told(&root);
    no_program_waits(&root);
}

/// Executes a command with such a file as a descriptor, and from then on no close of it is answered.
const HELD: &str = "import os, sys\n\
    fd = os.open('/tmp/served/program', os.O_RDONLY)\n\
    os.dup2(fd, int(sys.argv[1]))\n\
    os.close(fd)\n\
    open('/tmp/served.held', 'w').close()\n\
    os.execvp(sys.argv[2], sys.argv[2:])\n";

/// A file whose file system never lets it be closed. A process that has one does not end either, so nobody waits for it.
#[test]
fn a_descriptor_that_cannot_be_closed_is_refused_and_so_is_such_a_program() {
    let root = crate::own_root();
    root.add_policy("held", "[roles.held]\neligible = [\"%held\"]\ncommands = [\"ALL\"]\nauthenticate = false\n");
    let person = root.person(&["held"]);
    root.write("/usr/local/lib/fuse.py", 0o644, include_str!("fuse.py"));
    root.write("/usr/local/lib/held.py", 0o644, HELD);
    root.script(&format!(
        "[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229; mkdir /tmp/served
         python3 /usr/local/lib/fuse.py /tmp/served /usr/bin/sleep /usr/bin/sleep 1000000 $(id -u {}) >/dev/null 2>&1 &
         until [ -e /tmp/served/program ]; do sleep 0.05; done",
        person.name
    ));
    let grant = id(&request(&root, &person, "held", &[]));
    let release = format!("jitctl release {grant}");
    for (fd, command, named) in [
        ("0", "jit-sudo -n touch /root/ran", "jit-sudo: standard input is a file on a FUSE file system"),
        ("1", "jit-sudo -n touch /root/ran", "jit-sudo: standard output is a file on a FUSE file system"),
        ("7", "jit-sudo -n touch /root/ran", "jit-sudo: descriptor 7 is a file on a FUSE file system"),
        ("7", &release, "jit-sudo: descriptor 7 is a file on a FUSE file system"),
    ] {
        let line =
            format!("python3 /usr/local/lib/held.py {fd} {command} 2>/tmp/said{fd} & sleep 1; cat /tmp/said{fd}");
        root.script("rm -f /tmp/served.held /tmp/said*");
        let said = root.run_as(&person.name, ["sh", "-c", &line]);
        assert!(said.stdout.contains(named), "{fd} {command}: {said:?}");
    }
    root.script("! [ -e /root/ran ]");
    let program = root.run_as(&person.name, ["jit-sudo", "-n", "/tmp/served/program", "1"]);
    program.refused("jit-sudo: /tmp/served/program: it is on a FUSE file system");
    root.as_root(["jitctl", "revoke", &grant, "--reason", "enough"]).succeeded();
    root.script("rm /tmp/served.held; umount -l /tmp/served");
}

/// Starts processes at an exec that never ends as this user, without a grant. They end with the root.
fn stuck(root: &PrivateRoot, person: &Person, count: usize) {
    can_be_stuck(root);
    let out = format!("/tmp/stuck.{}", person.name);
    let line = format!("unshare -Urm python3 /usr/local/lib/stuck_exec.py {count} >{out} 2>&1 </dev/null &");
    root.script(&format!("runuser -u {} -- {line}", person.name));
    let pid = eventually("the processes run", harness::PATIENCE, || {
        let pids: Vec<u32> = root.read(&out).lines().filter_map(|line| line.parse().ok()).collect();
        pids.first().copied().filter(|_| pids.len() == count)
    });
    std::thread::sleep(Duration::from_millis(500));
    if root.as_root(["timeout", "1", "cat", &format!("/proc/{pid}/stat")]).status.code() != Some(124) {
        println!("this kernel lets the state of such a process be read"); // then it delays only the readers of its program
    }
}

fn can_be_stuck(root: &PrivateRoot) {
    install(root, "stuck_exec.py", include_str!("stuck_exec.py"));
}

/// Installs a program that uses a file that does not answer, in /usr/local/lib.
pub(crate) fn install(root: &PrivateRoot, name: &str, program: &str) {
    root.write("/usr/local/lib/silent_file.py", 0o644, include_str!("silent_file.py"));
    root.write(&format!("/usr/local/lib/{name}"), 0o644, program);
    root.script("[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229");
}

fn naps(root: &PrivateRoot, names: &[&str]) {
    root.script(&format!("for name in {}; do cp /usr/bin/sleep /usr/local/bin/$name; done", names.join(" ")));
}

#[test]
fn a_process_whose_exec_never_ends_delays_neither_an_end_nor_a_question() {
    nothing_is_delayed(|_| (), |root, person| stuck(root, person, 40));
}

/// Such processes of one user are limited. A user may have set-user-ID programs of other accounts, or a range of subordinate uids.
#[test]
fn nor_do_such_processes_of_many_accounts() {
    let spread = |root: &PrivateRoot| (0..16).for_each(|_| stuck(root, &root.person(&[]), 2));
    nothing_is_delayed(spread, |_, _| ());
}

fn nothing_is_delayed(before: impl FnOnce(&PrivateRoot), meanwhile: impl FnOnce(&PrivateRoot, &Person)) {
    let root = prepared("");
    let (person, other) = (root.person(&["door"]), root.person(&["self-service"]));
    naps(&root, &["nap1", "nap2", "nap3", "nap4"]);
    request(&root, &person, "door", &[]);
    let mut session = root.pty_as(&person.name, ["su", &person.name, "-c", "setsid nap1 900 & nap1 900"]);
    until(&root, "nap1", Some(&person), 2);
    root.script("pkill -STOP -x jit-sudo-broker; pkill -KILL -x jit-sudo-broker; while pgrep -x jit-sudo-broker >/dev/null; do sleep 0.05; done");
    before(&root);
    request(&root, &other, "self-service", &["--for", "6s"]);
    let line = |nap: &str| format!("trap '' TERM HUP INT; while :; do {nap} 900; done");
    let mut on_terminal = root.pty_as(&other.name, ["jit-sudo", "-n", "sh", "-c", &line("nap2")]);
    let words = ["setsid", "-w", "jit-sudo", "-n", "sh", "-c", &line("nap3")];
    let mut direct = root.pty_as(&other.name, words);
    until(&root, "nap2", None, 1);
    until(&root, "nap3", None, 1);
    meanwhile(&root, &person);
    // This one begins when nothing is answered any more, and leaves a process behind.
    root.run_as(&other.name, ["jit-sudo", "-n", "sh", "-c", "setsid nap4 900 & sleep 0.2"]).succeeded();
    for nap in ["nap2", "nap3", "nap4"] {
        until(&root, nap, None, 0);
    }
    on_terminal.wait();
    direct.wait();
    let run = ["jit-sudo", "-n", "sleep", "0.3"];
    for words in [["jitctl", "session", "list"].as_slice(), &["jitctl", "sweep"], &run] {
        root.command("root", words).patience(Duration::from_secs(20)).run().succeeded();
    }
    until(&root, "nap1", Some(&person), 0);
    session.wait();
    no_program_waits(&root);
}

#[test]
fn a_process_whose_exec_never_ends_delays_no_end_of_a_session_in_a_daemon() {
    let root = sessions_in_a_daemon_end(|root, person| stuck(root, person, 10));
    no_program_waits(&root);
}

/// A command can also do that to its own processes, as another user and as root, and can name them as ours.
#[test]
fn a_command_does_not_outlive_its_grant_by_execs_that_never_end() {
    let root = prepared("");
    can_be_stuck(&root);
    naps(&root, &["nap1", "nap2"]);
    let (person, other) = (root.person(&["self-service"]), root.person(&["self-service"]));
    request(&root, &person, "self-service", &["--for", "4s"]);
    let stuck = |mount: &str, nap: &str| {
        let stuck = format!("{mount} python3 /usr/local/lib/stuck_exec.py 5");
        format!("trap '' TERM HUP INT; {stuck} & {stuck} jit-sudo & while :; do {nap} 900; done")
    };
    let (as_user, as_root) = (stuck("unshare -Urm", "nap1"), stuck("unshare -m", "nap2"));
    let words = ["setsid", "-w", "jit-sudo", "-n", "-u", &other.name, "sh", "-c", &as_user];
    let mut first = root.pty_as(&person.name, words);
    let mut second = root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", &as_root]);
    until(&root, "nap1", Some(&other), 1);
    until(&root, "nap2", None, 1);
    until(&root, "nap1", Some(&other), 0);
    until(&root, "nap2", None, 0);
    first.wait();
    second.wait();
    for record in records_of(&root, &person).into_iter().filter(|record| record.kind() == "end") {
        assert_eq!(record.text("ended_by"), "expiry");
    }
    no_program_waits(&root);
}

/// A command that runs as root can give such a process the pid of a process of ours that has ended.
#[test]
fn a_process_with_the_pid_of_a_dead_supervisor_delays_nobody() {
    let root = prepared("");
    can_be_stuck(&root);
    let person = root.person(&["deploy"]);
    root.run_as(&person.name, ["setsid", "-f", "jit-sudo", "-n", "sleep", "931"]).succeeded();
    let start = eventually("the run has begun", harness::PATIENCE, || {
        records_of(&root, &person).into_iter().find(|record| record.kind() == "start")
    });
    eventually("it has an enforcer", harness::PATIENCE, || (alive(&root, "jit-sudo-enforc", None) > 0).then_some(()));
    let supervisor = start.number("pid");
    // Nobody is left who would close the run at once.
    root.script(&format!("pkill -KILL -x jit-sudo-enforc; kill -KILL {supervisor}"));
    let gone = || (!root.path(&format!("/proc/{supervisor}")).exists()).then_some(());
    eventually("its pid is free", harness::PATIENCE, gone);
    let stuck = "unshare -m python3 /usr/local/lib/stuck_exec.py 1 jit-sudo";
    root.script(&format!("{stuck} {supervisor} >/tmp/stuck.reused 2>&1 </dev/null &"));
    let reused = || root.read("/tmp/stuck.reused").trim().parse::<i64>().ok();
    assert_eq!(eventually("the process runs", harness::PATIENCE, reused), supervisor);
    std::thread::sleep(Duration::from_millis(500));
    if root.as_root(["timeout", "1", "cat", &format!("/proc/{supervisor}/stat")]).status.code() != Some(124) {
        return println!("this kernel lets the state of such a process be read");
    }
    root.run_as(&person.name, ["timeout", "5", "jit-sudo", "-n", "true"]).succeeded();
    root.as_root(["timeout", "5", "jitctl", "session", "list"]).succeeded();
    root.as_root(["timeout", "5", "jitctl", "sweep"]).succeeded();
    assert_ne!(root.as_root(["timeout", "5", "jitctl", "doctor"]).status.code(), Some(124));
    let ends = records_of(&root, &person).into_iter().filter(|record| record.kind() == "end");
    assert_eq!(ends.filter(|end| end.text("ended_by") == "lost").count(), 1, "the run is closed");
    no_program_waits(&root);
}

/// Lets users execute a command with a descriptor whose last close never ends. Such a process cannot finish dying.
fn can_be_watched(root: &PrivateRoot) {
    install(root, "watched.py", include_str!("watched.py"));
}

/// Kills a process that cannot finish dying, and checks that it does not.
fn kill_for_ever(root: &PrivateRoot, pid: u32) {
    root.script(&format!("kill -KILL {pid}"));
    std::thread::sleep(Duration::from_millis(300));
    let state = root.script(&format!("grep -c '^State:.*D' /proc/{pid}/status || true"));
    assert_eq!(state.trim(), "1", "the descriptor keeps it from dying");
}

/// Lets the processes that wait for such a descriptor end, so that the root can be removed.
fn unwatch(root: &PrivateRoot) {
    root.script("cat /tmp/watched.* | xargs -r kill -KILL; sleep 0.3");
}

#[test]
fn a_user_without_a_grant_cannot_keep_the_lock_of_the_database() {
    let root = prepared("");
    can_be_watched(&root);
    let person = root.person(&[]);
    // Another process writes, so that the user's refusal waits for it while it holds the lock of the writers.
    let writes = "import sqlite3, time; base = sqlite3.connect('/var/lib/jit-sudo/journal.db', isolation_level=None); \
                  base.execute('BEGIN IMMEDIATE'); print('writes', flush=True); time.sleep(900)";
    root.script(&format!("python3 -c \"{writes}\" >/tmp/writes 2>&1 </dev/null & echo $! >/tmp/writer"));
    eventually("the other process writes", harness::PATIENCE, || {
        root.read("/tmp/writes").contains("writes").then_some(())
    });
    let line = "python3 /usr/local/lib/watched.py 900 jit-sudo -n -u root id >/dev/null 2>&1 </dev/null &";
    root.script(&format!("ulimit -n 4096; runuser -u {} -- sh -c '{line}'", person.name));
    let holder = eventually("the refused run holds the lock", harness::PATIENCE, || {
        let script = "for pid in $(pgrep -x jit-sudo); do \
                      awk -v p=$pid '$5 == p && $4 == \"WRITE\" && $2 != \"OFDLCK\" { print p; exit }' /proc/locks; done";
        root.script(script).trim().parse::<u32>().ok()
    });
    kill_for_ever(&root, holder);
    root.script("kill -KILL $(cat /tmp/writer)");
    let run = root.command("root", ["jit-sudo", "-n", "true"]).patience(Duration::from_secs(25)).run();
    unwatch(&root);
    run.succeeded();
}

/// The descriptor is one that the command does not get (9), or standard input, which the command closes.
#[test]
fn a_command_does_not_outlive_a_killed_supervisor_that_cannot_finish_dying() {
    let root = prepared("");
    can_be_watched(&root);
    naps(&root, &["nap1"]);
    let person = root.person(&["self-service"]);
    request(&root, &person, "self-service", &["--for", "1h"]);
    for (fd, pause) in [("9", "0"), ("0", "0.3")] {
        let line = format!(
            "exec <&-; sleep {pause}; touch /tmp/began{fd}; kill -KILL $PPID; trap '' HUP TERM INT; while :; do nap1 900; done"
        );
        root.write(&format!("/usr/local/bin/line{fd}"), 0o755, format!("#!/bin/sh\n{line}\n"));
        let words =
            format!("setsid python3 /usr/local/lib/watched.py {fd} jit-sudo -n line{fd} >/dev/null 2>&1 </dev/null &");
        root.script(&format!("runuser -u {} -- sh -c '{words}'", person.name));
        eventually("the command began", harness::PATIENCE, || {
            root.script("ls /tmp").contains(&format!("began{fd}")).then_some(())
        });
        std::thread::sleep(Duration::from_millis(500));
        if pause == "0" {
            // In the first three milliseconds there is no guard: what the command has started ends with the next call.
            root.as_root(["jitctl", "sweep"]).succeeded();
        }
        until(&root, "nap1", None, 0);
        root.as_root(["jitctl", "sweep"]).succeeded();
        let end = records_of(&root, &person).into_iter().rfind(|record| record.kind() == "end").unwrap();
        assert_eq!(end.text("ended_by"), "lost", "{fd}");
        unwatch(&root);
        root.script(&format!("rm -f /tmp/watched.{}", person.uid));
    }
}

/// The run has no grant, and its descriptor keeps it from ending: it then counts for its caller, as any process of theirs.
#[test]
fn a_refused_run_that_cannot_end_is_a_process_of_its_caller() {
    let root = prepared("");
    can_be_watched(&root);
    for (fd, words) in [("0", "jit-sudo -n -u root id"), ("9", "jit-sudo -n -u root id"), ("9", "jit-sudo --nonsense")]
    {
        let person = root.person(&[]);
        let line = format!("setsid python3 /usr/local/lib/watched.py {fd} {words} >/dev/null 2>&1 </dev/null &");
        root.script(&format!("runuser -u {} -- sh -c '{line}'", person.name));
        let ids = format!("{0} {0} {0} {0}", person.uid);
        let script = "cat /proc/[0-9]*/status 2>/dev/null | awk '/^Name:/ { name = $2 } /^State:/ { state = $2 } \
                      /^Uid:/ && name == \"jit-sudo\" && state == \"D\" { print $2, $3, $4, $5 }'";
        eventually(&format!("{words} is a process of its caller"), harness::PATIENCE, || {
            root.script(script).lines().any(|line| line == ids).then_some(())
        });
    }
    unwatch(&root);
}
