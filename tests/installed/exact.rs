//! What was approved is what runs: an exact grant binds the program, its arguments, its directory, its user and groups and its
//! environment, and no grant permits more than its role allowed at the time of the approval.

use std::collections::BTreeSet;

use harness::{Output, Person, PrivateRoot};
use serde_json::Value;

use crate::{granted, id, own_root, records_of, request, root};

/// Returns an approved grant for exactly this command; `bob` narrows the request.
fn exactly(root: &PrivateRoot, person: &Person, cwd: &str, words: &[&str]) -> String {
    let base = ["jitctl", "--json", "request", "--role", "narrowed", "--reason", "a test needs it"];
    let output = root.command(&person.name, [&base[..], words].concat()).cwd(cwd).run();
    output.succeeded();
    let id = id(&output.json()["grant"]);
    let approver = root.person(&["approvers"]);
    root.run_as(&approver.name, ["jitctl", "approve", &id, "--exact"]).succeeded();
    id
}

/// A role that allows everything, so that only the approval limits the holder.
const POLICY: &str = r#"
[roles.narrowed]
eligible      = ["%narrowed"]
commands      = "ALL"
run_as        = ["ALL"]
run_as_groups = ["ALL"]
runcwd        = "*"
setenv        = true
authenticate  = false

[roles.narrowed.activation]
require_approval = true
approvers        = ["%approvers"]
"#;

fn exact_root() -> &'static PrivateRoot {
    static ROOT: std::sync::OnceLock<PrivateRoot> = std::sync::OnceLock::new();
    ROOT.get_or_init(|| {
        let root = own_root();
        root.add_policy("narrowed", POLICY);
        root
    })
}

fn run(root: &PrivateRoot, person: &Person, cwd: &str, words: &[&str]) -> Output {
    root.command(&person.name, [&["jit-sudo", "-n"][..], words].concat()).cwd(cwd).run()
}

#[test]
fn an_exact_grant_passes_only_approved_variables() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    exactly(root, &person, "/", &["--", "env"]);
    let names = |output: &Output| -> BTreeSet<String> {
        output.succeeded().lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect()
    };
    let preload = format!("LD_PRELOAD={}/x.so", person.home);
    for words in [
        &[preload.as_str(), "env"][..],
        &["-E", "env"],
        &["--preserve-env=BASH_ENV", "env"],
        &["BASH_ENV=/tmp/x", "env"],
        &["PYTHONPATH=/tmp", "env"],
        &["TERM=xterm", "env"],
    ] {
        let output = root
            .command(&person.name, [&["jit-sudo", "-n"][..], words].concat())
            .env("BASH_ENV", "/tmp/evil")
            .cwd("/")
            .run();
        output.refused("serves this command without variables of yours");
    }
    // Variables of the caller's shell that the role would allow are not passed either.
    let bare = root
        .command(&person.name, ["jit-sudo", "-n", "env"])
        .env("LANG", "C.UTF-8")
        .env("DISPLAY", ":7")
        .env("LS_COLORS", "x")
        .env("SUDO_PS1", "evil")
        .env("EDITOR", "/tmp/x")
        .cwd("/")
        .run();
    let expected = "HOME JIT_SUDO_GRANT JIT_SUDO_RUN LOGNAME MAIL PATH SHELL SUDO_COMMAND SUDO_GID SUDO_HOME SUDO_UID SUDO_USER \
                    TERM USER";
    let mut found = names(&bare);
    found.retain(|name| name != "LANG" || bare.succeeded().contains(":7")); // pam_env may set the host's own LANG
    assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), expected);
    assert!(bare.succeeded().contains("\nTERM=unknown\n"), "{bare:?}");
}

/// The files that pam_env reads may be the caller's own.
#[test]
fn a_loader_variable_of_the_pam_stack_does_not_reach_an_exact_command() {
    let root = own_root();
    root.add_policy("narrowed", POLICY);
    root.script("echo LD_BIND_NOW=1 >> /etc/environment; echo FROM_PAM=yes >> /etc/environment");
    let person = root.person(&["narrowed"]);
    exactly(&root, &person, "/", &["--", "env"]);
    let output = run(&root, &person, "/", &["env"]);
    let environment = output.succeeded();
    assert!(environment.contains("FROM_PAM=yes") && !environment.contains("LD_BIND_NOW"), "{environment}");
}

