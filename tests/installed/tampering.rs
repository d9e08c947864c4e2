//! Root changes the database for a moment and puts it back: what was done meanwhile is in the journal, and a verification says
//! that it was not by the policy.

use harness::PrivateRoot;
use jit_sudo::policy::{Role, RolePower, StoredRole, role_digest, row_digest, stamp_seal};

use crate::{id, own_root, request};

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

fn sql(root: &PrivateRoot, text: &str) -> String {
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

/// How much of a row is made to fit its new bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Care {
    /// Its own digest, without which nobody reads it.
    Row,
    /// Every digest that stands in it.
    Everything,
}

/// A row as it was, to be put back.
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

/// What the verification says, and the same of the checker that was written from the documents.
fn verdict(root: &PrivateRoot) -> String {
    let said = root.as_root(["jitctl", "audit", "verify"]).refused("").to_owned();
    root.script("sqlite3 /var/lib/jit-sudo/journal.db \".backup /root/copy.db\"");
    let check = "python3 /run/private-root/project/tests/check_journal.py /root/copy.db \"$(head -n 1 /var/lib/jit-sudo/host_key.pub)\" || true";
    let theirs = root.script(check);
    assert_ne!(theirs.trim(), "intact", "{said}");
    said
}

fn intact(root: &PrivateRoot) {
    root.as_root(["jitctl", "audit", "verify"]).succeeded();
}

const OTHER_DIGEST: &str = "with another digest than that policy's record";

#[test]
fn a_run_by_a_role_that_was_changed_for_a_moment_is_named() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    let person = root.person(&["lookers"]);
    let head = || root.run_as(&person.name, ["jit-sudo", "-n", "head", "-c", "5", "/etc/shadow"]);
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    intact(&root);
    let wider = ("/usr/bin/id", "/usr/bin/head");
    // Whatever the row says of its digests, the record has that of the bytes that decided.
    for care in [Care::Row, Care::Everything] {
        let before = forge(&root, "look", wider, care);
        assert!(head().succeeded().starts_with("root:"));
        put(&root, &before);
        let said = verdict(&root);
        assert!(said.contains("names role look of policy") && said.contains(OTHER_DIGEST), "{said}");
    }
}

#[test]
fn people_put_into_a_role_for_a_moment_are_named() {
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
fn an_approval_that_was_not_needed_for_a_moment_is_named() {
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
fn an_approver_who_was_one_for_a_moment_is_named() {
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
fn a_policy_that_was_in_force_once_is_not_in_force_again() {
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

    // The old tables with the stamp of the new files: it was sealed with another policy, and so it is compiled anew.
    sql(&root, &format!("{delete}{old}\nUPDATE policy_settings SET stamp = {stamp};"));
    head().refused("not allowed");
    let said = verdict(&root);
    assert!(
        said.contains("says that role wide was removed, and by the policy records before it that cannot be"),
        "{said}"
    );
    root.script("rm -r /var/lib/jit-sudo; cp -a /root/good /var/lib/jit-sudo");
    // With a seal of root's own the old one serves, until somebody verifies.
    sql(&root, &format!("{delete}{old}\nUPDATE policy_settings SET stamp = {stamp};"));
    sql(&root, &format!("UPDATE policy_settings SET seal = x'{}';", hex(&seal(&root))));
    assert!(head().succeeded().starts_with("root:"));
    let said = root.as_root(["jitctl", "audit", "verify"]).refused("").to_owned();
    assert!(said.contains("was in force"), "{said}");
    let doctor = root.as_root(["jitctl", "doctor"]);
    assert!(doctor.stdout.contains("compiled policy: /etc/jit-sudo/policy.d/wide.toml is not the file"), "{doctor:?}");
    sql(&root, &format!("{delete}{now}"));
    let said = verdict(&root);
    assert!(said.contains("was in force"), "what was done meanwhile stays: {said}");
}

#[test]
fn tables_of_other_files_that_count_as_compiled_are_named_before_anything_runs() {
    let root = own_root();
    root.add_policy("tampering", POLICY);
    root.as_root(["jitctl", "audit", "verify"]).succeeded();
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
    // One that cannot be read agrees with nothing.
    root.script(r"printf '# \377' >/etc/jit-sudo/policy.d/tampering.toml");
    sql(&root, &format!("UPDATE policy_settings SET stamp = '{}';", stamp_of_the_files(&root)));
    sql(&root, &format!("UPDATE policy_settings SET seal = x'{}';", hex(&seal(&root))));
    root.as_root(["jitctl", "audit", "verify"]).refused("/etc/jit-sudo/policy.d/tampering.toml");
}

/// As the program writes it: a line for each file.
fn stamp_of_the_files(root: &PrivateRoot) -> String {
    let script = "cd /etc/jit-sudo && python3 - policy.toml policy.d/*.toml $(ls approvers 2>/dev/null || true) <<'END'
import os, sys
for name in sys.argv[1:]:
    s = os.stat(name)
    print('/etc/jit-sudo/' + name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, sep='\\t')
END";
    root.script(script)
}

/// What root can compute who reads the journal's key.
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
fn a_journal_of_another_host_is_named_and_not_signed() {
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
    assert!(said.contains("it was signed by another key than this host's"), "{said}");
    // The next run does not make it this host's own.
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded();
    root.script("rm -f /root/out; jitctl audit export --output /root/out || true");
    assert_eq!(sql(&root, "SELECT count(*) FROM checkpoint"), "0");
    let alert = "SELECT count(*) FROM record WHERE kind = 'alert' AND CAST(body AS TEXT) LIKE '%journal-not-signed%'";
    assert_eq!(sql(&root, alert), "1", "once");
    let said = verdict(&root);
    assert!(said.contains("it was signed by another key than this host's"), "{said}");
    // What root accepts is signed, and stands in the journal as accepted.
    root.as_root(["jitctl", "key", "accept", "--reason", "moved"]).succeeded();
    intact(&root);
    root.script(&format!("rm -r {state}; cp -a /root/ours {state}"));
    intact(&root);
}

#[test]
fn a_row_of_a_run_that_never_was_makes_no_end_of_it() {
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
        assert!(said.contains("(table open_run): it has ended, or no record says that it began"), "{said}");
        run();
        intact(&root);
        let lost = "SELECT count(*) FROM record WHERE kind = 'end' AND CAST(body AS TEXT) LIKE '%\"lost\"%'";
        assert_eq!(sql(&root, lost), "0");
    }
    let told = "SELECT count(*) FROM record WHERE kind = 'alert' AND CAST(body AS TEXT) LIKE '%unknown-run%'";
    assert_eq!(sql(&root, told), "2");
}
