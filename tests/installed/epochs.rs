//! Sealing keys: each signs one epoch of the journal and is erased after it has certified the next one. A later root can change
//! nothing that was sealed before, and a kill at any system call leaves one key and one certificate for each epoch.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use harness::{Output, PrivateRoot};
use jit_core::grant::HostKey;
use serde_json::Value;

use crate::journals::sign_anew;
use crate::offline::in_journal;
use crate::tampering::cut;
use crate::{both_say_intact, granted, own_root};

const STATE: &str = "/var/lib/jit-sudo";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

fn jitctl(root: &PrivateRoot, words: &[&str]) -> Output {
    root.as_root([&["jitctl"][..], words].concat())
}

/// Signs the head, after the present epoch is over, so that another one begins.
fn next_epoch(root: &PrivateRoot) {
    std::thread::sleep(Duration::from_millis(1100));
    root.script("jitctl audit export >/dev/null");
}

/// Returns a root whose epochs last a second, with a run in each of three epochs.
fn with_epochs() -> (PrivateRoot, harness::Person) {
    let root = own_root();
    root.add_policy("epochs", "[audit]\nepoch = \"1s\"\n");
    let person = granted(&root, "self-service");
    for _ in 0..3 {
        root.run_as(&person.name, RUN).succeeded();
        next_epoch(&root);
    }
    (root, person)
}

fn epochs(root: &PrivateRoot) -> Vec<Value> {
    let epochs = root.journal().into_iter().filter(|record| record.kind() == "epoch");
    epochs.map(|record| record.json.clone()).collect()
}

/// Returns the names of the files with sealing keys.
fn key_files(root: &PrivateRoot) -> String {
    root.script(&format!("cd {STATE} && ls -d sealing_key.*")).trim().to_owned()
}

/// Returns the fingerprint of the sealing key of the epoch with this index.
fn sealing_key(root: &PrivateRoot, index: usize) -> String {
    let key = epochs(root)[index]["key"].as_str().unwrap().to_owned();
    root.write("/root/sealing.pub", 0o600, format!("{key}\n"));
    root.script("ssh-keygen -lf /root/sealing.pub").split(' ').nth(1).unwrap().to_owned()
}

fn verify(root: &PrivateRoot, keys: &[&str]) -> Output {
    let mut words = vec!["audit", "verify"];
    keys.iter().for_each(|key| words.extend(["--sealing-key", *key]));
    jitctl(root, &words)
}

#[test]
fn each_epoch_has_its_own_key_and_the_former_one_is_erased() {
    let root = own_root();
    root.add_policy("epochs", "[audit]\nepoch = \"1s\"\n");
    let first = &epochs(&root)[0];
    assert_eq!((&first["number"], &first["line"], &first["seq"]), (&1.into(), &1.into(), &1.into()), "{first}");
    assert_eq!(first["certified_by"], "host-key");
    assert_eq!(key_files(&root), "sealing_key.1");
    assert_eq!(root.script(&format!("stat -c '%a %U' {STATE}/sealing_key.1")).trim(), "600 root");
    // Another name of the file shows what becomes of its contents.
    root.script(&format!("ln {STATE}/sealing_key.1 /root/kept && grep -q OPENSSH /root/kept"));
    let person = granted(&root, "self-service");
    root.run_as(&person.name, RUN).succeeded();
    next_epoch(&root);
    assert_eq!(epochs(&root).len(), 2);
    assert_eq!(key_files(&root), "sealing_key.2");
    let left = std::fs::read(root.path("/root/kept")).unwrap();
    assert!(left.len() > 100 && left.iter().all(|byte| *byte == 0), "the former key is not overwritten");
    both_say_intact(&root);
    let shown = jitctl(&root, &["key", "show"]);
    assert!(shown.succeeded().contains(&format!("sealing key of epoch 2: {}", sealing_key(&root, 1))), "{shown:?}");
    // Mirrors have the certificate.
    let second = epochs(&root).pop().unwrap();
    assert!(root.syslog().iter().any(|line| line.seq == second["seq"].as_u64().unwrap()), "syslog has it");
}

