//! A command that its caller holds between the fork and the exec never begins after its grant has ended.

use harness::{Person, PrivateRoot, PtySession, Record, eventually};

use crate::{id, own_root, records_of, request};

const POLICY: &str = r#"
[roles.holding]
eligible      = ["%holding"]
commands      = ["ALL"]
run_as        = ["ALL"]
run_as_groups = ["ALL"]
authenticate  = false
"#;

/// Runs its arguments with a standard error that takes nothing until the file `$0.go` exists. The message that the run-as user has
/// no home holds the child of jit-sudo before the exec. The command ignores SIGTERM from its first moment on.
const HOLDER: &str = r#"
set -m
trap '' TERM HUP INT
mkfifo $0.err
exec 9<>$0.err
dd if=/dev/zero of=$0.err bs=4096 count=100 oflag=nonblock 2>/dev/null
"$@" 2>$0.err 9>&- </dev/null >/dev/null &
run=$!
until [ -e $0.go ]; do sleep 0.05; done
cat <&9 >/dev/null &
drain=$!
wait -f $run
echo $? >$0.status
kill -KILL $drain
"#;

/// A run that is held.
struct Held<'a> {
    root: &'a PrivateRoot,
    person: Person,
    grant: String,
    /// The beginning of the names of its files.
    place: String,
    _terminal: Option<PtySession>,
}

impl<'a> Held<'a> {
    /// Starts `touch` with these options of jit-sudo, as a child of a process that has a terminal if `on_terminal`.
    fn begin(root: &'a PrivateRoot, person: Person, options: &[&str], on_terminal: bool) -> Self {
        let grant = id(&request(root, &person, "holding", &["--for", "10m"]));
        let place = format!("/tmp/{}", person.name);
        let late = format!("{place}.late");
        let words = [&["jit-sudo", "-n", "-i"], options, &["touch", &late]].concat();
        let holder = [&["bash", "-c", HOLDER, &place], &words[..]].concat();
        let terminal = on_terminal.then(|| root.pty_as(&person.name, &holder));
        if !on_terminal {
            let begin = ["setsid", "-f", "runuser", "-u", &person.name, "--"];
            root.as_root([&["sh", "-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh"], &begin[..], &holder].concat())
                .succeeded();
        }
        eventually("the run begins", harness::PATIENCE, || {
            records_of(root, &person).iter().any(|record| record.kind() == "start").then_some(())
        });
        // The child has reached its message by then.
        std::thread::sleep(std::time::Duration::from_millis(500));
        Self { root, person, grant, place, _terminal: terminal }
    }

    fn end(&self, what: &str) -> Record {
        eventually(what, harness::PATIENCE, || {
            records_of(self.root, &self.person).into_iter().find(|record| record.kind() == "end")
        })
    }

    fn revoke(&self) {
        self.root.as_root(["jitctl", "revoke", &self.grant, "--reason", "enough"]).succeeded();
    }

    /// Stops or continues the child, as its user.
    fn signal(&self, signal: &str) -> bool {
        let uid = self.person.uid.to_string();
        self.root.run_as(&self.person.name, ["pkill", signal, "-u", &uid, "-x", "jit-sudo.*"]).status.success()
    }

    /// Lets the message through.
    fn drain(&self) {
        self.root.write(&format!("{}.go", self.place), 0o644, "");
    }

    fn exists(&self, suffix: &str) -> bool {
        self.root.path(&format!("{}.{suffix}", self.place)).exists()
    }

    fn never_began(&self) {
        self.drain();
        eventually("jit-sudo returns", harness::PATIENCE, || self.exists("status").then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!self.exists("late"), "the command was executed after the revocation");
        assert_eq!(self.end("it has ended").text("ended_by"), "revocation");
    }
}

fn holding(groups: bool) -> PrivateRoot {
    let root = own_root();
    if !groups {
        root.script("umount /sys/fs/cgroup");
    }
    root.add_policy("holding", POLICY);
    root.script("useradd -M -d /nonexistent -s /bin/sh homeless");
    root
}

/// Creates a user without a home, whose runs with a group of others have their own uid.
fn homeless(root: &PrivateRoot) -> Person {
    let person = root.person(&["holding"]);
    root.script(&format!("usermod -d /nonexistent {}", person.name));
    person
}

#[test]
fn a_command_that_waits_before_its_exec_never_begins_after_its_grant_has_ended() {
    for groups in [true, false] {
        let root = holding(groups);
        for on_terminal in [false, true] {
            let held = Held::begin(&root, root.person(&["holding"]), &["-u", "homeless"], on_terminal);
            assert!(!held.exists("late"));
            held.revoke();
            let end = held.end("it ends while it is held");
            assert_eq!(end.text("ended_by"), "revocation", "{groups} {on_terminal}: {}", end.body);
            held.never_began();
        }
        root.as_root(["jitctl", "audit", "verify"]).intact();
    }
}

#[test]
fn a_command_that_its_caller_stops_before_its_exec_never_begins_after_its_grant_has_ended() {
    for groups in [true, false] {
        let root = holding(groups);
        for on_terminal in [false, true] {
            let held = Held::begin(&root, homeless(&root), &["-g", "shadow"], on_terminal);
            assert!(held.signal("-STOP"), "{groups} {on_terminal}: no child has the uid of its caller");
            held.drain();
            held.revoke();
            let end = held.end("it ends while it is stopped");
            assert_eq!(end.text("ended_by"), "revocation", "{groups} {on_terminal}: {}", end.body);
            let _ = held.signal("-CONT");
            held.never_began();
        }
        root.as_root(["jitctl", "audit", "verify"]).intact();
    }
}

#[test]
fn a_command_that_was_held_begins_while_its_grant_lasts() {
    let root = holding(true);
    let held = Held::begin(&root, homeless(&root), &["-g", "shadow"], false);
    assert!(held.signal("-STOP"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    // The supervisor has stopped with its job, and is continued by the shell as well.
    root.script("pkill -CONT -x 'jit-sudo.*'");
    held.drain();
    assert_eq!(held.end("it ends").text("ended_by"), "itself");
    assert!(held.exists("late"));
    // An error of the exec is reported as for any other command.
    let person = root.person(&["holding"]);
    request(&root, &person, "holding", &[]);
    root.script("printf '#!/nonexistent/interpreter\\n' >/usr/local/bin/broken; chmod 755 /usr/local/bin/broken");
    for user in ["root", "homeless"] {
        let words = ["jit-sudo", "-n", "-u", user, "/usr/local/bin/broken"];
        let output = root.run_as(&person.name, words);
        assert!(
            output.stderr.contains("unable to execute /usr/local/bin/broken: No such file or directory"),
            "{output:?}"
        );
        let end = records_of(&root, &person).into_iter().rfind(|record| record.kind() == "end").unwrap();
        assert_eq!(end.text("ended_by"), "not-executed", "{}", end.body);
    }
}
