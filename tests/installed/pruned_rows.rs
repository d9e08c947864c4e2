//! Requests, approvals and grants go with their records, and no row may go or come in another way.

use harness::PrivateRoot;

use crate::tampering::{granted, pruned, sql, verdict, workers};
use crate::{both_say_intact, id, own_root, request};

const RUN: [&str; 5] = ["jit-sudo", "-n", "head", "-c1", "/etc/hostname"];

fn rows(root: &PrivateRoot) -> [i64; 4] {
    ["request", "granted", "approval", "statement"]
        .map(|table| sql(root, &format!("SELECT count(*) FROM {table}")).parse().unwrap())
}

#[test]
fn decided_requests_go_with_their_records() {
    let root = own_root();
    let (alice, bob, approver) = workers(&root);
    let asks = |role: &str| id(&request(&root, &alice, role, &["--ticket", "payroll-of-Eve"]));
    let released = granted(&root, &alice, &approver, "ops", &[]);
    root.run_as(&alice.name, RUN).succeeded();
    root.run_as(&alice.name, ["jitctl", "release", &released]).succeeded();
    let denied = asks("ops");
    root.run_as(&approver.name, ["jitctl", "deny", &denied, "--reason", "Eve said no"]).succeeded();
    root.run_as(&alice.name, ["jitctl", "cancel", &asks("ops")]).succeeded();
    let _ = granted(&root, &bob, &approver, "ops", &[]);
    let undecided = asks("ops");
    let last = asks("free");
    assert_eq!(rows(&root), [6, 3, 2, 3]);
    root.script("sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/before.db\"");

    pruned(&root);
    both_say_intact(&root);
    assert_eq!(rows(&root), [1, 1, 0, 0], "the latest request and grant stay");
    assert_eq!(sql(&root, "SELECT id FROM request"), last);
    let words = "SELECT count(*) FROM request WHERE id <> (SELECT id FROM granted) AND CAST(body AS TEXT) LIKE '%Eve%'";
    assert_eq!(sql(&root, words), "0");
    let prune = root.journal().into_iter().rfind(|record| record.kind() == "prune").unwrap();
    assert_eq!((prune.number("requests_gone"), prune.number("grants_gone")), (5, 2));
    assert_eq!((prune.number("requests"), prune.number("grants")), (1, 1));
    for gone in [&released, &denied, &undecided] {
        root.as_root(["jitctl", "show", gone]).refused("there is no request or grant");
    }

    // Life goes on.
    root.run_as(&alice.name, ["jitctl", "grants", "--all"]).succeeded();
    let next = granted(&root, &alice, &approver, "ops", &[]);
    root.run_as(&alice.name, RUN).succeeded();
    both_say_intact(&root);

    // A row that comes back, one that goes, and one whose number is another.
    let whole = "/root/whole.db";
    root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db \".backup {whole}\""));
    for (change, why) in [
        (
            "INSERT INTO request (rowid, id, uid, role, state, created, deadline, needed, body, ended_by, ended_at, ended_reason, extends) SELECT rowid, * FROM old.request WHERE rowid = 5",
            "is missing",
        ),
        (
            "INSERT INTO granted (id, uid, role, starts, expires, body, signature, ended, ended_by, ended_at, ended_reason, used_by) SELECT * FROM old.granted WHERE rowid = 1",
            "(table granted)",
        ),
        ("DELETE FROM request WHERE rowid = 6", "is missing"),
        ("UPDATE granted SET rowid = rowid + 1 WHERE rowid > 3", "is missing"),
        ("INSERT INTO approval SELECT * FROM old.approval LIMIT 1", "(table approval)"),
        ("INSERT INTO statement SELECT * FROM old.statement LIMIT 1", "(table statement)"),
    ] {
        sql(&root, &format!("ATTACH '/root/before.db' AS old; {change};"));
        let said = verdict(&root);
        assert!(said.contains(why), "{change}: {said}");
        root.script(&format!("sqlite3 /var/lib/jit-sudo/journal.db '.restore {whole}'"));
        both_say_intact(&root);
    }

    root.run_as(&alice.name, ["jitctl", "release", &next]).succeeded();
    // The next pruning goes on where this one ended.
    pruned(&root);
    both_say_intact(&root);
    assert_eq!(sql(&root, "SELECT id FROM request"), next);
    let prune = root.journal().into_iter().rfind(|record| record.kind() == "prune").unwrap();
    assert_eq!((prune.number("requests_gone"), prune.number("grants_gone")), (6, 3));
}

#[test]
fn a_request_stays_while_its_run_or_its_review_is_open() {
    let root = own_root();
    root.add_policy(
        "pruned",
        "[roles.glass]\neligible = [\"%glass\"]\ncommands = [\"/usr/bin/sleep **\", \"/usr/bin/id **\"]\nauthenticate = false\n\
         [roles.glass.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\nbreak_glass = true\n",
    );
    let (alice, approver) = (root.person(&["glass"]), root.person(&["approvers"]));
    root.run_as(&alice.name, ["jit-sudo", "--break-glass", "--reason", "it burns", "id", "-u"]).succeeded();
    let debt = sql(&root, "SELECT id FROM review_debt");
    for _ in 0..2 {
        root.run_as(&alice.name, ["jitctl", "request", "--role", "glass", "--reason", "more"]).exited(0);
        root.run_as(&alice.name, ["jitctl", "cancel", &sql(&root, "SELECT id FROM request WHERE state = 'pending'")])
            .succeeded();
    }
    pruned(&root);
    both_say_intact(&root);
    assert_eq!(rows(&root)[0], 3, "the review is open, and later requests stay with it");
    root.run_as(&approver.name, ["jitctl", "review", &debt, "--comment", "fine"]).succeeded();
    pruned(&root);
    both_say_intact(&root);
    // The only grant is the latest one.
    assert_eq!(rows(&root)[1], 1);
}
