//! Disclosure: a policy that only root may read is quoted only to root, and the existence of files that a user cannot see is only
//! disclosed to a user who could run them now.

use std::time::Duration;

use harness::{Output, Person, PrivateRoot};

use crate::{granted, id, own_root, request};

/// Text that only messages with quotes from root's file contain.
const SECRET: &str = "xyzzy";

/// Mistakes whose messages quote the file: the text, the wrong line, and the message for root.
const MISTAKES: &[(&str, usize, &str)] = &[
    ("[roles.xyzzy]\nxyzzy = 7\n", 2, "unknown key 'xyzzy' in [roles.xyzzy]"),
    ("xyzzy = 1\n", 1, "unknown key 'xyzzy'"),
    ("[roles.xyzzy]\neligible = 7\n", 2, "[roles.xyzzy]"),
    ("[roles.\"xyzzy with blanks\"]\ncommands = [\"ALL\"]\n", 1, "xyzzy with blanks"),
    ("[roles.a]\neligible = [\"xyzzy with blanks\"]\ncommands = [\"ALL\"]\n", 2, "xyzzy with blanks"),
    ("[roles.a]\neligible = [\"%\", \"xyzzy\"]\ncommands = [\"ALL\"]\n", 2, "eligible"),
    ("[roles.xyzzy]\nrun_as = [\"\"]\ncommands = [\"ALL\"]\n", 2, "run_as in [roles.xyzzy]"),
    ("[roles.a]\ncommands = [\"xyzzy\"]\n", 2, "xyzzy"),
    ("[roles.a]\ncommands = [{ path = \"/usr/bin/id\", sha256 = \"xyzzy\" }]\n", 2, "sha256"),
    ("[roles.a]\ncommands = [\"ALL\"]\n[roles.a.activation]\nticket = '(xyzzy'\n", 4, "ticket"),
    ("[roles.a]\ncommands = [\"ALL\"]\n[roles.a.activation]\nmaximum_duration = \"xyzzy\"\n", 4, "maximum_duration"),
    ("[audit]\nsyslog = \"xyzzy\"\n", 2, "syslog"),
    ("[defaults]\nsecure_path = \"xyzzy\"\n", 2, "secure_path"),
    ("[roles.xyzzy\n", 1, ""),
    ("xyzzy = \"unfinished\n", 1, ""),
    ("[roles.xyzzy]\ncommands = [\"ALL\"]\n[roles.xyzzy]\n", 3, ""),
];

/// Everything that a user may call.
const CALLS: &[&[&str]] = &[
    &["jit-sudo", "-n", "id"],
    &["jit-sudo", "-n", "-b", "id"],
    &["jit-sudo", "-n", "-i"],
    &["jit-sudo", "-n", "-e", "/etc/motd"],
    &["jit-sudo", "-n", "-l"],
    &["jit-sudo", "-n", "-l", "id"],
    &["jit-sudo", "-n", "-v"],
    &["jit-sudo", "-n", "--role", "self-service", "id"],
    &["jitctl", "roles"],
    &["jitctl", "why", "--", "id"],
    &["jitctl", "request", "--role", "self-service", "--reason", "x"],
    &["jitctl", "requests"],
    &["jitctl", "grants"],
    &["jitctl", "show", "0000"],
    &["jitctl", "approve", "0000"],
    &["jitctl", "release"],
    &["jitctl", "audit", "list"],
    &["jitctl", "session", "list"],
    &["jitctl", "policy", "check"],
    &["jitctl", "policy", "show"],
    &["jitctl", "policy", "test", "--", "id"],
    &["jitctl", "review"],
    &["jitctl", "doctor"],
    &["jitctl", "--json", "roles"],
    &["jitctl", "--json", "policy", "check"],
];

