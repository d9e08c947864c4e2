//! The caller's process state does not affect the privileged process, and reaches the command.

use crate::{kinds, own_root, records_of, root};

/// Runs a shell script as a user who may run anything without a password.
fn hostile(script: &str) -> harness::Output {
    let person = root().person(&["deploy"]);
    root().run_as(&person.name, ["bash", "-c", script])
}

#[test]
fn every_combination_of_closed_standard_streams_is_handled() {
    let person = root().person(&["deploy"]);
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"] {
        // The command has file descriptors 0 to 2 open, and none of them is a file of jit-sudo.
        let script = format!(
            "jit-sudo -n sh -c 'readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 > \"$1\"' sh /tmp/$USER.out {closed}; \
             echo $?; cat /tmp/$USER.out; jit-sudo -n rm /tmp/$USER.out"
        );
        let output = root().run_as(&person.name, ["bash", "-c", &script]);
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert_eq!((lines.first(), lines.len()), (Some(&"0"), 4), "{closed}: {output:?}");
        assert!(!output.stdout.contains("jit-sudo"), "{closed}: {output:?}");
    }
}

#[test]
fn descriptors_of_the_caller_above_2_do_not_reach_the_command() {
    let output = hostile("exec 7</etc/passwd 9>/dev/null; jit-sudo -n ls -l /proc/self/fd");
    let open = output.succeeded().lines().filter(|line| line.contains("->")).count();
    // 0, 1, 2 and the directory that ls itself reads.
    assert_eq!(open, 4, "{output:?}");
}

#[test]
fn a_tiny_file_size_limit_does_not_stop_the_audit() {
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["bash", "-c", "ulimit -S -f 0; jit-sudo -n id -u"]);
    assert_eq!(output.succeeded(), "0");
    assert_eq!(kinds(&records_of(root(), &person)), ["start", "end"]);
}

#[test]
fn the_callers_limits_are_given_to_the_command() {
    let output = hostile("ulimit -n 77; ulimit -S -f 4242; jit-sudo -n bash -c 'ulimit -n; ulimit -f'");
    assert_eq!(output.succeeded(), "77\n4242");
}

#[test]
fn ignored_signals_reach_the_command_and_do_not_lose_its_status() {
    // An ignored SIGCHLD would lose the exit status (wait4 fails with ECHILD).
    let ignoring = "perl -e '$SIG{CHLD}=\"IGNORE\"; $SIG{USR1}=\"IGNORE\"; exec @ARGV' jit-sudo -n ";
    assert_eq!(hostile(&format!("{ignoring} sh -c 'exit 23'")).status.code(), Some(23));
    let output = hostile(&format!("{ignoring} grep SigIgn /proc/self/status"));
    let mask = output.succeeded().split_whitespace().last().map(|hex| u64::from_str_radix(hex, 16).unwrap()).unwrap();
    assert_ne!(mask & (1 << (libc_signal::USR1 - 1)), 0, "USR1 is no longer ignored: {output:?}");
}

#[test]
fn blocked_signals_do_not_keep_the_supervisor_from_its_work() {
    let output = hostile(
        "perl -MPOSIX -e 'sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGCHLD, SIGTERM, SIGALRM)); exec @ARGV' jit-sudo -n sh -c 'exit 5'",
    );
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn a_timer_of_the_caller_does_not_kill_the_run() {
    let output = hostile("perl -e 'alarm 1; exec @ARGV' jit-sudo -n sh -c 'sleep 1.5; echo done'");
    assert_eq!(output.succeeded(), "done");
}

#[test]
fn the_umask_of_the_caller_affects_the_command_but_not_the_state() {
    // As with sudo: the caller's umask, but at least 022.
    assert_eq!(hostile("umask 000; jit-sudo -n sh -c umask").succeeded(), "0022");
    assert_eq!(hostile("umask 077; jit-sudo -n sh -c umask").succeeded(), "0077");
    let modes = root().script("find /var/lib/jit-sudo -type f ! -name '*.pub' -perm /077");
    assert_eq!(modes, "", "files of ours that others can read");
}

#[test]
fn the_caller_cannot_read_or_trace_the_privileged_process() {
    let person = root().person(&["deploy"]);
    let mut session = root().pty_as(&person.name, ["bash", "--norc"]);
    session.type_line(
        "PS1='> '; jit-sudo -n sleep 5 & sleep 0.5; cat /proc/$!/environ; ls -l /proc/$!/exe; kill -9 $!; echo ready",
    );
    let shown = session.expect("\nready");
    assert!(shown.contains("Permission denied") && shown.contains("Operation not permitted"), "{shown}");
}

#[test]
fn an_environment_of_a_hundred_thousand_entries_is_handled() {
    let output = hostile("for i in $(seq 20000); do export V$i=x; done; jit-sudo -n env | grep -c '^V'");
    assert_eq!(output.stdout.trim(), "0", "{output:?}");
    assert_eq!(output.stderr, "");
}

#[test]
fn variables_that_steer_libraries_have_no_effect() {
    let person = root().person(&["deploy"]);
    let trap = format!("/tmp/{}-trap", person.name);
    let mut run = root().command(&person.name, ["jit-sudo", "-n", "env"]);
    for name in [
        "SQLITE_TMPDIR",
        "TMPDIR",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GCONV_PATH",
        "HOSTALIASES",
        "LOCALDOMAIN",
    ] {
        run = run.env(name, &trap);
    }
    let output = run.env("TZ", format!(":{trap}")).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace").run();
    assert!(!output.succeeded().contains(&trap), "{output:?}");
    assert!(!output.stdout.contains("RUST_"), "{output:?}");
}

#[test]
fn a_program_without_the_setuid_bit_says_so() {
    let root = own_root();
    root.script("install -m 755 /usr/bin/jit-sudo /usr/local/bin/plain-jit-sudo");
    let output = root.run_as("alice", ["/usr/local/bin/plain-jit-sudo", "-n", "id"]);
    let sentence = output.refused("setuid");
    assert!(sentence.contains("/usr/local/bin/plain-jit-sudo"), "the program is not named: {sentence}");
}

#[test]
fn a_file_system_without_setuid_is_named_as_the_cause() {
    let root = own_root();
    root.script("mkdir /run/nosuid && mount -t tmpfs -o nosuid tmpfs /run/nosuid && install -m 4755 /usr/bin/jit-sudo /run/nosuid/");
    root.run_as("alice", ["/run/nosuid/jit-sudo", "-n", "id"]).refused("nosuid");
}

#[test]
fn an_empty_argument_vector_is_a_usage_error() {
    // CVE-2021-4034. perl can call execve without any argument.
    let script = "my $n = pack('Q', 0); my $p = '/usr/bin/jit-sudo'; syscall(59, $p, $n, $n); die $!";
    let person = root().person(&["deploy"]);
    let output = root().run_as(&person.name, ["perl", "-e", script]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

mod libc_signal {
    pub(super) const USR1: u32 = 10;
}
