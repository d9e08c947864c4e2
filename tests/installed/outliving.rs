//! No process outlives its grant: whatever a command, its terminal and its supervisor do, all its descendants end with the grant.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, PtySession};

use crate::{id, own_root, records_of, request};

const POLICY: &str = r#"
[roles.lasting]
eligible     = ["%lasting"]
commands     = ["ALL"]
run_as       = ["ALL"]
authenticate = false

[roles.shared]
eligible     = ["%shared"]
commands     = ["ALL"]
authenticate = false
record       = "none"
use_pty      = false

[roles.taped]
eligible     = ["%taped"]
commands     = ["ALL"]
authenticate = false
record       = "all"

[roles.daemons]
eligible     = ["%daemons"]
commands     = ["ALL"]
authenticate = false
leftovers    = "keep"
"#;

/// How late an end may be: the interval of the checks, the grace period, and the delays of a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1500);

fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<&'static PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(|| {
        crate::root().add_policy("outliving", POLICY);
        crate::root()
    })
}

/// A user with a grant, and a number of seconds that no other process of the root sleeps.
struct Holder {
    person: Person,
    grant: String,
    nap: String,
}

impl Holder {
    fn of(role: &str) -> Holder {
        static NAPS: AtomicU32 = AtomicU32::new(700_000);
        let person = root().person(&[role]);
        let grant = id(&request(root(), &person, role, &["--for", "10m"]));
        Holder { person, grant, nap: NAPS.fetch_add(1, Ordering::Relaxed).to_string() }
    }

    fn on_terminal(&self, words: &[&str]) -> PtySession {
        root().pty_as(&self.person.name, [&["jit-sudo", "-n"], words].concat())
    }

    fn sleepers(&self) -> usize {
        root().script(&format!("pgrep -fxc 'sleep {}' || :", self.nap)).trim().parse().unwrap()
    }

    fn sleeps(&self, count: usize) {
        harness::eventually("they sleep", harness::PATIENCE, || (self.sleepers() == count).then_some(()));
    }

    fn revoke(&self) {
        root().as_root(["jitctl", "revoke", &self.grant, "--reason", "enough"]).succeeded();
    }

    fn ended_at_once(&self) {
        let began = Instant::now();
        harness::eventually("they end", harness::PATIENCE, || (self.sleepers() == 0).then_some(()));
        assert!(began.elapsed() < AT_ONCE, "after {:?}", began.elapsed());
    }

    fn has_record(&self, kind: &str) -> harness::Record {
        harness::eventually(&format!("a record {kind}"), harness::PATIENCE, || {
            records_of(root(), &self.person).into_iter().find(|record| record.kind() == kind)
        })
    }

    fn run_id(&self) -> String {
        self.has_record("start").text("run").to_owned()
    }
}

#[test]
fn a_stopped_job_ends_with_its_grant() {
    let holder = Holder::of("lasting");
    let script = format!("trap '' TSTP; setsid sleep {0} & sleep {0}", holder.nap);
    let shell = format!("set -m; jit-sudo -n sh -c '{script}'; echo stopped; read line");
    let mut session = root().pty_as(&holder.person.name, ["bash", "-ic", &shell]);
    holder.sleeps(2);
    session.type_text("\x1a");
    session.expect("stopped");
    holder.revoke();
    holder.ended_at_once();
    assert_eq!(holder.has_record("end").text("ended_by"), "revocation");
}

#[test]
fn a_command_that_stops_itself_does_not_outlive_its_grant() {
    for words in [&["-u", "bob"][..], &[]] {
        let holder = Holder::of("lasting");
        let script = format!("setsid sleep {} & sleep 0.2; kill -STOP $$", holder.nap);
        let words: Vec<&str> = words.iter().copied().chain(["sh", "-c", &script]).collect();
        let session = holder.on_terminal(&words);
        holder.sleeps(1);
        std::thread::sleep(Duration::from_millis(400));
        holder.revoke();
        holder.ended_at_once();
        // The supervisor wakes when the command is ended, and records the end.
        assert_eq!(holder.has_record("end").text("ended_by"), "revocation");
        drop(session);
        // The same without a terminal.
        let holder = Holder::of("lasting");
        let script = format!("setsid sleep {} & sleep 0.2; kill -STOP $$", holder.nap);
        let words: Vec<&str> =
            ["setsid", "jit-sudo", "-n"].into_iter().chain(words[..words.len() - 3].iter().copied()).collect();
        let all: Vec<&str> = words.into_iter().chain(["sh", "-c", &script]).collect();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| root().run_as(&holder.person.name, &all));
            holder.sleeps(1);
            std::thread::sleep(Duration::from_millis(400));
            holder.revoke();
            holder.ended_at_once();
            let _ = run.join().unwrap();
        });
    }
}

#[test]
fn unread_output_does_not_delay_the_end() {
    let holder = Holder::of("lasting");
    // Standard output is a terminal that no process reads.
    let script = format!(
        "import os, pty, subprocess\n\
         leader, follower = pty.openpty()\n\
         subprocess.run(['jit-sudo', '-n', 'sh', '-c', 'setsid sleep {0} & yes'], stdout=follower)\n",
        holder.nap
    );
    let mut session = root().pty_as(&holder.person.name, ["python3", "-c", &script]);
    holder.sleeps(1);
    std::thread::sleep(Duration::from_millis(500));
    holder.revoke();
    holder.ended_at_once();
    session.type_text("\x03");
    session.hang_up();
}

#[test]
fn another_writer_to_a_pipe_loses_no_recording() {
    let holder = Holder::of("taped");
    // Two processes write to a pipe with a small buffer, and after a while no process reads it.
    let script = "import fcntl, os, subprocess, time\n\
        reader, writer = os.pipe()\n\
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 8192)\n\
        if os.fork() == 0:\n  other = os.open(f'/proc/self/fd/{writer}', os.O_WRONLY | os.O_NONBLOCK)\n  while True:\n    \
        try: os.write(other, b'c' * 4096)\n    except BlockingIOError: pass\n\
        run = subprocess.Popen(['jit-sudo', '-n', 'yes', 'Y' * 60], stdin=subprocess.DEVNULL, stdout=writer)\n\
        until = time.time() + 2\n\
        while time.time() < until: os.read(reader, 4096); time.sleep(0.002)\n\
        print('held up', flush=True)\n\
        run.wait()\n\
        print('over', flush=True)\n\
        time.sleep(600)\n";
    let mut session = root().pty_as(&holder.person.name, ["python3", "-c", script]);
    session.expect("held up");
    std::thread::sleep(Duration::from_millis(300));
    holder.revoke();
    session.expect("over");
    let end = holder.has_record("end");
    assert_eq!(end.text("ended_by"), "revocation");
    let alerts = records_of(root(), &holder.person).into_iter().filter(|record| record.kind() == "alert");
    assert_eq!(alerts.map(|record| record.body).collect::<Vec<_>>(), Vec::<String>::new());
    drop(session);
}

/// Makes clone3, pidfd_open and pidfd_send_signal fail, as containers with an old seccomp list do, and executes its arguments.
const FILTER: &str = "import ctypes, os, struct, sys\n\
    calls = [435, 434, 424]\n\
    code = [(0x20, 0, 0, 0)] + [(0x15, len(calls) - i, 0, call) for i, call in enumerate(calls)]\n\
    code += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050000 | 38)]\n\
    text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))\n\
    program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(text)))\n\
    assert ctypes.CDLL(None).prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0\n\
    os.execvp(sys.argv[1], sys.argv[1:])\n";

