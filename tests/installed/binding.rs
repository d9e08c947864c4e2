//! What was judged is what runs: callers who exchange files, links and directories while their command is looked at. Each race is
//! run at least 500 times; what runs as root says so in a file.

use std::time::Duration;

use harness::{Person, PrivateRoot, Record};

use crate::{id, own_root, records_of, request};

const TRIES: usize = 500;

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

/// Exchanges two names for ever, as fast as the kernel can (renameat2 with RENAME_EXCHANGE), or with a pause in seconds:
/// an exchange changes a file's ctime, and a file that changed while it was checked does not run. When it is ended it tells how
/// often it did.
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

/// So often at least the names must have been exchanged, or nothing was raced against.
const EXCHANGES: usize = 100;

/// What nobody allowed: it leaves its effective uid behind. Anybody may append to the file.
const EVIL: &str = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { FILE *f = fopen(\"/tmp/evil\", \"a\"); \
                    if (f) { fprintf(f, \"%d\\n\", geteuid()); fclose(f); } return 0; }\n";

/// A root with the policy, the racer's tools and a program that says who it was.
fn racing_root() -> PrivateRoot {
    let root = own_root();
    let digest = root.script("sha256sum /usr/bin/true | cut -d ' ' -f 1");
    root.add_policy("binding", &POLICY.replace("DIGEST", digest.trim()));
    root.write("/tmp/flip.py", 0o755, FLIP);
    root.write("/tmp/evil.c", 0o644, EVIL);
    root.script("cc -O -o /tmp/evil-program /tmp/evil.c && touch /tmp/evil && chmod 666 /tmp/evil");
    root
}

/// How the tries of a race went.
struct Race {
    succeeded: usize,
    failed: usize,
}

impl Race {
    /// Both of what was exchanged were met with: one that runs and one that does not.
    fn met_both(&self) {
        let Self { succeeded, failed } = self;
        assert!(
            *succeeded > 0 && *failed > 0,
            "{succeeded} tries succeeded and {failed} did not: one side was never met"
        );
    }
}

/// Sets the scene in the person's home, and then the race.
fn race(root: &PrivateRoot, person: &Person, scene: &str, flipped: (&str, &str), command: &str) -> Race {
    set(root, person, scene);
    tried(root, person, flipped, command)
}

fn set(root: &PrivateRoot, person: &Person, scene: &str) {
    root.run_as(&person.name, ["bash", "-c", &format!("cd ~ && mkdir w evil && {scene}")]).succeeded();
}

/// Flips `one` and `two` in the person's home, and runs `command` 500 times meanwhile.
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

/// The names in the person's home were exchanged all the while.
fn exchanged(root: &PrivateRoot, person: &Person) {
    let exchanges = root.read(&format!("{}/exchanges", person.home));
    assert!(exchanges.parse::<usize>().is_ok_and(|count| count >= EXCHANGES), "exchanged {exchanges} times");
}

/// How often the caller's own program ran as root.
fn evil_runs(root: &PrivateRoot) -> usize {
    root.read("/tmp/evil").lines().filter(|uid| *uid == "0").count()
}

/// The runs of the person that executed what `is_meant`: recorded, and not refused before exec.
fn runs_of(root: &PrivateRoot, person: &Person, is_meant: impl Fn(&Record) -> bool) -> usize {
    let records = crate::records_of(root, person);
    let executed = |run: &str| {
        let end = records.iter().find(|record| record.kind() == "end" && record.text("run") == run);
        end.is_some_and(|end| end.text("ended_by") != "not-executed")
    };
    let starts = records.iter().filter(|record| record.kind() == "start" && is_meant(record));
    starts.filter(|start| executed(start.text("run"))).count()
}

/// Nothing ran but this program, and the records name no other.
fn only(root: &PrivateRoot, person: &Person, path: &str) {
    assert_eq!(evil_runs(root), 0, "the caller's program ran as root");
    assert_eq!(runs_of(root, person, |start| start.text("path") != path), 0);
    root.as_root(["jitctl", "audit", "verify"]).succeeded();
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
fn a_rule_over_a_directory_of_the_callers_runs_what_the_record_names() {
    let root = racing_root();
    let person = root.person(&["by-glob"]);
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    let succeeded = race(&root, &person, scene, ("w/true", "evil/true 0.01"), "~/w/true").succeeded;
    // A real file there is the caller's own, and the rule allows it. Each run of it is recorded as one.
    let own = format!("{}/w/true", person.home);
    let own_runs = runs_of(&root, &person, |start| start.text("path") == own);
    let good_runs = runs_of(&root, &person, |start| start.text("path") == "/usr/bin/true");
    assert_eq!(own_runs, evil_runs(&root));
    assert_eq!(own_runs + good_runs, succeeded);
    assert!(own_runs > 0 && good_runs > 0, "never exchanged: {own_runs} runs of the one, {good_runs} of the other");
    assert_eq!(runs_of(&root, &person, |start| start.text("path") != own && start.text("path") != "/usr/bin/true"), 0);
}

/// An exact grant for what a link, or a directory, leads to while it is approved.
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
fn an_exact_grant_for_a_link_that_is_exchanged_serves_what_was_approved() {
    let scene = "ln -s /usr/bin/true w/true; cp /tmp/evil-program evil/true";
    an_exact_grant_serves_what_was_approved(scene, ("w/true", "evil/true"));
}

#[test]
fn an_exact_grant_for_a_link_in_a_directory_that_is_exchanged_serves_what_was_approved() {
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
    // What cannot be read has no digest that a rule could name.
    for (role, sentence) in
        [("by-digest", "is not allowed"), ("by-glob", "larger than 4 GiB, which is more than is ever read")]
    {
        let person = root.person(&[role]);
        root.run_as(&person.name, ["sh", "-c", "mkdir ~/w; truncate -s 1T ~/w/true; chmod +x ~/w/true"]).succeeded();
        let began = std::time::Instant::now();
        let said = root.run_as(&person.name, ["bash", "-lc", "jit-sudo -n ~/w/true"]);
        said.refused(sentence);
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

/// Two scripts of the person's, exchanged by `flipped`: each run of the second is one whose record has its digest.
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
fn a_shell_of_the_environment_tells_nothing_of_what_the_caller_may_not_see() {
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

/// As which process `/proc/N` has been root's and is another one now: one descriptor that leads here and there.
const LEADER: &str = r#"
import os, sys
good, evil = (os.open(path, os.O_RDONLY) for path in sys.argv[1:3])
open("/tmp/leader", "w").write(str(os.getpid()))
while True:
    os.dup2(good, 50)
    os.dup2(evil, 50)
"#;

#[test]
fn a_descriptor_of_another_process_is_no_name_of_a_program() {
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

/// A tree of the caller's that Python takes for its own, where it believes a name in it.
const VENV: &str = "cd ~; ln -s /usr/bin w; v=$(python3 -c 'import sys; print(\"python%d.%d\" % sys.version_info[:2])'); \
                    mkdir -p lib/$v/site-packages; printf 'home = /usr/bin\n' >pyvenv.cfg; \
                    echo 'import os; open(\"/tmp/evil\", \"a\").write(\"%d\\n\" % os.geteuid())' >lib/$v/site-packages/a.pth";

#[test]
fn a_name_that_was_typed_is_not_what_a_program_is_told() {
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
    // A name without a slash stays, and there is nothing else to record.
    root.run_as(&person.name, ["jit-sudo", "-n", "python3", "/opt/job.py"]).succeeded();
    let records = crate::records_of(&root, &person);
    let last = records.iter().rfind(|record| record.kind() == "start").unwrap();
    assert_eq!((&last.json["argv"][0], last.json.get("typed")), (&serde_json::json!("python3"), None));
    // Of a name that others gave it in `secure_path` the program hears nothing: /usr/local/bin may be a group's to write.
    root.script("chgrp by-name /usr/local/bin && chmod 2775 /usr/local/bin");
    root.run_as(&person.name, ["ln", "-s", "/usr/bin/python3", "/usr/local/bin/jobber"]).succeeded();
    let _ = root.run_as(&person.name, ["jit-sudo", "-n", "jobber", "/opt/job.py"]); // its place may be no name of the rule
    let records = crate::records_of(&root, &person);
    let last = records.iter().rfind(|record| record.kind() == "start").unwrap();
    assert_ne!(last.json["argv"][0], serde_json::json!("jobber"), "{}", last.body);
    // With a role of every command the caller names it, as with sudo.
    let free = root.person(&["everything"]);
    root.run_as(&free.name, ["ln", "-s", "/bin/sh", "mine"]).succeeded();
    let mine = format!("{}/mine", free.home);
    assert_eq!(root.run_as(&free.name, ["jit-sudo", "-n", &mine, "-c", "echo $0"]).succeeded().trim(), mine);
}

#[test]
fn a_link_of_roots_is_no_way_around_a_rule_that_denies() {
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

/// Rewrites a file in place for ever with one text and the other, by a file of its own each time.
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

/// Rewrites `own` in the person's home with the files `good` and `evil` that `scene` makes, and runs it meanwhile. The records name
/// as many runs of the second as there were.
#[test]
fn a_rule_that_denies_means_what_its_path_leads_to() {
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

/// A file system that another program serves gives one file when it is hashed and another when it is executed.
#[test]
fn what_another_program_serves_is_copied_before_it_is_executed() {
    let root = racing_root();
    let person = root.person(&["everything"]);
    root.write("/tmp/fuse.py", 0o644, include_str!("fuse.py"));
    root.script(
        "cp /usr/bin/true /tmp/good; size=$(stat -c %s /tmp/evil-program /usr/bin/true | sort -n | tail -n 1)
         for file in good evil-program; do cp /tmp/$file /tmp/$file.padded; truncate -s $size /tmp/$file.padded; done
         [ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229; mkdir /tmp/served; : >/tmp/evil; chmod 666 /tmp/evil",
    );
    for switch in 0..4 {
        let script = format!(
            "python3 /tmp/fuse.py /tmp/served /tmp/good.padded /tmp/evil-program.padded {switch} $(id -u {0}) & server=$!
             until mountpoint -q /tmp/served; do sleep 0.05; done
             timeout 20 runuser -u {0} -- jit-sudo -n /tmp/served/program || true; kill $server; umount -l /tmp/served",
            person.name
        );
        root.script(&script);
    }
    let digest = root.script("sha256sum </tmp/evil-program.padded | cut -d' ' -f1");
    let named = runs_of(&root, &person, |start| start.text("sha256") == digest.trim());
    let starts = records_of(&root, &person).iter().filter(|record| record.kind() == "start").count();
    assert!(starts > 0, "nothing was ever judged");
    assert_eq!(evil_runs(&root), named, "what ran as root is what the records name");
}

fn a_rewritten_file_is_that_of_its_record(scene: &str, trace: &str) {
    let root = racing_root();
    let person = root.person(&["everything"]);
    root.write("/tmp/rewrite.py", 0o755, REWRITE);
    root.script(&format!("touch {trace} && chmod 666 {trace}"));
    let script = format!(
        "cd ~ && {scene}\n\
         python3 /tmp/rewrite.py own good evil & writer=$!; until [ -e ready ]; do sleep 0.05; done; sha256sum <evil >digest\n\
         ok=0; for i in $(seq {TRIES}); do jit-sudo -n ~/own >/dev/null 2>&1 && ok=$((ok + 1)); done; kill $writer; echo $ok"
    );
    let output = root.command(&person.name, ["bash", "-c", &script]).patience(Duration::from_secs(300)).run();
    let succeeded = output.succeeded().trim().parse::<usize>().unwrap();
    let digest = root.read(&format!("{}/digest", person.home));
    let digest = digest.split(' ').next().unwrap_or_default();
    let named = runs_of(&root, &person, |start| start.text("sha256") == digest);
    let ran = root.read(trace).lines().count();
    assert_eq!(named, ran, "the records name {named} runs of the second program, and it ran {ran} times");
    assert!(ran > 0 && ran < succeeded, "of {succeeded} runs {ran} were of the second program");
}

/// Runs `program` while a PAM session module makes `change`: between the judgement and the exec. It is not executed, and says so.
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
    root.as_root(["jitctl", "audit", "verify"]).succeeded();
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
