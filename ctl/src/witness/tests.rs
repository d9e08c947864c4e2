//! A witness and a host whose journal grows, or is rewritten.

use std::path::PathBuf;

use jit_core::evidence::note::{NoteKey, signed_by_host};
use jit_core::evidence::tree::{Frontier, Subtrees, consistency, leaf, node};
use jit_core::grant::HostKey;

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
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("jit-sudo-witness-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        State::open(&directory).unwrap().make_key("witness.example/w").unwrap();
        Self { directory, host: HostKey::from_seed([7; 32]) }
    }

    /// The body for a journal of these records, for a witness that has `old` of them.
    fn body(&self, records: &[Digest], old: u64) -> String {
        let mut tree = Frontier::default();
        records.iter().for_each(|record| tree.push(*record, |_| ()));
        let proof = consistency(&Leaves(records.to_vec()), old.min(tree.size()), tree.size()).unwrap();
        let proof: String = proof.iter().map(|hash| base64(hash) + "\n").collect();
        format!("old {old}\n{proof}\n{}", signed_by_host(&self.host, HOST, &tree.head()).unwrap())
    }

    /// Takes the input as the verb does; the error is its code.
    fn cosign(&self, input: &str) -> Result<Vec<String>, String> {
        let state = State::open(&self.directory).unwrap();
        let (key, hosts) = (state.key().unwrap(), [self.host.public_key()]);
        let code = |trouble: Trouble| {
            serde_json::to_value(trouble.object()).unwrap()["error"]["code"].as_str().unwrap().to_owned()
        };
        let requests = Request::all(input).ok_or("malformed".to_owned())?;
        requests.iter().map(|request| take(&state, &key, &hosts, request, 99).map_err(code)).collect()
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
    let stranger = Scene { host: HostKey::from_seed([8; 32]), directory: PathBuf::from("/nonexistent") };
    refused(&stranger.body(&records(20), 9), "unknown-host");
    assert_eq!(scene.cosign(&whole).unwrap().len(), 1);
}

#[test]
fn a_damaged_state_does_not_begin_anew() {
    let scene = Scene::new("damaged");
    scene.cosign(&scene.body(&records(9), 0)).unwrap();
    std::fs::write(scene.directory.join(format!("{HOST}.note")), "x").unwrap();
    assert_eq!(scene.cosign(&scene.body(&records(9), 0)), Err("damaged".to_owned()));
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
