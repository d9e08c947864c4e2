//! Rotations of the host key, and the retirement of a host.

use super::*;
use crate::escape::Word;
use crate::evidence::key_event::{Retirement, Rotation};
use crate::evidence::key_statement::{followed, leads, lineage, sign_retirement, sign_rotation};
use serde_json::Value;

impl Told {
    pub(super) fn signed(&mut self, event: Event, sign: impl Fn(Record) -> Record) -> u64 {
        let prev = self.records.last().map_or(Digest::ZERO, |last| last.2);
        let seq = self.records.last().map_or(0, |last| last.0) + 1;
        let body = sign(Record::new(seq, prev, &samples::moment(seq as i64), "web1", event)).encode().unwrap();
        let hash = chain::hash(body.as_bytes());
        self.records.push((seq, body, hash));
        seq
    }

    /// Appends a rotation from one key to another, signed with the keys of `by`.
    pub(super) fn rotated_by(&mut self, (old, new): (u8, u8), by: (u8, u8)) -> u64 {
        let rotation = Rotation {
            uid: 0,
            user: Word::from("root"),
            reason: Word::from("yearly"),
            old_key: key_words(&key(old).public_key()),
            identity: HostDescriptor::of(&key(new), "web1", "machine"),
            old_signature: String::new(),
            new_signature: String::new(),
        };
        self.host = new;
        self.signed(Event::Rotation(Box::new(rotation)), |record| {
            sign_rotation(record, &key(by.0), &key(by.1)).unwrap()
        })
    }

    pub(super) fn fill(&mut self, count: u64) {
        for _ in 0..count {
            self.record();
        }
    }

    pub(super) fn rotated(&mut self, old: u8, new: u8) -> u64 {
        self.rotated_by((old, new), (old, new))
    }

    pub(super) fn retired(&mut self, host: u8) -> u64 {
        let (user, reason) = (Word::from("root"), Word::from("scrapped"));
        let retirement =
            Retirement { uid: 0, user, reason, key: key_words(&key(host).public_key()), signature: String::new() };
        self.signed(Event::Retirement(Box::new(retirement)), |record| sign_retirement(record, &key(host)).unwrap())
    }

    pub(super) fn proven_by(&self, signers: Signers) -> Result<Proven, FirstBad> {
        self.prove_part(Begin::First, &[], signers, &[])
    }
}

#[test]
fn the_keys_whose_heads_count_follow_from_rotations_that_both_keys_have_signed() {
    let mut told = Told::default();
    told.rotated(1, 2);
    told.rotated(2, 3);
    told.rotated_by((9, 3), (8, 3));
    let bodies: Vec<&str> = told.records.iter().map(|record| record.1.as_str()).collect();
    let keys = |seeds: &[u8]| seeds.iter().map(|seed| key(*seed).public_key()).collect::<Vec<_>>();
    let all = lineage(bodies.iter().copied(), key(3).public_key());
    assert_eq!(all, keys(&[3, 2, 1]), "the former key of the last one has not signed it");
    assert_eq!(lineage(bodies.iter().copied(), key(2).public_key()), keys(&[2, 1]));
    assert_eq!(lineage(bodies.iter().copied(), key(7).public_key()), keys(&[7]));
    for (given, expected) in [
        (&[][..], &[3, 2, 1][..]),
        (&[3], &[3, 2, 1]),
        (&[2], &[2, 3, 1]),
        (&[1], &[1, 3, 2]),
        (&[7], &[7]),
        (&[7, 2], &[7, 2, 3, 1]),
    ] {
        assert_eq!(followed(&keys(given), &all), keys(expected), "{given:?}");
    }
}

pub(super) fn these(seed: u8) -> Signers {
    Signers::These(vec![key(seed).public_key()])
}

/// The story of three epochs; then the host key becomes 2 and then 3, and the sealing key stays.
pub(super) fn rotations() -> Told {
    let mut told = story();
    told.rotated(HOST, 2);
    told.record();
    told.checkpoint(13);
    told.certificate(14, 13, Certifier::SealingKey);
    told.rotated(2, 3);
    told.fill(3);
    told.checkpoint(14);
    told
}

pub(super) fn is_key_life<T: std::fmt::Debug>(proven: Result<T, FirstBad>, seq: u64, why: &str) {
    match proven {
        Err(FirstBad { seq: found, cause: Cause::KeyLife(said) }) if found == seq && said.contains(why) => {}
        other => panic!("{other:?} instead of {seq}: {why}"),
    }
}

