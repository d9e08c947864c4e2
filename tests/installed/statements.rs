//! Denials, cancellations, revocations, releases and reviews as signed objects: stored by the host, imported by any user.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use harness::{Output, Person, PrivateRoot};

use crate::{id, kinds, own_root, records_of, request};

const POLICY: &str = r#"
[roles.stated]
eligible     = ["%stated"]
commands     = ["/usr/bin/id **", "/usr/bin/sleep **"]
authenticate = false

[roles.stated.activation]
require_approval = true
approvers        = ["%staters"]
break_glass      = true

[roles.stated-freely]
eligible     = ["%stated"]
commands     = ["/usr/bin/sleep **"]
authenticate = false
"#;

fn stated_root() -> PrivateRoot {
    let root = own_root();
    root.add_policy("stated", POLICY);
    root
}

/// Returns the root for tests that only add keys.
fn shared() -> &'static PrivateRoot {
    static ROOT: OnceLock<PrivateRoot> = OnceLock::new();
    ROOT.get_or_init(stated_root)
}

/// Creates a key in the user's home and adds it to the list; returns the line of the list.
fn key(root: &PrivateRoot, person: &Person) -> String {
    let words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key"];
    root.command(&person.name, words).cwd(&person.home).run().succeeded();
    format!("{} {}", person.name, root.read(&format!("{}/key.pub", person.home)).trim())
}

fn list(root: &PrivateRoot, lines: &[String]) {
    root.write("/etc/jit-sudo/approvers", 0o644, lines.join("\n") + "\n");
}

/// Creates a user with a key on the list of the shared root.
fn keyed(groups: &[&str]) -> Person {
    static LISTED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let person = shared().person(groups);
    let line = key(shared(), &person);
    let mut listed = LISTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    listed.push(line);
    list(shared(), &listed);
    person
}

/// Runs jitctl as the user in their home, with a text on standard input.
fn jitctl(root: &PrivateRoot, person: &Person, words: &[&str], text: &str) -> Output {
    root.command(&person.name, [&["jitctl"][..], words].concat()).cwd(&person.home).stdin(text).run()
}

/// Returns the text of the request with this id.
fn printed(root: &PrivateRoot, person: &Person, grant: &str) -> String {
    let output = jitctl(root, person, &["show", grant, "--print"], "");
    output.succeeded();
    output.stdout
}

/// Returns a statement about a request, made as on another machine.
fn made(root: &PrivateRoot, who: &Person, verb: &str, text: &str, reason: Option<&str>) -> String {
    let mut words = vec![verb, "-", "--key", "key", "--as", &who.name];
    words.extend(reason.iter().flat_map(|reason| ["--reason", *reason]));
    let output = jitctl(root, who, &words, text);
    output.succeeded();
    assert!(output.stdout.starts_with("-----BEGIN JIT-SUDO STATEMENT-----"), "{output:?}");
    output.stdout
}

fn state(root: &PrivateRoot, person: &Person, grant: &str) -> String {
    let info = jitctl(root, person, &["--json", "show", grant], "").json()["grant"].clone();
    info["grant"].as_str().or(info["state"].as_str()).unwrap_or_default().to_owned()
}

/// Creates a grant of the user that the approver has approved; returns its id.
fn approved(root: &PrivateRoot, person: &Person, approver: &Person) -> String {
    let grant = id(&request(root, person, "stated", &[]));
    root.run_as(&approver.name, ["jitctl", "approve", &grant]).succeeded();
    grant
}

/// Starts a command under such a grant.
fn sleeping(root: &PrivateRoot, person: &Person, approver: &Person) -> (harness::PtySession, String) {
    let grant = approved(root, person, approver);
    let session = root.pty_as(&person.name, ["jit-sudo", "-n", "sleep", "1000"]);
    harness::eventually("the command runs", harness::PATIENCE, || {
        records_of(root, person).iter().any(|record| record.kind() == "start").then_some(())
    });
    (session, grant)
}

