//! The ways in which a stack can use the module for authentication, in the real su and Debian's sudo: the grant replaces the
//! password (`auth sufficient`), or is required in addition (`auth required`, `auth requisite`). And login, which waits for the
//! decision about a request.

use std::time::{Duration, Instant};

use harness::{Output, Person, PrivateRoot, PtySession};

use crate::pam_module::{BROKER, POLICY};
use crate::{id, own_root, request};

const UNIX: &str = "auth required pam_unix.so nodelay\n";

/// Returns a root in which su and sudo have this line before that of the password, and no other line that decides.
fn stacks(line: &str) -> PrivateRoot {
    let root = own_root();
    root.add_policy("doors", POLICY);
    // With the user's own password, requested each time.
    root.write("/etc/sudoers.d/stacks", 0o440, "%stacks ALL=(ALL) ALL\nDefaults timestamp_timeout=0, passwd_tries=1\n");
    set(&root, line);
    root
}

fn set(root: &PrivateRoot, line: &str) {
    let stack = format!("{line}\n{UNIX}account required pam_permit.so\nsession required pam_permit.so\n");
    for service in ["su", "sudo"] {
        root.write(&format!("/etc/pam.d/{service}"), 0o644, &stack);
    }
}

/// A user who may become `target` by su and by sudo, both with a password.
struct Cast {
    person: Person,
    target: Person,
}

impl Cast {
    fn of(root: &PrivateRoot, groups: &[&str]) -> Self {
        let groups = [&["stacks"], groups].concat();
        Self { person: root.person(&groups), target: root.person(&groups) }
    }

    fn session(&self, root: &PrivateRoot, program: &str) -> PtySession {
        let target = &self.target.name;
        let words = match program {
            "su" => vec!["su", target, "-c", "echo as $(id -un)"],
            _ => vec!["sudo", "-p", "Password: ", "-u", target, "sh", "-c", "echo as $(id -un)"],
        };
        root.pty_as(&self.person.name, words)
    }

    /// Returns the password that the program requests: that of the target for su, the user's own for sudo.
    fn password(&self, program: &str) -> &str {
        if program == "su" { &self.target.password } else { &self.person.password }
    }

    /// Checks that the program runs the command without a prompt.
    fn enters(&self, root: &PrivateRoot, program: &str) {
        let mut session = self.session(root, program);
        session.expect(&format!("as {}", self.target.name));
        assert!(session.wait().success(), "{program}: {}", session.screen());
        assert!(!session.screen().contains("Password"), "{program}: {}", session.screen());
    }

    /// Checks that the program requests the password, and runs the command with the right one.
    fn asks(&self, root: &PrivateRoot, program: &str) {
        let mut session = self.session(root, program);
        session.type_password("Password: ", self.password(program));
        session.expect(&format!("as {}", self.target.name));
        assert!(session.wait().success(), "{program}: {}", session.screen());
    }

    /// Checks that the program requests the password, and with `password` runs nothing. Returns the screen.
    fn denies(&self, root: &PrivateRoot, program: &str, password: &str) -> String {
        let mut session = self.session(root, program);
        session.type_password("Password: ", password);
        let status = session.wait();
        let screen = session.screen();
        assert!(!status.success() && !screen.contains(&format!("as {}", self.target.name)), "{program}: {screen}");
        screen
    }
}

/// Runs `each` for every case in which the role is not held, with a description of the case.
fn refusals(root: &PrivateRoot, line: &str, mut each: impl FnMut(&Cast, &str)) {
    let cast = Cast::of(root, &["door", "guarded"]);
    each(&cast, "no grant");
    request(root, &cast.person, "door", &["--for", "1s"]);
    std::thread::sleep(Duration::from_millis(1200));
    each(&cast, "an expired grant");
    let grant = id(&request(root, &cast.person, "door", &[]));
    root.as_root(["jitctl", "revoke", &grant, "--reason", "x"]).succeeded();
    each(&cast, "a revoked grant");
    request(root, &cast.person, "door", &[]);
    root.run_as(&cast.person.name, ["jitctl", "release"]).succeeded();
    each(&cast, "a released grant");
    request(root, &cast.person, "door", &["--one-shot"]);
    each(&cast, "a grant for one run");
    root.run_as(&cast.person.name, ["jitctl", "release"]).succeeded();
    request(root, &cast.target, "door", &[]);
    each(&cast, "a grant of the target");
    request(root, &cast.person, "door", &[]);
    for (other, what) in [("role=sealed", "a role of other hosts"), ("role=guarded", "another role")] {
        set(root, &line.replace("role=door", other));
        each(&cast, what);
    }
    set(root, &format!("{line} nonsense"));
    each(&cast, "an option that is not understood");
    set(root, line);
    root.script(&format!("mv {BROKER} {BROKER}.away"));
    each(&cast, "no broker");
    root.write(BROKER, 0o755, "#!/bin/sh\necho yes\n");
    each(&cast, "a broker that says nonsense");
    root.script(&format!("mv {BROKER}.away {BROKER}"));
}

