//! Reads what sudo reads: continued lines, times, names with blanks, and paths through links.

use super::carried::import_into;
use crate::own_root;

#[test]
fn a_backslash_with_blanks_behind_it_continues_a_line() {
    let root = own_root();
    for text in [
        "alice ALL = NOPASSWD: /usr/bin/whoami, \\ \n /usr/bin/id\n",
        "alice ALL = (root) \\ \n NOPASSWD: /usr/bin/id\n",
        "alice ALL = \\\t \n NOPASSWD: /usr/bin/id\n",
        "alice \\ \n ALL = NOPASSWD: /usr/bin/id\n",
        "User_Alias A = bob, \\ \n alice\nA ALL = NOPASSWD: /usr/bin/id\n",
        "Defaults lecture, \\ \n !authenticate\nalice ALL = /usr/bin/id\n",
        "Defaults passwd_tries = \\ \n 2\nalice ALL = NOPASSWD: /usr/bin/id\n",
    ] {
        let (said, status) = import_into(&root, text);
        assert_eq!((status, said.as_str()), (Some(0), ""), "{text}");
        for program in ["sudo", "jit-sudo"] {
            assert_eq!(root.run_as("alice", [program, "-n", "id", "-u"]).succeeded(), "0", "{program} {text}");
        }
    }
}

#[test]
fn a_file_that_ends_inside_a_continued_line_is_a_finding() {
    let root = own_root();
    for text in [
        "alice ALL = NOPASSWD: /usr/bin/id \\\n",
        "alice ALL = NOPASSWD: /usr/bin/id, \\\n",
        "Defaults !authenticate \\ \n",
    ] {
        root.write("/root/cut", 0o440, format!("bob ALL = NOPASSWD: /usr/bin/id\n{text}"));
        root.as_root(["visudo", "-cqf", "/root/cut"]).exited(1);
        let output = root.as_root(["jitctl", "policy", "import", "/root/cut"]);
        output.exited(1);
        assert!(
            output.stderr.contains("/root/cut:2: a line that sudo rejects: the end of the file"),
            "{text}{output:?}"
        );
        assert!(!output.stdout.contains("alice") && output.stdout.contains("bob"), "{text}{output:?}");
    }
}

#[test]
fn the_period_of_a_rule_has_every_form_of_sudo() {
    let root = own_root();
    for period in [
        "NOTBEFORE=2020010112",
        "NOTBEFORE=202001011230Z",
        "NOTBEFORE=20200101123015.5Z",
        "NOTBEFORE=2020010112-0530",
        "NOTBEFORE=20200101123015+02",
        "NOTBEFORE=2090010112",
        "NOTBEFORE=2090010112.5Z",
        "NOTAFTER=2020010112",
        "NOTAFTER=20200101123015+0200",
        "NOTBEFORE=2010010112 NOTAFTER=2011010112Z",
    ] {
        let (said, _) = import_into(&root, &format!("alice ALL = {period} NOPASSWD: /usr/bin/id\n"));
        let run = |program: &str| root.run_as("alice", [program, "-n", "id", "-u"]).status.code();
        assert_eq!(run("jit-sudo"), run("sudo"), "{period}: {said}");
    }
    // A role has no end, so what is valid for a time only is told, and not allowed.
    let (said, status) = import_into(&root, "alice ALL = NOTAFTER=2090010112+0100 NOPASSWD: /usr/bin/id\n");
    assert!(
        status == Some(1) && said.contains("/etc/sudoers:1: NOTAFTER=2090010112+0100: a role has no end"),
        "{said}"
    );
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("not allowed");
}

