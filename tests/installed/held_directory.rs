//! A user who may list a directory can keep every other process from using it: the kernel holds the lock of a directory while it
//! writes the names to memory of the user, which may be a page that is never delivered. No run, no end of a grant and no log of
//! the database depends on a directory that other users may list; nor the log on a name service, which may be as silent.

use std::time::{Duration, Instant};

use harness::{Output, Person, PrivateRoot, eventually};

use crate::outliving::add_silent_directory;
use crate::unanswered::install;
use crate::{id, own_root, request};

/// How long a command may take on a busy machine; one that waits for a directory does not end.
const AT_ONCE: Duration = Duration::from_secs(10);

const CONFIGURATION: &str = "/etc/jit-sudo";

/// Returns a root with a copy of the configuration on a file system of its own: in the overlay of the root, other directories than
/// those of the installation would be held.
fn with_own_configuration() -> PrivateRoot {
    let root = own_root();
    install_tool(&root);
    root.script(&format!("cp -a {CONFIGURATION} /run/configuration; mount --bind /run/configuration {CONFIGURATION}"));
    root
}

/// Installs what [`hold`] needs.
pub(crate) fn install_tool(root: &PrivateRoot) {
    install(root, "held_directory.py", include_str!("held_directory.py"));
}

/// Has this user hold a directory. Returns whether that was possible. It is held as long as the root.
pub(crate) fn hold(root: &PrivateRoot, person: &Person, directory: &str) -> bool {
    hold_name(root, person, directory, "")
}

/// Does the same so that only the look-up of this name waits, if it is not empty.
pub(crate) fn hold_name(root: &PrivateRoot, person: &Person, directory: &str, name: &str) -> bool {
    let prefix = format!("/tmp/{}", directory.replace('/', "-"));
    let tool = format!("unshare -Urm python3 /usr/local/lib/held_directory.py {prefix} {directory} {name}");
    root.run_as(&person.name, ["sh", "-c", &format!("{tool} </dev/null >/dev/null 2>&1 &")]).succeeded();
    eventually(&format!("{directory} is held or refused"), harness::PATIENCE, || {
        let is_marked = |what: &str| root.path(&format!("{prefix}.{what}")).exists();
        (is_marked("held") || is_marked("refused")).then(|| is_marked("held"))
    })
}

/// Runs the command as this user, and kills it after [`AT_ONCE`] if it waits.
fn at_once(root: &PrivateRoot, user: &str, words: &[&str]) -> Output {
    let limit = AT_ONCE.as_secs().to_string();
    root.run_as(user, [&["timeout", "-s", "KILL", &limit], words].concat())
}

#[test]
fn no_run_and_no_end_waits_for_a_directory_of_the_configuration() {
    let root = with_own_configuration();
    let (person, other) = (root.person(&["self-service"]), root.person(&[]));
    let grant = id(&request(&root, &person, "self-service", &["--for", "10m"]));
    root.write("/etc/jit-sudo/hooks.d/10-file", 0o755, "#!/bin/sh\ncat >>/tmp/events\n");
    root.script("install -d -m 1777 /tmp; install -m 666 /dev/null /tmp/events");
    for directory in ["policy.d", "hooks.d", ""] {
        let directory = format!("{CONFIGURATION}/{directory}");
        let is_held = hold(&root, &other, directory.trim_end_matches('/'));
        at_once(&root, "root", &["jit-sudo", "-n", "true"]).succeeded();
        at_once(&root, &person.name, &["jit-sudo", "-n", "true"]).succeeded();
        at_once(&root, "root", &["jitctl", "sweep"]).succeeded();
        assert!(!is_held, "{directory}");
    }
    at_once(&root, "root", &["jitctl", "revoke", &grant, "--reason", "over"]).succeeded();
    at_once(&root, &person.name, &["jit-sudo", "-n", "true"]).refused("");
    eventually("a hook ran", harness::PATIENCE, || root.read("/tmp/events").contains("revocation").then_some(()));
}

