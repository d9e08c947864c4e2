//! The journal as evidence: signed checkpoints, verification with heads that were kept elsewhere and on other machines, export,
//! search, and pruning that leaves a proof.

use std::time::Duration;

use harness::{Output, PrivateRoot, eventually};
use jit_core::clock::{BootTime, Moment, Timestamp};
use jit_core::evidence::certificate::certify;
use jit_core::evidence::chain::hash;
use jit_core::evidence::checkpoint::{Statement, VERSION};
use jit_core::evidence::epoch_event::{Certifier, Epoch, key_words};
use jit_core::evidence::note::signed_by_host;
use jit_core::evidence::record::{Event, Record};
use jit_core::evidence::tree::{Frontier, STEP};
use jit_core::evidence::{Digest, TreeHead};
use jit_core::grant::sshsig::Namespace;
use jit_core::grant::terms::encode;
use jit_core::grant::{HostId, HostKey};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::offline::id_of;
use crate::{granted, id, own_root, records_of, request, root};

const STATE: &str = "/var/lib/jit-sudo";

fn sql(root: &PrivateRoot, statement: &str) -> String {
    root.script(&format!("sqlite3 {STATE}/journal.db \"{statement}\"")).trim().to_owned()
}

fn verify(root: &PrivateRoot, more: &[&str]) -> Output {
    root.as_root([&["jitctl", "audit", "verify"][..], more].concat())
}

/// Returns a root in which a user has run a command this many times.
pub(crate) fn with_runs(count: usize) -> (PrivateRoot, harness::Person) {
    let root = own_root();
    let person = root.person(&["deploy"]);
    for _ in 0..count {
        root.run_as(&person.name, ["jit-sudo", "-n", "id"]).succeeded();
    }
    (root, person)
}

