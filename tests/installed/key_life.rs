//! The life of the host key: root replaces it by another one that the old one has signed, or retires the host.

use harness::{Output, PATIENCE, PrivateRoot, eventually};

use crate::tampering::cut;
use crate::{both_say_intact, granted, id, own_root, request};

const STATE: &str = "/var/lib/jit-sudo";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

fn jitctl(root: &PrivateRoot, words: &[&str]) -> Output {
    root.as_root([&["jitctl"][..], words].concat())
}

fn rotate(root: &PrivateRoot) -> String {
    jitctl(root, &["key", "rotate", "--yes", "--reason", "yearly"]).succeeded().to_owned()
}

fn retire(root: &PrivateRoot) -> String {
    jitctl(root, &["key", "retire", "--yes", "--reason", "scrapped"]).succeeded().to_owned()
}

/// Returns the files of the host key and of the sealing keys.
fn key_files(root: &PrivateRoot) -> String {
    let names = root.script(&format!("cd {STATE} && ls -d host_key* sealing_key.* 2>/dev/null || :"));
    names.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn public_key(root: &PrivateRoot) -> String {
    root.read(&format!("{STATE}/host_key.pub")).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Keeps another name of a private key, which shows what becomes of its contents.
fn keep(root: &PrivateRoot, file: &str) {
    root.script(&format!("ln {STATE}/{file} /root/kept.{file} && grep -q OPENSSH /root/kept.{file}"));
}

fn is_overwritten(root: &PrivateRoot, file: &str) -> bool {
    let left = std::fs::read(root.path(&format!("/root/kept.{file}"))).unwrap();
    left.len() > 100 && left.iter().all(|byte| *byte == 0)
}

#[test]
fn a_rotation_ends_every_grant_and_the_old_key_leads_to_the_new_one() {
    let root = own_root();
    let (carol, bob) = (root.person(&["self-service"]), root.person(&["reviewed"]));
    let grant = id(&request(&root, &carol, "self-service", &[]));
    let mut run = root.pty_as(&carol.name, ["jit-sudo", "-n", "sleep", "600"]);
    eventually("the run begins", PATIENCE, || root.journal().iter().find(|record| record.kind() == "start").cloned());
    let pending = id(&request(&root, &bob, "reviewed", &[]));
    root.script("jitctl key show | head -n 1 >/root/old.pub; jitctl audit export -o /root/before.jsonl");
    let old = public_key(&root);
    let sealing = key_files(&root);
    keep(&root, "host_key");

    let rotation = ["key", "rotate", "--reason", "yearly"];
    let asked = jitctl(&root, &rotation);
    asked.refused("a rotation of the host key ends 1 grant and denies 1 request");
    assert!(asked.stderr.contains("--yes") && public_key(&root) == old, "{asked:?}");
    assert_eq!(key_files(&root), sealing, "the question makes no key");
    root.run_as(&carol.name, [&["jitctl"][..], &rotation, &["--yes"]].concat())
        .refused("only root may replace the host key");
    let said = rotate(&root);
    assert!(said.contains(&format!("grant {grant}: revoked")), "{said}");
    assert!(said.contains(&format!("request {pending}: denied")), "{said}");
    run.wait();
    let records = root.journal();
    let end = records.iter().find(|record| record.kind() == "end").unwrap();
    assert_eq!(end.text("ended_by"), "revocation");
    let record = records.iter().find(|record| record.kind() == "rotation").unwrap();
    let new = public_key(&root);
    assert_ne!(new, old);
    assert_eq!(
        (record.text("old_key"), record.json["identity"]["key"].as_str().unwrap()),
        (old.as_str(), new.as_str())
    );
    assert_eq!(record.text("reason"), "yearly");
    assert!(root.syslog().iter().any(|line| line.seq == record.number("seq").cast_unsigned()), "syslog has it");
    assert!(is_overwritten(&root, "host_key"), "the old key is not overwritten");
    assert_eq!(key_files(&root), sealing, "the sealing keys go on");
    assert!(
        records.iter().all(|record| record.text("code") != "host-changed" && record.text("code") != "state-accepted")
    );
    both_say_intact(&root);

    // New requests and grants are signed with the new key.
    root.run_as(&carol.name, RUN).refused("");
    request(&root, &carol, "self-service", &[]);
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
    let verified = jitctl(&root, &["audit", "verify"]);
    let line = format!("host key: record {} replaces SHA256:", record.number("seq"));
    assert!(verified.intact().contains(&line), "{verified:?}");
    assert!(!verified.stdout.contains("by other keys"), "{verified:?}");
    // On another machine, with the old key alone.
    root.script("jitctl audit export -o /root/after.jsonl; jitctl key show | head -n 1 >/root/new.pub");
    for (file, key) in [("before", "old"), ("after", "old"), ("after", "new")] {
        let words = [format!("/root/{file}.jsonl"), format!("/root/{key}.pub")];
        jitctl(&root, &["audit", "verify", &words[0], "--public-key", &words[1]]).intact();
    }
    jitctl(
        &root,
        &[
            "audit",
            "verify",
            "/root/after.jsonl",
            "--public-key",
            "/root/old.pub",
            "--sealing-key",
            "/root/before.jsonl",
        ],
    )
    .intact();
    // The second time, nothing would end: nobody is asked.
    jitctl(&root, &["revoke", "--user", &carol.name, "--reason", "over"]).succeeded();
    jitctl(&root, &rotation).succeeded();
    both_say_intact(&root);
    root.script("jitctl audit export -o /root/twice.jsonl");
    jitctl(&root, &["audit", "verify", "/root/twice.jsonl", "--public-key", "/root/old.pub"]).intact();
}

/// The host follows its own rotations; no key has to be given.
#[test]
fn heads_that_a_former_key_has_signed_decide_on_the_host() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.script("jitctl audit export -o /root/before.jsonl; jitctl key show | head -n 1 >/root/old.pub");
    root.script(&format!("settle; cp -a {STATE} /root/before"));
    root.run_as(&person.name, RUN).succeeded();
    root.script("jitctl audit export -o /root/later.jsonl");
    let verify = |log: &str, more: &[&str]| jitctl(&root, &[&["audit", "verify", "--anchor", log], more].concat());
    let agrees = "kept heads   a signed head that was kept elsewhere agrees";
    let agree = |log: &str, more: &[&str]| {
        let said = verify(log, more);
        assert!(said.succeeded().contains(agrees), "{said:?}");
    };
    rotate(&root);
    rotate(&root);
    let former = jitctl(&root, &["--json", "key", "show"]);
    assert_eq!(former.json()["host-key"]["former_keys"].as_array().unwrap().len(), 2, "{former:?}");
    root.script("jitctl audit export -o /root/after.jsonl; jitctl key show | head -n 1 >/root/new.pub");
    agree("/root/before.jsonl", &[]);
    agree("/root/after.jsonl", &[]);
    agree("/root/after.jsonl", &["--public-key", "/root/old.pub"]);
    agree("/root/before.jsonl", &["--public-key", "/root/new.pub"]);
    // Root has put an older state in its place and replaced the key. Somebody with a copy of the old key could write such a head too.
    root.script(&format!("settle; rm -r {STATE} && cp -a /root/before {STATE}"));
    rotate(&root);
    agree("/root/before.jsonl", &[]);
    let said = verify("/root/later.jsonl", &[]);
    said.exited(5);
    assert!(said.stdout.contains("by a former host key are of more records than it can have signed here"), "{said:?}");
}

#[test]
fn a_key_that_was_replaced_without_a_rotation_is_named() {
    let root = own_root();
    root.script(&format!("jitctl key show | head -n 1 >/root/old.pub; rm {STATE}/host_key*; jitctl key init"));
    jitctl(&root, &["key", "accept", "--reason", "the key was lost"]).succeeded();
    root.script("jitctl audit export -o /root/after.jsonl");
    let said = jitctl(&root, &["audit", "verify", "/root/after.jsonl", "--public-key", "/root/old.pub"]);
    let fingerprint =
        root.script(&format!("ssh-keygen -lf {STATE}/host_key.pub")).split(' ').nth(1).unwrap().to_owned();
    said.refused(&format!("begins a line of sealing keys by another host key, {fingerprint}, and no rotation"));
}

/// The files of the key change after the commit of the record: a verification in between knows the rotation by the journal.
#[test]
fn a_sweep_beside_a_rotation_records_no_alert() {
    let root = own_root();
    let _ = granted(&root, "self-service");
    root.script(&format!("mkdir /root/old; cp -a {STATE}/host_key* /root/old"));
    rotate(&root);
    let new = public_key(&root);
    root.script(&format!("cd {STATE}; mv host_key host_key.next; cp -a /root/old/host_key* ."));
    jitctl(&root, &["audit", "verify"]).intact();
    root.script(&format!(
        "cd {STATE}; test -e host_key.next || mv host_key host_key.next; cp -a /root/old/host_key* ."
    ));
    jitctl(&root, &["sweep"]).succeeded();
    assert!(root.journal().iter().all(|record| record.text("code") != "journal-not-intact"));
    assert_eq!(public_key(&root), new);
    both_say_intact(&root);
}

/// Somebody has kept the files of a key that was replaced.
#[test]
fn a_former_key_that_was_put_back_signs_nothing() {
    let root = own_root();
    let carol = granted(&root, "self-service");
    root.script(&format!("cp -a {STATE} /root/state"));
    rotate(&root);
    root.script(&format!("cp -a {STATE} /root/present; cp -a /root/state/host_key* {STATE}/"));
    root.run_as(&carol.name, ["jitctl", "request", "--role", "self-service", "--reason", "x"])
        .refused("has a key that was replaced by another one at ");
    let refused = jitctl(&root, &["key", "accept", "--reason", "x"]);
    assert!(refused.refused("has a key that was replaced").contains("put the present key back"), "{refused:?}");
    root.script(&format!("cp -a /root/present/host_key* {STATE}/"));
    jitctl(&root, &["key", "accept", "--reason", "it is back"]).succeeded();
    request(&root, &carol, "self-service", &[]);
    both_say_intact(&root);
}

/// Root has neither accepted a restored database, nor does the journal belong to the key.
#[test]
fn a_rotation_accepts_nothing_but_the_key() {
    let root = own_root();
    let person = granted(&root, "self-service");
    jitctl(&root, &["backup", "/root/backup.db"]).succeeded();
    root.run_as(&person.name, RUN).succeeded();
    jitctl(&root, &["restore", "/root/backup.db"]).succeeded();
    let words = ["key", "rotate", "--yes", "--reason", "x"];
    jitctl(&root, &words).refused("so no grant is given or accepted");
    jitctl(&root, &["key", "accept", "--reason", "restored"]).succeeded();
    rotate(&root);
    both_say_intact(&root);
    root.script(&format!("rm {STATE}/sealing_key.*"));
    jitctl(&root, &words).refused("the sealing key of its last epoch");
    jitctl(&root, &["key", "accept", "--reason", "the disk was bad"]).succeeded();
    root.script(&format!("rm {STATE}/host_key*; jitctl key init"));
    jitctl(&root, &words).refused("certified by another key");
    assert_eq!(root.journal().iter().filter(|record| record.kind() == "rotation").count(), 1);
}

#[test]
fn a_backup_from_before_a_rotation_is_refused_and_one_from_after_it_is_not() {
    let root = own_root();
    let person = granted(&root, "self-service");
    jitctl(&root, &["backup", "/root/before.db"]).succeeded();
    rotate(&root);
    jitctl(&root, &["restore", "/root/before.db"])
        .refused("a backup of another host, or of this host under another key");
    both_say_intact(&root);
    request(&root, &person, "self-service", &[]);
    jitctl(&root, &["backup", "/root/after.db"]).succeeded();
    root.run_as(&person.name, RUN).succeeded();
    jitctl(&root, &["restore", "/root/after.db"]).succeeded();
    jitctl(&root, &["key", "accept", "--reason", "restored"]).succeeded();
    both_say_intact(&root);
}

#[test]
fn rotations_outlive_a_pruning_and_lead_an_export() {
    let root = own_root();
    let person = granted(&root, "self-service");
    root.script("jitctl key show | head -n 1 >/root/old.pub");
    rotate(&root);
    rotate(&root);
    root.run_as(&person.name, RUN).refused("");
    root.script("jitctl audit export >/dev/null");
    root.as_root(RUN).succeeded(); // the last record is not removed
    cut(&root);
    assert!(root.journal().iter().all(|record| record.kind() != "rotation"));
    both_say_intact(&root);
    root.script("jitctl audit export -o /root/rest.jsonl");
    let verify = || jitctl(&root, &["audit", "verify", "/root/rest.jsonl", "--public-key", "/root/old.pub"]);
    assert_eq!(verify().intact().matches("host key: record").count(), 2);
    root.script("sed -i '/^{.certificate.*rotation/{s/yearly/monthly/;}' /root/rest.jsonl");
    verify().refused("changes the host key and is not signed");
    // A rotation after the pruning.
    rotate(&root);
    both_say_intact(&root);
}

/// The list of known hosts of an approver who signs elsewhere.
#[test]
fn an_approver_elsewhere_accepts_the_new_key_because_the_known_one_has_signed_for_it() {
    let root = own_root();
    let (carol, bob) = (root.person(&["reviewed"]), root.person(&["approvers"]));
    let printed = || {
        let asked = id(&request(&root, &carol, "reviewed", &[]));
        jitctl(&root, &["show", &asked, "--print"]).succeeded().to_owned()
    };
    let shown = |text: &str| root.command(&bob.name, ["jitctl", "show", "-"]).stdin(text).run();
    let list = || root.read(&format!("{}/.config/jit-sudo/known_hosts", bob.home));
    let first = printed();
    assert!(!first.contains("ROTATION"));
    shown(&first).succeeded();
    let (old, before) = (public_key(&root), list());
    rotate(&root);
    rotate(&root);
    let second = printed();
    assert_eq!(second.matches("-----BEGIN JIT-SUDO ROTATION-----").count(), 2);
    let (without, _) = second.split_once("-----BEGIN JIT-SUDO ROTATION-----").unwrap();
    shown(without).refused("has CHANGED");
    assert_eq!(list(), before);
    let accepted = shown(&second);
    assert!(accepted.succeeded().contains(" has signed for it, now in "), "{accepted:?}");
    assert!(accepted.stderr.contains("has another key"), "{accepted:?}");
    let day = before.rsplit_once("seen=").unwrap().1.trim_end();
    let now = list();
    let (line, former) = now.split_once("# replaced ").unwrap();
    assert_eq!(line, before.replace(&old, &public_key(&root)).replace(host_id(&before), host_id(line)));
    assert!(former.starts_with(&format!("{day} ")) && former.contains(&old), "{former}");
    assert!(!shown(without).succeeded().contains("has signed for it"), "the new key is known now");
    shown(&first).refused("is from before the key of");
}

/// Returns the host id in the only line of a list of known hosts.
fn host_id(list: &str) -> &str {
    list.lines().last().unwrap().split(' ').nth(3).unwrap()
}

#[test]
fn a_retired_host_keeps_its_evidence_and_signs_nothing_more() {
    let root = own_root();
    let carol = root.person(&["self-service", "reviewed"]);
    let grant = id(&request(&root, &carol, "self-service", &[]));
    root.script("jitctl key show | head -n 1 >/root/old.pub");
    let sealing = key_files(&root).split(' ').next_back().unwrap().to_owned();
    keep(&root, "host_key");
    keep(&root, &sealing);
    let asked = jitctl(&root, &["key", "retire", "--reason", "scrapped"]);
    asked.refused("removes the private key of this host for ever, and ends 1 grant and denies 0 requests");
    root.run_as(&carol.name, RUN).succeeded();
    let said = retire(&root);
    assert!(said.contains(&format!("grant {grant}: revoked")), "{said}");
    let records = root.journal();
    assert_eq!(records.last().unwrap().kind(), "retirement");
    assert_eq!(key_files(&root), "host_key.pub");
    assert!(is_overwritten(&root, "host_key") && is_overwritten(&root, &sealing));
    both_say_intact(&root);
    let verified = jitctl(&root, &["audit", "verify"]);
    assert!(verified.intact().contains("retired: this host was retired "), "{verified:?}");

    let cure = "jitctl key init, then jitctl key accept --reason 'WHY'";
    root.run_as(&carol.name, RUN).refused("");
    for (who, words) in [
        (carol.name.as_str(), &["jitctl", "request", "--role", "self-service", "--reason", "x"][..]),
        ("root", &["jitctl", "key", "rotate", "--yes", "--reason", "x"]),
        ("root", &["jitctl", "key", "retire", "--yes", "--reason", "x"]),
        ("root", &["jitctl", "key", "accept", "--reason", "x"]),
    ] {
        let refused = root.run_as(who, words);
        let said = refused.refused("this host was retired at ");
        assert!(said.contains(cure), "{words:?}: {said}");
    }
    // Root and readers still read, and what is recorded is not signed.
    root.as_root(RUN).succeeded();
    root.script("jitctl audit export -o /root/after.jsonl; jitctl audit list >/dev/null; jitctl key show >/dev/null");
    jitctl(&root, &["audit", "verify", "/root/after.jsonl", "--public-key", "/root/old.pub"]).intact();
    both_say_intact(&root);
    assert!(jitctl(&root, &["doctor"]).stdout.contains("this host was retired at "));

    // Another key needs the acceptance of root.
    jitctl(&root, &["key", "init"]).succeeded();
    root.run_as(&carol.name, ["jitctl", "request", "--role", "self-service", "--reason", "x"])
        .refused("root has not accepted its new key");
    jitctl(&root, &["audit", "verify"]).refused("root has not accepted that");
    jitctl(&root, &["key", "accept", "--reason", "it is used again"]).succeeded();
    request(&root, &carol, "self-service", &[]);
    root.run_as(&carol.name, RUN).succeeded();
    both_say_intact(&root);
    let verified = jitctl(&root, &["audit", "verify"]);
    assert!(verified.intact().contains("retired: "), "that the former key was retired stays visible: {verified:?}");
}

/// Root puts back the keys, or removes the mark by which the host gives no grant.
#[test]
fn a_retirement_cannot_be_undone_without_a_trace() {
    let root = own_root();
    let carol = granted(&root, "self-service");
    root.script(&format!("cp -a {STATE} /root/state"));
    retire(&root);
    root.script(&format!("cp -a /root/state/host_key /root/state/sealing_key.* {STATE}/"));
    root.run_as(&carol.name, ["jitctl", "request", "--role", "self-service", "--reason", "x"])
        .refused("this host was retired at ");
    assert_eq!(key_files(&root), "host_key.pub", "the keys are removed again");
    both_say_intact(&root);
    // Not even the mark is needed: the record says that the key is retired.
    let unmark =
        || root.script(&format!("sqlite3 {STATE}/journal.db \"DELETE FROM journal_meta WHERE name = 'restored'\""));
    let put_back = || root.script(&format!("cp -a /root/state/host_key* /root/state/sealing_key.* {STATE}/"));
    for words in [&["key", "accept", "--reason", "x"][..], &["key", "rotate", "--yes", "--reason", "x"]] {
        unmark();
        put_back();
        jitctl(&root, words).refused("this host was retired at ");
        assert_eq!(key_files(&root), "host_key.pub", "{words:?}");
    }
    assert_eq!(root.journal().last().unwrap().kind(), "retirement");
    root.script(&format!("sqlite3 {STATE}/journal.db \"DELETE FROM journal_meta WHERE name = 'restored'\""));
    jitctl(&root, &["audit", "verify"]).refused("what is kept as restored (table journal_meta): its row is missing");
}
