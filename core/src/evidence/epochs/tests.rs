use super::*;
use crate::evidence::certificate::certify;
use crate::evidence::chain::{self, Begin};
use crate::evidence::checkpoint::{Checkpoint, Statement, VERSION};
use crate::evidence::epoch_event::key_words;
use crate::evidence::note::signed_by_host;
use crate::evidence::proof::{Proof, Proven};
use crate::evidence::record::{Event, Record};
use crate::evidence::tree::{Frontier, TreeHead};
use crate::evidence::{Digest, Mark};
use crate::grant::terms::encode;
use crate::grant::{HostDescriptor, HostKey};
use crate::samples;

mod forged;
mod host_key;

const HOST: u8 = 1;

/// The second of a pruning, days after the records.
const LATER: i64 = 200_000;

fn key(seed: u8) -> HostKey {
    HostKey::from_seed([seed; 32])
}

fn fingerprint(seed: u8) -> String {
    key(seed).fingerprint()
}

/// A journal that a test writes: its records, and the checkpoints of some.
#[derive(Clone, Default)]
struct Told {
    records: Vec<(u64, String, Digest)>,
    checkpoints: Vec<Checkpoint>,
    number: u64,
    line: u64,
    /// The host key of the line.
    host: u8,
}

impl Told {
    fn append(&mut self, event: Event, by: Option<&HostKey>) -> u64 {
        let second = self.records.last().map_or(1, |last| last.0 + 1);
        self.append_at(second as i64, event, by)
    }

    fn append_at(&mut self, second: i64, event: Event, by: Option<&HostKey>) -> u64 {
        let prev = self.records.last().map_or(Digest::ZERO, |last| last.2);
        let seq = self.records.last().map_or(0, |last| last.0) + 1;
        let record = Record::new(seq, prev, &samples::moment(second), "web1", event);
        let record = by.map_or(Ok(record.clone()), |by| certify(record, by)).unwrap();
        let body = record.encode().unwrap();
        let hash = chain::hash(body.as_bytes());
        self.records.push((seq, body, hash));
        seq
    }

    /// Appends an ordinary record.
    fn record(&mut self) -> u64 {
        self.append(samples::events().remove(2), None)
    }

    fn prune(&mut self, last: Mark) {
        let prune = samples::events().into_iter().find(|event| matches!(event, Event::Prune(_)));
        let Some(Event::Prune(mut prune)) = prune else { panic!() };
        (prune.through, prune.head, prune.before) = (last.seq, last.hash, samples::moment(LATER - 86_400).wall);
        self.append_at(LATER, Event::Prune(prune), None);
    }

    fn accepted(&mut self) -> u64 {
        let Event::Alert(mut alert) = samples::events().remove(11) else { panic!() };
        alert.code = crate::evidence::acceptance::ACCEPTED.to_owned();
        self.append(Event::Alert(alert), None)
    }

    fn certificate(&mut self, seed: u8, by: u8, certified_by: Certifier) -> u64 {
        let next = self.records.last().map_or(0, |last| last.0) + 1;
        if certified_by == Certifier::HostKey {
            (self.line, self.host) = (next, by);
        }
        self.number += 1;
        let epoch = Epoch {
            number: self.number,
            line: self.line,
            key: key_words(&key(seed).public_key()),
            certified_by,
            signature: String::new(),
        };
        self.append(Event::Epoch(Box::new(epoch)), Some(&key(by)))
    }

    fn checkpoint(&mut self, seed: u8) {
        let last = self.records.last().unwrap().0;
        self.checkpoint_at(seed, last as i64);
    }

    fn checkpoint_at(&mut self, seed: u8, second: i64) {
        let at = samples::moment(second).wall.seconds();
        let (seq, _, head) = self.records.last().unwrap().clone();
        let mut tree = Frontier::default();
        self.records.iter().for_each(|(_, _, hash)| tree.push(*hash, |_| ()));
        let TreeHead { size, root } = tree.head();
        let host = HostDescriptor::of(&key(self.host), "web1", "machine").id;
        let note = signed_by_host(&key(self.host), &host, &TreeHead { size, root }).unwrap().to_string();
        let statement = Statement { at, head, host, root, seq, size, version: VERSION };
        let body = encode(&statement).unwrap();
        self.checkpoints.push(Checkpoint { seq, signature: key(seed).sign(Namespace::Checkpoint, &body), body, note });
    }

