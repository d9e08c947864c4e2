//! The life of a grant, from the request to its end; nothing makes it longer or wider.

use std::time::{Duration, Instant};

use crate::{granted, id, kinds, own_root, records_of, request, root};

#[test]
fn an_eligible_user_is_refused_with_the_command_to_type() {
    let person = root().person(&["self-service"]);
    let output = root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]);
    let said = output.refused("hint:");
    let hint = said.lines().find_map(|line| line.split_once("jitctl request")).map(|(_, words)| words.to_owned());
    let hint = hint.unwrap_or_else(|| panic!("no command to type in: {said}"));
    // The command in the hint can be typed as it is, except for the reason.
    let typed = format!("jitctl request {}", hint.trim().trim_end_matches(['`', '\'']));
    root().run_as(&person.name, ["bash", "-c", &typed]).succeeded();
    assert_eq!(root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
}

#[test]
fn a_role_without_approvers_is_activated_by_a_reason() {
    let person = root().person(&["self-service"]);
    let grant = request(root(), &person, "self-service", &["--for", "10m"]);
    assert_eq!((grant["state"].as_str(), grant["grant"].as_str()), (Some("approved"), Some("active")), "{grant}");
    assert_eq!(grant["expires"].as_i64().unwrap() - grant["starts"].as_i64().unwrap(), 600);
    assert_eq!(root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    assert_eq!(kinds(&records_of(root(), &person)), ["request", "grant", "start", "end"]);
}

#[test]
fn reason_duration_role_and_ticket_are_checked() {
    let person = root().person(&["self-service", "ticketed"]);
    let refused = |words: &[&str], sentence: &str| {
        let output = root().run_as(&person.name, [&["jitctl", "request"][..], words].concat());
        assert_ne!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert!(output.stderr.contains(sentence), "{words:?}: {output:?}");
    };
    refused(&["--role", "self-service"], "reason");
    refused(&["--role", "self-service", "--reason", ""], "reason");
    refused(&["--role", "self-service", "--reason", "   "], "reason");
    refused(&["--role", "self-service", "--reason", "x", "--for", "2h"], "1h");
    refused(&["--role", "self-service", "--reason", "x", "--for", "0s"], "");
    refused(&["--role", "self-service", "--reason", "x", "--for", "-5m"], "");
    refused(&["--role", "deploy", "--reason", "x"], "deploy");
    refused(&["--role", "no-such-role", "--reason", "x"], "no-such-role");
    refused(&["--role", "ticketed", "--reason", "x"], "ticket");
    refused(&["--role", "ticketed", "--reason", "x", "--ticket", "OPS-"], "ticket");
    refused(&["--role", "ticketed", "--reason", "x", "--ticket", "xOPS-12"], "ticket");
    assert!(!kinds(&records_of(root(), &person)).contains(&"grant"));
    request(root(), &person, "ticketed", &["--ticket", "OPS-12"]);
    assert!(kinds(&records_of(root(), &person)).contains(&"grant"));
}

#[test]
fn a_second_person_approves_and_then_it_runs() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let pending = request(root(), &person, "reviewed", &["--", "id"]);
    assert_eq!(pending["state"], "pending");
    assert!(pending.get("grant").is_none(), "{pending}");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused(&id(&pending));
    root().run_as(&approver.name, ["jitctl", "approve", &id(&pending)]).succeeded();
    assert_eq!(root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
    assert_eq!(kinds(&records_of(root(), &approver)), ["approval"]);
    let start = records_of(root(), &person).into_iter().find(|record| record.kind() == "start").unwrap();
    assert_eq!(start.text("grant"), id(&pending));
}

#[test]
fn a_user_cannot_approve_their_own_request() {
    let person = root().person(&["reviewed", "approvers"]);
    let pending = request(root(), &person, "reviewed", &[]);
    root().run_as(&person.name, ["jitctl", "approve", &id(&pending)]).refused("own request");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn a_user_who_is_no_approver_cannot_decide_or_read_a_request() {
    let (person, stranger) = (root().person(&["reviewed"]), root().person(&["self-service"]));
    let pending = request(root(), &person, "reviewed", &[]);
    let mut said = Vec::new();
    for words in [
        ["approve", "ID"].to_vec(),
        ["deny", "ID", "--reason", "x"].to_vec(),
        ["show", "ID"].to_vec(),
        ["cancel", "ID"].to_vec(),
    ] {
        for known in [id(&pending).as_str(), "zzzzzzzzzz"] {
            let words: Vec<&str> = words.iter().map(|word| if *word == "ID" { known } else { word }).collect();
            let output = root().run_as(&stranger.name, [&["jitctl"][..], &words].concat());
            assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
            said.push(output.stderr.replace(known, "ID"));
        }
        let (there, not_there) = (said.pop(), said.pop());
        assert_eq!(there, not_there, "{words:?} tells whether a request exists");
    }
}

#[test]
fn a_quorum_needs_different_people() {
    let person = root().person(&["quorum"]);
    let [first, second] = [root().person(&["approvers"]), root().person(&["approvers"])];
    let pending = id(&request(root(), &person, "quorum", &[]));
    root().run_as(&first.name, ["jitctl", "approve", &pending]).succeeded();
    // A second approval by the same person changes nothing, whatever the answer.
    let again = root().run_as(&first.name, ["jitctl", "--json", "show", &pending]).json();
    let _ = root().run_as(&first.name, ["jitctl", "approve", &pending]);
    assert_eq!(
        root().run_as(&first.name, ["jitctl", "--json", "show", &pending]).json()["grant"]["approvals"],
        again["grant"]["approvals"]
    );
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    root().run_as(&second.name, ["jitctl", "approve", &pending]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn an_approver_narrows_and_never_widens() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "reviewed", &["--for", "10m"]));
    let output = root().run_as(&approver.name, ["jitctl", "--json", "approve", &pending, "--for", "5m", "--one-shot"]);
    output.succeeded();
    let grant = output.json()["grant"].clone();
    assert_eq!((grant["duration"].as_u64(), grant["one_shot"].as_bool()), (Some(300), Some(true)), "{grant}");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");

    let other = root().person(&["reviewed"]);
    let pending = id(&request(root(), &other, "reviewed", &["--for", "10m"]));
    let output = root().run_as(&approver.name, ["jitctl", "--json", "approve", &pending, "--for", "20m"]);
    let granted = if output.status.success() { output.json()["grant"]["duration"].as_u64() } else { Some(0) };
    assert!(granted.is_some_and(|seconds| seconds <= 600), "an approver made the grant longer: {output:?}");
}

#[test]
fn a_named_role_is_used_even_beside_a_standing_one() {
    let person = root().person(&["deploy", "self-service"]);
    let run = |words: &[&str]| root().run_as(&person.name, ["jit-sudo", "-n"].iter().chain(words));
    let served = || {
        records_of(root(), &person)
            .into_iter()
            .rfind(|record| record.kind() == "start")
            .unwrap()
            .text("role")
            .to_owned()
    };
    run(&["id"]).succeeded();
    assert_eq!(served(), "deploy");
    let refusal = run(&["--role", "self-service", "id"]);
    refusal.refused("no active grant");
    request(root(), &person, "self-service", &[]);
    run(&["--role", "self-service", "id"]).succeeded();
    assert_eq!(served(), "self-service");
    run(&["--role", "deploy", "id"]).succeeded();
    assert_eq!(served(), "deploy");
    run(&["--role", "reviewed", "id"]).refused("role reviewed does not allow you this command");
}

#[test]
fn a_denied_request_gives_nothing_and_says_why() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "reviewed", &[]));
    root().run_as(&approver.name, ["jitctl", "deny", &pending, "--reason", "not on a Friday"]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    let shown = root().run_as(&person.name, ["jitctl", "show", &pending]);
    assert!(shown.succeeded().contains("not on a Friday"), "{shown:?}");
    root().run_as(&approver.name, ["jitctl", "approve", &pending]).refused("denied");
    assert_eq!(kinds(&records_of(root(), &approver)), ["denial"]);
}