#[test]
fn a_constructor_in_a_preloaded_library_never_runs_under_an_exact_grant() {
    let root = exact_root();
    let (person, free) = (root.person(&["narrowed"]), root.person(&["narrowed"]));
    let source = "#include <stdio.h>\n#include <unistd.h>\n__attribute__((constructor)) static void evil(void)\n\
                  { FILE *f = fopen(\"/tmp/preloaded\", \"a\"); fprintf(f, \"%d\\n\", geteuid()); fclose(f); }\n";
    root.write("/tmp/evil.c", 0o644, source);
    root.write("/tmp/evil.sh", 0o755, "#!/bin/sh\nid -u >>/tmp/preloaded\n");
    root.script("rm -f /tmp/preloaded; cc -shared -fPIC -o /tmp/evil.so /tmp/evil.c");
    let ran = || root.script("cat /tmp/preloaded 2>/dev/null || true; rm -f /tmp/preloaded");
    let preload = ["LD_PRELOAD=/tmp/evil.so", "/usr/bin/id"];
    // ld.so reads LD_PRELOAD from the caller of a set-user-ID program; -E passes another variable, by which tar runs a program.
    let tar = ["/usr/bin/tar", "-cf", "/tmp/preloaded.tar", "/etc/hostname"];
    let with_tar = |person: &Person| {
        let words = [&["jit-sudo", "-n", "-E"][..], &tar].concat();
        let options = "--checkpoint=1 --checkpoint-action=exec=/tmp/evil.sh";
        root.command(&person.name, words).env("TAR_OPTIONS", options).cwd("/").run()
    };

    // Under a grant for the whole role both have their effect.
    let whole = id(&request(root, &free, "narrowed", &[]));
    root.run_as(&root.person(&["approvers"]).name, ["jitctl", "approve", &whole]).succeeded();
    run(root, &free, "/", &preload).succeeded();
    assert_eq!(ran(), "0\n", "the library does nothing");
    with_tar(&free).succeeded();
    assert_eq!(ran(), "0\n", "the variable does nothing");

    exactly(root, &person, "/", &["--one-shot", "--", "/usr/bin/id"]);
    run(root, &person, "/", &preload).refused("without variables of yours");
    assert_eq!(run(root, &person, "/", &["/usr/bin/id", "-u"]).status.code(), Some(1), "another command");
    assert!(run(root, &person, "/", &["/usr/bin/id"]).succeeded().starts_with("uid=0"));
    exactly(root, &person, "/", &[&["--one-shot", "--"][..], &tar].concat());
    with_tar(&person).refused("without variables of yours");
    run(root, &person, "/", &tar).succeeded();
    assert_eq!(ran(), "");
}

#[test]
fn a_variable_that_was_asked_for_and_seen_is_set_and_no_other_value() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    let grant = exactly(root, &person, "/", &["--", "COLOUR=red", "printenv", "COLOUR"]);
    let shown = root.run_as(&person.name, ["jitctl", "--json", "show", &grant]).json()["grant"].clone();
    assert_eq!(shown["bound"]["environment"], serde_json::json!(["COLOUR=red"]), "{shown}");
    let named = "serves this command with these variables of yours and no others: COLOUR=red";
    run(root, &person, "/", &["printenv", "COLOUR"]).refused(named);
    run(root, &person, "/", &["COLOUR=blue", "printenv", "COLOUR"]).refused(named);
    run(root, &person, "/", &["COLOUR=red", "X=1", "printenv", "COLOUR"]).refused(named);
    assert_eq!(run(root, &person, "/", &["COLOUR=red", "printenv", "COLOUR"]).succeeded(), "red");
    let preserved = root
        .command(&person.name, ["jit-sudo", "-n", "--preserve-env=COLOUR", "printenv", "COLOUR"])
        .env("COLOUR", "red")
        .cwd("/")
        .run();
    assert_eq!(preserved.succeeded(), "red");
}

