//! A database that is deleted, emptied, replaced or restored: the journal goes on behind the numbers of the lost records, and says
//! which they were. No number exists twice, in the journal or in the log.

use std::collections::BTreeMap;

use harness::{PATIENCE, Person, PrivateRoot, Record, eventually};

use crate::{both_say_intact, granted, id, own_root, request};

const STATE: &str = "/var/lib/jit-sudo";
const DATABASE: &str = "/var/lib/jit-sudo/journal.db";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

fn back_up(root: &PrivateRoot) {
    root.script(&format!("rm -f /root/old.db; sqlite3 {DATABASE} '.backup /root/old.db'"));
}

fn restore(root: &PrivateRoot) {
    root.script(&format!("sqlite3 {DATABASE} '.restore /root/old.db'"));
}

fn accept(root: &PrivateRoot) {
    root.as_root(["jitctl", "key", "accept", "--reason", "the disk was replaced"]).succeeded();
}

fn head(root: &PrivateRoot) -> Record {
    root.journal().pop().unwrap()
}

/// The record that the anchor names: number and hash.
fn anchored(root: &PrivateRoot) -> (u64, String) {
    let anchor = root.read(&format!("{STATE}/anchor"));
    let (seq, hash) = anchor.trim().split_once(' ').unwrap();
    (seq.parse().unwrap(), hash.to_owned())
}

/// Checks that every number in the log belongs to one record.
fn no_number_exists_twice(root: &PrivateRoot) {
    let mut heads = BTreeMap::new();
    for line in root.syslog() {
        let known = heads.entry(line.seq).or_insert_with(|| line.head.clone());
        assert_eq!(*known, line.head, "record {} exists twice", line.seq);
    }
    for record in root.journal() {
        let known = heads.entry(record.seq).or_insert_with(|| record.hash.clone());
        assert_eq!(*known, record.hash, "record {} of the journal is another in the log", record.seq);
    }
}

/// Checks that the state gives nothing until root accepts it, and what it gives then; returns the verification with the log.
fn distrusted_until_accepted(root: &PrivateRoot, person: &Person, log: &str) -> String {
    root.run_as(&person.name, RUN).refused("");
    let words = ["jitctl", "request", "--role", "self-service", "--reason", "x"];
    root.run_as(&person.name, words).refused("no grant is given or accepted");
    both_say_intact(root);
    accept(root);
    root.run_as(&person.name, RUN).refused("no active grant");
    request(root, person, "self-service", &[]);
    root.run_as(&person.name, RUN).succeeded();
    both_say_intact(root);
    no_number_exists_twice(root);
    root.as_root(["jitctl", "audit", "verify", "--anchor", log]).intact().to_owned()
}

#[test]
fn a_deleted_database_does_not_begin_anew_without_a_trace() {
    // The database; with its anchor; replaced by an empty file; the anchor is damaged.
    for lose in [
        format!("rm {DATABASE}*"),
        format!("rm {DATABASE}* {STATE}/anchor"),
        format!("rm {DATABASE}* {STATE}/anchor {STATE}/sent-*"),
        format!("rm {DATABASE}-*; : >{DATABASE}"),
        format!("rm {DATABASE}*; echo x >{STATE}/anchor"),
        format!("rm {DATABASE}* {STATE}/host_key*"),
    ] {
        let root = own_root();
        let person = granted(&root, "self-service");
        root.run_as(&person.name, RUN).succeeded();
        let (last, anchor) = (head(&root), anchored(&root));
        no_number_exists_twice(&root);
        root.script("cp /var/log/auth.log /root/log");
        root.script(&lose);
        root.run_as(&person.name, RUN).refused("jitctl key init");
        root.as_root(["jitctl", "key", "init"]).succeeded();
        root.as_root(["jitctl", "key", "init"]).succeeded();
        let records = root.journal();
        let (fork, alert) = (&records[0], &records[1]);
        assert_eq!(
            (fork.kind(), fork.number("continues"), alert.text("code")),
            ("fork", 0, "database-older"),
            "{lose}"
        );
        assert!(fork.seq > last.seq, "{lose}: {} {}", fork.seq, last.seq);
        if !lose.contains("anchor") {
            assert!(
                fork.body.contains(&anchor.1) && alert.text("sentence").contains(&anchor.1),
                "{lose}: {}",
                alert.body
            );
        }
        if !lose.contains("sent-") {
            assert!(fork.body.contains(&last.hash), "{lose}: the log has the last record: {}", fork.body);
        }
        let said = distrusted_until_accepted(&root, &person, "/root/log");
        let lost = format!("  the anchor has records of the lost branch, from 1 to {}", last.seq);
        assert!(
            said.contains("fork: record ") && said.contains("has none before it") && said.contains(&lost),
            "{said}"
        );
    }
}

#[test]
fn a_new_host_begins_with_record_1_and_without_an_alert() {
    let root = own_root();
    root.script(&format!("settle; rm -r {STATE}; install -d -m 700 {STATE}; jitctl key init; jitctl key init"));
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    let records = root.journal();
    assert_eq!(records[0].seq, 1);
    assert!(!records.iter().any(|record| ["fork", "alert"].contains(&record.kind())), "{records:?}");
    both_say_intact(&root);
}