    fn prove_part(
        &self,
        begin: Begin,
        certificates: &[String],
        signers: Signers,
        given: &[u8],
    ) -> Result<Proven, FirstBad> {
        let given = given.iter().map(|seed| fingerprint(*seed)).collect();
        let mut proof = Proof::new(begin, signers, []).with_sealing_keys(begin, given);
        for body in certificates {
            proof.certificate(body.as_bytes())?;
        }
        let after = match begin {
            Begin::First => 0,
            Begin::Pruned(mark) => mark.seq,
            Begin::Part(first) => first - 1,
        };
        for checkpoint in self.checkpoints.iter().filter(|checkpoint| checkpoint.seq == after) {
            proof.checkpoint(checkpoint)?;
        }
        for (seq, body, _) in self.records.iter().filter(|(seq, ..)| *seq > after) {
            proof.bare_record(body.as_bytes())?;
            for checkpoint in self.checkpoints.iter().filter(|checkpoint| checkpoint.seq == *seq) {
                proof.checkpoint(checkpoint)?;
            }
        }
        proof.end(2, None)
    }

    fn prove(&self, given: &[u8]) -> Result<Proven, FirstBad> {
        self.prove_part(Begin::First, &[], Signers::These(vec![key(HOST).public_key()]), given)
    }

    /// Returns the records with other links and hashes, as anyone can make them.
    fn relinked(mut self) -> Self {
        self.records = samples::relink(&self.records);
        self
    }
}

/// Three epochs with the keys 11, 12 and 13: records 1, 4 and 6.
fn story() -> Told {
    let mut told = Told::default();
    told.certificate(11, HOST, Certifier::HostKey);
    told.record();
    told.record();
    told.checkpoint(11);
    told.certificate(12, 11, Certifier::SealingKey);
    told.record();
    told.certificate(13, 12, Certifier::SealingKey);
    told.record();
    told.checkpoint(13);
    told
}

fn is_epoch<T: std::fmt::Debug>(proven: Result<T, FirstBad>, seq: u64, why: &str) {
    match proven {
        Err(FirstBad { seq: found, cause: Cause::Epoch(said) }) if found == seq && said.contains(why) => {}
        other => panic!("{other:?} instead of {seq}: {why}"),
    }
}

#[test]
fn each_key_is_certified_by_the_one_before_it_and_the_first_by_the_host() {
    let proven = story().prove(&[]).unwrap();
    assert_eq!((proven.records, proven.signed.as_ref().unwrap().through, proven.foreign), (7, 7, 0));
    let Sealing { lines, last, epochs, asked, .. } = proven.sealing;
    assert_eq!((lines.len(), lines[0].line, lines[0].accepted, epochs, asked), (1, 1, None, 3, false));
    assert_eq!(lines[0].host_key, Some(fingerprint(HOST)));
    assert_eq!(last.map(|last| (last.number, last.seq)), Some((3, 6)));
    for given in [11, 12, 13] {
        let line = &story().prove(&[given]).unwrap().sealing.lines[0];
        assert_eq!(line.given, Some(u64::from(given) - 10));
    }
    let unknown = FirstBad { seq: 7, cause: Cause::NoGivenKey };
    assert_eq!(story().prove(&[99]).unwrap_err(), unknown, "no epoch has this key");
    assert_eq!(story().prove(&[HOST]).unwrap_err(), unknown, "the host key is no sealing key");
}

#[test]
fn a_certificate_covers_all_records_before_it() {
    let mut told = story();
    told.checkpoints.clear();
    let proven = told.prove(&[]).unwrap();
    assert_eq!((proven.signed.as_ref().unwrap().through, proven.last.seq), (6, 7));
    // Another record before it, and every link again: the certificate does not hold.
    told.records[4].1 = told.records[4].1.replace("no-grant", "no-role");
    let told = told.relinked();
    is_epoch(told.prove(&[]), 6, "is not certified");
}