fn all(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

#[test]
fn a_mistake_in_the_policy_is_quoted_to_root_alone() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    for (number, (text, line, words)) in MISTAKES.iter().enumerate() {
        for file in ["/etc/jit-sudo/policy.d/zz.toml", "/etc/jit-sudo/policy.toml"] {
            let kept = root.script("cat /etc/jit-sudo/policy.toml");
            root.write(file, 0o640, text);
            let place = format!("{file}:{line}: ");
            // Each call with the first mistakes, and each mistake with the first calls.
            let calls = if number < 2 { CALLS } else { &CALLS[..9] };
            for call in calls {
                let said = all(&root.run_as(&person.name, call.to_vec()));
                assert!(!said.contains(SECRET), "{text}: {call:?} quotes it: {said}");
                assert!(
                    call[1] == "doctor" || said.contains(&format!("{place}the policy has an error")),
                    "{text}: {call:?}: {said}"
                );
            }
            for call in [&["jitctl", "policy", "check"][..], &["jit-sudo", "-n", "id"], &["jitctl", "roles"]] {
                let said = all(&root.as_root(call.to_vec()));
                assert!(said.contains(&place) && said.contains(words), "{text}: root hears of {call:?}: {said}");
                assert!(!said.contains("the policy has an error"), "{text}: {call:?}: {said}");
            }
            let said = all(&root.as_root(["jitctl", "doctor"]));
            assert!(said.contains(&place) && said.contains(words), "{text}: {said}");
            let logged = format!("{:?}", root.syslog());
            assert!(!logged.contains(SECRET), "{text}: {logged}");
            root.script("rm -f /etc/jit-sudo/policy.d/zz.toml");
            root.write("/etc/jit-sudo/policy.toml", 0o640, &kept);
        }
    }
    root.run_as(&person.name, ["jitctl", "roles"]).succeeded();
}

#[test]
fn the_hint_for_a_broken_policy_names_jitctl_policy_check() {
    let root = own_root();
    root.write("/etc/jit-sudo/policy.d/zz.toml", 0o640, "[roles.xyzzy]\nxyzzy = 7\n");
    let expected = "/etc/jit-sudo/policy.d/zz.toml:2: the policy has an error\nhint: as root: jitctl policy check\n";
    assert_eq!(root.run_as("alice", ["jit-sudo", "-n", "id"]).stderr, format!("jit-sudo: {expected}"));
    assert_eq!(root.run_as("alice", ["jitctl", "roles"]).stderr, format!("jitctl: {expected}"));
}

#[test]
fn a_users_own_policy_file_is_quoted_to_them() {
    let root = own_root();
    root.run_as("alice", ["sh", "-c", "printf '[roles.xyzzy]\\nxyzzy = 7\\n' >~/p.toml"]).succeeded();
    let output = root.command("alice", ["jitctl", "policy", "check", "p.toml"]).cwd("/home/alice").run();
    output.refused("p.toml:2: unknown key 'xyzzy' in [roles.xyzzy]");
    let words = ["jitctl", "policy", "test", "--policy", "p.toml", "--", "id"];
    root.command("alice", words).cwd("/home/alice").run().refused("unknown key 'xyzzy'");
}

#[test]
fn a_mistake_in_the_list_of_keys_is_quoted_to_root_alone() {
    let root = own_root();
    root.write(
        "/etc/jit-sudo/policy.d/zz.toml",
        0o640,
        "[roles.signed]\neligible = [\"%signed\"]\ncommands = [\"ALL\"]\nauthenticate = false\n[roles.signed.activation]\n\
         require_approval = true\nsigned_approvals = true\napprovers = [\"bob\"]\n",
    );
    let person = root.person(&["signed"]);
    let pending = id(&request(&root, &person, "signed", &[]));
    root.write("/etc/jit-sudo/approvers", 0o640, "# keys\nxyzzy ssh-rsa AAAA\n");
    let place = "/etc/jit-sudo/approvers:2: ";
    for call in [&["jitctl", "why", "--", "id"][..], &["jit-sudo", "-n", "id"], &["jit-sudo", "-n", "-l", "id"]] {
        let said = all(&root.run_as(&person.name, call.to_vec()));
        assert!(!said.contains("rsa") && !said.contains(SECRET), "{call:?}: {said}");
        assert!(said.contains(&format!("{place}the list of keys has an error")), "{call:?}: {said}");
    }
    let said = all(&root.run_as("bob", ["jitctl", "approve", &pending]));
    assert!(!said.contains("rsa") && !said.contains(SECRET), "{said}");
    for call in [["jitctl", "policy", "check"].as_slice(), &["jitctl", "doctor"]] {
        let said = all(&root.as_root(call.to_vec()));
        assert!(said.contains(place) && said.contains("key of type ssh-rsa"), "{said}");
    }
}