/// Exports the evidence of a grant, and verifies every file with ssh-keygen; returns the names of the files.
fn judged(root: &PrivateRoot, person: &Person, grant: &str) -> Vec<String> {
    let said = jitctl(root, person, &["show", grant, "--export", grant], "");
    let lines: Vec<String> =
        said.succeeded().lines().filter(|line| line.contains("statement/v1")).map(str::to_owned).collect();
    for line in &lines {
        let (check, file) = line.split_once(" < ").unwrap();
        let place = format!("cd {}/{grant}", person.home);
        let good = root.as_root(["bash", "-c", &format!("{place} && {line}")]);
        assert!(good.succeeded().contains("Good \"jit-sudo/statement/v1\""), "{line}: {good:?}");
        let bad = root.as_root(["bash", "-c", &format!("{place} && {check} < <(tr 0 1 < {file})")]);
        assert!(!bad.status.success(), "{bad:?}");
    }
    lines.iter().filter_map(|line| line.rsplit_once("-s ")).map(|(_, files)| files.to_owned()).collect()
}

#[test]
fn every_end_of_a_request_or_grant_leaves_a_signed_statement() {
    let root = shared();
    let (person, approver) = (keyed(&["stated"]), keyed(&["staters"]));
    let with_key: [&[&str]; 2] = [&[], &["--key", "key"]];
    for more in with_key {
        let say = |who: &Person, words: &[&str]| jitctl(root, who, &[words, more].concat(), "").succeeded().to_owned();
        let ask = || id(&request(root, &person, "stated", &[]));
        let denied = ask();
        assert!(say(&approver, &["deny", &denied, "--reason", "no"]).contains("denied"));
        let cancelled = ask();
        assert!(say(&person, &["cancel", &cancelled]).contains("cancelled"));
        let revoked = approved(root, &person, &approver);
        assert!(say(&approver, &["revoke", &revoked, "--reason", "enough"]).contains("revoked"));
        let released = approved(root, &person, &approver);
        assert!(say(&person, &["release", &released]).contains("released"));
        let glass = id(&request(root, &person, "stated", &["--break-glass"]));
        assert!(say(&approver, &["review", &glass, "--comment", "it burnt"]).contains("reviewed"));
        for (grant, kind, who) in [
            (&denied, "denial", &approver),
            (&cancelled, "cancellation", &person),
            (&revoked, "revocation", &approver),
            (&released, "release", &person),
            (&glass, "review", &approver),
        ] {
            let documents = jitctl(root, &person, &["--json", "show", grant, "--print"], "").json();
            let document = documents["documents"]["statements"][0].clone();
            assert_eq!(
                (document["kind"].as_str(), document["by"].as_str()),
                (Some(kind), Some(&*who.name)),
                "{documents}"
            );
            assert_eq!(document["signature"].is_string(), !more.is_empty(), "{document}");
            let judged = judged(root, &person, grant);
            assert_eq!(judged.len(), 1 + more.len() / 2, "{judged:?}");
            // The record names the exact bytes, and the key.
            let file = format!("{}/{grant}/statement-{kind}.json", person.home);
            let digest = root.as_root(["sha256sum", &file]).succeeded().split(' ').next().unwrap().to_owned();
            let records = records_of(root, who);
            let fits = |record: &&harness::Record| record.kind() == kind && record.body.contains(&digest);
            let record = records.iter().find(fits).unwrap_or_else(|| panic!("{kind} {digest}: {records:?}"));
            assert_eq!(record.body.contains("\"key\":\"SHA256:"), !more.is_empty(), "{}", record.body);
        }
        let shown = jitctl(root, &person, &["show", &denied], "");
        assert_eq!(shown.succeeded().contains("signed with SHA256:"), !more.is_empty(), "{shown:?}");
    }
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn several_grants_are_ended_by_a_statement_each() {
    let root = stated_root();
    let person = root.person(&["stated"]);
    let first = id(&request(&root, &person, "stated-freely", &["--for", "10m"]));
    let longer = jitctl(&root, &person, &["--json", "extend", &first, "--for", "10m", "--reason", "more"], "");
    let longer = id(&longer.json()["grant"]);
    root.as_root(["jitctl", "revoke", &first, "--reason", "gone"]).succeeded();
    let statement = |grant: &str| {
        let documents = jitctl(&root, &person, &["--json", "show", grant, "--print"], "").json();
        documents["documents"]["statements"][0]["body"].as_str().unwrap_or_default().to_owned()
    };
    assert!(!statement(&first).contains("follows") && statement(&longer).contains("\"follows\":\""), "{longer}");
    // The host accepts its own state: every open grant ends, each by a statement of root with the reason.
    let open = [(); 2].map(|()| id(&request(&root, &person, "stated-freely", &[])));
    root.as_root(["jitctl", "key", "accept", "--reason", "restored from tape"]).succeeded();
    for grant in &open {
        let text = statement(grant);
        for part in ["\"kind\":\"revocation\"", "\"by\":\"root\"", "restored from tape"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(judged(&root, &person, grant).len(), 1);
    }
}

#[test]
fn a_denial_made_elsewhere_denies_once() {
    let root = shared();
    let (person, approver) = (keyed(&["stated"]), keyed(&["staters"]));
    let asked = id(&request(root, &person, "stated", &[]));
    let denial = made(root, &approver, "deny", &printed(root, &person, &asked), Some("not today"));
    let shown = jitctl(root, &approver, &["show", "-"], &format!("> Hi\n{denial}"));
    for part in ["denial\n", &asked, "not today", "SHA256:", &approver.name] {
        assert!(shown.succeeded().contains(part), "{part}: {shown:?}");
    }
    let said = jitctl(root, &root.user("carol"), &["import"], &denial);
    assert!(said.succeeded().contains("denied"), "{said:?}");
    assert_eq!(state(root, &person, &asked), "denied");
    jitctl(root, &root.user("carol"), &["import"], &denial).refused("not pending");
    assert_eq!(kinds(&records_of(root, &approver)), ["denial"]);
    // It does not affect another request.
    let other = id(&request(root, &person, "stated", &[]));
    jitctl(root, &person, &["import"], &denial).refused("not pending");
    assert_eq!(state(root, &person, &other), "pending");
    // Only the requester can cancel it from another machine.
    let text = printed(root, &person, &other);
    let cancellation = made(root, &approver, "cancel", &text, None);
    jitctl(root, &person, &["import"], &cancellation).refused("was made by");
    let cancellation = made(root, &person, "cancel", &text, None);
    jitctl(root, &root.user("carol"), &["import"], &cancellation).succeeded();
    assert_eq!(state(root, &person, &other), "cancelled");
}

#[test]
fn a_revocation_made_elsewhere_ends_a_running_command_within_a_second_and_once() {
    let root = shared();
    let (person, approver) = (keyed(&["stated"]), keyed(&["staters"]));
    let (mut session, grant) = sleeping(root, &person, &approver);
    let text = printed(root, &person, &grant);
    let revocation = made(root, &approver, "revoke", &text, Some("enough"));
    jitctl(root, &root.user("carol"), &["import"], &revocation).succeeded();
    let began = Instant::now();
    session.wait();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(records_of(root, &person).last().unwrap().text("ended_by"), "revocation");
    jitctl(root, &person, &["import"], &revocation).refused("no active grant");
    // The next grant is another one.
    let next = approved(root, &person, &approver);
    jitctl(root, &person, &["import"], &revocation).refused("no active grant");
    assert_eq!(state(root, &person, &next), "active");
    let release = made(root, &person, "release", &printed(root, &person, &next), None);
    jitctl(root, &root.user("carol"), &["import"], &release).succeeded();
    assert_eq!(state(root, &person, &next), "released");
}

#[test]
fn a_statement_without_an_approvers_key_ends_nothing() {
    let root = stated_root();
    let (person, approver) = (root.person(&["stated"]), root.person(&["staters"]));
    let outsider = root.person(&[]);
    let lines = [&person, &approver, &outsider].map(|who| key(&root, who));
    list(&root, &lines);
    let (asked, granted) = (id(&request(&root, &person, "stated", &[])), approved(&root, &person, &approver));
    let (pending, open) = (printed(&root, &person, &asked), printed(&root, &person, &granted));
    let refused = |document: &str, sentence: &str| {
        jitctl(&root, &person, &["import"], document).refused(sentence);
        assert_eq!((&*state(&root, &person, &asked), &*state(&root, &person, &granted)), ("pending", "active"));
    };
    refused(&made(&root, &outsider, "deny", &pending, Some("x")), "not an approver");
    refused(&made(&root, &outsider, "revoke", &open, Some("x")), "approvers of the role may revoke");
    refused(&made(&root, &outsider, "release", &open, None), "belongs to");
    refused(&made(&root, &person, "deny", &pending, Some("x")), "requester's own key");
    // In the name of the approver, with another key.
    let forged =
        jitctl(&root, &outsider, &["deny", "-", "--key", "key", "--as", &approver.name, "--reason", "x"], &pending);
    refused(&forged.stdout, "is not theirs");
    // The approver's key was stolen and removed from the list; or it is listed for approvals only, or has expired.
    let (denial, revocation) =
        (made(&root, &approver, "deny", &pending, Some("x")), made(&root, &approver, "revoke", &open, Some("x")));
    let line = |options: &str| lines[1].replace(" ssh-", &format!(" {options}ssh-"));
    for (listed, sentence) in [
        (lines[0].clone(), "is not theirs"),
        (line("namespaces=\"jit-sudo/approval/v1\" "), "is not for statements"),
        (line("valid-before=\"20260101Z\" "), "is no longer valid"),
    ] {
        list(&root, &[listed]);
        refused(&denial, sentence);
        refused(&revocation, sentence);
    }
    list(&root, &[line("namespaces=\"jit-sudo/statement/v1\" ")]);
    jitctl(&root, &person, &["import"], &denial).succeeded();
    jitctl(&root, &person, &["import"], &revocation).succeeded();
    assert_eq!((&*state(&root, &person, &asked), &*state(&root, &person, &granted)), ("denied", "revoked"));
}

#[test]
fn an_altered_foreign_or_misdated_statement_ends_nothing() {
    let root = stated_root();
    let (person, approver) = (root.person(&["stated"]), root.person(&["staters"]));
    list(&root, &[key(&root, &approver)]);
    let asked = id(&request(&root, &person, "stated", &[]));
    let text = printed(&root, &person, &asked);
    let denial = made(&root, &approver, "deny", &text, Some("x"));
    let place = format!("{}/denial", approver.home);
    root.write(&place, 0o644, &denial);
    // The exact bytes, changed, signed again with different keys and purposes, and imported.
    let script = |change: &str, purpose: &str| {
        let whole = format!(
            "cd; sed -n '/^-----BEGIN JIT/,/^-----END JIT/p' denial | grep -v -e ----- | base64 -d | {change} > body
             rm -f body.sig; ssh-keygen -q -Y sign -f key -n {purpose} body; jitctl import body body.sig"
        );
        root.run_as(&approver.name, ["bash", "-euc", &whole])
    };
    let statement = "jit-sudo/statement/v1";
    script("cat", "jit-sudo/approval/v1").refused("another purpose");
    script("sed 's/\"version\":2/\"version\":1/'", statement).refused("");
    script(
        "sed 's/\"critical\":\\[\\],\"extensions\":{}/\"critical\":[\"x\"],\"extensions\":{\"x\":\"\"}/'",
        statement,
    )
    .refused("");
    script("sed 's/\"request\":\"..../\"request\":\"0000/'", statement).refused("another request");
    script("sed 's/\"host\":\"..../\"host\":\"0000/'", statement).refused("another host");
    script("sed 's/\"at\":1/\"at\":9/'", statement).refused("future");
    script("sed 's/\"at\":1/\"at\":/'", statement).refused("before what it is about");
    // A revocation, while there is no grant.
    script("sed 's/\"kind\":\"denial\"/\"kind\":\"revocation\"/'", statement).refused("no active grant");
    script("sed 's/\"kind\":\"denial\"/\"kind\":\"review\"/'", statement).refused("waits for no review");
    // Any change without a new signature.
    let mut lines: Vec<String> = denial.lines().map(str::to_owned).collect();
    let middle = lines[2].clone();
    for (at, letter) in middle.char_indices().step_by(7) {
        let other = if letter == 'A' { 'B' } else { 'A' };
        lines[2] = middle.char_indices().map(|(place, old)| if place == at { other } else { old }).collect();
        jitctl(&root, &person, &["import"], &lines.join("\n")).refused("");
    }
    jitctl(&root, &approver, &["deny", "-", "--reason", "x"], &text).exited(2);
    assert_eq!(state(&root, &person, &asked), "pending");
    assert!(records_of(&root, &approver).is_empty());
    // Another host, even one with the same people, keys and requests.
    root.script("rm /var/lib/jit-sudo/host_key* && jitctl key init");
    jitctl(&root, &person, &["import"], &denial).refused("another host");
    assert_eq!(state(&root, &person, &asked), "pending");
}
