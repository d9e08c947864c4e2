//! Authentication through the real PAM stack, on a terminal and without one.

use crate::{kinds, own_root, records_of, request, root};

const PROMPT: &str = "password for";

/// Creates a user with a grant that requires the user's password.
fn with_password() -> harness::Person {
    let person = root().person(&["password"]);
    request(root(), &person, "password", &[]);
    person
}

#[test]
fn the_password_is_asked_for_on_the_terminal_and_not_shown() {
    let person = with_password();
    let mut session = root().pty_as(&person.name, ["jit-sudo", "id", "-u"]);
    session.type_password(&format!("[sudo] password for {}: ", person.name), &person.password);
    assert!(session.wait().success(), "{}", session.screen());
    assert!(session.screen().trim_end().ends_with('0') && !session.screen().contains(&person.password));
}

/// A password alone, and a password with a one-time code, are told apart.
#[test]
fn the_start_record_names_the_service_and_how_much_it_asked() {
    let root = own_root();
    let person = root.person(&["password"]);
    request(&root, &person, "password", &[]);
    let start = || records_of(&root, &person).into_iter().rfind(|record| record.kind() == "start").unwrap();
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-k", "id", "-u"]);
    session.type_password(PROMPT, "wrong");
    session.type_password(PROMPT, &person.password);
    assert!(session.wait().success(), "{}", session.screen());
    let alone = start();
    assert_eq!((alone.text("authenticated"), alone.text("auth_service")), ("password", "jit-sudo"), "{}", alone.body);
    assert_eq!(alone.number("auth_answers"), 1, "{}", alone.body);

    root.write("/root/pam_code.c", 0o600, include_str!("pam_code.c"));
    root.script(
        "gcc -shared -fPIC -o /usr/local/lib/pam_code.so /root/pam_code.c -lpam && \
         sed -i '1i auth required /usr/local/lib/pam_code.so' /etc/pam.d/jit-sudo",
    );
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-k", "id", "-u"]);
    session.type_password("One-time code: ", "424242");
    session.type_password(PROMPT, &person.password);
    assert!(session.wait().success(), "{}", session.screen());
    assert_eq!(start().number("auth_answers"), 2, "{}", start().body);

    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).exited(1);
    crate::both_say_intact(&root);
}

#[test]
fn three_wrong_passwords_end_it() {
    let person = with_password();
    let mut session = root().pty_as(&person.name, ["jit-sudo", "id", "-u"]);
    for _ in 0..3 {
        session.type_password(PROMPT, "wrong");
    }
    session.expect("3 incorrect password attempts");
    assert_eq!(session.wait().code(), Some(1));
    assert_eq!(session.screen().matches("Sorry, try again.").count(), 2, "{}", session.screen());
    assert_eq!(kinds(&records_of(root(), &person)).last(), Some(&"reject"));
}

#[test]
fn the_second_try_may_be_right() {
    let person = with_password();
    let mut session = root().pty_as(&person.name, ["jit-sudo", "id", "-u"]);
    session.type_password(PROMPT, "wrong");
    session.expect("Sorry, try again.");
    session.type_password(PROMPT, &person.password);
    assert!(session.wait().success(), "{}", session.screen());
}

#[test]
fn interrupting_the_prompt_ends_it_and_the_terminal_echoes_again() {
    let person = with_password();
    let mut session = root().pty_as(&person.name, ["bash", "-c", "jit-sudo id; echo status $?; sleep 0.3"]);
    session.expect(PROMPT);
    harness::eventually("the terminal stops to echo", harness::PATIENCE, || (!session.echoes()).then_some(()));
    session.type_text("\x03");
    session.wait();
    assert!(session.echoes(), "the terminal was left without echo");
    assert!(!kinds(&records_of(root(), &person)).contains(&"start"));
}

#[test]
fn dash_n_never_asks() {
    let person = root().person(&["trusted"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "id"]);
    assert_eq!(output.refused(""), "jit-sudo: a password is required\n");
    let mut session = root().pty_as(&person.name, ["jit-sudo", "-n", "id"]);
    session.expect("jit-sudo: a password is required");
    assert_eq!(session.wait().code(), Some(1));
}

#[test]
fn without_a_terminal_the_password_cannot_be_read() {
    let person = root().person(&["trusted"]);
    root().run_as(&person.name, ["jit-sudo", "id"]).refused("a terminal is required to read the password");
}

#[test]
fn dash_capital_s_reads_the_password_from_standard_input_and_nothing_more() {
    let person = root().person(&["trusted"]);
    let input = format!("{}\nfor the command\n", person.password);
    let output = root().command(&person.name, ["jit-sudo", "-S", "-p", "pw: ", "cat"]).stdin(&input).run();
    assert_eq!(output.succeeded(), "for the command");
    assert_eq!(output.stderr, "pw: ");
}

#[test]
fn dash_capital_s_with_wrong_passwords_or_none_is_refused() {
    let person = root().person(&["trusted"]);
    let output = root().command(&person.name, ["jit-sudo", "-S", "id"]).stdin("a\nb\nc\nd\n").run();
    output.refused("3 incorrect password attempts");
    let output = root().command(&person.name, ["jit-sudo", "-S", "id"]).run();
    output.refused("");
    assert!(!kinds(&records_of(root(), &person)).contains(&"start"));
}

