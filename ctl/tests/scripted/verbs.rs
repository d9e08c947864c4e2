//! How each verb handles its answer, and wrong arguments.

use jit_core::wire::{AuditList, AuditVerify, VerifyInfo, Why};
use serde_json::Value;

use crate::fixtures::{page, why};
use crate::support::{Answer, Scripted};

#[test]
fn why_is_status_1_when_the_command_may_not_run() {
    let called = Scripted::answering(Answer::to::<Why>(why(false))).call(&["why", "ls"]);
    assert_eq!(called.status, 1);
    assert!(called.stdout.contains("web-ops: allows, by the rule ALL"), "{}", called.stdout);
    assert!(called.stderr.ends_with("hint: jitctl request --reason TEXT -- ls\n"), "{}", called.stderr);
    assert_eq!(Scripted::answering(Answer::to::<Why>(why(true))).call(&["why", "ls"]).status, 0);
}

#[test]
fn policy_files_are_checked_without_the_broker() {
    let good = "[roles.web-ops]\neligible = [\"alice\"]\ncommands = [\"/usr/bin/systemctl restart nginx\"]\n";
    let bad = "[roles.web-ops]\neligible = [\"alice\"]\ncomands = [\"ALL\"]\n";
    let broker = Scripted::silent().with("good.toml", good).with("bad.toml", bad).with("latin1.toml", b"# \xe4\n");
    let path = |name: &str| broker.path(name).to_string_lossy().into_owned();
    let called = broker.call(&["policy", "check", &path("good.toml")]);
    assert_eq!(called.status, 0, "{}", called.stderr);
    assert!(called.stdout.ends_with("the policy is good: 1 role, 1 command rule\n"), "{}", called.stdout);
    let called = broker.call(&["policy", "check", &path("good.toml"), &path("bad.toml")]);
    assert_eq!((called.status, called.stdout.as_str()), (1, ""));
    let place = format!("jitctl: {}:", path("bad.toml"));
    assert!(called.stderr.starts_with(&place), "{}", called.stderr);
    for (file, cause) in [("latin1.toml", "it is not UTF-8 from byte 2 on"), ("none.toml", "no such file or directory")]
    {
        let called = broker.call(&["policy", "check", &path(file)]);
        assert_eq!((called.status, called.stderr), (1, format!("jitctl: cannot read {}: {cause}\n", path(file))));
    }
    assert_eq!(broker.call(&["policy", "check", "/dev/zero"]).status, 1);
    assert_eq!(broker.times_asked(), 0);
}

#[test]
fn a_broken_chain_is_status_1_and_names_the_record() {
    let verify = |intact, first_bad: Option<&str>| {
        let first_bad = first_bad.map(str::to_owned);
        let verified = VerifyInfo { intact, records: 12, head: "abcd".into(), first_bad, ..VerifyInfo::default() };
        Scripted::answering(Answer::to::<AuditVerify>(verified)).call(&["audit", "verify"])
    };
    let called = verify(true, None);
    assert_eq!(called.status, 5);
    assert!(called.stdout.starts_with("chain intact: 12 records, head abcd\n"), "{}", called.stdout);
    assert!(called.stdout.contains("not checked: no record is signed\n"), "{}", called.stdout);
    let called = verify(false, Some("record 7: its hash is not that of its bytes"));
    assert_eq!(called.status, 1);
    assert!(called.stderr.starts_with("jitctl: chain broken: record 7: its hash"), "{}", called.stderr);
}

#[test]
fn a_run_is_shown_with_all_its_fields() {
    let broker = Scripted::answering(Answer::to::<AuditList>(page()));
    let called = broker.call(&["audit", "list"]);
    assert!(called.stdout.contains("start  alice  r1 as root: /bin/ls 'a b'"), "{}", called.stdout);
    assert!(called.stdout.contains("end    alice  r1: exit status 0 after 1.500s"), "{}", called.stdout);
    let called = broker.call(&["audit", "show", "r1"]);
    for part in ["A_TOKEN (redacted, digest 00)", "1970-01-01 00:00:01 +00:00", "word 1", "ended by  itself"] {
        assert!(called.stdout.contains(part), "{part} is not in {}", called.stdout);
    }
}

#[test]
fn wrong_arguments_are_status_2_in_our_style() {
    let broker = Scripted::silent();
    let called = broker.call(&["deny", "0"]);
    assert_eq!(called.status, 2);
    let line =
        "jitctl: the following required arguments were not provided: --reason <TEXT>\nhint: jitctl deny --help\n";
    assert_eq!(called.stderr, line);
    let called = broker.call(&["approve", "0", "--for", "0s", "--json"]);
    assert_eq!(called.status, 2);
    assert_eq!(serde_json::from_str::<Value>(&called.stdout).unwrap()["error"]["code"], "usage");
    assert_eq!(broker.call(&[]).status, 2);
    assert_eq!(broker.times_asked(), 0, "nobody is asked a wrong question");
}

#[test]
fn help_and_version_are_on_stdout() {
    let broker = Scripted::silent();
    let help = broker.call(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (0, ""));
    for verb in ["roles", "why", "request", "approve", "revoke", "audit", "doctor"] {
        assert!(help.stdout.contains(&format!("  {verb} ")), "{verb} is not in {}", help.stdout);
    }
    let version = broker.call(&["--version"]);
    assert_eq!(version.stdout, format!("jitctl {}\n", env!("CARGO_PKG_VERSION")));
}
