//! Root changes the database temporarily and restores it: acts of that time are in the journal, and a verification reports that
//! they were not allowed by the policy.

use std::time::Duration;

use harness::{Person, PrivateRoot};
use jit_core::clock::{BootTime, Moment, Timestamp};
use jit_core::evidence::record::{Alert, Event};
use jit_core::grant::HostKey;
use jit_core::grant::sshsig::Namespace;
use jit_core::policy::{Role, RolePower, StoredRole, role_digest, row_digest, stamp_seal};
use jit_sudo::audit::{CutOff, JournalError};
use jit_sudo::database::Durability;
use serde_json::Value;

use crate::offline::{id_of, in_journal, now};
use crate::signed::{jitctl, list, signed_root, signer};
use crate::{both_say_intact, id, own_root, request};

const DATABASE: &str = "/var/lib/jit-sudo/journal.db";

const POLICY: &str = r#"
[roles.look]
standing     = ["%lookers"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.head]
eligible     = ["%lookers"]
commands     = ["/usr/bin/head **"]
authenticate = false

[roles.head.activation]
require_approval = true
approvers        = ["%approvers"]
"#;

pub(crate) fn sql(root: &PrivateRoot, text: &str) -> String {
    root.write("/root/statement.sql", 0o600, text);
    root.script(&format!("sqlite3 {DATABASE} </root/statement.sql")).trim().to_owned()
}

