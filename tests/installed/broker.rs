//! The broker's door, called without jitctl by somebody who means no good.

use crate::{kinds, records_of, root};

const BROKER: &str = "/usr/libexec/jit-sudo/jit-sudo-broker";

/// What the broker answers to these bytes from a person without any role.
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

#[test]
fn verbs_of_root_and_readers_are_refused_to_others() {
    for verb in [
        "{\"verb\":\"key-init\"}",
        "{\"verb\":\"audit-verify\"}",
        "{\"verb\":\"policy-check\"}",
        "{\"verb\":\"revoke\",\"target\":\"all\",\"reason\":\"x\"}",
    ] {
        let output = said("alice", verb);
        assert!(output.json()["error"]["code"].is_string(), "{verb}: {output:?}");
    }
}

#[test]
fn nobody_can_say_who_they_are() {
    let person = root().person(&["self-service"]);
    for field in ["requester", "user", "uid", "caller"] {
        let ask = format!("{{\"verb\":\"request\",\"role\":\"self-service\",\"reason\":\"x\",\"{field}\":\"root\"}}");
        assert!(said(&person.name, ask).json()["error"].is_object());
    }
    assert!(!kinds(&records_of(root(), &person)).contains(&"grant"));
}

#[test]
fn the_state_is_closed_to_everybody_else() {
    for path in
        ["/var/lib/jit-sudo", "/var/lib/jit-sudo/journal.db", "/var/lib/jit-sudo/host_key", "/etc/jit-sudo/policy.toml"]
    {
        let output = root().run_as("alice", ["cat", path]);
        assert!(output.stderr.contains("Permission denied"), "{path}: {output:?}");
    }
}