#[test]
fn a_cancelled_request_cannot_be_approved() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "reviewed", &[]));
    root().run_as(&person.name, ["jitctl", "cancel", &pending]).succeeded();
    root().run_as(&approver.name, ["jitctl", "approve", &pending]).refused("cancelled");
    assert_eq!(kinds(&records_of(root(), &person)), ["request", "cancellation"]);
}

#[test]
fn a_request_expires_at_its_deadline_in_the_product() {
    let (person, approver) = (root().person(&["impatient"]), root().person(&["approvers"]));
    let pending = id(&request(root(), &person, "impatient", &[]));
    std::thread::sleep(Duration::from_millis(3100));
    root().run_as(&approver.name, ["jitctl", "approve", &pending]).refused("expired");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn an_expired_grant_is_refused() {
    let person = root().person(&["self-service"]);
    request(root(), &person, "self-service", &["--for", "2s"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    std::thread::sleep(Duration::from_millis(2100));
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn a_one_shot_grant_permits_one_run_among_concurrent_attempts() {
    let person = granted(root(), "once");
    let output = root().run_as(
        &person.name,
        ["bash", "-c", "for i in 1 2 3 4 5 6 7 8; do jit-sudo -n id -u 2>/dev/null & done; wait"],
    );
    assert_eq!(output.stdout, "0\n", "{output:?}");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn an_exact_grant_permits_exactly_its_command() {
    let person = root().person(&["exactly"]);
    root().run_as(&person.name, ["jitctl", "request", "--reason", "needed", "--", "id", "-u", "root"]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).refused("");
    root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u", "root", "root"]).refused("");
    root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u", "root"]).succeeded();
}

#[test]
fn a_grant_permits_only_its_holder() {
    granted(root(), "self-service");
    let other = root().person(&["self-service"]);
    root().run_as(&other.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn a_released_grant_ends_at_once() {
    let person = granted(root(), "self-service");
    root().run_as(&person.name, ["jitctl", "release"]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    assert_eq!(kinds(&records_of(root(), &person)).last(), Some(&"reject"));
    assert!(kinds(&records_of(root(), &person)).contains(&"release"));
}

#[test]
fn a_revoked_grant_ends_at_once_and_reports_who_and_why() {
    let person = granted(root(), "self-service");
    let grants = root().run_as(&person.name, ["jitctl", "--json", "grants"]).json();
    let grant = id(&grants["grants"][0]);
    root().run_as("carol", ["jitctl", "revoke", &grant, "--reason", "mine"]).refused("");
    root().as_root(["jitctl", "revoke", &grant, "--reason", "left the team"]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    let shown = root().run_as(&person.name, ["jitctl", "show", &grant]);
    assert!(shown.succeeded().contains("left the team"), "{shown:?}");
}

#[test]
fn revoking_a_user_ends_all_of_their_grants() {
    let person = root().person(&["self-service", "once"]);
    request(root(), &person, "self-service", &[]);
    request(root(), &person, "once", &[]);
    root().as_root(["jitctl", "revoke", "--user", &person.name, "--reason", "gone"]).succeeded();
    let grants = root().run_as(&person.name, ["jitctl", "--json", "grants"]).json();
    assert_eq!(grants["grants"].as_array().map(Vec::len), Some(0), "{grants}");
}

#[test]
fn a_grant_of_a_role_that_left_the_policy_is_worth_nothing() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.script("sed -i 's/%self-service/%nobody-at-all/' /etc/jit-sudo/policy.d/tests.toml");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn a_grant_is_bound_to_the_host_that_signed_it() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.script("cp -a /var/lib/jit-sudo /root/state && rm /var/lib/jit-sudo/host_key* && jitctl key init");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
    root.script("settle; rm -r /var/lib/jit-sudo && mv /root/state /var/lib/jit-sudo");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
}

#[test]
fn a_scheduled_grant_does_not_serve_before_its_time() {
    let person = root().person(&["self-service"]);
    let grant = request(root(), &person, "self-service", &["--at", "+2h"]);
    assert_eq!(grant["grant"], "scheduled", "{grant}");
    root().run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("");
}

#[test]
fn one_command_requests_and_runs_where_no_approval_is_needed() {
    let person = root().person(&["self-service"]);
    let output = root().run_as(&person.name, ["jit-sudo", "--reason", "disk full", "id", "-u"]);
    assert_eq!(output.succeeded(), "0");
    let records = records_of(root(), &person);
    assert_eq!(kinds(&records), ["request", "grant", "start", "end"]);
    assert_eq!(records[0].text("reason"), "disk full");
}

#[test]
fn dash_n_opens_no_request_even_with_a_reason() {
    let person = root().person(&["self-service"]);
    root().run_as(&person.name, ["jit-sudo", "-n", "--reason", "disk full", "id"]).refused("hint:");
    assert_eq!(kinds(&records_of(root(), &person)), ["reject"]);
}

#[test]
fn a_waiting_run_starts_as_soon_as_it_is_approved() {
    let (person, approver) = (root().person(&["reviewed"]), root().person(&["approvers"]));
    let mut session = root().pty_as(&person.name, ["jit-sudo", "--reason", "needed", "--wait=15s", "id", "-u"]);
    let pending = harness::eventually("the request is there", harness::PATIENCE, || {
        let listed = root().run_as(&approver.name, ["jitctl", "--json", "requests"]).json();
        let mine =
            listed["requests"].as_array()?.iter().find(|request| request["requester"] == person.name.as_str())?.clone();
        Some(id(&mine))
    });
    root().run_as(&approver.name, ["jitctl", "approve", &pending]).succeeded();
    let approved = Instant::now();
    assert!(session.wait().success(), "{}", session.screen());
    assert!(approved.elapsed() < Duration::from_millis(1500), "it took {:?}", approved.elapsed());
    assert!(session.screen().trim_end().ends_with('0'), "{}", session.screen());
}

#[test]
fn the_offer_on_a_terminal_asks_for_a_reason_and_then_runs() {
    let person = root().person(&["self-service"]);
    let mut session = root().pty_as(&person.name, ["jit-sudo", "id", "-un"]);
    session.expect("eason");
    session.type_line("the disk is full");
    // Enter accepts the default of all other questions.
    let deadline = Instant::now() + harness::PATIENCE;
    while records_of(root(), &person).iter().all(|record| record.kind() != "end") && Instant::now() < deadline {
        session.type_text("\r");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(session.wait().success(), "{}", session.screen());
    let records = records_of(root(), &person);
    assert_eq!(kinds(&records), ["request", "grant", "start", "end"]);
    assert_eq!(records[0].text("reason"), "the disk is full");
}

#[test]
fn a_named_role_is_the_one_that_is_used() {
    let person = root().person(&["self-service", "reviewed"]);
    request(root(), &person, "self-service", &[]);
    root().run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    root().run_as(&person.name, ["jit-sudo", "-n", "--role", "self-service", "id", "-u"]).succeeded();
    root()
        .run_as(&person.name, ["jit-sudo", "-n", "--role", "reviewed", "id", "-u"])
        .refused("you may activate role reviewed");
    root().run_as(&person.name, ["jit-sudo", "-n", "--role", "nosuch", "id", "-u"]).refused("role nosuch");
}
