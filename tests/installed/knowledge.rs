//! What people and programs learn about the policy, about requests and about the host; and the detection of changes around it.

use std::time::Duration;

use serde_json::Value;

use crate::{granted, id, kinds, own_root, records_of, request, root};

const BROKER: &str = "/usr/libexec/jit-sudo/jit-sudo-broker";

#[test]
fn policy_show_has_every_role_with_its_defaults_for_root_and_readers() {
    let shown = root().as_root(["jitctl", "--json", "policy", "show"]).json();
    let roles = shown["policy"]["roles"].as_array().unwrap();
    let reviewed = roles.iter().find(|role| role["name"] == "reviewed").unwrap();
    assert_eq!(reviewed["maximum_duration"], 1800);
    assert_eq!(reviewed["eligible"], serde_json::json!(["%reviewed"]));
    assert_eq!(reviewed["request_lifetime"], 86_400);
    assert!(reviewed["source"].as_str().unwrap().contains("policy.d/tests.toml:"), "{reviewed}");
    assert_eq!(shown["policy"]["settings"]["request_rate"], 30);
    let one = root().as_root(["jitctl", "policy", "show", "reviewed"]);
    assert!(one.succeeded().contains("/usr/bin/id **") && !one.stdout.contains("self-service"), "{one:?}");
    root().as_root(["jitctl", "policy", "show", "no-such"]).refused("no role no-such");
    root().run_as("alice", ["jitctl", "policy", "show"]).refused("readers");
}

#[test]
fn policy_test_shows_role_and_conditions() {
    let person = root().person(&["reviewed", "self-service"]);
    let ask = |words: &[&str]| {
        let words = [&["jitctl", "--json", "policy", "test", "--user", &person.name][..], words].concat();
        root().as_root(words)
    };
    let narrow = ask(&["--", "id", "-u"]);
    assert_eq!(narrow.json()["evaluation"]["roles"], serde_json::json!(["reviewed", "self-service"]), "{narrow:?}");
    assert_eq!(narrow.json()["evaluation"]["terms"]["approvals"], 1);
    let wide = ask(&["-u", "bob", "--", "ls", "/"]).json();
    assert_eq!(
        (&wide["evaluation"]["verdict"], &wide["evaluation"]["roles"][0]),
        (&"eligible".into(), &"self-service".into())
    );
    let stranger = root().person(&[]);
    let denied = root().as_root(["jitctl", "policy", "test", "--user", &stranger.name, "--", "id"]);
    denied.exited(1);
    assert!(denied.stdout.contains("denied"), "{denied:?}");
    root().run_as("alice", ["jitctl", "policy", "test", "--", "id"]).refused("readers");
    assert!(records_of(root(), &person).is_empty(), "a test leaves no record");
}

#[test]
fn a_file_of_expected_answers_is_checked_by_anybody_against_files() {
    let directory = "/home/bob";
    let policy = "[roles.ops]\neligible = [\"%ops\"]\ncommands = [\"/usr/bin/systemctl restart *\"]\n";
    let case = |expect: &str| {
        format!(
            "[[case]]\nuser = \"zoe\"\ngroups = [\"ops\"]\ncommand = \"/usr/bin/systemctl restart nginx\"\nexpect = \"{expect}\"\n\
             [[case]]\nuser = \"zoe\"\ncommand = [\"/usr/bin/systemctl\", \"restart\", \"nginx\"]\nexpect = \"denied\"\n"
        )
    };
    root().write(&format!("{directory}/p.toml"), 0o644, policy);
    root().write(&format!("{directory}/good.toml"), 0o644, case("eligible:ops"));
    root().write(&format!("{directory}/bad.toml"), 0o644, case("standing"));
    root().write(&format!("{directory}/wrong.toml"), 0o644, case("perhaps"));
    root().write(&format!("{directory}/broken.toml"), 0o644, "[[case]]\nuser = 7\n");
    let test = |file: &str| root().run_as("bob", ["jitctl", "policy", "test", "--policy", "p.toml", file]);
    assert_eq!(test("good.toml").succeeded(), "2 of 2 answers are as expected");
    let bad = test("bad.toml");
    bad.exited(1);
    assert!(
        bad.stdout.contains("bad.toml, case 1: zoe as root") && bad.stdout.contains("found eligible:ops"),
        "{bad:?}"
    );
    assert!(!bad.stdout.contains("case 2"), "{bad:?}");
    test("wrong.toml").refused("write standing, eligible:ROLE or denied");
    test("broken.toml").refused("broken.toml:2");
    test("missing.toml").refused("missing.toml");
    // The installed policy too, by users who may read it.
    let person = root().person(&["reviewed"]);
    let text = format!("[[case]]\nuser = \"{}\"\ncommand = \"id -u\"\nexpect = \"eligible:reviewed\"\n", person.name);
    root().write("/root/installed.toml", 0o600, text);
    root().as_root(["jitctl", "policy", "test", "installed.toml"]).succeeded();
}

