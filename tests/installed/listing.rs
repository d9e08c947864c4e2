//! `-l` and `-ll` beside Debian's sudo under the same rules: the same lines, broken at the same columns.

use harness::PrivateRoot;

use crate::{id, own_root, request};

const SUDOERS: &str = r#"
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", use_pty
root ALL=(ALL:ALL) ALL
alice ALL=(ALL:ALL) NOPASSWD: ALL
bob ALL=(root, carol : web) SETENV: NOPASSWD: /usr/bin/id -u, !/usr/bin/id -g
bob ALL=(root) CWD=/usr TIMEOUT=90 SETENV: NOEXEC: /usr/bin/systemctl stop nginx, sudoedit /etc/motd, /usr/bin/systemctl restart nginx
"#;

const POLICY: &str = r#"
[roles.everything]
standing      = ["alice"]
run_as        = "ALL"
run_as_groups = "ALL"
authenticate  = false
setenv        = true
commands      = "ALL"

[roles.few]
standing      = ["bob"]
run_as        = ["root", "carol"]
run_as_groups = ["web"]
authenticate  = false
setenv        = true
commands      = ["/usr/bin/id -u", "!/usr/bin/id -g"]
order         = 1

[roles.strict]
standing        = ["bob"]
setenv          = true
noexec          = true
runcwd          = "/usr"
command_timeout = "90s"
commands        = ["/usr/bin/systemctl stop nginx", "sudoedit /etc/motd", "/usr/bin/systemctl restart nginx"]
order           = 2
"#;

/// Returns the lines without the source of an entry, which only jit-sudo prints.
fn lines(text: &str) -> Vec<String> {
    // sudo 1.9.16 names the sudoers file in the same place.
    let source = [" /etc/jit-sudo/", " /etc/sudoers"];
    let line = |line: &str| source.iter().fold(line, |line, source| line.split(source).next().unwrap()).to_owned();
    text.replace('\r', "").lines().map(line).collect()
}

#[test]
fn entries_are_listed_as_sudo_lists_them() {
    let root = own_root();
    root.script("rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*; groupadd web");
    root.write("/etc/sudoers", 0o440, SUDOERS);
    root.write("/etc/jit-sudo/policy.toml", 0o600, POLICY);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    for person in ["alice", "bob"] {
        for option in ["-l", "-ll"] {
            let said = |program: &str| lines(root.run_as(person, [program, "-n", option]).succeeded());
            assert_eq!(said("jit-sudo"), said("sudo"), "{person} {option} in a pipe");
            // The source of an entry is a long line that only jit-sudo prints.
            let widths = if option == "-l" { [30, 80, 200] } else { [70, 80, 200] };
            for columns in widths {
                let shown = |program: &str| {
                    let line = format!("stty cols {columns}; {program} -n {option}");
                    let mut session = root.pty_as(person, ["sh", "-c", &line]);
                    session.wait();
                    lines(&session.screen())
                };
                assert_eq!(shown("jit-sudo"), shown("sudo"), "{person} {option} at {columns} columns");
            }
        }
    }
}

/// sudo 1.9.13 prints only the command; 1.9.16 the entry, as jit-sudo does.
#[test]
fn the_entry_that_allows_a_command_is_listed_with_the_command() {
    let root = own_root();
    root.script("rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*; groupadd web");
    root.write("/etc/sudoers", 0o440, SUDOERS);
    root.write("/etc/jit-sudo/policy.toml", 0o600, POLICY);
    let version = root.script("sudo -V | sed -n '1s/.* 1.9.\\([0-9]*\\).*/\\1/p'");
    let prints_entries = version.trim().parse::<u32>().unwrap() >= 15;
    let asked = [
        ("alice", &["id"][..]),
        ("bob", &["id", "-u"]),
        ("bob", &["systemctl", "stop", "nginx"]),
        ("bob", &["-u", "carol", "id", "-u"]),
    ];
    for (person, words) in asked {
        let said =
            |program: &str| lines(root.run_as(person, [&[program, "-n", "-ll"][..], words].concat()).succeeded());
        let ours = said("jit-sudo");
        assert_eq!(ours[0], "Sudoers entry:", "{words:?}");
        assert!(ours.last().unwrap().starts_with("    Matched: /usr/bin/"), "{ours:?}");
        if prints_entries {
            assert_eq!(ours, said("sudo"), "{person} {words:?}");
        }
    }
    for words in [&["id", "-g"][..], &["vi"]] {
        let refused = |program: &str| root.run_as("bob", [&[program, "-n", "-ll"][..], words].concat());
        let (ours, theirs) = (refused("jit-sudo"), refused("sudo"));
        assert_eq!((ours.status, ours.stdout), (theirs.status, theirs.stdout), "{words:?}");
    }
}

/// Writes a role with these commands and options that needs an approval.
fn web(root: &PrivateRoot, commands: &str, more: &str) {
    let text = format!(
        "[roles.web]\neligible = [\"alice\"]\ncommands = {commands}\nauthenticate = false\n{more}\n\
         [roles.web.activation]\nrequire_approval = true\napprovers = [\"bob\"]\n"
    );
    root.add_policy("web", &text);
}