fn bytes(root: &PrivateRoot, column: &str, role: &str) -> Vec<u8> {
    let text = sql(root, &format!("SELECT hex({column}) FROM policy_role WHERE name = '{role}'"));
    let digits: Vec<char> = text.chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which digests of a row are adapted to its new bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Care {
    /// Its own digest, without which the row is not accepted.
    Row,
    /// Every digest in the row.
    Everything,
}

/// The former contents of a row, to be restored.
struct Row {
    role: &'static str,
    columns: [Vec<u8>; 3],
}

/// Changes the row of a compiled role as root could.
fn forge(root: &PrivateRoot, role: &'static str, (old, new): (&str, &str), care: Care) -> Row {
    let before = Row { role, columns: ["body", "sha256", "digest"].map(|column| bytes(root, column, role)) };
    let body = String::from_utf8(before.columns[0].clone()).unwrap();
    assert!(body.contains(old), "{body}");
    let mut body = body.replace(old, new);
    if care == Care::Everything {
        let changed: Role = serde_json::from_str(&body).unwrap();
        let power = role_digest(&RolePower::of(&changed).encode().unwrap());
        body = body.replace(&changed.digest, &power);
    }
    let digest = match care {
        Care::Everything => StoredRole::of(role, body.as_bytes()).unwrap().digest.to_vec(),
        Care::Row => before.columns[2].clone(),
    };
    put(root, &Row { role, columns: [body.clone().into_bytes(), row_digest(role, body.as_bytes()).to_vec(), digest] });
    before
}

fn put(root: &PrivateRoot, row: &Row) {
    let [body, sha256, digest] = &row.columns;
    let set = format!("body = x'{}', sha256 = x'{}', digest = x'{}'", hex(body), hex(sha256), hex(digest));
    sql(root, &format!("UPDATE policy_role SET {set} WHERE name = '{}';", row.role));
}

/// Returns the message of the verification, and checks that of the checker that was written from the documents.
pub(crate) fn verdict(root: &PrivateRoot) -> String {
    let said = root.as_root(["jitctl", "audit", "verify"]).refused("").to_owned();
    root.script("sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/copy.db\"");
    let check = "python3 /run/private-root/project/tests/check_journal.py /root/copy.db \"$(head -n 1 /var/lib/jit-sudo/host_key.pub)\" || true";
    let theirs = root.script(check);
    assert_ne!(theirs.trim(), "intact", "{said}");
    said
}

fn intact(root: &PrivateRoot) {
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

const OTHER_DIGEST: &str = "with another digest than that policy's record";

#[test]
fn a_run_by_a_temporarily_changed_role_is_reported() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let person = root.person(&["lookers"]);
    let head = || root.run_as(&person.name, ["jit-sudo", "-n", "head", "-c", "5", "/etc/shadow"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    intact(&root);
    let wider = ("/usr/bin/id", "/usr/bin/head");
    // Whatever digests the row holds, the record has the digest of the bytes that decided.
    for care in [Care::Row, Care::Everything] {
        let before = forge(&root, "look", wider, care);
        assert!(head().succeeded().starts_with("root:"));
        put(&root, &before);
        let said = verdict(&root);
        assert!(said.contains("names role look of policy") && said.contains(OTHER_DIGEST), "{said}");
    }
}

#[test]
fn users_temporarily_added_to_a_role_are_reported() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let (person, other) = (root.person(&["lookers"]), root.person(&[]));
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    intact(&root);
    let before = forge(&root, "look", ("\"%lookers\"", &format!("\"{}\"", other.name)), Care::Row);
    sql(&root, &format!("INSERT INTO policy_principal VALUES ('{}', 'standing', 'look');", other.name));
    root.run_as(&other.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    sql(&root, &format!("DELETE FROM policy_principal WHERE principal = '{}';", other.name));
    put(&root, &before);
    let said = verdict(&root);
    assert!(said.contains("names role look of policy") && said.contains(OTHER_DIGEST), "{said}");
}

#[test]
fn a_temporarily_waived_approval_is_reported() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let person = root.person(&["lookers"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    let none = ("\"require_approval\":true", "\"require_approval\":false");
    let before = forge(&root, "head", none, Care::Everything);
    let grant = request(&root, &person, "head", &[]);
    assert_eq!(grant["grant"], "active", "{grant}");
    put(&root, &before);
    let said = verdict(&root);
    assert!(said.contains("names role head of policy") && said.contains(OTHER_DIGEST), "{said}");
}

#[test]
fn a_temporary_approver_is_reported() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let (person, stranger) = (root.person(&["lookers"]), root.person(&[]));
    let wanted = id(&request(&root, &person, "head", &[]));
    let before = forge(&root, "head", ("[\"%approvers\"]", &format!("[\"{}\"]", stranger.name)), Care::Everything);
    root.run_as(&stranger.name, ["jitctl", "approve", &wanted]).succeeded();
    put(&root, &before);
    let said = verdict(&root);
    assert!(said.contains("names role head of policy") && said.contains(OTHER_DIGEST), "{said}");
}

#[test]
fn a_former_policy_cannot_be_restored_in_the_tables() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let person = root.person(&["lookers"]);
    let head = || root.run_as(&person.name, ["jit-sudo", "-n", "head", "-c", "5", "/etc/shadow"]);
    let wide = "[roles.wide]\nstanding = [\"%lookers\"]\ncommands = [\"/usr/bin/head **\"]\nauthenticate = false\n";
    root.add_policy("wide", wide);
    head().succeeded();
    let tables = ["policy_settings", "policy_role", "policy_principal"];
    let dump: String = tables.iter().map(|table| format!(".mode insert {table}\nSELECT * FROM {table};\n")).collect();
    let old = sql(&root, &dump);
    root.add_policy("wide", "# nothing\n");
    head().refused("not allowed");
    intact(&root);
    root.script("cp -a /var/lib/jit-sudo /root/good");
    let (stamp, now) = (sql(&root, "SELECT quote(stamp) FROM policy_settings"), sql(&root, &dump));
    let delete: String = tables.iter().map(|table| format!("DELETE FROM {table};\n")).collect();

    // The old tables with the stamp of the new files: the seal is for another policy, so the policy is compiled again.
    sql(&root, &format!("{delete}{old}\nUPDATE policy_settings SET stamp = {stamp};"));
    head().refused("not allowed");
    let said = verdict(&root);
    assert!(said.contains("says that role wide was removed, which contradicts the earlier policy records"), "{said}");
    root.script("settle; rm -r /var/lib/jit-sudo; cp -a /root/good /var/lib/jit-sudo");
    // With a seal computed by root the old policy is used, until a verification.
    sql(&root, &format!("{delete}{old}\nUPDATE policy_settings SET stamp = {stamp};"));
    sql(&root, &format!("UPDATE policy_settings SET seal = x'{}';", hex(&seal(&root))));
    assert!(head().succeeded().starts_with("root:"));
    let said = root.as_root(["jitctl", "audit", "verify"]).refused("").to_owned();
    assert!(said.contains("was in force"), "{said}");
    let doctor = root.as_root(["jitctl", "doctor"]);
    assert!(
        doctor.stdout.contains("compiled policy: /etc/jit-sudo/policy.d/wide.toml differs from the file"),
        "{doctor:?}"
    );
    sql(&root, &format!("{delete}{now}"));
    let said = verdict(&root);
    assert!(said.contains("was in force"), "what was done meanwhile stays: {said}");
}

#[test]
fn tables_compiled_from_other_files_are_reported_before_a_run() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    root.as_root(["jitctl", "audit", "verify"]).intact();
    root.write("/etc/jit-sudo/policy.d/tampering.toml", 0o640, POLICY.replace("head", "tail"));
    // Nothing was compiled yet, and nothing is wrong.
    intact(&root);
    sql(&root, &format!("UPDATE policy_settings SET stamp = '{}';", stamp_of_the_files(&root)));
    let said = root.as_root(["jitctl", "audit", "verify"]).refused("").to_owned();
    assert!(said.contains("(table policy_settings): its seal is not by the journal's key"), "{said}");
    sql(&root, &format!("UPDATE policy_settings SET seal = x'{}';", hex(&seal(&root))));
    let said = root.as_root(["jitctl", "audit", "verify"]).refused("").to_owned();
    let named = "the policy file /etc/jit-sudo/policy.d/tampering.toml (table policy_settings): the file itself has another digest";
    assert!(said.contains(named), "{said}");
    // A file that cannot be read agrees with nothing.
    root.script(r"printf '# \377' >/etc/jit-sudo/policy.d/tampering.toml");
    sql(&root, &format!("UPDATE policy_settings SET stamp = '{}';", stamp_of_the_files(&root)));
    sql(&root, &format!("UPDATE policy_settings SET seal = x'{}';", hex(&seal(&root))));
    root.as_root(["jitctl", "audit", "verify"]).refused("/etc/jit-sudo/policy.d/tampering.toml");
}

/// Returns the stamp as the program writes it: one line for each file.
fn stamp_of_the_files(root: &PrivateRoot) -> String {
    let script = "cd /etc/jit-sudo && python3 - policy.toml policy.d/*.toml $(ls approvers 2>/dev/null || true) <<'END'
import os, sys
for name in sys.argv[1:]:
    s = os.stat(name)
    print('/etc/jit-sudo/' + name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, sep='\\t')
END";
    root.script(script)
}

/// Returns the seal that root can compute with the journal's key.
fn seal(root: &PrivateRoot) -> Vec<u8> {
    let text = |query: &str| sql(root, query);
    let unhex = |text: String| -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let key = unhex(text("SELECT hex(value) FROM journal_meta WHERE name = 'redaction_key'"));
    let policy = unhex(text("SELECT hex(policy) FROM policy_settings"));
    let settings = unhex(text("SELECT hex(sha256) FROM policy_settings"));
    let stamp = String::from_utf8(unhex(text("SELECT hex(stamp) FROM policy_settings"))).unwrap();
    let format = text("SELECT format FROM policy_settings");
    stamp_seal(&key, &policy.try_into().unwrap(), &settings, &format, &stamp).to_vec()
}

#[test]
fn a_journal_of_another_host_is_reported_and_not_signed() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let (person, approver) = (root.person(&["lookers"]), root.person(&["approvers"]));
    let used = |root: &PrivateRoot| {
        let wanted = id(&request(root, &person, "head", &[]));
        root.run_as(&approver.name, ["jitctl", "approve", &wanted]).succeeded();
        root.run_as(&person.name, ["jit-sudo", "-n", "head", "-c", "4", "/etc/shadow"]).succeeded();
        root.script("rm -f /root/out; jitctl audit export --output /root/out");
        intact(root);
    };
    used(&root);
    let state = "/var/lib/jit-sudo";
    root.script(&format!("cp -a {state} /root/theirs; rm -r {state}/*; jitctl key init"));
    used(&root);
    let host = sql(&root, "SELECT hex(value) FROM journal_meta WHERE name = 'host'");
    root.script(&format!("cp -a {state} /root/ours; for f in journal.db journal.db-wal journal.db-shm anchor; do rm -f {state}/$f; cp -a /root/theirs/$f {state}/ 2>/dev/null || true; done"));
    sql(&root, &format!("DELETE FROM checkpoint; UPDATE journal_meta SET value = x'{host}' WHERE name = 'host';"));
    let said = verdict(&root);
    assert!(said.contains("record 1 was signed with another key than this host's"), "{said}");
    // The next run does not make it a journal of this host.
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    root.script("rm -f /root/out; jitctl audit export --output /root/out || true");
    assert_eq!(sql(&root, "SELECT count(*) FROM checkpoint"), "0");
    let alert = "SELECT count(*) FROM record WHERE kind = 'alert' AND CAST(body AS TEXT) LIKE '%journal-not-signed%'";
    assert_eq!(sql(&root, alert), "1", "once");
    let said = verdict(&root);
    assert!(said.contains("record 1 was signed with another key than this host's"), "{said}");
    // A journal that root accepts is signed, and the acceptance is recorded.
    root.as_root(["jitctl", "key", "accept", "--reason", "moved"]).succeeded();
    intact(&root);
    root.script(&format!("rm -r {state}; cp -a /root/ours {state}"));
    intact(&root);
}