#[test]
fn a_rotation_leads_from_the_old_key_to_the_new_one() {
    let told = rotations();
    let last = told.records.len() as u64;
    for seed in [HOST, 2, 3] {
        let proven = told.proven_by(these(seed)).unwrap();
        assert_eq!((proven.signed.unwrap().through, proven.foreign), (last, 0), "key {seed}");
        let found = proven.sealing;
        let keys = |found: &FoundRotation| (found.old.fingerprint(), found.new.fingerprint());
        assert_eq!(
            found.rotations.iter().map(keys).collect::<Vec<_>>(),
            [(fingerprint(HOST), fingerprint(2)), (fingerprint(2), fingerprint(3))]
        );
        assert_eq!((found.lines.len(), found.epochs), (1, 4), "the sealing keys go on");
    }
    assert!(matches!(told.proven_by(these(9)), Err(FirstBad { cause: Cause::NotRotated(_), .. })));
    // On the host, with its present key.
    let own = |seed: u8| told.proven_by(Signers::Host(key(seed).public_key()));
    assert_eq!(own(3).unwrap().foreign, 0);
    assert!(matches!(own(9).unwrap_err().cause, Cause::OtherKey));
}

#[test]
fn another_key_without_a_rotation_is_named() {
    let mut told = story();
    told.accepted();
    let begun = told.certificate(20, 2, Certifier::HostKey);
    told.fill(4);
    told.checkpoint(20);
    let bad = told.proven_by(these(HOST)).unwrap_err();
    assert_eq!(bad, FirstBad { seq: begun, cause: Cause::NotRotated(fingerprint(2)) });
    assert!(bad.to_string().contains(&fingerprint(2)), "{bad}");
}

#[test]
fn a_rotation_counts_only_with_both_signatures_and_by_the_key_of_the_line() {
    for (keys, by, why) in [
        ((HOST, 2), (9, 2), "is not signed with the old host key"),
        ((HOST, 2), (HOST, 9), "is not signed with the new host key"),
        ((HOST, 2), (2, HOST), "is not signed with the old host key"),
        ((9, 2), (9, 2), "is not by the host key of its line"),
        ((2, 3), (2, 3), "is not by the host key of its line"),
        ((13, 3), (13, 3), "is not by the host key of its line"),
        ((HOST, HOST), (HOST, HOST), "replaces the host key by itself"),
    ] {
        let mut told = story();
        let seq = told.rotated_by(keys, by);
        is_key_life(told.prove(&[]), seq, why);
    }
}

#[test]
fn the_old_key_signs_no_note_after_the_rotation() {
    let mut told = story();
    told.rotated(HOST, 2);
    told.host = HOST;
    told.checkpoint(13);
    assert!(matches!(told.prove(&[]), Err(FirstBad { seq: 8, cause: Cause::Checkpoint(_) })));
}

/// Each key of both records: the signatures cover all but themselves.
#[test]
fn every_altered_key_of_a_rotation_or_retirement_is_found() {
    let mut told = rotations();
    told.retired(3);
    for seq in [8, told.records.len() as u64] {
        let record: Value = serde_json::from_str(&told.records[seq as usize - 1].1).unwrap();
        let names: Vec<String> = record.as_object().unwrap().keys().cloned().collect();
        for name in names.iter().filter(|name| !["prev", "seq", "kind", "version"].contains(&name.as_str())) {
            let mut altered = record.clone();
            match &mut altered[name.as_str()] {
                Value::String(text) => *text = text.replacen(['A', 'r', 'w', '0', 'o', 'y'], "B", 1),
                Value::Number(_) => altered[name.as_str()] = 12_345.into(),
                Value::Object(host) => host["name"] = "web2".into(),
                other => panic!("{name}: {other}"),
            }
            assert_ne!(altered, record, "{name}");
            let mut other = told.clone();
            other.records.truncate(seq as usize);
            other.checkpoints.clear();
            let body = altered.to_string();
            other.records[seq as usize - 1] = (seq, body.clone(), chain::hash(body.as_bytes()));
            assert!(matches!(other.prove(&[]), Err(FirstBad { cause: Cause::KeyLife(_), .. })), "{name}");
            let mut lacking = record.clone();
            lacking.as_object_mut().unwrap().remove(name);
            let body = lacking.to_string();
            other.records[seq as usize - 1] = (seq, body.clone(), chain::hash(body.as_bytes()));
            assert!(other.prove(&[]).is_err(), "{name}");
        }
    }
    // A rotation covers all records before it.
    let mut told = rotations();
    told.checkpoints.clear();
    told.records.truncate(8);
    told.records[4].1 = told.records[4].1.replace("no-grant", "no-role");
    assert!(told.relinked().prove(&[]).is_err());
}