#[test]
fn the_database_of_another_host_is_a_fork_behind_both() {
    let root = own_root();
    let person = granted(&root, "self-service");
    let own = head(&root);
    // Another host makes more records than this one.
    root.script(&format!("cp -a {STATE} /root/own; settle; rm -r {STATE}; install -d -m 700 {STATE}; jitctl key init"));
    request(&root, &person, "self-service", &[]);
    (0..4).for_each(|_| drop(root.run_as(&person.name, RUN)));
    let other = head(&root);
    assert!(other.seq > own.seq + 4);
    root.script(&format!(
        "sqlite3 {DATABASE} 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null; cp {DATABASE} /root/other.db; settle; rm -r {STATE}; \
         cp -a /root/own {STATE}; rm {DATABASE}*; cp /root/other.db {DATABASE}; chmod 600 {DATABASE}"
    ));
    root.run_as(&person.name, RUN).refused("");
    let fork = root.journal().into_iter().find(|record| record.kind() == "fork").unwrap();
    assert!(fork.seq > other.seq && fork.body.contains(&own.hash), "{}", fork.body);
    accept(&root);
    request(&root, &person, "self-service", &[]);
    root.run_as(&person.name, RUN).succeeded();
    both_say_intact(&root);
    // A copy of the own anchor is explained; any other head in its place is not.
    root.script("cp /root/own/anchor /root/kept; jitctl audit verify --anchor /root/kept || [ $? -eq 5 ]");
    root.script(&format!("printf '%020d {}\\n' {} >/root/kept", "ab".repeat(32), own.seq));
    root.as_root(["jitctl", "audit", "verify", "--anchor", "/root/kept"]).refused("is not the one in the anchor");
}

#[test]
fn a_restored_database_goes_on_behind_every_number_of_the_lost_branch() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    back_up(&root);
    let kept = head(&root);
    (0..3).for_each(|_| drop(root.run_as(&person.name, RUN)));
    let lost = head(&root);
    no_number_exists_twice(&root);
    root.script("cp /var/log/auth.log /root/log; jitctl audit export --output /root/before.jsonl");
    restore(&root);
    let said = distrusted_until_accepted(&root, &person, "/root/log");
    let fork = root.journal().into_iter().find(|record| record.kind() == "fork").unwrap();
    assert_eq!(fork.number("continues").unsigned_abs(), kept.seq);
    assert!(fork.seq > lost.seq && fork.body.contains(&lost.hash), "{}", fork.body);
    let branch = format!("records of the lost branch, from {} to {}", kept.seq + 1, lost.seq);
    assert!(said.contains(&branch), "{said}");
    // The same on another machine.
    root.script("jitctl audit export --output /root/after.jsonl; jitctl key show >/root/key");
    let verify = |words: &[&str]| root.as_root([&["jitctl", "audit", "verify"][..], words].concat());
    let file = ["/root/after.jsonl", "--public-key", "/root/key", "--anchor"];
    assert!(verify(&[&file[..], &["/root/log"]].concat()).intact().contains(&branch));
    // An export has the signed heads of its checkpoints.
    let said = verify(&[&file[..], &["/root/before.jsonl"]].concat());
    assert!(said.intact().contains(" belong to records that were lost"), "{said:?}");
    // A part that begins inside of the gap, and what only the product lists.
    let from = (lost.seq + 1).to_string();
    root.script(&format!("jitctl audit export --from {from} --output /root/part.jsonl"));
    verify(&["/root/part.jsonl", "--from", &from]).intact();
    assert!(root.as_root(["jitctl", "audit", "list", "--kind", "fork"]).succeeded().contains("continues record"));
    // Another restore of the same backup.
    let second = head(&root);
    restore(&root);
    distrusted_until_accepted(&root, &person, "/var/log/auth.log");
    let forks: Vec<Record> = root.journal().into_iter().filter(|record| record.kind() == "fork").collect();
    assert!(forks.len() == 1 && forks[0].seq > second.seq, "{forks:?}");
}