/// Root rewrites an early record with everything that is on the host, and signs all of it again.
#[test]
fn a_later_root_forges_nothing_of_an_epoch_that_is_over() {
    let (root, _) = with_epochs();
    let keys: Vec<String> = (0..epochs(&root).len()).map(|index| sealing_key(&root, index)).collect();
    assert!(keys.len() >= 3, "{keys:?}");
    for key in &keys {
        assert!(verify(&root, &[key]).intact().contains("or one that it leads to, has signed up to"), "{key}");
    }
    root.script("jitctl audit export -o /root/before.jsonl; jitctl key show >/root/key");
    verify(&root, &["/root/before.jsonl"]).intact();

    let host_key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    in_journal(&root, |database, _| {
        let change = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), '\"max_rss_kib\":', '\"max_rss_kib\":1') AS BLOB) \
                      WHERE seq = (SELECT min(seq) FROM record WHERE kind = 'end')";
        assert_eq!(database.connection().execute(change, []).unwrap(), 1);
        sign_anew(database.connection(), &host_key).unwrap();
    });
    root.script(&format!(
        "sqlite3 {STATE}/journal.db \
         \"SELECT printf('%020d ', seq) || lower(hex(hash)) FROM record ORDER BY seq DESC LIMIT 1\" >{STATE}/anchor"
    ));
    assert!(
        verify(&root, &[]).intact().contains("chain intact"),
        "the key of the host is enough without a sealing key"
    );
    for key in &keys {
        verify(&root, &[key]).refused("none of the given sealing keys has signed anything");
    }
    verify(&root, &["/root/before.jsonl"]).refused("none of the given sealing keys has signed anything");
    // The same for a file, on any machine.
    root.script("jitctl audit export -o /root/after.jsonl");
    let file = |name: &str, key: &str| {
        jitctl(&root, &["audit", "verify", name, "--public-key", "/root/key", "--sealing-key", key])
    };
    file("/root/before.jsonl", &keys[0]).intact();
    file("/root/after.jsonl", &keys[0]).refused("none of the given sealing keys has signed anything");
}

#[test]
fn a_lost_sealing_key_is_reported_and_a_new_line_needs_roots_acceptance() {
    let (root, person) = with_epochs();
    let first = sealing_key(&root, 0);
    let before = epochs(&root).len();
    root.script(&format!("rm {STATE}/sealing_key.*"));
    root.run_as(&person.name, RUN).succeeded();
    root.script("jitctl audit export >/dev/null");
    let told = root.journal().into_iter().find(|record| record.text("code") == "journal-not-signed").unwrap();
    assert!(told.text("sentence").contains("sealing key of its last epoch"), "{}", told.body);
    assert_eq!(epochs(&root).len(), before, "no line begins by itself");
    let doctor = jitctl(&root, &["doctor"]);
    assert!(doctor.stdout.contains("the journal is not signed: the sealing key"), "{doctor:?}");
    jitctl(&root, &["key", "init"]).succeeded();
    assert_eq!(epochs(&root).len(), before, "nor by key init");
    jitctl(&root, &["key", "accept", "--reason", "the disk was bad"]).succeeded();
    let last = epochs(&root).pop().unwrap();
    assert_eq!((&last["certified_by"], &last["line"]), (&"host-key".into(), &last["seq"]));
    assert_eq!(key_files(&root), format!("sealing_key.{}", last["number"]));
    both_say_intact(&root);
    let said = verify(&root, &[]);
    let line = last["seq"].as_u64().unwrap();
    assert!(said.intact().contains(&format!("sealing began anew: record {line}")), "{said:?}");
    verify(&root, &[&first])
        .refused(&format!("record {line} begins a line of sealing keys in which no given key has signed"));
    let new = sealing_key(&root, before);
    verify(&root, &[&first, &new]).intact();
    // Another acceptance, without a loss, changes nothing of the line.
    jitctl(&root, &["key", "accept", "--reason", "again"]).succeeded();
    assert_eq!(epochs(&root).iter().filter(|epoch| epoch["certified_by"] == "host-key").count(), 2);
}

