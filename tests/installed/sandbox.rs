//! The sandbox: the remaining rights of the processes of jit-sudo beside a command, and of an attacker who controls one of them.

use std::sync::OnceLock;
use std::time::Duration;

use harness::{PATIENCE, Person, PrivateRoot, PtySession, eventually};

use crate::records_of;

const POLICY: &str = r#"
[roles.walled]
standing     = ["%walled"]
run_as       = ["ALL"]
commands     = ["ALL"]
authenticate = false

[roles.walled-pipes]
standing     = ["%walled-pipes"]
commands     = ["ALL"]
authenticate = false
record       = "all"

[roles.walled-extended]
eligible     = ["%walled-extended"]
commands     = ["ALL"]
authenticate = false
"#;

/// CAP_KILL, and those of the kernel's audit log (capabilities(7)).
const KILL: u64 = 1 << 5;
const AUDIT: u64 = 1 << 29 | 1 << 30;

fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<&'static PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        crate::root().add_policy("walls", POLICY);
        crate::root().write("/root/takeover.c", 0o600, include_str!("takeover.c"));
        crate::root().script("gcc -O1 -D_GNU_SOURCE -o /usr/local/sbin/takeover /root/takeover.c");
        crate::root()
    })
}

/// The state of a process of the root, from the kernel.
#[derive(Debug)]
struct Process {
    pid: String,
    seccomp: String,
    effective: u64,
    bounding: u64,
}

impl Process {
    /// Reads the state; returns `None` when the process has ended.
    fn look(pid: &str) -> Option<Process> {
        let status = root().script(&format!("cat /proc/{pid}/status 2>/dev/null || :"));
        let line =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
        let number = |name: &str| u64::from_str_radix(&line(name)?, 16).ok();
        Some(Process {
            pid: pid.to_owned(),
            seccomp: line("Seccomp:")?,
            effective: number("CapEff:")?,
            bounding: number("CapBnd:")?,
        })
    }

    fn is_walled(&self, capabilities: u64) -> bool {
        self.seccomp == "2" && self.effective & !capabilities == 0 && self.bounding == 0
    }

    /// Returns its open files, one per line.
    fn open_files(&self) -> String {
        root().script(&format!("ls -l /proc/{}/fd | sed -n 's/.* -> //p'", self.pid))
    }

    /// Returns the bytes that it has read by read(2) and the like (proc_pid_io(5)).
    fn has_read(&self) -> u64 {
        let text = root().script(&format!("sed -n 's/^rchar: //p' /proc/{}/io", self.pid));
        text.trim().parse().unwrap()
    }

    /// Makes this system call in the process as an attacker would who controls it; returns the result.
    fn taken_over(&self, call: &str) -> String {
        root().script(&format!("takeover {} {call}", self.pid)).trim().to_owned()
    }
}

/// A long run with its processes.
struct Lasting {
    person: Person,
    supervisor: Process,
    carrier: Process,
    enforcer: Process,
}

/// Returns the processes of the user's run, once all of them have started.
fn processes(person: &Person, nap: &str) -> Lasting {
    let of = |parent: &str, name: &str| {
        let found = root().script(&format!("pgrep -P {parent} -x {name} | head -1"));
        Process::look(found.trim())
    };
    eventually("all processes of the run stand", PATIENCE, || {
        let found = root().script(&format!("pgrep -f '^jit-sudo -n .*sleep {nap}' | sort -n"));
        let supervisor = found.lines().find(|pid| {
            let parent = root().script(&format!("sed -n 's/^PPid:.//p' /proc/{pid}/status 2>/dev/null || :"));
            !found.lines().any(|other| other == parent.trim())
        })?;
        let (carrier, enforcer) = (of(supervisor, "jit-sudo")?, of(supervisor, "jit-sudo-enforc")?);
        let supervisor = Process::look(supervisor)?;
        (carrier.seccomp == "2" && enforcer.seccomp == "2").then(|| Lasting {
            person: person.clone(),
            supervisor,
            carrier,
            enforcer,
        })
    })
}

fn on_terminal(nap: &str, before: &str) -> (Lasting, PtySession) {
    let person = root().person(&["walled"]);
    let session = root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", &format!("{before}\nsleep {nap}")]);
    (processes(&person, nap), session)
}

fn in_pipes(nap: &str) -> Lasting {
    let person = root().person(&["walled-pipes"]);
    root().script(&format!(
        "su {} -c 'cd /; setsid jit-sudo -n sh -c \"echo begun; sleep {nap}\" >/tmp/walls-{nap} 2>&1 </dev/null' &",
        person.name
    ));
    processes(&person, nap)
}

fn end(nap: &str) {
    root().script(&format!("pkill -xf 'sleep {nap}'"));
}

