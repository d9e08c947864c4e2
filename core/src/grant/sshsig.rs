//! SSHSIG, OpenSSH's signature format (PROTOCOL.sshsig), for ed25519 keys, plain or in a token: any `ssh-keygen -Y
//! verify` can check what the host signs. It has its own decoder because it runs privileged, and accepts exactly one
//! encoding of a signature.

use std::fmt;

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256, Sha512};

use super::public_key::{PLAIN, PublicKey};
use super::ssh_wire::{Reader, push_string};

/// The purpose of a signature; a signature for one purpose is not valid for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// The host issues a grant.
    Grant,
    /// An approver approves a request.
    Approval,
    /// A requester makes a request.
    Request,
    /// A sealing key, or the host in a journal without one, signs the head of the chain.
    Checkpoint,
    /// A sealing key certifies the next one, or the host the first one.
    Epoch,
    /// The host, or a user with a key, confirms what a user did: denied, cancelled, revoked, released, reviewed.
    Statement,
    /// The old key of the host and the new one confirm that the one follows the other.
    Rotation,
    /// The host signs its last record.
    Retirement,
}

impl Namespace {
    /// Returns the text for `ssh-keygen -n`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "jit-sudo/grant/v1",
            Self::Approval => "jit-sudo/approval/v1",
            Self::Request => "jit-sudo/request/v1",
            Self::Checkpoint => "jit-sudo/checkpoint/v1",
            Self::Epoch => "jit-sudo/epoch/v1",
            Self::Statement => "jit-sudo/statement/v1",
            Self::Rotation => "jit-sudo/rotation/v1",
            Self::Retirement => "jit-sudo/retirement/v1",
        }
    }
}

/// Why a signature is not valid.
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
    /// A token made it without being touched.
    NobodyPresent,
}

impl fmt::Display for SignatureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the signature is not in OpenSSH's format",
            Self::WrongNamespace => "the signature was made for another purpose",
            Self::WrongKey => "the signature was made with another key",
            Self::Mismatch => "the signature does not match the signed bytes",
            Self::NobodyPresent => "the security key was not touched when it signed",
        })
    }
}

const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const HEADER: &str = "-----BEGIN SSH SIGNATURE-----";
const FOOTER: &str = "-----END SSH SIGNATURE-----";

/// The maximum length of a signature in bytes; one by a token with a long application is far below it.
const SIGNATURE_LIMIT: usize = 8 << 10;

/// The bit of a token's flags that says that a user touched it (WebAuthn, "UP").
const USER_PRESENT: u8 = 1;

/// The bit that says that the token verified its user, by a PIN or a fingerprint (WebAuthn, "UV").
const USER_VERIFIED: u8 = 4;

/// Who made a signature, by its own contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The key; the caller finds its owner.
    pub key: PublicKey,
    /// Whether a token verified its user before it signed. A plain key never says so.
    pub user_verified: bool,
}

/// Returns the public key as OpenSSH encodes it.
pub fn public_blob(key: &VerifyingKey) -> Vec<u8> {
    PublicKey::Plain(key.to_bytes()).blob()
}

/// Signs `message`; returns the binary form (see [`armor`] for the text form).
pub fn sign(key: &SigningKey, namespace: Namespace, message: &[u8]) -> Vec<u8> {
    let signature = key.sign(&signed_data(namespace, HashAlgorithm::Sha512, message));
    let mut inner = Vec::with_capacity(83);
    push_string(&mut inner, PLAIN.as_bytes());
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
    let parts = decode_for(namespace, blob)?;
    if parts.key != PublicKey::Plain(key.to_bytes()) {
        return Err(SignatureFault::WrongKey);
    }
    parts.check(key, namespace, message)
}

/// Returns the key that signed exactly `message` for `namespace` in `blob`. The caller finds the owner of the key.
pub fn signer(namespace: Namespace, message: &[u8], blob: &[u8]) -> Result<PublicKey, SignatureFault> {
    signed_by(namespace, message, blob).map(|signed| signed.key)
}

/// Returns the same with what the token says of its user, which is signed too.
pub fn signed_by(namespace: Namespace, message: &[u8], blob: &[u8]) -> Result<SignedBy, SignatureFault> {
    let parts = decode_for(namespace, blob)?;
    let point = parts.key.point().ok_or(SignatureFault::Malformed)?;
    parts.check(&point, namespace, message)?;
    let user_verified = parts.token.is_some_and(|(flags, _)| flags & USER_VERIFIED != 0);
    Ok(SignedBy { key: parts.key, user_verified })
}

/// Returns the key that `blob` names, for display: nothing is checked.
pub fn claimed_key(blob: &[u8]) -> Option<PublicKey> {
    decode(blob).map(|parts| parts.key)
}