#[test]
fn an_exact_grant_is_valid_only_in_the_approved_directory() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    root.script("mkdir -p /srv/app && echo 'echo installed' >/srv/app/install.sh");
    let evil = format!("{}/install.sh", person.home);
    root.write(&evil, 0o755, "echo evil; id -u\n");
    let grant = exactly(root, &person, "/srv/app", &["--", "sh", "install.sh"]);
    let shown = root.run_as(&person.name, ["jitctl", "show", &grant]);
    let said = |line: &str| line.starts_with("directory") && line.ends_with(" /srv/app");
    assert!(shown.succeeded().lines().any(said), "{shown:?}");
    // Of two exact grants the message names the one for this command.
    exactly(root, &person, "/", &["--", "sh", "-c", "true"]);
    let sentence = format!("grant {grant} serves this command in /srv/app, and you are in {}", person.home);
    run(root, &person, &person.home, &["sh", "install.sh"]).refused(&sentence);
    let sentence = format!("grant {grant} serves this command in /srv/app, and this run does not begin there");
    run(root, &person, "/srv/app", &["-D", &person.home, "sh", "install.sh"]).refused(&sentence);
    run(root, &person, "/", &["sh", "other.sh"]).refused("serves exactly one command, and this is another");
    // By whatever name: the directory itself counts.
    let output = run(root, &person, &person.home, &["-D", "/srv/app/../app", "sh", "install.sh"]);
    assert_eq!(output.succeeded(), "installed");
    assert_eq!(run(root, &person, "/srv/app", &["sh", "install.sh"]).succeeded(), "installed");
    assert_eq!(run(root, &person, &person.home, &["-D", "/srv/app", "sh", "install.sh"]).succeeded(), "installed");
}

/// An approver reads exactly what is signed: an extension is for all that it extends, and a grant for one command has a command.
#[test]
fn an_approval_that_cannot_be_exact_is_rejected() {
    let root = own_root();
    root.add_policy("narrowed", POLICY);
    let (person, approver) = (root.person(&["narrowed"]), root.person(&["approvers"]));
    let approve = |id: &str, more: &[&str]| root.run_as(&approver.name, [&["jitctl", "approve", id], more].concat());
    let extend = |id: &str| root.run_as(&person.name, ["jitctl", "--json", "extend", id, "--reason", "more"]);
    let whole = id(&request(&root, &person, "narrowed", &["--for", "1h"]));
    approve(&whole, &[]).succeeded();
    let output = extend(&whole);
    output.succeeded();
    let extension = id(&output.json()["grant"]);
    approve(&extension, &["--exact"])
        .refused(&format!("the request extends grant {whole}, which is for its whole role"));
    let named = id(&request(&root, &person, "narrowed", &["--", "/usr/bin/id"]));
    let nameless = id(&request(&root, &person, "narrowed", &[]));
    approve(&nameless, &["--exact"]).refused("the request names no command");

    root.add_policy("narrowed", &format!("{POLICY}exact_command = true\n"));
    let since = "role narrowed is granted for an exact command only by now, and the request";
    approve(&nameless, &[]).refused(&format!("{since} names no command"));
    approve(&extension, &[]).refused(&format!("{since} extends grant {whole}"));
    approve(&named, &[]).succeeded();
    root.add_policy(
        "narrowed",
        &format!(
            "{}exact_command = true\n",
            POLICY.replace("require_approval = true\napprovers        = [\"%approvers\"]\n", "")
        ),
    );
    root.run_as(&person.name, ["jitctl", "cancel", &extension]).succeeded();
    root.run_as(&person.name, ["jitctl", "extend", &whole, "--reason", "more"])
        .refused(&format!("extends grant {whole}, which is for its whole role"));
    let exact: Vec<String> = root
        .journal()
        .iter()
        .filter(|record| record.kind() == "grant")
        .map(|record| format!("{:?}", record.text("grant")))
        .collect();
    assert_eq!(exact, [format!("{whole:?}"), format!("{named:?}")]);
}

#[test]
fn a_directory_may_be_part_of_a_request() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    exactly(root, &person, "/", &["-D", "/srv", "--", "pwd"]);
    run(root, &person, "/", &["pwd"]).refused("serves this command in /srv, and you are in /");
    assert_eq!(run(root, &person, "/", &["-D", "/srv", "pwd"]).succeeded(), "/srv");
}

