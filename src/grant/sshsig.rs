//! SSHSIG, OpenSSH's signature format (PROTOCOL.sshsig), for ed25519: what the host signs, any `ssh-keygen -Y verify`
//! can check. A decoder of our own because it runs privileged; it accepts exactly one encoding of a signature.

use std::fmt;

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256, Sha512};

use super::ssh_wire::{Reader, push_string};

/// What a signature is for; a signature for one purpose never serves another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// The host grants.
    Grant,
    /// An approver approves.
    Approval,
    /// A requester asks.
    Request,
    /// The host states its chain head.
    Checkpoint,
}

impl Namespace {
    /// The text that `ssh-keygen -n` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "jit-sudo/grant/v1",
            Self::Approval => "jit-sudo/approval/v1",
            Self::Request => "jit-sudo/request/v1",
            Self::Checkpoint => "jit-sudo/checkpoint/v1",
        }
    }
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureFault {
    /// The bytes are not an SSHSIG of version 1 with an ed25519 key.
    Malformed,
    /// It was made for another purpose.
    WrongNamespace,
    /// It was made with another key.
    WrongKey,
    /// It was made over other bytes.
    Mismatch,
}

impl fmt::Display for SignatureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the signature is not in OpenSSH's format",
            Self::WrongNamespace => "the signature was made for another purpose",
            Self::WrongKey => "the signature was made with another key",
            Self::Mismatch => "the signature does not fit the signed bytes",
        })
    }
}

const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const ALGORITHM: &[u8] = b"ssh-ed25519";

/// The public key as OpenSSH encodes it.
pub fn public_blob(key: &VerifyingKey) -> Vec<u8> {
    let mut blob = Vec::with_capacity(51);
    push_string(&mut blob, ALGORITHM);
    push_string(&mut blob, key.as_bytes());
    blob
}

/// Signs `message`; the result is the binary form (see [`armor`] for the text form).
pub fn sign(key: &SigningKey, namespace: Namespace, message: &[u8]) -> Vec<u8> {
    let signature = key.sign(&signed_data(namespace, HashAlgorithm::Sha512, message));
    let mut inner = Vec::with_capacity(83);
    push_string(&mut inner, ALGORITHM);
    push_string(&mut inner, &signature.to_bytes());

    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&VERSION.to_be_bytes());
    push_string(&mut blob, &public_blob(&key.verifying_key()));
    push_string(&mut blob, namespace.as_str().as_bytes());
    push_string(&mut blob, b"");
    push_string(&mut blob, HashAlgorithm::Sha512.name());
    push_string(&mut blob, &inner);
    blob
}

/// Checks that `blob` is `key`'s signature over exactly `message` for `namespace`.
pub fn verify(key: &VerifyingKey, namespace: Namespace, message: &[u8], blob: &[u8]) -> Result<(), SignatureFault> {
    let parts = decode(blob).ok_or(SignatureFault::Malformed)?;
    if parts.namespace != namespace.as_str().as_bytes() {
        return Err(SignatureFault::WrongNamespace);
    }
    if parts.public_key != key.as_bytes() {
        return Err(SignatureFault::WrongKey);
    }
    // verify_strict refuses low-order keys and non-canonical signatures, which plain verification lets through.
    key.verify_strict(&signed_data(namespace, parts.hash, message), &parts.signature)
        .map_err(|_| SignatureFault::Mismatch)
}

/// The text form that `ssh-keygen -Y verify -s` reads.
pub fn armor(blob: &[u8]) -> String {
    let encoded = Base64::encode_string(blob);
    let mut text = String::from("-----BEGIN SSH SIGNATURE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(70));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END SSH SIGNATURE-----\n");
    text
}

#[derive(Clone, Copy)]
enum HashAlgorithm {
    Sha256,
    Sha512,
}

impl HashAlgorithm {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"sha256",
            Self::Sha512 => b"sha512",
        }
    }

    fn hash(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

struct Parts<'a> {
    public_key: &'a [u8; 32],
    namespace: &'a [u8],
    hash: HashAlgorithm,
    signature: Signature,
}

fn decode(blob: &[u8]) -> Option<Parts<'_>> {
    let mut outer = Reader::new(blob);
    outer.literal(MAGIC)?;
    if outer.uint32()? != VERSION {
        return None;
    }
    let public_key = ed25519_field(outer.string()?)?.try_into().ok()?;
    let namespace = outer.string()?;
    if !outer.string()?.is_empty() {
        return None; // the reserved field: PROTOCOL.sshsig lets a reader ignore it; one encoding is safer
    }
    let hash = match outer.string()? {
        b"sha256" => HashAlgorithm::Sha256,
        b"sha512" => HashAlgorithm::Sha512,
        _ => return None,
    };
    let signature = Signature::from_slice(ed25519_field(outer.string()?)?).ok()?;
    outer.end()?;
    Some(Parts { public_key, namespace, hash, signature })
}

/// The second string of `string "ssh-ed25519", string VALUE`.
fn ed25519_field(bytes: &[u8]) -> Option<&[u8]> {
    let mut inner = Reader::new(bytes);
    if inner.string()? != ALGORITHM {
        return None;
    }
    let value = inner.string()?;
    inner.end()?;
    Some(value)
}

fn signed_data(namespace: Namespace, hash: HashAlgorithm, message: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    push_string(&mut data, namespace.as_str().as_bytes());
    push_string(&mut data, b"");
    push_string(&mut data, hash.name());
    push_string(&mut data, &hash.hash(message));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn a_signature_serves_its_key_purpose_and_bytes_only() {
        let (ours, other) = (key(1), key(2));
        let blob = sign(&ours, Namespace::Grant, b"message");
        let public = ours.verifying_key();
        assert_eq!(verify(&public, Namespace::Grant, b"message", &blob), Ok(()));
        assert_eq!(verify(&public, Namespace::Grant, b"massage", &blob), Err(SignatureFault::Mismatch));
        assert_eq!(verify(&public, Namespace::Approval, b"message", &blob), Err(SignatureFault::WrongNamespace));
        assert_eq!(verify(&other.verifying_key(), Namespace::Grant, b"message", &blob), Err(SignatureFault::WrongKey));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let ours = key(1);
        let blob = sign(&ours, Namespace::Grant, b"message");
        for position in 0..blob.len() * 8 {
            let mut bad = blob.clone();
            bad[position / 8] ^= 1 << (position % 8);
            assert!(verify(&ours.verifying_key(), Namespace::Grant, b"message", &bad).is_err(), "bit {position}");
        }
        for length in 0..blob.len() {
            assert_eq!(
                verify(&ours.verifying_key(), Namespace::Grant, b"message", &blob[..length]),
                Err(SignatureFault::Malformed)
            );
        }
        let longer = [&blob[..], b"x"].concat();
        assert_eq!(
            verify(&ours.verifying_key(), Namespace::Grant, b"message", &longer),
            Err(SignatureFault::Malformed)
        );
    }

    #[test]
    fn random_bytes_never_panic_and_never_verify() {
        let ours = key(1).verifying_key();
        let good = sign(&key(1), Namespace::Grant, b"m");
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let index = (state as usize >> 8) % bytes.len();
                bytes[index] = state as u8;
            }
            if bytes != good {
                assert!(verify(&ours, Namespace::Grant, b"m", &bytes).is_err());
            }
        }
    }

    #[test]
    fn the_armor_is_what_openssh_writes() {
        let text = armor(&sign(&key(1), Namespace::Grant, b"m"));
        assert!(text.starts_with("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH"));
        assert!(text.lines().all(|line| line.len() <= 70));
    }
}