#[test]
fn without_the_newer_system_calls_everything_ends_all_the_same() {
    let doctor = root().script(&format!("python3 -c \"$(cat <<'E'\n{FILTER}\nE\n)\" jitctl doctor || true"));
    for call in ["clone3", "pidfd_open", "pidfd_send_signal"] {
        assert!(doctor.contains(&format!("note     system calls: {call} is missing")), "{doctor}");
    }
    for (on_terminal, has_groups) in [(true, true), (false, true), (true, false), (false, false)] {
        let holder = Holder::of("lasting");
        let script = format!("setsid sleep {0} & trap '' TERM; sleep {0}; sleep {0}", holder.nap);
        let hide = if has_groups { "" } else { "umount /sys/fs/cgroup &&" };
        let apart = if on_terminal { "" } else { "setsid -w" };
        let line = format!(
            "{hide} exec python3 -c \"$0\" {apart} runuser -u {} -- jit-sudo -n sh -c \"$1\"",
            holder.person.name
        );
        let mut session = root().pty_as("root", ["unshare", "-m", "sh", "-c", &line, FILTER, &script]);
        holder.sleeps(2);
        std::thread::sleep(Duration::from_millis(300));
        holder.revoke();
        holder.ended_at_once();
        session.wait();
        assert_eq!(holder.has_record("end").text("ended_by"), "revocation");
    }
}

/// Types its argument to a shell with job control on a terminal that no process reads.
const UNREAD: &str = "import os, pty, sys, time\n\
    pid, leader = pty.fork()\n\
    if pid == 0: os.execvp('bash', ['bash', '--norc', '-i'])\n\
    time.sleep(0.5)\n\
    os.write(leader, sys.argv[1].encode() + b'\\n')\n\
    time.sleep(600)\n";

#[test]
fn other_writers_to_an_unread_terminal_do_not_delay_the_end() {
    for wait in ["sleep 1;", ""] {
        let holder = Holder::of("lasting");
        let line = format!("(yes >/dev/tty &); {wait} jit-sudo -n sleep {}", holder.nap);
        let session = root().pty_as(&holder.person.name, ["python3", "-c", UNREAD, &line]);
        holder.sleeps(1);
        std::thread::sleep(Duration::from_millis(500));
        holder.revoke();
        holder.ended_at_once();
        assert_eq!(holder.has_record("end").text("ended_by"), "revocation");
        drop(session);
    }
}

#[test]
fn a_supervisor_that_is_about_to_stop_sees_the_end_of_its_command() {
    let holder = Holder::of("lasting");
    let script = format!("yes & setsid sleep {} & sleep 0.5; kill -TSTP 0; sleep 100", holder.nap);
    let line = format!("jit-sudo -n sh -c '{script}'");
    let session = root().pty_as(&holder.person.name, ["python3", "-c", UNREAD, &line]);
    holder.sleeps(1);
    std::thread::sleep(Duration::from_secs(1));
    holder.revoke();
    holder.ended_at_once();
    assert_eq!(holder.has_record("end").text("ended_by"), "revocation");
    drop(session);
}

#[test]
fn a_stopped_command_ends_with_its_terminal() {
    for stop in ["kill -STOP $$", "kill -TSTP 0"] {
        let holder = Holder::of("lasting");
        let mut session = root().pty_as(&holder.person.name, ["bash", "--norc", "-i"]);
        session.type_line(&format!("jit-sudo -n sh -c '{stop}; sleep {}'", holder.nap));
        session.expect("Stopped");
        session.hang_up();
        assert_eq!(holder.has_record("end").text("ended_by"), "itself");
        assert_eq!(holder.sleepers(), 0);
    }
}

#[test]
fn a_terminal_with_tostop_does_not_delay_the_end() {
    let holder = Holder::of("lasting");
    let shell = format!("set -m; stty tostop; jit-sudo -n sleep {} & read line", holder.nap);
    let session = root().pty_as(&holder.person.name, ["bash", "-ic", &shell]);
    holder.sleeps(1);
    std::thread::sleep(Duration::from_millis(300));
    holder.revoke();
    holder.ended_at_once();
    drop(session);
}

/// Starts a shell with one job on a terminal, stops the job by a key, continues it, and stops it by a key again, N times. Prints
/// how often the command of the job, which counts in a file, was not stopped while the job was, or did not continue with it.
const STOPPED_ANEW: &str = "import os, pty, select, signal, sys, time\n\
    told, tell = os.pipe()\n\
    pid, leader = pty.fork()\n\
    if pid:\n\
    \x20 while True:\n\
    \x20   ready = select.select([told, leader], [], [])[0]\n\
    \x20   if told in ready: os.read(told, 1); os.write(leader, b'\\x1a')\n\
    \x20   try:\n\
    \x20     if leader in ready: os.write(1, os.read(leader, 999))\n\
    \x20   except OSError: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n\
    for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP): signal.signal(number, signal.SIG_IGN)\n\
    job = os.fork()\n\
    if job == 0:\n\
    \x20 os.setpgid(0, 0); os.tcsetpgrp(0, os.getpid())\n\
    \x20 for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP): signal.signal(number, signal.SIG_DFL)\n\
    \x20 os.execvp(sys.argv[3], sys.argv[3:])\n\
    while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n\
    time.sleep(0.2)\n\
    command = open(sys.argv[2]).read().strip()\n\
    def state(pid): return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]\n\
    def stop():\n\
    \x20 os.write(tell, b'z')\n\
    \x20 for _ in range(200):\n\
    \x20   if os.WIFSTOPPED(os.waitpid(job, os.WUNTRACED | os.WNOHANG)[1] or 0): return True\n\
    \x20   time.sleep(0.005)\n\
    def are(held):\n\
    \x20 time.sleep(0.02)\n\
    \x20 return all((state(pid) == 'T') == held for pid in (command, job))\n\
    undone = lost = 0\n\
    for round in range(int(sys.argv[1])):\n\
    \x20 stop(); os.killpg(job, signal.SIGCONT)\n\
    \x20 if round % 6: time.sleep(0.0001 * 2 ** (round % 6))\n\
    \x20 undone += not (stop() and are(True))\n\
    \x20 os.killpg(job, signal.SIGCONT); lost += not are(False)\n\
    \x20 os.killpg(job, signal.SIGCONT); time.sleep(0.01)\n\
    print('undone', undone, 'lost', lost, 'end')\n\
    os.killpg(job, signal.SIGKILL)\n";

#[test]
fn a_stop_right_after_a_continuation_is_not_undone() {
    for has_groups in [true, false] {
        let holder = Holder::of("shared");
        let file = format!("/tmp/pid-{}", holder.nap);
        let hide = if has_groups { "" } else { "umount /sys/fs/cgroup &&" };
        let script = format!("echo $$ >{file}; exec sleep {}", holder.nap);
        let user = &holder.person.name;
        let line = format!(
            "{hide} exec python3 -c \"$0\" 90 {file} setpriv --reuid={user} --regid={user} --init-groups \
             jit-sudo -n sh -c \"$1\""
        );
        let mut session = root().pty_as("root", ["unshare", "-m", "sh", "-c", &line, STOPPED_ANEW, &script]);
        session.expect("undone 0 lost 0 end");
        drop(session);
    }
}

