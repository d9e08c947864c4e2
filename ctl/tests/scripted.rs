//! jitctl as a process against a broker by script: what it asks, what it shows, how it ends.

mod support;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jit_sudo::broker::wire::{
    Answer, ApprovalInfo, Ask, EndedInfo, KeyInfo, PolicyInfo, RecordInfo, RecordPage, RoleInfo, RoleVerdict,
    VerifyInfo, WhyInfo,
};
use jit_sudo::names::{GrantId, RoleName};
use serde_json::{Value, json};
use support::{Scripted, active, finish, pending};

fn grant(info: jit_sudo::broker::wire::GrantInfo) -> Answer {
    Answer::Grant(Box::new(info))
}

fn role() -> RoleInfo {
    RoleInfo {
        name: RoleName::parse("web-ops").unwrap(),
        description: "Restart the web tier".into(),
        standing: false,
        commands: vec!["/usr/bin/systemctl restart nginx".into()],
        run_as: vec!["root".into()],
        maximum_duration: 5400,
        require_justification: true,
        ticket: None,
        require_approval: true,
        approvers: vec!["bob".into()],
        approvals: 1,
        authenticate: true,
        one_shot: false,
        exact_command: false,
    }
}

fn why(allowed: bool) -> Answer {
    Answer::Why(WhyInfo {
        allowed,
        because: "no active grant of role web-ops".into(),
        command: vec!["/bin/ls".into()],
        run_as: "root".into(),
        role: Some(RoleName::parse("web-ops").unwrap()),
        grant: None,
        approvers: vec!["bob".into()],
        hint: Some("jitctl request --reason TEXT -- ls".into()),
        roles: vec![RoleVerdict {
            role: RoleName::parse("web-ops").unwrap(),
            verdict: "allows".into(),
            rule: Some("ALL".into()),
        }],
    })
}

fn page() -> Answer {
    let record = |seq: u64, body: &str| RecordInfo { seq, body: body.to_owned(), hash: "ab".repeat(32) };
    Answer::Records(RecordPage {
        records: vec![
            record(
                1,
                r#"{"argv":["/bin/ls","a b"],"environment":[{"name":"A_TOKEN","digest":"00"}],"kind":"start","run":"r1","run_as":"root","seq":1,"time":1000000,"uid":1001,"user":"alice"}"#,
            ),
            record(
                2,
                r#"{"duration_us":1500000,"ended_by":"itself","exit":0,"kind":"end","run":"r1","seq":2,"time":3000000,"uid":1001}"#,
            ),
        ],
        more: false,
    })
}

