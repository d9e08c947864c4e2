//! In the place of sudo: a link with its name speaks as Debian's sudo does, which runs the same script beside it.

use std::sync::OnceLock;

use harness::{Output, Person, PrivateRoot, eventually};

use crate::{own_root, root};

/// Creates links with the names of sudo and sudoedit, and returns the paths of Debian's sudo and of the link.
fn programs(root: &PrivateRoot) -> [&'static str; 2] {
    root.script("mkdir -p /opt/place; for name in sudo sudoedit; do ln -sf /usr/bin/jit-sudo /opt/place/$name; done");
    ["/usr/bin/sudo", "/opt/place/sudo"]
}

fn shared() -> [&'static str; 2] {
    static READY: OnceLock<[&str; 2]> = OnceLock::new();
    READY.get_or_init(|| programs(root())).to_owned()
}

/// Runs a bash script in which `$S` is the program.
fn scripted(root: &PrivateRoot, person: &Person, program: &str, script: &str) -> Output {
    // By its name, as users type it: getopt(3) prints argv[0] as it is.
    let (place, name) = program.rsplit_once('/').unwrap_or(("/usr/bin", program));
    let run = root.command(&person.name, ["bash", "-c", script]).env("S", name);
    run.env("PATH", format!("{place}:/usr/sbin:/usr/bin")).env("PASSWORD", &person.password).cwd("/tmp").run()
}

/// Returns the messages without hints and without what sudo says about its plugins.
fn messages(output: &Output) -> Vec<&str> {
    let beside = |line: &&str| line.starts_with("hint: ") || line.starts_with("sudo: error initializing audit plugin");
    output.stderr.lines().filter(|line| !beside(line)).collect()
}

/// Runs a script with both programs, and fails unless status, output and messages are the same, letter by letter.
#[track_caller]
fn alike(root: &PrivateRoot, person: &Person, [theirs, ours]: [&str; 2], script: &str) -> Output {
    let [theirs, ours] = [theirs, ours].map(|program| scripted(root, person, program, script));
    assert_eq!(ours.stdout, theirs.stdout, "{script}: {ours:?} {theirs:?}");
    assert_eq!(messages(&ours), messages(&theirs), "{script}");
    assert_eq!(ours.status, theirs.status, "{script}");
    ours
}

#[test]
fn a_link_with_sudos_name_speaks_as_sudo() {
    let programs = shared();
    let [free, asked] = ["deploy", "trusted"].map(|group| root().person(&[group]));
    for (person, script) in [
        (&asked, "$S -n true"),
        (&asked, "$S true </dev/null"),
        (&asked, "echo wrong | $S -S -p '' true"),
        (&asked, "$S -A true"),
        (&asked, "SUDO_ASKPASS=/no/such $S -A true"),
        (&free, "$S -n no-such-command"),
        (&free, "$S -n -u nobody-knows true"),
        (&free, "$S -n sudoedit /etc/no/such/file"),
        (&free, "$S -x 2>&1 | head -n 2"),
        (&free, "$S --foo 2>&1 | head -n 2"),
        (&free, "$S 2>&1 | head -n 1"),
        (&free, "$S -A -S true 2>&1 | head -n 1"),
        (&free, "$S -h | head -n 3"),
        (&free, "$S -V | head -n 1 | cut -d' ' -f 1,2"),
        (&free, "${S}edit -x 2>&1 | head -n 2"),
        (&free, "${S}edit -h | head -n 3"),
        (&free, "${S}edit -V | head -n 1 | cut -d' ' -f 1,2"),
        (&free, "${S}edit -n /dev/null"),
    ] {
        let said = alike(root(), person, programs, script);
        assert!(!said.stdout.contains("jit-sudo") && !said.stderr.contains("jit-sudo"), "{script}: {said:?}");
    }
}

#[test]
fn what_only_jit_sudo_says_begins_with_sudos_name_too() {
    let [_, ours] = shared();
    let person = root().person(&["self-service"]);
    let said = scripted(root(), &person, ours, "$S -n id");
    let (hints, others): (Vec<&str>, Vec<&str>) = said.stderr.lines().partition(|line| line.starts_with("hint: "));
    assert_eq!(hints.len(), 1, "{said:?}");
    assert!(others.iter().any(|line| line.starts_with("sudo: you have no active grant")), "{said:?}");
    assert!(!others.iter().any(|line| line.contains("jit-sudo")), "{said:?}");
    // Under any other name it is jit-sudo.
    root().script("ln -sf /usr/bin/jit-sudo /opt/place/other");
    assert!(
        scripted(root(), &person, "/opt/place/other", "$S -n id").stderr.contains("\njit-sudo: you have no active")
    );
}

