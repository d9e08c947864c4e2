//! Any user can hold the lock of a directory that they may list, in /proc too: then every look-up of a name in it waits. No end of a
//! grant waits for that.

use std::time::Duration;

use harness::{Person, PrivateRoot, eventually};

use crate::held_directory::{hold, install_tool};
use crate::request;

const POLICY: &str = r#"
[roles.looked-up]
eligible     = ["%looked-up"]
commands     = ["ALL"]
authenticate = false
"#;

/// How late the processes of a run may end when the process that ends them waits, after the seconds that it takes to lock a directory:
/// longer than the silence that its watchdog bears.
const LATE: Duration = Duration::from_secs(6);

/// How long the grant lasts.
const GRANT: Duration = Duration::from_secs(8);

fn prepared() -> PrivateRoot {
    let root = crate::own_root();
    root.add_policy("looked-up", POLICY);
    install_tool(&root);
    root
}

/// Locks a directory as a user without any role. The lock ends with the root.
fn lock(root: &PrivateRoot, directory: &str) {
    assert!(hold(root, &root.person(&[]), directory), "{directory}");
    std::thread::sleep(Duration::from_millis(500)); // until somebody waits for the lock to create an entry
}

/// A command of root under a grant, which writes a line five times a second.
struct Writer {
    group: String,
    pid: String,
}

impl Writer {
    fn start(root: &PrivateRoot, person: &Person, on_terminal: bool) -> Self {
        request(root, person, "looked-up", &["--for", &format!("{}s", GRANT.as_secs())]);
        let loops = "trap \"\" HUP TERM INT; echo $$ >/root/pid; while :; do echo >>/root/lines; sleep 0.2; done";
        let run = format!("jit-sudo -n sh -c '{loops}'");
        let line = if on_terminal {
            format!("script -qec \"{}\" /dev/null", run.replace('$', "\\$").replace('"', "\\\""))
        } else {
            run
        };
        root.write("/usr/local/bin/writer", 0o755, format!("#!/bin/sh\n{line}\n"));
        root.script(&format!("setsid runuser -u {} -- writer >/tmp/writer 2>&1 </dev/null &", person.name));
        let pid = eventually("it writes", harness::PATIENCE, || {
            std::fs::read_to_string(root.path("/root/pid")).ok().filter(|pid| pid.ends_with('\n'))
        });
        let pid = pid.trim().to_owned();
        let script = format!(
            "tree=$(awk '$3 == \"cgroup2\" {{ print $2; exit }}' /proc/self/mounts); sed -n \"s,^0::,$tree,p\" /proc/{pid}/cgroup"
        );
        let group = root.script(&script).trim().to_owned();
        assert!(group.contains("/jit-sudo/"), "{group}");
        std::thread::sleep(Duration::from_millis(300)); // until it has an enforcer
        Self { group, pid }
    }

    fn lines(root: &PrivateRoot) -> u64 {
        std::fs::metadata(root.path("/root/lines")).map_or(0, |found| found.len())
    }

    /// All its processes are dead: none that is only frozen is left.
    fn has_ended(&self, root: &PrivateRoot) -> bool {
        let events = format!("{}/cgroup.events", self.group);
        let state = root.script(&format!("[ -e {events} ] && cat {events} || echo populated 0"));
        state.contains("populated 0")
    }

    fn ends(&self, root: &PrivateRoot) {
        let before = Self::lines(root);
        eventually("it goes on", harness::PATIENCE, || (Self::lines(root) > before).then_some(()));
        std::thread::sleep(GRANT);
        eventually("all its processes end", LATE, || self.has_ended(root).then_some(()));
        let last = Self::lines(root);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(Self::lines(root), last);
    }
}

fn look_ups_wait(root: &PrivateRoot, path: &str) {
    let script = format!("timeout -s KILL 1 cat {path} >/dev/null 2>&1 || echo $?");
    assert_eq!(root.script(&script).trim(), "137", "a look-up in the directory waits");
}

/// Anybody locks the directory of the command in /proc; its grant then expires.
fn a_locked_command_ends(on_terminal: bool) {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    let writer = Writer::start(&root, &person, on_terminal);
    lock(&root, &format!("/proc/{}", writer.pid));
    look_ups_wait(&root, &format!("/proc/{}/limits", writer.pid));
    writer.ends(&root);
}

#[test]
fn a_command_whose_directory_in_proc_is_locked_ends_with_its_grant() {
    a_locked_command_ends(false);
}

#[test]
fn a_command_on_a_terminal_whose_directory_in_proc_is_locked_ends_with_its_grant() {
    a_locked_command_ends(true);
}

#[test]
fn a_command_ends_with_its_grant_while_proc_is_locked() {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    let writer = Writer::start(&root, &person, false);
    lock(&root, "/proc");
    writer.ends(&root);
}
