//! Process attributes that a set-user-ID program inherits from its caller: they neither slow nor stop jit-sudo, and the command
//! gets them back. The rows are those of sys/src/inherited.rs.

use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot, eventually};

use crate::{kinds, own_root, records_of, request, root};

const SETTER: &str = "/usr/local/share/inherited.py";

fn prepared(root: &PrivateRoot) -> &PrivateRoot {
    root.write(SETTER, 0o644, include_str!("inherited.py"));
    root.write("/usr/local/bin/inherited-show", 0o755, SHOW);
    root
}

/// Prints one line for each attribute of a process.
const SHOW: &str = r#"#!/bin/bash
p=$1
echo "slack $(cat /proc/$p/timerslack_ns)"
echo "scheduling $(chrt -p $p | head -1 | sed 's/.*: //')"
echo "nice $(ps -o ni= -p $p | tr -d ' ')"
echo "cpus $(taskset -p $p | sed 's/.*: //')"
echo "io $(ionice -p $p | cut -d: -f1)"
echo "memory $(sed -n '1s/^[^ ]* \([^ ]*\).*/\1/p' /proc/$p/numa_maps 2>/dev/null)"
echo "persona $(cat /proc/$p/personality)"
echo "umask $(sed -n 's/^Umask:\t//p' /proc/$p/status)"
echo "pages $(sed -n 's/^THP_enabled:\t//p' /proc/$p/status)"
echo "blocked $(sed -n 's/^SigBlk:\t//p' /proc/$p/status)"
echo "ignored $(sed -n 's/^SigIgn:\t//p' /proc/$p/status)"
echo "score $(cat /proc/$p/oom_score_adj)"
"#;

