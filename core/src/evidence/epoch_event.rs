//! The record that begins an epoch: the certificate of the key that signs the checkpoints from this record on.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use crate::grant::PublicKey;

/// The kind of the record.
pub const EPOCH: &str = "epoch";

/// A sealing key, certified by the one before it, or, at the beginning of a line, by the key of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The number of the epoch, one more than that of the epoch before it in this journal.
    pub number: u64,
    /// The number of the record that begins the line of sealing keys; at the beginning of a line its own.
    pub line: u64,
    /// The sealing key: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// Whose key certified it.
    pub certified_by: Certifier,
    /// The SSHSIG in base64, over the bytes of this record without this key; empty before it is signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
}

/// Whose key certified a sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certifier {
    /// The sealing key of the epoch before it.
    SealingKey,
    /// The key of the host: a line of sealing keys begins.
    HostKey,
}

impl Epoch {
    /// Returns the sealing key, if it is an ed25519 key in canonical form.
    pub fn public_key(&self) -> Option<PublicKey> {
        plain_key(&self.key)
    }
}

/// Returns the key of the two words, if it is an ed25519 key in canonical form.
pub(super) fn plain_key(words: &str) -> Option<PublicKey> {
    let (algorithm, encoded) = words.split_once(' ')?;
    let key = PublicKey::from_words(algorithm, encoded).filter(|key| matches!(key, PublicKey::Plain(_)))?;
    (encoded == Base64::encode_string(&key.blob())).then_some(key)
}

/// Returns the two words of a key.
pub fn key_words(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), Base64::encode_string(&key.blob()))
}
