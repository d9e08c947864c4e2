//! A damaged database: what can be read is saved, a backup takes its place, and the daily sweep reports the damage.

use std::os::unix::fs::FileExt;

use harness::{Output, PrivateRoot};
use serde_json::Value;

use crate::{both_say_intact, granted, own_root, request, root};

const STATE: &str = "/var/lib/jit-sudo";
const FILE: &str = "/root/backup.db";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

fn jitctl(root: &PrivateRoot, words: &[&str]) -> Output {
    root.as_root([&["jitctl"][..], words].concat())
}

fn last(root: &PrivateRoot) -> i64 {
    root.journal().last().unwrap().number("seq")
}

/// Overwrites with zeros the page of the table of records that contains this record.
fn zero_page_of(root: &PrivateRoot, seq: i64) {
    root.script(&format!("sqlite3 {STATE}/journal.db 'PRAGMA wal_checkpoint(TRUNCATE)' && rm -f {STATE}/journal.db-*"));
    let path = root.path(&format!("{STATE}/journal.db"));
    let bytes = std::fs::read(&path).unwrap();
    let size = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    // The record's own page has its first bytes; a long record goes on elsewhere.
    let start = format!("\"prev\":\"{}\"", root.journal()[usize::try_from(seq).unwrap() - 1].text("prev"));
    let at = bytes.windows(start.len()).position(|window| window == start.as_bytes()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0; size], (at / size * size) as u64).unwrap();
}

/// Returns a root with some runs, their user, and a backup of it.
fn with_backup() -> (PrivateRoot, harness::Person) {
    let root = own_root();
    let person = granted(&root, "self-service");
    for _ in 0..10 {
        root.run_as(&person.name, RUN).succeeded();
    }
    jitctl(&root, &["backup", FILE]).succeeded();
    (root, person)
}

#[test]
fn a_backup_is_consistent_while_runs_go_on_and_names_its_head() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    let script = format!(
        "for i in $(seq 30); do su {} -c 'jit-sudo -n true'; done & \
         for i in 1 2 3 4 5; do jitctl backup {FILE}.$i || exit 1; done; wait",
        person.name
    );
    root.script(&script);
    let records = root.journal();
    for number in 1..=5 {
        let file = format!("{FILE}.{number}");
        assert_eq!(root.script(&format!("stat -c '%a %U' {file}")).trim(), "600 root");
        assert_eq!(root.script(&format!("sqlite3 {file} 'PRAGMA integrity_check'")).trim(), "ok");
        let named = root.script(&format!("sqlite3 {file} \"SELECT value FROM journal_meta WHERE name = 'backup'\""));
        let head = root.script(&format!(
            "sqlite3 {file} \"SELECT printf('%020d ', seq) || lower(hex(hash)) FROM record ORDER BY seq DESC LIMIT 1\""
        ));
        assert_eq!(named.trim(), head.trim());
        let told = records.iter().find(|record| record.kind() == "backup" && record.text("file") == file);
        let told = told.unwrap_or_else(|| panic!("no record of {file}"));
        assert_eq!(format!("{:020} {}", told.number("through"), told.text("head")), head.trim());
    }
    both_say_intact(&root);
}

#[test]
fn a_backup_overwrites_nothing_and_lies_where_only_root_writes() {
    let root = own_root();
    let person = root.person(&["self-service"]);
    root.run_as(&person.name, ["jitctl", "backup", "/tmp/mine"]).refused("only root may make a backup");
    root.run_as(&person.name, ["jitctl", "restore", "/tmp/mine"]).refused("only root may restore a backup");
    root.script(&format!("echo mine >{FILE}"));
    jitctl(&root, &["backup", FILE]).refused("exists");
    assert_eq!(root.read(FILE), "mine\n");
    jitctl(&root, &["backup", "/tmp/backup.db"]).refused("/tmp is writable by everybody");
    root.script("ln -s /root/elsewhere /root/link");
    jitctl(&root, &["backup", "/root/link"]).refused("exists");
    jitctl(&root, &["backup", "/root/none/backup.db"]).refused("does not exist");
    root.script("test ! -e /root/elsewhere && test ! -e /tmp/backup.db");
}