/// Returns the text form that `ssh-keygen -Y verify -s` reads.
pub fn armor(blob: &[u8]) -> String {
    let encoded = Base64::encode_string(blob);
    let mut text = format!("{HEADER}\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(70));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(FOOTER);
    text.push('\n');
    text
}

/// Returns the binary form of the output of `ssh-keygen -Y sign`; lines may be broken anywhere.
pub fn dearmor(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(HEADER)?.strip_suffix(FOOTER)?;
    let encoded: String = body.split_ascii_whitespace().collect();
    let blob = Base64::decode_vec(&encoded).ok()?;
    (blob.len() <= SIGNATURE_LIMIT).then_some(blob)
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
    key: PublicKey,
    namespace: &'a [u8],
    hash: HashAlgorithm,
    signature: Signature,
    /// Flags and counter of a token.
    token: Option<(u8, u32)>,
}

impl Parts<'_> {
    /// Verifies the signature; `key` is the point of `self.key`.
    fn check(&self, key: &VerifyingKey, namespace: Namespace, message: &[u8]) -> Result<(), SignatureFault> {
        let mut data = signed_data(namespace, self.hash, message);
        if let (PublicKey::Token { application, .. }, Some((flags, counter))) = (&self.key, self.token) {
            data = token_data(application, flags, counter, &data);
        }
        // verify_strict rejects low-order keys and non-canonical signatures, which plain verification accepts.
        key.verify_strict(&data, &self.signature).map_err(|_| SignatureFault::Mismatch)?;
        match self.token {
            // Neither ssh-keygen nor the ssh-key crate checks this bit.
            Some((flags, _)) if flags & USER_PRESENT == 0 => Err(SignatureFault::NobodyPresent),
            _ => Ok(()),
        }
    }
}

fn decode_for(namespace: Namespace, blob: &[u8]) -> Result<Parts<'_>, SignatureFault> {
    let parts = decode(blob).ok_or(SignatureFault::Malformed)?;
    if parts.namespace == namespace.as_str().as_bytes() { Ok(parts) } else { Err(SignatureFault::WrongNamespace) }
}

fn decode(blob: &[u8]) -> Option<Parts<'_>> {
    if blob.len() > SIGNATURE_LIMIT {
        return None;
    }
    let mut outer = Reader::new(blob);
    outer.literal(MAGIC)?;
    if outer.uint32()? != VERSION {
        return None;
    }
    let key = PublicKey::from_blob(outer.string()?)?;
    let namespace = outer.string()?;
    if !outer.string()?.is_empty() {
        return None; // the reserved field: PROTOCOL.sshsig lets a reader ignore it; one encoding is safer
    }
    let hash = match outer.string()? {
        b"sha256" => HashAlgorithm::Sha256,
        b"sha512" => HashAlgorithm::Sha512,
        _ => return None,
    };
    let mut inner = Reader::new(outer.string()?);
    outer.end()?;
    if inner.string()? != key.algorithm().as_bytes() {
        return None;
    }
    let signature = Signature::from_slice(inner.string()?).ok()?;
    let token = match key {
        PublicKey::Plain(_) => None,
        PublicKey::Token { .. } => Some((inner.byte()?, inner.uint32()?)),
    };
    inner.end()?;
    Some(Parts { key, namespace, hash, signature, token })
}

