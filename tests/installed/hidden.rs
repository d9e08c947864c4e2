//! Rows and columns that are copies of what the records say are changed temporarily, to hide an approval, a grant or its end from a
//! decision. A record counts as what its body says.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::signed::{approval, jitctl, key, list, printed, signer};
use crate::tampering::{council, granted, sql, verdict, workers};
use crate::{both_say_intact, id, own_root, request};
use harness::PrivateRoot;

/// Whoever has an older, wider approval of somebody cannot replace the later one with it, after that has ceased to count.
#[test]
fn an_older_approval_does_not_replace_a_narrower_one() {
    let root = own_root();
    let policy = |word: &str| {
        format!(
            "[roles.twice]\neligible = [\"%signed\"]\ncommands = [\"ALL\"]\nauthenticate = false\n\
             [roles.twice.activation]\nrequire_approval = true\nsigned_approvals = true\napprovals = 2\n\
             approval_authentication = {word}\napprovers = [\"%signers\"]\n"
        )
    };
    root.add_policy("twice", &policy("false"));
    let (alice, (bob, his), (carol, hers)) = (root.person(&["signed"]), signer(&root), signer(&root));
    list(&root, &[his, hers.clone()]);
    let (id, text) = printed(&root, &alice, "twice", &["--for", "30m", "--", "/usr/bin/id", "-u"]);
    let wide = approval(&root, &bob, &text, &[]);
    let narrow = approval(&root, &bob, &text, &["--exact", "--one-shot", "--for", "5m"]);
    jitctl(&root, &alice, &["import", "-"], &narrow).succeeded();
    jitctl(&root, &alice, &["import", "-"], &wide).refused("has approved request");
    // The approval does not count while the key is missing, and neither that nor its return gives the limits back.
    let other = format!("{} namespaces=\"jit-sudo/approval/v1\" {}", bob.name, key(&root, &bob, "key2"));
    list(&root, &[other, hers]);
    let words = ["approve", "-", "--key", "key2", "--as", &bob.name];
    let again = jitctl(&root, &bob, &words, &text);
    again.succeeded();
    jitctl(&root, &alice, &["import", "-"], &again.stdout).refused("before, with narrower limits, which stay");
    let words = [&words[..], &["--exact", "--one-shot", "--for", "4m"]].concat();
    let narrower = jitctl(&root, &bob, &words, &text);
    jitctl(&root, &alice, &["import", "-"], &narrower.stdout).succeeded();
    jitctl(&root, &carol, &["approve", &id, "--key", "key"], "").succeeded();
    root.run_as(&alice.name, ["jit-sudo", "-n", "whoami"]).refused("");
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    let record = sql(&root, "SELECT CAST(body AS TEXT) FROM record WHERE kind = 'grant'");
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["not_counted"][0]["why"], "superseded", "{record}");
    both_say_intact(&root);
}

/// Hides records of these kinds from searches, until the returned statement is executed.
fn hide(root: &PrivateRoot, kind: &str, condition: &str) -> String {
    let other = format!("{}X", &kind[..kind.len() - 1]);
    sql(root, &format!("UPDATE record SET kind = '{other}' WHERE kind = '{kind}' AND {condition}"));
    format!("UPDATE record SET kind = '{kind}' WHERE kind = '{other}'")
}

#[test]
fn an_approval_whose_row_and_record_are_hidden_keeps_its_limits() {
    let root = own_root();
    let (alice, [bob, carol, dave]) = council(&root);
    let id = id(&request(&root, &alice, "quorum", &["--for", "30m", "--", "/usr/bin/id", "-u"]));
    root.run_as(&bob.name, ["jitctl", "approve", &id, "--exact", "--one-shot"]).succeeded();
    let row = sql(&root, ".mode insert approval\nSELECT * FROM approval;");
    sql(&root, "DELETE FROM approval");
    let back = hide(&root, "approval", "1");
    for approver in [&bob, &carol, &dave] {
        let output = root.run_as(&approver.name, ["jitctl", "approve", &id]);
        output.refused("is missing or was changed, so it may hide what was said about it");
    }
    sql(&root, &row);
    sql(&root, &back);
    root.run_as(&bob.name, ["jitctl", "approve", &id]).refused("has approved request");
    root.run_as(&carol.name, ["jitctl", "approve", &id]).succeeded();
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-g"]).refused("");
    both_say_intact(&root);
}

