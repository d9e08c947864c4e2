//! Root rebuilds an index without a row and puts its text back: the row is there, and a search by that index does not find it. Nothing
//! that says "there is none" depends on it, and both verifications name the index.

use harness::{Person, PrivateRoot};

use crate::tampering::sql;
use crate::{both_say_intact, granted, id, own_root, request};

const DATABASE: &str = "/var/lib/jit-sudo/journal.db";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];
const RECORDS: &str = "'record_by_kind', 'record_by_grant'";

/// Rebuilds these indexes without the rows for which the condition is false.
fn partial(root: &PrivateRoot, condition: &str, indexes: &str) {
    let script = format!(
        r#"
import sqlite3
def connect():
    return sqlite3.connect("{DATABASE}", isolation_level=None)
db = connect()
version = db.execute("PRAGMA schema_version").fetchone()[0]
old = {{name: db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0] for name in ({indexes},)}}
def write(texts, version):
    db.execute("PRAGMA writable_schema = ON")
    for name, text in texts.items():
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (text, name))
    db.execute(f"PRAGMA schema_version = {{version}}")
write({{name: text + " AND {condition}" for name, text in old.items()}}, version + 1)
db.close(); db = connect()
for name in old:
    db.execute(f"REINDEX {{name}}")
write(old, version + 2)
db.close()
"#
    );
    root.write("/root/partial.py", 0o600, &script);
    root.script("python3 /root/partial.py");
}

fn rebuild(root: &PrivateRoot) {
    sql(root, "REINDEX");
}

/// Checks that both verifications name the index.
fn both_name(root: &PrivateRoot, index: &str) {
    let said = root.as_root(["jitctl", "audit", "verify"]);
    said.refused(&format!("missing from index {index}"));
    root.script(&format!(
        "rm -f /root/copy.db*; sqlite3 {DATABASE} 'PRAGMA wal_checkpoint(TRUNCATE)'; cp {DATABASE} /root/copy.db"
    ));
    let check = "python3 /run/private-root/project/tests/check_journal.py /root/copy.db \
                 \"$(head -n 1 /var/lib/jit-sudo/host_key.pub)\" || true";
    let other = root.script(check);
    assert!(other.contains("the database is damaged: ") && other.contains(index), "{other}");
}

fn runs(root: &PrivateRoot, person: &Person) {
    root.run_as(&person.name, RUN).succeeded();
}

#[test]
fn a_grant_that_an_index_lacks_is_listed_and_revoked() {
    let root = own_root();
    let person = granted(&root, "self-service");
    let grant = sql(&root, "SELECT id FROM granted");
    partial(&root, &format!("id IS NOT '{grant}'"), "'granted_by_end'");
    runs(&root, &person);
    both_name(&root, "granted_by_end");
    assert!(root.as_root(["jitctl", "grants"]).succeeded().contains(&grant));
    root.as_root(["jitctl", "revoke", "--user", &person.name, "--reason", "over"]).succeeded();
    let alert = |record: &harness::Record| record.kind() == "alert" && record.text("code") == "index-damaged";
    assert!(root.journal().iter().any(alert));
    root.run_as(&person.name, RUN).refused("");
    both_say_intact(&root);
}

#[test]
fn a_grant_without_rows_that_the_indexes_lack_is_revoked() {
    for target in ["--all", "--user"] {
        let root = own_root();
        let person = granted(&root, "self-service");
        let grant = sql(&root, "SELECT id FROM granted");
        let rows: Vec<String> = ["request", "granted"]
            .map(|table| sql(&root, &format!(".mode insert {table}\nSELECT * FROM {table};")))
            .into();
        sql(&root, "DELETE FROM request; DELETE FROM granted");
        partial(&root, &format!("grant_id IS NOT '{grant}'"), RECORDS);
        let words = match target {
            "--all" => vec!["jitctl", "revoke", "--all", "--reason", "over"],
            _ => vec!["jitctl", "revoke", "--user", &person.name, "--reason", "over"],
        };
        root.as_root(words).refused("");
        rebuild(&root);
        rows.iter().for_each(|row| drop(sql(&root, row)));
        root.run_as(&person.name, RUN).refused("");
        // The row says nothing of the end, which the records have.
        root.as_root(["jitctl", "audit", "verify"]).refused(&grant);
    }
}

/// The rows of an open grant are gone, and no index leads to its records: an acceptance ends it all the same.
#[test]
fn an_acceptance_ends_a_grant_without_rows_that_the_indexes_lack() {
    let root = own_root();
    let person = granted(&root, "self-service");
    let grant = sql(&root, "SELECT id FROM granted");
    sql(&root, "DELETE FROM request; DELETE FROM granted");
    partial(&root, &format!("grant_id IS NOT '{grant}'"), RECORDS);
    let said = root.as_root(["jitctl", "key", "accept", "--reason", "as it is"]);
    assert!(said.succeeded().contains(&format!("grant {grant}: revoked")), "{said:?}");
    let alert = |record: &harness::Record| record.kind() == "alert" && record.text("code") == "index-damaged";
    assert!(root.journal().iter().any(alert));
    assert_eq!(sql(&root, "PRAGMA integrity_check"), "ok");
    root.run_as(&person.name, RUN).refused("");
}

#[test]
fn a_denial_and_an_approval_that_the_indexes_lack_hold() {
    let root = own_root();
    let person = root.person(&["quorum"]);
    let [bob, carol, dave] = [(); 3].map(|()| root.person(&["approvers"]));
    let approve = |who: &Person, id: &str| root.run_as(&who.name, ["jitctl", "approve", id]);
    let denied = id(&request(&root, &person, "quorum", &[]));
    root.run_as(&bob.name, ["jitctl", "deny", &denied, "--reason", "no"]).succeeded();
    partial(&root, "kind IS NOT 'denial'", RECORDS);
    let set = "state = 'pending', ended_by = NULL, ended_at = NULL, ended_reason = NULL";
    sql(&root, &format!("UPDATE request SET {set} WHERE id = '{denied}'"));
    for approver in [&carol, &dave] {
        approve(approver, &denied).refused("of the journal is missing or was changed");
    }
    rebuild(&root);
    let narrow = id(&request(&root, &person, "quorum", &["--", "/usr/bin/id", "-u"]));
    root.run_as(&bob.name, ["jitctl", "approve", &narrow, "--exact", "--one-shot"]).succeeded();
    partial(&root, "kind IS NOT 'approval'", RECORDS);
    sql(&root, "DELETE FROM approval");
    for approver in [&carol, &dave] {
        approve(approver, &narrow).refused("of the journal is missing or was changed");
    }
    root.run_as(&person.name, RUN).refused("");
}
