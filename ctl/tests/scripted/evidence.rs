//! Export and verification: an export can be verified, and every change of it is found.

use std::fs;

use jit_core::evidence::chain::hash;
use jit_core::evidence::checkpoint::{Statement, VERSION};
use jit_core::evidence::note::signed_by_host;
use jit_core::evidence::tree::Frontier;
use jit_core::evidence::{Digest, TreeHead};
use jit_core::grant::HostKey;
use jit_core::grant::sshsig::{Namespace, armor};
use jit_core::grant::terms::encode;
use jit_core::wire::{AuditExport, AuditList, CheckpointInfo, ExportPage, RecordInfo, RecordPage, TreeInfo};
use serde_json::{Value, json};

use crate::support::{Answer, Scripted};

const LAST: u64 = 12;

fn key() -> HostKey {
    HostKey::from_seed([5; 32])
}

/// Records 1 to [`LAST`]; the tenth states that the records up to 4 were pruned.
fn records() -> Vec<RecordInfo> {
    let mut prev = Digest::ZERO;
    let mut records: Vec<RecordInfo> = Vec::new();
    for seq in 1..=LAST {
        let (kind, through, head) = match seq {
            10 => ("prune", 4, records[3].hash.clone()),
            _ => ("alert", 0, String::new()),
        };
        let mut tree = Frontier::default();
        for record in records.iter().take(4) {
            tree.push(Digest(jit_core::escape::unhex(&record.hash).unwrap()), |_| ());
        }
        let body = json!({"before": 1, "boot": 0, "boot_id": "b", "code": "x", "head": head, "host": "web1", "kind": kind,
            "prev": prev.to_string(), "records": 4, "size": tree.size(), "tree": tree.hashes(), "sentence": format!("number {seq}"), "seq": seq, "through": through,
            "time": 1_800_000_000_000_000 + seq, "uid": 0, "user": "root", "version": 1});
        let body = body.to_string();
        prev = hash(body.as_bytes());
        records.push(RecordInfo { seq, hash: prev.to_string(), body });
    }
    records
}

/// The tree of the first records.
fn tree(size: u64) -> Frontier {
    let mut tree = Frontier::default();
    for record in records().iter().take(usize::try_from(size).unwrap()) {
        tree.push(Digest(jit_core::escape::unhex(&record.hash).unwrap()), |_| ());
    }
    tree
}

/// The first record that a pruning leaves.
const REMAINING: u64 = 5;

fn checkpoint(record: &RecordInfo) -> CheckpointInfo {
    let head = Digest(jit_core::escape::unhex(&record.hash).unwrap());
    let TreeHead { size, root } = tree(record.seq).head();
    // What the pruning of the sample removed was signed long before it.
    let at = if record.seq < REMAINING { 0 } else { 1_800_000_000 };
    let statement = Statement { at, head, host: "h".into(), root, seq: record.seq, size, version: VERSION };
    let body = encode(&statement).unwrap();
    let signature = armor(&key().sign(Namespace::Checkpoint, &body));
    let note = signed_by_host(&key(), "h", &statement.tree()).unwrap().to_string();
    CheckpointInfo { seq: record.seq, body: String::from_utf8(body).unwrap(), signature, note }
}

fn page(records: &[RecordInfo], checkpoints: Vec<CheckpointInfo>, more: bool) -> Answer {
    let before = tree(records[0].seq - 1);
    let hashes = before.hashes().iter().map(ToString::to_string).collect();
    let tree = (before.size() > 0 && more).then(|| TreeInfo { size: before.size(), tree: hashes });
    Answer::to::<AuditExport>(ExportPage {
        certificates: Vec::new(),
        records: records.to_vec(),
        checkpoints,
        tree,
        through: LAST,
        more,
    })
}

/// Returns what a broker exports in two pieces, from record `first` on.
fn exported(first: u64, format: &str) -> String {
    let all = records();
    let from = usize::try_from(first).unwrap() - 1;
    let mut begin = vec![checkpoint(&all[5])];
    if from > 0 {
        begin.insert(0, checkpoint(&all[from - 1]));
    }
    let broker = Scripted::answering_in_turn([
        page(&all[from..8], begin, true),
        page(&all[8..], vec![checkpoint(&all[9]), checkpoint(&all[11])], false),
    ]);
    let called = broker.call(&["audit", "export", "--format", format]);
    assert_eq!((called.status, called.stderr.as_str()), (0, ""));
    let second: Value = serde_json::from_str(&broker.file("ask.2")).unwrap();
    assert_eq!(second, json!({"verb": "audit-export", "from": 9, "through": LAST}));
    called.stdout
}

