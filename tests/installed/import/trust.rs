//! Which files `jitctl policy import` trusts: the same as sudo, which is called for each.

use harness::{Output, PrivateRoot};
use serde_json::Value;

use crate::own_root;

/// The rule in the tested files, which gives alice permissions that she does not have otherwise.
const POWER: &str = "alice ALL=(ALL) NOPASSWD: ALL";

/// Returns a root where only the sudoers file counts, with files to include.
fn host() -> PrivateRoot {
    let root = own_root();
    root.script("rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*; cp /etc/sudoers /root/sudoers.kept; cp -a /etc/sudoers /root/s");
    root
}

/// The contents of the sudoers file, and the changes to the files before they are read.
struct Case {
    sudoers: &'static str,
    script: &'static str,
    /// The message of the importer; empty where it reads the file, or skips it without a message.
    said: &'static str,
}

const fn case(sudoers: &'static str, script: &'static str, said: &'static str) -> Case {
    Case { sudoers, script, said }
}

const CASES: &[Case] = &[
    case(POWER, "chmod 666 $S", "/etc/sudoers is writable by everybody (mode 0666), so sudo does not read it"),
    case(POWER, "chown alice $S", "/etc/sudoers is owned by uid 1001 (alice), not by root, so sudo does not read it"),
    case(POWER, "chgrp alice $S; chmod 460 $S", "/etc/sudoers is writable by gid 1001 (alice; mode 0460)"),
    case(POWER, "chmod 664 $S", ""),
    case(POWER, "chgrp alice $S", ""),
    case("@include /etc/x", "", ""),
    case(
        "@include /etc/x",
        "chmod 666 /etc/x",
        "/etc/sudoers:2: /etc/x is writable by everybody (mode 0666), so sudo does not read it: review it, then chmod 0440 /etc/x",
    ),
    case(
        "@include /etc/x",
        "chown alice /etc/x",
        "/etc/sudoers:2: /etc/x is owned by uid 1001 (alice), not by root, so sudo does not read it: review it, then chown \
         root:root /etc/x",
    ),
    case("@include /etc/x", "chown 4242 /etc/x", "is owned by uid 4242 (no account), not by root"),
    case("@include /etc/x", "chown :4242 /etc/x; chmod 460 /etc/x", "is writable by gid 4242 (no group; mode 0460)"),
    case("@include /etc/x", "chmod 664 /etc/x", ""),
    case("@include /etc/x", "mv /etc/x /etc/y; ln -s y /etc/x", ""),
    case(
        "@include /etc/x",
        "mv /etc/x /home/alice/y; ln -s /home/alice/y /etc/x; chown alice /home/alice/y; chown -h root /etc/x",
        "/etc/sudoers:2: /etc/x is owned by uid 1001 (alice)",
    ),
    case("@include /etc/x", "rm /etc/x; ln -s x /etc/x", "/etc/x cannot be read: too many levels of symbolic links"),
    case("@include /etc/x", "rm /etc/x; mkfifo /etc/x", "/etc/sudoers:2: /etc/x cannot be read: it is not a file"),
    case("@include /etc/x", "rm /etc/x; mkdir /etc/x", "/etc/sudoers:2: /etc/x cannot be read: it is not a file"),
    case("@include /dev/null", "", "/etc/sudoers:2: /dev/null cannot be read: it is not a file"),
    // sudo does not check the directory of a file that is named.
    case("@include /etc/w/x", "mkdir -m 777 /etc/w; mv /etc/x /etc/w/x", ""),
    case("@includedir /etc/w", "mkdir -m 755 /etc/w; mv /etc/x /etc/w/x", ""),
    case(
        "@includedir /etc/w",
        "mkdir -m 777 /etc/w; mv /etc/x /etc/w/x",
        "/etc/sudoers:2: /etc/w is writable by everybody (mode 0777), so sudo does not read it: review it, then chmod 0755 /etc/w",
    ),
    case("@includedir /etc/w", "mkdir -m 1777 /etc/w; mv /etc/x /etc/w/x", "is writable by everybody (mode 1777)"),
    case("@includedir /etc/w", "mkdir -m 775 /etc/w; mv /etc/x /etc/w/x", ""),
    case(
        "@includedir /etc/w",
        "mkdir -m 775 /etc/w; chgrp bob /etc/w; mv /etc/x /etc/w/x",
        "/etc/w is writable by gid 1002 (bob; mode 0775)",
    ),
    case(
        "@includedir /etc/w",
        "mkdir /etc/w; chown bob /etc/w; mv /etc/x /etc/w/x",
        "/etc/w is owned by uid 1002 (bob), not by root",
    ),
    case(
        "@includedir /etc/w",
        "mkdir /etc/w; mv /etc/x /etc/w/x; chmod 666 /etc/w/x",
        "/etc/sudoers:2: /etc/w/x is writable by everybody (mode 0666)",
    ),
    case(
        "@includedir /etc/w",
        "mkdir /etc/w; chown alice /etc/x; ln -s ../x /etc/w/x",
        "/etc/w/x is owned by uid 1001",
    ),
    case("@includedir /etc/w", "mkdir /etc/v; mv /etc/x /etc/v/x; ln -s v /etc/w", ""),
    case("@includedir /etc/w", "mkdir /etc/w; mv /etc/x '/etc/w/a b\nc'", ""),
    // Names that sudo skips, whatever their owner.
    case("@includedir /etc/w", "mkdir /etc/w; mv /etc/x /etc/w/x~", ""),
    case("@includedir /etc/w", "mkdir /etc/w; mv /etc/x /etc/w/x.bak; chmod 666 /etc/w/x.bak", ""),
    case(
        "@includedir /etc/w",
        "mkdir -p /etc/w/d; mkfifo /etc/w/f; ln -s /dev/null /etc/w/n; ln -s nowhere /etc/w/l",
        "",
    ),
    case("@includedir /etc/x", "", "/etc/sudoers:2: /etc/x cannot be read: it is not a directory"),
    case("@includedir /etc/nowhere", "", ""),
];

