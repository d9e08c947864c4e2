//! Nothing of a sudoers file becomes wider, and nothing is lost without a line: settings beside sudo's own answers.

use harness::PrivateRoot;

use super::{imported, said_by};
use crate::own_root;

/// Imports this file into a root, in place of the installed policy; returns what jitctl says, and its status.
pub(super) fn import_into(root: &PrivateRoot, sudoers: &str) -> (String, Option<i32>) {
    root.write("/etc/sudoers", 0o440, sudoers);
    root.script("rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*");
    let output = root.as_root(["jitctl", "policy", "import"]);
    root.write("/etc/jit-sudo/policy.toml", 0o600, &output.stdout);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    (output.stderr, output.status.code())
}

/// The last setting of all, users, hosts and run-as users decides, and those for commands come after them.
#[test]
fn scoped_settings_apply_in_sudos_order() {
    let root = own_root();
    let rule = "alice ALL = (ALL) NOPASSWD: ALL\n";
    for defaults in [
        "Defaults:alice env_keep += A",
        "Defaults:alice env_keep += A\nDefaults:alice env_keep += B",
        "Defaults:alice env_keep += \"A B\"\nDefaults:alice env_keep -= A",
        "Defaults:alice env_keep += A\nDefaults env_keep = B",
        "Defaults:alice env_keep += A\nDefaults env_keep += B",
        "Defaults env_keep += A\nDefaults:alice env_keep -= A",
        "Defaults:alice env_keep -= A\nDefaults env_keep += A",
        "Defaults env_keep += \"A B\"\nDefaults:alice !env_keep",
        "Defaults:alice !env_keep\nDefaults env_keep += A",
        "Defaults>bob env_keep += A\nDefaults:alice env_keep = B",
        "Defaults:alice env_keep = B\nDefaults>bob env_keep += A",
        "Defaults!/usr/bin/env env_keep += A\nDefaults env_keep = B",
        "Defaults!/usr/bin/env env_keep += A\nDefaults>bob env_keep = B",
        "Defaults@web1 env_keep += A\nDefaults:alice !env_keep",
    ] {
        import_into(&root, &format!("{defaults}\n{rule}"));
        for target in ["root", "bob"] {
            let seen = |program: &str| {
                let words = ["env", "A=1", "B=1", "DISPLAY=:0", program, "-n", "-u", target, "env"];
                let output = root.run_as("alice", words);
                let mut kept: Vec<String> = output
                    .succeeded()
                    .lines()
                    .filter(|line| ["A=", "B=", "DISPLAY="].iter().any(|name| line.starts_with(name)))
                    .map(str::to_owned)
                    .collect();
                kept.sort();
                kept
            };
            assert_eq!(seen("jit-sudo"), seen("sudo"), "{defaults} as {target}");
        }
    }
    let rule = "alice ALL = (ALL) ALL\n";
    for defaults in [
        "Defaults:alice !authenticate\nDefaults authenticate",
        "Defaults authenticate\nDefaults:alice !authenticate",
        "Defaults>bob !authenticate\nDefaults:alice authenticate",
        "Defaults:alice !authenticate\nDefaults>bob authenticate",
        "Defaults!/usr/bin/id !authenticate\nDefaults authenticate",
    ] {
        import_into(&root, &format!("{defaults}\n{rule}"));
        for words in [&["-u", "bob", "id", "-u"][..], &["id", "-u"]] {
            let (theirs, ours) = (said_by(&root, "sudo", "alice", words), said_by(&root, "jit-sudo", "alice", words));
            assert_eq!(ours, theirs, "{defaults} {words:?}");
        }
    }
}

#[test]
fn a_second_factor_of_sudo_is_asked_by_jit_sudo_too() {
    let root = own_root();
    let rule = "alice ALL = (root) /usr/bin/id\n";
    root.script(
        "printf '#!/bin/sh\\necho asked >>/tmp/factor\\n' >/usr/local/bin/factor; chmod 755 /usr/local/bin/factor
         : >/tmp/factor; chmod 666 /tmp/factor",
    );
    let asked = |program: &str| {
        root.run_as("alice", [program, "-k"]).succeeded();
        let run = root.command("alice", [program, "-S", "id", "-u"]).stdin("alice-password\n");
        (run.run().status.code(), root.script("cat /tmp/factor; : >/tmp/factor"))
    };
    let (said, status) = import_into(&root, rule);
    assert!(!said.contains("pam.d") && status == Some(0), "{said}");
    assert_eq!(asked("jit-sudo"), (Some(0), String::new()));

    root.script("echo 'auth required pam_exec.so quiet /usr/local/bin/factor' >>/etc/pam.d/sudo");
    let (said, status) = import_into(&root, rule);
    assert!(said.contains("note: /etc/pam.d/sudo:") && status == Some(0), "{said}");
    assert!(said.contains("pam_exec.so") && said.contains("pam_service = \"sudo\""), "{said}");
    let theirs = asked("sudo");
    assert!(theirs.1.contains("asked"), "{theirs:?}");
    assert_eq!(asked("jit-sudo"), theirs);
    // A service that is named by the file is that of the policy.
    let (said, _) = import_into(&root, &format!("Defaults pam_service=su\n{rule}"));
    assert!(!said.contains("pam.d"), "{said}");
}

