//! The response time of jitctl after 100,000 grants. `make past` prints the figures of an installed release build.
//! `audit verify` is not among the verbs: it reads everything, and these copies have no records.

use std::time::Duration;

use harness::{Person, PrivateRoot};

use crate::{granted, id, own_root, request};

/// The number of calls of each verb, each for another request or grant where the verb changes one.
const CALLS: usize = 5;

/// The limit applies to an installed release on a quiet machine; the tests run an unoptimised build, several at once.
fn limit() -> Duration {
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    Duration::from_millis(if release { 50 } else { 400 })
}

/// Creates 200,000 requests of `person`: half of them led to grants that have ended, of which half were revoked, and half expired
/// undecided.
fn with_a_past(root: &PrivateRoot, person: &Person) {
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) ";
    // The ids inside the terms of the copies are adapted, so that each can be shown.
    let named = "printf('%010d', n.i)";
    let body = format!("CAST(replace(CAST(body AS TEXT), id, {named}) AS BLOB)");
    let requests = format!(
        "{many} INSERT INTO request (id, uid, role, state, created, deadline, needed, body) \
         SELECT {named}, uid, role, iif(n.i % 2, 'approved', 'pending'), created - 90000 - n.i, \
         deadline - 90000 - n.i, needed, {body} FROM n, request WHERE request.rowid = 1;"
    );
    let grants = format!(
        "{many} INSERT INTO granted (id, uid, role, starts, expires, body, signature, ended, ended_by, ended_at) \
         SELECT {named}, uid, role, starts - 90000 - n.i, expires - 90000 - n.i, {body}, signature, \
         iif(n.i % 4 = 1, 'revoked', NULL), iif(n.i % 4 = 1, 'root', NULL), iif(n.i % 4 = 1, 1, NULL) \
         FROM n, granted WHERE granted.rowid = 1 AND n.i % 2;"
    );
    root.write("/root/many.sql", 0o600, format!("BEGIN; {requests} {grants} COMMIT;"));
    let fill = ["sh", "-c", "sqlite3 /var/lib/jit-sudo/journal.db < /root/many.sql"];
    root.command("root", fill).patience(Duration::from_secs(180)).run().succeeded();
    let count = "sqlite3 /var/lib/jit-sudo/journal.db 'SELECT count(*) FROM granted'";
    assert_eq!(root.script(count).trim(), "100001", "{}", person.name);
}

/// Returns the mean duration of these calls, one after the other from one shell, including the fork of each.
fn measure(root: &PrivateRoot, who: &str, name: &str, lines: &[String]) -> Duration {
    let calls: String = lines.iter().map(|line| format!("jitctl --json {line} >/dev/null || exit 9\n")).collect();
    let script = format!("t=$(date +%s%N)\n{calls}echo $(($(date +%s%N) - t))");
    let output = root.command(who, ["bash", "-c", &script]).patience(Duration::from_secs(60)).run();
    let total: u64 = output.succeeded().trim().parse().unwrap_or_else(|_| panic!("{name}: {output:?}"));
    let mean = Duration::from_nanos(total) / u32::try_from(lines.len()).unwrap_or(1);
    println!("{:>6.1} ms  jitctl {name}", mean.as_secs_f64() * 1000.0);
    mean
}

#[test]
fn jitctl_answers_in_50_ms_with_100_000_past_grants() {
    let root = own_root();
    root.write("/etc/jit-sudo/policy.d/rate.toml", 0o640, "[defaults]\nrequest_rate = 100000\n");
    let person = granted(&root, "self-service");
    root.script(&format!("groupadd -f reviewed; gpasswd --add {} reviewed", person.name));
    let approver = root.person(&["approvers"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    with_a_past(&root, &person);

    let some =
        |role: &str| -> Vec<String> { (0..CALLS).map(|_| id(&request(&root, &person, role, &["--", "id"]))).collect() };
    let (approved, denied, cancelled) = (some("reviewed"), some("reviewed"), some("reviewed"));
    let (held, lost) = (some("self-service"), some("self-service"));
    let each = |ids: &[String], before: &str, after: &str| -> Vec<String> {
        ids.iter().map(|id| format!("{before} {id} {after}")).collect()
    };
    let again = |line: &str| vec![line.to_owned(); CALLS];
    let (me, you) = (person.name.as_str(), approver.name.as_str());
    let mut slow = Vec::new();
    for (who, name, lines) in [
        (me, "roles", again("roles")),
        (me, "requests", again("requests")),
        (you, "requests, by an approver", again("requests")),
        ("root", "requests --all", again("requests --all")),
        (me, "requests --all", again("requests --all")),
        (me, "show ID", again("show 0000050001")),
        (me, "show ID, abbreviated", again(&format!("show {}", &held[0][..4]))),
        (me, "show ID --print", again(&format!("show {} --print", approved[0]))),
        (me, "why", again("why -- id")),
        (me, "request", again("request --role self-service --reason x")),
        (you, "approve", each(&approved, "approve", "")),
        (you, "deny", each(&denied, "deny", "--reason x")),
        (me, "cancel", each(&cancelled, "cancel", "")),
        (me, "grants", again("grants")),
        ("root", "grants --all", again("grants --all")),
        (me, "grants --all", again("grants --all")),
        (me, "extend", each(&held, "extend", "--reason x")),
        (me, "release", each(&held, "release", "")),
        ("root", "revoke ID", each(&lost, "revoke", "--reason x")),
        ("root", "revoke --all", vec!["revoke --all --reason x".to_owned()]),
        (you, "review", again("review")),
        ("root", "review --unused", again("review --unused 1d")),
        ("root", "review --recertify", again("review --recertify")),
        ("root", "policy check", again("policy check")),
        ("root", "policy show", again("policy show")),
        ("root", "policy test", again(&format!("policy test --user {me} -- id"))),
        ("root", "audit list", again("audit list")),
        (me, "audit list", again("audit list")),
        ("root", "audit show ID", again(&format!("audit show {}", approved[0]))),
        ("root", "key show", again("key show")),
    ] {
        if measure(&root, who, name, &lines) > limit() {
            slow.push(name);
        }
    }
    assert!(slow.is_empty(), "slower than {:?}: {slow:?}", limit());
    request(&root, &person, "self-service", &[]);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
}
