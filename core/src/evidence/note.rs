//! Signed notes (C2SP signed-note), tree heads as notes (C2SP tlog-checkpoint) and cosignatures of witnesses (C2SP
//! tlog-cosignature, version 1 with ed25519). Knows no journal; callers pass texts and keys.

use std::fmt;

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::tree::TreeHead;
use crate::grant::{HostKey, PublicKey};

/// What the origin of each journal begins with; the host id follows.
pub const ORIGIN: &str = "jit-sudo/";

/// The longest note that is read, in bytes.
pub const LIMIT: usize = 16 << 10;

/// The most signatures that are read.
const SIGNATURES: usize = 64;

/// What the text of a private key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Returns the origin of the journal of the host with this id.
pub fn origin(host: &str) -> String {
    format!("{ORIGIN}{host}")
}

/// Returns the text of the note that states a tree head.
pub fn text(origin: &str, head: &TreeHead) -> String {
    format!("{origin}\n{}\n{}\n", head.size, Base64::encode_string(&head.root.0))
}

/// A text with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text, with its last line feed.
    pub text: String,
    /// The signatures, in their order.
    pub signatures: Vec<NoteSignature>,
}

/// A signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub(super) id: [u8; 4],
    /// What the kind of key defines.
    bytes: Vec<u8>,
}

impl Note {
    /// Parses a note; `None` for anything that is not one.
    pub fn parse(bytes: &str) -> Option<Self> {
        if bytes.len() > LIMIT || bytes.chars().any(|c| c < ' ' && c != '\n') {
            return None;
        }
        let middle = bytes.rfind("\n\n")?;
        let (text, signatures) = (bytes.get(..=middle)?, bytes.get(middle + 2..)?);
        let signatures: Option<Vec<_>> =
            signatures.strip_suffix('\n')?.split('\n').map(NoteSignature::parse).take(SIGNATURES + 1).collect();
        let signatures = signatures.filter(|signatures| signatures.len() <= SIGNATURES)?;
        Some(Self { text: text.to_owned(), signatures })
    }

    /// Returns the origin and the tree head that the note states, if it states one and nothing more.
    pub fn head(&self) -> Option<(&str, TreeHead)> {
        let mut lines = self.text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let size = size.parse::<u64>().ok().filter(|number| number.to_string() == size)?;
        let root = Base64::decode_vec(root).ok()?.try_into().ok()?;
        (lines.next().is_none() && is_name(origin)).then_some((origin, TreeHead { size, root: Digest(root) }))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// Parses a line of a note, without its line feed.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = Base64::decode_vec(encoded).ok()?;
        let (id, bytes) = bytes.split_first_chunk::<4>()?;
        (is_name(name) && !bytes.is_empty()).then(|| Self { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, Base64::encode_string(&[&self.id[..], &self.bytes].concat()))
    }
}

/// What a key signs; the number is the signature type in its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The text of the note.
    Log = 1,
    /// The text of the note with a time: the cosignature of a witness.
    Witness = 4,
}

/// A public key with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    /// The name.
    pub name: String,
    /// What it signs.
    pub kind: KeyKind,
    point: [u8; 32],
}

impl NoteKey {
    /// Returns the key of the journal of a host.
    pub fn of_host(origin: &str, key: &PublicKey) -> Option<Self> {
        match key {
            PublicKey::Plain(point) => Some(Self { name: origin.to_owned(), kind: KeyKind::Log, point: *point }),
            PublicKey::Token { .. } => None,
        }
    }