#[test]
fn a_revocation_by_id_says_that_an_extension_may_be_hidden() {
    let root = own_root();
    let (carol, _, alice) = workers(&root);
    let base = granted(&root, &carol, &alice, "ops", &["--for", "10m"]);
    let extended = root.run_as(&carol.name, ["jitctl", "--json", "extend", &base, "--reason", "more"]).json();
    let extension = extended["grant"]["id"].as_str().unwrap().to_owned();
    root.run_as(&alice.name, ["jitctl", "approve", &extension]).succeeded();
    let rows = ["request", "granted"].map(|table| {
        let row = sql(&root, &format!(".mode insert {table}\nSELECT * FROM {table} WHERE id = '{extension}';"));
        sql(&root, &format!("DELETE FROM {table} WHERE id = '{extension}'"));
        row
    });
    let back = hide(&root, "grant", &format!("grant_id = '{extension}'"));
    let revoked = root.run_as(&alice.name, ["jitctl", "revoke", &base, "--reason", "enough"]);
    revoked.refused("of the journal is missing or was changed, so there may be other grants");
    rows.iter().for_each(|row| drop(sql(&root, row)));
    sql(&root, &back);
    // Both checkers know that it had to end with what it extends.
    assert!(verdict(&root).contains("it has not ended, but"), "{}", verdict(&root));
}

/// An extension is a grant of its own, and has no end where it was hidden from the revocation of what it extends.
#[test]
fn an_extension_that_was_hidden_from_a_revocation_serves_nothing() {
    let root = own_root();
    let (carol, _, alice) = workers(&root);
    let approved = |of: &str| {
        let extended = root.run_as(&carol.name, ["jitctl", "--json", "extend", of, "--reason", "more"]).json();
        let id = extended["grant"]["id"].as_str().unwrap().to_owned();
        root.run_as(&alice.name, ["jitctl", "approve", &id]).succeeded();
        id
    };
    let base = granted(&root, &carol, &alice, "ops", &["--for", "9s"]);
    let began = Instant::now();
    let first = approved(&base);
    let hidden = |id: &str| {
        let rows = ["request", "granted"].map(|table| {
            let row = sql(&root, &format!(".mode insert {table}\nSELECT * FROM {table} WHERE id = '{id}';"));
            sql(&root, &format!("DELETE FROM {table} WHERE id = '{id}'"));
            row
        });
        let back = hide(&root, "grant", &format!("grant_id = '{id}'"));
        let root = &root;
        move || {
            rows.iter().for_each(|row| drop(sql(root, row)));
            sql(root, &back);
        }
    };
    let back = hidden(&first);
    root.as_root(["jitctl", "revoke", &base, "--reason", "enough"]).refused("so there may be other grants");
    back();
    std::thread::sleep(Duration::from_secs(10).saturating_sub(began.elapsed()));
    let state = |id: &str| {
        let shown = root.run_as(&carol.name, ["jitctl", "--json", "show", id]).json();
        shown["grant"]["grant"].as_str().or(shown["grant"]["state"].as_str()).unwrap_or_default().to_owned()
    };
    assert_eq!(state(&first), "revoked");
    root.run_as(&carol.name, ["jit-sudo", "-n", "/usr/bin/id"]).refused("");
    root.run_as(&carol.name, ["jitctl", "extend", &first, "--reason", "again"]).refused("");
}

#[test]
fn a_revocation_that_finds_a_changed_row_says_that_other_grants_may_be_hidden() {
    let root = own_root();
    let (carol, dave, alice) = workers(&root);
    let [changed, hidden] = [&carol, &dave].map(|holder| granted(&root, holder, &alice, "ops", &["--for", "10m"]));
    sql(&root, &format!("DELETE FROM granted WHERE id = '{changed}'"));
    sql(&root, &format!("DELETE FROM granted WHERE id = '{hidden}'"));
    let _ = hide(&root, "grant", &format!("grant_id = '{hidden}'"));
    let all = ["jitctl", "revoke", "--all", "--reason", "enough"];
    let said = root.as_root(all);
    said.refused(&format!("grant {changed}: its row in the database says something else"));
    said.refused("of the journal is missing or was changed, so there may be other grants");
}