/// What root can do at the time of epoch 3, with the key of this epoch and of the host: everything before is fixed.
#[test]
fn a_later_root_forges_no_earlier_epoch() {
    // Rewrites record 5, and certifies the last key again with what is left.
    for (by, certified_by) in [(13, Certifier::SealingKey), (HOST, Certifier::SealingKey), (HOST, Certifier::HostKey)] {
        let mut told = story();
        told.records.truncate(4);
        told.checkpoints.truncate(1);
        (told.number, told.line) = (2, 1);
        told.record();
        told.certificate(13, by, certified_by);
        let why =
            if certified_by == Certifier::HostKey { "root has not accepted" } else { "not certified by the sealing" };
        is_epoch(told.prove(&[]), 6, why);
    }
    // Signs a record of an earlier epoch with the present key.
    let mut told = story();
    told.records.truncate(5);
    told.checkpoints.truncate(1);
    told.checkpoint(13);
    assert!(matches!(told.prove(&[]), Err(FirstBad { seq: 5, cause: Cause::Checkpoint(_) })));
    told.checkpoints.truncate(1);
    told.checkpoint(HOST);
    assert!(matches!(told.prove(&[]), Err(FirstBad { seq: 5, cause: Cause::Checkpoint(_) })));
}

/// Root has the key of the host and no sealing key: writes all records anew, and certifies the key that the reader has noted.
#[test]
fn a_key_that_is_only_named_proves_nothing() {
    let named = |given: u8, twice: bool| {
        let mut told = Told::default();
        told.record();
        told.certificate(given, HOST, Certifier::HostKey);
        if twice {
            told.record();
            told.accepted();
            told.certificate(given, HOST, Certifier::HostKey);
        }
        told
    };
    for (given, twice) in [(11, false), (13, false), (11, true)] {
        let forged = named(given, twice);
        assert!(forged.prove(&[]).is_ok(), "the key of the host is enough without a sealing key");
        assert_eq!(forged.prove(&[given]).unwrap_err().cause, Cause::NoGivenKey, "{given} {twice}");
    }
    // The same behind genuine records, in a line of its own.
    let mut told = story();
    told.accepted();
    let begun = told.certificate(12, HOST, Certifier::HostKey);
    assert_eq!(told.prove(&[11, 12, 13]).unwrap_err(), FirstBad { seq: begun, cause: Cause::OtherLine });
    // It counts with what it signs, and leads to the later ones.
    let mut told = Told::default();
    told.certificate(11, HOST, Certifier::HostKey);
    assert_eq!(told.prove(&[11]).unwrap_err().cause, Cause::NoGivenKey);
    told.record();
    told.checkpoint(11);
    assert_eq!(told.prove(&[11]).unwrap().sealing.lines[0].proved, Some(2));
    told.certificate(12, 11, Certifier::SealingKey);
    assert_eq!(told.prove(&[11]).unwrap().sealing.lines[0].proved, Some(3));
    assert_eq!(told.prove(&[12]).unwrap_err().cause, Cause::NoGivenKey);
    assert_eq!(story().prove(&[11]).unwrap().sealing.lines[0].proved, Some(7));
}