#[test]
fn an_exact_grant_is_valid_only_for_the_approved_user_and_groups() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    exactly(root, &person, "/", &["-u", "daemon", "-g", "www-data", "--", "id"]);
    let (user, ids) = ("serves this command as daemon", "serves this command with the ids and groups as they were");
    let other: [(&[&str], &str); 4] = [
        (&["id"], user),
        (&["-u", "daemon", "id"], ids),
        (&["-u", "root", "-g", "www-data", "id"], user),
        (&["-P", "-u", "daemon", "-g", "www-data", "id"], ids),
    ];
    for (words, sentence) in other {
        run(root, &person, "/", words).refused(sentence);
    }
    let output = run(root, &person, "/", &["-u", "daemon", "-g", "www-data", "id"]);
    assert!(output.succeeded().contains("gid=33(www-data)"), "{output:?}");
    // A group that daemon joins later was not approved.
    root.script("groupadd later && usermod -aG later daemon");
    run(root, &person, "/", &["-u", "daemon", "-g", "www-data", "id"]).refused(ids);
}

#[test]
fn a_grant_permits_what_its_role_allowed_then_and_allows_now() {
    let root = own_root();
    let role = |commands: &str, more: &str| {
        root.add_policy(
            "web",
            &format!(
                "[roles.web]\neligible = [\"%web\"]\ncommands = {commands}\nauthenticate = false\n{more}\
                 [roles.web.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\n"
            ),
        );
    };
    role("[\"/usr/bin/id **\", \"/usr/bin/env **\"]", "");
    let (person, approver) = (root.person(&["web"]), root.person(&["approvers"]));
    let grant = id(&request(&root, &person, "web", &[]));
    root.run_as(&approver.name, ["jitctl", "approve", &grant]).succeeded();
    assert_eq!(run(&root, &person, "/", &["id", "-u"]).succeeded(), "0");

    role("\"ALL\"", "");
    run(&root, &person, "/", &["cat", "/etc/shadow"])
        .refused("its role did not cover this command when it was approved");
    run(&root, &person, "/", &["LD_PRELOAD=/tmp/x.so", "env"]).refused("not allowed to set");
    assert_eq!(run(&root, &person, "/", &["id", "-u"]).succeeded(), "0");
    let shown = root.run_as(&approver.name, ["jitctl", "show", &grant]);
    assert!(shown.succeeded().contains("changed since"), "{shown:?}");
    // An approver of a pending request reads the same: what it can still give, and what it cannot.
    let pending = id(&request(&root, &root.person(&["web"]), "web", &[]));
    role("[\"/usr/bin/env **\"]", "setenv = true\nrun_as = \"ALL\"\n");
    let told = |id: &str| root.run_as(&approver.name, ["jitctl", "show", id]).succeeded().to_owned();
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (given, nothing) = ("only what it allowed then and allows now", "nothing: it cannot be approved");
    for (id, then, given) in [(&grant, "/usr/bin/id ** /usr/bin/env **", given), (&pending, "ALL", nothing)] {
        let both = format!(
            "allowed then {then} as root with authenticate = false allows now /usr/bin/env ** as ALL with \
             authenticate = false setenv = true given {given}"
        );
        assert!(squeezed(&told(id)).contains(&both), "{both} is not in {}", told(id));
    }
    let json = root.run_as(&approver.name, ["jitctl", "--json", "show", &grant]).json()["grant"]["background"].clone();
    assert_eq!(json["role_commands_then"], serde_json::json!(["/usr/bin/id **", "/usr/bin/env **"]));
    assert_eq!((&json["role_run_as"], &json["role_run_as_then"]), (&["ALL"].into(), &["root"].into()));
    assert_eq!(json["role_options_then"], serde_json::json!({"authenticate": false}));
    assert_eq!(json["role_options"], serde_json::json!({"authenticate": false, "setenv": true}));
    role("\"ALL\"", "");
    let why = root.run_as(&person.name, ["jitctl", "why", "--", "cat", "/etc/shadow"]);
    assert!(why.stdout.contains("did not cover this command when it was approved"), "{why:?}");

    // Each start names the role by which it was judged, and the text of the role is stored.
    let named = "SELECT count(DISTINCT r.digest) FROM record s JOIN role_text r ON instr(CAST(s.body AS TEXT), \
                 '\"role_digest\":\"' || r.digest || '\"') > 0 WHERE s.kind = 'start'";
    let named = named.replace('"', "\\\"");
    assert_eq!(root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db \"{named}\"")).trim(), "2");
    root.as_root(["jitctl", "audit", "verify"]).intact();

    role("[\"/usr/bin/env **\"]", "");
    let narrowed = run(&root, &person, "/", &["id", "-u"]);
    assert_ne!(narrowed.status.code(), Some(0), "narrowing acts at once: {narrowed:?}");
    run(&root, &person, "/", &["env"]).succeeded();
    role("[\"/usr/bin/id **\", \"/usr/bin/env **\"]", "");
    assert_eq!(run(&root, &person, "/", &["id", "-u"]).succeeded(), "0");

    // The same for options: an approval without setenv stays without it.
    role("[\"/usr/bin/id **\", \"/usr/bin/env **\"]", "setenv = true\nenv_reset = false\n");
    run(&root, &person, "/", &["X=1", "env"]).refused("not allowed to set");
    let kept = root.command(&person.name, ["jit-sudo", "-n", "env"]).env("SMUGGLED", "1").run();
    assert!(!kept.succeeded().contains("SMUGGLED"), "{kept:?}");
}