/// Verifies a file, and returns the exit status and the output.
fn verify(lines: &[&str], more: &[&str]) -> (i32, String) {
    let broker = Scripted::silent().with("journal", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    let (file, public) = (broker.path("journal"), key().public_line());
    let mut words = vec!["audit", "verify", file.to_str().unwrap(), "--public-key", &public];
    words.extend(more);
    let called = broker.call(&words);
    assert_eq!(broker.times_asked(), 0, "a file needs no broker");
    (called.status, called.stdout + &called.stderr)
}

#[test]
fn an_export_can_be_verified_without_a_broker() {
    let text = exported(1, "jsonl");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 15);
    let (status, said) = verify(&lines, &[]);
    let head = &records()[11].hash;
    assert_eq!(status, 5, "{said}");
    assert!(
        said.starts_with(&format!("chain intact: 12 records, head {head}\nsignatures   signed up to record 12 at ")),
        "{said}"
    );
    assert!(said.ends_with("intact as far as can be told\n"), "{said}");
    let other = HostKey::from_seed([6; 32]).public_line();
    let broker = Scripted::silent().with("journal", &text);
    let called = broker.call(&["audit", "verify", broker.path("journal").to_str().unwrap(), "--public-key", &other]);
    assert_eq!(called.status, 1, "{}", called.stdout);
    let called = broker.call(&["audit", "verify", broker.path("journal").to_str().unwrap()]);
    assert!(called.status == 5 && called.stdout.contains("whose key that is was not asked"), "{}", called.stdout);
}

#[test]
fn an_export_of_a_pruned_journal_begins_with_a_signed_checkpoint() {
    let text = exported(5, "jsonl");
    let lines: Vec<&str> = text.lines().collect();
    let (status, said) = verify(&lines, &[]);
    assert!(
        status == 5 && said.contains("chain intact: 8 records") && said.contains("begins after record 4"),
        "{said}"
    );
    let (status, said) = verify(&lines[2..], &[]);
    assert!(status == 1 && said.contains("record 1 is missing, the next one is 5"), "{said}");
    let (status, said) = verify(&lines[1..], &[]);
    assert!(status == 5 && said.contains("not checked: the records before this file are unknown"), "{said}");
    let (status, said) = verify(&lines[2..], &["--from", "5"]);
    assert!(status == 5 && said.contains("begins after record 4"), "{said}");
    let other = lines[0].replacen(&tree(4).hashes()[0].to_string(), &Digest([9; 32]).to_string(), 1);
    assert_eq!(verify(&[&[other.as_str()], &lines[1..]].concat(), &[]).0, 1, "another tree before the file");
    let without: Vec<&str> = lines.iter().copied().filter(|line| !line.contains("\"kind\":\"prune\"")).collect();
    assert_eq!(verify(&without, &[]).0, 1);
    let early = exported(4, "jsonl");
    let (status, said) = verify(&early.lines().collect::<Vec<_>>(), &[]);
    assert!(status == 1 && said.contains("records 1 to 3 are missing, and no record says"), "{said}");
}

#[test]
fn every_deletion_swap_insertion_and_truncation_is_found() {
    let text = exported(1, "jsonl");
    let lines: Vec<&str> = text.lines().collect();
    let anchor = Scripted::silent().with("anchor", format!("{LAST:020} {}\n", records()[11].hash));
    let anchor = anchor.path("anchor");
    let anchored = ["--anchor", anchor.to_str().unwrap()];
    for index in 0..lines.len() {
        let is_record = !lines[index].starts_with("{\"checkpoint\"");
        let mut fewer = lines.clone();
        fewer.remove(index);
        // A missing or repeated early checkpoint is no loss: the last one covers the same records. That of the pruning is needed.
        let is_of_pruning = lines[index].contains("\"seq\":10,\"signature\"");
        let expected = if is_record || is_of_pruning || index == lines.len() - 1 { 1 } else { 5 };
        assert_eq!(verify(&fewer, &[]).0, expected, "without line {index}");
        let mut double = lines.clone();
        double.insert(index, lines[index]);
        assert_eq!(verify(&double, &[]).0, if is_record { 1 } else { 5 }, "line {index} twice");
        if index + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(index, index + 1);
            assert_eq!(verify(&swapped, &[]).0, 1, "lines {index} and the next swapped");
        }
        // Truncation directly after a checkpoint is found only with a head that was kept elsewhere.
        let (status, said) = verify(&lines[..index], &anchored);
        assert_eq!(status, 1, "{index} lines: {said}");
    }
    let (status, said) = verify(&lines, &anchored);
    assert!(status == 5 && said.contains("the anchor agrees up to record 12"), "{said}");
    let (status, said) = verify(&lines[..7], &anchored);
    assert!(
        status == 1 && said.contains("record 7 is missing: the journal ends before it, and record 12 was"),
        "{said}"
    );
}