#[test]
fn a_zeroed_page_costs_only_its_records_and_a_backup_takes_the_place_of_the_database() {
    let (root, person) = with_backup();
    let through = last(&root) - 1;
    root.run_as(&person.name, RUN).succeeded();
    let (before, records) = (last(&root), root.journal());
    zero_page_of(&root, 9);
    jitctl(&root, &["audit", "export", "--output", "/root/whole"]).exited(1);
    let doctor = jitctl(&root, &["doctor"]);
    assert!(doctor.stdout.contains("jitctl audit export --salvage"), "{doctor:?}");

    // What can be read.
    let saved = jitctl(&root, &["--json", "audit", "export", "--salvage", "--output", "/root/saved"]);
    saved.exited(1);
    let export = &saved.json()["export"];
    let gaps: Vec<(i64, i64)> = export["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| (gap["first"].as_i64().unwrap(), gap["last"].as_i64().unwrap()))
        .collect();
    assert!(gaps.iter().any(|(first, last)| (*first..=*last).contains(&9)), "{saved:?}");
    let missing: i64 = gaps.iter().map(|(first, last)| last - first + 1).sum();
    assert!((1..6).contains(&missing), "{saved:?}");
    assert_eq!(export["records"].as_i64().unwrap() + missing, before, "{saved:?}");
    assert!(saved.stderr.contains("cannot be read"), "{saved:?}");
    let lines = root.read("/root/saved");
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if let Some(seq) = value["prev"].is_string().then(|| value["seq"].as_i64().unwrap()) {
            assert_eq!(line, records[usize::try_from(seq).unwrap() - 1].body, "record {seq}");
        }
    }
    assert_eq!(lines.lines().filter(|line| line.starts_with("{\"gap\":")).count(), gaps.len());
    let verified = jitctl(&root, &["audit", "verify", "/root/saved"]);
    verified.exited(1);
    assert!(format!("{}{}", verified.stdout, verified.stderr).contains("salvaged without records"), "{verified:?}");

    // The way back.
    let restored = jitctl(&root, &["--json", "restore", FILE]);
    restored.succeeded();
    let restored = &restored.json()["restored"];
    assert_eq!(restored["through"].as_i64(), Some(through), "{restored}");
    let former = restored["former"].as_str().unwrap();
    root.script(&format!("test -s {former}"));
    root.run_as(&person.name, RUN).refused("no grant is given or accepted");
    assert!(root.journal().iter().any(|record| record.kind() == "alert" && record.text("code") == "database-older"));
    jitctl(&root, &["key", "accept", "--reason", "restored after a bad disk"]).succeeded();
    both_say_intact(&root);
    request(&root, &person, "self-service", &["--for", "1h"]);
    root.run_as(&person.name, RUN).succeeded();
    both_say_intact(&root);
    jitctl(&root, &["backup", "/root/next.db"]).succeeded();
}

#[test]
fn a_backup_is_restored_where_the_database_is_missing_or_no_database() {
    let (root, person) = with_backup();
    for damage in ["rm -f journal.db*", "head -c 100000 /dev/zero >journal.db", ": >journal.db; echo x >journal.db-wal"]
    {
        root.script(&format!("cd {STATE} && {damage}"));
        root.run_as(&person.name, RUN).exited(1);
        jitctl(&root, &["restore", FILE]).succeeded();
        root.run_as(&person.name, RUN).refused("no grant is given or accepted");
        jitctl(&root, &["key", "accept", "--reason", "restored"]).succeeded();
        both_say_intact(&root);
    }
}

#[test]
fn a_restored_database_is_distrusted_even_if_its_anchor_was_lost() {
    let (root, person) = with_backup();
    for anchor in [
        "rm anchor",
        "printf '%020d %s\\n' 1 $(sqlite3 journal.db 'SELECT lower(hex(hash)) FROM record WHERE seq = 1') >anchor",
    ] {
        root.script(&format!("cd {STATE} && {anchor}"));
        jitctl(&root, &["restore", FILE]).succeeded();
        root.run_as(&person.name, RUN).refused("no grant is given or accepted");
    }
}