#[test]
fn a_policy_directory_that_others_may_list_is_refused_and_locks_nobody_out() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    let grant = id(&request(&root, &person, "self-service", &["--for", "10m"]));
    let directory = "/etc/jit-sudo/policy.d";
    let cure = format!("chmod 700 {directory}");
    for mode in ["755", "711", "704", "750 -g adm"] {
        let (mode, group) = mode.split_once(" -g ").unwrap_or((mode, "root"));
        root.script(&format!("chgrp {group} {directory}; chmod {mode} {directory}"));
        let sentence = format!("{directory} is open to other users (mode 0{mode})");
        for user in ["root", &person.name] {
            let said = root.run_as(user, ["jit-sudo", "-n", "true"]);
            assert!(said.refused(&sentence).contains(&cure), "{said:?}");
        }
        let checked = root.as_root(["jitctl", "policy", "check"]);
        assert!(checked.refused(&sentence).contains(&format!("chmod 700 {directory}")), "{checked:?}");
    }
    // A grant is ended all the same, and the cure is what the message says.
    let said = root.as_root(["jitctl", "revoke", &grant, "--reason", "over"]);
    said.succeeded();
    assert!(said.stderr.contains("is open to other users") && said.stderr.contains("chmod 700"), "{said:?}");
    for mode in ["750", "710", "700"] {
        root.script(&format!("chgrp root {directory}; chmod {mode} {directory}"));
        root.as_root(["jit-sudo", "-n", "true"]).succeeded();
    }
    // Users see what the policy allows them through the broker.
    assert!(root.run_as(&person.name, ["jitctl", "roles"]).succeeded().contains("self-service"));
}

#[test]
fn an_installation_closes_the_directories() {
    let root = own_root();
    root.script("chmod 755 /etc/jit-sudo /etc/jit-sudo/policy.d /etc/jit-sudo/hooks.d");
    let profile = std::env::var("PROFILE").unwrap_or_else(|_| "dev".to_owned());
    root.command("root", ["sh", "-c", crate::host::INSTALL]).env("PROFILE", profile).run().succeeded();
    assert_eq!(root.script("stat -c %a /etc/jit-sudo /etc/jit-sudo/policy.d /etc/jit-sudo/hooks.d"), "711\n700\n711\n");
    root.as_root(["jit-sudo", "-n", "true"]).succeeded();
}

/// The length of the log of the database, in bytes.
fn log(root: &PrivateRoot) -> u64 {
    std::fs::metadata(root.path("/var/lib/jit-sudo/journal.db-wal")).unwrap().len()
}

#[test]
fn the_log_of_the_database_does_not_wait_for_a_directory_of_the_caller() {
    let root = with_own_configuration();
    let person = root.person(&[]);
    root.script(&format!("install -d -o {0} /run/of-{0}; for i in $(seq 100); do jit-sudo -n true; done", person.name));
    let before = log(&root);
    let directory = format!("/run/of-{}", person.name);
    assert!(hold(&root, &person, &directory));
    let program = format!("{directory}/program");
    let waiting = [
        format!("jit-sudo -n {program}"),
        format!("SHELL={program} jit-sudo -n -s"),
        format!("cd {directory} && jit-sudo -n ./program"),
        format!("jit-sudo -n -e {program}"),
        format!("EDITOR={program} jit-sudo -n -e /etc/motd"),
        format!("jit-sudo -n -D {directory}/sub id"),
        format!("jit-sudo -n -l {program}"),
        format!("jitctl why -- {program}"),
    ];
    for words in &waiting {
        root.run_as(&person.name, ["sh", "-c", &format!("({words}) </dev/null >/dev/null 2>&1 &")]).succeeded();
    }
    let hanging = "grep -l '^State:.D' /proc/[0-9]*/status 2>/dev/null | xargs -r grep -l '^Name:.jit-sudo' | wc -l";
    eventually("they wait", harness::PATIENCE, || {
        root.script(hanging).trim().parse::<u32>().ok().filter(|count| *count >= 4).map(drop)
    });
    does_not_grow(&root, before);
}

/// The log, which had this length, is reset again and again by runs of root.
fn does_not_grow(root: &PrivateRoot, before: u64) {
    root.script("for i in $(seq 300); do jit-sudo -n true; done");
    let after = log(root);
    assert!(after <= before.max(1 << 20), "the log grew from {before} to {after} bytes");
}