/// Stops the supervisor of a run without a terminal and continues it at once, N times; prints how often the command did not
/// continue.
const TAKEN_BACK: &str = "import os, signal, subprocess, sys, time\n\
    run = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, start_new_session=True)\n\
    while not os.path.exists(sys.argv[2]) or not open(sys.argv[2]).read().strip(): time.sleep(0.01)\n\
    command = open(sys.argv[2]).read().strip()\n\
    def state(pid): return open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0]\n\
    time.sleep(0.2)\n\
    held = 0\n\
    for round in range(int(sys.argv[1])):\n\
    \x20 os.kill(run.pid, signal.SIGTSTP); os.kill(run.pid, signal.SIGCONT)\n\
    \x20 time.sleep(0.05)\n\
    \x20 held += 'T' in (state(command), state(run.pid))\n\
    \x20 if held: break\n\
    print('held', held, 'end')\n\
    run.kill()\n";

#[test]
fn a_stop_that_is_continued_at_once_stops_no_process() {
    let holder = Holder::of("shared");
    let file = format!("/tmp/pid-{}", holder.nap);
    root().script(&format!("install -m 666 /dev/null {file}"));
    let script = format!("echo $$ >{file}; exec sleep {}", holder.nap);
    // Root signals the supervisor, which is in another process group than the sender.
    let user = &holder.person.name;
    let words =
        ["python3", "-c", TAKEN_BACK, "40", &file, "runuser", "-u", user, "--", "jit-sudo", "-n", "sh", "-c", &script];
    let said = root().as_root(words);
    assert!(said.succeeded().contains("held 0 end"), "{said:?}");
}

/// Ends its main thread, so that it is a zombie in proc(5); another thread continues and writes into a file, ignoring signals,
/// and so does a child that sleeps.
const HEADLESS: &str = "import ctypes, platform, signal, subprocess, sys, threading, time\n\
    for number in (1, 2, 15, 18, 20): signal.signal(number, signal.SIG_IGN)\n\
    def work():\n  while True:\n    open(sys.argv[1], 'a').write('.')\n    time.sleep(0.02)\n\
    subprocess.Popen(['sleep', sys.argv[2]], start_new_session=True)\n\
    threading.Thread(target=work).start()\n\
    time.sleep(0.1)\n\
    ctypes.CDLL(None).syscall(60 if platform.machine() == 'x86_64' else 93, 0)\n";

#[test]
fn a_process_whose_main_thread_has_ended_ends_with_its_grant() {
    for has_groups in [true, false] {
        for tail in ["wait; sleep 600", ":"] {
            let holder = Holder::of("lasting");
            let beats = format!("/tmp/beats-{}", holder.nap);
            let hide = if has_groups { "" } else { "umount /sys/fs/cgroup &&" };
            let script = format!("setsid -f python3 -c \"$1\" {beats} {} >/dev/null 2>&1; {tail}", holder.nap);
            let line = format!("{hide} exec runuser -u {} -- jit-sudo -n sh -c \"$0\" sh \"$1\"", holder.person.name);
            let words = ["unshare", "-m", "sh", "-c", &line, &script, HEADLESS];
            let mut session = root().pty_as("root", words);
            holder.sleeps(1);
            let size = || root().script(&format!("stat -c %s {beats} 2>/dev/null || echo 0")).trim().to_owned();
            harness::eventually("a thread works", harness::PATIENCE, || (size() != "0").then_some(()));
            std::thread::sleep(Duration::from_millis(300));
            holder.revoke();
            holder.ended_at_once();
            std::thread::sleep(AT_ONCE);
            let was = size();
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(size(), was, "groups: {has_groups}, {tail}");
            session.wait();
        }
    }
}

#[test]
fn a_child_that_the_caller_had_before_is_no_part_of_the_run() {
    let holder = Holder::of("lasting");
    let away = ">/dev/null 2>&1 </dev/null";
    for command in ["sleep 0.2", "sleep 0.2; (setsid sleep 5 &)"] {
        let line = format!(
            "(sleep {0} & sleep {0}) {away} & sleep 0.2; exec jit-sudo -n sh -c '{command}' {away}",
            holder.nap
        );
        root().run_as(&holder.person.name, ["bash", "-c", &line]).succeeded();
    }
    holder.sleeps(4);
    holder.revoke();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(holder.sleepers(), 4);
    let left: Vec<_> =
        records_of(root(), &holder.person).into_iter().filter(|record| record.kind() == "left-running").collect();
    assert!(left.iter().all(|record| record.json["count"] == 1), "{left:?}");
    root().script(&format!("pkill -fx 'sleep {}'", holder.nap));
}

/// Forks until the limit, and fills each slot that becomes free, in a session of its own.
const GREEDY: &str = "import os, sys, time\n\
    if os.fork(): os._exit(0)\n\
    os.setsid()\n\
    while True:\n  try:\n    if not os.fork(): os.execvp('sleep', ['sleep', sys.argv[1]])\n  except OSError: time.sleep(0.001)\n";

#[test]
fn without_room_for_an_enforcer_no_process_outlives_the_grant() {
    // A group of version 1: the supervisor leaves a group of version 2.
    let tree = "mkdir -p /run/pids && mount -t cgroup -o pids none /run/pids";
    let group = format!("/run/pids/jit-sudo-test-{}", std::process::id());
    if !root().as_root(["unshare", "-m", "sh", "-c", tree]).status.success() {
        return eprintln!("this kernel has no version 1 of the control groups that bound processes");
    }
    for (tail, terminal) in [("sleep 0.2", false), ("sleep 0.2", true), ("sleep 600", false), ("kill -STOP $$", true)] {
        let holder = Holder::of("lasting");
        let script = format!("python3 -c \"$1\" {} >/dev/null 2>&1; {tail}", holder.nap);
        let run = format!("exec runuser -u {} -- jit-sudo -n sh -c \"$0\" sh \"$1\"", holder.person.name);
        let bound = format!("mkdir -p {group} && echo 25 >{group}/pids.max && echo $$ >{group}/cgroup.procs");
        let line = format!("{tree} && {bound} && {run}");
        let words = ["unshare", "-m", "sh", "-c", &line, &script, GREEDY];
        std::thread::scope(|scope| {
            let mut session = terminal.then(|| root().pty_as("root", words));
            let run = (!terminal).then(|| scope.spawn(|| root().as_root([&["setsid"][..], &words[..]].concat())));
            if tail == "sleep 600" || tail.starts_with("kill") {
                harness::eventually("they sleep", harness::PATIENCE, || (holder.sleepers() > 9).then_some(()));
                std::thread::sleep(Duration::from_millis(400));
                holder.revoke();
                holder.ended_at_once();
                holder.has_record("end"); // before the terminal is closed, which kills whoever writes it
                let _ = run.map(|run| run.join().unwrap());
            } else {
                // What is left is supervised by an enforcer that could start after all, or has ended with the run.
                let _ = (session.as_mut().map(PtySession::wait), run.map(|run| run.join().unwrap()));
                holder.revoke();
                holder.ended_at_once();
            }
        });
        holder.has_record("end");
        harness::eventually("the group is empty", harness::PATIENCE, || {
            let emptied = format!("{tree} && rmdir {group}");
            root().as_root(["unshare", "-m", "sh", "-c", &emptied]).status.success().then_some(())
        });
    }
}

