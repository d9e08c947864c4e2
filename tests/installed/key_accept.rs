//! A host whose identity changes, and a state directory that root restores and accepts: requests, grants and runs from before
//! give no permission afterwards, and both checkers report an intact history.

use std::time::Duration;

use harness::{PATIENCE, Person, PrivateRoot, eventually};

use crate::{both_say_intact, granted, id, own_root, request};

const STATE: &str = "/var/lib/jit-sudo";
const DATABASE: &str = "/var/lib/jit-sudo/journal.db";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

/// Changes the machine-id, and so the identity.
fn becomes(root: &PrivateRoot, digit: char) {
    root.script(&format!("echo {} >/etc/machine-id", digit.to_string().repeat(32)));
}

/// Creates another key.
fn new_key(root: &PrivateRoot) {
    root.script(&format!("rm {STATE}/host_key*; jitctl key init"));
}

fn accept(root: &PrivateRoot) -> String {
    root.as_root(["jitctl", "key", "accept", "--reason", "it is ours"]).succeeded().to_owned()
}

fn back_up(root: &PrivateRoot) {
    root.script(&format!("sqlite3 {DATABASE} \".backup /root/old.db\""));
}

/// Restores only the database; its anchor is newer.
fn restore(root: &PrivateRoot) {
    root.script(&format!("sqlite3 {DATABASE} \".restore /root/old.db\""));
}

fn state(root: &PrivateRoot, id: &str) -> String {
    let shown = root.as_root(["jitctl", "--json", "show", id]).json();
    shown["grant"]["state"].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned()
}

fn pair(root: &PrivateRoot) -> (Person, Person) {
    (root.person(&["reviewed", "self-service"]), root.person(&["approvers"]))
}

#[test]
fn a_request_that_was_made_under_another_identity_leads_to_no_grant() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let approve = |id: &str| root.run_as(&bob.name, ["jitctl", "approve", id]);
    let asked: Vec<String> = (0..3).map(|_| id(&request(&root, &carol, "reviewed", &[]))).collect();
    becomes(&root, '1');
    approve(&asked[0]).refused("under another identity of this host");
    both_say_intact(&root);
    root.run_as(&carol.name, ["jitctl", "cancel", &asked[0]]).succeeded();
    root.run_as(&bob.name, ["jitctl", "deny", &asked[1], "--reason", "ask again"]).succeeded();
    both_say_intact(&root);
    let again = id(&request(&root, &carol, "reviewed", &[]));
    approve(&again).succeeded();
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
    // The documented way to another key: pending requests are closed, and new requests are valid.
    new_key(&root);
    approve(&asked[2]).refused("");
    accept(&root);
    approve(&asked[2]).refused("denied");
    let again = id(&request(&root, &carol, "reviewed", &[]));
    approve(&again).succeeded();
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
}

#[test]
fn no_extension_of_another_identity_is_asked_for_given_or_announced() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    root.add_policy(
        "long",
        "[roles.long]\neligible = [\"%reviewed\"]\ncommands = [\"/usr/bin/sleep *\"]\nauthenticate = false\n\
         [roles.long.activation]\nrequire_approval = true\napprovers = [\"%approvers\"]\n",
    );
    let grant = id(&request(&root, &carol, "long", &["--for", "10m"]));
    root.run_as(&bob.name, ["jitctl", "approve", &grant]).succeeded();
    let mut run = root.pty_as(&carol.name, ["jit-sudo", "-n", "--role", "long", "sleep", "20"]);
    eventually("the run begins", PATIENCE, || root.journal().iter().find(|record| record.kind() == "start").cloned());
    let extend = ["jitctl", "extend", &grant, "--reason", "more", "--for", "10m"];
    root.run_as(&carol.name, extend).succeeded();
    let pending = root.script(&format!("sqlite3 {DATABASE} \"SELECT id FROM request WHERE extends = '{grant}'\""));
    let pending = pending.trim().to_owned();
    becomes(&root, '1');
    root.run_as(&bob.name, ["jitctl", "approve", &pending]).refused("under another identity of this host");
    root.run_as(&carol.name, ["jitctl", "cancel", &pending]).succeeded();
    root.run_as(&carol.name, extend).refused("under another identity of this host");
    both_say_intact(&root);
    run.wait();
    assert!(!run.screen().contains("extended"), "{}", run.screen());
    both_say_intact(&root);
}