#[test]
fn passwords_of_any_length_and_bytes_are_handled() {
    // CVE-2019-18634, CVE-2022-43995.
    let person = root().person(&["trusted"]);
    for length in [0, 1, 255, 256, 511, 512, 1023, 1024, 4096, 1 << 20] {
        let mut input = vec![b'x'; length];
        input.push(b'\n');
        let output = root().command(&person.name, ["jit-sudo", "-S", "-p", "", "id"]).stdin(&input).run();
        output.refused("");
    }
    let output =
        root().command(&person.name, ["jit-sudo", "-S", "-p", "", "id"]).stdin(b"\0\xff\x15\x08\n\xfe\n\n").run();
    output.refused("");
}

#[test]
fn the_prompt_is_printed_as_given_with_its_escapes_filled_in() {
    let person = root().person(&["trusted"]);
    let line = format!("{}\n", person.password);
    let prompt = "%u@%h for %U as %p 100%%: ";
    let output =
        root().command(&person.name, ["jit-sudo", "-S", "-u", "carol", "-p", prompt, "true"]).stdin(&line).run();
    output.succeeded();
    assert_eq!(output.stderr, format!("{0}@web1 for carol as {0} 100%: ", person.name));
    let output =
        root().command(&person.name, ["jit-sudo", "-S", "true"]).stdin(&line).env("SUDO_PROMPT", "key? ").run();
    assert_eq!(output.stderr, "key? ");
}

#[test]
fn a_password_is_remembered_on_its_terminal_alone() {
    let person = root().person(&["trusted"]);
    let mut session = root().pty_as(&person.name, ["bash", "--norc"]);
    session.type_line("PS1='> '; jit-sudo true; echo first $?");
    session.type_password(PROMPT, &person.password);
    session.expect("first 0");
    session.type_line("jit-sudo -n true; echo second $?");
    session.expect("second 0");
    let mut other = root().pty_as(&person.name, ["bash", "-c", "jit-sudo -n true; echo other $?"]);
    other.expect("other 1");
    session.type_line("jit-sudo -k; jit-sudo -n true; echo third $?");
    session.expect("third 1");
}

#[test]
fn an_expired_account_is_refused_with_the_right_password() {
    let person = root().person(&["trusted"]);
    root().script(&format!("usermod --expiredate 1 {}", person.name));
    let line = format!("{}\n", person.password);
    root().command(&person.name, ["jit-sudo", "-S", "id"]).stdin(&line).run().refused("");
    assert!(!kinds(&records_of(root(), &person)).contains(&"start"));
}

#[test]
fn an_account_that_pam_refuses_is_refused_though_no_password_is_asked() {
    let person = root().person(&["deploy"]);
    root().script(&format!("usermod --expiredate 1 {}", person.name));
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn variables_of_pam_env_reach_the_command() {
    let root = own_root();
    root.script("echo FROM_PAM=yes >> /etc/environment");
    let person = root.person(&["deploy"]);
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "printenv", "FROM_PAM"]).succeeded(), "yes");
}

#[test]
fn only_success_of_the_stack_counts() {
    // CVE-2025-23013: PAM_IGNORE is no permission. In each of these stacks no module has returned success.
    let root = own_root();
    let person = root.person(&["trusted"]);
    let line = format!("{}\n", person.password);
    let stacks = [
        "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
        "auth optional pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
        "auth required pam_permit.so\naccount required pam_deny.so\nsession required pam_permit.so\n",
        "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_deny.so\n",
        "auth required pam_no_such_module.so\n",
        "nonsense\n",
    ];
    for stack in stacks {
        root.write("/etc/pam.d/jit-sudo", 0o644, stack);
        root.command(&person.name, ["jit-sudo", "-S", "id"]).stdin(line.repeat(3)).run().refused("");
    }
    assert!(!kinds(&records_of(&root, &person)).contains(&"start"));
}

#[test]
fn sessions_are_opened_before_the_command_and_closed_after_it() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script("printf '#!/bin/sh\\necho $PAM_TYPE $PAM_RUSER $PAM_USER >> /run/pam.log\\n' > /usr/local/sbin/tell-pam && chmod 755 /usr/local/sbin/tell-pam");
    root.script("echo 'session required pam_exec.so /usr/local/sbin/tell-pam' >> /etc/pam.d/jit-sudo");
    root.run_as(&person.name, ["jit-sudo", "-n", "-u", "carol", "sh", "-c", "exit 3"]).exited(3);
    let expected = format!("open_session {0} carol\nclose_session {0} carol\n", person.name);
    assert_eq!(root.read("/run/pam.log"), expected);
}

#[test]
fn a_stack_without_a_facility_is_rejected() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let run = || root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]);
    let permit =
        |kinds: &[&str]| kinds.iter().map(|kind| format!("{kind} required pam_permit.so\n")).collect::<String>();
    // A user whom the missing facility could not judge would be permitted by /etc/pam.d/other.
    root.write("/etc/pam.d/other", 0o644, permit(&["auth", "account", "password", "session"]));
    root.write("/etc/pam.d/jit-sudo", 0o644, permit(&["auth", "session"]));
    run().refused("");
    // Written to a new file and moved over the old one, as editors do; with libpam's own include.
    root.write("/etc/pam.d/mine", 0o644, permit(&["account"]));
    root.write("/etc/pam.d/new", 0o644, permit(&["auth", "session"]) + "account include mine\n");
    root.script("mv /etc/pam.d/new /etc/pam.d/jit-sudo");
    assert_eq!(run().succeeded(), "0");
    root.write("/etc/pam.d/mine", 0o644, "account required pam_deny.so\n");
    run().refused("");
}