#[test]
fn a_caller_without_room_for_a_process_gets_a_message() {
    const WORDS: &str = "too many processes are running, of this user or in a control group";
    let holder = Holder::of("lasting");
    let ask = "ulimit -u 1; exec jitctl session list";
    let output = root().run_as(&holder.person.name, ["bash", "-c", ask]);
    assert!(output.stderr.contains(WORDS) && !output.stderr.contains("installed"), "{output:?}");
    // A group of version 1, as above.
    let tree = "mkdir -p /run/pids && mount -t cgroup -o pids none /run/pids";
    let group = format!("/run/pids/jit-sudo-full-{}", std::process::id());
    let bound = format!("mkdir -p {group} && echo 1 >{group}/pids.max && echo $$ >{group}/cgroup.procs");
    let user = &holder.person.name;
    for (options, pause) in [("-n", ""), ("-n -b", ""), ("-n", "setsid -w")] {
        let line = format!(
            "{tree} || exit 77; {pause} sh -c '{bound} &&
             exec setpriv --reuid {user} --regid {user} --init-groups jit-sudo {options} sleep {}'; rmdir {group}",
            holder.nap
        );
        let mut session = root().pty_as("root", ["unshare", "-m", "sh", "-c", &line]);
        session.expect(&format!("jit-sudo: cannot start a process: {WORDS}"));
        session.wait();
    }
    assert_eq!(holder.sleepers(), 0);
    let told = format!("{user} has used up the budget of one user for processes that supervise runs");
    let alerts = root().journal().into_iter().filter(|record| record.kind() == "alert");
    assert_eq!(alerts.filter(|alert| alert.text("sentence").starts_with(&told)).count(), 1, "once a day");
}

#[test]
fn an_editor_is_not_started_if_the_callers_control_group_accepts_no_process() {
    let holder = Holder::of("lasting");
    let user = &holder.person.name;
    // A threaded group accepts no processes; by then the supervisor has left the group.
    let close = "import sys, time\n\
        end = time.time() + 20\n\
        while not open(sys.argv[1] + '/in/cgroup.procs').read(): pass\n\
        while time.time() < end:\n    \
            try:\n        \
                open(sys.argv[1] + '/threads/cgroup.type', 'wb', 0).write(b'threaded')\n        \
                break\n    \
            except OSError: pass\n";
    let place = root().script("place=$(mktemp); chmod 666 $place; echo $place").trim().to_owned();
    let line = format!(
        "tree=$(awk '$3 == \"cgroup2\" {{ print $2; exit }}' /proc/mounts)/theirs-{0}
         mkdir -p $tree/in $tree/threads && chown -R {user} $tree && touch /root/{0}
         printf '#!/bin/sh\necho edited >>{place}\n' >/usr/local/bin/editor-{0}; chmod 755 /usr/local/bin/editor-{0}
         setpriv --reuid {user} --clear-groups python3 -c \"$0\" $tree & sleep 0.3
         sh -c 'echo $$ >'$tree'/in/cgroup.procs; EDITOR=/usr/local/bin/editor-{0}; export EDITOR
                exec setpriv --reuid {user} --regid {user} --init-groups jit-sudo -n -e /root/{0}'
         wait; cat $tree/threads/cgroup.type; rmdir $tree/in $tree/threads $tree",
        holder.nap
    );
    // The group must be closed between two steps of the supervisor; otherwise the editor has started where it should.
    let closed_in_time = (0..20).any(|_| {
        let output = root().as_root(["sh", "-c", &line, close]);
        assert!(output.stdout.contains("threaded"), "{output:?}");
        if output.stderr.contains("unchanged") {
            root().script(&format!("grep -qx edited {place} && : >{place}"));
            return false;
        }
        assert!(output.stderr.contains("cannot start a process: its control group accepts no processes"), "{output:?}");
        true
    });
    assert!(closed_in_time);
    assert_eq!(root().read(&place), "");
}

#[test]
fn descendants_of_a_finished_command_are_listed_and_end_with_the_grant() {
    for tail in ["sleep 0.2", ":"] {
        let holder = Holder::of("lasting");
        let script = format!("setsid sleep {} >/dev/null 2>&1 & {tail}", holder.nap);
        root().run_as(&holder.person.name, ["jit-sudo", "-n", "sh", "-c", &script]).succeeded();
        holder.sleeps(1);
        let left = holder.has_record("left-running");
        // It may not have executed its program yet.
        let is_named = ["sleep", "sh", "setsid"].iter().any(|name| left.body.contains(&format!("\"name\":\"{name}\"")));
        assert!(is_named && left.number("count") == 1, "{}", left.body);
        let listed = root().run_as(&holder.person.name, ["jitctl", "session", "list"]);
        assert!(listed.succeeded().contains("left running"), "{listed:?}");
        holder.revoke();
        holder.ended_at_once();
        assert_eq!(holder.has_record("left-ended").text("ended_by"), "revocation");
        let listed = root().run_as(&holder.person.name, ["jitctl", "session", "list"]);
        assert!(!listed.succeeded().contains("left running"), "{listed:?}");
    }
}

#[test]
fn descendants_of_a_finished_command_end_by_expiry_or_a_kill() {
    for (role, survives) in [("lasting", false), ("daemons", true)] {
        let person = root().person(&[role]);
        let grant = id(&request(root(), &person, role, &["--for", "2s"]));
        let holder = Holder { person, grant, ..Holder::of(role) };
        let script = format!("setsid sleep {} >/dev/null 2>&1 & :", holder.nap);
        root().run_as(&holder.person.name, ["jit-sudo", "-n", "sh", "-c", &script]).succeeded();
        let run = holder.run_id();
        holder.has_record("left-running");
        std::thread::sleep(Duration::from_millis(3500));
        assert_eq!(holder.sleepers(), usize::from(survives), "{role}");
        if survives {
            root().as_root(["jitctl", "session", "kill", &run, "--reason", "enough"]).succeeded();
            holder.ended_at_once();
            assert_eq!(holder.has_record("left-ended").text("ended_by"), "kill");
        } else {
            assert_eq!(holder.has_record("left-ended").text("ended_by"), "expiry");
        }
    }
}

#[test]
fn a_command_that_kills_or_stops_its_supervisor_ends_and_is_not_called_unexecuted() {
    for signal in ["KILL", "STOP"] {
        let holder = Holder::of("lasting");
        let script = format!("setsid sleep {} & sleep 0.2; kill -{signal} $PPID; sleep 30", holder.nap);
        let session = holder.on_terminal(&["sh", "-c", &script]);
        holder.sleeps(1);
        std::thread::sleep(Duration::from_millis(500));
        holder.revoke();
        holder.ended_at_once();
        let end = holder.has_record("end");
        assert_ne!(end.text("ended_by"), "not-executed", "{}", end.body);
        drop(session);
        // Without a terminal its parent is jit-sudo itself.
        let holder = Holder::of("lasting");
        let script = format!("setsid sleep {} & sleep 0.2; kill -{signal} $PPID; sleep 30", holder.nap);
        let command = format!("setsid jit-sudo -n sh -c '{script}' </dev/null >/dev/null 2>&1 &");
        root().run_as(&holder.person.name, ["sh", "-c", &command]).succeeded();
        holder.sleeps(1);
        std::thread::sleep(Duration::from_millis(500));
        holder.revoke();
        holder.ended_at_once();
    }
}