#[test]
fn a_role_text_that_was_changed_in_the_database_gives_no_power() {
    let root = own_root();
    let role = |commands: &str| {
        let text = format!("[roles.web]\neligible = [\"%web\"]\ncommands = {commands}\nauthenticate = false\n");
        root.add_policy("web", &text);
    };
    role("[\"/usr/bin/id **\"]");
    let person = granted(&root, "web");
    role("\"ALL\"");
    let text = "sqlite3 /var/lib/jit-sudo/journal.db";
    root.script(&format!(
        "{text} \"UPDATE role_text SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/env') AS BLOB)\""
    ));
    run(&root, &person, "/", &["env"]).refused("its role has changed too much since it was approved");
    root.script(&format!("{text} 'DELETE FROM role_text'"));
    run(&root, &person, "/", &["id"]).refused("its role has changed too much since it was approved");
}

#[test]
fn documents_of_an_earlier_version_are_reported_and_invalid() {
    let root = own_root();
    let person = granted(&root, "self-service");
    let database = "/var/lib/jit-sudo/journal.db";
    for table in ["granted", "request"] {
        let body = r#"CAST(replace(CAST(body AS TEXT), '"version":2', '"version":1') AS BLOB)"#;
        root.as_root(["sqlite3", database, &format!("UPDATE {table} SET body = {body}")]).succeeded();
    }
    let refused = run(&root, &person, "/", &["id"]);
    refused.refused("it was made by an earlier version; ask again");
    let grant =
        records_of(&root, &person).iter().find(|record| record.kind() == "grant").unwrap().text("grant").to_owned();
    let shown = root.run_as(&person.name, ["jitctl", "show", &grant]);
    assert!(shown.stderr.contains("made by an earlier version; ask again"), "{shown:?}");
    root.run_as(&person.name, ["jitctl", "requests", "--all"]).succeeded();
    root.run_as(&person.name, ["jitctl", "grants", "--all"]).succeeded();
    let again: Value = request(&root, &person, "self-service", &[]);
    assert_eq!(again["grant"], "active");
    run(&root, &person, "/", &["id"]).succeeded();
}

