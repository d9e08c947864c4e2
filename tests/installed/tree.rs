//! Tree heads: in the log sinks, as a proof for one record, and with a witness. Any user can write lines into syslog that look like
//! those of jit-sudo.

use std::time::Duration;

use harness::{PrivateRoot, eventually};

use jit_core::evidence::TreeHead;
use jit_core::evidence::chain::hash;
use jit_core::evidence::note::{Note, signed_by_host};
use jit_core::evidence::tree::leaf;
use jit_core::grant::HostKey;

use crate::own_root;

const STATE: &str = "/var/lib/jit-sudo";
const LOG: &str = "/var/log/auth.log";
const RUN: [&str; 4] = ["jit-sudo", "-n", "id", "-u"];

/// A root in which a user has run a command, and the host has signed all records and sent the head to the log.
fn signed() -> (PrivateRoot, harness::Person) {
    let root = own_root();
    let person = root.person(&["deploy"]);
    root.run_as(&person.name, RUN).succeeded();
    sign(&root);
    (root, person)
}

/// Has the host sign all records, and waits until the log has the head.
fn sign(root: &PrivateRoot) {
    root.script("jitctl audit prove --consistency 0 >/root/head");
    let note = root.read("/root/head");
    let size = note.lines().skip_while(|line| !line.starts_with("jit-sudo/")).nth(1).unwrap().to_owned();
    eventually("the head in the log", Duration::from_secs(10), || {
        root.read(LOG).contains(&format!("\\n{size}\\n")).then_some(())
    });
}

fn verify(root: &PrivateRoot, more: &[&str]) -> harness::Output {
    root.as_root([&["jitctl", "audit", "verify"][..], more].concat())
}

#[test]
fn a_line_that_any_user_writes_decides_nothing() {
    let (root, person) = signed();
    let said = verify(&root, &["--anchor", LOG]);
    assert!(said.succeeded().ends_with("\nintact"), "{said:?}");
    let zeros = "0".repeat(64);
    // A record that differs, one that the journal does not have, and a head with a signature of nobody.
    for (line, disagreeing) in [
        (format!("@cee: {{\"seq\":3,\"head\":\"{zeros}\",\"record\":{{}}}}"), 1),
        (format!("@cee: {{\"seq\":99999,\"head\":\"{zeros}\",\"record\":{{}}}}"), 2),
        (
            "@cee: {\"checkpoint\":\"{}\",\"kind\":\"checkpoint\",\"note\":\"NOTE\",\"seq\":3,\"signature\":\"\"}"
                .to_owned(),
            2,
        ),
    ] {
        let origin = root.read("/root/head").lines().find(|line| line.starts_with("jit-sudo/")).unwrap().to_owned();
        let signature = "A".repeat(91) + "=";
        let note = format!("{origin}\\n1\\n{}=\\n\\n— {origin} {signature}\\n", "A".repeat(43));
        root.write("/tmp/line", 0o644, line.replace("NOTE", &note));
        root.run_as(&person.name, ["sh", "-c", "logger -p authpriv.notice -t 'jit-sudo[7]' \"$(cat /tmp/line)\""])
            .succeeded();
        root.syslog();
        assert!(root.read(LOG).contains("jit-sudo[7]"), "the line is in the log");
        let said = verify(&root, &["--anchor", LOG]);
        let text = said.succeeded();
        assert!(
            text.contains(&format!("other lines  {disagreeing} without a signature disagree, from record 3 on")),
            "{text}"
        );
    }
    root.script(&format!("jitctl audit export -o /root/journal.jsonl; cp {LOG} /root/log; jitctl key show >/root/key"));
    let elsewhere = ["/root/journal.jsonl", "--public-key", "/root/key", "--anchor", "/root/log"];
    assert!(verify(&root, &elsewhere).succeeded().contains("a signed head that was kept elsewhere agrees"));
    let unnamed = verify(&root, &["/root/journal.jsonl", "--anchor", "/root/log"]);
    unnamed.exited(5);
    assert!(unnamed.stdout.contains("not checked: the key that signed them was not given"), "{unnamed:?}");
}