/// As above, with the stop or kill as the first thing that the command does: no process but the supervisor may know the run yet.
#[test]
fn a_command_that_stops_its_supervisor_at_once_ends_with_its_grant() {
    const SUPERVISOR: &str = "read -r stat </proc/$PPID/stat; set -- ${stat##*)}; supervisor=$2";
    for (on_terminal, has_groups, delay) in [
        (false, true, "0"),
        (false, true, "0.004"),
        (false, true, "0.02"),
        (false, false, "0"),
        (true, true, "0"),
        (true, true, "0.02"),
        (true, false, "0"),
    ] {
        let holder = Holder::of("lasting");
        let hide = if has_groups { "" } else { "umount /sys/fs/cgroup &&" };
        // With a terminal or without control groups a process of ours is between the two.
        let between = on_terminal || !has_groups;
        let whom = if between { SUPERVISOR } else { "supervisor=$PPID" };
        let script = format!(
            "{whom}; [ {delay} = 0 ] || sleep {delay}; kill -STOP $PPID $supervisor; kill -STOP $supervisor; exec sleep {}",
            holder.nap
        );
        let apart = if on_terminal { "" } else { "setsid -w" };
        let line = format!("{hide} exec {apart} runuser -u {} -- jit-sudo -n sh -c \"$0\"", holder.person.name);
        let session = root().pty_as("root", ["unshare", "-m", "sh", "-c", &line, &script]);
        holder.sleeps(1);
        std::thread::sleep(Duration::from_millis(500));
        holder.revoke();
        holder.ended_at_once();
        // Recorded by the supervisor itself.
        assert_eq!(holder.has_record("end").text("ended_by"), "revocation", "{on_terminal} {has_groups} {delay}");
        drop(session);
    }
}

/// A supervisor without a terminal adopts the orphans of its command.
#[test]
fn ended_orphans_are_reaped_while_the_command_runs() {
    // Supervisor and command are the parents of nearly all zombies of a private root.
    let zombies = || -> usize { root().script("ps -e -o stat= | grep -c ^Z || :").trim().parse().unwrap() };
    for apart in [&["setsid", "-w"][..], &[]] {
        let holder = Holder::of("lasting");
        let script = format!("for i in $(seq 200); do (true &); done; exec sleep {}", holder.nap);
        let words = [apart, &["jit-sudo", "-n", "-u", "bob", "bash", "-c", &script]].concat();
        let session = root().pty_as(&holder.person.name, words);
        holder.sleeps(1);
        harness::eventually("they are reaped", AT_ONCE, || (zombies() < 50).then_some(()));
        holder.revoke();
        holder.ended_at_once();
        drop(session);
    }
}

/// Each process forks the next and exits, so that none lives long enough to be signalled by its pid.
#[test]
fn a_chain_of_forks_beside_many_processes_ends_with_its_grant() {
    let zombies = || -> usize { root().script("ps -e -o stat= | grep -c ^Z || :").trim().parse().unwrap() };
    for has_groups in [true, false] {
        let holder = Holder::of("lasting");
        let hide = if has_groups { "" } else { "umount /sys/fs/cgroup &&" };
        let script = format!(
            "for i in $(seq 100); do sleep {} & done; perl -e '$0 = \"chain\"; exit if fork;              while (1) {{ exit if fork; select undef, undef, undef, 0.0005 }}'; wait",
            holder.nap
        );
        let line =
            format!("{hide} exec setsid -w runuser -u {} -- jit-sudo -n -u bob bash -c \"$0\"", holder.person.name);
        let session = root().pty_as("root", ["unshare", "-m", "sh", "-c", &line, &script]);
        holder.sleeps(100);
        std::thread::sleep(Duration::from_secs(1));
        let left = zombies();
        holder.revoke();
        holder.ended_at_once();
        harness::eventually("the chain ends", AT_ONCE, || {
            (root().script("pgrep -c ^chain || :").trim() == "0").then_some(())
        });
        assert!(left < 100, "{left} zombies");
        drop(session);
    }
}

#[test]
fn a_command_that_could_not_be_ended_is_not_started() {
    let holder = Holder::of("lasting");
    let refused = |hide: &str, words: &str| {
        let line = format!(
            "{hide} setpriv --bounding-set=-kill runuser -u {} -- jit-sudo -n {words} 2>&1 || :",
            holder.person.name
        );
        root().script(&format!("unshare -m sh -c '{line}'"))
    };
    let said = refused("umount /sys/fs/cgroup;", "-u bob id -u");
    assert!(said.contains("a command of uid ") && said.contains("CAP_KILL") && said.contains("hint: "), "{said}");
    assert_eq!(holder.has_record("end").text("ended_by"), "not-executed");
    // A command of root can become any other user.
    let said = refused("umount /sys/fs/cgroup;", "id -u");
    assert!(said.contains("a command of uid 0 ") && said.contains("CAP_KILL"), "{said}");
    assert_eq!(refused("", "-u bob id -un").trim(), "bob");
}

/// A command that stops its supervisor as often as it can keeps every process of the run from its work.
#[test]
fn a_supervisor_that_is_stopped_again_and_again_is_given_up() {
    let holder = Holder::of("lasting");
    let script = format!("perl -e '1 while kill STOP => getppid' & exec sleep {}", holder.nap);
    let script = script.replace("getppid", "$ARGV[0]").replace("' &", "' $PPID &");
    let session = root().pty_as(&holder.person.name, ["setsid", "-w", "jit-sudo", "-n", "sh", "-c", &script]);
    holder.sleeps(1);
    holder.revoke();
    root().as_root(["jitctl", "sweep"]).succeeded();
    holder.ended_at_once();
    root().script("pkill -9 -x perl || :");
    holder.has_record("end");
    drop(session);
}

#[test]
fn a_run_inside_of_a_run_ends_with_the_outer_grant() {
    let outer = Holder::of("lasting");
    let inner = root().person(&["daemons"]);
    request(root(), &inner, "daemons", &[]);
    let script = format!("runuser -u {} -- jit-sudo -n sh -c 'setsid sleep {1} & sleep {1}'", inner.name, outer.nap);
    let session = outer.on_terminal(&["sh", "-c", &script]);
    outer.sleeps(2);
    std::thread::sleep(Duration::from_millis(300));
    outer.revoke();
    outer.ended_at_once();
    drop(session);
}

const REMOVAL: &str = r#"
[roles.ended]
standing     = ["%staying"]
commands     = ["ALL"]
authenticate = false

[roles.granted]
eligible     = ["%staying"]
commands     = ["ALL"]
authenticate = false

[roles.finishing]
standing     = ["%staying"]
commands     = ["ALL"]
authenticate = false
on_removal   = "finish"
"#;

