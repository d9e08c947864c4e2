//! The records of the life of the host key: it was replaced by another one, or removed for ever.

use serde::{Deserialize, Serialize};

use super::epoch_event::plain_key;
use crate::escape::Word;
use crate::grant::{HostDescriptor, PublicKey};

/// The kind of the record of a rotation.
pub const ROTATION: &str = "rotation";

/// The kind of the record of a retirement.
pub const RETIREMENT: &str = "retirement";

/// Root has replaced the host key: the old key and the new one both sign the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Who did it.
    pub uid: u32,
    /// The name of that user.
    pub user: Word,
    /// The reason.
    pub reason: Word,
    /// The key until this record: `ssh-ed25519 AAAA…`.
    pub old_key: String,
    /// The host from this record on, with the new key.
    pub identity: HostDescriptor,
    /// The SSHSIG of the old key in base64, over the bytes of this record without both signatures; empty before it is signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub old_signature: String,
    /// That of the new key over the same bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub new_signature: String,
}

/// Root has retired the host: this is the last record that its key signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    /// Who did it.
    pub uid: u32,
    /// The name of that user.
    pub user: Word,
    /// The reason.
    pub reason: Word,
    /// The key, which is removed: `ssh-ed25519 AAAA…`.
    pub key: String,
    /// The SSHSIG of the key in base64, over the bytes of this record without this signature; empty before it is signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
}

impl Rotation {
    /// Returns the old key and the new one, if both are ed25519 keys in canonical form, and the host id belongs to the new one.
    pub fn keys(&self) -> Option<(PublicKey, PublicKey)> {
        let new = self.identity.public_key().filter(|_| self.identity.host_id().is_some())?;
        Some((plain_key(&self.old_key)?, new))
    }
}

impl Retirement {
    /// Returns the key, if it is an ed25519 key in canonical form.
    pub fn public_key(&self) -> Option<PublicKey> {
        plain_key(&self.key)
    }
}