/// Returns the attributes of the supervisor and of the command where the caller has set this; `None` where it cannot be set here.
fn seen(person: &Person, attribute: &str, line: &str) -> Option<(String, String)> {
    let script = "inherited-show $PPID; echo; inherited-show $$";
    let words = ["python3", SETTER, attribute, "jit-sudo", "-n", "bash", "-c", script];
    let output = prepared(root()).run_as(&person.name, words);
    if output.stderr.contains("cannot be set here") {
        return None;
    }
    let text = output.succeeded();
    let (ours, commands) = text.split_once("\n\n").unwrap_or_else(|| panic!("{output:?}"));
    let value = |text: &str| {
        let found = text.lines().find_map(|shown| shown.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in {text}")).to_owned()
    };
    Some((value(ours), value(commands)))
}

/// Whether the kernel has this attribute, by another system call than the one that sets it.
fn is_known(person: &Person, attribute: &str) -> bool {
    root().run_as(&person.name, ["python3", SETTER, "knows", attribute]).succeeded() == "yes"
}

#[test]
fn inherited_attributes_are_reset_and_restored_for_the_command() {
    let person = root().person(&["deploy"]);
    let usual = |line: &str| seen(&person, "nothing", line).unwrap();
    // (what is set, what is examined, the value in the command; `None` is the default value)
    let rows: [(&str, &str, Option<&str>); 9] = [
        ("slack", "slack", None),
        ("thp", "pages", None),
        ("nice", "nice", Some("19")),
        ("idle", "scheduling", Some("SCHED_IDLE")),
        ("batch", "scheduling", Some("SCHED_BATCH|SCHED_RESET_ON_FORK")),
        ("io", "io", Some("idle")),
        ("memory", "memory", Some("bind:0")),
        ("persona", "persona", Some("00020000")),
        ("score", "score", Some("900")),
    ];
    for (attribute, line, commands) in rows {
        let (ours, without) = usual(line);
        let Some(found) = seen(&person, attribute, line) else {
            // A kernel without CONFIG_NUMA has no memory policy, one without CONFIG_BLOCK no I/O class.
            let may_lack = matches!(attribute, "memory" | "io") && !is_known(&person, attribute);
            assert!(may_lack, "{attribute} cannot be set here");
            continue;
        };
        assert_eq!(found, (ours, commands.map_or(without, str::to_owned)), "{attribute}");
    }
    let (ours, _) = usual("cpus");
    let (supervisor, command) = seen(&person, "cpu", "cpus").unwrap();
    assert_eq!(supervisor, ours);
    assert_eq!(u64::from_str_radix(&command, 16).unwrap().count_ones(), 1, "{command}");
    let (supervisor, command) = seen(&person, "blocked", "blocked").unwrap();
    assert_eq!(supervisor, usual("blocked").0);
    // Bash unblocks SIGCHLD by itself, and blocks others while it starts a program.
    let command = u64::from_str_radix(&command, 16).unwrap();
    assert_eq!(command & (1 << 9 | 1 << 19), 1 << 9 | 1 << 19, "{command:x}");
    let (supervisor, command) = seen(&person, "ignored", "ignored").unwrap();
    assert_eq!(supervisor, usual("ignored").0);
    let command = u64::from_str_radix(&command, 16).unwrap();
    assert_ne!(command & 1 << 14, 0, "{command:x}");
    for attribute in ["umask", "subreaper"] {
        let words = ["python3", SETTER, attribute, "jit-sudo", "-n", "sh", "-c", "exit 7"];
        root().run_as(&person.name, words).exited(7);
    }
}

/// What only a process itself can read: the command has the default of whatever is reset.
#[test]
fn attributes_of_the_process_itself_do_not_reach_the_command() {
    let person = prepared(root()).person(&["deploy"]);
    let shown = |attribute: &str| {
        let words = ["python3", SETTER, attribute, "jit-sudo", "-n", "python3", SETTER, "show"];
        let output = root().run_as(&person.name, words);
        (!output.stderr.contains("cannot be set here")).then(|| output.succeeded().to_owned())
    };
    let usual = shown("nothing").unwrap();
    assert_eq!(shown("keepcaps").as_deref(), Some(usual.as_str()), "every kernel has it");
    // These are missing where the kernel answers a question about them with an error, for these reasons only.
    for (attribute, why) in [
        ("mce", "CONFIG_MEMORY_FAILURE"),
        ("merge", "Linux 6.4 and CONFIG_KSM"),
        ("core", "CONFIG_SCHED_CORE and simultaneous multithreading"),
        ("mdwe", "Linux 6.3"),
        ("speculation", "a processor with this control"),
        ("keyring", "CONFIG_KEYS, and a container that permits keyctl(2)"),
    ] {
        let known = is_known(&person, attribute);
        match shown(attribute) {
            Some(found) => assert_eq!(found, usual, "{attribute}"),
            None => assert!(!known, "{attribute} is known here and cannot be set; it needs {why}"),
        }
    }
}

/// A filter of core(5) is no secret and no right: the command has the caller's, and leaves no core of the supervisor.
#[test]
fn the_core_dump_filter_is_that_of_the_caller() {
    let person = prepared(root()).person(&["deploy"]);
    let words = ["python3", SETTER, "filter", "jit-sudo", "-n", "cat", "/proc/self/coredump_filter"];
    assert_eq!(root().run_as(&person.name, words).succeeded(), "0000007f");
}

#[test]
fn where_the_set_user_id_bit_gives_no_root_nothing_runs() {
    let person = root().person(&["deploy"]);
    let ids = [format!("--reuid={}", person.uid), format!("--regid={}", person.gid)];
    let inside = |before: &[&str]| root().as_root([before, &["jit-sudo", "-n", "id", "-u"]].concat());
    let drop = ["setpriv", &ids[0], &ids[1], "--init-groups"];
    assert_eq!(inside(&drop).succeeded(), "0");
    for (what, words) in [
        (
            "securebits",
            [&["setpriv", "--securebits=+noroot,+noroot_locked", &ids[0], &ids[1], "--init-groups"][..], &[]].concat(),
        ),
        ("bounding set", ["setpriv", "--bounding-set=-all", &ids[0], &ids[1], "--init-groups"].to_vec()),
        ("user namespace", [&drop[..], &["unshare", "-Ur"]].concat()),
        ("user namespace of oneself", [&drop[..], &["unshare", "-Uc"]].concat()),
    ] {
        let output = inside(&words);
        assert!(!output.status.success() && output.stdout.is_empty(), "{what}: {output:?}");
        assert!(output.stderr.starts_with("jit-sudo: "), "{what}: {output:?}");
    }
}

#[test]
fn the_death_of_its_parent_does_not_end_a_supervisor() {
    let person = prepared(root()).person(&["deploy"]);
    let out = format!("/tmp/survived.{}", person.name);
    let line = format!("python3 {SETTER} deathsig jit-sudo -n sh -c 'sleep 0.5; echo yes >{out}' & sleep 0.2");
    root().run_as(&person.name, ["setsid", "sh", "-c", &line]).succeeded();
    eventually("the command ends", Duration::from_secs(5), || root().path(&out).exists().then_some(()));
    let end = eventually("its end is recorded", harness::PATIENCE, || {
        records_of(root(), &person).into_iter().find(|record| record.kind() == "end")
    });
    assert_eq!(end.text("ended_by"), "itself");
}

#[test]
fn the_caller_cannot_slow_down_the_broker() {
    let person = prepared(root()).person(&["reviewed"]);
    let waiting = format!("jitctl request --role reviewed --reason {} --wait", person.name);
    let setters = ["python3", SETTER, "idle", "python3", SETTER, "slack"];
    let words: Vec<&str> = setters.into_iter().chain(waiting.split(' ')).collect();
    let session = root().pty_as(&person.name, words);
    let shown = eventually("the broker waits", Duration::from_secs(5), || {
        let script = format!("inherited-show $(pgrep -P $(pgrep -o -x -f '{waiting}') jit-sudo-broker)");
        let output = root().as_root(["bash", "-c", &script]);
        output.stdout.contains("slack 50000").then_some(output.stdout)
    });
    assert!(shown.contains("scheduling SCHED_OTHER\n"), "{shown}");
    drop(session);
}

#[test]
fn a_timer_slack_of_a_century_does_not_outlast_a_grant() {
    let person = prepared(root()).person(&["self-service"]);
    request(root(), &person, "self-service", &["--for", "2s"]);
    let begun = Instant::now();
    let words = ["python3", SETTER, "slack", "jit-sudo", "-n", "tail", "-f", "/etc/hostname"];
    let output = root().run_as(&person.name, words);
    assert!(!output.status.success() && begun.elapsed() < Duration::from_secs(8), "{:?} {output:?}", begun.elapsed());
}

/// Returns pid and state letter of the process with this command line.
fn state(root: &PrivateRoot, words: &str) -> Option<(String, String)> {
    let found = root.as_root(["pgrep", "-o", "-x", "-f", words]).stdout;
    let pid = found.trim().to_owned();
    let line = root.as_root(["sh", "-c", &format!("sed -n 's/^State:.//p' /proc/{pid}/status")]).stdout;
    (!pid.is_empty() && !line.is_empty()).then_some((pid, line))
}

#[test]
fn jit_sudo_cannot_be_stopped_from_its_start_on() {
    let person = root().person(&["trusted"]);
    let words = format!("jit-sudo -S -k -p {} true", person.name);
    let script = format!("sleep 6 | {words} 2>/dev/null; echo $?");
    let mut session = root().pty_as(&person.name, ["bash", "-c", &script]);
    let (pid, _) = eventually("it asks for the password", Duration::from_secs(5), || state(root(), &words));
    for signal in ["TSTP", "TTIN", "TTOU"] {
        root().as_root(["kill", &format!("-{signal}"), &pid]).succeeded();
        std::thread::sleep(Duration::from_millis(100));
        let (_, now) = state(root(), &words).unwrap();
        assert!(!now.starts_with('T'), "stopped by SIG{signal}: {now}");
    }
    let output = root().run_as(&person.name, ["kill", "-STOP", &pid]);
    assert!(output.stderr.contains("not permitted"), "{output:?}");
    session.wait();
}

#[test]
fn a_limit_that_is_too_low_is_reported_before_the_run_starts() {
    let person = root().person(&["deploy"]);
    for (limit, says) in [
        ("-f 300", "hard limit of file size is 307200"),
        ("-f 10", "hard limit of file size is 10240"),
        ("-n 12", "hard limit of open files is 12"),
        ("-t 100", "hard limit of CPU time is 100"),
        ("-v 900000", "hard limit of address space is 921600000"),
    ] {
        let ids = [format!("--reuid={}", person.uid), format!("--regid={}", person.gid)];
        let script = format!("ulimit {limit}; exec jit-sudo -n id -u");
        let words =
            ["setpriv", "--bounding-set=-sys_resource", &ids[0], &ids[1], "--init-groups", "bash", "-c", &script];
        root().as_root(words).refused(says);
        // A soft limit that can be raised is raised, and restored for the command.
        let script = format!("ulimit -S {limit}; exec jit-sudo -n id -u");
        let soft = root().as_root([&words[..7], &[&script]].concat());
        assert_eq!(soft.succeeded(), "0", "{limit}");
    }
    assert_eq!(kinds(&records_of(root(), &person)), ["start", "end"].repeat(5));
    let doctor = root().as_root(["setpriv", "--bounding-set=-sys_resource,-sys_nice", "jitctl", "doctor"]).stdout;
    assert!(doctor.contains("CAP_SYS_RESOURCE") && doctor.contains("CAP_SYS_NICE"), "{doctor}");
}

#[test]
fn an_askpass_helper_and_an_editor_run_in_the_callers_control_group_with_the_callers_limits() {
    let person = root().person(&["trusted"]);
    let Person { name, home, password, .. } = &person;
    let group = format!("/sys/fs/cgroup/of-{name}");
    root().script(&format!("mkdir {group}; chown -R {name} {group}"));
    let report = "{ ulimit -n; id -G; grep ^0:: /proc/self/cgroup; nice; } >";
    root().write(&format!("{home}/askpass"), 0o755, format!("#!/bin/bash\n{report}{home}/asked\necho {password}\n"));
    root().write(&format!("{home}/editor"), 0o755, format!("#!/bin/bash\n{report}{home}/edited\n"));
    root().script(&format!("echo x >/etc/inherited-{name}; chown {name} {home}/askpass {home}/editor"));
    let ids = [format!("--reuid={}", person.uid), format!("--regid={}", person.gid)];
    let run = |command: &str| {
        let script = format!(
            "echo 0 >{group}/cgroup.procs; exec setpriv {} {} --init-groups bash -c 'ulimit -S -n 77; cd {home}; export SUDO_ASKPASS={home}/askpass EDITOR={home}/editor; exec nice -n 3 jit-sudo {command}'",
            ids[0], ids[1]
        );
        root().as_root(["bash", "-c", &script])
    };
    run("-A -k true").succeeded();
    assert!(run(&format!("-A -k -e /etc/inherited-{name}")).status.success());
    let groups = root().run_as(name, ["id", "-G"]).succeeded().to_owned();
    for file in ["asked", "edited"] {
        let said = root().read(&format!("{home}/{file}"));
        assert_eq!(said, format!("77\n{groups}\n0::/of-{name}\n3\n"), "{file}");
    }
}

#[test]
fn a_name_with_a_newline_forges_no_line_in_the_log() {
    let person = root().person(&["trusted"]);
    let script = "exec -a $'x\\n<82>forged-line root: session opened' jit-sudo -S -k true";
    let output = root().command(&person.name, ["bash", "-c", script]).stdin("wrong\n").run();
    assert!(!output.status.success());
    let ours = |line: &String| line.contains("pam_unix(jit-sudo:auth)") && line.contains(&person.name);
    let lines = eventually("the refusal is logged", Duration::from_secs(5), || {
        let lines: Vec<String> = root().auth_log().into_iter().filter(ours).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert!(lines.iter().all(|line| line.contains(" jit-sudo: pam_unix(")), "{lines:?}");
    assert!(!root().auth_log().iter().any(|line| line.contains("forged-line")));
}

#[test]
fn a_log_socket_that_accepts_no_connection_does_not_delay_a_run() {
    let root = own_root();
    let [person, asked] = ["deploy", "trusted"].map(|group| root.person(&[group]));
    root.write(
        "/usr/local/lib/deaf.py",
        0o644,
        "import os, socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind('/dev/log')\n\
         os.chmod('/dev/log', 0o666)\ns.listen(0)\nk = []\nfor n in range(9):\n    c = socket.socket(socket.AF_UNIX)\n    \
         c.setblocking(False)\n    k.append(c)\n    try: c.connect('/dev/log')\n    except BlockingIOError: break\n\
         open('/run/deaf', 'w')\ntime.sleep(90)\n",
    );
    root.script("kill -KILL $(cat /run/rsyslogd.pid); rm -f /dev/log");
    root.script("setsid -f python3 /usr/local/lib/deaf.py </dev/null >/dev/null 2>&1");
    root.script("while [ ! -e /run/deaf ]; do sleep 0.1; done");
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    let output = root.command(&asked.name, ["jit-sudo", "-S", "-k", "id", "-u"]).stdin("wrong\n").run();
    assert!(!output.status.success());
}

#[test]
fn a_hidden_shell_is_reported_like_a_missing_one() {
    let person = root().person(&["reviewed"]);
    root().script("install -d -m 700 /root/shells; install -m 755 /bin/sh /root/shells/sh; touch /root/shells/data");
    let answer = |shell: &str| {
        let output = root().command(&person.name, ["jit-sudo", "-n", "-s"]).env("SHELL", shell).run();
        (output.status.code(), output.stdout.clone(), output.stderr.replace(shell, "SHELL"))
    };
    let there = answer("/root/shells/sh");
    for shell in ["/root/shells/nothing", "/root/shells/data", "/root/shells/.", "/root/shells/sh/x"] {
        assert_eq!(answer(shell), there, "{shell}");
    }
}