#[test]
fn a_row_without_a_run_causes_no_end_record() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let person = root.person(&["lookers"]);
    let run = || root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded().to_owned();
    run();
    let first = sql(&root, "SELECT seq, run, uid FROM record WHERE kind = 'start' LIMIT 1");
    let over: Vec<&str> = first.split('|').collect();
    let rows = [
        "(999999, '7f7ec8zr1wa4', 1003, NULL, 1, 1, 'x', NULL, 0)".to_owned(),
        format!("({}, '{}', {}, NULL, 1, 1, 'x', NULL, 0)", over[0], over[1], over[2]),
    ];
    for row in rows {
        sql(&root, &format!("INSERT INTO open_run VALUES {row};"));
        let said = verdict(&root);
        assert!(said.contains("(table open_run): it has ended, or no record says that it started"), "{said}");
        run();
        intact(&root);
        let lost = "SELECT count(*) FROM record WHERE kind = 'end' AND CAST(body AS TEXT) LIKE '%\"lost\"%'";
        assert_eq!(sql(&root, lost), "0");
    }
    let told = "SELECT count(*) FROM record WHERE kind = 'alert' AND CAST(body AS TEXT) LIKE '%unknown-run%'";
    assert_eq!(sql(&root, told), "2");
}

const WORK: &str = r#"
[roles.ops]
eligible     = ["%workers"]
commands     = ["/usr/bin/id **", "/usr/bin/head **", "/usr/bin/sleep **"]
authenticate = false

[roles.ops.activation]
require_approval        = true
approvers               = ["%approvers"]
approval_authentication = false
request_lifetime        = "3s"

[roles.free]
eligible     = ["%workers"]
commands     = ["/usr/bin/id **", "/usr/bin/head **", "/usr/bin/sleep **"]
authenticate = false

[roles.look]
standing     = ["%lookers"]
commands     = ["/usr/bin/id **"]
authenticate = false
"#;

const HEAD: [&str; 6] = ["jit-sudo", "-n", "head", "-c", "5", "/etc/shadow"];

/// Creates two users who may work, and one who approves.
pub(crate) fn workers(root: &PrivateRoot) -> (Person, Person, Person) {
    root.add_policy("tampering", WORK);
    (root.person(&["workers"]), root.person(&["workers"]), root.person(&["approvers"]))
}

pub(crate) fn granted(root: &PrivateRoot, person: &Person, approver: &Person, role: &str, more: &[&str]) -> String {
    let id = id(&request(root, person, role, more));
    if role == "ops" {
        root.run_as(&approver.name, ["jitctl", "approve", &id]).succeeded();
    }
    id
}

/// Replaces the bytes in the row of a grant, and signs them with the host's key as root can; returns the former row.
fn resign(root: &PrivateRoot, id: &str, changes: &[(&str, Value)]) -> String {
    let row = sql(root, &format!(".mode insert granted\nSELECT rowid, * FROM granted WHERE id = '{id}';"));
    let row = row.replacen("INSERT INTO granted", "INSERT OR REPLACE INTO granted(rowid, id, uid, role, starts, expires, body, signature, ended, ended_by, ended_at, ended_reason, used_by)", 1);
    let body = sql(root, &format!("SELECT CAST(body AS TEXT) FROM granted WHERE id = '{id}'"));
    let mut terms: Value = serde_json::from_str(&body).unwrap();
    let mut columns = String::new();
    for (key, value) in changes {
        terms[*key] = value.clone();
        if ["uid", "role", "starts", "expires"].contains(key) {
            columns += &format!(", {key} = {}", value.to_string().replace('"', "'"));
        }
    }
    let body = terms.to_string();
    let key = HostKey::from_openssh(&root.read("/var/lib/jit-sudo/host_key")).unwrap();
    let signature = key.sign(Namespace::Grant, body.as_bytes());
    let set = format!("body = x'{}', signature = x'{}'{columns}", hex(body.as_bytes()), hex(&signature));
    sql(root, &format!("UPDATE granted SET {set} WHERE id = '{id}';"));
    row
}