#[test]
fn a_request_names_its_host_its_role_and_its_command_whole() {
    let person = root().person(&["reviewed"]);
    let pending = id(&request(root(), &person, "reviewed", &["--", "id", "-u"]));
    let query = format!("SELECT body FROM request WHERE id = '{pending}'");
    let body = root().as_root(["sqlite3", "-readonly", "/var/lib/jit-sudo/journal.db", &query]).succeeded().to_owned();
    let request: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(request["version"], 2);
    assert_eq!(request["host"]["name"], "web1");
    assert_eq!(request["command"]["argv"], serde_json::json!(["/usr/bin/id", "-u"]));
    assert_eq!(request["command"]["run_as_uid"], 0);
    let text = format!("SELECT body FROM role_text WHERE digest = '{}'", request["role_digest"].as_str().unwrap());
    let role = root().as_root(["sqlite3", "-readonly", "/var/lib/jit-sudo/journal.db", &text]).succeeded().to_owned();
    let digest = root().script(&format!("printf %s {} | sha256sum | cut -d ' ' -f 1", shell_word(&role)));
    assert_eq!(digest.trim(), request["role_digest"].as_str().unwrap());
    let pinned = root().script("jitctl key show | head -n 1 | cut -d ' ' -f 1,2");
    assert_eq!(request["host"]["key"].as_str(), Some(pinned.trim()));
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn a_directory_of_another_mount_namespace_is_not_the_one_that_was_approved() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    root.script("mkdir -p /srv/exact/below && echo approved | tee /srv/exact/file >/srv/exact/below/file");
    for (words, covered) in [(["cat", "file"], "/srv/exact"), (["cat", "below/file"], "/srv/exact/below")] {
        exactly(root, &person, "/srv/exact", &[&["--"][..], &words].concat());
        // In a user namespace of her own a user may mount, and its directories can be entered from outside.
        let script = format!(
            "mkdir -p ~/evil && echo evil >~/evil/file && mkfifo ~/ready\n\
             unshare -Urm bash -c 'mount --bind ~/evil {covered} && echo >~/ready && exec sleep 60' & there=$!\n\
             read -r <~/ready; rm ~/ready\n\
             cd /proc/$there/root/srv/exact && cat {file}; jit-sudo -n cat {file}; status=$?; kill $there; exit $status",
            file = words[1]
        );
        let output = root.command(&person.name, ["bash", "-c", &script]).run();
        assert_eq!(output.stdout, "evil\n", "mounted there, and not read by root: {output:?}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(run(root, &person, "/srv/exact", &words).succeeded(), "approved");
    }
    // The record of a run under another role, and a request, do not name a wrong directory.
    let script =
        "cd /proc/self/cwd; mkdir gone; cd gone; rmdir ../gone; jitctl request --role narrowed --reason r -- id";
    let output = root.command(&person.name, ["bash", "-c", script]).cwd(&person.home).run();
    output.refused("the working directory was removed");
}

#[test]
fn an_exact_grant_permits_its_program_only_by_its_own_name() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    root.script("echo 'print(\"the job\")' >/opt/job.py; touch /tmp/by-name; chmod 666 /tmp/by-name");
    exactly(root, &person, "/", &["--", "/usr/bin/python3", "/opt/job.py"]);
    let venv = "cd ~; ln -s /usr/bin w; v=$(python3 -c 'import sys; print(\"python%d.%d\" % sys.version_info[:2])'); \
                mkdir -p lib/$v/site-packages; printf 'home = /usr/bin\n' >pyvenv.cfg; \
                echo 'import os; open(\"/tmp/by-name\", \"a\").write(\"%d\" % os.geteuid())' >lib/$v/site-packages/a.pth";
    root.run_as(&person.name, ["bash", "-c", venv]).succeeded();
    let typed = format!("{}/w/python3", person.home);
    assert_eq!(run(root, &person, "/", &[&typed, "/opt/job.py"]).succeeded(), "the job");
    assert_eq!(run(root, &person, "/", &["python3", "/opt/job.py"]).succeeded(), "the job");
    for record in records_of(root, &person).iter().filter(|record| record.kind() == "start") {
        assert_eq!(record.json["argv"][0], "/usr/bin/python3", "{}", record.body);
    }
    assert_eq!(root.read("/tmp/by-name"), "", "modules of the holder's ran as root");
}

#[test]
fn a_login_shell_is_another_command_than_a_shell() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    exactly(root, &person, "/", &["-D", "/root", "--", "/bin/bash", "-c", "pwd"]);
    run(root, &person, "/", &["-i", "pwd"]).refused("exactly one command");
    assert_eq!(run(root, &person, "/", &["-D", "/root", "/bin/bash", "-c", "pwd"]).succeeded(), "/root");
}

#[test]
fn an_approved_directory_cannot_be_replaced_by_a_link() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    root.script("mkdir -p /srv/prod && echo prod >/srv/prod/file");
    let app = format!("{}/app", person.home);
    root.run_as(&person.name, ["sh", "-c", "mkdir app; echo mine >app/file"]).succeeded();
    exactly(root, &person, &app, &["--", "cat", "file"]);
    assert_eq!(run(root, &person, "/", &["-D", &app, "cat", "file"]).succeeded(), "mine");
    root.run_as(&person.name, ["sh", "-c", "mv app old; ln -s /srv/prod app"]).succeeded();
    let sentence = format!("serves this command in {app}, and this run does not begin there");
    run(root, &person, "/", &["-D", &app, "cat", "file"]).refused(&sentence);
    // The directory is exchanged all the time: the one that was compared is the one that is entered.
    let script = "python3 - app old <<'FLIP' & flip=$!\n\
                  import ctypes, sys\n\
                  while True: ctypes.CDLL(None).renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)\n\
                  FLIP\n\
                  for i in $(seq 500); do jit-sudo -n -D ~/app cat file 2>/dev/null; done | sort | uniq -c; kill $flip";
    let output = root
        .command(&person.name, ["bash", "-c", script])
        .cwd(&person.home)
        .patience(std::time::Duration::from_secs(240))
        .run();
    assert!(!output.stdout.contains("prod"), "{output:?}");
    // Some were rejected: the exchange hit, and the directory was not always the approved one.
    let mine = output.stdout.trim().strip_suffix(" mine").and_then(|count| count.trim().parse::<usize>().ok());
    assert!(mine.is_some_and(|count| count > 0 && count < 500), "{output:?}");
}

