//! The policy of the installed product: what its rules allow, how mistakes are reported, which files it trusts.

use harness::PrivateRoot;

use crate::{own_root, root};

/// Runs a command as a user whose role has every form of a rule.
fn by_rules(words: &[&str]) -> harness::Output {
    let person = root().person(&["rules"]);
    root().run_as(&person.name, [&["jit-sudo", "-n"][..], words].concat())
}

#[test]
fn only_the_exact_arguments_of_a_rule_are_allowed() {
    assert_eq!(by_rules(&["printf", "exactly", "these", "words"]).stdout, "exactly");
    for words in [
        &["printf", "exactly", "these"][..],
        &["printf", "exactly", "these", "words", "more"],
        &["printf", "exactly these words"],
    ] {
        by_rules(words).refused("not allowed");
    }
}

#[test]
fn one_star_matches_one_argument_and_two_match_any_number() {
    by_rules(&["printf", "one", "anything at all", "end"]).succeeded();
    by_rules(&["printf", "one", "two", "three", "end"]).refused("not allowed");
    by_rules(&["printf", "one", "end"]).refused("not allowed");
    by_rules(&["printf", "many", "end"]).succeeded();
    by_rules(&["printf", "many", "a", "b", "c", "end"]).succeeded();
    by_rules(&["printf", "many", "a", "b", "c"]).refused("not allowed");
}

#[test]
fn a_star_within_an_argument_does_not_match_a_slash() {
    by_rules(&["ls", "/var/log/auth.log"]).succeeded();
    by_rules(&["ls", "/var/log/../../etc/shadow"]).refused("not allowed");
    by_rules(&["ls", "/var/log/apt/term.log"]).refused("not allowed");
    by_rules(&["ls", "/var/log/.."]).refused("not allowed");
}

#[test]
fn the_last_matching_rule_decides() {
    by_rules(&["env", "allowed=yes"]).succeeded();
    by_rules(&["env", "forbidden"]).refused("not allowed");
}

#[test]
fn a_path_alone_allows_no_arguments() {
    let output = by_rules(&["printf"]);
    // printf itself prints an error, which shows that it ran.
    assert!(output.stderr.contains("missing operand"), "{output:?}");
    by_rules(&["printf", "x"]).refused("not allowed");
}

#[test]
fn a_role_runs_commands_only_as_the_users_it_names() {
    let person = root().person(&["as-www"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "-u", "www-data", "id", "-un"]);
    assert_eq!(output.succeeded(), "www-data");
    root().run_as(&person.name, ["jit-sudo", "-n", "-u", "root", "id"]).refused("as root");
    root().run_as(&person.name, ["jit-sudo", "-n", "-u", "carol", "id"]).refused("as carol");
}

#[test]
fn a_role_of_other_hosts_gives_nothing_here() {
    let person = root().person(&["elsewhere"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("not allowed");
}

#[test]
fn a_user_without_a_role_gets_the_message_of_sudo() {
    let person = root().person(&[]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]);
    output.refused(&format!("user {} is not allowed to execute '/usr/bin/id -u' as root on web1", person.name));
}

/// Returns a root with `text` as the only policy, and the output of `jitctl policy check`.
fn with_policy(text: &str) -> (PrivateRoot, harness::Output) {
    let root = PrivateRoot::start();
    root.write_policy(text);
    let check = root.as_root(["jitctl", "policy", "check"]);
    (root, check)
}

#[test]
fn a_mistake_in_the_policy_is_reported_with_file_and_line_and_denies_every_run() {
    let text = "[roles.ops]\nstanding = [\"alice\"]\ncommands = [\"ALL\"]\nautenticate = false\n";
    let (root, check) = with_policy(text);
    let said = check.refused("/etc/jit-sudo/policy.toml:4");
    assert!(said.contains("autenticate") && said.contains("did you mean 'authenticate'"), "{said}");
    let output = root.run_as("alice", ["jit-sudo", "-n", "id"]);
    output.refused("jit-sudo: ");
}

#[test]
fn a_policy_that_others_could_have_written_is_not_read() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    let file = "/etc/jit-sudo/policy.d/tests.toml";
    let spoil = [
        (format!("chmod g+w {file}"), format!("chmod 640 {file}")),
        (format!("chmod o+w {file}"), format!("chmod 640 {file}")),
        (format!("chown alice {file}"), format!("chown root {file}")),
        ("chmod o+w /etc/jit-sudo/policy.d".to_owned(), "chmod 700 /etc/jit-sudo/policy.d".to_owned()),
        (format!("mv {file} /root/ && ln -s /root/tests.toml {file}"), format!("mv /root/tests.toml {file}")),
    ];
    for (break_it, mend_it) in spoil {
        root.script(&break_it);
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("jit-sudo: ");
        root.script(&mend_it);
        root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    }
}

#[test]
fn without_a_policy_every_run_is_denied() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.script("rm -r /etc/jit-sudo");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("/etc/jit-sudo");
}

#[test]
fn a_changed_policy_counts_from_the_next_run_on() {
    let root = own_root();
    let person = root.person(&["newly"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("not allowed");
    root.add_policy("newly", "[roles.newly]\nstanding = [\"%newly\"]\nauthenticate = false\ncommands = [\"ALL\"]\n");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.script("rm /etc/jit-sudo/policy.d/newly.toml");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("not allowed");
}

#[test]
fn the_installed_default_makes_only_administrators_eligible() {
    let root = PrivateRoot::start();
    let admin = root.person(&["sudo"]);
    root.as_root(["jitctl", "policy", "check"]).succeeded();
    root.run_as("alice", ["jit-sudo", "-n", "id"]).refused("not allowed");
    let refused = root.run_as(&admin.name, ["jit-sudo", "-n", "id"]);
    assert!(refused.refused("hint:").contains("jitctl request"), "{refused:?}");
    root.run_as(&admin.name, ["jitctl", "request", "--role", "admin", "--reason", "first day"]).succeeded();
    let line = format!("{}\n", admin.password);
    let output = root.command(&admin.name, ["jit-sudo", "-S", "id", "-u"]).stdin(line).run();
    assert_eq!(output.succeeded(), "0");
    assert_eq!(root.as_root(["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
}