#[test]
fn a_restored_database_goes_on_in_another_line() {
    let (root, person) = with_epochs();
    jitctl(&root, &["backup", "/root/backup.db"]).succeeded();
    root.run_as(&person.name, RUN).succeeded();
    next_epoch(&root);
    let lost = epochs(&root).pop().unwrap();
    jitctl(&root, &["restore", "/root/backup.db"]).succeeded();
    root.script("jitctl audit export >/dev/null");
    assert!(epochs(&root).iter().all(|epoch| epoch["certified_by"] == "sealing-key" || epoch["seq"] == 1));
    jitctl(&root, &["key", "accept", "--reason", "restored"]).succeeded();
    let last = epochs(&root).pop().unwrap();
    assert_eq!(last["certified_by"], "host-key", "{last}");
    assert_ne!(last["key"], lost["key"], "a key of the lost branch signs nothing more");
    both_say_intact(&root);
    next_epoch(&root);
    both_say_intact(&root);
    assert_eq!(key_files(&root), format!("sealing_key.{}", epochs(&root).pop().unwrap()["number"]));
}

#[test]
fn certificates_outlive_a_pruning_and_lead_an_export() {
    let (root, person) = with_epochs();
    let keys: Vec<String> = (0..epochs(&root).len()).map(|index| sealing_key(&root, index)).collect();
    let third = epochs(&root)[2]["seq"].as_u64().unwrap();
    root.script("jitctl audit export -o /root/whole.jsonl; jitctl key show >/root/key");
    let from = (third + 1).to_string();
    root.script(&format!("jitctl audit export --from {from} -o /root/part.jsonl"));
    let part = |words: &[&str]| {
        jitctl(
            &root,
            &[&["audit", "verify", "/root/part.jsonl", "--from", &from, "--public-key", "/root/key"][..], words]
                .concat(),
        )
    };
    part(&[]).intact();
    part(&["--sealing-key", &keys[0], "--anchor", "/root/whole.jsonl"]).intact();
    root.script("sed -i '2d' /root/part.jsonl");
    part(&[]).refused("begins an epoch and");
    // All records up to the last checkpoint are pruned, as after a long time.
    root.run_as(&person.name, RUN).succeeded();
    next_epoch(&root);
    root.run_as(&person.name, ["jitctl", "release"]).succeeded();
    next_epoch(&root);
    root.as_root(RUN).succeeded(); // the last record is not removed
    let database = format!("{STATE}/journal.db");
    cut(&root);
    assert!(root.journal()[0].seq > third);
    both_say_intact(&root);
    for key in &keys {
        assert!(verify(&root, &[key]).intact().contains("or one that it leads to, has signed up to"), "{key}");
    }
    root.script("jitctl audit export -o /root/rest.jsonl");
    jitctl(&root, &["audit", "verify", "/root/rest.jsonl", "--public-key", "/root/key", "--sealing-key", &keys[0]])
        .intact();
    // A certificate that is missing or changed is noticed.
    for harm in [
        "UPDATE journal_meta SET name = printf('certificate:%020d', substr(name, 13) + 1) WHERE name = (SELECT min(name) FROM journal_meta \
             WHERE name LIKE 'certificate:%')",
        "DELETE FROM journal_meta WHERE name = (SELECT min(name) FROM journal_meta WHERE name LIKE 'certificate:%')",
        "DELETE FROM journal_meta WHERE name = (SELECT max(name) FROM journal_meta WHERE name LIKE 'certificate:%')",
        "UPDATE journal_meta SET value = CAST(replace(CAST(value AS TEXT), 'number' || char(34) || ':2', 'number' || char(34) || ':3') AS BLOB) \
             WHERE name LIKE 'certificate:%'",
    ] {
        root.script(&format!("cp -a {STATE} /root/state; sqlite3 {database} \"{harm}\""));
        verify(&root, &[]).exited(1);
        root.script(&format!("sqlite3 {database} 'PRAGMA wal_checkpoint(TRUNCATE)'; cp {database} /root/copy.db"));
        let check = "/run/private-root/project/tests/check_journal.py /root/copy.db \"$(head -n 1 /root/key)\"";
        root.script(&format!("! python3 {check}"));
        root.script(&format!("settle; rm -r {STATE}; mv /root/state {STATE}"));
    }
    verify(&root, &[]).intact();
}