#[test]
fn requests_are_limited_by_the_hour_and_the_message_names_the_next_time() {
    let root = own_root();
    root.write("/etc/jit-sudo/policy.d/rate.toml", 0o640, "[defaults]\nrequest_rate = 3\n");
    let person = root.person(&["self-service"]);
    for _ in 0..3 {
        request(&root, &person, "self-service", &[]);
    }
    let words = ["jitctl", "request", "--role", "self-service", "--reason", "x"];
    let said = root.run_as(&person.name, words).refused("you have made 3 requests within an hour").to_owned();
    assert!(said.contains("the next one is possible at 20") && said.lines().count() == 1, "{said}");
    assert_eq!(kinds(&records_of(&root, &person)), ["request", "grant"].repeat(3));
    // Another user is not affected.
    granted(&root, "self-service");
}

#[test]
fn an_approver_sees_how_often_it_was_run_before_and_what_else_the_role_allows() {
    let (person, approver) = (root().person(&["reviewed", "deploy"]), root().person(&["approvers"]));
    let ask = || id(&request(root(), &person, "reviewed", &["--", "id", "-u"]));
    let show = |id: &str| root().run_as(&approver.name, ["jitctl", "--json", "show", id]).json()["grant"].clone();
    let first = show(&ask());
    assert!(first["background"].get("precedent").is_none(), "{first}");
    assert_eq!(first["background"]["role_commands"], serde_json::json!(["/usr/bin/id **", "/usr/bin/true"]));
    for _ in 0..2 {
        root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    }
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    let second = ask();
    assert_eq!(show(&second)["background"]["precedent"]["runs"], 2);
    let text = root().run_as(&approver.name, ["jitctl", "show", &second]);
    assert!(text.succeeded().contains("ran 2 times by this requester"), "{text:?}");
    assert!(text.stdout.contains("role allows") && text.stdout.contains("/usr/bin/true"), "{text:?}");
}

#[test]
fn a_command_behind_a_link_of_roots_is_counted_by_the_program_that_ran() {
    root().add_policy(
        "counted",
        "[roles.counted]\neligible = [\"%counted\"]\ncommands = [\"/usr/bin/sh **\"]\n\
         [roles.counted.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\n",
    );
    let person = root().person(&["counted", "deploy"]);
    let precedent = || {
        let request = id(&request(root(), &person, "counted", &["--", "sh", "-c", "true"]));
        root().as_root(["jitctl", "--json", "show", &request]).json()["grant"]["background"]["precedent"]["runs"]
            .clone()
    };
    assert!(precedent().is_null());
    root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "true"]).succeeded();
    assert_eq!(precedent(), 1, "/usr/bin/sh is a link to the shell of the system");
}

#[test]
fn the_inferred_role_and_why_are_said_on_standard_error() {
    let person = root().person(&["reviewed", "self-service"]);
    let output = root().run_as(&person.name, ["jitctl", "request", "--reason", "x", "--", "id", "-u"]);
    output.succeeded();
    assert!(output.stderr.contains("role reviewed was chosen: it is narrower than self-service"), "{output:?}");
    let named = root().run_as(&person.name, ["jitctl", "request", "--role", "reviewed", "--reason", "x", "--", "id"]);
    assert!(named.status.success() && named.stderr.is_empty(), "{named:?}");
}