#[test]
fn every_verb_asks_its_question() {
    let questions: [(&[&str], Value); 21] = [
        (&["roles"], json!({"verb": "roles"})),
        (
            &["why", "-u", "www-data", "--for-user", "bob", "--", "ls", "-l"],
            json!({"verb": "why", "user": "bob", "run_as": "www-data", "command": ["ls", "-l"]}),
        ),
        (
            &[
                "request",
                "--role",
                "web-ops",
                "--for",
                "1h30m",
                "--reason",
                "a b",
                "--ticket",
                "OPS-1",
                "--one-shot",
                "-u",
                "#33",
                "--at",
                "2033-05-18T03:33:20Z",
                "ls",
            ],
            json!({"verb": "request", "role": "web-ops", "duration": 5400, "reason": "a b", "ticket": "OPS-1",
                "one_shot": true, "run_as": "#33", "start": 2_000_000_000, "command": ["ls"]}),
        ),
        (&["request", "--role", "r"], json!({"verb": "request", "role": "r", "one_shot": false, "command": []})),
        (&["requests"], json!({"verb": "requests", "all": false})),
        (&["requests", "--all"], json!({"verb": "requests", "all": true})),
        (&["show", "OIL"], json!({"verb": "show", "id": "011"})),
        (
            &["approve", "0123", "--for", "10m", "--one-shot", "--exact", "--comment", "ok"],
            json!({"verb": "approve", "id": "0123", "duration": 600, "one_shot": true, "exact": true, "comment": "ok"}),
        ),
        (&["approve", "0"], json!({"verb": "approve", "id": "0", "one_shot": false, "exact": false})),
        (&["deny", "0", "--reason", "no"], json!({"verb": "deny", "id": "0", "reason": "no"})),
        (&["cancel", "0"], json!({"verb": "cancel", "id": "0"})),
        (&["grants", "--all"], json!({"verb": "grants", "all": true})),
        (&["release"], json!({"verb": "release"})),
        (&["release", "0"], json!({"verb": "release", "id": "0"})),
        (&["revoke", "0", "--reason", "x"], json!({"verb": "revoke", "target": {"id": "0"}, "reason": "x"})),
        (
            &["revoke", "--user", "bob", "--reason", "x"],
            json!({"verb": "revoke", "target": {"user": "bob"}, "reason": "x"}),
        ),
        (&["revoke", "--all", "--reason", "x"], json!({"verb": "revoke", "target": "all", "reason": "x"})),
        (&["policy", "check"], json!({"verb": "policy-check"})),
        (
            &["audit", "list", "--after", "7", "--limit", "9", "--kind", "end", "--user", "bob"],
            json!({"verb": "audit-list", "after": 7, "limit": 9, "newest": false, "kind": "end", "user": "bob"}),
        ),
        (&["audit", "show", "17"], json!({"verb": "audit-show", "what": "17"})),
        (&["audit", "verify"], json!({"verb": "audit-verify"})),
    ];
    for (words, question) in questions {
        let broker = Scripted::refusing("no", None, 1);
        assert_eq!(broker.call(words).status, 1, "{words:?}");
        assert_eq!(broker.asked(), question, "{words:?}");
        let read = serde_json::from_value::<Ask>(broker.asked()).expect("the broker reads what jitctl writes");
        assert_eq!(serde_json::to_value(read).unwrap(), question, "{words:?}");
    }
}

#[test]
fn the_broker_inherits_no_environment() {
    let broker = Scripted::answering(Answer::Roles(vec![]));
    broker.call(&["roles"]);
    let environment = broker.file("environment");
    assert!(!environment.contains("SECRET_OF_CALLER") && !environment.contains("TZ="), "{environment}");
}

#[test]
fn json_is_one_object_on_one_line_for_every_answer() {
    let id = GrantId::parse("0123456789").unwrap();
    let key = KeyInfo { public_key: "ssh-ed25519 AAAA".into(), fingerprint: "SHA256:x".into(), created: true };
    let policy = PolicyInfo { files: vec!["/p".into()], roles: 1, rules: 2, warnings: vec!["w".into()] };
    let verified = VerifyInfo { intact: true, records: 2, head: "ab".into(), first_bad: None };
    let answers: [(&[&str], Answer, &str); 11] = [
        (&["roles"], Answer::Roles(vec![role()]), "roles"),
        (&["why", "ls"], why(true), "why"),
        (&["show", "0"], grant(pending()), "grant"),
        (&["requests"], Answer::Requests(vec![pending()]), "requests"),
        (&["grants"], Answer::Grants(vec![active()]), "grants"),
        (&["release"], Answer::Ended(vec![id]), "ended"),
        (&["policy", "check"], Answer::PolicyChecked(policy), "policy-checked"),
        (&["audit", "list"], page(), "records"),
        (&["audit", "show", "r1"], page(), "records"),
        (&["audit", "verify"], Answer::Verified(verified), "verified"),
        (&["key", "init"], Answer::HostKey(key), "host-key"),
    ];
    for (words, answer, name) in answers {
        let expected = serde_json::to_value(&answer).unwrap();
        let mut words = words.to_vec();
        words.insert(0, "--json");
        let called = Scripted::answering(answer).call(&words);
        assert_eq!((called.status, called.stderr.as_str()), (0, ""), "{words:?}");
        assert_eq!(called.stdout.lines().count(), 1, "{words:?}");
        let said: Value = serde_json::from_str(&called.stdout).unwrap();
        assert_eq!(said, expected);
        assert!(said.get(name).is_some(), "{words:?}");
    }
}