/// A log of a year has more signed heads than the broker takes at once.
#[test]
fn a_signed_head_of_another_history_is_found_among_any_number() {
    let text = exported(1, "jsonl");
    let lines: Vec<&str> = text.lines().collect();
    let note = |host: &str, head: &TreeHead| signed_by_host(&key(), host, head).unwrap().to_string();
    let other = note("h", &TreeHead { size: 4, root: Digest([9; 32]) });
    let many: String =
        (0..8_001).map(|number| format!("\n\n{}", note(&format!("h{number}"), &tree(5).head()))).collect();
    let verified = |heads: &str| {
        let log = Scripted::silent().with("log", heads);
        verify(&lines, &["--anchor", log.path("log").to_str().unwrap()])
    };
    assert_ne!(verified(&many).0, 1);
    let (status, said) = verified(&format!("\n\n{other}{many}"));
    assert!(status == 1 && said.contains("a signed head that was kept elsewhere"), "{said}");
}

#[test]
fn an_altered_line_is_found_wherever_it_is_altered() {
    let text = exported(1, "jsonl");
    let lines: Vec<&str> = text.lines().collect();
    for index in 0..lines.len() {
        for at in (0..lines[index].len()).step_by(23) {
            let mut bytes = lines[index].as_bytes().to_vec();
            bytes[at] ^= 2;
            let altered = String::from_utf8_lossy(&bytes).into_owned();
            let mut lines = lines.clone();
            lines[index] = &altered;
            let (status, said) = verify(&lines, &[]);
            // The number and kind of a checkpoint's line are for programs; only the signed text counts.
            assert!(
                status == 1 || (altered.starts_with("{\"checkpoint\":") && said.contains("chain intact")),
                "{altered}"
            );
        }
    }
}

#[test]
fn a_file_that_is_no_export_is_an_error_of_one_line() {
    for text in ["", "\n", "hello\n", "[]\n", "{\"checkpoint\":\"x\"}\n", "\u{0}\u{1b}[2J\n"] {
        let broker = Scripted::silent().with("journal", text);
        let called = broker.call(&["audit", "verify", broker.path("journal").to_str().unwrap()]);
        assert_eq!((called.status, called.stdout.as_str()), (1, ""), "{text:?}");
        assert!(called.stderr.starts_with("jitctl: chain broken: "), "{}", called.stderr);
        assert!(!called.stderr.contains('\x1b'));
    }
    let broker = Scripted::silent().with("empty", "nothing here\n");
    let called = broker.call(&["audit", "verify", "--anchor", broker.path("empty").to_str().unwrap()]);
    assert_eq!(called.status, 1);
    assert!(called.stderr.contains("holds no head of a journal"), "{}", called.stderr);
    let called = broker.call(&["audit", "verify", "/nonexistent"]);
    assert_eq!(called.stderr, "jitctl: cannot read /nonexistent: no such file or directory\n");
}

#[test]
fn each_format_has_a_line_for_each_record() {
    for (format, header) in [("ocsf", 0), ("cef", 0), ("csv", 1)] {
        let text = exported(1, format);
        assert_eq!(text.lines().count(), 12 + header, "{text}");
    }
    for line in exported(1, "ocsf").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let raw: Value = serde_json::from_str(event["raw_data"].as_str().unwrap()).unwrap();
        assert_eq!(raw["seq"], event["metadata"]["sequence"]);
    }
}

#[test]
fn an_export_to_a_file_reports_where_the_next_begins() {
    let all = records();
    let broker = Scripted::answering(page(&all, vec![checkpoint(&all[11])], false));
    let path = broker.path("out");
    let words = ["--json", "audit", "export", "--output", path.to_str().unwrap()];
    let called = broker.call(&words);
    assert_eq!(called.status, 0, "{}", called.stderr);
    let said: Value = serde_json::from_str(&called.stdout).unwrap();
    assert_eq!((&said["export"]["records"], &said["export"]["next"]), (&json!(12), &json!(13)));
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(broker.call(&words).status, 1, "no file is overwritten");
    assert_eq!(broker.call(&["--json", "audit", "export"]).status, 2);
    let refusing = Scripted::refusing("no", None, 1);
    assert_eq!(refusing.call(&["audit", "export", "-o", refusing.path("none").to_str().unwrap()]).status, 1);
    assert!(!refusing.path("none").exists(), "a refusal leaves no file");
}

#[test]
fn a_listing_requests_pages_until_it_has_enough() {
    let all = records();
    let part = |range: std::ops::Range<usize>, looked_at| {
        Answer::to::<AuditList>(RecordPage { records: all[range].to_vec(), more: looked_at > 1, looked_at })
    };
    let broker = Scripted::answering_in_turn([part(10..12, 9), part(0..0, 5), part(2..3, 1)]);
    let called = broker.call(&["--json", "audit", "list", "--limit", "9"]);
    let said: Value = serde_json::from_str(&called.stdout).unwrap();
    let numbers: Vec<u64> =
        said["records"]["records"].as_array().unwrap().iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 11, 12]);
    assert_eq!(broker.times_asked(), 3);
    let third: Value = serde_json::from_str(&broker.file("ask.3")).unwrap();
    assert_eq!((&third["before"], &third["limit"]), (&json!(5), &json!(7)));
}
