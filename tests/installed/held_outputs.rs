//! Every kind of output that a run can have: the end of its grant leaves nothing of it, whatever the writing waits for.

use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, eventually};

use crate::{id, own_root, records_of, request};

const POLICY: &str = r#"
[roles.held-terminals]
eligible     = ["%held-terminals"]
commands     = ["ALL"]
authenticate = false

[roles.held-all]
eligible     = ["%held-all"]
commands     = ["ALL"]
authenticate = false
record       = "all"
"#;

/// Starts a shell line whose streams are one open file that nobody reads: OPENER KIND STREAMS LINE.
const OPENER: &str = r#"import os, pty, socket, subprocess, sys
kind, streams, line = sys.argv[1:]
path = f"/tmp/held-{os.getpid()}"
if kind == "socket": kept, given = socket.socketpair()
elif kind == "seqpacket": kept, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
elif kind == "fifo":
    os.mkfifo(path)
    kept, given = os.open(path, os.O_RDWR), os.open(path, os.O_WRONLY)
elif kind == "full": given = os.open("/dev/full", os.O_RDWR)
elif kind == "full disk": given = os.open(f"/tmp/held/{os.getpid()}", os.O_RDWR | os.O_CREAT)
elif kind == "terminal": kept, given = pty.openpty()
null = open("/dev/null", "r+b")
all = {"stdin": null, "stdout": null, "stderr": null, **dict.fromkeys(streams.split("+"), given)}
subprocess.Popen(["sh", "-c", line], start_new_session=True, **all).wait()
"#;

const KINDS: [&str; 6] = ["socket", "seqpacket", "fifo", "full", "full disk", "terminal"];
const STREAMS: [&str; 3] = ["stdout", "stderr", "stdin+stdout+stderr"];
const ENDS: [&str; 3] = ["revocation", "kill", "expiry"];

/// How late an end may be.
const AT_ONCE: Duration = Duration::from_secs(1);

fn sleepers(root: &PrivateRoot, nap: &str) -> usize {
    root.script(&format!("pgrep -fxc 'sleep {nap}' || :")).trim().parse().unwrap()
}

/// Ends the grant of a run in this way.
fn end(root: &PrivateRoot, person: &Person, how: &str, grant: &str) {
    let jitctl = |words: &[&str]| {
        root.as_root([&["jitctl"], words, &["--reason", "enough"]].concat()).succeeded();
    };
    match how {
        "revocation" => jitctl(&["revoke", grant]),
        "kill" => {
            let records = records_of(root, person);
            let start = records.iter().rfind(|record| record.kind() == "start" && record.text("grant") == grant);
            jitctl(&["session", "kill", start.unwrap().text("run")]);
        }
        // It was requested for so long, a moment ago.
        _ => std::thread::sleep(Duration::from_secs(3)),
    }
}

#[test]
fn output_of_any_kind_that_nobody_reads_delays_no_end() {
    let root = own_root();
    root.add_policy("held", POLICY);
    root.write("/usr/local/lib/opener.py", 0o644, OPENER);
    root.script("mkdir /tmp/held; mount -t tmpfs -o size=64k,mode=1777 none /tmp/held");
    let mut late = Vec::new();
    for (number, kind) in KINDS.iter().enumerate() {
        for (place, streams) in STREAMS.iter().enumerate() {
            // Each kind and each streams with each end, and with both roles.
            let (how, role) = (ENDS[(number + place) % 3], ["held-terminals", "held-all"][(number / 3 + place) % 2]);
            let person = root.person(&[role]);
            let nap = format!("{}", 820_000 + 10 * number + place);
            let span = if how == "expiry" { "4s" } else { "10m" };
            let grant = id(&request(&root, &person, role, &["--for", span]));
            let command = format!("yes & yes >&2 & setsid -f sleep {nap}; sleep {nap}");
            let line = format!("exec jit-sudo -n sh -c \"{command}\"");
            let words = ["setsid", "-f", "python3", "/usr/local/lib/opener.py", kind, streams, &line];
            root.run_as(&person.name, words).succeeded();
            eventually("it runs", harness::PATIENCE, || (sleepers(&root, &nap) == 2).then_some(()));
            std::thread::sleep(Duration::from_millis(300)); // the output is full
            end(&root, &person, how, &grant);
            let began = Instant::now();
            eventually("it ends", harness::PATIENCE, || (sleepers(&root, &nap) == 0).then_some(()));
            if began.elapsed() > AT_ONCE {
                late.push(format!("{kind}, {streams}, {role}, {how}: {:?}", began.elapsed()));
            }
            let ended = eventually("its end is recorded", harness::PATIENCE, || {
                records_of(&root, &person).into_iter().rfind(|record| record.kind() == "end")
            });
            assert_eq!(ended.text("ended_by"), how, "{kind}, {streams}, {role}");
        }
    }
    assert!(late.is_empty(), "{late:#?}");
}