/// The rule of a user, for sudo and for jit-sudo, under which a password is remembered for six seconds.
fn briefly(root: &PrivateRoot, person: &Person) {
    let name = &person.name;
    let sudoers = format!("Defaults:{name} timestamp_timeout=0.1, lecture=never\n{name} ALL=(ALL) ALL\n");
    root.write("/etc/sudoers.d/briefly", 0o440, sudoers);
    let role =
        format!("standing = [\"{name}\"]\ncommands = [\"ALL\"]\nrun_as = [\"ALL\"]\ntimestamp_timeout = \"6s\"\n");
    root.add_policy("briefly", &format!("[roles.briefly]\n{role}"));
}

#[test]
fn each_use_renews_a_password_that_is_remembered_for_a_short_time() {
    let root = own_root();
    let programs = programs(&root);
    let person = root.person(&[]);
    briefly(&root, &person);
    // Ten seconds in all, with at most 2.5 between two uses; and not after six without a use.
    let uses = "echo \"$PASSWORD\" | $S -S -p '' true; for i in 1 2 3 4; do sleep 2.5; $S -n echo $i || exit; done; \
                sleep 6.2; $S -n true; echo over";
    let said = alike(&root, &person, programs, uses);
    assert_eq!(said.stdout, "1\n2\n3\n4\nover\n", "{said:?}");
    assert_eq!(messages(&said), ["sudo: a password is required"]);
    // -v renews too, and for as long.
    let validated = alike(
        &root,
        &person,
        programs,
        "echo \"$PASSWORD\" | $S -S -p '' -v; sleep 4; $S -n -v; sleep 4; $S -n id -u; exit $?",
    );
    assert_eq!(validated.succeeded(), "0");
}

#[test]
fn validation_uses_the_pam_service_of_the_role() {
    let root = own_root();
    let person = root.person(&[]);
    let role = format!("standing = [\"{}\"]\ncommands = [\"ALL\"]\npam_service = \"strict\"\n", person.name);
    root.add_policy("strict", &format!("[roles.strict]\n{role}"));
    root.script("cp /etc/pam.d/jit-sudo /etc/pam.d/strict");
    let remembered = "echo \"$PASSWORD\" | jit-sudo -S -p '' -v; jit-sudo -n id -u; exit $?";
    assert_eq!(scripted(&root, &person, "jit-sudo", remembered).succeeded().trim(), "0");
    root.script("printf 'auth required pam_deny.so\\naccount required pam_permit.so\\n' >/etc/pam.d/strict");
    let denied = scripted(&root, &person, "jit-sudo", "echo \"$PASSWORD\" | jit-sudo -k -S -p '' -v");
    denied.refused("incorrect password attempt");
}

/// Replaces the PAM stack of both programs.
fn stack(root: &PrivateRoot, auth: &str, account: &str) {
    for service in ["sudo", "sudo-i", "jit-sudo", "jit-sudo-i"] {
        let text = format!("auth required {auth}\naccount required {account}\nsession required pam_permit.so\n");
        root.write(&format!("/etc/pam.d/{service}"), 0o644, text);
    }
}

#[test]
fn a_denied_account_is_reported_in_sudos_words() {
    let root = own_root();
    let programs = programs(&root);
    let person = root.person(&["deploy"]);
    stack(&root, "pam_permit.so", "pam_deny.so");
    let said = alike(&root, &person, programs, "$S -n id");
    assert_eq!(messages(&said)[0], "sudo: account validation failure, is your account locked?");
    alike(&root, &person, programs, "$S -n -v").refused("account validation failure");
    let expired = root.person(&["deploy"]);
    root.script(&format!(
        "chage -E 2000-01-01 {}; cp /etc/pam.d/other /etc/pam.d/jit-sudo; cp /etc/pam.d/other /etc/pam.d/sudo",
        expired.name
    ));
    alike(&root, &expired, programs, "$S -n id").refused("");
}

#[test]
fn credentials_that_cannot_be_set_stop_no_run_that_needs_no_password() {
    let root = own_root();
    let programs = programs(&root);
    let person = root.person(&["deploy"]);
    // pam_deny fails at pam_setcred(3) too.
    stack(&root, "pam_deny.so", "pam_permit.so");
    assert_eq!(alike(&root, &person, programs, "$S -n id -u").succeeded(), "0");
}

#[test]
fn a_password_line_that_is_too_long_is_one_wrong_try() {
    let programs = shared();
    let person = root().person(&["trusted"]);
    // sudo 1.9.13 takes the rest of such a line as the next answer.
    let line = "(head -c 5000 /dev/zero | tr '\\0' x; echo; echo \"$PASSWORD\") | $S -S -p '' id -u";
    let said = scripted(root(), &person, programs[1], line);
    assert_eq!(said.succeeded(), "0");
    assert_eq!(said.stderr, "Sorry, try again.\n");
    let endless = "yes no | tr -d '\\n' | head -c 9000 | $S -S -p '' id -u";
    scripted(root(), &person, programs[1], endless).refused("1 incorrect password attempt");
    let asked = "printf '#!/bin/sh\\nhead -c 5000 /dev/zero | tr \"\\\\0\" x 2>/dev/null\\n' >/tmp/long; chmod +x /tmp/long; \
                 SUDO_ASKPASS=/tmp/long $S -A true";
    alike(root(), &person, programs, asked).refused("3 incorrect password attempts");
}