#[test]
fn a_damaged_compiled_policy_names_its_role_to_root_alone() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    root.run_as(&person.name, ["jitctl", "roles"]).succeeded();
    root.script(
        "python3 - <<'END'
import sqlite3
db = sqlite3.connect('/var/lib/jit-sudo/journal.db')
db.execute(\"UPDATE policy_role SET sha256 = zeroblob(32) WHERE name = 'self-service'\")
db.commit()
END",
    );
    for call in
        [&["jitctl", "roles"][..], &["jit-sudo", "-n", "id"], &["jit-sudo", "-n", "-l"], &["jit-sudo", "-n", "-v"]]
    {
        let said = all(&root.run_as(&person.name, call.to_vec()));
        assert!(said.contains("the compiled policy is damaged") && !said.contains("self-service"), "{call:?}: {said}");
    }
    let said = all(&root.as_root(["jitctl", "policy", "show"]));
    assert!(said.contains("the compiled policy is damaged at role 'self-service'"), "{said}");
}

/// Names in a directory of root; the last ones do not exist.
const NAMES: [&str; 9] = ["tool", "data", "script", "folder", "fifo", "link", "loop", "nothing", "sub/nothing"];

/// Returns a root with a directory that only root may list.
fn with_hidden_place() -> PrivateRoot {
    let root = own_root();
    root.script(
        "mkdir -m 700 /root/bin; cd /root/bin; install -m 755 /usr/bin/id tool; echo secret >data; mkdir folder
         printf '#!/bin/sh\\necho ran\\n' >script; chmod 755 script; mkfifo fifo; ln -s tool link; ln -s loop loop
         mkdir -m 755 /root/bin/sub; chmod 700 /root",
    );
    root
}

/// Returns the ways to ask about one path.
fn questions(path: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["jit-sudo", "-n", path],
        vec!["jit-sudo", "-n", path, "-u"],
        vec!["jit-sudo", "-n", "-b", path],
        vec!["jit-sudo", "-n", "-u", "bob", path],
        vec!["jit-sudo", "-n", "-g", "bob", path],
        vec!["jit-sudo", "-n", "--role", "self-service", path],
        vec!["jit-sudo", "--reason", "x", path],
        vec!["jit-sudo", "-n", "-l", path],
        vec!["jit-sudo", "-n", "-ll", path, "x"],
        vec!["jit-sudo", "-n", "-e", path],
        vec!["jit-sudo", "-n", "-l", "sudoedit", path],
        vec!["jitctl", "why", "--", path],
        vec!["jitctl", "--json", "why", "--", path],
        vec!["jitctl", "why", "-u", "bob", "--", path],
        vec!["jitctl", "why", "--", "sudoedit", path],
        vec!["jitctl", "request", "--reason", "x", "--", path],
        vec!["jitctl", "--json", "request", "--role", "self-service", "--reason", "x", "--", path],
    ]
}

/// Returns the answers to each question, without the name in question.
fn answers(root: &PrivateRoot, person: &Person, path: &str) -> Vec<(Option<i32>, String, String)> {
    let hide = |text: &str| text.replace(path, "PATH");
    questions(path)
        .into_iter()
        .map(|words| {
            let output = root.run_as(&person.name, words);
            (output.status.code(), hide(&output.stdout), hide(&output.stderr))
        })
        .collect()
}

