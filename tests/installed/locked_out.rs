//! docs/locked-out.md, row by row: the test causes each condition of its table, the screen shows the message from the table, and
//! the commands for root make the product run again. A full disk is in audit.rs, a newer database with its fix in doctor.rs,
//! break-glass in break_glass.rs and the clock in clocks.rs.

use harness::{Person, PrivateRoot};

use crate::{granted, own_root};

const MANUAL: &str = include_str!("../../docs/locked-out.md");

/// Returns the text, which must be in the manual.
#[track_caller]
fn written(text: &str) -> &str {
    assert!(MANUAL.contains(text), "the manual does not say: {text}");
    text
}

/// Returns a root, and a user in it who has a grant without a password.
fn host() -> (PrivateRoot, Person) {
    let root = own_root();
    let person = granted(&root, "self-service");
    runs(&root, &person);
    (root, person)
}

#[track_caller]
fn runs(root: &PrivateRoot, person: &Person) {
    assert_eq!(root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
}

/// Causes a condition, checks the message for the user, and types root's commands: those from the manual, with the names
/// replaced.
#[track_caller]
fn row(root: &PrivateRoot, person: &Person, make: &str, says: &str, cure: &str) {
    root.script(make);
    root.run_as(&person.name, ["jit-sudo", "-n", "id", "-u"]).refused(written(says));
    let doctor = root.as_root(["jitctl", "doctor"]);
    assert_eq!(doctor.status.code(), Some(1), "after {make}: {doctor:?}");
    root.script(cure);
    runs(root, person);
}

#[test]
fn wrong_owners_and_modes_are_fixed_as_documented() {
    let (root, person) = host();
    let cure = written("chown root:root /usr/bin/jit-sudo && chmod 4755 /usr/bin/jit-sudo");
    let says = "must be owned by uid 0 and have the setuid bit set";
    row(&root, &person, "chmod u-s /usr/bin/jit-sudo", says, cure);
    row(&root, &person, "chown daemon /usr/bin/jit-sudo", says, cure);
    let broker = "/usr/libexec/jit-sudo/jit-sudo-broker";
    root.script(&format!("chmod u-s {broker}"));
    root.run_as(&person.name, ["jitctl", "roles"]).refused(says);
    root.script(&cure.replace("/usr/bin/jit-sudo", broker));
    root.run_as(&person.name, ["jitctl", "roles"]).succeeded();

    let policy = "/etc/jit-sudo/policy.toml";
    let closed = format!("{} {policy}", written("chmod go-w"));
    row(&root, &person, &format!("chmod g+w {policy}"), "is writable by its group", &closed);
    let owned = format!("{} {policy}", written("chown root:root"));
    row(&root, &person, &format!("chown daemon {policy}"), "is owned by uid", &owned);
}

#[test]
fn with_a_broken_policy_root_can_read_evidence_and_end_grants() {
    let (root, person) = host();
    let grant = root.run_as(&person.name, ["jitctl", "--json", "grants"]).json()["grants"][0]["id"].clone();
    let grant = grant.as_str().unwrap();
    root.script("echo 'nonsense = 1' >>/etc/jit-sudo/policy.d/tests.toml");
    let said = root.run_as(&person.name, ["jit-sudo", "-n", "id"]);
    said.refused("/etc/jit-sudo/policy.d/tests.toml:");
    written("a file and a line of the policy");
    written("only root can use `jitctl audit`, `grants`, `show` and `revoke`");
    for words in [&["audit", "list"][..], &["audit", "verify"], &["grants", "--all"], &["show", grant]] {
        assert!(!root.as_root([&["jitctl"][..], words].concat()).intact().is_empty(), "{words:?}");
    }
    root.as_root(["jitctl", "policy", "check"]).refused("unknown key 'nonsense'");
    root.script("sed -i '$d' /etc/jit-sudo/policy.d/tests.toml");
    root.as_root(["bash", "-c", written("jitctl policy check")]).succeeded();
    runs(&root, &person);
    root.script("echo 'nonsense = 1' >>/etc/jit-sudo/policy.d/tests.toml");
    root.as_root(["jitctl", "revoke", grant, "--reason", "x"]).succeeded();
    root.script("sed -i '$d' /etc/jit-sudo/policy.d/tests.toml");
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("no active grant");
}

#[test]
fn a_lost_key_is_restored_or_replaced() {
    let (root, person) = host();
    root.script("cp -a /var/lib/jit-sudo/host_key* /root/");
    let cure = "cp -a /root/host_key* /var/lib/jit-sudo/";
    row(&root, &person, "rm /var/lib/jit-sudo/host_key*", "this host has no key", cure);
    // The public half is computed from the private key.
    row(&root, &person, "rm /var/lib/jit-sudo/host_key.pub", "this host has no key", "jitctl key init");
    // The public half may be left.
    for lost in ["host_key", "host_key*"] {
        root.script(&format!("rm /var/lib/jit-sudo/{lost}"));
        let doctor = format!("{:?}", root.as_root(["jitctl", "doctor"]));
        assert!(doctor.contains("this host has no key"), "{doctor}");
        root.as_root(["bash", "-c", written("jitctl key init")]).succeeded();
        written("a new key ends every grant");
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("does not serve");
        let key = root.script("cut -d' ' -f2 /var/lib/jit-sudo/host_key.pub");
        assert!(root.as_root(["jitctl", "key", "show"]).succeeded().contains(key.trim()));
    }
    crate::request(&root, &person, "self-service", &[]);
    runs(&root, &person);
}

#[test]
fn an_old_copy_of_the_database_works_after_root_accepts_it() {
    let (root, person) = host();
    root.script("cp -a /var/lib/jit-sudo /root/old");
    runs(&root, &person);
    root.script("cp -a /root/old/journal.db* /var/lib/jit-sudo/");
    let said = root.run_as(&person.name, ["jit-sudo", "-n", "id"]);
    said.refused(written("the database is older than its anchor"));
    root.as_root(["bash", "-c", written("jitctl audit verify")]).intact();
    root.as_root(["bash", "-c", written("jitctl key accept --reason WHY")]).succeeded();
    // It is unknown which of these grants have ended since, so all are ended.
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("no active grant");
    crate::request(&root, &person, "self-service", &[]);
    runs(&root, &person);
    root.as_root(["jitctl", "audit", "verify"]).intact();
}

#[test]
fn the_journal_of_another_host_is_not_intact_here_and_that_of_a_host_with_a_new_key_is() {
    let (root, person) = host();
    let other = own_root();
    let verify = || root.as_root(["jitctl", "audit", "verify"]);
    let sealed = |root: &PrivateRoot| drop(root.as_root(["jitctl", "audit", "export"]).succeeded().to_owned());
    runs(&root, &person);
    sealed(&root);
    // The records and the anchor of another host, changed to name this host.
    let _ = other.as_root(["jit-sudo", "true"]);
    sealed(&other);
    other.script("sqlite3 /var/lib/jit-sudo/journal.db 'PRAGMA wal_checkpoint(TRUNCATE)'");
    root.script("cp -a /var/lib/jit-sudo /root/own");
    for file in ["journal.db", "anchor"] {
        std::fs::copy(
            other.path(&format!("/var/lib/jit-sudo/{file}")),
            root.path(&format!("/var/lib/jit-sudo/{file}")),
        )
        .unwrap();
    }
    root.script(
        "cd /var/lib/jit-sudo; rm -f journal.db-*; sqlite3 journal.db \"ATTACH '/root/own/journal.db' AS own; \
         INSERT OR REPLACE INTO journal_meta SELECT * FROM own.journal_meta WHERE name = 'host'\"",
    );
    let says = "was signed with another key than this host's, and root has not accepted that";
    assert!(verify().refused(says).contains("jitctl key accept --reason WHY"));
    // A signature of this host does not change that.
    sealed(&root);
    let _ = root.as_root(["jit-sudo", "true"]);
    sealed(&root);
    verify().refused(says);
    root.script("settle; rm -r /var/lib/jit-sudo; cp -a /root/own /var/lib/jit-sudo");
    verify().intact();
    // The host's own records, and a new key.
    root.script("rm /var/lib/jit-sudo/host_key*; jitctl key init");
    runs_not(&root, &person);
    verify().refused(says);
    root.as_root(["bash", "-c", written("jitctl key accept --reason WHY")]).succeeded();
    let text = verify();
    assert!(text.intact().contains("checkpoints by other keys count for nothing"), "{text:?}");
    crate::request(&root, &person, "self-service", &[]);
    runs(&root, &person);
    verify().intact();
}

/// Checks that former grants are no longer valid.
fn runs_not(root: &PrivateRoot, person: &Person) {
    root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused("does not serve");
}

#[test]
fn an_altered_or_damaged_database_is_replaced_by_its_backup() {
    let (root, person) = host();
    let restore = written("mv /var/lib/jit-sudo /var/lib/jit-sudo.broken && cp -a BACKUP /var/lib/jit-sudo");
    // As long as the WAL holds all pages, no process reads those in the database.
    let garbage = |pages| {
        format!(
            "sqlite3 /var/lib/jit-sudo/journal.db 'PRAGMA wal_checkpoint(TRUNCATE)'; \
             dd if=/dev/urandom of=/var/lib/jit-sudo/journal.db bs=2k {pages} conv=notrunc 2>/dev/null"
        )
    };
    let altered = "sqlite3 /var/lib/jit-sudo/journal.db 'CREATE TABLE surplus (x)'".to_owned();
    for (harm, says) in [
        (altered, "holds an unknown or altered"),
        (garbage("seek=1 count=32"), "malformed"),
        (garbage("count=1"), "file is not a database"),
    ] {
        root.script("rm -rf /root/backup; cp -a /var/lib/jit-sudo /root/backup");
        runs(&root, &person); // after the backup was made
        root.script(&harm);
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).refused(written(says));
        assert_eq!(root.as_root(["jitctl", "doctor"]).status.code(), Some(1));
        root.script(&restore.replace("BACKUP", "/root/backup"));
        root.script("mv /var/lib/jit-sudo.broken /root/evidence-$(date +%s%N)");
        root.as_root(["bash", "-c", written("jitctl key accept --reason WHY")]).succeeded();
        crate::request(&root, &person, "self-service", &[]);
        runs(&root, &person);
        root.as_root(["jitctl", "audit", "verify"]).intact();
    }
}