/// Changes a copy of the database while no process uses it, and puts it back.
fn rewrite(root: &PrivateRoot, change: impl FnOnce(&Connection)) {
    root.script(&format!("cd {STATE} && sqlite3 journal.db 'PRAGMA wal_checkpoint(TRUNCATE)' && rm -f journal.db-*"));
    let directory = std::env::temp_dir().join(format!("jit-sudo-evidence-{}", root.init()));
    std::fs::create_dir_all(&directory).unwrap();
    let copy = directory.join("journal.db");
    std::fs::copy(root.path(&format!("{STATE}/journal.db")), &copy).unwrap();
    {
        let connection = Connection::open(&copy).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        change(&connection);
        connection.execute_batch("COMMIT").unwrap();
    }
    std::fs::copy(&copy, root.path(&format!("{STATE}/journal.db"))).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Replaces all records by `count` records of the kinds of the first run, starting at `time`, as this host would have written
/// them. In place of the first run are the policy that all of them name, and an alert.
/// `epochs`: with sealing keys, the first certified in record 2 and another one each [`EPOCH`] records.
pub(crate) fn forge(root: &PrivateRoot, count: u64, time: i64, epochs: Epochs) {
    let run = root.journal();
    let template = |kind: &str| {
        let mut record = run.iter().find(|record| record.kind() == kind).unwrap().json.clone();
        for (key, mark) in [("seq", "@SEQ@"), ("prev", "@PREV@"), ("time", "@TIME@")] {
            record[key] = mark.into();
        }
        if kind != "policy" {
            record["run"] = "@RUN@".into();
        }
        if kind == "end" {
            record["start"] = "@START@".into();
        }
        // Of another boot, so that the current clocks do not contradict them.
        record["boot_id"] = "00000000-0000-4000-8000-000000000000".into();
        (kind.to_owned(), record["uid"].as_i64(), record.to_string())
    };
    let (templates, policy) = ([template("start"), template("end")], template("policy"));
    let alert = {
        let mut record: serde_json::Value = serde_json::from_str(&policy.2).unwrap();
        record
            .as_object_mut()
            .unwrap()
            .retain(|key, _| ["boot", "boot_id", "host", "prev", "seq", "time", "version"].contains(&key.as_str()));
        record["kind"] = "alert".into();
        record["code"] = "hook-failed".into();
        record["sentence"] = "x".into();
        ("alert".to_owned(), None, record.to_string())
    };
    let key = HostKey::from_openssh(&root.read(&format!("{STATE}/host_key"))).unwrap();
    let boot = run[0].number("boot");
    let host = id_of(root, &key);
    let mut sealing = (0, HostKey::from_openssh(&key.to_openssh(7)).unwrap());
    rewrite(root, |connection| {
        connection
            .execute_batch("DELETE FROM record; DELETE FROM checkpoint; DELETE FROM tree; DELETE FROM precedent; DELETE FROM journal_meta WHERE name = 'pruned'")
            .unwrap();
        let mut insert = connection
            .prepare("INSERT INTO record (seq, kind, uid, run, grant_id, at, high, hash, body) VALUES (?1, ?2, ?3, ?4, NULL, ?5, ?5, ?6, ?7)")
            .unwrap();
        let (mut prev, mut tree) = (Digest::ZERO, Frontier::default());
        let mut subtree =
            connection.prepare("INSERT INTO tree (height, place, seq, hash) VALUES (?1, ?2, ?3, ?4)").unwrap();
        for seq in 1..=count {
            let at = time + seq.cast_signed();
            let certificate = epochs.begins(seq).then(|| {
                let next = (sealing.0 + 1, sealing_key(sealing.0 + 1));
                let body = certified((seq, prev), (at, boot), &sealing, &next);
                sealing = next;
                ("epoch".to_owned(), None, body)
            });
            let (kind, uid, template) = match seq {
                _ if certificate.is_some() => certificate.as_ref().unwrap(),
                1 => &policy,
                2 => &alert,
                _ if epochs.begins(seq - 1) && seq != 3 => &alert,
                _ => &templates[usize::from(seq % 2 == 0)],
            };
            let run = format!("{:012}", seq.div_ceil(2));
            let body = template
                .replace("\"@SEQ@\"", &seq.to_string())
                .replace("\"@START@\"", &(seq - 1).to_string())
                .replace("\"@TIME@\"", &at.to_string())
                .replace("@PREV@", &prev.to_string())
                .replace("@RUN@", &run);
            prev = hash(body.as_bytes());
            let run = ["start", "end"].contains(&kind.as_str()).then_some(run);
            insert.execute(params![seq.cast_signed(), kind, uid, run, at, prev.0, body.as_bytes()]).unwrap();
            tree.push(prev, |done| {
                if done.height % STEP == 0 {
                    let row = params![done.height, done.place.cast_signed(), seq.cast_signed(), done.hash.0];
                    subtree.execute(row).unwrap();
                }
            });
            if seq % 1000 == 0 || seq == count {
                sign(connection, seq, prev, tree.head(), (&sealing.1, &key, &host), at / 1_000_000 + 1);
            }
        }
    });
    if sealing.0 > 0 {
        root.script(&format!("rm -f {STATE}/sealing_key.*"));
        root.write(&format!("{STATE}/sealing_key.{}", sealing.0), 0o600, sealing.1.to_openssh(7));
    }
    // As whoever sets back all of it.
    let head = sql(root, "SELECT printf('%020d ', seq) || lower(hex(hash)) FROM record ORDER BY seq DESC LIMIT 1");
    root.script(&format!("echo '{head}' >{STATE}/anchor; rm -f {STATE}/sent-*"));
}

/// Whether a forged journal has sealing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epochs {
    /// The key of the host signs its checkpoints, as in an earlier version.
    None,
    /// Each [`EPOCH`] records.
    Many,
}

/// The number of records of an epoch.
pub(crate) const EPOCH: u64 = 200;

impl Epochs {
    /// Whether this record begins an epoch.
    fn begins(self, seq: u64) -> bool {
        self == Self::Many && (seq == 2 || seq % EPOCH == 1 && seq > 2)
    }
}

fn sealing_key(number: u64) -> HostKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    HostKey::from_seed(seed)
}

/// Returns the record in which a key, that of the host for the first epoch, certifies the next one.
fn certified(
    (seq, prev): (u64, Digest),
    (at, boot): (i64, i64),
    (before, by): &(u64, HostKey),
    (number, next): &(u64, HostKey),
) -> String {
    let epoch = Epoch {
        number: *number,
        line: 2,
        key: key_words(&next.public_key()),
        certified_by: if *before == 0 { Certifier::HostKey } else { Certifier::SealingKey },
        signature: String::new(),
    };
    let boot_id = "00000000-0000-4000-8000-000000000000".to_owned();
    let moment = Moment { wall: Timestamp(at), boot: BootTime(boot), boot_id };
    let record = Record::new(seq, prev, &moment, "web1", Event::Epoch(Box::new(epoch)));
    certify(record, by).unwrap().encode().unwrap()
}

