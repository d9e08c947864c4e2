//! The signed objects of the journal: checkpoints, notes, and the records that carry their signatures inside.

use super::*;
use jit_core::evidence::Digest;
use jit_core::evidence::certificate::{certifier, certify};
use jit_core::evidence::key_statement::{retired, rotated, sign_retirement, sign_rotation};
use jit_core::evidence::note::{Note, NoteKey, WitnessKey, signed_by_host};
use jit_core::evidence::record::{Event, Record, Retirement, Rotation};
use jit_core::evidence::tree::TreeHead;
use jit_core::grant::PublicKey;
use jit_core::samples::key_life;

fn other() -> HostKey {
    HostKey::from_seed([2; 32])
}

fn words(key: &HostKey) -> String {
    jit_core::evidence::epoch_event::key_words(&key.public_key())
}

fn record(event: Event) -> Record {
    Record::new(7, Digest::ZERO, &moment(NOW), "web1", event)
}

/// Returns an object of these bytes, which contain their signatures.
fn whole(name: &'static str, bytes: String, accepts: impl Fn(&[u8]) -> bool + 'static) -> Object {
    Object::new(name, (bytes.into_bytes(), Vec::new()), move |bytes, _| accepts(bytes))
}

/// A tree head with the signature of its host and the cosignature of a witness.
fn note() -> Object {
    let witness = WitnessKey::new("witness.example", [9; 32]).unwrap();
    let mut note = signed_by_host(&host(), id().as_str(), &TreeHead { size: 7, root: Digest([3; 32]) }).unwrap();
    let keys = (NoteKey::of_host(note.head().unwrap().0, &host().public_key()).unwrap(), witness.public().clone());
    note.signatures.push(witness.cosign(&note.text, 1_800_000_000));
    whole("note", note.to_string(), move |bytes| {
        let note = str::from_utf8(bytes).ok().and_then(Note::parse);
        note.is_some_and(|note| keys.0.signed(&note) && keys.1.cosigned(&note).is_some())
    })
}

fn rotation() -> String {
    let [_, Event::Rotation(rotation), _] = key_life() else { panic!() };
    let identity = HostDescriptor::of(&other(), "web1", "machine");
    let rotation = Rotation { old_key: words(&host()), identity, ..*rotation };
    sign_rotation(record(Event::Rotation(Box::new(rotation))), &host(), &other()).unwrap().encode().unwrap()
}

fn retirement() -> String {
    let [_, _, Event::Retirement(retirement)] = key_life() else { panic!() };
    let retirement = Retirement { key: words(&host()), ..*retirement };
    sign_retirement(record(Event::Retirement(Box::new(retirement))), &host()).unwrap().encode().unwrap()
}

pub(super) fn objects() -> Vec<Object> {
    let is_hosts = |key: PublicKey| key == host().public_key();
    let [epoch, ..] = key_life();
    let epoch = certify(record(epoch), &host()).unwrap().encode().unwrap();
    let head = Digest([3; 32]);
    let checkpoint = format!("{{\"at\":{NOW},\"head\":\"{head}\",\"host\":\"{}\",\"seq\":7}}", id().as_str());
    vec![
        by_the_host(Namespace::Checkpoint, checkpoint.into_bytes()),
        note(),
        whole("epoch", epoch, move |bytes| certifier(bytes).is_some_and(is_hosts)),
        whole("rotation", rotation(), move |bytes| {
            rotated(bytes).is_ok_and(|(old, new)| is_hosts(old) && new == other().public_key())
        }),
        whole("retirement", retirement(), move |bytes| retired(bytes).is_ok_and(is_hosts)),
    ]
}