#[test]
fn with_a_terminal_relay_process_and_enforcer_are_sandboxed() {
    let (run, mut session) = on_terminal("810001", "echo begun");
    session.expect("begun");
    assert!(run.carrier.is_walled(KILL), "{:?}", run.carrier);
    assert!(run.enforcer.is_walled(KILL | AUDIT), "{:?}", run.enforcer);
    let files = run.carrier.open_files();
    assert!(!files.contains("journal.db") && !files.contains("host_key") && !files.contains("bell"), "{files}");
    let of_state: Vec<&str> = files.lines().filter(|file| file.starts_with("/var/lib/jit-sudo")).collect();
    assert!(matches!(of_state[..], [recording] if recording.ends_with(".cast")), "{files}");
    end("810001");
    assert_eq!(session.wait().code(), Some(143));
    let last = records_of(root(), &run.person).pop().unwrap();
    assert_eq!((last.kind(), last.text("ended_by")), ("end", "itself"));
}

#[test]
fn without_a_terminal_relay_process_and_enforcer_are_sandboxed() {
    let run = in_pipes("810002");
    assert!(run.carrier.is_walled(0), "{:?}", run.carrier);
    assert!(run.enforcer.is_walled(KILL | AUDIT), "{:?}", run.enforcer);
    let files = run.carrier.open_files();
    assert!(!files.contains("journal.db") && !files.contains("host_key"), "{files}");
    end("810002");
    eventually("the end is recorded", PATIENCE, || {
        records_of(root(), &run.person).into_iter().find(|record| record.kind() == "end")
    });
    assert_eq!(root().read("/tmp/walls-810002"), "begun\nTerminated\n"); // both through the relay process
}

#[test]
fn the_supervisor_reads_no_byte_of_a_session() {
    const MANY: u64 = 8 << 20;
    let (run, mut session) =
        on_terminal("810003", "echo begun; read x; head -c 8388608 /dev/zero | tr '\\0' x; echo; echo over");
    session.expect("begun");
    let before = run.supervisor.has_read();
    session.type_line("go on");
    session.expect_within("over", Duration::from_secs(60));
    let (supervisor, carrier) = (run.supervisor.has_read() - before, run.carrier.has_read());
    assert!(carrier > MANY, "the carrier has read {carrier} bytes");
    // Reports, signals, the bell and a few queries of the database.
    assert!(supervisor < 256 << 10, "the supervisor has read {supervisor} bytes");
    end("810003");
    session.wait();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_compromised_relay_process_can_do_nothing() {
    let (run, mut session) = on_terminal("810004", "echo begun");
    session.expect("begun");
    for call in ["socket", "local-socket", "write", "read", "fork", "setuid", "kill-all"] {
        assert_eq!(run.carrier.taken_over(call), "EPERM", "{call}");
    }
    assert!(!root().path("/etc/jit-sudo-was-taken-over").exists());
    // The process continues: the calls were refused, and nothing else has happened.
    session.type_text("typed\r");
    session.expect("typed");
    assert_eq!(run.carrier.taken_over("execve"), "killed by 31"); // SIGSYS
    // The command is ended without it.
    eventually("the command was ended", PATIENCE, || {
        root().script("pgrep -xfc 'sleep 810004' || :").trim().eq("0").then_some(())
    });
    session.wait();
    let last = records_of(root(), &run.person).pop().unwrap();
    assert_eq!((last.kind(), last.text("ended_by")), ("end", "lost"));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_compromised_pipe_relay_or_enforcer_can_do_nothing() {
    let run = in_pipes("810005");
    for call in ["socket", "local-socket", "write", "read", "fork"] {
        assert_eq!(run.carrier.taken_over(call), "EPERM", "{call}");
    }
    for (call, told) in
        [("socket", "EPERM"), ("write", "EACCES"), ("fork", "EPERM"), ("setuid", "EPERM"), ("kill-all", "EPERM")]
    {
        assert_eq!(run.enforcer.taken_over(call), told, "{call}");
    }
    assert_eq!(run.enforcer.taken_over("mount"), "killed by 31");
    // The supervisor continues alone, and ends normally.
    end("810005");
    eventually("the end is recorded", PATIENCE, || {
        records_of(root(), &run.person).into_iter().find(|record| record.kind() == "end")
    });
}

#[test]
fn a_sandboxed_enforcer_writes_records_to_journal_syslog_and_hooks() {
    let root = crate::own_root();
    root.add_policy("walls", POLICY);
    root.write("/etc/jit-sudo/hooks.d/10-file", 0o755, "#!/bin/sh\numask 022; cat >>/tmp/events\n");
    let person = root.person(&["walled"]);
    let start = ["jit-sudo", "-n", "sh", "-c", "setsid sleep 810006 >/dev/null 2>&1 & sleep 0.5"];
    root.run_as(&person.name, start).succeeded();
    let of_kind =
        |kind: &str| eventually(kind, PATIENCE, || root.journal().into_iter().find(|record| record.kind() == kind));
    let left = of_kind("left-running");
    root.script("pkill -xf 'sleep 810006'");
    let ended = of_kind("left-ended");
    for record in [left, ended] {
        eventually("syslog has it", PATIENCE, || root.syslog().into_iter().find(|line| line.seq == record.seq));
        eventually("a hook was told", PATIENCE, || {
            let told = std::fs::read_to_string(root.path("/tmp/events")).ok()?;
            told.contains(&record.body).then_some(())
        });
    }
}

/// Writes one line for each process with this name, again and again: pid, uids, effective capabilities, and the kind of filter.
const WATCHER: &str = "import os, sys, time
end = time.monotonic() + 90
while time.monotonic() < end:
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try: status = dict(line.rstrip().split(':', 1) for line in open(f'/proc/{pid}/status'))
        except OSError: continue
        if status['Name'].strip() == sys.argv[1]:
            print(pid, *status['Uid'].split(), *status['CapEff'].split(), *status['Seccomp'].split(), flush=True)
    time.sleep(0.005)
";

/// Starts the watcher on processes with this name. Returns its pid.
fn watch(name: &str, file: &str) -> String {
    root().write("/usr/local/lib/watcher.py", 0o644, WATCHER);
    let line = format!("python3 /usr/local/lib/watcher.py {name} </dev/null >{file} 2>/dev/null & echo $!");
    root().script(&line).trim().to_owned()
}

/// Counts the observations of a process without capabilities, under a seccomp filter, all of whose uids are such ones.
fn confined(seen: &str, is: fn(u32) -> bool) -> usize {
    let is_one = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.len() == 6
            && words[..4].iter().all(|uid| uid.parse().is_ok_and(is))
            && words[4..] == ["0000000000000000", "2"]
    };
    seen.lines().filter(is_one).count()
}

/// A worker has a user id that no other process has.
fn is_of_worker(uid: u32) -> bool {
    uid >= 0xfff0_0000
}

#[test]
fn the_difference_of_an_edit_is_sandboxed() {
    let person = root().person(&["walled"]);
    let file = format!("/etc/walled-{}", person.name);
    // Equal lines with as many changes as are searched for, so that the worker lives for a while.
    let text = |mark: &str| format!("yes '' | head -n 200000 | awk 'NR % 800 == 0 {{ print \"{mark}\" NR; next }} 1'");
    root().write("/usr/local/bin/other-lines", 0o755, format!("#!/bin/sh\n{} >\"$1\"\n", text("new")));
    let watcher = watch("jit-sudo", "/tmp/differences");
    for _ in 0..5 {
        root().script(&format!("{} >{file}", text("old")));
        let line = format!("EDITOR=other-lines exec jit-sudo -n -e {file}");
        root().run_as(&person.name, ["sh", "-c", &line]).succeeded();
    }
    root().script(&format!("kill {watcher} || :"));
    assert!(root().read(&file).contains("\nnew800\n"));
    assert!(records_of(root(), &person).into_iter().any(|record| record.body.contains("new800")), "no difference");
    let seen = root().read("/tmp/differences");
    assert!(confined(&seen, is_of_worker) > 0, "{seen}");
}

#[test]
fn the_compressor_is_sandboxed() {
    let person = root().person(&["walled"]);
    let watcher = watch("jit-sudo-shrink", "/tmp/shrinkers");
    let mut session = root()
        .pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "head -c 60000000 /dev/urandom | base64; sleep 0.2"]);
    session.wait();
    eventually("the recording is compressed", Duration::from_secs(60), || {
        let run =
            records_of(root(), &person).into_iter().rfind(|record| record.kind() == "end")?.text("run").to_owned();
        root().path(&format!("/var/lib/jit-sudo/recordings/done/{run}.cast.zst")).exists().then_some(())
    });
    root().script(&format!("kill {watcher} || :"));
    let seen = root().read("/tmp/shrinkers");
    let (worker, keeper) = (confined(&seen, is_of_worker), confined(&seen, |uid| uid == 0));
    assert!(worker > 0 && keeper > 0, "{seen}");
}