/// Stores a checkpoint by these keys: the sealing key, and that of the host.
fn sign(
    connection: &Connection,
    seq: u64,
    head: Digest,
    TreeHead { size, root }: TreeHead,
    (sealing, host, id): (&HostKey, &HostKey, &HostId),
    at: i64,
) {
    let statement = Statement { at, head, host: id.as_str().into(), root, seq, size, version: VERSION };
    let note = signed_by_host(host, id.as_str(), &statement.tree()).unwrap().to_string();
    let body = encode(&statement).unwrap();
    let signature = sealing.sign(Namespace::Checkpoint, &body);
    connection
        .execute(
            "INSERT INTO checkpoint (seq, body, signature, note) VALUES (?1, ?2, ?3, ?4)",
            params![seq.cast_signed(), body, signature, note],
        )
        .unwrap();
}

fn signed(root: &PrivateRoot) -> u64 {
    sql(root, "SELECT max(seq) FROM checkpoint").parse().unwrap_or_default()
}

/// Waits for the checkpoint, which another process signs in the background.
fn signed_through(root: &PrivateRoot, seq: u64) {
    eventually("a checkpoint", Duration::from_secs(10), || (signed(root) >= seq).then_some(()));
    assert_eq!(signed(root), seq);
}

#[test]
fn a_process_that_talks_to_a_caller_never_opens_the_private_key() {
    let root = own_root();
    let person = granted(&root, "self-service");
    sql(&root, "DELETE FROM checkpoint"); // so that a checkpoint is due
    let asked = |command: &str| {
        let strace = ["strace", "-f", "-q", "-o", "/root/trace", "-e", "trace=openat,execve", "-u", &person.name];
        root.as_root(strace.into_iter().chain(["sh", "-c", command])).succeeded();
        root.read("/root/trace")
    };
    for command in ["jit-sudo -n true", "jit-sudo -n sh -c 'exit 0'; jit-sudo -n cat /nowhere || true", "jit-sudo -l"] {
        let trace = asked(command);
        assert!(trace.contains("host_key.pub\"") || command.ends_with("-l"), "{trace}");
        let mut program = std::collections::HashMap::new();
        for line in trace.lines() {
            let (pid, call) = line.split_once(' ').unwrap();
            if let Some(path) = call.trim_start().strip_prefix("execve(\"") {
                program.insert(pid.to_owned(), path.split('"').next().unwrap().to_owned());
            }
            if call.contains("host_key\"") || call.contains("\"sealing_key.") {
                assert_eq!(
                    program.get(pid).map(String::as_str),
                    Some("/usr/libexec/jit-sudo/jit-sudo-enforcer"),
                    "{line}"
                );
            }
        }
    }
    signed_through(&root, root.journal().iter().rfind(|record| record.seq <= signed(&root)).unwrap().seq);
}

#[test]
fn a_session_is_signed_at_its_end_and_ssh_keygen_agrees() {
    let (root, person) = with_runs(0);
    root.run_as(&person.name, ["jit-sudo", "-n", "sleep", "1.1"]).succeeded();
    let end = root.journal().pop().unwrap();
    assert_eq!(end.kind(), "end");
    signed_through(&root, end.seq);
    let verified = root.as_root(["jitctl", "--json", "audit", "verify"]).json()["verified"].clone();
    assert_eq!((&verified["intact"], &verified["signed"]["through"]), (&json!(true), &json!(end.seq)));
    root.script(
        "cd /root && jitctl audit export -o journal.jsonl
         grep '^{\"checkpoint\"' journal.jsonl | tail -n 1 >line
         jq -r .checkpoint line | tr -d '\\n' >statement && jq -r .signature line >statement.sig
         grep '\"kind\":\"epoch\"' journal.jsonl | grep -v '^{\"certificate\"' | head -n 1 >epoch
         jq -cSj 'del(.signature)' epoch >certificate
         { echo '-----BEGIN SSH SIGNATURE-----'; jq -r .signature epoch | fold -w 70
           echo '-----END SSH SIGNATURE-----'; } >certificate.sig
         echo \"host namespaces=\\\"jit-sudo/epoch/v1\\\" $(jitctl key show | head -n 1)\" >signers
         ssh-keygen -Y verify -f signers -I host -n jit-sudo/epoch/v1 -s certificate.sig <certificate
         echo \"host namespaces=\\\"jit-sudo/checkpoint/v1\\\" $(jq -r .key epoch)\" >signers
         ssh-keygen -Y verify -f signers -I host -n jit-sudo/checkpoint/v1 -s statement.sig <statement
         head -n 1 journal.jsonl | tr -d '\\n' | sha256sum | cut -d' ' -f1 >first",
    );
    assert_eq!(root.read("/root/first").trim(), root.journal()[0].hash);
    let statement: Value = serde_json::from_str(&root.read("/root/statement")).unwrap();
    assert_eq!(statement["head"], root.journal().last().unwrap().hash.as_str());
}

