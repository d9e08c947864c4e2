//! `jitctl policy import` in the installed product: decisions and runs are the same as with sudo, and everything that cannot be
//! converted is reported.

mod carried;
mod compare;
mod corpus;
mod generator;
mod reading;
mod trust;

use std::path::Path;
use std::time::Duration;

use harness::{Output, PrivateRoot, project};

use crate::own_root;

/// The environment variable with `FILES SEED`: what is compared.
const WANTED: &str = "IMPORT_COMPARE";

/// Runs [`inside`] in a root of its own, by starting this program inside that root.
fn compared(wanted: &str, patience: Duration) -> String {
    let root = PrivateRoot::start();
    root.script("mkdir -p /root/corpus");
    for file in std::fs::read_dir(project().join("tests/installed/import/corpus")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        root.write(&format!("/root/corpus/{name}"), 0o600, std::fs::read_to_string(file.path()).unwrap());
    }
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
    if let Some(questions) = wanted.strip_prefix("corpus ") {
        compare::prepare();
        return corpus::compare_all(Path::new("/root/corpus"), questions.parse().unwrap());
    }
    let (files, seed) = wanted.split_once(' ').unwrap();
    compare::compare_many(files.parse().unwrap(), seed.parse().unwrap());
}

#[test]
fn generated_sudoers_have_sudos_answers() {
    let said = compared("60 11", Duration::from_secs(120));
    assert!(said.contains("60 sudoers files with 480 questions") && said.contains(" 0 differences"), "{said}");
}

#[test]
fn sudoers_in_the_style_of_real_ones_have_sudos_answers() {
    let said = compared("corpus 8", Duration::from_secs(200));
    assert!(said.contains(" 0 differences"), "{said}");
}

#[test]
#[ignore = "two minutes: make import-corpus"]
fn more_questions_about_them_have_sudos_answers() {
    print!("{}", compared("corpus 60", Duration::from_secs(1200)));
}

#[test]
#[ignore = "ten minutes: make import-compare"]
fn many_generated_sudoers_have_sudos_answers() {
    let wanted = std::env::var(WANTED).unwrap_or_else(|_| "5000 1".to_owned());
    print!("{}", compared(&wanted, Duration::from_secs(7200)));
}

/// Returns a root with this sudoers file, imported in place of the installed policy, and the output of jitctl.
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
fn equal_roles_are_one_role_with_a_name_and_its_lines() {
    let (root, output) = imported(
        "Defaults:nagios !requiretty\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n\
         Cmnd_Alias WEB_CTL = /usr/bin/systemctl restart nginx, /usr/bin/systemctl reload nginx\n\
         alice ALL=WEB_CTL\nalice ALL=(www-data) NOPASSWD: /usr/bin/id\nnagios ALL=NOPASSWD: /usr/bin/id\n\
         nagios ALL=NOPASSWD: /usr/bin/whoami\nbob ALL=/usr/bin/systemctl restart cups\nbob ALL=(ALL) NOPASSWD: /usr/bin/id\n\
         carol ALL=NOPASSWD: /usr/bin/id\ncarol ALL=(ALL) ALL\n",
        &[],
    );
    output.succeeded();
    let named: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with(['#', '['])).skip(2).collect();
    assert_eq!(
        named,
        [
            "# /etc/sudoers:2, /etc/sudoers:3",
            "[roles.sudo]",
            "# /etc/sudoers:5",
            "[roles.alice-web-ctl]",
            "# /etc/sudoers:6",
            "[roles.alice-id-as-www-data]",
            "# /etc/sudoers:7, /etc/sudoers:8",
            "[roles.nagios]",
            "# /etc/sudoers:9",
            "[roles.bob-systemctl-restart-cups]",
            "# /etc/sudoers:10",
            "[roles.bob-id]",
            "# /etc/sudoers:12",
            "[roles.carol]",
        ],
        "{}",
        output.stdout
    );
    assert!(!output.stdout.contains("requiretty") && !output.stdout.contains("order"), "{}", output.stdout);
    let told = "jitctl: note: /etc/sudoers:11: the rule never decides: that of /etc/sudoers:12 comes later";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    root.run_as("carol", ["jit-sudo", "-n", "id"]).refused("a password is required");
}

/// root needs no password, so the line of a distribution and that of its cloud images are one role.
#[test]
fn root_is_in_the_role_that_differs_only_by_the_password() {
    let (root, output) =
        imported("root ALL=(ALL:ALL) ALL\n%wheel ALL=(ALL:ALL) NOPASSWD: ALL\nalice ALL=(ALL) ALL\n", &[]);
    assert!(output.succeeded().contains("[\"root\", \"%wheel\"]"), "{}", output.stdout);
    root.script("groupadd --force wheel; usermod -aG wheel bob");
    for person in ["root", "bob", "alice"] {
        for words in [
            &["-n", "id", "-u"][..],
            &["-n", "-u", "carol", "id", "-un"],
            &["-n", "-u", "carol", "-g", "sys", "id", "-gn"],
        ] {
            let said = |program: &str| {
                let output = root.run_as(person, [&[program][..], words].concat());
                (output.status.code(), output.stdout)
            };
            assert_eq!(said("jit-sudo"), said("sudo"), "{person} {words:?}");
        }
    }
}