/// A log that goes on after root has rewritten the journal has the new keys, and still the former ones.
#[test]
fn every_certified_epoch_elsewhere_is_one_of_the_journal_or_of_a_lost_branch() {
    let proven = |told: &Told, known: &[(u64, u8)]| {
        let epochs = known.iter().map(|(seq, seed)| KnownEpoch { seq: *seq, key: fingerprint(*seed) }).collect();
        let elsewhere = crate::evidence::Elsewhere { epochs, ..Default::default() };
        let mut proof = Proof::new(Begin::First, Signers::These(vec![key(HOST).public_key()]), []).with(elsewhere);
        for (seq, body, _) in &told.records {
            proof.bare_record(body.as_bytes())?;
            for checkpoint in told.checkpoints.iter().filter(|checkpoint| checkpoint.seq == *seq) {
                proof.checkpoint(checkpoint)?;
            }
        }
        proof.end(2, None)
    };
    assert!(proven(&story(), &[(1, 11), (4, 12), (6, 13)]).is_ok());
    for (known, seq) in [((1, 21), 1), ((4, 11), 4), ((2, 21), 2), ((9, 14), 9)] {
        let bad = proven(&story(), &[(1, 11), known]).unwrap_err();
        assert_eq!(bad, FirstBad { seq, cause: Cause::OtherEpoch });
    }
}

#[test]
fn a_new_line_is_reported_and_needs_a_key_of_its_own() {
    let mut told = story();
    told.records.truncate(5);
    told.checkpoints.truncate(1);
    (told.number, told.line) = (2, 1);
    let accepted = told.accepted();
    let begun = told.certificate(20, HOST, Certifier::HostKey);
    told.record();
    told.checkpoint(20);
    let lines = told.prove(&[]).unwrap().sealing.lines;
    assert_eq!(lines.iter().map(|line| line.accepted).collect::<Vec<_>>(), [None, Some(accepted)]);
    assert_eq!(told.prove(&[11]).unwrap_err(), FirstBad { seq: begun, cause: Cause::OtherLine });
    assert_eq!(told.prove(&[11, 20]).unwrap().sealing.lines.len(), 2);
    assert!(told.prove(&[20]).is_ok(), "what came before is covered by the chain");
    // The key of another host certifies it: nothing counts any more.
    let mut other = story();
    other.accepted();
    other.certificate(20, 2, Certifier::HostKey);
    other.record();
    other.record();
    other.record();
    other.checkpoint(20);
    assert_eq!(other.prove(&[]).unwrap_err().cause, Cause::NotRotated(fingerprint(2)));
    assert!(other.prove(&[12, 20]).is_ok(), "a key that is known from elsewhere");
}

#[test]
fn the_note_of_a_checkpoint_is_by_the_host_key_of_its_line() {
    let mut told = story();
    let checkpoint = told.checkpoints.last_mut().unwrap();
    let tree = Statement::decode(&checkpoint.body).unwrap().tree();
    for seed in [2, 13] {
        let host = Statement::decode(&checkpoint.body).unwrap().host;
        checkpoint.note = signed_by_host(&key(seed), &host, &tree).unwrap().to_string();
        let seq = checkpoint.seq;
        for signers in [Signers::Anybody, Signers::These(vec![key(HOST).public_key(), key(seed).public_key()])] {
            let proven =
                Told { checkpoints: vec![checkpoint.clone()], ..story() }.prove_part(Begin::First, &[], signers, &[]);
            assert!(
                matches!(proven, Err(FirstBad { seq: found, cause: Cause::Checkpoint(_) }) if found == seq),
                "{seed}"
            );
        }
    }
}

#[test]
fn what_another_key_signed_before_a_pruning_needs_roots_acceptance() {
    let pruned = |is_accepted: bool| {
        let mut told = Told::default();
        told.certificate(11, 2, Certifier::HostKey);
        told.record();
        told.record();
        told.checkpoint(11);
        let begin = Mark { seq: 3, hash: told.records[2].2 };
        told.prune(begin);
        told.checkpoint_at(11, LATER);
        if is_accepted {
            told.accepted();
            told.certificate(20, HOST, Certifier::HostKey);
        }
        let certificates = [told.records[0].1.clone()];
        told.prove_part(Begin::Pruned(begin), &certificates, Signers::These(vec![key(HOST).public_key()]), &[])
    };
    let bad = pruned(false).unwrap_err();
    assert!(bad.seq == 4 && bad.to_string().contains("another key signed"), "{bad}");
    assert_eq!(pruned(true).unwrap().foreign, 2);
}