#[test]
fn short_runs_are_signed_when_a_checkpoint_is_due() {
    let (root, person) = with_runs(1);
    let first: Vec<_> = root.journal().into_iter().take(2).collect();
    assert_eq!(first[1].kind(), "policy");
    signed_through(&root, 2); // the first checkpoint is due at once, after the broker's answer
    for _ in 0..3 {
        root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    }
    assert_eq!(signed(&root), 2, "within a minute nothing is due");
    // The checkpoint becomes a minute old: as old as its key may be younger.
    let at = first[0].number("time") / 1_000_000 - 60;
    let [sealing, host] = ["sealing_key.1", "host_key"]
        .map(|name| HostKey::from_openssh(&root.read(&format!("{STATE}/{name}"))).unwrap());
    let own = id_of(&root, &host);
    let heads: Vec<_> = first.iter().map(|record| Digest(jit_core::escape::unhex(&record.hash).unwrap())).collect();
    rewrite(&root, |connection| {
        connection.execute_batch("DELETE FROM checkpoint").unwrap();
        let mut tree = Frontier::default();
        heads.iter().for_each(|head| tree.push(*head, |_| ()));
        sign(connection, 2, heads[1], tree.head(), (&sealing, &host, &own), at);
    });
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    signed_through(&root, 12);
    verify(&root, &[]).intact();
}

#[test]
fn truncation_is_detected_by_anchor_checkpoint_and_syslog() {
    let (root, _) = with_runs(5);
    root.script(&format!("jitctl audit export -o /root/whole.jsonl && cp -a {STATE} /root/state"));
    root.syslog(); // until rsyslog has written everything
    let said = |more: &[&str]| {
        let output = verify(&root, more);
        output.exited(1);
        output.stderr
    };
    let syslog = ["--anchor", "/var/log/auth.log"];
    verify(&root, &syslog).intact();
    // Between two runs: a start without an end would lack its row.
    let cut = "DELETE FROM record WHERE seq > 8";
    sql(&root, cut);
    assert!(said(&[]).contains("record 9 is missing: the journal ends before it"), "{}", said(&[]));
    sql(&root, "DELETE FROM checkpoint WHERE seq > 8");
    assert!(said(&[]).contains("record 9 is missing"), "the anchor beside the database knows more");
    root.script(&format!("rm {STATE}/anchor"));
    assert!(said(&[]).contains("(table precedent)"), "the count of earlier runs knows more");
    sql(&root, "DELETE FROM precedent");
    verify(&root, &[]).intact(); // nothing on this host shows it now
    for more in [syslog, ["--anchor", "/root/whole.jsonl"], ["--anchor", "/root/state/anchor"]] {
        assert!(said(&more).contains("record 9 is missing"), "{more:?}: {}", said(&more));
    }
    root.script(&format!("settle; rm -r {STATE} && cp -a /root/state {STATE}"));
    verify(&root, &syslog).intact();
}