#[test]
fn accepting_a_restored_database_closes_pending_requests() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let pending: Vec<String> = (0..2).map(|_| id(&request(&root, &carol, "reviewed", &["--one-shot"]))).collect();
    back_up(&root);
    root.run_as(&bob.name, ["jitctl", "approve", &pending[0]]).succeeded();
    root.run_as(&carol.name, RUN).succeeded();
    restore(&root);
    let said = accept(&root);
    for id in &pending {
        assert!(said.contains(&format!("request {id}: denied")), "{said}");
        assert_eq!(state(&root, id), "denied");
        root.run_as(&bob.name, ["jitctl", "approve", id]).refused("denied");
    }
    root.run_as(&carol.name, RUN).refused("");
    both_say_intact(&root);
}

#[test]
fn an_expired_request_can_still_be_denied_or_cancelled() {
    let root = own_root();
    let (person, bob) = (root.person(&["impatient"]), root.person(&["approvers"]));
    let dead: Vec<String> = (0..3).map(|_| id(&request(&root, &person, "impatient", &[]))).collect();
    eventually("they die", PATIENCE, || (state(&root, &dead[2]) == "expired").then_some(()));
    root.run_as(&bob.name, ["jitctl", "approve", &dead[0]]).refused("expired");
    root.run_as(&bob.name, ["jitctl", "deny", &dead[0], "--reason", "too late"]).succeeded();
    root.run_as(&person.name, ["jitctl", "cancel", &dead[1]]).succeeded();
    both_say_intact(&root);
    accept(&root);
    assert_eq!((state(&root, &dead[0]), state(&root, &dead[1])), ("denied".to_owned(), "cancelled".to_owned()));
    assert_eq!(state(&root, &dead[2]), "expired", "what is over by the wall clock stays so");
    both_say_intact(&root);
}

#[test]
fn accepting_ends_each_open_grant() {
    let root = own_root();
    let carol = root.person(&["self-service"]);
    let short = id(&request(&root, &carol, "self-service", &["--for", "1s"]));
    let later = id(&request(&root, &carol, "self-service", &["--at", "+2h"]));
    eventually("it is over", PATIENCE, || {
        let shown = root.as_root(["jitctl", "--json", "show", &short]).json();
        (shown["grant"]["grant"] == "expired").then_some(())
    });
    let said = accept(&root);
    assert!(said.contains(&format!("grant {later}: revoked")) && !said.contains(&short), "{said}");
    both_say_intact(&root);
}

#[test]
fn two_changes_of_the_identity_with_a_grant_open_are_no_alarm() {
    let root = own_root();
    let carol = granted(&root, "self-service");
    root.run_as(&carol.name, RUN).succeeded();
    for digit in ['1', '2', '3'] {
        new_key(&root);
        becomes(&root, digit);
        root.run_as(&carol.name, RUN).refused("");
        accept(&root);
        both_say_intact(&root);
        if digit == '2' {
            request(&root, &carol, "self-service", &[]);
            root.run_as(&carol.name, RUN).succeeded();
        }
    }
    // Also where a statement is the first document that a new identity signs.
    request(&root, &carol, "self-service", &[]);
    becomes(&root, '4');
    root.run_as(&carol.name, ["jitctl", "release"]).succeeded();
    becomes(&root, '5');
    new_key(&root);
    accept(&root);
    both_say_intact(&root);
}

/// Whatever a new host does first, its journal is signed without a request.
#[test]
fn a_new_host_signs_its_first_record_whatever_it_is() {
    let root = own_root();
    let person = root.person(&["trusted"]);
    let firsts: [&[&str]; 5] = [
        &["jit-sudo", "-l"],
        &["jit-sudo", "-l", "id"],
        &["jit-sudo", "-n", "-v"],
        &["jit-sudo", "-n", "id"],
        &["jitctl", "roles"],
    ];
    for first in firsts {
        root.script(&format!("rm -rf {STATE}/*; jitctl key init"));
        let _ = root.run_as(&person.name, first);
        let records = root.script(&format!("sqlite3 {DATABASE} 'SELECT count(*) FROM record'"));
        assert_ne!(records.trim(), "0", "{first:?}");
        eventually(&format!("{first:?} is signed"), Duration::from_secs(5), || {
            let signed = root.script(&format!("sqlite3 {DATABASE} 'SELECT count(*) FROM checkpoint'"));
            (signed.trim() != "0").then_some(())
        });
        both_say_intact(&root);
    }
}

#[test]
fn a_run_of_which_the_accepted_database_has_no_record_is_ended() {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.run_as(&person.name, RUN).succeeded();
    back_up(&root);
    let mut run = root.pty_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "echo ready; exec sleep 120"]);
    run.expect("ready");
    restore(&root);
    accept(&root);
    let ended = std::time::Instant::now();
    assert!(!run.wait().success(), "{}", run.screen());
    assert!(ended.elapsed() < Duration::from_secs(20), "{:?}", ended.elapsed());
    both_say_intact(&root);
}