#[test]
fn a_broken_policy_does_not_hide_evidence_from_root() {
    let root = own_root();
    let person = granted(&root, "self-service");
    let grant = id(&root.run_as(&person.name, ["jitctl", "--json", "grants"]).json()["grants"][0]);
    root.write("/etc/jit-sudo/policy.d/broken.toml", 0o640, "[roles.x]\ncomands = 7\n");
    for words in [
        &["audit", "list"][..],
        &["audit", "verify"],
        &["audit", "show", &grant],
        &["grants"],
        &["requests", "--all"],
        &["show", &grant],
        &["revoke", &grant, "--reason", "the policy is broken"],
        &["key", "show"],
    ] {
        let output = root.as_root([&["jitctl"][..], words].concat());
        output.intact();
        assert!(output.stderr.contains("warning") && output.stderr.contains("broken.toml:2"), "{words:?}: {output:?}");
    }
    root.as_root(["jitctl", "policy", "check"]).refused("broken.toml:2");
    for words in [&["grants"][..], &["audit", "list"], &["roles"]] {
        root.run_as(&person.name, [&["jitctl"][..], words].concat()).refused("broken.toml:2");
    }
    root.as_root(["jitctl", "request", "--role", "self-service", "--reason", "x"]).refused("broken.toml:2");
    assert_eq!(root.journal().last().map(|record| record.kind().to_owned()).as_deref(), Some("revocation"));
}

#[test]
fn a_restored_older_database_revives_no_grant_until_root_accepts_it() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.script("cp -a /var/lib/jit-sudo/journal.db* /root/");
    root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    root.script("rm /var/lib/jit-sudo/journal.db*; cp -a /root/journal.db* /var/lib/jit-sudo/");
    for _ in 0..2 {
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("older than its anchor");
        root.run_as(&person.name, ["jitctl", "request", "--role", "self-service", "--reason", "x"]).refused("older");
    }
    let alerts = |code: &str| root.journal().iter().filter(|record| record.text("code") == code).count();
    assert_eq!(alerts("database-older"), 1);
    root.run_as(&person.name, ["jitctl", "key", "accept", "--reason", "x"]).refused("only root");
    let accepted = root.as_root(["jitctl", "key", "accept", "--reason", "restored from the backup of Monday"]);
    assert!(accepted.succeeded().contains("revoked"), "{accepted:?}");
    assert_eq!(alerts("state-accepted"), 1);
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("no active grant");
    request(&root, &person, "self-service", &[]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn a_copied_host_is_recorded_once_and_its_grants_are_worth_nothing() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.script("echo 0123456789abcdef0123456789abcdef > /etc/machine-id");
    for _ in 0..2 {
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("another host");
    }
    assert_eq!(root.journal().iter().filter(|record| record.text("code") == "host-changed").count(), 1);
}