#[test]
fn records_name_the_directory_where_a_command_really_begins() {
    let root = exact_root();
    root.add_policy(
        "anywhere",
        "[roles.anywhere]\nstanding = [\"%anywhere\"]\ncommands = \"ALL\"\nrun_as = [\"ALL\"]\nruncwd = \"*\"\n\
         authenticate = false\n",
    );
    root.script("id homeless >/dev/null 2>&1 || useradd -d /srv/homeless -s /bin/bash homeless");
    let person = root.person(&["anywhere", "narrowed"]);
    root.run_as(&person.name, ["ln", "-s", "/srv", "here"]).succeeded();
    let link = format!("{}/here", person.home);
    assert_eq!(run(root, &person, "/", &["-D", &link, "pwd", "-P"]).succeeded(), "/srv");
    let login = run(root, &person, "/usr", &["-i", "-u", "homeless", "pwd"]);
    assert_eq!(login.succeeded(), "/usr");
    assert!(login.stderr.contains("unable to change directory to /srv/homeless: No such file"), "{login:?}");
    let records = records_of(root, &person);
    let begun: Vec<_> =
        records.iter().filter(|record| record.kind() == "start").map(|start| start.text("cwd")).collect();
    assert_eq!(begun, ["/srv", "/usr"]);
}

#[test]
fn a_pending_request_does_not_hide_why_a_grant_is_invalid() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    let grant = exactly(root, &person, "/srv", &["--", "pwd"]);
    let pending = id(&request(root, &person, "narrowed", &[]));
    let refused = run(root, &person, "/", &["pwd"]);
    let said = refused.refused("waits for the approval of ");
    let fault = format!("\njit-sudo: grant {grant} serves this command in /srv, and you are in /\n");
    let waits = format!("jit-sudo: request {pending} waits for");
    assert!(said.contains(&format!("{fault}{waits}")), "the fault first: {said}");
}

#[test]
fn an_exact_grant_never_starts_in_another_directory() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    root.script("id roamer >/dev/null 2>&1 || useradd -d /srv/roamer -s /bin/bash roamer; mkdir -p /srv/roamer; rmdir /srv/roamer");
    // The directory of a missing home cannot be requested.
    let request = ["jitctl", "request", "--role", "narrowed", "--reason", "r", "-u", "roamer", "-D", "/srv/roamer"];
    let request = [&request[..], &["--", "/bin/bash", "-c", "pwd"]].concat();
    root.run_as(&person.name, request).refused("unable to change directory to /srv/roamer: No such file or directory");
    root.script("mkdir -m 755 /srv/roamer");
    exactly(root, &person, "/", &["-u", "roamer", "-D", "/srv/roamer", "--", "/bin/bash", "-c", "pwd"]);
    root.script("rmdir /srv/roamer");
    run(root, &person, "/tmp", &["-i", "-u", "roamer", "pwd"]).refused("exactly one command, and this is another");
    let words = ["-u", "roamer", "-D", "/srv/roamer", "/bin/bash", "-c", "pwd"];
    run(root, &person, "/tmp", &words).refused("serves this command in /srv/roamer, and this run does not begin there");
}