/// A user leaves the group of a role, and the role itself is removed, while commands run.
#[test]
fn a_user_who_loses_a_role_loses_its_runs() {
    let root = crate::own_root();
    root.add_policy("removal", REMOVAL);
    let person = root.person(&["staying"]);
    let stays = root.person(&["staying"]);
    request(&root, &person, "granted", &[]);
    let sleeping = |nap: u32| root.script(&format!("pgrep -fxc 'sleep {nap}' || :")).trim() == "1";
    let begin = |who: &Person, nap: u32, role: &str| {
        let script = format!("jit-sudo -n --role {role} sleep {nap} >/dev/null 2>&1 & sleep 0.3");
        root.run_as(&who.name, ["sh", "-c", &script]).succeeded();
        harness::eventually("it sleeps", harness::PATIENCE, || sleeping(nap).then_some(()));
    };
    let gone = |nap: u32| harness::eventually("it is ended", AT_ONCE, || (!sleeping(nap)).then_some(()));
    for (nap, role) in [(910_001, "ended"), (910_002, "granted"), (910_003, "finishing")] {
        begin(&person, nap, role);
    }
    begin(&stays, 910_004, "ended");
    // Membership is checked once a minute, and whenever the policy changes.
    root.script(&format!("gpasswd -d {} staying", person.name));
    // What the role says now does not help a command that began before.
    root.add_policy("removal", &REMOVAL.replacen("[roles.ended]", "[roles.ended]\non_removal = \"finish\"", 1));
    root.as_root(["jitctl", "roles"]).succeeded();
    gone(910_001);
    gone(910_002);
    assert!(sleeping(910_003) && sleeping(910_004));
    let ends = records_of(&root, &person);
    let end = ends.iter().find(|record| record.kind() == "end").unwrap();
    assert_eq!(end.text("ended_by"), "kill", "{}", end.body);
    let why =
        root.journal().into_iter().find(|record| record.text("run") == end.text("run") && record.text("act") == "kill");
    let why = why.unwrap();
    assert!(why.text("reason").contains("is no longer"), "{}", why.body);
    // The role itself is removed.
    root.script("rm /etc/jit-sudo/policy.d/removal.toml");
    root.as_root(["jitctl", "roles"]).succeeded();
    gone(910_004);
    gone(910_003);
    assert!(root.as_root(["jitctl", "audit", "verify"]).intact().contains("intact"));
}

/// Adds an account directory, before or behind the files. It gives no answer to the program that /run/hang names.
pub(crate) fn add_silent_directory(root: &PrivateRoot, is_first: bool) {
    root.write("/root/nss_hang.c", 0o600, include_str!("nss_hang.c"));
    root.script("gcc -shared -fPIC -o $(dirname $(find /lib /usr/lib -name 'libnss_compat.so.2' | head -1))/libnss_hang.so.2 /root/nss_hang.c");
    let rest = if is_first { "" } else { ".*" };
    root.script(&format!(
        "sed -i 's/^\\(passwd\\|group\\):{rest}/& hang/' /etc/nsswitch.conf && grep -q '^passwd:.*hang' /etc/nsswitch.conf",
    ));
}

/// A network directory of accounts may never answer; the process that ends a run does not query it.
#[test]
fn an_account_directory_that_does_not_answer_does_not_delay_the_end() {
    let root = crate::own_root();
    root.add_policy("removal", REMOVAL);
    add_silent_directory(&root, true);
    let person = root.person(&["staying"]);
    let grant = id(&request(&root, &person, "granted", &[]));
    let sleeping = || root.script("pgrep -fxc 'sleep 920001' || :").trim() == "1";
    let script = "jit-sudo -n --role granted sleep 920001 >/dev/null 2>&1 & sleep 0.3";
    root.run_as(&person.name, ["sh", "-c", script]).succeeded();
    harness::eventually("it sleeps", harness::PATIENCE, || sleeping().then_some(()));
    root.script("echo jit-sudo-enforc > /run/hang");
    root.add_policy("another", "[roles.another]\nstanding = [\"#0\"]\ncommands = [\"ALL\"]\n");
    root.as_root(["jitctl", "roles"]).succeeded();
    harness::eventually("somebody asks in vain", harness::PATIENCE, || {
        (root.script("test ! -e /run/hangs || echo yes").trim() == "yes").then_some(())
    });
    assert!(sleeping());
    root.as_root(["jitctl", "revoke", &grant, "--reason", "enough"]).succeeded();
    harness::eventually("it is ended", AT_ONCE, || (!sleeping()).then_some(()));
    root.script("rm /run/hang");
    harness::eventually("nobody asks any longer", harness::PATIENCE, || {
        (root.script("pgrep -c jit-sudo-enforc || :").trim() == "0").then_some(())
    });
}

/// Kills supervisor, monitor and enforcer of every run at once, so that no process of jit-sudo is left.
fn orphaned(root: &PrivateRoot) {
    let names = ["jit-sudo-enforc", "jit-sudo"];
    for (signal, name) in [("STOP", names[0]), ("STOP", names[1]), ("KILL", names[0]), ("KILL", names[1])] {
        root.script(&format!("pkill -{signal} -x {name} || :"));
    }
}

#[test]
fn closing_a_lost_run_ends_its_processes() {
    let root = crate::own_root();
    root.add_policy("outliving", POLICY);
    for (place, by_whom) in ["sweep", "another run", "list"].into_iter().enumerate() {
        for (kind, role) in ["lasting", "daemons"].into_iter().enumerate() {
            let (nap, person) = (710_000 + 10 * place + kind, root.person(&[role]));
            request(&root, &person, role, &[]);
            let command =
                format!("setsid jit-sudo -n sh -c 'setsid sleep {nap} & sleep {nap}' </dev/null >/dev/null 2>&1 &");
            root.run_as(&person.name, ["sh", "-c", &command]).succeeded();
            let sleepers = || root.script(&format!("pgrep -fxc 'sleep {nap}' || :")).trim().parse::<usize>().unwrap();
            harness::eventually("they sleep", harness::PATIENCE, || (sleepers() == 2).then_some(()));
            std::thread::sleep(Duration::from_millis(300));
            orphaned(&root);
            assert_eq!(sleepers(), 2);
            match by_whom {
                "sweep" => drop(root.as_root(["jitctl", "sweep"]).succeeded()),
                "list" => drop(root.as_root(["jitctl", "session", "list"]).succeeded()),
                _ => drop(root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded()),
            }
            harness::eventually("they end", harness::PATIENCE, || (sleepers() == 0).then_some(()));
            let is_lost = |record: &harness::Record| record.kind() == "end" && record.text("ended_by") == "lost";
            let end = records_of(&root, &person).into_iter().find(is_lost).unwrap();
            let said = end.text("detail");
            assert!(said.contains("still running and were killed"), "{by_whom} {role}: {said}");
        }
    }
    assert!(matches!(root.as_root(["jitctl", "audit", "verify"]).status.code(), Some(0 | 5)));
}

#[test]
fn descendants_without_an_enforcer_are_ended() {
    let root = crate::own_root();
    root.add_policy("outliving", POLICY);
    let person = root.person(&["daemons"]);
    request(&root, &person, "daemons", &[]);
    root.run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "setsid sleep 720001 >/dev/null 2>&1 & :"]).succeeded();
    harness::eventually("it is left running", harness::PATIENCE, || {
        records_of(&root, &person).into_iter().find(|record| record.kind() == "left-running")
    });
    orphaned(&root);
    let swept = root.as_root(["jitctl", "sweep"]);
    assert_eq!(swept.succeeded(), "1 run ended that a finished command had left running");
    let sleeps = || root.as_root(["pgrep", "-fx", "sleep 720001"]).status.success();
    harness::eventually("it ends", harness::PATIENCE, || (!sleeps()).then_some(()));
    let end = records_of(&root, &person).into_iter().find(|record| record.kind() == "left-ended").unwrap();
    assert_eq!(end.text("ended_by"), "lost");
}