#[test]
fn a_run_under_a_temporarily_changed_grant_is_reported() {
    let root = own_root();
    let (alice, bob, approver) = workers(&root);
    root.script("cp -a /var/lib/jit-sudo /root/before");
    let again = || root.script("settle; rm -r /var/lib/jit-sudo; cp -a /root/before /var/lib/jit-sudo");
    let run = |person: &Person| root.run_as(&person.name, HEAD).succeeded().to_owned();
    let later = i64::MAX / 4;

    let id = granted(&root, &alice, &approver, "free", &["--for", "1s"]);
    std::thread::sleep(Duration::from_millis(2500));
    root.run_as(&alice.name, HEAD).refused("");
    intact(&root);
    let expires: i64 = sql(&root, &format!("SELECT expires FROM granted WHERE id = '{id}'")).parse().unwrap();
    let row = resign(&root, &id, &[("expires", (expires + 900).into()), ("boot_deadline", later.into())]);
    run(&alice);
    sql(&root, &row);
    let said = verdict(&root);
    assert!(
        said.contains(&format!("is the start of a run under grant {id} of record")) && said.contains("it ended at"),
        "{said}"
    );

    again();
    let id = granted(&root, &alice, &approver, "free", &[]);
    let row = resign(&root, &id, &[("uid", bob.uid.into()), ("user", bob.name.as_str().into())]);
    run(&bob);
    sql(&root, &row);
    let said = verdict(&root);
    assert!(said.contains("it was given to another user"), "{said}");

    again();
    granted(&root, &alice, &approver, "ops", &[]);
    root.run_as(&alice.name, ["jitctl", "release"]).succeeded();
    let id = granted(&root, &alice, &approver, "free", &[]);
    let ops = "SELECT json_extract(CAST(body AS TEXT), '$.digest') FROM policy_role WHERE name = 'ops'";
    let row = resign(&root, &id, &[("role", "ops".into()), ("role_digest", sql(&root, ops).into())]);
    run(&alice);
    sql(&root, &row);
    let said = verdict(&root);
    assert!(said.contains("it was given for another role"), "{said}");

    again();
    let id = crate::id(&request(&root, &alice, "ops", &["--", "/usr/bin/id", "-u"]));
    root.run_as(&approver.name, ["jitctl", "approve", &id, "--exact"]).succeeded();
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    intact(&root);
    let row = resign(&root, &id, &[("exact", 0.into())]);
    run(&alice);
    sql(&root, &row);
    let said = verdict(&root);
    assert!(
        said.contains(&format!("grant {id} (table granted): record ")) && said.contains("with another command"),
        "{said}"
    );

    again();
    let id = granted(&root, &alice, &approver, "free", &["--one-shot"]);
    run(&alice);
    intact(&root);
    let row = sql(&root, &format!("SELECT ended_by, ended_at FROM granted WHERE id = '{id}'"));
    let (by, at) = row.split_once('|').unwrap();
    sql(&root, "UPDATE granted SET ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL");
    root.run_as(&alice.name, HEAD).refused("it was ended or used before, as the journal says");
    sql(&root, &format!("UPDATE granted SET ended = 'used', ended_by = '{by}', ended_at = {at}, ended_reason = x''"));
    intact(&root);
}

/// The records say what became of a request, whatever its row says.
#[test]
fn a_request_is_decided_once_whatever_its_row_says() {
    let root = own_root();
    let (alice, _, bob) = workers(&root);
    let carol = root.person(&["approvers"]);
    let pending = |id: &str| {
        let set = "state = 'pending', ended_by = NULL, ended_at = NULL, ended_reason = NULL";
        sql(&root, &format!("UPDATE request SET {set} WHERE id = '{id}'"));
    };
    let deny = |who: &Person, id: &str| root.run_as(&who.name, ["jitctl", "deny", id, "--reason", "stop"]);
    let cancel = |id: &str| root.run_as(&alice.name, ["jitctl", "cancel", id]);
    let keep = || root.script("rm -rf /root/state; cp -a /var/lib/jit-sudo /root/state");
    // Granted: nobody is told that it is denied, and the refusal names the way to end the grant.
    let id = granted(&root, &alice, &bob, "ops", &[]);
    pending(&id);
    let said = deny(&bob, &id);
    said.refused(&format!("request {id} cannot be denied: a grant was issued for it, by the records"));
    assert!(said.stderr.contains(&format!("hint: jitctl revoke {id}")), "{said:?}");
    let said = cancel(&id);
    said.refused(&format!("request {id} cannot be cancelled: a grant was issued for it, by the records"));
    assert!(said.stderr.contains(&format!("hint: jitctl release {id}")), "{said:?}");
    // Nor is it granted twice, also where neither grant nor approval is in the tables.
    keep();
    sql(&root, "DELETE FROM granted; DELETE FROM approval");
    root.run_as(&carol.name, ["jitctl", "approve", &id]).refused("");
    root.run_as(&alice.name, HEAD).refused("");
    root.script("rm -rf /var/lib/jit-sudo; cp -a /root/state /var/lib/jit-sudo");
    sql(&root, &format!("UPDATE request SET state = 'approved' WHERE id = '{id}'"));
    intact(&root);
    root.as_root(["jitctl", "revoke", &id, "--reason", "over"]).succeeded();
    pending(&id);
    deny(&bob, &id).refused("");
    sql(&root, &format!("UPDATE request SET state = 'approved' WHERE id = '{id}'"));
    intact(&root);
    // Denied: no second denial, cancellation or approval.
    let id = crate::id(&request(&root, &alice, "ops", &[]));
    deny(&bob, &id).succeeded();
    let row = sql(&root, &format!("SELECT ended_by, ended_at, hex(ended_reason) FROM request WHERE id = '{id}'"));
    let row: Vec<&str> = row.split('|').collect();
    pending(&id);
    deny(&carol, &id).refused("was decided meanwhile");
    cancel(&id).refused("was decided meanwhile");
    root.run_as(&carol.name, ["jitctl", "approve", &id]).refused("it was denied or cancelled before, by the records");
    let set = format!("state = 'denied', ended_by = '{}', ended_at = {}, ended_reason = x'{}'", row[0], row[1], row[2]);
    sql(&root, &format!("UPDATE request SET {set} WHERE id = '{id}'"));
    intact(&root);
    // Pending: a denial counts, whatever the row says.
    for state in ["denied", "cancelled", "approved"] {
        let id = crate::id(&request(&root, &alice, "ops", &[]));
        sql(&root, &format!("UPDATE request SET state = '{state}' WHERE id = '{id}'"));
        deny(&bob, &id).succeeded();
        intact(&root);
        pending(&id);
        root.run_as(&carol.name, ["jitctl", "approve", &id]).refused("it was denied or cancelled before");
        sql(
            &root,
            &format!(
                "UPDATE request SET state = 'denied', ended_by = '{}', ended_at = (SELECT at / 1000000 FROM record WHERE kind = 'denial' AND grant_id = '{id}'), ended_reason = CAST('stop' AS BLOB) WHERE id = '{id}'",
                bob.name
            ),
        );
        intact(&root);
    }
}