#[test]
fn an_exact_grant_runs_no_script_that_its_holder_can_change() {
    let root = exact_root();
    let person = root.person(&["narrowed"]);
    let (home, name) = (&person.home, &person.name);
    let (interpreter, installed, beside) =
        (format!("{home}/interp"), format!("/opt/{name}-tool"), format!("{home}/tool"));
    let interp = |says: &str| {
        root.write(&interpreter, 0o755, format!("#!/bin/sh\necho {says}\n"));
        root.script(&format!("chown {name} {interpreter}"));
    };
    root.script(&format!("chmod 755 {home}; printf '#!{interpreter}\\n' >{installed}; chmod 755 {installed}"));
    root.script(&format!("printf '#!/usr/bin/env sh\\nid -u\\n' >{beside}; chmod 755 {beside}"));
    for (script, sentence) in [
        (&installed, format!("jit-sudo: the interpreter of {installed} cannot be trusted: {home}")),
        (&beside, format!("jit-sudo: the script cannot be trusted: {home}")),
    ] {
        interp("approved");
        exactly(root, &person, "/", &["--", script]);
        interp("another");
        let output = run(root, &person, "/", &[script]);
        assert!(output.stderr.starts_with(&sentence) && output.stdout.is_empty(), "{output:?}");
        root.run_as(name, ["jitctl", "release"]).succeeded();
    }
    // A grant that is not exact serves every command of its role, which allows everything.
    let pending = id(&request(root, &person, "narrowed", &[]));
    root.run_as(&root.person(&["approvers"]).name, ["jitctl", "approve", &pending]).succeeded();
    assert_eq!(run(root, &person, "/", &[&installed]).succeeded(), "another");
    assert_eq!(run(root, &person, "/", &[&beside]).succeeded(), "0");
}

#[test]
fn the_names_of_the_caller_pass_only_where_both_roles_let_them() {
    let root = own_root();
    let role = |options: &str| {
        root.add_policy(
            "names",
            &format!(
                "[roles.names]\neligible = [\"%names\"]\ncommands = [\"/usr/bin/env\"]\nauthenticate = false\n{options}\n"
            ),
        );
    };
    let person = root.person(&["names"]);
    let names = || {
        let run = root.command(&person.name, ["jit-sudo", "-n", "env"]).env("USER", "forged").env("LOGNAME", "forged");
        let output = run.run();
        let mut lines: Vec<_> = output.succeeded().lines().map(str::to_owned).collect();
        lines.retain(|line| line.starts_with("USER=") || line.starts_with("LOGNAME="));
        lines.join(" ")
    };
    const CLEANED: &str = "env_reset = false";
    const CALLERS: &str = "env_reset = false\nset_logname = false";
    const KEPT: &str = "env_keep = [\"USER\", \"LOGNAME\"]";
    for (then, now, expected) in [
        (CLEANED, KEPT, "root"),
        (KEPT, CLEANED, "root"),
        (CLEANED, CALLERS, "root"),
        (CALLERS, CLEANED, "root"),
        (CALLERS, KEPT, "forged"),
        (KEPT, CALLERS, "forged"),
    ] {
        role(then);
        request(&root, &person, "names", &[]);
        role(now);
        assert_eq!(names(), format!("LOGNAME={expected} USER={expected}"), "{then}, then {now}");
        root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    }
}

#[test]
fn a_limit_is_the_lower_of_what_both_roles_give() {
    let root = own_root();
    let role = |options: &str| {
        root.add_policy(
            "limits",
            &format!(
                "[roles.limits]\neligible = [\"%limits\"]\ncommands = [\"/usr/bin/prlimit **\"]\nauthenticate = false\n{options}\n"
            ),
        );
    };
    let person = root.person(&["limits"]);
    let limit = || {
        let line =
            "ulimit -Sn 100; ulimit -Hn 2000; jit-sudo -n prlimit --nofile --raw --noheadings --output SOFT,HARD";
        root.run_as(&person.name, ["bash", "-c", line]).succeeded().to_owned()
    };
    for (then, now, expected) in [
        ("default", "1500", "100 1500"),
        ("user", "1500", "100 1500"),
        ("", "1500", "100 1500"),
        ("default", "50,1500", "50 1500"),
        ("60,70", "50,1500", "50 70"),
    ] {
        let option = |limit: &str| match limit {
            "" => String::new(),
            limit => format!("rlimit_nofile = \"{limit}\""),
        };
        for (then, now) in [(then, now), (now, then)] {
            role(&option(then));
            request(&root, &person, "limits", &[]);
            role(&option(now));
            assert_eq!(limit(), expected, "{then}, then {now}");
            root.run_as(&person.name, ["jitctl", "release"]).succeeded();
        }
    }
}