#[test]
fn descendants_are_ended_even_if_the_supervisors_pid_is_reused() {
    let root = crate::own_root();
    root.add_policy("outliving", POLICY);
    let person = root.person(&["daemons"]);
    request(&root, &person, "daemons", &[]);
    let run = "setsid jit-sudo -n sh -c 'setsid sleep 730001 & sleep 1' </dev/null >/dev/null 2>&1 &";
    root.run_as(&person.name, ["sh", "-c", run]).succeeded();
    harness::eventually("its enforcer looks after it", harness::PATIENCE, || {
        root.as_root(["pgrep", "-x", "jit-sudo-enforc"]).status.success().then_some(())
    });
    root.script("sleep 0.3; pkill -STOP -x jit-sudo-enforc");
    harness::eventually("the command has ended", harness::PATIENCE, || {
        records_of(&root, &person).into_iter().find(|record| record.kind() == "end")
    });
    // The enforcer is killed before it can record the descendants that the command has left, and the watchdog before it can end them.
    orphaned(&root);
    let start = records_of(&root, &person).into_iter().find(|record| record.kind() == "start").unwrap();
    let supervisor = start.number("pid");
    root.script(&format!(
        "while kill -0 {supervisor} 2>/dev/null; do sleep 0.05; done
         echo {} >/proc/sys/kernel/ns_last_pid; sleep 730002 & test $! = {supervisor}",
        supervisor - 1
    ));
    let sleeps = |nap: &str| root.as_root(["pgrep", "-fx", nap]).status.success();
    assert!(sleeps("sleep 730001"));
    root.as_root(["jitctl", "sweep"]).succeeded();
    harness::eventually("it ends", harness::PATIENCE, || (!sleeps("sleep 730001")).then_some(()));
    assert!(sleeps("sleep 730002"));
    let alerts = root.journal().into_iter().filter(|record| record.kind() == "alert");
    assert_eq!(alerts.filter(|alert| alert.text("code") == "left-alone").count(), 1);
}

#[test]
fn a_process_with_the_name_of_jit_sudo_is_frozen_and_ended_too() {
    for name in ["jit-sudo", "jit-sudo-broker", "jit-sudo-enforcer"] {
        let holder = Holder::of("lasting");
        // As root, from a directory of root, under the name of a program of jit-sudo; and it ignores signals.
        let (place, file) = (format!("/root/{}", holder.nap), format!("/tmp/{}", holder.nap));
        root().script(&format!("mkdir -p {place} && cp /bin/dash {place}/{name}"));
        let ticker = format!("trap \"\" TERM HUP; while sleep 0.05; do echo >>{file}; done");
        let session = holder.on_terminal(&["sh", "-c", &format!("{place}/{name} -c '{ticker}'; true")]);
        let size = || std::fs::metadata(root().path(&file)).map_or(0, |found| found.len());
        let ticks = || {
            let before = size();
            std::thread::sleep(Duration::from_millis(400));
            size() > before
        };
        harness::eventually("it runs", harness::PATIENCE, || ticks().then_some(()));
        let run = holder.run_id();
        root().as_root(["jitctl", "session", "freeze", &run, "--reason", "x"]).succeeded();
        harness::eventually("it stands still", harness::PATIENCE, || (!ticks()).then_some(()));
        root().as_root(["jitctl", "session", "kill", &run, "--reason", "x"]).succeeded();
        assert_eq!(holder.has_record("end").text("ended_by"), "kill");
        let lives = || root().as_root(["pgrep", "-f", &format!("{place}/{name}")]).status.success();
        harness::eventually("it is gone", harness::PATIENCE, || (!lives()).then_some(()));
        drop(session);
    }
}

#[test]
fn other_code_in_a_program_of_jit_sudo_ends_with_its_grant() {
    let root = crate::own_root();
    root.add_policy("outliving", POLICY);
    // The dynamic linker obeys root: a real program of jit-sudo, with other code in it.
    root.write(
        "/root/stay.c",
        0o644,
        "#include <unistd.h>\n#include <signal.h>\n__attribute__((constructor)) static void stay(void) {\n\
         for (int i = 1; i < 32; i++) signal(i, SIG_IGN);\n for (;;) pause(); }\n",
    );
    root.script("gcc -shared -fPIC -o /root/stay.so /root/stay.c");
    for program in ["/usr/bin/jit-sudo", "/usr/libexec/jit-sudo/jit-sudo-enforcer"] {
        let person = root.person(&["lasting"]);
        let grant = id(&request(&root, &person, "lasting", &[]));
        let line = format!("setsid env LD_PRELOAD=/root/stay.so {program} & sleep 730001");
        let session = root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", &line]);
        let lives = || root.as_root(["sh", "-c", "grep -qs stay.so /proc/[0-9]*/maps"]).status.success();
        harness::eventually("it runs", harness::PATIENCE, || lives().then_some(()));
        std::thread::sleep(Duration::from_millis(300));
        root.as_root(["jitctl", "revoke", &grant, "--reason", "x"]).succeeded();
        harness::eventually("it is gone", harness::PATIENCE, || (!lives()).then_some(()));
        drop(session);
    }
}

#[test]
fn ending_a_session_during_the_start_of_a_run_leaves_no_unsupervised_command() {
    let root = crate::own_root();
    root.add_policy("outliving", POLICY);
    let person = root.person(&["lasting"]);
    request(&root, &person, "lasting", &[]);
    let lines = ["jit-sudo -n sleep NAP", "script -qec \"jit-sudo -n sleep NAP\" /dev/null"];
    let marked = "jit-sudo -n sh -c 'echo >MARK; exec sleep NAP'";
    let moments = (0..16).map(|step| format!("sleep 0.{step:02}"));
    // As soon as the command does anything, before the enforcer has started.
    let at_once = (0..16).map(|_| "until [ -e MARK ]; do :; done".to_owned());
    let scenes = lines.iter().flat_map(|line| moments.clone().map(move |moment| (*line, moment)));
    for (step, (line, moment)) in scenes.chain(at_once.map(|moment| (marked, moment))).enumerate() {
        let nap = (740_000 + step).to_string();
        let script = format!(
            "session=$(awk '$3 == \"cgroup2\" {{ print $2; exit }}' /proc/mounts)/session-{nap}.scope; mkdir $session\n\
             (echo $BASHPID >$session/cgroup.procs; exec setsid setpriv --reuid {0} --regid {0} --init-groups \
             env -i PATH=/usr/bin:/bin {line} </dev/null >/dev/null 2>&1) &\n{moment}; echo 1 >$session/cgroup.kill",
            person.name
        );
        let script = script.replace("NAP", &nap).replace("MARK", &format!("/run/begins-{nap}"));
        let _ = root.run_as("root", ["bash", "-c", &script]);
        // No process runs meanwhile that would close a lost run.
        std::thread::sleep(Duration::from_millis(1200));
        let count = |what: &str| root.script(&format!("pgrep -fxc '{what}' || :")).trim().parse::<usize>().unwrap();
        let (sleeps, watched) = (count(&format!("sleep {nap}")), count(&format!("jit-sudo -n .*sleep {nap}.*")));
        assert!(sleeps == 0 || watched > 0, "{line}, {moment}: nobody looks after the command");
    }
}

