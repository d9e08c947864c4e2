//! A witness and a host whose journal grows, or is rewritten.

use std::path::PathBuf;

use jit_core::clock::{BootTime, Moment, Timestamp};
use jit_core::evidence::epoch_event::key_words;
use jit_core::evidence::key_statement::sign_rotation;
use jit_core::evidence::note::{NoteKey, signed_by_host};
use jit_core::evidence::record::{Event, Record, Rotation};
use jit_core::evidence::tree::{Frontier, Subtrees, consistency, leaf, node};
use jit_core::grant::{HostDescriptor, HostKey};

use super::*;

const HOST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

struct Leaves(Vec<Digest>);

impl Subtrees for Leaves {
    type Error = std::convert::Infallible;

    fn hash(&self, height: u32, place: u64) -> Result<Digest, Self::Error> {
        if height == 0 {
            return Ok(leaf(self.0[usize::try_from(place).unwrap()]));
        }
        Ok(node(self.hash(height - 1, 2 * place)?, self.hash(height - 1, 2 * place + 1)?))
    }
}

struct Scene {
    directory: PathBuf,
    host: HostKey,
    /// What `--host-key` gives.
    given: Vec<String>,
    /// What `--rotation` gives.
    rotations: Vec<String>,
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("jit-sudo-witness-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        State::open(&directory).unwrap().make_key("witness.example/w").unwrap();
        let host = HostKey::from_seed([7; 32]);
        let given = vec![line(&host)];
        Self { directory, host, given, rotations: Vec::new() }
    }

    fn given(&self, given: &[String]) -> Self {
        let (directory, host) = (self.directory.clone(), HostKey::from_seed([7; 32]));
        Self { directory, host, given: given.to_vec(), rotations: Vec::new() }
    }

    fn body(&self, records: &[Digest], old: u64) -> String {
        body(&self.host, HOST, records, old)
    }

    /// Takes the input as the verb does; the error is its code.
    fn cosign(&self, input: &str) -> Result<Vec<String>, String> {
        let state = State::open(&self.directory).unwrap();
        let (key, hosts) = (state.key().unwrap(), HostKeys::read(&self.given).unwrap());
        let code = |trouble: Trouble| {
            serde_json::to_value(trouble.object()).unwrap()["error"]["code"].as_str().unwrap().to_owned()
        };
        let (bodies, rotations) = (Request::bodies(input), Rotations::of(&self.rotations));
        let taken = |body: &&str| take(&state, &key, (&hosts, &rotations), body, 99);
        bodies.iter().map(|body| taken(body).map(|(_, line)| line).map_err(code)).collect()
    }