#[test]
fn a_rewritten_chain_is_detected_by_checkpoints_and_syslog() {
    let (root, _) = with_runs(3);
    root.script("jitctl audit export -o /root/whole.jsonl");
    let records = root.journal();
    root.syslog();
    // Everything from record 3 on as someone would write it who cannot sign: all hashes and links match.
    rewrite(&root, |connection| {
        let mut prev = Digest(jit_core::escape::unhex(&records[1].hash).unwrap());
        for record in &records[2..] {
            let mut forged = record.json.clone();
            forged["prev"] = prev.to_string().into();
            if record.seq == 3 {
                forged["argv"] = json!(["/usr/bin/whoami"]);
            }
            let body = forged.to_string();
            prev = hash(body.as_bytes());
            connection
                .execute(
                    "UPDATE record SET body = ?1, hash = ?2 WHERE seq = ?3",
                    params![body.as_bytes(), prev.0, record.seq.cast_signed()],
                )
                .unwrap();
        }
    });
    let last = records.len();
    let bad = |more: &[&str]| {
        let output = verify(&root, more);
        output.exited(1);
        output.stderr
    };
    assert!(bad(&[]).contains(&format!("record {} is not the one in the anchor", last - 1)), "{}", bad(&[]));
    root.script(&format!("rm {STATE}/anchor"));
    let said = bad(&["--anchor", "/var/log/auth.log"]);
    assert!(said.contains("the 8 records up to it are not those of a signed head that was kept elsewhere"), "{said}");
    assert!(bad(&[]).contains(&format!("record {last} is not the one that the host signed")), "{}", bad(&[]));
}

#[test]
fn an_export_can_be_verified_on_any_machine() {
    let (root, person) = with_runs(4);
    root.script(
        "cd /home/alice && jitctl audit export >journal.jsonl && jitctl key show >key && chown alice journal.jsonl key
         mv /usr/libexec/jit-sudo /root/elsewhere && chmod 700 /var/lib/jit-sudo",
    );
    let check = |more: &[&str]| {
        root.run_as(
            "alice",
            [&["jitctl", "audit", "verify", "journal.jsonl", "--public-key", "key"][..], more].concat(),
        )
    };
    let said = check(&[]);
    assert!(said.intact().contains("chain intact: 10 records"), "{said:?}");
    root.script("sed -i '6s/usr.bin.id/usr\\/bin\\/ls/' /home/alice/journal.jsonl");
    let said = check(&[]);
    said.exited(1);
    assert!(said.stderr.contains("record 6 does not follow record 5: one of the two was altered"), "{said:?}");
    let _ = person;
}

#[test]
fn an_export_continues_after_the_last_one_and_has_four_formats() {
    let (root, person) = with_runs(3);
    let first = root.as_root(["jitctl", "--json", "audit", "export", "-o", "/root/one"]).json()["export"].clone();
    assert_eq!((&first["records"], &first["next"]), (&json!(8), &json!(9)), "{first}");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    let second = root.as_root(["jitctl", "--json", "audit", "export", "--from", "9", "-o", "/root/two"]).json();
    assert_eq!(second["export"]["records"], 2, "{second}");
    root.as_root(["jitctl", "audit", "verify", "/root/two", "--from", "9"]).intact();
    root.as_root(["jitctl", "audit", "verify", "/root/two"]).exited(1);
    let bodies: Vec<String> = root.journal().into_iter().map(|record| record.body).collect();
    let both = root.read("/root/one") + &root.read("/root/two");
    let is_record = |line: &&str| !line.starts_with("{\"c") && !line.starts_with("{\"after\"");
    assert_eq!(both.lines().filter(is_record).collect::<Vec<_>>(), bodies);
    for (format, extra) in [("ocsf", 0), ("cef", 0), ("csv", 1)] {
        let text = root.as_root(["jitctl", "audit", "export", "--format", format]);
        assert_eq!(text.succeeded().lines().count(), bodies.len() + extra, "{format}: {text:?}");
    }
    let none = root.as_root(["jitctl", "audit", "export", "--since", "2099-01-01", "--format", "cef"]);
    assert_eq!(none.succeeded(), "");
    assert_eq!(
        root.as_root(["jitctl", "audit", "export", "--since", "1h", "--format", "cef"]).succeeded().lines().count(),
        10
    );
}

