//! The parts of a request besides the command: group, directory and variables. The printed hints request exactly the run that was
//! refused.

use harness::{Person, PrivateRoot};
use serde_json::Value;

use crate::{id, own_root};

const POLICY: &str = r#"
[roles.asks]
eligible      = ["%asks"]
commands      = ["/usr/bin/id **", "/usr/bin/env", "/usr/bin/pwd"]
run_as        = ["ALL"]
run_as_groups = ["adm"]
authenticate  = false
runcwd        = "*"
env_keep      = ["ASKED*"]

[roles.asks.activation]
exact_command         = true
require_justification = true

[roles.asks-little]
eligible     = ["%asks-little"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.asks-freely]
eligible     = ["%asks-freely"]
commands     = ["/usr/bin/id **", "/usr/bin/env"]
authenticate = false
setenv       = true

[roles.asks-tty]
eligible     = ["%asks-tty"]
commands     = ["/usr/bin/pwd"]
authenticate = false
requiretty   = true
runcwd       = "/var/log"

[roles.asks-tty.activation]
exact_command = true
"#;

fn asking() -> &'static PrivateRoot {
    static ROOT: std::sync::OnceLock<PrivateRoot> = std::sync::OnceLock::new();
    ROOT.get_or_init(|| {
        let root = own_root();
        root.add_policy("asking", POLICY);
        root
    })
}

/// Returns the terms of a request with these arguments.
fn bound(root: &PrivateRoot, person: &Person, words: &[&str]) -> Value {
    let output = root.run_as(&person.name, [&["jitctl", "--json", "request", "--reason", "test"], words].concat());
    output.succeeded();
    output.json()["grant"].clone()
}

#[test]
fn group_directory_and_variables_stand_in_the_request_and_serve() {
    let root = asking();
    let person = root.person(&["asks"]);
    let adm: i64 = root.script("getent group adm | cut -d: -f3").trim().parse().unwrap();
    let grant =
        bound(root, &person, &["-u", "bob", "-g", "adm", "-D", "/tmp", "--", "ASKED=a b", "ASKED_TOO=1", "env"]);
    let info = &grant["bound"];
    assert_eq!((&info["run_as_gid"], &info["directory"]), (&adm.into(), &"/tmp".into()), "{grant}");
    assert_eq!(info["environment"], serde_json::json!(["ASKED=a b", "ASKED_TOO=1"]), "{grant}");
    let shown = root.run_as(&person.name, ["jitctl", "show", &id(&grant)]);
    for part in ["directory /tmp", "variables ASKED=a b", "ASKED_TOO=1", &format!("gid {adm}, ")] {
        let text: Vec<&str> = shown.succeeded().split_whitespace().collect();
        assert!(text.join(" ").contains(part), "{part}: {shown:?}");
    }
    let run = |more: &[&str]| {
        let words = [&["jit-sudo", "-n", "-u", "bob", "-g", "adm", "-D", "/tmp"], more].concat();
        root.run_as(&person.name, words)
    };
    let ran = run(&["ASKED=a b", "ASKED_TOO=1", "env"]);
    assert!(ran.succeeded().lines().any(|line| line == "ASKED=a b"), "{ran:?}");
    let named = "serves this command with these variables of yours and no others: 'ASKED=a b' ASKED_TOO=1";
    run(&["ASKED=other", "ASKED_TOO=1", "env"]).refused(named);
    run(&["env"]).refused(named);
    root.run_as(&person.name, ["jit-sudo", "-n", "-u", "bob", "-D", "/tmp", "ASKED=a b", "ASKED_TOO=1", "env"])
        .refused("serves this command with the ids and groups as they were");
}

#[test]
fn a_directory_can_be_requested_in_every_form_that_a_run_accepts() {
    let root = asking();
    let person = root.person(&["asks"]);
    root.script(&format!("mkdir -p {0}/below && chmod 755 {0} {0}/below", person.home));
    for (typed, means) in
        [("below", format!("{}/below", person.home)), ("~", "/root".into()), ("~bob", "/home/bob".into())]
    {
        let grant = bound(root, &person, &["-D", typed, "--", "pwd"]);
        assert_eq!(grant["bound"]["directory"], means.as_str(), "{typed}: {grant}");
        let ran = root.run_as(&person.name, ["jit-sudo", "-n", "-D", typed, "pwd"]);
        assert_eq!(ran.succeeded().trim(), means, "{typed}");
        root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    }
    root.run_as(&person.name, ["jitctl", "request", "--reason", "x", "-D", "~nobody-here", "--", "pwd"])
        .refused("nobody-here");
}