/// Root has the present sealing key: signs the last record of the present epoch as of a time before it, or begins an epoch then.
#[test]
fn nothing_is_signed_before_its_key_was_certified() {
    let signed = |second| {
        let mut told = story();
        told.checkpoints.pop();
        told.checkpoint_at(13, second);
        told.prove(&[11])
    };
    assert!(signed(6).is_ok() && signed(6 - 60).is_ok());
    for second in [6 - 61, -40_000_000, -1_900_000_000, i64::MIN / 2_000_000] {
        let bad = signed(second).unwrap_err();
        assert!(bad.seq == 7 && bad.to_string().contains("was not certified yet"), "{second}: {bad}");
    }
    // A pruning of all that came before, with the genuine certificates.
    let pruned = |began: i64| {
        let mut told = story();
        (told.number, told.line, told.host) = (3, 1, HOST);
        told.number += 1;
        let epoch = Epoch {
            number: 4,
            line: 1,
            key: key_words(&key(14).public_key()),
            certified_by: Certifier::SealingKey,
            signature: String::new(),
        };
        told.append_at(began, Event::Epoch(Box::new(epoch)), Some(&key(13)));
        told.checkpoint_at(14, began);
        let (seq, _, hash) = *told.records.last().map(|(seq, body, hash)| (seq, body, hash)).as_ref().unwrap();
        let begin = Mark { seq: *seq, hash: *hash };
        told.prune(begin);
        told.checkpoint_at(14, LATER);
        let is_epoch = |body: &&String| body.contains(r#""kind":"epoch""#);
        let bodies = told.records.iter().map(|(_, body, _)| body);
        let certificates: Vec<String> = bodies.filter(is_epoch).cloned().collect();
        told.prove_part(Begin::Pruned(begin), &certificates, Signers::These(vec![key(HOST).public_key()]), &[11])
    };
    assert_eq!(pruned(8).unwrap().before, 8);
    assert!(pruned(LATER - 86_400 - 1).is_ok());
    assert!(pruned(LATER - 86_400).unwrap_err().to_string().contains("epoch began later"));
}

#[test]
fn numbers_lines_and_first_keys_are_checked() {
    let alter = |change: fn(&mut Told)| {
        let mut told = Told::default();
        told.certificate(11, HOST, Certifier::HostKey);
        change(&mut told);
        told
    };
    let skips = alter(|told| {
        told.number = 2;
        told.certificate(12, 11, Certifier::SealingKey);
    });
    is_epoch(skips.prove(&[]), 2, "has number 3 and follows epoch 1");
    let twice = alter(|told| {
        told.number = 0;
        told.certificate(12, 11, Certifier::SealingKey);
    });
    is_epoch(twice.prove(&[]), 2, "has number 1 and follows epoch 1");
    let other_line = alter(|told| {
        told.line = 7;
        told.certificate(12, 11, Certifier::SealingKey);
    });
    is_epoch(other_line.prove(&[]), 2, "is of another line");
    let mut without = Told { line: 1, number: 1, ..Told::default() };
    without.record();
    without.certificate(12, 11, Certifier::SealingKey);
    is_epoch(without.prove(&[]), 2, "of which there is no record");
    let mut late = Told { number: 4, ..Told::default() };
    late.certificate(12, HOST, Certifier::HostKey);
    is_epoch(late.prove(&[]), 1, "another number than 1");
}

#[test]
fn every_altered_key_of_a_certificate_is_found() {
    let good = story();
    let body = good.records[3].1.clone();
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&body).unwrap();
    for (name, value) in &fields {
        for other in [serde_json::json!(3), serde_json::json!("x"), serde_json::Value::Null] {
            if other == *value {
                continue;
            }
            let mut altered = fields.clone();
            if other.is_null() {
                drop(altered.remove(name))
            } else {
                drop(altered.insert(name.clone(), other))
            }
            let mut told = good.clone();
            told.records[3].1 = serde_json::Value::from(altered).to_string();
            // Everything that follows it is linked again, but nothing signed.
            let bad = told.relinked_after(3).prove(&[]).unwrap_err();
            assert!(bad.seq <= 6, "{name}: {bad}");
        }
    }
    for (index, _) in body.char_indices().filter(|(index, _)| index % 3 == 0) {
        let mut bytes = body.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let mut told = good.clone();
        told.records[3].1 = String::from_utf8(bytes).unwrap();
        assert!(told.prove(&[]).is_err(), "{index}");
    }
}

