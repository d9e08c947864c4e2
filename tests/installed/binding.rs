//! The command that was judged is the command that runs, although callers exchange files, links and directories meanwhile. Each
//! race is run at least 500 times; a program that runs as root writes that into a file.

use std::time::Duration;

use harness::{Person, PrivateRoot, Record};

use crate::{id, own_root, records_of, request};

const TRIES: usize = 500;

/// How many times these attempts are made at most, where they must meet both of two states.
const ROUNDS: usize = 5;

const POLICY: &str = r#"
[roles.by-path]
standing     = ["%by-path"]
commands     = ["/usr/bin/true", "/home/*/script"]
authenticate = false

[roles.by-glob]
standing     = ["%by-glob"]
commands     = ["/usr/bin/true", "/home/*/w/*"]
authenticate = false

[roles.by-digest]
standing     = ["%by-digest"]
commands     = [{ path = "ALL", sha256 = "DIGEST" }]
authenticate = false

[roles.by-name]
standing     = ["%by-name"]
commands     = ["/usr/bin/python3 /opt/job.py"]
authenticate = false

[roles.but-python]
standing     = ["%but-python"]
commands     = ["/usr/bin/* **", "!/usr/bin/python3.* **"]
authenticate = false

[roles.but-linked]
standing     = ["%but-linked"]
commands     = ["/opt/app/v2/bin/* **", "/usr/bin/*", "!/opt/app/current/bin/evil **", "!/opt/app/current/bin/b* **", "!/usr/bin/tool"]
authenticate = false

[roles.everything]
standing     = ["%everything"]
commands     = "ALL"
authenticate = false

[roles.by-exact-grant]
eligible     = ["%by-exact-grant"]
commands     = "ALL"
authenticate = false

[roles.by-exact-grant.activation]
require_approval = true
approvers        = ["%approves-exactly"]
"#;

/// Exchanges two names endlessly, as fast as the kernel can (renameat2 with RENAME_EXCHANGE), or with a pause in seconds: an
/// exchange changes a file's ctime, and a file that changed while it was checked does not run. Prints the number of exchanges
/// when it is terminated.
const FLIP: &str = r#"
import ctypes, signal, sys, time
libc, one, two = ctypes.CDLL(None), sys.argv[1].encode(), sys.argv[2].encode()
pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
exchanges = 0
try:
    while True:
        exchanges += libc.renameat2(-100, one, -100, two, 2) == 0
        if pause:
            time.sleep(pause)
finally:
    open("exchanges", "w").write(str(exchanges))
"#;

/// The minimum number of exchanges; with fewer there was no race.
const EXCHANGES: usize = 100;