#[test]
fn a_closed_request_is_not_granted_and_a_grant_for_an_expired_one_is_reported() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    let forget = "ended_by = NULL, ended_at = NULL, ended_reason = NULL";
    root.script("cp -a /var/lib/jit-sudo /root/before");
    let again = || root.script("settle; rm -r /var/lib/jit-sudo; cp -a /root/before /var/lib/jit-sudo");
    for (who, words) in [(&approver, ["deny", "--reason", "no"].as_slice()), (&alice, &["cancel"])] {
        again();
        let wanted = id(&request(&root, &alice, "ops", &[]));
        let words = [&["jitctl", words[0], &wanted], &words[1..]].concat();
        root.run_as(&who.name, words).succeeded();
        intact(&root);
        sql(&root, &format!("UPDATE request SET state = 'pending', {forget} WHERE id = '{wanted}'"));
        root.run_as(&approver.name, ["jitctl", "approve", &wanted]).refused("it was denied or cancelled before");
        let closed = "WHERE kind IN ('denial', 'cancellation')";
        sql(&root, &format!("UPDATE record SET grant_id = NULL {closed}"));
        let hidden = root.run_as(&approver.name, ["jitctl", "approve", &wanted]);
        hidden.refused("is missing or was changed, so it may hide what was said about it");
        sql(&root, &format!("UPDATE record SET grant_id = '{wanted}' {closed}"));
        root.run_as(&alice.name, HEAD).refused("");
        assert!(verdict(&root).contains("the database says pending"), "{}", verdict(&root));
    }
    again();
    let wanted = id(&request(&root, &alice, "ops", &[]));
    std::thread::sleep(Duration::from_millis(3500));
    root.run_as(&approver.name, ["jitctl", "approve", &wanted]).refused("");
    intact(&root);
    sql(&root, "UPDATE request SET deadline = deadline + 9000");
    let body = sql(&root, "SELECT hex(body) FROM request");
    sql(&root, "UPDATE request SET body = CAST(json_set(CAST(body AS TEXT), '$.deadline', deadline) AS BLOB)");
    root.run_as(&approver.name, ["jitctl", "approve", &wanted]).succeeded();
    sql(&root, &format!("UPDATE request SET deadline = deadline - 9000, body = x'{body}'"));
    let said = verdict(&root);
    assert!(
        said.contains(&format!("is an approval of {wanted}, but according to record"))
            && said.contains("it had expired by then"),
        "{said}"
    );
}

