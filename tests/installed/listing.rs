//! `-l` and `-ll` beside Debian's sudo under the same rules: the same lines, broken at the same places.

use crate::own_root;

const SUDOERS: &str = r#"
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", use_pty
root ALL=(ALL:ALL) ALL
alice ALL=(ALL:ALL) SETENV: NOPASSWD: ALL
bob ALL=(root, carol : web) SETENV: NOPASSWD: /usr/bin/id "", !/usr/bin/id -g
bob ALL=(root) CWD=/usr TIMEOUT=90 SETENV: NOEXEC: /usr/bin/env "", sudoedit /etc/motd, /usr/bin/systemctl restart nginx
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
commands      = ["/usr/bin/id", "!/usr/bin/id -g"]
order         = 1

[roles.strict]
standing        = ["bob"]
setenv          = true
noexec          = true
runcwd          = "/usr"
command_timeout = "90s"
commands        = ["/usr/bin/env", "sudoedit /etc/motd", "/usr/bin/systemctl restart nginx"]
order           = 2
"#;

/// What both may say differently: where an entry stands, and how no arguments are written.
fn lines(text: &str) -> Vec<String> {
    let line = |line: &str| line.split(" /etc/jit-sudo/").next().unwrap().replace(" \"\"", "");
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
            // Where an entry stands is a long line of ours.
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
