//! `jitctl policy import` in the installed product: the answers are sudo's, the commands run as sudo runs them, and what
//! cannot be carried over is said.

mod compare;
mod generator;

use std::path::Path;
use std::time::Duration;

use harness::{Output, PrivateRoot, project};

use crate::own_root;

/// `FILES SEED`: what is compared.
const WANTED: &str = "IMPORT_COMPARE";

/// Runs [`inside`] in a root of its own: this very program, as that root sees it.
fn compared(wanted: &str, patience: Duration) -> String {
    let root = PrivateRoot::start();
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| project().join("target"), Into::into);
    let program = std::env::current_exe().unwrap();
    let program = Path::new("/run/private-root/target").join(program.strip_prefix(target).unwrap());
    let words = [program.to_str().unwrap(), "--exact", "import::inside", "--ignored", "--nocapture"];
    let output = root.command("root", words).env(WANTED, wanted).patience(patience).run();
    output.succeeded();
    output.stdout
}

#[test]
#[ignore = "runs inside a private root, where the tests below start it"]
fn inside() {
    let wanted = std::env::var(WANTED).expect("started by another test");
    let (files, seed) = wanted.split_once(' ').unwrap();
    compare::compare_many(files.parse().unwrap(), seed.parse().unwrap());
}

#[test]
fn generated_sudoers_have_sudos_answers() {
    let said = compared("60 11", Duration::from_secs(120));
    assert!(said.contains("60 sudoers files with 480 questions") && said.contains(" 0 differences"), "{said}");
}

#[test]
#[ignore = "ten minutes: make import-compare"]
fn many_generated_sudoers_have_sudos_answers() {
    let wanted = std::env::var(WANTED).unwrap_or_else(|_| "5000 1".to_owned());
    print!("{}", compared(&wanted, Duration::from_secs(7200)));
}

/// A root with this sudoers, imported in this way, in place of the installed policy; what jitctl said.
fn imported(sudoers: &str, more: &[&str]) -> (PrivateRoot, Output) {
    let root = own_root();
    root.write("/etc/sudoers", 0o440, sudoers);
    root.script("rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*");
    let output = root.as_root([&["jitctl", "policy", "import"][..], more].concat());
    root.write("/etc/jit-sudo/policy.toml", 0o600, &output.stdout);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    (root, output)
}

#[test]
fn an_imported_policy_runs_commands_as_sudo_did() {
    let (root, output) = imported(
        "Defaults env_reset\nCmnd_Alias LOOK = /usr/bin/id -u, !/usr/bin/id -g\nroot ALL=(ALL:ALL) ALL\n\
         alice ALL=(root, bob) NOPASSWD: LOOK, PASSWD: /usr/bin/whoami\nbob ALL=(ALL : ALL) NOPASSWD: ALL, !/usr/bin/whoami\n\
         carol ALL=NOPASSWD: /usr/bin/env, SETENV: /usr/bin/printenv [A-Z]*\n",
        &[],
    );
    output.succeeded();
    for (person, words) in [
        ("alice", &["id", "-u"][..]),
        ("alice", &["-u", "bob", "id", "-u"]),
        ("alice", &["-u", "carol", "id", "-u"]),
        ("alice", &["id", "-g"]),
        ("alice", &["id"]),
        ("alice", &["whoami"]),
        ("bob", &["-u", "carol", "-g", "root", "id", "-gn"]),
        ("bob", &["whoami"]),
        ("bob", &["FOO=bar", "printenv", "FOO"]),
        ("carol", &["FOO=bar", "env"]),
        ("carol", &["FOO=bar", "printenv", "FOO"]),
        ("carol", &["printenv", "foo"]),
    ] {
        let run = |program: &str| root.run_as(person, [&[program, "-n"][..], words].concat());
        let (ours, theirs) = (run("jit-sudo"), run("sudo"));
        let told = |output: &Output| (output.status.code(), output.stdout.clone());
        assert_eq!(told(&ours), told(&theirs), "{person} {words:?}: {ours:?} {theirs:?}");
    }
}

#[test]
fn with_eligible_a_sudo_host_becomes_a_just_in_time_host() {
    let (root, output) =
        imported("root ALL=(ALL:ALL) ALL\n%ops ALL=(ALL) NOPASSWD: ALL, !/usr/bin/whoami\n", &["--eligible"]);
    output.succeeded();
    let person = root.person(&["ops"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).refused("not allowed");
    let grant = crate::request(&root, &person, "ops", &[]);
    assert_eq!(grant["grant"], "active", "{grant}");
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    root.run_as(&person.name, ["jit-sudo", "-n", "whoami"]).refused("not allowed");
    assert_eq!(root.as_root(["jit-sudo", "-n", "-u", "alice", "id", "-un"]).succeeded(), "alice");
}

#[test]
fn what_cannot_be_carried_over_is_said_by_file_and_line() {
    let (root, output) = imported(
        "@includedir /etc/sudoers.parts\nDefaults mailto=x\nalice ALL=(root) CHROOT=/srv /usr/bin/id\nbob ALL=ls\n\
         carol ALL=(root) NOPASSWD: ALL, !/usr/bin/id ^(-u)\\1$\n",
        &[],
    );
    output.exited(1);
    for line in [
        "jitctl: /etc/sudoers:2: Defaults mailto=x: has no counterpart",
        "jitctl: /etc/sudoers:3: CHROOT=/srv: has no counterpart; what it allows is refused",
        "jitctl: /etc/sudoers:4: a line that sudo refuses: 'ls' is not a command with its whole path",
        "jitctl: /etc/sudoers:5: command /usr/bin/id ^(-u)\\\\1$: the expression ^(-u)\\\\1$: '\\\\1' has no counterpart; all of \
         /usr/bin/id is refused instead",
        "jitctl: 4 things are not carried over; the rest is the policy",
    ] {
        assert!(output.stderr.lines().any(|said| said == line), "{line}\n{}", output.stderr);
    }
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("not allowed");
    root.run_as("carol", ["jit-sudo", "-n", "id", "-u"]).refused("not allowed");
    assert_eq!(root.run_as("carol", ["jit-sudo", "-n", "whoami"]).succeeded(), "root");
}

#[test]
fn includes_are_read_where_they_stand() {
    let root = own_root();
    root.script(
        "mkdir /etc/parts.d && echo 'alice ALL=NOPASSWD: /usr/bin/id' >/etc/parts.d/20 && echo bad >/etc/parts.d/x.y",
    );
    root.script("echo 'alice ALL=!/usr/bin/id' >/etc/parts.d/10; echo 'bob ALL=ALL' >/etc/for-web1");
    root.write("/etc/sudoers", 0o440, "#includedir parts.d\n@include for-%h\n@include \"missing\"\n");
    let output = root.as_root(["jitctl", "policy", "import"]);
    output.exited(1);
    assert!(output.stderr.contains("jitctl: /etc/sudoers:3: /etc/missing cannot be read"), "{output:?}");
    let places: Vec<&str> = output.stdout.lines().filter_map(|line| line.strip_prefix("# /etc/")).collect();
    assert_eq!(places, ["parts.d/10:1", "for-web1:1"], "{}", output.stdout);
    assert!(output.stdout.contains("\"!/usr/bin/id **\", \"/usr/bin/id **\""), "{}", output.stdout);
}