/// Makes su move its session to a group as pam_systemd and logind do; su also clears the environment.
fn with_sessions_of_logind(root: &PrivateRoot) {
    root.write(
        "/usr/local/sbin/session",
        0o755,
        "#!/bin/sh\nscope=$(awk '$3 == \"cgroup2\" { print $2; exit }' /proc/mounts)/session-c7.scope\n\
             mkdir -p $scope /run/systemd/sessions\necho $PPID >$scope/cgroup.procs\n\
             printf 'UID=0\\nLEADER=%s\\n' $PPID >/run/systemd/sessions/c7\n",
    );
    let stack = "auth sufficient pam_rootok.so\naccount required pam_permit.so\n";
    root.write("/etc/pam.d/su-l", 0o644, format!("{stack}session required pam_exec.so /usr/local/sbin/session\n"));
}

/// A user whose runs open sessions of su.
struct Opener {
    root: PrivateRoot,
    person: Person,
    grant: String,
}

impl Opener {
    fn new() -> Self {
        let root = crate::own_root();
        root.add_policy("outliving", POLICY);
        with_sessions_of_logind(&root);
        let person = root.person(&["lasting"]);
        let grant = id(&request(&root, &person, "lasting", &[]));
        Self { root, person, grant }
    }

    /// Runs a script to its end, with a terminal of its own or without; processes that it leaves behind sleep `nap` seconds.
    fn run(&self, nap: &str, script: &str, terminal: bool) {
        let place = format!("/usr/local/sbin/scene-{nap}");
        self.root.write(&place, 0o755, format!("#!/bin/sh\n{script}\n"));
        let run = format!("jit-sudo -n {place} </dev/null >/dev/null 2>&1");
        let line = if terminal { format!("script -qec '{run}' /dev/null") } else { run };
        let _ = self.root.run_as(&self.person.name, ["sh", "-c", &line]);
    }

    fn sleepers(&self, nap: &str) -> usize {
        self.root.script(&format!("pgrep -fxc 'sleep {nap}' || :")).trim().parse().unwrap()
    }

    fn ends_at_once(&self, nap: &str) {
        let began = Instant::now();
        harness::eventually("they end", harness::PATIENCE, || (self.sleepers(nap) == 0).then_some(()));
        assert!(began.elapsed() < AT_ONCE, "after {:?}", began.elapsed());
    }
}

#[test]
fn a_session_of_su_in_a_run_ends_with_it_though_the_supervisor_is_killed() {
    let opener = Opener::new();
    for (nap, terminal) in [("750000", false), ("750001", true)] {
        let script = format!("su - bob -c 'setsid -f sleep {nap}; sleep {nap}' &\nsleep 0.5\nkill -9 $PPID\nwait");
        opener.run(nap, &script, terminal);
        opener.ends_at_once(nap);
    }
}

#[test]
fn processes_left_by_a_session_of_su_end_with_the_grant() {
    let opener = Opener::new();
    for (nap, terminal) in [("750010", false), ("750011", true)] {
        opener.run(nap, &format!("su - bob -c 'setsid -f sleep {nap}'"), terminal);
        harness::eventually("it is left running", harness::PATIENCE, || {
            records_of(&opener.root, &opener.person).into_iter().rev().find(|record| record.kind() == "left-running")
        });
        assert_eq!(opener.sleepers(nap), 1);
    }
    opener.root.as_root(["jitctl", "revoke", &opener.grant, "--reason", "enough"]).succeeded();
    opener.ends_at_once("750010");
    opener.ends_at_once("750011");
}

#[test]
fn replacing_the_database_ends_the_runs_of_the_old_one() {
    for replace in [
        // An older one, a copy of today, and one that is written into the same file.
        "mv /tmp/before.db $db; rm -f $db-wal $db-shm",
        "sqlite3 $db '.backup /tmp/today.db'; chmod 600 /tmp/today.db; mv /tmp/today.db $db; rm -f $db-wal $db-shm",
        "cat /tmp/before.db >$db; rm -f $db-wal $db-shm",
        "cp -a /var/lib/jit-sudo /var/lib/aside; mv /var/lib/jit-sudo /var/lib/old; mv /var/lib/aside /var/lib/jit-sudo",
    ] {
        let own = own_root();
        let person = own.person(&["deploy", "self-service"]);
        own.script("sqlite3 /var/lib/jit-sudo/journal.db '.backup /tmp/before.db'; chmod 600 /tmp/before.db");
        id(&request(&own, &person, "self-service", &[]));
        let runs = ["carol", "root"].map(|run_as| {
            let script = "sleep 3601 & setsid sleep 3602 & echo begun; wait";
            let mut session = own.pty_as(&person.name, ["jit-sudo", "-n", "-u", run_as, "sh", "-c", script]);
            session.expect("begun");
            session
        });
        // Left running by a command that has ended.
        own.run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "setsid sleep 3603 >/dev/null 2>&1 </dev/null &"])
            .succeeded();
        let sleeping = || own.script("pgrep -c '^sleep$' || :").trim().parse::<u32>().unwrap();
        assert_eq!(sleeping(), 5, "{replace}");
        own.script(&format!("db=/var/lib/jit-sudo/journal.db; {replace}"));
        for mut session in runs {
            session.expect("the database was replaced: the command is ended");
            session.wait();
        }
        harness::eventually("all of it has ended", harness::PATIENCE, || (sleeping() == 0).then_some(()));
        own.as_root(["jitctl", "key", "accept", "--reason", "put back"]).succeeded();
        own.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
        own.as_root(["jitctl", "audit", "verify"]).intact();
    }
}

/// A command of root stops its supervisor from its first moment on, faster than the supervisor is continued, so that it can neither
/// end the run nor start a process that does.
#[test]
fn a_command_that_stops_its_supervisor_again_and_again_ends() {
    let own = own_root();
    let person = own.person(&["self-service"]);
    request(&own, &person, "self-service", &["--for", "5s"]);
    own.script("cp /usr/bin/perl /usr/local/bin/stopper");
    for pause in ["", "select(undef, undef, undef, 0.00005);"] {
        let stopper = format!("$p = getppid; while (1) {{ kill STOP => $p; {pause} }}");
        let line = format!("setsid -f jit-sudo -n stopper -e '{stopper}' </dev/null >/dev/null 2>&1");
        own.run_as(&person.name, ["sh", "-c", &line]).succeeded();
    }
    harness::eventually("they run", harness::PATIENCE, || {
        (own.script("pgrep -xc stopper || :").trim() == "2").then_some(())
    });
    harness::eventually("both have ended", Duration::from_secs(40), || {
        (own.script("pgrep -xc stopper || :").trim() == "0").then_some(())
    });
    own.as_root(["jitctl", "sweep"]).succeeded();
    assert!(own.as_root(["jitctl", "session", "list"]).succeeded().contains("no sessions"));
}
