#![no_main]
//! Signatures, keys and key files of OpenSSH.

use jit_core::grant::sshsig::{Namespace, armor, claimed_key, dearmor, sign, signed_by, signer, verify};
use jit_core::grant::{HostKey, HostPublicKey, PublicKey};
use jit_core::samples;

const MESSAGE: &[u8] = b"message";

const PURPOSES: [Namespace; 5] =
    [Namespace::Grant, Namespace::Approval, Namespace::Request, Namespace::Checkpoint, Namespace::Statement];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    blob(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(decoded) = dearmor(text) {
        assert_eq!(dearmor(&armor(&decoded)).as_deref(), Some(&decoded[..]));
        blob(&decoded);
    }
    keys(text);
});

fn blob(blob: &[u8]) {
    if let Some(key) = claimed_key(blob) {
        assert_eq!(PublicKey::from_blob(&key.blob()), Some(key));
    }
    let holding: Vec<Namespace> =
        PURPOSES.into_iter().filter(|purpose| signer(*purpose, MESSAGE, blob).is_ok()).collect();
    assert!(holding.len() <= 1, "one signature serves {holding:?}");
    for purpose in holding {
        signature(purpose, blob);
    }
    // Only the holder of the key can make another signature with it.
    let key = samples::key(1);
    if verify(&key.verifying_key(), Namespace::Grant, MESSAGE, blob).is_ok() {
        assert_eq!(blob, sign(&key, Namespace::Grant, MESSAGE));
    }
}

/// Checks that a valid signature has only one form, and is valid for its message only.
fn signature(purpose: Namespace, blob: &[u8]) {
    assert!(signer(purpose, b"massage", blob).is_err());
    assert!(signer(purpose, MESSAGE, &[blob, b"x"].concat()).is_err());
    let key = signed_by(purpose, MESSAGE, blob).expect("it held").key;
    assert_eq!(claimed_key(blob), Some(key));
}

fn keys(text: &str) {
    if let Ok(key) = HostKey::from_openssh(text) {
        let again = HostKey::from_openssh(&key.to_openssh(1)).expect("what was read is written");
        assert_eq!(again.public_line(), key.public_line());
    }
    if let Ok(key) = HostPublicKey::from_line(text) {
        assert_eq!(HostPublicKey::from_line(&key.public_line()).expect("so it is").fingerprint(), key.fingerprint());
    }
    let mut words = text.split(' ');
    if let (Some(algorithm), Some(encoded)) = (words.next(), words.next())
        && let Some(key) = PublicKey::from_words(algorithm, encoded)
    {
        assert_eq!((PublicKey::from_blob(&key.blob()), key.algorithm()), (Some(key.clone()), algorithm));
    }
}