/// Returns the data that a token signs (PROTOCOL.u2f, "SSH U2F signatures").
fn token_data(application: &[u8], flags: u8, counter: u32, message: &[u8]) -> Vec<u8> {
    let mut data = Sha256::digest(application).to_vec();
    data.push(flags);
    data.extend_from_slice(&counter.to_be_bytes());
    data.extend_from_slice(&Sha256::digest(message));
    data
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
    use crate::grant::public_key::TOKEN;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn a_signature_is_valid_for_its_key_purpose_and_bytes_only() {
        let (ours, other) = (key(1), key(2));
        let blob = sign(&ours, Namespace::Grant, b"message");
        let public = ours.verifying_key();
        assert_eq!(verify(&public, Namespace::Grant, b"message", &blob), Ok(()));
        assert_eq!(verify(&public, Namespace::Grant, b"massage", &blob), Err(SignatureFault::Mismatch));
        assert_eq!(verify(&public, Namespace::Approval, b"message", &blob), Err(SignatureFault::WrongNamespace));
        assert_eq!(verify(&other.verifying_key(), Namespace::Grant, b"message", &blob), Err(SignatureFault::WrongKey));
    }

    #[test]
    fn flipped_bits_and_truncated_signatures_are_rejected() {
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
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                let index = random.usize(..bytes.len());
                bytes[index] = random.u8(..);
            }
            if bytes != good {
                let _ = signer(Namespace::Grant, b"m", &bytes);
                assert!(verify(&ours, Namespace::Grant, b"m", &bytes).is_err());
            }
        }
    }

    /// Returns the signature that a token would make, for tests.
    fn token_signature(key: &SigningKey, flags: u8, message: &[u8]) -> Vec<u8> {
        let application = b"ssh:".to_vec();
        let data = signed_data(Namespace::Approval, HashAlgorithm::Sha512, message);
        let signature = key.sign(&token_data(&application, flags, 7, &data));
        let mut inner = Vec::new();
        push_string(&mut inner, TOKEN.as_bytes());
        push_string(&mut inner, &signature.to_bytes());
        inner.push(flags);
        inner.extend_from_slice(&7u32.to_be_bytes());
        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&VERSION.to_be_bytes());
        push_string(&mut blob, &PublicKey::Token { point: key.verifying_key().to_bytes(), application }.blob());
        push_string(&mut blob, Namespace::Approval.as_str().as_bytes());
        push_string(&mut blob, b"");
        push_string(&mut blob, b"sha512");
        push_string(&mut blob, &inner);
        blob
    }

    #[test]
    fn a_token_signature_requires_a_touch() {
        let ours = key(1);
        let touched = token_signature(&ours, 1, b"message");
        let signed_by = signer(Namespace::Approval, b"message", &touched).unwrap();
        assert_eq!(signed_by.algorithm(), TOKEN);
        for flags in [0, 4, 0x80] {
            let blob = token_signature(&ours, flags, b"message");
            assert_eq!(signer(Namespace::Approval, b"message", &blob), Err(SignatureFault::NobodyPresent));
        }
        // The host's key is never in a token, so a token's signature is never the host's.
        assert_eq!(
            verify(&ours.verifying_key(), Namespace::Approval, b"message", &touched),
            Err(SignatureFault::WrongKey)
        );
    }

    #[test]
    fn only_a_token_proves_user_verification() {
        let ours = key(1);
        let verified =
            |blob: &[u8]| signed_by(Namespace::Approval, b"message", blob).map(|signed| signed.user_verified);
        assert_eq!(verified(&token_signature(&ours, 1, b"message")), Ok(false));
        assert_eq!(verified(&token_signature(&ours, 5, b"message")), Ok(true));
        assert_eq!(verified(&sign(&ours, Namespace::Approval, b"message")), Ok(false));
        // The bit cannot be added afterwards, and it does not replace a touch.
        let mut forged = token_signature(&ours, 1, b"message");
        let at = forged.len() - 5;
        forged[at] |= 4;
        assert_eq!(verified(&forged), Err(SignatureFault::Mismatch));
        assert_eq!(verified(&token_signature(&ours, 4, b"message")), Err(SignatureFault::NobodyPresent));
    }

    #[test]
    fn every_flipped_bit_of_a_token_signature_is_rejected() {
        let blob = token_signature(&key(1), 1, b"message");
        let expected = signer(Namespace::Approval, b"message", &blob).unwrap();
        for position in 0..blob.len() * 8 {
            let mut bad = blob.clone();
            bad[position / 8] ^= 1 << (position % 8);
            assert_ne!(signer(Namespace::Approval, b"message", &bad).as_ref(), Ok(&expected), "bit {position}");
        }
    }

    #[test]
    fn openssh_accepts_our_token_signatures() {
        let ours = key(1);
        let blob = token_signature(&ours, 1, b"message");
        let public = PublicKey::Token { point: ours.verifying_key().to_bytes(), application: b"ssh:".to_vec() };
        let directory = std::env::temp_dir().join(format!("jit-sudo-sshsig-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (signers, signature, message) = (directory.join("a"), directory.join("s"), directory.join("m"));
        std::fs::write(&signers, format!("bob {TOKEN} {}\n", Base64::encode_string(&public.blob()))).unwrap();
        std::fs::write(&signature, armor(&blob)).unwrap();
        std::fs::write(&message, "message").unwrap();
        let output = std::process::Command::new("ssh-keygen")
            .args(["-Y", "verify", "-I", "bob", "-n", Namespace::Approval.as_str(), "-f"])
            .args([&signers, std::path::Path::new("-s"), &signature])
            .stdin(std::fs::File::open(&message).unwrap())
            .output();
        std::fs::remove_dir_all(&directory).unwrap();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn armor_round_trips_and_other_texts_are_rejected() {
        let blob = sign(&key(1), Namespace::Grant, b"m");
        let text = armor(&blob);
        assert_eq!(dearmor(&text), Some(blob.clone()));
        assert_eq!(dearmor(&text.replace('\n', "\r\n")), Some(blob));
        for bad in ["", "x", HEADER, &text.replace("END", "FIN"), &text.replace("U1NI", "U1N!"), &format!("{text}x")] {
            assert_eq!(dearmor(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_armor_is_what_openssh_writes() {
        let text = armor(&sign(&key(1), Namespace::Grant, b"m"));
        assert!(text.starts_with("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH"));
        assert!(text.lines().all(|line| line.len() <= 70));
    }
}
