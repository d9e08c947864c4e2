//! The standard streams of a caller: output that jit-sudo relays in order to record it goes nowhere where the caller could not
//! have written.

use std::sync::OnceLock;

use harness::{Person, PrivateRoot};

use crate::records_of;

const POLICY: &str = r#"
[roles.lent-all]
standing     = ["%lent-all"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false
record       = "all"

[roles.lent-terminals]
standing     = ["%lent-terminals"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false
"#;

/// Root has a pipe and a terminal that every user may read; a user opens one of them as told, and has a command write to it.
/// Prints what arrived at root's end.
const LENDER: &str = r#"import fcntl, os, pty, subprocess, sys, tty
name, thing, how, stream = sys.argv[1:]
if thing == "fifo":
    path = f"/run/lent-{name}-{how}-{stream}"
    os.mkfifo(path)
    mine = os.open(path, os.O_RDWR)
else:
    mine, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
os.chmod(path, 0o644 if how == "O_RDONLY" else 0o666)
os.set_blocking(mine, False)
child = f"""import os
given = os.open({path!r}, os.{how} | os.O_NOCTTY | os.O_NONBLOCK)
os.set_blocking(given, True)
both = [1, 2] if {stream!r} == "both" else [int({stream!r})]
for number in both: os.dup2(given, number)
os.execvp("jit-sudo", ["jit-sudo", "-n", "-u", "daemon", "bash", "-c", "echo injected >&" + str(both[0]) + " 2>/dev/null || exit 3"])"""
words = ["runuser", "-u", name, "--", "python3", "-c", child]
status = subprocess.run(words, stdin=subprocess.DEVNULL, timeout=20).returncode
try: came = os.read(mine, 100)
except BlockingIOError: came = b""
print(status, came.decode().strip())
"#;

fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<&'static PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        crate::root().add_policy("lent", POLICY);
        crate::root()
    })
}

fn lent(person: &Person, thing: &str, how: &str, stream: &str) -> String {
    root().as_root(["python3", "-c", LENDER, &person.name, thing, how, stream]).stdout.trim().to_owned()
}

#[test]
fn a_stream_that_the_caller_may_only_read_is_not_written() {
    for (role, things) in [("lent-all", &["fifo", "terminal"][..]), ("lent-terminals", &["terminal"])] {
        let person = root().person(&[role]);
        for (thing, stream) in things.iter().flat_map(|thing| ["1", "2", "both"].map(|stream| (thing, stream))) {
            // As without jit-sudo: the command has a file descriptor that cannot be written to.
            assert_eq!(lent(&person, thing, "O_RDONLY", stream), "3", "{role}: {thing} {stream}");
            assert_eq!(lent(&person, thing, "O_WRONLY", stream), "0 injected", "{role}: {thing} {stream}");
            assert_eq!(lent(&person, thing, "O_RDWR", stream), "0 injected", "{role}: {thing} {stream}");
        }
        let alerts = records_of(root(), &person).into_iter().filter(|record| record.kind() == "alert");
        assert_eq!(alerts.map(|record| record.body).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn output_to_the_leader_of_a_terminal_arrives_at_its_follower() {
    let script = "import os, pty, select, subprocess, tty\n\
        leader, follower = pty.openpty()\n\
        tty.setraw(follower)\n\
        subprocess.run(['jit-sudo', '-n', 'echo', 'to the leader'], stdout=leader, stdin=subprocess.DEVNULL)\n\
        came, _, _ = select.select([follower], [], [], 2)\n\
        print(os.read(follower, 100).decode() if came else 'lost')\n";
    for role in ["lent-all", "lent-terminals"] {
        let person = root().person(&[role]);
        assert_eq!(
            root().run_as(&person.name, ["python3", "-c", script]).succeeded().trim(),
            "to the leader",
            "{role}"
        );
    }
}