/// A program that no rule allows: it appends its effective uid to a file that every user may write.
const EVIL: &str = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { FILE *f = fopen(\"/tmp/evil\", \"a\"); \
                    if (f) { fprintf(f, \"%d\\n\", geteuid()); fclose(f); } return 0; }\n";

/// Returns a root with the policy, the tools for races and a program that reports its user.
fn racing_root() -> PrivateRoot {
    let root = own_root();
    let digest = root.script("sha256sum /usr/bin/true | cut -d ' ' -f 1");
    root.add_policy("binding", &POLICY.replace("DIGEST", digest.trim()));
    root.write("/tmp/flip.py", 0o755, FLIP);
    root.write("/tmp/evil.c", 0o644, EVIL);
    root.script("cc -O -o /tmp/evil-program /tmp/evil.c && touch /tmp/evil && chmod 666 /tmp/evil");
    root
}

/// The results of a race.
struct Race {
    succeeded: usize,
    failed: usize,
}

impl Race {
    /// Checks that both exchanged objects were hit: one that runs and one that does not.
    fn met_both(&self) {
        let Self { succeeded, failed } = self;
        assert!(
            *succeeded > 0 && *failed > 0,
            "{succeeded} tries succeeded and {failed} did not: one side was never met"
        );
    }
}

/// Prepares the user's home, and runs the race.
fn race(root: &PrivateRoot, person: &Person, scene: &str, flipped: (&str, &str), command: &str) -> Race {
    set(root, person, scene);
    tried(root, person, flipped, command)
}

fn set(root: &PrivateRoot, person: &Person, scene: &str) {
    root.run_as(&person.name, ["bash", "-c", &format!("cd ~ && mkdir w evil && {scene}")]).succeeded();
}

/// Exchanges `one` and `two` in the user's home, and runs `command` 500 times meanwhile.
fn tried(root: &PrivateRoot, person: &Person, (one, two): (&str, &str), command: &str) -> Race {
    let script = format!(
        "cd ~\n\
         python3 /tmp/flip.py {one} {two} & flip=$!\n\
         ok=0; for i in $(seq {TRIES}); do jit-sudo -n {command} >/dev/null 2>&1 && ok=$((ok + 1)); done\n\
         kill $flip; wait $flip; echo $ok"
    );
    let output = root.command(&person.name, ["bash", "-lc", &script]).patience(Duration::from_secs(240)).run();
    let succeeded = output.succeeded().trim().parse().unwrap_or_else(|_| panic!("{output:?}"));
    exchanged(root, person);
    Race { succeeded, failed: TRIES - succeeded }
}

/// Checks that the names in the user's home were exchanged all the time.
fn exchanged(root: &PrivateRoot, person: &Person) {
    let exchanges = root.read(&format!("{}/exchanges", person.home));
    assert!(exchanges.parse::<usize>().is_ok_and(|count| count >= EXCHANGES), "exchanged {exchanges} times");
}

/// Returns how often the caller's own program ran as root.
fn evil_runs(root: &PrivateRoot) -> usize {
    root.read("/tmp/evil").lines().filter(|uid| *uid == "0").count()
}

/// Returns the runs of the user that executed what `is_meant` selects: recorded, and not rejected before exec.
fn runs_of(root: &PrivateRoot, person: &Person, is_meant: impl Fn(&Record) -> bool) -> usize {
    let records = crate::records_of(root, person);
    let executed = |run: &str| {
        let end = records.iter().find(|record| record.kind() == "end" && record.text("run") == run);
        end.is_some_and(|end| end.text("ended_by") != "not-executed")
    };
    let starts = records.iter().filter(|record| record.kind() == "start" && is_meant(record));
    starts.filter(|start| executed(start.text("run"))).count()
}

/// Checks that only this program ran, and that the records name no other.
fn only(root: &PrivateRoot, person: &Person, path: &str) {
    assert_eq!(evil_runs(root), 0, "the caller's program ran as root");
    assert_eq!(runs_of(root, person, |start| start.text("path") != path), 0);
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_link_that_is_exchanged_leads_to_nothing_else() {
    let root = racing_root();
    let person = root.person(&["by-path"]);
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    let raced = race(&root, &person, scene, ("w/true", "evil/true"), "~/w/true");
    raced.met_both();
    only(&root, &person, "/usr/bin/true");
}

#[test]
fn a_rule_for_a_directory_of_the_caller_runs_what_the_record_names() {
    let root = racing_root();
    let person = root.person(&["by-glob"]);
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    let succeeded = race(&root, &person, scene, ("w/true", "evil/true 0.01"), "~/w/true").succeeded;
    // A real file there is the caller's own, and the rule allows it. Each of its runs has a record that names it.
    let own = format!("{}/w/true", person.home);
    let own_runs = runs_of(&root, &person, |start| start.text("path") == own);
    let good_runs = runs_of(&root, &person, |start| start.text("path") == "/usr/bin/true");
    assert_eq!(own_runs, evil_runs(&root));
    assert_eq!(own_runs + good_runs, succeeded);
    assert!(own_runs > 0 && good_runs > 0, "never exchanged: {own_runs} runs of the one, {good_runs} of the other");
    assert_eq!(runs_of(&root, &person, |start| start.text("path") != own && start.text("path") != "/usr/bin/true"), 0);
}

/// Checks an exact grant for the target of a link, or of a directory, during the approval.
fn an_exact_grant_serves_what_was_approved(scene: &str, flipped: (&str, &str)) {
    let root = racing_root();
    let (person, approver) = (root.person(&["by-exact-grant"]), root.person(&["approves-exactly"]));
    set(&root, &person, scene);
    let program = format!("{}/w/true", person.home);
    let words = ["jitctl", "--json", "request", "--role", "by-exact-grant", "--reason", "r", "--", &program];
    let asked = root.command(&person.name, words).cwd(&person.home).run();
    asked.succeeded();
    let grant = id(&asked.json()["grant"]);
    root.run_as(&approver.name, ["jitctl", "approve", &grant, "--exact"]).succeeded();

    let raced = tried(&root, &person, flipped, "~/w/true");
    raced.met_both();
    only(&root, &person, "/usr/bin/true");
    let digest = root.script("sha256sum </usr/bin/true | cut -d ' ' -f 1");
    let named = |start: &Record| start.text("sha256") == digest.trim() && start.text("grant") == grant;
    assert_eq!(runs_of(&root, &person, named), raced.succeeded, "each start names the program that ran, and the grant");
}

#[test]
fn an_exact_grant_for_an_exchanged_link_permits_only_the_approved_program() {
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    an_exact_grant_serves_what_was_approved(scene, ("w/true", "evil/true"));
}

#[test]
fn an_exact_grant_for_a_link_in_an_exchanged_directory_permits_only_the_approved_program() {
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    an_exact_grant_serves_what_was_approved(scene, ("w", "evil"));
}

#[test]
fn a_digest_is_that_of_the_file_that_runs() {
    let root = racing_root();
    let person = root.person(&["by-digest"]);
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    let raced = race(&root, &person, scene, ("w/true", "evil/true"), "~/w/true");
    raced.met_both();
    only(&root, &person, "/usr/bin/true");
}

#[test]
fn a_program_that_would_never_be_read_to_its_end_is_refused_at_once() {
    let root = racing_root();
    for role in ["by-digest", "by-glob"] {
        let person = root.person(&[role]);
        root.run_as(&person.name, ["sh", "-c", "mkdir ~/w; truncate -s 1T ~/w/true; chmod +x ~/w/true"]).succeeded();
        let began = std::time::Instant::now();
        // A question gets the answer of a run.
        for line in ["jit-sudo -n ~/w/true", "jit-sudo -l ~/w/true"] {
            root.run_as(&person.name, ["bash", "-lc", line]).refused("larger than 4 GiB, the maximum size");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[test]
fn a_directory_that_is_exchanged_is_looked_up_once() {
    let root = racing_root();
    let person = root.person(&["by-path"]);
    let scene = "rmdir w; ln -s /usr/bin w; cp /tmp/evil-program evil/true";
    let raced = race(&root, &person, scene, ("w", "evil"), "~/w/true");
    raced.met_both();
    only(&root, &person, "/usr/bin/true");
}

/// Exchanges two scripts of the user by `flipped`: the record of each run of the second one has its digest.
fn scripts_are_those_of_their_records(scene: &str, flipped: (&str, &str)) {
    let root = racing_root();
    let person = root.person(&["everything"]);
    root.script("touch /tmp/evil-script && chmod 666 /tmp/evil-script");
    let scene = format!(
        "printf '#!/bin/sh\\nexit 0\\n' >good.sh; printf '#!/bin/sh\\nid -u >>/tmp/evil-script\\n' >evil.sh; \
         chmod +x good.sh evil.sh; sha256sum <evil.sh >digest; {scene}"
    );
    race(&root, &person, &scene, flipped, "~/script");
    let digest = root.read(&format!("{}/digest", person.home));
    let digest = digest.split(' ').next().unwrap_or_default();
    let named = runs_of(&root, &person, |start| start.text("sha256") == digest);
    let ran = root.read("/tmp/evil-script").lines().count();
    assert_eq!(named, ran, "the records name {named} runs of the second script, and it ran {ran} times");
    assert!(ran > 0 && ran < TRIES, "the scripts were never exchanged: {ran}");
}

#[test]
fn a_script_behind_a_link_that_is_exchanged_is_the_one_that_was_opened() {
    scripts_are_those_of_their_records(
        "ln -s ~/good.sh script; ln -s ~/evil.sh evil/script",
        ("script", "evil/script"),
    );
}

#[test]
fn a_script_that_is_exchanged_is_the_one_that_was_opened() {
    scripts_are_those_of_their_records("mv good.sh script; mv evil.sh evil/script", ("script", "evil/script 0.01"));
}

#[test]
fn a_script_in_a_place_of_others_needs_a_role_that_allows_everything() {
    let root = racing_root();
    let person = root.person(&["by-path"]);
    root.write(&format!("{}/script", person.home), 0o755, "#!/bin/sh\nid -u\n");
    let output = root.run_as(&person.name, ["jit-sudo", "-n", &format!("{}/script", person.home)]);
    assert_ne!(output.status.code(), Some(0));
    let home = &person.home;
    let sentence =
        format!("jit-sudo: the script cannot be trusted: {home} is owned by uid {}, should be 0\n", person.uid);
    let hint = format!("hint: where your role allows its interpreter: jit-sudo sh {home}/script\n");
    assert_eq!(output.stderr, sentence + &hint, "{output:?}");
}

#[test]
fn a_script_of_root_runs_by_an_interpreter_of_root_or_of_the_run_as_user() {
    let root = racing_root();
    root.add_policy(
        "interpreters",
        "[roles.tool]\nstanding = [\"%tool\"]\nrun_as = [\"root\", \"bob\"]\nauthenticate = false\n\
         commands = [\"/opt/*-tool\"]\n",
    );
    let person = root.person(&["tool"]);
    let home = &person.home;
    root.script(&format!(
        "chmod 755 {home}; install -m 755 -o {0} /usr/bin/env {home}/interp; mkdir -p /srv/bob; \
         install -m 755 -o bob /usr/bin/env /srv/bob/interp; \
         printf '#!{home}/interp sh\\nid -un\\n' >/opt/theirs-tool; printf '#!/srv/bob/interp sh\\nid -un\\n' >/opt/bobs-tool; \
         printf '#!/opt/theirs-tool\\n' >/opt/behind-tool; printf '#!/usr/bin/env sh\\nid -un\\n' >/opt/roots-tool; \
         chmod 755 /opt/*-tool",
        person.name
    ));
    let run = |words: &[&str]| root.run_as(&person.name, [&["jit-sudo", "-n"], words].concat());
    assert_eq!(run(&["/opt/roots-tool"]).succeeded(), "root");
    assert_eq!(run(&["-u", "bob", "/opt/bobs-tool"]).succeeded(), "bob");
    for (words, cause) in [
        (&["/opt/theirs-tool"][..], home.as_str()),
        (&["-u", "bob", "/opt/theirs-tool"], home),
        (&["/opt/behind-tool"], home),
        (&["/opt/bobs-tool"], "/srv/bob/interp"),
    ] {
        let output = run(words);
        let path = words[words.len() - 1];
        let begin = format!("jit-sudo: the interpreter of {path} cannot be trusted: {cause}");
        assert!(output.stderr.starts_with(&begin) && output.stdout.is_empty(), "{output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    }
}

#[test]
fn a_script_with_a_group_that_its_user_lacks_runs_by_an_interpreter_of_root_alone() {
    let root = racing_root();
    root.add_policy(
        "lent-groups",
        "[roles.lent]\nstanding = [\"%lent\"]\nrun_as = [\"ALL\"]\nrun_as_groups = [\"ALL\"]\nauthenticate = false\n\
         commands = [\"/opt/*-tool\"]\n",
    );
    let person = root.person(&["lent"]);
    let (name, home) = (&person.name, &person.home);
    root.script(&format!(
        "groupadd joined; usermod -aG joined {name}; chmod 755 {home}; \
         install -m 755 -o {name} /usr/bin/env {home}/interp; \
         printf '#!{home}/interp sh\\nid -gn\\n' >/opt/own-tool; printf '#!/usr/bin/env sh\\nid -gn\\n' >/opt/roots-tool; \
         chmod 755 /opt/*-tool"
    ));
    let run = |words: &[&str]| root.run_as(name, [&["jit-sudo", "-n"], words].concat());
    assert_eq!(run(&["-g", "shadow", "/opt/roots-tool"]).succeeded(), "shadow");
    // Their own program may do what they may do themselves.
    assert_eq!(run(&["-g", "joined", "/opt/own-tool"]).succeeded(), "joined");
    for words in [&["-g", "shadow", "/opt/own-tool"][..], &["-u", name, "-g", "shadow", "/opt/own-tool"]] {
        let output = run(words);
        let begin = format!("jit-sudo: the interpreter of /opt/own-tool cannot be trusted: {home}");
        assert!(output.stderr.starts_with(&begin) && output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn the_shell_variable_discloses_no_hidden_file() {
    let root = racing_root();
    let person = root.person(&["by-path"]);
    root.script(
        "mkdir -m 700 /root/secret && touch /root/secret/plain && cp /usr/bin/true /root/secret/program && mkdir /root/secret/directory",
    );
    let said = |shell: &str| {
        let output = root.command(&person.name, ["jit-sudo", "-n", "-s"]).env("SHELL", shell).run();
        (output.status.code(), output.stdout.clone(), output.stderr.replace(shell, "SHELL"))
    };
    let nothing = said("/root/secret/nothing");
    for name in ["plain", "program", "directory"] {
        assert_eq!(said(&format!("/root/secret/{name}")), nothing, "{name}");
        let link = format!("{}/{name}", person.home);
        root.script(&format!("ln -s /root/secret/{name} {link}; ln -s /root/secret/nothing {link}-not"));
        assert_eq!(said(&link), said(&format!("{link}-not")), "{name} by a link");
    }
}

#[test]
fn a_directory_that_is_exchanged_shows_nothing_of_another() {
    let root = racing_root();
    let person = root.person(&["by-path"]);
    root.script("mkdir -m 700 /root/secret && touch /root/secret/plain && mkdir /root/secret/directory");
    let said = |scene: &str, words: &str| {
        let script = format!(
            "cd ~ && {scene}\n\
             python3 /tmp/flip.py l own >/dev/null & flip=$!\n\
             for i in $(seq {TRIES}); do {words} 2>&1; done | sort | uniq -c; kill $flip; wait $flip"
        );
        let output = root.command(&person.name, ["bash", "-lc", &script]).patience(Duration::from_secs(120)).run();
        exchanged(&root, &person);
        output.stdout
    };
    let shell = said("mkdir own && ln -s /root/secret l", "SHELL=$HOME/l/plain jit-sudo -n -s");
    let command = said("true", "jit-sudo -n ~/l/directory");
    for text in [shell, command] {
        assert!(text.contains("not found") || text.contains("not allowed"), "{text}");
        assert!(!text.contains("is not executable") && !text.contains("is a directory"), "{text}");
    }
}

/// A process whose `/proc/N` belongs to root at one time and to another process later: one file descriptor for both.
const LEADER: &str = r#"
import os, sys
good, evil = (os.open(path, os.O_RDONLY) for path in sys.argv[1:3])
open("/tmp/leader", "w").write(str(os.getpid()))
while True:
    os.dup2(good, 50)
    os.dup2(evil, 50)
"#;

#[test]
fn a_descriptor_of_another_process_is_rejected_as_a_program() {
    let root = racing_root();
    let person = root.person(&["by-digest"]);
    root.write("/tmp/leader.py", 0o755, LEADER);
    root.script(&format!("cp /tmp/evil-program {}/evil && chmod 755 {0}/evil", person.home));
    root.script(&format!(
        "python3 /tmp/leader.py /usr/bin/true {}/evil >/dev/null 2>&1 & \
         until [ -s /tmp/leader ]; do sleep 0.05; done",
        person.home
    ));
    let script = format!(
        "p=$(cat /tmp/leader); ok=0; for i in $(seq {TRIES}); do \
         jit-sudo -n /proc/$p/fd/50 >/dev/null 2>&1 && ok=$((ok + 1)); done; echo $ok"
    );
    let output = root.command(&person.name, ["bash", "-c", &script]).patience(Duration::from_secs(240)).run();
    root.script("kill $(cat /tmp/leader)");
    let succeeded = output.succeeded().trim().parse::<usize>().unwrap();
    Race { succeeded, failed: TRIES - succeeded }.met_both();
    only(&root, &person, "/usr/bin/true");
}

/// A tree of the caller that Python would use if it trusted the name by which it was called.
const VENV: &str = "cd ~; ln -s /usr/bin w; v=$(python3 -c 'import sys; print(\"python%d.%d\" % sys.version_info[:2])'); \
                    mkdir -p lib/$v/site-packages; printf 'home = /usr/bin\n' >pyvenv.cfg; \
                    echo 'import os; open(\"/tmp/evil\", \"a\").write(\"%d\\n\" % os.geteuid())' >lib/$v/site-packages/a.pth";

#[test]
fn a_program_is_called_by_its_real_path_and_not_by_the_typed_name() {
    let root = racing_root();
    let person = root.person(&["by-name"]);
    root.script("echo 'import sys; print(\"the job\")' >/opt/job.py");
    root.run_as(&person.name, ["bash", "-c", VENV]).succeeded();
    let typed = format!("{}/w/python3", person.home);
    let output = root.run_as(&person.name, ["jit-sudo", "-n", &typed, "/opt/job.py"]);
    assert_eq!(output.succeeded().trim(), "the job");
    assert_eq!(evil_runs(&root), 0, "modules of the caller's ran as root");
    let records = crate::records_of(&root, &person);
    let start = records.iter().find(|record| record.kind() == "start").unwrap();
    assert_eq!(start.json["argv"], serde_json::json!(["/usr/bin/python3", "/opt/job.py"]));
    assert_eq!(start.text("typed"), typed);
    // A name without a slash is kept, and no other name is recorded.
    root.run_as(&person.name, ["jit-sudo", "-n", "python3", "/opt/job.py"]).succeeded();
    let records = crate::records_of(&root, &person);
    let last = records.iter().rfind(|record| record.kind() == "start").unwrap();
    assert_eq!((&last.json["argv"][0], last.json.get("typed")), (&serde_json::json!("python3"), None));
    // The program does not learn another name in `secure_path`: a group may be able to write to /usr/local/bin.
    root.script("chgrp by-name /usr/local/bin && chmod 2775 /usr/local/bin");
    root.run_as(&person.name, ["ln", "-s", "/usr/bin/python3", "/usr/local/bin/jobber"]).succeeded();
    let _ = root.run_as(&person.name, ["jit-sudo", "-n", "jobber", "/opt/job.py"]); // the rule may not name its path
    let records = crate::records_of(&root, &person);
    let last = records.iter().rfind(|record| record.kind() == "start").unwrap();
    assert_ne!(last.json["argv"][0], serde_json::json!("jobber"), "{}", last.body);
    // With a role for every command the caller chooses the name, as with sudo.
    let free = root.person(&["everything"]);
    root.run_as(&free.name, ["ln", "-s", "/bin/sh", "mine"]).succeeded();
    let mine = format!("{}/mine", free.home);
    assert_eq!(root.run_as(&free.name, ["jit-sudo", "-n", &mine, "-c", "echo $0"]).succeeded().trim(), mine);
}

#[test]
fn a_link_of_root_does_not_bypass_a_rule_that_denies() {
    let root = racing_root();
    let person = root.person(&["but-python"]);
    for program in ["python3", "/usr/bin/python3", "/bin/python3"] {
        root.run_as(&person.name, ["jit-sudo", "-n", program, "--version"]).refused("not allowed");
        let why = root.run_as(&person.name, ["jitctl", "why", "--", program, "--version"]);
        assert!(why.stdout.contains("!/usr/bin/python3."), "{why:?}");
        let listed = root.run_as(&person.name, ["jit-sudo", "-n", "-l", program, "--version"]);
        assert_ne!(listed.status.code(), Some(0), "{listed:?}");
        let test = root.as_root(["jitctl", "policy", "test", "--user", &person.name, "--", program, "--version"]);
        assert!(!test.stdout.contains("standing"), "{test:?}");
    }
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
}

/// Rewrites a file in place endlessly with one text and the other, from a file of its own each time.
const REWRITE: &str = r#"
import os, sys, time, random
path, texts = sys.argv[1], [open(name, "rb").read() for name in sys.argv[2:4]]
size = max(map(len, texts))
texts = [text.ljust(size, b"\n" if text[0] == 35 else b"\0") for text in texts]
for name, text in zip(sys.argv[2:4], texts):
    open(name, "wb").write(text)
pages = [at for at in range(0, size, 4096) if texts[0][at:at + 4096] != texts[1][at:at + 4096]]
open(path, "wb").write(texts[0])
os.chmod(path, 0o755)
open("ready", "w").close()
while True:
    for text in texts:
        try:
            file = os.open(path, os.O_WRONLY)
            for at in pages:
                os.pwrite(file, text[at:at + 4096], at)
            os.close(file)
        except OSError:
            pass
        time.sleep(random.uniform(0, 0.02))
"#;

#[test]
fn a_rule_that_denies_applies_to_the_target_of_its_path() {
    let root = racing_root();
    let person = root.person(&["but-linked"]);
    root.script(
        "mkdir -p /opt/app/v2/bin && ln -s v2 /opt/app/current && cd /opt/app/v2/bin && cp /usr/bin/true evil && cp evil good && \
         cp evil bad && cp evil /usr/bin/tool.1 && ln -s tool.1 /usr/bin/tool && ln /usr/bin/tool.1 /usr/bin/other",
    );
    let run = |program: &str| root.run_as(&person.name, ["jit-sudo", "-n", program]);
    for good in ["/opt/app/current/bin/good", "/opt/app/v2/bin/good", "true"] {
        run(good).succeeded();
    }
    for program in ["evil", "bad"] {
        run(&format!("/opt/app/current/bin/{program}")).refused("is not allowed to execute");
        run(&format!("/opt/app/v2/bin/{program}")).refused("is not allowed to execute");
    }
    for program in ["tool", "tool.1", "other"] {
        run(program).refused("is not allowed to execute");
    }
}

/// A file system that a program serves can return one file for hashing and another for execution.
#[test]
fn a_program_on_a_fuse_file_system_is_not_executed() {
    let root = racing_root();
    let person = root.person(&["everything"]);
    root.write("/tmp/fuse.py", 0o644, include_str!("fuse.py"));
    root.script("[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229; mkdir /tmp/served");
    let script = format!(
        "python3 /tmp/fuse.py /tmp/served /usr/bin/true /tmp/evil-program 1 $(id -u {0}) >/dev/null 2>&1 &
         until mountpoint -q /tmp/served; do sleep 0.05; done; ln -s /tmp/served/program /tmp/link",
        person.name
    );
    root.script(&script);
    for program in ["/tmp/served/program", "/tmp/link"] {
        let said = root.run_as(&person.name, ["jit-sudo", "-n", program]);
        said.refused("it is on a FUSE file system");
    }
    assert!(records_of(&root, &person).iter().all(|record| record.kind() != "start"));
    root.script("umount -l /tmp/served");
}

/// Rewrites `own` in the user's home with the files `good` and `evil` that `scene` creates, and runs it meanwhile. The number of
/// records that name the second equals the number of its runs. On a busy machine the runs may
/// meet only one of the two, so this is repeated until they have met both, at most [`ROUNDS`] times.
fn a_rewritten_file_is_that_of_its_record(scene: &str, trace: &str) {
    let root = racing_root();
    let person = root.person(&["everything"]);
    root.write("/tmp/rewrite.py", 0o755, REWRITE);
    root.script(&format!("touch {trace} && chmod 666 {trace}"));
    let scene = format!("cd ~ && {scene}");
    root.command(&person.name, ["bash", "-c", &scene]).patience(Duration::from_secs(100)).run().succeeded();
    let script = format!(
        "cd ~ && rm -f ready\n\
         python3 /tmp/rewrite.py own good evil & writer=$!; until [ -e ready ]; do sleep 0.05; done; sha256sum <evil >digest\n\
         ok=0; for i in $(seq {TRIES}); do jit-sudo -n ~/own >/dev/null 2>&1 && ok=$((ok + 1)); done; \
         kill $writer; wait $writer; echo $ok"
    );
    let mut succeeded = 0;
    let met_both = (0..ROUNDS).any(|_| {
        let output = root.command(&person.name, ["bash", "-c", &script]).patience(Duration::from_secs(300)).run();
        succeeded += output.succeeded().trim().parse::<usize>().unwrap();
        let digest = root.read(&format!("{}/digest", person.home));
        let digest = digest.split(' ').next().unwrap_or_default();
        let named = runs_of(&root, &person, |start| start.text("sha256") == digest);
        let ran = root.read(trace).lines().count();
        assert_eq!(named, ran, "the records name {named} runs of the second program, and it ran {ran} times");
        ran > 0 && ran < succeeded
    });
    assert!(met_both, "of {succeeded} runs all or none were of the second program");
}

/// Runs `program` while a PAM session module makes `change`, between judgement and exec. The program is not executed, and the
/// error says so.
fn changed_while_it_was_checked(program: &str, change: &str) {
    let root = racing_root();
    let person = root.person(&["everything"]);
    root.script(
        "mkdir /opt/own; cp /usr/bin/true /opt/own/job; printf '#!/bin/sh\\ntouch /tmp/ran\\n' >/opt/own/script",
    );
    root.script(&format!(
        "cp /opt/own/job /opt/own/script {0}; chmod 755 /opt/own/* {0}/job {0}/script; chown {1} {0}/job {0}/script",
        person.home, person.name
    ));
    let program = program.replace('~', &person.home);
    root.write(
        "/usr/local/sbin/change",
        0o755,
        format!(
            "#!/bin/sh\nset -e\n[ \"$PAM_TYPE\" = open_session ] || exit 0\n{}\n",
            change.replace("PROGRAM", &program)
        ),
    );
    root.script("echo 'session required pam_exec.so /usr/local/sbin/change' >> /etc/pam.d/jit-sudo");
    let output = root.run_as(&person.name, ["jit-sudo", "-n", &program]);
    output.refused(&format!("{program} changed while it was checked"));
    let ends =
        crate::records_of(&root, &person).into_iter().filter(|record| record.kind() == "end").collect::<Vec<_>>();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!(ends[0].text("ended_by"), "not-executed", "{ends:?}");
    assert!(ends[0].text("detail").contains("changed while it was checked"), "{ends:?}");
    assert!(evil_runs(&root) == 0 && !root.path("/tmp/ran").exists(), "what came in its place ran");
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_program_that_is_rewritten_between_judgement_and_exec_does_not_run() {
    changed_while_it_was_checked("~/job", "cat /tmp/evil-program >PROGRAM");
}

#[test]
fn a_script_that_is_rewritten_between_judgement_and_exec_does_not_run() {
    changed_while_it_was_checked("~/script", "echo 'touch /tmp/ran' >>PROGRAM");
}

#[test]
fn a_program_of_roots_that_is_replaced_between_judgement_and_exec_does_not_run() {
    changed_while_it_was_checked(
        "/opt/own/job",
        "install -m 755 /tmp/evil-program PROGRAM.new; mv PROGRAM.new PROGRAM",
    );
}

#[test]
fn a_script_that_is_rewritten_is_the_one_that_was_hashed() {
    let scene = "printf '#!/bin/sh\\nexit 0                            \\n' >good; \
                 printf '#!/bin/sh\\nid -u >>/tmp/evil-script; exit 0\\n' >evil";
    a_rewritten_file_is_that_of_its_record(scene, "/tmp/evil-script");
}

#[test]
fn a_program_that_is_rewritten_is_the_one_that_was_hashed() {
    let scene = "cc -static -O -o evil /tmp/evil.c; sed 's,/tmp/evil\",/tmp/none\",' /tmp/evil.c >good.c; cc -static -O -o good good.c";
    a_rewritten_file_is_that_of_its_record(scene, "/tmp/evil");
}

/// Makes a copy of a program whose loader (PT_INTERP) is another one.
const WITH_LOADER: &str = r#"
import os, shutil, struct, sys
program, copy, loader = sys.argv[1:]
data = bytearray(open(program, "rb").read())
(table,), (count,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
headers = [table + 56 * number for number in range(count)]
header = next(at for at in headers if struct.unpack_from("<I", data, at)[0] == 3)
at, size = struct.unpack_from("<Q", data, header + 8)[0], struct.unpack_from("<Q", data, header + 32)[0]
name = bytes(data[at:at + size - 1]).decode()
shutil.copyfile(name, loader)
os.chmod(loader, 0o755)
data[at:at + len(loader) + 1] = loader.encode() + b"\0"
struct.pack_into("<Q", data, header + 32, len(loader) + 1)
open(copy, "wb").write(data)
os.chmod(copy, 0o755)
"#;

#[test]
fn a_program_runs_by_a_loader_of_root_or_of_the_run_as_user() {
    let root = racing_root();
    let zeros = "0".repeat(64);
    root.add_policy(
        "loaders",
        &"[roles.loaded]\nstanding = [\"%loaded\"]\nrun_as = [\"root\", \"bob\"]\nauthenticate = false\n\
         commands = [\"/opt/*-program **\", { path = \"ALL\", sha256 = \"{ZEROS}\" }]\n\
         [roles.all-loaded]\nstanding = [\"%all-loaded\"]\nauthenticate = false\ncommands = \"ALL\"\n"
            .replace("{ZEROS}", &zeros),
    );
    let (person, everything) = (root.person(&["loaded"]), root.person(&["all-loaded"]));
    root.write("/tmp/with-loader.py", 0o644, WITH_LOADER);
    root.script(&format!(
        "mkdir -p /srv/p /srv/b /srv/r; cd /opt; make() {{ python3 /tmp/with-loader.py /usr/bin/id $1-program /srv/$2/ld; }}; \
         make theirs p; make bobs b; make roots r; printf '#!/opt/theirs-program\\n' >behind-program; chmod 755 *-program; \
         chown {0} /srv/p/ld; chown bob /srv/b /srv/b/ld; install -m 755 theirs-program {1}/own; chmod 755 {1}",
        person.name, person.home
    ));
    let own = format!("{}/own", person.home);
    let digest = root.script(&format!("sha256sum {own} | cut -d ' ' -f 1"));
    let policy = root.read("/etc/jit-sudo/policy.d/loaders.toml").replace(&zeros, digest.trim());
    root.add_policy("loaders", &policy);
    let run = |words: &[&str]| root.run_as(&person.name, [&["jit-sudo", "-n"], words].concat());
    assert_eq!(run(&["/opt/roots-program", "-un"]).succeeded(), "root");
    assert_eq!(run(&["-u", "bob", "/opt/bobs-program", "-un"]).succeeded(), "bob");
    for (words, cause) in [
        (&["/opt/theirs-program"][..], "/srv/p/ld"),
        (&["-u", "bob", "/opt/theirs-program"], "/srv/p/ld"),
        (&["/opt/behind-program"], "/srv/p/ld"),
        (&["/opt/bobs-program"], "/srv/b"),
        (&[&own], "/srv/p/ld"),
    ] {
        let output = run(words);
        let path = words[words.len() - 1];
        let begin = format!("jit-sudo: the interpreter of {path} cannot be trusted: {cause}");
        assert!(output.stderr.starts_with(&begin) && output.stdout.is_empty(), "{output:?}");
    }
    let output = root.run_as(&everything.name, ["jit-sudo", "-n", "/opt/theirs-program", "-un"]);
    assert_eq!(output.succeeded(), "root", "who may run anything may run a loader");
}

#[test]
fn a_question_about_a_command_asks_what_its_launch_asks() {
    let root = racing_root();
    root.add_policy(
        "asked",
        "[roles.asked]\nstanding = [\"%asked\"]\neligible = [\"%asking\"]\nauthenticate = false\ncommands = [\"/opt/*-tool\", \"/home/*/script\"]\n\
         [roles.all-asked]\nstanding = [\"%all-asked\"]\nauthenticate = false\ncommands = \"ALL\"\n",
    );
    let holder = root.person(&["asking"]);
    request(&root, &holder, "asked", &[]);
    let requester = root.person(&["asking"]);
    root.script(&format!(
        "chmod 755 {1}; install -m 755 -o {0} /usr/bin/env {1}/interp; printf '#!{1}/interp sh\\nid -un\\n' >/opt/theirs-tool; \
         printf '#!/usr/bin/env sh\\nid -un\\n' >/opt/roots-tool; chmod 755 /opt/*-tool",
        holder.name, holder.home
    ));
    let answers = |person: &Person, command: &str| {
        let listed = root.run_as(&person.name, ["jit-sudo", "-l", command]).status.success();
        let why = root.run_as(&person.name, ["jitctl", "--json", "why", "--", command]).json()["why"].clone();
        (listed, why["allowed"] == true, why["because"].as_str().unwrap_or_default().to_owned())
    };
    for (person, tool, runs) in [
        (&holder, "/opt/roots-tool", true),
        (&root.person(&["asked"]), "/opt/roots-tool", true),
        (&root.person(&["all-asked"]), "/opt/theirs-tool", true),
        (&holder, "/opt/theirs-tool", false),
        (&root.person(&["asked"]), "/opt/theirs-tool", false),
    ] {
        assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", tool]).status.success(), runs, "{tool}");
        let (listed, allowed, because) = answers(person, tool);
        assert_eq!((listed, allowed), (runs, runs), "{tool}: {because}");
        let cause = "the interpreter of /opt/theirs-tool cannot be trusted";
        assert_eq!(because.contains(cause), !runs, "{because}");
    }
    // Whoever may only ask hears it before an approver is asked in vain.
    let (_, allowed, because) = answers(&requester, "/opt/theirs-tool");
    assert!(!allowed && because.contains("the interpreter of /opt/theirs-tool cannot be trusted"), "{because}");
    let words = ["jitctl", "request", "--role", "asked", "--reason", "x", "--", "/opt/theirs-tool"];
    let refused = root.run_as(&requester.name, words);
    assert!(refused.stderr.contains("the interpreter of /opt/theirs-tool cannot be trusted"), "{refused:?}");
    // A script in a place of theirs.
    root.write(&format!("{}/script", holder.home), 0o755, "#!/bin/sh\nid -u\n");
    let (listed, allowed, because) = answers(&holder, &format!("{}/script", holder.home));
    assert!(!listed && !allowed && because.contains("the script cannot be trusted"), "{because}");
}