/// Every key of every object in `value`.
fn keys(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys(value, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_every_answer_is_documented() {
    let mut info = active();
    info.ticket = Some("OPS-1".into());
    info.ended = Some(EndedInfo { by: "bob".into(), at: 0, reason: "x".into() });
    info.approvals = vec![ApprovalInfo {
        approver: info.requester.clone(),
        at: 0,
        duration: Some(1),
        one_shot: true,
        exact: true,
        comment: Some("x".into()),
    }];
    let mut ticketed = role();
    ticketed.ticket = Some("x".into());
    let mut verdict = why(true);
    if let Answer::Why(info) = &mut verdict {
        info.grant = Some(GrantId::parse("0123456789").unwrap());
    }
    let answers = [
        Answer::Roles(vec![ticketed]),
        verdict,
        grant(info.clone()),
        Answer::Requests(vec![]),
        Answer::Grants(vec![info]),
        Answer::Ended(vec![]),
        Answer::PolicyChecked(PolicyInfo { files: vec![], roles: 1, rules: 2, warnings: vec![] }),
        page(),
        Answer::Verified(VerifyInfo { intact: false, records: 2, head: "x".into(), first_bad: Some("x".into()) }),
        Answer::HostKey(KeyInfo { public_key: "x".into(), fingerprint: "x".into(), created: true }),
    ];
    let mut found = std::collections::BTreeSet::new();
    for answer in answers {
        keys(&serde_json::to_value(answer).unwrap(), &mut found);
    }
    let refused = Scripted::refusing("no", Some("x"), 1).call(&["roles", "--json"]);
    keys(&serde_json::from_str(&refused.stdout).unwrap(), &mut found);
    let manual = include_str!("../../docs/json.md");
    let missing: Vec<&String> = found.iter().filter(|key| !manual.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/json.md does not describe {missing:?}");
}

#[test]
fn refusals_are_a_line_a_hint_and_a_status() {
    let broker = Scripted::refusing("you are not eligible for role admin", Some("jitctl roles"), 1);
    let called = broker.call(&["request", "--role", "admin"]);
    assert_eq!(called.status, 1);
    assert_eq!(called.stderr, "jitctl: you are not eligible for role admin\nhint: jitctl roles\n");
    assert_eq!(called.stdout, "");
    let called = broker.call(&["request", "--role", "admin", "--json"]);
    let expected = json!({"error": {"code": "not-eligible", "message": "you are not eligible for role admin",
        "hint": "jitctl roles", "exit": 1}});
    assert_eq!(serde_json::from_str::<Value>(&called.stdout).unwrap(), expected);
    assert_eq!(Scripted::refusing("x", None, 2).call(&["roles"]).status, 2);
    assert_eq!(Scripted::refusing("x", None, 0).call(&["roles"]).status, 1, "a refusal is never a success");
}

#[test]
fn hostile_answers_are_one_clear_line() {
    let good = serde_json::to_string(&json!({"ok": {"roles": []}})).unwrap();
    let hostile = [
        Scripted::silent(),
        Scripted::silent().with("reply", "\x1b[2J garbage \x07"),
        Scripted::silent().with("reply", &good[..good.len() - 3]),
        Scripted::silent().with("reply", format!("{good}{good}")),
        Scripted::silent().with("reply", b"\xff\xfe\x00"),
        Scripted::silent().with("reply", "[".repeat(1_000_000)),
        Scripted::silent().with("reply", "{\"ok\":{\"grants\":[]}}"),
        Scripted::silent().with("reply", "{\"ok\":{\"roles\":[{\"name\":\"../x\"}]}}"),
        Scripted::silent().with("endless", ""),
    ];
    for (index, broker) in hostile.iter().enumerate() {
        let called = broker.call(&["roles"]);
        assert_eq!((called.status, called.stdout.as_str()), (1, ""), "{index}");
        assert_eq!(called.stderr.lines().count(), 1, "{index}: {}", called.stderr);
        assert!(called.stderr.starts_with("jitctl: the broker"), "{index}: {}", called.stderr);
        assert!(!called.stderr.trim_end().chars().any(char::is_control), "{index}: {}", called.stderr);
    }
}

#[test]
fn what_the_broker_says_on_stderr_reaches_the_user() {
    let broker = Scripted::silent().with("says", "jit-sudo-broker: must be setuid root\n");
    let called = broker.call(&["roles"]);
    assert_eq!(
        called.stderr,
        "jit-sudo-broker: must be setuid root\njitctl: the broker gave no answer (exit status 7)\n"
    );
}

#[test]
fn escape_sequences_in_any_string_are_shown_not_obeyed() {
    let evil = "\x1b]0;owned\x07\r\u{9b}2J\u{202e}";
    let mut info = pending();
    info.run_as = evil.into();
    info.state = evil.into();
    info.reason = evil.into();
    info.command = vec![evil.into()];
    info.approvers = vec![evil.into()];
    info.ended = Some(EndedInfo { by: evil.into(), at: 0, reason: evil.into() });
    let mut evil_role = role();
    evil_role.description = evil.into();
    evil_role.commands = vec![evil.into()];
    let mut evil_why = why(false);
    if let Answer::Why(info) = &mut evil_why {
        info.because = evil.into();
        info.hint = Some(evil.into());
    }
    let record =
        RecordInfo { seq: 1, body: format!("{{\"kind\":\"start\",\"argv\":{}}}", json!([evil])), hash: evil.into() };
    let records = RecordPage { records: vec![record], more: true };
    let policy = PolicyInfo { files: vec![evil.into()], roles: 1, rules: 2, warnings: vec![evil.into()] };
    let key = KeyInfo { public_key: evil.into(), fingerprint: evil.into(), created: true };
    let verified = VerifyInfo { intact: false, records: 2, head: evil.into(), first_bad: Some(evil.into()) };
    let answers: [(&[&str], Answer); 10] = [
        (&["show", "0"], grant(info.clone())),
        (&["request", "ls"], grant(info.clone())),
        (&["approve", "0"], grant(info.clone())),
        (&["grants"], Answer::Grants(vec![info])),
        (&["roles"], Answer::Roles(vec![evil_role])),
        (&["why", "ls"], evil_why),
        (&["audit", "show", "1"], Answer::Records(records)),
        (&["policy", "check"], Answer::PolicyChecked(policy)),
        (&["audit", "verify"], Answer::Verified(verified)),
        (&["key", "show"], Answer::HostKey(key)),
    ];
    for (words, answer) in answers {
        let broker = Scripted::answering(answer);
        for words in [words.to_vec(), [&["--json"], words].concat()] {
            let called = broker.call(&words);
            let shown = called.stdout + &called.stderr;
            assert!(shown.contains("owned"), "{words:?}: {shown}");
            let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!shown.chars().any(obeyed), "{words:?}: {shown:?}");
        }
    }
}

#[test]
fn a_request_says_its_id_who_may_approve_and_what_comes_next() {
    let called =
        Scripted::answering(grant(pending())).call(&["request", "--reason", "x", "systemctl", "restart", "nginx"]);
    assert_eq!(called.status, 0, "{}", called.stderr);
    for part in ["0123456789", "pending", "approvers: bob", "next: jitctl show 0123456789"] {
        assert!(called.stdout.contains(part), "{part} is not in {}", called.stdout);
    }
    let called =
        Scripted::answering(grant(active())).call(&["request", "--reason", "x", "-u", "www-data", "ls", "a b"]);
    assert!(called.stdout.contains("(in 59m)\nnext: jit-sudo -u www-data ls 'a b'\n"), "{}", called.stdout);
}

#[test]
fn a_wait_ends_with_the_decision() {
    let mut denied = pending();
    denied.state = "denied".into();
    denied.ended = Some(EndedInfo { by: "bob".into(), at: 0, reason: "not today".into() });
    let broker = Scripted::answering_in_turn([grant(pending()), grant(active())]);
    let called = broker.call(&["request", "--wait=10s", "--reason", "x", "ls"]);
    assert_eq!(called.status, 0, "{}", called.stderr);
    assert!(called.stdout.starts_with("grant 0123456789 for role web-ops: active"), "{}", called.stdout);
    assert!(called.stderr.contains("pending") && called.stderr.contains("bob"), "{}", called.stderr);
    let question: Value = serde_json::from_str(&broker.file("ask.2")).unwrap();
    assert_eq!(question["verb"], "wait");
    assert!((9..=10).contains(&question["seconds"].as_u64().unwrap()), "{question}");

    let called = Scripted::answering_in_turn([grant(pending()), grant(denied)]).call(&["request", "--wait", "ls"]);
    assert_eq!(called.status, 1);
    assert!(called.stderr.contains("is denied by bob: not today\nhint: jitctl show 0123456789\n"), "{}", called.stderr);
}

#[test]
fn a_wait_that_ends_without_decision_is_status_3_and_paced() {
    let broker = Scripted::answering(grant(pending()));
    let begun = Instant::now();
    let called = broker.call(&["request", "--wait=3s", "--json", "--reason", "x", "ls"]);
    let lasted = begun.elapsed();
    assert_eq!(called.status, 3, "{}", called.stderr);
    assert_eq!(serde_json::from_str::<Value>(&called.stdout).unwrap()["grant"]["state"], "pending");
    assert!(called.stderr.contains("still pending\nhint: jitctl show 0123456789"), "{}", called.stderr);
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&lasted), "{lasted:?}");
    assert!(broker.times_asked() <= 5, "a broker that answers early is asked once a second: {}", broker.times_asked());
}