/// Returns an approved grant of alice.
fn approved(root: &PrivateRoot, asked: &[&str], narrowed: &[&str]) -> String {
    let id = id(&request(root, &root.user("alice"), "web", asked));
    root.run_as("bob", [&["jitctl", "approve", &id], narrowed].concat()).succeeded();
    id
}

/// Returns what alice may run now, as `-l` lists it in this directory.
fn may_run(root: &PrivateRoot, directory: &str) -> Vec<String> {
    let listed = root.command("alice", ["jit-sudo", "-n", "-l"]).cwd(directory).run();
    let now = listed.stdout.split("may activate the following").next().unwrap_or_default().to_owned();
    now.lines().filter(|line| line.starts_with("    (")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_listing_shows_what_a_grant_permits() {
    let root = own_root();
    let runs = |directory: &str, words: &[&str]| {
        root.command("alice", [&["jit-sudo", "-n"][..], words].concat()).cwd(directory).run().status.code() == Some(0)
    };
    let release = || root.run_as("alice", ["jitctl", "release"]).succeeded().to_owned();

    // An exact grant is one command.
    web(&root, "\"ALL\"", "run_as = \"ALL\"\nrun_as_groups = \"ALL\"");
    approved(&root, &["-u", "daemon", "-g", "www-data", "--", "X=1", "/usr/bin/id", "-u"], &["--exact"]);
    assert_eq!(may_run(&root, "/"), [format!("(daemon : www-data) CWD={} NOPASSWD: /usr/bin/id -u", "/home/alice")]);
    let long = root.run_as("alice", ["jit-sudo", "-n", "-ll"]);
    for line in ["    RunAsUsers: daemon\n", "    RunAsGroups: www-data\n", "    Commands:\n\t/usr/bin/id -u\n"] {
        assert!(long.succeeded().contains(line), "{line:?} in {long:?}");
    }
    assert!(long.stdout.contains("may activate the following roles"), "the whole role is not given: {long:?}");
    release();
    let edit = approved(&root, &["--", "sudoedit", "/etc/motd"], &["--exact"]);
    assert_eq!(may_run(&root, "/"), ["(root) NOPASSWD: sudoedit /etc/motd"]);
    let shown = root.run_as("bob", ["jitctl", "show", &edit]);
    assert!(!shown.succeeded().contains("directory") && !shown.stdout.contains("sha256"), "{shown:?}");
    release();
    root.script("cp /usr/bin/id /usr/local/bin/own");
    approved(&root, &["--", "/usr/local/bin/own"], &["--exact"]);
    assert_eq!(may_run(&root, "/").len(), 1);
    // A grant of a role that does not allow the command any more, or for a program that was replaced, lists nothing.
    web(&root, "[\"/usr/bin/uname\"]", "");
    assert_eq!(may_run(&root, "/"), [""; 0]);
    web(&root, "[\"/usr/local/bin/own\"]", "");
    assert_eq!(may_run(&root, "/").len(), 1);
    root.script("echo >>/usr/local/bin/own");
    assert_eq!(may_run(&root, "/"), [""; 0]);
    release();

    // A grant of a role that has changed gives what the role allowed then and allows now.
    web(&root, "[\"/usr/bin/id **\", \"/usr/bin/date\"]", "");
    approved(&root, &[], &[]);
    assert_eq!(may_run(&root, "/"), ["(root) NOPASSWD: /usr/bin/id **, /usr/bin/date"]);
    web(&root, "\"ALL\"", "setenv = true\nrun_as = \"ALL\"");
    assert_eq!(may_run(&root, "/"), ["(root) NOSETENV: NOPASSWD: /usr/bin/id **, /usr/bin/date"]);
    assert!(
        runs("/", &["id"]) && !runs("/", &["uname"]) && !runs("/", &["X=1", "id"]) && !runs("/", &["-u", "bob", "id"])
    );
    web(&root, "[\"/usr/bin/uname\", \"/usr/bin/id -u\"]", "noexec = true");
    assert_eq!(may_run(&root, "/"), ["(root) NOEXEC: NOPASSWD: /usr/bin/id -u"]);
    assert!(runs("/", &["id", "-u"]) && !runs("/", &["id"]) && !runs("/", &["uname"]));
    web(&root, "[\"/usr/bin/uname\"]", "");
    assert_eq!(may_run(&root, "/"), [""; 0]);
    release();

    // A grant that has not started gives nothing yet.
    web(&root, "\"ALL\"", "");
    approved(&root, &["--at", "+2h"], &[]);
    assert!(!runs("/", &["id"]));
    assert_eq!(may_run(&root, "/"), [""; 0]);
    let listed = root.as_root(["jit-sudo", "-l", "-U", "alice"]);
    assert!(!listed.succeeded().contains("may run the following"), "{listed:?}");
}