#[test]
fn a_request_for_options_that_the_role_forbids_is_rejected() {
    let root = asking();
    let person = root.person(&["asks-little"]);
    let ask = |verb: &str, words: &[&str]| {
        let verb: &[&str] = if verb == "why" { &["jitctl", "why"] } else { &["jitctl", "request", "--reason", "x"] };
        root.run_as(&person.name, [verb, words].concat())
    };
    for (words, sentence) in [
        (
            &["--", "FOO=1", "LD_PRELOAD=/x", "id"][..],
            "not allowed to set the following environment variables: FOO, LD_PRELOAD",
        ),
        (&["-D", "/tmp", "--", "id"], "not permitted to use the -D option with /usr/bin/id"),
    ] {
        ask("request", words).refused("role asks-little: ");
        ask("request", words).refused(sentence);
        let why = ask("why", words);
        why.exited(1);
        assert!(why.stdout.contains(sentence) && !why.stderr.contains("hint: jitctl request"), "{why:?}");
    }
    ask("request", &["-g", "adm", "--role", "asks-little", "--", "id"])
        .refused("does not run commands with that group");
    let requests = root.run_as(&person.name, ["jitctl", "--json", "requests", "--all"]).json();
    assert_eq!(requests["requests"], serde_json::json!([]), "nothing was asked: {requests}");
    // A wider role that allows them is selected.
    let both = root.person(&["asks-little", "asks-freely"]);
    assert_eq!(bound(root, &both, &["--", "FOO=1", "id"])["role"], "asks-freely");
    root.run_as(&both.name, ["jitctl", "why", "--", "FOO=1", "id"]).succeeded();
    root.run_as(&both.name, ["jit-sudo", "-n", "FOO=1", "id"]).succeeded();
    // A grant does not help with what its role does not allow.
    bound(root, &person, &["--", "id"]);
    ask("why", &["--", "id"]).succeeded();
    let why = ask("why", &["--", "FOO=1", "id"]);
    why.exited(1);
    assert!(why.stdout.contains("role asks-little allows the command, but: "), "{why:?}");
}

#[test]
fn terminal_options_of_a_role_do_not_affect_the_request() {
    let root = asking();
    let person = root.person(&["asks-tty"]);
    let grant = bound(root, &person, &["--", "pwd"]);
    assert_eq!(grant["bound"]["directory"], "/var/log", "{grant}");
    let mut session = root.pty_as(&person.name, ["jit-sudo", "-n", "pwd"]);
    session.expect("/var/log");
    assert!(session.wait().success());
}

/// Returns the hint after an error, as it can be typed.
fn hint(said: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_else(|| panic!("{said}"));
    line.replace("'WHY'", "'a test'")
}

#[test]
fn the_hint_requests_exactly_the_run_that_was_refused() {
    let root = asking();
    for words in [
        &["-u", "bob", "-g", "adm", "-D", "/var/log", "ASKED=a b", "ASKED_C=$HOME", "env"][..],
        &["-g", "adm", "id", "-g"],
        &["-u", "bob", "-D", "~", "pwd"],
        &["-D", "..", "pwd"],
        &["ASKED=1", "id"],
        &["id", "a b", "'", "a\\b", "\u{1b}[2J\n"],
    ] {
        let person = root.person(&["asks"]);
        let run = || root.run_as(&person.name, [&["jit-sudo", "-n"], words].concat());
        let refused = run();
        assert!(!refused.status.success(), "{refused:?}");
        let line = hint(&refused.stderr);
        assert!(line.starts_with("jitctl request --role asks --reason 'a test'"), "{line}");
        // jitctl answers the same to the same question.
        let why = root.run_as(&person.name, [&["jitctl", "why"], options(words).as_slice()].concat());
        assert_eq!(hint(&why.stderr), line, "{why:?}");
        root.run_as(&person.name, ["bash", "-euc", &line]).succeeded();
        let ran = run();
        assert!(!ran.stderr.contains("hint: ") && !ran.stderr.contains("not allowed"), "{line}: {ran:?}");
    }
}

/// Returns the arguments with `--` after the options.
fn options<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let count = words.chunks(2).take_while(|pair| pair[0].starts_with('-')).count() * 2;
    [&words[..count], &["--"], &words[count..]].concat()
}
