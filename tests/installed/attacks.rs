//! What root can do to the evidence of a host, and which check finds it. Each attack is tried twice where the journal can be
//! signed again: as it is, and with every hash, link and signature made anew with the keys on the host. The table is that of
//! docs/tampering.md; `UPDATE=1` writes it.

use std::fmt::Write as _;

use harness::{PrivateRoot, eventually};
use jit_core::grant::HostKey;

use crate::journals::sign_anew;
use crate::offline::in_journal;
use crate::{granted, id, own_root, request};

const STATE: &str = "/var/lib/jit-sudo";
const PAGE: &str = "docs/tampering.md";

/// Roots of a host change its state with this.
enum Tool {
    /// Statements for the database. The journal can be signed again afterwards.
    Sql(&'static str),
    /// A script of bash, which begins in the state directory. The journal is as it was signed, or older.
    Shell(&'static str),
}
use Tool::{Shell, Sql};

/// What is done, and how.
type Attack = (&'static str, Tool);

const RECORDS: [Attack; 12] = [
    (
        "a field of a record is changed",
        Sql(
            "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"max_rss_kib\":', '\"max_rss_kib\":1') AS BLOB) WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'end')",
        ),
    ),
    (
        "a command in a `start` record is changed",
        Sql(
            "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/ls') AS BLOB) WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'start')",
        ),
    ),
    (
        "the time of a record is changed",
        Sql(
            "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"time\":1', '\"time\":2') AS BLOB), at = at + 1000000000000000 WHERE seq = (SELECT max(seq) FROM record WHERE kind = 'start')",
        ),
    ),
    ("a record is removed", Sql("DELETE FROM record WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'start')")),
    ("the first record is removed", Sql("DELETE FROM record WHERE seq = 1")),
    (
        "the last record is removed",
        Sql(
            "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record); DELETE FROM checkpoint WHERE seq > (SELECT max(seq) FROM record)",
        ),
    ),
    (
        "the last ten records are removed",
        Sql(
            "DELETE FROM record WHERE seq > (SELECT max(seq) FROM record) - 10; DELETE FROM checkpoint WHERE seq > (SELECT max(seq) FROM record)",
        ),
    ),
    (
        "a record is inserted at the end",
        Sql(
            "INSERT INTO record SELECT (SELECT max(seq) FROM record) + 1, kind, uid, run, grant_id, at, high, hash, CAST(replace(CAST(body AS TEXT), '\"seq\":' || seq, '\"seq\":' || ((SELECT max(seq) FROM record) + 1)) AS BLOB) FROM record WHERE kind = 'reject' ORDER BY seq DESC LIMIT 1",
        ),
    ),
    (
        "two records are swapped",
        Sql(
            "UPDATE record SET seq = -1 WHERE seq = 5; UPDATE record SET seq = 5 WHERE seq = 6; UPDATE record SET seq = 6 WHERE seq = -1",
        ),
    ),
    (
        "the column with the kind of a record is changed",
        Sql("UPDATE record SET kind = 'refusal' WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'start')"),
    ),
    (
        "the column with the uid of a record is changed",
        Sql("UPDATE record SET uid = 4242 WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'start')"),
    ),
    (
        "the column with the grant of a record is changed",
        Sql("UPDATE record SET grant_id = NULL WHERE seq = (SELECT max(seq) FROM record WHERE kind = 'revocation')"),
    ),
];

const SIGNATURES: [Attack; 7] = [
    ("the last checkpoint is removed", Sql("DELETE FROM checkpoint WHERE seq = (SELECT max(seq) FROM checkpoint)")),
    ("all checkpoints are removed", Sql("DELETE FROM checkpoint")),
    (
        "the signature of a checkpoint is changed",
        Sql(
            "UPDATE checkpoint SET signature = CAST(substr(signature, 1, 60) || 'A' || substr(signature, 62) AS BLOB) WHERE seq = (SELECT max(seq) FROM checkpoint)",
        ),
    ),
    (
        "the statement of a checkpoint is changed",
        Sql(
            "UPDATE checkpoint SET body = CAST(replace(CAST(body AS TEXT), '\"at\":1', '\"at\":2') AS BLOB) WHERE seq = (SELECT max(seq) FROM checkpoint)",
        ),
    ),
    (
        "the note of a checkpoint is changed",
        Sql(
            "UPDATE checkpoint SET note = replace(note, 'jit-sudo/', 'jit-sudo/0') WHERE seq = (SELECT max(seq) FROM checkpoint)",
        ),
    ),
    ("a subtree that never was is stored", Sql("INSERT INTO tree VALUES (8, 0, 1, zeroblob(32))")),
    (
        "the certificate of an epoch is changed",
        Sql(
            "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"number\":2', '\"number\":9') AS BLOB) WHERE kind = 'epoch'",
        ),
    ),
];

const TABLES: [Attack; 12] = [
    (
        "a revoked grant is active again",
        Sql(
            "UPDATE granted SET ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE ended = 'revoked'",
        ),
    ),
    ("a grant lasts longer in its column", Sql("UPDATE granted SET expires = expires + 36000 WHERE ended IS NULL")),
    (
        "the text of a grant is changed",
        Sql(
            "UPDATE granted SET body = CAST(replace(CAST(body AS TEXT), '\"uid\":', '\"uid\":1') AS BLOB) WHERE ended IS NULL",
        ),
    ),
    ("a grant is removed", Sql("DELETE FROM granted WHERE ended IS NOT NULL")),
    ("an approval is removed", Sql("DELETE FROM approval")),
    (
        "an approval of somebody else is inserted",
        Sql("INSERT INTO approval SELECT request, uid + 1, at, body, signature, key FROM approval LIMIT 1"),
    ),
    (
        "a denied request is pending again",
        Sql(
            "UPDATE request SET state = 'pending', ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE state = 'denied'",
        ),
    ),
    ("a request is removed", Sql("DELETE FROM request WHERE state = 'denied'")),
    ("a denial or revocation is removed", Sql("DELETE FROM statement")),
    (
        "the text of a role is changed",
        Sql("UPDATE role_text SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/ls') AS BLOB)"),
    ),
    (
        "a run that never was is open",
        Sql("INSERT INTO open_run VALUES (999999, '7f7ec8zr1wa4', 1003, NULL, 1, 1, 'x', NULL, 0)"),
    ),
    (
        "a compiled role is changed",
        Sql(
            "UPDATE policy_role SET body = CAST(replace(CAST(body AS TEXT), '/usr/bin/id', '/usr/bin/ls') AS BLOB) WHERE name = 'reviewed'",
        ),
    ),
];

const FILES: [Attack; 18] = [
    ("the database is removed", Shell("rm journal.db*")),
    ("the database is emptied", Shell(": >journal.db; rm -f journal.db-wal journal.db-shm")),
    (
        "a page of the database is zeroed",
        Shell(
            "sqlite3 journal.db 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null; dd if=/dev/zero of=journal.db bs=2048 seek=$(($(stat -c %s journal.db) / 2048 / 2)) count=1 conv=notrunc status=none",
        ),
    ),
    ("an older database", Shell("rm journal.db*; cp -a /root/older/journal.db* .")),
    ("an older database and anchor", Shell("rm journal.db*; cp -a /root/older/journal.db* /root/older/anchor .")),
    (
        "an older database, anchor and place of the log",
        Shell("rm journal.db* sent-*; cp -a /root/older/journal.db* /root/older/anchor /root/older/sent-* ."),
    ),
    (
        "the whole state directory is an older one",
        Shell("cd /; settle; rm -r /var/lib/jit-sudo; cp -a /root/older /var/lib/jit-sudo"),
    ),
    ("the state directory is removed", Shell("cd /; settle; rm -r /var/lib/jit-sudo")),
    ("the anchor is removed", Shell("rm anchor")),
    ("the anchor names an earlier record", Shell("cp -a /root/older/anchor anchor")),
    ("the anchor names a later record", Shell("sed -i 's/^00/09/' anchor")),
    ("the place of the log is removed", Shell("rm sent-*")),
    ("the place of the log is a later one", Shell("sed -i 's/^00/09/' sent-*")),
    (
        "another host key",
        Shell(
            "ssh-keygen -q -t ed25519 -N '' -C x -f /root/new; cat /root/new >host_key; cat /root/new.pub >host_key.pub; rm /root/new*",
        ),
    ),
    ("the host key is removed", Shell("rm host_key host_key.pub")),
    ("the sealing key is removed", Shell("rm sealing_key.*")),
    (
        "another sealing key",
        Shell(
            "ssh-keygen -q -t ed25519 -N '' -C x -f /root/new; for f in sealing_key.*; do cat /root/new >$f; done; rm /root/new*",
        ),
    ),
    (
        "a recording is changed",
        Shell("for f in recordings/done/*; do printf x | dd of=$f bs=1 seek=40 conv=notrunc status=none; done"),
    ),
];

/// What a state directory is put back or emptied with, so that another host key follows.
const KEYS: [Attack; 5] = [
    (
        "an older state directory, and then a rotation of the host key",
        Shell(
            "cd /; settle; rm -r /var/lib/jit-sudo; cp -a /root/older /var/lib/jit-sudo; jitctl key rotate --reason x --yes; jitctl audit export >/dev/null",
        ),
    ),
    (
        "an older state directory between two rotations of the host key",
        Shell(
            "jitctl key rotate --reason x --yes; jitctl audit export >/dev/null; cd /; settle; cp -a /var/lib/jit-sudo /root/between
             runuser -u \"$PERSON\" -- jit-sudo -n true || :; jitctl audit export >/root/log; settle
             rm -r /var/lib/jit-sudo; mv /root/between /var/lib/jit-sudo; jitctl key rotate --reason x --yes; jitctl audit export >/dev/null",
        ),
    ),
    (
        "the state directory is emptied, and another host key made",
        Shell(
            "cd /; settle; find /var/lib/jit-sudo -mindepth 1 -delete; jitctl key init; jitctl key accept --reason x || :; jitctl audit export >/dev/null",
        ),
    ),
    (
        "an older state directory with another host key, which root accepts",
        Shell(
            "cd /; settle; rm -r /var/lib/jit-sudo; cp -a /root/older /var/lib/jit-sudo; rm /var/lib/jit-sudo/host_key*; jitctl key init; jitctl key accept --reason x; jitctl audit export >/dev/null",
        ),
    ),
    (
        "the key of a retired host is put back, which root accepts",
        Shell(
            "jitctl key retire --reason x --yes; settle; sqlite3 journal.db \"DELETE FROM journal_meta WHERE name = 'restored'\"; cp -a /root/good/host_key /root/good/sealing_key.* .; jitctl key accept --reason x || :; jitctl audit export >/dev/null || :",
        ),
    ),
];

/// A journal with what can be attacked, and what an auditor has noted elsewhere.
fn attacked() -> (PrivateRoot, harness::Person, String) {
    let root = own_root();
    root.add_policy("attacks", "[audit]\nepoch = \"1s\"\n\n[roles.filmed]\nstanding = [\"%filmed\"]\ncommands = [\"ALL\"]\nauthenticate = false\nrecord = \"all\"\n");
    let (person, approver) = (granted(&root, "self-service"), root.person(&["approvers"]));
    let run = || root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]);
    run().succeeded();
    let seal = || {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        root.script("jitctl audit export >/dev/null");
    };
    seal();
    let asked = |verb: &str, more: &[&str]| {
        let other = root.person(&["reviewed"]);
        let wanted = id(&request(&root, &other, "reviewed", &[]));
        root.run_as(&approver.name, [&["jitctl", verb, &wanted][..], more].concat()).succeeded();
        (other, wanted)
    };
    let (other, grant) = asked("approve", &[]);
    root.run_as(&other.name, ["jit-sudo", "-n", "id"]).succeeded();
    root.as_root(["jitctl", "revoke", &grant, "--reason", "it is over"]).succeeded();
    asked("deny", &["--reason", "no ticket"]);
    root.run_as(&other.name, ["jit-sudo", "-n", "ls"]).refused("");
    root.run_as(&root.person(&["filmed"]).name, ["jit-sudo", "-n", "echo", "seen"]).succeeded();
    seal();
    root.script(&format!("cp -a {STATE} /root/older"));
    (0..4).for_each(|_| drop(run()));
    root.run_as(&other.name, ["jit-sudo", "-n", "ls"]).refused("");
    seal();
    run().succeeded();
    root.script("jitctl audit prove --consistency 0 >/root/head");
    let size =
        root.read("/root/head").lines().skip_while(|line| !line.starts_with("jit-sudo/")).nth(1).unwrap().to_owned();
    let logged = || root.read("/var/log/auth.log").contains(&format!("\\n{size}\\n")).then_some(());
    eventually("the head in the log", harness::PATIENCE, logged);
    let first = root.journal().into_iter().find(|record| record.kind() == "epoch").unwrap();
    root.write("/root/sealing.pub", 0o600, format!("{}\n", first.text("key")));
    root.script(&format!(
        "jitctl key show | head -n 1 >/root/host.pub; cp /var/log/auth.log /root/log; cp /root/log /root/good.log; cp -a {STATE} /root/good
         jitctl witness key --state /root/w --name witness.example/one >/root/witness.pub
         jitctl witness cosign --state /root/w --host-key /root/host.pub /root/head >/dev/null; cp /root/w/*.note /root/note"
    ));
    let sealing = root.script("ssh-keygen -lf /root/sealing.pub").split(' ').nth(1).unwrap().to_owned();
    (root, person, sealing)
}

/// Signs the journal again with all keys that root has, and adapts what names its head.
fn cover(root: &PrivateRoot) {
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let mut sealing = None;
    in_journal(root, |database, _| sealing = sign_anew(database.connection(), &key).unwrap());
    let file = root.script(&format!("ls {STATE}/sealing_key.*")).trim().to_owned();
    root.write(&file, 0o600, sealing.unwrap().to_openssh(7));
    root.script(&format!(
        "cd {STATE}; sqlite3 journal.db \"SELECT printf('%020d ', seq) || lower(hex(hash)) FROM record ORDER BY seq DESC LIMIT 1\" >anchor
         for f in sent-*; do cat anchor anchor >$f; done"
    ));
}

const CHECKS: &str = r#"
set +e
alerts() { sqlite3 journal.db "SELECT count(*) FROM record WHERE kind = 'alert'" 2>/dev/null || echo 0; }
check() { jitctl audit verify "$@" >/root/said 2>&1; echo $?; }
check --anchor /root/log
check --sealing-key "$SEALING"
check --anchor /root/note --witness /root/witness.pub
check --recordings
before=$(alerts)
runuser -u "$PERSON" -- jit-sudo -n id -u >/dev/null 2>&1; echo $?
jitctl audit export >/dev/null 2>&1
[ "$(alerts)" -gt "$before" ] && echo alert || echo none
"#;

/// What the checks say: a verification on the host, with the log, a sealing key and a witness, each by its exit status, and the next run.
fn said(root: &PrivateRoot, person: &harness::Person, sealing: &str) -> [String; 5] {
    let said =
        root.script(&format!("cd {STATE} 2>/dev/null || cd /\nSEALING={sealing} PERSON={}\n{CHECKS}", person.name));
    let said: Vec<&str> = said.lines().collect();
    let next = match (said[4], said[5]) {
        ("0", "none") => "",
        ("0", _) => "alert",
        _ => "refused",
    };
    [said[3], said[0], said[1], said[2], next].map(str::to_owned)
}

/// Which checks find an attack. `before`: what they say without one.
fn found(said: &[String; 5], before: &[String; 5]) -> [&'static str; 5] {
    let mut cells = [""; 5];
    for (cell, (said, before)) in cells.iter_mut().zip(said.iter().zip(before)) {
        *cell = match (before.as_str(), said.as_str()) {
            (before, said) if before == said => "",
            (_, "0") | ("5", "5") => "",
            ("0", "5") => "in doubt",
            (_, "1") => "found",
            (_, "alert") => "alert",
            (_, "refused") => "refused",
            other => panic!("{other:?}"),
        };
    }
    cells
}

fn restore(root: &PrivateRoot) {
    root.script(&format!("rm -rf {STATE}; cp -a /root/good {STATE}; cp /root/good.log /root/log"));
}

#[test]
fn each_attack_on_the_evidence_is_found_by_the_check_that_the_manual_names() {
    let (root, person, sealing) = attacked();
    let before = said(&root, &person, &sealing);
    let nothing = before[..4].iter().all(|status| ["0", "5"].contains(&status.as_str())) && before[4].is_empty();
    assert!(nothing, "nothing is wrong before the attacks: {before:?}");
    let mut table = String::from(
        "| attack | `audit verify` | `--anchor` with a log elsewhere | `--sealing-key` | `--witness` | the next run |\n|---|---|---|---|---|---|\n",
    );
    let mut tried = 0;
    for (name, tool) in RECORDS.iter().chain(&SIGNATURES).chain(&TABLES).chain(&FILES).chain(&KEYS) {
        let covers: &[bool] = if matches!(tool, Sql(_)) { &[false, true] } else { &[false] };
        for is_covered in covers {
            restore(&root);
            match tool {
                Sql(text) => {
                    let changed = crate::tampering::sql(&root, &format!("{text}; SELECT total_changes();"));
                    assert_ne!(changed, "0", "{name}");
                }
                Shell(text) => drop(root.script(&format!("PERSON={}; cd {STATE}\n{text}", person.name))),
            }
            if *is_covered {
                cover(&root);
            }
            let signed = if *is_covered { ", and all is signed again" } else { "" };
            let cells = found(&said(&root, &person, &sealing), &before).join(" | ");
            writeln!(table, "| {name}{signed} | {cells} |").unwrap();
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried}");
    let page = harness::project().join(PAGE);
    let text = std::fs::read_to_string(&page).unwrap();
    let (head, rest) = text.split_once("<!-- attacks -->\n").unwrap();
    let (stated, tail) = rest.split_once("<!-- end -->\n").unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, format!("{head}<!-- attacks -->\n{table}<!-- end -->\n{tail}")).unwrap();
    } else {
        assert_eq!(stated, table, "docs/tampering.md; UPDATE=1 writes it");
    }
}