#[test]
fn a_gap_that_no_fork_explains_is_found() {
    let root = own_root();
    let person = granted(&root, "self-service");
    back_up(&root);
    root.run_as(&person.name, RUN).succeeded();
    restore(&root);
    root.run_as(&person.name, RUN).refused("");
    accept(&root);
    both_say_intact(&root);
    root.script(&format!("sqlite3 {DATABASE} 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null; cp -a {STATE} /root/good"));
    let fork = root.journal().into_iter().find(|record| record.kind() == "fork").unwrap();
    let at = fork.seq;
    for (sql, found) in [
        (format!("DELETE FROM record WHERE seq = {at}"), "is missing"),
        (format!("DELETE FROM record WHERE seq = {}", fork.number("continues")), "is missing"),
        (format!("DELETE FROM record WHERE seq = {}", at + 1), "is missing"),
        (format!("UPDATE record SET seq = seq + 5000 WHERE seq = {at}"), ""),
        (
            format!(
                "UPDATE record SET body = CAST(replace(body, '\"highest\":', '\"highest\":1') AS BLOB) WHERE seq = {at}"
            ),
            "altered",
        ),
        (
            format!(
                "UPDATE record SET body = CAST(replace(body, '\"kind\":\"fork\"', '\"kind\":\"clock\"') AS BLOB) WHERE seq = {at}"
            ),
            "",
        ),
        (format!("UPDATE record SET kind = 'clock' WHERE seq = {at}"), "kind"),
    ] {
        root.script(&format!("sqlite3 {DATABASE} \"{}\"", sql.replace('"', "\\\"")));
        root.as_root(["jitctl", "audit", "verify"]).refused(found);
        root.script(&format!("rm -f /root/copy.db; sqlite3 {DATABASE} '.backup /root/copy.db'"));
        let check = "python3 /run/private-root/project/tests/check_journal.py /root/copy.db \
                     \"$(head -n 1 /var/lib/jit-sudo/host_key.pub)\" || true";
        assert!(root.script(check).starts_with("journal: "), "{sql}");
        root.script(&format!("settle; rm -r {STATE}; cp -a /root/good {STATE}"));
    }
    both_say_intact(&root);
}

#[test]
fn a_run_that_is_at_work_during_a_restore_ends_behind_the_lost_numbers() {
    let root = own_root();
    let (worker, other) = (root.person(&["deploy"]), root.person(&["deploy"]));
    let starts = || root.journal().iter().filter(|record| record.kind() == "start").count();
    let mut run = root.pty_as(&worker.name, ["jit-sudo", "-n", "sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done"]);
    eventually("the run begins", PATIENCE, || (starts() > 0).then_some(()));
    back_up(&root);
    (0..3).for_each(|_| drop(root.run_as(&other.name, RUN)));
    let lost = head(&root);
    restore(&root);
    root.script("touch /tmp/go");
    run.wait();
    let records = eventually("the run ends", PATIENCE, || {
        let records = root.journal();
        records.last().is_some_and(|record| record.kind() == "end").then_some(records)
    });
    let end = records.last().unwrap();
    assert!(end.seq > lost.seq && records.iter().any(|record| record.kind() == "fork"), "{records:?}");
    let person = root.person(&["self-service"]);
    let words = ["jitctl", "request", "--role", "self-service", "--reason", "x"];
    root.run_as(&person.name, words).refused("no grant is given or accepted");
    both_say_intact(&root);
    no_number_exists_twice(&root);
}

#[test]
fn records_that_a_power_failure_lost_leave_their_numbers_unused() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    let lost = head(&root);
    assert_eq!(lost.kind(), "end");
    // The end was not synced. The anchor names the record before it, and the log has it.
    root.script(&format!(
        "sqlite3 {DATABASE} 'DELETE FROM record WHERE seq = {0}; DELETE FROM checkpoint WHERE seq = {0}; DELETE FROM precedent'
         sqlite3 {DATABASE} \"INSERT INTO open_run SELECT seq, run, uid, grant_id, 1, 1, 'gone', NULL, 0 FROM record WHERE kind = 'start'\"
         umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
         cat /proc/sys/kernel/random/uuid >/run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id",
        lost.seq
    ));
    root.run_as(&person.name, RUN).succeeded();
    let records = root.journal();
    let fork = records.iter().find(|record| record.kind() == "fork").unwrap();
    assert!(fork.seq > lost.seq && fork.text("sentence").contains("not synced"), "{}", fork.body);
    assert!(
        !records.iter().any(|record| record.kind() == "alert"),
        "a power failure needs no administrator: {records:?}"
    );
    both_say_intact(&root);
    no_number_exists_twice(&root);
    let said = root.as_root(["jitctl", "audit", "verify", "--anchor", "/var/log/auth.log"]);
    assert!(said.intact().contains(&format!("the anchor has record {} of the lost branch", lost.seq)), "{said:?}");
    let _ = id(&request(&root, &person, "self-service", &[]));
}

/// As after a power failure, but in the same boot: whoever can write the database removed the record that only the log has.
#[test]
fn a_record_that_vanishes_without_a_power_failure_needs_roots_acceptance() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    let lost = head(&root);
    assert!(lost.kind() == "end" && anchored(&root).0 < lost.seq, "only the log names the end: {lost:?}");
    root.script(&format!(
        "sqlite3 {DATABASE} 'DELETE FROM record WHERE seq = {0}; DELETE FROM checkpoint WHERE seq = {0}; DELETE FROM precedent'",
        lost.seq
    ));
    let said = distrusted_until_accepted(&root, &person, "/var/log/auth.log");
    let records = root.journal();
    let fork = records.iter().find(|record| record.kind() == "fork").unwrap();
    assert!(fork.seq > lost.seq, "{}", fork.body);
    assert!(
        records.iter().any(|record| record.kind() == "alert" && record.text("code") == "database-older"),
        "{records:?}"
    );
    assert!(said.contains(&format!("record {} of the lost branch", lost.seq)), "{said}");
}