#[test]
fn counters_are_correct() {
    let root = own_root();
    let carol = root.person(&["quorum"]);
    let approvers = [(); 3].map(|()| root.person(&["approvers"]));
    let asked = id(&request(&root, &carol, "quorum", &[]));
    let approve = |who: &Person| root.run_as(&who.name, ["jitctl", "approve", &asked]);
    assert!(approve(&approvers[0]).succeeded().contains("approval 1 of 2 given, 1 still missing"));
    root.script(&format!("usermod -u 65001 {}", approvers[0].name));
    let said = approve(&approvers[1]);
    assert!(said.succeeded().contains("approval 1 of 2 given, 1 still missing"), "{said:?}");
    root.run_as(&carol.name, RUN).refused("");
    approve(&approvers[2]).succeeded();
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
}

#[test]
fn a_change_of_identity_is_reported_even_without_the_row_that_stores_it() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let before = id(&request(&root, &carol, "reviewed", &[]));
    root.script(&format!("sqlite3 {DATABASE} \"DELETE FROM journal_meta WHERE name = 'host'\""));
    becomes(&root, '1');
    id(&request(&root, &carol, "reviewed", &[]));
    let alerts = root.journal().into_iter().filter(|record| record.kind() == "alert");
    let codes: Vec<String> = alerts.map(|alert| alert.text("code").to_owned()).collect();
    assert_eq!(codes, ["host-changed"]);
    root.run_as(&bob.name, ["jitctl", "approve", &before]).refused("under another identity of this host");
    both_say_intact(&root);
}

#[test]
fn a_prefix_of_an_id_finds_it_beside_unreadable_rows() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let [pending, other] = [(); 2].map(|()| id(&request(&root, &carol, "reviewed", &[])));
    let show = |who: &str, id: &str| root.run_as(who, ["jitctl", "show", id]);
    // A request with the same prefix that cannot be read, of another user and of hers.
    let twin = format!("{}{}", &pending[..9], if pending.ends_with('0') { '1' } else { '0' });
    for uid in [65_000, carol.uid] {
        root.script(&format!(
            "sqlite3 {DATABASE} \"DELETE FROM request WHERE id = '{twin}'; INSERT INTO request SELECT '{twin}', {uid}, role, \
             state, created, deadline, needed, x'7b7d', ended_by, ended_at, ended_reason, extends FROM request WHERE id = \
             '{pending}'\""
        ));
        for (who, words) in [(&carol.name, &pending[..9]), (&bob.name, &pending[..9]), (&carol.name, &pending[..])] {
            assert!(show(who, words).succeeded().contains(&pending), "{words}");
        }
    }
    // An unambiguous prefix finds it, for those who may see it.
    root.script(&format!(
        "sqlite3 {DATABASE} \"UPDATE request SET body = x'7b7d', role = 'other' WHERE id = '{other}'\""
    ));
    for (who, prefix) in
        [("root", &other[..]), ("root", &other[..9]), (&carol.name, &other[..]), (&carol.name, &other[..9])]
    {
        let said = show(who, prefix);
        said.refused(&other);
        assert!(!said.stderr.contains("there is no request"), "{said:?}");
    }
    show(&bob.name, &other).refused("there is no request or grant");
}

#[test]
fn an_unreadable_row_is_reported_and_blocks_nothing_else() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let [damaged, ended, open] = [(); 3].map(|()| id(&request(&root, &carol, "self-service", &[])));
    let [unread, pending, swapped] = [(); 3].map(|()| id(&request(&root, &carol, "reviewed", &[])));
    root.script(&format!(
        "sqlite3 {DATABASE} \"UPDATE granted SET body = x'7b7d' WHERE id = '{damaged}';
         UPDATE request SET body = x'7b7d' WHERE id = '{unread}';
         UPDATE request SET body = (SELECT body FROM request WHERE id = '{pending}') WHERE id = '{swapped}'\""
    ));
    let lists = |who: &str, words: &[&str], shown: &str, left_out: &str| {
        let listed = root.run_as(who, words);
        let said = listed.succeeded();
        assert!(said.contains(shown) && !said.contains(left_out), "{listed:?}");
        assert!(listed.stderr.contains(&format!("{left_out} is left out")), "{listed:?}");
    };
    lists(&carol.name, &["jitctl", "grants"], &open, &damaged);
    lists(&carol.name, &["jitctl", "grants", "--all"], &open, &damaged);
    lists("root", &["jitctl", "grants"], &open, &damaged);
    lists(&bob.name, &["jitctl", "requests"], &pending, &unread);
    lists(&bob.name, &["jitctl", "requests"], &pending, &swapped);
    let listed = root.run_as(&bob.name, ["jitctl", "requests"]);
    assert!(listed.stderr.starts_with("jitctl: warning: "), "{listed:?}");
    root.run_as(&carol.name, ["jitctl", "release", &ended]).succeeded();
    let said = root.as_root(["jitctl", "key", "accept", "--reason", "it is ours"]);
    said.exited(1);
    let said = said.stdout;
    // What a grant was for, its request says.
    for id in [&damaged, &open] {
        assert!(said.contains(&format!("grant {id}: revoked")), "{said}");
    }
    assert!(said.contains(&format!("request {pending}: denied")), "{said}");
    for id in [&unread, &swapped] {
        assert!(said.contains(&format!("{id}: it cannot be read")), "{said}");
    }
    root.run_as(&carol.name, RUN).refused("");
}

