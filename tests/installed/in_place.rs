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
    let run = root.command(&person.name, ["bash", "-c", script]).env("S", program);
    run.env("PASSWORD", &person.password).cwd("/tmp").run()
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
