//! What one user may cost others: everything that an unprivileged person can cause to be stored, held open or waited for is
//! bounded, and nobody is refused for what somebody else has filed.

use std::time::Duration;

use harness::{Output, Person, PrivateRoot};

use crate::{id, own_root, records_of, request, root};

/// Asks the broker itself, which anybody may do, and prints what it answers and the most memory that it took, in KiB.
const ASK: &str = r#"
import json, resource, subprocess, sys
broker = "/usr/libexec/jit-sudo/jit-sudo-broker"
question = json.dumps(eval(sys.argv[1])).encode()
answer = subprocess.run([broker], input=question, stdout=subprocess.PIPE).stdout
print(json.dumps({"length": len(answer), "begins": answer[:4000].decode(), "kib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}))
"#;

fn ask(root: &PrivateRoot, who: &Person, question: &str) -> serde_json::Value {
    root.run_as(&who.name, ["python3", "-c", ASK, question]).json()
}

/// The bytes of all files of the state directory.
fn state(root: &PrivateRoot) -> u64 {
    let listed = root.script("find /var/lib/jit-sudo -type f -printf '%s\\n' | awk '{sum += $1} END {print sum}'");
    listed.trim().parse().unwrap()
}

/// The most bytes that one user may cause to be stored at once; see jit-sudo-policy(5).
const STORED: u64 = 2 << 20;

#[test]
fn a_refusal_with_five_megabytes_of_control_characters_is_a_short_record() {
    let root = own_root();
    let person = root.person(&[]);
    let before = state(&root);
    let line = "import os; os.execvp('jit-sudo', ['jit-sudo', '-n', '-u', '\\x02' * 100000, '/usr/bin/id'] + ['\\x01' * 120000] * 10)";
    let refused = root.run_as(&person.name, ["python3", "-c", line]);
    assert_eq!(refused.status.code(), Some(1));
    let line = "import os; os.execvp('jit-sudo', ['jit-sudo', '-n', '/usr/bin/id'] + ['\\x01' * 120000] * 12)";
    root.run_as(&person.name, ["python3", "-c", line]).exited(1);
    let records = records_of(&root, &person);
    let record = records.last().unwrap();
    assert_eq!(record.kind(), "reject");
    let (text, field) = (record.body.clone(), |name: &str| record.json["whole_argv"][name].clone());
    assert!(text.len() < 10_000, "a record of {} bytes", text.len());
    assert_eq!(field("bytes"), 12 * 120_001 + "/usr/bin/id".len() + 1, "{text}");
    let digest =
        "import hashlib; print(hashlib.sha256(b'/usr/bin/id\\0' + (b'\\1' * 120000 + b'\\0') * 12).hexdigest())";
    assert_eq!(field("sha256"), root.script(&format!("python3 -c \"{digest}\"")).trim());
    assert!(record.json["whole_sentence"]["bytes"].as_u64().unwrap() > 1_000_000, "{text}");
    assert!(state(&root) - before < 200_000, "{} bytes", state(&root) - before);
    let longest = root.syslog().iter().map(|line| line.json.to_string().len()).max().unwrap_or(0);
    assert!(longest < 20_000, "a line of {longest} bytes in syslog");
    root.as_root(["jitctl", "audit", "verify"]).succeeded();
}

#[test]
fn what_is_told_of_a_refusal_is_escaped_once() {
    let person = root().person(&[]);
    root().run_as(&person.name, ["jit-sudo", "-n", "/usr/bin/id", "a\u{1}b\\c"]).refused("");
    let records = records_of(root(), &person);
    let sentence = records[0].text("sentence");
    assert!(sentence.contains("'/usr/bin/id a\\x01b\\\\c'"), "{sentence}");
}

#[test]
fn refusals_of_any_size_fill_no_more_than_their_part_of_the_budget() {
    let root = own_root();
    let (person, other) = (root.person(&["reviewed"]), root.person(&[]));
    let before = state(&root);
    let flood = "import subprocess\nfor i in range(150): subprocess.run(['jit-sudo', '-n', '--role', 'nonsense', '/usr/bin/id'] + ['\\x01' * 100000] * 5, stderr=subprocess.DEVNULL)";
    root.command(&person.name, ["python3", "-c", flood]).patience(Duration::from_secs(120)).run().succeeded();
    let grown = state(&root) - before;
    assert!(grown < STORED, "150 refusals of 500 KB made {grown} bytes");
    let recorded = records_of(&root, &person).len();
    assert!((10..100).contains(&recorded), "{recorded}");
    root.run_as(&other.name, ["jit-sudo", "-n", "id"]).refused("");
    assert_eq!(records_of(&root, &other).len(), 1, "nobody else is concerned");
    // Refusals leave room for requests.
    request(&root, &person, "reviewed", &["--", "id"]);
}

#[test]
fn a_request_has_words_that_an_approver_can_read() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    for (count, length) in [(1, 66_000), (40, 2000), (3, 1 << 20)] {
        let question = format!(
            "{{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id'] + ['y' * {length}] * {count}}}"
        );
        let answer = ask(root(), &person, &question);
        let said = answer["begins"].as_str().unwrap();
        assert!(said.contains("more than the 65536 that a request may have; put it into a script"), "{said}");
    }
    // Characters that are written longer count as they are written.
    let question =
        "{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id', '\\\\x01' * 16000]}";
    assert!(ask(root(), &person, question)["begins"].as_str().unwrap().contains("more than the 65536"));
    // What fits is bound and shown as a whole.
    let question = "{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id', 'y' * 60000]}";
    let answer = ask(root(), &person, question);
    let id = answer["begins"].as_str().unwrap().split("\"id\":\"").nth(1).unwrap()[..10].to_owned();
    let shown = root().run_as(&approver.name, ["jitctl", "--json", "show", &id]).json();
    assert_eq!(shown["grant"]["command"][1].as_str().map(str::len), Some(60_000));
    let listed = root().run_as(&approver.name, ["jitctl", "--json", "requests"]).json();
    let entry = listed["requests"].as_array().unwrap().iter().find(|entry| entry["id"] == id.as_str()).unwrap();
    assert_eq!(entry["command_bytes"], 60_000 + 1 + "/usr/bin/id".len() + 1, "a listing shows the beginning");
    assert!(entry["command"][1].as_str().unwrap().len() <= 1024);
    let table = root().run_as(&approver.name, ["jitctl", "requests"]);
    assert!(table.succeeded().len() < 4000, "{table:?}");
}

#[test]
fn requests_end_with_the_budget_and_break_glass_does_not() {
    let root = own_root();
    root.add_policy(
        "urgent",
        "[roles.urgent]\neligible = [\"%reviewed\"]\ncommands = \"ALL\"\nauthenticate = false\n\
         [roles.urgent.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\nbreak_glass = true\n",
    );
    let (person, other) = (root.person(&["reviewed"]), root.person(&["reviewed"]));
    let before = state(&root);
    let file = "{'verb': 'request', 'role': 'reviewed', 'reason': 'x', 'command': ['/usr/bin/id', 'y' * 64000]}";
    let mut last = String::new();
    for _ in 0..20 {
        last = ask(&root, &person, file)["begins"].as_str().unwrap().to_owned();
    }
    assert!(
        last.contains("you have caused as much to be stored as one user may (2 MiB at once, 32 MiB a day)"),
        "{last}"
    );
    assert!(state(&root) - before < 2 * STORED, "{} bytes", state(&root) - before);
    request(&root, &other, "reviewed", &["--", "id"]);
    let urgent =
        root.run_as(&person.name, ["jit-sudo", "--break-glass", "--role", "urgent", "--reason", "fire", "id", "-u"]);
    assert_eq!(urgent.succeeded(), "0", "{urgent:?}");
}

#[test]
fn whatever_was_filed_approvers_and_root_see_every_request_in_little_memory() {
    let root = own_root();
    let (person, approver) = (root.person(&["reviewed"]), root.person(&["approvers"]));
    let pending = id(&request(&root, &person, "reviewed", &["--", "id"]));
    // As an earlier version took them: 120 requests of 1 MiB.
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120) \
         INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
         SELECT printf('%010d', n.i), uid, role, state, created, deadline, needed, \
         CAST(replace(replace(CAST(body AS TEXT), id, printf('%010d', n.i)), '\"/usr/bin/id\"]', \
         '\"/usr/bin/id\",\"' || printf('%.1048576c', 'y') || '\"]') AS BLOB) FROM n, request WHERE request.id = '{pending}';"
    );
    root.write("/root/many.sql", 0o600, many);
    root.script("sqlite3 /var/lib/jit-sudo/journal.db < /root/many.sql");
    for who in ["root", &approver.name] {
        for words in [&["requests"][..], &["requests", "--all"]] {
            let listed: Output =
                root.command(who, [&["jitctl", "--json"], words].concat()).patience(Duration::from_secs(60)).run();
            assert_eq!(listed.json()["requests"].as_array().map(Vec::len), Some(121), "{who} {words:?}");
        }
    }
    let question = "{'verb': 'requests', 'all': False}";
    let broker =
        root.command(&approver.name, ["python3", "-c", ASK, question]).patience(Duration::from_secs(60)).run().json();
    let kib = broker["kib"].as_u64().unwrap();
    assert!(kib < 40_000, "one listing took {kib} KiB");
    let ambiguous = root.run_as(&approver.name, ["jitctl", "show", "0"]);
    assert!(ambiguous.stderr.contains("fits several"), "{ambiguous:?}");
}

#[test]
fn a_listing_of_many_parts_is_whole_and_in_order() {
    let root = own_root();
    let person = root.person(&["reviewed"]);
    let pending = id(&request(&root, &person, "reviewed", &["--", "id"]));
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500) \
         INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
         SELECT printf('%010d', n.i), uid, role, state, created, deadline, needed, \
         CAST(replace(CAST(body AS TEXT), id, printf('%010d', n.i)) AS BLOB) FROM n, request WHERE request.id = '{pending}';"
    );
    root.write("/root/many.sql", 0o600, many);
    root.script("sqlite3 /var/lib/jit-sudo/journal.db < /root/many.sql");
    let listed = root.command("root", ["jitctl", "--json", "requests"]).patience(Duration::from_secs(60)).run().json();
    let ids: Vec<&str> =
        listed["requests"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let expected: Vec<String> =
        (1..=3500).rev().map(|number| format!("{number:010}")).chain([pending.clone()]).collect();
    assert_eq!(ids, expected.iter().map(String::as_str).collect::<Vec<_>>());
}
