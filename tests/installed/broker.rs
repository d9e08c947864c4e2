//! The broker, called without jitctl by a hostile user.

use crate::{kinds, records_of, root};

const BROKER: &str = "/usr/libexec/jit-sudo/jit-sudo-broker";

/// Returns the broker's answer to these bytes from a user without any role.
fn said(person: &str, bytes: impl AsRef<[u8]>) -> harness::Output {
    root().command(person, [BROKER]).stdin(bytes).run()
}

#[test]
fn a_well_formed_question_gets_one_line_of_json() {
    let output = said("alice", "{\"verb\":\"roles\"}\n");
    assert_eq!(output.stdout.matches('\n').count(), 1, "{output:?}");
    assert!(output.json()["ok"]["roles"].is_array(), "{output:?}");
}

#[test]
fn garbage_gets_an_error_and_never_a_crash() {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"verb\":\"show\",\"id\":\"{}\"}}", "a".repeat(5 << 20));
    let garbage: [&[u8]; 14] = [
        b"",
        b"\n",
        b"null",
        b"{}",
        b"[]",
        b"{\"verb\":\"no-such-verb\"}",
        b"{\"verb\":\"show\"}",
        b"{\"verb\":\"show\",\"id\":\"\"}",
        b"{\"verb\":\"show\",\"id\":7}",
        b"{\"verb\":\"roles\",\"uid\":0}",
        b"{\"verb\":\"roles\"}{\"verb\":\"roles\"}",
        b"{\"verb\":\"request\",\"role\":\"\\u0000\"}",
        b"\xff\xfe{\"verb\":\"roles\"}",
        b"{\"verb\":\"request\",\"duration\":18446744073709551616}",
    ];
    for bytes in garbage.into_iter().chain([deep.as_bytes(), long.as_bytes()]) {
        let output = said("alice", bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert!(output.status.code().is_some_and(|code| code <= 2), "{shown}: {output:?}");
        assert!(output.json()["error"]["message"].is_string(), "{shown}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{shown}: {output:?}");
    }
}

/// The users who may use a verb at all (src/broker/verbs.rs).
#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    Anyone,
    Reader,
    Root,
}