#[test]
fn a_signed_head_in_the_log_shows_a_journal_that_root_has_cut_off() {
    let (root, person) = signed();
    root.script(&format!("cp -a {STATE} /root/before"));
    root.run_as(&person.name, RUN).succeeded();
    sign(&root);
    verify(&root, &["--anchor", LOG]).succeeded();
    // The whole state of an hour ago, with its anchor: nothing on this host shows it.
    root.script(&format!("settle; rm -r {STATE} && cp -a /root/before {STATE}"));
    verify(&root, &[]).exited(5);
    verify(&root, &["--anchor", LOG])
        .refused("the journal ends before it, and a signed head that was kept elsewhere covers");
    root.run_as(&person.name, RUN).succeeded();
    root.run_as(&person.name, RUN).succeeded();
    sign(&root);
    verify(&root, &["--anchor", LOG]).refused("are not those of a signed head that was kept elsewhere");
}

#[test]
fn one_record_is_proved_without_the_journal() {
    let (root, person) = signed();
    root.run_as(&person.name, ["jit-sudo", "-n", "echo", "needle"]).succeeded();
    let start = root.journal().into_iter().rfind(|record| record.kind() == "start").unwrap();
    let seq = start.seq.to_string();
    let check = |file: &str| {
        let words = ["jitctl", "audit", "check-proof", file, "--host-key", "/tmp/key"];
        root.run_as("alice", words)
    };
    root.script(&format!(
        "jitctl audit prove {seq} >/tmp/proof; jitctl key show >/tmp/key; chmod 644 /tmp/proof /tmp/key"
    ));
    let said = check("/tmp/proof");
    said.exited(5);
    assert!(said.stdout.contains(&format!("as number {seq} of ")) && said.stdout.contains("needle"), "{said:?}");
    assert!(said.stdout.contains("by the key of the host only"), "{said:?}");
    let proof = root.read("/tmp/proof");
    assert!(
        proof.starts_with("c2sp.org/tlog-proof@v1\nextra ") && proof.len() < 4_000 + start.body.len() * 2,
        "{proof}"
    );
    let lines: Vec<&str> = proof.lines().collect();
    for index in 1..lines.len() {
        let mut altered: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let line = &mut altered[index];
        if line.is_empty() {
            continue;
        }
        let middle = line.len() / 2;
        let other = if line.as_bytes()[middle] == b'7' { "8" } else { "7" };
        line.replace_range(middle..=middle, other);
        root.write("/tmp/altered", 0o644, &(altered.join("\n") + "\n"));
        check("/tmp/altered").refused("nothing is proved");
    }
    root.script("ssh-keygen -q -t ed25519 -N '' -f /tmp/other && cp /tmp/other.pub /tmp/key");
    check("/tmp/proof").refused("the host with this key has not signed the tree");
    // Whoever has the key can sign the tree of what is no record.
    let (key, leaf) = (HostKey::from_openssh(&root.read("/tmp/other")).unwrap(), leaf(hash(b"hello")));
    let note = signed_by_host(&key, &"0".repeat(64), &TreeHead { size: 1, root: leaf }).unwrap();
    root.write("/tmp/none", 0o644, format!("c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 0\n\n{note}"));
    check("/tmp/none").refused("what the host has signed is no record of a journal");
    root.as_root(["jitctl", "audit", "prove", "99999"]).refused("there is no record 99999");
    root.run_as(&person.name, ["jitctl", "audit", "prove", &seq]).refused("");
}