/// A group that the files do not know is asked for in a directory that never answers.
#[test]
fn the_log_of_the_database_does_not_wait_for_a_name_service() {
    let root = own_root();
    add_silent_directory(&root, false);
    let person = root.person(&[]);
    root.script("for i in $(seq 100); do jit-sudo -n true; done");
    let before = log(&root);
    let ids = root.script(&format!("id -u {0}; id -g {0}", person.name));
    let (uid, gid) = ids.trim().split_once('\n').unwrap();
    let waiting =
        format!("setpriv --reuid {uid} --regid {gid} --groups 64999 jit-sudo -n id >/dev/null 2>&1 </dev/null &");
    root.script("printf 'jit-sudo\\n' > /run/hang");
    root.script(&format!("setsid {waiting}"));
    eventually("it asks in vain", harness::PATIENCE, || {
        (root.script("test ! -e /run/hangs || echo yes").trim() == "yes").then_some(())
    });
    does_not_grow(&root, before);
    root.script("rm /run/hang");
}

/// A line of the policy for a file in this directory that is rotated soon.
fn file_in(directory: &str) -> String {
    let file = format!("json_file = \"{directory}/audit.jsonl\"");
    format!("[audit]\n{file}\njson_file_size = \"8K\"\njson_file_count = 3\n")
}

#[test]
fn no_end_waits_for_the_directory_of_the_log_file() {
    let root = with_own_configuration();
    let (person, other) = (root.person(&["self-service"]), root.person(&[]));
    root.script("install -d -m 755 /run/logs");
    root.write("/etc/jit-sudo/policy.d/file.toml", 0o640, file_in("/run/logs"));
    let grant = id(&request(&root, &person, "self-service", &["--for", "10m"]));
    let command = "jit-sudo -n sh -c 'trap \"\" TERM; while :; do sleep 4711; done' </dev/null >/dev/null 2>&1 &";
    root.run_as(&person.name, ["sh", "-c", command]).succeeded();
    let lives = || root.script("pgrep -fxc 'sleep 4711' || :").trim() == "1";
    eventually("the command runs", harness::PATIENCE, || lives().then_some(()));
    hold(&root, &other, "/run/logs");
    for _ in 0..3 {
        let _ = at_once(&root, "root", &["jit-sudo", "-n", "true", &"x".repeat(3000)]);
    }
    let begun = Instant::now();
    let reason = "y".repeat(3000);
    at_once(&root, "root", &["jitctl", "revoke", &grant, "--reason", &reason]).succeeded();
    eventually("the command ends", harness::PATIENCE, || (!lives()).then_some(()));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[test]
fn a_log_file_where_others_may_list_is_reported_and_not_written() {
    let root = own_root();
    root.script("install -d -m 755 /var/log/jit-sudo");
    root.write("/etc/jit-sudo/policy.d/file.toml", 0o640, file_in("/var/log/jit-sudo"));
    let cure = "chmod o= /var/log/jit-sudo";
    let checked = root.as_root(["jitctl", "policy", "check"]);
    let said = checked.refused("/var/log/jit-sudo is open to other users (mode 0755)");
    assert!(said.contains(cure), "{said}");
    root.as_root(["jit-sudo", "-n", "true"]).succeeded();
    assert!(root.script("ls /var/log/jit-sudo").is_empty());
    let findings = root.as_root(["jitctl", "--json", "doctor"]).json().to_string();
    assert!(findings.contains("is open to other users") && findings.contains(cure), "{findings}");
    let alerts = || {
        let is_told = |record: &harness::Record| record.text("code") == "log-file-open";
        root.journal().iter().filter(|record| record.kind() == "alert" && is_told(record)).count()
    };
    root.as_root(["jitctl", "sweep"]).succeeded();
    root.as_root(["jitctl", "sweep"]).succeeded();
    assert_eq!(alerts(), 1);
    root.script(cure);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    root.as_root(["jit-sudo", "-n", "true"]).succeeded();
    let lines = root.read("/var/log/jit-sudo/audit.jsonl");
    assert!(lines.contains("log-file-open"), "the file gets what it has missed: {lines}");
}