#[test]
fn a_command_in_the_background_reads_the_end_of_its_terminal() {
    let person = root().person(&["deploy"]);
    let file = format!("/tmp/read-{}", person.name);
    let line = format!("jit-sudo -n -b sh -c 'read x; echo $? >{file}; cat >>{file}; echo over >>{file}'; sleep 30");
    let session = root().pty_as(&person.name, ["bash", "-c", &line]);
    let read = eventually("the command reads the end of its input", harness::PATIENCE, || {
        let text = std::fs::read_to_string(root().path(&file)).ok()?;
        text.ends_with("over\n").then_some(text)
    });
    assert_eq!(read, "1\nover\n", "{}", session.screen());
}

#[test]
fn a_login_shell_that_is_missing_is_named_by_its_path() {
    let programs = shared();
    let person = root().person(&["deploy"]);
    let other = root().person(&[]);
    root().script(&format!("usermod --shell /no/such/shell {} 2>/dev/null", other.name));
    for words in ["", " id"] {
        let said = alike(root(), &person, programs, &format!("$S -n -i -u {}{words}", other.name));
        said.refused("/no/such/shell: command not found");
    }
}

#[test]
fn without_proc_it_says_what_is_missing() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let without = |user: &str| {
        let line = format!("umount -l /proc; runuser -u {user} -- jit-sudo -n id -u; exit $?");
        root.as_root(["unshare", "-m", "bash", "-c", &line])
    };
    without(&person.name).refused("jit-sudo: /proc is not mounted");
    assert!(without("root").stderr.contains("hint: mount -t proc proc /proc"), "{:?}", without("root"));
}

#[test]
fn under_a_tracer_it_does_not_blame_the_file_system() {
    let person = root().person(&["deploy"]);
    let said = root().run_as(&person.name, ["strace", "-o", "/dev/null", "jit-sudo", "-n", "id"]);
    said.refused("traces it");
    assert!(!said.stderr.contains("nosuid"), "{said:?}");
}

#[test]
fn lines_that_were_pasted_do_not_become_the_reason() {
    let person = root().person(&["once"]);
    let mut session = root().pty_as(&person.name, ["bash", "--norc", "-i"]);
    session.type_text("jit-sudo id -u\nrm -rf /precious\necho done\n");
    session.expect("reason: ");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!session.screen().contains("duration, at most"), "{}", session.screen());
    session.type_text("whoami\ntrue\n"); // more of the same block, a moment later
    session.expect("several lines were pasted");
    session.expect("reason: ");
    session.type_line("the true reason");
    session.expect("duration, at most");
    session.type_line("");
    eventually("the request has the typed reason", harness::PATIENCE, || {
        let records = crate::records_of(root(), &person);
        records.iter().any(|record| record.body.to_string().contains("the true reason")).then_some(())
    });
    let records = crate::records_of(root(), &person);
    assert!(!records.iter().any(|record| record.body.to_string().contains("precious")));
}

/// Runs a command with a second terminal as standard error, and prints what arrived there.
const OTHER_TERMINAL: &str = r#"import os, pty, select, subprocess, sys
leader, follower = pty.openpty()
words = [sys.argv[1], "-n", "sh", "-c", "test -t 2; echo terminal $? >&2; printf 'two\nlines\n' >&2"]
print(subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower).returncode)
came = b""
while select.select([leader], [], [], 1)[0]: came += os.read(leader, 100)
print(came)
"#;

#[test]
fn another_terminal_stays_a_terminal_though_its_output_is_recorded() {
    let root = own_root();
    let person = root.person(&[]);
    for record in ["tty", "all"] {
        let role = format!("standing = [\"{}\"]\nrecord = \"{record}\"\nauthenticate = false\n", person.name);
        root.add_policy("recorded", &format!("[roles.recorded]\ncommands = [\"ALL\"]\n{role}"));
        root.write("/etc/sudoers.d/recorded", 0o440, format!("{} ALL=(ALL) NOPASSWD: ALL\n", person.name));
        let [theirs, ours] = ["sudo", "jit-sudo"].map(|program| {
            let words = ["python3", "-c", OTHER_TERMINAL, program];
            // Without a terminal of its own, and with one.
            let apart = root.run_as(&person.name, words).succeeded().to_owned();
            let mut session = root.pty_as(&person.name, words);
            session.wait();
            (apart, session.screen().replace('\r', ""))
        });
        // On a terminal sudo 1.9.13 shows on it what is meant for the other one.
        assert_eq!(ours.0, theirs.0, "{record}");
        assert!(ours.1.contains("terminal 0\\r\\ntwo"), "{ours:?}");
        assert!(ours.0.contains("terminal 0\\r\\ntwo\\r\\nlines"), "{ours:?}");
    }
}
