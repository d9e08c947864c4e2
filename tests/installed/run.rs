//! Without a terminal: environment, exit status, signals, and the end by expiry and revocation.

use std::time::{Duration, Instant};

use harness::{Person, PrivateRoot};

use crate::{id, records_of, request, root};

#[test]
fn jit_sudo_exits_with_the_status_of_the_command() {
    let person = root().person(&["deploy"]);
    for status in [0, 1, 2, 23, 126, 127, 255] {
        let output = root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", &format!("exit {status}")]);
        assert_eq!(output.status.code(), Some(status));
    }
}

#[test]
fn jit_sudo_ends_by_the_signal_that_killed_the_command() {
    let person = root().person(&["deploy"]);
    for signal in [1, 2, 3, 6, 9, 11, 13, 15] {
        let output = root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(output.status.signal(), Some(signal), "{output:?}");
    }
}

#[test]
fn standard_streams_pass_through_untouched() {
    let person = root().person(&["deploy"]);
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let output = root().command(&person.name, ["jit-sudo", "-n", "cat"]).stdin(&bytes).run();
    assert!(output.raw_stdout == bytes, "{} of {} bytes", output.raw_stdout.len(), bytes.len());
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn a_closed_pipe_ends_the_command_as_without_jit_sudo() {
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["bash", "-c", "jit-sudo -n yes | head -1; echo ${PIPESTATUS[0]}"]);
    assert_eq!(output.succeeded(), "y\n141");
}

#[test]
fn the_environment_is_sudos() {
    let person = root().person(&["deploy"]);
    let mut run = root().command(&person.name, ["jit-sudo", "-n", "env"]);
    for (name, value) in
        [("EVIL", "1"), ("BASH_FUNC_x%%", "() { :; }"), ("PERL5LIB", "/tmp"), ("IFS", "x"), ("LC_ALL", "C.UTF-8")]
    {
        run = run.env(name, value);
    }
    let output = run.env("LANG", "() { :; }").run();
    let has = |entry: &str| output.stdout.lines().any(|line| line == entry);
    for entry in [
        "HOME=/root",
        "LOGNAME=root",
        "USER=root",
        "SHELL=/bin/bash",
        "TERM=xterm",
        "LC_ALL=C.UTF-8",
        "SUDO_COMMAND=/usr/bin/env",
        "MAIL=/var/mail/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        &format!("SUDO_USER={}", person.name),
        &format!("SUDO_UID={}", person.uid),
        &format!("SUDO_GID={}", person.gid),
    ] {
        assert!(has(entry), "{entry} is missing: {output:?}");
    }
    for name in ["EVIL=", "BASH_FUNC", "PERL5LIB=", "IFS=", "LANG=()"] {
        assert!(!output.stdout.contains(name), "{name} came through: {output:?}");
    }
    assert!(output.stdout.contains("JIT_SUDO_RUN="), "{output:?}");
}

#[test]
fn the_environment_is_the_same_as_debians_sudo_makes() {
    let person = root().person(&["deploy"]);
    let names = |program: &str| {
        let output = root().run_as(&person.name, [program, "-n", "env"]);
        let mut entries: Vec<String> = output.succeeded().lines().map(str::to_owned).collect();
        entries.retain(|entry| !entry.starts_with("JIT_SUDO_") && !entry.starts_with("SUDO_HOME="));
        entries.sort();
        entries
    };
    assert_eq!(names("jit-sudo"), names("sudo"));
}

#[test]
fn variables_are_kept_and_set_only_where_the_policy_allows() {
    let keeper = root().person(&["keeper"]);
    let output = root().command(&keeper.name, ["jit-sudo", "-n", "env"]).env("KEEP_ME", "kept").env("OTHER", "x").run();
    assert!(output.succeeded().contains("KEEP_ME=kept") && !output.stdout.contains("OTHER="), "{output:?}");
    assert!(root().run_as(&keeper.name, ["jit-sudo", "-n", "A=b", "env"]).succeeded().contains("A=b"));

    // A user who may run everything could do it with env(1) anyway: ALL implies setenv, as with sudo.
    let anything = root().person(&["deploy"]);
    assert!(root().run_as(&anything.name, ["jit-sudo", "-n", "A=b", "env"]).succeeded().contains("A=b"));

    let person = root().person(&["rules"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "LD_PRELOAD=/tmp/x.so", "env"]).refused("LD_PRELOAD");
    root().run_as(&person.name, ["jit-sudo", "-n", "-E", "env"]).refused("environment");
    root()
        .command(&person.name, ["jit-sudo", "-n", "--preserve-env=OTHER", "env"])
        .env("OTHER", "x")
        .run()
        .refused("OTHER");
}

#[test]
fn a_signal_from_root_reaches_the_command_and_one_from_the_caller_does_not() {
    let person = root().person(&["deploy"]);
    let file = format!("/tmp/{}-up", person.name);
    let script = format!(
        "set -m; jit-sudo -n sh -c 'trap \"echo got term; exit 9\" TERM; echo up > {file}; while :; do sleep 0.05; done' & \
         while [ ! -s {file} ]; do sleep 0.05; done; kill -TERM $! && echo bad; jit-sudo -n kill -TERM $!; wait $!; echo status $?"
    );
    let output = root().run_as(&person.name, ["bash", "-c", &script]);
    assert_eq!(output.stdout, "got term\nstatus 9\n", "{output:?}");
}