#[test]
fn a_witness_cosigns_a_journal_that_grows_and_refuses_one_that_was_restored() {
    let (root, person) = signed();
    let witness = |words: &str| {
        let words = format!("cd /tmp; jitctl witness {words}");
        root.run_as("bob", ["sh", "-c", &words])
    };
    root.script("jitctl key show | head -n 1 >/tmp/host.pub; chmod 644 /tmp/host.pub");
    witness("cosign --state /tmp/w --host-key /tmp/host.pub </dev/null").refused("this witness has no key");
    let key = witness("key --state /tmp/w --name witness.example/one").succeeded().to_owned();
    root.write("/tmp/witness.pub", 0o644, format!("{key}\n"));
    let host = root.read("/root/head").lines().find_map(|line| line.strip_prefix("jit-sudo/")).unwrap().to_owned();
    let size = || witness(&format!("size --state /tmp/w {host}")).succeeded().to_owned();
    let submit = || {
        let size = size();
        root.script(&format!("jitctl audit prove --consistency {size} >/tmp/body; chmod 644 /tmp/body"));
        witness("cosign --state /tmp/w --host-key /tmp/host.pub /tmp/body")
    };
    assert_eq!(size(), "0");
    assert!(submit().succeeded().starts_with("— witness.example/one "));
    root.script(&format!("cp -a {STATE} /root/before"));
    for _ in 0..3 {
        root.run_as(&person.name, RUN).succeeded();
        submit().succeeded();
    }
    assert_eq!(size(), root.journal().len().to_string());
    root.script(&format!("cp /tmp/w/{host}.note /root/note"));
    let said = verify(&root, &["--anchor", "/root/note", "--witness", "/tmp/witness.pub"]);
    assert!(said.succeeded().contains("witness      cosigned up to record "), "{said:?}");
    let uncosigned = verify(&root, &["--anchor", LOG, "--witness", &key]);
    uncosigned.exited(5);
    assert!(
        uncosigned
            .stdout
            .contains("not checked: no head of this journal with a cosignature of witness.example/one that could be compared was given"),
        "{uncosigned:?}"
    );
    // Each witness that is named has to have cosigned.
    let second = witness("key --state /tmp/w2 --name witness.example/two").succeeded().to_owned();
    let both = verify(&root, &["--anchor", "/root/note", "--witness", &second, "--witness", &key]);
    both.exited(5);
    assert!(
        both.stdout.contains("cosigned up to record ") && both.stdout.contains("witness.example/two that could"),
        "{both:?}"
    );
    root.script("jitctl audit prove 3 >/root/proof");
    root.as_root(["jitctl", "audit", "check-proof", "/root/proof", "--host-key", "/tmp/host.pub", "--witness", &key])
        .refused("witness witness.example/one has not cosigned the tree");
    // The state of before, and a journal that grows from there.
    let before = size();
    root.script(&format!("settle; rm -r {STATE} && cp -a /root/before {STATE}"));
    root.as_root(["jitctl", "audit", "prove", "--consistency", &before]).refused("the journal has only");
    while root.journal().len() <= before.parse::<usize>().unwrap() {
        root.run_as(&person.name, RUN).succeeded();
    }
    submit().refused("do not begin with the");
    assert_eq!(size(), before);
    verify(&root, &["--anchor", "/root/note", "--witness", &key]).refused("are not those of a signed head");
}

/// An older state directory and then another host key do not begin a new log.
#[test]
fn a_witness_goes_on_with_a_host_whose_key_was_replaced_and_with_no_older_journal_of_it() {
    let (root, person) = signed();
    let public = |name: &str| root.script(&format!("jitctl key show | head -n 1 >/root/{name}.pub"));
    let host = || root.script("jitctl audit prove --consistency 0 | grep -m 1 '^jit-sudo/'").trim().to_owned();
    let witness = |words: &str| root.as_root(["sh", "-c", &format!("cd /root; jitctl witness {words}")]);
    let submit = |old: &str, more: &str| {
        root.script(&format!("jitctl audit prove --consistency {old} >/root/body"));
        witness(&format!("cosign --state /root/w {more} /root/body"))
    };
    witness("key --state /root/w --name witness.example/one").succeeded();
    let (first, size) = (host(), |host: &str| witness(&format!("size --state /root/w {host}")).succeeded().to_owned());
    public("first");
    root.script(&format!("settle; cp -a {STATE} /root/older"));
    root.run_as(&person.name, RUN).succeeded();
    submit("0", "--host-key first.pub").succeeded();
    let rotate = || root.script("jitctl key rotate --yes --reason x");
    let old = size(&first);
    let rotations = |name: &str| root.script(&format!("jitctl key show --rotations >/root/{name}"));
    // Root has put an older state in its place, and replaced the key.
    root.script(&format!("settle; cp -a {STATE} /root/present; rm -r {STATE} && cp -a /root/older {STATE}"));
    rotate();
    rotations("wrong");
    public("wrong");
    while root.journal().len() <= old.parse::<usize>().unwrap() {
        root.as_root(RUN).succeeded();
    }
    submit("0", "--host-key wrong.pub").refused("this witness knows others");
    submit("0", "--host-key wrong.pub --rotation wrong").refused(&format!("this witness has cosigned {old} records"));
    submit(&old, "--host-key wrong.pub --rotation wrong").refused("do not begin with the");
    // The true one.
    root.script(&format!("settle; rm -r {STATE} && cp -a /root/present {STATE}"));
    rotate();
    rotations("right");
    public("second");
    submit(&old, "--host-key second.pub --rotation wrong").refused("this witness knows others");
    submit(&old, "--host-key second.pub --rotation right").succeeded();
    assert_eq!(size(&host()), root.journal().len().to_string());
    root.script(&format!("cp /root/w/{}.note /root/note", host().trim_start_matches("jit-sudo/")));
    let key = witness("key --state /root/w").succeeded().to_owned();
    verify(&root, &["--anchor", "/root/note", "--witness", &key]).succeeded();
}