#[test]
fn a_database_that_is_put_back_without_its_anchor_gives_no_power() {
    let root = own_root();
    let (carol, _) = pair(&root);
    let anchor = format!("{STATE}/anchor");
    let grant = id(&request(&root, &carol, "self-service", &[]));
    root.run_as(&carol.name, RUN).succeeded();
    back_up(&root);
    let released = || root.run_as(&carol.name, ["jitctl", "release"]).succeeded().to_owned();
    released();
    restore(&root);
    root.script(&format!("rm {anchor}"));
    root.run_as(&carol.name, RUN).refused("its anchor is missing");
    root.run_as(&carol.name, RUN).refused("its anchor is missing");
    both_say_intact(&root);
    assert!(accept(&root).contains(&format!("grant {grant}: revoked")));
    let _ = id(&request(&root, &carol, "self-service", &[]));
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
    // Nor behind a new database, whose anchor knows its first record.
    root.script(&format!(
        "rm {DATABASE}* {anchor} {STATE}/sent-* {STATE}/host_key*; jitctl key init; test -s {anchor}"
    ));
    restore(&root);
    root.run_as(&carol.name, RUN).refused("older than its anchor: record 1 with");
    // A new one has its anchor before its first record, and a crash in front of the first mark of it is none of these.
    root.script(&format!(
        "rm {DATABASE}* {anchor} {STATE}/sent-* {STATE}/host_key*; jitctl key init; cp {anchor} /root/first"
    ));
    let _ = id(&request(&root, &carol, "self-service", &[]));
    root.run_as(&carol.name, RUN).succeeded();
    root.script(&format!("cp /root/first {anchor}"));
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
}

#[test]
fn a_denied_request_is_not_pending_again_in_an_older_copy_without_its_anchor() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let wanted = id(&request(&root, &carol, "reviewed", &[]));
    back_up(&root);
    root.run_as(&bob.name, ["jitctl", "deny", &wanted, "--reason", "no"]).succeeded();
    restore(&root);
    root.script(&format!("rm {STATE}/anchor"));
    root.run_as(&bob.name, ["jitctl", "approve", &wanted]).refused("its anchor is missing");
    both_say_intact(&root);
    accept(&root);
    assert_eq!(state(&root, &wanted), "denied");
    // A new host has no such record yet, and no anchor is missing.
    root.script(&format!("rm -rf {STATE}/*; jitctl key init; jitctl roles"));
    let again = id(&request(&root, &carol, "reviewed", &[]));
    root.run_as(&bob.name, ["jitctl", "approve", &again]).succeeded();
    both_say_intact(&root);
}