#[test]
fn runs_by_an_unaccepted_older_database_are_reported() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    let looker = root.person(&["lookers"]);
    let id = granted(&root, &alice, &approver, "free", &[]);
    root.script(
        "sqlite3 /var/lib/jit-sudo/journal.db 'PRAGMA wal_checkpoint(TRUNCATE)'; cp -a /var/lib/jit-sudo /root/old",
    );
    root.as_root(["jitctl", "revoke", &id, "--reason", "enough"]).succeeded();
    root.run_as(&looker.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    root.script("cp /var/lib/jit-sudo/anchor /root/anchor; settle; rm -r /var/lib/jit-sudo; cp -a /root/old /var/lib/jit-sudo; cp /root/anchor /var/lib/jit-sudo/anchor");
    root.run_as(&alice.name, HEAD).refused("older than its anchor");
    root.run_as(&looker.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    intact(&root);
    let kept = sql(&root, "SELECT quote(value) FROM journal_meta WHERE name = 'restored'");
    let head = sql(&root, "SELECT printf('%020d ', seq) || lower(hex(hash)) FROM record ORDER BY seq DESC LIMIT 1");
    root.script(&format!("echo '{head}' >/var/lib/jit-sudo/anchor"));
    sql(&root, "DELETE FROM journal_meta WHERE name = 'restored'");
    root.run_as(&alice.name, HEAD).succeeded();
    sql(&root, &format!("INSERT INTO journal_meta VALUES ('restored', {kept})"));
    let said = verdict(&root);
    assert!(said.contains(&format!("is the start of a run of {id}, but according to record")), "{said}");
    assert!(said.contains("the database was an older copy then"), "{said}");
    root.as_root(["jitctl", "key", "accept", "--reason", "fine"]).succeeded();
    verdict(&root);
}

#[test]
fn a_temporarily_changed_role_is_reported_despite_a_truncated_list() {
    let root = own_root();
    let (person, other) = (root.person(&["lookers"]), root.person(&[]));
    let roles: String = (0..300)
        .map(|n| {
            format!(
                "[roles.r{n:03}]\nstanding = [\"%lookers\"]\ncommands = [\"/usr/bin/id **\"]\nauthenticate = false\n"
            )
        })
        .collect();
    root.add_policy("tampering", &roles);
    root.run_as(&person.name, ["jit-sudo", "-n", "--role", "r299", "id", "-u"]).succeeded();
    root.run_as(&person.name, ["jit-sudo", "-n", "--role", "r298", "id", "-u"]).succeeded();
    intact(&root);
    let before = forge(&root, "r299", ("\"%lookers\"", &format!("\"{}\"", other.name)), Care::Everything);
    sql(&root, &format!("INSERT INTO policy_principal VALUES ('{}', 'standing', 'r299');", other.name));
    root.run_as(&other.name, ["jit-sudo", "-n", "--role", "r299", "id", "-u"]).succeeded();
    sql(&root, &format!("DELETE FROM policy_principal WHERE principal = '{}';", other.name));
    put(&root, &before);
    let said = verdict(&root);
    assert!(said.contains("names role r299 of policy") && said.contains("with another digest than record"), "{said}");
}

#[test]
fn unknown_and_changed_roles_are_reported_after_a_pruning() {
    let root = own_root();
    root.add_policy("tampering", WORK);
    let (person, other) = (root.person(&["lookers"]), root.person(&[]));
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    pruned(&root);
    intact(&root);
    root.script("cp -a /var/lib/jit-sudo /root/before");
    let again = || root.script("settle; rm -r /var/lib/jit-sudo; cp -a /root/before /var/lib/jit-sudo");
    let changed = ("\"%lookers\"", format!("\"{}\"", other.name));
    let standing = format!("INSERT INTO policy_principal VALUES ('{}', 'standing', 'look');", other.name);
    let before = forge(&root, "look", (changed.0, &changed.1), Care::Everything);
    sql(&root, &standing);
    root.run_as(&other.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    sql(&root, &format!("DELETE FROM policy_principal WHERE principal = '{}';", other.name));
    put(&root, &before);
    let said = verdict(&root);
    assert!(said.contains("the compiled role look (table policy_role): record "), "{said}");
    assert!(said.contains("names it with another digest"), "{said}");

    again();
    let ghost = |body: String| body.replace("\"name\":\"look\"", "\"name\":\"ghost\"").replace(changed.0, &changed.1);
    let body = ghost(String::from_utf8(bytes(&root, "body", "look")).unwrap());
    let role: Role = serde_json::from_str(&body).unwrap();
    let body = body.replace(&role.digest, &role_digest(&RolePower::of(&role).encode().unwrap()));
    let digest = StoredRole::of("ghost", body.as_bytes()).unwrap().digest;
    let row = row_digest("ghost", body.as_bytes());
    let values = format!("'ghost', x'{}', x'{}', x'{}'", hex(body.as_bytes()), hex(&row), hex(&digest));
    sql(&root, &format!("INSERT INTO policy_role (name, body, sha256, digest) VALUES ({values});"));
    sql(&root, &standing.replace("'look'", "'ghost'"));
    root.run_as(&other.name, ["jit-sudo", "-n", "--role", "ghost", "id", "-u"]).succeeded();
    sql(&root, "DELETE FROM policy_role WHERE name = 'ghost'; DELETE FROM policy_principal WHERE role = 'ghost';");
    let said = verdict(&root);
    assert!(said.contains("the compiled role ghost (table policy_role): record "), "{said}");
}

/// Prunes all records so far, as after a long time.
pub(crate) fn pruned(root: &PrivateRoot) {
    root.script("jitctl audit export --output /root/out >/dev/null; rm /root/out");
    let person = root.person(&["lookers"]);
    root.run_as(&person.name, HEAD).refused("not allowed");
    cut(root);
}

/// Prunes everything up to the last checkpoint.
pub(crate) fn cut(root: &PrivateRoot) {
    let key_file = "cd /var/lib/jit-sudo && cat $(ls -v sealing_key.* | tail -n 1)";
    let sealing = HostKey::from_openssh(&root.script(key_file)).unwrap();
    let key = HostKey::from_openssh(&root.read("/var/lib/jit-sudo/host_key")).unwrap();
    let id = id_of(root, &key);
    in_journal(root, |database, journal| {
        // After the deadline of each request.
        let (now, later) = (now(root), 3 * 86_400_000_000);
        let boot_id = now.boot_id.clone();
        // A former pruning has left a latest time of then.
        let high = database.connection().query_row("SELECT max(high) FROM record", [], |row| row.get(0)).unwrap();
        let wall = Timestamp(now.wall.0.max(high) + later);
        let moment = Moment { wall, boot: BootTime(now.boot.0 + later), boot_id };
        let before = moment.wall.plus_seconds(-86_400);
        let last = journal.prunable(CutOff::by_time(before), &moment).unwrap().unwrap();
        assert!(journal.prune(&moment, last, (0, "root"), before, &sealing, (&key, &id)).unwrap().is_some());
        journal.sweep(|_| Ok::<_, JournalError>(())).unwrap();
        // The host records this as soon as it notices it.
        let back = Event::Alert(Box::new(Alert::new("clock-set-back", "the clock was set back by 3 days")));
        let append = |tx: &rusqlite::Transaction<'_>| journal.append(tx, &now, back);
        let _ = database.write::<_, JournalError>(Durability::Ordered, append).unwrap();
    });
}

#[test]
fn a_one_shot_extension_of_two_runs_is_reported() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    let id = granted(&root, &alice, &approver, "ops", &["--for", "6s"]);
    let script = format!(
        "run() {{ su {alice} -c 'jit-sudo -n --role ops sleep 9' & }}
         run; run; sleep 1
         su {alice} -c 'jitctl extend {id} --reason more --for 30s' >/dev/null
         e=$(sqlite3 {DATABASE} 'SELECT id FROM request WHERE extends IS NOT NULL')
         su {approver} -c \"jitctl approve $e --one-shot\" >/dev/null
         sleep 0.5 # also its supervisor has seen by now who has taken it
         for i in $(seq 60); do
             n=$(sqlite3 {DATABASE} \"UPDATE granted SET ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL, used_by = NULL WHERE id = '$e' AND ended IS NOT NULL; SELECT changes()\")
             [ \"$n\" = 1 ] && break; sleep 0.05
         done
         su {alice} -c 'jitctl request --role free --reason bell' >/dev/null
         wait",
        alice = alice.name,
        approver = approver.name
    );
    root.script(&script);
    let both = "SELECT count(*) FROM record WHERE kind = 'end' AND CAST(body AS TEXT) LIKE '%extended_by%'";
    assert_eq!(sql(&root, both), "2");
    let said = verdict(&root);
    assert!(said.contains("it is for one run"), "{said}");
}

/// The record of its revocation is removed, and the end of the run that used it is not.
#[test]
fn a_one_shot_extension_revoked_before_a_pruning_is_not_reported() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    let id = granted(&root, &alice, &approver, "ops", &["--for", "3s"]);
    let script = format!(
        "su {alice} -c 'jit-sudo -n --role ops sleep 30' & sleep 0.5
         su {alice} -c 'jitctl extend {id} --reason more --for 30s' >/dev/null
         e=$(sqlite3 {DATABASE} 'SELECT id FROM request WHERE extends IS NOT NULL')
         su {approver} -c \"jitctl approve $e --one-shot\" >/dev/null
         for i in $(seq 60); do
             [ \"$(sqlite3 {DATABASE} \"SELECT ended FROM granted WHERE id = '$e'\")\" = used ] && break; sleep 0.05
         done
         su {approver} -c \"jitctl revoke $e --reason enough\" >/dev/null && jitctl audit export >/dev/null
         wait || true",
        alice = alice.name,
        approver = approver.name
    );
    root.script(&script);
    // The end of such a run makes another checkpoint; it is removed, so that the one of the export is the last again.
    sql(&root, "DELETE FROM checkpoint WHERE seq >= (SELECT max(seq) FROM record WHERE kind = 'end')");
    let behind = "SELECT count(*) FROM record WHERE kind = 'end' AND CAST(body AS TEXT) LIKE '%extended_by%' \
                  AND seq > (SELECT max(seq) FROM checkpoint)";
    assert_eq!(sql(&root, behind), "1");
    cut(&root);
    root.script("jitctl audit export >/dev/null");
    both_say_intact(&root);
}

/// Covers the variables that an exact grant binds, and a grant for one command that names none.
#[test]
fn a_temporarily_changed_exact_grant_is_reported() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    root.script("cp -a /var/lib/jit-sudo /root/before");
    let exactly = |more: &[&str]| {
        let id = id(&request(&root, &alice, "ops", more));
        root.run_as(&approver.name, ["jitctl", "approve", &id, "--exact"]).succeeded();
        id
    };
    root.add_policy("tampering", &WORK.replacen("[roles.ops]", "[roles.ops]\nsetenv = true", 1));
    let id = exactly(&["--", "/usr/bin/id", "-u"]);
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    intact(&root);
    let body = sql(&root, &format!("SELECT CAST(body AS TEXT) FROM granted WHERE id = '{id}'"));
    let mut command = serde_json::from_str::<Value>(&body).unwrap()["command"].clone();
    command["environment"] = vec!["FOO=/home/mallory"].into();
    let row = resign(&root, &id, &[("command", command.clone())]);
    root.run_as(&alice.name, ["jit-sudo", "-n", "FOO=/home/mallory", "/usr/bin/id", "-u"]).succeeded();
    sql(&root, &row);
    let said = verdict(&root);
    assert!(
        said.contains(&format!("grant {id} (table granted): record ")) && said.contains("by other bytes"),
        "{said}"
    );

    root.script("settle; rm -r /var/lib/jit-sudo; cp -a /root/before /var/lib/jit-sudo");
    let id = exactly(&["--", "/usr/bin/id", "-u"]);
    let row = resign(&root, &id, &[("one_shot", 1.into())]);
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    sql(&root, &row);
    let said = verdict(&root);
    assert!(said.contains("by other bytes"), "{said}");
}

#[test]
fn after_a_temporary_change_of_identity_only_the_own_grants_are_valid() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    let id = granted(&root, &alice, &approver, "free", &[]);
    let machine = root.script("cat /etc/machine-id").trim().to_owned();
    root.script("echo 0123456789abcdef0123456789abcdef > /etc/machine-id");
    root.run_as(&alice.name, HEAD).refused("");
    let last = "SELECT json_extract(CAST(body AS TEXT), '$.identity.id') FROM record WHERE kind = 'alert' ORDER BY seq DESC LIMIT 1";
    let identity = sql(&root, last);
    root.script(&format!("echo {machine} > /etc/machine-id"));
    root.run_as(&alice.name, HEAD).succeeded();
    both_say_intact(&root);
    root.script("echo 0123456789abcdef0123456789abcdef > /etc/machine-id");
    let row = resign(&root, &id, &[("host", identity.into())]);
    root.run_as(&alice.name, HEAD).succeeded();
    sql(&root, &row);
    root.script(&format!("echo {machine} > /etc/machine-id"));
    let said = verdict(&root);
    assert!(said.contains("had another identity than the one that it names"), "{said}");
}

#[test]
fn a_run_that_outlives_a_restored_backup_ends_in_its_journal() {
    let root = own_root();
    let (alice, bob, approver) = workers(&root);
    let id = granted(&root, &alice, &approver, "free", &["--for", "60s"]);
    root.script(&format!(
        "su {alice} -c 'jit-sudo -n --role free sleep 20' & sleep 0.5
         sqlite3 {DATABASE} 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null; sqlite3 {DATABASE} '.backup /root/old.db'
         su {alice} -c 'jitctl extend {id} --reason more --for 1m' >/dev/null
         sleep 1.5
         sqlite3 {DATABASE} '.restore /root/old.db'
         su {bob} -c 'jitctl request --role free --reason x' >/dev/null 2>&1 || true
         jitctl key accept --reason fine >/dev/null
         wait || true",
        alice = alice.name,
        bob = bob.name,
    ));
    let end = root.journal().into_iter().rev().find(|record| record.kind() == "end").unwrap();
    assert!(end.text("detail").contains("of which this database has no record"), "{end:?}");
    both_say_intact(&root);
}

/// A record with invalid contents does not hide a changed row.
#[test]
fn an_invalid_record_does_not_hide_a_changed_row() {
    let root = own_root();
    let (alice, bob, approver) = workers(&root);
    let id = granted(&root, &alice, &approver, "free", &[]);
    let row = resign(&root, &id, &[("uid", bob.uid.into()), ("user", bob.name.as_str().into())]);
    root.run_as(&bob.name, HEAD).succeeded();
    sql(&root, &row);
    let other = granted(&root, &alice, &approver, "ops", &[]);
    root.run_as(&approver.name, ["jitctl", "revoke", &other, "--reason", "enough"]).succeeded();
    sql(
        &root,
        &format!(
            "UPDATE granted SET ended = NULL, ended_by = NULL, ended_at = NULL, ended_reason = NULL WHERE id = '{other}'"
        ),
    );
    let output = root.as_root(["jitctl", "audit", "verify"]);
    let said = output.refused("chain broken");
    let row = format!("granted {other}: the database says active, the journal says revoked");
    assert!(said.contains("it was given to another user") && said.contains(&row), "{said}");
    root.script("sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/copy.db\"");
    let check = "python3 /run/private-root/project/tests/check_journal.py /root/copy.db \"$(head -n 1 /var/lib/jit-sudo/host_key.pub)\" || true";
    let theirs = root.script(check);
    assert!(theirs.starts_with("journal: ") && theirs.contains(&format!("granted: the end of {other}")), "{theirs}");
}

#[test]
fn a_negative_number_is_damage() {
    let root = own_root();
    let (alice, _, approver) = workers(&root);
    granted(&root, &alice, &approver, "free", &[]);
    root.script("jitctl audit export --output /root/out >/dev/null; rm /root/out");
    let name = &alice.name;
    root.script(&format!("su {name} -c 'jit-sudo -n --role free id -u'; (su {name} -c 'jit-sudo -n --role free sleep 60' >/dev/null 2>&1 &) ; sleep 1"));
    intact(&root);
    for (table, column) in [("open_run", "start"), ("precedent", "runs"), ("checkpoint", "seq")] {
        sql(&root, &format!("UPDATE {table} SET {column} = -{column}"));
        verdict(&root);
        sql(&root, &format!("UPDATE {table} SET {column} = -{column}"));
        intact(&root);
    }
}

/// Creates a requester of a role with a quorum of two, and three approvers.
pub(crate) fn council(root: &PrivateRoot) -> (Person, [Person; 3]) {
    (root.person(&["quorum"]), ["approvers"; 3].map(|group| root.person(&[group])))
}

const OTHERS: &str = "its approvals in the database are not those of the journal";

#[test]
fn an_approval_whose_row_is_hidden_keeps_its_limits() {
    let root = own_root();
    let (alice, [bob, carol, dave]) = council(&root);
    let id = id(&request(&root, &alice, "quorum", &["--for", "30m", "--", "/usr/bin/id", "-u"]));
    let narrow = ["jitctl", "approve", &id, "--exact", "--one-shot", "--for", "5m"];
    root.run_as(&bob.name, narrow).succeeded();
    let row = sql(&root, ".mode insert approval\nSELECT * FROM approval;");
    sql(&root, "DELETE FROM approval");
    for approver in [&carol, &dave] {
        root.run_as(&approver.name, ["jitctl", "approve", &id]).refused(OTHERS);
    }
    sql(&root, &row);
    root.run_as(&carol.name, ["jitctl", "approve", &id]).succeeded();
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-g"]).refused("");
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).succeeded();
    root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]).refused("");
    both_say_intact(&root);
}