/// The enforcer of the run signs its end, in its sandbox.
#[test]
fn the_end_of_a_session_begins_an_epoch() {
    let (root, person) = with_epochs();
    let before = epochs(&root).len();
    root.run_as(&person.name, ["jit-sudo", "-n", "sleep", "1.5"]).succeeded();
    harness::eventually("another epoch", harness::PATIENCE, || (epochs(&root).len() > before).then_some(()));
    let last = epochs(&root).pop().unwrap()["number"].clone();
    harness::eventually("one key", harness::PATIENCE, || {
        (key_files(&root) == format!("sealing_key.{last}")).then_some(())
    });
    both_say_intact(&root);
}

#[test]
fn the_sweep_begins_an_epoch_on_an_idle_host() {
    let (root, _) = with_epochs();
    let before = epochs(&root).len();
    std::thread::sleep(Duration::from_millis(1100));
    jitctl(&root, &["sweep"]).succeeded();
    assert_eq!(epochs(&root).len(), before + 1);
    both_say_intact(&root);
}

/// Root of an earlier time has left the key of a later epoch, and knows it; or the file has no key at all.
#[test]
fn a_key_that_is_there_before_its_epoch_never_signs() {
    let (root, _) = with_epochs();
    root.script("ssh-keygen -q -t ed25519 -N '' -f /root/planted");
    let planted = root.read("/root/planted.pub").split(' ').nth(1).unwrap().to_owned();
    for content in ["cat /root/planted", "true", "echo junk"] {
        let next = epochs(&root).len() + 1;
        root.script(&format!(
            "for n in {next} {} 99; do ({content}) >{STATE}/sealing_key.$n; chmod 600 {STATE}/sealing_key.$n; done",
            next + 1
        ));
        std::thread::sleep(Duration::from_millis(1100));
        jitctl(&root, &["sweep"]).succeeded();
        let last = epochs(&root).len();
        assert!(last >= next, "{content}: no epoch begins any more");
        assert_eq!(key_files(&root), format!("sealing_key.{last}"), "{content}");
        root.script("jitctl audit export >/dev/null");
    }
    jitctl(&root, &["key", "accept", "--reason", "again"]).succeeded();
    assert!(epochs(&root).iter().all(|epoch| !epoch["key"].as_str().unwrap().ends_with(&planted)), "{planted}");
    both_say_intact(&root);
}

#[test]
fn a_key_that_a_killed_process_has_left_is_reported_and_erased() {
    let (root, _) = with_epochs();
    root.add_policy("epochs", "[audit]\nepoch = \"7d\"\n");
    let present = key_files(&root);
    root.script(&format!("cp -p {STATE}/{present} {STATE}/sealing_key.1; ln {STATE}/sealing_key.1 /root/kept"));
    let doctor = jitctl(&root, &["doctor"]);
    assert!(doctor.stdout.contains("not erased in /var/lib/jit-sudo: sealing_key.1, which sign nothing"), "{doctor:?}");
    jitctl(&root, &["sweep"]).succeeded();
    assert_eq!(key_files(&root), present);
    let left = std::fs::read(root.path("/root/kept")).unwrap();
    assert!(left.len() > 100 && left.iter().all(|byte| *byte == 0), "the key is not overwritten");
    assert!(jitctl(&root, &["doctor"]).stdout.contains("signs the journal in epoch"));
    both_say_intact(&root);
}