/// Calls the broker directly: whatever it receives, it answers one line and changes nothing.
#[test]
fn random_bytes_get_one_line_and_change_nothing() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    let before = root.journal().len();
    let seeds = [
        "{\"verb\":\"request\",\"role\":\"self-service\",\"reason\":\"x\",\"duration\":60,\"command\":[\"id\"]}",
        "{\"verb\":\"approve\",\"id\":\"0123456789\",\"duration\":1,\"one_shot\":true}",
        "{\"verb\":\"audit-list\",\"after\":0,\"limit\":10,\"newest\":true,\"user\":\"bob\"}",
        "{\"verb\":\"policy-test\",\"user\":\"bob\",\"command\":[\"/usr/bin/id\"],\"run_as\":\"root\"}",
        "{\"verb\":\"revoke\",\"target\":{\"user\":\"bob\"},\"reason\":\"x\"}",
    ];
    let mut numbers = fastrand::Rng::with_seed(1);
    let mut random = move |below: usize| numbers.usize(..below);
    // All in one process, one broker after the other, so that some hundreds take a few seconds.
    let mut files = String::new();
    for number in 0..300 {
        let mut bytes = seeds[random(seeds.len())].as_bytes().to_vec();
        for _ in 0..=random(6) {
            match random(4) {
                0 => bytes.truncate(random(bytes.len().max(1))),
                1 => bytes.insert(random(bytes.len() + 1), random(256) as u8),
                2 => bytes.extend((0..random(40)).map(|_| random(256) as u8).collect::<Vec<_>>()),
                _ if !bytes.is_empty() => {
                    let at = random(bytes.len());
                    bytes[at] ^= 1 << random(8);
                }
                _ => {}
            }
        }
        // Complete input could be a valid request; this must be garbage. A NUL ends the input, and no object ends with `]`.
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.insert(end, b']');
        let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
        files.push_str(&format!("printf '{octal}' > {number}\n"));
    }
    root.script(&format!("mkdir /run/fuzz && cd /run/fuzz && {files} chmod -R a+rX /run/fuzz"));
    let each = format!("cd /run/fuzz; for f in *; do {BROKER} < $f; echo \"status $?\"; done");
    let output = root.command(&person.name, ["bash", "-c", &each]).patience(Duration::from_secs(120)).run();
    assert_eq!(output.stderr, "", "a panic, or another word too many");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 600, "each gets one line");
    for pair in lines.chunks(2) {
        let said: Value = serde_json::from_str(pair[0]).unwrap_or_else(|error| panic!("{error}: {}", pair[0]));
        assert!(said["error"]["message"].is_string() && !pair[0].chars().any(char::is_control), "{pair:?}");
        assert_eq!(pair[1], "status 1", "{pair:?}");
    }
    assert_eq!(root.journal().len(), before, "nothing is changed");
}

#[test]
fn bad_input_gets_one_clear_line_and_changes_nothing() {
    let (person, approver) = (root().person(&["reviewed", "self-service"]), root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "reviewed", &["--", "id"]));
    let before = [&person, &approver].map(|who| records_of(root(), who).len());
    let long = "x".repeat(100_000);
    let ask = ["request", "--role", "self-service", "--reason", "x"];
    for (who, words, sentence) in [
        (&person, [&ask[..], &["--for", "0"]].concat(), "duration"),
        (&person, [&ask[..], &["--for", "-1h"]].concat(), "duration"),
        (&person, [&ask[..], &["--for", "3650000d"]].concat(), "duration"),
        (&person, [&ask[..], &["--for", "99999999999999999999s"]].concat(), "duration"),
        (&person, [&ask[..], &["--for", "366d"]].concat(), "at most 1h"),
        (&person, [&ask[..], &["--at", "1970-01-01T00:00:00Z"]].concat(), "over"),
        (&person, ["request", "--role", "self-service", "--reason", &long].to_vec(), "longer than 4096 bytes"),
        (&person, ["request", "--role", "self-service", "--reason", "x", "--ticket", &long].to_vec(), "longer than"),
        (&person, ["request", "--role", "no-such-role", "--reason", "x"].to_vec(), "no-such-role"),
        (&person, ["request", "--reason", "x", "--", "/no/such/program"].to_vec(), "command not found"),
        (&person, ["request", "--reason", "x", "-u", "nobody-here", "--", "id"].to_vec(), "nobody-here"),
        (&approver, ["approve", "zzzzzzzzzz"].to_vec(), "no request or grant"),
        (&approver, ["approve", &pending, "--for", "10000d"].to_vec(), "duration"),
        (&approver, ["approve", &pending, "--for", "366d"].to_vec(), "only shorten"),
        (&approver, ["approve", &pending, "--comment", &long].to_vec(), "longer than"),
        (&approver, ["deny", &pending, "--reason", " \t "].to_vec(), "empty"),
        (&approver, ["deny", &pending, "--reason", &long].to_vec(), "longer than"),
        (&approver, ["show", "'; DROP TABLE request; --"].to_vec(), "id"),
        (&person, ["cancel", "00000000000000000000"].to_vec(), "id"),
    ] {
        let output = root().run_as(&who.name, [&["jitctl"][..], &words].concat());
        let shown: Vec<String> = words.iter().map(|word| word.chars().take(40).collect()).collect();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{shown:?}: {output:?}");
        let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
        assert!(lines.len() == 1 && lines[0].to_lowercase().contains(sentence), "{shown:?}: {output:?}");
    }
    assert_eq!([&person, &approver].map(|who| records_of(root(), who).len()), before, "something was recorded");
    let stands = root().run_as(&approver.name, ["jitctl", "--json", "show", &pending]).json();
    assert_eq!(stands["grant"]["state"], "pending");
}