#[test]
fn only_an_unchanged_backup_of_this_host_and_key_is_restored() {
    let (root, person) = with_backup();
    let spoiled = |name: &str, how: &str| {
        let file = format!("/root/{name}");
        root.script(&format!("install -m 600 {FILE} {file} && {}", how.replace("$FILE", &file)));
        let refused = jitctl(&root, &["restore", &file]);
        assert_eq!(refused.status.code(), Some(1), "{name}: {refused:?}");
        refused.stderr
    };
    let sql = |statement: &str| format!("sqlite3 $FILE \"{statement}\"");
    for (name, how, why) in [
        ("open", "chmod 644 $FILE".to_owned(), "is open to others"),
        ("users", format!("chown {} $FILE", person.name), "is owned by uid"),
        ("table", sql("CREATE TABLE more (x)"), "holds an unknown or altered table 'more'"),
        ("trigger", sql("CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record; END"), "trigger 't'"),
        (
            "chain",
            sql("UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'self', 'else') AS BLOB) WHERE seq = 3"),
            "is not intact",
        ),
        ("cut", sql("DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)"), "is not the head that it names"),
        ("row", sql("UPDATE granted SET expires = expires + 1"), "is not intact"),
        ("none", sql("DELETE FROM journal_meta WHERE name = 'backup'"), "it is no backup"),
        ("page", "dd if=/dev/zero of=$FILE bs=2048 seek=6 count=1 conv=notrunc 2>/dev/null".to_owned(), ""),
        ("empty", ": >$FILE".to_owned(), ""),
    ] {
        let said = spoiled(name, &how);
        assert!(said.contains(why), "{name}: {said}");
    }
    root.run_as(&person.name, RUN).succeeded();
    root.script(&format!("! ls {STATE} | grep -e restoring -e former"));
    // Another key, another machine.
    root.script(&format!("cp -a {STATE}/host_key {STATE}/host_key.pub /root; rm {STATE}/host_key*; jitctl key init"));
    jitctl(&root, &["restore", FILE]).refused("of another host, or of this host under another key");
    root.script(&format!("cp -a /root/host_key /root/host_key.pub {STATE}"));
    jitctl(&root, &["restore", FILE]).succeeded();
}

#[test]
fn the_sweep_verifies_the_journal_and_alerts() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    jitctl(&root, &["sweep"]).succeeded();
    assert!(root.journal().iter().all(|record| record.kind() != "alert"));
    root.script(&format!("sqlite3 {STATE}/journal.db \"UPDATE granted SET expires = expires + 1\""));
    let swept = jitctl(&root, &["sweep"]);
    swept.exited(1);
    assert!(swept.stderr.contains("the journal is not intact"), "{swept:?}");
    let alerts: Vec<_> = root.journal().into_iter().filter(|record| record.kind() == "alert").collect();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].text("code"), "journal-not-intact");
    assert!(root.syslog().iter().any(|line| line.json["record"]["code"] == "journal-not-intact"));
}

#[test]
fn a_sweep_that_cannot_read_the_journal_alerts_too() {
    let (root, _) = with_backup();
    zero_page_of(&root, 9);
    jitctl(&root, &["sweep"]).exited(1);
    assert!(root.auth_log().iter().any(|line| line.contains("sweep failed")), "{:?}", root.auth_log());
}

#[test]
fn the_salvage_of_a_sound_journal_is_its_export() {
    let said = |words: &[&str]| jitctl(root(), &[&["audit", "export"][..], words].concat()).succeeded().to_owned();
    let exported = said(&[]);
    let saved = said(&["--salvage"]);
    let records = exported.lines().filter(|line| !line.starts_with("{\"checkpoint\""));
    let saved: Vec<&str> = saved.lines().collect();
    for line in records {
        assert!(saved.contains(&line), "{line}");
    }
    assert!(saved.iter().any(|line| line.starts_with("{\"checkpoint\"")));
    let user = root().person(&["self-service"]);
    root().run_as(&user.name, ["jitctl", "audit", "export", "--salvage"]).refused("only root may");
}