#[test]
fn only_root_and_readers_export_and_only_root_prunes() {
    let root = own_root();
    let (person, reader) = (root.person(&["deploy"]), root.person(&["auditors"]));
    root.add_policy("readers", "[audit]\nreaders = [\"%auditors\"]\nkeep = \"400d\"\n");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    for words in [&["export"][..], &["verify"], &["prune"]] {
        root.run_as(&person.name, [&["jitctl", "audit"], words].concat()).refused("only root");
    }
    root.run_as(&reader.name, ["jitctl", "audit", "export"]).succeeded();
    root.run_as(&reader.name, ["jitctl", "audit", "verify"]).intact();
    root.run_as(&reader.name, ["jitctl", "audit", "prune"]).refused("only root");
    let output = root.as_root(["jitctl", "audit", "prune"]);
    assert!(output.succeeded().starts_with("nothing to remove"), "{output:?}");
    root.as_root(["jitctl", "audit", "prune", "--keep", "0d"]).exited(2);
}

#[test]
fn old_segments_are_pruned_and_the_rest_verifies_here_and_elsewhere() {
    let (root, person) = with_runs(1);
    root.as_root(["jitctl", "audit", "prune"]).refused("nothing says how long records are kept");
    let now = root.journal()[0].number("time");
    forge(&root, 3500, now - 10 * 86_400_000_000, Epochs::None);
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    signed_through(&root, 3503); // the record of its first epoch
    verify(&root, &[]).intact();
    let size = || sql(&root, "SELECT count(*) FROM record").parse::<u64>().unwrap();
    let before = size();
    // The records are of another boot: only root knows how long the host was off.
    let held = root.as_root(["jitctl", "audit", "prune", "--keep", "9d"]);
    assert!(held.succeeded().contains("3500 older records are kept"), "{held:?}");
    root.as_root(["jitctl", "key", "accept", "--reason", "it was off"]).succeeded();
    let before = before + 1;
    let dry =
        root.as_root(["jitctl", "--json", "audit", "prune", "--keep", "9d", "--dry-run"]).json()["pruned"].clone();
    assert_eq!(
        (&dry["records"], &dry["through"], &dry["done"], size()),
        (&json!(3500), &json!(3500), &json!(false), before)
    );
    let nothing = root.as_root(["jitctl", "audit", "prune", "--keep", "11d"]);
    assert!(nothing.succeeded().starts_with("nothing to remove"), "{nothing:?}");
    // A journal that is not intact is not pruned: the altered record would be removed.
    root.script(&format!("sqlite3 {STATE}/journal.db 'UPDATE record SET uid = 7 WHERE seq = 5'"));
    root.as_root(["jitctl", "audit", "prune", "--keep", "9d"]).refused("not intact: the column 'uid' of record 5");
    let uid = person.uid;
    root.script(&format!("sqlite3 {STATE}/journal.db 'UPDATE record SET uid = {uid} WHERE seq = 5'"));
    // The runs 2 to 1750 are removed, and their recordings with them.
    let shelf = format!("{STATE}/recordings/done");
    root.script(&format!(
        "install -d -m 700 {STATE}/recordings {shelf}; umask 077; cd {shelf}
         echo x >000000000002.cast; echo x >000000001750.cast.zst; echo x >000000001751.cast"
    ));
    let said = root.as_root(["jitctl", "audit", "prune", "--keep", "9d"]);
    assert!(said.succeeded().contains("up to number 3500 and 2 recordings were removed"), "{said:?}");
    assert_eq!(root.script(&format!("ls {shelf}")), "000000001751.cast\n");
    assert_eq!(root.journal()[0].seq, 3501);
    let prune = root.journal().into_iter().find(|record| record.kind() == "prune").unwrap();
    assert_eq!((prune.number("through"), prune.text("user")), (3500, "root"));
    let named = root.journal()[0].text("policy").to_owned();
    assert_eq!(prune.json["policies"], json!([named]), "the policy whose record went, for those that stay and name it");
    let said = verify(&root, &[]);
    assert!(said.intact().contains("begins after record 3500"), "{said:?}");
    // What is written there afterwards is no history, for nobody.
    let planted =
        "SELECT 7, kind, uid, 'planted00000', grant_id, at, high, hash, body FROM record WHERE kind = 'start' LIMIT 1";
    sql(&root, &format!("INSERT INTO record (seq, kind, uid, run, grant_id, at, high, hash, body) {planted}"));
    assert!(!root.as_root(["jitctl", "audit", "list", "--limit", "10000"]).succeeded().contains("planted00000"));
    root.as_root(["jitctl", "audit", "show", "planted00000"]).refused("");
    verify(&root, &[]).refused("record 7 is none of those that were pruned up to record 3500");
    sql(&root, "DELETE FROM record WHERE seq = 7");
    root.script("jitctl audit export -o /root/rest.jsonl && jitctl key show >/root/key");
    let said = verify(&root, &["/root/rest.jsonl", "--public-key", "/root/key"]);
    assert!(said.intact().contains("begins after record 3500"), "{said:?}");
    root.run_as(&person.name, ["jit-sudo", "-n", "true"]).succeeded();
    verify(&root, &["--anchor", "/root/rest.jsonl"]).intact();
    // Without the mark of the pruning the records are missing.
    sql(&root, "DELETE FROM journal_meta WHERE name = 'pruned'");
    verify(&root, &[]).exited(1);
}