#[test]
fn an_approval_without_a_record_does_not_count() {
    let root = own_root();
    let (alice, [bob, carol, _]) = council(&root);
    let id = id(&request(&root, &alice, "quorum", &[]));
    root.run_as(&bob.name, ["jitctl", "approve", &id]).succeeded();
    let row = sql(&root, ".mode insert approval\nSELECT * FROM approval;");
    let (uid, from, to) = (carol.uid, &bob.name, &carol.name);
    let body = format!("CAST(replace(CAST(body AS TEXT), '\"{from}\"', '\"{to}\"') AS BLOB)");
    sql(&root, &format!("UPDATE approval SET uid = {uid}, body = {body}"));
    root.run_as(&bob.name, ["jitctl", "approve", &id]).refused(OTHERS);
    root.run_as(&alice.name, ["jit-sudo", "-n", "id"]).refused("");
    sql(&root, "DELETE FROM approval");
    sql(&root, &row);
    root.run_as(&carol.name, ["jitctl", "approve", &id]).succeeded();
    both_say_intact(&root);
}

const SIGNED: &str = r#"
[roles.vouched]
eligible     = ["%signed"]
commands     = ["/usr/bin/id **"]
authenticate = false

[roles.vouched.activation]
require_approval = true
approvers        = ["%signers"]
approvals        = 2
signed_approvals = true
break_glass      = true
"#;

