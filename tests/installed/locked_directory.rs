//! Any user can hold the lock of a directory that they may list, in /proc too: then every look-up of a name in it waits. No end of a
//! grant waits for that.

use std::time::Duration;

use harness::{Person, PrivateRoot, eventually};

use crate::held_directory::{hold, hold_name, install_tool};
use crate::{id, request};

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

pub(crate) fn prepared() -> PrivateRoot {
    let root = crate::own_root();
    root.add_policy("looked-up", POLICY);
    install_tool(&root);
    root
}

/// Returns the id of a grant that lasts for [`GRANT`].
fn granted(root: &PrivateRoot, person: &Person) -> String {
    id(&request(root, person, "looked-up", &["--for", &format!("{}s", GRANT.as_secs())]))
}

/// Locks a directory as a user without any role. The lock ends with the root.
fn lock(root: &PrivateRoot, directory: &str) {
    assert!(hold(root, &root.person(&[]), directory), "{directory}");
    std::thread::sleep(Duration::from_millis(500)); // until somebody waits for the lock to create an entry
}

/// A command of root under a grant, which writes a line five times a second.
pub(crate) struct Writer {
    group: String,
    pub(crate) pid: String,
    /// The id of its grant.
    pub(crate) grant: String,
}

impl Writer {
    pub(crate) fn start(root: &PrivateRoot, person: &Person, on_terminal: bool) -> Self {
        Self::start_after(root, person, on_terminal, "")
    }

    /// Does the same after a preparation in the shell that becomes jit-sudo.
    fn start_after(root: &PrivateRoot, person: &Person, on_terminal: bool, preparation: &str) -> Self {
        let grant = granted(root, person);
        let loops = "trap \"\" HUP TERM INT; echo $$ >/root/pid; while :; do echo >>/root/lines; sleep 0.2; done";
        let run = format!("{preparation}exec jit-sudo -n sh -c '{loops}'");
        let line = if on_terminal {
            format!("script -qec \"{}\" /dev/null", run.replace('$', "\\$").replace('"', "\\\""))
        } else {
            run
        };
        root.write("/usr/local/bin/writer", 0o755, format!("#!/bin/sh\n{line}\n"));
        root.script(&format!("setsid runuser -u {} -- writer >/tmp/writer 2>&1 </dev/null &", person.name));
        Self::found(root, grant)
    }

    /// Waits for the command.
    fn found(root: &PrivateRoot, grant: String) -> Self {
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
        Self { group, pid, grant }
    }

    pub(crate) fn lines(root: &PrivateRoot) -> u64 {
        std::fs::metadata(root.path("/root/lines")).map_or(0, |found| found.len())
    }

    /// All its processes are dead: none that is only frozen is left.
    pub(crate) fn has_ended(&self, root: &PrivateRoot) -> bool {
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

/// The caller locks the directory in /proc of the process that becomes jit-sudo, for one name: `task`, in which a program could count
/// its threads before a fork. Every other name was looked up before.
fn the_own_directory_delays_no_end(on_terminal: bool) {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    let holder = root.person(&[]);
    let waits = "rm -f /tmp/ready; echo $$ >/tmp/shell; while [ ! -e /tmp/ready ]; do sleep 0.05; done; ";
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| Writer::start_after(&root, &person, on_terminal, waits));
        let shell = eventually("a shell waits", harness::PATIENCE, || {
            std::fs::read_to_string(root.path("/tmp/shell")).ok().filter(|pid| pid.ends_with('\n'))
        });
        let directory = format!("/proc/{}", shell.trim());
        assert!(hold_name(&root, &holder, &directory, "task"), "{directory}");
        std::thread::sleep(Duration::from_millis(500)); // until somebody waits for the lock to create an entry
        root.script("touch /tmp/ready");
        writer.join().unwrap().ends(&root);
    });
}

#[test]
fn a_user_who_locks_the_directory_of_the_own_supervisor_does_not_outlive_the_grant() {
    the_own_directory_delays_no_end(false);
}

#[test]
fn a_user_who_locks_it_does_not_outlive_the_grant_on_a_terminal() {
    the_own_directory_delays_no_end(true);
}

#[test]
fn a_session_of_su_whose_directory_in_proc_is_locked_ends_with_its_grant() {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    root.write(
        "/etc/pam.d/su",
        0o644,
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_jit_sudo.so role=looked-up\n",
    );
    let grant = granted(&root, &person);
    let loops = "trap \"\" HUP TERM INT; echo $$ >/root/pid; while :; do echo >>/root/lines; sleep 0.2; done";
    root.write("/usr/local/bin/writer", 0o755, format!("#!/bin/sh\nexec su root -c '{loops}'\n"));
    root.script(&format!("setsid runuser -u {} -- writer >/tmp/writer 2>&1 </dev/null &", person.name));
    let writer = Writer::found(&root, grant);
    lock(&root, &format!("/proc/{}", writer.pid));
    look_ups_wait(&root, &format!("/proc/{}/limits", writer.pid));
    std::thread::sleep(GRANT);
    // The watchdog freezes what is not being ended after 5 seconds, and kills it after 30.
    let frozen = || (Writer::lines(&root), std::thread::sleep(Duration::from_secs(1)), Writer::lines(&root));
    eventually("the session stands still", LATE, || {
        let (before, (), after) = frozen();
        (before == after).then_some(())
    });
    eventually("all its processes end", Duration::from_secs(30), || writer.has_ended(&root).then_some(()));
}

#[test]
fn a_command_ends_with_its_grant_while_proc_is_locked() {
    let root = prepared();
    let person = root.person(&["looked-up"]);
    let writer = Writer::start(&root, &person, false);
    lock(&root, "/proc");
    writer.ends(&root);
}