#[test]
fn records_are_found_by_their_text() {
    let person = root().person(&["deploy", "self-service"]);
    let grant = id(&request(root(), &person, "self-service", &[]));
    root().run_as(&person.name, ["jit-sudo", "-n", "sh", "-c", "exit 43 # Needle-in-here"]).exited(43);
    root().run_as(&person.name, ["jit-sudo", "-n", "-u", "carol", "echo", "other"]).succeeded();
    let name = person.name.as_str();
    let found = |words: &[&str]| {
        let output = root().as_root([&["jitctl", "--json", "audit"][..], words, &["--user", name]].concat());
        let records = output.json()["records"]["records"].as_array().unwrap().clone();
        records.iter().map(|record| record["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let mine = records_of(root(), &person);
    let seq = |kind: &str, text: &str| {
        mine.iter().find(|record| record.kind() == kind && record.body.contains(text)).map(|record| record.seq).unwrap()
    };
    let (needle, failed) = (seq("start", "Needle"), seq("end", "\"exit\":43"));
    assert_eq!(found(&["search", "needle-IN"]), [needle]);
    assert_eq!(found(&["search", "no such thing"]), Vec::<u64>::new());
    assert_eq!(found(&["list", "--command", "exit 43 # Needle"]), [needle]);
    assert_eq!(found(&["list", "--status", "43"]), [failed]);
    assert_eq!(found(&["list", "--status", "failed"]), [failed]);
    assert_eq!(found(&["list", "--role", "self-service", "--kind", "grant"]), [seq("grant", &grant)]);
    assert_eq!(found(&["list", "--denied"]), Vec::<u64>::new());
    assert_eq!(found(&["list", "--host", "web1"]).len(), mine.len());
    assert_eq!(found(&["list", "--host", "web2"]), Vec::<u64>::new());
    assert_eq!(found(&["list", "--since", "1h"]).len(), mine.len());
    assert_eq!(found(&["list", "--until", "1h"]), Vec::<u64>::new());
    root().run_as(name, ["jit-sudo", "-n", "-u", "nobody-at-all", "id"]).refused("");
    root().as_root(["jitctl", "audit", "list", "--status", "soon"]).refused("'soon' is no status");
    root().as_root(["jitctl", "audit", "list", "--since", "soon"]).exited(2);
}

#[test]
fn users_see_decisions_about_themselves_only() {
    let (person, approver, other) =
        (root().person(&["reviewed"]), root().person(&["approvers"]), granted(root(), "self-service"));
    let grant = id(&request(root(), &person, "reviewed", &[]));
    root().run_as(&approver.name, ["jitctl", "approve", &grant, "--comment", "fine with me"]).succeeded();
    let denied = id(&request(root(), &person, "reviewed", &[]));
    root().run_as(&approver.name, ["jitctl", "deny", &denied, "--reason", "once is enough"]).succeeded();
    let seen = |words: &[&str]| root().run_as(&person.name, [&["jitctl", "audit"], words].concat());
    let listed = seen(&["list"]);
    for word in ["fine with me", "once is enough", grant.as_str()] {
        assert!(listed.succeeded().contains(word), "{word}: {listed:?}");
    }
    assert!(!listed.stdout.contains(&other.name), "{listed:?}");
    assert!(seen(&["show", &denied]).succeeded().contains("once is enough"));
    assert!(seen(&["search", "ENOUGH"]).succeeded().contains("once is enough"));
    let foreign = records_of(root(), &other)[0].seq.to_string();
    seen(&["show", &foreign]).refused("there is no record");
    assert_eq!(seen(&["search", &other.name]).succeeded(), "no records");
}