#[test]
fn an_interrupt_leaves_the_request_pending_and_says_how_to_go_on() {
    // A terminal sends ^C to the broker too, kill(1) perhaps to jitctl alone.
    for group in [true, false] {
        let broker = Scripted::answering_in_turn([grant(pending())]).with("slow", "0.5").with("reply", "never read");
        let mut command = broker.command(&["request", "--wait", "--reason", "x", "ls"]);
        let child = command.process_group(0).spawn().unwrap();
        let begun = Instant::now();
        while broker.times_asked() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never waited");
            std::thread::sleep(Duration::from_millis(10));
        }
        let target = if group { format!("-{}", child.id()) } else { child.id().to_string() };
        assert!(Command::new("kill").args(["-INT", "--", &target]).status().unwrap().success());
        let called = finish(child);
        assert_eq!(called.status, 3, "{}", called.stderr);
        assert!(called.stderr.contains("request 0123456789 is still pending"), "{}", called.stderr);
        assert!(called.stderr.contains("jitctl cancel 0123456789"), "{}", called.stderr);
    }
}

#[test]
fn lists_are_aligned_and_plain_when_piped() {
    let called = Scripted::answering(Answer::Requests(vec![pending(), pending()])).call(&["requests"]);
    assert_eq!(called.status, 0);
    let lines: Vec<&str> = called.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", called.stdout);
    assert!(lines[0].starts_with("ID          STATE    BY     ROLE     FOR  ASKED   APPROVED"), "{}", called.stdout);
    assert!(lines[1].contains("1h ago  0/1 *     /usr/bin/systemctl restart nginx; disk full"), "{}", called.stdout);
    assert!(!called.stdout.contains(['\t', '\x1b']));
    let called = Scripted::answering(Answer::Roles(vec![role()])).call(&["roles"]);
    assert!(called.stdout.contains("web-ops  root    1h30m  reason; 1 approval (bob); password"), "{}", called.stdout);
}