#[test]
fn an_eligible_user_learns_nothing_about_hidden_files() {
    let root = with_hidden_place();
    // Eligible for everything, and also with a grant for another command, or with an unrelated role.
    root.write(
        "/etc/jit-sudo/policy.d/zz.toml",
        0o640,
        "[roles.very]\neligible = [\"%very\"]\ncommands = [\"ALL\"]\nauthenticate = false\nactivation.exact_command = true\n",
    );
    let exact = root.person(&["very", "self-service"]);
    assert_eq!(request(&root, &exact, "very", &["--", "/usr/bin/id"])["grant"], "active");
    for person in [root.person(&["self-service"]), exact, root.person(&["self-service", "as-www", "rules"])] {
        let missing = answers(&root, &person, "/root/bin/nothing");
        for name in NAMES {
            let path = format!("/root/bin/{name}");
            let told = answers(&root, &person, &path);
            for ((question, told), missing) in questions(&path).iter().zip(&told).zip(&missing) {
                assert_eq!(told, missing, "{} asks {question:?}", person.name);
            }
        }
        let said = &missing[0].2;
        assert!(said.contains("is not allowed to execute 'PATH' as root on web1."), "{said}");
        assert!(said.contains("hint: ask for a role of yours without naming the command: jitctl request"), "{said}");
    }
    // No request was made meanwhile.
    let requests = root.as_root(["jitctl", "--json", "requests", "--all"]).json();
    assert!(!requests.to_string().contains("/root/bin"), "{requests}");
}

#[test]
fn a_name_in_a_hidden_directory_of_secure_path_is_hidden_too() {
    let root = with_hidden_place();
    root.write(
        "/etc/jit-sudo/policy.d/path.toml",
        0o640,
        "[defaults]\nsecure_path = \"/usr/bin:/root/bin:/nowhere\"\n",
    );
    let person = root.person(&["self-service"]);
    let missing = answers(&root, &person, "absent");
    for name in ["tool", "data", "folder", "fifo", "loop"] {
        let told = answers(&root, &person, name);
        for ((question, told), missing) in questions(name).iter().zip(&told).zip(&missing) {
            // Both edit a file in the current directory.
            if question[2] != "-e" && !question.contains(&"sudoedit") {
                assert_eq!(told, missing, "{question:?}");
            }
        }
    }
    root.run_as(&person.name, ["jitctl", "why", "--", "id"]).exited(1);
    let deploy = root.person(&["deploy"]);
    assert_eq!(root.run_as(&deploy.name, ["jit-sudo", "-n", "tool", "-u"]).succeeded(), "0");
    root.run_as(&deploy.name, ["jit-sudo", "-n", "nothing"]).refused("nothing: command not found");
}

/// Returns the broker's answer to a user who asks about another one.
fn asked_about(root: &PrivateRoot, asker: &str, user: &str, path: &str) -> String {
    let question = format!("{{\"verb\":\"why\",\"user\":\"{user}\",\"command\":[\"{path}\"]}}");
    let broker = ["/usr/libexec/jit-sudo/jit-sudo-broker"];
    root.command(asker, broker).stdin(question).run().stdout
}

#[test]
fn a_user_who_may_run_everything_learns_which_files_exist() {
    let root = with_hidden_place();
    let held = granted(&root, "self-service");
    for person in [root.person(&["deploy"]), held] {
        let run = |words: &[&str]| root.run_as(&person.name, [&["jit-sudo", "-n"][..], words].concat());
        assert_eq!(run(&["/root/bin/tool", "-u"]).succeeded(), "0");
        assert_eq!(run(&["-l", "/root/bin/tool"]).succeeded(), "/root/bin/tool");
        run(&["/root/bin/nothing"]).refused("/root/bin/nothing: command not found");
        run(&["/root/bin/folder"]).refused("/root/bin/folder: is a directory");
        run(&["/root/bin/data"]).refused("/root/bin/data: is not executable");
        root.run_as(&person.name, ["jitctl", "why", "--", "/root/bin/tool"]).succeeded();
        root.run_as(&person.name, ["jitctl", "why", "--", "/root/bin/nothing"]).refused("command not found");
        // As a run-as user who cannot reach it either, it does not run.
        let (tool, nothing) = (run(&["-u", "bob", "/root/bin/tool"]), run(&["-u", "bob", "/root/bin/nothing"]));
        assert_eq!(tool.stderr.replace("tool", "nothing"), nothing.stderr);
    }
    // Root gets answers about every user.
    root.as_root(["jit-sudo", "-n", "/root/bin/nothing"]).refused("command not found");
    let person = root.person(&["self-service"]);
    let why = |path: &str| asked_about(&root, "root", &person.name, path);
    assert!(why("/root/bin/tool").contains("there is no active grant"), "{}", why("/root/bin/tool"));
    assert!(why("/root/bin/nothing").contains("command not found"), "{}", why("/root/bin/nothing"));
}