#[test]
fn nothing_is_signed_behind_a_retirement_until_another_key_begins_a_line() {
    let mut told = rotations();
    let seq = told.retired(3);
    told.checkpoint(14);
    let found = told.prove(&[]).unwrap().sealing.retired.unwrap();
    assert_eq!((found.seq, found.key), (seq, key(3).public_key()));
    told.fill(9);
    let proven = told.prove(&[]).unwrap();
    assert_eq!(proven.signed.unwrap().through, seq, "what follows is not signed, and that is no fault");
    let mut again = told.clone();
    let next = again.rotated(3, 4);
    is_key_life(again.prove(&[]), next, "follows the retirement");
    let mut again = told.clone();
    let next = again.retired(3);
    is_key_life(again.prove(&[]), next, "follows the retirement");
    let mut again = told.clone();
    let next = again.certificate(15, 14, Certifier::SealingKey);
    is_epoch(again.prove(&[]), next, "follows the retirement");
    told.accepted();
    told.certificate(20, 4, Certifier::HostKey);
    told.checkpoint(20);
    let proven = told.proven_by(these(4)).unwrap();
    assert_eq!(proven.sealing.retired, None, "the host has another key");
    told.record();
    assert!(told.proven_by(Signers::Host(key(4).public_key())).is_ok());
}

#[test]
fn certificates_before_a_part_contain_rotations() {
    let told = rotations();
    let kept: Vec<String> = [0, 3, 5, 7, 9, 10].map(|index| told.records[index].1.clone()).to_vec();
    let part = |certificates: &[String], seed| told.prove_part(Begin::Part(12), certificates, these(seed), &[]);
    for seed in [HOST, 2, 3] {
        assert_eq!(part(&kept, seed).unwrap().signed.unwrap().through, 14, "key {seed}");
    }
    let without: Vec<String> = kept.iter().filter(|body| !body.contains("rotation")).cloned().collect();
    assert!(part(&without, HOST).is_err(), "the note is by a key to which nothing leads");
    let mut swapped = kept.clone();
    swapped.swap(3, 5);
    assert!(part(&swapped, HOST).is_err());
}

/// What an approver elsewhere has: the key and the id of the host as they were.
#[test]
fn rotations_lead_from_a_known_key_of_the_same_machine_alone() {
    let told = rotations();
    let records: Vec<&str> = told.records.iter().map(|(_, body, _)| body.as_str()).collect();
    let host = |seed, machine: &str| HostDescriptor::of(&key(seed), "web1", machine);
    let leads = |records: &[&str], old: &HostDescriptor, new: &HostDescriptor| {
        leads(records.iter().copied(), &old.public_key().unwrap(), &old.id, new)
    };
    let (first, last) = (host(HOST, "machine"), host(3, "machine"));
    assert!(leads(&records, &first, &last));
    assert!(leads(&records.iter().rev().copied().collect::<Vec<_>>(), &host(2, "machine"), &last));
    assert!(!leads(&records, &last, &first), "nor back");
    assert!(!leads(&records, &host(9, "machine"), &last));
    assert!(!leads(&records, &first, &host(4, "machine")));
    assert!(!leads(&records, &first, &host(3, "other")), "a copy on another machine");
    assert!(!leads(&records, &HostDescriptor { id: last.id.clone(), ..first.clone() }, &last));
    assert!(!leads(&records[..8], &first, &last), "one is missing");
    let altered: Vec<String> = records.iter().map(|body| body.replace("yearly", "monthly")).collect();
    assert!(!leads(&altered.iter().map(String::as_str).collect::<Vec<_>>(), &first, &last));
}

#[test]
fn a_key_without_a_sealing_key_rotates_nothing() {
    let mut told = Told::default();
    told.record();
    let seq = told.rotated(HOST, 2);
    is_key_life(told.prove(&[]), seq, "has certified no sealing key");
}
