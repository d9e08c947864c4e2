//! Journals that somebody forges with some of the keys, or none: a carrier who only handles the exported file, somebody who has a
//! former host key, and root.

use super::host_key::{is_key_life, rotations, these};
use super::*;

fn host(seed: u8) -> Signers {
    Signers::Host(key(seed).public_key())
}

/// A carrier without any key appends records, a line by an invented key, and its retirement.
#[test]
fn a_retirement_by_an_invented_key_is_no_end_of_the_journal() {
    let mut forged = story();
    let whole = forged.records.len() as u64;
    forged.fill(3);
    forged.accepted();
    let begun = forged.certificate(20, 9, Certifier::HostKey);
    forged.record();
    forged.retired(9);
    forged.fill(5);
    for told in [forged.clone(), {
        forged.checkpoint(20);
        forged
    }] {
        let bad = told.proven_by(these(HOST)).unwrap_err();
        assert_eq!(bad, FirstBad { seq: begun, cause: Cause::NotRotated(fingerprint(9)) });
    }
    let genuine = Told { records: story().records[..whole as usize].to_vec(), ..story() };
    assert!(genuine.proven_by(these(HOST)).is_ok());
}

/// The same in a part, without the certificates that stood before it.
#[test]
fn a_part_ends_with_no_retirement_or_rotation_by_an_unknown_key() {
    let part = |told: &Told, signers: Signers, given: &[u8]| told.prove_part(Begin::Part(5), &[], signers, given);
    let genuine = story();
    assert!(part(&genuine, these(HOST), &[12]).is_ok());
    let mut retired = genuine.clone();
    retired.fill(4);
    let seq = retired.retired(9);
    let mut rotated = genuine.clone();
    rotated.fill(4);
    rotated.rotated(9, 8);
    for (told, given) in [(&retired, &[12][..]), (&retired, &[]), (&rotated, &[12]), (&rotated, &[])] {
        for signers in [these(HOST), Signers::Anybody] {
            is_key_life(part(told, signers, given), seq, "that was not given");
        }
    }
    // A given key is known.
    let mut own = genuine.clone();
    own.retired(HOST);
    own.checkpoint(13);
    own.fill(9);
    assert!(part(&own, these(HOST), &[12]).is_ok());
    let mut own = genuine;
    own.rotated(HOST, 2);
    own.checkpoint(13);
    assert!(part(&own, these(HOST), &[12]).is_ok());
    own.checkpoints.retain(|checkpoint| checkpoint.seq > 7);
    assert!(part(&own, these(2), &[12]).is_ok(), "the former key has not to be known");
}

/// Somebody has a copy of the host key, and no sealing key.
#[test]
fn a_retirement_without_a_checkpoint_allows_no_unsigned_records() {
    let mut told = rotations();
    let last = told.records.len() as u64;
    told.retired(3);
    assert!(told.proven_by(these(3)).is_ok());
    told.fill(9);
    assert_eq!(told.proven_by(these(3)).unwrap_err(), FirstBad { seq: last + 1, cause: Cause::Unsigned });
    assert_eq!(told.proven_by(host(3)).unwrap_err().cause, Cause::Unsigned);
}

/// The administrator who had the key has left; root has kept a copy of the key of a retired host.
#[test]
fn a_former_host_key_begins_no_line() {
    for former in [HOST, 2] {
        let mut told = rotations();
        told.accepted();
        let begun = told.certificate(20, former, Certifier::HostKey);
        told.record();
        told.checkpoint(20);
        let all = Signers::These([HOST, 2, 3].map(|seed| key(seed).public_key()).to_vec());
        for signers in [these(HOST), these(3), all, host(3), Signers::Anybody] {
            is_epoch(told.proven_by(signers), begun, "that record");
        }
    }
    let mut told = rotations();
    told.retired(3);
    told.checkpoint(14);
    told.accepted();
    let mut again = told.clone();
    let begun = again.certificate(20, 3, Certifier::HostKey);
    again.checkpoint(20);
    for signers in [these(3), these(HOST), host(3), Signers::Anybody] {
        is_epoch(again.proven_by(signers), begun, "has retired");
    }
    // Another key may; that the former one was retired stays visible.
    told.certificate(20, 4, Certifier::HostKey);
    told.checkpoint(20);
    let found = told.proven_by(host(4)).unwrap().sealing;
    assert_eq!((found.retired, found.retirements.len()), (None, 1));
}