/// The key that signs is erased only when the next one is certified on the disk.
#[test]
fn an_acceptance_that_is_killed_leaves_a_key_that_signs() {
    for place in 1..3 {
        let (root, person) = with_epochs();
        root.add_policy("epochs", "[audit]\nepoch = \"7d\"\n");
        jitctl(&root, &["backup", "/root/backup.db"]).succeeded();
        root.run_as(&person.name, RUN).succeeded();
        jitctl(&root, &["restore", "/root/backup.db"]).succeeded();
        root.script(&format!(
            "strace -f -qq -o /root/trace -e trace=unlinkat -e inject=unlinkat:signal=SIGKILL:when={place} \
             jitctl key accept --reason restored || :"
        ));
        assert!(root.read("/root/trace").contains("killed by SIGKILL"), "{place}");
        jitctl(&root, &["sweep"]).succeeded();
        root.script("jitctl audit export >/dev/null");
        assert_eq!(key_files(&root).lines().count(), 1, "{place}");
        let doctor = jitctl(&root, &["doctor"]);
        assert!(doctor.stdout.contains("signs the journal in epoch"), "{place}: {doctor:?}");
        assert!(root.journal().iter().all(|record| record.text("code") != "journal-not-signed"), "{place}");
    }
}

/// Returns the system calls of a process that begins an epoch, as strace(1) counts them.
fn places(root: &PrivateRoot) -> Vec<(String, u32)> {
    let trace = root.read("/root/reference");
    let mut counts: HashMap<&str, u32> = HashMap::new();
    let names = trace.lines().filter_map(|line| line.split_once('(').map(|(name, _)| name));
    let names = names.filter(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'));
    names
        .map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            (name.to_owned(), *count)
        })
        .collect()
}

const SEAL: &str = "printf seal | /usr/libexec/jit-sudo/jit-sudo-enforcer";

#[test]
fn a_kill_at_some_system_calls_of_an_epoch_change_loses_no_key() {
    kill_at_each(11);
}

#[test]
#[ignore = "some minutes: make kills"]
fn a_kill_at_each_system_call_of_an_epoch_change_loses_no_key() {
    kill_at_each(1);
}

/// Kills a process that begins an epoch at each `step`th system call.
fn kill_at_each(step: usize) {
    let (root, _) = with_epochs();
    // A checkpoint is due, and the epoch is over.
    let due = format!("sqlite3 {STATE}/journal.db 'DELETE FROM checkpoint'; sleep 1.02");
    root.script(&format!("{due}; printf seal | strace -q -o /root/reference /usr/libexec/jit-sudo/jit-sudo-enforcer"));
    let calls = places(&root);
    let erased = root.read("/root/reference").contains("unlinkat(");
    assert!(erased && calls.len() > 100, "{} calls", calls.len());
    // The calls before the first key is read change nothing.
    let begin = root.read("/root/reference").lines().position(|line| line.contains("\"sealing_key.")).unwrap();
    let calls = &calls[begin.saturating_sub(5)..];
    let calls: Vec<_> = calls.iter().step_by(step).collect();
    let (mut changed, mut twice) = (0, BTreeSet::new());
    for (name, at) in &calls {
        let before = epochs(&root).len();
        root.script(&format!(
            "{due}; printf seal | strace -q -o /dev/null -e inject={name}:signal=KILL:when={at} /usr/libexec/jit-sudo/jit-sudo-enforcer || :"
        ));
        let numbers: Vec<u64> = epochs(&root).iter().map(|epoch| epoch["number"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{name} {at}: {numbers:?}");
        changed += usize::from(numbers.len() > before);
        twice.insert(key_files(&root).lines().count());
        // The next process goes on, and leaves one key.
        root.script(&format!("{due}; {SEAL}"));
        assert!(epochs(&root).len() > numbers.len(), "{name} {at}: no epoch begins any more");
        let last = epochs(&root).pop().unwrap()["number"].as_u64().unwrap();
        assert_eq!(key_files(&root), format!("sealing_key.{last}"), "{name} {at}");
    }
    assert!(changed > 0 && changed < calls.len(), "{changed} of {}", calls.len());
    // The step may pass over the few calls between the certificate and the end of the old key.
    assert!(step > 1 || twice.contains(&2), "{twice:?}");
    both_say_intact(&root);
    assert!(root.journal().iter().all(|record| record.text("code") != "journal-not-signed"));
}
