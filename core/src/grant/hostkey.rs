//! The host's ed25519 key in OpenSSH's private key format (PROTOCOL.key), unencrypted: it is in a directory that only
//! root can enter, and stock `ssh-keygen` can read it.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use base64ct::{Base64, Base64Unpadded, Encoding};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use super::digest;
use super::public_key::PublicKey;
use super::ssh_wire::{Reader, push_string};
use super::sshsig::{Namespace, SignatureFault, public_blob, sign, verify};

const MAGIC: &[u8] = b"openssh-key-v1\0";
const HEADER: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const FOOTER: &str = "-----END OPENSSH PRIVATE KEY-----";
const COMMENT: &str = "jit-sudo host key";

/// The key with which this host signs grants, with its public half.
pub struct HostKey {
    signing: SigningKey,
    public: HostPublicKey,
}

/// The public half alone, which verifies grants: a run does not need the private half and never reads it.
pub struct HostPublicKey(VerifyingKey);

/// The file is not an unencrypted ed25519 key in OpenSSH's format.
#[derive(Debug)]
pub struct InvalidHostKey;

impl fmt::Display for InvalidHostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not an unencrypted ed25519 key in OpenSSH's format, or its public half does not match")
    }
}

impl HostKey {
    /// Creates a key from 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        SigningKey::from_bytes(&seed).into()
    }

    /// Parses the text of a private key file.
    pub fn from_openssh(text: &str) -> Result<Self, InvalidHostKey> {
        parse_private(text).map(Self::from).ok_or(InvalidHostKey)
    }

    /// Formats a private key file. `check` is any random number (PROTOCOL.key's checkint).
    pub fn to_openssh(&self, check: u32) -> String {
        let public = public_blob(&self.public.0);
        let mut secret = Vec::new();
        secret.extend_from_slice(&check.to_be_bytes());
        secret.extend_from_slice(&check.to_be_bytes());
        push_string(&mut secret, b"ssh-ed25519");
        push_string(&mut secret, self.public.0.as_bytes());
        push_string(&mut secret, &self.signing.to_keypair_bytes());
        push_string(&mut secret, COMMENT.as_bytes());
        for padding in 1u8.. {
            if secret.len() % 8 == 0 {
                break;
            }
            secret.push(padding);
        }

        let mut bytes = MAGIC.to_vec();
        push_string(&mut bytes, b"none");
        push_string(&mut bytes, b"none");
        push_string(&mut bytes, b"");
        bytes.extend_from_slice(&1u32.to_be_bytes());
        push_string(&mut bytes, &public);
        push_string(&mut bytes, &secret);

        let mut text = format!("{HEADER}\n");
        for line in Base64::encode_string(&bytes).as_bytes().chunks(70) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str(FOOTER);
        text.push('\n');
        text
    }

    /// Signs exact bytes.
    pub fn sign(&self, namespace: Namespace, message: &[u8]) -> Vec<u8> {
        sign(&self.signing, namespace, message)
    }

    /// Signs the text of a note (C2SP signed-note). It begins with the origin of the journal, so that no text of another purpose
    /// has the same signature: the bytes that are signed for a namespace begin with `SSHSIG`.
    pub fn sign_note(&self, text: &str) -> [u8; 64] {
        self.signing.sign(text.as_bytes()).to_bytes()
    }
}

impl From<SigningKey> for HostKey {
    fn from(signing: SigningKey) -> Self {
        let public = HostPublicKey(signing.verifying_key());
        Self { signing, public }
    }
}

impl Deref for HostKey {
    type Target = HostPublicKey;
    fn deref(&self) -> &HostPublicKey {
        &self.public
    }
}

impl Borrow<HostPublicKey> for HostKey {
    fn borrow(&self) -> &HostPublicKey {
        &self.public
    }
}

impl HostPublicKey {
    /// Parses the line of a public key file: `ssh-ed25519 AAAA…` with an optional comment.
    pub fn from_line(line: &str) -> Result<Self, InvalidHostKey> {
        let read = || {
            let mut words = line.split_ascii_whitespace();
            let encoded = words.next().filter(|word| *word == "ssh-ed25519").and(words.next())?;
            let key = PublicKey::from_blob(&Base64::decode_vec(encoded).ok()?)?;
            matches!(key, PublicKey::Plain(_)).then(|| key.point()).flatten().map(Self)
        };
        read().ok_or(InvalidHostKey)
    }

    /// Returns the line `ssh-ed25519 AAAA… jit-sudo host key`.
    pub fn public_line(&self) -> String {
        format!("ssh-ed25519 {} {COMMENT}", Base64::encode_string(&public_blob(&self.0)))
    }

    /// Returns the fingerprint `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", Base64Unpadded::encode_string(&digest(&public_blob(&self.0))))
    }

    /// Checks a signature of this host.
    pub fn verify(&self, namespace: Namespace, message: &[u8], signature: &[u8]) -> Result<(), SignatureFault> {
        verify(&self.0, namespace, message, signature)
    }

    pub(super) fn verifying(&self) -> &VerifyingKey {
        &self.0
    }

    /// Returns the public half in the form used in signatures.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::Plain(self.0.to_bytes())
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(HEADER)?.strip_suffix(FOOTER)?;
    let encoded: String = body.split_ascii_whitespace().collect();
    Base64::decode_vec(&encoded).ok()
}

/// Splits the file into the blob of the public key and the part with the private key.
fn halves(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader::new(file);
    outer.literal(MAGIC)?;
    if outer.string()? != b"none" || outer.string()? != b"none" || !outer.string()?.is_empty() || outer.uint32()? != 1 {
        return None;
    }
    let halves = (outer.string()?, outer.string()?);
    outer.end()?;
    Some(halves)
}

fn parse_private(text: &str) -> Option<SigningKey> {
    let file = decode(text)?;
    let (public, secret) = halves(&file)?;
    let mut inner = Reader::new(secret);
    if inner.uint32()? != inner.uint32()? || inner.string()? != b"ssh-ed25519" {
        return None;
    }
    inner.string()?;
    let pair: &[u8; 64] = inner.string()?.try_into().ok()?;
    inner.string()?;
    let padding = inner.remainder();
    if padding.len() >= 8 || !padding.iter().zip(1u8..).all(|(byte, expected)| *byte == expected) {
        return None;
    }
    let signing = SigningKey::from_keypair_bytes(pair).ok()?;
    (public_blob(&signing.verifying_key()) == public).then_some(signing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_round_trips() {
        let key = HostKey::from_seed([7; 32]);
        let text = key.to_openssh(42);
        let again = HostKey::from_openssh(&text).unwrap();
        assert_eq!(again.public_line(), key.public_line());
        assert_eq!(HostPublicKey::from_line(&key.public_line()).unwrap().public_line(), key.public_line());
        assert!(key.fingerprint().starts_with("SHA256:"));
    }

    #[test]
    fn damaged_key_files_are_rejected() {
        let text = HostKey::from_seed([7; 32]).to_openssh(42);
        assert!(
            HostKey::from_openssh("").is_err()
                && HostPublicKey::from_line("").is_err()
                && HostPublicKey::from_line("ssh-ed25519 AAAA").is_err()
        );
        assert!(HostKey::from_openssh(&text.replace("OPENSSH", "RSA")).is_err());
        for index in HEADER.len() + 1..text.len() - FOOTER.len() - 2 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            // A flipped bit may be in the comment, which is ignored; it never yields another key.
            if let Ok(key) = HostKey::from_openssh(&String::from_utf8(bytes).unwrap()) {
                assert_eq!(key.public_line(), HostKey::from_seed([7; 32]).public_line());
            }
        }
    }
}