#[test]
fn sufficient_replaces_the_password_and_every_refusal_falls_through() {
    let line = "auth sufficient pam_jit_sudo.so role=door";
    let root = stacks(line);
    refusals(&root, line, |cast, what| {
        for program in ["su", "sudo"] {
            println!("{program}: {what}");
            cast.asks(&root, program);
        }
    });
    let cast = Cast::of(&root, &["door"]);
    for program in ["su", "sudo"] {
        cast.denies(&root, program, "wrong");
    }
    request(&root, &cast.person, "door", &[]);
    for program in ["su", "sudo"] {
        cast.enters(&root, program);
    }
    // With -n sudo calls no authentication stack, unless its own policy says so.
    let without_questions = || root.run_as(&cast.person.name, ["sudo", "-n", "-u", &cast.target.name, "id", "-un"]);
    assert!(without_questions().stderr.contains("a password is required"));
    root.script("echo 'Defaults noninteractive_auth' >>/etc/sudoers.d/stacks");
    assert_eq!(without_questions().succeeded(), cast.target.name);
    root.run_as(&cast.person.name, ["jitctl", "release"]).succeeded();
    assert!(!without_questions().status.success());
}

#[test]
fn required_needs_the_password_as_well_and_every_refusal_denies() {
    let line = "auth required pam_jit_sudo.so role=door";
    let root = stacks(line);
    refusals(&root, line, |cast, what| {
        for program in ["su", "sudo"] {
            println!("{program}: {what}");
            cast.denies(&root, program, cast.password(program));
        }
    });
    let cast = Cast::of(&root, &["door"]);
    let screen = cast.denies(&root, "su", &cast.target.password);
    assert!(screen.contains("jit-sudo: you have no active grant of role door"), "{screen}");
    assert!(screen.contains("hint: jitctl request --role door --reason 'WHY'"), "{screen}");
    // sudo tells every module to be silent (PAM_SILENT), and this module is.
    let screen = cast.denies(&root, "sudo", &cast.person.password);
    assert!(!screen.contains("jit-sudo"), "{screen}");
    request(&root, &cast.person, "door", &[]);
    for program in ["su", "sudo"] {
        cast.asks(&root, program);
        cast.denies(&root, program, "wrong");
    }
}

#[test]
fn requisite_asks_for_no_password_where_there_is_no_grant() {
    let root = stacks("auth requisite pam_jit_sudo.so role=door");
    let cast = Cast::of(&root, &["door"]);
    for program in ["su", "sudo"] {
        let mut session = cast.session(&root, program);
        if program == "su" {
            session.expect("you have no active grant of role door");
            session.expect("hint: jitctl request --role door --reason 'WHY'");
        }
        assert!(!session.wait().success());
        assert!(!session.screen().contains("Password"), "{program}: {}", session.screen());
    }
    request(&root, &cast.person, "door", &[]);
    for program in ["su", "sudo"] {
        cast.asks(&root, program);
    }
}

#[test]
fn the_su_stack_of_the_manual_admits_holders_of_the_role() {
    let manual = include_str!("../../docs/man/pam_jit_sudo.8");
    let (_, example) = manual.split_once(".Pa /etc/pam.d/su :\n.Bd -literal -offset indent\n").unwrap();
    let (stack, _) = example.split_once(".Ed").unwrap();
    let root = own_root();
    root.add_policy("doors", &POLICY.replace("[roles.door]", "[roles.root-shell]"));
    root.write("/etc/pam.d/su", 0o644, stack);
    let person = root.person(&["door"]);
    let mut session = root.pty_as(&person.name, ["su", "-c", "id -u"]);
    session.expect("you have no active grant of role root-shell");
    assert!(!session.wait().success() && !session.screen().contains("Password"), "{}", session.screen());
    request(&root, &person, "root-shell", &[]);
    assert_eq!(root.run_as(&person.name, ["su", "-c", "id -u"]).succeeded(), "0");
    // Root needs no grant.
    assert_eq!(root.as_root(["su", &person.name, "-c", "id -un"]).succeeded(), person.name);
}

#[test]
fn login_waits_for_an_approval() {
    let root = own_root();
    root.add_policy("doors", POLICY);
    root.script("sed -i '1i account required pam_jit_sudo.so role=guarded wait=30' /etc/pam.d/login");
    let (person, approver) = (root.person(&["guarded"]), root.person(&["approvers"]));
    let knock = || {
        let mut session = root.pty_as("root", ["login", &person.name]);
        session.type_password("Password:", &person.password);
        session
    };
    let decided = |words: &[&str]| -> Output { root.run_as(&approver.name, words) };

    let mut session = knock();
    session.expect("you have no active grant of role guarded");
    assert!(!session.wait().success(), "nothing to wait for");

    let pending = id(&request(&root, &person, "guarded", &[]));
    let mut session = knock();
    session.expect(&format!("waiting at most 30 s for the approval of request {pending}"));
    decided(&["jitctl", "deny", &pending, "--reason", "no"]).succeeded();
    session.expect("you have no active grant of role guarded");
    assert!(!session.wait().success());

    let pending = id(&request(&root, &person, "guarded", &[]));
    let mut session = knock();
    session.expect(&format!("waiting at most 30 s for the approval of request {pending}"));
    decided(&["jitctl", "approve", &pending]).succeeded();
    session.expect(&format!("{}@web1", person.name));
    session.type_line("exit");
    session.wait();
    root.run_as(&person.name, ["jitctl", "release"]).succeeded();

    root.script("sed -i 's/wait=30/wait=2/' /etc/pam.d/login");
    let pending = id(&request(&root, &person, "guarded", &[]));
    let mut session = knock();
    session.expect(&format!("waiting at most 2 s for the approval of request {pending}"));
    let begun = Instant::now();
    session.expect(&format!("hint: jitctl show {pending}"));
    assert!(!session.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