#[test]
fn login_shells_and_shells_are_what_they_are_with_sudo() {
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "-i", "echo", "$0 a", ";", "pwd"]);
    // sudo quotes everything for the shell except the dollar sign.
    assert_eq!(output.succeeded(), "-bash a ; pwd");
    let output = root().command(&person.name, ["jit-sudo", "-n", "-i"]).stdin("echo $0; pwd\n").run();
    assert_eq!(output.succeeded(), "-bash\n/root");
    let output = root().command(&person.name, ["jit-sudo", "-n", "-s"]).stdin("echo $0; pwd\n").run();
    assert_eq!(output.succeeded(), format!("/bin/bash\n{}", person.home));
}

/// A command that leaves two unusual descendants: one in a session of its own, and one forked twice.
const HYDRA: &str = "setsid sh -c 'echo $$ >> \"$1\"; exec sleep 1000' sh \"$1\" & \
                     (setsid sh -c '(echo $$ >> \"$1\"; trap \"\" TERM HUP; while :; do sleep 0.2; done) &' sh \"$1\" &) ; \
                     echo $$ >> \"$1\"; exec sleep 1000";

/// Waits for a run's end after `cause` and checks that none of its processes is left, and how the record says it ended.
fn ends_within(root: &PrivateRoot, person: &Person, limit: Duration, ended_by: &str, cause: impl FnOnce(&str)) {
    let ledger = format!("/tmp/{}-hydra", person.name);
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", HYDRA, "sh", &ledger]);
    let start = harness::eventually("the run has begun", harness::PATIENCE, || {
        let started = std::fs::read_to_string(root.path(&ledger)).is_ok_and(|text| text.lines().count() >= 3);
        let records = records_of(root, person);
        started.then(|| records.into_iter().find(|record| record.kind() == "start"))?
    });
    cause(start.text("grant"));
    let began = Instant::now();
    session.wait();
    assert!(began.elapsed() <= limit, "it took {:?}:\n{}", began.elapsed(), session.screen());
    let left =
        root.script(&format!("for pid in $(cat {ledger}); do kill -0 $pid 2>/dev/null && echo $pid; done; true"));
    assert_eq!(left, "", "descendants are left after the end of the grant");
    let records = records_of(root, person);
    let end = records.iter().find(|record| record.kind() == "end").unwrap_or_else(|| panic!("no end record"));
    assert_eq!(end.text("ended_by"), ended_by, "{}", end.body);
}

#[test]
fn expiry_ends_a_running_command_with_every_descendant() {
    let person = root().person(&["self-service"]);
    let grant = request(root(), &person, "self-service", &["--for", "3s"]);
    assert_eq!(grant["grant"], "active");
    ends_within(root(), &person, Duration::from_millis(4300), "expiry", |_| {});
}

#[test]
fn revocation_ends_a_running_command_within_a_second() {
    let person = root().person(&["self-service"]);
    request(root(), &person, "self-service", &[]);
    ends_within(root(), &person, Duration::from_millis(1000), "revocation", |grant| {
        root().as_root(["jitctl", "revoke", grant, "--reason", "stop it"]).succeeded();
    });
}

#[test]
fn a_released_grant_ends_its_command() {
    let person = root().person(&["self-service"]);
    let grant = id(&request(root(), &person, "self-service", &[]));
    ends_within(root(), &person, Duration::from_millis(1000), "release", |_| {
        root().run_as(&person.name, ["jitctl", "release", &grant]).succeeded();
    });
}

#[test]
fn with_dash_b_the_shell_continues_when_the_command_starts() {
    let person = root().person(&["deploy"]);
    let began = Instant::now();
    // A reader of the command's output would wait for its end.
    let line = "jit-sudo -n -b sh -c 'sleep 1; echo done >/root/in-the-background' >/dev/null 2>&1";
    root().run_as(&person.name, ["bash", "-c", line]).exited(0);
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    harness::eventually("the end record", Duration::from_secs(5), || {
        records_of(root(), &person).into_iter().find(|record| record.kind() == "end")
    });
    assert_eq!(root().read("/root/in-the-background"), "done\n");
    root().run_as(&person.name, ["jit-sudo", "-n", "-b", "no-such-command"]).refused("command not found");
}

#[test]
fn an_interrupt_after_the_command_does_not_keep_the_end_from_being_recorded() {
    const TRIES: usize = 30;
    let root = crate::own_root();
    root.add_policy("direct", "[roles.direct]\nstanding = [\"%direct\"]\ncommands = [\"ALL\"]\nuse_pty = false\nrecord = \"none\"\nauthenticate = false\n");
    root.write("/root/keys.py", 0o644, include_str!("keys.py"));
    root.script("install -m 644 /root/keys.py /usr/local/share/keys.py");
    for role in ["deploy", "direct"] {
        let person = root.person(&[role]);
        let command = "trap '' INT; echo; sleep 0.1; exit 7";
        let tries = TRIES.to_string();
        let words = ["python3", "/usr/local/share/keys.py", &tries, "-n", "sh", "-c", command];
        assert_eq!(root.run_as(&person.name, words).succeeded().trim(), format!("7:{TRIES}"), "{role}");
        root.as_root(["jitctl", "sweep"]).succeeded();
        let ends: Vec<_> = records_of(&root, &person).into_iter().filter(|record| record.kind() == "end").collect();
        assert_eq!(ends.len(), TRIES, "{role}");
        assert!(ends.iter().all(|end| end.number("exit") == 7), "{role}: {ends:?}");
    }
}