#[test]
fn a_former_host_key_is_the_new_one_of_no_rotation() {
    let mut told = rotations();
    let seq = told.rotated(3, 2);
    is_key_life(told.proven_by(these(3)), seq, "puts a key into the place of another that record");
}

/// Root rewrites what was before a rotation, and has all keys of that time.
#[test]
fn what_a_former_key_has_signed_is_checked_with_the_present_one() {
    let good = rotations();
    let before = good.checkpoints.iter().position(|checkpoint| checkpoint.seq < 8).unwrap();
    for seed in [HOST, 2, 3] {
        for signers in [these(seed), host(seed)] {
            let proven = good.proven_by(signers).unwrap();
            assert_eq!((proven.foreign, proven.signed.unwrap().through), (0, good.records.len() as u64));
        }
    }
    let statement = Statement::decode(&good.checkpoints[before].body).unwrap();
    let (seq, sealing) = (statement.seq, if statement.seq < 5 { 11 } else { 12 });
    let head = Statement { head: Digest([7; 32]), ..statement.clone() };
    let size = Statement { size: statement.size + 1, ..statement.clone() };
    let root = Statement { root: Digest([7; 32]), ..statement.clone() };
    for statement in [head, size, root] {
        let mut told = good.clone();
        let body = encode(&statement).unwrap();
        told.checkpoints[before].signature = key(sealing).sign(Namespace::Checkpoint, &body);
        told.checkpoints[before].body = body;
        for seed in [HOST, 2, 3] {
            let bad = told.proven_by(host(seed)).unwrap_err();
            assert_eq!(bad.seq, seq, "{bad}");
        }
    }
    let mut told = good.clone();
    told.checkpoints[before].note = signed_by_host(&key(3), &statement.host, &statement.tree()).unwrap().to_string();
    assert_eq!(told.proven_by(host(3)).unwrap_err().seq, seq, "a note by another key");
}

/// Without a rotation nothing is known of what another key has signed.
#[test]
fn what_another_key_has_signed_counts_for_nothing() {
    let mut told = story();
    told.accepted();
    told.certificate(20, 2, Certifier::HostKey);
    told.checkpoint(20);
    let proven = told.proven_by(host(2)).unwrap();
    assert!(proven.foreign > 0);
    let checkpoint = told.checkpoints.first_mut().unwrap();
    checkpoint.note = String::new();
    assert_eq!(told.proven_by(host(2)).unwrap().foreign, proven.foreign);
}

/// Root signs the notes of a journal under the origin of another one.
#[test]
fn a_checkpoint_states_the_host_of_its_time() {
    let stated = |told: &mut Told, by: u8, sealing: u8, host: &str| {
        let checkpoint = told.checkpoints.last_mut().unwrap();
        let statement = Statement { host: host.to_owned(), ..Statement::decode(&checkpoint.body).unwrap() };
        checkpoint.note = signed_by_host(&key(by), host, &statement.tree()).unwrap().to_string();
        checkpoint.body = encode(&statement).unwrap();
        checkpoint.signature = key(sealing).sign(Namespace::Checkpoint, &checkpoint.body);
    };
    let id = |seed: u8, machine: &str| HostDescriptor::of(&key(seed), "web1", machine).id;
    for (host, is_own) in
        [(id(3, "machine"), true), (id(2, "machine"), false), (id(3, "other"), false), ("h".into(), false)]
    {
        let mut told = rotations();
        stated(&mut told, 3, 14, &host);
        let proven = told.proven_by(these(3));
        assert_eq!(proven.is_ok(), is_own, "{host}");
        let last = told.records.len() as u64;
        assert!(is_own || matches!(proven, Err(FirstBad { seq, cause: Cause::Checkpoint(_) }) if seq == last));
    }
    // No record names the host: it is one, whichever it is.
    let mut told = story();
    stated(&mut told, HOST, 13, "h");
    assert!(told.proven_by(these(HOST)).is_err());
    told.checkpoints.drain(..told.checkpoints.len() - 1);
    assert!(told.proven_by(these(HOST)).is_ok());
}

/// The tables are compared with the keys that are valid at the end.
#[test]
fn the_keys_after_a_rotation_follow_from_every_former_one() {
    let told = rotations();
    let mut proof = Proof::new(Begin::First, these(HOST), []);
    for (_, body, _) in &told.records {
        proof.bare_record(body.as_bytes()).unwrap();
    }
    let present = proof.present_keys();
    assert!(present.count(&key(3).public_key()));
    assert!(![HOST, 2, 13].iter().any(|seed| present.count(&key(*seed).public_key())));
}