#[test]
fn what_sudo_does_not_record_is_not_recorded() {
    for (text, wanted) in [
        ("alice ALL = NOPASSWD: NOLOG_OUTPUT: /usr/bin/id\n", true),
        ("Defaults !log_output\nalice ALL = NOPASSWD: /usr/bin/id\n", true),
        ("Defaults !use_pty\nalice ALL = NOPASSWD: /usr/bin/id\n", true),
        ("Defaults:alice !use_pty\nalice ALL = NOPASSWD: /usr/bin/id\n", true),
        ("alice ALL = NOPASSWD: /usr/bin/id\n", false),
        ("Defaults !log_output\nalice ALL = NOPASSWD: LOG_OUTPUT: /usr/bin/id\n", false),
    ] {
        let (root, output) = imported(text, &[]);
        output.succeeded();
        let run = "script -qec 'jit-sudo -n id -u' /dev/null </dev/null >/dev/null";
        root.run_as("alice", ["sh", "-c", run]).succeeded();
        let recorded = root.script("find /var/lib/jit-sudo/recordings -type f 2>/dev/null | head -n 1");
        assert_eq!(recorded.trim().is_empty(), wanted, "{text}{}", output.stdout);
    }
}

/// What has no key in the policy is told by file and line: what the policy does not do (status 1), what it does in
/// addition (status 1, with `warning`), and what changes no answer (status 0, with `note`).
#[test]
fn each_setting_without_a_key_is_told_with_its_weight() {
    let root = own_root();
    for (defaults, status, said) in [
        (
            "Defaults !secure_path",
            1,
            "jitctl: /etc/sudoers:1: Defaults !secure_path: commands are searched in the directories",
        ),
        (
            "Defaults:alice secure_path=/usr/bin",
            1,
            "jitctl: /etc/sudoers:1: Defaults secure_path=/usr/bin: commands get it as PATH",
        ),
        ("Defaults noninteractive_auth", 1, "jitctl: /etc/sudoers:1: Defaults noninteractive_auth: with -n"),
        ("Defaults exempt_group=ops", 1, "jitctl: /etc/sudoers:1: Defaults exempt_group=ops: members of the group"),
        ("Defaults verifypw=always", 1, "jitctl: warning: /etc/sudoers:1: Defaults verifypw=always: -v needs no"),
        ("Defaults verifypw=never", 1, "jitctl: /etc/sudoers:1: Defaults verifypw=never: -v needs no"),
        ("Defaults verifypw=all", 0, "jitctl: note: /etc/sudoers:1: Defaults verifypw=all: is what"),
        ("Defaults listpw=always", 1, "jitctl: warning: /etc/sudoers:1: Defaults listpw=always: listing"),
        ("Defaults listpw=never", 0, "jitctl: note: /etc/sudoers:1: Defaults listpw=never: listing"),
        ("Defaults !root_sudo", 1, "jitctl: warning: /etc/sudoers:1: Defaults !root_sudo: root may"),
        ("Defaults !use_pty", 0, "jitctl: note: /etc/sudoers:1: Defaults !use_pty: a recorded session"),
        ("Defaults mail_badpass", 0, "jitctl: note: /etc/sudoers:1: Defaults mail_badpass: has no counterpart"),
        ("Defaults log_year, insults", 0, "jitctl: note: /etc/sudoers:1: Defaults log_year: has no counterpart"),
        (
            "Defaults logfile=/var/log/sudo.log",
            0,
            "jitctl: note: /etc/sudoers:1: Defaults logfile=/var/log/sudo.log: has no",
        ),
        (
            "Defaults:alice !authenticate\nDefaults authenticate",
            0,
            "jitctl: note: /etc/sudoers:1: Defaults !authenticate: has no effect",
        ),
        ("Defaults env_reset", 0, ""),
        ("Defaults !mail_no_user", 0, "jitctl: note: /etc/sudoers:1: Defaults !mail_no_user: has no counterpart"),
    ] {
        let (told, code) = import_into(&root, &format!("{defaults}\nalice ALL = /usr/bin/id\n"));
        assert_eq!(code, Some(status), "{defaults}: {told}");
        assert!(if said.is_empty() { told.is_empty() } else { told.contains(said) }, "{defaults}: {told}");
    }
}