/// The key of the host does not widen what the approvers signed, and does not replace them.
#[test]
fn a_grant_of_signed_approvals_needs_its_approvers_at_each_use() {
    let root = signed_root();
    root.add_policy("vouched", SIGNED);
    let (alice, (bob, his), (carol, hers)) = (root.person(&["signed"]), signer(&root), signer(&root));
    list(&root, &[his, hers]);
    let id = id(&request(&root, &alice, "vouched", &["--for", "30m", "--", "/usr/bin/id", "-u"]));
    for (approver, more) in [(&bob, &["--exact"][..]), (&carol, &[])] {
        jitctl(&root, approver, &[&["approve", &id, "--key", "key"], more].concat(), "").succeeded();
    }
    let other = || root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-g"]);
    let own = || root.run_as(&alice.name, ["jit-sudo", "-n", "/usr/bin/id", "-u"]);
    own().succeeded();
    let body = sql(&root, &format!("SELECT CAST(body AS TEXT) FROM granted WHERE id = '{id}'"));
    let terms: Value = serde_json::from_str(&body).unwrap();
    let place = terms["approvers"].as_array().unwrap().iter().position(|name| *name == *carol.name).unwrap();
    let (digest, name) = (terms["approvals"][place].clone(), terms["approvers"][place].clone());
    let named = |times: usize| {
        [("approvals", vec![digest.clone(); times].into()), ("approvers", vec![name.clone(); times].into())]
    };
    let wider = [("exact", Value::from(0))];

    let row = resign(&root, &id, &[&named(1)[..], &wider].concat());
    other().refused("it names 1 approvals and needs 2");
    sql(&root, &row);
    let row = resign(&root, &id, &[&named(2)[..], &wider].concat());
    other().refused("does not count: its approver gave another one");
    sql(&root, &row);
    let row = resign(&root, &id, &[&[("break_glass", 1.into())][..], &wider].concat());
    other().refused("");
    sql(&root, &row);
    own().succeeded();
    root.script(&format!("gpasswd --delete {} signers", bob.name));
    own().refused("is not an approver of its role");
    root.script(&format!("gpasswd --add {} signers", bob.name));
    own().succeeded();
    both_say_intact(&root);
    let glass = crate::id(&request(&root, &alice, "vouched", &["--break-glass"]));
    other().succeeded();
    resign(&root, &glass, &[("expires", i64::MAX.into())]);
    other().refused("");
}