#[test]
fn a_grant_for_a_whole_role_permits_hidden_programs() {
    let root = with_hidden_place();
    root.write(
        "/etc/jit-sudo/policy.d/zz.toml",
        0o640,
        "[roles.tool]\neligible = [\"%tool\"]\ncommands = [\"/root/bin/tool **\"]\nauthenticate = false\n\
         [roles.pinned]\nstanding = [\"%pinned\"]\nauthenticate = false\n\
         commands = [{ path = \"/root/bin/tool\", args = [\"**\"], sha256 = \"DIGEST\" }]\n",
    );
    root.script("sed -i s/DIGEST/$(sha256sum /root/bin/tool | cut -d' ' -f1)/ /etc/jit-sudo/policy.d/zz.toml");
    let person = root.person(&["tool"]);
    let refused = root.run_as(&person.name, ["jit-sudo", "-n", "/root/bin/tool", "-u"]);
    refused.refused("not allowed");
    request(&root, &person, "tool", &[]);
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "/root/bin/tool", "-u"]).succeeded(), "0");
    // Files that the role does not cover stay hidden, whether they exist or not.
    let (data, nothing) = ("/root/bin/data", "/root/bin/nothing");
    let told = |path: &str| all(&root.run_as(&person.name, ["jit-sudo", "-n", path])).replace(path, "PATH");
    assert_eq!(told(data), told(nothing));

    let pinned = root.person(&["pinned"]);
    assert_eq!(root.run_as(&pinned.name, ["jit-sudo", "-n", "/root/bin/tool", "-u"]).succeeded(), "0");
    root.script("printf '\\0' >>/root/bin/tool");
    let (changed, gone) = (["jit-sudo", "-n", "/root/bin/tool", "-u"], ["jit-sudo", "-n", nothing, "-u"]);
    let changed = all(&root.run_as(&pinned.name, changed)).replace("/root/bin/tool", "PATH");
    assert_eq!(changed, all(&root.run_as(&pinned.name, gone)).replace(nothing, "PATH"));
}

#[test]
fn an_audit_reader_learns_nothing_by_asking_about_another_user() {
    let root = with_hidden_place();
    root.write("/etc/jit-sudo/policy.d/zz.toml", 0o640, "[audit]\nreaders = [\"%adm\"]\n");
    root.script("usermod -aG adm carol");
    let told = |path: &str| {
        let mut told = vec![asked_about(&root, "carol", "root", path).replace(path, "PATH")];
        for words in [
            &["jitctl", "policy", "test", "--user", "root", "--", path][..],
            &["jit-sudo", "-n", "-l", "-U", "root", path],
            &["jit-sudo", "-n", "-l", "-U", "deploy", path],
        ] {
            told.push(all(&root.run_as("carol", words.to_vec())).replace(path, "PATH"));
        }
        told
    };
    root.script("useradd -G deploy deploy 2>/dev/null || { groupadd -f deploy; useradd -G deploy -g deploy deploy; }");
    let said = told("/root/bin/tool");
    assert!(said[0].contains("you may not look into the directory of PATH"), "{said:?}");
    assert_eq!(told("/root/bin/tool"), told("/root/bin/nothing"));
    assert_eq!(told("/root/bin/folder"), told("/root/bin/nothing"));
}