#[test]
fn the_emergency_console_does_not_use_the_module() {
    let root = own_root();
    let manual = include_str!("../../docs/man/pam_jit_sudo.8");
    let line = "account sufficient pam_succeed_if.so uid = 0";
    assert!(manual.contains(&format!(".Dl {line}\n")), "the manual does not say: {line}");
    written("keep one of these out of its reach: see pam_jit_sudo(8)");
    root.script("sed -i '1i account required pam_jit_sudo.so role=self-service' /etc/pam.d/login");
    let mut session = root.pty_as("root", ["login", "-f", "root"]);
    session.expect("you have no active grant");
    assert!(!session.wait().success());
    root.script(&format!("sed -i '1i {line}' /etc/pam.d/login"));
    let mut session = root.pty_as("root", ["login", "-f", "root"]);
    session.expect("root@web1");
    session.type_line("exit");
    session.wait();
    let mut session = root.pty_as("root", ["login", "-f", "alice"]);
    session.expect("you have no active grant");
    assert!(!session.wait().success());
}

#[test]
fn a_missing_or_denying_pam_service_is_restored() {
    let root = own_root();
    let person = root.person(&["trusted"]);
    let tries = || {
        let words = ["jit-sudo", "-S", "-k", "id", "-u"];
        root.command(&person.name, words).stdin(format!("{}\n", person.password)).run()
    };
    assert_eq!(tries().succeeded(), "0");
    root.script("cp -a /etc/pam.d /root/");
    let restored = || {
        root.script("rm -r /etc/pam.d; cp -a /root/pam.d /etc/pam.d");
        assert_eq!(tries().succeeded(), "0");
        let said = root.as_root(["jitctl", "doctor"]).stdout;
        assert!(said.contains("the services jit-sudo, jit-sudo-i are complete"), "{said}");
    };
    let doctor = |says: &str| {
        let said = root.as_root(["jitctl", "doctor"]);
        assert!(said.stdout.contains(says), "{said:?}");
    };
    root.script("rm /etc/pam.d/jit-sudo");
    doctor(written("there is no service"));
    restored();
    root.script("echo 'auth required pam_gone.so' >>/etc/pam.d/common-auth");
    assert!(!tries().status.success());
    written("`jitctl doctor` checks this file and the files that it includes");
    doctor("names the module pam_gone.so");
    restored();
    root.script("sed -i '1i auth required pam_deny.so' /etc/pam.d/jit-sudo");
    let said = tries();
    assert!(!said.status.success() && said.stderr.contains("Sorry, try again."), "{said:?}");
    written("every password is wrong");
    restored();
}