#[test]
fn names_with_blanks_are_users_and_groups() {
    let root = own_root();
    root.script(
        "echo 'domain admins:x:7001:alice' >>/etc/group; echo 'CORP\\web team:x:7002:bob' >>/etc/group
         echo 'svc deploy:x:7003:7003::/:/bin/sh' >>/etc/passwd; echo 'svc deploy:*:20000::::::' >>/etc/shadow",
    );
    let (said, status) = import_into(
        &root,
        "%domain\\ admins ALL = NOPASSWD: /usr/bin/id\n\"%CORP\\web team\" ALL = NOPASSWD: /usr/bin/id\n\
         carol ALL = (\"svc deploy\") NOPASSWD: /usr/bin/id\n",
    );
    assert!(
        status == Some(1) && said.contains("/etc/sudoers:3: a member of a list: user name 'svc deploy' contains"),
        "{said}"
    );
    assert!(said.contains("jitctl: note: /etc/sudoers:1: %domain admins is %#7001 in the policy"), "{said}");
    for (person, words) in [("alice", &["id", "-u"][..]), ("bob", &["id", "-u"]), ("carol", &["id", "-u"])] {
        let run = |program: &str| {
            let output = root.run_as(person, [&[program, "-n"][..], words].concat());
            (output.status.code() == Some(0), output.stdout)
        };
        assert_eq!(run("jit-sudo"), run("sudo"), "{person} {words:?}");
    }
}

#[test]
fn a_rule_that_cannot_be_written_never_costs_the_others() {
    let root = own_root();
    for bad in [
        "bob ALL = /usr/bin/../bin/id",
        "bob ALL = /usr//bin/id",
        "bob ALL = /usr/bin/./id",
        "bob ALL = ALL, !/usr/bin/../bin/id",
        "Defaults!/usr/bin/../bin/id noexec",
        "Defaults!/usr/bin/./id !authenticate",
        "bob ALL = /usr/bin/id a\\ b\\\\c",
        "bob ALL = /opt/\\*x/id",
        "bob ALL = /opt/a\\:b/id",
        "bob ALL = sudoedit /etc/../etc/motd",
        "bob ALL = sudoedit motd",
        "bob ALL = (#99999999999) ALL",
        "\"%a:b\" ALL = ALL",
    ] {
        let (said, _) = import_into(&root, &format!("{bad}\nalice ALL = NOPASSWD: ALL\n"));
        assert_eq!(root.run_as("alice", ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0", "{bad}: {said}");
        // What one program refuses the other does not allow.
        let runs = |program: &str| root.run_as("bob", [program, "-n", "/usr/bin/id", "-u"]).status.code() == Some(0);
        assert!(!runs("jit-sudo") || runs("sudo"), "{bad}: {said}");
    }
}

#[test]
fn a_rule_through_a_link_follows_it_or_is_told() {
    let root = own_root();
    root.script(
        "for rel in 1 2; do mkdir -p /opt/app/rel$rel/bin; cp /usr/bin/id /opt/app/rel$rel/bin/tool; done
         ln -s rel1 /opt/app/current",
    );
    let (said, status) = import_into(
        &root,
        "alice ALL = NOPASSWD: /opt/app/current/bin/tool\nbob ALL = NOPASSWD: ALL, !/opt/app/current/bin/tool\n\
         carol ALL = NOPASSWD: /opt/later/bin/tool, /usr/bin/id\n",
    );
    let told = "/etc/sudoers:1: command /opt/app/current/bin/tool: /opt/app/current/bin leads to /opt/app/rel1/bin now";
    assert!(status == Some(1) && said.contains(told), "{said}");
    assert!(said.contains("note: /etc/sudoers:3: /opt/later/bin does not exist here"), "{said}");
    let runs = |program: &str, person: &str, path: &str| {
        root.run_as(person, [program, "-n", path, "-u"]).status.code() == Some(0)
    };
    let same = |person: &str, path: &str| {
        assert_eq!(runs("jit-sudo", person, path), runs("sudo", person, path), "{person} {path}")
    };
    same("alice", "/opt/app/current/bin/tool");
    same("bob", "/opt/app/current/bin/tool");
    same("bob", "/opt/app/rel1/bin/tool");
    // A rule that denies follows the link when it is switched.
    root.script("ln -sfn rel2 /opt/app/current");
    for path in ["/opt/app/current/bin/tool", "/opt/app/rel2/bin/tool", "/opt/app/rel1/bin/tool"] {
        same("bob", path);
    }
    assert!(
        runs("sudo", "alice", "/opt/app/current/bin/tool") && !runs("jit-sudo", "alice", "/opt/app/current/bin/tool")
    );
}
