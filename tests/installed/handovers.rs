//! The keyboard while jit-sudo talks to its user: prompt, wait, password, command. What is typed before a question or
//! during the wait is neither shown nor used, neither as a password nor by the command.

use std::sync::OnceLock;
use std::time::Duration;

use harness::{Person, PrivateRoot, PtySession, eventually};
use serde_json::Value;

use crate::{kinds, own_root, records_of};

/// Returns a root for these tests: no other test changes the policy while one of them waits for an approval.
fn root() -> &'static PrivateRoot {
    static ROOT: OnceLock<PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(own_root)
}

/// A command that prints the line that it finds on its terminal within a second.
const READS: &str = r#"bash -c 'read -t 1 line; echo "got [$line]"'"#;

/// Starts an interactive shell, wide enough that no line of these tests is wrapped.
fn shell(person: &Person) -> PtySession {
    let mut session = root().pty_as(&person.name, ["bash", "--norc", "--noprofile"]);
    session.resize(24, 250);
    session.type_line("PS1='>'\"> \"; bind 'set enable-bracketed-paste off'; before=$(stty -g)");
    session.expect(">> ");
    session
}

/// Checks that the terminal has the modes that it had when the shell started.
fn is_as_before(session: &mut PtySession) {
    session.type_line("[ \"$(stty -g)\" = \"$before\" ] && echo as before || stty -a");
    session.expect("\nas before");
}

fn stops_to_echo(session: &PtySession) {
    eventually("the terminal does not echo", harness::PATIENCE, || (!session.echoes()).then_some(()));
}

/// Leads a new user to the wait for approval of a command.
fn waits(command: &str) -> (Person, Person, PtySession) {
    let (person, approver) = (root().person(&["handed-over"]), root().person(&["approvers"]));
    let mut session = shell(&person);
    session.type_line(&format!("jit-sudo --reason needed --for 10m {command}; echo status $?"));
    session.expect("waits for the approval");
    (person, approver, session)
}

fn pending(person: &Person) -> String {
    let said = root().run_as(&person.name, ["jitctl", "--json", "requests"]).json();
    said["requests"]
        .as_array()
        .and_then(|all| all.first())
        .map_or_else(|| panic!("{said}"), |one: &Value| crate::id(one))
}

fn approve(person: &Person, approver: &Person) {
    root().run_as(&approver.name, ["jitctl", "approve", &pending(person), "--comment", "ok"]).succeeded();
}

#[test]
fn what_is_typed_during_the_wait_is_neither_shown_nor_used() {
    let (person, approver, mut session) = waits("bash --norc");
    stops_to_echo(&session);
    session.type_line("an-early-secret");
    session.type_line("touch /root/typed-early");
    std::thread::sleep(Duration::from_millis(1500));
    approve(&person, &approver);
    session.type_password("password for", &person.password);
    session.expect("# ");
    session.type_line("echo root is $(id -u); ls /root/typed-early");
    session.expect("root is 0");
    session.expect("cannot access");
    assert!(!session.screen().contains("an-early-secret"), "{}", session.screen());
    session.type_line("exit 7");
    session.expect("status 7");
    is_as_before(&mut session);
}

#[test]
fn what_is_typed_during_the_wait_does_not_reach_a_command_without_a_password() {
    let (person, approver) = (root().person(&["reviewed", "once"]), root().person(&["approvers"]));
    let mut session = shell(&person);
    session.type_line(
        "jit-sudo --role reviewed --reason needed --for 10m id -u; bash -c 'read -t 1 a; echo \"got [$a]\"'",
    );
    session.expect("waits for the approval");
    stops_to_echo(&session);
    session.type_line("typed early");
    std::thread::sleep(Duration::from_millis(300));
    approve(&person, &approver);
    session.expect(&format!("approved by {} (\"ok\") for 10m, until", approver.name));
    session.expect("\n0\r\n");
    session.expect("got []");
    is_as_before(&mut session);
}

/// Debian's sudo discards input after the password too. It takes what was typed before the prompt as the password.
#[test]
fn what_is_typed_around_the_password_does_not_reach_the_command() {
    for program in ["sudo", "jit-sudo"] {
        let person = root().person(&["trusted"]);
        let mut session = shell(&person);
        session.type_line(&format!("stty -echo; sleep 1; stty echo; {program} -p 'pass''word: ' {READS}"));
        std::thread::sleep(Duration::from_millis(300));
        session.type_text("wrong\nfirst line\n");
        session.expect("password: ");
        stops_to_echo(&session);
        std::thread::sleep(Duration::from_millis(300));
        session.type_text(format!("{}\ntyped with it\n", person.password));
        session.expect("got []");
        let is_taken = session.screen().contains("try again");
        assert_eq!(is_taken, program == "sudo", "{program}: {}", session.screen());
    }
}

#[test]
fn control_z_and_control_c_give_the_terminal_back_during_the_wait() {
    let (person, _, mut session) = waits("id -u");
    stops_to_echo(&session);
    session.type_text("\x1a");
    session.expect("Stopped");
    is_as_before(&mut session);
    session.type_line("fg");
    session.expect("left");
    stops_to_echo(&session);
    session.type_line("typed early");
    session.type_text("\x03");
    let said = session.expect(">> ");
    assert!(!said.contains("Sorry") && said.contains(&pending(&person)), "{said}");
    session.type_line("echo status $?");
    session.expect("\nstatus 130");
    is_as_before(&mut session);
    assert_eq!(kinds(&records_of(root(), &person)), ["request"]);
    assert!(!session.screen().contains("typed early"), "{}", session.screen());
}

#[test]
fn a_wait_in_the_background_leaves_the_terminal_to_the_shell() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let mut session = shell(&person);
    session.type_line("jit-sudo --reason needed --for 10m id &");
    session.expect("waits for the approval");
    std::thread::sleep(Duration::from_millis(1200));
    session.type_line("echo the shell $((40 + 2))");
    session.expect("the shell 42");
    session.type_line("jobs");
    session.expect("Running");
    approve(&person, &approver);
    session.expect("(\"ok\") for 10m, until");
    session.expect("uid=0(root)");
    is_as_before(&mut session);
}

#[test]
fn leaving_the_offer_is_no_refusal_and_gives_the_terminal_back() {
    for key in ["\x03", "\x04"] {
        let person = root().person(&["once"]);
        let mut session = shell(&person);
        session.type_line("jit-sudo id -u; echo status $?");
        session.expect("reason: ");
        session.type_line("needed");
        session.expect("duration, at most");
        session.type_text(key);
        let said = session.expect("left; no request was made");
        assert!(!said.contains("Sorry"), "{said}");
        session.expect(">> ");
        is_as_before(&mut session);
        assert!(records_of(root(), &person).is_empty());
    }
}

#[test]
fn bad_answers_do_not_lose_the_reason_and_control_characters_are_refused() {
    let person = root().person(&["once"]);
    let mut session = shell(&person);
    session.type_line("jit-sudo id -u");
    session.expect("reason: ");
    session.type_line("to \x1b[D look");
    session.expect("control characters");
    session.expect("reason: ");
    session.type_line("wrong words\x17\x17to lookk\x7f");
    for _ in 0..5 {
        session.expect("duration, at most 1h [1h]: ");
        session.type_line("for ever");
    }
    session.expect("duration, at most 1h [1h]: ");
    session.type_line("10m");
    session.expect("of role once given for 10m, until");
    session.expect("\n0\r\n");
    assert_eq!(records_of(root(), &person)[0].text("reason"), "to look");
}