/// A note counts for the journal whose checkpoints have its origin and its key: not one of another host in a common log, and none
/// that root signs with the key of the host under another origin.
#[test]
fn a_note_of_another_origin_or_key_confirms_and_breaks_nothing() {
    let (root, _) = signed();
    root.script("jitctl audit export -o /root/journal.jsonl; jitctl key show | head -n 1 >/root/host.pub");
    let notes = root.read("/root/head");
    let own = Note::parse(notes.split_once("\n\n").map(|(_, note)| note).unwrap()).unwrap();
    let tree = own.head().unwrap().1;
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let other = HostKey::from_seed([9; 32]);
    let note = |key: &HostKey, size: u64| {
        signed_by_host(key, &"c0ffee00".repeat(8), &TreeHead { size, root: tree.root }).unwrap().to_string()
    };
    root.script("cat /root/host.pub >/root/all.pub");
    let words = jit_core::evidence::epoch_event::key_words(&other.public_key());
    root.script(&format!("echo '{words}' >>/root/all.pub"));
    let check = |note: &str| {
        root.write("/root/note", 0o600, note);
        let words = ["/root/journal.jsonl", "--public-key", "/root/all.pub", "--anchor", "/root/note"];
        (verify(&root, &words), verify(&root, &["--anchor", "/root/note"]))
    };
    let invented = note(&key, tree.size);
    let (file, host) = check(&invented);
    for said in [file, host] {
        said.exited(5);
        assert!(said.stdout.contains("not checked: no signed head of this journal"), "{said:?}");
    }
    check(&note(&key, tree.size + 1)).0.refused("the journal ends before it");
    // An honest note of another host makes it doubtful only if the key of that host is given.
    let honest = note(&other, 70_000);
    check(&honest).0.exited(5);
    let both = check(&format!("{own}\n{honest}")).0;
    both.exited(5);
    assert!(both.stdout.contains("1 are by given keys that this journal is not by"), "{both:?}");
    verify(&root, &["/root/journal.jsonl", "--public-key", "/root/host.pub", "--anchor", "/root/note"]).succeeded();
    // From a pipe, too.
    root.script("cat /root/journal.jsonl | jitctl audit verify - --public-key /root/host.pub --anchor /root/note");
    // The witness takes no first checkpoint of a key that it knows.
    root.script("jitctl witness key --state /root/w --name w");
    let cosign = |body: &str| {
        root.write("/root/body", 0o600, body);
        root.as_root([
            "jitctl",
            "witness",
            "cosign",
            "--state",
            "/root/w",
            "--host-key",
            "/root/host.pub",
            "/root/body",
        ])
    };
    cosign(&notes).succeeded();
    cosign(&format!("old 0\n\n{invented}")).refused("its key has signed for host");
    let two = cosign(&format!("old x\n{}", notes.replacen("old 0", &format!("old {}", tree.size), 1)));
    two.exited(1);
    assert!(two.stdout.starts_with("— w ") && two.stderr.contains("checkpoint 1: not cosigned"), "{two:?}");
}