#[test]
fn a_row_that_was_hidden_while_everything_was_ended_gives_no_power_afterwards() {
    let root = own_root();
    let (carol, bob) = pair(&root);
    let sql = |statement: &str| root.script(&format!("sqlite3 {DATABASE} \"{statement}\""));
    let hide = |table: &str, id: &str, body: &str| {
        sql(&format!(
            "ATTACH '/root/hidden.db' AS kept;
             CREATE TABLE IF NOT EXISTS kept.hidden AS SELECT '' AS t, id, body FROM granted WHERE 0;
             INSERT INTO kept.hidden SELECT '{table}', id, body FROM {table} WHERE id = '{id}';
             UPDATE {table} SET body = {body} WHERE id = '{id}'"
        ))
    };
    let put_back = || {
        sql("ATTACH '/root/hidden.db' AS kept;
             UPDATE granted SET body = (SELECT h.body FROM hidden h WHERE h.t = 'granted' AND h.id = granted.id) WHERE id IN (SELECT id FROM hidden WHERE t = 'granted');
             UPDATE request SET body = (SELECT h.body FROM hidden h WHERE h.t = 'request' AND h.id = request.id) WHERE id IN (SELECT id FROM hidden WHERE t = 'request');
             DROP TABLE kept.hidden")
    };
    // What its own bytes do not say, its request does: also where they claim an earlier version.
    for body in ["x'00'", "CAST('{\\\"version\\\":1}' AS BLOB)"] {
        let grant = id(&request(&root, &carol, "self-service", &[]));
        hide("granted", &grant, body);
        let said = root.as_root(["jitctl", "revoke", "--all", "--reason", "enough"]);
        assert!(said.succeeded().contains(&format!("grant {grant}: revoked")), "{said:?}");
        put_back();
        root.run_as(&carol.name, RUN).refused("");
        both_say_intact(&root);
    }
    // Where neither can be read, their records say what it was for.
    let [grant, other] = [(); 2].map(|()| id(&request(&root, &carol, "self-service", &[])));
    hide("granted", &grant, "x'00'");
    hide("request", &grant, "x'00'");
    let said = root.as_root(["jitctl", "revoke", "--all", "--reason", "enough"]).succeeded().to_owned();
    assert!([&grant, &other].iter().all(|id| said.contains(&format!("grant {id}: revoked"))), "{said}");
    put_back();
    root.run_as(&carol.name, RUN).refused("");
    both_say_intact(&root);
    // Where the records cannot be read either, the others end, and the command says which one does not.
    let [grant, other] = [(); 2].map(|()| id(&request(&root, &carol, "self-service", &[])));
    hide("granted", &grant, "x'00'");
    hide("request", &grant, "x'00'");
    sql(&format!("UPDATE record SET grant_id = 'hidden' WHERE grant_id = '{grant}'"));
    let said = root.as_root(["jitctl", "revoke", "--all", "--reason", "enough"]);
    said.refused(&format!(
        "grant {grant}: neither it nor its request can be read, so it stays as it is; 1 other grant was revoked"
    ));
    assert_eq!(sql(&format!("SELECT ended FROM granted WHERE id = '{other}'")).trim(), "revoked");
    sql(&format!("UPDATE record SET grant_id = '{grant}' WHERE grant_id = 'hidden'"));
    // It does not outlive that root accepts the state of the host, nor does a request that was hidden.
    let pending = id(&request(&root, &carol, "reviewed", &[]));
    hide("request", &pending, "x'00'");
    root.as_root(["jitctl", "key", "accept", "--reason", "restored"]).exited(1);
    put_back();
    root.run_as(&carol.name, RUN).refused("");
    root.run_as(&bob.name, ["jitctl", "approve", &pending]).refused("before root accepted the state of this host");
    both_say_intact(&root);
    let again = id(&request(&root, &carol, "reviewed", &[]));
    root.run_as(&bob.name, ["jitctl", "approve", &again]).succeeded();
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
}

/// A verification reports a row that was changed and put back. Until then it gives no power either.
#[test]
fn a_grant_that_has_ended_by_the_records_is_held_nowhere() {
    let root = own_root();
    let carol = root.person(&["self-service"]);
    let sql = |statement: &str| root.script(&format!("sqlite3 {DATABASE} \"{statement}\""));
    let keep = || root.script(&format!("rm -f /root/kept.db; sqlite3 {DATABASE} '.backup /root/kept.db'"));
    let put_back =
        || sql("ATTACH '/root/kept.db' AS k; DELETE FROM granted; INSERT INTO granted SELECT * FROM k.granted");
    let ask = "/usr/libexec/jit-sudo/jit-sudo-broker <<<'{\"verb\":\"membership\",\"role\":\"self-service\"}'";
    let member = || root.run_as(&carol.name, ["bash", "-c", ask]).succeeded().contains("\"holds\":true");
    let shown = |id: &str| {
        let shown = root.as_root(["jitctl", "--json", "show", id]).json();
        shown["grant"]["grant"].as_str().unwrap_or_default().to_owned()
    };
    let hidden = [
        "UPDATE granted SET ended = 'released', ended_at = 1, ended_by = 'carol'",
        "DELETE FROM granted",
        "UPDATE granted SET ended = 'revoked'",
    ];
    for hide in hidden {
        let grant = id(&request(&root, &carol, "self-service", &[]));
        assert!(member());
        root.run_as(&carol.name, RUN).succeeded();
        keep();
        sql(hide);
        root.as_root(["jitctl", "key", "accept", "--reason", "it is ours"]).succeeded();
        put_back();
        assert!(!member(), "{hide}");
        root.run_as(&carol.name, RUN).refused("it was ended or used before, as the journal says");
        root.run_as(&carol.name, ["jit-sudo", "-n", "-l", "id"]).exited(1);
        assert_eq!(shown(&grant), "revoked", "{hide}");
    }
    // The same for the ordinary ends.
    for (how, words) in [("released", ["jitctl", "release"].as_slice()), ("used", &RUN)] {
        let one_shot: &[&str] = if how == "used" { &["--one-shot"] } else { &[] };
        let grant = id(&request(&root, &carol, "self-service", one_shot));
        keep();
        root.run_as(&carol.name, words).succeeded();
        put_back();
        assert!(!member(), "{how}");
        root.run_as(&carol.name, RUN).refused("it was ended or used before, as the journal says");
        root.run_as(&carol.name, ["jit-sudo", "-n", "-l", "id"]).exited(1);
        assert_eq!(shown(&grant), how);
    }
}

/// The ways to hide the row of a grant for a moment.
const HIDDEN: [&str; 4] = [
    "DELETE FROM granted WHERE id = 'ID'",
    "UPDATE granted SET ended = 'released', ended_at = 1, ended_by = 'carol' WHERE id = 'ID'",
    "UPDATE granted SET ended = 'zzz' WHERE id = 'ID'",
    "UPDATE granted SET expires = 1 WHERE id = 'ID'",
];

#[test]
fn a_revocation_ends_a_grant_whose_row_is_hidden_and_names_it() {
    let root = own_root();
    let (carol, other) = (root.person(&["self-service"]), root.person(&["self-service"]));
    let sql = |statement: &str| root.script(&format!("sqlite3 {DATABASE} \"{statement}\""));
    let run = || root.run_as(&carol.name, RUN);
    root.script(&format!("jitctl roles; cp -a {STATE} /root/before"));
    for (hide, alone) in HIDDEN.into_iter().flat_map(|hide| [(hide, true), (hide, false)]) {
        for target in ["--all", "ID", "--user"] {
            let open = (!alone).then(|| id(&request(&root, &other, "self-service", &[])));
            let grant = id(&request(&root, &carol, "self-service", &[]));
            run().succeeded();
            root.script(&format!("rm -f /root/kept.db; sqlite3 {DATABASE} '.backup /root/kept.db'"));
            sql(&hide.replace("ID", &grant));
            let words: &[&str] = match target {
                "--user" => &["--user", &carol.name],
                "ID" => &[&grant],
                all => &[all],
            };
            let said = root.as_root([&["jitctl", "revoke"], words, &["--reason", "incident"]].concat());
            said.refused(&format!("grant {grant}: its row in the database says something else than the journal"));
            sql(&format!(
                "ATTACH '/root/kept.db' AS k; DELETE FROM granted WHERE id = '{grant}';
                 INSERT INTO granted SELECT * FROM k.granted WHERE id = '{grant}'"
            ));
            run().refused("it was ended or used before, as the journal says");
            if let Some(open) = open.filter(|_| target == "--all") {
                assert_eq!(sql(&format!("SELECT ended FROM granted WHERE id = '{open}'")).trim(), "revoked", "{hide}");
            }
            // A second revocation writes no second record, and says what is wrong.
            let again = root.as_root(["jitctl", "revoke", "--all", "--reason", "again"]);
            again.refused(&format!("grant {grant}: its row in the database says something else than the journal"));
            let ends = format!("SELECT count(*) FROM record WHERE kind = 'revocation' AND grant_id = '{grant}'");
            assert_eq!(sql(&ends).trim(), "1", "{hide}");
            root.script(&format!("rm -rf {STATE}; cp -a /root/before {STATE}"));
        }
    }
}

/// What hides a grant from everything but its records, and what then hides the record of the grant, too.
#[test]
fn a_revocation_of_all_does_not_succeed_while_a_grant_is_hidden() {
    let root = own_root();
    let (carol, other, bob) = (root.person(&["reviewed"]), root.person(&["reviewed"]), root.person(&["approvers"]));
    let sql = |statement: &str| root.script(&format!("sqlite3 {DATABASE} \"{statement}\""));
    root.script(&format!("jitctl roles; cp -a {STATE} /root/before"));
    let again = || root.script(&format!("rm -rf {STATE}; cp -a /root/before {STATE}"));
    let granted = |person: &Person| {
        let grant = id(&request(&root, person, "reviewed", &[]));
        root.run_as(&bob.name, ["jitctl", "approve", &grant]).succeeded();
        grant
    };
    let keep = || root.script(&format!("rm -f /root/kept.db; sqlite3 {DATABASE} '.backup /root/kept.db'"));
    let put_back = |id: &str| {
        let row = |table: &str| {
            let columns = sql(&format!("SELECT group_concat(name) FROM pragma_table_info('{table}')"));
            let columns = columns.trim();
            format!(
                "DELETE FROM {table} WHERE id = '{id}'; INSERT INTO {table}(rowid, {columns})
                 SELECT rowid, {columns} FROM k.{table} WHERE id = '{id}';"
            )
        };
        sql(&format!(
            "ATTACH '/root/kept.db' AS k; {} {}
             DELETE FROM record WHERE seq IN (SELECT seq FROM k.record WHERE grant_id = '{id}');
             INSERT INTO record SELECT * FROM k.record WHERE grant_id = '{id}'",
            row("granted"),
            row("request"),
        ));
    };
    // Its records say which role it is of, so every approver of the role ends it and reads that its row is wrong.
    let rows = [
        "DELETE FROM granted WHERE id = 'ID'; DELETE FROM request WHERE id = 'ID'",
        "UPDATE granted SET body = x'00' WHERE id = 'ID'; UPDATE request SET body = x'00' WHERE id = 'ID'",
        "UPDATE granted SET body = CAST(replace(CAST(body AS TEXT), 'reviewed', 'elsewhere') AS BLOB) WHERE id = 'ID'",
    ];
    for (hide, alone, target) in
        rows.iter().flat_map(|hide| [(hide, true, "--all"), (hide, false, "--all"), (hide, false, "--user")])
    {
        let grant = granted(&carol);
        let _open = (!alone).then(|| granted(&other));
        keep();
        sql(&hide.replace("ID", &grant));
        let user: &[&str] = if target == "--user" { &["--user", &carol.name] } else { &["--all"] };
        let said = root.run_as(&bob.name, [&["jitctl", "revoke"], user, &["--reason", "incident"]].concat());
        assert!(said.stdout.contains(&grant) || said.stderr.contains(&grant), "{hide} {target}: {said:?}");
        put_back(&grant);
        root.run_as(&carol.name, RUN).refused("it was ended or used before, as the journal says");
        again();
    }
    // Without the record of the grant, nothing names it; but the journal is not as it was written.
    let records = [
        "UPDATE record SET kind = 'xrant' WHERE kind = 'grant' AND grant_id = 'ID'",
        "UPDATE record SET body = x'7b7d' WHERE kind = 'grant' AND grant_id = 'ID'",
        "UPDATE record SET grant_id = 'hidden' WHERE grant_id = 'ID'",
        "UPDATE record SET grant_id = NULL WHERE kind = 'grant' AND grant_id = 'ID'",
        "DELETE FROM record WHERE kind = 'grant' AND grant_id = 'ID'",
    ];
    let bob_name = bob.name.as_str();
    // Who revokes what, and whether another grant is open.
    let ways = [
        ("root", "--all", true),
        (bob_name, "--all", true),
        ("root", "--all", false),
        (bob_name, "--user", false),
        (bob_name, "ID", false),
        ("root", "ID", true),
    ];
    for (hide, (who, target, is_other)) in records.iter().flat_map(|hide| ways.map(|way| (hide, way))) {
        // The anchor shows that the last record is missing: the database counts as an older copy.
        if hide.starts_with("DELETE") && !is_other {
            continue;
        }
        let grant = granted(&carol);
        let _open = is_other.then(|| granted(&other));
        keep();
        sql(&rows[0].replace("ID", &grant));
        sql(&hide.replace("ID", &grant));
        let target: &[&str] = match target {
            "--user" => &["--user", &carol.name],
            "ID" => &[&grant],
            all => &[all],
        };
        let said = root.run_as(who, [&["jitctl", "revoke"], target, &["--reason", "incident"]].concat());
        let found = if is_other && target == ["--all"] { "1 grant was" } else { "0 grants were" };
        said.refused(&format!("{found} revoked, but record "));
        assert!(said.stderr.contains("so there may be other grants"), "{said:?}");
        put_back(&grant);
        both_say_intact(&root);
        root.as_root(["jitctl", "revoke", "--all", "--reason", "again"]).succeeded();
        again();
    }
    // Damage before root's last acceptance hides nothing that is still open.
    granted(&carol);
    sql("UPDATE record SET body = x'7b7d' WHERE kind = 'grant'");
    granted(&other);
    root.as_root(["jitctl", "revoke", "--all", "--reason", "incident"])
        .refused("of the journal is missing or was changed");
    accept(&root);
    granted(&other);
    root.as_root(["jitctl", "revoke", "--all", "--reason", "incident"]).succeeded();
}

#[test]
fn an_extension_does_not_survive_the_end_of_its_grant_because_of_a_row() {
    let root = own_root();
    let (carol, bob) = (root.person(&["reviewed", "self-service"]), root.person(&["approvers"]));
    let sql = |statement: &str| root.script(&format!("sqlite3 {DATABASE} \"{statement}\""));
    let extended = |grant: &str| {
        id(&root.run_as(&carol.name, ["jitctl", "--json", "extend", grant, "--reason", "more"]).json()["grant"])
    };
    // The old grant was revoked, and its row does not say so any more.
    let grant = id(&request(&root, &carol, "reviewed", &[]));
    root.run_as(&bob.name, ["jitctl", "approve", &grant]).succeeded();
    let pending = extended(&grant);
    root.as_root(["jitctl", "revoke", &grant, "--reason", "incident"]).succeeded();
    sql(&format!(
        "UPDATE granted SET ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE id = '{grant}'"
    ));
    root.run_as(&bob.name, ["jitctl", "approve", &pending])
        .refused(&format!("grant {grant}, which it would extend, was revoked"));
    // The extension has no row while the old grant is ended.
    for (kind, words) in [("release", ["jitctl", "release"].as_slice()), ("revocation", &["jitctl", "revoke"])] {
        let grant = id(&request(&root, &carol, "self-service", &[]));
        let extension = extended(&grant);
        root.script(&format!("rm -f /root/kept.db; sqlite3 {DATABASE} '.backup /root/kept.db'"));
        sql(&format!("DELETE FROM granted WHERE id = '{extension}'"));
        let why: &[&str] = if kind == "release" { &[] } else { &["--reason", "incident"] };
        let who = if kind == "release" { &carol.name } else { "root" };
        let said = root.run_as(who, [words, &[&grant], why].concat());
        assert!(said.stdout.contains(&extension) || said.stderr.contains(&extension), "{kind}: {said:?}");
        let ends = format!("SELECT count(*) FROM record WHERE kind = '{kind}' AND grant_id = '{extension}'");
        assert_eq!(sql(&ends).trim(), "1", "{kind}");
        sql(&format!(
            "ATTACH '/root/kept.db' AS k; INSERT INTO granted SELECT * FROM k.granted WHERE id = '{extension}'"
        ));
        root.run_as(&carol.name, RUN).refused("it was ended or used before, as the journal says");
    }
}

#[test]
fn a_command_under_a_hidden_row_is_ended_by_a_revocation_and_an_acceptance() {
    let root = own_root();
    root.add_policy(
        "long",
        "[roles.long]\neligible = [\"%self-service\"]\ncommands = [\"/usr/bin/sleep *\"]\nauthenticate = false\n\
         on_expiry = \"finish\"\n",
    );
    let carol = root.person(&["self-service"]);
    let sql = |statement: &str| root.script(&format!("sqlite3 {DATABASE} \"{statement}\""));
    let revoke = ["jitctl", "revoke", "--all", "--reason", "incident"];
    let accept = ["jitctl", "key", "accept", "--reason", "it is ours"];
    let starts = || root.journal().iter().filter(|record| record.kind() == "start").count();
    let hidden = ["SELECT 1"].into_iter().chain(HIDDEN);
    for (hide, words) in hidden.flat_map(|hide| [(hide, revoke.as_slice()), (hide, &accept)]) {
        let before = starts();
        // Without a changed row: a command that may finish after the end of its grant.
        let lasts = if hide == "SELECT 1" { "2s" } else { "10m" };
        let grant = id(&request(&root, &carol, "long", &["--for", lasts]));
        let mut run = root.pty_as(&carol.name, ["jit-sudo", "-n", "--role", "long", "sleep", "100"]);
        eventually("the run begins", PATIENCE, || (starts() > before).then_some(()));
        if lasts == "2s" {
            std::thread::sleep(Duration::from_secs(3));
        }
        root.script(&format!("rm -f /root/kept.db; sqlite3 {DATABASE} '.backup /root/kept.db'"));
        sql(&hide.replace("ID", &grant));
        let _ = root.as_root(words);
        sql(&format!(
            "ATTACH '/root/kept.db' AS k; DELETE FROM granted WHERE id = '{grant}';
             INSERT INTO granted SELECT * FROM k.granted WHERE id = '{grant}'"
        ));
        let ended = std::time::Instant::now();
        assert!(!run.wait().success(), "{hide} {words:?}: {}", run.screen());
        assert!(ended.elapsed() < Duration::from_secs(20), "{hide} {words:?}: {:?}", ended.elapsed());
        let revoked = format!("SELECT count(*) FROM record WHERE kind = 'revocation' AND grant_id = '{grant}'");
        assert_eq!(sql(&revoked).trim(), "1", "{hide} {words:?}");
    }
}