/// Whether the printed policy gives alice any permission.
fn gives_alice_power(output: &Output) -> bool {
    output.stdout.contains("alice")
}

#[test]
fn the_importer_trusts_the_same_files_as_sudo() {
    let root = host();
    for Case { sudoers, script, said } in CASES {
        root.script(&format!(
            "rm -rf /etc/w /etc/v /etc/x /etc/y /home/alice/y; S=/etc/sudoers
             printf 'root ALL=(ALL) ALL\\n%s\\n' '{sudoers}' >/root/new; install -m 440 /root/new $S
             echo '{POWER}' >/root/x; install -m 440 /root/x /etc/x; {script}"
        ));
        // sudo hangs where a directory holds a pipe; root may call it whatever the sudoers file says.
        let theirs = root.as_root(["timeout", "10", "sudo", "-n", "-l", "-U", "alice"]);
        let ours = root.as_root(["jitctl", "policy", "import"]);
        let told = format!("{sudoers} after {script}:\n{}{}\n{}", theirs.stdout, theirs.stderr, ours.stderr);
        assert_eq!(gives_alice_power(&ours), theirs.stdout.contains("may run the following"), "{told}");
        assert_eq!(ours.status.code(), Some(i32::from(!said.is_empty())), "{told}");
        assert!(ours.stderr.contains(said), "{told}");
        if said.is_empty() {
            assert_eq!(ours.stderr, "", "{told}");
        }
    }
}

#[test]
fn a_sudoers_file_that_sudo_rejects_gives_no_policy_and_a_fix() {
    let root = host();
    root.script("cd /root; chmod 666 s; cp s 'a b'; chmod 666 'a b'");
    let output = root.as_root(["jitctl", "policy", "import", "/root/s"]);
    output.exited(1);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        (
            "",
            "jitctl: /root/s is writable by everybody (mode 0666), so sudo does not read it\nhint: review it, then chmod 0440 \
             /root/s; to review a copy, add --untrusted\n"
        )
    );
    let output = root.as_root(["jitctl", "--json", "policy", "import", "/root/a b"]);
    let object: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(object["error"]["code"], "untrusted-file", "{object}");
    assert!(object["error"]["hint"].as_str().unwrap().contains("chmod 0440 '/root/a b'"), "{object}");
    root.script("cd /root; chmod 440 s 'a b'");
    assert!(root.as_root(["jitctl", "policy", "import", "/root/s"]).stdout.contains("[roles."));
}

/// sudo checks the directories of `@includedir` alone; the importer also that of the file which is named.
#[test]
fn a_sudoers_file_in_a_directory_that_others_can_write_gives_no_policy() {
    let root = host();
    for (change, said) in [
        (
            "chmod 777 /root/open",
            "/root/open is writable by everybody (mode 0777), so others can replace the sudoers file in it",
        ),
        ("chmod 1777 /root/open", "is writable by everybody (mode 1777)"),
        ("chown alice /root/open", "/root/open is owned by uid 1001 (alice), not by root"),
        ("chgrp alice /root/open; chmod 775 /root/open", "/root/open is writable by gid 1001 (alice; mode 0775)"),
    ] {
        root.script(&format!("rm -rf /root/open; mkdir -m 755 /root/open; cp -a /root/s /root/open/s; {change}"));
        let refused = root.as_root(["jitctl", "policy", "import", "/root/open/s"]);
        refused.exited(1);
        assert!(refused.stdout.is_empty() && refused.stderr.contains(said), "{change}: {refused:?}");
        let reviewed = root.as_root(["jitctl", "policy", "import", "--untrusted", "/root/open/s"]);
        assert!(reviewed.stdout.contains("[roles."), "{change}: {reviewed:?}");
    }
    root.script("chown root:root /root/open; chmod 755 /root/open");
    assert!(root.as_root(["jitctl", "policy", "import", "/root/open/s"]).stdout.contains("[roles."));
}