    fn known(&self) -> Option<(TreeHead, Note)> {
        State::open(&self.directory).unwrap().last(HOST).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Returns the record by which a key takes the place of another one on a machine.
fn rotation(old: &HostKey, new: &HostKey) -> String {
    let moment = Moment { wall: Timestamp(7), boot: BootTime(7), boot_id: "b".to_owned() };
    let event = Event::Rotation(Box::new(Rotation {
        uid: 0,
        user: "root".into(),
        reason: "yearly".into(),
        old_key: line(old),
        identity: HostDescriptor::of(new, "web1", "machine"),
        old_signature: String::new(),
        new_signature: String::new(),
    }));
    let record = Record::new(9, Digest::ZERO, &moment, "web1", event);
    sign_rotation(record, old, new).unwrap().encode().unwrap()
}

/// Returns the id of the machine with this key.
fn id(key: &HostKey) -> String {
    HostDescriptor::of(key, "web1", "machine").id
}

/// The body for a journal of these records of a host, for a witness that has `old` of them.
fn body(key: &HostKey, host: &str, records: &[Digest], old: u64) -> String {
    let mut tree = Frontier::default();
    records.iter().for_each(|record| tree.push(*record, |_| ()));
    let proof = consistency(&Leaves(records.to_vec()), old.min(tree.size()), tree.size()).unwrap();
    let proof: String = proof.iter().map(|hash| base64(hash) + "\n").collect();
    format!("old {old}\n{proof}\n{}", signed_by_host(key, host, &tree.head()).unwrap())
}

/// The line of the public key.
fn line(key: &HostKey) -> String {
    key_words(&key.public_key())
}

fn base64(hash: &Digest) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(&hash.0)
}

fn records(count: u8) -> Vec<Digest> {
    (0..count).map(|number| Digest([number; 32])).collect()
}

#[test]
fn a_journal_that_grows_is_cosigned_and_the_cosignature_holds() {
    let scene = Scene::new("grows");
    let witness = State::open(&scene.directory).unwrap().key().unwrap().public().clone();
    let mut before = 0;
    for size in [1, 2, 7, 7, 40] {
        let lines = scene.cosign(&scene.body(&records(size), before)).unwrap();
        let (head, note) = scene.known().unwrap();
        assert_eq!((head.size, witness.cosigned(&note), lines.len()), (u64::from(size), Some(99), 1));
        assert_eq!(note.signatures.last().unwrap().to_string(), lines[0]);
        assert!(NoteKey::of_host(&format!("{ORIGIN}{HOST}"), &scene.host.public_key()).unwrap().signed(&note));
        before = u64::from(size);
    }
    let two = scene.body(&records(50), 40) + &scene.body(&records(51), 50);
    assert_eq!(scene.cosign(&two).unwrap().len(), 2);
}

#[test]
fn a_journal_that_was_rewritten_cut_off_or_restored_is_refused() {
    let scene = Scene::new("refuses");
    scene.cosign(&scene.body(&records(9), 0)).unwrap();
    let known = scene.known();
    let refused = |body: &str, code: &str| {
        assert_eq!(scene.cosign(body), Err(code.to_owned()), "{body}");
        assert_eq!(scene.known(), known);
    };
    let mut other = records(20);
    other[3] = Digest([99; 32]);
    refused(&scene.body(&other, 9), "inconsistent");
    refused(&scene.body(&other[..9], 9), "inconsistent");
    refused(&scene.body(&records(8), 9), "malformed");
    refused(&scene.body(&records(8), 8), "conflict");
    refused(&scene.body(&records(20), 0), "conflict");
    refused(&scene.body(&records(20), 9).replacen("old 9", "old 09", 1), "malformed");
    let whole = scene.body(&records(20), 9);
    let (first, rest) = whole.split_once('\n').unwrap();
    refused(&format!("{first}\n{}\n{rest}", base64(&Digest([9; 32]))), "inconsistent");
    let (_, shorter) = rest.split_once('\n').unwrap();
    refused(&format!("{first}\n{shorter}"), "inconsistent");
    refused(&whole.replace(HOST, &HOST.replace("00", "11")), "unknown-host");
    refused(&whole.replace(ORIGIN, "example.com/"), "unknown-host");
    refused("", "malformed");
    refused("old 9\n", "malformed");
    refused(&body(&HostKey::from_seed([8; 32]), HOST, &records(20), 9), "unknown-host");
    assert_eq!(scene.cosign(&whole).unwrap().len(), 1);
}

const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// A rewritten journal, signed by the same host under another id, is no first contact.
#[test]
fn a_key_signs_for_one_host_and_a_host_has_one_key() {
    let scene = Scene::new("bound");
    scene.cosign(&scene.body(&records(9), 0)).unwrap();
    let rewritten: Vec<Digest> = (100..109).map(|number| Digest([number; 32])).collect();
    assert_eq!(scene.cosign(&body(&scene.host, OTHER, &rewritten, 0)), Err("other-host".to_owned()));
    let second = HostKey::from_seed([8; 32]);
    let both = scene.given(&[line(&scene.host), line(&second)]);
    assert_eq!(both.cosign(&body(&second, HOST, &records(20), 9)), Err("other-key".to_owned()));
    // A note of the host with another signature does not make the other key one of the host.
    let mut note = signed_by_host(&second, HOST, &TreeHead { size: 9, root: Digest([1; 32]) }).unwrap();
    note.signatures.extend(scene.known().unwrap().1.signatures);
    assert_eq!(both.cosign(&format!("old 9\n\n{note}")), Err("unknown-host".to_owned()));
    // The operator has checked the journal, and says so.
    std::fs::remove_file(scene.directory.join(format!("{HOST}.note"))).unwrap();
    assert_eq!(scene.cosign(&body(&scene.host, OTHER, &rewritten, 0)).unwrap().len(), 1);
    assert_eq!(scene.cosign(&scene.body(&records(9), 0)), Err("other-host".to_owned()));
}

/// One host cannot take the place of another that the witness has not seen yet.
#[test]
fn with_several_keys_a_first_contact_needs_the_name_of_its_host() {
    let scene = Scene::new("several");
    let second = HostKey::from_seed([8; 32]);
    let claim = body(&second, HOST, &records(200), 0);
    let plain = scene.given(&[line(&scene.host), line(&second)]);
    assert_eq!(plain.cosign(&claim), Err("unnamed-host".to_owned()));
    assert_eq!(plain.cosign(&scene.body(&records(9), 0)), Err("unnamed-host".to_owned()));
    let listed = scene.given(&[format!("{} {HOST} seen=2026-01-01", line(&scene.host)), line(&second)]);
    assert_eq!(listed.cosign(&claim), Err("other-host".to_owned()));
    let twice = scene.given(&[line(&scene.host), format!("{} {HOST}", line(&scene.host)), line(&second)]);
    assert_eq!(twice.cosign(&claim), Err("other-host".to_owned()));
    let named = scene.given(&[line(&scene.host), format!("web2 {} {OTHER}", line(&second))]);
    assert_eq!(named.cosign(&claim), Err("other-host".to_owned()));
    assert_eq!(named.cosign(&body(&second, OTHER, &records(5), 0)).unwrap().len(), 1);
    // A host that is known may have got another key.
    assert_eq!(plain.cosign(&scene.body(&records(9), 0)), Err("unnamed-host".to_owned()));
    let own = scene.given(&[format!("{} {HOST}", line(&scene.host))]);
    assert_eq!(own.cosign(&scene.body(&records(9), 0)).unwrap().len(), 1);
    assert_eq!(plain.cosign(&body(&second, OTHER, &records(7), 5)).unwrap().len(), 1);
}

#[test]
fn each_checkpoint_of_an_input_is_taken_by_itself() {
    let scene = Scene::new("batch");
    let state = State::open(&scene.directory).unwrap();
    let (key, hosts) = (state.key().unwrap(), HostKeys::read(&scene.given).unwrap());
    let input = format!("{}old x\n{}", scene.body(&records(9), 0), scene.body(&records(12), 9));
    let known = (&hosts, &Rotations::default());
    let taken: Vec<_> = Request::bodies(&input).iter().map(|body| take(&state, &key, known, body, 99)).collect();
    assert!(matches!(taken[..], [Ok((9, _)), Err(_), Ok((12, _))]), "{taken:?}");
    assert_eq!(scene.known().unwrap().0.size, 12);
}

#[test]
fn a_damaged_state_does_not_begin_anew() {
    let scene = Scene::new("damaged");
    scene.cosign(&scene.body(&records(9), 0)).unwrap();
    std::fs::write(scene.directory.join(format!("{HOST}.note")), "x").unwrap();
    assert_eq!(scene.cosign(&scene.body(&records(9), 0)), Err("damaged".to_owned()));
    // It concerns its own host only.
    let second = HostKey::from_seed([8; 32]);
    let plain = scene.given(&[line(&second)]);
    assert_eq!(plain.cosign(&body(&second, OTHER, &records(5), 0)), Err("unnamed-host".to_owned()));
    let named = scene.given(&[line(&scene.host), format!("{} {OTHER}", line(&second))]);
    assert_eq!(named.cosign(&body(&second, OTHER, &records(5), 0)).unwrap().len(), 1);
}

/// One `jitctl key rotate` does not begin a log that may say anything.
#[test]
fn a_host_goes_on_under_another_key_with_a_proof() {
    let scene = Scene::new("rotated");
    let [first, second, third, other] = [7, 8, 9, 10].map(|seed| HostKey::from_seed([seed; 32]));
    let of = |key: &HostKey, records: &[Digest], old| body(key, &id(key), records, old);
    scene.cosign(&of(&first, &records(9), 0)).unwrap();
    let mut then = scene.given(&[line(&first), line(&third)]);
    assert_eq!(then.cosign(&of(&third, &records(12), 0)), Err("unnamed-host".to_owned()), "not from 0");
    then.rotations = vec![rotation(&first, &second)];
    assert_eq!(then.cosign(&of(&third, &records(12), 9)), Err("unnamed-host".to_owned()), "not to this key");
    then.rotations.push(rotation(&second, &third));
    let altered = then.rotations[1].replace("yearly", "monthly");
    then.rotations.push(altered);
    assert_eq!(then.cosign(&of(&third, &records(12), 0)), Err("conflict".to_owned()));
    let mut rewritten = records(12);
    rewritten[3] = Digest([99; 32]);
    assert_eq!(then.cosign(&of(&third, &rewritten, 9)), Err("inconsistent".to_owned()));
    assert_eq!(then.cosign(&of(&first, &records(9), 9)).unwrap().len(), 1, "nothing has changed so far");
    assert_eq!(then.cosign(&of(&third, &records(12), 9)).unwrap().len(), 1);
    // The journal goes on with this key alone.
    assert_eq!(then.cosign(&of(&first, &records(20), 9)), Err("other-key".to_owned()));
    let mut else_where = scene.given(&[line(&other)]);
    else_where.rotations = vec![rotation(&first, &other)];
    assert_eq!(else_where.cosign(&of(&other, &records(20), 9)), Err("other-host".to_owned()));
    let later = scene.given(&[line(&third)]);
    assert_eq!(later.cosign(&of(&third, &records(13), 12)).unwrap().len(), 1, "the rotations are not needed any more");
}

#[test]
fn a_witness_has_one_key() {
    let scene = Scene::new("key");
    let state = State::open(&scene.directory).unwrap();
    let key = state.key().unwrap().public().to_string();
    assert_eq!(state.make_key("witness.example/w").map(|key| key.public().to_string()).ok(), Some(key));
    assert!(state.make_key("other").is_err() && State::open(&scene.directory.join("new")).unwrap().key().is_err());
    assert!(State::open(&scene.directory.join("bad")).unwrap().make_key("a name").is_err());
}