#[test]
fn an_id_that_fits_several_is_refused_with_their_names() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    // Twenty ids over 32 first letters: some two have the same prefix, or else the next twenty do.
    let ids: Vec<String> = (0..20).map(|_| id(&request(&root, &person, "self-service", &[]))).collect();
    let first = |id: &String| id[..1].to_owned();
    let common = ids.iter().map(first).find(|letter| ids.iter().filter(|id| id.starts_with(letter)).count() > 1);
    let common = common.expect("one pair among twenty");
    let output = root.run_as(&person.name, ["jitctl", "show", &common]);
    output.refused("fits several");
    root.as_root(["jitctl", "revoke", &common, "--reason", "x"]).refused("fits several");
    assert!(!kinds(&root.journal()).contains(&"revocation"));
}

#[test]
fn a_request_of_a_role_that_left_the_policy_cannot_be_approved() {
    let root = own_root();
    let (person, approver) = (root.person(&["leaving"]), root.person(&["approvers"]));
    let role = "[roles.leaving]\neligible = [\"%leaving\"]\ncommands = [\"ALL\"]\n[roles.leaving.activation]\n\
                require_approval = true\napprovers = [\"%approvers\"]\n";
    root.add_policy("leaving", role);
    let pending = id(&request(&root, &person, "leaving", &[]));
    root.script("rm /etc/jit-sudo/policy.d/leaving.toml");
    // The role has no approvers any more, and root sees the reason.
    root.run_as(&approver.name, ["jitctl", "approve", &pending]).refused("no request or grant");
    root.as_root(["jitctl", "approve", &pending]).refused("no longer knows the role leaving");
    root.as_root(["jitctl", "show", &pending]).succeeded();
    root.run_as(&person.name, ["jitctl", "cancel", &pending]).succeeded();
}

#[test]
fn bash_completes_verbs_options_roles_ids_and_the_inner_command() {
    let person = root().person(&["reviewed", "once"]);
    let pending = id(&request(root(), &person, "reviewed", &["--", "id"]));
    let complete = |line: &str| {
        let script = format!(
            "source /usr/share/bash-completion/completions/jitctl; source /usr/share/bash-completion/completions/jit-sudo\n\
             COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; COMP_KEY=9; compopt() {{ :; }}\n\
             $(complete -p ${{COMP_WORDS[0]}} | sed 's/.*-F \\([^ ]*\\).*/\\1/') ${{COMP_WORDS[0]}} \
             \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = root().run_as(&person.name, ["bash", "-c", &script]);
        output.stdout.lines().map(|word| word.trim().to_owned()).collect::<Vec<_>>()
    };
    let has = |line: &str, word: &str| {
        let found = complete(line);
        assert!(found.iter().any(|candidate| candidate == word), "{line}: {found:?}");
    };
    has("jitctl req", "requests");
    has("jitctl request --ti", "--ticket");
    has("jitctl request --role ", "once");
    has("jitctl cancel ", &pending);
    has("jitctl request --reason x -- systemc", "systemctl");
    has("jit-sudo --pre", "--preserve-env");
    has("jit-sudo -u bo", "bob");
    has("jit-sudo --role re", "reviewed");
    has("jit-sudo -u bob systemc", "systemctl");
    assert!(!complete("jitctl request --role ").contains(&"deploy".to_owned()), "a role of others");
}