/// Each verb with its required arguments.
const VERBS: [(&str, &str, Who); 44] = [
    ("roles", "", Who::Anyone),
    ("why", r#","command":["id"]"#, Who::Anyone),
    ("request", r#","role":"no-such-role","reason":"x""#, Who::Anyone),
    ("requests", "", Who::Anyone),
    ("show", r#","id":"zzzzzzzzzz""#, Who::Anyone),
    ("approve", r#","id":"zzzzzzzzzz""#, Who::Anyone),
    ("documents", r#","id":"zzzzzzzzzz""#, Who::Anyone),
    ("import", r#","approval":"{}","signature":"x""#, Who::Anyone),
    ("import-statement", r#","statement":"{}","signature":"x""#, Who::Anyone),
    ("deny", r#","id":"zzzzzzzzzz","reason":"x""#, Who::Anyone),
    ("cancel", r#","id":"zzzzzzzzzz""#, Who::Anyone),
    ("grants", "", Who::Anyone),
    ("release", "", Who::Anyone),
    ("revoke", r#","target":{"id":"zzzzzzzzzz"},"reason":"x""#, Who::Anyone),
    ("wait", r#","id":"zzzzzzzzzz","seconds":1"#, Who::Anyone),
    ("policy-check", "", Who::Reader),
    ("audit-list", r#","limit":1"#, Who::Anyone),
    ("audit-show", r#","what":"zzzz""#, Who::Anyone),
    ("audit-verify", "", Who::Reader),
    ("audit-export", "", Who::Reader),
    ("audit-prove", r#","record":1"#, Who::Reader),
    ("audit-prune", r#","keep":1000000,"dry_run":true"#, Who::Root),
    ("audit-salvage", "", Who::Root),
    ("backup", r#","file":"/no-such-directory/backup""#, Who::Root),
    ("restore", r#","file":"/no-such-directory/backup""#, Who::Root),
    ("key-init", "", Who::Root),
    ("key-show", "", Who::Anyone),
    ("policy-show", "", Who::Reader),
    ("policy-test", r#","user":"alice","command":["id"]"#, Who::Reader),
    ("key-accept", r#","reason":"x""#, Who::Root),
    ("key-rotate", r#","reason":"x","dry_run":true"#, Who::Root),
    ("key-retire", r#","reason":"x","dry_run":true"#, Who::Root),
    ("review-debts", "", Who::Anyone),
    ("review-settle", r#","id":"zzzzzzzzzz","comment":"x""#, Who::Anyone),
    ("review-unused", r#","since":1"#, Who::Anyone),
    ("review-assignments", "", Who::Anyone),
    ("review-certify", r#","role":"no-such-role","verdict":"confirm","comment":"x""#, Who::Anyone),
    ("extend", r#","id":"zzzzzzzzzz""#, Who::Anyone),
    ("recording", r#","run":"zzzzzzzzzzzz","purpose":"watch""#, Who::Anyone),
    ("recordings", r#","purpose":"search""#, Who::Anyone),
    ("sessions", "", Who::Anyone),
    ("intervene", r#","run":"zzzzzzzzzzzz","act":"kill","reason":"x""#, Who::Anyone),
    ("examine", "", Who::Root),
    ("sweep", "", Who::Root),
];

#[test]
fn each_verb_is_open_to_the_users_of_its_row() {
    let root = crate::own_root();
    let (nobody, reader) = (root.person(&[]), root.person(&["readers"]));
    root.write("/etc/jit-sudo/policy.d/verbs.toml", 0o644, "[audit]\nreaders = [\"%readers\"]\n");
    let asked = |who: &str, bytes: &str| root.command(who, [BROKER]).stdin(bytes).run();
    // The other verbs of the broker are for programs, which send them over an open connection.
    let known = asked("alice", "{\"verb\":\"no-such-verb\"}").json()["error"]["message"].as_str().unwrap().to_owned();
    let mut known: Vec<&str> = known.split('`').skip(3).step_by(2).collect();
    known.retain(|verb| !["membership", "open-session", "close-session"].contains(verb));
    known.sort_unstable();
    let mut tried: Vec<&str> = VERBS.iter().map(|(verb, ..)| *verb).collect();
    tried.sort_unstable();
    assert_eq!(tried, known);
    for (verb, rest, who) in VERBS {
        for (person, is) in
            [(nobody.name.as_str(), Who::Anyone), (reader.name.as_str(), Who::Reader), ("root", Who::Root)]
        {
            let output = asked(person, &format!("{{\"verb\":\"{verb}\"{rest}}}"));
            let line = output.stdout.lines().next().unwrap_or_default();
            let answer: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{output:?}"));
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            assert!(!line.contains("not understood"), "{verb}: {output:?}");
            let refused = match who {
                Who::Root if is != Who::Root => "not-root",
                Who::Reader if is == Who::Anyone => "not-a-reader",
                _ => "",
            };
            match refused {
                "" => {
                    assert!(!["not-root", "not-a-reader"].contains(&code), "{verb}, {person}: {output:?}")
                }
                refused => assert_eq!(code, refused, "{verb}, {person}: {output:?}"),
            }
        }
    }
}

#[test]
fn a_caller_cannot_claim_another_identity() {
    let person = root().person(&["self-service"]);
    for field in ["requester", "user", "uid", "caller"] {
        let ask = format!("{{\"verb\":\"request\",\"role\":\"self-service\",\"reason\":\"x\",\"{field}\":\"root\"}}");
        assert!(said(&person.name, ask).json()["error"].is_object());
    }
    assert!(!kinds(&records_of(root(), &person)).contains(&"grant"));
}

#[test]
fn only_root_can_read_the_state() {
    for path in
        ["/var/lib/jit-sudo", "/var/lib/jit-sudo/journal.db", "/var/lib/jit-sudo/host_key", "/etc/jit-sudo/policy.toml"]
    {
        let output = root().run_as("alice", ["cat", path]);
        assert!(output.stderr.contains("Permission denied"), "{path}: {output:?}");
    }
}