/// Returns the programs that open the private key while the command runs.
fn readers_of_the_key(person: &Person, words: &[&str]) -> std::collections::BTreeSet<String> {
    let log = format!("/root/{}.opened", person.name);
    let trace = ["strace", "-f", "-q", "-e", "trace=execve,openat", "-o", &log, "-u", &person.name];
    root().as_root([&trace, words].concat()).succeeded();
    let (mut programs, mut readers) = (std::collections::HashMap::new(), std::collections::BTreeSet::new());
    for line in root().read(&log).lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(program) = call.strip_prefix("execve(\"").and_then(|rest| rest.split('"').next()) {
            programs.insert(pid.to_owned(), program.to_owned());
        } else if call.starts_with("openat(") && (call.contains("\"host_key\"") || call.contains("\"sealing_key.")) {
            readers.insert(programs.get(pid).cloned().unwrap_or_default());
        }
    }
    readers
}

#[test]
fn the_program_that_talks_to_a_caller_never_reads_the_private_key() {
    let person = root().person(&["walled-extended"]);
    let words = ["/usr/bin/jit-sudo", "--role", "walled-extended", "--reason", "x", "id", "-u"];
    let enforcer = std::collections::BTreeSet::from(["/usr/libexec/jit-sudo/jit-sudo-enforcer".to_owned()]);
    assert_eq!(readers_of_the_key(&person, &words), enforcer);
    // A checkpoint may be due.
    assert!(readers_of_the_key(&person, &["/usr/bin/jit-sudo", "-n", "id"]).is_subset(&enforcer));
}