/// Calls jitctl on a terminal of 70 columns made by script(1).
fn on_a_terminal(broker: &Scripted, words: &str, environment: &str) -> String {
    let call = broker.command(&[]);
    let mut program = vec![call.get_program().to_string_lossy().into_owned()];
    program.extend(call.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = format!("stty cols 70; {environment} {} {words}", program.join(" "));
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_its_width_and_sparse_colour() {
    let broker = Scripted::answering(Answer::Grants(vec![active()]));
    let shown = on_a_terminal(&broker, "grants", "env -u NO_COLOR TERM=xterm");
    assert!(shown.contains("\x1b[38;5;10m") || shown.contains("\x1b[32m"), "no colour in {shown:?}");
    for environment in ["env NO_COLOR=1 TERM=xterm", "env -u NO_COLOR TERM=dumb"] {
        let shown = on_a_terminal(&broker, "grants", environment);
        assert!(shown.contains("0123456789  active") && !shown.contains('\x1b'), "{environment}: {shown:?}");
    }
    let shown = on_a_terminal(&Scripted::answering(page()), "audit list", "env NO_COLOR=1 TERM=xterm");
    assert!(shown.lines().all(|line| line.chars().count() <= 70), "{shown}");
}

#[test]
fn a_countdown_runs_on_a_terminal_and_is_wiped_at_the_end() {
    let broker = Scripted::answering(grant(pending()));
    let shown = on_a_terminal(&broker, "request --wait=2s --reason x ls", "env TERM=xterm");
    assert!(
        shown.contains("waiting for approval, 2s left") && shown.contains("waiting for approval, 1s left"),
        "{shown}"
    );
    assert!(shown.contains("\r\x1b[Kjitctl: request 0123456789 is still pending"), "{shown:?}");
    let shown = on_a_terminal(&broker, "request --wait=1s --reason x ls", "env TERM=dumb");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let broker = Scripted::answering(Answer::Requests(vec![pending(); 5000]));
    for words in [&["requests"][..], &["requests", "--json"], &["--help"]] {
        let mut child = broker.start(words);
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_full_disk_is_not_silent() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let broker = Scripted::answering(Answer::Roles(vec![role()]));
    let called = finish(broker.command(&["roles"]).stdout(full).spawn().unwrap());
    assert_eq!(
        (called.status, called.stderr.as_str()),
        (1, "jitctl: cannot write to stdout: no space left on device\n")
    );
}

#[test]
fn why_is_status_1_when_the_command_may_not_run() {
    let called = Scripted::answering(why(false)).call(&["why", "ls"]);
    assert_eq!(called.status, 1);
    assert!(called.stdout.contains("web-ops: allows, by the rule ALL"), "{}", called.stdout);
    assert!(called.stderr.ends_with("hint: jitctl request --reason TEXT -- ls\n"), "{}", called.stderr);
    assert_eq!(Scripted::answering(why(true)).call(&["why", "ls"]).status, 0);
}

#[test]
fn policy_files_are_checked_here_before_anybody_installs_them() {
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
        let verified = VerifyInfo { intact, records: 12, head: "abcd".into(), first_bad };
        Scripted::answering(Answer::Verified(verified)).call(&["audit", "verify"])
    };
    let called = verify(true, None);
    assert_eq!((called.status, called.stdout.as_str()), (0, "chain intact: 12 records, head abcd\n"));
    let called = verify(false, Some("record 7: its hash is not that of its bytes"));
    assert_eq!(called.status, 1);
    assert!(called.stderr.starts_with("jitctl: chain broken: record 7: its hash"), "{}", called.stderr);
}

#[test]
fn a_run_is_told_with_all_its_fields() {
    let broker = Scripted::answering(page());
    let called = broker.call(&["audit", "list"]);
    assert!(called.stdout.contains("start  alice  r1 as root: /bin/ls 'a b'"), "{}", called.stdout);
    assert!(called.stdout.contains("end    alice  r1: exit status 0 after 1.500s"), "{}", called.stdout);
    let called = broker.call(&["audit", "show", "r1"]);
    for part in ["A_TOKEN (redacted, digest 00)", "1970-01-01 00:00:01 +00:00", "word 1", "ended by  itself"] {
        assert!(called.stdout.contains(part), "{part} is not in {}", called.stdout);
    }
}

#[test]
fn local_times_follow_the_zone_of_the_user() {
    // Central European time as a rule, so that no zone database is needed.
    let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
    let request = |time: &str| {
        let broker = Scripted::refusing("no", None, 1);
        let called = finish(broker.command(&["request", "--at", time, "ls"]).env("TZ", zone).spawn().unwrap());
        (called.status, called.status == 1 && broker.asked()["start"] == 2_003_824_800)
    };
    assert_eq!(request("2033-07-01 12:00"), (1, true));
    assert_eq!(request("2033-07-01T10:00:00Z"), (1, true));
    assert_eq!(request("2033-07-01 13:00"), (1, false));
    assert_eq!(request("2033-03-27 02:30"), (2, false), "the clock is put forward over this time");
}

#[test]
fn wrong_words_are_status_2_in_the_house_style() {
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
fn what_comes_later_is_refused_by_name() {
    let broker = Scripted::silent();
    let later: [(&[&str], &str); 14] = [
        (&["extend", "0", "--for", "1h"], "extend"),
        (&["review"], "review"),
        (&["policy", "show"], "policy show"),
        (&["policy", "import", "/etc/sudoers"], "policy import"),
        (&["policy", "test"], "policy test"),
        (&["audit", "search", "--help"], "audit search"),
        (&["audit", "export"], "audit export"),
        (&["replay", "x"], "replay"),
        (&["watch"], "watch"),
        (&["session", "kill"], "session"),
        (&["doctor"], "doctor"),
        (&["approve", "0", "--key", "/k"], "approve --key"),
        (&["request", "--print", "ls"], "request --print"),
        (&["import", "-"], "import"),
    ];
    for (words, name) in later {
        let called = broker.call(words);
        assert_eq!(called.status, 1, "{words:?}");
        let first = called.stderr.lines().next().unwrap_or_default().to_owned();
        assert_eq!(first, format!("jitctl: `jitctl {name}` is not supported yet"));
    }
    assert_eq!(broker.times_asked(), 0);
}

#[test]
fn help_and_version_are_on_stdout() {
    let broker = Scripted::silent();
    let help = broker.call(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (0, ""));
    for verb in ["roles", "why", "request", "approve", "revoke", "audit"] {
        assert!(help.stdout.contains(&format!("  {verb} ")), "{verb} is not in {}", help.stdout);
    }
    for later in ["extend", "replay", "doctor"] {
        assert!(!help.stdout.contains(later), "{}", help.stdout);
    }
    let version = broker.call(&["--version"]);
    assert_eq!(version.stdout, format!("jitctl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bytes_that_are_no_text_reach_the_broker_unchanged() {
    use std::os::unix::ffi::OsStrExt;
    let broker = Scripted::refusing("no", None, 1);
    let mut command = broker.command(&["request", "--reason"]);
    command
        .arg(std::ffi::OsStr::from_bytes(b"\xff\x1b"))
        .args(["--", "ls"])
        .arg(std::ffi::OsStr::from_bytes(b"a\xfe\\"));
    finish(command.spawn().unwrap());
    assert_eq!(broker.asked()["reason"], "\\xff\\x1b");
    assert_eq!(broker.asked()["command"], json!(["ls", "a\\xfe\\\\"]));
}

#[test]
fn a_question_that_is_too_long_is_not_sent() {
    let broker = Scripted::silent();
    // One word of 120 KiB is what execve takes; escaped control bytes are four times as long, and JSON doubles the backslash.
    let word = "\x01".repeat(120_000);
    let mut words = vec!["why", "--", "ls"];
    words.extend([word.as_str(); 10]);
    let called = broker.call(&words);
    assert_eq!(called.status, 1);
    assert!(called.stderr.starts_with("jitctl: the question to the broker has"), "{}", called.stderr);
    assert_eq!(broker.times_asked(), 0);
}