/// The links of docs/zero-standing.md, and the command of docs/import.md that undoes them.
#[test]
fn one_command_leads_back_to_sudo() {
    let (root, output) = imported("alice ALL=NOPASSWD: ALL\n", &[]);
    output.succeeded();
    let page = std::fs::read_to_string(project().join("docs/import.md")).unwrap();
    let back =
        page.lines().find(|line| line.contains("`ln -s")).and_then(|line| line.rsplit('`').nth(1)).unwrap().to_owned();
    let version = |program: &str| {
        let path = "/usr/local/bin:/usr/bin:/bin";
        root.run_as("alice", ["env", &format!("PATH={path}"), program, "-V"]).succeeded().to_owned()
    };
    let before = ["sudo", "sudoedit"].map(version);
    for name in ["sudo", "sudoedit"] {
        root.script(&format!("ln -s /usr/bin/jit-{name} /usr/local/bin/{name}"));
        assert!(version(name).contains("jit-sudo"), "{name}");
    }
    assert_eq!(root.run_as("alice", ["/usr/local/bin/sudo", "-n", "id", "-u"]).succeeded(), "0");
    root.script(&back);
    assert_eq!(["sudo", "sudoedit"].map(version), before);
    assert_eq!(root.run_as("alice", ["sudo", "-n", "id", "-u"]).succeeded(), "0");
}

/// An active role either runs a command, or names it as an exception.
#[test]
fn with_eligible_no_role_seems_to_allow_what_it_refuses() {
    let (root, output) = imported(
        "%ops ALL=(ALL) ALL\n%ops ALL=(ALL) NOPASSWD: /usr/bin/whoami\n%web ALL=(ALL) NOPASSWD: ALL\n\
         %web ALL=(ALL) PASSWD: /usr/bin/id\n",
        &["--eligible"],
    );
    output.succeeded();
    assert!(output.stdout.contains("[\"ALL\", \"!/usr/bin/id **\"]"), "{}", output.stdout);
    let (ops, web) = (root.person(&["ops"]), root.person(&["web"]));
    assert_eq!(crate::request(&root, &ops, "ops", &[])["grant"], "active");
    assert_eq!(crate::request(&root, &web, "web", &[])["grant"], "active");
    // With the password of the broader role.
    root.run_as(&ops.name, ["jit-sudo", "-n", "whoami"]).refused("a password is required");
    assert_eq!(root.run_as(&web.name, ["jit-sudo", "-n", "whoami"]).succeeded(), "root");
    root.run_as(&web.name, ["jit-sudo", "-n", "id"]).refused("not allowed");
}

#[test]
fn unsupported_lines_are_reported_by_file_and_line() {
    let (root, output) = imported(
        "@includedir /etc/sudoers.parts\nDefaults mailto=x, no_such_setting\nalice ALL=(root) CHROOT=/srv /usr/bin/id\nbob ALL=ls\n\
         carol ALL=(root) NOPASSWD: ALL, !/usr/bin/id ^(-u)\\1$\n",
        &[],
    );
    output.exited(1);
    for line in [
        "jitctl: note: /etc/sudoers:2: Defaults mailto=x: has no counterpart, and changes no answer",
        "jitctl: /etc/sudoers:2: Defaults no_such_setting: has no counterpart",
        "jitctl: /etc/sudoers:3: CHROOT=/srv: has no counterpart; what it allows is denied",
        "jitctl: /etc/sudoers:4: a line that sudo rejects: 'ls' is not a command with its whole path",
        "jitctl: /etc/sudoers:5: command /usr/bin/id ^(-u)\\\\1$: the expression ^(-u)\\\\1$: '\\\\1' has no counterpart; all of \
         /usr/bin/id is denied instead",
        "jitctl: 4 things are not converted; the rest is the policy",
    ] {
        assert!(output.stderr.lines().any(|said| said == line), "{line}\n{}", output.stderr);
    }
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("not allowed");
    root.run_as("carol", ["jit-sudo", "-n", "id", "-u"]).refused("not allowed");
    assert_eq!(root.run_as("carol", ["jit-sudo", "-n", "whoami"]).succeeded(), "root");
}

