//! What is kept of a person is theirs by uid and name: a uid that is given to another account brings nothing along, and a
//! name that belongs to somebody else is nobody's.

use harness::{Person, PrivateRoot};

use crate::{id, own_root, records_of, request};

/// carol, who has asked and run, is gone; dave has her uid.
fn carol_and_dave(root: &PrivateRoot) -> (Person, Person) {
    let carol = root.person(&["self-service", "reviewed"]);
    root.script(&format!(
        "userdel {0}; useradd -u {1} -m -s /bin/bash dave && usermod -aG self-service,reviewed dave",
        carol.name, carol.uid
    ));
    let dave = root.user("dave");
    assert_eq!(dave.uid, carol.uid);
    (carol, dave)
}

#[test]
fn who_gets_a_uid_gets_nothing_that_was_kept_of_the_one_before() {
    let root = own_root();
    let carol = root.person(&["self-service", "reviewed"]);
    let grant = id(&request(&root, &carol, "self-service", &[]));
    let pending = id(&request(&root, &carol, "reviewed", &["--", "id"]));
    root.run_as(&carol.name, ["jit-sudo", "-n", "id"]).succeeded();
    let run = records_of(&root, &carol).iter().find(|record| record.kind() == "start").unwrap().text("run").to_owned();
    root.script(&format!(
        "userdel {0}; useradd -u {1} -m -s /bin/bash dave && usermod -aG self-service,reviewed dave",
        carol.name, carol.uid
    ));
    assert_eq!(root.user("dave").uid, carol.uid);

    let dave = |words: &[&str]| root.run_as("dave", words);
    let listed = dave(&["jitctl", "--json", "audit", "list"]);
    assert_eq!(listed.json()["records"]["records"].as_array().map(Vec::len), Some(0), "{listed:?}");
    for verb in ["requests", "grants"] {
        let listed = dave(&["jitctl", "--json", verb, "--all"]);
        assert_eq!(listed.json()[verb].as_array().map(Vec::len), Some(0), "{listed:?}");
    }
    for words in [
        &["jitctl", "show", &grant][..],
        &["jitctl", "show", &pending],
        &["jitctl", "cancel", &pending],
        &["jitctl", "release", &grant],
        &["jitctl", "extend", &grant, "--reason", "x"],
        &["jitctl", "audit", "show", &run],
        &["jitctl", "audit", "show", &grant],
        &["jitctl", "replay", &run],
        &["jit-sudo", "-n", "id"],
    ] {
        let output = dave(words);
        assert_ne!(output.status.code(), Some(0), "{words:?}: {output:?}");
    }
    let released = dave(&["jitctl", "release"]);
    assert!(released.stderr.contains("no active grant"), "{released:?}");
    // What he does himself is his.
    let own = id(&request(&root, &root.user("dave"), "self-service", &[]));
    dave(&["jit-sudo", "-n", "id"]).succeeded();
    dave(&["jitctl", "show", &own]).succeeded();
    let listed = dave(&["jitctl", "--json", "audit", "list"]).json();
    let records = listed["records"]["records"].as_array().unwrap().clone();
    assert_eq!(records.len(), 4, "request, grant, start, end: {records:?}");
}

#[test]
fn a_password_is_remembered_for_the_person_and_not_for_the_uid() {
    let root = own_root();
    let (_, dave) = carol_and_dave(&root);
    let kept = "sqlite3 /var/lib/jit-sudo/journal.db 'SELECT service FROM credential_cache'";
    assert_eq!(root.script(kept), "");
    root.script("groupadd -f password; usermod -aG password dave; echo dave:dave-password | chpasswd");
    request(&root, &dave, "password", &[]);
    let typed = root.command("dave", ["jit-sudo", "-S", "id"]).stdin("dave-password\n").run();
    typed.succeeded();
    assert!(root.script(kept).trim().starts_with("dave/"), "{}", root.script(kept));
}

#[test]
fn a_name_that_belongs_to_another_account_is_nobodys() {
    let root = own_root();
    // glibc strips the blank, so the second account is called root as well.
    root.script("echo ' root:x:1234:1234::/tmp:/bin/bash' >>/etc/passwd; chmod 1777 /tmp");
    root.add_policy("named", "[roles.named]\nstanding = [\"root\"]\ncommands = \"ALL\"\nauthenticate = false\n");
    let shadow = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"];
    for words in [&["jit-sudo", "-n", "id", "-u"][..], &["jit-sudo", "-l"], &["jitctl", "roles"]] {
        let output = root.as_root([&shadow[..], words].concat());
        assert_ne!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert!(output.stderr.contains("the name root of uid 1234 belongs to uid 0"), "{words:?}: {output:?}");
    }
    // Root itself, which the default policy knows by its uid, goes on.
    assert_eq!(root.as_root(["jit-sudo", "-n", "id", "-u"]).succeeded(), "0");
}