    /// Parses the text of a key: `NAME+ID+KEY`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('+')?;
        let (_, encoded) = rest.split_once('+')?;
        let bytes = Base64::decode_vec(encoded).ok()?;
        let (kind, point) = bytes.split_first()?;
        let kind = [KeyKind::Log, KeyKind::Witness].into_iter().find(|known| *known as u8 == *kind)?;
        let key = Self { name: name.to_owned(), kind, point: point.try_into().ok()? };
        (is_name(name) && key.to_string() == text && key.verifying().is_some()).then_some(key)
    }

    /// Returns whether the key has signed the note, as the key of its journal: it has the name that the note begins with.
    pub fn signed(&self, note: &Note) -> bool {
        self.kind == KeyKind::Log
            && note.head().is_some_and(|(origin, _)| origin == self.name)
            && self.own(note).any(|bytes| self.holds(note.text.as_bytes(), bytes))
    }

    /// Returns the time of the cosignature of this witness, in seconds since 1970, if there is one.
    pub fn cosigned(&self, note: &Note) -> Option<u64> {
        if self.kind != KeyKind::Witness {
            return None;
        }
        self.own(note).find_map(|bytes| {
            let (time, signature) = bytes.split_first_chunk::<8>()?;
            let time = u64::from_be_bytes(*time);
            self.holds(cosigned_text(time, &note.text).as_bytes(), signature).then_some(time)
        })
    }

    /// Returns the signatures with the name and the id of this key.
    fn own<'n>(&self, note: &'n Note) -> impl Iterator<Item = &'n [u8]> {
        let id = self.id();
        let own = move |signature: &&NoteSignature| signature.name == self.name && signature.id == id;
        note.signatures.iter().filter(own).map(|signature| &signature.bytes[..])
    }

    fn holds(&self, text: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature).ok();
        self.verifying().zip(signature).is_some_and(|(key, signature)| key.verify_strict(text, &signature).is_ok())
    }

    fn verifying(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.point).ok().filter(|key| !key.is_weak())
    }

    pub(super) fn id(&self) -> [u8; 4] {
        let hash = Sha256::new_with_prefix(&self.name).chain_update([b'\n', self.kind as u8]).chain_update(self.point);
        let hash: [u8; 32] = hash.finalize().into();
        hash.first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Base64::encode_string(&[&[self.kind as u8][..], &self.point].concat());
        write!(f, "{}+{}+{key}", self.name, crate::escape::hex(&self.id()))
    }
}

/// Returns the note of a tree head, signed by its host.
pub fn signed_by_host(key: &HostKey, host: &str, head: &TreeHead) -> Option<Note> {
    let origin = origin(host);
    let text = text(&origin, head);
    let id = NoteKey::of_host(&origin, &key.public_key())?.id();
    let signature = NoteSignature { name: origin, id, bytes: key.sign_note(&text).to_vec() };
    Some(Note { text, signatures: vec![signature] })
}

/// The key pair of a witness.
pub struct WitnessKey {
    signing: SigningKey,
    public: NoteKey,
}

impl WitnessKey {
    /// Makes a key pair from 32 random bytes; `None` if no key may have the name.
    pub fn new(name: &str, seed: [u8; 32]) -> Option<Self> {
        let signing = SigningKey::from_bytes(&seed);
        let point = signing.verifying_key().to_bytes();
        let public = NoteKey { name: name.to_owned(), kind: KeyKind::Witness, point };
        is_name(name).then_some(Self { signing, public })
    }

    /// Parses the text of [`Self::to_text`].
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.strip_prefix(PRIVATE)?.split_once('+')?;
        let bytes = Base64::decode_vec(rest.split_once('+')?.1).ok()?;
        let (kind, seed) = bytes.split_first()?;
        let key = Self::new(name, seed.try_into().ok()?).filter(|_| *kind == KeyKind::Witness as u8)?;
        (key.to_text() == text).then_some(key)
    }

    /// Formats the private key.
    pub fn to_text(&self) -> String {
        let seed = Base64::encode_string(&[&[KeyKind::Witness as u8][..], &self.signing.to_bytes()].concat());
        format!("{PRIVATE}{}+{}+{seed}", self.public.name, crate::escape::hex(&self.public.id()))
    }

    /// Returns the public key.
    pub fn public(&self) -> &NoteKey {
        &self.public
    }

    /// Cosigns the text of a note at this time, in seconds since 1970.
    pub fn cosign(&self, text: &str, time: u64) -> NoteSignature {
        let signature = self.signing.sign(cosigned_text(time, text).as_bytes());
        let bytes = [&time.to_be_bytes()[..], &signature.to_bytes()].concat();
        NoteSignature { name: self.public.name.clone(), id: self.public.id(), bytes }
    }
}