#[test]
fn includes_are_read_at_their_position() {
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
    assert_eq!(places, ["parts.d/10:1, /etc/parts.d/20:1", "for-web1:1"], "{}", output.stdout);
    assert!(output.stdout.contains("\"!/usr/bin/id **\", \"/usr/bin/id **\""), "{}", output.stdout);
}

/// Whether a program allows, rejects or requires a password for the command, and what the command prints.
fn said_by(root: &PrivateRoot, program: &str, person: &str, words: &[&str]) -> (Option<i32>, String, bool) {
    let output = root.run_as(person, [&[program, "-n"][..], words].concat());
    let asked = output.stderr.contains("a password is required");
    (output.status.code(), output.stdout, asked)
}

#[test]
fn debians_own_sudoers_becomes_a_policy() {
    let root = own_root();
    root.script("rm -f /etc/sudoers.d/tests /etc/jit-sudo/policy.d/*");
    let output = root.as_root(["jitctl", "policy", "import"]);
    root.write("/etc/jit-sudo/policy.toml", 0o600, &output.stdout);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    output.succeeded();
    let told: Vec<&str> = output.stderr.lines().filter(|line| line.contains("/etc/sudoers:")).collect();
    assert!(told.len() == 1 && told[0].starts_with("jitctl: note: ") && told[0].contains("mail_badpass"), "{output:?}");
    let admin = root.person(&["sudo"]);
    let line = format!("{}\n", admin.password);
    let run = root.command(&admin.name, ["jit-sudo", "-S", "-u", "bob", "-g", "ops", "id", "-un"]);
    root.script("getent group ops || groupadd ops");
    assert_eq!(run.stdin(line).run().succeeded(), "bob");
    root.run_as(&admin.name, ["jit-sudo", "-k"]).succeeded();
    root.run_as(&admin.name, ["jit-sudo", "-n", "id"]).refused("a password is required");
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("not allowed");
    assert_eq!(root.as_root(["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
}

#[test]
fn the_sudoers_of_a_company_has_the_same_answers_as_a_policy() {
    let root = own_root();
    root.script(
        "for name in wheel helpdesk web; do groupadd $name; done; for name in dba jenkins nagios; do useradd $name; done
         useradd -u 1999 service; useradd -G helpdesk helper; useradd -G wheel wheeler; usermod -aG helpdesk carol
         touch /var/log/app.log; rm -f /etc/sudoers.d/* /etc/jit-sudo/policy.d/*",
    );
    root.write("/etc/sudoers", 0o440, include_str!("import/company.sudoers"));
    root.script("visudo -qc");
    let output = root.as_root(["jitctl", "policy", "import"]);
    // Only the warning about its last line.
    output.exited(1);
    let warning = "warning: /etc/sudoers:37: -g without -u runs the command as the caller";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
    assert!(output.stderr.contains("1 thing is not converted"), "{}", output.stderr);
    root.write("/etc/jit-sudo/policy.toml", 0o600, &output.stdout);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    assert!(output.stderr.contains("note: /etc/sudoers:6: Defaults logfile=/var/log/sudo.log"), "{}", output.stderr);
    let mut allowed = 0;
    for person in ["alice", "bob", "carol", "jenkins", "service", "helper", "wheeler", "nagios"] {
        for words in [
            &["id", "-u"][..],
            &["bash", "-c", "id"],
            &["su"],
            &["-u", "dba", "id", "-u"],
            &["-u", "dba", "env"],
            &["systemctl", "restart", "nginx"],
            &["systemctl", "restart", "ssh"],
            &["systemctl", "status", "a", "b"],
            &["FOO=1", "printenv", "FOO"],
            &["passwd", "root"],
            &["passwd", "bob"],
            &["tail", "-n", "5", "/var/log/app.log"],
            &["grep", "-c", "x", "/var/log/app.log"],
            &["grep", "-c", "x", "/etc/shadow"],
            &["whoami"],
            &["ls"],
            &["ls", "/root"],
            &["seq", "1", "3"],
            &["seq", "1", "9"],
            &["tac", "/etc/shadow"],
            &["-u", "bob", "-g", "web", "id", "-gn"],
            &["true"],
        ] {
            let (theirs, ours) = (said_by(&root, "sudo", person, words), said_by(&root, "jit-sudo", person, words));
            // sudo asks users without rules for a password before it refuses.
            let may = root.as_root([&["sudo", "-n", "-l", "-U", person][..], words].concat()).status.code() == Some(0);
            if may || ours.0 == Some(0) {
                allowed += 1;
                let printed =
                    |said: &(_, String, _)| if words.contains(&"env") { String::new() } else { said.1.clone() };
                assert_eq!((ours.0, ours.2), (theirs.0, theirs.2), "{person} {words:?}");
                assert_eq!(printed(&ours), printed(&theirs), "{person} {words:?}");
            }
        }
    }
    assert!(allowed > 40, "{allowed}");
    let umask = root.as_root(["jit-sudo", "-n", "-u", "dba", "sh", "-c", "umask"]);
    assert_eq!(umask.succeeded(), root.as_root(["sudo", "-n", "-u", "dba", "sh", "-c", "umask"]).succeeded());
}

#[test]
fn a_tag_is_stronger_than_a_setting_for_some() {
    let (root, output) = imported(
        "Defaults:alice !authenticate\nDefaults!/usr/bin/whoami !authenticate\nDefaults>bob !authenticate\n\
         alice ALL = PASSWD: /usr/bin/id, /usr/bin/whoami\nbob ALL = /usr/bin/id, PASSWD: /usr/bin/whoami\n\
         carol ALL = (bob, root) /usr/bin/id, /usr/bin/whoami\n",
        &[],
    );
    output.succeeded();
    for person in ["alice", "bob", "carol"] {
        for words in [&["id", "-u"][..], &["whoami"], &["-u", "bob", "id", "-u"]] {
            let (theirs, ours) = (said_by(&root, "sudo", person, words), said_by(&root, "jit-sudo", person, words));
            if theirs.0 == Some(0) || ours.0 == Some(0) {
                assert_eq!(ours, theirs, "{person} {words:?}");
            }
        }
    }
}

#[test]
fn hostile_files_get_a_line_and_change_nothing() {
    let root = own_root();
    let policy = root.script("cat /etc/jit-sudo/policy.toml");
    root.script(
        "cd /root; mkfifo fifo; mkdir dir; head -c 17000000 /dev/zero >huge; head -c 10000000 /dev/zero | tr '\\0' a >line
         yes 'alice ALL=/bin/ls' | head -n 100000 >rules; yes 'alice ALL=(bob /x' | head -c 1000000 >wrong
         echo '@include /root/loop' >loop; printf '@includedir /root/loops\nalice ALL=ALL\n' >loops.in; mkdir loops
         cp loops.in loops/a; cp loops.in loops/b
         printf 'alice ALL=/bin/ls\\0 x\nbob ALL=ALL\n' >nul; printf 'Defaults x=\"abc\nbob ALL=ALL\n' >quotes
         printf 'User_Alias A = A, B\nUser_Alias B = A\nA ALL = ALL\n' >aliases; printf '\\377\\376 \\200=ALL' >bytes",
    );
    let import = |file: &str| {
        root.command("root", ["jitctl", "policy", "import", file]).patience(Duration::from_secs(120)).run()
    };
    for (file, said) in [
        ("/root/missing", "jitctl: cannot read /root/missing: no such file or directory"),
        ("/root/fifo", "jitctl: cannot read /root/fifo: it is not a file"),
        ("/root/dir", "jitctl: cannot read /root/dir: it is not a file"),
        ("/root/huge", "jitctl: cannot read /root/huge: it is longer than 16 MiB"),
    ] {
        let output = import(file);
        output.exited(1);
        assert_eq!((output.stdout.as_str(), output.stderr.trim_end()), ("", said));
    }
    for (file, said) in [
        ("/root/loop", "/root/loop:1: /root/loop is included too deep"),
        ("/root/loops.in", "is included too deep, or there are more than 2000 files"),
        ("/root/quotes", "/root/quotes:1: a line that sudo rejects: a line break between quotes"),
        ("/root/line", "/root/line:1: a line that sudo rejects"),
        ("/root/wrong", "/root/wrong:50000: a line that sudo rejects"),
        ("/root/aliases", "/root/aliases:3: alias A refers to itself"),
        ("/root/bytes", "/root/bytes:1: a member of a list"),
    ] {
        let output = import(file);
        output.exited(1);
        assert!(output.stderr.contains(said), "{file}: {}", output.stderr.chars().take(2000).collect::<String>());
        assert!(!output.stderr.contains("panicked"), "{file}");
        assert!(output.stderr.lines().all(|line| line.len() < 500), "{file}");
    }
    import("/root/nul").succeeded();
    assert!(import("/root/rules").status.success());
    root.run_as("alice", ["jitctl", "policy", "import"]).refused("cannot read /etc/sudoers: permission denied");
    assert_eq!(root.script("cat /etc/jit-sudo/policy.toml"), policy);
}

#[test]
fn random_bytes_never_break_the_importer() {
    let root = own_root();
    root.script(
        "set -e; cd /root; for seed in $(seq 40); do
             { head -c 300 /dev/urandom; head -c $((seed * 20)) /etc/sudoers; head -c 200 /dev/urandom; tail -n 3 /etc/sudoers; } >random
             status=0; jitctl policy import random >random.toml 2>random.told || status=$?
             test $status -le 1; ! grep panicked random.told; jitctl policy check random.toml >/dev/null
         done",
    );
}
