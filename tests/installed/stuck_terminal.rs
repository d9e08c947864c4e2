//! A user can make every call on their terminal wait for ever. No end of a grant waits for that, and each end is recorded.

use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, PtySession, Record, eventually};

use crate::pam_programs::prepared;
use crate::unanswered::install;
use crate::{id, records_of, request};

const POLICY: &str = r#"
[roles.lasting]
eligible     = ["%lasting"]
commands     = ["ALL"]
authenticate = false

[roles.shared]
eligible     = ["%shared"]
commands     = ["ALL"]
authenticate = false
record       = "none"
use_pty      = false
"#;

/// How late an end may be recorded: a supervisor waits for the process that talks to the terminal for some seconds.
const RECORDED_WITHIN: Duration = Duration::from_secs(20);

/// How late the end may be on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A user at such a terminal.
struct Held {
    root: PrivateRoot,
    person: Person,
    grant: String,
    session: Option<PtySession>,
}

impl Held {
    fn with(role: &str) -> Held {
        let root = prepared("");
        root.add_policy("stuck", POLICY);
        install(&root, "held_terminal.py", include_str!("held_terminal.py"));
        let person = root.person(&[role]);
        let grant = id(&request(&root, &person, role, &["--for", "10m"]));
        Held { root, person, grant, session: None }
    }

    /// Starts the command once whoever sets the modes of the terminal waits.
    fn start(&mut self, place: &str, words: &[&str]) {
        let first = ["python3", "/usr/local/lib/held_terminal.py", "/tmp/terminal", place];
        self.session = Some(self.root.pty_as(&self.person.name, [&first, words].concat()));
        self.is_marked("held");
    }

    fn is_marked(&self, what: &str) {
        let path = self.root.path(&format!("/tmp/terminal.{what}"));
        eventually(&format!("the terminal is {what}"), harness::PATIENCE, || path.exists().then_some(()));
    }

    fn mark(&self, what: &str) {
        self.root.script(&format!("touch /tmp/terminal.{what}"));
    }

    /// From now on, everybody who asks for the modes, reads or writes waits too.
    fn block(&self) {
        self.mark("block");
        self.is_marked("blocked");
        std::thread::sleep(Duration::from_millis(200));
    }

    fn sleepers(&self) -> usize {
        self.root.script("pgrep -fxc 'sleep 4711' || :").trim().parse().unwrap()
    }

    fn sleeps(&self) {
        eventually("the command runs", harness::PATIENCE, || (self.sleepers() == 1).then_some(()));
    }

    fn revoke(&self) {
        self.root.as_root(["jitctl", "revoke", &self.grant, "--reason", "enough"]).succeeded();
    }

    fn ends_at_once(&self) {
        let begun = Instant::now();
        eventually("the command ends", harness::PATIENCE, || (self.sleepers() == 0).then_some(()));
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }

    fn end(&self) -> Record {
        let end = || records_of(&self.root, &self.person).into_iter().find(|record| record.kind() == "end");
        eventually("the end is recorded", RECORDED_WITHIN, end)
    }

    /// Returns the programs of ours that sleep in the kernel and cannot be killed.
    fn hanging(&self) -> String {
        let script = "cat /proc/[0-9]*/status | awk '/^Name:/ { name = $2 } \
                      /^State:/ && $2 == \"D\" && name ~ /jit-sudo/ { printf \"%s \", name }'";
        self.root.script(script)
    }
}

/// Returns the words of a command that ends only by SIGKILL.
fn lasting() -> [&'static str; 3] {
    ["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 4711; done"]
}

#[test]
fn a_terminal_that_cannot_be_set_delays_only_the_start() {
    let mut held = Held::with("lasting");
    held.start("front", &[&["jit-sudo", "-n"][..], &lasting()].concat());
    eventually("the run has begun", harness::PATIENCE, || {
        records_of(&held.root, &held.person).into_iter().find(|record| record.kind() == "start")
    });
    std::thread::sleep(Duration::from_secs(1));
    held.revoke();
    held.ends_at_once();
    let end = held.end();
    assert!(held.root.as_root(["jitctl", "session", "list"]).succeeded().contains("no sessions"), "{end:?}");
}

#[test]
fn a_terminal_that_cannot_be_set_any_more_delays_no_end() {
    let mut held = Held::with("lasting");
    held.start("back", &[&["jit-sudo", "-n"][..], &lasting()].concat());
    held.sleeps();
    std::thread::sleep(Duration::from_millis(300));
    held.mark("front");
    eventually("a process waits for the terminal", harness::PATIENCE, || (!held.hanging().is_empty()).then_some(()));
    held.revoke();
    held.ends_at_once();
    held.end();
    assert_eq!(held.root.as_root(["jit-sudo", "-n", "true"]).succeeded(), "");
}

#[test]
fn a_blocked_terminal_delays_no_end_of_a_run_without_a_pty() {
    let mut held = Held::with("shared");
    held.start("front", &[&["jit-sudo", "-n"][..], &lasting()].concat());
    held.sleeps();
    std::thread::sleep(Duration::from_millis(300));
    held.block();
    held.revoke();
    held.ends_at_once();
    assert_eq!(held.end().text("ended_by"), "revocation");
}

#[test]
fn a_blocked_terminal_delays_no_end_of_a_session_of_su() {
    let mut held = Held::with("door");
    let [_, _, line] = lasting();
    held.start("front", &["su", "-", "-c", line]);
    held.sleeps();
    held.block();
    held.revoke();
    held.ends_at_once();
    assert_eq!(held.end().text("ended_by"), "revocation");
}