fn cosigned_text(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Returns whether a key may have this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of golang.org/x/mod/sumdb/note, the first implementation of the format.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const LINE: &str =
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

    /// The example of C2SP tlog-cosignature.
    const COSIGNED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    fn seed() -> [u8; 32] {
        Base64::decode_vec(SECRET).unwrap()[1..].try_into().unwrap()
    }

    fn head() -> TreeHead {
        TreeHead { size: 7, root: Digest([5; 32]) }
    }

    #[test]
    fn keys_and_signatures_are_those_of_the_first_implementation() {
        let key = NoteKey::parse(KEY).unwrap();
        assert_eq!((key.name.as_str(), key.kind, key.to_string().as_str()), ("PeterNeumann", KeyKind::Log, KEY));
        let host = HostKey::from_seed(seed());
        assert_eq!(NoteKey::of_host("PeterNeumann", &host.public_key()).unwrap(), key);
        let note = Note::parse(&format!("{TEXT}\n{LINE}\n")).unwrap();
        assert_eq!((note.text.as_str(), note.to_string()), (TEXT, format!("{TEXT}\n{LINE}\n")));
        assert!(key.holds(TEXT.as_bytes(), &note.signatures[0].bytes));
        assert_eq!(host.sign_note(TEXT).to_vec(), note.signatures[0].bytes);
        assert!(!key.signed(&note), "it states no tree head");
    }

    #[test]
    fn a_cosigned_head_is_read_as_the_specification_writes_it() {
        let note = Note::parse(COSIGNED).unwrap();
        assert_eq!(note.to_string(), COSIGNED);
        let (origin, head) = note.head().unwrap();
        assert_eq!((origin, head.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(text(origin, &head), note.text);
        let (time, signature) = note.signatures[1].bytes.split_first_chunk::<8>().unwrap();
        assert_eq!((u64::from_be_bytes(*time), signature.len()), (1_679_315_147, 64));
        let signed = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
                      CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(cosigned_text(1_679_315_147, &note.text), signed);
    }

    #[test]
    fn the_host_and_a_witness_sign_a_head() {
        let (host, witness) = (HostKey::from_seed([7; 32]), WitnessKey::new("witness.example/w", [8; 32]).unwrap());
        let mut note = signed_by_host(&host, "ab12", &head()).unwrap();
        let key = NoteKey::of_host("jit-sudo/ab12", &host.public_key()).unwrap();
        assert!(key.signed(&note) && NoteKey::parse(&key.to_string()) == Some(key.clone()));
        assert_eq!(note.head(), Some(("jit-sudo/ab12", head())));
        assert_eq!(witness.public().cosigned(&note), None);
        note.signatures.push(witness.cosign(&note.text, 99));
        let note = Note::parse(&note.to_string()).unwrap();
        assert!(key.signed(&note));
        assert_eq!(witness.public().cosigned(&note), Some(99));
        assert_eq!(WitnessKey::new("another", [8; 32]).unwrap().public().cosigned(&note), None);
        let again = WitnessKey::parse(&witness.to_text()).unwrap();
        assert_eq!(again.public(), witness.public());
        assert_eq!(again.public().to_string().len(), "witness.example/w+01234567+".len() + 44);
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_found() {
        let (host, witness) = (HostKey::from_seed([7; 32]), WitnessKey::new("w", [8; 32]).unwrap());
        let mut note = signed_by_host(&host, "ab12", &head()).unwrap();
        note.signatures.push(witness.cosign(&note.text, 99));
        let (key, whole) = (NoteKey::of_host("jit-sudo/ab12", &host.public_key()).unwrap(), note.to_string());
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let both = |note: &Note| key.signed(note) && witness.public().cosigned(note) == Some(99);
            assert!(!Note::parse(&text).is_some_and(|note| both(&note)), "{bit}: {text}");
        }
    }

    #[test]
    fn what_is_no_note_is_rejected() {
        let whole = COSIGNED.to_owned();
        for bad in [
            String::new(),
            "\n\n".to_owned(),
            whole.replace("\n\n", "\n"),
            whole.replace("20852163", "20852163\r"),
            whole.trim_end().to_owned(),
            whole.replace("— witness.example.com/w1", "— witness+w1"),
            whole.replace("— witness", "- witness"),
            whole.replace("qnA==", "qnA="),
            format!("{whole}\n"),
            whole.replace("— witness", &format!("{}— witness", format!("{LINE}\n").repeat(70))),
        ] {
            assert_eq!(Note::parse(&bad), None, "{bad}");
        }
        for text in ["o\n07\n", "o\n7\nAAAA\n", "o o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n", "o\n7\n\n"] {
            assert_eq!(Note { text: text.to_owned(), signatures: Vec::new() }.head(), None, "{text}");
        }
        let extended = whole.replacen("\n\n", "\nan extension\n\n", 1);
        assert_eq!(Note::parse(&extended).unwrap().head(), None);
        for bad in [&KEY[1..], &KEY.replace("c74f", "c74e"), &KEY.replace("+AR", "+Ah"), "PeterNeumann+c74f20a3+"] {
            assert_eq!(NoteKey::parse(bad), None, "{bad}");
        }
        assert!(WitnessKey::new("a b", [8; 32]).is_none() && WitnessKey::new("", [8; 32]).is_none());
    }
}