impl Told {
    /// Links the records behind the one with this index again.
    fn relinked_after(mut self, index: usize) -> Self {
        let mut prev = chain::hash(self.records[index].1.as_bytes());
        for record in self.records.iter_mut().skip(index + 1) {
            let mut value: serde_json::Value = serde_json::from_str(&record.1).unwrap();
            value["prev"] = prev.to_string().into();
            record.1 = value.to_string();
            prev = chain::hash(record.1.as_bytes());
        }
        self
    }
}

#[test]
fn certificates_before_a_part_lead_to_the_key_of_the_host() {
    let told = story();
    let certificates = [told.records[0].1.clone(), told.records[3].1.clone()];
    let host = || Signers::These(vec![key(HOST).public_key()]);
    let part = |certificates: &[String], given: &[u8]| told.prove_part(Begin::Part(5), certificates, host(), given);
    assert_eq!(part(&certificates, &[]).unwrap().signed.unwrap().through, 7);
    assert_eq!(part(&certificates, &[11]).unwrap().sealing.lines[0].given, Some(1));
    assert_eq!(part(&[], &[]).unwrap_err().cause, Cause::Unsigned, "nothing leads to the key of the host");
    assert!(part(&[], &[12]).is_ok() && part(&[], &[13]).is_ok());
    assert_eq!(part(&[], &[11]).unwrap_err().cause, Cause::NoGivenKey);
    is_epoch(part(&certificates[1..], &[]), 4, "of which there is no record");
    is_epoch(part(&certificates[..1], &[]), 6, "has number 3");
    let reversed: Vec<String> = certificates.iter().rev().cloned().collect();
    assert!(part(&reversed, &[]).is_err());
    let record = [told.records[1].1.clone()];
    is_epoch(part(&record, &[]), 2, "stands in the wrong place");
    let late = [told.records[0].1.clone(), told.records[3].1.clone(), told.records[5].1.clone()];
    is_epoch(part(&late, &[]), 6, "is behind the beginning");
    let pruned = Begin::Pruned(Mark { seq: 3, hash: told.records[2].2 });
    let pruned = told.prove_part(pruned, &certificates[..1], host(), &[11]);
    assert!(matches!(pruned, Err(FirstBad { seq: 3, cause: Cause::NotPruned })), "{pruned:?}: no prune record");
    // A part within one epoch.
    let mut within = Told::default();
    within.certificate(11, HOST, Certifier::HostKey);
    within.record();
    within.record();
    within.checkpoint(11);
    let within_epoch = |given: &[u8]| within.prove_part(Begin::Part(2), &[], Signers::Anybody, given);
    assert!(within_epoch(&[11]).is_ok(), "its checkpoint is signed with the given key");
    assert_eq!(within_epoch(&[12]).unwrap_err().cause, Cause::NoGivenKey);
    assert!(within.prove_part(Begin::Part(3), &[], host(), &[]).is_ok(), "at most two records are unsigned");
}

#[test]
fn the_signature_of_a_certificate_is_of_its_own_namespace() {
    let mut told = Told::default();
    told.certificate(11, HOST, Certifier::HostKey);
    let mut value: serde_json::Value = serde_json::from_str(&told.records[0].1).unwrap();
    let (signed, _) = certificate_parts(told.records[0].1.as_bytes()).unwrap();
    for namespace in [Namespace::Checkpoint, Namespace::Grant, Namespace::Statement] {
        use base64ct::{Base64, Encoding};
        value["signature"] = Base64::encode_string(&key(HOST).sign(namespace, &signed)).into();
        told.records[0].1 = value.to_string();
        is_epoch(told.prove(&[]), 1, "another purpose");
    }
}