#[test]
fn an_approval_without_a_record_is_not_shown_as_given() {
    let root = own_root();
    let (alice, [bob, carol, _]) = council(&root);
    let pending = id(&request(&root, &alice, "quorum", &["--for", "30m"]));
    let given = |expected: &str| {
        let shown = root.run_as(&alice.name, ["jitctl", "show", &pending]);
        assert!(shown.succeeded().contains(expected), "{expected}: {}", shown.stdout);
    };
    root.run_as(&bob.name, ["jitctl", "approve", &pending]).succeeded();
    given("1 of 2 given");
    let row = sql(&root, ".mode insert approval\nSELECT * FROM approval;");
    let other = row.replace(&format!(",{},", bob.uid), &format!(",{},", carol.uid));
    assert_ne!(row, other);
    sql(&root, &other);
    given("0 of 2 given");
    sql(&root, &format!("DELETE FROM approval WHERE uid = {}", carol.uid));
    given("1 of 2 given");
}

/// A grant whose records are whole is found by them, whatever the row of its request says.
#[test]
fn a_changed_request_keeps_nobody_from_revoking_or_releasing_the_grant() {
    let root = own_root();
    let (carol, stranger, alice) = workers(&root);
    let change = |what: &str, id: &str| sql(&root, &format!("{what} WHERE id = '{id}'"));
    for what in [
        "DELETE FROM request",
        "UPDATE request SET body = x'7b7d'",
        "UPDATE request SET state = 'x'",
        "UPDATE request SET id = 'zz' || substr(id, 3)",
    ] {
        for (by, words) in [
            ("root", &["revoke", "--reason", "enough"][..]),
            (alice.name.as_str(), &["revoke", "--reason", "enough"]),
            (carol.name.as_str(), &["release"]),
        ] {
            let id = granted(&root, &carol, &alice, "ops", &["--for", "10m"]);
            change(what, &id);
            let end = |who: &str| root.run_as(who, [&["jitctl"][..], &words[..1], &[&id], &words[1..]].concat());
            end(&stranger.name).refused("");
            root.run_as(&carol.name, ["jit-sudo", "-n", "/usr/bin/id"]).succeeded();
            end(by).succeeded();
            root.run_as(&carol.name, ["jit-sudo", "-n", "/usr/bin/id"]).refused("");
            sql(&root, "DELETE FROM request WHERE rowid = (SELECT max(rowid) FROM request)");
        }
    }
}

#[test]
fn a_false_end_in_a_column_hides_no_grant_from_its_revocation() {
    let root = own_root();
    let (carol, _, alice) = workers(&root);
    for kind in ["request", "approval", "grant"] {
        for false_end in ["release", "revocation"] {
            let id = granted(&root, &carol, &alice, "ops", &["--for", "10m"]);
            let set = |from: &str, to: &str| {
                sql(&root, &format!("UPDATE record SET kind = '{to}' WHERE kind = '{from}' AND grant_id = '{id}'"));
            };
            set(kind, false_end);
            root.as_root(["jitctl", "revoke", &id, "--reason", "enough"]).refused("1 grant was revoked, but record");
            let query = format!("SELECT count(*) FROM statement WHERE request = '{id}' AND kind = 'revocation'");
            assert_eq!(sql(&root, &query).trim(), "1", "{kind} {false_end}");
            let seq = format!("(SELECT min(seq) FROM record WHERE kind = '{false_end}' AND grant_id = '{id}')");
            sql(&root, &format!("UPDATE record SET kind = '{kind}' WHERE seq = {seq}"));
            root.run_as(&carol.name, ["jit-sudo", "-n", "/usr/bin/id"]).refused("");
            both_say_intact(&root);
        }
    }
}
