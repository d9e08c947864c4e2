//! Runs on a terminal, as users expect them.

use std::time::Duration;

use harness::PtySession;

use crate::root;

/// Runs the test in a shell where `elevate` is sudo and in one where it is jit-sudo: the habits of sudo users must work, and a
/// test that sudo fails expects too much. A failure shows the screen with the alias.
fn at_both(test: impl Fn(&mut PtySession)) {
    for program in ["sudo", "jit-sudo"] {
        test(&mut shell(program));
    }
}

/// Starts an interactive shell of a user who may run anything.
fn shell(program: &str) -> PtySession {
    let person = root().person(&["deploy"]);
    let mut session = root().pty_as(&person.name, ["bash", "--norc", "--noprofile"]);
    // Wide enough that no line of these tests is wrapped.
    session.resize(24, 250);
    session.type_line(&format!("alias elevate='{program} -n'; PS1='>'\"> \"; bind 'set enable-bracketed-paste off'"));
    session.expect(">> ");
    session
}

#[test]
fn the_command_has_a_terminal_of_its_own() {
    at_both(|session| {
        let outer = session.name().to_owned();
        session.type_line("elevate sh -c 'echo inner $(tty); ps -o tty= -p $$'; echo ok");
        let shown = session.expect("\nok");
        let inner = shown.lines().find_map(|line| line.strip_prefix("inner ")).unwrap_or_default().trim().to_owned();
        assert!(inner.starts_with("/dev/pts/") && inner != outer, "inner '{inner}', outer '{outer}':\n{shown}");
    });
}

#[test]
fn the_window_size_arrives_and_follows() {
    at_both(|session| {
        session.resize(33, 111);
        session.type_line(
            "elevate sh -c 'stty size; trap \"stty size; exit\" WINCH; echo ready; while :; do sleep 0.1; done'",
        );
        session.expect("33 111");
        session.expect("ready");
        session.resize(44, 122);
        session.expect("44 122");
    });
}

#[test]
fn control_c_interrupts_the_command_and_not_jit_sudo() {
    at_both(|session| {
        session.type_line("elevate sh -c 'echo up; exec sleep 100'");
        session.expect("\r\nup");
        session.type_text("\x03");
        session.expect(">> ");
        session.type_line("echo status $?");
        session.expect("\nstatus 130");
        session.type_line(
            "elevate sh -c 'trap \"echo caught; exit 7\" INT; echo up; while :; do sleep 0.1; done'; echo status $?",
        );
        session.expect("\r\nup");
        session.type_text("\x03");
        session.expect("caught");
        session.expect("status 7");
    });
}

#[test]
fn control_z_suspends_and_fg_continues() {
    at_both(|session| {
        session.type_line("elevate sh -c 'echo up; read line; echo \"got $line\"'; echo status $?");
        session.expect("\r\nup");
        std::thread::sleep(Duration::from_millis(200));
        session.type_text("\x1a");
        session.expect("Stopped");
        session.expect(">> ");
        session.type_line("fg");
        session.type_line("hello");
        session.expect("got hello");
    });
}

#[test]
fn a_command_in_the_background_runs_and_can_be_waited_for() {
    at_both(|session| {
        session.type_line("elevate sh -c 'sleep 0.3; exit 3' & wait $!; echo status $?");
        session.expect("status 3");
    });
}

#[test]
fn raw_mode_of_the_command_is_undone_at_its_end() {
    at_both(|session| {
        session.type_line("before=$(stty -g); elevate sh -c 'stty raw -echo; exit 4'; status=$?; [ \"$(stty -g)\" = \"$before\" ] && echo same $status");
        session.expect("\r\nsame 4");
    });
}

#[test]
fn raw_mode_passes_every_key() {
    at_both(|session| {
        session.type_line("elevate sh -c 'stty raw -echo; echo ready; dd bs=1 count=4 2>/dev/null | od -An -tx1'");
        session.expect("\nready");
        session.type_text("\x03\x1a\x1c\x7f");
        session.expect("03 1a 1c 7f");
    });
}

#[test]
fn the_terminal_is_as_it_was_after_a_killed_command() {
    at_both(|session| {
        session.type_line("before=$(stty -g); elevate sh -c 'stty raw -echo; kill -9 $$'; status=$?; [ \"$(stty -g)\" = \"$before\" ] && echo same $status");
        session.expect("\r\nsame 137");
    });
}

#[test]
fn redirected_streams_are_not_replaced_by_the_terminal() {
    at_both(|session| {
        session.type_line("echo data | elevate sh -c 'test -t 0 || echo stdin pipe; cat' | tr a-z A-Z");
        session.expect("STDIN PIPE");
        session.expect("DATA");
        session.type_line("elevate sh -c 'test -t 1 || echo not a tty >&2; echo x' > /tmp/$USER.redirected; cat /tmp/$USER.redirected");
        session.expect("not a tty");
        session.expect("x");
    });
}

#[test]
fn a_pipeline_of_two_works_on_a_terminal() {
    at_both(|session| {
        session.type_line("elevate sh -c 'echo one; echo two' | elevate sed s/^/=/; echo status $?");
        session.expect("\n=one");
        session.expect("\n=two");
        session.expect("status 0");
    });
}

#[test]
fn a_command_cannot_type_into_the_callers_terminal() {
    // TIOCSTI: a process left behind inserts characters into the input of the caller's shell.
    at_both(|session| {
        session
            .type_line("elevate perl -e 'ioctl(STDIN, 0x5412, $_) for split //, \"echo inject\".\"ed\\n\"'; echo done");
        session.expect("\ndone");
        session.type_line("echo after");
        session.expect("\nafter");
        assert!(!session.screen().contains("\ninjected"), "{}", session.screen());
    });
}

#[test]
fn a_hang_up_of_the_terminal_ends_the_command() {
    let person = root().person(&["deploy"]);
    let file = format!("/tmp/{}-pid", person.name);
    let session =
        root().pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", &format!("echo $$ > {file}; exec sleep 1000")]);
    let pid = harness::eventually("the command runs", harness::PATIENCE, || {
        std::fs::read_to_string(root().path(&file)).ok().filter(|text| text.ends_with('\n'))
    });
    session.hang_up();
    harness::eventually("the command ends with its terminal", Duration::from_secs(5), || {
        let left = root().script(&format!("kill -0 {} 2>/dev/null && echo there; true", pid.trim()));
        left.is_empty().then_some(())
    });
}

#[test]
fn much_output_arrives_whole() {
    at_both(|session| {
        session.type_line("elevate seq 1 60000 | tail -1; elevate sh -c 'seq 1 30000; echo the end'");
        session.expect("\n60000");
        let shown = session.expect("\nthe end");
        let lines = shown.lines().filter(|line| line.trim().parse::<u32>().is_ok()).count();
        assert_eq!(lines, 30000);
    });
}