#[test]
fn refusing_an_existing_file_takes_no_longer_than_a_missing_one() {
    let root = with_hidden_place();
    root.script("head -c 300000000 /dev/zero >/root/bin/huge; chmod 755 /root/bin/huge");
    let person = root.person(&["self-service"]);
    let mut took = [Duration::ZERO; 2];
    for _ in 0..15 {
        for (path, took) in ["/root/bin/huge", "/root/bin/nothing"].into_iter().zip(&mut took) {
            let begun = std::time::Instant::now();
            root.run_as(&person.name, ["jitctl", "request", "--reason", "x", "--", path]).refused("it is not reported");
            *took += begun.elapsed();
        }
    }
    let [huge, nothing] = took;
    println!("15 refusals: of 300 MB {huge:?}, of nothing {nothing:?}");
    assert!(huge < nothing * 2 && nothing < huge * 2, "{huge:?} {nothing:?}");
}

#[test]
fn a_policy_check_reports_each_mistake_once_without_a_hint() {
    let root = own_root();
    root.write("/etc/jit-sudo/policy.d/zz.toml", 0o640, "[roles.xyzzy]\nxyzzy = 7\n");
    let checked = root.as_root(["jitctl", "policy", "check"]);
    let said = checked.refused("unknown key 'xyzzy' in [roles.xyzzy]");
    assert_eq!(said.matches("xyzzy").count(), said.lines().next().unwrap().matches("xyzzy").count(), "{said}");
    assert!(
        said.ends_with("hint: correct the file, then: jitctl policy check\n") && said.lines().count() == 2,
        "{said}"
    );
    let listed = root.as_root(["jitctl", "roles"]);
    assert!(listed.stderr.ends_with("hint: jitctl policy check\n"), "root is told nothing of root: {listed:?}");
}

#[test]
fn the_digest_of_a_program_that_its_requester_may_not_read_is_for_approvers() {
    let root = own_root();
    root.script(
        "install -m 711 /usr/bin/id /usr/local/bin/unreadable; install -m 755 /usr/bin/id /usr/local/bin/readable",
    );
    root.write(
        "/etc/jit-sudo/policy.d/zz.toml",
        0o640,
        "[roles.asked]\neligible = [\"%asked\"]\ncommands = [\"ALL\"]\n[roles.asked.activation]\nrequire_approval = true\n\
         approvers = [\"%approvers\"]\nexact_command = true\n",
    );
    let digest = root.script("sha256sum /usr/local/bin/unreadable | cut -d' ' -f1");
    let digest = digest.trim();
    let (person, approver) = (root.person(&["asked"]), root.person(&["approvers"]));
    let grant = request(&root, &person, "asked", &["--", "/usr/local/bin/unreadable"]);
    assert!(!grant.to_string().contains(digest), "{grant}");
    let pending = id(&grant);
    let shows = |who: &str, words: &[&str]| all(&root.run_as(who, [&["jitctl"][..], words].concat())).contains(digest);
    for words in [&["--json", "show", &pending][..], &["show", &pending], &["--json", "requests"]] {
        assert!(!shows(&person.name, words), "{words:?}");
        assert!(shows(&approver.name, words) || words == ["show", &pending], "{words:?}");
    }
    assert!(root.as_root(["jitctl", "--json", "show", &pending]).stdout.contains(digest));
    // The text that an approver verifies elsewhere must contain it.
    for words in [
        &["show", &pending, "--print"][..],
        &["--json", "show", &pending, "--print"],
        &["show", &pending, "--export", "x"],
    ] {
        let output = root.run_as(&person.name, [&["jitctl"][..], words].concat());
        let sentence = "the text of this request would tell the digest of a program that you cannot read";
        assert!(output.status.code() == Some(1) && output.stderr.contains(sentence), "{words:?}: {output:?}");
        assert!(!all(&output).contains(digest), "{words:?}");
    }
    let printed = root.run_as(&approver.name, ["jitctl", "show", &pending, "--print"]);
    assert!(printed.succeeded().contains("BEGIN JIT-SUDO REQUEST"), "{printed:?}");
    let readable = request(&root, &person, "asked", &["--", "/usr/local/bin/readable"]);
    assert_eq!(readable["sha256"], digest, "{readable}");
    // It is signed all the same: an approval of exactly this binary.
    root.run_as(&approver.name, ["jitctl", "approve", &pending]).succeeded();
    assert!(!shows(&person.name, &["--json", "grants"]));
}