#[test]
fn a_copy_can_be_reviewed_and_says_in_the_policy_that_sudo_would_not_read_it() {
    let root = host();
    root.script(&format!(
        "cd /home/alice; mkdir more; echo '{POWER}' >more/10; printf 'root ALL=(ALL) ALL\\n@includedir more\\n' >mine
         chown -R alice: mine more; cp mine /root/mine; chmod 666 /root/mine"
    ));
    let import = |words: &[&str]| {
        root.command("alice", [&["jitctl", "policy", "import"][..], words].concat()).cwd("/home/alice").run()
    };
    let refused = import(&["mine"]);
    refused.exited(1);
    assert!(refused.stderr.contains("mine is owned by uid 1001 (alice), not by root"), "{refused:?}");

    let reviewed = import(&["--untrusted", "mine"]);
    reviewed.succeeded();
    assert!(gives_alice_power(&reviewed), "{reviewed:?}");
    for file in ["mine", "more", "more/10"] {
        let line = format!("{file} is owned by uid 1001 (alice), not by root, so sudo would not read it");
        assert!(reviewed.stdout.lines().any(|said| said == format!("# WARNING: {line}.")), "{reviewed:?}");
        assert!(reviewed.stderr.lines().any(|said| said == format!("jitctl: warning: {line}")), "{reviewed:?}");
    }
    let object: Value =
        serde_json::from_str(&import(&["--untrusted", "mine", "--eligible"]).stdout).unwrap_or_default();
    assert_eq!(object, Value::Null);
    let output = root.command("alice", ["jitctl", "--json", "policy", "import", "--untrusted", "mine"]);
    let object: Value = serde_json::from_str(&output.cwd("/home/alice").run().stdout).unwrap();
    assert_eq!(object["policy-imported"]["untrusted"].as_array().unwrap().len(), 3, "{object}");

    // From another machine, through a pipe.
    let piped = |words: &[&str]| {
        let words = [&["jitctl", "policy", "import"][..], words].concat();
        root.command("root", words).stdin(format!("root ALL=ALL\n{POWER}\nwrong\n")).run()
    };
    let refused = piped(&["-"]);
    refused.exited(1);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("add --untrusted"), "{refused:?}");
    let reviewed = piped(&["--untrusted", "-"]);
    reviewed.exited(1);
    assert!(gives_alice_power(&reviewed) && reviewed.stderr.contains("jitctl: stdin:3: "), "{reviewed:?}");
}

#[test]
fn a_file_that_changes_while_it_is_looked_at_is_read_as_the_one_that_was_looked_at() {
    // A user who may write to the directory of an included file replaces it temporarily by their own.
    let root = host();
    root.script(&format!(
        "mkdir -m 777 /etc/w; install -m 440 /root/s /etc/x; echo 'bob ALL=ALL' >/etc/w/x; chmod 440 /etc/w/x
         printf 'root ALL=(ALL) ALL\\n@include /etc/w/x\\n' >/root/new; install -m 440 /root/new /etc/sudoers
         echo '{POWER}' >/etc/w/mine; chown alice /etc/w/mine; chmod 440 /etc/w/mine; mv /etc/w/x /etc/w/spare"
    ));
    let swapping = "cd /etc/w; touch on; while [ -e on ]; do ln -sf mine a; mv -f a x; ln -sf spare b; mv -f b x; done";
    root.run_as("alice", ["sh", "-c", &format!("( {swapping} ) </dev/null >/dev/null 2>&1 &")]).succeeded();
    let (mut refused, mut read) = (0, 0);
    for _ in 0..500 {
        let output = root.as_root(["jitctl", "policy", "import"]);
        assert!(!gives_alice_power(&output), "{output:?}");
        refused += usize::from(output.stderr.contains("/etc/w/x is owned by uid 1001 (alice)"));
        read += usize::from(output.stdout.contains("bob"));
    }
    root.script("rm /etc/w/on");
    assert!(refused > 0 && read > 0, "refused {refused}, read {read}: nothing was tried");
}
